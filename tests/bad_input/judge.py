"""What a refusal must look like, and how many different bad inputs are tried.

A case is one bad input: what is wrong with it, how it is made in an empty folder, and which words its refusal has.
Cases are drawn by hypothesis, always alike; each test is told how many different ones it must have seen.
"""

import hashlib
import inspect
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest import mock

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.strategies import SearchStrategy

from tests.stages.command import Answer, lensrec

SECONDS = 5.0
"""Of one core for a refusal: most take a few hundredths, the first of a process has modules to import."""

LONGEST = 700
"""Letters in the line of a refusal, without those of the folder it is in."""

LEAST: dict[str, int] = {}
"""How many different cases each test sees, by its name; `every` fills it in."""


@dataclass(frozen=True)
class Case:
    """One bad input.

    Attributes
    ----------
    about : str
        What is wrong, so that two cases with the same text are the same case.
    make : function of an empty folder
        Writes the input there, and returns the command's words.
    named : tuple of str
        The refusal has one of these: the file or the key.
    """

    about: str
    make: Callable[[Path], list[object]]
    named: tuple[str, ...]

    def __repr__(self) -> str:
        return f"<{self.about}>"


def every(cases: SearchStrategy[Case], *, least: int, most: int | None = None) -> Callable:
    """Turn a test of one case, which takes fixtures after it, into one of `least` different ones or more."""

    def decorate(test: Callable) -> Callable:
        key = f"{test.__module__}.{test.__name__}"
        LEAST[key] = least

        def all_of_them(judge_one: Callable[[Case], None]) -> None:
            seen: set[str] = set()

            @settings(
                max_examples=most or least + least // 4,
                derandomize=True,
                database=None,
                deadline=None,
                phases=(Phase.generate, Phase.shrink),
                suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],  # the machine may be busy
            )
            @given(cases)
            def one(case: Case) -> None:
                seen.add(case.about)
                judge_one(case)

            one()
            assert len(seen) >= least, f"{len(seen)} different cases, of {least}"

        return _with_fixtures_of(test, all_of_them)

    return decorate


def _with_fixtures_of(test: Callable, all_of_them: Callable) -> Callable:
    """A test function with the name and fixtures of `test`, less its first argument, which is the case."""
    fixtures = list(inspect.signature(test).parameters)[1:]

    def run(**given_fixtures: object) -> None:
        all_of_them(lambda case: test(case, **given_fixtures))

    run.__name__, run.__doc__, run.__module__ = test.__name__, test.__doc__, test.__module__
    run.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY) for name in fixtures]
    )
    return run


def refused(case: Case) -> Answer:
    """Make a case in a folder of its own, give the command, and see that it was refused as it should be."""
    with TemporaryDirectory(prefix="bad-") as name:
        folder = Path(name)
        words = case.make(folder)
        before = contents(folder)
        began = time.process_time()
        with nothing_computed():
            answer = lensrec(*words)
        took = time.process_time() - began
        assert answer.status in (1, 2), f"{case}: {answer}"
        said = check_words(answer, case.named, name)
        assert contents(folder) == before, f"{case}: it left or changed {changes(before, contents(folder))}; {said}"
        assert took < SECONDS, f"{case}: {took:.1f} s"
    return answer


def check_words(answer: Answer, named: tuple[str, ...], folder: str = "") -> str:
    """The line of a refusal: one, of letters that can be printed, with a name in it that helps."""
    assert "Traceback" not in answer.out + answer.err, answer
    if answer.status == 2:
        assert any(word in answer.err for word in named), answer
        return answer.err
    lines = answer.err.splitlines()
    assert len(lines) == 1, answer
    assert lines[0].startswith("lensrec: "), answer
    line = lines[0].removeprefix("lensrec: ")
    assert line.isprintable(), answer
    assert len(line.replace(folder, "") if folder else line) < LONGEST, answer
    assert any(word in line for word in named), (named, answer)
    assert not line.startswith(_CLASSES), answer
    return line


# what Python says of a mistake of lensrec's own, not of the user's
_CLASSES = ("KeyError", "TypeError", "IndexError", "AttributeError", "AssertionError", "RecursionError", "MemoryError")


@contextmanager
def nothing_computed() -> Iterator[None]:
    """Bad input that is taken for good must fail at once, not after minutes of computing."""

    def accepted(*_: object, **__: object) -> None:
        pytest.fail("the input was taken, and theory or a fit computed")

    with (
        mock.patch("camb.get_results", accepted),
        mock.patch("lensrec.fit.joint_likelihood.JointLikelihood.best_fit", accepted),
    ):
        yield


def contents(folder: Path) -> dict[str, str]:
    """Every file under a folder but locks, by what is in it; of large ones their size."""
    files = (p for p in folder.rglob("*") if p.is_file() and p.name != ".lock")
    return {str(p.relative_to(folder)): _fingerprint(p) for p in files}


def changes(before: dict[str, str], after: dict[str, str]) -> list[str]:
    """Names of files that are new, gone or other."""
    return sorted(name for name in {*before, *after} if before.get(name) != after.get(name))


def _fingerprint(file: Path) -> str:
    size = file.stat().st_size
    if size > 1 << 24:
        return f"{size} bytes"
    return hashlib.sha256(file.read_bytes()).hexdigest()

"""One process to fork commands from, and one undisturbed run, for all tests of reliability."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.reliability.hatchery import Hatchery, hatchery
from tests.reliability.small_run import RECIPE, begun, commands, fingerprints
from tests.stages.command import Answer


class Reference(NamedTuple):
    """A run that nothing disturbed, its products, and of each command the calls and the seconds that it took."""

    run: Path
    recipe: Path
    products: dict[str, str]
    calls: list[int]
    seconds: list[float]


@pytest.fixture(scope="session")
def hatch() -> Iterator[Hatchery]:
    """Begins commands."""
    with hatchery(warm=True) as one:
        yield one


@pytest.fixture(scope="session")
def reference(hatch: Hatchery, tmp_path_factory: pytest.TempPathFactory) -> Reference:
    """What every other run should come to."""
    return undisturbed(hatch, tmp_path_factory.mktemp("undisturbed"), RECIPE)


def undisturbed(hatch: Hatchery, folder: Path, text: str, **habits: object) -> Reference:
    """A run to its end that nothing disturbs, beside its recipe."""
    recipe, calls, seconds = folder / "recipe.yaml", [], []
    recipe.write_text(text)
    run = begun(folder / "run", recipe)
    for words in commands(recipe, run):
        began = time.monotonic()
        answer = hatch(*words, count_into=str(folder / "calls"), **habits)
        assert (answer.status, answer.err) == (0, ""), answer
        seconds.append(time.monotonic() - began)
        calls.append(int((folder / "calls").read_text()))
    return Reference(run, recipe, fingerprints(run), calls, seconds)


def one_line(answer: Answer) -> str:
    """The one line on stderr of a command that failed."""
    assert answer.status == 1, answer
    assert answer.err.startswith("lensrec: "), answer
    assert answer.err.endswith("\n"), answer
    assert answer.err.count("\n") == 1, answer.err
    assert "Traceback" not in answer.out + answer.err
    return answer.err.strip()

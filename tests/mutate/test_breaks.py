"""The list of breaks cannot rot: each still applies, to code that still compiles, and names tests that are there."""

from collections import Counter
from pathlib import Path

import pytest

from tests.mutate.breaks import BREAKS
from tests.mutate.breaks.model import Break
from tests.mutate.imports import closure, dependents
from tests.mutate.tree import ROOT, Stale, broken_text

ROOMS = ("sphere", "theory", "sky", "filtering", "quadratic", "bias", "spectra", "fit")


@pytest.mark.parametrize("one", BREAKS, ids=lambda one: one.name)
def test_a_break_applies_once_and_is_python(one: Break) -> None:
    compile(broken_text(one), one.file, "exec")
    missing = [file for file in one.tests if not (ROOT / "tests" / file).is_file()]
    assert one.tests
    assert not missing


def test_there_are_enough_in_every_room() -> None:
    rooms = Counter(one.file.split("/")[0] for one in BREAKS)
    assert len(BREAKS) >= 40
    assert min(rooms[room] for room in ROOMS) >= 5
    assert sum(one.small for one in BREAKS) >= len(BREAKS) / 3
    assert len({one.name for one in BREAKS}) == len({(one.file, one.old, one.new) for one in BREAKS}) == len(BREAKS)


@pytest.mark.parametrize("text", ["", "a = 1\na = 1\n"])
def test_a_break_whose_text_is_gone_or_there_twice_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "lensrec").mkdir()
    (tmp_path / "lensrec" / "x.py").write_text(text)
    with pytest.raises(Stale, match="no longer applies"):
        broken_text(Break("x", "x.py", "a = 1", "a = 2", "", "norm", ("x",)), tmp_path)


def test_compiled_code_of_all_that_imports_a_file_is_left_behind() -> None:
    edges = {"a.py": frozenset({"b.py"}), "b.py": frozenset({"c.py"}), "c.py": frozenset(), "d.py": frozenset({"a.py"})}
    assert dependents("c.py", edges) == {"a.py", "b.py", "c.py", "d.py"}
    assert dependents("a.py", edges) == {"a.py", "d.py"}
    assert closure(["b.py"], edges) == {"b.py", "c.py"}

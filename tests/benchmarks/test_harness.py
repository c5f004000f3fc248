"""The harness around the benchmarks; no test looks at a clock."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from tests.benchmarks import __main__ as program
from tests.benchmarks.cases import cases
from tests.benchmarks.inputs import SIZES
from tests.benchmarks.report import page, table_lines
from tests.benchmarks.rounds import FEWEST, MOST, relative_error, take_turns


def test_sides_take_turns() -> None:
    order: list[str] = []

    def side(label: str, seconds: float):
        return lambda: order.append(label) or seconds

    assert take_turns({"a": side("a", 1.0), "b": side("b", 2.0)}) == {"a": [1.0] * MOST, "b": [2.0] * MOST}
    assert order == ["a", "b"] * MOST
    assert len(take_turns({"slow": side("slow", 1000.0)})["slow"]) == FEWEST


def test_error_is_the_worst_row() -> None:
    base = np.array([[3.0, 4.0], [1.0, 0.0]])
    assert relative_error(base + np.array([[0.0, 0.5], [0.2j, 0.0]]), base) == pytest.approx(0.2)
    assert relative_error(base[0] * 1.5, base[0]) == pytest.approx(0.5)


def test_ratios_are_of_medians() -> None:
    row = {
        "title": "a thing",
        "sides": {
            "lensrec": {"seconds": [1.0, 2.0, 9.0], "median": 2.0, "peak_mib": 10.0, "counts": {"synthesis": 3}},
            "peer": {"seconds": [4.0, 4.0, 9.0], "median": 4.0, "peak_mib": None, "counts": {}, "error": 1e-3},
        },
    }
    first, second = table_lines(row)
    assert first == "| a thing | lensrec | 2 | 1 | 10 | 3 |  |"
    assert second == "|  | peer | 4 | 2.00 (1.00–4.00) |  |  | 1.0e-03 |"


def test_what_is_measured_is_kept_until_something_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[str] = []

    def measure(size: object, name: str, case: object) -> dict:
        measured.append(name)
        side = {"seconds": [1.0], "median": 1.0, "peak_mib": 1.0, "counts": {}}
        return {"title": name, "sides": {"lensrec": side}}

    monkeypatch.setattr(program, "FOLDER", tmp_path)
    monkeypatch.setattr(program, "measure", measure)
    monkeypatch.setattr(program, "theory", lambda size: None)
    assert program.main(["--size", "tiny", "noise"]) == 0
    assert program.main(["--size", "tiny"]) == 0
    assert sorted(measured) == sorted(cases(SIZES["tiny"]))
    assert set(json.loads((tmp_path / "benchmarks_tiny.json").read_text())["rows"]) == set(measured)
    assert (tmp_path / "benchmarks_tiny.md").read_text().count("\n| ") == len(measured) + 1
    monkeypatch.setattr(program, "source_hash", lambda: "another")
    assert program.main(["--size", "tiny", "noise"]) == 0
    assert measured.count("noise") == 2


def test_page_names_machine_and_versions() -> None:
    where = program.machine()
    text = page("tiny", where, {})
    assert f"{where['cpu']}, {where['cores']} cores" in text
    assert all(f"{name} {number}" in text for name, number in where["versions"].items())
    assert where["cores"] <= (os.cpu_count() or 1)

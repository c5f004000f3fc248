"""A run directory in which something is damaged: one line names the file, and nothing that was there is changed."""

import json
import shutil
from pathlib import Path
from unittest import mock

import pytest

from lensrec.products import Entries, RunError, read_amplitude, read_json, read_table
from tests.bad_input import run_arrays, run_cases, small_run
from tests.bad_input.judge import changes, check_words, contents, every, nothing_computed
from tests.bad_input.run_cases import BEGUN, COMPLETE, Damage
from tests.stages.command import lensrec

NO_PICTURES = mock.patch("lensrec.stages.bandpowers_run.bandpower_figures", return_value={})
"""They take as long as all else."""

LOGS = ("resumed", "bandpowers", "backends", "recipe_sha256")
"""What a command may add to a provenance before it fails: that it was given."""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was begun, and one that is complete."""
    folder = tmp_path_factory.mktemp("runs")
    small_run.begin(folder / BEGUN, reconstruction={"n1": "none"})
    with NO_PICTURES:
        small_run.complete(folder / COMPLETE)
    return folder


def judged(damage: Damage, runs: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.rmtree(run, ignore_errors=True)
    shutil.copytree(runs / damage.run, run)
    damage.do(run / damage.file)
    before, recorded = contents(run), _record(run)
    with nothing_computed():
        answer = lensrec(*damage.command, run)
    assert answer.status == 1, f"{damage}: {answer}"
    check_words(answer, (Path(damage.file).name,), str(run))
    changed = changes(before, contents(run))
    # what all skies share is written before the first of them is read
    new = {name for name in changed if name not in before}
    assert new <= {"recon/response.ecsv"}, f"{damage}: {changed}"
    assert set(changed) - new <= {"provenance.json"}, f"{damage}: {changed}"
    assert _record(run) == recorded


def _record(run: Path) -> object:
    try:
        data = json.loads((run / "provenance.json").read_bytes())
    except (ValueError, RecursionError):
        return None
    return {k: v for k, v in data.items() if k not in LOGS} if isinstance(data, dict) else data


@every(run_cases.tables(), least=30)
def test_tables(damage: Damage, runs: Path, tmp_path: Path) -> None:
    judged(damage, runs, tmp_path)


@every(run_cases.texts(), least=30)
def test_provenance_and_recipe(damage: Damage, runs: Path, tmp_path: Path) -> None:
    judged(damage, runs, tmp_path)


@every(run_arrays.arrays(), least=24)
def test_alm_matrices_and_skies(damage: Damage, runs: Path, tmp_path: Path) -> None:
    judged(damage, runs, tmp_path)


@every(run_arrays.sacc_files(), least=12)
def test_band_powers(damage: Damage, runs: Path, tmp_path: Path) -> None:
    judged(damage, runs, tmp_path)


def test_band_powers_of_a_fit_are_looked_at_alike(runs: Path, tmp_path: Path) -> None:
    shutil.copy(runs / COMPLETE / "bandpowers.sacc.fits", tmp_path / "bad.sacc.fits")
    run_arrays.change(tmp_path / "bad.sacc.fits", "all variances", -1.0)
    (tmp_path / "fit.yaml").write_text("data: [bad.sacc.fits]\n")
    with nothing_computed():
        answer = lensrec("fit", tmp_path / "fit.yaml", "--out", tmp_path / "x")
    assert answer.status == 1
    assert "bad.sacc.fits: a variance is not above zero" in check_words(answer, ("bad.sacc.fits",))
    assert not [p for p in (tmp_path / "x").rglob("*") if p.is_file() and p.name != ".lock"]


def test_these_runs_were_sound(runs: Path, tmp_path: Path) -> None:
    """Or nothing would have been shown by their being refused: the same command goes on with the complete one."""
    shutil.copytree(runs / COMPLETE, tmp_path / "run")
    with NO_PICTURES:
        assert lensrec("bandpowers", tmp_path / "run").status == 0


ABOUT = {"L_low": 2, "L_high": 9, "taken_off": [], "not_taken_off": []}
FIT = {"mean": 1, "sigma": 1, "chi2": 1, "ndof": 1}


@pytest.mark.parametrize(
    "data",
    [
        [],
        None,
        {},
        {"about": 3, "TT": {}},
        {"about": {}, "TT": FIT},
        {"TT": FIT},
        {"about": ABOUT},
        {"about": {**ABOUT, "taken_off": [3]}, "TT": FIT},
        {"about": ABOUT, "TT": {**FIT, "mean": float("nan")}},
        {"about": ABOUT, "TT": {**FIT, "mean": "1"}},
    ],
    ids=str,
)
def test_amplitudes_that_are_none(tmp_path: Path, data: object) -> None:
    file = tmp_path / "amplitude.json"
    file.write_text(json.dumps(data))
    with pytest.raises(RunError, match=r"amplitude\.json is damaged \("):
        read_amplitude(file)


def test_what_a_file_lacks_is_an_error_of_that_file(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"inner": {"known": 1}}')
    found = read_json(tmp_path / "a.json")
    assert isinstance(found["inner"], Entries)
    with pytest.raises(RunError, match=r"a\.json is damaged \(it has no 'other'\)"):
        found["inner"]["other"]
    assert found.get("other") is None


def test_tables_of_before_they_said_their_length_are_read(tmp_path: Path) -> None:
    file = tmp_path / "t.ecsv"
    file.write_text(
        "# %ECSV 1.0\n# ---\n# datatype:\n# - {name: L, datatype: int64}\n# - {name: transfer_TT, datatype: float64}\n"
        "# schema: astropy-2.0\nL transfer_TT\n0 1.5\n1 nan\n"
    )
    assert read_table(file)["L"].tolist() == [0, 1]

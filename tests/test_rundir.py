"""Run directories: resumed when unchanged, refused with the keys when not, and never half a file."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lensrec import rundir
from lensrec.recipe import Recipe
from lensrec.run_lock import locked
from lensrec.rundir import RunError, amend_run, create_run, open_run, record_backend


def recipe(**sky: object) -> Recipe:
    return Recipe.model_validate({"sky": {"nside": 64, **sky}})


def holder(folder: Path) -> subprocess.Popen:
    """Another process that holds the lock until it is killed."""
    code = f"from lensrec.run_lock import locked\nwith locked({str(folder)!r}):\n print('held', flush=True)\n input()"
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_new_run_keeps_its_recipe_and_says_where_it_comes_from(tmp_path: Path) -> None:
    run = create_run(tmp_path / "a" / "run", recipe(seed=7), command=["lensrec", "simulate"])
    assert open_run(run.path).recipe == recipe(seed=7)
    record = json.loads((run.path / "provenance.json").read_text())
    assert record["command"] == ["lensrec", "simulate"]
    assert record["recipe_sha256"] == recipe(seed=7).sha256()
    assert record["packages"]["numpy"] == np.__version__
    assert record["time"].endswith("+00:00")
    assert {"lensrec", "ducc0", "healpy", "camb"} <= set(record["packages"])
    assert record["python"].split(".")[0] == str(sys.version_info[0])


def test_the_same_recipe_goes_on_and_is_noted(tmp_path: Path) -> None:
    create_run(tmp_path, recipe(), command=["one"])
    create_run(tmp_path, recipe(), command=["two"])
    record = json.loads((tmp_path / "provenance.json").read_text())
    assert record["command"] == ["one"]
    assert [r["command"] for r in record["resumed"]] == [["two"]]


def leave_something(run: Path) -> None:
    (run / "sims" / "0000").mkdir(parents=True)
    (run / "sims" / "0000" / "data.fits").write_text("SIMPLE")


def test_a_recipe_may_be_mended_until_something_has_come_of_it(tmp_path: Path) -> None:
    create_run(tmp_path, recipe(seed=1), inputs={"map": "a.fits"})
    mended = create_run(tmp_path, recipe(seed=2), inputs={"map": "b.fits"})
    assert mended.recipe == open_run(tmp_path).recipe == recipe(seed=2)
    assert json.loads((tmp_path / "provenance.json").read_text())["inputs"] == {"map": "b.fits"}
    (tmp_path / "provenance.json").unlink()  # as where somebody wrote the recipe
    with pytest.raises(RunError, match=r"sky\.seed: 2 -> 3"):
        create_run(tmp_path, recipe(seed=3))


def test_a_changed_recipe_is_refused_in_one_line_with_both_values(tmp_path: Path) -> None:
    create_run(tmp_path, recipe(seed=1))
    leave_something(tmp_path)
    before = (tmp_path / "recipe.yaml").read_bytes()
    with pytest.raises(RunError) as err:
        create_run(tmp_path, recipe(seed=2, nside=32))
    text = str(err.value)
    assert "\n" not in text
    assert "sky.seed: 1 -> 2" in text
    assert "sky.nside: 64 -> 32" in text
    assert "sky.a_phi" not in text
    assert (tmp_path / "recipe.yaml").read_bytes() == before


def test_another_map_from_outside_is_refused(tmp_path: Path) -> None:
    create_run(tmp_path, recipe(), inputs={"map": Path("a.fits")})
    create_run(tmp_path, recipe(), inputs={"map": Path("a.fits")})
    leave_something(tmp_path)
    with pytest.raises(RunError, match=r"map: 'a.fits' -> 'b.fits'"):
        create_run(tmp_path, recipe(), inputs={"map": Path("b.fits")})


def test_a_folder_of_other_things_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("!")
    with pytest.raises(RunError, match=r"thesis\.tex"):
        create_run(tmp_path, recipe())
    with pytest.raises(RunError, match=r"thesis\.tex"), locked(tmp_path):
        pass
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]
    with pytest.raises(RunError, match="is a file"):
        create_run(tmp_path / "thesis.tex", recipe())


def test_a_run_may_be_given_more_skies_and_nothing_else(tmp_path: Path) -> None:
    def asked(**sky: int) -> Recipe:
        return Recipe.model_validate({"sky": {"nside": 16, **sky}})

    create_run(tmp_path, asked(n_sims=2))
    leave_something(tmp_path)
    grown = create_run(tmp_path, asked(n_sims=5))
    assert grown.recipe.sky.n_sims == open_run(tmp_path).recipe.sky.n_sims == 5
    with pytest.raises(RunError, match=r"sky\.n_sims: 5 -> 3"):
        create_run(tmp_path, asked(n_sims=3))
    with pytest.raises(RunError, match=r"sky\.seed: 0 -> 1"):
        create_run(tmp_path, asked(n_sims=6, seed=1))
    assert open_run(tmp_path).recipe.sky.n_sims == 5


def test_where_it_is_computed_may_change_at_any_time(tmp_path: Path) -> None:
    run = create_run(tmp_path / "run", recipe())
    elsewhere = Recipe.model_validate({"sky": {"nside": 64}, "compute": {"backend": "numpy"}})
    assert create_run(run.path, elsewhere).recipe == elsewhere == open_run(run.path).recipe
    run.recon(0, "made.json").parent.mkdir(parents=True)
    run.recon(0, "made.json").write_text("{}")
    assert amend_run(open_run(run.path), recipe()).recipe == recipe() == open_run(run.path).recipe
    record_backend(run, "simulate", "numpy")
    record_backend(run, "reconstruct", "cupy on a device")
    record = json.loads((run.path / "provenance.json").read_text())
    assert record["backends"] == {"simulate": "numpy", "reconstruct": "cupy on a device"}
    assert record["recipe_sha256"] == recipe().sha256()


def test_a_run_killed_before_its_recipe_was_written_begins_anew(tmp_path: Path) -> None:
    (tmp_path / "provenance.json").write_text("{}")
    (tmp_path / ".part-x-recipe.yaml").write_text("half")
    assert create_run(tmp_path, recipe()).recipe == recipe()


def test_a_folder_without_a_recipe_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="lensrec simulate RECIPE"):
        open_run(tmp_path)


def test_damaged_provenance_is_one_line(tmp_path: Path) -> None:
    create_run(tmp_path, recipe())
    (tmp_path / "provenance.json").write_text("{")
    with pytest.raises(RunError, match=r"^[^\n]*damaged[^\n]*$"):
        create_run(tmp_path, recipe())


def test_reconstruction_keys_may_change_until_something_is_reconstructed(tmp_path: Path) -> None:
    run = create_run(tmp_path, recipe())
    other = Recipe.model_validate({"sky": {"nside": 64}, "reconstruction": {"n_bins": 5}})
    assert amend_run(run, recipe()) is run
    assert open_run(amend_run(run, other).path).recipe == other
    with pytest.raises(RunError, match=r"sky\.seed: 0 -> 5"):
        amend_run(run, recipe(seed=5))
    product = run.recon(0, "phi_TT_alm.fits")
    product.parent.mkdir(parents=True)
    product.write_bytes(b"alm")
    with pytest.raises(RunError, match=r"reconstruction\.n_bins: 5 -> 20"):
        amend_run(open_run(tmp_path), recipe())


def test_products_have_the_places_of_the_design(tmp_path: Path) -> None:
    run = rundir.RunDir(tmp_path, recipe())
    assert run.sim(3, "data.fits") == tmp_path / "sims/0003/data.fits"
    assert run.recon(12, "kappa_MV.fits") == tmp_path / "recon/0012/kappa_MV.fits"
    assert run.recon("data", "kappa_MV.fits") == tmp_path / "recon/data/kappa_MV.fits"
    assert run.theory == tmp_path / "theory.ecsv"
    assert run.response == tmp_path / "recon/response.ecsv"


def test_only_finished_files_count(tmp_path: Path) -> None:
    run = rundir.RunDir(tmp_path, recipe())
    (tmp_path / "whole").write_text("x")
    (tmp_path / "empty").touch()
    assert run.has(tmp_path / "whole")
    assert not run.has(tmp_path / "empty")
    assert not run.has(tmp_path / "missing")
    assert not run.has(tmp_path)
    assert not run.has(tmp_path / "whole", tmp_path / "missing")


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    file = tmp_path / "table.ecsv"
    rundir.write_table(file, {"L": np.arange(3)}, {})
    before = file.read_bytes()
    with pytest.raises(ValueError, match="length"):
        rundir.write_table(file, {"L": np.arange(3), "x": np.zeros(2)}, {})
    assert file.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["table.ecsv"]


def test_a_write_that_is_killed_leaves_the_old_file_and_its_traces_are_swept(tmp_path: Path) -> None:
    create_run(tmp_path, recipe())
    rundir.write_json(tmp_path / "sims" / "x.json", {"a": 1})
    code = (
        "import os, pathlib\nfrom lensrec import rundir\n"
        "os.replace = lambda *a: os.kill(os.getpid(), 9)\n"
        f"rundir.write_json(pathlib.Path({str(tmp_path)!r}) / 'sims' / 'x.json', {{'a': 2}})"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    assert len(list((tmp_path / "sims").iterdir())) == 2
    assert json.loads((tmp_path / "sims" / "x.json").read_text()) == {"a": 1}
    with locked(tmp_path):
        assert [p.name for p in (tmp_path / "sims").iterdir()] == ["x.json"]


def test_tables_come_back_bit_for_bit_with_their_units(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    values = rng.standard_normal(50) * 10.0 ** rng.uniform(-30, 30, 50)
    values[0] = 0.1 + 0.2
    spread = np.where(np.arange(50) == 7, np.inf, 1.0)  # of one simulation, which tells nothing of it
    columns = {"ell": np.arange(50), "TT": values, "sigma": spread}
    rundir.write_table(tmp_path / "t.ecsv", columns, {"TT": "uK2"}, "a note")
    back = rundir.read_table(tmp_path / "t.ecsv")
    assert list(back) == ["ell", "TT", "sigma"]
    np.testing.assert_array_equal(back["TT"], values)
    np.testing.assert_array_equal(back["sigma"], spread)
    assert back["TT"].dtype == np.float64
    from astropy.table import QTable

    assert str(QTable.read(tmp_path / "t.ecsv")["TT"].unit) == "uK2"


def test_responses_come_back(tmp_path: Path) -> None:
    run = create_run(tmp_path, recipe())
    response = {"TT": np.linspace(0, 1, 9), "MV": np.linspace(1, 2, 9)}
    n0 = {key: 2 + value for key, value in response.items()}
    rundir.write_response(run, response, n0)
    assert list(rundir.read_table(run.response)) == ["L", "R_TT", "N0_TT", "R_MV", "N0_MV"]
    again, noise = rundir.read_response(run)
    for key in response:
        np.testing.assert_array_equal(again[key], response[key])
        np.testing.assert_array_equal(noise[key], n0[key])


def test_theory_comes_back(tmp_path: Path) -> None:
    spectra = pytest.importorskip("lensrec.theory.spectra")
    rng, run = np.random.default_rng(2), create_run(tmp_path, recipe())
    count = run.recipe.sky.lmax + 1
    kinds = {
        kind: {key: rng.standard_normal(count) for key in ("TT", "EE", "BB", "TE")}
        for kind in ("unlensed", "lensed", "gradient")
    }
    theory = spectra.TheorySpectra(**kinds, potential={key: rng.standard_normal(count) for key in ("PP", "TP", "EP")})
    rundir.write_theory(run, theory)
    back = rundir.read_theory(run)
    for kind, columns in kinds.items():
        for key, values in columns.items():
            np.testing.assert_array_equal(getattr(back, kind)[key], values)
    np.testing.assert_array_equal(back.potential["TP"], theory.potential["TP"])
    assert "TT_gradient" in rundir.read_table(run.theory)


def test_a_second_command_is_told_who_holds_the_run(tmp_path: Path) -> None:
    process = holder(tmp_path)
    try:
        with pytest.raises(RunError, match=f"process {process.pid} on ") as err, locked(tmp_path):
            pass
        assert "\n" not in str(err.value)
    finally:
        process.kill()
        process.wait()


def test_the_lock_of_a_killed_process_is_taken_over(tmp_path: Path) -> None:
    process = holder(tmp_path)
    process.kill()
    process.wait()
    assert f"process {process.pid}" in (tmp_path / ".lock").read_text()
    with locked(tmp_path):
        assert f"process {os.getpid()} on" in (tmp_path / ".lock").read_text()
    with locked(tmp_path):
        pass


def test_where_the_file_system_has_no_locks_the_process_is_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(handle: int, how: int) -> None:
        raise OSError("not supported")

    process = holder(tmp_path)
    monkeypatch.setattr("fcntl.flock", no_locks)
    try:
        with pytest.raises(RunError, match=f"process {process.pid}"), locked(tmp_path):
            pass
    finally:
        process.kill()
        process.wait()
    with locked(tmp_path):
        pass

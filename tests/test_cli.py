"""The commands: what they hand to the stages, exit statuses, and one line of remedy on stderr."""

import json
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lensrec import cli
from lensrec.devices import NoDevice
from lensrec.recipe import Recipe
from lensrec.run_lock import locked
from lensrec.rundir import RunDir, open_run

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def lensrec(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> Run:
    """Run a command line in this process: exit status, stdout, stderr."""

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["lensrec", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        out, err = capsys.readouterr()
        return int(stop.value.code or 0), out, err

    monkeypatch.setenv("LENSREC_NUM_THREADS", "1")  # so that what --threads sets is taken back
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return call


@pytest.fixture
def stages(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Any, dict]]:
    """Stand-ins for the stages that write down how they were called, and report two steps of progress."""
    calls: list[tuple[str, Any, dict]] = []

    def stand_in(module: str, name: str) -> None:
        def stage(first: Any, *rest: Any, **options: Any) -> None:
            calls.append((name, (first, *rest) if rest else first, options))
            if progress := options.get("progress"):
                progress(name, 0, 2)
                progress(name, 2, 2)

        found = sys.modules.get(f"lensrec.stages.{module}")
        if not isinstance(found, types.ModuleType) or not getattr(found, "stand_in", False):
            found = types.ModuleType(f"lensrec.stages.{module}")
            found.stand_in = True  # type: ignore[attr-defined]
            monkeypatch.setitem(sys.modules, f"lensrec.stages.{module}", found)
        setattr(found, name, stage)

    stand_in("simulate", "simulate_run")
    stand_in("reconstruct_run", "reconstruct_run")
    stand_in("reconstruct_run", "reconstruct_map")
    stand_in("view", "view_run")
    return calls


def one_line(text: str) -> str:
    assert text.endswith("\n")
    assert text.count("\n") == 1
    return text.strip()


@pytest.fixture
def recipe_file(tmp_path: Path) -> Path:
    file = tmp_path / "r.yaml"
    file.write_text("name: small\nsky: {nside: 64}\n")
    return file


def test_simulate_makes_the_run_and_calls_the_stage(
    lensrec: Run, stages: list, recipe_file: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    status, stdout, stderr = lensrec(
        "simulate", recipe_file, "--out", out, "--set", "sky.seed=4", "--set", "sky.n_sims=3"
    )
    assert (status, stderr) == (0, "")
    assert "3 simulated" in stdout
    (name, run, options) = stages[0]
    assert name == "simulate_run"
    assert isinstance(run, RunDir)
    assert (run.path, run.recipe.sky.seed, run.recipe.sky.nside) == (out, 4, 64)
    assert set(options) == {"executor", "progress"}
    assert open_run(out).recipe == run.recipe
    assert json.loads((out / "provenance.json").read_text())["command"][:2] == ["lensrec", "simulate"]


def test_a_shipped_recipe_goes_by_its_name(lensrec: Run, stages: list, tmp_path: Path) -> None:
    assert lensrec("simulate", "quickstart", "--out", tmp_path / "run")[0] == 0
    assert stages[0][1].recipe == Recipe.load("quickstart")


def test_progress_is_told_in_plain_lines_where_there_is_no_terminal(
    lensrec: Run, stages: list, recipe_file: Path, tmp_path: Path
) -> None:
    stdout = lensrec("simulate", recipe_file, "--out", tmp_path / "run")[1]
    assert "simulate_run: 2/2\n" in stdout


def test_threads_reach_the_transforms(lensrec: Run, stages: list, recipe_file: Path, tmp_path: Path) -> None:
    from lensrec.arrays import thread_count

    assert lensrec("simulate", recipe_file, "--out", tmp_path / "run", "--threads", 3)[0] == 0
    assert thread_count() == 3


@pytest.mark.parametrize("asked", [("--backend", "cupy"), ("--set", "compute.backend=cupy")])
def test_a_device_is_asked_for_before_a_run_is_begun_or_changed(
    lensrec: Run, stages: list, recipe_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: tuple
) -> None:
    def no_driver() -> None:
        raise NoDevice("backend cupy: there is no CUDA driver on this machine; use the backend numpy")

    monkeypatch.setattr("lensrec.arrays.ask_driver", no_driver)
    run = tmp_path / "run"
    assert lensrec("simulate", recipe_file, "--out", run)[0] == 0
    given = ["--map", "map.fits", "--fwhm", 5, "--noise", 6, "--out", tmp_path / "new"]
    begun = ["simulate", recipe_file, "--out", tmp_path / "new"]
    for words in (["reconstruct", run], ["reconstruct", *given], begun):
        status, out, err = lensrec(*words, *asked)
        assert (status, out) == (1, "")
        expected = "lensrec: backend cupy: there is no CUDA driver on this machine; use the backend numpy"
        assert one_line(err) == expected
    assert open_run(run).recipe.compute.backend == "auto"
    assert not (tmp_path / "new").exists()
    assert [name for name, _, _ in stages] == ["simulate_run"]
    assert lensrec("reconstruct", run)[0] == 0


def test_backend_reaches_the_recipe_and_may_change(
    lensrec: Run, stages: list, recipe_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    for name in ("auto", "numpy"):
        assert lensrec("simulate", recipe_file, "--out", run, "--backend", name)[0] == 0
        assert open_run(run).recipe.compute.backend == name
    assert lensrec("reconstruct", run, "--backend", "auto")[0] == 0
    assert stages[-1][1].recipe.compute.backend == "auto"
    status, _, err = lensrec("simulate", recipe_file, "--out", run, "--backend", "cuda")
    assert (status, err.count("\n")) == (1, 1)
    assert "compute.backend: 'cuda' will not do; one of 'auto', 'numpy' or 'cupy'" in err
    monkeypatch.setattr("lensrec.arrays.backend", lambda name: None)  # a machine with a device
    assert lensrec("reconstruct", run, "--backend", "cupy")[0] == 0
    assert stages[-1][1].recipe.compute.backend == "cupy"


def test_reconstruct_takes_a_run(lensrec: Run, stages: list, recipe_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    lensrec("simulate", recipe_file, "--out", out)
    status, _, stderr = lensrec("reconstruct", out, "--set", "reconstruction.mean_field_sims=4")
    assert (status, stderr) == (0, "")
    name, run, options = stages[1]
    assert name == "reconstruct_run"
    assert run.recipe.reconstruction.mean_field_sims == 4
    assert open_run(out).recipe == run.recipe
    assert set(options) == {"executor", "progress"}
    assert [call[0] for call in stages[2:]] == ["view_run"]


def test_reconstruct_does_not_change_the_sky_of_a_run(
    lensrec: Run, stages: list, recipe_file: Path, tmp_path: Path
) -> None:
    lensrec("simulate", recipe_file, "--out", tmp_path / "run")
    status, _, stderr = lensrec("reconstruct", tmp_path / "run", "--set", "sky.seed=2")
    assert status == 1
    assert "sky.seed: 0 -> 2" in one_line(stderr)
    assert len(stages) == 1


def test_reconstruct_takes_a_map(lensrec: Run, stages: list, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("iqu.fits").touch()
    words = "--map iqu.fits --mask m.fits --fwhm 1.4arcmin --noise 6 --lmax 100 --estimators TT,EE --lmin 50"
    words += " --pixel-window healpix --unit mK --ordering NESTED --polconv IAU"
    words += " --mean-field-sims 4 --apodise 1.5deg --seed 8 --out run"
    status, _, stderr = lensrec("reconstruct", *words.split(), "--set", "cosmology.tau=0.06")
    assert (status, stderr) == (0, "")
    name, (file, settings), options = stages[0]
    assert (name, file) == ("reconstruct_map", Path("iqu.fits"))
    assert [call[0] for call in stages[1:]] == ["view_run"]
    assert (options["out"], options["command"][:2]) == (Path("run"), ["lensrec", "reconstruct"])
    assert (options["unit"], options["ordering"], options["polconv"]) == ("mK", "NESTED", "IAU")
    assert set(options) == {"out", "unit", "ordering", "polconv", "command", "executor", "progress"}
    recipe = Recipe.for_map(64, settings)
    assert recipe.name == "iqu"
    assert (recipe.instrument.fwhm, recipe.instrument.noise_t, recipe.instrument.pixel_window) == (1.4, 6.0, "healpix")
    assert recipe.instrument.noise_p == pytest.approx(6 * 2**0.5, rel=1e-15)
    assert (recipe.mask.file, recipe.mask.apodisation) == (tmp_path / "m.fits", 1.5)
    rec = recipe.reconstruction
    assert [str(e) for e in rec.estimators] == ["TT", "EE"]
    assert (rec.lmin_t, rec.lmin_p, rec.lmax_t, rec.lmax_p, rec.mean_field_sims) == (50, 50, 100, 100, 4)
    assert (recipe.sky.seed, recipe.cosmology.tau) == (8, 0.06)


def test_a_map_needs_no_more_than_beam_noise_and_a_place(lensrec: Run, stages: list, tmp_path: Path) -> None:
    (tmp_path / "t.fits").touch()
    status = lensrec(
        "reconstruct", "--map", tmp_path / "t.fits", "--fwhm", "5", "--noise", "30", "--out", tmp_path / "r"
    )[0]
    assert status == 0
    (_, settings), _ = stages[0][1:]
    assert settings == {
        "name": "t",
        "instrument": {"fwhm": "5", "noise_t": "30", "pixel_window": "none"},
    }
    assert Recipe.for_map(64, settings, polarised=False).instrument.noise_t == 30.0


def test_run_goes_through_the_stages_in_order(lensrec: Run, stages: list, recipe_file: Path, tmp_path: Path) -> None:
    plan = tmp_path / "p.yaml"
    plan.write_text("recipe: r.yaml\nstages: [simulate, reconstruct, view]\nset: {sky.seed: 9}\n")
    status, _, stderr = lensrec("run", plan, "--out", tmp_path / "run", "--set", "sky.n_sims=2")
    assert (status, stderr) == (0, "")
    assert [call[0] for call in stages] == ["simulate_run", "reconstruct_run", "view_run"]
    assert all((c[1].recipe.sky.seed, c[1].recipe.sky.n_sims) == (9, 2) for c in stages)
    assert lensrec("run", plan, "--out", tmp_path / "run", "--set", "sky.n_sims=2")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (["simulate", "quickstrat", "--out", "x"], "no recipe 'quickstrat'"),
        (
            ["simulate", "quickstart", "--out", "x", "--set", "sky.nsdie=8"],
            "sky.nsdie: unknown key; did you mean sky.nside?",
        ),
        (["simulate", "quickstart", "--out", "x", "--set", "instrument.fwhm=7 parsec"], "'7 parsec' is not an angle"),
        (
            ["simulate", "quickstart", "--out", "x", "--engine", "grid"],
            "lensrec: --engine grid: there is no such engine",
        ),
        (["reconstruct", "nowhere"], "nowhere is no run"),
        (["run", "nothing", "--out", "x"], "no recipe 'nothing'"),
        (["inspect", "nothing.fits"], "nothing.fits"),
        (
            ["reconstruct", "--map", "no.fits", "--fwhm", "1", "--noise", "1", "--out", "x"],
            "no.fits: there is no such file",
        ),
    ],
)
def test_a_mistake_is_status_1_and_one_line(
    lensrec: Run, stages: list, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], match: str
) -> None:
    monkeypatch.chdir(tmp_path)
    status, _, stderr = lensrec(*arguments)
    assert status == 1
    line = one_line(stderr)
    assert line.startswith("lensrec: ")
    assert match in line
    assert list(tmp_path.iterdir()) == []  # nothing is begun before the recipe stands
    assert stages == []


def test_more_mistakes_are_counted(lensrec: Run, tmp_path: Path) -> None:
    words = [
        "simulate",
        "quickstart",
        "--out",
        tmp_path / "x",
        "--set",
        "sky.a=1",
        "--set",
        "sky.b=1",
        "--set",
        "sky.c=1",
    ]
    assert one_line(lensrec(*words)[2]).endswith("(and 2 more like it)")


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (["simulate", "quickstart"], "--out"),
        (["simulate", "--out", "x"], "recipe"),
        (["simulate", "quickstart", "--out", "x", "--threads", "-1"], "--threads"),
        (["reconstruct"], "one of the two"),
        (["reconstruct", "a", "--map", "b"], "one of the two"),
        (["reconstruct", "a", "--fwhm", "3", "--lmax", "5"], "--fwhm, --lmax: only with --map"),
        (["reconstruct", "a", "--out", "b"], "--out: only with --map"),
        (["reconstruct", "--map", "b", "--noise", "3"], "--fwhm, --out"),
        (["cook"], "cook"),
        (["simulate", "quickstart", "--out", "x", "--bake"], "--bake"),
    ],
)
def test_wrong_usage_is_status_2(lensrec: Run, stages: list, arguments: list[str], match: str) -> None:
    status, _, stderr = lensrec(*arguments)
    assert status == 2
    assert match in stderr
    assert "Traceback" not in stderr
    assert stages == []


def test_an_unforeseen_error_is_one_line_and_debug_shows_where(
    lensrec: Run, stages: list, recipe_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(run: RunDir, **options: Any) -> None:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(sys.modules["lensrec.stages.simulate"], "simulate_run", broken)
    status, _, stderr = lensrec("simulate", recipe_file, "--out", tmp_path / "run")
    assert (status, one_line(stderr)) == (1, "lensrec: ZeroDivisionError: division by zero")
    monkeypatch.setattr(
        sys, "argv", ["lensrec", "simulate", str(recipe_file), "--out", str(tmp_path / "run"), "--debug"]
    )
    with pytest.raises(ZeroDivisionError):
        cli.main()
    with locked(tmp_path / "run"):  # a failed command lets go of its run
        pass


def test_a_run_in_use_is_told_at_once(lensrec: Run, stages: list, recipe_file: Path, tmp_path: Path) -> None:
    with locked(tmp_path / "run"):
        status, _, stderr = lensrec("simulate", recipe_file, "--out", tmp_path / "run")
    assert status == 1
    assert "is in use by process" in one_line(stderr)


def test_warnings_go_to_stderr_and_news_to_stdout(
    lensrec: Run, stages: list, recipe_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import logging

    def chatty(run: RunDir, **options: Any) -> None:
        log = logging.getLogger("lensrec.stages.simulate")
        log.info("sims/0000 [there], skipped")
        log.warning("thin ice")

    monkeypatch.setattr(sys.modules["lensrec.stages.simulate"], "simulate_run", chatty)
    status, stdout, stderr = lensrec("simulate", recipe_file, "--out", tmp_path / "run")
    assert status == 0
    assert "sims/0000 [there], skipped\n" in stdout
    assert stderr == "lensrec: thin ice\n"


def test_inspect_shows_recipes_runs_and_maps(lensrec: Run, stages: list, recipe_file: Path, tmp_path: Path) -> None:
    import healpy
    import numpy as np

    assert "nside: 64" in lensrec("inspect", recipe_file)[1]
    lensrec("simulate", recipe_file, "--out", tmp_path / "run")
    stdout = lensrec("inspect", tmp_path / "run")[1]
    assert "name: small" in stdout
    assert "provenance.json" in stdout
    sky = np.random.default_rng(3).normal(0.0, 1e-4, 12 * 16**2)
    healpy.write_map(tmp_path / "m.fits", sky, column_units="K_CMB", dtype=np.float64)
    status, stdout, _ = lensrec("inspect", tmp_path / "m.fits")
    assert status == 0
    assert "nside: 16\n" in stdout
    assert "ordering: RING\n" in stdout
    assert f"      rms: {np.std(sky) * 1e6:.6g}\n".strip() in stdout


def test_info_names_versions_and_recipes(lensrec: Run) -> None:
    status, stdout, _ = lensrec("info")
    assert status == 0
    for word in ("ducc0", "camb", "quickstart", "so_goal", "threads"):
        assert word in stdout


def test_info_says_where_skies_would_be_lensed(lensrec: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lensrec.arrays.backend", lambda: types.SimpleNamespace(about="cupy on a device"))
    assert "backend    cupy on a device\n" in lensrec("info")[1]


def test_the_version_is_told(lensrec: Run) -> None:
    assert lensrec("--version")[:2] == (0, "lensrec 0.1.0\n")


@pytest.mark.parametrize("name", ["fit", "forecast", "anomaly"])
def test_inspect_knows_recipes_of_fits(lensrec: Run, name: str) -> None:
    from lensrec.recipe_files import shipped_recipes

    status, stdout, _ = lensrec("inspect", shipped_recipes("pipelines")[name])
    assert status == 0
    assert stdout.startswith(f"name: {name}\n")


def test_inspect_knows_the_recipes_that_come_with_lensrec(lensrec: Run) -> None:
    status, stdout, _ = lensrec("inspect", "quickstart")
    assert (status, stdout) == (0, Recipe.load("quickstart").dump())


def test_a_recipe_is_no_pipeline(lensrec: Run, recipe_file: Path, tmp_path: Path) -> None:
    status, _, stderr = lensrec("run", recipe_file, "--out", tmp_path / "run")
    assert status == 1
    assert "is a recipe, not a pipeline" in one_line(stderr)


def test_help_names_the_commands() -> None:
    code = "import sys; sys.argv = ['lensrec', '--help']; from lensrec.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    for command in ("simulate", "reconstruct", "run", "inspect", "info", "selftest"):
        assert command in done.stdout


def test_importing_the_commands_imports_nothing_heavy() -> None:
    code = "import sys, lensrec.cli; print({'numpy', 'pydantic', 'healpy', 'camb'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"

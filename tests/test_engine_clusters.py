"""Skies by a pool, by Dask and by Slurm jobs: the bits of one process, and one line where there is no cluster."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from lensrec.engine import EngineError, open_engine, run_tasks
from tests.stages.command import contents, lensrec

pytest.importorskip("distributed", reason="the extra `cluster` is not installed")

RECIPE = """
cosmology: {lens_potential_accuracy: 1}
sky: {nside: 32, n_sims: 3, seed: 3, lmax_data: 64, lmax: 120}
instrument: {fwhm: 60, noise_t: 10, hits: ecliptic}
mask: {galactic_cut: 20, apodisation: 8}
reconstruction: {estimators: "TT,TE,MV,GMV", lmin_t: 8, lmin_p: 8, mean_field_sims: 4, rdn0: simulations,
                 mc_response: apply, response_sims: 2, n_bins: 4}
"""


@pytest.fixture(scope="module", autouse=True)
def no_pictures() -> Iterator[None]:
    """They are made in this process whatever the engine, and take half of the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lensrec.cli._view", lambda *_: None)
        patch.setattr("lensrec.stages.bandpowers_run.save_figure", lambda *_, **__: None)
        yield


@pytest.fixture(scope="module")
def serial(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    return made(tmp_path_factory.mktemp("serial"), [])


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Slurm of one machine: sbatch begins the job's script in a session of its own, scancel ends it."""
    folder = tmp_path / "slurm"
    folder.mkdir()
    scripts = {
        "sbatch": f'cp "$1" {folder}/job.sh\nsetsid bash {folder}/job.sh > {folder}/log 2>&1 &\necho $!',
        "scancel": 'for job in "$@"; do kill -- -"$job"; done',
    }
    for name, text in scripts.items():
        (folder / name).write_text(f"#!/bin/bash\n{text}\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder


def made(folder: Path, engine: list[str]) -> dict[str, object]:
    """All that three commands leave, but for what bears the time or where SACC kept windows in memory."""
    (folder / "recipe.yaml").write_text(RECIPE)
    run = folder / "run"
    for command in (["simulate", folder / "recipe.yaml", "--out", run], ["reconstruct", run], ["bandpowers", run]):
        answer = lensrec(*command, *engine)
        assert answer.status == 0, answer.err
    return contents(run, "theory.ecsv", "mask.fits", "sims", "recon", "spectra")


@pytest.mark.parametrize("engine", ["pool", "dask"])
def test_results_are_the_same_bits(engine: str, serial: dict[str, object], tmp_path: Path) -> None:
    assert made(tmp_path, ["--engine", engine, "--workers", "2"]) == serial


def test_slurm_jobs(slurm: Path) -> None:
    import dask
    import dask_jobqueue  # noqa: F401 - its defaults first: a setting that is taken back takes what came later with it

    settings = {"cores": 3, "memory": "2GB", "interface": "lo", "walltime": "00:10:00", "account": "cmb"}
    given = {f"jobqueue.slurm.{key}": value for key, value in settings.items()}
    with dask.config.set(given), open_engine("slurm", workers=2) as engine:
        threads = run_tasks(os.getenv, ["LENSREC_NUM_THREADS"] * 3, executor=engine)
    assert threads == ["3"] * 3
    job = (slurm / "job.sh").read_text()
    for line in ("#SBATCH --cpus-per-task=3", "#SBATCH --mem=2G", "#SBATCH -A cmb", "#SBATCH -t 00:10:00"):
        assert line in job
    assert job.rstrip().endswith("--nthreads 1 --interface lo")  # one task at a time


@pytest.mark.parametrize(
    ("engine", "workers", "said"),
    [
        ("grid", 0, "no such engine"),
        ("process", 3, "one process has no workers"),
        ("slurm", 2, "jobqueue.slurm.cores is not set"),
        ("nowhere.json", 0, "no such scheduler file"),
        ("tcp://127.0.0.1:9", 0, "no Dask scheduler answers there"),
        ("mpi", 0, "MPI"),
    ],
)
def test_no_cluster(engine: str, workers: int, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lensrec.engine_dask.TIMEOUT", "1s")
    with pytest.raises(EngineError, match=said) as caught, open_engine(engine, workers=workers):
        pass
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("script", ["slurm.sh", "mpi.sh"])
def test_launchers_say_what_commands_take(script: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each command line of a launcher, its variables put in, is one that lensrec understands up to the cluster."""
    import subprocess

    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "lensrec").write_text('#!/bin/bash\nprintf "%s\\n" "$*" >> "$CALLS"\n')
    (folder / "lensrec").chmod(0o755)
    calls = tmp_path / "calls"
    environment = {**os.environ, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}", "CALLS": str(calls), "LAUNCH": ""}
    launcher = Path(__file__).parents[1] / "pipelines" / script
    words = ["bash", launcher, "quickstart", tmp_path / "run", "2"]
    subprocess.run(words, env=environment, check=True, timeout=60)
    lines = calls.read_text().splitlines()
    assert [line.split()[0] for line in lines] == ["simulate", "reconstruct", "bandpowers"]

    def refuse(name: str, **_: object) -> None:
        raise EngineError(f"reached {name}")

    monkeypatch.setattr("lensrec.engine.open_engine", refuse)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "recipe.yaml").write_text("name: any\n")
    for line in lines:
        assert f"reached {script.removesuffix('.sh')}" in lensrec(*line.split()).err

"""The memory of stages: predicted before they start, refused where there is not enough, and what is advised then."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lensrec.machine import memory_limits, parse_bytes
from lensrec.recipe import Recipe
from lensrec.rundir import create_run, write_theory
from lensrec.sky.io import write_alm, write_map
from lensrec.sphere.alm import alm_size
from lensrec.stages.disk import alm_file, map_file
from lensrec.stages.memory import peak_memory, phases
from lensrec.stages.memory_advice import changed, require_memory
from lensrec.stages.memory_parts import analysis_tp_bytes, healpix, legs_of, products_bytes, read_map_bytes
from lensrec.theory.spectra import TheorySpectra
from tests.stages.command import lensrec

ROOT = Path(__file__).resolve().parents[2]

_GROWTH = """
import numpy as np
def status(name):
    return next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith(name))
{before}
open("/proc/self/clear_refs", "w").write("5")
held = status("VmRSS")
kept = {call}
print(status("VmHWM") - held)
"""


def _growth(before: str, call: str) -> int:
    """By how much the peak of a fresh process exceeds what it held before a call."""
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("the peak of a call is known by Linux alone, from /proc/self/clear_refs")
    threads = {"LENSREC_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    return int(
        subprocess.run(
            [sys.executable, "-c", _GROWTH.format(before=before, call=call)],
            cwd=ROOT,
            env={**os.environ, **threads},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    )


def test_a_simulated_sky_takes_what_is_predicted(
    tmp_path: Path, small: Callable[..., Recipe], theory: TheorySpectra
) -> None:
    recipe = small(sky={"nside": 256, "lmax": 1400, "lmax_data": 500, "epsilon": 1e-4}, compute={"backend": "numpy"})
    written = tmp_path / "given.yaml"
    written.write_text(recipe.dump(), encoding="utf-8")
    write_theory(create_run(tmp_path / "run", recipe), theory.truncated(1400))
    command = [sys.executable, "-m", "tests.validate.memory_stage", "simulate", str(tmp_path / "run"), str(written)]
    threads = {"LENSREC_NUM_THREADS": "2", "OMP_NUM_THREADS": "2"}
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, **threads}, capture_output=True, text=True, check=True)
    found = phases(recipe, "simulate", nthreads=2)
    found.pop("theory")  # of which the spectra are given
    assert max(found.values()) == pytest.approx(int(done.stdout.split()[-1]), rel=0.15)


def test_products_of_legs_take_what_is_predicted() -> None:
    before = """
from lensrec.quadratic.estimators import quadratic_estimates
from lensrec.sphere.alm import alm_size
ell = np.ones(901)
weights = {"TT": ell, "EE": ell, "TE": ell, "BB": 0 * ell}
maps = {field: np.full(alm_size(900), 1.0 + 1.0j) for field in "TEB"}
few = {field: alm[: alm_size(20)].copy() for field, alm in maps.items()}
quadratic_estimates(["TT", "EE", "TE", "TB", "EB"], few, weights, 20, nthreads=1)  # compiles
"""
    call = 'quadratic_estimates(["TT", "EE", "TE", "TB", "EB"], maps, weights, 900, nthreads=1)'
    predicted = products_bytes(legs_of(["TT", "EE", "TE", "TB", "EB"], 900, 900), 5, 900, 16, nthreads=1)
    assert predicted == pytest.approx(_growth(before, call), rel=0.15)


def test_a_map_takes_what_is_predicted(tmp_path: Path) -> None:
    maps = np.random.default_rng(1).normal(0.0, 100.0, (3, 12 * 512**2))
    write_map(tmp_path / "map.fits", maps, dtype=np.float64)
    before = "from lensrec.sky.io import read_map; import healpy, scipy.sparse"
    found = _growth(before, f"read_map({str(tmp_path / 'map.fits')!r}).maps")
    assert read_map_bytes(12 * 512**2, 3) == pytest.approx(found, rel=0.15)
    before = """
from lensrec.sphere.grids import healpix_grid
from lensrec.sphere.sht import analysis_tp
x = np.ones((3, 12 * 512**2))
grid = healpix_grid(512)
"""
    found = _growth(before, "analysis_tp(x, grid, 700, iterations=2, nthreads=1)")
    assert analysis_tp_bytes(healpix(512), 700, 3, 16, iterations=2) == pytest.approx(found, rel=0.15)


LARGE: dict[str, Any] = {"sky": {"nside": 1024}, "mask": {"galactic_cut": 20}}

HARDER = (
    ("simulate", {"sky": {"nside": 2048}}),
    ("simulate", {"sky": {"lmax": 6000}}),
    ("simulate", {"sky": {"lmax_data": 2900}}),
    ("reconstruct", {"sky": {"nside": 2048, "lmax_data": 2048}}),
    ("reconstruct", {"reconstruction": {"filter": "optimal"}}),
    ("reconstruct", {"reconstruction": {"rdn0": "simulations", "mean_field_sims": 8}}),
    ("reconstruct", {"reconstruction": {"estimators": "MV,GMV", "rdn0": "simulations", "mean_field_sims": 8}}),
    ("bandpowers", {"sky": {"nside": 2048, "lmax_data": 2048}}),
    ("view", {"sky": {"nside": 2048}}),
)


@pytest.mark.parametrize(("stage", "more"), HARDER)
def test_more_takes_more(stage: str, more: dict[str, Any]) -> None:
    harder = {key: {**LARGE.get(key, {}), **more.get(key, {})} for key in {**LARGE, **more}}
    plain, large = Recipe.model_validate(LARGE), Recipe.model_validate(harder)
    assert peak_memory(plain, stage, nthreads=1) < peak_memory(large, stage, nthreads=1)


def test_threads_and_double_precision_take_more() -> None:
    double = Recipe.model_validate({"reconstruction": {"estimators": "MV"}})
    single = {"sky": {"precision": "single", "epsilon": 1e-5}, "reconstruction": {"precision": "single"}}
    assert peak_memory(double, "reconstruct", nthreads=1) < peak_memory(double, "reconstruct", nthreads=16)
    for stage in ("simulate", "bandpowers", "view"):
        assert peak_memory(Recipe.model_validate(single), stage) < peak_memory(double, stage)


@pytest.mark.parametrize("share", [0.9, 0.6, 0.3])
@pytest.mark.parametrize("stage", ["simulate", "reconstruct", "bandpowers"])
def test_advice_once_followed_fits(stage: str, share: float) -> None:
    rec = {"estimators": "MV,GMV", "rdn0": "simulations", "mean_field_sims": 8, "filter": "optimal"}
    recipe = Recipe.model_validate({**LARGE, "reconstruction": rec, "bandpowers": {"splits": 4}})
    there = int(share * peak_memory(recipe, stage, nthreads=1))
    with pytest.raises(ValueError, match=f"^{stage} of unnamed takes .* are there; ") as refused:
        require_memory(recipe, stage, there, nthreads=1)
    line = str(refused.value)
    assert "\n" not in line
    sets = re.findall(r"--set (\S+)", line)
    if not sets:
        assert line.endswith(f"take a machine with {peak_memory(recipe, stage, nthreads=1) / 1e9:.2f} GB")
        return
    require_memory(changed(recipe, sets), stage, there, nthreads=1)


def test_a_stage_without_the_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "run"
    sets = [f"--set={one}" for one in ("sky.nside=1024", "cosmology.lens_potential_accuracy=1")]
    monkeypatch.setenv("LENSREC_MEMORY", "1.5GB")
    status, _, err = lensrec("simulate", "quickstart", "--out", out, *sets)
    assert status == 1
    assert err.count("\n") == 1
    assert "1.50 GB are there (by LENSREC_MEMORY); --set sky." in err
    assert not list(out.rglob("*.fits")) + list(out.rglob("theory.ecsv"))
    advised = [f"--set={one}" for one in re.findall(r"--set (\S+)", err)]
    status, told, _ = lensrec("info", "quickstart", *sets, *advised)
    assert status == 0
    assert "refused: simulate" not in told
    assert "refused: simulate" in lensrec("info", "quickstart", *sets).out


def test_info_says_what_a_recipe_takes() -> None:
    status, out, _ = lensrec("info", "quickstart", "--set", "sky.n_sims=20")
    assert status == 0
    stages = {line.split()[0]: line for line in out.splitlines() if " GB  " in line}
    recipe = Recipe.load("quickstart", ["sky.n_sims=20"])
    for stage in ("simulate", "reconstruct", "bandpowers", "split", "view"):
        assert f"{peak_memory(recipe, stage, nthreads=2) / 1e9:.2f} GB" in stages[stage]
    assert re.search(r"simulate +\d+ of 20 tasks at a time", out)
    pipeline = lensrec("info", str(ROOT / "pipelines" / "quickstart.yaml")).out
    assert "view" in pipeline
    assert "bandpowers" not in pipeline


def test_sizes_of_files_are_exact(tmp_path: Path) -> None:
    for rows, dtype in ((1, np.complex128), (2, np.complex64), (3, np.complex128)):
        write_alm(tmp_path / "alm.fits", np.ones((rows, alm_size(70)), dtype))
        assert (tmp_path / "alm.fits").stat().st_size == alm_file(70, rows, np.dtype(dtype).itemsize)
    for rows, dtype in ((1, np.float32), (3, np.float64)):
        write_map(tmp_path / "map.fits", np.ones((rows, 12 * 32**2)), dtype=dtype)
        assert (tmp_path / "map.fits").stat().st_size == map_file(32, rows, np.dtype(dtype).itemsize)


def test_limits_of_containers_and_jobs(tmp_path: Path) -> None:
    def put(path: str, text: str) -> None:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text, encoding="utf-8")

    put("proc/self/cgroup", "0::/job/step\n")
    put("sys/fs/cgroup/job/memory.max", "4000000\n")
    put("sys/fs/cgroup/job/memory.current", "1500000\n")
    put("sys/fs/cgroup/job/memory.stat", "anon 1000000\ninactive_file 500000\n")
    put("sys/fs/cgroup/job/step/memory.max", "max\n")
    put("sys/fs/cgroup/job/step/memory.current", "1000000\n")
    put("sys/fs/cgroup/job/step/memory.stat", "inactive_file 0\n")
    group = {limit.by: limit for limit in memory_limits({}, tmp_path)}["its control group"]
    assert (group.total, group.free) == (4000000, 3000000)
    put("proc/self/cgroup", "5:cpu:/x\n4:memory:/x\n0::/\n")
    for name, text in (("limit_in_bytes", "7000000"), ("usage_in_bytes", "2000000"), ("stat", "total_inactive_file 9")):
        put(f"sys/fs/cgroup/memory/x/memory.{name}", f"{text}\n")
    group = {limit.by: limit for limit in memory_limits({}, tmp_path)}["its control group"]
    assert (group.total, group.free) == (7000000, 5000009)
    put("sys/fs/cgroup/memory/x/memory.limit_in_bytes", "9223372036854771712\n")
    assert "its control group" not in {limit.by for limit in memory_limits({}, tmp_path)}
    for job in ({"SLURM_MEM_PER_NODE": "2048"}, {"SLURM_MEM_PER_CPU": "512", "SLURM_CPUS_ON_NODE": "4"}):
        slurm = {limit.by: limit for limit in memory_limits(job, tmp_path)}["Slurm"]
        assert slurm.total == 2 << 30
        assert 0 < slurm.free < slurm.total


@pytest.mark.parametrize(
    ("text", "amount"), [("8GB", 8e9), ("7.5 GiB", 7.5 * 2**30), ("500m", 5e8), ("1024", 1024), ("2t", 2e12)]
)
def test_amounts_of_memory(text: str, amount: float) -> None:
    assert parse_bytes(text) == amount
    assert memory_limits({"LENSREC_MEMORY": text})[0].free == amount


@pytest.mark.parametrize("text", ["lots", "-1", "8 apples", "1e9", "GB", "i"])
def test_other_amounts_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="LENSREC_MEMORY must be an amount of memory such as 8GB"):
        memory_limits({"LENSREC_MEMORY": text})

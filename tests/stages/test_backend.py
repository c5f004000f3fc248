"""Skies that are lensed on a device: the same skies, said where they were made."""

import json

import numpy as np
import pytest

from lensrec.arrays import Backend
from lensrec.recipe import Recipe
from lensrec.rundir import create_run
from lensrec.sphere import nufft_remap
from lensrec.stages import simulate as stage
from lensrec.stages.simulate import backend_of, simulate, simulate_run
from tests.reference.cuda_on_host import COMPILER
from tests.reference.strict_namespace import Machine

needs_compiler = pytest.mark.skipif(COMPILER is None, reason="no C++ compiler runs the kernels on the host")


def small(**changes):
    sky = {"nside": 16, "lmax": 60, "lmax_data": 32, "epsilon": 1e-9, "seed": 3, **changes.pop("sky", {})}
    return Recipe.model_validate({"sky": sky, **changes})


def device(machine):
    return Backend("cupy", machine.namespace, "cupy on a stand-in", 0, nthreads=1, nufft=machine.nufft)


@needs_compiler
@pytest.mark.parametrize("polarisation", [True, False])
@pytest.mark.parametrize("legendre", ["host", "device"])
def test_a_sky_lensed_on_a_device_is_the_sky_lensed_in_numpy(polarisation, legendre, monkeypatch):
    monkeypatch.setattr(stage, "lensing_reach", lambda lmax: 100)  # a small grid, for a short test
    recipe = small(sky={"polarisation": polarisation})
    machine = Machine()
    b = device(machine)
    b.legendre = legendre
    there, here = simulate(recipe, 1, backend=b), simulate(recipe, 1)
    assert any(name.startswith("adjoint") for name, _, _ in machine.launched) == (legendre == "device")
    np.testing.assert_array_equal(there.unlensed_alm, here.unlensed_alm)
    assert "deflect" in [name for name, _, _ in machine.launched]
    for a, b in zip([*there.lensed, *there.data], [*here.lensed, *here.data], strict=True):
        assert np.std(a - b) < 2e-9 * np.std(b)  # ε for each of the two
    assert not np.array_equal(there.lensed, here.lensed)


@needs_compiler
def test_the_provenance_says_where(tmp_path, monkeypatch):
    monkeypatch.setattr(stage, "make_backend", lambda name, **options: device(Machine()))
    run = create_run(tmp_path / "device", small(compute={"backend": "cupy"}))
    simulate_run(run)
    assert json.loads((run.path / "provenance.json").read_text())["backends"] == {"simulate": "cupy on a stand-in"}
    monkeypatch.undo()
    run = create_run(tmp_path / "host", small(compute={"backend": "numpy"}))
    simulate_run(run)
    assert json.loads((run.path / "provenance.json").read_text())["backends"] == {"simulate": "numpy"}


def test_a_backend_is_asked_for_with_the_memory_of_its_largest_grid(monkeypatch):
    asked = []
    monkeypatch.setattr(stage, "make_backend", lambda name, **options: asked.append((name, options)))
    backend_of(small())
    ((name, options),) = asked
    assert name == "auto"
    assert options["needed_bytes"] > (64 + 40) * 1000 * 2000  # the Gauss–Legendre grid on which B modes are kept clean
    backend_of(small(compute={"backend": "numpy"}))
    backend_of(small(compute={"backend": "cupy"}, sky={"lensed": False}))
    assert [name for name, _ in asked[1:]] == ["numpy", "numpy"]


def test_nothing_of_the_device_runs_in_numpy(monkeypatch):
    monkeypatch.setattr(nufft_remap, "remap_fields", None)
    assert simulate(small(compute={"backend": "numpy"})).lensed.shape == (3, 12 * 16**2)

"""Skies that are lensed on a device: the same skies, said where they were made."""

import json
from itertools import combinations

import numpy as np
import pytest

from lensrec.arrays import Backend, complex_dtype
from lensrec.quadratic.estimators import quadratic_estimates
from lensrec.quadratic.products import PRODUCTS
from lensrec.recipe import Recipe
from lensrec.rundir import create_run
from lensrec.sphere import device_sht, nufft_remap
from lensrec.sphere.alm import alm_ell, alm_size
from lensrec.sphere.device_sht import product_bytes
from lensrec.stages import placing
from lensrec.stages import simulate as stage
from lensrec.stages.placing import estimation_backend, leg_components, quadratic_on
from lensrec.stages.reconstruct import reconstruct
from lensrec.stages.reconstruct_run import reconstruct_run
from lensrec.stages.setting import WEIGHTS, parts_of
from lensrec.stages.simulate import backend_of, simulate, simulate_run
from tests.reference.cuda_on_host import COMPILER
from tests.reference.strict_namespace import Machine
from tests.stages.conftest import COSMOLOGY

needs_compiler = pytest.mark.skipif(COMPILER is None, reason="no C++ compiler runs the kernels on the host")


def small(**changes):
    sky = {"nside": 16, "lmax": 60, "lmax_data": 32, "epsilon": 1e-9, "seed": 3, **changes.pop("sky", {})}
    # N1 takes seconds, and the device has no part in it
    reconstruction = {"n1": "none", **changes.pop("reconstruction", {})}
    return Recipe.model_validate({"cosmology": COSMOLOGY, "sky": sky, "reconstruction": reconstruction, **changes})


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


@needs_compiler
@pytest.mark.parametrize("polarisation", [True, False])
def test_a_sky_reconstructed_on_a_device_is_that_reconstructed_in_numpy(polarisation):
    recipe = small(sky={"polarisation": polarisation}, compute={"backend": "numpy"})
    data = simulate(recipe).data
    machine = Machine()
    there = reconstruct(data, recipe, quadratic=quadratic_on(device(machine)))
    here = reconstruct(data, recipe)
    assert {name.partition("_")[0] for name, _, _ in machine.launched} >= {"synthesis", "adjoint"}
    assert list(there.estimates) == list(here.estimates)
    used = alm_ell(here.recipe.reconstruction.L_max) >= 2
    for key, estimate in there.estimates.items():
        # sums of some 1e4 products, each rounded to 1e-16; at L = 1 a response vanishes, and rounding is divided by it
        expected = here.estimates[key][:, used]
        assert np.abs(estimate[:, used] - expected).max() < 1e-12 * np.abs(expected).max()


@needs_compiler
def test_a_run_is_reconstructed_where_its_recipe_says(tmp_path, monkeypatch):
    recipe = small(compute={"backend": "numpy"}, reconstruction={"estimators": ["TT"]})
    run = create_run(tmp_path / "run", recipe)
    simulate_run(run)
    asked = []
    monkeypatch.setattr(placing, "make_backend", lambda name, **options: asked.append(name) or device(Machine()))
    reconstruct_run(run)
    assert asked == ["numpy"]
    backends = json.loads((run.path / "provenance.json").read_text())["backends"]
    assert backends == {"simulate": "numpy", "reconstruct": "cupy on a stand-in"}


def test_without_a_device_the_estimators_say_so_in_one_line(monkeypatch):
    from lensrec.devices import NoDevice

    def none(*_: object) -> None:
        raise NoDevice("backend cupy: there is no CUDA driver on this machine; use the backend numpy")

    monkeypatch.setattr("lensrec.arrays._cuda_backend", none)
    with pytest.raises(NoDevice, match="no CUDA driver"):
        estimation_backend(small(compute={"backend": "cupy"}))
    assert not estimation_backend(small()).on_device


def test_the_estimators_ask_for_the_memory_of_their_legs(monkeypatch):
    asked = []
    chosen = device(Machine()) if COMPILER else None

    def make(name, *, needed_bytes=0, nthreads=0):
        asked.append((name, needed_bytes))
        return chosen

    monkeypatch.setattr(placing, "make_backend", make)
    if chosen is not None:
        chosen.legendre = "host"
        estimation_backend(small())  # slow double precision: "auto" turns to numpy
        assert [name for name, _ in asked] == ["auto", "numpy"]
        chosen.legendre = "device"
    temperature = {"estimators": ["TT"]}
    large = {"nside": 2048, "lmax": 4000, "lmax_data": 3000}
    estimation_backend(small(sky=large, compute={"backend": "cupy"}))
    estimation_backend(small(sky=large, compute={"backend": "cupy"}), temperature_only=True)
    estimation_backend(small(sky=large, compute={"backend": "cupy"}, reconstruction=temperature))
    (_, five), (_, one), (_, same) = asked[-3:]
    # ℓ = 3000: 4501 rings of 9216 pixels, 17 components of legs and 10 of products, 8 bytes each; TT has 3 and 2
    assert 27 * 4501 * 9001 * 8 < five < 1.25 * 27 * 4501 * 9001 * 8
    assert one == same == pytest.approx(five - 22 * 4501 * device_sht.gauss_legendre_grid(9000).nphi[0] * 8)
    single = product_bytes(3000, 3000, 17, 5, precision="single")
    assert 0.5 * five < single < 0.55 * five  # the recursion is in double precision


@needs_compiler
@pytest.mark.parametrize("estimators", [["TT"], ["EB"], ["TE", "EE"], ["MV"]])
@pytest.mark.parametrize("precision", ["double", "single"])
def test_the_estimators_take_no_more_than_they_ask_for(monkeypatch, estimators, precision):
    """Arrays counted by the stand-in, which sees what a product takes but nothing of what an FFT takes within cupy."""
    monkeypatch.setattr(device_sht, "_RINGS", 8)
    machine, asked = Machine(), []

    def make(name, *, needed_bytes=0, nthreads=0):
        asked.append(needed_bytes)
        return device(machine)

    monkeypatch.setattr(placing, "make_backend", make)
    bands = {"estimators": estimators, "lmax_t": 120, "lmax_p": 110, "L_max": 130, "precision": precision}
    recipe = small(sky={"nside": 64, "lmax": 200, "lmax_data": 130}, reconstruction=bands)
    quadratic, parts = quadratic_on(estimation_backend(recipe)), parts_of(recipe)
    rng = np.random.default_rng(9)
    dtype = complex_dtype(precision)
    alm = {field: rng.standard_normal(alm_size(120 if field == "T" else 110)).astype(dtype) for field in "TEB"}
    weights = {key: np.ones(121) for key in WEIGHTS} | {"BB": np.zeros(121)}
    got = quadratic(parts, alm, weights, 130)
    expected = quadratic_estimates(parts, alm, weights, 130, nthreads=1)
    for key in parts:
        # sums of 1e4 products, rounded to 1e-16 or 6e-8 each
        bound = 1e-12 if precision == "double" else 5e-6
        assert np.abs(got[key] - expected[key]).max() < bound * np.abs(expected[key]).max()
    # six recursions are counted, of which one estimator makes three
    assert machine.peak < asked[0] < (1.2 if len(parts) > 1 else 2.0) * machine.peak


def test_legs_are_counted_as_the_estimators_make_them():
    class Counted(Exception):
        pass

    class Counting:
        def vector_products(self, fields, multiply, outputs, lmax, *, scale):
            raise Counted(sum(field.components for field in fields), outputs)

    weights = {key: np.ones(5) for key in WEIGHTS} | {"BB": np.zeros(5)}
    alm = dict.fromkeys("TEB", np.zeros(alm_size(4), complex))
    for count in range(1, 6):
        for keys in combinations(PRODUCTS, count):
            with pytest.raises(Counted) as counted:
                quadratic_estimates(keys, alm, weights, 4, transforms=Counting())
            assert counted.value.args == (leg_components(keys), count)


def test_reconstruction_in_numpy_asks_nobody_for_a_device(monkeypatch):
    recipe = small(compute={"backend": "numpy"}, sky={"polarisation": False})
    for name in ("ask_driver", "import_part", "import_cufinufft"):
        monkeypatch.setattr(f"lensrec.arrays.{name}", None)
    assert list(reconstruct(simulate(recipe).data, recipe).estimates) == ["TT"]

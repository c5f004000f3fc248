"""The NUFFT remap against ducc0's interpolation, and its device side on a stand-in for cupy that runs real kernels."""

import gc

import ducc0
import numpy as np
import pytest

from lensrec.arrays import Backend
from lensrec.sphere import nufft_remap, remap
from lensrec.sphere.alm import alm_size
from lensrec.sphere.grids import gauss_legendre_grid, healpix_grid
from lensrec.sphere.nufft_remap import Field, remap_fields, remap_scalars, remap_tp
from lensrec.sphere.nufft_setting import needed_bytes, nufft_setting, plan_bytes, plane_shape
from tests.reference.cuda_on_host import COMPILER
from tests.reference.strict_namespace import Machine
from tests.sphere.inputs import (
    LADDER,
    adversarial_directions,
    complex_field,
    lensing_potential,
    random_alm,
    relative_error,
    sky_rms,
)

needs_compiler = pytest.mark.skipif(COMPILER is None, reason="no C++ compiler runs the kernels on the host")


def strict_backend(machine, device=0, stream=None):
    return Backend("cupy", machine.namespace, "a stand-in for cupy", device, stream, nthreads=1, nufft=machine.nufft)


def sky(seed, lmax, rows=3, rms=2e-3):
    rng = np.random.default_rng(seed)
    return random_alm(rng, rows, lmax, lmin=2), lensing_potential(rng, lmax, rms)


# ---- the same code in numpy ----------------------------------------------------------------------------------


@pytest.mark.parametrize("spin", [0, 1, 2, 3])
@pytest.mark.parametrize("lmax", [4, 60, 300])
def test_nufft_is_ducc0s_synthesis_to_epsilon(spin, lmax):
    rng = np.random.default_rng(40 + spin)
    theta, phi = adversarial_directions()
    theta = np.concatenate([theta, np.arccos(rng.uniform(-1, 1, 20_000))])
    phi = np.concatenate([phi, rng.uniform(0, 2 * np.pi, 20_000)])
    gamma = rng.uniform(-np.pi, np.pi, len(theta))
    alm = random_alm(rng, 1 if spin == 0 else 2, lmax, lmin=spin)  # white: the hardest spectrum
    exact = ducc0.sht.synthesis_general(
        alm=alm, spin=spin, lmax=lmax, loc=np.stack([theta, phi], axis=1), epsilon=3e-13, nthreads=2
    )
    expected = exact[0] if spin == 0 else (exact[0] + 1j * exact[1]) * np.exp(1j * spin * gamma)
    rows = alm if spin else alm[0]
    for epsilon in LADDER:
        values = nufft_remap.remap(
            rows, theta, phi, spin=spin, epsilon=epsilon, gamma=gamma, backend="numpy", nthreads=2
        )
        error = np.sqrt(np.mean(np.abs(complex_field(values) - expected) ** 2) / (2 if spin else 1)) / sky_rms(alm)
        assert error <= epsilon  # no more than 0.45 of it from the NUFFT, see nufft_setting, and rounding


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("grid", [healpix_grid(32), gauss_legendre_grid(90)])
@pytest.mark.parametrize("curl", [False, True])
def test_lensed_skies_are_those_of_the_interpolating_remap(rows, grid, curl):
    teb, phi = sky(1, 100, rows)
    omega = lensing_potential(np.random.default_rng(2), 100, 1e-3) if curl else None
    exact = remap.remap_tp(teb, phi, grid, curl_alm=omega, epsilon=1e-12)
    for epsilon in LADDER:
        lensed = remap_tp(teb, phi, grid, curl_alm=omega, epsilon=epsilon, backend="numpy", nthreads=2)
        assert (lensed.shape, lensed.dtype) == (exact.shape, np.float64)
        for got, expected in zip(lensed, exact, strict=True):
            assert relative_error(got, expected) <= epsilon


@pytest.mark.parametrize("lmax", [1, 2, 3, 10, 11])
def test_low_band_limits(lmax):
    rng = np.random.default_rng(3)
    alm, phi, grid = random_alm(rng, 2, lmax), lensing_potential(rng, 7, 0.3), healpix_grid(4)
    for given in (alm[:1], alm):
        exact = [remap.remap_tp(row[None], phi, grid, epsilon=1e-12)[0] for row in given]
        # 1e-9 is ten times the ε of rms of order 1 in the worst of 192 pixels
        np.testing.assert_allclose(
            remap_scalars(given, phi, grid, epsilon=1e-10, backend="numpy"), exact, rtol=0, atol=1e-9
        )


def test_fields_packed_in_pairs_do_not_mix():
    rng = np.random.default_rng(4)
    alm, phi, grid = random_alm(rng, 5, 60), lensing_potential(rng, 40, 1e-2), healpix_grid(16)
    alm[1] *= 1e-6  # a field of another unit keeps the error of its partner
    packed = remap_scalars(alm, phi, grid, epsilon=1e-11, backend="numpy")
    for i, row in enumerate(alm):
        exact = remap.remap_tp(row[None], phi, grid, epsilon=1e-12)[0]
        bound = 1e-11 * (sky_rms(alm[:1]) if i == 1 else sky_rms(row[None]))
        assert np.sqrt(np.mean((packed[i] - exact) ** 2)) < bound


def test_fields_of_every_spin_share_one_deflection():
    rng = np.random.default_rng(5)
    phi, grid = lensing_potential(rng, 50, 0.02), healpix_grid(16)
    alms = {spin: random_alm(rng, 2, 50, lmin=spin) for spin in range(4)}
    maps = remap_fields([Field(alm, spin) for spin, alm in alms.items()], phi, grid, epsilon=1e-10, backend="numpy")
    positions, gamma = remap.deflected_positions(remap.deflection(phi, grid), grid)
    for spin in (1, 2, 3):
        exact = remap.remap(alms[spin], positions, spin=spin, gamma=gamma, epsilon=1e-12)
        assert relative_error(maps[2 * spin : 2 * spin + 2], exact) < 1e-10
    gradient = remap_fields([Field(alms[3][:1], 3)], phi, grid, epsilon=1e-10, backend="numpy")
    exact = remap.remap(alms[3][0], positions, spin=3, gamma=gamma, epsilon=1e-12)
    assert relative_error(gradient, exact) < 1e-10


def test_legendre_sums_sent_in_pieces_leave_no_seam(monkeypatch):
    (teb, phi), grid = sky(6, 41), healpix_grid(8)
    whole = [remap_tp(teb[:n], phi, grid, backend="numpy") for n in (1, 3)]
    for step in (1, 7, 42):
        monkeypatch.setattr(nufft_remap, "chunk_orders", lambda lmax, itemsize, step=step: step)
        for n, expected in zip((1, 3), whole, strict=True):
            # the same operations; only the FFT's batches differ, by rounding of an rms of 10
            np.testing.assert_allclose(remap_tp(teb[:n], phi, grid, backend="numpy"), expected, rtol=0, atol=1e-12)


# ---- the device's side -----------------------------------------------------------------------------------------


@needs_compiler
@pytest.mark.parametrize("rows", [1, 3])
def test_the_device_pipeline_gives_numpys_map(rows):
    (teb, phi), grid = sky(7, 48, rows, rms=0.02), healpix_grid(16)
    machine = Machine()
    b = strict_backend(machine)
    lensed = remap_tp(teb, phi, grid, epsilon=1e-10, backend=b)
    assert not isinstance(lensed, np.ndarray)
    # 1e-12 in the positions, of gradients of 30 rms, where kernels and ducc0 round differently
    expected = remap_tp(teb, phi, grid, epsilon=1e-10, backend="numpy")
    np.testing.assert_allclose(b.to_host(lensed), expected, rtol=0, atol=1e-10)
    pairs = b.to_host(remap_scalars(teb, phi, grid, epsilon=1e-10, backend=b))
    np.testing.assert_allclose(pairs, remap_scalars(teb, phi, grid, epsilon=1e-10, backend="numpy"), rtol=0, atol=1e-10)


@needs_compiler
@pytest.mark.parametrize("rows", [1, 3])
def test_legendre_sums_made_on_the_device_give_the_same_map(rows):
    (teb, phi), grid = sky(7, 48, rows, rms=0.02), healpix_grid(16)
    b = strict_backend(machine := Machine())
    b.legendre = "device"
    lensed = b.to_host(remap_tp(teb, phi, grid, epsilon=1e-10, backend=b))
    expected = remap_tp(teb, phi, grid, epsilon=1e-10, backend="numpy")
    np.testing.assert_allclose(lensed, expected, rtol=0, atol=1e-10)
    pairs = b.to_host(remap_scalars(teb, phi, grid, epsilon=1e-10, backend=b))
    np.testing.assert_allclose(pairs, remap_scalars(teb, phi, grid, epsilon=1e-10, backend="numpy"), rtol=0, atol=1e-10)
    names = {name for name, _, _ in machine.launched}
    assert {"synthesis_gradient_polar", "synthesis_gradient_ordinary", "synthesis_scalar_polar"} < names
    assert ("synthesis_spin_ordinary" in names) == (rows == 3)


@needs_compiler
def test_devices_and_streams_do_not_meet():
    """Two devices in turn, each on a stream of its own: the stand-in refuses an array or a plan of the other."""
    (teb, phi), grid = sky(8, 30), healpix_grid(8)
    machine = Machine(devices=2)
    backends = [strict_backend(machine, device, machine.new_stream(10 + device)) for device in (0, 1)]
    maps = [[b.to_host(remap_tp(teb, phi, grid, backend=b)) for b in backends] for _ in range(2)]
    assert {(device, stream) for _, device, stream in machine.launched} == {(0, 10), (1, 11)}
    assert len(machine.plans) == 4  # of the deflection and of the sky, made once for each device
    for row in maps:
        for got in row:
            np.testing.assert_array_equal(got, maps[0][0])


@needs_compiler
def test_a_backend_without_a_stream_follows_the_current_one():
    (teb, phi), grid = sky(8, 10, 1), healpix_grid(4)
    machine = Machine()
    b = strict_backend(machine)
    for ptr in (3, 4):
        machine.launched.clear()
        with machine.new_stream(ptr):
            remap_tp(teb, phi, grid, backend=b)
        assert {stream for _, _, stream in machine.launched} == {ptr}


@needs_compiler
def test_positions_are_found_once_for_t_and_p():
    (teb, phi), grid = sky(9, 30), healpix_grid(8)
    machine = Machine()
    remap_tp(teb, phi, grid, backend=strict_backend(machine))
    names = [name for name, _, _ in machine.launched]
    assert names.count("deflect") == 1
    assert names == ["pixel_centres", "nufft", "deflect", *2 * ["nufft", "unpack_double_double"]]


@needs_compiler
def test_little_memory_takes_tiles_and_a_smaller_fine_grid(monkeypatch):
    (teb, phi), grid = sky(10, 64), healpix_grid(32)
    expected = remap_tp(teb, phi, grid, epsilon=1e-6, backend="numpy")
    b = strict_backend(machine := Machine())
    ample = b.to_host(remap_tp(teb, phi, grid, epsilon=1e-6, backend=b))
    np.testing.assert_allclose(ample, expected, rtol=0, atol=1e-6)
    assert {plan["upsampfac"] for plan in machine.plans} == {2.0}
    b = strict_backend(machine := Machine(free=200_000))
    tight = b.to_host(remap_tp(teb, phi, grid, epsilon=1e-6, backend=b))
    assert {plan["upsampfac"] for plan in machine.plans} == {1.25}
    assert [name for name, _, _ in machine.launched].count("deflect") > 3
    for got, exact in zip(tight, remap.remap_tp(teb, phi, grid, epsilon=1e-12), strict=True):
        assert relative_error(got, exact) < 1e-6


@needs_compiler
@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("legendre", ["host", "device"])
@pytest.mark.parametrize(("nside", "lmax"), [(16, 128), (128, 48)])
def test_memory_stays_within_the_arithmetic(rows, legendre, nside, lmax):
    """Planes more than pixels, and pixels more than planes: the arrays there were at one time, without the plans."""
    (teb, phi), grid = sky(13, lmax, rows), healpix_grid(nside)
    b = strict_backend(machine := Machine())
    b.legendre = legendre
    lensed = remap_tp(teb, phi, grid, epsilon=1e-6, backend=b)
    setting = nufft_setting(1e-6, 0.0)
    shapes = [plane_shape(lmax, real=True)] if rows == 1 else 2 * [plane_shape(lmax)]
    plans = [plan_bytes(shape, setting) for shape in (max(shapes), plane_shape(lmax))]
    bound = needed_bytes(grid, lmax, rows=rows, epsilon=1e-6, upsampling=2.0, tile=grid.npix)
    assert machine.peak <= bound - min(plans)
    assert machine.peak > 0.3 * (bound - max(plans))  # nor is it far below
    del lensed, b
    gc.collect()
    assert machine.live == 0  # and nothing is left


@needs_compiler
@pytest.mark.parametrize(("red", "dtype"), [(True, "complex64"), (False, "complex128")])
def test_single_precision_is_taken_where_rounding_allows(red, dtype):
    """A white field of lmax 60 loses 1e-5 to single-precision positions; a red one keeps ε = 1e-5."""
    rng = np.random.default_rng(11)
    ell = np.arange(61.0)
    alm = random_alm(rng, 3, 60, cl=1 / np.maximum(ell, 1) ** 4 if red else None, lmin=2).astype(np.complex64)
    phi, grid = lensing_potential(rng, 60, 2e-3), healpix_grid(16)
    exact = remap.remap_tp(alm.astype(complex), phi, grid, epsilon=1e-12)
    b = strict_backend(machine := Machine())
    lensed = b.to_host(remap_tp(alm, phi, grid, epsilon=1e-5, backend=b))
    assert lensed.dtype == np.float32
    assert machine.plans[0]["dtype"] == "complex128"  # the deflection, always
    assert machine.plans[1]["dtype"] == dtype
    for got, expected in zip(lensed, exact, strict=True):
        assert relative_error(got, expected) < 1e-5
    finer = b.to_host(remap_tp(alm, phi, grid, epsilon=1e-7, backend=b))
    assert finer.dtype == np.float64


# ---- refusals --------------------------------------------------------------------------------------------------


def test_what_cannot_be_remapped_is_refused():
    grid, alm, phi = healpix_grid(2), np.zeros((3, alm_size(4)), complex), np.zeros(alm_size(4), complex)
    with pytest.raises(ValueError, match="epsilon must be between"):
        remap_tp(alm, phi, grid, epsilon=1e-13, backend="numpy")
    with pytest.raises(ValueError, match=r"\(3, nalm\)"):
        remap_tp(alm[:2], phi, grid, backend="numpy")
    with pytest.raises(ValueError, match=r"\(n, nalm\)"):
        remap_scalars(alm[0], phi, grid, backend="numpy")
    with pytest.raises(ValueError, match="infinite or NaN"):
        remap_tp(alm, np.full_like(phi, np.nan), grid, backend="numpy")
    with pytest.raises(ValueError, match="one lmax"):
        remap_fields([Field(alm[:1], 0), Field(alm[:2, :3], 2)], phi, grid, backend="numpy")
    with pytest.raises(ValueError, match="one lmax"):
        remap_fields([], phi, grid, backend="numpy")
    with pytest.raises(ValueError, match="backend must be"):
        remap_tp(alm, phi, grid, backend="cuda")
    assert not remap_tp(alm, phi, grid, backend="numpy").any()  # a sky of zeros has no ℓ_rms, and is lensed to zeros

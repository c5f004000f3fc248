"""What NUFFTs cost in error, measured again, and what the remap takes of a device's memory."""

import ducc0
import finufft
import numpy as np
import pytest

from lensrec.arrays import backend
from lensrec.sphere.grids import healpix_grid
from lensrec.sphere.nufft_remap import Field, fourier_plane
from lensrec.sphere.nufft_setting import (
    SINGLE_ROUNDING,
    UPSAMPLING,
    needed_bytes,
    nufft_setting,
    plan_bytes,
    plane_shape,
    rms_multipole,
    tile_pixels,
)
from lensrec.sphere.pixel_kernels import ring_tiles
from tests.sphere.inputs import random_alm, relative_error


def measured(spin, lmax, settings):
    """Error of finufft over the field's rms at 20,000 random directions, for (tolerance, upsampling, dtype)."""
    rng = np.random.default_rng(60)
    alm = random_alm(rng, 1 if spin == 0 else 2, lmax, lmin=spin)
    theta, phi = np.arccos(rng.uniform(-1, 1, 20_000)), rng.uniform(0, 2 * np.pi, 20_000)
    exact = ducc0.sht.synthesis_general(
        alm=alm, spin=spin, lmax=lmax, loc=np.stack([theta, phi], axis=1), epsilon=3e-13, nthreads=2
    )
    expected = exact[0] + (1j * exact[1] if spin else 0)
    plane = fourier_plane(backend("numpy"), Field(alm, spin), np.dtype(complex))
    for tolerance, factor, dtype in settings:
        real = np.empty(0, dtype).real.dtype
        options = {"isign": 1, "modeord": 1, "upsampfac": factor, "nthreads": 2, "showwarn": 0}
        plan = finufft.Plan(2, plane.shape, 1, tolerance, dtype=dtype, **options)
        plan.setpts(phi.astype(real), theta.astype(real))
        yield relative_error(plan.execute(plane.astype(dtype)), expected)


@pytest.mark.parametrize("spin", [0, 3])
@pytest.mark.parametrize("upsampling", UPSAMPLING)
def test_error_at_every_tolerance_is_what_the_table_says(spin, upsampling):
    finest, ratio = UPSAMPLING[upsampling]
    # at 1e-13 rounding adds as much again: from there the promise, which ends at 1e-12, is out of reach
    ladder = [10.0**-k for k in range(3, 13) if 10.0**-k >= finest]
    settings = [(t, upsampling, "complex128") for t in ladder]
    worst = max(e / t for t, e in zip(ladder, measured(spin, 100, settings), strict=True))
    assert 0.9 * ratio < worst < 1.05 * ratio  # a few per cent from one spectrum and lmax to the next


@pytest.mark.filterwarnings("ignore:FINUFFT eps tolerance")  # which is what is measured
def test_a_small_fine_grid_ends_above_its_finest_tolerance():
    (error,) = measured(0, 100, [(1e-12, 1.25, "complex128")])
    assert error > 1e-11
    assert error < UPSAMPLING[1.25][0]


@pytest.mark.parametrize("lmax", [75, 300])
@pytest.mark.parametrize("upsampling", UPSAMPLING)
def test_rounding_of_single_precision_grows_with_the_gradient(lmax, upsampling):
    # white, so that ℓ_rms is lmax/√2; at a low lmax 1.25 comes out up to 20 % better
    (error,) = measured(2, lmax, [(1e-6, upsampling, "complex64")])
    ratio = error / (SINGLE_ROUNDING[upsampling] * lmax / np.sqrt(2))
    assert 0.75 < ratio < 1.05


def test_setting_follows_epsilon_and_the_spectrum():
    assert nufft_setting(1e-7, 0.0).dtype == np.complex128
    assert nufft_setting(1e-7, 0.0, single=True).dtype == np.complex64  # nothing to be lost in a constant
    assert nufft_setting(1e-5, 500.0, single=True).dtype == np.complex128
    assert nufft_setting(1e-3, 500.0, single=True).dtype == np.complex64
    assert nufft_setting(1e-3, 1e4, single=True).dtype == np.complex128
    with pytest.raises(ValueError, match="does not reach"):
        nufft_setting(1e-10, 0.0, upsampling=1.25)
    with pytest.raises(ValueError, match="must be one of"):
        nufft_setting(1e-5, 0.0, upsampling=1.5)


def test_rms_multipole_is_that_of_the_gradient():
    alm = random_alm(np.random.default_rng(61), 2, 20, cl=np.arange(21.0) == 12)
    assert rms_multipole(alm) == pytest.approx(np.sqrt(12 * 13), rel=1e-14)
    assert rms_multipole(0 * alm) == 0.0


def test_plane_has_room_for_every_mode():
    for lmax in (1, 2, 40, 41, 999, 4024):
        rows, columns = plane_shape(lmax)
        assert rows == 2 * lmax + 1
        assert columns % 2 == 0
        assert 2 * lmax + 2 <= columns <= 2.3 * lmax + 4  # |k| ≤ lmax, and little more
        assert plane_shape(lmax, real=True) == (lmax + 1, columns)


def test_memory_by_arithmetic():
    """Against a count by hand, and the two sizes that are promised to fit, T, Q and U at ε = 1e-7."""
    assert plan_bytes((100, 200), nufft_setting(1e-6, 0.0)) == 2 * 16 * 200 * 400
    a100, consumer = 80e9, 24e9
    large, middle = healpix_grid(8192), healpix_grid(4096)
    assert needed_bytes(large, 8000, rows=3, upsampling=2.0) < a100
    assert needed_bytes(large, 8000, rows=3) < 0.75 * a100
    assert needed_bytes(middle, 6000, rows=3) < consumer
    assert needed_bytes(middle, 8000, rows=1) < consumer
    # coefficients and tables of the recursion, α and maps of every pixel, two planes of 16,001 × 16,000-odd modes, and
    # a fine grid twice
    by_hand = 56 * 32e6 + large.npix * (16 + 24) + 2 * 16 * 16_001 * 16_128 + 2 * 16 * (2 * 16_001) * (2 * 16_128)
    assert needed_bytes(large, 8000, rows=3, upsampling=2.0) == pytest.approx(by_hand, rel=0.02)


def test_tiles_hold_whole_rings_and_every_pixel_once():
    grid = healpix_grid(16)
    assert len(ring_tiles(grid, tile_pixels(grid.npix, None))) == 1
    for most in (1, 64, 200, grid.npix - 1):
        tiles = ring_tiles(grid, most)
        assert sum(tile.npix for tile in tiles) == grid.npix
        assert all(tile.npix <= max(most, int(tile.nphi.max())) for tile in tiles)
        assert all(int(tile.ringstart[0]) == 0 for tile in tiles)
        np.testing.assert_array_equal(np.concatenate([tile.theta for tile in tiles]), grid.theta)
    assert tile_pixels(10**9, 64 * 10**6) == 900_000
    assert tile_pixels(100, 0) == 1

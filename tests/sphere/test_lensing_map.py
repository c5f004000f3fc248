"""Whole lensed maps against the general remap, which reaches each position by itself."""

import numpy as np
import pytest

from lensrec.sphere import lensing_map
from lensrec.sphere.circle import fold, unfold
from lensrec.sphere.grids import Grid, gauss_legendre_grid, healpix_grid
from lensrec.sphere.lensing_map import lens_rings
from lensrec.sphere.remap import deflected_positions, deflection, remap, remap_by, remap_tp
from tests.sphere.inputs import lensing_potential, random_alm, relative_error


def lensed(alm, spin, field, grid, epsilon, **options):
    out = np.empty((len(alm), grid.npix), alm.real.dtype)
    lens_rings([(alm, spin)], field, grid, out, epsilon=epsilon, **options)
    return out


def expected(alm, spin, field, grid):
    positions, gamma = deflected_positions(field, grid)
    return np.atleast_2d(remap(alm, positions, spin=spin, epsilon=1e-12, gamma=gamma if spin else None))


@pytest.mark.parametrize("spin", [0, 1, 2, 3])
@pytest.mark.parametrize("epsilon", [1e-3, 1e-5, 1e-6, 1e-7, 1e-9, 1e-12])
def test_accuracy(spin, epsilon):
    rng = np.random.default_rng(10 + spin)
    grid = healpix_grid(32)
    alm = random_alm(rng, 1 if spin == 0 else 2, 120, lmin=spin)
    field = 2e-3 * rng.standard_normal((2, grid.npix))
    truth = expected(alm, spin, field, grid)
    got = lensed(alm, spin, field, grid, epsilon)
    # rounding of cos θ next to the poles puts a floor of 5e-13 under both
    assert relative_error(got, truth) < max(epsilon, 6e-13)
    # ε is an rms: of 12288 pixels the worst lies below 5 of them, a Gaussian one with a chance of 0.7 %
    assert np.abs(got - truth).max() < 6 * max(epsilon, 6e-13) * truth.std()


@pytest.mark.parametrize("size", [0.0, 1e-300, 0.03, 0.2, 1.0, 7.0])
@pytest.mark.parametrize("grid", [healpix_grid(8), gauss_legendre_grid(41), healpix_grid(1)])
def test_deflections_of_any_size(size, grid):
    """Beyond a tenth of sin θ the series give way to the library's functions; beyond π/2 one band is the sphere."""
    rng = np.random.default_rng(3)
    field = size * rng.standard_normal((2, grid.npix))
    for spin in (0, 2):
        alm = random_alm(rng, 1 if spin == 0 else 2, 30, lmin=spin)
        truth = expected(alm, spin, field, grid)
        assert relative_error(lensed(alm, spin, field, grid, 1e-10), truth) < 1e-10


@pytest.mark.parametrize("lmax", [0, 1, 2, 3])
def test_lowest_multipoles(lmax):
    rng = np.random.default_rng(4)
    grid = healpix_grid(4)
    field = 0.1 * rng.standard_normal((2, grid.npix))
    alm = random_alm(rng, 1, lmax)
    assert relative_error(lensed(alm, 0, field, grid, 1e-12), expected(alm, 0, field, grid)) < 1e-12
    if lmax >= 2:
        alm = random_alm(rng, 2, lmax, lmin=2)
        assert relative_error(lensed(alm, 2, field, grid, 1e-12), expected(alm, 2, field, grid)) < 1e-12


def test_bands_hide_nothing(monkeypatch):
    """The map does not know how it was cut: by one thread or three, in bands of any height."""
    rng = np.random.default_rng(5)
    grid = healpix_grid(32)
    field = 0.02 * rng.standard_normal((2, grid.npix))
    alm = random_alm(rng, 2, 90, lmin=2)
    whole = lensed(alm, 2, field, grid, 1e-6, nthreads=1)
    np.testing.assert_array_equal(lensed(alm, 2, field, grid, 1e-6, nthreads=3), whole)
    for height in (1, 7, 1000):
        monkeypatch.setattr(lensing_map, "_BAND_ROWS", height)
        # rows beyond a pole are transformed from another end of φ: rounding only
        np.testing.assert_allclose(lensed(alm, 2, field, grid, 1e-6), whole, rtol=0, atol=1e-13 * np.abs(whole).max())


def test_rings_in_any_order():
    rng = np.random.default_rng(6)
    grid = gauss_legendre_grid(60)
    field = 0.01 * rng.standard_normal((2, grid.npix))
    alm = random_alm(rng, 1, 25)
    order = rng.permutation(len(grid.theta))
    shuffled = Grid(
        grid.theta[order], grid.nphi[order], grid.phi0[order], grid.ringstart[order], grid.weights[order], -1
    )
    np.testing.assert_array_equal(
        lensed(alm, 0, field, shuffled, 1e-7, nthreads=1), lensed(alm, 0, field, grid, 1e-7, nthreads=1)
    )


def test_one_lens_for_several_skies():
    rng = np.random.default_rng(7)
    grid = healpix_grid(16)
    phi, omega = lensing_potential(rng, 40, 0.01), lensing_potential(rng, 40, 0.001)
    field = deflection(phi, grid, curl_alm=omega)
    kept = field.copy()
    for seed in (1, 2):
        teb = random_alm(np.random.default_rng(seed), 3, 40, lmin=2)
        np.testing.assert_array_equal(remap_by(teb, field, grid), remap_tp(teb, phi, grid, curl_alm=omega))
    np.testing.assert_array_equal(field, kept)
    with pytest.raises(ValueError, match="must have the shape"):
        remap_by(teb, field[:, 1:], grid)
    with pytest.raises(ValueError, match="infinite or NaN"):
        remap_by(teb, np.where(np.arange(grid.npix) == 5, np.inf, field), grid)


def test_single_precision_keeps_its_promise():
    rng = np.random.default_rng(8)
    grid = healpix_grid(64)
    field = 1e-3 * rng.standard_normal((2, grid.npix))
    alm = random_alm(rng, 2, 180, lmin=2)
    got = lensed(alm.astype(np.complex64), 2, field, grid, 1e-5)
    assert got.dtype == np.float32
    assert relative_error(got, expected(alm, 2, field, grid)) < 1e-5


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("orders", [1, 2, 5])
def test_parities_part_again(sign, orders):
    rng = np.random.default_rng(9)
    points = 71
    leg = rng.standard_normal((points, orders)) + 1j * rng.standard_normal((points, orders))
    odd = slice(1 if sign > 0 else 0, None, 2)
    leg[0, odd] = leg[-1, odd] = 0  # an odd function vanishes at both poles
    circle = np.empty(((orders + 1) // 2, 2 * (points - 1)), complex)
    unfold(leg, np.full(orders, 2.0), sign, circle)
    back = np.empty_like(leg)
    fold(circle, sign, back)
    np.testing.assert_allclose(back, 2 * leg, rtol=0, atol=1e-14)

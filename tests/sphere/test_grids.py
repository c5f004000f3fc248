"""Grids: pixels against healpy's, quadrature against exact integrals."""

import healpy as hp
import numpy as np
import pytest

from lensrec.sphere.grids import car_grid, gauss_legendre_grid, healpix_grid
from tests.reference.remap import pixel_angles


@pytest.mark.parametrize("nside", [1, 2, 4, 64, 256])
def test_healpix_pixels_are_those_of_healpy(nside):
    grid = healpix_grid(nside)
    theta, phi = hp.pix2ang(nside, np.arange(12 * nside**2))
    ours = pixel_angles(grid)
    # healpy has θ from arccos z, with 1e-16/θ near the poles: 1e-13 on the first ring of nside 256
    np.testing.assert_allclose(ours[0], theta, rtol=0, atol=1e-13)
    np.testing.assert_allclose(ours[1], phi, rtol=0, atol=3e-15)
    assert grid.npix == 12 * nside**2
    assert grid.nside == nside
    assert grid.exact_degree == -1
    assert abs((grid.weights * grid.nphi).sum() - 4 * np.pi) < 1e-12


def test_healpix_grids_are_made_once():
    assert healpix_grid(32) is healpix_grid(32)


@pytest.mark.parametrize("nside", [0, -1, 3, 12, 16384])
def test_healpix_of_other_nsides_is_refused(nside):
    with pytest.raises(ValueError, match=f"power of two from 1 to 8192, got {nside}"):
        healpix_grid(nside)


@pytest.mark.parametrize("degree", [0, 1, 2, 3, 10, 11, 60, 301])
def test_gauss_legendre_integrates_every_harmonic_up_to_its_degree(degree):
    """∫ x^k dcosθ and Σ_pixels exp(imφ) are exact up to the degree, and the polar one is not much beyond."""
    grid = gauss_legendre_grid(degree)
    assert grid.exact_degree == degree
    assert (grid.nphi > degree).all()
    np.testing.assert_array_equal(grid.ringstart, np.cumsum(grid.nphi) - grid.nphi)
    ring = grid.weights * grid.nphi / (2 * np.pi)
    power = np.arange(degree + 1)
    x = np.cos(grid.theta)
    # sums of up to 151 terms of order one: 1e-13
    moments = (ring * x ** power[:, None]).sum(axis=1)
    np.testing.assert_allclose(moments, np.where(power % 2, 0, 2 / (power + 1)), rtol=0, atol=1e-13)
    count = int(grid.nphi[0])
    phase = np.exp(2j * np.pi * np.outer(power[1:], np.arange(count)) / count).sum(axis=1)
    np.testing.assert_allclose(phase, 0, atol=1e-10)
    # with N nodes the monic Legendre polynomial of degree N vanishes on all of them, and its square does not
    zero = np.polynomial.legendre.legval(x, np.eye(len(x) + 1)[-1])
    assert (ring * zero**2).sum() < 1e-20
    assert 2 * len(x) > degree


@pytest.mark.parametrize("degree", [0, 5, 64, 1000])
def test_gauss_legendre_grid_is_the_shortest(degree):
    grid = gauss_legendre_grid(degree)
    assert 2 * (len(grid.theta) - 1) - 1 < degree or len(grid.theta) == 1
    assert grid.nphi[0] <= 1.2 * (degree + 1) + 4  # good FFT lengths are never far
    assert abs((grid.weights * grid.nphi).sum() - 4 * np.pi) < 1e-12
    assert grid.npix == len(grid.theta) * grid.nphi[0]


def test_a_negative_degree_is_refused():
    with pytest.raises(ValueError, match="must not be negative, got -1"):
        gauss_legendre_grid(-1)


@pytest.mark.parametrize("nrings", [8, 33])
@pytest.mark.parametrize("poles", [True, False])
def test_car_grids_integrate_up_to_their_degree(nrings: int, poles: bool) -> None:
    """Clenshaw–Curtis with rings at the poles, Fejér's first rule with rings half a step off them."""
    step = np.pi / (nrings - 1) if poles else np.pi / nrings
    theta = step * (np.arange(nrings) + (0.0 if poles else 0.5))
    grid = car_grid(theta, 2 * nrings, 0.1)
    assert grid.exact_degree == nrings - 1
    assert grid.npix == 2 * nrings**2
    ring = grid.weights * grid.nphi / (2 * np.pi)
    power = np.arange(nrings)
    moments = (ring * np.cos(theta) ** power[:, None]).sum(axis=1)
    np.testing.assert_allclose(moments, np.where(power % 2, 0, 2 / (power + 1)), rtol=0, atol=1e-13)
    # one more ring would be needed for the next even power
    even = nrings + nrings % 2
    assert abs((ring * np.cos(theta) ** even).sum() - 2 / (even + 1)) > 1e-14
    southward = car_grid(theta[::-1], 2 * nrings, 0.1)
    np.testing.assert_allclose(southward.weights, grid.weights[::-1], rtol=1e-13)


def test_a_band_of_car_rings_has_its_own_area() -> None:
    theta = np.radians(np.arange(60.0, 80.5, 0.5))
    grid = car_grid(theta, 720)
    assert grid.exact_degree == -1
    area = 2 * np.pi * (np.cos(np.radians(59.75)) - np.cos(np.radians(80.25)))
    assert abs((grid.weights * grid.nphi).sum() - area) < 1e-12


@pytest.mark.parametrize(
    ("theta", "message"),
    [
        ([0.1, 0.2, 0.4], "equidistant"),
        ([0.1, 0.2, 0.1], "equidistant"),
        ([-0.1, 0.1, 0.3], "from 0 to pi"),
        ([0.3], "at least two rings"),
    ],
)
def test_rings_that_are_no_car_grid_are_refused(theta: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        car_grid(np.array(theta), 8)

"""Where a deflection leads and how it turns the axes there, against geometry in closed form."""

import numpy as np
import pytest

from lensrec.sphere.grids import gauss_legendre_grid, healpix_grid
from lensrec.sphere.remap import deflected_positions, deflection
from tests.reference import remap as truth
from tests.sphere.inputs import dipole_potential


@pytest.mark.parametrize("amplitude", [1e-12, 1e-5, 1e-3, 0.3, -0.9, 2.5, 4.0, -10.0])
@pytest.mark.parametrize("grid", [healpix_grid(1), healpix_grid(128), gauss_legendre_grid(101)])
def test_dipole_moves_along_meridians_without_turning(amplitude, grid):
    theta, phi = truth.pixel_angles(grid)
    alpha = np.array([-amplitude * np.sin(theta), 0 * theta])
    positions, gamma = deflected_positions(alpha, grid)

    unfolded = (theta - amplitude * np.sin(theta)) % (2 * np.pi)
    over = unfolded > np.pi  # behind a pole both axes have turned by π and the longitude is the opposite one
    # 1e-14 is 45 roundings of 1; θ′ and φ′ carry those of angles of up to 4π
    np.testing.assert_allclose(positions[:, 0], np.where(over, 2 * np.pi - unfolded, unfolded), rtol=0, atol=1e-14)
    turn = positions[:, 1] - phi - np.where(over, np.pi, 0)
    np.testing.assert_allclose(np.exp(1j * turn), 1, rtol=0, atol=1e-14)
    np.testing.assert_allclose(np.exp(1j * (gamma - np.where(over, np.pi, 0))), 1, rtol=0, atol=1e-14)


@pytest.mark.parametrize("axis", [(0, 0, 1), (1, 0, 0), (0.3, -0.5, 0.8), (-0.1, 0.02, -0.9)])
@pytest.mark.parametrize("nside", [1, 16, 128])
def test_deflection_of_a_dipole(axis, nside):
    """∇(a·n) = (a·e_θ, a·e_φ), and the curl's deflection is this turned by +90°."""
    grid = healpix_grid(nside)
    theta, _ = angles = truth.pixel_angles(grid)
    _, e_theta, e_phi = (np.tensordot(np.array(axis), e.astype(float), 1) for e in truth.basis(*angles))
    # the transform knows its rings by cos θ, whose rounding moves a ring by 1e-16/θ: 3e-14 on the first of nside 128
    bound = 2e-15 + 3e-16 / np.sin(theta)
    gradient = deflection(dipole_potential(axis), grid)
    curl = deflection(np.zeros(3, complex), grid, curl_alm=dipole_potential(axis))
    for got, expected in zip([*gradient, *curl], [e_theta, e_phi, -e_phi, e_theta], strict=True):
        assert (np.abs(got - expected) < bound).all()


@pytest.mark.parametrize("amplitude", [1e-12, 1e-3, 0.7, -2.5, 4.0, -10.0])
@pytest.mark.parametrize("axis", [(1, 0, 0), (0.3, -0.5, 0.8), (-0.1, 0.02, -0.9)])
def test_dipole_about_any_axis(amplitude, axis):
    """φ = a n·â moves n along its meridian about â to ϑ − a sin ϑ and keeps the direction of that meridian."""
    grid = healpix_grid(64)
    a = np.array(axis, dtype=np.longdouble)
    a = (a / np.sqrt((a**2).sum()))[:, None]
    n, e_theta, e_phi = truth.basis(*truth.pixel_angles(grid))
    alpha = amplitude * np.array([(e * a).sum(axis=0) for e in (e_theta, e_phi)])
    positions, gamma = deflected_positions(alpha.astype(float), grid)

    cosine = (n * a).sum(axis=0)
    away = n - cosine * a
    sine = np.sqrt((away**2).sum(axis=0))
    away /= sine
    angle = np.arctan2(sine, cosine)
    moved = angle - amplitude * sine
    n2, e_theta2, e_phi2 = truth.basis(positions[:, 0], positions[:, 1])
    # compared as vectors, since longitude and γ are ill-defined next to a pole; 1e-14 as above
    assert np.abs(n2 - a * np.cos(moved) - away * np.sin(moved)).max() < 1e-14
    meridian, meridian2 = (away * np.cos(t) - a * np.sin(t) for t in (angle, moved))
    direction = np.arctan2((meridian * e_phi).sum(axis=0), (meridian * e_theta).sum(axis=0)) - gamma
    carried = e_theta2 * np.cos(direction) + e_phi2 * np.sin(direction)
    assert np.abs(carried - meridian2).max() < 1e-14


@pytest.mark.parametrize("size", [1e-300, 1e-9, 1e-3, 0.02, 0.1, 2.0, 7.0])
def test_random_deflections_follow_great_circles(size):
    """Of 0.02 every term of the series counts that most rings take, of 0.1 they take the library's functions."""
    grid = healpix_grid(32)
    alpha = size * np.random.default_rng(5).standard_normal((2, grid.npix))
    positions, gamma = deflected_positions(alpha, grid)
    theta2, phi2, gamma2 = truth.follow(*truth.pixel_angles(grid), alpha)
    here, there = truth.basis(positions[:, 0], positions[:, 1]), truth.basis(theta2, phi2)
    # 1e-14: a position is good to 10 roundings of |α| < 30
    np.testing.assert_allclose((here[0] - there[0]).astype(float), 0, rtol=0, atol=1e-14)
    carried = [b[1] * np.cos(g) - b[2] * np.sin(g) for b, g in ((here, gamma), (there, gamma2))]
    np.testing.assert_allclose((carried[0] - carried[1]).astype(float), 0, rtol=0, atol=1e-14)

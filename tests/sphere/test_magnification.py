"""det A against geometry in closed form, areas of displaced parallelograms, the reference, and conservation laws."""

import numpy as np
import pytest

from lensrec.sphere.alm import alm_to_cl, scale_alm
from lensrec.sphere.grids import gauss_legendre_grid, healpix_grid
from lensrec.sphere.magnification import determinant, distortion, magnification_determinant
from lensrec.sphere.remap import deflected_positions, deflection, remap, remap_tp
from lensrec.sphere.sht import synthesis
from tests.reference import remap as truth
from tests.sphere.inputs import dipole_potential, lensing_potential, random_alm


@pytest.mark.parametrize("amplitude", [1e-12, 1e-3, 0.02, 0.3, -0.9, 2.5])
def test_dipole(amplitude):
    """φ = a cos θ moves θ to ϑ = θ − a sin θ and nothing else: det A = (sin ϑ / sin θ) dϑ/dθ."""
    grid = gauss_legendre_grid(200)
    theta, _ = truth.pixel_angles(grid)
    moved = theta - amplitude * np.sin(theta)
    # Close to a pole sin ϑ / sin θ is a ratio of two small numbers and loses what θ has rounded away.
    bound = 2e-14 + 1e-15 * (1 + abs(amplitude)) / np.sin(theta)
    det = magnification_determinant(amplitude * dipole_potential((0, 0, 1)), grid)
    assert (np.abs(det - np.sin(moved) / np.sin(theta) * (1 - amplitude * np.cos(theta))) < bound).all()


@pytest.mark.parametrize("curl", [False, True])
@pytest.mark.parametrize("rms", [1e-4, 0.02, 0.6])
def test_area_of_displaced_parallelograms(rms, curl):
    """n′ at n ± h e_θ and n ± h e_φ, from direct sums and rotated vectors, at every pixel."""
    rng = np.random.default_rng(21)
    lmax, grid = 10, healpix_grid(4)
    phi = lensing_potential(rng, lmax, rms)
    omega = lensing_potential(rng, lmax, rms) if curl else np.zeros_like(phi)
    ell = np.arange(lmax + 1.0)
    spin1 = scale_alm(np.array([phi, omega]), np.sqrt(ell * (ell + 1)))
    n, e_theta, e_phi = truth.basis(*truth.pixel_angles(grid))

    def seen_from(point):
        theta, lon = (x.astype(float) for x in truth.angles(point))
        alpha = truth.field(spin1, 1, theta, lon)
        return truth.basis(*truth.follow(theta, lon, np.array([alpha.real, alpha.imag]))[:2])[0]

    def derivative(direction, h):
        ahead, behind = (seen_from(n * np.cos(t) + direction * np.sin(t)) for t in (h, -h))
        return (ahead - behind) / (2 * h)

    # Richardson's combination leaves an error of h⁴ ∂⁵n′/5 ≈ h⁴ ℓ⁵ rms/5 = 2e-8 rms, roundings 1e-16/h ≈ 1e-13 ℓ
    h = 1e-3
    u, v = ((4 * derivative(e, h) - derivative(e, 2 * h)) / 3 for e in (e_theta, e_phi))
    centre = seen_from(n)
    area = (np.cross(u, v, axis=0) * centre).sum(axis=0).astype(float)
    det = magnification_determinant(phi, grid, curl_alm=omega if curl else None)
    np.testing.assert_allclose(det, area, rtol=0, atol=1e-11 + 3e-8 * rms)
    assert np.abs(det - 1).max() > rms  # and there is something to see


@pytest.mark.parametrize("size", [0.0, 1e-160, 1e-9, 1e-3, 0.03, 0.0317, 0.4, 3.0, 9.0])
def test_closed_form_without_angles_is_that_with_them(size):
    rng = np.random.default_rng(22)
    alpha, (kappa, omega), shear = (
        size * rng.normal(size=(2, 5000)),
        rng.normal(size=(2, 5000)),
        rng.normal(size=(2, 5000)),
    )
    expected = truth.magnification_determinant(alpha, -2 * kappa, -2 * omega, -2 * shear)
    # a handful of roundings of terms of up to 30
    np.testing.assert_allclose(determinant(alpha, kappa, omega, shear), expected, rtol=0, atol=5e-14)
    without = truth.magnification_determinant(alpha, -2 * kappa, 0 * omega, -2 * shear)
    np.testing.assert_allclose(determinant(alpha, kappa, None, shear), without, rtol=0, atol=5e-14)


def test_distortion_is_that_of_the_potentials():
    """κ and ω by the Laplacian, and |γ|² ⟩ by its power: Σ (2L+1) ¼ (L−1)L(L+1)(L+2) C_L / 4π."""
    rng = np.random.default_rng(23)
    lmax, grid = 30, gauss_legendre_grid(60)
    phi, omega = lensing_potential(rng, lmax, 0.01), lensing_potential(rng, lmax, 0.003)
    kappa, rotation, shear = distortion(phi, grid, curl_alm=omega)
    ell = np.arange(lmax + 1.0)
    weight = np.repeat(grid.weights, grid.nphi.astype(int))
    both = alm_to_cl(phi) + alm_to_cl(omega)
    for squares, factor, cl in [
        (kappa**2, (ell * (ell + 1)) ** 2, alm_to_cl(phi)),
        (rotation**2, (ell * (ell + 1)) ** 2, alm_to_cl(omega)),
        ((shear**2).sum(axis=0), (ell - 1) * ell * (ell + 1) * (ell + 2), both),
    ]:
        power = ((2 * ell + 1) * factor * cl).sum() / 4
        assert abs((weight * squares).sum() / power - 1) < 1e-12
    assert distortion(phi, grid)[1] is None
    # one array of float32 precision in, double out
    assert distortion(phi.astype(np.complex64), grid)[0].dtype == np.float64


@pytest.mark.parametrize("curl", [False, True])
def test_area_and_power_are_conserved(curl):
    """⟨det A⟩ = 1 and ∫ det A T̃² = ∫ T², at 20′ rms."""
    rng = np.random.default_rng(16)
    lmax = 64
    # T̃² det A is not band-limited; each power of α adds 64 to its degree, and 1500 holds some 20 of them
    grid = gauss_legendre_grid(1500)
    phi = lensing_potential(rng, lmax, np.radians(20 / 60))
    omega = lensing_potential(rng, lmax, np.radians(5 / 60)) if curl else None
    temperature = random_alm(rng, 1, lmax)[0]
    field = deflection(phi, grid, curl_alm=omega, nthreads=2)
    det = magnification_determinant(phi, grid, curl_alm=omega, field=field, nthreads=2)
    weight = np.repeat(grid.weights, grid.nphi.astype(int))
    ell = np.arange(lmax + 1.0)
    laplacian, second = -ell * (ell + 1), -np.sqrt(np.maximum((ell - 1) * ell * (ell + 1) * (ell + 2), 0))
    other = 0 * phi if omega is None else omega
    reference = truth.magnification_determinant(
        field,
        synthesis(scale_alm(phi, laplacian), grid),
        synthesis(scale_alm(other, laplacian), grid),
        synthesis(scale_alm(np.array([phi, other]), second), grid, spin=2),
    )
    positions, _ = deflected_positions(field, grid, rotation=False, nthreads=2)
    listed = remap(temperature, positions, spin=0, epsilon=1e-12, nthreads=2)
    by_rings = remap_tp(temperature[None], phi, grid, curl_alm=omega, epsilon=1e-12)[0]
    power = (2 * ell + 1) @ alm_to_cl(temperature)
    for area in (det, reference):
        # a sum of a million terms with 1e-16 each, and det A to 1e-13
        assert abs((weight * area).sum() / (4 * np.pi) - 1) < 1e-10
        assert area.std() > 0.1
        for lensed in (listed, by_rings):
            assert abs((weight * area * lensed**2).sum() / power - 1) < 1e-11
    for lensed in (listed, by_rings):
        assert abs((weight * lensed**2).sum() / power - 1) > 1e-4  # without det A it does not hold
    # The flat formula is off by |α|² ∼ 3e-5 times what curvature leaves of it; the test must see that.
    kappa, omega_map, shear = distortion(phi, grid, curl_alm=omega, nthreads=2)
    flat = determinant(0 * field, kappa, omega_map, shear)
    assert abs((weight * flat).sum() / (4 * np.pi) - 1) > 1e-6


def test_pieces_leave_no_seam(monkeypatch):
    rng = np.random.default_rng(24)
    phi, grid = lensing_potential(rng, 20, 0.1), healpix_grid(8)
    whole = magnification_determinant(phi, grid)
    monkeypatch.setattr("lensrec.sphere.magnification._CHUNK", 100)
    # where a piece holds small deflections only its sines come from series: a few roundings
    np.testing.assert_allclose(magnification_determinant(phi, grid), whole, rtol=0, atol=1e-14)


def test_what_does_not_fit_is_refused():
    phi, grid = np.zeros(15, complex), healpix_grid(2)
    with pytest.raises(ValueError, match="one array of alm"):
        distortion(np.zeros((2, 15), complex), grid)
    with pytest.raises(ValueError, match="curl potential"):
        distortion(phi, grid, curl_alm=phi[:3])
    with pytest.raises(ValueError, match="must be"):
        magnification_determinant(phi, grid, field=np.zeros((2, 47)))

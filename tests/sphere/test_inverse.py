"""The inverse deflection against Kepler's equation, direct sums, and skies that come back."""

import numpy as np
import pytest
from scipy.optimize import brentq

from lensrec.sphere.alm import resize_alm, scale_alm
from lensrec.sphere.grids import Grid, gauss_legendre_grid, healpix_grid
from lensrec.sphere.inverse import inverse_deflection
from lensrec.sphere.remap import deflected_positions, remap, remap_by, remap_tp
from lensrec.sphere.sht import analysis, synthesis
from tests.reference import remap as truth
from tests.sphere.inputs import dipole_potential, lensing_potential, random_alm


def found(inverse, grid):
    """θ and φ of n, by walking along β in extended precision."""
    return truth.follow(*truth.pixel_angles(grid), inverse.field)[:2]


def missed(inverse, grid, alpha):
    """Distance from n + α(n) to n′, with α given at n, by vectors in extended precision."""
    theta, lon = found(inverse, grid)
    there = truth.basis(*truth.follow(theta, lon, alpha)[:2])[0]
    return np.sqrt(((there - truth.basis(*truth.pixel_angles(grid))[0]) ** 2).sum(axis=0)).astype(float)


@pytest.mark.parametrize("amplitude", [1e-12, 1e-3, 0.3, -0.6, 0.9])
def test_dipole_is_keplers_equation(amplitude):
    """φ = a cos θ takes θ to θ − a sin θ = M; back from M to θ is Kepler's problem with eccentricity a."""
    grid = gauss_legendre_grid(101)
    inverse = inverse_deflection(amplitude * dipole_potential((0, 0, 1)), grid, tolerance=1e-10)
    anomaly = [brentq(lambda e, m=m: e - amplitude * np.sin(e) - m, 0, np.pi, xtol=1e-15) for m in grid.theta]
    expected = np.repeat(anomaly, grid.nphi.astype(int))
    # an error of 1e-10 in n′ is up to 1/(1 − |a|) as much in n
    bound = 1e-10 / (1 - abs(amplitude))
    theta, _ = truth.pixel_angles(grid)
    np.testing.assert_allclose(inverse.field[0], expected - theta, rtol=0, atol=bound)
    np.testing.assert_allclose(inverse.field[1], 0, rtol=0, atol=bound)


@pytest.mark.parametrize("curl", [False, True])
@pytest.mark.parametrize(("rms", "tolerance"), [(1e-4, 1e-8), (0.01, 1e-12), (0.06, 1e-10)])
def test_forward_after_inverse_is_identity_by_direct_sums(rms, tolerance, curl):
    """At every pixel, α evaluated by summing harmonics term by term."""
    rng = np.random.default_rng(31)
    lmax, grid = 12, healpix_grid(8)
    phi = lensing_potential(rng, lmax, rms)
    omega = lensing_potential(rng, lmax, rms / 2) if curl else None
    inverse = inverse_deflection(phi, grid, curl_alm=omega, tolerance=tolerance)
    ell = np.arange(lmax + 1.0)
    spin1 = scale_alm(np.array([phi, omega if curl else 0 * phi]), np.sqrt(ell * (ell + 1)))
    alpha = truth.field(spin1, 1, *found(inverse, grid))
    off = missed(inverse, grid, np.array([alpha.real, alpha.imag]))
    assert off.max() < tolerance
    assert off.max() < inverse.residual < tolerance * (1 + 1e-12)


@pytest.mark.parametrize("grid", [healpix_grid(1), healpix_grid(64), gauss_legendre_grid(400)])
@pytest.mark.parametrize("tolerance", [1e-6, 1e-12])
def test_forward_after_inverse_is_identity_at_every_pixel(grid, tolerance):
    """A sky of 20′ rms and κ of 0.12 rms, rings 0.7° and 0.3° from the poles, α to 1e-12 of its rms."""
    rng = np.random.default_rng(32)
    phi = lensing_potential(rng, 300, np.radians(20 / 60), slope=-3.0)
    inverse = inverse_deflection(phi, grid, tolerance=tolerance, nthreads=2)
    ell = np.arange(301.0)
    positions = np.stack([x % (2 * np.pi) for x in found(inverse, grid)], axis=1)
    alpha = remap(scale_alm(phi, np.sqrt(ell * (ell + 1))), positions, spin=1, epsilon=1e-12, nthreads=2)
    off = missed(inverse, grid, alpha)
    assert off.max() < tolerance
    # 2 digits an evaluation and more at the end; steps without Broyden's term take twice as many and more
    assert inverse.evaluations <= 4 - np.log10(tolerance) / 2


def test_a_remapped_sky_comes_back():
    """T, Q and U lensed, analysed, and remapped by the inverse are those that were lensed."""
    rng = np.random.default_rng(33)
    lmax, lensed_lmax = 32, 256
    teb = random_alm(rng, 3, lmax, lmin=2)
    phi, omega = lensing_potential(rng, 16, 0.008), lensing_potential(rng, 16, 0.002)
    fine, grid = gauss_legendre_grid(2 * lensed_lmax), healpix_grid(32)
    iqu = remap_tp(teb, phi, fine, curl_alm=omega, epsilon=1e-12)
    # ℓ|α| is at most 1 or so: terms of the k-th order in α, which end at ℓ = 32 + 16k, fall as 1/k!
    lensed = [analysis(iqu[:1], fine, lensed_lmax)[None], analysis(iqu[1:], fine, lensed_lmax, 2)]
    inverse = inverse_deflection(phi, grid, curl_alm=omega, tolerance=1e-12)
    back = remap_by(np.concatenate([lensed[0], lensed[1]]), inverse.field, grid, epsilon=1e-12)
    unlensed = [synthesis(teb[0], grid), *synthesis(teb[1:], grid, 2)]
    # two remaps of ε = 1e-12 of an rms of 6; and positions 1e-12 off, in gradients of up to 5 times 32·6
    np.testing.assert_allclose(back, unlensed, rtol=0, atol=1e-9)
    still = [synthesis(lensed[0][0], grid), *synthesis(lensed[1], grid, 2)]
    assert np.abs(np.array(still) - unlensed).max() > 1


def test_the_other_way_round():
    """The inverse at n′ = n + α(n) leads back to n: taken at those points as a sky of its own, −α carried along."""
    rng = np.random.default_rng(34)
    phi, fine = lensing_potential(rng, 12, 0.01), gauss_legendre_grid(512)
    inverse = inverse_deflection(phi, fine, tolerance=1e-12)
    beta = analysis(inverse.field, fine, 200, 1)
    grid = healpix_grid(16)
    ell = np.arange(13.0)
    alpha = synthesis(scale_alm(phi, np.sqrt(ell * (ell + 1))), grid, 1)
    positions, gamma = deflected_positions(alpha, grid)
    # the tolerance over 1 − κ; the tail of β beyond ℓ = 200, whose k-th order ends at 12k as (12·0.01)^k, is less
    back = remap(beta, positions, spin=1, epsilon=1e-12, gamma=gamma)
    np.testing.assert_allclose(back, -alpha, rtol=0, atol=3e-12)
    assert np.abs(remap(resize_alm(beta, 12), positions, spin=1, epsilon=1e-12, gamma=gamma) + alpha).max() > 1e-6


@pytest.mark.parametrize("rings", [1, 40])
def test_a_grid_in_any_order_and_by_any_threads(rings):
    """Rings listed from a shuffled order, each with its pixels wherever they lie, give the same β as in order."""
    rng = np.random.default_rng(36)
    phi, grid = lensing_potential(rng, 50, 0.01), gauss_legendre_grid(80)
    ordered = inverse_deflection(phi, grid, nthreads=1).field
    chosen = rng.permutation(len(grid.theta))[:rings]
    count = int(grid.nphi[0])
    shuffled = Grid(
        grid.theta[chosen], grid.nphi[chosen], grid.phi0[chosen],
        np.arange(rings, dtype=np.uint64) * np.uint64(count), grid.weights[chosen], -1,
    )  # fmt: skip
    field = inverse_deflection(phi, shuffled, nthreads=3).field.reshape(2, rings, count)
    # the same iterations on samples that stand elsewhere in a band
    np.testing.assert_allclose(field, ordered.reshape(2, -1, count)[:, chosen], rtol=0, atol=1e-10)


def test_nothing_to_invert():
    grid = healpix_grid(4)
    inverse = inverse_deflection(np.zeros(15, complex), grid)
    assert inverse.evaluations == 1
    assert not inverse.field.any()


def test_what_has_no_inverse_is_refused():
    rng = np.random.default_rng(35)
    phi, grid = lensing_potential(rng, 64, 0.05), healpix_grid(32)
    with pytest.raises(ValueError, match=r"on \d+ of 127 rings.*folds the sky \(det A falls to -"):
        inverse_deflection(phi, grid)
    for tolerance in (0.0, -1.0, np.nan, 1e-14):
        with pytest.raises(ValueError, match="tolerance must be"):
            inverse_deflection(phi, grid, tolerance=tolerance)
    with pytest.raises(ValueError, match="one array of alm"):
        inverse_deflection(np.zeros((2, 15), complex), grid)
    with pytest.raises(ValueError, match="infinite or NaN"):
        inverse_deflection(np.full(15, np.nan, complex), grid)

"""Transforms against direct sums and healpy; transposes; exact analysis; both precisions."""

import healpy as hp
import numpy as np
import pytest

from lensrec.sphere.alm import alm_ell, alm_m, alm_size, scale_alm
from lensrec.sphere.grids import gauss_legendre_grid, healpix_grid
from lensrec.sphere.sht import adjoint_synthesis, analysis, synthesis
from tests.reference import remap as truth

LMAX = 24
GRIDS = [healpix_grid(8), gauss_legendre_grid(2 * LMAX)]
SPINS = [0, 1, 2, 3]


def random_alm(rng, spin, lmax=LMAX):
    """White coefficients, (nalm,) for spin 0, (2, nalm) otherwise."""
    alm = rng.standard_normal((2, alm_size(lmax))) + 1j * rng.standard_normal((2, alm_size(lmax)))
    alm[:, : lmax + 1].imag = 0
    alm[:, alm_ell(lmax) < spin] = 0
    return alm if spin else alm[0]


def inner(a, b):
    """Real inner product of coefficients over −ℓ ≤ m ≤ ℓ."""
    weight = np.where(alm_m(LMAX) == 0, 1, 2)
    return (weight * (a.conj() * b).real).sum()


@pytest.mark.parametrize("spin", SPINS)
@pytest.mark.parametrize("grid", GRIDS)
def test_synthesis_is_the_direct_sum(grid, spin):
    alm = random_alm(np.random.default_rng(0), spin)
    maps = synthesis(alm, grid, spin, nthreads=1)
    expected = truth.field(alm, spin, *truth.pixel_angles(grid))
    # some 600 terms of order one, good to 1e-13 each in either sum
    np.testing.assert_allclose(maps if spin == 0 else maps[0] + 1j * maps[1], expected, rtol=0, atol=2e-12)


@pytest.mark.parametrize("spin", [1, 2, 3])
def test_gradient_alone_is_a_zero_curl_left_out(spin):
    alm = random_alm(np.random.default_rng(1), spin)
    alm[1] = 0
    # the same sums in another order
    np.testing.assert_allclose(synthesis(alm[0], GRIDS[0], spin), synthesis(alm, GRIDS[0], spin), rtol=0, atol=1e-12)


def test_polarisation_is_that_of_healpy():
    alm = np.array([random_alm(np.random.default_rng(2), 0), *random_alm(np.random.default_rng(3), 2)])
    expected = hp.alm2map(list(alm), 8, pol=True)
    grid = healpix_grid(8)
    np.testing.assert_allclose(synthesis(alm[0], grid), expected[0], rtol=0, atol=1e-11)
    np.testing.assert_allclose(synthesis(alm[1:], grid, 2), expected[1:], rtol=0, atol=1e-11)


def test_spin_1_is_the_gradient():
    """√(ℓ(ℓ+1)) φ_ℓm synthesises to (∂_θ φ, ∂_φ φ/sin θ), as healpy differentiates."""
    phi = random_alm(np.random.default_rng(4), 1)[0]
    ell = np.arange(LMAX + 1.0)
    _, d_theta, d_phi = hp.alm2map_der1(phi, 8)
    got = synthesis(scale_alm(phi, np.sqrt(ell * (ell + 1))), healpix_grid(8), 1)
    # derivatives are 24 times larger than the field
    np.testing.assert_allclose(got, [d_theta, d_phi], rtol=0, atol=2e-10)


@pytest.mark.parametrize("spin", SPINS)
@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("weighted", [False, True])
def test_adjoint_is_the_transpose(grid, spin, weighted):
    """⟨A a, W x⟩ = ⟨a, Aᵀ W x⟩ to 1e-13 of the norms."""
    rng = np.random.default_rng(5)
    alm = random_alm(rng, spin)
    x = rng.standard_normal((2, grid.npix) if spin else grid.npix)
    weight = np.repeat(grid.weights, grid.nphi.astype(int)) if weighted else 1.0
    back = adjoint_synthesis(x, grid, LMAX, spin, weighted=weighted)
    assert back.shape == alm.shape
    left, right = (synthesis(alm, grid, spin) * weight * x).sum(), inner(alm, back)
    size = np.sqrt((synthesis(alm, grid, spin) ** 2).sum() * ((weight * x) ** 2).sum())
    assert abs(left - right) < 1e-13 * size
    assert abs(left) > 1e-6 * size


@pytest.mark.parametrize("spin", SPINS)
def test_gauss_legendre_analysis_is_exact(spin):
    alm = random_alm(np.random.default_rng(6), spin)
    grid = gauss_legendre_grid(2 * LMAX)
    back = analysis(synthesis(alm, grid, spin), grid, LMAX, spin)
    np.testing.assert_allclose(back, alm, rtol=0, atol=1e-12)  # sums of 600 terms
    np.testing.assert_array_equal(back, adjoint_synthesis(synthesis(alm, grid, spin), grid, LMAX, spin, weighted=True))
    # one degree less and the quadrature no longer is
    short = gauss_legendre_grid(2 * LMAX - 3)
    assert np.abs(analysis(synthesis(alm, short, spin), short, LMAX, spin) - alm).max() > 1e-3


@pytest.mark.parametrize("spin", SPINS)
def test_healpix_analysis_converges_with_its_iterations(spin):
    alm = random_alm(np.random.default_rng(7), spin)
    grid = healpix_grid(16)
    maps = synthesis(alm, grid, spin)
    errors = [np.abs(analysis(maps, grid, LMAX, spin, iterations=n) - alm).max() for n in (0, 1, 3, 10)]
    assert errors[0] < 0.1
    # lmax = 1.5 nside: a Jacobi step gains a factor of ten or more, until 1e-12 of rounding
    assert errors[1] < 0.1 * errors[0]
    assert errors[2] < 0.01 * errors[1]
    assert errors[3] < 1e-9


@pytest.mark.parametrize("spin", [0, 2])
def test_healpix_analysis_is_that_of_healpy(spin):
    rng = np.random.default_rng(8)
    maps = rng.standard_normal((3, 12 * 8**2))
    expected = hp.map2alm(maps, lmax=LMAX, iter=3, pol=True)
    got = analysis(maps[0] if spin == 0 else maps[1:], healpix_grid(8), LMAX, spin)
    # healpy iterates in the same way: rounding alone
    np.testing.assert_allclose(got, expected[0] if spin == 0 else expected[1:], rtol=0, atol=1e-12)


@pytest.mark.parametrize("spin", SPINS)
def test_single_precision_stays_single(spin):
    alm = random_alm(np.random.default_rng(9), spin)
    grid = GRIDS[1]
    maps = synthesis(alm.astype(np.complex64), grid, spin)
    assert maps.dtype == np.float32
    exact = synthesis(alm, grid, spin)
    assert np.abs(maps - exact).max() < 1e-5 * np.abs(exact).max()  # 600 roundings of 6e-8, not all one way
    back = analysis(maps, grid, LMAX, spin)
    assert back.dtype == np.complex64
    assert np.abs(back - alm).max() < 1e-5 * np.abs(alm).max()


@pytest.mark.parametrize("spin", SPINS)
def test_result_does_not_depend_on_threads(spin):
    alm = random_alm(np.random.default_rng(10), spin)
    one, two = (synthesis(alm, GRIDS[0], spin, nthreads=n) for n in (1, 2))
    np.testing.assert_array_equal(one, two)

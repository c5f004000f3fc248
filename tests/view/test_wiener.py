"""Fields worth looking at: filters by hand, and maps against healpy."""

import healpy
import numpy as np

from lensrec.sphere.alm import alm_ell, alm_size
from lensrec.view.wiener import deflection_map, kappa_map, wiener_factor, wiener_filtered

LMAX = 40


def _phi() -> np.ndarray:
    rng = np.random.default_rng(8)
    phi = rng.standard_normal(alm_size(LMAX)) + 1j * rng.standard_normal(alm_size(LMAX))
    phi[: LMAX + 1] = phi[: LMAX + 1].real
    return phi


def test_wiener_filter_by_hand() -> None:
    cl = np.array([0.0, 1.0, 4.0, 3.0, 2.0])
    n0 = np.array([0.0, 0.0, 1.0, np.nan, np.inf, 7.0])
    np.testing.assert_array_equal(wiener_factor(cl, n0), [0.0, 0.0, 0.8, 0.0, 0.0])
    phi = _phi()
    filtered = wiener_filtered(phi, cl, n0)
    ell = alm_ell(LMAX)
    np.testing.assert_array_equal(filtered[ell == 2], 0.8 * phi[ell == 2])
    assert not filtered[ell != 2].any()


def test_maps_are_those_of_healpy() -> None:
    """Two libraries' transforms in double precision at ℓ ≤ 40: 1e-11 of the largest value."""
    phi, nside = _phi(), 16
    ell = np.arange(LMAX + 1.0)
    kappa = healpy.alm2map(healpy.almxfl(phi, ell * (ell + 1) / 2), nside, lmax=LMAX)
    np.testing.assert_allclose(kappa_map(phi, nside), kappa, atol=1e-11 * np.abs(kappa).max())
    alpha = healpy.alm2map(healpy.almxfl(phi, np.sqrt(ell * (ell + 1))), nside, lmax=LMAX) * 10800 / np.pi
    np.testing.assert_allclose(deflection_map(phi, nside), alpha, atol=1e-11 * np.abs(alpha).max())


def test_coarse_pixels_leave_the_fine_modes_out() -> None:
    phi, nside = _phi(), 8
    ell = np.arange(LMAX + 1.0)
    kept = healpy.almxfl(phi, np.where(ell < 3 * nside, ell * (ell + 1) / 2, 0.0))
    np.testing.assert_allclose(kappa_map(phi, nside), healpy.alm2map(kept, nside, lmax=LMAX), atol=1e-8)

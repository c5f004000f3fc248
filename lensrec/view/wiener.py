"""What of a reconstruction is worth looking at: Wiener-filtered φ̂, as deflection or convergence, on pixels."""

import numpy as np
from numpy.typing import NDArray

from lensrec.sphere.alm import lmax_of, resize_alm, scale_alm
from lensrec.sphere.grids import healpix_grid
from lensrec.sphere.sht import synthesis

ARCMIN = np.pi / 10800.0


def wiener_factor(cl_phi: NDArray, n0: NDArray) -> NDArray[np.float64]:
    """C/(C + N0) by L, zero where there is no reconstruction (N0 not positive and finite).

    Parameters
    ----------
    cl_phi, n0 : array (n,)
        Raw C_L^φφ and N0_L from L = 0; the longer one is cut.
    """
    size = min(len(cl_phi), len(n0))
    signal, noise = np.asarray(cl_phi, dtype=np.float64)[:size], np.asarray(n0, dtype=np.float64)[:size]
    there = np.isfinite(noise) & (noise > 0)
    return np.divide(signal, signal + noise, out=np.zeros(size), where=there)


def wiener_filtered(phi_alm: NDArray, cl_phi: NDArray, n0: NDArray) -> NDArray:
    """φ̂^WF_LM = C_L^φφ/(C_L^φφ + N0_L) φ̂_LM.

    Parameters
    ----------
    phi_alm : array (nalm,), complex
        Normalised φ̂.
    cl_phi, n0 : array (n,)
        Raw, from L = 0. Zero stays where N0 is zero, and beyond the end of either.

    Returns
    -------
    array (nalm,)
    """
    return scale_alm(phi_alm, wiener_factor(cl_phi, n0))


def kappa_alm(phi_alm: NDArray) -> NDArray:
    """Convergence κ_LM = L(L+1)/2 φ_LM."""
    ell = np.arange(lmax_of(phi_alm.shape[-1]) + 1.0)
    return scale_alm(phi_alm, 0.5 * ell * (ell + 1.0))


def deflection_alm(phi_alm: NDArray) -> NDArray:
    """Gradient amplitude of the deflection, α_LM = √(L(L+1)) φ_LM, radians.

    Its power is that of the deflection angle, so a map of it shows the structures that deflect, where φ itself
    is drowned by its lowest multipoles and κ by its highest (Planck 2018 VIII, 1807.06210, figure 1).
    """
    ell = np.arange(lmax_of(phi_alm.shape[-1]) + 1.0)
    return scale_alm(phi_alm, np.sqrt(ell * (ell + 1.0)))


def scalar_map(alm: NDArray, nside: int, *, nthreads: int = 0) -> NDArray:
    """A spin-0 field on HEALPix pixels in RING order, shape (12 nside²,); modes above 3 nside − 1 are left out."""
    kept = resize_alm(alm, min(lmax_of(alm.shape[-1]), 3 * nside - 1))
    return synthesis(kept, healpix_grid(nside), 0, nthreads=nthreads).reshape(-1)


def kappa_map(phi_alm: NDArray, nside: int, *, nthreads: int = 0) -> NDArray:
    """κ of a potential on HEALPix pixels, dimensionless, shape (12 nside²,)."""
    return scalar_map(kappa_alm(phi_alm), nside, nthreads=nthreads)


def deflection_map(phi_alm: NDArray, nside: int, *, nthreads: int = 0) -> NDArray:
    """√(L(L+1)) φ of a potential on HEALPix pixels, arcmin, shape (12 nside²,)."""
    return scalar_map(deflection_alm(phi_alm), nside, nthreads=nthreads) / ARCMIN

"""Band powers of the lensing potential: weighted means over L, with the windows that made them.

Band powers are of C_L^φφ in the scaling [L(L+1)]²/2π, in which the spectrum is nearly flat over a band.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Bands:
    """A binning of lensing multipoles.

    Attributes
    ----------
    edges : array (nbins+1,), int
        Band b holds edges[b] ≤ L < edges[b+1].
    windows : array (nbins, lmax+1)
        Each row sums to 1: a band power is windows @ D_L, with D_L = [L(L+1)]²/2π C_L.
    centres : array (nbins,)
        Mean L under the window.
    """

    edges: NDArray[np.int64]
    windows: NDArray[np.float64]
    centres: NDArray[np.float64]


def lensing_scaling(lmax: int) -> NDArray[np.float64]:
    """[L(L+1)]²/2π from L = 0."""
    ell = np.arange(lmax + 1.0)
    return (ell * (ell + 1)) ** 2 / (2 * np.pi)


def make_bands(edges: NDArray | list[int] | tuple[int, ...], variance: NDArray) -> Bands:
    """Bands in which multipoles are weighted by their inverse variance.

    Parameters
    ----------
    edges : sequence of int, rising
    variance : array (lmax+1,)
        Expected variance of one Ĉ_L times (2L+1), e.g. (C_L^φφ + N0_L)²; multipoles where it is not positive and
        finite are left out. Only its shape within a band matters.

    Raises
    ------
    ValueError
        If edges do not rise, pass the end of the spectrum, or leave a band without a usable multipole.
    """
    edge = np.asarray(edges, dtype=np.int64)
    lmax = len(variance) - 1
    if edge.ndim != 1 or len(edge) < 2 or (np.diff(edge) <= 0).any() or edge[0] < 0 or edge[-1] > lmax + 1:
        raise ValueError(f"band edges must rise from 0 to at most {lmax + 1}, got {edge.tolist()}")
    scaling = lensing_scaling(lmax)
    ell = np.arange(lmax + 1)
    usable = np.isfinite(variance) & (variance > 0) & (ell > 0)
    weight = np.where(usable, (2 * ell + 1) / np.where(usable, variance * scaling**2, 1.0), 0.0)
    band = np.searchsorted(edge, ell, side="right") - 1
    windows = np.where(band == np.arange(len(edge) - 1)[:, None], weight, 0.0)
    norms = windows.sum(1)
    if not (norms > 0).all():
        b = int(np.argmin(norms > 0))
        raise ValueError(f"no multipole can be used in the band {edge[b]} ≤ L < {edge[b + 1]}")
    windows /= norms[:, None]
    return Bands(edge, windows, windows @ ell)


def bin_spectrum(cl: NDArray, bands: Bands) -> NDArray[np.float64]:
    """Band powers of a raw spectrum C_L, in the scaling [L(L+1)]²/2π; shape (nbins,)."""
    lmax = bands.windows.shape[1] - 1
    return bands.windows @ (lensing_scaling(lmax) * np.asarray(cl)[: lmax + 1])


def gaussian_sigma(total: NDArray, bands: Bands, fsky: float = 1.0) -> NDArray[np.float64]:
    """Gaussian standard deviation of the band powers of an auto-spectrum, from 2 total²/((2L+1) f_sky) per L.

    Parameters
    ----------
    total : array (lmax+1,)
        C_L + N0_L of the field.
    bands : Bands
    fsky : float
        Effective fraction of the sky: ⟨w⁴⟩²/⟨w⁸⟩ for φ̂ from maps weighted by w, since φ̂ carries w².

    Returns
    -------
    array (nbins,)
    """
    lmax = bands.windows.shape[1] - 1
    ell = np.arange(lmax + 1)
    per_multipole = 2.0 * np.asarray(total)[: lmax + 1] ** 2 / ((2 * ell + 1) * fsky)
    return np.sqrt(bands.windows**2 @ (lensing_scaling(lmax) ** 2 * per_multipole))

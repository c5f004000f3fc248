"""Isotropic inverse-variance filters, diagonal in T, E and B."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from lensrec.sphere.alm import resize_alm, scale_alm


def total_spectra(
    signal: Mapping[str, NDArray], noise: Mapping[str, NDArray], lmax: int
) -> dict[str, NDArray[np.float64]]:
    """Spectra of beam-deconvolved data, C̃_ℓ + N_ℓ/b_ℓ², up to lmax.

    Parameters
    ----------
    signal : mapping of "TT", "EE", "BB", "TE" to array, µK², from ℓ = 0
    noise : mapping of "TT", "EE", "BB" to array, µK², from ℓ = 0
        Already divided by the squared beam and pixel window.
    """
    totals = {}
    for key in ("TT", "EE", "BB", "TE"):
        totals[key] = np.array(signal[key][: lmax + 1], dtype=np.float64)
        if key in noise:
            totals[key] += noise[key][: lmax + 1]
    return totals


def inverse_variance(total: NDArray, lmin: int, lmax: int) -> NDArray[np.float64]:
    """The filter F_ℓ = 1/(C̃_ℓ + N_ℓ/b_ℓ²) for lmin ≤ ℓ ≤ lmax, zero elsewhere; shape (lmax+1,).

    Raises
    ------
    ValueError
        Where the spectrum is shorter than lmax, or not positive in the range.
    """
    if len(total) <= lmax:
        raise ValueError(f"the total spectrum ends at ℓ = {len(total) - 1}, the filter needs ℓ = {lmax}")
    band = np.asarray(total[lmin : lmax + 1], dtype=np.float64)
    bad = ~(band > 0)
    if bad.any():
        raise ValueError(f"the total spectrum must be positive, it is {band[bad][0]:g} at ℓ = {lmin + bad.argmax()}")
    filt = np.zeros(lmax + 1)
    filt[lmin:] = 1.0 / band
    return filt


def filter_alm(alm: NDArray, filt: NDArray) -> NDArray:
    """X̄_ℓm = F_ℓ X_ℓm for beam-deconvolved X, cut at the filter's lmax."""
    return scale_alm(resize_alm(alm, len(filt) - 1), filt)

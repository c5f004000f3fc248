"""Layout of harmonic coefficients: healpy's order (m-major, mmax = lmax), in either precision."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray


def alm_size(lmax: int) -> int:
    """Number of coefficients with 0 ≤ m ≤ ℓ ≤ lmax."""
    return (lmax + 1) * (lmax + 2) // 2


def lmax_of(size: int) -> int:
    """The lmax of an alm array of the given length.

    Raises
    ------
    ValueError
        If no lmax with mmax = lmax has that many coefficients.
    """
    lmax = int((np.sqrt(8.0 * size + 1.0) - 3.0) / 2.0 + 0.5)
    if size < 1 or alm_size(lmax) != size:
        raise ValueError(f"an alm array of {size} coefficients fits no lmax (mmax = lmax is expected)")
    return lmax


@lru_cache(maxsize=8)
def alm_ell(lmax: int) -> NDArray[np.int32]:
    """Multipole ℓ of every coefficient, shape (alm_size(lmax),); read-only, shared between calls."""
    ell = np.concatenate([np.arange(m, lmax + 1, dtype=np.int32) for m in range(lmax + 1)])
    ell.flags.writeable = False
    return ell


@lru_cache(maxsize=8)
def alm_m(lmax: int) -> NDArray[np.int32]:
    """Order m of every coefficient, shape (alm_size(lmax),); read-only, shared between calls."""
    order = np.arange(lmax + 1, dtype=np.int32)
    m = np.repeat(order, lmax + 1 - order)
    m.flags.writeable = False
    return m


def alm_index(lmax: int, ell: NDArray[np.integer] | int, m: NDArray[np.integer]) -> NDArray[np.int64]:
    """Position of (ℓ, m) in an array of the given lmax."""
    m64 = np.asarray(m, dtype=np.int64)
    return m64 * (2 * lmax + 1 - m64) // 2 + np.asarray(ell, dtype=np.int64)


def resize_alm(alm: NDArray, lmax: int) -> NDArray:
    """The same coefficients with another lmax: cut off above it, or filled up with zeros.

    Parameters
    ----------
    alm : array (..., nalm), complex
    lmax : int

    Returns
    -------
    array (..., alm_size(lmax)) of the same dtype; `alm` itself when nothing changes.
    """
    old = lmax_of(alm.shape[-1])
    if old == lmax:
        return alm
    low = min(old, lmax)
    ell, m = alm_ell(low), alm_m(low)
    if lmax < old:
        return alm[..., alm_index(old, ell, m)]
    out = np.zeros((*alm.shape[:-1], alm_size(lmax)), dtype=alm.dtype)
    out[..., alm_index(lmax, ell, m)] = alm
    return out


def scale_alm(alm: NDArray, factor: NDArray) -> NDArray:
    """Multiply a_ℓm by a function of ℓ, which counts as zero beyond its end.

    Parameters
    ----------
    alm : array (..., nalm), complex
    factor : array (n,), from ℓ = 0

    Returns
    -------
    array like `alm`, in its precision.
    """
    lmax = lmax_of(alm.shape[-1])
    full = np.zeros(lmax + 1, dtype=alm.real.dtype)
    n = min(lmax + 1, len(factor))
    full[:n] = factor[:n]
    return alm * full[alm_ell(lmax)]


def alm_to_cl(a: NDArray, b: NDArray | None = None) -> NDArray[np.float64]:
    """Spectrum C_ℓ = Σ_m Re(a_ℓm b*_ℓm) / (2ℓ+1) over −ℓ ≤ m ≤ ℓ, from ℓ = 0, summed in double precision.

    Parameters
    ----------
    a, b : array (nalm,), complex64 or complex128
        `b` defaults to `a`; both of the same lmax.
    """
    b = a if b is None else b
    lmax = lmax_of(a.shape[-1])
    if b.shape != a.shape:
        raise ValueError(f"spectra need alm of one lmax, got {lmax} and {lmax_of(b.shape[-1])}")
    product = (a.real * b.real + a.imag * b.imag).astype(np.float64)
    product[lmax + 1 :] *= 2.0
    return np.bincount(alm_ell(lmax), weights=product, minlength=lmax + 1) / (2 * np.arange(lmax + 1) + 1)

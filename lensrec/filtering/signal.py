"""Covariance of T, E and B between fields, multipole by multipole, and its powers."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from lensrec.sphere.alm import alm_ell, lmax_of

FIELDS = {"T": ("T",), "P": ("E", "B"), "TP": ("T", "E", "B")}
"""Fields that are filtered together, by the name of the set."""

_CORRELATION_SLACK = 1e-10
"""How much C^TE² may exceed C^TT C^EE by rounding."""


def signal_covariance(signal: Mapping[str, NDArray], fields: tuple[str, ...], lmax: int) -> NDArray[np.float64]:
    """S_ℓ between fields, shape (nfields, nfields, lmax+1), µK².

    Parameters
    ----------
    signal : mapping of "TT", "EE", "BB", "TE" to array, µK², from ℓ = 0
        Those of the fields; TE may be left out and is zero then. E and B count as zero at ℓ < 2.
    fields : tuple of "T", "E", "B"
    lmax : int

    Raises
    ------
    ValueError
        Where a spectrum is missing, ends below lmax, is negative or not finite, or where C^TE² > C^TT C^EE.
    """
    out = np.zeros((len(fields), len(fields), lmax + 1))
    for i, one in enumerate(fields):
        for j, two in enumerate(fields):
            key = one + two
            if key in ("TT", "EE", "BB", "TE"):
                out[i, j] = out[j, i] = _spectrum(signal, key, lmax)
    polarised = [i for i, name in enumerate(fields) if name != "T"]
    out[polarised, :, :2] = 0.0
    out[:, polarised, :2] = 0.0
    if fields[:2] == ("T", "E"):
        excess = out[0, 1] ** 2 > out[0, 0] * out[1, 1] * (1.0 + _CORRELATION_SLACK)
        if excess.any():
            raise ValueError(
                f"signal: C^TE² is larger than C^TT C^EE at ℓ = {excess.argmax()}; no sky has such spectra"
            )
    return out


def block_root(blocks: NDArray[np.float64]) -> NDArray[np.float64]:
    """The symmetric root S^½ at every ℓ; `blocks` (n, n, nell), positive semi-definite."""
    values, vectors = np.linalg.eigh(np.moveaxis(blocks, -1, 0))
    root = np.einsum("lik,lk,ljk->ijl", vectors, np.sqrt(np.maximum(values, 0.0)), vectors)
    # fields that are not correlated stay so exactly, that products with them can be left out
    return np.where(np.any(blocks != 0.0, axis=-1)[..., None], root, 0.0)


def block_inverse(blocks: NDArray[np.float64]) -> NDArray[np.float64]:
    """The inverse at every ℓ of `blocks` (n, n, nell), which must have one."""
    inverse = np.moveaxis(np.linalg.inv(np.moveaxis(blocks, -1, 0)), 0, -1)
    return np.where(np.any(blocks != 0.0, axis=-1)[..., None], inverse, 0.0)


def block_product(one: NDArray[np.float64], two: NDArray[np.float64]) -> NDArray[np.float64]:
    """The matrix product at every ℓ of (n, n, nell) and (n, n, nell)."""
    return np.einsum("ijl,jkl->ikl", one, two)


def apply_blocks(blocks: NDArray[np.float64], alm: NDArray) -> NDArray:
    """Multiply the vector of fields at every (ℓ, m) by the matrix of that ℓ.

    Parameters
    ----------
    blocks : array (n, n, ≥ lmax+1)
    alm : array (n, nalm), complex

    Returns
    -------
    array (n, nalm), in the precision of `alm`
    """
    lmax = lmax_of(alm.shape[-1])
    ell = alm_ell(lmax)
    short = blocks[..., : lmax + 1].astype(alm.real.dtype)
    out = np.empty_like(alm)
    for i, row in enumerate(short):
        np.multiply(row[i][ell], alm[i], out=out[i])
        for j, factor in enumerate(row):
            if j != i and factor.any():
                out[i] += factor[ell] * alm[j]
    return out


def _spectrum(signal: Mapping[str, NDArray], key: str, lmax: int) -> NDArray[np.float64]:
    if key not in signal:
        if key == "TE":
            return np.zeros(lmax + 1)
        raise ValueError(f"signal: the spectrum {key} is missing; there are {', '.join(signal) or 'none'}")
    cl = np.asarray(signal[key], dtype=np.float64)
    if cl.ndim != 1 or len(cl) <= lmax:
        raise ValueError(f"signal: the spectrum {key} ends at ℓ = {cl.size - 1}, the filter needs ℓ = {lmax}")
    cl = cl[: lmax + 1]
    bad = ~np.isfinite(cl) if key == "TE" else ~(np.isfinite(cl) & (cl >= 0.0))
    if bad.any():
        what = "finite" if key == "TE" else "finite and not negative"
        raise ValueError(f"signal: the spectrum {key} must be {what}, it is {cl[bad][0]:g} at ℓ = {bad.argmax()}")
    return cl

"""Simulated spectra as a smooth multiple of analytic ones: what a mask and uneven noise change varies slowly with L.

From n simulations a spectrum is known to √(2/(n modes)) per L. N0 is tens of times C_L^φφ at high L, where that error
would be the largest of a measurement; its ratio to the analytic N0 has no structure in L narrower than the mask's
features make, so a few numbers describe it, and the error shrinks with the number of L for each of them.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import BSpline

_KNOTS = (8, 20, 45, 100, 200, 400, 700, 1100, 1600, 2200, 3000, 4000, 5500, 7500)
"""In L: about two to an octave, each interval with more modes than the last."""

_SHIFT = 8.0


def smooth_ratio(
    measured: NDArray, model: NDArray, variance: NDArray, *, lmin: int = 2
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A smooth r_L with measured ≈ r model, by weighted least squares of a cubic spline in ln(L + 8).

    Parameters
    ----------
    measured, model : array (lmax+1,)
    variance : array (lmax+1,)
        Of measured/model at each L, e.g. 2/((2L+1) f_sky n); independent between L.
    lmin : int
        What lies below is not fitted, and gets the value at lmin.

    Returns
    -------
    ratio, sigma : arrays (lmax+1,)
        sigma from the variance that was given, correlated between L. Where nothing can be fitted the ratio is 1 and
        sigma 0.

    Raises
    ------
    ValueError
        If shapes differ.
    """
    measured, model, variance = (np.asarray(values, dtype=np.float64) for values in (measured, model, variance))
    if measured.shape != model.shape or model.shape != variance.shape:
        raise ValueError(f"shapes differ: {measured.shape}, {model.shape}, {variance.shape}")
    lmax = len(model) - 1
    ell = np.arange(lmax + 1)
    usable = (ell >= lmin) & (model != 0) & np.isfinite(variance) & (variance > 0) & np.isfinite(measured)
    ratio, sigma = np.ones(lmax + 1), np.zeros(lmax + 1)
    if not usable.any():
        return ratio, sigma
    first, last = ell[usable][0], ell[usable][-1]
    x = np.log(np.clip(ell, first, last) + _SHIFT)
    knots = _knots(int(first), int(last), int(np.count_nonzero(usable)))
    design = BSpline.design_matrix(x, knots, min(3, len(knots) // 2 - 1)).toarray()
    weighted = design[usable] / np.sqrt(variance[usable])[:, None]
    q, r = np.linalg.qr(weighted)
    coefficients = np.linalg.solve(r, q.T @ (measured[usable] / model[usable] / np.sqrt(variance[usable])))
    ratio = design @ coefficients
    sigma = np.linalg.norm(np.linalg.solve(r.T, design.T), axis=0)
    return ratio, sigma


def _knots(first: int, last: int, count: int) -> NDArray[np.float64]:
    """Knots of a spline from the first to the last L that can be used, each interval with at least four of them."""
    degree = min(3, max(count - 1, 0))
    inside = [k for k in _KNOTS if first + 4 <= k <= last - max(4, 0.12 * last)]
    while inside and len(inside) + degree + 1 > count // 4:
        inside.pop(0)
    ends = [first] * (degree + 1), [last] * (degree + 1)
    if last == first:
        return np.log(np.array([first, last + 1.0]) + _SHIFT)
    return np.log(np.array([*ends[0], *inside, *ends[1]], dtype=np.float64) + _SHIFT)

"""DESI DR2 baryon acoustic oscillations: thirteen distances over the sound horizon, and their covariance.

DESI DR2 results II (arXiv:2503.14738), table IV, with the digits of the published likelihood: D_V/r_d of the bright
galaxies, D_M/r_d and D_H/r_d of luminous red galaxies in three bins (the third with emission-line galaxies), of
emission-line galaxies, of quasars, and of the Lyman-α forest (DESI DR2 results I, arXiv:2503.14739), with

    D_H = c/H(z),    D_V = (z D_M² D_H)^{1/3},    r_d the sound horizon at the end of baryon drag.

Bins are independent of each other; D_M and D_H of one are correlated. Published files call r_d "rs", and give the
forest's D_H before its D_M, unlike the other rows: that order is kept.

The forest's D_H is measured over 1.8 ≲ z ≲ 4. A model whose H(z) jumps there, as ΛsCDM's, must be averaged before it is
judged at z = 2.33: see `lya_hubble_distance`.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray


class Row(NamedTuple):
    """One measured ratio: "DV", "DM" or "DH" over r_d at redshift z."""

    z: float
    kind: str
    ratio: float


ROWS = (
    Row(0.295, "DV", 7.94167639),
    Row(0.510, "DM", 13.58758434),
    Row(0.510, "DH", 21.86294686),
    Row(0.706, "DM", 17.35069094),
    Row(0.706, "DH", 19.45534918),
    Row(0.934, "DM", 21.57563956),
    Row(0.934, "DH", 17.64149464),
    Row(1.321, "DM", 27.60085612),
    Row(1.321, "DH", 14.17602155),
    Row(1.484, "DM", 30.51190063),
    Row(1.484, "DH", 12.81699964),
    Row(2.330, "DH", 8.631545674846294),
    Row(2.330, "DM", 38.988973961958784),
)

_VARIANCES = (
    5.78998687e-03,
    *(2.83473742e-02, 1.83928040e-01),
    *(3.23752442e-02, 1.11469198e-01),
    *(2.61732816e-02, 4.04183878e-02),
    *(1.05336516e-01, 5.04233092e-02),
    *(5.83020277e-01, 2.68336193e-01),
    *(1.02136194e-02, 2.82685779e-01),
)
_WITHIN_BIN = (-3.26062007e-02, -2.37445646e-02, -1.12938006e-02, -2.90308418e-02, -1.95215562e-01, -2.31395216e-02)

REDSHIFTS = np.array(sorted({row.z for row in ROWS}))
"""The seven effective redshifts that theory is needed at."""

MEAN = np.array([row.ratio for row in ROWS])
"""The measured ratios, (13,)."""


def _covariance() -> NDArray[np.float64]:
    out = np.diag(_VARIANCES)
    for k, value in enumerate(_WITHIN_BIN):
        out[2 * k + 1, 2 * k + 2] = out[2 * k + 2, 2 * k + 1] = value
    return out


COVARIANCE = _covariance()
"""Of the measured ratios, (13, 13)."""

_UNROOT = np.linalg.inv(np.linalg.cholesky(COVARIANCE))
_AT = np.searchsorted(REDSHIFTS, [row.z for row in ROWS])
_KIND = np.array([row.kind for row in ROWS])

LYA = 2.33
"""Effective redshift of the forest's bin; the last of REDSHIFTS."""

LYA_EDGES = np.linspace(1.8, 4.0, 23)
"""Edges of the slices in z that the forest's D_H is averaged over."""

_FIDUCIAL_OMEGA_M = 0.315192
"""Of the cosmology that DESI measures dilations against, Planck 2018's base ΛCDM."""


def bao_ratios(transverse: ArrayLike, hubble: ArrayLike, drag: ArrayLike) -> NDArray[np.float64]:
    """What ROWS should be for a model.

    Parameters
    ----------
    transverse, hubble : arrays (..., 7)
        D_M and D_H = c/H at REDSHIFTS, in Mpc.
    drag : array (...)
        r_d in Mpc.

    Returns
    -------
    array (..., 13)
    """
    over = 1.0 / np.asarray(drag, dtype=np.float64)[..., None]
    d_m, d_h = np.asarray(transverse)[..., _AT] * over, np.asarray(hubble)[..., _AT] * over
    d_v = np.cbrt(REDSHIFTS[_AT] * d_m**2 * d_h)
    return np.where(_KIND == "DM", d_m, np.where(_KIND == "DH", d_h, d_v))


def bao_residual(transverse: ArrayLike, hubble: ArrayLike, drag: ArrayLike) -> NDArray[np.float64]:
    """Whitened model − data, (..., 13), of which the sum of squares is χ²; parameters are those of `bao_ratios`."""
    return np.einsum("ij,...j->...i", _UNROOT, bao_ratios(transverse, hubble, drag) - MEAN)


def bao_chi2(transverse: ArrayLike, hubble: ArrayLike, drag: ArrayLike) -> NDArray[np.float64]:
    """χ², (...); parameters are those of `bao_ratios`."""
    return np.sum(bao_residual(transverse, hubble, drag) ** 2, axis=-1)


def lya_hubble_distance(comoving: ArrayLike) -> NDArray[np.float64]:
    """D_H that the forest would report at z = 2.33, of a model whose H(z) is not smooth over its range.

    What a measurement reports is one dilation along the line of sight, of pixels from all of its range; in slices of z,

        D_H(2.33) = D_H^fid(2.33) Σ_b w_b ΔD_C,b / ΔD_C^fid,b,

    where ΔD_C is the comoving depth of a slice, exact for any H(z), and the weights fall as exp(−z/s) from z = 1.8 with
    s such that their mean is at 2.33, about as the number of forest pixels does. What is averaged is a ratio to the
    fiducial cosmology, in which a smooth model varies slowly and nearly linearly: for one of those it is D_H(2.33).

    Parameters
    ----------
    comoving : array (..., 23)
        Comoving radial distances at LYA_EDGES, in Mpc.

    Returns
    -------
    array (...)
        In Mpc.
    """
    return np.diff(np.asarray(comoving, dtype=np.float64), axis=-1) @ _LYA_WEIGHTS


def _fiducial_hubble_distance(z: ArrayLike) -> NDArray[np.float64]:
    """Up to a factor, which cancels."""
    return 1 / np.sqrt(_FIDUCIAL_OMEGA_M * (1 + np.asarray(z)) ** 3 + 1 - _FIDUCIAL_OMEGA_M)


def _lya_weights() -> NDArray[np.float64]:
    """D_H^fid(2.33) w_b / ΔD_C^fid,b, (22,)."""
    from scipy.optimize import brentq

    nodes, weights = np.polynomial.legendre.leggauss(4)
    middle, half = (LYA_EDGES[1:] + LYA_EDGES[:-1]) / 2, np.diff(LYA_EDGES) / 2
    depth = half * (_fiducial_hubble_distance(middle[:, None] + half[:, None] * nodes) @ weights)

    def weight(rate: float) -> NDArray[np.float64]:
        out = np.exp(-rate * (middle - middle[0]))
        return out / out.sum()

    rate = brentq(lambda rate: float(weight(rate) @ middle) - LYA, 0.1, 10.0)
    return _fiducial_hubble_distance(LYA) * weight(rate) / depth


_LYA_WEIGHTS = _lya_weights()

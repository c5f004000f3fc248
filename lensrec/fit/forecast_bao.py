"""Baryon acoustic oscillations of a forecast: DESI as it was foreseen, and as its second release measured."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lensrec.fit import desi_dr2

FULL_REDSHIFTS = np.round(np.arange(0.15, 1.9, 0.1), 2)
FULL_PERCENT = np.array(
    [1.89, 1.26, 0.98, 0.80, 0.68, 0.60, 0.52, 0.51, 0.56, 0.59, 0.60, 0.57, 0.66, 0.75, 0.95, 1.48, 2.28, 3.03]
)
"""σ of r_d/D_V in per cent at each of FULL_REDSHIFTS, of galaxies and quasars over 14 000 square degrees, without the
Lyman-α forest: what forecasts for ground-based CMB surveys have taken as "DESI" (the public Fisher code pyfisher,
input/desi.txt; after Font-Ribera et al. 2014, arXiv:1308.4164, and the survey's own, arXiv:1611.00036)."""

REDSHIFTS = np.array(sorted({*FULL_REDSHIFTS.tolist(), *desi_dr2.REDSHIFTS.tolist()}))
"""Where a forecast's theory gives D_M and D_H."""

SURVEYS = ("full", "dr2")


class Distances(NamedTuple):
    """What a survey measures: derivatives by each parameter (p, n), and the covariance (n, n)."""

    derivatives: NDArray[np.float64]
    covariance: NDArray[np.float64]


def ratios(name: str, value: NDArray, drag: float) -> NDArray[np.float64]:
    """What a survey would measure, (n,): parameters are those of `survey`."""
    d_m, d_h = value
    if name == "dr2":
        at = np.searchsorted(REDSHIFTS, desi_dr2.REDSHIFTS)
        return desi_dr2.bao_ratios(d_m[at], d_h[at], drag)
    at = np.searchsorted(REDSHIFTS, FULL_REDSHIFTS)
    return np.log(np.cbrt(FULL_REDSHIFTS * d_m[at] ** 2 * d_h[at]) / drag)


def survey(name: str, value: NDArray, first: NDArray, drag: float, drag_first: NDArray) -> Distances:
    """Derivatives of a survey's ratios and their covariance.

    Parameters
    ----------
    name : "full" or "dr2"
        ln(D_V/r_d) with FULL_PERCENT; or D_V, D_M, D_H over r_d as in `desi_dr2`, with its covariance.
    value : array (2, n)
        D_M and D_H at REDSHIFTS, Mpc.
    first : array (p, 2, n)
        Their derivatives.
    drag, drag_first : float and array (p,)
        r_d in Mpc, and its derivatives.

    Raises
    ------
    ValueError
        For another survey.
    """
    log = first / value - (drag_first / drag)[:, None, None]
    if name == "full":
        at = np.searchsorted(REDSHIFTS, FULL_REDSHIFTS)
        return Distances((2 * log[:, 0, at] + log[:, 1, at]) / 3, np.diag((FULL_PERCENT / 100) ** 2))
    if name == "dr2":
        at = np.searchsorted(REDSHIFTS, desi_dr2.REDSHIFTS)
        position = {float(z): k for k, z in zip(at, desi_dr2.REDSHIFTS, strict=True)}
        kinds = {"DM": np.array([1.0, 0.0]), "DH": np.array([0.0, 1.0]), "DV": np.array([2.0, 1.0]) / 3}
        rows = [log[:, :, position[row.z]] @ kinds[row.kind] for row in desi_dr2.ROWS]
        return Distances(np.stack(rows, axis=1) * ratios(name, value, drag), desi_dr2.COVARIANCE)
    raise ValueError(f"BAO surveys are {', '.join(SURVEYS)}, got {name!r}")

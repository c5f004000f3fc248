"""The box of cosmologies that the emulator is made for, points in it, and what CAMB says at one.

The box is what published data leave open, about six standard deviations of Planck's plik_lite with A_L^TTTEEE free, in

    x = (ω_b, ω_c, θ_*, ln 10¹⁰A_s, n_s, τ, Σmν, w, w_a),

flat, with three massive neutrinos of equal mass and N_eff = 3.044. In (w, w_a) it is not a rectangle: θ_* and H0 fix
w near its pivot, w_p = w + 0.273 w_a, so that the box is one in w_p and w_a, with w + w_a below a bound that leaves
out dark energy at recombination. ΛCDM, w = −1 and w_a = 0, is a plane of it that a quarter of the points lie in.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lensrec.theory.acoustic_scale import PARAMETERS as LCDM
from lensrec.theory.acoustic_scale import unlensed_cosmology

PARAMETERS = (*LCDM, "mnu", "w", "wa")
"""ω_b, ω_c, θ_* (not cosmomc_theta), ln(10¹⁰A_s), n_s, τ, Σmν in eV, w, w_a."""

PIVOT = 0.273
"""1 − a where the equation of state is best known by θ_* and distances: w_p = w + 0.273 w_a."""

LARGE_SCALES = 60
"""Every multipole up to here is a knot of CMB spectra; beyond, every SPACING-th. A cubic spline through them differs
from a spectrum by less than CAMB's own, whose knots lie up to 50 apart."""

SPACING = 8
POTENTIAL_KNOTS = 120
HIERARCHY = "degenerate"


@dataclass(frozen=True)
class Box:
    """Where the emulator holds.

    Attributes
    ----------
    low, high : tuples of 7
        Of ω_b, ω_c, θ_*, ln 10¹⁰A_s, n_s, τ and Σmν.
    pivot, wa : pairs
        Ranges of w + 0.273 w_a and of w_a.
    early : float
        w + w_a is below this.
    """

    low: tuple[float, ...] = (0.02160, 0.1106, 0.0103930, 2.90, 0.9400, 0.02, 0.0)
    high: tuple[float, ...] = (0.02340, 0.1274, 0.0104290, 3.20, 0.9940, 0.12, 0.9)
    pivot: tuple[float, float] = (-1.60, -0.65)
    wa: tuple[float, float] = (-3.5, 1.5)
    early: float = -0.3

    @property
    def centre(self) -> NDArray[np.float64]:
        """The middle of the box of ΛCDM with Σmν = 0.06 eV: array (9,)."""
        middle = (np.array(self.low) + np.array(self.high)) / 2
        return np.array([*middle[:6], 0.06, -1.0, 0.0])

    def inside(self, x: ArrayLike) -> NDArray[np.bool_]:
        """Whether x (…, 9) lies in the box; Σmν may have either sign."""
        x = np.array(x, dtype=np.float64)
        x[..., 6] = np.abs(x[..., 6])
        pivot = x[..., 7] + PIVOT * x[..., 8]
        return (
            np.all((x[..., :7] >= self.low) & (x[..., :7] <= self.high), axis=-1)
            & (pivot >= self.pivot[0])
            & (pivot <= self.pivot[1])
            & (x[..., 8] >= self.wa[0])
            & (x[..., 8] <= self.wa[1])
            & (x[..., 7] + x[..., 8] <= self.early)
        )


class EmulatorPoint(NamedTuple):
    """One cosmology that an emulator is made of, or judged by."""

    x: tuple[float, ...]
    lmax: int
    lens_potential_accuracy: float


def box_points(box: Box, n: int, *, seed: int) -> NDArray[np.float64]:
    """The first n points (n, 9) of a scrambled Sobol sequence in the box.

    Any beginning of the sequence fills the box evenly. Σmν goes as the power 3/2 of a uniform number, from 1e-3 eV:
    denser towards zero, where posteriors lie. A quarter of the points are ΛCDM.
    """
    from scipy.stats.qmc import Sobol

    u = Sobol(10, scramble=True, seed=seed).random_base2(int(np.ceil(np.log2(max(n, 2)))))[:n]
    low, high = np.array(box.low), np.array(box.high)
    x = np.empty((n, 9))
    x[:, :6] = low[:6] + u[:, :6] * (high - low)[:6]
    x[:, 6] = np.maximum(low[6] + (high - low)[6] * u[:, 6] ** 1.5, 1e-3)
    pivot = box.pivot[0] + u[:, 7] * (box.pivot[1] - box.pivot[0])
    highest = np.minimum(box.wa[1], (box.early - pivot) / (1 - PIVOT))
    wa = box.wa[0] + u[:, 8] * (highest - box.wa[0])
    flat = u[:, 9] < 0.25
    x[:, 7], x[:, 8] = np.where(flat, -1.0, pivot - PIVOT * wa), np.where(flat, 0.0, wa)
    return x


def cmb_knots(lmax: int) -> NDArray[np.int64]:
    """Multipoles of unlensed spectra that stand for all up to lmax + 1500 at least."""
    return np.concatenate([np.arange(2, LARGE_SCALES), np.arange(LARGE_SCALES, lmax + 1500 + 1, SPACING)])


def potential_knots(lmax: int) -> NDArray[np.int64]:
    """Multipoles of C_L^φφ that stand for all from 2 to lmax + 2500."""
    return np.unique(np.round(np.geomspace(2, lmax + 2500, POTENTIAL_KNOTS)).astype(np.int64))


def evaluate(point: EmulatorPoint) -> NDArray[np.float64]:
    """Unlensed TT, TE, EE in µK² and ln C_L^φφ at their knots, H0 and Ω_m, end to end; NaN where CAMB finds nothing."""
    cmb, potential = cmb_knots(point.lmax), potential_knots(point.lmax)
    try:
        cosmology = unlensed_cosmology(
            np.array(point.x[:6]),
            lmax=point.lmax,
            mnu=point.x[6],
            hierarchy=HIERARCHY,
            w=point.x[7],
            wa=point.x[8],
            lens_potential_accuracy=point.lens_potential_accuracy,
        )
    except ValueError:
        return np.full(3 * len(cmb) + len(potential) + 2, np.nan)
    spectra = [cosmology.unlensed[key][cmb] for key in ("TT", "TE", "EE")]
    return np.concatenate([*spectra, np.log(cosmology.cl_phi[potential]), [cosmology.H0, cosmology.omega_m]])

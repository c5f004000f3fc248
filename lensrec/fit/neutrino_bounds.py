"""What is known of Σmν without cosmology, to stand beside a posterior, and what a signed posterior says of it.

None of these bounds is ever a prior of a fit. Oscillations leave two lower bounds: with the lightest state massless,

    normal    Σmν ≥ √Δm²₂₁ + √Δm²₃₁ = 0.0588 eV,
    inverted  Σmν ≥ √|Δm²₃₂| + √(|Δm²₃₂| − Δm²₂₁) = 0.0989 eV

from the splittings of NuFIT 6.0 (Esteban et al. 2024, arXiv:2410.05380), which `theory.neutrinos` holds. KATRIN
(arXiv:2406.13516) bounds m_β = √Σ|U_ei|² m_i², which in the range that it reaches is the mass of each of three nearly
equal states.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lensrec.theory.neutrinos import FLOOR_INVERTED, FLOOR_NORMAL

KATRIN = 0.45
"""90 % upper limit on m_β in eV (KATRIN, arXiv:2406.13516)."""


class Bound(NamedTuple):
    """A bound on Σmν in eV, "lower" or "upper", with what to call it and where it is from."""

    value: float
    side: str
    label: str
    source: str


BOUNDS = (
    Bound(FLOOR_NORMAL, "lower", "oscillations, normal order", "NuFIT 6.0, arXiv:2410.05380"),
    Bound(FLOOR_INVERTED, "lower", "oscillations, inverted order", "NuFIT 6.0, arXiv:2410.05380"),
    Bound(3 * KATRIN, "upper", "KATRIN, 90 %", "arXiv:2406.13516: three times its bound on m_beta"),
)
"""To be drawn and written beside posteriors."""


class Tension(NamedTuple):
    """How far a posterior is from a value.

    Attributes
    ----------
    gaussian : float
        (value − mean)/σ: positive where the posterior lies below the value.
    tail : float
        What of the posterior lies above the value.
    n_sigma : float
        The tail as standard deviations of a Gaussian, of one side: `gaussian` again if the posterior is one.
        Infinite if there is no sample above.
    samples_above : float
        The effective number of samples that the tail rests on; with few, the tail is not known.
    """

    gaussian: float
    tail: float
    n_sigma: float
    samples_above: float


def upper_limit(mnu: ArrayLike, weights: ArrayLike | None = None, *, level: float = 0.95, floor: float = 0.0) -> float:
    """Upper limit on Σmν in eV, of a posterior cut at a floor: for a flat prior on Σmν ≥ floor.

    Parameters
    ----------
    mnu, weights : arrays (n,)
        Samples of a posterior that has a flat prior on either side of the floor.
    level : float
        What of the cut posterior lies below the limit.
    floor : float
        0, or one of the FLOORs.

    Raises
    ------
    ValueError
        If the samples above the floor are worth less than a hundred: a limit from fewer, 20 % uncertain, is none.
    """
    values, w = _samples(mnu, weights)
    kept = values >= floor
    effective = _effective(w[kept])
    if effective < 100:
        raise ValueError(f"only {effective:.0f} effective samples lie above {floor:g} eV: draw more, there")
    return _quantile(values[kept], w[kept], level, floor)


def tension(mnu: ArrayLike, value: float = FLOOR_NORMAL, weights: ArrayLike | None = None) -> Tension:
    """Two measures of how far a signed posterior lies below a value, such as the least Σmν of oscillations.

    Parameters
    ----------
    mnu, weights : arrays (n,)
        Samples of Σmν of either sign, in eV.
    value : float
    """
    from scipy.special import ndtri

    values, w = _samples(mnu, weights)
    mean = float(w @ values)
    sigma = float(np.sqrt(w @ (values - mean) ** 2))
    above = values >= value
    tail = float(w[above].sum())
    return Tension((value - mean) / sigma, tail, float(-ndtri(tail)), _effective(w[above]))


def _samples(mnu: ArrayLike, weights: ArrayLike | None) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    values = np.asarray(mnu, dtype=np.float64)
    w = np.ones(len(values)) if weights is None else np.asarray(weights, dtype=np.float64)
    if values.ndim != 1 or w.shape != values.shape or not w.sum() > 0:
        raise ValueError(f"samples {values.shape} need as many weights, got {w.shape}")
    return values, w / w.sum()


def _effective(weights: NDArray[np.float64]) -> float:
    return float(weights.sum() ** 2 / np.sum(weights**2)) if len(weights) else 0.0


def _quantile(values: NDArray, weights: NDArray, level: float, lowest: float) -> float:
    """Of samples above `lowest`, each of whose weight is spread between its neighbour below and itself."""
    order = np.argsort(values)
    cumulative = np.concatenate([[0.0], np.cumsum(weights[order])])
    return float(np.interp(level * cumulative[-1], cumulative, np.concatenate([[lowest], values[order]])))

"""Redshifts of last scattering and of the drag epoch, as CAMB has them, by polynomials in ω_b and the matter density.

Recombination knows the cosmology by ω_b (with the helium of big-bang nucleosynthesis) and by the expansion rate of its
time, that is by

    ω_e = ω_b + ω_c + ω_ν,excess,   ω_ν,excess = (a⁻⁴ Σ_i [ρ_ν(a, m_i) − ρ_0(a)]/ρ_crit,100) a³ at a = 1/890,

the last term being what mass adds to the density of the three neutrinos; a is where it answers best for all masses.
z is a polynomial in

    x = ln(ω_b/0.0224)/0.2,   y = ln(ω_e/0.1424)/0.5

with both degrees summing to `DEGREE` at most. Dark energy must be negligible then.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lensrec.theory.neutrinos import OMEGA_MASSLESS, summed_density

DEGREE = 5
BOOST = 10.0
"""Total degree of the polynomials, and CAMB's BackgroundTimeStepBoost in their fit."""

OMBH2_RANGE = (0.018, 0.027)
OMCH2_RANGE = (0.07, 0.20)
"""Box that the polynomials are fitted in (CAMB 2.0.5; N_eff = 3.044, T_0 = 2.7255 K)."""

A_PIVOT = 1 / 890
_PIVOT = (0.0224, 0.1424)
_SPREAD = (0.2, 0.5)

Z_STAR = (
    1089.8641,
    6.19625208,
    0.811980201,
    0.049687917,
    0.0010676165,
    -7.58843374e-05,
    -6.00757453,
    -1.01605824,
    -0.12975465,
    -0.0041430003,
    0.000475989984,
    0.524139422,
    0.0699480041,
    0.00580627959,
    -0.000374427458,
    -0.0236413099,
    -0.000972753991,
    0.000181758498,
    0.000233203657,
    -0.000128358964,
    -5.14532732e-05,
)
Z_DRAG = (
    1059.99747,
    5.11195446,
    0.650940312,
    0.0370914231,
    0.00059374142,
    4.54387249e-05,
    10.0358806,
    -0.495718999,
    -0.050292085,
    0.000958571943,
    0.000436734506,
    0.259236241,
    0.0141181051,
    -0.00158350936,
    -0.000513523086,
    0.00226044836,
    0.00164420107,
    0.000293830456,
    -0.000661915685,
    -5.82224224e-05,
    -5.76870228e-05,
)
"""Coefficients of x^i y^j for (i, j) in the order of `_powers`, by `fit_recombination`.

At 80 random points of the box, against CAMB of the same time steps: |Δz_*| < 1e-4 and |Δz_d| < 3e-4 for Σmν of 0 and
0.06 eV, 0.0012 for 0.3 eV, 0.005 for 0.6 eV. By CAMB's default time steps its own z_d scatters by 0.004 rms and 0.03
at worst (z_* by 0.0002 and 0.0007).
"""


def excess_density(masses: ArrayLike, a: float = A_PIVOT) -> float:
    """ω_ν,excess of states with masses (n,) in eV, of either sign."""
    masses = np.asarray(masses, dtype=np.float64)
    return float(OMEGA_MASSLESS * (summed_density(a, masses) - len(masses)) / a)


def recombination_redshifts(ombh2: float, effective: float) -> tuple[float, float]:
    """z_* (optical depth 1 without reionisation) and z_d (drag depth 1) at ω_b and ω_e.

    Raises
    ------
    ValueError
        Outside the box of the fit.
    """
    low, high = OMBH2_RANGE[0] + OMCH2_RANGE[0], OMBH2_RANGE[1] + OMCH2_RANGE[1]
    if not OMBH2_RANGE[0] <= ombh2 <= OMBH2_RANGE[1] or not low <= effective <= high:
        raise ValueError(
            f"ombh2 = {ombh2:g}, ombh2 + omch2 = {effective:g} (with early neutrinos) lie outside the fit to "
            f"recombination, {OMBH2_RANGE[0]} to {OMBH2_RANGE[1]} and {low:g} to {high:g}"
        )
    terms = _monomials(ombh2, effective)
    return float(terms @ np.array(Z_STAR)), float(terms @ np.array(Z_DRAG))


def fit_recombination(nodes: int = 12) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Z_STAR and Z_DRAG anew, by least squares to CAMB with Σmν = 0.06 eV at nodes² Chebyshev points of the box."""
    unit = np.cos(np.pi * (np.arange(nodes) + 0.5) / nodes)
    ombh2 = np.mean(OMBH2_RANGE) + np.ptp(OMBH2_RANGE) / 2 * unit
    omch2 = np.mean(OMCH2_RANGE) + np.ptp(OMCH2_RANGE) / 2 * unit
    excess = excess_density([0.02, 0.02, 0.02])
    rows, stars, drags = [], [], []
    for b in ombh2:
        for c in omch2:
            star, drag = camb_redshifts(b, c, mnu=0.06, boost=BOOST)
            rows.append(_monomials(b, b + c + excess))
            stars.append(star)
            drags.append(drag)
    matrix = np.array(rows)
    solution = np.linalg.lstsq(matrix, np.array([stars, drags]).T, rcond=None)[0]
    return solution[:, 0], solution[:, 1]


def camb_redshifts(ombh2: float, omch2: float, *, mnu: float, boost: float = 1.0) -> tuple[float, float]:
    """z_* and z_d by CAMB's recombination, three equal masses; `boost` is its BackgroundTimeStepBoost."""
    import camb

    params = camb.set_params(H0=67.0, ombh2=ombh2, omch2=omch2, mnu=mnu, num_massive_neutrinos=3)
    params.Accuracy.BackgroundTimeStepBoost = boost
    derived = camb.get_background(params).get_derived_params()
    return derived["zstar"], derived["zdrag"]


def _powers() -> Sequence[tuple[int, int]]:
    return [(i, j) for i in range(DEGREE + 1) for j in range(DEGREE + 1 - i)]


def _monomials(ombh2: float, effective: float) -> NDArray[np.float64]:
    x = np.log(ombh2 / _PIVOT[0]) / _SPREAD[0]
    y = np.log(effective / _PIVOT[1]) / _SPREAD[1]
    return np.array([x**i * y**j for i, j in _powers()])

"""Massive neutrinos in the background: masses, exact densities of either sign, and the scales of free streaming.

The three states have a common Fermi–Dirac distribution of temperature T_ν = (N_eff/3)^¼ (4/11)^⅓ T_0, which is CAMB's
convention: each holds a third of N_eff while relativistic, and each has (N_eff/3)^¾ of the number density of
instantaneous decoupling.
"""

from collections import Counter
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import constants
from scipy.optimize import brentq
from scipy.special import zeta

Hierarchy = Literal["degenerate", "normal", "inverted", "one"]

N_EFF = 3.044
"""Effective number of neutrinos, Bennett et al. 2021 (arXiv:2012.02726); CAMB's default."""

T_CMB = 2.7255
"""Temperature of the CMB today in K, Fixsen 2009 (arXiv:0911.1955)."""

SPLITTING_21 = 7.49e-5
SPLITTING_31_NORMAL = 2.513e-3
SPLITTING_23_INVERTED = 2.484e-3
"""m_2² − m_1², m_3² − m_1² (normal) and m_2² − m_3² (inverted) in eV²: NuFIT 6.0 (arXiv:2410.05380), table 1,
the fit with Super-Kamiokande's atmospheric data."""

FLOOR_NORMAL = 0.0588
FLOOR_INVERTED = 0.0989
"""Least Σmν in eV that these splittings allow, the lightest state massless (0.05878 and 0.09892 unrounded)."""

LINEAR_MASS = 93.14
"""eV: ω_ν ≈ Σmν/93.14 eV, Lesgourgues & Pastor 2006 (astro-ph/0603494); `omnuh2` has the exact density."""

MEGAPARSEC = constants.parsec * 1e6
NEUTRINO_KT = (N_EFF / 3) ** 0.25 * (4 / 11) ** (1 / 3) * T_CMB * constants.k / constants.eV
"""k T_ν today in eV, 1.6825e-4."""

_CRITICAL = 3 * (1e5 / MEGAPARSEC) ** 2 / (8 * np.pi * constants.G)
OMEGA_PHOTON = 4 * constants.sigma * T_CMB**4 / constants.c**3 / _CRITICAL
"""ω_γ = Ω_γ h²."""

OMEGA_MASSLESS = 7 / 8 * (4 / 11) ** (4 / 3) * N_EFF / 3 * OMEGA_PHOTON
"""ω of one massless neutrino state."""

# ∫ dq f(q) as a sum over ln q, step h. Branch points and poles lie π/2 off the real axis of ln q whatever the mass,
# so that the sum's error is of order (2π/h)^3.5 exp(−π²/h), 2e-10. The integrand falls as q³ below, as exp(−q) above.
_STEP = 0.3
_Q = np.exp(np.arange(-8.0, 3.6 + _STEP / 2, _STEP))
_WEIGHT = _Q**4 / (np.exp(_Q) + 1)
_WEIGHT /= _WEIGHT.sum()
_INVERSE = 1 / _Q


def neutrino_masses(mnu: float, hierarchy: Hierarchy = "degenerate") -> NDArray[np.float64]:
    """Masses m_1, m_2, m_3 of the three states.

    Parameters
    ----------
    mnu : float
        Σmν in eV. Where it is negative the masses are those of |Σmν|; their sign is kept by who asks.
    hierarchy : {"degenerate", "normal", "inverted", "one"}
        Three equal masses; the two orderings with the measured splittings; or one massive state and two massless.

    Returns
    -------
    array (3,)
        In eV. Where |Σmν| lies between the rounded floor and the exact one, the masses at the floor, scaled.

    Raises
    ------
    ValueError
        For an unknown hierarchy, or |Σmν| below the floor of an ordering.
    """
    total = abs(float(mnu))
    if not np.isfinite(total):
        raise ValueError(f"mnu = {mnu} is no sum of neutrino masses")
    if hierarchy == "degenerate":
        return np.full(3, total / 3)
    if hierarchy == "one":
        return np.array([0.0, 0.0, total])
    if hierarchy not in ("normal", "inverted"):
        raise ValueError(f"unknown hierarchy {hierarchy!r}; known are degenerate, normal, inverted, one")
    floor = FLOOR_NORMAL if hierarchy == "normal" else FLOOR_INVERTED
    if total < floor:
        raise ValueError(f"|mnu| = {total:g} eV is below the {floor} eV that the {hierarchy} ordering needs at least")
    least = _ordered(0.0, hierarchy)
    if total <= least.sum():
        return least * total / least.sum()
    # the lightest is the lightest of three, hence below a third of the sum
    lightest = brentq(lambda m: _ordered(m, hierarchy).sum() - total, 0.0, total / 3, xtol=1e-15, rtol=1e-14)
    return _ordered(lightest, hierarchy)


def _ordered(lightest: float, hierarchy: Hierarchy) -> NDArray[np.float64]:
    if hierarchy == "normal":
        squares = lightest**2 + np.array([0.0, SPLITTING_21, SPLITTING_31_NORMAL])
    else:
        squares = lightest**2 + np.array([SPLITTING_23_INVERTED - SPLITTING_21, SPLITTING_23_INVERTED, 0.0])
    return np.sqrt(squares)


def relative_density(a: ArrayLike, mass: float) -> NDArray[np.float64]:
    """Energy density of a neutrino state over that of a massless one at the same scale factor.

    ρ_ν/ρ_0 = ∫ dq q² √(q² + y²)/(e^q + 1) / ∫ dq q³/(e^q + 1),  y = a m/(k T_ν0),

    good to 1e-10; and for m < 0, by the signed energy ε = sgn(m) √(q² + a²m²) counted from the massless state,

    ρ_ν,eff(a, −|m|) = 2 ρ_0(a) − ρ_ν(a, |m|).

    Both branches leave 1 as ±5y²/(7π²): value and first derivative are continuous in m at 0.

    Parameters
    ----------
    a : array
        Scale factor, 1 today.
    mass : float
        In eV, of either sign.

    Returns
    -------
    array
        Of the shape of a. It multiplies `OMEGA_MASSLESS` a⁻⁴.
    """
    a = np.asarray(a, dtype=np.float64)
    if mass == 0:
        return np.ones_like(a)
    y = a * (abs(mass) / NEUTRINO_KT)
    ratio = np.sqrt(1 + np.square(y[..., None] * _INVERSE)) @ _WEIGHT
    return ratio if mass > 0 else 2 - ratio


def relative_pressure(a: ArrayLike, mass: float) -> NDArray[np.float64]:
    """Pressure over that of a massless state, P/P_0 = ∫ dq q⁴/√(q² + y²)/(e^q + 1) / ∫ dq q³/(e^q + 1).

    Arguments, mirror at negative mass and accuracy as in `relative_density`.
    """
    a = np.asarray(a, dtype=np.float64)
    if mass == 0:
        return np.ones_like(a)
    y = a * (abs(mass) / NEUTRINO_KT)
    ratio = (1 / np.sqrt(1 + np.square(y[..., None] * _INVERSE))) @ _WEIGHT
    return ratio if mass > 0 else 2 - ratio


def summed_density(a: ArrayLike, masses: ArrayLike) -> NDArray[np.float64]:
    """Σ_i ρ_ν(a, m_i)/ρ_0 of several states, masses (n,) in eV of either sign; equal ones are integrated once."""
    number = Counter(np.asarray(masses, dtype=np.float64).tolist())
    return sum((n * relative_density(a, mass) for mass, n in number.items()), np.zeros(()))


def omnuh2(mnu: float, hierarchy: Hierarchy = "degenerate") -> float:
    """ω_ν = Ω_ν h² today of the states that have mass, exactly; Σmν of either sign, in eV.

    Kinetic energy is in it, as in CAMB's omnuh2. It goes on smoothly through Σmν = 0, where it is that of as many
    massless states (one for "one", else three: 1.7e-5) and where CAMB, counting them as radiation, has 0.
    """
    masses = np.copysign(neutrino_masses(mnu, hierarchy), mnu)
    if hierarchy == "one":
        masses = masses[2:]
    return float(OMEGA_MASSLESS * summed_density(1.0, masses))


def f_nu(mnu: float, omega_m_h2: float) -> float:
    """Neutrino fraction of matter as it is usually quoted, f_ν = Σmν/(Ω_m h² 93.14 eV), Σmν in eV."""
    return mnu / (omega_m_h2 * LINEAR_MASS)


def thermal_velocity(z: ArrayLike, mass: float) -> NDArray[np.float64]:
    """v_th = 3 T_ν/m in units of c, 151 (1 + z)(1 eV/m) km/s; not capped at 1.

    The mean momentum is 3.15 T_ν; the round 3 is that of Lesgourgues & Pastor 2006 (astro-ph/0603494), kept so that
    scales are comparable.
    """
    return 3 * NEUTRINO_KT * (1 + np.asarray(z, dtype=np.float64)) / mass


def k_fs(z: ArrayLike, mass: float, *, omega_m: float) -> NDArray[np.float64]:
    """Free-streaming wavenumber of a non-relativistic state in flat ΛCDM, in h/Mpc.

    k_FS = √(4πGρ) a/v_th = √(3/2) a H/v_th
         ≈ 0.81 √(Ω_Λ + Ω_m (1 + z)³) (1 + z)⁻² (m/1 eV) h/Mpc  (Lesgourgues & Pastor 2006, there 0.82).

    Parameters
    ----------
    z : array
    mass : float
        Of this state (not the sum), in eV, positive.
    omega_m : float
    """
    z = np.asarray(z, dtype=np.float64)
    hubble = np.sqrt(1 - omega_m + omega_m * (1 + z) ** 3) * 100 / (constants.c / 1e3)
    return np.sqrt(1.5) * hubble / (1 + z) / thermal_velocity(z, mass)


def z_nr(mass: float) -> float:
    """Redshift where a state becomes non-relativistic, 3 T_ν = m: 1 + z ≈ 1980 (m/1 eV)."""
    return mass / (3 * NEUTRINO_KT) - 1


def k_nr(mass: float, *, omega_m: float) -> float:
    """Least free-streaming wavenumber, k_FS at z_nr in matter domination, in h/Mpc.

    k_nr ≈ 0.018 Ω_m^½ (m/1 eV)^½ h/Mpc (Lesgourgues & Pastor 2006). Λ and radiation left out, as there.
    """
    scale = np.sqrt(1.5) * 100 / (constants.c / 1e3)
    return float(scale * np.sqrt(omega_m * (1 + z_nr(mass))))


def number_density_mass() -> float:
    """Σmν/ω_ν in eV of this package's neutrinos when cold, 93.04: the exact counterpart of LINEAR_MASS.

    ρ = m n, n = 3ζ(3)/(2π²) T_ν³ a state, against ρ_0 = 7π²/120 T_ν⁴: m/ω = (7π⁴/180ζ(3)) k T_ν/ω_0.
    """
    return float(7 * np.pi**4 / (180 * zeta(3)) * NEUTRINO_KT / OMEGA_MASSLESS)


def camb_neutrinos(mnu: float, hierarchy: Hierarchy = "degenerate") -> dict[str, float | int | str]:
    """Arguments of camb.set_params for these neutrinos, Σmν ≥ 0 in eV.

    CAMB approximates both orderings by two distinct masses with splittings of its own: D_M agrees to 1e-6 with three
    masses at 0.12 eV, but only to 1e-4 at the floor of the normal ordering.
    """
    if mnu < 0:
        raise ValueError(f"CAMB knows no negative neutrino mass, got mnu = {mnu:g} eV")
    neutrino_masses(mnu, hierarchy)
    if hierarchy == "one":
        return {"mnu": mnu, "neutrino_hierarchy": "degenerate", "num_massive_neutrinos": 1}
    return {"mnu": mnu, "neutrino_hierarchy": hierarchy, "num_massive_neutrinos": 3}

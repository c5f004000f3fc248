"""Claims about what neutrinos do to matter: −8 f_ν, f_ν, and the scale of free streaming, against CAMB."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from lensrec.stages.anomaly_evidence import Evidence
from lensrec.stages.claims import Asked, Judgement, Number, three_ways
from lensrec.theory.neutrino_suppression import fixed_matter, lensing_suppression, matter_suppression, onset
from lensrec.theory.neutrinos import LINEAR_MASS, f_nu, k_fs, k_nr, number_density_mass, omnuh2

MASSES = (0.06, 0.15, 0.3)
"""Σmν in eV."""

K = np.geomspace(2e-4, 5.0, 160)
"""h/Mpc."""

PLATEAU = (0.5, 2.0)
"""h/Mpc: where linear theory has its plateau."""

MULTIPOLES = (100, 400, 1000)


@dataclass(frozen=True, eq=False)
class Suppression:
    """ΔP/P(k, z = 0) of each of MASSES, linear, (3, nk) at K; of the least, non-linear; and its ΔC_L^φφ/C_L^φφ."""

    omega_m_h2: float
    omega_m: float
    linear: NDArray[np.float64]
    nonlinear: NDArray[np.float64]
    lensing: NDArray[np.float64]

    def coefficient(self, change: NDArray, mnu: float) -> NDArray[np.float64]:
        """−(ΔP/P)/f_ν, which is 8 where the rule holds."""
        return -change / f_nu(mnu, self.omega_m_h2)

    def plateau(self, change: NDArray, mnu: float) -> float:
        """The same, mean over PLATEAU."""
        inside = (PLATEAU[0] <= K) & (PLATEAU[1] >= K)
        return float(self.coefficient(change, mnu)[inside].mean())


@lru_cache(maxsize=1)
def suppression() -> Suppression:
    """From CAMB, at fixed ω_m and H0."""
    held = fixed_matter()
    return Suppression(
        held["omega_m_h2"],
        held["omega_m_h2"] / (held["H0"] / 100) ** 2,
        np.array([matter_suppression(mnu, K, [0.0])[0] for mnu in MASSES]),
        matter_suppression(MASSES[0], K, [0.0], nonlinear=True)[0],
        lensing_suppression(MASSES[0], MULTIPOLES[-1], lens_potential_accuracy=1),
    )


def eight(_evidence: Evidence) -> Judgement:
    found = suppression()
    linear = [found.plateau(row, mnu) for row, mnu in zip(found.linear, MASSES, strict=True)]
    inside = (K >= 0.2) & (K <= 5)
    deepest = float(found.coefficient(found.nonlinear, MASSES[0])[inside].max())
    lensing = found.coefficient(found.lensing[list(MULTIPOLES)], MASSES[0])
    numbers = (
        *(
            Number(
                f"−(ΔP/P)/f_ν, Σmν = {mnu:g} eV", value, published="8 (astro-ph/9712057)", data="CAMB, linear, z = 0"
            )
            for mnu, value in zip(MASSES, linear, strict=True)
        ),
        Number("the same, non-linear, at its deepest", deepest, data="CAMB, HMcode 2020, 0.2 ≤ k ≤ 5 h/Mpc"),
        *(
            Number(f"−(ΔC_L^φφ/C_L^φφ)/f_ν, L = {at}", float(value), data="CAMB, Σmν = 0.06 eV")
            for at, value in zip(MULTIPOLES, lensing, strict=True)
        ),
    )
    good = [abs(value / 8 - 1) <= 0.1 for value in linear]
    all_else = [abs(value / 8 - 1) <= 0.1 for value in (deepest, *lensing)]
    why = (
        f"In linear theory today at fixed ω_m and H0, for {PLATEAU[0]} ≤ k ≤ {PLATEAU[1]} h/Mpc, the number is "
        f"{linear[0]:.1f} at {MASSES[0]} eV and {linear[-1]:.1f} at {MASSES[-1]} eV; non-linear growth makes it "
        f"{deepest:.1f}, and in C_L^φφ, which sees earlier times and larger scales, it is {lensing[0]:.1f} at L = 100 "
        f"and {lensing[-1]:.1f} at L = 1000."
    )
    return Judgement(three_ways(all(good) and all(all_else), any(good)), why, numbers, ("astro-ph/9712057",))


def fraction(_evidence: Evidence) -> Judgement:
    exact = [omnuh2(mnu) for mnu in MASSES]
    errors = [mnu / LINEAR_MASS / value - 1 for mnu, value in zip(MASSES, exact, strict=True)]
    numbers = (
        *(
            Number(f"Σmν/93.14 eV over ω_ν, less 1, Σmν = {mnu:g} eV", error, data="exact background, equal masses")
            for mnu, error in zip(MASSES, errors, strict=True)
        ),
        Number("Σmν/ω_ν when cold", number_density_mass(), unit="eV", published="93.14 eV (astro-ph/0603494)"),
    )
    worst = max(abs(error) for error in errors)
    why = (
        f"The exact ω_ν of three equal masses differs by {100 * worst:.2f} % at most for Σmν from {MASSES[0]} to "
        f"{MASSES[-1]} eV; today's neutrinos make it {number_density_mass():.2f} eV with N_eff = 3.044."
    )
    return Judgement(three_ways(worst < 0.01, worst < 0.05), why, numbers, ("astro-ph/0603494",))


def free_streaming(_evidence: Evidence) -> Judgement:
    found = suppression()
    mnu, each = MASSES[0], MASSES[0] / 3
    today = float(k_fs(0.0, each, omega_m=found.omega_m))
    least = k_nr(each, omega_m=found.omega_m)
    depth = -found.plateau(found.linear[0], mnu) * f_nu(mnu, found.omega_m_h2)
    tenth, half = (onset(K, found.linear[0], share * depth) for share in (0.1, 0.5))
    numbers = (
        Number("k_fs today", today, unit="h/Mpc", data=f"three masses of {each:.2f} eV"),
        Number("k_nr, the least k_fs", least, unit="h/Mpc", data="the same"),
        Number("k where a tenth of the suppression is reached", tenth, unit="h/Mpc", data="CAMB, linear, z = 0"),
        Number("k where half of it is", half, unit="h/Mpc", data="the same"),
    )
    why = (
        f"For {each:.2f} eV each, k_fs is {today:.4f} h/Mpc today and was {least:.4f} at its least, when they slowed "
        f"down. A tenth of the suppression is reached at {tenth:.4f}, half at {half:.4f} h/Mpc: it sets in at "
        f"{tenth / least:.1f} k_nr, long before today's k_fs, which is {today / half:.1f} times the k of half of it."
    )
    return Judgement(three_ways(0.5 <= tenth / today <= 2, least <= tenth <= half), why, numbers, ("astro-ph/0603494",))


CLAIMS = (
    Asked(
        "C7",
        "Massive neutrinos suppress the matter power by ΔP/P₀ ≈ −8 f_ν.",
        "agrees if the coefficient is within 10 % of 8 in linear theory at every mass, with non-linear growth, and "
        "in C_L^φφ; with a condition if in linear theory for any of the masses",
        "CAMB",
        "suppression.png",
        eight,
    ),
    Asked(
        "C8",
        "Their fraction of matter is f_ν = Σmν/(Ω_m h² 93.14 eV).",
        "agrees if that is the exact density to 1 % from 0.06 to 0.3 eV; with a condition to 5 %",
        "exact background",
        "suppression.png",
        fraction,
    ),
    Asked(
        "C9",
        "The suppression sets in beyond the free-streaming scale, k > k_fs.",
        "agrees if a tenth of it is reached within a factor 2 of today's k_fs; with a condition if later than k_nr, "
        "the least k_fs of all times",
        "CAMB",
        "suppression.png",
        free_streaming,
    ),
)

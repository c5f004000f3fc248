"""Claims about the optical depth: what A_s e^{−2τ} scales, what fixes τ, and where the excess goes once it is fixed."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from lensrec.stages.anomaly_evidence import Evidence
from lensrec.stages.claims import Asked, Judgement, Number, mass, plus_minus, sentence, three_ways
from lensrec.theory.boltzmann import FIDUCIAL, camb_spectra

LMAX = 2000
STEP = 0.02
"""Of τ."""

BUMP = 30
"""Multipoles below are those of reionisation."""

LOW_E = {
    "Planck 2018 lowE (1807.06209)": (0.0506, 0.0086),
    "SRoll2 (1908.09856)": (0.0566, 0.0058),
    "PR4 LoLLiPoP (2309.10034)": (0.058, 0.006),
}
WITHOUT = (0.090, 0.012)
"""τ without low-ℓ polarisation (arXiv:2504.16932)."""


@dataclass(frozen=True, eq=False)
class DepthResponse:
    """d ln C_ℓ/dτ at fixed A_s e^{−2τ}, from ℓ = 0: unlensed TT and EE, and TT lensed; and of C_L^φφ."""

    tt: NDArray[np.float64]
    ee: NDArray[np.float64]
    lensed: NDArray[np.float64]
    potential: NDArray[np.float64]

    def beyond_bump(self) -> float:
        """Share of what EE, measured to cosmic variance, tells of τ that lies at ℓ ≥ BUMP: Σ (2ℓ+1)/2 (∂ln C/∂τ)²."""
        ell = np.arange(len(self.ee))
        information = (ell + 0.5) * self.ee**2
        return float(information[BUMP:].sum() / information.sum())


@lru_cache(maxsize=1)
def depth_response() -> DepthResponse:
    """From CAMB, by central differences."""
    spectra = []
    for sign in (1, -1):
        tau = FIDUCIAL["tau"] + sign * STEP / 2
        scaled = FIDUCIAL["As"] * np.exp(2 * (tau - FIDUCIAL["tau"]))
        spectra.append(camb_spectra(LMAX, cosmology={**FIDUCIAL, "tau": tau, "As": scaled}, lens_potential_accuracy=1))
    above, below = spectra

    def slope(one: NDArray, other: NDArray) -> NDArray[np.float64]:
        out = np.zeros(LMAX + 1)
        out[2:] = np.log(one[2 : LMAX + 1] / other[2 : LMAX + 1]) / STEP
        return out

    return DepthResponse(
        slope(above.unlensed["TT"], below.unlensed["TT"]),
        slope(above.unlensed["EE"], below.unlensed["EE"]),
        slope(above.lensed["TT"], below.lensed["TT"]),
        slope(above.potential["PP"], below.potential["PP"]),
    )


@lru_cache(maxsize=1)
def growth_of_integral(ell: int = 10) -> tuple[float, float]:
    """∫dk k² P(k) j_ℓ²(k) to k = 2000 over that to 1000: with P ∝ k⁻³ of inflation, and with a constant.

    The first converges, to 1/(2ℓ(ℓ+1)); without the primordial k⁻³ the integrand tends to 1/2 and the integral grows
    with its end.
    """
    from scipy.special import spherical_jn

    k = np.linspace(0.05, 2000.0, 200001)
    square = spherical_jn(ell, k) ** 2
    half = len(k) // 2
    return tuple(float(np.sum(w * square) / np.sum((w * square)[: half + 1])) for w in (1 / k, k**2))  # type: ignore[return-value]


def scaling(_evidence: Evidence) -> Judgement:
    found = depth_response()
    inside, top, low = slice(BUMP, 1001), slice(1001, LMAX + 1), slice(2, BUMP)
    worst = STEP * float(np.abs(found.tt[inside]).max())
    beyond = STEP * float(np.abs(found.tt[top]).max())
    at_low = STEP * float(np.abs(found.tt[low]).max())
    lensed, potential = STEP * float(np.abs(found.lensed[1001:]).max()), STEP * float(found.potential[100])
    with_tilt, without = growth_of_integral()
    what = f"CAMB, τ moved by {STEP} at fixed A_s e^{{−2τ}}"
    numbers = (
        Number(f"largest change of C_ℓ^TT, {BUMP} ≤ ℓ ≤ 1000, unlensed", worst, data=what),
        Number(f"the same, 1000 < ℓ ≤ {LMAX}", beyond, data=what),
        Number(f"the same, ℓ < {BUMP}", at_low, data=what),
        Number(f"the same, lensed, 1000 < ℓ ≤ {LMAX}", lensed, data=what),
        Number("change of C_L^φφ at L = 100", potential, data=what),
        Number("integral to twice the k over that to k, with k⁻³", with_tilt, data="j₁₀², Sachs–Wolfe"),
        Number("the same as printed, without", without, data="j₁₀², Sachs–Wolfe"),
    )
    why = (
        f"When τ moves by {STEP} at fixed A_s e^{{−2τ}}, the unlensed C_ℓ^TT at ℓ ≥ {BUMP} stays within "
        f"{100 * max(worst, beyond):.2f} %, but moves by {100 * at_low:.1f} % below; C_L^φφ follows A_s, by "
        f"{100 * potential:.1f} %, and with it the smoothing ({100 * lensed:.2f} % of C̃_ℓ^TT): that is where A_L and "
        f"τ meet. The integral as printed, without the primordial k⁻³, diverges: it grows {without:.2f} times when "
        f"its end is doubled, {with_tilt:.3f} times with it."
    )
    holds = max(worst, beyond) < 0.01
    return Judgement(three_ways(holds and at_low < 0.01 and without < 1.1, holds), why, numbers)


def fixed_by(evidence: Evidence) -> Judgement:
    chain = evidence.chain("tau_free")
    free = chain.value("tau")
    share = depth_response().beyond_bump()
    prior = chain_prior(evidence, "lcdm")
    numbers = (
        Number(
            "τ without low-ℓ polarisation, Σmν free",
            *free,
            published=f"{plus_minus(*WITHOUT)} (2504.16932)",
            data="tau_free",
        ),
        Number(
            "τ of the default, with its prior", *evidence.chain("lcdm").value("tau"), published=_listed(), data="lcdm"
        ),
        Number(f"share of EE's information on τ at ℓ ≥ {BUMP}", share, data="CAMB, cosmic variance, unlensed"),
    )
    best = min(sigma for _, sigma in LOW_E.values())
    why = sentence(
        [
            f"At fixed A_s e^{{−2τ}}, all but {100 * share:.3f} % of what E modes know of τ lies at ℓ < {BUMP}, where "
            "only satellites have measured them so far: Planck fixes τ, the ground-based E modes of ACT and SPT do "
            "not.",
            f"Without low-ℓ polarisation, Σmν of either sign, lensrec finds τ = {plus_minus(*free)}, "
            f"{free[1] / best:.1f} times the error "
            f"of the best low-ℓ E modes and {(free[0] - prior[0]) / np.hypot(free[1], prior[1]):.1f}σ above the "
            "prior.",
        ]
    )
    by_planck, by_ground = free[1] > best, share > 0.1
    return Judgement(three_ways(by_planck and by_ground, by_planck), why, numbers, tuple(LOW_E))


def goes_into(evidence: Evidence) -> Judgement:
    tied, free = evidence.chain("lcdm"), evidence.chain("tau_free")
    before, after = tied.value("mnu"), free.value("mnu")
    move = (after[0] - before[0]) / before[1]
    per_tau = 0.01 * free.slope("mnu", "tau")
    numbers = [
        Number("Σmν, τ = 0.0544 ± 0.0073", *before, unit="eV", data="lcdm"),
        Number("Σmν, τ free", *after, unit="eV", data="tau_free"),
        Number("ΔΣmν for Δτ = 0.01, along the posterior", per_tau, unit="eV", data="tau_free"),
        Number("correlation of τ and Σmν", free.correlation("tau", "mnu"), data="tau_free"),
        Number("correlation of Ω_m and Σmν", tied.correlation("omega_m", "mnu"), data="lcdm"),
    ]
    for name, of in (
        ("tau_sroll2", "τ = 0.0566 ± 0.006"),
        ("tau_lowe", "τ = 0.0506 ± 0.0086"),
        ("tau_high", "τ = 0.090 ± 0.012"),
    ):
        if evidence.has(name):
            numbers.append(Number(f"Σmν, {of}", *evidence.chain(name).value("mnu"), unit="eV", data=name))
    said = ""
    into_mass = into_matter = np.nan
    if evidence.has("free_smoothing"):
        freed = evidence.chain("free_smoothing")
        into_mass = (freed.value("mnu")[0] - before[0]) / before[1]
        into_matter = (freed.value("omega_m")[0] - tied.value("omega_m")[0]) / tied.value("omega_m")[1]
        per_a = 0.1 * freed.slope("mnu", "A_L_TTTEEE")
        numbers += [
            Number("Σmν moves when A_L^TTTEEE is freed, τ tied", into_mass, unit="σ", data="lcdm, free_smoothing"),
            Number("Ω_m moves", into_matter, unit="σ", data="lcdm, free_smoothing"),
            Number("ΔΣmν for ΔA_L^TTTEEE = 0.1", per_a, unit="eV", data="free_smoothing"),
        ]
        said = (
            f"With τ tied, giving the excess a parameter of its own moves Σmν by {into_mass:+.1f}σ and Ω_m by "
            f"{into_matter:+.1f}σ: that much had gone into them."
        )
    why = sentence(
        [
            f"Without any knowledge of low-ℓ polarisation Σmν is {mass(after)}, {move:+.1f}σ from {mass(before)}: "
            f"along the posterior it rises by {per_tau:.3f} eV for each 0.01 of τ.",
            said,
        ]
    ).replace(" -", " −")
    strong = move >= 0.5 and into_mass >= 0.5 and abs(into_matter) >= 0.5
    return Judgement(three_ways(strong, move >= 0.25 or into_mass >= 0.25), why, tuple(numbers))


def chain_prior(evidence: Evidence, name: str) -> tuple[float, float]:
    """Centre and width of the prior on τ of a fit; wide open if it has none."""
    prior = evidence.chain(name).about.get("priors", {}).get("tau")
    return (prior[0], prior[1]) if prior else (0.0544, np.inf)


def _listed() -> str:
    return "; ".join(f"{plus_minus(*value)} {name}" for name, value in LOW_E.items())


CLAIMS = (
    Asked(
        "C10",
        "C_ℓ^TT is proportional to A_s e^{−2τ} times an integral over wavenumbers.",
        "agrees if C_ℓ^TT is constant to 1 % at fixed A_s e^{−2τ} for every ℓ and the printed integral converges; "
        "with a condition if constant for 30 ≤ ℓ ≤ 2000 alone",
        "CAMB",
        "",
        scaling,
    ),
    Asked(
        "C11",
        "Planck PR4 and ground-based E modes fix τ.",
        "agrees if, without low-ℓ E modes, τ is worse known than with them, and more than a tenth of what E modes "
        "know of it lies at ℓ ≥ 30, where ground-based surveys measure; with a condition if the first holds alone",
        "tau_free, lcdm, CAMB",
        "tau.png",
        fixed_by,
    ),
    Asked(
        "C12",
        "With A_s locked by τ, the excess of lensing must go into Ω_m and Σmν.",
        "agrees if Σmν rises by half a σ or more both when τ is freed and when A_L^TTTEEE is, and Ω_m moves as far "
        "with the "
        "latter; with a condition if Σmν rises by a quarter of a σ with either",
        "lcdm, tau_free, free_smoothing, tau_sroll2, tau_lowe, tau_high",
        "degeneracy.png",
        goes_into,
    ),
)

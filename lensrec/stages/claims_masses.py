"""Claims about Σmν itself: the limit, the negative value, its distance from oscillations, and what KATRIN bounds."""

import numpy as np

from lensrec.fit.neutrino_bounds import KATRIN
from lensrec.stages.anomaly_evidence import Evidence, NotRunError
from lensrec.stages.claims import Asked, Judgement, Number, mass, matches, sentence, three_ways
from lensrec.theory.neutrinos import (
    FLOOR_INVERTED,
    FLOOR_NORMAL,
    SPLITTING_21,
    SPLITTING_31_NORMAL,
    neutrino_masses,
)

DESI_LIMIT = 0.064
"""eV, 95 %, Σmν ≥ 0, DESI DR2 + CMB in ΛCDM (arXiv:2503.14738, 2503.14744)."""

DESI_LIMIT_W0WA = 0.16

LENSING_ONLY = (-0.160, 0.090)
"""eV: DESI DR1 + CMB, only C_L^φφ knowing the sign (Craig, Green, Meyers & Rajendran 2024, arXiv:2405.00836)."""

DESI_SIGNED = (-0.101, 0.052)
"""eV: DESI DR2 + CMB, −0.101 +0.047 −0.056 (arXiv:2503.14744), its two errors averaged."""

CLAIMED_TENSION = (2.8, 3.3)


def limit(evidence: Evidence) -> Judgement:
    found = physical_limit(evidence, "lcdm")
    data = "plik_lite, PR4 lensing, DESI DR2"
    numbers = [Number("Σmν ≥ 0, 95 %", found, unit="eV", published=f"{DESI_LIMIT} eV (2503.14738)", data=data)]
    others: dict[str, float] = {}
    for name, of, published in (
        ("lcdm_act", "with ACT DR6 lensing", ""),
        ("bao_alone", "DESI DR2 with BBN's ω_b alone", ""),
        ("w0wa", "w0wa", f"{DESI_LIMIT_W0WA} eV (2503.14744)"),
    ):
        try:
            others[name] = physical_limit(evidence, name)
        except NotRunError:
            continue
        numbers.append(Number(f"the same, {of}", others[name], unit="eV", published=published, data=name))
    alone = others.get("bao_alone", np.nan)
    close, by_bao = (abs(value / DESI_LIMIT - 1) <= 0.25 for value in (found, alone))
    why = sentence(
        [
            f"With the CMB, in ΛCDM, cut at Σmν ≥ 0, lensrec finds Σmν < {found:.3f} eV.",
            ""
            if not np.isfinite(alone)
            else f"DESI alone, with the ω_b of nucleosynthesis, allows {alone:.2f} eV (its prior ends at 0.8 eV): "
            "the limit needs the CMB's ω_c and θ_*, flat ΛCDM, and a cut that throws away most of the signed "
            "posterior.",
        ]
    )
    return Judgement(three_ways(close and by_bao, close), why, tuple(numbers), ("2503.14738", "2503.14744"))


def signed_value(evidence: Evidence) -> Judgement:
    data = {
        "lcdm": "plik_lite, PR4 lensing, DESI DR2; observables mirrored",
        "lcdm_act": "the same with ACT DR6 lensing",
        "lensing_only": "as lcdm, the sign in C_L^φφ alone",
    }
    own = evidence.chain("lcdm").value("mnu")
    numbers = [
        Number(
            f"Σmν, {name}",
            *evidence.chain(name).value("mnu"),
            unit="eV",
            published=f"{mass(LENSING_ONLY)} (2405.00836)"
            if name == "lensing_only"
            else "−0.101 +0.047 −0.056 eV (2503.14744)",
            data=of,
        )
        for name, of in data.items()
        if evidence.has(name)
    ]
    lensing = evidence.chain("lensing_only").value("mnu")
    as_claimed, other = matches(own, LENSING_ONLY), matches(lensing, LENSING_ONLY, within=1.0)
    best = matches(own, DESI_SIGNED)
    why = sentence(
        [
            f"{mass(LENSING_ONLY)} is published for DESI's first release, with the sign in C_L^φφ alone; for the "
            "second, with every observable mirrored, −0.101 +0.047 −0.056 eV is.",
            f"lensrec finds {mass(own)} with the second definition, which "
            + ("agrees" if best else "does not agree")
            + f" with that, and {mass(lensing)} with the first, which "
            + ("agrees" if other else "does not agree")
            + " with the claim.",
            f"The claimed error is {LENSING_ONLY[1] / own[1]:.1f} times that of the joint fit.",
        ]
    )
    return Judgement(three_ways(as_claimed, other), why, tuple(numbers), ("2405.00836", "2503.14744"))


def deviation(evidence: Evidence) -> Judgement:
    arithmetic = (FLOOR_NORMAL - LENSING_ONLY[0]) / LENSING_ONLY[1]
    numbers = [Number("(0.0588 + 0.160)/0.090", arithmetic, unit="σ", published="2.8–3.3σ", data="arithmetic of C2")]
    found = {}
    for name in ("lcdm", "lcdm_act", "lensing_only"):
        if name != "lcdm" and not evidence.has(name):
            continue
        said = evidence.chain(name).about["mnu"]["tension_normal"]
        found[name] = (said["gaussian"], said["n_sigma"])
        numbers.append(Number(f"(0.0588 − mean)/σ, {name}", said["gaussian"], unit="σ", data=name))
        if said["n_sigma"] is not None:
            numbers.append(
                Number(
                    f"from the tail above 0.0588 eV, {name}",
                    said["n_sigma"],
                    unit="σ",
                    data=f"{name}, {said['samples_above']:.0f} effective samples above",
                )
            )
    low, high = CLAIMED_TENSION
    ours = [value for pair in found.values() for value in pair if value is not None]
    inside = [low - 0.2 <= value <= high + 0.2 for value in ours]
    by_arithmetic = low <= arithmetic <= high
    gaussian, tail = found["lcdm"]
    why = sentence(
        [
            f"The claimed centre and error make {arithmetic:.2f}σ, not {low}–{high}σ, which is quoted of other fits "
            "(DESI's first release, arXiv:2407.10965)."
            if not by_arithmetic
            else f"The claimed centre and error make {arithmetic:.2f}σ.",
            f"lensrec's joint fit lies {gaussian:.2f}σ below 0.0588 eV"
            + ("" if tail is None else f", {tail:.2f}σ by its own tail")
            + (
                f"; its fits range from {min(ours):.1f} to {max(ours):.1f}σ with lensing data and definition."
                if len(found) > 1
                else "."
            ),
        ]
    )
    return Judgement(three_ways(by_arithmetic and all(inside), any(inside)), why, tuple(numbers), ("2407.10965",))


def floor_of_oscillations(_evidence: Evidence) -> Judgement:
    exact = float(np.sqrt(SPLITTING_21) + np.sqrt(SPLITTING_31_NORMAL))
    light = neutrino_masses(FLOOR_NORMAL, "normal")
    numbers = (
        Number("√Δm²₂₁ + √Δm²₃₁", exact, unit="eV", published="0.059 eV", data="NuFIT 6.0"),
        Number("inverted ordering", FLOOR_INVERTED, unit="eV", published="0.10 eV", data="NuFIT 6.0"),
    )
    why = (
        f"With the lightest state massless the splittings give {exact:.4f} eV in the normal ordering "
        f"({1e3 * light[1]:.1f} and {1e3 * light[2]:.1f} meV) and {FLOOR_INVERTED:.4f} eV in the inverted one."
    )
    return Judgement(three_ways(abs(exact - 0.059) < 5e-4, abs(exact - 0.059) < 3e-3), why, numbers, ("2410.05380",))


def katrin(evidence: Evidence) -> Judgement:
    limit, bound = physical_limit(evidence, "lcdm"), 3 * KATRIN
    low, high = evidence.chain("lcdm").summary["mnu"]["limit95"]
    masses = neutrino_masses(bound, "normal")
    numbers = (
        Number("3 × 0.45 eV", bound, unit="eV", published="m_β < 0.45 eV, 90 % (2406.13516)", data="KATRIN"),
        Number("95 % limit with Σmν ≥ 0", limit, unit="eV", data="lcdm"),
        Number("upper end of the signed 95 %", high, unit="eV", data="lcdm"),
    )
    why = (
        "KATRIN bounds m_β, at that level the mass of each of three states that differ by "
        f"{100 * (masses.max() / masses.min() - 1):.1f} %: Σmν ≲ {bound:.2f} eV. The signed posterior ({low:+.2f} to "
        f"{high:+.2f} eV at 95 %) and the one cut at zero (below {limit:.3f} eV) are to be set beside that: "
        + (
            "KATRIN neither asks for a negative mass nor forbids one, and positivity need not be bypassed to agree "
            "with it. It is oscillations' 0.059 eV that the posterior is at odds with."
            if limit < bound
            else "the one cut at zero reaches beyond."
        )
    ).replace("-0", "−0")
    return Judgement(three_ways(limit >= bound > high, False), why, numbers, ("2406.13516",))


def physical_limit(evidence: Evidence, name: str) -> float:
    """95 % limit with Σmν ≥ 0 of a fit, eV; of the fit NAME_physical, all of whose samples are there, if it was run.

    NotRunError if neither is there, or the signed one has too few samples above zero.
    """
    name = f"{name}_physical" if evidence.has(f"{name}_physical") else name
    found = evidence.chain(name).about["mnu"]["limit95_physical"]
    if found is None:
        raise NotRunError(f"the fit {name} has too few samples with Σmν ≥ 0 for a limit")
    return float(found)


CLAIMS = (
    Asked(
        "C1",
        "DESI DR2 bounds the sum of neutrino masses to less than 0.064 eV.",
        "agrees if the joint fit's 95 % limit with Σmν ≥ 0 and that of BAO alone lie within a quarter of 0.064 eV, "
        "which is what one CMB likelihood in place of another makes; with a condition if only the joint fit's does",
        "lcdm_physical, lcdm, lcdm_act, bao_alone, w0wa_physical",
        "masses.png",
        limit,
    ),
    Asked(
        "C2",
        "With the sign left free, DESI DR2 with PR4, ACT DR6 and SPT-3G gives Σmν = −160 ± 90 meV.",
        "agrees if the joint fit is the same measurement (centres within half of the larger error, errors within a "
        "factor 3/2); with a condition if only the fit with the sign in C_L^φφ alone is, within one error, for its "
        "data are a later release",
        "lcdm, lcdm_act, lensing_only",
        "masses.png",
        signed_value,
    ),
    Asked(
        "C3",
        "That is 2.8–3.3σ away from the 0.059 eV that oscillations ask for at least.",
        "agrees if the arithmetic of C2 and all of lensrec's fits lie there (±0.2 for the fits); with a condition "
        "if any fit does",
        "lcdm, lcdm_act, lensing_only",
        "masses.png",
        deviation,
    ),
    Asked(
        "C13",
        "Oscillations demand Σmν ≥ 0.059 eV in the normal ordering.",
        "agrees if the splittings give it to half a unit of its last digit; with a condition if within 0.003 eV",
        "NuFIT 6.0",
        "masses.png",
        floor_of_oscillations,
    ),
    Asked(
        "C14",
        "The fits are consistent with KATRIN's 0.45 eV only if the positivity of masses is bypassed.",
        "agrees if the posterior cut at Σmν ≥ 0 is in conflict with 3 × 0.45 eV while the signed one is not; does "
        "not otherwise",
        "lcdm, KATRIN",
        "masses.png",
        katrin,
    ),
)

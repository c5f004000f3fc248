"""Claims about A_L: the smoothing, the reconstruction, their difference, and what they do to Σmν."""

import numpy as np

from lensrec.stages.anomaly_evidence import Evidence
from lensrec.stages.claims import Asked, Judgement, Number, mass, matches, plus_minus, sentence, three_ways
from lensrec.theory.neutrinos import FLOOR_NORMAL

SMOOTHING = {
    "Planck PR3 plik (1807.06209)": (1.180, 0.065),
    "Planck PR4 CamSpec (2205.10869)": (1.095, 0.056),
    "Planck PR4 HiLLiPoP (2309.10034)": (1.039, 0.052),
}
"""A_L^TTTEEE of the smoothing of the peaks, with TTTEEE and low-ℓ E modes, by release."""

LENSING = {
    "Planck PR4 (2206.07773)": (1.004, 0.024),
    "ACT DR6 (2304.05202)": (1.013, 0.023),
    "ACT+SPT+Planck (2504.20038)": (1.025, 0.017),
}
"""A_L^φφ of published lensing band powers, each relative to its own fiducial or best ΛCDM."""

BOTH_FREE = (-0.018, 0.087)
"""eV: Σmν with both A_L free, DESI DR2, −0.018 +0.085 −0.089 (arXiv:2511.01967)."""


def smoothing(evidence: Evidence) -> Judgement:
    value = evidence.chain("fixed_mass").value("A_L_TTTEEE")
    first, *others = SMOOTHING.values()
    lowest = min(others)
    apart = (first[0] - lowest[0]) / first[1]
    numbers = [
        Number(
            "A_L^TTTEEE, Σmν = 0.06 eV", *value, published=_listed(SMOOTHING), data="plik_lite, PR4 lensing, DESI DR2"
        )
    ]
    if evidence.has("free_both"):
        numbers.append(Number("the same, Σmν free", *evidence.chain("free_both").value("A_L_TTTEEE"), data="free_both"))
    same = matches(value, first)
    near = abs(value[0] - first[0]) <= max(value[1], first[1])
    why = sentence(
        [
            f"plik_lite gives {plus_minus(*value)}, {(value[0] - 1) / value[1]:.1f}σ above 1, "
            + ("the same as" if same else "to be set beside")
            + f" the {plus_minus(*first)} of Planck 2018 from the same likelihood, there without BAO and lensing.",
            f"It belongs to that release: PR4's maps give values down to {plus_minus(*lowest)}, {apart:.1f}σ lower, "
            "and ACT DR6 no excess."
            if apart > 1
            else "",
        ]
    )
    return Judgement(three_ways(near and apart <= 1, near), why, tuple(numbers), ("1807.06209", "2309.10034"))


def reconstruction(evidence: Evidence) -> Judgement:
    value = evidence.chain("fixed_mass").value("A_L_phiphi")
    numbers = [
        Number("A_L^φφ, Σmν = 0.06 eV", *value, published=_listed(LENSING), data="PR4 lensing, ΛCDM of fixed_mass")
    ]
    moved = 0.0
    for name, of in (("free_both", "Σmν and A_L^TTTEEE free"), ("free_phiphi", "Σmν free, A_L^TTTEEE = 1")):
        if evidence.has(name):
            other = evidence.chain(name).value("A_L_phiphi")
            numbers.append(Number(f"the same, {of}", *other, data=name))
            moved = max(moved, abs(other[0] - value[0]) / value[1])
    off = (value[0] - 1) / value[1]
    why = sentence(
        [
            f"Relative to the ΛCDM that fits the CMB and BAO with Σmν = 0.06 eV and A_L^TTTEEE free, A_L^φφ is "
            f"{plus_minus(*value)}, {off:+.1f}σ from 1.".replace("-", "−"),
            f"It is a ratio to a model: with Σmν free it moves by {moved:.1f}σ, as C_L^φφ of the reference does."
            if moved > 1
            else f"With other references of ours it moves by {moved:.1f}σ at most."
            if len(numbers) > 1
            else "",
        ]
    )
    return Judgement(three_ways(abs(off) < 2 and moved <= 1, abs(off) < 2), why, tuple(numbers), tuple(LENSING))


def excess(evidence: Evidence) -> Judgement:
    numbers, significances = [], {}
    for name, of in (("fixed_mass", "Σmν = 0.06 eV"), ("free_both", "Σmν free"), ("w0wa_free_both", "w0wa, Σmν free")):
        if name != "fixed_mass" and not evidence.has(name):
            continue
        chain = evidence.chain(name)
        delta = chain.mean_of(np.asarray(chain.samples["A_L_TTTEEE"]) - np.asarray(chain.samples["A_L_phiphi"]))
        significances[name] = delta[0] / delta[1]
        numbers += [
            Number(f"A_L^TTTEEE − A_L^φφ, {of}", *delta, data=name),
            Number(f"the same in σ, {of}", significances[name], unit="σ", data=name),
            Number(f"their correlation, {of}", chain.correlation("A_L_TTTEEE", "A_L_phiphi"), data=name),
        ]
    own = significances["fixed_mass"]
    why = (
        f"Fitted together, with their correlation of {numbers[2].value:+.2f}, the two differ by {own:.1f}σ"
        + (f" ({significances['free_both']:.1f}σ with Σmν free)" if "free_both" in significances else "")
        + "; 3σ would be significant, 2σ a hint."
    ).replace("-", "−")
    return Judgement(three_ways(own >= 3, own >= 2), why, tuple(numbers))


def drives(evidence: Evidence) -> Judgement:
    tied = evidence.chain("lcdm").value("mnu")
    freed = evidence.chain("free_smoothing").value("mnu")
    away = FLOOR_NORMAL - tied[0]
    numbers = [
        Number("Σmν, both A_L = 1", *tied, unit="eV", published="−0.101 +0.047 −0.056 eV (2503.14744)", data="lcdm")
    ]
    shares = {}
    for name, of, published in (
        ("free_smoothing", "A_L^TTTEEE free", ""),
        ("free_phiphi", "A_L^φφ free", ""),
        ("free_both", "both free", "−0.018 +0.085 −0.089 eV (2511.01967)"),
        ("no_lensing", "no lensing band powers", ""),
        ("geometry_mirrored", "geometry alone, mirrored", ""),
        ("geometry", "geometry alone, closed form", ""),
    ):
        if evidence.has(name):
            value = evidence.chain(name).value("mnu")
            shares[name] = (value[0] - tied[0]) / away
            numbers.append(Number(f"Σmν, {of}", *value, unit="eV", published=published, data=name))
    geometry = evidence.chain("geometry_mirrored")
    without = geometry.about["mnu"]["tension_normal"]["gaussian"]
    share, moved = shares["free_smoothing"], (freed[0] - tied[0]) / tied[1]
    why = sentence(
        [
            f"Freeing A_L^TTTEEE moves Σmν from {mass(tied)} to {mass(freed)}, by {moved:.1f}σ: {100 * share:.0f} % "
            "of the way to 0.0588 eV"
            + (f", freeing A_L^φφ {100 * shares['free_phiphi']:.0f} %" if "free_phiphi" in shares else "")
            + (f", both {100 * shares['free_both']:.0f} %" if "free_both" in shares else "")
            + ".",
            f"Distances alone, which know of no lensing, give {mass(geometry.value('mnu'))}, {without:.1f}σ below "
            "0.0588 eV"
            + (
                ": the rest of the pull is the matter density that BAO and the CMB disagree on." if without > 1 else "."
            ),
        ]
    ).replace(" -", " −")
    return Judgement(three_ways(share >= 0.5 and without < 1, moved >= 0.5), why, tuple(numbers), ("2511.01967",))


def _listed(values: dict[str, tuple[float, float]]) -> str:
    return "; ".join(f"{plus_minus(*value)} {name}" for name, value in values.items())


CLAIMS = (
    Asked(
        "C4",
        "The smoothing of the acoustic peaks asks for A_L^TTTEEE ≈ 1.18.",
        "agrees if lensrec's value is within 1σ of 1.180 ± 0.065 and no later release lies more than 1σ below; with "
        "a condition if one does",
        "fixed_mass, free_both",
        "degeneracy.png",
        smoothing,
    ),
    Asked(
        "C5",
        "The reconstruction asks for A_L^φφ ≈ 1.0.",
        "agrees if it is within 2σ of 1 and moves by less than 1σ with the reference cosmology; with a condition if "
        "it moves further",
        "fixed_mass, free_both, free_phiphi",
        "degeneracy.png",
        reconstruction,
    ),
    Asked(
        "C6",
        "The first significantly exceeds the second.",
        "agrees if the difference, with their correlation, is 3σ or more; with a condition from 2σ on",
        "fixed_mass, free_both",
        "amplitudes.png",
        excess,
    ),
    Asked(
        "C15",
        "The excess of lensing in the power spectra drives the negative mass.",
        "agrees if freeing A_L^TTTEEE takes Σmν at least half of the way to 0.0588 eV, and distances alone are "
        "within 1σ of that; with a condition if it moves Σmν by half a σ or more",
        "lcdm, free_smoothing, free_phiphi, free_both, no_lensing, geometry, geometry_mirrored",
        "masses_amplitudes.png",
        drives,
    ),
)

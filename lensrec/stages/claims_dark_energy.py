"""Claims about the ways out, w0wa and ΛsCDM, and about what the Simons Observatory will tell."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from lensrec.fit.sampling import weighted_quantiles
from lensrec.recipe_fit import FitRecipe
from lensrec.stages.anomaly_evidence import Chain, Evidence, NotRunError, correlation_of, sigma_of
from lensrec.stages.claims import Asked, Judgement, Number, mass, plus_minus, sentence, three_ways
from lensrec.theory.neutrinos import FLOOR_NORMAL

Z_DAGGER = (1.7, 2.0, 2.5, 3.0, 4.0)
"""Of ΛsCDM, where χ² and C_L^φφ are looked at."""

RANGE = (40, 400)
"""Multipoles L that carry most of what the smoothing of the peaks feels."""

LSCDM_MASS = (0.055, 0.050)
"""eV: Σmν in ΛsCDM with DESI DR2, CMB and supernovae (arXiv:2605.21456)."""

PUBLISHED_W0WA = "+0.06 +0.15 −0.10 eV, DESI DR1 (2407.10965)"


@dataclass(frozen=True)
class SwitchProfile:
    """Least χ² of BAO and compressed CMB of ΛsCDM with Σmν = 0.06 eV by z†, and that of ΛCDM; BAO's share of each."""

    chi2: Mapping[float, float]
    bao: Mapping[float, float]
    lcdm: float
    lcdm_bao: float


@lru_cache(maxsize=1)
def switch_profile() -> SwitchProfile:
    """Distances alone: no lensing."""
    from lensrec.stages.fit import fit_setting

    def recipe(model: str) -> FitRecipe:
        return FitRecipe.model_validate(
            {
                "data": ["compressed_cmb", "desi_dr2_bao"],
                "model": model,
                "neutrinos": {"definition": "fixed", "mnu": 0.06},
            }
        )

    plain = fit_setting(recipe("lcdm")).joint
    best = plain.best_fit()
    joint = fit_setting(recipe("lscdm")).joint
    chi2, bao = {}, {}
    for z in Z_DAGGER:
        found = joint.best_fit(held={"z_dagger": z})
        chi2[z] = found.chi2
        bao[z] = joint.chi2_parts(found.x)["desi_dr2_bao"][0]
    return SwitchProfile(chi2, bao, best.chi2, plain.chi2_parts(best.x)["desi_dr2_bao"][0])


def switch_ratios(z_dagger: float, lmax: int = 2000) -> NDArray[np.float64]:
    """C_L^φφ(ΛsCDM)/C_L^φφ(ΛCDM) at the same θ_*, ω_b, ω_c and A_s, (lmax+1,)."""
    from lensrec.stages.lambda_s import potential_ratios

    nodes, ratios = potential_ratios(lmax)
    at = z_dagger**-3.0
    return np.array([np.interp(at, nodes, column) for column in ratios.T])


def best_potential(chain: Chain, **changed: float) -> NDArray[np.float64]:
    """C_L^φφ at a fit's best fit from the trained surface, with parameters changed; w0wa and ΛCDM only.

    Raises
    ------
    NotRunError
        If the fit has no spectra.
    """
    from lensrec.fit.emulator_file import shipped_emulator
    from lensrec.fit.emulator_points import PARAMETERS

    values = dict(chain.about["held"])
    values |= {name: one["best_fit"] for name, one in chain.summary.items() if name != "about" and "best_fit" in one}
    values = {"w": -1.0, "wa": 0.0} | values | changed
    if missing := [name for name in PARAMETERS if name not in values]:
        raise NotRunError(f"the fit {chain.about['name']} knows no {', '.join(missing)}")
    mirrored = "lensing" if chain.about["neutrinos"] == "lensing" else "observables"
    emulator = shipped_emulator()
    return emulator.spectra(np.array([values[name] for name in PARAMETERS]), mirrored)["PP"]  # type: ignore[arg-type]


def mean_ratio(one: NDArray, other: NDArray) -> float:
    """Of two C_L^φφ, mean over RANGE."""
    inside = slice(RANGE[0], RANGE[1] + 1)
    return float(np.mean(one[inside] / other[inside]))


def evolving(evidence: Evidence) -> Judgement:
    plain, wide = evidence.chain("lcdm"), evidence.chain("w0wa")
    near, far = evidence.chain("geometry_mirrored").value("mnu"), evidence.chain("w0wa_geometry").value("mnu")
    before, after = plain.value("mnu"), wide.value("mnu")
    share = (far[0] - near[0]) / (after[0] - before[0])
    of_lcdm = best_potential(plain)
    total = mean_ratio(best_potential(wide), of_lcdm)
    alone = mean_ratio(
        best_potential(plain, w=wide.summary["w"]["best_fit"], wa=wide.summary["wa"]["best_fit"]), of_lcdm
    )
    # what the move of Σmν takes from C_L^φφ in ΛCDM, which dark energy would have to give back
    taken = mean_ratio(best_potential(plain, mnu=after[0]), of_lcdm)
    numbers = (
        Number("Σmν, w0wa", *after, unit="eV", published=PUBLISHED_W0WA, data="w0wa"),
        Number("Σmν, ΛCDM", *before, unit="eV", data="lcdm"),
        Number("Σmν, distances alone, ΛCDM", *near, unit="eV", data="geometry_mirrored"),
        Number("Σmν, distances alone, w0wa", *far, unit="eV", data="w0wa_geometry"),
        Number("w0", *wide.value("w"), published="−0.42 ± 0.21 (2503.14738)", data="w0wa"),
        Number("wa", *wide.value("wa"), published="−1.75 ± 0.58 (2503.14738)", data="w0wa"),
        Number("C_L^φφ, best w0wa over best ΛCDM, less 1", total - 1, data=f"{RANGE[0]} ≤ L ≤ {RANGE[1]}"),
        Number("C_L^φφ, w0 and wa moved alone, less 1", alone - 1, data=f"{RANGE[0]} ≤ L ≤ {RANGE[1]}"),
        Number("C_L^φφ, Σmν moved alone, less 1", taken - 1, data=f"{RANGE[0]} ≤ L ≤ {RANGE[1]}"),
    )
    positive, boosts, by_geometry = after[0] > 0, alone - 1 >= 0.5 * (1 - taken), share >= 0.5
    why = sentence(
        [
            f"w0wa moves Σmν from {mass(before)} to {mass(after)}.",
            f"Distances alone, which know nothing of C_L^φφ, move from {mass(near)} to {mass(far)}, {100 * share:.0f} "
            "% of "
            "that: " + ("the way out is geometry." if by_geometry else "geometry is the lesser part."),
            f"C_L^φφ at the best fit is {100 * (total - 1):+.1f} % off ΛCDM's; w0 and wa alone change it by "
            f"{100 * (alone - 1):+.1f} %, and the move of Σmν alone by {100 * (taken - 1):+.1f} %.",
        ]
    ).replace(" -", " −")
    return Judgement(three_ways(positive and boosts and not by_geometry, positive), why, numbers, ("2503.14744",))


def switching(evidence: Evidence) -> Judgement:
    wanted = evidence.chain("fixed_mass").value("A_L_TTTEEE")
    ratios = switch_ratios(2.0)
    gain = mean_ratio(ratios, np.ones_like(ratios)) - 1
    profile = switch_profile()
    liked = min(profile.chi2, key=lambda z: profile.chi2[z])
    own = switch_ratios(liked)
    there = mean_ratio(own, np.ones_like(own)) - 1
    worse, worse_bao = profile.chi2[2.0] - profile.lcdm, profile.bao[2.0] - profile.lcdm_bao
    numbers = [
        Number(
            f"C_L^φφ over ΛCDM, less 1, z† = 2, {RANGE[0]} ≤ L ≤ {RANGE[1]}",
            gain,
            published="0.18 ± 0.065, of A_L^TTTEEE (1807.06209)",
            data="Limber, same θ_* and A_s",
        ),
        *(
            Number(
                f"C_L^φφ over ΛCDM, less 1, z† = 2, L = {at}", float(ratios[at] - 1), data="Limber, same θ_* and A_s"
            )
            for at in (10, 40, 100, 400, 1000)
        ),
        Number("excess wanted, A_L^TTTEEE − 1", wanted[0] - 1, wanted[1], data="fixed_mass"),
        *(
            Number(
                f"Δχ² against ΛCDM at z† = {z:g}",
                profile.chi2[z] - profile.lcdm,
                data="BAO, compressed CMB, Σmν = 0.06 eV",
            )
            for z in Z_DAGGER
        ),
        Number("of which BAO, z† = 2", worse_bao, data="BAO, compressed CMB, Σmν = 0.06 eV"),
    ]
    said = ""
    if evidence.has("lscdm"):
        chain = evidence.chain("lscdm")
        least = float(weighted_quantiles(np.asarray(chain.samples["z_dagger"]), chain.weights, (0.05,))[0])
        gained = chain.about["chi2"] - evidence.chain("lcdm").about["chi2"] if evidence.has("lcdm") else np.nan
        numbers += [
            Number("z† above, 95 %", least, published="2.4 (2605.21456, with supernovae)", data="lscdm"),
            Number(
                "Σmν, ΛsCDM",
                *chain.value("mnu"),
                unit="eV",
                published=f"{plus_minus(*LSCDM_MASS)} eV (2605.21456)",
                data="lscdm",
            ),
            Number("Δχ², best ΛsCDM − best ΛCDM, all data", gained, data="lscdm, lcdm"),
        ]
        own_mass = mass(chain.value("mnu"))
        said = f"The joint fit has z† > {least:.2f} at 95 % (flat prior from 1.4 to 6) and Σmν = {own_mass}."
    enough = gain >= wanted[0] - 1 - wanted[1]
    allowed = worse <= 4
    why = sentence(
        [
            f"At z† = 2, with the same θ_* and A_s, C_L^φφ is {100 * gain:+.1f} % off ΛCDM's for {RANGE[0]} ≤ L ≤ "
            f"{RANGE[1]}, where the smoothing asks for {100 * (wanted[0] - 1):+.0f} ± {100 * wanted[1]:.0f} %.",
            f"Distances there are {worse:+.1f} in χ² against ΛCDM ({worse_bao:+.1f} of it BAO); of the z† tried they "
            f"like {liked:g} most, by {profile.chi2[liked] - profile.lcdm:+.1f}, where C_L^φφ gains "
            f"{100 * there:+.1f} %.",
            said,
        ]
    ).replace(" -", " −")
    return Judgement(
        three_ways(enough and allowed, enough or allowed), why, tuple(numbers), ("2605.21456", "2108.09239")
    )


def to_come(evidence: Evidence) -> Judgement:
    numbers: list[Number] = []
    sigma: dict[tuple[str, str, str], float] = {}
    for experiment in ("so_baseline", "so_goal"):
        for model, what in (("mnu", "A_L = 1"), ("mnu_A_L", "both A_L free")):
            for prior in ("planck_2018", "cosmic_variance"):
                case = evidence.forecast_case(experiment, model, prior)
                sigma[experiment, model, prior] = sigma_of(case, "mnu")
                tau = "σ(τ) = 0.0073" if prior == "planck_2018" else "σ(τ) = 0.002"
                known = {"planck_2018": "40 meV baseline, 30 goal", "cosmic_variance": "about 20 meV"}[prior]
                numbers.append(
                    Number(
                        f"σ(Σmν), {experiment}, {what}, {tau}",
                        sigma[experiment, model, prior],
                        unit="eV",
                        published=f"{known} (1808.07445)" if model == "mnu" else "",
                        data=f"Fisher, Planck, DESI {case['bao']}",
                    )
                )
                pull = case.get("derived", {}).get("mnu_pull")
                if pull is not None and experiment == "so_baseline":
                    name = f"Σmν would move by, were A_L^TTTEEE = 1.18 fitted as 1, {tau}"
                    numbers.append(Number(name, pull, unit="eV", data=experiment))
                if model == "mnu_A_L" and experiment == "so_baseline":
                    numbers += [
                        Number(f"correlation of τ and Σmν, {tau}", correlation_of(case, "tau", "mnu"), data=experiment),
                        Number(
                            f"correlation of A_L^TTTEEE and Σmν, {tau}",
                            correlation_of(case, "A_L_TTTEEE", "mnu"),
                            data=experiment,
                        ),
                    ]
    case = evidence.forecast_case("so_baseline", "mnu_A_L", "planck_2018")
    smoothing = sigma_of(case, "A_L_TTTEEE")
    numbers.append(Number("1.18 − 1 over σ(A_L^TTTEEE), so_baseline", 0.18 / smoothing, unit="σ", data="Fisher"))
    now, later = (sigma["so_baseline", "mnu_A_L", prior] for prior in ("planck_2018", "cosmic_variance"))
    tied = sigma["so_baseline", "mnu", "planck_2018"], sigma["so_baseline", "mnu", "cosmic_variance"]
    why = sentence(
        [
            f"With the Planck prior on τ SO's baseline has σ(Σmν) = {1e3 * tied[0]:.0f} meV, {1e3 * now:.0f} with "
            f"both A_L free: {FLOOR_NORMAL / now:.1f}σ for the least mass; with τ to cosmic variance "
            f"{1e3 * tied[1]:.0f} and {1e3 * later:.0f} meV, {FLOOR_NORMAL / later:.1f}σ.",
            f"A_L^TTTEEE itself will be known to {smoothing:.3f}: 1.18 would be seen at {0.18 / smoothing:.0f}σ.",
        ]
    )
    partly = 0.18 / smoothing >= 3 and FLOOR_NORMAL / tied[1] >= 2
    return Judgement(three_ways(FLOOR_NORMAL / now >= 3, partly), why, tuple(numbers), ("1808.07445",))


CLAIMS = (
    Asked(
        "C16",
        "Evolving dark energy (w0wa) brings Σmν back to positive values by boosting C_L^φφ.",
        "agrees if Σmν is positive, w0 and wa alone give C_L^φφ at least half of what the move of Σmν takes from "
        "it, and distances alone make less than half of the move; with a condition if it is positive",
        "lcdm, w0wa, geometry_mirrored, w0wa_geometry",
        "w0wa.png",
        evolving,
    ),
    Asked(
        "C17",
        "ΛsCDM with a switch of sign at z ≈ 2 effortlessly gives the excess of lensing.",
        "agrees if C_L^φφ at z† = 2 rises by as much as A_L^TTTEEE asks for, less 1σ, and distances are worse by 4 "
        "in χ² at most; with a condition if one of the two holds",
        "fixed_mass, lscdm, lcdm, BAO and compressed CMB",
        "ratios.png",
        switching,
    ),
    Asked(
        "C18",
        "The Simons Observatory will break the degeneracy of τ, Σmν and A_L.",
        "agrees if its baseline, with Planck's τ and both A_L free, sees 0.0588 eV at 3σ; with a condition if it tells "
        "A_L^TTTEEE = 1.18 from 1 at 3σ whatever Σmν is, and sees 0.0588 eV at 2σ once A_L is taken to be 1 and τ "
        "is known "
        "to cosmic variance",
        "forecasts",
        "ellipses.png",
        to_come,
    ),
)

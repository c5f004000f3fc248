"""Fits that the validation judges: likelihoods of recipes, mock data in the place of published ones, exact theory."""

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache

import numpy as np

from lensrec.fit.joint_likelihood import JointLikelihood, Part
from lensrec.fit.posterior import WeightedSamples
from lensrec.fit.sampling import importance_chain
from lensrec.recipe_fit import FitRecipe
from lensrec.stages.fit import FitSetting, fit_setting

ALL = ("planck2018_plik_lite", "planck_pr4_lensing", "desi_dr2_bao")
DRAWS = 12000
EXACT = 12
MOCKS = 20


@lru_cache(maxsize=16)
def setting(name: str) -> FitSetting:
    """A likelihood by the name of its fit."""
    return fit_setting(recipe(name))


def recipe(name: str) -> FitRecipe:
    """Of the fits below."""
    return FitRecipe.model_validate({"name": name, **RECIPES[name]})


RECIPES: dict[str, dict] = {
    "DESI + BBN": {"data": ["desi_dr2_bao"], "neutrinos": {"definition": "fixed", "hierarchy": "one"}},
    "DESI + compressed CMB, w0wa": {
        "data": ["desi_dr2_bao", "compressed_cmb"],
        "model": "w0wa",
        "neutrinos": {"definition": "fixed"},
    },
    "DESI + CMB": {"data": ALL, "neutrinos": {"definition": "fixed"}},
    "DESI + CMB, Σmν ≥ 0": {"data": ALL, "neutrinos": {"definition": "physical"}},
    "DESI + CMB, Σmν": {"data": ALL},
    "DESI + CMB, Σmν ≥ 0, w0wa": {"data": ALL, "neutrinos": {"definition": "physical"}, "model": "w0wa"},
    "DESI + CMB, w0wa": {"data": ALL, "neutrinos": {"definition": "fixed"}, "model": "w0wa"},
    "free smoothing": {"data": ALL, "A_L_TTTEEE": "free"},
    "ΛsCDM": {"data": ALL, "model": "lscdm"},
    "exact": {"data": ALL, "exact": True},
}


def posterior(name: str) -> dict[str, np.ndarray]:
    """Weighted samples of a fit, as arrays: points, weights, and H0 and Ω_m of each."""
    made = setting(name)
    best = made.joint.best_fit()
    found = importance_chain(made.joint, best, draws=DRAWS, rng=np.random.default_rng(6))
    kept = found.weights > 1e-9
    points, weights = found.points[kept], found.weights[kept]
    derived = [made.derived(made.joint.full(x)) for x in points]
    columns = {key: np.array([one[key] for one in derived]) for key in ("H0", "omega_m")}
    return {
        "points": points,
        "weights": weights / weights.sum(),
        "best": best.x,
        "chi2": np.array(best.chi2),
        **columns,
    }


def column(name: str, found: Mapping[str, np.ndarray], parameter: str) -> np.ndarray:
    """Samples of one parameter, sampled or derived."""
    if parameter in found:
        return found[parameter]
    return found["points"][:, setting(name).joint.names.index(parameter)]


def exact_chi2(number: int) -> dict[str, np.ndarray]:
    """χ² by CAMB at a point of the default fit's posterior, beside that of the trained surface."""
    made = setting("DESI + CMB, Σmν")
    x = exact_points()[number]
    return {"x": x, "surface": np.array(made.joint.chi2(x)), "exact": np.array(setting("exact").joint.chi2(x))}


@lru_cache(maxsize=1)
def exact_points() -> np.ndarray:
    """EXACT points with equal weights, from the posterior of the surface."""
    made = setting("DESI + CMB, Σmν")
    best = made.joint.best_fit()
    found: WeightedSamples = importance_chain(made.joint, best, draws=4000, rng=np.random.default_rng(64))
    at = (np.arange(EXACT) + 0.5) / EXACT
    return found.points[np.searchsorted(np.cumsum(found.weights), at)]


def mock(joint: JointLikelihood, truth: Mapping[str, float], rng: np.random.Generator) -> JointLikelihood:
    """The same likelihood with data drawn about a truth, the measurement of τ among them.

    Whitened residuals of data d′ = m(θ_t) + U⁻¹n are r(θ) − r(θ_t) − n.
    """

    def moved(part: Part) -> Part:
        offset = part.residual(truth) + rng.standard_normal(part.n)
        return Part(part.name, lambda parameters: part.residual(parameters) - offset, part.n)

    priors = {name: (truth[name] + sigma * rng.standard_normal(), sigma) for name, (_, sigma) in joint.priors.items()}
    return replace(joint, parts=[moved(part) for part in joint.parts], priors=priors)


def injected(number: int) -> dict[str, np.ndarray]:
    """Σmν found in one mock with Σmν = 0.06 eV and A_L^TTTEEE = 1.18: by a fit that knows one A_L = 1, and by both."""
    free, tied = setting("free smoothing").joint, setting("DESI + CMB, Σmν").joint
    truth = {**tied.full(posterior_centre()), "mnu": 0.06, "A_L_TTTEEE": 1.18, "A_L_phiphi": 1.0}
    out = {}
    for name, joint in (("tied", tied), ("free", free)):
        start = np.array([truth[key] for key in joint.names])
        best = mock(joint, truth, np.random.default_rng(1800 + number)).best_fit(start=start)
        at = joint.names.index("mnu")
        out[name] = np.array([best.x[at], np.sqrt(best.covariance[at, at])])
        if name == "free":
            k = joint.names.index("A_L_TTTEEE")
            out["smoothing"] = np.array([best.x[k], np.sqrt(best.covariance[k, k])])
        out[f"tau_{name}"] = best.x[joint.names.index("tau")]
    return out


@lru_cache(maxsize=1)
def posterior_centre() -> np.ndarray:
    """Of ΛCDM with Σmν = 0.06 eV: the best fit to the real data, as the parameters of the fit with Σmν free."""
    held = setting("DESI + CMB").joint
    best = held.best_fit()
    values = {**held.full(best.x), "mnu": 0.06}
    return np.array([values[name] for name in setting("DESI + CMB, Σmν").joint.names])

"""Fits that were never run: Gaussian samples with known means, errors and correlations, as `fit_run` leaves them."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from lensrec.fit.posterior import WeightedSamples
from lensrec.fit.sampling import summary_of
from lensrec.recipe_fit import FitRecipe
from lensrec.rundir import write_json, write_table
from lensrec.stages.anomaly_evidence import Chain
from lensrec.stages.fit_run import mass_statements

Values = Mapping[str, tuple[float, float]]

LCDM: Values = {"omega_m": (0.30, 0.004), "tau": (0.055, 0.007)}

FITS: Mapping[str, Values] = {
    "lcdm": {**LCDM, "mnu": (-0.090, 0.055)},
    "lcdm_act": {**LCDM, "mnu": (-0.085, 0.050)},
    "lensing_only": {**LCDM, "mnu": (-0.17, 0.10)},
    "geometry": {"omega_m": (0.30, 0.006), "mnu": (-0.14, 0.09)},
    "geometry_mirrored": {"omega_m": (0.30, 0.006), "mnu": (-0.135, 0.09)},
    "free_smoothing": {**LCDM, "mnu": (-0.03, 0.06), "A_L_TTTEEE": (1.13, 0.06)},
    "free_both": {**LCDM, "mnu": (0.0, 0.09), "A_L_TTTEEE": (1.16, 0.07), "A_L_phiphi": (1.03, 0.05)},
    "fixed_mass": {**LCDM, "A_L_TTTEEE": (1.19, 0.06), "A_L_phiphi": (1.05, 0.03)},
    "w0wa": {**LCDM, "mnu": (0.01, 0.10), "w": (-0.5, 0.25), "wa": (-1.4, 0.8)},
    "w0wa_geometry": {"omega_m": (0.35, 0.02), "mnu": (-0.01, 0.14), "w": (-0.4, 0.2), "wa": (-1.7, 0.6)},
    "lscdm": {**LCDM, "mnu": (0.02, 0.06), "z_dagger": (4.0, 0.6)},
    "tau_free": {"omega_m": (0.30, 0.004), "tau": (0.066, 0.021), "mnu": (-0.05, 0.085)},
}


def made_up(
    values: Values,
    *,
    name: str = "lcdm",
    correlation: Mapping[tuple[str, str], float] | None = None,
    n: int = 40000,
    seed: int = 3,
) -> Chain:
    """A chain of n samples whose means, errors and correlations are exactly those given."""
    keys = list(values)
    wanted = np.eye(len(keys))
    for (one, two), rho in (correlation or {}).items():
        i, j = keys.index(one), keys.index(two)
        wanted[i, j] = wanted[j, i] = rho
    z = np.random.default_rng(seed).standard_normal((n, len(keys)))
    z -= z.mean(axis=0)
    z = z @ np.linalg.inv(np.linalg.cholesky(z.T @ z / n)).T @ np.linalg.cholesky(wanted).T
    points = np.array([mean for mean, _ in values.values()]) + z * np.array([sigma for _, sigma in values.values()])
    weights = np.full(n, 1 / n)
    best = {key: mean for key, (mean, _) in values.items()}
    summary = summary_of(tuple(keys), WeightedSamples(points, weights, float(n)), best)
    about = {
        "name": name,
        "data": ["desi_dr2_bao"],
        "model": "lcdm",
        "neutrinos": "mirrored",
        "held": {"A_L_TTTEEE": 1.0, "A_L_phiphi": 1.0} | ({} if "mnu" in values else {"mnu": 0.06}),
        "priors": {"tau": [0.0544, 0.0073]},
        "chi2": 604.4,
        "ndof": 629,
        "chi2_parts": {"desi_dr2_bao": {"chi2": 12.0, "n": 13}},
        "effective_samples": float(n),
    }
    columns = {"weight": weights, **{key: points[:, k] for k, key in enumerate(keys)}}
    if "mnu" in values:
        about["mnu"] = mass_statements(columns["mnu"], weights, effective=float(len(weights)))
    return Chain({**summary, "about": about}, columns)


def leave(chain: Chain, recipe: FitRecipe, out: Path) -> None:
    """Write a chain into OUT/fit as `fit_run` does."""
    folder = out / "fit"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "recipe.yaml").write_text(recipe.dump(), encoding="utf-8")
    samples = {key: value[::20] for key, value in chain.samples.items()}
    write_table(folder / "samples.ecsv", samples, {})
    write_json(folder / "summary.json", chain.summary)

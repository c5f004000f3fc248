"""Fit: a recipe of a fit in, chains, summary.json and pictures out."""

import json
import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lensrec.fit.joint_likelihood import JointLikelihood
from lensrec.fit.neutrino_bounds import BOUNDS, FLOOR_INVERTED, FLOOR_NORMAL, tension, upper_limit
from lensrec.fit.posterior import BestFit, WeightedSamples
from lensrec.fit.sampling import cobaya_info, importance_chain, quiet, read_chain, run_chain, summary_of
from lensrec.recipe_files import RecipeError
from lensrec.recipe_fit import FitRecipe
from lensrec.rundir import RunError, make_folder, record_split, write_json, write_table, write_text
from lensrec.stages.fit import DERIVED, FitSetting, fit_setting
from lensrec.view.figure import save_figure
from lensrec.view.fit import mass_figure
from lensrec.view.split import corner_figure

log = logging.getLogger(__name__)

LEAST_ABOVE = 100
"""Independent samples: a limit at 95 % from as many is good to 10 % or so."""

SLOW = ("ombh2", "omch2", "thetastar", "mnu", "w", "wa", "z_dagger")
"""Those that distances depend on, which cost more than a step of the others: distances are kept for the last ones."""

SHOWN = ("mnu", "A_L_TTTEEE", "A_L_phiphi", "w", "wa", "z_dagger", "tau", "H0", "omega_m")
"""In pictures, of those that are sampled."""


FEW = 500
"""Below so many effective samples, of which limits at 95 % rest on 25, importance sampling is not to be trusted."""


def fit_run(
    recipe: FitRecipe,
    out: Path,
    *,
    command: tuple[str, ...] = (),
) -> dict[str, Any]:
    """Sample the posterior of a recipe, and leave it in OUT/fit; a chain that is there is gone on with.

    Returns
    -------
    dict
        What fit/summary.json holds: {parameter: {"mean", "sigma", "limit95", …}}, and "about".

    Raises
    ------
    RunError
        If the folder holds another fit, or something that is none.
    FileNotFoundError
        If a data set is not on this machine.
    ValueError
        If data and priors leave a direction free, or data are not what they should be. Nothing is left then.
    """
    folder = out / "fit"
    _compare(recipe, folder)
    done = folder / "summary.json"
    if done.is_file():
        log.info("%s is there", done)
        return json.loads(done.read_text(encoding="utf-8"))
    began = time.perf_counter()
    setting = fit_setting(recipe)
    best = setting.joint.best_fit()
    make_folder(folder)
    if not (folder / "recipe.yaml").is_file():
        write_text(folder / "recipe.yaml", recipe.dump())
    names = (*setting.joint.names, *DERIVED)
    samples = _sampled(recipe, setting, best, folder)
    summary = {
        **summary_of(names, samples, {**setting.joint.full(best.x), **setting.derived(setting.joint.full(best.x))}),
        "about": {
            **about(recipe, setting.joint, best, samples, names),
            "seconds": round(time.perf_counter() - began, 1),
        },
    }
    columns = {name: samples.points[:, k] for k, name in enumerate(names)}
    write_table(
        folder / "samples.ecsv", {"weight": samples.weights, **columns}, {}, "weighted samples of the posterior"
    )
    shown = [name for name in SHOWN if name in names]
    weights = {recipe.name: samples.weights}
    with quiet():
        pictures = {"corner": corner_figure({recipe.name: columns}, parameters=shown, weights=weights)}
        if "mnu" in names:
            floors = [(bound.value, bound.label) for bound in BOUNDS]
            pictures["mnu"] = mass_figure({recipe.name: (columns["mnu"], samples.weights)}, floors=floors)
        for name, figure in pictures.items():
            save_figure(figure, folder / f"{name}.png")
    record_split(folder, list(command), {"data": list(recipe.data)})
    write_json(done, summary)
    return summary


def about(
    recipe: FitRecipe, joint: JointLikelihood, best: BestFit, samples: WeightedSamples, names: tuple[str, ...]
) -> dict[str, Any]:
    """What a fit says beside its parameters."""
    parts = {name: {"chi2": chi2, "n": n} for name, (chi2, n) in joint.chi2_parts(best.x).items()}
    out: dict[str, Any] = {
        "name": recipe.name,
        "data": list(recipe.data),
        "model": recipe.model,
        "neutrinos": recipe.neutrinos.definition,
        "theory": "CAMB at every step" if recipe.exact else "trained surface",
        "held": dict(joint.held),
        "priors": {name: list(prior) for name, prior in joint.priors.items()},
        "bounds": {name: list(edges) for name, edges in joint.bounds.items()},
        "chi2": best.chi2,
        "ndof": joint.n_data - len(joint.names),
        "chi2_parts": parts,
        "effective_samples": samples.effective,
    }
    if "mnu" in names:
        mnu = samples.points[:, names.index("mnu")]
        out["mnu"] = mass_statements(mnu, samples.weights, effective=samples.effective)
    return out


def mass_statements(mnu: np.ndarray, weights: np.ndarray, *, effective: float) -> dict[str, Any]:
    """Upper limits of the posterior cut at 0 and at both floors, and tensions with these; what cannot be had is null.

    `limit95_physical` is that for a flat prior on Σmν ≥ 0: whatever the definition of negative masses. A limit rests on
    `LEAST_ABOVE` independent samples above its floor at least, of the `effective` ones that there are in all: a signed
    posterior that lies below zero has too few, and a fit with `definition: physical` has all of them there.
    """
    out: dict[str, Any] = {}
    for name, floor in (("physical", 0.0), ("normal", FLOOR_NORMAL), ("inverted", FLOOR_INVERTED)):
        if effective * weights[mnu >= floor].sum() < LEAST_ABOVE * weights.sum():
            out[f"limit95_{name}"] = None
            continue
        try:
            out[f"limit95_{name}"] = upper_limit(mnu, weights, floor=floor)
        except ValueError:
            out[f"limit95_{name}"] = None
    for name, floor in (("normal", FLOOR_NORMAL), ("inverted", FLOOR_INVERTED)):
        found = tension(mnu, floor, weights)
        out[f"tension_{name}"] = {
            "gaussian": found.gaussian,
            "tail": found.tail,
            "n_sigma": found.n_sigma if np.isfinite(found.n_sigma) else None,
            "samples_above": found.samples_above,
        }
    return out


def _sampled(recipe: FitRecipe, setting: FitSetting, best: BestFit, folder: Path) -> WeightedSamples:
    """Samples with the derived parameters as last columns."""
    asked = recipe.sampler
    if asked.kind == "importance":
        rng = np.random.default_rng(asked.seed)
        found = importance_chain(setting.joint, best, draws=asked.draws, rng=rng)
        if found.effective < FEW:
            log.warning("%.0f effective samples of %d drawn: take sampler.kind: mcmc", found.effective, asked.draws)
        kept = found.weights > 0
        points, weights = found.points[kept], found.weights[kept]
        derived = [list(setting.derived(setting.joint.full(x)).values()) for x in points]
        return WeightedSamples(np.hstack([points, np.array(derived)]), weights, found.effective)
    info = cobaya_info(
        {"lensrec.stages.cobaya_fit.RecipeLikelihood": {"recipe": recipe.model_dump(mode="json")}},
        setting.joint,
        best,
        derived=DERIVED,
        slow=SLOW,
        r_minus_1=asked.r_minus_1,
        max_samples=asked.max_samples,
        seed=asked.seed,
    )
    run_chain(info, folder / "chain")
    return read_chain(folder / "chain", (*setting.joint.names, *DERIVED))


def _compare(recipe: FitRecipe, folder: Path) -> None:
    """See that a fit that is there asks for the same numbers."""
    file = folder / "recipe.yaml"
    if not file.is_file():
        return
    try:
        there = FitRecipe.load(file)
    except RecipeError as error:
        raise RunError(f"{file} is no recipe of a fit ({str(error).splitlines()[0]}); give a new --out") from None
    if there.sha256() != recipe.sha256():
        raise RunError(f"{folder} holds another fit: {'; '.join(_differences(there, recipe))}; give a new --out")


def _differences(old: FitRecipe, new: FitRecipe) -> list[str]:
    def flat(data: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
        out: dict[str, Any] = {}
        for key, value in data.items():
            out |= flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
        return out

    a, b = flat(old.model_dump(mode="json")), flat(new.model_dump(mode="json"))
    keys = [key for key in a if a[key] != b.get(key) and key not in ("name", "description")]
    return [f"{key}: {a[key]!r} -> {b.get(key)!r}" for key in keys]

"""Fit: a recipe of a fit in; its posterior out, or in a folder chains, summary.json and pictures."""

import logging
import tempfile
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lensrec.fit.joint_likelihood import JointLikelihood
from lensrec.fit.neutrino_bounds import BOUNDS, FLOOR_INVERTED, FLOOR_NORMAL, tension, upper_limit
from lensrec.fit.posterior import BestFit, WeightedSamples
from lensrec.fit.sampling import cobaya_info, importance_chain, quiet, read_chain, run_chain, summary_of
from lensrec.products import read_json
from lensrec.recipe_files import RecipeError, override
from lensrec.recipe_fit import FitRecipe
from lensrec.rundir import RunError, make_folder, record_split, write_json, write_table, write_text
from lensrec.stages.fit import DERIVED, FitSetting, fit_setting
from lensrec.view.figure import save_figure
from lensrec.view.fit import mass_figure
from lensrec.view.split import corner_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

log = logging.getLogger(__name__)

LEAST_ABOVE = 100
"""Independent samples: a limit at 95 % from as many is good to 10 % or so."""

SLOW = ("ombh2", "omch2", "thetastar", "mnu", "w", "wa", "z_dagger")
"""Those that distances depend on, which cost more than a step of the others: distances are kept for the last ones."""

SHOWN = ("mnu", "A_L_TTTEEE", "A_L_phiphi", "w", "wa", "z_dagger", "tau", "H0", "omega_m")
"""In pictures, of those that are sampled."""


FEW = 500
"""Below so many effective samples, of which limits at 95 % rest on 25, importance sampling is not to be trusted."""


@dataclass(frozen=True, eq=False)
class Fit:
    """The posterior of a fit.

    Attributes
    ----------
    recipe : FitRecipe
    names : tuple of str
        Of the sampled parameters, then of the derived ones.
    samples : WeightedSamples
        Of these, as `names` orders them.
    parameters : dict of name to {"mean", "sigma", "median", "limit68", "limit95", "best_fit"}
    about : dict
        Data, model, χ² of each part, statements on Σmν.
    """

    recipe: FitRecipe
    names: tuple[str, ...]
    samples: WeightedSamples
    parameters: Mapping[str, Mapping[str, Any]]
    about: Mapping[str, Any]

    @property
    def columns(self) -> dict[str, np.ndarray]:
        """Samples by parameter, (n,) each; their weights are `samples.weights`."""
        return {name: self.samples.points[:, k] for k, name in enumerate(self.names)}

    def summary(self) -> dict[str, Any]:
        """What fit/summary.json holds: the parameters, and "about"."""
        return {**self.parameters, "about": dict(self.about)}

    def figures(self) -> dict[str, "Figure"]:
        """Its pictures, by name: "corner", and "mnu" where Σmν is free."""
        weights = {self.recipe.name: self.samples.weights}
        shown = [name for name in SHOWN if name in self.names]
        with quiet():
            drawn = {"corner": corner_figure({self.recipe.name: self.columns}, parameters=shown, weights=weights)}
            if "mnu" in self.names:
                floors = [(bound.value, bound.label) for bound in BOUNDS]
                mnu = (self.columns["mnu"], self.samples.weights)
                drawn["mnu"] = mass_figure({self.recipe.name: mnu}, floors=floors)
        return drawn

    def _repr_html_(self) -> str:
        from lensrec.stages.show import fit_html

        return fit_html(self)


def fit_cosmology(recipe: FitRecipe | Mapping[str, Any] | str | Path, overrides: Iterable[str] = ()) -> Fit:
    """Fit cosmology, neutrino masses and lensing amplitudes to published data or to band powers of one's own.

    Nothing is left on the disk; `lensrec fit` and `fit_run` leave a chain that can be gone on with.

    Parameters
    ----------
    recipe : FitRecipe, mapping of its keys, name or file
        Data may be files that `Bandpowers.to_sacc` wrote.
    overrides : sequence of str
        "key=value" each, as `--set` takes them.

    Raises
    ------
    RecipeError
        If there is no such recipe, or it is not valid.
    FileNotFoundError
        If a data set is not on this machine.
    ValueError
        If data and priors leave a direction free, or data are not what they should be.
    """
    if isinstance(recipe, str | Path):
        asked = FitRecipe.load(recipe, overrides)
    else:
        keys = recipe.model_dump(mode="json") if isinstance(recipe, FitRecipe) else dict(recipe)
        asked = FitRecipe.model_validate(override(keys, overrides))
    setting = fit_setting(asked)
    best = setting.joint.best_fit()
    with tempfile.TemporaryDirectory() as folder:
        return _sampled_fit(asked, setting, best, Path(folder))


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
        return read_json(done)
    began = time.perf_counter()
    setting = fit_setting(recipe)
    best = setting.joint.best_fit()
    make_folder(folder)
    if not (folder / "recipe.yaml").is_file():
        write_text(folder / "recipe.yaml", recipe.dump())
    found = _sampled_fit(recipe, setting, best, folder)
    summary = found.summary()
    summary["about"]["seconds"] = round(time.perf_counter() - began, 1)
    write_table(
        folder / "samples.ecsv",
        {"weight": found.samples.weights, **found.columns},
        {},
        "weighted samples of the posterior",
    )
    for name, figure in found.figures().items():
        with quiet():
            save_figure(figure, folder / f"{name}.png")
    record_split(folder, list(command), {"data": list(recipe.data)})
    write_json(done, summary)
    return summary


def _sampled_fit(recipe: FitRecipe, setting: FitSetting, best: BestFit, folder: Path) -> Fit:
    names = (*setting.joint.names, *DERIVED)
    samples = _sampled(recipe, setting, best, folder)
    at_best = setting.joint.full(best.x)
    parameters = summary_of(names, samples, {**at_best, **setting.derived(at_best)})
    return Fit(recipe, names, samples, parameters, about(recipe, setting.joint, best, samples, names))


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

"""What is in the folder of a run, whatever kind of run it is, for the report to tell."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lensrec.products import read_json
from lensrec.recipe import Recipe
from lensrec.recipe_anomaly import AnomalyRecipe, is_anomaly
from lensrec.rundir import RunDir, RunError, read_response, read_table, read_theory
from lensrec.sky.io import read_alm, read_mask
from lensrec.theory.spectra import TheorySpectra

log = logging.getLogger(__name__)

PREFERRED = ("MV", "GMV")
"""Estimators that stand first, where they are."""


@dataclass(frozen=True)
class Products:
    """A folder, and its recipe if it is that of a sky (`recipe`) or of a pipeline of fits (`plan`)."""

    folder: Path
    recipe: Recipe | None
    plan: AnomalyRecipe | None

    @property
    def run(self) -> RunDir:
        """The folder as the run of a sky."""
        assert self.recipe is not None
        return RunDir(self.folder, self.recipe)

    def has(self, *names: str) -> bool:
        """Whether these files are there and finished."""
        return all((self.folder / name).is_file() and (self.folder / name).stat().st_size > 0 for name in names)

    def json(self, name: str) -> dict[str, Any]:
        """A JSON file; RunError if it is damaged, or has not what is asked of it."""
        return read_json(self.folder / name)

    def table(self, name: str) -> dict[str, NDArray]:
        """The columns of an ECSV table; RunError if it is damaged."""
        try:
            return read_table(self.folder / name)
        except RunError:
            raise
        except Exception as error:
            why = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise RunError(f"{self.folder / name} is damaged ({why}); make it anew") from None

    @cached_property
    def provenance(self) -> dict[str, Any]:
        """provenance.json; of a fit its own; empty where there is none."""
        name = next((n for n in ("provenance.json", "fit/provenance.json") if self.has(n)), None)
        return {} if name is None else self.json(name)

    @cached_property
    def theory(self) -> TheorySpectra | None:
        """The spectra in theory.ecsv."""
        return read_theory(self.run) if self.has("theory.ecsv") else None

    @cached_property
    def outside(self) -> bool:
        """Whether it is the run of a map that was not simulated here."""
        return (self.folder / "recon" / "data").is_dir()

    @cached_property
    def simulated(self) -> list[int]:
        """Numbers of the skies that are there."""
        return [int(p.parent.name) for p in sorted(self.folder.glob("sims/[0-9]*/data.fits"))]

    @cached_property
    def reconstructed(self) -> list[str]:
        """Names of what has been reconstructed: "0000", …, or "data"."""
        return [p.parent.name for p in sorted(self.folder.glob("recon/*/bandpowers.ecsv"))]

    @cached_property
    def phi_table(self) -> dict[str, NDArray]:
        """Band powers of φ̂: the mean over skies, or those of the map from outside."""
        mean = "recon/bandpowers.ecsv"
        return self.table(mean if self.has(mean) else f"recon/{self.reconstructed[0]}/bandpowers.ecsv")

    @cached_property
    def keys(self) -> list[str]:
        """Estimators in the band powers of φ̂, the best one first."""
        there = [name.removeprefix("auto_") for name in self.phi_table if name.startswith("auto_")]
        return sorted(there, key=lambda key: PREFERRED.index(key) if key in PREFERRED else len(PREFERRED))

    @cached_property
    def n0(self) -> dict[str, NDArray]:
        """N0_L of each estimator as the model has it."""
        return read_response(self.run)[1] if self.has("recon/response.ecsv") else {}

    @cached_property
    def n1(self) -> dict[str, NDArray]:
        """N1_L of each estimator, of the fiducial C_L^φφ; empty where it was not computed."""
        if not self.has("recon/n1.ecsv"):
            return {}
        table = self.table("recon/n1.ecsv")
        return {name[3:]: values for name, values in table.items() if name.startswith("N1_") and "curl" not in name}

    @cached_property
    def mask(self) -> NDArray | None:
        """The mask of a sky's run."""
        if not self.has("mask.fits"):
            return None
        return read_mask(self.folder / "mask.fits", nside=self.run.recipe.sky.nside)

    @cached_property
    def amplitudes(self) -> dict[str, Any] | None:
        """A_L^φφ by estimator, as the reconstruction has it: {"mean", "sigma"}, the mean of several skies; "about"."""
        files = [f"recon/{name}/amplitude.json" for name in self.reconstructed]
        if not files or not self.has(*files):
            return None
        found = [self.json(name) for name in files]
        out: dict[str, Any] = {"about": found[0]["about"], "skies": len(found)}
        for key in found[0].keys() - {"about"}:
            mean = float(np.mean([one[key]["mean"] for one in found]))
            out[key] = {"mean": mean, "sigma": float(found[0][key]["sigma"] / np.sqrt(len(found)))}
        return out

    @cached_property
    def fits(self) -> dict[str, Path]:
        """Folders of fits by name: RUN/fit, and RUN/fits/NAME/fit."""
        found = {p.parents[1].name: p.parent for p in sorted(self.folder.glob("fits/*/fit/summary.json"))}
        if self.plan is not None:  # in its order
            found = {name: found[name] for name in [*self.plan.fits, *found] if name in found}
        return {**({"": self.folder / "fit"} if self.has("fit/summary.json") else {}), **found}

    @cached_property
    def forecast(self) -> dict[str, Any] | None:
        """forecast.json, here or in RUN/forecast."""
        name = next((n for n in ("forecast.json", "forecast/forecast.json") if self.has(n)), None)
        return None if name is None else self.json(name)

    def phi(self, name: str) -> NDArray:
        """φ_LM of a file."""
        return np.atleast_2d(read_alm(self.folder / name))[0]


def find_products(folder: Path) -> Products:
    """A folder that a command of lensrec has left something in.

    Raises
    ------
    RunError
        If there is no such folder, or nothing in it that lensrec makes.
    RecipeError
        If its recipe is not valid.
    """
    if not folder.is_dir():
        raise RunError(f"{folder}: " + ("is a file, not a run" if folder.exists() else "there is no such folder"))
    file = folder / "recipe.yaml"
    recipe = plan = None
    if file.is_file():
        if is_anomaly(str(file)):
            plan = AnomalyRecipe.load(file)
        else:
            recipe = Recipe.load(file)
    found = Products(folder, recipe, plan)
    if recipe is None and plan is None and not (found.has("split.json") or found.fits or found.forecast):
        raise RunError(
            f"{folder} is no run: it has neither recipe.yaml nor split.json, fit/summary.json or forecast.json; give "
            "the folder that a command was given as --out"
        )
    return found


def flat(data: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Every value of nested mappings by its dotted key."""
    out: dict[str, Any] = {}
    for key, value in data.items():
        out |= flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return out

"""What a fit of cosmology is, and a forecast: recipes of their own, for neither needs a sky."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    model_validator,
)

from lensrec.notation import write_yaml
from lensrec.recipe_files import RecipeError, beside, find_recipe, override, read_recipe
from lensrec.recipe_section import DERIVED, Names, Section, Title

DATA = (
    "planck2018_plik_lite",
    "planck_pr4_lensing",
    "act_dr6_lensing",
    "act_planck_spt_lensing",
    "desi_dr2_bao",
    "compressed_cmb",
)
"""Data sets that a fit knows by name; with a variant behind a colon where `lensrec.fit.published` has several."""

GEOMETRY = ("desi_dr2_bao", "compressed_cmb")
"""Of these, what knows distances alone."""

SHARED = (
    ("compressed_cmb", "planck2018_plik_lite", "are Planck's CMB twice; fit one of them"),
    *(
        ("act_planck_spt_lensing", name, "see the same lenses; act_planck_spt_lensing holds both")
        for name in ("planck_pr4_lensing", "act_dr6_lensing")
    ),
    (
        "planck_pr4_lensing",
        "act_dr6_lensing",
        "see the same lenses; take act_planck_spt_lensing:act_planck, which knows their covariance",
    ),
)
"""Pairs that are no independent data, and why."""


class Neutrinos(Section):
    """Σmν, of which sign, and how it is shared out."""

    definition: Literal["mirrored", "background", "lensing", "physical", "fixed"] = "mirrored"  # what Σmν < 0 means
    mnu: NonNegativeFloat = 0.06  # where definition is fixed
    hierarchy: Literal["degenerate", "normal", "inverted", "one"] = "degenerate"  # one: a single massive state
    low: float = DERIVED  # edges of the flat prior on Σmν, eV; -0.6, or 0 where masses are physical
    high: PositiveFloat = 0.8  # upper edge, eV

    @model_validator(mode="after")
    def _complete(self) -> Self:
        self._fill(low=0.0 if self.definition == "physical" else -0.6)
        if not self.low < self.high:
            raise ValueError(f"low: {self.low:g} eV is not below high = {self.high:g} eV")
        if self.definition == "physical" and self.low < 0:
            raise ValueError(f"low: {self.low:g} eV is no physical mass; give 0 or more, or another definition")
        if self.hierarchy in ("normal", "inverted") and self.definition not in ("physical", "fixed"):
            raise ValueError(
                f"hierarchy: {self.hierarchy} ordering has no masses near zero, which {self.definition} ones are "
                "counted from; use degenerate, or definition physical"
            )
        return self


class Sampler(Section):
    """How the posterior is drawn from: Cobaya's Metropolis chain, or importance sampling about the best fit."""

    kind: Literal["mcmc", "importance"] = "mcmc"  # a chain of Cobaya, or samples about the best fit with weights
    r_minus_1: PositiveFloat = 0.02  # Gelman and Rubin's, of the means, at which a chain may stop
    draws: Annotated[int, Field(ge=1, le=10_000_000)] = 20000  # of importance sampling
    max_samples: Annotated[int, Field(ge=1, le=10**9)] = 200000  # accepted steps after which a chain gives up
    seed: NonNegativeInt = 1180  # of its random numbers


class FitRecipe(Section):
    """Which data, which model, what is free, and how it is sampled."""

    name: Title = "unnamed"  # title of pictures and reports
    description: str = ""  # what it is for
    data: Names = (
        "planck2018_plik_lite",
        "planck_pr4_lensing",
        "desi_dr2_bao",
    )  # names, or files of lensrec's own band powers (SACC)
    model: Literal["lcdm", "w0wa", "lscdm"] = "lcdm"  # ΛCDM, w0 and wa free, or ΛsCDM, whose Λ changes sign
    neutrinos: Neutrinos = Neutrinos()
    A_L_TTTEEE: NonNegativeFloat | Literal["free"] = 1.0  # in the smoothing of TT, TE, EE
    A_L_phiphi: NonNegativeFloat | Literal["free"] = 1.0  # in the four-point function
    tau: Annotated[float, Field(ge=0, le=0.5)] = 0.0544  # centre and width of the prior for the lowest E modes
    tau_sigma: PositiveFloat | None = 0.0073  # null: none
    transition: PositiveFloat | None = None  # of lscdm: ν of tanh[ν (z† − z)]; null: abrupt
    sampler: Sampler = Sampler()
    exact: bool = False  # CAMB at every step, not the trained surface

    @model_validator(mode="after")
    def _agree(self) -> Self:
        lines = [
            f"data: no data set {name!r}; there are {', '.join(DATA)}, and files of band powers (*.sacc.fits)"
            for name in self.data
            if name.partition(":")[0] not in DATA and not name.endswith(".fits")
        ]
        lines += [
            f"data: {name} has no variants; write {name.partition(':')[0]}"
            for name in self.data
            if ":" in name and name.partition(":")[0] in GEOMETRY
        ]
        sets = [name if name.endswith(".fits") else name.partition(":")[0] for name in self.data]
        if twice := sorted({name for name in sets if sets.count(name) > 1}):
            lines.append(f"data: {', '.join(twice)} more than once")
        lines += [f"data: {one} and {other} {why}" for one, other, why in SHARED if one in sets and other in sets]
        if self.neutrinos.definition == "background" and self.spectra:
            lines.append(
                "neutrinos.definition: background knows distances alone, and has no spectra; use mirrored, or data "
                "desi_dr2_bao,compressed_cmb"
            )
        if self.neutrinos.definition == "lensing" and not self.spectra:
            lines.append("neutrinos.definition: lensing moves C_L^φφ alone, of which these data know nothing")
        if self.transition is not None and self.model != "lscdm":
            lines.append(f"transition: is of model lscdm, and the model is {self.model}")
        if self.spectra and not self.exact and self.neutrinos.hierarchy != "degenerate":
            lines.append(
                f"neutrinos.hierarchy: the trained surface has degenerate masses; set that, or exact: true for "
                f"{self.neutrinos.hierarchy}"
            )
        if lines:
            raise ValueError("\n".join(lines))
        return self

    @property
    def spectra(self) -> bool:
        """Whether any of the data are power spectra."""
        return any(name.partition(":")[0] not in GEOMETRY for name in self.data)

    @classmethod
    def load(cls, path: str | Path, overrides: Iterable[str] = ()) -> Self:
        """A fit from a YAML file, or one that comes with lensrec by its bare name; raises RecipeError.

        Files of band powers are relative to the recipe's folder where the file names them.
        """
        file = find_recipe(path, "pipelines")
        data = read_recipe(file)
        if "recipe" in data or "fits" in data:
            raise RecipeError(f"{file} is a pipeline: lensrec run takes it")
        if isinstance(names := data.get("data"), list):
            data["data"] = [str(beside(file, str(n), "data")) if str(n).endswith(".fits") else n for n in names]
        return cls.model_validate(override(data, overrides))

    def dump(self) -> str:
        """The whole recipe as YAML, every default written out; `load` gives an equal recipe back."""
        return write_yaml(self.model_dump(mode="json"))

    def sha256(self) -> str:
        """A fingerprint of all that the numbers depend on: not of name and description."""
        values = self.model_dump(mode="json", exclude={"name", "description"})
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()

"""What a fit of cosmology is, and a forecast: recipes of their own, for neither needs a sky."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BeforeValidator,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from lensrec.notation import write_yaml
from lensrec.recipe_files import RecipeError, beside, find_recipe, override, read_recipe
from lensrec.recipe_section import DERIVED, Section

DATA = (
    "planck2018_plik_lite",
    "planck_pr4_lensing",
    "act_dr6_lensing",
    "act_planck_spt_lensing",
    "desi_dr2_bao",
    "compressed_cmb",
)
"""Data sets that a fit knows by name; with a variant behind a colon where `lensrec.fit.published` has several."""


def _parse_names(value: Any) -> Any:
    return [name.strip() for name in value.split(",") if name.strip()] if isinstance(value, str) else value


class Neutrinos(Section):
    """Σmν, of which sign, and how it is shared out."""

    definition: Literal["mirrored", "background", "lensing", "physical", "fixed"] = "mirrored"
    mnu: float = 0.06  # where definition is fixed
    hierarchy: Literal["degenerate", "normal", "inverted", "one"] = "degenerate"
    low: float = DERIVED  # edges of the flat prior on Σmν, eV; -0.6, or 0 where masses are physical
    high: PositiveFloat = 0.8

    @model_validator(mode="after")
    def _complete(self) -> Self:
        self._fill(low=0.0 if self.definition == "physical" else -0.6)
        if not self.low < self.high:
            raise ValueError(f"low: {self.low:g} eV is not below high = {self.high:g} eV")
        return self


class Sampler(Section):
    """How the posterior is drawn from: Cobaya's Metropolis chain, or importance sampling about the best fit."""

    kind: Literal["mcmc", "importance"] = "mcmc"
    r_minus_1: PositiveFloat = 0.02  # Gelman and Rubin's, of the means, at which a chain may stop
    draws: PositiveInt = 20000  # of importance sampling
    max_samples: PositiveInt = 200000  # accepted steps after which a chain gives up
    seed: NonNegativeInt = 1180


class FitRecipe(Section):
    """Which data, which model, what is free, and how it is sampled."""

    name: str = "unnamed"
    description: str = ""
    data: Annotated[tuple[str, ...], BeforeValidator(_parse_names), Field(min_length=1)] = (
        "planck2018_plik_lite",
        "planck_pr4_lensing",
        "desi_dr2_bao",
    )  # names, or files of lensrec's own band powers (SACC)
    model: Literal["lcdm", "w0wa", "lscdm"] = "lcdm"
    neutrinos: Neutrinos = Neutrinos()
    A_L_TTTEEE: NonNegativeFloat | Literal["free"] = 1.0  # in the smoothing of TT, TE, EE
    A_L_phiphi: NonNegativeFloat | Literal["free"] = 1.0  # in the four-point function
    tau: NonNegativeFloat = 0.0544  # centre and width of the prior that stands for the lowest E modes
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
        if len(set(self.data)) < len(self.data):
            lines.append("data: the same data set twice")
        if "compressed_cmb" in self.data and "planck2018_plik_lite" in self.data:
            lines.append("data: compressed_cmb is Planck's CMB again; fit it or planck2018_plik_lite, not both")
        if self.neutrinos.definition == "background" and self.spectra:
            lines.append(
                "neutrinos.definition: background knows distances alone, and has no spectra; use mirrored, or data "
                "desi_dr2_bao,compressed_cmb"
            )
        if self.neutrinos.definition == "lensing" and not self.spectra:
            lines.append("neutrinos.definition: lensing moves C_L^φφ alone, of which these data know nothing")
        if lines:
            raise ValueError("\n".join(lines))
        return self

    @property
    def spectra(self) -> bool:
        """Whether any of the data are power spectra."""
        return any(name not in ("desi_dr2_bao", "compressed_cmb") for name in self.data)

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
            data["data"] = [str(beside(file, n)) if str(n).endswith(".fits") else n for n in names]
        return cls.model_validate(override(data, overrides))

    def dump(self) -> str:
        """The whole recipe as YAML, every default written out; `load` gives an equal recipe back."""
        return write_yaml(self.model_dump(mode="json"))

    def sha256(self) -> str:
        """A fingerprint of all that the numbers depend on: not of name and description."""
        values = self.model_dump(mode="json", exclude={"name", "description"})
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()

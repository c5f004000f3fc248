"""A pipeline of fits: several fits with keys in common, a forecast, and the page of claims that is judged by them."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import Field, model_validator

from lensrec.notation import write_yaml
from lensrec.recipe_files import RecipeError, find_recipe, override, read_recipe
from lensrec.recipe_fit import FitRecipe
from lensrec.recipe_forecast import ForecastPlan
from lensrec.recipe_section import Section, Title


class AnomalyRecipe(Section):
    """Fits by name, and a forecast.

    In a file, `base` holds keys that all fits have in common, and each fit what is its own; a recipe that has been
    read has them put together, and no base.
    """

    name: Title = "unnamed"  # title of pictures and reports
    description: str = ""  # what it is for
    fits: dict[str, FitRecipe] = Field(min_length=1)  # recipes of fits, by names of their own
    forecast: ForecastPlan | None = None  # plan of a forecast beside them

    @model_validator(mode="after")
    def _names_of_folders(self) -> Self:
        if wrong := [name for name in self.fits if not name.replace("_", "").replace("-", "").isalnum()]:
            raise ValueError(f"fits: {wrong[0]!r} names a folder; use letters, digits, - and _")
        return self

    @classmethod
    def load(cls, path: str | Path, overrides: Iterable[str] = ()) -> Self:
        """A pipeline of fits from a YAML file, or one that comes with lensrec by its bare name; raises RecipeError."""
        return cls.of_data(override(read_recipe(find_recipe(path, "pipelines")), overrides))

    @classmethod
    def of_data(cls, data: Mapping[str, Any]) -> Self:
        """The same from plain data, `base` put into every fit; raises RecipeError, each line naming the fit."""
        out = {key: value for key, value in data.items() if key != "base"}
        base, fits = data.get("base") or {}, data.get("fits")
        if not isinstance(base, Mapping) or not isinstance(fits, Mapping):
            raise RecipeError("base and fits are made of keys and values, e.g. 'fits: {lcdm: {model: lcdm}}'")
        whole, lines = {}, []
        for name, own in fits.items():
            try:
                if not isinstance(own or {}, Mapping):
                    raise RecipeError("a fit is made of keys and values, e.g. '{model: lcdm}'")
                whole[str(name)] = FitRecipe.model_validate({**merged(base, own or {}), "name": str(name)})
            except RecipeError as error:
                lines += [f"fits.{name}.{line}" for line in str(error).splitlines()]
        if lines:
            raise RecipeError("\n".join(lines))
        return cls.model_validate({**out, "fits": whole})

    def dump(self) -> str:
        """The whole recipe as YAML, every default written out; `load` gives an equal recipe back."""
        return write_yaml(self.model_dump(mode="json"))

    def sha256(self) -> str:
        """A fingerprint of all that the numbers depend on."""
        values = self.model_dump(mode="json", exclude={"name", "description"})
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def is_anomaly(path: str | Path) -> bool:
    """Whether a pipeline's file is one of fits; raises RecipeError if there is no such file."""
    return "fits" in read_recipe(find_recipe(path, "pipelines"))


def merged(base: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Keys of `own` over those of `base`, section by section."""
    out = dict(base)
    for key, value in own.items():
        below = out.get(key)
        out[key] = merged(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return out

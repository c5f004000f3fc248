"""What a forecast is: surveys to come, models, and what else is known of τ and distances."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field

from lensrec.notation import write_yaml
from lensrec.recipe_files import RecipeError, beside, find_recipe, override, read_recipe
from lensrec.recipe_section import Names, Section, Title


class ForecastPlan(Section):
    """Which surveys to come are forecast, in which models."""

    name: Title = "unnamed"  # title of pictures and reports
    description: str = ""  # what it is for
    experiments: Names = ("so_baseline", "so_goal")  # of planck, act_dr6, so_baseline, so_goal, cmb_s4
    models: Names = ("mnu", "mnu_A_L")  # of mnu, A_L, mnu_A_L, w0wa_mnu: what is free beside ΛCDM
    tau_priors: Names = (
        "planck_2018",
        "cosmic_variance",
    )  # of planck (0.01), planck_2018 (0.0073), cosmic_variance (0.002)
    bao: Literal["none", "full", "dr2"] = "full"  # DESI as foreseen, or its second release
    delensed: bool = False  # TT, TE, EE delensed with the survey's own φ̂
    neutrinos: Literal["degenerate", "one"] = "degenerate"  # three of one mass, or one massive state
    so_noise: Path | None = None  # folder of the published noise curves of the Simons Observatory
    lmax: Annotated[int, Field(ge=100, le=10_000)] = 4000  # highest multipole of TT, TE and EE
    lens_potential_accuracy: Annotated[float, Field(gt=0, le=20)] = 2.0  # CAMB's, of C^φφ

    @classmethod
    def load(cls, path: str | Path, overrides: Iterable[str] = ()) -> Self:
        """A forecast from a YAML file, or one that comes with lensrec by its bare name; raises RecipeError."""
        file = find_recipe(path, "pipelines")
        data = read_recipe(file)
        if {"recipe", "fits", "data"} & set(data):
            raise RecipeError(f"{file} is no forecast; lensrec forecast takes experiments, models, tau_priors, bao")
        if isinstance(folder := data.get("so_noise"), str):
            data["so_noise"] = str(beside(file, folder, "so_noise"))
        return cls.model_validate(override(data, overrides))

    def dump(self) -> str:
        """The whole recipe as YAML, every default written out; `load` gives an equal recipe back."""
        return write_yaml(self.model_dump(mode="json"))

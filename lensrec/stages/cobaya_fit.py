"""A fit as a Cobaya likelihood, so that its chain is Cobaya's own, and anyone can run it again from its YAML."""

from typing import Any

import numpy as np
from cobaya.likelihood import Likelihood

from lensrec.recipe_fit import FitRecipe
from lensrec.stages.fit import DERIVED, FitSetting, fit_setting


class RecipeLikelihood(Likelihood):
    """All data and Gaussian priors of a recipe; flat priors and the box are in Cobaya's `params`.

    Options
    -------
    recipe : dict
        Of `lensrec.recipe_fit.FitRecipe`.
    """

    recipe: Any = None

    def initialize(self) -> None:
        if not hasattr(self, "setting"):
            self.setting: FitSetting = fit_setting(FitRecipe.model_validate(dict(self.recipe or {})))

    def get_can_support_params(self) -> list[str]:
        return list(self.setting.joint.names)

    def get_can_provide_params(self) -> list[str]:
        return list(DERIVED)

    def logp(self, _derived: dict[str, float] | None = None, **parameters: float) -> float:
        joint = self.setting.joint
        chi2 = joint.chi2(np.array([parameters[name] for name in joint.names]))
        if _derived is not None:
            # Cobaya asks for them even where there is no model
            _derived.update(dict.fromkeys(DERIVED, np.nan))
        if not np.isfinite(chi2):
            return -np.inf
        if _derived is not None:
            try:
                _derived.update(self.setting.derived({**joint.held, **parameters}))
            except ValueError:
                # spectra may be had from the surface where there is no H0 with this θ_*
                return -np.inf
        return -chi2 / 2

"""One small cosmology for all stages: its theory is computed once and kept."""

from collections.abc import Callable
from typing import Any

import pytest

from lensrec.recipe import Recipe
from lensrec.stages.setting import theory_of
from lensrec.theory.spectra import TheorySpectra

# C_L^φφ is 5 % low at L = 2000, which no test here minds; it saves seconds
COSMOLOGY = {"lens_potential_accuracy": 1}


@pytest.fixture(scope="session")
def small() -> Callable[..., Recipe]:
    """Recipes at nside 64, each section changed as told."""

    def make(**sections: dict[str, Any]) -> Recipe:
        data: dict[str, Any] = {
            "cosmology": COSMOLOGY,
            "sky": {"nside": 64, "lmax": 300, "lmax_data": 128, "seed": 4, "epsilon": 1e-5},
            "instrument": {"fwhm": 30, "noise_t": 20},
            # N1 takes seconds, and is asked for where a test looks at it
            "reconstruction": {"lmin_t": 10, "lmin_p": 10, "L_max": 100, "n_bins": 4, "n1": "none"},
        }
        return Recipe.model_validate(
            {key: {**data.get(key, {}), **sections.get(key, {})} for key in {**data, **sections}}
        )

    return make


@pytest.fixture(scope="session")
def theory(small: Callable[..., Recipe]) -> TheorySpectra:
    """Its spectra, to ℓ = 4000."""
    return theory_of(small(sky={"nside": 2048, "lmax": 4000}))

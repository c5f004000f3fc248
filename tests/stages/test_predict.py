"""Band powers that fits expect: the trained surface beside CAMB, where their definitions differ."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lensrec.fit.emulator_file import shipped_emulator
from lensrec.recipe_fit import FitRecipe
from lensrec.stages.fit import START, band_powers
from lensrec.stages.predict import EmulatedSpectra, ExactSpectra

BASE = {**START, "mnu": 0.06, "w": -1.0, "wa": 0.0}
DATA = ("planck2018_plik_lite", "planck_pr4_lensing")


@pytest.fixture
def published(published_folder: Callable[[str], Path]) -> None:
    for name in DATA:
        published_folder(name)


@pytest.mark.usefixtures("published")
def test_surface_and_camb_in_lscdm_with_more_smoothing() -> None:
    recipe = FitRecipe.model_validate({"data": DATA, "model": "lscdm"})
    data = band_powers(recipe)
    assert data is not None
    sigma = np.sqrt(np.diag(data.covariance))
    parameters = {**BASE, "z_dagger": 2.2, "A_L_TTTEEE": 1.18, "A_L_phiphi": 1.1, "calibration": 1.002}
    emulated = EmulatedSpectra(data, shipped_emulator(), recipe).band_powers(parameters)
    exact = ExactSpectra(data, shipped_emulator(), recipe).band_powers(parameters)
    # what the surface promises at points it has not seen, with the 1e-3 of C_L^φφ by which CAMB's accuracy 2 is low
    assert np.max(np.abs(emulated - exact) / sigma) < 0.1
    plain = FitRecipe.model_validate({"data": DATA})
    lcdm = EmulatedSpectra(data, shipped_emulator(), plain).band_powers(parameters)
    # the switch is seen: C_L^φφ rises by some per cent, which is a σ of PR4's best bands
    assert np.max(np.abs(emulated - lcdm)[-9:] / sigma[-9:]) > 0.5


@pytest.mark.usefixtures("published")
def test_outside_the_box_there_is_no_model() -> None:
    recipe = FitRecipe.model_validate({"data": DATA})
    data = band_powers(recipe)
    assert data is not None
    with pytest.raises(ValueError, match="outside the box"):
        EmulatedSpectra(data, shipped_emulator(), recipe).band_powers({**BASE, "omch2": 0.2})

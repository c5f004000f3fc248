"""Band powers that a model of a fit expects: by the trained surface, or by CAMB itself."""

from collections.abc import Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lensrec.fit.emulator import Emulator, Mirror
from lensrec.fit.emulator_model import emulated_model, reference_point, with_ratio
from lensrec.fit.emulator_points import HIERARCHY
from lensrec.fit.emulator_points import PARAMETERS as EMULATED
from lensrec.fit.exact_spectra import exact_spectra
from lensrec.recipe_fit import FitRecipe
from lensrec.spectra.linear_data import LinearData
from lensrec.stages.lambda_s import potential_ratios

_REST = ("A_L_TTTEEE", "A_L_phiphi", "calibration", "polarisation_efficiency")


class SpectraModel(Protocol):
    """What a fit needs of a model of power spectra."""

    def band_powers(self, parameters: Mapping[str, float]) -> NDArray[np.float64]:
        """⟨d⟩ for all parameters by name, (n,); ValueError where the model does not go."""
        ...


class EmulatedSpectra:
    """By the trained surface. For ΛsCDM between two of its models with a fixed z† each, linearly in 1/z†³."""

    def __init__(self, data: LinearData, emulator: Emulator, recipe: FitRecipe) -> None:
        if recipe.neutrinos.hierarchy != HIERARCHY:
            raise ValueError(
                f"neutrinos.hierarchy: the trained surface has {HIERARCHY} masses; set that, or exact: true for "
                f"{recipe.neutrinos.hierarchy}"
            )
        self._box = emulator.box
        plain = emulated_model(data, emulator, mirrored=mirror_of(recipe))
        self._nodes, self._models = np.zeros(0), [plain]
        if recipe.model == "lscdm":
            self._nodes, ratios = potential_ratios(emulator.lmax + 2500, transition=recipe.transition)
            self._models = [with_ratio(plain, data, ratio) for ratio in ratios]

    def band_powers(self, parameters: Mapping[str, float]) -> NDArray[np.float64]:
        x = np.array([parameters[name] for name in EMULATED])
        if not self._box.inside(x):
            raise ValueError("outside the box that the surface is trained for")
        z = np.concatenate([x, [parameters[name] for name in _REST]])
        if not len(self._nodes):
            return self._models[0].value(z)
        at = parameters["z_dagger"] ** -3.0
        k = int(np.clip(np.searchsorted(self._nodes, at) - 1, 0, len(self._nodes) - 2))
        t = (at - self._nodes[k]) / (self._nodes[k + 1] - self._nodes[k])
        return (1 - t) * self._models[k].value(z) + t * self._models[k + 1].value(z)


class ExactSpectra:
    """By CAMB and lensrec's lensing, with the same definitions of everything."""

    def __init__(self, data: LinearData, emulator: Emulator, recipe: FitRecipe) -> None:
        self._data, self._recipe, self._mirror = data, recipe, mirror_of(recipe)
        self._lmax = max([300, *(top for key, top in data.lmax.items() if key != "PP"), data.lmax.get("PP", 0) - 2500])
        self._lensing = data.block == "PP"
        self._nodes, self._ratios = np.zeros(0), np.zeros((0, 0))
        if recipe.model == "lscdm":
            self._nodes, self._ratios = potential_ratios(self._lmax + 2500, transition=recipe.transition)
        start = dict(zip(EMULATED, reference_point().tolist(), strict=True)) | dict.fromkeys(_REST, 1.0)
        # what corrections come to at the reference, as in `fit.emulator_model`
        self._normalised = np.where(self._lensing, self._cmb_part(self._spectra(start), start), 0.0)

    def band_powers(self, parameters: Mapping[str, float]) -> NDArray[np.float64]:
        spectra = self._spectra(parameters)
        cmb, phi = self._cmb_part(spectra, parameters), parameters["A_L_phiphi"]
        total = np.array(self._data.offset) + cmb
        total += (phi - 1.0) * np.where(self._lensing, cmb - self._normalised, 0.0)
        for matrices in (self._data.windows, self._data.corrections):
            if "PP" in matrices:
                total += phi * (matrices["PP"] @ spectra["PP"][: matrices["PP"].shape[1]])
        return total

    def _cmb_part(self, spectra: Mapping[str, NDArray], parameters: Mapping[str, float]) -> NDArray[np.float64]:
        c, p = parameters["calibration"], parameters["polarisation_efficiency"]
        gain = {"TT": c**2, "TE": c**2 * p, "EE": c**2 * p**2, "BB": c**2 * p**2}
        total = np.zeros(len(self._data))
        for matrices in (self._data.windows, self._data.corrections):
            for key, matrix in matrices.items():
                if key != "PP":
                    total += gain[key] * (matrix @ spectra[key][: matrix.shape[1]])
        return total

    def _spectra(self, parameters: Mapping[str, float]) -> dict[str, NDArray]:
        ratio = None
        if len(self._nodes) and "z_dagger" in parameters:
            at = parameters["z_dagger"] ** -3.0
            ratio = np.array([np.interp(at, self._nodes, column) for column in self._ratios.T])
        return exact_spectra(
            np.array([parameters[name] for name in EMULATED]),
            lmax=self._lmax,
            a_smooth=parameters["A_L_TTTEEE"],
            mirrored=self._mirror,
            hierarchy=self._recipe.neutrinos.hierarchy,
            ratio=ratio,
        )


def mirror_of(recipe: FitRecipe) -> Mirror:
    """What a negative mass means to spectra; where none is negative, either will do."""
    return "lensing" if recipe.neutrinos.definition == "lensing" else "observables"

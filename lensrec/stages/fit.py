"""From the recipe of a fit to its likelihood: which data, which parameters are free, and what they mean."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from lensrec.fit import compressed_cmb, desi_dr2
from lensrec.fit.emulator import Emulator
from lensrec.fit.emulator_file import shipped_emulator
from lensrec.fit.emulator_points import PARAMETERS as EMULATED
from lensrec.fit.joint_likelihood import JointLikelihood, Part, Prior
from lensrec.fit.published import published
from lensrec.fit.signed_distances import Definition, Distances, signed_distances
from lensrec.recipe_fit import GEOMETRY, FitRecipe
from lensrec.spectra.linear_data import LinearData, combined
from lensrec.spectra.sacc_file import read_sacc
from lensrec.stages.predict import EmulatedSpectra, ExactSpectra, SpectraModel
from lensrec.theory.neutrinos import FLOOR_INVERTED, FLOOR_NORMAL

START: Mapping[str, float] = MappingProxyType(
    {
        "ombh2": 0.02236,
        "omch2": 0.1195,
        "thetastar": 0.010411,
        "logA": 3.045,
        "ns": 0.966,
        "tau": 0.0544,
        "mnu": 0.02,
        "w": -0.95,
        "wa": -0.15,
        "z_dagger": 3.0,
        "A_L_TTTEEE": 1.0,
        "A_L_phiphi": 1.0,
        "calibration": 1.0,
        "polarisation_efficiency": 1.0,
    }
)

STEPS: Mapping[str, float] = MappingProxyType(
    {
        "ombh2": 5e-5,
        "omch2": 4e-4,
        "thetastar": 1e-6,
        "logA": 5e-3,
        "ns": 1e-3,
        "tau": 2e-3,
        "mnu": 0.01,
        "w": 0.02,
        "wa": 0.06,
        "z_dagger": 0.05,
        "A_L_TTTEEE": 0.02,
        "A_L_phiphi": 0.01,
        "calibration": 5e-4,
        "polarisation_efficiency": 1e-3,
    }
)
"""For differences: a third of a standard deviation or so."""

GEOMETRY_BOX: Mapping[str, tuple[float, float]] = MappingProxyType(
    {"ombh2": (0.0195, 0.0255), "omch2": (0.092, 0.148), "thetastar": (0.0100, 0.0108)}
)
"""Flat priors where no spectra are fitted: as far as recombination is tabulated."""

BBN: Prior = (0.02218, 0.00055)
"""ω_b of big-bang nucleosynthesis, Schöneberg 2024 (arXiv:2401.15054), as DESI takes it: for BAO without the CMB."""

DARK_ENERGY: Mapping[str, tuple[float, float]] = MappingProxyType({"w": (-3.0, 1.0), "wa": (-3.0, 2.0)})
"""Flat priors of DESI (arXiv:2503.14738, table III), with w + w_a < 0; the trained box cuts them further."""

Z_DAGGER = (1.4, 6.0)

DERIVED = ("H0", "omega_m")
"""What follows from a background: H0 in km/s/Mpc and Ω_m."""

KEPT = 20000
"""Distances of so many points are kept, lest importance samples' derived parameters cost as much as their χ²."""

CALIBRATION: Prior = (1.0, 0.0025)
EFFICIENCY: Prior = (1.0, 0.005)


@dataclass(frozen=True, eq=False)
class FitSetting:
    """A likelihood, and what else follows from its parameters.

    `derived` maps all parameters by name to H0 in km/s/Mpc and Ω_m; `spectra` is None where no spectra are fitted.
    """

    joint: JointLikelihood
    derived: Callable[[Mapping[str, float]], dict[str, float]]
    spectra: SpectraModel | None


def fit_setting(recipe: FitRecipe) -> FitSetting:
    """The likelihood that a recipe describes.

    Raises
    ------
    ValueError
        For data that are not what they should be.
    FileNotFoundError
        If a data set is not on this machine.
    """
    data = band_powers(recipe)
    emulator = shipped_emulator() if data is not None else None
    spectra = None
    if data is not None:
        assert emulator is not None
        make = ExactSpectra if recipe.exact else EmulatedSpectra
        spectra = make(data, emulator, recipe)
    distances = _distances_of(recipe)
    parts = []
    if data is not None:
        assert spectra is not None
        parts.append(_band_power_part(data, spectra))
    if "desi_dr2_bao" in recipe.data:
        parts.append(Part("desi_dr2_bao", lambda p: desi_dr2.bao_residual(*distances(p)[:3]), len(desi_dr2.MEAN)))
    if "compressed_cmb" in recipe.data:
        parts.append(Part("compressed_cmb", _compressed, len(compressed_cmb.MEAN)))
    bounds, held, priors = _parameters(recipe, data, emulator)

    def derived(parameters: Mapping[str, float]) -> dict[str, float]:
        found = distances(parameters)
        return {name: float(getattr(found, name)) for name in DERIVED}

    return FitSetting(JointLikelihood(parts, bounds, START, STEPS, held, priors), derived, spectra)


def band_powers(recipe: FitRecipe) -> LinearData | None:
    """All power spectra of a recipe's data as one; None if there are none."""
    sets = []
    for text in recipe.data:
        name, _, variant = text.partition(":")
        if text.endswith(".fits"):
            sets.append(read_sacc(text))
        elif name not in GEOMETRY:
            sets.append(published(name, variant=variant or None))
    return combined(*sets) if sets else None


def _band_power_part(data: LinearData, spectra: SpectraModel) -> Part:
    try:
        unroot = np.linalg.inv(np.linalg.cholesky(data.covariance))
    except np.linalg.LinAlgError:
        raise ValueError(f"{data.name}: the covariance of the band powers is not positive definite") from None

    def residual(parameters: Mapping[str, float]) -> NDArray[np.float64]:
        return unroot @ (spectra.band_powers(parameters) - data.mean)

    return Part(data.name, residual, len(data))


def _compressed(parameters: Mapping[str, float]) -> NDArray[np.float64]:
    return compressed_cmb.compressed_cmb_residual(parameters["thetastar"], parameters["ombh2"], parameters["omch2"])


def _distances_of(recipe: FitRecipe) -> Callable[[Mapping[str, float]], Distances]:
    """Distances of a model, kept for the last parameters: BAO and what is derived ask for the same ones."""
    definition: Definition = "physical" if recipe.neutrinos.definition == "fixed" else recipe.neutrinos.definition
    read = ["ombh2", "omch2", "thetastar", "mnu"]
    read += {"lcdm": [], "w0wa": ["w", "wa"], "lscdm": ["z_dagger"]}[recipe.model]

    @lru_cache(maxsize=KEPT)
    def at(values: tuple[float, ...]) -> Distances:
        return signed_distances(
            dict(zip(read, values, strict=True)),
            definition,
            hierarchy=recipe.neutrinos.hierarchy,
            transition=recipe.transition,
        )

    return lambda parameters: at(tuple(parameters[name] for name in read))


def _parameters(
    recipe: FitRecipe, data: LinearData | None, emulator: Emulator | None
) -> tuple[dict[str, tuple[float, float]], dict[str, float], dict[str, Prior]]:
    """Bounds of what is free, values of what is held, Gaussian priors."""
    bounds: dict[str, tuple[float, float]] = {}
    held = {"w": -1.0, "wa": 0.0, "A_L_TTTEEE": 1.0, "A_L_phiphi": 1.0, "calibration": 1.0}
    held["polarisation_efficiency"] = 1.0
    priors: dict[str, Prior] = {}
    if data is not None:
        assert emulator is not None
        low, high = emulator.box.low, emulator.box.high
        bounds |= {name: (low[k], high[k]) for k, name in enumerate(EMULATED[:6])}
        if recipe.tau_sigma is not None:
            priors["tau"] = (recipe.tau, recipe.tau_sigma)
    else:
        bounds |= GEOMETRY_BOX
        if "compressed_cmb" not in recipe.data:
            priors["ombh2"] = BBN
    masses = recipe.neutrinos
    if masses.definition == "fixed":
        held["mnu"] = masses.mnu
    else:
        floor = {"normal": FLOOR_NORMAL, "inverted": FLOOR_INVERTED}.get(masses.hierarchy, -np.inf)
        if masses.high <= floor:
            raise ValueError(f"neutrinos.high: {masses.high:g} eV is below {floor:g}, the least of {masses.hierarchy}")
        bounds["mnu"] = (max(masses.low, floor), masses.high)
    if recipe.model == "w0wa":
        bounds |= DARK_ENERGY
    if recipe.model == "lscdm":
        bounds["z_dagger"] = Z_DAGGER
    blocks = set() if data is None else set(data.block.tolist())
    for name, asked, seen in (
        ("A_L_TTTEEE", recipe.A_L_TTTEEE, bool(blocks - {"PP"})),
        ("A_L_phiphi", recipe.A_L_phiphi, "PP" in blocks),
    ):
        if asked == "free" and not seen:
            raise ValueError(f"{name} is free, but none of the data depends on it: {', '.join(recipe.data)}")
        if asked == "free":
            bounds[name] = (0.2, 2.4)
        else:
            held[name] = float(asked)
    if blocks - {"PP"}:
        bounds["calibration"], priors["calibration"] = (0.97, 1.03), CALIBRATION
        if any(name.endswith(".fits") for name in recipe.data) and blocks & {"TE", "EE", "BB"}:
            bounds["polarisation_efficiency"], priors["polarisation_efficiency"] = (0.95, 1.05), EFFICIENCY
    for name in held.keys() & bounds.keys():
        del held[name]
    return bounds, held, priors

"""Split: A_L^TTTEEE and A_L^φφ from the band powers of one sky, as its recipe says."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lensrec.engine import Progress, Workers
from lensrec.fit.band_power_model import CALIBRATION, EFFICIENCY, PARAMETERS, POTENTIAL, SMOOTHING, band_power_model
from lensrec.fit.response_surface import ResponseSurface
from lensrec.fit.split import Prior, Split, split
from lensrec.recipe import Recipe
from lensrec.spectra.linear_data import CMB_BLOCKS, LinearData
from lensrec.stages.bandpowers import Bandpowers
from lensrec.stages.setting import theory_of
from lensrec.stages.surface import surface_at, surface_of
from lensrec.theory.acoustic_scale import PARAMETERS as COSMOLOGY
from lensrec.theory.acoustic_scale import acoustic_parameters
from lensrec.theory.spectra import TheorySpectra

log = logging.getLogger(__name__)

SEED = 1180
"""Of the samples that are drawn from a posterior."""

MIDDLE = 1000
"""Multipole at which the CMB is cut in two."""


def split_sky(
    found: Bandpowers, *, executor: Workers = None, progress: Progress | None = None, nthreads: int = 0
) -> Split:
    """Fit A_L^TTTEEE and A_L^φφ to the band powers of a sky, as its recipe's `split` says.

    Returns
    -------
    Split
        See `lensrec.fit.split.Split`; `.summary()` is what split.json holds.
    """
    data, recipe = fitted_range(found.data, found.recipe), found.recipe
    data = with_beam(recipe, data, found.fiducial)
    surface = recipe_surface(recipe, data, theory_of(recipe), executor=executor, progress=progress, nthreads=nthreads)
    return fit_recipe(recipe, data, surface)


def fitted_range(data: LinearData, recipe: Recipe) -> LinearData:
    """All of the CMB, and of φφ the bands between split.L_min and split.L_max."""
    asked = recipe.split
    inside = (data.low >= asked.L_min) & (data.high <= asked.L_max)
    if not (inside & (data.block == "PP")).any():
        log.warning(
            "no band of φφ lies within split.L_min = %d and L_max = %d: A_L^φφ is not fitted", asked.L_min, asked.L_max
        )
    return data.selected(np.where(data.block == "PP", inside, True))


def recipe_surface(
    recipe: Recipe,
    data: LinearData,
    theory: TheorySpectra,
    *,
    executor: Workers = None,
    progress: Progress | None = None,
    nthreads: int = 0,
) -> ResponseSurface:
    """Spectra about a recipe's own cosmology; of that alone where ΛCDM is held.

    At the centre they are the fiducial ones, so that corrections vanish there exactly.
    """
    fiducial = {**theory.lensed, "PP": theory.potential["PP"]}
    cosmology = recipe.cosmology.parameters()
    if recipe.split.cosmology == "fixed":
        centre = None if cosmology["omk"] else acoustic_parameters(cosmology)
        return surface_at(theory, _reach(data), centre=centre, nthreads=nthreads).anchored(fiducial)
    if cosmology["omk"]:
        raise ValueError("split.cosmology: free is for flat ΛCDM, and cosmology.omk is not 0; set it to fixed")
    centre = acoustic_parameters(cosmology)
    made = surface_for(
        data, centre=centre, mnu=cosmology["mnu"], executor=executor, progress=progress, nthreads=nthreads
    )
    return made.anchored({key: cl[: made.lmax + 2501] for key, cl in fiducial.items()})


def with_beam(recipe: Recipe, data: LinearData, fiducial: Mapping[str, NDArray]) -> LinearData:
    """Band powers whose covariance has what a beam of uncertain width adds, σ² t tᵀ with t = ∂d/∂ln FWHM.

    A beam that is believed wider than it is by δ leaves C_ℓ [1 + 2 ℓ(ℓ+1) s² δ] in beam-deconvolved spectra, with
    b_ℓ = exp(−ℓ(ℓ+1)s²/2); φφ follows by what its normalisation takes from these.
    """
    sigma = recipe.split.beam
    if not sigma:
        return data
    s2 = recipe.instrument.fwhm_rad**2 / (8.0 * np.log(2.0))
    wider = dict(fiducial)
    for key in CMB_BLOCKS:
        ell = np.arange(len(fiducial[key]), dtype=np.float64)
        wider[key] = fiducial[key] * (1.0 + 2.0 * ell * (ell + 1.0) * s2)
    template = sigma * (data.expected(wider) - data.expected(fiducial))
    return replace(data, covariance=data.covariance + np.outer(template, template))


def priors_of(recipe: Recipe, data: LinearData, surface: ResponseSurface) -> tuple[dict[str, Prior], dict[str, float]]:
    """Priors and what is held, as a recipe says."""
    asked = recipe.split
    priors: dict[str, Prior] = {"tau": (asked.tau, asked.tau_sigma)}
    for name, sigma in ((CALIBRATION, asked.calibration), (EFFICIENCY, asked.polarisation)):
        if sigma and (name == CALIBRATION or set(data.block.tolist()) & {"TE", "EE", "BB"}):
            priors[name] = (1.0, sigma)
    fixed = dict(zip(COSMOLOGY, surface.centre.tolist(), strict=True)) if asked.cosmology == "fixed" else {}
    return priors, fixed


def fit_recipe(recipe: Recipe, data: LinearData, surface: ResponseSurface) -> Split:
    """The fit that a recipe asks for."""
    return fit_surface(data, surface, *priors_of(recipe, data, surface))


def fit_surface(
    data: LinearData, surface: ResponseSurface, priors: Mapping[str, Prior], fixed: Mapping[str, float]
) -> Split:
    """Fit band powers by the spectra of a surface."""
    model = band_power_model(data, surface)
    return split(data, model, priors=priors, fixed=fixed, rng=np.random.default_rng(SEED))


def separate_amplitudes(
    data: LinearData, found: Split, surface: ResponseSurface, priors: Mapping[str, Prior], fixed: Mapping[str, float]
) -> dict[str, dict[str, Any]]:
    """Each amplitude by single spectra, ranges of ℓ and of L.

    A_L^TTTEEE of TT, TE or EE alone, and of all below and above `MIDDLE`, with all else free that was; A_L^φφ below and
    above the middle of the bands, with ΛCDM and A_L^TTTEEE held at the best fit of all. What cannot be fitted alone is
    left out; what lies beyond the surface has "warnings".
    """
    cmb = data.block != "PP"
    parts = {key: data.block == key for key in ("TT", "TE", "EE")}
    parts |= {f"ℓ < {MIDDLE}": cmb & (data.centre < MIDDLE), f"ℓ ≥ {MIDDLE}": cmb & (data.centre >= MIDDLE)}
    out: dict[str, dict[str, Any]] = {}
    for name, rows in parts.items():
        if not rows.any() or not (cmb & ~rows).any():
            continue
        chosen = data.selected(rows)
        own = {key: prior for key, prior in priors.items() if key != EFFICIENCY or name != "TT"}
        try:
            out[name] = _with_warnings(fit_surface(chosen, surface, own, fixed), SMOOTHING)
        except ValueError:
            log.info("A_L^TTTEEE of %s alone cannot be told from other parameters", name)
    lensing = np.flatnonzero(~cmb)
    if len(lensing) >= 4:
        middle = int(data.low[lensing[len(lensing) // 2]])
        held = dict(zip(PARAMETERS, found.parameters.tolist(), strict=True))
        held.pop(POTENTIAL)
        for name, rows in (
            (f"L < {middle}", ~cmb & (data.low < middle)),
            (f"L ≥ {middle}", ~cmb & (data.low >= middle)),
        ):
            chosen = data.selected(rows)
            out[name] = _with_warnings(fit_surface(chosen, surface, {}, held), POTENTIAL)
    return out


def _with_warnings(found: Split, amplitude: str) -> dict[str, Any]:
    """Mean and standard deviation of an amplitude, and what is to be said of its fit, if anything."""
    return {**found.summary()[amplitude], **({"warnings": list(found.warnings)} if found.warnings else {})}


def surface_for(
    data: LinearData,
    *,
    centre: NDArray | None = None,
    mnu: float = 0.06,
    executor: Workers = None,
    progress: Progress | None = None,
    nthreads: int = 0,
) -> ResponseSurface:
    """A surface that reaches as far as band powers read, about a cosmology; by default as `surface_of` has it."""
    reach = _reach(data)
    return surface_of(reach, centre=centre, mnu=mnu, executor=executor, progress=progress, nthreads=nthreads)


def _reach(data: LinearData) -> int:
    """lmax of the surface: what windows on the CMB read, and so much that those on C_L^φφ have enough, too."""
    read = data.lmax
    return max([300, *(top for key, top in read.items() if key in CMB_BLOCKS), read.get("PP", 0) - 2500])

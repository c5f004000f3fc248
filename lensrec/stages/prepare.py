"""What all maps of one recipe and mask share: filters, normalisation, N1, response, and Gaussian skies."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lensrec.engine import Progress, Workers
from lensrec.quadratic.estimators import quadratic_estimates
from lensrec.recipe import Recipe
from lensrec.stages.debias import SimulatedPairs
from lensrec.stages.estimate import deconvolved, map_to_alm, measured_totals
from lensrec.stages.filtering import Filtering, filtering_of
from lensrec.stages.first_order import FirstOrder, first_order
from lensrec.stages.gaussian import GaussianResults, GaussianSkies
from lensrec.stages.masking import mask_moment, noise_pattern
from lensrec.stages.placing import Quadratic
from lensrec.stages.response import SimulatedResponse, simulated_response
from lensrec.stages.setting import Setting, observed_totals, optics_of, setting_of, theory_of
from lensrec.theory.spectra import TheorySpectra


@dataclass(frozen=True, eq=False)
class Preparation:
    """What all maps of one recipe and mask share; `prepare` makes one.

    Attributes
    ----------
    theory : TheorySpectra
    setting : Setting
    mask, pattern : array (npix,) or None
        Weights, and the rms of the noise in each pixel over that of the map.
    filtering : function of masked maps
    gaussian : GaussianResults or None
        What Gaussian skies have told; None where there are none, or where they follow the data.
    pairs : SimulatedPairs or None
        Of those skies, for RDN0.
    first_order : FirstOrder or None
    simulated_response : SimulatedResponse or None
    """

    theory: TheorySpectra
    setting: Setting
    mask: NDArray | None
    pattern: NDArray | None
    filtering: Filtering
    gaussian: GaussianResults | None = None
    pairs: SimulatedPairs | None = None
    first_order: FirstOrder | None = None
    simulated_response: SimulatedResponse | None = None


def prepare(
    recipe: Recipe,
    nside: int,
    mask: NDArray | None,
    *,
    temperature_only: bool = False,
    theory: TheorySpectra | None = None,
    first: Callable[[Setting], FirstOrder] | None = None,
    respond: Callable[[Setting, Filtering], SimulatedResponse] | None = None,
    nthreads: int = 0,
) -> Preparation:
    """Setting, filters, N1 and simulated response of a recipe, for maps of one nside and mask.

    Parameters
    ----------
    theory : TheorySpectra, optional
        Of the recipe, where it has been made before.
    first, respond : functions, optional
        Make N1 and the simulated response, where they are kept somewhere; they are asked if the recipe wants these.

    Raises
    ------
    ValueError
        If no estimator can be made, or the hits cannot be used.
    """
    rec = recipe.reconstruction
    theory = theory_of(recipe) if theory is None else theory
    setting = setting_of(recipe, theory, nside, temperature_only=temperature_only, nthreads=nthreads)
    pattern = noise_pattern(recipe.instrument, nside, mask)
    filtering = filtering_of(recipe, setting, nside, mask, pattern, nthreads=nthreads)
    n1 = response = None
    if rec.n1 != "none":
        n1 = first(setting) if first else _first_order_of(recipe, setting, nside, nthreads)
    if rec.mc_response != "none" and respond:
        response = respond(setting, filtering)
    elif rec.mc_response != "none":
        response = simulated_response(recipe, theory, setting, nside, mask, filtering, nthreads=nthreads)
    return Preparation(theory, setting, mask, pattern, filtering, first_order=n1, simulated_response=response)


def gaussian_skies(
    recipe: Recipe,
    prepared: Preparation,
    nside: int,
    maps: NDArray | None = None,
    *,
    quadratic: Quadratic = quadratic_estimates,
    nthreads: int = 0,
) -> GaussianSkies:
    """Gaussian skies with the power that the recipe's model gives its data, or with that of masked maps.

    Parameters
    ----------
    maps : array (1 or 3, npix), optional
        Masked; their power is followed as far as they have any, smoothed, about that of the model.
    quadratic : function like `quadratic_estimates`
        Where it runs.

    Notes
    -----
    A mask carries power across the highest multipole that is read, so what the skies lacked beyond it would be missing
    below it, too: their band limit is that of the data, not of the filters.
    """
    reach, lensed = recipe.sky.lmax_data, prepared.theory.lensed
    optics, totals = optics_of(recipe.instrument, nside, reach), observed_totals(recipe, prepared.theory, nside, reach)
    signal = {key: lensed[key][: reach + 1] for key in totals}
    if maps is not None:
        model, precision = totals, recipe.reconstruction.precision
        # No iterations: they do not converge where pixels are coarse, and a spectrum needs none.
        alm = map_to_alm(maps, nside, reach, precision=precision, iterations=0, nthreads=nthreads)
        totals = measured_totals(deconvolved(alm, optics), model, mask_moment(prepared.mask, 2))
        signal = {key: scaled_signal(signal[key], model[key], totals[key]) for key in totals}
    return GaussianSkies(
        recipe,
        prepared.setting,
        totals,
        optics,
        nside,
        prepared.mask,
        prepared.filtering,
        signal,
        prepared.pattern,
        nthreads,
        quadratic,
    )


def with_gaussian(
    prepared: Preparation,
    results: GaussianResults,
    lmax_phi: int,
    *,
    executor: Workers = None,
    progress: Progress | None = None,
    nthreads: int = 0,
) -> Preparation:
    """The same with what Gaussian skies have told, and with pairs of them for RDN0."""
    pairs = SimulatedPairs(prepared.setting, results.legs, results.count, lmax_phi, progress, nthreads, executor)
    return replace(prepared, gaussian=results, pairs=pairs)


def scaled_signal(signal: NDArray, model: NDArray, totals: NDArray) -> NDArray[np.float64]:
    """The signal's share of measured total power, as it is of the model's."""
    cut = signal[: len(model)]
    return np.divide(cut * totals, model, out=np.array(cut, dtype=np.float64), where=model != 0)


_KNOWN: dict[tuple[str, int, bool], FirstOrder] = {}
"""N1 of the last recipes, which reconstructions of one sky after the other in a notebook ask for again and again."""


def _first_order_of(recipe: Recipe, setting: Setting, nside: int, nthreads: int) -> FirstOrder:
    name = (recipe.sha256(), nside, setting.polarised)
    if name not in _KNOWN:
        while len(_KNOWN) >= 4:
            _KNOWN.pop(next(iter(_KNOWN)))
        _KNOWN[name] = first_order(setting, nthreads=nthreads)
    return _KNOWN[name]

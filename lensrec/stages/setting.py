"""What a recipe fixes before any map is seen: spectra, beam, noise, filters, weights and normalisation."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from lensrec.filtering.isotropic import inverse_variance, total_spectra
from lensrec.quadratic.combination import minimum_variance_weights
from lensrec.quadratic.products import PRODUCTS
from lensrec.quadratic.response import Normalisation, normalisation
from lensrec.recipe import Instrument, Recipe
from lensrec.sky.instrument import gaussian_beam, noise_spectrum, total_noise_deconvolved
from lensrec.sky.pixel_window import pixel_window
from lensrec.theory.boltzmann import camb_spectra
from lensrec.theory.spectra import TheorySpectra

MV = "MV"

# Of the spectra that weight gradient legs: C^BB would cost EB two more transforms for a signal-to-noise higher by
# (C^BB/C^EE)², below 1e-4.
WEIGHTS = ("TT", "EE", "TE")

# What CAMB gives at low ℓ depends on how far it is asked to go, C_L^φφ by 3e-4: it is asked to go to multiples of
# this, so that a seed gives the same sky at another band limit.
THEORY_STEP = 4000


@dataclass(frozen=True)
class Optics:
    """Transfer functions of the instrument, (lmax+1,) each: beam times pixel window, for T and for P."""

    temperature: NDArray[np.float64]
    polarisation: NDArray[np.float64]

    def of(self, field: str) -> NDArray[np.float64]:
        """The transfer function of "T", "E" or "B"."""
        return self.temperature if field == "T" else self.polarisation

    def up_to(self, lmax: int) -> "Optics":
        """The same, cut."""
        return Optics(self.temperature[: lmax + 1], self.polarisation[: lmax + 1])


@dataclass(frozen=True)
class Setting:
    """All that the estimators of one recipe need, whatever the map.

    Attributes
    ----------
    keys : tuple of str
        Estimators asked for, "MV" among them or not.
    parts : tuple of str
        The quadratic estimators to be evaluated: those asked for, and all that MV is made of.
    weights, signal, totals : dict of spectra
        Weights of the gradient legs, the spectra that respond to lensing, and signal + noise/transfer².
    filters : dict of "T", "E", "B" to array
    norm : Normalisation
    mv_weights : dict of key to array (2, L_max+1)
    response, n0 : dict of key to array (2, L_max+1)
        For φ and Ω, MV included; R of MV is 1/N0.
    cl_phi : array (L_max+1,)
        Fiducial C_L^φφ.
    """

    keys: tuple[str, ...]
    parts: tuple[str, ...]
    weights: dict[str, NDArray]
    signal: dict[str, NDArray]
    totals: dict[str, NDArray]
    filters: dict[str, NDArray]
    norm: Normalisation
    mv_weights: dict[str, NDArray]
    response: dict[str, NDArray]
    n0: dict[str, NDArray]
    cl_phi: NDArray

    @property
    def polarised(self) -> bool:
        """Whether any estimator reads Q and U."""
        return bool({"E", "B"} & set(self.filters))


def theory_of(recipe: Recipe) -> TheorySpectra:
    """Spectra for a recipe's cosmology, up to the highest multipole that any of its stages reads."""
    rec = recipe.reconstruction
    lmax = max(recipe.sky.lmax, rec.lmax_t, rec.lmax_p, rec.L_max)
    parameters = tuple(sorted(recipe.cosmology.parameters().items()))
    computed = -(-lmax // THEORY_STEP) * THEORY_STEP
    return _theory(computed, parameters, recipe.cosmology.lens_potential_accuracy).truncated(lmax)


@lru_cache(maxsize=4)
def _theory(lmax: int, parameters: tuple[tuple[str, float], ...], accuracy: float) -> TheorySpectra:
    return camb_spectra(lmax, cosmology=dict(parameters), lens_potential_accuracy=accuracy)


def optics_of(instrument: Instrument, nside: int, lmax: int) -> Optics:
    """Beam times pixel window up to lmax."""
    beam = gaussian_beam(instrument.fwhm_rad, lmax)
    if instrument.pixel_window == "none":
        return Optics(beam, beam)
    window_t, window_p = pixel_window(nside, lmax)
    return Optics(beam * window_t, beam * window_p)


def noise_of(instrument: Instrument, lmax: int) -> dict[str, NDArray[np.float64]]:
    """Noise spectra of the map as observed, before anything is deconvolved: "TT", "EE", "BB", µK²."""
    temperature = noise_spectrum(lmax, level=instrument.noise_t_rad, lknee=instrument.lknee_t, slope=instrument.slope_t)
    polarisation = noise_spectrum(
        lmax, level=instrument.noise_p_rad, lknee=instrument.lknee_p, slope=instrument.slope_p
    )
    return {"TT": temperature, "EE": polarisation, "BB": polarisation}


def observed_totals(recipe: Recipe, theory: TheorySpectra, nside: int, lmax: int) -> dict[str, NDArray]:
    """Signal + noise/transfer² of beam-deconvolved data, up to lmax."""
    optics, noise = optics_of(recipe.instrument, nside, lmax), noise_of(recipe.instrument, lmax)
    deconvolved = {key: total_noise_deconvolved(noise[key], optics.of(key[0])) for key in noise}
    return total_spectra(theory.lensed, deconvolved, lmax)


def parts_of(recipe: Recipe, *, temperature_only: bool = False) -> list[str]:
    """The quadratic estimators to be evaluated: those that a recipe asks for, and all that MV is made of."""
    asked = [str(key) for key in recipe.reconstruction.estimators]
    possible = [key for key in PRODUCTS if not temperature_only or key == "TT"]
    return [key for key in possible if key in asked or MV in asked]


def setting_of(
    recipe: Recipe,
    theory: TheorySpectra,
    nside: int,
    *,
    temperature_only: bool = False,
    nthreads: int = 0,
) -> Setting:
    """Filters, weights and normalisation of a recipe's estimators.

    Parameters
    ----------
    nside : int
        Of the map, for its pixel window.
    temperature_only : bool
        The map has no Q and U: estimators that need them are left out.

    Raises
    ------
    ValueError
        If no estimator is left.
    """
    rec = recipe.reconstruction
    asked = [str(key) for key in rec.estimators]
    parts = parts_of(recipe, temperature_only=temperature_only)
    keys = [key for key in asked if key in parts or (key == MV and len(parts) > 1)]
    if not parts:
        raise ValueError(f"the map has temperature alone, which gives TT; {', '.join(asked)} need polarisation")
    keys = keys or parts
    lmax = max(rec.lmax_t, rec.lmax_p)
    totals = observed_totals(recipe, theory, nside, lmax)
    ranges = {"T": (rec.lmin_t, rec.lmax_t), "E": (rec.lmin_p, rec.lmax_p), "B": (rec.lmin_p, rec.lmax_p)}
    fields = {field for key in parts for field in key}
    filters = {field: inverse_variance(totals[field + field], *ranges[field]) for field in sorted(fields)}
    signal = {key: theory.gradient[key][: lmax + 1] for key in ("TT", "EE", "BB", "TE")}
    source = getattr(theory, rec.gradient_weights)
    weights = {key: source[key][: lmax + 1] for key in WEIGHTS} | {"BB": np.zeros(lmax + 1)}
    norm = normalisation(parts, weights, signal, filters, totals, rec.L_max, nthreads=nthreads)
    response = {key: norm.response[key] for key in parts}
    n0 = {key: norm.n0(key) for key in parts}
    mv_weights: dict[str, NDArray] = {}
    if MV in keys:
        mv_weights, n0[MV] = minimum_variance_weights(norm)
        response[MV] = np.divide(1.0, n0[MV], out=np.zeros_like(n0[MV]), where=n0[MV] > 0)
    cl_phi = theory.potential["PP"][: rec.L_max + 1]
    return Setting(tuple(keys), tuple(parts), weights, signal, totals, filters, norm, mv_weights, response, n0, cl_phi)

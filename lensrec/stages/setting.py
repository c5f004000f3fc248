"""What a recipe fixes before any map is seen: spectra, beam, noise, filters, weights and normalisation."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from lensrec.filtering.isotropic import inverse_variance, total_spectra
from lensrec.quadratic.combination import minimum_variance_weights
from lensrec.quadratic.contaminants import Contaminant, modulation, point_sources, uneven_noise
from lensrec.quadratic.hardening import Hardening, hardening, response_matrix
from lensrec.quadratic.joint import joint_filters, joint_normalisation
from lensrec.quadratic.products import GMV, PRODUCTS
from lensrec.quadratic.response import Normalisation, normalisation
from lensrec.recipe import Instrument, Recipe
from lensrec.sky.instrument import gaussian_beam, noise_spectrum, total_noise_deconvolved
from lensrec.sky.pixel_window import pixel_window
from lensrec.theory.boltzmann import camb_spectra
from lensrec.theory.spectra import TheorySpectra

MV = "MV"
TTH = "TTH"

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
        Each field's own.
    joint : dict of "TT", "TE", "EE", "BB" to array
        The filter matrix of T and P together, for GMV; empty without it.
    norm : Normalisation
        Of the parts.
    fields : dict of name to Contaminant
        What TTH is hardened against; empty without it.
    hardened : Hardening or None
        How.
    mv_weights : dict of key to array (2, L_max+1)
    response, n0 : dict of key to array (2, L_max+1)
        For φ and Ω, MV included; R of MV is 1/N0.
    cl_phi : array (L_max+1,)
        Fiducial C_L^φφ.
    cl_lens : array
        The same as far as theory goes.
    """

    keys: tuple[str, ...]
    parts: tuple[str, ...]
    weights: dict[str, NDArray]
    signal: dict[str, NDArray]
    totals: dict[str, NDArray]
    filters: dict[str, NDArray]
    joint: dict[str, NDArray]
    norm: Normalisation
    fields: dict[str, Contaminant]
    hardened: Hardening | None
    mv_weights: dict[str, NDArray]
    response: dict[str, NDArray]
    n0: dict[str, NDArray]
    cl_phi: NDArray
    cl_lens: NDArray

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
    spectra = camb_spectra(lmax, cosmology=dict(parameters), lens_potential_accuracy=accuracy)
    import camb

    # CAMB keeps half a GB of Bessel functions, which nothing will ask for again where spectra are kept
    camb.free_global_memory()
    return spectra


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
    return [key for key in possible if key in asked or MV in asked or (key == "TT" and TTH in asked)]


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
    sums = {MV: len(parts) > 1, GMV: not temperature_only, TTH: True}
    keys = [key for key in asked if key in parts or sums.get(key)]
    if not parts and not keys:
        raise ValueError(f"the map has temperature alone, which gives TT; {', '.join(asked)} need polarisation")
    keys = keys or parts
    lmax = max(rec.lmax_t, rec.lmax_p)
    totals = observed_totals(recipe, theory, nside, lmax)
    ranges = {"T": (rec.lmin_t, rec.lmax_t), "E": (rec.lmin_p, rec.lmax_p), "B": (rec.lmin_p, rec.lmax_p)}
    read = set("TEB") if GMV in keys else {field for key in parts for field in key}
    filters = {field: inverse_variance(totals[field + field], *ranges[field]) for field in sorted(read)}
    signal = {key: theory.gradient[key][: lmax + 1] for key in ("TT", "EE", "BB", "TE")}
    source = getattr(theory, rec.gradient_weights)
    weights = {key: source[key][: lmax + 1] for key in WEIGHTS} | {"BB": np.zeros(lmax + 1)}
    norm = normalisation(parts, weights, signal, filters, totals, rec.L_max, nthreads=nthreads)
    response = {key: norm.response[key] for key in parts}
    n0 = {key: norm.n0(key) for key in parts}
    joint: dict[str, NDArray] = {}
    if GMV in keys:
        joint = joint_filters(totals, ranges)
        whole = joint_normalisation(weights, signal, joint, totals, rec.L_max, nthreads=nthreads)
        response[GMV], n0[GMV] = whole.response[GMV], whole.n0(GMV)
    fields: dict[str, Contaminant] = {}
    hard = None
    if TTH in keys:
        fields = _contaminants(recipe, signal, nside, lmax)
        hard = hardening_of(fields, weights, signal, filters, totals, rec.L_max, nthreads=nthreads)
        response[TTH], n0[TTH] = hard.norm.response["TT"], hard.norm.n0("TT")
    mv_weights: dict[str, NDArray] = {}
    if MV in keys:
        mv_weights, n0[MV] = minimum_variance_weights(norm)
        response[MV] = np.divide(1.0, n0[MV], out=np.zeros_like(n0[MV]), where=n0[MV] > 0)
    cl_phi = theory.potential["PP"][: rec.L_max + 1]
    return Setting(
        keys=tuple(keys),
        parts=tuple(parts),
        weights=weights,
        signal=signal,
        totals=totals,
        filters=filters,
        joint=joint,
        norm=norm,
        fields=fields,
        hardened=hard,
        mv_weights=mv_weights,
        response=response,
        n0=n0,
        cl_phi=cl_phi,
        cl_lens=theory.potential["PP"],
    )


def hardening_of(
    fields: Mapping[str, Contaminant],
    weights: Mapping[str, NDArray],
    signal: Mapping[str, NDArray],
    filters: Mapping[str, NDArray],
    totals: Mapping[str, NDArray],
    lmax_phi: int,
    *,
    nthreads: int = 0,
) -> Hardening:
    """TT hardened against all of some fields, with its noise for the given power."""
    matrix = response_matrix(["TT"], fields, weights, signal, filters, totals, lmax_phi, nthreads=nthreads)
    return hardening(matrix)


def _contaminants(recipe: Recipe, signal: Mapping[str, NDArray], nside: int, lmax: int) -> dict[str, Contaminant]:
    """The fields of reconstruction.harden."""
    makers = {
        "mask": lambda: modulation(signal),
        "noise": lambda: uneven_noise(optics_of(recipe.instrument, nside, lmax).temperature),
        "sources": lambda: point_sources(lmax),
    }
    return {name: makers[name]() for name in recipe.reconstruction.harden}

"""Reconstruct: from maps to φ̂, κ̂ and band powers of C_L^φφ."""

import logging
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lensrec.bias.mean_field import MeanField
from lensrec.engine import Workers
from lensrec.quadratic.estimators import quadratic_estimates
from lensrec.recipe import Recipe
from lensrec.recipe_checks import invertible_lmax
from lensrec.spectra.bandpowers import Bands
from lensrec.sphere.alm import scale_alm
from lensrec.stages.debias import Biases, gaussian_biases
from lensrec.stages.estimate import estimate_phi
from lensrec.stages.first_order import FirstOrder
from lensrec.stages.gaussian import GaussianMaker, in_memory
from lensrec.stages.legs import Legs, leg_spectra
from lensrec.stages.masking import mask_moment, mask_of
from lensrec.stages.phi_bandpowers import phi_bandpowers
from lensrec.stages.placing import Quadratic, quadratic_of
from lensrec.stages.prepare import Preparation, gaussian_skies, prepare, with_gaussian
from lensrec.stages.response import SimulatedResponse
from lensrec.stages.setting import MV, Setting
from lensrec.view.wiener import kappa_map, wiener_filtered

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """Estimates of the lensing potential from one map, and all that is needed to read them.

    Attributes
    ----------
    recipe : Recipe
    setting : Setting
    estimates : dict of key to array (2, nalm)
        φ̂ and Ω̂ as estimated, before a mean field is taken off; weighted by the squared mask on a cut sky.
    mean_fields : dict of key to MeanField
        Empty where none was asked for.
    mask : array (npix,) or None
    biases : Biases
        N0 of these very maps, and where it comes from.
    first_order : FirstOrder or None
        N1 as a function of C^φφ; None where it is left in.
    simulated_response : SimulatedResponse or None
        The response found by lensed skies, where that was asked for.
    """

    recipe: Recipe
    setting: Setting
    estimates: dict[str, NDArray]
    mean_fields: dict[str, MeanField]
    mask: NDArray | None
    biases: Biases
    first_order: FirstOrder | None = None
    simulated_response: SimulatedResponse | None = None

    @property
    def keys(self) -> tuple[str, ...]:
        """The estimators, in the order asked for."""
        return tuple(self.estimates)

    @property
    def best(self) -> str:
        """MV where it is there, else the estimator of the lowest noise where lensing is strongest."""
        if MV in self.estimates:
            return MV
        return min(self.estimates, key=lambda key: float(np.sum(self.n0[key][30:200] / self.setting.cl_phi[30:200])))

    @property
    def phi(self) -> dict[str, NDArray]:
        """φ̂_LM by estimator, mean field taken off, (nalm,) each."""
        return {key: self._clean(key)[0] for key in self.estimates}

    @property
    def curl(self) -> dict[str, NDArray]:
        """Ω̂_LM by estimator, likewise: zero but for noise, and so a null test."""
        return {key: self._clean(key)[1] for key in self.estimates}

    @property
    def response(self) -> dict[str, NDArray]:
        """R_L of φ by estimator, from L = 0; 1/N0 for MV."""
        return {key: self.setting.response[key][0] for key in self.estimates}

    @property
    def n0(self) -> dict[str, NDArray]:
        """Analytic N0_L of φ̂ by estimator, from L = 0."""
        return {key: self.setting.n0[key][0] for key in self.estimates}

    def moment(self, power: int) -> float:
        """⟨w^n⟩ of the mask, or the fraction of the sky that an optimal filter sees; 1 for the whole sky."""
        return mask_moment(self.mask, power, self.recipe.reconstruction.filter)

    def divided_response(self, key: str, bands: Bands) -> NDArray[np.float64]:
        """The Monte-Carlo response of each band, by which φ̂ is divided; 1 where that was not asked for."""
        if self.simulated_response is None or self.recipe.reconstruction.mc_response != "apply":
            return np.ones(len(bands.centres))
        return self.simulated_response.in_bands(key, bands)

    def kappa_map(self, key: str | None = None, *, nside: int = 0, wiener: bool = False) -> NDArray:
        """The convergence κ = L(L+1)/2 φ̂ as a HEALPix map (npix,), dimensionless.

        Parameters
        ----------
        key : str
            An estimator; the best one by default.
        nside : int
            0: that of the recipe.
        wiener : bool
            Multiply by C^φφ/(C^φφ + N0) first, which makes the map legible.
        """
        key = key or self.best
        phi = self._clean(key)[0]
        if wiener:
            phi = wiener_filtered(phi, self.setting.cl_phi, self.n0[key])
        read = np.arange(self.recipe.reconstruction.L_max + 1) >= self.recipe.reconstruction.L_min
        return kappa_map(scale_alm(phi, read), nside or self.recipe.sky.nside)

    def bandpowers(self, phi_in: NDArray | None = None) -> dict[str, NDArray]:
        """Band powers of every estimator; see `phi_bandpowers`."""
        return phi_bandpowers(self, phi_in)

    def _clean(self, key: str) -> NDArray:
        if key not in self.estimates:
            raise ValueError(f"no estimator {key!r} in this reconstruction: there are {', '.join(self.estimates)}")
        estimate = self.estimates[key]
        return estimate - self.mean_fields[key].mean if key in self.mean_fields else estimate

    def _repr_html_(self) -> str:
        from lensrec.stages.show import reconstruction_html

        return reconstruction_html(self)


def reconstruct(
    maps: NDArray,
    recipe: Recipe,
    *,
    mask: NDArray | None = None,
    masked: bool = True,
    prepared: Preparation | None = None,
    gaussian: GaussianMaker | None = None,
    quadratic: Quadratic | None = None,
    executor: Workers = None,
    nthreads: int = 0,
) -> Reconstruction:
    """Reconstruct φ from one map.

    Parameters
    ----------
    maps : array (npix,), (1, npix) or (3, npix)
        I, or I, Q, U; HEALPix RING, µK, COSMO. The nside may differ from the recipe's.
    recipe : Recipe
        Its instrument, mask and reconstruction describe the map.
    mask : array (npix,), optional
        Apodised weights; the recipe's by default where `maps` carry it, none where they do not.
    masked : bool
        Whether `maps` carry the mask already, as simulated data do.
    prepared : Preparation, optional
        Of this recipe, nside and mask, where it has been made before.
    gaussian : function of GaussianSkies, optional
        Draws `reconstruction.mean_field_sims` Gaussian skies with the power of `maps`, where they have not been
        prepared; by default in memory.
    quadratic : function like `quadratic_estimates`, optional
        Where it runs; on what the recipe's compute.backend says by default.
    executor : Engine or Executor, optional
        Where pairs of `maps` with Gaussian skies are made; in this process by default.
    nthreads : int

    Returns
    -------
    Reconstruction

    Raises
    ------
    NoDevice
        A ValueError: if the recipe asks for a GPU that cannot be had.
    ValueError
        If maps or mask have not the shape of HEALPix maps, hold pixels that are no temperature, or are too coarse
        for the recipe's multipoles; or if no estimator can be made from them.
    """
    maps = np.atleast_2d(maps)
    nside = _checked_nside(maps, mask, recipe)
    rec = recipe.reconstruction
    if prepared is None:
        mask = mask_of(recipe.mask, nside) if mask is None and masked else mask
        prepared = prepare(recipe, nside, mask, temperature_only=len(maps) == 1, nthreads=nthreads)
    setting, mask = prepared.setting, prepared.mask
    data = maps if mask is None or masked else maps * mask
    used = data if setting.polarised else data[:1]
    if quadratic is None:
        quadratic = quadratic_of(recipe, temperature_only=not setting.polarised, nthreads=nthreads)
    legs = prepared.filtering(used)
    _warn_of_power(legs, setting, mask_moment(mask, 2, rec.filter), rec.lmin_t, rec.lmax_t)
    if prepared.gaussian is None and rec.mean_field_sims:
        skies = gaussian_skies(recipe, prepared, nside, used, quadratic=quadratic, nthreads=nthreads)
        results = (gaussian or in_memory)(skies)
        prepared = with_gaussian(prepared, results, rec.L_max, executor=executor, nthreads=nthreads)
    return reconstruct_legs(legs, recipe, prepared, quadratic=quadratic, nthreads=nthreads)


def reconstruct_legs(
    legs: Legs,
    recipe: Recipe,
    prepared: Preparation,
    *,
    quadratic: Quadratic = quadratic_estimates,
    nthreads: int = 0,
) -> Reconstruction:
    """Reconstruct φ from the legs of a map, with the Gaussian skies that have been prepared, if any."""
    setting, mask, rec, results = prepared.setting, prepared.mask, recipe.reconstruction, prepared.gaussian
    estimates = estimate_phi(legs, setting, rec.L_max, quadratic=quadratic, nthreads=nthreads)
    w2, w4, w8 = (mask_moment(mask, n, rec.filter) for n in (2, 4, 8))
    biases = gaussian_biases(
        setting,
        legs,
        rec.rdn0,
        fsky=w2,
        w4=w4,
        modes_share=w4**2 / w8,
        gaussian=results,
        pairs=prepared.pairs,
        nthreads=nthreads,
    )
    return Reconstruction(
        recipe,
        setting,
        estimates,
        {} if results is None else dict(results.fields),
        mask,
        biases,
        prepared.first_order,
        prepared.simulated_response,
    )


def _warn_of_power(legs: Legs, setting: Setting, fsky: float, lmin: int, lmax: int) -> None:
    """Say so where the temperature has nothing like the power that beam, noise and units would give it."""
    if "T" not in legs.separate:
        return
    band = slice(lmin, lmax + 1)
    modes = 2.0 * np.arange(lmin, lmax + 1) + 1
    found = np.average(leg_spectra(legs, setting, fsky)["TT"][band] / setting.totals["TT"][band], weights=modes)
    if not 0.5 < found < 2.0:
        log.warning(
            "the map has %.3g times the power that its beam and noise would give it for %d ≤ ℓ ≤ %d: "
            "check units, beam, noise, mask and the order of I, Q, U",
            found,
            lmin,
            lmax,
        )


def _checked_nside(maps: NDArray, mask: NDArray | None, recipe: Recipe) -> int:
    nside = round((maps.shape[-1] / 12) ** 0.5)
    if len(maps) not in (1, 3) or 12 * nside**2 != maps.shape[-1]:
        raise ValueError(f"maps must be (1 or 3, 12 nside²), got {maps.shape}")
    if mask is not None and np.shape(mask) != maps.shape[1:]:
        raise ValueError(f"the mask must have one weight for each pixel, {maps.shape[1:]}, got {np.shape(mask)}")
    bad = maps.size - np.count_nonzero(np.abs(maps) < 1e20)
    if bad:
        raise ValueError(f"{bad} values of the maps are NaN or UNSEEN; set them to 0, with a mask that is 0 there")
    top = invertible_lmax(nside)
    for key in ("lmax_t", "lmax_p"):
        if (lmax := getattr(recipe.reconstruction, key)) > top:
            raise ValueError(
                f"reconstruction.{key}: {lmax} is more than the map's pixels of nside {nside} can carry; at most {top}"
            )
    return nside

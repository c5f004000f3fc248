"""Reconstruct: from maps to φ̂, κ̂ and band powers of C_L^φφ."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lensrec.bias.mean_field import MeanField, subtracted_spectrum
from lensrec.quadratic.estimators import quadratic_estimates
from lensrec.recipe import Recipe
from lensrec.recipe_checks import invertible_lmax
from lensrec.spectra.bandpowers import bin_spectrum, gaussian_sigma, make_bands
from lensrec.sphere.alm import alm_to_cl, resize_alm, scale_alm
from lensrec.stages.estimate import deconvolved, estimate_phi, map_to_alm, measured_totals
from lensrec.stages.gaussian import GaussianFields, GaussianSkies, in_memory
from lensrec.stages.masking import mask_of
from lensrec.stages.placing import Quadratic, estimation_backend, quadratic_on
from lensrec.stages.setting import MV, Setting, observed_totals, optics_of, setting_of, theory_of
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
    """

    recipe: Recipe
    setting: Setting
    estimates: dict[str, NDArray]
    mean_fields: dict[str, MeanField]
    mask: NDArray | None

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
    setting: Setting | None = None,
    mean_fields: Mapping[str, MeanField] | GaussianFields | None = None,
    quadratic: Quadratic | None = None,
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
    setting : Setting, optional
        Of this recipe and nside, where it has been made before.
    mean_fields : dict of key to MeanField, or a function that makes one, optional
        By default, from `reconstruction.mean_field_sims` Gaussian skies with the power of `maps`, if not zero.
    quadratic : function like `quadratic_estimates`, optional
        Where it runs; on what the recipe's compute.backend says by default.
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
    mask = mask_of(recipe.mask, nside) if mask is None and masked else mask
    data = maps if mask is None or masked else maps * mask
    rec = recipe.reconstruction
    if setting is None:
        setting = setting_of(recipe, theory_of(recipe), nside, temperature_only=len(data) == 1, nthreads=nthreads)
    lmax = len(setting.totals["TT"]) - 1
    optics = optics_of(recipe.instrument, nside, lmax)
    used = data if setting.polarised else data[:1]
    alm = deconvolved(map_to_alm(used, nside, lmax, precision=rec.precision, nthreads=nthreads), optics)
    if quadratic is None:
        quadratic = quadratic_on(estimation_backend(recipe, temperature_only=not setting.polarised, nthreads=nthreads))
    estimates = estimate_phi(alm, setting, rec.L_max, quadratic=quadratic, nthreads=nthreads)
    w2 = 1.0 if mask is None else float(np.mean(mask**2))
    _warn_of_power(alm, setting, w2, rec.lmin_t, rec.lmax_t)
    if mean_fields is None:
        mean_fields = in_memory
    if callable(mean_fields):
        make, mean_fields = mean_fields, {}
        if rec.mean_field_sims:
            mean_fields = make(_gaussian_skies(used, recipe, setting, nside, mask, w2, nthreads, quadratic))
    return Reconstruction(recipe, setting, estimates, dict(mean_fields), mask)


def _gaussian_skies(
    maps: NDArray,
    recipe: Recipe,
    setting: Setting,
    nside: int,
    mask: NDArray | None,
    w2: float,
    nthreads: int,
    quadratic: Quadratic = quadratic_estimates,
) -> GaussianSkies:
    """Skies with the power of these maps, as far as the maps have any.

    A mask carries power across the highest multipole that is read, so what the skies lacked beyond it would be missing
    below it, too: their band limit is that of the data, not of the filters.
    """
    reach = recipe.sky.lmax_data
    optics = optics_of(recipe.instrument, nside, reach)
    # No iterations: they do not converge where pixels are coarse, and a spectrum needs none.
    precision = recipe.reconstruction.precision
    alm = deconvolved(map_to_alm(maps, nside, reach, precision=precision, iterations=0, nthreads=nthreads), optics)
    totals = measured_totals(alm, observed_totals(recipe, theory_of(recipe), nside, reach), w2)
    return GaussianSkies(recipe, setting, totals, optics, nside, mask, nthreads, quadratic)


def _warn_of_power(alm: Mapping[str, NDArray], setting: Setting, w2: float, lmin: int, lmax: int) -> None:
    """Say so where the temperature has nothing like the power that beam, noise and units would give it."""
    band = slice(lmin, lmax + 1)
    modes = 2.0 * np.arange(lmin, lmax + 1) + 1
    found = np.average(alm_to_cl(alm["T"])[band] / setting.totals["TT"][band], weights=modes) / w2
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


def phi_bandpowers(rec: Reconstruction, phi_in: NDArray | None = None) -> dict[str, NDArray]:
    """Band powers [L(L+1)]²/2π C_L^φφ of every estimator K, N0 taken off.

    Parameters
    ----------
    rec : Reconstruction
    phi_in : array (nalm,), optional
        The φ that lensed the sky, where it is known.

    Returns
    -------
    dict of column to array (nbins,)
        L_low, L_high (the last L of the band), L (mean), fiducial; for each K: auto_K, sigma_K (Gaussian), n0_K (what
        was taken off), curl_K (that of Ω̂) and curl_sigma_K; with `phi_in` also input, cross_K (φ̂ × φ_in), transfer_K =
        φ̂×φ_in / φ_in×φ_in and its standard deviation transfer_sigma_K.

    Notes
    -----
    The mask enters through its moments: ⟨w⁴⟩ in the auto-spectrum of φ̂, which carries w², ⟨w²⟩ in the cross-spectrum
    with an unmasked φ_in. With a mean field, N0 is the mean spectrum of the masked Gaussian skies. The Gaussian sigma
    leaves out that N0 follows the power of this very sky, which correlates bands and adds some 30 % to their scatter.
    """
    recipe = rec.recipe.reconstruction
    w2, w4, w8 = 1.0, 1.0, 1.0
    if rec.mask is not None:
        w2, w4, w8 = (float(np.mean(rec.mask**n)) for n in (2, 4, 8))
    cl_phi = rec.setting.cl_phi
    bands = make_bands(recipe.bin_edges, _band_variance(rec))
    columns: dict[str, NDArray] = {
        "L_low": bands.edges[:-1],
        "L_high": bands.edges[1:] - 1,
        "L": bands.centres,
        "fiducial": bin_spectrum(cl_phi, bands),
    }
    if phi_in is not None:
        phi_in = resize_alm(phi_in, recipe.L_max)
        cl_in = alm_to_cl(phi_in)
        columns["input"] = bin_spectrum(cl_in, bands)
    for key, estimate in rec.estimates.items():
        if key in rec.mean_fields:
            auto, noise = (
                subtracted_spectrum(estimate, rec.mean_fields[key]) / w4,
                rec.mean_fields[key].gaussian_bias / w4,
            )
        else:
            auto, noise = np.stack([alm_to_cl(row) for row in estimate]) / w4, rec.setting.n0[key]
        columns[f"auto_{key}"] = bin_spectrum(auto[0] - noise[0], bands)
        columns[f"sigma_{key}"] = gaussian_sigma(cl_phi + rec.setting.n0[key][0], bands, w4**2 / w8)
        columns[f"n0_{key}"] = bin_spectrum(noise[0], bands)
        columns[f"curl_{key}"] = bin_spectrum(auto[1] - noise[1], bands)
        columns[f"curl_sigma_{key}"] = gaussian_sigma(rec.setting.n0[key][1], bands, w4**2 / w8)
        if phi_in is not None:
            # Its scatter at fixed φ_in is that of φ̂'s noise against φ_in: variance C_in (C + N0)/(2L+1) at most.
            # No N0 here, and no mean field either: neither correlates with the input.
            cross = bin_spectrum(alm_to_cl(estimate[0], phi_in) / w2, bands)
            spread = gaussian_sigma(np.sqrt(0.5 * cl_in * (cl_phi + rec.setting.n0[key][0])), bands, w2**2 / w4)
            columns |= {
                f"cross_{key}": cross,
                f"transfer_{key}": cross / columns["input"],
                f"transfer_sigma_{key}": spread / columns["input"],
            }
    return columns


def _band_variance(rec: Reconstruction) -> NDArray[np.float64]:
    """(C^φφ + N0)² of the best estimator: the weights of all, so that band powers of different ones compare."""
    return np.where(rec.n0[rec.best] > 0, (rec.setting.cl_phi + rec.n0[rec.best]) ** 2, 0.0)

"""Skies whose two lensing amplitudes are put in apart, through band powers and the fit of both."""

from dataclasses import replace
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np

from lensrec.fit.band_power_model import POTENTIAL, SMOOTHING, BandPowerModel, band_power_model
from lensrec.fit.split import Split, split
from lensrec.recipe import Recipe
from lensrec.recipe_split import QUADRATURE
from lensrec.rundir import create_run, write_theory
from lensrec.sky.io import write_map
from lensrec.spectra.linear_data import LinearData
from lensrec.sphere.grids import gauss_legendre_grid
from lensrec.sphere.remap import remap_tp
from lensrec.sphere.sht import analysis_tp
from lensrec.stages.bandpowers import SharedBands, shared_bands
from lensrec.stages.gaussian import on_disk
from lensrec.stages.masking import mask_of
from lensrec.stages.phi_bandpowers import phi_bandpowers
from lensrec.stages.prepare import gaussian_skies
from lensrec.stages.prepare_run import prepare_run
from lensrec.stages.reconstruct import reconstruct_legs
from lensrec.stages.setting import theory_of
from lensrec.stages.simulate import draw_sky, observe
from lensrec.stages.split import fitted_range, recipe_surface
from lensrec.theory.lensing import lensed_spectra
from tests.validate.masked import say
from tests.validate.store import kept

AMPLITUDES = ((1.0, 1.0), (1.18, 1.0), (1.0, 1.1), (1.18, 1.18))
"""A_L^TTTEEE and A_L^φφ that are put in."""

COUNT = 40
FURTHER = 58
"""Skies with the first pair alone, beyond those: the mean of 40 came out 2.7 of its errors low in A_L^φφ."""
REGIONS = {"full": {}, "cut": {"galactic_cut": "36.9 deg", "apodisation": "2 deg"}}


@lru_cache(maxsize=4)
def recipe_of(region: str) -> Recipe:
    """The split recipe, with fiducial amplitudes, on the whole sky or on four tenths of it."""
    settings = {"sky": {"a_smooth": 1.0, "epsilon": 1e-5, "precision": "single", "seed": 7100}}
    settings["reconstruction"] = {"precision": "single", "L_min": 2}
    # Measured as far as φ̂ is, and fitted as far as is the default: see `fitted`.
    settings["bandpowers"] = {"lmax": 1300}
    if region == "cut":
        settings["mask"] = REGIONS["cut"]
        settings["reconstruction"] |= {"mean_field_sims": 40, "mc_response": "apply", "response_sims": 8}
    changes = [f"{section}.{key}={value}" for section, part in settings.items() for key, value in part.items()]
    return Recipe.load("split", changes)


def amplitude_sky(number: int) -> dict[str, np.ndarray]:
    """T, E, B of one sky: number = 4 sim + which pair of AMPLITUDES; the same random numbers for all four."""
    sim, which = divmod(number, len(AMPLITUDES))
    a_smooth, a_phi = AMPLITUDES[which]
    base = recipe_of("full")
    recipe = base.model_copy(update={"sky": base.sky.model_copy(update={"a_smooth": a_smooth, "a_phi": a_phi})})
    unlensed, phi = draw_sky(recipe, theory_of(base), sim)
    # Aliases of this grid are far below the noise: 800 beyond the band limit, not 2000, will do.
    grid = gauss_legendre_grid(base.sky.lmax + 800 + base.sky.lmax_data)
    return {"alm": analysis_tp(remap_tp(unlensed, phi, grid, epsilon=1e-5), grid, base.sky.lmax_data)}


class Region:
    """What the skies of one region share, made once."""

    def __init__(self, name: str, store: Path) -> None:
        self.name, self.store, self.recipe = name, store / "amplitudes", recipe_of(name)
        run = create_run(self.store / name, self.recipe, command=["make", "validate"])
        nside, self.mask = self.recipe.sky.nside, mask_of(self.recipe.mask, self.recipe.sky.nside)
        theory = theory_of(self.recipe)
        if not run.has(run.theory):
            write_theory(run, theory)
            if self.mask is not None:
                write_map(run.path / "mask.fits", self.mask, unit="", column_names=["MASK"])
        self.prepared = prepare_run(run, self.mask, progress=say)
        if self.recipe.reconstruction.mean_field_sims:
            skies = gaussian_skies(self.recipe, self.prepared, nside)
            self.prepared = replace(self.prepared, gaussian=on_disk(run, say, skies))

    def amplitude_powers(self, number: int) -> dict[str, np.ndarray]:
        """Band powers of T and E, and the table of those of φ̂, of a sky in this region."""
        sky = kept(self.store, amplitude_sky, number)
        maps = observe(self.recipe, sky["alm"], number // len(AMPLITUDES))
        if self.mask is not None:
            maps = maps * self.mask
        rec = reconstruct_legs(self.prepared.filtering(maps), self.recipe, self.prepared)
        return {"cmb": self.shared(rec).cmb(maps), **phi_bandpowers(rec)}

    def shared(self, rec) -> SharedBands:
        """Windows and covariance, from the first sky that comes."""
        if not hasattr(self, "_shared"):
            theory = theory_of(self.recipe)
            self._shared = shared_bands(rec, phi_bandpowers(rec), theory, self.recipe.sky.nside, None)
        return self._shared

    @cached_property
    def bands(self) -> SharedBands:
        """The same, from the first sky of all."""
        sky = kept(self.store, amplitude_sky, 0)
        maps = observe(self.recipe, sky["alm"], 0)
        maps = maps if self.mask is None else maps * self.mask
        return self.shared(reconstruct_legs(self.prepared.filtering(maps), self.recipe, self.prepared))

    def data(self, number: int) -> LinearData:
        """Band powers of a sky that are fitted."""
        found = kept(self.store / self.name, self.amplitude_powers, number)
        mean = np.concatenate([found["cmb"], self.bands.lensing(found)])
        data = fitted_range(self.bands.data(self.name, mean - self.left_out), self.recipe)
        return data.selected((data.block == "PP") | (data.high <= QUADRATURE * self.recipe.sky.nside // 4))

    @cached_property
    def left_out(self) -> np.ndarray:
        """What band powers have because skies hold no waves, neither of the CMB nor of φ, beyond sky.lmax.

        Without those lenses less of the CMB's power is carried away to small scales: TT is 0.05 % higher at ℓ = 1000.
        """
        theory, end = theory_of(self.recipe), self.recipe.sky.lmax + 1
        unlensed = {key: cl[:end] for key, cl in theory.unlensed.items()}
        lmax = max(top for key, top in self.bands.template.lmax.items() if key != "PP")
        here = lensed_spectra(unlensed, theory.potential["PP"][:end], lmax=lmax)
        whole = {key: theory.lensed[key][: lmax + 1] for key in ("TT", "EE", "TE", "BB")}
        seen = {key: here[key][: lmax + 1] for key in whole}
        potential = {"PP": theory.potential["PP"]}
        return self.bands.template.expected({**seen, **potential}) - self.bands.template.expected(
            {**whole, **potential}
        )

    def model(self, cosmology: str) -> BandPowerModel:
        """The expected band powers, with ΛCDM "free" or "fixed"."""
        data = self.data(0)
        recipe = self.recipe.model_copy(update={"split": self.recipe.split.model_copy(update={"cosmology": cosmology})})
        surface = recipe_surface(recipe, data, theory_of(self.recipe), progress=say)
        return band_power_model(data, surface)

    def fit(self, data: LinearData, model: BandPowerModel, cosmology: str, sim: int) -> Split:
        """Both amplitudes, ΛCDM held or with a prior on τ alone; calibrations are held, as they are known here.

        The prior stands for a measurement of τ, which is drawn for each sky.
        """
        from lensrec.theory.acoustic_scale import PARAMETERS

        centre = dict(zip(PARAMETERS, model.surface.centre.tolist(), strict=True))
        width = self.recipe.split.tau_sigma
        tau = (self.recipe.cosmology.tau + width * np.random.default_rng(900 + sim).standard_normal(), width)
        fixed = centre if cosmology == "fixed" else {}
        return split(data, model, priors={"tau": tau}, fixed=fixed, draws=200, rng=np.random.default_rng(1))

    def amplitudes(self, cosmology: str, count: int = COUNT) -> dict[str, np.ndarray]:
        """Best fits (count, pairs, 2), those of FURTHER skies of the first pair, and the covariance of a sky (2, 2)."""
        model = self.model(cosmology)
        best = np.zeros((count, len(AMPLITUDES), 2))
        chi2 = np.zeros((count, len(AMPLITUDES)))
        further = np.zeros((FURTHER, 2))
        numbers = [*range(count * len(AMPLITUDES)), *(len(AMPLITUDES) * (count + k) for k in range(FURTHER))]
        for number in numbers:
            found = self.fit(self.data(number), model, cosmology, number // len(AMPLITUDES))
            at = [found.names.index(name) for name in (SMOOTHING, POTENTIAL)]
            sim, which = divmod(number, len(AMPLITUDES))
            if sim >= count:
                further[sim - count] = found.best_fit[at]
            else:
                best[sim, which], chi2[sim, which] = found.best_fit[at], found.chi2
        sigma, common = self.laplace(model, cosmology)
        fits = {"best": best, "further": further, "chi2": chi2, "ndof": np.array(found.ndof)}
        return {**fits, "covariance": sigma, "common": common}

    def contributions(self, cosmology: str, count: int = COUNT) -> dict[str, tuple[float, float]]:
        """What the mean deviation of each spectrum in all skies of the first pair does to A_L^φφ, and its error."""
        model, first = self.model(cosmology), self.data(0)
        means = np.stack([self.data(len(AMPLITUDES) * sim).mean for sim in range(count + FURTHER)])
        away = means - model.value(model.start)
        _, reading = self.reading(model, cosmology)
        out = {}
        for key in dict.fromkeys(first.block.tolist()):
            rows = first.block == key
            each = away[:, rows] @ reading[-1, rows]
            out[key] = float(each.mean()), float(each.std(ddof=1) / np.sqrt(len(each)))
        return out

    def reading(self, model: BandPowerModel, cosmology: str) -> tuple[np.ndarray, np.ndarray]:
        """(Jᵀ C⁻¹ J + priors)⁻¹ at the fiducial, and how the fit reads band powers to first order."""
        jacobian = model.jacobian(model.start)[:, :8] if cosmology == "free" else model.jacobian(model.start)[:, 6:8]
        weighted = np.linalg.solve(self.data(0).covariance, jacobian)
        fisher = jacobian.T @ weighted
        if cosmology == "free":
            fisher[5, 5] += self.recipe.split.tau_sigma**-2
        covariance = np.linalg.inv(fisher)
        return covariance, covariance @ weighted.T

    def laplace(self, model: BandPowerModel, cosmology: str) -> tuple[np.ndarray, np.ndarray]:
        """(Jᵀ C⁻¹ J + priors)⁻¹ of both amplitudes at the fiducial, and the part that all skies have in common."""
        covariance, reading = self.reading(model, cosmology)
        whole = self.bands.data(self.name, np.zeros(len(self.bands.template)))
        shared = fitted_range(replace(whole, covariance=self.bands.common), self.recipe)
        shared = shared.selected((shared.block == "PP") | (shared.high <= QUADRATURE * self.recipe.sky.nside // 4))
        return covariance[-2:, -2:], (reading @ shared.covariance @ reading.T)[-2:, -2:]

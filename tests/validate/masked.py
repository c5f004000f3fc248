"""Masked skies with uneven noise, whose C^φφ is not the fiducial one, through the estimators and all corrections."""

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from lensrec.bias.mean_field import mean_field, subtracted_spectrum
from lensrec.recipe import Recipe
from lensrec.rundir import RunDir, create_run, write_theory
from lensrec.sky.io import write_map
from lensrec.sky.primary import draw_primary
from lensrec.spectra.bandpowers import bin_spectrum
from lensrec.sphere.alm import resize_alm
from lensrec.sphere.grids import gauss_legendre_grid
from lensrec.sphere.remap import remap_tp
from lensrec.sphere.sht import analysis_tp
from lensrec.stages.debias import SimulatedPairs
from lensrec.stages.gaussian import gaussian_estimate, gaussian_legs, on_disk
from lensrec.stages.legs import Legs
from lensrec.stages.masking import mask_of
from lensrec.stages.phi_bandpowers import bands_of, phi_bandpowers
from lensrec.stages.prepare import Preparation, gaussian_skies
from lensrec.stages.prepare_run import prepare_run
from lensrec.stages.reconstruct import Reconstruction, reconstruct_legs
from lensrec.stages.setting import theory_of
from lensrec.stages.simulate import observe
from tests.validate.store import kept

COUNT = {"planck": 100, "act": 100}
"""Skies of each experiment: to be raised, where there is time, without anything being made twice."""
GAUSSIAN = {"planck": 60, "act": 60}
PAIRS = {"planck": 8, "act": 8}
RDN0_SIMS, RDN0_SKIES, HALVES = 40, 10, 8
EDGES = [2, 8, 20, 40, 70, 100, 140, 180, 230, 280, 340, 400, 470, 540, 620, 700, 800, 900, 1001]
FIRST, LAST = 40, 1000


@lru_cache(maxsize=2)
def recipe_of(experiment: str) -> Recipe:
    """The recipe that comes with lensrec, at nside 512."""
    settings = {
        "sky": {"nside": 512, "lmax": 2400, "lmax_data": 1400, "seed": 4026, "epsilon": 1e-5, "precision": "single"},
        "instrument": {"hits": {"act": "equatorial", "planck": "ecliptic"}[experiment]},
        "reconstruction": {
            "lmax_t": 1300,
            "lmax_p": 1300,
            "L_min": 2,
            "L_max": 1000,
            "bin_edges": str(EDGES),
            "n_bins": len(EDGES) - 1,
            "estimators": "[MV, GMV]",
            "mean_field_sims": GAUSSIAN[experiment],
            "rdn0": "analytic",
            "n1": "fitted",
            "mc_response": "apply",
            "response_sims": PAIRS[experiment],
            "precision": "single",
        },
    }
    changes = [f"{section}.{key}={value}" for section, part in settings.items() for key, value in part.items()]
    return Recipe.load(experiment, changes)


def tilt(lmax: int) -> np.ndarray:
    """True over fiducial C^φφ: 1.1 at L = 40, 0.9 at L = 900."""
    return 1.0 + 0.1 * np.cos(np.log(np.maximum(np.arange(lmax + 1.0), 5.0) / 40.0))


def lensed_sky(sim: int) -> dict[str, np.ndarray]:
    """One sky of the true C^φφ, T, E, B to the band limit of the data: it serves both experiments."""
    recipe = recipe_of("planck")
    theory, lmax = theory_of(recipe), recipe.sky.lmax
    root = np.sqrt(tilt(lmax))
    potential = {key: cl[: lmax + 1] * (root**2 if key == "PP" else root) for key, cl in theory.potential.items()}
    unlensed, phi = draw_primary(theory.unlensed, potential, lmax, seed=recipe.sky.seed, sim=sim)
    # Aliases of this grid are far below the noise of either experiment: 800 beyond the band limit, not 2000, will do.
    grid = gauss_legendre_grid(lmax + 800 + recipe.sky.lmax_data)
    maps = remap_tp(unlensed.astype(np.complex64), phi.astype(np.complex64), grid, epsilon=1e-5)
    alm = analysis_tp(maps, grid, recipe.sky.lmax_data)
    return {"alm": alm, "phi": resize_alm(phi, 1000).astype(np.complex64)}


class Experiment:
    """A run directory with all that the skies of one experiment share, made once and read afterwards."""

    def __init__(self, name: str, store: Path) -> None:
        self.name, self.store, self.recipe = name, store, recipe_of(name)
        self.run: RunDir = create_run(store / name, self.recipe, command=["make", "validate"])
        nside = self.recipe.sky.nside
        mask = mask_of(self.recipe.mask, nside)
        if not self.run.has(self.run.theory):
            write_theory(self.run, theory_of(self.recipe))
            write_map(self.run.path / "mask.fits", mask, unit="", column_names=["MASK"])
        self.prepared: Preparation = prepare_run(self.run, mask, progress=say)
        self.skies = gaussian_skies(self.recipe, self.prepared, nside)
        self.gaussian = on_disk(self.run, say, self.skies)

    def data(self, sim: int, *, noise: float = 1.0) -> np.ndarray:
        """Masked data of a sky, its noise scaled by a factor."""
        sky = kept(self.store, lensed_sky, sim)
        recipe = self.recipe
        if noise != 1.0:
            levels = {key: noise * getattr(recipe.instrument, key) for key in ("noise_t", "noise_p")}
            recipe = recipe.model_copy(update={"instrument": recipe.instrument.model_copy(update=levels)})
        return observe(recipe, sky["alm"], sim, pattern=self.prepared.pattern) * self.prepared.mask

    def reconstruct(self, legs: Legs, **changes: object) -> Reconstruction:
        """φ̂ from legs, with other values for some keys of the recipe."""
        reconstruction = self.recipe.reconstruction.model_copy(update=changes)
        recipe = self.recipe.model_copy(update={"reconstruction": reconstruction})
        return reconstruct_legs(legs, recipe, replace(self.prepared, gaussian=self.gaussian))

    def sky(self, sim: int) -> dict[str, np.ndarray]:
        """Band powers of one sky, with everything taken off."""
        rec = self.reconstruct(self.prepared.filtering(self.data(sim)))
        return phi_bandpowers(rec, kept(self.store, lensed_sky, sim)["phi"])

    def wrong_noise(self, sim: int) -> dict[str, np.ndarray]:
        """Band powers of a sky with 2 % more noise than the recipe says, by N0 of the model and by that of the data."""
        legs = self.prepared.filtering(self.data(sim, noise=1.02))
        return {
            f"{kind}_{key}": values
            for kind in ("none", "analytic")
            for key, values in phi_bandpowers(self.reconstruct(legs, rdn0=kind)).items()
        }

    def unlensed_sky(self, number: int) -> dict[str, np.ndarray]:
        """Band powers of a Gaussian sky that no correction has seen: A_φ = 0, and so no N1."""
        return phi_bandpowers(self.reconstruct(self._gaussian_legs(5000 + number), n1="none"))

    def half_difference(self, _: int) -> dict[str, np.ndarray]:
        """Half the difference of two halves of the data: noise alone, of the level of the whole.

        Its bias and mean field are those of as many others; (HALVES skies, bands) by estimator.
        """
        noise = {key: self.skies.totals[key] - self.skies.signal[key] for key in ("TT", "EE", "BB")}
        noise["TE"] = np.zeros_like(noise["TT"])
        skies = replace(self.skies, totals=noise, signal={key: np.zeros_like(cl) for key, cl in noise.items()})
        keys, w4 = self.prepared.setting.keys, float(np.mean(self.prepared.mask**4))
        estimates = [gaussian_estimate(skies, gaussian_legs(skies, 7000 + n)) for n in range(2 * HALVES)]
        out = {}
        for key in keys:
            field = mean_field(one[key] for one in estimates[HALVES:])
            spectra = [subtracted_spectrum(one[key], field) - field.gaussian_bias for one in estimates[:HALVES]]
            bands = bands_of(self.reconstruct(self._gaussian_legs(0)))
            out[key] = np.stack([bin_spectrum(one[0] / w4, bands) for one in spectra])
            out[f"n0_{key}"] = bin_spectrum(field.gaussian_bias[0] / w4, bands)
        return out

    def simulated_rdn0(self, _: int) -> dict[str, np.ndarray]:
        """RDN0 of GMV of the first skies from pairs with simulations, (skies, 2, L_max+1), over ⟨w⁴⟩.

        Of GMV alone, one product of a pair instead of six: MV costs five times as much.
        """
        setting = replace(self.prepared.setting, keys=("GMV",), parts=())
        legs = [self.prepared.filtering(self.data(sim)) for sim in range(RDN0_SKIES)]
        pairs = SimulatedPairs(setting, self._gaussian_legs, RDN0_SIMS, self.recipe.reconstruction.L_max, progress=say)
        w4 = float(np.mean(self.prepared.mask**4))
        found = pairs.rdn0_of_many(legs)
        out = {key: np.stack([one[key].n0 for one in found]) / w4 for key in setting.keys}
        return out | {f"mcn0_{key}": bias.n0 / w4 for key, bias in pairs.mcn0().items()}

    def _gaussian_legs(self, number: int) -> Legs:
        return gaussian_legs(self.skies, number)

    def collected(self, kind: Callable[[int], dict[str, np.ndarray]], count: int) -> dict[str, np.ndarray]:
        """Results of a kind for the first skies, stacked."""
        results = [kept(self.store / self.name, kind, sim) for sim in range(count)]
        return {name: np.stack([one[name] for one in results]) for name in results[0]}


def say(text: str, done: int, total: int) -> None:
    """A line of progress."""
    print(f"{text}: {done}/{total}", flush=True)

"""Estimates on Gaussian, unlensed skies with the power and the mask of the data: what there is without lensing."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lensrec.bias.mean_field import MeanField, mean_field
from lensrec.engine import Progress, run_tasks
from lensrec.quadratic.estimators import quadratic_estimates
from lensrec.recipe import Recipe
from lensrec.rundir import RunDir
from lensrec.sky.instrument import observed_alm
from lensrec.sky.io import read_alm, write_alm
from lensrec.sky.primary import draw_primary
from lensrec.sphere.grids import healpix_grid
from lensrec.sphere.sht import synthesis_tp
from lensrec.stages.estimate import deconvolved, estimate_phi, map_to_alm
from lensrec.stages.placing import Quadratic
from lensrec.stages.setting import Optics, Setting

log = logging.getLogger(__name__)

# Numbered from here, so that they share no random number with the skies of a run.
FIRST_SIM = 1_000_000


@dataclass(frozen=True, eq=False)
class GaussianSkies:
    """What Gaussian skies are drawn from, and how they are observed.

    Attributes
    ----------
    totals : mapping of "TT", "EE", "BB", "TE" to array (lmax+1,)
        Beam-deconvolved power of the data, signal and noise together: isotropic noise is no different from signal. To
        the band limit of the data, which may lie above what the estimators read.
    optics : Optics
        Of the same lmax: the map is made with it, and it is divided out again.
    mask : array (npix,) or None
    quadratic : function like `quadratic_estimates`
        Where it runs.
    """

    recipe: Recipe
    setting: Setting
    totals: Mapping[str, NDArray]
    optics: Optics
    nside: int
    mask: NDArray | None
    nthreads: int = 0
    quadratic: Quadratic = quadratic_estimates


GaussianFields = Callable[[GaussianSkies], Mapping[str, MeanField]]


def gaussian_estimate(skies: GaussianSkies, number: int) -> dict[str, NDArray]:
    """φ̂ and Ω̂, (2, nalm) by estimator, on the Gaussian sky of that number."""
    recipe, setting, optics, nthreads = skies.recipe, skies.setting, skies.optics, skies.nthreads
    lmax = len(skies.totals["TT"]) - 1
    unlensed = {key: np.zeros(lmax + 1) for key in ("PP", "TP", "EP")}
    sim = FIRST_SIM + number
    teb, _ = draw_primary(skies.totals, unlensed, lmax, seed=recipe.sky.seed, sim=sim, nthreads=nthreads)
    observed = observed_alm(teb[: 3 if setting.polarised else 1], optics.temperature, optics.polarisation)
    maps = synthesis_tp(observed, healpix_grid(skies.nside), nthreads=nthreads)
    if skies.mask is not None:
        maps *= skies.mask
    read = len(setting.totals["TT"]) - 1
    alm = map_to_alm(maps, skies.nside, read, precision=recipe.reconstruction.precision, nthreads=nthreads)
    alm = deconvolved(alm, optics.up_to(read))
    return estimate_phi(alm, setting, recipe.reconstruction.L_max, quadratic=skies.quadratic, nthreads=nthreads)


def in_memory(skies: GaussianSkies) -> dict[str, MeanField]:
    """Mean fields from as many Gaussian skies as the recipe asks for, all kept until the end."""
    numbers = range(skies.recipe.reconstruction.mean_field_sims)
    estimates = [gaussian_estimate(skies, number) for number in numbers]
    return {key: mean_field(one[key] for one in estimates) for key in skies.setting.keys if estimates}


def on_disk(run: RunDir, progress: Progress | None, skies: GaussianSkies) -> dict[str, MeanField]:
    """The same through files of the run, so that a killed one goes on and memory holds one sky at a time."""
    keys = skies.setting.keys
    count = run.recipe.reconstruction.mean_field_sims

    def file(number: int, key: str) -> Path:
        return run.path / "recon" / "gaussian" / f"{number:04d}" / f"phi_{key}_alm.fits"

    def one(number: int) -> None:
        for key, estimate in gaussian_estimate(skies, number).items():
            file(number, key).parent.mkdir(parents=True, exist_ok=True)
            write_alm(file(number, key), estimate.astype(np.complex64), names=["PHI", "OMEGA"])

    missing = [n for n in range(count) if not run.has(*(file(n, key) for key in keys))]
    if len(missing) < count:
        log.info("%d of %d Gaussian skies are there already", count - len(missing), count)
    run_tasks(one, missing, progress=progress, description="Gaussian skies")
    return {key: mean_field(read_alm(file(n, key)) for n in range(count)) for key in keys if count}

"""Estimates on Gaussian, unlensed skies with the power and the mask of the data: what there is without lensing."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lensrec.arrays import complex_dtype
from lensrec.bias.mean_field import MeanField, mean_field
from lensrec.engine import Progress, Workers, run_tasks
from lensrec.quadratic.estimators import quadratic_estimates
from lensrec.recipe import Recipe
from lensrec.rundir import RunDir, read_table, write_table
from lensrec.sky.instrument import noise_alm, observed_alm
from lensrec.sky.io import read_alm, write_alm
from lensrec.sky.primary import draw_primary
from lensrec.sphere.grids import healpix_grid
from lensrec.sphere.sht import synthesis_tp
from lensrec.stages.estimate import estimate_phi
from lensrec.stages.filtering import Filtering
from lensrec.stages.legs import Legs, leg_spectra, mean_spectra, unstacked
from lensrec.stages.masking import mask_moment
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
    filtering : function of masked maps
        Makes legs of them.
    signal : mapping like `totals`
        The part of `totals` that is no noise; needed with a pattern alone.
    pattern : array (npix,) or None
        Rms of the noise in each pixel over that of the map, where it is uneven.
    quadratic : function like `quadratic_estimates`
        Where it runs.
    """

    recipe: Recipe
    setting: Setting
    totals: Mapping[str, NDArray]
    optics: Optics
    nside: int
    mask: NDArray | None
    filtering: Filtering
    signal: Mapping[str, NDArray] = field(default_factory=dict)
    pattern: NDArray | None = None
    nthreads: int = 0
    quadratic: Quadratic = quadratic_estimates

    @property
    def fsky(self) -> float:
        """⟨w²⟩, or the fraction of the sky that an optimal filter sees: as of the data."""
        return mask_moment(self.mask, 2, self.recipe.reconstruction.filter)


@dataclass(frozen=True, eq=False)
class GaussianResults:
    """What Gaussian skies have told.

    Attributes
    ----------
    fields : dict of key to MeanField
    spectra : dict of "TT", "EE", "BB", "TE" to array (lmax+1,)
        The mean of their `leg_spectra`, with the mask in them as in the data's.
    legs : function of a number
        Legs of a sky, to be paired with the data's.
    count : int
    """

    fields: dict[str, MeanField]
    spectra: dict[str, NDArray[np.float64]]
    legs: Callable[[int], Legs]
    count: int
    _expected: list[NDArray] = field(default_factory=list)

    def expected(self, noise_of: Callable[[Mapping[str, NDArray]], NDArray]) -> NDArray:
        """`noise_of` of the mean spectra, made once for all maps that these skies are compared with."""
        if not self._expected:
            self._expected.append(noise_of(self.spectra))
        return self._expected[0]


GaussianMaker = Callable[[GaussianSkies], GaussianResults]


def gaussian_legs(skies: GaussianSkies, number: int) -> Legs:
    """Legs of the Gaussian sky of that number."""
    recipe, setting, optics, nthreads = skies.recipe, skies.setting, skies.optics, skies.nthreads
    lmax = len(skies.totals["TT"]) - 1
    rows = 3 if setting.polarised else 1
    unlensed = {key: np.zeros(lmax + 1) for key in ("PP", "TP", "EP")}
    sim = FIRST_SIM + number
    even = skies.pattern is None
    drawn_from = skies.totals if even else skies.signal
    teb, _ = draw_primary(drawn_from, unlensed, lmax, seed=recipe.sky.seed, sim=sim, nthreads=nthreads)
    grid = healpix_grid(skies.nside)
    maps = synthesis_tp(observed_alm(teb[:rows], optics.temperature, optics.polarisation), grid, nthreads=nthreads)
    if skies.pattern is not None:
        noise = {key: skies.totals[key] - skies.signal[key] for key in ("TT", "EE")}
        teb = noise_alm(noise["TT"], noise["EE"], lmax, seed=recipe.sky.seed, sim=sim, nthreads=nthreads)
        observed = observed_alm(teb[:rows], optics.temperature, optics.polarisation)
        maps += skies.pattern * synthesis_tp(observed, grid, nthreads=nthreads)
    if skies.mask is not None:
        maps *= skies.mask
    return skies.filtering(maps)


def gaussian_estimate(skies: GaussianSkies, legs: Legs) -> dict[str, NDArray]:
    """φ̂ and Ω̂, (2, nalm) by estimator, from the legs of a Gaussian sky."""
    lmax_phi = skies.recipe.reconstruction.L_max
    return estimate_phi(legs, skies.setting, lmax_phi, quadratic=skies.quadratic, nthreads=skies.nthreads)


def in_memory(skies: GaussianSkies) -> GaussianResults:
    """As many Gaussian skies as the recipe asks for, all kept until the end."""
    legs = [gaussian_legs(skies, number) for number in range(skies.recipe.reconstruction.mean_field_sims)]
    spectra = mean_spectra([leg_spectra(one, skies.setting, skies.fsky) for one in legs])
    estimates = [gaussian_estimate(skies, one) for one in legs]
    fields = {key: mean_field(one[key] for one in estimates) for key in skies.setting.keys}
    return GaussianResults(fields, spectra, legs.__getitem__, len(legs))


def on_disk(
    run: RunDir, skies: GaussianSkies, *, executor: Workers = None, progress: Progress | None = None
) -> GaussianResults:
    """The same through files of the run, so that a killed one goes on and memory holds one sky at a time."""
    keys, rec = skies.setting.keys, run.recipe.reconstruction
    count = rec.mean_field_sims
    wanted = [f"phi_{key}_alm.fits" for key in keys] + ["spectra.ecsv"]
    if rec.rdn0 == "simulations":
        wanted.append("legs_alm.fits")
    missing = [n for n in range(count) if not run.has(*(_file(run, n, name) for name in wanted))]
    if len(missing) < count:
        log.info("%d of %d Gaussian skies are there already", count - len(missing), count)
    run_tasks(
        gaussian_into, missing, shared=(run, skies), executor=executor, progress=progress, description="Gaussian skies"
    )
    return GaussianResults(
        {key: mean_field(read_alm(_file(run, n, f"phi_{key}_alm.fits")) for n in range(count)) for key in keys},
        mean_spectra([read_table(_file(run, n, "spectra.ecsv")) for n in range(count)]),
        StoredLegs(run, skies.setting),
        count,
    )


def gaussian_into(shared: tuple[RunDir, GaussianSkies], number: int) -> None:
    """Estimate one Gaussian sky and leave what is asked of it in the run; the table of its spectra comes last."""
    run, skies = shared
    legs = gaussian_legs(skies, number)
    _file(run, number, "").mkdir(parents=True, exist_ok=True)
    for key, estimate in gaussian_estimate(skies, legs).items():
        write_alm(_file(run, number, f"phi_{key}_alm.fits"), estimate.astype(np.complex64), names=["PHI", "OMEGA"])
    if run.recipe.reconstruction.rdn0 == "simulations":
        write_alm(_file(run, number, "legs_alm.fits"), legs.stacked().astype(np.complex64), names=legs.names())
    spectra = leg_spectra(legs, skies.setting, skies.fsky)
    write_table(_file(run, number, "spectra.ecsv"), spectra, dict.fromkeys(spectra, "uK2"), "raw C_ell from ell = 0")


@dataclass(frozen=True)
class StoredLegs:
    """Legs of Gaussian skies, read from the run when they are asked for by their number."""

    run: RunDir
    setting: Setting

    def __call__(self, number: int) -> Legs:
        """Those of one sky."""
        stored = np.atleast_2d(read_alm(_file(self.run, number, "legs_alm.fits")))
        # not in the precision of the file: sums would depend on which other legs a batch holds
        return unstacked(stored.astype(complex_dtype(self.run.recipe.reconstruction.precision)), self.setting)


def _file(run: RunDir, number: int, name: str) -> Path:
    return run.path / "recon" / "gaussian" / f"{number:04d}" / name

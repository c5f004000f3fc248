"""What each stage of a run does for one sky, by nside: python -m tests.benchmarks.scaling_cases NSIDE CASE.

Prints one line of JSON: seconds of the work alone, of what comes before it once for all skies, and the peak memory.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np

from lensrec.arrays import thread_count
from lensrec.recipe import Recipe
from lensrec.rundir import RunDir, create_run, read_theory, write_theory
from lensrec.sky.primary import draw_primary
from lensrec.sphere.alm import alm_ell
from lensrec.stages.bandpowers import shared_bands
from lensrec.stages.gaussian import gaussian_estimate, gaussian_legs
from lensrec.stages.phi_bandpowers import phi_bandpowers
from lensrec.stages.prepare import gaussian_skies, prepare
from lensrec.stages.reconstruct import reconstruct
from lensrec.stages.setting import theory_of
from lensrec.stages.simulate import simulate
from lensrec.theory.spectra import TheorySpectra
from tests.benchmarks.healpix_estimators import healpix_estimate
from tests.benchmarks.inputs import FOLDER
from tests.benchmarks.worker import peak_mib

KEYS = ("TT", "EE", "TE", "TB", "EB")


class Timed(NamedTuple):
    """Seconds once for all skies, and for each."""

    once: float
    each: float


def recipe(nside: int) -> Recipe:
    """A full sky, read to ℓ = 3000 or as far as its pixels carry, with the noise of the Simons Observatory."""
    top = min(3000, 5 * nside // 2)
    data = {
        "sky": {"nside": nside, "lmax_data": min(top + 300, 3 * nside - 1), "lmax": top + 1800, "seed": 5},
        "instrument": {"fwhm": 1.4, "noise_t": 6},
        "reconstruction": {"lmax_t": top, "lmax_p": top, "mean_field_sims": 4},
    }
    return Recipe.model_validate(data)


def theory(nside: int) -> TheorySpectra:
    """Computed once and kept."""
    made, folder = recipe(nside), FOLDER / "scaling" / f"theory_{nside}"
    run = create_run(folder, made) if not folder.is_dir() else RunDir(folder, made)
    if not run.has(run.theory):
        write_theory(run, theory_of(made))
    return read_theory(run)


def _timed(run: Callable[[], object]) -> tuple[float, object]:
    """Seconds of a call, of the quicker of two where it is short: the first reads compiled functions from disk."""
    start = time.perf_counter()
    result = run()
    seconds = time.perf_counter() - start
    if seconds < 8:
        start = time.perf_counter()
        result = run()
        seconds = min(seconds, time.perf_counter() - start)
    return seconds, result


def lensed_sky(nside: int) -> Timed:
    """A sky: drawn, lensed to HEALPix and to its data's multipoles, observed, written."""
    from lensrec.stages.simulate import simulate_into

    made, spectra = recipe(nside), theory(nside)
    with TemporaryDirectory(dir=FOLDER) as folder:
        run = RunDir(Path(folder), made)
        seconds, _ = _timed(lambda: simulate_into((run, spectra, None, None, 0), 0))
    return Timed(0.0, seconds)


def lenspyx_sky(nside: int) -> Timed:
    """The same lensed map by lenspyx, of alm that are drawn already."""
    import lenspyx

    sky, spectra = recipe(nside).sky, theory(nside)
    teb, phi = draw_primary(spectra.unlensed, spectra.potential, sky.lmax, seed=5, sim=0)
    ell = alm_ell(sky.lmax).astype(float)
    spin1, geometry = phi * np.sqrt(ell * (ell + 1)), ("healpix", {"nside": nside})
    options = {"geometry": geometry, "epsilon": sky.epsilon, "nthreads": thread_count()}
    return Timed(0.0, _timed(lambda: lenspyx.alm2lenmap(list(teb), spin1, **options))[0])


def _data(nside: int) -> np.ndarray:
    """A map with the power of the recipe's; what it holds does not change what it costs."""
    unlensed = recipe(nside).model_copy(update={"sky": recipe(nside).sky.model_copy(update={"lensed": False})})
    return simulate(unlensed, 0, theory=theory(nside)).data


def reconstruction(nside: int) -> Timed:
    """φ̂ of the five estimators and MV, semi-analytic RDN0, N1, band powers; once: normalisation and N1's matrices."""
    made = recipe(nside)
    made = made.model_copy(update={"reconstruction": made.reconstruction.model_copy(update={"mean_field_sims": 0})})
    once, prepared = _timed(lambda: prepare(made, nside, None, theory=theory(nside)))
    data = _data(nside)
    return Timed(once, _timed(lambda: phi_bandpowers(reconstruct(data, made, prepared=prepared), None))[0])


def usual_estimates(nside: int) -> Timed:
    """φ̂ of the five estimators the usual way: legs and products on the maps' HEALPix grid, one estimator at a time."""
    made, spectra = recipe(nside), theory(nside)
    top = made.reconstruction.lmax_t
    teb, _ = draw_primary(spectra.lensed, {k: 0 * v for k, v in spectra.potential.items()}, top, seed=5, sim=0)
    legs = dict(zip("TEB", teb, strict=True))
    return Timed(0.0, _timed(lambda: [healpix_estimate(key, legs, spectra.gradient, nside, top) for key in KEYS])[0])


def gaussian_sky(nside: int) -> Timed:
    """A Gaussian sky for mean field and N0: drawn, observed, and estimated."""
    made = recipe(nside)
    plain = made.model_copy(update={"reconstruction": made.reconstruction.model_copy(update={"n1": "none"})})
    skies = gaussian_skies(made, prepare(plain, nside, None, theory=theory(nside)), nside)
    return Timed(0.0, _timed(lambda: gaussian_estimate(skies, gaussian_legs(skies, 0)))[0])


def rdn0_simulation(nside: int) -> Timed:
    """RDN0 from simulations, for each of them: its pairs with the data, and with the next."""
    from lensrec.stages.debias import SimulatedPairs

    made = recipe(nside)
    plain = made.model_copy(update={"reconstruction": made.reconstruction.model_copy(update={"n1": "none"})})
    prepared = prepare(plain, nside, None, theory=theory(nside))
    skies = gaussian_skies(made, prepared, nside)
    legs = [gaussian_legs(skies, n) for n in range(3)]
    pairs = SimulatedPairs(prepared.setting, lambda n: legs[n], 2, made.reconstruction.L_max)
    return Timed(0.0, _timed(lambda: pairs.rdn0(legs[2]))[0] / 2)


def band_powers(nside: int) -> Timed:
    """TT, TE and EE with C_L^φφ; once: windows, noise and the joint covariance."""
    made = recipe(nside)
    made = made.model_copy(update={"reconstruction": made.reconstruction.model_copy(update={"mean_field_sims": 0})})
    prepared, data = prepare(made, nside, None, theory=theory(nside)), _data(nside)
    rec = reconstruct(data, made, prepared=prepared)
    table = phi_bandpowers(rec, None)
    once, shared = _timed(lambda: shared_bands(rec, table, prepared.theory, nside, None))
    return Timed(once, _timed(lambda: (shared.cmb(data), shared.lensing(table)))[0])


CASES = {
    case.__name__: case
    for case in (
        lensed_sky,
        lenspyx_sky,
        reconstruction,
        usual_estimates,
        gaussian_sky,
        rdn0_simulation,
        band_powers,
    )
}

if __name__ == "__main__":
    side, name = int(sys.argv[1]), sys.argv[2]
    theory(side)
    found = CASES[name](side)
    print(json.dumps({"once": found.once, "each": found.each, "peak_mib": peak_mib(), "threads": thread_count()}))

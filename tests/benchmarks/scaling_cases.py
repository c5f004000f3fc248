"""What each stage of a run does for one sky, by nside: python -m tests.benchmarks.scaling_cases NSIDE GROUP.

Prints a line of JSON for each case: seconds of processors' time for what is done once for all skies, and for each, and
the peak memory meanwhile. Processors' time, since that of a clock depends on what else runs.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from lensrec.arrays import thread_count
from lensrec.recipe import Recipe
from lensrec.rundir import RunDir, create_run, read_theory, write_theory
from lensrec.sky.primary import draw_primary
from lensrec.sphere.alm import alm_ell
from lensrec.stages.bandpowers import shared_bands
from lensrec.stages.debias import SimulatedPairs
from lensrec.stages.gaussian import gaussian_estimate, gaussian_legs
from lensrec.stages.phi_bandpowers import phi_bandpowers
from lensrec.stages.prepare import gaussian_skies, prepare
from lensrec.stages.reconstruct import reconstruct
from lensrec.stages.setting import theory_of
from lensrec.stages.simulate import simulate, simulate_into
from lensrec.theory.spectra import TheorySpectra
from tests.benchmarks.healpix_estimators import healpix_estimate
from tests.benchmarks.inputs import FOLDER
from tests.benchmarks.worker import peak_mib

KEYS = ("TT", "EE", "TE", "TB", "EB")


def recipe(nside: int) -> Recipe:
    """A full sky, read to ℓ = 2 nside and at most 3000, with the noise of the Simons Observatory."""
    top = min(3000, 2 * nside)
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


def forget_peak() -> None:
    """The most memory held is counted from here on."""
    Path("/proc/self/clear_refs").write_text("5")


def timed(run: Callable[[], object]) -> tuple[float, object]:
    """Processors' seconds of a call, of the cheaper of two where it is short: the first reads compiled functions."""
    start = time.process_time()
    result = run()
    seconds = time.process_time() - start
    if seconds < 8:
        start = time.process_time()
        result = run()
        seconds = min(seconds, time.process_time() - start)
    return seconds, result


def report(case: str, each: float, once: float = 0.0) -> None:
    """A line for a case that is over, and a new count of memory."""
    found = {"case": case, "once": once, "each": each, "peak_mib": peak_mib(), "threads": thread_count()}
    print(json.dumps(found), flush=True)
    forget_peak()


def lensing(nside: int) -> None:
    """A sky drawn, lensed to HEALPix and to its data's multipoles, observed and written; and one lensed by lenspyx."""
    import lenspyx

    made, spectra, sky = recipe(nside), theory(nside), recipe(nside).sky
    forget_peak()
    with TemporaryDirectory(dir=FOLDER) as folder:
        run = RunDir(Path(folder), made)
        report("lensed_sky", timed(lambda: simulate_into((run, spectra, None, None, 0), 0))[0])
    teb, phi = draw_primary(spectra.unlensed, spectra.potential, sky.lmax, seed=5, sim=0)
    ell = alm_ell(sky.lmax).astype(float)
    spin1, geometry = phi * np.sqrt(ell * (ell + 1)), ("healpix", {"nside": nside})
    options = {"geometry": geometry, "epsilon": sky.epsilon, "nthreads": thread_count()}
    forget_peak()
    report("lenspyx_sky", timed(lambda: lenspyx.alm2lenmap(list(teb), spin1, **options))[0])


def estimates(nside: int) -> None:
    """φ̂ of the five estimators and MV with its biases, the five the usual way, and band powers and their covariance."""
    made, spectra = recipe(nside), theory(nside)
    plain = made.model_copy(update={"reconstruction": made.reconstruction.model_copy(update={"mean_field_sims": 0})})
    unlensed = made.model_copy(update={"sky": made.sky.model_copy(update={"lensed": False})})
    # what the map holds does not change what it costs
    data = simulate(unlensed, 0, theory=spectra).data
    forget_peak()
    once, prepared = timed(lambda: prepare(plain, nside, None, theory=spectra))
    each, rec = timed(lambda: reconstruct(data, plain, prepared=prepared))
    seconds, table = timed(lambda: phi_bandpowers(rec, None))
    report("reconstruction", each + seconds, once)
    once, shared = timed(lambda: shared_bands(rec, table, prepared.theory, nside, None))
    report("band_powers", timed(lambda: (shared.cmb(data), shared.lensing(table)))[0], once)
    skies = gaussian_skies(made, prepared, nside)
    draw, legs = timed(lambda: gaussian_legs(skies, 0))
    report("gaussian_sky", draw + timed(lambda: gaussian_estimate(skies, legs))[0])
    pairs = SimulatedPairs(prepared.setting, lambda _: legs, 2, made.reconstruction.L_max)
    report("rdn0_simulation", timed(lambda: pairs.rdn0(legs))[0] / 2)
    separate, top = legs.separate, made.reconstruction.lmax_t
    usual = timed(lambda: [healpix_estimate(key, separate, spectra.gradient, nside, top) for key in KEYS])
    report("usual_estimates", usual[0])


GROUPS = {"lensing": lensing, "estimates": estimates}

if __name__ == "__main__":
    GROUPS[sys.argv[2]](int(sys.argv[1]))

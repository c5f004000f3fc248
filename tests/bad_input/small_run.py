"""A run of one tiny sky, complete but for its pictures, made without CAMB: spectra are power laws."""

from pathlib import Path
from typing import Any

import numpy as np

from lensrec.recipe import Recipe
from lensrec.rundir import RunDir, create_run, write_theory
from lensrec.sky.io import write_alm, write_map
from lensrec.sphere.alm import alm_ell, alm_size
from lensrec.theory.spectra import TheorySpectra

NSIDE, LMAX = 8, 20

RECIPE: dict[str, Any] = {
    "name": "tiny",
    "sky": {"nside": NSIDE, "lmax": LMAX, "lmax_data": 16, "epsilon": 1e-5},
    "instrument": {"fwhm": 120, "noise_t": 20},
    "reconstruction": {"lmin_t": 2, "lmin_p": 2, "L_max": 16, "n_bins": 3, "estimators": "TT,EE,MV"},
    "bandpowers": {"lmin": 2, "width": 3},
}


def theory(lmax: int = LMAX) -> TheorySpectra:
    """C_ℓ of about the right size, falling."""
    ell = np.maximum(np.arange(lmax + 1.0), 2.0)
    falling = np.where(np.arange(lmax + 1) >= 2, 6000.0 / (ell * (ell + 1)), 0.0)
    cmb = {"TT": falling, "EE": 1e-2 * falling, "BB": 1e-4 * falling, "TE": 3e-2 * falling}
    potential = {"PP": np.where(np.arange(lmax + 1) >= 2, 1e-7 / ell**4, 0.0), "TP": 0.0 * ell, "EP": 0.0 * ell}
    return TheorySpectra({**cmb, "BB": 0.0 * falling}, dict(cmb), dict(cmb), potential)


def begin(folder: Path, **sections: dict[str, Any]) -> RunDir:
    """Recipe, provenance, theory, and one sky."""
    data = {key: value for key, value in RECIPE.items() if key not in sections}
    data |= {
        key: {**RECIPE.get(key, {}), **value} if isinstance(value, dict) else value for key, value in sections.items()
    }
    run = create_run(folder, Recipe.model_validate(data), command=["lensrec", "simulate"])
    spectra = theory()
    write_theory(run, spectra)
    rng = np.random.default_rng(1180)

    def drawn(cl: np.ndarray) -> np.ndarray:
        alm = (rng.normal(size=alm_size(LMAX)) + 1j * rng.normal(size=alm_size(LMAX))) / np.sqrt(2.0)
        alm[: LMAX + 1] = alm[: LMAX + 1].real * np.sqrt(2.0)
        return alm * np.sqrt(cl[alm_ell(LMAX)])

    where = run.sim(0, "data.fits").parent
    where.mkdir(parents=True)
    teb = np.stack([drawn(spectra.lensed[key]) for key in ("TT", "EE", "BB")])
    write_alm(where / "phi_alm.fits", drawn(spectra.potential["PP"]))
    write_alm(where / "unlensed_alm.fits", teb, unit="uK_CMB", names=list("TEB"))
    from lensrec.sphere.grids import healpix_grid
    from lensrec.sphere.sht import synthesis_tp

    maps = synthesis_tp(teb, healpix_grid(NSIDE), nthreads=1)
    write_map(where / "lensed.fits", maps, dtype=np.float64)
    write_map(where / "data.fits", maps + rng.normal(size=maps.shape), dtype=np.float64)
    return run


def complete(folder: Path) -> RunDir:
    """The same, reconstructed and with band powers."""
    from lensrec.stages.bandpowers_run import bandpowers_run
    from lensrec.stages.reconstruct_run import reconstruct_run

    run = begin(folder)
    reconstruct_run(run, nthreads=1)
    bandpowers_run(run, nthreads=1)
    return run

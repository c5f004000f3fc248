"""Prepare a run: what its maps share, read from the run where it is there, and left in it where it is not."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lensrec.bias.n1 import N1
from lensrec.engine import Progress, run_tasks
from lensrec.quadratic.estimators import quadratic_estimates
from lensrec.rundir import (
    RunDir,
    read_matrices,
    read_table,
    read_theory,
    write_matrices,
    write_response,
    write_table,
)
from lensrec.stages.filtering import filtering_of
from lensrec.stages.first_order import FirstOrder, first_order
from lensrec.stages.masking import noise_pattern
from lensrec.stages.placing import Quadratic
from lensrec.stages.reconstruct import Preparation
from lensrec.stages.response import SimulatedResponse, gathered, response_sky
from lensrec.stages.setting import Setting, setting_of, theory_of


def prepare_run(
    run: RunDir,
    mask: NDArray | None,
    *,
    temperature_only: bool = False,
    quadratic: Quadratic = quadratic_estimates,
    progress: Progress | None = None,
    nthreads: int = 0,
) -> Preparation:
    """Like `lensrec.stages.reconstruct.prepare`, for a run that may be resumed.

    Leaves response.ecsv, n1.ecsv and n1_matrices.fits, and response_sims/ in RUN/recon.
    """
    recipe, nside = run.recipe, run.recipe.sky.nside
    theory = read_theory(run) if run.has(run.theory) else theory_of(recipe)
    setting = setting_of(recipe, theory, nside, temperature_only=temperature_only, nthreads=nthreads)
    response, n0 = ({key: of[key][0] for key in setting.keys} for of in (setting.response, setting.n0))
    write_response(run, response, n0)
    pattern = noise_pattern(recipe.instrument, nside, mask)
    filtering = filtering_of(recipe, setting, nside, mask, pattern, nthreads=nthreads)
    rec = recipe.reconstruction
    first = None if rec.n1 == "none" else _first_order(run, setting, nthreads)
    simulated: SimulatedResponse | None = None
    if rec.mc_response != "none":

        def file(number: int) -> Path:
            return run.path / "recon" / "response_sims" / f"{number:04d}.ecsv"

        def one(number: int) -> None:
            spectra = response_sky(
                recipe, theory, setting, nside, mask, filtering, number, quadratic=quadratic, nthreads=nthreads
            )
            write_table(file(number), spectra, {}, "spectra of phi estimated and put in, from L = 0")

        numbers = range(rec.response_sims)
        missing = [n for n in numbers if not run.has(file(n))]
        run_tasks(one, missing, progress=progress, description="response")
        simulated = gathered([read_table(file(n)) for n in numbers], setting)
    return Preparation(setting, mask, pattern, filtering, first_order=first, simulated_response=simulated)


def _first_order(run: RunDir, setting: Setting, nthreads: int) -> FirstOrder:
    """N1 with its matrices, which n1_matrices.fits keeps: columns are L′ of C^φφ from 0, rows the L of MULTIPOLES."""
    path, lmax_phi = run.path / "recon" / "n1_matrices.fits", len(setting.cl_phi) - 1
    if run.has(path):
        kept = read_matrices(path)
        keys = tuple(name[4:] for name in kept if name.startswith("PHI_"))
        at = kept["MULTIPOLES"].astype(np.int64)
        phi, curl = (N1(at, {(key, key): kept[f"{part}_{key}"] for key in keys}) for part in ("PHI", "CURL"))
        return FirstOrder(keys, phi, curl, lmax_phi)
    first = first_order(setting, nthreads=nthreads)
    matrices: dict[str, NDArray] = {"MULTIPOLES": first.phi.multipoles}
    for part, n1 in (("PHI", first.phi), ("CURL", first.curl)):
        matrices |= {f"{part}_{key}": n1.matrix[key, key] for key in first.keys}
    spectra = first.spectra(setting.cl_lens)
    columns: dict[str, NDArray] = {"L": np.arange(lmax_phi + 1)}
    for key, rows in spectra.items():
        columns |= {f"N1_{key}": rows[0], f"N1_curl_{key}": rows[1]}
    write_table(run.path / "recon" / "n1.ecsv", columns, {}, "N1 of the fiducial C_L^phiphi, dimensionless, from L = 0")
    write_matrices(path, matrices)
    return first

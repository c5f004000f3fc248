"""Prepare a run: what its maps share, read from the run where it is there, and left in it where it is not."""

from collections.abc import Callable, Mapping
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
from lensrec.stages.filtering import Filtering
from lensrec.stages.first_order import FirstOrder, first_order
from lensrec.stages.placing import Quadratic
from lensrec.stages.prepare import Preparation, prepare
from lensrec.stages.response import SimulatedResponse, gathered, response_sky
from lensrec.stages.setting import Setting, theory_of


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
    recipe = run.recipe
    theory = read_theory(run) if run.has(run.theory) else theory_of(recipe)

    def first(setting: Setting) -> FirstOrder:
        return _first_order(run, setting, nthreads)

    def respond(setting: Setting, filtering: Filtering) -> SimulatedResponse:
        def one(number: int) -> dict[str, NDArray]:
            return response_sky(
                recipe,
                theory,
                setting,
                recipe.sky.nside,
                mask,
                filtering,
                number,
                quadratic=quadratic,
                nthreads=nthreads,
            )

        return _simulated_response(run, setting, one, progress)

    prepared = prepare(
        recipe,
        recipe.sky.nside,
        mask,
        temperature_only=temperature_only,
        theory=theory,
        first=first,
        respond=respond,
        nthreads=nthreads,
    )
    setting = prepared.setting
    response, n0 = ({key: of[key][0] for key in setting.keys} for of in (setting.response, setting.n0))
    write_response(run, response, n0)
    return prepared


def _simulated_response(
    run: RunDir, setting: Setting, one: Callable[[int], Mapping[str, NDArray]], progress: Progress | None
) -> SimulatedResponse:
    """The response of simulations, of which each leaves its spectra in a file."""

    def file(number: int) -> Path:
        return run.path / "recon" / "response_sims" / f"{number:04d}.ecsv"

    def kept(number: int) -> None:
        write_table(file(number), one(number), {}, "spectra of phi estimated and put in, from L = 0")

    numbers = range(run.recipe.reconstruction.response_sims)
    run_tasks(kept, [n for n in numbers if not run.has(file(n))], progress=progress, description="response")
    return gathered([read_table(file(n)) for n in numbers], setting)


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

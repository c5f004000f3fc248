"""Prepare a run: what its maps share, read from the run where it is there, and left in it where it is not."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lensrec.bias.n1 import N1
from lensrec.engine import Progress, Workers, run_tasks
from lensrec.quadratic.estimators import quadratic_estimates
from lensrec.rundir import (
    RunDir,
    RunError,
    read_matrices,
    read_table,
    read_theory,
    write_matrices,
    write_response,
    write_table,
    write_theory,
)
from lensrec.stages.filtering import Filtering
from lensrec.stages.first_order import FirstOrder, first_order
from lensrec.stages.placing import Quadratic
from lensrec.stages.prepare import Preparation, prepare
from lensrec.stages.response import SimulatedResponse, gathered, response_sky
from lensrec.stages.setting import TTH, Setting, theory_of
from lensrec.theory.spectra import TheorySpectra


def prepare_run(
    run: RunDir,
    mask: NDArray | None,
    *,
    temperature_only: bool = False,
    quadratic: Quadratic = quadratic_estimates,
    executor: Workers = None,
    progress: Progress | None = None,
    nthreads: int = 0,
) -> Preparation:
    """Like `lensrec.stages.reconstruct.prepare`, for a run that may be resumed.

    Leaves response.ecsv, n1.ecsv and n1_matrices.fits, and response_sims/ in RUN/recon.
    """
    recipe = run.recipe
    if not run.has(run.theory):
        write_theory(run, theory_of(recipe))
    theory = read_theory(run)

    def first(setting: Setting) -> FirstOrder:
        return _first_order(run, setting, nthreads)

    def respond(setting: Setting, filtering: Filtering) -> SimulatedResponse:
        shared = PairsOfSkies(run, theory, setting, mask, filtering, quadratic, nthreads)
        return _simulated_response(shared, executor, progress)

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


class PairsOfSkies(NamedTuple):
    """What the pairs of skies that find the response share; see `response_sky`."""

    run: RunDir
    theory: TheorySpectra
    setting: Setting
    mask: NDArray | None
    filtering: Filtering
    quadratic: Quadratic
    nthreads: int

    def file(self, number: int) -> Path:
        """The table that a pair leaves."""
        return self.run.path / "recon" / "response_sims" / f"{number:04d}.ecsv"


def response_into(shared: PairsOfSkies, number: int) -> None:
    """Make one pair of skies and leave its spectra in the run."""
    recipe = shared.run.recipe
    spectra = response_sky(
        recipe,
        shared.theory,
        shared.setting,
        recipe.sky.nside,
        shared.mask,
        shared.filtering,
        number,
        quadratic=shared.quadratic,
        nthreads=shared.nthreads,
    )
    write_table(shared.file(number), spectra, {}, "spectra of phi estimated and put in, from L = 0")


def _simulated_response(shared: PairsOfSkies, executor: Workers, progress: Progress | None) -> SimulatedResponse:
    """The response of simulated skies, the spectra of each in a file."""
    run = shared.run
    numbers = range(run.recipe.reconstruction.response_sims)
    missing = [n for n in numbers if not run.has(shared.file(n))]
    run_tasks(response_into, missing, shared=shared, executor=executor, progress=progress, description="response")
    return gathered([read_table(shared.file(n)) for n in numbers], shared.setting)


def _first_order(run: RunDir, setting: Setting, nthreads: int) -> FirstOrder:
    """N1 with its matrices, which n1_matrices.fits keeps: columns are L′ of C^φφ from 0, rows the L of MULTIPOLES."""
    path, lmax_phi = run.path / "recon" / "n1_matrices.fits", len(setting.cl_phi) - 1
    if run.has(path, run.path / "recon" / "n1.ecsv"):
        kept = read_matrices(path)
        keys = tuple(name[4:] for name in kept if name.startswith("PHI_"))
        at = kept["MULTIPOLES"].astype(np.int64)
        shapes = {kept[f"{part}_{key}"].shape for part in ("PHI", "CURL") for key in keys}
        if {*keys} != {*setting.keys} - {TTH} or any(len(shape) != 2 or shape[0] != len(at) for shape in shapes):
            raise RunError(f"{path} is not of these estimators and multipoles; remove it, and it is made anew")
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

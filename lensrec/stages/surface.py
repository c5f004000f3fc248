"""The response surface of a cosmology, computed once on a machine and kept."""

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lensrec.engine import Progress, Workers, run_tasks
from lensrec.fit.data_files import cache_folder
from lensrec.fit.response_surface import (
    CENTRE_NODES,
    THIRD_NODE,
    ResponseSurface,
    SurfacePoint,
    lensed_vector,
    response_surface,
)
from lensrec.rundir import read_matrices, write_matrices
from lensrec.theory.acoustic_scale import PARAMETERS, UnlensedCosmology
from lensrec.theory.expansion import Expansion
from lensrec.theory.spectra import TheorySpectra

STEP = 200
"""lmax of surfaces is a multiple of this, so that one serves several sets of band powers."""

ACCURACY = 2.0
"""CAMB's lens_potential_accuracy in a surface; C_L^φφ is 2e-4 low at L = 400 and 1e-3 at L = 763."""


def surface_of(
    lmax: int,
    *,
    centre: NDArray | None = None,
    mnu: float = 0.06,
    executor: Workers = None,
    progress: Progress | None = None,
    nthreads: int = 0,
) -> ResponseSurface:
    """A surface that reaches lmax at least.

    Parameters
    ----------
    centre : array (6,), optional
        See `lensrec.theory.acoustic_scale.PARAMETERS`; Planck's best fit by default.
    mnu : float
        Σmν in eV.
    executor : Engine or Executor, optional
        Where its cosmologies are computed; in this process by default.

    Notes
    -----
    Each of its 43 cosmologies is kept in a file of its own, in the user's cache, as soon as it is there: a killed
    computation goes on, and a second surface like the first takes a second.
    """
    top = STEP * -(-lmax // STEP)

    def mapping(
        function: Callable[[SurfacePoint], NDArray], points: Iterable[SurfacePoint]
    ) -> Iterable[NDArray[np.float64]]:
        tasks = [(_kept(point), point) for point in points]
        missing = [task for task in tasks if not task[0].is_file()]
        if missing:
            run_tasks(
                cosmology_into,
                missing,
                shared=function,
                executor=executor,
                progress=progress,
                description="cosmologies",
            )
        return [read_matrices(path)["SPECTRA"] for path, _ in tasks]

    return response_surface(
        lmax=top, centre=centre, mnu=mnu, lens_potential_accuracy=ACCURACY, nthreads=nthreads, mapping=mapping
    )


def cosmology_into(function: Callable[[SurfacePoint], NDArray], task: tuple[Path, SurfacePoint]) -> None:
    """Compute one cosmology and keep it in its file."""
    path, point = task
    write_matrices(path, {"SPECTRA": function(point)})


def _kept(point: SurfacePoint) -> Path:
    name = hashlib.sha256(repr((point._replace(nthreads=0), _versions())).encode()).hexdigest()[:20]
    return cache_folder() / "surfaces" / f"{name}.fits"


def surface_at(
    theory: TheorySpectra, lmax: int, *, centre: NDArray | None = None, nthreads: int = 0
) -> ResponseSurface:
    """A surface of one cosmology, in which A_L^TTTEEE alone moves: what a fit with ΛCDM held needs."""
    top = min(lmax, theory.lmax)
    cosmology = UnlensedCosmology(
        {key: theory.unlensed[key] for key in ("TT", "EE", "TE")}, theory.potential["PP"], np.nan, np.nan
    )
    p = len(PARAMETERS)
    nodes = (1.0, 0.0, THIRD_NODE, *CENTRE_NODES)
    point = SurfacePoint((0.0,) * p, nodes, top, np.nan, np.nan, nthreads)
    values = lensed_vector(cosmology, point)
    width = 4 * (top + 1)
    lensed = values[: width * len(nodes)].reshape(-1, width)
    terms = 1 + p + p * (p + 1) // 2
    cmb, phi = np.zeros((5, terms, width)), np.zeros((terms, len(values) - lensed.size))
    a = np.array(nodes[1:]) - 1.0
    cmb[0, 0], phi[0] = lensed[0], values[lensed.size :]
    cmb[1:, 0] = np.linalg.solve(a[:, None] ** np.arange(1, 5), lensed[1:] - lensed[0])
    return ResponseSurface(top, cmb, Expansion(np.zeros(p) if centre is None else centre, np.ones(p), phi))


def _versions() -> tuple[str, str]:
    from importlib.metadata import version

    return version("camb"), version("lensrec")

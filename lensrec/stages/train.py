"""The emulator of the theory: from the package, or trained on this machine and kept."""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lensrec.engine import Progress, Workers, run_tasks
from lensrec.fit.data_files import cache_folder
from lensrec.fit.emulator import Emulator
from lensrec.fit.emulator_errors import errors_in_sigma, planck_like, summary, true_spectra
from lensrec.fit.emulator_file import read_emulator, to_matrices
from lensrec.fit.emulator_points import Box, EmulatorPoint, box_points, cmb_knots, evaluate
from lensrec.fit.emulator_training import Component, emulator_from
from lensrec.fit.published import VARIANTS, published
from lensrec.rundir import read_matrices, write_matrices
from lensrec.spectra.linear_data import LinearData

Evaluate = Callable[[EmulatorPoint], NDArray[np.float64]]

LMAX = 2600
N_TRAINING = 480
"""In σ of published band powers, C_L^φφ is off by up to 0.18 with 240 of them, by less than 0.1 with these."""

N_UNSEEN = 200
BATCH = 8
"""Cosmologies in a file: what a killed training loses at most, for each process."""

ACCURACY = 1.0
"""CAMB's lens_potential_accuracy at the points."""

REFERENCE_ACCURACY = 4.0
"""And once at the centre of the box; ln C_L^φφ of every point is corrected by the difference there."""

_ACCURACIES = (ACCURACY, REFERENCE_ACCURACY)

SEEDS = {"training": 1, "unseen": 2}
FORMAT = 1
"""Of what `evaluate` gives; old files are left alone when it changes."""


def emulator_of(
    lmax: int = LMAX,
    *,
    n_training: int = N_TRAINING,
    n_unseen: int = N_UNSEEN,
    box: Box | None = None,
    executor: Workers = None,
    progress: Progress | None = None,
    nthreads: int = 0,
    function: Evaluate = evaluate,
    folder: Path | None = None,
    **settings: Any,
) -> Emulator:
    """An emulator trained on n_training cosmologies of the box and judged by n_unseen others.

    Parameters
    ----------
    lmax : int
        Of CMB spectra.
    n_training, n_unseen : int
        Both are beginnings of fixed sequences: more later add to what is there.
    box : Box, optional
    executor : Engine or Executor, optional
        Where cosmologies are computed; by default they follow one another in this process.
    progress : callable, optional
    nthreads : int
        Of lensing; 0: as many as this process may use.
    function : callable
        `emulator_points.evaluate`, or something quicker for tests; picklable for other processes.
    folder : Path, optional
        Where cosmologies and the emulator are kept; by default in the user's cache, by the settings' hash.
    settings
        As for `emulator_training.emulator_from`.

    Returns
    -------
    Emulator
        With `errors`: of each set of published band powers that is on this machine, or else of a Planck-like
        experiment, (3, bins): the largest error over the unseen points in σ, the root mean square, and their number.

    Notes
    -----
    BATCH cosmologies are kept in a file of their own as soon as they are there, and so is each lensed component: a
    killed training goes on, a second like the first takes what was found.
    """
    box = Box() if box is None else box
    home = training_folder(lmax, box) if folder is None else folder
    counts = {"training": n_training, "unseen": n_unseen}
    kept: dict[str, tuple[NDArray, NDArray]] = {}
    tasks = []
    for kind, n in counts.items():
        batches = -(-n // BATCH)
        x = box_points(box, batches * BATCH, seed=SEEDS[kind])
        tasks += [(home / f"{kind}_{k:04d}.fits", x[k * BATCH : (k + 1) * BATCH], ACCURACY) for k in range(batches)]
    tasks += [(home / f"centre_{accuracy:g}.fits", box.centre[None], accuracy) for accuracy in _ACCURACIES]
    missing = [task for task in tasks if not _complete(task)]
    if missing:
        run_tasks(
            partial(keep_batch, function=function, lmax=lmax),
            missing,
            executor=executor,
            progress=progress,
            description=f"batches of {BATCH} cosmologies",
        )
    for kind, n in counts.items():
        found = [read_matrices(task[0]) for task in tasks if task[0].name.startswith(kind)]
        if found:
            x, values = (np.concatenate([one[name] for one in found])[:n] for name in ("X", "VALUES"))
            kept[kind] = x, values
    usual, centre = (read_matrices(home / f"centre_{accuracy:g}.fits")["VALUES"][0] for accuracy in _ACCURACIES)
    shift = (centre - usual)[3 * len(cmb_knots(lmax)) : -2]

    def lensing(
        function: Callable[[Component], tuple[NDArray, NDArray]], components: Iterable[Component]
    ) -> list[tuple[NDArray, NDArray]]:
        tasks = [(home / f"lensed_{_hash(c._replace(nthreads=0))}.fits", c) for c in components]
        absent = [task for task in tasks if not task[0].is_file()]
        if absent:
            run_tasks(
                partial(keep_component, function=function),
                absent,
                executor=executor,
                progress=progress,
                description="lensed components",
            )
        found = [read_matrices(path) for path, _ in tasks]
        return [(one["AMPLITUDE"], one.get("SHAPE", np.zeros(0))) for one in found]

    emulator = emulator_from(
        *kept["training"],
        usual,
        lmax=lmax,
        box=box,
        shift=shift,
        nthreads=nthreads,
        mapping=lensing,
        **settings,
    )
    if "unseen" in kept:
        emulator = judged(
            emulator, *kept["unseen"], centre=centre, executor=executor, nthreads=nthreads, progress=progress
        )
    write_matrices(home / "emulator.fits", to_matrices(emulator))
    return read_emulator(home / "emulator.fits")


def keep_batch(task: tuple[Path, NDArray, float], *, function: Evaluate, lmax: int) -> None:
    """Evaluate the cosmologies of one file and write it."""
    path, x, accuracy = task
    values = [function(EmulatorPoint(tuple(row.tolist()), lmax, accuracy)) for row in x]
    write_matrices(path, {"X": x, "VALUES": np.array(values)})


def keep_component(task: tuple[Path, Component], *, function: Callable[[Component], tuple[NDArray, NDArray]]) -> None:
    """Lens one component and write what comes of it."""
    path, component = task
    of_amplitude, of_shape = function(component)
    write_matrices(path, {"AMPLITUDE": of_amplitude, **({"SHAPE": of_shape} if of_shape.size else {})})


def judged(
    emulator: Emulator,
    x: NDArray,
    values: NDArray,
    *,
    centre: NDArray,
    executor: Workers = None,
    nthreads: int = 0,
    progress: Progress | None = None,
) -> Emulator:
    """The emulator with its errors at cosmologies x (n, 9) that it was not made from, and at the centre of the box.

    `values` (n, …) and `centre` are what `emulator_points.evaluate` gave for them, `centre` with REFERENCE_ACCURACY.
    """
    good = np.isfinite(values).all(axis=1)
    truths = run_tasks(
        partial(true_spectra, lmax=emulator.lmax, shift=emulator.shift, nthreads=nthreads),
        values[good],
        executor=executor,
        progress=progress,
        description="unseen cosmologies",
    )
    at_centre = true_spectra(centre, emulator.lmax, nthreads=nthreads)
    errors = {}
    for data in judging_data(at_centre, emulator.lmax):
        errors[data.name] = summary(errors_in_sigma(emulator, x[good], truths, data))
        errors[f"{data.name}_centre"] = errors_in_sigma(emulator, emulator.box.centre[None], [at_centre], data)
    return replace(emulator, errors=errors)


def judging_data(centre: dict[str, NDArray], lmax: int) -> list[LinearData]:
    """Published band powers that are on this machine and within lmax, or else those of a Planck-like experiment."""
    found = []
    for name in VARIANTS:
        try:
            data = published(name)
        except FileNotFoundError:
            continue
        if all(end <= lmax + (2500 if key == "PP" else 0) for key, end in data.lmax.items()):
            found.append(data)
    return found or [planck_like(centre, lmax)]


def training_folder(lmax: int, box: Box) -> Path:
    """Where cosmologies of these settings are kept."""
    from importlib.metadata import version

    settings = (FORMAT, lmax, box, ACCURACY, REFERENCE_ACCURACY, SEEDS, version("camb"))
    return cache_folder() / "emulators" / _hash(settings)


def _hash(settings: Iterable[object]) -> str:
    parts = [one.tobytes() if isinstance(one, np.ndarray) else repr(one).encode() for one in settings]
    return hashlib.sha256(b"|".join(parts)).hexdigest()[:20]


def _complete(task: tuple[Path, NDArray, float]) -> bool:
    path, x, _ = task
    return path.is_file() and np.array_equal(read_matrices(path)["X"], x)

"""What all commands share: options, threads, progress and log lines on the terminal."""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

if TYPE_CHECKING:
    from lensrec.engine import Progress, Workers
    from lensrec.recipe import Recipe
    from lensrec.rundir import RunDir

Out = Annotated[Path, typer.Option("--out", metavar="RUN", help="Run directory; one that is there is gone on with.")]
Set = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Another value for a key, e.g. sky.nside=1024.")
]
Where = Annotated[
    str | None,
    typer.Option("--backend", metavar="NAME", help="auto, numpy or cupy: where to lens skies and estimate φ."),
]
Threads = Annotated[int, typer.Option(min=0, help="Threads to use, of each worker; 0 for all there are.")]
EngineName = Annotated[
    str | None,
    typer.Option(
        "--engine", metavar="NAME", help="process, pool, dask, slurm, mpi, or a Dask scheduler's address or *.json."
    ),
]
WorkerCount = Annotated[
    int, typer.Option("--workers", min=0, help="Workers of the engine; alone: of a pool of processes.")
]


class Means(NamedTuple):
    """What a command works with: who executes tasks, and who is told of progress."""

    executor: "Workers"
    progress: "Progress"


class Team(NamedTuple):
    """Who is to execute tasks, as the command line says."""

    engine: str | None = None
    workers: int = 0


def overrides_of(overrides: list[str] | None, backend: str | None) -> list[str]:
    """What --set says, and --backend; a device that cannot be had is refused here, before a run is begun or changed."""
    said = [*(overrides or []), *([] if backend is None else [f"compute.backend={backend}"])]
    if "compute.backend=cupy" in said:
        from lensrec.arrays import backend as make_backend

        make_backend("cupy")
    return said


@contextmanager
def on_run(out: Path, recipe: "Recipe", threads: int, team: Team = Team()) -> "Iterator[tuple[RunDir, Means]]":  # noqa: B008
    """A run that is begun, or gone on with, and held."""
    from lensrec.run_lock import locked
    from lensrec.rundir import create_run

    with machine(threads, team) as means, locked(out):
        yield create_run(out, recipe, command=command_line()), means


@contextmanager
def on_amended_run(
    path: Path,
    overrides: list[str],
    threads: int,
    team: Team = Team(),  # noqa: B008
) -> "Iterator[tuple[RunDir, Means]]":
    """A run that is there, held, with other keys where they may still change."""
    from lensrec.recipe import Recipe
    from lensrec.run_lock import locked
    from lensrec.rundir import amend_run, open_run, record_command

    open_run(path)
    with machine(threads, team) as means, locked(path):
        run = amend_run(open_run(path), Recipe.load(path / "recipe.yaml", overrides))
        record_command(run, command_line())
        yield run, means


@contextmanager
def machine(threads: int, team: Team = Team()) -> "Iterator[Means]":  # noqa: B008
    """Threads and workers as asked, logs on the terminal, and a progress bar; plain lines where there is no terminal.

    Workers are there before a run is held: of an MPI job, one rank alone comes back from here.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

    from lensrec.engine import open_engine

    if threads:
        os.environ["LENSREC_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = str(threads)
    console = Console()
    handler = _Lines(console)
    logger = logging.getLogger("lensrec")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    try:
        with Bars(*columns, console=console, disable=not console.is_terminal) as bars:
            known: dict[str, Any] = {}

            def report(text: str, done: int, total: int) -> None:
                if text not in known:
                    known[text] = bars.add_task(text, total=total)
                bars.update(known[text], completed=done, total=total)
                if not console.is_terminal and total:
                    typer.echo(f"{text}: {done}/{total}")

            with open_engine(team.engine, workers=team.workers, threads=threads) as engine:
                yield Means(engine, report)
    finally:
        logger.removeHandler(handler)


class _Lines(logging.Handler):
    """Log records as lines above the progress bar; warnings on stderr."""

    def __init__(self, console: Any) -> None:
        super().__init__()
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if record.levelno >= logging.WARNING:
            typer.echo(f"lensrec: {text}", err=True)
        else:
            self._console.print(text, markup=False, highlight=False)


def command_line() -> list[str]:
    return ["lensrec", *sys.argv[1:]]

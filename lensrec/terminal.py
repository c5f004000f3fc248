"""What all commands share: options, threads, progress and log lines on the terminal."""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from lensrec.engine import Progress
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
Threads = Annotated[int, typer.Option(min=0, help="Threads to use; 0 for all there are.")]


def overrides_of(overrides: list[str] | None, backend: str | None) -> list[str]:
    """What --set says, and --backend; a device that cannot be had is refused here, before a run is begun or changed."""
    said = [*(overrides or []), *([] if backend is None else [f"compute.backend={backend}"])]
    if "compute.backend=cupy" in said:
        from lensrec.arrays import backend as make_backend

        make_backend("cupy")
    return said


@contextmanager
def on_run(out: Path, recipe: "Recipe", threads: int) -> "Iterator[tuple[RunDir, Progress]]":
    from lensrec.run_lock import locked
    from lensrec.rundir import create_run

    with locked(out), machine(threads) as progress:
        yield create_run(out, recipe, command=command_line()), progress


@contextmanager
def on_amended_run(path: Path, overrides: list[str], threads: int) -> "Iterator[tuple[RunDir, Progress]]":
    """A run that is there, held, with other keys where they may still change."""
    from lensrec.recipe import Recipe
    from lensrec.run_lock import locked
    from lensrec.rundir import amend_run, open_run

    open_run(path)
    with locked(path), machine(threads) as progress:
        yield amend_run(open_run(path), Recipe.load(path / "recipe.yaml", overrides)), progress


@contextmanager
def machine(threads: int) -> "Iterator[Progress]":
    """Threads as asked, logs on the terminal, and a progress bar; plain lines where there is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

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

            yield report
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

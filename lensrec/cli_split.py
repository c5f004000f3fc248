"""Commands of the second half of a run: band powers, the split, and published data."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lensrec.terminal import (
    EngineName,
    Means,
    Set,
    Team,
    Threads,
    WorkerCount,
    command_line,
    machine,
    on_amended_run,
)

if TYPE_CHECKING:
    from lensrec.rundir import RunDir

data_app = typer.Typer(
    no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None, help="Published data sets."
)


def bandpowers(
    run: Annotated[Path, typer.Argument(help="Run directory whose skies have been reconstructed.")],
    splits: Annotated[
        str | None,
        typer.Option(metavar="A.fits,B.fits", help="Splits of a map from outside, for cross-spectra of these."),
    ] = None,
    set_: Set = None,
    engine: EngineName = None,
    workers: WorkerCount = 0,
    threads: Threads = 0,
) -> None:
    """Measure TT, TE, EE and C_L^φφ with their joint covariance, and write them as SACC."""
    files = None if splits is None else [name.strip() for name in splits.split(",") if name.strip()]
    if files is not None and any(one.startswith("bandpowers.splits=") for one in set_ or []):
        raise typer.BadParameter("--set bandpowers.splits: follows from --splits; leave it out")
    with on_amended_run(run, set_ or [], threads, Team(engine, workers)) as (folder, means):
        make_bandpowers(folder, means, files)
    typer.echo(f"{run / 'bandpowers.sacc.fits'}: pictures in {run / 'pictures'}")


def split(
    run: Annotated[Path | None, typer.Argument(help="Run directory that has bandpowers.sacc.fits.")] = None,
    data: Annotated[
        str | None, typer.Option(metavar="NAME,NAME", help="Or published data, e.g. planck2018_plik_lite.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="OUT", help="Folder for a split of these.")] = None,
    tau: Annotated[float | None, typer.Option(min=0.0, help="Centre of the prior on τ for these; 0.0544.")] = None,
    tau_sigma: Annotated[float | None, typer.Option(min=1e-6, help="Its standard deviation; 0.0073.")] = None,
    set_: Set = None,
    engine: EngineName = None,
    workers: WorkerCount = 0,
    threads: Threads = 0,
) -> None:
    """Fit both lensing amplitudes, A_L^TTTEEE and A_L^φφ, and how far they are apart."""
    if (run is None) == (data is None):
        raise typer.BadParameter("give a run directory or --data, one of the two")
    if run is not None:
        if out is not None or tau is not None or tau_sigma is not None:
            raise typer.BadParameter("--out, --tau, --tau-sigma: only with --data; a run has its recipe, see --set")
        if other := [one for one in set_ or [] if not one.startswith("split.")]:
            raise typer.BadParameter(
                f"--set {other[0]}: split takes split.KEY alone; give others to lensrec bandpowers"
            )
        with on_amended_run(run, set_ or [], threads, Team(engine, workers)) as (folder, means):
            make_split(folder, means)
        _say(run)
        return
    if out is None:
        raise typer.BadParameter("--data needs --out, too")
    if set_:
        raise typer.BadParameter("--set: published data have no recipe; --tau and --tau-sigma are what there is")
    from lensrec.run_lock import locked

    assert data is not None
    names = [name.strip() for name in data.split(",") if name.strip()]
    with machine(threads, Team(engine, workers)) as means, locked(out):
        from lensrec.fit.split import PLANCK_PRIORS
        from lensrec.stages.split_published import split_published

        mean, sigma = PLANCK_PRIORS["tau"]
        prior = (mean if tau is None else tau, sigma if tau_sigma is None else tau_sigma)
        priors = {**PLANCK_PRIORS, "tau": prior}
        split_published(names, out, priors=priors, command=command_line(), **means._asdict(), nthreads=threads)
    _say(out)


@data_app.command("get")
def data_get(name: Annotated[str, typer.Argument(help="A name that `lensrec data list` shows.")]) -> None:
    """Download a published data set into the cache, and check it."""
    from lensrec.fit.data_files import fetch

    typer.echo(f"{name}: {fetch(name, report=lambda path: typer.echo(path))}")


@data_app.command("list")
def data_list() -> None:
    """Say which published data sets there are, and which of them are on this machine."""
    from lensrec.fit.data_files import data_names, data_path

    for name in data_names():
        try:
            where = str(data_path(name))
        except (OSError, ValueError) as error:
            where = f"not here: {error}".partition(";")[0]
        typer.echo(f"{name:24} {where}")


def make_bandpowers(run: "RunDir", means: Means, splits: list[str] | None = None) -> None:
    """The stage of a pipeline."""
    from lensrec.stages.bandpowers_run import bandpowers_run

    bandpowers_run(run, splits=splits, **means._asdict())


def make_split(run: "RunDir", means: Means) -> None:
    """Likewise."""
    from lensrec.stages.split_run import split_run

    split_run(run, **means._asdict())


def _say(folder: Path) -> None:
    from lensrec.view.split import split_table

    typer.echo(split_table(json.loads((folder / "split.json").read_text(encoding="utf-8"))))
    typer.echo(f"{folder / 'split.json'}: pictures in {folder / 'pictures'}")

"""The commands: they parse, call a stage and say what came of it. Exit 0; 1 with one line on stderr; 2 for wrong usage.

Everything heavy is imported by the command that needs it, so that `lensrec --help` is there at once.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lensrec.cli_fit import fit, forecast, run_fits
from lensrec.cli_inspect import inspect
from lensrec.cli_machine import info, selftest
from lensrec.cli_report import report
from lensrec.cli_split import bandpowers, data_app, make_bandpowers, make_split, split
from lensrec.terminal import (
    EngineName,
    Means,
    Out,
    Set,
    Team,
    Threads,
    Where,
    WorkerCount,
    command_line,
    machine,
    on_amended_run,
    on_run,
    overrides_of,
)

if TYPE_CHECKING:
    from lensrec.rundir import RunDir

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Lensed CMB skies, the lensing potential reconstructed from maps, and both lensing amplitudes.",
)
app.command()(bandpowers)
app.command()(split)
app.command()(fit)
app.command()(forecast)
app.command()(report)
app.command()(inspect)
app.command()(info)
app.command()(selftest)
app.add_typer(data_app, name="data")


def main() -> None:
    """Run the command line and turn an error into one line on stderr and exit status 1."""
    arguments = [a for a in sys.argv[1:] if a != "--debug"]
    if len(arguments) < len(sys.argv) - 1:
        app(arguments, prog_name="lensrec")
    try:
        app(arguments, prog_name="lensrec")
    except KeyboardInterrupt:
        typer.echo("lensrec: interrupted; the same command goes on where this one was", err=True)
        sys.exit(130)
    except Exception as err:
        lines = str(err).strip().split("\n") if str(err).strip() else [type(err).__name__]
        more = f" (and {len(lines) - 1} more like it)" if len(lines) > 1 else ""
        own = isinstance(err, ValueError | OSError) or type(err).__module__.startswith("lensrec.")
        named = "" if own else f"{type(err).__name__}: "
        typer.echo(f"lensrec: {named}{_printable(lines[0])}{more}", err=True)
        sys.exit(1)


def _printable(line: str) -> str:
    """A line in which what would not print, or would steer the terminal, is written as Python writes it."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in line)


def _version(wanted: bool) -> None:
    if wanted:
        from lensrec import __version__

        typer.echo(f"lensrec {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="The version.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error; goes anywhere.")] = False,
) -> None:
    pass


@app.command()
def simulate(
    recipe: Annotated[str, typer.Argument(help="A YAML file, or a name such as quickstart.")],
    out: Out,
    set_: Set = None,
    backend: Where = None,
    engine: EngineName = None,
    workers: WorkerCount = 0,
    threads: Threads = 0,
) -> None:
    """Draw skies, lens them, and observe them with beam, noise and mask."""
    from lensrec.recipe import Recipe

    checked = Recipe.load(recipe, overrides_of(set_, backend))
    with on_run(out, checked, threads, Team(engine, workers)) as (run, means):
        _simulate(run, means)
    typer.echo(f"{out}: {checked.sky.n_sims} simulated")


@app.command()
def reconstruct(
    run: Annotated[Path | None, typer.Argument(help="Run directory whose skies are to be reconstructed.")] = None,
    map_: Annotated[Path | None, typer.Option("--map", help="Or a map from outside: I, or I, Q, U, in FITS.")] = None,
    mask: Annotated[Path | None, typer.Option(help="Its mask, a FITS map from 0 to 1.")] = None,
    fwhm: Annotated[str | None, typer.Option(help="Its beam, e.g. 1.4arcmin.")] = None,
    noise: Annotated[str | None, typer.Option(help="Its white noise in T, µK·arcmin.")] = None,
    noise_p: Annotated[str | None, typer.Option(help="The same in Q and in U; √2 times that of T.")] = None,
    lmax: Annotated[int | None, typer.Option(help="Highest CMB multipole.")] = None,
    lmin: Annotated[int | None, typer.Option(help="Lowest CMB multipole.")] = None,
    estimators: Annotated[str | None, typer.Option(help="Of TT,EE,TE,TB,EB,MV; all that the map allows.")] = None,
    pixel_window: Annotated[str, typer.Option(help="none or healpix: whether pixels average the sky.")] = "none",
    unit: Annotated[str | None, typer.Option(help="K, mK or uK, where the file does not say or is wrong.")] = None,
    ordering: Annotated[str | None, typer.Option(help="RING or NESTED, likewise.")] = None,
    polconv: Annotated[str | None, typer.Option(help="COSMO or IAU, likewise.")] = None,
    mean_field_sims: Annotated[int | None, typer.Option(min=0, help="Masked skies for mean field and N0.")] = None,
    apodise: Annotated[str | None, typer.Option(help="Apodisation of the mask, e.g. 1deg; 0 for none.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of those skies.")] = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="RUN", help="Run directory for a map.")] = None,
    set_: Set = None,
    backend: Where = None,
    engine: EngineName = None,
    workers: WorkerCount = 0,
    threads: Threads = 0,
) -> None:
    """Reconstruct the lensing potential from a run's skies, or from a map that lensrec did not make."""
    if (run is None) == (map_ is None):
        raise typer.BadParameter("give a run directory or --map, one of the two")
    overrides = overrides_of(set_, backend)
    if run is not None:
        named = {"mask": mask, "fwhm": fwhm, "noise": noise, "noise-p": noise_p, "lmax": lmax, "lmin": lmin}
        named |= {"estimators": estimators, "unit": unit, "ordering": ordering, "apodise": apodise, "seed": seed}
        named |= {"polconv": polconv, "mean-field-sims": mean_field_sims, "out": out}
        if extra := [f"--{key}" for key, value in named.items() if value is not None]:
            raise typer.BadParameter(f"{', '.join(extra)}: only with --map; a run has its recipe, see --set")
        _reconstruct_run(run, overrides, threads, Team(engine, workers))
        typer.echo(f"{run}: reconstructed, pictures in {run / 'pictures'}")
        return
    assert map_ is not None
    if missing := [f"--{key}" for key, value in {"fwhm": fwhm, "noise": noise, "out": out}.items() if value is None]:
        raise typer.BadParameter(f"--map needs {', '.join(missing)}, too")
    assert out is not None
    multipoles = {"lmin_t": lmin, "lmin_p": lmin, "lmax_t": lmax, "lmax_p": lmax}
    settings: dict[str, Any] = {
        "name": map_.name.partition(".")[0],
        "sky": {"seed": seed},
        "instrument": {"fwhm": fwhm, "noise_t": noise, "noise_p": noise_p, "pixel_window": pixel_window},
        "mask": {"file": mask and str(mask.resolve()), "apodisation": apodise},
        "reconstruction": {**multipoles, "estimators": estimators, "mean_field_sims": mean_field_sims},
    }
    reading = {"unit": unit, "ordering": ordering, "polconv": polconv}
    _reconstruct_map(map_, _said(settings), overrides, out, reading, threads, Team(engine, workers))
    typer.echo(f"{out}: reconstructed, pictures in {out / 'pictures'}")
    _say_amplitude(out / "recon" / "data" / "amplitude.json")


@app.command()
def run(
    pipeline: Annotated[str, typer.Argument(help="A YAML file, or a name such as quickstart.")],
    out: Out,
    set_: Set = None,
    backend: Where = None,
    engine: EngineName = None,
    workers: WorkerCount = 0,
    threads: Threads = 0,
) -> None:
    """Go through all stages of a pipeline, in order; or through its fits, to a page of claims."""
    from lensrec.recipe import PipelineRecipe
    from lensrec.recipe_anomaly import is_anomaly

    if is_anomaly(pipeline):
        run_fits(pipeline, out, set_, threads)
        return
    plan = PipelineRecipe.load(pipeline)
    recipe = plan.sky_recipe(overrides_of(set_, backend))
    steps: dict[str, Callable[[RunDir, Means], None]]
    steps = {"simulate": _simulate, "reconstruct": _reconstruct, "view": _view}
    steps |= {"bandpowers": make_bandpowers, "split": make_split}
    with on_run(out, recipe, threads, Team(engine, workers)) as (folder, means):
        for stage in plan.stages:
            steps[stage](folder, means)
    pictures = f", pictures in {out / 'pictures'}" if "view" in plan.stages else ""
    typer.echo(f"{out}: {', '.join(plan.stages)} done{pictures}")
    if recipe.sky.n_sims == 1:
        _say_amplitude(out / "recon" / "0000" / "amplitude.json")


def _simulate(run: "RunDir", means: Means) -> None:
    from lensrec.stages.simulate import simulate_run

    simulate_run(run, **means._asdict())


def _reconstruct(run: "RunDir", means: Means) -> None:
    from lensrec.stages.reconstruct_run import reconstruct_run

    reconstruct_run(run, **means._asdict())


def _view(run: "RunDir", means: Means) -> None:
    from lensrec.stages.view import view_run

    view_run(run)


def _say_amplitude(file: Path) -> None:
    """The answer in a line; nothing where a stage has left none."""
    from lensrec.products import read_amplitude

    if not file.is_file():
        return
    fits = read_amplitude(file)
    about = fits.pop("about")
    key = "MV" if "MV" in fits else next(iter(fits))
    fit = fits[key]
    typer.echo(
        f"{key}: A_L^φφ = {fit['mean']:.3f} ± {fit['sigma']:.3f} for {about['L_low']} ≤ L ≤ {about['L_high']}, "
        f"χ² {fit['chi2']:.0f} for {fit['ndof']}; {' and '.join(about['taken_off'])} taken off, "
        f"{' and '.join(about['not_taken_off'])} not"
    )


def _reconstruct_run(path: Path, overrides: list[str], threads: int, team: Team) -> None:
    with on_amended_run(path, overrides, threads, team) as (run, means):
        _reconstruct(run, means)
        _view(run, means)


def _reconstruct_map(
    file: Path,
    settings: dict[str, Any],
    overrides: list[str],
    out: Path,
    reading: dict[str, Any],
    threads: int,
    team: Team,
) -> None:
    from lensrec.recipe_files import override
    from lensrec.run_lock import locked

    settings = override(settings, overrides)
    if not file.is_file():
        raise FileNotFoundError(f"{file}: " + ("is a folder, not a map" if file.is_dir() else "there is no such file"))
    with machine(threads, team) as means, locked(out):
        from lensrec.stages.reconstruct_run import reconstruct_map

        run = reconstruct_map(file, settings, out=out, **reading, command=command_line(), **means._asdict())
        _view(run, means)


def _said(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings without what was left unsaid."""
    kept = {key: _said(v) if isinstance(v, dict) else v for key, v in settings.items() if v is not None}
    return {key: v for key, v in kept.items() if v != {}}


if __name__ == "__main__":
    main()

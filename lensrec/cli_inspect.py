"""The command that looks into files: maps and other products, recipes and run directories."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lensrec.terminal import Threads

if TYPE_CHECKING:
    from lensrec.view.text_picture import Colours


def inspect(
    file: Annotated[
        Path, typer.Argument(help="A map, mask or hits, alm, SACC, an ECSV table, JSON, a recipe, or a run directory.")
    ],
    unit: Annotated[str | None, typer.Option(help="K, mK or uK, where the file does not say or is wrong.")] = None,
    ordering: Annotated[str | None, typer.Option(help="RING or NESTED, likewise.")] = None,
    polconv: Annotated[str | None, typer.Option(help="COSMO or IAU, likewise.")] = None,
    spectrum: Annotated[bool, typer.Option(" /--no-spectrum", help="Leave the power spectrum out.")] = True,
    picture: Annotated[Path | None, typer.Option(metavar="FILE.png", help="Save a picture of the map.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The facts as JSON, for programs.")] = False,
    threads: Threads = 0,
) -> None:
    """Say what a map holds, and what is doubtful in it, with its spectrum and a picture; or what a run amounts to."""
    if file.is_dir():
        _say_folder(file, as_json=as_json)
        return
    if file.suffix in (".yaml", ".yml") or not (file.suffix or file.exists()):
        if as_json:
            import json

            from lensrec.notation import read_yaml

            typer.echo(json.dumps(read_yaml(_recipe_of(file)), indent=2, ensure_ascii=False))
        else:
            typer.echo(_recipe_of(file), nl=False)
        return
    if picture is not None and picture.suffix.lower() != ".png":
        raise typer.BadParameter(f"--picture: pictures are saved as PNG; {picture.name!r} should end in .png")
    from lensrec.stages.inspection import inspect_file

    found = inspect_file(file, unit=unit, ordering=ordering, polconv=polconv, spectrum=spectrum, nthreads=threads)
    if as_json:
        import json

        from lensrec.stages.inspection.found import plain

        typer.echo(json.dumps(plain(found.facts), indent=2, ensure_ascii=False))
    else:
        from lensrec.view.facts import fact_lines
        from lensrec.view.text_picture import scale_line, text_picture

        facts = dict(found.facts)
        problems = facts.pop("problems", [])
        typer.echo("\n".join(fact_lines(facts, bars=sys.stdout.isatty())))
        if found.picture is not None:
            shown, colours = found.picture, _colours()
            lines = text_picture(shown.image, shown.limits, frame=shown.frame, colours=colours)
            lines.append(f"{shown.label}: {scale_line(shown.limits, shown.unit, colours=colours)}")
            typer.echo("\n" + "\n".join(lines) + "\n", color=True)
        typer.echo("\n".join(fact_lines({"problems": problems})))
    if picture is not None:
        if found.draw is None:
            raise ValueError(f"{file}: there is no picture of {found.facts['kind']} files")
        from lensrec.view.figure import save_figure

        typer.echo(f"{save_figure(found.draw(), picture)}: the picture", err=as_json)


def _colours() -> "Colours":
    """What the terminal can show: 24 bits where it says so, else the 256 of xterm; none in a file or by NO_COLOR."""
    if not sys.stdout.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return "none"
    return "full" if os.environ.get("COLORTERM", "").lower() in ("truecolor", "24bit") else "256"


def _say_folder(folder: Path, *, as_json: bool) -> None:
    from lensrec.stages.inspection import inspect_folder

    facts = inspect_folder(folder)
    if as_json:
        import json

        from lensrec.notation import read_yaml

        recipe = {"recipe": read_yaml(facts["recipe"])} if "recipe" in facts else {}
        typer.echo(json.dumps(facts | recipe, indent=2, ensure_ascii=False))
        return
    width = max((len(stage) for stage in facts["stages"]), default=0) + 2
    typer.echo(f"run {facts['run']}")
    typer.echo("\n".join(f"  {stage:<{width}}{said}" for stage, said in facts["stages"].items()))
    typer.echo("".join(f"  {line}\n" for line in facts["answers"]))
    typer.echo(facts.get("recipe", ""))
    typer.echo("\n".join(facts["files"]))


def _recipe_of(file: Path) -> str:
    """A recipe of a sky, a fit, a forecast or a pipeline of fits, with all that it leaves unsaid."""
    from lensrec.recipe import Recipe
    from lensrec.recipe_anomaly import AnomalyRecipe
    from lensrec.recipe_files import read_recipe
    from lensrec.recipe_fit import FitRecipe
    from lensrec.recipe_forecast import ForecastPlan

    keys = read_recipe(file).keys() if file.is_file() else ()
    for key, kind in (("fits", AnomalyRecipe), ("data", FitRecipe), ("experiments", ForecastPlan)):
        if key in keys:
            return kind.load(file).dump()
    return Recipe.load(file).dump()

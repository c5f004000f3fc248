"""The command that looks into files: maps, recipes and run directories."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer


def inspect(
    file: Annotated[Path, typer.Argument(help="A FITS map, a recipe, or a run directory.")],
    unit: Annotated[str | None, typer.Option(help="K, mK or uK, where the file does not say or is wrong.")] = None,
    ordering: Annotated[str | None, typer.Option(help="RING or NESTED, likewise.")] = None,
    polconv: Annotated[str | None, typer.Option(help="COSMO or IAU, likewise.")] = None,
) -> None:
    """Say what a map holds, and what is doubtful in it; or what a recipe or a run amounts to."""
    if file.is_dir():
        from lensrec.rundir import open_run

        typer.echo(open_run(file).recipe.dump(), nl=False)
        products = sorted(p for p in file.rglob("*") if p.is_file() and not p.name.startswith("."))
        typer.echo("\n".join(str(p.relative_to(file)) for p in products))
    elif file.suffix in (".yaml", ".yml") or not (file.suffix or file.exists()):
        typer.echo(_recipe_of(file), nl=False)
    else:
        from lensrec.sky.io import inspect_map

        for line in _lines(inspect_map(file, unit=unit, ordering=ordering, polconv=polconv)):
            typer.echo(line)


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


def _lines(facts: dict[str, Any], indent: str = "") -> Iterator[str]:
    for key, value in facts.items():
        if isinstance(value, dict):
            yield f"{indent}{key}:"
            yield from _lines(value, indent + "  ")
        elif isinstance(value, list | tuple):
            yield f"{indent}{key}: {', '.join(str(v) for v in value) or 'none'}"
        else:
            yield f"{indent}{key}: {value:.6g}" if isinstance(value, float) else f"{indent}{key}: {value}"

"""The command that tells a whole run on one page."""

from pathlib import Path
from typing import Annotated

import typer


def report(
    run: Annotated[Path, typer.Argument(help="A run, or what split --data, fit or forecast left.")],
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="The page; RUN/report.html.")] = None,
) -> None:
    """Tell a run on one HTML page: recipe, provenance, maps, spectra, nulls, the split and the fit."""
    from lensrec.stages.report import report_run

    page = report_run(run, out)
    typer.echo(f"{page}: {page.stat().st_size / 1e6:.1f} MB, needs no network")

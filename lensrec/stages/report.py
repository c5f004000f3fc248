"""Report: a whole run on one HTML page that needs no network, from what the stages have left."""

from collections.abc import Callable, Sequence
from pathlib import Path

from lensrec.fit.sampling import quiet
from lensrec.rundir import now, package_versions, write_text
from lensrec.stages.report_about import header, provenance_section, recipe_section, stages
from lensrec.stages.report_fits import claim_section, fit_section, forecast_section, split_section
from lensrec.stages.report_maps import map_section, phi_section
from lensrec.stages.report_run import Products, find_products
from lensrec.stages.report_spectra import null_section, spectrum_section
from lensrec.view.report_html import text
from lensrec.view.report_page import Part, page


def report_run(folder: str | Path, out: str | Path | None = None) -> Path:
    """Write the report of a run, a split of published data, fits or a forecast.

    Products have their names only when they are whole, so this takes no lock: it reads what is finished, beside a
    command that is still at work, too, and in a folder that cannot be written to.

    Parameters
    ----------
    folder : str or Path
        What a command was given as --out.
    out : str or Path, optional
        The page; FOLDER/report.html if not given.

    Returns
    -------
    Path
        Of the page.

    Raises
    ------
    RunError
        If the folder is none of these, or a product is damaged.
    ValueError
        If `out` does not end in .html, or is a folder.
    """
    source = Path(folder)
    target = source / "report.html" if out is None else Path(out)
    if target.suffix.lower() not in (".html", ".htm"):
        raise ValueError(f"--out: a report is a page in HTML; {target} should end in .html")
    if target.is_dir():
        raise ValueError(f"--out: {target} is a folder; name a file in it, such as {target / 'report.html'}")
    with quiet():  # GetDist speaks to the root logger
        content = report_page(find_products(source))
    write_text(target, content)
    return target


def report_page(found: Products) -> str:
    """The page of what a folder holds."""
    made = now()
    parts = [Part("stages", "What there is", [stages(found)])]
    parts += [Part(name, title, list(make(found))) for name, title, make in _sections(found)]
    name = found.recipe.name if found.recipe is not None else found.folder.resolve().name
    versions = package_versions()
    by = f"lensrec {text(versions['lensrec'])}, {text(made)}"
    footer = f"By {by}. Every number comes from the files of {text(found.folder)}."
    return page(f"{name}: lensrec report", header(found, made), parts, footer)


def _sections(found: Products) -> list[tuple[str, str, Callable[[Products], Sequence]]]:
    about: list[tuple[str, str, Callable[[Products], Sequence]]]
    about = [("recipe", "Recipe", recipe_section), ("provenance", "Provenance", provenance_section)]
    if found.recipe is not None:
        about += [
            ("maps", "Maps", map_section),
            ("phi", "φ̂ beside φ<sub>in</sub>" if not found.outside else "φ̂", phi_section),
            ("spectra", "Band powers", spectrum_section),
            ("nulls", "Nulls", null_section),
            ("split", "The split", split_section),
        ]
        return [*about, ("fit", "The fit", fit_section)]
    if found.has("claims.json"):
        about.append(("claims", "Claims", claim_section))
    if found.has("split.json"):
        about.append(("split", "The split", split_section))
    if found.fits or found.plan is not None:
        about.append(("fit", "Fits" if len(found.fits) > 1 else "The fit", fit_section))
    if found.forecast is not None:
        about.append(("forecast", "Forecast", forecast_section))
    return about

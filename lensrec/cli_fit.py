"""Commands of cosmology: fits, forecasts, and the page of claims."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lensrec.terminal import EngineName, Out, Set, Team, Threads, WorkerCount, command_line, machine

if TYPE_CHECKING:
    from collections.abc import Mapping


def fit(
    recipe: Annotated[str, typer.Argument(help="A YAML file of a fit, or a name such as fit.")],
    out: Out,
    exact: Annotated[bool, typer.Option("--exact", help="CAMB at every step instead of the trained surface.")] = False,
    set_: Set = None,
    threads: Threads = 0,
) -> None:
    """Fit Σmν of either sign, dark energy and both lensing amplitudes to spectra, BAO and lensing."""
    from lensrec.recipe_fit import FitRecipe
    from lensrec.run_lock import locked

    checked = FitRecipe.load(recipe, [*(set_ or []), *(["exact=true"] if exact else [])])
    with locked(out), machine(threads):
        from lensrec.stages.fit_run import fit_run

        summary = fit_run(checked, out, command=tuple(command_line()))
    typer.echo("\n".join(fit_lines(summary)))
    typer.echo(f"{out / 'fit' / 'summary.json'}: chain and pictures beside it")


def forecast(
    recipe: Annotated[str, typer.Argument(help="A YAML file of a forecast, or a name such as forecast.")],
    out: Out,
    set_: Set = None,
    engine: EngineName = None,
    workers: WorkerCount = 0,
    threads: Threads = 0,
) -> None:
    """Forecast what surveys to come will know of Σmν, τ, dark energy and both lensing amplitudes."""
    from lensrec.recipe_forecast import ForecastPlan
    from lensrec.run_lock import locked

    plan = ForecastPlan.load(recipe, set_ or [])
    with machine(threads, Team(engine, workers)) as means, locked(out):
        from lensrec.stages.forecast_run import forecast_run

        found = forecast_run(plan, out, **means._asdict())
    for case in found["cases"]:
        shown = {name: sigma for name, sigma in case["sigma"].items() if name not in ("ombh2", "omch2", "thetastar")}
        errors = ", ".join(f"σ({name}) = {sigma:.3g}" for name, sigma in shown.items())
        about = f"{case['experiment']}, {case['spectra']}, DESI {case['bao']}, τ {case['tau_prior']}, {case['model']}"
        typer.echo(f"{about}:\n  {errors}")
    typer.echo(f"{out / 'forecast.json'}: what is assumed is in it; a table and pictures beside it")


def run_fits(pipeline: str, out: Path, set_: list[str] | None, threads: int) -> None:
    """A pipeline of fits: what is not there yet is run, and the page written."""
    from lensrec.recipe_anomaly import AnomalyRecipe
    from lensrec.run_lock import locked

    plan = AnomalyRecipe.load(pipeline, set_ or [])
    with locked(out), machine(threads) as means:
        from lensrec.stages.anomaly import anomaly_run

        claims = anomaly_run(plan, out, command=tuple(command_line()), progress=means.progress)
    for claim in claims:
        typer.echo(f"{claim.id:4} {claim.verdict:24} {claim.claim}")
    typer.echo(f"{out / 'anomaly.md'}: the page; claims.json, pictures and fits beside it")


def fit_lines(summary: "Mapping[str, Any]") -> list[str]:
    """A fit as a table for the terminal."""
    about = summary["about"]
    lines = [f"{about['name']}: {', '.join(about['data'])}; {about['model']}, Σmν {about['neutrinos']}"]
    for name, value in summary.items():
        if name != "about":
            low, high = value["limit95"]
            lines.append(f"  {name:24} {value['mean']:11.6g} ± {value['sigma']:<10.3g} 95 %: {low:.5g} to {high:.5g}")
    lines.append(f"  {'χ²':24} {about['chi2']:11.2f} for {about['ndof']} degrees of freedom")
    if "mnu" in about:
        said, tension = about["mnu"], about["mnu"]["tension_normal"]
        if said["limit95_physical"] is not None:
            lines.append(f"  with Σmν ≥ 0: below {said['limit95_physical']:.3f} eV at 95 %")
        else:
            lines.append("  a limit for Σmν ≥ 0 needs more samples there: --set neutrinos.definition=physical")
        lines.append(f"  {tension['gaussian']:+.2f}σ below 0.0588 eV, the least of oscillations (no prior here)")
    return lines

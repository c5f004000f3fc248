"""The question itself: all fits of a pipeline, a forecast, the claims judged by them, pictures, and one page."""

import logging
from importlib.metadata import version
from pathlib import Path
from typing import Any

from lensrec.engine import Progress
from lensrec.recipe_anomaly import AnomalyRecipe
from lensrec.rundir import RunError, make_folder, now, package_versions, record_split, write_json, write_text
from lensrec.stages.anomaly_evidence import Chain, Evidence, read_chain_folder
from lensrec.stages.anomaly_pictures import make_pictures
from lensrec.stages.claims import Claim, all_claims
from lensrec.stages.fit_run import fit_run
from lensrec.stages.forecast_run import forecast_run, settings_of
from lensrec.view.anomaly import page

log = logging.getLogger(__name__)


def begin_anomaly(plan: AnomalyRecipe, out: Path) -> None:
    """Leave a pipeline's recipe in its folder, or see that the one that is there asks for the same numbers.

    Fits may be added, and forecasts changed; a fit that is there may not be another.

    Raises
    ------
    RunError
        If a fit of the folder is not that of the pipeline, or the folder holds something else.
    """
    make_folder(out)
    file = out / "recipe.yaml"
    if file.is_file():
        try:
            there = AnomalyRecipe.load(file)
        except ValueError:
            raise RunError(f"{out} holds no run of a pipeline of fits; give a new --out") from None
        if changed := [name for name in plan.fits.keys() & there.fits.keys() if _other(plan, there, name)]:
            raise RunError(f"{out} holds another fit {', '.join(sorted(changed))}; give a new --out")
    write_text(file, plan.dump())


def anomaly_run(
    plan: AnomalyRecipe, out: Path, *, command: tuple[str, ...] = (), progress: Progress | None = None
) -> list[Claim]:
    """Run what is not there yet, judge all claims, and write OUT/anomaly.md, claims.json and pictures.

    A fit that fails is named, and the page says "not run" for what hangs on it.

    Returns
    -------
    list of Claim

    Raises
    ------
    RunError
        If the folder is not this pipeline's, or not one fit could be made.
    ValueError
        If the forecast's surveys, models or priors are not known; before anything is run.
    """
    if plan.forecast is not None:
        settings_of(plan.forecast)
    begin_anomaly(plan, out)
    record_split(out, list(command), {"fits": list(plan.fits)})
    chains, failed = _fits(plan, out, command, progress)
    if not chains:
        name, why = next(iter(failed.items()))
        raise RunError(f"none of {len(failed)} fits was made, so there is nothing to judge by; {name}: {why}")
    forecast, why = _forecast(plan, out, progress)
    if why:
        failed["forecast"] = why
    about: dict[str, Any] = {key: forecast[key] for key in ("fiducial", "assumed") if key in forecast}
    evidence = Evidence(chains, failed, tuple(forecast.get("cases", ())), about, plan.fits)
    claims = all_claims(evidence, progress)
    pictures = make_pictures(evidence, out / "pictures", progress)
    write_json(
        out / "claims.json",
        {"claims": [claim.plain() for claim in claims], "failed": failed, "pictures": pictures},
    )
    write_text(
        out / "anomaly.md",
        page(
            name=plan.name,
            description=plan.description,
            fits=_rows(plan, chains, failed),
            claims=[claim.plain() | {"shown": [number.text() for number in claim.numbers]} for claim in claims],
            pictures=pictures,
            failed=failed,
            assumed=about.get("assumed", []),
            versions=package_versions() | {name: version(name) for name in ("cobaya", "getdist")},
            made=now(),
        ),
    )
    return claims


def _fits(
    plan: AnomalyRecipe, out: Path, command: tuple[str, ...], progress: Progress | None
) -> tuple[dict[str, Chain], dict[str, str]]:
    chains: dict[str, Chain] = {}
    failed: dict[str, str] = {}
    for k, (name, recipe) in enumerate(plan.fits.items()):
        if progress is not None:
            progress("fits", k, len(plan.fits))
        folder = out / "fits" / name
        if not (folder / "fit" / "summary.json").is_file():
            log.info("fit %s: %s", name, ", ".join(recipe.data))
        try:
            fit_run(recipe, folder, command=command)
            chains[name] = read_chain_folder(folder / "fit")
        except Exception as error:
            # one fit that cannot be had, for want of data or of a best fit, must not cost the others
            failed[name] = " ".join(str(error).split()) or type(error).__name__
            log.warning("the fit %s was not made: %s", name, failed[name])
    if progress is not None:
        progress("fits", len(plan.fits), len(plan.fits))
    return chains, failed


def _forecast(plan: AnomalyRecipe, out: Path, progress: Progress | None) -> tuple[dict[str, Any], str]:
    if plan.forecast is None:
        return {}, "none asked for"
    try:
        return forecast_run(plan.forecast, out / "forecast", progress=progress), ""
    except Exception as error:
        why = " ".join(str(error).split()) or type(error).__name__
        log.warning("the forecast was not made: %s", why)
        return {}, why


def _rows(plan: AnomalyRecipe, chains: dict[str, Chain], failed: dict[str, str]) -> list[dict[str, Any]]:
    """A row of the table of fits for each, plain."""
    out = []
    for name, recipe in plan.fits.items():
        row: dict[str, Any] = {
            "name": name,
            "description": recipe.description,
            "data": list(recipe.data),
            "model": recipe.model,
            "definition": recipe.neutrinos.definition,
            "tau": None if recipe.tau_sigma is None or not recipe.spectra else [recipe.tau, recipe.tau_sigma],
        }
        if name in chains:
            chain = chains[name]
            row["summary"] = chain.summary
        else:
            row["failed"] = failed.get(name, "")
        out.append(row)
    return out


def _other(plan: AnomalyRecipe, there: AnomalyRecipe, name: str) -> bool:
    return plan.fits[name].sha256() != there.fits[name].sha256()

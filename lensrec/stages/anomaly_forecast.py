"""Forecasts of a pipeline, and how they are kept: every case with its covariance, as plain data."""

import json
import logging
from pathlib import Path
from typing import Any

from lensrec.engine import Progress
from lensrec.recipe_anomaly import ForecastPlan
from lensrec.rundir import write_json
from lensrec.stages.forecast import ForecastSettings, forecasts

log = logging.getLogger(__name__)


def settings_of(plan: ForecastPlan) -> ForecastSettings:
    """What a plan asks for, as forecasts take it; ValueError for a survey, model or prior that is not known."""
    return ForecastSettings(
        experiments=plan.experiments,
        delensed=(False,),
        models=plan.models,
        tau_priors=plan.tau_priors,
        bao=(plan.bao,),
        lmax=plan.lmax,
        lens_potential_accuracy=plan.lens_potential_accuracy,
    )


def forecast_run(plan: ForecastPlan, out: Path, *, progress: Progress | None = None) -> dict[str, Any]:
    """Forecast what a plan asks for, and leave it in OUT/forecast.json; one that is there is read.

    Returns
    -------
    dict
        "plan"; "fiducial"; "assumed", lines; "cases", each with experiment, spectra, bao, tau_prior, model, parameters,
        sigma by parameter, and their covariance.
    """
    file = out / "forecast.json"
    asked = plan.model_dump(mode="json")
    if file.is_file():
        there = json.loads(file.read_text(encoding="utf-8"))
        if there.get("plan") == asked:
            log.info("%s is there", file)
            return there
    result = forecasts(settings_of(plan), progress=progress)
    cases = [
        {
            "experiment": case.experiment,
            "spectra": case.spectra,
            "bao": case.bao,
            "tau_prior": case.tau_prior,
            "model": case.model,
            "parameters": list(found.parameters),
            "sigma": {name: found.sigma(name) for name in found.parameters},
            "covariance": found.covariance.tolist(),
            "derived": result.derived[case],
        }
        for case, found in result.forecasts.items()
    ]
    out_data = {"plan": asked, "fiducial": result.fiducial, "assumed": list(result.assumed), "cases": cases}
    write_json(file, out_data)
    return out_data

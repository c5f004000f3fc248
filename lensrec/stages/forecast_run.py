"""Forecast: a plan in, every case with its covariance out, as plain data, a table and a picture."""

import logging
from pathlib import Path
from typing import Any

import numpy as np

from lensrec.engine import Progress, Workers
from lensrec.products import read_json
from lensrec.recipe_forecast import ForecastPlan
from lensrec.rundir import write_json, write_table
from lensrec.stages.forecast import ELLIPSES, MODELS, ForecastSettings, forecasts
from lensrec.view.figure import save_figure
from lensrec.view.fit import ellipses_figure

log = logging.getLogger(__name__)


def settings_of(plan: ForecastPlan) -> ForecastSettings:
    """What a plan asks for, as forecasts take it; ValueError for a survey, model or prior that is not known."""
    return ForecastSettings(
        experiments=plan.experiments,
        delensed=(plan.delensed,),
        models=plan.models,
        tau_priors=plan.tau_priors,
        bao=(plan.bao,),
        lmax=plan.lmax,
        lens_potential_accuracy=plan.lens_potential_accuracy,
        so_noise=plan.so_noise,
        neutrinos=plan.neutrinos,
    )


def forecast_run(
    plan: ForecastPlan, out: Path, *, executor: Workers = None, progress: Progress | None = None
) -> dict[str, Any]:
    """Forecast what a plan asks for, and leave forecast.json, forecast.ecsv and pictures; one that is there is read.

    Returns
    -------
    dict
        "plan"; "fiducial"; "assumed", lines; "cases", each with experiment, spectra, bao, tau_prior, model, parameters,
        sigma by parameter, and their covariance.
    """
    file = out / "forecast.json"
    asked = plan.model_dump(mode="json", exclude={"name", "description"})
    if file.is_file():
        there = read_json(file)
        if there.get("plan") == asked:
            log.info("%s is there", file)
            return there
    result = forecasts(settings_of(plan), executor=executor, progress=progress)
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
    columns = {name: np.array(values) for name, values in result.table().items()}
    write_table(out / "forecast.ecsv", columns, {}, "sigma of each parameter of each case, and where it is")
    for model in plan.models:
        pairs = [pair for pair in ELLIPSES if set(pair) <= set(MODELS[model])]
        sets = {
            f"{case.experiment}, τ: {case.tau_prior}": (found.parameters, found.covariance)
            for case, found in result.forecasts.items()
            if case.model == model
        }
        figure = ellipses_figure(sets, result.fiducial, pairs[:3])
        save_figure(figure, out / "pictures" / f"forecast_{model}.png")
    write_json(file, out_data)
    return out_data

"""What claims are judged by: the summaries and samples of fits that have been run, and forecasts."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lensrec.products import read_json
from lensrec.recipe_fit import FitRecipe
from lensrec.rundir import read_table

WEIGHT = "weight"


class NotRunError(LookupError):
    """A fit or forecast that something hangs on is not there; the line names it."""


@dataclass(frozen=True, eq=False)
class Chain:
    """A fit: its summary.json, and samples (n,) of each parameter with their weights."""

    summary: Mapping[str, Any]
    samples: Mapping[str, NDArray[np.float64]]

    @property
    def weights(self) -> NDArray[np.float64]:
        """(n,), adding up to 1."""
        w = np.asarray(self.samples[WEIGHT], dtype=np.float64)
        return w / w.sum()

    @property
    def about(self) -> Mapping[str, Any]:
        """Data, model, χ² and what is said of Σmν."""
        return self.summary["about"]

    def value(self, name: str) -> tuple[float, float]:
        """Mean and standard deviation of a parameter."""
        return self.summary[name]["mean"], self.summary[name]["sigma"]

    def mean_of(self, values: NDArray) -> tuple[float, float]:
        """Mean and standard deviation of a function of the samples (n,)."""
        w = self.weights
        mean = float(w @ values)
        return mean, float(np.sqrt(w @ (values - mean) ** 2))

    def correlation(self, one: str, two: str) -> float:
        """Of two parameters."""
        return float(self.covariance(one, two) / (self.value_sigma(one) * self.value_sigma(two)))

    def covariance(self, one: str, two: str) -> float:
        """Of two parameters."""
        w, x, y = self.weights, np.asarray(self.samples[one]), np.asarray(self.samples[two])
        return float(w @ ((x - w @ x) * (y - w @ y)))

    def value_sigma(self, name: str) -> float:
        """Standard deviation of the samples."""
        return self.mean_of(np.asarray(self.samples[name]))[1]

    def slope(self, of: str, by: str) -> float:
        """d⟨of⟩/d(by) along the posterior: cov/var, the regression of one parameter on another."""
        return self.covariance(of, by) / self.value_sigma(by) ** 2


@dataclass(frozen=True, eq=False)
class Evidence:
    """All there is to judge by.

    Attributes
    ----------
    chains : mapping of name to Chain
        Of fits that have been run.
    failed : mapping of name to str
        Of fits that have not, and why.
    cases : sequence of mapping
        Of forecasts: experiment, spectra, bao, tau_prior, model, parameters, covariance.
    forecast_about : mapping
        "fiducial" and "assumed" of the forecasts.
    recipes : mapping of name to FitRecipe
    """

    chains: Mapping[str, Chain]
    failed: Mapping[str, str] = field(default_factory=dict)
    cases: tuple[Mapping[str, Any], ...] = ()
    forecast_about: Mapping[str, Any] = field(default_factory=dict)
    recipes: Mapping[str, FitRecipe] = field(default_factory=dict)

    def chain(self, name: str) -> Chain:
        """A fit by name; raises NotRunError if it is not there."""
        if name not in self.chains:
            why = self.failed.get(name)
            raise NotRunError(f"the fit {name} has not been run" + (f" ({why})" if why else ""))
        return self.chains[name]

    def has(self, *names: str) -> bool:
        """Whether all these fits have been run."""
        return all(name in self.chains for name in names)

    def forecast_case(self, experiment: str, model: str, tau_prior: str) -> Mapping[str, Any]:
        """A forecast; raises NotRunError if it is not there."""
        for case in self.cases:
            if (case["experiment"], case["model"], case["tau_prior"]) == (experiment, model, tau_prior):
                return case
        raise NotRunError(f"no forecast of {experiment} for the model {model} with the prior {tau_prior} on tau")


def read_chain_folder(folder: Path) -> Chain:
    """A fit as `stages.fit_run` leaves it in a folder."""
    file = folder / "summary.json"
    return _read(file, file.stat().st_mtime_ns)


@lru_cache(maxsize=64)
def _read(file: Path, _changed: int) -> Chain:
    summary = read_json(file)
    return Chain(summary, read_table(file.parent / "samples.ecsv"))


def sigma_of(case: Mapping[str, Any], name: str) -> float:
    """Error of a parameter in a forecast."""
    k = list(case["parameters"]).index(name)
    return float(np.sqrt(case["covariance"][k][k]))


def correlation_of(case: Mapping[str, Any], one: str, two: str) -> float:
    """Correlation of two parameters in a forecast."""
    names = list(case["parameters"])
    return float(case["covariance"][names.index(one)][names.index(two)] / (sigma_of(case, one) * sigma_of(case, two)))

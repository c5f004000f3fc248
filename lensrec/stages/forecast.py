"""Forecasts of surveys to come: errors of Σmν, τ, dark energy and both A_L, for each survey, prior and model."""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from lensrec.engine import Progress, Workers, run_tasks
from lensrec.fit.data_files import cache_folder
from lensrec.fit.forecast import (
    BLIND,
    LCDM,
    TAU_PRIORS,
    Forecast,
    bao_block,
    derived_sigma,
    fiducial_values,
    forecast,
    names,
    survey_blocks,
    survey_reconstruction,
)
from lensrec.fit.forecast_covariance import AMPLITUDES, LensedTheory, fisher_matrix, lensed_theory
from lensrec.fit.forecast_noise import EXPERIMENTS, Experiment
from lensrec.fit.forecast_theory import FIDUCIAL, MASSIVE, STEPS, Responses, TheoryPoint, responses
from lensrec.rundir import read_matrices, write_matrices

MODELS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "mnu": (*LCDM, "mnu"),
        "A_L": (*LCDM, *AMPLITUDES),
        "mnu_A_L": (*LCDM, "mnu", *AMPLITUDES),
        "w0wa_mnu": (*LCDM, "mnu", "w", "wa"),
    }
)
"""Free parameters by the name of the model."""

ELLIPSES = (("tau", "mnu"), AMPLITUDES, ("mnu", "A_L_TTTEEE"), ("w", "wa"), ("omch2", "mnu"))

SO_LEVELS = {"so_baseline": ("SENS1", 1), "so_goal": ("SENS2", 2)}


@dataclass(frozen=True)
class ForecastSettings:
    """What to forecast.

    Attributes
    ----------
    experiments : tuple of str
        Of `fit.forecast_noise.EXPERIMENTS`.
    delensed : tuple of bool
        False: TT, TE, EE as lensed; True: delensed with the survey's own φ̂.
    models : tuple of str
        Of MODELS.
    tau_priors : tuple of str
        Of `fit.forecast.TAU_PRIORS`.
    bao : tuple of "none", "full", "dr2"
        DESI as foreseen for the full survey, or the errors of its second release.
    lmax : int
        Surveys are cut there.
    lens_potential_accuracy : float
        CAMB's.
    so_noise : path, optional
        Folder with the published noise curves of the Simons Observatory (`published_so_noise`), instead of lensrec's
        own model of white and 1/f noise.
    neutrinos : "degenerate" or "one"
        Three equal masses, or a single massive state, as published forecasts mostly have it.
    a_smooth, mnu : float
        The A_L^TTTEEE and the Σmν (eV) of which the significance is given, against 1 and 0.
    """

    experiments: tuple[str, ...] = tuple(EXPERIMENTS)
    delensed: tuple[bool, ...] = (False, True)
    models: tuple[str, ...] = tuple(MODELS)
    tau_priors: tuple[str, ...] = ("planck", "planck_2018", "cosmic_variance")
    bao: tuple[str, ...] = ("none", "full", "dr2")
    lmax: int = 4000
    lens_potential_accuracy: float = 2.0
    so_noise: Path | None = None
    neutrinos: str = "degenerate"
    a_smooth: float = 1.18
    mnu: float = 0.06

    def __post_init__(self) -> None:
        for name, known in (
            ("experiments", EXPERIMENTS),
            ("models", MODELS),
            ("neutrinos", MASSIVE),
            ("tau_priors", TAU_PRIORS),
            ("bao", ("none", "full", "dr2")),
        ):
            given = getattr(self, name)
            values = (given,) if isinstance(given, str) else given
            unknown = [value for value in values if value not in known]
            if unknown or not values:
                raise ValueError(f"forecast.{name} must be of {', '.join(known)}, got {', '.join(unknown) or 'none'}")


@dataclass(frozen=True)
class Case:
    """One line of assumptions."""

    experiment: str
    spectra: str
    bao: str
    tau_prior: str
    model: str


@dataclass(frozen=True, eq=False)
class ForecastResult:
    """Errors of all cases.

    Attributes
    ----------
    forecasts : dict of Case to Forecast
    fiducial : dict of str to float
    derived : dict of Case to dict
        σ of H0 and omega_m; and where they apply "mnu_n_sigma", the significance of `settings.mnu` over 0,
        "A_L_TTTEEE_n_sigma", that of `settings.a_smooth` over 1, and "mnu_pull", what Σmν (eV) moves by when data with
        that A_L^TTTEEE are fitted with 1.
    assumed : tuple of str
        In words.
    settings : ForecastSettings
    """

    forecasts: dict[Case, Forecast]
    fiducial: dict[str, float]
    derived: dict[Case, dict[str, float]]
    assumed: tuple[str, ...]
    settings: ForecastSettings = field(default_factory=ForecastSettings)

    def table(self) -> dict[str, list[str] | list[float]]:
        """Columns experiment, spectra, bao, tau_prior, model, parameter, fiducial, sigma; a row a free parameter."""
        columns: dict[str, list] = {
            key: [] for key in ("experiment", "spectra", "bao", "tau_prior", "model", "parameter", "fiducial", "sigma")
        }
        for case, found in self.forecasts.items():
            for name in found.parameters:
                row = (case.experiment, case.spectra, case.bao, case.tau_prior, case.model, name)
                for key, value in zip(columns, (*row, self.fiducial[name], found.sigma(name)), strict=True):
                    columns[key].append(value)
        return columns

    def ellipses(self) -> dict[Case, dict[str, list[list[float]]]]:
        """Covariance (2, 2) of each of ELLIPSES, under "first,second", where both are free."""
        return {
            case: {
                f"{one},{two}": found.ellipse(one, two).tolist()
                for one, two in ELLIPSES
                if one in found.parameters and two in found.parameters
            }
            for case, found in self.forecasts.items()
        }


def forecasts(
    settings: ForecastSettings, *, executor: Workers = None, progress: Progress | None = None, nthreads: int = 0
) -> ForecastResult:
    """All cases of the settings.

    Notes
    -----
    The 19 cosmologies, N0_L and the Fisher matrix of each survey are kept in the user's cache, as soon as they are
    there: a killed forecast goes on, and a second one, of other models, priors or BAO, takes a second.

    Raises
    ------
    ValueError
        For settings that the data can't answer.
    """
    theory = _theory(settings, executor, progress)
    lensed: dict[int, LensedTheory] = {}

    def lensed_sky() -> LensedTheory:
        if not lensed:
            lensed[0] = lensed_theory(theory, settings.lmax, nthreads=nthreads)
        return lensed[0]

    fishers: dict[tuple[str, bool], NDArray] = {}
    for name in settings.experiments:
        experiment = EXPERIMENTS[name].limited(settings.lmax)
        published = None if settings.so_noise is None else published_so_noise(settings.so_noise, name)
        key = (
            experiment,
            settings.lmax,
            settings.lens_potential_accuracy,
            settings.neutrinos,
            published is not None,
        )
        own = None if published is None else published[0]
        if published is None:
            n0 = _kept(("n0", *key), partial(survey_reconstruction, theory, experiment, nthreads=nthreads))
        else:
            n0 = published[1]
        for delensed in settings.delensed:
            fishers[name, delensed] = _kept(
                ("fisher", delensed, n0.tobytes(), *key),
                partial(_survey_fisher, theory, lensed_sky, experiment, n0, own, delensed, nthreads),
            )
    return _tabulated(settings, theory, fishers)


def _survey_fisher(
    theory: Responses,
    sky: Callable[[], LensedTheory],
    experiment: Experiment,
    n0: NDArray,
    own: Mapping[str, NDArray] | None,
    delensed: bool,
    nthreads: int,
) -> NDArray[np.float64]:
    here = lensed_theory(theory, experiment.lmax, n0=n0, nthreads=nthreads) if delensed else None
    return fisher_matrix(survey_blocks(sky(), experiment, n0, own_sky=here, own=own))


def _tabulated(
    settings: ForecastSettings, theory: Responses, fishers: Mapping[tuple[str, bool], NDArray]
) -> ForecastResult:
    parameters = names(theory)
    distances = {name: fisher_matrix([bao_block(theory, name)]) for name in settings.bao if name != "none"}
    found: dict[Case, Forecast] = {}
    derived: dict[Case, dict[str, float]] = {}
    for (name, delensed), own in fishers.items():
        for bao in settings.bao:
            total = own + distances[bao] if bao in distances else own
            for prior in settings.tau_priors:
                for model in settings.models:
                    case = Case(name, "delensed" if delensed else "lensed", bao, prior, model)
                    sigma_tau = TAU_PRIORS[prior]
                    result = forecast(
                        total,
                        parameters,
                        MODELS[model],
                        priors={"tau": sigma_tau},
                        assumed={"sigma_tau": sigma_tau, "bao": bao},
                    )
                    found[case] = result
                    derived[case] = _significances(settings, theory, result)
    fiducial = dict(zip(parameters, fiducial_values(theory, parameters).tolist(), strict=True))
    return ForecastResult(found, fiducial, derived, _assumptions(settings), settings)


def _significances(settings: ForecastSettings, theory: Responses, result: Forecast) -> dict[str, float]:
    out = {name: derived_sigma(result, theory, name) for name in ("H0", "omega_m")}
    if "mnu" in result.parameters:
        out["mnu_n_sigma"] = settings.mnu / result.sigma("mnu")
        if "A_L_TTTEEE" in result.held:
            out["mnu_pull"] = result.pull("mnu", "A_L_TTTEEE", 1.0 - settings.a_smooth)
    if "A_L_TTTEEE" in result.parameters:
        out["A_L_TTTEEE_n_sigma"] = (settings.a_smooth - 1.0) / result.sigma("A_L_TTTEEE")
        out["A_L_correlation"] = result.correlation(*AMPLITUDES)
    return out


def _assumptions(settings: ForecastSettings) -> tuple[str, ...]:
    out = [
        "Fisher matrices about " + ", ".join(f"{key} = {value:g}" for key, value in FIDUCIAL.items()) + ";",
        {"degenerate": "three equal neutrino masses", "one": "a single massive neutrino"}[settings.neutrinos]
        + ", of either sign; flat priors but for that on tau",
        "steps of the derivatives: " + ", ".join(f"{key} {value:g}" for key, value in STEPS.items()),
        "Gaussian band powers with the lens-induced covariance of TT, TE, EE and its cross-block with phi phi; no N1",
        "a survey with Planck: both on its own sky, Planck's TT, TE, EE on the rest of 65 % of the sky, and its TT "
        "below l = 30; lensing is the survey's own; low-l polarisation is the prior on tau",
        "delensed: by the Wiener-filtered phi of the survey, without the biases of internal delensing",
        "DESI full: 18 errors of r_d/D_V of Font-Ribera et al. 2014 without the forest; dr2: the published covariance",
    ]
    for name in settings.experiments:
        e = EXPERIMENTS[name].limited(settings.lmax)
        published = settings.so_noise is not None and name in SO_LEVELS
        source = "published component-separated noise" if published else "white and 1/f noise, no foregrounds"
        rounds = f", {e.iterations} iterations" if e.iterations else ""
        rounds += f", N0 times {e.n0_factor:g}" if e.n0_factor != 1 and not published else ""
        out.append(
            f"{name}: f_sky {e.fsky}, T {e.lmin} <= l < {e.lmax_t}, P l < {e.lmax_p}, "
            f"phi {e.phi_lmin} <= L <= {e.phi_lmax}; {source}{rounds}"
        )
    return tuple(out)


def published_so_noise(folder: Path, name: str) -> tuple[dict[str, NDArray], NDArray[np.float64]] | None:
    """TT, EE, BB after component separation, µK², and N0_L of φ̂ of the quadratic estimators; None if not of SO.

    Read from "SO_LAT_ILC_deproj0_fsky0p4_thin.txt" (ℓ, then baseline and goal of TT, EE, BB) and
    "nlkk_v3_1_1_deproj0_SENS…_fsky0p4_qe_thin.txt" (L, …, N_L^κκ of MV), between whose rows ln N is linear in ln ℓ.
    """
    if name not in SO_LEVELS:
        return None
    label, column = SO_LEVELS[name]
    maps = np.loadtxt(folder / "SO_LAT_ILC_deproj0_fsky0p4_thin.txt")
    kappa = np.loadtxt(folder / f"nlkk_v3_1_1_deproj0_{label}_fsky0p4_qe_thin.txt")
    spectra = {key: _between(maps[:, 0], maps[:, 2 * k + column]) for k, key in enumerate(("TT", "EE", "BB"))}
    n0 = _between(kappa[:, 0], kappa[:, 7])
    ell = np.arange(len(n0), dtype=np.float64)
    n0[2:] *= 4.0 / (ell * (ell + 1))[2:] ** 2
    n0[:2] = 0.0
    return spectra, n0


def _between(ell: NDArray, cl: NDArray) -> NDArray[np.float64]:
    out = np.full(int(ell[-1]) + 1, BLIND)
    inside = np.arange(int(ell[0]), len(out))
    out[inside] = np.exp(np.interp(np.log(inside), np.log(ell), np.log(cl)))
    return out


def _theory(settings: ForecastSettings, executor: Workers, progress: Progress | None) -> Responses:
    def mapping(
        function: Callable[[TheoryPoint], NDArray], points: Iterable[TheoryPoint]
    ) -> Iterable[NDArray[np.float64]]:
        tasks = list(points)
        missing = [(_file(point), point) for point in tasks if not _file(point).is_file()]
        if missing:
            run_tasks(
                cosmology_into,
                missing,
                shared=function,
                executor=executor,
                progress=progress,
                description="cosmologies",
            )
        return [_kept(point, partial(function, point)) for point in tasks]

    return responses(
        lmax=settings.lmax,
        lens_potential_accuracy=settings.lens_potential_accuracy,
        neutrinos=settings.neutrinos,
        mapping=mapping,
    )


def cosmology_into(function: Callable[[TheoryPoint], NDArray], task: tuple[Path, TheoryPoint]) -> None:
    """Compute one cosmology and keep it in its file."""
    path, point = task
    write_matrices(path, {"VALUE": function(point)})


def _file(key: object) -> Path:
    versions = (version("camb"), version("lensrec"))
    name = hashlib.sha256(repr((key, versions)).encode()).hexdigest()[:20]
    return cache_folder() / "forecasts" / f"{name}.fits"


def _kept(key: object, compute: Callable[[], NDArray]) -> NDArray[np.float64]:
    """What `compute` gives, from the user's cache if it is there."""
    file = _file(key)
    if not file.is_file():
        write_matrices(file, {"VALUE": compute()})
    return read_matrices(file)["VALUE"]

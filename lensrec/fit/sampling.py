"""Samples of a posterior: a chain by Cobaya, kept in files that other tools read, or importance sampling."""

import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lensrec.fit.joint_likelihood import JointLikelihood
from lensrec.fit.posterior import BestFit, WeightedSamples, importance_samples

log = logging.getLogger(__name__)

LABELS: Mapping[str, str] = {
    "ombh2": r"\omega_b",
    "omch2": r"\omega_c",
    "thetastar": r"\theta_*",
    "logA": r"\ln(10^{10}A_s)",
    "ns": r"n_s",
    "tau": r"\tau",
    "mnu": r"\Sigma m_\nu\,[\mathrm{eV}]",
    "w": r"w_0",
    "wa": r"w_a",
    "z_dagger": r"z_\dagger",
    "A_L_TTTEEE": r"A_L^{TTTEEE}",
    "A_L_phiphi": r"A_L^{\phi\phi}",
    "calibration": r"c",
    "polarisation_efficiency": r"p",
    "H0": r"H_0",
    "omega_m": r"\Omega_m",
}
"""In LaTeX, for chains and pictures."""

FAST_STEPS = 2
"""Moves of the cheap parameters for one of each that is not."""

IGNORED = 0.2
"""Of a chain, from its beginning, that is thrown away: it begins at the best fit, with the width of the posterior."""


def cobaya_info(
    likelihood: Mapping[str, Any],
    joint: JointLikelihood,
    best: BestFit,
    *,
    derived: tuple[str, ...] = (),
    slow: tuple[str, ...] = (),
    r_minus_1: float,
    max_samples: int,
    seed: int,
) -> dict[str, Any]:
    """The input of Cobaya for a chain that begins at the best fit and proposes by its covariance.

    R − 1 is that of Gelman and Rubin, of the means of the last four fifths of one chain, taken for four: Cobaya's way
    without MPI. With flat priors the posterior is no wider than they: the proposal is by (C⁻¹ + 12/width²)⁻¹.

    Parameters
    ----------
    likelihood : mapping
        Cobaya's block of this name. Its priors are among them; those of Cobaya are flat, over the box.
    joint : JointLikelihood
        Whose free parameters are sampled.
    best : BestFit
    derived : tuple of str
        What the likelihood gives beside its value.
    slow : tuple of str
        Parameters that cost most to move: the others are moved `FAST_STEPS` times as often, in a block of their own.
    r_minus_1, max_samples, seed
        When to stop; of the random numbers.

    Returns
    -------
    dict
        Plain data, which can be written as YAML and run by `cobaya-run`, too.
    """
    flat = np.array([12 / (high - low) ** 2 for low, high in joint.bounds.values()])
    covariance = np.linalg.inv(np.linalg.inv(best.covariance) + np.diag(flat))
    sigma = np.sqrt(np.diag(covariance))
    params: dict[str, Any] = {}
    for k, (name, (low, high)) in enumerate(joint.bounds.items()):
        params[name] = {
            "prior": {"min": float(low), "max": float(high)},
            "ref": float(best.x[k]),
            "proposal": float(sigma[k]),
            "latex": LABELS.get(name, name),
        }
    params |= {name: {"latex": LABELS.get(name, name)} for name in derived}
    mcmc = {
        "Rminus1_stop": r_minus_1,
        "Rminus1_cl_stop": 10 * r_minus_1,
        "max_samples": max_samples,
        "max_tries": "1000d",
        "output_every": "10s",
        "callback_function": "import_module('lensrec.fit.sampling').report",
        "learn_proposal": True,
        "measure_speeds": False,
        "burn_in": 0,
        "seed": seed,
        "covmat": covariance.tolist(),
        "covmat_params": list(joint.names),
    }
    moved = [name for name in joint.names if name in slow]
    rest = [name for name in joint.names if name not in slow]
    if moved and rest:
        mcmc["blocking"] = [[1, moved], [FAST_STEPS, rest]]
    # an error in a likelihood stops the chain; Cobaya would take it for a point of no likelihood
    blocks = {name: {**options, "stop_at_error": True} for name, options in likelihood.items()}
    return {"likelihood": blocks, "params": params, "sampler": {"mcmc": mcmc}}


def run_chain(info: Mapping[str, Any], prefix: Path) -> None:
    """Run Cobaya until its chain has converged, or go on with one that is there: PREFIX.1.txt and its companions.

    Raises
    ------
    RuntimeError
        If Cobaya gives up.
    """
    from cobaya.log import LoggedError
    from cobaya.run import run

    with quiet():
        try:
            run({**info, "output": str(prefix), "resume": True, "debug": logging.CRITICAL})
        except LoggedError as error:
            raise RuntimeError(f"{prefix}: Cobaya stopped: {' '.join(str(error).split())}") from error


def report(sampler: Any) -> None:
    """Say how far a chain has come; Cobaya calls it once in a while."""
    last = getattr(sampler, "Rminus1_last", np.inf)
    known = f", R - 1 = {last:.3f}" if np.isfinite(last) else ""
    log.info("%d steps taken of %d tried%s", sampler.n(), sampler.n_steps_raw, known)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep Cobaya's and GetDist's lines off the terminal, and the loggers of this process as they are.

    Both write to the root logger, which Cobaya sets up as it likes unless it finds a handler on the terminal.
    """
    root, own = logging.getLogger(), logging.getLogger("lensrec")
    levels = root.level, own.level
    taken = logging.NullHandler()
    taken.stream = sys.stdout  # type: ignore[attr-defined]
    own.setLevel(own.getEffectiveLevel())
    # in a notebook the root logger has a handler already, which would show GetDist's
    root.setLevel(logging.CRITICAL)
    root.addHandler(taken)
    # of several handlers on the terminal Cobaya changes the first
    others = [handler for handler in root.handlers if handler is not taken]
    formats = [(handler, handler.level, handler.formatter) for handler in others]
    root.handlers.insert(0, root.handlers.pop())
    try:
        yield
    finally:
        root.removeHandler(taken)
        root.setLevel(levels[0])
        own.setLevel(levels[1])
        for handler, level, form in formats:
            handler.setLevel(level)
            handler.setFormatter(form)


def read_chain(prefix: Path, names: tuple[str, ...]) -> WeightedSamples:
    """The samples of a chain, its beginning thrown away.

    The effective number is the least over the columns of GetDist's, Σw over the correlation length.

    Parameters
    ----------
    prefix : Path
    names : tuple of str
        Columns wanted, sampled or derived.

    Raises
    ------
    ValueError
        If there is no such chain, or it has no such column.
    """
    file = prefix.with_name(prefix.name + ".1.txt")
    if not file.is_file():
        raise ValueError(f"{file}: there is no chain")
    with file.open(encoding="utf-8") as stream:
        columns = stream.readline().lstrip("#").split()
    if missing := [name for name in ("weight", *names) if name not in columns]:
        raise ValueError(f"{file} has no column {', '.join(missing)}; it has {', '.join(columns)}")
    table = np.loadtxt(file, ndmin=2)
    table = table[int(IGNORED * len(table)) :]
    weights = table[:, columns.index("weight")]
    points = table[:, [columns.index(name) for name in names]]
    with quiet():
        from getdist.chains import WeightedSamples as Correlated

        chain = Correlated(samples=points, weights=weights)
        effective = min(float(chain.getEffectiveSamples(k)) for k in range(len(names)))
    return WeightedSamples(points, weights / weights.sum(), effective)


def importance_chain(joint: JointLikelihood, best: BestFit, *, draws: int, rng: np.random.Generator) -> WeightedSamples:
    """Weighted samples about a best fit that is not at an edge of the box."""

    def chi2(points: NDArray) -> NDArray[np.float64]:
        return np.array([joint.chi2(x) for x in points])

    return importance_samples(chi2, best, draws=draws, rng=rng)


def summary_of(
    names: tuple[str, ...], samples: WeightedSamples, best: Mapping[str, float] | None = None
) -> dict[str, dict[str, Any]]:
    """Mean, sigma, the central 68 % and 95 % of each parameter, and where it fits best.

    Returns
    -------
    dict
        {parameter: {"mean", "sigma", "limit68": [low, high], "limit95": [low, high], "best_fit"}}.
    """
    mean, sigma = samples.mean, np.sqrt(np.diag(np.atleast_2d(samples.covariance)))
    out: dict[str, dict[str, Any]] = {}
    for k, name in enumerate(names):
        edges = weighted_quantiles(samples.points[:, k], samples.weights, (0.025, 0.16, 0.5, 0.84, 0.975))
        out[name] = {
            "mean": float(mean[k]),
            "sigma": float(sigma[k]),
            "median": float(edges[2]),
            "limit68": [float(edges[1]), float(edges[3])],
            "limit95": [float(edges[0]), float(edges[4])],
        }
        if best is not None and name in best:
            out[name]["best_fit"] = float(best[name])
    return out


def weighted_quantiles(values: NDArray, weights: NDArray, levels: tuple[float, ...]) -> NDArray[np.float64]:
    """Of samples with weights, at levels from 0 to 1."""
    order = np.argsort(values)
    cumulative = np.cumsum(weights[order])
    return np.interp(np.array(levels) * cumulative[-1], cumulative - weights[order] / 2, values[order])

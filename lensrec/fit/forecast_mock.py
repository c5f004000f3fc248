"""Forecasts checked by fits to mock data, noiseless ones of the fiducial theory, in place of the Fisher matrix."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lensrec.fit.forecast import Forecast, bao_block, fiducial_values
from lensrec.fit.forecast_bao import ratios
from lensrec.fit.forecast_covariance import Block, band_powers
from lensrec.fit.forecast_theory import Responses


def displaced(result: Forecast, theory: Responses, name: str, n_sigma: float) -> dict[str, float]:
    """Parameters n σ of `name` away from the fiducial point, all others where the forecast has them best for that.

    Of the likelihood of a noiseless mock with the same priors, −2 ln L is n² there if the forecast is right, and less
    if a fit of the others could do better than the Fisher matrix knows.
    """
    k = result.parameters.index(name)
    shift = result.covariance[:, k] / np.sqrt(result.covariance[k, k]) * n_sigma
    free = dict(zip(result.parameters, fiducial_values(theory, result.parameters) + shift, strict=True))
    return {**theory.fiducial, **{parameter: float(value) for parameter, value in free.items()}}


def mock_chi2(
    blocks: Sequence[Block], bao: str | None, theory: Responses, vector: NDArray, *, nthreads: int = 0
) -> float:
    """χ² of a theory against noiseless data of the fiducial one; priors apart.

    Parameters
    ----------
    blocks : sequence of Block
        Of the lensed CMB, from `survey_blocks`.
    bao : "full", "dr2" or None
    theory : Responses
    vector : array (n,)
        Of the other theory: `forecast_theory.evaluate` with the same lmax.
    """
    shape, total = theory.layout, 0.0
    for block in blocks:
        one, two = (
            band_powers(block, shape.spectra(v), shape.cl_phi(v), nthreads=nthreads) for v in (vector, theory.value)
        )
        total += float((one - two) @ np.linalg.solve(block.covariance, one - two))
    if bao is not None:
        one, two = (ratios(bao, shape.distances(v), shape.tail(v)["r_d"]) for v in (vector, theory.value))
        total += float((one - two) @ np.linalg.solve(bao_block(theory, bao).covariance, one - two))
    return total


@dataclass(frozen=True, eq=False)
class MockFit:
    """A fit to mock data: mean or best fit (p,), its covariance (p, p), and the effective number of samples."""

    mean: NDArray[np.float64]
    covariance: NDArray[np.float64]
    effective: float


Model = Callable[[NDArray], NDArray]


def gauss_newton(
    model: Model,
    data: ArrayLike,
    covariance: NDArray,
    start: ArrayLike,
    steps: ArrayLike,
    *,
    prior: NDArray | None = None,
    iterations: int = 6,
) -> MockFit:
    """Best fit to mock data, and the inverse of the curvature there.

    Parameters
    ----------
    model : function of θ (p,)
        Gives d(θ), (n,).
    data, covariance : arrays (n,), (n, n)
    start, steps : arrays (p,)
        First guess, and steps of the central differences.
    prior : array (p, p), optional
        Inverse covariance of a Gaussian prior about `start`.
    """
    inverse = np.linalg.inv(covariance)
    origin, h = np.array(start, dtype=np.float64), np.asarray(steps, dtype=np.float64)
    extra = np.zeros((len(origin), len(origin))) if prior is None else prior
    theta, curvature = origin.copy(), extra
    for _ in range(iterations):
        jacobian = np.array(
            [(model(theta + s) - model(theta - s)) / (2 * step) for s, step in zip(np.diag(h), h, strict=True)]
        )
        curvature = jacobian @ inverse @ jacobian.T + extra
        downhill = jacobian @ inverse @ (np.asarray(data) - model(theta)) - extra @ (theta - origin)
        theta = theta + np.linalg.solve(curvature, downhill)
    return MockFit(theta, np.linalg.inv(curvature), 1.0)


def importance_sample(
    model: Model,
    data: ArrayLike,
    covariance: NDArray,
    proposal: Forecast,
    fiducial: ArrayLike,
    *,
    count: int,
    rng: np.random.Generator,
    prior: NDArray | None = None,
) -> MockFit:
    """Mean and covariance of the posterior of mock data, by weighting draws from a forecast's Gaussian.

    Parameters
    ----------
    model, data, covariance
        As for `gauss_newton`.
    proposal : Forecast
        1.2 times as wide it is drawn from, so that tails a little wider than a Gaussian's are reached.
    fiducial : array (p,)
        Its centre.
    count : int
    rng : Generator
    prior : array (p, p), optional
        As for `gauss_newton`, about `fiducial`.

    Returns
    -------
    MockFit
        Errors of mean and σ are of order σ/√(2 × effective number).
    """
    centre, widen = np.asarray(fiducial, dtype=np.float64), 1.2
    inverse = np.linalg.inv(covariance)
    root = widen * np.linalg.cholesky(proposal.covariance)
    unit = rng.standard_normal((count, len(centre)))
    draws = centre + unit @ root.T
    chi2 = np.empty(count)
    for k, theta in enumerate(draws):
        residual = model(theta) - np.asarray(data)
        chi2[k] = residual @ inverse @ residual
        if prior is not None:
            chi2[k] += (theta - centre) @ prior @ (theta - centre)
    log = -0.5 * chi2 + 0.5 * np.sum(unit**2, axis=1)
    weight = np.exp(log - log.max())
    weight /= weight.sum()
    mean = weight @ draws
    away = draws - mean
    return MockFit(mean, (away * weight[:, None]).T @ away, float(1.0 / np.sum(weight**2)))

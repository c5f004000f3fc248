"""Posteriors of few parameters: best fit by Gauss–Newton steps, and importance sampling about it.

With whitened residuals r(x), priors among them, −2 ln P = |r|² and its Gauss–Newton covariance at the minimum is
(JᵀJ)⁻¹, J = ∂r/∂x. Draws from a multivariate t of that shape, with tails heavier than the posterior's, weighted by
posterior over proposal, carry no approximation but their number; the effective one is (Σw)²/Σw².
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Whitened = Callable[[NDArray], tuple[NDArray, NDArray]]

DEGREES_OF_FREEDOM = 10
"""Of the t of the proposal."""

ITERATIONS = 50


class BestFit(NamedTuple):
    """The minimum of |r|², where it is (p,), and (JᵀJ)⁻¹ there (p, p)."""

    x: NDArray[np.float64]
    covariance: NDArray[np.float64]
    chi2: float


class WeightedSamples(NamedTuple):
    """Points (n, p), their weights (n,), which add up to 1, and how many equal weights they are worth."""

    points: NDArray[np.float64]
    weights: NDArray[np.float64]
    effective: float

    @property
    def mean(self) -> NDArray[np.float64]:
        """(p,)"""
        return self.weights @ self.points

    @property
    def covariance(self) -> NDArray[np.float64]:
        """(p, p)"""
        away = self.points - self.mean
        return (away * self.weights[:, None]).T @ away


def gauss_newton(whitened: Whitened, start: NDArray, names: tuple[str, ...]) -> BestFit:
    """Minimise |r(x)|² from x = start.

    Parameters
    ----------
    whitened : callable
        r (m,) and J (m, p) at x (p,).
    start : array (p,)
    names : tuple of str
        Of the parameters, for errors.

    Raises
    ------
    ValueError
        If the data, with the priors, leave a direction free, or no minimum is found.
    """
    x = np.asarray(start, dtype=np.float64)
    r, jacobian = whitened(x)
    if len(r) < len(x):
        raise ValueError(f"{len(r)} band powers and priors cannot fix {', '.join(names)}")
    for _ in range(ITERATIONS):
        scale = np.linalg.norm(jacobian, axis=0)
        if not np.all(scale > 0):
            unmoved = ", ".join(name for name, norm in zip(names, scale, strict=True) if norm == 0)
            raise ValueError(f"nothing in the data or the priors depends on {unmoved}: hold it, or give it a prior")
        q, upper = np.linalg.qr(jacobian / scale)
        # Columns of norm 1: a pivot of 1e-7 is a direction lost in the rounding of JᵀJ.
        if len(x) and np.min(np.abs(np.diag(upper))) < 1e-7:
            raise ValueError(f"the data and the priors leave a combination of {', '.join(names)} free")
        step = -np.linalg.solve(upper, q.T @ r) / scale
        # The fall of χ² that is still to come, in units of which 1 is one σ.
        expected = float(np.sum((q.T @ r) ** 2))
        if expected < 1e-10:
            inverse = np.linalg.inv(upper) / scale[:, None]
            return BestFit(x, inverse @ inverse.T, float(r @ r))
        for halving in range(12):
            trial = x + step / 2**halving
            r_trial, jacobian_trial = whitened(trial)
            if r_trial @ r_trial <= r @ r:
                break
        x, r, jacobian = trial, r_trial, jacobian_trial
    raise ValueError(f"no best fit of {', '.join(names)} in {ITERATIONS} steps: chi2 is {r @ r:.6g} and still falls")


def importance_samples(
    chi2: Callable[[NDArray], NDArray],
    best: BestFit,
    *,
    draws: int,
    rng: np.random.Generator,
) -> WeightedSamples:
    """Weighted draws from exp(−χ²/2) about its minimum.

    Parameters
    ----------
    chi2 : callable
        Of points (n, p), (n,).
    best : BestFit
    draws : int
    rng : Generator
    """
    p, nu = len(best.x), DEGREES_OF_FREEDOM
    normal = rng.standard_normal((draws, p))
    stretch = np.sqrt(nu / rng.chisquare(nu, draws))
    offset = normal * stretch[:, None]
    x = best.x + offset @ np.linalg.cholesky(best.covariance).T
    log_proposal = -(nu + p) / 2 * np.log1p(np.sum(offset**2, axis=1) / nu)
    log_weight = -(chi2(x) - best.chi2) / 2 - log_proposal
    weights = np.exp(log_weight - np.max(log_weight))
    weights /= weights.sum()
    return WeightedSamples(x, weights, float(1 / np.sum(weights**2)))

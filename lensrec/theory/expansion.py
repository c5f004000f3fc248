"""Second-order Taylor expansions of slow vector functions, such as the spectra of a cosmology, by differences.

With x_i = (θ_i − θ_i⁰)/h_i,

    f(θ) ≈ f⁰ + Σ_i g_i x_i + ½ Σ_i H_ii x_i² + Σ_{i<j} H_ij x_i x_j,
    g_i = [f(+i) − f(−i)]/2,    H_ii = f(+i) + f(−i) − 2f⁰,
    H_ij = [f(+i+j) + f(−i−j) − f(+i) − f(−i) − f(+j) − f(−j) + 2f⁰]/2,

where f(+i) is f with θ_i moved by h_i. The result equals f at the centre and at each ±h_i; g and H are good to
relative O(h²). Steps as large as the range of interest keep its error down to that of the third order there, and
the noise of f, multiplied by x², unamplified.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True, eq=False)
class Expansion:
    """f of p parameters to second order about a centre.

    Attributes
    ----------
    centre, steps : arrays (p,)
        θ⁰ and h.
    coefficients : array (1 + p + p(p+1)/2, n)
        Of the monomials 1, x_i, x_i²/2, x_i x_j (i < j), in this order.
    """

    centre: NDArray[np.float64]
    steps: NDArray[np.float64]
    coefficients: NDArray[np.float64]

    def __post_init__(self) -> None:
        p = len(self.centre)
        if self.coefficients.ndim != 2 or len(self.coefficients) != 1 + p + p * (p + 1) // 2:
            raise ValueError(f"{p} parameters do not go with coefficients of shape {self.coefficients.shape}")

    def value(self, theta: ArrayLike) -> NDArray[np.float64]:
        """f at parameters θ of shape (…, p): array (…, n)."""
        return self.monomials(theta) @ self.coefficients

    def jacobian(self, theta: ArrayLike) -> NDArray[np.float64]:
        """∂f/∂θ at parameters θ of shape (…, p): array (…, n, p)."""
        return np.swapaxes(self.monomial_derivatives(theta) @ self.coefficients, -1, -2)

    def monomials(self, theta: ArrayLike) -> NDArray[np.float64]:
        """The monomials at parameters θ of shape (…, p), (…, 1 + p + p(p+1)/2)."""
        x = self._scaled(theta)
        one = np.ones((*x.shape[:-1], 1))
        i, j = self._pairs()
        return np.concatenate([one, x, x**2 / 2, x[..., i] * x[..., j]], axis=-1)

    def monomial_derivatives(self, theta: ArrayLike) -> NDArray[np.float64]:
        """Their derivatives by θ, (…, p, 1 + p + p(p+1)/2)."""
        x = self._scaled(theta)
        p = x.shape[-1]
        unit = np.broadcast_to(np.eye(p), (*x.shape, p))
        i, j = self._pairs()
        cross = unit[..., i] * x[..., None, j] + unit[..., j] * x[..., None, i]
        by_x = np.concatenate([np.zeros((*x.shape, 1)), unit, unit * x[..., None], cross], axis=-1)
        return by_x / self.steps[:, None]

    def projected(self, matrix: NDArray) -> "Expansion":
        """That of M f, for a matrix M (k, n)."""
        return Expansion(self.centre, self.steps, self.coefficients @ matrix.T)

    def _scaled(self, theta: ArrayLike) -> NDArray[np.float64]:
        theta = np.asarray(theta, dtype=np.float64)
        if theta.ndim == 0 or theta.shape[-1] != len(self.centre):
            raise ValueError(f"the expansion is in {len(self.centre)} parameters, got an array of shape {theta.shape}")
        return (theta - self.centre) / self.steps

    def _pairs(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        return np.triu_indices(len(self.centre), 1)


def points(centre: ArrayLike, steps: ArrayLike) -> NDArray[np.float64]:
    """Where f must be known, (1 + p + p², p): the centre, each +h_i, each −h_i, then +h_i+h_j and −h_i−h_j by turns.

    Raises
    ------
    ValueError
        If centre and steps are not of one length, or a step is not positive.
    """
    centre, steps = np.asarray(centre, dtype=np.float64), np.asarray(steps, dtype=np.float64)
    if centre.ndim != 1 or centre.shape != steps.shape or not np.all(steps > 0):
        raise ValueError(f"an expansion needs one positive step a parameter, got {steps} for {centre}")
    return centre + steps * _stencil(len(centre))


def expansion(centre: ArrayLike, steps: ArrayLike, values: Iterable[ArrayLike]) -> Expansion:
    """The expansion from the values of f, each (n,), at `points(centre, steps)`, in their order.

    Raises
    ------
    ValueError
        If there is not one value a point.
    """
    centre, steps = np.asarray(centre, dtype=np.float64), np.asarray(steps, dtype=np.float64)
    p = len(centre)
    f = np.array([np.asarray(value, dtype=np.float64) for value in values])
    if f.ndim != 2 or len(f) != len(_stencil(p)):
        raise ValueError(f"an expansion in {p} parameters takes {len(_stencil(p))} vectors, got shape {f.shape}")
    middle, plus, minus, both = f[0], f[1 : p + 1], f[p + 1 : 2 * p + 1], f[2 * p + 1 :]
    curvature = plus + minus - 2 * middle
    i, j = np.triu_indices(p, 1)
    cross = (both[0::2] + both[1::2] - 2 * middle - curvature[i] - curvature[j]) / 2
    return Expansion(centre, steps, np.concatenate([middle[None], (plus - minus) / 2, curvature, cross]))


def second_order(function: Callable[[NDArray], ArrayLike], centre: ArrayLike, steps: ArrayLike) -> Expansion:
    """The expansion of f: θ (p,) → (n,), with 1 + p + p² calls of it."""
    return expansion(centre, steps, [function(point) for point in points(centre, steps)])


def _stencil(p: int) -> NDArray[np.float64]:
    """The points in units of the steps."""
    unit = np.eye(p)
    both = [sign * (unit[i] + unit[j]) for i, j in combinations(range(p), 2) for sign in (1, -1)]
    return np.vstack([np.zeros(p), unit, -unit, *both])

"""Polynomials in several variables, some of which need a higher degree than others.

The monomials Π_d y_d^{e_d} with Σ_d c_d e_d ≤ n: c_d = 1 for a variable that takes the full degree, more for one whose
effect is nearer to linear, and none at all of a variable whose c_d is beyond n.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_ROUNDING = 1e-9
"""Of sums of costs that should be the degree."""


@dataclass(frozen=True, eq=False)
class Monomials:
    """Monomials of y (…, D).

    Attributes
    ----------
    powers : array (M, D), int
        e_d of each.
    """

    powers: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.powers)

    def value(self, y: NDArray) -> NDArray[np.float64]:
        """At y (…, D): array (…, M)."""
        out = np.ones((*y.shape[:-1], len(self)))
        for d, table in self._tables(y):
            out *= table[..., self.powers[:, d]]
        return out

    def derivatives(self, y: NDArray) -> NDArray[np.float64]:
        """By each of y, at y (…, D): array (…, D, M)."""
        out = np.ones((*y.shape, len(self)))
        for d, table in self._tables(y):
            e = self.powers[:, d]
            rest = np.arange(y.shape[-1]) != d
            out[..., rest, :] *= table[..., None, e]
            out[..., d, :] *= e * table[..., np.maximum(e - 1, 0)]
        out[..., ~self.powers.any(axis=0), :] = 0.0
        return out

    def _tables(self, y: NDArray) -> list[tuple[int, NDArray[np.float64]]]:
        """y_d to every power, of each variable that any monomial has."""
        top = self.powers.max(axis=0, initial=0)
        return [(d, y[..., d, None] ** np.arange(n + 1)) for d, n in enumerate(top) if n]


def weighted_degree(costs: Sequence[float], degree: float) -> Monomials:
    """The monomials with Σ_d c_d e_d ≤ n, the constant first.

    Parameters
    ----------
    costs : sequence (D,)
        c_d, positive; infinite for a variable that takes no part.
    degree : float
        n.
    """
    found: list[tuple[tuple[int, ...], float]] = [((), degree + _ROUNDING)]
    for cost in costs:
        found = [((*e, k), left - (k and k * cost)) for e, left in found for k in range(1 + int(left / cost))]
    powers = sorted((e for e, _ in found), key=lambda e: (sum(e), [-k for k in e]))
    return Monomials(np.array(powers, dtype=np.int64))

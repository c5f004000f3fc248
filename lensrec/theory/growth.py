"""Linear growth of matter in any expansion history, also where H(z) jumps.

On scales where only gravity acts, δ̈ + 2Hδ̇ = 4πG ρ_c δ for the matter that clusters, ρ_c. By x = ln a (primes),

    D″ + (2 + dlnH/dx) D′ = 3/2 Ω_c(a) D,    Ω_c(a) = ω_c a⁻³ (100 km/s/Mpc / H)².

**A jump of H.** Where ρ_Λ jumps, H does, and dlnH/dx has a δ function. But the equation is
(a² H D′)′ = 3/2 Ω_c a² H D, the right side of which is finite: so D and a²H D′ are continuous, that is D and
Ḋ = H D′ — peculiar velocities don't jump, since forces are finite — while D′ and the growth rate f = D′/D jump by
H(before)/H(after). With the pair (D, p = a²hD′), h = H/(100 km/s/Mpc),

    D′ = p/(a² h),    p′ = 3/2 ω_c D/(a h),

no derivative of H is needed, and a jump needs but a step that ends there.

**Neutrinos** are in H. For k ≫ k_fs they don't cluster: ω_c is then that of baryons and cold matter, D the growth of
those, and that of all matter is in proportion while f_ν is constant. For k ≪ k_fs ω_c is that of all matter. A ratio of
growths with the same neutrinos depends on the choice in second order only.

The growing mode is started two e-folds before z_start with f = f₀ − f₀′/(2f₀ + 2 + dlnH/dx), where f₀ solves
f² + (2 + dlnH/dx) f = 3/2 Ω_c: exact for matter that clusters in part (a^p, p = [√(1+24Ω_c) − 1]/4; Bond, Efstathiou
& Silk 1980). What that leaves of the decaying mode, a^{−5/2} of it, is e⁻⁵ at z_start.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

Hubble = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""H in km/s/Mpc of an array of redshifts, of its shape."""

_LEAD = 2.0
"""ln a from the start of the solution to z_start."""

_BESIDE = 1e-9
"""How far on either side of a cut, in ln a, H is read."""


@dataclass(frozen=True, eq=False)
class Growth:
    """The growing mode, 1 at `z_start`.

    Attributes
    ----------
    ln_a : array (n,)
        Nodes, ascending from two e-folds before z_start to 0; twice the same at each cut.
    D, slope : arrays (n,)
        D and D′ = dD/dln a there, from either side at the cuts.
    z_start : float
    """

    ln_a: NDArray[np.float64]
    D: NDArray[np.float64]
    slope: NDArray[np.float64]
    z_start: float

    def __call__(self, z: ArrayLike) -> NDArray[np.float64]:
        """D(z) for z ≥ 0; before the nodes as with matter and radiation, linear in a (Mészáros)."""
        return self._interpolated(z)[0]

    def rate(self, z: ArrayLike) -> NDArray[np.float64]:
        """f = dlnD/dln a for z ≥ 0; at a jump of H its later value."""
        D, slope = self._interpolated(z)
        return slope / D

    def _interpolated(self, z: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """D and D′ from cubic Hermite pieces."""
        x = -np.log1p(np.asarray(z, dtype=np.float64))
        if np.any(x > 1e-12):
            raise ValueError(f"growth is known for z >= 0, got z = {np.min(z)}")
        i = np.clip(np.searchsorted(self.ln_a, x, side="right") - 1, 0, len(self.ln_a) - 2)
        h = self.ln_a[i + 1] - self.ln_a[i]
        t = (x - self.ln_a[i]) / h
        d0, d1, s0, s1 = self.D[i], self.D[i + 1], h * self.slope[i], h * self.slope[i + 1]
        third, second = 2 * (d0 - d1) + s0 + s1, 3 * (d1 - d0) - 2 * s0 - s1
        D = d0 + t * (s0 + t * (second + t * third))
        slope = (s0 + t * (2 * second + 3 * t * third)) / h
        early, rise = x < self.ln_a[0], self.slope[0] * np.exp(np.minimum(x - self.ln_a[0], 0.0))
        return np.where(early, self.D[0] - self.slope[0] + rise, D), np.where(early, rise, slope)


def linear_growth(
    hubble: Hubble, omega_clustering: float, *, z_start: float = 30.0, breaks: Sequence[float] = (), step: float = 0.02
) -> Growth:
    """The growing mode from z_start to today.

    Parameters
    ----------
    hubble : callable
        H(z) in km/s/Mpc, of arrays; also read back to 8 z_start.
    omega_clustering : float
        ω_c = Ω_c h² of the matter that clusters.
    z_start : float
        Where D = 1, and matter dominates.
    breaks : sequence of floats
        Redshifts at which H jumps, or between which it turns steeply (`lambda_s.transition_redshifts`).
    step : float
        Longest step in ln a; at least 16 steps lie between breaks. The error of D falls as its fourth power.

    Returns
    -------
    Growth

    Raises
    ------
    ValueError
        Where H is not positive.
    """
    start = -np.log1p(z_start) - _LEAD
    cuts = sorted({x for x in (-np.log1p(z_start), *(-np.log1p(z) for z in breaks)) if start < x < 0})
    D, p = 1.0, 0.0
    nodes, values, slopes = [], [], []
    for low, high in pairwise([start, *cuts, 0.0]):
        x = np.linspace(low, high, 2 * max(16, int(np.ceil((high - low) / step))) + 1)  # with the steps' middles
        inside = np.clip(x, low + _BESIDE * (low > start), high - _BESIDE * (high < 0))
        h = np.asarray(hubble(np.expm1(-inside)), dtype=np.float64) / 100
        if not np.all(h > 0):
            raise ValueError(
                f"growth needs H > 0 back to z = {np.expm1(-start):.0f}; it isn't at z = {np.expm1(-x[~(h > 0)][-1]):g}"
            )
        to_D, to_p = np.exp(-2 * x) / h, 1.5 * omega_clustering * np.exp(-x) / h
        if low == start:
            p = _starting_rate(hubble, omega_clustering, start) / to_D[0]
        pairs = [(D, p)]
        for m in _steps(to_D, to_p, x[2] - x[0]).tolist():
            D, p = m[0] * D + m[1] * p, m[2] * D + m[3] * p
            pairs.append((D, p))
        both = np.array(pairs)
        nodes.append(x[::2])
        values.append(both[:, 0])
        slopes.append(to_D[::2] * both[:, 1])
    ln_a, D_all = np.concatenate(nodes), np.concatenate(values)
    norm = D_all[np.searchsorted(ln_a, -np.log1p(z_start))]
    return Growth(ln_a, D_all / norm, np.concatenate(slopes) / norm, float(z_start))


def _steps(to_D: NDArray, to_p: NDArray, h: float) -> NDArray[np.float64]:
    """What (D, p) is multiplied by in each step h of the classical fourth-order Runge–Kutta rule, (n, 4), row by row.

    The coefficients are those at the steps' ends and middles, by turns.
    """
    one = np.array([[1.0, 0.0, 0.0, 1.0]])
    early, middle, late = slice(0, -2, 2), slice(1, None, 2), slice(2, None, 2)

    def change(at: slice, m: NDArray) -> NDArray:
        return np.stack([to_D[at] * m[:, 2], to_D[at] * m[:, 3], to_p[at] * m[:, 0], to_p[at] * m[:, 1]], axis=1)

    k1 = change(early, one)
    k2 = change(middle, one + h / 2 * k1)
    k3 = change(middle, one + h / 2 * k2)
    k4 = change(late, one + h * k3)
    return one + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)


def _starting_rate(hubble: Hubble, omega_clustering: float, start: float) -> float:
    """f of the growing mode at the start."""
    d = 0.02
    x = start + d * np.arange(-2, 3)
    ln_h = np.log(np.asarray(hubble(np.expm1(-x)), dtype=np.float64) / 100)
    friction = 2 + (ln_h[2:] - ln_h[:-2]) / (2 * d)
    source = 1.5 * omega_clustering * np.exp(-3 * x - 2 * ln_h)[1:-1]
    f = (np.sqrt(friction**2 + 4 * source) - friction) / 2
    return float(f[1] - (f[2] - f[0]) / (2 * d) / (2 * f[1] + friction[1]))

"""Preconditioned conjugate gradients that watch the error of the solution, not the residual."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Operator = Callable[[NDArray], NDArray]
Dot = Callable[[NDArray, NDArray], float]

DELAY = 6
"""Fewest iterations over which decreases of the error are compared."""

WINDOW = 0.1
"""Where it is more, this part of all iterations is: the slower they converge, the longer decreases rise and fall. True
errors are then 0.7 to 1.42 times the estimate for condition numbers up to 1e4; with DELAY alone up to 3.6 times."""

SLOWEST = 0.97
"""Where the error falls more slowly than this factor over DELAY iterations, no end is in sight."""

EARLY = 1e4
"""What a decrease is multiplied by for the squared error, before there are enough of them for a rate: the first steps
may do little where much is left (100 times was met), and only an exact solution or start should end things there."""


@dataclass(frozen=True, eq=False)
class Solution:
    """Where conjugate gradients have come to.

    Attributes
    ----------
    x : array
    residual : array
        b − A x as the recursion has it.
    iterations : int
    error : float
        Estimate of ‖x − A⁻¹b‖_A; infinite before there is one.
    converged : bool
    """

    x: NDArray
    residual: NDArray
    iterations: int
    error: float
    converged: bool


def conjugate_gradient(
    operator: Operator,
    rhs: NDArray,
    precondition: Operator,
    dot: Dot,
    *,
    first: Operator | None = None,
    start: NDArray | None = None,
    tolerance: float,
    max_iterations: int,
    progress: Callable[[int, float], None] | None = None,
) -> Solution:
    """Solve A x = b for a symmetric positive A.

    Parameters
    ----------
    operator : x → A x
    rhs : array
        b, real or complex.
    precondition : r → z, an approximation of A⁻¹ r
        Symmetric and positive; it may vary a little from one call to the next, as one does that iterates itself.
    dot : the inner product, in double precision
    first : r → z, optional
        Takes the place of `precondition` in the first step; the same by default.
    start : array, optional
        First x; 0 by default.
    tolerance : float
        Stop when the estimate of ‖x − A⁻¹b‖_A falls below it.
    max_iterations : int
    progress : function of the number of iterations and of the error, optional
        Called after each iteration.

    Notes
    -----
    One step along p lowers the squared error ‖x − A⁻¹b‖²_A by exactly Δ = (p·r)²/(p·Ap), so the squared error is the
    sum of all decreases still to come (Hestenes & Stiefel 1952, theorem 6:1; Strakoš & Tichý 2002, ETNA 13, 56). The
    sums of the last few of them, w, and of as many before, w′, give it, if they go on falling at the rate q = w/w′, as
    w q/(1 − q); before that, EARLY times the last decrease must do. The direction is made conjugate to the last,
    p = z − (z·Ap′)/(p′·Ap′) p′, which stands a varying preconditioner (Notay 2000, SIAM J. Sci. Comput. 22, 1444).
    """
    x = np.zeros_like(rhs) if start is None else start.astype(rhs.dtype)
    residual = rhs.copy() if start is None else rhs - operator(x)
    number = residual.real.dtype.type
    drops: list[float] = []
    error = float("inf")
    direction = image = residual
    curvature = 0.0
    for iteration in range(1, max_iterations + 1):
        z = first(residual) if first is not None and iteration == 1 else precondition(residual)
        direction = z if curvature == 0.0 else z - number(dot(z, image) / curvature) * direction
        slope = dot(direction, residual)
        if slope <= 0.0:
            # nothing is left but rounding
            return Solution(x, residual, iteration - 1, 0.0 if not drops else error, slope == 0.0)
        image = operator(direction)
        curvature = dot(direction, image)
        step = slope / curvature
        x += number(step) * direction
        residual -= number(step) * image
        drops.append(step * slope)
        error = remaining_error(drops)
        if progress is not None:
            progress(iteration, error)
        if error < tolerance:
            return Solution(x, residual, iteration, error, True)
    return Solution(x, residual, max_iterations, error, False)


def remaining_error(drops: list[float]) -> float:
    """Error that is left after steps which lowered its square by `drops`; infinite where they do not tell."""
    if len(drops) < 2 * DELAY:
        return (drops[-1] * EARLY) ** 0.5
    window = max(DELAY, int(WINDOW * len(drops)))
    late, early = sum(drops[-window:]), sum(drops[-2 * window : -window])
    rate = late / early
    return (late * rate / (1.0 - rate)) ** 0.5 if rate < SLOWEST ** (window / DELAY) else float("inf")

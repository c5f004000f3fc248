"""Conjugate gradients and their estimate of the error that is left."""

import numpy as np
import pytest
from numpy.typing import NDArray

from lensrec.filtering.conjugate_gradient import DELAY, Operator, conjugate_gradient, remaining_error


def problem(condition: float, size: int = 300) -> tuple[NDArray, NDArray, NDArray]:
    """A matrix with eigenvalues spread evenly in their logarithm, a right-hand side, and the solution."""
    rng = np.random.default_rng(11)
    vectors = np.linalg.qr(rng.normal(size=(size, size)))[0]
    matrix = vectors * np.geomspace(1.0, condition, size) @ vectors.T
    solution = rng.normal(size=size)
    return matrix, matrix @ solution, solution


def energy(matrix: NDArray, error: NDArray) -> float:
    return float(np.sqrt(error @ matrix @ error))


def dot(a: NDArray, b: NDArray) -> float:
    return float(a @ b)


def none(r: NDArray) -> NDArray:
    return r.copy()


@pytest.mark.parametrize("condition", [3.0, 100.0, 1e4])
@pytest.mark.parametrize("tolerance", [1e-2, 1e-6])
def test_the_error_is_what_the_estimate_says(condition: float, tolerance: float) -> None:
    matrix, rhs, truth = problem(condition)
    found = conjugate_gradient(lambda x: matrix @ x, rhs, none, dot, tolerance=tolerance, max_iterations=2000)
    assert found.converged
    # the rate of late steps stands for all that would follow: of 60 such problems the worst was at 1.42, at 1e4
    assert energy(matrix, found.x - truth) < 1.5 * tolerance
    assert found.error < tolerance
    np.testing.assert_allclose(found.residual, rhs - matrix @ found.x, atol=1e-9 * np.abs(rhs).max())


def test_the_decreases_add_up_to_the_error() -> None:
    """Hestenes & Stiefel's identity, with a preconditioner that changes from one step to the next."""
    matrix, rhs, truth = problem(30.0)
    calls = 0

    def changing(r: NDArray) -> NDArray:
        nonlocal calls
        calls += 1
        return r * (1.0 + 0.2 * np.cos(np.arange(len(r)) + calls))

    seen: list[float] = []
    found = conjugate_gradient(
        lambda x: matrix @ x,
        rhs,
        changing,
        dot,
        tolerance=1e-8,
        max_iterations=300,
        progress=lambda i, e: seen.append(e),
    )
    assert found.converged
    assert len(seen) == found.iterations
    assert energy(matrix, found.x - truth) < 2.5e-8


def test_a_good_preconditioner_and_a_good_start_save_iterations() -> None:
    matrix, rhs, truth = problem(1e4)
    inverse = np.linalg.inv(matrix)
    operator: Operator = lambda x: matrix @ x  # noqa: E731
    exact = conjugate_gradient(operator, rhs, lambda r: inverse @ r, dot, tolerance=1e-6, max_iterations=9)
    assert exact.converged
    assert exact.iterations <= 2
    again = conjugate_gradient(operator, rhs, none, dot, start=truth, tolerance=1e-6, max_iterations=9)
    assert again.converged
    assert again.iterations <= 1
    nothing = conjugate_gradient(operator, 0.0 * rhs, none, dot, tolerance=1e-6, max_iterations=9)
    assert nothing.converged
    assert (nothing.iterations, np.abs(nothing.x).max()) == (0, 0.0)


def test_running_out_of_iterations_is_said() -> None:
    matrix, rhs, _ = problem(1e4)
    found = conjugate_gradient(lambda x: matrix @ x, rhs, none, dot, tolerance=1e-6, max_iterations=20)
    assert not found.converged
    assert found.iterations == 20


def test_geometric_decreases_are_summed_exactly() -> None:
    drops = [0.8**k for k in range(2 * DELAY + 3)]
    assert abs(remaining_error(drops) ** 2 - 0.8 ** len(drops) / 0.2) < 1e-14
    assert remaining_error([1.0] * 20) == float("inf")

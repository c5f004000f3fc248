"""Broyden's steps: linear maps are solved in four, whatever they are, and what strays is held back."""

import numpy as np

from lensrec.sphere.broyden import broyden_rings

PIXELS = 600
START, COUNT = np.array([0, 200, 350]), np.array([200, 150, 250])


def begun(beta):
    jacobian = np.zeros((4, PIXELS))
    jacobian[[0, 3]] = 1
    return beta.copy(), np.zeros_like(beta), jacobian, np.full(3, np.nan)


def test_linear_maps_are_solved_in_four_steps():
    """In n dimensions Broyden's method ends after 2n steps (Gay 1979, SIAM J. Numer. Anal. 16, 623)."""
    rng = np.random.default_rng(61)
    matrix, shift = rng.uniform(-0.3, 0.3, (2, 2, PIXELS)), rng.normal(size=(2, PIXELS))
    exact = -np.linalg.solve(np.eye(2) + matrix.transpose(2, 0, 1), shift.T[:, :, None])[:, :, 0].T
    beta, step, jacobian, worst = begun(-shift)
    rings = np.array([2, 0, 1])
    for _ in range(5):
        image = np.einsum("ijp,jp->ip", matrix, beta) + shift
        broyden_rings(rings, START, COUNT, beta, image, step, jacobian, 0.0, 1e3, worst)
    # roundings of 1e-16, over what is left of |step|² when the Jacobian is corrected
    np.testing.assert_allclose(beta, exact, rtol=0, atol=1e-9)
    assert (worst < 1e-8).all()


def test_pixels_that_are_there_and_rings_that_are_not_asked_for_stay():
    rng = np.random.default_rng(62)
    image = rng.normal(size=(2, PIXELS))
    beta, step, jacobian, worst = begun(-image + 1e-3 * rng.normal(size=(2, PIXELS)))
    before, length = beta.copy(), np.hypot(*(beta + image))
    broyden_rings(np.array([0, 2]), START, COUNT, beta, image, step, jacobian, 1e-3, 1e3, worst)
    asked = np.repeat([True, False, True], COUNT)
    moved = (length > 1e-3) & asked
    np.testing.assert_array_equal((beta != before).all(axis=0), moved)
    np.testing.assert_array_equal(step, beta - before)
    # from a unit Jacobian and no step before, the step is −ρ
    np.testing.assert_allclose(beta[:, moved], -image[:, moved], rtol=0, atol=1e-15)
    np.testing.assert_array_equal(worst, [length[:200].max(), np.nan, length[350:].max()])


def test_a_jacobian_gone_astray_is_forgotten_and_no_step_leads_beyond_reach():
    image = np.ones((2, PIXELS))
    beta, step, jacobian, worst = begun(np.zeros((2, PIXELS)))
    jacobian[:, :200] = 1e-3 * np.array([[1], [0], [0], [1]])
    jacobian[:, 200:350] = 1.0  # singular
    broyden_rings(np.arange(3), START, COUNT, beta, image, step, jacobian, 0.0, 0.5, worst)
    np.testing.assert_array_equal(jacobian, np.array([[1], [0], [0], [1]]) * np.ones(PIXELS))
    np.testing.assert_allclose(beta, -0.5 * np.sqrt(0.5), rtol=1e-15)
    np.testing.assert_array_equal(step, beta)

"""Best fits, covariances and profiles of likelihoods whose answers are known in closed form."""

from collections.abc import Mapping

import numpy as np
import pytest
from numpy.typing import NDArray

from lensrec.fit.joint_likelihood import JointLikelihood, Part

NAMES = ("a", "b", "c")
RNG = np.random.default_rng(7)
MATRIX = RNG.normal(size=(9, 3))
DATA = RNG.normal(size=9)
SOLUTION = np.linalg.solve(MATRIX.T @ MATRIX, MATRIX.T @ DATA)
COVARIANCE = np.linalg.inv(MATRIX.T @ MATRIX)
WIDE: Mapping[str, tuple[float, float]] = dict.fromkeys(NAMES, (-10.0, 10.0))

# what Minuit stops at is 2e-4 of χ² from the minimum (0.002 × its tolerance 0.1): 0.015 σ
CLOSE = 0.015


def vector(parameters: Mapping[str, float]) -> NDArray[np.float64]:
    return np.array([parameters[name] for name in NAMES])


def linear(bounds: Mapping[str, tuple[float, float]] = WIDE, **more: Mapping) -> JointLikelihood:
    """|M x − d|², in two data sets of 4 and 5."""
    parts = [
        Part("first", lambda p: MATRIX[:4] @ vector(p) - DATA[:4], 4),
        Part("second", lambda p: MATRIX[4:] @ vector(p) - DATA[4:], 5),
    ]
    return JointLikelihood(parts, bounds, dict.fromkeys(NAMES, 1.0), dict.fromkeys(NAMES, 0.05), **more)


def sigmas(x: NDArray, expected: NDArray, covariance: NDArray) -> float:
    return float(np.sqrt((x - expected) @ np.linalg.solve(covariance, x - expected)))


def test_best_fit_and_covariance_of_a_linear_model() -> None:
    joint = linear()
    best = joint.best_fit()
    assert sigmas(best.x, SOLUTION, COVARIANCE) < CLOSE
    # differences of a linear model are exact but for rounding over a step of 0.05
    np.testing.assert_allclose(best.covariance, COVARIANCE, rtol=1e-9)
    np.testing.assert_allclose(joint.covariance(best.x), COVARIANCE, rtol=1e-9)
    assert best.chi2 == pytest.approx(np.sum((MATRIX @ SOLUTION - DATA) ** 2), abs=CLOSE**2)
    parts = joint.chi2_parts(best.x)
    assert sum(chi2 for chi2, _ in parts.values()) == pytest.approx(best.chi2)
    assert [n for _, n in parts.values()] == [4, 5]
    assert joint.n_data == 9


def test_a_gaussian_prior_is_one_datum_more() -> None:
    joint = linear(priors={"b": (0.3, 0.2)})
    fisher = MATRIX.T @ MATRIX + np.diag([0, 0.2**-2, 0])
    expected = np.linalg.solve(fisher, MATRIX.T @ DATA + np.array([0, 0.3 / 0.2**2, 0]))
    best = joint.best_fit()
    assert sigmas(best.x, expected, np.linalg.inv(fisher)) < CLOSE
    np.testing.assert_allclose(best.covariance, np.linalg.inv(fisher), rtol=1e-9)
    assert joint.n_data == 10


def test_profile_is_a_parabola() -> None:
    joint = linear()
    values = SOLUTION[1] + np.sqrt(COVARIANCE[1, 1]) * np.array([-3.0, -1.0, 0.0, 2.0])
    lowest = np.sum((MATRIX @ SOLUTION - DATA) ** 2)
    np.testing.assert_allclose(joint.profile("b", values) - lowest, [9, 1, 0, 4], atol=2 * CLOSE**2)
    best = joint.best_fit(held={"b": float(values[0])})
    assert best.x[1] == values[0]
    assert not np.any(best.covariance[1])
    assert not np.any(best.covariance[:, 1])


def test_one_parameter_alone_and_all_held() -> None:
    joint = linear(bounds={"a": (-10.0, 10.0)}, held={"b": 0.5, "c": -0.5})
    rest = DATA - MATRIX[:, 1:] @ np.array([0.5, -0.5])
    best = joint.best_fit()
    assert best.x[0] == pytest.approx(MATRIX[:, 0] @ rest / (MATRIX[:, 0] @ MATRIX[:, 0]), abs=CLOSE)
    assert joint.profile("a", [best.x[0]])[0] == pytest.approx(best.chi2, abs=1e-9)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("side", [-1, 1])
def test_minimum_at_an_edge(name: str, side: int) -> None:
    k = NAMES.index(name)
    # the box ends two σ before the minimum
    edge = SOLUTION[k] - side * 2 * np.sqrt(COVARIANCE[k, k])
    bounds = {**WIDE, name: (-10.0, edge) if side > 0 else (edge, 10.0)}
    joint = linear(bounds)
    best = joint.best_fit()
    others = [i for i in range(3) if i != k]
    rest = DATA - MATRIX[:, k] * edge
    expected = np.linalg.lstsq(MATRIX[:, others], rest, rcond=None)[0]
    assert joint.inside(best.x)
    assert best.x[k] == pytest.approx(edge, abs=CLOSE * np.sqrt(COVARIANCE[k, k]))
    assert sigmas(best.x[others], expected, np.linalg.inv(MATRIX[:, others].T @ MATRIX[:, others])) < CLOSE
    # χ² there is 4 above that of the minimum, and its slope 4 a σ
    assert best.chi2 - np.sum((MATRIX @ SOLUTION - DATA) ** 2) == pytest.approx(4, abs=5 * CLOSE)
    np.testing.assert_allclose(best.covariance, COVARIANCE, rtol=1e-9)


def test_start_outside_the_box_is_brought_in() -> None:
    joint = linear({**WIDE, "a": (SOLUTION[0] - 1, SOLUTION[0] + 0.5)})
    best = joint.best_fit(start=[50.0, 0.0, 0.0])
    assert sigmas(best.x, SOLUTION, COVARIANCE) < CLOSE


def test_a_curved_valley() -> None:
    """Rosenbrock's, of which the minimum is 0 at (1, 1)."""
    part = Part("valley", lambda p: np.array([10 * (p["b"] - p["a"] ** 2), 1 - p["a"]]), 2)
    bounds = {"a": (-5.0, 5.0), "b": (-5.0, 5.0)}
    joint = JointLikelihood([part], bounds, {"a": -1.2, "b": 1.0}, {"a": 1e-3, "b": 1e-3})
    best = joint.best_fit()
    np.testing.assert_allclose(best.x, [1, 1], atol=0.03)
    assert best.chi2 < 1e-3


def test_where_there_is_no_model() -> None:
    """a > limit is no model: χ² is infinite, the search goes round it, J is one-sided beside it."""
    limit = SOLUTION[0] + 0.02

    def first(parameters: Mapping[str, float]) -> NDArray[np.float64]:
        if parameters["a"] > limit:
            raise ValueError("no such model")
        return MATRIX @ vector(parameters) - DATA

    start = {"a": limit - 2.0, "b": 1.0, "c": 1.0}
    joint = JointLikelihood([Part("all", first, 9)], WIDE, start, dict.fromkeys(NAMES, 0.05))
    assert joint.chi2([limit + 1, 0, 0]) == np.inf
    with pytest.raises(ValueError, match="no such model"):
        joint.residual([limit + 1, 0, 0])
    best = joint.best_fit()
    assert sigmas(best.x, SOLUTION, COVARIANCE) < CLOSE
    np.testing.assert_allclose(best.covariance, COVARIANCE, rtol=1e-9)
    with pytest.raises(ValueError, match="no such model"):
        joint.best_fit(start=[limit + 1, 0, 0])


def test_outside_the_box() -> None:
    joint = linear({**WIDE, "c": (-1.0, 1.0)})
    assert joint.chi2([0, 0, 1.0001]) == np.inf
    assert np.isfinite(joint.chi2([0, 0, 1.0]))
    with pytest.raises(ValueError, match="c cannot be held at 2"):
        joint.best_fit(held={"c": 2.0})
    with pytest.raises(ValueError, match="d cannot be held at 1"):
        joint.best_fit(held={"d": 1.0})


def test_a_number_that_is_not_finite_is_no_point_outside() -> None:
    part = Part("broken", lambda p: np.array([p["a"], np.nan]), 2)
    joint = JointLikelihood([part], {"a": (-1.0, 1.0)}, {"a": 0.0}, {"a": 0.1})
    with pytest.raises(FloatingPointError, match=r"broken: the model is not finite at a = 0\.5"):
        joint.chi2([0.5])


def test_what_is_left_free_is_named() -> None:
    part = Part("first", lambda p: np.array([p["a"] - 1, 0.5 * p["a"]]), 2)
    both = {"a": (-1.0, 5.0), "b": (-1.0, 1.0)}
    with pytest.raises(ValueError, match="leave b free"):
        JointLikelihood([part], both, {"a": 0, "b": 0}, {"a": 0.1, "b": 0.1}).best_fit()
    part = Part("sum", lambda p: np.array([p["a"] + p["b"], 2 * (p["a"] + p["b"])]), 2)
    with pytest.raises(ValueError, match="a combination of the parameters free"):
        JointLikelihood([part], both, {"a": 0, "b": 0}, {"a": 0.1, "b": 0.1}).best_fit()


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"held": {"a": 1.0}}, "a cannot be free and held at once"),
        ({"priors": {"z": (0.0, 1.0)}}, "a prior on z, which is no parameter here"),
        ({"priors": {"a": (0.0, 0.0)}}, "the width of the prior on a must be positive"),
        ({"bounds": {**WIDE, "d": (0.0, 1.0)}}, "no start for d"),
        ({"bounds": {**WIDE, "b": (1.0, 1.0)}}, "no room between the bounds of b"),
    ],
)
def test_what_does_not_go_together_is_refused(change: dict, line: str) -> None:
    with pytest.raises(ValueError, match=line):
        linear(**change)

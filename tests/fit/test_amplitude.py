"""Fitting one amplitude."""

import numpy as np
import pytest

from lensrec.fit.amplitude import fit_amplitude


def test_exact_on_noiseless_data() -> None:
    template = np.array([1.0, 2.0, -1.0])
    result = fit_amplitude(1.3 * template, template, np.diag([1.0, 4.0, 0.25]))
    assert result.mean == pytest.approx(1.3, rel=1e-14)
    assert result.sigma == pytest.approx((1 + 1 + 4) ** -0.5, rel=1e-14)
    assert result.chi2 == pytest.approx(0, abs=1e-25)
    assert result.ndof == 2
    assert fit_amplitude(1.3 * template, template, np.array([1.0, 4.0, 0.25])) == result


def test_pulls_have_unit_width_with_correlated_errors() -> None:
    """3000 draws: the width's error is 1/√6000 = 1.3 %, the mean χ² of 4 degrees of freedom √(8/3000) = 0.052;
    5σ each, false-alarm rate 1e-6."""
    rng = np.random.default_rng(6)
    root = rng.normal(size=(5, 5))
    covariance = root @ root.T + np.eye(5)
    template = rng.uniform(1, 2, 5)
    noise = rng.normal(size=(3000, 5)) @ np.linalg.cholesky(covariance).T
    fits = [fit_amplitude(template + x, template, covariance) for x in noise]
    pulls = np.array([(fit.mean - 1) / fit.sigma for fit in fits])
    assert abs(pulls.std() - 1) < 0.065
    assert abs(np.mean([fit.chi2 for fit in fits]) - 4) < 0.26


def test_bad_covariances() -> None:
    with pytest.raises(ValueError, match="positive definite"):
        fit_amplitude(np.ones(2), np.ones(2), np.array([[1.0, 2.0], [2.0, 1.0]]))
    with pytest.raises(ValueError, match="do not fit"):
        fit_amplitude(np.ones(2), np.ones(3), np.eye(2))

"""A smooth ratio, fitted to noisy spectra of known noise."""

import numpy as np
import pytest

from lensrec.bias.smoothing import smooth_ratio


def test_a_smooth_ratio_comes_back_and_its_error_is_right() -> None:
    """Noise of known variance about a ratio that rises by 10 % over the range, 200 draws.

    The mean is to agree within five errors of the mean at each of 10 L (false alarm 6e-6), beyond 1e-4 for what the
    spline cannot follow; the scatter of 200 draws with the sigma that was given within 25 %, five times 1/√400.
    """
    rng = np.random.default_rng(2)
    ell = np.arange(1501.0)
    model = 1e-7 / np.maximum(ell, 1.0) ** 2
    truth = 1.0 + 0.1 * np.log(np.maximum(ell, 2.0) / 50.0) / 5.0
    variance = 2.0 / ((2 * ell + 1) * 40.0)
    found = []
    for _ in range(200):
        measured = model * (truth + rng.normal(size=len(ell)) * np.sqrt(variance))
        ratio, sigma = smooth_ratio(measured, model, variance)
        found.append(ratio)
    at = [3, 10, 30, 60, 120, 250, 500, 800, 1200, 1499]
    mean, scatter = np.mean(found, axis=0)[at], np.std(found, axis=0, ddof=1)[at]
    assert (np.abs(mean - truth[at]) < 5 * scatter / np.sqrt(200) + 1e-4).all()
    assert (np.abs(scatter / sigma[at] - 1) < 0.25).all()
    assert (sigma[at] < 0.5 * np.sqrt(variance[at])).sum() >= 7  # which is what smoothing is for


def test_exact_multiples_and_what_cannot_be_fitted() -> None:
    model = np.concatenate([[0.0, 0.0], np.linspace(1, 2, 99)])
    ratio, sigma = smooth_ratio(1.7 * model, model, np.ones(101))
    np.testing.assert_allclose(ratio[2:], 1.7, rtol=1e-12)
    assert (sigma >= 0).all()
    ratio, sigma = smooth_ratio(np.zeros(5), np.zeros(5), np.ones(5))
    np.testing.assert_array_equal(ratio, 1.0)
    np.testing.assert_array_equal(sigma, 0.0)
    for size in (3, 4, 7, 12):  # few multipoles: a constant, a line, a curve, and no failure
        short = np.arange(1.0, size + 1)
        np.testing.assert_allclose(smooth_ratio(2 * short, short, np.ones(size))[0][2:], 2.0, rtol=1e-9)
    with pytest.raises(ValueError, match="shapes differ"):
        smooth_ratio(np.ones(3), np.ones(4), np.ones(3))

"""Limits and tensions of samples against those of the Gaussians that they were drawn from."""

import numpy as np
import pytest
from scipy.stats import norm, truncnorm

from lensrec.fit.neutrino_bounds import BOUNDS, FLOOR_INVERTED, FLOOR_NORMAL, KATRIN, tension, upper_limit

MEAN, SIGMA = -0.10, 0.05


def samples() -> tuple[np.ndarray, np.ndarray]:
    """Of N(−0.10, 0.05²), drawn three times as wide and weighted."""
    draws = np.random.default_rng(4).normal(MEAN, 3 * SIGMA, 400_000)
    return draws, norm.pdf(draws, MEAN, SIGMA) / norm.pdf(draws, MEAN, 3 * SIGMA)


def test_bounds_to_stand_beside() -> None:
    assert [round(bound.value, 4) for bound in BOUNDS] == [0.0588, 0.0989, 1.35]
    assert (round(FLOOR_NORMAL, 4), round(FLOOR_INVERTED, 4), KATRIN) == (0.0588, 0.0989, 0.45)
    assert {bound.side for bound in BOUNDS[:2]} == {"lower"}
    assert all("arXiv:" in bound.source for bound in BOUNDS)


@pytest.mark.parametrize("floor", [0.0, 0.0588])
def test_upper_limit_is_that_of_the_cut_gaussian(floor: float) -> None:
    """95 % of what lies above the floor. At 0.0588, 3.2σ out, the 400000 draws are worth 2600: the quantile
    of their nearly exponential tail, of scale 0.014 eV, is known to 0.014 √(19/2600) = 0.0012."""
    mnu, weights = samples()
    expected = truncnorm.ppf(0.95, (floor - MEAN) / SIGMA, np.inf, loc=MEAN, scale=SIGMA)
    assert upper_limit(mnu, weights, floor=floor) == pytest.approx(expected, abs=0.004)
    assert upper_limit(mnu, weights, level=0.5, floor=floor) < expected
    # which is not the limit of the Gaussian itself
    assert expected - norm.ppf(0.95, MEAN, SIGMA) > 0.05


def test_limits_from_too_few_samples() -> None:
    with pytest.raises(ValueError, match=r"only 0 effective samples lie above 0 eV"):
        upper_limit(np.full(1000, -0.1))
    with pytest.raises(ValueError, match=r"only [1-9]\d? effective samples"):
        upper_limit(np.concatenate([np.full(1000, -0.1), np.full(50, 0.1)]))
    with pytest.raises(ValueError, match=r"need as many weights"):
        upper_limit(np.zeros(3), np.ones(2))


def test_both_tensions_agree_for_a_gaussian() -> None:
    """(0.0588 + 0.10)/0.05 = 3.18σ; the tail's is as uncertain as the number of samples in it."""
    mnu, weights = samples()
    found = tension(mnu, FLOOR_NORMAL, weights)
    assert found.gaussian == pytest.approx((FLOOR_NORMAL - MEAN) / SIGMA, abs=0.02)
    assert found.samples_above > 1000
    assert found.tail == pytest.approx(norm.sf((FLOOR_NORMAL - MEAN) / SIGMA), rel=4 / np.sqrt(found.samples_above))
    assert found.n_sigma == pytest.approx(found.gaussian, abs=0.05)


def test_they_differ_for_a_skewed_posterior() -> None:
    """Of an exponential the tail beyond 3 scales of mean 1 is e⁻³, 1.65σ, not 2σ; and there may be nothing above."""
    draws = np.random.default_rng(5).exponential(1.0, 200_000)
    found = tension(draws, 3.0)
    assert found.gaussian == pytest.approx(2.0, abs=0.02)
    assert found.n_sigma == pytest.approx(norm.isf(np.exp(-3)), abs=0.02)
    none = tension(draws, 100.0)
    assert (none.tail, none.n_sigma, none.samples_above) == (0.0, np.inf, 0.0)

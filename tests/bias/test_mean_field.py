"""Mean field and Gaussian bias from draws with a known mean and variance."""

import numpy as np
import pytest

from lensrec.bias.mean_field import mean_field, subtracted_spectrum
from lensrec.sphere.alm import alm_size, alm_to_cl


def draws(rng: np.random.Generator, mean: np.ndarray, lmax: int, count: int) -> list[np.ndarray]:
    noise = (rng.normal(size=(count, alm_size(lmax))) + 1j * rng.normal(size=(count, alm_size(lmax)))) / np.sqrt(2)
    noise[:, : lmax + 1] = noise[:, : lmax + 1].real * np.sqrt(2)
    return [mean + x for x in noise]


def test_bias_and_mean_are_unbiased() -> None:
    """40 unit-variance draws about a mean 3 times larger: modes summed over ℓ ≤ 20 number 441, so that the mean of
    the bias is good to √(2/(441·39)) = 1.1 %, and the subtracted spectrum of another draw to √(2/441) = 6.7 %."""
    rng = np.random.default_rng(4)
    lmax = 20
    mean = 3.0 * draws(rng, np.zeros(alm_size(lmax), dtype=complex), lmax, 1)[0]
    field = mean_field(draws(rng, mean, lmax, 41))
    modes = 2 * np.arange(lmax + 1) + 1
    assert abs(np.average(field.gaussian_bias, weights=modes) - 1) < 5 * 0.011
    error = field.mean - mean
    assert abs(np.average(alm_to_cl(error), weights=modes) * 41 - 1) < 5 * 0.067

    spectra = [subtracted_spectrum(x, field) for x in draws(rng, mean, lmax, 50)]
    average = np.average(np.mean(spectra, axis=0), weights=modes)
    # The halves' noise does not enter; a single mean of 41 would add 1/41 = 2.4 % and be seen at 2.5σ here, one
    # half used twice 4.9 %. 441·50 modes: 0.95 %, and the halves' cross term √(1/(441·20·21)) = 0.23 %.
    assert abs(average - 1) < 2.5 * 0.0098


def test_mean_of_unequal_halves() -> None:
    rng = np.random.default_rng(5)
    estimates = draws(rng, np.zeros(alm_size(4), dtype=complex), 4, 7)
    np.testing.assert_allclose(mean_field(estimates).mean, np.mean(estimates, axis=0), rtol=1e-13)


def test_gaussian_bias_is_the_variance_about_the_mean() -> None:
    """Σ |x − m|²/(n − 1) of five estimates of φ and Ω, and the means of even and odd ones, to rounding."""
    rng = np.random.default_rng(6)
    estimates = [np.stack(draws(rng, np.full(alm_size(4), 2.0 + 0j), 4, 2)) for _ in range(5)]
    field = mean_field(estimates)
    mean = sum(estimates) / 5
    for part in (0, 1):
        expected = sum(alm_to_cl((x - mean)[part]) for x in estimates) / 4
        np.testing.assert_allclose(field.gaussian_bias[part], expected, rtol=1e-12)
    np.testing.assert_allclose(field.halves[0], (estimates[0] + estimates[2] + estimates[4]) / 3, rtol=1e-13)
    np.testing.assert_allclose(field.halves[1], (estimates[1] + estimates[3]) / 2, rtol=1e-13)


def test_too_few() -> None:
    with pytest.raises(ValueError, match="at least 4"):
        mean_field([np.zeros(3, dtype=complex)] * 3)

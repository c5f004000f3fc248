"""Analytic mean fields against Gaussian skies with uneven noise, a weight, an uneven beam.

Each sky is used with the field and with its opposite and the difference taken, free of the reconstruction noise that
both share. The amplitude of the predicted mean field in it, Σ w MF* φ̂ / Σ w |MF|² with w = 1/N0, must be one: its mean
over skies is within 5 of its standard errors, as measured. By Student's t of 47 degrees of freedom a false alarm has
8e-6 for each, 4e-5 for all five. The errors themselves must be small, so that a wrong response shows.
"""

from functools import lru_cache

import numpy as np
import pytest

from lensrec.bias.analytic_mean_field import analytic_mean_field, noise_field, weight_field, width_field
from lensrec.quadratic.combination import normalised
from lensrec.quadratic.contaminants import modulation, uneven_beam, uneven_noise
from lensrec.quadratic.estimators import quadratic_estimates
from lensrec.quadratic.hardening import PHI, hardened_estimates, hardening, response_matrix
from lensrec.sphere.alm import alm_ell, alm_size, scale_alm
from lensrec.sphere.grids import gauss_legendre_grid, healpix_grid
from lensrec.sphere.sht import analysis, synthesis
from tests.quadratic.test_estimators import random_alm

LMAX, LMAX_PHI, SKIES = 100, 24, 48
GRID = healpix_grid(64)
ELL = np.arange(LMAX + 1.0)
SIGMA = 0.014  # 1.9° FWHM: b = 0.37 at ℓ = 100
BEAM = np.exp(-0.5 * ELL * (ELL + 1) * SIGMA**2)
POWER = 5e-5  # white noise, µK² sr: as much as the sky at ℓ ~ 80
SKY = (1 + 0.6 * np.cos(ELL / 5.0)) / (ELL + 5.0) ** 2
TOTAL = {"TT": SKY + POWER / BEAM**2}
FILTERS = {"T": np.where(ELL >= 5, 1.0 / TOTAL["TT"], 0.0)}
FIELDS = {
    "noise": uneven_noise(BEAM),
    "weight": modulation(TOTAL, beam=BEAM),
    "width": uneven_beam({"TT": SKY}, SIGMA, LMAX),
}


@lru_cache
def pattern(amplitude: float) -> np.ndarray:
    """A map of mean zero that changes over tens of degrees, of the given rms."""
    alm = random_alm(np.random.default_rng(1), 12)
    alm[0] = 0.0
    values = synthesis(alm, GRID)
    return amplitude * (values - values.mean()) / values.std()


def gaussian_sky(rng: np.random.Generator) -> np.ndarray:
    """alm of the spectrum SKY."""
    alm = random_alm(rng, LMAX) * np.sqrt(0.5)
    alm[: LMAX + 1] *= np.sqrt(2.0)
    return scale_alm(alm, np.sqrt(SKY))


def white(rng: np.random.Generator) -> np.ndarray:
    return rng.normal(size=GRID.npix) * np.sqrt(POWER / GRID.weights[0])


@lru_cache(maxsize=6 * SKIES)
def observed(name: str, sign: float, seed: int) -> np.ndarray:
    """Filtered alm of one sky with the field, or with its opposite."""
    rng = np.random.default_rng(seed)
    sky, noise = gaussian_sky(rng), white(rng)
    if name == "noise":
        seen = synthesis(scale_alm(sky, BEAM), GRID) + noise * np.sqrt(1 + sign * pattern(0.2))
    elif name == "weight":
        seen = (synthesis(scale_alm(sky, BEAM), GRID) + noise) * (1 + sign * pattern(0.1))
    else:
        # The beam of each pixel itself, not its derivative: from the sky at three widths by a parabola through them,
        # whose error of the third order is (0.05 ℓ²σ²)³/15 < 1e-5.
        step, width = 0.1, sign * pattern(0.03)
        low, mid, high = (synthesis(scale_alm(sky, BEAM ** ((1 + d) ** 2)), GRID) for d in (-step, 0.0, step))
        seen = mid + width * (high - low) / (2 * step) + width**2 * (high - 2 * mid + low) / (2 * step**2) + noise
    return scale_alm(analysis(seen, GRID, LMAX), FILTERS["T"] / BEAM)


def predicted_field(name: str) -> np.ndarray:
    if name == "noise":
        return noise_field(POWER / GRID.weights[0] * (1 + pattern(0.2)), GRID, LMAX_PHI)
    if name == "weight":
        return weight_field(3.0 * (1 + pattern(0.1)), GRID, LMAX_PHI)
    return width_field(SIGMA * (1 + pattern(0.03)), GRID, LMAX_PHI)


@pytest.fixture(scope="module")
def matrix():
    return response_matrix(["TT"], FIELDS, {"TT": SKY}, {"TT": SKY}, FILTERS, TOTAL, LMAX_PHI)


def amplitudes(estimate, prediction: np.ndarray, n0: np.ndarray, name: str) -> np.ndarray:
    inverse = np.divide(1.0, n0, out=np.zeros_like(n0), where=n0 > 0)
    m = np.where(np.arange(alm_size(LMAX_PHI)) <= LMAX_PHI, 1.0, 2.0)
    weight = inverse[alm_ell(LMAX_PHI)] * m
    size = np.sum(weight * abs(prediction) ** 2)
    found = []
    for seed in range(SKIES):
        plus, minus = (estimate(observed(name, sign, seed)) for sign in (1.0, -1.0))
        found.append(np.sum(weight * (prediction.conj() * (plus - minus) / 2).real) / size)
    return np.array(found)


@pytest.mark.parametrize("name", list(FIELDS))
def test_mean_field_is_that_of_skies(name: str, matrix) -> None:
    plain = hardening(matrix, [])
    own = plain.norm.response["TT"]
    field = predicted_field(name)
    mean = analytic_mean_field({name: field}, {name: matrix.response["TT", PHI, name][0]}, own)
    assert not mean[1].any()

    def estimate(legs: np.ndarray) -> np.ndarray:
        return normalised(quadratic_estimates(["TT"], {"T": legs}, {"TT": SKY}, LMAX_PHI)["TT"], own)[0]

    found = amplitudes(estimate, mean[0], plain.norm.n0("TT")[0], name)
    error = found.std(ddof=1) / np.sqrt(SKIES)
    assert error < 0.05  # 0.018, 0.029 and 0.035 seen
    assert abs(found.mean() - 1) < 5 * error


def test_hardened_estimate_has_no_mean_field_of_its_fields_and_a_predicted_one_of_others(matrix) -> None:
    """Hardened against noise and weight: of them nothing is left; the uneven beam's is predicted by R^{Hc}."""
    result = hardening(matrix, ["noise", "weight"])
    own = result.norm.response["TT"]
    fields = {name: predicted_field(name) for name in FIELDS}
    responses = {name: result.responses["TT", name] for name in FIELDS}
    plain = analytic_mean_field(fields, {n: matrix.response["TT", PHI, n][0] for n in FIELDS}, own)
    for name in ("noise", "weight"):
        left = analytic_mean_field({name: fields[name]}, responses, own)
        # Cancelled to rounding times a condition number of some 1e2
        assert np.abs(left[:, 1:]).max() < 1e-9 * np.abs(plain).max()
    mean = analytic_mean_field(fields, responses, own)

    def estimate(legs: np.ndarray) -> np.ndarray:
        q = hardened_estimates(["TT"], {"T": legs}, {"TT": SKY}, LMAX_PHI, fields=FIELDS, hardening=result)
        return normalised(q["TT"], own)[0]

    n0 = result.norm.n0("TT")[0]
    found = amplitudes(estimate, mean[0], n0, "width")
    error = found.std(ddof=1) / np.sqrt(SKIES)
    assert error < 0.15  # 0.13 seen; with the response of the plain estimator the amplitude would be below -1
    assert abs(found.mean() - 1) < 5 * error

    uneven = analytic_mean_field({"noise": fields["noise"]}, {"noise": matrix.response["TT", PHI, "noise"][0]}, own)
    found = amplitudes(estimate, uneven[0], n0, "noise")
    error = found.std(ddof=1) / np.sqrt(SKIES)
    assert error < 0.05
    assert abs(found.mean()) < 5 * error


def test_fields_of_maps() -> None:
    """A weight, a width and a noise of known modulation; HEALPix integrates at nside 64 to 1e-5."""
    delta = pattern(0.1)
    expected = analysis(delta, GRID, 8)
    for alm in (weight_field(0.3 * (1 + delta), GRID, 8), width_field(5.0 * (1 + delta), GRID, 8)):
        np.testing.assert_allclose(alm, expected, rtol=0, atol=1e-12)
    noise = noise_field(7.0 * (1 + delta), GRID, 8) / (7.0 * GRID.weights[0])
    np.testing.assert_allclose(noise, analysis(1 + delta, GRID, 8), rtol=0, atol=1e-12)
    assert noise[0].real == pytest.approx(np.sqrt(4 * np.pi), rel=1e-5)


def test_weights_and_widths_are_relative_to_their_mean_over_the_sky() -> None:
    """On a grid whose pixels are not of equal area: 1 + cos²θ has the mean 4/3, and is 4/3 (1 + P₂/2), to rounding."""
    grid = gauss_legendre_grid(20)
    values = np.repeat(1.0 + np.cos(grid.theta) ** 2, grid.nphi.astype(int))
    assert values.mean() > 1.4  # of pixels, which are smallest next to the poles
    expected = np.zeros(alm_size(8))
    expected[2] = 0.5 * np.sqrt(4 * np.pi / 5)
    for field in (weight_field, width_field):
        np.testing.assert_allclose(field(values, grid, 8), expected, rtol=0, atol=1e-13)


def test_noise_power_is_the_variance_times_the_area_of_each_pixel() -> None:
    """On a grid whose pixels are not of equal area: N(n) of known alm comes back, to rounding."""
    grid = gauss_legendre_grid(20)
    power = random_alm(np.random.default_rng(4), 8)
    power[0] = 50.0
    area = np.repeat(grid.weights, grid.nphi.astype(int))
    variance = synthesis(power, grid) / area
    assert area.max() > 3 * area.min()
    np.testing.assert_allclose(noise_field(variance, grid, 8), power, rtol=0, atol=1e-12)


def test_ones_give_the_unnormalised_mean_and_zero_responses_none() -> None:
    field = random_alm(np.random.default_rng(2), 5)
    response, own = np.arange(9.0), np.stack([np.arange(9.0) ** 2, np.ones(9)])
    q = analytic_mean_field({"c": field}, {"c": response}, np.ones((2, 9)))
    phi = analytic_mean_field({"c": field}, {"c": response}, own)
    np.testing.assert_allclose(phi, normalised(q, own), rtol=1e-14)
    assert q.any()
    assert not phi[0, 0].any()


def test_what_is_wrong_is_said() -> None:
    with pytest.raises(ValueError, match="no response to the field 'gain'"):
        analytic_mean_field({"gain": np.zeros(3)}, {"noise": np.ones(3)}, np.ones((2, 3)))
    with pytest.raises(ValueError, match="has shape"):
        weight_field(np.ones(5), GRID, 4)
    with pytest.raises(ValueError, match="not negative, it is -1 at pixel 3"):
        noise_field(np.where(np.arange(GRID.npix) == 3, -1.0, 1.0), GRID, 4)
    with pytest.raises(ValueError, match="beam width is zero everywhere"):
        width_field(np.zeros(GRID.npix), GRID, 4)

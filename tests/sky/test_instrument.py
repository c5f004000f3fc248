"""Beam and noise: closed forms, published noise models, and the statistics of drawn noise."""

import numpy as np
import pytest

from lensrec.sky.instrument import (
    gaussian_beam,
    noise_alm,
    noise_spectrum,
    observed_alm,
    total_noise_deconvolved,
    uk_arcmin_to_uk_rad,
)
from lensrec.sky.random import unit_alm
from lensrec.sphere.alm import alm_ell, alm_m, alm_size, alm_to_cl

ARCMIN = np.pi / 10800.0


def test_beam_against_healpy() -> None:
    import healpy as hp

    lmax, fwhm = 3000, 5.0 * ARCMIN
    theirs = hp.gauss_beam(fwhm, lmax=lmax, pol=True)
    # exponents up to 1.8 are computed in different orders: rounding, 2e-16 × 1.8
    np.testing.assert_allclose(gaussian_beam(fwhm, lmax), theirs[:, 0], rtol=2e-15)
    np.testing.assert_allclose(gaussian_beam(fwhm, lmax, spin=2), theirs[:, 1], rtol=2e-15)
    ratio = gaussian_beam(fwhm, lmax, spin=2) / gaussian_beam(fwhm, lmax)
    # e^{2σ²} − 1 with σ = FWHM/2.35482, rounding aside
    np.testing.assert_allclose(ratio - 1.0, 2.0 * (fwhm / 2.354820045) ** 2, rtol=1e-6)


def test_beam_is_half_at_its_half_width() -> None:
    """The beam's profile Σ (2ℓ+1)/4π b_ℓ P_ℓ falls to one half at FWHM/2."""
    fwhm = np.radians(2.0)
    beam = gaussian_beam(fwhm, 1500)
    series = (2 * np.arange(1501) + 1) / (4 * np.pi) * beam
    at = np.polynomial.legendre.legval(np.cos([0.0, fwhm / 2.0]), series)
    # curvature of the sphere: terms of order σ² = 2e-4
    assert abs(at[1] / at[0] - 0.5) < 1e-4
    np.testing.assert_array_equal(gaussian_beam(0.0, 10), np.ones(11))


def test_units_of_white_noise() -> None:
    # (1 µK·arcmin)² = 8.4616e-8 µK² sr
    assert abs(uk_arcmin_to_uk_rad(1.0) ** 2 - 8.46159e-8) < 1e-13
    np.testing.assert_allclose(noise_spectrum(5, level=uk_arcmin_to_uk_rad(10.0)), np.full(6, 8.46159e-6), rtol=1e-6)


def test_red_noise() -> None:
    level = uk_arcmin_to_uk_rad(6.0)
    noise = noise_spectrum(2000, level=level, lknee=700.0, slope=-1.4)
    white = level**2
    assert abs(noise[700] / white - 2.0) < 1e-14
    assert abs(noise[1400] / white - 1.0 - 2.0**-1.4) < 1e-14
    assert noise[0] == noise[1] == noise[2] > noise[3]
    held = noise_spectrum(2000, level=level, lknee=700.0, slope=-1.4, lmin=30)
    assert np.all(held[:30] == held[30])
    np.testing.assert_array_equal(held[30:], noise[30:])


@pytest.mark.parametrize(
    ("level", "red", "knee"),
    [(8.0, 2.23e-5, 1498.5), (10.0, 2.81e-4, 2720.0), (5.8, 2.23e-5, 1800.5), (6.3, 2.81e-4, 3542.0)],
)
def test_simons_observatory_temperature_noise(level: float, red: float, knee: float) -> None:
    """N_T = N_white + N_red (ℓ/1000)^−3.5 (so_noise_models v3.1; arXiv:1808.07445) as level and knee."""
    white = uk_arcmin_to_uk_rad(level) ** 2
    lknee = 1000.0 * (red / white) ** (1.0 / 3.5)
    # typed from the same formula to 0.5, which is the third digit of N_red
    assert abs(lknee - knee) < 1.0
    ell = np.arange(2, 5001)
    expected = white + red * (ell / 1000.0) ** -3.5
    got = noise_spectrum(5000, level=uk_arcmin_to_uk_rad(level), lknee=lknee, slope=-3.5)[2:]
    # powers of ratios up to 1800: rounding amplified by the exponents
    np.testing.assert_allclose(got, expected, rtol=1e-13)


def test_simons_observatory_red_noise_is_in_sr() -> None:
    """N_red at 93 and 145 GHz from the model's own constants: C/(tubes) × survey area / survey time."""
    # µK² s, by half for the field of view, over four optics tubes; 40 % of the sky, 5 years at 17 % of the time
    per_second = np.array([6.81426710e2 * 1.4, 1.2e4]) * 0.5 / 4.0
    spread = 0.4 * 4.0 * np.pi / (5.0 * 365.25 * 86400.0 * 0.2 * 0.85)
    # the published figures have three digits
    np.testing.assert_allclose(per_second * spread, [2.23e-5, 2.81e-4], rtol=5e-3)


def test_noise_alm_has_the_spectra_asked_for() -> None:
    lmax = 400
    ell = np.arange(lmax + 1)
    noise_t = noise_spectrum(lmax, level=2.0, lknee=50.0, slope=-2.0)
    noise_p = noise_spectrum(lmax, level=3.0)
    alm = noise_alm(noise_t, noise_p, lmax, seed=5, sim=2)
    assert alm.shape == (3, alm_size(lmax))
    degrees = 2 * ell[2:] + 1
    total = degrees.sum()
    for row, spectrum in zip(alm, (noise_t, noise_p, noise_p), strict=True):
        # Σ(2ℓ+1)Ĉ/C is χ² of 1.6e5 degrees of freedom: 5σ = 5 sqrt(2/1.6e5) = 1.8 %; fixed seed
        ratio = np.sum(degrees * (alm_to_cl(row) / spectrum)[2:]) / total
        assert abs(ratio - 1.0) < 5.0 * np.sqrt(2.0 / total)
    for a, b, scale in ((0, 1, noise_t * noise_p), (0, 2, noise_t * noise_p), (1, 2, noise_p**2)):
        # the same number of products of independent normals, variance 1 each: 5σ; fixed seed
        cross = np.sum(degrees * (alm_to_cl(alm[a], alm[b]) / np.sqrt(scale))[2:]) / total
        assert abs(cross) < 5.0 / np.sqrt(total)
    assert np.all(alm[1:, alm_ell(lmax) < 2] == 0.0)
    assert np.all(alm[0, alm_ell(lmax) == 0].real != 0.0)
    assert np.all(alm[:, alm_m(lmax) == 0].imag == 0.0)


def test_noise_alm_is_the_same_at_any_lmax_and_apart_from_the_sky() -> None:
    low, high = (noise_alm(np.ones(n + 1), np.ones(n + 1), n, seed=1, sim=0) for n in (20, 60))
    for a, b in zip(low, high, strict=True):
        common = alm_ell(60) <= 20
        # same layout, m-major, so cutting leaves the order
        np.testing.assert_array_equal(a, b[common])
    again = noise_alm(np.ones(61), np.ones(61), 60, seed=1, sim=0, nthreads=1)
    np.testing.assert_array_equal(high, again)
    for other in (
        noise_alm(np.ones(61), np.ones(61), 60, seed=1, sim=1),
        noise_alm(np.ones(61), np.ones(61), 60, seed=2, sim=0),
        np.stack([unit_alm(60, seed=1, sim=0, component=name) for name in ("T", "E", "B")]),
    ):
        n = 61**2
        for a, b in zip(high, other, strict=True):
            # 3721 products of independent unit normals: 5σ; fixed seeds
            assert abs(np.sum((2 * np.arange(61) + 1) * alm_to_cl(a, b)) / n) < 5.0 / np.sqrt(n)


def test_noise_alm_does_not_touch_its_spectra() -> None:
    noise = np.ones(11)
    noise_alm(noise, noise, 10, seed=0, sim=0)
    np.testing.assert_array_equal(noise, np.ones(11))


def test_observed_alm_scales_temperature_and_polarisation_apart() -> None:
    lmax = 30
    alm = np.stack([unit_alm(lmax, seed=3, sim=0, component=name) for name in "TEB"])
    transfer_t, transfer_p = gaussian_beam(0.1, lmax), 0.5 * gaussian_beam(0.05, lmax)
    out = observed_alm(alm, transfer_t, transfer_p)
    for i, transfer in enumerate((transfer_t, transfer_p, transfer_p)):
        np.testing.assert_array_equal(out[i], alm[i] * transfer[alm_ell(lmax)])
    np.testing.assert_array_equal(observed_alm(alm[:1], transfer_t, transfer_p), out[:1])


def test_deconvolved_noise() -> None:
    lmax = 100
    noise, beam = noise_spectrum(lmax, level=0.01), gaussian_beam(0.05, lmax)
    window = np.linspace(1.0, 0.5, lmax + 1)
    # the same three factors in another order
    np.testing.assert_allclose(total_noise_deconvolved(noise, beam, window), noise / beam**2 / window**2, rtol=1e-15)
    np.testing.assert_allclose(total_noise_deconvolved(noise, beam), noise / beam**2, rtol=1e-15)


def test_deconvolved_noise_is_finite() -> None:
    lmax = 4000
    noise, beam = noise_spectrum(lmax, level=0.01), gaussian_beam(np.radians(2.0), lmax)
    window = np.ones(lmax + 1)
    window[:2] = 0.0
    assert beam[-1] == 0.0
    out = total_noise_deconvolved(noise, beam, window)
    assert np.all(np.isfinite(out))
    # so that squares, as in variances, are finite, too
    assert np.all(np.isfinite(out**2))
    assert out[-1] == out[0] > 1e50


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: gaussian_beam(-1.0, 10), "FWHM"),
        (lambda: gaussian_beam(2.0, 10), "FWHM"),
        (lambda: noise_spectrum(10, level=-1.0), "negative"),
        (lambda: noise_spectrum(10, level=1.0, lknee=100.0), "slope=None"),
        (lambda: noise_spectrum(10, level=1.0, slope=-1.0), "lknee=None"),
        (lambda: noise_spectrum(10, level=1.0, lknee=0.0, slope=-1.0), "above 0"),
        (lambda: noise_spectrum(10, level=1.0, lmin=0), "at least 1"),
    ],
)
def test_errors_are_said(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()

"""Band powers: windows, errors, and what cannot be binned."""

import numpy as np
import pytest

from lensrec.spectra.bandpowers import bin_spectrum, gaussian_sigma, lensing_scaling, make_bands


def test_flat_spectrum_is_its_own_band_power() -> None:
    flat = np.zeros(101)
    flat[1:] = 3.0 / lensing_scaling(100)[1:]
    bands = make_bands([2, 10, 40, 101], np.linspace(1.0, 2.0, 101))
    np.testing.assert_allclose(bin_spectrum(flat, bands), 3.0, rtol=1e-13)
    np.testing.assert_allclose(bands.windows.sum(1), 1.0, rtol=1e-13)
    assert (bands.windows[1][:10] == 0).all()
    assert (bands.windows[1][40:] == 0).all()
    assert bands.windows[1][10] > 0


def test_weights_are_inverse_variances() -> None:
    """In a two-multipole band the window is (2L+1)/(scaling² variance), by hand."""
    variance = np.ones(12)
    variance[11] = 5.0
    bands = make_bands([10, 12], variance)
    w = np.array([21 / (110.0**4), 23 / (132.0**4 * 5.0)])
    np.testing.assert_allclose(bands.windows[0][10:], w / w.sum(), rtol=1e-12)


def test_sigma_is_that_of_drawn_spectra() -> None:
    """4000 draws of χ²-distributed Ĉ_L: the scatter's own relative error is 1/√8000 = 1.1 %; 5σ is 5.6 %,
    false-alarm rate 3 bands × 6e-7."""
    rng = np.random.default_rng(3)
    total = 1.0 / (np.arange(61.0) + 3) ** 4
    bands = make_bands([2, 8, 25, 61], total**2)
    ell = np.arange(61)
    draws = total * rng.chisquare(2 * ell + 1, size=(4000, 61)) / (2 * ell + 1)
    powers = np.array([bin_spectrum(cl, bands) for cl in draws])
    np.testing.assert_allclose(powers.std(0), gaussian_sigma(total, bands), rtol=0.056)
    np.testing.assert_allclose(gaussian_sigma(total, bands, 0.25), 2 * gaussian_sigma(total, bands), rtol=1e-12)


@pytest.mark.parametrize("edges", [[5], [5, 5], [9, 4], [-1, 4], [2, 103]])
def test_edges_that_cannot_be(edges: list[int]) -> None:
    with pytest.raises(ValueError, match="band edges"):
        make_bands(edges, np.ones(101))


def test_band_without_a_multipole() -> None:
    variance = np.ones(30)
    variance[10:20] = 0.0
    with pytest.raises(ValueError, match="10 ≤ L < 20"):
        make_bands([2, 10, 20, 30], variance)

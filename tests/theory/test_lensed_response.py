"""Derivatives of lensed spectra by C_L^φφ against finite differences of `lensed_spectra`, and against each other."""

import numpy as np
import pytest

from lensrec.theory.lensed_response import bandpower_derivatives, lensed_derivatives
from lensrec.theory.lensing import lensed_spectra
from tests.theory.test_lensing import CMB, first_order, random_spectra, small_phi

LMAX, TOP, LMAX_PHI = 60, 50, 40
CLS = random_spectra(LMAX, 1)
# ℓ(ℓ+1) times the variance is 0.7 at ℓ = 60: about a lensing that is far from first order
PHI = small_phi(LMAX_PHI, 2, 2e-4)


def finite_difference(change: np.ndarray) -> dict[str, np.ndarray]:
    """Central differences at steps of 1/2 and 1, and the extrapolation that is free of their error in step²."""

    def central(step: float) -> dict[str, np.ndarray]:
        plus, minus = (lensed_spectra(CLS, PHI + sign * step * change, lmax=TOP) for sign in (1, -1))
        return {key: (plus[key] - minus[key]) / (2 * step) for key in CMB}

    half, whole = central(0.5), central(1.0)
    return {key: (4 * half[key] - whole[key]) / 3 for key in CMB}


@pytest.mark.parametrize("multipole", [1, 2, 7, 33, 40])
def test_is_the_finite_difference(multipole: int) -> None:
    """At steps of C_L^φφ itself; what is left is step⁴, and 1e-10 of C_ℓ from the series of the exponential."""
    change = np.zeros(LMAX_PHI + 1)
    change[multipole] = PHI[multipole]
    expected = finite_difference(change)
    got = lensed_derivatives(CLS, PHI, change, lmax=TOP)
    for key in CMB:
        # measured: 7e-10
        np.testing.assert_allclose(got[key][:, 0], expected[key], rtol=0, atol=1e-8 * np.abs(expected[key]).max())


def test_every_multipole_makes_up_the_amplitude() -> None:
    each = lensed_derivatives(CLS, PHI, lmax=TOP)
    whole = lensed_derivatives(CLS, PHI, PHI, lmax=TOP)
    plus, minus = (lensed_spectra(CLS, PHI, lmax=TOP, amplitude=1 + step) for step in (0.01, -0.01))
    for key in CMB:
        scale = np.abs(whole[key]).max()
        assert each[key].shape == (TOP + 1, LMAX_PHI + 1)
        np.testing.assert_allclose(each[key] @ PHI, whole[key][:, 0], rtol=0, atol=1e-12 * scale)
        # third order: 1e-4/6 of f‴/f′ ~ 0.1; the series leaves 1e-10/0.02
        difference = (plus[key] - minus[key]) / 0.02
        np.testing.assert_allclose(whole[key][:, 0], difference, rtol=0, atol=1e-5 * scale)


def test_about_no_lensing_it_is_the_first_order_by_3j_symbols() -> None:
    lmax, top = 14, 12
    cls = random_spectra(lmax, 3)
    got = lensed_derivatives(cls, np.zeros(11), lmax=top)
    for multipole in (1, 2, 10):
        one = np.zeros(11)
        one[multipole] = 1.0
        plus = first_order(cls["EE"] + cls["BB"], 2, 2, one, top)
        minus = first_order(cls["EE"] - cls["BB"], 2, -2, one, top)
        expected = {
            "TT": first_order(cls["TT"], 0, 0, one, top),
            "EE": (plus + minus) / 2,
            "BB": (plus - minus) / 2,
            "TE": first_order(cls["TE"], 2, 0, one, top),
        }
        for key in CMB:
            scale = np.abs(expected[key]).max()
            np.testing.assert_allclose(got[key][:, multipole], expected[key], rtol=0, atol=1e-11 * scale)


def test_of_band_powers_is_the_window_times_that_of_spectra() -> None:
    """The projections on d^L_11 and d^L_1,−1 against those on d^ℓ_st; windows of unlike length, L beyond C^φφ's end."""
    rng = np.random.default_rng(4)
    windows = {key: rng.normal(size=(5, TOP + 1 - 3 * i)) for i, key in enumerate(CMB)}
    windows["EE"][2] = 0.0
    got = bandpower_derivatives(CLS, PHI, windows, lmax_phi=LMAX_PHI + 6)
    each = lensed_derivatives(CLS, PHI, np.eye(LMAX_PHI + 7), lmax=TOP)
    expected = sum(w @ each[key][: w.shape[1]] for key, w in windows.items())
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-12 * np.abs(expected).max())
    shorter = bandpower_derivatives(CLS, PHI, {"BB": windows["BB"]}, lmax_phi=9)
    expected = windows["BB"] @ each["BB"][: windows["BB"].shape[1], :10]
    # windows that end earlier get fewer nodes: 1e-7 of higher orders in φφ, as in `lensed_spectra`; measured 7e-8
    np.testing.assert_allclose(shorter, expected, rtol=0, atol=3e-7 * np.abs(expected).max())


def test_absent_spectra_are_zero() -> None:
    """Without E and B there is nothing but TT, and B from E alone follows E."""
    only = lensed_derivatives({"TT": CLS["TT"]}, PHI, PHI, lmax=TOP)
    full = lensed_derivatives(CLS, PHI, PHI, lmax=TOP)
    np.testing.assert_allclose(only["TT"], full["TT"], rtol=1e-12, atol=1e-14 * np.abs(full["TT"]).max())
    assert not any(only[key].any() for key in ("EE", "BB", "TE"))


@pytest.mark.parametrize(
    "windows",
    [{}, {"PP": np.ones((2, 5))}, {"TT": np.ones((2, LMAX + 2))}, {"TT": np.ones((2, 5)), "EE": np.ones((3, 5))}],
)
def test_windows_that_do_not_fit(windows: dict[str, np.ndarray]) -> None:
    with pytest.raises(ValueError, match="windows on TT, EE, BB, TE"):
        bandpower_derivatives(CLS, PHI, windows)

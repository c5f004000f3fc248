"""CAMB's spectra in this package's units and order."""

import numpy as np
import pytest

from lensrec.theory.boltzmann import FIDUCIAL, camb_spectra
from lensrec.theory.lensing import gradient_spectra


def test_all_start_at_zero_and_have_one_length(theory):
    for group in (theory.unlensed, theory.lensed, theory.gradient, theory.potential):
        for cl in group.values():
            assert cl.shape == (4001,)
            assert np.all(np.isfinite(cl))
            assert np.all(cl[:2] == 0.0)


def test_first_peak_in_microkelvin_squared(theory):
    ell = np.arange(4001)
    d_tt = ell * (ell + 1) * theory.lensed["TT"] / (2 * np.pi)
    # Planck 2018: the first peak at l = 220.6 +- 0.6 with D = 5733 +- 39 uK^2
    assert abs(np.argmax(d_tt) - 220.6) < 3
    assert abs(d_tt.max() - 5733) < 80


def test_lensing_potential_is_dimensionless_and_unscaled(theory):
    ell = np.arange(4001)
    power = (ell * (ell + 1)) ** 2 * theory.potential["PP"] / (2 * np.pi)
    # the well-known peak of the deflection power, 1.3e-7 near L = 35
    assert 20 < np.argmax(power) < 60
    assert 1.1e-7 < power.max() < 1.5e-7


def test_cross_spectra_with_the_potential_have_the_right_unit(theory):
    low = slice(2, 30)
    for cross, auto, least, sign in (("TP", "TT", 0.3, 1), ("EP", "EE", 0.1, -1)):
        correlation = theory.potential[cross][2:] / np.sqrt(theory.unlensed[auto] * theory.potential["PP"])[2:]
        assert np.all(np.abs(correlation) < 1.0)
        # late-time potentials give a positive TP and, by reionisation, a negative EP, well correlated at low L;
        # a unit wrong by 1e6, or T and E exchanged, would show
        assert np.max(sign * correlation[low]) > least


def test_lensing_smooths_and_makes_b_modes(theory):
    assert np.all(theory.unlensed["BB"] == 0.0)
    assert np.all(theory.lensed["BB"][2:] > 0.0)
    # white B modes of 5 uK arcmin, 2.1e-6 uK^2, at low l
    assert 1.8e-6 < theory.lensed["BB"][50] < 2.3e-6
    # peaks lose 1 to 6 % at l = 1400 to 1600
    band = slice(1400, 1600)
    change = theory.lensed["TT"][band] / theory.unlensed["TT"][band] - 1
    assert 0.01 < np.max(np.abs(change)) < 0.1


def test_gradient_spectra_are_those_of_the_unlensed_sky(theory):
    """C^φφ lenses them once: of spectra that are lensed already, TT would be off by up to 3 % at ℓ ≤ 1400, EE by 10 %.

    That `gradient_spectra` are CAMB's is seen where that is tested. Here its input ends at ℓ = 2500, which moves what
    comes out at ℓ ≤ 1400 by up to 8e-5. Lensed spectra differ from lensed-gradient ones by 1.6e-3 (TE) and more.
    """
    unlensed = {key: theory.unlensed[key][:2501] for key in ("TT", "EE", "TE")}
    expected = gradient_spectra(unlensed, theory.potential["PP"], lmax=1400)
    for key in ("TT", "EE", "TE"):
        norm = np.sqrt(expected["TT"] * expected["EE"])[2:] if key == "TE" else expected[key][2:]
        got = theory.gradient[key][2:1401]
        assert np.max(np.abs(got - expected[key][2:]) / norm) < 3e-4
        assert np.max(np.abs(got - theory.lensed[key][2:1401]) / norm) > 1e-3


def test_result_hardly_depends_on_where_it_ends(theory):
    short = camb_spectra(2000, cosmology=FIDUCIAL)
    for name in ("unlensed", "lensed", "gradient"):
        got, expected = getattr(short, name), getattr(theory, name)
        for key in ("TT", "EE", "TE"):
            norm = np.sqrt(expected["TT"] * expected["EE"]) if key == "TE" else expected[key]
            error = np.abs(got[key] - expected[key][:2001])[2:] / norm[2:2001]
            # CAMB's high-l template for lensing hangs on the last multipole given: up to 4e-4 near the end
            assert np.max(error) < 1e-3, (name, key)
    # the potential is sampled and interpolated in l: 1e-3
    np.testing.assert_allclose(short.potential["PP"][2:], theory.potential["PP"][2:2001], rtol=2e-3)


def test_amplitude_scales_the_unlensed_spectra():
    once, twice = (camb_spectra(200, cosmology={"As": a}, lens_potential_accuracy=1) for a in (1.9e-9, 2.2e-9))
    # linear theory; a tenth of a per mille is left for CAMB's adaptive sampling
    np.testing.assert_allclose(twice.unlensed["TT"][2:], once.unlensed["TT"][2:] * 2.2 / 1.9, rtol=1e-4)


def test_unknown_and_impossible_parameters_name_themselves():
    with pytest.raises(ValueError, match="Alens"):
        camb_spectra(100, cosmology={"Alens": 1.2})
    for key, value in (("ombh2", -0.02), ("H0", 0.0), ("As", np.nan), ("tau", -0.1)):
        with pytest.raises(ValueError, match=key):
            camb_spectra(100, cosmology={key: value})
    with pytest.raises(ValueError, match="lmax"):
        camb_spectra(1, cosmology={})


def test_cambs_own_failure_is_one_line():
    with pytest.raises(ValueError, match="CAMB finds no spectra") as raised:
        camb_spectra(100, cosmology={"As": 1e-3})
    assert "\n" not in str(raised.value)

"""What a recipe fixes: spectra that do not move with the band limit, and estimators that are possible."""

from collections.abc import Callable

import numpy as np
import pytest

from lensrec.recipe import Recipe
from lensrec.sky.instrument import gaussian_beam
from lensrec.sky.pixel_window import pixel_window
from lensrec.stages.setting import noise_of, observed_totals, optics_of, setting_of, theory_of
from lensrec.theory.spectra import TheorySpectra

Make = Callable[..., Recipe]


def test_spectra_do_not_move_with_the_band_limit(small: Make) -> None:
    short, long = theory_of(small()), theory_of(small(sky={"lmax": 900}))
    assert (short.lmax, long.lmax) == (300, 900)
    for group in ("unlensed", "lensed", "gradient", "potential"):
        for key, cl in getattr(short, group).items():
            np.testing.assert_array_equal(getattr(long, group)[key][:301], cl)


def test_totals_are_signal_and_deconvolved_noise(small: Make, theory: TheorySpectra) -> None:
    recipe = small(instrument={"pixel_window": "healpix", "lknee_p": 80, "slope_p": -3.0})
    optics, noise = optics_of(recipe.instrument, 64, 128), noise_of(recipe.instrument, 128)
    totals = observed_totals(recipe, theory, 64, 128)
    read = slice(2, 129)
    for key, transfer in (("TT", optics.temperature), ("EE", optics.polarisation), ("BB", optics.polarisation)):
        expected = theory.lensed[key][read] + noise[key][read] / transfer[read] ** 2
        np.testing.assert_allclose(totals[key][read], expected, rtol=1e-14)
        assert np.isfinite(totals[key]).all()
    np.testing.assert_array_equal(totals["TE"], theory.lensed["TE"][:129])
    for transfer, window in zip((optics.temperature, optics.polarisation), pixel_window(64, 128), strict=True):
        np.testing.assert_allclose(transfer, window * gaussian_beam(recipe.instrument.fwhm_rad, 128), rtol=1e-14)
    np.testing.assert_allclose(noise["EE"][40] / noise["EE"][128], (1 + 2.0**3) / (1 + (80 / 128) ** 3), rtol=1e-14)


@pytest.mark.parametrize(
    ("asked", "temperature_only", "keys", "fields", "polarised"),
    [
        ("TB", False, ("TB",), {"T", "B"}, True),
        ("TT,EE", False, ("TT", "EE"), {"T", "E"}, True),
        ("TT", False, ("TT",), {"T"}, False),
        ("MV", False, ("MV",), {"T", "E", "B"}, True),
        ("TT,EB,MV", True, ("TT",), {"T"}, False),
        ("MV", True, ("TT",), {"T"}, False),
    ],
)
def test_what_is_asked_is_done_with_what_there_is(
    small: Make,
    theory: TheorySpectra,
    asked: str,
    temperature_only: bool,
    keys: tuple[str, ...],
    fields: set[str],
    polarised: bool,
) -> None:
    recipe = small(reconstruction={"estimators": asked})
    setting = setting_of(recipe, theory, 64, temperature_only=temperature_only)
    assert setting.keys == keys
    assert set(setting.filters) == fields
    assert setting.polarised is polarised
    assert all(np.all(setting.n0[key][0][2:] > 0) for key in keys)


def test_estimators_that_need_polarisation_are_refused_without(small: Make, theory: TheorySpectra) -> None:
    with pytest.raises(ValueError, match="temperature alone, which gives TT; EB, TB need polarisation"):
        setting_of(small(reconstruction={"estimators": "EB,TB"}), theory, 64, temperature_only=True)


def test_each_field_is_read_in_its_own_range(small: Make, theory: TheorySpectra) -> None:
    ranges = {"lmin_t": 12, "lmax_t": 90, "lmin_p": 20, "lmax_p": 70, "L_max": 60}
    setting = setting_of(small(reconstruction={"estimators": "MV,GMV", **ranges}), theory, 64)
    for field, (low, high) in {"T": (12, 90), "E": (20, 70), "B": (20, 70)}.items():
        np.testing.assert_array_equal(np.flatnonzero(setting.filters[field]), np.arange(low, high + 1))
    for key, (low, high) in {"TT": (12, 90), "EE": (20, 70), "BB": (20, 70)}.items():
        np.testing.assert_array_equal(np.flatnonzero(setting.joint[key]), np.arange(low, high + 1))

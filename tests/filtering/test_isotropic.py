"""Isotropic filters."""

import numpy as np
import pytest

from lensrec.filtering.isotropic import filter_alm, inverse_variance, total_spectra
from lensrec.sphere.alm import alm_ell, alm_size


def test_totals_add_noise_where_there_is_any() -> None:
    signal = {key: np.full(6, value) for key, value in (("TT", 4.0), ("EE", 2.0), ("BB", 1.0), ("TE", 0.5))}
    totals = total_spectra(signal, {"TT": np.full(9, 10.0), "EE": np.full(9, 20.0), "BB": np.full(9, 30.0)}, 4)
    assert {key: (len(cl), cl[3]) for key, cl in totals.items()} == {
        "TT": (5, 14.0),
        "EE": (5, 22.0),
        "BB": (5, 31.0),
        "TE": (5, 0.5),
    }
    assert signal["TT"][0] == 4.0


def test_filter_is_the_inverse_in_its_range_alone() -> None:
    filt = inverse_variance(np.arange(1.0, 12.0), 3, 8)
    np.testing.assert_array_equal(filt, [0, 0, 0, 1 / 4, 1 / 5, 1 / 6, 1 / 7, 1 / 8, 1 / 9])


@pytest.mark.parametrize("bad", [0.0, -1.0, np.nan])
def test_power_that_cannot_be_inverted_is_named(bad: float) -> None:
    total = np.ones(11)
    total[7] = bad
    with pytest.raises(ValueError, match="ℓ = 7"):
        inverse_variance(total, 2, 10)
    assert inverse_variance(total, 8, 10)[9] == 1.0
    with pytest.raises(ValueError, match="ends at ℓ = 10"):
        inverse_variance(total, 8, 11)


def test_filtered_alm_are_cut_and_scaled() -> None:
    rng = np.random.default_rng(1)
    alm = rng.normal(size=alm_size(12)) + 1j * rng.normal(size=alm_size(12))
    filt = inverse_variance(np.arange(1.0, 10.0), 2, 8)
    out = filter_alm(alm, filt)
    assert out.shape == (alm_size(8),)
    np.testing.assert_allclose(out * (alm_ell(8) + 1.0), np.where(alm_ell(8) < 2, 0, alm[alm_ell(12) <= 8]), rtol=1e-14)
    assert filter_alm(alm.astype(np.complex64), filt).dtype == np.complex64

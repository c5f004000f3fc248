"""Layout of coefficients against healpy's, and what is done to them."""

import healpy as hp
import numpy as np
import pytest

from lensrec.sphere.alm import (
    alm_ell,
    alm_index,
    alm_m,
    alm_size,
    alm_to_cl,
    lmax_of,
    resize_alm,
    scale_alm,
)


def random_alm(rng, *shape, lmax):
    alm = rng.standard_normal((*shape, alm_size(lmax))) + 1j * rng.standard_normal((*shape, alm_size(lmax)))
    alm[..., : lmax + 1].imag = 0
    return alm


@pytest.mark.parametrize("lmax", [0, 1, 2, 7, 100, 2000])
def test_layout_is_that_of_healpy(lmax):
    assert alm_size(lmax) == hp.Alm.getsize(lmax)
    assert lmax_of(alm_size(lmax)) == lmax
    ell, m = hp.Alm.getlm(lmax)
    np.testing.assert_array_equal(alm_ell(lmax), ell)
    np.testing.assert_array_equal(alm_m(lmax), m)
    np.testing.assert_array_equal(alm_index(lmax, ell, m), np.arange(alm_size(lmax)))
    # no overflow of the 32-bit ℓ and m that are handed in
    np.testing.assert_array_equal(alm_index(lmax, alm_ell(lmax), alm_m(lmax)), np.arange(alm_size(lmax)))


def test_large_indices_do_not_overflow():
    ell = np.array([60_000], dtype=np.int32)
    assert alm_index(60_000, ell, ell) == alm_size(60_000) - 1


@pytest.mark.parametrize("lmax", [0, 1, 5, 300, 40_000])
def test_sizes_of_no_lmax_are_refused(lmax):
    assert lmax_of(alm_size(lmax)) == lmax
    for wrong in (alm_size(lmax) + 1, alm_size(lmax + 1) - 1) if lmax else (0, 2):
        with pytest.raises(ValueError, match=f"{wrong} coefficients"):
            lmax_of(wrong)


def test_tables_are_shared_and_cannot_be_written():
    for table in (alm_ell, alm_m):
        assert table(12) is table(12)
        with pytest.raises(ValueError, match="read-only"):
            table(12)[0] = 1


@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
def test_resizing_keeps_what_is_common_and_fills_with_zeros(dtype):
    alm = random_alm(np.random.default_rng(0), 3, lmax=20).astype(dtype)
    up = resize_alm(alm, 31)
    assert up.dtype == dtype
    assert up.shape == (3, alm_size(31))
    np.testing.assert_array_equal(up, [hp.resize_alm(row, 20, 20, 31, 31) for row in alm])
    assert not up[:, alm_ell(31) > 20].any()
    np.testing.assert_array_equal(resize_alm(up, 20), alm)
    down = resize_alm(alm, 9)
    ell, m = alm_ell(9), alm_m(9)
    np.testing.assert_array_equal(down, alm[:, alm_index(20, ell, m)])
    assert resize_alm(alm, 20) is alm


@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
@pytest.mark.parametrize("length", [5, 21, 30])
def test_scaling_by_a_function_of_ell(dtype, length):
    rng = np.random.default_rng(1)
    alm = random_alm(rng, 2, lmax=20).astype(dtype)
    factor = rng.standard_normal(length)
    scaled = scale_alm(alm, factor)
    assert scaled.dtype == dtype
    padded = np.zeros(21)
    padded[: min(length, 21)] = factor[:21]
    # one product of the precision at hand
    np.testing.assert_allclose(scaled, alm * padded[alm_ell(20)], rtol=4 * np.finfo(dtype).eps, atol=0)


def test_spectra_are_those_of_healpy():
    rng = np.random.default_rng(2)
    a, b = random_alm(rng, 2, lmax=50)
    # sums of a hundred products: 1e-13 of their size
    scale = np.sqrt(hp.alm2cl(a) * hp.alm2cl(b))
    assert (np.abs(alm_to_cl(a) / hp.alm2cl(a) - 1) < 1e-13).all()
    assert (np.abs(alm_to_cl(a, b) - hp.alm2cl(a, b)) < 1e-13 * scale).all()
    np.testing.assert_array_equal(alm_to_cl(a, b), alm_to_cl(b, a))
    assert len(alm_to_cl(a)) == 51


def test_spectrum_by_hand():
    """C_1 of a_10 = 2, a_11 = 3 + 4i is (4 + 2·25)/3."""
    np.testing.assert_allclose(alm_to_cl(np.array([1, 2, 3 + 4j])), [1, 18], rtol=1e-15)


def test_spectra_of_single_precision_are_summed_in_double():
    alm = np.full(alm_size(300), 1 + 1j, dtype=np.complex64)
    # 1 and 2 are exact in every precision, and so are the sums in double
    ell = np.arange(301)
    np.testing.assert_allclose(alm_to_cl(alm), (2 + 4 * ell) / (2 * ell + 1), rtol=1e-15)
    assert alm_to_cl(alm).dtype == np.float64


def test_spectra_of_unequal_lmax_are_refused():
    with pytest.raises(ValueError, match="one lmax, got 3 and 4"):
        alm_to_cl(np.zeros(alm_size(3), complex), np.zeros(alm_size(4), complex))

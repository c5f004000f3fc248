"""Numbers for the eye are right all the same: against healpy's analysis, white noise of known level, and plain sums."""

import healpy as hp
import numpy as np
import pytest

from lensrec.sky.inspection import (
    ARCMIN,
    band_edges,
    band_table,
    field_statistics,
    gap_statistics,
    map_spectra,
    noise_floor,
    weight_kind,
    weight_statistics,
)
from lensrec.sky.map_header import UNSEEN
from lensrec.sphere.grids import gauss_legendre_grid, healpix_grid

NSIDE = 64


def sky(seed: int = 1) -> np.ndarray:
    """A sky with TE correlation and E modes much larger than B."""
    ell = np.arange(2 * NSIDE + 1.0)
    tt = 1e3 / (ell + 10.0) ** 2
    np.random.seed(seed)  # noqa: NPY002  healpy draws by numpy's old generator
    return np.array(hp.synfast([tt, 1e-2 * tt, 1e-4 * tt, 0.05 * tt], NSIDE, new=True, lmax=2 * NSIDE))


def test_spectra_of_a_whole_sky_are_healpys():
    maps = sky()
    found = map_spectra(maps, np.ones(maps.shape[1]), healpix_grid(NSIDE), 2 * NSIDE)
    truth = dict(zip(("TT", "EE", "BB", "TE"), hp.anafast(maps, lmax=2 * NSIDE, iter=3), strict=False))
    edges = band_edges(2 * NSIDE)
    one = np.ones(2 * NSIDE + 1)
    mine, theirs = (band_table(spectra, one, edges) for spectra in (found, truth))
    for key in ("TT", "EE", "TE"):
        # one quadrature against three iterations: a per cent of the auto-spectra, as promised
        scale = np.sqrt(np.array(theirs["TT" if key == "TE" else key]) * theirs["EE" if key == "TE" else key])
        np.testing.assert_allclose(np.array(mine[key]) / scale, np.array(theirs[key]) / scale, atol=0.01)
    assert mine["ell_low"][0] == 2
    assert mine["ell_high"][-1] == 2 * NSIDE


def test_band_powers_are_means_over_modes():
    cl = np.arange(11.0) ** 2
    table = band_table({"TT": cl}, np.full(11, 2.0), np.array([2, 4, 11]), name="L")
    assert table["L_low"] == [2, 4]
    assert table["L_high"] == [3, 10]
    assert table["TT"][0] == pytest.approx(2 * (5 * 4 + 7 * 9) / 12)


@pytest.mark.parametrize("share", [1.0, 0.3])
def test_white_noise_is_found_behind_a_cut(share):
    level = 40.0
    npix = 12 * NSIDE**2
    rng = np.random.default_rng(5)
    pixel = level * ARCMIN / np.sqrt(4.0 * np.pi / npix)
    maps = rng.normal(size=(3, npix)) * pixel
    weight = (np.arange(npix) < share * npix).astype(float)
    spectra = map_spectra(maps + np.array([[500.0], [0.0], [0.0]]), weight, healpix_grid(NSIDE), 2 * NSIDE)
    # (2ℓ+1) f_sky modes from ℓ = 64 on: 12,000 of them at least, 0.7 % of the level; four times that
    assert noise_floor(spectra["TT"], NSIDE) == pytest.approx(level, rel=0.028)
    assert noise_floor(0.5 * (spectra["EE"] + spectra["BB"]), NSIDE) == pytest.approx(level, rel=0.028)


def test_a_graded_weight_is_divided_out_by_its_mean_square():
    """By hand, with c = cos θ, a map c and the weight 1 + c/2, on a grid that is exact for polynomials.

    The weighted mean is 1/6, and (1 + c/2)(c − 1/6) = 11/12 P₁ + 1/3 P₂; a P_ℓ alone has C_ℓ = a² 4π/(2ℓ+1)², and ⟨w²⟩
    is 13/12, where ⟨w⟩ = ⟨w⟩² = 1. Left is rounding.
    """
    grid = gauss_legendre_grid(12)
    cosine = np.repeat(np.cos(grid.theta), grid.nphi.astype(int))
    found = map_spectra(cosine[None], 1.0 + 0.5 * cosine, grid, 4)["TT"]
    expected = np.array([0.0, (11 / 12) ** 2 / 9, (1 / 3) ** 2 / 25, 0.0, 0.0]) * 4 * np.pi / (13 / 12)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-14)


def test_field_statistics_are_numpys():
    values = np.random.default_rng(2).normal(3.0, 2.0, 5000)
    found = field_statistics(values)
    assert found["mean"] == pytest.approx(values.mean())
    assert found["rms"] == pytest.approx(values.std())
    assert found["percentiles"]["84"] == pytest.approx(np.percentile(values, 84))
    with pytest.raises(ValueError, match="no value"):
        field_statistics(np.zeros(0))


def test_gaps_are_told_apart():
    values = np.array([np.nan, np.inf, UNSEEN, 0.0, 0.0, 0.0, 1.0, -2.0, 3.0, 4.0])
    assert gap_statistics(values) == pytest.approx({"nan": 0.2, "unseen": 0.1, "zero": 0.3})
    assert gap_statistics(values, np.arange(10.0))["zero"] == pytest.approx((3 + 4 + 5) / 45)


def test_hits_are_averaged_over_the_sphere():
    hits = np.zeros(1000)
    hits[:400] = np.where(np.arange(400) < 200, 100.0, 25.0)
    found = weight_statistics(hits, 1.0 / 1000)
    assert found["f_sky"] == pytest.approx(0.4)
    assert found["w2"] == pytest.approx(0.2 * (1 + 1 / 16))
    assert found["w4"] == pytest.approx(0.2 * (1 + 1 / 256))
    assert (found["min"], found["max"]) == (25.0, 100.0)
    # four times the hits: half the noise
    assert found["depth_ratio"] == pytest.approx(2.0)
    # the same sky in pixels of two sizes
    area = np.repeat([0.5e-3, 1.0e-3], [400, 600])
    area[200:400] = 1.5e-3
    assert weight_statistics(hits, area)["w2"] == pytest.approx(0.1 + 0.3 / 16)


def test_weights_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="not negative"):
        weight_statistics(np.array([1.0, -1.0]), 0.5)
    with pytest.raises(ValueError, match="not negative"):
        weight_statistics(np.array([1.0, np.nan]), 0.5)
    with pytest.raises(ValueError, match="zero everywhere"):
        weight_statistics(np.zeros(2), 0.5)


def test_masks_hits_and_weights_are_told_apart():
    assert weight_kind(np.array([0.0, 0.3, 1.0])) == "mask"
    assert weight_kind(np.array([0.0, 7.0, 12.0])) == "hits"
    assert weight_kind(np.array([0.0, 0.3, 12.0])) == "weights"

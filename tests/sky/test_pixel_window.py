"""Pixel windows against the files that HEALPix distributes, and against their definition."""

import numpy as np
import pytest

from lensrec.sky import pixel_window as module
from lensrec.sky.pixel_window import pixel_window

# (nside, ℓ, w_T, w_P) from pixel_window_n????.fits of the HEALPix distribution, as packed in the healpy 1.18.1 wheel.
# Up to nside 128 these files hold the definition, beyond it an extrapolation (HEALPix primer, "Pixel window
# functions").
OFFICIAL = """
2 2 0.933107017 0.977517427
2 4 0.790382779 0.829497645
2 6 0.600118114 0.631974594
2 8 0.397609016 0.421299660
4 4 0.943534640 0.954631457
4 8 0.808555458 0.818370591
4 12 0.622954187 0.630969853
4 16 0.422284103 0.428264231
8 8 0.948844945 0.951630420
8 16 0.817805502 0.820275254
8 24 0.634504219 0.636524986
8 32 0.434555346 0.436067106
32 32 0.952907410 0.953082269
32 64 0.824917643 0.825073042
32 96 0.643338417 0.643465830
32 128 0.443766714 0.443862307
64 64 0.953593986 0.953637735
64 128 0.826126427 0.826165326
64 192 0.644835128 0.644867035
64 256 0.445305345 0.445329298
128 128 0.953938666 0.953949608
128 256 0.826734473 0.826744204
128 384 0.645587342 0.645595326
128 512 0.446075268 0.446081263
256 256 0.954113794 0.954116213
256 512 0.827046103 0.827048200
256 768 0.645971026 0.645972664
256 1024 0.446459586 0.446460719
512 512 0.954201355 0.954201717
512 1536 0.646162842 0.646163086
1024 1024 0.954245135 0.954245206
1024 3072 0.646258743 0.646258791
2048 2048 0.954267025 0.954267041
2048 4096 0.827318746 0.827318761
2048 6144 0.646306692 0.646306703
2048 8192 0.446795799 0.446795807
8192 8192 0.954283438 0.954283428
8192 16384 0.827347956 0.827347946
8192 24576 0.646342654 0.646342647
8192 32768 0.446831823 0.446831819
"""


def _tolerance(nside: int) -> float:
    if nside <= 32:  # every pixel summed: the quadrature's 2.3e-8 at ℓ = 8, nside 2
        return 3e-8
    if nside <= 128:  # expanded in 1/nside: 9.2e-8 at nside 128
        return 1.5e-7
    return 1.5e-5  # the files' own extrapolation: 1.3e-5; see `test_expansion_against_every_pixel`


@pytest.mark.parametrize("line", OFFICIAL.split("\n")[1:-1])
def test_official_values(line: str) -> None:
    nside, ell, expected_t, expected_p = (float(word) for word in line.split())
    w_t, w_p = pixel_window(int(nside), int(ell))
    # half a unit of the last digit typed above is 5e-10
    assert abs(w_t[-1] - expected_t) < _tolerance(int(nside))
    assert abs(w_p[-1] - expected_p) < _tolerance(int(nside))


def test_intensity_window_is_the_power_left_in_pixel_means() -> None:
    """Σ_m over unit modes of the mean square of pixel means is (2ℓ+1)/4π w_ℓ²."""
    import healpy as hp

    nside, ell, fine = 2, 5, 64
    power = 0.0
    for m in range(ell + 1):
        for phase in (1.0, 1.0j) if m else (1.0,):
            alm = np.zeros(hp.Alm.getsize(ell), dtype=complex)
            alm[hp.Alm.getidx(ell, ell, m)] = phase * (np.sqrt(0.5) if m else 1.0)
            power += np.mean(hp.ud_grade(hp.alm2map(alm, fine), nside) ** 2)
    from_points = np.sqrt(4.0 * np.pi / (2 * ell + 1) * power)
    # means over the centres of 32² small pixels lack the small pixels' own window, 2.4e-4 here; with it what is left
    # is the spread of windows over the small pixels, a few per cent of that: 5.1e-6
    assert abs(from_points * pixel_window(fine, ell)[0][ell] - pixel_window(nside, ell)[0][ell]) < 1e-5


def test_expansion_against_every_pixel() -> None:
    """The expansion in 1/nside that serves beyond nside 32, and sums over all the pixels of nside 64."""
    every, expanded = module._moments(64), module._extrapolated_moments(64)
    ell = np.arange(2, 257.0)
    for spin, (a, b) in enumerate(((-ell, ell + 1.0), (2.0 - ell, ell + 3.0))):
        w, v = (np.sqrt(module._hypergeometric(a, b, moments[spin], 64)) for moments in (every, expanded))
        # 3.0e-8 at ℓ = 256; 8.6e-8 at nside 128 and 1.4e-7 at nside 256, when there is time for them
        assert np.max(np.abs(w - v)) < 5e-8
        assert np.max(np.abs(w - v)) > 1e-10


def test_window_scales_with_the_pixel() -> None:
    """W depends on ℓ/nside up to corrections of order 1/nside, and has no memory of other calls."""
    coarse, fine = pixel_window(1024, 3072), pixel_window(2048, 6144)
    for spin in (0, 1):
        # (2ℓ+½)/(ℓ+½) = 2 to half a multipole, a slope of at most 0.4/nside per multipole: 1.0e-4 + shapes 5e-5
        assert np.max(np.abs(coarse[spin][2:] - fine[spin][4::2])) < 2e-4
        assert np.max(np.abs(coarse[spin][2:] - fine[spin][4::2])) > 1e-5
    again = pixel_window(1024, 3072)
    np.testing.assert_array_equal(coarse, again)
    np.testing.assert_array_equal(pixel_window(1024, 100), [w[:101] for w in again])


@pytest.mark.parametrize("nside", [1, 2, 16, 32, 64, 4096])
def test_shape_of_the_window(nside: int) -> None:
    w_t, w_p = pixel_window(nside, 4 * nside)
    # the weights of all pixels' pairs sum to 1: rounding of some 1e6 terms
    assert abs(w_t[0] - 1.0) < 1e-12
    assert np.all(w_p[:2] == 0.0)
    assert np.all(np.diff(w_t) < 0.0)
    assert np.all(np.diff(w_p[2:]) < 0.0)
    assert w_t[-1] > 0.3
    # for lack of four of its ℓ(ℓ+1), spin 2 loses less: 1 − w² = ℓ(ℓ+1)⟨t⟩ and [ℓ(ℓ+1) − 4]⟨t⟩ to lowest order
    assert np.all(w_p[2:] > w_t[2:])
    if nside >= 16:
        # the next order is a share ℓ²⟨t⟩ of this, at ℓ = 2 some 3e-4 at nside 16
        np.testing.assert_allclose((1.0 - w_p[2] ** 2) / (1.0 - w_t[2] ** 2), 1.0 / 3.0, rtol=2e-3)


@pytest.mark.parametrize("nside", [0, 3, -4, 16384])
def test_bad_nside_is_said(nside: int) -> None:
    with pytest.raises(ValueError, match="nside must be a power of two"):
        pixel_window(nside, 2)


@pytest.mark.parametrize("lmax", [-1, 33])
def test_bad_lmax_is_said(lmax: int) -> None:
    with pytest.raises(ValueError, match="nside 8 reaches from l = 0 to 32"):
        pixel_window(8, lmax)

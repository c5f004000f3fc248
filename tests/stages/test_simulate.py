"""Skies: amplitudes, seeds, threads, and the power of what the instrument sees."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest

from lensrec.recipe import Recipe
from lensrec.sky.instrument import gaussian_beam
from lensrec.sky.pixel_window import pixel_window
from lensrec.sphere.alm import alm_size, alm_to_cl, resize_alm
from lensrec.stages.estimate import deconvolved, map_to_alm
from lensrec.stages.setting import optics_of, theory_of
from lensrec.stages.simulate import draw_sky, lensed_alm, observe, simulate
from lensrec.theory.lensing import lensed_spectra
from lensrec.theory.spectra import TheorySpectra

Make = Callable[..., Recipe]
ARCMIN = np.pi / 10800


def binned(cl: np.ndarray, edges: np.ndarray, weight: np.ndarray) -> np.ndarray:
    return np.array([np.sum((cl * weight)[a:b]) for a, b in pairwise(edges)])


def test_two_amplitudes_are_apart(small: Make, theory: TheorySpectra) -> None:
    lmax, top = 1700, 1300
    same, apart = (
        small(sky={"nside": 512, "lmax": lmax, "lmax_data": top, "polarisation": False, "a_smooth": a})
        for a in (1.0, 1.18)
    )
    spectra = theory.truncated(lmax)
    skies = [draw_sky(recipe, spectra, 0) for recipe in (same, apart)]
    assert np.array_equal(skies[0][1], skies[1][1])  # one φ, to the last bit
    measured = [alm_to_cl(lensed_alm(r, *sky)[0]) for r, sky in zip((same, apart), skies, strict=True)]
    once, more = (
        lensed_spectra(spectra.unlensed, spectra.potential["PP"], lmax=top, amplitude=a)["TT"] for a in (1.0, 1.18)
    )
    edges = np.arange(700, 1301, 50)
    weight = np.divide(2 * np.arange(top + 1) + 1.0, once, out=np.zeros(top + 1), where=once > 0)
    ratio = binned(measured[1], edges, weight) / binned(measured[0], edges, weight) - 1
    expected = binned(more, edges, weight) / binned(once, edges, weight) - 1
    # What is smoothed away, up to 0.5 %, is drawn from the same random numbers; were lensing to mix them wholly, a band
    # of 50 multipoles would scatter by 0.5 % √(2/1e5) = 2e-5. Bound: 5 σ, with 6e-5 for what is of second order.
    assert np.abs(ratio - expected).max() < 1.6e-4
    # ... and that is far less than what is to be seen
    assert np.abs(expected).max() > 4e-3
    assert np.sum((ratio - expected) ** 2) < 1e-3 * np.sum(ratio**2)


def test_smoothings_add_to_first_order(theory: TheorySpectra) -> None:
    spectra, phi = theory.truncated(2500), theory.potential["PP"][:2501]
    once = lensed_spectra(spectra.unlensed, phi, lmax=1500)
    at_once = lensed_spectra(spectra.unlensed, phi, lmax=1500, amplitude=1.18)
    first = lensed_spectra(spectra.unlensed, phi, amplitude=0.18) | {"BB": np.zeros(2501)}
    in_turn = lensed_spectra(first, phi, lmax=1500)
    read = slice(100, 1501)
    for key in ("TT", "EE"):
        effect = np.abs(once[key] / np.maximum(spectra.unlensed[key][:1501], 1e-30) - 1)[read].max()
        # two smoothings that do not commute differ by the product of what each does: 0.18 of the square of one
        error = np.abs(in_turn[key][read] / at_once[key][read] - 1).max()
        assert error < 0.18 * effect**2
        assert np.abs(at_once[key][read] / once[key][read] - 1).max() > 50 * error


def test_a_phi_scales_phi_and_nothing_else_does(small: Make, theory: TheorySpectra) -> None:
    spectra = theory.truncated(300)
    unlensed, phi = draw_sky(small(), spectra, 2)
    _, stronger = draw_sky(small(sky={"a_phi": 1.1}), spectra, 2)
    np.testing.assert_array_equal(stronger, phi * np.sqrt(1.1))
    same, phi2 = draw_sky(small(sky={"a_phi": 1.1, "a_smooth": 1.1}), spectra, 2)
    np.testing.assert_array_equal(same, unlensed)  # a_smooth is that of a_phi unless said
    np.testing.assert_array_equal(phi2, stronger)
    another, phi3 = draw_sky(small(sky={"phi_seed": 9}), spectra, 2)
    assert not np.array_equal(phi3, phi)
    # T and E keep what is not correlated with φ: at ℓ > 100 C^Tφ is below 15 % of √(C^TT C^φφ)
    assert np.all(np.abs(alm_to_cl(another[0], unlensed[0]))[100:] > 0.9 * alm_to_cl(unlensed[0])[100:])


def test_less_smoothing_than_phi_makes_is_no_negative_power(small: Make, theory: TheorySpectra) -> None:
    spectra = theory.truncated(300)
    unlensed, _ = draw_sky(small(), spectra, 2)
    sharper, _ = draw_sky(small(sky={"a_phi": 1.0, "a_smooth": 0.9}), spectra, 2)
    assert not sharper[:, 0].any()  # the monopole, as of any primary sky
    ratio = alm_to_cl(sharper[0])[2:] / alm_to_cl(unlensed[0])[2:]
    np.testing.assert_allclose(ratio, 1.0, atol=2e-3)  # a tenth of what lensing does to ℓ ≤ 300
    assert np.any(np.abs(ratio - 1) > 1e-5)


def test_a_seed_keeps_its_low_multipoles(small: Make) -> None:
    low = small()
    high = small(sky={"nside": 128, "lmax": 700, "lmax_data": 300})
    (unlensed, phi), (more, more_phi) = (draw_sky(r, theory_of(r), 1) for r in (low, high))
    np.testing.assert_array_equal(resize_alm(more_phi, 300), phi)
    for long, short in zip(more, unlensed, strict=True):
        np.testing.assert_array_equal(resize_alm(long, 300), short)


def test_a_sky_does_not_depend_on_threads(small: Make) -> None:
    one, three = (simulate(small(), 1, nthreads=n) for n in (1, 3))
    np.testing.assert_array_equal(one.phi_alm, three.phi_alm)
    np.testing.assert_array_equal(one.unlensed_alm, three.unlensed_alm)
    # sums over pixels may be taken in another order: 1e-12 of the largest pixel
    assert np.abs(one.lensed - three.lensed).max() < 1e-12 * np.abs(one.lensed).max()
    assert np.abs(one.data - three.data).max() < 1e-12 * np.abs(one.data).max()


def test_skies_are_independent(small: Make, theory: TheorySpectra) -> None:
    spectra = theory.truncated(300)
    skies = [draw_sky(small(), spectra, sim) for sim in range(3)]
    skies.append(draw_sky(small(sky={"seed": 5}), spectra, 0))
    modes = np.sum(2 * np.arange(2, 301) + 1.0)
    for i, (one, phi) in enumerate(skies):
        for two, psi in skies[:i]:
            pairs = [(phi, psi), *zip(one[:2], two[:2], strict=True), (one[0], psi)]
            for a, b in pairs:
                cross, auto = alm_to_cl(a, b), np.sqrt(alm_to_cl(a) * alm_to_cl(b))
                weight = 2 * np.arange(2, 301) + 1.0
                correlation = np.sum(weight * cross[2:] / auto[2:]) / modes
                # 24 correlation coefficients of variance 1/modes within 5 σ: false alarm 1.4e-5
                assert abs(correlation) < 5 / np.sqrt(modes)


@pytest.mark.parametrize("window", ["none", "healpix"])
def test_data_have_the_power_that_is_said(small: Make, theory: TheorySpectra, window: str) -> None:
    nside, lmax = 128, 256
    recipe = small(
        sky={"nside": nside, "lmax": lmax, "lmax_data": lmax, "lensed": False, "seed": 12},
        instrument={"fwhm": 40, "noise_t": 60, "noise_p": 8, "pixel_window": window, "lknee_t": 60, "slope_t": -2.0},
    )
    sky = simulate(recipe, 3)
    assert sky.mask is None
    alm = map_to_alm(sky.data, nside, lmax)
    ell = np.arange(lmax + 1)
    beam = gaussian_beam(40 * ARCMIN, lmax)
    windows = pixel_window(nside, lmax) if window == "healpix" else (1.0, 1.0)
    red = (60 * ARCMIN) ** 2 * (1 + (np.maximum(ell, 2) / 60.0) ** -2.0)
    white = np.full(lmax + 1, (8 * ARCMIN) ** 2)
    use = slice(2, 241)
    for field, w, noise in (("T", windows[0], red), ("E", windows[1], white), ("B", windows[1], white)):
        expected = theory.lensed[field * 2][: lmax + 1] * (beam * w) ** 2 + noise
        ratio = alm_to_cl(alm[field])[use] / expected[use]
        modes = (2 * ell + 1.0)[use]
        # Σ(2ℓ+1) Ĉ/C is χ² with Σ(2ℓ+1) degrees of freedom, in all and in bands of 24: 66 numbers within 5 σ of a
        # nearly Gaussian distribution, false alarm 4e-5. HEALPix quadrature adds below 1e-4 up to 1.9 nside.
        bands = np.array_split(np.arange(len(modes)), 10)
        for part in [np.arange(len(modes)), *bands]:
            n = modes[part].sum()
            assert abs(np.sum(modes[part] * ratio[part]) / n - 1) < 5 * np.sqrt(2 / n), (field, part[0])
    clean = deconvolved(alm, optics_of(recipe.instrument, nside, lmax))
    # what is left of the sky when beam and window are divided out: T at ℓ < 100, where the noise is 1 % at most
    seen = slice(10, 100)
    cross = alm_to_cl(clean["T"], sky.unlensed_alm[0])[seen] / alm_to_cl(sky.unlensed_alm[0])[seen]
    assert abs(np.mean(cross) - 1) < 0.01


def test_noise_is_white_and_independent(small: Make, theory: TheorySpectra) -> None:
    nside, lmax = 64, 128
    recipe = small(instrument={"noise_t": 10, "noise_p": 14})
    dark = np.zeros((3, alm_size(lmax)), dtype=complex)
    noise = [map_to_alm(observe(recipe, dark, sim), nside, lmax) for sim in (0, 1)]
    weight = 2 * np.arange(2, 121) + 1.0
    modes = weight.sum()
    # 3 variances and 18 correlation coefficients within 5 σ: false alarm 1.2e-5
    for field, level in (("T", 10), ("E", 14), ("B", 14)):
        power = np.sum(weight * alm_to_cl(noise[0][field])[2:121]) / modes / (level * ARCMIN) ** 2
        assert abs(power - 1) < 5 * np.sqrt(2 / modes)
    pairs = [(noise[0][a], noise[0][b]) for a, b in ("TE", "TB", "EB")]
    pairs += [(noise[0][a], noise[1][b]) for a in "TEB" for b in "TEB"]
    for a, b in pairs:
        cross = alm_to_cl(a, b)[2:121] / np.sqrt(alm_to_cl(a) * alm_to_cl(b))[2:121]
        assert abs(np.sum(weight * cross) / modes) < 5 / np.sqrt(modes)
    unlensed, _ = draw_sky(recipe, theory.truncated(300), 0)
    for row in unlensed[:2]:  # nor does it know of the sky: 6 more
        for field in "TEB":
            a, b = noise[0][field], resize_alm(row, lmax)
            cross = alm_to_cl(a, b)[2:121] / np.sqrt(alm_to_cl(a) * alm_to_cl(b))[2:121]
            assert abs(np.sum(weight * cross) / modes) < 5 / np.sqrt(modes)


def test_the_mask_is_on_the_data_once_and_on_nothing_else(small: Make) -> None:
    cut = small(mask={"galactic_cut": 20, "apodisation": 10})
    masked, whole = simulate(cut, 0), simulate(small(), 0)
    assert masked.mask is not None
    assert np.mean((masked.mask > 0) & (masked.mask < 1)) > 0.1  # a soft edge, where a mask applied twice shows
    np.testing.assert_array_equal(masked.data, whole.data * masked.mask)
    np.testing.assert_array_equal(masked.lensed, whole.lensed)


def test_temperature_alone_is_the_temperature_of_all(small: Make) -> None:
    alone, all_three = simulate(small(sky={"polarisation": False}), 0), simulate(small(), 0)
    assert alone.lensed.shape == alone.data.shape == (1, 12 * 64**2)
    np.testing.assert_array_equal(alone.unlensed_alm[0], all_three.unlensed_alm[0])
    # the remap of T by itself shares no sums with that of Q and U: 1e-10 of a pixel at ε = 1e-5
    assert np.abs(alone.data[0] - all_three.data[0]).max() < 1e-10 * np.abs(alone.data).max()


def test_single_precision_is_single_and_close(small: Make) -> None:
    single, double = (simulate(small(sky={"precision": p}), 0) for p in ("single", "double"))
    assert single.lensed.dtype == single.data.dtype == np.float32
    assert single.phi_alm.dtype == np.complex64
    # the remap was asked for 1e-5 of the map's rms in each
    assert np.abs(single.data - double.data).max() < 1e-4 * double.data[0].std()

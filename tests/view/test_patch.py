"""Patches of the sky: where their pixels look, and the spectrum of what they see."""

import healpy
import numpy as np
import pytest

from lensrec.view.patch import (
    equal_area_directions,
    equal_area_side,
    gnomonic_directions,
    patch_spectrum,
    patch_weight,
    place_of,
    view_matrix,
)
from lensrec.view.projection import gnomonic_image
from lensrec.view.pyramid import FAITHFUL, SHARP, Pyramid, reading_window


def test_a_view_is_a_rotation_with_north_up_and_east_left() -> None:
    for lon, lat, turn in [(0.0, 0.0, 0.0), (123.0, -41.0, 30.0), (10.0, 90.0, -100.0)]:
        matrix = view_matrix(lon, lat, turn)
        np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-15)
        assert np.linalg.det(matrix) == pytest.approx(1.0)
        np.testing.assert_allclose(matrix[:, 0], healpy.ang2vec(lon, lat, lonlat=True), atol=1e-15)
    # a small step up and to the left, without and with a turn of 90°: what is up then is east
    for turn, up, left in ((0.0, (50.0, 21.0), (51.0, 20.0)), (90.0, (51.0, 20.0), (50.0, 19.0))):
        matrix = view_matrix(50.0, 20.0, turn)
        step = np.radians(1.0) * np.array([1.0, np.cos(np.radians(20.0))])
        size = {(50.0, 21.0): step[0], (50.0, 19.0): step[0], (51.0, 20.0): step[1]}
        # a degree along a parallel leaves the great circle by 3e-3 of it
        np.testing.assert_allclose(place_of(matrix @ [1.0, 0.0, size[up]]), up, atol=4e-3)
        np.testing.assert_allclose(place_of(matrix @ [1.0, size[left], 0.0]), left, atol=4e-3)


def test_equal_area_pixels_are_equally_large_and_meet_the_gnomonic_sides() -> None:
    size, width = 60.0, 160
    rays = equal_area_directions(size, width).reshape(3, width, width)
    np.testing.assert_allclose(np.linalg.norm(rays, axis=0), 1.0, rtol=1e-14)
    # parallelograms of neighbours' middles, which are right to the square of their size
    across, along = np.diff(rays, axis=2)[:, :-1], np.diff(rays, axis=1)[:, :, :-1]
    area = np.linalg.norm(np.cross(across, along, axis=0), axis=0)
    np.testing.assert_allclose(area, (equal_area_side(size) / width) ** 2, rtol=1e-3)
    for plane in (equal_area_directions, gnomonic_directions):
        first = plane(size, width).reshape(3, width, width)[:, 0, width // 2]
        # half a pixel of 0.4° inside of 30°, in the south
        assert np.degrees(np.arcsin(first[2] / np.linalg.norm(first))) == pytest.approx(-29.8, abs=0.05)
    with pytest.raises(ValueError, match="between 0 and 120 degrees, got 121"):
        equal_area_side(121.0)


def test_white_noise_has_its_power_at_every_multipole() -> None:
    """C = σ² Ω for any σ and Ω: the normalisation, apart from spheres and pixels of maps.

    A mean over all bands of 512² samples is good to 0.6 %: √2 over the root of the 5·10⁴ modes that the weight leaves.
    """
    n, side, rms = 512, 0.3, 7.0
    found = patch_spectrum(rms * np.random.default_rng(1).standard_normal((n, n)) + 1e3, side)
    expected = (rms * side / n) ** 2 * found.ell * (found.ell + 1) / (2 * np.pi)
    pulls = (found.power - expected) / (found.sigma * expected / found.power)
    assert np.average(found.power / expected, weights=(found.power / found.sigma) ** 2) == pytest.approx(1, abs=0.024)
    assert np.abs(pulls).max() < 4.5
    # bands wide against a mode are independent, and their errors known
    assert 0.6 < pulls[5:].std() < 1.4


def test_a_wave_is_found_at_its_multipole() -> None:
    """In the band of mode 20, which holds 21 as well: sin² leaves a quarter of a mode's power in either neighbour."""
    n, side, mode = 128, 0.5, 20
    wave = np.cos(2 * np.pi * mode * (np.arange(n) + 0.5) / n)
    for image in (np.tile(wave, (n, 1)), np.tile(wave[:, None], (1, n))):
        found = patch_spectrum(image, side)
        at = np.argmax(found.power)
        assert found.low[at] <= 2 * np.pi * mode / side - 0.5 < found.high[at]
        assert found.power[at] == pytest.approx(found.power.sum() * 5 / 6, rel=0.02)


def test_a_hidden_corner_changes_the_spectrum_little_and_a_hidden_patch_has_none() -> None:
    rng = np.random.default_rng(2)
    n, side = 128, 0.3
    image = rng.standard_normal((n, n))
    seen = np.ones((n, n), dtype=bool)
    seen[: n // 3, : n // 3] = False
    spoiled = np.where(seen, image, 1e6)
    part = patch_spectrum(spoiled, side, seen=seen)
    whole = patch_spectrum(image, side)
    np.testing.assert_allclose(part.power, whole.power, atol=5 * float(np.max(whole.sigma[3:])), rtol=0.5)
    assert np.all(patch_weight(seen)[~seen] == 0)
    assert len(patch_spectrum(image, side, seen=np.zeros((n, n), dtype=bool)).power) == 0
    with pytest.raises(ValueError, match="a patch is a square"):
        patch_spectrum(image[:-1], side)


def _curve(lmax: int) -> np.ndarray:
    """C_ℓ of a field with peaks, as the CMB has them."""
    ell = np.arange(lmax + 1.0)
    power = 2000.0 * (1 + 0.5 * np.cos(ell / 50.0)) * np.exp(-((ell / 400.0) ** 2))
    return np.where(ell >= 2, 2 * np.pi / np.maximum(ell * (ell + 1), 1) * power, 0.0)


def _expected(cl: np.ndarray, n: int, side: float) -> np.ndarray:
    """What the weight makes of a spectrum on average, in bands: by correlation functions, on a flat sky."""
    m = 4 * n
    wave = 2 * np.pi / (m * side / n) * np.hypot(np.fft.fftfreq(m, 1 / m)[:, None], np.fft.fftfreq(m, 1 / m)[None, :])
    power = np.interp(wave - 0.5, np.arange(len(cl)), cl, right=0.0)
    correlation = np.fft.ifft2(power).real
    weight = np.zeros((m, m))
    weight[:n, :n] = patch_weight(np.ones((n, n), dtype=bool))
    overlap = np.fft.ifft2(np.abs(np.fft.fft2(weight)) ** 2).real / np.sum(weight**2)
    seen = np.fft.fft2(correlation * overlap).real
    low_high = patch_spectrum(np.zeros((n, n)), side)
    scaled = seen * np.maximum(wave**2 - 0.25, 0) / (2 * np.pi)
    # modes of the patch itself are every fourth of those
    k, d = wave[::4, ::4], scaled[::4, ::4]
    return np.array(
        [d[(k - 0.5 >= a) & (k - 0.5 < b)].mean() for a, b in zip(low_high.low, low_high.high, strict=True)]
    )


@pytest.mark.parametrize(("size", "turn"), [(20.0, 0.0), (40.0, 65.0)])
def test_patches_of_a_gaussian_sky_have_its_spectrum(size: float, turn: float) -> None:
    """Means over patches that hardly overlap, against the sky's C_ℓ within their scatter: 4.5 σ for each band of some
    ten, 1 % for all of them together, where the scatter leaves 0.5 %."""
    nside, lmax, n = 256, 600, 256
    cl = _curve(lmax)
    rng = np.random.default_rng(5)
    ell, m = healpy.Alm.getlm(lmax)
    alm = np.sqrt(cl[ell] / 2) * (rng.standard_normal(len(ell)) + 1j * rng.standard_normal(len(ell)))
    alm[m == 0] = np.sqrt(2) * alm[m == 0].real
    pyramid = Pyramid(healpy.alm2map(alm, nside))
    side = equal_area_side(size)
    rays = equal_area_directions(size, n)
    read = pyramid.nside_for(side / n, wide=FAITHFUL)
    centres = [healpy.pix2ang(4 if size < 30 else 2, k, lonlat=True) for k in range(192 if size < 30 else 48)]
    spectra = []
    for lon, lat in centres:
        image = pyramid.at(pyramid.pixels(view_matrix(lon, lat, turn) @ rays, read), read).reshape(n, n)
        spectra.append(patch_spectrum(image, side, window=reading_window(nside, read)))
    power = np.array([found.power for found in spectra])
    count = len(spectra[0].ell)
    expected = _expected(cl, n, side)[:count]
    ratio = power / expected
    # some of the patches overlap: as many are independent as fit on the sphere
    scatter = ratio.std(axis=0) / np.sqrt(min(len(centres), 41253 / size**2))
    pulls = (ratio.mean(axis=0) - 1) / scatter
    assert count >= 6
    assert np.abs(pulls).max() < 4.5
    assert np.average(ratio.mean(axis=0), weights=scatter**-2) == pytest.approx(1.0, abs=0.015)
    # errors are those of independent modes, which the weight makes 20 % too large in narrow bands
    told = np.array([found.sigma / found.power for found in spectra]).mean(axis=0)
    assert np.all(np.abs(np.log(ratio.std(axis=0) / told)) < 0.45)


@pytest.mark.parametrize(("size", "read"), [(25.0, 128), (60.0, 64), (100.0, 32)])
def test_noise_of_pixels_is_found_at_its_level_however_coarse_they_are_read(size: float, read: int) -> None:
    """C = σ² Ω of white noise in a map's pixels, read as they are and at two lower nsides.

    As docstrings say, up to 3 % too much for two samples across a pixel and 5 % at its end for a mean over pixels: the
    mean over bands must lie between 1 and 1.05, within 4 times what ten skies leave uncertain (1 to 4 %).
    """
    nside, n = 128, 192
    side, rays = equal_area_side(size), equal_area_directions(size, n)
    rng = np.random.default_rng(3)
    ratios = []
    for _ in range(10):
        sky = rng.standard_normal(12 * nside**2)
        pyramid = Pyramid(sky)
        assert pyramid.nside_for(side / n, wide=FAITHFUL) == read
        for lon, lat in [healpy.pix2ang(1, k, lonlat=True) for k in range(12)]:
            image = pyramid.at(pyramid.pixels(view_matrix(lon, lat) @ rays, read), read).reshape(n, n)
            found = patch_spectrum(image, side, window=reading_window(nside, read))
            white = 4 * np.pi / len(sky) * found.ell * (found.ell + 1) / (2 * np.pi)
            ratios.append(np.average(found.power / white, weights=(found.power / found.sigma) ** 2))
    independent = 10 * min(12, 41253 / size**2)
    assert np.mean(ratios) == pytest.approx(1.025, abs=0.025 + 4 * np.std(ratios) / np.sqrt(independent))
    assert np.std(ratios) / np.sqrt(independent) < 0.04


def test_a_pyramid_shows_pixels_and_means_of_them() -> None:
    nside = 128
    lon, lat = healpy.pix2ang(nside, np.arange(12 * nside**2), lonlat=True)
    sky = np.sin(np.radians(lat)) + 0.3 * np.cos(np.radians(lon)) * np.cos(np.radians(lat))
    mask = (np.abs(lat) > 20.0).astype(float)
    pyramid = Pyramid(sky, mask)
    rays = np.random.default_rng(0).standard_normal((3, 4000))
    there = healpy.vec2pix(nside, *rays)
    values = pyramid.at(pyramid.pixels(rays, nside), nside)
    np.testing.assert_array_equal(np.isnan(values), mask[there] < 0.5)
    np.testing.assert_array_equal(values[mask[there] > 0.5], sky[there][mask[there] > 0.5])
    # healpy's own means, where four pixels of four are seen
    for read in (64, 32):
        found = pyramid.at(pyramid.pixels(rays, read), read)
        mean = healpy.ud_grade(np.where(mask > 0, sky, healpy.UNSEEN), read, pess=True)[healpy.vec2pix(read, *rays)]
        whole = mean > -1e30
        np.testing.assert_allclose(found[whole], mean[whole], atol=1e-6)
        assert np.isnan(found[np.abs(np.degrees(np.arcsin(rays[2] / np.linalg.norm(rays, axis=0)))) < 17]).all()
    assert pyramid.nside_for(np.radians(0.01), wide=SHARP) == nside
    assert pyramid.nside_for(np.radians(1.0), wide=SHARP) == 64
    assert Pyramid(np.zeros(12 * 3**2)).nside_for(1.0, wide=SHARP) == 3
    with pytest.raises(ValueError, match="12 nside² pixels"):
        Pyramid(np.zeros(13))
    with pytest.raises(ValueError, match="the mask has shape"):
        Pyramid(np.zeros(48), np.zeros(12))


def test_the_viewer_and_the_figures_look_the_same_way() -> None:
    """Pixels of the viewer's grid against `gnomonic_image`, which interpolates: a smooth map differs by half a pixel's
    slope, 0.9°/2 · 1 rad⁻¹ at most."""
    nside = 64
    direction = np.array(healpy.pix2vec(nside, np.arange(12 * nside**2)))
    pyramid = Pyramid(direction[1])
    rays = view_matrix(200.0, -35.0) @ gnomonic_directions(30.0, 60)
    shown = pyramid.at(pyramid.pixels(rays, nside), nside).reshape(60, 60)
    np.testing.assert_allclose(shown, gnomonic_image(direction[1], (200.0, -35.0), 30.0, 60), atol=0.012)

"""Images of the sky: every pixel shows what healpy says lies there, and east is to the left."""

import healpy
import numpy as np
import pytest

from lensrec.view.projection import gnomonic_image, mollweide_image, mollweide_xy

NSIDE = 64


def _coordinates() -> tuple[np.ndarray, np.ndarray]:
    return healpy.pix2ang(NSIDE, np.arange(12 * NSIDE**2), lonlat=True)


def test_mollweide_shows_latitude_and_longitude_where_they_belong() -> None:
    """A map of sin(lat) and cos(lat) sin(lon) against Snyder's inverse formulae at each image pixel.

    A pixel of nside 64 is 0.92° across, its centre within 0.8° of any point in it (1.4e-2 rad), an image pixel of
    1/300 averages over 0.4°: 0.02 in all.
    """
    lon, lat = np.radians(_coordinates())
    y, x = np.meshgrid((np.arange(150) + 0.5) / 75 - 1, (np.arange(300) + 0.5) / 75 - 2, indexing="ij")
    inside = (x / 2) ** 2 + y**2 < 0.98
    angle = np.arcsin(y[inside])
    true_lat = np.arcsin((2 * angle + np.sin(2 * angle)) / np.pi)
    true_lon = -np.pi * x[inside] / (2 * np.cos(angle))
    north = mollweide_image(np.sin(lat), 300)
    east = mollweide_image(np.cos(lat) * np.sin(lon), 300)
    np.testing.assert_allclose(north[inside], np.sin(true_lat), atol=0.02)
    np.testing.assert_allclose(east[inside], np.cos(true_lat) * np.sin(true_lon), atol=0.02)
    assert east[75, 75] > 0.9  # longitude 90° is on the left
    assert north[140, 150] > 0.9  # north is up
    assert np.isnan(north[0, 0])
    assert np.isnan(north[(x / 2) ** 2 + y**2 > 1.03]).all()


def test_graticule_runs_through_the_places_it_names() -> None:
    """`mollweide_xy` inverts to the latitude and longitude put in: its table of 20001 steps is good to 1e-6 away
    from the poles."""
    lon, lat = np.meshgrid([-150.0, -20.0, 0.0, 75.0, 179.0], [-75.0, -30.0, 0.0, 10.0, 60.0])
    x, y = mollweide_xy(lon, lat)
    angle = np.arcsin(y)
    np.testing.assert_allclose(np.degrees(np.arcsin((2 * angle + np.sin(2 * angle)) / np.pi)), lat, atol=1e-4)
    np.testing.assert_allclose(np.degrees(-np.pi * x / (2 * np.cos(angle))), lon, atol=1e-3)
    assert mollweide_xy(np.array(300.0), np.array(0.0))[0] > 0


@pytest.mark.parametrize("centre", [(0.0, 0.0), (123.0, -41.0), (300.0, 89.0), (10.0, -90.0)])
def test_gnomonic_projects_straight_lines_from_the_centre_of_the_sphere(centre: tuple[float, float]) -> None:
    """Maps of the three coordinates of the direction, against the tangent plane by vectors.

    Interpolation in a smooth function of curvature 1 over pixels of 0.92° errs by (0.016)²/2 = 1.3e-4; healpy's
    is between rings: 1e-3. At a pole its first ring has four pixels only, 0.0128 away, and straight lines between
    them miss the circle by 1 − cos 45°: 3.7e-3.
    """
    size, width = 12.0, 48
    direction = np.array(healpy.pix2vec(NSIDE, np.arange(12 * NSIDE**2)))
    got = np.stack([gnomonic_image(component, centre, size, width) for component in direction])
    lon, lat = np.radians(centre)
    forward = np.array([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)])
    north = np.array([-np.sin(lat) * np.cos(lon), -np.sin(lat) * np.sin(lon), np.cos(lat)])
    east = np.array([-np.sin(lon), np.cos(lon), 0.0])
    step = np.tan(np.radians(size / 2)) * ((np.arange(width) + 0.5) * 2 / width - 1)
    plane = forward[:, None, None] + step[None, :, None] * north[:, None, None] - step * east[:, None, None]
    np.testing.assert_allclose(got, plane / np.linalg.norm(plane, axis=0), atol=4e-3 if abs(centre[1]) > 80 else 1e-3)


def test_fine_maps_are_averaged_and_coarse_ones_interpolated() -> None:
    """White noise of 12 × 512² pixels on an image of 100 × 50: some 600 map pixels to each image pixel, of which 16
    are looked up, so the scatter falls to 1/4; as of 3900 draws it is known to 1.2 %, and 5σ are 6 %."""
    noise = np.random.default_rng(5).standard_normal(12 * 512**2)
    image = mollweide_image(noise, 100)
    assert np.nanstd(image) == pytest.approx(0.25, rel=0.06)
    patch = gnomonic_image(noise, (40.0, 20.0), 1.0, 200)
    assert np.abs(np.diff(patch)).max() < 1.0  # 0.3′ steps through pixels of 6.9′: no jumps


def test_unseen_pixels_stay_out_of_the_mean() -> None:
    lat = _coordinates()[1]
    seen = np.abs(lat) > 20.0
    sky = np.where(seen, 1.0, 1e30)
    image = mollweide_image(sky, 200, seen=seen)
    assert np.isnan(image[50, 20:180]).all()
    np.testing.assert_allclose(image[np.isfinite(image)], 1.0, rtol=1e-14)
    patch = gnomonic_image(sky, (0.0, 20.0), 10.0, 100, seen=seen)
    assert np.isnan(patch[:40, 50]).all()
    np.testing.assert_allclose(patch[60:, 50], 1.0, rtol=1e-14)
    # both hemispheres have an edge that is drawn to one row of 100, sin(lat) rising by 0.02 a row at most
    assert np.isfinite(image).sum() / np.isfinite(mollweide_image(sky, 200)).sum() == pytest.approx(
        seen.mean(), abs=0.02
    )


@pytest.mark.parametrize("shape", [(10,), (2, 12), (0,)])
def test_what_is_no_map(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="12 nside² pixels"):
        mollweide_image(np.zeros(shape))


def test_patches_that_cannot_be() -> None:
    with pytest.raises(ValueError, match="between 0 and 120 degrees, got 150"):
        gnomonic_image(np.zeros(48), (0.0, 0.0), 150.0)
    with pytest.raises(ValueError, match="latitude"):
        gnomonic_image(np.zeros(48), (0.0, 95.0), 5.0)

"""From HEALPix to flat images: Mollweide of the whole sky, gnomonic of a patch; longitudes grow to the left."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from lensrec.view.patch import gnomonic_directions, view_matrix


def mollweide_image(sky: NDArray, width: int = 800, *, seen: NDArray[np.bool_] | None = None) -> NDArray[np.float64]:
    """A map on the ellipse of Mollweide's projection, averaged over the area of each image pixel.

    Parameters
    ----------
    sky : array (npix,), RING
    width : int
        Pixels across; half as many upwards.
    seen : array (npix,), bool
        Where the map is valid; all of it if not given.

    Returns
    -------
    array (width // 2, width), row 0 in the south; NaN outside the ellipse and where no valid pixel is near.

    Notes
    -----
    Snyder (1987, USGS Professional Paper 1395), equations 31-1 to 31-6, with the centre at longitude 0.
    """
    nside = _nside_of(sky)
    fine = _oversampling(nside, 2.0 * np.sqrt(2.0) / (width // 2))
    pixels, inside = _mollweide_pixels(nside, width, fine)
    valid = inside if seen is None else inside & np.asarray(seen, dtype=bool)[pixels]
    return _block_mean(sky[pixels], valid, fine)


def gnomonic_image(
    sky: NDArray,
    centre: tuple[float, float],
    size_deg: float,
    width: int = 500,
    *,
    seen: NDArray[np.bool_] | None = None,
) -> NDArray[np.float64]:
    """A square patch in the tangent plane of its centre, interpolated between pixels, or averaged over small ones.

    Parameters
    ----------
    sky : array (npix,), RING
    centre : (longitude, latitude), degrees
    size_deg : float
        Side of the patch, degrees, below 120.
    width : int
        Pixels along a side.
    seen : array (npix,), bool

    Returns
    -------
    array (width, width), row 0 in the south, column 0 in the east; NaN where most of the weight is not valid.

    Raises
    ------
    ValueError
        If the size or the centre is out of range.

    Notes
    -----
    Snyder (1987, USGS Professional Paper 1395), equations 22-14, 20-14 and 20-15.
    """
    if not 0.0 < size_deg <= 120.0:
        raise ValueError(f"a gnomonic patch has a side between 0 and 120 degrees, got {size_deg:g}")
    if not -90.0 <= centre[1] <= 90.0:
        raise ValueError(f"the latitude of the centre must lie between -90 and 90 degrees, got {centre[1]:g}")
    nside = _nside_of(sky)
    fine = _oversampling(nside, np.radians(size_deg) / width)
    pixels, weights = _gnomonic_pixels(nside, float(centre[0]), float(centre[1]), float(size_deg), width, fine)
    valid = weights if seen is None else weights * np.asarray(seen, dtype=bool)[pixels]
    share = valid.sum(0)
    total = np.einsum("kij,kij->ij", valid, np.where(valid > 0, sky[pixels], 0.0))
    return _block_mean(np.divide(total, share, out=np.zeros_like(total), where=share > 0), share > 0.5, fine)


def block_image(image: NDArray, columns: int, *, seen: NDArray[np.bool_] | None = None) -> NDArray[np.float64]:
    """An image made coarser: the mean of what is valid in blocks of pixels.

    Parameters
    ----------
    image : array (ny, nx)
    columns : int
        Most columns, and most rows, of the result; pixels stay square.
    seen : array (ny, nx), bool

    Returns
    -------
    array (rows, columns) of no more than that; NaN where fewer than half of a block are valid. What does not fill a
    block at the last edges is counted to it.
    """
    ny, nx = image.shape
    step = max(1, -(-max(ny, nx) // columns))
    valid = np.ones(image.shape, dtype=bool) if seen is None else np.asarray(seen, dtype=bool)
    starts = np.arange(0, ny, step), np.arange(0, nx, step)

    def blocks(values: NDArray) -> NDArray[np.float64]:
        return np.add.reduceat(np.add.reduceat(values, starts[0], axis=0, dtype=np.float64), starts[1], axis=1)

    count, full = blocks(valid), blocks(np.ones(image.shape))
    return np.where(2 * count >= full, blocks(np.where(valid, image, 0.0)) / np.maximum(count, 1), np.nan)


def mollweide_xy(lon_deg: NDArray, lat_deg: NDArray) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Position on the ellipse |x| ≤ 2, |y| ≤ 1 of longitudes and latitudes in degrees; east is to the left."""
    lat = np.radians(np.asarray(lat_deg, dtype=np.float64))
    lon = np.radians((np.asarray(lon_deg, dtype=np.float64) + 180.0) % 360.0 - 180.0)
    angle = _auxiliary_angle(lat)
    return -2.0 / np.pi * lon * np.cos(angle), np.sin(angle)


def mollweide_place(x: float, y: float) -> tuple[float, float] | None:
    """Longitude from -180 to 180 and latitude in degrees at a point of that ellipse; None outside of it."""
    if (x / 2.0) ** 2 + y**2 >= 1.0:
        return None
    angle = np.arcsin(y)
    lat = np.arcsin((2.0 * angle + np.sin(2.0 * angle)) / np.pi)
    return float(np.degrees(-np.pi * x / (2.0 * np.cos(angle)))), float(np.degrees(lat))


def _auxiliary_angle(lat: NDArray[np.float64]) -> NDArray[np.float64]:
    # 2ϑ + sin 2ϑ = π sin(lat), read off backwards from a table: far finer than any picture shows
    table = np.linspace(-np.pi / 2, np.pi / 2, 20001)
    return np.interp(np.pi * np.sin(lat), 2 * table + np.sin(2 * table), table)


def _nside_of(sky: NDArray) -> int:
    nside = round(np.sqrt(sky.shape[-1] / 12)) if sky.ndim == 1 else 0
    if nside < 1 or 12 * nside * nside != len(sky):
        raise ValueError(f"a HEALPix map has 12 nside² pixels in one dimension, got shape {sky.shape}")
    return nside


def _oversampling(nside: int, image_pixel: float) -> int:
    """Samples along the side of an image pixel (radians) that catch most of the HEALPix pixels in it."""
    return int(np.clip(np.ceil(image_pixel / np.sqrt(np.pi / 3) * nside), 1, 4))


def _midpoints(n: int) -> NDArray[np.float64]:
    return (2.0 * np.arange(n) + 1.0) / n - 1.0


@lru_cache(maxsize=8)
def _mollweide_pixels(nside: int, width: int, fine: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    import healpy

    x = 2.0 * _midpoints(width * fine)[None, :]
    angle = np.arcsin(_midpoints(width // 2 * fine))[:, None]
    lon = -np.pi / 2.0 * x / np.cos(angle)
    inside = np.abs(lon) <= np.pi
    sine = np.clip((2.0 * angle + np.sin(2.0 * angle)) / np.pi, -1.0, 1.0)
    colatitude = np.broadcast_to(np.arccos(sine), lon.shape)
    pixels = np.zeros(lon.shape, dtype=np.int64)
    pixels[inside] = healpy.ang2pix(nside, colatitude[inside], lon[inside])
    return pixels, inside


@lru_cache(maxsize=8)
def _gnomonic_pixels(
    nside: int, lon_deg: float, lat_deg: float, size_deg: float, width: int, fine: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    import healpy

    n = width * fine
    direction = (view_matrix(lon_deg, lat_deg) @ gnomonic_directions(size_deg, n)).reshape(3, n, n)
    if fine > 1:
        pixels = healpy.vec2pix(nside, *direction)[None]
        return pixels, np.ones(pixels.shape)
    colatitude, longitude = healpy.vec2dir(direction.reshape(3, -1))
    pixels, weights = healpy.get_interp_weights(nside, colatitude, longitude)
    return pixels.reshape(4, n, n), weights.reshape(4, n, n)


def _block_mean(values: NDArray, valid: NDArray[np.bool_], fine: int) -> NDArray[np.float64]:
    """Mean of the valid samples in blocks of fine × fine; NaN where fewer than half are valid."""
    rows, columns = values.shape[0] // fine, values.shape[1] // fine
    blocks = (rows, fine, columns, fine)
    total = np.where(valid, values, 0.0).reshape(blocks).sum((1, 3))
    count = valid.reshape(blocks).sum((1, 3))
    return np.where(2 * count >= fine * fine, total / np.maximum(count, 1), np.nan)

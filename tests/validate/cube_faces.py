"""The way of the SMICA map to its pixels, for skies that are to have its uneven beam.

The map was put together from six pictures of a cube's faces (its .source says how): each face a gnomonic projection
with 1024² pixels that reach beyond the face, 7.7′ wide at its middle and half of that at its corners. A pixel averages
the sky over its area, so the effective beam is widest at the middle of each face. How the pictures came by their
pixels is not known, nor all of their smoothing: of the simple ways, averages over pixels with linear interpolation
between them come nearest to how the map's power at 800 < ℓ < 1300 falls with the pixels' width (`power_by_width`).
"""

from itertools import pairwise

import ducc0
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from lensrec.arrays import thread_count
from lensrec.sky.masks import pixel_vectors
from lensrec.sphere.alm import lmax_of

SIZE, SHARE = 1024, 0.870
"""Pixels of a picture on a side, and the share of its width that is the cube's face."""

_AXES = np.array([[1, 0, 0], [0, 1, 0], [-1, 0, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]], dtype=float)
_RIGHT = np.array([[0, 1, 0], [-1, 0, 0], [0, -1, 0], [1, 0, 0], [0, 1, 0], [0, 1, 0]], dtype=float)
_FINE = 2
"""Points on a side by which the average over a pixel is taken."""


def through_faces(alm: NDArray, nside: int) -> NDArray[np.float64]:
    """The map (npix,) that the pictures of a sky would have been made into."""
    vectors = pixel_vectors(nside)
    face = np.argmax(vectors @ _AXES.T, axis=1)
    out = np.empty(len(vectors))
    grid = ((np.arange(SIZE * _FINE) + 0.5) / (SIZE * _FINE) * 2.0 - 1.0) / SHARE
    for number, (axis, right) in enumerate(zip(_AXES, _RIGHT, strict=True)):
        up = np.cross(axis, right)
        points = (axis + grid[None, :, None] * right + grid[:, None, None] * up).reshape(-1, 3)
        picture = _values(alm, points).reshape(SIZE, _FINE, SIZE, _FINE).mean((1, 3))
        seen = vectors[face == number]
        depth = seen @ axis
        x, y = seen @ right / depth, seen @ up / depth
        places = [(y * SHARE + 1.0) * SIZE / 2.0 - 0.5, (x * SHARE + 1.0) * SIZE / 2.0 - 0.5]
        out[face == number] = map_coordinates(picture, places, order=1, mode="nearest")
    return out


def pixel_width(nside: int) -> NDArray[np.float64]:
    """Root of the area of a picture's pixel at each HEALPix pixel, arcmin: how the beam's width goes over the sky."""
    depth = (pixel_vectors(nside) @ _AXES.T).max(axis=1)
    # dΩ = cos³θ du dv on the plane at distance 1
    return 2.0 / (SIZE * SHARE) * depth**1.5 * 10800.0 / np.pi


def power_by_width(maps: NDArray, mask: NDArray, low: int, high: int) -> tuple[NDArray, float]:
    """Power of a map for low ≤ ℓ < high in six bins of pixel width over its mean, and the variance of local power.

    The variance is that of means over pixels of nside 8 well inside the mask, relative to their mean squared: N0, which
    is quadratic in power, is higher by as much than that of an even sky of the same mean power.
    """
    import healpy

    nside = healpy.npix2nside(len(maps))
    ell = np.arange(high + 1)
    alm = healpy.map2alm(maps * mask, lmax=high, iter=1)
    band = healpy.alm2map(healpy.almxfl(alm, (ell >= low) & (ell < high)), nside) ** 2
    seen, width = mask > 0.99, pixel_width(nside)
    edges = np.quantile(width[seen], np.linspace(0, 1, 7))
    binned = np.array([band[seen & (width >= a) & (width <= b)].mean() for a, b in pairwise(edges)])
    share = healpy.ud_grade(seen.astype(float), 8)
    local = healpy.ud_grade(np.where(seen, band, 0.0), 8)[share > 0.9] / share[share > 0.9]
    return binned / binned.mean(), float(local.var() / local.mean() ** 2)


def _values(alm: NDArray, vectors: NDArray) -> NDArray[np.float64]:
    norm = np.linalg.norm(vectors, axis=1)
    theta = np.arccos(vectors[:, 2] / norm)
    phi = np.arctan2(vectors[:, 1], vectors[:, 0]) % (2.0 * np.pi)
    return ducc0.sht.synthesis_general(
        alm=alm[None],
        spin=0,
        lmax=lmax_of(len(alm)),
        loc=np.stack([theta, phi], axis=1),
        epsilon=1e-5,
        nthreads=thread_count(0),
    )[0]

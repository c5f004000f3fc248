"""Isolatitude pixel grids: HEALPix, Gauss–Legendre and CAR rings, with their quadrature weights."""

from dataclasses import dataclass
from functools import lru_cache

import ducc0
import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Grid:
    """Rings of equidistant pixels, as spherical harmonic transforms take them.

    Attributes
    ----------
    theta : array (nrings,)
        Colatitude of each ring, radians.
    nphi, ringstart : array (nrings,), uint64
        Pixels in each ring, and the index of its first pixel.
    phi0 : array (nrings,)
        Longitude of the first pixel of each ring, radians.
    weights : array (nrings,)
        Quadrature weight of one pixel of each ring, steradian; they sum to 4π over the pixels.
    exact_degree : int
        The quadrature is exact for polynomials up to this degree; −1 where it never is (HEALPix, a part of the sky).
    nside : int
        HEALPix nside, or 0.
    """

    theta: NDArray[np.float64]
    nphi: NDArray[np.uint64]
    phi0: NDArray[np.float64]
    ringstart: NDArray[np.uint64]
    weights: NDArray[np.float64]
    exact_degree: int
    nside: int = 0

    @property
    def npix(self) -> int:
        """Number of pixels."""
        return int(self.nphi.sum())


@lru_cache(maxsize=8)
def healpix_grid(nside: int) -> Grid:
    """HEALPix in RING order.

    Raises
    ------
    ValueError
        If nside is not a power of two between 1 and 8192.
    """
    if nside < 1 or nside & (nside - 1) or nside > 8192:
        raise ValueError(f"nside must be a power of two from 1 to 8192, got {nside}")
    info = ducc0.healpix.Healpix_Base(nside, "RING").sht_info()
    npix = 12 * nside * nside
    weights = np.full(len(info["theta"]), 4.0 * np.pi / npix)
    return Grid(info["theta"], info["nphi"], info["phi0"], info["ringstart"], weights, -1, nside)


@lru_cache(maxsize=16)
def gauss_legendre_grid(degree: int) -> Grid:
    """The shortest Gauss–Legendre grid that integrates every polynomial up to `degree` exactly.

    N nodes in cos θ are exact up to degree 2N − 1, and rings of more than `degree` pixels tell all orders
    |m| ≤ degree from zero; the number of pixels in a ring is rounded up to a length that FFTs like.

    Notes
    -----
    A product of fields with band limits ℓ₁ and ℓ₂, projected on multipoles up to L, needs degree ℓ₁ + ℓ₂ + L.
    """
    if degree < 0:
        raise ValueError(f"degree must not be negative, got {degree}")
    ntheta = degree // 2 + 1
    nphi = ducc0.fft.good_size(degree + 1, True)
    theta = ducc0.misc.GL_thetas(ntheta)
    weights = ducc0.misc.GL_weights(ntheta, nphi)
    return Grid(
        theta,
        np.full(ntheta, nphi, dtype=np.uint64),
        np.zeros(ntheta),
        np.arange(ntheta, dtype=np.uint64) * np.uint64(nphi),
        weights,
        degree,
    )


def car_grid(theta: NDArray, nphi: int, phi0: float = 0.0) -> Grid:
    """Rings of equally many pixels at given colatitudes, as those of a plate carrée (CAR) map that closes in longitude.

    Parameters
    ----------
    theta : array (nrings,)
        Equidistant colatitudes, radians, rising or falling; of the whole sphere or of a band.
    nphi : int
        Pixels in a ring.
    phi0 : float
        Longitude of the first, radians.

    Raises
    ------
    ValueError
        If colatitudes are not equidistant, or lie outside 0 … π.

    Notes
    -----
    Weights are Clenshaw and Curtis' where the first and last ring are the poles, and those of Fejér's first rule where
    the poles are half a step beyond them: exact in θ up to degree nrings − 1. Of other sets of rings each has the area
    between the circles half-way to the next.
    """
    rings = np.array(theta, dtype=np.float64)
    if rings.ndim != 1 or len(rings) < 2 or nphi < 1:
        raise ValueError(f"a CAR grid needs at least two rings of at least one pixel, got {rings.shape} and {nphi}")
    steps = np.diff(rings)
    step = abs(float(np.mean(steps)))
    # colatitudes of a FITS header are rounded to 1e-9 of a pixel or so
    if step == 0.0 or np.abs(np.abs(steps) - step).max() > 1e-6 * step or np.ptp(np.sign(steps)) > 0:
        raise ValueError("the rings of a CAR grid must be equidistant in colatitude")
    if rings.min() < -1e-6 * step or rings.max() > np.pi + 1e-6 * step:
        raise ValueError(f"colatitudes must be from 0 to pi, got {rings.min():g} to {rings.max():g}")
    rings = np.clip(rings, 0.0, np.pi)
    count = len(rings)
    beyond = (rings.min() / step, (np.pi - rings.max()) / step)
    rule = {(0.0, 0.0): "CC", (0.5, 0.5): "F1"}.get((round(beyond[0], 4), round(beyond[1], 4)))
    if rule is None:
        edges = np.clip([rings - step / 2.0, rings + step / 2.0], 0.0, np.pi)
        weights = 2.0 * np.pi * (np.cos(edges[0]) - np.cos(edges[1]))
    else:
        weights = ducc0.sht.experimental.get_gridweights(rule, count)
    degree = min(count, nphi) - 1 if rule else -1
    start = np.arange(count, dtype=np.uint64) * np.uint64(nphi)
    return Grid(rings, np.full(count, nphi, dtype=np.uint64), np.full(count, phi0), start, weights / nphi, degree)

"""Isolatitude pixel grids: HEALPix rings and Gauss–Legendre rings, with their quadrature weights."""

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
        The quadrature is exact for polynomials up to this degree; −1 where it never is (HEALPix).
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

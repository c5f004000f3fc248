"""Where a deflection leads, and how the axes of polarisation turn on the way, for whole grids."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from lensrec.arrays import thread_count
from lensrec.sphere.grids import Grid
from lensrec.sphere.walk import longest_deflections, walk_rings

# Pixels that one thread takes at a time.
_SHARE = 1 << 16


def follow_geodesics(
    field: NDArray[np.float64], grid: Grid, *, rotation: bool = True, nthreads: int = 0
) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
    """Start from each pixel in the direction of the deflection and walk its length.

    Parameters
    ----------
    field : array (2, npix), float64
        Deflection along e_θ and e_φ, radians, of any size.
    grid : Grid
    rotation : bool
        Whether the angle γ is wanted.
    nthreads : int
        0: as many as this process may use.

    Returns
    -------
    positions : array (npix, 2), float64
        Colatitude θ′ in [0, π] and longitude φ′ in [0, 2π); NaN on a ring where a deflection is not finite.
    gamma : array (npix,), float64, or None
        γ = ψ − ψ′, where ψ and ψ′ are the angles, from e_θ towards e_φ, of the geodesic's direction at n and at n′.

    Notes
    -----
    The formulas are those of `lensrec.sphere.walk`. Position, and axes as vectors, are good to 1e-14 for any deflection
    and next to the poles.
    """
    field = np.asarray(field, dtype=np.float64)  # positions would follow the precision of the deflection
    start, count = ring_bounds(grid)
    longest = ring_deflections(field, grid, nthreads=nthreads)
    positions = np.empty((grid.npix, 2))
    gamma = np.empty(grid.npix if rotation else 0)

    def walk(rings: NDArray[np.int64]) -> None:
        walk_rings(rings, grid.theta, count, grid.phi0, start, longest, field, positions, gamma)

    with ThreadPoolExecutor(thread_count(nthreads)) as pool:
        list(pool.map(walk, shares(np.arange(len(count)), count)))
    return positions, gamma if rotation else None


def ring_deflections(field: NDArray[np.float64], grid: Grid, *, nthreads: int = 0) -> NDArray[np.float64]:
    """The largest |α| on each ring, (nrings,), radians; NaN where one is not finite."""
    start, count = ring_bounds(grid)
    longest = np.empty(len(start))

    def measure(rings: NDArray[np.int64]) -> None:
        part = slice(rings[0], rings[-1] + 1)
        longest_deflections(field, start[part], count[part], longest[part])

    with ThreadPoolExecutor(thread_count(nthreads)) as pool:
        list(pool.map(measure, shares(np.arange(len(count)), count)))
    return longest


def finite_deflections(field: NDArray[np.float64], grid: Grid, *, nthreads: int = 0) -> NDArray[np.float64]:
    """The same, where every deflection is finite.

    Raises
    ------
    ValueError
        If one is not.
    """
    longest = ring_deflections(field, grid, nthreads=nthreads)
    if not np.isfinite(longest).all():
        raise ValueError("the deflection is infinite or NaN somewhere; is a potential?")
    return longest


def ring_bounds(grid: Grid) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First pixel and number of pixels of each ring, as the compiled loops take them."""
    return grid.ringstart.astype(np.int64), grid.nphi.astype(np.int64)


def shares(rings: NDArray[np.int64], count: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Rings dealt out in lots of some tens of thousands of pixels, for one thread each."""
    lot = np.cumsum(count[rings]) // _SHARE
    return np.split(rings, np.flatnonzero(np.diff(lot)) + 1)


def pixel_angles(grid: Grid, pixels: NDArray[np.integer]) -> NDArray[np.float64]:
    """Colatitude and longitude of some pixels, shape (2, number of pixels)."""
    start, count = ring_bounds(grid)
    ring = np.searchsorted(start, pixels, side="right") - 1
    step = 2.0 * np.pi / count
    return np.array([grid.theta[ring], grid.phi0[ring] + (pixels - start[ring]) * step[ring]])

"""What the NUFFT remap does pixel by pixel: on a GPU a CUDA kernel, in numpy the functions of `remap` and `geodesic`.

A tile is a Grid of some consecutive rings; every array is of the backend that is given.
"""

from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from lensrec.arrays import Backend
from lensrec.sphere.geodesic import follow_geodesics, pixel_angles
from lensrec.sphere.grids import Grid

SOURCE = Path(str(files("lensrec.sphere") / "cuda" / "remap.cu"))
# A pointer that a kernel finds to be null.
_NULL = np.uint64(0)


def ring_tiles(grid: Grid, most: int) -> list[Grid]:
    """Part a grid into tiles of consecutive rings with at most so many pixels, but at least one ring each."""
    ends = np.cumsum(grid.nphi.astype(np.int64))
    tiles, first = [], 0
    while first < len(ends):
        begun = int(ends[first - 1]) if first else 0
        last = max(first + 1, int(np.searchsorted(ends, begun + most, side="right")))
        rings = slice(first, last)
        start = grid.ringstart[rings] - grid.ringstart[first]
        tiles.append(Grid(grid.theta[rings], grid.nphi[rings], grid.phi0[rings], start, grid.weights[rings], -1))
        first = last
    return tiles


def pixel_centres(backend: Backend, tile: Grid) -> tuple[Any, Any]:
    """Colatitude and longitude of a tile's pixels, (npix,) float64 each."""
    if not backend.on_device:
        theta, phi = pixel_angles(tile, np.arange(tile.npix))
        return theta, phi
    theta, phi = (backend.xp.empty(tile.npix, np.float64) for _ in range(2))
    backend.kernel(SOURCE, "pixel_centres")(tile.npix, *_rings(backend, tile), theta, phi)
    return theta, phi


def follow(backend: Backend, tile: Grid, alpha: Any, *, rotation: bool) -> tuple[Any, Any, Any | None]:
    """Walk from each pixel along α; see `lensrec.sphere.geodesic.follow_geodesics`.

    Parameters
    ----------
    alpha : array (npix,), complex128
        α_θ + iα_φ, radians.
    rotation : bool
        Whether γ is wanted.

    Returns
    -------
    theta, phi, gamma : array (npix,), float64; gamma None where it is not wanted
        θ′ in [0, π], φ′ in [0, 2π), and γ.
    """
    if not backend.on_device:
        components = np.stack([alpha.real, alpha.imag])
        moved, gamma = follow_geodesics(components, tile, rotation=rotation, nthreads=backend.nthreads)
        theta, phi = np.ascontiguousarray(moved.T)
        return theta, phi, gamma
    theta, phi = (backend.xp.empty(tile.npix, np.float64) for _ in range(2))
    gamma = backend.xp.empty(tile.npix, np.float64) if rotation else None
    backend.kernel(SOURCE, "deflect")(
        tile.npix, *_rings(backend, tile), alpha, theta, phi, _NULL if gamma is None else gamma
    )
    return theta, phi, gamma


def unpack(
    backend: Backend, values: Any, rows: list[Any], *, gamma: Any = None, spin: int = 0, phi: Any = None, shift: int = 0
) -> None:
    """Write the real part, and the imaginary one, of values · exp(i(spin γ + shift φ)) into one row, or two.

    Parameters
    ----------
    values : array (npix,), complex64 or complex128
    rows : list of one or two arrays (npix,), float32 or float64
    gamma, phi : array (npix,), float64, optional
    """
    if not backend.on_device:
        angle: Any = 0.0
        if gamma is not None:
            angle = spin * gamma
        if phi is not None:
            angle = angle + shift * phi
        turned = values * np.exp(1j * angle) if gamma is not None or phi is not None else values
        for row, part in zip(rows, (turned.real, turned.imag), strict=False):
            row[:] = part
        return
    words = {"complex128": "double", "complex64": "single", "float64": "double", "float32": "single"}
    kernel = backend.kernel(SOURCE, f"unpack_{words[values.dtype.name]}_{words[rows[0].dtype.name]}")
    second = rows[1] if len(rows) == 2 else _NULL
    angles = [_NULL if x is None else x for x in (gamma, phi)]
    kernel(values.size, values, angles[0], np.int32(spin), angles[1], np.int32(shift), rows[0], second)


def _rings(backend: Backend, tile: Grid) -> tuple[Any, ...]:
    """The number of rings, and the tables of them that kernels read."""
    step = 2.0 * np.pi / tile.nphi.astype(np.float64)
    tables = (tile.ringstart.astype(np.int64), tile.theta, tile.phi0, step)
    return np.int32(len(step)), *(backend.to_device(table) for table in tables)

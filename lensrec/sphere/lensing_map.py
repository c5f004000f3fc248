"""A lensed map of a whole grid, ring by ring: deflected positions never leave the processor's cache."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from lensrec.arrays import real_dtype, thread_count
from lensrec.sphere.alm import lmax_of
from lensrec.sphere.geodesic import finite_deflections, ring_bounds, shares
from lensrec.sphere.gridding import Gridding, gridding
from lensrec.sphere.grids import Grid
from lensrec.sphere.interpolate import remap_rings
from lensrec.sphere.planes import band, oversampled_legs

# Rows of samples made at a time. Fewer, and the rows that neighbouring bands share weigh; more, and they leave the
# cache before they are used.
_BAND_ROWS = 96


def lens_rings(
    fields: Sequence[tuple[NDArray, int]],
    field: NDArray[np.float64],
    grid: Grid,
    out: NDArray,
    *,
    epsilon: float,
    nthreads: int = 0,
) -> None:
    """Write the fields at the deflected positions of all pixels, turned into the frame they are seen in, into `out`.

    Parameters
    ----------
    fields : sequence of (alm, spin)
        At most one of spin 0, (1, nalm), and then at most one of another spin, (2, nalm).
    field : array (2, npix), float64
        Deflection; may be the last two rows of `out`.
    grid : Grid
    out : array (components, npix), real, in the precision of the alm
    epsilon : float
        Root-mean-square error in units of the rms of each field.
    nthreads : int

    Raises
    ------
    ValueError
        If a deflection is infinite or NaN.
    """
    threads = thread_count(nthreads)
    alm = fields[0][0]
    plan = gridding(lmax_of(alm.shape[-1]), epsilon)
    spins = spins_of(fields)
    coefficients = plan.coefficients.astype(real_dtype(alm.dtype))
    start, count = ring_bounds(grid)
    longest = finite_deflections(field, grid, nthreads=threads)
    with ThreadPoolExecutor(threads) as pool:
        for rings, first, samples in sampled_bands(fields, plan, grid.theta, longest, nthreads=threads):

            def lens(part: NDArray, first: int = first, samples: NDArray = samples) -> None:
                remap_rings(
                    part, grid.theta, count, grid.phi0, start, longest, field, samples, first, plan.rows,
                    plan.columns, coefficients, (0,) * plan.width, (0,) * len(spins), spins[-1], out,
                )  # fmt: skip

            list(pool.map(lens, shares(rings, count)))


def sampled_bands(
    fields: Sequence[tuple[NDArray, int]],
    plan: Gridding,
    theta: NDArray[np.float64],
    longest: NDArray[np.float64],
    *,
    nthreads: int = 0,
) -> Iterator[tuple[NDArray[np.int64], int, NDArray]]:
    """Samples of fields for all rings of a grid, some rings at a time.

    Parameters
    ----------
    fields : sequence of (alm, spin)
    plan : Gridding
    theta, longest : array (nrings,)
        Colatitude of each ring, and how far from it, in radians, the fields are asked for.

    Yields
    ------
    rings : array of int
        Which rings.
    first : int
        Row of samples[:, 0].
    samples : array (components, rows, columns + 2 width), real
        As `lensrec.sphere.planes.band` leaves them; valid until the next are asked for.
    """
    legs = oversampled_legs(fields, plan, nthreads=nthreads)
    spins = spins_of(fields)
    bands = list(_row_bands(theta, longest, plan))
    height = max(last - first for _, first, last in bands)
    samples = np.empty((len(spins), height, plan.columns + 2 * plan.width), dtype=real_dtype(legs.dtype))
    for rings, first, last in bands:
        band(legs, spins, first, last, plan, samples, nthreads=nthreads)
        yield rings, first, samples


def spins_of(fields: Sequence[tuple[NDArray, int]]) -> list[int]:
    """The spin of each component of the fields."""
    return [spin for rows, spin in fields for _ in rows]


def _row_bands(
    theta: NDArray[np.float64], longest: NDArray[np.float64], plan: Gridding
) -> Iterator[tuple[NDArray[np.int64], int, int]]:
    """Groups of rings between neighbouring parallels, with the rows of samples that their pixels may ask for."""
    height = max(_BAND_ROWS, int(min(2.0 * longest.max(), np.pi) / np.pi * plan.rows))
    place = theta / np.pi * plan.rows
    far = longest / np.pi * plan.rows
    order = np.argsort(theta, kind="stable")
    for rings in np.split(order, np.flatnonzero(np.diff(place[order] // height)) + 1):
        # one row to spare on either side for rounding
        top = max((place[rings] - far[rings]).min(), 0.0)
        bottom = min((place[rings] + far[rings]).max(), float(plan.rows))
        yield rings, int(top) - plan.width // 2, int(bottom) + plan.width // 2 + 2

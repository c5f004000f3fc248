"""A lensed map of a whole grid, ring by ring: deflected positions never leave the processor's cache."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from lensrec.arrays import real_dtype, thread_count
from lensrec.sphere.alm import lmax_of
from lensrec.sphere.geodesic import ring_bounds, ring_deflections, shares
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
    spins = [spin for rows, spin in fields for _ in rows]
    coefficients = plan.coefficients.astype(real_dtype(alm.dtype))
    start, count = ring_bounds(grid)
    longest = ring_deflections(field, grid, nthreads=threads)
    if not np.isfinite(longest).all():
        raise ValueError("the deflection is infinite or NaN somewhere; is a potential?")
    legs = oversampled_legs(fields, plan, nthreads=threads)
    bands = list(row_bands(grid.theta, longest, plan))
    height = max(last - first for _, first, last in bands)
    samples = np.empty((len(spins), height, plan.columns + 2 * plan.width), dtype=out.dtype)
    with ThreadPoolExecutor(threads) as pool:
        for rings, first, last in bands:
            band(legs, spins, first, last, plan, samples, nthreads=threads)

            def lens(part: NDArray, first: int = first) -> None:
                remap_rings(
                    part, grid.theta, count, grid.phi0, start, longest, field, samples, first, plan.rows,
                    plan.columns, coefficients, (0,) * plan.width, (0,) * len(spins), spins[-1], out,
                )  # fmt: skip

            list(pool.map(lens, shares(rings, count)))


def row_bands(
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

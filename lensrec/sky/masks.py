"""Sky masks: simple shapes, apodisation, and the averages by which masked spectra are rescaled.

A mask is an array (npix,) of weights from 0, a hole, to 1, in RING order.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lensrec.arrays import thread_count
from lensrec.sphere.grids import healpix_grid


class MaskMoments(NamedTuple):
    """Averages over the sphere of powers of a mask, w_n = ⟨W^n⟩, and the share of it where W > 0."""

    w1: float
    w2: float
    w4: float
    fsky: float


def mask_moments(mask: NDArray) -> MaskMoments:
    """w_1, w_2, w_4 and f_sky of a mask (npix,).

    A spectrum of masked maps is divided by w_2, one of quadratic estimates from masked maps by w_4, and a cross
    spectrum of estimate and full-sky input by w_2 (Hivon et al. 2002, ApJ 567, 2; Namikawa et al. 2013,
    MNRAS 431, 609).
    """
    squared = np.square(mask, dtype=np.float64)
    return MaskMoments(
        float(np.mean(mask, dtype=np.float64)),
        float(np.mean(squared)),
        float(np.mean(squared**2)),
        float(np.count_nonzero(mask) / mask.size),
    )


def galactic_cut(nside: int, latitude_rad: float) -> NDArray[np.float64]:
    """0 for pixels whose centres lie nearer than `latitude_rad` to the map's equator, 1 elsewhere.

    Of the sphere 1 − sin(latitude) is kept. In Galactic coordinates this cuts the Galaxy out.
    """
    if not 0.0 <= latitude_rad < np.pi / 2.0:
        raise ValueError(f"the latitude of a cut must be from 0 to less than pi/2 rad, got {latitude_rad}")
    grid = healpix_grid(nside)
    kept = np.abs(np.pi / 2.0 - grid.theta) >= latitude_rad
    return np.repeat(kept.astype(np.float64), grid.nphi.astype(np.int64))


def disc(nside: int, theta: float, phi: float, radius_rad: float) -> NDArray[np.float64]:
    """1 for pixels whose centres lie within `radius_rad` of the point (theta, phi), 0 elsewhere; radians."""
    import healpy as hp

    if not 0.0 < radius_rad <= np.pi:
        raise ValueError(f"the radius of a disc must be above 0 and at most pi rad, got {radius_rad}")
    mask = np.zeros(healpix_grid(nside).npix)
    mask[hp.query_disc(nside, hp.ang2vec(theta, phi), radius_rad)] = 1.0
    return mask


def apodise(mask: NDArray, width_rad: float, *, kind: str = "C2", nthreads: int = 0) -> NDArray[np.float64]:
    """Multiply a mask by a factor that rises smoothly from 0 at its holes to 1 at a given distance from them.

    Parameters
    ----------
    mask : array (npix,)
        Weights from 0 to 1, HEALPix RING. Pixels of weight 0 are the holes.
    width_rad : float
        Distance at which the factor reaches 1, radians; 0 leaves the mask as it is.
    kind : "C1" or "C2"
    nthreads : int
        0: as many as this process may use.

    Returns
    -------
    array (npix,), float64; what was 0 stays 0.

    Raises
    ------
    ValueError
        For another kind, a width outside 0 … π, a length no nside has, or weights outside 0 … 1.

    Notes
    -----
    With d the distance of a pixel to the nearest hole (centre to centre) and x² = (1−cos d)/(1−cos width) < 1,

        C1: f = x − sin(2πx)/(2π)        C2: f = (1 − cos πx)/2

    (Grain, Tristram & Stompor 2009, arXiv:0903.2350; in this form Alonso et al. 2019, arXiv:1809.09603).
    """
    if kind not in ("C1", "C2"):
        raise ValueError(f'the kind of apodisation must be "C1" or "C2", got {kind!r}')
    if not 0.0 <= width_rad <= np.pi:
        raise ValueError(f"the width of apodisation must be from 0 to pi rad, got {width_rad}")
    out = np.array(mask, dtype=np.float64)
    nside = _nside_of(out)
    if not (out.min() >= 0.0 and out.max() <= 1.0):
        raise ValueError(f"a mask must lie between 0 and 1, got {out.min():g} to {out.max():g}")
    if width_rad == 0.0:
        return out
    # a chord is c = 2 sin(d/2) and 1 − cos d = c²/2: x is a ratio of chords
    reach = 2.0 * np.sin(width_rad / 2.0)
    pixels, chord = _near_holes(out == 0.0, nside, reach, thread_count(nthreads))
    x = chord / reach
    factor = x - np.sin(2.0 * np.pi * x) / (2.0 * np.pi) if kind == "C1" else (1.0 - np.cos(np.pi * x)) / 2.0
    out[pixels] *= factor
    return out


def pixel_vectors(nside: int) -> NDArray[np.float64]:
    """Unit vectors (npix, 3) of the pixels' centres, RING."""
    return _vectors(nside, np.arange(12 * nside**2, dtype=np.int64), nest=False)


def _nside_of(mask: NDArray) -> int:
    nside = round((mask.size / 12) ** 0.5)
    if mask.ndim != 1 or mask.size == 0 or healpix_grid(nside).npix != mask.size:
        raise ValueError(f"a mask must be one HEALPix map of 12 nside^2 pixels, got shape {mask.shape}")
    return nside


def _near_holes(
    hole: NDArray[np.bool_], nside: int, reach: float, workers: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Pixels outside all holes and nearer to one than `reach`, with the chord to the nearest; RING order.

    The nearest pixel of a hole is always on its edge, so the search runs over edges alone; cells of 32² pixels
    are sorted out first, that pixels far from every edge need not be looked at.
    """
    import healpy as hp
    from scipy.spatial import cKDTree

    coarse = max(1, nside // 32)
    per_cell = (nside // coarse) ** 2
    ring_of = _nested_order(nside)
    cells = hole[ring_of].reshape(-1, per_cell)
    if cells.all() or not cells.any():
        return np.empty(0, dtype=np.int64), np.empty(0)
    edge = ring_of[_edge_pixels(cells, nside, coarse)]
    tree = cKDTree(_vectors(nside, edge, nest=False))
    # a pixel of a cell is no farther from the cell's centre than max_pixrad
    margin = reach + 2.0 * np.sin(hp.max_pixrad(coarse) / 2.0)
    to_cell, _ = tree.query(
        _vectors(coarse, np.arange(len(cells)), nest=True), distance_upper_bound=margin * (1 + 1e-12), workers=workers
    )
    near = np.flatnonzero(np.isfinite(to_cell))
    children = (near[:, None] * per_cell + np.arange(per_cell)).ravel()
    pixels = ring_of[children[~cells[near].ravel()]]
    chord, _ = tree.query(_vectors(nside, pixels, nest=False), distance_upper_bound=reach, workers=workers)
    found = np.isfinite(chord)
    return pixels[found], chord[found]


def _edge_pixels(cells: NDArray[np.bool_], nside: int, coarse: int) -> NDArray[np.int64]:
    """NESTED indices of the pixels in holes that have a neighbour outside; `cells` (12 coarse², pixels in one)."""
    import healpy as hp

    filled = np.asarray(np.all(cells, axis=1))
    beside = hp.get_all_neighbours(coarse, np.arange(len(cells)), nest=True)
    # where a corner has no eighth neighbour, healpy says −1
    open_beside = np.any(~filled[beside] & (beside >= 0), axis=0)
    look = np.flatnonzero(np.any(cells, axis=1) & (~filled | open_beside))
    children = (look[:, None] * cells.shape[1] + np.arange(cells.shape[1])).ravel()
    hole = cells.reshape(-1)
    held = children[hole[children]]
    around = hp.get_all_neighbours(nside, held, nest=True)
    return held[np.any(~hole[around] & (around >= 0), axis=0)]


def _nested_order(nside: int) -> NDArray[np.int64]:
    """RING index of every pixel in NESTED order."""
    from ducc0.healpix import Healpix_Base

    return Healpix_Base(nside, "NEST").nest2ring(np.arange(12 * nside**2, dtype=np.int64))


def _vectors(nside: int, pixels: NDArray[np.int64], *, nest: bool) -> NDArray[np.float64]:
    from ducc0.healpix import Healpix_Base

    return Healpix_Base(nside, "NEST" if nest else "RING").pix2vec(pixels)

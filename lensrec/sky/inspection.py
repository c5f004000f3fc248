"""What is in a map, in numbers: its values and gaps, how weights are spread, and power spectra at a glance.

The spectra are for looking at. They are pseudo-spectra divided by ⟨w²⟩: no beam, pixel window or noise is taken out,
and neighbouring multipoles are mixed by the mask. Those that a fit can use are made by `lensrec.spectra.pseudo_cl`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lensrec.sky.map_header import UNSEEN
from lensrec.sphere.alm import alm_to_cl
from lensrec.sphere.grids import Grid
from lensrec.sphere.sht import adjoint_synthesis

PERCENTILES = (1, 16, 50, 84, 99)
BANDS = 10
_ENOUGH = 2_000_000
ARCMIN = np.pi / 10800.0
_SPECTRA = {"TT": (0, 0), "EE": (1, 1), "BB": (2, 2), "TE": (0, 1)}


def field_statistics(values: NDArray) -> dict[str, Any]:
    """Moments and percentiles of the values of a field where it is observed.

    Parameters
    ----------
    values : array (n,)
        Finite, n > 0.

    Returns
    -------
    dict
        mean, rms (about the mean), min, max, and percentiles: {"1": …, "16": …, "50": …, "84": …, "99": …}, in the
        field's unit. Percentiles are those of every n-th value where there are more than two million.

    Raises
    ------
    ValueError
        If there are no values.
    """
    if np.size(values) == 0:
        raise ValueError("no value of the field is observed")
    ranks = np.percentile(values[:: max(1, np.size(values) // _ENOUGH)], PERCENTILES)
    return {
        "mean": float(np.mean(values)),
        "rms": float(np.std(values)),
        "min": float(np.min(values)),
        "max": float(np.max(values)),
        "percentiles": {str(p): float(value) for p, value in zip(PERCENTILES, ranks, strict=True)},
    }


def gap_statistics(values: NDArray, area: ArrayLike = 1.0) -> dict[str, float]:
    """Shares of a field that are not finite, HEALPix's UNSEEN, and exactly zero.

    Parameters
    ----------
    values : array
        As the file has them.
    area : array that broadcasts with `values`
        Of each pixel, in any unit.

    Returns
    -------
    dict
        nan (infinities, too), unseen and zero, of the pixels that the file has.
    """
    weight = np.broadcast_to(np.asarray(area, dtype=np.float64), values.shape)
    total = float(weight.sum())
    finite = np.isfinite(values)
    unseen = finite & (np.abs(values - UNSEEN) <= 1e-5 * abs(UNSEEN))
    shares = {"nan": ~finite, "unseen": unseen, "zero": values == 0.0}
    return {name: float(weight[where].sum()) / total for name, where in shares.items()}


def weight_statistics(weights: NDArray, area: ArrayLike) -> dict[str, float]:
    """How hits, weights or a mask are spread over the sky.

    Parameters
    ----------
    weights : array
        Not negative; zero where the sky is not seen.
    area : array that broadcasts with `weights`
        Of each pixel, as a share of the whole sphere.

    Returns
    -------
    dict
        f_sky, the share of the sphere where w > 0; w2 and w4, the averages ⟨w²⟩ and ⟨w⁴⟩ over the sphere, w being
        relative to the maximum; min, median and max of what is seen; depth_ratio, by how much noise is larger where
        a twentieth of the seen sky has less than where a twentieth has more: (w_95/w_5)^½, noise going as hits^−½.

    Raises
    ------
    ValueError
        If a weight is negative or not finite, or all are zero.
    """
    if not np.isfinite(weights).all() or np.min(weights, initial=0.0) < 0.0:
        raise ValueError("weights must be finite and not negative")
    share = np.broadcast_to(np.asarray(area, dtype=np.float64), weights.shape)
    there = weights > 0
    seen, covers = weights[there], share[there]
    if seen.size == 0:
        raise ValueError("the weights are zero everywhere")
    step = max(1, seen.size // _ENOUGH)
    order = np.argsort(seen[::step], kind="stable")
    sorted_seen, sorted_covers = seen[::step][order], covers[::step][order]
    rank = (np.cumsum(sorted_covers) - 0.5 * sorted_covers) / sorted_covers.sum()
    low, median, high = np.interp([0.05, 0.5, 0.95], rank, sorted_seen)
    relative = seen / seen.max()
    return {
        "f_sky": float(covers.sum()),
        "w2": float(relative**2 @ covers),
        "w4": float(relative**4 @ covers),
        "min": float(seen.min()),
        "median": float(median),
        "max": float(seen.max()),
        "depth_ratio": float(np.sqrt(high / low)),
    }


def weight_kind(weights: NDArray) -> str:
    """ "mask" where weights run from 0 to at most 1, "hits" where they are whole numbers, else "weights"."""
    if np.max(weights, initial=0.0) <= 1.0 + 1e-6:
        return "mask"
    return "hits" if np.array_equal(weights, np.rint(weights)) else "weights"


def map_spectra(maps: NDArray, weight: NDArray, grid: Grid, lmax: int, *, nthreads: int = 0) -> dict[str, NDArray]:
    """Spectra of a weighted map at a glance.

    Parameters
    ----------
    maps : array (1, npix) or (3, npix)
        T, or T, Q and U; the weighted mean of T is taken off.
    weight : array (npix,)
        Zero where there is no map.
    grid : Grid
    lmax : int
    nthreads : int
        0: as many as this process may use.

    Returns
    -------
    dict of array (lmax+1,)
        TT, and EE, BB, TE where there are Q and U; raw C_ℓ from ℓ = 0 in the map's unit squared.

    Raises
    ------
    ValueError
        If the weights are zero everywhere.

    Notes
    -----
    C_ℓ = Σ_m |ã_ℓm|²/[(2ℓ+1) ⟨w²⟩], ã being those of w × map by one quadrature (Hivon et al. 2002, ApJ 567, 2, without
    the coupling matrix): right to a per cent for ℓ ≤ 2 nside and weights that vary over more than 1/ℓ.
    """
    area = np.repeat(grid.weights, grid.nphi.astype(np.int64))
    total = float(weight @ area)
    if total <= 0.0:
        raise ValueError("the weights are zero everywhere")
    w2 = float(weight**2 @ area) / (4.0 * np.pi)
    mean = float((maps[0] * weight) @ area) / total
    rows = [adjoint_synthesis((maps[0] - mean) * weight, grid, lmax, weighted=True, nthreads=nthreads)]
    if len(maps) == 3:
        rows += list(adjoint_synthesis(maps[1:] * weight, grid, lmax, 2, weighted=True, nthreads=nthreads))
    return {key: cl / w2 for key, cl in alm_spectra(rows).items()}


def alm_spectra(rows: Sequence[NDArray] | NDArray) -> dict[str, NDArray]:
    """Raw spectra of one alm (TT), or of T, E and B (TT, EE, BB, TE), each (lmax+1,) from ℓ = 0."""
    wanted = {key: pair for key, pair in _SPECTRA.items() if max(pair) < len(rows)}
    return {key: alm_to_cl(rows[a], rows[b]) for key, (a, b) in wanted.items()}


def band_edges(lmax: int, bands: int = BANDS) -> NDArray[np.int64]:
    """Edges of about ten bands from ℓ = 2 to lmax, evenly spaced in √ℓ; band i holds edge_i ≤ ℓ < edge_(i+1).

    Raises
    ------
    ValueError
        If lmax is below 2.
    """
    if lmax < 2:
        raise ValueError(f"bands begin at ℓ = 2, and lmax is {lmax}")
    return np.unique(np.rint(np.linspace(np.sqrt(2.0), np.sqrt(lmax + 1.0), bands + 1) ** 2).astype(np.int64))


def band_table(
    spectra: Mapping[str, NDArray], scale: NDArray, edges: NDArray, *, name: str = "ell"
) -> dict[str, list[float] | list[int]]:
    """Spectra in bands: the mean of scale × C_ℓ, each ℓ counted 2ℓ+1 times.

    Parameters
    ----------
    spectra : mapping of array (lmax+1,)
    scale : array (lmax+1,)
        1 for C_ℓ, ℓ(ℓ+1)/2π for D_ℓ.
    edges : array (nbands+1,)
    name : str
        Of the columns of first and last multipole.

    Returns
    -------
    dict of list
        {name}_low, {name}_high, and a column for each spectrum.
    """
    modes = 2.0 * np.arange(len(scale)) + 1.0
    bands = list(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True))
    table: dict[str, Any] = {f"{name}_low": [a for a, _ in bands], f"{name}_high": [b - 1 for _, b in bands]}
    for key, cl in spectra.items():
        table[key] = [float(np.average((scale * cl)[a:b], weights=modes[a:b])) for a, b in bands]
    return table


def noise_floor(cl: NDArray, first: int) -> float:
    """White noise that would give the power of the multipoles from `first` on, µK·arcmin, if `cl` is in µK².

    No beam touches the noise of a map, so this is its noise where that rules the highest multipoles, else a bound.
    """
    modes = 2.0 * np.arange(len(cl)) + 1.0
    return float(np.sqrt(np.average(cl[first:], weights=modes[first:])) / ARCMIN)

"""Bytes of the stages after φ̂: band powers with their covariance, the split, pictures; see `memory`."""

from lensrec.arrays import complex_dtype
from lensrec.recipe import Recipe
from lensrec.sphere.alm import alm_size
from lensrec.stages.memory_parts import (
    ELL,
    analysis_tp_bytes,
    healpix,
    legs_bytes,
    read_alm_bytes,
    read_map_bytes,
    synthesis_tp_bytes,
)

Phases = dict[str, int]

_KINDS = 4
"""Coupling matrices of a mask: 00, 02, ++ and −−."""

_BANDS = 256
"""Correlation functions that `lensed_response` holds at a time."""


def bandpowers_phases(recipe: Recipe, nthreads: int) -> Phases:
    """What all maps share, and one map at a time."""
    sky, rec, asked = recipe.sky, recipe.reconstruction, recipe.bandpowers
    grid, rows = healpix(sky.nside), 3 if sky.polarisation else 1
    row = 8 * grid.npix
    c = complex_dtype(rec.precision).itemsize
    lmax = _last(recipe)
    lmax_sky = max(sky.lmax_data, lmax)
    masked, uneven = not recipe.mask.full_sky, recipe.instrument.hits is not None
    shared = row * (masked + uneven)
    out: Phases = {}
    kinds = _KINDS if sky.polarisation else 1
    kept = 0
    if masked or uneven:
        resolved = 3 * sky.nside - 1
        spectrum = row + analysis_tp_bytes(grid, resolved, 1, 16) + ELL * alm_size(resolved)
        out["spectrum of the mask"] = shared + 2 * row + spectrum
        shared += ELL * alm_size(resolved)
        wide, square = 8 * (lmax + 1) * (lmax_sky + 1), 8 * (lmax + 1) ** 2
        if masked:
            kept = kinds * wide
            # another set for the noise, of which two kinds are made anew
            out["couplings"] = shared + kept + kinds * wide + wide
        # those of signal, of noise, and of both, in turn; of a pair of spectra two outer products, their sum and a part
        out["covariance"] = shared + kept + kinds * square + 5 * square
    bands = min(_BANDS, len(asked.edges) * len(asked.spectra))
    top = max(lmax_sky, lmax)
    end = top + 1500
    nodes = (2 * end + top + max(end, 3000)) // 2 + 1
    # functions of the bands, as real and as paired complex rows, their products and projections
    out["lensing of the bands"] = shared + kept + 8 * nodes * bands * 6
    alm = c * rows * alm_size(lmax)
    out["read the map"] = shared + kept + read_map_bytes(grid.npix, rows)
    maps = rows * row
    shared += ELL * alm_size(lmax)
    if asked.splits > 1:
        noise = alm_size(sky.lmax_data)
        made = 2 * 16 * rows * noise + synthesis_tp_bytes(grid, sky.lmax_data, rows, 16)
        weight = row if masked or uneven else 0
        # the data, the sum so far, what is drawn, and the split itself
        out["draw a split"] = shared + kept + 2 * maps + weight + max(made, 4 * maps) + asked.splits * alm
        held = 4 * maps + weight + asked.splits * alm
        out["analyse a split"] = shared + kept + held + analysis_tp_bytes(grid, lmax, rows, c)
    else:
        out["analyse the map"] = shared + kept + maps + analysis_tp_bytes(grid, lmax, rows, c)
    # matplotlib, and figures of the band powers
    out["pictures"] = shared + kept + int(90e6)
    return out


def _last(recipe: Recipe) -> int:
    """Where the bands end that are decoupled: beyond those that are kept."""
    from lensrec.stages.bandpowers import _edges

    edges, _ = _edges(recipe, recipe.sky.nside)
    return int(edges[-1]) - 1


def split_phases(recipe: Recipe, nthreads: int) -> Phases:
    """CAMB, where ΛCDM is free; the surface of its cosmologies."""
    lmax = _last(recipe)
    values = 8 * (4 * (lmax + 1) + lmax + 2501)
    if recipe.split.cosmology == "fixed":
        return {"fit": 40 * values}
    # CAMB for a surface, as `camb_bytes` has it, in a process that has imported more
    return {"cosmologies": int(277e6 - 160e6), "fit": 43 * 5 * values * 2}


def view_phases(recipe: Recipe, nthreads: int) -> Phases:
    """Pictures of the first sky: maps, close-ups on finer pixels, and φ̂ beside φ."""
    sky = recipe.sky
    grid, rows = healpix(sky.nside), 3 if sky.polarisation else 1
    near = healpix(max(sky.nside, min(2 * sky.nside, 2048)))
    row = 8 * grid.npix
    c = complex_dtype(sky.precision).itemsize
    maps = rows * row
    read = maps + read_map_bytes(grid.npix, rows)
    primary = 2 * maps + read_alm_bytes(sky.lmax, rows, c)
    held = 2 * maps + c * rows * alm_size(sky.lmax)
    difference = held + 2 * row + legs_bytes(grid, sky.lmax, 1, c)
    close = held + row
    if near.npix > grid.npix:
        top = 2 * sky.nside
        finer = 8 * near.npix
        close += 3 * finer + max(
            analysis_tp_bytes(grid, top, 1, 16), 16 * alm_size(top) + legs_bytes(near, top, 1, 16) - finer
        )
    # what the whole sky's picture has left: its pixels, its figure, and matplotlib's fonts
    close += int(95e6)
    return {"read the maps": read, "read the sky": primary, "difference": difference, "close-ups": close}

"""Bytes that the optimal filter takes: to be set up, to be kept, and to solve for a map; see `memory_parts`."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lensrec.arrays import complex_dtype
from lensrec.filtering.multigrid import DEGREE, DENSE_SIZE, OVERLAP, SMALL
from lensrec.recipe import Recipe
from lensrec.sphere.alm import alm_size
from lensrec.stages.memory_parts import Rings, gauss_legendre, healpix, legs_bytes

_TEMPLATES = 4
"""Monopole and dipole, of T."""


@dataclass(frozen=True)
class _Filter:
    """One of T alone, of P alone, or of both: how many fields, maps and spins it has."""

    name: str
    fields: int
    spins: int

    @property
    def templates(self) -> int:
        """Maps of templates: one of T, or T, Q and U, for each mode."""
        return 0 if self.name == "P" else _TEMPLATES * self.fields


def _filters(parts: Sequence[str], keys: Sequence[str]) -> list[_Filter]:
    read = {field for key in parts for field in key}
    alone = [_Filter("T", 1, 1)] if "T" in read else []
    alone += [_Filter("P", 2, 1)] if "E" in read else []
    return alone + ([_Filter("TP", 3, 2)] if "GMV" in keys else [])


def _seen(recipe: Recipe) -> Rings:
    """The rings that hold a pixel that is observed."""
    grid = healpix(recipe.sky.nside)
    cut = recipe.mask.galactic_cut or 0.0
    share = 1.0 - float(np.sin(np.radians(cut)))
    # equidistant in cos θ about the equator
    return Rings(grid.rings - round(2 * recipe.sky.nside * 1.5 * (1.0 - share)), round(grid.npix * share))


def _levels(lmax: int, fields: int) -> tuple[int, int]:
    """Coefficients that are solved densely, and octaves above them."""
    if fields * (lmax + 1) ** 2 <= SMALL:
        return fields * (lmax + 1) ** 2, 0
    low = max(1, min(lmax // 2, int((DENSE_SIZE / fields) ** 0.5) - 1))
    count, edge = 1, lmax / 2.0
    while edge > max(2.0, OVERLAP * low):
        edge, count = edge / 2.0, count + 1
    return fields * (low + 1) ** 2, count


def _kept(recipe: Recipe, one: _Filter) -> int:
    """Templates, pixels, noise, the dense solution, and tapers of octaves."""
    rec = recipe.reconstruction
    lmax, c = max(rec.lmax_t, rec.lmax_p), complex_dtype(rec.precision).itemsize
    seen, r = _seen(recipe), complex_dtype(rec.precision).itemsize // 2
    size, octaves = _levels(lmax, one.fields)
    coarse = gauss_legendre(DEGREE * lmax).npix
    maps = (one.templates * r + 8 + one.spins * r) * seen.npix
    modes = (_TEMPLATES if one.templates else 0) * one.fields * c * alm_size(lmax)
    return maps + modes + 8 * size**2 + (1 + octaves) * one.spins * r * coarse


def optimal_filter_bytes(recipe: Recipe, parts: Sequence[str], keys: Sequence[str]) -> tuple[int, int]:
    """`optimal_filtering`: at its worst, and what it leaves."""
    rec = recipe.reconstruction
    lmax, grid, seen = max(rec.lmax_t, rec.lmax_p), healpix(recipe.sky.nside), _seen(recipe)
    coarse = gauss_legendre(DEGREE * lmax)
    # inverse noise of T and of P, even noise, the four templates
    outside = (16 + 8 + 32 + 9) * grid.npix
    kept, worst = 9 * grid.npix, 0
    for one in _filters(parts, keys):
        given = 8 * one.templates * grid.npix if one.fields == 3 else 0
        # templates where there are data, then orthonormal ones
        made = given + (8 * one.templates * 3 + 8 + 16 * one.fields) * seen.npix
        reach = 4 * lmax
        density = 5 * 8 * seen.npix + legs_bytes(seen, reach, 1, 16) + (16 + 16 + 8 + 8) * alm_size(reach)
        tapers = _kept(recipe, one) + max(density, 3 * 8 * coarse.npix + legs_bytes(coarse, reach, 1, 16))
        worst = max(worst, kept + outside + max(made, tapers))
        kept += _kept(recipe, one)
    return worst, kept


def optimal_solution_bytes(recipe: Recipe, parts: Sequence[str], keys: Sequence[str]) -> int:
    """A filtered map: conjugate gradients' vectors, and the transforms of the matrix or of its preconditioner."""
    rec = recipe.reconstruction
    lmax, c = max(rec.lmax_t, rec.lmax_p), complex_dtype(rec.precision).itemsize
    r, grid, seen = c // 2, healpix(recipe.sky.nside), _seen(recipe)
    coarse = gauss_legendre(DEGREE * lmax)
    maps = 8 * grid.npix * (3 if recipe.sky.polarisation else 1)
    found, worst = 0, 0
    for one in _filters(parts, keys):
        size, width = c * alm_size(lmax), 2 if one.fields > 1 else 1
        # data, right-hand side, x, residual, direction, its image, z
        vectors = (1 + 1 + 1 + 1 + 1 + 1) * one.fields * size
        observed = one.fields * r * seen.npix
        matrix = 3 * one.fields * size + width * r * seen.npix + legs_bytes(seen, lmax, width, c)
        octave = 3 * one.fields * r * coarse.npix + legs_bytes(coarse, lmax, width, c) + 3 * one.fields * size
        worst = max(worst, found + maps + observed + vectors + max(matrix, octave))
        found += one.fields * size
    return max(worst, 2 * maps)

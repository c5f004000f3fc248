"""Bytes that a run leaves on disk, by stage: FITS tables are exact arithmetic, text is left out."""

import numpy as np

from lensrec.arrays import complex_dtype
from lensrec.bias.n1 import sample_multipoles
from lensrec.recipe import Recipe
from lensrec.sphere.alm import alm_size
from lensrec.stages.setting import TTH, parts_of

_BLOCK = 2880
"""What FITS pads headers and data to."""


def alm_file(lmax: int, tables: int, c: int) -> int:
    """A file of `lensrec.sky.io.write_alm`: index, real and imaginary part of each coefficient."""
    return _BLOCK + tables * (_BLOCK + _padded((4 + c) * alm_size(lmax)))


def map_file(nside: int, columns: int, itemsize: int) -> int:
    """A file of `lensrec.sky.io.write_map`."""
    return 2 * _BLOCK + _padded(columns * itemsize * 12 * nside**2)


def disk_once(recipe: Recipe, stage: str) -> int:
    """What a stage leaves beside the products of each sky: the mask, Gaussian skies, the matrices of N1."""
    sky, rec = recipe.sky, recipe.reconstruction
    if stage == "simulate":
        return 0 if recipe.mask.full_sky else map_file(sky.nside, 1, 4)
    if stage != "reconstruct":
        return 0
    keys = [str(key) for key in rec.estimators]
    each = len(keys) * alm_file(rec.L_max, 2, 8)
    if rec.rdn0 == "simulations":
        read = {field for key in parts_of(recipe) for field in key}
        rows = len(read) + (3 if "GMV" in keys else 0)
        each += alm_file(max(rec.lmax_t, rec.lmax_p), rows, 8)
    total = rec.mean_field_sims * each
    linear = [key for key in keys if key != TTH]
    if rec.n1 != "none" and linear:
        lmax_lens = min(max(sky.lmax, rec.lmax_t, rec.lmax_p, rec.L_max), 2 * max(rec.lmax_t, rec.lmax_p))
        matrix = _BLOCK + _padded(8 * len(sample_multipoles(rec.L_max)) * (lmax_lens + 1))
        total += 2 * len(linear) * matrix
    return total


def disk_per_sky(recipe: Recipe, stage: str) -> int:
    """What a stage leaves of each sky."""
    sky, rec = recipe.sky, recipe.reconstruction
    rows, c = 3 if sky.polarisation else 1, complex_dtype(sky.precision).itemsize
    if stage == "simulate":
        alms = alm_file(sky.lmax, 1, c) + alm_file(sky.lmax, rows, c)
        return alms + 2 * map_file(sky.nside, rows, c // 2)
    if stage == "reconstruct":
        estimates = len(rec.estimators) * alm_file(rec.L_max, 2, complex_dtype(rec.precision).itemsize)
        return estimates + 2 * map_file(sky.nside, 1, 4)
    return 0


def _padded(size: int) -> int:
    return int(-(-size // _BLOCK) * _BLOCK)


def free_disk(path: str = ".") -> int:
    """Bytes that are free where a path is."""
    import shutil

    return int(np.int64(shutil.disk_usage(path).free))

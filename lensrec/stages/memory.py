"""The memory that a stage takes, predicted from its recipe before it starts.

`phases` lists what a stage goes through, and of each the arrays that are alive at its worst moment, counted where they
are made; the peak is the largest of them. To the arrays comes `BASE`: the interpreter, what is imported, compiled code,
and freed blocks that the allocator keeps. docs/memory.md holds the predictions to measured peaks.

A_ℓ = (ℓ+1)(ℓ+2)/2 coefficients of 16 bytes; a pixel is 8 bytes; half of both in single precision. Maps and
coefficients grow as nside² and ℓmax², legs of transforms as nside ℓmax.
"""

from collections.abc import Mapping

import numpy as np

from lensrec.arrays import complex_dtype, thread_count
from lensrec.recipe import Recipe, Sky
from lensrec.sphere.alm import alm_size
from lensrec.stages.memory_filter import optimal_filter_bytes, optimal_solution_bytes
from lensrec.stages.memory_parts import (
    ELL,
    analysis_tp_bytes,
    field_products_bytes,
    gauss_legendre,
    healpix,
    legs_bytes,
    legs_of,
    n1_bytes,
    products_bytes,
    read_alm_bytes,
    read_map_bytes,
    remap_bytes,
    synthesis_tp_bytes,
    write_alm_bytes,
    write_map_bytes,
)
from lensrec.stages.setting import MV, THEORY_STEP, TTH, parts_of

STAGES = ("simulate", "reconstruct", "bandpowers", "split", "view")

BASE = {"simulate": 255e6, "reconstruct": 295e6, "bandpowers": 240e6, "split": 320e6, "view": 140e6}
"""What the peaks of the cases of docs/memory.md at nside 256 and 512 are above their arrays, to 0.02 GB: interpreter,
modules, compiled code from numba's cache, and freed blocks. At nside 1024 and above they matter little."""

IMPORTED = 165e6
"""What is held where spectra are computed: nothing is compiled or allocated yet."""

COMPILED = 110e6
"""What numba added, its cache empty, to a process that made a remap and all products at ℓ ≤ 20; in no prediction."""

Phases = dict[str, int]


def peak_memory(recipe: Recipe, stage: str, *, nthreads: int = 0) -> int:
    """Bytes that the process takes at most which runs a stage and its tasks, resident, on the host.

    Parameters
    ----------
    recipe : Recipe
    stage : "simulate", "reconstruct", "bandpowers", "split" or "view"
    nthreads : int
        0: as many as this process may use.

    Raises
    ------
    ValueError
        For another stage.

    Notes
    -----
    Of lensrec's arrays in numpy; where a GPU lenses or estimates, the host holds less.
    """
    return max(phases(recipe, stage, nthreads=nthreads).values())


def task_memory(recipe: Recipe, stage: str, *, nthreads: int = 0) -> int:
    """The same of a worker that runs the stage's tasks, Gaussian skies among them, and nothing else."""
    found = phases(recipe, stage, nthreads=nthreads)
    return max(value for name, value in found.items() if name not in BEFORE_TASKS)


BEFORE_TASKS = (
    "theory",
    "mask",
    "N1",
    "set up the filter",
    "mean field",
    "spectrum of the mask",
    "couplings",
    "covariance",
    "lensing of the bands",
)
"""What a stage does once, in the process that hands out its tasks."""


def phases(recipe: Recipe, stage: str, *, nthreads: int = 0) -> Phases:
    """Bytes by what a stage is doing, `BASE` in each."""
    from lensrec.stages.memory_bandpowers import bandpowers_phases, split_phases, view_phases

    of = {
        "simulate": simulate_phases,
        "reconstruct": reconstruct_phases,
        "bandpowers": bandpowers_phases,
        "split": split_phases,
        "view": view_phases,
    }
    if stage not in of:
        raise ValueError(f"no memory is predicted for stage {stage!r}: there are {', '.join(STAGES)}")
    found = of[stage](recipe, thread_count(nthreads))
    return {name: int(BASE[stage] + value) for name, value in found.items() if value}


def simulate_phases(recipe: Recipe, nthreads: int) -> Phases:
    """One sky at a time, after the spectra."""
    sky = recipe.sky
    drawn, kept = draw_bytes(sky)
    rows, c, grid = rows_of(sky), complex_dtype(sky.precision).itemsize, healpix(sky.nside)
    row = grid.npix * 8
    shared = row * ((not recipe.mask.full_sky) + (recipe.instrument.hits is not None))
    maps, alm = rows * grid.npix * c // 2, c * rows * alm_size(sky.lmax_data)
    ell = ELL * alm_size(sky.lmax_data)
    on_grid = gauss_legendre(sky.lmax + lensing_reach_of(sky) + sky.lmax_data)
    out = {"theory": camb_bytes(recipe), "mask": 0 if recipe.mask.full_sky else mask_bytes(recipe)}
    out["draw"] = shared + drawn
    if sky.lensed:
        out["lens the map"] = shared + kept + remap_bytes(sky, rows, sky.lmax, grid)
        out["lens the grid"] = shared + kept + maps + remap_bytes(sky, rows, sky.lmax, on_grid)
        held = rows * on_grid.npix * c // 2 + legs_bytes(on_grid, sky.lmax_data, 1 if rows == 1 else 2, c)
        out["analyse the grid"] = shared + kept + maps + held + 2 * alm
    else:
        out["make the map"] = shared + kept + synthesis_tp_bytes(grid, sky.lmax, rows, c)
    out["observe"] = shared + kept + maps + alm + ell + observe_bytes(recipe)
    written = shared + kept + 2 * maps + ell
    out["write"] = written + max(
        write_alm_bytes(sky.lmax, rows, c),
        write_map_bytes(grid.npix, rows, c // 2),
    )
    return out


def rows_of(sky: Sky) -> int:
    """T, or T, Q and U."""
    return 3 if sky.polarisation else 1


def lensing_reach_of(sky: Sky) -> int:
    """How far the grid goes on that lensed skies are analysed on."""
    from lensrec.stages.simulate import lensing_reach

    return lensing_reach(sky.lmax)


def draw_bytes(sky: Sky) -> tuple[int, int]:
    """`draw_sky`: at its worst, when E joins T, and what it leaves: T, E, B, φ and the ℓ of a coefficient."""
    size = alm_size(sky.lmax)
    # φ, T, E, B, two unit Gaussians, one of them scaled, its factor, and ℓ
    drawn = (16 * 7 + 8 + ELL) * size
    c = complex_dtype(sky.precision).itemsize
    # T alone is a view of all three, where it is not converted
    rows = 3 if sky.polarisation or c == 16 else 1
    return drawn, (c * (rows + 1) + ELL) * size


def observe_bytes(recipe: Recipe) -> int:
    """`observe`, its result included: noise, sky and their sum, then maps; or two maps where noise is uneven."""
    sky = recipe.sky
    rows, c, grid = rows_of(sky), complex_dtype(sky.precision).itemsize, healpix(sky.nside)
    size = alm_size(sky.lmax_data)
    maps = rows * grid.npix * c // 2
    noise, observed = 48 * size, c * rows * size
    drawing = 2 * noise + 24 * size
    made = synthesis_tp_bytes(grid, sky.lmax_data, rows, c)
    if recipe.instrument.hits is None:
        return max(drawing, noise + observed + max(16, c) * rows * size + made)
    return max(drawing, noise + observed + c * rows * size + maps + made)


def camb_bytes(recipe: Recipe) -> int:
    """CAMB's sources, transfers and Bessel functions, beside `BASE`.

    Measured with CAMB 2.0 in fresh processes: at lmax 4000 and lens_potential_accuracy 1, 2 and 4 its peak is 0.16,
    0.28 and 0.51 GB above what was imported; at lmax 8000 it is 0.09 GB higher.
    """
    rec = recipe.reconstruction
    lmax = max(recipe.sky.lmax, rec.lmax_t, rec.lmax_p, rec.L_max)
    computed = -(-lmax // THEORY_STEP) * THEORY_STEP
    peak = 49e6 + 114e6 * recipe.cosmology.lens_potential_accuracy + 22e3 * (computed - THEORY_STEP)
    return int(peak - (BASE["simulate"] - IMPORTED))


def mask_bytes(recipe: Recipe) -> int:
    """`mask_of`: weights, holes, and the order of pixels; near edges their vectors and distances."""
    npix = healpix(recipe.sky.nside).npix
    near = min(1.0, recipe.mask.apodisation / 90.0 + 2.0 / 90.0) if recipe.mask.apodisation else 0.0
    return int(npix * (8 + 8 + 8 + 2 + 56 * near))


def reconstruct_phases(recipe: Recipe, nthreads: int) -> Phases:
    """What all skies share, Gaussian skies, and one sky at a time."""
    sky, rec = recipe.sky, recipe.reconstruction
    grid, rows = healpix(sky.nside), rows_of(sky)
    parts = parts_of(recipe, temperature_only=not sky.polarisation)
    keys = [str(key) for key in rec.estimators]
    asked = [key for key in keys if key != TTH]
    shared = grid.npix * 8 * ((not recipe.mask.full_sky) + (recipe.instrument.hits is not None))
    out: Phases = {}
    if rec.n1 != "none" and asked:
        out["N1"] = shared + n1_bytes(recipe, asked, nthreads=nthreads)
    lmax, c = max(rec.lmax_t, rec.lmax_p), complex_dtype(rec.precision).itemsize
    ell = ELL * (alm_size(lmax) + (alm_size(rec.L_max) if rec.L_max != lmax else 0))
    shared += ell
    if rec.filter == "optimal":
        setup, kept = optimal_filter_bytes(recipe, parts, keys)
        out["set up the filter"] = shared + setup
        shared += kept
    if rec.mc_response != "none":
        out |= _response_phases(recipe, parts, keys, shared, nthreads)
    kept_fields = 0
    if rec.mean_field_sims:
        out |= _gaussian_phases(recipe, parts, keys, shared, nthreads)
        # halves of the mean field of each estimator
        size = alm_size(rec.L_max)
        kept_fields = 32 * size * len(keys)
        one = 2 * 8 * size
        out["mean field"] = shared + kept_fields + read_alm_bytes(rec.L_max, 2, 8) + 4 * one
        shared += kept_fields
    out["read the map"] = shared + read_map_bytes(grid.npix, rows)
    data = rows * grid.npix * 8
    out |= _estimate_phases(recipe, parts, keys, shared + data, rows, nthreads)
    if rec.rdn0 == "simulations":
        held = shared + data + c * (2 * alm_size(rec.L_max) * len(keys) + 3 * alm_size(lmax))
        out |= _pair_phases(recipe, parts, keys, held, nthreads)
    estimates = 2 * c * alm_size(rec.L_max) * len(keys)
    held = shared + data + estimates
    stored_phi = complex_dtype(sky.precision).itemsize
    out["read φ"] = held + read_alm_bytes(sky.lmax, 1, stored_phi)
    held += stored_phi * alm_size(sky.lmax) + 2 * ELL * alm_size(sky.lmax)
    clean = 2 * estimates if kept_fields else 0
    kappa = 3 * c * alm_size(rec.L_max) + grid.npix * c // 2 + legs_bytes(grid, rec.L_max, 1, c)
    out["write"] = held + clean + max(write_alm_bytes(rec.L_max, 2, c) + 2 * c * alm_size(rec.L_max), kappa)
    return out


def _estimate_phases(
    recipe: Recipe, parts: list[str], keys: list[str], held: int, rows: int, nthreads: int, *, maps_kept: bool = True
) -> Phases:
    """From maps, which are among what is held, to estimates."""
    rec = recipe.reconstruction
    grid, c, lmax = healpix(recipe.sky.nside), complex_dtype(rec.precision).itemsize, max(rec.lmax_t, rec.lmax_p)
    size, result = c * alm_size(lmax), c * alm_size(rec.L_max)
    out: Phases = {}
    if rec.filter == "optimal":
        out["filter"] = held + optimal_solution_bytes(recipe, parts, keys)
    else:
        copy = rows * grid.npix * 4 if c == 8 else 0
        out["analyse the map"] = held + copy + analysis_tp_bytes(grid, lmax, rows, c)
        # the coefficients, deconvolved, and filtered
        joint = rows if "GMV" in keys else 0
        out["filter"] = held + (3 * rows + joint) * size
    separate = {field for key in parts for field in key}
    legs = len(separate) * size + (3 * size if "GMV" in keys else 0)
    held += legs
    found = 0
    if parts:
        out["products"] = held + products_bytes(
            legs_of(parts, rec.lmax_t, rec.lmax_p), len(parts), rec.L_max, c, nthreads=nthreads
        )
        found = 2 * result * len(parts)
    if "GMV" in keys:
        wiener = 2 * size
        made = products_bytes(legs_of(["GMV"], rec.lmax_t, rec.lmax_p), 1, rec.L_max, c, nthreads=nthreads)
        out["products of GMV"] = held + found + wiener + made
        found += 2 * result
    if TTH in keys:
        out["products of TTH"] = held + found + field_products_bytes(len(rec.harden), lmax, rec.L_max, c)
        found += 2 * result
    # each φ̂ and Ω̂, and of MV the parts of its sum
    out["normalise"] = held + found + 2 * result * len(keys) + (10 if MV in keys else 2) * result
    return out


def _gaussian_phases(recipe: Recipe, parts: list[str], keys: list[str], shared: int, nthreads: int) -> Phases:
    """A Gaussian sky: drawn to the data's band limit, observed, filtered, estimated, written."""
    sky = recipe.sky
    grid, rows = healpix(sky.nside), rows_of(sky)
    size = alm_size(sky.lmax_data)
    shared += ELL * size
    maps = rows * grid.npix * 8
    out = {"Gaussian sky: draw": shared + (16 * 7 + 8) * size}
    # T, E, B and those observed; with uneven noise a second time, and a map beside
    made = synthesis_tp_bytes(grid, sky.lmax_data, rows, 16)
    uneven = maps if recipe.instrument.hits is not None else 0
    out["Gaussian sky: map"] = shared + 48 * size + 2 * 16 * rows * size + made + uneven
    held = shared + 48 * size + maps
    inner = _estimate_phases(recipe, parts, keys, held, rows, nthreads)
    out |= {f"Gaussian sky: {name}": value for name, value in inner.items()}
    return out


def _pair_phases(recipe: Recipe, parts: list[str], keys: list[str], held: int, nthreads: int) -> Phases:
    """Pairs for RDN0: a batch of skies, their products with the data and with each other."""
    rec = recipe.reconstruction
    c, lmax = 8, max(rec.lmax_t, rec.lmax_p)
    size, result = c * alm_size(lmax), 16 * alm_size(rec.L_max)
    batch = batch_of(recipe, parts, keys)
    sets, pairs = batch + 2, 2 * batch
    fields = len({field for key in parts for field in key}) + (3 if "GMV" in keys else 0)
    held += sets * fields * size
    out: Phases = {}
    found = 0
    if parts:
        legs = legs_of(parts, rec.lmax_t, rec.lmax_p)
        out["RDN0 products"] = held + products_bytes(
            legs, pairs * len(parts), rec.L_max, 16, nthreads=nthreads, sets=sets
        )
        found += 2 * pairs * len(parts) * result
    if "GMV" in keys:
        legs = legs_of(["GMV"], rec.lmax_t, rec.lmax_p)
        made = products_bytes(legs, pairs, rec.L_max, 16, nthreads=nthreads, sets=sets)
        out["RDN0 products of GMV"] = held + found + 2 * sets * size + made
        found += 2 * pairs * result
    out["RDN0 spectra"] = held + found + 2 * pairs * len(keys) * result
    return out


def batch_of(recipe: Recipe, parts: list[str], keys: list[str]) -> int:
    """`SimulatedPairs.batch` for one map."""
    from lensrec.stages.debias import BATCH_BYTES

    lmax = max(recipe.reconstruction.lmax_t, recipe.reconstruction.lmax_p)
    legs = (15 if parts else 0) + (11 if "GMV" in keys else 0)
    pairs = 4 * (len(parts) + ("GMV" in keys))
    room = BATCH_BYTES / (8.0 * (lmax + 2) ** 2) - 2 * legs
    batch = int(np.clip(room / (legs + pairs), 1, 8))
    return min(batch, recipe.reconstruction.mean_field_sims)


def _response_phases(recipe: Recipe, parts: list[str], keys: list[str], shared: int, nthreads: int) -> Phases:
    """A pair of skies for the response: drawn, lensed, observed and estimated, the estimate of the first beside."""
    sky, rec = recipe.sky, recipe.reconstruction
    rows, c, grid = 3 if sky.polarisation else 1, complex_dtype(sky.precision).itemsize, healpix(sky.nside)
    drawn, kept = draw_bytes(sky)
    size, result = alm_size(sky.lmax_data), complex_dtype(rec.precision).itemsize * alm_size(rec.L_max)
    on_grid = gauss_legendre(sky.lmax + lensing_reach_of(sky) + sky.lmax_data)
    held = shared + kept + c * alm_size(sky.lmax) + ELL * size + 2 * result * len(keys)
    alm, maps = c * rows * size, rows * grid.npix * c // 2
    out = {"response: draw": shared + drawn, "response: lens": held + remap_bytes(sky, rows, sky.lmax, on_grid)}
    out["response: map"] = held + 2 * alm + synthesis_tp_bytes(grid, sky.lmax_data, rows, c)
    inner = _estimate_phases(recipe, parts, keys, held + 2 * alm + maps, rows, nthreads)
    return out | {f"response: {name}": value for name, value in inner.items()}


def mapping_of(found: Mapping[str, int]) -> str:
    """The name of the largest."""
    return max(found, key=lambda name: found[name])

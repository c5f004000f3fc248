"""Bytes that the parts of a stage take: harmonic transforms, the remap, products of legs, N1, and files.

Each function counts the arrays that its namesake holds at its worst moment, beside its arguments. A_ℓ stands for
`alm_size`, c for the 16 bytes of a complex number (8 in single precision), r for c/2. What a library allocates within
itself was measured, and is a constant here; a comment says how.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import ducc0
import numpy as np

from lensrec.bias.n1 import _ring_count, default_spacing, lattice_for, sample_multipoles
from lensrec.quadratic.estimators import _terms
from lensrec.quadratic.products import GMV, Product
from lensrec.recipe import Recipe, Sky
from lensrec.sphere.alm import alm_size
from lensrec.sphere.gridding import gridding
from lensrec.sphere.legendre_sums import CHUNK
from lensrec.sphere.lensing_map import _BAND_ROWS
from lensrec.sphere.remap import SINGLE_EPSILON
from lensrec.sphere.ring_products import _PAIRS, _ROWS, _blocks, order_limit

ELL = 4
"""Bytes of the ℓ of a coefficient, which `alm_ell` keeps; the order m of `alm_m` takes as many."""

LONGEST_DEFLECTION = 3.5e-3
"""Radians: what a lens of ΛCDM reaches anywhere on the sky, at a_phi = 1."""

# Of astropy's tables and healpy, in bytes a coefficient or a pixel: from the peak of single calls in fresh processes,
# at ℓ ≤ 700, 1500, 3000 and nside 256, 1024. What is proportional to the size of the file is its pages, mapped.
_READ_ALM = {8: (26, 20), 16: (34, 36)}
_WRITE_ALM = {8: (32, 12), 16: (44, 20)}
_READ_MAP = {1: 60, 3: 76}


def read_alm_bytes(lmax: int, rows: int, c: int) -> int:
    """`lensrec.sky.io.read_alm`, its result included."""
    fixed, each = _READ_ALM[c]
    return (fixed + each * rows) * alm_size(lmax)


def write_alm_bytes(lmax: int, rows: int, c: int) -> int:
    """`lensrec.sky.io.write_alm`."""
    fixed, each = _WRITE_ALM[c]
    return (fixed + each * rows) * alm_size(lmax)


def read_map_bytes(npix: int, rows: int) -> int:
    """`lensrec.sky.io.read_map`, its result included."""
    return _READ_MAP[rows] * npix


def write_map_bytes(npix: int, rows: int, itemsize: int) -> int:
    """`lensrec.sky.io.write_map`: a row of the table and its bytes turned about, and one column."""
    return itemsize * (2 * rows + 1) * npix


@dataclass(frozen=True)
class Rings:
    """A grid by its number of rings and of pixels."""

    rings: int
    npix: int


def healpix(nside: int) -> Rings:
    """HEALPix."""
    return Rings(4 * nside - 1, 12 * nside**2)


def gauss_legendre(degree: int) -> Rings:
    """`gauss_legendre_grid`, without making it."""
    rings = degree // 2 + 1
    return Rings(rings, rings * ducc0.fft.good_size(degree + 1, True))


def legs_bytes(grid: Rings, lmax: int, rows: int, c: int) -> int:
    """What ducc0 holds within a synthesis or its adjoint: F_m(θ) of every ring and order; maps are others' arrays."""
    return rows * grid.rings * (lmax + 1) * c


def synthesis_tp_bytes(grid: Rings, lmax: int, rows: int, c: int) -> int:
    """`synthesis_tp`, its result included: the legs of Q and U beside all maps, or these once more, in one piece."""
    maps = rows * grid.npix * c // 2
    widest = 1 if rows == 1 else 2
    return max(maps + legs_bytes(grid, lmax, widest, c), 2 * maps)


def analysis_tp_bytes(grid: Rings, lmax: int, rows: int, c: int, *, iterations: int = 3) -> int:
    """`analysis_tp`, its result included: in each iteration the last residual, a new map, and legs or a difference."""
    size, r = c * alm_size(lmax), c // 2
    peaks = []
    for kept, width in ((0, 1),) if rows == 1 else ((0, 1), (1, 2)):
        row = r * grid.npix * width
        legs = legs_bytes(grid, lmax, width, c)
        moments = [legs + size * width]
        if iterations:
            last = row if iterations > 1 else 0
            # a map from coefficients; its difference from the data; coefficients from that
            moments += [last + row + legs + size * width, last + 2 * row + size * width, row + legs + 2 * size * width]
        peaks.append(max(moments) + kept * size)
    return max(*peaks, 2 * rows * size)


def remap_bytes(sky: Sky, rows: int, lmax: int, grid: Rings) -> int:
    """`remap_tp`, its result included, beside T, E, B and φ.

    First the deflection, by halves of the rings, then the samples that the fields are read off between, F_m at the rows
    of `gridding` and a band of samples. Of three maps in double precision the deflection lies in two.
    """
    single = sky.precision == "single" and sky.epsilon >= SINGLE_EPSILON
    c = 8 if single else 16
    out = rows * grid.npix * c // 2
    field = 0 if rows == 3 and not single else 16 * grid.npix
    # √(L(L+1)) φ, its other component is never written; half of the rings
    deflection = 16 * alm_size(lmax) * (1 if sky.precision == "double" else 2) + 16 * grid.npix
    deflection += legs_bytes(Rings(grid.rings // 2 + 1, 0), lmax, 2, 16)
    plan = gridding(lmax, sky.epsilon)
    far = LONGEST_DEFLECTION * sky.a_phi**0.5 / np.pi * plan.rows
    height = max(_BAND_ROWS, int(2.0 * far)) + int(2.0 * far) + plan.width + 3
    legs = rows * (plan.rows + 1) * (lmax + 1) * c
    samples = rows * height * (plan.columns + 2 * plan.width) * c // 2
    beyond_poles = rows * height * (lmax + 1) * c
    return max(deflection, out + field + legs + samples + beyond_poles)


@dataclass(frozen=True)
class Leg:
    """A leg as `vector_products` takes it: fields of a spin each, all of one lmax."""

    lmax: int
    spins: tuple[int, ...]

    @property
    def components(self) -> int:
        """Real numbers at a point."""
        return sum(2 if spin else 1 for spin in self.spins)


def legs_of(parts: Sequence[str], lmax_t: int, lmax_p: int) -> list[Leg]:
    """The legs of several estimators that share them."""
    weights = {key: np.ones(1) for key in ("TT", "TE", "EE")} | {"BB": np.zeros(1)}
    names: dict[tuple, Leg] = {}
    joint = GMV in parts
    for key in parts:
        for _, (_, plain), _, (_, gradient) in _terms(key, weights, 0, 0, symmetrise=False):
            names["plain", plain] = _leg(plain, joint, lmax_t, lmax_p)
            names["gradient", gradient] = _leg(gradient, joint, lmax_t, lmax_p)
    return list(names.values())


def _leg(what: str | Product, joint: bool, lmax_t: int, lmax_p: int) -> Leg:
    source = what.source if isinstance(what, Product) else what
    lmax = max(lmax_t, lmax_p) if joint else lmax_t if source == "T" else lmax_p
    if isinstance(what, Product):
        return Leg(lmax, (3, 1) if what.polarised else (1,))
    return Leg(lmax, (0,) if what == "T" else (2,))


def products_bytes(legs: Sequence[Leg], outputs: int, lmax: int, c: int, *, nthreads: int, sets: int = 1) -> int:
    """`vector_products`, its result included, for the legs of so many sets of maps.

    Coefficients of legs and of sums over rings, in double precision always, both for a block of rings, and the pixels
    of a few rings for each thread.
    """
    legs = [leg for leg in legs for _ in range(sets)]
    source = max(leg.lmax for leg in legs)
    spins = [spin for leg in legs for spin in leg.spins]
    components = sum(leg.components for leg in legs)
    blocks = _blocks(2 * source + lmax, _PAIRS[0 if components + 2 * outputs <= 8 else 1])
    polar = [block for block in blocks if block.polar]
    low = [spin for spin in spins if spin < 2 or len(polar) < len(blocks)]
    count = sum(2 if spin else 1 for spin in low)
    pairs = max(len(block.theta) for block in blocks)
    held = sums_bytes(source + max(low, default=0), source, 0, count) + 32 * (source + 1) * count * pairs
    mmax = order_limit(source, float(polar[-1].theta[-1]))
    at, high = count, sorted({spin for spin in spins if spin >= 2})
    for spin in high:
        same = spins.count(spin)
        held += sums_bytes(source, mmax, spin, same)
        at += 2 * same
    if high:
        held += 32 * (mmax + 1) * at * max(len(block.theta) for block in polar)
    sums = sums_bytes(lmax + 1, lmax, 0, 2 * outputs) + 32 * (lmax + 1) * 2 * outputs * pairs
    longest = ducc0.fft.good_size(2 * source + lmax + 1, True)
    pixels = (components + 2 * outputs) * 2 * _ROWS * longest * c // 2 + 4 * _ROWS * (longest // 2 + 1) * c
    result = outputs * 2 * alm_size(lmax) * c
    return max(held + sums + nthreads * pixels, sums + result)


def sums_bytes(lmax: int, mmax: int, spin: int, count: int) -> int:
    """Coefficients and recursions of `ring_products._Sums`."""
    first = np.maximum(np.arange(mmax + 1), spin)
    chunks = int((np.maximum(lmax - first, 0) // CHUNK + 1).sum())
    return 8 * chunks * 2 * count * CHUNK + (0 if spin or not count else 8 * chunks * CHUNK)


def field_products_bytes(fields: int, source: int, lmax: int, c: int) -> int:
    """`field_estimates` of TT: maps of two legs, one kept for the next field, a term of their product, and the sum."""
    grid = gauss_legendre(2 * source + lmax)
    row = grid.npix * c // 2
    kept = 1 if fields > 1 else 0
    return max((4 + kept) * row, (2 + kept) * row + legs_bytes(grid, max(source, lmax), 1, c))


def n1_bytes(recipe: Recipe, keys: Sequence[str], *, nthreads: int) -> int:
    """`n1_bias`, of φ and Ω in turn: weights of an estimator on the lattice, and the transforms of all."""
    rec = recipe.reconstruction
    lmax = max(rec.lmax_t, rec.lmax_p)
    lmax_lens = min(max(recipe.sky.lmax, lmax, rec.L_max), 2 * lmax)
    lattice = lattice_for(lmax, lmax_lens, default_spacing(lmax))
    fields = 1 if keys == ["TT"] else 2 if set(keys) <= {"EE", "EB"} else 3
    rows = 4 * (fields * (fields + 1) // 2) + 2 * fields**2
    weights = 8 * rows * lattice.n**2
    transforms = len(keys) * 16 * rows * lattice.n * (lattice.n // 2 + 1)
    step = 0.5 / (lmax_lens + 0.5)
    count, multipoles = _ring_count(lattice, step), len(sample_multipoles(rec.L_max))
    rings = 16 * len(keys) * multipoles * count
    # some 512 columns of J₀ and J₂ at a time for each thread, and what makes them
    columns = -(-(lmax_lens + 1) // (lmax_lens // 512 + 1))
    bessel = 7 * 8 * count * columns * nthreads
    matrices = 8 * len(keys) * multipoles * (lmax_lens + 1)
    return 2 * matrices + rings + max(weights + transforms, bessel + 2 * matrices)

"""Functions of several fields at every point of the sphere, analysed as vector fields, a block of rings at a time.

Nothing of the size of a map is ever made. Fields are summed over ℓ for a block of ring pairs, each λ_ℓm serving all of
them (`legendre_sums`, `ring_coefficients`); a few rings at a time they are Fourier transformed to pixels, multiplied,
and transformed back, while they are in the cache; and the results are added to the sums over rings.

Rings get shorter towards the poles: λ_ℓm(θ) is negligible for m beyond ℓ sin θ by more than some widths of the turning
point (`order_limit`), so that a product has fewer orders to be kept from aliasing there.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import pairwise

import ducc0
import numpy as np
from numpy.typing import NDArray

from lensrec.arrays import real_dtype, thread_count
from lensrec.sphere.alm import alm_size, lmax_of

_PAIRS = (256, 128)
"""Pairs of rings in a block of few and of many fields: more would leave a core's first cache, or take much memory."""

_GRANULE = 32
"""Blocks are multiples of this many pairs, which compiled loops go through without a remainder."""

_ROWS = 8
"""Pairs of rings that are Fourier transformed and multiplied at a time; they stay in the last cache."""

_POLAR = 0.1
"""Blocks that start at a smaller θ sum ₛλ itself for s ≥ 2; beyond, sin^−s θ costs three digits of sixteen at most."""


@dataclass(frozen=True, eq=False)
class Field:
    """A spin-s field of one real potential.

    Attributes
    ----------
    alm : array (nalm,), complex
    scale : array (lmax+1,)
        Multiplies a_ℓm.
    spin : int ≥ 0
    curl : bool
        The coefficients are of curl (B) type; else of gradient (E) type. False for spin 0.
    """

    alm: NDArray
    scale: NDArray[np.float64]
    spin: int
    curl: bool = False

    @property
    def lmax(self) -> int:
        """Highest multipole."""
        return lmax_of(self.alm.shape[-1])

    @property
    def components(self) -> int:
        """1 for spin 0, else 2: real and imaginary part."""
        return 2 if self.spin else 1


@dataclass(frozen=True)
class Block:
    """Pairs of rings of a Gauss–Legendre grid, given by the northern ones.

    Attributes
    ----------
    theta : array (n,)
    weight : array (n,)
        2π times the quadrature weight; half of it for the equator, which is paired with itself, and zero for rings
        that only fill up a block.
    polar : bool
        Whether it is near the pole, where ₛλ itself is summed for s ≥ 2.
    """

    theta: NDArray[np.float64]
    weight: NDArray[np.float64]
    polar: bool


def order_limit(lmax: int, theta: float) -> int:
    """The m beyond which λ_ℓm(θ) is negligible for all ℓ ≤ lmax.

    Beyond the turning point x = (ℓ + ½) sin θ, λ falls like Ai((2/x)^{1/3} (m − x)); at m = x + 14 x^{1/3} it is below
    1e-18 of its size before, and 14 more orders cover small x, where it falls like (x/2)^m/m!.
    """
    x = (lmax + 0.5) * np.sin(theta)
    return int(min(lmax, np.ceil(x + 14.0 * np.cbrt(x) + 14.0)))


def vector_products(
    fields: Sequence[Field],
    multiply: Callable[[NDArray, NDArray], None],
    outputs: int,
    lmax: int,
    *,
    scale: NDArray[np.float64] | None = None,
    nthreads: int = 0,
) -> NDArray:
    """Gradient and curl coefficients, up to lmax, of vector fields that are bilinear in some fields.

    Parameters
    ----------
    fields : sequence of Field
    multiply : function of two arrays, (components of all fields, n) and (2 outputs, n)
        Writes into the second the real and imaginary parts of the vector fields at n points, given the fields there.
        Called by several threads at once.
    outputs : int
        Number of vector fields.
    lmax : int
    scale : array (lmax+1,), optional
        Multiplies the result.
    nthreads : int

    Returns
    -------
    array (outputs, 2, nalm), complex, in the precision of the fields.
        Exact up to rounding: the Gauss–Legendre quadrature is, for products of two fields, and ₛY is summed in double
        precision; products and Fourier transforms are in the precision of the fields.
    """
    from lensrec.sphere.ring_coefficients import vector_alm

    threads = thread_count(nthreads)
    dtype = np.result_type(*(field.alm.dtype for field in fields))
    source = max(field.lmax for field in fields)
    few = sum(field.components for field in fields) + 2 * outputs <= 8
    blocks = _blocks(2 * source + lmax, _PAIRS[0] if few else _PAIRS[1])
    scale = np.ones(lmax + 1) if scale is None else scale
    with ThreadPoolExecutor(threads) as pool:

        def share(function: Callable[[NDArray], None], count: int) -> None:
            # Interleaved, since the number of ℓ falls with m, and the length of rings with θ
            list(pool.map(function, [np.arange(t, count, threads) for t in range(threads)]))

        legs = _Legs(fields, blocks, share)
        sums = _Sums(lmax + 1, lmax, 0, 2 * outputs)
        space = _aligned(lmax + 1, 2 * outputs, 4, max(len(block.theta) for block in blocks))
        for block in blocks:
            orders = order_limit(lmax, block.theta[-1]) + 1
            rows, projected = legs.at(block, share), _rings_of(space, len(block.theta))[:orders]
            multiplied = partial(
                _multiply_rings,
                block=block,
                rows=rows,
                fields=fields,
                multiply=multiply,
                projected=projected,
                lmax=lmax,
                dtype=real_dtype(dtype),
            )
            share(multiplied, len(block.theta) // _ROWS)
            share(partial(sums.evaluate, block.theta, sums=projected, adjoint=True), orders)
        del legs, rows, multiplied
        alm = np.empty((outputs, 2, alm_size(lmax)), dtype=dtype)
        for i in range(outputs):
            share(partial(vector_alm, *sums.coefficients, 2 * i, lmax, scale, alm[i]), lmax + 1)
    return alm


class _Sums:
    """Coefficients of `count` fields of one spin for `legendre_sums.sums_over_l`, up to (lmax, mmax)."""

    def __init__(self, lmax: int, mmax: int, spin: int, count: int) -> None:
        from lensrec.sphere.legendre_sums import CHUNK, norms, scalar_recursions

        first = np.maximum(np.arange(mmax + 1), spin)
        chunks = (np.maximum(lmax - first, 0)) // CHUNK + 1
        self.offset = np.concatenate([[0], np.cumsum(chunks * (2 * count * CHUNK))])
        self.values = np.zeros(self.offset[-1])
        self.norm, self.spin, self.count = norms(mmax, spin), spin, count
        self.table = np.empty((2, 0 if spin else self.offset[-1] // (4 * count) if count else 0))
        if self.table.size:
            scalar_recursions(self.offset, count, self.table)
        self.coefficients = (self.values, self.offset, count)

    def evaluate(self, theta: NDArray, orders: NDArray, sums: NDArray, at: int = 0, adjoint: bool = False) -> None:
        """Sums over ℓ, or with `adjoint` over rings; over ₛλ at place `at` and, for s > 0, over ₋ₛλ after them."""
        from lensrec.sphere.legendre_sums import sums_over_l

        for i, spin in enumerate((self.spin, -self.spin) if self.spin else (0,)):
            place = at + i * self.count
            sums_over_l(
                self.values, self.offset, self.count, spin, self.norm, self.table, theta, orders, sums, place, adjoint
            )


class _Legs:
    """Fields as scalar sums over ℓ and, near the poles, those of spin ≥ 2 as sums over ₛλ."""

    def __init__(self, fields: Sequence[Field], blocks: Sequence[Block], share: Callable) -> None:
        from lensrec.sphere.ring_coefficients import store_scalars, store_spins

        polar = [block for block in blocks if block.polar]
        self.fields, self.lmax = fields, max(f.lmax for f in fields)
        self.components = sum(f.components for f in fields)
        self.scalar_places: dict[int, int] = {}
        self.spin_places: dict[int, int] = {}
        low = [f for f in fields if f.spin < 2 or len(polar) < len(blocks)]
        count = sum(f.components for f in low)
        self.scalars = _Sums(self.lmax + max((f.spin for f in low), default=0), self.lmax, 0, count)
        at = 0
        for f in low:
            share(
                partial(store_scalars, f.alm, f.scale, f.lmax, f.spin, f.curl, *self.scalars.coefficients, at),
                f.lmax + 1,
            )
            self.scalar_places[id(f)] = at
            at += f.components
        self.spins = []
        mmax = order_limit(self.lmax, polar[-1].theta[-1])
        for spin in sorted({f.spin for f in fields if f.spin >= 2}):
            same = [f for f in fields if f.spin == spin]
            sums = _Sums(self.lmax, mmax, spin, len(same))
            for i, f in enumerate(same):
                share(
                    partial(store_spins, f.alm, f.scale, f.lmax, f.spin, *sums.coefficients, i), min(f.lmax, mmax) + 1
                )
                self.spin_places[id(f)] = at + i
            self.spins.append((sums, at))
            at += 2 * len(same)
        self.space = _aligned(self.lmax + 1, count, 4, max(len(block.theta) for block in blocks))
        self.polar_space = _aligned(mmax + 1, at, 4, max(len(block.theta) for block in polar)) if self.spins else None

    def at(self, block: Block, share: Callable) -> Callable[[Field, int, int, NDArray], None]:
        """Sum over ℓ for a block; the function that is returned writes Fourier coefficients of some of its rings."""
        from lensrec.sphere.ring_rows import scalar_rows, spin_rows

        orders = order_limit(self.lmax, block.theta[-1]) + 1
        near = self.polar_space is not None and block.polar
        space = self.polar_space if near and self.polar_space is not None else self.space
        sums = _rings_of(space, len(block.theta))[:orders]

        def evaluate(m: NDArray) -> None:
            self.scalars.evaluate(block.theta, m, sums)
            for spin_sums, place in self.spins if near else ():
                spin_sums.evaluate(block.theta, m, sums, place)

        share(evaluate, orders)
        cosine, sine = np.cos(block.theta), np.sin(block.theta)
        factors = {f.spin: sine**-f.spin for f in self.fields}

        def rows(field: Field, start: int, limit: int, out: NDArray) -> None:
            if near and field.spin >= 2:
                place = self.spin_places[id(field)]
                minus = place + sum(f.spin == field.spin for f in self.fields)
                spin_rows(sums, place, minus, field.spin, field.curl, start, limit, out[0], out[1])
                return
            for i in range(field.components):
                at = self.scalar_places[id(field)] + i
                scalar_rows(sums, at, start, limit, cosine, factors[field.spin], out[i])

        return rows


def _multiply_rings(
    groups: NDArray,
    block: Block,
    rows: Callable,
    fields: Sequence[Field],
    multiply: Callable[[NDArray, NDArray], None],
    projected: NDArray,
    lmax: int,
    dtype: np.dtype,
) -> None:
    """Some groups of rings of a block: to pixels, through `multiply`, and back to orders m, in `projected`."""
    from lensrec.sphere.ring_rows import rows_to_sums

    source, components, outputs = max(f.lmax for f in fields), sum(f.components for f in fields), projected.shape[1]
    limits = {
        group: (order_limit(source, theta), order_limit(lmax, theta))
        for group in groups
        for theta in [block.theta[(group + 1) * _ROWS - 1]]
    }
    lengths = {g: ducc0.fft.good_size(2 * limit + limit_out + 1, True) for g, (limit, limit_out) in limits.items()}
    longest = max(lengths.values(), default=0)
    pixels = np.empty((components + outputs) * 2 * _ROWS * longest, dtype=dtype)
    spectra = np.empty(4 * _ROWS * (longest // 2 + 1), dtype=np.result_type(dtype, np.complex64))
    cosine, sine = np.cos(block.theta), np.sin(block.theta)
    for group in groups:
        start, nphi, (limit, limit_out) = int(group) * _ROWS, lengths[group], limits[group]
        both = pixels[: (components + outputs) * 2 * _ROWS * nphi].reshape(-1, 2 * _ROWS, nphi)
        legs, products = both[:components], both[components:]
        spectrum = spectra[: 4 * _ROWS * (nphi // 2 + 1)].reshape(2, 2 * _ROWS, -1)
        at = 0
        for field in fields:
            rows(field, start, limit + 1, spectrum)
            for part in spectrum[: field.components]:
                ducc0.fft.c2r(part, axes=(1,), lastsize=nphi, forward=False, out=legs[at], nthreads=1)
                at += 1
        multiply(legs.reshape(components, -1), products.reshape(outputs, -1))
        factor = block.weight / (nphi * sine)
        for i in range(outputs):
            ducc0.fft.r2c(products[i], axes=(1,), out=spectrum[0], nthreads=1)
            rows_to_sums(spectrum[0], i, start, limit_out + 1, cosine, factor, projected)


def _rings_of(space: NDArray, pairs: int) -> NDArray:
    """A contiguous view of an array (…, n) as (…, pairs), pairs ≤ n."""
    shape = (*space.shape[:-1], pairs)
    return space.reshape(-1)[: int(np.prod(shape))].reshape(shape)


def _aligned(*shape: int) -> NDArray[np.float64]:
    """An array that starts at a cache line."""
    size = int(np.prod(shape))
    flat = np.empty(size + 8)
    skip = -(flat.ctypes.data // 8) % 8
    return flat[skip : skip + size].reshape(shape)


@lru_cache(maxsize=4)
def _blocks(degree: int, pairs: int) -> tuple[Block, ...]:
    """The shortest Gauss–Legendre grid that integrates polynomials up to `degree` exactly, in blocks from the pole."""
    count = degree // 2 + 1
    north = (count + 1) // 2
    granules = -(-north // _GRANULE)
    theta, weight = np.full(granules * _GRANULE, 0.5 * np.pi), np.zeros(granules * _GRANULE)
    theta[:north] = ducc0.misc.GL_thetas(count)[:north]
    weight[:north] = ducc0.misc.GL_weights(count, 1)[:north]
    if count % 2:
        weight[north - 1] *= 0.5
    edges = np.linspace(0, granules, max(1, round(north / pairs)) + 1).round().astype(int) * _GRANULE
    return tuple(Block(theta[a:b], weight[a:b], a == 0 or theta[a] < _POLAR) for a, b in pairwise(edges))

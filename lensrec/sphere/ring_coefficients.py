"""From a_ℓm to the coefficients that `legendre_sums` adds up, and back.

A field of spin s is sin^{−s} θ times a pair of real scalar fields, whose coefficients follow from s applications of

    sin θ ₚ₊₁Y_ℓm = u_ℓ ₚY_{ℓ+1,m} + v_ℓ ₚY_ℓm + d_ℓ ₚY_{ℓ−1,m},    p = s − 1, …, 0,
    u_ℓ = −√((ℓ−p)(ℓ+1−p)((ℓ+1)² − m²)/(4(ℓ+1)² − 1))/(ℓ+1),    v_ℓ = m √((ℓ−p)(ℓ+p+1))/(ℓ(ℓ+1)),
    d_ℓ = √((ℓ+p)(ℓ+p+1)(ℓ² − m²)/(4ℓ² − 1))/ℓ,

which is ð ₚY = √((ℓ−p)(ℓ+p+1)) ₚ₊₁Y with cos θ ₚY from `legendre_sums` and, since the Laplacian's commutator with
cos θ is −2(sin θ ∂_θ + cos θ), sin θ ∂_θ ₚY_ℓ = ℓ C_{ℓ+1} ₚY_{ℓ+1} + p m/(ℓ(ℓ+1)) ₚY_ℓ − (ℓ+1) C_ℓ ₚY_{ℓ−1}. So fields
of any spin share the sums of spin 0. An even number of factors v gives coefficients g, an odd number h, and
ₛf = −Σ (G + iC) ₛY has

    sin^s θ Re ₛf: −g[G] − i h[C],    sin^s θ Im ₛf: −g[C] + i h[G].

Near a pole, sin^{−s} θ multiplies rounding errors; there, for s ≥ 2, ₛλ itself is summed.
"""

import numpy as np
from numpy.typing import NDArray

from lensrec.sphere.compiled import compiled
from lensrec.sphere.legendre_sums import CHUNK, basis, couplings, of_order

_FAST = {"contract", "nsz", "reassoc", "arcp"}
_HALF = CHUNK // 2


@compiled(fastmath=_FAST, error_model="numpy")
def _lowering(m: int, p: int, u: NDArray, v: NDArray, d: NDArray) -> None:
    """u_ℓ, v_ℓ, d_ℓ from ℓ = m on, for one step from spin p + 1 to p; zero for ℓ ≤ p."""
    for i in range(len(u)):
        l = float(m + i)
        if l <= p:
            u[i] = v[i] = d[i] = 0.0
        else:
            up = (l + 1.0) * (l + 1.0)
            u[i] = -np.sqrt((l - p) * (l + 1.0 - p) * (up - m * m) / (4.0 * up - 1.0)) / (l + 1.0)
            v[i] = m * np.sqrt((l - p) * (l + p + 1.0)) / (l * (l + 1.0))
            d[i] = np.sqrt((l + p) * (l + p + 1.0) * (l * l - m * m) / (4.0 * l * l - 1.0)) / l


@compiled(fastmath=_FAST, error_model="numpy")
def _lower(u: NDArray, v: NDArray, d: NDArray, same: NDArray, other: NDArray, out: NDArray) -> None:
    """Coefficients of one parity in factors v after a step, from those of this (`same`) and of the other parity."""
    n = len(u)
    for c in range(2):
        for i in range(n):
            out[c, i] = v[i] * other[c, i]
        for i in range(1, n):
            out[c, i] += u[i - 1] * same[c, i - 1]
        for i in range(n - 1):
            out[c, i] += d[i + 1] * same[c, i + 1]


@compiled(fastmath=_FAST, error_model="numpy")
def _store(c: NDArray, f: NDArray, re: NDArray, im: NDArray, mine: NDArray, at: int) -> None:
    """One scalar field's coefficients of order m, in the basis q_k/f_k, at a place among those of all fields."""
    for chunk in range(len(mine)):
        for part in range(2):
            a = im if part else re
            for j in range(_HALF):
                i = chunk * CHUNK + 2 * j
                g = f[i // 2]
                mine[chunk, 0, 2 * at + part, j] = g * (a[i] * c[i] + a[i + 2] * c[i + 1])
                mine[chunk, 1, 2 * at + part, j] = g * a[i + 1]


@compiled(error_model="numpy")
def store_scalars(
    alm: NDArray,
    scale: NDArray,
    lmax: int,
    spin: int,
    curl: bool,
    values: NDArray,
    offset: NDArray,
    count: int,
    at: int,
    orders: NDArray,
) -> None:
    """A field of one real potential, a gradient or a curl, as one (spin 0) or two scalar fields for `sums_over_l`.

    Parameters
    ----------
    alm : array (nalm,), complex
    scale : array (lmax+1,)
        Multiplies a_ℓm.
    lmax, spin : int
    curl : bool
    values, offset, count : see `sums_over_l`; there must be room for ℓ up to lmax + spin
    at : int
        Place of the first of the fields among `count`.
    orders : array, int
    """
    for m in orders:
        mine = of_order(values, offset, count, m)
        n = len(mine) * CHUNK + 2
        c, u, v, d = np.empty(n), np.empty(n), np.empty(n), np.empty(n)
        even, odd, new_even, new_odd = np.zeros((2, n)), np.zeros((2, n)), np.zeros((2, n)), np.zeros((2, n))
        start = m * (2 * lmax + 1 - m) // 2
        for l in range(max(m, spin), lmax + 1):
            a = alm[start + l] * scale[l]
            even[0, l - m], even[1, l - m] = a.real, a.imag
        for p in range(spin - 1, -1, -1):
            _lowering(m, p, u, v, d)
            _lower(u, v, d, even, odd, new_even)
            _lower(u, v, d, odd, even, new_odd)
            even, odd, new_even, new_odd = new_even, new_odd, even, odd
        couplings(m, 0, m + 1, c)
        f = np.empty(n // 2 - 1)
        basis(c, f)
        if spin == 0:
            _store(c, f, even[0], even[1], mine, at)
        else:
            # −g and i h: the real and the imaginary part of a gradient; of a curl, −i h and −g
            _store(c, f, -even[0], -even[1], mine, at + 1 if curl else at)
            sign = -1.0 if curl else 1.0
            _store(c, f, -sign * odd[1], sign * odd[0], mine, at if curl else at + 1)


@compiled(error_model="numpy")
def store_spins(
    alm: NDArray,
    scale: NDArray,
    lmax: int,
    spin: int,
    values: NDArray,
    offset: NDArray,
    count: int,
    at: int,
    orders: NDArray,
) -> None:
    """The same for sums over ₛλ and ₋ₛλ, s > 0: the scaled a_ℓm themselves, from ℓ = max(m, s)."""
    for m in orders:
        mine = of_order(values, offset, count, m)
        first = max(m, spin)
        start = m * (2 * lmax + 1 - m) // 2
        for l in range(first, lmax + 1):
            chunk, i = divmod(l - first, CHUNK)
            a = alm[start + l] * scale[l]
            mine[chunk, i % 2, 2 * at, i // 2] = a.real
            mine[chunk, i % 2, 2 * at + 1, i // 2] = a.imag


@compiled(error_model="numpy")
def vector_alm(
    values: NDArray, offset: NDArray, count: int, at: int, lmax: int, scale: NDArray, out: NDArray, orders: NDArray
) -> None:
    """G_ℓm and C_ℓm, times scale_ℓ, of a spin-1 field from the adjoint sums of its parts over sin θ, at `at`, `at` + 1.

    With a, b the scalar coefficients of the two parts, G = −u_ℓ a_{ℓ+1} − d_ℓ a_{ℓ−1} − i v_ℓ b_ℓ and
    C = −u_ℓ b_{ℓ+1} − d_ℓ b_{ℓ−1} + i v_ℓ a_ℓ: the transpose of `store_scalars` for spin 1.
    """
    for m in orders:
        mine = of_order(values, offset, count, m)
        n = len(mine) * CHUNK + 2
        c, u, v, d = np.empty(n), np.empty(n), np.empty(n), np.empty(n)
        couplings(m, 0, m + 1, c)
        f = np.empty(n // 2 - 1)
        basis(c, f)
        _lowering(m, 0, u, v, d)
        parts = np.zeros((2, n), dtype=np.complex128)
        for chunk in range(len(mine)):
            for part in range(2):
                k = 2 * (at + part)
                for j in range(_HALF):
                    i = chunk * CHUNK + 2 * j
                    g = f[i // 2]
                    q = g * complex(mine[chunk, 0, k, j], mine[chunk, 0, k + 1, j])
                    parts[part, i] += c[i] * q
                    parts[part, i + 2] += c[i + 1] * q
                    parts[part, i + 1] = g * complex(mine[chunk, 1, k, j], mine[chunk, 1, k + 1, j])
        start = m * (2 * lmax + 1 - m) // 2
        a, b = parts[0], parts[1]
        for l in range(m, lmax + 1):
            i = l - m
            below_a, below_b = (a[i - 1], b[i - 1]) if i else (0j, 0j)
            out[0, start + l] = -scale[l] * (u[i] * a[i + 1] + d[i] * below_a + 1j * v[i] * b[i])
            out[1, start + l] = -scale[l] * (u[i] * b[i + 1] + d[i] * below_b - 1j * v[i] * a[i])

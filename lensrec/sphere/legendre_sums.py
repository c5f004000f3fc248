"""Σ_ℓ v_ℓm ₛλ_ℓm(θ) for many fields at once: compiled loops that evaluate each ₛλ_ℓm once, whatever the fields.

ₛY_ℓm(θ, φ) = ₛλ_ℓm(θ) e^{imφ}. Rings come in pairs θ, π − θ, of which the northern one is given. Sums over ℓ are split
by the parity of ℓ − max(m, |s|), so that with ₛλ_ℓm(π − θ) = (−1)^{ℓ+m} ₋ₛλ_ℓm(θ) both rings come out of one recursion,

    cos θ ₛλ_ℓ = C_{ℓ+1} ₛλ_{ℓ+1} − s m/(ℓ(ℓ+1)) ₛλ_ℓ + C_ℓ ₛλ_{ℓ−1},   C_ℓ = √((ℓ² − m²)(ℓ² − s²)/(4ℓ² − 1))/ℓ.

It starts from (Goldberg et al. 1967, J. Math. Phys. 8, 2155, eq. 3.1)

    ₛλ_mm = (−1)^m [(2m+1)! / (4π (m+s)! (m−s)!)]^½ sin^{m+s}(θ/2) cos^{m−s}(θ/2)   for m ≥ |s|,
    ₛλ_sm = (−1)^m [(2s+1)! / (4π (s+m)! (s−m)!)]^½ sin^{s+m}(θ/2) cos^{s−m}(θ/2)   for s > m,

and for −s < −m from the latter with (−1)^s sin^{s−m} cos^{s+m}.

For s = 0 half of the recursion is saved by a basis that both parities share (Ishioka 2018, J. Meteorol. Soc. Japan 96,
241): q_k = λ_{m+2k+1}/cos θ is a function of cos²θ alone, and λ_{m+2k} = C_{m+2k+1} q_k + C_{m+2k} q_{k−1}, so

    cos²θ q_k = C_{ℓ+2} C_{ℓ+3} q_{k+1} + (C²_{ℓ+1} + C²_{ℓ+2}) q_k + C_ℓ C_{ℓ+1} q_{k−1},   ℓ = m + 2k.

What is summed is q_k/f_k, with f_0 = f_1 = 1 and f_{k+1} such that the last term's coefficient is that of the first.

Where λ is below about 2^−118 it counts as zero; its recursion runs on numbers scaled by powers of 2^400.
"""

import numpy as np
from numpy.typing import NDArray

from lensrec.sphere.compiled import compiled
from lensrec.sphere.scalar_sums import STRIP, add_up, climb, functions, project

CHUNK = 16
"""Multipoles from one check of the scale to the next: eight of each parity, which are added up in registers."""

_FAST = {"contract", "nsz", "reassoc", "arcp"}
_SCALE = 400.0


def norms(mmax: int, spin: int) -> NDArray[np.float64]:
    """The constant in the first ₛλ of each m: that of sin^m θ tan^s(θ/2), m ≥ |s|, or sin^s θ tan^m(θ/2), m < |s|."""
    s = abs(spin)
    out = np.empty(mmax + 1)
    factorial = np.cumprod(np.concatenate([[1.0], np.arange(1.0, 2 * s + 2)]))
    for m in range(min(s, mmax + 1)):
        out[m] = np.sqrt(factorial[2 * s + 1] / (4 * np.pi * factorial[s + m] * factorial[s - m])) * 0.5**s
    if mmax >= s:
        k = np.arange(s, mmax, dtype=np.float64)
        growth = (2 * k + 2) * (2 * k + 3) / (4.0 * (k + 1 + s) * (k + 1 - s))
        out[s:] = np.sqrt((2 * s + 1) / (4 * np.pi) * 0.25**s * np.concatenate([[1.0], np.cumprod(growth)]))
    return out


@compiled(error_model="numpy")
def of_order(values: NDArray, offset: NDArray, count: int, m: int) -> NDArray:
    """The coefficients of order m as a view (chunks, parity, 2 count, CHUNK/2); see `sums_over_l`."""
    chunks = (offset[m + 1] - offset[m]) // (2 * count * CHUNK)
    return values[offset[m] : offset[m + 1]].reshape((chunks, 2, 2 * count, CHUNK // 2))


@compiled(fastmath=_FAST, error_model="numpy")
def couplings(m: int, spin: int, first: int, out: NDArray) -> None:
    """C_ℓ, by which cos θ couples ℓ − 1 and ℓ, from ℓ = first on; first ≥ 1."""
    for i in range(len(out)):
        l = float(first + i)
        out[i] = np.sqrt((l * l - m * m) * (l * l - spin * spin) / (4.0 * l * l - 1.0)) / l


@compiled(fastmath=_FAST, error_model="numpy")
def basis(c: NDArray, out: NDArray) -> None:
    """f_k of the functions q_k/f_k that are summed, from C_ℓ, ℓ = m + 1, …; at least 2 len(out) of them."""
    out[0] = 1.0
    if len(out) > 1:
        out[1] = 1.0
    for k in range(2, len(out)):
        out[k] = (c[2 * k - 3] * c[2 * k - 2]) / (c[2 * k - 1] * c[2 * k])
    for k in range(2, len(out)):
        out[k] *= out[k - 2]


@compiled(fastmath=_FAST, error_model="numpy")
def scalar_recursions(offset: NDArray, count: int, out: NDArray) -> None:
    """α and β of next = (α cos²θ + β) this − last for q_k/f_k, m after m, into `out` (2, offset[-1]/(4 count))."""
    for m in range(len(offset) - 1):
        start, stop = offset[m] // (4 * count), offset[m + 1] // (4 * count)
        n = stop - start
        alpha, beta = out[0, start:stop], out[1, start:stop]
        c, f = np.empty(2 * n + 2), np.empty(n + 1)
        couplings(m, 0, m + 1, c)
        basis(c, f)
        for k in range(n):
            # f_{k+1} is f_{k−1} C_{ℓ+1} C_ℓ/(C_{ℓ+2} C_{ℓ+3}) with ℓ = m + 2k
            alpha[k] = f[k] / (f[k + 1] * c[2 * k + 1] * c[2 * k + 2])
            beta[k] = -alpha[k] * (c[2 * k] * c[2 * k] + c[2 * k + 1] * c[2 * k + 1])


@compiled(fastmath=_FAST, error_model="numpy")
def _recursion(m: int, spin: int, c: NDArray, alpha: NDArray, beta: NDArray, gamma: NDArray) -> None:
    """Coefficients of next = (α cos θ + β) this − γ last for ₛλ_ℓ, s ≠ 0; c is scratch of their length."""
    first = max(m, abs(spin))
    couplings(m, spin, first + 1, c)
    for i in range(len(alpha)):
        l = float(first + i)
        up = 1.0 / c[i]
        alpha[i], beta[i], gamma[i] = up, up * spin * m / (l * (l + 1.0)), up * c[i - 1] if i else 0.0


@compiled(fastmath=_FAST, error_model="numpy")
def _start(
    m: int, spin: int, factor: float, log_sine: NDArray, log_tan: NDArray, first: NDArray, scale: NDArray
) -> None:
    """The first ₛλ of order m on every ring, over 2^(400 scale), times a factor that holds its norm.

    log_sine, log_tan: binary logarithms of sin θ and of tan(θ/2).
    """
    s = abs(spin)
    if m >= s:
        power_sine, power_tan, odd = m, spin, m % 2
    elif spin > 0:
        power_sine, power_tan, odd = s, m, m % 2
    else:
        power_sine, power_tan, odd = s, -m, s % 2
    for r in range(len(first)):
        exponent = power_sine * log_sine[r] + power_tan * log_tan[r]
        scale[r] = min(0.0, np.floor((exponent + 0.5 * _SCALE) / _SCALE))
        first[r] = (-factor if odd else factor) * 2.0 ** (exponent - _SCALE * scale[r])


@compiled(fastmath=_FAST, error_model="numpy")
def _next(y: NDArray, lam: NDArray, rows: int, alpha: NDArray, beta: NDArray, gamma: NDArray, at: int) -> None:
    """Rows 2 … rows + 1 of `lam` from rows 0 and 1, the functions numbered `at` and `at` + 1; four in registers."""
    for j in range(2, rows + 2, 4):
        i = at + j - 1
        a0, b0, c0 = alpha[i], beta[i], gamma[i]
        a1, b1, c1 = alpha[i + 1], beta[i + 1], gamma[i + 1]
        a2, b2, c2 = alpha[i + 2], beta[i + 2], gamma[i + 2]
        a3, b3, c3 = alpha[i + 3], beta[i + 3], gamma[i + 3]
        for r in range(len(y)):
            u, p, q = y[r], lam[j - 2, r], lam[j - 1, r]
            s0 = (a0 * u + b0) * q - c0 * p
            s1 = (a1 * u + b1) * s0 - c1 * q
            s2 = (a2 * u + b2) * s1 - c2 * s0
            s3 = (a3 * u + b3) * s2 - c3 * s1
            lam[j, r] = s0
            lam[j + 1, r] = s1
            lam[j + 2, r] = s2
            lam[j + 3, r] = s3


@compiled(error_model="numpy")
def _reached(lam: NDArray, rows: int, scale: NDArray, out: NDArray) -> int:
    """Rings that have reached scale 0: 2 for all, 1 for some, with `out` a copy of `lam` that is zero on the others."""
    reached = 0
    for r in range(len(scale)):
        reached += scale[r] == 0.0
    if reached == len(scale):
        return 2
    if reached == 0:
        return 0
    for j in range(rows):
        for r in range(len(scale)):
            out[j, r] = lam[j, r] if scale[r] == 0.0 else 0.0
    return 1


@compiled(error_model="numpy")
def _advance(lam: NDArray, rows: int, scale: NDArray, settled: bool) -> None:
    """Make the last two rows of `lam` the first two, and take scales down where the numbers have grown."""
    if settled:
        for r in range(lam.shape[1]):
            lam[0, r], lam[1, r] = lam[rows, r], lam[rows + 1, r]
        return
    big, down = 2.0 ** (0.5 * _SCALE), 2.0**-_SCALE
    for r in range(lam.shape[1]):
        a, b = lam[rows, r], lam[rows + 1, r]
        grown = scale[r] < 0.0 and max(abs(a), abs(b)) > big
        factor = down if grown else 1.0
        scale[r] += 1.0 if grown else 0.0
        lam[0, r], lam[1, r] = a * factor, b * factor


@compiled(fastmath=_FAST, error_model="numpy")
def _add(lam: NDArray, parity: int, values: NDArray, sums: NDArray) -> None:
    """sums[f, parity] += Σ_j values[f, j] lam[parity + 2j], re and im, with eight functions in registers."""
    o = 2 * parity
    for c in range(0, len(values), 2):
        v, w, f = values[c], values[c + 1], c // 2
        a0, a1, a2, a3, a4, a5, a6, a7 = v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7]
        b0, b1, b2, b3, b4, b5, b6, b7 = w[0], w[1], w[2], w[3], w[4], w[5], w[6], w[7]
        for r in range(lam.shape[1]):
            l0, l1 = lam[parity, r], lam[parity + 2, r]
            l2, l3 = lam[parity + 4, r], lam[parity + 6, r]
            l4, l5 = lam[parity + 8, r], lam[parity + 10, r]
            l6, l7 = lam[parity + 12, r], lam[parity + 14, r]
            sums[f, o, r] += a0 * l0 + a1 * l1 + a2 * l2 + a3 * l3 + a4 * l4 + a5 * l5 + a6 * l6 + a7 * l7
            sums[f, o + 1, r] += b0 * l0 + b1 * l1 + b2 * l2 + b3 * l3 + b4 * l4 + b5 * l5 + b6 * l6 + b7 * l7


@compiled(error_model="numpy")
def _aligned(rows: int, columns: int) -> NDArray:
    """An array whose vectors of eight numbers do not straddle cache lines, if its rows are multiples of eight."""
    flat = np.empty(rows * columns + 8)
    skip = -(flat.ctypes.data // 8) % 8
    return flat[skip : skip + rows * columns].reshape((rows, columns))


@compiled(error_model="numpy")
def sums_over_l(
    values: NDArray,
    offset: NDArray,
    count: int,
    spin: int,
    norm: NDArray,
    table: NDArray,
    theta: NDArray,
    orders: NDArray,
    sums: NDArray,
    at: int,
    adjoint: bool,
) -> None:
    """Σ_ℓ v_ℓm ₛλ_ℓm(θ) of `count` fields for some orders m, or the transpose of it.

    Parameters
    ----------
    values : array (n,), float
        Coefficients in chunks. Those of order m are values[offset[m] : offset[m+1]], to be read as `of_order`
        does: re and im of the fields in turn, for spin s > 0 from ℓ = max(m, s), for spin 0 of q_k/f_k
        instead of λ_{m+2k} and of λ_{m+2k+1}; zero beyond the last ℓ. Added to if `adjoint`.
    offset : array (mmax+2,), int
    count, spin : int
        The spin may be negative.
    norm : array (mmax+1,); see `norms`
    table : array (2, n); see `scalar_recursions`; not used for spin ≠ 0
    theta : array (nrings,)
        0 < θ ≤ π/2, ascending; a multiple of 32 rings.
    orders : array, int
    sums : array (> m, ≥ at + count, 4, nrings)
        sums[m, at + field]: even ℓ − max(m, |s|), re and im, and odd ones; for spin 0 the latter are to be multiplied
        by cos θ, after the call or, if `adjoint`, before it. Written; if `adjoint`, read.
    """
    rings = len(theta)
    y, log_sine, log_tan = np.cos(theta), np.log2(np.sin(theta)), np.log2(np.tan(0.5 * theta))
    rows = CHUNK if spin else CHUNK // 2
    lam, some, scale = _aligned(rows + 3, rings), _aligned(rows + 3, rings), np.empty(rings)
    first_chunk = np.empty(rings // STRIP, dtype=np.int64)
    for m in orders:
        mine = of_order(values, offset, count, m)
        chunks = len(mine)
        here = sums[m, at : at + count]
        if spin == 0:
            start = offset[m] // (4 * count)
            alpha, beta = table[0, start:], table[1, start:]
            last, this, square = lam[-3], lam[-2], lam[-1]
            for r in range(rings):
                last[r], square[r] = 0.0, y[r] * y[r]
            # C_{m+1} is 1/√(2m+3)
            _start(m, 0, norm[m] * np.sqrt(2.0 * m + 3.0), log_sine, log_tan, this, scale)
            climb(square, last, this, scale, _SCALE, alpha, beta, chunks, lam, first_chunk)
            if not adjoint:
                add_up(mine, square, last, this, alpha, beta, first_chunk, here)
                continue
            for chunk in range(first_chunk.min(), chunks):
                ring = functions(square, last, this, alpha, beta, first_chunk, chunk, lam)
                for parity in range(2):
                    project(lam, 0, 1, parity, here, mine[chunk, parity], ring)
            continue
        if not adjoint:
            here[:] = 0.0
        n = chunks * rows + 2
        alpha, beta, gamma = np.empty(n), np.empty(n), np.empty(n)
        _recursion(m, spin, np.empty(n), alpha, beta, gamma)
        _start(m, spin, norm[m], log_sine, log_tan, lam[0], scale)
        for r in range(rings):
            lam[1, r] = (alpha[0] * y[r] + beta[0]) * lam[0, r]
        settled = False
        for chunk in range(chunks):
            _next(y, lam, rows, alpha, beta, gamma, chunk * rows)
            state = 2 if settled else _reached(lam, rows, scale, some)
            settled = state == 2
            if state:
                now = lam if settled else some
                for parity in range(2):
                    if adjoint:
                        project(now, parity, 2, parity, here, mine[chunk, parity], 0)
                    else:
                        _add(now, parity, mine[chunk, parity], here)
            _advance(lam, rows, scale, settled)

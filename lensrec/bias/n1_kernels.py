"""Compiled loops over the points of a lattice for `flat_weights`, in whose symbols they are written."""

import numpy as np
from numpy.typing import NDArray

from lensrec.sphere.compiled import compiled

_Arrays = tuple[NDArray, ...]
_FAST = {"contract", "nsz", "reassoc", "arcp"}


@compiled(fastmath=_FAST, error_model="numpy")
def _matrices(x: float, y: float, tables: NDArray, turn: NDArray, row: NDArray, rot: NDArray) -> bool:
    """Spectra at |l| = ℓ + ½ into `row`, cos 2φ and sin 2φ into `turn`, R(φ_l); False where all filters are zero."""
    r = np.sqrt(x * x + y * y)
    at = min(max(r - 0.5, 0.0), tables.shape[0] - 1.0)
    i = min(int(at), tables.shape[0] - 2)
    t = at - i
    for m in range(12):
        row[m] = (1.0 - t) * tables[i, m] + t * tables[i + 1, m]
    cos2, sin2 = (1.0, 0.0) if r == 0.0 else ((x * x - y * y) / (r * r), 2.0 * x * y / (r * r))
    turn[0], turn[1] = cos2, sin2
    rot[:] = 0.0
    rot[0, 0] = 1.0
    rot[1, 1] = rot[2, 2] = cos2
    rot[1, 2], rot[2, 1] = -sin2, sin2
    return row[8] != 0.0 or row[9] != 0.0 or row[10] != 0.0 or row[11] != 0.0


@compiled(fastmath=_FAST, error_model="numpy")
def _symmetric(row: NDArray, first: int, out: NDArray) -> None:
    """TT, TE, EE, BB as a matrix over T, E, B."""
    out[:] = 0.0
    out[0, 0], out[1, 1], out[2, 2] = row[first], row[first + 2], row[first + 3]
    out[0, 1] = out[1, 0] = row[first + 1]


@compiled(fastmath=_FAST, error_model="numpy")
def _times(a: NDArray, b: NDArray, out: NDArray) -> None:
    """a b."""
    for i in range(3):
        for j in range(3):
            out[i, j] = a[i, 0] * b[0, j] + a[i, 1] * b[1, j] + a[i, 2] * b[2, j]


@compiled(fastmath=_FAST, error_model="numpy")
def _times_transposed(a: NDArray, b: NDArray, out: NDArray) -> None:
    """a bᵀ."""
    for i in range(3):
        for j in range(3):
            out[i, j] = a[i, 0] * b[j, 0] + a[i, 1] * b[j, 1] + a[i, 2] * b[j, 2]


@compiled(fastmath=_FAST, error_model="numpy")
def _one_order(
    c: NDArray,
    row2: NDArray,
    a1: NDArray,
    a2: NDArray,
    f1: NDArray,
    f2: NDArray,
    g: NDArray,
    mid: NDArray,
    out: NDArray,
) -> None:
    """g without its factor L·l₂ into `out`: f1 = R₁F₁ and f2 = R₂F₂; a = (cos 2φ, sin 2φ)."""
    cos2 = a1[0] * a2[0] + a1[1] * a2[1]
    sin2 = a1[0] * a2[1] - a1[1] * a2[0]
    g[:] = 0.0
    g[0, 0] = c[0, 0] * row2[4]
    g[0, 1] = c[0, 1] * row2[5]
    g[1, 0], g[1, 1], g[1, 2] = c[1, 0] * cos2 * row2[5], c[1, 1] * cos2 * row2[6], -c[1, 2] * sin2 * row2[7]
    g[2, 0], g[2, 1], g[2, 2] = c[2, 0] * sin2 * row2[5], c[2, 1] * sin2 * row2[6], c[2, 2] * cos2 * row2[7]
    _times(f1, g, mid)
    _times_transposed(mid, f2, out)


@compiled(fastmath=_FAST, error_model="numpy")
def _square() -> NDArray:
    return np.empty((3, 3))


@compiled(fastmath=_FAST, error_model="numpy")
def fill_lattice(
    first: int,
    last: int,
    reach: int,
    spacing: float,
    size: float,
    curl: bool,
    c: NDArray,
    tables: NDArray,
    ends: NDArray,
    points: int,
    f0: int,
    f1: int,
    out: NDArray,
) -> None:
    """The rows of `lattice_weights` for first ≤ i < last."""
    h = np.empty((3, 3))
    rows = (np.empty(12), np.empty(12), np.empty(2), np.empty(2))
    work = (_square(), _square(), _square(), _square(), _square(), _square(), _square(), _square())
    # A line is made in one piece of memory and then shared out: a point written to every array would miss every cache.
    line = np.empty((2 * reach + 1, out.shape[0]))
    for i in range(first, last):
        line[:] = 0.0
        for j in range(-reach, reach + 1):
            x, y = 0.5 * size + i * spacing, j * spacing
            r1, r2 = np.sqrt(x * x + y * y), np.sqrt((size - x) ** 2 + y * y)
            fine = 1
            for end in ends:
                if min(abs(r1 - end), abs(r2 - end)) < 0.71 * spacing:
                    fine = points
            share = 1.0 / fine**2
            h[:] = 0.0
            some = False
            for m in range(fine):
                for n in range(fine):
                    dx, dy = ((m + 0.5) / fine - 0.5) * spacing, ((n + 0.5) / fine - 0.5) * spacing
                    some |= _add_weights(x + dx, y + dy, size, curl, c, tables, share, rows, work, h)
            if some:
                _products(x, y, size, tables, f0, f1, h, rows, work, line[j + reach])
        for r in range(out.shape[0]):
            for j in range(-reach, reach + 1):
                out[r, i, j] = line[j + reach, r]


@compiled(fastmath=_FAST, error_model="numpy")
def _add_weights(
    x1: float,
    y1: float,
    size: float,
    curl: bool,
    c: NDArray,
    tables: NDArray,
    share: float,
    rows: _Arrays,
    work: _Arrays,
    h: NDArray,
) -> bool:
    """Add `share` times H at l₁ = (x₁, y₁) to h; False where it is zero."""
    x2, y2 = size - x1, -y1
    row1, row2, a1, a2 = rows
    rot1, rot2, filt1, filt2, there, back, one, two = work
    if not (_matrices(x1, y1, tables, a1, row1, rot1) and _matrices(x2, y2, tables, a2, row2, rot2)):
        return False
    _symmetric(row1, 8, one)
    _times(rot1, one, filt1)
    _symmetric(row2, 8, one)
    _times(rot2, one, filt2)
    _one_order(c, row2, a1, a2, filt1, filt2, one, two, there)
    _one_order(c, row1, a2, a1, filt2, filt1, one, two, back)
    d1, d2 = (size * y1, size * y2) if curl else (size * x1, size * x2)
    for p in range(3):
        for q in range(3):
            h[p, q] += share * (d2 * there[p, q] + d1 * back[q, p])
    return True


@compiled(fastmath=_FAST, error_model="numpy")
def _products(
    x1: float,
    y1: float,
    size: float,
    tables: NDArray,
    f0: int,
    f1: int,
    h: NDArray,
    rows: _Arrays,
    work: _Arrays,
    out: NDArray,
) -> None:
    """H and its products with V at the point itself, so that E_ab(q = 0) = 0 holds also where H is an average."""
    x2, y2 = size - x1, -y1
    row, _, turn, _ = rows
    rot, s1, s2, vh, vhv, _, _, _ = work
    _matrices(x1, y1, tables, turn, row, rot)
    _symmetric(row, 0, vhv)
    _times(rot, vhv, vh)
    _times_transposed(vh, rot, s1)
    _matrices(x2, y2, tables, turn, row, rot)
    _symmetric(row, 0, vhv)
    _times(rot, vhv, vh)
    _times_transposed(vh, rot, s2)
    _times(s1, h, vh)
    _times(vh, s2, vhv)
    xx, xy, yy = x1 * x2, 0.5 * (x1 * y2 + y1 * x2), y1 * y2
    d = f1 - f0
    half = d * (d + 1) // 2
    r = 0
    for p in range(f0, f1):
        for q in range(p, f1):
            out[r] = h[p, q]
            out[half + r] = xx * vhv[p, q]
            out[2 * half + r] = xy * vhv[p, q]
            out[3 * half + r] = yy * vhv[p, q]
            r += 1
    r = 4 * half
    for p in range(f0, f1):
        for q in range(f0, f1):
            out[r] = x1 * vh[p, q]
            out[r + d * d] = y1 * vh[p, q]
            r += 1

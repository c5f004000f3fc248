"""Quadratic estimators on the flat sky, as matrices of weight functions between T, Q and U on a lattice.

With X(n) = ∫ d²l/(2π)² X(l) e^{il·n} and δX = ∇φ·∇X, a lens mixes l₁ and l₂ = L − l₁ (Hu & Okamoto 2002,
astro-ph/0111606). Between T, Q and U, which unlike E and B do not turn with the direction of l, the response is a sum
of two functions of one l each,

    ⟨X(l₁) Y(l₂)⟩ = f^{XY} φ(L),    f = L·[V(l₁) + V(l₂)],    V(l) = l S(l),    S(l) = R(φ_l) C_l R(φ_l)ᵀ,

C_l being the symmetric matrix of spectra of T, E, B and R(φ) the rotation Q + iU = (E + iB) e^{2iφ}. An estimator made
of products of filtered fields X̄ = F X, c^{PS} for the plain leg P and the source S (`quadratic.products`), is

    q(L) = ∫ d²l₁/(2π)² g^{XY} X(l₁) Y(l₂),
    g = (L·l₂) R₁ F_{l₁} G F_{l₂} R₂ᵀ,    G^{PS} = c^{PS} D^{Pw}(φ₂ − φ₁) C^{wS}_{l₂},    D = R₁ᵀ R₂,

where w is the field that the source predicts: T for a plain T, B for a source B, E otherwise. The part of g that counts
is H(l₁, l₂) = g(l₁, l₂) + g(l₂, l₁)ᵀ. For the curl, L turned by 90° replaces L in g. On the sphere l stands for ℓ + ½.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lensrec.bias.n1_kernels import fill_lattice
from lensrec.quadratic.products import products_in_use

FIELDS = "TEB"
SPECTRA = ("TT", "TE", "EE", "BB")


@dataclass(frozen=True)
class FlatEstimator:
    """A normalised estimate φ̂ (or Ω̂): any linear combination of products of jointly filtered fields.

    Attributes
    ----------
    coefficients : array (3, 3, lmax_phi+1)
        c^{PS}_L of the product of plain leg P and source S, T, E, B in turn, with 1/R_L in it.
    weights : array (4, lmax+2)
        C^{wS}_ℓ of the gradient legs: TT, TE, EE, BB; one more than the filters, for interpolation up to their edge.
    filters : array (4, lmax+1)
        F_ℓ^{XY}, in the same order; F^TE = 0 if T and E are filtered apart.
    """

    coefficients: NDArray[np.float64]
    weights: NDArray[np.float64]
    filters: NDArray[np.float64]


@dataclass(frozen=True)
class Lattice:
    """The lattice k = (i, j) Δ of half-differences (l₁ − l₂)/2, periodic, k = 0 at index 0.

    Attributes
    ----------
    n : int
        Points on a side.
    spacing : float
        Δ in multipoles.
    reach : int
        Weights vanish for |i| or |j| above it.
    points : int
        Cells that an end of a filter's range crosses are averaged over points² points.
    """

    n: int
    spacing: float
    reach: int
    points: int


def combined_estimator(
    shares: Mapping[str, NDArray],
    response: Mapping[str, NDArray],
    weights: Mapping[str, NDArray],
    filters: Mapping[str, NDArray],
) -> FlatEstimator:
    """φ̂ = Σ_α w^α_L q^α_L / R^α_L of the five quadratic estimators: one of them, or the minimum-variance sum.

    Parameters
    ----------
    shares : mapping of "TT", "EE", "TE", "TB", "EB" to array (lmax_phi+1,)
        w^α_L: one for a single estimator, `minimum_variance_weights` for MV.
    response : mapping of the same keys to array (lmax_phi+1,)
        R^α_L. Where it is zero the estimator is left out.
    weights, filters : mappings as in `quadratic.response.normalisation`
    """
    lmax = max(len(f) for f in filters.values()) - 1
    lmax_phi = max(len(w) for w in shares.values()) - 1
    coefficients = np.zeros((3, 3, lmax_phi + 1))
    for key, share in shares.items():
        r = np.asarray(response[key], dtype=np.float64)
        scale = np.divide(share, r, out=np.zeros(lmax_phi + 1), where=r != 0)
        for product in products_in_use(key, dict(weights)):
            coefficients[FIELDS.index(product.plain), FIELDS.index(product.source)] += scale
    diagonal = {2 * field: filters[field] for field in filters}
    return FlatEstimator(coefficients, spectrum_rows(weights, lmax + 1, hold=True), spectrum_rows(diagonal, lmax))


def joint_estimator(response: NDArray, weights: Mapping[str, NDArray], filters: Mapping[str, NDArray]) -> FlatEstimator:
    """GMV, the sum of all products of jointly filtered fields (`quadratic.joint`).

    Parameters
    ----------
    response : array (lmax_phi+1,)
        R_L of the whole sum.
    weights : mapping of "TT", "TE", "EE", "BB" to array
    filters : mapping of "TT", "TE", "EE", "BB" to array (lmax+1,)
        F, the inverse of the matrix of total spectra: X̄ = Σ_Y F^{XY} Y.
    """
    lmax = max(len(f) for f in filters.values()) - 1
    response = np.asarray(response, dtype=np.float64)
    scale = np.divide(1.0, response, out=np.zeros_like(response), where=response != 0)
    coefficients = np.broadcast_to(scale, (3, 3, len(scale)))
    return FlatEstimator(coefficients, spectrum_rows(weights, lmax + 1, hold=True), spectrum_rows(filters, lmax))


def spectrum_rows(spectra: Mapping[str, NDArray], lmax: int, *, hold: bool = False) -> NDArray[np.float64]:
    """TT, TE, EE, BB as rows (4, lmax+1); zero where a spectrum is missing or has ended.

    With `hold` the last value stands once more: linear interpolation then reaches the edge of the band, |l| = lmax + 1.
    """
    rows = np.zeros((len(SPECTRA), lmax + 1))
    for row, key in zip(rows, SPECTRA, strict=True):
        values = np.asarray(spectra.get(key, ()), dtype=np.float64)[: lmax + 1]
        row[: len(values)] = values
        if hold and 0 < len(values) <= lmax:
            row[len(values)] = values[-1]
    return rows


def components(estimators: Sequence[FlatEstimator]) -> tuple[int, int]:
    """First and last + 1 of T, Q, U that any of the estimators reads: (0, 1), (1, 3) or (0, 3)."""
    temperature = any(
        e.filters[0].any() and (e.coefficients[0].any() or e.coefficients[:, 0].any()) for e in estimators
    )
    temperature |= any(e.filters[1].any() for e in estimators)
    polarised = any(e.filters[1].any() or e.coefficients[1:].any() or e.coefficients[:, 1:].any() for e in estimators)
    return (0 if temperature else 1), (3 if polarised else 1)


def lattice_weights(
    estimator: FlatEstimator,
    signal: NDArray,
    multipole: int,
    lattice: Lattice,
    *,
    fields: tuple[int, int] = (0, 3),
    curl: bool = False,
    out: NDArray | None = None,
    nthreads: int = 1,
) -> NDArray[np.float64]:
    """H and its products with V at one L, on the lattice, L along the first axis.

    Parameters
    ----------
    estimator : FlatEstimator
    signal : array (4, ≥ lmax+2)
        Spectra C_ℓ that respond to lensing: TT, TE, EE, BB.
    multipole : int
        L.
    fields : (first, last + 1)
        Which of T, Q, U to take; d of them.
    curl : bool
        Ω̂ in place of φ̂.
    out : array to write to, zero where |i| or |j| exceeds the reach.

    Returns
    -------
    array (rows, n, n)
        With X ≤ Y counted as TT, TQ, TU, QQ, QU, UU: H^{XY}; then ½[V_a(l₁) H V_b(l₂) + (a ↔ b)]^{XY} for ab = xx, xy,
        yy; then, for all X, Y, [V_x(l₁) H]^{XY} and [V_y(l₁) H]^{XY}.

    Notes
    -----
    H(−k) = H(k)ᵀ, and so for the second kind: X > Y need not be kept. Where a filter's range ends, |l₁| or |l₂| = lmin
    or lmax + 1, everything jumps: there a point stands for the average over its cell, lest N1 depend on how many
    points happen to lie inside.
    """
    d = fields[1] - fields[0]
    shape = (4 * (d * (d + 1) // 2) + 2 * d * d, lattice.n, lattice.n)
    out = np.zeros(shape) if out is None else out
    nl = estimator.filters.shape[1]
    tables = np.zeros((12, nl + 1))
    tables[:4] = signal[:, : nl + 1]
    tables[4:8] = estimator.weights
    tables[8:, :nl] = estimator.filters
    tables = np.ascontiguousarray(tables.T)
    c = np.ascontiguousarray(estimator.coefficients[:, :, multipole])
    size = flat_length(multipole)
    ends = _ends(estimator.filters)
    edges = np.linspace(-lattice.reach, lattice.reach + 1, 4 * nthreads + 1).astype(int)

    def rows(first: int, last: int) -> None:
        fill_lattice(
            first, last, lattice.reach, lattice.spacing, size, curl, c, tables, ends, lattice.points, *fields, out
        )

    if nthreads == 1:
        rows(-lattice.reach, lattice.reach + 1)
    else:
        with ThreadPoolExecutor(nthreads) as pool:
            list(pool.map(rows, edges[:-1], edges[1:]))
    return out


def flat_length(multipole: int) -> float:
    """|L| = √(L(L+1)), the length of a gradient's wave vector on the sphere."""
    return float(np.sqrt(multipole * (multipole + 1.0)))


def _ends(filters: NDArray) -> NDArray[np.float64]:
    """|l| at which some filter begins or ends."""
    edges: set[int] = set()
    for row in filters:
        if row.any():
            edges |= set(np.flatnonzero(np.diff(np.concatenate([[False], row != 0.0, [False]]).astype(int))))
    return np.array(sorted(edges - {0}), dtype=np.float64)

"""Sums over ℓ₁, ℓ₂ of products of two weight functions, from Wigner-d sums on Gauss–Legendre nodes.

Harmonically, each product of `products` contributes terms a_ℓ₁ b_ℓ₂ J(s, t), with J(s, t) = 3j(ℓ₁ ℓ₂ L; s t −s−t)
and s + t = 1, to the weight function of an estimator,

    f_{ℓ₁Lℓ₂} = √(L(L+1)) [(2ℓ₁+1)(2ℓ₂+1)(2L+1)/4π]^½ · ½(σ + ε) Σ_k a^k_ℓ₁ b^k_ℓ₂ J(s_k, t_k)

with ε = (−1)^{ℓ₁+ℓ₂+L}, σ = −1 for one B leg and +1 otherwise; −(i/2)(ε − σ) replaces ½(σ + ε) for the curl.
This is Okamoto & Hu's f (astro-ph/0301031, table 1), written with spin-weighted legs. Since J(−s, −t) = ε J(s, t)
and ∫ d^{ℓ₁}_{ss′} d^{ℓ₂}_{tt′} d^L_{SS′} dμ = 2 J J′, a sum over ℓ₁, ℓ₂ of a product of two such functions becomes
the product of two correlation functions, projected on d^L_{−1,−1} and d^L_{1,−1}: no sum over ℓ₁, ℓ₂ is ever made.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lensrec.quadratic.products import Product, products_in_use, spin_raised
from lensrec.sphere.wigner import gl_nodes, wigner_project, wigner_sum


@dataclass(frozen=True)
class Term:
    """a_ℓ₁ b_ℓ₂ J(s, t) of a weight function; the first slot is X's, the second Y's."""

    s: int
    t: int
    a: NDArray[np.float64]
    b: NDArray[np.float64]

    def transposed(self) -> "Term":
        """The same with X and Y exchanged."""
        return Term(self.t, self.s, self.b, self.a)


Gram = Callable[[list[Term], list[Term], NDArray, NDArray, int], NDArray[np.float64]]
"""gram(first, second, w₁, w₂, σ): Σ_ℓ₁ℓ₂ f*_{ℓ₁Lℓ₂} f′_{ℓ₁Lℓ₂} w₁_ℓ₁ w₂_ℓ₂/(2L+1), (2, lmax_phi+1), for φ and Ω."""


def wigner_grams(lmax: int, lmax_phi: int, *, nthreads: int = 0) -> Gram:
    """A function that sums products of weight functions over ℓ₁, ℓ₂ ≤ lmax; correlation functions are made once.

    Weight functions may be of a spin S = s + t of L, 1 for lensing and 0 for scalar fields: the projections are on
    d^L_{−S,−S′} and d^L_{S,−S′}, with the factors √(L(L+1)) of the spins that are 1. Ω is in no sum with a scalar one.
    """
    theta, quadrature = gl_nodes(2 * lmax + lmax_phi)
    correlations: dict[tuple, NDArray] = {}

    def correlation(profile: NDArray, s: int, t: int) -> NDArray:
        # d_{s,t} = d_{−t,−s} = (−1)^{s−t} d_{t,s} = (−1)^{s−t} d_{−s,−t}: one evaluation serves all four index pairs.
        sign = (-1) ** (s - t)
        forms = {(-s, -t): sign, (t, s): sign, (-t, -s): 1, (s, t): 1}
        first = min(forms)
        name = (*first, profile.tobytes())
        if name not in correlations:
            correlations[name] = wigner_sum(profile, *first, theta, nthreads=nthreads)
        return forms[first] * correlations[name]

    def gram(first: list[Term], second: list[Term], w1: NDArray, w2: NDArray, parity: int) -> NDArray:
        out = np.zeros((2, lmax_phi + 1))
        if not first or not second:
            return out
        spin, other = first[0].s + first[0].t, second[0].s + second[0].t
        same, flipped = np.zeros_like(theta), np.zeros_like(theta)
        for p in first:
            for q in second:
                left, right = p.a * q.a * w1, p.b * q.b * w2
                if left.any() and right.any():
                    same += correlation(left, p.s, q.s) * correlation(right, p.t, q.t)
                    flipped += correlation(left, -p.s, q.s) * correlation(right, -p.t, q.t)
        even = 0.5 * wigner_project(same, -spin, -other, lmax_phi, theta, quadrature, nthreads=nthreads)
        odd = 0.5 * parity * wigner_project(flipped, spin, -other, lmax_phi, theta, quadrature, nthreads=nthreads)
        out[0] = even + odd
        if spin == other == 1:
            out[1] = even - odd
        return out * spin_raised(lmax_phi, 0) ** (spin + other)

    return gram


def half_terms(key: str, weights: Mapping[str, NDArray], lmax: int) -> list[Term]:
    """The terms of Σ h X̄ Ȳ that the position-space products make: each product once."""
    terms = []
    for product in products_in_use(key, dict(weights)):
        for term in _product_terms(product, padded(weights[product.spectrum], lmax)):
            terms.append(term if product.plain == key[0] else term.transposed())
    return terms


def full_terms(key: str, weights: Mapping[str, NDArray], lmax: int) -> list[Term]:
    """The terms of the whole f: for X = Y both orders of plain and gradient leg."""
    terms = half_terms(key, weights, lmax)
    return terms + [term.transposed() for term in terms] if key[0] == key[1] else terms


def _product_terms(product: Product, weight: NDArray) -> list[Term]:
    """Terms with the plain leg in the first slot; the factor i of a single B leg is left out, since |i|² = 1.

    A real field ₛX has coefficients −(G + iC) for s > 0 and (−1)^{s+1} (G − iC) for s < 0, which gives the signs.
    """
    lmax = len(weight) - 1
    one = np.ones(lmax + 1)
    if not product.polarised:
        return [Term(0, 1, one, -spin_raised(lmax, 0) * weight)]
    raised, lowered = 0.5 * spin_raised(lmax, 2) * weight, 0.5 * spin_raised(lmax, -2) * weight
    if product.plain == "B" and product.source != "B":
        return [Term(-2, 3, one, raised), Term(2, -1, -one, lowered)]
    if product.plain != "B" and product.source == "B":
        return [Term(-2, 3, -one, raised), Term(2, -1, -one, -lowered)]
    return [Term(-2, 3, -one, raised), Term(2, -1, -one, lowered)]


def sigma(key: str) -> int:
    """−1 for one B leg, which turns the parity of an estimator, else +1."""
    return -1 if key.count("B") == 1 else 1


def total_between(totals: Mapping[str, NDArray], p: str, q: str) -> NDArray:
    """C^{pq}; parity leaves no TB or EB."""
    pair = "".join(sorted((p, q), key="TEB".index))
    if pair in ("TB", "EB"):
        return np.zeros_like(totals["TT"])
    return totals[pair]


def padded(values: NDArray, lmax: int) -> NDArray[np.float64]:
    """The first lmax+1 values, with zeros where there are fewer."""
    out = np.zeros(lmax + 1)
    n = min(lmax + 1, len(values))
    out[:n] = values[:n]
    return out

"""Weight functions, estimates, responses and noise of scalar contaminant fields as direct sums over Wigner 3j symbols.

A field c(n) multiplies spin-s harmonics by ∫ ₛY*_l₁m₁ Y_LM ₛY_l₂m₂ = (−1)^m₁ (l₁ l₂ L; −m₁ m₂ M) Γˢ_{l₁Ll₂} with
Γˢ = √((2l₁+1)(2l₂+1)(2L+1)/4π) (l₁ l₂ L; s −s 0), which is the form δX = Σ (−1)^m₁ (3j) D^{XX'} c X' of
`okamoto_hu` with Γˢ in place of Kˢ: D^TT = e Γ⁰, D^EE = D^BB = e Γ², D^EB = i o Γ² = −D^BE. Hence f is p D C + (…)ᵀ.

A modulation acts on the beamed sky, with a transfer, and is deconvolved: D → b₁⁻¹ D β₂ b₂.
Additive emission n with ⟨n n'⟩ = c δ(n, n') in T, and in each of Q and U, has ⟨T T⟩ = Γ⁰ and, from ⟨P P'*⟩ = 2c δ and
⟨P P'⟩ = 0, ⟨(E+iB)₁ (E−iB)₂⟩ = 2p Γ², ⟨(E+iB)₁ (E+iB)₂⟩ = 0, so that EE = BB = e Γ² and EB = −BE = −i o Γ².
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from lensrec.sphere.alm import alm_index, alm_size, lmax_of

from .okamoto_hu import full_order, spectrum
from .wigner3j import coupling, wigner3j_row

WeightMatrix = Callable[[int], NDArray[np.complex128]]
"""L ↦ f_{l₁Ll₂}, axes (l₁, l₂)."""


def gamma(spin: int, L: int, lmax: int) -> NDArray[np.float64]:
    """Γˢ_{l₁Ll₂}, array (lmax + 1, lmax + 1) over (l₁, l₂)."""
    l1 = np.arange(lmax + 1)
    out = np.zeros((lmax + 1, lmax + 1))
    for l2 in range(spin, lmax + 1):
        symbols = wigner3j_row(l2, L, -spin, 0, lmax) * (l1 >= spin)
        out[:, l2] = np.sqrt((2 * l1 + 1) * (2 * l2 + 1) * (2 * L + 1) / (4 * np.pi)) * symbols
    return out


def odd_sum(L: int, lmax: int) -> NDArray[np.int64]:
    """1 where l₁ + l₂ + L is odd, 0 where it is even."""
    l = np.arange(lmax + 1)
    return (l[:, None] + l + L) % 2


def modulation_weight(key: str, cls: dict, beam: NDArray, transfer: NDArray) -> WeightMatrix:
    """f of X → b⁻¹∗[b∗X + c (βb∗X)]."""
    lmax = len(beam) - 1

    def mixing(x: str, z: str, L: int) -> NDArray:
        odd = odd_sum(L, lmax)
        if (x == "T") != (z == "T"):
            return np.zeros(odd.shape, dtype=complex)
        if x == z:
            return (1 - odd) * gamma(0 if x == "T" else 2, L, lmax).astype(complex)
        return (1j if x == "E" else -1j) * odd * gamma(2, L, lmax)

    def matrix(L: int) -> NDArray:
        x, y = key
        scaled = np.outer(1 / beam, beam * transfer)
        first = sum(scaled * mixing(x, z, L) * spectrum(cls, z + y, lmax) for z in "TEB")
        second = sum(scaled * mixing(y, z, L) * spectrum(cls, x + z, lmax) for z in "TEB")
        return (1 - 2 * odd_sum(L, lmax)) * first + second.T

    return matrix


def additive_weight(key: str, u: NDArray) -> WeightMatrix:
    """f of independent emission with the profile u."""
    lmax = len(u) - 1

    def matrix(L: int) -> NDArray:
        odd = odd_sum(L, lmax)
        factor = {"TT": 1 - odd, "EE": 1 - odd, "BB": 1 - odd, "EB": -1j * odd, "BE": 1j * odd}.get(key, 0 * odd)
        return factor * np.outer(u, u) * gamma(0 if key == "TT" else 2, L, lmax)

    return matrix


def estimate(f: WeightMatrix, x: NDArray, y: NDArray, lmax_L: int, factor: float) -> NDArray[np.complex128]:
    """n (−1)^M Σ 3j(l₁ l₂ L; m₁ m₂ −M) f* X Y, healpy's order; X and Y (..., nalm) of one lmax, n = `factor`."""
    lmax = lmax_of(x.shape[-1])
    weights = np.stack([f(L) for L in range(lmax_L + 1)]).conj()
    shape = np.broadcast_shapes(x.shape[:-1], y.shape[:-1])
    total = np.zeros((*shape, lmax_L + 1, lmax_L + 1), dtype=complex)
    for l1 in range(lmax + 1):
        for l2 in range(lmax + 1):
            if weights[:, l1, l2].any():
                m2 = np.arange(lmax_L + 1) - np.arange(-l1, l1 + 1)[:, None]
                y2 = np.where(abs(m2) <= l2, full_order(y, l2)[..., np.clip(m2 + l2, 0, 2 * l2)], 0.0)
                pairs = full_order(x, l1)[..., :, None] * y2
                sums = np.einsum("Lmk,...mk->...Lk", coupling(l1, l2, lmax_L), pairs)
                total += weights[:, l1, l2, None] * sums
    out = np.zeros((*shape, alm_size(lmax_L)), dtype=complex)
    for L in range(lmax_L + 1):
        m = np.arange(L + 1)
        out[..., alm_index(lmax_L, L, m)] = total[..., L, : L + 1]
    return factor * out


def response(a: WeightMatrix, b: WeightMatrix, f1: NDArray, f2: NDArray, lmax_L: int, n: float) -> NDArray[np.float64]:
    """R^{ab}_L = n/(2L+1) Σ f^a* f^b F_l₁ F_l₂."""
    pair = np.outer(f1, f2) * n
    return np.array([np.sum((a(L).conj() * b(L)).real * pair) / (2 * L + 1) for L in range(lmax_L + 1)])


def noise(
    a: WeightMatrix,
    b: WeightMatrix,
    b_swapped: WeightMatrix,
    straight: NDArray,
    crossed: NDArray,
    lmax_L: int,
    n: float,
) -> NDArray[np.float64]:
    """n/(2L+1) Σ f^a* (f^b S + f^{b, letters swapped} X): S, X the products of filters and spectra over (l₁, l₂)."""
    out = np.zeros(lmax_L + 1)
    for L in range(lmax_L + 1):
        out[L] = n * np.sum((a(L).conj() * (b(L) * straight + b_swapped(L) * crossed)).real) / (2 * L + 1)
    return out

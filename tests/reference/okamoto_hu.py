"""Quadratic lensing estimators on the full sky as direct sums over Wigner 3j symbols: the slow truth.

The sums are those of Okamoto & Hu (2003, astro-ph/0301031); the curl ones those of Cooray, Kamionkowski &
Caldwell (2005, astro-ph/0503002) and Namikawa, Yamauchi & Taruya (2012, arXiv:1110.1718). The weights are
derived here from the remapping itself, so that signs follow from this project's conventions and nothing else.

Conventions
-----------
A field of spin s > 0 is ₛf = f_θ + i f_φ (s = 1) or Q + iU (s = 2) = −Σ (G + iC)_lm ₛY_lm, as healpy has it.
The deflection α = ∇φ + curl Ω has G = √(L(L+1)) φ, C = √(L(L+1)) Ω; hence α_θ = ∂_θφ − ∂_φΩ/sin θ and
α_φ = ∂_φφ/sin θ + ∂_θΩ: the curl part is ∇Ω turned by +90°, from e_θ towards e_φ. Remapped fields are
X̃(n) = X(n + α), polarisation carried along the geodesic without turning; so δX = α·∇X.

How a deflection mixes modes
----------------------------
With ð = −(∂_θ + i ∂_φ/sin θ) on scalars, the covariant derivative is δ ₛX = −½ (α₊ ð̄ + α₋ ð) ₛX, where
α₊ = α_θ + iα_φ = −Σ √(L(L+1)) (φ + iΩ)_LM ₁Y_LM and α₋ is its conjugate, +Σ √(L(L+1)) (φ − iΩ)_LM ₋₁Y_LM.
Raising and lowering the spin of ₛY_l₂m₂ gives c₊ = √((l₂−s)(l₂+s+1)) and −c₋, c₋ = √((l₂+s)(l₂−s+1));
projecting on ₛY_l₁m₁ by the integral of three harmonics yields, with Γ = √((2l₁+1)(2l₂+1)(2L+1)/4π),

    A = c₋ (l₁ l₂ L; s 1−s −1),     B = c₊ (l₁ l₂ L; s −1−s 1),
    Kˢ_{l₁Ll₂} = −½ Γ √(L(L+1)) (A + B)  for φ,     Hˢ_{l₁Ll₂} = −½ Γ √(L(L+1)) (A − B)  for Ω,
    δ(E + iB)_l₁m₁ = Σ (−1)^m₁ (l₁ l₂ L; −m₁ m₂ M) (K² φ_LM + i H² Ω_LM) (E + iB)_l₂m₂.

Spin −2 gives the same for E − iB with (K, iH) → (pK, −ipH), p = (−1)^(l₁+l₂+L). Temperature is s = 0. With
the parity projectors e = (1 + p)/2 and o = (1 − p)/2 the operators δX = Σ (−1)^m₁ (3j) D^{XX'} ψ X' are

    φ:  D^TT =  e K⁰,   D^EE = D^BB =  e K²,   D^EB = i o K²,   D^BE = −i o K²;
    Ω:  D^TT = i o H⁰,  D^EE = D^BB = i o H²,  D^EB = −e H²,    D^BE =  e H².

K has the closed form Kˢ_{l₁Ll₂} = ½ [L(L+1) + l₂(l₂+1) − l₁(l₁+1)] Γ (l₁ l₂ L; s −s 0), which is Okamoto &
Hu's ₛF_{l₁Ll₂} times p, since their symbol stands as (l₁ L l₂; s 0 −s). C^BB enters EB with the same sign as
C^EE: were the two equal, ⟨(E + iB)(E + iB)⟩ would vanish and lensing, which keeps E + iB to itself, leave it so.

Weights
-------
    ⟨X_l₁m₁ Y_l₂m₂⟩ = Σ_LM (−1)^M (l₁ l₂ L; m₁ m₂ −M) f^{XY}_{l₁Ll₂} ψ_LM     to first order, ψ = φ or Ω, with
    f^{XY}_{l₁Ll₂} = p Σ_X' D^{XX'}_{l₁Ll₂} C^{X'Y}_l₂ + Σ_Y' D^{YY'}_{l₂Ll₁} C^{XY'}_l₁.

Written out, a prime meaning the two multipoles swapped (K = K_{l₁Ll₂}, K' = K_{l₂Ll₁}; C₁ = C_l₁, C₂ = C_l₂):

         φ                                            Ω
    TT   e (K⁰ TT₂ + K⁰' TT₁)                         −i o (H⁰ TT₂ − H⁰' TT₁)
    TE   e (K⁰ TE₂ + K²' TE₁)                         −i o (H⁰ TE₂ − H²' TE₁)
    ET   e (K² TE₂ + K⁰' TE₁)                         −i o (H² TE₂ − H⁰' TE₁)
    EE   e (K² EE₂ + K²' EE₁)                         −i o (H² EE₂ − H²' EE₁)
    EB   −i o (K² BB₂ + K²' EE₁)                      e (H²' EE₁ − H² BB₂)
    BE   i o (K² EE₂ + K²' BB₁)                       e (H² EE₂ − H²' BB₁)
    TB   −i o K²' TE₁                                 e H²' TE₁
    BT   i o K² TE₂                                   e H² TE₂

So f is real where l₁ + l₂ + L is even and imaginary where it is odd, f* = p f; and
f^{YX}_{l₂Ll₁} = p f^{XY}_{l₁Ll₂}.

Estimators, from legs X', Y'' that are inverse-variance filtered already:

    q_LM = n (−1)^M Σ (l₁ l₂ L; m₁ m₂ −M) f*_{l₁Ll₂} X'_l₁m₁ Y''_l₂m₂,          n = 1/(1 + δ_XY),
    R_L  = n/(2L+1) Σ f^{w*} f F^X_l₁ F^Y_l₂,                                    ⟨q_LM⟩ = R_L ψ_LM,
    N_L  = n n'/(2L+1) Σ f*^{XY}_{l₁Ll₂} F^X_l₁ F^Y_l₂ [ f^{X'Y'}_{l₁Ll₂} F^X'_l₁ F^Y'_l₂ C^XX'_l₁ C^YY'_l₂
                                                + f^{Y'X'}_{l₁Ll₂} F^Y'_l₁ F^X'_l₂ C^XY'_l₁ C^YX'_l₂ ]

where N_L δδ = ⟨q^{XY}_LM q^{X'Y'}*_L'M'⟩ over Gaussian skies. The conjugate makes the response positive. XY
takes X from legs A and Y from legs B; for X = Y swapping the sets of legs changes nothing, since f and 3j both
gain p. So TE of (A, B) is ET of (B, A).
"""

from collections.abc import Mapping
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from lensrec.sphere.alm import alm_index, alm_size, lmax_of

from .wigner3j import coupling, wigner3j_row

KEYS = ("TT", "TE", "ET", "EE", "EB", "BE", "TB", "BT")
SOURCES = ("phi", "omega")
SPIN = {"T": 0, "E": 2, "B": 2}

Spectra = Mapping[str, NDArray[np.float64]]
Fields = Mapping[str, NDArray]


@lru_cache(maxsize=1024)
def kernel(spin: int, L: int, lmax: int, source: str = "phi") -> NDArray[np.float64]:
    """Kˢ_{l₁Ll₂} (source "phi") or Hˢ_{l₁Ll₂} ("omega"), array (lmax + 1, lmax + 1) over (l₁, l₂)."""
    l1 = np.arange(lmax + 1)
    out = np.zeros((lmax + 1, lmax + 1))
    for l2 in range(spin, lmax + 1):
        lower = np.sqrt((l2 + spin) * (l2 - spin + 1.0)) * wigner3j_row(l2, L, 1 - spin, -1, lmax)
        upper = np.sqrt((l2 - spin) * (l2 + spin + 1.0)) * wigner3j_row(l2, L, -1 - spin, 1, lmax)
        gamma = np.sqrt((2 * l1 + 1) * (2 * l2 + 1) * (2 * L + 1) / (4 * np.pi))
        both = lower + upper if source == "phi" else lower - upper
        out[:, l2] = -0.5 * gamma * np.sqrt(L * (L + 1.0)) * both
    out.flags.writeable = False
    return out


def mixing(x: str, x_from: str, L: int, lmax: int, source: str = "phi") -> NDArray[np.complex128]:
    """D^{XX'}_{l₁Ll₂}, by which ψ_LM turns X'_l₂ into δX_l₁; array (lmax + 1, lmax + 1) over (l₁, l₂)."""
    if SPIN[x] != SPIN[x_from]:
        return np.zeros((lmax + 1, lmax + 1), dtype=complex)
    l = np.arange(lmax + 1)
    odd = (l[:, None] + l + L) % 2
    factor = {
        ("phi", True): 1 - odd,
        ("phi", False): (1j if x == "E" else -1j) * odd,
        ("omega", True): 1j * odd,
        ("omega", False): (-1 if x == "E" else 1) * (1 - odd),
    }[source, x == x_from]
    return (factor * kernel(SPIN[x], L, lmax, source)).astype(complex)


def weight_matrix(key: str, L: int, lmax: int, cls: Spectra, source: str = "phi") -> NDArray[np.complex128]:
    """f^{XY}_{l₁Ll₂} for all l₁, l₂ ≤ lmax.

    Parameters
    ----------
    key : one of KEYS
    cls : dict with any of TT, EE, BB, TE, each from l = 0; what is missing or beyond its end counts as zero

    Returns
    -------
    array (lmax + 1, lmax + 1), complex, axes (l₁, l₂)
    """
    if key not in KEYS:
        raise ValueError(f"key must be one of {KEYS}, got {key!r}")
    if source not in SOURCES:
        raise ValueError(f"source must be one of {SOURCES}, got {source!r}")
    x, y = key[0], key[1]
    l = np.arange(lmax + 1)
    parity = 1 - 2 * ((l[:, None] + l + L) % 2)
    first = sum(mixing(x, z, L, lmax, source) * spectrum(cls, z + y, lmax) for z in "TEB")
    second = sum(mixing(y, z, L, lmax, source) * spectrum(cls, x + z, lmax) for z in "TEB")
    return parity * first + np.transpose(second)


def weight(key: str, l1: int, L: int, l2: int, cls: Spectra, source: str = "phi") -> complex:
    """f^{XY}_{l₁Ll₂}: real where l₁ + l₂ + L is even, imaginary where it is odd."""
    return complex(weight_matrix(key, L, max(l1, l2), cls, source)[l1, l2])


def estimate(
    key: str, legs_a: Fields, legs_b: Fields, cls: Spectra, lmax_L: int, source: str = "phi"
) -> NDArray[np.complex128]:
    """q_LM of one estimator, unnormalised, up to lmax_L.

    Parameters
    ----------
    key : one of KEYS
    legs_a, legs_b : dict with "T", "E", "B"
        Filtered alm (..., nalm) in healpy's order; the first letter of the key is taken from `legs_a`, the
        second from `legs_b`. Their lmax may differ; leading axes broadcast.
    cls : dict
        Weight spectra, see `weight_matrix`.

    Returns
    -------
    array (..., alm_size(lmax_L)), complex, healpy's order
    """
    x, y = _by_degree(legs_a[key[0]]), _by_degree(legs_b[key[1]])
    lmax = max(len(x), len(y)) - 1
    f = np.stack([weight_matrix(key, L, lmax, cls, source) for L in range(lmax_L + 1)]).conj()
    total: NDArray | complex = 0.0
    for l1, x1 in enumerate(x):
        for l2, y2 in enumerate(y):
            if not f[:, l1, l2].any():
                continue
            m2 = np.arange(lmax_L + 1) - np.arange(-l1, l1 + 1)[:, None]
            pairs = x1[..., :, None] * np.where(abs(m2) <= l2, y2[..., np.clip(m2 + l2, 0, 2 * l2)], 0.0)
            sums = np.einsum("Lmk,...mk->...Lk", coupling(l1, l2, lmax_L), pairs)
            total = total + f[:, l1, l2, None] * sums
    L, m = np.meshgrid(np.arange(lmax_L + 1), np.arange(lmax_L + 1), indexing="ij")
    held = m <= L
    shape = np.broadcast_shapes(legs_a[key[0]].shape[:-1], legs_b[key[1]].shape[:-1])
    grid = np.broadcast_to(total, (*shape, lmax_L + 1, lmax_L + 1))
    out = np.zeros((*shape, alm_size(lmax_L)), dtype=complex)
    out[..., alm_index(lmax_L, L[held], m[held])] = grid[..., held] / _twice(key)
    return out


def response(
    key: str,
    cls_w: Spectra,
    cls_true: Spectra,
    filters_x: Spectra,
    filters_y: Spectra,
    lmax_L: int,
    source: str = "phi",
) -> NDArray[np.float64]:
    """R_L for 0 ≤ L ≤ lmax_L: ⟨q_LM⟩ = R_L ψ_LM.

    Parameters
    ----------
    cls_w, cls_true : dict
        Spectra in the estimator's weights, and those by which the sky responds.
    filters_x, filters_y : dict with "T", "E", "B"
        Diagonal filters of the two sets of legs, from l = 0; zero beyond their ends.
    """
    fx, fy = filters_x[key[0]], filters_y[key[1]]
    lmax = max(len(fx), len(fy)) - 1
    pair = np.outer(_padded(fx, lmax), _padded(fy, lmax)) / _twice(key)
    out = np.zeros(lmax_L + 1)
    for L in range(lmax_L + 1):
        weights = weight_matrix(key, L, lmax, cls_w, source)
        product = weights.conj() * weight_matrix(key, L, lmax, cls_true, source)
        out[L] = np.sum(product.real * pair) / (2 * L + 1)
    return out


def noise(
    key1: str,
    key2: str,
    cls_w: Spectra,
    filters_x: Spectra,
    filters_y: Spectra,
    totals: Spectra,
    lmax_L: int,
    source: str = "phi",
) -> NDArray[np.float64]:
    """N_L of ⟨q^{key1}_LM q^{key2}*_LM⟩ over Gaussian skies for 0 ≤ L ≤ lmax_L; N0 is N_L / (R_L R'_L).

    Parameters
    ----------
    cls_w : dict
        Weight spectra of both estimators.
    filters_x, filters_y : dict with "T", "E", "B"
        Filters of legs A (first letter of either key) and of legs B (second letter of either).
    totals : dict with any of TT, EE, BB, TE
        Power of the skies before the filters, signal and noise.
    """
    x, y, u, v = *key1, *key2
    lmax = max(len(a) for a in (*filters_x.values(), *filters_y.values())) - 1
    fx, fu = (_padded(filters_x[z], lmax) for z in (x, u))
    fy, fv = (_padded(filters_y[z], lmax) for z in (y, v))
    straight = np.outer(fx * fu * spectrum(totals, x + u, lmax), fy * fv * spectrum(totals, y + v, lmax))
    crossed = np.outer(fx * fv * spectrum(totals, x + v, lmax), fy * fu * spectrum(totals, y + u, lmax))
    out = np.zeros(lmax_L + 1)
    for L in range(lmax_L + 1):
        one = weight_matrix(key1, L, lmax, cls_w, source).conj()
        two = weight_matrix(key2, L, lmax, cls_w, source)
        two_swapped = weight_matrix(v + u, L, lmax, cls_w, source)
        out[L] = np.sum((one * (two * straight + two_swapped * crossed)).real) / (2 * L + 1)
    return out / (_twice(key1) * _twice(key2))


def spectrum(cls: Spectra, pair: str, lmax: int) -> NDArray[np.float64]:
    """C^{XY}_l for 0 ≤ l ≤ lmax in either order of the letters; zero where it isn't given."""
    values = cls.get(pair, cls.get(pair[::-1], np.zeros(1)))
    return _padded(values, lmax)


def full_order(alm: NDArray, l: int) -> NDArray[np.complex128]:
    """a_lm of one l for −l ≤ m ≤ l, shape (..., 2l + 1), from coefficients of a real field."""
    m = np.arange(l + 1)
    upper = alm[..., alm_index(lmax_of(alm.shape[-1]), np.full(l + 1, l), m)]
    lower = ((-1.0) ** m * upper.conj())[..., :0:-1]
    return np.concatenate([lower, upper], axis=-1)


def _by_degree(alm: NDArray) -> list[NDArray[np.complex128]]:
    return [full_order(alm, l) for l in range(lmax_of(alm.shape[-1]) + 1)]


def _twice(key: str) -> float:
    return 2.0 if key[0] == key[1] else 1.0


def _padded(values: NDArray, lmax: int) -> NDArray[np.float64]:
    out = np.zeros(lmax + 1)
    n = min(len(values), lmax + 1)
    out[:n] = values[:n]
    return out

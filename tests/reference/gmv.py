"""The global-minimum-variance estimator as a direct sum over Wigner 3j symbols: the slow truth.

The estimator is that of Maniyar et al. (2021, arXiv:2101.12193): of all estimators quadratic in T, E and B jointly
the one of least variance. Conventions, the mixing D^{XX'} and the weights f^{XY} are those of `okamoto_hu`.

From the likelihood
-------------------
Let a be a Gaussian sky of all a^X_lm, X = T, E, B, and C its covariance. ψ (φ or Ω) at first order changes C by

    ⟨X_l₁m₁ Y_l₂m₂⟩ = Σ_LM (−1)^M (l₁ l₂ L; m₁ m₂ −M) f^{XY}_{l₁Ll₂} ψ_LM.

The gradient of ln ℒ = −½ a†C⁻¹a + … is δ ln ℒ = ½ ā† δC ā, ā = C⁻¹a, plus what doesn't depend on a. As a is real on the
sphere, this is Σ_LM ψ*_LM q_LM over −L ≤ M ≤ L with

    q_LM = ½ Σ_XY (−1)^M Σ_{l₁m₁l₂m₂} (l₁ l₂ L; m₁ m₂ −M) f^{XY*}_{l₁Ll₂} X̄_l₁m₁ Ȳ_l₂m₂,   X̄_l = Σ_X' F^{XX'}_l X'_l,

all nine ordered pairs XY, BB among them, and F = C⁻¹ the inverse of the total 3×3 spectra. Where only some fields
are observed at an l, F is the inverse of their block and zero elsewhere: unobserved modes have infinite noise.

Swapping l₁m₁X ↔ l₂m₂Y gives the 3j p = (−1)^(l₁+l₂+L) and f^{YX}_{l₂Ll₁} = p f^{XY}_{l₁Ll₂}, so of two sets of legs
q(a, b) = q(b, a): the sum over ordered pairs is symmetrised already.

Response and noise, for any weights f_w and filters F, to sources with f_s and skies of power C, with Ĉ = F C Fᵀ:

    ⟨q_LM⟩ = R_L ψ_LM,           R_L = ½/(2L+1) Σ_{l₁l₂} Σ_{XY} f_w^{XY*}_{l₁Ll₂} [F_l₁ f_s Fᵀ_l₂]^{XY},
    ⟨q_LM q*_L'M'⟩ = δδ N_L,     N_L = ½/(2L+1) Σ_{l₁l₂} Σ_{XY} f_w^{XY*}_{l₁Ll₂} [Ĉ_l₁ f_w Ĉᵀ_l₂]^{XY}.

R from ⟨X_l₁m₁ Y_l₂m₂⟩ above and the orthogonality of 3j, Σ_{m₁m₂} (l₁ l₂ L; m₁ m₂ −M)² = 1/(2L+1). N from the two
contractions of four legs, ⟨X̄X̄'*⟩⟨ȲȲ'*⟩ and ⟨X̄Ȳ'*⟩⟨ȲX̄'*⟩, each with ¼; the second equals the first, by the swap on
X'Y'. With F = C⁻¹, Ĉ = F and so N = R where f_w = f_s: q's variance is the Fisher information, and no estimator
quadratic in the maps has a lower N0 than 1/R.

What it reduces to
------------------
Okamoto & Hu's q^XY has n = 1/(1 + δ_XY). A set of legs with itself has q^YX = q^XY, so for *any* filtered legs

    q^GMV = q^TT + q^EE + q^BB + q^TE + q^EB + q^TB,                      (two sets: XY with X ≠ Y is ½(q^XY + q^YX))

the unweighted sum of unnormalised single estimators. With a diagonal F that is their sum weighted by R^XY after
normalisation. If C^TE = 0 in F, in the sky and in the weights, f^TE = f^TB = 0, and TT, EE, EB and BB are left: no leg
of one correlates with both legs of another, so they are independent, N = R for each and

    R^GMV = R^TT + R^EE + R^EB + R^BB:   1/N0^GMV = Σ 1/N0^XY.
"""

from collections.abc import Mapping
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from lensrec.sphere.alm import alm_ell, alm_index, alm_size, lmax_of, resize_alm

from .okamoto_hu import Fields, Spectra, full_order, mixing, spectrum
from .wigner3j import coupling

FIELDS = "TEB"


def joint_filter(totals: Spectra, ranges: Mapping[str, tuple[int, int]]) -> NDArray[np.float64]:
    """F_l = C_l⁻¹ over the fields that are there at l; array (lmax + 1, 3, 3), axes (l, X, X') in the order T, E, B.

    Parameters
    ----------
    totals : dict with TT, EE, BB, TE
        Power of the skies, signal and noise, from l = 0.
    ranges : dict of "T", "E", "B" to (lmin, lmax), both included
        Multipoles that take part; lmax of the filter is the largest.
    """
    lmax = max(high for _, high in ranges.values())
    power = spectra_matrix(totals, lmax)
    out = np.zeros_like(power)
    for l in range(lmax + 1):
        held = [i for i, x in enumerate(FIELDS) if ranges[x][0] <= l <= ranges[x][1]]
        if held:
            block = np.ix_(held, held)
            out[l][block] = np.linalg.inv(power[l][block])
    return out


def spectra_matrix(cls: Spectra, lmax: int) -> NDArray[np.float64]:
    """C^{XX'}_l as an array (lmax + 1, 3, 3); what isn't given is zero."""
    return np.stack([np.stack([spectrum(cls, x + y, lmax) for y in FIELDS], axis=-1) for x in FIELDS], axis=-2)


def joint_legs(fields: Fields, filters: NDArray) -> dict[str, NDArray[np.complex128]]:
    """X̄_lm = Σ_X' F^{XX'}_l X'_lm of "T", "E", "B", each (..., nalm), up to the lmax of the filter (lmax + 1, 3, 3)."""
    lmax = len(filters) - 1
    stack = [resize_alm(fields[x], lmax) for x in FIELDS]
    rows = filters[alm_ell(lmax)]
    return {x: sum(rows[:, i, j] * alm for j, alm in enumerate(stack)) for i, x in enumerate(FIELDS)}


def joint_weights(L: int, lmax: int, cls: Spectra, source: str = "phi") -> NDArray[np.complex128]:
    """f^{XY}_{l₁Ll₂} of all nine ordered pairs, array (lmax + 1, lmax + 1, 3, 3), axes (l₁, l₂, X, Y).

    f^{XY}_{l₁Ll₂} = p Σ_Z D^{XZ}_{l₁Ll₂} C^{ZY}_l₂ + Σ_Z D^{YZ}_{l₂Ll₁} C^{XZ}_l₁, see `okamoto_hu`.
    """
    power = spectra_matrix(cls, lmax)
    operator = _operator(L, lmax, source)
    l = np.arange(lmax + 1)
    parity = 1 - 2 * ((l[:, None] + l + L) % 2)
    first = np.einsum("abxz,bzy->abxy", operator, power)
    second = np.einsum("bayz,axz->abxy", operator, power)
    return parity[:, :, None, None] * first + second


def gmv_sum(
    legs_a: Fields, legs_b: Fields, weights: Spectra, lmax_phi: int, source: str = "phi"
) -> NDArray[np.complex128]:
    """q_LM, unnormalised, array (..., alm_size(lmax_phi)) in healpy's order.

    Parameters
    ----------
    legs_a, legs_b : dict with "T", "E", "B"
        Jointly filtered alm (..., nalm), as `joint_legs` has them, X̄ from a and Ȳ from b; symmetric in both.
    weights : dict with any of TT, EE, BB, TE
        Spectra in f^{XY}, from l = 0.
    """
    lmax_a, lmax_b = lmax_of(legs_a["T"].shape[-1]), lmax_of(legs_b["T"].shape[-1])
    f = np.stack([joint_weights(L, max(lmax_a, lmax_b), weights, source) for L in range(lmax_phi + 1)]).conj()
    M = np.arange(lmax_phi + 1)
    total: NDArray | complex = 0.0
    for l1 in range(lmax_a + 1):
        a = np.stack([full_order(legs_a[x], l1) for x in FIELDS], axis=-2)
        for l2 in range(lmax_b + 1):
            if not f[:, l1, l2].any():
                continue
            b = np.stack([full_order(legs_b[y], l2) for y in FIELDS], axis=-2)
            m2 = M - np.arange(-l1, l1 + 1)[:, None]
            partner = np.where(abs(m2) <= l2, b[..., np.clip(m2 + l2, 0, 2 * l2)], 0.0)
            products = np.einsum("Lxy,...xm,...ymM->...LmM", f[:, l1, l2], a, partner)
            total = total + np.einsum("LmM,...LmM->...LM", coupling(l1, l2, lmax_phi), products)
    L, m = np.meshgrid(M, M, indexing="ij")
    held = m <= L
    grid = np.asarray(total)
    out = np.zeros((*grid.shape[:-2], alm_size(lmax_phi)), dtype=complex)
    out[..., alm_index(lmax_phi, L[held], m[held])] = grid[..., held] / 2
    return out


def gmv_response(
    weights: Spectra, true: Spectra, filters: NDArray, lmax_phi: int, source: str = "phi"
) -> NDArray[np.float64]:
    """R_L for 0 ≤ L ≤ lmax_phi, ⟨q_LM⟩ = R_L ψ_LM.

    Parameters
    ----------
    weights, true : dict with any of TT, EE, BB, TE
        Spectra in the estimator's weights, and those by which the sky responds.
    filters : array (lmax + 1, 3, 3)
        F^{XX'}_l of both legs, symmetric or not; see `joint_filter`.
    """
    lmax = len(filters) - 1
    out = np.zeros(lmax_phi + 1)
    for L in range(lmax_phi + 1):
        f_w = joint_weights(L, lmax, weights, source)
        f_s = joint_weights(L, lmax, true, source)
        through = np.einsum("axu,abuv,byv->abxy", filters, f_s, filters)
        out[L] = np.sum(f_w.conj() * through).real / (2 * (2 * L + 1))
    return out


def gmv_noise(
    weights: Spectra, filters: NDArray, totals: Spectra, lmax_phi: int, source: str = "phi"
) -> NDArray[np.float64]:
    """N_L = ⟨|q_LM|²⟩ of the unnormalised estimate over Gaussian skies of power `totals`; N0_L = N_L / R_L²."""
    lmax = len(filters) - 1
    passed = np.einsum("lxu,luv,lyv->lxy", filters, spectra_matrix(totals, lmax), filters)
    # Ĉ takes the place of F in the response: N has the same sum.
    return gmv_response(weights, weights, passed, lmax_phi, source)


@lru_cache(maxsize=64)
def _operator(L: int, lmax: int, source: str) -> NDArray[np.complex128]:
    """D^{XX'}_{l₁Ll₂} as an array (lmax + 1, lmax + 1, 3, 3)."""
    rows = [np.stack([mixing(x, z, L, lmax, source) for z in FIELDS], axis=-1) for x in FIELDS]
    table = np.stack(rows, axis=-2)
    table.flags.writeable = False
    return table

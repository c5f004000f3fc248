"""What the checks compare with: harmonics, geodesics and estimators summed term by term.

None of it is shared with what is checked. It is slow, and meant for multipoles of some tens.
"""

from collections.abc import Iterator

import ducc0
import numpy as np
from numpy.typing import NDArray
from scipy.special import eval_jacobi, gammaln


def index(lmax: int, ell: int, m: int) -> int:
    """Place of a_ℓm in healpy's order."""
    return m * (2 * lmax + 1 - m) // 2 + ell


def real_modes(lmax: int, lmin: int) -> Iterator[tuple[int, NDArray[np.complex128]]]:
    """ℓ and alm of fields of which a Gaussian sky with C_ℓ = 1 is a sum, each times a Gaussian number of its own."""
    for ell in range(lmin, lmax + 1):
        for m in range(ell + 1):
            for value in (1.0,) if m == 0 else (np.sqrt(0.5), 1j * np.sqrt(0.5)):
                alm = np.zeros((lmax + 1) * (lmax + 2) // 2, dtype=complex)
                alm[index(lmax, ell, m)] = value
                yield ell, alm


def spin_harmonic(ell: int, m: int, spin: int, theta: NDArray, phi: NDArray) -> NDArray[np.complex128]:
    """ₛY_ℓm = (−1)^s √((2ℓ+1)/4π) d^ℓ_{m,−s}(θ) e^{imφ}.

    Wigner's d comes from Jacobi polynomials (Varshalovich, Moskalev & Khersonskii 1988, section 4.3.4).
    """
    a, b = abs(m + spin), abs(m - spin)
    k = ell - max(abs(m), abs(spin))
    size = 0.5 * (gammaln(k + 1) + gammaln(k + a + b + 1) - gammaln(k + a + 1) - gammaln(k + b + 1))
    sign = (-1) ** spin * (1 if -spin >= m else (-1) ** (m + spin))
    d = np.exp(size) * np.sin(theta / 2) ** a * np.cos(theta / 2) ** b * eval_jacobi(k, a, b, np.cos(theta))
    return sign * np.sqrt((2 * ell + 1) / (4 * np.pi)) * d * np.exp(1j * m * phi)


def spin_field(alm: NDArray, lmax: int, spin: int, theta: NDArray, phi: NDArray) -> NDArray[np.complex128]:
    """Σ a_ℓm Y_ℓm of alm (1, nalm), or −Σ (G + iC)_ℓm ₛY_ℓm of (2, nalm), over all m of real G and C."""
    out = np.zeros(len(theta), dtype=complex)
    for ell in range(spin, lmax + 1):
        for m in range(-ell, ell + 1):
            some = alm[:, index(lmax, ell, abs(m))]
            some = some if m >= 0 else (-1) ** m * some.conj()
            value = some[0] if spin == 0 else -(some[0] + 1j * some[1])
            out += value * spin_harmonic(ell, m, spin, theta, phi)
    return out


def axes(theta: NDArray, phi: NDArray) -> NDArray[np.float64]:
    """n, e_θ and e_φ as vectors, (3, 3, npoints)."""
    st, ct, sp, cp = np.sin(theta), np.cos(theta), np.sin(phi), np.cos(phi)
    return np.array([[st * cp, st * sp, ct], [ct * cp, ct * sp, -st], [-sp, cp, 0 * sp]])


def walk(theta: NDArray, phi: NDArray, alpha: NDArray) -> tuple[NDArray, NDArray, NDArray]:
    """θ′, φ′ at the end of a geodesic, and the γ of exp(isγ), by rotating vectors about its pole."""
    n, e_theta, e_phi = axes(theta, phi)
    length = np.hypot(*alpha)
    ahead = (alpha[0] * e_theta + alpha[1] * e_phi) / np.where(length > 0, length, 1.0)
    there = n * np.cos(length) + ahead * np.sin(length)
    # of e_θ only its part along the way turns with the way
    part = (ahead * e_theta).sum(axis=0)
    carried = e_theta + part * (ahead * (np.cos(length) - 1.0) - n * np.sin(length))
    theta2, phi2 = np.arctan2(np.hypot(there[0], there[1]), there[2]), np.arctan2(there[1], there[0])
    _, e_theta2, e_phi2 = axes(theta2, phi2)
    return theta2, phi2, -np.arctan2((carried * e_phi2).sum(axis=0), (carried * e_theta2).sum(axis=0))


def estimate(key: str, x: NDArray, y: NDArray, cl: NDArray, lmax: int, lmax_phi: int) -> NDArray[np.complex128]:
    """Okamoto & Hu's sum (2003, astro-ph/0301031, equation 20) for φ by TT, EE or EB of filtered alm, weight C_ℓ.

    q_LM = (1+δ_XY)⁻¹ (−1)^M Σ 3j(ℓ₁ ℓ₂ L; m₁ m₂ −M) f*_{ℓ₁Lℓ₂} X_ℓ₁m₁ Y_ℓ₂m₂ with f = K_{ℓ₁Lℓ₂} C_ℓ₂ + K_{ℓ₂Lℓ₁} C_ℓ₁
    for even ℓ₁+ℓ₂+L, and −i K_{ℓ₂Lℓ₁} C_ℓ₁ for odd ones in EB, where
    K_{ℓ₁Lℓ₂} = ½ [L(L+1) + ℓ₂(ℓ₂+1) − ℓ₁(ℓ₁+1)] √((2ℓ₁+1)(2ℓ₂+1)(2L+1)/4π) 3j(ℓ₁ ℓ₂ L; s −s 0), s = 0 or 2.
    """
    spin, L = (0 if key == "TT" else 2), np.arange(lmax_phi + 1)
    out = np.zeros((lmax_phi + 1, lmax_phi + 1), dtype=complex)
    for l1 in range(spin, lmax + 1):
        for l2 in range(spin, lmax + 1):
            root = np.sqrt((2 * l1 + 1) * (2 * l2 + 1) * (2 * L + 1) / (4 * np.pi))
            one, two = l1 * (l1 + 1), l2 * (l2 + 1)
            straight = 0.5 * (L * (L + 1) + two - one) * root * _three_j(l1, l2, spin, -spin, lmax_phi)
            swapped = 0.5 * (L * (L + 1) + one - two) * root * _three_j(l2, l1, spin, -spin, lmax_phi)
            even = (l1 + l2 + L) % 2 == 0
            if key == "EB":
                weight = 1j * np.where(even, 0.0, swapped * cl[l1])
            else:
                weight = (0.5 + 0j) * np.where(even, straight * cl[l2] + swapped * cl[l1], 0.0)
            for m1 in range(-l1, l1 + 1):
                for m2 in range(max(-l2, -m1), min(l2, lmax_phi - m1) + 1):
                    pair = _coefficient(x, lmax, l1, m1) * _coefficient(y, lmax, l2, m2)
                    out[:, m1 + m2] += (-1) ** (m1 + m2) * _three_j(l1, l2, m1, m2, lmax_phi) * weight * pair
    return np.concatenate([out[m:, m] for m in range(lmax_phi + 1)])


def _coefficient(alm: NDArray, lmax: int, ell: int, m: int) -> complex:
    value = alm[index(lmax, ell, abs(m))]
    return value if m >= 0 else (-1) ** m * value.conj()


def _three_j(l1: int, l2: int, m1: int, m2: int, lmax: int) -> NDArray[np.float64]:
    """(ℓ₁ ℓ₂ L; m₁ m₂ −m₁−m₂) for L = 0 … lmax, by Schulten & Gordon's recursion."""
    row = np.zeros(lmax + 1)
    first, values = ducc0.misc.wigner3j_int(l1, l2, m1, m2)
    stop = min(first + len(values), lmax + 1)
    if stop > first:
        row[first:stop] = values[: stop - first]
    return row

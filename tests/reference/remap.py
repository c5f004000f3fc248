"""Slow truths for the remap: spin-weighted harmonics summed term by term, geodesics in 3-vectors, det A.

Nothing here is shared with what it checks: Wigner's d comes from the eigenvectors of J_y, whose eigenvalues are
known exactly; positions come from rotating vectors, in extended precision where the machine has it.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from lensrec.sphere.alm import alm_index, lmax_of
from lensrec.sphere.grids import Grid


@lru_cache(maxsize=256)
def _jy_eigenvectors(ell: int) -> NDArray[np.complex128]:
    """Eigenvectors of J_y in the basis |ℓ, m⟩, m = −ℓ … ℓ, as columns in order of the eigenvalues −ℓ … ℓ."""
    m = np.arange(-ell, ell)
    raising = np.sqrt(ell * (ell + 1.0) - m * (m + 1.0))
    jy = np.zeros((2 * ell + 1, 2 * ell + 1), dtype=complex)
    jy[np.arange(1, 2 * ell + 1), np.arange(2 * ell)] = raising / 2j
    jy[np.arange(2 * ell), np.arange(1, 2 * ell + 1)] = -raising / 2j
    return np.linalg.eigh(jy)[1]


def wigner_d_column(ell: int, n: int, theta: NDArray[np.float64]) -> NDArray[np.float64]:
    """d^ℓ_{mn}(θ) = ⟨ℓ m| exp(−iθJ_y) |ℓ n⟩ for m = −ℓ … ℓ, shape (2ℓ+1, nθ); d¹₁₀ = −sin θ/√2."""
    vectors = _jy_eigenvectors(ell)
    turn = np.exp(-1j * np.outer(np.arange(-ell, ell + 1), theta))
    return ((vectors * vectors[ell + n].conj()) @ turn).real


def spin_harmonics(ell: int, spin: int, theta: NDArray[np.float64], phi: NDArray[np.float64]) -> NDArray[np.complex128]:
    """ₛY_ℓm of Goldberg et al. (1967) for m = −ℓ … ℓ, shape (2ℓ+1, nθ)."""
    d = wigner_d_column(ell, -spin, theta)
    phase = np.exp(1j * np.outer(np.arange(-ell, ell + 1), phi))
    return (-1) ** spin * np.sqrt((2 * ell + 1) / (4.0 * np.pi)) * d * phase


def field(alm: NDArray, spin: int, theta: NDArray[np.float64], phi: NDArray[np.float64]) -> NDArray[np.complex128]:
    """A spin-s field by direct summation: Σ a_ℓm Y_ℓm, or −Σ (G + iC)_ℓm ₛY_ℓm for s > 0.

    `alm` has one row for spin 0, two otherwise; the result is complex, shape (nθ,).
    """
    rows = np.atleast_2d(alm)
    lmax = lmax_of(rows.shape[-1])
    out = np.zeros(len(theta), dtype=complex)
    for ell in range(spin, lmax + 1):
        m = np.arange(ell + 1)
        some = rows[:, alm_index(lmax, np.full(ell + 1, ell), m)].astype(complex)
        # a_{ℓ,−m} = (−1)^m a*_ℓm holds for the gradient and for the curl part, each being of a real field
        every = np.concatenate([((-1.0) ** m * some.conj())[:, :0:-1], some], axis=1)
        coefficient = every[0] if spin == 0 else -(every[0] + 1j * every[1])
        out += coefficient @ spin_harmonics(ell, spin, theta, phi)
    return out


def basis(theta: NDArray, phi: NDArray) -> NDArray[np.longdouble]:
    """n, e_θ and e_φ, shape (3 vectors, 3 components, npoints), in extended precision."""
    t, p = np.asarray(theta, dtype=np.longdouble), np.asarray(phi, dtype=np.longdouble)
    st, ct, sp, cp = np.sin(t), np.cos(t), np.sin(p), np.cos(p)
    return np.array([[st * cp, st * sp, ct], [ct * cp, ct * sp, -st], [-sp, cp, 0 * sp]])


def angles(n: NDArray) -> tuple[NDArray, NDArray]:
    """Colatitude and longitude of vectors (3, npoints)."""
    return np.arctan2(np.hypot(n[0], n[1]), n[2]), np.arctan2(n[1], n[0])


def follow(
    theta: NDArray, phi: NDArray, alpha: NDArray
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Walk |α| along the great circle that starts in the direction (α_θ, α_φ), carrying e_θ along.

    Returns θ′, φ′ and the angle γ, such that exp(isγ) turns a spin-s field at n′ into the frame of n.
    """
    n, e_theta, e_phi = basis(theta, phi)
    alpha = np.asarray(alpha, dtype=np.longdouble)
    length = np.hypot(alpha[0], alpha[1])
    safe = np.where(length > 0, length, 1)
    along = np.where(length > 0, (alpha[0] * e_theta + alpha[1] * e_phi) / safe, e_theta)
    axis = np.cross(n, along, axis=0)

    def turned(v: NDArray) -> NDArray:
        # Rodrigues' rotation about the normal of the great circle is parallel transport along it
        dot = (axis * v).sum(axis=0)
        return v * np.cos(length) + np.cross(axis, v, axis=0) * np.sin(length) + axis * dot * (1 - np.cos(length))

    theta2, phi2 = angles(turned(n))
    carried = turned(e_theta)
    _, e_theta2, e_phi2 = basis(theta2, phi2)
    # what was at angle 0 at n is seen at this angle at n′
    gamma = -np.arctan2((carried * e_phi2).sum(axis=0), (carried * e_theta2).sum(axis=0))
    return theta2.astype(float), phi2.astype(float), gamma.astype(float)


def lensed(
    alm: NDArray, spin: int, alpha: NDArray, theta: NDArray[np.float64], phi: NDArray[np.float64]
) -> NDArray[np.complex128]:
    """A spin-s field seen at (θ, φ) through the deflection α (2, npoints) there."""
    theta2, phi2, gamma = follow(theta, phi, alpha)
    return np.exp(1j * spin * gamma) * field(alm, spin, theta2, phi2)


def magnification_determinant(
    alpha: NDArray, divergence: NDArray, curl: NDArray, shear: NDArray
) -> NDArray[np.float64]:
    """det A of n → n′, exact on the sphere for deflections of any size.

    Jacobi's equation on the unit sphere carries a displacement v of n into the component v∥ + (∇_v α)∥ along the
    geodesic and v⊥ cos|α| + (∇_v α)⊥ sin|α|/|α| across it.

    Parameters
    ----------
    alpha : (2, npix)
    divergence, curl : (npix,)
        ∇·α, and ∇_θ α_φ − ∇_φ α_θ.
    shear : (2, npix)
        Real and imaginary part of (∇_θ + i∇_φ)(α_θ + iα_φ).
    """
    length, psi = np.hypot(alpha[0], alpha[1]), np.arctan2(alpha[1], alpha[0])
    turned = (shear[0] + 1j * shear[1]) * np.exp(-2j * psi)
    sinc = np.sinc(length / np.pi)
    along = 1 + (divergence + turned.real) / 2
    across = np.cos(length) + sinc * (divergence - turned.real) / 2
    return along * across - sinc * (turned.imag - curl) * (turned.imag + curl) / 4


def pixel_angles(grid: Grid) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Colatitude and longitude of every pixel of a ring grid."""
    count = grid.nphi.astype(int)
    phi = [p0 + 2.0 * np.pi * np.arange(n) / n for p0, n in zip(grid.phi0, count, strict=True)]
    return np.repeat(grid.theta, count), np.concatenate(phi)

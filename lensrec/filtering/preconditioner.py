"""The matrix A = 1 + S^½ BᵀYᵀN⁻¹YB S^½ of the optimal filter, and its plain approximate inverses."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

from lensrec.arrays import single_blas_thread
from lensrec.filtering.noise_weighting import NoiseWeighting, coarser
from lensrec.filtering.signal import apply_blocks, block_inverse, block_product
from lensrec.sphere.alm import alm_ell, alm_index, alm_m, alm_size

Operator = Callable[[NDArray], NDArray]


@dataclass(frozen=True, eq=False)
class Preconditioner:
    """An approximate A⁻¹.

    Attributes
    ----------
    apply : r → z
    first : r → z
        Where conjugate gradients make their first step. A part of the unknowns that it solves exactly stays solved.
    """

    apply: Operator
    first: Operator


@dataclass(frozen=True, eq=False)
class System:
    """A = 1 + R M R at multipoles up to an lmax, with R = S^½ and M = BᵀYᵀN⁻¹YB.

    Attributes
    ----------
    root : array (nfields, nfields, lmax+1)
    weighting : NoiseWeighting
    """

    root: NDArray[np.float64]
    weighting: NoiseWeighting

    @property
    def lmax(self) -> int:
        """Highest multipole."""
        return self.weighting.lmax

    def __call__(self, x: NDArray) -> NDArray:
        """A x."""
        return x + apply_blocks(self.root, self.weighting(apply_blocks(self.root, x)))

    def low_part(self, x: NDArray, lmax: int) -> NDArray:
        """A x up to a lower lmax, in half the time."""
        inside = alm_index(self.lmax, alm_ell(lmax), alm_m(lmax))
        return x[:, inside] + apply_blocks(self.root, self.weighting(apply_blocks(self.root, x), lmax))


def diagonal(system: System) -> Preconditioner:
    """(1 + R n R)⁻¹, with n_ℓ = b_ℓ² times the noise-weighted mean of N⁻¹ per steradian: exact for even noise."""
    inverse = block_inverse(isotropic_part(system, typical_density(system.weighting)))

    def apply(residual: NDArray) -> NDArray:
        return apply_blocks(inverse, residual)

    return Preconditioner(apply, apply)


def isotropic_part(system: System, density: NDArray) -> NDArray[np.float64]:
    """1 + R n R, (nfields, nfields, lmax+1), for one density of N⁻¹ a field, (nfields,), µK⁻² sr⁻¹."""
    unit = np.eye(len(density))[..., None]
    noise = unit * (density[:, None] * system.weighting.transfer**2)
    return unit + block_product(system.root, block_product(noise, system.root))


def typical_density(weighting: NoiseWeighting) -> NDArray[np.float64]:
    """N⁻¹ per steradian of each field, averaged with the weights N⁻¹, (nfields,)."""
    return _by_field(weighting, lambda noise, area: float(np.sum(noise**2 / area) / noise.sum()))


def largest_density(weighting: NoiseWeighting) -> NDArray[np.float64]:
    """N⁻¹ per steradian of each field where it is largest, (nfields,)."""
    return _by_field(weighting, lambda noise, area: float(np.max(noise / area)))


def dense(system: System) -> Preconditioner:
    """A⁻¹ by Cholesky factors of its matrix, made column by column; for low lmax."""
    nfields, lmax = len(system.root), system.lmax
    size = nfields * (lmax + 1) ** 2
    matrix = np.empty((size, size))
    unit = np.zeros(size)
    for i in range(size):
        unit[i] = 1.0
        matrix[i] = pack(system(unpack(unit, nfields, lmax)))
        unit[i] = 0.0
    # symmetric but for rounding: one triangle will do
    with single_blas_thread():
        factor = cho_factor(matrix.T, overwrite_a=True, check_finite=False)

    def apply(residual: NDArray) -> NDArray:
        with single_blas_thread():
            solved = cho_solve(factor, pack(residual), check_finite=False)
        return unpack(solved, nfields, lmax).astype(residual.dtype)

    return Preconditioner(apply, apply)


def restricted(system: System, lmax: int) -> System:
    """The same matrix between multipoles up to a lower lmax, on a shorter grid."""
    return replace(system, root=system.root[..., : lmax + 1], weighting=coarser(system.weighting, lmax))


def pack(alm: NDArray) -> NDArray[np.float64]:
    """a_ℓm as real numbers of equal weight in `real_dot`: a_ℓ0, and √2 times the real and imaginary parts at m > 0."""
    lmax = int((8 * alm.shape[-1] + 1) ** 0.5 - 3) // 2
    scaled = np.sqrt(2.0) * alm[:, lmax + 1 :]
    return np.concatenate([alm[:, : lmax + 1].real, scaled.real, scaled.imag], axis=1).ravel()


def unpack(vector: NDArray, nfields: int, lmax: int) -> NDArray[np.complex128]:
    """The inverse of `pack`."""
    rows = vector.reshape(nfields, (lmax + 1) ** 2)
    out = np.zeros((nfields, alm_size(lmax)), dtype=np.complex128)
    out[:, : lmax + 1] = rows[:, : lmax + 1]
    real, imaginary = np.split(rows[:, lmax + 1 :], 2, axis=1)
    out[:, lmax + 1 :] = (real + 1j * imaginary) / np.sqrt(2.0)
    return out


def _by_field(weighting: NoiseWeighting, value: Callable[[NDArray, NDArray], float]) -> NDArray[np.float64]:
    area = np.repeat(weighting.grid.weights, weighting.grid.nphi.astype(np.int64))
    out = np.empty(len(weighting.fields))
    for spin, rows in weighting.rows().items():
        out[rows] = value(weighting.inverse_noise[spin].astype(np.float64), area)
    return out

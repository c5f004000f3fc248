"""The CMB compressed to three numbers, θ_*, ω_b and ω_b + ω_c.

DESI DR2 results II (arXiv:2503.14738), appendix A: from Planck PR4's CamSpec likelihood of the primary CMB,
marginalised over the late integrated Sachs–Wolfe effect and lensing (after Lemos & Lewis 2023, arXiv:2302.12911), so
that it knows of the early universe and the distance to it, and nothing of growth, A_L or neutrino masses.

θ_* is r_s(z_*)/D_M(z_*), CAMB's `thetastar` over 100, not its approximation cosmomc_theta; ω_bc holds no neutrinos.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

NAMES = ("thetastar", "ombh2", "ombch2")

MEAN = np.array([0.01041027, 0.02223208, 0.14207901])
"""θ_*, ω_b, ω_bc."""

COVARIANCE = np.array(
    [
        [6.62099420e-12, 1.24442058e-10, -1.19287532e-09],
        [1.24442058e-10, 2.13441666e-08, -9.40008323e-08],
        [-1.19287532e-09, -9.40008323e-08, 1.48841714e-06],
    ]
)

_UNROOT = np.linalg.inv(np.linalg.cholesky(COVARIANCE))


def compressed_cmb_residual(thetastar: ArrayLike, ombh2: ArrayLike, omch2: ArrayLike) -> NDArray[np.float64]:
    """Whitened model − data, (..., 3), of which the sum of squares is χ².

    Parameters
    ----------
    thetastar, ombh2, omch2 : arrays (...)
        θ_* (0.0104, not a hundred times that), ω_b and ω_c.
    """
    model = np.stack(np.broadcast_arrays(thetastar, ombh2, np.add(ombh2, omch2)), axis=-1)
    return np.einsum("ij,...j->...i", _UNROOT, model - MEAN)


def compressed_cmb_chi2(thetastar: ArrayLike, ombh2: ArrayLike, omch2: ArrayLike) -> NDArray[np.float64]:
    """χ², (...); parameters are those of `compressed_cmb_residual`."""
    return np.sum(compressed_cmb_residual(thetastar, ombh2, omch2) ** 2, axis=-1)

"""An amplitude of a template, fitted to band powers."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Amplitude(NamedTuple):
    """Best-fit amplitude A of data = A × template, its standard deviation, and the χ² left over."""

    mean: float
    sigma: float
    chi2: float
    ndof: int


def fit_amplitude(data: NDArray, template: NDArray, covariance: NDArray) -> Amplitude:
    """Generalised least squares: A = tᵀC⁻¹d / tᵀC⁻¹t, σ_A = (tᵀC⁻¹t)^−½.

    Parameters
    ----------
    data, template : array (n,)
    covariance : array (n, n), or (n,) for a diagonal one

    Raises
    ------
    ValueError
        If shapes differ, or the covariance is not positive definite.
    """
    data, template = np.asarray(data, dtype=float), np.asarray(template, dtype=float)
    matrix = np.diag(covariance) if np.ndim(covariance) == 1 else np.asarray(covariance, dtype=float)
    if data.shape != template.shape or matrix.shape != (data.size, data.size):
        raise ValueError(f"data, template and covariance do not fit: {data.shape}, {template.shape}, {matrix.shape}")
    try:
        root = np.linalg.cholesky(matrix)
    except np.linalg.LinAlgError:
        raise ValueError("the covariance of the band powers is not positive definite") from None
    d, t = np.linalg.solve(root, data), np.linalg.solve(root, template)
    precision = float(t @ t)
    mean = float(t @ d) / precision
    return Amplitude(mean, precision**-0.5, float(np.sum((d - mean * t) ** 2)), data.size - 1)

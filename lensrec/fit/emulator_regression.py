"""Coefficients of polynomials from scattered points, with as much freedom for each as the points themselves call for.

With features A_im, monomials of point i with exponents e_md, the coefficients have a Gaussian prior of width
s Π_d r_d^{e_md}: a Taylor series whose terms fall off by r_d for each degree in y_d. Values y differ from it by white
noise of variance s²λ. Then y is Gaussian with covariance s²K, K = B Bᵀ + λ1, B_im = A_im Π_d r_d^{e_md}, and

    −2 ln L = N ln(yᵀK⁻¹y) + ln det K + constant

with s at its best. r_d and λ are those of highest L, coefficients the posterior means, Π r^e Bᵀ K⁻¹ y; and what the fit
without point i would miss it by is, in closed form (Rasmussen & Williams 2006, eq. 5.12),

    y_i − f_{−i}(i) = [K⁻¹y]_i / [K⁻¹]_ii = (y_i − f_i)/(1 − H_ii),    H = B Bᵀ K⁻¹.

A prior keeps monomials harmless of which there are more than points.
"""

import numpy as np
from numpy.typing import NDArray

SMALLEST_NOISE = 1e-11


def regressed(
    features: NDArray, powers: NDArray, values: NDArray, *, iterations: int = 60
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Coefficients of each column of values, and what points left out are missed by.

    Parameters
    ----------
    features : array (N, M)
    powers : array (M, D), int
        e_md.
    values : array (N, Q)
    iterations : int
        At most, of the search for r and λ.

    Returns
    -------
    coefficients : array (M, Q)
    left_out : array (N, Q)
        y_i − f_{−i}(i).
    """
    coefficients, left_out = np.zeros((features.shape[1], values.shape[1])), np.zeros(values.shape)
    for q, y in enumerate(values.T):
        coefficients[:, q], left_out[:, q] = _one(features, powers, y, iterations)
    return coefficients, left_out


def _one(features: NDArray, powers: NDArray, y: NDArray, iterations: int) -> tuple[NDArray, NDArray]:
    from scipy.optimize import minimize

    size = float(np.max(np.abs(y)))
    if size == 0:
        return np.zeros(features.shape[1]), np.zeros(len(y))
    n_dimensions = powers.shape[1]
    start = np.concatenate([np.full(n_dimensions, np.log(0.3)), [np.log(1e-6)]])
    bounds = [(-9.0, 0.7)] * n_dimensions + [(np.log(SMALLEST_NOISE), 0.0)]
    found = minimize(
        _minus_log_evidence,
        start,
        args=(features, powers, y / size),
        jac=True,
        method="L-BFGS-B",
        bounds=bounds,
        options={"maxiter": iterations},
    )
    prior = np.exp(powers @ found.x[:-1])
    # by singular values of B, not through K, whose inverse loses twice the digits
    u, d, v = np.linalg.svd(features * prior, full_matrices=False)
    shrunk = d**2 / (d**2 + np.exp(found.x[-1]))
    coefficients = prior * (v.T @ (np.divide(shrunk, d, out=np.zeros_like(d), where=d > 0) * (u.T @ y)))
    return coefficients, (y - u @ (shrunk * (u.T @ y))) / (1 - u**2 @ shrunk)


def _minus_log_evidence(
    parameters: NDArray, features: NDArray, powers: NDArray, y: NDArray
) -> tuple[float, NDArray[np.float64]]:
    """−ln L up to a constant, and its gradient by ln r and ln λ."""
    scaled = features * np.exp(powers @ parameters[:-1])
    noise = np.exp(parameters[-1])
    kernel = scaled @ scaled.T + noise * np.eye(len(y))
    sign, log_determinant = np.linalg.slogdet(kernel)
    inverse = np.linalg.inv(kernel)
    solved = inverse @ y
    misfit = float(y @ solved)
    if sign <= 0 or misfit <= 0:
        return np.inf, np.zeros_like(parameters)
    of_monomials = np.einsum("im,im->m", scaled, inverse @ scaled) - len(y) * (scaled.T @ solved) ** 2 / misfit
    by_r = of_monomials @ powers
    by_noise = 0.5 * noise * (np.trace(inverse) - len(y) * float(solved @ solved) / misfit)
    return 0.5 * (len(y) * np.log(misfit) + log_determinant), np.append(by_r, by_noise)

"""Covariances from simulations: shrunk towards an analytic one, and what their noise does to a likelihood.

Of n_s simulations of n_d band powers, S = Σ (x − x̄)(x − x̄)ᵀ/(n_s − 1) is Wishart-distributed: S⁻¹ is biased high by
1/Hartlap, and parameters fitted with it scatter more, and claim less, than with the covariance itself.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class ShrunkCovariance(NamedTuple):
    """λ T + (1 − λ) S.

    Attributes
    ----------
    covariance : array (n, n)
    shrinkage : float
        λ, from 0 (the simulations alone) to 1 (the target alone).
    sample : array (n, n)
        S.
    n_sims : int
        Number of simulations.
    """

    covariance: NDArray[np.float64]
    shrinkage: float
    sample: NDArray[np.float64]
    n_sims: int


def sample_covariance(samples: NDArray) -> NDArray[np.float64]:
    """S of samples (n_s, n_d), unbiased, (n_d, n_d).

    Raises
    ------
    ValueError
        For fewer than two samples.
    """
    centred = _centred(samples)
    return centred.T @ centred / (len(centred) - 1)


def shrunk_covariance(samples: NDArray, target: NDArray, *, shrinkage: float | None = None) -> ShrunkCovariance:
    """The sample covariance shrunk towards an analytic one, with the weight that least squares of the error ask for.

    Parameters
    ----------
    samples : array (n_s, n_d)
        Band powers of simulations.
    target : array (n_d, n_d)
        T, made without the simulations.
    shrinkage : float, optional
        λ, instead of the estimate of its best value.

    Returns
    -------
    ShrunkCovariance

    Raises
    ------
    ValueError
        For fewer than three samples, shapes that differ, a target that is not positive definite, λ outside of [0, 1].

    Notes
    -----
    In the basis in which T is the unit matrix, z = L⁻¹ x with T = L Lᵀ, errors of all band powers and of all their
    correlations count alike, whatever their units. There ⟨|λ + (1 − λ)S − Σ|²⟩ is least for (Ledoit & Wolf 2004;
    Schäfer & Strimmer 2005; Pope & Szapudi 2008, arXiv:0711.2509)

        λ* = Σ_ij Var(S_ij) / Σ_ij ⟨(S_ij − δ_ij)²⟩,   Var(S_ij) ≈ n_s/(n_s − 1)³ Σ_k (z_ki z_kj − mean_k)²,

    since T is not random; the estimate replaces the mean in the denominator by what the samples have, and is kept
    within [0, 1]. S⁻¹'s Hartlap factor is that of λ = 0; with λ → 1 there is nothing to correct.
    """
    centred = _centred(samples)
    count, n = centred.shape
    target = np.asarray(target, dtype=np.float64)
    if target.shape != (n, n) or count < 3:
        raise ValueError(
            f"shrinkage needs three samples or more of as many band powers as the target has, got samples "
            f"{centred.shape} and a target {target.shape}"
        )
    try:
        root = np.linalg.cholesky(target)
    except np.linalg.LinAlgError:
        raise ValueError("the covariance to shrink towards is not positive definite") from None
    z = np.linalg.solve(root, centred.T).T
    sample = z.T @ z / (count - 1)
    if shrinkage is None:
        # Σ_k (z_i z_j)² − n_s mean²
        scatter = (z**2).T @ z**2 - (count - 1) ** 2 / count * sample**2
        noise, distance = count / (count - 1) ** 3 * scatter.sum(), np.sum((sample - np.eye(n)) ** 2)
        shrinkage = float(np.clip(noise / distance, 0.0, 1.0)) if distance > 0 else 1.0
    if not 0.0 <= shrinkage <= 1.0:
        raise ValueError(f"the weight of the target must lie between 0 and 1, got {shrinkage}")
    matrix = root @ (shrinkage * np.eye(n) + (1 - shrinkage) * sample) @ root.T
    return ShrunkCovariance((matrix + matrix.T) / 2, shrinkage, root @ sample @ root.T, count)


def hartlap_factor(n_sims: int, n_data: int) -> float:
    """(n_s − n_d − 2)/(n_s − 1), which makes S⁻¹ unbiased (Hartlap, Simon & Schneider 2007, astro-ph/0608064, eq. 17).

    Raises
    ------
    ValueError
        If there are not more than n_d + 2 simulations.
    """
    _check(n_sims, n_data, 2)
    return (n_sims - n_data - 2) / (n_sims - 1)


def percival_factor(n_sims: int, n_data: int, n_parameters: int) -> float:
    """By what to multiply the variance of parameters from a Gaussian likelihood with hartlap_factor S⁻¹.

    m₁ = [1 + B(n_d − n_p)]/[1 + A + B(n_p + 1)] (Percival et al. 2014, arXiv:1312.4841, eq. 18), with
    A = 2/[(n_s − n_d − 1)(n_s − n_d − 4)] and B = (n_s − n_d − 2)/[(n_s − n_d − 1)(n_s − n_d − 4)], is the variance of
    fitted parameters over that which is claimed, to second order in 1/n_s. Exactly, by the distribution of Schur
    complements of S, it is (n_s − 2)(n_s − n_d − 2)/[(n_s − n_d + n_p − 2)(n_s − n_d + n_p − 1)].

    Raises
    ------
    ValueError
        If there are not more than n_d + 4 simulations, or not 1 ≤ n_p ≤ n_d parameters.
    """
    a, b = _second_order(n_sims, n_data, n_parameters)
    return (1 + b * (n_data - n_parameters)) / (1 + a + b * (n_parameters + 1))


def percival_power(n_sims: int, n_data: int, n_parameters: int) -> float:
    """The power m of `student_minus2lnl` for which credible regions cover as often as they claim.

    m = n_p + 2 + [n_s − 1 + B(n_d − n_p)]/[1 + B(n_d − n_p)] (Percival et al. 2022, arXiv:2108.10402), with B of
    `percival_factor`; then posterior variances are those of the fitted parameters, to second order in 1/n_s (exactly:
    m = n_s − n_d + 2n_p + 1). Errors are those of that function.
    """
    _, b = _second_order(n_sims, n_data, n_parameters)
    extra = b * (n_data - n_parameters)
    return n_parameters + 2 + (n_sims - 1 + extra) / (1 + extra)


def student_minus2lnl(chi2: NDArray | float, n_sims: int, power: float | None = None) -> NDArray | float:
    """−2 ln L = m ln[1 + χ²/(n_s − 1)], up to a constant, with χ² = rᵀ S⁻¹ r, no Hartlap factor in it.

    Parameters
    ----------
    chi2 : float or array
    n_sims : int
    power : float, optional
        m: n_s, that of the Gaussian likelihood marginalised over the covariance (Sellentin & Heavens 2016,
        arXiv:1511.05969), by default; `percival_power` for errors that match the scatter of the fit.
    """
    if n_sims < 2:
        raise ValueError(f"a covariance from {n_sims} simulations has no likelihood")
    return (n_sims if power is None else power) * np.log1p(np.asarray(chi2) / (n_sims - 1))


def _second_order(n_sims: int, n_data: int, n_parameters: int) -> tuple[float, float]:
    _check(n_sims, n_data, 4)
    if not 1 <= n_parameters <= n_data:
        raise ValueError(f"{n_data} band powers fix between 1 and {n_data} parameters, not {n_parameters}")
    scale = (n_sims - n_data - 1) * (n_sims - n_data - 4)
    return 2 / scale, (n_sims - n_data - 2) / scale


def _check(n_sims: int, n_data: int, more: int) -> None:
    if n_sims <= n_data + more:
        raise ValueError(
            f"the covariance of {n_data} band powers needs more than {n_data + more} simulations, got {n_sims}: "
            "make more of them, or fewer bands"
        )


def _centred(samples: NDArray) -> NDArray[np.float64]:
    samples = np.asarray(samples, dtype=np.float64)
    if samples.ndim != 2 or len(samples) < 2:
        raise ValueError(f"a covariance needs two samples or more, (n_sims, n_data), got shape {samples.shape}")
    return samples - samples.mean(0)

"""The minimum-variance combination MV of the quadratic estimators."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from lensrec.quadratic.response import Normalisation
from lensrec.sphere.alm import scale_alm


def minimum_variance_weights(norm: Normalisation) -> tuple[dict[str, NDArray], NDArray]:
    """Weights of the estimates in MV, and its N0 (Okamoto & Hu 2003, astro-ph/0301031, eqs. 22–24).

    Returns
    -------
    weights : dict of key to array (2, lmax_phi+1)
        w^α_L, for φ and Ω, with Σ_α w^α = 1 at every L that any estimator reaches: φ̂^MV = Σ_α w^α φ̂^α.
    n0 : array (2, lmax_phi+1)
        N0^MV_L = 1 / Σ_αβ (N0⁻¹)^{αβ}_L; zero where no estimator responds.

    Notes
    -----
    Solved for weights on the unnormalised q, M c = R with M = ⟨q q†⟩, in units where M has a unit diagonal, so that
    an estimator that is 10⁶ times noisier than another does no harm to the precision.
    """
    keys = list(norm.response)
    responses = np.stack([norm.response[key] for key in keys])
    matrix = np.stack([np.stack([norm.noise[one, two] for two in keys]) for one in keys])
    variance = np.einsum("iicl->icl", matrix)
    alive = (variance > 0) & (responses != 0)
    scale = np.where(alive, 1.0 / np.sqrt(np.where(alive, variance, 1.0)), 0.0)
    unit = np.moveaxis(matrix * scale[:, None] * scale[None], (0, 1), (-2, -1))
    unit[..., range(len(keys)), range(len(keys))] = 1.0
    vector = np.moveaxis(responses * scale, 0, -1)
    solution = np.linalg.solve(unit, vector[..., None])[..., 0]
    precision = np.einsum("cli,cli->cl", vector, solution)
    n0 = np.divide(1.0, precision, out=np.zeros_like(precision), where=precision > 0)
    weights = {key: vector[..., i] * solution[..., i] * n0 for i, key in enumerate(keys)}
    return weights, n0


def normalised(estimate: NDArray, response: NDArray) -> NDArray:
    """φ̂ and Ω̂ from the unnormalised q and R, both (2, …); zero where R is zero."""
    inverse = np.divide(1.0, response, out=np.zeros_like(response), where=response != 0)
    return np.stack([scale_alm(q, r) for q, r in zip(estimate, inverse, strict=True)])


def minimum_variance(estimates: Mapping[str, NDArray], norm: Normalisation, weights: Mapping[str, NDArray]) -> NDArray:
    """φ̂^MV and Ω̂^MV, shape (2, nalm), from the unnormalised estimates of its parts."""
    parts = (
        np.stack([scale_alm(alm, w) for alm, w in zip(normalised(q, norm.response[key]), weights[key], strict=True)])
        for key, q in estimates.items()
    )
    return sum(parts, start=np.zeros_like(next(iter(estimates.values()))))

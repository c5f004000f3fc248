"""Templates whose amplitudes in the data are unknown, and how they are taken out of the inverse noise."""

import numpy as np
from numpy.typing import NDArray

from lensrec.sphere.grids import Grid

_INDEPENDENT = 1e-10
"""Smallest eigenvalue, of unit-diagonal TᵀN⁻¹T, of a combination that counts as a template of its own."""


def monopole_dipole(grid: Grid) -> NDArray[np.float64]:
    """The monopole and the three dipoles, cos θ, sin θ cos φ and sin θ sin φ, shape (4, 1, npix), for maps of T."""
    counts = grid.nphi.astype(np.int64)
    out = np.empty((4, 1, grid.npix))
    for theta, phi0, first, n in zip(grid.theta, grid.phi0, grid.ringstart.astype(np.int64), counts, strict=True):
        phi = phi0 + 2.0 * np.pi * np.arange(n) / n
        ring = slice(first, first + n)
        out[0, 0, ring] = 1.0
        out[1, 0, ring] = np.cos(theta)
        out[2, 0, ring] = np.sin(theta) * np.cos(phi)
        out[3, 0, ring] = np.sin(theta) * np.sin(phi)
    return out


def orthonormal_templates(templates: NDArray, inverse_noise: NDArray) -> NDArray[np.float64]:
    """Combinations T′ of templates with T′ᵀN⁻¹T′ = 1, and the same span where there are data.

    Parameters
    ----------
    templates : array (ntemplates, ncomp, npix)
    inverse_noise : array (ncomp, npix), µK⁻²

    Returns
    -------
    array (n, ncomp, npix), n ≤ ntemplates
        In these the noise with free amplitudes has N⁻¹ − N⁻¹T(TᵀN⁻¹T)⁻¹TᵀN⁻¹ = N⁻¹ − Σ_k N⁻¹T′_k (N⁻¹T′_k)ᵀ, which
        is the limit of (N + σ²TTᵀ)⁻¹ for σ → ∞. What adds nothing to the span is left out.

    Raises
    ------
    ValueError
        If a template is zero wherever there are data, or not finite.
    """
    flat = templates.reshape(len(templates), -1)
    weights = inverse_noise.ravel()
    if not np.isfinite(flat[:, weights > 0.0]).all():
        raise ValueError("templates must be finite where there are data; set them to 0 in the holes")
    # holes may hold anything, UNSEEN among them
    flat = np.where(weights > 0.0, flat, 0.0)
    # not by BLAS, whose sums depend on the number of its threads
    matrix = np.stack([np.einsum("ip,p->i", flat, row * weights) for row in flat])
    norm = np.sqrt(np.diagonal(matrix))
    if not (norm > 0.0).all():
        raise ValueError(f"template {int(np.argmin(norm))} is zero wherever there are data; leave it out")
    values, vectors = np.linalg.eigh(matrix / np.outer(norm, norm))
    kept = values > _INDEPENDENT
    mix = vectors[:, kept] / np.sqrt(values[kept]) / norm[:, None]
    return np.einsum("ki,kp->ip", mix, flat).reshape(-1, *templates.shape[1:])

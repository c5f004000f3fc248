"""Quadratic estimators in the usual way: each by itself, every leg a transform on the HEALPix grid of the maps.

They multiply what lensrec's multiply (Carron & Lewis 2017, arXiv:1704.08230, eq. 2.4), but no leg is shared, and one
weighted transform of a HEALPix map, without iterations, takes the place of exact quadrature.
"""

from collections.abc import Mapping

import numpy as np

from lensrec.sphere.alm import lmax_of, scale_alm
from lensrec.sphere.grids import Grid, healpix_grid
from lensrec.sphere.sht import adjoint_synthesis, synthesis


def healpix_estimate(
    key: str, filtered: Mapping[str, np.ndarray], weights: Mapping[str, np.ndarray], nside: int, lmax_phi: int
) -> np.ndarray:
    """Unnormalised φ and Ω, shape (2, nalm), of one estimator; C^BB is left out of the weights."""
    grid = healpix_grid(nside)
    if key == "TT":
        product = _temperature(filtered["T"], filtered["T"], weights["TT"], grid)
    elif key == "EE":
        product = _polarisation("E", filtered["E"], filtered["E"], weights["EE"], grid)
    elif key == "TE":
        product = _temperature(filtered["T"], filtered["E"], weights["TE"], grid)
        product += _polarisation("E", filtered["E"], filtered["T"], weights["TE"], grid)
    elif key == "TB":
        product = _polarisation("B", filtered["B"], filtered["T"], weights["TE"], grid)
    elif key == "EB":
        product = _polarisation("B", filtered["B"], filtered["E"], weights["EE"], grid)
    else:
        raise ValueError(f"unknown estimator {key!r}")
    maps = np.stack([product.real, product.imag])
    ell = np.arange(lmax_phi + 1.0)
    return scale_alm(adjoint_synthesis(maps, grid, lmax_phi, 1, weighted=True), np.sqrt(ell * (ell + 1)))


def _temperature(plain: np.ndarray, source: np.ndarray, weight: np.ndarray, grid: Grid) -> np.ndarray:
    """T̄ ∇Y^W as a complex field."""
    ell = np.arange(lmax_of(source.shape[-1]) + 1.0)
    gradient = synthesis(scale_alm(source, np.sqrt(ell * (ell + 1)) * weight[: len(ell)]), grid, 1)
    return synthesis(plain, grid, 0) * (gradient[0] + 1j * gradient[1])


def _polarisation(kind: str, plain: np.ndarray, source: np.ndarray, weight: np.ndarray, grid: Grid) -> np.ndarray:
    """−½ [P̄* ð(₂Y^W) + P̄ (ð̄ ₂Y^W)*] with P̄ of E or of B alone and Y^W a prediction of E."""
    ell = np.arange(lmax_of(source.shape[-1]) + 1.0)
    raised = -0.5 * np.sqrt(np.maximum((ell - 2) * (ell + 3), 0)) * weight[: len(ell)]
    lowered = 0.5 * np.sqrt(np.maximum((ell + 2) * (ell - 1), 0)) * weight[: len(ell)]
    p = _complex(plain if kind == "E" else np.stack([0 * plain, plain]), grid, 2)
    third = _complex(scale_alm(source, raised), grid, 3)
    first = _complex(scale_alm(source, lowered), grid, 1)
    return p.conj() * third + p * first.conj()


def _complex(alm: np.ndarray, grid: Grid, spin: int) -> np.ndarray:
    real, imag = synthesis(alm, grid, spin)
    return real + 1j * imag

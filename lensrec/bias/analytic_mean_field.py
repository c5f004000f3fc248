"""Analytic mean fields of known masks, noise levels and beams, to first order in the field.

A scalar field c(n) that is the same in all realisations, and known, gives an estimator of φ the mean

    ⟨φ̂_LM⟩ = Σ_c (R^{φc}_L / R^{φφ}_L) c_LM,        ⟨Ω̂_LM⟩ = 0

(Hanson, Rocha & Górski 2009, arXiv:0907.1927; Namikawa, Hanson & Takahashi 2013, arXiv:1209.0091), with R^{φc} of
`lensrec.quadratic.hardening` for a plain estimator, or R^{Hc} for a hardened one: zero for the fields it is hardened
against. Noise power is exact to all orders, since the estimate is linear in it; mask and beam neglect c².
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from lensrec.sphere.alm import alm_size, resize_alm, scale_alm
from lensrec.sphere.grids import Grid
from lensrec.sphere.sht import analysis


def analytic_mean_field(
    fields: Mapping[str, NDArray], responses: Mapping[str, NDArray], own: NDArray
) -> NDArray[np.complex128]:
    """Mean of φ̂ and Ω̂ over realisations of sky and noise.

    Parameters
    ----------
    fields : mapping of a name to array (nalm,), complex
        c_LM of each field; zero beyond its end.
    responses : mapping of a name to array (lmax_phi+1,)
        R^{φc}_L of the estimator to each of the fields: `ResponseMatrix.response[key, "phi", name][0]`, or
        `Hardening.responses[key, name]`.
    own : array (2, lmax_phi+1)
        The estimator's own R_L, of φ and Ω; ones give the mean of the unnormalised q, from which MV is made as from
        any other q.

    Returns
    -------
    array (2, nalm), complex; zero where the estimator does not respond to φ. The second row, Ω, is zero.

    Raises
    ------
    ValueError
        For a field without its response.
    """
    lmax_phi = own.shape[-1] - 1
    inverse = np.divide(1.0, own[0], out=np.zeros(lmax_phi + 1), where=own[0] != 0)
    mean = np.zeros((2, alm_size(lmax_phi)), dtype=np.complex128)
    for name, alm in fields.items():
        if name not in responses:
            raise ValueError(f"no response to the field {name!r}: there are those to {', '.join(responses) or 'none'}")
        mean[0] += scale_alm(resize_alm(alm, lmax_phi), responses[name] * inverse)
    return mean


def noise_field(variance: NDArray, grid: Grid, lmax: int) -> NDArray:
    """N_LM of the noise power N(n) = σ²(n) Ω_pix, µK² sr, for `uneven_noise`.

    Parameters
    ----------
    variance : array (npix,)
        Variance of the noise of each pixel, µK²: of T for TT; of Q, and the same of U, for EE and EB.
    grid : Grid
        Of the map: `healpix_grid(nside)`, or any other.
    lmax : int
    """
    area = np.repeat(grid.weights, grid.nphi.astype(np.int64))
    return analysis(_checked(variance, grid, "noise variance") * area, grid, lmax)


def weight_field(weight: NDArray, grid: Grid, lmax: int) -> NDArray:
    """The modulation W/W̄ − 1 of a map that is multiplied by a weight or mask W(n), (npix,), for `modulation`.

    The mean field is that of estimates normalised to W̄ = 1: of the map T W/W̄.
    """
    return analysis(_relative(_checked(weight, grid, "weight"), grid, "weight"), grid, lmax)


def width_field(width: NDArray, grid: Grid, lmax: int) -> NDArray:
    """The modulation σ/σ̄ − 1 of the width σ(n), or FWHM, of a beam, (npix,), any unit, for `uneven_beam` at σ̄.

    σ̄ is the mean over the sphere, and the estimates are of maps deconvolved with the beam of that width.
    """
    return analysis(_relative(_checked(width, grid, "beam width"), grid, "beam width"), grid, lmax)


def _checked(values: NDArray, grid: Grid, what: str) -> NDArray[np.float64]:
    values = np.asarray(values, dtype=np.float64)
    if values.shape != (grid.npix,):
        raise ValueError(f"the map of the {what} has shape {values.shape}, its grid ({grid.npix},)")
    bad = ~(np.isfinite(values) & (values >= 0))
    if bad.any():
        first = int(bad.argmax())
        raise ValueError(f"the {what} must be finite and not negative, it is {values[first]:g} at pixel {first}")
    return values


def _relative(values: NDArray[np.float64], grid: Grid, what: str) -> NDArray[np.float64]:
    area = np.repeat(grid.weights, grid.nphi.astype(np.int64))
    mean = values @ area / area.sum()
    if mean == 0:
        raise ValueError(f"the {what} is zero everywhere")
    return values / mean - 1.0

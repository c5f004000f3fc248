"""Purified E and B of masked maps: fields that hold nothing of each other.

The B of a masked map holds E, which is much stronger. Of P = Q + iU the scalar ð̄²P holds E in its real, B in its
imaginary part, point by point; masked by w and integrated by parts it is (Smith 2006, astro-ph/0511629; Grain,
Tristram & Stompor 2009, arXiv:0903.2350; Alonso, Sanchez & Slosar 2019, arXiv:1809.09603)

    (E + iB)^pure_ℓm = −[(ℓ−2)!/(ℓ+2)!]^½ ∫ P [ð²(w Y_ℓm)]*
                     = −∫ [ w P ₂Y*_ℓm + 2 [(ℓ−1)(ℓ+2)]^−½ (ðw)* P ₁Y*_ℓm + [(ℓ−2)!/(ℓ+2)!]^½ (ð²w)* P Y*_ℓm ],

for a weight w that vanishes at the edge together with its gradient. As ð̄²P has the coefficients
[(ℓ+2)!/(ℓ−2)!]^½ (E + iB)_ℓm of a scalar, a purified field couples as a masked scalar does,

    ⟨C̃^BB,pure_ℓ⟩ = Σ_ℓ′ r²_ℓℓ′ M⁰⁰_ℓℓ′ C^BB_ℓ′,    r_ℓℓ′ = [(ℓ′+2)!/(ℓ′−2)!]^½ / [(ℓ+2)!/(ℓ−2)!]^½,

and nothing of E is in it (`lensrec.spectra.pseudo_cl.decoupling` with pure_b).
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lensrec.sphere.alm import scale_alm
from lensrec.sphere.grids import Grid, healpix_grid
from lensrec.sphere.sht import analysis, synthesis


class MaskDerivatives(NamedTuple):
    """A mask and what purification needs of it, on one grid.

    Attributes
    ----------
    weight : array (npix,)
        w.
    first, second : arrays (2, npix)
        Real and imaginary part of ðw and ð²w.
    """

    weight: NDArray[np.float64]
    first: NDArray[np.float64]
    second: NDArray[np.float64]


def mask_derivatives(mask_alm: NDArray, grid: Grid, *, nthreads: int = 0) -> MaskDerivatives:
    """w, ðw and ð²w of a mask from its harmonic coefficients.

    Parameters
    ----------
    mask_alm : array (nalm,), complex
        Its band limit is that of the weight that purification uses.
    grid : Grid
        Where the maps are.
    nthreads : int
        0: as many as this process may use.

    Notes
    -----
    ðY_ℓm = [ℓ(ℓ+1)]^½ ₁Y_ℓm, ð²Y_ℓm = [(ℓ+2)!/(ℓ−2)!]^½ ₂Y_ℓm.
    """
    ell = np.arange(round(np.sqrt(2.0 * len(mask_alm))) + 1.0)
    derivatives = []
    for spin, root in ((1, np.sqrt(ell * (ell + 1.0))), (2, _second_root(ell))):
        gradient = scale_alm(mask_alm, root)
        # ₛf = −Σ G ₛY is the convention of `synthesis`
        derivatives.append(-synthesis(np.array([gradient, np.zeros_like(gradient)]), grid, spin, nthreads=nthreads))
    return MaskDerivatives(synthesis(mask_alm, grid, nthreads=nthreads), *derivatives)


def purified_alm(
    qu: NDArray, derivatives: MaskDerivatives, grid: Grid, lmax: int, *, iterations: int = 3, nthreads: int = 0
) -> NDArray[np.complex128]:
    """Purified E and B of a polarisation map, which is not yet masked.

    Parameters
    ----------
    qu : array (2, npix)
        Q and U, COSMO, finite wherever the mask is not zero.
    derivatives : MaskDerivatives
    grid : Grid
    lmax : int
    iterations : int
        Of each analysis, see `lensrec.sphere.sht.analysis`.
    nthreads : int
        0: as many as this process may use.

    Returns
    -------
    array (2, nalm), complex128
        E and B; zero for ℓ < 2. For band powers put the plain E and the purified B together: purified E has lost modes
        and gains nothing.

    Raises
    ------
    ValueError
        If maps and mask are not on the grid.
    """
    maps = np.asarray(qu, dtype=np.float64)
    if maps.shape != (2, grid.npix) or derivatives.weight.shape != (grid.npix,):
        raise ValueError(f"Q, U and the mask must be on the grid's {grid.npix} pixels, got {maps.shape}")
    seen = (derivatives.weight != 0.0) | derivatives.first.any(axis=0) | derivatives.second.any(axis=0)
    p = np.where(seen, maps[0] + 1j * maps[1], 0.0)
    ell = np.arange(lmax + 1.0)
    two = _second_root(ell)
    one = np.sqrt(np.maximum((ell - 1.0) * (ell + 2.0), 0.0))
    settings = {"iterations": iterations, "nthreads": nthreads}

    def parts(field: NDArray) -> NDArray[np.float64]:
        return np.array([field.real, field.imag])

    out = analysis(parts(derivatives.weight * p), grid, lmax, 2, **settings)
    first = parts(np.conj(_complex(derivatives.first)) * p)
    out += scale_alm(analysis(first, grid, lmax, 1, **settings), _inverse(one, 2.0))
    for row, part in enumerate(parts(np.conj(_complex(derivatives.second)) * p)):
        # a scalar has no minus in its convention; all three vanish below ℓ = 2
        out[row] -= scale_alm(analysis(part, grid, lmax, 0, **settings), _inverse(two, 1.0))
    return out


def purified_noise_bias(
    level: float, derivatives: MaskDerivatives, lmax: int, *, grid: Grid, noise_pattern: NDArray | None = None
) -> NDArray[np.float64]:
    """Mean pseudo-spectrum of white noise in purified B (or E).

    Parameters
    ----------
    level : float
        N of E and B, in µK² sr, where p = 1.
    derivatives : MaskDerivatives
    lmax : int
    grid : Grid
    noise_pattern : array (npix,), optional
        p, the rms of the noise in each pixel relative to `level`; 1 if left out.

    Returns
    -------
    array (lmax+1,), zero for ℓ < 2

    Notes
    -----
    N [⟨w²p²⟩ + 4 ⟨|ðw|² p²⟩/((ℓ−1)(ℓ+2)) + ⟨|ð²w|² p²⟩ (ℓ−2)!/(ℓ+2)!]: harmonics of one ℓ and of different spins are
    orthogonal in the sum over m at a point, Σ_m ₛY_ℓm ₜY*_ℓm = δ_st (2ℓ+1)/4π.
    """
    area = np.repeat(grid.weights, grid.nphi.astype(np.int64)) / (4.0 * np.pi)
    if noise_pattern is not None:
        area = area * np.square(noise_pattern, dtype=np.float64)
    squares = [np.square(derivatives.weight), *((part**2).sum(axis=0) for part in derivatives[1:])]
    zero, one, two = (float(area @ square) for square in squares)
    ell = np.arange(lmax + 1.0)
    first = _inverse(np.maximum((ell - 1.0) * (ell + 2.0), 0.0), 4.0)
    out = level * (zero + one * first + two * _inverse(_second_root(ell) ** 2, 1.0))
    return np.where(ell < 2, 0.0, out)


def purification_weights(
    mask: NDArray, *, lmax: int | None = None, everywhere: bool = False, nthreads: int = 0
) -> MaskDerivatives:
    """A HEALPix mask, cut off at a multipole, with its derivatives.

    Parameters
    ----------
    mask : array (npix,), HEALPix RING
        Apodised over several pixels. Where data end and holes are empty, the smoother kind "C1" lets ten times
        less E pass, or better, than "C2", whose second derivative jumps at the edge.
    lmax : int, optional
        Of the mask: w and its derivatives must agree, and are made of the same coefficients. 2 nside if left out; with
        maps to 2 nside, quadrature is then all but exact.
    everywhere : bool
        A mask that is cut off at some multipole rings a little where it was zero. By default the weights are set to
        zero there, where often no data are, and this is what limits purity; with `everywhere` they are kept.
    nthreads : int
        0: as many as this process may use.

    Notes
    -----
    What couples the spectra is the spectrum of the `weight` that is returned.
    """
    nside = round((np.size(mask) / 12) ** 0.5)
    grid = healpix_grid(nside)
    limit = 2 * nside if lmax is None else min(lmax, 3 * nside - 1)
    alm = analysis(np.asarray(mask, dtype=np.float64), grid, limit, nthreads=nthreads)
    smooth = mask_derivatives(alm, grid, nthreads=nthreads)
    if everywhere:
        return smooth
    inside = (np.asarray(mask) != 0).astype(np.float64)
    return MaskDerivatives(*(inside * one for one in smooth))


def _second_root(ell: NDArray) -> NDArray[np.float64]:
    """[(ℓ+2)!/(ℓ−2)!]^½, zero for ℓ < 2."""
    return np.sqrt(np.maximum((ell + 2.0) * (ell + 1.0) * ell * (ell - 1.0), 0.0))


def _inverse(values: NDArray, factor: float) -> NDArray[np.float64]:
    return np.divide(factor, values, out=np.zeros_like(values), where=values > 0)


def _complex(parts: NDArray) -> NDArray[np.complex128]:
    return np.asarray(parts[0] + 1j * parts[1])

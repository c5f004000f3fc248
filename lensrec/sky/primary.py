"""The primary sky: Gaussian T, E, B and the lensing potential φ, correlated as theory says."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lensrec.sky.random import unit_alm
from lensrec.sphere.alm import scale_alm

# A correlation matrix is known to a few roundings (4e-16 each); what is left of a variance below this is zero, and
# a covariance with it can then be no larger than the square root.
_ROUNDING = 1e-14


def draw_primary(
    spectra: Mapping[str, ArrayLike],
    potential: Mapping[str, ArrayLike],
    lmax: int,
    *,
    seed: int,
    sim: int,
    phi_seed: int | None = None,
    phi_sim: int | None = None,
    nthreads: int = 0,
) -> tuple[NDArray[np.complex128], NDArray[np.complex128]]:
    """Draw T, E, B and φ with their spectra and cross-spectra.

    φ is drawn first and by itself; T and E follow conditioned on it, so that skies which share `phi_seed` and
    `phi_sim` share φ to the last bit and still have the right C^Tφ and C^Eφ.

    Parameters
    ----------
    spectra : mapping of arrays (≥ lmax + 1,)
        Unlensed TT, EE, TE and, if there are tensors, BB; raw C_ℓ from ℓ = 0, µK².
    potential : mapping of arrays (≥ lmax + 1,)
        PP (dimensionless) and, if wanted, TP and EP (µK).
    lmax : int
    seed, sim : int ≥ 0
        Name the CMB; see `lensrec.sky.random`.
    phi_seed, phi_sim : int ≥ 0, optional
        Name φ; the CMB's own if left out.
    nthreads : int

    Returns
    -------
    teb_alm : array (3, nalm), complex128, µK
    phi_alm : array (nalm,), complex128

    Raises
    ------
    ValueError
        If a spectrum is missing, too short or not finite, or the covariance of (φ, T, E) or B at some ℓ is not
        positive semi-definite.

    Notes
    -----
    With C = L Lᵀ the Cholesky factor of the covariance of (φ, T, E) at each ℓ and g independent unit Gaussians,
    φ = L₀₀ g_φ, T = L₁₀ g_φ + L₁₁ g_T, E = L₂₀ g_φ + L₂₁ g_T + L₂₂ g_E; B = √C^BB g_B.
    """
    tt, ee, te = (_spectrum(spectra, key, lmax) for key in ("TT", "EE", "TE"))
    bb = _spectrum(spectra, "BB", lmax, optional=True)
    pp = _spectrum(potential, "PP", lmax)
    tp, ep = (_spectrum(potential, key, lmax, optional=True) for key in ("TP", "EP"))
    if np.any(bb < 0):
        raise ValueError(f"the BB spectrum is negative at ℓ = {np.argmax(bb < 0)}")
    factor = cholesky_by_ell(np.array([[pp, tp, ep], [tp, tt, te], [ep, te, ee]]), names=("φ", "T", "E"))

    def draw(component: str, of_seed: int, of_sim: int) -> NDArray[np.complex128]:
        return unit_alm(lmax, seed=of_seed, sim=of_sim, component=component, nthreads=nthreads)

    unit = draw("phi", seed if phi_seed is None else phi_seed, sim if phi_sim is None else phi_sim)
    phi = scale_alm(unit, factor[0, 0])
    teb = np.empty((3, len(unit)), dtype=np.complex128)
    teb[0] = scale_alm(unit, factor[1, 0])
    teb[1] = scale_alm(unit, factor[2, 0])
    unit = draw("T", seed, sim)
    teb[0] += scale_alm(unit, factor[1, 1])
    teb[1] += scale_alm(unit, factor[2, 1])
    teb[1] += scale_alm(draw("E", seed, sim), factor[2, 2])
    teb[2] = scale_alm(draw("B", seed, sim), np.sqrt(bb)) if bb.any() else 0.0
    return teb, phi


def draw_curl(cl_omega: ArrayLike, lmax: int, *, seed: int, sim: int, nthreads: int = 0) -> NDArray[np.complex128]:
    """Draw the curl potential Ω, independent of everything else.

    Parameters
    ----------
    cl_omega : array (≥ lmax + 1,)
        Its spectrum from ℓ = 0, dimensionless, normalised as that of φ.

    Returns
    -------
    array (nalm,), complex128

    Raises
    ------
    ValueError
        If the spectrum is too short, not finite or negative.
    """
    cl = _spectrum({"Ω": cl_omega}, "Ω", lmax)
    if np.any(cl < 0):
        raise ValueError(f"the Ω spectrum is negative at ℓ = {np.argmax(cl < 0)}")
    return scale_alm(unit_alm(lmax, seed=seed, sim=sim, component="omega", nthreads=nthreads), np.sqrt(cl))


def cholesky_by_ell(covariance: NDArray[np.float64], names: tuple[str, ...]) -> NDArray[np.float64]:
    """Lower Cholesky factor of a covariance at every ℓ, zero and degenerate fields allowed.

    Parameters
    ----------
    covariance : array (n, n, nℓ)
        Symmetric in the first two axes.
    names : n strings
        What the fields are called in errors.

    Returns
    -------
    array (n, n, nℓ), lower triangular in the first two axes.

    Raises
    ------
    ValueError
        If the matrix is not positive semi-definite at some ℓ, naming the lowest one.
    """
    variance = np.einsum("iil->il", covariance)
    _refuse(variance < 0, "the spectrum of {} is negative at ℓ = {}", names)
    sigma = np.sqrt(variance)
    unit = np.divide(1.0, sigma, out=np.zeros_like(sigma), where=sigma > 0)
    lone = (covariance != 0).any(axis=1) & (variance == 0)
    _refuse(lone, "{} has no power of its own but a cross-spectrum at ℓ = {}", names)
    rest = covariance * unit[:, None] * unit[None, :]
    factor = np.zeros_like(rest)
    for column in range(len(names)):
        pivot = rest[column, column]
        _refuse(pivot[None] < -_ROUNDING, "the covariance of {} is not positive at ℓ = {}", (", ".join(names),))
        full = pivot > _ROUNDING
        left = np.abs(rest[column:, column]) > np.sqrt(_ROUNDING)
        _refuse(left & ~full, "the covariance of {} with the rest is not positive at ℓ = {}", names[column:])
        scale = np.divide(1.0, np.sqrt(np.abs(pivot)), out=np.zeros_like(pivot), where=full)
        factor[column:, column] = rest[column:, column] * scale
        rest = rest - factor[:, None, column] * factor[None, :, column]
    return factor * sigma[:, None]


def _refuse(wrong: NDArray[np.bool_], message: str, names: tuple[str, ...]) -> None:
    """Raise at the lowest ℓ where something is wrong; `wrong` is (field, ℓ)."""
    if wrong.any():
        ell = int(np.argmax(wrong.any(axis=0)))
        raise ValueError(message.format(names[int(np.argmax(wrong[:, ell]))], ell))


def _spectrum(spectra: Mapping[str, ArrayLike], key: str, lmax: int, *, optional: bool = False) -> NDArray[np.float64]:
    """One spectrum up to lmax, checked."""
    if key not in spectra:
        if optional:
            return np.zeros(lmax + 1)
        raise ValueError(f"the spectrum {key} is missing; given are {', '.join(sorted(spectra)) or 'none'}")
    cl = np.asarray(spectra[key], dtype=np.float64)
    if cl.ndim != 1 or len(cl) < lmax + 1:
        raise ValueError(f"the spectrum {key} must run from ℓ = 0 to lmax = {lmax}, got an array {cl.shape}")
    if not np.isfinite(cl[: lmax + 1]).all():
        raise ValueError(f"the spectrum {key} is not finite at ℓ = {np.argmin(np.isfinite(cl))}")
    return cl[: lmax + 1]

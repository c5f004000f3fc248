"""Band powers of a forecast, TT, TE, EE and φ̂φ̂ of one part of the sky: derivatives and joint covariance.

**Lensed.** The CMB is lensed by φ, of power C_L. The covariance is that of `spectra.lensing_covariance`: Gaussian
parts, the lens-induced part of the CMB, and its cross-block ∂C̃_ℓ/∂C_L V_L, V_L = 2C_L²/((2L+1) f_sky).

**Delensed.** The maps are remapped back by W_L φ̂_L with W = C/(C + N) of the fiducial theory, N the noise of φ̂; what is
left is a CMB lensed by φ_r = φ − W φ̂. For data whose smoothing goes as A^TTTEEE C and whose reconstruction goes as
A^φφ C, perfectly correlated,

    C_r = A^TTTEEE C − 2W √(A^TTTEEE A^φφ) C + W² (A^φφ C + N)    →  C N/(C + N) at the fiducial point,
    ∂C_r/∂C = (1 − W)²,   ∂C_r/∂A^TTTEEE = (1 − W) C,   ∂C_r/∂A^φφ = −W (1 − W) C,

the filter staying as it is. The realised power of φ_r has the variance 2C_r²/((2L+1) f_sky); and since a Wiener filter
leaves nothing that is correlated with its input, ⟨φ_r φ̂⟩ = (1 − W) C − W N = 0, the cross-block with φ̂φ̂ vanishes:
delensing decorrelates the two (Green, Meyers & van Engelen 2017, arXiv:1609.08143). Biases of internal delensing, from
the CMB and noise that φ̂ is made of, are taken to be removed.

Left out in both: N1, the fluctuations of the CMB shared by C̃_ℓ and N0 (RDN0 takes them off), and C_ℓ^Tφ.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lensrec.filtering.isotropic import total_spectra
from lensrec.fit.forecast_noise import residual_potential
from lensrec.fit.forecast_theory import Responses, layout
from lensrec.spectra.lensing_covariance import joint_covariance, lens_variance, shared_fluctuations
from lensrec.theory.lensed_response import bandpower_derivatives
from lensrec.theory.lensing import lensed_spectra
from lensrec.theory.spectra import Spectra

AMPLITUDES = ("A_L_TTTEEE", "A_L_phiphi")
CMB_BLOCKS = ("TT", "TE", "EE")


class Range(NamedTuple):
    """Multipoles start ≤ ℓ < stop."""

    start: int
    stop: int


@dataclass(frozen=True, eq=False)
class Block:
    """Data that are independent of those of any other block.

    Attributes
    ----------
    name : str
    derivatives : array (p, n)
        ∂d/∂θ.
    covariance : array (n, n)
    sizes : mapping of str to int
        How many of the n belong to each spectrum, in order.
    windows : mapping of "TT", "TE", "EE", "PP" to array (n, …), optional
        On raw C_ℓ, zero in rows of other spectra; see `band_powers`.
    """

    name: str
    derivatives: NDArray[np.float64]
    covariance: NDArray[np.float64]
    sizes: Mapping[str, int]
    windows: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)


GRID = np.concatenate(
    [[2, 9, 16, 23, 30], np.arange(50, 2000, 25), np.arange(2000, 3000, 50), np.arange(3000, 20001, 100)]
)
"""Edges that bands have: 7 wide below 30, 25 to 2000, then 50 to 3000 and 100 beyond. Acoustic peaks are 300 apart, so
that a band of 25 averages over a phase of ±0.26 and loses (0.52)²/24 ≈ 1 % of their amplitude; beyond 2000 they are
damped."""


def band_edges(limits: Range) -> NDArray[np.int64]:
    """Those of GRID that lie within; what is left over at the ends is not used."""
    return GRID[(limits.start <= GRID) & (limits.stop >= GRID)].astype(np.int64)


def band_windows(edges: NDArray, lmax: int, *, power: float = 2.0) -> NDArray[np.float64]:
    """W_bℓ ∝ (2ℓ+1) ℓ^power within each band, of unit sum, (n, lmax+1): means of ℓ^power C_ℓ over modes, nearly."""
    ell = np.arange(lmax + 1.0)
    weights = (2 * ell + 1) * ell**power
    out = np.zeros((max(len(edges) - 1, 0), lmax + 1))
    for b, (start, stop) in enumerate(pairwise(edges)):
        out[b, start:stop] = weights[start:stop] / weights[start:stop].sum()
    return out


class Lenses(NamedTuple):
    """What lenses the CMB of a forecast: its C_L, (L_max+1,), and how that follows C^φφ, A^TTTEEE and A^φφ."""

    cl: NDArray[np.float64]
    by_potential: NDArray[np.float64]
    by_smoothing: NDArray[np.float64]
    by_reconstruction: NDArray[np.float64]
    shared: bool


def lenses(cl_phi: NDArray, n0: NDArray | None = None) -> Lenses:
    """Those of the sky, or with the noise N_L of φ̂ given those that delensing leaves; see the module."""
    if n0 is None:
        return Lenses(cl_phi, np.ones_like(cl_phi), cl_phi, np.zeros_like(cl_phi), True)
    left = residual_potential(cl_phi, n0)
    kept = np.divide(left, cl_phi, out=np.ones_like(cl_phi), where=cl_phi > 0)  # 1 − W
    return Lenses(left, kept**2, kept * cl_phi, -(1 - kept) * kept * cl_phi, False)


@dataclass(frozen=True, eq=False)
class LensedTheory:
    """The lensed or delensed CMB of a fiducial theory, and all its derivatives: what blocks are cut from.

    Attributes
    ----------
    lmax : int
        Of the CMB.
    cl_phi : array (L_max+1,)
        C_L^φφ.
    lensed : mapping of "TT", "TE", "EE", "BB" to array (lmax+1,)
    edges : array (nbands+1,)
        Of bands of ℓ, up to lmax.
    band_derivatives : mapping of "TT", "TE", "EE" to array (p + 2, nbands)
        Of bands by θ, A_L^TTTEEE and A_L^φφ.
    band_responses : mapping of the same to array (nbands, L_max+1)
        By the power of what lenses.
    acting : Lenses
    potential : array (p, L_max+1)
        ∂C_L^φφ/∂θ.
    """

    lmax: int
    cl_phi: NDArray[np.float64]
    lensed: Spectra
    edges: NDArray[np.int64]
    band_derivatives: dict[str, NDArray[np.float64]]
    band_responses: dict[str, NDArray[np.float64]]
    acting: Lenses
    potential: NDArray[np.float64]


def lensed_theory(theory: Responses, lmax: int, *, n0: NDArray | None = None, nthreads: int = 0) -> LensedTheory:
    """The CMB up to lmax lensed by φ, or by what delensing with a φ̂ of noise N0_L leaves of it.

    Raises
    ------
    ValueError
        If the theory ends before lmax.
    """
    if lmax > theory.lmax:
        raise ValueError(f"a forecast to l = {lmax} needs a theory that goes so far, this one ends at {theory.lmax}")
    shape, own = theory.layout, layout(lmax)
    cl_phi = shape.cl_phi(theory.value)[: own.lmax_phi + 1]

    def cut(vector: NDArray) -> Spectra:
        return {key: cl[: own.cmb] for key, cl in shape.spectra(vector).items()}

    unlensed, acting = cut(theory.value), lenses(cl_phi, n0)
    lensed = lensed_spectra(unlensed, acting.cl, lmax=lmax, nthreads=nthreads)
    edges = band_edges(Range(0, lmax + 1))
    windows = band_windows(edges, lmax)
    # lensing is linear in the unlensed spectra, so that it takes their derivatives as they are
    changes = [lensed_spectra(cut(row), acting.cl, lmax=lmax, nthreads=nthreads) for row in theory.first]
    potential = np.array([shape.cl_phi(row)[: own.lmax_phi + 1] for row in theory.first])
    by_lenses = np.vstack([potential * acting.by_potential, acting.by_smoothing, acting.by_reconstruction])
    responses, derivatives = {}, {}
    for key in CMB_BLOCKS:
        responses[key] = bandpower_derivatives(unlensed, acting.cl, {key: windows}, nthreads=nthreads)
        derivatives[key] = by_lenses @ responses[key].T
        derivatives[key][: len(changes)] += np.array([change[key] for change in changes]) @ windows.T
    return LensedTheory(lmax, cl_phi, lensed, edges, derivatives, responses, acting, potential)


def cmb_block(
    name: str,
    theory: LensedTheory,
    noise: Mapping[str, NDArray],
    ranges: Mapping[str, Range],
    fsky: float,
    *,
    n0: NDArray | None = None,
) -> Block:
    """One part of the sky.

    Parameters
    ----------
    theory : LensedTheory
    noise : mapping of "TT", "EE", "BB" to array
        N_ℓ/b_ℓ², µK².
    ranges : mapping of "TT", "TE", "EE", "PP" to Range
        Those left out are not measured. Bands are those of GRID.
    fsky : float
    n0 : array, optional
        Noise of φ̂, needed for "PP".

    Returns
    -------
    Block
        Derivatives by the theory's parameters, then by A_L^TTTEEE and A_L^φφ.

    Raises
    ------
    ValueError
        Where N_L is missing or too short, or the theory.
    """
    kept = {key: _bands_within(name, theory, ranges[key]) for key in CMB_BLOCKS if key in ranges}
    sizes = {key: int(rows.sum()) for key, rows in kept.items()}
    total, p = sum(sizes.values()), len(theory.potential) + len(AMPLITUDES)
    all_windows = band_windows(theory.edges, theory.lmax)
    windows, start = {}, 0
    for key, rows in kept.items():
        windows[key] = np.zeros((total, theory.lmax + 1))
        windows[key][start : start + sizes[key]] = all_windows[rows]
        start += sizes[key]
    derivatives = np.hstack([np.zeros((p, 0)), *(theory.band_derivatives[key][:, rows] for key, rows in kept.items())])
    response = np.vstack(
        [np.zeros((0, len(theory.cl_phi))), *(theory.band_responses[key][rows] for key, rows in kept.items())]
    )
    gaussian = np.zeros((0, 0))
    if total:
        gaussian = shared_fluctuations(windows, windows, total_spectra(theory.lensed, noise, theory.lmax), fsky)
    phi_windows, four = np.zeros((0, len(theory.cl_phi))), np.zeros((0, 0))
    if "PP" in ranges:
        phi_windows, four = _potential_bands(name, ranges["PP"], theory.cl_phi, n0, fsky)
        none = np.zeros_like(theory.cl_phi)
        by_phi = np.vstack([theory.potential, none, theory.cl_phi]) @ phi_windows.T
        derivatives = np.hstack([derivatives, by_phi])
        sizes["PP"] = len(phi_windows)
    shared = phi_windows if theory.acting.shared else np.zeros_like(phi_windows)
    covariance = joint_covariance(gaussian, four, response, shared, theory.acting.cl, fsky_cmb=fsky, fsky_cross=fsky)
    windows = {
        key: np.vstack([matrix, np.zeros((len(phi_windows), matrix.shape[1]))]) for key, matrix in windows.items()
    }
    windows["PP"] = np.vstack([np.zeros((total, len(theory.cl_phi))), phi_windows])
    return Block(name, derivatives, covariance, sizes, windows)


def band_powers(
    block: Block,
    unlensed: Mapping[str, NDArray],
    cl_phi: NDArray,
    *,
    a_smooth: float = 1.0,
    a_phi: float = 1.0,
    nthreads: int = 0,
) -> NDArray[np.float64]:
    """The data of a block that is not delensed, (n,), for any theory: what a mock likelihood compares."""
    lmax = max(matrix.shape[1] for key, matrix in block.windows.items() if key != "PP") - 1
    lensed = lensed_spectra(unlensed, cl_phi, lmax=lmax, amplitude=a_smooth, nthreads=nthreads)
    phi = block.windows["PP"]
    out = a_phi * (phi @ np.pad(cl_phi, (0, max(0, phi.shape[1] - len(cl_phi))))[: phi.shape[1]])
    for key in CMB_BLOCKS:
        if key in block.windows:
            out += block.windows[key] @ lensed[key]
    return np.asarray(out)


def _bands_within(name: str, theory: LensedTheory, limits: Range) -> NDArray[np.bool_]:
    if limits.stop > theory.lmax + 1:
        raise ValueError(f"{name} goes to l = {limits.stop - 1}, the theory to {theory.lmax}")
    return (theory.edges[:-1] >= limits.start) & (theory.edges[1:] <= limits.stop)


def _potential_bands(
    name: str, limits: Range, cl_phi: NDArray, n0: NDArray | None, fsky: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Windows (m, L_max+1) and diagonal covariance (m, m) of φ̂φ̂, weighted by inverse variance of an amplitude."""
    if n0 is None or len(n0) < limits.stop or len(cl_phi) < limits.stop:
        ends = "is missing" if n0 is None else f"ends at L = {min(len(n0), len(cl_phi)) - 1}"
        raise ValueError(f"{name}: the noise of the reconstruction {ends}, L = {limits.stop - 1} is asked for")
    variance = lens_variance(cl_phi[: limits.stop] + n0[: limits.stop], fsky)
    edges = GRID[(limits.start < GRID) & (limits.stop > GRID)]
    edges = np.concatenate([[limits.start], edges, [limits.stop]]).astype(np.int64)
    windows = np.zeros((len(edges) - 1, len(cl_phi)))
    for b, (start, stop) in enumerate(pairwise(edges)):
        weight = cl_phi[start:stop] / variance[start:stop]
        # of unit response to A_L^φφ: band powers of order one, as a matrix to be inverted wants them
        windows[b, start:stop] = weight / (weight @ cl_phi[start:stop])
    return windows, np.diag((windows[:, : limits.stop] ** 2) @ variance)


def fisher_matrix(blocks: Iterable[Block]) -> NDArray[np.float64]:
    """Σ D C⁻¹ Dᵀ over blocks, (p, p), by Cholesky factors of the correlation matrices."""
    total: NDArray[np.float64] | float = 0.0
    for block in blocks:
        scale = np.sqrt(np.diag(block.covariance))
        root = np.linalg.cholesky(block.covariance / np.outer(scale, scale))
        white = np.linalg.solve(root, (block.derivatives / scale).T)
        total = total + white.T @ white
    return np.asarray(total)

"""A preconditioner for cut skies: data undone where there are any, the sky's own covariance in holes, low ℓ exactly.

Where there are data A⁻¹ is nearly S^{−½}B⁻¹ (YᵀN⁻¹Y)⁻¹ B⁻¹S^{−½}, which maps of N give without a solution (the
pseudo-inverse of Seljebotn et al. 2017, arXiv:1710.00621). In a hole nothing but the prior counts. With
n = N⁻¹ per steradian, n̄ its mean, and D = (1 + S^½ b n̄ b S^½)⁻¹, A is D⁻¹ − S^½ BᵀYᵀ(n̄ − n)YB S^½. If n is n̄ outside of
holes with pixels Q, Woodbury's identity gives

    A⁻¹ = D + V [YᵀQ ((C⁻¹)_QQ/n̄²)⁻¹ QY] Vᵀ,      V = D S^½ b n̄,      C = bSb + 1/n̄,

and what is hard is (C⁻¹)_QQ⁻¹, the variance within the holes of what is not known from around them. C_QQ is too large
near edges, by the more the redder the field; but multipole by multipole the field is unknown only as far as some
wavelengths from an edge. So each octave of bSb is let in by a taper φ of its own width, which makes

    W = D² + V Yᵀ[1/n]YVᵀ + α Σ_octaves V (YᵀφY) (bSb)_octave (YᵀφY) Vᵀ.

What W leaves is at low multipoles, whose signal is up to 1e7 times the noise. With Z the restriction to these,
K = Zᵀ(Z A Zᵀ)⁻¹Z is their solution, and

    P = W + K (1 − A W)      after a first step along K r

keeps the residual at low multipoles at zero: conjugate gradients run in the space that K does not reach (A-DEF2 of
Tang, Nabben, Vuik & Erlangga 2009, J. Sci. Comput. 39, 340), at the price of one more synthesis in an iteration.
The sum W + K takes 1.5 times the iterations. A tower of levels that solve each other by four iterations each converges
no faster than this and costs twice as much (both of T at nside 256).

At nside 512 and lmax 1000, with a beam of 5′, f_sky 0.67 less 100 holes of 10′, and hits varying by 4, the error of a
known solution falls to 1e-4 σ per mode in 37 iterations for T of 30 µK·arcmin, and in 29 for E and B of 6 µK·arcmin.
All three together at 30 µK·arcmin go at the pace of T: they are at 5e-3 after 20.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from lensrec.filtering.noise_weighting import NoiseWeighting
from lensrec.filtering.preconditioner import (
    Operator,
    Preconditioner,
    System,
    dense,
    isotropic_part,
    restricted,
    typical_density,
)
from lensrec.filtering.signal import apply_blocks, block_inverse, block_product
from lensrec.sphere.alm import alm_ell, alm_index, alm_m, alm_size, lmax_of, scale_alm
from lensrec.sphere.grids import Grid, gauss_legendre_grid
from lensrec.sphere.sht import adjoint_synthesis, synthesis

DENSE_SIZE = 6600
"""Most coefficients of the dense solution, T to ℓ = 80: 0.35 GB, made once for a noise model."""

SMALL = 600
"""Systems of no more coefficients are solved densely as a whole."""

OVERLAP = 0.6
"""Octaves reach down to this part of the multipoles that are solved densely, or half of it. Without an overlap what
lies between the two is slow: T of nside 256 is at 6e-3 after 24 iterations, and at 6e-4 with it."""

HOLE_SHARE = 0.15
"""α: of the covariance in holes, because the octaves overlap. Twice or half as much is little worse."""

TAPER = 0.9
"""Smoothing of the edge of a hole, in 1/ℓ of an octave; 0.7 and 1.2 take more iterations."""

TRANSITION = 1.4
"""Octaves pass into each other over this factor in ℓ to either side."""

DEGREE = 3
"""Degree of the preconditioner's grids in units of lmax: 2 is short of what products of fields need, 4 exact."""


@dataclass(frozen=True, eq=False)
class Octave:
    """A range of multipoles in the holes.

    Attributes
    ----------
    top : int
        Highest multipole.
    covariance : array (nfields, nfields, top+1)
        α bSb of the octave.
    taper : dict of spin to array (npix,)
        φ times the quadrature weight.
    """

    top: int
    covariance: NDArray[np.float64]
    taper: dict[int, NDArray]


def multigrid(system: System) -> Preconditioner:
    """The preconditioner above.

    Parameters
    ----------
    system : System
    """
    nfields, lmax = len(system.root), system.lmax
    if nfields * (lmax + 1) ** 2 <= SMALL:
        return dense(system)
    low = max(1, min(lmax // 2, int((DENSE_SIZE / nfields) ** 0.5) - 1))
    solved = dense(restricted(system, low)).apply
    smooth = two_zones(system, low)
    inside = alm_index(lmax, alm_ell(low), alm_m(low))

    def first(residual: NDArray) -> NDArray:
        out = np.zeros_like(residual)
        out[:, inside] = solved(residual[:, inside])
        return out

    def apply(residual: NDArray) -> NDArray:
        out = smooth(residual)
        out[:, inside] += solved(residual[:, inside] - system.low_part(out, low))
        return out

    return Preconditioner(apply, first)


def two_zones(system: System, low: int) -> Operator:
    """W, with octaves down to about half of the multipole `low`, up to which P solves exactly.

    Parameters
    ----------
    system : System
    low : int
    """
    weighting, lmax, nthreads = system.weighting, system.lmax, system.weighting.nthreads
    rows, beam = weighting.rows(), weighting.transfer
    unit = np.eye(len(beam))[..., None]
    typical = typical_density(weighting)
    inverse = block_inverse(isotropic_part(system, typical))
    forward = block_product(inverse, block_product(system.root, unit * (typical[:, None] * beam)))
    backward = np.swapaxes(forward, 0, 1)
    prior = block_product(inverse, inverse)
    grid = gauss_legendre_grid(DEGREE * lmax)
    area = np.repeat(grid.weights, grid.nphi.astype(np.int64))
    dtype = weighting.inverse_noise[next(iter(rows))].dtype
    variance = {}
    for spin in rows:
        density = nearest(native_density(weighting, spin), weighting.grid, grid)
        variance[spin] = np.divide(area, density, out=np.zeros_like(area), where=density > 0.0).astype(dtype)
    octaves = _octaves(system, low, grid)

    def synthesised(alm: NDArray, spin: int) -> NDArray:
        weighting.transforms[lmax_of(alm.shape[-1]), spin] += 1
        return synthesis(alm if spin else alm[0], grid, spin, nthreads=nthreads)

    def adjoint(maps: NDArray, spin: int, top: int) -> NDArray:
        weighting.transforms[top, spin] += 1
        return np.atleast_2d(adjoint_synthesis(maps, grid, top, spin, nthreads=nthreads))

    def apply(residual: NDArray) -> NDArray:
        pulled = apply_blocks(backward, residual)
        maps = {spin: synthesised(pulled[part], spin) for spin, part in rows.items()}
        total = {spin: variance[spin] * maps[spin] for spin in rows}
        for octave in octaves:
            alm = np.empty((len(beam), alm_size(octave.top)), residual.dtype)
            for spin, part in rows.items():
                alm[part] = adjoint(octave.taper[spin] * maps[spin], spin, octave.top)
            alm = apply_blocks(octave.covariance, alm)
            for spin, part in rows.items():
                total[spin] += octave.taper[spin] * synthesised(alm[part], spin)
        for spin, part in rows.items():
            pulled[part] = adjoint(total[spin], spin, lmax)
        return apply_blocks(forward, pulled) + apply_blocks(prior, residual)

    return apply


def _octaves(system: System, low: int, grid: Grid) -> list[Octave]:
    weighting = system.weighting
    edges = [system.lmax / 2.0]
    while edges[-1] > max(2.0, OVERLAP * low):
        edges.append(edges[-1] / 2.0)
    ell = np.maximum(np.arange(system.lmax + 1.0), 0.5)
    above = [np.sin(np.pi / 4.0 * (1.0 + np.clip(np.log(ell / e) / np.log(TRANSITION), -1.0, 1.0))) ** 2 for e in edges]
    shares = [above[0], *(lower - upper for upper, lower in pairwise(above))]
    beam = weighting.transfer
    signal = beam[:, None] * block_product(system.root, system.root) * beam[None, :]
    area = np.repeat(grid.weights, grid.nphi.astype(np.int64))
    octaves = []
    for share in shares:
        top = int(np.flatnonzero(share > 1e-4).max())
        taper = {}
        for spin, rows in weighting.rows().items():
            # of E and B, E is what is seen above the noise
            power = signal[rows.start, rows.start]
            within = power[(share > 0.5) & (power > 0.0)]
            typical = float(np.exp(np.mean(np.log(within)))) if within.size else 0.0
            taper[spin] = hole_taper(weighting, spin, typical, TAPER * min(TRANSITION, system.lmax / top) / top, grid)
            taper[spin] = (taper[spin] * area).astype(weighting.inverse_noise[spin].dtype)
        octaves.append(Octave(top, HOLE_SHARE * (signal * share)[..., : top + 1], taper))
    return octaves


def hole_taper(native: NoiseWeighting, spin: int, power: float, width: float, grid: Grid) -> NDArray[np.float64]:
    """φ on a grid: 1 deep in a hole, 0 at its edge and outside, for a field whose spectrum is `power`.

    A pixel counts as known by C n/(1 + C n), so that thin data, too, pass into a hole by degrees. Smoothed by a
    Gaussian of σ = `width` this is ½ at a straight edge, and φ = (1 − 2 × it)².
    """
    signal_to_noise = power * native_density(native, spin)
    area = np.repeat(native.grid.weights, native.grid.nphi.astype(np.int64))
    # beyond 4/σ the Gaussian has fallen to 3e-4
    lmax = max(1, min(int(4.0 / width), 4 * native.lmax))
    known = adjoint_synthesis(
        area * signal_to_noise / (1.0 + signal_to_noise), native.grid, lmax, nthreads=native.nthreads
    )
    smooth = scale_alm(known, np.exp(-0.5 * (np.arange(lmax + 1.0) * width) ** 2))
    return np.clip(1.0 - 2.0 * synthesis(smooth, grid, nthreads=native.nthreads), 0.0, 1.0) ** 2


def native_density(native: NoiseWeighting, spin: int) -> NDArray[np.float64]:
    """N⁻¹ per steradian of the pixels, µK⁻² sr⁻¹."""
    area = np.repeat(native.grid.weights, native.grid.nphi.astype(np.int64))
    return native.inverse_noise[spin].astype(np.float64) / area


def nearest(values: NDArray, grid: Grid, other: Grid) -> NDArray[np.float64]:
    """A map on another grid, by the nearest pixel of the nearest ring; 0 beyond the rings there are."""
    order = np.argsort(grid.theta)
    theta = grid.theta[order]
    middle = 0.5 * (theta[1:] + theta[:-1])
    out = np.zeros(other.npix)
    # not the largest distance, which may be that across a cut
    reach = 1.01 * (np.median(np.diff(theta)) if len(theta) > 1 else np.pi / grid.nphi.max())
    for ring, first, count in zip(
        range(len(other.theta)), other.ringstart.astype(np.int64), other.nphi.astype(np.int64), strict=True
    ):
        at = order[np.searchsorted(middle, other.theta[ring])]
        if abs(grid.theta[at] - other.theta[ring]) > reach:
            continue
        phi = other.phi0[ring] + 2.0 * np.pi * np.arange(count) / count
        n = int(grid.nphi[at])
        pixel = np.rint((phi - grid.phi0[at]) * n / (2.0 * np.pi)).astype(np.int64) % n
        out[first : first + count] = values[int(grid.ringstart[at]) + pixel]
    return out

"""Spherical harmonic transforms of spin-s fields on ring grids; a thin, typed face over ducc0.

A field of spin s > 0 is held as its real and imaginary part, shape (2, npix), and by its gradient and curl
coefficients (G, C), shape (2, nalm), in healpy's convention: ₛf = −Σ (G + iC)_ℓm ₛY_ℓm. So Q + iU has (E, B),
and ∇φ, as ∂_θφ + i ∂_φφ/sin θ, has G_ℓm = √(ℓ(ℓ+1)) φ_ℓm. A curl part that is left out counts as zero.
"""

import ducc0
import numpy as np
from numpy.typing import NDArray

from lensrec.arrays import thread_count
from lensrec.sphere.alm import lmax_of
from lensrec.sphere.grids import Grid


def synthesis(alm: NDArray, grid: Grid, spin: int = 0, *, out: NDArray | None = None, nthreads: int = 0) -> NDArray:
    """Evaluate a spin-s field on a grid.

    Parameters
    ----------
    alm : array (nalm,) for spin 0; (2, nalm), or (nalm,) for a pure gradient, for spin > 0
        complex64 or complex128.
    grid : Grid
    spin : int ≥ 0
    out : array of the shape and precision of the result, optional
        Where to write it.
    nthreads : int
        0: as many as this process may use.

    Returns
    -------
    array (npix,) for spin 0, (2, npix) otherwise, real, in the precision of `alm`; `out` where it is given.
    """
    rows = np.atleast_2d(alm)
    pure_gradient = spin > 0 and len(rows) == 1
    if pure_gradient and spin < 3:
        # ducc0 0.42 takes 1.2 to 1.7 times as long over a lone gradient of spin 1 or 2 as over one with a zero curl
        rows, pure_gradient = np.concatenate([rows, np.zeros_like(rows)]), False
    maps = ducc0.sht.synthesis(
        alm=rows,
        lmax=lmax_of(rows.shape[-1]),
        spin=spin,
        mode="GRAD_ONLY" if pure_gradient else "STANDARD",
        map=None if out is None else np.atleast_2d(out),
        nthreads=thread_count(nthreads),
        **_rings(grid),
    )
    return maps[0] if spin == 0 else maps


def adjoint_synthesis(
    maps: NDArray, grid: Grid, lmax: int, spin: int = 0, *, weighted: bool = False, nthreads: int = 0
) -> NDArray:
    """The transpose of `synthesis`; with `weighted`, quadrature weights are applied first.

    On a Gauss–Legendre grid whose degree covers field and lmax the weighted form is the exact analysis.

    Parameters
    ----------
    maps : array (npix,) for spin 0, (2, npix) otherwise

    Returns
    -------
    array (nalm,) for spin 0, (2, nalm) otherwise, complex, in the precision of `maps`.
    """
    extra = {"ringfactor": grid.weights} if weighted else {}
    alm = ducc0.sht.adjoint_synthesis(
        map=np.atleast_2d(maps),
        lmax=lmax,
        spin=spin,
        nthreads=thread_count(nthreads),
        **_rings(grid),
        **extra,
    )
    return alm[0] if spin == 0 else alm


def analysis(maps: NDArray, grid: Grid, lmax: int, spin: int = 0, *, iterations: int = 3, nthreads: int = 0) -> NDArray:
    """Harmonic coefficients of a map.

    Exact in one transform where the grid's quadrature is (Gauss–Legendre); otherwise the quadrature error is
    driven down by `iterations` Jacobi steps a ← a + A†W(m − A a), as healpy does.
    """
    alm = adjoint_synthesis(maps, grid, lmax, spin, weighted=True, nthreads=nthreads)
    if grid.exact_degree >= 0:
        return alm
    for _ in range(iterations):
        residual = maps - synthesis(alm, grid, spin, nthreads=nthreads)
        alm += adjoint_synthesis(residual, grid, lmax, spin, weighted=True, nthreads=nthreads)
    return alm


def synthesis_tp(teb_alm: NDArray, grid: Grid, *, nthreads: int = 0) -> NDArray:
    """T, or T, Q and U, (1 or 3, npix), of T, or of T, E and B, (1 or 3, nalm)."""
    rows = [synthesis(teb_alm[0], grid, 0, nthreads=nthreads)[None]]
    if len(teb_alm) == 3:
        rows.append(synthesis(teb_alm[1:], grid, 2, nthreads=nthreads))
    return np.concatenate(rows)


def analysis_tp(maps: NDArray, grid: Grid, lmax: int, *, iterations: int = 3, nthreads: int = 0) -> NDArray:
    """T, or T, E and B, (1 or 3, nalm), of T, or of T, Q and U, (1 or 3, npix); see `analysis`."""
    rows = [analysis(maps[0], grid, lmax, 0, iterations=iterations, nthreads=nthreads)[None]]
    if len(maps) == 3:
        rows.append(analysis(maps[1:], grid, lmax, 2, iterations=iterations, nthreads=nthreads))
    return np.concatenate(rows)


def _rings(grid: Grid) -> dict[str, NDArray]:
    return {"theta": grid.theta, "nphi": grid.nphi, "phi0": grid.phi0, "ringstart": grid.ringstart}

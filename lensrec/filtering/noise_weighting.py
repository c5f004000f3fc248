"""The noise-weighted transforms BᵀYᵀN⁻¹ and BᵀYᵀN⁻¹YB of maps with uneven noise, holes and templates."""

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from lensrec.sphere.alm import alm_ell, alm_index, alm_m, alm_size, lmax_of, resize_alm, scale_alm
from lensrec.sphere.grids import Grid, gauss_legendre_grid
from lensrec.sphere.sht import adjoint_synthesis, synthesis

Transforms = Counter[tuple[int, int]]
"""Number of transforms, synthesis or adjoint, by (lmax, spin)."""


@dataclass(frozen=True, eq=False)
class NoiseWeighting:
    """N⁻¹ of maps on a grid, seen through beams, by multipole.

    Attributes
    ----------
    grid : Grid
        Rings that are observed at all.
    fields : tuple of "T", "E", "B"
    lmax : int
    inverse_noise : dict of spin to array (npix,)
        µK⁻² per pixel of `grid`, of T (spin 0), and of Q and U alike (spin 2).
    transfer : array (nfields, lmax+1)
        B_ℓ.
    template_alm : array (ntemplates, nfields, nalm)
        BᵀYᵀN⁻¹T (TᵀN⁻¹T)^{−½} of the templates, so that the projection is Σ_k f_k f_kᵀ.
    nthreads : int
    transforms : Counter
        Transforms made so far.
    """

    grid: Grid
    fields: tuple[str, ...]
    lmax: int
    inverse_noise: dict[int, NDArray]
    transfer: NDArray[np.float64]
    template_alm: NDArray
    nthreads: int = 0
    transforms: Transforms = field(default_factory=Counter)

    def rows(self) -> dict[int, slice]:
        """Which rows of fields belong to which spin."""
        first = 1 if self.fields[0] == "T" else 0
        return {spin: slice(0, 1) if spin == 0 else slice(first, first + 2) for spin in self.inverse_noise}

    def pixel_noise(self) -> NDArray:
        """N⁻¹ of every map, (ncomp, npix)."""
        return np.stack([row for spin, row in self.inverse_noise.items() for _ in range(1 if spin == 0 else 2)])

    def adjoint(self, maps: NDArray) -> NDArray:
        """BᵀYᵀN⁻¹ d, (nfields, nalm), of maps (ncomp, npix) on `grid`; templates are not projected out."""
        out = np.empty((len(self.fields), alm_size(self.lmax)), dtype=np.result_type(maps.dtype, np.complex64))
        for spin, rows in self.rows().items():
            weighted = maps[rows] * self.inverse_noise[spin].astype(maps.dtype, copy=False)
            self._back(weighted, spin, out[rows])
        return self._beamed(out)

    def __call__(self, alm: NDArray, lmax: int | None = None) -> NDArray:
        """M s = BᵀYᵀN⁻¹YB s, (nfields, nalm), with the templates projected out of N⁻¹; up to a lower lmax if given."""
        top = self.lmax if lmax is None else lmax
        beamed = self._beamed(alm)
        out = np.empty((len(alm), alm_size(top)), alm.dtype)
        for spin, rows in self.rows().items():
            weights = self.inverse_noise[spin]
            field_map = np.atleast_2d(
                synthesis(beamed[rows] if spin else beamed[0], self.grid, spin, nthreads=self.nthreads)
            )
            field_map *= weights
            self.transforms[self.lmax, spin] += 1
            self._back(field_map, spin, out[rows])
        out = self._beamed(out)
        for template in self.template_alm:
            out -= (real_dot(template, alm) * resize_alm(template, top)).astype(out.dtype, copy=False)
        return out

    def _beamed(self, alm: NDArray) -> NDArray:
        return np.stack([scale_alm(row, b) for row, b in zip(alm, self.transfer, strict=True)])

    def _back(self, maps: NDArray, spin: int, out: NDArray) -> None:
        top = lmax_of(out.shape[-1])
        self.transforms[top, spin] += 1
        out[...] = adjoint_synthesis(maps if spin else maps[0], self.grid, top, spin, nthreads=self.nthreads)


def real_dot(one: NDArray, two: NDArray) -> float:
    """The inner product of two real fields by their a_ℓm, Σ_ℓm a*_ℓm b_ℓm over −ℓ ≤ m ≤ ℓ, summed in double precision.

    Parameters
    ----------
    one, two : arrays (nfields, nalm), complex
    """
    zonal = lmax_of(one.shape[-1]) + 1
    total = 0.0
    for a, b in zip(one, two, strict=True):
        a_real, b_real = (np.ascontiguousarray(x).view(x.real.dtype) for x in (a, b))
        for first in range(0, len(a_real), _CHUNK):
            piece = slice(first, first + _CHUNK)
            total += 2.0 * _sum_of_products(a_real[piece], b_real[piece])
        # an imaginary part at m = 0 is no part of a real field
        total -= _sum_of_products(a[:zonal].real, b[:zonal].real)
    return total


def _sum_of_products(a: NDArray, b: NDArray) -> float:
    # not by BLAS, whose sums depend on the number of its threads, and results with them
    return float(np.einsum("i,i->", a.astype(np.float64), b.astype(np.float64)))


_CHUNK = 1 << 20


def observed_rings(grid: Grid, observed: NDArray[np.bool_]) -> tuple[Grid, NDArray[np.int64]]:
    """The rings of a grid that hold an observed pixel, and the indices of their pixels on the whole grid."""
    counts = grid.nphi.astype(np.int64)
    seen = np.array(
        [observed[first : first + n].any() for first, n in zip(grid.ringstart.astype(np.int64), counts, strict=True)]
    )
    order = np.concatenate(
        [np.arange(s, s + n) for s, n in zip(grid.ringstart[seen].astype(np.int64), counts[seen], strict=True)]
    )
    start = np.cumsum(grid.nphi[seen]) - grid.nphi[seen]
    short = Grid(grid.theta[seen], grid.nphi[seen], grid.phi0[seen], start.astype(np.uint64), grid.weights[seen], -1)
    return short, order


def coarser(fine: NoiseWeighting, lmax: int) -> NoiseWeighting:
    """The same matrix BᵀYᵀN⁻¹YB between multipoles up to a lower lmax, exactly, by shorter transforms.

    Notes
    -----
    (YᵀN⁻¹Y)_{ℓm ℓ′m′} = Σ_p N⁻¹_p Y*_ℓm(p) Y_ℓ′m′(p) holds no multipole of N⁻¹ above ℓ + ℓ′, for spin 2 neither. So
    N⁻¹ may be replaced by its part up to 2 lmax on a Gauss–Legendre grid exact to degree 4 lmax, whose weights
    then belong to N⁻¹. The matrix stays positive, although N⁻¹ with its multipoles cut need not.
    """
    grid = gauss_legendre_grid(4 * lmax)
    per_pixel = np.repeat(grid.weights, grid.nphi.astype(np.int64))
    noise = {}
    for spin, weights in fine.inverse_noise.items():
        multipoles = adjoint_synthesis(weights.astype(np.float64), fine.grid, 2 * lmax, nthreads=fine.nthreads)
        noise[spin] = (synthesis(multipoles, grid, nthreads=fine.nthreads) * per_pixel).astype(weights.dtype)
    old = alm_index(fine.lmax, alm_ell(lmax), alm_m(lmax))
    return NoiseWeighting(
        grid,
        fine.fields,
        lmax,
        noise,
        fine.transfer[:, : lmax + 1],
        fine.template_alm[..., old],
        fine.nthreads,
        fine.transforms,
    )

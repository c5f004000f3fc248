"""Spherical harmonic transforms that stay on a device: its Legendre kernels and its FFTs, on rings of one length.

The counterpart of `sht` for Gauss–Legendre grids, in the same conventions, with arrays of the namespace `xp`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from dataclasses import field as attribute
from types import ModuleType
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from lensrec.arrays import Backend, complex_dtype, real_dtype
from lensrec.sphere.alm import alm_ell, alm_size, lmax_of, scale_alm
from lensrec.sphere.grids import Grid, gauss_legendre_grid
from lensrec.sphere.legendre_device import SOURCE, Orders, Rings, alm2leg, leg2alm, make_orders, make_rings
from lensrec.sphere.ring_products import Field

_RINGS = 256
"""Rings that are Fourier transformed, or multiplied, at a time, so that no temporary is as large as a map."""

_TEMPORARIES = 20
"""Real maps of so many rings that may be needed beside the rest: eight by an inverse FFT of two components, which cupy
pads, copies and transforms with a work area, and no more by a product; and two for the work area of each plan that it
keeps, six at most."""

_KEPT = 6
"""Recursions that are kept: those of five estimators, whose T, P and φ may end at three multipoles."""


def product_bytes(lmax: int, lmax_phi: int, components: int, outputs: int, *, precision: str = "double") -> int:
    """Memory that `Transforms.vector_products` takes on a device at its peak.

    Legs and products are held whole on the grid of the product. Beside them there are the coefficients and the Legendre
    sums of one field, the tables of the recursions, and what a few rings take while they are worked on.

    Parameters
    ----------
    lmax, lmax_phi : int
        Highest multipoles of the fields and of the result.
    components : int
        Of all fields: 1 for each of spin 0, 2 for any other.
    outputs : int
        Number of vector fields.
    precision : "double" or "single"
    """
    grid, top = gauss_legendre_grid(2 * lmax + lmax_phi), max(lmax, lmax_phi)
    real = real_dtype(complex_dtype(precision)).itemsize
    rings, nphi = len(grid.theta), int(grid.nphi[0])
    maps = real * grid.npix * (components + 2 * outputs)
    one_field = 2 * 2 * real * (alm_size(top) + rings * (top + 1))
    return maps + one_field + _KEPT * 24 * alm_size(top) + _TEMPORARIES * real * nphi * min(_RINGS, rings)


@dataclass(eq=False)
class Transforms:
    """Where transforms run, and the tables that they share.

    Attributes
    ----------
    xp : module
        Array namespace.
    module
        The compiled kernels: see `legendre_device`.
    """

    xp: ModuleType
    module: Any
    _orders: dict[tuple[int, int], Orders] = attribute(default_factory=dict, repr=False)
    _rings: dict[Grid, Rings] = attribute(default_factory=dict, repr=False)

    def orders(self, lmax: int, spin: int) -> Orders:
        """The recursion of every order up to lmax, 12 lmax² bytes; those used last are kept."""
        key = (lmax, spin)
        if key in self._orders:
            self._orders[key] = self._orders.pop(key)
            return self._orders[key]
        while len(self._orders) >= _KEPT:
            del self._orders[next(iter(self._orders))]
        self._orders[key] = make_orders(lmax, spin, None, self.xp, self.module)
        return self._orders[key]

    def rings(self, grid: Grid) -> Rings:
        """The rings of a grid in pairs, made once."""
        if grid not in self._rings:
            self._rings[grid] = make_rings(grid.theta, self.xp)
        return self._rings[grid]

    def synthesis(self, alm: Any, grid: Grid, spin: int = 0) -> Any:
        """Evaluate a spin-s field on a grid of rings of one length.

        Parameters
        ----------
        alm : device array (nalm,) for spin 0; (2, nalm), or (nalm,) for a pure gradient, for spin > 0
            complex64 or complex128.
        grid : Grid
        spin : int ≥ 0

        Returns
        -------
        device array (npix,) for spin 0, (2, npix) otherwise, real, in the precision of `alm`

        Raises
        ------
        ValueError
            If rings differ in length, or have not more than 2 lmax pixels.
        """
        rows = alm if alm.ndim == 2 else alm[None]
        maps = self.xp.empty((2 if spin else 1, grid.npix), real_dtype(alm.dtype))
        self._evaluate(rows, grid, spin, maps)
        return maps[0] if spin == 0 else maps

    def adjoint_synthesis(self, maps: Any, grid: Grid, lmax: int, spin: int = 0, *, weighted: bool = False) -> Any:
        """The transpose of `synthesis`; with `weighted`, quadrature weights are applied first.

        Parameters
        ----------
        maps : device array (npix,) for spin 0, (2, npix) otherwise, real

        Returns
        -------
        device array (nalm,) for spin 0, (2, nalm) otherwise, complex, in the precision of `maps`

        Raises
        ------
        ValueError
            As `synthesis`.
        """
        nphi = _pixels_of_ring(grid, lmax)
        rows = (maps if maps.ndim == 2 else maps[None]).reshape(-1, len(grid.theta), nphi)
        leg = self.xp.empty((len(rows), len(grid.theta), lmax + 1), np.result_type(rows.dtype, np.complex64))
        for some in _parts(grid):
            part = self.xp.fft.rfft(rows[:, some], axis=2)[:, :, : lmax + 1]
            if weighted:
                part *= self.xp.asarray(grid.weights[some].astype(rows.dtype))[:, None]
            leg[:, some] = self._turned(part, grid.phi0[some], -1.0)
        alm = leg2alm(leg, self.orders(lmax, spin), self.rings(grid), self.xp, self.module, nalm=alm_size(lmax))
        return alm[0] if spin == 0 else alm

    def vector_products(
        self,
        fields: Sequence[Field],
        multiply: Callable[[Any, Any], None],
        outputs: int,
        lmax: int,
        *,
        scale: NDArray[np.float64],
    ) -> Any:
        """Gradient and curl coefficients of vector fields that are bilinear in some fields, as `ring_products` has it.

        Parameters
        ----------
        fields : sequence of Field
            Their coefficients on the host.
        multiply : function of two device arrays, (components of all fields, n) and (2 outputs, n)
            As there; called for n points after the other.
        outputs : int
        lmax : int
        scale : array (lmax+1,)
            Multiplies the result.

        Returns
        -------
        device array (outputs, 2, nalm), complex, in the precision of the fields
        """
        xp = self.xp
        dtype = np.result_type(*(field.alm.dtype for field in fields))
        grid = gauss_legendre_grid(2 * max(field.lmax for field in fields) + lmax)
        legs = xp.empty((sum(field.components for field in fields), grid.npix), real_dtype(dtype))
        row = 0
        for field in fields:
            alm = scale_alm(field.alm.astype(dtype, copy=False), field.scale)
            rows = np.stack([np.zeros_like(alm), alm]) if field.curl else alm
            given = xp.asarray(rows if rows.ndim == 2 else rows[None])
            self._evaluate(given, grid, field.spin, legs[row : row + field.components])
            row += field.components
        products = xp.empty((2 * outputs, grid.npix), real_dtype(dtype))
        nphi = int(grid.nphi[0])
        for some in _parts(grid):
            pixels = slice(some.start * nphi, some.stop * nphi)
            multiply(legs[:, pixels], products[:, pixels])
        del legs
        out = xp.empty((outputs, 2, alm_size(lmax)), dtype)
        factor = xp.asarray(scale[alm_ell(lmax)].astype(real_dtype(dtype)))
        for i in range(outputs):
            alm = self.adjoint_synthesis(products[2 * i : 2 * i + 2], grid, lmax, 1, weighted=True)
            out[i] = alm * factor
        return out

    def _evaluate(self, rows: Any, grid: Grid, spin: int, out: Any) -> None:
        """A synthesis of rows of alm (1 or 2, nalm) into `out` (1 or 2, npix), contiguous."""
        lmax = lmax_of(rows.shape[1])
        nphi = _pixels_of_ring(grid, lmax)
        leg = alm2leg(rows, self.orders(lmax, spin), self.rings(grid), self.xp, self.module)
        maps = out.reshape(len(leg), len(grid.theta), nphi)
        for some in _parts(grid):
            part = self._turned(leg[:, some], grid.phi0[some], 1.0)
            maps[:, some] = self.xp.fft.irfft(part, n=nphi, axis=2, norm="forward")

    def _turned(self, leg: Any, phi0: NDArray[np.float64], sense: float) -> Any:
        """Each ring's coefficients times exp(± i m φ₀)."""
        if not phi0.any():
            return leg
        angle = sense * self.xp.asarray(phi0)[:, None] * self.xp.arange(leg.shape[2])
        return leg * self.xp.exp(1j * angle).astype(leg.dtype)


def transforms_on(backend: Backend) -> Transforms:
    """The transforms of a backend, whose tables are kept as long as it is."""
    if backend not in _TRANSFORMS:
        with backend.active():
            _TRANSFORMS[backend] = Transforms(backend.xp, backend.module(SOURCE))
    return _TRANSFORMS[backend]


_TRANSFORMS: "WeakKeyDictionary[Backend, Transforms]" = WeakKeyDictionary()


def _parts(grid: Grid) -> list[slice]:
    """All rings, a few at a time."""
    rings = len(grid.theta)
    return [slice(first, min(first + _RINGS, rings)) for first in range(0, rings, _RINGS)]


def _pixels_of_ring(grid: Grid, lmax: int) -> int:
    nphi = int(grid.nphi[0])
    if (grid.nphi != nphi).any() or (np.diff(grid.ringstart.astype(np.int64)) != nphi).any():
        raise ValueError("the transform on a device needs rings of one length that follow each other")
    if nphi <= 2 * lmax:
        raise ValueError(f"rings of {nphi} pixels do not tell apart all orders up to lmax = {lmax}")
    return nphi

"""Spherical harmonic transforms that stay on a device: its Legendre kernels and its FFTs, on rings of one length.

The counterpart of `sht` for Gauss–Legendre grids, in the same conventions, with arrays of the namespace `xp`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from dataclasses import field as attribute
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lensrec.arrays import real_dtype
from lensrec.sphere.alm import alm_ell, alm_size, lmax_of, scale_alm
from lensrec.sphere.grids import Grid, gauss_legendre_grid
from lensrec.sphere.legendre_device import Orders, Rings, alm2leg, leg2alm, make_orders, make_rings
from lensrec.sphere.ring_products import Field


def product_bytes(lmax: int, lmax_phi: int, components: int, outputs: int, *, precision: str = "double") -> int:
    """Memory that `Transforms.vector_products` takes on a device at its peak.

    Legs (`components`) and products (2 `outputs`) are held whole on the grid of the product. While one more field is
    transformed there are its leg, the leg turned to φ₀, what the FFT pads it to and the two maps that it becomes, and
    the recursion's tables, 12 lmax² bytes for each of the spins 0 to 3 and for the analysis.
    """
    grid = gauss_legendre_grid(2 * lmax + lmax_phi)
    real = 8 if precision == "double" else 4
    pixels = real * grid.npix * (components + 2 * outputs + 4)
    legs = 2 * 2 * 2 * real * len(grid.theta) * (max(lmax, lmax_phi) + 1)
    tables = 5 * 12 * max(lmax, lmax_phi) ** 2
    alm = 2 * real * (outputs + 2) * 2 * alm_size(max(lmax, lmax_phi))
    return pixels + legs + tables + alm


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
        """The recursion of every order up to lmax, 12 lmax² bytes, made once."""
        key = (lmax, spin)
        if key not in self._orders:
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
        lmax = lmax_of(rows.shape[1])
        nphi = _pixels_of_ring(grid, lmax)
        leg = alm2leg(rows, self.orders(lmax, spin), self.rings(grid), self.xp, self.module)
        leg = self._turned(leg, grid, 1.0)
        maps = self.xp.fft.irfft(leg, n=nphi, axis=2, norm="forward").reshape(len(leg), grid.npix)
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
        leg = self.xp.fft.rfft(rows, axis=2)[:, :, : lmax + 1]
        if weighted:
            leg *= self.xp.asarray(grid.weights.astype(rows.dtype))[:, None]
        leg = self._turned(leg, grid, -1.0)
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
        multiply : function of two device arrays, (components of all fields, npix) and (2 outputs, npix)
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
            legs[row : row + field.components] = self.synthesis(xp.asarray(rows), grid, field.spin)
            row += field.components
        products = xp.empty((2 * outputs, grid.npix), real_dtype(dtype))
        multiply(legs, products)
        del legs
        out = xp.empty((outputs, 2, alm_size(lmax)), dtype)
        factor = xp.asarray(scale[alm_ell(lmax)].astype(real_dtype(dtype)))
        for i in range(outputs):
            alm = self.adjoint_synthesis(products[2 * i : 2 * i + 2], grid, lmax, 1, weighted=True)
            out[i] = alm * factor
        return out

    def _turned(self, leg: Any, grid: Grid, sense: float) -> Any:
        """Each ring's coefficients times exp(± i m φ₀)."""
        if not grid.phi0.any():
            return leg
        angle = sense * self.xp.asarray(grid.phi0)[:, None] * self.xp.arange(leg.shape[2])
        return leg * self.xp.exp(1j * angle).astype(leg.dtype)


def _pixels_of_ring(grid: Grid, lmax: int) -> int:
    nphi = int(grid.nphi[0])
    if (grid.nphi != nphi).any() or (np.diff(grid.ringstart.astype(np.int64)) != nphi).any():
        raise ValueError("the transform on a device needs rings of one length that follow each other")
    if nphi <= 2 * lmax:
        raise ValueError(f"rings of {nphi} pixels do not tell apart all orders up to lmax = {lmax}")
    return nphi

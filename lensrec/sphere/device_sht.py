"""Spherical harmonic transforms that stay on a device: its Legendre kernels and its FFTs, on rings of one length.

The counterpart of `sht` for Gauss–Legendre grids, in the same conventions, with arrays of the namespace `xp`.
"""

from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import numpy as np

from lensrec.sphere.alm import alm_size, lmax_of
from lensrec.sphere.grids import Grid
from lensrec.sphere.legendre_device import Orders, Rings, alm2leg, leg2alm, make_orders, make_rings


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
    _orders: dict[tuple[int, int], Orders] = field(default_factory=dict, repr=False)
    _rings: dict[Grid, Rings] = field(default_factory=dict, repr=False)

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

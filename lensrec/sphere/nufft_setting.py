"""How accurate a NUFFT must be made, and how much memory the remap by NUFFT takes: arithmetic on measured figures.

Measured with finufft 2.5.1 on the CPU for white spectra, spins 0 to 3, at 10⁵ random directions, against ducc0's
general synthesis at 3e-13: the error depends on neither spin nor lmax by more than 5 %, down to rounding.
`tests/sphere/test_nufft_setting.py` measures it again. cufinufft's kernels were not measured on a device yet.
"""

from dataclasses import dataclass
from math import ceil

import ducc0
import numpy as np
from numpy.typing import NDArray

from lensrec.sphere.alm import alm_to_cl, lmax_of
from lensrec.sphere.grids import Grid
from lensrec.sphere.legendre_device import legendre_bytes

# Upsampling factor: the finest tolerance at which it still does as it is told, in double precision, and the largest
# error, in units of the tolerance, that it made at any coarser one. 1.25 has its kernel cut off at 3e-10 and ends
# at 3e-11.
UPSAMPLING = {2.0: (1e-13, 0.45), 1.25: (5e-10, 0.69)}
# Error that rounding alone makes in single precision, positions included, in units of the root-mean-square multipole
# ℓ_rms (of the field's gradient, |∇f|² = ℓ_rms² f²): 4.8e-5 at 2.0 and 6.5e-5 at 1.25 for a white field of lmax 300.
SINGLE_ROUNDING = {2.0: 2.3e-7, 1.25: 3.1e-7}

# Bytes that a pixel of a tile takes: θ′ and φ′ (16), those of the tile before, which the plan holds until it is given
# these (16), γ (8), NUFFT's values (16), cufinufft's sorting (8).
TILE_BYTES = 64
# Pixels of a tile where memory allows more: 4.3 GB.
TILE_PIXELS = 1 << 26
# Orders m whose Legendre sums are made and sent at a time are bounded by so many bytes.
CHUNK_BYTES = 128_000_000


@dataclass(frozen=True)
class NufftSetting:
    """What a NUFFT plan is made with.

    Attributes
    ----------
    epsilon : float
        Tolerance asked of the NUFFT.
    upsampling : float
        Fine grid points for each mode, in each dimension.
    dtype : numpy dtype
        complex64 or complex128.
    """

    epsilon: float
    upsampling: float
    dtype: np.dtype


def nufft_setting(
    epsilon: float, ell_rms: float, *, single: bool = False, upsampling: float | None = None
) -> NufftSetting:
    """The cheapest NUFFT that keeps the root-mean-square error below ε of the field's rms.

    Parameters
    ----------
    epsilon : float
    ell_rms : float
        Of the field, see `rms_multipole`: single precision is taken where its rounding stays below ε/2.
    single : bool
        Whether single precision may be taken at all.
    upsampling : float, optional
        2 or 1.25; 2 unless said: its kernels are narrower, and its grid 2.6 times as large.

    Raises
    ------
    ValueError
        If the upsampling is another, or cannot reach ε.
    """
    factor = 2.0 if upsampling is None else upsampling
    if factor not in UPSAMPLING:
        raise ValueError(f"the upsampling must be one of {', '.join(map(str, UPSAMPLING))}, got {factor}")
    finest, _ = UPSAMPLING[factor]
    if epsilon < finest:
        raise ValueError(f"upsampling by {factor:g} does not reach epsilon {epsilon:g}; at least {finest:g}")
    narrow = single and 2.0 * SINGLE_ROUNDING[factor] * ell_rms <= epsilon
    return NufftSetting(epsilon, factor, np.dtype(np.complex64 if narrow else np.complex128))


def rms_multipole(alm: NDArray) -> float:
    """ℓ_rms of a field, from the rows of its alm: ℓ_rms² = Σ ℓ(ℓ+1)(2ℓ+1)C_ℓ / Σ (2ℓ+1)C_ℓ; 0 for a field of zeros."""
    rows = np.atleast_2d(alm)
    ell = np.arange(lmax_of(rows.shape[-1]) + 1.0)
    power = sum((2 * ell + 1) * alm_to_cl(row) for row in rows)
    total = np.sum(power)
    return float(np.sqrt(np.sum(ell * (ell + 1) * power) / total)) if total > 0 else 0.0


def plane_shape(lmax: int, *, real: bool = False) -> tuple[int, int]:
    """Modes in φ and θ of a field on the doubled sphere: |m| ≤ lmax, or 0 ≤ m ≤ lmax of one real field; |k| ≤ lmax.

    θ has as many as the FFT that finds them has points: even, of small factors, more than 2 lmax + 1.
    """
    return (lmax + 1 if real else 2 * lmax + 1), 2 * ducc0.fft.good_size(lmax + 1)


def chunk_orders(lmax: int, itemsize: int) -> int:
    """How many orders m are sent to the device at a time: sixteen turns, fewer orders where memory bounds them."""
    bounded = CHUNK_BYTES // (2 * itemsize * (plane_shape(lmax)[1] // 2 + 1))
    return max(1, min(bounded, ceil((lmax + 1) / 16)))


def plan_bytes(shape: tuple[int, int], setting: NufftSetting) -> int:
    """Memory of a plan: its fine grid, and as much again that the FFT may ask for."""
    fine = ceil(setting.upsampling * shape[0]) * ceil(setting.upsampling * shape[1])
    return 2 * setting.dtype.itemsize * fine


def deflection_setting(epsilon: float, upsampling: float) -> NufftSetting:
    """The NUFFT of α, double precision, by the same upsampling where that will do.

    An error δα moves T by |∇T| δα: for α of some 1e-3 and multipoles of some 1e3 as much as δα/α of T's rms. A
    hundredth of ε, but no finer than 1e-12, keeps it out of sight.
    """
    finer = max(epsilon / 100, 1e-12)
    factor = upsampling if finer >= UPSAMPLING[upsampling][0] else 2.0
    return NufftSetting(finer, factor, np.dtype(np.complex128))


def remap_bytes(
    npix: int,
    shapes: list[tuple[int, int]],
    setting: NufftSetting,
    deflection: NufftSetting,
    *,
    rows: int,
    lmax: int,
    lmax_phi: int,
    out_itemsize: int = 8,
) -> int:
    """Memory that a remap takes on the device beside its tile.

    First α is made, 16 bytes a pixel, from its plane of modes by its plan, which then go; then the planes of the sky
    and its one plan make the maps.

    Parameters
    ----------
    npix : int
    shapes : list of (int, int)
        Of the planes of modes that are remapped.
    setting, deflection : NufftSetting
        Of the sky, and of α.
    rows : int
        Real maps that come out.
    lmax, lmax_phi : int
        Band limits of the sky and of φ.
    out_itemsize : int
        Bytes of a pixel of a map.
    """
    alpha_shape = plane_shape(lmax_phi)
    alpha = 16 * alpha_shape[0] * alpha_shape[1] + plan_bytes(alpha_shape, deflection) + _staging_bytes(lmax_phi)
    planes = sum(a * b for a, b in shapes) * setting.dtype.itemsize
    sky = planes + plan_bytes(max(shapes), setting) + rows * out_itemsize * npix + _staging_bytes(lmax)
    return 16 * npix + max(alpha, sky)


def _staging_bytes(lmax: int) -> int:
    """Legendre sums on their way to a plane: as sent, scaled, packed, on the doubled sphere, and transformed."""
    sums = 2 * 16 * chunk_orders(lmax, 16) * (plane_shape(lmax)[1] // 2 + 1)
    return 6 * sums


def tile_pixels(npix: int, free_bytes: int | None) -> int:
    """Pixels of a tile: all where nobody counts memory, else as many as nine tenths of what is free will hold."""
    if free_bytes is None:
        return npix
    return max(1, min(npix, TILE_PIXELS, int(0.9 * free_bytes) // TILE_BYTES))


def needed_bytes(
    grid: Grid,
    lmax: int,
    *,
    rows: int,
    epsilon: float = 1e-7,
    upsampling: float | None = None,
    lmax_phi: int | None = None,
    out_itemsize: int = 8,
    tile: int = 1 << 22,
) -> int:
    """Memory without which `nufft_remap.remap_tp` does not begin: double precision, with tiles of 4 million pixels.

    Parameters
    ----------
    grid : Grid
    lmax, lmax_phi : int
        Band limits of the sky, and of φ: the same unless said.
    rows : 1 for T, 3 for T, Q and U
    epsilon : float
    upsampling : float, optional
        The smallest that reaches ε, unless said.
    out_itemsize, tile : int
    """
    factor = upsampling or min(f for f, (finest, _) in UPSAMPLING.items() if epsilon >= finest)
    setting = nufft_setting(epsilon, 0.0, upsampling=factor)
    shapes = [plane_shape(lmax, real=True)] if rows == 1 else 2 * [plane_shape(lmax)]
    whole = remap_bytes(
        grid.npix,
        shapes,
        setting,
        deflection_setting(epsilon, factor),
        rows=rows,
        lmax=lmax,
        lmax_phi=lmax if lmax_phi is None else lmax_phi,
        out_itemsize=out_itemsize,
    )
    whole += legendre_bytes(lmax if lmax_phi is None else max(lmax, lmax_phi), 2, 16)
    return whole + TILE_BYTES * max(min(tile, grid.npix), int(grid.nphi.max()))

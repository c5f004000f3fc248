"""From harmonic coefficients to samples of the continued sphere, ready to be read off between them.

The first step is done for all rows at once, since a field's θ-dependence at one m is one Fourier series: a leg at
just enough rows, its Fourier coefficients, those divided by the kernel's and padded, and the leg at many rows. The
second, from m to φ, goes band by band, so that no more than a band of samples is ever held.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import ducc0
import numpy as np
from numpy.typing import NDArray

from lensrec.arrays import real_dtype, thread_count
from lensrec.sphere.alm import alm_index, lmax_of
from lensrec.sphere.circle import fold, unfold
from lensrec.sphere.gridding import Gridding

# Orders m treated together: two components of their legs, and of their Fourier coefficients, fit a core's cache.
_ORDERS = 16


def oversampled_legs(
    fields: Sequence[tuple[NDArray, int]], gridding: Gridding, *, nthreads: int = 0
) -> NDArray[np.complexfloating]:
    """F_m(θ) = ∫ f e^{−imφ} dφ/2π, corrected for the kernel, at the rows of a gridding.

    Parameters
    ----------
    fields : sequence of (alm, spin)
        alm (1, nalm) for spin 0, (2, nalm) otherwise; all of one lmax and dtype.
    gridding : Gridding
    nthreads : int

    Returns
    -------
    array (components, rows + 1, lmax + 1), complex, in the precision of the alm
        One component of a spin-0 field, two of any other.
    """
    lmax = lmax_of(fields[0][0].shape[-1])
    dtype = fields[0][0].dtype
    real = real_dtype(dtype)
    legs = np.empty((sum(len(alm) for alm, _ in fields), gridding.rows + 1, lmax + 1), dtype=dtype)
    coarse = gridding.coarse_rows
    theta = np.pi * np.arange(coarse + 1) / coarse
    order = np.arange(lmax + 1, dtype=np.int64)
    start = alm_index(lmax, 0, order)
    along_theta = (gridding.theta_correction / (2 * coarse)).astype(real)
    along_phi = gridding.phi_correction.astype(real)

    def some_orders(first: int) -> None:
        part = slice(first, first + _ORDERS)
        row = 0
        for alm, spin in fields:
            few = ducc0.sht.alm2leg(
                alm=alm,
                lmax=lmax,
                spin=spin,
                mval=order[part].astype(np.uint64),
                mstart=start[part].astype(np.uint64),
                theta=theta,
                nthreads=1,
            )
            for leg in few:
                _resampled(leg, spin, first, along_theta, along_phi[part], legs[row, :, part])
                row += 1

    with ThreadPoolExecutor(thread_count(nthreads)) as pool:
        for _ in pool.map(some_orders, range(0, lmax + 1, _ORDERS)):
            pass
    return legs


def _resampled(leg: NDArray, spin: int, first: int, along_theta: NDArray, along_phi: NDArray, out: NDArray) -> None:
    """Write some orders of a leg at many rows into `out`.

    F_m(−θ) = (−1)^{m+s} F_m(θ), so that neighbouring orders have opposite parities on the circle through the poles:
    their sum is one function there, of which each is the even or the odd part, and one complex FFT serves both.
    """
    coarse, fine = len(leg) - 1, len(out) - 1
    pairs = (leg.shape[1] + 1) // 2
    circle = np.empty((pairs, 2 * coarse), dtype=leg.dtype)
    sign = along_theta.dtype.type(1 - 2 * ((first + spin) % 2))
    unfold(leg, along_phi, sign, circle)
    ducc0.fft.c2c(circle, axes=(1,), out=circle)
    lmax = len(along_theta) - 1
    padded = np.zeros((pairs, 2 * fine), dtype=leg.dtype)
    np.multiply(circle[:, : lmax + 1], along_theta, out=padded[:, : lmax + 1])
    if lmax:
        np.multiply(circle[:, -lmax:], along_theta[:0:-1], out=padded[:, -lmax:])
    ducc0.fft.c2c(padded, axes=(1,), forward=False, out=padded)
    fold(padded, sign, out)


def band(
    legs: NDArray[np.complexfloating],
    spins: Sequence[int],
    first: int,
    last: int,
    gridding: Gridding,
    out: NDArray[np.floating],
    *,
    nthreads: int = 0,
) -> None:
    """Samples at the rows first … last − 1, which may lie beyond the poles, with columns repeated on either side.

    Parameters
    ----------
    legs : array (components, rows + 1, lmax + 1)
        As `oversampled_legs` makes them.
    spins : sequence of int
        The spin of each component.
    first, last : int
        −rows ≤ first < last ≤ 2 rows + 1. The row −j is the meridian beyond the pole: f(−θ, φ) = (−1)^s f(θ, φ + π).
    out : array (components, ≥ last − first, columns + 2 width), real
        Sample k of row j lies at out[:, j − first, width + k].
    """
    rows, columns, pad = gridding.rows, gridding.columns, gridding.width
    wanted = np.arange(first, last)
    inside = np.where(wanted < 0, -wanted, np.where(wanted > rows, 2 * rows - wanted, wanted))
    beyond = inside != wanted
    stride = out.shape[2]
    chosen = legs[:, first:last] if not beyond.any() else legs[:, inside]
    for component, spin in enumerate(spins):
        ducc0.sht.experimental.leg2map(
            leg=chosen[component : component + 1],
            nphi=np.full(len(wanted), columns, dtype=np.uint64),
            phi0=np.where(beyond, np.pi, 0.0),
            ringstart=(np.arange(len(wanted)) * stride + pad).astype(np.uint64),
            ringfactor=np.where(beyond & (spin % 2 == 1), -1.0, 1.0) if beyond.any() else None,
            map=out[component].reshape(1, -1),
            nthreads=thread_count(nthreads),
        )
    ready = out[:, : len(wanted)]
    ready[:, :, :pad] = ready[:, :, columns : columns + pad]
    ready[:, :, columns + pad :] = ready[:, :, pad : 2 * pad]

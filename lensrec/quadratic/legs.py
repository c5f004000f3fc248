"""Legs: filtered fields and their gradients on the grid where they are multiplied."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from lensrec.arrays import real_dtype, thread_count
from lensrec.quadratic.products import Product, spin_raised
from lensrec.sphere.alm import lmax_of, scale_alm
from lensrec.sphere.grids import Grid, gauss_legendre_grid
from lensrec.sphere.sht import synthesis


def product_grid(lmax_a: int, lmax_b: int, lmax_phi: int) -> Grid:
    """The shortest Gauss–Legendre grid that holds the product of two legs, projected up to L, exactly."""
    return gauss_legendre_grid(lmax_a + lmax_b + lmax_phi)


def plain_leg(field: str, filtered: Mapping[str, NDArray], grid: Grid, *, nthreads: int = 0) -> NDArray:
    """The filtered field itself: T̄ (npix,), or Q̄, Ū of Ē alone or of B̄ alone, (2, npix). One synthesis."""
    alm = filtered[field]
    if field == "T":
        return synthesis(alm, grid, 0, nthreads=nthreads)
    return synthesis(_of_type(alm, field), grid, 2, nthreads=nthreads)


def gradient_leg(
    product: Product,
    filtered: Mapping[str, NDArray],
    weights: Mapping[str, NDArray],
    grid: Grid,
    *,
    nthreads: int = 0,
) -> NDArray:
    """The gradient of the Wiener-filtered source, as the product needs it.

    Parameters
    ----------
    product : Product
    filtered : mapping of "T", "E", "B" to array (nalm,)
        Inverse-variance filtered alm.
    weights : mapping of "TT", "EE", "BB", "TE" to array (lmax+1,)

    Returns
    -------
    array (2, npix)
        Temperature: ∇Y^W. One spin-1 synthesis.
    array (4, npix)
        Polarisation: real and imaginary part of M₃ = −½ ð ₂Y^W, then of M₁ = −½ ð̄ ₂Y^W, so that
        ₁d = P̄* M₃ + P̄ M₁*. One spin-3 and one spin-1 synthesis.
    """
    alm = filtered[product.source]
    lmax = lmax_of(alm.shape[-1])
    weight = np.asarray(weights[product.spectrum], dtype=np.float64)[: lmax + 1]
    if not product.polarised:
        return synthesis(scale_alm(alm, weight * spin_raised(lmax, 0)[: len(weight)]), grid, 1, nthreads=nthreads)
    # A field that stands for E has the gradient type, B the curl type; ð̄ ₂Y = −√((ℓ+2)(ℓ−1)) ₁Y turns its sign.
    kind = "B" if product.source == "B" else "E"
    raised = scale_alm(alm, -0.5 * weight * spin_raised(lmax, 2)[: len(weight)])
    lowered = scale_alm(alm, 0.5 * weight * spin_raised(lmax, -2)[: len(weight)])
    leg = np.empty((4, grid.npix), dtype=real_dtype(alm.dtype))
    synthesis(_of_type(raised, kind), grid, 3, out=leg[:2], nthreads=nthreads)
    synthesis(_of_type(lowered, kind), grid, 1, out=leg[2:], nthreads=nthreads)
    return leg


def add_product(
    product: Product, plain: NDArray, gradient: NDArray, out: NDArray, factor: float = 1.0, *, nthreads: int = 0
) -> None:
    """Add `factor` times the spin-1 product of two legs to `out` (2, npix), in place.

    Works through blocks of pixels small enough for the cache, since each leg is far larger than it; threads share
    the blocks out, as numpy lets go of the interpreter while it multiplies.
    """
    scale = out.dtype.type(factor)

    def one(start: int) -> None:
        block = slice(start, start + _BLOCK)
        if not product.polarised:
            out[:, block] += scale * plain[block] * gradient[:, block]
            return
        (real, imag), (m3_r, m3_i, m1_r, m1_i) = plain[:, block], gradient[:, block]
        out[0, block] += scale * (real * (m3_r + m1_r) + imag * (m3_i + m1_i))
        out[1, block] += scale * (real * (m3_i - m1_i) - imag * (m3_r - m1_r))

    with ThreadPoolExecutor(thread_count(nthreads)) as pool:
        for _ in pool.map(one, range(0, out.shape[-1], _BLOCK)):
            pass


_BLOCK = 1 << 15


def _of_type(alm: NDArray, kind: str) -> NDArray:
    """Spin-2-like coefficients of a pure E (gradient) or a pure B (curl) field."""
    if kind == "E":
        return alm
    return np.stack([np.zeros_like(alm), alm])

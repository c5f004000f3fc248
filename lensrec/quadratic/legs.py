"""Legs: filtered fields and their gradients on the grid where they are multiplied."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

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
        Polarisation: real and imaginary part of M₃ + M₁, then of M₃ − M₁, with M₃ = −½ ð ₂Y^W and
        M₁ = −½ ð̄ ₂Y^W, so that ₁d = P̄* M₃ + P̄ M₁*. One spin-3 and one spin-1 synthesis.
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
    m3 = synthesis(_of_type(raised, kind), grid, 3, nthreads=nthreads)
    m1 = synthesis(_of_type(lowered, kind), grid, 1, nthreads=nthreads)
    leg = np.empty((4, m3.shape[-1]), dtype=m3.dtype)
    np.add(m3, m1, out=leg[:2])
    np.subtract(m3, m1, out=leg[2:])
    return leg


def add_product(product: Product, plain: NDArray, gradient: NDArray, out: NDArray, factor: float = 1.0) -> None:
    """Add `factor` times the spin-1 product of two legs to `out` (2, npix), in place.

    Works through blocks of pixels small enough for the cache, since each leg is far larger than it.
    """
    scale = out.dtype.type(factor)
    for start in range(0, out.shape[-1], _BLOCK):
        block = slice(start, start + _BLOCK)
        if not product.polarised:
            out[:, block] += scale * plain[block] * gradient[:, block]
            continue
        (real, imag), (sum_r, sum_i, diff_r, diff_i) = plain[:, block], gradient[:, block]
        out[0, block] += scale * (real * sum_r + imag * sum_i)
        out[1, block] += scale * (real * diff_i - imag * diff_r)


_BLOCK = 1 << 15


def _of_type(alm: NDArray, kind: str) -> NDArray:
    """Spin-2-like coefficients of a pure E (gradient) or a pure B (curl) field."""
    if kind == "E":
        return alm
    return np.stack([np.zeros_like(alm), alm])

"""Products of fields without a map, against transforms of whole maps by ducc0."""

import numpy as np
import pytest

from lensrec.sphere.alm import alm_size, lmax_of, scale_alm
from lensrec.sphere.grids import gauss_legendre_grid
from lensrec.sphere.legendre_sums import CHUNK, norms, scalar_recursions, sums_over_l
from lensrec.sphere.ring_coefficients import store_scalars
from lensrec.sphere.ring_products import Field, order_limit, vector_products
from lensrec.sphere.sht import adjoint_synthesis, synthesis


def random_alm(rng: np.random.Generator, lmax: int) -> np.ndarray:
    alm = rng.normal(size=alm_size(lmax)) + 1j * rng.normal(size=alm_size(lmax))
    alm[: lmax + 1] = alm[: lmax + 1].real
    return alm


def on_grid(field: Field, grid) -> np.ndarray:
    """The field on every pixel, (components, npix)."""
    alm = scale_alm(field.alm, field.scale)
    if field.spin == 0:
        return synthesis(alm, grid, 0)[None]
    return synthesis(np.stack([0 * alm, alm] if field.curl else [alm, 0 * alm]), grid, field.spin)


def times_first(legs: np.ndarray, products: np.ndarray) -> None:
    """The first field, a scalar, times each of the others."""
    products[:] = legs[0] * legs[1:]


@pytest.mark.parametrize("lmax", [8, 40, 700])
def test_equals_transforms_of_whole_maps(lmax):
    """Spins 1 to 3, gradients and curls, of different lmax; at ℓ = 700 there are blocks near and far from the poles."""
    rng = np.random.default_rng(1)
    kinds = [(spin, curl) for spin in (1, 2, 3) for curl in (False, True)]
    fields = [Field(random_alm(rng, lmax), rng.uniform(0.5, 1.5, lmax + 1), 0)]
    for spin, curl in kinds:
        top = lmax - 5 * curl
        fields.append(Field(random_alm(rng, top), rng.uniform(0.5, 1.5, top + 1), spin, curl))
    lmax_out = lmax - 7
    scale = rng.uniform(0.5, 1.5, lmax_out + 1)
    got = vector_products(fields, times_first, len(kinds), lmax_out, scale=scale)
    grid = gauss_legendre_grid(2 * lmax + lmax_out)
    scalar = on_grid(fields[0], grid)
    for field, alm in zip(fields[1:], got, strict=True):
        expected = adjoint_synthesis(scalar * on_grid(field, grid), grid, lmax_out, 1, weighted=True)
        expected = np.stack([scale_alm(row, scale) for row in expected])
        size = np.sqrt(np.mean(np.abs(expected) ** 2))
        # both round sums of ~lmax² terms whose largest lie at the poles; 2e-12 of the rms is reached at ℓ = 700
        assert np.abs(alm - expected).max() <= 1e-11 * size


def test_single_precision_and_threads():
    rng = np.random.default_rng(2)
    lmax = 300
    fields = [Field(random_alm(rng, lmax), np.ones(lmax + 1), spin) for spin in (0, 1, 2, 3)]
    one, two = (vector_products(fields, times_first, 3, lmax, nthreads=n) for n in (1, 3))
    np.testing.assert_array_equal(one, two)
    half = [Field(f.alm.astype(np.complex64), f.scale, f.spin) for f in fields]
    single = vector_products(half, times_first, 3, lmax)
    assert single.dtype == np.complex64
    # products of numbers rounded to 6e-8 each
    assert np.std(single - one) < 3e-7 * np.std(one)


@pytest.mark.parametrize("lmax", [30, 700, 4000])
@pytest.mark.parametrize("theta", [1e-3, 0.02, 0.3, 1.0, 1.5])
def test_orders_beyond_the_limit_are_negligible(lmax, theta):
    """λ_ℓm at m one above the limit is below 1e-18 of λ_ℓ0 ~ √(ℓ/2π) at the pole."""
    m = order_limit(lmax, theta) + 1
    if m > lmax:
        assert lmax * np.sin(theta) + 10 > lmax / 2
        return
    assert m > lmax * np.sin(theta)
    offset = np.zeros(m + 2, dtype=np.int64)
    offset[m + 1] = ((lmax - m) // CHUNK + 1) * CHUNK * 2
    values, table = np.zeros(offset[-1]), np.empty((2, offset[-1] // 4))
    alm = np.zeros(alm_size(lmax), dtype=complex)
    alm[m * (2 * lmax + 1 - m) // 2 + lmax] = 1.0
    orders = np.array([m])
    store_scalars(alm, np.ones(lmax + 1), lmax, 0, False, values, offset, 1, 0, orders)
    scalar_recursions(offset, 1, table)
    sums = np.zeros((m + 1, 1, 4, 32))
    sums_over_l(values, offset, 1, 0, norms(m, 0), table, np.full(32, theta), orders, sums, 0, False)
    assert values.any()
    assert np.abs(sums[m]).max() < 1e-18 * np.sqrt(lmax / (2 * np.pi))
    # the same where it is not negligible
    sums_over_l(values, offset, 1, 0, norms(m, 0), table, np.linspace(1.3, 1.5, 32), orders, sums, 0, False)
    if m < lmax - 50:
        assert np.abs(sums[m]).max() > 0.05


def test_a_field_knows_its_size():
    field = Field(random_alm(np.random.default_rng(3), 9), np.ones(10), 2)
    assert (field.lmax, field.components) == (lmax_of(field.alm.shape[-1]), 2) == (9, 2)

"""The interpolation kernel against its definition, its Fourier transform by quadrature, and plane waves."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import i0

from lensrec.sphere import gridding as module
from lensrec.sphere.gridding import WIDTHS, expected_error, gridding

OVERSAMPLING = (1.2, 1.3, 1.5, 2.0)


def kernel(x, width, beta):
    return i0(beta * np.sqrt(np.maximum(0.0, 1 - (2 * x / width) ** 2))) / i0(beta) * (np.abs(x) <= width / 2)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("oversampling", OVERSAMPLING)
def test_polynomials_are_the_kernel(width, oversampling):
    beta = np.pi * width * (1 - 0.5 / oversampling)
    t = np.random.default_rng(0).uniform(size=500)
    plan = module._gridding(100, width, oversampling)
    weights = np.polynomial.polynomial.polyval(t, plan.coefficients).T
    expected = kernel(t[:, None] + width / 2 - 1 - np.arange(width), width, beta)
    # a degree of W + 3 leaves 5e-13 of the kernel for W = 8, 1e-14 for W = 16: far below what each is used for
    np.testing.assert_allclose(weights, expected, rtol=0, atol={8: 5e-13, 16: 2e-14}[width])


@pytest.mark.parametrize("width", WIDTHS)
def test_correction_is_the_inverse_fourier_transform(width):
    plan = module._gridding(60, width, 1.5)
    beta = np.pi * width * (1 - 0.5 / 1.5)
    for correction, samples in ((plan.theta_correction, 2 * plan.rows), (plan.phi_correction, plan.columns)):
        for k in (0, 1, 30, 60):
            wave = quad(lambda x, k=k, n=samples: kernel(x, width, beta) * np.cos(2 * np.pi * k * x / n), 0, width / 2)[
                0
            ]
            # quad stops at 1.5e-8
            assert correction[k] * 2 * wave == pytest.approx(1, abs=3e-8)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("oversampling", OVERSAMPLING)
def test_a_wave_is_read_off_between_its_samples(width, oversampling):
    """Σ_j ψ(u − j) f_j ψ̂⁻¹ with random Fourier coefficients, against their sum."""
    lmax, rng = 80, np.random.default_rng(1)
    plan = module._gridding(lmax, width, oversampling)
    k = np.arange(-lmax, lmax + 1)
    f = rng.standard_normal(2 * lmax + 1) + 1j * rng.standard_normal(2 * lmax + 1)
    n = plan.columns
    samples = np.exp(2j * np.pi * np.outer(np.arange(n), k) / n) @ (f * plan.phi_correction[np.abs(k)])
    u = rng.uniform(0, n, 2000)
    left = np.floor(u).astype(int)
    weights = np.polynomial.polynomial.polyval(u - left, plan.coefficients)
    got = sum(w * samples[(left - (width // 2 - 1) + j) % n] for j, w in enumerate(weights))
    expected = np.exp(2j * np.pi * np.outer(u, k) / n) @ f
    error = np.sqrt(np.mean(np.abs(got - expected) ** 2) / np.mean(np.abs(expected) ** 2))
    # one axis of two; the promise holds down to rounding
    assert error < max(expected_error(width, oversampling) / np.sqrt(2), 3e-14)
    # and is no idle one: a kernel 100 times better than promised would be a waste (lengths that FFTs like add to σ)
    assert error > expected_error(width, oversampling) / 100


def test_the_cheapest_kernel_that_keeps_the_promise_is_taken():
    assert [gridding(1000, epsilon).width for epsilon in (1e-3, 1e-6, 1e-7, 1e-12)] == [8, 8, 16, 16]
    assert gridding(1000, 1e-3).rows < gridding(1000, 1e-6).rows
    with pytest.raises(ValueError, match="no interpolation kernel reaches epsilon = 1e-16"):
        gridding(1000, 1e-16)


@pytest.mark.parametrize("lmax", [0, 1, 2, 5])
def test_small_fields_still_fill_a_kernel(lmax):
    plan = gridding(lmax, 1e-12)
    assert plan.rows >= plan.width
    assert plan.columns >= 2 * plan.width
    assert plan.columns % 2 == 0

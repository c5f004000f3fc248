"""Wigner-d sums against the explicit sum, closed forms and a recursion; the projection against the sums."""

from itertools import product
from math import factorial

import ducc0
import numpy as np
import pytest

from lensrec.sphere.wigner import gl_nodes, wigner_project, wigner_sum

PAIRS = list(product(range(-5, 6), repeat=2))


def d_functions(lmax, s, t, theta):
    """d^l_st for l = 0…lmax, shape (lmax+1, ntheta), read off `wigner_sum` one multipole at a time."""
    return wigner_sum(np.diag(4.0 * np.pi / (2 * np.arange(lmax + 1) + 1)), s, t, theta)


def explicit_d(l, s, t, theta):
    """Wigner's sum (Varshalovich et al. 1988, section 4.3.1), factorials in exact integers."""
    cos, sin = np.cos(theta / 2), np.sin(theta / 2)
    root = np.sqrt(float(factorial(l + s) * factorial(l - s) * factorial(l + t) * factorial(l - t)))
    total = np.zeros_like(theta)
    for k in range(max(0, t - s), min(l + t, l - s) + 1):
        bottom = factorial(l + t - k) * factorial(k) * factorial(s - t + k) * factorial(l - s - k)
        term = (-1) ** (s - t + k) * (root / bottom)
        total += term * cos ** (2 * l + t - s - 2 * k) * sin ** (s - t + 2 * k)
    return total


def recursive_d(lmax, s, t, theta):
    """Three-term recursion in l (Varshalovich et al. 1988, section 4.8), in long double, upwards."""
    x = np.cos(theta.astype(np.longdouble))
    low = max(abs(s), abs(t))
    rows = np.zeros((lmax + 1, len(theta)), dtype=np.longdouble)
    rows[low] = explicit_d(low, s, t, theta.astype(np.longdouble))
    for l in range(low, lmax):
        up = np.sqrt(np.longdouble(((l + 1) ** 2 - s * s) * ((l + 1) ** 2 - t * t))) / (l + 1)
        down = np.sqrt(np.longdouble((l * l - s * s) * (l * l - t * t))) / l if l else 0
        cross = np.longdouble(s * t) / (l * (l + 1)) if l else 0
        rows[l + 1] = ((2 * l + 1) * (x - cross) * rows[l] - (down * rows[l - 1] if l > low else 0)) / up
    return rows


def test_matches_closed_forms():
    theta = np.linspace(0.0, np.pi, 41)
    cos, sin = np.cos(theta), np.sin(theta)
    closed = {
        (1, 1, 0): -sin / np.sqrt(2),
        (1, 0, 1): sin / np.sqrt(2),
        (1, 1, 1): (1 + cos) / 2,
        (1, 1, -1): (1 - cos) / 2,
        (2, 0, 0): (3 * cos**2 - 1) / 2,
        (2, 1, 0): -np.sqrt(1.5) * sin * cos,
        (2, 2, 0): np.sqrt(3 / 8) * sin**2,
        (2, 2, 1): -sin * (1 + cos) / 2,
        (2, 2, -1): -sin * (1 - cos) / 2,
        (2, 2, 2): ((1 + cos) / 2) ** 2,
        (2, 2, -2): ((1 - cos) / 2) ** 2,
        (3, 3, 3): ((1 + cos) / 2) ** 3,
        (4, 4, -4): ((1 - cos) / 2) ** 4,
    }
    for (l, s, t), expected in closed.items():
        # ten or twenty roundings of numbers of order one
        np.testing.assert_allclose(d_functions(l, s, t, theta)[l], expected, atol=4e-15, err_msg=f"{l}{s}{t}")


@pytest.mark.parametrize(("s", "t"), PAIRS)
def test_matches_explicit_sum(s, t):
    theta = np.array([1e-3, 0.4, 1.3, np.pi / 2, 2.2, 3.1, np.pi - 1e-4])
    lmax = 12
    d = d_functions(lmax, s, t, theta)
    for l in range(lmax + 1):
        expected = explicit_d(l, s, t, theta) if l >= max(abs(s), abs(t)) else np.zeros_like(theta)
        # the alternating sum cancels up to about 4^l / l of the digits: 1e-11 at l = 12, where |d| <= 1
        np.testing.assert_allclose(d[l], expected, atol=1e-11)


@pytest.mark.parametrize(("s", "t"), PAIRS)
def test_matches_long_double_recursion_to_high_l(s, t):
    theta = np.array([1e-5, 1e-3, 0.02, 0.7, np.pi / 2, 2.5, np.pi - 1e-2, np.pi - 1e-4])
    lmax = 3000
    reference = recursive_d(lmax, s, t, theta).astype(float)
    rng = np.random.default_rng(1)
    ells = np.concatenate([[5, 6, 30, 300, lmax - 1, lmax], rng.integers(6, lmax, 10)])
    cl = np.zeros((len(ells), lmax + 1))
    cl[np.arange(len(ells)), ells] = 4.0 * np.pi / (2 * ells + 1)
    # In doubles the recursion loses up to l eps = 7e-13 on |d| <= 1. It holds cos(theta); rounding that by
    # eps/2 = 1.1e-16 moves theta by 1.1e-16 / sin(theta), hence d^l by up to l times as much.
    bound = 3e-12 + 1.1e-16 * lmax / np.sin(theta)
    error = np.abs(wigner_sum(cl, s, t, theta) - reference[ells])
    assert np.all(error < bound), np.max(error / bound)


@pytest.mark.parametrize(("s", "t"), PAIRS)
def test_projection_is_adjoint_and_inverts_sum(s, t):
    lmax = 200
    rng = np.random.default_rng(2)
    theta, weights = gl_nodes(2 * lmax)
    cl = rng.standard_normal((3, lmax + 1))
    f = rng.standard_normal((3, len(theta)))
    summed = wigner_sum(cl, s, t, theta)
    projected = wigner_project(f, s, t, lmax, theta, weights)
    ell = np.arange(lmax + 1)
    left = np.sum(f * weights * summed, axis=-1)
    right = np.sum((2 * ell + 1) / (8 * np.pi**2) * cl * projected, axis=-1)
    # both sides are sums of some hundred terms of size up to 1e3
    np.testing.assert_allclose(left, right, rtol=1e-12, atol=1e-11)
    low = max(abs(s), abs(t))
    back = wigner_project(summed, s, t, lmax, theta, weights)
    # cl is of order one; lmax eps = 4e-14
    np.testing.assert_allclose(back[:, low:], cl[:, low:], atol=1e-12)
    assert np.all(back[:, :low] == 0.0)


def test_symmetries_at_high_l():
    theta, _ = gl_nodes(800)
    cl = np.random.default_rng(3).standard_normal(401)
    for s, t in PAIRS:
        sign = (-1) ** (s - t)
        value = wigner_sum(cl, s, t, theta)
        # sums of 400 terms of size up to 60
        for other, factor in (((t, s), sign), ((-t, -s), 1), ((-s, -t), sign)):
            np.testing.assert_allclose(wigner_sum(cl, *other, theta), factor * value, atol=1e-10)


def test_shapes_rows_and_threads():
    theta, weights = gl_nodes(64)
    cl = np.random.default_rng(4).standard_normal((2, 3, 33))
    summed = wigner_sum(cl, 2, -1, theta, nthreads=2)
    assert summed.shape == (2, 3, len(theta))
    for i, j in product(range(2), range(3)):
        # rows travel in pairs but do not mix; the same operations in the same order
        np.testing.assert_allclose(summed[i, j], wigner_sum(cl[i, j], 2, -1, theta, nthreads=1), atol=1e-14)
    back = wigner_project(summed, 2, -1, 20, theta, weights, nthreads=2)
    assert back.shape == (2, 3, 21)
    np.testing.assert_allclose(back[..., 2:], cl[..., 2:21], atol=1e-12)


def test_nodes_integrate_polynomials():
    for degree in (0, 1, 4, 301):
        theta, weights = gl_nodes(degree)
        assert len(theta) == degree // 2 + 1
        assert np.all(np.diff(theta) > 0)
        np.testing.assert_allclose(weights.sum(), 2.0, rtol=1e-13)
        # an even power p integrates to 2/(p+1); weights are good to about 1e-15
        even = degree - degree % 2
        np.testing.assert_allclose(np.sum(weights * np.cos(theta) ** even), 2.0 / (even + 1), rtol=1e-12)


def test_short_spectra_give_zero():
    theta, weights = gl_nodes(10)
    assert np.all(wigner_sum(np.ones(3), 3, 1, theta) == 0.0)
    assert np.all(wigner_project(np.ones(len(theta)), -4, 2, 3, theta, weights) == 0.0)


@pytest.mark.parametrize(("s", "t"), [(0, 1), (2, 0), (2, -2), (-1, 3)])
def test_projection_is_zero_below_its_indices_whatever_memory_held(s, t, monkeypatch):
    theta, weights = gl_nodes(20)
    f = np.random.default_rng(5).standard_normal(len(theta))
    expected = wigner_project(f, s, t, 8, theta, weights)
    real = ducc0.sht.leg2alm

    def into_used_memory(**kwargs):
        return real(**kwargs, alm=np.full((1, 9), np.nan, dtype=np.complex128))

    monkeypatch.setattr(ducc0.sht, "leg2alm", into_used_memory)
    got = wigner_project(f, s, t, 8, theta, weights)
    lowest = max(abs(s), abs(t))
    assert np.all(got[:lowest] == 0.0)
    np.testing.assert_array_equal(got, expected)


def test_errors_name_the_cause():
    theta, weights = gl_nodes(10)
    with pytest.raises(ValueError, match="s = 6"):
        wigner_sum(np.ones(8), 6, 0, theta)
    with pytest.raises(ValueError, match="t = -6"):
        wigner_project(np.ones(len(theta)), 0, -6, 8, theta, weights)
    with pytest.raises(ValueError, match="lmax"):
        wigner_project(np.ones(len(theta)), 0, 0, -1, theta, weights)
    with pytest.raises(ValueError, match="degree"):
        gl_nodes(-1)

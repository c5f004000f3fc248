"""The CUDA Legendre transform, its kernels compiled for the host, against direct sums, multiple precision and ducc0."""

import ducc0
import numpy as np
import pytest

from lensrec.sphere import legendre_device as device
from tests.reference.cuda_blocks_on_host import host_module
from tests.reference.cuda_on_host import COMPILER
from tests.reference.remap import spin_harmonics
from tests.reference.spin_lambda import spin_lambda

pytestmark = pytest.mark.skipif(COMPILER is None, reason="no C++ compiler runs the kernels on the host")
KINDS = [(0, 1), (1, 1), (1, 2), (2, 1), (2, 2), (3, 1), (3, 2)]


@pytest.fixture(scope="module")
def module():
    return host_module(device.SOURCE.read_text(encoding="utf-8"))


def mode(spin, components):
    return "GRAD_ONLY" if spin and components == 1 else "STANDARD"


def layout(lmax, mval):
    """Index of the (hypothetical) ℓ = 0 of each order, rows of ℓ = m … lmax one after the other, and their length."""
    length = lmax + 1 - np.asarray(mval)
    return np.cumsum(length) - length - mval, int(length.sum())


def complex_noise(rng, *shape):
    return rng.standard_normal(shape) + 1j * rng.standard_normal(shape)


def small_rings():
    """Poles, equator, two pairs one of which is polar, and rings without a mirror image."""
    return np.array([0.0, 0.3, 2.9, np.pi / 2, 1.1, np.pi - 0.3, 0.01, 1.9, np.pi - 0.01, np.pi])


def both_syntheses(module, lmax, theta, mval, spin, components):
    """Of white coefficients: by the kernel and by ducc0, in units of the latter's rms."""
    mval = np.asarray(mval)
    mstart, size = layout(lmax, mval)
    alm = complex_noise(np.random.default_rng(lmax + spin), components, size)
    args = {"mval": mval.astype(np.uint64), "mstart": mstart.astype(np.uint64), "mode": mode(spin, components)}
    expected = ducc0.sht.alm2leg(alm=alm, lmax=lmax, theta=theta, spin=spin, **args)
    orders, rings = device.make_orders(lmax, spin, mval, np, module), device.make_rings(theta, np)
    got = device.alm2leg(alm, orders, rings, np, module, mstart=mstart)
    rms = np.sqrt((np.abs(expected) ** 2).mean())
    return got / rms, expected / rms


@pytest.mark.parametrize(("spin", "components"), KINDS)
def test_small_transforms_are_direct_sums(module, spin, components):
    """Every m, above and below the spin."""
    lmax = 12
    theta, mval = small_rings(), np.arange(lmax + 1)
    mstart, size = layout(lmax, mval)
    alm = complex_noise(np.random.default_rng(spin), components, size)
    rows = np.concatenate([alm, np.zeros_like(alm)])[:2]
    expected = np.zeros((2, len(theta), lmax + 1), complex)
    for ell in range(spin, lmax + 1):
        plus, minus = (spin_harmonics(ell, s, theta, np.zeros_like(theta)).real for s in (spin, -spin))
        for m in range(ell + 1):
            g, c = rows[:, mstart[m] + ell]
            if spin == 0:
                expected[0, :, m] += g * plus[ell + m]
                continue
            # the coefficients of e^{imφ} in Q and U, where Q ± iU = −Σ (±1)^s (G ± iC) ±ₛY
            up, down = -(g + 1j * c) * plus[ell + m], -((-1) ** spin) * (g - 1j * c) * minus[ell + m]
            expected[0, :, m] += (up + down) / 2
            expected[1, :, m] += (up - down) / 2j
    orders = device.make_orders(lmax, spin, None, np, module)
    got = device.alm2leg(alm, orders, device.make_rings(theta, np), np, module)
    # a dozen terms of order one
    np.testing.assert_allclose(got, expected[: len(got)], rtol=0, atol=5e-14)


@pytest.mark.parametrize("spin", [-3, -2, -1, 0, 1, 2, 3])
def test_explicit_sums_agree(spin):
    """The two truths used here: eigenvectors of J_y, and the sum in many digits."""
    for ell in (3, 4, 9):
        expected = spin_harmonics(ell, spin, np.array([0.7]), np.zeros(1))[ell:, 0].real
        got = [spin_lambda(ell, m, spin, 0.7) for m in range(ell + 1)]
        np.testing.assert_allclose(got, expected, rtol=0, atol=2e-14)


@pytest.mark.parametrize(("spin", "components"), KINDS)
@pytest.mark.parametrize("lmax", [2000, 8000])
def test_synthesis_is_that_of_ducc0(module, spin, components, lmax):
    """Where sin θ > 0.2: nearer to the poles the rounding of cos θ costs ducc0 more than 1e-11."""
    theta = ducc0.misc.GL_thetas(lmax + 1)
    theta = theta[np.sin(theta) > 0.2][:: lmax // 80]
    mval = [0, 1, 2, 3, 4, 60, lmax // 3, lmax - 100, lmax - 1, lmax]
    got, expected = both_syntheses(module, lmax, theta, mval, spin, components)
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-11)


def harmonics_of_kernel(module, lmax, mval, theta, spin):
    """The sums of a gradient part of 1 at ℓ = lmax for each m."""
    mstart, size = layout(lmax, mval)
    gradient = np.zeros((1, size), complex)
    gradient[0, mstart + lmax] = 1
    orders = device.make_orders(lmax, spin, mval, np, module)
    return device.alm2leg(gradient, orders, device.make_rings(theta, np), np, module, mstart=mstart)


def single_harmonics(module, lmax, mval, theta, spin):
    """The same, and by explicit sums."""
    got = harmonics_of_kernel(module, lmax, mval, theta, spin)
    plus, minus = (np.array([[spin_lambda(lmax, int(m), s, t) for m in mval] for t in theta]) for s in (spin, -spin))
    minus *= (-1) ** spin
    return got, plus[None] if spin == 0 else np.stack([-(plus + minus) / 2, 0.5j * (plus - minus)])


@pytest.mark.parametrize("spin", [0, 1, 2, 3])
def test_harmonics_next_to_the_poles_are_exact(module, spin):
    """ℓ = 8000 from the first ring of nside 8192 to where the two recursions meet, north and south."""
    lmax, mval = 8000, np.array([0, 2, 5, 300])
    theta = np.array([1e-4, 0.03, 0.0999, 0.1003])
    got, expected = single_harmonics(module, lmax, mval, theta, spin)
    # they reach 36 at the poles, and two thousand rounded steps cost 1e-14 of that; beyond sin θ = 0.1 the rounding of
    # cos θ comes in, 1e-16 ℓ / θ of the phase ℓθ
    error = np.abs(got - expected).max(axis=(0, 2))
    assert (error < np.where(np.sin(theta) < 0.1, 2e-12, 1e-11)).all()
    # The mirror image has the same but for a sign; π − θ is rounded by 4e-16, 4e-12 of the smallest θ.
    south = harmonics_of_kernel(module, lmax, mval, np.pi - theta, spin)
    np.testing.assert_allclose(np.abs(south), np.abs(got), rtol=0, atol=36 * 4e-12)


@pytest.mark.parametrize(("spin", "components"), KINDS)
@pytest.mark.parametrize("lmax", [2000, 8000])
def test_adjoint_is_that_of_ducc0(module, spin, components, lmax):
    theta = ducc0.misc.GL_thetas(lmax + 1)
    theta = theta[np.sin(theta) > 0.2][:: lmax // 80]
    mval = np.array([0, 2, 3, 60, lmax // 3, lmax - 1] if lmax == 2000 else [1, 4000, 7900])
    mstart, size = layout(lmax, mval)
    leg = complex_noise(np.random.default_rng(spin), 1 if spin == 0 else 2, len(theta), len(mval))
    expected = np.zeros((components, size), complex)
    args = {"mval": mval.astype(np.uint64), "mstart": mstart.astype(np.uint64), "mode": mode(spin, components)}
    ducc0.sht.leg2alm(leg=leg, lmax=lmax, theta=theta, spin=spin, alm=expected, **args)
    orders, rings = device.make_orders(lmax, spin, mval, np, module), device.make_rings(theta, np)
    got = device.leg2alm(leg, orders, rings, np, module, gradient=components == 1, mstart=mstart, nalm=size)
    rms = np.sqrt((np.abs(expected) ** 2).mean())
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-11 * rms)


@pytest.mark.parametrize(("spin", "components"), KINDS)
def test_adjoint_is_the_transpose(module, spin, components):
    """⟨A a, x⟩ = ⟨a, A† x⟩, on more rings than a block goes through at once, in no order, paired and not."""
    lmax, rng = 40, np.random.default_rng(spin)
    theta = rng.permutation(np.concatenate([np.linspace(0, np.pi, 2601), rng.uniform(0, np.pi, 300)]))
    rings, orders = device.make_rings(theta, np), device.make_orders(lmax, spin, None, np, module)
    alm = complex_noise(rng, components, (lmax + 1) * (lmax + 2) // 2)
    leg = complex_noise(rng, 1 if spin == 0 else 2, len(theta), lmax + 1)
    there = device.alm2leg(alm, orders, rings, np, module)
    back = device.leg2alm(leg, orders, rings, np, module, gradient=components == 1)
    left, right = np.vdot(leg, there), np.vdot(back, alm)
    size = np.linalg.norm(leg) * np.linalg.norm(there)
    assert abs(left - right) < 1e-13 * size
    assert abs(left) > 1e-4 * size


@pytest.mark.parametrize(("spin", "components"), KINDS)
def test_single_precision_is_that_of_the_numbers_alone(module, spin, components):
    """Read and written in single, computed in double: one rounding."""
    lmax, theta, rng = 60, small_rings(), np.random.default_rng(spin)
    orders, rings = device.make_orders(lmax, spin, None, np, module), device.make_rings(theta, np)
    alm = complex_noise(rng, components, (lmax + 1) * (lmax + 2) // 2).astype(np.complex64)
    leg = complex_noise(rng, 1 if spin == 0 else 2, len(theta), lmax + 1).astype(np.complex64)
    options = {"gradient": components == 1}
    for transform, numbers, extra in ((device.alm2leg, alm, {}), (device.leg2alm, leg, options)):
        single = transform(numbers, orders, rings, np, module, **extra)
        double = transform(numbers.astype(complex), orders, rings, np, module, **extra)
        assert single.dtype == np.complex64
        # the adjoint adds what the poles and what the rest give: two roundings of 6e-8
        np.testing.assert_allclose(single, double, rtol=0, atol=1.5e-7 * np.abs(double).max())
        assert np.abs(single - double).max() > 0


@pytest.mark.parametrize(("spin", "components"), KINDS)
def test_result_does_not_depend_on_the_order_of_threads(module, spin, components):
    """As it would if the threads of a block did not wait for each other where they must."""
    lmax, theta, rng = 3000, np.linspace(0, np.pi, 301), np.random.default_rng(spin)
    # near the poles m = 290 stays without effect for hundreds of multipoles, through which a block hurries
    mval = np.array([1, 290, 2900])
    mstart, size = layout(lmax, mval)
    alm, leg = complex_noise(rng, components, size), complex_noise(rng, 1 if spin == 0 else 2, len(theta), 3)
    results = []
    for reverse in (False, True):
        module.reverse_threads(reverse)
        orders, rings = device.make_orders(lmax, spin, mval, np, module), device.make_rings(theta, np)
        results.append(device.alm2leg(alm, orders, rings, np, module, mstart=mstart))
        options = {"gradient": components == 1, "mstart": mstart, "nalm": size}
        results.append(device.leg2alm(leg, orders, rings, np, module, **options))
    module.reverse_threads(False)
    np.testing.assert_array_equal(results[0], results[2])
    np.testing.assert_array_equal(results[1], results[3])


@pytest.mark.parametrize("theta", [0.002, 0.09, 0.4])
@pytest.mark.parametrize("spin", [0, 2])
def test_what_is_left_out_is_below_rounding(module, theta, spin):
    """Beyond its turning point m = ℓ sin θ a harmonic dies away; an order is left out where all are below 1e-17.

    ducc0 leaves out those of m > ℓ sin θ + max(100, ℓ/100): up to 1e-12 at ℓ = 4000, 4e-9 at 8000.
    """
    lmax = 4000
    width = lmax * np.sin(theta)
    first = int(width + spin + 13 * np.cbrt(width) + 25) + 1
    mval = np.array([*(int(width + n * np.cbrt(width)) for n in (0, 1, 2, 4, 6)), first])
    got, expected = single_harmonics(module, lmax, mval, np.array([theta]), spin)
    assert (got[:, 0, -1] == 0).all()
    assert (np.abs(expected[:, 0, -1]) < 1e-17).all()
    assert (np.abs(expected[0, 0, :-1]) > 1e-13).sum() > 3
    np.testing.assert_allclose(got, expected, rtol=0, atol=2e-12)  # as next to the poles


def test_some_orders_are_a_part_of_all(module):
    lmax, rings = 30, device.make_rings(small_rings(), np)
    alm = complex_noise(np.random.default_rng(0), 2, (lmax + 1) * (lmax + 2) // 2)
    orders = device.make_orders(lmax, 2, None, np, module)
    every = device.alm2leg(alm, orders, rings, np, module)
    parts = [device.alm2leg(alm, orders.part(*ends), rings, np, module) for ends in ((0, 7), (7, 30), (30, 40))]
    np.testing.assert_array_equal(np.concatenate(parts, axis=2), every)


@pytest.mark.parametrize(("spin", "components"), [(0, 1), (0, 3), (1, 1), (2, 2)])
def test_rows_are_the_sums_of_every_order(module, spin, components):
    lmax, theta = 30, small_rings()
    alm = complex_noise(np.random.default_rng(0), components, (lmax + 1) * (lmax + 2) // 2)
    rows = np.concatenate(list(device.legendre_rows(alm, spin, theta, 7, np, module)), axis=1)
    sets = [alm] if spin else [alm[i : i + 1] for i in range(components)]
    expected = [ducc0.sht.alm2leg(alm=a, lmax=lmax, theta=theta, spin=spin, mode=mode(spin, components)) for a in sets]
    np.testing.assert_allclose(rows, np.concatenate(expected).transpose(0, 2, 1), rtol=0, atol=1e-11)


def test_rings_are_paired():
    theta = np.array([2.0, 0.4, np.pi / 2, np.pi - 0.4, 1.5, np.pi - 0.4, np.pi, 0.4 + 1e-13])
    cosine, sine, north, south = device.ring_pairs(theta)
    pairs = set(zip(north.tolist(), south.tolist(), strict=True))
    assert (1, 3) in pairs or (1, 5) in pairs
    lonely = 5 if (1, 3) in pairs else 3
    assert pairs == {(1, 8 - lonely), (-1, lonely), (2, -1), (4, -1), (-1, 6), (-1, 0), (7, -1)}
    assert (np.diff(cosine) <= 0).all()
    one = np.where(north >= 0, north, south)
    np.testing.assert_array_equal(cosine, np.abs(np.cos(theta[one])))
    np.testing.assert_array_equal(sine, np.sin(theta[one]))


@pytest.mark.parametrize("nside", [1, 4, 64])
def test_every_ring_of_a_grid_has_its_mirror_image(nside):
    """HEALPix has 4 nside − 1 rings: 2 nside − 1 pairs and the equator."""
    theta = ducc0.healpix.Healpix_Base(nside, "RING").sht_info()["theta"]
    _, _, north, south = device.ring_pairs(theta)
    assert len(north) == 2 * nside
    assert (south >= 0).sum() == 2 * nside - 1


def test_what_does_not_fit_is_refused(module):
    rings = device.make_rings(np.array([0.5, 1.0]), np)
    orders = device.make_orders(4, 2, None, np, module)
    with pytest.raises(ValueError, match="between 0 and π"):
        device.make_rings(np.array([0.5, 4.0]), np)
    with pytest.raises(ValueError, match="between 0 and lmax = 4"):
        device.make_orders(4, 0, np.array([5]), np, module)
    with pytest.raises(ValueError, match="3 components"):
        device.alm2leg(np.zeros((3, 15), complex), orders, rings, np, module)
    with pytest.raises(ValueError, match="complex64 or complex128"):
        device.alm2leg(np.zeros((2, 15)), orders, rings, np, module)
    with pytest.raises(ValueError, match="leg of spin 2"):
        device.leg2alm(np.zeros((1, 2, 5), complex), orders, rings, np, module)

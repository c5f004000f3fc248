"""The CUDA Legendre transform, its kernels compiled by g++, against direct sums, multiple precision and ducc0."""

import shutil

import ducc0
import numpy as np
import pytest

from lensrec.sphere import legendre_device as device
from tests.reference.cuda_blocks_on_host import HostModule
from tests.reference.remap import spin_harmonics

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="no g++ to compile the kernels with")
KINDS = [(0, 1), (1, 1), (1, 2), (2, 1), (2, 2), (3, 1), (3, 2)]
SPIN_KINDS = [kind for kind in KINDS if kind[0]]


@pytest.fixture(scope="module")
def module(tmp_path_factory):
    return HostModule(device.SOURCE, tmp_path_factory.mktemp("legendre"))


def mode(spin, components):
    return "GRAD_ONLY" if spin and components == 1 else "STANDARD"


def layout(lmax, mval):
    """Index of the (hypothetical) ℓ = 0 of each order, rows of ℓ = m … lmax one after the other, and their length."""
    length = lmax + 1 - np.asarray(mval)
    return np.cumsum(length) - length - mval, int(length.sum())


def complex_noise(rng, *shape):
    return rng.standard_normal(shape) + 1j * rng.standard_normal(shape)


def both_syntheses(module, lmax, theta, mval, spin, components):
    """Of white coefficients: by the kernel and by ducc0, in units of the latter's rms."""
    mval = np.asarray(mval)
    mstart, size = layout(lmax, mval)
    alm = complex_noise(np.random.default_rng(lmax + spin), components, size)
    args = {"mval": mval.astype(np.uint64), "mstart": mstart.astype(np.uint64), "mode": mode(spin, components)}
    expected = ducc0.sht.alm2leg(alm=alm, lmax=lmax, theta=theta, spin=spin, **args)
    orders, rings = device.orders(lmax, spin, mval, np, module), device.rings(theta, np)
    got = device.alm2leg(alm, orders, rings, np, module, mstart=mstart)
    rms = np.sqrt((np.abs(expected) ** 2).mean())
    return got / rms, expected / rms


@pytest.mark.parametrize(("spin", "components"), KINDS)
def test_small_transforms_are_direct_sums(module, spin, components):
    """Poles, equator, pairs and rings without a mirror image, every m; orders above and below the spin."""
    lmax = 12
    theta = np.array([0.0, 0.3, 2.9, np.pi / 2, 1.1, np.pi - 0.3, 1.9, np.pi])
    mval = np.arange(lmax + 1)
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
    orders = device.orders(lmax, spin, None, np, module)
    got = device.alm2leg(alm, orders, device.rings(theta, np), np, module)
    # a dozen terms of order one
    np.testing.assert_allclose(got, expected[: len(got)], rtol=0, atol=5e-14)


@pytest.mark.parametrize(("spin", "components"), KINDS)
def test_synthesis_is_that_of_ducc0(module, spin, components):
    theta = ducc0.misc.GL_thetas(2001)[100:-100:11]
    got, expected = both_syntheses(module, 2000, theta, [0, 1, 2, 3, 4, 60, 700, 1900, 1999, 2000], spin, components)
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-11)

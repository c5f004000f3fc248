"""Transforms of device arrays, the kernels compiled for the host and numpy in place of cupy, against those of ducc0."""

import dataclasses

import numpy as np
import pytest

from lensrec.sphere import device_sht, sht
from lensrec.sphere.alm import alm_size
from lensrec.sphere.device_sht import Transforms
from lensrec.sphere.grids import gauss_legendre_grid, healpix_grid
from lensrec.sphere.legendre_device import SOURCE
from tests.reference.cuda_blocks_on_host import host_module
from tests.reference.cuda_on_host import COMPILER
from tests.reference.strict_namespace import Machine

pytestmark = pytest.mark.skipif(COMPILER is None, reason="no C++ compiler runs the kernels on the host")
LMAX = 100
SPINS = [0, 1, 2, 3]


@pytest.fixture(scope="module")
def transforms():
    return Transforms(np, host_module(SOURCE.read_text(encoding="utf-8")))


def random_alm(spin):
    rng = np.random.default_rng(spin)
    alm = rng.standard_normal((2, alm_size(LMAX))) + 1j * rng.standard_normal((2, alm_size(LMAX)))
    alm[:, : LMAX + 1].imag = 0
    return alm if spin else alm[0]


def grids():
    """Gauss–Legendre rings, as they are and each begun at a longitude of its own."""
    grid = gauss_legendre_grid(3 * LMAX)
    return [grid, dataclasses.replace(grid, phi0=np.linspace(0.0, 0.3, len(grid.theta)))]


@pytest.mark.parametrize("spin", SPINS)
@pytest.mark.parametrize("grid", grids())
def test_synthesis(transforms, grid, spin):
    alm = random_alm(spin)
    expected = sht.synthesis(alm, grid, spin, nthreads=1)
    # sums of 1e4 terms of order one: rounding
    np.testing.assert_allclose(transforms.synthesis(alm, grid, spin), expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize("spin", [1, 2, 3])
def test_gradient_alone(transforms, spin):
    grid, gradient = grids()[0], random_alm(spin)[0]
    expected = sht.synthesis(gradient, grid, spin, nthreads=1)
    np.testing.assert_allclose(transforms.synthesis(gradient, grid, spin), expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize("spin", SPINS)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("grid", grids())
def test_adjoint(transforms, grid, spin, weighted):
    maps = np.random.default_rng(spin).standard_normal((2, grid.npix) if spin else grid.npix)
    expected = sht.adjoint_synthesis(maps, grid, LMAX, spin, weighted=weighted, nthreads=1)
    got = transforms.adjoint_synthesis(maps, grid, LMAX, spin, weighted=weighted)
    # sums over 5e4 pixels
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-13 * np.abs(expected).max())


@pytest.mark.parametrize("spin", SPINS)
def test_single_precision_stays_single(transforms, spin):
    grid, alm = grids()[0], random_alm(spin)
    maps = transforms.synthesis(alm.astype(np.complex64), grid, spin)
    exact = sht.synthesis(alm, grid, spin, nthreads=1)
    assert maps.dtype == np.float32
    assert np.abs(maps - exact).max() < 1e-6 * np.abs(exact).max()  # of a few roundings of 6e-8
    back = transforms.adjoint_synthesis(maps, grid, LMAX, spin, weighted=True)
    assert back.dtype == np.complex64
    exact_back = sht.adjoint_synthesis(exact, grid, LMAX, spin, weighted=True, nthreads=1)
    assert np.abs(back - exact_back).max() < 1e-6 * np.abs(alm).max()


@pytest.mark.parametrize("spin", SPINS)
def test_a_stand_in_for_cupy_lets_it_pass(transforms, spin):
    """With a namespace that has only what cupy has, and refuses what would cross between host and device."""
    xp = Machine().namespace
    strict = Transforms(xp, xp.RawModule(code=SOURCE.read_text(encoding="utf-8")))
    grid, alm = grids()[1], random_alm(spin)
    maps = strict.synthesis(xp.asarray(alm), grid, spin)
    np.testing.assert_array_equal(xp.asnumpy(maps), transforms.synthesis(alm, grid, spin))
    back = xp.asnumpy(strict.adjoint_synthesis(maps, grid, LMAX, spin, weighted=True))
    expected = transforms.adjoint_synthesis(xp.asnumpy(maps), grid, LMAX, spin, weighted=True)
    np.testing.assert_array_equal(back, expected)


@pytest.mark.parametrize("spin", [0, 2])
def test_rings_a_few_at_a_time(transforms, spin, monkeypatch):
    """The same numbers, in whatever portions."""
    grid, alm = grids()[1], random_alm(spin)
    maps = transforms.synthesis(alm, grid, spin)
    back = transforms.adjoint_synthesis(maps, grid, LMAX, spin, weighted=True)
    monkeypatch.setattr(device_sht, "_RINGS", 7)
    np.testing.assert_array_equal(transforms.synthesis(alm, grid, spin), maps)
    np.testing.assert_array_equal(transforms.adjoint_synthesis(maps, grid, LMAX, spin, weighted=True), back)


def test_recursions_are_kept_up_to_a_number(monkeypatch):
    made = []
    monkeypatch.setattr(device_sht, "make_orders", lambda lmax, spin, *_: made.append((lmax, spin)) or object())
    transforms = Transforms(np, None)
    for lmax in range(device_sht._KEPT):
        transforms.orders(lmax, 0)
    assert transforms.orders(0, 0) is transforms.orders(0, 0)
    transforms.orders(99, 0)  # in the place of the one that was not used for longest
    transforms.orders(0, 0)
    assert made == [*((lmax, 0) for lmax in range(device_sht._KEPT)), (99, 0)]
    transforms.orders(1, 0)
    assert made[-1] == (1, 0)
    assert len(transforms._orders) == device_sht._KEPT


def test_grids_that_do_not_fit_are_refused(transforms):
    alm = random_alm(0)
    with pytest.raises(ValueError, match="rings of one length"):
        transforms.synthesis(alm, healpix_grid(64))
    with pytest.raises(ValueError, match="do not tell apart"):
        transforms.synthesis(alm, gauss_legendre_grid(LMAX))

"""The CUDA kernels of the remap, run on the host, against extended precision and against numpy's functions."""

import numpy as np
import pytest

from lensrec.sphere.grids import gauss_legendre_grid, healpix_grid
from lensrec.sphere.pixel_kernels import SOURCE
from tests.reference import remap as truth
from tests.reference.cuda_on_host import COMPILER, launch

pytestmark = pytest.mark.skipif(COMPILER is None, reason="no C++ compiler runs the kernels on the host")
NULL = np.uint64(0)
CODE = SOURCE.read_text(encoding="utf-8")


def rings(grid):
    step = 2 * np.pi / grid.nphi.astype(float)
    return np.int32(len(step)), grid.ringstart.astype(np.int64), grid.theta, grid.phi0, step


def deflected(grid, alpha, *, rotation=True, blocks=3, threads=7):
    theta, phi, gamma = (np.full(grid.npix, np.nan) for _ in range(3))
    packed = np.ascontiguousarray((alpha[0] + 1j * alpha[1]).astype(complex))
    arguments = (np.int64(grid.npix), *rings(grid), packed, theta, phi, gamma if rotation else NULL)
    launch(CODE, "deflect", blocks, threads, arguments)
    return theta, phi, gamma


@pytest.mark.parametrize("grid", [healpix_grid(1), healpix_grid(32), gauss_legendre_grid(61)])
@pytest.mark.parametrize("launched", [(1, 1), (3, 7), (100, 256)])
def test_pixel_centres(grid, launched):
    theta, phi = np.empty(grid.npix), np.empty(grid.npix)
    launch(CODE, "pixel_centres", *launched, (np.int64(grid.npix), *rings(grid), theta, phi))
    expected = truth.pixel_angles(grid)
    np.testing.assert_array_equal(theta, expected[0])
    np.testing.assert_allclose(phi, expected[1], rtol=0, atol=2e-15)  # two roundings of an angle below 2π


@pytest.mark.parametrize("size", [0.0, 1e-300, 1e-9, 1e-3, 0.02, 0.1, 2.0, 7.0])
@pytest.mark.parametrize("nside", [1, 32, 256])
def test_positions_and_axes_are_good_to_1e14(size, nside):
    """For deflections of any size, and on the first and last rings of a fine grid."""
    grid = healpix_grid(nside)
    alpha = size * np.random.default_rng(5).standard_normal((2, grid.npix))
    theta, phi, gamma = deflected(grid, alpha)
    assert ((theta >= 0) & (theta <= np.pi) & (phi >= 0) & (phi < 2 * np.pi)).all()
    some = np.unique(np.concatenate([np.arange(min(5000, grid.npix)), np.arange(0, grid.npix, 501)]))
    centres = np.array(truth.pixel_angles(grid))[:, some]
    theta2, phi2, gamma2 = truth.follow(*centres, alpha[:, some])
    here, there = truth.basis(theta[some], phi[some]), truth.basis(theta2, phi2)
    np.testing.assert_allclose((here[0] - there[0]).astype(float), 0, rtol=0, atol=1e-14)
    carried = [b[1] * np.cos(g) - b[2] * np.sin(g) for b, g in ((here, gamma[some]), (there, gamma2))]
    np.testing.assert_allclose((carried[0] - carried[1]).astype(float), 0, rtol=0, atol=1e-14)


def test_walks_through_the_poles_and_onto_them():
    """Along a meridian by exactly the colatitude, past it, and back to the start."""
    grid = healpix_grid(64)
    theta, lon = truth.pixel_angles(grid)
    for length in (theta, np.pi - theta, 2 * theta, np.full_like(theta, 2 * np.pi), np.full_like(theta, np.pi)):
        sense = np.where(length == np.pi - theta, 1, -1)
        moved = deflected(grid, np.array([sense * length, 0 * theta]))
        n, e_theta, e_phi = truth.basis(theta, lon)
        n2, e_theta2, e_phi2 = truth.basis(*moved[:2])
        target = n * np.cos(length) + sense * e_theta * np.sin(length)
        assert np.abs(n2 - target).max() < 1e-14
        # e_φ stays as it is along a meridian
        assert np.abs(e_theta2 * np.sin(moved[2]) + e_phi2 * np.cos(moved[2]) - e_phi).max() < 1e-14


def test_without_a_rotation_angle_none_is_written():
    grid = healpix_grid(8)
    alpha = 0.01 * np.random.default_rng(6).standard_normal((2, grid.npix))
    some, every = deflected(grid, alpha, rotation=False), deflected(grid, alpha, blocks=100, threads=256)
    np.testing.assert_array_equal(some[:2], every[:2])
    assert np.isnan(some[2]).all()


@pytest.mark.parametrize("given", ["double", "single"])
@pytest.mark.parametrize("wanted", ["double", "single"])
@pytest.mark.parametrize(("spin", "shift"), [(0, 0), (2, 0), (-3, 0), (0, 50), (1, 7)])
def test_unpack_turns_and_parts(given, wanted, spin, shift):
    rng = np.random.default_rng(7)
    count, dtype = 1000, {"double": np.float64, "single": np.float32}
    gamma, phi = rng.uniform(-4, 4, count), rng.uniform(0, 7, count)
    values = (rng.standard_normal(count) + 1j * rng.standard_normal(count)).astype(
        {"double": complex, "single": np.complex64}[given]
    )
    first, second = np.empty(count, dtype[wanted]), np.full(count, np.nan, dtype[wanted])
    angles = (gamma if spin else NULL, np.int32(spin), phi if shift else NULL, np.int32(shift))
    name = f"unpack_{given}_{wanted}"
    launch(CODE, name, 2, 9, (np.int64(count), values, *angles, first, second))
    expected = values.astype(complex) * np.exp(1j * (spin * gamma + shift * phi))
    rounding = 1e-13 if wanted == "double" else 3e-7  # 350 radians of angle to 1e-16; 24 bits of up to 5
    np.testing.assert_allclose(first, expected.real, rtol=0, atol=rounding)
    np.testing.assert_allclose(second, expected.imag, rtol=0, atol=rounding)
    alone = np.empty_like(first)
    launch(CODE, name, 2, 9, (np.int64(count), values, *angles, alone, NULL))
    np.testing.assert_array_equal(alone, first)

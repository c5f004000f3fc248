"""The remap on a CUDA device, where there is one; the same tests run on the stand-in for cupy everywhere."""

import ducc0
import numpy as np
import pytest

from lensrec.arrays import Backend, backend
from lensrec.sphere import nufft_remap, remap
from lensrec.sphere.grids import healpix_grid
from lensrec.sphere.nufft_remap import Field, fourier_plane, remap_scalars, remap_tp
from lensrec.sphere.nufft_setting import UPSAMPLING, nufft_setting
from lensrec.sphere.pixel_kernels import follow, pixel_centres
from tests.reference import remap as truth
from tests.reference.cuda_on_host import COMPILER
from tests.reference.strict_namespace import Machine
from tests.sphere.inputs import complex_field, lensing_potential, random_alm, relative_error, sky_rms

needs_compiler = pytest.mark.skipif(COMPILER is None, reason="no C++ compiler runs the kernels on the host")
WHERE = [
    pytest.param(("stand-in", "host"), marks=needs_compiler, id="stand-in"),
    pytest.param(("cupy", "host"), marks=pytest.mark.gpu, id="cupy"),
    pytest.param(("cupy", "device"), marks=pytest.mark.gpu, id="cupy-legendre"),
]


@pytest.fixture(params=WHERE)
def streams(request):
    """A function that makes a backend on a new stream."""
    where, legendre = request.param
    if where == "cupy":
        import cupy

        return lambda: backend("cupy", stream=cupy.cuda.Stream(non_blocking=True), legendre=legendre)
    machine = Machine()
    numbers = iter(range(1, 100))
    return lambda: Backend(
        "cupy", machine.namespace, "stand-in", 0, machine.new_stream(next(numbers)), 1, machine.nufft
    )


@pytest.mark.parametrize("size", [1e-9, 1e-3, 2.0])
def test_positions_and_axes(streams, size):
    b, grid = streams(), healpix_grid(128)
    alpha = size * np.random.default_rng(5).standard_normal((2, grid.npix))
    with b.active():
        there = follow(b, grid, b.to_device(alpha[0] + 1j * alpha[1]), rotation=True)
        centres = [b.to_host(x) for x in pixel_centres(b, grid)]
    theta, phi, gamma = (b.to_host(x) for x in there)
    expected = truth.pixel_angles(grid)
    np.testing.assert_array_equal(centres[0], expected[0])
    np.testing.assert_allclose(centres[1], expected[1], rtol=0, atol=2e-15)
    some = np.r_[0:2000, grid.npix - 2000 : grid.npix]
    theta2, phi2, gamma2 = truth.follow(*(x[some] for x in expected), alpha[:, some])
    here, exact = truth.basis(theta[some], phi[some]), truth.basis(theta2, phi2)
    np.testing.assert_allclose((here[0] - exact[0]).astype(float), 0, rtol=0, atol=1e-14)
    carried = [v[1] * np.cos(g) - v[2] * np.sin(g) for v, g in ((here, gamma[some]), (exact, gamma2))]
    np.testing.assert_allclose((carried[0] - carried[1]).astype(float), 0, rtol=0, atol=1e-14)


@pytest.mark.parametrize("spin", [0, 1, 2, 3])
@pytest.mark.parametrize("epsilon", [1e-3, 1e-6, 1e-9, 1e-12])
def test_every_spin_and_epsilon(streams, spin, epsilon):
    rng, lmax, b = np.random.default_rng(50), 120, streams()
    theta, phi = np.arccos(rng.uniform(-1, 1, 5000)), rng.uniform(0, 2 * np.pi, 5000)
    gamma = rng.uniform(-np.pi, np.pi, 5000)
    alm = random_alm(rng, 1 if spin == 0 else 2, lmax, lmin=spin)
    exact = ducc0.sht.synthesis_general(
        alm=alm, spin=spin, lmax=lmax, loc=np.stack([theta, phi], axis=1), epsilon=3e-13, nthreads=2
    )
    expected = exact[0] if spin == 0 else (exact[0] + 1j * exact[1]) * np.exp(1j * spin * gamma)
    there = [b.to_device(x) for x in (theta, phi, gamma)]
    values = nufft_remap.remap(
        alm if spin else alm[0], *there[:2], spin=spin, gamma=there[2], epsilon=epsilon, backend=b
    )
    error = complex_field(b.to_host(values)) - expected
    assert np.sqrt(np.mean(np.abs(error) ** 2) / (2 if spin else 1)) / sky_rms(alm) <= epsilon


@pytest.mark.parametrize("upsampling", UPSAMPLING)
@pytest.mark.parametrize("tolerance", [1e-3, 1e-5, 1e-7, 1e-9])
def test_the_nufft_keeps_its_tolerance(streams, upsampling, tolerance):
    """The measurement behind `nufft_setting`, of whichever NUFFT the device has."""
    rng, lmax, b = np.random.default_rng(51), 100, streams()
    theta, phi = np.arccos(rng.uniform(-1, 1, 5000)), rng.uniform(0, 2 * np.pi, 5000)
    alm = random_alm(rng, 1, lmax)
    exact = ducc0.sht.synthesis_general(
        alm=alm, spin=0, lmax=lmax, loc=np.stack([theta, phi], axis=1), epsilon=3e-13, nthreads=2
    )[0]
    setting = nufft_setting(tolerance, 0.0, upsampling=upsampling)
    with b.active():
        plane = fourier_plane(b, Field(alm, 0), setting.dtype)
        plan = b.plan(plane.shape, setting.dtype, epsilon=setting.epsilon, upsampling=setting.upsampling)
        plan.setpts(b.to_device(phi), b.to_device(theta))
        values = plan.execute(plane)
        b.wait()
    assert relative_error(b.to_host(values), exact) < tolerance


def test_skies_on_several_streams(streams):
    rng = np.random.default_rng(52)
    teb, phi = random_alm(rng, 3, 64, lmin=2), lensing_potential(rng, 64, 2e-3)
    grid, several = healpix_grid(32), [streams(), streams()]
    exact = remap.remap_tp(teb, phi, grid, epsilon=1e-12)
    maps = [remap_tp(teb[:rows], phi, grid, epsilon=1e-8, backend=b) for b in 2 * several for rows in (1, 3)]
    for b, got in zip(np.repeat(2 * several, 2), maps, strict=True):
        for row, expected in zip(b.to_host(got), exact, strict=False):
            assert relative_error(row, expected) < 1e-8
    pair = several[0].to_host(remap_scalars(teb[:2], phi, grid, epsilon=1e-8, backend=several[0]))
    assert relative_error(pair[0], exact[0]) < 1e-8


def test_single_precision(streams):
    rng, b = np.random.default_rng(53), streams()
    cl = 1 / np.maximum(np.arange(61.0), 1) ** 4
    teb, phi = random_alm(rng, 3, 60, cl=cl, lmin=2).astype(np.complex64), lensing_potential(rng, 60, 2e-3)
    grid = healpix_grid(16)
    lensed = b.to_host(remap_tp(teb, phi, grid, epsilon=1e-5, backend=b))
    exact = remap.remap_tp(teb.astype(complex), phi, grid, epsilon=1e-12)
    assert lensed.dtype == np.float32
    for got, expected in zip(lensed, exact, strict=True):
        assert relative_error(got, expected) < 1e-5

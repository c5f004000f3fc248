"""The remap against direct sums, on any grid and at any direction, and what it refuses."""

from itertools import pairwise

import ducc0
import numpy as np
import pytest

from lensrec.sphere.alm import alm_index, alm_size, lmax_of, scale_alm
from lensrec.sphere.grids import healpix_grid
from lensrec.sphere.remap import deflected_positions, remap, remap_at, remap_tp
from lensrec.sphere.sht import synthesis
from tests.reference import remap as truth
from tests.sphere.inputs import (
    LADDER,
    adversarial_directions,
    complex_field,
    lensing_potential,
    random_alm,
    relative_error,
    sky_rms,
)


@pytest.mark.parametrize("spin", [0, 1, 2, 3])
def test_every_spin_and_epsilon_against_direct_sums(spin):
    rng = np.random.default_rng(7)
    lmax = 40
    theta, phi = adversarial_directions()
    theta = np.concatenate([theta, np.arccos(rng.uniform(-1, 1, 300))])
    phi = np.concatenate([phi, rng.uniform(0, 2 * np.pi, 300)])
    gamma = rng.uniform(-np.pi, np.pi, len(theta))
    alm = random_alm(rng, 1 if spin == 0 else 2, lmax, lmin=spin)
    expected = truth.field(alm, spin, theta, phi) * np.exp(1j * spin * gamma)
    positions = np.stack([theta, phi], axis=1)
    errors = [
        relative_error(
            complex_field(
                remap(alm if spin else alm[0], positions, spin=spin, epsilon=epsilon, gamma=gamma, nthreads=1)
            ),
            expected,
        )
        for epsilon in LADDER
    ]
    for epsilon, error in zip(LADDER, errors, strict=True):
        assert error <= 3 * epsilon
    assert all(b < a for a, b in pairwise(errors))


def test_gradient_alone_is_a_zero_curl_left_out():
    rng = np.random.default_rng(8)
    alm = random_alm(rng, 2, 20, lmin=2)
    alm[1] = 0
    positions = np.stack([np.arccos(rng.uniform(-1, 1, 50)), rng.uniform(0, 6, 50)], axis=1)
    # two different code paths of one transform: 1e-12 of an rms of 5 is ε
    np.testing.assert_allclose(
        remap(alm[0], positions, spin=2, epsilon=1e-12), remap(alm, positions, spin=2, epsilon=1e-12), atol=1e-11
    )


@pytest.mark.parametrize("nside", [1, 2, 4, 8, 16])
def test_single_modes_on_lensed_pixels(nside):
    rng = np.random.default_rng(9)
    grid = healpix_grid(nside)
    lmax = 3 * nside - 1
    alpha = 0.05 * rng.standard_normal((2, grid.npix))
    positions, gamma = deflected_positions(alpha, grid)
    for spin in range(min(3, lmax) + 1):
        theta2, phi2, gamma2 = truth.follow(*truth.pixel_angles(grid), alpha)
        for ell in sorted({spin, spin + 1, 2 * nside, lmax} & set(range(lmax + 1))):
            if ell < spin:
                continue
            harmonics = truth.spin_harmonics(ell, spin, theta2, phi2) * np.exp(1j * spin * gamma2)
            for m in sorted({0, 1, ell // 2, ell} & set(range(ell + 1))):
                alm = np.zeros((1 if spin == 0 else 2, alm_size(lmax)), dtype=complex)
                value = 0.6 + (0.8j if m else 0)
                index = alm_index(lmax, np.array([ell]), np.array([m]))
                alm[-1, index] = value
                # ±m of one real field, which for spin > 0 is the curl: f = −i C
                both = value * harmonics[ell + m]
                if m:
                    both = both + (-1) ** m * np.conj(value) * harmonics[ell - m]
                expected = both if spin == 0 else -1j * both
                got = remap(alm[0] if spin == 0 else alm, positions, spin=spin, epsilon=1e-12, gamma=gamma)
                error = np.sqrt(np.mean(np.abs(complex_field(got) - expected) ** 2)) / sky_rms(alm)
                assert error < 3e-12, (spin, ell, m)


@pytest.mark.parametrize(("rms", "curl"), [(1e-3, False), (1e-3, True), (0.3, True)])
def test_lensed_sky_against_direct_sums(rms, curl):
    rng = np.random.default_rng(10)
    lmax, lmax_phi, grid = 24, 16, healpix_grid(8)
    teb = random_alm(rng, 3, lmax, lmin=2)
    phi = lensing_potential(rng, lmax_phi, rms)
    omega = lensing_potential(rng, lmax_phi, rms) if curl else None
    ell = np.arange(lmax_phi + 1.0)
    potentials = np.array([phi, omega if curl else 0 * phi])
    spin1 = scale_alm(potentials, np.sqrt(ell * (ell + 1)))

    def expected(theta, lon):
        alpha = truth.field(spin1, 1, theta, lon)
        alpha = np.array([alpha.real, alpha.imag])
        t = truth.lensed(teb[:1], 0, alpha, theta, lon)
        p = truth.lensed(teb[1:], 2, alpha, theta, lon)
        return np.array([t.real, p.real, p.imag])

    # the largest of thousands of errors of ε rms: 6ε; at rms 0.3 the deflection's 0.01ε moves T by 24·0.3·0.01ε
    scale = [[sky_rms(teb[:1])], [sky_rms(teb[1:])], [sky_rms(teb[1:])]]
    lensed = remap_tp(teb, phi, grid, curl_alm=omega, epsilon=1e-12)
    assert np.abs((lensed - expected(*truth.pixel_angles(grid))) / scale).max() < 6e-12
    theta, lon = adversarial_directions()
    for epsilon in (1e-3, 1e-7, 1e-12):
        lensed = remap_at(teb, phi, theta, lon, curl_alm=omega, epsilon=epsilon)
        assert np.abs((lensed - expected(theta, lon)) / scale).max() < 6 * epsilon


def test_at_the_pole_polarisation_turns_with_the_longitude_of_its_axes():
    rng = np.random.default_rng(11)
    teb, phi = random_alm(rng, 3, 30, lmin=2), lensing_potential(rng, 30, 0.01)
    lon = np.linspace(0, 2 * np.pi, 17)
    for theta, sense in ((0.0, 1), (np.pi, -1)):
        t, q, u = remap_at(teb, phi, np.full(17, theta), lon, epsilon=1e-12)
        # one direction in the sky, looked at with e_θ along 17 longitudes; 1e-10 is 20ε of an rms of 5
        np.testing.assert_allclose(t, t[0], rtol=0, atol=1e-10)
        np.testing.assert_allclose((q + 1j * u) * np.exp(2j * sense * lon), q[0] + 1j * u[0], rtol=0, atol=1e-10)


def test_turning_sky_and_potential_together_turns_the_lensed_sky():
    rng = np.random.default_rng(6)
    lmax = 16
    teb = random_alm(rng, 3, lmax, lmin=2)
    phi = lensing_potential(rng, lmax, 0.2)
    theta, lon = np.arccos(rng.uniform(-1, 1, 500)), rng.uniform(0, 2 * np.pi, 500)

    def turned(alm):
        return ducc0.sht.rotate_alm(alm, lmax_of(alm.shape[-1]), 0.4, 1.1, -2.0)

    root = np.sqrt(2 * np.pi / 3)
    units = np.array([[0, 0, -root], [0, 0, 1j * root], [0, np.sqrt(2) * root, 0]])  # x, y, z as dipoles
    images = np.array([turned(u) for u in units])
    matrix = np.array([-images[:, 2].real / root, images[:, 2].imag / root, images[:, 1].real / root / np.sqrt(2)])
    n, e_theta, _ = truth.basis(theta, lon)
    theta2, lon2 = (x.astype(float) for x in truth.angles(matrix @ n))
    _, e_theta2, e_phi2 = truth.basis(theta2, lon2)
    image = matrix @ e_theta
    chi = np.arctan2((image * e_phi2).sum(axis=0), (image * e_theta2).sum(axis=0)).astype(float)

    before = remap_at(teb, phi, theta, lon, epsilon=1e-12)
    after = remap_at(np.array([turned(row) for row in teb]), turned(phi), theta2, lon2, epsilon=1e-12)
    # 2e-11 of an rms of 5: twice ε = 1e-12 for field and deflection, 5σ in the worst of 500 points
    np.testing.assert_allclose(after[0], before[0], rtol=0, atol=2e-11)
    expected = (before[1] + 1j * before[2]) * np.exp(2j * chi)
    np.testing.assert_allclose(after[1] + 1j * after[2], expected, rtol=0, atol=2e-11)


def test_rotation_in_pieces_leaves_no_seam(monkeypatch):
    rng = np.random.default_rng(15)
    teb, phi, grid = random_alm(rng, 3, 20, lmin=2), lensing_potential(rng, 20, 0.1), healpix_grid(8)
    theta, lon = truth.pixel_angles(grid)
    whole = remap_at(teb, phi, theta, lon)
    monkeypatch.setattr("lensrec.sphere.remap._CHUNK", 100)
    # a few roundings of an rms of 5: sines come from another branch where a batch ends
    np.testing.assert_allclose(remap_at(teb, phi, theta, lon), whole, rtol=0, atol=1e-13)


def test_what_cannot_be_remapped_is_refused():
    grid, alm, phi = healpix_grid(2), np.zeros((3, alm_size(4)), complex), np.zeros(alm_size(4), complex)
    positions = np.array([[0.5, 0.5]])
    for epsilon in (9e-13, 2e-3, 0.0, -1.0, np.nan):
        with pytest.raises(ValueError, match="epsilon must be between"):
            remap_tp(alm, phi, grid, epsilon=epsilon)
    with pytest.raises(ValueError, match=r"\(3, nalm\)"):
        remap_tp(alm[:2], phi, grid)
    with pytest.raises(ValueError, match="curl potential"):
        remap_tp(alm, phi, grid, curl_alm=phi[:3])
    with pytest.raises(ValueError, match="one array of alm"):
        remap_tp(alm, alm, grid)
    with pytest.raises(ValueError, match=r"shape \(2, 48\)"):
        deflected_positions(np.zeros((2, 47)), grid)
    with pytest.raises(ValueError, match="float64"):
        remap(phi, positions.astype(np.float32), spin=0)
    with pytest.raises(ValueError, match="one angle a position"):
        remap(alm[:2], positions, spin=2, gamma=np.zeros(2))
    for bad in ([[-0.1, 0.0]], [[3.2, 0.0]], [[1.0, 7.0]], [[np.nan, 0.0]]):
        with pytest.raises(ValueError, match="positions must have"):
            remap(phi, np.array(bad), spin=0)
    with pytest.raises(ValueError, match="infinite or NaN"):
        remap_tp(alm, np.full_like(phi, np.nan), grid)
    for theta, lon in (([-0.1], [0.0]), ([4.0], [0.0]), ([1.0], [np.inf])):
        with pytest.raises(ValueError, match="theta must lie"):
            remap_at(alm, phi, np.array(theta), np.array(lon))
    with pytest.raises(ValueError, match="two lists of one length"):
        remap_at(alm, phi, np.zeros(2), np.zeros(3))


def test_no_deflection_no_change():
    rng = np.random.default_rng(19)
    teb, grid = random_alm(rng, 3, 30, lmin=2), healpix_grid(16)
    lensed = remap_tp(teb, np.zeros(alm_size(10), complex), grid, epsilon=1e-12)
    expected = np.array([synthesis(teb[0], grid), *synthesis(teb[1:], grid, 2)])
    # 6ε of an rms of 6 in the worst of 3072 pixels
    np.testing.assert_allclose(lensed, expected, rtol=0, atol=4e-11)

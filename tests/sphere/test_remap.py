"""The remap against geometry in closed form, direct sums, conservation laws, a peer, and lensed spectra."""

from itertools import pairwise

import ducc0
import numpy as np
import pytest
from scipy import stats

from lensrec.sphere.alm import alm_index, alm_m, alm_size, alm_to_cl, lmax_of, resize_alm, scale_alm
from lensrec.sphere.grids import gauss_legendre_grid, healpix_grid
from lensrec.sphere.remap import deflected_positions, deflection, remap, remap_at, remap_tp
from lensrec.sphere.sht import analysis, synthesis
from tests.reference import remap as truth

LADDER = (1e-3, 1e-4, 1e-5, 1e-7, 1e-9, 1e-12)


def random_alm(rng, rows, lmax, *, cl=None, lmin=0):
    """Gaussian alm of a real field, shape (rows, nalm); white unless `cl` is given."""
    alm = rng.standard_normal((rows, alm_size(lmax))) + 1j * rng.standard_normal((rows, alm_size(lmax)))
    alm /= np.sqrt(2)
    alm[:, : lmax + 1] = np.sqrt(2) * alm[:, : lmax + 1].real
    power = np.ones(lmax + 1) if cl is None else np.asarray(cl, dtype=float)
    return scale_alm(alm, np.sqrt(np.where(np.arange(lmax + 1) >= lmin, power, 0.0)))


def sky_rms(alm):
    """Root-mean-square over the sphere of each real component that the rows of alm synthesise to."""
    weight = np.where(alm_m(lmax_of(alm.shape[-1])) == 0, 1.0, 2.0)
    return np.sqrt((np.abs(alm) ** 2 * weight).sum() / (4 * np.pi * len(np.atleast_2d(alm))))


def lensing_potential(rng, lmax, rms, *, slope=-2.0):
    """A red random potential, scaled to a deflection of the given rms (radians)."""
    ell = np.arange(lmax + 1.0)
    phi = random_alm(rng, 1, lmax, cl=np.maximum(ell, 1) ** (slope - 2), lmin=1)[0]
    power = (2 * ell + 1) / (4 * np.pi) * ell * (ell + 1) * alm_to_cl(phi)
    return phi * rms / np.sqrt(power.sum())


def adversarial_directions():
    """Poles and next to them, HEALPix's belts, the equator, both ends of φ, zeros of Legendre polynomials."""
    small = np.array([0.0, 1e-300, 1e-20, 1e-9, 1e-5, 1e-3])
    theta = np.concatenate(
        [small, np.pi - small, np.arccos([2 / 3, -2 / 3, 3**-0.5, 0.0]), [np.pi / 2], ducc0.misc.GL_thetas(20)]
    )
    phi = np.array([0.0, 1e-17, np.pi / 4, np.pi / 2, np.pi, 3.0, 2 * np.pi])
    return [np.ravel(x) for x in np.meshgrid(theta, phi, indexing="ij")]


def complex_field(values):
    return values if values.ndim == 1 else values[0] + 1j * values[1]


def relative_error(values, expected):
    return np.sqrt(np.mean(np.abs(values - expected) ** 2) / np.mean(np.abs(expected) ** 2))


# ---- geometry ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("amplitude", [1e-12, 1e-5, 1e-3, 0.3, -0.9, 2.5, 4.0, -10.0])
@pytest.mark.parametrize("grid", [healpix_grid(1), healpix_grid(128), gauss_legendre_grid(101)])
def test_dipole_moves_along_meridians_without_turning(amplitude, grid):
    theta, phi = truth.pixel_angles(grid)
    alpha = np.array([-amplitude * np.sin(theta), 0 * theta])
    positions, gamma = deflected_positions(alpha, grid)

    unfolded = (theta - amplitude * np.sin(theta)) % (2 * np.pi)
    over = unfolded > np.pi  # behind a pole both axes have turned by π and the longitude is the opposite one
    # 1e-14 is 45 roundings of 1; θ′ and φ′ carry those of angles of up to 4π
    np.testing.assert_allclose(positions[:, 0], np.where(over, 2 * np.pi - unfolded, unfolded), rtol=0, atol=1e-14)
    turn = positions[:, 1] - phi - np.where(over, np.pi, 0)
    np.testing.assert_allclose(np.exp(1j * turn), 1, rtol=0, atol=1e-14)
    np.testing.assert_allclose(np.exp(1j * (gamma - np.where(over, np.pi, 0))), 1, rtol=0, atol=1e-14)


def dipole_potential(a):
    """alm of φ = a·n for a vector a."""
    x, y, z = (float(v) for v in a)
    return np.array([0, z * np.sqrt(4 * np.pi / 3), np.sqrt(2 * np.pi / 3) * (-x + 1j * y)])


@pytest.mark.parametrize("axis", [(0, 0, 1), (1, 0, 0), (0.3, -0.5, 0.8), (-0.1, 0.02, -0.9)])
@pytest.mark.parametrize("nside", [1, 16, 128])
def test_deflection_of_a_dipole(axis, nside):
    """∇(a·n) = (a·e_θ, a·e_φ), and the curl's deflection is this turned by +90°."""
    grid = healpix_grid(nside)
    theta, _ = angles = truth.pixel_angles(grid)
    _, e_theta, e_phi = (np.tensordot(np.array(axis), e.astype(float), 1) for e in truth.basis(*angles))
    # the transform knows its rings by cos θ, whose rounding moves a ring by 1e-16/θ: 3e-14 on the first of nside 128
    bound = 2e-15 + 3e-16 / np.sin(theta)
    gradient = deflection(dipole_potential(axis), grid)
    curl = deflection(np.zeros(3, complex), grid, curl_alm=dipole_potential(axis))
    for got, expected in zip([*gradient, *curl], [e_theta, e_phi, -e_phi, e_theta], strict=True):
        assert (np.abs(got - expected) < bound).all()


@pytest.mark.parametrize("amplitude", [1e-12, 1e-3, 0.7, -2.5, 4.0, -10.0])
@pytest.mark.parametrize("axis", [(1, 0, 0), (0.3, -0.5, 0.8), (-0.1, 0.02, -0.9)])
def test_dipole_about_any_axis(amplitude, axis):
    """φ = a n·â moves n along its meridian about â to ϑ − a sin ϑ and keeps the direction of that meridian."""
    grid = healpix_grid(64)
    a = np.array(axis, dtype=np.longdouble)
    a = (a / np.sqrt((a**2).sum()))[:, None]
    n, e_theta, e_phi = truth.basis(*truth.pixel_angles(grid))
    alpha = amplitude * np.array([(e * a).sum(axis=0) for e in (e_theta, e_phi)])
    positions, gamma = deflected_positions(alpha.astype(float), grid)

    cosine = (n * a).sum(axis=0)
    away = n - cosine * a
    sine = np.sqrt((away**2).sum(axis=0))
    away /= sine
    angle = np.arctan2(sine, cosine)
    moved = angle - amplitude * sine
    n2, e_theta2, e_phi2 = truth.basis(positions[:, 0], positions[:, 1])
    # compared as vectors, since longitude and γ are ill-defined next to a pole; 1e-14 as above
    assert np.abs(n2 - a * np.cos(moved) - away * np.sin(moved)).max() < 1e-14
    meridian, meridian2 = (away * np.cos(t) - a * np.sin(t) for t in (angle, moved))
    direction = np.arctan2((meridian * e_phi).sum(axis=0), (meridian * e_theta).sum(axis=0)) - gamma
    carried = e_theta2 * np.cos(direction) + e_phi2 * np.sin(direction)
    assert np.abs(carried - meridian2).max() < 1e-14


@pytest.mark.parametrize("size", [1e-300, 1e-9, 1e-3, 0.1, 2.0, 7.0])
def test_random_deflections_follow_great_circles(size):
    grid = healpix_grid(32)
    alpha = size * np.random.default_rng(5).standard_normal((2, grid.npix))
    positions, gamma = deflected_positions(alpha, grid)
    theta2, phi2, gamma2 = truth.follow(*truth.pixel_angles(grid), alpha)
    here, there = truth.basis(positions[:, 0], positions[:, 1]), truth.basis(theta2, phi2)
    # 1e-14: a position is good to 10 roundings of |α| < 30
    np.testing.assert_allclose((here[0] - there[0]).astype(float), 0, rtol=0, atol=1e-14)
    carried = [b[1] * np.cos(g) - b[2] * np.sin(g) for b, g in ((here, gamma), (there, gamma2))]
    np.testing.assert_allclose((carried[0] - carried[1]).astype(float), 0, rtol=0, atol=1e-14)


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


# ---- direct sums ---------------------------------------------------------------------------------------------


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


# ---- the promise of epsilon ------------------------------------------------------------------------------------


def promised_positions(rng, lmax):
    """100,000 directions all over the sphere and as many within 3/lmax of the poles."""
    count = 100_000
    near = rng.uniform(0, 3 / lmax, count)
    theta = [np.arccos(rng.uniform(-1, 1, count)), np.where(rng.random(count) < 0.5, near, np.pi - near)]
    return [np.stack([t, rng.uniform(0, 2 * np.pi, count)], axis=1) for t in theta]


@pytest.mark.parametrize("lmax", [8, 60, 700])
@pytest.mark.parametrize("spin", [0, 2])
@pytest.mark.parametrize("single", [False, True])
def test_rms_error_at_100000_positions_stays_below_3_epsilon(lmax, spin, single):
    rng = np.random.default_rng(12)
    alm = random_alm(rng, 1 if spin == 0 else 2, lmax, lmin=spin)  # white: the hardest spectrum
    given = alm.astype(np.complex64) if single else alm
    for positions in promised_positions(rng, lmax):
        exact = ducc0.sht.synthesis_general(
            alm=given.astype(complex), spin=spin, lmax=lmax, loc=positions, epsilon=1e-13, nthreads=2
        )
        previous = np.inf
        for epsilon in LADDER:
            values = np.atleast_2d(
                remap(given if spin else given[0], positions, spin=spin, epsilon=epsilon, nthreads=2)
            )
            assert values.dtype == (np.float32 if single and epsilon >= 1e-5 else np.float64)
            error = np.sqrt(np.mean((values - exact) ** 2)) / sky_rms(alm)
            assert error <= 3 * epsilon
            assert error < previous
            previous = error


def test_single_precision_keeps_positions_in_double():
    """Positions rounded to single precision would alone cost more than the whole error made here."""
    rng = np.random.default_rng(13)
    lmax, grid = 1500, healpix_grid(256)
    ell = np.arange(lmax + 1.0)
    cl = 1 / np.maximum(ell, 2) ** 2 * np.exp(-((ell / 1000) ** 2))
    teb, phi = random_alm(rng, 3, lmax, cl=cl, lmin=2), lensing_potential(rng, 300, 7e-4)
    single = remap_tp(teb.astype(np.complex64), phi.astype(np.complex64), grid, epsilon=1e-5)
    field = deflection(phi.astype(np.complex64), grid)
    positions, _ = deflected_positions(field, grid)
    assert (single.dtype, field.dtype, positions.dtype) == (np.float32, np.float64, np.float64)
    assert deflected_positions(field.astype(np.float32), grid)[0].dtype == np.float64

    # compared for the same coefficients, so that only the remap's own error is seen
    double = remap_tp(teb.astype(np.complex64), phi.astype(np.complex64), grid, epsilon=1e-9)
    assert double.dtype == np.float64
    made = relative_error(single, double)
    rounded = np.minimum(positions.astype(np.float32), np.float32([3.1415925, 6.283185])).astype(float)
    loss = relative_error(remap(teb[0].astype(np.complex64), rounded, spin=0, epsilon=1e-9), double[0])
    assert made < 1e-6  # measured 3e-7
    assert loss > 2 * made


def test_lists_of_directions_agree_with_the_grid():
    rng = np.random.default_rng(14)
    teb, phi = random_alm(rng, 3, 300, lmin=2), lensing_potential(rng, 200, 7e-4)
    grid = healpix_grid(64)
    on_grid = remap_tp(teb, phi, grid, epsilon=1e-11)
    for epsilon in (1e-3, 1e-6, 1e-9):
        listed = remap_at(teb, phi, *truth.pixel_angles(grid), epsilon=epsilon)
        assert relative_error(listed, on_grid) < 3 * epsilon
    alone = remap_at(teb[:1], phi, *truth.pixel_angles(grid), epsilon=1e-9)
    # T does not know of P: the same operations in the same order
    np.testing.assert_array_equal(alone[0], listed[0])
    np.testing.assert_array_equal(remap_tp(teb[:1], phi, grid, epsilon=1e-11)[0], on_grid[0])


def test_rotation_in_pieces_leaves_no_seam(monkeypatch):
    rng = np.random.default_rng(15)
    teb, phi, grid = random_alm(rng, 3, 20, lmin=2), lensing_potential(rng, 20, 0.1), healpix_grid(8)
    theta, lon = truth.pixel_angles(grid)
    whole = remap_at(teb, phi, theta, lon)
    monkeypatch.setattr("lensrec.sphere.remap._CHUNK", 100)
    # a few roundings of an rms of 5: sines come from another branch where a batch ends
    np.testing.assert_allclose(remap_at(teb, phi, theta, lon), whole, rtol=0, atol=1e-13)


# ---- peers and spectra ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("epsilon", [1e-5, 1e-7, 1e-10])
@pytest.mark.parametrize("curl", [False, True])
def test_lensed_maps_are_those_of_lenspyx(epsilon, curl):
    lenspyx = pytest.importorskip("lenspyx")
    rng = np.random.default_rng(17)
    lmax, lmax_phi, nside = 600, 500, 256
    ell = np.arange(lmax + 1.0)
    teb = random_alm(rng, 3, lmax, cl=1 / np.maximum(ell, 1) ** 2, lmin=2)
    phi, omega = lensing_potential(rng, lmax_phi, 1e-3), lensing_potential(rng, lmax_phi, 3e-4)
    root = np.sqrt(np.arange(lmax_phi + 1.0) * np.arange(1.0, lmax_phi + 2))
    spin1 = [scale_alm(phi, root), scale_alm(omega, root)] if curl else [scale_alm(phi, root)]
    peer = np.array(
        lenspyx.alm2lenmap(list(teb), spin1, geometry=("healpix", {"nside": nside}), epsilon=epsilon, nthreads=2)
    )
    ours = remap_tp(teb, phi, healpix_grid(nside), curl_alm=omega if curl else None, epsilon=epsilon, nthreads=2)
    for row in range(3):
        assert relative_error(ours[row], peer[row]) < 3 * epsilon


def test_paired_skies_follow_the_lensed_spectra():
    """Mean of (lensed − unlensed) power over 40 pairs against CAMB's correlation functions, BB from E alone."""
    correlations = pytest.importorskip("camb.correlations")
    lmax, lout, skies = 220, 160, 40
    ell = np.arange(lmax + 1.0)
    envelope = np.exp(-((ell / 140) ** 2)) / np.maximum(ell, 2) ** 2
    tt = 1e4 * envelope * (1 + 0.8 * np.cos(ell / 8))
    ee = 1e2 * envelope * (1 - 0.8 * np.cos(ell / 8))
    te = 0.5 * np.sqrt(tt * ee) * np.sin(ell / 8)
    pp = 2e-4 / np.maximum(ell, 1) ** 4  # a deflection of some 15′, to make the effect plain at low ℓ
    for cl in (tt, ee, te):
        cl[:2] = 0
    pp[0] = 0
    norm = ell * (ell + 1) / (2 * np.pi)
    lensed = correlations.lensed_cls(
        np.stack([tt, ee, 0 * tt, te], axis=1) * norm[:, None],
        (ell * (ell + 1)) ** 2 * pp / (2 * np.pi),
        lmax=lmax,
        theta_max=None,
        sampling_factor=4,
    )
    theory = lensed[2 : lout + 1] / norm[2 : lout + 1, None]
    unlensed = np.stack([tt, ee, 0 * tt, te], axis=1)[2 : lout + 1]
    edges = np.linspace(0, lout - 1, 5).astype(int)[:-1]
    width = np.diff(np.append(edges, lout - 1))[:, None]

    def binned(spectra):
        weighted = spectra * norm[2 : lout + 1, None]
        return (np.add.reduceat(weighted, edges) / width).ravel()

    rng = np.random.default_rng(18)
    # lensing smears to degree ~ 2·220; with lout on top, 700 leaves aliases below 1e-6
    grid = gauss_legendre_grid(700)
    rows = []
    for _ in range(skies):
        unit = random_alm(rng, 3, lmax)
        correlation = np.divide(te, np.sqrt(tt * ee), out=np.zeros_like(te), where=tt > 0)
        e_unit = scale_alm(unit[0], correlation) + scale_alm(unit[1], np.sqrt(1 - correlation**2))
        teb = np.array([scale_alm(unit[0], np.sqrt(tt)), scale_alm(e_unit, np.sqrt(ee)), 0 * unit[0]])
        iqu = remap_tp(teb, scale_alm(unit[2], np.sqrt(pp)), grid, epsilon=1e-6, nthreads=2)
        after = [analysis(iqu[0], grid, lout), *analysis(iqu[1:], grid, lout, 2)]
        before = resize_alm(teb, lout)
        pair = [
            alm_to_cl(after[i], after[j]) - alm_to_cl(before[i], before[j]) for i, j in ((0, 0), (1, 1), (2, 2), (0, 1))
        ]
        rows.append(binned(np.array(pair).T[2:]))
    samples = np.array(rows)

    def false_alarm(mean):
        """Hotelling's T² of the samples about a supposed mean, as a probability."""
        bins = samples.shape[1]
        off = samples.mean(axis=0) - mean
        t2 = skies * off @ np.linalg.solve(np.cov(samples, rowvar=False), off)
        return stats.f.sf(t2 * (skies - bins) / (bins * (skies - 1)), bins, skies - bins)

    expected = binned(theory - unlensed)
    assert false_alarm(expected) > 1e-6  # the false-alarm rate of this test
    # and it sees a lensing power that is 10 % off
    assert false_alarm(0.9 * expected) < 1e-6


# ---- refusals -------------------------------------------------------------------------------------------------------


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

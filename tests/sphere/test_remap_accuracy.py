"""The remap keeps what its epsilon promises, in both precisions, and agrees with a peer and with lensed spectra."""

import ducc0
import numpy as np
import pytest
from scipy import stats

from lensrec.sphere.alm import alm_to_cl, resize_alm, scale_alm
from lensrec.sphere.grids import gauss_legendre_grid, healpix_grid
from lensrec.sphere.remap import deflected_positions, deflection, remap, remap_at, remap_tp
from lensrec.sphere.sht import analysis
from tests.reference import remap as truth
from tests.sphere.inputs import LADDER, lensing_potential, promised_positions, random_alm, relative_error, sky_rms


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

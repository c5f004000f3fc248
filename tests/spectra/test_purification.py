"""Purified E and B: of each other nothing, of themselves what a masked scalar keeps."""

import numpy as np
import pytest

from lensrec.sky.masks import apodise, disc, galactic_cut
from lensrec.spectra.coupling import coupling_matrices
from lensrec.spectra.pseudo_cl import decoupling, mask_spectrum, noise_bias, pseudo_spectra
from lensrec.spectra.purification import (
    MaskDerivatives,
    mask_derivatives,
    purification_weights,
    purified_alm,
    purified_noise_bias,
)
from lensrec.sphere.alm import alm_size, alm_to_cl, scale_alm
from lensrec.sphere.grids import gauss_legendre_grid, healpix_grid
from lensrec.sphere.sht import analysis, synthesis
from tests.spectra.test_coupling import unit_modes

LMAX, LMAX_SKY, LMAX_MASK = 7, 5, 6


def drawn(rng, lmax):
    alm = (rng.normal(size=alm_size(lmax)) + 1j * rng.normal(size=alm_size(lmax))) / np.sqrt(2)
    alm[: lmax + 1] = np.sqrt(2) * alm[: lmax + 1].real
    return alm


def setting(seed):
    """A random weight on a grid that integrates all products exactly."""
    grid = gauss_legendre_grid(LMAX + LMAX_SKY + LMAX_MASK)
    alm = drawn(np.random.default_rng(seed), LMAX_MASK)
    return grid, alm, mask_derivatives(alm, grid)


def test_derivatives_of_a_dipole():
    """ðw = −(∂_θ + i ∂_φ/sin θ) w: of cos θ it is sin θ, of sin θ cos φ it is −cos θ cos φ + i sin φ; ð²w = 0."""
    grid = gauss_legendre_grid(6)
    theta = np.repeat(grid.theta, grid.nphi.astype(int))
    phi = np.tile(2 * np.pi * np.arange(grid.nphi[0]) / grid.nphi[0], len(grid.theta))
    for w, real, imaginary in (
        (np.cos(theta), np.sin(theta), 0 * phi),
        (np.sin(theta) * np.cos(phi), -np.cos(theta) * np.cos(phi), np.sin(phi)),
    ):
        found = mask_derivatives(analysis(w, grid, 2), grid)
        np.testing.assert_allclose(found.weight, w, rtol=0, atol=1e-14)
        np.testing.assert_allclose(found.first, [real, imaginary], rtol=0, atol=1e-14)
        np.testing.assert_allclose(found.second, 0, rtol=0, atol=1e-14)
    # w = cos²θ: ð²w = sin θ ∂_θ(∂_θ w / sin θ) = 2 sin²θ
    second = mask_derivatives(analysis(np.cos(theta) ** 2, grid, 2), grid).second
    np.testing.assert_allclose(second, [2 * np.sin(theta) ** 2, 0 * phi], rtol=0, atol=1e-13)


def test_purity_and_coupling_mode_by_mode():
    """Each mode of E and B on its own: nothing of it in the other, and its power is r² M⁰⁰ of the scalar's coupling."""
    grid, alm, derivatives = setting(61)
    power = {"E": np.zeros((LMAX + 1, LMAX_SKY + 1)), "B": np.zeros((LMAX + 1, LMAX_SKY + 1))}
    for ell, mode in unit_modes(LMAX_SKY, 2):
        for row, name in enumerate("EB"):
            sky = np.zeros((2, len(mode)), dtype=complex)
            sky[row] = mode
            out = purified_alm(synthesis(sky, grid, 2), derivatives, grid, LMAX)
            np.testing.assert_allclose(out[1 - row], 0, rtol=0, atol=1e-13)
            power[name][:, ell] += alm_to_cl(out[row])
    # even noise is a sky of its own
    one_ell = noise_bias({"BB": np.eye(LMAX_SKY + 1)[3]}, alm_to_cl(alm), LMAX_SKY, pure_b=True)["BB"]
    np.testing.assert_allclose(one_ell, power["B"][: LMAX_SKY + 1, 3], rtol=0, atol=1e-12)
    scalar = coupling_matrices(alm_to_cl(alm), LMAX, lmax_sky=LMAX_SKY)["00"]
    for ell in range(LMAX + 1):
        for other in range(LMAX_SKY + 1):
            ratio = 0.0
            if min(ell, other) >= 2:
                ratio = (other + 2) * (other + 1) * other * (other - 1) / ((ell + 2) * (ell + 1) * ell * (ell - 1))
            for name in "EB":
                assert power[name][ell, other] == pytest.approx(ratio * scalar[ell, other], rel=1e-12, abs=1e-13)
    assert power["B"].max() > 1.0


def test_mean_spectra_with_plain_e_and_purified_b():
    """T, plain E and purified B of every mode of a sky with TB and EB: they couple as decoupling says."""
    grid, alm, derivatives = setting(62)
    total = {"TB": np.zeros(LMAX + 1), "EB": np.zeros(LMAX + 1)}
    rng = np.random.default_rng(63)
    cl = {key: rng.normal(size=LMAX_SKY + 1) for key in ("TB", "EB")}
    for ell, mode in unit_modes(LMAX_SKY, 2):
        zero = np.zeros_like(mode)
        t = analysis(derivatives.weight * synthesis(mode, grid), grid, LMAX)
        e = analysis(derivatives.weight * synthesis(np.array([mode, zero]), grid, 2), grid, LMAX, 2)[0]
        b = purified_alm(synthesis(np.array([zero, mode]), grid, 2), derivatives, grid, LMAX)[1]
        total["TB"] += cl["TB"][ell] * alm_to_cl(t, b)
        total["EB"] += cl["EB"][ell] * alm_to_cl(e, b)
    made = decoupling(alm_to_cl(alm), [2, 4, LMAX_SKY + 1], keys=["TB", "EB"], pure_b=True)
    for key in ("TB", "EB"):
        np.testing.assert_allclose(total[key][: LMAX_SKY + 1], made.mean_pseudo(cl)[key], rtol=0, atol=1e-12)


def test_noise_bias_pixel_by_pixel():
    """Noise of one pixel at a time, powers weighted by its variance, in purified E and B alike; no random number."""
    lmax, grid = 6, healpix_grid(4)
    rng = np.random.default_rng(64)
    derivatives = MaskDerivatives(rng.random(grid.npix), *rng.normal(size=(2, 2, grid.npix)))
    rms, level = 0.5 + rng.random(grid.npix), 3.0
    total = np.zeros((2, lmax + 1))
    for pixel in range(grid.npix):
        for row in range(2):
            maps = np.zeros((2, grid.npix))
            maps[row, pixel] = rms[pixel] * np.sqrt(level * grid.npix / (4 * np.pi))
            alm = purified_alm(maps, derivatives, grid, lmax, iterations=0, nthreads=1)
            total += [alm_to_cl(one) for one in alm]
    expected = purified_noise_bias(level, derivatives, lmax, grid=grid, noise_pattern=rms)
    np.testing.assert_allclose(total, [expected, expected], rtol=1e-12)


def test_e_of_the_sky_stays_out_of_b_on_healpix():
    """A red E sky behind a cut with a hole: its B at ℓ ≥ 20 falls by 2e4 in power.

    Where weights are kept outside the mask, too, quadrature alone limits purity, and it falls by 3e5. A fifth of
    both is asked for.
    """
    nside, lmax = 32, 60
    grid = healpix_grid(nside)
    mask = apodise(galactic_cut(nside, 0.35) * (1 - disc(nside, 0.6, 1.0, 0.3)), 0.4, kind="C1")
    ell = np.arange(lmax + 1.0)
    rng = np.random.default_rng(65)
    sky = scale_alm(drawn(rng, lmax), np.where(ell < 2, 0, 1 / np.maximum(ell, 1)))
    qu = synthesis(np.array([sky, 0 * sky]), grid, 2)
    plain = alm_to_cl(analysis(mask * qu, grid, lmax, 2)[1])[20:].sum()
    for everywhere, factor in ((False, 4e3), (True, 6e4)):
        derivatives = purification_weights(mask, everywhere=everywhere)
        b = purified_alm(qu, derivatives, grid, lmax)[1]
        assert alm_to_cl(b)[20:].sum() < plain / factor
        if not everywhere:
            assert (derivatives.second[:, mask == 0] == 0).all()
            hidden = np.where(mask == 0, np.nan, qu)
            np.testing.assert_array_equal(purified_alm(hidden, derivatives, grid, lmax)[1], b)


def test_b_of_the_sky_survives_without_bias():
    """Band powers of B from 100 skies of E and B, B a hundredth of E, noise-free; plain E, purified B.

    t-distribution of 99 degrees of freedom, 5.5σ on 4 + 4 band powers: false-alarm rate 3e-6.
    """
    nside, lmax, edges, skies = 32, 60, [2, 12, 24, 36, 48], 100
    grid = healpix_grid(nside)
    mask = apodise(galactic_cut(nside, 0.35), 0.3, kind="C1")
    derivatives = purification_weights(mask)
    made = decoupling(mask_spectrum(derivatives.weight, 120), edges, lmax_sky=lmax, pure_b=True)
    ell = np.arange(lmax + 1.0)
    cl = {"EE": np.where(ell < 2, 0, 1 / np.maximum(ell, 1) ** 2)}
    cl["BB"] = 0.01 * cl["EE"]
    assert set(made.windows["BB"]) == {"BB"}
    rng, seen = np.random.default_rng(66), []
    for _ in range(skies):
        eb = np.array([scale_alm(drawn(rng, lmax), np.sqrt(cl[key])) for key in ("EE", "BB")])
        qu = synthesis(eb, grid, 2)
        e = analysis(derivatives.weight * qu, grid, edges[-1], 2, iterations=1)[0]
        b = purified_alm(qu, derivatives, grid, edges[-1], iterations=1)[1]
        pseudo = pseudo_spectra(np.array([np.zeros_like(e), e, b]))
        powers = made.bandpowers(pseudo)
        seen.append([powers["EE"], powers["BB"]])
    expected = np.array([sum(w @ cl[s] for s, w in made.windows[key].items()) for key in ("EE", "BB")])
    error = np.std(seen, axis=0, ddof=1) / np.sqrt(skies)
    assert np.abs((np.mean(seen, axis=0) - expected) / error).max() < 5.5
    # each is measured: to 10 % or better
    assert (error < 0.1 * expected).all()


def test_maps_of_another_size_are_refused():
    grid, _, derivatives = setting(67)
    with pytest.raises(ValueError, match="must be on the grid"):
        purified_alm(np.zeros((2, 12)), derivatives, grid, 4)

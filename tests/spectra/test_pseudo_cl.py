"""Pseudo-spectra, noise bias and band powers against sums over 3j symbols, pixels and skies."""

import numpy as np
import pytest

from lensrec.sky.masks import apodise, disc, galactic_cut
from lensrec.spectra.linear_data import LinearData
from lensrec.spectra.pseudo_cl import (
    KEYS,
    band_arrays,
    decoupling,
    mask_spectrum,
    noise_bias,
    pseudo_spectra,
    white_noise_bias,
)
from lensrec.sphere.alm import alm_index, alm_size, scale_alm
from lensrec.sphere.grids import healpix_grid
from lensrec.sphere.sht import adjoint_synthesis, analysis_tp, synthesis_tp
from tests.spectra.test_coupling import by_3j

NSIDE = 32


def cut_sky(nside=NSIDE):
    return apodise(galactic_cut(nside, 0.35) * (1 - disc(nside, 0.6, 1.0, 0.3)), 0.2, kind="C1")


def sky_spectra(lmax):
    """Steep, with TE correlated by +-0.4, and B far below E, as of the CMB."""
    ell = np.arange(lmax + 1.0)
    tt = np.where(ell < 2, 0.0, 1000.0 / np.maximum(ell * (ell + 1), 1) * (1 + 0.5 * np.cos(ell / 9)))
    ee = np.where(ell < 2, 0.0, 1e-3 * (1 + 0.7 * np.sin(ell / 7)))
    te = 0.4 * np.cos(ell / 5) * np.sqrt(tt * ee)
    return {"TT": tt, "EE": ee, "BB": 0.05 * ee, "TE": te, "TB": 0.1 * te, "EB": 0.02 * ee}


def drawn(rng, lmax, n=3):
    alm = (rng.normal(size=(n, alm_size(lmax))) + 1j * rng.normal(size=(n, alm_size(lmax)))) / np.sqrt(2)
    alm[:, : lmax + 1] = np.sqrt(2) * alm[:, : lmax + 1].real
    return alm


def test_spectra_are_sums_over_both_signs_of_m():
    rng, lmax = np.random.default_rng(51), 9
    one, two = drawn(rng, lmax), drawn(rng, lmax)
    auto, cross = pseudo_spectra(one), pseudo_spectra(one, two)
    assert tuple(auto) == tuple(cross) == KEYS

    def by_hand(a, b, ell):
        m = np.arange(1, ell + 1)
        plus, zero = alm_index(lmax, ell, m), alm_index(lmax, ell, np.array(0))
        total = (a[zero] * b[zero].conj() + 2 * (a[plus] * b[plus].conj()).real.sum()).real
        return total / (2 * ell + 1)

    for key in KEYS:
        x, y = ("TEB".index(letter) for letter in key)
        for ell in range(lmax + 1):
            assert auto[key][ell] == pytest.approx(by_hand(one[x], one[y], ell), rel=1e-13, abs=1e-14)
            mean = (by_hand(one[x], two[y], ell) + by_hand(two[x], one[y], ell)) / 2
            assert cross[key][ell] == pytest.approx(mean, rel=1e-13, abs=1e-14)
    assert tuple(pseudo_spectra(one[:1])) == ("TT",)
    with pytest.raises(ValueError, match="1 or 3"):
        pseudo_spectra(one[:2])
    with pytest.raises(ValueError, match="1 or 3"):
        pseudo_spectra(one, two[:1])


def by_sums(mask_cl, edges, lmax_sky, b_t, b_p):
    """Operator and windows of all six spectra from 3j sums, element by element, E with B as one system of equations."""
    lmax, nbins = edges[-1] - 1, len(edges) - 1
    m = by_3j(mask_cl, lmax, lmax_sky)
    mixing = {("TT", "TT"): m["00"], ("TE", "TE"): m["02"], ("TB", "TB"): m["02"], ("EB", "EB"): m["++"] - m["--"]}
    mixing |= {("EE", "EE"): m["++"], ("BB", "BB"): m["++"], ("EE", "BB"): m["--"], ("BB", "EE"): m["--"]}
    every = np.zeros((6, lmax + 1, 6, lmax_sky + 1))
    beam = {"T": b_t, "E": b_p, "B": b_p}
    for (p, s), matrix in mixing.items():
        every[KEYS.index(p), :, KEYS.index(s)] = matrix * beam[s[0]] * beam[s[1]]
    binning, unbinning = np.zeros((6, nbins, 6, lmax + 1)), np.zeros((6, lmax_sky + 1, 6, nbins))
    for i in range(6):
        for b in range(nbins):
            for ell in range(edges[b], edges[b + 1]):
                scaling = ell * (ell + 1) / (2 * np.pi)
                binning[i, b, i, ell] = scaling / (edges[b + 1] - edges[b])
                unbinning[i, ell, i, b] = 1 / scaling
    every = every.reshape(6 * (lmax + 1), 6 * (lmax_sky + 1))
    binning = binning.reshape(6 * nbins, 6 * (lmax + 1))
    coupled = binning @ every
    operator = np.linalg.solve(coupled @ unbinning.reshape(6 * (lmax_sky + 1), 6 * nbins), binning)
    windows = operator @ every
    return operator.reshape(6, nbins, 6, lmax + 1), windows.reshape(6, nbins, 6, lmax_sky + 1)


def test_decoupling_against_3j_symbols():
    """Of operator and windows to 1e-10 of their largest element, at l <= 64."""
    lmax_sky, edges = 64, [2, 9, 17, 30, 44, 58]
    mask_cl = mask_spectrum(cut_sky(), edges[-1] + lmax_sky)
    ell = np.arange(lmax_sky + 1.0)
    b_t, b_p = np.exp(-ell * (ell + 1) / 3000), np.exp(-ell * (ell + 1) / 2500)
    found = decoupling(mask_cl, edges, lmax_sky=lmax_sky, transfer={"T": b_t, "P": b_p}, keys=KEYS)
    operator, windows = by_sums(mask_cl, edges, lmax_sky, b_t, b_p)
    for i, key in enumerate(KEYS):
        for j, source in enumerate(KEYS):
            for mine, expected, ours in (("operator", operator, found.operator), ("windows", windows, found.windows)):
                part = expected[i, :, j]
                got = ours[key].get(source, np.zeros_like(part))
                np.testing.assert_allclose(got, part, rtol=0, atol=1e-10 * np.abs(expected).max(), err_msg=mine)
    # the leakage that is in the windows is no rounding
    assert np.abs(found.windows["EE"]["BB"]).max() > 1e-3 * np.abs(found.windows["EE"]["EE"]).max()


@pytest.mark.parametrize("pure_b", [False, True])
def test_windows_say_what_band_powers_mean(pure_b):
    """Band powers of the mean pseudo-spectra, noise on, are windows @ C, for spectra that are not flat in any bin."""
    edges, lmax_sky = [2, 12, 25, 40, 60], 70
    transfer = {"T": np.linspace(1, 0.4, 71), "P": np.linspace(1, 0.6, 75)}
    made = decoupling(
        mask_spectrum(cut_sky(), 140), edges, lmax_sky=lmax_sky, transfer=transfer, keys=KEYS, pure_b=pure_b
    )
    cl = sky_spectra(lmax_sky)
    noise = white_noise_bias(2e-3, 4e-3, 0.6, edges[-1] + 5)
    pseudo = {key: mean + noise.get(key, np.zeros(70))[: edges[-1]] for key, mean in made.mean_pseudo(cl).items()}
    found = made.bandpowers(pseudo, noise)
    assert set(found) == set(KEYS)
    for key in KEYS:
        expected = sum(window @ cl[source] for source, window in made.windows[key].items())
        np.testing.assert_allclose(found[key], expected, rtol=0, atol=1e-10 * np.abs(expected).max())
    arrays = band_arrays(made)
    mean = np.concatenate([found[key] for key in ("TT", "TE", "EE", "BB")])
    data = LinearData(name="cut sky", mean=mean, covariance=np.eye(16), **arrays._asdict())
    np.testing.assert_allclose(data.expected(cl), mean, rtol=1e-9)
    assert data.block.tolist() == ["TT"] * 4 + ["TE"] * 4 + ["EE"] * 4 + ["BB"] * 4
    assert (data.low[:4].tolist(), data.high[:4].tolist()) == ([2, 12, 25, 40], [11, 24, 39, 59])
    assert data.centre[1] == 18.0


def test_steps_in_d_are_recovered():
    """D_l flat in each bin, different from bin to bin and spectrum to spectrum, and nothing outside: exactly itself."""
    edges = np.array([2, 12, 25, 40, 60])
    made = decoupling(mask_spectrum(cut_sky(), 140), edges, lmax_sky=70)
    rng, ell = np.random.default_rng(52), np.arange(71)
    powers = {key: rng.normal(size=4) for key in made.keys}
    cl = {}
    for key, power in powers.items():
        cl[key] = np.zeros(71)
        inside = (ell >= 2) & (ell < 60)
        cl[key][inside] = power[np.searchsorted(edges, ell[inside], side="right") - 1]
        cl[key][inside] *= 2 * np.pi / (ell * (ell + 1))[inside]
    for key, found in made.bandpowers(made.mean_pseudo(cl)).items():
        np.testing.assert_allclose(found, powers[key], rtol=0, atol=1e-12)


def test_the_whole_sky_by_the_same_door():
    edges, transfer = [2, 10, 30, 50], {"T": np.linspace(1, 0.5, 61), "P": np.linspace(1, 0.7, 61)}
    whole = decoupling(None, edges, lmax_sky=60, transfer=transfer, keys=KEYS)
    unit = decoupling(np.array([4 * np.pi]), edges, lmax_sky=60, transfer=transfer, keys=KEYS)
    cl = sky_spectra(60)
    for key in KEYS:
        assert set(whole.windows[key]) == {key}
        np.testing.assert_allclose(whole.windows[key][key], unit.windows[key][key], rtol=0, atol=1e-11)
        found, expected = whole.bandpowers(whole.mean_pseudo(cl))[key], unit.bandpowers(unit.mean_pseudo(cl))[key]
        np.testing.assert_allclose(found, expected, rtol=1e-11)
    # without a beam a band power is the mean of D_l
    plain = decoupling(None, edges).bandpowers(cl)
    ell = np.arange(10, 30)
    assert plain["TE"][1] == pytest.approx(np.mean(ell * (ell + 1) * cl["TE"][10:30] / (2 * np.pi)), rel=1e-13)


def test_white_uneven_noise_pixel_by_pixel():
    """Noise of one pixel at a time, powers weighted by its variance: N <w^2 p^2> at every l, with no random number."""
    nside, lmax = 4, 9
    grid = healpix_grid(nside)
    rng = np.random.default_rng(53)
    weight, rms = rng.random(grid.npix), 0.5 + rng.random(grid.npix)
    level_t, level_p = 2.0, 3.0
    total = {key: np.zeros(lmax + 1) for key in KEYS}
    for pixel in range(grid.npix):
        for row, level in ((0, level_t), (1, level_p), (2, level_p)):
            maps = np.zeros((3, grid.npix))
            # a white spectrum N is a pixel variance of N npix/4π
            maps[row, pixel] = weight[pixel] * rms[pixel] * np.sqrt(level * grid.npix / (4 * np.pi))
            alm = np.zeros((3, alm_size(lmax)), dtype=complex)
            alm[0] = adjoint_synthesis(maps[0], grid, lmax, 0, weighted=True, nthreads=1)
            alm[1:] = adjoint_synthesis(maps[1:], grid, lmax, 2, weighted=True, nthreads=1)
            for key, cl in pseudo_spectra(alm).items():
                total[key] += cl
    expected = white_noise_bias(level_t, level_p, np.mean((weight * rms) ** 2), lmax)
    for key in KEYS:
        np.testing.assert_allclose(total[key], expected.get(key, np.zeros(lmax + 1)), rtol=0, atol=1e-13)


def test_coloured_noise():
    """White, it is <w^2 p^2> again where its end is not felt; even on the whole sky it is N_l; TE and B take part."""
    weight = cut_sky()
    weight_cl = mask_spectrum(weight, 90)
    mean_square = (2 * np.arange(91) + 1) @ weight_cl / (4 * np.pi)
    white = noise_bias({"TT": np.full(121, 2.0), "EE": np.full(121, 3.0), "BB": np.full(121, 3.0)}, weight_cl, 30)
    expected = white_noise_bias(2.0, 3.0, mean_square, 30)
    np.testing.assert_allclose(white["TT"], expected["TT"], rtol=1e-12)
    # the polarised noise that is left out at l < 2 leaks up: 1e-3 at l = 20
    np.testing.assert_allclose(white["EE"][20:], expected["EE"][20:], rtol=2e-3)
    red = {"TT": 1.0 + (30 / np.maximum(np.arange(61.0), 2)) ** 3, "TE": np.ones(61), "EE": np.ones(61)}
    np.testing.assert_array_equal(noise_bias(red, None, 40)["TT"], red["TT"][:41])
    matrices = by_3j(weight_cl[:60], 20, 40)
    found = noise_bias({key: cl[:41] for key, cl in red.items()}, weight_cl[:60], 20)
    for key, kind in (("TT", "00"), ("TE", "02"), ("EE", "++")):
        np.testing.assert_allclose(found[key], matrices[kind] @ red[key][:41], rtol=1e-11)
    both = noise_bias({"EE": red["EE"], "BB": 2 * red["EE"]}, weight_cl[:60], 20)
    m = by_3j(weight_cl[:60], 20, 60)
    np.testing.assert_allclose(both["EE"], (m["++"] + 2 * m["--"]) @ red["EE"], rtol=1e-11)
    with pytest.raises(ValueError, match="at least 70"):
        noise_bias(red, weight_cl, 70)
    with pytest.raises(ValueError, match="got none"):
        noise_bias({}, weight_cl, 3)


def test_no_bias_on_200_skies():
    """Masked HEALPix maps of beamed signal and uneven white noise: band powers with the noise bias off, and of splits.

    The mean of 200 has a t-distribution of 199 degrees of freedom; 5.5σ on 2 × 24 band powers: false-alarm rate 6e-6.
    """
    lmax_sky, edges, skies, level = 48, [2, 8, 15, 22, 29, 36, 43], 200, 1e-4
    grid, mask = healpix_grid(NSIDE), cut_sky()
    rms = 1.0 + 0.4 * np.cos(np.repeat(grid.theta, grid.nphi.astype(int)) - 0.5)
    ell = np.arange(lmax_sky + 1.0)
    beam = np.exp(-ell * (ell + 1) / 2000)
    made = decoupling(mask_spectrum(mask, 95), edges, lmax_sky=lmax_sky, transfer={"T": beam, "P": beam})
    noise = white_noise_bias(level, level, np.mean((mask * rms) ** 2), edges[-1])
    cl = sky_spectra(lmax_sky)
    rng = np.random.default_rng(54)
    slope = np.divide(cl["TE"], cl["TT"], out=np.zeros(lmax_sky + 1), where=cl["TT"] > 0)
    seen = []
    for _ in range(skies):
        t, e, b = drawn(rng, lmax_sky)
        t = scale_alm(t, np.sqrt(cl["TT"]))
        e = scale_alm(t, slope) + scale_alm(e, np.sqrt(cl["EE"] - slope * cl["TE"]))
        sky = synthesis_tp(np.array([scale_alm(x, beam) for x in (t, e, scale_alm(b, np.sqrt(cl["BB"])))]), grid)
        sigma = rms * np.sqrt(2 * level * grid.npix / (4 * np.pi))
        splits = [
            analysis_tp(mask * (sky + sigma * rng.normal(size=sky.shape)), grid, edges[-1], iterations=0)
            for _ in range(2)
        ]
        auto = made.bandpowers(pseudo_spectra((splits[0] + splits[1]) / 2), noise)
        cross = made.bandpowers(pseudo_spectra(*splits))
        seen.append([[powers[key] for key in made.keys] for powers in (auto, cross)])
    expected = np.array([sum(w @ cl[s] for s, w in made.windows[key].items()) for key in made.keys])
    pull = (np.mean(seen, axis=0) - expected) / (np.std(seen, axis=0, ddof=1) / np.sqrt(skies))
    assert pull.shape == (2, 4, 6)
    assert np.abs(pull).max() < 5.5
    # what was taken off is no trifle: noise, and the E that the mask turns into B, of which pseudo-BB is full
    error = np.std(seen, axis=0)[0, 3] / np.sqrt(skies)
    nothing = dict.fromkeys(KEYS, np.zeros(edges[-1]))
    assert (made.bandpowers({**nothing, **noise})["BB"] > 9 * error).all()
    leaked = made.mean_pseudo({"EE": cl["EE"]})["BB"]
    assert (made.bandpowers({**nothing, "BB": leaked})["BB"][:4] > 8 * error[:4]).all()


def test_mask_spectrum():
    mask = cut_sky()
    cl = mask_spectrum(mask, 200)
    assert cl.shape == (201,)
    assert (cl[96:] == 0).all()
    # a map's mean square is all of its power; 1e-3 of the mask's rise lies beyond 3 nside
    assert (2 * np.arange(201) + 1) @ cl / (4 * np.pi) == pytest.approx(np.mean(mask**2), rel=1e-3)
    # three steps of iteration leave the monopole at 2e-6 of the pixels' mean
    assert cl[0] == pytest.approx(4 * np.pi * mask.mean() ** 2, rel=1e-5)
    np.testing.assert_allclose(mask_spectrum(mask, 50, other=2 * mask), 2 * cl[:51], rtol=1e-12)


def test_what_makes_no_sense_is_refused():
    cl = mask_spectrum(cut_sky(), 60)
    for edges in ([1, 5], [5], [5, 5], [9, 4]):
        with pytest.raises(ValueError, match="band edges"):
            decoupling(cl, edges)
    with pytest.raises(ValueError, match="beyond the sky"):
        decoupling(cl, [2, 30], lmax_sky=20)
    with pytest.raises(ValueError, match="'PP'"):
        decoupling(cl, [2, 30], keys=["TT", "PP"])
    with pytest.raises(ValueError, match="transfer of P"):
        decoupling(cl, [2, 30], transfer={"T": np.ones(30)})
    with pytest.raises(ValueError, match="transfer of T"):
        decoupling(cl, [2, 30], transfer={"T": np.zeros(30), "P": np.ones(30)})
    # a cap of 6 degrees cannot tell single multipoles apart
    cap = mask_spectrum(apodise(disc(NSIDE, 1.0, 1.0, 0.2), 0.1), 60)
    with pytest.raises(ValueError, match="make them wider"):
        decoupling(cap, np.arange(2, 31), keys=["TT"])
    made = decoupling(cl, [2, 20, 30], keys=["EE"])
    assert made.keys == ("EE",)
    with pytest.raises(ValueError, match="pseudo-spectrum BB is wanted to l = 29, but is missing"):
        made.bandpowers({"EE": np.ones(30)})
    with pytest.raises(ValueError, match="ends at l = 9"):
        made.bandpowers({"EE": np.ones(30), "BB": np.ones(10)})

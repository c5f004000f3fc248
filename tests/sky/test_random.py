"""Random coefficients: the same at any lmax and number of threads, Gaussian, and independent where they should be."""

from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from lensrec.sky.random import philox_key, unit_alm
from lensrec.sphere.alm import alm_index, alm_size, alm_to_cl, resize_alm

DRAW = {"seed": 3, "sim": 5, "component": "T"}


def philox_words(key, counter):
    """Four words of Philox 4×64-10 in plain integers, after Salmon et al. (2011), section 3.3."""
    word = 2**64 - 1
    x = [counter & word, counter >> 64, 0, 0]
    k0, k1 = int(key[0]), int(key[1])
    for _ in range(10):
        p0, p1 = 0xD2E7470EE14C6C93 * x[0], 0xCA5A826395121157 * x[2]
        x = [(p1 >> 64) ^ x[1] ^ k0, p1 & word, (p0 >> 64) ^ x[3] ^ k1, p0 & word]
        k0, k1 = (k0 + 0x9E3779B97F4A7C15) & word, (k1 + 0xBB67AE8584CAA73B) & word
    return x


@pytest.mark.parametrize(("ell", "m"), [(0, 0), (1, 0), (1, 1), (7, 3), (255, 200), (256, 0), (300, 300)])
def test_recipe_by_hand(ell, m):
    """One coefficient from the written recipe alone, so that another device can repeat it."""
    key = philox_key(3, 5, "T")
    assert [hex(k) for k in key] == ["0x233b8e4a09422de8", "0xcef7c0f032b4c0ab"]
    i = ell * (ell + 1) // 2 + m
    first, second = (philox_words(key, w // 4 + 1)[w % 4] for w in (2 * i, 2 * i + 1))
    radius = np.sqrt(-2 * np.log(((first >> 11) + 1) / 2**53))
    angle = 2 * np.pi * (second >> 11) / 2**53
    expected = radius * np.cos(angle) if m == 0 else radius * np.exp(1j * angle) / np.sqrt(2)
    got = unit_alm(300, **DRAW)[alm_index(300, np.array(ell), np.array(m))]
    assert abs(got - expected) < 4e-15  # a few roundings of numbers up to 8.6


@pytest.mark.parametrize("lmax", [0, 1, 17, 254, 255, 256, 511, 800])
def test_same_coefficients_at_any_lmax(lmax):
    np.testing.assert_array_equal(unit_alm(lmax, **DRAW), resize_alm(unit_alm(900, **DRAW), lmax))


def test_same_coefficients_with_any_number_of_threads_and_in_any_order():
    alone = unit_alm(700, **DRAW, nthreads=1)
    unit_alm(300, seed=1, sim=1, component="E")
    np.testing.assert_array_equal(unit_alm(700, **DRAW, nthreads=4), alone)
    np.testing.assert_array_equal(unit_alm(700, seed=np.int64(3), sim=np.uint8(5), component="T"), alone)


def test_monopoles_are_real_and_the_rest_is_not():
    alm = unit_alm(300, **DRAW)
    assert (alm[:301].imag == 0).all()
    assert (alm[301:].imag != 0).all()
    assert np.isfinite(alm).all()


def test_gaussian_with_unit_variance():
    """Kolmogorov–Smirnov on three samples and variances by ℓ; false alarms 4 × 1e-6."""
    alm = unit_alm(1000, **DRAW)
    samples = (alm[:1001].real, np.sqrt(2) * alm[1001:].real, np.sqrt(2) * alm[1001:].imag)
    for sample in samples:
        assert stats.kstest(sample, "norm").pvalue > 1e-6
    ell = np.arange(1001)
    chi2 = ((2 * ell + 1) * alm_to_cl(alm)).sum()
    dof = (2 * ell + 1).sum()
    assert abs(chi2 - dof) < 4.9 * np.sqrt(2 * dof)  # 4.9σ two-sided: 1e-6


def test_tails_reach_as_far_as_they_should():
    """In 2·10⁶ Gaussians 4.5σ is passed 14 times; a Poisson count outside 1 … 35 has a chance of 2e-6."""
    alm = unit_alm(1400, seed=0, sim=0, component="tail")
    values = np.sqrt(2) * np.concatenate([alm[1401:].real, alm[1401:].imag])
    expected = len(values) * 2 * stats.norm.sf(4.5)
    assert stats.poisson.ppf(1e-6, expected) <= (np.abs(values) > 4.5).sum() <= stats.poisson.isf(1e-6, expected)


def test_whatever_is_meant_to_be_independent_is():
    """All 276 pairs out of seeds × sims × components, three products each; 5.6σ, so 828 × 2e-8 = 2e-5 in all."""
    keys = [(seed, sim, c) for seed in (0, 1, 12) for sim in (0, 1) for c in ("phi", "T", "E", "B")]
    lmax = 400
    draws = [unit_alm(lmax, seed=s, sim=i, component=c)[lmax + 1 :] for s, i, c in keys]
    for a, b in combinations(draws, 2):
        product = a * b.conj()
        # the real and imaginary parts of a b* and of a b have variance 1/2 each
        for part in (product.real.sum(), product.imag.sum(), (a * b).real.sum()):
            assert abs(part) < 5.6 * np.sqrt(len(a) / 2)


def test_neighbours_are_independent():
    """Neighbouring multipoles and orders share Philox blocks; 5σ four times, 2e-6."""
    lmax = 600
    alm = unit_alm(lmax, **DRAW)
    m, ell = np.triu_indices(lmax, 1)
    m, ell = m + 1, ell + 1
    here = alm[alm_index(lmax, ell, m)]
    for there in (alm[alm_index(lmax, np.minimum(ell + 1, lmax), m)], alm[alm_index(lmax, ell, m - 1)]):
        keep = (ell < lmax) & (m > 1)
        product = (here * there.conj())[keep]
        for part in (product.real, product.imag):
            assert abs(part.sum()) < 5 * np.sqrt(keep.sum() / 2)


def test_keys_differ_wherever_their_names_do():
    names = [(1, 23, "T"), (12, 3, "T"), (1, 2, "3:T"), (1, 2, "T"), (2, 1, "T"), (10**30, 2, "T"), (1, 2, "t")]
    assert len({philox_key(*name).tobytes() for name in names}) == len(names)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": -1}, "seed must not be negative, got -1"),
        ({"sim": -2}, "sim must not be negative"),
        ({"seed": 1.5}, "seed must be a whole number"),
        ({"sim": "a"}, "sim must be a whole number"),
    ],
)
def test_bad_names_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        unit_alm(4, **{**DRAW, **change})


def test_bad_lmax_is_refused():
    with pytest.raises(ValueError, match="lmax must not be negative"):
        unit_alm(-1, **DRAW)
    assert len(unit_alm(10, **DRAW)) == alm_size(10)

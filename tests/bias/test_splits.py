"""Cross-only spectra of splits: closed forms against loops over quadruples, and noise that leaves no bias.

The estimators here are bilinear forms of vectors, not symmetric in their arguments: nothing in the algebra of splits
knows about the sphere.
"""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from lensrec.bias.mean_field import mean_field
from lensrec.bias.splits import (
    cross_coadd,
    pair_estimates,
    split_cross_rdn0,
    split_pairs,
    split_rdn0,
    split_spectrum,
    subtracted_split_spectrum,
)
from lensrec.quadratic.estimators import quadratic_estimates
from lensrec.sphere.alm import alm_size, alm_to_cl
from tests.reference.split_loops import cross_only, disconnected

LMAX = 5
SIZE = alm_size(LMAX)
# Closed form and loop add the same products, at most 10⁴, in another order; m⁴ : m(m−1)(m−2)(m−3) ≤ 11 cancels: 1e-13.
ROUNDING = 1e-12


def alpha(x: NDArray, y: NDArray) -> NDArray:
    return x * np.roll(y, 1) + 1j * np.roll(x, 2) * y


def beta(x: NDArray, y: NDArray) -> NDArray:
    return np.roll(x, 3) * np.roll(y, 1) - 0.5j * x * np.roll(y, 4) + 0.3 * x * y


def skies(m: int, count: int, seed: int) -> NDArray:
    """Splits (count, m, size) that share a sky and have, besides, noise as strong."""
    rng = np.random.default_rng(seed)
    return rng.standard_normal((count, 1, SIZE)) + rng.standard_normal((count, m, SIZE))


def close(value: NDArray, truth: NDArray) -> None:
    np.testing.assert_allclose(value, truth, rtol=0, atol=ROUNDING * np.abs(truth).max())


@pytest.mark.parametrize("m", [4, 5, 6])
def test_power_sums_are_the_loop(m: int) -> None:
    data = skies(m, 1, m)[0]
    a, b = pair_estimates(alpha, data), pair_estimates(beta, data)
    close(split_spectrum(a), cross_only(alpha, alpha, data))
    close(split_spectrum(a, b), cross_only(alpha, beta, data))
    close(split_spectrum(b, a), cross_only(alpha, beta, data))
    both = np.stack([a, b], axis=1)
    close(split_spectrum(both), np.stack([split_spectrum(a), split_spectrum(b)]))
    named = {(j, i): estimate for (i, j), estimate in zip(split_pairs(m), a, strict=True)}
    named |= {(i, i): alpha(data[i], data[i]) for i in range(m)}
    close(split_spectrum(dict(reversed(named.items()))), split_spectrum(a))


@pytest.mark.parametrize("m", [4, 5, 6])
def test_disconnected_bias_is_the_loop(m: int) -> None:
    d, *simulations = skies(m, 3, 10 + m)
    others = skies(m, 2, 20 + m)
    auto = [disconnected(alpha, alpha, d, s, t) for s, t in zip(simulations, others, strict=True)]
    cross = [disconnected(alpha, beta, d, s, t) for s, t in zip(simulations, others, strict=True)]

    def sets(q: Callable[[NDArray, NDArray], NDArray]) -> list[tuple[NDArray, NDArray]]:
        pairs = zip(simulations, others, strict=True)
        return [(pair_estimates(q, d, s), pair_estimates(q, s, t)) for s, t in pairs]

    bias = split_rdn0(iter(sets(alpha)))
    close(bias.rdn0, np.mean(auto, axis=0))
    close(bias.error, np.std(auto, axis=0, ddof=1) / np.sqrt(2))
    close(bias.mcn0, 2 * np.mean([split_spectrum(s) for _, s in sets(alpha)], axis=0))
    assert bias.count == 2
    both = [((am, bm), (a, b)) for (am, a), (bm, b) in zip(sets(alpha), sets(beta), strict=True)]
    close(split_cross_rdn0(both).rdn0, np.mean(cross, axis=0))


def test_pair_estimates() -> None:
    """Symmetric in splits and skies, from as many evaluations as promised; polarisation gives the mixed ones, too."""
    m = 4
    d, s = skies(m, 2, 3)
    calls = []

    def counted(x: NDArray, y: NDArray) -> NDArray:
        calls.append(1)
        return alpha(x, y)

    mixed = pair_estimates(counted, d, s)
    assert len(calls) == 2 * m * (m - 1)
    close(pair_estimates(alpha, s, d), mixed)
    of_d, of_s, of_sum = (pair_estimates(alpha, x) for x in (d, s, d + s))
    close(mixed, (of_sum - of_d - of_s) / 2)
    close(pair_estimates(alpha, d, d), of_d)
    calls.clear()

    def even(x: NDArray, y: NDArray) -> NDArray:
        return counted(x, y) + alpha(y, x)

    half = pair_estimates(even, d, s, symmetric=True)
    assert len(calls) == m * (m - 1)
    close(half, pair_estimates(even, d, s))


@pytest.mark.parametrize("key", ["TT", "TE"])
def test_lensing_estimators(key: str) -> None:
    """Quadratic estimators of φ and Ω from two sets of maps: TT is symmetric in the sets, TE isn't."""
    m, lmax, lmax_phi = 4, 8, 6
    rng = np.random.default_rng(8)
    weights = {name: rng.uniform(0.5, 1.0, lmax + 1) for name in ("TT", "TE")}
    splits = rng.standard_normal((m, 2, alm_size(lmax))) + 1j * rng.standard_normal((m, 2, alm_size(lmax)))
    splits[..., : lmax + 1] = splits[..., : lmax + 1].real

    def q(x: NDArray, y: NDArray) -> NDArray:
        legs = [dict(zip("TE", set_of_maps, strict=True)) for set_of_maps in (x, y)]
        return quadratic_estimates([key], legs[0], weights, lmax_phi, second=legs[1], nthreads=1)[key]

    found = split_spectrum(pair_estimates(q, splits, symmetric=key == "TT"))
    of = {(i, j): q(splits[i], splits[j]) for i in range(m) for j in range(m)}
    for row, spectrum in enumerate(found):
        truth = cross_only(lambda i, j, row=row: of[i, j][row], lambda i, j, row=row: of[i, j][row], range(m))
        close(spectrum, truth)


def test_coadd_leaves_out_pairs_of_one_split() -> None:
    m = 3
    data = skies(m, 1, 7)[0]
    truth = np.mean([alpha(data[i], data[j]) for i in range(m) for j in range(m) if i != j], axis=0)
    close(cross_coadd(pair_estimates(alpha, data)), truth)


def test_noise_gives_zero() -> None:
    """Noise correlated within a split, not between: zero within 5 standard errors of 400 draws.

    The mean over L is one number, near normal: it fails by chance with a probability of 6·10⁻⁷. The coadd's own
    spectrum, in which splits meet themselves, is off by over 20 of its standard errors.
    """
    rng = np.random.default_rng(11)
    m, count = 4, 400
    mixing = rng.standard_normal((SIZE, SIZE)) / np.sqrt(SIZE)
    noise = rng.standard_normal((count, m, SIZE)) @ mixing * np.array([1.0, 2.0, 0.5, 1.5])[:, None]
    pairs = [pair_estimates(alpha, x) for x in noise]
    cross = np.array([split_spectrum(x).mean() for x in pairs])
    coadd = np.array([alm_to_cl(cross_coadd(x)).mean() for x in pairs])
    assert abs(cross.mean()) < 5 * cross.std(ddof=1) / np.sqrt(count)
    assert coadd.mean() > 20 * coadd.std(ddof=1) / np.sqrt(count)
    assert coadd.mean() > 20 * abs(cross.mean())


def test_signal_is_recovered() -> None:
    """A sky common to all splits, with simulations 30 % too strong in power, within 5 standard errors of 600 draws.

    In each of K = 16 pixels for each coefficient ψ, a split has x = u + n and y = εψu + v + n' with unit normal u, v:
    ⟨xy⟩ = εψ, and ψ̂⁽ⁱʲ⁾ = Σ_pixels x_i y_j/(Kε) is unbiased. Of different splits,

        ⟨ψ̂⁽ⁱʲ⁾ ψ̂⁽ᵏˡ⁾⟩ = ψ² + 2ψ²/K + 1/(Kε²),

    as ⟨u⁴⟩ = 3. Simulations without ψ, with power 1 + δ in u and v, give with D = (1, 1 + ε²⟨ψ²⟩) in the data

        RDN0 = [(1 + δ)(2 + ε²⟨ψ²⟩) − (1 + δ)²]/(Kε²) = [1 − δ² + (1 + δ) ε²⟨ψ²⟩]/(Kε²),

    short of the disconnected (1 + ε²⟨ψ²⟩)/(Kε²) at δ² and at δ ε²⟨ψ²⟩. What is left is ⟨ψ²⟩ + (⟨ψ²⟩ (1 − δ) + δ²/ε²)/K,
    with 1/K the toy's N1. One number, 6·10⁻⁷ by chance for each of two assertions.
    """
    rng = np.random.default_rng(12)
    m, lmax, pixels, epsilon, delta, count = 4, 12, 16, 0.5, 0.3, 600
    size, multiplicity = alm_size(lmax), 2 * np.arange(lmax + 1) + 1

    def legs(psi: NDArray, power: float) -> NDArray:
        u, v = np.sqrt(power) * rng.standard_normal((2, size, pixels))
        noise = 0.5 * rng.standard_normal((m, 2, size, pixels))
        return np.stack([u, epsilon * psi[:, None] * u + v]) + noise

    def q(x: NDArray, y: NDArray) -> NDArray:
        return np.mean(x[0] * y[1], axis=-1) / epsilon

    def mean(cl: NDArray) -> float:
        return float(np.sum(cl * multiplicity))

    total, rdn0, signal = np.zeros((3, count))
    for n in range(count):
        psi = rng.standard_normal(size)
        signal[n] = mean(alm_to_cl(psi))
        d = legs(psi, 1.0)
        s, t = legs(0 * psi, 1 + delta), legs(0 * psi, 1 + delta)
        total[n] = mean(split_spectrum(pair_estimates(q, d)))
        simulation = (pair_estimates(q, d, s), pair_estimates(q, s, t))
        rdn0[n] = mean(split_rdn0([simulation, simulation]).rdn0)
    modes = mean(alm_to_cl(np.ones(size)))
    for found, expected in (
        (rdn0, modes * (1 - delta**2 + (1 + delta) * epsilon**2) / (pixels * epsilon**2)),
        (total - rdn0 - signal, modes * (1 - delta + delta**2 / epsilon**2) / pixels),
    ):
        assert abs(found.mean() - expected) < 5 * found.std(ddof=1) / np.sqrt(count)
    # The first can tell RDN0 from MCN0, (1 + δ)² = 1.69 instead of 0.91 + 0.33 here, and from RDN0 without s'.
    assert 5 * rdn0.std(ddof=1) / np.sqrt(count) < 0.25 * rdn0.mean()


def test_mean_field_of_two_halves() -> None:
    """The noise of the pairs' mean field doesn't enter when each factor has its own half of them."""
    m = 4
    data, *simulations = skies(m, 7, 30)
    both = [np.stack([pair_estimates(q, x) for q in (alpha, beta)], axis=1) for x in simulations]
    field = mean_field(both)
    pairs = np.stack([pair_estimates(q, data) for q in (alpha, beta)], axis=1)
    found = subtracted_split_spectrum(pairs, field.halves)
    close(found, split_spectrum(pairs - np.mean(both[::2], axis=0), pairs - np.mean(both[1::2], axis=0)))
    a, b = pairs[:, 0], pairs[:, 1]
    halves_a, halves_b = field.halves[:, :, 0], field.halves[:, :, 1]
    crossed = subtracted_split_spectrum(a, halves_a, b, halves_b)
    close(crossed, split_spectrum(a - halves_a[0], b - halves_b[1]))
    close(subtracted_split_spectrum(a, halves_a), found[0])


def test_errors() -> None:
    pairs = pair_estimates(alpha, skies(4, 1, 1)[0])
    named = dict(zip(split_pairs(4), pairs, strict=True))
    with pytest.raises(ValueError, match="at least 4 splits are needed, got 3"):
        split_spectrum(pairs[:3])
    with pytest.raises(ValueError, match="5 pairs fits no number"):
        split_spectrum(pairs[:5])
    with pytest.raises(ValueError, match=r"pair of splits \(1, 2\) is missing"):
        split_spectrum({pair: x for pair, x in named.items() if pair != (1, 2)})
    with pytest.raises(ValueError, match=r"\(2, 1\) is there twice"):
        split_spectrum(named | {(2, 1): pairs[0]})
    with pytest.raises(ValueError, match="same pairs and lmax"):
        split_spectrum(pairs, pairs[:, : alm_size(3)])
    with pytest.raises(ValueError, match="as many of each sky"):
        pair_estimates(alpha, skies(4, 1, 1)[0], skies(5, 1, 1)[0])
    with pytest.raises(ValueError, match="at least 2 simulations"):
        split_rdn0([(pairs, pairs)])
    with pytest.raises(ValueError, match="give other_halves"):
        subtracted_split_spectrum(pairs, np.stack([pairs, pairs]), pairs)
    with pytest.raises(ValueError, match="halves must have the shape"):
        subtracted_split_spectrum(pairs, pairs)

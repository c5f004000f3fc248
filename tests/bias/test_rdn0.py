"""RDN0: what it is where simulations are right, and to what order it forgives them where they are not."""

import numpy as np
import pytest

from lensrec.bias.rdn0 import combined_noise, monte_carlo, pair_spectra, realisation_dependent, semi_analytic
from lensrec.quadratic.combination import minimum_variance, minimum_variance_weights, normalised
from lensrec.quadratic.estimators import paired_estimates, quadratic_estimates
from lensrec.quadratic.response import Normalisation, normalisation
from lensrec.sky.random import unit_alm
from lensrec.sphere.alm import scale_alm

KEYS = ("TT", "TE", "TB", "EB", "EE")
LMAX, L_MAX = 40, 40
ELL = np.arange(LMAX + 1.0)
SHAPE = (ELL > 1) / np.maximum(ELL, 1.0) ** 1.5
TOTALS = {"TT": 9.0 * SHAPE, "EE": 4.0 * SHAPE, "BB": SHAPE, "TE": 3.0 * SHAPE}
FILTERS = {field: np.where(ELL > 1, 1.0 / np.where(ELL > 1, TOTALS[field * 2], 1.0), 0.0) for field in "TEB"}
WEIGHTS = {"TT": 7.0 * SHAPE, "EE": 3.0 * SHAPE, "BB": 0.0 * SHAPE, "TE": 2.0 * SHAPE}


def norm_of(totals: dict[str, np.ndarray]) -> Normalisation:
    return normalisation(KEYS, WEIGHTS, WEIGHTS, FILTERS, totals, L_MAX)


def noise_of(totals: dict[str, np.ndarray]) -> np.ndarray:
    """N0 from L = 2: at L = 1 some responses vanish, and N0 there is rounding over rounding."""
    norm = norm_of(totals)
    return np.stack([norm.n0(key)[:, 2:] for key in KEYS])


def legs(sim: int, power: float = 1.0) -> dict[str, np.ndarray]:
    """Filtered Gaussian T, E and B with the total spectra, correlated, times the root of a power."""
    t, e, b = (unit_alm(LMAX, seed=11, sim=sim, component=field) for field in "TEB")
    slope = TOTALS["TE"] / np.sqrt(np.where(SHAPE > 0, TOTALS["TT"], 1.0))
    rest = np.sqrt(np.maximum(TOTALS["EE"] - slope**2, 0.0))
    sky = {
        "T": scale_alm(t, np.sqrt(TOTALS["TT"])),
        "E": scale_alm(t, slope) + scale_alm(e, rest),
        "B": scale_alm(b, np.sqrt(TOTALS["BB"])),
    }
    return {field: np.sqrt(power) * scale_alm(alm, FILTERS[field]) for field, alm in sky.items()}


def test_semi_analytic_is_n0_where_the_data_are_as_expected() -> None:
    n0 = noise_of(TOTALS)
    np.testing.assert_allclose(semi_analytic(noise_of, TOTALS, TOTALS), n0, rtol=1e-12, atol=1e-12 * n0.max())


@pytest.mark.parametrize("delta", [0.02, 0.1, -0.3])
def test_semi_analytic_is_off_by_the_square_of_the_error(delta: float) -> None:
    """The model (1+δ)C for data of power C: 2(1+δ) − (1+δ)² = 1 − δ² of the true N0."""
    n0 = noise_of(TOTALS)
    model = {key: (1 + delta) * cl for key, cl in TOTALS.items()}
    found = semi_analytic(noise_of, model, TOTALS)
    np.testing.assert_allclose(found, (1 - delta**2) * n0, rtol=1e-11, atol=1e-12 * n0.max())


def test_semi_analytic_is_bilinear_in_unlike_spectra() -> None:
    """2 N0[Ĉ, C] − N0[C, C] by polarisation: N0[Ĉ + C] − N0[Ĉ] − 2 N0[C]."""
    rng = np.random.default_rng(1)
    data = {key: cl * rng.uniform(0.8, 1.2, LMAX + 1) for key, cl in TOTALS.items()}
    both = {key: data[key] + TOTALS[key] for key in TOTALS}
    expected = noise_of(both) - noise_of(data) - 2 * noise_of(TOTALS)
    found = semi_analytic(noise_of, TOTALS, data)
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12 * np.abs(expected).max())


def test_simulated_rdn0_and_mcn0_are_the_analytic_n0() -> None:
    """24 data and 24 simulations, all pairs; φ and Ω, TT to EE and MV; the numbers' own scatter is the error.

    Data of 4 % more power than the simulations: RDN0 is to follow, (1.04)² N0 − 0.04² N0, MCN0 to stay. 12 means
    within 5σ of the scatter of blocks of data: Student's t with 23 degrees of freedom, false alarm 12 · 5e-5 = 6e-4 for
    other seeds; a first-order error would be 8 %, that of MCN0 for RDN0, against errors of 2.7 % at most.
    """
    count, power = 24, 1.04
    norm = norm_of(TOTALS)
    weights, _ = minimum_variance_weights(norm)
    simulated = [legs(1000 + n) for n in range(count)]
    data = [legs(n, power) for n in range(count)]

    def finished(q: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        out = {key: pair_spectra(normalised(q[key], norm.response[key])) for key in KEYS}
        return out | {"MV": pair_spectra(minimum_variance(q, norm, weights))}

    pairs = [(n, (n + 1) % count) for n in range(count)]
    sim_sim = [finished(q) for q in paired_estimates(KEYS, simulated, pairs, WEIGHTS, L_MAX)]
    crossed = []
    for one in data:
        q = paired_estimates(KEYS, [one, *simulated], [(0, n + 1) for n in range(count)], WEIGHTS, L_MAX)
        crossed.append([finished(estimate) for estimate in q])
    n0 = {key: norm.n0(key) for key in KEYS} | {"MV": combined_noise(norm, weights)}
    modes = 2 * np.arange(2, L_MAX + 1) + 1.0
    for key in (*KEYS, "MV"):
        mcn0 = monte_carlo(one[key] for one in sim_sim)
        found = [realisation_dependent((c[key] for c in of_one), (s[key] for s in sim_sim)) for of_one in crossed]
        for part in (0, 1):
            truth = n0[key][part, 2:]

            def mean(spectrum: np.ndarray, part: int = part, truth: np.ndarray = truth) -> float:
                return float(np.average(spectrum[part, 2:] / truth, weights=modes))

            ratio = np.array([mean(one.n0) for one in found])
            single = np.array([mean(2 * one[key]) for one in sim_sim])
            # what a simulation gives, averaged over data: the part of the error that all data share
            of_sims = np.mean([[mean(4 * c[key]) for c in of_one] for of_one in crossed], axis=0) - single
            error, shared = ratio.std(ddof=1) / np.sqrt(count), of_sims.std(ddof=1) / np.sqrt(count)
            assert abs(ratio.mean() - (2 * power - 1)) < 5 * np.hypot(error, shared), (key, part)
            assert np.hypot(error, shared) < 0.08 / 3, (key, part)  # so that 8 %, the first order, would show
            assert abs(mean(mcn0.n0) - 1) < 5 * single.std(ddof=1) / np.sqrt(count), (key, part)


def test_means_and_their_errors_are_those_stated() -> None:
    """⟨4 C[q̄(d, s)] − 2 C[q̄(s, s′)]⟩ and ⟨2 C[q̄(s, s′)]⟩ of given spectra, to rounding."""
    crossed, simulated = np.random.default_rng(3).normal(size=(2, 5, 2, 7))
    for found, single in (
        (realisation_dependent(crossed, simulated), 4 * crossed - 2 * simulated),
        (monte_carlo(simulated), 2 * simulated),
    ):
        np.testing.assert_allclose(found.n0, sum(single) / 5, rtol=1e-13, atol=1e-15)
        variance = sum((one - found.n0) ** 2 for one in single) / 4
        np.testing.assert_allclose(found.sigma, np.sqrt(variance / 5), rtol=1e-13)
        assert found.count == 5


def test_pairs_are_linear_in_each_map_and_symmetric() -> None:
    """q̄(d, a + b) = q̄(d, a) + q̄(d, b), q̄(a, d) = q̄(d, a), and q̄(d, d) = q(d): to rounding."""
    d, a, b = (legs(n) for n in range(3))
    both = {field: a[field] + b[field] for field in a}
    whole, one, two, turned, own = paired_estimates(
        KEYS, [d, both, a, b], [(0, 1), (0, 2), (0, 3), (2, 0), (0, 0)], WEIGHTS, L_MAX
    )
    plain = quadratic_estimates(KEYS, d, WEIGHTS, L_MAX)
    for key in KEYS:
        scale = np.abs(whole[key]).max()
        assert np.abs(whole[key] - one[key] - two[key]).max() < 1e-11 * scale
        np.testing.assert_allclose(turned[key], one[key], rtol=0, atol=1e-12 * scale)
        np.testing.assert_allclose(own[key], plain[key], rtol=0, atol=1e-12 * np.abs(plain[key]).max())


def test_numbers_of_pairs_must_agree() -> None:
    some = [np.ones((2, 5))] * 3
    with pytest.raises(ValueError, match="got 3 and 2"):
        realisation_dependent(some, some[:2])
    with pytest.raises(ValueError, match="two or more"):
        realisation_dependent(some[:1], some[:1])

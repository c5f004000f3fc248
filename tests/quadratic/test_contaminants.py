"""Contaminant fields: their weight functions against skies that have them, their estimators against direct 3j sums.

Ensemble averages are sums over a complete basis of skies, or of pixels for noise: without statistical error.
"""

import numpy as np
import pytest

from lensrec.quadratic import contaminants
from lensrec.quadratic.contaminants import (
    additive,
    field_estimates,
    modulation,
    point_sources,
    uneven_beam,
    uneven_noise,
)
from lensrec.sphere.alm import alm_ell, alm_index, alm_m, alm_size, resize_alm, scale_alm
from lensrec.sphere.grids import gauss_legendre_grid
from lensrec.sphere.sht import analysis, synthesis
from tests.quadratic.test_estimators import KEYS, random_alm, random_legs
from tests.reference.contaminants_3j import additive_weight, estimate, modulation_weight
from tests.reference.okamoto_hu import full_order
from tests.reference.test_okamoto_hu import basis_skies, random_spectra
from tests.reference.wigner3j import coupling

LMAX_SKY, LMAX_FIELD, LMAX_OUT = 5, 3, 8
GRID = gauss_legendre_grid(2 * LMAX_OUT + LMAX_FIELD)


def random_profiles(lmax: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A beam, a transfer of either sign and a profile, none of them smooth."""
    rng = np.random.default_rng(seed)
    return rng.uniform(0.4, 1.0, lmax + 1), rng.uniform(-2.0, 2.0, lmax + 1), rng.uniform(0.5, 1.5, lmax + 1)


def modulated_changes(skies: np.ndarray, field: np.ndarray, beam: np.ndarray, transfer: np.ndarray) -> np.ndarray:
    """δX = b⁻¹∗[c (βb∗X)] of skies (n, 3, nalm), on the grid, to the multipoles of `beam`."""
    c = synthesis(field, GRID)
    lmax = len(beam) - 1
    changes = np.zeros((len(skies), 3, alm_size(lmax)), dtype=complex)
    for sky, change in zip(skies, changes, strict=True):
        teb = np.stack([scale_alm(alm, beam * transfer) for alm in sky])
        change[0] = analysis(c * synthesis(teb[0], GRID), GRID, lmax)
        change[1:] = analysis(c * synthesis(teb[1:], GRID, 2), GRID, lmax, 2)
        change[:] = [scale_alm(alm, 1 / beam) for alm in change]
    return changes


def emission(variance: np.ndarray, profile: np.ndarray) -> np.ndarray:
    """Skies (3 npix, 3, nalm), one for each pixel and each of T, Q, U, that add up to emission of the given variance.

    A delta of weight Ω at a pixel is e/Ω, so that ⟨n n'⟩ = c δ(n, n') is a sum over pixels of (c/Ω) e e'.
    """
    lmax = len(profile) - 1
    area = np.repeat(GRID.weights, GRID.nphi.astype(int))
    skies = np.zeros((3, GRID.npix, 3, alm_size(lmax)), dtype=complex)
    for i in range(GRID.npix):
        delta = np.zeros(GRID.npix)
        delta[i] = np.sqrt(variance[i] / area[i])
        skies[0, i, 0] = analysis(delta, GRID, lmax)
        skies[1, i, 1:] = analysis(np.stack([delta, 0 * delta]), GRID, lmax, 2)
        skies[2, i, 1:] = analysis(np.stack([0 * delta, delta]), GRID, lmax, 2)
    skies = skies.reshape(-1, 3, skies.shape[-1])
    return skies * profile[alm_ell(lmax)]


def all_orders(alm: np.ndarray) -> np.ndarray:
    """a_lm in one row per l of 2 LMAX_OUT + 1 orders."""
    out = np.zeros((len(alm), LMAX_OUT + 1, 2 * LMAX_OUT + 1), dtype=complex)
    for l in range(LMAX_OUT + 1):
        out[:, l, LMAX_OUT - l : LMAX_OUT + l + 1] = full_order(alm, l)
    return out


def assert_covariance_has_the_weights(covariance: np.ndarray, f, field: np.ndarray) -> None:
    """⟨X₁ Y₂⟩ = Σ (−1)^M 3j f c_LM, for m₁ + m₂ ≥ 0, which fix the others."""
    expected = np.zeros_like(covariance)
    for L, m in zip(alm_ell(LMAX_FIELD), alm_m(LMAX_FIELD), strict=True):
        weights, c = f(L), field[alm_index(LMAX_FIELD, L, m)]
        for l1 in range(LMAX_OUT + 1):
            for l2 in range(LMAX_OUT + 1):
                for m1 in range(max(-l1, m - l2), min(l1, m + l2) + 1):
                    term = weights[l1, l2] * coupling(l1, l2, LMAX_FIELD)[L, m1 + l1, m] * c
                    expected[l1, m1 + LMAX_OUT, l2, m - m1 + LMAX_OUT] += term
    order = np.arange(-LMAX_OUT, LMAX_OUT + 1)
    covariance = covariance * (order[:, None, None] + order >= 0)[None]
    # Some hundred products of order one in double precision; elements reach 20.
    np.testing.assert_allclose(covariance, expected, rtol=0, atol=1e-12)
    assert abs(expected).max() > 0.1


@pytest.mark.parametrize("key", [*KEYS, "ET", "BE", "BT"])
def test_modulation_weights_are_the_covariance_of_modulated_skies(key: str) -> None:
    cls = random_spectra(LMAX_SKY, seed=1)
    beam, transfer, _ = random_profiles(LMAX_OUT, seed=2)
    field = random_alm(np.random.default_rng(3), LMAX_FIELD)
    skies = resize_alm(basis_skies(cls), LMAX_OUT)
    changes = modulated_changes(skies, field, beam, transfer)
    (x, y), (dx, dy) = ([all_orders(values[:, "TEB".index(letter)]) for letter in key] for values in (skies, changes))
    covariance = np.einsum("kam,kbn->ambn", dx, y) + np.einsum("kam,kbn->ambn", x, dy)
    assert_covariance_has_the_weights(covariance, modulation_weight(key, cls, beam, transfer), field)


@pytest.mark.parametrize("key", ["TT", "EE", "EB", "BE"])
def test_additive_weights_are_the_covariance_of_uneven_emission(key: str) -> None:
    _, _, profile = random_profiles(LMAX_OUT, seed=4)
    field = random_alm(np.random.default_rng(5), LMAX_FIELD)
    field[0] = 40.0  # a variance is positive
    variance = synthesis(field, GRID)
    assert variance.min() > 0
    skies = emission(variance, profile)
    x, y = (all_orders(skies[:, "TEB".index(letter)]) for letter in key)
    assert_covariance_has_the_weights(np.einsum("kam,kbn->ambn", x, y), additive_weight(key, profile), field)


@pytest.mark.parametrize("key", ["TE", "TB"])
def test_independent_emission_correlates_neither_te_nor_tb(key: str) -> None:
    assert additive(np.ones(5)).of(key, "noise") == ()
    skies = emission(np.ones(GRID.npix), np.ones(5))
    x, y = (skies[:, "TEB".index(letter)] for letter in key)
    assert not np.einsum("ka,kb->ab", x, y).any()


@pytest.mark.parametrize("key", KEYS)
def test_estimate_equals_the_direct_sum(key: str) -> None:
    """ℓ ≤ 24, two different sets of complex legs, unequal ranges; profiles and spectra without smoothness."""
    lmax = 24
    cls, (beam, transfer, profile) = random_spectra(lmax, seed=6), random_profiles(lmax, seed=7)
    fields = {"modulated": modulation(cls, beam=beam, transfer=transfer), "added": additive(profile)}
    weights = {"modulated": modulation_weight(key, cls, beam, transfer), "added": additive_weight(key, profile)}
    rng = np.random.default_rng(8)
    first = random_legs(rng, {"T": 2, "E": 3, "B": 5}, lmax)
    second = random_legs(rng, {"T": 4, "E": 2, "B": 3}, lmax)
    q = field_estimates([key], fields, first, lmax, second=second)
    for name, f in weights.items():
        expected = estimate(f, first[key[0]], second[key[1]], lmax, 0.5 if key[0] == key[1] else 1.0)
        # Rounding of 1e4 terms is some 1e-14 of the rms; the promise is 1e-10.
        scale = np.sqrt(np.mean(np.abs(expected) ** 2))
        assert scale > 0 or (name, key) in {("added", "TE"), ("added", "TB")}
        assert np.abs(q[key, name] - expected).max() <= 1e-10 * scale


def test_one_set_of_maps_is_two_equal_sets_and_legs_may_differ_in_length() -> None:
    rng = np.random.default_rng(9)
    cls = random_spectra(20, seed=10)
    fields = {"mask": modulation(cls), "sources": point_sources(20)}
    maps = {"T": random_alm(rng, 20), "E": random_alm(rng, 15), "B": random_alm(rng, 15)}
    one = field_estimates(KEYS, fields, maps, 12)
    two = field_estimates(KEYS, fields, maps, 12, second={f: resize_alm(alm, 20) for f, alm in maps.items()})
    for name in one:
        assert np.abs(one[name] - two[name]).max() <= 1e-12 * np.abs(one[name]).max()
    assert all(one[key, "mask"].any() for key in KEYS)


def test_each_leg_is_synthesised_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """TT with sources, noise and mask: the legs T̄, b⁻¹∗T̄ and C∗T̄; twice that with two sets."""
    counts = []

    def counted(alm: np.ndarray, *args: object, **kwargs: object) -> np.ndarray:
        counts.append(alm.shape)
        return synthesis(alm, *args, **kwargs)

    monkeypatch.setattr(contaminants, "synthesis", counted)
    maps = {"T": random_alm(np.random.default_rng(11), 12)}
    cls = {"TT": np.arange(1.0, 14.0)}
    beam = np.linspace(1.0, 0.5, 13)
    fields = {"sources": point_sources(12), "noise": uneven_noise(beam), "mask": modulation(cls)}
    field_estimates(["TT"], fields, maps, 12)
    assert len(counts) == 3
    counts.clear()
    field_estimates(["TT"], fields, maps, 12, second={"T": 2 * maps["T"]})
    assert len(counts) == 6


def test_single_precision_agrees() -> None:
    rng = np.random.default_rng(12)
    maps = {f: random_alm(rng, 24) for f in "TEB"}
    fields = {"mask": modulation(random_spectra(24, seed=13)), "sources": point_sources(24)}
    double = field_estimates(KEYS, fields, maps, 24)
    single = field_estimates(KEYS, fields, {f: a.astype(np.complex64) for f, a in maps.items()}, 24)
    for name, q in single.items():
        assert q.dtype == np.complex64
        # float32 transforms at this size are good to a few 1e-7 of the rms; 1e-5 is the promise.
        assert np.std(q - double[name]) <= 1e-5 * np.std(double[name])


def test_uneven_beam_is_the_derivative_of_a_gaussian_beam() -> None:
    """r is ∂b/∂ln σ C, by symmetric differences of step h: errors of h² (ℓσ)⁶/6 ~ 1e-10, and 1e-11 of rounding."""
    lmax, sigma, h = 12, 0.1, 1e-5
    ell = np.arange(lmax + 1.0)
    cl = 1.0 / (ell + 1.0)
    (product,) = uneven_beam({"TT": cl}, sigma, lmax).of("TT", "beam")
    beams = [np.exp(-0.5 * ell * (ell + 1) * (sigma * (1 + step)) ** 2) for step in (h, -h)]
    np.testing.assert_allclose(product.inner, (beams[0] - beams[1]) / (2 * h) * cl, rtol=0, atol=1e-9)
    np.testing.assert_allclose(product.outer, np.exp(0.5 * ell * (ell + 1) * sigma**2), rtol=1e-14)


def test_what_is_missing_is_named() -> None:
    maps = {"T": random_alm(np.random.default_rng(14), 8)}
    with pytest.raises(ValueError, match="field 'mask' has no weights for EE"):
        field_estimates(["EE"], {"mask": modulation({"TT": np.ones(9)})}, maps, 8)
    with pytest.raises(ValueError, match="EE of the field 'sources' needs the filtered field E"):
        field_estimates(["EE"], {"sources": point_sources(8)}, maps, 8)
    with pytest.raises(ValueError, match="TT, TE, TB, EB, EE"):
        field_estimates(["XX"], {"sources": point_sources(8)}, maps, 8)
    with pytest.raises(ValueError, match="finite and not zero"):
        additive(np.zeros(4))

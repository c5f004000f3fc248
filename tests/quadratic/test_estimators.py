"""Position-space estimators against direct sums over Okamoto & Hu's f with Wigner 3j symbols."""

import numpy as np
import pytest

from lensrec.quadratic import estimators
from lensrec.quadratic.estimators import quadratic_estimates
from lensrec.sphere.alm import alm_size, resize_alm, scale_alm
from lensrec.sphere.ring_products import vector_products
from tests.reference import okamoto_hu

KEYS = ("TT", "TE", "TB", "EB", "EE")


def random_alm(rng: np.random.Generator, lmax: int) -> np.ndarray:
    alm = rng.normal(size=alm_size(lmax)) + 1j * rng.normal(size=alm_size(lmax))
    alm[: lmax + 1] = alm[: lmax + 1].real
    return alm


def random_legs(rng: np.random.Generator, lmin: dict[str, int], lmax: int) -> dict[str, np.ndarray]:
    """Random fields with unequal lowest multipoles, as unequal filters would leave them."""
    cut = {field: (np.arange(lmax + 1) >= low).astype(float) for field, low in lmin.items()}
    return {field: scale_alm(random_alm(rng, lmax), cut[field]) for field in lmin}


@pytest.fixture(scope="module")
def weights() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    return {key: rng.uniform(0.5, 2.0, 25) * (np.arange(25) > 1) for key in ("TT", "EE", "BB", "TE")}


@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize("key", KEYS)
def test_equals_the_direct_sum(key: str, swapped: bool, weights: dict[str, np.ndarray]) -> None:
    """ℓ ≤ 24, two different sets of legs, unequal ranges; `swapped` turns XY into YX."""
    rng = np.random.default_rng(2)
    first = random_legs(rng, {"T": 2, "E": 3, "B": 5}, 24)
    second = random_legs(rng, {"T": 4, "E": 2, "B": 3}, 24)
    if swapped:
        q = quadratic_estimates([key], second, weights, 24, second=first)[key]
        truth = [okamoto_hu.estimate(key[::-1], first, second, weights, 24, source) for source in ("phi", "omega")]
    else:
        q = quadratic_estimates([key], first, weights, 24, second=second)[key]
        truth = [okamoto_hu.estimate(key, first, second, weights, 24, source) for source in ("phi", "omega")]
    # Rounding of ~10⁴ terms in double precision is below 1e-12 of the rms; the promise is 1e-10.
    for row, expected in zip(q, truth, strict=True):
        scale = np.sqrt(np.mean(np.abs(expected) ** 2))
        assert scale > 0
        assert np.abs(row - expected).max() < 1e-10 * scale


def test_legs_of_different_lmax(weights: dict[str, np.ndarray]) -> None:
    """T to ℓ = 24 and polarisation to ℓ = 17 give the same as polarisation padded with zeros."""
    rng = np.random.default_rng(3)
    short = {"T": random_alm(rng, 24), "E": random_alm(rng, 17), "B": random_alm(rng, 17)}
    long = {field: resize_alm(alm, 24) for field, alm in short.items()}
    one, two = (quadratic_estimates(KEYS, legs, weights, 20) for legs in (short, long))
    for key in KEYS:
        assert np.abs(one[key] - two[key]).max() < 1e-11 * np.abs(two[key]).max()


def test_one_set_of_maps_is_two_equal_sets(weights: dict[str, np.ndarray]) -> None:
    rng = np.random.default_rng(4)
    maps = {field: random_alm(rng, 20) for field in "TEB"}
    copies = {field: alm.copy() for field, alm in maps.items()}
    one = quadratic_estimates(KEYS, maps, weights, 20)
    two = quadratic_estimates(KEYS, maps, weights, 20, second=copies)
    for key in KEYS:
        assert np.abs(one[key] - two[key]).max() < 1e-11 * np.abs(one[key]).max()


def test_bilinear(weights: dict[str, np.ndarray]) -> None:
    """q(a + c, b) = q(a, b) + q(c, b), for every estimator and both parts."""
    rng = np.random.default_rng(5)
    a, b, c = ({field: random_alm(rng, 16) for field in "TEB"} for _ in range(3))
    both = {field: a[field] + 2.0 * c[field] for field in "TEB"}
    whole = quadratic_estimates(KEYS, both, weights, 16, second=b)
    parts = [quadratic_estimates(KEYS, one, weights, 16, second=b) for one in (a, c)]
    for key in KEYS:
        expected = parts[0][key] + 2.0 * parts[1][key]
        assert np.abs(whole[key] - expected).max() < 1e-11 * np.abs(expected).max()


def test_parity_zeros(weights: dict[str, np.ndarray]) -> None:
    """For m = 0 legs the sky is symmetric under φ → −φ: T, E give no curl and B with T or E no gradient."""
    rng = np.random.default_rng(6)
    zonal = {field: np.zeros(alm_size(20), dtype=complex) for field in "TEB"}
    for alm in zonal.values():
        alm[:21] = rng.normal(size=21)
    q = quadratic_estimates(KEYS, zonal, weights, 20)
    for key in KEYS:
        dead, alive = (q[key][0], q[key][1]) if "B" in key else (q[key][1], q[key][0])
        assert np.abs(alive).max() > 0
        assert np.abs(dead).max() < 1e-12 * np.abs(alive).max()


def test_counts_of_transforms(monkeypatch: pytest.MonkeyPatch, weights: dict[str, np.ndarray]) -> None:
    """All five estimators: 9 syntheses and 5 spin-1 analyses without C^BB among the weights, 11 with it."""
    counts = []

    def counted(fields: list, multiply: object, outputs: int, *args: object, **kwargs: object) -> np.ndarray:
        counts.append((len(fields), outputs))
        return vector_products(fields, multiply, outputs, *args, **kwargs)

    monkeypatch.setattr(estimators, "vector_products", counted)
    maps = {field: random_alm(np.random.default_rng(7), 12) for field in "TEB"}
    quadratic_estimates(KEYS, maps, weights | {"BB": np.zeros(25)}, 12)
    quadratic_estimates(KEYS, maps, weights, 12)
    assert counts == [(9, 5), (11, 5)]


def test_single_precision_agrees(weights: dict[str, np.ndarray]) -> None:
    rng = np.random.default_rng(8)
    maps = {field: random_alm(rng, 24) for field in "TEB"}
    double = quadratic_estimates(KEYS, maps, weights, 24)
    single = quadratic_estimates(KEYS, {f: a.astype(np.complex64) for f, a in maps.items()}, weights, 24)
    for key in KEYS:
        assert single[key].dtype == np.complex64
        # float32 transforms at this size are good to a few 1e-7 of the rms; 1e-5 is the promise.
        assert np.std(single[key] - double[key]) < 1e-5 * np.std(double[key])


def test_what_is_missing_is_named(weights: dict[str, np.ndarray]) -> None:
    maps = {"T": random_alm(np.random.default_rng(9), 8)}
    with pytest.raises(ValueError, match="filtered field"):
        quadratic_estimates(["EE"], maps, weights, 8)
    with pytest.raises(ValueError, match="TT, TE, TB, EB, EE"):
        quadratic_estimates(["XX"], maps, weights, 8)
    with pytest.raises(ValueError, match="weight spectrum TT"):
        quadratic_estimates(["TT"], maps, {}, 8)

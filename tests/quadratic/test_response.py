"""Responses and Gaussian noise against direct Wigner 3j sums, pytempura, and identities."""

import numpy as np
import pytest

from lensrec.quadratic.combination import minimum_variance, minimum_variance_weights, normalised
from lensrec.quadratic.estimators import quadratic_estimates
from lensrec.quadratic.response import Normalisation, normalisation
from lensrec.sphere.alm import scale_alm
from tests.quadratic.test_estimators import KEYS, random_alm
from tests.reference import okamoto_hu

SOURCES = ("phi", "omega")


def rough_spectra(rng: np.random.Generator, lmax: int) -> dict[str, np.ndarray]:
    """Spectra without any smoothness, and a TE that no positivity ties to TT and EE."""
    ell = np.arange(lmax + 1)
    cls = {key: rng.uniform(0.5, 2.0, lmax + 1) / (ell + 5.0) ** 2 for key in ("TT", "EE", "BB")}
    cls["TE"] = rng.uniform(-0.4, 0.4, lmax + 1) / (ell + 5.0) ** 2
    return cls


@pytest.fixture(scope="module")
def setting() -> dict:
    """ℓ ≤ 64, weights that differ from the truth, unequal lowest multipoles."""
    rng = np.random.default_rng(11)
    lmax = 64
    weights, signal, totals = (rough_spectra(rng, lmax) for _ in range(3))
    filters = {}
    for field, lmin in (("T", 3), ("E", 7), ("B", 2)):
        filters[field] = rng.uniform(0.5, 2.0, lmax + 1) * (np.arange(lmax + 1) >= lmin)
    norm = normalisation(KEYS, weights, signal, filters, totals, 64)
    return {"weights": weights, "signal": signal, "totals": totals, "filters": filters, "norm": norm}


@pytest.mark.parametrize("key", KEYS)
def test_response_equals_the_direct_sum(key: str, setting: dict) -> None:
    filters = setting["filters"]
    for i, source in enumerate(SOURCES):
        truth = okamoto_hu.response(key, setting["weights"], setting["signal"], filters, filters, 64, source)
        assert np.abs(setting["norm"].response[key][i] - truth).max() < 1e-10 * np.abs(truth).max()
        assert np.abs(setting["norm"].response[key][i] / np.where(truth, truth, 1) - 1)[2:].max() < 1e-10


@pytest.mark.parametrize(
    ("one", "two"), [(a, b) for i, a in enumerate(KEYS) for b in KEYS[i:] if a.count("B") == b.count("B")]
)
def test_noise_equals_the_direct_sum(one: str, two: str, setting: dict) -> None:
    """Exact for any weights: also TE's TE×TE part, and between estimators."""
    filters = setting["filters"]
    for i, source in enumerate(SOURCES):
        truth = okamoto_hu.noise(one, two, setting["weights"], filters, filters, setting["totals"], 64, source)
        scale = np.sqrt(
            np.abs(setting["norm"].noise[one, one][i] * setting["norm"].noise[two, two][i])
        )  # cross-noise may pass through zero; its natural size is this
        assert np.abs(setting["norm"].noise[one, two][i] - truth)[1:].max() < 1e-10 * scale[1:].max()
        assert (np.abs(setting["norm"].noise[one, two][i] - truth)[2:] < 1e-10 * scale[2:]).all()


def test_estimators_of_other_parity_do_not_correlate(setting: dict) -> None:
    for one in ("TT", "TE", "EE"):
        for two in ("TB", "EB"):
            assert not setting["norm"].noise[one, two].any()


@pytest.fixture(scope="module")
def optimal() -> dict:
    rng = np.random.default_rng(12)
    lmax = 40
    cls = rough_spectra(rng, lmax)
    noise = 0.01 * rng.uniform(0.5, 2.0, lmax + 1)
    totals = {key: cls[key] + (noise if key != "TE" else 0.0) for key in cls}
    filters = {f: np.where(np.arange(lmax + 1) >= 2, 1.0 / totals[f + f], 0.0) for f in "TEB"}
    return {"cls": cls, "totals": totals, "filters": filters}


def test_noise_is_the_inverse_response_at_optimal_weights(optimal: dict) -> None:
    norm = normalisation(KEYS, optimal["cls"], optimal["cls"], optimal["filters"], optimal["totals"], 40)
    for key in ("TT", "TB", "EB", "EE"):
        assert np.abs(norm.n0(key)[:, 2:] * norm.response[key][:, 2:] - 1).max() < 1e-10
    # Separable TE ignores half of its noise, so it must be noisier than the optimal estimator would be.
    te = norm.n0("TE")[:, 2:] * norm.response["TE"][:, 2:]
    assert np.abs(te - 1).max() > 1e-3


def test_minimum_variance_is_below_its_parts_and_their_weighted_sum(optimal: dict) -> None:
    norm = normalisation(KEYS, optimal["cls"], optimal["cls"], optimal["filters"], optimal["totals"], 40)
    weights, n0 = minimum_variance_weights(norm)
    assert np.abs(sum(weights.values())[:, 2:] - 1).max() < 1e-11
    matrix = np.array([[norm.n0(a, b) for b in KEYS] for a in KEYS])
    direct = 1.0 / np.linalg.inv(np.moveaxis(matrix[..., 2:], (0, 1), (-2, -1))).sum((-2, -1))
    assert np.abs(n0[:, 2:] / direct - 1).max() < 1e-9
    for key in KEYS:
        assert (n0[:, 2:] <= norm.n0(key)[:, 2:] * (1 + 1e-12)).all()
    eigenvalues = np.linalg.eigvalsh(np.moveaxis(matrix[..., 2:], (0, 1), (-2, -1)))
    assert (eigenvalues > 0).all()

    maps = {field: random_alm(np.random.default_rng(13), 40) for field in "TEB"}
    q = quadratic_estimates(KEYS, maps, optimal["cls"], 40)
    combined = minimum_variance(q, norm, weights)
    for part in (0, 1):
        expected = sum(scale_alm(normalised(q[k], norm.response[k])[part], weights[k][part]) for k in KEYS)
        assert np.abs(combined[part] - expected).max() < 1e-12 * np.abs(expected).max()


def test_minimum_variance_without_one_estimator_at_some_multipoles() -> None:
    """An estimator that does not respond at some L gets no weight there, and harms no other."""
    response = {"TT": np.ones((2, 5)), "EB": np.array([[0.0, 0, 0, 1, 1]] * 2)}
    noise = {(a, b): np.zeros((2, 5)) for a in response for b in response}
    noise["TT", "TT"] = np.ones((2, 5))
    noise["EB", "EB"] = np.array([[0.0, 0, 0, 1, 1]] * 2)
    weights, n0 = minimum_variance_weights(Normalisation(response, noise))
    np.testing.assert_allclose(n0[0], [1, 1, 1, 0.5, 0.5], rtol=1e-14)
    np.testing.assert_allclose(weights["EB"][0], [0, 0, 0, 0.5, 0.5], rtol=1e-14)


def test_agrees_with_pytempura_to_l_3000() -> None:
    """1/R of all five, φ and Ω, 2 ≤ L ≤ 3000, from the same spectra.

    pytempura's EB leaves out C^BB, so it is left out here too. Its own sums lose digits at the lowest L, where
    the terms cancel (4e-4 at L = 2 for the TT curl); the promise is 1e-3.
    """
    pytempura = pytest.importorskip("pytempura")
    lmin, lmax = 100, 3000
    ell = np.arange(lmax + 1.0)
    damping = np.exp(-((ell / 1400.0) ** 1.2)) / (ell + 10.0) ** 2
    cls = {
        "TT": 6e3 * damping * (1.2 + np.cos(ell / 48.0)),
        "EE": 1e2 * damping * (1.2 - np.cos(ell / 48.0)),
        "TE": 3e2 * damping * np.sin(ell / 48.0),
        "BB": np.zeros(lmax + 1),
    }
    noise = 3e-6 * np.exp(ell * (ell + 1) * 3e-8)
    totals = {k: cls[k] + (noise * (2 if k != "TT" else 1) if k != "TE" else 0) for k in cls}
    filters = {f: np.where(ell >= lmin, 1.0 / totals[f + f], 0.0) for f in "TEB"}
    norm = normalisation(KEYS, cls, cls, filters, totals, lmax)
    peer = pytempura.get_norms(list(KEYS), cls, cls, totals, lmin, lmax, k_ellmax=lmax)
    for key in KEYS:
        for part in (0, 1):
            ours = 1.0 / norm.response[key][part][2:]
            assert np.abs(ours / peer[key][part][2:] - 1).max() < 1e-3

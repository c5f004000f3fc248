"""GMV against direct sums with Wigner 3j symbols that were derived apart from it, and against the five estimators."""

import numpy as np
import pytest

from lensrec.quadratic.combination import minimum_variance_weights
from lensrec.quadratic.estimators import paired_estimates, quadratic_estimates
from lensrec.quadratic.joint import filter_jointly, joint_filters, joint_normalisation
from lensrec.quadratic.response import normalisation
from lensrec.sphere.alm import alm_size
from tests.reference import gmv
from tests.reference.gmv import spectra_matrix

KEYS = ("TT", "TE", "TB", "EB", "EE")
LMAX, L_MAX = 20, 24
RANGES = {"T": (2, 20), "E": (4, 17), "B": (3, 17)}


def random_alm(rng: np.random.Generator, lmax: int = LMAX) -> np.ndarray:
    alm = rng.normal(size=alm_size(lmax)) + 1j * rng.normal(size=alm_size(lmax))
    alm[: lmax + 1] = alm[: lmax + 1].real
    return alm


@pytest.fixture(scope="module", params=[False, True], ids=["without C^BB", "with C^BB"])
def spectra(request: pytest.FixtureRequest) -> dict[str, dict[str, np.ndarray]]:
    """Unequal weights, truth and totals; C^BB among the weights or not."""
    rng = np.random.default_rng(1)

    def some(level: float) -> dict[str, np.ndarray]:
        out = {key: level * rng.uniform(0.5, 2.0, LMAX + 1) * (np.arange(LMAX + 1) > 1) for key in ("TT", "EE", "BB")}
        return out | {"TE": rng.uniform(-0.6, 0.6, LMAX + 1) * np.sqrt(out["TT"] * out["EE"])}

    weights, signal, totals = some(1.0), some(1.0), some(3.0)
    if not request.param:
        weights["BB"][:] = 0.0
    return {"weights": weights, "signal": signal, "totals": totals | {k: totals[k] + 0.1 for k in ("TT", "EE", "BB")}}


def test_equals_the_direct_sum(spectra: dict[str, dict[str, np.ndarray]]) -> None:
    """Two different sets of legs; rounding of some 10⁴ terms is below 1e-12 of the rms, the promise is 1e-10."""
    rng = np.random.default_rng(2)
    one, two = ({field: random_alm(rng) for field in "TEB"} for _ in range(2))
    weights = spectra["weights"]
    pair = paired_estimates(["GMV"], [one, two], [(0, 1), (1, 1)], weights, L_MAX)
    second = quadratic_estimates(["GMV"], one, weights, L_MAX, second=two)["GMV"]
    for part, source in enumerate(("phi", "omega")):
        truth = gmv.gmv_sum(one, two, weights, L_MAX, source)
        alone = gmv.gmv_sum(two, two, weights, L_MAX, source)
        rms = np.std(truth)
        assert rms > 0
        assert np.abs(pair[0]["GMV"][part] - truth).max() < 1e-10 * rms
        assert np.abs(second[part] - truth).max() < 1e-10 * rms
        assert np.abs(pair[1]["GMV"][part] - alone).max() < 1e-10 * np.std(alone)


def test_response_and_noise_are_the_direct_sums(spectra: dict[str, dict[str, np.ndarray]]) -> None:
    """Weights unlike the truth and the totals, and ranges of T and P that differ; to 1e-10 at every L."""
    weights, signal, totals = (spectra[name] for name in ("weights", "signal", "totals"))
    filters = joint_filters(totals, RANGES)
    other = {key: 1.3 * cl for key, cl in totals.items()}
    norm = joint_normalisation(weights, signal, filters, other, L_MAX)
    matrix = gmv.joint_filter(totals, RANGES)
    for part, source in enumerate(("phi", "omega")):
        r = gmv.gmv_response(weights, signal, matrix, L_MAX, source)
        n = gmv.gmv_noise(weights, matrix, other, L_MAX, source)
        assert np.abs(norm.response["GMV"][part] - r).max() < 1e-10 * np.abs(r).max()
        assert np.abs(norm.noise["GMV", "GMV"][part] - n).max() < 1e-10 * np.abs(n).max()


def test_joint_filter_is_the_inverse_matrix(spectra: dict[str, dict[str, np.ndarray]]) -> None:
    """T and E where both are read, each by itself elsewhere; legs are its product with the sky."""
    totals = spectra["totals"]
    filters = joint_filters(totals, RANGES)
    full = spectra_matrix(totals, LMAX)
    for ell in range(LMAX + 1):
        read = [i for i, field in enumerate("TEB") if RANGES[field][0] <= ell <= RANGES[field][1]]
        expected = np.zeros((3, 3))
        if read:
            expected[np.ix_(read, read)] = np.linalg.inv(full[ell][np.ix_(read, read)])
        got = [filters[key][ell] for key in ("TT", "TE", "EE", "BB")]
        wanted = [expected[0, 0], expected[0, 1], expected[1, 1], expected[2, 2]]
        np.testing.assert_allclose(got, wanted, rtol=1e-12, atol=1e-15)
    rng = np.random.default_rng(3)
    sky = {field: random_alm(rng) for field in "TEB"}
    legs, truth = filter_jointly(sky, filters), gmv.joint_legs(sky, gmv.joint_filter(totals, RANGES))
    for field in "TEB":
        np.testing.assert_allclose(legs[field], truth[field], rtol=1e-12, atol=1e-14)


def test_less_noise_than_the_sum_than_any_part() -> None:
    """N0^GMV ≤ N0^MV ≤ min N0^XY at every L, with N0 = 1/R: at optimal weights, for φ and Ω."""
    ell = np.arange(301.0)
    shape = (ell > 1) / np.maximum(ell, 1) ** 2.2
    signal = {"TT": 1e4 * shape, "EE": 2e2 * shape, "BB": 2.0 * shape}
    signal["TE"] = 0.45 * np.cos(ell / 40) * np.sqrt(signal["TT"] * signal["EE"])
    totals = {key: cl + (0.0 if key == "TE" else 1e-3) for key, cl in signal.items()}
    ranges = {"T": (20, 300), "E": (2, 280), "B": (2, 280)}
    norm = joint_normalisation(signal, signal, joint_filters(totals, ranges), totals, 300)
    n0 = norm.n0("GMV")
    L = slice(2, 301)
    np.testing.assert_allclose(n0[:, L] * norm.response["GMV"][:, L], 1.0, rtol=1e-9)
    filters = {f: np.where((ell >= a) & (ell <= b), 1 / totals[f + f], 0.0) for f, (a, b) in ranges.items()}
    parts = normalisation(KEYS, signal, signal, filters, totals, 300)
    _, mv = minimum_variance_weights(parts)
    assert (n0[:, L] < mv[:, L]).all()  # and by far more than rounding: per cents
    assert (n0[0, L] / mv[0, L]).max() < 0.99999
    for key in KEYS:
        assert (mv[:, L] <= parts.n0(key)[:, L] * (1 + 1e-12)).all()


def test_what_is_wrong_is_named() -> None:
    totals = {key: np.ones(11) for key in ("TT", "EE", "BB")} | {"TE": np.zeros(11)}
    totals["TE"][7] = 1.5
    with pytest.raises(ValueError, match="no covariance of T, E and B at ℓ = 7"):
        joint_filters(totals, dict.fromkeys("TEB", (2, 10)))
    with pytest.raises(ValueError, match="ends at ℓ = 10, not 12"):
        joint_filters(totals, dict.fromkeys("TEB", (2, 12)))
    filters = joint_filters(totals | {"TE": np.zeros(11)}, dict.fromkeys("TEB", (2, 10)))
    short = {field: random_alm(np.random.default_rng(4), 8) for field in "TEB"}
    with pytest.raises(ValueError, match="T ends at ℓ = 8, the joint filter needs ℓ = 10"):
        filter_jointly(short, filters)
    with pytest.raises(ValueError, match="estimator GMV needs the filtered field"):
        quadratic_estimates(["GMV"], {"T": short["T"], "E": short["E"]}, totals, 8)

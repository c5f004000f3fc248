"""Response matrices against direct 3j sums, and hardened estimators against skies that have the fields."""

import itertools

import numpy as np
import pytest

from lensrec.quadratic import contaminants
from lensrec.quadratic.combination import minimum_variance, minimum_variance_weights, normalised
from lensrec.quadratic.contaminants import additive, field_estimates, modulation, point_sources, uneven_noise
from lensrec.quadratic.estimators import quadratic_estimates
from lensrec.quadratic.hardening import (
    PHI,
    Hardening,
    ResponseMatrix,
    hardened,
    hardened_estimates,
    hardening,
    paired_hardened_estimates,
    response_matrix,
)
from lensrec.quadratic.response import normalisation
from lensrec.sphere.alm import alm_ell, resize_alm, scale_alm
from lensrec.sphere.sht import synthesis
from tests.quadratic.test_contaminants import GRID, LMAX_FIELD, LMAX_OUT, emission, modulated_changes, random_profiles
from tests.quadratic.test_estimators import KEYS, random_alm, random_legs
from tests.reference import contaminants_3j, okamoto_hu
from tests.reference.test_okamoto_hu import lensing_of_basis, random_filters, random_spectra

RANGES = {"T": (2, 24), "E": (3, 22), "B": (5, 23)}
NAMES = (PHI, "gain", "noise")


def fields_and_weights(lmax: int, seed: int) -> tuple[dict, dict, dict]:
    """A gain with beam and transfer and a noise: as fields, as 3j weights for each key, and φ's spectra."""
    cls, (beam, transfer, profile) = random_spectra(lmax, seed), random_profiles(lmax, seed + 1)
    fields = {"gain": modulation(cls, beam=beam, transfer=transfer), "noise": additive(profile)}
    weights = {}
    for key in (*KEYS, "ET", "BE", "BT"):
        weights[key, "gain"] = contaminants_3j.modulation_weight(key, cls, beam, transfer)
        weights[key, "noise"] = contaminants_3j.additive_weight(key, profile)
        weights[key, PHI] = lambda L, key=key: okamoto_hu.weight_matrix(key, L, lmax, cls)
    return fields, weights, cls


@pytest.fixture(scope="module")
def setting() -> dict:
    """ℓ ≤ 24, L ≤ 30, unequal ranges, truth that differs from the weights."""
    fields, weights, cls = fields_and_weights(24, 1)
    truth, true_weights, signal = fields_and_weights(24, 5)
    totals, filters = random_spectra(24, 9), random_filters(24, RANGES, 10)
    matrix = response_matrix(KEYS, fields, cls, signal, filters, totals, 30, truth=truth)
    return {"matrix": matrix, "f": weights, "g": true_weights, "filters": filters, "totals": totals, "cls": cls} | {
        "signal": signal,
        "fields": fields,
    }


@pytest.mark.parametrize("key", KEYS)
def test_responses_equal_the_direct_sums(key: str, setting: dict) -> None:
    filters, n = setting["filters"], 0.5 if key[0] == key[1] else 1.0
    own = {}
    for a, b in itertools.product(NAMES, NAMES):
        f, g = setting["f"][key, a], setting["g"][key, b]
        expected = contaminants_3j.response(f, g, filters[key[0]], filters[key[1]], 30, n)
        row = setting["matrix"].response[key, a, b]
        own[a, b] = abs(expected).max()
        # Of the largest, and of each where it is not a small difference of large terms: 1e4 terms to 1e-16.
        assert np.abs(row[0] - expected).max() <= 1e-10 * own[a, b]
        if (a, b) != (PHI, PHI):
            assert not row[1].any()
    assert own["gain", PHI] > 1
    assert own["noise", PHI] > 1 or key in ("TE", "TB")


@pytest.mark.parametrize(("one", "two"), [("TT", "TT"), ("TT", "EE"), ("TE", "EE"), ("EB", "EB"), ("TB", "EB")])
def test_noise_equals_the_direct_sum(one: str, two: str, setting: dict) -> None:
    filt, totals = setting["filters"], setting["totals"]

    def cross(p: str, q: str) -> np.ndarray:
        return filt[p] * filt[q] * okamoto_hu.spectrum(totals, p + q, 24)

    (x, y), (u, v) = one, two
    straight, crossed = np.outer(cross(x, u), cross(y, v)), np.outer(cross(x, v), cross(y, u))
    n = (0.5 if x == y else 1.0) * (0.5 if u == v else 1.0)
    largest = 0.0
    for a, b in itertools.product(NAMES, NAMES):
        f = setting["f"]
        expected = contaminants_3j.noise(f[one, a], f[two, b], f[v + u, b], straight, crossed, 30, n)
        row = setting["matrix"].noise[(one, a), (two, b)][0]
        assert np.abs(row - expected).max() <= 1e-10 * abs(expected).max()
        largest = max(largest, abs(expected).max())
    assert largest > 1


def test_phi_alone_is_the_ordinary_normalisation(setting: dict) -> None:
    args = (setting["cls"], setting["signal"], setting["filters"], setting["totals"], 30)
    norm, matrix = normalisation(KEYS, *args), setting["matrix"]
    unhardened = hardening(matrix, [])
    for key, other in itertools.product(KEYS, KEYS):
        scale = abs(norm.response[key]).max(1, keepdims=True)
        # The same sums in another order
        assert (np.abs(matrix.response[key, PHI, PHI] - norm.response[key]) <= 1e-11 * scale).all()
        noise = norm.noise[key, other]
        assert (np.abs(unhardened.norm.noise[key, other] - noise) <= 1e-11 * abs(noise).max(1, keepdims=True)).all()


@pytest.mark.parametrize("against", [("gain",), ("noise",), ("gain", "noise")])
def test_hardened_responds_one_to_phi_and_zero_to_the_fields(against: tuple[str, ...], setting: dict) -> None:
    """By the matrix: (R⁻¹)^{φb} R^{bc} = δ^{φc}, with R inverted whole."""
    matrix, result = setting["matrix"], hardening(setting["matrix"], against)
    for key in KEYS:
        alive = [name for name in against if matrix.response[key, name, name].any()]
        names = (PHI, *alive)
        r = np.array([[matrix.response[key, a, b][0, 1:25] for b in names] for a in names])
        inverse = np.linalg.inv(np.moveaxis(r, -1, 0))
        weight = {name: result.coefficients.get((key, name), np.ones(31)) for name in names}
        for i, name in enumerate(names):
            ours = weight[name][1:25] / result.norm.response[key][0, 1:25]
            # Condition numbers of R here are below 1e5 in units of its diagonal: 1e-16 × 1e5, and R good to 1e-13.
            np.testing.assert_allclose(ours, inverse[:, 0, i], rtol=1e-8, atol=1e-8 * abs(inverse[:, 0, i]).max())
        for name in against:
            size = np.abs(matrix.response[key, PHI, name][0]).max()
            assert np.abs(result.responses[key, name][1:25]).max() <= 1e-12 * size


def test_curl_is_left_as_it_is(setting: dict) -> None:
    """Parity: no scalar field is seen by Ω̂, which keeps response, noise and estimate."""
    plain, hard = hardening(setting["matrix"], []), hardening(setting["matrix"])
    legs = random_legs(np.random.default_rng(11), {"T": 2, "E": 3, "B": 5}, 24)
    q = quadratic_estimates(KEYS, legs, setting["cls"], 30)
    q_hard = hardened(q, field_estimates(KEYS, setting["fields"], legs, 30), hard.coefficients)
    for key in KEYS:
        np.testing.assert_array_equal(q_hard[key][1], q[key][1])
        np.testing.assert_array_equal(hard.norm.response[key][1], plain.norm.response[key][1])
        np.testing.assert_array_equal(hard.norm.n0(key)[1], plain.norm.n0(key)[1])
        assert np.abs(q_hard[key][0] - q[key][0]).max() > 0.01 * np.abs(q[key][0]).max()


def fewest(skies: np.ndarray) -> np.ndarray:
    """As few skies with the same covariance, by a rotation among them: sums of q(X, X) do not change."""
    rows = np.ascontiguousarray(skies.reshape(len(skies), -1)).view(float)
    _, size, directions = np.linalg.svd(rows, full_matrices=False)
    kept = size > 1e-13 * size[0]
    return np.ascontiguousarray(size[kept, None] * directions[kept]).view(complex).reshape(-1, *skies.shape[1:])


@pytest.fixture(scope="module")
def exact() -> dict:
    """Everything known exactly: a basis of skies with ℓ ≤ 5, its change by each field, weights as rough as any."""
    cls, skies, lensed, potential = lensing_of_basis("phi")
    beam, transfer, profile = random_profiles(LMAX_OUT, 12)
    truth = {"gain": modulation(cls, beam=beam, transfer=transfer), "noise": additive(profile)}
    cls_w = random_spectra(LMAX_OUT, 13)
    weights = {"gain": modulation(cls_w, transfer=1 + beam), "noise": additive(1 + profile)}
    field = random_alm(np.random.default_rng(14), LMAX_FIELD)
    variance = field.copy()
    variance[0] = 40.0
    teb = np.stack([skies[z] for z in "TEB"], axis=1)
    changes = {PHI: np.stack([lensed[z] for z in "TEB"], axis=1)}
    changes["gain"] = modulated_changes(teb, field, beam, transfer)
    emitted = fewest(emission(synthesis(variance, GRID), profile))
    filters = random_filters(LMAX_OUT, {"T": (1, 7), "E": (2, 6), "B": (2, 8)}, 15)
    matrix = response_matrix(KEYS, weights, cls_w, cls, filters, cls, 5, truth=truth)
    return {"cls_w": cls_w, "weights": weights, "filters": filters, "matrix": matrix, "emitted": emitted} | {
        "skies": teb,
        "changes": changes,
        "fields": {PHI: potential, "gain": field, "noise": variance},
    }


def slope(exact: dict, name: str, keys: tuple[str, ...], result: Hardening) -> dict[str, np.ndarray]:
    """∂⟨q^H⟩/∂(field), exactly: [q(X + δX) − q(X − δX)]/2 is bilinear, and summed over the basis is the mean."""
    filters = exact["filters"]

    def estimates(teb: np.ndarray) -> dict[str, np.ndarray]:
        legs = {z: scale_alm(teb[i], filters[z]) for i, z in enumerate("TEB")}
        return hardened_estimates(keys, legs, exact["cls_w"], 5, fields=exact["weights"], hardening=result, nthreads=1)

    if name == "noise":
        parts = [estimates(sky) for sky in exact["emitted"]]
        return {key: sum(part[key] for part in parts) for key in keys}
    parts = [
        (estimates(sky + change), estimates(sky - change))
        for sky, change in zip(exact["skies"], exact["changes"][name], strict=True)
    ]
    return {key: sum(plus[key] - minus[key] for plus, minus in parts) / 2 for key in keys}


@pytest.mark.parametrize("name", NAMES)
def test_hardened_estimate_of_skies_with_each_field(name: str, exact: dict) -> None:
    """On maps, with no statistical error: R^H φ of lensed skies, nothing of skies with the other fields."""
    keys = ("TT", "EE", "EB")
    plain, hard = hardening(exact["matrix"], []), hardening(exact["matrix"])
    field = resize_alm(exact["fields"][name], 5)
    bare, left = (slope(exact, name, keys, result) for result in (plain, hard))
    for key in keys:
        expected = scale_alm(field, exact["matrix"].response[key, PHI, name][0])
        size = np.abs(expected).max()
        assert size > 0.1
        # Remaps by differences are good to 3e-11 in each change, times weights and filters, over hundreds of pairs.
        assert np.abs(bare[key][0] - expected).max() < 1e-8 * max(size, 1)
        remains = scale_alm(field, hard.norm.response[key][0]) if name == PHI else 0.0
        assert np.abs(left[key][0] - remains).max() < 1e-8 * max(size, 1)
        assert np.abs(left[key][1]).max() < 1e-8 * max(size, 1)
    assert np.abs(left["TT"][0]).max() > 0.1 or name != PHI


def test_hardened_noise_is_that_of_gaussian_skies(exact: dict) -> None:
    """Wick over the complete basis: q = Σ ξ_k ξ_j q_kj has the connected covariance Σ q_kj (q_kj + q_jk)*."""
    result = hardening(exact["matrix"])
    legs = [{"T": scale_alm(sky[0], exact["filters"]["T"])} for sky in exact["skies"] if sky[0].any()]
    kwargs = {"fields": exact["weights"], "hardening": result, "nthreads": 1}
    q = np.zeros((len(legs), len(legs), 21), dtype=complex)
    for k, one in enumerate(legs):
        for j, two in enumerate(legs[: k + 1]):
            q[k, j] = q[j, k] = hardened_estimates(["TT"], one, exact["cls_w"], 5, second=two, **kwargs)["TT"][0]
    covariance = np.einsum("kjA,kjB->AB", q, (q + q.swapaxes(0, 1)).conj())
    expected = result.norm.noise["TT", "TT"][0]
    np.testing.assert_allclose(covariance, np.diag(expected[alm_ell(5)]), rtol=0, atol=1e-9 * abs(expected).max())
    assert expected[1:].min() > 0


def test_noise_between_hardened_estimators_is_the_quadratic_form(setting: dict) -> None:
    """Σ h^a h′^b N^{ab} with h^φ = 1, the whole matrix at once, also between estimators, with unequal weights."""
    matrix, result = setting["matrix"], hardening(setting["matrix"])
    h = {key: np.array([result.coefficients.get((key, name), np.ones(31)) for name in NAMES]) for key in KEYS}
    for one, two in itertools.product(KEYS, KEYS):
        n = np.array([[matrix.noise[(one, a), (two, b)][0] for b in NAMES] for a in NAMES])
        alive = (result.norm.response[one][0] != 0) & (result.norm.response[two][0] != 0)
        expected = np.einsum("al,bl,abl->l", h[one], h[two], n) * alive
        # Nine terms in another order, which cancel by less than 1e3
        size = np.einsum("al,bl,abl->l", abs(h[one]), abs(h[two]), abs(n))
        assert (np.abs(result.norm.noise[one, two][0] - expected) <= 1e-13 * size).all()
        assert expected.any() or one.count("B") != two.count("B")


def test_pairs_are_combined_as_they_are_or_summed(setting: dict) -> None:
    """For RDN0: the hardened estimate of (data, sim) is the combination of its parts, and bilinear."""
    result = hardening(setting["matrix"])
    rng = np.random.default_rng(16)
    data, one, two = (random_legs(rng, {"T": 2, "E": 3, "B": 5}, 24) for _ in range(3))
    both = {z: one[z] + two[z] for z in "TEB"}
    kwargs = {"fields": setting["fields"], "hardening": result}
    q = {
        name: hardened_estimates(KEYS, data, setting["cls"], 20, second=legs, **kwargs)
        for name, legs in (("one", one), ("two", two), ("both", both))
    }
    mixed = hardened(
        quadratic_estimates(KEYS, data, setting["cls"], 20, second=one),
        field_estimates(KEYS, setting["fields"], data, 20, second=one),
        result.coefficients,
    )
    for key in KEYS:
        np.testing.assert_array_equal(mixed[key], q["one"][key])
        assert np.abs(q["both"][key] - q["one"][key] - q["two"][key]).max() < 1e-11 * np.abs(q["both"][key]).max()


def test_paired_estimates_are_those_of_each_pair_symmetrised(setting: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = []

    def counted(alm: np.ndarray, *args: object, **kwargs: object) -> np.ndarray:
        counts.append(alm.shape)
        return synthesis(alm, *args, **kwargs)

    result = hardening(setting["matrix"])
    rng = np.random.default_rng(19)
    sets = [random_legs(rng, {"T": 2, "E": 3, "B": 5}, 24) for _ in range(3)]
    kwargs = {"fields": setting["fields"], "hardening": result}
    pairs = [(0, 1), (2, 0), (1, 2), (1, 1)]
    monkeypatch.setattr(contaminants, "synthesis", counted)
    found = paired_hardened_estimates(KEYS, sets, pairs, setting["cls"], 16, **kwargs)
    paired = len(counts)
    for (i, j), q in zip(pairs, found, strict=True):
        parts = [
            hardened_estimates(KEYS, sets[a], setting["cls"], 16, second=sets[b], **kwargs) for a, b in ((i, j), (j, i))
        ]
        for key in KEYS:
            expected = (parts[0][key] + parts[1][key]) / 2
            # Rounding, and that of q^c times h, which may be larger than what they leave
            assert np.abs(q[key] - expected).max() < 1e-10 * np.abs(expected).max()
    counts.clear()
    hardened_estimates(KEYS, sets[0], setting["cls"], 16, **kwargs)
    assert paired == 3 * len(counts)


def optimal_matrix(lmax: int, lmax_phi: int, names: tuple[str, ...]) -> ResponseMatrix:
    """Optimal weights of spectra with acoustic peaks, white noise and a beam."""
    ell = np.arange(lmax + 1.0)
    beam = np.exp(-0.5 * ell * (ell + 1) * (1.0 / lmax) ** 2)
    shape, wave = 1.0 / (ell + 2) ** 2, 0.7 * np.cos(12.0 * ell / lmax)
    cls = {"TT": (1 + wave) * shape, "EE": 0.1 * (1 - wave) * shape, "BB": 0.0 * ell, "TE": 0.1 * shape}
    noise = 0.05 / lmax**2 / beam**2
    totals = {key: cl + (noise if key != "TE" else 0.0) for key, cl in cls.items()}
    filters = {z: np.where(ell >= 2, 1.0 / totals[z + z], 0.0) for z in "TEB"}
    fields = {"mask": modulation(totals), "noise": uneven_noise(beam), "source": point_sources(lmax)}
    fields["faint beam"] = uneven_noise(np.sqrt(1 + 1e-9 * ell / lmax))
    fields = {name: fields[name] for name in names}
    return response_matrix(("TT", "EE", "EB"), fields, cls, cls, filters, totals, lmax_phi)


def test_hardening_against_several_at_once_costs_noise() -> None:
    """N0 rises with each field, is 1/R^H at optimal weights, and goes into MV as any other."""
    matrix = optimal_matrix(60, 40, ("mask", "noise", "source"))
    results = [hardening(matrix, names) for names in ((), ("mask",), ("mask", "noise"), ("mask", "noise", "source"))]
    for key in ("TT", "EE", "EB"):
        n0 = [result.norm.n0(key)[0, 2:] for result in results]
        for lower, higher in itertools.pairwise(n0):
            assert (higher >= lower * (1 - 1e-9)).all()
        # R is good to 1e-13, its condition numbers are some 1e3 at these L.
        np.testing.assert_allclose(n0[-1] * results[-1].norm.response[key][0, 2:], 1.0, rtol=1e-9)
    assert (results[-1].norm.n0("TT")[0, 2:] > 1.05 * results[0].norm.n0("TT")[0, 2:]).all()
    norm = results[-1].norm
    # At L = 1 EB has ℓ₁ = ℓ₂ alone, and f^φ ∝ C^EE + C^BB is a mask's less a noise's: nothing is left of φ.
    assert norm.response["EB"][0, 1] == 0.0
    assert norm.n0("EB")[0, 1] == 0.0
    weights, n0 = minimum_variance_weights(norm)
    assert all((n0[0, 2:] <= norm.n0(key)[0, 2:] * (1 + 1e-9)).all() for key in ("TT", "EE", "EB"))
    legs = random_legs(np.random.default_rng(17), {"T": 2, "E": 3, "B": 5}, 60)
    q = quadratic_estimates(("TT", "EE", "EB"), legs, {"TT": n0[0], "EE": n0[0], "BB": 0 * n0[0]}, 40)
    mv = minimum_variance(q, norm, weights)
    expected = sum(scale_alm(normalised(q[k], norm.response[k])[0], weights[k][0]) for k in q)
    assert np.abs(mv[0] - expected).max() < 1e-12 * np.abs(expected).max()


def test_monopole_and_the_highest_multipoles() -> None:
    """At L = 0 φ does not respond; at L = 2ℓ_max one pair of multipoles is left, by which φ looks like the mask."""
    result = hardening(optimal_matrix(20, 42, ("mask",)), ["mask"])
    response = result.norm.response["TT"][0]
    assert response[0] == 0.0
    assert result.coefficients["TT", "mask"][0] == 0.0
    assert not response[40:].any()
    assert not result.norm.n0("TT")[0, 40:].any()
    assert (response[1:39] > 0).all()


def test_fields_that_coincide_are_named() -> None:
    with pytest.raises(ValueError, match="TT cannot tell the fields source, faint beam apart at L = "):
        hardening(optimal_matrix(30, 20, ("mask", "source", "faint beam")))
    hardening(optimal_matrix(30, 20, ("mask", "source", "faint beam")), ["mask", "source"])


def test_what_is_wrong_is_said() -> None:
    cls, filters = random_spectra(8, 18), {"T": np.ones(9)}
    with pytest.raises(ValueError, match="name of the lensing potential"):
        response_matrix(["TT"], {PHI: point_sources(8)}, cls, cls, filters, cls, 8)
    with pytest.raises(ValueError, match="'dust': the response matrix has source"):
        hardening(response_matrix(["TT"], {"source": point_sources(8)}, cls, cls, filters, cls, 8), ["dust"])

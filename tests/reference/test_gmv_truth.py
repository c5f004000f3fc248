"""The slow truth of the GMV estimator against a dense likelihood over all a_lm, and against single estimators."""

import numpy as np
import pytest
from numpy.typing import NDArray

from lensrec.sphere.alm import alm_ell, alm_index, alm_size

from .gmv import FIELDS, gmv_noise, gmv_response, gmv_sum, joint_filter, joint_legs, joint_weights, spectra_matrix
from .okamoto_hu import KEYS, SOURCES, estimate, full_order, mixing, noise, response, weight_matrix
from .wigner3j import wigner3j_row

LMAX, LMAX_PHI = 6, 5
# T and P begin and end apart, so that F has 1×1, 2×2 and empty blocks.
RANGES = {"T": (1, 5), "E": (3, 6), "B": (3, 6)}
KEYS_OF_ONE_SET = ("TT", "EE", "TE", "EB", "TB")
SUMS = 1e-12  # sums of 10³ terms of either sign, no more than 10² times the sum: 1e-13 at the worst


def random_spectra(seed: int, lmax: int = LMAX) -> dict[str, NDArray]:
    """Polarisation from l = 2, B as strong as E, TE of either sign."""
    rng = np.random.default_rng(seed)
    tt, ee, bb = rng.uniform(0.5, 2.0, (3, lmax + 1))
    te = rng.uniform(-0.8, 0.8, lmax + 1) * np.sqrt(tt * ee)
    return {"TT": tt, **{key: cl * (np.arange(lmax + 1) >= 2) for key, cl in (("EE", ee), ("BB", bb), ("TE", te))}}


def with_noise(cls: dict[str, NDArray]) -> dict[str, NDArray]:
    """Total power: other noise in E than in B, and some that T and E have in common."""
    return {key: cl + {"TT": 0.7, "EE": 1.1, "BB": 0.4, "TE": 0.05}[key] for key, cl in cls.items()}


def random_fields(seed: int, shape: tuple[int, ...] = (), lmax: int = LMAX) -> dict[str, NDArray]:
    rng = np.random.default_rng(seed)
    out = {}
    for x in FIELDS:
        alm = rng.standard_normal((*shape, alm_size(lmax))) + 1j * rng.standard_normal((*shape, alm_size(lmax)))
        alm[..., : lmax + 1].imag = 0.0
        out[x] = alm * (alm_ell(lmax) >= (0 if x == "T" else 2))
    return out


EVERY = [(x, l, m) for x in FIELDS for l in range(0 if x == "T" else 2, LMAX + 1) for m in range(-l, l + 1)]


def every_mode(fields: dict[str, NDArray]) -> NDArray[np.complex128]:
    """a^X_lm in the order of EVERY."""
    return np.array([full_order(fields[x], l)[l + m] for x, l, m in EVERY])


def diagonal_in_l(matrix: NDArray) -> NDArray[np.float64]:
    """A matrix over EVERY, δ_ll' δ_mm' times (lmax + 1, 3, 3)."""
    index = np.array([(FIELDS.index(x), l, m) for x, l, m in EVERY])
    field, l, m = index.T
    same = (l[:, None] == l) & (m[:, None] == m)
    return same * matrix[l[:, None], field[:, None], field]


def deflection(L: int, M: int, source: str) -> NDArray[np.complex128]:
    """∂(δX_l₁m₁)/∂ψ_LM as a matrix over EVERY: (−1)^m₁ (l₁ l₂ L; −m₁ m₂ M) D^{XX'}_{l₁Ll₂}."""
    operators = {(x, z): mixing(x, z, L, LMAX, source) for x in FIELDS for z in FIELDS}
    out = np.zeros((len(EVERY), len(EVERY)), dtype=complex)
    for column, (z, l2, m2) in enumerate(EVERY):
        symbols = wigner3j_row(l2, L, m2, M, LMAX)
        for row, (x, l1, m1) in enumerate(EVERY):
            if m1 == m2 + M:
                out[row, column] = (-1) ** m1 * symbols[l1] * operators[x, z][l1, l2]
    return out


def covariance_change(L: int, M: int, phase: complex, cls: dict[str, NDArray], source: str) -> NDArray[np.complex128]:
    """δC = 𝒟C + C𝒟† for ψ_LM = phase and ψ_L−M = (−1)^M phase*, matrix over EVERY."""
    matrix = phase * deflection(L, M, source)
    if M > 0:
        matrix = matrix + (-1) ** M * np.conj(phase) * deflection(L, -M, source)
    change = matrix @ diagonal_in_l(spectra_matrix(cls, LMAX))
    return change + change.conj().T


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize(("L", "M"), [(1, 0), (2, 1), (3, 3), (4, 0), (5, 2)])
def test_gradient_and_fisher_of_the_likelihood(source: str, L: int, M: int) -> None:
    """q = ½ ā† δC ā and R = ½ Tr C⁻¹δC C⁻¹δC, dense, with δC = 𝒟C + C𝒟† of the deflection itself.

    With ψ_LM = ε and ψ_L−M = (−1)^M ε* the gradient is 2 Re ε*q_LM for M > 0, q_L0 for M = 0; the Fisher
    information of |ε| is 2R_L and R_L. No weight f, no symmetry of 3j, and no factor ½ but the likelihood's go in.
    """
    signal, total = random_spectra(1), with_noise(random_spectra(1))
    held = np.array([RANGES[x][0] <= l <= RANGES[x][1] for x, l, _ in EVERY])
    inverse = np.linalg.inv(diagonal_in_l(spectra_matrix(total, LMAX))[np.ix_(held, held)])
    filters = joint_filter(total, RANGES)
    fields = random_fields(2)
    legs = joint_legs(fields, filters)
    q = gmv_sum(legs, legs, signal, L, source)[alm_index(L, L, np.array(M))]
    fisher = gmv_response(signal, signal, filters, L, source)[L]
    factor = 1 if M == 0 else 2
    for phase in (1.0,) if M == 0 else (1.0, np.exp(0.7j)):
        change = covariance_change(L, M, phase, signal, source)[np.ix_(held, held)]
        filtered = inverse @ every_mode(fields)[held]
        gradient = 0.5 * (filtered.conj() @ change @ filtered).real
        assert abs(gradient - factor * (np.conj(phase) * q).real) < SUMS * abs(q)
        product = inverse @ change
        assert abs(0.5 * np.trace(product @ product).real / (factor * fisher) - 1) < SUMS


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize(("L", "M"), [(1, 1), (3, 0), (4, 2)])
def test_response_and_noise_of_any_filter(source: str, L: int, M: int) -> None:
    """⟨½ ā†Wā⟩ = ½ Tr W F δC F† and its variance ½ Tr W Ĉ W Ĉ, Ĉ = F C F†, for other weights and an F without symmetry.

    W is δC by the spectra of the weights. ½ ā†Wā = 2 Re ε*q_LM, or q_L0, has the mean 2R_L or R_L for |ε| = 1 and the
    variance 2N_L or N_L.
    """
    signal, weights = random_spectra(20), random_spectra(21)
    total = with_noise(signal)
    l = np.arange(LMAX + 1)
    there = np.stack([(RANGES[x][0] <= l) & (l <= RANGES[x][1]) for x in FIELDS], axis=-1)
    filters = np.random.default_rng(22).uniform(-0.5, 1.0, (LMAX + 1, 3, 3)) * there[:, :, None] * there[:, None, :]
    dense = diagonal_in_l(filters)
    weight, change = (covariance_change(L, M, 1.0, cls, source) for cls in (weights, signal))
    passed = dense @ diagonal_in_l(spectra_matrix(total, LMAX)) @ dense.T
    factor = 1 if M == 0 else 2
    scale = gmv_response(weights, weights, np.abs(filters), L, source)[L]
    mean = 0.5 * np.trace(weight @ dense @ change @ dense.T).real / factor
    assert abs(gmv_response(weights, signal, filters, L, source)[L] - mean) < SUMS * scale
    variance = 0.5 * np.trace(weight @ passed @ weight @ passed).real / factor
    assert abs(gmv_noise(weights, filters, total, L, source)[L] / variance - 1) < SUMS


@pytest.mark.parametrize("source", SOURCES)
def test_weights_and_symmetry(source: str) -> None:
    """f of the eight keys as `okamoto_hu` has them, f^BB, f^{YX}_{l₂Ll₁} = p f^{XY}_{l₁Ll₂}, and q(a, b) = q(b, a)."""
    cls = random_spectra(3)
    swapped_bb = {"EE": cls["BB"], "BB": cls["EE"], "TT": cls["TT"]}
    l = np.arange(LMAX + 1)
    for L in range(LMAX_PHI + 1):
        f = joint_weights(L, LMAX, cls, source)
        for key in KEYS:
            x, y = (FIELDS.index(z) for z in key)
            np.testing.assert_allclose(f[:, :, x, y], weight_matrix(key, L, LMAX, cls, source), atol=1e-13)
        # B is to C^BB as E to C^EE: the deflection keeps E + iB to itself.
        np.testing.assert_allclose(f[:, :, 2, 2], weight_matrix("EE", L, LMAX, swapped_bb, source), atol=1e-13)
        parity = 1 - 2 * ((l[:, None] + l + L) % 2)
        np.testing.assert_allclose(f.transpose(1, 0, 3, 2), parity[:, :, None, None] * f, atol=1e-13)
    filters = joint_filter(with_noise(cls), RANGES)
    a, b = (joint_legs(random_fields(seed, (2,)), filters) for seed in (4, 5))
    q = gmv_sum(a, b, cls, LMAX_PHI, source)
    np.testing.assert_allclose(gmv_sum(b, a, cls, LMAX_PHI, source), q, rtol=0, atol=SUMS * np.abs(q).max())


@pytest.mark.parametrize("source", SOURCES)
def test_sum_of_single_estimators(source: str) -> None:
    """q^GMV = q^TT + q^EE + q^BB + ½ Σ_{X≠Y} q^XY of two sets of legs; q^BB is q^EE with E and B swapped."""
    cls = random_spectra(6)
    filters = joint_filter(with_noise(cls), RANGES)
    a, b = (joint_legs(random_fields(seed), filters) for seed in (7, 8))
    total = sum(
        estimate(key, a, b, cls, LMAX_PHI, source) * (1.0 if key[0] == key[1] else 0.5) for key in KEYS
    ) + estimate("EE", {"E": a["B"]}, {"E": b["B"]}, {"EE": cls["BB"], "BB": cls["EE"]}, LMAX_PHI, source)
    found = gmv_sum(a, b, cls, LMAX_PHI, source)
    np.testing.assert_allclose(found, total, rtol=0, atol=SUMS * np.abs(total).max())


@pytest.mark.parametrize("source", SOURCES)
def test_noise_is_response_at_optimal_weights(source: str) -> None:
    """N = R; other weights, or other filters, are worse: N/R² > 1/R_optimal, by Cauchy & Schwarz."""
    cls = random_spectra(9)
    total = with_noise(cls)
    filters = joint_filter(total, RANGES)
    fisher = gmv_response(cls, cls, filters, LMAX_PHI, source)[1:]
    assert (fisher > 0).all()
    np.testing.assert_allclose(gmv_noise(cls, filters, total, LMAX_PHI, source)[1:], fisher, rtol=SUMS)
    diagonal = joint_filter(total | {"TE": 0 * total["TE"]}, RANGES)
    for weights, used in ((random_spectra(10), filters), (cls, diagonal), (cls, joint_filter(cls, RANGES))):
        signal = gmv_response(weights, cls, used, LMAX_PHI, source)[1:]
        assert (gmv_noise(weights, used, total, LMAX_PHI, source)[1:] / signal**2 > 1.001 / fisher).all()


@pytest.mark.parametrize("source", SOURCES)
def test_no_worse_than_any_combination(source: str) -> None:
    """N0^GMV ≤ 1/Σ(N0⁻¹)_{XY,X'Y'} ≤ least N0^XY; single estimators diagonally filtered, with their full covariance."""
    cls = random_spectra(11)
    total = with_noise(cls)
    filters = joint_filter(total, RANGES)
    single = {x: joint_filter(total | {"TE": 0 * total["TE"]}, RANGES)[:, i, i] for i, x in enumerate(FIELDS)}
    rows = [
        [noise(k, j, cls, single, single, total, LMAX_PHI, source) for j in KEYS_OF_ONE_SET] for k in KEYS_OF_ONE_SET
    ]
    covariance = np.moveaxis(np.array(rows), -1, 0)
    responses = np.array([response(k, cls, cls, single, single, LMAX_PHI, source) for k in KEYS_OF_ONE_SET]).T
    fisher = gmv_response(cls, cls, filters, LMAX_PHI, source)
    seen = 0
    for L in range(1, LMAX_PHI + 1):
        held = responses[L] > 1e-10 * responses[L].max()
        n0 = covariance[L][np.ix_(held, held)] / np.outer(responses[L][held], responses[L][held])
        best = 1 / np.sum(np.linalg.inv(n0))
        assert 1 / fisher[L] < best * (1 - 1e-6)  # strictly: BB and the TE correlation of the legs are information, too
        assert best <= np.diag(n0).min() * (1 + SUMS)
        seen += held.sum()
    assert seen >= 4 * LMAX_PHI


@pytest.mark.parametrize("source", SOURCES)
def test_without_te_it_is_the_independent_sum(source: str) -> None:
    """C^TE = 0: 1/N0 = Σ 1/N0^XY over TT, EE, EB and BB; legs of TE and TB have no weight."""
    cls = random_spectra(12)
    cls["TE"] *= 0
    total = with_noise(cls)
    total["TE"] *= 0
    filters = joint_filter(total, RANGES)
    single = {x: filters[:, i, i] for i, x in enumerate(FIELDS)}
    parts = sum(response(key, cls, cls, single, single, LMAX_PHI, source) for key in ("TT", "EE", "EB", "TE", "TB"))
    of_b = {"EE": cls["BB"], "BB": cls["EE"]}
    parts = parts + response("EE", of_b, of_b, {"E": single["B"]}, {"E": single["B"]}, LMAX_PHI, source)
    np.testing.assert_allclose(gmv_response(cls, cls, filters, LMAX_PHI, source)[1:], parts[1:], rtol=SUMS)
    assert not response("TE", cls, cls, single, single, LMAX_PHI, source).any()


def test_filter_inverts_what_is_there() -> None:
    """At each l the fields within their ranges, as one matrix; nothing of the others."""
    total = with_noise(random_spectra(13))
    filters = joint_filter(total, RANGES)
    assert not filters[0].any()
    np.testing.assert_allclose(filters[2], np.diag([1 / total["TT"][2], 0, 0]), rtol=1e-14)
    tt, ee, te = (total[key][4] for key in ("TT", "EE", "TE"))
    block = np.array([[ee, -te], [-te, tt]]) / (tt * ee - te**2)
    np.testing.assert_allclose(filters[4, :2, :2], block, rtol=1e-13)
    np.testing.assert_allclose(filters[6], np.diag([0, 1 / total["EE"][6], 1 / total["BB"][6]]), rtol=1e-14)
    uneven = np.random.default_rng(15).standard_normal((5, 3, 3))
    fields = random_fields(14)
    legs = joint_legs(fields, uneven)
    for i, x in enumerate(FIELDS):
        assert legs[x].shape == (alm_size(4),)
        for l in range(5):
            parts = [uneven[l, i, j] * full_order(fields[z], l) for j, z in enumerate(FIELDS)]
            np.testing.assert_allclose(full_order(legs[x], l), sum(parts), rtol=0, atol=1e-14)

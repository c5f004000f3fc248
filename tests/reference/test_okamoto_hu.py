"""The slow truth against what lies beneath it: exact remaps of a complete basis of skies, without a 3j symbol.

A Gaussian sky is Σ_k ξ_k b_k with independent unit ξ_k, so every ensemble average is a finite sum over the basis
b_k: nothing here is a Monte-Carlo estimate.
"""

from functools import lru_cache

import ducc0
import numpy as np
import pytest
from numpy.typing import NDArray
from sympy.physics.wigner import wigner_3j

from lensrec.sphere.alm import alm_ell, alm_index, alm_m, alm_size, lmax_of, scale_alm
from lensrec.sphere.grids import gauss_legendre_grid
from lensrec.sphere.sht import analysis, synthesis

from .okamoto_hu import KEYS, SOURCES, estimate, full_order, kernel, noise, response, weight, weight_matrix
from .wigner3j import coupling, wigner3j_row

LMAX_SKY, LMAX_SOURCE, LMAX_OUT = 5, 3, 8
ODD = {("phi", "EB"), ("phi", "BE"), ("phi", "TB"), ("phi", "BT")} | {
    ("omega", key) for key in ("TT", "TE", "ET", "EE")
}


def random_spectra(lmax: int, seed: int) -> dict[str, NDArray]:
    """Spectra without any symmetry to lean on: B as strong as E, TE of either sign, polarisation from l = 2."""
    rng = np.random.default_rng(seed)
    tt, ee, bb = rng.uniform(0.5, 2.0, (3, lmax + 1))
    te = rng.uniform(-0.8, 0.8, lmax + 1) * np.sqrt(tt * ee)
    return {"TT": tt, **{key: cl * (np.arange(lmax + 1) >= 2) for key, cl in (("EE", ee), ("BB", bb), ("TE", te))}}


def random_filters(lmax: int, ranges: dict[str, tuple[int, int]], seed: int) -> dict[str, NDArray]:
    rng = np.random.default_rng(seed)
    l = np.arange(lmax + 1)
    return {z: rng.uniform(0.5, 2.0, lmax + 1) * (l >= low) * (l <= high) for z, (low, high) in ranges.items()}


def filtered(legs: dict[str, NDArray], filters: dict[str, NDArray]) -> dict[str, NDArray]:
    return {z: np.stack([scale_alm(alm, filters[z]) for alm in legs[z]]) for z in "TEB"}


def random_potential(lmax: int, seed: int) -> NDArray:
    rng = np.random.default_rng(seed)
    alm = rng.standard_normal(alm_size(lmax)) + 1j * rng.standard_normal(alm_size(lmax))
    alm[: lmax + 1].imag = 0.0
    return alm * (alm_ell(lmax) > 0)


def basis_skies(cls: dict[str, NDArray]) -> NDArray:
    """Skies (n, 3, nalm) of T, E, B whose sum with independent unit normal factors has the given spectra."""
    lmax = len(cls["TT"]) - 1
    skies = []
    for i, (l, m) in enumerate(zip(alm_ell(lmax), alm_m(lmax), strict=True)):
        tt, ee, bb, te = (cls[key][l] for key in ("TT", "EE", "BB", "TE"))
        directions = [np.array([np.sqrt(tt), te / np.sqrt(tt), 0.0])]
        if l >= 2:
            directions += [np.array([0.0, np.sqrt(ee - te**2 / tt), 0.0]), np.array([0.0, 0.0, np.sqrt(bb)])]
        for direction in directions:
            for phase in (1.0,) if m == 0 else (np.sqrt(0.5), 1j * np.sqrt(0.5)):
                sky = np.zeros((3, alm_size(lmax)), dtype=complex)
                sky[:, i] = phase * direction
                skies.append(sky)
    return np.stack(skies)


def displaced(grid, deflection: NDArray, step: float) -> tuple[NDArray, NDArray]:
    """Ends of the geodesics of length step·|α|, (npix, 2), and the turn χ − χ' of their direction against e_θ."""
    theta = np.repeat(grid.theta, grid.nphi.astype(int))
    phi = np.concatenate([2 * np.pi * np.arange(n) / n for n in grid.nphi.astype(int)])
    length = np.hypot(*deflection) * abs(step)
    chi = np.arctan2(deflection[1] * np.sign(step), deflection[0] * np.sign(step))
    normal, south, east = polar_frame(theta, phi)
    tangent = np.cos(chi) * south + np.sin(chi) * east
    end = np.cos(length) * normal + np.sin(length) * tangent
    end_tangent = np.cos(length) * tangent - np.sin(length) * normal
    theta_end = np.arctan2(np.hypot(end[0], end[1]), end[2])
    phi_end = np.arctan2(end[1], end[0]) % (2 * np.pi)
    _, south, east = polar_frame(theta_end, phi_end)
    chi_end = np.arctan2((end_tangent * east).sum(0), (end_tangent * south).sum(0))
    return np.stack([theta_end, phi_end], axis=-1), chi - chi_end


def polar_frame(theta: NDArray, phi: NDArray) -> tuple[NDArray, NDArray, NDArray]:
    ct, st, cp, sp = np.cos(theta), np.sin(theta), np.cos(phi), np.sin(phi)
    return (
        np.stack([st * cp, st * sp, ct]),
        np.stack([ct * cp, ct * sp, -st]),
        np.stack([-sp, cp, np.zeros_like(phi)]),
    )


def remapped(sky: NDArray, positions: NDArray, turn: NDArray) -> NDArray:
    """T, Q, U at the displaced positions, polarisation carried back along the geodesic."""
    lmax = lmax_of(sky.shape[-1])
    at = {"lmax": lmax, "loc": positions, "epsilon": 3e-13, "nthreads": 1}
    t = ducc0.sht.synthesis_general(alm=sky[:1], spin=0, **at)[0]
    q, u = ducc0.sht.synthesis_general(alm=sky[1:], spin=2, **at)
    polarisation = (q + 1j * u) * np.exp(2j * turn)
    return np.stack([t, polarisation.real, polarisation.imag])


@lru_cache(maxsize=2)
def lensing_of_basis(source: str) -> tuple[dict, dict, dict, NDArray]:
    """Spectra, the basis skies, their first-order change by a random deflection (both to LMAX_OUT), and φ or Ω.

    The derivative along the deflection is taken by symmetric differences of exact remaps at steps h and 2h, the
    error of second order removed by combining the two.
    """
    cls = random_spectra(LMAX_SKY, seed=1)
    potential = random_potential(LMAX_SOURCE, seed=2)
    grid = gauss_legendre_grid(2 * LMAX_OUT + LMAX_SOURCE)
    l = alm_ell(LMAX_SOURCE)
    spin1 = np.zeros((2, len(potential)), dtype=complex)
    spin1[SOURCES.index(source)] = np.sqrt(l * (l + 1.0)) * potential
    scale = np.hypot(*synthesis(spin1, grid, 1)).max()
    potential, deflection = potential / scale, synthesis(spin1 / scale, grid, 1)
    h = 1e-3
    moves = {step: displaced(grid, deflection, step) for step in (h, -h, 2 * h, -2 * h)}
    skies = basis_skies(cls)
    changes = np.zeros((len(skies), 3, alm_size(LMAX_OUT)), dtype=complex)
    for sky, change in zip(skies, changes, strict=True):
        at = {step: remapped(sky, *move) for step, move in moves.items()}
        slope = (8 * (at[h] - at[-h]) - (at[2 * h] - at[-2 * h])) / (12 * h)
        change[0] = analysis(slope[0], grid, LMAX_OUT)
        change[1:] = analysis(slope[1:], grid, LMAX_OUT, 2)
    kept = alm_index(LMAX_OUT, alm_ell(LMAX_SKY), alm_m(LMAX_SKY))
    wide = np.zeros_like(changes)
    wide[..., kept] = skies
    return cls, {z: wide[:, i] for i, z in enumerate("TEB")}, {z: changes[:, i] for i, z in enumerate("TEB")}, potential


def all_orders(alm: NDArray) -> NDArray:
    """a_lm in one row per l of 2 LMAX_OUT + 1 orders, shape (n, LMAX_OUT + 1, 2 LMAX_OUT + 1)."""
    out = np.zeros((len(alm), LMAX_OUT + 1, 2 * LMAX_OUT + 1), dtype=complex)
    for l in range(LMAX_OUT + 1):
        out[:, l, LMAX_OUT - l : LMAX_OUT + l + 1] = full_order(alm, l)
    return out


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("key", KEYS)
def test_weights_are_the_first_order_covariance_of_remapped_skies(key, source):
    cls, skies, changes, potential = lensing_of_basis(source)
    x, y = (all_orders(skies[z]) for z in key)
    dx, dy = (all_orders(changes[z]) for z in key)
    covariance = np.einsum("kam,kbn->ambn", dx, y) + np.einsum("kam,kbn->ambn", x, dy)
    expected = np.zeros_like(covariance)
    f = [weight_matrix(key, L, LMAX_OUT, cls, source) for L in range(LMAX_SOURCE + 1)]
    for L, m in zip(alm_ell(LMAX_SOURCE), alm_m(LMAX_SOURCE), strict=True):
        psi = potential[alm_index(LMAX_SOURCE, L, m)]
        for l1 in range(LMAX_OUT + 1):
            for l2 in range(LMAX_OUT + 1):
                for m1 in range(max(-l1, m - l2), min(l1, m + l2) + 1):
                    term = f[L][l1, l2] * coupling(l1, l2, LMAX_SOURCE)[L, m1 + l1, m] * psi
                    expected[l1, m1 + LMAX_OUT, l2, m - m1 + LMAX_OUT] += term
    # Orders with m1 + m2 < 0 are conjugates of the others, which alone are built above.
    order = np.arange(-LMAX_OUT, LMAX_OUT + 1)
    covariance *= (order[:, None, None] + order >= 0)[None]
    # Differences leave some lmax (lmax h)^4 / 8 ~ 4e-10 and less on average (3e-11 seen), and rounding of
    # 1e-14 / h; elements reach 2.
    np.testing.assert_allclose(covariance, expected, rtol=0, atol=1e-9)
    assert abs(expected).max() > 0.05


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("key", KEYS)
def test_estimate_responds_with_R_to_its_own_source_and_not_to_the_other(key, source):
    cls, skies, changes, potential = lensing_of_basis(source)
    cls_w = random_spectra(7, seed=3)
    fx = random_filters(LMAX_OUT, {"T": (1, 7), "E": (2, 6), "B": (3, 8)}, seed=4)
    fy = random_filters(LMAX_OUT, {"T": (2, 8), "E": (3, 7), "B": (2, 7)}, seed=5)
    plus = {z: skies[z] + changes[z] for z in "TEB"}
    minus = {z: skies[z] - changes[z] for z in "TEB"}
    for other in SOURCES:
        # q is bilinear: the antithetic difference is its exact slope at any size of the change.
        q = [estimate(key, filtered(s, fx), filtered(s, fy), cls_w, 5, other).sum(0) for s in (plus, minus)]
        slope = (q[0] - q[1]) / 2
        expected = np.zeros_like(slope)
        if other == source:
            r = response(key, cls_w, cls, fx, fy, LMAX_SOURCE, source)
            index = alm_index(5, alm_ell(LMAX_SOURCE), alm_m(LMAX_SOURCE))
            expected[index] = r[alm_ell(LMAX_SOURCE)] * potential
            assert abs(expected).max() > 0.05
        # 3e-11 in each change, times weights, filters and some hundred pairs of modes (8e-10 seen); slopes reach 90.
        np.testing.assert_allclose(slope, expected, rtol=0, atol=1e-8)


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("key", KEYS)
def test_response_with_the_true_weights_is_positive(key, source):
    cls = random_spectra(12, seed=6)
    flat = {z: np.ones(13) for z in "TEB"}
    r = response(key, cls, cls, flat, flat, 10, source)
    assert r[0] == 0.0
    # A curl of L = 1 turns the sky as a whole, without trace in isotropic temperature. Polarisation is turned in
    # its axes besides, for the remap carries them along great circles: EE alone doesn't notice.
    unseen = source == "omega" and key in ("TT", "EE")
    assert (r[2 if unseen else 1 :] > 0).all()
    assert not unseen or r[1] < 1e-25


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize(
    ("key1", "key2"),
    [("TT", "TT"), ("TE", "TE"), ("TE", "ET"), ("EE", "TE"), ("TT", "EE"), ("EB", "EB"), ("EB", "BT"), ("TB", "EB")],
)
def test_noise_is_the_variance_over_gaussian_skies(key1, key2, source):
    lmax, lmax_L = 4, 4
    totals, cls_w = random_spectra(lmax, seed=7), random_spectra(lmax, seed=8)
    fx = random_filters(lmax, {"T": (1, 4), "E": (2, 4), "B": (2, 3)}, seed=9)
    fy = random_filters(lmax, {"T": (2, 4), "E": (2, 3), "B": (2, 4)}, seed=10)
    skies = basis_skies(totals)
    legs = {z: skies[:, i] for i, z in enumerate("TEB")}
    a = {z: alm[:, None] for z, alm in filtered(legs, fx).items()}
    b = {z: alm[None] for z, alm in filtered(legs, fy).items()}
    q1, q2 = (estimate(key, a, b, cls_w, lmax_L, source) for key in (key1, key2))
    # Wick: q = Σ ξ_k ξ_j q_kj has the connected covariance Σ q_kj (q'_kj + q'_jk)*.
    covariance = np.einsum("kjA,kjB->AB", q1, (q2 + q2.swapaxes(0, 1)).conj())
    n = noise(key1, key2, cls_w, fx, fy, totals, lmax_L, source)
    # Sums of some 1e4 products with cancellation among them, up to 2e3, in double precision; TT × EE of curl is
    # the smallest.
    np.testing.assert_allclose(covariance, np.diag(n[alm_ell(lmax_L)]), rtol=0, atol=1e-14 * max(abs(n).max(), 100))
    assert abs(n).max() > 1e-2


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("key", ["TT", "EE", "EB", "BE", "TB", "BT"])
def test_noise_equals_response_for_optimal_filters(key, source):
    lmax = 64
    cls = random_spectra(lmax, seed=11)
    l = np.arange(lmax + 1)
    totals = {pair: cl + 0.3 for pair, cl in cls.items() if pair != "TE"} | {"TE": cls["TE"]}
    filters = {z: (l >= low) / totals[z + z] for z, low in (("T", 3), ("E", 2), ("B", 5))}
    n = noise(key, key, cls, filters, filters, totals, lmax, source)
    r = response(key, cls, cls, filters, filters, lmax, source)
    # Identical terms, summed in another order: 65² of them to 1e-16 each. Curl at L = 1 is rounding alone.
    np.testing.assert_allclose(n, r, rtol=1e-12, atol=1e-25)


def test_noise_across_parities_is_zero():
    cls = random_spectra(8, seed=12)
    ones = {z: np.ones(9) for z in "TEB"}
    for even in ("TT", "TE", "EE"):
        for odd in ("TB", "EB"):
            assert not noise(even, odd, cls, ones, ones, cls, 6).any()


@pytest.mark.parametrize("source", SOURCES)
def test_weights_have_parity_and_swap_symmetry(source):
    lmax, cls = 9, random_spectra(9, seed=13)
    l = np.arange(lmax + 1)
    for key in KEYS:
        for L in range(7):
            f = weight_matrix(key, L, lmax, cls, source)
            odd = (l[:, None] + l + L) % 2 == 1
            wanted = odd if (source, key) in ODD else ~odd
            assert not f[~wanted].any()
            assert not (f.real[odd]).any()
            assert not (f.imag[~odd]).any()
            assert not f[(l[:, None] + l < L) | (abs(l[:, None] - l) > L)].any()
            swapped = weight_matrix(key[::-1], L, lmax, cls, source).T
            np.testing.assert_array_equal(swapped, np.where(odd, -f, f))


def test_weights_are_those_written_in_the_docstring():
    cls, cases = random_spectra(9, seed=14), [(4, 3, 5), (5, 4, 5), (7, 2, 6), (6, 5, 8), (2, 6, 7)]
    for l1, L, l2 in cases:
        even, odd = 1 - (l1 + L + l2) % 2, (l1 + L + l2) % 2
        one, two = ({key: cl[l] for key, cl in cls.items()} for l in (l1, l2))
        (k0, k0s), (k2, k2s) = ((kernel(s, L, 9)[l1, l2], kernel(s, L, 9)[l2, l1]) for s in (0, 2))
        (h0, h0s), (h2, h2s) = ((kernel(s, L, 9, "omega")[l1, l2], kernel(s, L, 9, "omega")[l2, l1]) for s in (0, 2))
        phi = {
            "TT": even * (k0 * two["TT"] + k0s * one["TT"]),
            "TE": even * (k0 * two["TE"] + k2s * one["TE"]),
            "ET": even * (k2 * two["TE"] + k0s * one["TE"]),
            "EE": even * (k2 * two["EE"] + k2s * one["EE"]),
            "EB": -1j * odd * (k2 * two["BB"] + k2s * one["EE"]),
            "BE": 1j * odd * (k2 * two["EE"] + k2s * one["BB"]),
            "TB": -1j * odd * k2s * one["TE"],
            "BT": 1j * odd * k2 * two["TE"],
        }
        omega = {
            "TT": -1j * odd * (h0 * two["TT"] - h0s * one["TT"]),
            "TE": -1j * odd * (h0 * two["TE"] - h2s * one["TE"]),
            "ET": -1j * odd * (h2 * two["TE"] - h0s * one["TE"]),
            "EE": -1j * odd * (h2 * two["EE"] - h2s * one["EE"]),
            "EB": even * (h2s * one["EE"] - h2 * two["BB"]),
            "BE": even * (h2 * two["EE"] - h2s * one["BB"]),
            "TB": even * h2s * one["TE"],
            "BT": even * h2 * two["TE"],
        }
        for key in KEYS:
            assert weight(key, l1, L, l2, cls) == pytest.approx(phi[key], rel=1e-14, abs=1e-14)
            assert weight(key, l1, L, l2, cls, "omega") == pytest.approx(omega[key], rel=1e-14, abs=1e-14)


@pytest.mark.parametrize("spin", [0, 2])
def test_gradient_kernel_is_that_of_okamoto_and_hu(spin):
    lmax = 20
    l1 = np.arange(lmax + 1)[:, None]
    l2 = np.arange(lmax + 1)
    for L in range(lmax + 1):
        symbol = np.stack([wigner3j_row(l, L, -spin, 0, lmax) for l in l2], axis=1)
        gamma = np.sqrt((2 * l1 + 1) * (2 * l2 + 1) * (2 * L + 1) / (16 * np.pi))
        closed = (L * (L + 1) + l2 * (l2 + 1) - l1 * (l1 + 1)) * gamma * symbol
        # Elements reach 1e3; the recursion for the symbols is good to some 1e-15 of that.
        np.testing.assert_allclose(kernel(spin, L, lmax), closed, rtol=0, atol=1e-11)


def test_swapping_equal_fields_changes_nothing_and_TE_of_AB_is_ET_of_BA():
    cls = random_spectra(8, seed=15)
    a, b = ({z: random_potential(lmax, seed)[None] for z in "TEB"} for lmax, seed in ((8, 16), (6, 17)))
    for source in SOURCES:
        for key in ("TT", "EE", "TE", "EB", "TB"):
            ab = estimate(key, a, b, cls, 7, source)
            ba = estimate(key[::-1], b, a, cls, 7, source)
            # The same 1e3 terms in another order; the largest q is of order 1e3.
            np.testing.assert_allclose(ab, ba, rtol=0, atol=1e-13 * abs(ab).max())
            assert abs(ab).max() > 1


def test_estimates_are_of_real_fields():
    # A rotation by π/2 about the pole multiplies X_lm by i^−m, and must do the same to q_LM; the order 0 is real.
    cls = random_spectra(6, seed=18)
    legs = {z: random_potential(6, seed)[None] for z, seed in (("T", 19), ("E", 20), ("B", 21))}
    turned = {z: alm * (-1j) ** alm_m(6) for z, alm in legs.items()}
    for source in SOURCES:
        for key in KEYS:
            q = estimate(key, legs, legs, cls, 6, source)
            size = abs(q).max()
            assert abs(q[0, :7].imag).max() < 1e-14 * size
            q_turned = estimate(key, turned, turned, cls, 6, source)
            np.testing.assert_allclose(q_turned, q * (-1j) ** alm_m(6), rtol=0, atol=1e-14 * size)


def test_symbols_agree_with_sympy():
    for l2, l3, m2, m3 in ((2, 3, 1, -2), (5, 4, -1, 2), (10, 12, -3, 1), (24, 20, 7, -20), (6, 6, 0, 0), (3, 0, 2, 0)):
        row = wigner3j_row(l2, l3, m2, m3, 30)
        exact = [float(wigner_3j(l1, l2, l3, -m2 - m3, m2, m3)) for l1 in range(31)]
        # Stable three-term recursion in double precision, values below one.
        np.testing.assert_allclose(row, exact, rtol=0, atol=1e-14)
    assert not wigner3j_row(1, 4, 2, -2, 9).any()
    assert not wigner3j_row(4, 1, 2, -2, 9).any()


def test_symbols_are_orthonormal_at_high_multipoles():
    for l2, l3 in ((64, 64), (64, 30)):
        rows = np.stack([wigner3j_row(l2, l3, m2, 1 - m2, l2 + l3) for m2 in range(-l3 + 1, l3 + 1)])
        gram = rows * (2 * np.arange(l2 + l3 + 1) + 1) @ rows.T
        # Sums of 129 terms, each to 1e-15.
        np.testing.assert_allclose(gram, np.eye(len(rows)), rtol=0, atol=1e-12)


def test_couplings_carry_sign_and_order():
    table = coupling(3, 4, 5)
    for L, m1, m in ((2, -3, 1), (5, 2, 5), (1, 0, 0), (4, 3, 2)):
        exact = (-1) ** m * float(wigner_3j(3, 4, L, m1, m - m1, -m))
        assert table[L, m1 + 3, m] == pytest.approx(exact, abs=1e-14)


def test_unknown_key_or_source_is_refused():
    with pytest.raises(ValueError, match="key must be one of"):
        weight("PP", 2, 2, 2, {})
    with pytest.raises(ValueError, match="source must be one of"):
        weight("TT", 2, 2, 2, {}, "kappa")

"""The primary sky: spectra and cross-spectra against their input, seeds, and refusals."""

import numpy as np
import pytest

from lensrec.sky.primary import cholesky_by_ell, draw_curl, draw_primary
from lensrec.sky.random import unit_alm
from lensrec.sphere.alm import alm_size, alm_to_cl, resize_alm, scale_alm

LMAX = 120
ELL = np.arange(LMAX + 1.0)
KEYS = ("TT", "EE", "BB", "TE", "PP", "TP", "EP")


def inputs(lmax=LMAX, *, tensors=True):
    """Red spectra whose correlations change sign along ℓ, zero below ℓ = 2."""
    ell = np.arange(lmax + 1.0)
    base = np.where(ell > 1, 1 / np.maximum(ell, 1) ** 2, 0)
    tt, ee, pp = 1e3 * base, 20 * base / np.maximum(ell, 1), 1e-7 * base**2
    te = 0.7 * np.cos(ell / 9) * np.sqrt(tt * ee)
    tp = 0.4 * np.cos(ell / 20) * np.sqrt(tt * pp)
    ep = -0.3 * np.cos(ell / 30) * np.sqrt(ee * pp)
    bb = 0.1 * ee if tensors else 0 * ee
    return {"TT": tt, "EE": ee, "BB": bb, "TE": te}, {"PP": pp, "TP": tp, "EP": ep}


def spectrum_of(teb, phi):
    fields = {"T": teb[0], "E": teb[1], "B": teb[2], "P": phi}
    return lambda key: alm_to_cl(fields[key[0]], fields[key[1]])


def assert_spectra(measure, theory, skies, keys, sigmas=5.0):
    """Σ over ℓ of the whitened misfit, and its χ², against the Gaussian variance (C_xx C_yy + C_xy²)/(2ℓ+1)."""
    for key in keys:
        a, b = theory[key[0] * 2], theory[key[1] * 2]
        cross = theory.get(key, np.zeros(LMAX + 1))
        variance = (a * b + cross**2) / (2 * ELL + 1) / skies
        pull = (measure[key] - cross)[2:] / np.sqrt(variance[2:])
        assert abs(pull.sum()) < sigmas * np.sqrt(len(pull)), key
        # the square of a pull has variance 2 + 12/ν at most, with ν = skies (2ℓ+1) degrees of freedom
        spread = np.sqrt((2 + 12 / (skies * (2 * ELL[2:] + 1))).sum())
        assert abs((pull**2).sum() - len(pull)) < sigmas * spread, key


def means(draws):
    keys = [*KEYS, "TB", "EB", "BP"]
    spectra = [[spectrum_of(*draw)(key) for key in keys] for draw in draws]
    return dict(zip(keys, np.mean(spectra, axis=0), strict=True))


def test_spectra_and_cross_spectra_are_those_asked_for():
    """Ten spectra, two 5σ bounds each: false alarms 1.2e-5."""
    spectra, potential = inputs()
    measured = means([draw_primary(spectra, potential, LMAX, seed=1, sim=i) for i in range(40)])
    assert_spectra(measured, spectra | potential, 40, measured)


def test_fields_are_the_cholesky_factor_times_the_draws_of_their_names():
    """With the covariance of (φ, T, E) worked out by hand, and φ named apart from the CMB."""
    spectra, potential = inputs()
    teb, phi = draw_primary(spectra, potential, LMAX, seed=1, sim=2, phi_seed=3, phi_sim=4)
    g_phi = unit_alm(LMAX, seed=3, sim=4, component="phi")
    g_t, g_e, g_b = (unit_alm(LMAX, seed=1, sim=2, component=c) for c in "TEB")
    low, part = ELL < 2, {}
    tt, ee, bb, te, pp, tp, ep = (np.where(low, 1.0, (spectra | potential)[key]) for key in KEYS)
    part["Tφ"], part["Eφ"] = tp / np.sqrt(pp), ep / np.sqrt(pp)
    part["TT"] = np.sqrt(tt - tp**2 / pp, where=~low, out=np.zeros(LMAX + 1))
    part["ET"] = np.divide(te - tp * ep / pp, part["TT"], where=~low, out=np.zeros(LMAX + 1))
    part["EE"] = np.sqrt(ee - ep**2 / pp - part["ET"] ** 2, where=~low, out=np.zeros(LMAX + 1))
    part["BB"], part["φφ"] = np.sqrt(bb), np.sqrt(pp)
    for name in part:
        part[name] = np.where(low, 0.0, part[name])
    expected = [
        scale_alm(g_phi, part["Tφ"]) + scale_alm(g_t, part["TT"]),
        scale_alm(g_phi, part["Eφ"]) + scale_alm(g_t, part["ET"]) + scale_alm(g_e, part["EE"]),
        scale_alm(g_b, part["BB"]),
    ]
    # differences of variances lose one digit of fifteen
    for got, wanted in zip(teb, expected, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-14 * np.abs(wanted).max())
    np.testing.assert_allclose(phi, scale_alm(g_phi, part["φφ"]), rtol=1e-14, atol=0)


def test_cmb_of_another_seed_keeps_phi_and_its_correlations_with_it():
    """As above, with one φ for all skies: C^Tφ then follows the φ that there is, with less scatter."""
    spectra, potential = inputs()
    draws = [draw_primary(spectra, potential, LMAX, seed=100, sim=i, phi_seed=4, phi_sim=2) for i in range(40)]
    phi = draws[0][1]
    for _, other in draws[1:]:
        np.testing.assert_array_equal(other, phi)
    np.testing.assert_array_equal(draw_primary(spectra, potential, LMAX, seed=4, sim=2)[1], phi)
    power = alm_to_cl(phi)
    for row, auto, key in ((0, "TT", "TP"), (1, "EE", "EP")):
        got = np.mean([alm_to_cl(teb[row], phi) for teb, _ in draws], axis=0)[2:]
        slope = (potential[key] / np.where(potential["PP"] > 0, potential["PP"], 1))[2:]
        left = (spectra[auto][2:] - slope**2 * potential["PP"][2:]) * power[2:] / (2 * ELL[2:] + 1) / 40
        pull = (got - slope * power[2:]) / np.sqrt(left)
        assert abs(pull.sum()) < 5 * np.sqrt(len(pull))  # 5σ
        assert abs((pull**2).sum() - len(pull)) < 5 * np.sqrt(2 * len(pull))
    # and the CMB skies share nothing but φ: two of them correlate by their common part alone
    a, b = draws[0][0][2], draws[1][0][2]
    pull = alm_to_cl(a, b)[2:] / (spectra["BB"][2:] / np.sqrt(2 * ELL[2:] + 1))
    assert abs(pull.sum()) < 5 * np.sqrt(len(pull))


def test_seeds_sims_and_names_are_apart():
    spectra, potential = inputs()
    first, phi = draw_primary(spectra, potential, LMAX, seed=1, sim=0)
    for seed, sim in ((2, 0), (1, 1), (0, 1)):
        other, other_phi = draw_primary(spectra, potential, LMAX, seed=seed, sim=sim)
        for a, b, auto in ((*pair, key) for *pair, key in zip(first, other, ("TT", "EE", "BB"), strict=True)):
            pull = alm_to_cl(a, b)[2:] / (spectra[auto][2:] / np.sqrt(2 * ELL[2:] + 1))
            assert abs(pull.sum()) < 5 * np.sqrt(len(pull))
        assert not np.array_equal(phi, other_phi)
    omega = draw_curl(potential["PP"], LMAX, seed=1, sim=0)
    for key, field in (("TT", first[0]), ("EE", first[1]), ("BB", first[2]), ("PP", phi)):
        auto = (spectra | potential)[key]
        pull = alm_to_cl(omega, field)[2:] / np.sqrt(auto[2:] * potential["PP"][2:] / (2 * ELL[2:] + 1))
        assert abs(pull.sum()) < 5 * np.sqrt(len(pull))


def test_curl_has_its_spectrum():
    cl = inputs()[1]["PP"]
    measured = np.mean([alm_to_cl(draw_curl(cl, LMAX, seed=7, sim=i)) for i in range(20)], axis=0)
    pull = (measured / np.where(cl > 0, cl, 1) - 1)[2:] * np.sqrt(20 * (2 * ELL[2:] + 1) / 2)
    assert abs(pull.sum()) < 5 * np.sqrt(len(pull))


@pytest.mark.parametrize("low", [2, 50, 119])
def test_same_seed_at_another_lmax_keeps_the_low_multipoles(low):
    spectra, potential = inputs()
    high = draw_primary(spectra, potential, LMAX, seed=9, sim=3)
    cut = draw_primary(spectra, potential, low, seed=9, sim=3, nthreads=1)
    np.testing.assert_array_equal(cut[0], resize_alm(high[0], low))
    np.testing.assert_array_equal(cut[1], resize_alm(high[1], low))


def test_no_tensors_no_b_modes_and_nothing_else_moves():
    with_b, _ = draw_primary(*inputs(), LMAX, seed=1, sim=0)
    spectra, potential = inputs(tensors=False)
    without, _ = draw_primary(spectra, potential, LMAX, seed=1, sim=0)
    del spectra["BB"]
    left_out, _ = draw_primary(spectra, potential, LMAX, seed=1, sim=0)
    assert not without[2].any()
    assert with_b[2].any()
    np.testing.assert_array_equal(without[:2], with_b[:2])
    np.testing.assert_array_equal(without, left_out)


def test_degenerate_and_zero_fields():
    spectra, potential = inputs()
    nothing = {"PP": np.zeros(LMAX + 1)}
    teb, phi = draw_primary(spectra, nothing, LMAX, seed=1, sim=0)
    assert not phi.any()
    assert teb.any(axis=1).all()
    # E that is T's image, to the last bit of correlation: a Cholesky pivot of zero
    copy = {"TT": spectra["TT"], "EE": 0.25 * spectra["TT"], "TE": 0.5 * spectra["TT"]}
    teb, _ = draw_primary(copy, {"PP": potential["PP"]}, LMAX, seed=1, sim=0)
    np.testing.assert_allclose(teb[1], 0.5 * teb[0], rtol=1e-14, atol=0)  # a few roundings
    zeros = dict.fromkeys(("TT", "EE", "TE"), np.zeros(LMAX + 1))
    assert not np.any(draw_primary(zeros, nothing, LMAX, seed=1, sim=0)[0])


def test_cholesky_factor_gives_the_covariance_back():
    rng = np.random.default_rng(2)
    root = rng.standard_normal((4, 4, 30)) * 10.0 ** rng.uniform(-8, 3, (4, 1, 30))
    covariance = np.einsum("ikl,jkl->ijl", root, root)
    factor = cholesky_by_ell(covariance, ("a", "b", "c", "d"))
    scale = np.sqrt(np.einsum("iil,jjl->ijl", covariance, covariance))
    # 1e-14: some 20 operations on a correlation matrix
    assert (np.abs(np.einsum("ikl,jkl->ijl", factor, factor) - covariance) / scale).max() < 1e-14
    np.testing.assert_allclose(
        np.moveaxis(factor, -1, 0), np.linalg.cholesky(np.moveaxis(covariance, -1, 0)), rtol=1e-6
    )
    assert not factor[np.triu_indices(4, 1)].any()


def broken(key, value, ell=37):
    spectra, potential = inputs()
    where = spectra if key in spectra else potential
    where[key] = where[key].copy()
    where[key][ell] = value
    return spectra, potential


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("TT", -1.0, "spectrum of T is negative at ℓ = 37"),
        ("EE", -1.0, "spectrum of E is negative at ℓ = 37"),
        ("BB", -1.0, "BB spectrum is negative at ℓ = 37"),
        ("PP", -1.0, "spectrum of φ is negative at ℓ = 37"),
        ("TE", 1e3, "covariance of φ, T, E is not positive at ℓ = 37"),
        ("TP", 1e3, "covariance of φ, T, E is not positive at ℓ = 37"),
        ("EP", 1e3, "covariance of φ, T, E is not positive at ℓ = 37"),
        ("PP", 0.0, "φ has no power of its own but a cross-spectrum at ℓ = 37"),
        ("EE", 0.0, "E has no power of its own but a cross-spectrum at ℓ = 37"),
        ("TT", np.nan, "spectrum TT is not finite at ℓ = 37"),
        ("EP", np.inf, "spectrum EP is not finite at ℓ = 37"),
    ],
)
def test_impossible_spectra_are_refused_with_their_multipole(key, value, message):
    with pytest.raises(ValueError, match=message):
        draw_primary(*broken(key, value), LMAX, seed=0, sim=0)


def test_correlation_left_by_a_degenerate_field_is_refused():
    one = np.ones(3)
    # a and b are the same field, and yet c correlates with them differently
    covariance = np.array([[one, one, 0.5 * one], [one, one, 0.2 * one], [0.5 * one, 0.2 * one, one]])
    with pytest.raises(ValueError, match="covariance of c with the rest is not positive at ℓ = 0"):
        cholesky_by_ell(covariance, ("a", "b", "c"))


def test_missing_and_short_spectra_are_refused():
    spectra, potential = inputs()
    with pytest.raises(ValueError, match="spectrum EE is missing; given are TE, TT"):
        draw_primary({k: spectra[k] for k in ("TT", "TE")}, potential, LMAX, seed=0, sim=0)
    with pytest.raises(ValueError, match="must run from ℓ = 0 to lmax = 121"):
        draw_primary(spectra, potential, LMAX + 1, seed=0, sim=0)
    with pytest.raises(ValueError, match="Ω spectrum is negative at ℓ = 1"):
        draw_curl([0.0, -1.0], 1, seed=0, sim=0)
    with pytest.raises(ValueError, match="sim must not be negative"):
        draw_primary(spectra, potential, LMAX, seed=0, sim=-1)
    teb, phi = draw_primary(spectra, potential, LMAX, seed=0, sim=0)
    assert teb.shape == (3, alm_size(LMAX))
    assert phi.shape == (alm_size(LMAX),)

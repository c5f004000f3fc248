"""Lensed spectra against first-order sums over 3j symbols, CAMB, and identities."""

import ducc0
import numpy as np
import pytest
from numpy.polynomial import Legendre

from lensrec.sphere.wigner import wigner_sum
from lensrec.theory.lensing import TOLERANCE, _separate_exponential, gradient_spectra, lensed_spectra
from lensrec.theory.spectra import extended

CMB = ("TT", "EE", "BB", "TE")


def random_spectra(lmax, seed):
    """Positive definite, with E and B of like size, so that every mixing shows."""
    rng = np.random.default_rng(seed)
    ell = np.arange(lmax + 1)
    cls = {key: rng.uniform(0.5, 2.0, lmax + 1) / (ell + 1) for key in ("TT", "EE", "BB")}
    cls["TE"] = rng.uniform(-0.9, 0.9, lmax + 1) * np.sqrt(cls["TT"] * cls["EE"])
    for key in ("EE", "BB", "TE"):
        cls[key][:2] = 0.0
    return cls


def small_phi(lmax, seed, variance):
    """C_L^phiphi of a deflection of the given variance."""
    ell = np.arange(lmax + 1)
    cl = np.random.default_rng(seed).uniform(0.5, 2.0, lmax + 1) / (ell + 1.0) ** 3
    cl[0] = 0.0
    return cl * variance * 4 * np.pi / np.sum((2 * ell + 1) * ell * (ell + 1) * cl)


def relative_to_auto(got, expected, key, norm):
    scale = np.sqrt(norm["TT"] * norm["EE"]) if key == "TE" else norm[key]
    error = np.abs(got[key] - expected[key])
    return np.divide(error, scale, out=np.zeros_like(error), where=scale > 0)


def three_j(l1, l2, l3, m2, m3):
    """(l1 l2 l3; -m2-m3 m2 m3), zero where there is none."""
    if l1 < max(abs(l2 - l3), abs(m2 + m3)) or l1 > l2 + l3 or abs(m2) > l2 or abs(m3) > l3:
        return 0.0
    first, values = ducc0.misc.wigner3j_int(l2, l3, m2, m3)
    return values[l1 - first] if l1 >= first else 0.0


def first_order(cl, s, t, cl_phi, lmax):
    """dC~_l of fields of spins s, t to first order in C^phiphi (Hu 2000, astro-ph/0001303, for any two spins).

    F^s_{l l1 l2} = (-1)^s [l1(l1+1) + l2(l2+1) - l(l+1)] / 2 sqrt((2l+1)(2l1+1)(2l2+1)/4pi) (l l1 l2; s 0 -s).
    """
    ell = np.arange(len(cl_phi))
    variance = np.sum((2 * ell + 1) * ell * (ell + 1) * cl_phi) / (4 * np.pi)
    change = np.zeros(lmax + 1)
    for l in range(max(abs(s), abs(t)), lmax + 1):
        change[l] = -variance / 4 * (2 * l * (l + 1) - s * s - t * t) * cl[l]
        for l1 in range(1, len(cl_phi)):
            for l2 in range(max(abs(l - l1), abs(s), abs(t)), min(l + l1, len(cl) - 1) + 1):
                factor = 0.5 * (l1 * (l1 + 1) + l2 * (l2 + 1) - l * (l + 1))
                modes = (-1) ** (s - t) * (2 * l1 + 1) * (2 * l2 + 1) / (4 * np.pi)
                both = three_j(l, l1, l2, 0, -s) * three_j(l, l1, l2, 0, -t)
                change[l] += cl_phi[l1] * cl[l2] * factor**2 * both * modes
    return change


def ladder(lmax, s, step):
    ell = np.arange(lmax + 1.0)
    return np.sqrt(np.maximum((ell - step * s) * (ell + step * s + 1), 0.0)) * (ell >= max(abs(s), abs(s + step)))


def odd_part(function, cls, cl_phi, lmax):
    """(f(phi) - f(-phi))/2: the first order, up to thirds."""
    plus, minus = (function(cls, cl_phi, lmax=lmax, amplitude=a) for a in (1.0, -1.0))
    return {key: (plus[key] - minus[key]) / 2 for key in CMB}


def test_first_order_is_exact_on_the_sphere():
    lmax, top = 20, 18
    cls, cl_phi = random_spectra(lmax, 1), small_phi(14, 2, 1e-6)
    got = odd_part(lensed_spectra, cls, cl_phi, top)
    plus = first_order(cls["EE"] + cls["BB"], 2, 2, cl_phi, top)
    minus = first_order(cls["EE"] - cls["BB"], 2, -2, cl_phi, top)
    expected = {
        "TT": first_order(cls["TT"], 0, 0, cl_phi, top),
        "EE": (plus + minus) / 2,
        "BB": (plus - minus) / 2,
        "TE": first_order(cls["TE"], 2, 0, cl_phi, top),
    }
    for key in CMB:
        # l(l+1) times the variance is 4e-4, and its third power over its first 2e-7 / 24
        np.testing.assert_allclose(got[key], expected[key], atol=3e-8 * np.max(np.abs(expected[key])))


def test_first_order_of_gradient_spectra_is_exact_on_the_sphere():
    lmax, top = 20, 18
    cls, cl_phi = random_spectra(lmax, 3), small_phi(14, 4, 1e-6)
    got = odd_part(gradient_spectra, cls, cl_phi, top)

    def divergence(cl, s, t):
        sides = [(ladder(lmax, t, step), t + step) for step in ((1, -1) if t else (1,))]
        total = sum(a[: top + 1] * first_order(a * cl, s, to, cl_phi, top) for a, to in sides)
        norm = sum(a[: top + 1] ** 2 for a, _ in sides)
        return np.where(norm > 0, total / np.where(norm > 0, norm, 1), 0.0)

    plus = divergence(cls["EE"] + cls["BB"], 2, 2)
    minus = divergence(cls["EE"] - cls["BB"], -2, 2)
    expected = {
        "TT": divergence(cls["TT"], 0, 0),
        "EE": (plus + minus) / 2,
        "BB": (plus - minus) / 2,
        "TE": divergence(cls["TE"], 0, 2),
    }
    for key in CMB:
        # as above
        np.testing.assert_allclose(got[key], expected[key], atol=3e-8 * np.max(np.abs(expected[key])))


def displaced_mean(cl, cl_phi, beta):
    """⟨ξ(β′)⟩ of two points β apart, displaced by Gaussian ∇φ: of four numbers, along and across the arc."""
    x, w = np.polynomial.hermite_e.hermegauss(8)
    units, shares = np.meshgrid(x, x, x, x), np.meshgrid(*[w / w.sum()] * 4)

    def series(power):
        return Legendre((2 * np.arange(len(power)) + 1) / (4 * np.pi) * power)

    # ⟨∂φ ∂φ⟩ along the arc is −ξ″(β), and across it −ξ′(β)/sin β
    first, second = series(cl_phi).deriv(1)(np.cos(beta)), series(cl_phi).deriv(2)(np.cos(beta))
    variance = series(cl_phi).deriv(1)(1.0)
    points = []
    covariances = (first * np.cos(beta) - second * np.sin(beta) ** 2, first)
    roots = [np.linalg.cholesky([[variance, c], [c, variance]]) for c in covariances]
    for end, at in enumerate((0.0, beta)):
        along, across = (root[end, 0] * units[2 * k] + root[end, 1] * units[2 * k + 1] for k, root in enumerate(roots))
        size = np.hypot(along, across)
        sinc = np.sinc(size / np.pi)
        here, there = np.array([np.cos(at), np.sin(at)]), np.array([-np.sin(at), np.cos(at)])
        plane = np.multiply.outer(here, np.cos(size)) + np.multiply.outer(there, sinc * along)
        points.append(np.array([*plane, sinc * across]))
    return np.sum(np.prod(shares, axis=0) * series(cl)(np.sum(points[0] * points[1], axis=0)))


def test_second_order_is_the_mean_over_displaced_points():
    """T at 400 <= l <= 500 behind lenses of L <= 30; 2 f(0) − 5 f(1) + 4 f(2) − f(3) has no orders 0, 1 and 3."""
    ell, big_l = np.arange(651), np.arange(31.0)
    cl = np.where((ell >= 400) & (ell <= 500), 1.0 / np.maximum(ell, 1.0) ** 2, 0.0)
    cl_phi = np.where(big_l >= 2, 1.0 / np.maximum(big_l * (big_l + 1), 1.0) ** 2, 0.0)
    cl_phi *= 2.5e-4**2 / np.sum((2 * big_l + 1) / (4 * np.pi) * big_l * (big_l + 1) * cl_phi)
    beta = np.linspace(0.02, 0.2, 10)
    stencil = ((0.0, 2), (1.0, -5), (2.0, 4), (3.0, -1))
    spectrum = sum(factor * lensed_spectra({"TT": cl}, cl_phi, amplitude=a)["TT"] for a, factor in stencil)
    got = wigner_sum(spectrum, 0, 0, beta)
    displaced = [[factor * displaced_mean(cl, a * cl_phi, b) for b in beta] for a, factor in stencil[1:]]
    expected = 2 * wigner_sum(cl, 0, 0, beta) + np.sum(displaced, axis=0)
    # the sphere's curvature is left out of the second order: a part of 1/l, measured 1.5e-4 of it at 250, 6e-5 here and
    # 3e-5 at 850; 1 % off either term in C_gl,2² would be 4.3e-4
    np.testing.assert_allclose(got, expected, rtol=0, atol=1.5e-4 * np.max(np.abs(expected)))


def carried_on(unlensed, cl_phi, cmb_end, phi_end):
    """Unlensed spectra and C^phiphi with power beyond their end; CAMB's lensing does likewise, by a template."""
    cls = {key: extended(unlensed[key], cmb_end, law="exponential") for key in ("TT", "EE")}
    cls["TE"] = np.concatenate([unlensed["TE"], np.zeros(cmb_end + 1 - len(unlensed["TE"]))])
    return cls, extended(cl_phi, phi_end, law="power")


def test_agrees_with_camb(theory):
    # CAMB's correlation functions, over the full range of angles, to second order in C_gl,2
    expected = theory.truncated(3000).lensed
    got = lensed_spectra(*carried_on(theory.unlensed, theory.potential["PP"], 5500, 8000), lmax=3000)
    # It takes C_gl(beta) as if the sphere were flat: 1e-6, and 4e-6 in E at l = 2. Power beyond l = 4000 is a
    # power law here and a template there: 6e-5 at l = 3000, 1e-6 at 1000.
    for key in ("TT", "EE", "TE"):
        error = relative_to_auto(got, expected, key, expected)
        assert np.max(error[2:]) < 1e-4, key
        assert np.max(error[2:1000]) < 1e-5, key
    # its C_gl,2 terms have l(l+1) for sqrt((l+2)(l-1)...), 1.0e-3 in B at l = 2 and 1e-4 at l = 30
    error = relative_to_auto(got, expected, "BB", expected)
    assert np.max(error[2:]) < 1.2e-3
    assert np.max(error[30:]) < 2e-4


def test_gradient_spectra_agree_with_cambs_flat_sky_ones():
    import camb

    from lensrec.theory.boltzmann import FIDUCIAL

    results = camb.get_results(camb.set_params(**FIDUCIAL, lmax=2500, lens_potential_accuracy=1))
    end = results.Params.max_l
    unlensed = dict(zip(CMB, results.get_unlensed_scalar_cls(end, CMB_unit="muK", raw_cl=True).T, strict=True))
    cl_phi = results.get_lens_potential_cls(end, raw_cl=True)[:, 0]
    # CAMB's flat sum has L^3 J(L beta) where the sphere has L(L+1)(L+1/2) d^L, close to J((L+1/2) beta): it lacks
    # 2 % of lensing unless it gets C^phiphi half a multipole lower down
    ell = np.arange(end + 1.0)
    half = np.maximum(ell - 0.5, 2.0)
    steep = np.interp(half, ell, cl_phi * ell**4) / half**4 * (1 - 0.25 / np.maximum(ell, 1) ** 2)
    table = results.get_lensed_gradient_cls(
        1500, CMB_unit="muK", raw_cl=True, clpp=(ell * (ell + 1)) ** 2 * steep / (2 * np.pi)
    )
    expected = dict(zip(CMB, table[:, [0, 1, 2, 4]].T, strict=True))
    got = gradient_spectra(*carried_on(unlensed, cl_phi, 5000, 5000), lmax=1500)
    # Flat-sky errors are 1/l of the change by lensing. CAMB's TE is to first order in C_gl,2 only, which is 3e-4 here.
    for key, bound in (("TT", 2e-4), ("EE", 2e-4), ("BB", 1e-3), ("TE", 5e-4)):
        assert np.max(relative_to_auto(got, expected, key, expected)[100:]) < bound, key


def test_no_lensing_returns_the_input(theory):
    cl_phi = theory.potential["PP"]
    for function in (lensed_spectra, gradient_spectra):
        got = function(theory.truncated(500).unlensed, cl_phi, lmax=400, amplitude=0.0)
        for key in CMB:
            np.testing.assert_array_equal(got[key], theory.unlensed[key][:401])


def test_amplitude_multiplies_the_spectrum():
    cls, cl_phi = random_spectra(60, 5), small_phi(40, 6, 1e-4)
    for amplitude in (-0.4, 1.3):
        got = lensed_spectra(cls, cl_phi, amplitude=amplitude)
        expected = lensed_spectra(cls, amplitude * cl_phi)
        for key in CMB:
            np.testing.assert_allclose(got[key], expected[key], rtol=1e-13)


def test_successive_lensings_add_up_to_second_order(theory):
    cls, cl_phi = theory.truncated(2000).unlensed, theory.truncated(2000).potential["PP"]

    def gap(x, y):
        twice = lensed_spectra(lensed_spectra(cls, cl_phi, amplitude=x), cl_phi, amplitude=y)
        once = lensed_spectra(cls, cl_phi, amplitude=x + y)
        return np.array([np.max(relative_to_auto(twice, once, key, once)[2:1200]) for key in ("TT", "EE", "TE")])

    # lensing changes the spectra by up to 6 %; a second screen sees the first one's deflections displaced,
    # a part of 6 % squared
    for x, y in ((0.4, 0.4), (1.0, -1.0)):
        assert np.all(gap(x, y) < 4e-3 * abs(x * y))
    # second order: a quarter for half the amplitudes, the third order being a tenth of the second
    np.testing.assert_allclose(gap(0.4, 0.4) / gap(0.2, 0.2), 4.0, rtol=0.15)


def test_total_power_is_conserved(theory):
    # xi(0) does not know of lensing. From spectra that end at 600, power beyond l = 2400 is less than rounding;
    # beyond 1500 it was 1e-8 of EE.
    pad = np.zeros(1800)
    cls = {key: np.concatenate([theory.unlensed[key][:601], pad]) for key in ("TT", "EE", "BB")}
    got = lensed_spectra(cls, theory.potential["PP"][:601])
    weights = 2 * np.arange(2401) + 1
    np.testing.assert_allclose(weights @ got["TT"], weights @ cls["TT"], rtol=1e-12)
    np.testing.assert_allclose(weights @ (got["EE"] + got["BB"]), weights @ cls["EE"], rtol=1e-12)
    assert np.max(np.abs(got["TT"] - cls["TT"])) > 0


def test_b_from_e_alone_is_positive(theory):
    cls = {"EE": theory.unlensed["EE"][:2501]}
    for function in (lensed_spectra, gradient_spectra):
        got = function(cls, theory.potential["PP"][:2501])
        assert np.all(got["BB"][2:] > 0)
        assert np.all(got["TT"] == 0)
        assert np.all(got["TE"] == 0)


def test_more_nodes_change_nothing(theory):
    short = theory.truncated(1500)
    cl_phi = short.potential["PP"]
    for function in (lensed_spectra, gradient_spectra):
        coarse = function(short.unlensed, cl_phi)
        fine = function(short.unlensed, np.concatenate([cl_phi, np.zeros(4000)]))
        for key in CMB:
            # what products of many phi put beyond the degree of the quadrature: 7e-8 in BB, 1e-9 in the others
            assert np.max(relative_to_auto(coarse, fine, key, fine)[2:]) < 2e-7, key


@pytest.mark.parametrize(("low", "high"), [(0.0, 6e-7), (-6e-7, 1e-9), (0.0, 0.0), (2e-7, 3e-6)])
def test_exponential_separates_to_the_stated_error(low, high):
    decay = np.arange(4001.0) * np.arange(1, 4002)
    variance = np.linspace(low, high, 300)
    in_ell, in_beta = _separate_exponential(decay, variance)
    expected = np.exp(-np.outer(decay, variance) / 2)
    error = np.abs(in_ell.T @ in_beta - expected) / np.max(expected, axis=1, keepdims=True)
    # what the series leaves out, and rounding
    assert np.max(error) < 2 * TOLERANCE
    assert len(in_ell) < 40


def test_errors_name_the_cause():
    cls = {"TT": np.ones(10)}
    with pytest.raises(ValueError, match="XY"):
        lensed_spectra({"TT": np.ones(10), "XY": np.ones(10)}, np.ones(10))
    with pytest.raises(ValueError, match="none"):
        lensed_spectra({}, np.ones(10))
    with pytest.raises(ValueError, match="one length"):
        gradient_spectra({"TT": np.ones(10), "EE": np.ones(9)}, np.ones(10))
    with pytest.raises(ValueError, match="between 0 and 9"):
        lensed_spectra(cls, np.ones(10), lmax=10)

"""The background against CAMB and astropy, its limits, and its refusals."""

import time
from itertools import pairwise

import numpy as np
import pytest
from scipy.integrate import quad

from lensrec.theory import recombination
from lensrec.theory.background import HUBBLE_RADIUS, background
from lensrec.theory.neutrinos import N_EFF, OMEGA_MASSLESS, T_CMB, camb_neutrinos, neutrino_masses, relative_density

BASE = {"ombh2": 0.0224, "omch2": 0.12}
Z = np.array([0.295, 0.51, 0.706, 0.934, 1.321, 1.484, 2.33, 30.0, 1089.0])
LCDM = background(**BASE, H0=67.4)
THETA = 0.0104105


def camb_background(mnu, hierarchy, *, w=-1.0, wa=0.0, ombh2=0.0224, omch2=0.12, masses=None):
    """CAMB's results at H0 = 67.4, with its finer time steps; `masses`, three eigenstates set by hand."""
    camb = pytest.importorskip("camb")
    neutrino = camb_neutrinos(mnu, "degenerate" if masses is not None else hierarchy)
    params = camb.set_params(H0=67.4, ombh2=ombh2, omch2=omch2, w=w, wa=wa, dark_energy_model="ppf", **neutrino)
    if masses is not None:
        params.num_nu_massive = params.nu_mass_eigenstates = 3
        params.nu_mass_numbers = [1, 1, 1]
        params.nu_mass_degeneracies = [N_EFF / 3] * 3
        # CAMB finds each mass from its share of the density
        densities = OMEGA_MASSLESS * np.array([relative_density(1.0, mass) for mass in masses])
        params.omnuh2 = densities.sum()
        params.nu_mass_fractions = list(densities / densities.sum())
    # by default z_d scatters by up to 3e-5 with CAMB's sampling of the visibility
    params.Accuracy.BackgroundTimeStepBoost = 10.0
    return params, camb.get_background(params)


@pytest.mark.parametrize(
    ("mnu", "hierarchy", "w", "wa"),
    [
        (0.06, "degenerate", -1.0, 0.0),
        (0.6, "degenerate", -1.0, 0.0),
        (0.06, "one", -1.0, 0.0),
        (0.3, "one", -1.0, 0.0),
        (0.06, "degenerate", -0.42, -1.75),
        (0.1, "degenerate", -1.3, 0.6),
    ],
)
def test_agrees_with_camb(mnu, hierarchy, w, wa):
    params, results = camb_background(mnu, hierarchy, w=w, wa=wa)
    ours = background(**BASE, H0=67.4, mnu=mnu, hierarchy=hierarchy, w=w, wa=wa)
    # CAMB interpolates its neutrino density, good to 1e-6
    np.testing.assert_allclose(ours.hubble(Z), results.hubble_parameter(Z), rtol=3e-6)
    np.testing.assert_allclose(ours.comoving_distance(Z), results.comoving_radial_distance(Z), rtol=1e-6)
    assert ours.omnuh2 == pytest.approx(params.omnuh2, rel=1e-8)
    assert ours.omega_m == pytest.approx(params.omegam, rel=1e-9)
    assert ours.omega_de == pytest.approx(results.omega_de, rel=1e-9)
    derived = results.get_derived_params()
    # CAMB starts r_s at a = 1e-9, which leaves out 1.9e-6; mass adds its part through z_*, 5e-6 at 0.6 eV
    for name in ("zstar", "zdrag", "rstar", "rdrag"):
        assert getattr(ours, name) == pytest.approx(derived[name], rel=6e-6 if mnu > 0.3 else 3e-6), name
    assert ours.thetastar == pytest.approx(derived["thetastar"] / 100, rel=6e-6)


@pytest.mark.parametrize(("mnu", "hierarchy"), [(0.06, "normal"), (0.12, "normal"), (0.12, "inverted")])
def test_three_distinct_masses_agree_with_camb_s_three(mnu, hierarchy):
    _, results = camb_background(mnu, hierarchy, masses=neutrino_masses(mnu, hierarchy))
    ours = background(**BASE, H0=67.4, mnu=mnu, hierarchy=hierarchy)
    np.testing.assert_allclose(ours.hubble(Z), results.hubble_parameter(Z), rtol=3e-6)
    np.testing.assert_allclose(ours.comoving_distance(Z), results.comoving_radial_distance(Z), rtol=1e-6)
    derived = results.get_derived_params()
    assert ours.rdrag == pytest.approx(derived["rdrag"], rel=3e-6)
    assert ours.thetastar == pytest.approx(derived["thetastar"] / 100, rel=3e-6)


def test_agrees_with_camb_all_over_the_planck_range():
    rng = np.random.default_rng(6)
    for ombh2, omch2, mnu in zip(
        rng.uniform(0.0215, 0.0233, 6), rng.uniform(0.112, 0.128, 6), rng.uniform(0, 0.3, 6), strict=True
    ):
        derived = camb_background(mnu, "degenerate", ombh2=ombh2, omch2=omch2)[1].get_derived_params()
        ours = background(ombh2=ombh2, omch2=omch2, H0=67.4, mnu=mnu)
        assert ours.rdrag == pytest.approx(derived["rdrag"], rel=5e-6)
        assert ours.thetastar == pytest.approx(derived["thetastar"] / 100, rel=5e-6)


def test_recombination_fit_holds_over_its_box_and_can_be_made_anew():
    pytest.importorskip("camb")
    rng = np.random.default_rng(7)
    for _ in range(8):
        b, c = rng.uniform(*recombination.OMBH2_RANGE), rng.uniform(*recombination.OMCH2_RANGE)
        got = recombination.recombination_redshifts(b, b + c + recombination.excess_density([0.02] * 3))
        truth = recombination.camb_redshifts(b, c, mnu=0.06, boost=recombination.BOOST)
        # stated with the coefficients: 1e-4 and 3e-4
        np.testing.assert_allclose(got, truth, rtol=0, atol=4e-4)
    assert len(recombination.Z_STAR) == len(recombination.Z_DRAG) == 21
    with pytest.raises(ValueError, match="outside the fit to recombination"):
        background(ombh2=0.03, omch2=0.12, thetastar=THETA)


def test_recombination_fit_is_regenerated(monkeypatch):
    # a known polynomial instead of CAMB comes back, term by term
    order = recombination._powers().index((1, 0)), recombination._powers().index((0, 2))

    def known(ombh2, omch2, *, mnu, boost):
        terms = recombination._monomials(ombh2, ombh2 + omch2 + recombination.excess_density([mnu / 3] * 3))
        return 1000 + 3 * terms[order[0]], 900 - 2 * terms[order[1]]

    monkeypatch.setattr(recombination, "camb_redshifts", known)
    star, drag = recombination.fit_recombination(8)
    for solution, constant, index, value in ((star, 1000, order[0], 3), (drag, 900, order[1], -2)):
        expected = np.zeros(21)
        expected[0], expected[index] = constant, value
        np.testing.assert_allclose(solution, expected, atol=1e-9)


def test_agrees_with_astropy_for_w0wa_without_neutrino_mass():
    from astropy.cosmology import Flatw0waCDM

    ours = background(**BASE, H0=70.0, mnu=0.0, w=-0.7, wa=-0.9)
    matter = (BASE["ombh2"] + BASE["omch2"]) / 0.7**2
    theirs = Flatw0waCDM(H0=70.0, Om0=matter, w0=-0.7, wa=-0.9, Tcmb0=T_CMB, Neff=N_EFF, m_nu=0.0)
    z = Z[:-1]
    # astropy's massless neutrinos have 0.22710731766 for 7/8 (4/11)^{4/3}: 1e-10; its integrals 1e-8
    np.testing.assert_allclose(ours.hubble(z), theirs.H(z).value, rtol=1e-8)
    np.testing.assert_allclose(ours.comoving_distance(z), theirs.comoving_distance(z).value, rtol=1e-7)


MODELS = [
    {},
    {"mnu": -0.3},
    {"mnu": 0.2, "hierarchy": "inverted"},
    {"w": -0.4, "wa": -1.8},
    {"z_dagger": 1.7},
    {"z_dagger": 1.7, "transition": 3.0},
    {"z_dagger": 2.2, "transition": 80.0},
]


@pytest.mark.parametrize("extra", MODELS)
def test_distances_are_the_integrals_of_the_hubble_rate(extra):
    model = background(**BASE, H0=68.0, **extra)
    near = model.z_dagger or 1.0
    edges = [0.0, 0.9 * near, near - 0.01, near, near + 0.01, 1.1 * near, 1.5 * near, 5.0, 20.0]
    for end in (0.3, 1.69, 1.71, 2.33, 20.0):
        cut = [edge for edge in edges if edge < end] + [end]
        pieces = pairwise(cut)
        slow = sum(quad(lambda z: 299792.458 / model.hubble(z), a, b, epsrel=1e-11, epsabs=0)[0] for a, b in pieces)
        assert model.comoving_distance(end) == pytest.approx(slow, rel=1e-10)


def test_sound_horizon_is_its_integral_in_time():
    ratio = 0.75 * 0.0224 / 2.4729e-5  # ω_γ to five digits
    far = np.log(1e9)

    def integrand(x):
        speed = 299792.458 / np.sqrt(3 * (1 + ratio * np.exp(-x)))
        return speed * np.exp(x) / LCDM.hubble(np.expm1(x))

    slow = quad(integrand, np.log(1 + LCDM.zdrag), far, epsrel=1e-11, limit=200)[0]
    # beyond 1 + z = 1e9 lie 1.9e-6 of it; ω_γ's rounding makes less than 1e-5
    assert LCDM.rdrag == pytest.approx(slow, rel=1e-5)


def test_methods_go_together():
    model = background(**BASE, H0=68.0, z_dagger=1.9)
    z = np.array([[0.3, 2.5, 0.3], [0.0, 1.9, 0.7]])
    assert model.comoving_distance(z).shape == z.shape
    assert model.comoving_distance(0.0) == 0.0
    assert model.comoving_distance([]).shape == (0,)
    np.testing.assert_allclose(model.comoving_distance(z), [[model.comoving_distance(x) for x in row] for row in z])
    np.testing.assert_allclose(model.D_H(z) * model.hubble(z), 299792.458)
    volume = z * model.comoving_distance(z) ** 2 * model.D_H(z)
    np.testing.assert_allclose(model.D_V(z) ** 3, volume)
    assert model.thetastar == model.rstar / model.comoving_distance(model.zstar)
    assert model.hubble(0.0) == pytest.approx(68.0, rel=1e-14)
    assert abs(HUBBLE_RADIUS - 2997.92458) < 1e-11


def test_mean_hubble_distance_spans_the_switch():
    model = background(**BASE, H0=68.0, z_dagger=2.33)
    slow = sum(quad(model.D_H, a, b, epsrel=1e-11)[0] for a, b in ((1.8, 2.33), (2.33, 4.0))) / 2.2
    assert model.mean_hubble_distance(1.8, 4.0) == pytest.approx(slow, rel=1e-10)
    # the switch itself moves c/H by per cents between its sides
    assert model.D_H(2.34) / model.D_H(2.32) > 1.02
    with pytest.raises(ValueError, match="low < high"):
        model.mean_hubble_distance(2.0, 1.0)


@pytest.mark.parametrize("extra", MODELS)
def test_root_for_the_acoustic_scale_closes(extra):
    model = background(**BASE, thetastar=THETA, **extra)
    assert model.thetastar == pytest.approx(THETA, rel=1e-12)
    assert background(**BASE, H0=model.H0, **extra).thetastar == pytest.approx(THETA, rel=1e-12)


@pytest.mark.parametrize("scale", [{"H0": 67.4}, {"thetastar": THETA}])
@pytest.mark.parametrize(
    "extra", [{"w": -1.0, "wa": 0.0}, {"w": -1.0, "wa": 1e-16}, {"z_dagger": 2e4}, {"z_dagger": 2e4, "transition": 0.1}]
)
def test_extended_models_at_their_lcdm_point_are_lcdm(scale, extra):
    plain, extended = background(**BASE, **scale), background(**BASE, **scale, **extra)
    # z_dagger = 2e4 lies before z_* already, where Λ is 1e-9 of the density
    tolerance = 1e-10 if "z_dagger" in extra else 1e-12
    for name in ("hubble", "comoving_distance", "D_V"):
        np.testing.assert_allclose(getattr(extended, name)(Z), getattr(plain, name)(Z), rtol=tolerance)
    for name in ("rdrag", "thetastar", "omega_m", "H0"):
        assert getattr(extended, name) == pytest.approx(getattr(plain, name), rel=tolerance)


def test_smooth_transition_becomes_the_abrupt_one():
    abrupt = background(**BASE, thetastar=THETA, z_dagger=2.0)
    errors = []
    for steepness in (100.0, 1000.0, 10000.0):
        smooth = background(**BASE, thetastar=THETA, z_dagger=2.0, transition=steepness)
        errors.append(np.max(np.abs(smooth.comoving_distance(Z) / abrupt.comoving_distance(Z) - 1)))
    # 1/H is not linear in f: ∫(1 − tanh²) = 2/ν leaves a difference of first order in the width
    assert errors[0] < 1e-4
    np.testing.assert_allclose(np.divide(errors[1:], errors[:-1]), 0.1, rtol=0.1)


def test_switch_turns_the_dark_energy_round():
    model = background(**BASE, H0=70.0, z_dagger=2.0)
    below, above = (model.hubble(2.0 + sign * 1e-9) / 100 for sign in (-1, 1))
    assert below**2 - above**2 == pytest.approx(2 * model.omega_de * 0.49, rel=1e-6)


def test_smooth_switch_is_the_tanh_normalised_today():
    model, z = background(**BASE, H0=70.0, z_dagger=1.7, transition=0.8), np.array([0.0, 0.5, 1.7, 3.0])
    assert model.hubble(0.0) == pytest.approx(70.0, rel=1e-14)
    # Λ alone differs between this and ΛCDM
    plain = background(**BASE, H0=70.0)
    got = 1 + ((model.hubble(z) / 70) ** 2 - (plain.hubble(z) / 70) ** 2) / plain.omega_de
    np.testing.assert_allclose(got, np.tanh(0.8 * (1.7 - z)) / np.tanh(0.8 * 1.7), atol=1e-12)


def test_a_likelihood_s_needs_take_two_milliseconds():
    def needs():
        start = time.process_time()
        model = background(**BASE, thetastar=THETA)
        z = Z[:7]
        model.comoving_distance(z), model.D_H(z), model.D_V(z[:1]), model.rdrag
        return time.process_time() - start

    # 0.9 ms on one core of a Xeon; the least of many, so that a busy machine does not count
    assert min(needs() for _ in range(40)) < 2e-3


@pytest.mark.parametrize("scale", [{"H0": 67.4}, {"thetastar": THETA}])
@pytest.mark.parametrize("hierarchy", ["degenerate", "one"])
def test_background_is_smooth_through_zero_mass(scale, hierarchy):
    mass = np.array([-2e-5, -1e-5, 0.0, 1e-5, 2e-5])
    models = [background(**BASE, **scale, mnu=m, hierarchy=hierarchy) for m in mass]
    for name in ("hubble", "comoving_distance"):
        values = np.array([getattr(model, name)(Z) for model in models])
        left, right = (values[2] - values[1]) / 1e-5, (values[3] - values[2]) / 1e-5
        # X ∝ ±m² on the two sides: both slopes, of the same size, vanish with the mass and nothing jumps;
        # mirrored values are X(−m) = 2X(0) − X(m) at this order
        np.testing.assert_allclose(left, right, rtol=1e-2, atol=1e-9 * np.max(values))
        larger = (values[4] - values[2]) / 2e-5
        np.testing.assert_allclose(larger, 2 * right, rtol=1e-2, atol=1e-9 * np.max(values))


def test_negative_mass_goes_on_where_positive_ones_led():
    values = [background(**BASE, thetastar=THETA, mnu=m).H0 for m in (-0.2, -0.1, 0.1, 0.2)]
    # H0 falls with Σmν at fixed θ_*, by 0.8 to 0.95 km/s/Mpc per 0.1 eV, less around zero, where ρ_ν bends
    slopes = np.diff(values) / [0.1, 0.2, 0.1]
    assert np.all(slopes < 0)
    np.testing.assert_allclose(slopes, -8.8, rtol=0.1)
    assert background(**BASE, H0=67.4, mnu=-0.1).omega_m < background(**BASE, H0=67.4, mnu=0.0).omega_m


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "exactly one of H0 and thetastar"),
        ({"H0": 67.0, "thetastar": THETA}, "exactly one of H0 and thetastar"),
        ({"H0": 30.0}, "negative density"),
        ({"H0": -1.0}, "H0 must be positive"),
        ({"H0": 67.0, "ombh2": 0.0}, "ombh2 must be positive"),
        ({"H0": 67.0, "omch2": np.nan}, "omch2 must be positive"),
        ({"H0": 67.0, "w": -0.5, "wa": 0.6}, r"w \+ wa < 0"),
        ({"H0": 67.0, "transition": 3.0}, "not given"),
        ({"H0": 67.0, "z_dagger": 2.0, "w": -0.9}, "z_dagger goes with w = -1"),
        ({"H0": 67.0, "z_dagger": 0.0}, "z_dagger must be positive"),
        ({"H0": 67.0, "z_dagger": 2.0, "transition": 0.0}, "transition must be positive"),
        ({"H0": 90.0, "z_dagger": 0.2}, r"H\^2 is not positive at z = 0\.2"),
        ({"H0": 90.0, "mnu": -20.0}, r"H\^2 is not positive"),
        ({"thetastar": 0.002}, "no H0 from"),
        ({"thetastar": 0.1}, "no H0 from"),
        ({"thetastar": THETA, "mnu": -20.0}, "no positive density|outside the fit"),
        ({"H0": 67.0, "mnu": 0.01, "hierarchy": "normal"}, "ordering needs"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(given, message):
    with pytest.raises(ValueError, match=message) as caught:
        background(**{**BASE, **given})
    assert "\n" not in str(caught.value)


def test_distance_to_the_future_is_refused():
    with pytest.raises(ValueError, match="z >= 0"):
        LCDM.comoving_distance([-0.1, 0.5])

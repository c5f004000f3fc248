"""Neutrino masses, densities of either sign, free streaming, and the suppression of power."""

from itertools import pairwise

import numpy as np
import pytest
from scipy.integrate import quad

from lensrec.theory import neutrinos
from lensrec.theory.neutrino_suppression import fixed_matter, lensing_suppression, matter_suppression, onset
from lensrec.theory.neutrinos import NEUTRINO_KT, neutrino_masses, relative_density, relative_pressure

FERMI = 7 * np.pi**4 / 120
"""∫ dq q³/(e^q + 1)."""


def by_quadrature(y, *, pressure=False):
    """ρ/ρ_0 or P/P_0 by adaptive integration, cut where the integrand changes its nature."""

    def integrand(q):
        energy = np.hypot(q, y)
        return q**2 * (q**2 / energy if pressure else energy) / (np.exp(q) + 1)

    edges = np.unique([0.0, min(y, 1.0), 1.0, 3.0, 10.0, 60.0])
    return sum(quad(integrand, a, b, epsabs=0, epsrel=1e-12)[0] for a, b in pairwise(edges)) / FERMI


@pytest.mark.parametrize("y", [1e-3, 0.1, 1.0, 3.0, 10.0, 100.0, 3e4])
def test_density_and_pressure_are_the_fermi_integrals(y):
    mass = y * NEUTRINO_KT
    # the promise is 1e-9; measured 1e-10 in density, 9.5e-10 in pressure when cold
    assert relative_density(1.0, mass) == pytest.approx(by_quadrature(y), rel=2e-10)
    assert relative_pressure(1.0, mass) == pytest.approx(by_quadrature(y, pressure=True), rel=2e-9)


def test_only_the_product_of_scale_factor_and_mass_matters():
    a = np.geomspace(1e-8, 1, 50).reshape(5, 10)
    assert relative_density(a, 0.2).shape == (5, 10)
    np.testing.assert_allclose(relative_density(a, 0.2), relative_density(4 * a, 0.05), rtol=1e-14)
    assert np.all(relative_density(a, 0.0) == 1.0)


def test_pressure_and_density_obey_the_continuity_equation():
    # dρ/dlna = −3(ρ + P), ρ = a⁻⁴ r, P = a⁻⁴ p/3, hence dr/dlna = r − p, for both signs
    a, step = np.geomspace(1e-5, 1, 30), 1e-4
    for mass in (0.05, -0.05):
        slope = relative_density(a * np.exp(step), mass) - relative_density(a * np.exp(-step), mass)
        expected = relative_density(a, mass) - relative_pressure(a, mass)
        # central differences err by step²/6 times a third derivative of order |r|, and round-off 1e-16/step
        error = np.abs(slope / (2 * step) - expected) / np.abs(relative_density(a, abs(mass)))
        assert np.max(error) < 1e-8


def test_signed_density_mirrors_about_the_massless_one():
    a = np.geomspace(1e-6, 1, 20)
    np.testing.assert_allclose(relative_density(a, -0.1), 2 - relative_density(a, 0.1), rtol=1e-15)
    # ρ/ρ_0 = 1 ± 5y²/7π² on the two sides: value and slope meet at zero. The next term is of order y⁴ ln y
    y = 1e-3
    for sign in (1, -1):
        excess = relative_density(1.0, sign * y * NEUTRINO_KT) - 1
        assert excess == pytest.approx(sign * 5 * y**2 / (7 * np.pi**2), rel=1e-5)


def test_masses_have_the_measured_splittings():
    normal, inverted = neutrino_masses(0.12, "normal"), neutrino_masses(-0.12, "inverted")
    for masses in (normal, inverted):
        assert masses.sum() == pytest.approx(0.12, abs=1e-12)
        assert masses[1] ** 2 - masses[0] ** 2 == pytest.approx(7.49e-5, rel=1e-9)
    assert normal[2] ** 2 - normal[0] ** 2 == pytest.approx(2.513e-3, rel=1e-9)
    assert inverted[1] ** 2 - inverted[2] ** 2 == pytest.approx(2.484e-3, rel=1e-9)
    np.testing.assert_allclose(neutrino_masses(-0.3), [0.1, 0.1, 0.1])
    np.testing.assert_allclose(neutrino_masses(0.06, "one"), [0, 0, 0.06])


def test_floors_are_those_of_the_splittings_and_are_reached():
    m21, m31, m23 = neutrinos.SPLITTING_21, neutrinos.SPLITTING_31_NORMAL, neutrinos.SPLITTING_23_INVERTED
    assert abs(np.sqrt(m21) + np.sqrt(m31) - neutrinos.FLOOR_NORMAL) < 5e-5
    assert abs(np.sqrt(m23 - m21) + np.sqrt(m23) - neutrinos.FLOOR_INVERTED) < 5e-5
    assert neutrino_masses(0.0588, "normal").sum() == pytest.approx(0.0588, abs=1e-12)
    assert neutrino_masses(0.0989, "inverted").sum() == pytest.approx(0.0989, abs=1e-12)
    with pytest.raises(ValueError, match=r"0\.0588 eV that the normal"):
        neutrino_masses(-0.05, "normal")
    with pytest.raises(ValueError, match=r"0\.0989 eV that the inverted"):
        neutrino_masses(0.09, "inverted")
    with pytest.raises(ValueError, match="known are degenerate"):
        neutrino_masses(0.1, "inverse")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no sum"):
        neutrino_masses(np.nan)


@pytest.mark.parametrize("hierarchy", ["degenerate", "one", "normal", "inverted"])
def test_density_today_is_camb_s_and_near_the_usual_number(hierarchy):
    camb = pytest.importorskip("camb")
    params = camb.set_params(H0=67.0, ombh2=0.0224, omch2=0.12, **neutrinos.camb_neutrinos(0.15, hierarchy))
    got = neutrinos.omnuh2(0.15, hierarchy)
    # CAMB's own splittings differ by 2 %, which reaches ω_ν through kinetic energy alone
    assert got == pytest.approx(params.omnuh2, rel=1e-8 if hierarchy in ("degenerate", "one") else 1e-6)
    # 93.14 was made for N_eff = 3.046 and spectral distortions: 0.1 %
    assert got == pytest.approx(0.15 / 93.14, rel=2e-3)
    assert neutrinos.f_nu(0.15, 0.143) == pytest.approx(got / 0.143, rel=2e-3)
    assert 0.15 / neutrinos.number_density_mass() == pytest.approx(got, rel=1e-3)


def test_density_today_goes_smoothly_through_zero():
    for hierarchy, states in (("degenerate", 3), ("one", 1)):
        middle = neutrinos.omnuh2(0.0, hierarchy)
        assert middle == pytest.approx(states * neutrinos.OMEGA_MASSLESS, rel=1e-15)
        assert neutrinos.omnuh2(-0.2, hierarchy) == pytest.approx(2 * middle - neutrinos.omnuh2(0.2, hierarchy))
    with pytest.raises(ValueError, match="no negative"):
        neutrinos.camb_neutrinos(-0.1)


def test_free_streaming_scales_are_the_review_s_numbers():
    # Lesgourgues & Pastor 2006: 150 km/s, 0.82 and 0.018, as rounded there
    assert neutrinos.thermal_velocity(0.0, 1.0) * 299792.458 == pytest.approx(150, rel=0.01)
    assert neutrinos.k_fs(0.0, 1.0, omega_m=0.3) == pytest.approx(0.82, rel=0.02)
    assert neutrinos.k_nr(1.0, omega_m=1.0) == pytest.approx(0.018, rel=0.02)
    z, mass = np.array([0.0, 1.0, 3.0]), 0.1
    shape = np.sqrt(0.7 + 0.3 * (1 + z) ** 3) / (1 + z) ** 2
    np.testing.assert_allclose(neutrinos.k_fs(z, mass, omega_m=0.3) / neutrinos.k_fs(0.0, mass, omega_m=0.3), shape)
    # k_nr is where k_fs has its least, at z_nr
    z_nr = neutrinos.z_nr(mass)
    assert neutrinos.k_fs(z_nr, mass, omega_m=0.3) == pytest.approx(neutrinos.k_nr(mass, omega_m=0.3), rel=1e-6)


@pytest.fixture(scope="module")
def suppression():
    """k, z and ΔP/P for Σmν = 0.15 eV, linear."""
    k, z = np.geomspace(3e-4, 2, 60), np.array([0.0, 2.0])
    return k, matter_suppression(0.15, k, z)


def test_suppression_tends_to_minus_eight_f_nu(suppression):
    _, change = suppression
    f_nu = neutrinos.f_nu(0.15, fixed_matter()["omega_m_h2"])
    # hardly anything on the largest scales (+0.07 f_ν today, +0.13 at z = 2, as they enter the horizon); at 2 h/Mpc
    # −8 f_ν within 7 %, for this f_ν of 0.011
    assert np.all(np.abs(change[:, 0]) < 0.2 * f_nu)
    assert change[0, -1] == pytest.approx(-8 * f_nu, rel=0.07)
    # acoustic peaks move by the change of ω_c before recombination and wave by 0.2 f_ν; beyond, nothing but falls
    assert np.all(np.diff(change[0]) < 0.3 * f_nu)
    assert np.all(np.diff(change[0, 49:]) < 0)


def test_suppression_grows_at_the_rate_of_the_slowed_growth(suppression):
    _, change = suppression
    # cold matter grows as D^{1 − 3f/5} where neutrinos stream freely, so that ln(P/P_0) falls by 6/5 f_ν ln[D(0)/D(z)]
    # (Lesgourgues & Pastor 2006, eq. 132), D ∝ H ∫ da/(aH)³; the next order in f_ν is 2 % of it
    held = fixed_matter()
    omega_m = held["omega_m_h2"] / (held["H0"] / 100) ** 2

    def growth(a):
        def rate(x):
            return np.sqrt(omega_m * x**-3 + 1 - omega_m)

        return rate(a) * quad(lambda x: (x * rate(x)) ** -3, 0, a)[0]

    expected = -1.2 * neutrinos.f_nu(0.15, held["omega_m_h2"]) * np.log(growth(1.0) / growth(1 / 3))
    got = np.log1p(change[0, -1]) - np.log1p(change[1, -1])
    assert got == pytest.approx(expected, rel=0.05)


def test_onset_lies_above_k_nr_and_below_k_fs(suppression):
    k, change = suppression
    held = fixed_matter()
    omega_m = held["omega_m_h2"] / (held["H0"] / 100) ** 2
    plateau = -8 * neutrinos.f_nu(0.15, held["omega_m_h2"])
    mass = 0.05
    tenth, half = onset(k, change[0], 0.1 * plateau), onset(k, change[0], 0.5 * plateau)
    # it sets in at twice k_nr and is half done before k_fs of today: k_nr marks its begin, k_fs(0) the plateau
    assert 1 < tenth / neutrinos.k_nr(mass, omega_m=omega_m) < 3
    assert tenth < half < neutrinos.k_fs(0.0, mass, omega_m=omega_m)
    assert np.isnan(onset(k, change[0], 2 * plateau))
    assert onset([1.0, np.e**2], [0.0, -1.0], -0.5) == pytest.approx(np.e)
    assert onset([1.0, 2.0], [-1.0, -2.0], -0.5) == 1.0


def test_lensing_potential_is_suppressed_less_than_the_power_on_small_scales(suppression):
    change = lensing_suppression(0.15, 600, lens_potential_accuracy=1)
    f_nu = neutrinos.f_nu(0.15, fixed_matter()["omega_m_h2"])
    assert change.shape == (601,)
    assert np.all(change[:2] == 0)
    # Σmν = 0.06 eV gives 2 %, hence 0.15 eV about 5 %: −4 to −6 f_ν at 100 < L < 600, far from −8
    assert np.all((change[100:] < -3.5 * f_nu) & (change[100:] > -6.5 * f_nu))


def test_suppression_asks_for_a_universe_that_exists():
    with pytest.raises(ValueError, match="unknown parameter omch2"):
        fixed_matter({"omch2": 0.12})
    with pytest.raises(ValueError, match="no cold dark matter"):
        matter_suppression(12.0, [0.1], [0.0])

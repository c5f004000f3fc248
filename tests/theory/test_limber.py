import time
from functools import cache

import numpy as np
import pytest
from astropy.cosmology import FlatLambdaCDM
from scipy.constants import speed_of_light
from scipy.integrate import quad

from lensrec.theory.growth import linear_growth
from lensrec.theory.lambda_s import at_same_acoustic_scale, transition_redshifts
from lensrec.theory.limber import Expansion, MatterPower, limber_power, limber_ratio, limber_ratio_spectrum

K = np.geomspace(1e-5, 30, 600)
REDSHIFTS = np.array([0.0, 0.3, 0.6, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 10.0, 30.0])
BAND = np.unique(np.geomspace(40, 2000, 40).astype(int))
COSMOLOGY = {"ombh2": 0.02237, "omch2": 0.12, "mnu": 0.06, "thetastar": 0.010411, "tau": 0.0544, "ns": 0.9649}


@cache
def camb_run(w=-1.0, wa=0.0):
    """CAMB's C_L^φφ to L = 2000, its non-linear P(k, z), its linear growth and its background."""
    import camb

    # lens_potential_accuracy = 2 leaves 1e-3 at L = 763 and 1e-2 at 2000 in C_L^φφ (theory.acoustic_scale), most of
    # which is in both members of a ratio.
    params = camb.set_params(
        **COSMOLOGY, As=2.1e-9, lmax=2000, lens_potential_accuracy=2, w=w, wa=wa, dark_energy_model="ppf"
    )
    params.set_matter_power(redshifts=REDSHIFTS[::-1], kmax=10)
    params.NonLinear = camb.model.NonLinear_both
    results = camb.get_results(params)
    cl = results.get_lens_potential_cls(2000, raw_cl=True)[:, 0]
    units = {"hubble_units": False, "k_hunit": False}
    nonlinear = results.get_matter_power_interpolator(nonlinear=True, extrap_kmax=50, **units).P(REDSHIFTS, K)
    cold = {"var1": "delta_nonu", "var2": "delta_nonu", "nonlinear": False}
    linear = results.get_matter_power_interpolator(**cold, **units).P(REDSHIFTS, 1.0)
    cb = params.ombh2 + params.omch2
    z_star = results.get_derived_params()["zstar"]
    expansion = Expansion(results.hubble_parameter, cb + params.omnuh2, cb, z_star)
    return cl, MatterPower(K, REDSHIFTS, nonlinear), np.sqrt(linear), expansion


def einstein_de_sitter(h=0.7, omega=None):
    return Expansion(lambda z: 100 * h * (1 + z) ** 1.5, h**2 if omega is None else omega, h**2, 1100.0)


def lcdm_and_switched(z_dagger, nu=np.inf):
    lcdm = FlatLambdaCDM(67.36, 0.3138, Tcmb0=2.7255, Neff=3.044)
    cosmologies = lcdm, at_same_acoustic_scale(lcdm, z_dagger, nu, z_star=1090.0)
    omega, breaks = lcdm.Om0 * 0.6736**2, ((), transition_redshifts(z_dagger, nu))
    return [Expansion(lambda z, c=c: c.H(z).value, omega, omega, 1090.0, b) for c, b in zip(cosmologies, breaks)]  # noqa: B905


@pytest.mark.parametrize(("slope", "moment"), [(-1.0, 1 / 12), (-2.0, 1 / 30), (-3.0, 1 / 60)])
def test_matter_alone_is_the_closed_form(slope, moment):
    """With P ∝ k^n a², (1+z)² P doesn't depend on time: ∫ (1 − χ/χ_*)² χ^−n dχ = χ_*^(1−n) B(1−n, 3)."""
    h, omega = 0.7, 0.4
    ell = np.array([2.0, 40.0, 500.0, 3000.0])
    power = MatterPower(K, np.array([1.0]), 0.25 * (1e4 * K**slope)[None])
    found = limber_power(ell, einstein_de_sitter(h, omega), power)
    hubble = 1e5 * h / speed_of_light
    chi_star = 2 / hubble * (1 - 1101**-0.5)
    integral = 1e4 * (ell + 0.5) ** slope * chi_star ** (1 - slope) * moment
    want = 9 * omega**2 * (1e5 / speed_of_light) ** 4 / (ell + 0.5) ** 4 * integral
    np.testing.assert_allclose(found, want, rtol=2e-7)  # the growth's error, twice (test_growth)


def test_across_a_jump_it_is_the_integral():
    """By an adaptive rule in z, for the growth of the model, itself proven in test_growth."""
    _, model = lcdm_and_switched(1.8)
    growth = linear_growth(model.hubble, model.omega_clustering, breaks=model.breaks)
    rate = lambda z: speed_of_light / 1e3 / model.hubble(z)  # noqa: E731
    edges = [0.0, 0.3, 1.0, 1.8, 4.0, 10.0, 40.0, 200.0, 1090.0]
    x, w = np.polynomial.legendre.leggauss(40)

    def distance(z):
        low, high = np.minimum(edges[:-1], z), np.minimum(edges[1:], z)
        nodes = (high + low)[:, None] / 2 + (high - low)[:, None] / 2 * x
        return np.sum((high - low) / 2 * (rate(nodes.ravel()).reshape(nodes.shape) @ w))

    end = distance(1090.0)

    def shape(k):
        return k / (1 + (k / 0.02) ** 2) ** 1.4

    def integrand(z, ell):
        chi = distance(z)
        return rate(z) * ((1 - chi / end) * (1 + z) * growth(z)) ** 2 * shape((ell + 0.5) / chi)

    power = MatterPower(K, np.array([30.0]), shape(K)[None])
    for ell in (40.0, 800.0):
        pieces = [quad(integrand, a, b, args=(ell,), epsabs=0, epsrel=1e-7)[0] for a, b in zip(edges, edges[1:])]  # noqa: B905, RUF007
        want = 9 * model.omega_m**2 * (1e5 / speed_of_light) ** 4 / (ell + 0.5) ** 4 * sum(pieces)
        found = limber_power([ell], model, power)[0]
        assert found == pytest.approx(want, rel=1e-5)  # interpolation in k: (0.025)⁴ of its curvature


def test_a_table_of_linear_power_is_as_good_as_one_redshift():
    reference, model = lcdm_and_switched(2.0)
    growth = linear_growth(reference.hubble, reference.omega_clustering)
    one = (1e4 * K / (1 + (K / 0.02) ** 2) ** 1.4)[None]
    many = one * (growth(REDSHIFTS) / growth(0.0))[:, None] ** 2
    ell = np.geomspace(2, 3000, 20)
    ratios = [
        limber_ratio(ell, model, reference, MatterPower(K, z, power))
        for z, power in ((np.zeros(1), one), (REDSHIFTS, many))
    ]
    np.testing.assert_allclose(ratios[0], ratios[1], rtol=1e-10)  # ln P is linear in ln D: rounding


def test_power_is_carried_over_by_its_growth():
    """A model of half the clustering today is the reference at the redshift of that growth, for any P of (k, D)."""
    reference = einstein_de_sitter()
    dressed = lambda D: (K**-1.5 * D**2)[None] * (1 + (K * D) ** 2)  # noqa: E731
    table = MatterPower(K, REDSHIFTS, np.concatenate([dressed(31 / (1 + z)) for z in REDSHIFTS]))
    slow = Expansion(reference.hubble, 0.49, 0.40, 1100.0)
    growth = linear_growth(slow.hubble, slow.omega_clustering)
    exact = MatterPower(K, REDSHIFTS, np.concatenate([dressed(growth(z)) for z in REDSHIFTS]))
    ell = np.array([50.0, 500.0, 2000.0])
    found = limber_power(ell, slow, table, reference=reference)
    np.testing.assert_allclose(found, limber_power(ell, slow, exact), rtol=1e-3)  # splines of 11 redshifts
    assert np.all(np.abs(limber_power(ell, slow, table) / found - 1) > 0.1)


def test_lcdm_is_cambs():
    """Issue: within 1 % for 40 ≤ L ≤ 2000. Measured 6e-4 with CAMB's lens_potential_accuracy at 4."""
    cl, power, _, expansion = camb_run()
    found = limber_power(BAND, expansion, power) / cl[BAND]
    np.testing.assert_allclose(found[BAND < 1000], 1, rtol=2e-3)
    np.testing.assert_allclose(found, 1, rtol=1e-2)


def test_a_late_enough_switch_gives_cambs_lcdm():
    """CAMB's C_L^φφ times the ratio; what is left of Λ's sign at z† = 20 is of order 2 ρ_Λ/ρ(20) = 5e-4."""
    reference, model = lcdm_and_switched(20.0)
    ratio = limber_ratio(BAND, model, reference, camb_run()[1])
    np.testing.assert_allclose(ratio, 1, rtol=1e-3)
    np.testing.assert_allclose(limber_ratio(BAND, reference, reference, camb_run()[1]), 1, rtol=1e-14)


@pytest.mark.parametrize(("w", "wa"), [(-0.42, -1.75)])
def test_w0wa_is_cambs(w, wa):
    """Another background of the same θ_* and densities, DESI's best fit, of which CAMB knows the answer."""
    cl_ref, power, linear_ref, reference = camb_run()
    cl, _, linear, model = camb_run(w, wa)
    want = cl[BAND] / cl_ref[BAND]
    found = limber_ratio(BAND, model, reference, power)
    assert np.min(want - 1) > 0.01  # so that a ratio of 1 would fail
    np.testing.assert_allclose(found, want, rtol=4e-3)  # measured 1.6e-3 (linear power alone 2e-4), at L near 2000
    # P(k, z = 0) of linear theory alone is nearly as good: non-linear growth cancels to first order.
    lone = MatterPower(K, REDSHIFTS[:1], power.power[:1])
    np.testing.assert_allclose(limber_ratio(BAND, model, reference, lone), want, rtol=6e-3)
    # Growth itself, at k = 1/Mpc where neutrinos don't cluster
    for of, camb_linear in ((model, linear), (reference, linear_ref)):
        growth = linear_growth(of.hubble, of.omega_clustering)
        np.testing.assert_allclose(camb_linear / camb_linear[-1], growth(REDSHIFTS), rtol=3e-4)  # measured 6e-5


def test_a_switch_raises_lensing_and_smooth_ones_tend_to_it():
    ell = np.array([40.0, 200.0, 1000.0, 2000.0])
    ratios = {}
    for key in ((2.0, np.inf), (2.0, 200.0), (2.0, 10.0), (3.0, np.inf)):
        reference, model = lcdm_and_switched(*key)
        ratios[key] = limber_ratio(ell, model, reference, camb_run()[1])
    abrupt = ratios[2.0, np.inf]
    np.testing.assert_allclose(ratios[2.0, 200.0], abrupt, rtol=1e-4)
    assert np.max(np.abs(ratios[2.0, 10.0] / abrupt - 1)) < 1e-2
    assert np.all(abrupt > ratios[3.0, np.inf])
    assert np.all(ratios[3.0, np.inf] > 1)


def test_every_multipole_from_a_spline():
    reference, model = lcdm_and_switched(2.0)
    power = camb_run()[1]
    spectrum = limber_ratio_spectrum(3000, model, reference, power)
    ell = np.r_[1:60, 100:3001:37]
    np.testing.assert_allclose(spectrum[ell], limber_ratio(ell, model, reference, power), rtol=1e-4)
    assert spectrum.shape == (3001,)
    assert spectrum[0] == 1


def test_time_for_a_sampler():
    reference = einstein_de_sitter()
    model = Expansion(lambda z: reference.hubble(z) * (1 + 0.01 / (1 + z)), 0.49, 0.49, 1100.0, (2.0,))
    power = MatterPower(K, REDSHIFTS, (K / (1 + (K / 0.02) ** 2) ** 1.4) / (1 + REDSHIFTS[:, None]) ** 2)
    ell, times = np.geomspace(2, 3000, 200), []
    for _ in range(5):
        start = time.process_time()
        limber_ratio(ell, model, reference, power)
        times.append(time.process_time() - start)
    assert min(times) < 0.05  # issue 6's sampler; 8 ms on a quiet core


def test_errors_say_what_is_wrong():
    with pytest.raises(ValueError, match="evenly spaced in ln k"):
        MatterPower(np.linspace(0.1, 1, 20), np.zeros(1), np.ones((1, 20)))
    with pytest.raises(ValueError, match="doesn't go with 1 ascending redshifts and 600 wavenumbers"):
        MatterPower(K, np.zeros(1), np.ones((600, 1)))
    with pytest.raises(ValueError, match="must be positive"):
        MatterPower(K, np.zeros(1), np.zeros((1, 600)))

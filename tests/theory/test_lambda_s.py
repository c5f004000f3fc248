import inspect
import pickle

import astropy.units as u
import numpy as np
import pytest
from astropy.cosmology import FLRW, Cosmology, FlatLambdaCDM, LambdaCDM
from astropy.cosmology import units as cosmology_units
from scipy.integrate import quad
from scipy.special import hyp2f1

from lensrec.theory.lambda_s import (
    FlatLambdaSCDM,
    LambdaSCDM,
    at_same_acoustic_scale,
    density_scale,
    transition_redshifts,
)

NEUTRINOS = {"Tcmb0": 2.7255, "Neff": 3.044, "m_nu": [0.0, 0.0, 0.06] * u.eV}
LCDM = FlatLambdaCDM(67.36, 0.3138, Ob0=0.0493, name="LCDM", **NEUTRINOS)


def switched(z_dagger=2.0, nu=np.inf):
    return FlatLambdaSCDM(67.36, 0.3138, Ob0=0.0493, **NEUTRINOS, z_dagger=z_dagger, nu=nu, name="LsCDM")


def conformal_distance(a, omega_m, omega_lambda):
    """∫₀^a da/√(Ω_m a + Ω_Λ a⁴), of either sign of Ω_Λ."""
    return 2 * np.sqrt(a / omega_m) * hyp2f1(0.5, 1 / 6, 7 / 6, -omega_lambda * a**3 / omega_m)


def test_distances_are_the_closed_form_on_either_side_of_the_jump():
    omega, lam, z_dagger = 0.3, 0.7, 2.0
    cosmology = FlatLambdaSCDM(100, omega, z_dagger=z_dagger)  # no radiation
    z = np.array([0.01, 0.5, 1.9999, 2.0, 2.0001, 2.5, 10.0, 1100.0])
    a, switch = 1 / (1 + z), 1 / (1 + z_dagger)
    late = conformal_distance(1.0, omega, lam) - conformal_distance(np.maximum(a, switch), omega, lam)
    early = conformal_distance(switch, omega, -lam) - conformal_distance(np.minimum(a, switch), omega, -lam)
    # Rounding: the closed form takes differences of terms up to 3 for results down to 0.01.
    found = cosmology.comoving_distance(z) / cosmology.hubble_distance
    np.testing.assert_allclose(found.to_value(1), late + early, rtol=1e-12)
    np.testing.assert_allclose(
        cosmology.luminosity_distance(z).value, (1 + z) * cosmology.comoving_distance(z).value, rtol=1e-14
    )


def test_astropys_own_quadrature_would_miss_the_jump():
    """Why the integrals are cut: it is out by 7e-5, seven orders above what the closed form leaves us."""
    cosmology, z = switched(), np.array([2.001, 2.003])
    plain = FLRW._comoving_distance_z1z2(cosmology, 0, z) / cosmology.comoving_distance(z)
    assert 1e-5 < np.max(np.abs(plain.value - 1)) < 1e-3


def test_times_are_the_closed_form():
    omega, lam, z_dagger = 0.3, 0.7, 2.0
    cosmology = FlatLambdaSCDM(100, omega, z_dagger=z_dagger)
    x = lambda z: np.sqrt(lam / omega) * (1 + z) ** -1.5  # noqa: E731
    unit = 2 / (3 * np.sqrt(lam))
    at_switch = unit * np.arcsin(x(z_dagger))
    age = (cosmology.age([0.0, 1.0, 2.0, 5.0, 1100.0]) / cosmology.hubble_time).to_value(1)
    late = at_switch + unit * (np.arcsinh(x(np.array([0.0, 1.0]))) - np.arcsinh(x(z_dagger)))
    early = unit * np.arcsin(x(np.array([2.0, 5.0, 1100.0])))
    np.testing.assert_allclose(age, [*late, *early], rtol=1e-12)
    lookback = (cosmology.lookback_time(5.0) / cosmology.hubble_time).to_value(1)
    np.testing.assert_allclose(lookback, age[0] - age[3], rtol=1e-12)


@pytest.mark.parametrize("nu", [0.7, 5.0, 300.0, 1e6])
def test_smooth_switches_of_any_steepness_with_massive_neutrinos(nu):
    cosmology = switched(nu=nu)
    cuts = [z for z in transition_redshifts(2.0, nu) if z < 6]
    for weight, found in (
        (lambda z: 1.0, (cosmology.comoving_distance(6.0) / cosmology.hubble_distance).to_value(1)),
        (lambda z: (1 + z) ** 2, cosmology.absorption_distance(6.0)),
        (lambda z: 1 / (1 + z), (cosmology.lookback_time(6.0) / cosmology.hubble_time).to_value(1)),
    ):
        want = quad(
            lambda z, weight=weight: weight(z) * cosmology.inv_efunc(z),
            0,
            6,
            points=cuts,
            epsabs=0,
            epsrel=1e-12,
            limit=500,
        )[0]
        np.testing.assert_allclose(found, want, rtol=1e-11)  # ten times what quad is asked for


def test_a_late_enough_switch_is_lcdm():
    z = np.array([0.1, 1.0, 3.0, 30.0, 1100.0])
    for nu in (np.inf, 0.1):
        cosmology = switched(z_dagger=1e4, nu=nu)
        for name in ("comoving_distance", "age", "absorption_distance", "efunc", "Ode", "Onu", "Om", "w"):
            ours, theirs = (u.Quantity(getattr(c, name)(z)).value for c in (cosmology, LCDM))
            # quad's absolute 1.5e-8 is 5e-7 of the age at z = 1100
            np.testing.assert_allclose(ours, theirs, rtol=1e-6 if name == "age" else 1e-10, err_msg=name)


def test_curvature_is_as_in_astropy():
    kwargs = {"H0": 70, "Om0": 0.3, "Ode0": 0.8, **NEUTRINOS}
    ours, theirs = LambdaSCDM(**kwargs, z_dagger=1e4), LambdaCDM(**kwargs)
    assert ours.Ok0 < -0.1
    for z in (0.5, 3.0):
        np.testing.assert_allclose(
            ours.comoving_transverse_distance(z).value, theirs.comoving_transverse_distance(z).value, rtol=1e-10
        )
        np.testing.assert_allclose(ours.comoving_volume(z).value, theirs.comoving_volume(z).value, rtol=1e-9)


def test_density_changes_its_sign():
    z = np.array([[0.0, 1.9], [2.1, 50.0]])
    assert np.array_equal(switched().de_density_scale(z), [[1, 1], [-1, -1]])
    assert switched().de_density_scale(2.0) == 0
    smooth = switched(nu=3.0)
    np.testing.assert_allclose(smooth.de_density_scale(z), np.tanh(3 * (2 - z)) / np.tanh(6), rtol=1e-14)
    assert smooth.de_density_scale(0.0) == 1
    np.testing.assert_allclose(switched(nu=1e9).de_density_scale(z), switched().de_density_scale(z), rtol=1e-14)
    np.testing.assert_array_equal(smooth.de_density_scale(z * cosmology_units.redshift), smooth.de_density_scale(z))
    # H² falls by what Λ does, on stepping back over z†
    before, after = switched().efunc(2.0 - 1e-9) ** 2, switched().efunc(2.0 + 1e-9) ** 2
    np.testing.assert_allclose(before - after, 2 * switched().Ode0, rtol=1e-6)  # 1e-9 of dE²/dz ≈ 9


def test_w_belongs_to_the_density():
    smooth, z, d = switched(nu=3.0), np.array([0.3, 1.2, 1.9, 2.1, 2.6, 4.0]), 1e-5
    slope = (density_scale(z + d, 2.0, 3.0) - density_scale(z - d, 2.0, 3.0)) / (2 * d)
    want = -1 + (1 + z) * slope / (3 * density_scale(z, 2.0, 3.0))
    np.testing.assert_allclose(smooth.w(z), want, rtol=1e-8)  # d² times the third derivative, near 100 ρ
    assert np.all(smooth.w(z[:3]) < -1)
    assert np.all(smooth.w(z[3:]) > -1)
    assert smooth.w(2.0) == -np.inf
    # Astropy's rule for any w(z), as far as w is finite
    np.testing.assert_allclose(FLRW.de_density_scale(smooth, z[:3]), smooth.de_density_scale(z[:3]), rtol=1e-7)
    assert np.array_equal(switched().w(z), np.full(6, -1.0))
    assert switched(nu=1e5).w(1.0) == -1


def test_what_astropy_promises_of_a_cosmology():
    cosmology = switched(nu=4.0)
    assert "z_dagger=2.0, nu=4.0" in repr(cosmology)
    assert list(inspect.signature(FlatLambdaSCDM).parameters) == [
        "H0", "Om0", "Tcmb0", "Neff", "m_nu", "Ob0", "z_dagger", "nu", "name", "meta",
    ]  # fmt: skip
    assert list(inspect.signature(LambdaSCDM).parameters)[2] == "Ode0"
    other = cosmology.clone(z_dagger=3.0)
    assert (other.z_dagger, other.nu, other.H0) == (3.0, 4.0, cosmology.H0)
    assert other != cosmology
    assert cosmology.is_flat
    assert cosmology.nonflat.is_equivalent(cosmology)
    assert type(cosmology.clone(to_nonflat=True)) is LambdaSCDM
    assert pickle.loads(pickle.dumps(cosmology)) == cosmology
    for form in ("mapping", "astropy.table", "yaml"):
        assert Cosmology.from_format(switched().to_format(form), format=form) == switched()
    between, both = cosmology.comoving_distance(1.0, 3.0), cosmology.comoving_distance([1.0, 3.0])
    np.testing.assert_allclose(between.value, both[1].value - both[0].value, rtol=1e-12)
    np.testing.assert_allclose(cosmology.comoving_distance(3.0, 1.0), -cosmology.comoving_distance(1.0, 3.0), rtol=0)
    assert np.shape(cosmology.comoving_distance(1.0)) == ()
    assert cosmology.age(np.ones((2, 3))).shape == (2, 3)


@pytest.mark.parametrize("nu", [np.inf, 5.0, 1.0])
def test_acoustic_scale_is_kept(nu):
    cosmology = at_same_acoustic_scale(LCDM, 2.0, nu, z_star=1089.9)
    # what astropy's quadrature of the reference leaves, 1e-10
    np.testing.assert_allclose(cosmology.comoving_distance(1089.9), LCDM.comoving_distance(1089.9), rtol=1e-9)
    for name in ("Om0", "Ob0", "Ogamma0", "Onu0"):
        ours, theirs = (getattr(c, name) * c.H0.value**2 for c in (cosmology, LCDM))
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)
    assert cosmology.H0 > LCDM.H0  # a slower expansion before z† must be made up for after it


def test_errors_say_what_to_mend():
    with pytest.raises(ValueError, match="z_dagger > 0 and nu > 0"):
        switched(z_dagger=-1.0)
    with pytest.raises(ValueError, match="z_dagger > 0 and nu > 0"):
        switched(nu=0.0)
    with pytest.raises(ValueError, match=r"H² is not positive behind z_dagger=0\.2"):
        switched(z_dagger=0.2)
    with pytest.raises(ValueError, match="H² is not positive"):
        switched(z_dagger=0.2, nu=100.0)
    with pytest.raises(ValueError, match="Ode0 > 0"):
        LambdaSCDM(70, 1.2, -0.2)
    with pytest.raises(ValueError, match="Ode0 > 0"):
        FlatLambdaSCDM(70, 1.2)
    with pytest.raises(ValueError, match=r"no flat LsCDM with z_dagger=0\.3"):
        at_same_acoustic_scale(LCDM, 0.3, z_star=1089.9)

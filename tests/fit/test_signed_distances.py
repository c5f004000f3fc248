"""Distances for Σmν of either sign, each definition by hand, and the ΛCDM point of every extended model."""

from dataclasses import replace

import numpy as np
import pytest

from lensrec.fit.desi_dr2 import LYA_EDGES, REDSHIFTS, bao_chi2, lya_hubble_distance
from lensrec.fit.signed_distances import DEFINITIONS, Distances, signed_distances
from lensrec.theory.background import background

LCDM = {"ombh2": 0.02236, "omch2": 0.1195, "thetastar": 0.010411}


def plain(mnu: float, **more: float) -> Distances:
    """Through theory.background alone."""
    model = background(**LCDM, mnu=mnu, **more)
    d_m, d_h = model.comoving_distance(REDSHIFTS), model.D_H(REDSHIFTS)
    return Distances(np.asarray(d_m), np.asarray(d_h), model.rdrag, model.H0, model.omega_m)


def difference(one: Distances, other: Distances) -> float:
    """The largest relative difference of any of the distances."""
    return max(float(np.max(np.abs(np.asarray(a) / np.asarray(b) - 1))) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("definition", ["mirrored", "background", "physical"])
@pytest.mark.parametrize("mnu", [0.0, 0.06, 0.4])
def test_positive_masses_are_the_same_in_all(definition: str, mnu: float) -> None:
    assert difference(signed_distances({**LCDM, "mnu": mnu}, definition), plain(mnu)) < 1e-12


@pytest.mark.parametrize("mnu", [-0.02, -0.16, -0.5])
def test_mirrored_by_hand(mnu: float) -> None:
    """X(−m) = 2X(0) − X(m), θ_* held: for D_M, D_H, r_d, H0 and Ω_m each."""
    found = signed_distances({**LCDM, "mnu": mnu}, "mirrored")
    zero, mirror = plain(0.0), plain(-mnu)
    assert found.transverse[3] == pytest.approx(2 * zero.transverse[3] - mirror.transverse[3], rel=1e-12)
    assert found.hubble[6] == pytest.approx(2 * zero.hubble[6] - mirror.hubble[6], rel=1e-12)
    assert found.rdrag == pytest.approx(2 * zero.rdrag - mirror.rdrag, rel=1e-12)
    expected = 2 * zero.H0 - mirror.H0
    assert abs(found.H0 - expected) < 1e-12 * expected
    assert found.omega_m == pytest.approx(2 * zero.omega_m - mirror.omega_m, rel=1e-12)
    # more H0 with a lighter sum, at the same θ_*
    assert found.H0 > zero.H0 > mirror.H0


def test_background_has_the_signed_density_in_h() -> None:
    """Another model than the mirror: apart by the square of the mass, which at −0.3 eV is seen by DESI."""
    for mnu in (-0.03, -0.3):
        found = signed_distances({**LCDM, "mnu": mnu}, "background")
        assert difference(found, plain(mnu)) < 1e-12
    apart = [
        difference(signed_distances({**LCDM, "mnu": m}, "background"), signed_distances({**LCDM, "mnu": m}, "mirrored"))
        for m in (-0.1, -0.2)
    ]
    assert apart[0] > 1e-5
    # quadratic in the mass but for the next order, some 0.2/1 eV
    assert apart[1] / apart[0] == pytest.approx(4, rel=0.4)


@pytest.mark.parametrize("definition", ["mirrored", "background"])
@pytest.mark.parametrize("more", [{}, {"w": -0.8, "wa": -0.6}, {"z_dagger": 2.2}])
def test_value_and_slope_are_continuous_at_zero(definition: str, more: dict[str, float]) -> None:
    def at(mnu: float) -> np.ndarray:
        found = signed_distances({**LCDM, **more, "mnu": mnu}, definition)
        return np.array([*found.transverse, *found.hubble, found.rdrag, found.H0, found.omega_m])

    # near zero distances go as m² (relativistic today below 2e-3 eV in all), then as m: steps where they are linear
    steps = (0.01, 0.02)
    zero = at(0.0)
    for step in steps:
        up, down = at(step) - zero, zero - at(-step)
        # the second order, relative to the first, is step/1 eV or so where the background is signed; none if mirrored
        tolerance = 1e-8 if definition == "mirrored" else 2.5 * step
        assert np.max(np.abs(up - down)) <= tolerance * np.max(np.abs(up))
    tiny = 1e-6
    assert np.max(np.abs(at(tiny) / at(-tiny) - 1)) < 1e-8


def test_lensing_knows_no_sign() -> None:
    physical = plain(0.06)
    for mnu in (-0.4, 0.0, 0.3):
        assert difference(signed_distances({**LCDM, "mnu": mnu}, "lensing"), physical) < 1e-12
    assert difference(signed_distances({**LCDM, "mnu": -0.1}, "lensing", mnu_geometry=0.1), plain(0.1)) < 1e-12


@pytest.mark.parametrize("definition", DEFINITIONS)
@pytest.mark.parametrize("mnu", [-0.2, 0.1])
def test_extended_models_at_their_lcdm_point(definition: str, mnu: float) -> None:
    """H, D_M and χ² of ΛCDM: w = −1, wa = 0; z† beyond recombination, abrupt and smooth."""
    if definition == "physical":
        mnu = abs(mnu)
    lcdm = signed_distances({**LCDM, "mnu": mnu}, definition)
    chi2 = bao_chi2(*lcdm[:3])
    dark = signed_distances({**LCDM, "mnu": mnu, "w": -1.0, "wa": 0.0}, definition)
    # by formula, not by falling back to Λ
    nearly = signed_distances({**LCDM, "mnu": mnu, "w": -1.0 + 1e-13, "wa": 0.0}, definition)
    assert difference(dark, lcdm) < 1e-12
    assert difference(nearly, lcdm) < 1e-10
    # every other distance; of the forest's own D_H below
    for transition in (None, 5.0):
        far = signed_distances({**LCDM, "mnu": mnu, "z_dagger": 5000.0}, definition, transition=transition)
        same = replace_forest(far, lcdm)
        assert difference(same, lcdm) < 1e-10
        assert float(bao_chi2(*same[:3])) == pytest.approx(float(chi2), rel=1e-6)
    # what a mean over the forest's redshifts makes of smooth ΛCDM: a thousandth, 0.03 of the forest's σ
    assert far.hubble[-1] == pytest.approx(lcdm.hubble[-1], rel=1e-3)


def replace_forest(one: Distances, other: Distances) -> Distances:
    return one._replace(hubble=np.append(one.hubble[:-1], other.hubble[-1]))


def test_the_forest_is_averaged_where_lambda_switches_its_sign() -> None:
    z_dagger = 2.4
    found = signed_distances({**LCDM, "mnu": 0.06, "z_dagger": z_dagger}, "physical")
    model = background(**LCDM, mnu=0.06, z_dagger=z_dagger)
    assert found.hubble[-1] == pytest.approx(float(lya_hubble_distance(model.comoving_distance(LYA_EDGES))), rel=1e-12)
    np.testing.assert_allclose(found.hubble[:-1], model.D_H(REDSHIFTS)[:-1], rtol=1e-12)
    # H falls behind the switch: the mean is above the local value before it
    assert found.hubble[-1] > float(model.D_H(2.33)) * 1.001
    # as it does over the switch of a transition steep enough
    steep = signed_distances({**LCDM, "mnu": 0.06, "z_dagger": z_dagger}, "physical", transition=500.0)
    assert difference(steep, found) < 1e-3


def test_h0_instead_of_the_acoustic_scale() -> None:
    model = background(**LCDM, mnu=0.06)
    given = {"ombh2": LCDM["ombh2"], "omch2": LCDM["omch2"], "H0": model.H0, "mnu": 0.06}
    assert difference(signed_distances(given, "physical"), plain(0.06)) < 1e-10
    assert replace(model, H0=model.H0).thetastar == pytest.approx(LCDM["thetastar"], rel=1e-10)


def test_what_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="negative, and neutrinos are physical here"):
        signed_distances({**LCDM, "mnu": -0.1}, "physical")
    for mnu in (-0.1, 0.1):
        with pytest.raises(
            ValueError, match="no definition 'effective' of negative neutrino masses; there are mirrored"
        ):
            signed_distances({**LCDM, "mnu": mnu}, "effective")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="w \\+ wa"):
        signed_distances({**LCDM, "mnu": 0.1, "w": 0.5, "wa": 0.0}, "physical")

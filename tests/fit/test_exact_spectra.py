"""Exact spectra: each definition of a negative mass by hand from CAMB's, and CAMB's own lensing."""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import camb
import numpy as np
import pytest
from numpy.typing import NDArray

from lensrec.fit import exact_spectra as module
from lensrec.fit.emulator import BLEND, PHYSICAL_MASS
from lensrec.fit.emulator_points import PARAMETERS
from lensrec.fit.exact_spectra import KEYS, VANISHING, exact_spectra, mirrored_potential
from lensrec.theory.acoustic_scale import UnlensedCosmology, unlensed_cosmology
from lensrec.theory.lensing import lensed_spectra

LMAX = 600
BASE = np.array([0.02236, 0.1202, 0.0104109, 3.045, 0.9649, 0.0544, 0.06, -1.0, 0.0])
MASS = PARAMETERS.index("mnu")


@lru_cache(maxsize=20)
def _known(theta: tuple[float, ...], settings: tuple[tuple[str, Any], ...]) -> UnlensedCosmology:
    return unlensed_cosmology(np.array(theta), **dict(settings))


def once(theta: NDArray, **settings: Any) -> UnlensedCosmology:
    """Each cosmology is computed once for all tests."""
    return _known(tuple(theta.tolist()), tuple(sorted(settings.items())))


@pytest.fixture(autouse=True)
def _remembered() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "unlensed_cosmology", once)
        yield


def at(mnu: float, **more: Any) -> dict[str, NDArray]:
    x = BASE.copy()
    x[MASS] = mnu
    return exact_spectra(x, lmax=LMAX, lens_potential_accuracy=1, nthreads=1, **more)


def cosmology(mnu: float) -> UnlensedCosmology:
    settings = {"lmax": LMAX, "hierarchy": "degenerate", "w": -1.0, "wa": 0.0, "lens_potential_accuracy": 1}
    return once(BASE[:6], mnu=max(mnu, VANISHING), **settings)


def test_camb_lenses_alike() -> None:
    params = camb.set_params(
        ombh2=BASE[0],
        omch2=BASE[1],
        thetastar=BASE[2],
        As=1e-10 * np.exp(BASE[3]),
        ns=BASE[4],
        tau=BASE[5],
        mnu=0.06,
        num_massive_neutrinos=3,
        neutrino_hierarchy="degenerate",
        lmax=2500,
        lens_potential_accuracy=1,
    )
    results = camb.get_results(params)
    theirs = results.get_lensed_scalar_cls(LMAX, CMB_unit="muK", raw_cl=True)
    found = at(0.06)
    assert set(found) == {*KEYS, "PP"}
    ell = slice(30, LMAX + 1)
    for key, column in (("TT", 0), ("EE", 1)):
        # two programs' lensing from one set of spectra, where C_L^φφ beyond CAMB's end counts for 1e-4
        np.testing.assert_allclose(found[key][ell], theirs[ell, column], rtol=5e-4)
    np.testing.assert_allclose(found["BB"][ell], theirs[ell, 2], rtol=1e-2)
    size = np.sqrt(theirs[ell, 0] * theirs[ell, 1])
    assert np.max(np.abs(found["TE"][ell] - theirs[ell, 3]) / size) < 5e-4
    potential = results.get_lens_potential_cls(LMAX, raw_cl=True)[:, 0]
    np.testing.assert_allclose(found["PP"][2 : LMAX + 1], potential[2:], rtol=1e-5)
    assert len(found["PP"]) == LMAX + 2501


def test_positive_masses_know_no_mirror_and_zero_is_the_same_from_both_sides() -> None:
    plain = lensed_spectra(cosmology(0.06).unlensed, cosmology(0.06).cl_phi, lmax=LMAX, nthreads=1)
    found, lensing = at(0.06), at(0.06, mirrored="lensing")
    for key in KEYS:
        np.testing.assert_array_equal(found[key], plain[key])
        np.testing.assert_array_equal(lensing[key], plain[key])
    np.testing.assert_array_equal(found["PP"], lensing["PP"])


def test_zero_is_what_small_masses_tend_to() -> None:
    """With Σmν = 0 itself CAMB treats neutrinos otherwise, and is off by 4e-4, which mirrors would count twice."""
    zero, small = at(0.0), at(2e-3)
    # ∂ln C_L^φφ/∂Σmν is below 1/eV, and less where neutrinos are still relativistic
    assert np.max(np.abs(small["PP"][40:] / zero["PP"][40:] - 1)) < 1e-4
    for key in ("TT", "EE"):
        np.testing.assert_allclose(small[key][30:], zero[key][30:], rtol=1e-4)


@pytest.mark.parametrize("mnu", [0.12, 0.5])
def test_observables_are_mirrored(mnu: float) -> None:
    here, zero, mirror = at(mnu), at(0.0), at(-mnu)
    for key in KEYS:
        np.testing.assert_allclose(mirror[key], 2 * zero[key] - here[key], rtol=1e-12, atol=1e-20)
    value, logarithm = 2 * zero["PP"] - here["PP"], np.zeros_like(zero["PP"])
    logarithm[2:] = zero["PP"][2:] ** 2 / here["PP"][2:]
    np.testing.assert_allclose(mirror["PP"], value if mnu < BLEND[0] else logarithm, rtol=1e-12)
    # lighter neutrinos, more lensing, but where they too cluster
    assert np.all(mirror["PP"][40:500] > zero["PP"][40:500])


def test_lensing_alone_moves_the_potential_and_what_it_smooths() -> None:
    found, zero, here = at(-0.12, mirrored="lensing"), at(0.0), at(0.12)
    potential = 2 * zero["PP"] - here["PP"]
    np.testing.assert_allclose(found["PP"], potential, rtol=1e-12)
    expected = lensed_spectra(cosmology(PHYSICAL_MASS).unlensed, potential, lmax=LMAX, nthreads=1)
    for key in KEYS:
        np.testing.assert_allclose(found[key], expected[key], rtol=1e-9, atol=1e-18)
    unsmoothed = at(-0.12, mirrored="lensing", a_smooth=0.0)
    for key in ("TT", "TE", "EE"):
        np.testing.assert_array_equal(unsmoothed[key], cosmology(PHYSICAL_MASS).unlensed[key][: LMAX + 1])


@pytest.mark.parametrize("mirrored", ["observables", "lensing"])
def test_a_ratio_and_an_amplitude(mirrored: str) -> None:
    ratio = 1 + 0.1 * np.exp(-np.arange(LMAX + 2501) / 300)
    plain, found = at(-0.12, mirrored=mirrored), at(-0.12, mirrored=mirrored, ratio=ratio, a_smooth=1.2)
    np.testing.assert_allclose(found["PP"], ratio * plain["PP"], rtol=1e-12)
    if mirrored == "lensing":
        expected = lensed_spectra(
            cosmology(PHYSICAL_MASS).unlensed, ratio * plain["PP"], lmax=LMAX, amplitude=1.2, nthreads=1
        )["TT"]
    else:
        each = [
            lensed_spectra(cosmology(m).unlensed, ratio * cosmology(m).cl_phi, lmax=LMAX, amplitude=1.2, nthreads=1)
            for m in (0.0, 0.12)
        ]
        expected = 2 * each[0]["TT"] - each[1]["TT"]
    np.testing.assert_allclose(found["TT"], expected, rtol=1e-9, atol=1e-18)


def test_mirrored_potential_has_no_step() -> None:
    zero = np.array([0.0, 0.0, 3.0, 2.0, 1.0])

    def here(mass: float) -> NDArray[np.float64]:
        return zero * np.exp(-0.9 * mass)

    for edge in (0.0, *BLEND):
        step = 1e-6
        m = edge + step * np.array([-1.0, 0.0, 1.0])
        values = np.array([mirrored_potential(zero, here(abs(v)), -v) if v > 0 else here(-v) for v in m])
        slopes = np.diff(values, axis=0)[:, 2:] / step
        # second derivatives are below 10/eV² of the value in the blend
        np.testing.assert_allclose(slopes[0], slopes[1], atol=1e-4)
    assert not np.any(mirrored_potential(zero, here(0.3), -0.3)[:2])


def test_refused() -> None:
    with pytest.raises(ValueError, match="mirrored"):
        at(-0.1, mirrored="background")
    x = BASE.copy()
    x[2] = 0.02
    with pytest.raises(ValueError, match="CAMB finds no spectra for"):
        exact_spectra(x, lmax=LMAX)

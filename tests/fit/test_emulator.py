"""The emulator of the theory, on a stand-in for CAMB that is smooth in all nine parameters."""

from dataclasses import replace
from math import comb
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.typing import NDArray

from lensrec.fit.emulator import BLEND, PHYSICAL_MASS, Emulator, potential_interpolation
from lensrec.fit.emulator_errors import errors_in_sigma, planck_like, true_spectra
from lensrec.fit.emulator_file import SHIPPED, from_matrices, shipped_emulator, to_matrices
from lensrec.fit.emulator_model import PARAMETERS, emulated_model, reference_point, with_ratio
from lensrec.fit.emulator_points import Box, EmulatorPoint, box_points, potential_knots
from lensrec.fit.emulator_regression import regressed
from lensrec.fit.emulator_training import Degrees, emulator_from
from lensrec.spectra.linear_data import LinearData
from lensrec.theory.acoustic_scale import acoustic_parameters
from lensrec.theory.boltzmann import FIDUCIAL
from lensrec.theory.lensing import lensed_spectra
from lensrec.theory.polynomials import weighted_degree
from tests.fit.emulator_stand_in import LMAX, stand_in

MASS = 6
SHORT = Degrees(3, (1, 1, 1, np.inf, 1, 1, 1, 1, 1))
POTENTIAL = Degrees(3, (1, 1, 1, 1, 1, np.inf, 1, 1, 1))


def values_at(x: NDArray) -> NDArray[np.float64]:
    return np.array([stand_in(EmulatorPoint(tuple(row), LMAX, 1.0)) for row in x])


@pytest.fixture(scope="module")
def emulator() -> Emulator:
    x = box_points(Box(), 128, seed=3)
    return emulator_from(
        x,
        values_at(x),
        values_at(Box().centre[None])[0],
        lmax=LMAX,
        cmb_degrees=SHORT,
        potential_degrees=POTENTIAL,
        n_primary=4,
        n_potential=4,
        n_shaped=2,
        nthreads=1,
    )


@pytest.fixture(scope="module")
def data(emulator: Emulator) -> LinearData:
    """Band powers of all kinds, with corrections of those of φφ by every spectrum."""
    bare = planck_like(emulator.spectra(emulator.box.centre), LMAX)
    rng = np.random.default_rng(5)
    lensing = bare.block == "PP"
    corrections = {
        key: np.where(lensing[:, None], rng.normal(size=(len(bare), LMAX + 1)) * 1e-14, 0.0)
        for key in ("TT", "TE", "EE")
    }
    corrections["PP"] = np.where(lensing[:, None], 0.1 * bare.windows["PP"], 0.0)
    return replace(bare, corrections=corrections, offset=np.where(lensing, 1e-12, 0.0))


def test_monomials_are_those_of_the_degree_and_their_derivatives_right() -> None:
    full = weighted_degree((1, 1, 1), 4)
    assert len(full) == comb(7, 3)
    anisotropic = weighted_degree((1, 2, np.inf), 4).powers.tolist()
    assert sorted(anisotropic) == sorted([i, j, 0] for i in range(5) for j in range(3) if i + 2 * j <= 4)
    y, step = np.array([0.3, -0.7, 0.9]), 1e-6
    for monomials in (full, weighted_degree((1, 2, np.inf), 4)):
        differences = [(monomials.value(y + d) - monomials.value(y - d)) / (2 * step) for d in step * np.eye(3)]
        # rounding of differences: 1e-16/1e-6
        np.testing.assert_allclose(monomials.derivatives(y), differences, atol=1e-8)


def test_regression_finds_a_polynomial_and_says_what_it_would_miss() -> None:
    rng = np.random.default_rng(11)
    monomials = weighted_degree((1, 1, 1), 4)
    y, new = rng.uniform(-1, 1, (60, 3)), rng.uniform(-1, 1, (400, 3))

    def f(at: NDArray) -> NDArray:
        return np.exp(0.4 * at[:, 0]) * np.cos(0.7 * at[:, 1]) + 0.1 * at[:, 2] ** 2

    found, left_out = regressed(monomials.value(y), monomials.powers, f(y)[:, None])
    errors = monomials.value(new) @ found[:, 0] - f(new)
    rms = np.sqrt(np.mean(errors**2))
    # what is beyond the fourth degree: 0.4 × 0.7⁴/4! = 4e-3 at a corner, a fifth of that in the mean
    assert 1e-5 < rms < 1e-3
    # 60 points left out in turn, 400 new: ten per cent each by number, more by the edges
    assert 0.5 < np.sqrt(np.mean(left_out**2)) / rms < 2.5
    quadratic = 1 + y[:, 0] - 2 * y[:, 1] * y[:, 2]
    exact, _ = regressed(monomials.value(y), monomials.powers, quadratic[:, None])
    np.testing.assert_allclose(monomials.value(new) @ exact[:, 0], 1 + new[:, 0] - 2 * new[:, 1] * new[:, 2], atol=1e-6)


def test_points_left_out_are_missed_as_by_fits_without_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """With one prior and one noise for all fits, those that the search begins with; more monomials than points."""
    monkeypatch.setattr("scipy.optimize.minimize", lambda function, start, **options: SimpleNamespace(x=start))
    rng = np.random.default_rng(12)
    monomials = weighted_degree((1, 1, 1), 4)
    y = rng.uniform(-1, 1, (20, 3))
    features, values = monomials.value(y), np.exp(y @ [0.4, -0.2, 0.1])[:, None]
    _, left_out = regressed(features, monomials.powers, values)
    for i in range(len(y)):
        others = np.arange(len(y)) != i
        without, _ = regressed(features[others], monomials.powers, values[others])
        # rounding times the condition number that a noise of 1e-6 leaves
        np.testing.assert_allclose(left_out[i], values[i] - features[i] @ without, rtol=1e-7)


def test_points_lie_in_the_box_and_more_of_them_begin_with_the_same() -> None:
    box = Box()
    x = box_points(box, 200, seed=1)
    assert np.all(box.inside(x))
    np.testing.assert_array_equal(box_points(box, 100, seed=1), x[:100])
    assert np.all(x[:, 7] + x[:, 8] <= box.early)
    assert 0.15 < np.mean((x[:, 7] == -1) & (x[:, 8] == 0)) < 0.35
    assert not box.inside(box.centre + np.array([0, 0, 0, 1.0, 0, 0, 0, 0, 0]))
    mirrored = box.centre.copy()
    mirrored[MASS] = -0.3
    assert box.inside(mirrored)


def test_unseen_points_are_met(emulator: Emulator) -> None:
    x = box_points(Box(), 6, seed=9)
    truths = [true_spectra(values, LMAX, nthreads=1) for values in values_at(x)]
    data = planck_like(truths[0], LMAX)
    errors = errors_in_sigma(emulator, x, truths, data)
    assert np.max(np.abs(errors)) < 0.1


@pytest.mark.parametrize("a_smooth", [0.0, 0.7, 1.3, 2.0])
def test_smoothing_is_that_of_the_lensed_spectra(emulator: Emulator, a_smooth: float) -> None:
    x = emulator.box.centre
    unlensed = emulator.unlensed_spectra(x)
    potential = emulator.spectra(x)["PP"]
    exact = lensed_spectra(unlensed, potential, lmax=LMAX, amplitude=a_smooth, nthreads=1)
    found = emulator.spectra(x, a_smooth=a_smooth)
    for key in ("TT", "EE", "BB") if a_smooth else ("TT", "EE"):
        # quartics in a through five amplitudes, 3e-5 in fit.response_surface, and splines of BB over 8 multipoles
        np.testing.assert_allclose(found[key][2:], exact[key][2:], rtol=1e-4, atol=1e-5 * np.max(exact[key]))
    np.testing.assert_array_equal(found["PP"], potential)


def test_a_ratio_changes_the_smoothing_as_it_changes_the_potential(emulator: Emulator) -> None:
    x = emulator.box.centre
    ell = np.arange(LMAX + 2501)
    ratio = 1 + 0.08 * np.tanh(np.log(np.maximum(ell, 2) / 80))
    exact = lensed_spectra(emulator.unlensed_spectra(x), ratio * emulator.spectra(x)["PP"], lmax=LMAX, nthreads=1)
    found, plain = emulator.spectra(x, ratio=ratio), emulator.spectra(x)
    np.testing.assert_allclose(found["PP"], ratio * plain["PP"])
    for key in ("TT", "EE", "BB"):
        change = np.max(np.abs(exact[key] - plain[key])[2:])
        # first order in an 8 % change of shape, linear between bands a factor 1.6 apart; what a change of amplitude and
        # one of shape do cancels in part
        assert np.max(np.abs(found[key] - exact[key])[2:]) < 0.2 * change


@pytest.mark.parametrize("mass", [0.05, 0.15, 0.7])
def test_observables_are_mirrored(emulator: Emulator, mass: float) -> None:
    here, zero, there = (emulator.box.centre.copy() for _ in range(3))
    here[MASS], zero[MASS], there[MASS] = mass, 0.0, -mass
    at, at_zero, mirror = (emulator.spectra(x) for x in (here, zero, there))
    for key in ("TT", "TE", "EE", "BB"):
        np.testing.assert_allclose(mirror[key], 2 * at_zero[key] - at[key], rtol=1e-9, atol=1e-12)
    if mass < BLEND[0]:
        np.testing.assert_allclose(mirror["PP"], 2 * at_zero["PP"] - at["PP"], rtol=1e-9)
    else:
        np.testing.assert_allclose(mirror["PP"][2:], (at_zero["PP"] ** 2)[2:] / at["PP"][2:], rtol=1e-9)
    for name in ("H0", "omega_m"):
        expected = 2 * emulator.derived(zero)[name] - emulator.derived(here)[name]
        np.testing.assert_allclose(emulator.derived(there)[name], expected)


def test_lensing_alone_leaves_the_primary_spectra(emulator: Emulator) -> None:
    light, heavy = emulator.box.centre.copy(), emulator.box.centre.copy()
    light[MASS], heavy[MASS] = -0.12, 0.4
    physical = emulator.box.centre.copy()
    physical[MASS] = PHYSICAL_MASS
    bare = emulator.spectra(physical, a_smooth=0.0)
    for x in (light, heavy):
        found = emulator.spectra(x, "lensing", a_smooth=0.0)
        np.testing.assert_allclose(found["TT"], bare["TT"], rtol=1e-12)
        np.testing.assert_allclose(emulator.spectra(x, "lensing")["PP"], emulator.spectra(x)["PP"], rtol=1e-12)
        assert emulator.derived(x, "lensing")["H0"] == emulator.derived(physical)["H0"]
    # the smoothing is that of the extrapolated potential, with the primary spectra of the physical mass
    exact = lensed_spectra(emulator.unlensed_spectra(physical), emulator.spectra(light)["PP"], lmax=LMAX, nthreads=1)
    found = emulator.spectra(light, "lensing")["TT"]
    smoothed = np.max(np.abs(exact["TT"] - bare["TT"])[2:])
    assert np.max(np.abs(found - exact["TT"])[2:]) < 0.01 * smoothed


@pytest.mark.parametrize("mirrored", ["observables", "lensing"])
@pytest.mark.parametrize("mass", [0.0, -BLEND[0], -0.3, -BLEND[1]])
def test_value_and_derivative_have_no_step(emulator: Emulator, mirrored: str, mass: float) -> None:
    step = 1e-5
    x = np.tile(emulator.box.centre, (4, 1))
    x[:, MASS] = mass + step * np.array([-2, -1, 1, 2])
    of = emulator.coefficients(x, np.ones(4), mirrored)
    for values in (of.cmb[:, 1, 0], of.log_potential[:, 40], of.derived[:, 0]):
        slopes = np.diff(values) / np.diff(x[:, MASS])
        typical = max(abs(slopes[1]), 1e-6)
        # the curvature is a few times the slope over an eV or, in the blend, over a tenth of that
        assert abs(slopes[2] - slopes[0]) < 1e-2 * typical


@pytest.mark.parametrize("mirrored", ["observables", "lensing"])
@pytest.mark.parametrize("mass", [0.21, -0.11, -0.31, -0.6])
def test_jacobian(emulator: Emulator, data: LinearData, mirrored: str, mass: float) -> None:
    ratio = 1 + 0.03 * np.cos(np.log(np.arange(1, LMAX + 2502)))
    model = emulated_model(data, emulator, mirrored=mirrored, ratio=ratio)
    z = np.array([*emulator.box.centre, 1.15, 0.95, 1.01, 0.98])
    low, high = np.array(Box().low), np.array(Box().high)
    z[:6] += 0.1 * (high - low)[:6] * np.array([1, -1, 0.5, 1, -1, 0.7])
    z[MASS], z[7], z[8] = mass, -0.8, -0.7
    steps = 1e-4 * np.array([*(high - low)[:6], 0.9, 1, 1, 1, 1, 1, 1])
    differences = np.array([(model.value(z + d) - model.value(z - d)) / 2 for d in np.diag(steps)]).T
    scale = np.maximum(np.max(np.abs(differences), axis=0), 1e-30)
    assert np.all(scale[[0, 3, MASS, 9, 10, 11]] > 1e-28)
    blocks = [data.block == "PP", data.block != "PP"]
    for block in blocks:
        found, expected = (model.jacobian(z) * steps)[block], differences[block]
        # central differences of smooth functions over 1e-4 of the box
        size = np.max(np.abs(expected), axis=0)
        assert np.all(np.abs(found - expected) <= 1e-5 * size + 1e-9 * np.max(np.abs(expected)))


def test_model_is_what_the_windows_read(emulator: Emulator, data: LinearData) -> None:
    model = emulated_model(data, emulator)
    x = emulator.box.centre.copy()
    x[MASS] = -0.08
    plain = np.array([*x, 1.0, 1.0, 1.0, 1.0])
    np.testing.assert_allclose(model.value(plain), data.expected(emulator.spectra(x)), rtol=1e-8)
    # several at a time; calibrations by their powers; A_L^φφ on what is of φφ
    smooth, phi, c, p = 1.2, 0.9, 1.01, 0.97
    spectra = emulator.spectra(x, a_smooth=smooth)
    gained = {"TT": c**2, "TE": c**2 * p, "EE": c**2 * p**2, "BB": c**2 * p**2, "PP": 1.0}
    seen = data.expected({key: gained[key] * cl for key, cl in spectra.items()}) - data.offset
    potential = (data.windows["PP"] + data.corrections["PP"]) @ spectra["PP"][: data.windows["PP"].shape[1]]
    start = emulator.spectra(reference_point())
    fixed = sum(data.corrections[key] @ start[key] for key in ("TT", "TE", "EE"))
    expected = (
        np.where(data.block == "PP", phi * potential + phi * (seen - potential) + (1 - phi) * fixed, seen) + data.offset
    )
    both = model.value(np.array([plain, [*x, smooth, phi, c, p]]))
    np.testing.assert_allclose(both, [model.value(plain), expected], rtol=1e-8)
    # a further model's C^φφ, made at once or put in later
    ratio = 1 + 0.03 * np.cos(np.log(np.arange(1, LMAX + 2502)))
    expected = data.expected(emulator.spectra(x, ratio=ratio))
    for further in (emulated_model(data, emulator, ratio=ratio), with_ratio(model, data, ratio)):
        np.testing.assert_allclose(further.value(plain), expected, rtol=1e-8)
    assert model.start.shape == (len(PARAMETERS),)


def test_windows_beyond_the_emulator_are_refused(emulator: Emulator, data: LinearData) -> None:
    wide = {"TT": np.zeros((len(data), LMAX + 2))}
    with pytest.raises(ValueError, match="the emulator ends at 200"):
        emulated_model(replace(data, windows=wide), emulator)
    with pytest.raises(ValueError, match="must reach L = 2700"):
        emulated_model(data, emulator, ratio=np.ones(100))


def test_single_precision_is_enough(emulator: Emulator) -> None:
    again = from_matrices(to_matrices(emulator))
    x = box_points(Box(), 3, seed=12)
    for point in x:
        for key, cl in emulator.spectra(point).items():
            # of coefficients of up to 40, ln C_L^φφ, in 6e-8
            np.testing.assert_allclose(again.spectra(point)[key], cl, rtol=2e-5, atol=1e-6 * np.max(np.abs(cl)))
    assert again.box == emulator.box
    with pytest.raises(ValueError, match="no emulator"):
        from_matrices({"BOX": np.zeros(20)})


def test_cosmologies_without_spectra_are_left_out() -> None:
    x = box_points(Box(), 12, seed=3)
    values = values_at(x)
    values[3:] = np.nan
    with pytest.raises(ValueError, match="got 3"):
        emulator_from(x, values, values[0], lmax=LMAX)


def test_interpolation_of_the_potential() -> None:
    ell = np.arange(LMAX + 2501.0)
    cl = np.where(ell > 1, 1e-8 / np.maximum(ell, 1) ** 4 / (1 + (ell / 60) ** 0.5), 0.0)
    found = potential_interpolation(LMAX) @ cl[potential_knots(LMAX)]
    # knots eight per cent apart; where they are whole numbers a factor apart, L = 2 and 3, nothing lies between
    np.testing.assert_allclose(found[2:], cl[2:], rtol=1e-5)


@pytest.mark.skipif(not SHIPPED.is_file(), reason="no emulator comes with this copy of the package")
def test_the_shipped_emulator_is_small_and_meets_camb(planck_theory: dict[str, NDArray[np.float64]]) -> None:
    """Against CAMB's own lensing at Planck's ΛCDM, by H0 and with one massive neutrino there."""
    emulator = shipped_emulator()
    assert SHIPPED.stat().st_size < 3e6
    x = np.array([*acoustic_parameters(FIDUCIAL), FIDUCIAL["mnu"], -1.0, 0.0])
    assert emulator.box.inside(x)
    truth = {**planck_theory, "BB": np.zeros(3101)}
    data = planck_like({**truth, "PP": truth["PP"][:3000]}, 2500)
    errors = errors_in_sigma(emulator, x[None], [truth], data)[0]
    # bins of Δℓ = 30 of half a sky; 0.1 σ is what is asked of unseen points
    assert np.max(np.abs(errors[data.block != "PP"])) < 0.1
    # three neutrinos for one of the same sum change C_L^φφ by 0.5 % there, and accuracy 4 for 1 by 0.1 %
    band = slice(8, 401)
    np.testing.assert_allclose(emulator.spectra(x)["PP"][band], truth["PP"][band], rtol=8e-3)
    np.testing.assert_allclose(emulator.derived(x)["H0"], FIDUCIAL["H0"], rtol=1e-3)

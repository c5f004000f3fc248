"""Second-order expansions against functions whose Taylor series is known, and CAMB."""

import numpy as np
import pytest

from lensrec.theory.acoustic_scale import acoustic_parameters, unlensed_cosmology
from lensrec.theory.boltzmann import FIDUCIAL, camb_spectra
from lensrec.theory.expansion import expansion, points, second_order

CENTRE, STEPS = np.array([0.3, -1.0, 2.0]), np.array([0.1, 0.4, 0.05])


@pytest.fixture
def quadratic():
    """f_n = a_n + b_n·θ + θ·H_n θ/2, four of them."""
    rng = np.random.default_rng(1)
    a, b, hessian = rng.normal(size=4), rng.normal(size=(4, 3)), rng.normal(size=(4, 3, 3))
    hessian += np.swapaxes(hessian, 1, 2)

    def value(theta):
        return a + theta @ b.T + np.einsum("...i,nij,...j->...n", theta, hessian, theta) / 2

    def slope(theta):
        return b + np.einsum("nij,...j->...ni", hessian, theta)

    return value, slope


def test_a_quadratic_is_itself_with_its_derivatives(quadratic):
    value, slope = quadratic
    theta = np.random.default_rng(2).normal(scale=3.0, size=(2, 5, 3))
    taylor = second_order(value, CENTRE, STEPS)
    # differences over steps of 0.05 of numbers near 10, times (3/0.05)²: 1e-15 · 1e4
    np.testing.assert_allclose(taylor.value(theta), value(theta), rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(taylor.jacobian(theta), slope(theta), rtol=1e-10, atol=1e-10)
    matrix = np.random.default_rng(3).normal(size=(2, 4))
    np.testing.assert_allclose(taylor.projected(matrix).value(theta), value(theta) @ matrix.T, rtol=1e-10, atol=1e-9)


def test_it_meets_the_function_on_its_axes_and_errs_at_third_order():
    def function(theta):
        return np.array([np.exp(theta.sum()), np.sin(theta[0] * theta[1]) + theta[2] ** 3])

    taylor = second_order(function, CENTRE, STEPS)
    assert np.array_equal(taylor.value(CENTRE), function(CENTRE))
    for point in points(CENTRE, STEPS)[1:7]:
        np.testing.assert_allclose(taylor.value(point), function(point), rtol=1e-14)
    direction = np.array([0.7, -1.1, 0.9])

    def error(scale):
        at = CENTRE + scale * STEPS * direction
        return np.abs(second_order(function, CENTRE, scale * STEPS).value(at) - function(at))

    # Halving range and steps together divides the third order by 8; the fourth, 0.1 of it here, takes its part.
    ratio = error(1.0) / error(0.5)
    assert np.all((ratio > 6.5) & (ratio < 9.5)), ratio


def test_points_can_be_computed_elsewhere(quadratic):
    value, _ = quadratic
    at = points(CENTRE, STEPS)
    assert at.shape == (1 + 3 + 9, 3)
    assert len({tuple(point) for point in at}) == len(at)
    stored = expansion(CENTRE, STEPS, [value(point) for point in at])
    assert np.array_equal(stored.coefficients, second_order(value, CENTRE, STEPS).coefficients)


def test_refusals(quadratic):
    value, _ = quadratic
    with pytest.raises(ValueError, match="positive step"):
        points(CENTRE, [0.1, 0.0, 0.1])
    with pytest.raises(ValueError, match="13 vectors"):
        expansion(CENTRE, STEPS, [value(CENTRE)] * 12)
    with pytest.raises(ValueError, match="3 parameters"):
        second_order(value, CENTRE, STEPS).value(np.zeros(2))


def test_spectra_by_the_acoustic_scale_are_those_by_the_hubble_rate():
    theta = acoustic_parameters(FIDUCIAL)
    # Planck 2018 VI, table 2: 100 θ_* = 1.04110 ± 0.00031, ln(10¹⁰A_s) = 3.044
    assert abs(theta[2] - 0.0104110) < 3e-6
    assert abs(theta[3] - 3.044) < 1e-3
    cosmology = unlensed_cosmology(theta, lmax=300, mnu=FIDUCIAL["mnu"], lens_potential_accuracy=1)
    # CAMB finds H0 from θ_* to 1e-5
    assert abs(cosmology.H0 - FIDUCIAL["H0"]) < 2e-3
    # Planck 2018 VI, table 2
    assert abs(cosmology.omega_m - 0.3153) < 1e-3
    expected = camb_spectra(300, cosmology=FIDUCIAL, lens_potential_accuracy=1)
    # 2e-5 in H0, at fixed densities, moves θ_* by 4e-6 and peaks by 1e-3 ℓ: below 1e-4 of C_ℓ, and CAMB's noise
    for key in ("TT", "EE"):
        np.testing.assert_allclose(cosmology.unlensed[key][2:301], expected.unlensed[key][2:], rtol=3e-4)
    np.testing.assert_allclose(cosmology.cl_phi[2:301], expected.potential["PP"][2:], rtol=1e-3)
    with pytest.raises(ValueError, match="flat"):
        acoustic_parameters({**FIDUCIAL, "omk": 0.01})

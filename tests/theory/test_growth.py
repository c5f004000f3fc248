import time
from itertools import pairwise

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.special import hyp2f1

from lensrec.theory.growth import linear_growth
from lensrec.theory.lambda_s import density_scale, transition_redshifts

OMEGA, LAMBDA = 0.3, 0.7
Z = np.linspace(0, 30, 301)


def hubble(z_dagger=np.inf, nu=np.inf):
    def of(z):
        sign = 1.0 if np.isinf(z_dagger) else density_scale(z, z_dagger, nu)
        return 100 * np.sqrt(OMEGA * (1 + z) ** 3 + LAMBDA * sign)

    return of


def growing(a, sign):
    """The growing mode of matter and Λ of either sign, a for a → 0, and its derivative by ln a."""
    y = -sign * LAMBDA / OMEGA * a**3
    slope = a * (hyp2f1(1 / 3, 1, 11 / 6, y) + 3 * y * (2 / 11) * hyp2f1(4 / 3, 2, 17 / 6, y))
    return a * hyp2f1(1 / 3, 1, 11 / 6, y), slope


def decaying(a, sign):
    """H/H0, and its derivative by ln a."""
    e = np.sqrt(OMEGA / a**3 + sign * LAMBDA)
    return e, -1.5 * OMEGA / a**3 / e


def test_lcdm_is_the_closed_form():
    growth = linear_growth(hubble(), OMEGA)
    D, slope = growing(1 / (1 + Z), 1)
    # Fourth-order steps of 0.02, and what the start leaves; measured 8e-9.
    np.testing.assert_allclose(growth(Z), D / growing(1 / 31, 1)[0], rtol=2e-7)
    np.testing.assert_allclose(growth.rate(Z), slope / D, rtol=1e-6)
    assert growth(30.0) == pytest.approx(1, abs=1e-12)


def test_steps_are_of_fourth_order():
    today = growing(1.0, 1)[0] / growing(1 / 31, 1)[0]
    finest = linear_growth(hubble(), OMEGA, step=0.005)(0.0)
    errors = [abs(linear_growth(hubble(), OMEGA, step=h)(0.0) / finest - 1) for h in (0.16, 0.08)]
    assert 12 < errors[0] / errors[1] < 20
    assert abs(finest / today - 1) < 1e-7  # what is left is the start's


def test_matter_alone_and_matter_that_clusters_in_part():
    def einstein_de_sitter(z):
        return 100 * (1 + z) ** 1.5

    for omega in (1.0, 0.95):
        p = (np.sqrt(1 + 24 * omega) - 1) / 4
        growth = linear_growth(einstein_de_sitter, omega)
        np.testing.assert_allclose(growth(Z), (31 / (1 + Z)) ** p, rtol=1e-7)
        np.testing.assert_allclose(growth.rate(Z), p, rtol=1e-6)


def test_with_radiation_it_is_meszaros():
    y = 3400 / (1 + Z)
    growth = linear_growth(lambda z: 100 * np.sqrt(OMEGA * (1 + z) ** 3 * (1 + (1 + z) / 3400)), OMEGA)
    # The start at z = 228 is right to 1 %, of which e⁻⁵ is left at z = 30; measured 2e-5.
    np.testing.assert_allclose(growth(Z), (1 + 1.5 * y) / (1 + 1.5 * 3400 / 31), rtol=5e-5)
    early = np.array([100.0, 300.0, 1000.0])
    want = (1 + 1.5 * 3400 / (1 + early)) / (1 + 1.5 * 3400 / 31)
    np.testing.assert_allclose(growth(early), want, rtol=0.03)  # measured 4e-4, 5e-3, 2e-2


@pytest.mark.parametrize("z_dagger", [0.9, 2.0, 4.0])
def test_across_a_jump_it_is_the_closed_form(z_dagger):
    """Growing and decaying modes of Λ < 0 and Λ > 0, put together so that D and H D′ are continuous."""
    switch = 1 / (1 + z_dagger)
    e_before, e_after = decaying(switch, -1)[0], decaying(switch, 1)[0]
    D, slope = growing(switch, -1)
    modes = np.array([growing(switch, 1), decaying(switch, 1)])
    shares = np.linalg.solve(modes.T, [D, slope * e_before / e_after])
    a = 1 / (1 + Z)
    late = shares @ [growing(a, 1)[0], decaying(a, 1)[0]]
    want = np.where(z_dagger > Z, late, growing(np.minimum(a, switch), -1)[0]) / growing(1 / 31, -1)[0]
    growth = linear_growth(hubble(z_dagger), OMEGA, breaks=(z_dagger,))
    np.testing.assert_allclose(growth(Z), want, rtol=3e-7)  # as for ΛCDM; measured 3e-8
    f_before, f_after = growth.rate(z_dagger + 1e-6), growth.rate(z_dagger - 1e-6)
    np.testing.assert_allclose(f_after / f_before, e_before / e_after, rtol=1e-5)  # 1e-6 of z either side
    # Continuity of D′ in its stead is another result, by far more than the tolerance.
    wrong = np.linalg.solve(modes.T, [D, slope]) @ [growing(1.0, 1)[0], decaying(1.0, 1)[0]]
    assert abs(wrong / late[0] - 1) > 1e-3


def test_the_jump_is_the_limit_of_smooth_switches():
    """The equation of second order itself, with dlnH/dln a through a steep tanh, by an adaptive solver."""
    nu, z_dagger = 300.0, 2.0

    def equation(x, y):
        z, a = np.exp(-x) - 1, np.exp(x)
        h2 = OMEGA / a**3 + LAMBDA * density_scale(z, z_dagger, nu)
        # dρ_Λ/dln a = −(1+z) dρ_Λ/dz
        rise = LAMBDA * (1 + z) * nu / np.cosh(np.clip(nu * (z_dagger - z), -300, 300)) ** 2
        slope = (-3 * OMEGA / a**3 + rise) / (2 * h2)
        return [y[1], 1.5 * OMEGA / a**3 / h2 * y[0] - (2 + slope) * y[1]]

    x = -np.log(np.array([31.0, 3 + 0.1, 3 - 0.1, 1.0]))
    y = np.array(growing(1 / 31, -1))
    for low, high in pairwise(x):
        step = (high - low) / (2000 if high < -1.05 and low > -1.15 else 10)
        y = solve_ivp(equation, (low, high), y, method="DOP853", rtol=1e-10, atol=0, max_step=step).y[:, -1]
    exact = y[0] / growing(1 / 31, -1)[0]
    smooth = linear_growth(hubble(z_dagger, nu), OMEGA, breaks=transition_redshifts(z_dagger, nu))(0.0)
    np.testing.assert_allclose(smooth, exact, rtol=1e-6)
    # The effect of a switch of width w = 1/ν that is symmetric about z† is of order w².
    abrupt = linear_growth(hubble(z_dagger), OMEGA, breaks=(z_dagger,))(0.0)
    np.testing.assert_allclose(abrupt, exact, rtol=1e-4)


def test_errors_and_time():
    with pytest.raises(ValueError, match="growth needs H > 0"):
        linear_growth(lambda z: 100 * np.sqrt(np.maximum((1 + z) ** 3 - 10, 0.0)), 1.0)
    growth = linear_growth(hubble(), OMEGA)
    with pytest.raises(ValueError, match="z >= 0"):
        growth(-0.5)
    assert growth(np.ones((2, 3))).shape == (2, 3)
    times = []
    for _ in range(5):
        start = time.process_time()
        linear_growth(hubble(), OMEGA, breaks=(2.0,))
        times.append(time.process_time() - start)
    assert min(times) < 0.02  # a sampler calls it; 1 ms on a quiet core

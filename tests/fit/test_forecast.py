"""Forecasts against closed forms, brute force, finite differences, and fits to mock data, for a theory of formulae."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from lensrec.fit import desi_dr2, forecast_theory
from lensrec.fit.forecast import (
    LCDM,
    Forecast,
    bao_block,
    derived_sigma,
    forecast,
    names,
    survey_blocks,
    survey_noise,
    survey_reconstruction,
)
from lensrec.fit.forecast_bao import FULL_PERCENT, FULL_REDSHIFTS, REDSHIFTS, survey
from lensrec.fit.forecast_covariance import (
    AMPLITUDES,
    Block,
    LensedTheory,
    Range,
    band_edges,
    band_powers,
    cmb_block,
    fisher_matrix,
    lensed_theory,
    lenses,
)
from lensrec.fit.forecast_mock import displaced, gauss_newton, importance_sample, mock_chi2
from lensrec.fit.forecast_noise import (
    ARCMIN,
    EXPERIMENTS,
    PLANCK,
    Channel,
    combined_noise,
    noise_spectra,
    reconstruction_noise,
    residual_potential,
)
from lensrec.fit.forecast_theory import FIDUCIAL, STEPS, Responses, TheoryPoint, evaluate, layout, responses
from lensrec.stages.forecast import ForecastSettings, forecasts, published_so_noise
from lensrec.theory.lensed_response import lensed_derivatives
from lensrec.theory.lensing import lensed_spectra

LMAX = 400
FSKY = 0.4


def toy(point: TheoryPoint) -> NDArray[np.float64]:
    """Peaks, damping, reionisation and neutrino masses by formulae as steep in each parameter as the real ones are."""
    p, shape = dict(point.parameters), layout(point.lmax)
    scale = p["thetastar"] / FIDUCIAL["thetastar"]
    ell = np.maximum(np.arange(shape.cmb), 2.0)
    x = ell * scale
    power = np.exp(p["logA"] - FIDUCIAL["logA"]) * (x / 500) ** (p["ns"] - FIDUCIAL["ns"])
    heavy, light = p["omch2"] / FIDUCIAL["omch2"] - 1, p["ombh2"] / FIDUCIAL["ombh2"] - 1
    damping = power * np.exp(-2 * (p["tau"] - FIDUCIAL["tau"]) - (x / 1100) ** 1.2) * 2 * np.pi / (ell * (ell + 1))
    phase = 2 * np.pi * x / 300
    tt = 3000 * damping * (1 + (0.5 + light) * np.cos(phase) - heavy * (1 - x / 1000))
    ee = 20 * damping * (1 - (0.5 + 0.5 * light) * np.cos(phase) - heavy * (1 - x / 800))
    te = 60 * damping * np.sin(phase) * (1 - heavy)
    big = np.maximum(np.arange(shape.lmax_phi + 1), 1.0)
    phi = 1e-7 * np.exp(p["logA"] - FIDUCIAL["logA"]) * (1 + 1.5 * heavy - 0.45 * (p["mnu"] - 0.06)) * 2 * np.pi
    phi = phi / (big * (big + 1)) ** 2 * (big / 60) / (1 + (big / 60) ** 2)
    for cl in (tt, ee, te, phi):
        cl[:2] = 0.0
    omega = 0.31 * (1 + heavy + 0.9 * (p["mnu"] - 0.06) - 6 * (scale - 1))
    z = np.linspace(0, REDSHIFTS.max(), 400)
    density = omega * (1 + z) ** 3 + (1 - omega) * (1 + z) ** (3 * (1 + p["w"] + 0.3 * p["wa"]))
    d_h = 4400 * density**-0.5
    d_m = np.concatenate([[0], np.cumsum((d_h[1:] + d_h[:-1]) / 2 * np.diff(z))])
    tail = [147 * (1 - 0.25 * heavy - 0.13 * light), 67 * (1 - 3 * (omega - 0.31)), omega]
    return np.concatenate([tt, ee, te, phi, np.interp(REDSHIFTS, z, d_m), np.interp(REDSHIFTS, z, d_h), tail])


def toys(_: object, points: Iterable[TheoryPoint]) -> list[NDArray]:
    return [toy(point) for point in points]


@pytest.fixture(scope="module", autouse=True)
def short() -> Iterator[None]:
    """Spectra that end soon after LMAX: what is compared here ends where they do on both sides."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("DAMPED", 700), ("BEYOND", 300), ("BEYOND_PHI", 300)):
            patch.setattr(forecast_theory, name, value)
        yield


@pytest.fixture(scope="module")
def theory() -> Responses:
    return responses(lmax=LMAX, mapping=toys)


@pytest.fixture(scope="module")
def sky(theory: Responses) -> LensedTheory:
    return lensed_theory(theory, LMAX)


@pytest.fixture(scope="module")
def n0(theory: Responses) -> NDArray[np.float64]:
    """A third of C_L at L = 50, flat in κ as real ones are."""
    ell = np.maximum(np.arange(LMAX + 1.0), 2.0)
    kappa = theory.layout.cl_phi(theory.value)[50] * 50**4 / 3
    return np.where(np.arange(LMAX + 1) < 2, 0.0, kappa / (ell * (ell + 1)) ** 2)


NOISE = noise_spectra((Channel(5.0, 2.0),), LMAX)
RANGES = {key: Range(30, 400) for key in ("TT", "TE", "EE")} | {"PP": Range(10, 300)}


@pytest.fixture(scope="module")
def block(sky: LensedTheory, n0: NDArray) -> Block:
    return cmb_block("toy", sky, NOISE, RANGES, FSKY, n0=n0)


def test_error_of_the_lensing_amplitude_is_that_of_mode_counting(sky: LensedTheory, n0: NDArray) -> None:
    """σ(A)⁻² = f_sky/2 Σ (2L+1) C²/(C+N)²: bands weighted by inverse variance lose nothing of an amplitude."""
    own = cmb_block("phi", sky, NOISE, {"PP": Range(10, 300)}, FSKY, n0=n0)
    found = forecast(fisher_matrix([own]), (*FIDUCIAL, *AMPLITUDES), ("A_L_phiphi",))
    ell = np.arange(10, 300)
    signal = sky.cl_phi[10:300]
    expected = (FSKY / 2 * np.sum((2 * ell + 1) * (signal / (signal + n0[10:300])) ** 2)) ** -0.5
    # the same sum in another order
    np.testing.assert_allclose(found.sigma("A_L_phiphi"), expected, rtol=1e-10)


def test_error_of_an_amplitude_of_the_cmb_is_that_of_mode_counting(theory: Responses) -> None:
    """σ(ln A) = (f_sky/2 Σ (2ℓ+1))^−½ from TT without noise or lenses; bands lose what changes within them."""
    bare = replace(theory, value=theory.value.copy(), first=theory.first.copy())
    theory.layout.cl_phi(bare.value)[:] = 0.0
    for row in bare.first:
        theory.layout.cl_phi(row)[:] = 0.0
    quiet = {key: np.zeros(LMAX + 1) for key in ("TT", "EE", "BB")}
    own = cmb_block("tt", lensed_theory(bare, LMAX), quiet, {"TT": Range(30, 400)}, FSKY)
    sigma = forecast(fisher_matrix([own]), names(bare), ("logA",)).sigma("logA")
    modes = np.sum(2 * np.arange(30, 400) + 1)
    # Cauchy–Schwarz: never better; ℓ²C_ℓ changes by up to a third in a band of 25 here, of which (0.1)² is lost
    assert 1.0 - 1e-4 < sigma / (2 / (FSKY * modes)) ** 0.5 < 1.01


def test_joint_covariance_is_the_brute_force_sum(
    theory: Responses, sky: LensedTheory, block: Block, n0: NDArray
) -> None:
    """Multipole by multipole, with responses from single multipoles of C_L instead of from bands."""
    shape = theory.layout
    each = lensed_derivatives(shape.spectra(theory.value), sky.cl_phi, np.eye(len(sky.cl_phi))[:320], lmax=LMAX)
    ell, big = np.arange(LMAX + 1), np.arange(320)
    variance = 2 * sky.cl_phi[:320] ** 2 / ((2 * big + 1) * FSKY)
    total = {key: sky.lensed[key] + NOISE.get(key, 0.0) for key in ("TT", "EE", "TE")}
    total["ET"] = total["TE"]
    at = {"TT": 3, "TE": block.sizes["TT"] + 4, "EE": block.sizes["TT"] + block.sizes["TE"] + 3}
    for x, i in at.items():
        for y, j in at.items():
            gaussian = total[x[0] + y[0]] * total[x[1] + y[1]] + total[x[0] + y[1]] * total[x[1] + y[0]]
            first, second = block.windows[x][i], block.windows[y][j]
            lens = np.sum((first @ each[x]) * variance * (second @ each[y]))
            expected = np.sum(first * second * gaussian / ((2 * ell + 1) * FSKY)) + lens
            scale = np.sqrt(block.covariance[i, i] * block.covariance[j, j])
            # lenses beyond L = 320 are left out of the brute force: below 1e-3 of what they do at ℓ ≤ 400
            assert abs(block.covariance[i, j] - expected) < 1e-5 * scale
    k = sum(block.sizes[key] for key in ("TT", "TE", "EE")) + 2
    window = block.windows["PP"][k]
    for x, i in at.items():
        cross = np.sum((block.windows[x][i] @ each[x]) * variance * window[:320])
        np.testing.assert_allclose(block.covariance[i, k], cross, rtol=1e-6)
    expected = np.sum(window[:300] ** 2 * 2 * (sky.cl_phi[:300] + n0[:300]) ** 2 / ((2 * np.arange(300) + 1) * FSKY))
    np.testing.assert_allclose(block.covariance[k, k], expected, rtol=1e-10)


def test_derivatives_are_differences_of_band_powers(theory: Responses, block: Block) -> None:
    """Of the whole chain, lensing included, not of its parts."""
    for name in ("logA", "mnu", "thetastar"):
        h = STEPS[name]
        up, down = (_bands(block, {name: FIDUCIAL[name] + sign * h}) for sign in (1, -1))
        own = block.derivatives[theory.parameters.index(name)]
        sigma = np.sqrt(np.diag(block.covariance))
        # third orders: (0.02)²/6 of the effect of logA, and (2π 400/300 5e-4)²/6 of that of θ_*
        np.testing.assert_allclose(((up - down) / (2 * h) - own) / sigma, 0, atol=1e-3 * np.abs(own / sigma).max())
    h = 0.01
    for k, change in ((0, "a_smooth"), (1, "a_phi")):
        up, down = (_bands(block, {}, **{change: 1 + sign * h}) for sign in (1, -1))
        own, sigma = block.derivatives[len(theory.parameters) + k], np.sqrt(np.diag(block.covariance))
        np.testing.assert_allclose(((up - down) / (2 * h) - own) / sigma, 0, atol=1e-4 * np.abs(own / sigma).max())


def _bands(block: Block, moved: dict[str, float], a_smooth: float = 1.0, a_phi: float = 1.0) -> NDArray[np.float64]:
    shape = layout(LMAX)
    vector = toy(TheoryPoint(tuple({**FIDUCIAL, **moved}.items()), LMAX, 1.0))
    return band_powers(block, shape.spectra(vector), shape.cl_phi(vector), a_smooth=a_smooth, a_phi=a_phi)


def test_central_differences_converge_as_the_square_of_the_step() -> None:
    """∂C/∂logA = C exactly; what differences get wrong is h²/6 of it."""
    errors = []
    for h in (0.1, 0.05):
        found = responses(lmax=LMAX, parameters=("logA",), steps={"logA": h}, mapping=toys)
        tt = found.layout.spectra(found.value)["TT"][2:]
        errors.append(found.layout.spectra(found.first[0])["TT"][2:] / tt - 1)
        np.testing.assert_allclose(found.layout.spectra(found.second[0])["TT"][2:] / tt, 1, atol=h**2 / 11)
    np.testing.assert_allclose(errors[0], 0.1**2 / 6, rtol=1e-3)
    np.testing.assert_allclose(errors[0] / errors[1], 4, rtol=2e-3)


def test_forecast_is_the_fit_of_a_mock(theory: Responses, block: Block) -> None:
    """A fit that starts 2σ away comes back to what the mock was made of, with the Fisher matrix's errors."""
    free = ("logA", "ns", "A_L_TTTEEE", "A_L_phiphi")
    found = forecast(fisher_matrix([block]), names(theory), free)

    def model(theta: NDArray) -> NDArray[np.float64]:
        return _bands(block, {"logA": theta[0], "ns": theta[1]}, a_smooth=theta[2], a_phi=theta[3])

    truth = np.array([FIDUCIAL["logA"], FIDUCIAL["ns"], 1.0, 1.0])
    sigma = np.sqrt(np.diag(found.covariance))
    start = truth + 2 * sigma * np.array([1, -1, 1, -1])
    fit = gauss_newton(model, model(truth), block.covariance, start, sigma / 10, iterations=3)
    # two rounds beyond the linear one: what is left is the cube of the curvature
    np.testing.assert_allclose((fit.mean - truth) / sigma, 0, atol=1e-2)
    # steps of σ/10 against STEPS', and the best fit within 0.01σ
    np.testing.assert_allclose(
        fit.covariance / np.outer(sigma, sigma), found.covariance / np.outer(sigma, sigma), atol=0.02
    )


def test_chi2_of_a_mock_grows_as_the_square_of_sigmas(theory: Responses, block: Block) -> None:
    """Along the direction in which a forecast puts Σmν, −2 ln L of a mock with prior and BAO is n²."""
    total = fisher_matrix([block, bao_block(theory, "full")])
    found = forecast(total, names(theory), (*LCDM, "mnu"), priors={"tau": 0.01})
    for n in (-1.0, 1.0):
        moved = displaced(found, theory, "mnu", n)
        assert moved["mnu"] == pytest.approx(0.06 + n * found.sigma("mnu"))
        vector = toy(TheoryPoint(tuple(moved.items()), LMAX, 1.0))
        chi2 = mock_chi2([block], "full", theory, vector) + ((moved["tau"] - FIDUCIAL["tau"]) / 0.01) ** 2
        # the toy's own curvature over these σ, which are 1 % of ω_b and ω_c
        assert chi2 == pytest.approx(1.0, abs=0.01)


def test_ignored_smoothing_pulls_as_stated(theory: Responses, sky: LensedTheory) -> None:
    """Without φ̂φ̂, data with A_L^TTTEEE = 1.02 are those of a mass 0.02/0.45 eV lower, which makes C_L 2 % higher."""
    own = cmb_block("cmb", sky, NOISE, {key: RANGES[key] for key in ("TT", "TE", "EE")}, FSKY)
    found = forecast(fisher_matrix([own]), names(theory), ("logA", "ns", "mnu"))
    assert found.pull("mnu", "A_L_TTTEEE", -0.02) == pytest.approx(-0.02 / 0.45, rel=1e-6)
    assert abs(found.pull("logA", "A_L_TTTEEE", -0.02)) < 1e-6 * found.sigma("logA")
    np.testing.assert_allclose(_bands(own, {}, a_smooth=1.02), _bands(own, {"mnu": 0.06 - 0.02 / 0.45}), rtol=1e-9)


def test_importance_sampling_finds_a_known_posterior() -> None:
    """A linear model with a prior: mean at the data, covariance (Jᵀ C⁻¹ J + P)⁻¹."""
    rng = np.random.default_rng(5)
    jacobian, noise = rng.normal(size=(6, 2)), np.diag(rng.uniform(0.5, 2, 6))
    prior = np.diag([0.0, 4.0])
    curvature = jacobian.T @ np.linalg.inv(noise) @ jacobian + prior
    proposal = Forecast(("a", "b"), np.linalg.inv(curvature), curvature, {}, {})
    fit = importance_sample(
        lambda theta: jacobian @ theta, np.zeros(6), noise, proposal, [0, 0], count=20000, rng=rng, prior=prior
    )
    sigma = np.sqrt(np.diag(proposal.covariance))
    # 5σ for each of five numbers, seed fixed
    np.testing.assert_allclose(fit.mean / sigma, 0, atol=5 * fit.effective**-0.5)
    ratio = fit.covariance / np.outer(sigma, sigma)
    np.testing.assert_allclose(ratio, proposal.covariance / np.outer(sigma, sigma), atol=5 * (2 / fit.effective) ** 0.5)
    assert fit.effective > 15000


def test_data_never_make_errors_worse_and_priors_have_their_limits(theory: Responses, block: Block) -> None:
    free = (*LCDM, "mnu")
    cmb = fisher_matrix([block])
    alone = forecast(cmb, names(theory), free, priors={"tau": 0.01})
    for name in ("full", "dr2"):
        more = forecast(cmb + fisher_matrix([bao_block(theory, name)]), names(theory), free, priors={"tau": 0.01})
        assert all(more.sigma(p) <= alone.sigma(p) * (1 + 1e-9) for p in free)
        assert more.sigma("mnu") < 0.9 * alone.sigma("mnu")
        assert derived_sigma(more, theory, "H0") < derived_sigma(alone, theory, "H0")
    assert alone.sigma("tau") <= 0.01
    tight = forecast(cmb, names(theory), free, priors={"tau": 1e-6})
    held = forecast(cmb, names(theory), tuple(p for p in free if p != "tau"))
    np.testing.assert_allclose(
        [tight.sigma(p) for p in held.parameters], [held.sigma(p) for p in held.parameters], rtol=1e-4
    )
    both = cmb + fisher_matrix([bao_block(theory, "full")])
    freed, fixed = (
        forecast(both, names(theory), which, priors={"tau": 0.01}) for which in ((*free, *AMPLITUDES), free)
    )
    assert freed.sigma("mnu") > fixed.sigma("mnu")
    ellipse = alone.ellipse("tau", "mnu")
    assert ellipse[0, 1] / np.sqrt(ellipse[0, 0] * ellipse[1, 1]) == pytest.approx(alone.correlation("tau", "mnu"))


def test_delensing(theory: Responses, sky: LensedTheory, block: Block, n0: NDArray) -> None:
    """No cross-block is left, peaks are sharper, C_r follows both amplitudes, and no lensing is left where N = 0."""
    clean = lensed_theory(theory, LMAX, n0=n0)
    own = cmb_block("delensed", clean, NOISE, RANGES, FSKY, n0=n0)
    m = own.sizes["PP"]
    assert not own.covariance[:-m, -m:].any()
    assert np.abs(block.covariance[:-m, -m:]).max() > 0
    unlensed = theory.layout.spectra(theory.value)
    change = {
        key: np.abs(t.lensed["EE"][2:] / unlensed["EE"][2 : LMAX + 1] - 1).max()
        for key, t in (("a", sky), ("b", clean))
    }
    assert change["b"] < 0.7 * change["a"]
    cl = sky.cl_phi
    kept = lenses(cl, n0).cl[2 : LMAX + 1] / cl[2 : LMAX + 1]
    w, signal, noise = 1 - kept, cl[2 : LMAX + 1], n0[2:]

    def residual(smooth: float, recon: float) -> NDArray[np.float64]:
        both = np.sqrt(smooth * recon) * signal
        return smooth * signal - 2 * w * both + w**2 * (recon * signal + noise)

    h, acting = 1e-4, clean.acting
    np.testing.assert_allclose(residual(1, 1), acting.cl[2 : LMAX + 1], rtol=1e-12)
    for k, given in enumerate((acting.by_smoothing, acting.by_reconstruction)):
        step = np.eye(2)[k] * h
        slope = (residual(*(1 + step)) - residual(*(1 - step))) / (2 * h)
        # rounding over the step, and third order of the root
        np.testing.assert_allclose(slope, given[2 : LMAX + 1], rtol=1e-6, atol=1e-9 * signal.max())
    # by C_L itself, to which all of it but the noise is in proportion, the filter staying as it is
    slope = (residual(1 + h, 1 + h) - residual(1 - h, 1 - h)) / (2 * h * signal)
    np.testing.assert_allclose(slope, acting.by_potential[2 : LMAX + 1], rtol=1e-6, atol=1e-9)
    assert not residual_potential(cl, np.full(len(cl), 1e-40))[2:].max() > 1e-30
    np.testing.assert_allclose(residual_potential(cl, np.full(len(cl), 1e10)), cl, rtol=1e-12)


def test_what_delensing_leaves_is_independent_of_the_reconstruction() -> None:
    """cov(|φ − Wφ̂|², |φ̂|²) = 0 for a Wiener filter, and not for another; variance 2 C_r² per real mode."""
    rng = np.random.default_rng(3)
    count, signal, noise = 400_000, 1.0, 0.5
    phi = rng.normal(size=count)
    estimate = phi + noise**0.5 * rng.normal(size=count)
    wiener = signal / (signal + noise)
    left = phi - wiener * estimate
    # 5σ of a correlation of independent numbers
    assert abs(np.corrcoef(left**2, estimate**2)[0, 1]) < 5 * count**-0.5
    assert abs(np.corrcoef((phi - 0.4 * estimate) ** 2, estimate**2)[0, 1]) > 20 * count**-0.5
    # the variance of a χ² variable's square is 14 times as uncertain as that of a Gaussian
    assert np.var(left**2) == pytest.approx(2 * (signal * wiener * noise) ** 2, rel=5 * (14 / count) ** 0.5 * 2)


def test_distances(theory: Responses) -> None:
    """Derivatives of both surveys are differences of their ratios, and σ's those given."""
    shape, h = theory.layout, STEPS["omch2"]
    k = theory.parameters.index("omch2")
    up, down = (
        toy(TheoryPoint(tuple({**FIDUCIAL, "omch2": FIDUCIAL["omch2"] + s * h}.items()), LMAX, 1.0)) for s in (1, -1)
    )
    at = [int(np.flatnonzero(z == REDSHIFTS)[0]) for z in FULL_REDSHIFTS]

    def log_ratio(vector: NDArray) -> NDArray[np.float64]:
        d_m, d_h = shape.distances(vector)[:, at]
        return np.log(np.cbrt(FULL_REDSHIFTS * d_m**2 * d_h) / shape.tail(vector)["r_d"])

    own = bao_block(theory, "full")
    np.testing.assert_allclose(
        (log_ratio(up) - log_ratio(down)) / (2 * h), own.derivatives[k], atol=2e-4
    )  # (1 %)²/6 of its scale
    np.testing.assert_allclose(np.sqrt(np.diag(own.covariance)), FULL_PERCENT / 100)
    assert not own.derivatives[-2:].any()
    dr2 = bao_block(theory, "dr2")
    at = [int(np.flatnonzero(z == REDSHIFTS)[0]) for z in desi_dr2.REDSHIFTS]
    ratios = [desi_dr2.bao_ratios(*shape.distances(v)[:, at], shape.tail(v)["r_d"]) for v in (up, down)]
    np.testing.assert_allclose((ratios[0] - ratios[1]) / (2 * h), dr2.derivatives[k], rtol=1e-3)
    with pytest.raises(ValueError, match="BAO surveys are full, dr2"):
        survey("dr9", shape.distances(theory.value), np.zeros((1, 2, len(REDSHIFTS))), 147.0, np.zeros(1))


def test_noise() -> None:
    """White noise at ℓ → 0 beams apart, a 1/f part of the size stated, and two equal maps of half the noise."""
    white = noise_spectra((Channel(10.0, 1.4),), 3000)
    beam = np.exp(3000 * 3001 * (1.4 * ARCMIN) ** 2 / (8 * np.log(2)))
    np.testing.assert_allclose(white["TT"][3000], (10 * ARCMIN) ** 2 * beam, rtol=1e-12)
    np.testing.assert_allclose(white["EE"], 2 * white["TT"], rtol=1e-12)
    red = noise_spectra((Channel(10.0, 1.4, red=1e-4, knee_p=700),), 3000)
    np.testing.assert_allclose(
        (red["TT"] - white["TT"])[1000] / white["TT"][1000] * (10 * ARCMIN) ** 2, 1e-4, rtol=1e-10
    )
    np.testing.assert_allclose(red["EE"][700], 2 * white["EE"][700], rtol=1e-12)
    np.testing.assert_allclose(combined_noise(white, white)["TT"], white["TT"] / 2)
    # SO is blind below its ℓ_min: Planck's noise is left there
    noise, planck = survey_noise(EXPERIMENTS["so_baseline"], 500), noise_spectra(PLANCK.channels, 500)
    np.testing.assert_allclose(noise["TT"][:30], planck["TT"][:30], rtol=1e-10)
    np.testing.assert_allclose(
        noise["EE"][30:], combined_noise(noise_spectra(EXPERIMENTS["so_baseline"].channels, 500), planck)["EE"][30:]
    )


def test_iterations_lower_the_noise_of_a_deep_survey(theory: Responses) -> None:
    """The quadratic estimator's N0 of EB stops at the lensing B modes, those of the iterative one go on below."""
    shape, limits = theory.layout, {"lmin": 30, "lmax_t": 300, "lmax_p": 300, "lmax_phi": 150}
    unlensed, cl_phi = shape.spectra(theory.value), 100 * shape.cl_phi(theory.value)
    n0 = {}
    for white in (0.01, 300.0):
        noise = noise_spectra((Channel(white, 1.0),), LMAX)
        n0[white] = [reconstruction_noise(unlensed, cl_phi, noise, iterations=k, **limits)[50:120] for k in (0, 1)]
    assert (n0[0.01][1] < 0.8 * n0[0.01][0]).all()
    np.testing.assert_allclose(n0[300.0][1], n0[300.0][0], rtol=1e-2)


def test_factor_of_reconstruction_noise(theory: Responses) -> None:
    experiment = replace(EXPERIMENTS["so_baseline"].limited(300), phi_lmax=60)
    scaled = survey_reconstruction(theory, replace(experiment, n0_factor=2.0))
    np.testing.assert_allclose(scaled[2:], 2 * survey_reconstruction(theory, experiment)[2:], rtol=1e-12)
    assert (scaled[2:] > 0).all()


def test_a_survey_with_planck(theory: Responses, sky: LensedTheory, n0: NDArray) -> None:
    """Planck's part of the sky tightens every error; it has no lensing and no τ of its own."""
    experiment = replace(EXPERIMENTS["so_baseline"].limited(LMAX), phi_lmax=300)
    with_planck = survey_blocks(sky, experiment, n0)
    alone = survey_blocks(sky, replace(experiment, planck=False), n0)
    assert [b.name for b in with_planck] == ["so_baseline", "planck_rest", "planck_low"]
    assert "PP" not in with_planck[1].sizes
    assert list(with_planck[2].sizes) == ["TT"]
    free = (*LCDM, "mnu")
    both = [forecast(fisher_matrix(b), names(theory), free, priors={"tau": 0.01}) for b in (with_planck, alone)]
    assert all(both[0].sigma(p) <= both[1].sigma(p) for p in free)


def test_stage(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, theory: Responses) -> None:
    """A table with a row for each free parameter of each case, kept for the next time."""
    from lensrec.stages import forecast as stage

    monkeypatch.setattr(stage, "cache_folder", lambda: tmp_path)
    monkeypatch.setattr(stage, "_theory", lambda settings, executor, progress: theory)
    settings = ForecastSettings(
        experiments=("so_goal",), delensed=(False,), models=("mnu", "A_L"), tau_priors=("planck", "cosmic_variance"),
        bao=("none", "full"), lmax=LMAX,
    )  # fmt: skip
    result = forecasts(settings)
    table = result.table()
    assert len(table["sigma"]) == 4 * (7 + 8)
    assert set(table["model"]) == {"mnu", "A_L"}
    for case, found in result.forecasts.items():
        derived = result.derived[case]
        if case.model == "mnu":
            assert derived["mnu_n_sigma"] == pytest.approx(0.06 / found.sigma("mnu"))
            assert derived["mnu_pull"] == pytest.approx(found.pull("mnu", "A_L_TTTEEE", -0.18))
            assert "tau,mnu" in result.ellipses()[case]
        else:
            assert derived["A_L_TTTEEE_n_sigma"] == pytest.approx(0.18 / found.sigma("A_L_TTTEEE"))
    kept = sorted(tmp_path.rglob("*.fits"))
    assert len(kept) == 2
    monkeypatch.setattr(stage, "_survey_fisher", lambda *a: pytest.fail("computed twice"))
    again = forecasts(settings)
    assert again.table()["sigma"] == table["sigma"]
    assert any("so_goal" in line for line in result.assumed)


def test_published_noise_of_so(tmp_path: Path) -> None:
    """Between rows ln N is linear in ln ℓ, what isn't measured is blind, and κ's noise becomes φ's."""
    rows = np.array([[40, 1e-4, 5e-5, 2e-5, 1e-5, 2e-5, 1e-5], [160, 1e-5, 5e-6, 2e-6, 1e-6, 2e-6, 1e-6]])
    np.savetxt(tmp_path / "SO_LAT_ILC_deproj0_fsky0p4_thin.txt", rows)
    kappa = np.column_stack([[2, 200], *(np.full(2, v) for v in (9, 9, 9, 9, 9, 9, 4e-8))])
    np.savetxt(tmp_path / "nlkk_v3_1_1_deproj0_SENS2_fsky0p4_qe_thin.txt", kappa)
    spectra, n0 = published_so_noise(tmp_path, "so_goal")
    np.testing.assert_allclose(spectra["TT"][80], 5e-6 * 10**0.5, rtol=1e-12)
    assert spectra["TT"][39] == 1e30
    np.testing.assert_allclose(n0[100] * (100 * 101 / 2) ** 2, 4e-8, rtol=1e-12)
    assert published_so_noise(tmp_path, "planck") is None


def test_what_cannot_be_answered_is_refused(theory: Responses, sky: LensedTheory, block: Block) -> None:
    fisher = fisher_matrix([block])
    with pytest.raises(ValueError, match="say nothing of w"):
        forecast(np.diag([1.0, 0.0]), ("tau", "w"), ("tau", "w"))
    with pytest.raises(ValueError, match="combination of logA, tau free"):
        forecast(np.ones((2, 2)), ("logA", "tau"), ("logA", "tau"))
    with pytest.raises(ValueError, match="no derivatives by nu"):
        forecast(fisher, names(theory), ("nu",))
    with pytest.raises(ValueError, match="is not free"):
        forecast(fisher, names(theory), ("logA",)).sigma("mnu")
    with pytest.raises(ValueError, match="noise of the reconstruction is missing"):
        cmb_block("x", sky, NOISE, {"PP": Range(10, 100)}, 0.4)
    with pytest.raises(ValueError, match="goes to l = 799"):
        cmb_block("x", sky, NOISE, {"TT": Range(30, 800)}, 0.4)
    with pytest.raises(ValueError, match=r"experiments must be of .*got wmap"):
        ForecastSettings(experiments=("wmap",))
    with pytest.raises(ValueError, match=r"neutrinos must be of degenerate, one, got two"):
        ForecastSettings(neutrinos="two")
    with pytest.raises(ValueError, match="neutrinos of a forecast"):
        responses(lmax=100, neutrinos="two", mapping=toys)
    with pytest.raises(ValueError, match="lacks tau"):
        responses(lmax=100, fiducial={k: v for k, v in FIDUCIAL.items() if k != "tau"}, mapping=toys)
    assert (np.diff(band_edges(Range(2, 3000))) > 0).all()


def test_one_point_of_camb() -> None:
    """The vector holds what it says: ΛCDM's distances, the sound horizon, and a Sachs–Wolfe plateau."""
    shape = layout(100)
    point = TheoryPoint(tuple(FIDUCIAL.items()), 100, 0.0)
    vector = evaluate(point)
    assert len(vector) == 3 * shape.cmb + shape.lmax_phi + 1 + 2 * len(REDSHIFTS) + 3
    tail = shape.tail(vector)
    d_m, d_h = shape.distances(vector)
    # D_H = c/(H0 E), matter and Λ with 1 − Ω_m: neutrinos and radiation are 1e-4 and 1e-3 of E² at z ≤ 2.33
    e = np.sqrt(tail["omega_m"] * (1 + REDSHIFTS) ** 3 + 1 - tail["omega_m"])
    np.testing.assert_allclose(d_h, 299792.458 / tail["H0"] / e, rtol=1e-3)
    assert (np.diff(d_m) > 0).all()
    assert 146.5 < tail["r_d"] < 147.5
    lensed = lensed_spectra(shape.spectra(vector), shape.cl_phi(vector), lmax=100)
    assert 700 < 50 * 51 * lensed["TT"][50] / (2 * np.pi) < 2000

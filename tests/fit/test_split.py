"""Both lensing amplitudes from band powers of a toy cosmology whose spectra are closed forms."""

import json

import numpy as np
import pytest

from lensrec.fit.amplitude import fit_amplitude
from lensrec.fit.band_power_model import PARAMETERS, band_power_model
from lensrec.fit.posterior import BestFit, gauss_newton, importance_samples
from lensrec.fit.response_surface import KEYS, SurfacePoint, evaluate, lensed_vector, response_surface
from lensrec.fit.split import split
from lensrec.spectra.linear_data import LinearData
from lensrec.theory.acoustic_scale import UnlensedCosmology, acoustic_parameters
from lensrec.theory.boltzmann import FIDUCIAL, camb_spectra
from lensrec.theory.lensing import lensed_spectra

LMAX, LMAX_PHI = 90, 120
CENTRE = np.array([0.0224, 0.12, 0.0104, 3.04, 0.96, 0.055])
STEPS = np.array([2e-4, 2e-3, 1e-5, 0.02, 0.006, 0.007])
COSMOLOGY = dict(zip(PARAMETERS[:6], CENTRE.tolist(), strict=True))
ALL_AT_CENTRE = {**COSMOLOGY, "calibration": 1.0, "polarisation_efficiency": 1.0}


def toy(theta):
    """Peaks that move with θ_*, odd ones rising with ω_b, on a damped power law; deflections of 2° that smooth them."""
    ombh2, omch2, thetastar, log_a, ns, tau = theta
    ell = np.arange(LMAX + 40.0)
    tilt = np.exp(log_a - 3.04 - 2 * (tau - 0.055)) * ((ell + 5) / 40) ** (ns - 0.96) / (ell + 5) ** 2
    damping = np.exp(-((ell / 60) ** 2) * omch2 / 0.12)
    phase = 2 * np.pi * ell * thetastar / (0.0104 * 18)
    peaks = ombh2 / 0.0224 * np.cos(phase)
    tt = 1e3 * tilt * damping * (1 + 0.8 * peaks)
    ee = 1e2 * tilt * damping * (1 - 0.7 * peaks + 0.1 * np.cos(2 * phase))
    te = 2e2 * tilt * damping * np.sin(phase)
    ee[:2] = te[:2] = 0.0
    L = np.arange(LMAX_PHI + 1.0)
    cl_phi = 3e-3 * np.exp(log_a - 3.04) * (omch2 / 0.12) ** 1.5 / (L + 4) ** 4 * ((L + 1) / 10) ** (ns - 0.96)
    cl_phi[0] = 0.0
    return UnlensedCosmology({"TT": tt, "EE": ee, "TE": te}, cl_phi, 67.0 + 1e6 * (thetastar - 0.0104), 0.3)


def toy_spectra(theta, a_smooth=1.0, a_phi=1.0):
    cosmology = toy(theta)
    cls = lensed_spectra(cosmology.unlensed, cosmology.cl_phi, lmax=LMAX, amplitude=a_smooth, nthreads=1)
    return {**cls, "PP": a_phi * cosmology.cl_phi}


@pytest.fixture(scope="module")
def surface():
    return response_surface(
        lmax=LMAX,
        centre=CENTRE,
        steps=STEPS,
        nthreads=1,
        mapping=lambda _, tasks: [lensed_vector(toy(task.theta), task) for task in tasks],
    )


@pytest.fixture(scope="module")
def data():
    """Bands of 6 multipoles in TT, TE, EE and of 20 in PP, this with corrections on all four, correlated errors."""
    rng = np.random.default_rng(4)
    block, low, high, rows = [], [], [], []
    for key, width, end in (("TT", 6, LMAX), ("TE", 6, LMAX), ("EE", 6, LMAX), ("PP", 20, LMAX_PHI)):
        for start in range(4, end - width + 2, width):
            block.append(key)
            low.append(start)
            high.append(start + width - 1)
            row = np.zeros((LMAX_PHI if key == "PP" else LMAX) + 1)
            row[start : start + width] = rng.uniform(0.5, 1.5, width) / width
            rows.append(row)
    block = np.array(block)
    fiducial = toy_spectra(CENTRE)
    n = len(block)
    windows = {}
    corrections = {}
    for key in ("TT", "TE", "EE", "PP"):
        windows[key] = np.zeros((n, len(fiducial[key])))
        for k in np.flatnonzero(block == key):
            windows[key][k] = rows[k]
    level = sum(windows[key] @ fiducial[key] for key in windows)
    potential = block == "PP"
    for key in ("TT", "TE", "EE", "PP"):
        corrections[key] = np.zeros_like(windows[key])
        part = rng.normal(size=(np.count_nonzero(potential), len(fiducial[key])))
        spread = np.sqrt(np.sum((part * fiducial[key]) ** 2, axis=1, keepdims=True))
        corrections[key][potential] = 0.1 * level[potential, None] * part / spread
    offset = -sum(corrections[key] @ fiducial[key] for key in corrections)
    centre = (np.array(low) + np.array(high)) / 2
    # TE crosses zero; its scale is that of √(TT EE).
    scale = np.abs(level)
    scale[block == "TE"] = np.sqrt(level[block == "TT"] * level[block == "EE"])
    sigma = 0.01 * scale * np.where(potential, 10.0, 1.0)
    factor = np.eye(n) + 0.3 * rng.normal(size=(n, n)) / np.sqrt(n)
    covariance = factor @ factor.T * np.outer(sigma, sigma)
    return LinearData(
        "toy", block, np.array(low), np.array(high), centre, level, covariance, windows, corrections, offset
    )


@pytest.fixture(scope="module")
def model(data, surface):
    return band_power_model(data, surface)


def drawn(data, mean, rng):
    noise = np.linalg.cholesky(data.covariance) @ rng.normal(size=len(data))
    return LinearData(**{**vars(data), "mean": mean + noise})


def test_the_surface_is_the_lensed_spectrum_where_it_was_not_computed(surface):
    """Amplitudes off the nodes, at the centre and off it.

    Beyond the fourth power of the amplitude and second order in ΛCDM: measured 1.7e-4 of the rms of TT, TE, EE, and
    ten times that for BB, which is lensing altogether.
    """
    centre = toy_spectra(CENTRE)
    rms = {key: np.sqrt(np.mean(cl**2)) for key, cl in centre.items()}
    tolerance = {"TT": 3e-4, "TE": 3e-4, "EE": 3e-4, "BB": 3e-3, "PP": 1e-4}
    for a in (0.25, 0.8, 1.3, 2.0):
        for theta in (CENTRE, CENTRE + 0.8 * STEPS * np.array([1, -1, 1, 1, -1, 0.5])):
            got, expected = surface.spectra(theta, a_smooth=a, a_phi=1.2), toy_spectra(theta, a, 1.2)
            for key in (*KEYS, "PP"):
                assert np.max(np.abs(got[key] - expected[key])) < tolerance[key] * rms[key], (key, a)
    # Twenty times that and more is what an amplitude of 1.3 does.
    smoothed = toy_spectra(CENTRE, 1.3)
    assert all(np.max(np.abs(smoothed[key] - centre[key])) > 20 * tolerance[key] * rms[key] for key in KEYS)
    assert surface.derived(CENTRE + STEPS)["H0"] == pytest.approx(67 + 10, rel=1e-12)


def test_a_point_of_the_surface_is_cambs():
    """Against CAMB's own lensing, and at another amplitude nearly linear; the end of the spectra is not felt."""
    lmax = 200
    theta = acoustic_parameters(FIDUCIAL)
    values = evaluate(SurfacePoint(tuple(theta), (0.0, 1.0, 1.6), lmax, FIDUCIAL["mnu"], 1, 1))
    expected = camb_spectra(lmax, cosmology=FIDUCIAL, lens_potential_accuracy=1)
    cmb = values[: 12 * (lmax + 1)].reshape(3, 4, lmax + 1)
    assert len(values) == cmb.size + lmax + 2501 + 2
    for k, key in enumerate(KEYS):
        scale = np.sqrt(expected.lensed["TT"] * expected.lensed["EE"]) if key == "TE" else expected.lensed[key]
        error = np.abs(cmb[1, k] - expected.lensed[key])[2:] / scale[2:]
        # measured 2e-5 and 1.7e-3: the noise of CAMB's sampling, and for BB that E above l = 2500 is left out
        assert np.max(error) < (5e-3 if key == "BB" else 1e-4), key
        # measured 0.5 % of the change: at l < 200 it is all but linear in the amplitude
        change = cmb[1, k] - cmb[0, k]
        beyond = np.abs(cmb[2, k] - cmb[1, k] - 0.6 * change)[2:] / scale[2:]
        assert np.max(beyond) < 0.01 * np.max(np.abs(change)[2:] / scale[2:]), key
    np.testing.assert_allclose(values[-2:], [FIDUCIAL["H0"], 0.3153], rtol=1e-3)


def test_at_the_fiducial_every_correction_is_zero(data, surface, model):
    fiducial = toy_spectra(CENTRE)
    for key, cl in surface.spectra(CENTRE).items():
        assert np.array_equal(cl, fiducial[key])
    windows_alone = sum(data.windows[key] @ fiducial[key] for key in data.windows)
    # sums of a hundred products
    np.testing.assert_allclose(model.value(model.start), windows_alone, rtol=1e-13)
    other = {key: cl * (1 + 1e-3 * np.cos(np.arange(len(cl)))) for key, cl in fiducial.items()}
    anchored = surface.anchored(other)
    for key, cl in anchored.spectra(CENTRE).items():
        assert np.array_equal(cl, other[key])
    theta = CENTRE + STEPS
    moved = anchored.spectra(theta, a_smooth=1.3)["TE"] - other["TE"]
    np.testing.assert_allclose(moved, surface.spectra(theta, a_smooth=1.3)["TE"] - fiducial["TE"], atol=1e-13)


def rebuilt(data, surface, x):
    """Expected band powers from whole spectra that maps of this calibration show, by LinearData itself."""
    c, p = x[8:]
    gain = {"TT": c**2, "TE": c**2 * p, "EE": c**2 * p**2, "BB": c**2 * p**2, "PP": 1.0}
    spectra = surface.spectra(x[:6], a_smooth=x[6], a_phi=x[7])
    shown = {key: gain[key] * cl for key, cl in spectra.items()}
    # A normalisation that is off changes φφ by a factor: what the CMB spectra change there is A times as large.
    centre = surface.spectra(CENTRE)
    change = sum(data.corrections[key] @ (shown[key] - centre[key]) for key in data.corrections if key != "PP")
    return data.expected(shown) + (x[7] - 1) * np.where(data.block == "PP", change, 0.0)


def test_derivatives_are_differences_of_the_whole_rebuilt(data, surface, model):
    x = np.concatenate([CENTRE + 0.7 * STEPS, [1.2, 0.9, 1.01, 0.98]])
    np.testing.assert_allclose(model.value(x), rebuilt(data, surface, x), rtol=1e-12)
    two = model.value(np.array([x, model.start]))
    np.testing.assert_allclose(two, [model.value(x), model.value(model.start)], rtol=1e-13)
    jacobian = model.jacobian(x)
    for k, h in enumerate([*(1e-2 * STEPS), 1e-3, 1e-3, 1e-3, 1e-3]):
        ends = []
        for sign in (1, -1):
            moved = x.copy()
            moved[k] += sign * h
            ends.append(rebuilt(data, surface, moved))
        difference = (ends[0] - ends[1]) / (2 * h)
        # quartic in A_L^TTTEEE and of third order, h² = 1e-6 of the value, in the rest; rounding 1e-14/1e-2
        np.testing.assert_allclose(jacobian[:, k], difference, rtol=1e-5, atol=1e-6 * np.max(np.abs(difference)))


def test_each_amplitude_moves_its_own_rows_alone(data, surface, model):
    potential = data.block == "PP"
    x = model.start
    by_phi, by_smoothing = x.copy(), x.copy()
    by_phi[7] = 1.3
    by_smoothing[6] = 1.3
    moved = model.value(by_phi) - model.value(x)
    assert np.array_equal(moved[~potential], np.zeros(np.count_nonzero(~potential)))
    cl = toy_spectra(CENTRE)["PP"]
    both = (data.windows["PP"] + data.corrections["PP"]) @ (0.3 * cl)
    np.testing.assert_allclose(moved[potential], both[potential], rtol=1e-11)
    # A_L^TTTEEE reaches the rows of φφ through their corrections on the CMB, and not without those
    assert np.all(model.value(by_smoothing) != model.value(x))
    bare = band_power_model(LinearData(**{**vars(data), "corrections": {"PP": data.corrections["PP"]}}), surface)
    moved = bare.value(by_smoothing) - bare.value(x)
    assert np.all(moved[~potential] != 0)
    assert not moved[potential].any()
    for k in (8, 9):
        calibrated = x.copy()
        calibrated[k] = 1.02
        assert not (bare.value(calibrated) - bare.value(x))[potential].any()


def test_amplitudes_come_out_as_they_went_in(data, surface, model):
    """200 draws: χ² at the truth has mean n with error √(2n/200), that of the fit n + priors − free likewise; pulls
    have mean 0 ± 1/√200 and width 1 ± 1/√400. Eight statistics at 4.5σ: false-alarm rate 5e-5, for one fixed seed.
    """
    rng = np.random.default_rng(5)
    priors = {"tau": (CENTRE[5], 0.007), "calibration": (1.0, 0.002), "polarisation_efficiency": (1.0, 0.01)}
    truth = np.concatenate([CENTRE, [1.18, 0.95, 1.0, 1.0]])
    root = np.linalg.inv(np.linalg.cholesky(data.covariance))
    pulls, at_truth, at_best = [], [], []
    for _ in range(200):
        # Frequentist draws with priors: their means are data that scatter too.
        scattered = {key: (mean + sigma * rng.normal(), sigma) for key, (mean, sigma) in priors.items()}
        mock = drawn(data, model.value(truth), rng)
        result = split(mock, model, priors=scattered, draws=200, rng=rng)
        assert result.names == PARAMETERS
        at_truth.append(np.sum((root @ (mock.mean - model.value(truth))) ** 2))
        at_best.append(result.chi2)
        delta = result.delta
        pulls.append([*((result.mean - truth) / result.sigma)[6:8], (delta[0] - 0.23) / delta[1]])
    n = len(data)
    assert abs(np.mean(at_truth) - n) < 4.5 * np.sqrt(2 * n / 200)
    assert result.ndof == n + 3 - 10
    assert abs(np.mean(at_best) - result.ndof) < 4.5 * np.sqrt(2 * n / 200)
    pulls = np.array(pulls)
    assert np.all(np.abs(pulls.mean(axis=0)) < 4.5 / np.sqrt(200)), pulls.mean(axis=0)
    assert np.all(np.abs(pulls.std(axis=0) - 1) < 4.5 / np.sqrt(400)), pulls.std(axis=0)


def test_with_all_else_held_it_is_the_least_squares_amplitude(data, surface):
    potential = data.selected(data.block == "PP")
    mock = drawn(potential, 1.1 * potential.mean, np.random.default_rng(6))
    model = band_power_model(mock, surface)
    result = split(mock, model, fixed=COSMOLOGY, draws=4000, rng=np.random.default_rng(7))
    assert result.names == ("A_L_phiphi",)
    slope = model.jacobian(model.start)[:, PARAMETERS.index("A_L_phiphi")]
    expected = fit_amplitude(mock.mean - (model.value(model.start) - slope), slope, mock.covariance)
    assert result.best_fit[0] == pytest.approx(expected.mean, rel=1e-10)
    assert result.chi2 == pytest.approx(expected.chi2, rel=1e-9)
    assert result.ndof == expected.ndof
    # 4000 draws, worth 3000 or more: means to σ/55, widths to 1.3 %; 4σ
    assert result.samples.effective > 3000
    assert abs(result.mean[0] - expected.mean) < 4 * expected.sigma / 55
    assert abs(result.sigma[0] / expected.sigma - 1) < 0.052
    assert result.delta is None
    assert not result.derived
    assert result.summary()["A_L_TTTEEE"] is None


def test_the_posterior_is_that_of_quadrature(data, model):
    """A_L^TTTEEE alone, at the coarse errors that make its posterior skew."""
    wide = LinearData(**{**vars(data), "covariance": 2000 * data.covariance})
    result = split(
        wide,
        model,
        fixed={**ALL_AT_CENTRE, "A_L_phiphi": 1.0},
        draws=40000,
        rng=np.random.default_rng(8),
    )
    a = np.linspace(-2.0, 4.0, 6001)
    x = np.tile(model.start, (len(a), 1))
    x[:, 6] = a
    residual = model.value(x) - wide.mean
    chi2 = np.einsum("sn,nm,sm->s", residual, np.linalg.inv(wide.covariance), residual, optimize=True)
    p = np.exp(-chi2 / 2)
    p /= p.sum()
    mean = p @ a
    sigma = np.sqrt(p @ (a - mean) ** 2)
    assert 0.2 < sigma < 0.5
    # 2 % of σ is 4 standard errors of 40000 draws
    assert abs(result.mean[0] - mean) < 0.02 * sigma
    assert abs(result.sigma[0] / sigma - 1) < 0.03


def test_the_fit_of_equal_amplitudes(data, model):
    mock = drawn(data, model.value(model.start), np.random.default_rng(9))
    result = split(mock, model, fixed=ALL_AT_CENTRE, draws=100, rng=np.random.default_rng(9))
    x = np.tile(model.start, (2001, 1))
    x[:, 6] = x[:, 7] = np.linspace(0.9, 1.1, 2001)
    residual = model.value(x) - mock.mean
    chi2 = np.einsum("sn,nm,sm->s", residual, np.linalg.inv(mock.covariance), residual, optimize=True)
    # the grid's step of 1e-4 is 0.02 σ
    assert result.chi2_equal == pytest.approx(chi2.min(), abs=1e-3)
    assert result.chi2_equal > result.chi2


def test_result_and_summary(data, model):
    mock = drawn(data, model.value(model.start), np.random.default_rng(10))
    priors = {"tau": (CENTRE[5], 0.007)}
    result = split(mock, model, priors=priors, draws=3000, rng=np.random.default_rng(11))
    again = split(mock, model, priors=priors, draws=3000, rng=np.random.default_rng(11))
    assert result.fixed == {"calibration": 1.0, "polarisation_efficiency": 1.0}
    assert result.names == PARAMETERS[:8]
    np.testing.assert_array_equal(result.residual + result.model, mock.mean)
    np.testing.assert_allclose(result.template, 0.18 * model.jacobian(result.parameters)[:, 6])
    summary = json.loads(json.dumps(result.summary()))
    assert summary == again.summary()
    i, j = 6, 7
    spread = result.covariance[i, i] + result.covariance[j, j] - 2 * result.covariance[i, j]
    assert summary["delta"]["sigma"] == pytest.approx(np.sqrt(spread), rel=1e-10)
    assert summary["delta"]["mean"] == pytest.approx(result.mean[i] - result.mean[j], abs=1e-12)
    covariance = np.cov(result.samples.points[:, [i, j]].T, aweights=result.samples.weights, ddof=0)
    correlation = covariance[0, 1] / np.sqrt(covariance[0, 0] * covariance[1, 1])
    assert summary["correlation"] == pytest.approx(correlation, abs=1e-12)
    assert {key: block["n"] for key, block in summary["chi2_blocks"].items()} == {
        key: int(np.sum(data.block == key)) for key in ("TT", "TE", "EE", "PP")
    }
    assert summary["parameters"]["tau"]["sigma"] < 0.0075
    assert summary["effective_samples"] > 1000
    assert set(summary["derived"]) == {"H0", "omega_m"}


def test_a_fit_beyond_the_surface_says_so(data, surface, model):
    """Held, free and drawn there by a prior; at two steps and an amplitude of 1.5 nobody is warned."""
    rng = np.random.default_rng(12)
    near = {**ALL_AT_CENTRE, "ns": CENTRE[4] + 2 * STEPS[4], "A_L_TTTEEE": 1.5}
    assert split(data, model, fixed=near, draws=100, rng=rng).warnings == ()
    far = {**ALL_AT_CENTRE, "ns": CENTRE[4] - 4 * STEPS[4], "A_L_TTTEEE": 2.5}
    found = split(data, model, fixed=far, draws=100, rng=rng)
    ns, smoothing = found.warnings
    assert ns.startswith(f"ns = {CENTRE[4] - 4 * STEPS[4]:.5g} is 4.0 steps from the centre")
    assert smoothing.startswith("A_L_TTTEEE = 2.5: ")
    assert found.summary()["warnings"] == [ns, smoothing]
    held = {key: value for key, value in ALL_AT_CENTRE.items() if key != "tau"}
    drawn_there = {"tau": (CENTRE[5] + 5 * STEPS[5], 1e-5)}
    (tau,) = split(data, model, fixed=held, priors=drawn_there, draws=100, rng=rng).warnings
    assert tau.startswith("tau = ")
    assert "5.0 steps" in tau


def test_refusals(data, surface, model):
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="no parameter H0"):
        split(data, model, fixed={"H0": 67.0}, rng=rng)
    with pytest.raises(ValueError, match="model is of"):
        split(data.selected(data.block == "TT"), model, rng=rng)
    with pytest.raises(ValueError, match="positive definite"):
        split(LinearData(**{**vars(data), "covariance": -data.covariance}), model, rng=rng)
    potential = data.selected(data.block == "PP")
    with pytest.raises(ValueError, match="5 band powers and priors cannot fix ombh2"):
        split(potential, band_power_model(potential, surface), rng=rng)
    long = np.zeros((len(data), LMAX + 2))
    with pytest.raises(ValueError, match=f"ends at {LMAX}"):
        band_power_model(LinearData(**{**vars(data), "windows": {"TT": long}, "corrections": {}}), surface)


def test_gauss_newton_and_importance_sampling_of_a_bent_posterior():
    """r = (x₁, 3(x₂ − x₁²/8)): x₁ is a unit normal, x₂ has mean 1/8 and variance 1/9 + 2/64."""

    def whitened(x):
        return (
            np.array([x[0], 3 * (x[1] - x[0] ** 2 / 8)]),
            np.array([[1.0, 0.0], [-0.75 * x[0], 3.0]]),
        )

    best = gauss_newton(whitened, np.array([2.0, 3.0]), ("a", "b"))
    np.testing.assert_allclose(best.x, 0, atol=1e-5)
    np.testing.assert_allclose(best.covariance, np.diag([1.0, 1 / 9]), atol=1e-4)

    def chi2(x):
        return x[:, 0] ** 2 + 9 * (x[:, 1] - x[:, 0] ** 2 / 8) ** 2

    samples = importance_samples(chi2, best, draws=200000, rng=np.random.default_rng(1))
    assert 1 / np.sum(samples.weights**2) == pytest.approx(samples.effective)
    # 4 standard errors at an effective number of 5e4, of a variable whose square has a long tail
    assert samples.effective > 5e4
    np.testing.assert_allclose(samples.mean, [0, 0.125], atol=0.02)
    np.testing.assert_allclose(np.diag(samples.covariance), [1.0, 1 / 9 + 1 / 32], rtol=0.04)
    assert isinstance(best, BestFit)

    def flat(x):
        return np.full(2, x.sum()), np.ones((2, 2))

    with pytest.raises(ValueError, match="combination of a, b"):
        gauss_newton(flat, np.zeros(2), ("a", "b"))
    with pytest.raises(ValueError, match="depends on b:"):
        gauss_newton(lambda x: (x, np.diag([1.0, 0.0])), np.zeros(2), ("a", "b"))

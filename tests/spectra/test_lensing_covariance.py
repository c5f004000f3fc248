"""The covariance of CMB and lensing band powers against simulations, closed forms and finite differences."""

import numpy as np
import pytest

from lensrec.bias.rdn0 import semi_analytic
from lensrec.quadratic.combination import minimum_variance_weights
from lensrec.quadratic.estimators import paired_estimates
from lensrec.quadratic.response import normalisation
from lensrec.spectra.lensing_covariance import (
    joint_covariance,
    lens_induced,
    lens_variance,
    lensing_corrections,
    multipole_covariance,
    n0_derivative,
    response_ratio,
    shared_fluctuations,
    shared_fsky,
    shared_modes,
)
from lensrec.spectra.linear_data import LinearData
from lensrec.sphere.alm import alm_m, alm_size, alm_to_cl, resize_alm, scale_alm
from lensrec.sphere.grids import gauss_legendre_grid
from lensrec.sphere.remap import deflection, remap_by
from lensrec.sphere.sht import analysis_tp
from lensrec.theory.lensed_response import bandpower_derivatives
from lensrec.theory.lensing import lensed_spectra

CMB = ("TT", "TE", "EE", "BB")


def unit_alm(rng: np.random.Generator, lmax: int) -> np.ndarray:
    real, imaginary = rng.normal(size=(2, alm_size(lmax)))
    return np.where(alm_m(lmax) == 0, real, (real + 1j * imaginary) / np.sqrt(2))


def flat_windows(edges: list[int], lmax: int) -> dict[str, np.ndarray]:
    """Means of C_ℓ over bands, those of TT first, then TE, EE, BB."""
    n = len(edges) - 1
    windows = {key: np.zeros((4 * n, lmax + 1)) for key in CMB}
    for i, key in enumerate(CMB):
        for b in range(n):
            windows[key][i * n + b, edges[b] : edges[b + 1]] = 1 / (edges[b + 1] - edges[b])
    return windows


def spectra_of(teb: np.ndarray) -> dict[str, np.ndarray]:
    return {
        "TT": alm_to_cl(teb[0]),
        "TE": alm_to_cl(teb[0], teb[1]),
        "EE": alm_to_cl(teb[1]),
        "BB": alm_to_cl(teb[2]),
    }


class Lensed:
    """Sharp peaks lensed by 17′ rms at L ≤ 30: 30 realisations of φ, two skies behind each, lensed by φ and by −φ.

    x is the change of the band powers by lensing, the mean of ±φ: of what lensing does to the power of one CMB, the
    part odd in φ, large and of zero mean, is gone. q is what δĈ_L of φ alone predicts.
    """

    lmax, top, lmax_phi, edges = 120, 80, 30, (20, 40, 60, 81)

    def __init__(self, count: int) -> None:
        ell, multipole = np.arange(self.lmax + 1.0), np.arange(self.lmax_phi + 1.0)
        damping = np.where(ell > 1, np.exp(-ell / 60), 0.0)
        self.cls = {
            "TT": damping * (1.2 + np.cos(2 * np.pi * ell / 40)),
            "EE": 0.1 * damping * (1.2 - np.cos(2 * np.pi * ell / 40)),
            "TE": 0.2 * damping * np.sin(2 * np.pi * ell / 40),
        }
        phi = np.where(multipole > 1, (multipole + 1) ** -4, 0.0)
        variance = np.sum((2 * multipole + 1) * multipole * (multipole + 1) * phi) / (4 * np.pi)
        self.phi = phi * 0.005**2 / variance
        self.windows = flat_windows(list(self.edges), self.top)
        self.derivative = bandpower_derivatives(self.cls, self.phi, self.windows)
        rng = np.random.default_rng(5)
        grid = gauss_legendre_grid(self.lmax + self.top + self.lmax_phi)
        x, power = np.zeros((2, count, len(self.derivative))), np.zeros((count, self.lmax_phi + 1))
        for n in range(count):
            phi_alm = scale_alm(unit_alm(rng, self.lmax_phi), np.sqrt(self.phi))
            power[n] = alm_to_cl(phi_alm)
            field = deflection(phi_alm, grid)
            for c in range(2):
                sky = self._sky(rng)
                lensed = [
                    analysis_tp(remap_by(sky, sign * field, grid, epsilon=1e-4), grid, self.top, iterations=0)
                    for sign in (1, -1)
                ]
                x[c, n] = (self.powers(lensed[0]) + self.powers(lensed[1])) / 2 - self.powers(sky)
        self.x, self.power = x, power
        self.q = (power - self.phi) @ self.derivative.T

    def _sky(self, rng: np.random.Generator) -> np.ndarray:
        first, second = unit_alm(rng, self.lmax), unit_alm(rng, self.lmax)
        tt, te, ee = (self.cls[key] for key in ("TT", "TE", "EE"))
        along = np.divide(te, np.sqrt(tt), out=np.zeros_like(te), where=tt > 0)
        e = scale_alm(first, along) + scale_alm(second, np.sqrt(np.maximum(ee - along**2, 0.0)))
        return np.stack([scale_alm(first, np.sqrt(tt)), e, np.zeros_like(e)])

    def powers(self, teb: np.ndarray) -> np.ndarray:
        found = spectra_of(np.stack([resize_alm(alm, self.top) for alm in teb]))
        return sum(self.windows[key] @ found[key] for key in CMB)


@pytest.fixture(scope="module")
def lensed() -> Lensed:
    return Lensed(30)


def slope(x: np.ndarray, q: np.ndarray) -> tuple[float, float]:
    """The common slope of columns of x on those of q (n, columns), weighted by their scatter; and its error."""
    x, q = x - x.mean(0), q - q.mean(0)
    weight = 1 / np.var(x - q, axis=0)
    top, bottom = (x * q * weight).sum(1), (q * q * weight).sum(1)
    value = top.sum() / bottom.sum()
    return value, float(np.std(top - value * bottom) * np.sqrt(len(x)) / bottom.sum())


def test_lensed_powers_follow_the_realised_lenses(lensed: Lensed) -> None:
    """⟨C̃ | Ĉ^φφ⟩ = C̃ + ∂C̃/∂C^φφ (Ĉ − C), from which 2-point × 4-point and lens-induced covariance follow.

    The slope of what happens on what the derivative says, 30 φ × 2 skies: within 4σ of its error of some 6 %; the false
    alarm for another seed is 4e-4 (Student, 29 degrees). With 500 φ the slope is 1.025 ± 0.016, that of
    TE 1.04 ± 0.03, of BB 1.016 ± 0.018, and covariances over predicted ones 1.00 ± 0.08 (2-point × 4-point) and
    1.01 ± 0.08 (C̃ × C̃′ of two skies behind one φ).
    """
    value, error = slope(lensed.x.mean(0), lensed.q)
    assert error < 0.08
    assert abs(value - 1) < 4 * error
    # lensing itself: the mean change is C̃ − C, to 5σ of each of 12 band powers (t of 29 degrees: 3e-5 each)
    change = lensed_spectra(lensed.cls, lensed.phi, lmax=lensed.top)
    expected = sum(
        w @ (change[key] - lensed.cls.get(key, np.zeros(lensed.lmax + 1))[: lensed.top + 1])
        for key, w in lensed.windows.items()
    )
    mean = lensed.x.mean(0)
    assert (np.abs(mean.mean(0) - expected) < 5 * mean.std(0) / np.sqrt(len(mean))).all()


def test_blocks_are_those_of_the_linear_model(lensed: Lensed) -> None:
    """Covariances of draws of Ĉ_L, χ² of 2L+1: 40000 draws, so 0.7 % of √(var var), of which 5σ is 3.6 %."""
    rng = np.random.default_rng(6)
    degrees = 2 * np.arange(lensed.lmax_phi + 1) + 1
    power = lensed.phi * rng.chisquare(degrees, size=(40000, len(degrees))) / degrees
    cmb = power @ lensed.derivative.T
    phi_windows = np.zeros((2, lensed.lmax_phi + 1))
    phi_windows[0, 2:9], phi_windows[1, 9:31] = 1e3, 1e4
    both = np.concatenate([cmb, power @ phi_windows.T], axis=1)
    sample = np.cov(both.T)
    jacobian = np.concatenate([lensed.derivative, phi_windows])
    expected = lens_induced(jacobian, jacobian, lensed.phi)
    scale = np.sqrt(np.outer(np.diag(expected), np.diag(expected)))
    np.testing.assert_allclose(sample / scale, expected / scale, rtol=0, atol=0.036)
    np.testing.assert_allclose(lens_induced(jacobian, jacobian, lensed.phi, 0.25), 4 * expected, rtol=1e-12, atol=0)


def test_one_lens_multipole_by_hand() -> None:
    """C^φφ at L = 3 alone: the covariance is the product of derivatives by 2C²/7."""
    phi = np.array([0, 0, 0, 2.0, 0])
    first, second = np.arange(10.0).reshape(2, 5), np.arange(4.0)[None]
    expected = np.array([[3.0], [8.0]]) * 3.0 * 8.0 / (7 * 0.5)
    np.testing.assert_allclose(lens_induced(first, second, phi, 0.5), expected, rtol=1e-14)
    np.testing.assert_allclose(lens_variance(phi, 0.5), [0, 0, 0, 16 / 7, 0], rtol=1e-14)
    with pytest.raises(ValueError, match="ends at 2"):
        lens_induced(first, second, phi[:3])


def test_sky_fractions() -> None:
    """A mask of 0 and 1 has one f_sky; apodised ones keep 1/f_sky a matrix of products."""
    mask = np.repeat([1.0, 0.0], [300, 700])
    np.testing.assert_allclose([shared_fsky(mask, a, b) for a, b in ((2, 2), (2, 4), (4, 4))], 0.3, rtol=1e-12)
    mask = np.linspace(0, 1, 1000)
    two, cross, four = (shared_fsky(mask, a, b) for a, b in ((2, 2), (2, 4), (4, 4)))
    # ⟨w^n⟩ = 1/(n+1)
    np.testing.assert_allclose([two, cross, four], [5 / 9, 7 / 15, 9 / 25], rtol=5e-3)
    assert 1 / cross**2 < 1 / (two * four)


LMAX, L_MAX = 16, 14
ELL = np.arange(LMAX + 1.0)
SHAPE = (ELL > 1) / np.maximum(ELL, 1.0) ** 1.5
TOTALS = {"TT": 9.0 * SHAPE, "EE": 4.0 * SHAPE, "BB": SHAPE, "TE": 3.0 * SHAPE}
FILTERS = {field: np.where(ELL > 1, 1.0 / np.where(ELL > 1, TOTALS[field * 2], 1.0), 0.0) for field in "TEB"}
WEIGHTS = {"TT": 7.0 * SHAPE, "EE": 3.0 * SHAPE, "BB": 0.0 * SHAPE, "TE": 2.0 * SHAPE}
KEYS = ("TT", "TE", "EB")
UNIT_BINS = np.arange(2, LMAX + 2)


def noise_of(totals: dict[str, np.ndarray]) -> np.ndarray:
    """⟨q q*⟩ of φ of each estimator, one after the other."""
    norm = normalisation(KEYS, WEIGHTS, WEIGHTS, FILTERS, totals, L_MAX)
    return np.concatenate([norm.noise[key, key][0] for key in KEYS])


def gaussian_sky(rng: np.random.Generator) -> dict[str, np.ndarray]:
    correlation = TOTALS["TE"][2] / np.sqrt(TOTALS["TT"][2] * TOTALS["EE"][2])
    one, two, three = (unit_alm(rng, LMAX) for _ in range(3))
    units = {"T": one, "E": correlation * one + np.sqrt(1 - correlation**2) * two, "B": three}
    return {field: scale_alm(alm, np.sqrt(TOTALS[field * 2])) for field, alm in units.items()}


def fluctuations(skies: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """δĈ_ℓ of each sky."""
    powers = [spectra_of(np.stack([sky["T"], sky["E"], sky["B"]])) for sky in skies]
    return {key: np.array([power[key] for power in powers]) - TOTALS[key] for key in CMB}


def drawn_powers(count: int) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Of Gaussian skies: Ĉ_L[q], 4 Ĉ_L[q̄(d, s)] with another sky's s, and δĈ_ℓ."""
    rng = np.random.default_rng(7)
    data, simulated = ([gaussian_sky(rng) for _ in range(count)] for _ in range(2))
    auto, crossed = [], []
    batch = 50
    for start in range(0, count, batch):
        sets = [
            {field: scale_alm(alm, FILTERS[field]) for field, alm in one.items()}
            for one in data[start : start + batch] + simulated[start : start + batch]
        ]
        pairs = [(n, n) for n in range(batch)] + [(n, batch + n) for n in range(batch)]
        found = [
            np.concatenate([alm_to_cl(q[key][0]) for key in KEYS])
            for q in paired_estimates(KEYS, sets, pairs, WEIGHTS, L_MAX)
        ]
        auto += found[:batch]
        crossed += [4 * one for one in found[batch:]]
    return np.array(auto), np.array(crossed), fluctuations(data)


@pytest.fixture(scope="module")
def derivative() -> dict[str, np.ndarray]:
    return n0_derivative(noise_of, TOTALS, UNIT_BINS)


def test_n0_derivative_is_exact(derivative: dict[str, np.ndarray]) -> None:
    """At every ℓ: a quadratic form's own derivative, Euler's identity, and the semi-analytic RDN0, linear in Ĉ_ℓ."""
    n0 = noise_of(TOTALS)
    whole = sum(derivative[key] @ TOTALS[key] for key in CMB)
    np.testing.assert_allclose(whole, 2 * n0, rtol=1e-11, atol=1e-12 * n0.max())
    rng = np.random.default_rng(8)
    measured = {key: cl * rng.uniform(0.8, 1.2, LMAX + 1) for key, cl in TOTALS.items()}
    linear = n0 + sum(derivative[key] @ (measured[key] - TOTALS[key]) for key in CMB)
    found = semi_analytic(noise_of, TOTALS, measured)
    np.testing.assert_allclose(linear, found, rtol=1e-11, atol=1e-12 * n0.max())


def test_binned_n0_derivative_is_that_of_relative_changes(derivative: dict[str, np.ndarray]) -> None:
    """In bins of 4: exact for changes in proportion to the power in each bin (TE: to √(TT·EE))."""
    edges = [2, 6, 10, 14, 17]
    got = n0_derivative(noise_of, TOTALS, edges)
    rng = np.random.default_rng(9)
    for key in CMB:
        shape = np.sqrt(TOTALS[key[0] * 2] * TOTALS[key[1] * 2])
        change = shape * np.concatenate([[0, 0], np.repeat(rng.normal(size=4), np.diff(edges))])
        expected = derivative[key] @ change
        np.testing.assert_allclose(got[key] @ change, expected, rtol=0, atol=1e-11 * np.abs(expected).max())
    with pytest.raises(ValueError, match="bin edges must rise"):
        n0_derivative(noise_of, TOTALS, [2, 18])


def test_gaussian_bias_and_power_share_their_fluctuations(derivative: dict[str, np.ndarray]) -> None:
    """cov(Ĉ^φ̂φ̂, Ĉ_ℓ) = ∂N0/∂C cov(Ĉ, Ĉ): the slope of Ĉ^φ̂φ̂ on ∂N0/∂C δĈ is 1, and of RDN0's data × sim pairs, too.

    100 Gaussian skies, TT, TE, EB: within 4σ of errors of 5 and 9 %, false alarm 1e-4 each; with 600 skies
    0.990 ± 0.019 and 0.96 ± 0.04. So nothing is left of it after RDN0, semi-analytic (N0 + ∂N0/∂C δĈ) or by pairs.
    """
    auto, crossed, powers = drawn_powers(100)
    q = sum(powers[key] @ derivative[key].T for key in CMB)
    # at L = 1 some estimators vanish but for rounding
    used = np.tile(np.arange(L_MAX + 1) >= 2, len(KEYS))
    for x, largest in ((auto, 0.07), (crossed, 0.13)):
        value, error = slope(x[:, used], q[:, used])
        assert error < largest
        assert abs(value - 1) < 4 * error


def test_shared_fluctuations_are_those_of_drawn_spectra(derivative: dict[str, np.ndarray]) -> None:
    """cov(δĈ_b, ∂N0/∂C δĈ) of 3000 skies: each to 1.8 % of √(var var), 5.5σ for 500 numbers being 0.1."""
    rng = np.random.default_rng(12)
    powers = fluctuations([gaussian_sky(rng) for _ in range(3000)])
    used = np.tile(np.arange(L_MAX + 1) >= 2, len(KEYS))
    windows = flat_windows([2, 6, 11, LMAX + 1], LMAX)
    expected = shared_fluctuations(windows, {key: m[used] for key, m in derivative.items()}, TOTALS)
    bands = sum(powers[key] @ windows[key].T for key in CMB)
    q = sum(powers[key] @ derivative[key][used].T for key in CMB)
    both = np.cov(np.concatenate([bands, q], axis=1).T)
    n = bands.shape[1]
    scale = np.sqrt(np.outer(np.diag(both)[:n], np.diag(both)[n:]))
    np.testing.assert_allclose(both[:n, n:] / scale, expected / scale, rtol=0, atol=0.1)
    assert np.abs(expected / scale).max() > 0.5


def test_multipole_covariance_by_hand() -> None:
    found = multipole_covariance({"TT": np.full(3, 4.0), "EE": np.full(3, 3.0), "TE": np.full(3, 2.0)}, 0.5)
    for pair, value in {
        ("TT", "TT"): 32.0,
        ("TT", "TE"): 16.0,
        ("TT", "EE"): 8.0,
        ("TE", "TE"): 16.0,
        ("EE", "TE"): 12.0,
        ("TT", "BB"): 0.0,
        ("BB", "BB"): 0.0,
    }.items():
        np.testing.assert_allclose(found[pair], value / (np.array([1, 3, 5]) * 0.5), rtol=1e-14)


def test_modes_shared_with_the_potential() -> None:
    """⟨T φ⟩ = 2, ⟨E φ⟩ = 3 at ℓ = 2: 2·4, 2·6, 2·9 over 5."""
    tp, ep = np.array([0, 0, 2.0]), np.array([0, 0, 3.0])
    windows = {key: np.eye(3)[[i]] * 0 + np.array([[0, 0, 1.0]]) for i, key in enumerate(("TT", "TE", "EE"))}
    phi_windows = np.array([[0, 0, 10.0, 7.0]])
    for key, value in (("TT", 8.0), ("TE", 12.0), ("EE", 18.0)):
        np.testing.assert_allclose(shared_modes({key: windows[key]}, phi_windows, tp, ep), [[10 * value / 5]])


def mv_setting() -> tuple[dict[str, np.ndarray], np.ndarray]:
    """MV weights of the fiducial, and C^φφ."""
    norm = normalisation(KEYS, WEIGHTS, WEIGHTS, FILTERS, TOTALS, L_MAX)
    phi = np.where(np.arange(L_MAX + 6.0) > 1, 1.0 / np.arange(1.0, L_MAX + 7) ** 4, 0.0)
    return minimum_variance_weights(norm)[0], phi


def test_response_ratio_is_that_of_the_normalisation() -> None:
    weights, _ = mv_setting()
    ratio = response_ratio(weights, WEIGHTS, WEIGHTS, FILTERS, L_MAX)
    np.testing.assert_allclose(ratio(WEIGHTS)[2:], 1.0, rtol=1e-12)
    rng = np.random.default_rng(10)
    other = {key: cl * rng.uniform(0.8, 1.2, LMAX + 1) for key, cl in WEIGHTS.items()}
    there, here = (normalisation(KEYS, WEIGHTS, sky, FILTERS, TOTALS, L_MAX).response for sky in (other, WEIGHTS))
    expected = sum(weights[key][0, 2:] * there[key][0, 2:] / here[key][0, 2:] for key in KEYS)
    np.testing.assert_allclose(ratio(other)[2:], expected, rtol=1e-12)


def test_corrections_are_the_change_of_the_whole() -> None:
    """Proof 17: nothing at the fiducial, and differences of (R/R_fid)² C^φφ + N1 − N1_fid + N0 − N0_fid about it.

    Of changes in proportion to the power within each bin, for which K is exact, to the rounding of a central difference
    of a quadratic function.
    """
    weights, phi = mv_setting()
    ratio = response_ratio(weights, WEIGHTS, WEIGHTS, FILTERS, L_MAX)
    rng = np.random.default_rng(11)
    multipole = np.arange(L_MAX + 1)
    n1_matrix = 0.1 * rng.uniform(size=(L_MAX + 1, L_MAX + 6))
    windows = np.zeros((3, L_MAX + 1))
    for b, (low, high) in enumerate(((2, 5), (5, 10), (10, L_MAX + 1))):
        windows[b, low:high] = rng.uniform(1, 2, high - low)
    edges = [2, 5, 8, 12, LMAX + 1]
    lensed = {key: WEIGHTS[key] for key in ("TT", "TE", "EE")}

    def n0_of(totals: dict[str, np.ndarray]) -> np.ndarray:
        return normalisation(("TT", "TE"), WEIGHTS, WEIGHTS, FILTERS, totals, L_MAX).n0("TE")[0] * (multipole > 1)

    def taken(spectra: dict[str, np.ndarray], with_n0: bool) -> np.ndarray:
        power = spectra["PP"]
        # at C^φφ of the spectra but in the term of the response, where C^φφ and R change together only at second order
        total = ratio(spectra) ** 2 * phi[: L_MAX + 1] + (power - phi)[: L_MAX + 1] + n1_matrix @ power
        if with_n0:
            totals = {key: cl + spectra[key] - lensed[key] if key in lensed else cl for key, cl in TOTALS.items()}
            total = total + n0_of(totals)
        return windows @ total

    derivative = {key: d for key, d in n0_derivative(n0_of, TOTALS, edges).items() if key in lensed}
    fiducial = {**lensed, "PP": phi}
    step = np.concatenate([[0, 0], np.repeat(rng.normal(size=4), np.diff(edges))])
    changes = {key: np.sqrt(WEIGHTS[key[0] * 2] * WEIGHTS[key[1] * 2]) * step for key in lensed}
    for n0 in (None, derivative):
        parts = lensing_corrections(windows, phi, lensed, edges, ratio=ratio, n1_matrix=n1_matrix, n0=n0)
        label = [np.array(["PP"] * 3), np.arange(3), np.arange(3), np.arange(3.0)]
        data = LinearData("test", *label, np.zeros(3), np.eye(3), {"PP": windows}, *parts)
        taken_off = windows @ (n1_matrix @ phi + (0.0 if n0 is None else n0_of(TOTALS)))
        scale = np.abs(taken(fiducial, n0 is not None))
        # K C and o cancel to the rounding of what they are made of
        at = windows @ phi[: L_MAX + 1]
        assert (np.abs(data.expected(fiducial) - at) < 1e-13 * scale).all()
        assert (np.abs(taken(fiducial, n0 is not None) - taken_off - at) < 1e-13 * scale).all()
        for key, change in (*changes.items(), ("PP", 0.1 * phi * rng.normal(size=len(phi)))):
            got = data.expected(fiducial | {key: fiducial[key] + change}) - data.expected(fiducial)
            plus, minus = (taken(fiducial | {key: fiducial[key] + sign * change}, n0 is not None) for sign in (1, -1))
            assert (np.abs(got - (plus - minus) / 2) < 1e-11 * scale).all(), key
            assert (np.abs(got) > 1e-3 * scale).any(), key
    # R is of first degree in all spectra together: in a sky of (1 + ε) times the power, φ̂φ̂ is larger by 2ε
    _, offset = lensing_corrections(windows, phi, lensed, edges, ratio=ratio)
    np.testing.assert_allclose(offset, -2 * windows @ phi[: L_MAX + 1], rtol=1e-11)
    with pytest.raises(ValueError, match="must go to L = 19"):
        lensing_corrections(windows, phi[:-1], lensed, edges, ratio=ratio, n1_matrix=n1_matrix)


def test_joint_covariance(lensed: Lensed) -> None:
    """Its blocks, and amplitudes of the two probes: correlated, and positive definite at every f_sky of a mask."""
    n, multipole = len(lensed.derivative), np.arange(lensed.lmax_phi + 1)
    cmb = 0.5 * lens_induced(lensed.derivative, lensed.derivative, lensed.phi) + 1e-12 * np.eye(n)
    phi_windows = np.zeros((2, lensed.lmax_phi + 1))
    phi_windows[0, 2:9], phi_windows[1, 9:31] = 1e3, 1e4
    mask = np.linspace(0, 1, 1000)
    two, cross, four = (shared_fsky(mask, a, b) for a, b in ((2, 2), (2, 4), (4, 4)))
    noise = 2 * (lensed.phi * 1.2) ** 2 / ((2 * multipole + 1) * four)
    phi = np.diag((phi_windows * noise) @ phi_windows.T)
    joint = joint_covariance(cmb, phi, lensed.derivative, phi_windows, lensed.phi, fsky_cmb=two, fsky_cross=cross)
    np.linalg.cholesky(joint)
    np.testing.assert_array_equal(joint, joint.T)
    expected = lens_induced(lensed.derivative, phi_windows, lensed.phi, cross)
    np.testing.assert_allclose(joint[:n, n:], expected, rtol=1e-13, atol=0)
    np.testing.assert_allclose(
        joint[:n, :n], cmb + lens_induced(lensed.derivative, lensed.derivative, lensed.phi, two), rtol=1e-12, atol=0
    )
    np.testing.assert_allclose(joint[n:, n:], np.diag(phi), rtol=1e-13, atol=0)
    more = joint_covariance(
        cmb, np.diag(phi), lensed.derivative, phi_windows, lensed.phi, extra_cross=-expected, extra_phi=np.diag(phi)
    )
    np.testing.assert_allclose(more[n:, n:], 2 * np.diag(phi), rtol=1e-13, atol=0)
    np.testing.assert_allclose(
        more[:n, n:], lens_induced(lensed.derivative, phi_windows, lensed.phi) - expected, rtol=1e-12, atol=0
    )
    with pytest.raises(ValueError, match="not positive definite"):
        joint_covariance(cmb, phi / 1e3, lensed.derivative, phi_windows, lensed.phi)
    with pytest.raises(ValueError, match="do not fit"):
        joint_covariance(cmb, phi[:1], lensed.derivative, phi_windows, lensed.phi)

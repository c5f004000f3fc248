"""The compressed CMB against the published numbers, and DESI's results of both together from the background alone."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import least_squares

from lensrec.fit import compressed_cmb
from lensrec.fit.compressed_cmb import compressed_cmb_chi2, compressed_cmb_residual
from lensrec.fit.desi_dr2 import REDSHIFTS, bao_residual
from lensrec.fit.posterior import BestFit, WeightedSamples, importance_samples
from lensrec.theory.background import Background, background

Datum = Callable[[Background], NDArray]

STEPS = {"ombh2": 1e-4, "omch2": 1e-3, "thetastar": 2e-6, "H0": 0.5, "w": 0.05, "wa": 0.2}
START = {"ombh2": 0.0223, "omch2": 0.119, "thetastar": 0.0104103, "H0": 68.0, "w": -0.4, "wa": -1.7}
BOX = {"w": (-3.0, 1.0), "wa": (-3.0, 2.0)}
"""DESI's flat priors (arXiv:2503.14738, table III), which cut w_a."""


def bao(model: Background) -> NDArray:
    return bao_residual(model.comoving_distance(REDSHIFTS), model.D_H(REDSHIFTS), model.rdrag)


def cmb(model: Background) -> NDArray:
    return compressed_cmb_residual(model.thetastar, model.ombh2, model.omch2)


def posterior(names: Sequence[str], data: Sequence[Datum], draws: int) -> tuple[BestFit, WeightedSamples, NDArray]:
    """Best fit, samples, and Ω_m and H0 of each sample, one massive state of 0.06 eV as in DESI's fits."""
    start, steps = (np.array([table[name] for name in names]) for table in (START, STEPS))

    def model(x: NDArray) -> Background:
        return background(**dict(zip(names, map(float, x), strict=True)), mnu=0.06, hierarchy="one")

    def residual(y: NDArray) -> NDArray:
        at = model(start + steps * y)
        return np.concatenate([datum(at) for datum in data])

    def jacobian(y: NDArray) -> NDArray:
        return np.column_stack([(residual(y + e) - residual(y - e)) / 0.6 for e in 0.3 * np.eye(len(y))])

    found = least_squares(residual, np.zeros(len(names)), jac=jacobian)
    covariance = np.linalg.inv(found.jac.T @ found.jac) * np.outer(steps, steps)
    best = BestFit(start + steps * found.x, covariance, 2 * found.cost)
    derived: list[tuple[float, float]] = []

    def chi2(points: NDArray) -> NDArray:
        out = []
        for x in points:
            inside = all(BOX[n][0] < v < BOX[n][1] for n, v in zip(names, x, strict=True) if n in BOX)
            try:
                at = model(x)
                out.append(sum(np.sum(datum(at) ** 2) for datum in data) if inside else np.inf)
                derived.append((at.omega_m, at.H0))
            except ValueError:  # no such universe, or one beyond the fit to recombination
                out.append(np.inf)
                derived.append((0.0, 0.0))
        return np.array(out)

    samples = importance_samples(chi2, best, draws=draws, rng=np.random.default_rng(3))
    return best, samples, np.array(derived)


def moments(samples: WeightedSamples, values: NDArray) -> tuple[NDArray, NDArray]:
    mean = samples.weights @ values
    return mean, np.sqrt(samples.weights @ (values - mean) ** 2)


def agree(found: tuple[NDArray, NDArray], published: Mapping[str, tuple[float, float]]) -> None:
    """Means within 0.2σ, which is what issue's known answers are held to; errors within 15 %, to two printed digits."""
    for mean, sigma, (name, (value, error)) in zip(*found, published.items(), strict=True):
        assert mean == pytest.approx(value, abs=0.2 * error), name
        assert sigma == pytest.approx(error, rel=0.15), name


def test_the_published_numbers(published_folder: Callable[[str], Path]) -> None:
    table = np.loadtxt(published_folder("desi_dr2").parent / "desi_cmb_compression.txt")
    assert np.array_equal(table[0], compressed_cmb.MEAN)
    assert np.array_equal(table[1:], compressed_cmb.COVARIANCE)


def test_chi2_by_hand_for_many_models() -> None:
    thetastar = np.array([[0.010410], [0.010412]])
    omch2 = np.array([0.118, 0.12, 0.121])
    found = compressed_cmb_chi2(thetastar, 0.0223, omch2)
    assert found.shape == (2, 3)
    for i in range(2):
        for j in range(3):
            off = np.array([thetastar[i, 0], 0.0223, 0.0223 + omch2[j]]) - compressed_cmb.MEAN
            direct = off @ np.linalg.solve(compressed_cmb.COVARIANCE, off)
            assert found[i, j] == pytest.approx(direct, rel=1e-9)
            assert np.sum(compressed_cmb_residual(thetastar[i, 0], 0.0223, omch2[j]) ** 2) == pytest.approx(direct)


def test_desi_with_nucleosynthesis_and_theta() -> None:
    """arXiv:2503.14738, table V, ΛCDM, with ω_b = 0.02218 ± 0.00055, and with 100 θ_* = 1.04110 ± 0.00053 on top."""

    def bbn(model: Background) -> NDArray:
        return np.array([(model.ombh2 - 0.02218) / 0.00055])

    def theta(model: Background) -> NDArray:
        return np.array([(100 * model.thetastar - 1.04110) / 0.00053])

    names = ("ombh2", "omch2", "H0")
    _, samples, derived = posterior(names, (bao, bbn), 500)
    agree(moments(samples, derived), {"omega_m": (0.2977, 0.0086), "H0": (68.51, 0.58)})
    _, samples, derived = posterior(names, (bao, bbn, theta), 500)
    agree(moments(samples, derived), {"omega_m": (0.2967, 0.0045), "H0": (68.45, 0.47)})


def test_w0_and_wa_of_desi_with_the_compressed_cmb() -> None:
    """The same, w0waCDM: Ω_m = 0.353 ± 0.022, w0 = −0.43 ± 0.22, wa = −1.72 ± 0.64, and in table VI Δχ² = −8.0."""
    flat, _, _ = posterior(("ombh2", "omch2", "thetastar"), (bao, cmb), 1)
    names = ("ombh2", "omch2", "thetastar", "w", "wa")
    best, samples, derived = posterior(names, (bao, cmb), 900)
    assert samples.effective > 500
    published = {"omega_m": (0.353, 0.022), "w": (-0.43, 0.22), "wa": (-1.72, 0.64)}
    values = np.column_stack([derived[:, 0], samples.points[:, 3:]])
    agree(moments(samples, values), published)
    assert best.chi2 - flat.chi2 == pytest.approx(-8.0, abs=0.1)


def test_lcdm_of_desi_with_the_compressed_cmb() -> None:
    """Table V has ΛCDM with the whole CMB alone, Ω_m = 0.3027 ± 0.0036 and H0 = 68.17 ± 0.28. Without lensing and the
    height of the peaks it is 0.3005 ± 0.0038 and 68.36 ± 0.30 here, 0.6 and 0.7σ from that."""
    best, samples, derived = posterior(("ombh2", "omch2", "thetastar"), (bao, cmb), 500)
    assert best.chi2 == pytest.approx(15.16, abs=0.05)
    found = moments(samples, derived)
    agree(found, {"omega_m": (0.3005, 0.0038), "H0": (68.36, 0.30)})
    assert np.all(np.abs(found[0] - [0.3027, 68.17]) < [0.8 * 0.0036, 0.8 * 0.28])

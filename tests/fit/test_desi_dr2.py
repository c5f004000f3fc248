"""DESI DR2's table against the published files, its χ² against direct sums, and DESI's own result from it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from lensrec.fit import desi_dr2
from lensrec.fit.desi_dr2 import LYA, LYA_EDGES, REDSHIFTS, bao_chi2, bao_ratios, bao_residual, lya_hubble_distance
from lensrec.fit.posterior import gauss_newton, importance_samples

LIGHT = 299792.458
FINE = np.expm1(np.linspace(0, np.log(5), 4001))


def integrated(function: NDArray, at: NDArray) -> NDArray:
    """∫₀^z of a function (…, FINE), by trapezia of 4e-4 in ln(1+z): 1e-8 of the distances here."""
    panels = np.diff(FINE) * (function[..., 1:] + function[..., :-1]) / 2
    sums = np.concatenate([np.zeros((*function.shape[:-1], 1)), np.cumsum(panels, axis=-1)], axis=-1)
    return np.stack([np.interp(at, FINE, row) for row in np.atleast_2d(sums)]).reshape(*function.shape[:-1], len(at))


def lcdm(omega_m: NDArray, h_drag: NDArray, z: NDArray) -> tuple[NDArray, NDArray]:
    """D_M/r_d and D_H/r_d at z of flat ΛCDM without radiation, (…, z), for Ω_m and h r_d in Mpc."""

    def inverse(z: NDArray) -> NDArray:
        om = np.asarray(omega_m)[..., None]
        return LIGHT / 100 / np.asarray(h_drag)[..., None] / np.sqrt(om * (1 + z) ** 3 + 1 - om)

    return integrated(inverse(FINE), z), inverse(z)


def test_the_published_table(published_folder: Callable[[str], Path]) -> None:
    """Number by number and in its order, the forest's D_H before its D_M."""
    folder = published_folder("desi_dr2")
    lines = (folder / "desi_gaussian_bao_ALL_GCcomb_mean.txt").read_text().splitlines()
    rows = [line.split() for line in lines if not line.startswith("#")]
    assert [(float(z), kind, float(value)) for z, value, kind in rows] == [
        (row.z, {"DV": "DV_over_rs", "DM": "DM_over_rs", "DH": "DH_over_rs"}[row.kind], row.ratio)
        for row in desi_dr2.ROWS
    ]
    covariance = np.loadtxt(folder / "desi_gaussian_bao_ALL_GCcomb_cov.txt")
    assert np.array_equal(covariance, desi_dr2.COVARIANCE)


def test_ratios_and_chi2_by_hand() -> None:
    """On distances that are no cosmology's, different for each redshift and each of two models."""
    rng = np.random.default_rng(1)
    d_m, d_h, drag = rng.uniform(1e3, 6e3, (2, 7)), rng.uniform(1e3, 4e3, (2, 7)), np.array([140.0, 150.0])
    found = bao_ratios(d_m, d_h, drag)
    assert found.shape == (2, 13)
    for model in range(2):
        expected = []
        for row in desi_dr2.ROWS:
            k = REDSHIFTS.tolist().index(row.z)
            m, h = d_m[model, k] / drag[model], d_h[model, k] / drag[model]
            expected.append({"DM": m, "DH": h, "DV": (row.z * m * m * h) ** (1 / 3)}[row.kind])
        assert found[model] == pytest.approx(expected, rel=1e-14)
        off = np.array(expected) - [row.ratio for row in desi_dr2.ROWS]
        direct = off @ np.linalg.solve(desi_dr2.COVARIANCE, off)
        assert bao_chi2(d_m, d_h, drag)[model] == pytest.approx(direct, rel=1e-11)
        assert np.sum(bao_residual(d_m[model], d_h[model], drag[model]) ** 2) == pytest.approx(direct, rel=1e-11)


def test_what_desi_finds_from_it() -> None:
    """arXiv:2503.14738, eq. 17: Ω_m = 0.2975 ± 0.0086, h r_d = 101.54 ± 0.73 Mpc, r = −0.92, and χ² = 10.2 for 11
    degrees of freedom. 4000 draws leave 0.02σ in means and 1.2 % in errors."""

    def residual(x: NDArray) -> NDArray:
        d_m, d_h = lcdm(x[..., 0], x[..., 1], REDSHIFTS)
        return bao_residual(d_m, d_h, np.ones(x.shape[:-1]))

    steps = np.array([1e-3, 0.1])

    def whitened(x: NDArray) -> tuple[NDArray, NDArray]:
        slopes = [(residual(x + s) - residual(x - s)) / (2 * s.sum()) for s in np.diag(steps)]
        return residual(x), np.column_stack(slopes)

    def chi2(points: NDArray) -> NDArray:
        return np.concatenate([np.sum(residual(part) ** 2, axis=-1) for part in np.array_split(points, 40)])

    best = gauss_newton(whitened, np.array([0.3, 101.0]), ("omega_m", "h_drag"))
    assert best.chi2 == pytest.approx(10.2, abs=0.1)  # 10.27
    samples = importance_samples(chi2, best, draws=4000, rng=np.random.default_rng(2))
    sigma = np.sqrt(np.diag(samples.covariance))
    assert samples.mean[0] == pytest.approx(0.2975, abs=0.2 * 0.0086)
    assert samples.mean[1] == pytest.approx(101.54, abs=0.2 * 0.73)
    assert sigma == pytest.approx([0.0086, 0.73], rel=0.06)
    assert samples.covariance[0, 1] / sigma.prod() == pytest.approx(-0.92, abs=0.01)


@pytest.mark.parametrize("omega_m", [0.25, 0.315, 0.38])
@pytest.mark.parametrize("h_drag", [95.0, 105.0])
def test_the_forest_of_a_smooth_model_is_its_distance(omega_m: float, h_drag: float) -> None:
    """Within 0.1 %; the measurement has 1.2 %."""
    d_m, _ = lcdm(np.array(omega_m), np.array(h_drag), LYA_EDGES)
    _, d_h = lcdm(np.array(omega_m), np.array(h_drag), np.array([LYA]))
    assert lya_hubble_distance(d_m) == pytest.approx(d_h[0], rel=1e-3)


def test_the_forest_of_a_jump() -> None:
    """D_H = (1 + δ) of the fiducial beyond z†: the average goes from 1 + δ to 1, without a step, as the weights say.

    Their mean is at 2.33, which ∫ (1 − W(z)) dz = 2.33 − 1.8 says of the part W below z."""
    omega_m = 0.315192
    smooth = integrated(1 / np.sqrt(omega_m * (1 + FINE) ** 3 + 1 - omega_m), LYA_EDGES)
    at = 1 / np.sqrt(omega_m * (1 + LYA) ** 3 + 1 - omega_m)
    assert lya_hubble_distance(smooth) == pytest.approx(at, rel=1e-7)
    assert lya_hubble_distance(3 * smooth) == pytest.approx(3 * at, rel=1e-7)
    switches = np.linspace(1.8, 4.0, 89)
    share = []
    for z in switches:
        extra = smooth - np.interp(z, FINE, integrated(1 / np.sqrt(omega_m * (1 + FINE) ** 3 + 1 - omega_m), FINE))
        share.append(lya_hubble_distance(smooth + 0.08 * np.maximum(extra, 0)) / at - 1)
    beyond = np.array(share) / 0.08
    assert beyond[[0, -1]] == pytest.approx([1, 0], abs=1e-6)
    assert np.all(np.diff(beyond) < 1e-9)
    assert np.max(-np.diff(beyond)) < 0.06  # 1/89 of the range holds 4.5 % where weights are highest
    assert np.trapezoid(beyond, switches) == pytest.approx(LYA - 1.8, abs=2e-3)

"""Pictures of band powers: what is drawn is what was given, against the curve that was given."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from lensrec.spectra.bandpowers import lensing_scaling
from lensrec.view.bandpowers import cmb_bandpowers_figure, correlation_figure, lensing_bandpowers_figure
from lensrec.view.figure import png_bytes

ELL = np.arange(401)
RISING = np.append(0.0, ELL[1:] * 2 * np.pi / (ELL[1:] * (ELL[1:] + 1.0)))  # D_ℓ = ℓ
CENTRES = np.array([20.0, 100.0, 200.0, 330.0])


def _points(sigma: float = 2.0) -> dict[str, np.ndarray]:
    pulls = np.array([0.5, -1.0, 2.0, 0.0])
    errors = sigma * np.arange(1.0, 5.0)
    return {"ell": CENTRES, "power": CENTRES + pulls * errors, "sigma": errors}


def _markers(figure: Figure, panel: int) -> tuple[np.ndarray, np.ndarray]:
    line = figure.axes[panel].containers[0][0]
    return np.asarray(line.get_xdata()), np.asarray(line.get_ydata())


def test_cmb_band_powers_and_their_residuals() -> None:
    points = {key: _points() for key in ("TT", "TE", "EE")}
    points["EE"] = points["EE"] | {"expected": CENTRES - 1, "low": CENTRES - 10, "high": CENTRES + 10}
    curves = {"ΛCDM": dict.fromkeys(points, RISING), "more": {"TT": 2 * RISING}}
    figure = cmb_bandpowers_figure(points, curves, title="a sky")
    assert len(figure.axes) == 6
    by_label = {axes.get_ylabel(): axes for axes in figure.axes if "Delta" not in axes.get_ylabel()}
    assert [key for key in points if any(f"{{{key}}}" in label for label in by_label)] == ["TT", "TE", "EE"]
    powers = [axes for axes in figure.axes if axes.containers]
    pulls = [axes for axes in figure.axes if not axes.containers]
    for axes, key in zip(powers, points, strict=True):
        line = axes.containers[0][0]
        np.testing.assert_array_equal(line.get_xdata(), CENTRES)
        np.testing.assert_array_equal(line.get_ydata(), points[key]["power"])
        curve = axes.lines[0]
        np.testing.assert_allclose(curve.get_ydata(), ELL[2:], rtol=1e-13)
    np.testing.assert_allclose(powers[0].lines[1].get_ydata(), 2.0 * ELL[2:], rtol=1e-13)
    for axes, more in zip(pulls, (0.0, 0.0, 1.0), strict=True):
        np.testing.assert_allclose(
            axes.lines[-1].get_ydata(), [0.5, -1.0, 2.0, 0.0] + more / points["TT"]["sigma"], atol=1e-13
        )
        low, high = axes.get_ylim()
        assert low < -2.5
        assert high > 2.5
    png_bytes(figure, dpi=30)


def test_noisy_points_do_not_flatten_the_curve() -> None:
    points = _points()
    points["power"], points["sigma"] = points["power"] + [0, 0, 0, 1e5], points["sigma"] + [0, 0, 0, 1e5]
    low, high = cmb_bandpowers_figure({"TT": points}, {"ΛCDM": {"TT": RISING}}).axes[0].get_ylim()
    assert -100 < low < 0
    assert 330 < high < 500


def test_lensing_band_powers_of_several_sets() -> None:
    curve = np.append(0.0, 1e-7 / ELL[1:].astype(float) ** 4.1)
    scaled = lensing_scaling(400) * curve
    value = np.interp(CENTRES, ELL, scaled)
    sets = {
        "one": {"L": CENTRES, "power": 1.1 * value, "sigma": 0.1 * value},
        "two": {"L": CENTRES, "power": 1.8 * value, "sigma": 0.2 * value, "expected": 2 * value}
        | {"low": CENTRES - 5, "high": CENTRES + 5},
    }
    figure = lensing_bandpowers_figure(curve, sets, label="ΛCDM")
    upper, lower = figure.axes
    np.testing.assert_allclose(upper.lines[0].get_ydata(), 1e7 * scaled[2:], rtol=1e-13)
    for number, (name, ratio) in enumerate({"one": 1.1, "two": 0.9}.items()):
        np.testing.assert_allclose(upper.containers[number][0].get_ydata(), 1e7 * sets[name]["power"], rtol=1e-13)
        np.testing.assert_allclose(lower.containers[number][0].get_ydata(), ratio, rtol=1e-12)
        # beside its band, not out of it
        np.testing.assert_allclose(upper.containers[number][0].get_xdata(), CENTRES, rtol=0.03)
    assert (upper.containers[0][0].get_xdata() < upper.containers[1][0].get_xdata()).all()
    assert upper.get_ylim()[1] > 1.8e7 * value.max()
    png_bytes(figure, dpi=30)


def test_correlations_are_drawn_block_by_block() -> None:
    block = ["TT"] * 3 + ["TE"] * 2 + ["PP"] * 4
    sigma = np.geomspace(1e-9, 1e3, 9)
    correlation = np.eye(9)
    correlation[0, 5] = correlation[5, 0] = 0.3
    correlation[1, 2] = correlation[2, 1] = -0.2
    covariances = {"analytic": correlation * np.outer(sigma, sigma), "simulations": np.diag(sigma**2)}
    figure = correlation_figure(covariances, block, limit=0.4)
    first, second, bar = figure.axes
    np.testing.assert_allclose(first.images[0].get_array(), correlation, atol=1e-15)
    np.testing.assert_allclose(second.images[0].get_array(), np.eye(9), atol=1e-15)
    assert [axes.get_title() for axes in (first, second)] == ["analytic", "simulations"]
    assert first.images[0].get_clim() == second.images[0].get_clim() == (-0.4, 0.4)
    assert [text.get_text() for text in first.get_xticklabels()] == ["TT", "TE", r"$\phi\phi$"]
    np.testing.assert_array_equal(first.get_xticks(), [1.0, 3.5, 6.5])
    assert sorted({float(line.get_xdata()[0]) for line in first.lines if line.get_xdata()[0] > 0}) == [2.5, 4.5]
    assert bar.get_xlabel() == "correlation coefficient"
    png_bytes(figure, dpi=30)
    # what is off the diagonal sets the colours: 4 of 72 entries of the only matrix are not zero
    low, high = correlation_figure({"analytic": covariances["analytic"]}, block).axes[0].images[0].get_clim()
    assert -low == high == pytest.approx(0.3)


def test_what_cannot_be_drawn() -> None:
    with pytest.raises(ValueError, match="one to four spectra and a curve"):
        cmb_bandpowers_figure({}, {"ΛCDM": {"TT": RISING}})
    with pytest.raises(ValueError, match="TT lack sigma"):
        cmb_bandpowers_figure({"TT": {"ell": [1], "power": [2]}}, {"ΛCDM": {"TT": RISING}})
    with pytest.raises(ValueError, match="differ in number"):
        lensing_bandpowers_figure(RISING, {"a": {"L": [1, 2], "power": [1], "sigma": [1]}})
    with pytest.raises(ValueError, match="one set at least"):
        lensing_bandpowers_figure(RISING, {})
    with pytest.raises(ValueError, match="'a' must be"):
        correlation_figure({"a": np.diag([1.0, 0.0])}, ["TT", "TT"])
    with pytest.raises(ValueError, match="one to three matrices"):
        correlation_figure({}, ["TT"])

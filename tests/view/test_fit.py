"""Pictures of fits: lines, contours and ellipses are where the numbers are."""

import numpy as np
import pytest
from matplotlib.path import Path

from lensrec.view.figure import png_bytes
from lensrec.view.fit import (
    coloured_figure,
    degeneracy_figure,
    ellipses_figure,
    mass_figure,
    ratio_figure,
    suppression_figure,
)

N = 20000


def _gaussian(seed: int = 1) -> dict[str, np.ndarray]:
    x, y, z = np.random.default_rng(seed).standard_normal((3, N))
    return {"mnu": -0.09 + 0.055 * x, "tau": 0.055 + 0.007 * (0.7 * x + np.sqrt(0.51) * y), "omega_m": 0.3 + 0.004 * z}


def test_posteriors_peak_where_they_should_and_bounds_are_drawn() -> None:
    """Maxima of smoothed histograms of 20000 samples lie within 0.15σ of a Gaussian's."""
    ones = np.ones(N)
    shifted = {key: value + 0.1 for key, value in _gaussian(2).items()}
    figure = mass_figure(
        {"ΛCDM": (_gaussian()["mnu"], ones), "free": (shifted["mnu"], ones)},
        floors=[(0.0588, "normal order"), (0.0989, "inverted order"), (1.35, "KATRIN")],
    )
    (axes,) = figure.axes
    curves = {line.get_label(): line for line in axes.lines}
    for label, centre in (("ΛCDM", -0.09), ("free", 0.01)):
        x, y = curves[label].get_data()
        assert x[np.argmax(y)] == pytest.approx(centre, abs=0.15 * 0.055)
    assert curves["normal order, 0.0588 eV"].get_xdata()[0] == 0.0588
    # KATRIN's bound lies beyond the picture, and would squeeze it
    assert not any("KATRIN" in str(label) for label in curves)
    low, high = axes.get_xlim()
    assert low < -0.2 < 0.12 <= high < 0.4
    assert any(list(line.get_xdata()) == [0.0, 0.0] for line in axes.lines)
    png_bytes(figure, dpi=30)


def test_posteriors_carry_their_weights() -> None:
    values = _gaussian()["mnu"]
    # exp(x²/2 − (x − 1)²/2) ∝ exp(x) moves a Gaussian by 1σ
    figure = mass_figure({"moved": (values, np.exp((values + 0.09) / 0.055))})
    x, y = figure.axes[0].lines[0].get_data()
    assert x[np.argmax(y)] == pytest.approx(-0.09 + 0.055, abs=0.15 * 0.055)


def test_degeneracies_have_a_panel_each_and_leave_out_what_is_not_there() -> None:
    one, two = _gaussian(), _gaussian(2)
    del two["tau"]
    figure = degeneracy_figure({"a": one, "b": two}, {}, against=["tau", "omega_m"])
    first, second = figure.axes
    assert first.get_xlabel() == r"$\tau$"
    assert second.get_xlabel() == r"$\Omega_m$"
    assert "eV" in first.get_ylabel()
    # two filled levels and lines for each set
    assert len(first.collections) == 3
    assert len(second.collections) == 6
    path = first.collections[-1].get_paths()[0]
    assert isinstance(path, Path)
    inside = path.contains_points(np.column_stack([one["tau"], one["mnu"]])).mean()
    # smoothing widens contours by up to 0.01
    assert inside == pytest.approx(0.95, abs=0.02)
    png_bytes(figure, dpi=30)


def test_ellipses_hold_68_and_95_percent() -> None:
    """Of 40000 draws: fractions scatter by 0.0025 and 0.001; five times that is allowed."""
    matrix = np.array([[0.007**2, 0.6 * 0.007 * 0.03], [0.6 * 0.007 * 0.03, 0.03**2]])
    centre = {"tau": 0.0544, "mnu": 0.06, "A_L_TTTEEE": 1.0}
    small = (["A_L_TTTEEE"], np.array([[1e-4]]))
    figure = ellipses_figure({"SO": (["tau", "mnu"], matrix), "other": small}, centre, [("tau", "mnu"), ("mnu", "tau")])
    draws = np.random.default_rng(0).multivariate_normal([0.0544, 0.06], matrix, 40000)
    outer, inner = (line for line in figure.axes[0].lines if len(line.get_xdata()) > 2)
    for line, level, scatter in ((outer, 0.95, 0.001), (inner, 0.68, 0.0025)):
        inside = Path(np.column_stack(line.get_data())).contains_points(draws).mean()
        assert inside == pytest.approx(level, abs=5 * scatter)
    # the zero of Σmν is a line where Σmν is the ordinate, and only there
    assert any(list(line.get_ydata()) == [0.0, 0.0] for line in figure.axes[0].lines)
    assert figure.axes[1].get_ylabel() == r"$\tau$"
    png_bytes(figure, dpi=30)


def test_colours_tell_the_mass_and_zero_is_in_the_middle() -> None:
    x, y, z = np.random.default_rng(5).standard_normal((3, 5000))
    samples = {"w": -0.5 + 0.2 * x, "wa": -1.4 + 0.6 * y, "mnu": 0.1 * z}
    figure = coloured_figure(samples, np.ones(5000), points=500)
    points = figure.axes[0].collections[0]
    assert len(points.get_offsets()) == 500
    low, high = points.get_clim()
    assert low == -high
    at = points.get_offsets()[0]
    nearest = np.argmin((samples["w"] - at[0]) ** 2 + (samples["wa"] - at[1]) ** 2)
    assert points.get_array()[0] == samples["mnu"][nearest]
    star = next(line for line in figure.axes[0].lines if line.get_marker() == "*")
    assert (list(star.get_xdata()), list(star.get_ydata())) == ([-1], [0])
    png_bytes(figure, dpi=30)


def test_ratios_begin_at_eight_and_have_their_points() -> None:
    ratio = np.linspace(1.0, 1.1, 501)
    figure = ratio_figure({"model": ratio}, errors=([100.0], [1.02], [0.05]))
    (axes,) = figure.axes
    curve = next(line for line in axes.lines if line.get_label() == "model")
    x, y = curve.get_data()
    assert (x[0], y[0]) == (8, ratio[8])
    assert axes.get_xscale() == "log"
    segment = axes.containers[0][2][0].get_segments()[0]
    np.testing.assert_allclose(segment, [[100.0, 0.97], [100.0, 1.07]])
    png_bytes(figure, dpi=30)


def test_suppression_is_over_f_nu_beside_minus_eight() -> None:
    k = np.geomspace(1e-3, 1.0, 50)
    figure = suppression_figure(k, {"a": (np.full(50, -0.04), 0.005)}, scales=[(0.01, "k_fs")], dashed={"b": -k})
    (axes,) = figure.axes
    curves = {line.get_label(): line for line in axes.lines}
    np.testing.assert_allclose(curves["a"].get_ydata(), -8.0)
    assert curves["b"].get_linestyle() == "--"
    assert any(list(line.get_ydata()) == [-8.0, -8.0] for line in axes.lines)
    assert any(list(line.get_xdata()) == [0.01, 0.01] for line in axes.lines)
    png_bytes(figure, dpi=30)

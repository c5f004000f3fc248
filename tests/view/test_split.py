"""Pictures and table of a split: contours hold the samples they should, points and templates are where they were."""

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.path import Path

from lensrec.view.figure import png_bytes
from lensrec.view.split import amplitudes_figure, corner_figure, rebinned, smoothing_figure, split_table

ELL = np.arange(601)
FLAT = np.append(0.0, 2 * np.pi / (ELL[1:] * (ELL[1:] + 1.0)))  # D_ℓ = 1


def _samples(n: int = 20000, shift: float = 0.0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(4)
    x, y, z = rng.standard_normal((3, n))
    return {
        "A_L_TTTEEE": 1.18 + shift + 0.065 * x,
        "A_L_phiphi": 1.0 + 0.024 * (0.3 * x + np.sqrt(1 - 0.09) * y),
        "H0": 68 + z,
    }


def _inside(axes: Axes, x: np.ndarray, y: np.ndarray) -> list[float]:
    """Fractions of points within the outer and the inner contour line of the last set drawn."""
    lines = axes.collections[-1]
    fractions = []
    for path in lines.get_paths():
        assert isinstance(path, Path)
        fractions.append(float(path.contains_points(np.column_stack([x, y])).mean()))
    return fractions


def _equal_line(axes: Axes) -> bool:
    """Whether a line of slope one through (1, 1) is drawn."""
    return any(
        line.get_linestyle() == "--" and line.get_xy1() == (1.0, 1.0) and line.get_slope() == 1.0
        for line in axes.lines
        if hasattr(line, "get_slope")
    )


def test_contours_hold_68_and_95_percent() -> None:
    """Of 20000 samples; the fractions scatter by 0.003, and smoothing widens contours by up to 0.01."""
    samples = _samples()
    figure = amplitudes_figure({"a sky": samples}, title="split")
    (axes,) = figure.axes
    outer, inner = _inside(axes, samples["A_L_TTTEEE"], samples["A_L_phiphi"])
    assert outer == pytest.approx(0.95, abs=0.015)
    assert inner == pytest.approx(0.68, abs=0.02)
    assert _equal_line(axes)
    star = next(line for line in axes.lines if line.get_marker() == "*")
    assert (list(star.get_xdata()), list(star.get_ydata())) == ([1.0], [1.0])
    assert axes.get_xlim()[0] < 1.0
    assert "TTTEEE" in axes.get_xlabel()
    assert r"\phi\phi" in axes.get_ylabel()
    png_bytes(figure, dpi=30)


def test_weights_count() -> None:
    """Samples about 1.3 that weigh nothing are not drawn; as weights of ones they would be half of all."""
    one, other = _samples(), _samples(shift=0.5)
    both = {name: np.concatenate([one[name], other[name]]) for name in one}
    weights = np.repeat([1.0, 0.0], 20000)
    axes = amplitudes_figure({"a": both}, weights={"a": weights}).axes[0]
    assert _inside(axes, one["A_L_TTTEEE"], one["A_L_phiphi"])[0] == pytest.approx(0.95, abs=0.015)
    assert _inside(axes, other["A_L_TTTEEE"], other["A_L_phiphi"])[0] < 0.01
    with pytest.raises(ValueError, match="weights of shape"):
        amplitudes_figure({"a": one}, weights={"a": weights})


def test_corner_has_every_pair_and_the_line_of_equal_amplitudes(capsys: pytest.CaptureFixture[str]) -> None:
    samples = _samples(4000)
    figure = corner_figure({"one": samples, "two": _samples(4000, 0.1)})
    panels = np.array(figure.axes).reshape(3, 3)
    assert [axes.get_xlabel() for axes in panels[2]] == [r"$A_L^{TTTEEE}$", r"$A_L^{\phi\phi}$", r"$H_0$"]
    lined = [[_equal_line(axes) for axes in row] for row in panels]
    assert lined == [[False] * 3, [True, False, False], [False] * 3]
    for number, name in enumerate(samples):
        peak = panels[number, number].lines[0]
        # the peak of the distribution, to a third of its width
        assert peak.get_xdata()[np.argmax(peak.get_ydata())] == pytest.approx(
            samples[name].mean(), abs=samples[name].std() / 3
        )
        assert len(panels[number, number].lines) == 2
    assert panels[2, 0].get_xlim() == panels[0, 0].get_xlim()
    assert not panels[0, 2].axison
    png_bytes(figure, dpi=30)
    assert capsys.readouterr().out == ""
    (only,) = corner_figure({"one": samples}, parameters=["H0"]).axes
    assert only.get_xlabel() == r"$H_0$"


def test_residuals_are_averaged_by_inverse_variance() -> None:
    points = {"ell": [10, 30, 70, 90], "residual": [1.0, 3.0, -2.0, 4.0], "sigma": [1.0, 2.0, 1.0, 1.0]}
    ell, residual, sigma = rebinned("TT", points, 50)
    np.testing.assert_allclose(ell, [(10 + 30 / 4) / 1.25, 80])
    np.testing.assert_allclose(residual, [(1 + 3 / 4) / 1.25, 1.0])
    np.testing.assert_allclose(sigma, [1 / np.sqrt(1.25), 1 / np.sqrt(2)])
    covariance = np.diag([1.0, 4.0, 1.0, 1.0])
    covariance[2, 3] = covariance[3, 2] = 0.5
    _, same, wider = rebinned("TT", {k: v for k, v in points.items() if k != "sigma"} | {"covariance": covariance}, 50)
    np.testing.assert_allclose(same, residual)
    np.testing.assert_allclose(wider, [sigma[0], np.sqrt(3) / 2])


def test_templates_lie_over_residuals() -> None:
    points = {key: {"ell": ELL[30::20], "residual": np.ones(29), "sigma": np.full(29, 0.5)} for key in ("TT", "EE")}
    figure = smoothing_figure(points, {"$A_L = 1.18$": {"TT": 3 * FLAT, "EE": -FLAT}}, step=100)
    for axes, height in zip(figure.axes, (3.0, -1.0), strict=True):
        template = next(line for line in axes.lines if "1.18" in str(line.get_label()))
        np.testing.assert_allclose(template.get_ydata(), height, rtol=1e-13)
        assert template.get_xdata()[0] == 2
        drawn = axes.containers[0][0]
        np.testing.assert_allclose(drawn.get_ydata(), 1.0)
        assert len(drawn.get_ydata()) == 6
        assert axes.get_ylim()[1] > abs(height)
    assert "EE" in figure.axes[1].get_ylabel()
    png_bytes(figure, dpi=30)


def test_table() -> None:
    summary = {
        "A_L_TTTEEE": {"mean": 1.18, "sigma": 0.065},
        "A_L_phiphi": {"mean": 1.004, "sigma": 0.024},
        "correlation": 0.083,
        "delta": {"mean": 0.176, "sigma": 0.0673},
        "delta_n_sigma": 2.615,
    }
    lines = split_table(summary).splitlines()
    assert [line.split()[-3:] for line in lines[:2]] == [["+1.180", "±", "0.065"], ["+1.004", "±", "0.024"]]
    assert lines[2].split() == ["correlation", "+0.083"]
    assert lines[3].endswith("+0.176 ± 0.067   +2.62 σ") or lines[3].endswith("+0.176 ± 0.067   +2.61 σ")
    assert len(lines) == 4
    full = summary | {"delta_pte": 0.009, "chi2": 9.0, "ndof": 9}
    full["chi2_blocks"] = {"TT": {"chi2": 2 * np.log(2), "n": 2}, "PP": {"chi2": 1.0, "n": 0}}
    lines = split_table(full).splitlines()
    assert lines[4].split()[-1] == "0.009"
    assert lines[7].split() == ["TT", "1.4", "2", "0.500"]  # χ² of two degrees of freedom: its tail is e^{−χ²/2}
    assert lines[8].split() == ["φφ", "1.0", "0", "–"]
    assert lines[9].split()[:3] == ["all", "9.0", "9"]
    assert len({len(line) for line in lines[6:]}) == 1
    parts = {"TT": {"mean": 1.2, "sigma": 0.1, "warnings": ["tau is far"]}, "EE": {"mean": 1.0, "sigma": 0.2}}
    warned = split_table(full | {"warnings": ["ns is far"], "parts": parts}).splitlines()
    assert warned[-2:] == ["warning: ns is far", "warning: TT alone: tau is far"]
    assert len(warned) == len(lines) + 4


def test_what_cannot_be_drawn() -> None:
    with pytest.raises(ValueError, match="one set at least"):
        corner_figure({})
    with pytest.raises(ValueError, match="one set at least"):
        amplitudes_figure({})
    with pytest.raises(ValueError, match="a sky lack A_L_phiphi"):
        amplitudes_figure({"a sky": {"A_L_TTTEEE": np.ones(5)}})
    with pytest.raises(ValueError, match="one spectrum at least"):
        smoothing_figure({}, {})
    with pytest.raises(ValueError, match="TT lack sigma or a covariance"):
        smoothing_figure({"TT": {"ell": [1.0], "residual": [1.0]}}, {})
    with pytest.raises(ValueError, match="2 points of TT, but a covariance"):
        smoothing_figure({"TT": {"ell": [1, 2], "residual": [1, 2], "covariance": np.eye(3)}}, {})

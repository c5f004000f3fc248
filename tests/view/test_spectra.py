"""Pictures of spectra: what is drawn is what was given, in the scaling the axes name."""

from itertools import pairwise

import numpy as np
import pytest
from matplotlib.figure import Figure

from lensrec.spectra.bandpowers import bin_spectrum, lensing_scaling, make_bands
from lensrec.view.figure import png_bytes
from lensrec.view.spectra import cmb_spectra_figure, phi_spectrum_figure, transfer_figure
from lensrec.view.table import input_points, phi_points, transfer_points

LMAX = 400
ELL = np.arange(LMAX + 1)
CL = np.append(0.0, 1e-7 / ELL[1:].astype(float) ** 4.3)
EDGES = [2, 30, 90, 180, 290, 401]


def _points(shift: float = 0.0) -> dict[str, np.ndarray]:
    bands = make_bands(EDGES, np.append(0.0, CL[1:] ** 2))
    power = bin_spectrum(CL, bands)
    edges = np.array(EDGES)
    return {
        "L": bands.centres,
        "low": edges[:-1],
        "high": edges[1:],
        "power": (1 + shift) * power,
        "sigma": 0.1 * power,
        "expected": power,
    }


def _drawn(figure: Figure, panel: int, number: int) -> tuple[np.ndarray, np.ndarray]:
    line = figure.axes[panel].containers[number][0]
    return np.asarray(line.get_xdata()), np.asarray(line.get_ydata())


def test_points_curve_and_noise_are_where_they_should_be() -> None:
    points = {"TT": _points(0.2), "MV": _points(-0.1)}
    n0 = {"TT": 2 * CL, "MV": CL / 2}
    figure = phi_spectrum_figure({"ell": ELL, "cl": CL}, points, n0, realisation=_points(0.05))
    upper, _ = figure.axes
    scaled = lensing_scaling(LMAX) * CL
    dashed = [line for line in upper.lines if line.get_linestyle() == "--" and len(line.get_xdata())]
    for line, factor in zip(dashed, (2.0, 0.5), strict=True):
        np.testing.assert_allclose(line.get_ydata(), factor * scaled[2:], rtol=1e-12)
    curve = next(line for line in upper.lines if line.get_label().startswith("input"))
    np.testing.assert_allclose(curve.get_ydata(), scaled[1:], rtol=1e-12)
    for number, (key, ratio) in enumerate((("TT", 1.2), ("MV", 0.9))):
        x, y = _drawn(figure, 0, number)
        np.testing.assert_allclose(y, points[key]["power"], rtol=1e-12)
        np.testing.assert_allclose(_drawn(figure, 1, number)[1], ratio, rtol=1e-12)
        assert (x > points[key]["low"]).all()
        assert (x < points[key]["high"]).all()
    assert (_drawn(figure, 0, 0)[0] < _drawn(figure, 0, 1)[0]).all()  # side by side
    png_bytes(figure, dpi=30)


def test_ratio_to_a_curve_that_was_not_binned_averages_it_over_the_band() -> None:
    """Where [L(L+1)]²C_L is linear in L the mean with weights 2L+1 is known in closed form; running sums read off
    at whole multipoles are exact."""
    curve = np.append(0.0, (5.0 + ELL[1:]) / lensing_scaling(LMAX)[1:])
    members = [np.arange(low, high) for low, high in pairwise(EDGES)]
    mean = np.array([np.average(5.0 + L, weights=2 * L + 1) for L in members])
    points = {k: v for k, v in _points().items() if k != "expected"} | {"power": 3 * mean, "sigma": mean}
    figure = phi_spectrum_figure({"ell": ELL, "cl": curve}, {"EB": points})
    np.testing.assert_allclose(_drawn(figure, 1, 0)[1], 3.0, rtol=1e-12)


def test_linear_axis_shows_negative_points() -> None:
    points = _points()
    points["power"] = points["power"] * np.array([1, 1, 1, -1, 1])
    figure = phi_spectrum_figure({"ell": ELL, "cl": CL, "label": "ΛCDM"}, {"TT": points}, scale="linear")
    axes = figure.axes[0]
    np.testing.assert_allclose(_drawn(figure, 0, 0)[1], 1e7 * points["power"], rtol=1e-12)
    assert axes.get_ylim()[0] < 1e7 * points["power"].min()
    assert "10^7" in axes.get_ylabel()
    assert "ΛCDM" in axes.get_legend_handles_labels()[1]


def test_transfer_has_its_band_of_one_per_cent() -> None:
    values = np.array([1.001, 0.999, 1.002, 0.998, 1.0])
    points = {k: _points()[k] for k in ("L", "low", "high")} | {"transfer": values}
    figure = transfer_figure({"TT": points, "EE": points})
    axes = figure.axes[0]
    np.testing.assert_allclose(_drawn(figure, 0, 1)[1], values)
    low, high = axes.get_ylim()
    assert low < 0.99 < 1.01 < high < 1.1
    span = axes.patches[0].get_extents().transformed(axes.transData.inverted())
    np.testing.assert_allclose([span.y0, span.y1], [0.99, 1.01], rtol=1e-6)


def test_cmb_power_is_averaged_in_bands() -> None:
    """Where D_ℓ is a constant, so is its average, whatever the weights."""
    flat = np.append(0.0, 7.0 * 2 * np.pi / (ELL[1:] * (ELL[1:] + 1.0)))
    spectra = dict.fromkeys(("TT", "EE", "BB", "TE"), flat)
    figure = cmb_spectra_figure({"lensed": spectra, "unlensed": spectra | {"BB": 0 * flat}}, {"TT": flat}, step=50)
    dots, curve, *_ = figure.axes[0].lines
    assert len(dots.get_xdata()) == 7
    np.testing.assert_allclose(dots.get_ydata(), 7.0, rtol=1e-12)
    np.testing.assert_allclose(curve.get_ydata()[1:], 7.0, rtol=1e-12)
    assert len(figure.axes[2].lines) == 1  # no B modes in the unlensed sky
    png_bytes(figure, dpi=30)


def test_tables_of_band_powers() -> None:
    made = _points(0.3)
    table = {"L_low": made["low"], "L_high": made["high"] - 1, "L": made["L"], "fiducial": made["expected"]}
    table |= {"input": made["power"], "auto_MV": made["power"], "sigma_MV": made["sigma"]}
    table |= {"transfer_MV": np.linspace(0.9, 1.1, 5)}
    points = phi_points(table)["MV"]
    assert set(points) == set(made)
    for name, values in made.items():
        np.testing.assert_array_equal(points[name], values)
    known = input_points(table)
    assert known is not None
    np.testing.assert_array_equal(known["power"], made["power"])
    np.testing.assert_array_equal(transfer_points(table, ["MV"])["MV"]["transfer"], table["transfer_MV"])
    assert "sigma" not in transfer_points(table)["MV"]
    with_errors = transfer_points(table | {"transfer_sigma_MV": made["sigma"]})
    np.testing.assert_array_equal(with_errors["MV"]["sigma"], made["sigma"])
    with pytest.raises(ValueError, match="no band powers of EB in this table: there are MV"):
        phi_points(table, ["EB"])
    blind = {name: values for name, values in table.items() if name != "input"}
    assert input_points(blind) is None
    with pytest.raises(ValueError, match="needs band powers made with the input"):
        transfer_points(blind)


def test_points_that_cannot_be_drawn() -> None:
    curve = {"ell": ELL, "cl": CL}
    with pytest.raises(ValueError, match="one estimator at least"):
        phi_spectrum_figure(curve, {})
    with pytest.raises(ValueError, match="TT lack sigma"):
        phi_spectrum_figure(curve, {"TT": {"L": [1, 2], "power": [1, 2]}})
    with pytest.raises(ValueError, match="differ in number"):
        transfer_figure({"TT": {"L": [1, 2], "transfer": [1.0]}})
    with pytest.raises(ValueError, match="positive nowhere"):
        phi_spectrum_figure({"ell": ELL, "cl": 0 * CL}, {"TT": _points()})

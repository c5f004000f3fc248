"""Pieces of the report against truths of their own: escaped text, numbers, colours of maps, contours, nulls."""

import base64
import io
import json

import healpy
import numpy as np
import pytest
from matplotlib.path import Path as Outline
from PIL import Image
from scipy.stats import chi2

from lensrec.view.report_chart import Chart, beside
from lensrec.view.report_html import Markup, measured, number, script_data, table, text
from lensrec.view.report_nulls import chi2_of, differences, null_table
from lensrec.view.report_page import Part, page
from lensrec.view.report_posterior import ellipse_chart, joint_chart
from lensrec.view.report_sky import Patch, Sky, sky_chart

NASTY = "</script><!-- <b>&\"'\u2028"


def test_text_is_never_taken_for_html() -> None:
    for made in (text(NASTY), table({"a": [NASTY]}), script_data({"a": NASTY})):
        assert "</script" not in made
        assert "<b>" not in made
        assert "<!--" not in made
    assert json.loads(script_data({"a": NASTY})) == {"a": NASTY}
    assert "<b>x</b>" in table({"a": [Markup("<b>x</b>")]})


def test_scripts_get_numbers_to_seven_digits_and_nan_as_null() -> None:
    data = {"x": np.array([1 / 3, np.nan]), "y": [np.int64(3), np.float64(-np.inf)], "z": (True, None, "µ")}
    assert json.loads(script_data(data)) == {"x": [0.3333333, None], "y": [3, None], "z": [True, None, "µ"]}


def test_numbers_are_written_as_people_do() -> None:
    cases = {0.5: "0.5", -2: "−2", 1234.6: "1235", 2.1e-9: "2.100×10<sup>−9</sup>", np.nan: "–", -np.inf: "−∞"}
    assert {value: number(value) for value in cases} == cases
    assert measured(1.1732, 0.0664) == "1.173 ± 0.066"
    assert measured(-0.0872, 0.0553) == "−0.087 ± 0.055"
    assert measured(67.36, 1.2) == "67.4 ± 1.2"
    assert measured(1234.5, 120.0) == "1234 ± 120"


def test_colours_of_a_whole_sky_are_those_of_its_pixels() -> None:
    lon, lat = healpy.pix2ang(64, np.arange(12 * 64**2), lonlat=True)
    # rises to the east by a quarter of a turn about 40°, so that a mirrored or a shifted map is another one
    sky = np.sin(np.radians(lon - 40)) * np.cos(np.radians(lat))
    mask = np.where(lat < -50, 0.0, 1.0)
    chart = sky_chart("m", "m", [Sky("s", "s", sky, "K")], caption="", alt="", mask=mask)
    shown = chart.skies[0]
    image = _decoded(shown["source"])
    rows, columns, _ = image.shape
    assert columns == 2 * rows
    colours = np.array([[int(c[k : k + 2], 16) for k in (1, 3, 5)] for c in shown["colours"]])
    for at_lon, at_lat in ((0, 0), (40, 30), (130, 0), (310, 10), (200, -40), (100, 60)):
        # Snyder 31-1 to 31-4, solved by bisection
        want = np.pi * np.sin(np.radians(at_lat))
        low, high = -np.pi / 2, np.pi / 2
        for _ in range(60):
            angle = (low + high) / 2
            low, high = (angle, high) if 2 * angle + np.sin(2 * angle) < want else (low, angle)
        turn = (at_lon + 180) % 360 - 180
        u, v = 0.5 - turn / 360 * np.cos(angle), 0.5 - np.sin(angle) / 2
        pixel = image[int(v * rows), int(u * columns)].astype(int)
        value = np.argmin(((colours - pixel) ** 2).sum(1)) / 255 * (shown["high"] - shown["low"]) + shown["low"]
        assert value == pytest.approx(np.sin(np.radians(at_lon - 40)) * np.cos(np.radians(at_lat)), abs=0.03)
    below = image[int(0.97 * rows), columns // 2]
    assert np.ptp(below.astype(int)) < 12  # masked: grey
    assert 200 < below.mean() < 230
    assert (image[2, 2] > 250).all()  # outside the sky: white
    row = {key: values[0] for key, values in chart.table.items()}
    assert row["rms"] == pytest.approx(sky[lat >= -50].std())
    assert row["share of the sky [%]"] == pytest.approx(100 * np.mean(lat >= -50))


def test_a_patch_has_north_up_and_east_to_the_left() -> None:
    lon, lat = healpy.pix2ang(128, np.arange(12 * 128**2), lonlat=True)
    patch = Patch(30.0, 20.0, 20.0)
    for sky, corner in ((lat - 20, (0.05, 0.5)), (np.where(lon > 180, lon - 360, lon) - 30, (0.5, 0.05))):
        chart = sky_chart("m", "m", [Sky("s", "s", sky, "K", limits=(-10, 10))], caption="", alt="", patch=patch)
        image = _decoded(chart.skies[0]["source"])
        red, _, blue = image[int(corner[0] * len(image)), int(corner[1] * len(image))].astype(int)
        assert red > blue + 40  # the larger values, in the north and in the east


def test_contours_hold_the_share_of_samples_that_they_name() -> None:
    rng = np.random.default_rng(3)
    points = rng.multivariate_normal([1.1, 0.9], [[0.01, 0.004], [0.004, 0.0064]], 20000)
    samples = {"A_L_TTTEEE": points[:, 0], "A_L_phiphi": points[:, 1]}
    chart = joint_chart("a", "a", {"<i>set</i>": (samples, np.ones(len(points)))}, caption="")
    found = {trace["name"]: trace for trace in chart.data}
    for share, name in ((0.95, "&lt;i&gt;set&lt;/i&gt;, 95 %"), (0.68, "&lt;i&gt;set&lt;/i&gt;, 68 %")):
        edge = np.column_stack([found[name]["x"], found[name]["y"]])
        inside = Outline(edge[np.isfinite(edge).all(1)]).contains_points(points)
        assert inside.mean() == pytest.approx(share, abs=0.015)
    assert next(iter(chart.table["correlation"])) == pytest.approx(0.5, abs=0.02)


def test_ellipses_lie_where_chi2_is_that_of_their_share() -> None:
    covariance = np.array([[4.0, 1.0, 0.3], [1.0, 2.0, -0.5], [0.3, -0.5, 1.0]])
    centre = {"tau": 1.0, "mnu": -2.0, "w": 0.0}
    chart = ellipse_chart("e", "e", {"case": (["tau", "w", "mnu"], covariance)}, centre, [("tau", "mnu")], caption="")
    inverse = np.linalg.inv(covariance[np.ix_([0, 2], [0, 2])])
    for trace, share in zip(chart.data, (0.95, 0.68), strict=True):
        away = np.array([trace["x"], trace["y"]]) - np.array([[1.0], [-2.0]])
        np.testing.assert_allclose(chi2.cdf(np.einsum("in,ij,jn->n", away, inverse, away), 2), share)


def test_errors_of_differences_are_those_of_estimates_that_share_noise() -> None:
    """φ̂_K = φ + n_M + x with ⟨n_M x⟩ = 0, as the minimum-variance estimator M has it: ⟨n_K n_M⟩ = N_M."""
    rng = np.random.default_rng(5)
    signal, noise_m, extra, modes, skies = 1.0, 0.7, 1.5, 400, 4000
    phi, n_m, x = (np.sqrt(v) * rng.standard_normal((skies, modes)) for v in (signal, noise_m, extra))
    auto_m = ((phi + n_m) ** 2).mean(1) - noise_m
    auto_k = ((phi + n_m + x) ** 2).mean(1) - noise_m - extra
    bands = {"auto_MV": auto_m[:1], "auto_TT": auto_k[:1], "L": np.ones(1)}
    bands |= {"sigma_MV": np.array([np.sqrt(2 / modes) * (signal + noise_m)])}
    bands |= {"sigma_TT": np.array([np.sqrt(2 / modes) * (signal + noise_m + extra)])}
    value, sigma = differences(bands, ["MV", "TT"])["TT − MV"]
    assert value[0] == auto_k[0] - auto_m[0]
    assert sigma[0] == pytest.approx((auto_k - auto_m).std(), rel=4 / np.sqrt(2 * skies))
    # GMV is the best of all; one that hardly differs from it says nothing
    bands |= {"auto_GMV": auto_m[:1], "sigma_GMV": 0.999 * bands["sigma_MV"]}
    assert set(differences(bands, ["MV", "GMV", "TT"])) == {"TT − GMV"}
    assert differences(bands, ["TT"]) == {}


def test_chi2_of_nulls() -> None:
    value, sigma = np.array([1.0, -4.0]), np.array([1.0, 2.0])
    assert chi2_of(value, sigma) == pytest.approx((5.0, 2, np.exp(-2.5)))
    assert "below 1 %" not in null_table({"curl": {"MV": (value, sigma)}})
    assert "below 1 %" in null_table({"curl": {"MV": (3 * value, sigma)}})


def test_estimators_stand_beside_each_other_within_their_band() -> None:
    table_ = {"L": np.array([30.0, 90.0]), "L_low": np.array([20, 60]), "L_high": np.array([59, 139])}
    places = np.array([beside(table_, place, 7) for place in range(7)])
    np.testing.assert_allclose(places[0], table_["L"])
    assert len(np.unique(places.round(6), axis=0)) == 7
    width = np.log((table_["L_high"] + 1) / table_["L_low"])
    assert (np.abs(np.log(places / table_["L"])) < width / 2).all()


def test_a_page_has_one_place_for_each_figure_and_asks_nothing_of_a_network() -> None:
    chart = Chart("one", "One", "caption", 'alt "text"', [], {}, {"x": [1.0]})
    made = page(NASTY, "head", [Part("s", "S", ["<p>words</p>", chart])], "foot")
    assert made.count('data-figure="one"') == 1
    assert "default-src 'none'" in made
    assert "<title>&lt;/script&gt;" in made
    before, _, after = made.partition("<script>")
    assert "http://" not in before
    assert "https://" not in before
    assert "<link" not in before.replace('<link rel="icon" href="data:,">', "")
    assert "alt &quot;text&quot;" in before
    assert after.count("Plotly.newPlot(gd") == 1
    with pytest.raises(ValueError, match="names of their own"):
        page("t", "", [Part("s", "S", [chart, chart])], "")


def _decoded(source: str) -> np.ndarray:
    head, _, data = source.partition(",")
    assert head == "data:image/webp;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"))

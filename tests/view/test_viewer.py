"""The viewer without a browser: what it shows, and how it follows controls and gestures."""

import asyncio
import json
from io import BytesIO
from typing import Any
from xml.etree import ElementTree

import healpy
import numpy as np
import pytest
from PIL import Image

from lensrec.view.patch import PatchSpectrum
from lensrec.view.patch_svg import outline_svg, overlay_svg, spectrum_svg
from lensrec.view.projection import mollweide_xy
from lensrec.view.raster import HIDDEN, colour_numbers, gradient, indexed_png, palette
from lensrec.view.sky_view import Layers, View, colour_map, robust_limits, statistics
from lensrec.view.viewer import FINE, Viewer, viewer

NSIDE = 64
NPIX = 12 * NSIDE**2
LON, LAT = healpy.pix2ang(NSIDE, np.arange(NPIX), lonlat=True)


@pytest.fixture(scope="module")
def maps() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "T": 100 * rng.standard_normal(NPIX),
        "κ": np.repeat(rng.standard_normal(NPIX // 4), 4) * 0.1,
        "lat": LAT.copy(),
        "coarse": rng.standard_normal(12 * 16**2),
        "mask": (np.abs(LAT) > 20).astype(float),
    }


@pytest.fixture
def shown(maps: dict[str, np.ndarray]) -> Viewer:
    return viewer(maps, units={"T": "µK"}, mask=maps["mask"], centre=(30, 50), size_deg=20)


def pixels(found: Viewer) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(found._widgets.patch.value)).convert("RGB"))


def text(svg: str) -> str:
    return "".join(ElementTree.fromstring(svg).itertext())


# ---- where one looks


def test_a_view_moves_zooms_and_turns() -> None:
    view = View(30.0, 10.0, 10.0)
    up = view.moved(0.0, 1.0)
    assert (up.lon, up.lat) == pytest.approx((30.0, 15.0))
    left = view.moved(1.0, 0.0)
    assert left.lon > 34.9
    assert view.turned(90.0).moved(0.0, 1.0).lon == pytest.approx(left.lon, abs=0.05)  # what is up then is east
    assert view.turned(270.0).turn == pytest.approx(-90.0)
    assert view.zoomed(0.01).size == 0.5
    assert view.zoomed(100.0).size == 90.0
    # what was under the pointer stays there, to the distortion of the plane
    near = view.zoomed(0.5, 0.6, -0.4)
    before, after = view.direction(0.6, -0.4), near.direction(0.6, -0.4)
    angle = np.arccos(before @ after / np.linalg.norm(before) / np.linalg.norm(after))
    assert np.degrees(angle) < 0.02
    lon, lat = view.outline()
    assert lat.max() == pytest.approx(15.0, abs=0.1)
    assert (lon[0], lat[0]) == pytest.approx((lon[-1], lat[-1]))


# ---- what is seen there


def test_layers_show_the_values_there(maps: dict[str, np.ndarray]) -> None:
    layers = Layers(maps, mask=maps["mask"])
    view = View(40.0, 60.0, 8.0, 25.0)
    middle = healpy.ang2pix(NSIDE, 40.0, 60.0, lonlat=True)
    for name in ("T", "lat"):
        assert layers.image(view, name, width=101)[50, 50] == maps[name][middle]
    assert layers.image(view, "T", "lat", width=101)[50, 50] == maps["T"][middle] - maps["lat"][middle]
    coarse = maps["coarse"][healpy.ang2pix(16, 40.0, 60.0, lonlat=True)]
    assert layers.image(view, "T", "coarse", width=101)[50, 50] == maps["T"][middle] - coarse
    # north is up, and longitudes grow to the left
    image = layers.image(View(0.0, 45.0, 20.0), "lat", width=64)
    assert np.nanmean(image[-1]) > np.nanmean(image[0]) + 15
    # the mask hides all maps of its nside but itself
    behind = View(0.0, 0.0, 10.0)
    assert np.isnan(layers.image(behind, "T", width=32)).all()
    assert np.isfinite(layers.image(behind, "coarse", width=32)).all()
    assert not layers.image(behind, "mask", width=32).any()
    assert layers.spectrum(behind, "T", width=64).power.size == 0


def test_a_difference_of_a_layer_and_itself_is_nothing(maps: dict[str, np.ndarray]) -> None:
    layers = Layers(maps)
    assert not layers.image(View(size=30), "T", "T").any()
    assert robust_limits(np.zeros(5)) == (0.0, 1.0)
    assert layers.limits("T", "κ")[1] == pytest.approx(layers.limits("T")[1], rel=0.01)


def test_layers_that_do_not_fit_are_refused(maps: dict[str, np.ndarray]) -> None:
    with pytest.raises(ValueError, match="a viewer needs one map at least"):
        Layers({})
    with pytest.raises(ValueError, match="layer 'T': a HEALPix map has 12 nside² pixels"):
        Layers({"T": np.zeros(5)})
    with pytest.raises(ValueError, match="units of Q, but the layers are T"):
        Layers({"T": np.zeros(48)}, units={"Q": "µK"})
    with pytest.raises(ValueError, match="the mask has 12 pixels, and none of the layers T has"):
        Layers({"T": np.zeros(48)}, mask=np.ones(12))
    with pytest.raises(ValueError, match="no layer 'Q'; there are T"):
        Layers({"T": np.zeros(48)}).image(View(), "Q")


def test_limits_and_statistics() -> None:
    values = np.random.default_rng(0).standard_normal(100000)
    low, high = robust_limits(values)
    assert low == -high
    assert high == pytest.approx(2.807, rel=0.02)  # half of 0.5 % beyond
    assert robust_limits(np.abs(values))[0] == pytest.approx(0.00627, rel=0.2)
    assert robust_limits(np.full(3, np.nan)) == (-1.0, 1.0)
    assert colour_map((-1, 1)) != colour_map((0, 1))
    found = statistics(np.array([[1.0, 3.0], [np.nan, 5.0]]))
    assert found == pytest.approx((0.75, 3.0, np.std([1, 3, 5]), 1.0, 5.0))
    assert statistics(np.full((2, 2), np.nan)).seen == 0


# ---- pictures


def test_colours_of_values_and_of_what_is_hidden() -> None:
    image = np.array([[-5.0, 0.0], [5.0, np.nan]])
    numbers = colour_numbers(image, -1.0, 1.0)
    np.testing.assert_array_equal(numbers, [[1, 128], [255, 0]])
    drawn = np.asarray(Image.open(BytesIO(indexed_png(numbers, palette("RdBu_r")))).convert("RGB"))
    assert drawn.shape == (2, 2, 3)
    blue, white = drawn[1]  # row 0 is at the bottom
    red, grey = drawn[0]
    assert blue[2] > blue[0] + 50
    assert white.min() > 240
    assert red[0] > red[2] + 50
    assert grey.tolist() == [HIDDEN] * 3
    clear = Image.open(BytesIO(indexed_png(numbers, palette("RdBu_r"), transparent=True))).convert("RGBA")
    assert clear.getpixel((1, 0))[3] == 0
    assert gradient("RdBu_r").count("rgb") == 11


def test_scale_bars_are_as_long_as_they_say() -> None:
    for size, label in ((5.0, "1°"), (20.0, "5°"), (0.5, "5′"), (90.0, "30°")):
        svg = overlay_svg(500, size, 0.0)
        assert label in text(svg)
        bar = float(svg.split("v5h")[1].split("v")[0])
        told = float(label[:-1]) / (60.0 if label.endswith("′") else 1.0)
        pixel = 2 * np.degrees(np.tan(np.radians(size) / 2)) / 500
        assert bar * pixel == pytest.approx(told, abs=0.1 * pixel)


def test_arrows_point_north_and_east() -> None:
    def ends(turn: float) -> dict[str, tuple[float, float]]:
        found = ElementTree.fromstring(overlay_svg(500, 10.0, turn))
        return {e.text: (float(e.get("x", 0)), float(e.get("y", 0))) for e in found.iter() if e.text in ("N", "E")}

    north_up, east_up = ends(0.0), ends(90.0)
    assert north_up["N"][1] < north_up["E"][1] - 20
    assert north_up["E"][0] < north_up["N"][0] - 20
    assert east_up["E"][1] < east_up["N"][1] - 20
    assert east_up["N"][0] > east_up["E"][0] + 20


def test_spectra_are_drawn_where_they_lie() -> None:
    ell = np.array([30.0, 100.0, 300.0])
    found = PatchSpectrum(ell * 0.8, ell * 1.2, ell, np.array([1e3, 1e2, -1.0]), np.array([1e2, 1e1, 1.0]))
    svg = spectrum_svg(found, unit="µK", theory=np.ones(500))
    assert "multipole ℓ" in text(svg)
    assert "[µK²]" in text(svg)
    circles = [e for e in ElementTree.fromstring(svg).iter() if e.tag.endswith("circle")]
    assert len(circles) == 2  # a logarithm has no place for the third
    (x1, y1), (x2, y2) = [(float(c.get("cx", 0)), float(c.get("cy", 0))) for c in circles]
    assert x1 < x2
    assert y1 < y2
    assert "(a b)²" in text(spectrum_svg(found, unit="a b"))
    nothing = PatchSpectrum(*(np.zeros(0) for _ in range(5)))
    assert "too little of the patch is seen" in text(spectrum_svg(nothing))


def test_the_outline_lies_on_the_whole_sky_and_breaks_at_its_edge() -> None:
    inside = outline_svg(320, *View(60.0, 30.0, 20.0).outline())
    assert inside.count("M") == 2  # its white rim, and itself
    assert outline_svg(320, *View(180.0, 0.0, 20.0).outline()).count("M") > 4


# ---- the widgets


def test_it_shows_picture_place_facts_and_spectrum(shown: Viewer) -> None:
    assert pixels(shown).shape == (512, 512, 3)
    assert shown.shown.shape == (512, 512)
    assert len(shown.spectrum.ell) >= 1
    assert "<svg" in shown._widgets.spectrum.value
    assert "T [µK]" in shown._widgets.bar.value
    assert "centre 30.00°, 50°" in shown._widgets.facts.value
    assert "100 % seen" in shown._widgets.facts.value
    assert Image.open(BytesIO(shown._widgets.sky.value)).size == (320, 160)


def test_controls_change_picture_and_spectrum(shown: Viewer) -> None:
    picture, curve, whole = pixels(shown), shown._widgets.spectrum.value, shown._widgets.sky.value
    shown.controls["size"].value = 40.0
    assert shown.view.size == pytest.approx(40.0)
    assert not np.array_equal(pixels(shown), picture)
    assert shown._widgets.spectrum.value != curve
    assert shown._widgets.sky.value == whole  # nothing of the whole sky is drawn again
    outline = shown._widgets.outline.value
    shown.controls["lon"].value = 200.0
    assert shown.view.lon == 200.0
    assert shown._widgets.outline.value != outline
    shown.controls["layer"].value = "lat"
    assert shown._widgets.sky.value != whole
    assert shown.controls["low"].value >= 0 or shown.controls["high"].value > 0
    shown.controls["minus"].value = "lat"
    assert not shown.shown[np.isfinite(shown.shown)].any()


def test_sliders_that_answer_with_the_nearest_step_move_nothing(shown: Viewer) -> None:
    """As they do in a browser, where steps are wider than a view of half a degree can bear."""
    shown.look(lon=123.456, lat=-12.344, size=0.6, turn=0.4)
    view = shown.view
    for name, value in (("lon", 123.5), ("lat", -12.3), ("size", 10**-0.22), ("turn", 0.0)):
        shown.controls[name].value = value
    assert shown.view == view
    shown.controls["lon"].value = 123.6
    assert (shown.view.lon, shown.view.lat) == (123.6, view.lat)


def test_sliders_that_answer_late_move_nothing(shown: Viewer) -> None:
    """A kernel that is busy hears of what a slider made of an old value after it has set a new one."""
    assert (shown.view.lat, shown.view.size) == (50.0, 20.0)
    shown.look(lat=-60, size=10)
    shown.look(lat=-70)
    view = shown.view
    shown.controls["lat"].value = 49.99999999999997
    assert shown.view == view
    assert shown.controls["lat"].value == -70.0
    shown.controls["size"].value = 19.9053
    shown.controls["size"].value = 9.9763
    shown.controls["lat"].value = -59.99999999999997
    shown.controls["lat"].value = -70.0000000000001
    assert shown.view == view
    # once it has answered, the same values are moves
    shown.controls["lat"].value = 50.0
    assert shown.view.lat == 50.0
    shown.controls["size"].value = 20.0
    assert shown.view.size == 20.0


def test_colour_ranges(shown: Viewer) -> None:
    sky = shown.controls["high"].value
    assert sky == pytest.approx(281, rel=0.1)  # 2.81 σ
    shown.controls["colours"].value = "of the patch"
    assert shown.controls["high"].value != sky
    shown.controls["colours"].value = "fixed"
    assert not shown.controls["low"].disabled
    shown.controls["low"].value, shown.controls["high"].value = -1000.0, 1e9
    # all of it lies at the lower end of such a range
    assert np.ptp(pixels(shown).reshape(-1, 3), axis=0).max() <= 2


def test_gestures_move_zoom_turn_and_go(shown: Viewer) -> None:
    start = shown.view

    def tell(number: int, kind: str, by: object, at: tuple[float, float] = (0.5, 0.5)) -> None:
        shown._widgets.text.value = json.dumps({"number": number, "kind": kind, "by": by, "at": at})

    # to the right by a tenth of the picture: what was a tenth to the left is in the middle; counted from its beginning
    tell(1, "move", [0.05, 0.0])
    tell(1, "move", [0.1, 0.0])
    assert shown.view == start.moved(0.2, 0.0)
    assert shown.controls["lon"].value == pytest.approx(shown.view.lon)
    tell(2, "move", [0.0, 0.25])
    assert shown.view == start.moved(0.2, 0.0).moved(0.0, 0.5)
    tell(3, "turn", 30.0)
    assert shown.view.turn == pytest.approx(30.0)
    tell(4, "zoom", 0.5)
    assert shown.view.size == pytest.approx(10.0)
    x, y = mollweide_xy(np.array(200.0), np.array(-30.0))
    tell(5, "go", None, ((float(x) + 2) / 4, (1 - float(y)) / 2))
    assert (shown.view.lon, shown.view.lat) == pytest.approx((200.0, -30.0), abs=0.01)
    before = shown.view
    tell(6, "go", None, (0.0, 0.0))  # outside of the ellipse
    shown._widgets.text.value = "no gesture"
    assert shown.view == before


def test_buttons_and_home(shown: Viewer) -> None:
    start = shown.view
    buttons = {widget.description: widget for widget in _descendants(shown.box) if hasattr(widget, "click")}
    buttons["↑"].click()
    assert shown.view.lat == pytest.approx(55.0, abs=0.2)
    buttons["+"].click()
    assert shown.view.size == pytest.approx(20 / np.sqrt(2))
    buttons["↻"].click()
    assert shown.view.turn == 15.0
    buttons["⌂"].click()
    assert shown.view == start


def test_it_is_told_where_to_look(shown: Viewer) -> None:
    shown.look(lon=-10, size=5, layer="κ", minus="mask")
    assert (shown.view.lon, shown.view.lat, shown.view.size) == (350.0, 50.0, 5.0)
    assert shown._chosen == ("κ", "mask")
    shown.look(minus="")
    assert shown._chosen == ("κ", "")
    other = shown.another(layer="T", lat=-60)
    assert (other.view.lat, shown.view.lat) == (-60.0, 50.0)
    assert other.layers is shown.layers
    with pytest.raises(ValueError, match="no layer 'φ'; there are T, κ"):
        shown.look(layer="φ")
    with pytest.raises(ValueError, match=r"between 0\.5 and 90 degrees, got 0\.1"):
        shown.look(size=0.1)
    with pytest.raises(ValueError, match="latitude of the middle must lie between -90 and 90 degrees, got 91"):
        shown.another(lat=91)


def test_the_spectrum_is_finished_when_the_view_rests(maps: dict[str, np.ndarray], monkeypatch) -> None:
    """Inside a running loop, as a kernel has one, all samples are taken once, after the last change."""
    taken: list[int] = []
    whole = Layers.spectrum

    def counted(self: Layers, *args: object, width: int = FINE) -> PatchSpectrum:
        taken.append(width)
        return whole(self, *args, width=width)

    monkeypatch.setattr(Layers, "spectrum", counted)
    monkeypatch.setattr("lensrec.view.viewer.REST", 0.05)

    async def session() -> None:
        found = viewer(maps, size_deg=20)
        for lon in range(5):
            found.look(lon=lon)
        assert FINE not in taken
        await asyncio.sleep(0.4)

    asyncio.run(session())
    assert taken.count(FINE) == 1
    assert taken[-1] == FINE


def test_it_displays_itself_with_its_script(shown: Viewer, monkeypatch) -> None:
    displayed: list[object] = []
    monkeypatch.setattr("IPython.display.display", displayed.append)
    shown._ipython_display_()
    box, script = displayed
    assert box is shown.box
    assert "lensrec-gesture" in script.data


def test_without_ipywidgets_a_line_says_what_is_missing(maps: dict[str, np.ndarray], monkeypatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ipywidgets", None)
    with pytest.raises(ImportError, match=r"pip install 'lensrec\[notebook\]'"):
        viewer(maps)


def _descendants(widget: Any) -> list[Any]:
    below = [deep for child in getattr(widget, "children", ()) for deep in _descendants(child)]
    return [widget, *below]

"""The report in Chromium: every figure is drawn, maps move, a phone needs no sideways scroll, paper has it all."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lensrec.sky.io import read_map
from lensrec.stages.report import report_run
from tests.browser.conftest import PHONE
from tests.stages.tiny_run import NASTY, shared_tiny_run

Open = Callable[..., Any]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    page = report_run(shared_tiny_run(), tmp_path_factory.mktemp("page") / "report.html")
    return page.as_uri()


def ranges(page: Any, name: str) -> np.ndarray:
    return np.array(
        page.evaluate(
            "name => { const { xaxis, yaxis } = document.getElementById(`plot-${name}`).layout;"
            " return [xaxis.range, yaxis.range]; }",
            name,
        )
    )


def middle(page: Any, name: str) -> tuple[float, float]:
    place = page.locator(f"#plot-{name}")
    place.scroll_into_view_if_needed()
    page.wait_for_timeout(500)  # a page at rest: a wheel on one that is being scrolled goes on scrolling it
    box = place.bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def test_every_figure_is_drawn(address: str, open_page: Open) -> None:
    page = open_page(address)
    drawn = page.evaluate(
        """() => [...document.querySelectorAll("[data-figure]")].map((gd) => {
          const box = gd.querySelector(".main-svg")?.getBoundingClientRect();
          return [gd.dataset.figure, gd.matches(".js-plotly-plot"), box?.width ?? 0, box?.height ?? 0,
                  gd.querySelectorAll(".main-svg image, .main-svg .scatterlayer .trace").length];
        })"""
    )
    assert len(drawn) > 10
    for name, plotly, width, height, marks in drawn:
        assert plotly, name
        assert width > 200, name
        assert height > 150, name
        assert marks >= 1, name
    # what a recipe says is shown, and is no part of the page
    assert page.locator(".about").inner_text() == NASTY
    assert page.title() == "tiny <b>run</b>: lensrec report"


def test_a_wheel_zooms_a_map_and_those_linked_to_it(address: str, open_page: Open) -> None:
    page = open_page(address)
    before, aside = ranges(page, "phi-input"), ranges(page, "map-T")
    np.testing.assert_allclose(ranges(page, "phi-found"), before)
    x, y = middle(page, "phi-input")
    page.mouse.move(x + 40, y)
    for _ in range(4):
        page.mouse.wheel(0, -400)
        page.wait_for_timeout(100)
    after = ranges(page, "phi-input")
    assert (np.diff(after) < 0.8 * np.diff(before)).all()
    np.testing.assert_allclose(ranges(page, "phi-found"), after)
    np.testing.assert_allclose(ranges(page, "kappa"), after)
    np.testing.assert_allclose(ranges(page, "map-T"), aside)
    # a drag moves it, by as much as the pointer moved
    width = page.locator("#plot-phi-input").bounding_box()["width"]
    page.mouse.down()
    page.mouse.move(x + 100, y, steps=4)
    page.mouse.up()
    page.wait_for_timeout(300)
    moved = ranges(page, "phi-input")
    np.testing.assert_allclose(moved[0] - after[0], -60 / width * np.diff(after[0])[0], rtol=0.05)
    np.testing.assert_allclose(ranges(page, "phi-found"), moved)
    page.locator("#figure-phi-input").get_by_text("Whole map").click()
    page.wait_for_timeout(300)
    np.testing.assert_allclose(ranges(page, "phi-input"), before)
    np.testing.assert_allclose(ranges(page, "phi-found"), before)


def test_a_pointer_reads_longitude_latitude_and_value(address: str, open_page: Open) -> None:
    import healpy

    page = open_page(address)
    sky = read_map(shared_tiny_run() / "sims" / "0000" / "lensed.fits").maps[0]
    x, y = middle(page, "map-T")
    width = page.locator("#plot-map-T").bounding_box()["width"]
    out = page.locator("#figure-map-T .readout")
    errors = []
    for lon in (0, 60, 120, 300, 240):
        # on the equator Mollweide's x is 2 lon/180°, to the left, of 4.02 that are shown
        at = x - width * 2 * ((lon + 180) % 360 - 180) / 180 / 4.02
        page.mouse.move(at + 1, y)
        page.mouse.move(at, y)
        page.wait_for_timeout(150)
        page.mouse.move(at, y + 0.01)
        said = out.inner_text().replace("\u2212", "-")
        found = re.match(r"lon ([\d.]+)°, lat (-?[\d.]+)°: T \[µK\] ≈ (-?[\d.]+)$", said)
        assert found, said
        read_lon, read_lat, value = map(float, found.groups())
        assert abs((read_lon - lon + 180) % 360 - 180) < 1.0
        assert abs(read_lat) < 0.5
        errors.append(value - sky[healpy.ang2pix(32, read_lon, read_lat, lonlat=True)])
    # by the nearest pixel and compressed colours: close to the map, which has an rms of some 100 µK
    assert np.median(np.abs(errors)) < 0.15 * sky.std()


def test_buttons_choose_what_is_drawn(address: str, open_page: Open) -> None:
    page = open_page(address)
    names = """() => document.getElementById("plot-phi-bandpowers").data
        .filter((trace) => trace.visible !== false).map((trace) => trace.name)"""
    assert "φ̂ MV" in page.evaluate(names)
    assert "φ̂ TT" not in page.evaluate(names)
    box = page.locator("#figure-phi-bandpowers")
    box.get_by_text("TT", exact=False).first.click()
    assert {"φ̂ MV", "φ̂ TT"} <= set(page.evaluate(names))
    box.get_by_text("MV").first.click()
    assert not any("MV" in name for name in page.evaluate(names))
    source = "() => document.getElementById('plot-map-T').layout.images[0].source"
    before = page.evaluate(source)
    page.locator("#figure-map-T .choice").get_by_text("observed", exact=True).click()
    assert page.evaluate(source) != before
    page.get_by_text(re.compile("^All .* keys$")).click()
    page.get_by_role("searchbox").fill("noise_t")
    assert page.locator("#keys dt:visible").all_inner_texts() == ["instrument.noise_t"]


def test_a_phone_needs_no_sideways_scroll(address: str, open_page: Open) -> None:
    page = open_page(address, viewport=PHONE, touch=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE[0]
    assert page.evaluate("innerWidth") == PHONE[0]
    edges = page.evaluate(
        "() => [...document.querySelectorAll('.main-svg')].map((svg) => svg.getBoundingClientRect().right)"
    )
    assert max(edges) <= PHONE[0]
    before = ranges(page, "phi-found")
    page.locator("#figure-phi-found").get_by_role("button", name="Zoom in").tap()
    page.wait_for_timeout(300)
    np.testing.assert_allclose(np.diff(ranges(page, "phi-input")), np.diff(before) / 2, rtol=1e-6)


def test_two_fingers_enlarge_a_map(address: str, open_page: Open) -> None:
    page = open_page(address, viewport=PHONE, touch=True)
    x, y = middle(page, "phi-found")
    before = ranges(page, "phi-found")
    session = page.context.new_cdp_session(page)

    def touch(kind: str, *places: tuple[float, float]) -> None:
        points = [{"x": px, "y": py, "id": k} for k, (px, py) in enumerate(places)]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    touch("touchStart", (x - 30, y), (x + 30, y))
    for reach in (40, 50, 60):
        touch("touchMove", (x - reach, y), (x + reach, y))
    touch("touchEnd")
    page.wait_for_timeout(300)
    np.testing.assert_allclose(np.diff(ranges(page, "phi-found")[0]), np.diff(before[0]) / 2, rtol=0.03)
    np.testing.assert_allclose(ranges(page, "phi-found")[0].mean(), before[0].mean(), atol=0.05)


def test_paper_has_all_figures(address: str, open_page: Open, tmp_path: Path) -> None:
    page = open_page(address)
    printed = page.pdf(prefer_css_page_size=True)
    assert len(re.findall(rb"/Type /Page\b", printed)) > 3
    # in print each figure is as wide as the page allows, and no toolbar is left
    page.set_viewport_size({"width": 690, "height": 980})
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    sizes = page.evaluate(
        """() => [...document.querySelectorAll(".plot")].map((plot) => {
          const box = plot.querySelector(".main-svg").getBoundingClientRect();
          return [box.width, box.height, box.right];
        })"""
    )
    assert min(width for width, _, _ in sizes) > 250
    assert min(height for _, height, _ in sizes) > 120
    assert max(right for *_, right in sizes) <= 690
    assert page.locator(".choice:visible, .tools:visible, nav:visible").count() == 0
    # no figure is cut by the end of a page: it may not be, and one page is enough for it
    figures = page.evaluate(
        """() => [...document.querySelectorAll(".fig")].filter((fig) => fig.offsetHeight)
          .map((fig) => [getComputedStyle(fig).breakInside, fig.getBoundingClientRect().height])"""
    )
    assert {rule for rule, _ in figures} == {"avoid"}
    assert max(height for _, height in figures) < 980
    page.evaluate("document.querySelectorAll('.plot').forEach((plot) => { plot.style.display = 'none'; })")
    assert len(printed) > 2 * len(page.pdf(prefer_css_page_size=True))

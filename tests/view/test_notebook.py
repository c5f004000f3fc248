"""HTML for notebooks: whole, escaped, with its picture inside."""

from base64 import b64decode
from html.parser import HTMLParser

import numpy as np
import pytest

from lensrec.view.maps import mollweide_figure
from lensrec.view.notebook import html_of, text_of


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text: list[str] = []
        self.images: list[dict[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag != "img":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.images.append(dict(attrs))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def _read(html: str) -> _Reader:
    reader = _Reader()
    reader.feed(html)
    assert not reader.open
    return reader


def test_picture_caption_and_facts() -> None:
    figure = mollweide_figure([np.arange(48.0)], ["a"], unit="T [µK]", columns=1)
    page = _read(html_of(figure, 'sky 0 <of> "1"', {"nside": 2, "noise & beam": 1.23456789, "<b>": "<script>"}, dpi=40))
    assert page.text == ['sky 0 <of> "1"', "nside", "2", "noise & beam", "1.235", "<b>", "<script>"]
    (image,) = page.images
    assert image["alt"] == 'sky 0 <of> "1"'
    kind, _, data = str(image["src"]).partition(",")
    assert kind == "data:image/png;base64"
    assert b64decode(data).startswith(b"\x89PNG")


def test_without_a_picture() -> None:
    page = _read(html_of(None, "nothing yet", {}))
    assert page.text == ["nothing yet"]
    assert page.images == []


def test_tables_and_several_pictures() -> None:
    figures = [mollweide_figure([np.arange(48.0)], ["a"], unit="T", columns=1) for _ in range(2)]
    page = _read(html_of(figures, "two", {}, tables=[{"": ["T", "Q"], "mean <µK>": [1.0, -2.5e-7]}], dpi=30))
    assert page.text == ["two", "mean <µK>", "T", "1", "Q", "−2.5e−07"]
    assert len(page.images) == 2
    with pytest.raises(ValueError, match="shorter"):
        html_of(None, "", {}, tables=[{"a": [1], "b": []}])


def test_the_same_as_lines() -> None:
    text = text_of("map", {"nside": 2, "unit": "µK"}, [{"": ["T", "Q"], "mean": [1.0, -2.5]}])
    assert text.splitlines() == ["map", "  nside  2", "  unit   µK", "     mean", "  T  1", "  Q  −2.5"]

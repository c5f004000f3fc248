"""A picture in letters shows the right thing in the right place, in every kind of colour."""

import re

import numpy as np
import pytest

from lensrec.view.facts import fact_lines
from lensrec.view.text_picture import bar_line, mollweide_frame, scale_line, text_picture

_ESCAPE = re.compile(r"\033\[[0-9;]*m")


def image() -> np.ndarray:
    """Four rows from the south: bright in the north-west, a hole in the south-east."""
    out = np.zeros((4, 6))
    out[2:, 4:] = 1.0
    out[:2, :2] = np.nan
    return out


def test_north_is_up_and_east_is_left_in_shades():
    assert text_picture(image(), (0.0, 1.0)) == ["....@@", "//...."]


def test_outside_the_frame_nothing_is_drawn():
    frame = np.ones((4, 6), dtype=bool)
    frame[:2, 0] = False
    assert text_picture(image(), (0.0, 1.0), frame=frame)[1] == " /...."


@pytest.mark.parametrize("colours", ["full", "256"])
def test_half_blocks_hold_two_rows(colours):
    lines = text_picture(np.array([[-1.0], [1.0]]), (-1.0, 1.0), colours=colours)
    code = {"full": r"2;178;24;43;48;2;33;102;172", "256": r"5;\d+;48;5;\d+"}[colours]
    assert re.fullmatch(rf"\033\[0;38;{code}m▀\033\[0m", lines[0])
    assert len(lines) == 1


def test_the_256_colours_are_the_nearest_of_the_cube():
    steps = np.array([0, 95, 135, 175, 215, 255])
    line = text_picture(np.linspace(0.0, 1.0, 50)[None, :], (0.0, 1.0), colours="256")[0]
    exact = text_picture(np.linspace(0.0, 1.0, 50)[None, :], (0.0, 1.0), colours="full")[0]
    cube = [int(n) - 16 for n in re.findall(r"38;5;(\d+)", line)]
    true = [tuple(map(int, rgb)) for rgb in re.findall(r"38;2;(\d+);(\d+);(\d+)", exact)]
    # of two that are as near the brighter one
    nearest = [
        sum((5 - np.argmin(np.abs(steps[::-1] - c))) * n for c, n in zip(rgb, (36, 6, 1), strict=True)) for rgb in true
    ]
    # cells of one colour share a code, so runs are compared
    assert [n for i, n in enumerate(nearest) if i == 0 or nearest[i - 1] != n] == cube


def test_an_odd_number_of_rows_keeps_its_top():
    assert text_picture(np.array([[0.0], [1.0], [1.0]]), (0.0, 1.0)) == ["@", "."]


def test_a_picture_needs_a_scale_and_two_dimensions():
    with pytest.raises(ValueError, match="must rise"):
        text_picture(np.zeros((2, 2)), (1.0, 1.0))
    with pytest.raises(ValueError, match="rows and columns"):
        text_picture(np.zeros(3), (0.0, 1.0))


def test_the_scale_names_its_ends_and_unit():
    assert scale_line((-12.5, 12.5), "µK").startswith("−12.5 [.:-=+*#%@] 12.5 µK;")
    assert _ESCAPE.sub("", scale_line((0.0, 1.0), "", colours="full", width=3)) == "0     1;    not observed"


def test_the_frame_of_the_whole_sky_is_an_ellipse():
    frame = mollweide_frame(200, 400)
    assert frame.mean() == pytest.approx(np.pi / 4, abs=2e-3)
    assert not frame[0, 0]
    assert frame[100].all()


def test_bars_follow_the_logarithm_of_powers():
    assert bar_line([1.0, 10.0, 100.0]) == "▁▄█" or bar_line([1.0, 10.0, 100.0]) == "▁▅█"
    assert bar_line([-1.0, np.nan, 1.0]) == "▁ █"
    assert bar_line([np.nan]) == " "
    assert bar_line([2.0, 2.0]) == "▁▁"


def test_tables_among_facts_are_aligned():
    lines = list(fact_lines({"a": 1.5, "none": [], "t": {"name": ["x", "long"], "v": [1, None]}, "b": {"c": "d"}}))
    assert lines == ["a: 1.5", "none: none", "t:", "  name  v", "  x     1", "  long  –", "b:", "  c: d"]

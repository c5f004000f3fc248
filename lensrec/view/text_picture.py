"""Pictures made of letters: a map in a terminal, in colours where it has them and in shades of ASCII where not."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Colours = Literal["none", "256", "full"]

_SHADES = ".:-=+*#%@"
_BARS = "▁▂▃▄▅▆▇█"
_GREY = (150, 150, 150)
# from low to high: Brewer's RdBu backwards for maps about zero, viridis for weights
_SIGNED = (
    (33, 102, 172),
    (67, 147, 195),
    (146, 197, 222),
    (247, 247, 247),
    (244, 165, 130),
    (214, 96, 77),
    (178, 24, 43),
)
_RISING = ((68, 1, 84), (72, 40, 120), (62, 74, 137), (49, 104, 142), (31, 158, 137), (109, 205, 89), (253, 231, 37))


def text_picture(
    image: NDArray, limits: tuple[float, float], *, frame: NDArray[np.bool_] | None = None, colours: Colours = "none"
) -> list[str]:
    """An image as lines of text, two of its rows in a line.

    Parameters
    ----------
    image : array (rows, columns)
        Row 0 at the bottom; NaN where there is nothing to show. A cell of a terminal is twice as high as wide: half
        blocks show one row each, so that pixels are square; shades of ASCII show the mean of two rows.
    limits : (low, high)
        The ends of the scale. With low < 0 < high colours run from blue over white to red, else from dark to bright.
    frame : bool array (rows, columns), optional
        Where NaN is sky that was not observed, and drawn so; outside it nothing is drawn.
    colours : "none", "256" (of xterm) or "full" (24 bits)

    Raises
    ------
    ValueError
        If the image is not two-dimensional, or the limits do not rise.
    """
    if image.ndim != 2 or image.size == 0:
        raise ValueError(f"a picture has rows and columns, got shape {image.shape}")
    low, high = limits
    if not low < high:
        raise ValueError(f"the limits of a picture must rise, got {low:g} and {high:g}")
    inside = np.ones(image.shape, dtype=bool) if frame is None else np.asarray(frame, dtype=bool)
    if len(image) % 2:
        image = np.vstack([np.full((1, image.shape[1]), np.nan), image])
        inside = np.vstack([np.zeros((1, image.shape[1]), dtype=bool), inside])
    level = np.clip((image - low) / (high - low), 0.0, 1.0)
    upper, lower = level[1::2][::-1], level[0::2][::-1]
    within = inside[1::2][::-1], inside[0::2][::-1]
    if colours == "none":
        return [_shaded(*rows) for rows in zip(upper, lower, *within, strict=True)]
    stops = np.array(_SIGNED if low < 0.0 < high else _RISING, dtype=np.float64)
    return [_coloured(*rows, stops, colours) for rows in zip(upper, lower, *within, strict=True)]


def scale_line(limits: tuple[float, float], unit: str, *, colours: Colours = "none", width: int = 24) -> str:
    """The scale of such a picture: its ends, its colours or shades between them, and the unit."""
    low, high = limits
    ends = f"{low:.3g}".replace("-", "\u2212"), f"{high:.3g}".replace("-", "\u2212")
    if colours == "none":
        return f"{ends[0]} [{_SHADES}] {ends[1]} {unit}; / not observed".replace(" ;", ";")
    stops = np.array(_SIGNED if low < 0.0 < high else _RISING, dtype=np.float64)
    bar = "".join(f"\033[48;{_code(_mixed(x, stops), colours)}m " for x in np.linspace(0.0, 1.0, width))
    grey = f"\033[48;{_code(_GREY, colours)}m  \033[0m"
    return f"{ends[0]} {bar}\033[0m {ends[1]} {unit}; {grey} not observed".replace(" ;", ";")


def bar_line(values: Sequence[float]) -> str:
    """A curve in one line of blocks; powers are drawn by their logarithm if all are positive.

    What is not finite is left blank.
    """
    data = np.asarray(values, dtype=np.float64)
    good = np.isfinite(data)
    if not good.any():
        return " " * data.size
    if data[good].min() > 0.0:
        data = np.log10(data, out=np.full(data.shape, np.nan), where=good)
    low, span = data[good].min(), float(np.ptp(data[good]))
    steps = np.where(good, (data - low) / (span or 1.0) * (len(_BARS) - 1), 0.0)
    return "".join(_BARS[round(step)] if there else " " for step, there in zip(steps.tolist(), good, strict=True))


def mollweide_frame(rows: int, columns: int) -> NDArray[np.bool_]:
    """The pixels (rows, columns) whose centres lie on the ellipse of the whole sky, twice as wide as high."""
    x = (2.0 * np.arange(columns) + 1.0) / columns - 1.0
    y = (2.0 * np.arange(rows) + 1.0) / rows - 1.0
    return x[None, :] ** 2 + y[:, None] ** 2 <= 1.0


def _shaded(upper: NDArray, lower: NDArray, in_upper: NDArray, in_lower: NDArray) -> str:
    out = []
    for cell in zip(upper.tolist(), lower.tolist(), in_upper, in_lower, strict=True):
        values = [value for value, inside in zip(cell[:2], cell[2:], strict=True) if inside and value == value]
        if values:
            out.append(_SHADES[min(int(sum(values) / len(values) * len(_SHADES)), len(_SHADES) - 1)])
        else:
            out.append("/" if cell[2] or cell[3] else " ")
    return "".join(out).rstrip()


def _coloured(
    upper: NDArray, lower: NDArray, in_upper: NDArray, in_lower: NDArray, stops: NDArray, colours: Colours
) -> str:
    out, now = [], ""
    for cell in zip(upper.tolist(), lower.tolist(), in_upper, in_lower, strict=True):
        above, below = (_colour(value, inside, stops) for value, inside in zip(cell[:2], cell[2:], strict=True))
        block = "▀" if above else "▄" if below else " "
        paint = "0"
        if above or below:
            paint = f"0;38;{_code(above or below or _GREY, colours)}"
            paint += f";48;{_code(below, colours)}" if above and below else ""
        out.append(block if paint == now else f"\033[{paint}m{block}")
        now = paint
    return "".join(out) + "\033[0m"


def _colour(value: float, inside: bool, stops: NDArray) -> tuple[int, int, int] | None:
    if not inside:
        return None
    return _mixed(value, stops) if value == value else _GREY


def _mixed(level: float, stops: NDArray) -> tuple[int, int, int]:
    place = level * (len(stops) - 1)
    first = min(int(place), len(stops) - 2)
    red, green, blue = np.rint(stops[first] + (place - first) * (stops[first + 1] - stops[first])).astype(int).tolist()
    return red, green, blue


def _code(colour: tuple[int, int, int], colours: Colours) -> str:
    """What follows 38; or 48; in an escape sequence. The 256 of xterm have a cube of 6 × 6 × 6 at 0, 95, 135, … 255."""
    if colours == "full":
        return "2;{};{};{}".format(*colour)
    steps = [0 if part < 48 else 1 if part < 115 else (part - 35) // 40 for part in colour]
    return f"5;{16 + 36 * steps[0] + 6 * steps[1] + steps[2]}"

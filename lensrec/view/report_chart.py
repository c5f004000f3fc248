"""What a figure of the report is, and the style that all of them share."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lensrec.view.figure import SETS, estimator_style

INK, MUTED, RULE, GRID = "#1d2329", "#56616c", "#9aa4ae", "#e9edf0"
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")

_MARKERS = {
    "o": "circle",
    "s": "square",
    "^": "triangle-up",
    "v": "triangle-down",
    "D": "diamond",
    "X": "x",
    "P": "cross",
    "p": "pentagon",
    "h": "hexagon",
    "*": "star",
    "<": "triangle-left",
}
_GLYPHS = {"o": "●", "s": "■", "^": "▲", "v": "▼", "D": "◆", "X": "✖", "P": "✚", "p": "⬟", "h": "⬢", "*": "★", "<": "◀"}
_TICKS = [value * 10**power for power in range(5) for value in (1, 2, 5)]


@dataclass(frozen=True)
class Choice:
    """Buttons above a figure.

    Attributes
    ----------
    label : str
        What is chosen; plain.
    options : sequence of (value, markup, whether it is chosen at first)
    facet : int, "sky" or "scale"
        Which entry of a trace's "facets" must be among the chosen ones for it to be drawn; or one of the figure's
        `skies` is shown, or the axis takes one of its `scales`.
    single : bool
        Whether one alone can be chosen.
    """

    label: str
    options: Sequence[tuple[str, str, bool]]
    facet: int | Literal["sky", "scale"]
    single: bool = False


@dataclass(frozen=True)
class Chart:
    """A figure with all that is said of it.

    Attributes
    ----------
    name : str
        Letters, digits and hyphens; its address in the page.
    title, caption : str
        Markup.
    alt : str
        What is to be seen, for those who don't see it; plain.
    data, layout : Plotly's
    table : mapping of markup to values
        Its numbers.
    shape : "plot", "tall", "sky" or "patch"
        Its height against its width.
    wide : bool
        Whether it takes the width of the page.
    choices : sequence of Choice
    skies : sequence of mapping
        Of a map: "source", "low", "high", "unit" (markup), "colours" (256 of "#rrggbb") of each that may be shown.
    link : str
        Figures of one name are zoomed together.
    projection : mapping
        What a pointer needs for longitude and latitude: {"kind": "mollweide"}, or "gnomonic" with "lon" and "lat".
    scales : mapping of "log" and "linear" to a range
        Of the first y axis, as Plotly has them.
    titles : mapping of an option to markup of both axes
        Where they follow what is chosen.
    named : bool
        Whether the buttons are a legend, so that Plotly's is for paper alone.
    """

    name: str
    title: str
    caption: str
    alt: str
    data: Sequence[Mapping[str, Any]]
    layout: Mapping[str, Any]
    table: Mapping[str, Iterable[Any]]
    shape: Literal["plot", "tall", "sky", "patch"] = "plot"
    wide: bool = False
    choices: Sequence[Choice] = ()
    skies: Sequence[Mapping[str, Any]] = ()
    link: str = ""
    projection: Mapping[str, Any] = field(default_factory=dict)
    scales: Mapping[str, Sequence[float]] = field(default_factory=dict)
    titles: Mapping[str, Sequence[str]] = field(default_factory=dict)
    named: bool = False


def layout(**changes: Any) -> dict[str, Any]:
    """Plotly's layout in the report's style, with changes; axes are made by `axis`."""
    base: dict[str, Any] = {
        "autosize": True,
        "font": {"family": FONT, "size": 13, "color": INK},
        "paper_bgcolor": "white",
        "plot_bgcolor": "white",
        "margin": {"l": 66, "r": 14, "t": 12, "b": 50},
        "hovermode": "closest",
        "hoverlabel": {"bgcolor": "white", "bordercolor": RULE, "font": {"family": FONT, "size": 13, "color": INK}},
        "legend": {
            "orientation": "h",
            "x": 0,
            "y": 1.02,
            "yanchor": "bottom",
            "font": {"size": 12.5},
            "itemsizing": "trace",
        },
        "colorway": [colour for colour, _ in SETS],
    }
    return {**base, **changes}


def axis(**changes: Any) -> dict[str, Any]:
    """An axis: a frame on both sides, ticks inwards, a faint grid."""
    title = changes.pop("title", "")
    base = {
        "title": {"text": title, "standoff": 8, "font": {"size": 13.5}},
        "showline": True,
        "mirror": "ticks",
        "ticks": "inside",
        "ticklen": 4,
        "linecolor": RULE,
        "tickcolor": RULE,
        "gridcolor": GRID,
        "zeroline": False,
        "exponentformat": "power",
        "minexponent": 4,
        "automargin": True,
    }
    return {**base, **changes}


def multipole_axis(low: float, high: float, title: str) -> dict[str, Any]:
    """A logarithmic axis of multipoles with plain numbers."""
    low = max(low, 1.0)
    edges = np.log10([low / 1.06, high * 1.06]).tolist()
    return {"type": "log", "range": edges, "tickvals": _TICKS, "ticktext": [str(t) for t in _TICKS], "title": title}


def points(
    x: ArrayLike,
    y: ArrayLike,
    sigma: ArrayLike | None,
    *,
    name: str,
    colour: str,
    marker: str = "o",
    facets: Sequence[str] = (),
    visible: bool = True,
    width: Sequence[ArrayLike] | None = None,
    **more: Any,
) -> dict[str, Any]:
    """Points with error bars; `width` are the distances to the ends of bands."""
    trace: dict[str, Any] = {
        "type": "scatter",
        "mode": "markers",
        "x": x,
        "y": y,
        "name": name,
        "marker": {"color": colour, "symbol": _MARKERS.get(marker, "circle"), "size": 7},
        "visible": visible,
        "meta": {"facets": list(facets)},
    }
    if sigma is not None:
        trace["error_y"] = {"type": "data", "array": sigma, "thickness": 1.4, "width": 0, "color": colour}
    if width is not None:
        low, high = width
        bars = {"symmetric": False, "array": high, "arrayminus": low, "thickness": 1.0, "width": 0, "color": colour}
        trace["error_x"] = {"type": "data", **bars}
    return trace | more


def curve(
    x: ArrayLike,
    y: ArrayLike,
    *,
    name: str,
    colour: str = "#404040",
    dash: str = "solid",
    weight: float = 2.0,
    facets: Sequence[str] = (),
    visible: bool = True,
    **more: Any,
) -> dict[str, Any]:
    """A line."""
    line = {"color": colour, "dash": dash, "width": weight}
    base = {"type": "scatter", "mode": "lines", "x": x, "y": y, "name": name, "line": line}
    return base | {"visible": visible, "meta": {"facets": list(facets)}} | more


def level(y: float, axes: str = "", colour: str = "#404040", dash: str = "solid") -> dict[str, Any]:
    """A horizontal line across a panel, as one of the layout's shapes; `axes` is the number of the y axis."""
    line = {"color": colour, "width": 1.2, "dash": dash}
    where = {"xref": "paper", "x0": 0, "x1": 1, "yref": f"y{axes}", "y0": y, "y1": y}
    return {"type": "line", "layer": "below", "line": line, **where}


def thinned(values: NDArray, low: int, high: int, count: int = 400) -> NDArray[np.int64]:
    """Whole numbers from low to high, all of them or `count` even in their logarithms: where a curve is drawn."""
    high = min(high, len(values) - 1)
    if high - low < count:
        return np.arange(low, high + 1)
    return np.unique(np.round(np.geomspace(max(low, 1), high, count)).astype(np.int64))


def beside(table: Mapping[str, NDArray], place: int, count: int) -> NDArray[np.float64]:
    """Where one of several estimators stands within bands: the first in the middle, others to its right and left."""
    low, high = np.log(np.maximum(table["L_low"], 1.0)), np.log(table["L_high"] + 1.0)
    step = (place + 1) // 2 * (1 if place % 2 else -1)
    return np.exp(np.log(np.maximum(table["L"], 1.0)) + 0.6 * (high - low) * step / max(count, 2))


def marked(key: str, position: int) -> str:
    """Name of an estimator with its mark in its colour, for a button."""
    colour, marker = style_of(key.partition(" ")[0], position)
    return f'<b style="color:{colour}">{_GLYPHS.get(marker, "●")}</b>{key}'


def style_of(key: str, position: int) -> tuple[str, str]:
    """Colour and marker of an estimator, as in all pictures."""
    return estimator_style(key, position)

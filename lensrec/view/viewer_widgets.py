"""The widgets of a viewer: controls, pictures with what lies over them, and how they are laid out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lensrec.view.sky_view import SIZES, WHOLE, WIDTH, View

STEPS = {"lon": 0.1, "lat": 0.1, "size": 0.01, "turn": 1.0}
"""Of the sliders, degrees; of the field's in its logarithm."""

NOTHING = "nothing"
"""Instead of a layer that is taken off."""

RANGES = ("of the sky", "of the patch", "fixed")
"""What the ends of the colours may be taken from."""

HELP = (
    "drag: move · Shift + drag: turn · double click: zoom in (Shift: out) · Ctrl + wheel, or pinch: zoom · "
    "click on the whole sky: go there"
)

_STYLE = (
    "<style>.lensrec-over{pointer-events:none;z-index:1;line-height:0}"
    ".lensrec-over .widget-html-content{line-height:0}"
    ".lensrec-patch,.lensrec-sky{cursor:grab;touch-action:none;user-select:none}"
    ".lensrec-sky{cursor:crosshair}.lensrec-patch:active{cursor:grabbing}</style>"
)

_MOVES: tuple[tuple[str, str, Callable[[View], View]], ...] = (
    ("←", "move left by a quarter", lambda view: view.moved(0.5, 0)),
    ("↑", "move up by a quarter", lambda view: view.moved(0, 0.5)),
    ("↓", "move down by a quarter", lambda view: view.moved(0, -0.5)),
    ("→", "move right by a quarter", lambda view: view.moved(-0.5, 0)),
    ("+", "see less, larger", lambda view: view.zoomed(2**-0.5)),
    ("−", "see more, smaller", lambda view: view.zoomed(2**0.5)),
    ("↺", "turn the sky by 15°, anticlockwise", lambda view: view.turned(-15)),
    ("↻", "turn the sky by 15°, clockwise", lambda view: view.turned(15)),
)


@dataclass(frozen=True, eq=False)
class Widgets:
    """All that changes: `controls` by name, pictures (`patch`, `sky`) and what lies over them, `bar` of colours,
    `facts`, `spectrum`, the hidden `text` by which the page tells gestures, and the `box` of all."""

    controls: dict[str, Any]
    patch: Any
    over: Any
    bar: Any
    facts: Any
    sky: Any
    outline: Any
    spectrum: Any
    text: Any
    box: Any


def make_widgets(
    names: Sequence[str], view: View, layer: str, minus: str, go: Callable[[Callable[[View], View]], None]
) -> Widgets:
    """Controls set to a view, and empty pictures.

    Parameters
    ----------
    names : sequence of str
        Of the layers.
    view : View
    layer, minus : str
        Which are shown; the latter may be empty.
    go : function
        Called with what a button does to a view.
    """
    import ipywidgets as w

    controls = _controls(w, names, view, layer, minus or NOTHING)
    flat = w.Layout(margin="0", width=f"{WIDTH}px")
    small = w.Layout(margin="0", flex="0 0 auto")
    made = Widgets(
        controls=controls,
        patch=w.Image(format="png", width=WIDTH, height=WIDTH, layout=w.Layout(margin="0", flex="0 0 auto")),
        over=w.HTML(layout=_above(w, WIDTH, WIDTH)),
        bar=w.HTML(layout=flat),
        facts=w.HTML(layout=flat),
        sky=w.Image(format="png", width=WHOLE, height=WHOLE // 2, layout=small),
        outline=w.HTML(layout=_above(w, WHOLE, WHOLE // 2)),
        spectrum=w.HTML(layout=w.Layout(margin="0")),
        text=w.Text(layout=w.Layout(display="none")),
        box=w.VBox(),
    )
    for widget, name in (
        (made.patch, "lensrec-patch"),
        (made.sky, "lensrec-sky"),
        (made.over, "lensrec-over"),
        (made.outline, "lensrec-over"),
        (made.text, "lensrec-gesture"),
        (made.box, "lensrec-viewer"),
    ):
        widget.add_class(name)
    wrap = w.Layout(flex_flow="row wrap")
    top = w.HBox([controls[name] for name in ("layer", "minus", "colours", "low", "high")], layout=wrap)
    left = w.VBox([made.patch, made.over, made.bar, made.facts], layout=w.Layout(margin="0 12px 0 0"))
    sliders = w.VBox([controls[name] for name in STEPS])
    buttons = w.HBox([_button(w, *move, go) for move in (*_MOVES, ("⌂", "back to the beginning", lambda _: view))])
    right = w.VBox([made.spectrum, made.sky, made.outline, sliders, buttons])
    hint = w.HTML(f'<span style="opacity:0.7;font-size:12px">{HELP}</span>')
    style = w.HTML(_STYLE, layout=w.Layout(display="none"))
    made.box.children = [style, top, w.HBox([left, right], layout=wrap), hint, made.text]
    return made


def _controls(w: Any, names: Sequence[str], view: View, layer: str, minus: str) -> dict[str, Any]:
    short: Any = {"style": {"description_width": "initial"}}
    slim, line = w.Layout(width="auto"), w.Layout(width="330px")

    def slider(name: str, label: str, low: float, high: float, digits: str, kind: Any = w.FloatSlider) -> Any:
        value = getattr(view, name)
        return kind(
            value=value,
            min=low,
            max=high,
            step=STEPS[name],
            description=label,
            readout_format=digits,
            layout=line,
        )

    log = np.log10(SIZES)
    return {
        "layer": w.Dropdown(options=list(names), value=layer, description="layer", layout=slim, **short),
        "minus": w.Dropdown(options=[NOTHING, *names], value=minus, description="minus", layout=slim, **short),
        "colours": w.Dropdown(options=RANGES, description="colour range", layout=slim, **short),
        "low": w.FloatText(description="from", layout=w.Layout(width="130px"), disabled=True, **short),
        "high": w.FloatText(description="to", layout=w.Layout(width="120px"), disabled=True, **short),
        "lon": slider("lon", "longitude", 0, 360, ".1f"),
        "lat": slider("lat", "latitude", -90, 90, ".1f"),
        "size": slider("size", "field [deg]", log[0], log[1], ".2f", w.FloatLogSlider),
        "turn": slider("turn", "turn [deg]", -180, 180, ".0f"),
    }


def _button(
    w: Any, label: str, tip: str, act: Callable[[View], View], go: Callable[[Callable[[View], View]], None]
) -> Any:
    made = w.Button(description=label, tooltip=tip, layout=w.Layout(width="36px"))
    made.on_click(lambda _: go(act))
    return made


def _above(w: Any, width: int, height: int) -> Any:
    """The place of a picture that comes before it in a column."""
    return w.Layout(margin=f"-{height}px 0 0 0", width=f"{width}px", height=f"{height}px")

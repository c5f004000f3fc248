"""A viewer of maps for Jupyter: a patch that is dragged, turned and zoomed, its place on the sky, and its spectrum.

Layers are maps in any resolution; one is shown, or the difference of two. All that is drawn follows the view, and no
change of it looks at the whole sky. Needs ipywidgets (`pip install 'lensrec[notebook]'`).
"""

import asyncio
import json
from collections import deque
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from html import escape
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lensrec.view.patch_svg import number, outline_svg, overlay_svg, spectrum_svg
from lensrec.view.projection import mollweide_place
from lensrec.view.raster import colour_numbers, gradient, indexed_png, palette
from lensrec.view.sky_view import (
    FINE,
    QUICK,
    SIZES,
    WHOLE,
    WIDTH,
    Layers,
    View,
    colour_map,
    robust_limits,
    statistics,
)
from lensrec.view.viewer_widgets import NOTHING, STEPS, make_widgets

REST = 0.25
"""Seconds after the last change of view until the spectrum is taken with all its samples."""

SPECTRUM = (410, 290)

MEMORY = 200
"""Values of a slider that are remembered until it has answered."""


class Viewer:
    """What `viewer` makes; it shows itself at the end of a cell.

    Attributes
    ----------
    layers : Layers
    view : View
        Where it looks now.
    box : ipywidgets.VBox
        The whole of it, to be put among other widgets.
    controls : dict of str to widget
        "layer", "minus", "colours", "low", "high", "lon", "lat", "size", "turn".
    """

    def __init__(self, layers: Layers, view: View, *, layer: str = "", minus: str = "") -> None:
        self.layers, self.view = layers, view
        self._gesture: tuple[int, View] = (-1, view)
        self._later: asyncio.TimerHandle | None = None
        self._busy = False
        first = layer or layers.names[0]
        self._widgets = make_widgets(layers.names, view, first, minus, lambda act: self._look(act(self.view)))
        self.controls, self.box = self._widgets.controls, self._widgets.box
        self._told = {name: deque([self.controls[name].value], maxlen=MEMORY) for name in STEPS}
        self._listen()
        self._redraw()

    def look(
        self,
        *,
        lon: float | None = None,
        lat: float | None = None,
        size: float | None = None,
        turn: float | None = None,
        layer: str | None = None,
        minus: str | None = None,
    ) -> None:
        """Look elsewhere, or at another layer; degrees. What is not given stays, `minus=""` takes nothing off.

        Raises
        ------
        ValueError
            If there is no such layer, or the view is out of range.
        """
        changed = changed_view(self.view, lon, lat, size, turn)
        self._known(layer, minus)
        if layer is not None:
            self._set("layer", layer)
        if minus is not None:
            self._set("minus", minus or NOTHING)
        self._look(changed)

    def another(
        self,
        *,
        lon: float | None = None,
        lat: float | None = None,
        size: float | None = None,
        turn: float | None = None,
        layer: str | None = None,
        minus: str | None = None,
    ) -> "Viewer":
        """A second viewer of the same layers, which share their maps; as for `look`."""
        self._known(layer, minus)
        view = changed_view(self.view, lon, lat, size, turn)
        now = self._chosen
        return Viewer(
            self.layers, view, layer=now[0] if layer is None else layer, minus=now[1] if minus is None else minus
        )

    @property
    def shown(self) -> NDArray[np.float64]:
        """The patch as it is shown: array (512, 512), row 0 below, column 0 left; NaN where it is hidden."""
        return self.layers.image(self.view, *self._chosen)

    @property
    def spectrum(self) -> Any:
        """The spectrum of the patch; see `lensrec.view.patch.PatchSpectrum`."""
        return self.layers.spectrum(self.view, *self._chosen)

    def _ipython_display_(self) -> None:
        from IPython.display import Javascript, display

        display(self.box)
        display(Javascript(files("lensrec.view").joinpath("viewer.js").read_text(encoding="utf-8")))

    def _known(self, *names: str | None) -> None:
        for name in names:
            if name and name not in self.layers.names:
                raise ValueError(f"no layer {name!r}; there are {', '.join(self.layers.names)}")

    @property
    def _chosen(self) -> tuple[str, str]:
        minus = self.controls["minus"].value
        return self.controls["layer"].value, "" if minus == NOTHING else minus

    def _listen(self) -> None:
        for name in ("layer", "minus", "colours", "low", "high"):
            self.controls[name].observe(lambda _: self._changed(), "value")
        for name in STEPS:
            self.controls[name].observe(partial(self._slid, name), "value")
        self._widgets.text.observe(self._heard, "value")

    def _set(self, name: str, value: Any) -> None:
        """Set a control without being told of it."""
        self._busy, before = True, self._busy
        try:
            if name in STEPS and self.controls[name].value != value:
                self._told[name].append(value)
            self.controls[name].value = value
        finally:
            self._busy = before

    def _slid(self, name: str, change: Any) -> None:
        """A slider that was moved; or that was set, and answers with the nearest of its steps, perhaps much later.

        Answers come in the order of what was set: one to a value settles all that were set before it. Where the view
        has changed since, the slider is behind it, and is set again.
        """
        if self._busy:
            return
        value, told = float(change["new"]), self._told[name]
        answered = [k for k, one in enumerate(told) if _steps_apart(name, value, one) < 0.51]
        if answered:
            for _ in range(answered[-1] + 1):
                told.popleft()
            if _steps_apart(name, value, getattr(self.view, name)) > 0.51:
                self._set(name, getattr(self.view, name))
        elif _steps_apart(name, value, getattr(self.view, name)) > 0.51:
            told.clear()
            self._look(replace(self.view, **{name: value}))

    def _changed(self) -> None:
        if not self._busy:
            self._redraw()

    def _heard(self, change: Mapping[str, Any]) -> None:
        """A gesture of the mouse, counted from the view where it began; places from the upper left corner."""
        try:
            told = json.loads(change["new"])
            count, kind, by, (x, y) = int(told["number"]), told["kind"], told.get("by"), told["at"]
        except (ValueError, KeyError, TypeError):
            return
        if count != self._gesture[0]:
            self._gesture = (count, self.view)
        start = self._gesture[1]
        if kind == "move":
            self._look(start.moved(2 * by[0], 2 * by[1]))
        elif kind == "turn":
            self._look(start.turned(by))
        elif kind == "zoom":
            self._look(start.zoomed(by, 1 - 2 * x, 1 - 2 * y))
        elif kind == "go" and (place := mollweide_place(4 * x - 2, 1 - 2 * y)):
            self._look(replace(start, lon=place[0] % 360, lat=place[1]))

    def _look(self, view: View) -> None:
        self.view = view
        for name in STEPS:
            value = getattr(view, name)
            self._set(name, value % 360 if name == "lon" else value)
        self._redraw()

    def _redraw(self) -> None:
        layer, minus = self._chosen
        view, unit = self.view, self.layers.units.get(layer, "")
        image = self.layers.image(view, layer, minus)
        low, high = self._limits(image)
        colours = colour_map((low, high))
        self._widgets.patch.value = indexed_png(colour_numbers(image, low, high), palette(colours))
        self._widgets.over.value = overlay_svg(WIDTH, view.size, view.turn)
        name = f"{layer} − {minus}" if minus else layer
        self._widgets.bar.value = _bar_html(colours, low, high, f"{name} [{unit}]" if unit else name)
        found = statistics(image)
        facts = [
            f"centre {view.lon % 360:.2f}°, {number(view.lat) if view.lat else '0'}°",
            f"field {view.size:.3g}°",
            f"nside {self.layers.pyramids[layer].nside}",
            f"mean {number(found.mean)}",
            f"rms {number(found.rms)}",
            f"{number(found.low)} to {number(found.high)}{' ' + unit if unit else ''}",
            f"{100 * found.seen:.3g} % seen",
        ]
        self._widgets.facts.value = f'<div style="font-size:12px;line-height:1.5">{escape(" · ".join(facts))}</div>'
        whole = self.layers.whole_sky(layer, minus)
        if self._widgets.sky.value != whole:
            self._widgets.sky.value = whole
        self._widgets.outline.value = outline_svg(WHOLE, *view.outline())
        self._draw_spectrum(QUICK)
        self._finish_later()

    def _limits(self, image: NDArray) -> tuple[float, float]:
        kind = self.controls["colours"].value
        fixed = kind == "fixed"
        for name in ("low", "high"):
            self.controls[name].disabled = not fixed
        if fixed:
            low, high = float(self.controls["low"].value), float(self.controls["high"].value)
            return (low, high) if low < high else (low, low + 1.0)
        limits = robust_limits(image) if kind == "of the patch" else self.layers.limits(*self._chosen)
        for name, value in zip(("low", "high"), limits, strict=True):
            self._set(name, float(f"{value:.3g}"))
        return limits

    def _draw_spectrum(self, samples: int) -> None:
        layer, minus = self._chosen
        found = self.layers.spectrum(self.view, layer, minus, width=samples)
        theory = None if minus else self.layers.theory.get(layer)
        drawn = spectrum_svg(found, unit=self.layers.units.get(layer, ""), theory=theory, size=SPECTRUM)
        self._widgets.spectrum.value = drawn

    def _finish_later(self) -> None:
        """All samples of the spectrum once the view rests; at once where nothing runs that could wait."""
        if self._later is not None:
            self._later.cancel()
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self._draw_spectrum(FINE)
            return
        self._later = loop.call_later(REST, self._draw_spectrum, FINE)


def viewer(
    layers: Mapping[str, NDArray],
    *,
    units: Mapping[str, str] | None = None,
    mask: NDArray | None = None,
    theory: Mapping[str, NDArray] | None = None,
    centre: tuple[float, float] = (0.0, 0.0),
    size_deg: float = 10.0,
    turn_deg: float = 0.0,
    layer: str = "",
    minus: str = "",
) -> Viewer:
    """Look at maps: drag, turn and zoom a patch of them, and see its spectrum.

    Parameters
    ----------
    layers : mapping of name to array (npix,), HEALPix RING
        Of any nside each; NaN and UNSEEN pixels are grey.
    units : mapping of name to str, optional
        Of layers, e.g. {"T": "µK"}.
    mask : array (npix,), optional
        Hides pixels below one half in all layers of its nside, but in that named "mask".
    theory : mapping of name to array (lmax+1,), optional
        Raw C_ℓ from ℓ = 0 in the squared unit of a layer, drawn beside the spectrum of its patch.
    centre : (longitude, latitude), degrees
    size_deg : float
        Side of the patch, from 0.5 to 90 degrees.
    turn_deg : float
        Position angle of what is up, from north to east.
    layer, minus : str
        Which layer is shown first, and which is taken off it; the first, and none.

    Returns
    -------
    Viewer

    Raises
    ------
    ValueError
        If there is no layer, one is no HEALPix map, a name is none of the layers', or the view is out of range.
    ImportError
        If ipywidgets is not installed.
    """
    view = changed_view(View(), *centre, size_deg, turn_deg)
    try:
        import ipywidgets  # noqa: F401
    except ImportError:
        raise ImportError("the viewer needs ipywidgets: pip install 'lensrec[notebook]'") from None
    found = Layers(layers, units=units, mask=mask, theory=theory)
    for given in (layer, minus):
        if given and given not in found.names:
            raise ValueError(f"no layer {given!r}; there are {', '.join(found.names)}")
    return Viewer(found, view, layer=layer, minus=minus)


def changed_view(view: View, lon: float | None, lat: float | None, size: float | None, turn: float | None) -> View:
    """The same view but for what is given, degrees.

    Raises
    ------
    ValueError
        If latitude or size are out of range.
    """
    if lat is not None and not -90.0 <= lat <= 90.0:
        raise ValueError(f"the latitude of the middle must lie between -90 and 90 degrees, got {lat:g}")
    if size is not None and not SIZES[0] <= size <= SIZES[1]:
        raise ValueError(f"a patch has a side between {SIZES[0]:g} and {SIZES[1]:g} degrees, got {size:g}")
    given = {"lon": None if lon is None else lon % 360.0, "lat": lat, "size": size}
    given["turn"] = None if turn is None else (turn + 180.0) % 360.0 - 180.0
    return replace(view, **{name: float(value) for name, value in given.items() if value is not None})


def _bar_html(colours: str, low: float, high: float, label: str) -> str:
    ends = "".join(f"<span>{number(value)}</span>" for value in (low, (low + high) / 2, high))
    return (
        f'<div style="font-size:12px;line-height:1.4;margin-top:4px"><div style="height:10px;'
        f'background:linear-gradient(to right,{gradient(colours)})"></div>'
        f'<div style="display:flex;justify-content:space-between">{ends}</div>'
        f'<div style="text-align:center;font-size:13px"><b>{escape(label)}</b></div></div>'
    )


def _steps_apart(name: str, one: float, other: float) -> float:
    """Between two values of a slider."""
    away = np.log10(one / other) if name == "size" else one - other
    return float(abs(away) / STEPS[name])

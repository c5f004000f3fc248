"""Maps of the report: pictures in axes, so that a map can be moved and enlarged, with what a pointer reads of it."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lensrec.view.maps import robust_limit
from lensrec.view.projection import gnomonic_image, mollweide_image, mollweide_xy
from lensrec.view.report_chart import INK, Chart, Choice, axis, layout
from lensrec.view.report_html import plain

WIDEST, QUALITY = 1920, 78
"""Pixels across a whole sky, two or more a HEALPix pixel up to nside 256, and the quality of its compression."""

PATCH_PIXELS = 720

_MASKED = (214, 218, 222)
_WHITE = (255, 255, 255)


@dataclass(frozen=True)
class Sky:
    """A map to be shown.

    Attributes
    ----------
    value, label : str
        What it is called in the page's code, and by its button (markup).
    pixels : array (npix,), RING
    unit : str
        Quantity and unit, markup.
    limits : (low, high) or None
        Of the colours; symmetric about zero by the map itself if None.
    signed : bool
        Colours that are white at zero, or that rise from dark to light.
    """

    value: str
    label: str
    pixels: NDArray
    unit: str
    limits: tuple[float, float] | None = None
    signed: bool = True


@dataclass(frozen=True)
class Patch:
    """Part of the sky, in the tangent plane of its centre: longitude, latitude and side in degrees."""

    lon: float
    lat: float
    size: float


def sky_chart(
    name: str,
    title: str,
    skies: Sequence[Sky],
    *,
    caption: str,
    alt: str,
    mask: NDArray | None = None,
    patch: Patch | None = None,
    link: str = "",
    wide: bool = False,
) -> Chart:
    """One place for one or several maps of one sky, of which the first is shown, and buttons for the others.

    Parameters
    ----------
    skies : sequence of Sky
    mask : array (npix,), optional
        Grey where it is below one half.
    patch : Patch, optional
        Mollweide's projection of the whole sky if not given.
    link : str
        Maps of one link and projection are moved together.
    """
    pictures, statistics = [], []
    for sky in skies:
        seen = _seen(sky.pixels, mask)
        values, inside = _flat(sky.pixels, seen, patch)
        half = robust_limit([values])
        low, high = sky.limits or (-half, half)
        colours = _colours(sky.signed)
        pictures.append(
            {
                "source": _encoded(values, inside, (low, high), colours),
                "low": low,
                "high": high,
                "unit": sky.unit,
                "colours": [f"#{r:02x}{g:02x}{b:02x}" for r, g, b in colours.tolist()],
            }
        )
        statistics.append(_statistics(sky, seen))
    choices = (
        [Choice("Show", [(str(k), sky.label, k == 0) for k, sky in enumerate(skies)], "sky")] if len(skies) > 1 else []
    )
    rows: Mapping[str, Any] = {key: [row[key] for row in statistics] for key in statistics[0]}
    shown = _whole_sky() if patch is None else _tangent_plane(patch)
    return Chart(
        name,
        title,
        caption,
        alt,
        **shown,
        table=rows,
        wide=wide,
        choices=choices,
        skies=pictures,
        link=link,
    )


def _seen(sky: NDArray, mask: NDArray | None) -> NDArray[np.bool_]:
    # healpy's UNSEEN is -1.6375e30
    valid = np.isfinite(sky) & (sky > -1e30)
    return valid if mask is None else valid & (np.asarray(mask) >= 0.5)


def _flat(sky: NDArray, seen: NDArray[np.bool_], patch: Patch | None) -> tuple[NDArray, NDArray[np.bool_]]:
    """The map on a plane, row 0 in the north, and where there is sky at all."""
    if patch is not None:
        values = gnomonic_image(sky, (patch.lon, patch.lat), patch.size, PATCH_PIXELS, seen=seen)[::-1]
        return values, np.ones(values.shape, dtype=bool)
    nside = round(np.sqrt(len(sky) / 12))
    width = int(np.clip(8 * nside, 640, WIDEST))
    values = mollweide_image(sky, width, seen=seen)[::-1]
    rows, columns = values.shape
    x = (2 * np.arange(columns) + 1) / columns - 1
    y = (2 * np.arange(rows) + 1) / rows - 1
    return values, x[None, :] ** 2 + y[:, None] ** 2 <= 1.0


def _colours(signed: bool) -> NDArray[np.uint8]:
    import matplotlib

    scale = matplotlib.colormaps["RdBu_r" if signed else "cividis"](np.linspace(0.0, 1.0, 256))
    return np.asarray(np.round(255 * scale[:, :3]), dtype=np.uint8)


def _encoded(
    values: NDArray, inside: NDArray[np.bool_], limits: tuple[float, float], colours: NDArray[np.uint8]
) -> str:
    from PIL import Image

    low, high = limits
    known = np.isfinite(values)
    steps = (np.where(known, values, low) - low) / (high - low) * 255
    image = colours[np.clip(np.round(steps), 0, 255).astype(np.uint8)]
    image[~known] = _MASKED
    image[~inside] = _WHITE
    stream = BytesIO()
    Image.fromarray(image).save(stream, format="WEBP", quality=QUALITY, method=3)
    return "data:image/webp;base64," + base64.b64encode(stream.getvalue()).decode("ascii")


def _statistics(sky: Sky, seen: NDArray[np.bool_]) -> dict[str, Any]:
    values = np.asarray(sky.pixels)[seen]
    names = ("mean", "rms", "least", "largest")
    numbers = (values.mean(), values.std(), values.min(), values.max()) if values.size else (np.nan,) * 4
    share = {"share of the sky [%]": float(100 * values.size / len(sky.pixels))}
    found = dict(zip(names, map(float, numbers), strict=True))
    return {"map": plain(sky.label), "quantity": plain(sky.unit)} | found | share


def _whole_sky() -> dict[str, Any]:
    along, up = np.linspace(-179.999, 179.999, 91), np.linspace(-90.0, 90.0, 61)
    lines = [mollweide_xy(along, np.full_like(along, lat)) for lat in (-60, -30, 0, 30, 60)]
    lines += [mollweide_xy(np.full_like(up, lon), up) for lon in (-120, -60, 0, 60, 120)]
    angle = np.linspace(0, 2 * np.pi, 181)
    thin = {"type": "scatter", "mode": "lines", "hoverinfo": "skip", "showlegend": False}
    grid = {"x": _joined([x for x, _ in lines]), "y": _joined([y for _, y in lines])}
    frame = {"x": 2 * np.cos(angle), "y": np.sin(angle), "line": {"color": "#3a434c", "width": 1.2}}
    data = [thin | grid | {"line": {"color": "rgba(25,30,35,0.32)", "width": 0.7}}, thin | frame]
    bare = {"visible": False, "constrain": "domain"}
    notes = [_note(*mollweide_xy(np.array(float(lon)), np.array(0.0)), f"{lon}°") for lon in (120, 60, 0, 300, 240)]
    notes += [
        _note(*mollweide_xy(np.array(0.0), np.array(float(lat))), f"{lat:+d}°".replace("-", "\u2212"))
        for lat in (-60, -30, 30, 60)
    ]
    return {
        "shape": "sky",
        "projection": {"kind": "mollweide", "left": -2, "right": 2, "low": -1, "high": 1},
        "data": data,
        "layout": layout(
            xaxis={**bare, "range": [-2.01, 2.01]},
            yaxis={**bare, "range": [-1.005, 1.005], "scaleanchor": "x"},
            margin={"l": 0, "r": 0, "t": 0, "b": 0},
            dragmode="pan",
            annotations=notes,
        ),
    }


def _tangent_plane(patch: Patch) -> dict[str, Any]:
    edge = float(np.degrees(np.tan(np.radians(patch.size) / 2)))
    corners = np.array([-1.0, 1.0, 1.0, -1.0, -1.0]) * edge, np.array([-1.0, -1.0, 1.0, 1.0, -1.0]) * edge
    frame = {"x": corners[0], "y": corners[1], "line": {"color": "#3a434c", "width": 1.0}}
    thin = {"type": "scatter", "mode": "lines", "hoverinfo": "skip", "showlegend": False}
    ticks = {"showgrid": False, "constrain": "domain", "ticks": "outside", "mirror": False}
    return {
        "shape": "patch",
        "projection": {
            "kind": "gnomonic",
            "lon": patch.lon,
            "lat": patch.lat,
            "left": edge,
            "right": -edge,
            "low": -edge,
            "high": edge,
        },
        "data": [thin | frame],
        "layout": layout(
            xaxis=axis(title="offset to the east [deg]", range=[edge, -edge], **ticks),
            yaxis=axis(title="offset to the north [deg]", range=[-edge, edge], scaleanchor="x", **ticks),
            margin={"l": 54, "r": 8, "t": 6, "b": 46},
            dragmode="pan",
        ),
    }


def _note(x: NDArray, y: NDArray, words: str) -> dict[str, Any]:
    base = {"showarrow": False, "bgcolor": "rgba(255,255,255,0.6)", "borderpad": 1}
    return base | {"x": float(x), "y": float(y), "text": words, "font": {"size": 10.5, "color": INK}}


def _joined(lines: Sequence[NDArray]) -> list[float | None]:
    """Several lines as one that is broken between them."""
    return [value for line in lines for value in [*line.tolist(), None]]

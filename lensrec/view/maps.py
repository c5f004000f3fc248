"""Pictures of maps: the whole sky in Mollweide's projection, a patch of it in the gnomonic one."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from lensrec.view.figure import DPI, WIDTH, drawing, new_figure, tick_marks
from lensrec.view.projection import block_image, gnomonic_image, mollweide_image, mollweide_xy

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

Limits = tuple[float, float] | Literal["shared"] | None

PERCENTILE = 99.5
"""The colour scale ends where this share of the pixels shown is inside, so that a few bright ones do not rule it."""

_MASKED = "0.72"


def mollweide_figure(
    maps: Sequence[NDArray],
    titles: Sequence[str],
    *,
    unit: str | Sequence[str],
    limits: Limits = None,
    mask: NDArray | None = None,
    cmap: str = "RdBu_r",
    columns: int = 2,
    title: str = "",
) -> "Figure":
    """Whole-sky maps side by side, longitude 0 in the middle and growing to the left.

    Parameters
    ----------
    maps : sequence of array (npix,), RING
        NaN and UNSEEN pixels are grey.
    titles : sequence of str
        One for each map.
    unit : str, or one for each map
        What the colours mean, with its unit, e.g. "T [µK]"; powers of ten are put in as needed.
    limits : (low, high), "shared" or None
        The colour scale of all maps with one colour bar; "shared" finds one, symmetric about zero, for all;
        None finds one for each, with a colour bar each.
    mask : array (npix,), optional
        Grey where it is below one half.
    cmap : str
        A matplotlib colour map.
    columns : int
    title : str
        Above all panels.

    Raises
    ------
    ValueError
        If there is no map, titles or units do not match, or a map is no HEALPix map.
    """
    maps, columns = _checked(maps, titles, columns)
    width = int(WIDTH / columns * DPI)
    images = [mollweide_image(sky, width - width % 2, seen=_seen(sky, mask)) for sky in maps]
    with drawing():
        figure, panels = _panels(len(maps), columns, 0.5, shared=limits is not None, titled=bool(title))
        shown = []
        for axes, image, name in zip(panels, images, titles, strict=True):
            shown.append(axes.imshow(image, origin="lower", extent=(-2, 2, -1, 1), cmap=cmap, zorder=1))
            _whole_sky_frame(axes, shown[-1], labels=columns < 3)
            axes.set_title(name, y=1.0)
        _colour(figure, panels, shown, unit, limits, columns)
        _heading(panels[0], title)
    return figure


def gnomonic_figure(
    maps: Sequence[NDArray],
    titles: Sequence[str],
    *,
    unit: str | Sequence[str],
    centre: tuple[float, float] = (0.0, 0.0),
    size_deg: float = 10.0,
    limits: Limits = None,
    mask: NDArray | None = None,
    cmap: str = "RdBu_r",
    columns: int = 2,
    title: str = "",
) -> "Figure":
    """A square patch of maps side by side, in the tangent plane of its centre; north is up, east to the left.

    Parameters
    ----------
    maps, titles, unit, limits, mask, cmap, columns, title
        As for `mollweide_figure`.
    centre : (longitude, latitude), degrees
    size_deg : float
        Side of the patch, degrees.

    Raises
    ------
    ValueError
        As `mollweide_figure`, or if the patch is out of range.
    """
    maps, columns = _checked(maps, titles, columns)
    width = int(0.85 * WIDTH / columns * DPI)
    images = [gnomonic_image(sky, centre, size_deg, width, seen=_seen(sky, mask)) for sky in maps]
    edge = np.degrees(np.tan(np.radians(size_deg) / 2.0))
    with drawing():
        figure, panels = _panels(len(maps), columns, 1.05, shared=limits is not None, titled=True)
        shown = []
        for number, (axes, image, name) in enumerate(zip(panels, images, titles, strict=True)):
            shown.append(axes.imshow(image, origin="lower", extent=(edge, -edge, -edge, edge), cmap=cmap))
            axes.set_facecolor(_MASKED)
            axes.set_title(name, y=1.0)
            _degrees(axes, left=number % columns == 0, bottom=number + columns >= len(maps))
        _colour(figure, panels, shown, unit, limits, columns)
        where = f"centre at longitude {centre[0]:g}°, latitude {centre[1]:g}°"
        _heading(panels[0], f"{title} ({where})" if title else f"{size_deg:g}° patch, {where}")
    return figure


def plate_figure(
    images: Sequence[NDArray],
    titles: Sequence[str],
    *,
    unit: str | Sequence[str],
    extent: tuple[float, float, float, float],
    limits: Limits = None,
    cmap: str = "RdBu_r",
    title: str = "",
) -> "Figure":
    """Plate carrée images below each other, longitude growing to the left.

    Parameters
    ----------
    images : sequence of array (ny, nx)
        Row 0 in the south, column 0 in the east; NaN pixels are grey.
    titles, unit, limits, cmap, title
        As for `mollweide_figure`.
    extent : (east, west, south, north), degrees
        Edges of the images.

    Raises
    ------
    ValueError
        If there is no image, or titles or units do not match.
    """
    images, _ = _checked(images, titles, 1)
    aspect = abs((extent[3] - extent[2]) / (extent[1] - extent[0]))
    # no more pixels than the page has: a survey's map has half a milliard
    coarse = [block_image(image, int(WIDTH * DPI), seen=np.isfinite(image)) for image in images]
    with drawing():
        columns = 1 if aspect < 0.5 else min(3, len(images))
        figure, panels = _panels(
            len(images), columns, max(0.2, min(aspect, 1.2)), shared=limits is not None, titled=True
        )
        shown = []
        for number, (axes, image, name) in enumerate(zip(panels, coarse, titles, strict=True)):
            shown.append(axes.imshow(image, origin="lower", extent=extent, cmap=cmap))
            axes.set_facecolor(_MASKED)
            axes.set_title(name, y=1.0)
            _degrees(axes, left=number % columns == 0, bottom=number + columns >= len(images))
            if number + columns >= len(images):
                axes.set_xlabel("longitude [deg]")
            if number % columns == 0:
                axes.set_ylabel("latitude [deg]")
        _colour(figure, panels, shown, unit, limits, columns)
        _heading(panels[0], title)
    return figure


def robust_limit(images: Sequence[NDArray]) -> float:
    """The half-width of a colour scale about zero: a high percentile of |values| over what is finite."""
    parts = [np.abs(image[np.isfinite(image)]) for image in images]
    values = np.concatenate(parts) if parts else np.zeros(0)
    limit = float(np.percentile(values, PERCENTILE)) if values.size else 0.0
    return limit if limit > 0 else 1.0


def _checked(maps: Sequence[NDArray], titles: Sequence[str], columns: int) -> tuple[list[NDArray], int]:
    if len(maps) == 0 or len(titles) != len(maps):
        raise ValueError(f"a picture needs maps and a title for each, got {len(maps)} maps and {len(titles)} titles")
    if columns < 1:
        raise ValueError(f"a picture has at least one column, got {columns}")
    return [np.asarray(sky) for sky in maps], min(columns, len(maps))


def _seen(sky: NDArray, mask: NDArray | None) -> NDArray[np.bool_]:
    # healpy's UNSEEN is -1.6375e30
    valid = np.isfinite(sky) & (sky > -1e30)
    if mask is None:
        return valid
    if np.shape(mask) != sky.shape:
        raise ValueError(f"the mask has shape {np.shape(mask)}, the map {sky.shape}")
    return valid & (np.asarray(mask) >= 0.5)


def _panels(count: int, columns: int, aspect: float, *, shared: bool, titled: bool) -> tuple["Figure", list["Axes"]]:
    # inches for letters and colour bars: generous, since what stays empty is cut off on saving
    rows = -(-count // columns)
    letters = 0.5 if shared else 1.0
    figure = new_figure(rows * (WIDTH / columns * aspect + letters) + (1.0 if shared else 0.2) + (0.4 if titled else 0))
    grid = figure.subplots(rows, columns, squeeze=False)
    panels = list(grid.flat)
    for axes in panels[count:]:
        axes.set_axis_off()
    return figure, panels[:count]


def _whole_sky_frame(axes: "Axes", image: "AxesImage", *, labels: bool) -> None:
    from matplotlib.patches import Ellipse
    from matplotlib.patheffects import withStroke

    rim = Ellipse((0, 0), 4, 2, facecolor=_MASKED, edgecolor="none", zorder=0.5)
    frame = Ellipse((0, 0), 4, 2, facecolor="none", edgecolor="0.2", linewidth=0.8, zorder=3)
    axes.add_patch(rim)
    axes.add_patch(frame)
    image.set_clip_path(frame)
    along = np.linspace(-179.999, 179.999, 181)
    up = np.linspace(-90.0, 90.0, 91)
    line: Any = {"color": "0.15", "linewidth": 0.45, "alpha": 0.45, "zorder": 2}
    for lat in (-60, -30, 0, 30, 60):
        axes.plot(*mollweide_xy(along, np.full_like(along, lat)), **line)
    for lon in (-120, -60, 0, 60, 120):
        axes.plot(*mollweide_xy(np.full_like(up, lon), up), **line)
    axes.set(xlim=(-2.02, 2.02), ylim=(-1.02, 1.02), aspect="equal")
    axes.set_axis_off()
    if not labels:
        return
    halo = [withStroke(linewidth=2.0, foreground="white", alpha=0.8)]
    for lat in (-60, -30, 30, 60):
        x, y = mollweide_xy(np.array(179.999), np.array(float(lat)))
        axes.annotate(
            f"{lat:+d}°".replace("-", "\u2212"),
            (float(x), float(y)),
            (-3, 0),
            textcoords="offset points",
            ha="right",
            va="bottom" if lat > 0 else "top",
            fontsize=8,
        )
    for lon in (120, 60, 0, 300, 240):
        x, y = mollweide_xy(np.array(float(lon)), np.array(0.0))
        axes.annotate(
            f"{lon}°",
            (float(x), float(y)),
            (2, 2),
            textcoords="offset points",
            fontsize=8,
            color="0.1",
            path_effects=halo,
        )


def _heading(first: "Axes", text: str) -> None:
    # a second title of the first panel, one line above the others: a suptitle would stay at the top of the page
    if text:
        first.set_title(f"{text}\n", loc="left", y=1.0, fontsize=12, linespacing=1.8)


def _degrees(axes: "Axes", *, left: bool, bottom: bool) -> None:
    from matplotlib.ticker import MaxNLocator

    tick_marks(axes)
    axes.grid(False)
    axes.tick_params(labelleft=left, labelbottom=bottom)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
        axis.set_major_formatter(_number)
    if left:
        axes.set_ylabel("offset to the north [deg]")
    if bottom:
        axes.set_xlabel("offset to the east [deg]")


def _number(value: float, _position: object = None) -> str:
    return f"{value:.4g}".replace("-", "\u2212")


def _colour(
    figure: "Figure",
    panels: list["Axes"],
    shown: list["AxesImage"],
    unit: str | Sequence[str],
    limits: Limits,
    columns: int,
) -> None:
    units = [unit] * len(shown) if isinstance(unit, str) else list(unit)
    if len(units) != len(shown):
        raise ValueError(f"one unit for all maps or one for each is expected, got {len(units)} for {len(shown)} maps")
    if limits is None:
        for axes, image, label in zip(panels, shown, units, strict=True):
            half = robust_limit([np.asarray(image.get_array())])
            _colour_bar(figure, [axes], image, label, (-half, half), shrink=0.8, bins=6 if columns < 3 else 4)
        return
    if limits == "shared":
        half = robust_limit([np.asarray(image.get_array()) for image in shown])
        limits = (-half, half)
    if not limits[0] < limits[1]:
        raise ValueError(f"the limits of a colour scale must rise, got {limits[0]:g} and {limits[1]:g}")
    for image in shown:
        image.set_clim(*limits)
    _colour_bar(figure, panels, shown[0], units[0], limits, shrink=0.6, bins=6)


def _colour_bar(
    figure: "Figure",
    panels: list["Axes"],
    image: "AxesImage",
    label: str,
    limits: tuple[float, float],
    *,
    shrink: float,
    bins: int,
) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    image.set_clim(*limits)
    power = _power_of_ten(max(abs(limits[0]), abs(limits[1])))
    bar = figure.colorbar(
        image, ax=panels, orientation="horizontal", shrink=shrink, aspect=30, pad=0.04, extend="both", extendfrac=0.03
    )
    bar.locator = MaxNLocator(bins, steps=[1, 2, 5, 10], symmetric=limits[0] == -limits[1])
    bar.formatter = FuncFormatter(lambda value, _: _number(value / 10.0**power))
    bar.update_ticks()
    bar.set_label(_with_power(label, power))


def _power_of_ten(largest: float) -> int:
    """A power of a thousand that brings numbers of this size to between 0.1 and 1000; 0 where they are there."""
    if largest == 0 or 0.1 <= largest < 1e4:
        return 0
    return int(3 * np.floor((np.log10(largest) + 1.0) / 3.0))


def _with_power(label: str, power: int) -> str:
    """ "T [µK]" and −3 make "T [10⁻³ µK]"; without brackets the power gets its own."""
    if power == 0:
        return label
    factor = f"$10^{{{power}}}$"
    return label.replace("[", f"[{factor} ", 1) if "[" in label else f"{label} [{factor}]"

"""What is drawn with the patch that a viewer shows: its scale, where north is, its outline on the sky, its spectrum.

As SVG by hand, which takes a hundredth of the time of a figure.
"""

from collections.abc import Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

from lensrec.view.patch import PatchSpectrum
from lensrec.view.projection import mollweide_xy

_BLUE, _ORANGE, _GREY = "#0072B2", "#D55E00", "#444"
_FONT = 'font-family="DejaVu Sans, Helvetica, Arial, sans-serif"'
_MINUS = "\u2212"


def overlay_svg(width: int, size_deg: float, turn_deg: float) -> str:
    """A scale bar and arrows to north and east for a square picture `width` pixels wide.

    The bar is right at the middle of the tangent plane.
    """
    pixel = 2.0 * np.degrees(np.tan(np.radians(size_deg) / 2.0)) / width
    length, label = _scale(0.28 * width * pixel)
    bar = length / pixel
    x, y = 16.0, width - 18.0
    halo = f'<path d="M{x:.1f} {y:.1f}h{bar:.1f}" stroke="white" stroke-width="7" opacity="0.75"/>'
    line = f'<path d="M{x:.1f} {y - 5:.1f}v5h{bar:.1f}v-5" stroke="black" stroke-width="1.8" fill="none"/>'
    text = _haloed(x + bar / 2, y - 9, label)
    turn = np.radians(turn_deg)
    arrows = []
    mx, my, reach = width - 46.0, width - 46.0, 26.0
    # what is up has position angle `turn`: north lies that much clockwise from it, and east a right angle back
    for name, angle in (("N", turn), ("E", turn - np.pi / 2)):
        dx, dy = np.sin(angle), -np.cos(angle)
        tip = f"M{mx:.1f} {my:.1f}L{mx + reach * dx:.1f} {my + reach * dy:.1f}"
        arrows.append(f'<path d="{tip}" stroke="white" stroke-width="5" opacity="0.75"/>')
        arrows.append(f'<path d="{tip}" stroke="black" stroke-width="1.8"/>')
        arrows.append(_haloed(mx + (reach + 10) * dx, my + (reach + 10) * dy + 4.5, name))
    return _svg(width, width, halo + line + text + "".join(arrows))


def outline_svg(width: int, lon_deg: NDArray, lat_deg: NDArray) -> str:
    """The outline of a patch on a picture of the whole sky in Mollweide's projection, `width` pixels wide."""
    x, y = mollweide_xy(lon_deg, lat_deg)
    px, py = (x + 2.0) * width / 4.0, (1.0 - y) * width / 4.0
    jump = np.hypot(np.diff(px, prepend=px[0]), np.diff(py, prepend=py[0])) > width / 4.0
    path = "".join(f"{'M' if k == 0 or jump[k] else 'L'}{px[k]:.1f} {py[k]:.1f}" for k in range(len(px)))
    rim = f'<ellipse cx="{width / 2}" cy="{width / 4}" rx="{width / 2 - 0.7}" ry="{width / 4 - 0.7}" fill="none" \
stroke="{_GREY}"/>'
    lines = f'<path d="{path}" fill="none" stroke="white" stroke-width="4" opacity="0.8"/>'
    return _svg(width, width // 2, rim + lines + f'<path d="{path}" fill="none" stroke="black" stroke-width="1.8"/>')


def spectrum_svg(
    found: PatchSpectrum, *, unit: str = "", theory: NDArray | None = None, size: tuple[int, int] = (420, 300)
) -> str:
    """D_ℓ of a patch with its errors, and a curve beside it, on logarithmic axes.

    Parameters
    ----------
    found : PatchSpectrum
        Points whose power is not positive are left out, as are all that a hidden patch does not have.
    unit : str
        Of the patch; the axis has its square.
    theory : array (lmax+1,), optional
        Raw C_ℓ from ℓ = 0.
    size : (width, height)
    """
    width, height = size
    left, right, top, bottom = 66.0, width - 10.0, 14.0, height - 42.0
    good = found.power > 0
    if not good.any():
        return _svg(width, height, _text(width / 2, height / 2, "too little of the patch is seen for a spectrum"))
    power, sigma, ell = found.power[good], found.sigma[good], found.ell[good]
    x_range = (np.log10(found.low[good][0]), np.log10(found.high[good][-1]))
    curve_ell = np.zeros(0)
    if theory is not None:
        curve_ell = np.unique(np.geomspace(max(2.0, 10 ** x_range[0]), 10 ** x_range[1], 200).astype(int))
        curve_ell = curve_ell[curve_ell < len(theory)]
        curve = np.asarray(theory)[curve_ell] * curve_ell * (curve_ell + 1.0) / (2.0 * np.pi)
        curve_ell, curve = curve_ell[curve > 0], curve[curve > 0]
    y_range = _y_range(power, sigma, curve if len(curve_ell) else power)

    def at(values: NDArray, powers: NDArray) -> tuple[NDArray, NDArray]:
        u = (np.log10(values) - x_range[0]) / (x_range[1] - x_range[0])
        v = (np.log10(np.maximum(powers, 1e-300)) - y_range[0]) / (y_range[1] - y_range[0])
        return left + u * (right - left), np.clip(bottom - v * (bottom - top), top, bottom)

    parts = [
        f'<rect width="{width}" height="{height}" fill="white"/>',
        _frame(x_range, y_range, (left, right, top, bottom)),
    ]
    if len(curve_ell):
        cx, cy = at(curve_ell.astype(float), curve)
        parts.append(f'<path d="{_polyline(cx, cy)}" fill="none" stroke="{_ORANGE}" stroke-width="1.8"/>')
        parts.append(_text(right - 8, top + 16, "theory", anchor="end", colour=_ORANGE))
    inside = np.log10(power) >= y_range[0]
    ell, power, sigma = ell[inside], power[inside], sigma[inside]
    px, py = at(ell, power)
    _, low = at(ell, power - sigma)
    _, high = at(ell, power + sigma)
    bars = "".join(f"M{x:.1f} {a:.1f}V{b:.1f}" for x, a, b in zip(px, low, high, strict=True))
    parts.append(f'<path d="{bars}" stroke="{_BLUE}" stroke-width="1.2"/>')
    parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.6" fill="{_BLUE}"/>' for x, y in zip(px, py, strict=True)]
    parts.append(_text((left + right) / 2, height - 8, "multipole ℓ", points=13))
    label = f"ℓ(ℓ+1)C_ℓ/2π [{squared(unit)}]" if unit else "ℓ(ℓ+1)C_ℓ/2π"
    label = escape(label).replace("C_ℓ", 'C<tspan baseline-shift="sub" font-size="10">ℓ</tspan>')
    middle = (top + bottom) / 2
    parts.append(
        f'<text x="14" y="{middle:.1f}" {_FONT} font-size="13" text-anchor="middle" '
        f'transform="rotate(-90 14 {middle:.1f})">{label}</text>'
    )
    return _svg(width, height, "".join(parts))


def squared(unit: str) -> str:
    """ "µK²" of "µK", and of what is more than one word "(…)²"."""
    return f"{unit}²" if unit.isalpha() else f"({unit})²"


def number(value: float) -> str:
    """Three digits, with a minus sign."""
    return f"{value:.3g}".replace("-", _MINUS)


def _frame(x: tuple[float, float], y: tuple[float, float], box: tuple[float, float, float, float]) -> str:
    left, right, top, bottom = box
    parts = [
        f'<rect x="{left}" y="{top}" width="{right - left:.1f}" height="{bottom - top:.1f}" fill="white" '
        f'stroke="{_GREY}"/>'
    ]
    for value in _ticks(x):
        at = left + (np.log10(value) - x[0]) / (x[1] - x[0]) * (right - left)
        parts.append(f'<path d="M{at:.1f} {top}V{bottom}" stroke="#e5e5e5"/>')
        parts.append(_text(at, bottom + 16, f"{value:g}"))
    for value in _ticks(y):
        at = bottom - (np.log10(value) - y[0]) / (y[1] - y[0]) * (bottom - top)
        parts.append(f'<path d="M{left} {at:.1f}H{right}" stroke="#e5e5e5"/>')
        parts.append(_text(left - 5, at + 4, _plain_or_power(value), anchor="end"))
    return "".join(parts)


def _ticks(span: tuple[float, float]) -> list[float]:
    """Round numbers between two powers of ten, some four to eight of them."""
    inside: list[float] = []
    for steps in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 5, 7)):
        decades = range(int(np.floor(span[0])), int(np.ceil(span[1])) + 1)
        inside = [s * 10.0**d for d in decades for s in steps if span[0] <= np.log10(s * 10.0**d) <= span[1]]
        if len(inside) >= 4:
            break
    return inside[:: -(-len(inside) // 8)]


def _y_range(power: NDArray, sigma: NDArray, curve: NDArray) -> tuple[float, float]:
    """Powers of ten between which points and curve lie, of which no more than four are shown."""
    high = np.log10(1.3 * max(float(np.max(power + sigma)), float(np.max(curve))))
    low = np.log10(0.7 * min(float(np.min(np.maximum(power - sigma, 0.3 * power))), float(np.min(curve))))
    return float(max(low, high - 4.0)), float(high)


def _plain_or_power(value: float) -> str:
    if 1e-3 <= value < 1e5:
        return f"{value:g}"
    power = int(np.floor(np.log10(value) + 1e-9))
    digits = value / 10.0**power
    lead = "" if abs(digits - 1.0) < 1e-6 else f"{digits:g}·"
    raised = f"{power}".replace("-", _MINUS)
    return f'{lead}10<tspan baseline-shift="super" font-size="8">{raised}</tspan>'


def _scale(wanted_deg: float) -> tuple[float, str]:
    """A round length at most as long as wanted, degrees, and how it is called."""
    lengths: Sequence[tuple[float, str]] = [
        *((minutes / 60.0, f"{minutes:g}′") for minutes in (1, 2, 5, 10, 20, 30)),
        *((float(degrees), f"{degrees}°") for degrees in (1, 2, 5, 10, 20, 30)),
    ]
    fitting = [entry for entry in lengths if entry[0] <= wanted_deg]
    return fitting[-1] if fitting else lengths[0]


def _polyline(x: NDArray, y: NDArray) -> str:
    return "M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in zip(x, y, strict=True))


def _text(x: float, y: float, text: str, *, anchor: str = "middle", colour: str = "#222", points: int = 11) -> str:
    """`text` may hold tspans."""
    style = f'{_FONT} font-size="{points}" text-anchor="{anchor}" fill="{colour}"'
    return f'<text x="{x:.1f}" y="{y:.1f}" {style}>{text}</text>'


def _haloed(x: float, y: float, text: str) -> str:
    style = 'font-size="13" text-anchor="middle" paint-order="stroke" stroke="white" stroke-width="3.5"'
    return f'<text x="{x:.1f}" y="{y:.1f}" {_FONT} {style} stroke-opacity="0.8" fill="black">{text}</text>'


def _svg(width: float, height: float, content: str) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" style="display:block">{content}</svg>'
    )

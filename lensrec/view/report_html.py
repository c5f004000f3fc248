"""Pieces of the report's HTML: text made safe, numbers as people write them, tables, data for scripts.

Whatever a user may have written, names, descriptions, paths, passes `text` on its way in. What is called markup here is
lensrec's own.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

MINUS = "\u2212"

LABELS: Mapping[str, str] = {
    "A_L_TTTEEE": "<i>A</i><sub>L</sub><sup>TTTEEE</sup>",
    "A_L_phiphi": "<i>A</i><sub>L</sub><sup>φφ</sup>",
    "H0": "<i>H</i><sub>0</sub>",
    "ombh2": "ω<sub>b</sub>",
    "omch2": "ω<sub>c</sub>",
    "thetastar": "θ<sub>*</sub>",
    "theta_star": "θ<sub>*</sub>",
    "ns": "<i>n</i><sub>s</sub>",
    "logA": "ln(10<sup>10</sup><i>A</i><sub>s</sub>)",
    "tau": "τ",
    "mnu": "Σ<i>m</i><sub>ν</sub>",
    "w": "<i>w</i><sub>0</sub>",
    "wa": "<i>w</i><sub>a</sub>",
    "z_dagger": "<i>z</i><sub>†</sub>",
    "omega_m": "Ω<sub>m</sub>",
    "omegam": "Ω<sub>m</sub>",
    "sigma8": "σ<sub>8</sub>",
    "calibration": "calibration",
    "polarisation_efficiency": "polarisation efficiency",
}
"""Markup of parameters, by the names that products give them."""

UNITS: Mapping[str, str] = {"mnu": "eV", "H0": "km/s/Mpc"}


def text(value: object) -> str:
    """Anything as text that HTML takes for nothing else."""
    return escape(str(value), quote=True)


def label(name: str) -> str:
    """Markup of a parameter; of an unknown one its own name."""
    return LABELS.get(name, text(name))


def with_unit(name: str) -> str:
    """The same with its unit, if it has one."""
    return f"{label(name)} [{UNITS[name]}]" if name in UNITS else label(name)


def plain(markup: str) -> str:
    """Markup of lensrec's own without its tags, for places that take none."""
    for tag in ("i", "sub", "sup", "b"):
        markup = markup.replace(f"<{tag}>", "").replace(f"</{tag}>", "")
    return markup


def number(value: object, digits: int = 4) -> str:
    """A number to so many significant digits, with a true minus sign and 10ⁿ as an exponent; other things as text."""
    if value is None or isinstance(value, str):
        return "–" if value is None else text(value)
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, int | np.integer):
        return str(value).replace("-", MINUS)
    if not isinstance(value, float | np.floating):
        return text(value)
    value = float(value)
    if not math.isfinite(value):
        return "–" if math.isnan(value) else ("∞" if value > 0 else f"{MINUS}∞")
    if value == 0 or 1e-3 <= abs(value) < 1e5:
        shown = f"{value:.{digits}g}"
        if "e" in shown:
            shown = f"{value:.0f}"
        return shown.replace("-", MINUS)
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    return f"{mantissa}×10<sup>{int(exponent)}</sup>".replace("-", MINUS)


def measured(mean: float, sigma: float) -> str:
    """Mean ± error, both to the second digit of the error."""
    if not (math.isfinite(mean) and math.isfinite(sigma) and sigma > 0):
        return f"{number(mean)} ± {number(sigma)}"
    power = math.floor(math.log10(sigma))
    if -4 <= power <= 3:
        places = max(1 - power, 0)
        return f"{mean:.{places}f} ± {sigma:.{places}f}".replace("-", MINUS)
    digits = max(2, math.floor(math.log10(abs(mean))) - power + 2) if mean else 2
    return f"{number(mean, digits)} ± {number(sigma, 2)}"


def table(columns: Mapping[str, Iterable[Any]], *, digits: int = 4, kind: str = "") -> str:
    """A table of columns, whose headings are markup; its numbers are right-aligned by style.

    Parameters
    ----------
    columns : mapping of markup to values
        Text among the values is made safe; `Markup` is taken as it is.
    digits : int
    kind : str
        A class of the style sheet.
    """
    lists = {name: list(values) for name, values in columns.items()}
    heads = "".join(f'<th scope="col">{name}</th>' for name in lists)
    rows = "".join(
        "<tr>" + "".join(_cell(value, digits) for value in row) + "</tr>" for row in zip(*lists.values(), strict=True)
    )
    return (
        f'<div class="scroll"><table class="{kind}"><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>'
    )


class Markup(str):
    """Text that is HTML already."""


def pairs(rows: Iterable[tuple[str, Any]], kind: str = "") -> str:
    """A list of names (markup) and values."""
    body = "".join(f"<dt>{name}</dt><dd>{_shown(value)}</dd>" for name, value in rows)
    return f'<dl class="pairs {kind}">{body}</dl>'


def details(summary: str, body: str, kind: str = "") -> str:
    """What is read by those who open it."""
    return f'<details class="{kind}"><summary>{summary}</summary>{body}</details>'


def listed(lines: Sequence[str], kind: str = "") -> str:
    """A list of markup; empty where there is nothing."""
    return f'<ul class="{kind}">' + "".join(f"<li>{line}</li>" for line in lines) + "</ul>" if lines else ""


def script_data(data: Any) -> str:
    """JSON that no text in it can break out of a script element, with numbers to seven digits and NaN as null."""
    raw = json.dumps(_rounded(data), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for character in "<>&\u2028\u2029":
        raw = raw.replace(character, f"\\u{ord(character):04x}")
    return raw


def _cell(value: Any, digits: int) -> str:
    is_number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    return f"<td{' class=n' if is_number else ''}>{_shown(value, digits)}</td>"


def _shown(value: Any, digits: int = 4) -> str:
    if isinstance(value, Markup):
        return str(value)
    if isinstance(value, list | tuple):
        return ", ".join(_shown(one, digits) for one in value) or "none"
    return number(value, digits)


def _rounded(data: Any) -> Any:
    if isinstance(data, Mapping):
        return {str(key): _rounded(value) for key, value in data.items()}
    if isinstance(data, np.ndarray):
        return _rounded(data.tolist())
    if isinstance(data, list | tuple):
        return [_rounded(value) for value in data]
    if isinstance(data, np.generic):
        return _rounded(data.item())
    if isinstance(data, float):
        return float(f"{data:.7g}") if math.isfinite(data) else None
    return data

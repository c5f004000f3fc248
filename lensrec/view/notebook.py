"""How results show themselves in Jupyter: pictures inside the page, a caption, a few facts, tables."""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING

from lensrec.view.figure import png_bytes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Columns = Mapping[str, Sequence[object]]
"""A table, by the names of its columns, all of one length."""

_CELL = "text-align:left;padding:2px 14px 2px 0;border:none;background:none"
_FAINT = "font-weight:normal;opacity:0.7"


def html_of(
    figure: "Figure | Sequence[Figure] | None",
    caption: str,
    facts: Mapping[str, object],
    *,
    tables: Sequence[Columns] = (),
    dpi: int = 100,
) -> str:
    """HTML for a `_repr_html_`: caption, table of facts, further tables, and pictures as PNG in the page itself.

    Parameters
    ----------
    figure : Figure, several, or None
        None leaves the picture out.
    caption : str
        Plain text; also the picture's description for those who cannot see it.
    facts : mapping of str to anything
        Names and values, shown with `str`; floats with four digits.
    tables : sequence of mapping of column to sequence
        Likewise, with the names of columns above.
    dpi : int
        Dots per inch of the pictures.

    Returns
    -------
    str

    Raises
    ------
    ValueError
        If the columns of a table differ in length.
    """
    rows = "".join(_row([_head(name), _cell(value)]) for name, value in facts.items())
    parts = [f"<p><strong>{escape(caption)}</strong></p>"]
    if rows:
        parts.append(_table(rows))
    for columns in tables:
        lines = [_row([_cell(value) for value in line]) for line in zip(*columns.values(), strict=True)]
        parts.append(_table(_row([_head(name) for name in columns]) + "".join(lines)))
    figures = [] if figure is None else list(figure) if isinstance(figure, Sequence) else [figure]
    for drawn in figures:
        data = b64encode(png_bytes(drawn, dpi=dpi)).decode("ascii")
        parts.append(
            f'<img alt="{escape(caption, quote=True)}" style="max-width:100%" src="data:image/png;base64,{data}"/>'
        )
    return "<div>" + "".join(parts) + "</div>"


def text_of(caption: str, facts: Mapping[str, object], tables: Sequence[Columns] = ()) -> str:
    """The same without pictures, as lines for a terminal."""
    width = max((len(name) for name in facts), default=0)
    lines = [caption, *(f"  {name:<{width}}  {_plain(value)}" for name, value in facts.items())]
    for columns in tables:
        grid = [list(columns), *([_plain(value) for value in line] for line in zip(*columns.values(), strict=True))]
        widths = [max(len(row[k]) for row in grid) for k in range(len(columns))]
        lines += [
            "  " + "  ".join(f"{cell:<{w}}" for cell, w in zip(row, widths, strict=True)).rstrip() for row in grid
        ]
    return "\n".join(lines)


def _table(rows: str) -> str:
    return f'<table style="border:none;margin:0 0 8px 0">{rows}</table>'


def _row(cells: Sequence[str]) -> str:
    return f'<tr style="background:none">{"".join(cells)}</tr>'


def _head(name: str) -> str:
    return f'<th style="{_CELL};{_FAINT}">{escape(name)}</th>'


def _cell(value: object) -> str:
    return f'<td style="{_CELL}">{escape(_plain(value))}</td>'


def _plain(value: object) -> str:
    return f"{value:.4g}".replace("-", "\u2212") if isinstance(value, float) else str(value)

"""How results show themselves in Jupyter: a picture inside the page, its caption and a few facts."""

from base64 import b64encode
from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING

from lensrec.view.figure import png_bytes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_CELL = "text-align:left;padding:2px 14px 2px 0;border:none;background:none"


def html_of(figure: "Figure | None", caption: str, facts: Mapping[str, object], *, dpi: int = 100) -> str:
    """HTML for a `_repr_html_`: caption, table of facts, and the picture as PNG in the page itself.

    Parameters
    ----------
    figure : Figure or None
        None leaves the picture out.
    caption : str
        Plain text; also the picture's description for those who cannot see it.
    facts : mapping of str to anything
        Names and values, shown with `str`; floats with four digits.
    dpi : int
        Dots per inch of the picture.

    Returns
    -------
    str
    """
    rows = "".join(
        f'<tr style="background:none"><th style="{_CELL};font-weight:normal;opacity:0.7">{escape(name)}</th>'
        f'<td style="{_CELL}">{escape(_plain(value))}</td></tr>'
        for name, value in facts.items()
    )
    parts = [f"<p><strong>{escape(caption)}</strong></p>"]
    if rows:
        parts.append(f'<table style="border:none;margin:0 0 8px 0">{rows}</table>')
    if figure is not None:
        data = b64encode(png_bytes(figure, dpi=dpi)).decode("ascii")
        parts.append(
            f'<img alt="{escape(caption, quote=True)}" style="max-width:100%" src="data:image/png;base64,{data}"/>'
        )
    return "<div>" + "".join(parts) + "</div>"


def _plain(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)

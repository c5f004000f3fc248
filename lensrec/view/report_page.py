"""The report as one HTML page that needs nothing but itself: sections, figures, captions, style and scripts."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from typing import Any

from lensrec.view.report_chart import Chart, Choice
from lensrec.view.report_html import details, script_data, table, text

CONFIG: dict[str, Any] = {
    "responsive": True,
    "displaylogo": False,
    "modeBarButtonsToRemove": ["select2d", "lasso2d", "autoScale2d"],
    "toImageButtonOptions": {"format": "png", "scale": 2},
    "plotlyServerURL": "",
}

POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; "
    "connect-src 'none'; base-uri 'none'; form-action 'none'"
)
"""A browser that keeps it asks nothing of any network, whatever is in the page."""


@dataclass(frozen=True)
class Part:
    """A section: its address, its heading (markup), and what is in it, markup and figures in their order."""

    name: str
    title: str
    content: Sequence[str | Chart]


def page(title: str, header: str, parts: Sequence[Part], footer: str) -> str:
    """The page.

    Parameters
    ----------
    title : str
        Plain.
    header, footer : str
        Markup.
    parts : sequence of Part
    """
    from plotly.offline import get_plotlyjs

    charts = [one for part in parts for one in part.content if isinstance(one, Chart)]
    names = [chart.name for chart in charts]
    if len(set(names)) < len(names):
        raise ValueError(f"figures of one page need names of their own, got {', '.join(sorted(names))}")
    links = "".join(f'<li><a href="#{part.name}">{part.title}</a></li>' for part in parts)
    body = "".join(_part(part) for part in parts)
    specifications = {"config": CONFIG, "figures": {chart.name: _specification(chart) for chart in charts}}
    scripts = (
        f"<script>{get_plotlyjs()}</script>"
        f'<script type="application/json" id="figures">{script_data(specifications)}</script>'
        f"<script>{_file('report.js')}</script>"
        if charts
        else f"<script>{_file('report.js')}</script>"
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light"><link rel="icon" href="data:,">'
        f"<title>{text(title)}</title><style>{_file('report.css')}</style></head>"
        f'<body><header class="top"><div class="inner">{header}</div></header><div class="frame">'
        f'<nav class="contents" aria-label="Contents"><ol>{links}</ol></nav><main>{body}</main></div>'
        "<noscript><p>The figures need JavaScript; the numbers under each do not.</p></noscript>"
        f'<footer class="inner">{footer}</footer>{scripts}</body></html>\n'
    )


def figure(chart: Chart) -> str:
    """A figure's place in the page, its caption, and its numbers."""
    wide = " wide" if chart.wide else ""
    choices = "".join(_choice(chart, number, choice) for number, choice in enumerate(chart.choices))
    scale = _scale(chart) if chart.skies else ""
    numbers = details("Numbers", table(chart.table), "numbers") if chart.table else ""
    return (
        f'<figure class="fig is-{chart.shape}{wide}" id="figure-{chart.name}"><h3>{chart.title}</h3>{choices}'
        f'<div class="plot" id="plot-{chart.name}" data-figure="{chart.name}" role="figure" '
        f'aria-label="{text(chart.alt)}"></div>{scale}<figcaption>{chart.caption}</figcaption>{numbers}</figure>'
    )


def _part(part: Part) -> str:
    out: list[str] = []
    open_ = False
    for one in _paired(part.content):
        if isinstance(one, Chart) and not open_:
            out.append('<div class="figures">')
        if not isinstance(one, Chart) and open_:
            out.append("</div>")
        open_ = isinstance(one, Chart)
        out.append(figure(one) if isinstance(one, Chart) else one)
    out.append("</div>" if open_ else "")
    return f'<section id="{part.name}"><h2>{part.title}</h2>{"".join(out)}</section>'


def _paired(content: Sequence[str | Chart]) -> list[str | Chart]:
    """Figures stand two in a row; one that would be left alone takes all of it."""
    out, waiting = list(content), []
    for place, one in enumerate([*content, ""]):
        if isinstance(one, Chart) and not one.wide:
            waiting.append(place)
            continue
        if len(waiting) % 2:
            last = content[waiting[-1]]
            assert isinstance(last, Chart)
            out[waiting[-1]] = replace(last, wide=True)
        waiting = []
    return out


def _choice(chart: Chart, number: int, choice: Choice) -> str:
    kind = "radio" if choice.single or not isinstance(choice.facet, int) else "checkbox"
    boxes = "".join(
        f'<label><input type="{kind}" name="{chart.name}-{number}" value="{text(value)}"{" checked" if on else ""}>'
        f"<span>{markup}</span></label>"
        for value, markup, on in choice.options
    )
    return (
        f'<div class="choice" role="group" aria-label="{text(choice.label)}" data-for="{chart.name}" '
        f'data-facet="{choice.facet}"><span class="what">{text(choice.label)}</span>{boxes}</div>'
    )


def _scale(chart: Chart) -> str:
    """The colour scale under a map, and the line that says what the pointer is on."""
    first = chart.skies[0]
    return (
        '<div class="scale"><span class="low"></span><span class="colours"></span><span class="high"></span>'
        f'<span class="unit">{first["unit"]}</span></div>'
        '<div class="tools"><button type="button" data-zoom="0.5" aria-label="Zoom in">+</button>'
        '<button type="button" data-zoom="2" aria-label="Zoom out">−</button>'
        '<button type="button" data-zoom="0">Whole map</button><output class="readout"></output></div>'
    )


def _specification(chart: Chart) -> dict[str, Any]:
    return {
        "data": chart.data,
        "layout": chart.layout,
        "skies": chart.skies,
        "link": chart.link,
        "projection": chart.projection,
        "shape": chart.shape,
        "scales": chart.scales,
        "titles": chart.titles,
        "named": chart.named,
    }


def _file(name: str) -> str:
    return files("lensrec.view").joinpath(name).read_text(encoding="utf-8")

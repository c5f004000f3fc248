"""Posteriors of the report: contours of both amplitudes, parts of the data beside each other, marginal densities."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lensrec.view.contours import LENSING, SMOOTHING, density_chain
from lensrec.view.figure import SETS
from lensrec.view.report_chart import DASHES, MUTED, Chart, Choice, axis, curve, layout
from lensrec.view.report_html import Markup, label, measured, plain, text, with_unit

Samples = Mapping[str, NDArray[np.float64]]

LEVELS = ("95 %", "68 %")


def joint_chart(
    name: str,
    title: str,
    sets: Mapping[str, tuple[Samples, NDArray]],
    *,
    pair: tuple[str, str] = (SMOOTHING, LENSING),
    caption: str,
) -> Chart:
    """68 and 95 % contours of two parameters, with the line on which the two amplitudes agree.

    Parameters
    ----------
    sets : mapping of name to (samples (n,) by parameter, weights (n,))
    """
    x_name, y_name = pair
    traces: list[dict[str, Any]] = []
    rows: dict[str, list[Any]] = {"set": [], label(x_name): [], label(y_name): [], "correlation": []}
    for place, (key, (samples, weights)) in enumerate(sets.items()):
        colour, _ = SETS[place % len(SETS)]
        chain = density_chain(key, samples, list(pair), weights)
        density = chain.get2DDensityGridData(x_name, y_name, num_plot_contours=2)
        for number, edge in enumerate(sorted(density.contours)):
            x, y = _outline(density.x, density.y, density.P, edge)
            alpha = (0.18, 0.35)[number]
            fill = {"fill": "toself", "fillcolor": _faded(colour, alpha), "hoverinfo": "name", "hoveron": "fills"}
            words: dict[str, Any] = {"name": f"{text(key)}, {LEVELS[number]}", "legendgroup": text(key)}
            traces.append(curve(x, y, colour=colour, weight=1.4, **words) | fill)
        mean, spread, rho = _moments(samples, weights, pair)
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "x": [mean[0]],
                "y": [mean[1]],
                "marker": {"color": colour, "size": 8, "symbol": "circle"},
                "name": f"{text(key)}, mean",
                "legendgroup": text(key),
                "showlegend": False,
                "hovertemplate": f"mean: {measured(mean[0], spread[0])}, {measured(mean[1], spread[1])}<extra></extra>",
            }
        )
        for column, value in zip(
            rows.values(),
            (key, Markup(measured(mean[0], spread[0])), Markup(measured(mean[1], spread[1])), rho),
            strict=True,
        ):
            column.append(value)
    lines: list[dict[str, Any]] = []
    both = {x_name, y_name} == {SMOOTHING, LENSING}
    if both:
        ends = [
            value
            for t in traces
            for axis_ in ("x", "y")
            for value in np.asarray(t[axis_], dtype=float)[np.isfinite(np.asarray(t[axis_], dtype=float))]
        ]
        span = [min(*ends, 1.0), max(*ends, 1.0)]
        lines = [
            curve(span, span, name="equal amplitudes", colour="#404040", dash="dash", weight=1.4, hoverinfo="skip"),
            {
                "type": "scatter",
                "mode": "markers",
                "x": [1.0],
                "y": [1.0],
                "name": "both 1",
                "marker": {"symbol": "star", "size": 13, "color": "#111111"},
                "hovertemplate": "both 1<extra></extra>",
            },
        ]
    said = "; ".join(
        f"{key}: {plain(label(x_name))} {m}, {plain(label(y_name))} {n}"
        for key, m, n in zip(rows["set"], rows[label(x_name)], rows[label(y_name)], strict=True)
    )
    return Chart(
        name,
        title,
        caption,
        f"Contours of {plain(label(x_name))} and {plain(label(y_name))}: {said}.",
        [*traces, *lines],
        layout(xaxis=axis(title=with_unit(x_name)), yaxis=axis(title=with_unit(y_name))),
        rows,
        shape="tall",
    )


def parts_chart(
    name: str, title: str, rows: Sequence[tuple[str, float, float, str]], *, quantity: str, caption: str
) -> Chart:
    """Means and errors below each other.

    Parameters
    ----------
    rows : sequence of (name (plain), mean, σ, group)
        Groups differ in colour and marker.
    quantity : str
        Of the axis; markup.
    """
    groups = list(dict.fromkeys(group for *_, group in rows))
    symbols = ("circle", "square", "diamond", "triangle-up")
    traces = []
    for place, group in enumerate(groups):
        mine = [row for row in rows if row[3] == group]
        colour, _ = SETS[place % len(SETS)]
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "x": [mean for _, mean, _, _ in mine],
                "y": [text(key) for key, *_ in mine],
                "error_x": {"type": "data", "array": [s for _, _, s, _ in mine], "width": 0, "thickness": 1.8},
                "marker": {"color": colour, "size": 9, "symbol": symbols[place % len(symbols)]},
                "name": group,
                "hovertemplate": "%{y}: %{x:.3f} ± %{error_x.array:.3f}<extra></extra>",
            }
        )
    order = [text(key) for key, *_ in rows][::-1]
    certain = [(m, s) for _, m, s, _ in rows if s < 5 * min(row[2] for row in rows)]
    ends = [m - 1.6 * s for m, s in certain] + [m + 1.6 * s for m, s in certain] + [1.0]
    one = {"type": "line", "xref": "x", "x0": 1, "x1": 1, "yref": "paper", "y0": 0, "y1": 1, "layer": "below"}
    said = "; ".join(f"{key} {measured(mean, sigma)}" for key, mean, sigma, _ in rows)
    return Chart(
        name,
        title,
        caption,
        f"{plain(quantity)}: {said}.",
        traces,
        layout(
            xaxis=axis(title=quantity, range=[min(ends), max(ends)]),
            yaxis=axis(categoryorder="array", categoryarray=order, gridcolor="white", range=[-0.6, len(order) - 0.4]),
            shapes=[one | {"line": {"color": MUTED, "width": 1.2, "dash": "dot"}}],
        ),
        {"of": [row[0] for row in rows], "mean": [row[1] for row in rows], "σ": [row[2] for row in rows]},
        shape="tall",
    )


def density_chart(
    name: str, title: str, samples: Samples, weights: NDArray, parameters: Sequence[str], *, caption: str
) -> Chart:
    """The marginal density of each parameter, one at a time."""
    traces = []
    means = []
    for place, key in enumerate(parameters):
        chain = density_chain(name, samples, [key], weights)
        density = chain.get1DDensity(key)
        height = density.P / density.P.max()
        shown = height > 1e-3
        about = f"{label(key)} = %{{x:.5g}}: %{{y:.3f}}<extra></extra>"
        colour = SETS[place % len(SETS)][0]
        line: dict[str, Any] = {"colour": colour, "facets": (key,), "visible": place == 0}
        filled = {"fill": "tozeroy", "fillcolor": _faded(colour, 0.14)}
        drawn = curve(density.x[shown], height[shown], name=label(key), hovertemplate=about, **line)
        traces.append(drawn | filled)
        mean, spread, _ = _moments(samples, weights, (key, key))
        means.append((mean[0], spread[0]))
    return Chart(
        name,
        title,
        caption,
        "Marginal densities: "
        + "; ".join(f"{plain(label(k))} {plain(measured(*m))}" for k, m in zip(parameters, means, strict=True)),
        traces,
        layout(
            xaxis=axis(title=with_unit(parameters[0])),
            yaxis=axis(title="density / maximum", range=[0, 1.06]),
            showlegend=False,
        ),
        {
            "parameter": [Markup(with_unit(key)) for key in parameters],
            "mean": [m for m, _ in means],
            "σ": [s for _, s in means],
        },
        choices=[
            Choice("Parameter", [(key, with_unit(key), k == 0) for k, key in enumerate(parameters)], 0, single=True)
        ],
        titles={key: [with_unit(key), "density / maximum"] for key in parameters},
    )


def overlaid_chart(
    name: str,
    title: str,
    chains: Mapping[str, tuple[Samples, NDArray]],
    parameter: str,
    *,
    shown: Sequence[str],
    wide: bool = False,
    lines: Sequence[tuple[float, str]] = (),
    caption: str,
) -> Chart:
    """The density of one parameter in several fits, those of `shown` at first, with bounds as lines."""
    traces, rows = [], []
    for place, (key, (samples, weights)) in enumerate(chains.items()):
        density = density_chain(key, samples, [parameter], weights).get1DDensity(parameter)
        height = density.P / density.P.max()
        inside = height > 1e-3
        about = f"{text(key)}: %{{x:.4g}}<extra></extra>"
        style: dict[str, Any] = {
            "colour": SETS[place % len(SETS)][0],
            "dash": DASHES[(place // len(SETS)) % len(DASHES)],
            "facets": (key,),
            "visible": key in shown,
        }
        traces.append(curve(density.x[inside], height[inside], name=text(key), hovertemplate=about, **style))
        mean, spread, _ = _moments(samples, weights, (parameter, parameter))
        rows.append((key, mean[0], spread[0]))
    shapes = [
        {
            "type": "line",
            "x0": value,
            "x1": value,
            "yref": "paper",
            "y0": 0,
            "y1": 1,
            "line": {"color": MUTED, "width": 1.2, "dash": DASHES[k % len(DASHES)]},
        }
        for k, (value, _) in enumerate(lines)
    ]
    notes = [
        {
            "x": value,
            "yref": "paper",
            "y": 1 - 0.08 * k,
            "text": text(words),
            "showarrow": False,
            "xanchor": "left",
            "xshift": 4,
            "font": {"size": 11.5, "color": MUTED},
            "bgcolor": "rgba(255,255,255,0.75)",
        }
        for k, (value, words) in enumerate(lines)
        if words
    ]
    return Chart(
        name,
        title,
        caption,
        f"Densities of {plain(label(parameter))}: " + "; ".join(f"{k} {plain(measured(m, s))}" for k, m, s in rows),
        traces,
        layout(
            xaxis=axis(title=with_unit(parameter)),
            yaxis=axis(title="density / maximum", range=[0, 1.08]),
            shapes=shapes,
            annotations=notes,
        ),
        {"fit": [k for k, _, _ in rows], "mean": [m for _, m, _ in rows], "σ": [s for _, _, s in rows]},
        shape="tall",
        wide=wide,
        choices=[Choice("Fits", [(key, text(key), key in shown) for key in chains], 0)],
    )


def ellipse_chart(
    name: str,
    title: str,
    cases: Mapping[str, tuple[Sequence[str], NDArray]],
    centre: Mapping[str, float],
    pairs: Sequence[tuple[str, str]],
    *,
    caption: str,
) -> Chart:
    """68 and 95 % ellipses of covariances about a centre, one pair of parameters at a time.

    Parameters
    ----------
    cases : mapping of name to (parameters, covariance (p, p))
    pairs : sequence of (x, y)
    """
    angle = np.linspace(0, 2 * np.pi, 121)
    circle = np.stack([np.cos(angle), np.sin(angle)])
    traces: list[dict[str, Any]] = []
    rows: dict[str, list[Any]] = {
        "case": [],
        "pair": [],
        "σ of the first": [],
        "σ of the second": [],
        "correlation": [],
    }
    for number, (x, y) in enumerate(pairs):
        value = f"{x},{y}"
        for place, (key, (names, covariance)) in enumerate(cases.items()):
            if x not in names or y not in names:
                continue
            at = [list(names).index(x), list(names).index(y)]
            block = np.asarray(covariance)[np.ix_(at, at)]
            root = np.linalg.cholesky(block)
            colour = SETS[place % len(SETS)][0]
            for share, alpha in ((0.95, 0.10), (0.68, 0.25)):
                # Δχ² of a share of the probability of two parameters: −2 ln(1 − p)
                edge = root @ circle * np.sqrt(-2 * np.log(1 - share)) + np.array([[centre[x]], [centre[y]]])
                style: dict[str, Any] = {
                    "colour": colour,
                    "dash": DASHES[(place + place // len(SETS)) % len(DASHES)],
                    "facets": (value,),
                    "visible": number == 0,
                    "weight": 1.5,
                    "showlegend": share == 0.68,
                    "legendgroup": text(key),
                }
                filled = {"fill": "toself", "fillcolor": _faded(colour, alpha), "hoverinfo": "name"}
                traces.append(curve(edge[0], edge[1], name=text(key), **style) | filled)
            sigma = np.sqrt(np.diag(block))
            pair = Markup(f"{label(x)}, {label(y)}")
            for column, entry in zip(
                rows.values(),
                (key, pair, float(sigma[0]), float(sigma[1]), float(block[0, 1] / sigma.prod())),
                strict=True,
            ):
                column.append(entry)
    options = [(f"{x},{y}", f"{with_unit(x)} across, {with_unit(y)} up", k == 0) for k, (x, y) in enumerate(pairs)]
    return Chart(
        name,
        title,
        caption,
        f"Ellipses of forecast errors for {len(cases)} cases.",
        traces,
        layout(xaxis=axis(title=with_unit(pairs[0][0])), yaxis=axis(title=with_unit(pairs[0][1]))),
        rows,
        shape="tall",
        wide=True,
        choices=[Choice("Pair", options, 0, single=True)],
        titles={f"{x},{y}": [with_unit(x), with_unit(y)] for x, y in pairs},
    )


def _outline(x: NDArray, y: NDArray, density: NDArray, edge: float) -> tuple[NDArray, NDArray]:
    """The contour of a density as one broken line that can be filled; closed where it runs into the edge."""
    from contourpy import contour_generator

    padded = np.pad(density, 1)
    wide = [np.concatenate([[v[0] - (v[1] - v[0]) * 1e-6], v, [v[-1] + (v[1] - v[0]) * 1e-6]]) for v in (x, y)]
    pieces = contour_generator(wide[0], wide[1], padded).lines(edge)
    gap = np.full((1, 2), np.nan)
    joined = np.concatenate([part for piece in pieces for part in (np.asarray(piece), gap)])[:-1]
    return joined[:, 0], joined[:, 1]


def _moments(samples: Samples, weights: NDArray, pair: tuple[str, str]) -> tuple[list[float], list[float], float]:
    w = weights / weights.sum()
    values = np.stack([np.asarray(samples[key], dtype=np.float64) for key in pair])
    mean = values @ w
    away = values - mean[:, None]
    covariance = (away * w) @ away.T
    sigma = np.sqrt(np.diag(covariance))
    return mean.tolist(), sigma.tolist(), float(covariance[0, 1] / sigma.prod())


def _faded(colour: str, alpha: float) -> str:
    red, green, blue = (int(colour[k : k + 2], 16) for k in (1, 3, 5))
    return f"rgba({red},{green},{blue},{alpha})"

"""Band powers of the report: TT, TE, EE, BB over theory, C_L^φφ with all that was taken off it, and the transfer."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lensrec.spectra.bandpowers import lensing_scaling
from lensrec.view.figure import SETS
from lensrec.view.points import scaled_power
from lensrec.view.report_chart import (
    DASHES,
    Chart,
    Choice,
    axis,
    beside,
    curve,
    layout,
    level,
    marked,
    multipole_axis,
    points,
    style_of,
    thinned,
)

Spectrum = NDArray[np.float64]

FACTOR = 1e7
LENSING_POWER = "10<sup>7</sup> [<i>L</i>(<i>L</i>+1)]<sup>2</sup> <i>C<sub>L</sub></i><sup>φφ</sup> / 2π"
LENSING_L = "lensing multipole <i>L</i>"
MULTIPOLE = "multipole ℓ"


def cmb_chart(key: str, values: Mapping[str, NDArray], curves: Mapping[str, Spectrum], *, caption: str) -> Chart:
    """Band powers of one spectrum, and below them how many σ each lies from the first curve.

    Parameters
    ----------
    key : "TT", "TE", "EE" or "BB"
    values : mapping of arrays (nbins,)
        "ell", "low", "high", "power", "sigma" and "expected": D_ℓ in µK².
    curves : mapping of label (plain) to array (lmax+1,)
        Raw C_ℓ in µK² from ℓ = 0.
    """
    ell, power, sigma = values["ell"], values["power"], values["sigma"]
    pull = (power - values["expected"]) / sigma
    width = [ell - values["low"], values["high"] - ell]
    top = int(values["high"].max() * 1.02)
    traces: list[dict[str, Any]] = []
    for number, (name, cl) in enumerate(curves.items()):
        at = thinned(cl, 2, top, 700)
        colour = "#404040" if number == 0 else SETS[number % len(SETS)][0]
        traces.append(curve(at, scaled_power(cl)[at], name=name, colour=colour, dash=DASHES[number], hoverinfo="skip"))
    about = f"<b>{key}</b> ℓ = %{{x:.0f}}<br>%{{y:.4g}} ± %{{error_y.array:.2g}} µK²<extra></extra>"
    blue = SETS[0][0]
    traces.append(points(ell, power, sigma, name="band powers", colour=blue, width=width, hovertemplate=about))
    below = "ℓ = %{x:.0f}: %{y:.2f} σ<extra></extra>"
    ones = np.ones(len(pull))
    lower = points(ell, pull, ones, name="residual", colour=blue, yaxis="y2", showlegend=False, hovertemplate=below)
    half = max(3.5, 1.15 * float(np.abs(pull).max()))
    symbol = f"<i>D</i><sub>ℓ</sub><sup>{key}</sup>"
    return Chart(
        f"cmb-{key}",
        f"<i>C</i><sub>ℓ</sub><sup>{key}</sup>",
        caption,
        f"Band powers of {key} on the curve of theory, and their distances from it: χ² {float(pull @ pull):.1f} for "
        f"{len(pull)} bands taken one by one, the farthest at {float(np.abs(pull).max()):.1f} sigma.",
        [*traces, lower],
        layout(
            xaxis=axis(title=MULTIPOLE, range=[0, top], anchor="y2"),
            yaxis=axis(title=f"{symbol} [µK<sup>2</sup>]", domain=[0.34, 1]),
            yaxis2=axis(title="Δ / σ", domain=[0, 0.27], range=[-half, half]),
            shapes=[level(0.0, "2")],
        ),
        {
            "ℓ from": values["low"].astype(int).tolist(),
            "to": values["high"].astype(int).tolist(),
            f"{symbol} [µK²]": power.tolist(),
            "σ": sigma.tolist(),
            "expected": values["expected"].tolist(),
            "Δ/σ": pull.tolist(),
        },
        shape="tall",
        link="cmb",
    )


def phi_chart(
    table: Mapping[str, NDArray],
    keys: Sequence[str],
    fiducial: Spectrum,
    n0: Mapping[str, Spectrum],
    n1: Mapping[str, Spectrum],
    *,
    caption: str,
    label: str = "theory",
) -> Chart:
    """C_L^φφ of each estimator with its N0, N1 and mean field, which buttons switch on and off.

    Parameters
    ----------
    table : mapping of column to array (nbins,)
        As `stages.phi_bandpowers.phi_bandpowers` makes it.
    keys : sequence of str
        Estimators, the best one first, which is shown at the beginning.
    fiducial : array (lmax+1,)
        Raw C_L^φφ.
    n0, n1 : mappings of estimator to array (lmax+1,)
        Raw; those of n1 may be missing.
    label : str
        Of the curve.
    """
    best = keys[0]
    low, high = float(table["L_low"].min()), float(table["L_high"].max())
    at = thinned(fiducial, max(int(low), 2), int(high))
    smooth = FACTOR * lensing_scaling(len(fiducial) - 1) * fiducial
    traces = [curve(at, smooth[at], name=label, hoverinfo="skip")]
    with_input = "input" in table
    if with_input:
        dash = {
            "mode": "markers",
            "marker": {"symbol": "line-ew", "size": 15, "line": {"color": "#E69F00", "width": 3}},
        }
        about = "φ<sub>in</sub>, <i>L</i> = %{x:.0f}: %{y:.4g}<extra></extra>"
        own: dict[str, Any] = {"name": "φ<sub>in</sub> of these skies", "colour": "#E69F00", "facets": ("", "input")}
        traces.append(curve(table["L"], FACTOR * table["input"], hovertemplate=about, **own) | dash)
    reach = []
    for place, key in enumerate(keys):
        traces += _estimator(table, key, place, len(keys), n0.get(key), n1.get(key), shown=key == best)
        if key == best:
            ratio = np.abs(table[f"auto_{key}"] / table["fiducial"] - 1) + table[f"sigma_{key}"] / table["fiducial"]
            reach.append(1.3 * float(np.percentile(ratio, 80)))
    half = float(np.clip(max(reach), 0.05, 2.0))
    scale = "log" if (table[f"auto_{best}"] > 0).all() else "linear"
    scales = {"log": _decades(table, best, smooth[at]), "linear": _room(table, best, smooth[at])}
    axes = Choice("Axis", [(one, one, one == scale) for one in scales], "scale")
    return Chart(
        "phi-bandpowers",
        "Band powers of <i>C<sub>L</sub></i><sup>φφ</sup>",
        caption,
        f"Band powers of the lensing potential by {best}, with biases taken off, on the curve of theory; below, their "
        "ratio to it.",
        traces,
        layout(
            xaxis=axis(**multipole_axis(low, high, LENSING_L), anchor="y2"),
            yaxis=axis(
                title=LENSING_POWER,
                domain=[0.36, 1],
                type=scale,
                range=scales[scale],
                dtick=1 if scale == "log" else None,
            ),
            yaxis2=axis(title="ratio to theory", domain=[0, 0.29], range=[1 - half, 1 + half]),
            shapes=[level(1.0, "2")],
        ),
        _phi_table(table, keys),
        shape="tall",
        wide=True,
        choices=[_estimators(keys), _quantities(table, n0, n1, with_input), axes],
        scales=scales,
    )


def transfer_chart(table: Mapping[str, NDArray], keys: Sequence[str], *, caption: str) -> Chart:
    """φ̂ × φ_in over φ_in × φ_in of each estimator, which is 1 where the normalisation is right."""
    traces, reach = [], []
    for place, key in enumerate(keys):
        colour, marker = style_of(key, place)
        value, sigma = table[f"transfer_{key}"], table[f"transfer_sigma_{key}"]
        about = f"<b>{key}</b> <i>L</i> = %{{x:.0f}}: %{{y:.4f}} ± %{{error_y.array:.2g}}<extra></extra>"
        x = beside(table, place, len(keys))
        first = key == keys[0]
        traces.append(
            points(
                x,
                value,
                sigma,
                name=key,
                colour=colour,
                marker=marker,
                facets=(key,),
                visible=first,
                hovertemplate=about,
            )
        )
        if first:
            reach.append(float(np.percentile(np.abs(value - 1) + sigma, 85)))
    half = float(np.clip(1.3 * max(reach), 0.02, 0.8))
    band = {"type": "rect", "xref": "paper", "x0": 0, "x1": 1, "yref": "y", "y0": 0.99, "y1": 1.01, "layer": "below"}
    low, high = float(table["L_low"].min()), float(table["L_high"].max())
    ratio = (
        "<i>C<sub>L</sub></i><sup>φ̂φ<sub>in</sub></sup> / <i>C<sub>L</sub></i><sup>φ<sub>in</sub>φ<sub>in</sub></sup>"
    )
    columns: dict[str, Any] = _bands(table)
    for key in keys:
        columns |= {
            key: table[f"transfer_{key}"].tolist(),
            f"σ<sub>{key}</sub>": table[f"transfer_sigma_{key}"].tolist(),
        }
    return Chart(
        "transfer",
        "Transfer φ̂ × φ<sub>in</sub>",
        caption,
        f"The transfer of {keys[0]} by lensing multipole, close to 1 where the normalisation is right.",
        traces,
        layout(
            xaxis=axis(**multipole_axis(low, high, LENSING_L)),
            yaxis=axis(title=ratio, range=[1 - half, 1 + half]),
            shapes=[band | {"fillcolor": "#e9edf0", "line": {"width": 0}}, level(1.0)],
        ),
        columns,
        wide=True,
        choices=[_estimators(keys)],
        named=True,
    )


def _estimator(
    table: Mapping[str, NDArray],
    key: str,
    place: int,
    count: int,
    n0: Spectrum | None,
    n1: Spectrum | None,
    *,
    shown: bool,
) -> list[dict[str, Any]]:
    colour, marker = style_of(key, place)
    low, high = int(table["L_low"].min()), int(table["L_high"].max())
    x = beside(table, place, count)
    out = []
    for name, values, dash, on in (
        ("N<sup>(0)</sup>", n0, "dash", True),
        ("N<sup>(1)</sup>", n1, "dot", True),
    ):
        if values is None:
            continue
        at = thinned(values, max(low, 2), high)
        level_ = FACTOR * lensing_scaling(len(values) - 1)[at] * values[at]
        facets = (key, "n0" if dash == "dash" else "n1")
        about = f"<b>{name}, {key}</b> <i>L</i> = %{{x}}: %{{y:.4g}}<extra></extra>"
        out.append(
            curve(
                at,
                np.where(level_ > 0, level_, np.nan),
                name=f"<i>{name}</i> {key}",
                colour=colour,
                dash=dash,
                weight=1.6,
                facets=facets,
                visible=shown and on,
                hovertemplate=about,
            )
        )
    if table[f"mf_{key}"].any():
        field = FACTOR * np.abs(table[f"mf_{key}"])
        about = f"<b>mean field, {key}</b> <i>L</i> = %{{x:.0f}}: %{{y:.4g}}<extra></extra>"
        line: dict[str, Any] = {"name": f"|mean field| {key}", "colour": colour, "dash": "longdashdot", "weight": 1.4}
        out.append(curve(table["L"], field, facets=(key, "mf"), visible=shown, hovertemplate=about, **line))
    base: dict[str, Any] = {"colour": colour, "marker": marker, "visible": shown}
    about = f"<b>φ̂ {key}</b> <i>L</i> = %{{x:.0f}}<br>%{{y:.4g}} ± %{{error_y.array:.2g}}<extra></extra>"
    auto, sigma, expected = table[f"auto_{key}"], table[f"sigma_{key}"], table["fiducial"]
    out.append(
        points(x, FACTOR * auto, FACTOR * sigma, name=f"φ̂ {key}", facets=(key, "auto"), hovertemplate=about, **base)
    )
    about = f"<b>φ̂ {key}</b> <i>L</i> = %{{x:.0f}}: %{{y:.4f}} ± %{{error_y.array:.2g}} of theory<extra></extra>"
    ratio = points(x, auto / expected, sigma / expected, name=key, facets=(key, "auto"), hovertemplate=about, **base)
    out.append(ratio | {"yaxis": "y2", "showlegend": False})
    if f"cross_{key}" in table:
        cross, spread = table[f"cross_{key}"], table[f"transfer_sigma_{key}"] * table["input"]
        about = f"<b>φ̂ {key} × φ<sub>in</sub></b> <i>L</i> = %{{x:.0f}}: %{{y:.4g}}<extra></extra>"
        base = {"colour": "#CC79A7", "marker": "D", "visible": False}
        named: dict[str, Any] = {"name": f"φ̂ {key} × φ<sub>in</sub>", "facets": (key, "cross"), "hovertemplate": about}
        out.append(points(x, FACTOR * cross, FACTOR * spread, **named, **base))
    return out


def _estimators(keys: Sequence[str]) -> Choice:
    return Choice("Estimator", [(key, marked(key, place), place == 0) for place, key in enumerate(keys)], 0)


def _quantities(
    table: Mapping[str, NDArray], n0: Mapping[str, Spectrum], n1: Mapping[str, Spectrum], with_input: bool
) -> Choice:
    options = [("auto", "φ̂ × φ̂", True)]
    options += [("n0", "<i>N</i><sup>(0)</sup>", True)] if n0 else []
    options += [("n1", "<i>N</i><sup>(1)</sup>", True)] if n1 else []
    options += (
        [("mf", "mean field", True)] if any(name.startswith("mf_") and table[name].any() for name in table) else []
    )
    options += [("input", "φ<sub>in</sub>", True), ("cross", "φ̂ × φ<sub>in</sub>", False)] if with_input else []
    return Choice("Draw", options, 1)


def _phi_table(table: Mapping[str, NDArray], keys: Sequence[str]) -> dict[str, list]:
    columns = _bands(table)
    columns["theory"] = (FACTOR * table["fiducial"]).tolist()
    if "input" in table:
        columns["φ<sub>in</sub>"] = (FACTOR * table["input"]).tolist()
    for key in keys:
        for prefix, name in (("auto", key), ("sigma", f"σ<sub>{key}</sub>"), ("n0", f"N0 {key}"), ("n1", f"N1 {key}")):
            columns[name] = (FACTOR * table[f"{prefix}_{key}"]).tolist()
        if table[f"mf_{key}"].any():
            columns[f"mean field {key}"] = (FACTOR * table[f"mf_{key}"]).tolist()
    return columns


def _bands(table: Mapping[str, NDArray]) -> dict[str, list]:
    return {"<i>L</i> from": table["L_low"].astype(int).tolist(), "to": table["L_high"].astype(int).tolist()}


def _room(table: Mapping[str, NDArray], key: str, smooth: NDArray) -> list[float]:
    """Room for the curve, and for all error bars that are shorter than twice its height."""
    top = float(smooth.max())
    power, sigma = FACTOR * table[f"auto_{key}"], FACTOR * table[f"sigma_{key}"]
    sure = sigma < 2 * top
    low = float((power - sigma)[sure].min(initial=0.0))
    high = float((power + sigma)[sure].max(initial=top))
    return [max(1.1 * low, -2 * top) - 0.05 * top, min(1.1 * high, 4 * top)]


def _decades(table: Mapping[str, NDArray], key: str, smooth: NDArray) -> list[float]:
    """From below the curve and the points to a factor of fifty above them: N0 of the noisier estimators runs out."""
    values = np.concatenate([smooth, FACTOR * table[f"auto_{key}"], FACTOR * table[f"n1_{key}"]])
    values = values[values > 0]
    top = float(max(smooth.max(), np.max(FACTOR * table[f"auto_{key}"])))
    level_ = float(np.max(FACTOR * table[f"n0_{key}"], initial=top))
    return np.log10([0.5 * max(float(values.min()), 0.01 * top), 2.0 * min(max(top, level_), 50 * top)]).tolist()

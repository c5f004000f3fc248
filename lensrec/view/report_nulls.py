"""What should vanish: the curl of the deflection, differences between estimators, and the mean field."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lensrec.view.report_chart import (
    Chart,
    Choice,
    axis,
    beside,
    layout,
    level,
    marked,
    multipole_axis,
    points,
    style_of,
)
from lensrec.view.report_html import Markup, table

LEAST = 0.02
"""Of an estimator's variance: what differs by less from the best one's is the same estimator but for rounding."""

Pulls = Mapping[str, tuple[NDArray, NDArray]]
"""By name, what should vanish in each band, and its standard deviation; arrays (nbins,)."""


def curl_values(bands: Mapping[str, NDArray], keys: Sequence[str]) -> dict[str, tuple[NDArray, NDArray]]:
    """Band powers of Ω̂ with their errors, by estimator."""
    return {key: (bands[f"curl_{key}"], bands[f"curl_sigma_{key}"]) for key in keys}


def differences(bands: Mapping[str, NDArray], keys: Sequence[str]) -> dict[str, tuple[NDArray, NDArray]]:
    """Band powers of each estimator minus those of the best one of all it is part of, with the errors of these.

    Notes
    -----
    Noise of an estimator K and that of the minimum-variance estimator M of a family that holds K have N_L^KM = N_L^MM.
    For Gaussian φ̂ the variance of a difference of band powers is then σ_K² − σ_M². MV is that of TT, EE, TE, TB and
    EB; GMV is of all.
    """
    family = {"GMV": set(keys) - {"GMV"}, "MV": {"TT", "EE", "TE", "TB", "EB"} & set(keys)}
    best = next((key for key in ("GMV", "MV") if key in keys), None)
    found: dict[str, tuple[NDArray, NDArray]] = {}
    if best is None:
        return found
    for key in keys:
        if key not in family[best]:
            continue
        variance = bands[f"sigma_{key}"] ** 2 - bands[f"sigma_{best}"] ** 2
        if (variance > LEAST * bands[f"sigma_{key}"] ** 2).all():
            found[f"{key} − {best}"] = (bands[f"auto_{key}"] - bands[f"auto_{best}"], np.sqrt(variance))
    return found


def chi2_of(value: NDArray, sigma: NDArray) -> tuple[float, int, float]:
    """χ² of independent Gaussian bands about zero, their number, and the probability to exceed it by chance."""
    from scipy.stats import chi2

    total = float(np.sum((value / sigma) ** 2))
    return total, len(value), float(chi2.sf(total, len(value)))


def null_table(groups: Mapping[str, Pulls]) -> str:
    """χ² and probability of each null; what is below 1 % is marked."""
    rows: dict[str, list[Any]] = {"null": [], "of": [], "χ²": [], "bands": [], "probability": [], "": []}
    for group, pulls in groups.items():
        for name, (value, sigma) in pulls.items():
            total, n, pte = chi2_of(value, sigma)
            said = Markup('<span class="flag">below 1 %</span>') if pte < 0.01 else ""
            for column, entry in zip(rows.values(), (group, name, total, n, pte, said), strict=True):
                column.append(entry)
    return table(rows, digits=3, kind="results")


def null_chart(
    name: str, title: str, bands: Mapping[str, NDArray], pulls: Pulls, *, shown: int, caption: str, what: str
) -> Chart:
    """Distances from zero in σ, by estimator.

    Parameters
    ----------
    bands : mapping of "L", "L_low", "L_high" to array (nbins,)
    pulls : mapping of name to (value, sigma)
    shown : int
        How many of these are drawn at first.
    what : str
        What should vanish, markup.
    """
    traces = []
    for place, (key, (value, sigma)) in enumerate(pulls.items()):
        colour, marker = style_of(key.partition(" ")[0], place)
        x = beside(bands, place, len(pulls))
        about = f"<b>{key}</b> <i>L</i> = %{{x:.0f}}: %{{y:.2f}} σ<extra></extra>"
        on = place < shown
        more: dict[str, Any] = {"facets": (key,), "visible": on, "hovertemplate": about}
        traces.append(points(x, value / sigma, np.ones(len(x)), name=key, colour=colour, marker=marker, **more))
    largest = max(float(np.abs(value / sigma).max()) for value, sigma in pulls.values())
    half = max(3.5, 1.2 * largest + 1.0)
    within = {"type": "rect", "xref": "paper", "x0": 0, "x1": 1, "yref": "y", "layer": "below", "line": {"width": 0}}
    shapes = [
        within | {"y0": -2, "y1": 2, "fillcolor": "#f3f5f7"},
        within | {"y0": -1, "y1": 1, "fillcolor": "#e6eaee"},
    ]
    columns: dict[str, Any] = {
        "<i>L</i> from": bands["L_low"].astype(int).tolist(),
        "to": bands["L_high"].astype(int).tolist(),
    }
    for key, (value, sigma) in pulls.items():
        columns |= {key: value.tolist(), f"σ of {key}": sigma.tolist(), f"{key} / σ": (value / sigma).tolist()}
    low_l, high_l = float(bands["L_low"].min()), float(bands["L_high"].max())
    return Chart(
        name,
        title,
        caption,
        f"Distances from zero in units of sigma, the largest {largest:.1f}.",
        traces,
        layout(
            xaxis=axis(**multipole_axis(low_l, high_l, "lensing multipole <i>L</i>")),
            yaxis=axis(title=f"{what} / σ", range=[-half, half]),
            shapes=[*shapes, level(0.0)],
        ),
        columns,
        choices=[Choice("Draw", [(key, marked(key, place), place < shown) for place, key in enumerate(pulls)], 0)],
        named=True,
    )


def mean_field_chart(bands: Mapping[str, NDArray], keys: Sequence[str], *, caption: str) -> Chart:
    """Power of the mean field over the error of the band power that it was taken off."""
    traces = []
    columns: dict[str, Any] = {
        "<i>L</i> from": bands["L_low"].astype(int).tolist(),
        "to": bands["L_high"].astype(int).tolist(),
    }
    for place, key in enumerate(keys):
        colour, marker = style_of(key, place)
        ratio = bands[f"mf_{key}"] / bands[f"sigma_{key}"]
        about = f"<b>{key}</b> <i>L</i> = %{{x:.0f}}: %{{y:.3g}} σ<extra></extra>"
        base = points(bands["L"], ratio, None, name=key, colour=colour, marker=marker, facets=(key,))
        on = {"mode": "lines+markers", "visible": place == 0, "hovertemplate": about}
        traces.append(base | on | {"line": {"color": colour, "width": 1.2, "dash": "dot"}})
        columns[f"{key} / σ"] = ratio.tolist()
    low, high = float(bands["L_low"].min()), float(bands["L_high"].max())
    return Chart(
        "mean-field",
        "Mean field",
        caption,
        "Power of the mean field over the error of the band powers, by lensing multipole.",
        traces,
        layout(
            xaxis=axis(**multipole_axis(low, high, "lensing multipole <i>L</i>")),
            yaxis=axis(title="mean field / σ of the band power"),
            shapes=[level(0.0)],
        ),
        columns,
        choices=[Choice("Draw", [(key, marked(key, place), place == 0) for place, key in enumerate(keys)], 0)],
        named=True,
    )

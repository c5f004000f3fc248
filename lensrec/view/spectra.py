"""Pictures of spectra: band powers of φ, the transfer from φ_in to φ̂, and the CMB's own power.

The axis of multipoles is stretched like √L, on which bands of even steps in √L are equally wide.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lensrec.spectra.bandpowers import lensing_scaling
from lensrec.view.figure import (
    GREY,
    LENSING_MULTIPOLE,
    LENSING_POWER,
    MULTIPOLE,
    cmb_power_label,
    drawing,
    estimator_style,
    legend_above,
    new_figure,
    tick_marks,
)
from lensrec.view.points import checked, scaled_power

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BandPoints = Mapping[str, ArrayLike]

_TICKS = np.array([2, 10, 50, 100, 200, 400, 600, 800, 1000, 1500, 2000, 2500, 3000, 4000, 5000, 6000])


def phi_spectrum_figure(
    curve: Mapping[str, Any],
    points: Mapping[str, BandPoints],
    n0: Mapping[str, NDArray] | None = None,
    *,
    title: str = "",
    realisation: BandPoints | None = None,
    scale: Literal["log", "linear"] = "log",
) -> "Figure":
    """C_L^φφ band powers of one or more estimators on the curve they should lie on, and their ratio to it.

    Parameters
    ----------
    curve : mapping
        "ell" and "cl", arrays (n,): raw C_L^φφ; optionally "label", e.g. "ΛCDM, Planck 2018".
    points : mapping of estimator to mapping of arrays (nbins,)
        "L", "power" and "sigma" in the scaling [L(L+1)]²/2π; optionally "low" and "high", the ends of the bands,
        and "expected", the curve in the same bands (else it is averaged over the band with weights 2L+1).
    n0 : mapping of estimator to array, optional
        Raw N0_L from L = 0, drawn dashed in the estimator's colour.
    title : str
    realisation : mapping, optional
        "L" and "power" (and "low", "high", "expected"): what the input φ of this very sky has in the bands.
    scale : "log" or "linear"
        Of the upper panel. On "log" a negative band power shows nothing but the upper part of its error bar;
        "linear" suits measurements that are mostly noise.

    Raises
    ------
    ValueError
        If there are no points, or their arrays differ in length.
    """
    bands = {key: checked(key, values, ("L", "power", "sigma")) for key, values in points.items()}
    if not bands:
        raise ValueError("a picture of band powers needs those of one estimator at least")
    factor = 1e7 if scale == "linear" else 1.0
    ell, scaled = _scaled(curve)
    extent = _extent([*bands.values()])
    shared_noise = len(n0 or {}) > 1
    with drawing():
        figure = new_figure(7.0)
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(2.1, 1.0))
        for position, (key, noise) in enumerate((n0 or {}).items()):
            colour, _ = estimator_style(key, position)
            level = factor * lensing_scaling(len(noise) - 1) * noise
            name = None if shared_noise else f"$N_L^{{(0)}}$, {key}"
            shown = (level > 0) & (np.arange(len(level)) >= extent[0])
            upper.plot(np.flatnonzero(shown), level[shown], "--", color=colour, linewidth=1.2, label=name)
        if shared_noise:
            upper.plot([], [], "--", color="0.4", linewidth=1.2, label="$N_L^{(0)}$ of each")
        label = str(curve.get("label", r"input $C_L^{\phi\phi}$"))
        upper.plot(ell, factor * scaled, color=GREY, linewidth=1.8, label=label, zorder=2.5)
        lower.axhline(1.0, color=GREY, linewidth=1.8)
        if realisation is not None:
            _realisation(upper, lower, checked("realisation", realisation, ("L", "power")), ell, scaled, factor)
        for position, (key, values) in enumerate(bands.items()):
            x = _offset(values, position, len(bands))
            expected = _expected(values, ell, scaled)
            style = _marker(key, position, len(bands))
            upper.errorbar(x, factor * values["power"], factor * values["sigma"], label=rf"$\hat\phi$, {key}", **style)
            lower.errorbar(x, values["power"] / expected, values["sigma"] / np.abs(expected), **style)
        inside = scaled[(ell >= extent[0]) & (ell <= extent[1])]
        if scale == "log":
            upper.set_yscale("log", nonpositive="clip")
            upper.set_ylim(*_log_range(inside, bands, n0))
        else:
            upper.axhline(0.0, color=GREY, linewidth=0.8)
            upper.set_ylim(*(factor * limit for limit in _linear_range(inside, bands)))
        lower.set_ylim(*_ratio_range(bands, ell, scaled))
        upper.set_ylabel(f"${LENSING_POWER}$" if scale == "log" else rf"$10^7\,{LENSING_POWER}$")
        lower.set_ylabel("ratio to the curve")
        _multipole_axis([upper, lower], extent)
        legend_above(upper, title, handletextpad=0.6)
    return figure


def transfer_figure(points: Mapping[str, BandPoints], *, title: str = "", tolerance: float = 0.01) -> "Figure":
    """The transfer ⟨φ̂ φ_in⟩/⟨φ_in φ_in⟩ by L, which is 1 where the normalisation is right.

    Parameters
    ----------
    points : mapping of estimator to mapping of arrays (nbins,)
        "L" and "transfer"; optionally "sigma", "low" and "high".
    title : str
    tolerance : float
        Half the height of the grey band about 1.

    Raises
    ------
    ValueError
        If there are no points, or their arrays differ in length.
    """
    bands = {key: checked(key, values, ("L", "transfer")) for key, values in points.items()}
    if not bands:
        raise ValueError("a picture of the transfer needs that of one estimator at least")
    reach = np.concatenate([np.abs(v["transfer"] - 1.0) + v.get("sigma", 0.0) for v in bands.values()])
    reach = reach[np.isfinite(reach)]
    half = float(np.clip(1.3 * np.percentile(reach, 85) if reach.size else 0.0, 2.5 * tolerance, 0.6))
    with drawing():
        figure = new_figure(4.2)
        axes = figure.subplots()
        axes.axhspan(1.0 - tolerance, 1.0 + tolerance, color="0.88", zorder=0, label=f"±{100 * tolerance:g} %")
        axes.axhline(1.0, color=GREY, linewidth=1.2)
        for position, (key, values) in enumerate(bands.items()):
            x = _offset(values, position, len(bands))
            style = _marker(key, position, len(bands))
            axes.errorbar(x, values["transfer"], values.get("sigma"), label=key, **style)
        axes.set_ylim(1.0 - half, 1.0 + half)
        axes.set_ylabel(r"$C_L^{\hat\phi\,\phi_{\rm in}}\,/\;C_L^{\phi_{\rm in}\phi_{\rm in}}$")
        _multipole_axis([axes], _extent([*bands.values()]))
        legend_above(axes, title, handletextpad=0.6)
    return figure


def cmb_spectra_figure(
    theory: Mapping[str, Mapping[str, NDArray]],
    measured: Mapping[str, NDArray] | None = None,
    *,
    title: str = "",
    step: int = 40,
    lmax: int | None = None,
) -> "Figure":
    """D_ℓ = ℓ(ℓ+1)C_ℓ/2π of TT, EE, BB and TE: curves, and a sky's own spectra averaged over bands.

    Parameters
    ----------
    theory : mapping of label to mapping of "TT", "EE", "BB", "TE" to array (n,)
        Raw C_ℓ in µK² from ℓ = 0, e.g. {"unlensed": …, "lensed": …}; missing or vanishing ones are left out.
    measured : mapping of the same keys to array (n,), optional
        Raw C_ℓ of a map.
    title : str
    step : int
        Multipoles in a band of `measured`.
    lmax : int, optional
        Where the axis ends; the end of the shortest spectrum if not given.
    """
    measured = measured or {}
    spectra = [cl for group in (*theory.values(), measured) for cl in group.values()]
    if not spectra:
        raise ValueError("a picture of spectra needs one at least")
    top = min(len(cl) for cl in spectra) - 1 if lmax is None else lmax
    colours = ("0.55", "#0072B2", "#D55E00", "#009E73")
    with drawing():
        figure = new_figure(6.4)
        panels = figure.subplots(2, 2, sharex=True)
        for axes, key in zip(panels.flat, ("TT", "EE", "BB", "TE"), strict=True):
            if key in measured:
                ell, power = _averaged(measured[key][: top + 1], step)
                axes.plot(ell, power, "o", color="black", markersize=3.0, label="this sky", zorder=2.5)
            for position, (label, group) in enumerate(theory.items()):
                power = scaled_power(group[key][: top + 1]) if key in group else np.zeros(1)
                if power.any():
                    axes.plot(np.arange(len(power)), power, color=colours[position % len(colours)], label=label)
            if key != "TE":
                axes.set_yscale("log", nonpositive="clip")
                axes.set_ylim(*_decades(axes))
            axes.set_ylabel(cmb_power_label(key))
            axes.set_xlim(0, top)
            tick_marks(axes)
        for axes in panels[1]:
            axes.set_xlabel(MULTIPOLE)
        legend_above(panels[0, 0], title, columnspacing=2.0, title_fontsize=11.0)
    return figure


def _scaled(curve: Mapping[str, Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    ell, cl = np.asarray(curve["ell"], dtype=np.float64), np.asarray(curve["cl"], dtype=np.float64)
    use = (ell >= 1) & (cl > 0)
    if not use.any():
        raise ValueError("the curve of C_L^φφ is positive nowhere")
    ell, cl = ell[use], cl[use]
    return ell, (ell * (ell + 1.0)) ** 2 / (2.0 * np.pi) * cl


def _extent(points: Sequence[Mapping[str, NDArray]]) -> tuple[float, float]:
    low = min(float(np.min(v.get("low", v["L"]))) for v in points)
    high = max(float(np.max(v.get("high", v["L"]))) for v in points)
    return max(low, 1.0), high


def _offset(values: Mapping[str, NDArray], position: int, count: int) -> NDArray[np.float64]:
    """Where to draw the points of one of several estimators: side by side within each band, even in √L."""
    root = np.sqrt(values["L"])
    if "low" in values and "high" in values:
        width = np.sqrt(values["high"]) - np.sqrt(values["low"])
    else:
        width = np.gradient(root) if len(root) > 1 else np.ones(1)
    return (root + width * 0.72 * ((position + 0.5) / count - 0.5)) ** 2


def _expected(values: Mapping[str, NDArray], ell: NDArray, scaled: NDArray) -> NDArray[np.float64]:
    if "expected" in values:
        return values["expected"]
    if "low" not in values or "high" not in values:
        return np.interp(values["L"], ell, scaled)
    # running integrals of (2L+1) D_L, read off at the ends of each band
    weight = 2.0 * ell + 1.0
    ends = np.append(ell, ell[-1] + 1.0)
    sums, norms = (np.concatenate([[0.0], np.cumsum(f)]) for f in (weight * scaled, weight))
    total, norm = (np.interp(values["high"], ends, f) - np.interp(values["low"], ends, f) for f in (sums, norms))
    return np.divide(total, norm, out=np.interp(values["L"], ell, scaled), where=norm > 0)


def _marker(key: str, position: int, count: int) -> dict[str, Any]:
    colour, marker = estimator_style(key, position)
    crowded = count > 3
    return {
        "color": colour,
        "marker": marker,
        "linestyle": "none",
        "markersize": 3.6 if crowded else 5.0,
        "elinewidth": 0.9 if crowded else 1.2,
        "zorder": 4 if key in ("MV", "GMV") else 3,
    }


def _realisation(
    upper: "Axes", lower: "Axes", values: Mapping[str, NDArray], ell: NDArray, scaled: NDArray, factor: float
) -> None:
    style: Any = {"linestyle": "none", "marker": "_", "color": "#E69F00", "markersize": 11, "markeredgewidth": 2.2}
    upper.plot(values["L"], factor * values["power"], label=r"$\phi_{\rm in}$ of this sky", zorder=2.8, **style)
    lower.plot(values["L"], values["power"] / _expected(values, ell, scaled), zorder=2.8, **style)


def _log_range(
    scaled: NDArray, points: Mapping[str, Mapping[str, NDArray]], n0: Mapping[str, NDArray] | None
) -> tuple[float, float]:
    """From below the curve to above its points; of the noise only what is within a factor of 100 of the curve."""
    top, bottom = float(scaled.max()), float(scaled[scaled > 0].min())
    noise = [lensing_scaling(len(n) - 1)[2:] * n[2:] for n in (n0 or {}).values()]
    levels = np.concatenate([*noise, *(v["power"] for v in points.values())])
    levels = levels[np.isfinite(levels) & (levels > 0)]
    high = min(100.0 * top, float(levels.max(initial=top)))
    low = max(0.1 * bottom, min(bottom, float(levels.min(initial=bottom))))
    return 0.6 * low, 2.0 * high


def _linear_range(scaled: NDArray, points: Mapping[str, Mapping[str, NDArray]]) -> tuple[float, float]:
    """Room for the curve, and for all error bars that are shorter than the curve is high."""
    top = float(scaled.max())
    power, sigma = (np.concatenate([v[name] for v in points.values()]) for name in ("power", "sigma"))
    low = float((power - sigma)[sigma < top].min(initial=0.0))
    high = float((power + sigma)[sigma < top].max(initial=top))
    return max(1.1 * low, -2.0 * top) - 0.05 * top, min(1.1 * high, 3.0 * top) + 0.05 * top


def _ratio_range(points: Mapping[str, Mapping[str, NDArray]], ell: NDArray, scaled: NDArray) -> tuple[float, float]:
    """Symmetric about 1, wide enough for three quarters of all error bars."""
    reach = [
        np.abs(v["power"] / expected - 1.0) + v["sigma"] / np.abs(expected)
        for v in points.values()
        for expected in (_expected(v, ell, scaled),)
    ]
    half = float(np.clip(1.4 * np.nanpercentile(np.concatenate(reach), 75), 0.05, 2.0))
    return 1.0 - half, 1.0 + half


def _multipole_axis(panels: Sequence["Axes"], extent: tuple[float, float]) -> None:
    from matplotlib.ticker import FixedLocator, NullLocator

    low, high = extent
    root = np.sqrt([low, high])
    margin = 0.02 * (root[1] - root[0])
    for axes in panels:
        axes.set_xscale("function", functions=(_root, np.square))
        axes.set_xlim(max(root[0] - margin, 0.0) ** 2, (root[1] + margin) ** 2)
        axes.xaxis.set_major_locator(FixedLocator(list(_ticks(low, high))))
        axes.xaxis.set_minor_locator(NullLocator())
        tick_marks(axes)
    panels[-1].set_xlabel(LENSING_MULTIPOLE)


def _root(value: NDArray) -> NDArray:
    return np.sqrt(np.maximum(value, 0.0))


def _ticks(low: float, high: float) -> NDArray[np.int64]:
    """Round multipoles in the range, at least 6 % of the axis apart."""
    step = 0.06 * (np.sqrt(high) - np.sqrt(low))
    kept: list[int] = []
    for tick in _TICKS[(low <= _TICKS) & (high >= _TICKS)]:
        if not kept or np.sqrt(tick) - np.sqrt(kept[-1]) > step:
            kept.append(int(tick))
    return np.array(kept, dtype=np.int64)


def _averaged(cl: NDArray, step: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """D_ℓ in bands of `step` multipoles from ℓ = 2, with weights 2ℓ+1."""
    bands = max((len(cl) - 2) // step, 1)
    ell = np.arange(len(cl))[2 : 2 + bands * step].astype(np.float64)
    band = (np.arange(len(ell)) // step).astype(np.int64)
    weight = 2.0 * ell + 1.0
    norm = np.bincount(band, weight)
    power = scaled_power(cl)[2 : 2 + bands * step]
    return np.bincount(band, weight * ell) / norm, np.bincount(band, weight * power) / norm


def _decades(axes: "Axes") -> tuple[float, float]:
    """Limits of a logarithmic axis: at most five decades below what is drawn highest."""
    values = np.concatenate([np.asarray(line.get_ydata(), dtype=np.float64)[2:] for line in axes.lines] or [np.ones(1)])
    values = values[np.isfinite(values) & (values > 0)]
    if not values.size:
        return 1e-3, 1.0
    return max(float(values.min()), 1e-5 * float(values.max())) * 0.6, float(values.max()) * 1.8

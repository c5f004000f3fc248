"""Pictures of band powers on their way to a fit: of the CMB, of C_L^φφ from several sets, and how all correlate."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lensrec.spectra.bandpowers import lensing_scaling
from lensrec.view.figure import (
    GREY,
    LENSING_MULTIPOLE,
    LENSING_POWER,
    MULTIPOLE,
    SETS,
    cmb_power_label,
    drawing,
    legend_above,
    new_figure,
    tick_marks,
)
from lensrec.view.points import checked, scaled_power

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LAYOUTS = {1: ["0"], 2: ["0", "1"], 3: ["00", "12"], 4: ["01", "23"]}


def cmb_bandpowers_figure(
    points: Mapping[str, Mapping[str, ArrayLike]],
    curves: Mapping[str, Mapping[str, NDArray]],
    *,
    title: str = "",
) -> "Figure":
    """Band powers D_ℓ with their errors on the curves of theory, and below each their distance from the first in σ.

    Parameters
    ----------
    points : mapping of "TT", "TE", "EE" or "BB" to mapping of arrays (nbins,)
        "ell", "power" and "sigma", D_ℓ in µK²; optionally "expected", what the first curve has through their windows
        (else the curve is read at "ell"), and "low" and "high", first and last multipole, drawn as widths.
    curves : mapping of label to mapping of key to array (lmax+1,)
        Raw C_ℓ in µK² from ℓ = 0, e.g. {"ΛCDM": …}; the first is what residuals are taken from.
    title : str

    Raises
    ------
    ValueError
        If there are no points, no curve, more than four spectra, or arrays that differ in length.
    """
    if not curves or len(points) not in _LAYOUTS:
        raise ValueError(f"a picture of band powers takes one to four spectra and a curve; got {len(points)} spectra")
    rows = _LAYOUTS[len(points)]
    layout: list[Any] = [[prefix + letter for letter in row] for row in rows for prefix in ("power ", "residual ")]
    with drawing():
        figure = new_figure(0.6 + 3.3 * len(rows))
        panels = figure.subplot_mosaic(layout, height_ratios=[2.4, 1.0] * len(rows))
        for number, (key, given) in enumerate(points.items()):
            values = checked(key, given, ("ell", "power", "sigma"))
            upper, lower = panels[f"power {number}"], panels[f"residual {number}"]
            for position, (label, spectra) in enumerate(curves.items()):
                if key in spectra:
                    power = scaled_power(spectra[key])
                    style: Any = {"color": GREY if position == 0 else SETS[position % len(SETS)][0]}
                    upper.plot(np.arange(2, len(power)), power[2:], label=label, linewidth=1.4, **style)
            first = next(iter(curves.values()))
            expected = values.get("expected")
            if expected is None:
                expected = np.interp(values["ell"], np.arange(len(first[key])), scaled_power(first[key]))
            width = [values["ell"] - values["low"], values["high"] - values["ell"]] if "low" in values else None
            marks: Any = {"fmt": "o", "color": SETS[0][0], "markersize": 3.4, "elinewidth": 1.0, "zorder": 3}
            upper.errorbar(values["ell"], values["power"], values["sigma"], width, label="band powers", **marks)
            pull = (values["power"] - expected) / values["sigma"]
            lower.axhspan(-1, 1, color="0.92", zorder=0)
            lower.axhline(0.0, color=GREY, linewidth=1.0)
            lower.plot(values["ell"], pull, marker="o", linestyle="none", color=SETS[0][0], markersize=3.4)
            half = max(3.5, 1.15 * float(np.abs(pull).max()))
            lower.set_ylim(-half, half)
            _frame(upper, lower, values)
            upper.set_ylabel(cmb_power_label(key))
            upper.set_ylim(*_power_range(expected, values))
        legend_above(panels["power 0"], title)
    return figure


def lensing_bandpowers_figure(
    curve: ArrayLike, sets: Mapping[str, Mapping[str, ArrayLike]], *, label: str = "fiducial", title: str = ""
) -> "Figure":
    """C_L^φφ of one or several sets of band powers over a fiducial spectrum, and their ratio to it.

    Parameters
    ----------
    curve : array (lmax+1,)
        Raw C_L^φφ from L = 0.
    sets : mapping of name to mapping of arrays (nbins,)
        "L", "power" and "sigma" in the scaling [L(L+1)]²C_L/2π; optionally "expected", the curve through their windows
        (else it is read at L), and "low" and "high", first and last multipole.
    label, title : str

    Raises
    ------
    ValueError
        If there are no sets, or arrays that differ in length.
    """
    if not sets:
        raise ValueError("a picture of lensing band powers needs one set at least")
    given = {name: checked(name, values, ("L", "power", "sigma")) for name, values in sets.items()}
    spectrum = np.asarray(curve, dtype=np.float64)
    L = np.arange(len(spectrum), dtype=np.float64)
    scaled = lensing_scaling(len(L) - 1) * spectrum
    low = max(min(float(values.get("low", values["L"]).min()) for values in given.values()), 2.0)
    high = min(max(float(values.get("high", values["L"]).max()) for values in given.values()), L[-1])
    with drawing():
        figure = new_figure(6.4)
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(2.0, 1.0))
        upper.plot(L[2:], 1e7 * scaled[2:], color=GREY, label=label)
        lower.axhline(1.0, color=GREY, linewidth=1.4)
        reach = 0.0
        for number, (name, values) in enumerate(given.items()):
            colour, marker = SETS[number % len(SETS)]
            # sets stand beside each other, a hundredth of the axis of log L apart
            x = values["L"] * (high / low) ** (0.01 * (number - 0.5 * (len(given) - 1)))
            width = [np.maximum(x - values["low"], 0), np.maximum(values["high"] - x, 0)] if "low" in values else None
            style: Any = {"fmt": marker, "color": colour, "markersize": 5.0, "elinewidth": 1.2}
            upper.errorbar(x, 1e7 * values["power"], 1e7 * values["sigma"], width, label=name, **style)
            expected = values.get("expected", np.interp(values["L"], L, scaled))
            ratio, error = values["power"] / expected, values["sigma"] / np.abs(expected)
            lower.errorbar(x, ratio, error, width, **style)
            reach = max(reach, float(np.percentile(np.abs(ratio - 1) + error, 90)))
        half = float(np.clip(1.15 * reach, 0.05, 1.5))
        lower.set_ylim(1 - half, 1 + half)
        inside = 1e7 * scaled[(low <= L) & (high >= L)]
        points = 1e7 * np.concatenate([v["power"] + v["sigma"] for v in given.values()])
        upper.set_ylim(0.0, 1.1 * max(float(inside.max()), min(float(points.max()), 2.0 * float(inside.max()))))
        upper.set_ylabel(rf"$10^7\,{LENSING_POWER}$")
        lower.set_ylabel(f"ratio to {label}" if len(label) < 14 else "ratio")
        for axes in (upper, lower):
            axes.set_xscale("log")
            axes.set_xlim(low / 1.08, high * 1.08)
            _plain_log_ticks(axes, low, high)
            tick_marks(axes)
        lower.set_xlabel(LENSING_MULTIPOLE)
        legend_above(upper, title)
    return figure


def correlation_figure(
    covariances: Mapping[str, NDArray],
    block: Sequence[str] | NDArray,
    *,
    limit: float | None = None,
    title: str = "",
) -> "Figure":
    """Correlation matrices of all band powers as images, side by side, with their blocks named.

    Parameters
    ----------
    covariances : mapping of name to array (n, n)
        E.g. {"analytic": …, "simulations": …}; one to three.
    block : sequence (n,) of str
        "TT", "TE", … of each band power; neighbours of one name make a block.
    limit : float, optional
        Correlation at the ends of the colours; the 99.5th percentile of what is off the diagonals if not given.
    title : str

    Raises
    ------
    ValueError
        If a matrix does not match the blocks, or has a variance that is not positive.
    """
    names = [str(one) for one in block]
    n = len(names)
    if not 1 <= len(covariances) <= 3:
        raise ValueError(f"a picture of correlations takes one to three matrices, got {len(covariances)}")
    matrices = {}
    for name, covariance in covariances.items():
        variance = np.diag(covariance)
        if np.shape(covariance) != (n, n) or not (variance > 0).all():
            raise ValueError(f"the covariance {name!r} must be ({n}, {n}) with a positive diagonal")
        matrices[name] = covariance / np.sqrt(np.outer(variance, variance))
    starts = [i for i in range(n) if i == 0 or names[i] != names[i - 1]]
    middles = [0.5 * (start + end - 1) for start, end in zip(starts, [*starts[1:], n], strict=True)]
    off = np.concatenate([np.abs(matrix[~np.eye(n, dtype=bool)]) for matrix in matrices.values()])
    if limit is None:
        limit = float(np.clip(np.percentile(off, 99.5) if off.size else 1.0, 0.02, 1.0))
    with drawing():
        wide = len(matrices)
        figure = new_figure({1: 6.0, 2: 5.3, 3: 4.1}[wide], {1: 6.8}.get(wide, 9.0 + 1.5 * (wide - 2)))
        panels = figure.subplots(1, wide, sharey=True, squeeze=False)[0]
        for axes, (name, matrix) in zip(panels, matrices.items(), strict=True):
            image = axes.imshow(matrix, cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest")
            for start in starts[1:]:
                axes.axhline(start - 0.5, color="black", linewidth=0.7)
                axes.axvline(start - 0.5, color="black", linewidth=0.7)
            labels = [_block_label(names[start]) for start in starts]
            axes.set_xticks(middles, labels)
            axes.set_yticks(middles, labels)
            axes.tick_params(length=0, labelsize=11.5)
            axes.set_title(name)
        bar = figure.colorbar(image, ax=list(panels), location="bottom", shrink=0.6, aspect=30, pad=0.02, extend="both")
        bar.set_label("correlation coefficient")
        if title:
            figure.suptitle(title, fontsize=12)
    return figure


def _frame(upper: "Axes", lower: "Axes", values: Mapping[str, NDArray]) -> None:
    high = float(values.get("high", values["ell"]).max())
    low = float(values.get("low", values["ell"]).min())
    for axes in (upper, lower):
        axes.set_xlim(max(low - 0.02 * (high - low), 0.0), high + 0.02 * (high - low))
        tick_marks(axes)
    upper.tick_params(labelbottom=False)
    lower.set_xlabel(MULTIPOLE)
    lower.set_ylabel(r"$\Delta D_\ell\,/\,\sigma$")
    lower.set_yticks([-2, 0, 2])


def _power_range(expected: NDArray, values: Mapping[str, NDArray]) -> tuple[float, float]:
    """Room for the curve, and for all error bars shorter than a third of its height."""
    height = float(np.ptp(np.append(expected, 0.0)))
    sure = values["sigma"] < height / 3
    ends = [values["power"][sure] - values["sigma"][sure], values["power"][sure] + values["sigma"][sure]]
    everything = np.concatenate([expected, [0.0], *ends])
    margin = 0.06 * float(np.ptp(everything)) or 1.0
    return float(everything.min()) - margin, float(everything.max()) + margin


def _plain_log_ticks(axes: "Axes", low: float, high: float) -> None:
    from matplotlib.ticker import FixedLocator, NullFormatter, NullLocator, ScalarFormatter

    ticks = [t for t in (2, 5, 10, 20, 40, 100, 200, 400, 700, 1000, 2000, 4000) if low / 1.08 <= t <= high * 1.08]
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.xaxis.set_minor_formatter(NullFormatter())


def _block_label(block: str) -> str:
    return r"$\phi\phi$" if block == "PP" else block

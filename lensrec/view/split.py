"""What the split of A_L into A_L^TTTEEE and A_L^φφ looks like: contours, the smoothing of the peaks, and a table."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lensrec.view.contours import (
    LABELS,
    LENSING,
    SMOOTHING,
    Samples,
    density_chain,
    draw_contours,
    set_handles,
    shown_limits,
)
from lensrec.view.figure import (
    GREY,
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


def corner_figure(
    sets: Mapping[str, Samples],
    *,
    parameters: Sequence[str] | None = None,
    weights: Mapping[str, ArrayLike] | None = None,
    title: str = "",
) -> "Figure":
    """68 and 95 % contours of every pair of parameters, and the distribution of each, smoothed by GetDist.

    Where both amplitudes meet, the line A_L^TTTEEE = A_L^φφ is drawn.

    Parameters
    ----------
    sets : mapping of label to mapping of parameter to array (n,)
        Samples.
    parameters : sequence of str, optional
        Which ones, from left to right; those of the first set if not given.
    weights : mapping of label to array (n,), optional
    title : str

    Raises
    ------
    ValueError
        If there are no samples, a parameter is missing, or lengths differ.
    """
    if not sets:
        raise ValueError("contours need the samples of one set at least")
    names = list(next(iter(sets.values()))) if parameters is None else list(parameters)
    chains = {
        label: density_chain(label, samples, names, (weights or {}).get(label)) for label, samples in sets.items()
    }
    count = len(names)
    with drawing():
        size = float(np.clip(1.75 * count, 4.5, 9.0))
        figure = new_figure(size, size)
        figure.set_layout_engine("none")  # arranged around their labels, panels would differ in size
        frame = {"left": 0.1, "bottom": 0.1, "right": 0.99, "top": 0.99, "wspace": 0.07, "hspace": 0.07}
        panels = figure.subplots(count, count, squeeze=False, gridspec_kw=frame)
        limits = {name: shown_limits([chain.get1DDensity(name) for chain in chains.values()]) for name in names}
        for row, y in enumerate(names):
            for column, x in enumerate(names):
                axes = panels[row, column]
                if column > row:
                    axes.set_axis_off()
                    continue
                if column == row:
                    for number, chain in enumerate(chains.values()):
                        density = chain.get1DDensity(x)
                        axes.plot(density.x, density.P / density.P.max(), color=SETS[number % len(SETS)][0])
                    axes.set_ylim(0.0, 1.08)
                    axes.set_yticks([])
                else:
                    for number, chain in enumerate(chains.values()):
                        draw_contours(axes, chain, x, y, SETS[number % len(SETS)][0])
                    axes.set_ylim(*limits[y])
                    _mark_unity(axes, x, y)
                axes.set_xlim(*limits[x])
                _corner_ticks(axes, x, y, bottom=row == count - 1, left=column == 0 and row > 0, small=count > 4)
        handles = set_handles(list(chains), line={SMOOTHING, LENSING} <= set(names))
        figure.legend(handles=handles, title=title or None, loc="upper right", bbox_to_anchor=(0.99, 0.98))
    return figure


def amplitudes_figure(
    sets: Mapping[str, Samples],
    *,
    weights: Mapping[str, ArrayLike] | None = None,
    title: str = "",
) -> "Figure":
    """Contours of A_L^TTTEEE and A_L^φφ alone, with the line on which they agree and the point where both are 1.

    Parameters
    ----------
    sets : mapping of label to mapping with "A_L_TTTEEE" and "A_L_phiphi", arrays (n,)
    weights : mapping of label to array (n,), optional
    title : str

    Raises
    ------
    ValueError
        If there are no samples, an amplitude is missing, or lengths differ.
    """
    if not sets:
        raise ValueError("contours need the samples of one set at least")
    pair = [SMOOTHING, LENSING]
    chains = {label: density_chain(label, samples, pair, (weights or {}).get(label)) for label, samples in sets.items()}
    with drawing():
        figure = new_figure(5.4, 7.2)
        axes = figure.subplots()
        spans = [shown_limits([chain.get1DDensity(name) for chain in chains.values()], include=1.0) for name in pair]
        for number, chain in enumerate(chains.values()):
            draw_contours(axes, chain, SMOOTHING, LENSING, SETS[number % len(SETS)][0])
        axes.set_xlim(*spans[0])
        axes.set_ylim(*spans[1])
        _mark_unity(axes, SMOOTHING, LENSING)
        axes.plot([1.0], [1.0], marker="*", markersize=13, color="black", linestyle="none", zorder=5)
        axes.set_xlabel(f"{LABELS[SMOOTHING]}   (smoothing of the peaks)", fontsize=13)
        axes.set_ylabel(f"{LABELS[LENSING]}   (reconstruction)", fontsize=13)
        tick_marks(axes)
        axes.grid(visible=False)
        handles = set_handles(list(chains), line=True, unity=True)
        columns = 2 if len(handles) == 4 else min(len(handles), 3)
        figure.legend(handles=handles, title=title or None, loc="outside upper center", ncols=columns)
    return figure


def smoothing_figure(
    points: Mapping[str, Mapping[str, ArrayLike]],
    templates: Mapping[str, Mapping[str, NDArray]],
    *,
    step: int = 60,
    title: str = "",
) -> "Figure":
    """Residuals of TT, TE and EE about the best fit of ΛCDM, in wide bins, and what more lensing would do to them.

    Points of one bin are averaged by w_i = 1/σ_i²; their error is [wᵀ C w]^½/Σw with the covariance C if it is given.

    Parameters
    ----------
    points : mapping of "TT", "TE" or "EE" to mapping of arrays (n,)
        "ell"; "residual", D_ℓ minus that of the best fit, in µK²; "sigma", or "covariance" (n, n).
    templates : mapping of label to mapping of key to array (lmax+1,)
        Raw ΔC_ℓ in µK² from ℓ = 0, e.g. {"A_L = 1.18": C_ℓ(A_L = 1.18) − C_ℓ(A_L = 1)}.
    step : int
        Multipoles in a bin.
    title : str

    Raises
    ------
    ValueError
        If there are no points, or arrays that differ in length.
    """
    if not points:
        raise ValueError("a picture of residuals needs those of one spectrum at least")
    with drawing():
        figure = new_figure(0.9 + 2.1 * len(points))
        panels = figure.subplots(len(points), 1, sharex=True, squeeze=False)[:, 0]
        low, high = np.inf, 0.0
        for axes, (key, given) in zip(panels, points.items(), strict=True):
            ell, residual, sigma = rebinned(key, given, step)
            tops = []
            for number, (label, spectra) in enumerate(templates.items()):
                if key in spectra:
                    power = scaled_power(spectra[key])[2:]
                    axes.plot(np.arange(2, len(power) + 2), power, color=SETS[1 + number][0], label=label, zorder=2.5)
                    tops.append(float(np.abs(power[: int(ell.max())]).max()))
            axes.axhline(0.0, color=GREY, linewidth=1.0)
            style: Any = {"fmt": "o", "color": SETS[0][0], "markersize": 4.0, "elinewidth": 1.1, "zorder": 3}
            # the points that tell most of smoothing fill the panel; the noisiest are faint and run out of it
            half = 1.2 * max(float(np.percentile(np.abs(residual) + sigma, 55)), *(1.6 * top for top in tops), 1e-12)
            noisy = sigma > half
            name = rf"residual, bins of $\Delta\ell$ = {step}"
            axes.errorbar(ell[~noisy], residual[~noisy], sigma[~noisy], label=name, **style)
            axes.errorbar(ell[noisy], residual[noisy], sigma[noisy], alpha=0.3, **style)
            axes.set_ylim(-half, half)
            axes.set_ylabel(cmb_power_label(key, of=r"\Delta "))
            tick_marks(axes)
            low, high = min(low, float(ell.min())), max(high, float(ell.max()))
        panels[-1].set_xlim(max(low - step, 0), high + step)
        panels[-1].set_xlabel(MULTIPOLE)
        legend_above(panels[0], title, columnspacing=2.0)
    return figure


def rebinned(
    key: str, given: Mapping[str, ArrayLike], step: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Mean multipoles, residuals and errors of bins of `step` multipoles, as `smoothing_figure` draws them."""
    covariance = given.get("covariance")
    values = checked(key, {name: value for name, value in given.items() if name != "covariance"}, ("ell", "residual"))
    n = len(values["ell"])
    if covariance is None:
        if "sigma" not in values:
            raise ValueError(f"the points of {key} lack sigma or a covariance")
        covariance = np.diag(values["sigma"] ** 2)
    covariance = np.asarray(covariance, dtype=np.float64)
    if covariance.shape != (n, n):
        raise ValueError(f"{n} points of {key}, but a covariance of shape {covariance.shape}")
    band = np.floor(values["ell"] / step).astype(np.int64)
    weight = (band == np.unique(band)[:, None]) / np.diag(covariance)
    weight /= weight.sum(axis=1, keepdims=True)
    sigma = np.sqrt(np.einsum("bi,ij,bj->b", weight, covariance, weight))
    return weight @ values["ell"], weight @ values["residual"], sigma


def split_table(summary: Mapping[str, Any]) -> str:
    """The result of a split for the terminal.

    Parameters
    ----------
    summary : mapping
        As in split.json: "A_L_TTTEEE", "A_L_phiphi" and "delta", each {"mean", "sigma"} or None; "correlation",
        "delta_n_sigma"; where there are, "delta_pte", "chi2" and "ndof" of all, and "chi2_blocks", a mapping of
        name to {"chi2", "n"}; "A_L_phiphi_held" and "parts", mappings of name to {"mean", "sigma"}; "warnings",
        lines, of all and of each part.

    Returns
    -------
    str
        Lines without colour, the last without an end.
    """
    from scipy.stats import chi2 as chi2_distribution

    names = {SMOOTHING: "A_L^TTTEEE", LENSING: "A_L^φφ"}
    rows = [(name, _measured(summary[key])) for key, name in names.items() if summary[key] is not None]
    if summary["delta"] is not None:
        rows += [
            ("correlation", f"{summary['correlation']:+7.3f}"),
            ("Δ = A_L^TTTEEE − A_L^φφ", f"{_measured(summary['delta'])}   {summary['delta_n_sigma']:+.2f} σ"),
        ]
        if "delta_pte" in summary:
            rows.append(("PTE of A_L^TTTEEE = A_L^φφ", f"{summary['delta_pte']:7.3f}"))
    for name, part in summary.get("parts", {}).items():
        rows.append((f"{'A_L^φφ' if name.startswith('L') else 'A_L^TTTEEE'}, {name} alone", _measured(part)))
    for name, held in summary.get("A_L_phiphi_held", {}).items():
        rows.append((f"A_L^φφ of {name}, ΛCDM held", _measured(held)))
    blocks = {
        str(name): {"chi2": block["chi2"], "ndof": block["n"]} for name, block in summary.get("chi2_blocks", {}).items()
    }
    if "chi2" in summary and "ndof" in summary:
        blocks["all"] = {"chi2": summary["chi2"], "ndof": summary["ndof"]}
    width = max(len(name) for name, _ in rows) + 2
    lines = [f"{name:<{width}}{value}" for name, value in rows]
    if blocks:
        lines += ["", f"{'':<{width}}{'χ²':>9}  {'n':>5}  {'PTE':>6}"]
        for name, block in blocks.items():
            pte = float(chi2_distribution.sf(block["chi2"], block["ndof"])) if block["ndof"] > 0 else np.nan
            shown = f"{pte:6.3f}" if np.isfinite(pte) else f"{'–':>6}"
            lines.append(f"{name.replace('PP', 'φφ'):<{width}}{block['chi2']:9.1f}  {block['ndof']:5.0f}  {shown}")
    lines += [f"warning: {text}" for text in summary.get("warnings", ())]
    for name, part in summary.get("parts", {}).items():
        lines += [f"warning: {name} alone: {text}" for text in part.get("warnings", ())]
    return "\n".join(lines)


def _measured(value: Mapping[str, float]) -> str:
    return f"{value['mean']:+7.3f} ± {value['sigma']:.3f}"


def _mark_unity(axes: "Axes", x: str, y: str) -> None:
    """Faint lines where an amplitude is 1, and the line of equal amplitudes where both meet."""
    if x in (SMOOTHING, LENSING):
        axes.axvline(1.0, color="0.6", linewidth=0.8, linestyle=":", zorder=0.5)
    if y in (SMOOTHING, LENSING):
        axes.axhline(1.0, color="0.6", linewidth=0.8, linestyle=":", zorder=0.5)
    if {x, y} == {SMOOTHING, LENSING}:
        axes.axline((1.0, 1.0), slope=1.0, color="black", linewidth=1.3, linestyle="--", zorder=4)


def _corner_ticks(axes: "Axes", x: str, y: str, *, bottom: bool, left: bool, small: bool) -> None:
    from matplotlib.ticker import MaxNLocator

    size = 8.5 if small else 10.0
    axes.xaxis.set_major_locator(MaxNLocator(3, prune="both"))
    axes.tick_params(direction="in", top=True, right=True, labelsize=size, labelbottom=bottom, labelleft=left)
    axes.tick_params(axis="x", labelrotation=30.0 if small else 0.0)
    if x != y:
        axes.yaxis.set_major_locator(MaxNLocator(3, prune="both"))
    if bottom:
        axes.set_xlabel(LABELS.get(x, x))
    if left:
        axes.set_ylabel(LABELS.get(y, y))

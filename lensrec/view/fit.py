"""What a fit says of neutrino masses: posteriors over zero, degeneracies, C_L^φφ of models, ellipses to come."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lensrec.view.contours import LABELS, Samples, density_chain, draw_contours, set_handles, shown_limits
from lensrec.view.figure import GREY, LENSING_MULTIPOLE, SETS, drawing, legend_above, new_figure, tick_marks

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MASS = r"$\Sigma m_\nu$ [eV]"

_LABELS: Mapping[str, str] = {
    **LABELS,
    "mnu": MASS,
    "omega_m": r"$\Omega_m$",
    "w": r"$w_0$",
    "wa": r"$w_a$",
    "z_dagger": r"$z_\dagger$",
    "H0": r"$H_0$ [km/s/Mpc]",
}

Bounds = Sequence[tuple[float, str]]
"""(Σmν in eV, what bounds it there) of lines to be drawn."""


def mass_figure(
    posteriors: Mapping[str, tuple[ArrayLike, ArrayLike]], *, floors: Bounds = (), title: str = ""
) -> "Figure":
    """Posteriors of Σmν of either sign, with zero and the bounds of experiments as lines.

    Parameters
    ----------
    posteriors : mapping of label to (samples (n,) in eV, weights (n,))
    floors : sequence of (value in eV, label)
        Such as the least sums that oscillations allow; drawn, and no prior of anything.
    """
    with drawing():
        figure = new_figure(4.6)
        axes = figure.subplots()
        densities = [
            density_chain(label, {"mnu": values}, ["mnu"], weights).get1DDensity("mnu")
            for label, (values, weights) in posteriors.items()
        ]
        low, high = shown_limits(densities, include=0.0)
        high = max(high, 0.12)  # so that the bounds of oscillations are seen
        for number, (label, density) in enumerate(zip(posteriors, densities, strict=True)):
            colour, _ = SETS[number % len(SETS)]
            style = "-" if number < len(SETS) else "--"
            axes.plot(density.x, density.P / density.P.max(), color=colour, linestyle=style, label=label)
            axes.fill_between(density.x, 0, density.P / density.P.max(), color=colour, alpha=0.07, linewidth=0)
        axes.axvline(0.0, color="black", linewidth=1.0)
        for number, (value, label) in enumerate(floors):
            if value < high:
                style = (":", "--", "-.")[number % 3]
                axes.axvline(value, color=GREY, linewidth=1.3, linestyle=style, label=f"{label}, {value:.3g} eV")
        axes.set(xlabel=MASS, ylabel="posterior / maximum", ylim=(0.0, 1.08), xlim=(low, high))
        tick_marks(axes)
        legend_above(axes, title, ncols=2)
    return figure


def degeneracy_figure(
    sets: Mapping[str, Samples],
    weights: Mapping[str, ArrayLike],
    *,
    against: Sequence[str],
    parameter: str = "mnu",
    title: str = "",
) -> "Figure":
    """Contours of one parameter against several others, side by side, 68 and 95 %.

    Sets that lack a parameter are left out of its panel.
    """
    with drawing():
        figure = new_figure(3.9)
        panels = np.atleast_1d(figure.subplots(1, len(against), sharey=True))
        for axes, other in zip(panels, against, strict=True):
            chains = []
            for number, (label, samples) in enumerate(sets.items()):
                if other not in samples or parameter not in samples:
                    continue
                chain = density_chain(label, samples, [other, parameter], weights.get(label))
                draw_contours(axes, chain, other, parameter, SETS[number % len(SETS)][0])
                chains.append(chain)
            axes.axhline(0.0, color="black", linewidth=0.8)
            if chains:
                axes.set_xlim(*shown_limits([chain.get1DDensity(other) for chain in chains]))
            axes.set_xlabel(_LABELS.get(other, other))
            tick_marks(axes)
        panels[0].set_ylabel(MASS)
        handles = set_handles(list(sets), line=False)
        figure.legend(handles=handles, title=title or None, loc="outside upper center", ncols=2)
    return figure


def coloured_figure(samples: Samples, weights: ArrayLike, *, title: str = "", points: int = 3000) -> "Figure":
    """w_0 and w_a of a chain, each point in the colour of its Σmν, and ΛCDM's place."""
    w = np.asarray(weights, dtype=np.float64)
    drawn = np.random.default_rng(0).choice(len(w), size=min(points, len(w)), p=w / w.sum())
    columns = {name: np.asarray(samples[name])[drawn] for name in ("w", "wa", "mnu")}
    with drawing():
        figure = new_figure(4.8, 6.5)
        axes = figure.subplots()
        edge = float(np.quantile(np.abs(columns["mnu"]), 0.98))
        seen = axes.scatter(
            columns["w"], columns["wa"], c=columns["mnu"], s=6, cmap="coolwarm", vmin=-edge, vmax=edge, linewidths=0
        )
        axes.plot(-1, 0, marker="*", markersize=13, color="black", linestyle="none", label="ΛCDM")
        ends = np.array(axes.get_xlim())
        axes.plot(ends, -ends - 1, color=GREY, linewidth=0.8, linestyle=":", label="$w_0+w_a=-1$")
        axes.set(xlabel=r"$w_0$", ylabel=r"$w_a$", xlim=ends)
        figure.colorbar(seen, ax=axes, label=MASS)
        tick_marks(axes)
        axes.legend(title=title or None, loc="upper right")
    return figure


def ratio_figure(
    ratios: Mapping[str, NDArray], *, errors: tuple[ArrayLike, ArrayLike, ArrayLike] | None = None, title: str = ""
) -> "Figure":
    """C_L^φφ of models over that of ΛCDM, with measured band powers' relative errors as a band.

    Parameters
    ----------
    ratios : mapping of label to array (L_max+1,)
        From L = 0; drawn from 8 on.
    errors : (L, relative band power, relative error), optional
        Points.
    """
    with drawing():
        figure = new_figure(4.4)
        axes = figure.subplots()
        if errors is not None:
            at, value, sigma = (np.asarray(one) for one in errors)
            axes.errorbar(at, value, yerr=sigma, fmt="o", color=GREY, markersize=4, label="band powers / ΛCDM")
        for number, (label, ratio) in enumerate(ratios.items()):
            ell = np.arange(8, len(ratio))
            axes.plot(ell, ratio[8:], color=SETS[number % len(SETS)][0], label=label)
        axes.axhline(1.0, color="black", linewidth=0.8)
        axes.set(xscale="log", xlabel=LENSING_MULTIPOLE, ylabel=r"$C_L^{\phi\phi}$ / that of $\Lambda$CDM")
        tick_marks(axes)
        legend_above(axes, title, ncols=2)
    return figure


def suppression_figure(
    k: ArrayLike,
    curves: Mapping[str, tuple[ArrayLike, float]],
    *,
    scales: Bounds = (),
    dashed: Mapping[str, ArrayLike] | None = None,
    title: str = "",
) -> "Figure":
    """ΔP/P over f_ν by wavenumber, which linear theory puts near −8 where neutrinos have streamed freely.

    Parameters
    ----------
    k : array (nk,)
        In h/Mpc.
    curves : mapping of label to (ΔP/P (nk,), f_ν)
    scales : sequence of (k in h/Mpc, label)
        Vertical lines.
    dashed : mapping of label to array (nk,), optional
        Already over f_ν.
    """
    x = np.asarray(k, dtype=np.float64)
    with drawing():
        figure = new_figure(4.4)
        axes = figure.subplots()
        for number, (label, (change, share)) in enumerate(curves.items()):
            axes.plot(x, np.asarray(change) / share, color=SETS[number % len(SETS)][0], label=label)
        for number, (label, change) in enumerate((dashed or {}).items(), start=len(curves)):
            axes.plot(x, change, color=SETS[number % len(SETS)][0], linestyle="--", label=label)
        axes.axhline(-8.0, color="black", linewidth=0.8)
        axes.text(x[0], -8.0, r" $-8$", va="bottom", ha="left", fontsize=10)
        for number, (value, label) in enumerate(scales):
            axes.axvline(value, color=GREY, linewidth=1.0, linestyle=(":", "--", "-.")[number % 3])
            axes.text(value, 0.3, f" {label}", color=GREY, fontsize=10, ha="left", va="bottom")
        axes.set(xscale="log", xlabel=r"$k$ [$h$/Mpc]", ylabel=r"$(\Delta P/P)\,/\,f_\nu$", xlim=(x[0], x[-1]))
        axes.set_ylim(None, 1.2)
        tick_marks(axes)
        legend_above(axes, title, ncols=2)
    return figure


def ellipses_figure(
    covariances: Mapping[str, tuple[Sequence[str], NDArray]],
    centre: Mapping[str, float],
    pairs: Sequence[tuple[str, str]],
    *,
    title: str = "",
) -> "Figure":
    """68 and 95 % ellipses of forecasts about a centre, a panel for each pair of parameters.

    Parameters
    ----------
    covariances : mapping of label to (names, matrix (p, p))
    centre : mapping of name to float
    pairs : sequence of (x, y)
    """
    with drawing():
        figure = new_figure(3.9)
        panels = np.atleast_1d(figure.subplots(1, len(pairs)))
        for axes, (x, y) in zip(panels, pairs, strict=True):
            for number, (names, matrix) in enumerate(covariances.values()):
                if x not in names or y not in names:
                    continue
                at = [list(names).index(x), list(names).index(y)]
                _ellipses(axes, np.asarray(matrix)[np.ix_(at, at)], (centre[x], centre[y]), SETS[number % len(SETS)][0])
            if y == "mnu":
                axes.axhline(0.0, color="black", linewidth=0.8)
            axes.set(xlabel=_LABELS.get(x, x), ylabel=_LABELS.get(y, y))
            tick_marks(axes)
        handles = set_handles(list(covariances), line=False)
        figure.legend(handles=handles, title=title or None, loc="outside upper center", ncols=2)
    return figure


def _ellipses(axes: "Axes", covariance: NDArray, centre: tuple[float, float], colour: str) -> None:
    root = np.linalg.cholesky(covariance)
    angle = np.linspace(0, 2 * np.pi, 200)
    circle = np.stack([np.cos(angle), np.sin(angle)])
    # Δχ² of 68 and 95 % for two parameters: −2 ln(1 − p)
    for level, alpha in ((0.95, 0.15), (0.68, 0.4)):
        x, y = root @ circle * np.sqrt(-2 * np.log(1 - level)) + np.array(centre)[:, None]
        axes.fill(x, y, color=colour, alpha=alpha, linewidth=0)
        axes.plot(x, y, color=colour, linewidth=1.0)

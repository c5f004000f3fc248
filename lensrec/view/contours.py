"""What pictures of posteriors share: names of parameters, densities by GetDist, contours, and the legend of sets."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from lensrec.view.figure import SETS
from lensrec.view.points import checked

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SMOOTHING, LENSING = "A_L_TTTEEE", "A_L_phiphi"
"""Names of the two amplitudes among samples and in split.json."""

LABELS: Mapping[str, str] = {
    SMOOTHING: r"$A_L^{TTTEEE}$",
    LENSING: r"$A_L^{\phi\phi}$",
    "H0": r"$H_0$",
    "ombh2": r"$\Omega_b h^2$",
    "omch2": r"$\Omega_c h^2$",
    "ns": r"$n_s$",
    "logA": r"$\ln(10^{10}A_s)$",
    "As": r"$A_s$",
    "tau": r"$\tau$",
    "cosmomc_theta": r"$\theta_{\rm MC}$",
    "theta_star": r"$\theta_*$",
    "mnu": r"$\Sigma m_\nu$",
    "w": r"$w_0$",
    "wa": r"$w_a$",
    "z_dagger": r"$z_\dagger$",
    "omegam": r"$\Omega_m$",
    "omega_m": r"$\Omega_m$",
    "sigma8": r"$\sigma_8$",
}

Samples = Mapping[str, ArrayLike]


def density_chain(label: str, samples: Samples, names: Sequence[str], weights: ArrayLike | None) -> Any:
    """Samples of some parameters as GetDist's, from which densities come.

    Raises
    ------
    ValueError
        If a parameter is missing, or lengths differ.
    """
    from getdist import MCSamples, chains

    arrays = checked(label, {name: samples[name] for name in names if name in samples}, names)
    table = np.column_stack([arrays[name] for name in names])
    weight = None if weights is None else np.asarray(weights, dtype=np.float64)
    if weight is not None and weight.shape != (len(table),):
        raise ValueError(f"{len(table)} samples of {label}, but weights of shape {weight.shape}")
    talkative = chains.print_load_details
    chains.print_load_details = False
    try:
        return MCSamples(samples=table, weights=weight, names=list(names), settings={"ignore_rows": 0})
    finally:
        chains.print_load_details = talkative


def shown_limits(densities: Sequence[Any], include: float | None = None) -> tuple[float, float]:
    """Where any of the distributions is above a thousandth of its peak, and a value besides."""
    inside = [density.x[1e-3 * density.P.max() < density.P] for density in densities]
    low, high = min(float(x.min()) for x in inside), max(float(x.max()) for x in inside)
    if include is not None:
        low, high = min(low, include - 0.05 * (high - low)), max(high, include + 0.05 * (high - low))
    return low, high


def draw_contours(axes: "Axes", chain: Any, x: str, y: str, colour: str) -> None:
    """68 and 95 % of two parameters of a chain, filled."""
    density = chain.get2DDensityGridData(x, y, num_plot_contours=2)
    inner, outer = sorted(density.contours, reverse=True)
    top = float(density.P.max()) * 1.01
    axes.contourf(density.x, density.y, density.P, [outer, inner], colors=[colour], alpha=0.3)
    axes.contourf(density.x, density.y, density.P, [inner, top], colors=[colour], alpha=0.7)
    axes.contour(density.x, density.y, density.P, [outer, inner], colors=[colour], linewidths=1.0)


def set_handles(labels: Sequence[str], *, line: bool, unity: bool = False) -> list[Any]:
    """Of a legend: a patch for each set, and for the line of equal amplitudes and the point where both are 1."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    colours = [SETS[number % len(SETS)][0] for number in range(len(labels))]
    handles: list[Any] = [
        Patch(color=colour, alpha=0.7, label=name) for colour, name in zip(colours, labels, strict=True)
    ]
    if line:
        both = f"{LABELS[SMOOTHING]} = {LABELS[LENSING]}"
        handles.append(Line2D([], [], color="black", linewidth=1.3, linestyle="--", label=both))
    if unity:
        star: Any = {"marker": "*", "markersize": 11, "color": "black", "linestyle": "none"}
        handles.append(Line2D([], [], label="both 1", **star))
    return handles

"""What a split leaves in a folder: split.json, samples and pictures."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lensrec.fit.band_power_model import POTENTIAL, SMOOTHING
from lensrec.fit.response_surface import ResponseSurface
from lensrec.fit.split import TEMPLATE, Split
from lensrec.rundir import write_json, write_table
from lensrec.spectra.linear_data import LinearData
from lensrec.stages.bandpowers_view import lensing_points
from lensrec.view.bandpowers import lensing_bandpowers_figure
from lensrec.view.figure import save_figure
from lensrec.view.split import amplitudes_figure, corner_figure, smoothing_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def write_split(
    out: Path,
    data: LinearData,
    found: Split,
    surface: ResponseSurface,
    lensing: Mapping[str, LinearData],
    *,
    title: str = "",
    also: Mapping[str, Any] | None = None,
) -> None:
    """split.json, samples.ecsv and pictures/ of a split; split.json comes last.

    Parameters
    ----------
    lensing : mapping of name to LinearData
        Whose band powers of C_L^φφ are drawn.
    also : mapping, optional
        What else split.json is to say.
    """
    columns = {name: found.samples.points[:, k] for k, name in enumerate(found.names)}
    samples = {"weight": found.samples.weights, **columns, **found.derived}
    write_table(out / "samples.ecsv", samples, {}, "samples of the posterior with their weights, which add up to 1")
    for name, figure in split_figures(data, found, surface, lensing, title=title).items():
        save_figure(figure, out / "pictures" / f"{name}.png")
    write_json(out / "split.json", {**found.summary(), **(also or {})})


def split_figures(
    data: LinearData, found: Split, surface: ResponseSurface, lensing: Mapping[str, LinearData], *, title: str = ""
) -> dict[str, "Figure"]:
    """Pictures of a split, by name: amplitudes and corner where both are free, smoothing, lensing."""
    figures: dict[str, Figure] = {}
    samples = {name: found.samples.points[:, k] for k, name in enumerate(found.names)} | dict(found.derived)
    sets, weights = {title: samples}, {title: found.samples.weights}
    if {SMOOTHING, POTENTIAL} <= set(found.names):
        figures["amplitudes"] = amplitudes_figure(sets, weights=weights)
    shown = [name for name in (SMOOTHING, POTENTIAL, "H0", "omch2", "logA", "ns", "tau") if name in samples]
    if len(found.names) > 1:
        figures["corner"] = corner_figure(sets, parameters=shown, weights=weights)
    theta = found.parameters[:6]
    a_smooth, a_phi = (found.parameters[6], found.parameters[7])
    if points := _smoothing_points(data, found):
        best = surface.spectra(theta, a_smooth=1.0)
        more = surface.spectra(theta, a_smooth=1.0 + TEMPLATE)
        template = {key: more[key] - best[key] for key in points}
        figures["smoothing"] = smoothing_figure(points, {f"A_L = {1.0 + TEMPLATE:.2f}": template}, title=title)
    curve = surface.spectra(theta, a_smooth=a_smooth, a_phi=1.0)["PP"]
    drawn = {name: one for name, one in lensing.items() if (one.block == "PP").any()}
    if drawn:
        figures["lensing"] = lensing_bandpowers_figure(
            curve,
            {name: lensing_points(one, curve) for name, one in drawn.items()},
            label="best ΛCDM",
            title=f"{title}: A_L^φφ = {a_phi:.3f}" if POTENTIAL in found.names else title,
        )
    return figures


def _smoothing_points(data: LinearData, found: Split) -> dict[str, dict[str, NDArray]]:
    """Residuals about the best fit with the excess smoothing put back, D_ℓ in µK²: what A_L = 1.18 is drawn over."""
    points = {}
    excess = found.template / TEMPLATE * (found.parameters[6] - 1.0)
    for key in ("TT", "TE", "EE"):
        rows = (data.block == key) & (data.low >= 30)
        if not rows.any() or key not in data.windows:
            continue
        window = data.windows[key][rows]
        ell = np.arange(window.shape[1])
        scale = ell * (ell + 1) / (2 * np.pi)
        flat = window.sum(1)
        # What a band power counts in D_ℓ: exact for windows on D_ℓ, and the local ratio for those on C_ℓ.
        per = np.where(np.abs(window @ (1 / np.maximum(scale, 0.1)) - 1) < 0.1, 1.0, (window @ scale) / flat)
        points[key] = {
            "ell": data.centre[rows],
            "residual": per * (found.residual + excess)[rows],
            "covariance": data.covariance[np.ix_(rows, rows)] * np.outer(per, per),
        }
    return points

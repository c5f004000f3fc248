"""Pictures of band powers: T and E, φφ, and the correlations of all."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lensrec.spectra.linear_data import CMB_BLOCKS, LinearData
from lensrec.view.bandpowers import cmb_bandpowers_figure, correlation_figure, lensing_bandpowers_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Spectra = Mapping[str, NDArray[np.float64]]


def bandpower_figures(
    data: LinearData, fiducial: Spectra, covariances: Mapping[str, NDArray], *, title: str = ""
) -> dict[str, "Figure"]:
    """Pictures by name; `covariances` are drawn beside each other."""
    figures = {"bandpowers": cmb_figure(data, fiducial, title=title)} if (data.block != "PP").any() else {}
    if (data.block == "PP").any():
        figures["bandpowers_phi"] = lensing_bandpowers_figure(
            fiducial["PP"], {title or data.name: lensing_points(data, fiducial["PP"])}
        )
    figures["correlation"] = correlation_figure(covariances, data.block.tolist(), title=title)
    return figures


def cmb_figure(data: LinearData, fiducial: Spectra, *, title: str = "") -> "Figure":
    """Band powers of T and E on the fiducial curves."""
    expected, sigma = data.expected(fiducial), np.sqrt(np.diag(data.covariance))
    points = {}
    for key in CMB_BLOCKS:
        rows = data.block == key
        if rows.any():
            points[key] = {
                "ell": data.centre[rows],
                "low": data.low[rows].astype(np.float64),
                "high": data.high[rows].astype(np.float64),
                "power": data.mean[rows],
                "sigma": sigma[rows],
                "expected": expected[rows],
            }
    top = int(data.high[data.block != "PP"].max()) + 50
    curves = {key: fiducial[key][: top + 1] for key in points}
    return cmb_bandpowers_figure(points, {"fiducial": curves}, title=title)


def lensing_points(data: LinearData, curve: NDArray) -> dict[str, NDArray]:
    """Band powers of φφ in the scaling [L(L+1)]²/2π, whatever theirs is, with what a C_L^φφ has in them."""
    rows = data.block == "PP"
    window = data.windows["PP"][rows]
    ell = np.arange(window.shape[1], dtype=np.float64)
    scaled = (ell * (ell + 1)) ** 2 / (2 * np.pi) * curve[: len(ell)]
    expected = window @ curve[: len(ell)]
    # D_L of the curve at the band's centre over its band power takes any scaling to this one.
    factor = np.interp(data.centre[rows], ell, scaled) / expected
    return {
        "L": data.centre[rows],
        "low": data.low[rows].astype(np.float64),
        "high": data.high[rows].astype(np.float64),
        "power": factor * data.mean[rows],
        "sigma": np.abs(factor) * np.sqrt(np.diag(data.covariance)[rows]),
        "expected": factor * expected,
    }

"""The spectra of harmonic coefficients at a glance, whatever field they are of."""

from collections.abc import Mapping
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lensrec.sky.inspection import band_edges
from lensrec.view.figure import LENSING_MULTIPOLE, LENSING_POWER, MULTIPOLE, SETS, drawing, new_figure, tick_marks
from lensrec.view.patch_svg import squared

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BANDS = 30


def field_spectrum_figure(spectra: Mapping[str, NDArray], *, kind: str = "", unit: str = "") -> "Figure":
    """Spectra on logarithmic axes, multipole by multipole and averaged in bands; of what is negative, the size.

    Parameters
    ----------
    spectra : mapping of name to array (lmax+1,)
        Raw C_ℓ from ℓ = 0.
    kind : "phi", "kappa" or another word
        [L(L+1)]² C_L/2π of a potential, C_L of a convergence, ℓ(ℓ+1) C_ℓ/2π of other fields.
    unit : str
        Of the field.

    Raises
    ------
    ValueError
        If there is none, or one ends below ℓ = 3.
    """
    if not spectra or min(len(cl) for cl in spectra.values()) < 4:
        raise ValueError("a picture of spectra needs one that reaches ℓ = 3 at least")
    lensing = kind in ("phi", "kappa")
    with drawing():
        figure = new_figure(4.2)
        axes = figure.subplots()
        for number, (name, cl) in enumerate(spectra.items()):
            ell = np.arange(len(cl), dtype=np.float64)
            power = _scale(ell, kind) * np.asarray(cl, dtype=np.float64)
            colour, marker = SETS[number % len(SETS)]
            axes.plot(ell[2:], np.abs(power[2:]), color=colour, linewidth=0.6, alpha=0.3)
            edges = band_edges(len(cl) - 1, BANDS)
            middle, mean = [], []
            for low, high in pairwise(edges.tolist()):
                modes = 2 * ell[low:high] + 1
                middle.append(np.average(ell[low:high], weights=modes))
                mean.append(np.average(power[low:high], weights=modes))
            size = np.abs(np.array(mean))
            filled = np.where(np.array(mean) < 0, "white", colour)
            label = f"|{name}|" if (power[2:] < 0).any() else name
            axes.plot(middle, size, color=colour, linewidth=1.0, label=label)
            axes.scatter(middle, size, c=filled, edgecolors=colour, marker=marker, s=18, zorder=3)
        axes.set(xscale="log", yscale="log", xlim=(2, max(len(cl) for cl in spectra.values()) - 1))
        axes.set_xlabel(LENSING_MULTIPOLE if lensing else MULTIPOLE)
        label = r"$\ell(\ell+1)\,C_\ell/2\pi$" + (f" [{squared(unit)}]" if unit else "")
        axes.set_ylabel({"phi": f"${LENSING_POWER}$", "kappa": r"$C_L^{\kappa\kappa}$"}.get(kind, label))
        tick_marks(axes)
        if len(spectra) > 1:
            axes.legend(loc="best")
    return figure


def _scale(ell: NDArray[np.float64], kind: str) -> NDArray[np.float64]:
    if kind == "kappa":
        return np.ones_like(ell)
    power = ell * (ell + 1.0)
    return power**2 / (2.0 * np.pi) if kind == "phi" else power / (2.0 * np.pi)

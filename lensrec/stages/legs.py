"""Legs: what a map is made into before it is multiplied, once for all estimators and all pairs that it enters."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lensrec.filtering.isotropic import filter_alm
from lensrec.quadratic.joint import filter_jointly
from lensrec.sphere.alm import alm_to_cl, lmax_of, resize_alm
from lensrec.stages.setting import Setting


@dataclass(frozen=True, eq=False)
class Legs:
    """Inverse-variance filtered alm of one map.

    Attributes
    ----------
    separate : dict of "T", "E", "B" to array (nalm,)
        T filtered by itself, E and B by themselves.
    joint : dict of "T", "E", "B" to array (nalm,)
        T and P filtered together, for GMV; empty without it.
    """

    separate: dict[str, NDArray]
    joint: dict[str, NDArray]

    def names(self) -> list[str]:
        """Names of the rows of `stacked`."""
        return [*self.separate, *(f"{field}_JOINT" for field in self.joint)]

    def stacked(self) -> NDArray:
        """All of them, (rows, nalm), at the largest lmax; `unstacked` gives the same back."""
        rows = [*self.separate.values(), *self.joint.values()]
        lmax = max(lmax_of(len(row)) for row in rows)
        return np.stack([resize_alm(row, lmax) for row in rows])


def unstacked(rows: NDArray, setting: Setting) -> Legs:
    """Legs from their rows, as `Legs.stacked` gives them."""
    separate = list(setting.filters)
    return Legs(
        dict(zip(separate, rows, strict=False)),
        dict(zip("TEB", rows[len(separate) :], strict=True)) if setting.joint else {},
    )


def isotropic_legs(alm: Mapping[str, NDArray], setting: Setting) -> Legs:
    """Legs from beam-deconvolved alm, by filters that are diagonal in ℓ."""
    return Legs(
        {field: filter_alm(alm[field], filt) for field, filt in setting.filters.items()},
        filter_jointly(alm, setting.joint) if setting.joint else {},
    )


def leg_spectra(legs: Legs, setting: Setting, fsky: float) -> dict[str, NDArray[np.float64]]:
    """Total spectra of the beam-deconvolved sky that the legs imply, cl(X̄, Ȳ)/(F^X F^Y f_sky).

    Parameters
    ----------
    fsky : float
        ⟨w²⟩ of the mask, or the fraction of the sky that an optimal filter sees.

    Returns
    -------
    dict of "TT", "EE", "BB", "TE" to array (lmax+1,)
        Multipole by multipole, not smoothed; outside the range of a filter, those of the setting.
    """
    out = {key: np.array(cl) for key, cl in setting.totals.items()}
    for key in out:
        if key[0] not in legs.separate or key[1] not in legs.separate:
            continue
        a, b = setting.filters[key[0]], setting.filters[key[1]]
        size = min(len(a), len(b))
        first, second = (resize_alm(legs.separate[field], size - 1) for field in key)
        scale = a[:size] * b[:size] * fsky
        read = np.flatnonzero(scale)
        out[key][read] = alm_to_cl(first, second)[read] / scale[read]
    return out


def mean_spectra(each: Sequence[Mapping[str, NDArray]]) -> dict[str, NDArray[np.float64]]:
    """The mean of several sets of spectra."""
    return {key: np.mean([spectra[key] for spectra in each], axis=0) for key in each[0]}

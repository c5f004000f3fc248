"""From a table of band powers, as a reconstruction gives it, to the points that pictures take."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

_PREFIX = "auto_"


def estimators_in(table: Mapping[str, NDArray]) -> list[str]:
    """The estimators that a table has band powers of, in its order."""
    return [name.removeprefix(_PREFIX) for name in table if name.startswith(_PREFIX)]


def phi_points(table: Mapping[str, NDArray], keys: Sequence[str] | None = None) -> dict[str, dict[str, NDArray]]:
    """Band powers by estimator, as `phi_spectrum_figure` takes them.

    Parameters
    ----------
    table : mapping of column to array (nbins,)
        L, L_low, L_high (the last L of a band), fiducial, and auto_K and sigma_K for each estimator K.
    keys : sequence of str, optional
        Which estimators; all by default.

    Raises
    ------
    ValueError
        If an estimator is not in the table.
    """
    return {
        key: _bands(table) | {"power": table[f"auto_{key}"], "sigma": table[f"sigma_{key}"]}
        for key in _wanted(table, keys)
    }


def input_points(table: Mapping[str, NDArray]) -> dict[str, NDArray] | None:
    """What the input φ has in the bands, for the `realisation` of `phi_spectrum_figure`; None if it is not known."""
    return _bands(table) | {"power": table["input"]} if "input" in table else None


def transfer_points(table: Mapping[str, NDArray], keys: Sequence[str] | None = None) -> dict[str, dict[str, NDArray]]:
    """The transfer φ̂×φ_in / φ_in×φ_in by estimator, as `transfer_figure` takes it.

    Reads the columns transfer_K, and transfer_sigma_K where there are any.

    Raises
    ------
    ValueError
        If an estimator is not in the table, or the table knows no input.
    """
    wanted = _wanted(table, keys)
    if "input" not in table:
        raise ValueError("a transfer needs band powers made with the input φ, and this table has none")
    bands = _bands(table)
    del bands["expected"]
    points = {key: bands | {"transfer": table[f"transfer_{key}"]} for key in wanted}
    for key in wanted:
        if f"transfer_sigma_{key}" in table:
            points[key]["sigma"] = table[f"transfer_sigma_{key}"]
    return points


def _wanted(table: Mapping[str, NDArray], keys: Sequence[str] | None) -> list[str]:
    there = estimators_in(table)
    wanted = there if keys is None else [str(key) for key in keys]
    missing = [key for key in wanted if key not in there]
    if missing:
        raise ValueError(f"no band powers of {', '.join(missing)} in this table: there are {', '.join(there)}")
    return wanted


def _bands(table: Mapping[str, NDArray]) -> dict[str, NDArray]:
    # a band ends where the next begins, one beyond its last multipole
    return {
        "L": np.asarray(table["L"]),
        "low": np.asarray(table["L_low"]),
        "high": np.asarray(table["L_high"]) + 1,
        "expected": np.asarray(table["fiducial"]),
    }

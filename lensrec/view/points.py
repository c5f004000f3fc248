"""What pictures are given, brought to one form: points of equal number, spectra as D_ℓ."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray


def checked(name: str, values: Mapping[str, ArrayLike], needed: Sequence[str]) -> dict[str, NDArray[np.float64]]:
    """Points as arrays of one length.

    Raises
    ------
    ValueError
        If any of those needed is missing, or lengths differ.
    """
    arrays = {key: np.atleast_1d(np.asarray(value, dtype=np.float64)) for key, value in values.items()}
    if missing := [key for key in needed if key not in arrays]:
        raise ValueError(f"the points of {name} lack {', '.join(missing)}")
    lengths = {key: len(array) for key, array in arrays.items()}
    if len(set(lengths.values())) != 1 or not lengths[needed[0]]:
        raise ValueError(f"the points of {name} differ in number, or there are none: {lengths}")
    return arrays


def scaled_power(cl: NDArray) -> NDArray[np.float64]:
    """D_ℓ = ℓ(ℓ+1)C_ℓ/2π from ℓ = 0."""
    ell = np.arange(len(cl), dtype=np.float64)
    return ell * (ell + 1) / (2 * np.pi) * np.asarray(cl)

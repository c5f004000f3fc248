"""Arrays of Wigner 3j symbols with integer arguments, zero wherever a selection rule forbids them."""

from functools import lru_cache

import ducc0
import numpy as np
from numpy.typing import NDArray


def wigner3j_row(l2: int, l3: int, m2: int, m3: int, lmax: int) -> NDArray[np.float64]:
    """(l1 l2 l3; −m2−m3 m2 m3) for l1 = 0 … lmax, shape (lmax + 1,).

    The recursion of Schulten & Gordon (1975), as ducc0 has it.
    """
    row = np.zeros(lmax + 1)
    if abs(m2) > l2 or abs(m3) > l3:
        return row
    first, values = ducc0.misc.wigner3j_int(l2, l3, m2, m3)
    stop = min(first + len(values), lmax + 1)
    if stop > first:
        row[first:stop] = values[: stop - first]
    return row


@lru_cache(maxsize=1024)
def coupling(l1: int, l2: int, lmax: int) -> NDArray[np.float64]:
    """(−1)^M (l1 l2 L; m1 m2 −M) with m2 = M − m1, for 0 ≤ L ≤ lmax, |m1| ≤ l1, 0 ≤ M ≤ lmax.

    Returns
    -------
    array (lmax + 1, 2 l1 + 1, lmax + 1)
        Axes (L, m1 + l1, M); read-only, shared between calls.
    """
    table = np.zeros((lmax + 1, 2 * l1 + 1, lmax + 1))
    for m1 in range(-l1, l1 + 1):
        for m in range(max(0, m1 - l2), min(lmax, m1 + l2) + 1):
            # An even permutation of columns leaves the symbol as it is: (L l1 l2) stands for (l1 l2 L).
            table[:, m1 + l1, m] = (-1) ** m * wigner3j_row(l1, l2, m1, m - m1, lmax)
    table.flags.writeable = False
    return table

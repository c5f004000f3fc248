"""Cross-only spectra of splits as explicit loops over all quadruples of different splits: the slow truth.

The loops take the bilinear form q itself; every leg of every term stands there by name.
"""

from collections.abc import Callable, Sequence
from itertools import permutations

import numpy as np
from numpy.typing import NDArray

from lensrec.sphere.alm import alm_to_cl

Estimator = Callable[[NDArray, NDArray], NDArray]
Splits = Sequence[NDArray]


def cross_only(alpha: Estimator, beta: Estimator, data: Splits) -> NDArray[np.float64]:
    """Mean over ordered (i, j, k, l), all different, of C_L(α(d_i, d_j), β(d_k, d_l)); symmetrising changes nothing."""
    quadruples = list(permutations(range(len(data)), 4))
    total = sum(alm_to_cl(alpha(data[i], data[j]), beta(data[k], data[l])) for i, j, k, l in quadruples)
    return np.asarray(total) / len(quadruples)


def disconnected(alpha: Estimator, beta: Estimator, d: Splits, s: Splits, t: Splits) -> NDArray[np.float64]:
    """One simulation's RDN0 of `cross_only`: legs of s in one place of each pair, less s and t (s') by themselves.

    Of the data's contractions (ik)(jl) + (il)(jk), either has one factor from s: j = l, j = k, i = l, i = k simulated.
    The estimate of a pair is symmetric in its legs, ½[q(x, y) + q(y, x)].
    """

    def a(x: NDArray, y: NDArray) -> NDArray:
        return (alpha(x, y) + alpha(y, x)) / 2

    def b(x: NDArray, y: NDArray) -> NDArray:
        return (beta(x, y) + beta(y, x)) / 2

    quadruples = list(permutations(range(len(d)), 4))
    total = np.zeros(1)
    for i, j, k, l in quadruples:
        total = total + alm_to_cl(a(d[i], s[j]), b(d[k], s[l]))
        total = total + alm_to_cl(a(d[i], s[j]), b(s[k], d[l]))
        total = total + alm_to_cl(a(s[i], d[j]), b(d[k], s[l]))
        total = total + alm_to_cl(a(s[i], d[j]), b(s[k], d[l]))
        total = total - alm_to_cl(a(s[i], t[j]), b(s[k], t[l]))
        total = total - alm_to_cl(a(s[i], t[j]), b(t[k], s[l]))
    return total / len(quadruples)

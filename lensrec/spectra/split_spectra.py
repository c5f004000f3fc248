"""Mean cross-spectra of splits of the data: spectra without a noise bias, whatever is believed of the noise.

m splits d_i = s + n_i hold one sky, and noise that is independent from split to split. The mean over all pairs of their
cross-spectra, each with its two orders averaged, comes by power sums, without a loop over pairs:

    C̃^XY = Σ_{i≠j} X_i Y_j* / [m(m−1)] = [ (Σ_i X_i)(Σ_j Y_j)* − Σ_i X_i Y_i* ] / [m(m−1)].
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from lensrec.spectra.pseudo_cl import pseudo_spectra


def mean_cross_spectra(splits: Iterable[NDArray]) -> dict[str, NDArray[np.float64]]:
    """Mean over all pairs of splits of their cross-spectra; two splits are in memory at a time, however many there are.

    Parameters
    ----------
    splits : iterable of arrays (1, nalm) or (3, nalm), complex
        T, or T, E and B, of the masked map of each.

    Returns
    -------
    dict of "TT" (and "TE", "EE", "BB", "TB", "EB") to array (lmax+1,)
        Raw C̃_ℓ from ℓ = 0, in the alm's units squared.

    Raises
    ------
    ValueError
        If there are fewer than two splits, or they are shaped otherwise than one another.
    """
    total, own, count = np.zeros(0), dict[str, NDArray[np.float64]](), 0
    for alm in splits:
        if count and alm.shape != total.shape:
            raise ValueError(f"alm of split {count + 1} have shape {alm.shape}, those of the first {total.shape}")
        powers = pseudo_spectra(alm)
        total = total + alm if count else np.array(alm, dtype=np.complex128)
        own = {key: own[key] + cl for key, cl in powers.items()} if count else powers
        count += 1
    if count < 2:
        raise ValueError(f"cross-spectra take at least two splits of the data, got {count}")
    return {key: (cl - own[key]) / (count * (count - 1)) for key, cl in pseudo_spectra(total).items()}

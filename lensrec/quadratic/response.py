"""Responses R_L and Gaussian noise of the quadratic estimators, and between each two of them; see `grams`."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lensrec.quadratic.grams import full_terms, half_terms, padded, sigma, total_between, wigner_grams


@dataclass(frozen=True)
class Normalisation:
    """What turns unnormalised estimates into φ̂ and says how noisy they are.

    Attributes
    ----------
    response : dict of key to array (2, lmax_phi+1)
        R_L of φ and of Ω: ⟨q_LM⟩ = R_L φ_LM for fixed φ.
    noise : dict of pairs of keys to array (2, lmax_phi+1)
        ⟨q_LM q′*_LM⟩ of Gaussian fields with the given total spectra.
    """

    response: dict[str, NDArray[np.float64]]
    noise: dict[tuple[str, str], NDArray[np.float64]]

    def n0(self, key: str, other: str | None = None) -> NDArray[np.float64]:
        """N0_L of φ̂ (and of Ω̂), or between two estimators: ⟨q q′*⟩/(R R′); zero where R is; shape (2, lmax_phi+1)."""
        other = key if other is None else other
        scale = self.response[key] * self.response[other]
        return np.divide(self.noise[key, other], scale, out=np.zeros_like(scale), where=scale != 0)


def normalisation(
    keys: Iterable[str],
    weights: Mapping[str, NDArray],
    signal: Mapping[str, NDArray],
    filters: Mapping[str, NDArray],
    totals: Mapping[str, NDArray],
    lmax_phi: int,
    *,
    nthreads: int = 0,
) -> Normalisation:
    """Responses of the estimators to lensing, and the Gaussian noise of each and between each two of them.

    Parameters
    ----------
    keys : estimators "TT", "EE", "TE", "TB", "EB"
    weights : mapping of "TT", "EE", "TE", "BB" to array, from ℓ = 0
        The weights in the estimators' gradient legs.
    signal : mapping of the same keys
        The spectra that respond to lensing in truth: the lensed-gradient spectra of the sky.
    filters : mapping of "T", "E", "B" to array (lmax+1,)
        F of each filtered leg, zero outside its range of multipoles.
    totals : mapping of "TT", "EE", "BB", "TE" to array
        Spectra of the beam-deconvolved data, signal and noise, that the filters are applied to.
    lmax_phi : int

    Returns
    -------
    Normalisation
        Exact for these weights, optimal or not: for TE with separable weights the TE×TE and TT×EE parts of the
        Gaussian noise are both there, and R differs from its inverse.
    """
    keys = list(keys)
    lmax = max(len(f) for f in filters.values()) - 1
    halves = {key: half_terms(key, weights, lmax) for key in keys}
    truths = {key: full_terms(key, signal, lmax) for key in keys}
    filt = {field: padded(filters[field], lmax) for field in filters}
    total = {key: padded(totals[key], lmax) for key in totals}
    gram = wigner_grams(lmax, lmax_phi, nthreads=nthreads)
    response = {key: gram(halves[key], truths[key], filt[key[0]], filt[key[1]], sigma(key)) for key in keys}
    noise = {}
    for i, one in enumerate(keys):
        for two in keys[i:]:
            value = np.zeros((2, lmax_phi + 1))
            if sigma(one) == sigma(two):
                x, y, u, v = one[0], one[1], two[0], two[1]

                def cross(p: str, q: str) -> NDArray:
                    return filt[p] * filt[q] * total_between(total, p, q)

                value += gram(halves[one], halves[two], cross(x, u), cross(y, v), sigma(one))
                transposed = [term.transposed() for term in halves[two]]
                value += gram(halves[one], transposed, cross(x, v), cross(y, u), sigma(one))
            noise[one, two] = noise[two, one] = value
    return Normalisation(response, noise)

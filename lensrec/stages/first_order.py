"""N1 of a recipe's estimators: for the fiducial C^φφ, or for one that is fitted to the band powers themselves."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lensrec.bias.flat_weights import FlatEstimator, combined_estimator, joint_estimator
from lensrec.bias.n1 import N1, n1_bias, n1_spectrum
from lensrec.quadratic.products import GMV
from lensrec.spectra.bandpowers import Bands, bin_spectrum
from lensrec.stages.setting import MV, TTH, Setting

PRIOR = (0.5, 0.3, 0.2)
"""Standard deviations of the three coefficients of `fitted_potential` about (1, 0, 0)."""

PIVOT = 100.0


@dataclass(frozen=True, eq=False)
class FirstOrder:
    """N1 of every estimator as a function of C^φφ.

    Attributes
    ----------
    keys : tuple of str
    phi, curl : N1
        Of φ̂ and of Ω̂.
    lmax_phi : int
    """

    keys: tuple[str, ...]
    phi: N1
    curl: N1
    lmax_phi: int

    def spectra(self, cl_phi: NDArray) -> dict[str, NDArray[np.float64]]:
        """N1_L of φ̂ and Ω̂, (2, L_max+1), by estimator, of a C^φφ from L = 0."""
        phi, curl = (n1_spectrum(n1, cl_phi, self.lmax_phi) for n1 in (self.phi, self.curl))
        return {key: np.stack([phi[key, key], curl[key, key]]) for key in self.keys}


def first_order(setting: Setting, keys: Sequence[str] | None = None, *, nthreads: int = 0) -> FirstOrder:
    """N1 of a setting's estimators, each with itself; not that of TTH, whose products are not of gradients alone."""
    keys = tuple(key for key in (setting.keys if keys is None else keys) if key != TTH)
    lmax_phi = len(setting.cl_phi) - 1
    if not keys:
        nothing = N1(np.zeros(0, dtype=np.int64), {})
        return FirstOrder((), nothing, nothing, lmax_phi)
    # Two legs of ℓ ≤ lmax are not mixed by any L above the sum.
    lmax_lens = min(len(setting.cl_lens) - 1, 2 * max(len(filt) - 1 for filt in setting.filters.values()))
    pairs = [(key, key) for key in keys]
    found = {
        curl: n1_bias(
            _flat_estimators(setting, keys, int(curl)),
            setting.signal,
            lmax_phi,
            lmax_lens,
            pairs=pairs,
            curl=curl,
            nthreads=nthreads,
        )
        for curl in (False, True)
    }
    return FirstOrder(keys, found[False], found[True], lmax_phi)


def fitted_potential(
    powers: NDArray, sigma: NDArray, n1: FirstOrder, key: str, bands: Bands, cl_phi: NDArray
) -> NDArray[np.float64]:
    """C^φφ fitted to band powers from which all but N1 is taken off.

    Parameters
    ----------
    powers, sigma : array (nbins,)
        Of [L(L+1)]²/2π (C_L^φφ + N1_L), with independent errors.
    n1 : FirstOrder
    key : str
        The estimator.
    bands : Bands
    cl_phi : array (lmax+1,)
        The fiducial C^φφ.

    Returns
    -------
    array (lmax+1,)
        (a₀ + a₁x + a₂x²) C_fid with x = ln((L + 10)/100) held within the bands' range, by least squares for
        powers = bands[C + N1(C)], linear in a, with a prior of (1, 0, 0) ± (0.5, 0.3, 0.2): the data of one sky say no
        more of the shape to which N1 answers.
    """
    ell = np.arange(len(cl_phi))
    x = np.log((np.clip(ell, bands.edges[0], bands.edges[-1]) + 10.0) / PIVOT)
    shapes = [cl_phi * x**n for n in range(3)]
    model = np.stack([bin_spectrum(c + _longer(n1.spectra(c)[key][0], len(c)), bands) for c in shapes], axis=1)
    weighted = model / sigma[:, None]
    normal = weighted.T @ weighted + np.diag(1.0 / np.square(PRIOR))
    right = weighted.T @ (powers / sigma) + np.array([1.0, 0.0, 0.0]) / np.square(PRIOR)
    return np.asarray(np.linalg.solve(normal, right) @ np.stack(shapes))


def _longer(values: NDArray, size: int) -> NDArray[np.float64]:
    out = np.zeros(max(size, len(values)))
    out[: len(values)] = values
    return out


def _flat_estimators(setting: Setting, keys: Sequence[str], part: int) -> dict[str, FlatEstimator]:
    """Part 0 for φ, 1 for Ω: they differ in responses and shares."""
    out = {}
    response = {key: setting.norm.response[key][part] for key in setting.parts}
    for key in keys:
        if key == GMV:
            out[key] = joint_estimator(setting.response[GMV][part], setting.weights, setting.joint)
            continue
        shares = (
            {part_key: w[part] for part_key, w in setting.mv_weights.items()}
            if key == MV
            else {key: np.ones_like(response[key])}
        )
        out[key] = combined_estimator(shares, response, setting.weights, setting.filters)
    return out

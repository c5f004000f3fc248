"""What the biases cost: RDN0 of a simulation in units of a bare estimate, and N1 of MV with its derivative."""

from collections.abc import Callable
from functools import partial

import numpy as np

from lensrec.bias.flat_weights import combined_estimator
from lensrec.bias.n1 import n1_bias, n1_spectrum
from lensrec.bias.rdn0 import pair_spectra
from lensrec.filtering.isotropic import filter_alm
from lensrec.quadratic.combination import minimum_variance, minimum_variance_weights, normalised
from lensrec.quadratic.estimators import paired_estimates, quadratic_estimates
from lensrec.quadratic.response import normalisation
from tests.benchmarks import inputs
from tests.benchmarks.inputs import Size

KEYS = ("TT", "TE", "TB", "EB", "EE")
SIMS = 4


def rdn0_sides(size: Size, lmax: int) -> dict[str, Callable[[], Callable[[], object]]]:
    """As many bare estimates of all five and MV as there are simulations, and RDN0's pairs of these simulations."""
    return {
        f"{SIMS} bare estimates": partial(_bare, size, lmax),
        f"RDN0 of {SIMS} simulations": partial(_rdn0, size, lmax),
    }


def n1_sides(size: Size) -> dict[str, Callable[[], Callable[[], object]]]:
    """N1 of MV."""
    return {"lensrec": partial(_n1, size)}


def _shared(size: Size, lmax: int) -> tuple:
    weights, filt, totals = (f(size, lmax) for f in (inputs.weights, inputs.filters, inputs.totals))
    norm = normalisation(KEYS, weights, weights, filt, totals, lmax)
    return weights, filt, norm, minimum_variance_weights(norm)[0]


def _legs(size: Size, lmax: int, filt: dict[str, np.ndarray], count: int) -> list[dict[str, np.ndarray]]:
    """Legs of one sky, again and again: what they hold does not change what they cost."""
    sky = inputs.data_sky(size, lmax)
    return [{field: (1.0 + n) * filter_alm(alm, filt[field]) for field, alm in sky.items()} for n in range(count)]


def _spectra(q: dict[str, np.ndarray], norm: object, mixing: dict) -> np.ndarray:
    each = [pair_spectra(normalised(values, norm.response[key])) for key, values in q.items()]
    return np.stack([*each, pair_spectra(minimum_variance(q, norm, mixing))])


def _bare(size: Size, lmax: int) -> Callable[[], object]:
    weights, filt, norm, mixing = _shared(size, lmax)
    legs = _legs(size, lmax, filt, SIMS)
    return lambda: [_spectra(quadratic_estimates(KEYS, one, weights, lmax), norm, mixing) for one in legs]


def _rdn0(size: Size, lmax: int) -> Callable[[], object]:
    weights, filt, norm, mixing = _shared(size, lmax)
    legs = _legs(size, lmax, filt, SIMS + 2)
    pairs = [pair for n in range(1, SIMS + 1) for pair in ((0, n), (n, n + 1))]
    return lambda: [_spectra(q, norm, mixing) for q in paired_estimates(KEYS, legs, pairs, weights, lmax)]


def _n1(size: Size) -> Callable[[], object]:
    lmax = size.lmax_noise
    weights, filt, norm, mixing = _shared(size, lmax)
    potential = inputs.theory(size).potential["PP"]
    shares = {key: w[0] for key, w in mixing.items()}
    estimator = combined_estimator(shares, {key: norm.response[key][0] for key in KEYS}, weights, filt)

    def run() -> np.ndarray:
        n1 = n1_bias({"MV": estimator}, weights, lmax, min(len(potential) - 1, lmax * 3 // 2))
        return n1_spectrum(n1, potential, lmax)["MV", "MV"]

    return run

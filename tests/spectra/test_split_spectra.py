"""The mean of cross-spectra by power sums against a loop over pairs."""

from itertools import combinations

import numpy as np
import pytest

from lensrec.spectra.pseudo_cl import pseudo_spectra
from lensrec.spectra.split_spectra import mean_cross_spectra
from lensrec.sphere.alm import alm_size


def drawn(splits, rows, lmax, seed):
    """A sky in all of them, and ten times as much noise in each: the sums of power have to cancel it."""
    rng = np.random.default_rng(seed)
    alm = rng.normal(size=(2, splits + 1, rows, alm_size(lmax)))
    alm = alm[0] + 1j * alm[1]
    alm[..., : lmax + 1] = alm[..., : lmax + 1].real
    return alm[0] + 10 * alm[1:]


@pytest.mark.parametrize(("splits", "rows"), [(2, 3), (3, 3), (5, 3), (6, 1)])
def test_power_sums_are_the_loop_over_pairs(splits, rows):
    """To 1e-12 of the largest multipole: sums of m squares of noise, 400 times the signal, round at 1e-16."""
    alm = drawn(splits, rows, 20, splits)
    found = mean_cross_spectra(one for one in alm)
    pairs = [pseudo_spectra(alm[i], alm[j]) for i, j in combinations(range(splits), 2)]
    assert tuple(found) == tuple(pairs[0])
    for key, cl in found.items():
        expected = np.mean([pair[key] for pair in pairs], axis=0)
        np.testing.assert_allclose(cl, expected, rtol=0, atol=1e-12 * np.abs(expected).max())


def test_what_makes_no_sense_is_refused():
    alm = drawn(2, 3, 5, 1)
    for few in (alm[:1], alm[:0]):
        with pytest.raises(ValueError, match=f"at least two splits of the data, got {len(few)}"):
            mean_cross_spectra(few)
    with pytest.raises(ValueError, match=r"split 2 have shape \(1, 21\), those of the first \(3, 21\)"):
        mean_cross_spectra([alm[0], alm[1, :1]])

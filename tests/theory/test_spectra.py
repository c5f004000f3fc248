import numpy as np
import pytest

from lensrec.theory.spectra import TheorySpectra, extended


def some_spectra(n):
    cmb = {key: np.arange(n, dtype=float) + i for i, key in enumerate(("TT", "EE", "BB", "TE"))}
    potential = {key: np.arange(n, dtype=float) - i for i, key in enumerate(("PP", "TP", "EP"))}
    return {"unlensed": cmb, "lensed": dict(cmb), "gradient": dict(cmb), "potential": potential}


def test_truncated_keeps_the_low_multipoles_of_every_spectrum():
    full = TheorySpectra(**some_spectra(20))
    short = full.truncated(7)
    assert (full.lmax, short.lmax) == (19, 7)
    for name in ("unlensed", "lensed", "gradient", "potential"):
        for key, cl in getattr(full, name).items():
            np.testing.assert_array_equal(getattr(short, name)[key], cl[:8])


@pytest.mark.parametrize("lmax", [-1, 20])
def test_truncation_beyond_the_end_is_refused(lmax):
    with pytest.raises(ValueError, match="end at l = 19"):
        TheorySpectra(**some_spectra(20)).truncated(lmax)


def test_unequal_or_missing_spectra_are_refused():
    groups = some_spectra(20)
    groups["potential"]["TP"] = np.zeros(19)
    with pytest.raises(ValueError, match="potential TP"):
        TheorySpectra(**groups)
    groups = some_spectra(20)
    del groups["lensed"]["BB"]
    with pytest.raises(ValueError, match="lensed"):
        TheorySpectra(**groups)


def test_extension_continues_its_own_laws_exactly():
    ell = np.arange(301.0)
    power = np.maximum(ell, 1.0) ** -3.5
    damped = 40.0 * np.exp(-ell / 70.0)
    for cl, law in ((power, "power"), (damped, "exponential")):
        longer = extended(cl[:201], 300, law=law)
        np.testing.assert_array_equal(longer[:201], cl[:201])
        # a straight line through 41 logarithms, good to their rounding of 1e-15 times the reach
        np.testing.assert_allclose(longer, cl, rtol=1e-11)
        np.testing.assert_array_equal(extended(cl, 200, law=law), cl)


def test_extension_refuses_what_it_cannot_continue():
    with pytest.raises(ValueError, match="law"):
        extended(np.ones(10), 20, law="cubic")
    with pytest.raises(ValueError, match="positive"):
        extended(np.array([1.0, 1.0, 1.0, 1.0, -1.0]), 20, law="power")

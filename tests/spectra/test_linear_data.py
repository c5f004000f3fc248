"""Several sets of band powers as one."""

from pathlib import Path

import numpy as np

from lensrec.spectra.linear_data import LinearData, combined
from lensrec.spectra.sacc_file import read_sacc, write_sacc


def one_of(name, lmax, **metadata):
    """Two band powers of TT and their windows."""
    rows = np.zeros((2, lmax + 1))
    rows[0, 2:4], rows[1, 4:] = 0.5, 1.0 / (lmax - 3)
    arrays = {"low": np.array([2, 4]), "high": np.array([3, lmax]), "centre": np.array([2.5, (4 + lmax) / 2])}
    return LinearData(
        name=name,
        block=np.array(["TT", "TT"]),
        mean=np.array([1.0, 2.0]) * lmax,
        covariance=np.array([[2.0, 0.1], [0.1, 3.0]]),
        windows={"TT": rows},
        metadata=metadata,
        **arrays,
    )


def test_what_sets_say_alike_is_kept_and_the_rest_named_after_them(tmp_path: Path) -> None:
    one = one_of("planck", 9, scaling="D_l", splits=1, f_sky=0.6)
    two = one_of("act", 12, scaling="D_l", splits=4, noise="cross-spectra")
    both = combined(one, two)
    assert both.metadata == {
        "scaling": "D_l",
        "planck.splits": 1,
        "act.splits": 4,
        "planck.f_sky": 0.6,
        "act.noise": "cross-spectra",
    }
    write_sacc(tmp_path / "both.fits", both)
    assert read_sacc(tmp_path / "both.fits").metadata == both.metadata
    # what but one of them says may be about that one alone, even if nobody contradicts it
    assert combined(one, one_of("bare", 9)).metadata == {
        "planck.scaling": "D_l",
        "planck.splits": 1,
        "planck.f_sky": 0.6,
    }
    assert combined(one, one_of("planck", 9, scaling="C_l")).metadata == {
        "planck#1.scaling": "D_l",
        "planck#2.scaling": "C_l",
        "planck#1.splits": 1,
        "planck#1.f_sky": 0.6,
    }
    assert combined(one).metadata == one.metadata
    spectra = {"TT": np.arange(13.0)}
    np.testing.assert_allclose(both.expected(spectra), [*one.expected(spectra), *two.expected(spectra)], rtol=1e-14)
    np.testing.assert_array_equal(both.covariance[:2, 2:], 0.0)

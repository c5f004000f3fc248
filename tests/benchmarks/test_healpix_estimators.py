"""The usual way to φ̂, which lensrec is timed against, is a correct one."""

import numpy as np
import pytest

from lensrec.quadratic.estimators import quadratic_estimates
from lensrec.sphere.alm import alm_ell, alm_size
from tests.benchmarks.healpix_estimators import healpix_estimate


@pytest.mark.parametrize("key", ["TT", "TE", "TB", "EB", "EE"])
def test_agrees_with_lensrec(key: str) -> None:
    """White legs to ℓ = 40 on nside 64, φ and Ω at L ≤ 40.

    Products end at ℓ = 80, and HEALPix rings of nside 64 keep one transform of them good to some 1e-3 (3e-4 to 3e-3
    for these draws); a wrong sign or factor in any leg would differ by order one.
    """
    rng = np.random.default_rng(11)
    lmax = 40
    legs = {}
    for field in "TEB":
        legs[field] = rng.normal(size=alm_size(lmax)) + 1j * rng.normal(size=alm_size(lmax))
        legs[field][: lmax + 1].imag = 0
        legs[field][alm_ell(lmax) < 2] = 0
    weights = {name: rng.uniform(0.5, 2, lmax + 1) for name in ("TT", "EE", "TE")} | {"BB": np.zeros(lmax + 1)}
    ours = quadratic_estimates([key], legs, weights, lmax)[key]
    usual = healpix_estimate(key, legs, weights, 64, lmax)
    for part, expected in zip(usual, ours, strict=True):
        assert np.linalg.norm(part - expected) < 1e-2 * np.linalg.norm(expected)

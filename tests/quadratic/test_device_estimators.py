"""The estimators on a device: a stand-in for cupy that runs the real kernels, against those of the host."""

import numpy as np
import pytest

from lensrec.quadratic.estimators import quadratic_estimates
from lensrec.sphere.alm import alm_size
from lensrec.sphere.device_sht import Transforms
from lensrec.sphere.legendre_device import SOURCE
from tests.reference.cuda_on_host import COMPILER
from tests.reference.strict_namespace import Machine

pytestmark = pytest.mark.skipif(COMPILER is None, reason="no C++ compiler runs the kernels on the host")
KEYS = ("TT", "TE", "TB", "EB", "EE")


def legs(seed, lmax, dtype=complex):
    rng = np.random.default_rng(seed)
    some = rng.standard_normal((3, alm_size(lmax))) + 1j * rng.standard_normal((3, alm_size(lmax)))
    some[:, : lmax + 1].imag = 0
    return dict(zip("TEB", some.astype(dtype), strict=True))


@pytest.fixture(scope="module")
def weights():
    rng = np.random.default_rng(1)
    return {key: rng.uniform(0.5, 2.0, 65) * (np.arange(65) > 1) for key in ("TT", "EE", "BB", "TE")}


@pytest.mark.parametrize("second", [False, True])
@pytest.mark.parametrize(("dtype", "bound"), [(np.complex128, 1e-12), (np.complex64, 5e-6)])
def test_estimates_on_a_device_are_those_of_the_host(weights, second, dtype, bound):
    """T to ℓ = 64, polarisation to 48, L to 40; sums of 1e4 products, rounded to 1e-16 or 6e-8 each."""
    filtered = [{"T": legs(i, 64, dtype)["T"], **{k: legs(i, 48, dtype)[k] for k in "EB"}} for i in (2, 3)]
    options = {"second": filtered[1]} if second else {}
    xp = Machine().namespace
    transforms = Transforms(xp, xp.RawModule(code=SOURCE.read_text(encoding="utf-8")))
    got = quadratic_estimates(KEYS, filtered[0], weights, 40, transforms=transforms, **options)
    expected = quadratic_estimates(KEYS, filtered[0], weights, 40, nthreads=1, **options)
    assert list(got) == list(expected)
    for key, estimate in got.items():
        assert estimate.dtype == dtype
        rms = np.sqrt(np.mean(np.abs(expected[key]) ** 2))
        np.testing.assert_allclose(xp.asnumpy(estimate), expected[key], rtol=0, atol=bound * rms)

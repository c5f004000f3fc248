"""Checks of the remap by NUFFTs and of the estimators where a backend says, a CUDA device or numpy."""

import numpy as np

from lensrec.arrays import Backend
from lensrec.quadratic.estimators import quadratic_estimates
from lensrec.quadratic.products import PRODUCTS
from lensrec.sphere.nufft_remap import remap_tp as nufft_remap_tp
from lensrec.sphere.remap import remap_tp
from lensrec.stages import placing
from lensrec.stages.selftest import maps
from lensrec.stages.selftest.checks import Check


def device_checks(backend: Backend) -> tuple[Check, ...]:
    """What is to be proved of a backend: its remap against sums of harmonics, and at higher ℓ against the host's.

    The estimators of the host are proved by checks of their own.
    """
    return (
        Check("device: lensed T, Q, U against sums of harmonics", 3e-10, lambda: _small(backend)),
        Check("device: nside 128, ℓ ≤ 300 against the host, ε = 1e-10", 3e-10, lambda: _large(backend, 1e-10)),
        Check("device: the same, ε = 1e-6", 3e-6, lambda: _large(backend, 1e-6)),
        Check("device: the same in single precision, ε = 1e-5", 3e-5, lambda: _large(backend, 1e-5, single=True)),
        Check("device: φ̂ of all five, ℓ ≤ 100, against the host", 1e-11, lambda: _estimates(backend)),
    )


def _small(backend: Backend) -> float:
    sky = maps.small_sky()
    lensed = nufft_remap_tp(sky.teb, sky.phi, sky.grid, curl_alm=sky.omega, epsilon=1e-10, backend=backend)
    return maps.error_by_sums(sky, backend.to_host(lensed), *maps.angles(sky.grid))


def _large(backend: Backend, epsilon: float, *, single: bool = False) -> float:
    sky = maps.large_sky()
    given = sky.teb.astype(np.complex64) if single else sky.teb
    there = nufft_remap_tp(given, sky.phi, sky.grid, curl_alm=sky.omega, epsilon=epsilon, backend=backend)
    host = remap_tp(given.astype(complex), sky.phi, sky.grid, curl_alm=sky.omega, epsilon=1e-12)
    off = backend.to_host(there) - host
    return max(maps.rms(off[:1]) / maps.sky_rms(sky.teb[:1]), maps.rms(off[1:]) / maps.sky_rms(sky.teb[1:]))


def _estimates(backend: Backend) -> float:
    """Largest difference of φ̂ and Ω̂, not normalised, in units of the rms; C^BB is among the weights, for every leg."""
    rng = np.random.default_rng(8)
    alm = dict(zip("TEB", maps.white(rng, 3, 100, 2), strict=True))
    weights = {key: rng.uniform(0.5, 2.0, 101) for key in ("TT", "EE", "BB", "TE")}
    there = placing.quadratic_on(backend)(PRODUCTS, alm, weights, 100)
    host = quadratic_estimates(PRODUCTS, alm, weights, 100)
    return max(float(np.abs(there[key] - host[key]).max()) / maps.rms(host[key]) for key in host)

"""The optimal filter gives the same bits whatever the number of threads, lensrec's and those of BLAS."""

import os
import subprocess
import sys

CODE = """
import hashlib
import numpy as np
from lensrec.filtering.templates import monopole_dipole
from lensrec.filtering.wiener import wiener_filter
from lensrec.sphere.grids import healpix_grid

rng, grid, lmax = np.random.default_rng(1), healpix_grid(16), 40
ell = np.arange(lmax + 1.0)
signal = {key: level / (ell + 10) ** 2 for key, level in {"TT": 1e3, "EE": 30, "BB": 1, "TE": 50}.items()}
z = np.repeat(np.cos(grid.theta), grid.nphi.astype(int))
noise = np.where(abs(z) > 0.3, 1.0 + z**2, 0.0) * np.array([[1.0], [0.5]]) * 4 * np.pi / grid.npix
modes = np.concatenate([monopole_dipole(grid), np.zeros((4, 2, grid.npix))], axis=1)
made = wiener_filter(grid, noise, signal, np.ones((2, lmax + 1)), lmax, templates=modes)
solution = made.apply(rng.normal(size=(3, grid.npix)))
assert solution.converged
print(hashlib.sha256(b"".join(np.ascontiguousarray(alm).tobytes() for alm in solution.filtered.values())).hexdigest())
"""


def _bits(threads: int, blas: int) -> str:
    count = {"LENSREC_NUM_THREADS": str(threads), "OMP_NUM_THREADS": str(blas), "OPENBLAS_NUM_THREADS": str(blas)}
    words = [sys.executable, "-c", CODE]
    done = subprocess.run(words, env={**os.environ, **count}, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_bits_do_not_depend_on_threads() -> None:
    assert _bits(1, 1) == _bits(3, 2)

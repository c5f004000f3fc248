"""Random a_ℓm by counter: each coefficient is a pure function of (seed, sim, component, ℓ, m).

A sky therefore has the same a_ℓm whatever its lmax, and whatever the order, worker or number of threads that drew
them. The recipe is short enough to be repeated bit by bit elsewhere (on a GPU, say):

1. The key is the 128-bit BLAKE2b digest of the text "seed:sim:component", read as two little-endian 64-bit words.
2. Words come from Philox 4×64 with 10 rounds (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"),
   as numpy numbers them: word 4k + j is the j-th output for counter k + 1.
3. Coefficient i = ℓ(ℓ+1)/2 + m takes words w₁ = 2i and w₂ = 2i + 1. With u₁ = (⌊w₁/2¹¹⌋ + 1)/2⁵³ in (0, 1] and
   u₂ = ⌊w₂/2¹¹⌋/2⁵³ in [0, 1), Box and Muller's transform gives r = (−2 ln u₁)^½ and the angle 2πu₂:
   a_ℓ0 = r cos 2πu₂, and a_ℓm = r exp(2πi u₂)/√2 for m > 0.
"""

import operator
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from lensrec.arrays import thread_count
from lensrec.sphere.alm import alm_index, alm_size

# Blocks always start and end at the same i and are always computed whole, so that vectorised ln, cos and sin see
# the same batch whatever lmax is; even, so that a block starts on a Philox counter.
_BLOCK = 1 << 15


def unit_alm(lmax: int, *, seed: int, sim: int, component: str, nthreads: int = 0) -> NDArray[np.complex128]:
    """Gaussian coefficients of unit variance, keyed by (seed, sim, component, ℓ, m).

    Parameters
    ----------
    lmax : int ≥ 0
    seed, sim : int ≥ 0
        Any size; different pairs give independent skies.
    component : str
        Name of the field drawn, such as "T" or "phi"; different names are independent.
    nthreads : int
        0: as many as this process may use. The result does not depend on it.

    Returns
    -------
    array (alm_size(lmax),), complex128
        ⟨|a_ℓm|²⟩ = 1: for m > 0 real and imaginary parts have variance 1/2 each, for m = 0 the coefficient is real.

    Raises
    ------
    ValueError
        If lmax, seed or sim is negative, or one of the latter no whole number.
    """
    if lmax < 0:
        raise ValueError(f"lmax must not be negative, got {lmax}")
    key = philox_key(seed, sim, component)
    out = np.empty(alm_size(lmax), dtype=np.complex128)
    blocks = range(-(-len(out) // _BLOCK))
    workers = min(thread_count(nthreads), len(blocks))
    if workers == 1:
        for block in blocks:
            _fill(out, lmax, key, block)
    else:
        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(lambda block: _fill(out, lmax, key, block), blocks))
    return out


def philox_key(seed: int, sim: int, component: str) -> NDArray[np.uint64]:
    """The two key words of a component of one simulation (step 1 above).

    Raises
    ------
    ValueError
        If seed or sim is negative or no whole number.
    """
    text = f"{_whole('seed', seed)}:{_whole('sim', sim)}:{component}"
    digest = blake2b(text.encode(), digest_size=16).digest()
    return np.frombuffer(digest, dtype="<u8").astype(np.uint64)


def _whole(name: str, value: int) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        raise ValueError(f"{name} must be a whole number, got {value!r}") from None
    if number < 0:
        raise ValueError(f"{name} must not be negative, got {number}")
    return number


def _fill(out: NDArray[np.complex128], lmax: int, key: NDArray[np.uint64], block: int) -> None:
    """Draw coefficients of one block of i and put those up to lmax where they belong."""
    first = block * _BLOCK
    values = _unit_gaussians(key, first)[: len(out) - first]
    i = np.arange(first, first + len(values))
    # 8i + 1 is (2ℓ+1)² exactly where m = 0, so the root is safe to floor for every ℓ that fits a memory
    ell = ((np.sqrt(8.0 * i + 1.0) - 1.0) / 2.0).astype(np.int64)
    m = i - ell * (ell + 1) // 2
    zonal = m == 0
    values[zonal] = np.sqrt(2.0) * values[zonal].real
    out[alm_index(lmax, ell, m)] = values


def _unit_gaussians(key: NDArray[np.uint64], first: int) -> NDArray[np.complex128]:
    """Complex Gaussians of unit variance for i = first … first + _BLOCK − 1 (steps 2 and 3 above)."""
    words = np.random.Philox(key=key).advance(first // 2).random_raw(2 * _BLOCK).reshape(_BLOCK, 2) >> np.uint64(11)
    radius = np.sqrt(-np.log((words[:, 0] + np.uint64(1)) * 2.0**-53))
    angle = words[:, 1] * (2.0 * np.pi * 2.0**-53)
    out = np.empty(_BLOCK, dtype=np.complex128)
    out.real = radius * np.cos(angle)
    out.imag = radius * np.sin(angle)
    return out

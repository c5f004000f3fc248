"""Sums and projections of Wigner functions d^ℓ_{st}(θ): from spectra to correlation functions and back.

d^ℓ_{st} carries the sign of Edmonds and of Varshalovich: d^1_{10} = −sin θ/√2, d^1_{11} = (1 + cos θ)/2. Then
d^ℓ_{st} = (−1)^{s−t} d^ℓ_{ts} = d^ℓ_{−t,−s} = (−1)^{s−t} d^ℓ_{−s,−t}, and d^ℓ_{st} = 0 for ℓ < max(|s|, |t|).

Both directions are one Legendre transform of ducc0, at a single order m and spin, for each pair of rows: the
θ-dependent parts of its spin harmonics are √((2ℓ+1)/4π) d^ℓ_{m,±spin}, and since they are real, the real and
the imaginary part of a coefficient carry one row each.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import NamedTuple

import ducc0
import numpy as np
from numpy.typing import NDArray

from lensrec.arrays import thread_count

MAX_INDEX = 5


class _Order(NamedTuple):
    """d^ℓ_{st} = sign · d^ℓ_{m, side·spin} with m, spin ≥ 0 and side = ±1."""

    m: int
    spin: int
    side: int
    sign: int


@lru_cache(maxsize=16)
def gl_nodes(degree: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The shortest Gauss–Legendre rule in cos θ that is exact for polynomials up to `degree`.

    A sum over d^ℓ_{st} to lmax₁, projected on d^ℓ_{st} up to lmax₂, needs degree lmax₁ + lmax₂.

    Returns
    -------
    theta, weights : arrays (degree // 2 + 1,), read-only
        Nodes θ in radians, rising from the north pole, and weights that sum to 2.

    Raises
    ------
    ValueError
        If the degree is negative.
    """
    if degree < 0:
        raise ValueError(f"degree must not be negative, got {degree}")
    theta = ducc0.misc.GL_thetas(degree // 2 + 1)
    weights = ducc0.misc.GL_weights(degree // 2 + 1, 1) / (2.0 * np.pi)
    theta.flags.writeable = weights.flags.writeable = False
    return theta, weights


def wigner_sum(cl: NDArray, s: int, t: int, theta: NDArray, *, nthreads: int = 0) -> NDArray[np.float64]:
    """Correlation functions ξ(θ) = Σ_ℓ (2ℓ+1)/4π C_ℓ d^ℓ_{st}(θ).

    Parameters
    ----------
    cl : array (..., lmax+1), real
        Any number of spectra, from ℓ = 0; what stands below ℓ = max(|s|, |t|) is not used.
    s, t : int
        |s|, |t| ≤ 5.
    theta : array (ntheta,)
        Angles in radians, 0 ≤ θ ≤ π.
    nthreads : int
        0: as many as this process may use. Threads share rows out; a pair of rows is one thread's work.

    Returns
    -------
    array (..., ntheta), float64.

    Raises
    ------
    ValueError
        If s or t is out of range.

    Notes
    -----
    Each d^ℓ_{st} is good to about 1e-12 + 1e-16 ℓ / sin θ: the recursion holds cos θ in double precision.
    """
    order = _order(s, t)
    cl = np.asarray(cl, dtype=np.float64)
    theta = np.ascontiguousarray(theta, dtype=np.float64)
    lmax = cl.shape[-1] - 1
    if lmax < max(order.m, order.spin):
        return np.zeros((*cl.shape[:-1], len(theta)))
    coefficients = _pair_rows(cl * (order.sign * np.sqrt((2 * np.arange(lmax + 1) + 1) / (4.0 * np.pi))))

    def one(row: NDArray) -> NDArray:
        leg = ducc0.sht.alm2leg(alm=row[None], theta=theta, **_transform(order, lmax))[..., 0]
        return leg[0] if order.spin == 0 else _side_sign(order) * (leg[0] - order.side * 1j * leg[1])

    return _unpair_rows(_map_rows(one, coefficients, nthreads), cl.shape[:-1])


def wigner_project(
    f: NDArray, s: int, t: int, lmax: int, theta: NDArray, weights: NDArray, *, nthreads: int = 0
) -> NDArray[np.float64]:
    """Spectra C_ℓ = 2π Σ_k w_k f(θ_k) d^ℓ_{st}(θ_k), which undoes `wigner_sum` exactly on enough nodes.

    Parameters
    ----------
    f : array (..., ntheta), real
    s, t : int
        |s|, |t| ≤ 5.
    lmax : int ≥ 0
    theta, weights : arrays (ntheta,)
        A quadrature rule in cos θ, its weights summing to 2: see `gl_nodes`.
    nthreads : int
        As in `wigner_sum`.

    Returns
    -------
    array (..., lmax+1), float64, from ℓ = 0; zero below ℓ = max(|s|, |t|).

    Raises
    ------
    ValueError
        If s or t is out of range or lmax is negative.
    """
    order = _order(s, t)
    if lmax < 0:
        raise ValueError(f"lmax must not be negative, got {lmax}")
    f = np.asarray(f, dtype=np.float64)
    theta = np.ascontiguousarray(theta, dtype=np.float64)
    if lmax < max(order.m, order.spin):
        return np.zeros((*f.shape[:-1], lmax + 1))
    factor = order.sign * np.sqrt(16.0 * np.pi**3 / (2 * np.arange(lmax + 1) + 1))
    lowest = max(order.m, order.spin)

    def one(row: NDArray) -> NDArray:
        legs = [row] if order.spin == 0 else [row, order.side * 1j * row]
        leg = _side_sign(order) * np.stack(legs)[..., None]
        return ducc0.sht.leg2alm(leg=leg, theta=theta, **_transform(order, lmax))[0]

    projected = _map_rows(one, _pair_rows(f * np.asarray(weights, dtype=np.float64)), nthreads)
    # ducc0 writes nothing below ℓ = m: what stands there is whatever the memory held, NaN at worst.
    projected[:, :lowest] = 0.0
    return _unpair_rows(projected, f.shape[:-1]) * factor


def _order(s: int, t: int) -> _Order:
    if max(abs(s), abs(t)) > MAX_INDEX:
        raise ValueError(f"d^l_st is offered for |s|, |t| <= {MAX_INDEX}, got s = {s}, t = {t}")
    sign = 1
    if s == 0:  # an index of zero is cheapest as the spin
        s, t, sign = -t, -s, 1
    if s < 0:
        s, t, sign = -s, -t, -1 if (s - t) % 2 else 1
    return _Order(m=s, spin=abs(t), side=1 if t >= 0 else -1, sign=sign)


def _side_sign(order: _Order) -> int:
    """ducc0's leg₀ ∓ i leg₁ are −d_{m,spin} and −(−1)^spin d_{m,−spin}; its spin-0 harmonics are +d_{m,0}."""
    if order.spin == 0:
        return 1
    return -1 if order.side > 0 or order.spin % 2 == 0 else 1


def _transform(order: _Order, lmax: int) -> dict[str, object]:
    return {
        "lmax": lmax,
        "spin": order.spin,
        "mval": np.array([order.m], dtype=np.uint64),
        "mstart": np.zeros(1, dtype=np.uint64),
        "mode": "GRAD_ONLY" if order.spin else "STANDARD",
        "nthreads": 1,
    }


def _pair_rows(rows: NDArray[np.float64]) -> NDArray[np.complex128]:
    """Rows 2k and 2k+1 as real and imaginary part, shape (⌈rows/2⌉, n); an odd one stays alone."""
    flat = rows.reshape(-1, rows.shape[-1])
    pairs = np.zeros(((len(flat) + 1) // 2, flat.shape[-1]), dtype=np.complex128)
    pairs.real = flat[0::2]
    pairs.imag[: len(flat) // 2] = flat[1::2]
    return pairs


def _unpair_rows(pairs: NDArray[np.complex128], shape: tuple[int, ...]) -> NDArray[np.float64]:
    n = pairs.shape[-1]
    rows = np.stack([pairs.real, pairs.imag], axis=1).reshape(-1, n)
    return rows[: int(np.prod(shape))].reshape(*shape, n)


def _map_rows(one: Callable[[NDArray], NDArray], rows: NDArray[np.complex128], nthreads: int) -> NDArray[np.complex128]:
    workers = min(thread_count(nthreads), len(rows))
    if workers <= 1:
        return np.stack([one(row) for row in rows])
    with ThreadPoolExecutor(workers) as pool:
        return np.stack(list(pool.map(one, rows)))

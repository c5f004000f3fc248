"""Legendre transforms on a device, a_ℓm → leg(θ, m) and back: launches of the kernels in cuda/legendre.cu.

They compute what `ducc0.sht.alm2leg` and `leg2alm` do, in healpy's convention. Nothing here knows cupy: the array
namespace `xp` and the compiled `module` are arguments, and any module will do whose `get_function(name)` gives a
callable (grid, block, arguments), as `cupy.RawModule` has it.

A transform takes, for each (ℓ, m) and pair of rings, 4 fused multiply-adds in double precision for spin 0, 8 for a pure
gradient, 12 with a curl (6, 11 and 15 where sin θ < 0.1), and only the 2 or 4 of the recursion where a harmonic is too
small to count. On HEALPix of nside 2048 with ℓ ≤ 4000 that is 1.1e11 for T and 2.9e11 for Q and U. Memory (0.5 GB of
leg for T) takes less, and so do the sums over rings, so that an H100 (SXM, 1.7e13 a second at its peak) cannot
do it in less than 6 and 17 ms: an estimate of the floor. No time was measured on a device.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lensrec.sphere.alm import alm_index, alm_size, lmax_of

SOURCE = Path(__file__).parent / "cuda" / "legendre.cu"
# Threads of a block, and pairs of rings that each of them carries, as in the source.
_THREADS = 128
_SYNTHESIS_PAIRS = {"scalar": 4, "gradient": 2, "spin": 2}
# Nearer to a pole than this (sin θ) the recursion that keeps its accuracy there is used: elsewhere the rounding of
# cos θ costs less than 1e-12 at ℓ = 8000, and two operations in six are saved.
_POLAR_CAP = 0.1
# Rings this close to mirror images count as such: four roundings of π, which is what colatitudes are good to.
_MIRROR = 2e-15


@dataclass(frozen=True, eq=False)
class Orders:
    """The recursion over ℓ of some orders m, on the device; good for every transform of this lmax and spin.

    Attributes
    ----------
    lmax, spin : int
    count : int
        Number of orders.
    arguments : tuple
        What the kernels take of it.
    mstart : device array (nm,), int64
        Where in a row of alm, in healpy's order of lmax, a_ℓm of ℓ = 0 is or would be.
    """

    lmax: int
    spin: int
    count: int
    arguments: tuple
    mstart: Any

    def part(self, first: int, end: int) -> "Orders":
        """The orders at first … end − 1, which share the tables of all."""
        lmax, spin, count, m, start, row, *tables = self.arguments
        some, number = slice(first, end), min(end, int(count)) - first
        arguments = (lmax, spin, np.int32(number), m[some], start[some], row[some], *tables)
        return Orders(self.lmax, self.spin, number, arguments, self.mstart[some])


@dataclass(frozen=True, eq=False)
class Rings:
    """Rings in pairs that the equator mirrors, on the device.

    Attributes
    ----------
    count : int
        Number of rings.
    zones : tuple
        The "polar" and the "ordinary" pairs: the zone, how many there are, and what the kernels take of them.
    """

    count: int
    zones: tuple[tuple[str, int, tuple], ...]


def make_orders(lmax: int, spin: int, mval: NDArray[np.integer] | None, xp: ModuleType, module: Any) -> Orders:
    """Tables of the recursion, 24 bytes for each (ℓ, m).

    Parameters
    ----------
    lmax : int
    spin : int ≥ 0
    mval : array (nm,), optional
        Orders, on the host; 0 … lmax if they are left out.
    xp, module
        Array namespace, and the compiled source.

    Raises
    ------
    ValueError
        If an order is negative or above lmax, or the spin negative.
    """
    m = np.arange(lmax + 1) if mval is None else np.asarray(mval).astype(np.int64)
    if spin < 0 or (len(m) and (m.min() < 0 or m.max() > lmax)):
        raise ValueError(f"orders must lie between 0 and lmax = {lmax}, and the spin not be negative")
    length = np.maximum(lmax + 1 - np.maximum(m, spin), 0)
    row = np.cumsum(length) - length
    alpha, beta, norm = (xp.empty(int(length.sum()), dtype=np.float64) for _ in range(3))
    m_device, row_device = xp.asarray(m.astype(np.int32)), xp.asarray(row)
    head = (np.int32(lmax), np.int32(spin), np.int32(len(m)), m_device)
    # one short thread an order: small blocks spread them over the device
    block = 32
    module.get_function("recursion_tables")((-(-len(m) // block),), (block,), (*head, row_device, alpha, beta, norm))
    start = xp.asarray(start_values(spin, m))
    mstart = xp.asarray(alm_index(lmax, 0, m))
    return Orders(lmax, spin, len(m), (*head, start, row_device, alpha, beta, norm), mstart)


def make_rings(theta: NDArray[np.float64], xp: ModuleType) -> Rings:
    """Pair the rings at colatitudes `theta` (nring,), radians, on the host, in any order."""
    pairs = ring_pairs(theta)
    polar = int(np.count_nonzero(pairs[1] < _POLAR_CAP))
    zones = []
    for zone, part in (("polar", slice(0, polar)), ("ordinary", slice(polar, None))):
        arrays = [array[part] for array in pairs]
        if count := len(arrays[0]):
            numbers = (np.int32(count), np.int32(len(theta)))
            zones.append((zone, count, (*numbers, *(xp.asarray(array) for array in arrays))))
    return Rings(len(theta), tuple(zones))


def alm2leg(
    alm: Any, orders: Orders, rings: Rings, xp: ModuleType, module: Any, *, mstart: NDArray[np.integer] | None = None
) -> Any:
    """The θ part of a synthesis: Σ_ℓ a_ℓm λ_ℓm(θ), or that of a spin field's real and imaginary part.

    Parameters
    ----------
    alm : device array (1, nalm) for spin 0; (2, nalm), or (1, nalm) for a pure gradient, for spin > 0
        complex128, or complex64: then numbers are read and written in single, and computed in double precision.
    orders, rings
        From `make_orders` and `make_rings`.
    xp, module
    mstart : array (nm,), optional
        Where in a row of `alm` a_ℓm of ℓ = 0 is or would be; healpy's order of lmax if it is left out.

    Returns
    -------
    device array (1 or 2, nring, nm), complex, in the precision of `alm`
    """
    kind = _kind(orders.spin, len(alm))
    single = _is_single(alm.dtype)
    alm = xp.ascontiguousarray(alm)  # kernels see a pointer alone
    leg = xp.empty((1 if orders.spin == 0 else 2, rings.count, orders.count), dtype=alm.dtype)
    head = (*orders.arguments, _start(orders, mstart, xp), np.int64(alm.shape[1]))
    for zone, pairs, arguments in rings.zones:
        module.get_function(f"synthesis_{kind}_{zone}")(
            (orders.count, -(-pairs // (_THREADS * _SYNTHESIS_PAIRS[kind]))),
            (_THREADS,),
            (*head, *arguments, single, alm, leg),
        )
    return leg


def leg2alm(
    leg: Any,
    orders: Orders,
    rings: Rings,
    xp: ModuleType,
    module: Any,
    *,
    gradient: bool = False,
    mstart: NDArray[np.integer] | None = None,
    nalm: int | None = None,
) -> Any:
    """The transpose of `alm2leg`: a_ℓm = Σ over rings of leg(θ, m) λ_ℓm(θ), without weights.

    Parameters
    ----------
    leg : device array (1, nring, nm) for spin 0, (2, nring, nm) otherwise, complex
    gradient : bool
        Whether the gradient part alone is wanted; for spin > 0.
    mstart, nalm
        As for `alm2leg`, and the length of a row; for every order 0 … lmax they can be left out.

    Returns
    -------
    device array (1 or 2, nalm), complex, in the precision of `leg`; zero where it has no (ℓ, m) of these orders.
    """
    spin, lmax = orders.spin, orders.lmax
    if leg.shape != (1 if spin == 0 else 2, rings.count, orders.count):
        raise ValueError(f"leg of spin {spin} on {rings.count} rings and {orders.count} orders, got {leg.shape}")
    components = 1 if spin == 0 or gradient else 2
    single = _is_single(leg.dtype)
    leg = xp.ascontiguousarray(leg)
    if nalm is None:
        nalm = alm_size(lmax)
    alm = xp.zeros((components, nalm), dtype=leg.dtype)
    head = (*orders.arguments, _start(orders, mstart, xp), np.int64(nalm))
    for zone, _, arguments in rings.zones:  # one adds to the other
        module.get_function(f"adjoint_{_kind(spin, components)}_{zone}")(
            (orders.count,), (_THREADS,), (*head, *arguments, single, leg, alm)
        )
    return alm


def legendre_rows(
    alm: Any, spin: int, theta: NDArray[np.float64], step: int, xp: ModuleType, module: Any
) -> Iterator[Any]:
    """The sums of every order 0 … lmax, `step` orders at a time, as rows over θ.

    Parameters
    ----------
    alm : device array (n, nalm), complex
        Spin 0: n real fields. Spin > 0: gradient and curl part, or the gradient alone.
    spin : int ≥ 0
    theta : array (nring,)
        On the host.

    Yields
    ------
    device array (n for spin 0, 2 otherwise; orders, nring), complex, in the precision of `alm`
    """
    lmax = lmax_of(alm.shape[1])
    orders, rings = make_orders(lmax, spin, None, xp, module), make_rings(theta, xp)
    fields = [alm[i : i + 1] for i in range(len(alm))] if spin == 0 else [alm]
    for first in range(0, lmax + 1, step):
        part = orders.part(first, first + step)
        rows = xp.empty((len(fields) if spin == 0 else 2, part.count, rings.count), alm.dtype)
        for i, field in enumerate(fields):
            leg = alm2leg(field, part, rings, xp, module)
            rows[i : i + len(leg)] = leg.transpose(0, 2, 1)
        yield rows


def legendre_bytes(lmax: int, components: int, itemsize: int) -> int:
    """Memory that `legendre_rows` takes beside its rows: coefficients, and the tables of the recursion."""
    return alm_size(lmax) * (components * itemsize + 24)


def ring_pairs(theta: NDArray[np.float64]) -> tuple[NDArray, NDArray, NDArray, NDArray]:
    """Match rings with their mirror images.

    Parameters
    ----------
    theta : array (nring,)
        Colatitudes in [0, π], radians.

    Returns
    -------
    cosine, sine : array (npair,), float64
        Of the northern ring, or of the mirror image of a southern one that is by itself; from the poles to the equator.
    north, south : array (npair,), int32
        Their indices; −1 where there is none.

    Raises
    ------
    ValueError
        If a colatitude lies off the sphere.
    """
    theta = np.asarray(theta, dtype=np.float64)
    if not ((theta >= 0) & (theta <= np.pi)).all():
        raise ValueError("colatitudes must lie between 0 and π, in radians")
    northern, southern = np.flatnonzero(theta <= np.pi / 2), np.flatnonzero(theta > np.pi / 2)
    northern = northern[np.argsort(theta[northern], kind="stable")]
    partner = np.full(len(theta), -1)
    if len(northern) and len(southern):
        folded, known = np.pi - theta[southern], theta[northern]
        right = np.clip(np.searchsorted(known, folded), 1, len(known) - 1) if len(known) > 1 else np.zeros(1, int)
        left = np.maximum(right - 1, 0)
        nearest = np.where(np.abs(known[left] - folded) <= np.abs(known[right] - folded), left, right)
        close = np.flatnonzero(np.abs(known[nearest] - folded) < _MIRROR)
        # of two rings at the same place one stays by itself
        match, first = np.unique(nearest[close], return_index=True)
        partner[northern[match]] = southern[close[first]]
    lonely = np.setdiff1d(southern, partner)
    north = np.concatenate([northern, np.full(len(lonely), -1)])
    south = np.concatenate([partner[northern], lonely])
    one = np.concatenate([northern, lonely])
    by_latitude = np.argsort(-np.abs(np.cos(theta[one])), kind="stable")
    one = one[by_latitude]
    north, south = (index[by_latitude].astype(np.int32) for index in (north, south))
    return np.abs(np.cos(theta[one])), np.sin(theta[one]), north, south


def start_values(spin: int, m: NDArray[np.integer]) -> NDArray[np.float64]:
    """(−1)^m √[(2ℓ₀+1)/4π · C(2ℓ₀, ℓ₀+k) / 4^ℓ₀], ℓ₀ = max(m, s), k = min(m, s), for each order.

    Then ₛλ_ℓ₀m = this · sin^(ℓ₀−k) θ · (1 − cos θ)^k: Goldberg et al. (1967), whose sum has one term there.
    """
    upper, lower = np.maximum(m, spin), np.minimum(m, spin)
    n = np.arange(1, int(upper.max(initial=0)) + 1, dtype=np.longdouble)
    central = np.concatenate([[np.longdouble(1)], np.cumprod((2 * n - 1) / (2 * n))])  # C(2ℓ, ℓ) / 4^ℓ
    value = central[upper] * (2 * upper + 1) / (4 * np.longdouble(np.pi))
    for j in range(1, spin + 1):
        value = value * np.where(j <= lower, (upper - j + 1) / (upper + j).astype(np.longdouble), 1)
    return np.where(m % 2 == 1, -1.0, 1.0) * np.sqrt(value).astype(np.float64)


def _kind(spin: int, components: int) -> str:
    if components not in ((1,) if spin == 0 else (1, 2)):
        raise ValueError(f"spin {spin} has not {components} components")
    return "scalar" if spin == 0 else ("gradient", "spin")[components - 1]


def _is_single(dtype: np.dtype) -> np.int32:
    """As the kernels ask it."""
    if dtype not in (np.complex64, np.complex128):
        raise ValueError(f"coefficients must be complex64 or complex128, got {dtype}")
    return np.int32(dtype == np.complex64)


def _start(orders: Orders, mstart: NDArray[np.integer] | None, xp: ModuleType) -> Any:
    return orders.mstart if mstart is None else xp.asarray(np.asarray(mstart).astype(np.int64))

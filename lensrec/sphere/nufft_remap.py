"""The remap T̃(n) = T(n + ∇φ) by non-uniform FFTs, on a CUDA device or, by the same code, in numpy.

A spin-s field goes on over the poles as f(2π − θ, φ) = (−1)^s f(θ, φ + π), a doubly periodic function with Fourier
modes |m|, |k| ≤ lmax (Reinecke, Belkner & Carron 2023, arXiv:2304.10431). Its Legendre sums at equidistant θ, made on
the device, or on the host and sent while the device is at work, become those modes by one FFT a row; a type-2 NUFFT
evaluates them at (θ′, φ′). The deflection itself is the spin-1 field found so at the pixels' centres.

A NUFFT is complex: Q + iU is one, two real fields T₁ + iT₂ are one, and a real field alone is the real part of
Σ_{m≥0}, with half the modes.

On the device lie, in bytes: 16 for a mode of each field (double precision); the NUFFT's fine grid, 16 × 4 × modes at
upsampling by 2, 16 × 1.6 × modes by 1.25, and as much for its FFT; 16 for the α and 8 for each map of every pixel; 64
for each pixel of a tile; and 56 for each a_ℓm while its Legendre sums are made there. Tiles are rings that follow each
other, as many as memory allows; the FFT is done again for each. `nufft_setting.needed_bytes` adds it up: for T, Q and U
at ε = 1e-7, nside 8192 with ℓ ≤ 8000 takes 76 GB at upsampling by 2 and 56 GB by 1.25, nside 4096 with ℓ ≤ 6000 takes
33 GB and 22 GB.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import ducc0
import numpy as np
from numpy.typing import NDArray

from lensrec.arrays import Backend, backend, real_dtype, thread_count
from lensrec.sphere.alm import alm_index, lmax_of
from lensrec.sphere.grids import Grid
from lensrec.sphere.legendre_device import SOURCE as LEGENDRE_SOURCE
from lensrec.sphere.legendre_device import legendre_bytes, legendre_rows
from lensrec.sphere.nufft_setting import (
    UPSAMPLING,
    NufftSetting,
    chunk_orders,
    deflection_setting,
    nufft_setting,
    plane_shape,
    remap_bytes,
    rms_multipole,
    tile_pixels,
)
from lensrec.sphere.pixel_kernels import follow, pixel_centres, ring_tiles, unpack
from lensrec.sphere.remap import check_epsilon, checked_sky, in_precision, spin1_alm


@dataclass(frozen=True, eq=False)
class Field:
    """Harmonic coefficients that one NUFFT evaluates.

    Attributes
    ----------
    alm : array (1 or 2, nalm), complex
        Spin 0: one real field, or two. Spin > 0: gradient and curl part, or the gradient alone.
    spin : int ≥ 0
    """

    alm: NDArray
    spin: int

    @property
    def lone(self) -> bool:
        """Whether this is one real field by itself."""
        return self.spin == 0 and len(self.alm) == 1

    @property
    def lmax(self) -> int:
        """Band limit."""
        return lmax_of(self.alm.shape[-1])


def remap_tp(
    teb_alm: NDArray,
    phi_alm: NDArray,
    grid: Grid,
    *,
    curl_alm: NDArray | None = None,
    epsilon: float = 1e-7,
    backend: str | Backend = "auto",
    nthreads: int = 0,
) -> Any:
    """Lens a sky onto a grid, as `lensrec.sphere.remap.remap_tp` does; the map stays on the device.

    Parameters
    ----------
    teb_alm : array (3, nalm) for T, E, B, or (1, nalm) for T
        Unlensed sky; complex64 or complex128, on the host.
    phi_alm, curl_alm : array (nalm_φ,), complex
        Potentials φ and, if there is one, Ω.
    grid : Grid
    epsilon : float
        Root-mean-square error in units of the rms of T, and of P; from 1e-12 to 1e-3.
    backend : Backend, or "auto", "numpy", "cupy"
        A name makes one for this call; `lensrec.arrays.backend` makes one that keeps its plans.
    nthreads : int

    Returns
    -------
    array of the backend (3, npix) of T, Q, U, or (1, npix) of T
        `Backend.to_host` brings it to the host. float32 where the sky is complex64 and ε ≥ 1e-5, else float64.

    Raises
    ------
    ValueError
        As `lensrec.sphere.remap.remap_tp`; NoDevice, which is one, if a device is wanted and cannot be had.
    """
    teb = checked_sky(teb_alm, epsilon)
    fields = [Field(teb[:1], 0)] + ([Field(teb[1:], 2)] if len(teb) == 3 else [])
    return remap_fields(fields, phi_alm, grid, curl_alm=curl_alm, epsilon=epsilon, backend=backend, nthreads=nthreads)


def remap_scalars(
    scalar_alm: NDArray,
    phi_alm: NDArray,
    grid: Grid,
    *,
    curl_alm: NDArray | None = None,
    epsilon: float = 1e-7,
    backend: str | Backend = "auto",
    nthreads: int = 0,
) -> Any:
    """Lens several real fields by one φ, T of two skies or T and κ, two of them to a transform; see `remap_tp`.

    Parameters
    ----------
    scalar_alm : array (n, nalm), complex

    Returns
    -------
    array of the backend (n, npix), real
        The error of each of a pair is in units of the larger one's rms.
    """
    if scalar_alm.ndim != 2 or len(scalar_alm) == 0:
        raise ValueError(f"the fields must be alm of shape (n, nalm), got {scalar_alm.shape}")
    rows = checked_sky(scalar_alm[:1], epsilon).dtype
    given = scalar_alm.astype(rows, copy=False)
    fields = [Field(given[i : i + 2], 0) for i in range(0, len(given), 2)]
    return remap_fields(fields, phi_alm, grid, curl_alm=curl_alm, epsilon=epsilon, backend=backend, nthreads=nthreads)


def remap_fields(
    fields: Sequence[Field],
    phi_alm: NDArray,
    grid: Grid,
    *,
    curl_alm: NDArray | None = None,
    epsilon: float = 1e-7,
    backend: str | Backend = "auto",
    nthreads: int = 0,
) -> Any:
    """Lens fields of any spin by one φ onto a grid; see `remap_tp`.

    Parameters
    ----------
    fields : sequence of Field
        Of one lmax and dtype.

    Returns
    -------
    array of the backend (rows, npix), real
        A row for each real field, two for each of spin > 0.
    """
    check_epsilon(epsilon)
    lmaxes = {field.lmax for field in fields}
    if len(lmaxes) != 1:
        raise ValueError(f"fields that are lensed together must have one lmax, got {sorted(lmaxes) or 'none'}")
    spin1 = spin1_alm(phi_alm, curl_alm)
    if curl_alm is None:
        spin1 = spin1[:1]  # a pure gradient takes two thirds of the work
    if not np.isfinite(spin1).all():
        raise ValueError("the potential is infinite or NaN")
    b = _backend(backend, nthreads)
    counts = [2 if field.spin else len(field.alm) for field in fields]
    dtype = real_dtype(fields[0].alm.dtype)
    setting = _setting(b, fields, grid, epsilon, lmax_of(spin1.shape[-1]), sum(counts))
    half = all(field.lone for field in fields)
    with b.active():
        alpha = _deflection(b, Field(spin1, 1), grid, deflection_setting(epsilon, setting.upsampling))
        b.make_room(_bytes(b, fields, grid, setting, epsilon, lmax_of(spin1.shape[-1]), sum(counts)))
        planes = [fourier_plane(b, field, setting.dtype, half=half) for field in fields]
        out = b.xp.empty((sum(counts), grid.npix), dtype)
        plan = b.plan(planes[0].shape, setting.dtype, epsilon=setting.epsilon, upsampling=setting.upsampling)
        turned = any(field.spin for field in fields)
        for tile, pixels in _tiles(b, grid):
            theta, phi, gamma = follow(b, tile, alpha[pixels], rotation=turned)
            _set_points(b, plan, theta, phi, setting.dtype)
            rows = iter(out[:, pixels])
            for field, plane, count in zip(fields, planes, counts, strict=True):
                target = [next(rows) for _ in range(count)]
                _evaluate(b, plan, plane, field, target, gamma, phi)
        b.wait()
    return out


def remap(
    alm: NDArray,
    theta: Any,
    phi: Any,
    *,
    spin: int,
    epsilon: float = 1e-7,
    gamma: Any = None,
    backend: str | Backend = "auto",
    nthreads: int = 0,
) -> Any:
    """Evaluate a spin field at given positions and turn it by exp(isγ), as `lensrec.sphere.remap.remap` does.

    Parameters
    ----------
    alm : array (nalm,) or (2, nalm), complex, on the host
    theta, phi, gamma : array of the backend (npix,), float64
        Colatitude, longitude and angle, radians; `Backend.to_device` makes them from numpy's.
    spin : int ≥ 0

    Returns
    -------
    array of the backend (npix,) for spin 0, (2, npix) otherwise
    """
    rows = in_precision(np.atleast_2d(alm), epsilon)
    b = _backend(backend, nthreads)
    field = Field(rows, spin)
    single = field.alm.dtype == np.complex64
    setting = nufft_setting(epsilon, rms_multipole(field.alm), single=single)
    with b.active():
        plane = fourier_plane(b, field, setting.dtype, half=field.lone)
        plan = b.plan(plane.shape, setting.dtype, epsilon=setting.epsilon, upsampling=setting.upsampling)
        _set_points(b, plan, theta, phi, setting.dtype)
        out = b.xp.empty((2 if spin or len(rows) == 2 else 1, theta.size), real_dtype(field.alm.dtype))
        _evaluate(b, plan, plane, field, list(out), gamma, phi)
        b.wait()
    return out if spin or len(rows) == 2 else out[0]


def fourier_plane(backend: Backend, field: Field, dtype: np.dtype, *, half: bool = False) -> Any:
    """Fourier modes of a field on the doubled sphere.

    Parameters
    ----------
    field : Field
    dtype : numpy dtype
        complex64 or complex128.
    half : bool
        One real field by m ≥ 0 alone.

    Returns
    -------
    array of the backend, of shape `plane_shape`
        Modes in FFT order of m, or with `half` of m − (lmax+1)//2, and of k.

    Notes
    -----
    With a real map's sums c_m(θ) = Σ_ℓ a_ℓm λ_ℓm(θ), m ≥ 0, and c_−m = c_m*, f = A + iB has A_m + iB_m and A_m* + iB_m*
    at −m. The modes in θ are those of the sums at θ_j = 2πj/N, where N/2 < j < N follows by (−1)^(s+m).
    """
    b, xp, lmax = backend, backend.xp, field.lmax
    shape = plane_shape(lmax, real=half)
    points = shape[1] // 2 + 1
    colatitudes = np.pi * np.arange(points) / (points - 1)
    step = chunk_orders(lmax, field.alm.dtype.itemsize)
    starts = range(0, lmax + 1, step)
    parts = 1 if field.lone else 2

    def legendre(i: int, out: NDArray) -> None:
        orders = np.arange(starts[i], min(starts[i] + step, lmax + 1), dtype=np.uint64)
        legendre_sums(field, colatitudes, orders, out[:, : len(orders)], nthreads=b.nthreads)

    if b.on_device and b.legendre == "device":
        alm, module = b.to_device(field.alm), b.module(LEGENDRE_SOURCE)
        chunks = legendre_rows(alm, field.spin, colatitudes, step, xp, module)
    else:
        chunks = b.stream_in(len(starts), (parts, step, points), field.alm.dtype, legendre)
    plane = xp.empty(shape, dtype)
    for first, sums in zip(starts, chunks, strict=True):
        end = min(first + step, lmax + 1)
        some = sums[:, : end - first] * (1.0 / shape[1])
        positive = some[0] + 1j * some[1] if parts == 2 else some[0]
        if half:
            if first == 0:
                positive[1:] *= 2.0
            else:
                positive *= 2.0
            _put(plane, first - shape[0] // 2, _theta_modes(xp, positive, field.spin + first, dtype))
            continue
        plane[first:end] = _theta_modes(xp, positive, field.spin + first, dtype)
        negative = xp.conj(some[0]) + 1j * xp.conj(some[1]) if parts == 2 else xp.conj(some[0])
        low = 1 if first == 0 else 0
        if first + low < end:
            modes = _theta_modes(xp, negative[low:], field.spin + first + low, dtype)
            plane[shape[0] - end + 1 : shape[0] - first - low + 1] = modes[::-1]
    return plane


def legendre_sums(
    field: Field, theta: NDArray[np.float64], orders: NDArray[np.uint64], out: NDArray, *, nthreads: int = 0
) -> None:
    """c_m(θ) of each of a field's real maps for some orders m ≥ 0, written to (parts, orders, θ), on the host."""
    lmax = field.lmax
    start = alm_index(lmax, 0, orders).astype(np.uint64)
    sets = [field.alm[i : i + 1] for i in range(len(field.alm))] if field.spin == 0 else [field.alm]
    targets = [out[i : i + 1] for i in range(len(sets))] if field.spin == 0 else [out]
    for alm, target in zip(sets, targets, strict=True):
        ducc0.sht.alm2leg(
            alm=alm,
            lmax=lmax,
            spin=field.spin,
            theta=theta,
            mval=orders,
            mstart=start,
            leg=target.transpose(0, 2, 1),
            mode="GRAD_ONLY" if field.spin > 0 and len(alm) == 1 else "STANDARD",
            nthreads=thread_count(nthreads),
        )


def _theta_modes(xp: Any, sums: Any, parity: int, dtype: np.dtype) -> Any:
    """Modes in θ of rows that follow each other in m, whose first goes on over the pole with (−1)^parity."""
    points = sums.shape[1]
    doubled = xp.empty((sums.shape[0], 2 * (points - 1)), dtype)
    doubled[:, :points] = sums
    back = sums[:, points - 2 : 0 : -1]
    even = parity % 2
    doubled[even::2, points:] = back[even::2]
    doubled[1 - even :: 2, points:] = -back[1 - even :: 2]
    return xp.fft.fft(doubled, axis=1)


def _put(plane: Any, first: int, rows: Any) -> None:
    """Write rows from a position that counts from the end where it is negative."""
    before = max(0, min(len(rows), -first))
    if before:
        plane[plane.shape[0] + first : plane.shape[0] + first + before] = rows[:before]
    if before < len(rows):
        plane[first + before : first + len(rows)] = rows[before:]


def _evaluate(b: Backend, plan: Any, plane: Any, field: Field, rows: list[Any], gamma: Any, phi: Any) -> None:
    values = plan.execute(plane)
    turn = {"gamma": gamma, "spin": field.spin} if field.spin and gamma is not None else {}
    if field.lone and plane.shape[0] == field.lmax + 1 and field.lmax > 0:
        turn = {"phi": phi, "shift": plane.shape[0] // 2}
    unpack(b, values, rows, **turn)


def _set_points(b: Backend, plan: Any, theta: Any, phi: Any, dtype: np.dtype) -> None:
    real = real_dtype(dtype)
    plan.setpts(phi.astype(real, copy=False), theta.astype(real, copy=False))


def _deflection(b: Backend, field: Field, grid: Grid, setting: NufftSetting) -> Any:
    """α_θ + iα_φ at every pixel of a grid."""
    alpha = b.xp.empty(grid.npix, setting.dtype)
    plane = fourier_plane(b, field, setting.dtype)
    plan = b.plan(plane.shape, setting.dtype, epsilon=setting.epsilon, upsampling=setting.upsampling)
    for tile, pixels in _tiles(b, grid):
        theta, phi = pixel_centres(b, tile)
        plan.setpts(phi, theta)
        plan.execute(plane, alpha[pixels])
    return alpha


def _tiles(b: Backend, grid: Grid) -> Iterator[tuple[Grid, slice]]:
    start = 0
    for tile in ring_tiles(grid, tile_pixels(grid.npix, b.free_bytes())):
        yield tile, slice(start, start + tile.npix)
        start += tile.npix


def _setting(b: Backend, fields: Sequence[Field], grid: Grid, epsilon: float, lmax_phi: int, rows: int) -> NufftSetting:
    """Upsampling by 2, or by 1.25 where the memory asks for it and ε allows it."""
    ell_rms = max(rms_multipole(field.alm) for field in fields)
    single = fields[0].alm.dtype == np.complex64
    setting = nufft_setting(epsilon, ell_rms, single=single)
    nbytes = _bytes(b, fields, grid, setting, epsilon, lmax_phi, rows)
    b.make_room(nbytes)  # what is kept must not change what is chosen
    free = b.free_bytes()
    if free is None or epsilon < UPSAMPLING[1.25][0] or nbytes < 0.9 * free:
        return setting
    return nufft_setting(epsilon, ell_rms, single=single, upsampling=1.25)


def _bytes(
    b: Backend,
    fields: Sequence[Field],
    grid: Grid,
    setting: NufftSetting,
    epsilon: float,
    lmax_phi: int,
    rows: int,
) -> int:
    lmax, half = fields[0].lmax, all(field.lone for field in fields)
    sums = legendre_bytes(max(lmax, lmax_phi), 2, 16) if b.legendre == "device" else 0
    return sums + remap_bytes(
        grid.npix,
        [plane_shape(lmax, real=half) for _ in fields],
        setting,
        deflection_setting(epsilon, setting.upsampling),
        rows=rows,
        lmax=lmax,
        lmax_phi=lmax_phi,
        out_itemsize=real_dtype(fields[0].alm.dtype).itemsize,
    )


def _backend(given: str | Backend, nthreads: int) -> Backend:
    return given if isinstance(given, Backend) else backend(given, nthreads=nthreads)

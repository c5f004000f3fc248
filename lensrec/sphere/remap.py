"""The remap T̃(n) = T(n + ∇φ) of spin fields on the sphere.

n + α is the point at distance |α| from n along the geodesic that leaves n in the direction of α = ∇φ + ∇×Ω
(Challinor & Chon 2002, astro-ph/0202214, section II). A spin field found there is brought back to n by parallel
transport along that geodesic, which turns it by exp(isγ) (Lewis 2005, astro-ph/0502469, section IV; ducc0's routines
are those of Reinecke, Belkner & Carron 2023, arXiv:2304.10431). Positions are held in double precision always:
rounding them to single precision alone costs 2e-5 of the rms of a CMB sky's T and 5e-5 of its polarisation.
"""

import ducc0
import numpy as np
from numpy.typing import NDArray

from lensrec.arrays import real_dtype, thread_count
from lensrec.sphere.alm import lmax_of, scale_alm
from lensrec.sphere.geodesic import follow_geodesics
from lensrec.sphere.grids import Grid
from lensrec.sphere.lensing_map import lens_rings
from lensrec.sphere.sht import synthesis

EPSILON_RANGE = (1e-12, 1e-3)
# Below this, single precision cannot keep the promise, and the transform runs in double.
SINGLE_EPSILON = 1e-5
# The finest accuracy that ducc0 accepts in double precision.
FINEST_EPSILON = 2.1e-13
# Pixels turned at a time, so that the rotation needs no temporary of the size of a map.
_CHUNK = 1 << 18


def deflection(
    phi_alm: NDArray,
    grid: Grid,
    *,
    curl_alm: NDArray | None = None,
    out: NDArray[np.float64] | None = None,
    nthreads: int = 0,
) -> NDArray[np.float64]:
    """The deflection field α = ∇φ + ∇×Ω on a grid.

    Parameters
    ----------
    phi_alm : array (nalm,), complex
        Lensing potential φ.
    grid : Grid
    curl_alm : array (nalm,), complex, optional
        Curl potential Ω, with the lmax of φ.
    out : array (2, npix), float64, optional
        Where to write it.
    nthreads : int
        0: as many as this process may use.

    Returns
    -------
    array (2, npix), float64
        α along e_θ (south) and e_φ (east), radians; a spin-1 field with gradient part √(L(L+1)) φ_LM and curl part
        √(L(L+1)) Ω_LM.
    """
    alm = spin1_alm(phi_alm, curl_alm)
    out = np.empty((2, grid.npix)) if out is None else out
    # In two halves, each with a ring's mirror image: the transform holds half of its Legendre coefficients at a time,
    # which are twice as large as the result, for 3 % more time.
    rings = np.arange(len(grid.theta))
    outer = np.minimum(rings, rings[::-1]) < len(rings) // 4
    for half in (outer, ~outer):
        if half.any():
            synthesis(alm, _rings_of(grid, half), spin=1, out=out, nthreads=nthreads)
    return out


def deflected_positions(
    field: NDArray[np.float64], grid: Grid, *, rotation: bool = True, nthreads: int = 0
) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
    """Where the light of each pixel comes from, and by how much its polarisation axes turn on the way.

    Parameters
    ----------
    field : array (2, npix), float64
        Deflection (α_θ, α_φ), radians, of any size.
    grid : Grid
    rotation : bool
        Whether the angle γ is wanted.
    nthreads : int

    Returns
    -------
    positions : array (npix, 2), float64
        Colatitude θ′ in [0, π] and longitude φ′ in [0, 2π).
    gamma : array (npix,), float64, or None
        γ = ψ − ψ′, where ψ and ψ′ are the angles, from e_θ towards e_φ, of the geodesic's direction at n and at n′.

    Raises
    ------
    ValueError
        If the field does not fit the grid.
    """
    _check_field(field, grid)
    return follow_geodesics(field, grid, rotation=rotation, nthreads=nthreads)


def remap(
    alm: NDArray,
    positions: NDArray[np.float64],
    *,
    spin: int,
    epsilon: float = 1e-7,
    gamma: NDArray[np.float64] | None = None,
    nthreads: int = 0,
) -> NDArray:
    """Evaluate a band-limited spin field at given positions and turn it into the frame it is seen in.

    Parameters
    ----------
    alm : array (nalm,) for spin 0; (2, nalm), or (nalm,) for a pure gradient, for spin > 0
        complex64 or complex128. For ε < 1e-5 single precision is raised to double.
    positions : array (npix, 2), float64
        Colatitude in [0, π] and longitude in [0, 2π], radians.
    spin : int ≥ 0
    epsilon : float
        Root-mean-square error of the result, in units of the field's rms; from 1e-12 to 1e-3. Never above 3ε.
    gamma : array (npix,), optional
        Angles by which the field is turned, f → f exp(i s γ); for spin > 0.
    nthreads : int

    Returns
    -------
    array (npix,) for spin 0, (2, npix) otherwise, real, in the precision of the transform.

    Raises
    ------
    ValueError
        If epsilon is out of range, positions are no (npix, 2) array of doubles or off the sphere, or gamma has
        another length.
    """
    alm = in_precision(alm, epsilon)
    if positions.ndim != 2 or positions.shape[1] != 2 or positions.dtype != np.float64:
        raise ValueError(f"positions must be (npix, 2) float64, got {positions.shape} {positions.dtype}")
    if gamma is not None and gamma.shape != positions.shape[:1]:
        raise ValueError(f"gamma must be ({len(positions)},), one angle a position, got {gamma.shape}")
    _check_positions(positions)
    out = np.empty((1 if spin == 0 else 2, len(positions)), dtype=real_dtype(alm.dtype))
    _evaluate(alm, positions, spin, epsilon, gamma, out, nthreads)
    return out[0] if spin == 0 else out


def remap_tp(
    teb_alm: NDArray,
    phi_alm: NDArray,
    grid: Grid,
    *,
    curl_alm: NDArray | None = None,
    epsilon: float = 1e-7,
    nthreads: int = 0,
) -> NDArray:
    """Lens a sky onto a grid: temperature alone, or temperature and polarisation.

    Parameters
    ----------
    teb_alm : array (3, nalm) for T, E, B, or (1, nalm) for T
        Unlensed sky; complex64 (single precision where ε ≥ 1e-5) or complex128.
    phi_alm, curl_alm : array (nalm_φ,), complex
        Potentials φ and, if there is one, Ω; their lmax may differ from that of the sky.
    grid : Grid
    epsilon : float
        Root-mean-square error in units of the rms of T, and of P; from 1e-12 to 1e-3.
    nthreads : int

    Returns
    -------
    array (3, npix) of T, Q, U, or (1, npix) of T
        (Q + iU)(n) = exp(2iγ) (Q + iU)(n′), in the units of the sky.

    Raises
    ------
    ValueError
        If epsilon is out of range, `teb_alm` has another shape, or a potential is not finite.
    """
    teb = checked_sky(teb_alm, epsilon)
    out = np.empty((len(teb), grid.npix), dtype=real_dtype(teb.dtype))
    # The deflection waits where Q and U will stand: each ring of it is read before they are written.
    room = out[1:] if out.shape[0] == 3 and out.dtype == np.float64 else None
    field = deflection(phi_alm, grid, curl_alm=curl_alm, out=room, nthreads=nthreads)
    lens_rings(_by_spin(teb), field, grid, out, epsilon=epsilon, nthreads=nthreads)
    return out


def remap_by(
    teb_alm: NDArray, field: NDArray[np.float64], grid: Grid, *, epsilon: float = 1e-7, nthreads: int = 0
) -> NDArray:
    """Lens a sky onto a grid by a deflection that is at hand, for several skies behind one lens.

    Parameters
    ----------
    teb_alm : array (3, nalm) or (1, nalm)
        As for `remap_tp`.
    field : array (2, npix), float64
        What `deflection` returns.
    grid, epsilon, nthreads
        As for `remap_tp`.

    Returns
    -------
    array (3, npix) of T, Q, U, or (1, npix) of T

    Raises
    ------
    ValueError
        If epsilon is out of range, `teb_alm` has another shape, or the deflection does not fit the grid or is not
        finite.
    """
    teb = checked_sky(teb_alm, epsilon)
    _check_field(field, grid)
    out = np.empty((len(teb), grid.npix), dtype=real_dtype(teb.dtype))
    lens_rings(_by_spin(teb), field, grid, out, epsilon=epsilon, nthreads=nthreads)
    return out


def remap_at(
    teb_alm: NDArray,
    phi_alm: NDArray,
    theta: NDArray[np.float64],
    phi: NDArray[np.float64],
    *,
    curl_alm: NDArray | None = None,
    epsilon: float = 1e-7,
    nthreads: int = 0,
) -> NDArray:
    """Lens a sky at any list of directions; otherwise as `remap_tp`.

    Parameters
    ----------
    theta, phi : array (npix,)
        Colatitude in [0, π] and longitude, radians.

    Returns
    -------
    array (3, npix) of T, Q, U along each point's e_θ and e_φ, or (1, npix) of T

    Raises
    ------
    ValueError
        As `remap_tp`; or if the directions are no two lists of one length, or off the sphere.
    """
    teb = checked_sky(teb_alm, epsilon)
    points = _points(theta, phi)
    # An error δα moves T by |∇T| δα: for α of some 1e-3 and multipoles of some 1e3 as much as δα/α of T's rms.
    # A hundredth of ε keeps it out of sight.
    field = remap(
        spin1_alm(phi_alm, curl_alm), points, spin=1, epsilon=max(epsilon / 100, EPSILON_RANGE[0]), nthreads=nthreads
    )
    positions, gamma = follow_geodesics(field, _each_a_ring(points), rotation=len(teb) == 3, nthreads=nthreads)
    return _lensed(teb, positions, gamma, epsilon, nthreads)


def _rings_of(grid: Grid, chosen: NDArray[np.bool_]) -> Grid:
    """Some rings of a grid, where they are in its maps."""
    return Grid(
        grid.theta[chosen], grid.nphi[chosen], grid.phi0[chosen], grid.ringstart[chosen], grid.weights[chosen], -1
    )


def spin1_alm(phi_alm: NDArray, curl_alm: NDArray | None) -> NDArray[np.complex128]:
    """Gradient and curl coefficients of α, (2, nalm), in double precision; zero where there is no curl potential."""
    ell = np.arange(lmax_of(phi_alm.shape[-1]) + 1.0)
    given = potentials(phi_alm, curl_alm)
    alm = np.zeros((2, given.shape[1]), dtype=np.complex128)
    alm[: len(given)] = scale_alm(given, np.sqrt(ell * (ell + 1.0)))
    return alm


def potentials(phi_alm: NDArray, curl_alm: NDArray | None) -> NDArray[np.complex128]:
    """φ, or φ and Ω, as rows in double precision.

    Raises
    ------
    ValueError
        If φ is not one array of alm, or Ω has another shape.
    """
    if phi_alm.ndim != 1:
        raise ValueError(f"the potential must be one array of alm, got the shape {phi_alm.shape}")
    if curl_alm is not None and curl_alm.shape != phi_alm.shape:
        raise ValueError(f"the curl potential must have the shape {phi_alm.shape} of φ, got {curl_alm.shape}")
    rows = phi_alm[None] if curl_alm is None else np.stack([phi_alm, curl_alm])
    return rows.astype(np.complex128, copy=False)


def _by_spin(teb: NDArray) -> list[tuple[NDArray, int]]:
    return [(teb[:1], 0)] if len(teb) == 1 else [(teb[:1], 0), (teb[1:], 2)]


def _check_field(field: NDArray, grid: Grid) -> None:
    if field.shape != (2, grid.npix):
        raise ValueError(f"the deflection must have the shape (2, {grid.npix}) of its grid, got {field.shape}")


def _lensed(
    teb: NDArray,
    positions: NDArray[np.float64],
    gamma: NDArray[np.float64] | None,
    epsilon: float,
    nthreads: int,
) -> NDArray:
    _check_positions(positions)
    out = np.empty((len(teb), len(positions)), dtype=real_dtype(teb.dtype))
    _evaluate(teb[:1], positions, 0, epsilon, None, out[:1], nthreads)
    if len(teb) == 3:
        _evaluate(teb[1:], positions, 2, epsilon, gamma, out[1:], nthreads)
    return out


def _evaluate(
    alm: NDArray,
    positions: NDArray[np.float64],
    spin: int,
    epsilon: float,
    gamma: NDArray[np.float64] | None,
    out: NDArray,
    nthreads: int,
) -> None:
    """Write the field at `positions`, turned by `gamma`, into the rows of `out`.

    ducc0 takes its accuracy relative to the field's rms; measured, it keeps 0.65 of what it is asked for. Below that
    lies the rounding of cos θ, which grows towards the poles: within 3/lmax of them some 1e-12 at lmax = 700 and
    3e-11 at 2000 for a white spectrum, over the whole sphere 2e-13 and 5e-13.
    """
    rows = np.atleast_2d(alm)
    threads = thread_count(nthreads)
    ducc0.sht.synthesis_general(
        alm=rows,
        spin=spin,
        lmax=lmax_of(rows.shape[-1]),
        loc=positions,
        epsilon=max(epsilon, FINEST_EPSILON),
        mode="GRAD_ONLY" if spin > 0 and len(rows) == 1 else "STANDARD",
        map=out,
        nthreads=threads,
    )
    if spin > 0 and gamma is not None:
        turn(out, gamma, spin, threads)


def turn(out: NDArray, gamma: NDArray[np.float64], spin: int, threads: int) -> None:
    """Multiply the spin field in the rows of `out` by exp(i s γ), in place and in chunks."""
    for start in range(0, out.shape[1], _CHUNK):
        part = slice(start, start + _CHUNK)
        value = out[0, part] + 1j * out[1, part]
        ducc0.misc.lensing_rotate(value, gamma[part].astype(out.dtype), spin, threads)
        out[0, part], out[1, part] = value.real, value.imag


def _check_positions(positions: NDArray[np.float64]) -> None:
    bounds = (np.pi, 2.0 * np.pi)
    columns = [positions[:, k] for k in (0, 1)]  # by themselves: numpy's minimum over an axis of two is slow
    # written so that NaN is refused as well
    if not all(c.min(initial=0.0) >= 0 and c.max(initial=0.0) <= top for c, top in zip(columns, bounds, strict=True)):
        raise ValueError("positions must have θ in [0, π] and φ in [0, 2π]; is a potential infinite or NaN?")


def check_epsilon(epsilon: float) -> None:
    """Refuse an accuracy that is not offered."""
    low, high = EPSILON_RANGE
    if not low <= epsilon <= high:
        raise ValueError(f"epsilon must be between {low:g} and {high:g}, got {epsilon:g}")


def in_precision(alm: NDArray, epsilon: float) -> NDArray:
    """The coefficients in the precision that keeps the promise of ε."""
    check_epsilon(epsilon)
    single = alm.dtype == np.complex64 and epsilon >= SINGLE_EPSILON
    return alm if single else alm.astype(np.complex128, copy=False)


def checked_sky(teb_alm: NDArray, epsilon: float) -> NDArray:
    """T, or T, E and B, in the precision that keeps the promise of ε."""
    if teb_alm.ndim != 2 or teb_alm.shape[0] not in (1, 3):
        raise ValueError(f"the sky must be alm of shape (3, nalm) or, for T alone, (1, nalm), got {teb_alm.shape}")
    return in_precision(teb_alm, epsilon)


def _each_a_ring(points: NDArray[np.float64]) -> Grid:
    """Directions as a grid of rings of one pixel; it has no quadrature."""
    count = len(points)
    first = np.arange(count, dtype=np.uint64)
    ones = np.ones(count, dtype=np.uint64)
    return Grid(points[:, 0].copy(), ones, points[:, 1].copy(), first, np.zeros(count), -1)


def _points(theta: NDArray[np.float64], phi: NDArray[np.float64]) -> NDArray[np.float64]:
    theta, phi = np.asarray(theta, dtype=np.float64), np.asarray(phi, dtype=np.float64)
    if theta.ndim != 1 or theta.shape != phi.shape:
        raise ValueError(f"theta and phi must be two lists of one length, got {theta.shape} and {phi.shape}")
    if not (np.isfinite(phi).all() and ((theta >= 0) & (theta <= np.pi)).all()):
        raise ValueError("theta must lie between 0 and π and phi be finite; give colatitude and longitude in radians")
    return np.stack([theta, phi % (2.0 * np.pi)], axis=1)

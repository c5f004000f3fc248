"""Walking along great circles: where a deflection leads, and how the axes of polarisation turn on the way."""

import ducc0
import numpy as np
from numpy.typing import NDArray

from lensrec.arrays import thread_count
from lensrec.sphere.grids import Grid

# ducc0's γ carries an error of some 1e-16 |α|/sin θ′ that its θ′, φ′ do not; up to this |α| (radians, 50 times the
# CMB's deflection) it stays below 1e-14 on the first rings of nside 1024.
_SMALL = 0.05


def follow_geodesics(
    field: NDArray[np.float64], grid: Grid, *, rotation: bool = True, nthreads: int = 0
) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
    """Start from each pixel in the direction of the deflection and walk its length.

    Parameters
    ----------
    field : array (2, npix), float64
        Deflection along e_θ and e_φ, radians, of any size.
    grid : Grid
    rotation : bool
        Whether the angle γ is wanted.
    nthreads : int
        0: as many as this process may use.

    Returns
    -------
    positions : array (npix, 2), float64
        Colatitude θ′ in [0, π] and longitude φ′ in [0, 2π).
    gamma : array (npix,), float64, or None
        γ = ψ − ψ′, where ψ and ψ′ are the angles, from e_θ towards e_φ, of the geodesic's direction at n and at n′.

    Notes
    -----
    cos θ′ = cos|α| cos θ − sin|α| sin θ cos ψ and sin(φ′ − φ) sin θ′ = sin|α| sin ψ (Lewis 2005, astro-ph/0502469,
    section IV A), which ducc0 evaluates without loss for small angles. Position, and axes as vectors, are good to
    1e-14 for any deflection and next to the poles.
    """
    field = np.asarray(field, dtype=np.float64)  # positions would follow the precision of the deflection
    moved = ducc0.misc.get_deflected_angles(
        theta=grid.theta,
        nphi=grid.nphi,
        phi0=grid.phi0,
        ringstart=grid.ringstart,
        deflect=field.T,
        calc_rotation=rotation,
        nthreads=thread_count(nthreads),
    )
    positions = moved[:, :2]
    if not rotation:
        return positions, None
    gamma = moved[:, 2]
    if field.max(initial=0.0) > _SMALL or field.min(initial=0.0) < -_SMALL:
        far = np.flatnonzero(np.hypot(field[0], field[1]) > _SMALL)
        gamma[far] = _carried_angle(field[:, far], pixel_angles(grid, far), positions[far].T)
    return positions, gamma


def pixel_angles(grid: Grid, pixels: NDArray[np.integer]) -> NDArray[np.float64]:
    """Colatitude and longitude of some pixels, shape (2, number of pixels)."""
    ring = np.searchsorted(grid.ringstart.astype(np.int64), pixels, side="right") - 1
    step = 2.0 * np.pi / grid.nphi.astype(np.float64)
    place = pixels - grid.ringstart.astype(np.int64)[ring]
    return np.array([grid.theta[ring], grid.phi0[ring] + place * step[ring]])


def _carried_angle(
    field: NDArray[np.float64], start: NDArray[np.float64], end: NDArray[np.float64]
) -> NDArray[np.float64]:
    """γ from the vector that e_θ becomes, seen in the axes at the very θ′, φ′ that were rounded."""
    n, e_theta, e_phi = _axes(*start)
    length = np.hypot(field[0], field[1])
    along = (field[0] * e_theta + field[1] * e_phi) / length
    # e_θ = (e_θ·d) d + across, of which only the direction d of the geodesic changes: d → d cos|α| − n sin|α|
    cosine = field[0] / length
    carried = e_theta + cosine * (along * (np.cos(length) - 1.0) - n * np.sin(length))
    _, e_theta, e_phi = _axes(*end)
    return -np.arctan2((carried * e_phi).sum(axis=0), (carried * e_theta).sum(axis=0))


def _axes(theta: NDArray[np.float64], phi: NDArray[np.float64]) -> NDArray[np.float64]:
    """n, e_θ and e_φ as vectors, shape (3, 3, number of points)."""
    st, ct, sp, cp = np.sin(theta), np.cos(theta), np.sin(phi), np.cos(phi)
    return np.array([[st * cp, st * sp, ct], [ct * cp, ct * sp, -st], [-sp, cp, np.zeros_like(st)]])

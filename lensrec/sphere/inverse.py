"""The inverse of the remap: the deflection that leads from each point back to where its light is seen.

A deflection takes n to n′ = n + α(n). Here n is sought for a given n′, and written as n = n′ + β. Geodesics run both
ways: n + α(n) = n′ holds exactly if β is α(n), carried along the geodesic from n to n′, with the other sign. So

    ρ(β) = β + e^{iγ} α(n′ + β) = 0        in the tangent plane at n′,

where γ is the angle of `follow_geodesics` from n′ along β; nothing is expanded in α, and no pole is special. The
sphere brings geodesics together, so |ρ| is never less than the distance from n + α(n) to n′ (Rauch's comparison
theorem; do Carmo, Riemannian Geometry, chapter 10): it is the residual that is asked to be small.

Two equations for two unknowns at each pixel are solved by Broyden's method (1965, Math. Comp. 19, 577): Newton's steps
with a Jacobian that begins as the unit matrix and takes from each evaluation what it tells about the last step. An
evaluation is one spin-1 synthesis of α, at those pixels alone that are not there yet. Beginning with 1 + ∇α at n′
instead costs a synthesis of spin 0 and one of spin 2 and saves no evaluation: within the 2.5′ of a deflection the
convergence of the sky changes as much as it is large. Without Broyden's term the largest error falls but by a
factor of 2 or 3 in each.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lensrec.sphere.alm import lmax_of, scale_alm
from lensrec.sphere.geodesic import follow_geodesics, pixel_angles
from lensrec.sphere.grids import Grid
from lensrec.sphere.magnification import determinant, distortion
from lensrec.sphere.remap import EPSILON_RANGE, deflection, remap

_MOST_EVALUATIONS = 30
# α is evaluated to tolerance/20 rms, which at the worst of 10⁸ pixels, at 6σ, is 0.2 of the tolerance after ducc0's
# margin; what is measured then has to be below the other 0.8.
_ACCURACY, _MEASURED = 0.05, 0.8
# A step longer than this many residuals means a Jacobian gone astray: 1/20 is a magnification of 400.
_LONGEST_STEP = 20.0
# Pixels stepped at a time: they stay in the cache.
_CHUNK = 1 << 14


@dataclass(frozen=True)
class InverseDeflection:
    """Where the light that comes from each pixel is seen, and what it takes to undo the lensing.

    Attributes
    ----------
    field : array (2, npix), float64
        β along e_θ and e_φ, radians, as `deflected_positions` takes it.
    positions : array (npix, 2), float64
        θ, φ of n = n′ + β.
    gamma : array (npix,), float64
        By how much polarisation turns on the way: a lensed sky is delensed by
        ``remap(alm, inverse.positions, spin=2, gamma=inverse.gamma)``.
    residual : float
        Largest |β + α| that was left: no n + α(n) is farther than this from its n′, radians.
    evaluations : int
        Spin-1 syntheses off the grid that it took; one on the grid came before.
    """

    field: NDArray[np.float64]
    positions: NDArray[np.float64]
    gamma: NDArray[np.float64]
    residual: float
    evaluations: int


def inverse_deflection(
    phi_alm: NDArray,
    grid: Grid,
    *,
    curl_alm: NDArray | None = None,
    tolerance: float = 1e-10,
    nthreads: int = 0,
) -> InverseDeflection:
    """For each pixel n′ the n with n + α(n) = n′, α = ∇φ + ∇×Ω.

    Parameters
    ----------
    phi_alm : array (nalm,), complex
        Lensing potential φ.
    grid : Grid
        The pixels n′.
    curl_alm : array (nalm,), complex, optional
        Curl potential Ω, with the lmax of φ.
    tolerance : float
        Distance in radians by which n + α(n) may miss n′ at any pixel; no less than 1e-11 of the rms of α.
    nthreads : int
        0: as many as this process may use.

    Returns
    -------
    InverseDeflection

    Raises
    ------
    ValueError
        If the tolerance is too small, or a pixel does not get there in 30 evaluations, as happens where the
        deflection folds the sky (geodesics cross, det A ≤ 0) and there is no inverse. Where a fold leaves several n
        for one n′, any of them may be found.
    """
    alpha = deflection(phi_alm, grid, curl_alm=curl_alm, nthreads=nthreads)
    ell = np.arange(lmax_of(len(phi_alm)) + 1.0)
    potentials = np.stack([phi_alm, np.zeros_like(phi_alm) if curl_alm is None else curl_alm]).astype(np.complex128)
    coefficients = scale_alm(potentials, np.sqrt(ell * (ell + 1.0)))
    rms = float(np.sqrt(np.mean(alpha**2)))
    if not tolerance >= 2e-11 * rms or not tolerance > 0:
        raise ValueError(f"the tolerance must be 2e-11 of the deflection's rms of {rms:.3g} or more, got {tolerance:g}")
    epsilon = float(np.clip(_ACCURACY * tolerance / rms if rms > 0 else 1.0, *EPSILON_RANGE))

    beta = -alpha
    positions = np.empty((grid.npix, 2))
    gamma, missed = np.empty(grid.npix), np.empty(grid.npix)
    # the last step, and ∂ρ/∂β row by row; single precision is far better than what is known of them
    step, jacobian = beta.astype(np.float32), np.zeros((4, grid.npix), dtype=np.float32)
    jacobian[[0, 3]] = 1.0
    active = np.arange(grid.npix)
    for evaluation in range(1, _MOST_EVALUATIONS + 1):
        every = len(active) == grid.npix
        tried = beta if every else beta[:, active]
        at, turn = follow_geodesics(tried, grid if every else _pixels(grid, active), nthreads=nthreads)
        rho = remap(coefficients, at, spin=1, epsilon=epsilon, gamma=turn, nthreads=nthreads)
        rho += tried
        positions[active], gamma[active], missed[active] = at, turn, np.hypot(rho[0], rho[1])
        left = missed[active] > _MEASURED * tolerance
        if not left.any():
            residual = float(missed.max()) + (1.0 - _MEASURED) * tolerance
            return InverseDeflection(beta, positions, gamma, residual, evaluation)
        active, rho = active[left], rho[:, left]
        for start in range(0, len(active), _CHUNK):
            part = slice(start, start + _CHUNK)
            _broyden_step(beta, step, jacobian, rho[:, part], active[part])
    det = determinant(alpha, *distortion(phi_alm, grid, curl_alm=curl_alm, nthreads=nthreads))
    why = f"the deflection folds the sky (det A falls to {det.min():.2g})" if det.min() <= 0 else "it is too steep"
    raise ValueError(
        f"no inverse of the deflection was found at {len(active)} of {grid.npix} pixels, which after "
        f"{_MOST_EVALUATIONS} evaluations are still missed by up to {missed.max():.2g} rad: {why}"
    )


def _broyden_step(
    beta: NDArray[np.float64],
    step: NDArray[np.float32],
    jacobian: NDArray[np.float32],
    rho: NDArray[np.float64],
    pixels: NDArray[np.integer],
) -> None:
    """Correct the Jacobian of some pixels by what the last step came to, and go on by −J⁻¹ρ; all in place.

    J foretold ρ = 0 after the step, so J + ρ stepᵀ/|step|² is the least change that would have foretold it right.
    """
    s, t = step[:, pixels].astype(np.float64)
    r, q = rho
    square = s * s + t * t
    over = np.divide(1.0, square, out=np.zeros_like(square), where=square > 0)
    a, b, c, d = jacobian[:, pixels] + np.array([r * s * over, r * t * over, q * s * over, q * t * over])
    det = a * d - b * c
    s, t = b * q - d * r, c * r - a * q
    astray = np.hypot(s, t) >= _LONGEST_STEP * np.abs(det) * np.hypot(r, q)
    if astray.any():
        s, t, det = np.where(astray, (-r, -q, np.ones_like(r)), (s, t, det))
        a, b, c, d = np.where(astray, np.array([1.0, 0.0, 0.0, 1.0])[:, None], (a, b, c, d))
    moved = np.array([s / det, t / det])
    beta[:, pixels] += moved
    step[:, pixels] = moved
    jacobian[:, pixels] = a, b, c, d


def _pixels(grid: Grid, pixels: NDArray[np.integer]) -> Grid:
    """Some pixels of a grid, each a ring of its own; they have no quadrature."""
    theta, phi = pixel_angles(grid, pixels)
    ones = np.ones(len(pixels), dtype=np.uint64)
    return Grid(theta, ones, phi, np.arange(len(pixels), dtype=np.uint64), np.zeros(len(pixels)), -1)

"""The inverse of the remap: the deflection that leads from each point back to where its light is seen.

A deflection takes n to n′ = n + α(n). Here n is sought for a given n′, and written as n = n′ + β. Geodesics run both
ways: n + α(n) = n′ holds exactly if β is α(n), carried along the geodesic from n to n′, with the other sign. So

    ρ(β) = β + e^{iγ} α(n′ + β) = 0        in the tangent plane at n′,

where γ is the angle of `follow_geodesics` from n′ along β; nothing is expanded in α, and no pole is special. The
sphere brings geodesics together, so |ρ| is never less than the distance from n + α(n) to n′ (Rauch's comparison
theorem; do Carmo, Riemannian Geometry, chapter 10): it is the residual that is asked to be small.

The second term is what the remap of a spin-1 field by β makes, so one set of samples of α serves every iteration: all
of them cost one spin-1 synthesis on the grid, for a start at β = −α(n′), and one onto the samples, between which α is
then read off six or seven times for a residual of 1e-10. Steps are Broyden's, from the unit matrix on. The Jacobian
1 + ∇α at n′ instead would cost two syntheses more and saves no iteration: within the 2.5′ of a deflection the
convergence of the sky changes as much as it is large. Without Broyden's term the largest residual falls but by a
factor of 2 or 3 each time.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from lensrec.arrays import thread_count
from lensrec.sphere.alm import alm_to_cl, lmax_of
from lensrec.sphere.broyden import broyden_rings
from lensrec.sphere.geodesic import finite_deflections, ring_bounds, shares
from lensrec.sphere.gridding import Gridding, gridding
from lensrec.sphere.grids import Grid
from lensrec.sphere.interpolate import remap_rings
from lensrec.sphere.lensing_map import sampled_bands
from lensrec.sphere.magnification import magnification_determinant
from lensrec.sphere.remap import EPSILON_RANGE, deflection, spin1_alm

_MOST_EVALUATIONS = 30
# α is evaluated to tolerance/20 rms, which at the worst of 10⁸ pixels, at 6σ, is 0.3 of the tolerance; what is
# measured then has to be below the other 0.7.
_ACCURACY, _MEASURED = 0.05, 0.7


@dataclass(frozen=True)
class InverseDeflection:
    """Where the light that comes from each pixel is seen.

    Attributes
    ----------
    field : array (2, npix), float64
        β along e_θ and e_φ, radians, as `deflected_positions` takes it. A lensed sky is delensed by
        ``remap_by(lensed_alm, inverse.field, grid)``.
    residual : float
        No n + α(n) is farther than this from its n′, radians.
    evaluations : int
        How often α was read off at most.
    """

    field: NDArray[np.float64]
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
        Distance in radians by which n + α(n) may miss n′ at any pixel; no less than 2e-11 of the rms of α.
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
    longest = finite_deflections(alpha, grid, nthreads=nthreads)
    ell = np.arange(lmax_of(len(phi_alm)) + 1.0)
    spin1 = spin1_alm(phi_alm, curl_alm)
    # of one component, all over the sphere
    rms = float(np.sqrt((2 * ell + 1) @ (alm_to_cl(spin1[0]) + alm_to_cl(spin1[1])) / (8.0 * np.pi)))
    if not (tolerance >= 2e-11 * rms and tolerance > 0):
        raise ValueError(f"the tolerance must be 2e-11 of the deflection's rms of {rms:.3g} or more, got {tolerance:g}")
    epsilon = float(np.clip(_ACCURACY * tolerance / rms if rms > 0 else 1.0, *EPSILON_RANGE))
    # |β| is |α| at another point: more than any pixel need have, but hardly twice that, or 6σ
    reach = 2.0 * max(float(longest.max()), 6.0 * rms)
    limit = _MEASURED * tolerance
    worst, evaluations = _solve(alpha, spin1, grid, gridding(len(ell) - 1, epsilon), limit, reach, nthreads)
    if worst.max() > limit:
        det = magnification_determinant(phi_alm, grid, curl_alm=curl_alm, nthreads=nthreads).min()
        why = f"the deflection folds the sky (det A falls to {det:.2g})" if det <= 0 else "it is too steep"
        raise ValueError(
            f"no inverse of the deflection was found on {np.count_nonzero(worst > limit)} of {len(worst)} rings, where "
            f"after {evaluations} evaluations pixels are missed by up to {worst.max():.2g} rad: {why}"
        )
    return InverseDeflection(alpha, float(worst.max()) + (1.0 - _MEASURED) * tolerance, evaluations)


def _solve(
    field: NDArray[np.float64],
    spin1: NDArray[np.complex128],
    grid: Grid,
    plan: Gridding,
    limit: float,
    reach: float,
    nthreads: int,
) -> tuple[NDArray[np.float64], int]:
    """Turn α into β in place, band by band; return the largest |ρ| of each ring, and the evaluations it took."""
    threads = thread_count(nthreads)
    start, count = ring_bounds(grid)
    every = np.full(len(start), reach)
    worst = np.zeros(len(start))

    def solve(rings: NDArray[np.int64], first: int, samples: NDArray) -> int:
        # by themselves, so that all that is needed of these pixels stays in the cache
        sizes = count[rings]
        here = np.zeros_like(start)
        here[rings] = np.cumsum(sizes) - sizes
        beta, image = np.empty((2, sizes.sum())), np.empty((2, sizes.sum()))
        for ring in rings:
            beta[:, here[ring] : here[ring] + count[ring]] = -field[:, start[ring] : start[ring] + count[ring]]
        step, jacobian = beta.copy(), np.zeros((4, beta.shape[1]))
        jacobian[[0, 3]] = 1.0
        active, evaluation = rings, 0
        while len(active) and evaluation < _MOST_EVALUATIONS:
            remap_rings(
                active, grid.theta, count, grid.phi0, here, every, beta, samples, first, plan.rows, plan.columns,
                plan.coefficients, (0,) * plan.width, (0, 0), 1, image,
            )  # fmt: skip
            broyden_rings(active, here, count, beta, image, step, jacobian, limit, reach, worst)
            evaluation += 1
            active = active[worst[active] > limit]
        for ring in rings:
            field[:, start[ring] : start[ring] + count[ring]] = beta[:, here[ring] : here[ring] + count[ring]]
        return evaluation

    evaluations = 0
    with ThreadPoolExecutor(threads) as pool:
        for rings, first, samples in sampled_bands([(spin1, 1)], plan, grid.theta, every, nthreads=threads):
            in_this_band = partial(solve, first=first, samples=samples)
            evaluations = max(evaluations, *pool.map(in_this_band, shares(rings, count)))
    return worst, evaluations

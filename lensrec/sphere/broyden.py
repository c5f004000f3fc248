"""Two equations for two unknowns at every pixel of some rings, one step at a time, compiled.

Broyden's method (1965, Math. Comp. 19, 577): Newton's steps −J⁻¹ρ with a Jacobian that takes from each evaluation what
it tells about the last step. J foretold ρ = 0 after it, so J + ρ stepᵀ/|step|² is the least change that would have
foretold it right.
"""

import math

from numpy.typing import NDArray

from lensrec.sphere.compiled import compiled

# A step longer than this many residuals means a Jacobian gone astray: 1/20 is a magnification of 400.
_LONGEST_STEP = 20.0


@compiled(error_model="numpy")
def broyden_rings(
    rings: NDArray,
    start: NDArray,
    count: NDArray,
    beta: NDArray,
    image: NDArray,
    step: NDArray,
    jacobian: NDArray,
    limit: float,
    reach: float,
    worst: NDArray,
) -> None:
    """Move β of each pixel towards a zero of ρ = β + image(β), unless |ρ| is small enough there.

    Parameters
    ----------
    rings, start, count : array of int
        Which rings, and the first pixel and number of pixels of every ring.
    beta : array (2, pixels), float64
        Changed.
    image : array (2, pixels), float64
        What β was mapped to.
    step : array (2, pixels), float64
        The last step that led to β; changed. Zero: there was none.
    jacobian : array (4, pixels), float64
        ∂ρ/∂β, row by row; changed.
    limit : float
        A pixel with |ρ| ≤ limit stays.
    reach : float
        |β| is kept below this.
    worst : array (nrings,)
        Written: the largest |ρ| on each ring, before the step.
    """
    for ring in rings:
        largest = 0.0
        for k in range(start[ring], start[ring] + count[ring]):
            r, q = beta[0, k] + image[0, k], beta[1, k] + image[1, k]
            length = math.hypot(r, q)
            largest = max(largest, length)
            if length <= limit:
                continue
            s, t = step[0, k], step[1, k]
            square = s * s + t * t
            over = 1.0 / square if square > 0 else 0.0
            a, b = jacobian[0, k] + r * s * over, jacobian[1, k] + r * t * over
            c, d = jacobian[2, k] + q * s * over, jacobian[3, k] + q * t * over
            det = a * d - b * c
            s, t = b * q - d * r, c * r - a * q
            if math.hypot(s, t) < _LONGEST_STEP * abs(det) * length:
                s, t = s / det, t / det
            else:
                s, t = -r, -q
                a, b, c, d = 1.0, 0.0, 0.0, 1.0
            to_theta, to_phi = beta[0, k] + s, beta[1, k] + t
            far = math.hypot(to_theta, to_phi)
            if far > reach:
                to_theta, to_phi = to_theta * reach / far, to_phi * reach / far
            step[0, k], step[1, k] = to_theta - beta[0, k], to_phi - beta[1, k]
            beta[0, k], beta[1, k] = to_theta, to_phi
            jacobian[0, k], jacobian[1, k], jacobian[2, k], jacobian[3, k] = a, b, c, d
        worst[ring] = largest

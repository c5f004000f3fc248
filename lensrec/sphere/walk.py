"""Walking along great circles, compiled: the innermost geometry of the remap.

For a pixel at colatitude θ, with the deflection's components α_θ, α_φ in its tangent plane and a = |α|, in Cartesian
axes whose x–z plane holds the pixel (Challinor & Chon 2002, astro-ph/0202214, section II),

    n′ = cos a n + (sin a / a) (α_θ e_θ + α_φ e_φ) = (x, y, z),   ρ = √(x² + y²),
    x = cos a sin θ + p cos θ,   y = (sin a / a) α_φ,   z = cos a cos θ − p sin θ,   p = (sin a / a) α_θ,
    sin(θ′ − θ) = ρ cos θ − z sin θ,   tan(φ′ − φ) = y/x.

Parallel transport along the geodesic is the rotation that takes n to n′ by the shortest way,
v → v − (v·n′)(n + n′)/(1 + n·n′) for v ⊥ n. The carried e_θ, seen in the axes at n′, gives the angle γ by which a
field of spin one turns on the way back,

    cos γ = [x + y² sin θ/(1 + cos a)]/ρ,   sin γ = y [cos θ − p sin θ/(1 + cos a)]/ρ,

without an inverse trigonometric function and without a limit to be taken at a = 0. Far walks, which may end at the
antipode or behind a pole, turn the direction d = α/a of the geodesic instead, d → d cos a − n sin a, and leave what is
across it as it is.
"""

import math

import numpy as np
from numpy.typing import NDArray

from lensrec.sphere.compiled import compiled

# Up to here, and to this fraction of sin θ, the series below are good to the last digit (the first term left out is
# below 2e-17); rings with larger deflections take the library's functions.
_SERIES = 0.1


@compiled()
def longest_deflections(field: NDArray, start: NDArray, count: NDArray, out: NDArray) -> None:
    """The largest |α| on each ring; NaN where one is not finite."""
    for ring in range(len(start)):
        longest, total = 0.0, 0.0
        for pixel in range(start[ring], start[ring] + count[ring]):
            square = field[0, pixel] * field[0, pixel] + field[1, pixel] * field[1, pixel]
            longest = max(longest, square)
            total += square
        out[ring] = math.sqrt(longest) if math.isfinite(total) else math.nan


@compiled(fastmath={"contract", "nsz"}, error_model="numpy")
def walk_ring(
    theta: float,
    phi0: float,
    longest: float,
    a_theta: NDArray,
    a_phi: NDArray,
    colatitude: NDArray,
    longitude: NDArray,
    cosine: NDArray,
    sine: NDArray,
) -> None:
    """Where the pixels of one ring lead.

    Parameters
    ----------
    theta, phi0 : float
        Colatitude of the ring, and longitude of its first pixel.
    longest : float
        The largest |α| on it.
    a_theta, a_phi : array (pixels,), float64
        Deflections.
    colatitude, longitude, cosine, sine : array (≥ pixels,), float64
        Written: θ′ in [0, π]; φ′, not brought to one turn; cos γ and sin γ.
    """
    pixels = len(a_theta)
    step = 2.0 * math.pi / pixels
    st, ct = math.sin(theta), math.cos(theta)
    if longest < _SERIES * st:
        for k in range(pixels):
            a2 = a_theta[k] * a_theta[k] + a_phi[k] * a_phi[k]
            cos_a = 1 - a2 / 2 * (1 - a2 / 12 * (1 - a2 / 30 * (1 - a2 / 56 * (1 - a2 / 90))))
            sinc = 1 - a2 / 6 * (1 - a2 / 20 * (1 - a2 / 42 * (1 - a2 / 72 * (1 - a2 / 110))))
            p, y = sinc * a_theta[k], sinc * a_phi[k]
            x, z = cos_a * st + p * ct, cos_a * ct - p * st
            inverse = 1 / math.sqrt(x * x + y * y)
            s = (x * x + y * y) * inverse * ct - z * st
            s2 = s * s
            # arcsin, and arctan below
            down = 105 / 3456 + s2 * (945 / 42240 + s2 * (10395 / 599040))
            down = s + s * s2 * (1 / 6 + s2 * (3 / 40 + s2 * (15 / 336 + s2 * down)))
            q = y / x
            q2 = q * q
            along = 1 / 9 - q2 * (1 / 11 - q2 * (1 / 13 - q2 * (1 / 15)))
            along = q - q * q2 * (1 / 3 - q2 * (1 / 5 - q2 * (1 / 7 - q2 * along)))
            tilt = st / (1 + cos_a)
            colatitude[k] = theta + down
            longitude[k] = phi0 + k * step + along
            cosine[k] = (x + y * y * tilt) * inverse
            sine[k] = y * (ct - p * tilt) * inverse
        return
    for k in range(pixels):
        a = math.hypot(a_theta[k], a_phi[k])
        cos_a, sin_a = math.cos(a), math.sin(a)
        d_theta, d_phi = (a_theta[k] / a, a_phi[k] / a) if a > 0 else (1.0, 0.0)
        x, y, z = cos_a * st + sin_a * d_theta * ct, sin_a * d_phi, cos_a * ct - sin_a * d_theta * st
        rho = math.hypot(x, y)
        colatitude[k] = math.atan2(rho, z)
        longitude[k] = phi0 + k * step + math.atan2(y, x)
        if rho > 0:
            # what the direction of the geodesic becomes, less what it was, along e_φ′
            change = ((cos_a - 1) * (x * d_phi - y * d_theta * ct) + sin_a * y * st) / rho
            cosine[k] = x / rho + d_phi * change
            sine[k] = y / rho * ct - d_theta * change
        else:
            cosine[k], sine[k] = 1.0, 0.0


@compiled(error_model="numpy")
def walk_rings(
    rings: NDArray,
    theta: NDArray,
    count: NDArray,
    phi0: NDArray,
    start: NDArray,
    longest: NDArray,
    field: NDArray,
    positions: NDArray,
    gamma: NDArray,
) -> None:
    """Positions (npix, 2), longitudes brought to [0, 2π), and angles γ (npix,) of the pixels of some rings.

    An empty `gamma` is left alone.
    """
    turn = 2.0 * math.pi
    most = 0
    for ring in rings:
        most = max(most, count[ring])
    buffer = np.empty((4, most))
    for ring in rings:
        pixels, begin = count[ring], start[ring]
        part = slice(begin, begin + pixels)
        walk_ring(
            theta[ring], phi0[ring], longest[ring], field[0, part], field[1, part], buffer[0], buffer[1], buffer[2],
            buffer[3],
        )  # fmt: skip
        for k in range(pixels):
            around = buffer[1, k] - turn * math.floor(buffer[1, k] / turn)
            positions[begin + k, 0] = buffer[0, k]
            positions[begin + k, 1] = 0.0 if around >= turn else around
        if len(gamma):
            for k in range(pixels):
                gamma[begin + k] = math.atan2(buffer[3, k], buffer[2, k])

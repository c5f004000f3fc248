"""Products of legs at the points of a grid: compiled loops, each element read once."""

from numpy.typing import NDArray

from lensrec.sphere.compiled import compiled

_FAST = {"contract", "nsz", "reassoc", "arcp"}


@compiled(fastmath=_FAST, error_model="numpy")
def temperature_product(plain: NDArray, gradient: NDArray, factor: float, out: NDArray, add: bool) -> None:
    """factor · T̄ ∇Y^W into, or onto, `out` (2, n), from T̄ (1, n) and ∇Y^W (2, n)."""
    t, g_r, g_i, out_r, out_i = plain[0], gradient[0], gradient[1], out[0], out[1]
    for i in range(len(t)):
        a, b = factor * t[i] * g_r[i], factor * t[i] * g_i[i]
        out_r[i], out_i[i] = (out_r[i] + a, out_i[i] + b) if add else (a, b)


@compiled(fastmath=_FAST, error_model="numpy")
def polarisation_product(plain: NDArray, gradient: NDArray, factor: float, out: NDArray, add: bool) -> None:
    """factor · (P̄* M₃ + P̄ M₁*) into, or onto, `out` (2, n), from P̄ (2, n) and M₃, M₁ (4, n)."""
    p_r, p_i, out_r, out_i = plain[0], plain[1], out[0], out[1]
    m3_r, m3_i, m1_r, m1_i = gradient[0], gradient[1], gradient[2], gradient[3]
    for i in range(len(p_r)):
        x, y = factor * p_r[i], factor * p_i[i]
        a = x * (m3_r[i] + m1_r[i]) + y * (m3_i[i] + m1_i[i])
        b = x * (m3_i[i] - m1_i[i]) - y * (m3_r[i] - m1_r[i])
        out_r[i], out_i[i] = (out_r[i] + a, out_i[i] + b) if add else (a, b)

"""Products of legs at the points of a grid as array expressions, for arrays that live on a device.

What `pixels` has compiled for the host, with the same arguments.
"""

from typing import Any


def temperature_product(plain: Any, gradient: Any, factor: float, out: Any, add: bool) -> None:
    """factor · T̄ ∇Y^W into, or onto, `out` (2, n), from T̄ (1, n) and ∇Y^W (2, n)."""
    scaled = plain[0] * float(factor)  # a number of Python keeps single precision single
    for i in (0, 1):
        _put(out, i, scaled * gradient[i], add)


def polarisation_product(plain: Any, gradient: Any, factor: float, out: Any, add: bool) -> None:
    """factor · (P̄* M₃ + P̄ M₁*) into, or onto, `out` (2, n), from P̄ (2, n) and M₃, M₁ (4, n)."""
    real, imaginary = plain[0] * float(factor), plain[1] * float(factor)
    m3_r, m3_i, m1_r, m1_i = gradient
    _put(out, 0, real * (m3_r + m1_r) + imaginary * (m3_i + m1_i), add)
    _put(out, 1, real * (m3_i - m1_i) - imaginary * (m3_r - m1_r), add)


def _put(out: Any, row: int, value: Any, add: bool) -> None:
    if add:
        out[row] += value
    else:
        out[row] = value

"""One spin-weighted harmonic by its explicit sum, in as many digits as its cancellations take."""

from decimal import Decimal, localcontext
from math import comb, perm

_PI = Decimal("3.14159265358979323846264338327950288419716939937510582")


def spin_lambda(ell: int, m: int, spin: int, theta: float) -> float:
    """ₛY_ℓm(θ, 0) of Goldberg et al. (1967), m ≥ 0, for 0 ≤ θ ≤ 1.

    A Jacobi polynomial P_n^{(a,b)}, n = ℓ − M, with M = max(m, |s|), k = min(m, |s|), as its hypergeometric sum in
    z = sin²(θ/2), times sin^a(θ/2) cos^b(θ/2); for s ≥ 0 a = M + k and b = M − k, otherwise the other way round.
    """
    upper, lower = max(m, abs(spin)), min(m, abs(spin))
    with localcontext() as context:
        context.prec = 60 + int(0.5 * ell * theta)  # the terms are up to exp(ℓθ) times larger than their sum
        half = Decimal(theta) / 2  # exact, as the double is
        sine = term = half
        j = 1
        while abs(term) > Decimal(10) ** -context.prec * half:
            term *= -half * half / ((j + 1) * (j + 2))
            sine += term
            j += 2
        z = sine * sine
        a, b, n = upper + lower, upper - lower, ell - upper
        if spin < 0:
            a, b = b, a
        # as whole numbers in units of 2^-bits, which Python multiplies faster
        bits = int(3.33 * context.prec)
        unit = 1 << bits
        small = int((z * unit).to_integral_value())
        whole = term = unit
        for i in range(n):
            term = -((term * small >> bits) * ((n - i) * (n + a + b + 1 + i))) // ((a + 1 + i) * (i + 1))
            whole += term
        total = Decimal(whole) / Decimal(unit)
        polynomial = total * comb(n + a, a)
        apart = upper - lower
        square = Decimal((2 * ell + 1) * perm(ell + upper, apart)) / (4 * _PI * perm(ell - lower, apart))
        value = square.sqrt() * sine**a * (1 - z).sqrt() ** b * polynomial
    flip = m if spin >= 0 or m >= -spin else spin
    return float(-value if flip % 2 else value)

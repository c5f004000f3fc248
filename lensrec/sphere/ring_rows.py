"""Between sums over ℓ, kept by order m for pairs of rings, and the rows of Fourier coefficients of single rings."""

from numpy.typing import NDArray

from lensrec.sphere.compiled import compiled


@compiled(error_model="numpy")
def scalar_rows(
    sums: NDArray, at: int, start: int, orders: int, cosine: NDArray, factor: NDArray, rows: NDArray
) -> None:
    """Fourier coefficients of a scalar field, times `factor`, on some northern rings and then on their southern twins.

    Parameters
    ----------
    sums : array (> orders, fields, 4, nrings); see `sums_over_l`
    at, start, orders : int
        The field, its first ring, and the number of orders m that do not vanish there.
    cosine, factor : array (nrings,)
    rows : array (2n, ≥ orders), complex
        Written; zero for higher m.
    """
    n = len(rows) // 2
    for m in range(orders):
        part = sums[m, at]
        for i in range(n):
            r = start + i
            x, f = cosine[r], factor[r]
            er, ei, dr, di = part[0, r] * f, part[1, r] * f, part[2, r] * x * f, part[3, r] * x * f
            rows[i, m] = complex(er + dr, ei + di)
            rows[n + i, m] = complex(er - dr, ei - di)
    rows[:, orders:] = 0.0


@compiled(error_model="numpy")
def spin_rows(
    sums: NDArray, plus: int, minus: int, spin: int, curl: bool, start: int, orders: int, real: NDArray, imag: NDArray
) -> None:
    """The same for both parts of a gradient or a curl from the sums A over ₛλ and B over ₋ₛλ.

    A gradient has Re = −½[A + (−1)^s B] and Im = ½ i [A − (−1)^s B], a curl (−Im, Re); at π − θ, A and B change places
    and take the sign (−1)^{ℓ+m}.
    """
    n = len(real) // 2
    sign = -1.0 if spin % 2 else 1.0
    for m in range(orders):
        a, b = sums[m, plus], sums[m, minus]
        south = -1.0 if m < spin and (spin - m) % 2 else 1.0
        for i in range(n):
            r = start + i
            a_even, a_odd = complex(a[0, r], a[1, r]), complex(a[2, r], a[3, r])
            b_even, b_odd = complex(b[0, r], b[1, r]), complex(b[2, r], b[3, r])
            for k in range(2):
                if k == 0:
                    one, two = a_even + a_odd, sign * (b_even + b_odd)
                else:
                    one, two = south * (b_even - b_odd), sign * south * (a_even - a_odd)
                re, im = -0.5 * (one + two), 0.5j * (one - two)
                if curl:
                    re, im = -im, re
                real[n * k + i, m] = re
                imag[n * k + i, m] = im
    real[:, orders:] = 0.0
    imag[:, orders:] = 0.0


@compiled(error_model="numpy")
def rows_to_sums(
    rows: NDArray, at: int, start: int, orders: int, cosine: NDArray, factor: NDArray, sums: NDArray
) -> None:
    """The transpose of `scalar_rows`."""
    n = len(rows) // 2
    for m in range(orders):
        part = sums[m, at]
        for i in range(n):
            r = start + i
            north, south, f, g = rows[i, m], rows[n + i, m], factor[r], factor[r] * cosine[r]
            part[0, r], part[1, r] = f * (north.real + south.real), f * (north.imag + south.imag)
            part[2, r], part[3, r] = g * (north.real - south.real), g * (north.imag - south.imag)
    for m in range(orders, len(sums)):
        sums[m, at, :, start : start + n] = 0.0

"""Between legs on a meridian and the circle through the poles that continues it; compiled, since it is pure motion."""

from numpy.typing import NDArray

from lensrec.sphere.compiled import compiled

# Rows moved at a time, so that what is read across is written along, within the nearest cache.
_ROWS = 32


@compiled()
def unfold(leg: NDArray, factor: NDArray, sign: float, circle: NDArray) -> None:
    """Columns 2p and 2p+1 of a leg, times their factors, added up and continued beyond the pole.

    Parameters
    ----------
    leg : array (n + 1, orders)
        At θ = πj/n.
    factor : array (orders,)
    sign : 1 or −1
        The parity of the even columns under θ → −θ; odd columns have the other one.
    circle : array (⌈orders/2⌉, 2n)
        Written.
    """
    points, orders = leg.shape
    n = points - 1
    for block in range(0, points, _ROWS):
        for p in range(circle.shape[0]):
            for j in range(block, min(block + _ROWS, points)):
                even = leg[j, 2 * p] * factor[2 * p]
                odd = leg[j, 2 * p + 1] * factor[2 * p + 1] if 2 * p + 1 < orders else 0 * even
                circle[p, j] = even + odd
                if 0 < j < n:
                    circle[p, 2 * n - j] = sign * (even - odd)


@compiled()
def fold(circle: NDArray, sign: float, leg: NDArray) -> None:
    """The inverse of `unfold` but for the factors: the even and the odd part of each row of `circle`.

    Parameters
    ----------
    circle : array (⌈orders/2⌉, 2n)
    sign : 1 or −1
    leg : array (n + 1, orders)
        Written.
    """
    points, orders = leg.shape
    n = points - 1
    half = leg.real.dtype.type(0.5)
    for block in range(0, points, _ROWS):
        for p in range(circle.shape[0]):
            for j in range(block, min(block + _ROWS, points)):
                here = half * circle[p, j]
                there = sign * half * circle[p, (2 * n - j) % (2 * n)]
                leg[j, 2 * p] = here + there
                if 2 * p + 1 < orders:
                    leg[j, 2 * p + 1] = here - there

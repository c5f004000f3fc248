"""N1 on the flat sky as a direct double sum over l₁ and l₁′, field by field in T, E and B: the slow truth.

The weights are written out as in table 1 of Hu & Okamoto (2002, astro-ph/0111606), with angles and their cosines and
sines, and with u in place of L where a response to another wave vector, or to the curl, is meant:

    f^TT = u·l₁ TT₁ + u·l₂ TT₂                f^TB = u·l₁ TE₁ sin 2φ₁₂
    f^TE = u·l₁ TE₁ cos 2φ₁₂ + u·l₂ TE₂       f^EB = (u·l₁ EE₁ + u·l₂ BB₂) sin 2φ₁₂
    f^EE = (u·l₁ EE₁ + u·l₂ EE₂) cos 2φ₁₂     f^BB = (u·l₁ BB₁ + u·l₂ BB₂) cos 2φ₁₂

with φ₁₂ = φ₁ − φ₂ and f^YX(l₁, l₂) = f^XY(l₂, l₁). The sign of BB₂ in EB differs from their table's: were BB equal to
EE, E + iB would be a field without ⟨PP⟩, which lensing cannot give it, so that f^EE − f^BB + i (f^EB + f^BE) = 0.
"""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

PAIRS = [x + y for x in "TEB" for y in "TEB"]

Interpolated = Mapping[str, Callable[[NDArray], NDArray]]


def at_half_integers(spectra: Mapping[str, NDArray]) -> dict[str, Callable[[NDArray], NDArray]]:
    """C_ℓ as a function of |l| = ℓ + ½, linear in between, zero from one beyond the end."""
    return {
        key: lambda r, cl=cl: np.interp(np.maximum(r - 0.5, 0.0), np.arange(len(cl) + 1), np.append(cl, 0.0))
        for key, cl in spectra.items()
    }


def responses(u: NDArray, l1: NDArray, l2: NDArray, cl: Interpolated) -> dict[str, NDArray]:
    """f^{XY}(l₁, l₂) of all nine pairs; wave vectors are (..., 2) and broadcast."""
    out = {}
    for x, y in (("T", "T"), ("T", "E"), ("E", "E"), ("T", "B"), ("E", "B"), ("B", "B")):
        out[x + y] = _response(x + y, u, l1, l2, cl)
        if x != y:
            out[y + x] = _response(x + y, u, l2, l1, cl)
    return out


def _response(key: str, u: NDArray, l1: NDArray, l2: NDArray, cl: Interpolated) -> NDArray:
    r1, r2 = np.hypot(l1[..., 0], l1[..., 1]), np.hypot(l2[..., 0], l2[..., 1])
    d1, d2 = np.sum(u * l1, axis=-1), np.sum(u * l2, axis=-1)
    angle = 2.0 * (np.arctan2(l1[..., 1], l1[..., 0]) - np.arctan2(l2[..., 1], l2[..., 0]))
    cos, sin = np.cos(angle), np.sin(angle)
    if key == "TT":
        return d1 * cl["TT"](r1) + d2 * cl["TT"](r2)
    if key == "TE":
        return d1 * cl["TE"](r1) * cos + d2 * cl["TE"](r2)
    if key == "TB":
        return d1 * cl["TE"](r1) * sin
    if key == "EB":
        return (d1 * cl["EE"](r1) + d2 * cl["BB"](r2)) * sin
    return (d1 * cl[key](r1) + d2 * cl[key](r2)) * cos


def estimator_weights(
    shares: Mapping[str, float], L: NDArray, l1: NDArray, weights: Interpolated, filters: Interpolated, curl: bool
) -> dict[str, NDArray]:
    """g^{XY} of Σ_α c_α q^α on raw fields; q^α has the weight f^α, by half for equal legs.

    `filters` are those of a matrix, TT, TE, EE, BB: X̄ = Σ_Y F^{XY} Y.
    """
    u = np.array([-L[1], L[0]]) if curl else L
    l2 = L - l1
    r1, r2 = np.hypot(*l1.T), np.hypot(*l2.T)
    f = responses(u, l1, l2, weights)

    def filt(a: str, b: str, r: NDArray) -> NDArray:
        key = "".join(sorted(a + b, key="TEB".index))
        return filters[key](r) if key in filters else np.zeros_like(r)

    out = {pair: np.zeros(len(l1)) for pair in PAIRS}
    for key, share in shares.items():
        half = 0.5 if key[0] == key[1] else 1.0
        for x, y in PAIRS:
            out[x + y] += share * half * f[key] * filt(key[0], x, r1) * filt(key[1], y, r2)
    return out


def double_sum(
    first: Mapping[str, NDArray],
    second: Mapping[str, NDArray],
    L: NDArray,
    l1: NDArray,
    signal: Interpolated,
    power: Callable[[NDArray, NDArray], NDArray],
    cell: float,
) -> float:
    """Σ over l₁ and l₁′ of g g′* C^φφ f f, for both pairings of the legs, times (cell area / 4π²)².

    `power` is C^φφ as a function of the two components of q.
    """
    keep = np.flatnonzero(sum(abs(g) for g in first.values()) + sum(abs(g) for g in second.values()))
    l1 = l1[keep]
    a, b = l1[:, None], l1[None, :]
    q = a - b
    direct1, direct2 = responses(q, a, -b, signal), responses(-q, L - a, b - L, signal)
    # X with Y′: q is now l₁ − l₂′, and for l₁′ running over the mirrored lattice this is the second pairing.
    swapped = a - (L - b)
    swapped1, swapped2 = responses(swapped, a, b - L, signal), responses(-swapped, L - a, -b, signal)
    power1, power2 = power(q[..., 0], q[..., 1]), power(swapped[..., 0], swapped[..., 1])
    total = 0.0
    for x, y in PAIRS:
        for u, v in PAIRS:
            pair = first[x + y][keep][:, None] * second[u + v][keep][None, :]
            if pair.any():
                total += np.sum(pair * power1 * direct1[x + u] * direct2[y + v])
                total += np.sum(pair * power2 * swapped1[x + v] * swapped2[y + u])
    return total * (cell / (4.0 * np.pi**2)) ** 2

"""HEALPix pixel windows for intensity and polarisation, computed here, so that nothing has to be downloaded.

The window of Górski et al. (2005, ApJ 622, 759) and the HEALPix primer is an average over the pixels p,

    w_ℓ² = ⟨ 4π/(2ℓ+1) Σ_m |w_ℓm(p)|² ⟩_p = ⟨ P_ℓ(cos γ) ⟩,

the second mean being over pairs of points n, n′ of one pixel, γ apart. With t = sin²(γ/2) = |n − n′|²/4

    P_ℓ(cos γ)  =         ₂F₁(−ℓ,     ℓ+1; 1; t) = Σ_k (−ℓ)_k (ℓ+1)_k t^k / k!²
    d^ℓ₂₂(γ)    = (1−t)² ₂F₁(−(ℓ−2), ℓ+3; 1; t)

are polynomials in t, so a few moments ⟨t^k⟩ of the pair distances give the window at every ℓ. For polarisation
the spin axes are carried along geodesics from the pixel's centre c to n and n′; around the triangle (c, n, n′)
they come back turned by its solid angle Ω, and the moments are ⟨(1−t)² cos 2Ω t^k⟩.

Up to nside 32 the moments are summed over every pixel (one of each symmetric set). Beyond, ⟨t^k⟩ is expanded as
m + m₁/N + m₂/N² + m₃ ln N/N²: the ring of pixels that straddles |z| = 2/3, a share 1/N of the sky, gives the
second term, and the pixels i rings from a pole, whose shapes differ from the limit by 1/i², the last. The spin-2
moments then follow without Ω, which enters by 2Ω², of order 1/N⁴ (3e-10 in w_ℓ at nside 64).
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

NODES = 6
"""Gauss–Legendre nodes per axis of half a pixel: 1e-8 in w_ℓ at ℓ = 4 nside (5 nodes: 5e-7)."""

TERMS = 22
"""Moments kept: at ℓ = 4 nside ℓ²t reaches 18 across the most elongated pixel; the next term is below 1e-14."""

EXACT = 32
"""The largest nside whose pixels are all summed; smaller ones serve the expansion beyond."""

ANCHORS = (12, 16, 24, 32)


def pixel_window(nside: int, lmax: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """HEALPix pixel window functions w_ℓ of intensity and of polarisation.

    Parameters
    ----------
    nside : int
        A power of two from 1 to 8192.
    lmax : int
        At most 4 nside.

    Returns
    -------
    w_t, w_p : arrays (lmax+1,), from ℓ = 0
        To multiply a_ℓm. `w_p` is zero at ℓ = 0 and 1, where a spin-2 field has no multipoles.

    Raises
    ------
    ValueError
        If nside is not such a power of two, or lmax is outside 0 … 4 nside.

    Notes
    -----
    Within 3e-8 of the files distributed with HEALPix for nside ≤ 32, 1e-7 to nside 128. Beyond, those files are
    extrapolated; 1.3e-5 away from them, this window is within 2e-7 of its definition.
    """
    if nside < 1 or nside & (nside - 1) or nside > 8192:
        raise ValueError(f"nside must be a power of two from 1 to 8192, got {nside}")
    if not 0 <= lmax <= 4 * nside:
        raise ValueError(f"the pixel window of nside {nside} reaches from l = 0 to {4 * nside}, got {lmax}")
    spin0, spin2 = _moments(nside) if nside <= EXACT else _extrapolated_moments(nside)
    ell = np.arange(lmax + 1.0)
    w_t = np.sqrt(_hypergeometric(-ell, ell + 1.0, spin0, nside))
    w_p = np.zeros(lmax + 1)
    w_p[2:] = np.sqrt(_hypergeometric(2.0 - ell[2:], ell[2:] + 3.0, spin2, nside))
    return w_t, w_p


def _hypergeometric(
    a: NDArray[np.float64], b: NDArray[np.float64], moments: NDArray[np.float64], nside: int
) -> NDArray[np.float64]:
    """Σ_k (a)_k (b)_k / k!² ⟨t^k⟩ for given N^2k ⟨t^k⟩; a series of positive sum for the arguments used here."""
    total = np.zeros_like(a)
    factor = np.ones_like(a)
    for k, moment in enumerate(moments):
        total += factor * moment
        factor = factor * (a + k) * (b + k) / ((k + 1) * nside) ** 2
    return total


@lru_cache(maxsize=16)
def _extrapolated_moments(nside: int) -> NDArray[np.float64]:
    """What `_moments` would return, from nsides where it is quick."""

    def basis(n: int) -> list[float]:
        return [1.0, 1.0 / n, 1.0 / n**2, np.log(n) / n**2]

    known = np.array([_moments(n)[0] for n in ANCHORS])
    weights = np.linalg.solve(np.array([basis(n) for n in ANCHORS]).T, basis(nside))
    spin0 = np.einsum("n,nk->k", weights, known)
    spin2 = spin0.copy()
    spin2[:-1] -= 2.0 / nside**2 * spin0[1:]
    spin2[:-2] += 1.0 / nside**4 * spin0[2:]
    return np.stack([spin0, spin2])


@lru_cache(maxsize=16)
def _moments(nside: int) -> NDArray[np.float64]:
    """N^2k ⟨t^k⟩ and N^2k ⟨(1−t)² cos 2Ω t^k⟩ over all pairs in all pixels, shape (2, TERMS)."""
    ring, east, share = _representative_pixels(nside)
    down, right, weight = _pixel_nodes(NODES)
    pairs = np.triu_indices(len(weight))
    pair_weight = np.outer(weight, weight)[pairs] * np.where(pairs[0] == pairs[1], 1.0, 2.0)
    out = np.zeros((2, TERMS))
    # 32 pixels at a time: some 80 000 pairs, so that the work arrays stay in cache. einsum rather than matrix
    # products: on so small matrices a threaded BLAS is up to 50 times slower when it has to share its cores
    for first in range(0, len(ring), 32):
        part = slice(first, first + 32)
        centre = _unit_vectors(nside, ring[part, None], east[part, None])
        points = _unit_vectors(nside, ring[part, None] - 1.0 + down, east[part, None] + right)
        t, turned = _pair_terms(centre, points, pairs)
        term = share[part, None] * pair_weight
        t *= nside**2
        for k in range(TERMS):
            out[0, k] += np.sum(term)
            out[1, k] += np.einsum("pi,pi->", term, turned)
            term *= t
    return out


def _pair_terms(
    centre: NDArray[np.float64],
    points: NDArray[np.float64],
    pairs: tuple[NDArray[np.intp], NDArray[np.intp]],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """t = sin²(γ/2) and (1−t)² cos 2Ω for pairs of the unit vectors `points` (npix, n, 3), `centre` (npix, 1, 3).

    tan(Ω/2) = c·(u×v) / (1 + c·u + u·v + v·c) (Van Oosterom & Strackee 1983, eq. 8).
    """
    i, j = pairs
    cosine = np.einsum("pix,pjx->pij", points, points)[:, i, j]
    volume = np.einsum("pix,pjx->pij", np.cross(centre, points), points)[:, i, j]
    from_centre = np.sum(centre * points, axis=-1)
    corner = 1.0 + cosine + from_centre[:, i] + from_centre[:, j]
    x, y = corner**2 - volume**2, 2.0 * corner * volume
    t = (1.0 - cosine) / 2.0
    return t, (1.0 - t) ** 2 * (x**2 - y**2) / (x**2 + y**2)


def _pixel_nodes(n: int) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Quadrature nodes in one pixel: distance down from its northern corner (0 … 2), offset east, weight.

    The pixel is a diamond of half-axes 1 in these coordinates. Its northern and its southern triangle have a
    rule each (Gauss–Legendre in polar-like coordinates about the outer corner): HEALPix's mapping is smooth in
    either, while across the middle it has a kink at |z| = 2/3, and at the corner a singularity on the pole.
    """
    node, weight = np.polynomial.legendre.leggauss(n)
    radius = (1.0 + node[:, None]) / 2.0
    down = np.broadcast_to(radius, (n, n)).ravel()
    right = (radius * node).ravel()
    share = (radius * weight[:, None] * weight).ravel()
    share = np.concatenate([share, share])
    return np.concatenate([down, 2.0 - down]), np.concatenate([right, right]), share / share.sum()


def _representative_pixels(
    nside: int,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """One pixel of each symmetric set: ring (1 … 2N), offset east in the base pixel, share of the sphere.

    In the cap, to ring N: the western half of the first base pixel. In the belt every pixel of a ring is alike.
    """
    cap = np.arange(1, nside + 1)
    half = (cap + 1) // 2
    cap_ring = np.repeat(cap, half)
    column = np.arange(len(cap_ring)) - np.repeat(np.cumsum(half) - half, half)
    cap_east = 2 * column - (cap_ring - 1)
    cap_count = np.where(cap_east == 0, 8, 16)
    belt = np.arange(nside + 1, 2 * nside + 1)
    belt_count = np.where(belt < 2 * nside, 8 * nside, 4 * nside)
    ring = np.concatenate([cap_ring, belt]).astype(np.float64)
    east = np.concatenate([cap_east, np.zeros(nside)])
    return ring, east, np.concatenate([cap_count, belt_count]) / (12.0 * nside**2)


def _unit_vectors(nside: int, ring: NDArray[np.float64], east: NDArray[np.float64]) -> NDArray[np.float64]:
    """Unit vectors (…, 3) of points in the first base pixel and due south of it, by Górski et al. (2005), sec. 5.

    `ring` counts from 0 at the pole in steps of one ring, `east` from the base pixel's axis in half pixels.
    """
    down, across = ring / nside, east / nside
    cap = np.minimum(down, 1.0)
    phi = np.pi / 4.0 * across / cap
    z = np.where(down < 1.0, 1.0 - cap**2 / 3.0, (2.0 - down) * 2.0 / 3.0)
    sin_theta = np.where(down < 1.0, cap * np.sqrt((2.0 - cap**2 / 3.0) / 3.0), np.sqrt(1.0 - z**2))
    return np.stack([sin_theta * np.cos(phi), sin_theta * np.sin(phi), z], axis=-1)

"""The Jacobian of the remap n → n′: convergence, rotation and shear of a deflection, and det A, exact on the sphere.

Write ∇α, the covariant derivative of the deflection, in the axes e_θ, e_φ as

    ∇·α = −2κ,    ∇_θ α_φ − ∇_φ α_θ = −2ω,    (∇_θ + i∇_φ)(α_θ + iα_φ) = −2γ,    γ = γ₁ + iγ₂,

so that κ_LM = L(L+1)/2 φ_LM and ω_LM = L(L+1)/2 Ω_LM, and γ is of spin 2 with gradient and curl part
½ √((L−1)L(L+1)(L+2)) (φ, Ω)_LM (a field of spin 2 being −Σ (G + iC) ₂Y). On the plane A = 1 + ∇α and
det A = (1 − κ)² + ω² − |γ|².

On the sphere n′ lies at a = |α| along the geodesic that leaves n in the direction α. Neighbours of n, displaced by v,
leave along neighbouring geodesics, and what separates those after t ∈ [0, 1] is the Jacobi field of J(0) = v and
J′(0) = ∇_v α, J″ = −R(J, α)α, which on the unit sphere leaves the component along α free and bends the one across
it by −a² J⊥ (do Carmo, Riemannian Geometry, chapter 5). Hence, in axes carried along the geodesic,

    v′∥ = v∥ + (∇_v α)∥,        v′⊥ = v⊥ cos a + (∇_v α)⊥ sin a / a.

Of this 2 × 2 matrix, with γ̂ = γ e^{−2iψ} the shear in the axes of α = a e^{iψ},

    det A = (1 − κ − Re γ̂) [cos a − (κ − Re γ̂) sin a / a] − (Im γ̂ − ω)(Im γ̂ + ω) sin a / a
          = cos a − (cos a + sin a / a) κ + (sin a / a)(κ² + ω² − |γ|²) + (j₁(a)/a) Re(γ α*²),

since Re γ̂ = Re(γ α*²)/a² and (sin a / a − cos a)/a² = j₁(a)/a, the spherical Bessel function, which is 1/3 at a = 0:
nothing is singular where the deflection vanishes, and no angle is needed. To first order in α it is 1 − 2κ.
The mean of det A over the sphere is 1 and ∫ det A f(n′) dn = ∫ f(n) dn, as long as n → n′ does not fold.
"""

import numpy as np
from numpy.typing import NDArray

from lensrec.sphere.alm import lmax_of, resize_alm, scale_alm
from lensrec.sphere.grids import Grid
from lensrec.sphere.remap import deflection, potentials
from lensrec.sphere.sht import synthesis

# Pixels taken at a time, so that det A needs no temporary of the size of a map.
_CHUNK = 1 << 16


def distortion(
    phi_alm: NDArray, grid: Grid, *, curl_alm: NDArray | None = None, nthreads: int = 0
) -> tuple[NDArray[np.float64], NDArray[np.float64] | None, NDArray[np.float64]]:
    """Convergence, rotation and shear of a deflection on a grid.

    Parameters
    ----------
    phi_alm : array (nalm,), complex
        Lensing potential φ.
    grid : Grid
    curl_alm : array (nalm,), complex, optional
        Curl potential Ω, with the lmax of φ.
    nthreads : int
        0: as many as this process may use.

    Returns
    -------
    kappa : array (npix,), float64
        κ = −½ ∇·α.
    omega : array (npix,), float64, or None where there is no curl potential
        ω = −½ (∇_θ α_φ − ∇_φ α_θ).
    shear : array (2, npix), float64
        γ₁ and γ₂ along e_θ and e_φ: a field of spin 2, −½ (∇_θ + i∇_φ)(α_θ + iα_φ).

    Raises
    ------
    ValueError
        If φ is not one array of alm, or the curl potential has another shape.

    Notes
    -----
    Two transforms: one of spin 0 and one of spin 2; a curl potential adds one of spin 0.
    """
    given = potentials(phi_alm, curl_alm)
    lmax = max(lmax_of(len(phi_alm)), 2)  # no transform of spin 2 ends below
    given = resize_alm(given, lmax)
    ell = np.arange(lmax + 1.0)
    scalar = 0.5 * ell * (ell + 1.0)
    tensor = 0.5 * np.sqrt(np.maximum((ell - 1.0) * ell * (ell + 1.0) * (ell + 2.0), 0.0))
    kappa = synthesis(scale_alm(given[0], scalar), grid, nthreads=nthreads)
    omega = None if curl_alm is None else synthesis(scale_alm(given[1], scalar), grid, nthreads=nthreads)
    return kappa, omega, synthesis(scale_alm(given, tensor), grid, 2, nthreads=nthreads)


def determinant(
    field: NDArray[np.float64],
    kappa: NDArray[np.float64],
    omega: NDArray[np.float64] | None,
    shear: NDArray[np.float64],
) -> NDArray[np.float64]:
    """det A from the deflection and its `distortion`, in closed form; see the head of this module.

    Parameters
    ----------
    field : array (2, npix)
        α along e_θ and e_φ, radians, of any size.
    kappa : array (npix,)
    omega : array (npix,) or None
        None counts as zero.
    shear : array (2, npix)

    Returns
    -------
    array (npix,), float64
        Area on the sky at n′ over the area at n that is mapped there; negative where the sky is folded over.

    Raises
    ------
    ValueError
        If the shapes do not fit each other.
    """
    npix = kappa.shape[-1]
    shapes = [field.shape, kappa.shape, (npix,) if omega is None else omega.shape, shear.shape]
    if shapes != [(2, npix), (npix,), (npix,), (2, npix)]:
        raise ValueError(f"deflection, κ, ω and shear must be (2, n), (n,), (n,) and (2, n), got {shapes}")
    out = np.empty(npix)
    for start in range(0, npix, _CHUNK):
        part = slice(start, start + _CHUNK)
        (a1, a2), k, (g1, g2) = field[:, part], kappa[part], shear[:, part]
        square = a1 * a1 + a2 * a2
        cosine, sinc, bend = _along_geodesic(square)
        second = k * k - g1 * g1 - g2 * g2
        if omega is not None:
            second += omega[part] ** 2
        aligned = g1 * (a1 * a1 - a2 * a2) + 2.0 * g2 * a1 * a2  # Re(γ α*²)
        out[part] = cosine - (cosine + sinc) * k + sinc * second + bend * aligned
    return out


def magnification_determinant(
    phi_alm: NDArray,
    grid: Grid,
    *,
    curl_alm: NDArray | None = None,
    field: NDArray[np.float64] | None = None,
    nthreads: int = 0,
) -> NDArray[np.float64]:
    """det A of n → n + ∇φ + ∇×Ω at every pixel of a grid.

    Parameters
    ----------
    phi_alm : array (nalm,), complex
    grid : Grid
    curl_alm : array (nalm,), complex, optional
    field : array (2, npix), optional
        The deflection on this grid, where it is there already; it saves a transform of spin 1.
    nthreads : int

    Returns
    -------
    array (npix,), float64

    Raises
    ------
    ValueError
        As `distortion` and `determinant`.
    """
    if field is None:
        field = deflection(phi_alm, grid, curl_alm=curl_alm, nthreads=nthreads)
    return determinant(field, *distortion(phi_alm, grid, curl_alm=curl_alm, nthreads=nthreads))


def _along_geodesic(square: NDArray[np.float64]) -> tuple[NDArray, NDArray, NDArray]:
    """cos a, sin a / a and j₁(a)/a, given a²."""
    if square.max(initial=0.0) < 1e-3:
        # Power series, far quicker than sines; what is left out is below 3e-17.
        cosine = 1.0 + square * (-1 / 2 + square * (1 / 24 - square / 720))
        sinc = 1.0 + square * (-1 / 6 + square * (1 / 120 - square / 5040))
        return cosine, sinc, 1 / 3 + square * (-1 / 30 + square / 840)
    a = np.sqrt(square)
    cosine, sinc = np.cos(a), np.sinc(a / np.pi)
    # the closed form loses digits as a⁻²; where the series takes over it still has 13
    near = square < 1e-3
    closed = (sinc - cosine) / np.where(near, 1.0, square)
    return cosine, sinc, np.where(near, 1 / 3 + square * (-1 / 30 + square / 840), closed)

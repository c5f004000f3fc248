"""Checks on the sphere: remap, adjoint, magnification and inverse deflection."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lensrec.sphere.adjoint import remap_adjoint
from lensrec.sphere.alm import alm_m, alm_size, alm_to_cl, lmax_of, scale_alm
from lensrec.sphere.geodesic import pixel_angles
from lensrec.sphere.grids import Grid, gauss_legendre_grid, healpix_grid
from lensrec.sphere.inverse import inverse_deflection
from lensrec.sphere.magnification import magnification_determinant
from lensrec.sphere.remap import deflected_positions, deflection, remap, remap_at, remap_by, remap_tp
from lensrec.sphere.sht import analysis_tp, synthesis_tp
from lensrec.stages.selftest import truths


def dipole() -> float:
    """φ = a cos θ takes θ to θ − a sin θ and leaves φ and the axes: largest error of positions and of γ."""
    grid = healpix_grid(128)
    theta, lon = angles(grid)
    worst = 0.0
    for amplitude in (1e-3, 0.9):
        positions, gamma = deflected_positions(np.array([-amplitude * np.sin(theta), 0 * theta]), grid)
        assert gamma is not None
        turned = np.abs(np.exp(1j * (positions[:, 1] - lon)) - 1).max()
        moved = np.abs(positions[:, 0] - (theta - amplitude * np.sin(theta))).max()
        worst = max(worst, float(turned), float(moved), float(np.abs(gamma).max()))
    return worst


@dataclass(frozen=True)
class LensedSky:
    """T, E and B, what lenses them, and where they are looked at."""

    teb: NDArray
    phi: NDArray
    omega: NDArray
    grid: Grid


def small_sky() -> LensedSky:
    """White T, E and B to ℓ = 20, a deflection of 1° with a curl, on nside 8."""
    rng = np.random.default_rng(1)
    teb, (phi, omega) = white(rng, 3, 20, 2), potentials(rng, 12, 0.02)
    return LensedSky(teb, phi, omega, healpix_grid(8))


def large_sky() -> LensedSky:
    """White T, E and B to ℓ = 300, a deflection of 3′ with a curl, on nside 128."""
    rng = np.random.default_rng(6)
    teb, (phi, omega) = white(rng, 3, 300, 2), potentials(rng, 200, 1e-3)
    return LensedSky(teb, phi, omega, healpix_grid(128))


def error_by_sums(sky: LensedSky, lensed: NDArray, theta: NDArray, lon: NDArray) -> float:
    """Root-mean-square error of T, Q and U at some directions in units of their rms; the larger of T's and P's."""
    lmax, lmax_phi = lmax_of(sky.teb.shape[-1]), lmax_of(len(sky.phi))
    root = np.sqrt(np.arange(lmax_phi + 1.0) * np.arange(1.0, lmax_phi + 2.0))
    field = truths.spin_field(scale_alm(np.array([sky.phi, sky.omega]), root), lmax_phi, 1, theta, lon)
    theta2, lon2, gamma = truths.walk(theta, lon, np.array([field.real, field.imag]))
    t = truths.spin_field(sky.teb[:1], lmax, 0, theta2, lon2).real
    p = np.exp(2j * gamma) * truths.spin_field(sky.teb[1:], lmax, 2, theta2, lon2)
    off = lensed[1] + 1j * lensed[2] - p
    return max(rms(lensed[0] - t) / sky_rms(sky.teb[:1]), rms(off) / np.sqrt(2) / sky_rms(sky.teb[1:]))


def lensed_sky(epsilon: float, *, single: bool = False) -> float:
    """The error on all pixels of a grid, or in a list that has both poles, whichever is larger."""
    sky = small_sky()
    teb = sky.teb.astype(np.complex64) if single else sky.teb
    near_poles = np.array([0.0, 1e-9, 1e-3, np.pi - 1e-5, np.pi]), np.array([0.0, 1.0, 2.0, 4.0, 6.0])
    on_grid = remap_tp(teb, sky.phi, sky.grid, curl_alm=sky.omega, epsilon=epsilon)
    listed = remap_at(teb, sky.phi, *near_poles, curl_alm=sky.omega, epsilon=epsilon)
    return max(error_by_sums(sky, on_grid, *angles(sky.grid)), error_by_sums(sky, listed, *near_poles))


def lensed_sky_of_ducc0(epsilon: float) -> float:
    """The same at ℓ ≤ 300 on nside 128, where ducc0's synthesis at lists of positions is the truth."""
    sky = large_sky()
    made = remap_tp(sky.teb, sky.phi, sky.grid, curl_alm=sky.omega, epsilon=epsilon)
    positions, gamma = deflected_positions(deflection(sky.phi, sky.grid, curl_alm=sky.omega), sky.grid)
    t = made[0] - remap(sky.teb[0], positions, spin=0, epsilon=1e-12)
    p = made[1:] - remap(sky.teb[1:], positions, spin=2, epsilon=1e-12, gamma=gamma)
    return max(rms(t) / sky_rms(sky.teb[:1]), rms(p) / sky_rms(sky.teb[1:]))


def adjoint(*, single: bool = False) -> float:
    """|⟨L a, m⟩ − ⟨a, L† m⟩| / |L a||m|, the largest of spins 0 to 3."""
    rng = np.random.default_rng(2)
    lmax, grid, epsilon = 60, healpix_grid(32), 1e-5 if single else 1e-9
    phi, omega = potentials(rng, lmax, 0.01)
    positions, gamma = deflected_positions(deflection(phi, grid, curl_alm=omega), grid)
    worst = 0.0
    for spin in range(4):
        alm, maps = white(rng, 1 + (spin > 0), lmax, spin), rng.normal(size=(1 + (spin > 0), grid.npix))
        if single:
            alm, maps = alm.astype(np.complex64), maps.astype(np.float32)
        there = np.atleast_2d(
            remap(alm if spin else alm[0], positions, spin=spin, epsilon=epsilon, gamma=gamma)
        ).astype(float)
        back = remap_adjoint(maps if spin else maps[0], positions, lmax, spin=spin, epsilon=epsilon, gamma=gamma)
        weight = np.where(alm_m(lmax) == 0, 1.0, 2.0)
        right = float((weight * (alm.astype(complex) * np.conj(back)).real).sum())
        scale = float(np.linalg.norm(there) * np.linalg.norm(maps))
        worst = max(worst, abs(float((there * maps).sum()) - right) / scale)
    return worst


def mean_determinant() -> float:
    """|⟨det A⟩ − 1|, with a curl."""
    grid, phi, omega, _ = _strong_lens()
    det = magnification_determinant(phi, grid, curl_alm=omega)
    return abs(float((_pixel_weights(grid) * det).sum()) / (4 * np.pi) - 1.0)


def conserved_power() -> float:
    """|∫ det A T̃² / ∫ T² − 1|; without det A it is some 1e-3."""
    grid, phi, omega, temperature = _strong_lens()
    det = magnification_determinant(phi, grid, curl_alm=omega)
    lensed = remap_tp(temperature, phi, grid, curl_alm=omega, epsilon=1e-12)[0]
    cl = alm_to_cl(temperature[0])
    power = float((2 * np.arange(len(cl)) + 1.0) @ cl)
    return abs(float((_pixel_weights(grid) * det * lensed**2).sum()) / power - 1.0)


def inverse() -> float:
    """Largest distance of n + α(n) from n′, on a grid that reaches within 0.7° of the poles."""
    rng = np.random.default_rng(4)
    lmax, grid = 150, healpix_grid(64)
    phi, omega = potentials(rng, lmax, 3e-3)
    found = inverse_deflection(phi, grid, curl_alm=omega, tolerance=1e-10)
    root = np.sqrt(np.arange(lmax + 1.0) * np.arange(1.0, lmax + 2.0))
    centres = angles(grid)
    theta, lon, _ = truths.walk(centres[0], centres[1], found.field)
    positions = np.stack([theta, lon % (2.0 * np.pi)], axis=1)
    alpha = remap(scale_alm(np.array([phi, omega]), root), positions, spin=1, epsilon=1e-12)
    there = truths.axes(*truths.walk(theta, lon, alpha)[:2])[0]
    return float(np.sqrt(((there - truths.axes(centres[0], centres[1])[0]) ** 2).sum(axis=0)).max())


def delensed() -> float:
    """Root-mean-square difference of T, Q, U, lensed and delensed, from what they were, in units of their rms."""
    rng = np.random.default_rng(5)
    lensed_lmax, grid = 200, healpix_grid(32)
    fine = gauss_legendre_grid(2 * lensed_lmax)
    teb, (phi, omega) = white(rng, 3, 24, 2), potentials(rng, 12, 6e-3)
    # with ℓ|α| of 0.5 terms of the k-th order in α, which end at ℓ = 24 + 12k, are below 1e-12 from k = 12 on
    lensed = analysis_tp(remap_tp(teb, phi, fine, curl_alm=omega, epsilon=1e-12), fine, lensed_lmax)
    found = inverse_deflection(phi, grid, curl_alm=omega, tolerance=1e-12)
    back = remap_by(lensed, found.field, grid, epsilon=1e-12)
    return rms(back - synthesis_tp(teb, grid)) / sky_rms(teb)


def _strong_lens() -> tuple[Grid, NDArray, NDArray, NDArray]:
    """A grid, φ, Ω of 20′ rms together, and a temperature; on the grid T̃² det A is held to 1e-13."""
    rng = np.random.default_rng(3)
    phi, omega = potentials(rng, 32, np.radians(20 / 60))
    return gauss_legendre_grid(700), phi, omega, white(rng, 1, 48, 0)


def white(rng: np.random.Generator, rows: int, lmax: int, lmin: int) -> NDArray[np.complex128]:
    """White Gaussian alm of real fields."""
    alm = (rng.standard_normal((rows, alm_size(lmax))) + 1j * rng.standard_normal((rows, alm_size(lmax)))) / np.sqrt(2)
    alm[:, : lmax + 1] = np.sqrt(2) * alm[:, : lmax + 1].real
    return scale_alm(alm, (np.arange(lmax + 1) >= lmin).astype(float))


def potentials(rng: np.random.Generator, lmax: int, rms: float) -> NDArray[np.complex128]:
    """Red φ and, a third as strong, Ω, of a deflection of given rms in radians."""
    ell = np.arange(lmax + 1.0)
    both = scale_alm(white(rng, 2, lmax, 1), 1.0 / np.maximum(ell, 1.0) ** 2) * np.array([[1.0], [1 / 3]])
    variance = (2 * ell + 1) * ell * (ell + 1) / (4 * np.pi) @ (alm_to_cl(both[0]) + alm_to_cl(both[1]))
    return both * rms / np.sqrt(variance)


def rms(values: NDArray) -> float:
    """Root-mean-square."""
    return float(np.sqrt(np.mean(np.abs(values) ** 2)))


def sky_rms(alm: NDArray) -> float:
    """Root-mean-square over the sphere of each real field that the rows synthesise to."""
    weight = np.where(alm_m(lmax_of(alm.shape[-1])) == 0, 1.0, 2.0)
    return float(np.sqrt((weight * np.abs(alm) ** 2).sum() / (4 * np.pi * len(alm))))


def angles(grid: Grid) -> NDArray[np.float64]:
    """Colatitude and longitude of every pixel."""
    return pixel_angles(grid, np.arange(grid.npix))


def _pixel_weights(grid: Grid) -> NDArray[np.float64]:
    return np.repeat(grid.weights, grid.nphi.astype(int))

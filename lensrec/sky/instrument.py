"""What an instrument does to a sky: its beam, and noise that is white but for a rise to low multipoles."""

import numpy as np
from numpy.typing import NDArray

from lensrec.sky.random import unit_alm
from lensrec.sphere.alm import scale_alm

SMALLEST_TRANSFER = 1e-30
"""Where beam times window is smaller, nothing is left to deconvolve: N_ℓ/b_ℓ² is held at N_ℓ 10⁶⁰, and is finite."""


def uk_arcmin_to_uk_rad(level: float) -> float:
    """A noise level in µK·arcmin as µK·rad, whose square is the white C_ℓ in µK² (µK² sr)."""
    return level * np.pi / 10800.0


def gaussian_beam(fwhm_rad: float, lmax: int, *, spin: int = 0) -> NDArray[np.float64]:
    """Transfer function of a Gaussian beam, b_ℓ = exp(−[ℓ(ℓ+1) − s²] σ²/2) with σ = FWHM/√(8 ln 2).

    Parameters
    ----------
    fwhm_rad : float
        Full width at half maximum, radians; 0 for none.
    lmax : int
    spin : int
        2 gives the polarised beam as healpy's `gauss_beam` returns it, larger by e^{2σ²} (Challinor et al. 2000,
        astro-ph/0008228). The default serves polarisation, too, as is usual in analyses of lensing: for 5′ the two
        differ by 8e-7.

    Returns
    -------
    array (lmax+1,), from ℓ = 0

    Raises
    ------
    ValueError
        For a negative width or a beam that is no longer narrow (FWHM above π/2).
    """
    if not 0.0 <= fwhm_rad <= np.pi / 2.0:
        raise ValueError(f"the FWHM of a Gaussian beam must be from 0 to pi/2 rad, got {fwhm_rad}")
    ell = np.arange(lmax + 1.0)
    variance = fwhm_rad**2 / (8.0 * np.log(2.0))
    return np.exp(-0.5 * (ell * (ell + 1.0) - spin**2) * variance)


def noise_spectrum(
    lmax: int, *, level: float, lknee: float | None = None, slope: float | None = None, lmin: int = 2
) -> NDArray[np.float64]:
    """Noise spectrum of a map as it is observed, N_ℓ = level² [1 + (ℓ/ℓ_knee)^slope].

    Parameters
    ----------
    lmax : int
    level : float
        White noise in µK·rad; see `uk_arcmin_to_uk_rad`. For Q and U their own, √2 times that of T where all
        detectors are polarised.
    lknee, slope : float, optional
        Where the red part equals the white one, and its exponent, negative. Without them the noise is white.
    lmin : int
        Below it N_ℓ stays at N_lmin, finite at ℓ = 0.

    Returns
    -------
    array (lmax+1,), µK², from ℓ = 0

    Raises
    ------
    ValueError
        For a negative level, a knee without a slope or the reverse, a knee not above 0, or an lmin below 1.

    Notes
    -----
    A red part given as N_red (ℓ/1000)^slope in µK² has ℓ_knee = 1000 (N_red/level²)^(−1/slope).
    """
    if level < 0.0:
        raise ValueError(f"a noise level must not be negative, got {level}")
    if (lknee is None) != (slope is None):
        raise ValueError(f"1/f noise needs a knee and a slope, got lknee={lknee} and slope={slope}")
    if lmin < 1:
        raise ValueError(f"1/f noise is held constant below an lmin of at least 1, got {lmin}")
    noise = np.full(lmax + 1, level**2)
    if lknee is not None and slope is not None:
        if lknee <= 0.0:
            raise ValueError(f"the knee of 1/f noise must be above 0, got {lknee}")
        noise *= 1.0 + (np.maximum(np.arange(lmax + 1.0), lmin) / lknee) ** slope
    return noise


def noise_alm(
    noise_t: NDArray, noise_p: NDArray, lmax: int, *, seed: int, sim: int, nthreads: int = 0
) -> NDArray[np.complex128]:
    """Gaussian noise in T, E and B, independent of each other and of the sky drawn from the same seed.

    Parameters
    ----------
    noise_t, noise_p : array (n,), µK², from ℓ = 0
        Spectra of T, and of E and B alike; zero beyond their ends.
    lmax : int
    seed, sim : int
        The same pair gives the same low multipoles at any lmax.
    nthreads : int
        0: as many as this process may use.

    Returns
    -------
    array (3, nalm), µK; E and B are zero at ℓ < 2.
    """
    amplitude_p = np.sqrt(noise_p)
    amplitude_p[:2] = 0.0
    amplitudes = {"noise_T": np.sqrt(noise_t), "noise_E": amplitude_p, "noise_B": amplitude_p}
    return np.stack(
        [
            scale_alm(unit_alm(lmax, seed=seed, sim=sim, component=component, nthreads=nthreads), amplitude)
            for component, amplitude in amplitudes.items()
        ]
    )


def observed_alm(alm: NDArray, transfer_t: NDArray, transfer_p: NDArray) -> NDArray:
    """T, or T, E and B, with beam (and pixel window) on.

    Parameters
    ----------
    alm : array (1 or 3, nalm), complex
    transfer_t, transfer_p : array (n,), from ℓ = 0
        Beam times pixel window; zero beyond their ends.
    """
    return np.stack([scale_alm(row, transfer_p if i else transfer_t) for i, row in enumerate(alm)])


def total_noise_deconvolved(noise: NDArray, beam: NDArray, window: NDArray | None = None) -> NDArray[np.float64]:
    """Noise of a map whose beam and pixel window are deconvolved, N_ℓ/(b_ℓ w_ℓ)², µK², from ℓ = 0.

    Always finite: b_ℓ w_ℓ counts as at least 1e-30, also where w_ℓ is 0 because there are no such multipoles.
    """
    transfer = beam if window is None else beam * window
    return noise / np.maximum(transfer, SMALLEST_TRANSFER) ** 2

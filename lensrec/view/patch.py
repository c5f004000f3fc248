"""A square patch of the sky: where its pixels look, and the power spectrum of what they see.

The directions of a patch are made once, about the x axis, and turned to where one looks by a 3×3 matrix; that, and a
look-up of pixels, is all that a change of view costs.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

WIDEST = 120.0
"""Degrees along the side of a patch, at most."""

STRETCH = 1.08
"""Ratio of the edges of bands where these are wider than two modes of the patch."""


class PatchSpectrum(NamedTuple):
    """Band powers of a patch, each array (nbands,); empty where there is too little to see.

    `low` and `high` are the edges of the bands, `ell` the mean multipole of their modes, `power` the mean of
    ℓ(ℓ+1)C_ℓ/2π in the squared unit of the patch, `sigma` its cosmic variance as a Gaussian field of that power has it.
    """

    low: NDArray[np.float64]
    high: NDArray[np.float64]
    ell: NDArray[np.float64]
    power: NDArray[np.float64]
    sigma: NDArray[np.float64]


def gnomonic_directions(size_deg: float, width: int) -> NDArray[np.float64]:
    """Where the pixels of a patch in the tangent plane of the x axis look.

    Parameters
    ----------
    size_deg : float
        Side of the patch, up to 120 degrees.
    width : int
        Pixels along a side.

    Returns
    -------
    array (3, width²), row by row: the first row is in the south (−z), the first pixel of each in the east (+y).
    Not normalised: lengths are what the plane makes them.

    Raises
    ------
    ValueError
        If the size is out of range.
    """
    half = np.tan(np.radians(_checked_size(size_deg)) / 2.0)
    up, left = _plane(half, width)
    return np.stack([np.ones_like(up), left, up]).reshape(3, -1)


def equal_area_directions(size_deg: float, width: int) -> NDArray[np.float64]:
    """The same for Lambert's azimuthal equal-area plane, in which all pixels are as large: unit vectors.

    The middles of its four sides are those of the gnomonic patch; see `equal_area_side`. Spectra are taken in this
    plane: multipoles along and across a radius are off by equal and opposite factors, where a gnomonic patch makes
    all of them too low towards its edges.

    Notes
    -----
    Snyder (1987, USGS Professional Paper 1395), equations 24-2 and 24-16.
    """
    half = equal_area_side(size_deg) / 2.0
    up, left = _plane(half, width)
    squared = up**2 + left**2
    stretch = np.sqrt(1.0 - squared / 4.0)
    return np.stack([1.0 - squared / 2.0, stretch * left, stretch * up]).reshape(3, -1)


def equal_area_side(size_deg: float) -> float:
    """Side of the equal-area patch in its plane, radians: 4 sin(size/4)."""
    return float(4.0 * np.sin(np.radians(_checked_size(size_deg)) / 4.0))


def view_matrix(lon_deg: float, lat_deg: float, turn_deg: float = 0.0) -> NDArray[np.float64]:
    """The rotation that takes directions about the x axis to those about a point of the sky.

    Parameters
    ----------
    lon_deg, lat_deg : float
        What is in the middle.
    turn_deg : float
        Position angle of what is up, from north through east: the sky turns clockwise on the screen, east being left.

    Returns
    -------
    array (3, 3)
        Its columns are the middle, and what is to the left and up of it.
    """
    lon, lat, turn = np.radians([lon_deg, lat_deg, turn_deg])
    forward = np.array([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)])
    east = np.array([-np.sin(lon), np.cos(lon), 0.0])
    north = np.array([-np.sin(lat) * np.cos(lon), -np.sin(lat) * np.sin(lon), np.cos(lat)])
    up = np.cos(turn) * north + np.sin(turn) * east
    left = np.cos(turn) * east - np.sin(turn) * north
    return np.stack([forward, left, up], axis=1)


def place_of(direction: NDArray) -> tuple[float, float]:
    """Longitude from 0 to 360 and latitude, degrees, of a vector (3,) of any length."""
    x, y, z = (float(value) for value in direction)
    return float(np.degrees(np.arctan2(y, x))) % 360.0, float(np.degrees(np.arctan2(z, np.hypot(x, y))))


def patch_weight(seen: NDArray[np.bool_]) -> NDArray[np.float64]:
    """How pixels of a patch (n, n) count in its spectrum: sin² towards its sides, and less beside what is not seen."""
    weight = _taper(len(seen))
    if seen.all():
        return weight
    from scipy.ndimage import gaussian_filter

    # one half at a straight border: from zero there to one some three widths inside
    near = gaussian_filter(seen.astype(np.float32), len(seen) / 64.0, mode="nearest")
    return weight * np.where(seen, np.clip(2.0 * near - 1.0, 0.0, 1.0), 0.0)


def patch_spectrum(
    image: NDArray,
    side: float,
    *,
    seen: NDArray[np.bool_] | None = None,
    window: NDArray | None = None,
    lmax: float = np.inf,
) -> PatchSpectrum:
    """Power spectrum of a patch as of a flat sky.

    Parameters
    ----------
    image : array (n, n)
        In an equal-area plane. Values where it is not seen do not matter, nor does its mean, which is taken off.
    side : float
        Radians, in that plane.
    seen : array (n, n), bool
        All of it, if not given.
    window : array (m,), from ℓ = 0
        What multiplies a_ℓm in the image: the spectrum is divided by its square, and ends where it ends.
    lmax : float
        No band begins above it, nor above the sampling's own π n/side.

    Returns
    -------
    PatchSpectrum
        Bands two modes wide, or 8 % of ℓ where that is more, from 1½ modes on; neighbours are correlated, for the
        weight's sin² mixes modes next to each other.

    Raises
    ------
    ValueError
        If the image is not a square.

    Notes
    -----
    With f the image without its mean, w the weight, Ω the area of a pixel and k = 2π/side times whole numbers,
    C(k) = Ω |Σ w f e^{−ik·x}|² / Σw², and ℓ(ℓ+1) = k² − 1/4: the harmonics of degree ℓ are waves of k = ℓ + 1/2.
    A band's modes are worth 2 Var⁻¹ ⟨C⟩² = N (Σw²)²/(n² Σw⁴), N counting k and −k.
    """
    n = len(image)
    if np.shape(image) != (n, n):
        raise ValueError(f"a patch is a square, got shape {np.shape(image)}")
    seen = np.ones((n, n), dtype=bool) if seen is None else seen
    weight = patch_weight(seen)
    w2 = float(np.sum(weight**2))
    modes = _modes(n, float(side))
    last = min(lmax, np.inf if window is None else len(window) - 1.0)
    # the whole patch has a seventh of n²
    kept = (modes.high <= last) & (w2 > 0.01 * n * n)
    if not kept.any():
        return PatchSpectrum(*(np.zeros(0) for _ in range(5)))
    from scipy.fft import rfft2

    filled = np.where(seen, image, 0.0)
    mean = float(np.sum(weight * filled)) / float(np.sum(weight))
    # single precision does for a picture, in half the time
    amplitude = rfft2((weight * (filled - mean)).astype(np.float32))
    power = modes.mean(modes.scale * (amplitude.real**2 + amplitude.imag**2) * (side / n) ** 2 / w2)
    if window is not None:
        power = power / np.interp(modes.ell, np.arange(len(window)), np.asarray(window, dtype=np.float64)) ** 2
    worth = modes.counts * w2**2 / (n * n * float(np.sum(weight**4)))
    return PatchSpectrum(
        *(values[kept] for values in (modes.low, modes.high, modes.ell, power, power * np.sqrt(2.0 / worth)))
    )


@lru_cache(maxsize=4)
def _taper(n: int) -> NDArray[np.float64]:
    across = np.sin(np.pi * (np.arange(n) + 0.5) / n) ** 2
    weight = np.outer(across, across)
    weight.flags.writeable = False
    return weight


class _Modes(NamedTuple):
    """Of rfft2: ℓ(ℓ+1)/2π of each and how often it counts, (n, n//2+1), and the band it is in, flat; and of the bands
    edges, number of modes, and mean ℓ."""

    scale: NDArray[np.float64]
    times: NDArray[np.float64]
    band: NDArray[np.int64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    counts: NDArray[np.float64]
    ell: NDArray[np.float64]

    def mean(self, values: NDArray) -> NDArray[np.float64]:
        """Over the modes of each band."""
        total = np.bincount(self.band, weights=(self.times * values).ravel(), minlength=len(self.low) + 1)
        return total[: len(self.low)] / self.counts


@lru_cache(maxsize=4)
def _modes(n: int, side: float) -> _Modes:
    mode, top = 2.0 * np.pi / side, np.pi * n / side
    edges = [1.5 * mode]
    while edges[-1] < top:
        edges.append(max(edges[-1] + 2.0 * mode, edges[-1] * STRETCH))
    k = np.array(edges)
    wave = mode * np.hypot(np.fft.fftfreq(n, 1.0 / n)[:, None], np.fft.rfftfreq(n, 1.0 / n)[None, :])
    times = np.full(wave.shape, 2.0)
    times[:, 0] = 1.0
    if n % 2 == 0:
        times[:, -1] = 1.0
    band = np.digitize(wave, k) - 1
    # the last number is of those in no band
    band = np.where((band < 0) | (wave >= top), len(k) - 1, band).ravel()
    counts = np.maximum(np.bincount(band, weights=times.ravel(), minlength=len(k))[:-1], 1.0)
    ell = np.bincount(band, weights=(times * wave).ravel(), minlength=len(k))[:-1] / counts - 0.5
    scale = np.maximum(wave**2 - 0.25, 0.0) / (2.0 * np.pi)
    return _Modes(scale, times, band, k[:-1] - 0.5, k[1:] - 0.5, counts, ell)


def _checked_size(size_deg: float) -> float:
    if not 0.0 < size_deg <= WIDEST:
        raise ValueError(f"a patch has a side between 0 and {WIDEST:g} degrees, got {size_deg:g}")
    return size_deg


def _plane(half: float, width: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Height and distance to the left of the middles of width × width pixels in a square of half-side `half`."""
    middle = half * ((2.0 * np.arange(width) + 1.0) / width - 1.0)
    up, left = np.meshgrid(middle, -middle, indexing="ij")
    return up, left

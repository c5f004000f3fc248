"""A HEALPix map and its coarser selves, so that a wide view averages over what it has no pixels for."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from lensrec.sky.pixel_window import pixel_window

COARSEST = 32
SHARP, FAITHFUL = 1.2, 4.0
"""Samples across a pixel, at most, that pictures and spectra take before they read a finer map; see `nside_for`."""

_CHUNK = 1 << 20
_UNSEEN = -1e30  # healpy's is -1.6375e30


class Pyramid:
    """Values of a map in any direction, at the resolution that is asked for.

    The map itself is not copied. Maps of half, a quarter, … of its nside are made when they are first looked at: of
    nside 2048 that takes two seconds, once.

    Parameters
    ----------
    sky : array (npix,), RING
        NaN, infinity and UNSEEN are not seen.
    mask : array (npix,), optional
        Nor is where it is below one half.

    Raises
    ------
    ValueError
        If it is no HEALPix map, or the mask has another shape.
    """

    def __init__(self, sky: NDArray, mask: NDArray | None = None) -> None:
        self.sky = np.asarray(sky)
        nside = round(np.sqrt(self.sky.size / 12)) if self.sky.ndim == 1 else 0
        if nside < 1 or 12 * nside * nside != len(self.sky):
            raise ValueError(f"a HEALPix map has 12 nside² pixels in one dimension, got shape {self.sky.shape}")
        if mask is not None and np.shape(mask) != self.sky.shape:
            raise ValueError(f"the mask has shape {np.shape(mask)}, the map {self.sky.shape}")
        self.nside = nside
        self._mask = None if mask is None else np.asarray(mask)
        self._coarser: dict[int, NDArray[np.float32]] = {}

    def nside_for(self, step: float, *, wide: float) -> int:
        """The nside to be read by samples `step` radians apart: that of the largest pixels up to `wide` steps across.

        For a picture `wide` is `SHARP`. A spectrum needs more samples in each pixel, `FAITHFUL`: edges of pixels that
        fall between samples add power. To white noise, which has most of it, 3 % with two samples across a pixel,
        1.5 % with three, 13 % with one and a half.
        """
        nside = self.nside
        while nside % 2 == 0 and nside > COARSEST and _pixel(nside // 2) <= wide * step:
            nside //= 2
        return nside

    def pixels(self, direction: NDArray, nside: int) -> NDArray[np.int64]:
        """The pixels in each direction (3, n) of any length, of one of the nsides that `nside_for` gives."""
        import healpy

        return healpy.vec2pix(nside, *direction, nest=nside != self.nside)

    def at(self, pixels: NDArray[np.int64], nside: int) -> NDArray[np.float64]:
        """The values in `pixels` of that nside; NaN where nothing is seen."""
        return self._clean(pixels) if nside == self.nside else self._level(nside)[pixels].astype(np.float64)

    @property
    def seen(self) -> NDArray[np.bool_]:
        """Where the map is seen, (npix,): all of it is looked at."""
        valid = np.isfinite(self.sky) & (self.sky > _UNSEEN)
        return valid if self._mask is None else valid & (self._mask >= 0.5)

    def _clean(self, pixels: NDArray[np.int64]) -> NDArray[np.float64]:
        """Values of the map's own pixels, NaN where they are not seen."""
        found = self.sky[pixels].astype(np.float64)
        hidden = ~(np.isfinite(found) & (found > _UNSEEN))
        if self._mask is not None:
            hidden |= ~(self._mask[pixels] >= 0.5)
        found[hidden] = np.nan
        return found

    def _level(self, nside: int) -> NDArray[np.float32]:
        """The map at a lower nside, NESTED."""
        if nside not in self._coarser:
            self._coarser[nside] = self._halved() if 2 * nside == self.nside else _fours(self._level(2 * nside))
        return self._coarser[nside]

    def _halved(self) -> NDArray[np.float32]:
        import healpy

        out = np.empty(len(self.sky) // 4, dtype=np.float32)
        for start in range(0, len(self.sky), _CHUNK):
            nested = np.arange(start, min(start + _CHUNK, len(self.sky)))
            out[start // 4 : (nested[-1] + 1) // 4] = _fours(self._clean(healpy.nest2ring(self.nside, nested)))
        return out


@lru_cache(maxsize=16)
def reading_window(own: int, read: int) -> NDArray[np.float64]:
    """What reading pixels of nside `read` of a map of nside `own` does to a_ℓm, from ℓ = 0 on.

    It ends where it can be relied on: at 1½ nside of the map itself, at nside where coarser pixels are read. Each
    sample stands for a whole pixel, and what a coarser one holds is a mean over those of the map. That takes power
    from waves, but not from the noise of pixels, of which 5 % too much are left at ℓ = nside. Ones where nside is no
    power of two: of such pixels the window is not known.
    """
    lmax = 3 * own // 2 if read == own else read
    try:
        once = pixel_window(read, lmax)[0]
        return once if read == own else once**2 / pixel_window(own, lmax)[0]
    except ValueError:
        return np.ones(lmax + 1)


def _pixel(nside: int) -> float:
    """Side of a pixel, radians."""
    return float(np.sqrt(np.pi / 3.0) / nside)


def _fours(nested: NDArray) -> NDArray[np.float32]:
    """Means of four pixels each, NaN unless two of them are seen."""
    fours = nested.reshape(-1, 4)
    seen = np.isfinite(fours)
    count = seen.sum(1)
    mean = np.where(seen, fours, 0.0).sum(1) / np.maximum(count, 1)
    return np.where(count >= 2, mean, np.nan).astype(np.float32)

"""Uneven noise: how long each part of the sky was looked at, and how noise follows it."""

import numpy as np
from numpy.typing import NDArray

from lensrec.sky.masks import pixel_vectors

POLES = {"ecliptic": (96.384, 29.811), "equatorial": (122.932, 27.128)}
"""Galactic longitude and latitude, degrees, of the northern pole of J2000."""

_POLAR = 0.3
"""1/√(cos²β + 0.3²) is 3.3 at a pole and 0.96 at the equator: rms noise varies by nearly two, as Planck's does."""


def scan_hits(nside: int, pole: str) -> NDArray[np.float64]:
    """Hits of a scan along great circles through the neighbourhood of two poles, mean 1.

    Rings through the poles share the sky in proportion to cos β, so that hits go as 1/cos β, until the rings' distance
    from the pole rounds that off: 1/√(cos²β + 0.3²).

    Parameters
    ----------
    nside : int
    pole : "ecliptic" or "equatorial"
        Whose latitude is β, in Galactic coordinates.
    """
    if pole not in POLES:
        raise ValueError(f"hits are known about the poles {', '.join(POLES)}, got {pole!r}")
    longitude, latitude = np.radians(POLES[pole])
    axis = [np.cos(latitude) * np.cos(longitude), np.cos(latitude) * np.sin(longitude), np.sin(latitude)]
    sine = pixel_vectors(nside) @ np.array(axis)
    hits = 1.0 / np.sqrt(1.0 - sine**2 + _POLAR**2)
    return hits / hits.mean()


def relative_noise(hits: NDArray, mask: NDArray | None = None) -> NDArray[np.float64]:
    """Rms noise of each pixel, hits^−½, over its root mean square under the mask.

    Parameters
    ----------
    hits : array (npix,), not negative
    mask : array (npix,), optional
        Weights w of the map: ⟨w² r²⟩ = ⟨w²⟩, so that noise spectra of the masked map keep their level.

    Returns
    -------
    array (npix,); zero where there are no hits, which the mask must leave out.

    Raises
    ------
    ValueError
        If hits are negative or not finite, or a pixel that the mask keeps has none.
    """
    hits = np.asarray(hits, dtype=np.float64)
    weight = np.ones(hits.shape) if mask is None else np.asarray(mask, dtype=np.float64) ** 2
    if not (np.isfinite(hits).all() and (hits >= 0).all()):
        raise ValueError("hits must be finite and not negative")
    if bare := int(np.count_nonzero((weight > 0) & (hits == 0))):
        raise ValueError(f"{bare} pixels that the mask keeps have no hits; set the mask to 0 there")
    variance = np.divide(1.0, hits, out=np.zeros_like(hits), where=hits > 0)
    return np.sqrt(variance / np.average(variance, weights=weight))

"""The mask of a recipe, and the pattern of its noise."""

import numpy as np
from numpy.typing import NDArray

from lensrec.recipe import Instrument, Mask
from lensrec.sky.hits import relative_noise, scan_hits
from lensrec.sky.io import read_mask
from lensrec.sky.masks import apodise, galactic_cut

SMALLEST_WEIGHT = 1e-2
"""An optimal filter sees the pixels above this weight of an apodised mask, by which masked maps are divided for it."""


def mask_of(
    mask: Mask, nside: int, *, observed: NDArray[np.bool_] | None = None, coord: str | None = None
) -> NDArray[np.float64] | None:
    """The apodised weights of a recipe's mask, (npix,), or None for the whole sky.

    Parameters
    ----------
    observed : bool array (npix,), optional
        Where a map has data; elsewhere the mask is zero, and apodised towards it.
    coord : "G", "C" or "E", optional
        The coordinates of that map, where it states them.

    Raises
    ------
    ValueError
        If the mask states other coordinates than the map, the Galaxy is to be cut out of a map whose equator is not
        the Galaxy's, or nothing is left of the sky.
    """
    if mask.galactic_cut and coord not in (None, "", "G"):
        raise ValueError(
            f"mask.galactic_cut: {mask.galactic_cut:g} deg is about the Galaxy's equator, and the map is in "
            f"coordinates {coord}; give a mask file in {coord} instead"
        )
    seen_everywhere = observed is None or bool(observed.all())
    if mask.full_sky and seen_everywhere:
        return None
    weights = np.ones(12 * nside**2) if observed is None else observed.astype(np.float64)
    if mask.file is not None:
        weights *= read_mask(mask.file, nside=nside, coord=coord or None)
    if mask.galactic_cut:
        weights *= galactic_cut(nside, np.radians(mask.galactic_cut))
    if mask.apodisation:
        weights = apodise(weights, mask.apodisation_rad, kind=mask.kind)
    if not weights.any():
        raise ValueError(f"{mask.file or 'the mask'}: nothing of what the map has observed is left; give another mask")
    return weights


def mask_moment(mask: NDArray | None, power: int, filtering: str = "isotropic") -> float:
    """⟨w^n⟩, or for an optimal filter, which sees pixels or does not, the fraction of the sky; 1 without a mask."""
    if mask is None:
        return 1.0
    weights = (mask > SMALLEST_WEIGHT) if filtering == "optimal" else mask
    return float(np.mean(weights**power))


def noise_pattern(instrument: Instrument, nside: int, mask: NDArray | None = None) -> NDArray[np.float64] | None:
    """Rms noise of each pixel over that of the map, (npix,), as `instrument.hits` says; None where noise is even.

    Raises
    ------
    ValueError
        If the file of hits cannot be used, or has none where the mask keeps pixels.
    """
    if instrument.hits is None:
        return None
    file = instrument.hits_file
    hits = scan_hits(nside, str(instrument.hits)) if file is None else read_mask(file, nside=nside, hits=True)
    try:
        return relative_noise(hits, mask)
    except ValueError as err:
        raise ValueError(f"instrument.hits: {instrument.hits}: {err}") from None

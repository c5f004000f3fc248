"""The mask of a recipe."""

import numpy as np
from numpy.typing import NDArray

from lensrec.recipe import Mask
from lensrec.sky.io import read_mask
from lensrec.sky.masks import apodise, galactic_cut


def mask_of(mask: Mask, nside: int, *, observed: NDArray[np.bool_] | None = None) -> NDArray[np.float64] | None:
    """The apodised weights of a recipe's mask, (npix,), or None for the whole sky.

    Parameters
    ----------
    observed : bool array (npix,), optional
        Where a map has data; elsewhere the mask is zero, and apodised towards it.
    """
    seen_everywhere = observed is None or bool(observed.all())
    if mask.full_sky and seen_everywhere:
        return None
    weights = np.ones(12 * nside**2) if observed is None else observed.astype(np.float64)
    if mask.file is not None:
        weights *= read_mask(mask.file, nside=nside)
    if mask.galactic_cut:
        weights *= galactic_cut(nside, np.radians(mask.galactic_cut))
    return apodise(weights, mask.apodisation_rad, kind=mask.kind) if mask.apodisation else weights

"""Whether the polarisation of a map is what it is said to be: Q and U that are swapped show as B modes."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from lensrec.sphere.alm import alm_to_cl
from lensrec.stages.estimate import map_to_alm
from lensrec.stages.setting import Optics

CLEAR = 0.25
"""B over E, with noise in both, below which the two can be told apart."""

DOUBTFUL = 0.5
"""B over E that is not believed where less than CLEAR is expected."""

FEWEST = 200
"""Modes, by which the ratio scatters by 14 %."""


def doubtful_polarisation(
    maps: NDArray,
    totals: Mapping[str, NDArray],
    optics: Optics,
    nside: int,
    multipoles: tuple[int, int],
    *,
    mask: NDArray | None = None,
    nthreads: int = 0,
) -> str:
    """A line if a map has B modes where E modes should stand far above them, else nothing.

    Parameters
    ----------
    maps : array (3, npix)
        I, Q, U; HEALPix RING, COSMO, unmasked.
    totals : mapping of "EE" and "BB" to array (lmax+1,)
        Beam-deconvolved power that is expected, noise in it.
    optics : Optics
        Beam and pixels of the map.
    multipoles : (int, int)
        The lowest and highest that count.
    mask : array (npix,), optional

    Notes
    -----
    With P = Q + iU, swapping Q and U makes iP*, a wrong sign of U makes P*: either way E + iB is conjugated and turns
    by −4φ_l, φ_l being the direction of a wave, so that E and B share the power evenly. A turn of the axes by 45° makes
    iP, and changes E for B. What noise hides cannot be seen, and nothing is said of it. A mask's border takes some of E
    for B, by far less than half.
    """
    low, high = multipoles
    ell = np.arange(min(high, len(totals["EE"]) - 1) + 1)
    transfer = optics.of("E")[: len(ell)] ** 2
    expected = {key: totals[key][: len(ell)] * transfer for key in ("EE", "BB")}
    clear = (ell >= low) & (expected["BB"] < CLEAR * expected["EE"])
    weight = np.where(clear, 2 * ell + 1.0, 0.0)
    seen = 1.0 if mask is None else float(np.mean(mask**2))
    if not clear.any() or weight.sum() * seen < FEWEST:
        return ""
    masked = maps if mask is None else maps * mask
    # no iterations: a ratio needs none
    alm = map_to_alm(masked, nside, len(ell) - 1, iterations=0, nthreads=nthreads)
    found = {2 * field: float(weight @ alm_to_cl(alm[field])) for field in "EB"}
    should = float(weight @ expected["BB"]) / float(weight @ expected["EE"])
    if found["BB"] <= DOUBTFUL * found["EE"]:
        return ""
    ratio = found["BB"] / found["EE"] if found["EE"] > 0 else np.inf
    return (
        f"between ℓ = {ell[clear][0]} and {ell[clear][-1]} B modes have {ratio:.2g} times the power of E modes, where "
        f"{should:.2g} is expected: Q and U may be swapped, or U of the other sign (--polconv IAU or COSMO), or the "
        "noise of polarisation larger than was said (--noise-p)"
    )

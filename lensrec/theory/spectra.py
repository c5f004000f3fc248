"""The theory spectra of one cosmology, as every later stage reads them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CMB_KEYS = ("TT", "EE", "BB", "TE")
POTENTIAL_KEYS = ("PP", "TP", "EP")

Spectra = dict[str, NDArray[np.float64]]


@dataclass(frozen=True, eq=False)
class TheorySpectra:
    """Raw C_ℓ from ℓ = 0, all of one length.

    Attributes
    ----------
    unlensed, lensed : dict of arrays (lmax+1,)
        TT, EE, BB, TE in µK².
    gradient : dict of arrays (lmax+1,)
        Lensed-gradient spectra C^{T∇T}, C^{E∇E}, C^{B∇B}, C^{T∇E} under the same keys, in µK².
    potential : dict of arrays (lmax+1,)
        PP of the (dimensionless) lensing potential; TP and EP in µK.

    Raises
    ------
    ValueError
        If a spectrum is missing or of another length.
    """

    unlensed: Spectra
    lensed: Spectra
    gradient: Spectra
    potential: Spectra

    def __post_init__(self) -> None:
        for name, keys in _GROUPS.items():
            group = getattr(self, name)
            if set(group) != set(keys):
                raise ValueError(f"{name} spectra must be {', '.join(keys)}, got {', '.join(group)}")
            for key, cl in group.items():
                if cl.shape != (self.lmax + 1,):
                    raise ValueError(f"{name} {key} has shape {cl.shape}, not that of unlensed TT, {self.lmax + 1}")

    @property
    def lmax(self) -> int:
        """Highest multipole of every spectrum."""
        return len(self.unlensed["TT"]) - 1

    def truncated(self, lmax: int) -> "TheorySpectra":
        """The same spectra up to a lower lmax.

        Raises
        ------
        ValueError
            If lmax is negative or beyond where the spectra end.
        """
        if not 0 <= lmax <= self.lmax:
            raise ValueError(f"spectra that end at l = {self.lmax} cannot be cut at {lmax}")
        return TheorySpectra(
            **{name: {key: cl[: lmax + 1] for key, cl in getattr(self, name).items()} for name in _GROUPS}
        )


_GROUPS = {"unlensed": CMB_KEYS, "lensed": CMB_KEYS, "gradient": CMB_KEYS, "potential": POTENTIAL_KEYS}


def extended(cl: NDArray, lmax: int, *, law: str) -> NDArray[np.float64]:
    """A positive spectrum carried on beyond its end, for what lensing at its upper end needs of higher multipoles.

    Parameters
    ----------
    cl : array (n,)
        Positive over its last fifth; returned as it is, as far as it goes.
    lmax : int
        Highest multipole of the result, if that is beyond the end of `cl`.
    law : "power" or "exponential"
        ln C_ℓ is continued as a straight line in ln ℓ (for C_L^φφ) or in ℓ (for the damped C_ℓ of the CMB), fitted
        to the last fifth of the multipoles.

    Raises
    ------
    ValueError
        For another law, or a spectrum that is not positive where it is fitted.
    """
    scales = {"power": lambda l: np.log(np.maximum(l, 1.0)), "exponential": lambda l: l}
    if law not in scales:
        raise ValueError(f'law must be "power" or "exponential", got {law!r}')
    end = len(cl) - 1
    if lmax <= end:
        return np.asarray(cl, dtype=np.float64)
    fitted = np.arange(int(0.8 * end), end + 1, dtype=np.float64)
    tail = np.asarray(cl, dtype=np.float64)[int(0.8 * end) :]
    if len(fitted) < 2 or np.any(tail <= 0):
        raise ValueError(f"a spectrum must be positive from l = {int(0.8 * end)} to {end} to be extended")
    scale = scales[law]
    slope, offset = np.polyfit(scale(fitted), np.log(tail), 1)
    beyond = np.exp(slope * scale(np.arange(end + 1, lmax + 1, dtype=np.float64)) + offset)
    return np.concatenate([cl, beyond])

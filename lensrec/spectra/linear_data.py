"""Band powers with all that a fit needs of them: the windows they are read through, and their joint covariance.

Every band power here, of the CMB or of the lensing potential, measured by lensrec or published, is linear in spectra
about a fiducial cosmology,

    ⟨d_i⟩ = Σ_X Σ_ℓ (W^X_iℓ + K^X_iℓ) C_ℓ^X + o_i,    X = TT, TE, EE, BB, PP,

with W the window of the band power, K what its normalisation and N1 change when a spectrum departs from the fiducial
one, and o_i = −Σ K^X_iℓ C_ℓ^{X,fid} which makes that change vanish at the fiducial (Planck 2015 XV, arXiv:1502.01591,
eq. 32; Planck 2018 VIII, arXiv:1807.06210, eq. 32).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

CMB_BLOCKS = ("TT", "TE", "EE", "BB")
BLOCKS = (*CMB_BLOCKS, "PP")


@dataclass(frozen=True, eq=False)
class LinearData:
    """Band powers d_i, the linear functions of spectra that they measure, and their covariance.

    Attributes
    ----------
    name : str
        Where they come from.
    block : array (n,) of str
        Of each, "TT", "TE", "EE", "BB" or "PP" (that of the lensing potential): calibrations go by it.
    low, high : arrays (n,), int
        First and last multipole of each band.
    centre : array (n,)
        Mean multipole under the window.
    mean : array (n,)
        The measured band powers, in whatever scaling the windows carry.
    covariance : array (n, n)
    windows : dict of "TT", "TE", "EE", "BB", "PP" to array (n, lmax+1)
        W, acting on raw C_ℓ from ℓ = 0, in µK² (PP: dimensionless). Each spectrum may end where it likes.
    corrections : dict likewise
        K; empty where there are none.
    offset : array (n,)
        o; left out, zeros.
    metadata : dict of str to str, int or float
        Scaling, units, masks, beams: whatever a reader should know.
    """

    name: str
    block: NDArray[np.str_]
    low: NDArray[np.int64]
    high: NDArray[np.int64]
    centre: NDArray[np.float64]
    mean: NDArray[np.float64]
    covariance: NDArray[np.float64]
    windows: Mapping[str, NDArray[np.float64]]
    corrections: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    offset: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    metadata: Mapping[str, str | int | float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        n = len(self.mean)
        if not self.offset.size:
            object.__setattr__(self, "offset", np.zeros(n))
        for name in ("block", "low", "high", "centre", "offset"):
            if np.shape(getattr(self, name)) != (n,):
                raise ValueError(f"{self.name}: {n} band powers, but {name} has shape {np.shape(getattr(self, name))}")
        if self.covariance.shape != (n, n):
            raise ValueError(f"{self.name}: {n} band powers, but a covariance of shape {self.covariance.shape}")
        if unknown := sorted(set(self.block.tolist()) - set(BLOCKS)):
            raise ValueError(f"{self.name}: a block is one of {', '.join(BLOCKS)}, got {unknown[0]!r}")
        for kind, matrices in (("window", self.windows), ("correction", self.corrections)):
            for key, matrix in matrices.items():
                if key not in BLOCKS or matrix.ndim != 2 or len(matrix) != n:
                    raise ValueError(f"{self.name}: the {kind} on {key} has shape {matrix.shape}, not ({n}, lmax+1)")

    def __len__(self) -> int:
        return len(self.mean)

    @property
    def lmax(self) -> dict[str, int]:
        """Highest multipole that is read of each spectrum."""
        read: dict[str, int] = {}
        for matrices in (self.windows, self.corrections):
            for key, matrix in matrices.items():
                read[key] = max(read.get(key, 0), matrix.shape[1] - 1)
        return read

    def expected(self, spectra: Mapping[str, NDArray]) -> NDArray[np.float64]:
        """⟨d⟩ for spectra, (n,), without calibration.

        Parameters
        ----------
        spectra : mapping of "TT", "TE", "EE", "BB", "PP" to array (lmax+1,)
            Raw C_ℓ from ℓ = 0, at least as long as the windows on them.

        Raises
        ------
        ValueError
            If a spectrum that the windows read is missing or too short.
        """
        total = np.array(self.offset, dtype=np.float64)
        for matrices in (self.windows, self.corrections):
            for key, matrix in matrices.items():
                total += matrix @ self._spectrum(spectra, key, matrix.shape[1])
        return total

    def selected(self, keep: NDArray[np.bool_]) -> "LinearData":
        """The band powers of a boolean index, with the covariance between them.

        Raises
        ------
        ValueError
            If nothing is left.
        """
        if not np.any(keep):
            raise ValueError(f"{self.name}: no band power is left by that selection")
        return LinearData(
            self.name,
            self.block[keep],
            self.low[keep],
            self.high[keep],
            self.centre[keep],
            self.mean[keep],
            self.covariance[np.ix_(keep, keep)],
            {key: matrix[keep] for key, matrix in self.windows.items()},
            {key: matrix[keep] for key, matrix in self.corrections.items()},
            self.offset[keep],
            self.metadata,
        )

    def _spectrum(self, spectra: Mapping[str, NDArray], key: str, length: int) -> NDArray:
        if key not in spectra or len(spectra[key]) < length:
            found = f"ends at l = {len(spectra[key]) - 1}" if key in spectra else "is missing"
            raise ValueError(f"{self.name} reads C_l^{key} to l = {length - 1}, which {found}")
        return np.asarray(spectra[key])[:length]


def combined(*data: LinearData) -> LinearData:
    """Several sets that are independent of each other as one, in the order given.

    Of their metadata, what all of them say alike is kept; the rest is named after its set, "name.key", or "name#2.key"
    where the second set has the name of another.
    """
    lengths = [len(one) for one in data]
    ends = np.cumsum([0, *lengths])

    def stacked(kind: str) -> dict[str, NDArray]:
        out: dict[str, NDArray] = {}
        for key in dict.fromkeys(key for one in data for key in getattr(one, kind)):
            width = max(getattr(one, kind)[key].shape[1] for one in data if key in getattr(one, kind))
            out[key] = np.zeros((ends[-1], width))
            for one, start, end in zip(data, ends[:-1], ends[1:], strict=True):
                if key in getattr(one, kind):
                    matrix = getattr(one, kind)[key]
                    out[key][start:end, : matrix.shape[1]] = matrix
        return out

    covariance = np.zeros((ends[-1], ends[-1]))
    for one, start, end in zip(data, ends[:-1], ends[1:], strict=True):
        covariance[start:end, start:end] = one.covariance

    def joined(name: str) -> NDArray:
        return np.concatenate([getattr(one, name) for one in data])

    return LinearData(
        name=",".join(one.name for one in data),
        block=joined("block"),
        low=joined("low"),
        high=joined("high"),
        centre=joined("centre"),
        mean=joined("mean"),
        covariance=covariance,
        windows=stacked("windows"),
        corrections=stacked("corrections"),
        offset=joined("offset"),
        metadata=_shared_metadata(data),
    )


def _shared_metadata(data: Sequence[LinearData]) -> dict[str, str | int | float]:
    names = [one.name for one in data]
    labels = [name if names.count(name) == 1 else f"{name}#{place}" for place, name in enumerate(names, 1)]
    out: dict[str, str | int | float] = {}
    for key in dict.fromkeys(key for one in data for key in one.metadata):
        values = [one.metadata[key] for one in data if key in one.metadata]
        if len(values) == len(data) and all(value == values[0] for value in values):
            out[key] = values[0]
        else:
            said = zip(labels, data, strict=True)
            out |= {f"{label}.{key}": one.metadata[key] for label, one in said if key in one.metadata}
    return out

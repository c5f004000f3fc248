"""Power spectra of masked maps: pseudo-spectra, their noise, and band powers freed of mask, beam and pixel (MASTER).

The alm of a masked sky have the mean spectra ⟨C̃_ℓ⟩ = Σ_ℓ′ M_ℓℓ′ b²_ℓ′ C_ℓ′ + ⟨Ñ_ℓ⟩ with the matrices M of
`lensrec.spectra.coupling` and b the transfer of beam and pixels. In bins in which D_ℓ = ℓ(ℓ+1) C_ℓ/2π is flat, with
P_bℓ = [ℓ(ℓ+1)/2π]/n_b and Q_ℓb = 2π/[ℓ(ℓ+1)] for the n_b multipoles of bin b,

    K = P M b² Q,    D̂ = K⁻¹ P (C̃ − ⟨Ñ⟩),    ⟨D̂⟩ = W C,    W = K⁻¹ P M b²

(Hivon et al. 2002, astro-ph/0105302; E with B in one K, Brown, Castro & Taylor 2005, astro-ph/0410394). W is exact for
any C_ℓ: how it varies within a bin and what comes from outside all of them is in W.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lensrec.spectra.coupling import coupling_matrices
from lensrec.spectra.linear_data import CMB_BLOCKS
from lensrec.sphere.alm import alm_to_cl
from lensrec.sphere.grids import healpix_grid
from lensrec.sphere.sht import analysis

Spectra = Mapping[str, NDArray]

KEYS = ("TT", "TE", "EE", "BB", "TB", "EB")
_BLOCKS = (("TT",), ("TE",), ("EE", "BB"), ("TB",), ("EB",))
_KINDS = {"TT": ("00",), "TE": ("02",), "EE": ("++", "--"), "BB": ("++", "--"), "TB": ("02",), "EB": ("++", "--")}
_PURE_KINDS = {**_KINDS, "BB": ("00",), "TB": ("00",), "EB": ("02",)}

WORST_CONDITION = 1e8
"""Of a binned coupling. Beyond, bins are so narrow that the mask hides differences between them."""


def pseudo_spectra(alm: NDArray, other: NDArray | None = None) -> dict[str, NDArray[np.float64]]:
    """Spectra of the alm of masked maps.

    Parameters
    ----------
    alm : array (1, nalm) or (3, nalm), complex
        T, or T, E and B, of the masked map.
    other : array of that shape, optional
        Those of another split of the data, of independent noise: spectra are then cross-spectra, free of noise bias,
        and TE, TB, EB the means of (first's T with other's E) and (first's E with other's T), and so on.

    Returns
    -------
    dict of "TT" (and "TE", "EE", "BB", "TB", "EB") to array (lmax+1,)
        Raw C̃_ℓ from ℓ = 0, in the alm's units squared.

    Raises
    ------
    ValueError
        If alm are not one or three rows, or those of the other split are shaped otherwise.
    """
    first = np.asarray(alm)
    second = first if other is None else np.asarray(other)
    if first.ndim != 2 or len(first) not in (1, 3) or second.shape != first.shape:
        raise ValueError(f"alm must be (1 or 3, nalm), of one shape for both splits; got {first.shape}, {second.shape}")
    out = {}
    for key in KEYS[:1] if len(first) == 1 else KEYS:
        x, y = ("TEB".index(letter) for letter in key)
        out[key] = alm_to_cl(first[x], second[y])
        if x != y and other is not None:
            out[key] = 0.5 * (out[key] + alm_to_cl(first[y], second[x]))
    return out


def mask_spectrum(mask: NDArray, lmax: int, *, other: NDArray | None = None, nthreads: int = 0) -> NDArray[np.float64]:
    """Spectrum W_L = Σ_M |w_LM|²/(2L+1) of a mask, or cross-spectrum of two.

    Parameters
    ----------
    mask, other : arrays (npix,), HEALPix RING
        Weights of the map: the mask w, or w·p with p the relative rms of its noise, or their squares.
    lmax : int
        Coupling uses L ≤ lmax + lmax_sky of the spectra. Beyond 3 nside − 1, which pixels do not resolve, the spectrum
        is zero.
    nthreads : int
        0: as many as this process may use.

    Returns
    -------
    array (lmax+1,), from L = 0
    """
    nside = round((np.size(mask) / 12) ** 0.5)
    grid, resolved = healpix_grid(nside), 3 * nside - 1
    # to all that is resolved whatever is asked for: what lies beyond the end of an analysis would be folded into it
    alm = [
        analysis(np.asarray(one, dtype=np.float64), grid, resolved, nthreads=nthreads)
        for one in (mask, other)
        if one is not None
    ]
    return np.pad(alm_to_cl(alm[0], alm[-1]), (0, max(0, lmax - resolved)))[: lmax + 1]


def white_noise_bias(level_t: float, level_p: float, mean_square: float, lmax: int) -> dict[str, NDArray[np.float64]]:
    """Mean pseudo-spectra of white noise whose rms goes up and down over the sky: N ⟨w²p²⟩ at every ℓ.

    Parameters
    ----------
    level_t, level_p : float
        N of T, and of E and B, in µK² sr, where p = 1.
    mean_square : float
        ⟨w²p²⟩ over the whole sphere: of the mask times the relative rms.
    lmax : int

    Returns
    -------
    dict of "TT", "EE", "BB" to array (lmax+1,)

    Notes
    -----
    Exact for noise that is independent from pixel to pixel and alm that are sums over pixels with equal weights, for
    Σ_m |ₛY_ℓm|² = (2ℓ+1)/4π at each of them; for polarisation from ℓ = 2.
    """
    white = np.full(lmax + 1, mean_square)
    polarised = level_p * np.where(np.arange(lmax + 1) < 2, 0.0, white)
    return {"TT": level_t * white, "EE": polarised, "BB": polarised.copy()}


def noise_bias(
    noise: Spectra, weight_cl: NDArray | None, lmax: int, *, pure_b: bool = False, nthreads: int = 0
) -> dict[str, NDArray[np.float64]]:
    """Mean pseudo-spectra of noise of any colour, w(n) p(n) n(n) with n homogeneous of spectrum N_ℓ.

    Parameters
    ----------
    noise : mapping of "TT" (and "EE", "BB", "TE") to array (lmax_noise+1,)
        N_ℓ of the map as it was observed, beam on, in µK². Noise beyond its end counts as none.
    weight_cl : array, or None
        Spectrum of w·p, mask times relative rms (`mask_spectrum`); None for the whole sky and even noise.
    lmax : int
        Of the pseudo-spectra.
    pure_b : bool
        Whether B is purified; for even noise alone (p = 1), since the derivatives are of w and not of w·p. That of
        uneven white noise is `lensrec.spectra.purification.purified_noise_bias`.
    nthreads : int
        0: as many as this process may use.

    Returns
    -------
    dict of the keys of `noise` to array (lmax+1,)

    Raises
    ------
    ValueError
        If a spectrum is none of TT, EE, BB, TE, the lengths differ, or noise ends before lmax.
    """
    lengths = {len(cl) for cl in noise.values()}
    if not set(noise) <= set(CMB_BLOCKS) or len(lengths) != 1 or min(lengths) <= lmax:
        described = ", ".join(f"{key} to l = {len(cl) - 1}" for key, cl in noise.items())
        raise ValueError(f"noise must be TT, EE, BB or TE, all to one l of at least {lmax}; got {described or 'none'}")
    mixing = _mixing(weight_cl, tuple(noise), lmax, lengths.pop() - 1, pure_b=pure_b, nthreads=nthreads)
    return {
        key: sum(
            (matrix @ np.asarray(noise[source]) for source, matrix in mixing[key].items() if source in noise),
            np.zeros(lmax + 1),
        )
        for key in noise
    }


@dataclass(frozen=True, eq=False)
class Decoupling:
    """From pseudo-spectra to band powers of the sky, of D_ℓ = ℓ(ℓ+1) C_ℓ/2π, and what these see of any C_ℓ.

    Attributes
    ----------
    edges : array (nbins+1,), int
        Bin b holds edges[b] ≤ ℓ < edges[b+1].
    operator : dict of key to dict of pseudo-spectrum to array (nbins, lmax+1)
        D̂^key = Σ operator[key][p] @ (C̃^p − ⟨Ñ^p⟩), with lmax = edges[-1] − 1. EE and BB read both EE and BB.
    windows : dict of key to dict of source to array (nbins, lmax_sky+1)
        ⟨D̂^key⟩ = Σ windows[key][s] @ C^s, of raw C_ℓ of the sky from ℓ = 0, beams and pixels not on it.
    mixing : dict of pseudo-spectrum to dict of source to array (lmax+1, lmax_sky+1)
        M_ℓℓ′, sparse on the whole sky.
    transfer : dict of source to array (lmax_sky+1,)
        b²_ℓ.
    pure_b : bool
        Whether B is purified.
    """

    edges: NDArray[np.int64]
    operator: Mapping[str, Spectra]
    windows: Mapping[str, Spectra]
    mixing: Mapping[str, Spectra]
    transfer: Spectra
    pure_b: bool = False

    @property
    def keys(self) -> tuple[str, ...]:
        """The spectra that are decoupled."""
        return tuple(self.operator)

    def bandpowers(self, pseudo: Spectra, noise: Spectra | None = None) -> dict[str, NDArray[np.float64]]:
        """Band powers D̂_b of each key, (nbins,), µK².

        Parameters
        ----------
        pseudo : mapping of "TT", "TE", … to array, at least to edges[-1] − 1
            Of the data.
        noise : mapping likewise, optional
            ⟨Ñ_ℓ⟩, from `noise_bias`; what is left out counts as zero. Leave it out for cross-spectra of splits.

        Raises
        ------
        ValueError
            If a pseudo-spectrum is missing or too short.
        """
        lmax = int(self.edges[-1]) - 1
        clean = {}
        for key in dict.fromkeys(p for rows in self.operator.values() for p in rows):
            clean[key] = np.array(_reaching(pseudo, key, lmax, "pseudo-spectrum"))
            if noise is not None and key in noise:
                clean[key] -= _reaching(noise, key, lmax, "noise spectrum")
        return {key: sum((m @ clean[p] for p, m in rows.items()), np.zeros(1)) for key, rows in self.operator.items()}

    def mean_pseudo(self, spectra: Spectra) -> dict[str, NDArray[np.float64]]:
        """⟨C̃_ℓ⟩ − ⟨Ñ_ℓ⟩ of a sky of raw spectra C_ℓ, each (lmax+1,); sources that are left out count as zero."""
        width = len(next(iter(self.transfer.values()))) - 1
        seen = {s: b2 * _reaching(spectra, s, width, "spectrum") for s, b2 in self.transfer.items() if s in spectra}
        zero = np.zeros(int(self.edges[-1]))
        return {p: sum((m @ seen[s] for s, m in row.items() if s in seen), zero) for p, row in self.mixing.items()}


def decoupling(
    mask_cl: NDArray | None,
    edges: Sequence[int] | NDArray,
    *,
    lmax_sky: int | None = None,
    transfer: Spectra | None = None,
    keys: Sequence[str] = CMB_BLOCKS,
    pure_b: bool = False,
    nthreads: int = 0,
) -> Decoupling:
    """Prepare the band powers of maps behind one mask.

    Parameters
    ----------
    mask_cl : array, or None
        W_L of the mask (`mask_spectrum`), wanted to L = edges[-1] − 1 + lmax_sky; None for the whole sky.
    edges : sequence of int
        Bins, rising from 2 or more. Let them begin at 2 and end some Δℓ beyond what is to be fitted, and leave the
        outer bins out of the fit: what leaks from outside all bins into the others is in the windows, but broadens
        them.
    lmax_sky : int, optional
        Where the maps' band ends, or the power that leaks in from beyond is negligible; edges[-1] − 1 if left out.
    transfer : mapping of "T" and "P" to array (lmax_sky+1 or more,), optional
        Beam times pixel window of T, and of E and B; 1 if left out.
    keys : sequence of "TT", "TE", "EE", "BB", "TB", "EB"
    pure_b : bool
        Whether the B of the pseudo-spectra is purified (`lensrec.spectra.purification`); T and E are then masked by the
        same `weight`, of which mask_cl is the spectrum.
    nthreads : int
        0: as many as this process may use.

    Returns
    -------
    Decoupling

    Raises
    ------
    ValueError
        For edges that do not rise or pass lmax_sky, an unknown key, a transfer that is too short or vanishes, or bins
        too narrow for the mask.
    """
    bins = np.asarray(edges, dtype=np.int64)
    if bins.ndim != 1 or len(bins) < 2 or bins[0] < 2 or (np.diff(bins) <= 0).any():
        raise ValueError(f"band edges must rise from 2 or more, got {bins.tolist()}")
    lmax = int(bins[-1]) - 1
    width = lmax if lmax_sky is None else lmax_sky
    if width < lmax:
        raise ValueError(f"the last band ends at l = {lmax}, beyond the sky's lmax of {width}")
    if unknown := sorted(set(keys) - set(KEYS)):
        raise ValueError(f"a spectrum is one of {', '.join(KEYS)}, got {unknown[0]!r}")
    optics = _optics(transfer, width, lmax)
    blocks = [block for block in _BLOCKS if set(block) & set(keys)]
    wanted = tuple(key for block in blocks for key in block)
    mixing = _mixing(mask_cl, wanted, lmax, width, pure_b=pure_b, nthreads=nthreads)
    squared = {key: optics[key[0]] * optics[key[1]] for key in wanted}
    ell = np.arange(width + 1.0)
    scaling = ell * (ell + 1.0) / (2.0 * np.pi)
    inside = (ell >= bins[:-1, None]) & (ell < bins[1:, None])
    average = np.where(inside, scaling / np.diff(bins)[:, None], 0.0)[:, : lmax + 1]
    flat = np.where(inside, 1.0 / np.maximum(scaling, scaling[2]), 0.0).T
    operator: dict[str, Spectra] = {}
    windows: dict[str, Spectra] = {}
    for block in blocks:
        # rows P M b² of each pseudo-spectrum, on each source
        seen = {p: {s: (average @ m) * squared[s] for s, m in mixing[p].items()} for p in block}
        zero = np.zeros((len(bins) - 1,) * 2)
        binned = np.block([[seen[p][s] @ flat if s in seen[p] else zero for s in block] for p in block])
        if not np.linalg.cond(binned) < WORST_CONDITION:
            raise ValueError(f"the mask does not tell the bands of {', '.join(block)} apart; make them wider")
        inverse = np.linalg.inv(binned).reshape(len(block), len(bins) - 1, len(block), len(bins) - 1)
        for i, key in enumerate(block):
            if key in keys:
                operator[key] = {p: inverse[i, :, j] @ average for j, p in enumerate(block) if inverse[i, :, j].any()}
                parts = {s: [inverse[i, :, j] @ seen[p][s] for j, p in enumerate(block) if s in seen[p]] for s in block}
                windows[key] = {s: np.sum(part, axis=0) for s, part in parts.items() if np.any(part)}
    return Decoupling(bins, operator, windows, mixing, squared, pure_b)


class BandArrays(NamedTuple):
    """What `LinearData` says of each band power: LinearData(name=…, mean=…, covariance=…, **arrays._asdict())."""

    block: NDArray[np.str_]
    low: NDArray[np.int64]
    high: NDArray[np.int64]
    centre: NDArray[np.float64]
    windows: dict[str, NDArray[np.float64]]


def band_arrays(decoupled: Decoupling, keys: Sequence[str] = CMB_BLOCKS) -> BandArrays:
    """Blocks, ranges and windows of band powers, one key after the other, of the keys that were decoupled.

    Returns
    -------
    BandArrays
        n = nbins × number of keys, in the order of `keys`; windows (n, lmax_sky+1) on each source.
    """
    chosen = [key for key in keys if key in decoupled.windows]
    edges = decoupled.edges
    nbins, width = len(edges) - 1, len(next(iter(decoupled.transfer.values())))
    windows: dict[str, NDArray[np.float64]] = {}
    for i, key in enumerate(chosen):
        for source, window in decoupled.windows[key].items():
            rows = windows.setdefault(source, np.zeros((nbins * len(chosen), width)))
            rows[i * nbins : (i + 1) * nbins] = window
    low, high = (np.tile(one, len(chosen)) for one in (edges[:-1], edges[1:] - 1))
    return BandArrays(np.repeat(np.array(chosen), nbins), low, high, (low + high) / 2.0, windows)


def _mixing(
    mask_cl: NDArray | None, keys: tuple[str, ...], lmax: int, lmax_sky: int, *, pure_b: bool, nthreads: int
) -> dict[str, dict[str, NDArray]]:
    """M_ℓℓ′ of each pseudo-spectrum on each source; on the whole sky, sparse unit matrices."""
    if mask_cl is None:
        from scipy.sparse import eye_array

        unit = eye_array(lmax + 1, lmax_sky + 1, format="csr")
        return {key: {key: unit} for key in keys}
    kinds = _PURE_KINDS if pure_b else _KINDS
    needed = dict.fromkeys(kind for key in keys for kind in kinds[key])
    m = coupling_matrices(mask_cl, lmax, kinds=tuple(needed), lmax_sky=lmax_sky, nthreads=nthreads)
    out: dict[str, dict[str, NDArray]] = {}
    ratio = _purified_ratio(lmax, lmax_sky) if pure_b else np.ones(1)
    for key in keys:
        if key in ("TT", "TE"):
            out[key] = {key: m[kinds[key][0]]}
        elif key == "EE":
            out[key] = {"EE": m["++"], "BB": m["--"]}
        elif key == "BB":
            out[key] = {"BB": m["00"] * ratio**2} if pure_b else {"EE": m["--"], "BB": m["++"]}
        elif key == "TB":
            out[key] = {key: m["00"] * ratio if pure_b else m["02"]}
        else:
            out[key] = {key: m["02"] * ratio if pure_b else m["++"] - m["--"]}
    return out


def _purified_ratio(lmax: int, lmax_sky: int) -> NDArray[np.float64]:
    """r_ℓℓ′ = [(ℓ′+2)!/(ℓ′−2)!]^½ / [(ℓ+2)!/(ℓ−2)!]^½, zero where ℓ or ℓ′ is below 2.

    Purified B is the masked scalar ð̄²P, divided by the square root again: its coupling is r times that of a scalar.
    """
    ell = np.arange(max(lmax, lmax_sky) + 1.0)
    root = np.sqrt(np.maximum((ell + 2) * (ell + 1) * ell * (ell - 1), 0.0))
    inverse = np.divide(1.0, root, out=np.zeros_like(root), where=root > 0)
    return np.outer(inverse[: lmax + 1], root[: lmax_sky + 1])


def _optics(transfer: Spectra | None, lmax_sky: int, lmax: int) -> dict[str, NDArray[np.float64]]:
    if transfer is None:
        unit = np.ones(lmax_sky + 1)
        return {"T": unit, "E": unit, "B": unit}
    out = {}
    for name, letters in (("T", "T"), ("P", "EB")):
        values = np.asarray(transfer.get(name, ()), dtype=np.float64)[: lmax_sky + 1]
        if values.shape != (lmax_sky + 1,) or not (np.isfinite(values).all() and (values[2 : lmax + 1] > 0).all()):
            raise ValueError(f"the transfer of {name} must be known to l = {lmax_sky} and above 0 in all bands")
        out.update(dict.fromkeys(letters, values))
    return out


def _reaching(spectra: Spectra, key: str, lmax: int, what: str) -> NDArray[np.float64]:
    if key not in spectra or len(spectra[key]) <= lmax:
        found = f"ends at l = {len(spectra[key]) - 1}" if key in spectra else "is missing"
        raise ValueError(f"the {what} {key} is wanted to l = {lmax}, but {found}")
    return np.asarray(spectra[key], dtype=np.float64)[: lmax + 1]

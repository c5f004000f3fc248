"""Band powers of one sky's T, E and B and of its φ̂, with the covariance between them."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lensrec.recipe import Recipe
from lensrec.recipe_checks import invertible_lmax
from lensrec.spectra.bandpowers import Bands
from lensrec.spectra.gaussian_covariance import gaussian_covariance, squared_masks
from lensrec.spectra.linear_data import CMB_BLOCKS, LinearData
from lensrec.spectra.pseudo_cl import Decoupling, band_arrays, decoupling, mask_spectrum, noise_bias, pseudo_spectra
from lensrec.spectra.purification import MaskDerivatives, purification_weights, purified_alm, purified_noise_bias
from lensrec.spectra.sacc_file import write_sacc
from lensrec.spectra.split_spectra import mean_cross_spectra
from lensrec.sphere.grids import healpix_grid
from lensrec.stages.estimate import map_to_alm
from lensrec.stages.joint import four_point_block, joined
from lensrec.stages.masking import noise_pattern
from lensrec.stages.reconstruct import Reconstruction
from lensrec.stages.setting import noise_of, optics_of, theory_of
from lensrec.stages.splits import check_splits, noise_removal
from lensrec.theory.spectra import TheorySpectra

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SCALING = "l(l+1)C_l/2pi in uK2; phi in lensrec: [L(L+1)]^2 C_L/2pi"

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Bandpowers:
    """Band powers of one sky or of the mean of several, and the fiducial spectra that their corrections are about.

    Attributes
    ----------
    recipe : Recipe
    data : LinearData
        TT, TE, EE (BB) in D_ℓ = ℓ(ℓ+1)C_ℓ/2π, µK², then φφ in [L(L+1)]²C_L/2π.
    fiducial : dict of "TT", "TE", "EE", "BB", "PP" to array
        Raw lensed C_ℓ and C_L^φφ.
    """

    recipe: Recipe
    data: LinearData
    fiducial: Mapping[str, NDArray[np.float64]]

    def to_sacc(self, path: str | Path) -> None:
        """Write all of it as SACC; see `lensrec.spectra.sacc_file`."""
        write_sacc(path, self.data)

    def plot(self) -> "Figure":
        """The band powers of T and E on the fiducial curves, and their distance from these in σ."""
        from lensrec.stages.bandpowers_view import cmb_figure

        return cmb_figure(self.data, self.fiducial, title=self.recipe.name)

    def _repr_html_(self) -> str:
        from lensrec.stages.show import bandpowers_html

        return bandpowers_html(self)


@dataclass(frozen=True, eq=False)
class SharedBands:
    """What all maps of one recipe and mask share.

    Attributes
    ----------
    decoupled : Decoupling
        In bands that reach from ℓ = 2 beyond those that are kept.
    noise : dict of key to array (lmax+1,)
        Mean pseudo-spectra of the noise.
    kept : array of bool
        Which of the decoupled band powers are the data's, key after key.
    bands : Bands
        Of φφ.
    n1 : array (m,)
        That of the fiducial C^φφ in those bands; zero where N1 was left in.
    template : LinearData
        Everything but the measured values, which are zero: windows, corrections, covariance of one sky.
    common : array (n, n)
        Covariance of what all skies have in common, the Monte-Carlo errors of N0 and of the response.
    fiducial : dict of spectra
    mask : array (npix,) or None
        That which maps carry.
    purifying : MaskDerivatives or None
        Where B is purified.
    pattern : array (npix,) or None
        Rms of the noise in each pixel over that of the map.
    """

    recipe: Recipe
    decoupled: Decoupling
    noise: Mapping[str, NDArray[np.float64]]
    kept: NDArray[np.bool_]
    bands: Bands
    n1: NDArray[np.float64]
    template: LinearData
    common: NDArray[np.float64]
    fiducial: Mapping[str, NDArray[np.float64]]
    mask: NDArray | None = None
    purifying: MaskDerivatives | None = None
    pattern: NDArray | None = None

    def cmb(self, maps: NDArray, *, nthreads: int = 0) -> NDArray[np.float64]:
        """Band powers of T, Q, U (1 or 3, npix) that carry the mask, noise bias off, in the order of the template."""
        return self._bandpowers(pseudo_spectra(self._alm(maps, nthreads)), self.noise)

    def cmb_of_splits(self, splits: Iterable[NDArray], *, nthreads: int = 0) -> NDArray[np.float64]:
        """The same of splits of such a map, each of which carries the mask: of the mean of their cross-spectra.

        What the template's covariance has of noise with noise is for as many as bandpowers.splits says.
        """
        return self._bandpowers(mean_cross_spectra(self._alm(one, nthreads) for one in splits), None)

    def _bandpowers(self, pseudo: Mapping[str, NDArray], noise: Mapping[str, NDArray] | None) -> NDArray[np.float64]:
        powers = self.decoupled.bandpowers(pseudo, noise)
        return np.concatenate([powers[key] for key in _keys(self.decoupled)])[self.kept]

    def _alm(self, maps: NDArray, nthreads: int) -> NDArray:
        """T, or T, E and B, of a masked map; B purified where it is to be."""
        lmax = int(self.decoupled.edges[-1]) - 1
        nside = round((maps.shape[-1] / 12) ** 0.5)
        precision = self.recipe.reconstruction.precision
        if self.purifying is not None and self.mask is not None:
            # The weights that purify are the mask up to some multipole: maps are weighted by them instead.
            bare = np.divide(maps, self.mask, out=np.zeros(maps.shape), where=self.mask > 0)
            maps = bare * self.purifying.weight
        alm = np.stack(list(map_to_alm(maps, nside, lmax, precision=precision, nthreads=nthreads).values()))
        if self.purifying is not None and len(maps) == 3:
            alm[2] = purified_alm(bare[1:], self.purifying, healpix_grid(nside), lmax, nthreads=nthreads)[1]
        return alm

    def lensing(self, table: Mapping[str, NDArray]) -> NDArray[np.float64]:
        """Band powers of φφ of a table of `phi_bandpowers`, N1 of the fiducial C^φφ taken off, whichever was before."""
        key = self.recipe.bandpowers.estimator
        return table[f"auto_{key}"] + table[f"n1_{key}"] - self.n1

    def data(self, name: str, mean: NDArray, *, skies: int = 1, covariance: NDArray | None = None) -> LinearData:
        """The band powers with all that belongs to them, the covariance being that of a mean over `skies`.

        Parameters
        ----------
        covariance : array (n, n), optional
            Of one sky; the template's if left out.
        """
        single = self.template.covariance if covariance is None else covariance
        return replace(self.template, name=name, mean=mean, covariance=single / skies + self.common)


def bandpowers(
    rec: Reconstruction,
    maps: NDArray,
    *,
    splits: Sequence[NDArray] | None = None,
    masked: bool = True,
    nthreads: int = 0,
) -> Bandpowers:
    """Band powers of a map and of the φ̂ that was reconstructed from it.

    Parameters
    ----------
    rec : Reconstruction
    maps : array (npix,), (1, npix) or (3, npix)
        That map; HEALPix RING, µK.
    splits : sequence of arrays like `maps`, optional
        At least two maps of the same sky, of equal and independent noise, whose mean is that map: T, E and B then come
        from their cross-spectra, from which no noise bias has to be taken. `lensrec.stages.splits.split_maps` makes
        those of simulated data.
    masked : bool
        Whether they carry the mask already, as simulated data do.

    Raises
    ------
    ValueError
        If the recipe's bands cannot be told apart behind the mask, the covariance is not positive definite, or splits
        are no splits of the map, or not as many as bandpowers.splits says.
    """
    rec, maps = _with_splits(rec, splits), np.atleast_2d(maps)
    nside = round((maps.shape[-1] / 12) ** 0.5)
    if len(maps) == 1 and rec.recipe.sky.polarisation:
        raise ValueError("the map has temperature alone, but the recipe says sky.polarisation: true; set it to false")

    def used(given: NDArray) -> NDArray:
        rows = np.atleast_2d(given)
        rows = rows if rec.recipe.sky.polarisation and len(rows) == 3 else rows[:1]
        return rows if masked or rec.mask is None else rows * rec.mask

    if splits is not None:
        check_splits(map(used, splits), used(maps))
    pattern = noise_pattern(rec.recipe.instrument, nside, rec.mask)
    table = rec.bandpowers()
    shared = shared_bands(rec, table, theory_of(rec.recipe), nside, pattern, nthreads=nthreads)
    if splits is None:
        cmb = shared.cmb(used(maps), nthreads=nthreads)
    else:
        cmb = shared.cmb_of_splits(map(used, splits), nthreads=nthreads)
    mean = np.concatenate([cmb, shared.lensing(table)])
    return Bandpowers(rec.recipe, shared.data(rec.recipe.name, mean), shared.fiducial)


def _with_splits(rec: Reconstruction, splits: Sequence[NDArray] | None) -> Reconstruction:
    """The reconstruction with a recipe that says how many splits there are."""
    asked = rec.recipe.bandpowers
    if splits is None:
        if asked.splits > 1:
            raise ValueError(f"bandpowers.splits: {asked.splits}, but no maps of these are given; give them, or set 1")
        return rec
    if len(splits) < 2:
        raise ValueError(f"cross-spectra take at least two splits of the data, got {len(splits)}")
    if asked.splits not in (1, len(splits)):
        raise ValueError(f"bandpowers.splits: {asked.splits}, but {len(splits)} maps are given; give as many")
    update = {"bandpowers": asked.model_copy(update={"splits": len(splits)})}
    return replace(rec, recipe=rec.recipe.model_copy(update=update))


def shared_bands(
    rec: Reconstruction,
    table: Mapping[str, NDArray],
    theory: TheorySpectra,
    nside: int,
    pattern: NDArray | None,
    *,
    nthreads: int = 0,
) -> SharedBands:
    """Windows, noise and joint covariance of a recipe's band powers.

    Parameters
    ----------
    rec : Reconstruction
        Of one of its skies; its estimates are not read.
    table : mapping
        The band powers of φ̂ of one of its skies, whose errors they all share.
    theory : TheorySpectra
    nside : int
        Of the maps.
    pattern : array (npix,) or None
        Rms of the noise in each pixel over that of the map.
    """
    recipe, mask, asked = rec.recipe, rec.mask, rec.recipe.bandpowers
    if rec.first_order is None or asked.estimator not in rec.first_order.keys:
        log.warning("N1 of %s is left in: A_L^φφ will come out too high", asked.estimator)
    edges, inner = _edges(recipe, nside)
    lmax, lmax_sky = edges[-1] - 1, max(recipe.sky.lmax_data, edges[-1] - 1)
    optics = optics_of(recipe.instrument, nside, lmax_sky)
    purifying = purification_weights(mask, nthreads=nthreads) if mask is not None and asked.pure_b else None
    weight = mask if purifying is None else purifying.weight
    weight_cl = None if weight is None else mask_spectrum(weight, lmax + lmax_sky, nthreads=nthreads)
    keys = CMB_BLOCKS if set(asked.spectra) - {"TT"} else ("TT",)
    decoupled = decoupling(
        weight_cl,
        edges,
        lmax_sky=lmax_sky,
        transfer={"T": optics.temperature, "P": optics.polarisation},
        keys=keys,
        pure_b=purifying is not None,
        nthreads=nthreads,
    )
    raw = {key: cl for key, cl in noise_of(recipe.instrument, lmax_sky).items() if key in keys}
    uneven = pattern if pattern is not None or mask is None else np.ones_like(mask)
    seen = None if uneven is None else mask_spectrum((1.0 if weight is None else weight) * uneven, lmax + lmax_sky)
    noise = noise_bias(raw, seen, lmax, nthreads=nthreads)
    if purifying is not None and "BB" in raw:
        noise["BB"] = _purified_noise(recipe, raw["BB"], purifying, nside, lmax, pattern, weight_cl)
    squares = None if weight is None else squared_masks(weight, lmax, noise_pattern=pattern, nthreads=nthreads)
    if mask is None and pattern is not None:
        squares = squared_masks(np.ones(12 * nside**2), lmax, noise_pattern=pattern, nthreads=nthreads)
    # Cross-spectra differ from auto-spectra by noise that the map has nothing of: nothing else of the covariance, such
    # as that with φ̂ of the map, changes with the number of splits.
    parts = gaussian_covariance(
        decoupled, theory.lensed, noise=noise, squares=squares, splits=asked.splits, nthreads=nthreads
    )
    gaussian = parts.total
    arrays = band_arrays(decoupled, _keys(decoupled))
    kept = np.isin(arrays.block, asked.spectra) & np.tile(inner, len(_keys(decoupled)))
    tops = {"T": asked.lmax_t, "E": asked.lmax_p, "B": asked.lmax_p}
    kept &= arrays.high <= np.array([min(tops[field] for field in key) for key in arrays.block])
    windows = {key: rows[kept] for key, rows in arrays.windows.items() if rows[kept].any()}
    key = asked.estimator
    phi = four_point_block(rec, theory, table, key, nthreads=nthreads)
    joint = joined(rec, theory, windows, gaussian[np.ix_(kept, kept)], phi, nthreads=nthreads)
    n, m = int(kept.sum()), len(phi.sigma)
    template = LinearData(
        name=recipe.name,
        block=np.concatenate([arrays.block[kept], np.repeat("PP", m)]),
        low=np.concatenate([arrays.low[kept], phi.bands.edges[:-1]]),
        high=np.concatenate([arrays.high[kept], phi.bands.edges[1:] - 1]),
        centre=np.concatenate([arrays.centre[kept], phi.bands.centres]),
        mean=np.zeros(n + m),
        covariance=joint,
        windows={key: _below(rows, m) for key, rows in windows.items()} | {"PP": _above(phi.windows, n)},
        corrections={key: _above(rows, n) for key, rows in phi.corrections.items()},
        offset=np.concatenate([np.zeros(n), phi.offset]),
        metadata={
            "estimator": key,
            "f_sky": rec.moment(2),
            "scaling": SCALING,
            "splits": asked.splits,
            "noise": noise_removal(asked.splits),
        },
    )
    fiducial = {**theory.lensed, "PP": theory.potential["PP"]}
    common = np.zeros((n + m, n + m))
    common[n:, n:] = phi.shared
    return SharedBands(
        recipe, decoupled, noise, kept, phi.bands, phi.n1, template, common, fiducial, mask, purifying, pattern
    )


def _purified_noise(
    recipe: Recipe,
    noise: NDArray,
    purifying: MaskDerivatives,
    nside: int,
    lmax: int,
    pattern: NDArray | None,
    weight_cl: NDArray | None,
) -> NDArray[np.float64]:
    """Mean pseudo-spectrum of the noise in purified B."""
    if pattern is None:
        return noise_bias({"BB": noise}, weight_cl, lmax, pure_b=True)["BB"]
    if recipe.instrument.lknee_p is not None:
        raise ValueError(
            "bandpowers.pure_b: true, but noise is both uneven and red, whose bias in purified B is not known; "
            "set instrument.hits or lknee_p to null, or pure_b to false"
        )
    level = recipe.instrument.noise_p_rad**2
    return purified_noise_bias(level, purifying, lmax, grid=healpix_grid(nside), noise_pattern=pattern)


def _edges(recipe: Recipe, nside: int) -> tuple[list[int], NDArray[np.bool_]]:
    """Edges with a band more at both ends, where there is room, and which bands are the data's.

    What leaks in from outside of all bands would be in the windows of the outermost ones.
    """
    asked = recipe.bandpowers
    own = asked.edges
    edges = [2, *own] if own[0] > 3 else list(own)
    top = min(recipe.sky.lmax_data, invertible_lmax(nside))
    if top + 1 - edges[-1] >= 4:
        edges.append(min(edges[-1] + asked.width, top + 1))
    low = np.array(edges[:-1])
    return edges, (low >= own[0]) & (low < own[-1])


def _keys(decoupled: Decoupling) -> list[str]:
    return [key for key in CMB_BLOCKS if key in decoupled.keys]


def _below(rows: NDArray, m: int) -> NDArray[np.float64]:
    return np.concatenate([rows, np.zeros((m, rows.shape[1]))])


def _above(rows: NDArray, n: int) -> NDArray[np.float64]:
    return np.concatenate([np.zeros((n, rows.shape[1])), rows])

"""Splits of the data: maps of the same sky, each with noise of its own, of which the mean is the data map.

Of simulated data d = w (s + p n̄), with w the mask, p the pattern of the noise and n̄ of spectrum N_ℓ, m splits are
drawn whose mean is d. With m − 1 independent ε_k of the same N_ℓ their noise is

    n_k = n̄ + √m [ Σ_{j>k} ε_j/√(j(j+1)) − √(k/(k+1)) ε_k ],    k = 0 … m−1 (no ε_0),

contrasts in the manner of Helmert, orthogonal to n̄ and to each other: ⟨n_k n_l⟩ = N + m N (δ_kl − 1/m) = m N δ_kl. Each
split therefore has m times the noise power of the map, and no two of them have noise in common.
"""

import logging
from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from lensrec.arrays import complex_dtype
from lensrec.recipe import Recipe
from lensrec.sky.random import unit_alm
from lensrec.sphere.alm import scale_alm
from lensrec.sphere.grids import healpix_grid
from lensrec.sphere.sht import synthesis_tp
from lensrec.stages.setting import noise_of

NOTABLE = 0.1
"""Relative rms by which the mean of splits may differ from the map without a word."""

log = logging.getLogger(__name__)


def noise_removal(splits: int) -> str:
    """How the CMB's band powers are freed of noise, in words, for a record."""
    if splits == 1:
        return "auto-spectra, noise bias of the recipe's noise taken off"
    return f"mean of the cross-spectra of {splits} splits, without a noise bias"


def split_maps(
    recipe: Recipe,
    data: NDArray,
    sim: int,
    *,
    splits: int | None = None,
    mask: NDArray | None = None,
    pattern: NDArray | None = None,
    nthreads: int = 0,
) -> Iterator[NDArray]:
    """The maps of the splits of a simulated sky, one after the other; their mean is its data map.

    Parameters
    ----------
    recipe : Recipe
    data : array (1 or 3, npix)
        The map of that sky, with its mask on; HEALPix RING, µK.
    sim : int
        Its number; the same recipe, number and count of splits give the same maps.
    splits : int
        How many; bandpowers.splits.
    mask : array (npix,), optional
        That which the map carries.
    pattern : array (npix,), optional
        Rms of the noise in each pixel over that of the map: see `lensrec.stages.masking.noise_pattern`.
    nthreads : int
        0: as many as this process may use.

    Yields
    ------
    array (1 or 3, npix), float64
    """
    count = recipe.bandpowers.splits if splits is None else splits
    nside = round((data.shape[-1] / 12) ** 0.5)
    weight = np.ones(1) if mask is None else mask
    weight = weight if pattern is None else weight * pattern
    root, tail = np.sqrt(count), np.zeros(data.shape)
    for k in range(count - 1, 0, -1):
        drawn = synthesis_tp(_deviation(recipe, sim, k, len(data)), healpix_grid(nside), nthreads=nthreads) * weight
        yield data + root * (tail - np.sqrt(k / (k + 1.0)) * drawn)
        tail += drawn / np.sqrt(k * (k + 1.0))
    yield data + root * tail


def _deviation(recipe: Recipe, sim: int, k: int, rows: int) -> NDArray:
    """T, E, B of ε_k, keyed by (seed, sim, "split1_noise_T" and so on); E and B are zero at ℓ < 2, like all noise."""
    sky = recipe.sky
    noise = noise_of(recipe.instrument, sky.lmax_data)
    out = []
    for field in "TEB"[:rows]:
        amplitude = np.sqrt(noise[field * 2])
        if field != "T":
            amplitude[:2] = 0.0
        unit = unit_alm(sky.lmax_data, seed=sky.seed, sim=sim, component=f"split{k}_noise_{field}")
        out.append(scale_alm(unit, amplitude))
    return np.stack(out).astype(complex_dtype(sky.precision), copy=False)


def check_splits(splits: Iterable[NDArray], data: NDArray, names: Sequence[str] | None = None) -> None:
    """Refuse maps that cannot be splits of a map; all are masked alike.

    Parameters
    ----------
    splits : iterable of arrays (1 or 3, npix)
    data : array (1 or 3, npix)
        The map from which φ was reconstructed.
    names : sequence of str, optional
        What to call them; "split 1", "split 2", …

    Raises
    ------
    ValueError
        If there are fewer than two; one is shaped otherwise than the map, not finite, zero, the map itself or another
        split again; or their mean differs from the map by more than the map from nothing, in temperature.

    Notes
    -----
    A mean that is not quite the map, as where its parts were weighted by their noise, is allowed, and is mentioned:
    the covariance of band powers and φ̂ is about spectra of the same data.
    """
    seen = {_digest(data): "the map itself, whose noise has all the others' in it"}
    total, count = np.zeros(data.shape), 0
    for count, one in enumerate(splits, 1):
        name = names[count - 1] if names else f"split {count}"
        if one.shape != data.shape:
            raise ValueError(f"{name} has shape {one.shape}, the map {data.shape}; give splits of that map")
        if not np.isfinite(one).all():
            raise ValueError(f"{name} has pixels that are not finite; set them to 0 where the mask is 0")
        if not one[0].any():
            raise ValueError(f"{name} is zero everywhere behind the mask; give one with a sky in it")
        if (digest := _digest(one)) in seen:
            raise ValueError(f"{name} is {seen[digest]}; splits must have noise of their own")
        seen[digest] = f"{name} again" if names is None else f"the same map as {name}"
        total += one
    if count < 2:
        raise ValueError(f"cross-spectra take at least two splits of the data, got {count}")
    spread, off = np.std(data, axis=1), np.std(total / count - data, axis=1)
    away = np.divide(off, spread, out=np.zeros_like(off), where=spread > 0)
    if away[0] > 1.0:
        raise ValueError(
            f"the mean of the splits differs from the map by {away[0]:.3g} of the map's own rms: they are of another "
            "sky, or in another unit or beam; give splits of that map"
        )
    if away.max() > NOTABLE:
        log.warning(
            "the mean of the splits is not the map that φ̂ is from: they differ by %.2g of its rms; their covariance "
            "is that of spectra of the same data",
            away.max(),
        )


def _digest(maps: NDArray) -> bytes:
    return blake2b(np.ascontiguousarray(maps, dtype=np.float64).tobytes(), digest_size=16).digest()

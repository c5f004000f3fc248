"""From masked maps to legs: by filters that are diagonal in ℓ, or by the optimal one."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from lensrec.filtering.templates import monopole_dipole
from lensrec.filtering.wiener import TOLERANCE, WienerFilter, wiener_filter
from lensrec.recipe import Recipe
from lensrec.sky.instrument import total_noise_deconvolved
from lensrec.sphere.alm import resize_alm, scale_alm
from lensrec.sphere.grids import healpix_grid
from lensrec.stages.estimate import deconvolved, map_to_alm
from lensrec.stages.legs import Legs, isotropic_legs
from lensrec.stages.masking import SMALLEST_WEIGHT
from lensrec.stages.setting import Optics, Setting, optics_of

log = logging.getLogger(__name__)

Filtering = Callable[[NDArray], Legs]
"""Makes legs of masked maps (1 or 3, npix)."""


def isotropic_filtering(recipe: Recipe, setting: Setting, nside: int, *, nthreads: int = 0) -> Filtering:
    """Transform, deconvolve, and divide by the total power of each multipole."""
    lmax = len(setting.totals["TT"]) - 1
    optics = optics_of(recipe.instrument, nside, lmax)
    return partial(_isotropic, recipe.reconstruction.precision, setting, optics, nside, lmax, nthreads)


def _isotropic(
    precision: str, setting: Setting, optics: Optics, nside: int, lmax: int, nthreads: int, maps: NDArray
) -> Legs:
    alm: Mapping[str, NDArray] = map_to_alm(maps, nside, lmax, precision=precision, nthreads=nthreads)
    return isotropic_legs(deconvolved(alm, optics), setting)


@dataclass(frozen=True, eq=False)
class _Optimal:
    """Legs by Wiener filters that are set up once: of T alone, of P alone, and of both for GMV."""

    setting: Setting
    seen: NDArray[np.bool_]
    weights: NDArray[np.float64]
    separate: tuple[WienerFilter, ...]
    joint: WienerFilter | None

    def __call__(self, maps: NDArray) -> Legs:
        return self.solved(maps)

    def solved(self, maps: NDArray, *, tolerance: float = TOLERANCE) -> Legs:
        """Legs to another accuracy: the error of a mode in units of its posterior σ."""
        data = np.where(self.seen, maps, 0.0) / self.weights
        found: dict[str, NDArray] = {}
        for one in self.separate:
            rows = data[:1] if "T" in one.fields else data[1:]
            found |= self._converged(one, rows, " and ".join(one.fields), tolerance)
        joint = {} if self.joint is None else self._converged(self.joint, data, "T, E and B", tolerance)
        separate = {field: self._cut(found[field], field) for field in self.setting.filters}
        return Legs(separate, {field: self._cut(alm, field) for field, alm in joint.items()})

    def _converged(self, one: WienerFilter, rows: NDArray, name: str, tolerance: float) -> dict[str, NDArray]:
        solution = one.apply(rows, tolerance=tolerance)
        if not solution.converged:
            log.warning("the optimal filter of %s stopped at an error of %.1e σ per mode", name, solution.error)
        return solution.filtered

    def _cut(self, alm: NDArray, field: str) -> NDArray:
        """To the multipoles that are read."""
        filt = self.setting.filters[field]
        return scale_alm(resize_alm(alm, len(filt) - 1), (filt > 0).astype(np.float64))


def optimal_filtering(
    recipe: Recipe,
    setting: Setting,
    nside: int,
    mask: NDArray | None,
    pattern: NDArray | None,
    *,
    nthreads: int = 0,
) -> Filtering:
    """Legs X̄ = Cov⁻¹ d of the cut sky, its covariance with mask, uneven noise and E/B leakage.

    The signal that is filtered against is the lensed CMB and what noise is red, N_ℓ − N_white over the squared
    transfer, taken for even; the white part follows the pixels. Monopole and dipole of T are projected out. Masked maps
    are divided by their weights where these are above `SMALLEST_WEIGHT`; no other pixel is read.
    """
    instrument, rec = recipe.instrument, recipe.reconstruction
    lmax = len(setting.totals["TT"]) - 1
    optics, grid = optics_of(instrument, nside, lmax), healpix_grid(nside)
    weights = np.ones(grid.npix) if mask is None else mask
    seen = weights > SMALLEST_WEIGHT
    rms = np.ones(grid.npix) if pattern is None else pattern
    levels = (instrument.noise_t_rad, instrument.noise_p_rad)
    if not min(levels) > 0.0:
        raise ValueError("instrument.noise_t: an optimal filter needs noise in T and in P; give a small level")
    pixel = 4.0 * np.pi / grid.npix
    inverse = np.stack([np.where(seen, pixel / np.maximum(level * rms, 1e-300) ** 2, 0.0) for level in levels])
    white = {"TT": levels[0] ** 2, "EE": levels[1] ** 2, "BB": levels[1] ** 2}
    signal: dict[str, NDArray] = {"TE": setting.totals["TE"]}
    for key, level in white.items():
        excess = total_noise_deconvolved(np.full(lmax + 1, level), optics.of(key[0]))
        signal[key] = np.maximum(setting.totals[key] - excess, 0.0)
    transfer = np.stack([optics.temperature, optics.polarisation])
    monopole = monopole_dipole(grid)

    def made(fields: str) -> WienerFilter:
        rows = inverse[0] if fields == "T" else inverse[1] if fields == "P" else inverse
        beam = transfer[0] if fields == "T" else transfer[1] if fields == "P" else transfer
        of_p = np.zeros((len(monopole), 2, grid.npix)) if fields == "TP" else monopole[:, :0]
        templates = None if fields == "P" else np.concatenate([monopole, of_p], axis=1)
        return wiener_filter(
            grid,
            rows,
            signal,
            beam,
            lmax,
            fields=fields,
            templates=templates,
            precision=rec.precision,
            nthreads=nthreads,
        )

    alone = [name for name, field in (("T", "T"), ("P", "E")) if setting.parts and field in setting.filters]
    return _Optimal(
        setting,
        seen,
        np.where(seen, weights, 1.0),
        tuple(made(name) for name in alone),
        made("TP") if setting.joint else None,
    )


def filtering_of(
    recipe: Recipe,
    setting: Setting,
    nside: int,
    mask: NDArray | None,
    pattern: NDArray | None,
    *,
    nthreads: int = 0,
) -> Filtering:
    """What `reconstruction.filter` says."""
    if recipe.reconstruction.filter == "optimal":
        return optimal_filtering(recipe, setting, nside, mask, pattern, nthreads=nthreads)
    return isotropic_filtering(recipe, setting, nside, nthreads=nthreads)

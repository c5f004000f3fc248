"""The skies of the validation: one pass over each, everything of it that a check reads kept in one small file."""

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np

from lensrec.filtering.isotropic import filter_alm
from lensrec.quadratic.combination import minimum_variance, normalised
from lensrec.quadratic.estimators import quadratic_estimates
from lensrec.recipe import Recipe
from lensrec.sky.instrument import noise_alm
from lensrec.sky.primary import draw_primary
from lensrec.sphere.alm import alm_to_cl, resize_alm, scale_alm
from lensrec.stages.setting import MV, Setting, noise_of, optics_of, setting_of, theory_of
from lensrec.stages.simulate import draw_sky, lensed_alm
from tests.validate.store import kept

COUNT = 20
LMAX_SKY, LMAX, L_MAX = 4500, 3000, 1500
KEYS = ("TT", "TE", "TB", "EB", "EE", "MV")

POWER_RECIPE = Recipe.model_validate(
    {
        "name": "spectra",
        "sky": {"nside": 2048, "lmax": LMAX_SKY, "lmax_data": LMAX, "seed": 2026, "epsilon": 1e-6},
    }
)
PHI_RECIPE = Recipe.model_validate(
    {
        "name": "reconstruction",
        "sky": {"nside": 1024, "lmax": 3500, "lmax_data": 2000, "seed": 3026, "epsilon": 1e-6},
        "instrument": {"fwhm": 1.4, "noise_t": 5.0},
        "reconstruction": {"lmin_t": 100, "lmax_t": 2000, "lmin_p": 100, "lmax_p": 2000, "L_max": L_MAX},
    }
)


@lru_cache(maxsize=1)
def setting() -> Setting:
    """Filters, weights and normalisation that all skies share."""
    return setting_of(PHI_RECIPE, theory_of(PHI_RECIPE), PHI_RECIPE.sky.nside)


def power_sky(sim: int) -> dict[str, np.ndarray]:
    """Spectra of one sky, before and after it is lensed."""
    unlensed, phi = draw_sky(POWER_RECIPE, theory_of(POWER_RECIPE), sim)
    primary = np.stack([resize_alm(row, LMAX) for row in unlensed])
    out = {}
    for name, alm in (("unlensed", primary), ("lensed", lensed_alm(POWER_RECIPE, unlensed, phi))):
        for key, (i, j) in {"TT": (0, 0), "EE": (1, 1), "BB": (2, 2), "TE": (0, 1)}.items():
            out[f"{key}_{name}"] = alm_to_cl(alm[i], alm[j])
    return out


def phi_sky(sim: int) -> dict[str, np.ndarray]:
    """Estimates on one lensed sky, on its antithesis lensed by −φ, and on the pair it makes with a twin.

    The twin T̃′ is lensed by the same φ, but has a CMB and noise of its own. ⟨q(T̃, T̃′)⟩ vanishes at fixed φ, so
    twice the spectrum of the symmetrised q(T̃, T̃′) is N0 + N1, from the same Gaussian pairings and the same φ as in
    the spectrum of q(T̃, T̃), and without the power of φ (Kesden, Cooray & Kamionkowski 2003, astro-ph/0302536; Story
    et al. 2015, arXiv:1412.4760).
    """
    shared, theory = setting(), theory_of(PHI_RECIPE)
    one, phi = draw_sky(PHI_RECIPE, theory, sim)
    other, _ = draw_sky(PHI_RECIPE, theory, sim + 1000)
    noise = _deconvolved_noise(sim)
    legs = _filtered(lensed_alm(PHI_RECIPE, one, phi) + noise)
    antithesis = _filtered(lensed_alm(PHI_RECIPE, one, -phi) + noise)
    twin = _filtered(lensed_alm(PHI_RECIPE, other, phi) + _deconvolved_noise(sim + 1000))
    up, down = _estimates(legs), _estimates(antithesis)
    there, back = _estimates(legs, twin), _estimates(twin, legs)
    phi = resize_alm(phi, L_MAX)
    out = {"input": alm_to_cl(phi)}
    for key in (*shared.parts, MV):
        out[f"antithetic_{key}"] = alm_to_cl(0.5 * (up[key][0] - down[key][0]), phi)
        for part, name in enumerate(("auto", "curl")):
            out[f"{name}_{key}"] = alm_to_cl(up[key][part])
            out[f"{name}_bias_{key}"] = 2.0 * alm_to_cl(0.5 * (there[key][part] + back[key][part]))
    return out


def gaussian_sky(sim: int) -> dict[str, np.ndarray]:
    """A Gaussian, unlensed sky of the same power, signal and noise: spectra of its estimates."""
    lmax = PHI_RECIPE.sky.lmax_data
    none = {key: np.zeros(lmax + 1) for key in ("PP", "TP", "EP")}
    alm, _ = draw_primary(setting().totals, none, lmax, seed=PHI_RECIPE.sky.seed + 1, sim=sim)
    estimates = _estimates(_filtered(alm))
    names = ("auto", "curl")
    return {f"{name}_{key}": alm_to_cl(row) for key in KEYS for name, row in zip(names, estimates[key], strict=True)}


def collected(kind: Callable[[int], dict[str, np.ndarray]], folder: Path) -> dict[str, np.ndarray]:
    """Results of all skies of a kind, stacked; each is computed once and kept in `folder`, so a run can be resumed."""
    results = [kept(folder, kind, sim) for sim in range(COUNT)]
    return {name: np.stack([one[name] for one in results]) for name in results[0]}


def _filtered(alm: np.ndarray) -> dict[str, np.ndarray]:
    # Single precision moves an estimate by 1e-7 of itself (tests/quadratic) and halves the time.
    filters = setting().filters
    return {f: filter_alm(row, filters[f]).astype(np.complex64) for f, row in zip("TEB", alm, strict=True)}


def _estimates(legs: dict[str, np.ndarray], second: dict[str, np.ndarray] | None = None) -> dict[str, np.ndarray]:
    shared = setting()
    q = quadratic_estimates(shared.parts, legs, shared.weights, L_MAX, second=second)
    out = {key: normalised(values, shared.response[key]) for key, values in q.items()}
    return out | {MV: minimum_variance(q, shared.norm, shared.mv_weights)}


def _deconvolved_noise(sim: int) -> np.ndarray:
    sky, instrument = PHI_RECIPE.sky, PHI_RECIPE.instrument
    noise, optics = noise_of(instrument, sky.lmax_data), optics_of(instrument, sky.nside, sky.lmax_data)
    drawn = noise_alm(noise["TT"], noise["EE"], sky.lmax_data, seed=sky.seed, sim=sim)
    return np.stack([scale_alm(row, 1.0 / optics.of(field)) for row, field in zip(drawn, "TEB", strict=True)])

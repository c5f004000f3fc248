"""Small statistical proofs of the whole chain: response, noise and mean of the estimators on drawn skies."""

from functools import lru_cache

import numpy as np
import pytest

from lensrec.filtering.isotropic import filter_alm
from lensrec.quadratic.estimators import quadratic_estimates
from lensrec.quadratic.response import normalisation
from lensrec.recipe import Recipe
from lensrec.sky.primary import draw_primary
from lensrec.sphere.alm import alm_index, alm_size, alm_to_cl
from lensrec.stages import simulate
from lensrec.stages.setting import Setting, setting_of, theory_of
from lensrec.stages.simulate import lensed_alm
from tests.stages.conftest import COSMOLOGY

KEYS = ("TT", "TE", "TB", "EB", "EE")
LMAX, SKY_LMAX = 250, 400

RECIPE = Recipe.model_validate(
    {
        "cosmology": COSMOLOGY,
        "sky": {"nside": 128, "lmax": SKY_LMAX, "lmax_data": LMAX, "epsilon": 1e-9},
        "instrument": {"fwhm": 10, "noise_t": 1.0},
        "reconstruction": {"lmin_t": 20, "lmax_t": LMAX, "lmin_p": 20, "lmax_p": LMAX, "L_max": LMAX},
    }
)
NONE = {key: np.zeros(SKY_LMAX + 1) for key in ("PP", "TP", "EP")}


@lru_cache(maxsize=1)
def setting() -> Setting:
    return setting_of(RECIPE, theory_of(RECIPE), 128)


def filtered(alm: np.ndarray) -> dict[str, np.ndarray]:
    return {f: filter_alm(row, setting().filters[f]) for f, row in zip("TEB", alm, strict=True)}


@pytest.mark.parametrize("modes", [[(6, 0)], [(31, 17), (120, 120)]])
def test_response_to_single_modes(modes: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch) -> None:
    """[q(+φ) − q(−φ)]/2 at a mode that lenses is R_L φ_LM, for each of the five, in the mean of 12 skies.

    Two modes of one deflection each are lensed by at once, and read apart; the error holds what each adds to the other.
    A tiny φ makes the response linear, so the weights are the unlensed spectra here. The error is that of the mean,
    from the scatter; 5σ with 11 degrees of freedom has a false-alarm rate of 4e-4, and 15 cases of 6e-3. A response
    off by 5 % would be missed only where the error is above 1 %: the errors are asserted to be below that for the best.
    """
    # A φ of such modes and 1e-5 carries no power far beyond the band limit.
    monkeypatch.setattr(simulate, "lensing_reach", lambda lmax: 200)
    theory = theory_of(RECIPE)
    unlensed = {k: theory.unlensed[k][: SKY_LMAX + 1] for k in ("TT", "EE", "BB", "TE")}
    recipe = RECIPE.model_copy(
        update={"reconstruction": RECIPE.reconstruction.model_copy(update={"gradient_weights": "unlensed"})}
    )
    shared = setting_of(recipe, theory, 128)
    # The response of the sky at vanishing φ is that of its unlensed spectra.
    norm = normalisation(KEYS, shared.weights, unlensed, shared.filters, shared.totals, LMAX)
    L, M = np.array(modes).T
    index, out = alm_index(SKY_LMAX, L, M), alm_index(LMAX, L, M)
    phi = np.zeros(alm_size(SKY_LMAX), dtype=complex)
    phi[index] = 1e-5 / L
    ratios = []
    for sim in range(12):
        teb, _ = draw_primary(unlensed, NONE, SKY_LMAX, seed=5, sim=sim)
        up, down = (
            quadratic_estimates(KEYS, filtered(lensed_alm(recipe, teb, sign * phi)), shared.weights, LMAX)
            for sign in (1, -1)
        )
        ratios.append(
            [((up[k][0] - down[k][0])[out] / 2).real / (norm.response[k][0][L] * phi[index].real) for k in KEYS]
        )
    mean, error = np.mean(ratios, axis=0), np.std(ratios, axis=0, ddof=1) / np.sqrt(len(ratios))
    assert (np.abs(mean - 1) < 5 * error).all(), dict(zip(KEYS, zip(mean, error, strict=True), strict=True))
    assert (error.min(axis=0) < 0.01).all()


def test_gaussian_skies_have_the_power_of_n0() -> None:
    """Ĉ_L/N0_L on 12 unlensed skies, φ and Ω, five estimators: mean 1, and scatter of 2/(2L+1) per L.

    The mean over 10 ≤ L ≤ 250 of each is compared with its own scatter over skies: |t| < 6.5 with 11 degrees of
    freedom, false-alarm rate 4e-5 each, 4e-4 for ten. The scatter per L, averaged over L, is good to √(2/11/240) =
    3 % if the L were independent; they are not quite, which widens it: 30 % bounds what a wrong N0 shape would do.
    """
    shared = setting()
    draws: dict[str, list[np.ndarray]] = {key: [] for key in KEYS}
    flat = {key: np.zeros(LMAX + 1) for key in ("PP", "TP", "EP")}
    for sim in range(12):
        alm, _ = draw_primary(shared.totals, flat, LMAX, seed=6, sim=sim)
        q = quadratic_estimates(KEYS, filtered(alm), shared.weights, LMAX)
        for key in KEYS:
            draws[key].append(
                np.stack([alm_to_cl(row) for row in q[key]])
                / np.where(shared.norm.noise[key, key] > 0, shared.norm.noise[key, key], 1)
            )
    modes = 2.0 * np.arange(LMAX + 1) + 1
    for key in KEYS:
        ratio = np.array(draws[key])[:, :, 10:]
        mean = np.average(ratio, weights=modes[10:], axis=2)
        t = (mean.mean(0) - 1) / (mean.std(0, ddof=1) / np.sqrt(12))
        assert (np.abs(t) < 6.5).all(), (key, t)
        scatter = (ratio.var(0, ddof=1) * modes[10:] / 2).mean(1)
        assert (np.abs(scatter - 1) < 0.3).all(), (key, scatter)

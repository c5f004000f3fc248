"""Four splits whose noise no simulation has right: the split estimator beside the ordinary one."""

from functools import lru_cache
from itertools import pairwise

import numpy as np

from lensrec.bias.rdn0 import pair_spectra, realisation_dependent
from lensrec.bias.splits import pair_estimates, split_rdn0, split_spectrum
from lensrec.filtering.isotropic import filter_alm
from lensrec.quadratic.combination import normalised
from lensrec.quadratic.estimators import paired_estimates
from lensrec.recipe import Recipe
from lensrec.sky.instrument import gaussian_beam
from lensrec.sky.primary import draw_primary
from lensrec.sky.random import unit_alm
from lensrec.sphere.alm import alm_to_cl, resize_alm, scale_alm
from lensrec.sphere.grids import gauss_legendre_grid
from lensrec.sphere.remap import remap_tp
from lensrec.sphere.sht import analysis_tp
from lensrec.stages.first_order import first_order
from lensrec.stages.setting import Setting, setting_of, theory_of
from tests.validate.checks import Check

COUNT, SIMS, SPLITS, LMAX, L_MAX = 6, 8, 4, 1000, 400
EDGES = [20, 60, 110, 160, 220, 290, 401]
RECIPE = Recipe.model_validate(
    {
        "name": "splits",
        "sky": {"nside": 512, "lmax": 1500, "lmax_data": LMAX, "seed": 6026, "polarisation": False},
        "instrument": {"fwhm": 5.0, "noise_t": 150.0},
        "reconstruction": {"lmin_t": 100, "lmax_t": LMAX, "L_max": L_MAX, "estimators": "TT", "n_bins": 6},
    }
)
EXCESS = 0.3
"""Power of the noise that is in the data and in no simulation, in units of the split's own."""


@lru_cache(maxsize=1)
def setting() -> Setting:
    """Filter, weights and response of TT."""
    return setting_of(RECIPE, theory_of(RECIPE), 512, temperature_only=True)


def split_sky(sim: int) -> dict[str, np.ndarray]:
    """TT spectra of one full sky in four splits, with noise as simulated, and with noise that no simulation has.

    The unforeseen part is the same in all the time that one split took, and differs from split to split.
    """
    legs, shared = setting(), theory_of(RECIPE)
    lmax = RECIPE.sky.lmax
    unlensed, phi = draw_primary(shared.unlensed, shared.potential, lmax, seed=RECIPE.sky.seed, sim=sim)
    grid = gauss_legendre_grid(lmax + 800 + LMAX)
    sky = analysis_tp(remap_tp(unlensed[:1], phi, grid, epsilon=1e-6), grid, LMAX)[0]
    simulated = [_splits(_gaussian(10_000 + n), 10_000 + n, 0.0) for n in range(SIMS + 1)]
    out = {"input": alm_to_cl(resize_alm(phi, L_MAX))}
    for name, excess in (("expected", 0.0), ("unforeseen", EXCESS)):
        data = _splits(sky, sim, excess)
        pairs = pair_estimates(_estimate, data, symmetric=True)
        found = [
            (pair_estimates(_estimate, data, one, symmetric=True), pair_estimates(_estimate, one, two, symmetric=True))
            for one, two in pairwise(simulated)
        ]
        out[f"split_{name}"] = (split_spectrum(pairs) - split_rdn0(found).rdn0)[0]
        coadds = [sum(part) / SPLITS for part in (data, *simulated)]
        sets = [{"T": alm} for alm in coadds]
        count = len(simulated) - 1
        order = [(0, 0), *((0, n + 1) for n in range(count)), *((n + 1, n + 2) for n in range(count))]
        q = paired_estimates(["TT"], sets, order, legs.weights, L_MAX)
        spectra = [pair_spectra(normalised(one["TT"], legs.response["TT"])) for one in q]
        bias = realisation_dependent(spectra[1 : count + 1], spectra[count + 1 :])
        model = 2.0 * np.mean(spectra[count + 1 :], axis=0)
        out[f"ordinary_{name}"] = (spectra[0] - model)[0]
        out[f"rdn0_{name}"] = (spectra[0] - bias.n0)[0]
    return out


def split_check(skies: dict[str, np.ndarray]) -> Check:
    """How far noise that no simulation has moves each estimator, in Gaussian errors of a coadded sky."""
    modes = (2.0 * np.arange(L_MAX + 1) + 1.0) * np.arange(L_MAX + 1.0) ** 4
    n1 = first_order(setting()).spectra(setting().cl_lens)["TT"][0]
    power = _binned(modes * skies["input"]).mean(0)
    total = setting().cl_phi + setting().n0["TT"][0]
    sigma = np.sqrt(_binned(modes**2 * 2.0 * total**2 / (2.0 * np.arange(L_MAX + 1) + 1.0)))
    rows, curves, shifts = [], {}, {}
    labels = {"ordinary": "coadd, N0 of simulations", "rdn0": "coadd, RDN0", "split": "splits"}
    for name, label in labels.items():
        right, wrong = (_binned(modes * skies[f"{name}_{kind}"]) for kind in ("expected", "unforeseen"))
        shift = (wrong - right).mean(0) / sigma
        error = (wrong - right).std(0, ddof=1) / np.sqrt(len(right)) / sigma
        shifts[name] = (shift, error)
        mean = (right - _binned(modes * n1)[None]).mean(0) / power
        rows.append([label, "shift / σ"] + [f"{m:+.2f} ± {e:.2f}" for m, e in zip(shift, error, strict=True)])
        rows.append(
            ["", "mean / input"]
            + [f"{m:.2f} ± {e:.2f}" for m, e in zip(mean, sigma / power / np.sqrt(len(right)), strict=True)]
        )
        curves[name] = np.stack([0.5 * (np.array(EDGES[1:]) + EDGES[:-1]), shift, error])
    still, moved = np.abs(shifts["split"][0]).max(), np.abs(shifts["ordinary"][0]).max()
    head = ["estimator", "quantity"] + [f"{a}–{b - 1}" for a, b in pairwise(EDGES)]
    return Check(
        "Splits",
        "noise that no simulation has, within splits, moves the ordinary estimator, and this one by less than 1σ",
        bool((np.abs(shifts["split"][0]) < 1.0 + 2.0 * shifts["split"][1]).all() and moved > 2.0),
        f"{COUNT} full skies, TT, ℓ ≤ {LMAX}, in {SPLITS} splits of {RECIPE.instrument.noise_t:g}·√{SPLITS} µK·arcmin; "
        f"{100 * EXCESS:.0f} % more noise power in each split that the {SIMS} simulations lack. The coadd "
        f"moves by up to {moved:.1f}σ of a sky's band power with N0 of simulations, the splits' cross-spectra by at "
        f"most {still:.2f}σ, which is the chance that more noise brings: bounded by 1σ and two errors of the mean.",
        [head, *rows],
        curves,
        quantity="shift / σ",
    )


def _estimate(one: np.ndarray, two: np.ndarray) -> np.ndarray:
    """φ̂ and Ω̂ of TT from two splits, symmetrised."""
    q = paired_estimates(["TT"], [{"T": one}, {"T": two}], [(0, 1)], setting().weights, L_MAX)[0]["TT"]
    return normalised(q, setting().response["TT"])


def _gaussian(sim: int) -> np.ndarray:
    none = {key: np.zeros(LMAX + 1) for key in ("PP", "TP", "EP")}
    cut = {key: cl[: LMAX + 1] for key, cl in theory_of(RECIPE).lensed.items()}
    return draw_primary(cut, none, LMAX, seed=RECIPE.sky.seed, sim=sim)[0][0]


def _splits(sky: np.ndarray, sim: int, excess: float) -> list[np.ndarray]:
    """Filtered alm of the splits of a sky."""
    level = np.sqrt(SPLITS) * RECIPE.instrument.noise_t_rad / gaussian_beam(RECIPE.instrument.fwhm_rad, LMAX)
    unforeseen = np.sqrt(excess) * level
    out = []
    for split in range(SPLITS):
        noise = scale_alm(unit_alm(LMAX, seed=RECIPE.sky.seed, sim=sim, component=f"noise of split {split}"), level)
        extra = scale_alm(unit_alm(LMAX, seed=RECIPE.sky.seed, sim=sim, component=f"more of {split}"), unforeseen)
        out.append(filter_alm(sky + noise + extra, setting().filters["T"]))
    return out


def _binned(values: np.ndarray) -> np.ndarray:
    return np.add.reduceat(values[..., : EDGES[-1]], EDGES[:-1], axis=-1)

"""N1 from skies that share φ, and nothing else, against the analytic one."""

from functools import lru_cache
from itertools import pairwise

import numpy as np

from lensrec.quadratic.joint import filter_jointly
from lensrec.recipe import Recipe
from lensrec.sky.instrument import noise_alm
from lensrec.sphere.alm import alm_to_cl, scale_alm
from lensrec.sphere.grids import gauss_legendre_grid
from lensrec.sphere.remap import remap_tp
from lensrec.sphere.sht import analysis_tp
from lensrec.stages.estimate import estimate_pairs
from lensrec.stages.first_order import first_order
from lensrec.stages.legs import Legs, isotropic_legs
from lensrec.stages.setting import Setting, noise_of, optics_of, setting_of, theory_of
from lensrec.stages.simulate import draw_sky
from tests.validate.checks import Check

COUNT = 4
KEYS = ("TT", "EE", "TE", "EB", "MV", "GMV")
EDGES = [50, 100, 200, 350, 500, 750, 1000, 1250, 1500, 1750, 2001]
RECIPE = Recipe.model_validate(
    {
        "name": "shared",
        "sky": {"nside": 1024, "lmax": 3300, "lmax_data": 2000, "seed": 5026, "epsilon": 1e-5, "precision": "single"},
        "instrument": {"fwhm": 1.4, "noise_t": 5.0},
        "reconstruction": {
            **{f"lm{end}_{field}": value for end, value in (("in", 100), ("ax", 2000)) for field in "tp"},
            "L_max": 2000,
            "estimators": list(KEYS),
        },
    }
)


@lru_cache(maxsize=1)
def setting() -> Setting:
    """Filters, weights and responses."""
    return setting_of(RECIPE, theory_of(RECIPE), RECIPE.sky.nside)


def shared_phi(sim: int) -> dict[str, np.ndarray]:
    """2 C_L[q̄(a, b)] − 2 C_L[q̄(a, b′)] of three full skies: a and b share φ, b′ is b's CMB behind another φ.

    Both have N0, the first N1 with it; what the CMB of a and b does to N0 is common to both and cancels.
    """
    theory = theory_of(RECIPE)
    (one, phi), (two, other) = (draw_sky(RECIPE, theory, sim + offset) for offset in (0, 1000))
    legs = [_legs(one, phi, sim), _legs(two, phi, sim + 1000), _legs(two, other, sim + 1000)]
    shared, apart = estimate_pairs(legs, [(0, 1), (0, 2)], setting(), 2000)
    out = {}
    for key in KEYS:
        for part, name in enumerate(("phi", "curl")):
            out[f"{name}_{key}"] = 2.0 * (alm_to_cl(shared[key][part]) - alm_to_cl(apart[key][part]))
    return out


def first_order_check(skies: dict[str, np.ndarray]) -> Check:
    """Simulated over analytic N1 in bands."""
    analytic = first_order(setting()).spectra(setting().cl_lens)
    ell = np.arange(2001.0)
    modes = (2.0 * ell + 1.0) * ell**4
    rows, curves, passed, amplitudes = [], {}, True, []
    for key in KEYS:
        for part, name in enumerate(("phi", "curl")):
            truth = _binned(modes * analytic[key][part])
            found = _binned(modes * skies[f"{name}_{key}"]) / truth
            # Each spectrum has half of N0; that their CMB is common makes the difference less uncertain than this.
            noise = 4.0 * setting().n0[key][part] ** 2 / (2.0 * ell + 1.0)
            error = np.sqrt(_binned(modes**2 * noise) / len(found)) / np.abs(truth)
            mean = found.mean(0)
            rows.append(
                [key, "φ" if part == 0 else "Ω"] + [f"{m:.3f} ± {e:.3f}" for m, e in zip(mean, error, strict=True)]
            )
            if part == 0:
                weight = 1.0 / error**2
                a, a_error = float(mean @ weight / weight.sum()), float(weight.sum() ** -0.5)
                amplitudes.append(f"{key} {a:.3f} ± {a_error:.3f}")
                passed &= abs(a - 1) < max(0.05, 3 * a_error)
                passed &= bool((np.abs(mean - 1) < 0.05 + 4 * error).all())
                curves[key] = np.stack([0.5 * (np.array(EDGES[1:]) + EDGES[:-1]), mean, error])
    head = ["estimator", "part"] + [f"{a}–{b - 1}" for a, b in pairwise(EDGES)]
    text = (
        f"{len(skies['phi_MV'])} full skies, ℓ ≤ 2000, {RECIPE.instrument.noise_t:g} µK·arcmin: 2 C[q̄(a, b)] − "
        "2 C[q̄(a, b′)], where a and b share φ and b′ has the CMB and noise of b behind another φ. Over analytic N1, "
        "with Gaussian errors that take the two spectra for independent, which is more than they have. All bands "
        f"together: {'; '.join(amplitudes)}. Asked for: 5 % or three errors of these, and 5 % and four errors in every "
        "band of φ̂ (false alarm 0.4 % for all bands)."
    )
    return Check(
        "N1",
        "N1 by its flat-sky integral is that of simulations within 5 %, 50 ≤ L ≤ 2000",
        bool(passed),
        text,
        [head, *rows],
        curves,
        quantity="simulated N1 / analytic N1",
        expected=1.0,
    )


def _binned(values: np.ndarray) -> np.ndarray:
    return np.add.reduceat(values[..., : EDGES[-1]], EDGES[:-1], axis=-1)


def _legs(unlensed: np.ndarray, phi: np.ndarray, sim: int) -> Legs:
    sky = RECIPE.sky
    grid = gauss_legendre_grid(sky.lmax + 1000 + sky.lmax_data)
    alm = analysis_tp(remap_tp(unlensed, phi, grid, epsilon=sky.epsilon), grid, sky.lmax_data)
    noise, optics = noise_of(RECIPE.instrument, sky.lmax_data), optics_of(RECIPE.instrument, sky.nside, sky.lmax_data)
    drawn = noise_alm(noise["TT"], noise["EE"], sky.lmax_data, seed=sky.seed, sim=sim)
    clean = {
        field: (row + scale_alm(n, 1.0 / optics.of(field))).astype(np.complex64)
        for field, row, n in zip("TEB", alm, drawn, strict=True)
    }
    legs = isotropic_legs(clean, setting())
    return Legs(legs.separate, filter_jointly(clean, setting().joint))

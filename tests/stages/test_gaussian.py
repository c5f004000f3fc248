"""The Gaussian skies of a mean field have what the data have, beyond what is read of them too."""

import numpy as np

from lensrec.recipe import Recipe
from lensrec.sphere.alm import alm_to_cl
from lensrec.stages.estimate import deconvolved, map_to_alm
from lensrec.stages.filtering import isotropic_filtering
from lensrec.stages.gaussian import GaussianSkies, gaussian_legs
from lensrec.stages.legs import Legs
from lensrec.stages.masking import mask_of
from lensrec.stages.prepare import Preparation, gaussian_skies, scaled_signal
from lensrec.stages.setting import observed_totals, optics_of, setting_of, theory_of
from lensrec.stages.simulate import simulate
from tests.stages.conftest import COSMOLOGY

RECIPE = Recipe.model_validate(
    {
        "cosmology": COSMOLOGY,
        "sky": {"nside": 64, "lmax": 200, "lmax_data": 180, "lensed": False, "polarisation": False, "seed": 4},
        "instrument": {"fwhm": 30, "noise_t": 20},
        "mask": {"galactic_cut": 30, "apodisation": 5},
        "reconstruction": {"lmin_t": 10, "lmax_t": 120, "lmax_p": 120, "L_max": 120, "mean_field_sims": 4},
    }
)


def test_masked_power_agrees_up_to_the_last_multipole_that_is_read() -> None:
    """Mean masked power of 40 Gaussian skies over that of 40 skies of the recipe, for 112 ≤ ℓ ≤ 120 and f_sky 0.5.

    Each mean is good to √(2/(40 · 9 · 233 · 0.4)) = 0.8 %, the ratio to 1.1 %; 5σ is 5.5 %, false-alarm rate 6e-7.
    Skies that stop at ℓ = 120 lack more than 10 % here, since the mask has nothing to carry across their edge.
    """
    theory, mask = theory_of(RECIPE), mask_of(RECIPE.mask, 64)
    setting = setting_of(RECIPE, theory, 64, temperature_only=True)
    optics, edge = optics_of(RECIPE.instrument, 64, 180), slice(112, 121)
    totals, filtering = observed_totals(RECIPE, theory, 64, 180), isotropic_filtering(RECIPE, setting, 64)
    skies = GaussianSkies(RECIPE, setting, totals, optics, 64, mask, filtering)
    legs = [gaussian_legs(skies, number).separate["T"] for number in range(40)]
    # legs are T̄ = T/C, whose filter is the same for both
    drawn = np.mean([(alm_to_cl(alm) * setting.totals["TT"] ** 2)[edge] for alm in legs])
    data = []
    for sim in range(40):
        alm = deconvolved(map_to_alm(simulate(RECIPE, sim).data, 64, 120), optics.up_to(120))
        data.append(alm_to_cl(alm["T"])[edge])
    assert abs(drawn / np.mean(data) - 1) < 0.055


def test_a_map_s_own_power_is_followed_beyond_what_is_read() -> None:
    """Twice the map, four times the power, at 130 ≤ ℓ ≤ 170 as below: exactly, since the ratio scales the model."""
    theory, mask = theory_of(RECIPE), mask_of(RECIPE.mask, 64)
    prepared = Preparation(
        theory, setting_of(RECIPE, theory, 64, temperature_only=True), mask, None, lambda maps: Legs({"T": maps}, {})
    )
    maps = simulate(RECIPE, 0).data
    once, twice = (gaussian_skies(RECIPE, prepared, 64, scale * maps).totals["TT"] for scale in (1.0, 2.0))
    assert len(once) == 181
    np.testing.assert_allclose(twice[20:171], 4.0 * once[20:171], rtol=1e-9)


def skies_of_signal(rms: float | None = None) -> GaussianSkies:
    """Skies whose noise has one rms, relative to that of the map, in all pixels; without noise by default."""
    theory = theory_of(RECIPE)
    setting = setting_of(RECIPE, theory, 64, temperature_only=True)
    optics, totals = optics_of(RECIPE.instrument, 64, 180), observed_totals(RECIPE, theory, 64, 180)
    signal = {key: theory.lensed[key][:181] for key in totals}
    filtering = isotropic_filtering(RECIPE, setting, 64)
    if rms is None:
        return GaussianSkies(RECIPE, setting, signal, optics, 64, None, filtering)
    pattern = np.full(12 * 64**2, rms)
    return GaussianSkies(RECIPE, setting, totals, optics, 64, None, filtering, signal=signal, pattern=pattern)


def test_uneven_noise_is_drawn_with_its_pattern_alone() -> None:
    """Where the pattern is zero there is none: a sky is then that of the signal by itself, to rounding."""
    found, expected = (gaussian_legs(skies_of_signal(rms), 0).separate["T"] for rms in (0.0, None))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12 * np.abs(expected).max())


def test_noise_goes_as_the_pattern() -> None:
    """Pixels of twice the rms have twice the noise; by differences to a sky without any, to rounding."""
    none, once, twice = (gaussian_legs(skies_of_signal(rms), 0).separate["T"] for rms in (0.0, 1.0, 2.0))
    np.testing.assert_allclose(twice - none, 2.0 * (once - none), rtol=0, atol=1e-12 * np.abs(none).max())


def test_gaussian_skies_have_nothing_of_the_run_s_skies() -> None:
    """Sky and noise of the same number are independent: their correlation over 10 ≤ ℓ ≤ 120 is chance.

    14 500 modes leave 0.01; of the same random numbers all but the noise, or all of it, would be in common.
    """
    recipe = RECIPE.model_copy(update={"mask": type(RECIPE.mask)()})
    theory = theory_of(recipe)
    setting = setting_of(recipe, theory, 64, temperature_only=True)
    optics, totals = optics_of(recipe.instrument, 64, 180), observed_totals(recipe, theory, 64, 180)
    filtering = isotropic_filtering(recipe, setting, 64)
    drawn = gaussian_legs(GaussianSkies(recipe, setting, totals, optics, 64, None, filtering), 0).separate["T"]
    for sim in (0, 1):
        own = filtering(simulate(recipe, sim).data).separate["T"]
        ratio = alm_to_cl(drawn, own)[10:] / np.sqrt(alm_to_cl(drawn) * alm_to_cl(own))[10:]
        modes = 2 * np.arange(10, 121) + 1
        assert abs(np.average(ratio, weights=modes)) < 0.05


def test_the_signal_keeps_its_share_of_measured_power() -> None:
    """Power twice as large as believed has twice the signal and twice the noise; by hand."""
    found = scaled_signal(np.array([3.0, 1.0, 5.0]), np.array([4.0, 0.0]), np.array([8.0, 7.0]))
    np.testing.assert_allclose(found, [6.0, 1.0], rtol=1e-15)


def test_gaussian_skies_are_of_as_much_sky_as_the_data() -> None:
    """Spectra of legs are over ⟨w²⟩, or over what an optimal filter sees, for it is given maps without weights."""
    theory, mask = theory_of(RECIPE), mask_of(RECIPE.mask, 64)
    assert mask is not None
    for kind, expected in (("isotropic", np.mean(mask**2)), ("optimal", np.mean(mask > 0.01))):
        reconstruction = RECIPE.reconstruction.model_copy(update={"filter": kind})
        recipe = RECIPE.model_copy(update={"reconstruction": reconstruction})
        setting = setting_of(recipe, theory, 64, temperature_only=True)
        prepared = Preparation(theory, setting, mask, None, lambda maps: Legs({"T": maps}, {}))
        assert abs(gaussian_skies(recipe, prepared, 64).fsky - expected) < 1e-12

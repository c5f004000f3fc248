"""From maps to φ̂ and band powers: power of the data, Gaussian skies, mean field and the moments of a mask."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lensrec.bias.mean_field import MeanField
from lensrec.recipe import Recipe
from lensrec.rundir import create_run, read_table, write_table
from lensrec.sky.random import unit_alm
from lensrec.spectra.bandpowers import bin_spectrum, lensing_scaling
from lensrec.sphere.alm import alm_to_cl, scale_alm
from lensrec.stages.debias import Biases
from lensrec.stages.estimate import deconvolved, map_to_alm, measured_totals
from lensrec.stages.filtering import isotropic_filtering
from lensrec.stages.gaussian import GaussianSkies, gaussian_estimate, gaussian_legs, in_memory, on_disk
from lensrec.stages.masking import mask_of
from lensrec.stages.phi_bandpowers import bands_of, phi_bandpowers
from lensrec.stages.reconstruct import Reconstruction, reconstruct
from lensrec.stages.reconstruct_run import reconstruct_run
from lensrec.stages.setting import optics_of, setting_of
from lensrec.stages.simulate import simulate
from lensrec.theory.spectra import TheorySpectra

Make = Callable[..., Recipe]
NSIDE, LMAX = 64, 128


def gaussian_skies(recipe: Recipe, theory: TheorySpectra) -> GaussianSkies:
    setting = setting_of(recipe, theory, NSIDE)
    lmax = len(setting.totals["TT"]) - 1
    mask = mask_of(recipe.mask, NSIDE)
    filtering = isotropic_filtering(recipe, setting, NSIDE)
    optics = optics_of(recipe.instrument, NSIDE, lmax)
    return GaussianSkies(recipe, setting, setting.totals, optics, NSIDE, mask, filtering)


def test_beam_and_window_are_divided_out_where_something_is_left(small: Make) -> None:
    optics = optics_of(small(instrument={"fwhm": 900}).instrument, NSIDE, LMAX)
    alm = {field: unit_alm(LMAX, seed=1, sim=0, component=field) for field in "TEB"}
    clean = deconvolved({field: scale_alm(alm[field], optics.of(field)) for field in alm}, optics)
    ell = np.arange(LMAX + 1)
    left = optics.temperature > 1e-30
    assert 20 < np.count_nonzero(left) < LMAX  # a beam of 15° leaves nothing at ℓ = 128
    for field in alm:
        kept = scale_alm(alm[field], left.astype(float))
        assert np.abs(clean[field] - kept).max() < 1e-13 * np.abs(kept).max()
    assert ell[left].max() < LMAX


def test_totals_follow_the_data(small: Make, theory: TheorySpectra) -> None:
    model = {key: cl[:1001] for key, cl in theory.lensed.items()}
    rise = {"T": 1.3, "E": 0.8}
    alm = {f: scale_alm(unit_alm(1000, seed=3, sim=0, component=f), np.sqrt(rise[f] * model[f + f])) for f in rise}
    totals = measured_totals(alm, model, 0.5)
    for field in rise:
        ratio = totals[field * 2][2:] / model[field * 2][2:] * 0.5
        modes = 2 * np.arange(2, 1001) + 1.0
        # In all to 5 σ, false alarm 1e-6 for two. The kernel of σ = 30 averages some 2ℓ 106 modes: at ℓ = 300 within
        # 5 σ = 2 %, and smooth from ℓ to ℓ by construction.
        assert abs(np.sum(modes * ratio) / modes.sum() / rise[field] - 1) < 5 * np.sqrt(2 / modes.sum()) + 2e-3
        assert np.abs(ratio[300:] / rise[field] - 1).max() < 0.03
        assert np.abs(np.diff(ratio[100:])).max() < 3e-3
    np.testing.assert_array_equal(totals["BB"], model["BB"])  # of which nothing was measured
    correlation = totals["TE"] / np.sqrt(totals["TT"] * totals["EE"] + 1e-300)
    np.testing.assert_allclose(
        correlation[2:], (model["TE"] / np.sqrt(model["TT"] * model["EE"] + 1e-300))[2:], rtol=1e-12
    )


def test_gaussian_skies_are_the_same_on_disk_and_in_memory(small: Make, theory: TheorySpectra, tmp_path: Path) -> None:
    recipe = small(mask={"galactic_cut": 20, "apodisation": 8}, reconstruction={"mean_field_sims": 5})
    skies = gaussian_skies(recipe, theory)
    run = create_run(tmp_path / "run", recipe)
    seen: list[tuple[int, int]] = []
    written = on_disk(run, skies, progress=lambda _, done, total: seen.append((done, total)))
    kept = in_memory(skies)
    assert seen[-1] == (5, 5)
    for key in skies.setting.keys:
        # files hold complex64: 6e-8 of each number
        disk, memory = written.fields[key], kept.fields[key]
        assert np.abs(disk.mean - memory.mean).max() < 1e-6 * np.abs(memory.mean).max()
        np.testing.assert_allclose(disk.gaussian_bias[:, 2:], memory.gaussian_bias[:, 2:], rtol=1e-4)
    for key, spectrum in kept.spectra.items():
        np.testing.assert_array_equal(written.spectra[key], spectrum)
    one, two = (gaussian_estimate(skies, gaussian_legs(skies, number))["EB"][0] for number in (0, 1))
    assert not np.array_equal(one, two)


def test_gaussian_skies_without_a_mask_have_the_analytic_noise(small: Make, theory: TheorySpectra) -> None:
    skies = gaussian_skies(small(reconstruction={"mean_field_sims": 12, "estimators": "TT,EB,MV"}), theory)
    fields = in_memory(skies).fields
    weight = 2 * np.arange(10, 91) + 1.0
    for key in skies.setting.keys:
        for part in (0, 1):
            ratio = fields[key].gaussian_bias[part, 10:91] / skies.setting.n0[key][part, 10:91]
            # 11 independent spectra of 8181 modes each, correlated a little as all N0 are; 6 numbers within 5 σ and
            # 1 % for the HEALPix transform at 2 nside: false alarm 4e-6
            error = np.sum(weight * ratio) / weight.sum() - 1
            assert abs(error) < 5 * np.sqrt(2 / (11 * weight.sum())) + 0.01, (key, part)


def test_a_mask_enters_by_its_moments(small: Make, theory: TheorySpectra) -> None:
    """N0 of masked Gaussian skies over ⟨w⁴⟩ is the analytic one, and their mean field is of low L."""
    recipe = small(
        mask={"galactic_cut": 25, "apodisation": 20},
        reconstruction={"mean_field_sims": 12, "estimators": "TT", "lmin_t": 20},
    )
    skies = gaussian_skies(recipe, theory)
    assert skies.mask is not None
    w4 = np.mean(skies.mask**4)
    assert w4 < 0.5  # so that a ⟨w²⟩ in its place would show
    field = in_memory(skies).fields["TT"]
    weight = 2 * np.arange(30, 91) + 1.0
    ratio = field.gaussian_bias[0, 30:91] / w4 / skies.setting.n0["TT"][0, 30:91]
    # The mask couples over ΔL of 10, over which N0 is nearly flat: per cents; and 11 spectra of 7500 ⟨w⁴⟩²/⟨w⁸⟩ modes
    # have 1 % of their own at 2 σ.
    assert abs(np.sum(weight * ratio) / weight.sum() - 1) < 0.06
    mean = alm_to_cl(field.mean[0])
    assert mean[2:5].mean() > 10 * field.gaussian_bias[0, 2:5].mean() / 12


def test_mean_field_and_noise_are_taken_off(small: Make, theory: TheorySpectra) -> None:
    recipe = small(mask={"galactic_cut": 20, "apodisation": 8}, reconstruction={"estimators": "TT"})
    sky = simulate(recipe, 0, theory=theory.truncated(300))
    plain = reconstruct(sky.data, recipe)
    assert plain.mean_fields == {}
    cleaned = reconstruct(
        sky.data,
        small(mask={"galactic_cut": 20, "apodisation": 8}, reconstruction={"estimators": "TT", "mean_field_sims": 8}),
    )
    np.testing.assert_array_equal(cleaned.estimates["TT"], plain.estimates["TT"])
    np.testing.assert_array_equal(cleaned.phi["TT"], plain.phi["TT"] - cleaned.mean_fields["TT"].mean[0])
    assert not np.array_equal(cleaned.curl["TT"], plain.curl["TT"])
    before, after = phi_bandpowers(plain), phi_bandpowers(cleaned)
    # what the mask alone puts into the first band is there without a mean field, and gone with it
    assert before["auto_TT"][0] > 5 * before["sigma_TT"][0]
    assert abs(after["auto_TT"][0] - after["fiducial"][0]) < 5 * after["sigma_TT"][0]
    np.testing.assert_array_equal(before["sigma_TT"], after["sigma_TT"])


def test_band_powers_of_a_known_phi_are_its_own(small: Make, theory: TheorySpectra) -> None:
    """A reconstruction that is φ itself, seen through w² = const, has transfer 1 and its own spectrum."""
    recipe = small(reconstruction={"estimators": "TT"})
    setting = setting_of(recipe, theory, NSIDE)
    phi = scale_alm(unit_alm(100, seed=2, sim=0, component="phi"), np.sqrt(setting.cl_phi))
    depth = 0.7
    estimate = np.stack([depth**2 * phi, np.zeros_like(phi)])
    biases = Biases(setting.n0, {}, "analytic")
    rec = Reconstruction(recipe, setting, {"TT": estimate}, {}, np.full(12 * NSIDE**2, depth), biases)
    powers = phi_bandpowers(rec, phi)
    np.testing.assert_allclose(powers["transfer_TT"], 1.0, rtol=1e-12)  # over ⟨w²⟩
    np.testing.assert_allclose(powers["auto_TT"] + powers["n0_TT"], powers["input"], rtol=1e-10)  # over ⟨w⁴⟩
    assert np.all(powers["curl_TT"] < 0)  # what has no curl has minus the noise that is taken off
    none = MeanField(np.zeros((2, *estimate.shape)), np.zeros((2, 101)), 4)
    nothing = Biases({"TT": np.zeros((2, 101))}, {}, "none")
    field = phi_bandpowers(Reconstruction(recipe, setting, {"TT": estimate}, {"TT": none}, rec.mask, nothing), phi)
    np.testing.assert_allclose(field["auto_TT"], powers["input"], rtol=1e-10)
    whole = phi_bandpowers(Reconstruction(recipe, setting, {"TT": estimate}, {}, None, biases), phi)
    np.testing.assert_allclose(whole["sigma_TT"], powers["sigma_TT"], rtol=1e-12)  # a constant is no cut
    edges = recipe.reconstruction.bin_edges
    np.testing.assert_array_equal(powers["L_low"], edges[:-1])
    np.testing.assert_array_equal(powers["L_high"], np.array(edges[1:]) - 1)
    scaled = lensing_scaling(100) * setting.cl_phi
    for low, high, value in zip(powers["L_low"], powers["L_high"], powers["fiducial"], strict=True):
        assert scaled[low : high + 1].min() <= value <= scaled[low : high + 1].max()


def test_errors_of_a_masked_sky_have_the_modes_that_are_left(small: Make, theory: TheorySpectra) -> None:
    """σ goes as f_sky^−½: φ̂ carries w², so that f_sky = ⟨w⁴⟩²/⟨w⁸⟩; against an unmasked φ_in, ⟨w²⟩²/⟨w⁴⟩.

    Half of the sky has w = 1 and the rest w = ½: the moments ⟨w^n⟩ = (1 + 2^−n)/2 are by hand, and left is rounding.
    """
    recipe = small(reconstruction={"estimators": "TT"})
    setting = setting_of(recipe, theory, NSIDE)
    phi = scale_alm(unit_alm(100, seed=2, sim=0, component="phi"), np.sqrt(setting.cl_phi))
    biases = Biases(setting.n0, {}, "analytic")
    mask = np.where(np.arange(12 * NSIDE**2) % 2, 0.5, 1.0)
    whole, cut = (
        phi_bandpowers(Reconstruction(recipe, setting, {"TT": np.stack([phi, phi])}, {}, w, biases), phi)
        for w in (None, mask)
    )
    w2, w4, w8 = 5 / 8, 17 / 32, 257 / 512
    for name in ("sigma_TT", "curl_sigma_TT"):
        np.testing.assert_allclose(cut[name] / whole[name], np.sqrt(w8) / w4, rtol=1e-12)
    np.testing.assert_allclose(cut["transfer_sigma_TT"] / whole["transfer_sigma_TT"], np.sqrt(w4) / w2, rtol=1e-12)


def test_a_mask_is_put_on_a_map_once(small: Make) -> None:
    recipe = small(mask={"galactic_cut": 20, "apodisation": 30})
    sky = simulate(small(), 0)
    mask = mask_of(recipe.mask, NSIDE)
    assert mask is not None
    by_hand = reconstruct(sky.data * mask, recipe)
    by_lensrec = reconstruct(sky.data, recipe, mask=mask, masked=False)
    for key in by_hand.keys:
        np.testing.assert_array_equal(by_hand.phi[key], by_lensrec.phi[key])
    np.testing.assert_array_equal(by_hand.mask, mask)
    np.testing.assert_array_equal(by_lensrec.mask, mask)


def test_single_precision_moves_an_estimate_by_rounding(small: Make) -> None:
    sky = simulate(small(), 0)
    double, single = (reconstruct(sky.data, small(reconstruction={"precision": p})) for p in ("double", "single"))
    for key in double.keys:
        # float32 resolves 6e-8, and so does φ̂ at high L; at L = 2 it is what is left of terms 50 times larger. At L = 1
        # next to nothing is left, which is why no band reads it.
        difference = alm_to_cl(single.phi[key] - double.phi[key])[2:] / alm_to_cl(double.phi[key])[2:]
        assert 0 < np.sqrt(difference.max()) < 3e-5
        assert np.sqrt(difference[50:].max()) < 1e-6


def test_transforms_of_a_map_are_those_of_its_sky(small: Make) -> None:
    sky = simulate(small(sky={"lensed": False}, instrument={"fwhm": 0, "noise_t": 0, "noise_p": 0}), 0)
    alm = map_to_alm(sky.data, NSIDE, LMAX)
    # at 2 nside three iterations leave below 1e-3 (lensrec.recipe_checks.invertible_lmax)
    for field, row in zip("TEB", sky.unlensed_alm, strict=True):
        truth = alm_to_cl(row)[: LMAX + 1]
        ratio = alm_to_cl(alm[field])[2:] / truth[2:]
        assert np.abs(ratio - 1).max() < 2e-3, field
    with pytest.raises(ValueError, match="no estimator 'EB'"):
        reconstruct(sky.data[0], small(instrument={"noise_t": 1})).kappa_map("EB")


def test_the_error_of_a_transfer_is_that_of_noise_against_the_input(small: Make, theory: TheorySpectra) -> None:
    """One L a band: var(φ̂ × φ_in) at fixed φ_in is C_in (C + N0)/(2L + 1), without the 2 of an auto-spectrum."""
    recipe = small(reconstruction={"estimators": "TT", "bin_edges": [20, 21, 22], "n_bins": 2})
    setting = setting_of(recipe, theory, NSIDE)
    phi = scale_alm(unit_alm(100, seed=2, sim=0, component="phi"), np.sqrt(setting.cl_phi))
    rec = Reconstruction(recipe, setting, {"TT": np.stack([phi, phi])}, {}, None, Biases(setting.n0, {}, "analytic"))
    at = np.array([20, 21])
    expected = np.sqrt((setting.cl_phi + setting.n0["TT"][0])[at] / (2 * at + 1) / alm_to_cl(phi)[at])
    np.testing.assert_allclose(phi_bandpowers(rec, phi)["transfer_sigma_TT"], expected, rtol=1e-12)


def test_the_power_of_a_mean_field_is_without_its_noise(small: Make, theory: TheorySpectra) -> None:
    """Halves f + n and f − n have the cross-spectrum C_f − C_n, where their mean, f, has C_f; n stands for chance."""
    recipe = small(reconstruction={"estimators": "TT"})
    setting = setting_of(recipe, theory, NSIDE)
    phi, f, n = (
        scale_alm(unit_alm(100, seed=2, sim=sim, component="phi"), np.sqrt(setting.cl_phi)) for sim in range(3)
    )
    halves = np.stack([np.stack([f + n, f]), np.stack([f - n, f])])
    field = {"TT": MeanField(halves, np.zeros((2, 101)), 4)}
    biases = Biases(setting.n0, {}, "analytic")
    found = phi_bandpowers(Reconstruction(recipe, setting, {"TT": np.stack([phi, phi])}, field, None, biases))
    expected = bin_spectrum(
        alm_to_cl(f) - alm_to_cl(n), bands_of(Reconstruction(recipe, setting, {"TT": halves[0]}, {}, None, biases))
    )
    np.testing.assert_allclose(found["mf_TT"], expected, rtol=1e-9, atol=1e-12 * np.abs(expected).max())


def test_a_mean_over_skies_has_errors_of_a_mean_but_for_those_that_all_share(
    small: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four skies: their own errors halve; those of N0 and response, which are the same for all, stay."""
    recipe = small(sky={"n_sims": 4}, reconstruction={"estimators": "TT"})
    run = create_run(tmp_path / "run", recipe)
    own = ("sigma_TT", "curl_sigma_TT", "transfer_sigma_TT")
    shared = ("n0_sigma_TT", "mc_response_sigma_TT")
    for sim in range(4):
        table = {"L_low": np.array([2]), "L_high": np.array([9]), "auto_TT": np.array([float(sim)])}
        table |= {name: np.array([3.0]) for name in own + shared}
        run.recon(sim, "bandpowers.ecsv").parent.mkdir(parents=True)
        write_table(run.recon(sim, "bandpowers.ecsv"), table, {}, "")
    monkeypatch.setattr("lensrec.stages.reconstruct_run._reconstructed", lambda run, which: True)
    monkeypatch.setattr("lensrec.rundir.RunDir.has", lambda run, *files: True)
    reconstruct_run(run)
    mean = read_table(run.path / "recon" / "bandpowers.ecsv")
    assert (mean["auto_TT"][0], mean["L_low"][0], mean["L_high"][0]) == (1.5, 2, 9)
    for names, expected in ((own, 1.5), (shared, 3.0)):
        for name in names:
            assert mean[name][0] == pytest.approx(expected, rel=1e-12), name

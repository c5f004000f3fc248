"""lensrec in a notebook: recipe, sky and reconstruction as Python objects that show themselves."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import healpy as hp
import numpy as np
import pytest

import lensrec as lr
from lensrec.recipe import RecipeError
from lensrec.sphere.alm import alm_size
from lensrec.stages.fit_run import fit_run

NSIDE, LMAX, L_MAX = 64, 128, 100
SETTINGS = {
    "name": "small",
    "cosmology": {"lens_potential_accuracy": 1},
    "sky": {"nside": NSIDE, "lmax": 300, "lmax_data": LMAX, "seed": 4, "epsilon": 1e-5},
    "instrument": {"fwhm": 30, "noise_t": 20},
    # N1 of all takes ten seconds: that of TT alone is asked for below
    "reconstruction": {"lmin_t": 10, "lmin_p": 10, "L_max": L_MAX, "n_bins": 4, "n1": "none"},
    "split": {"cosmology": "fixed", "L_min": 10, "L_max": 100},
}
KEYS = ("TT", "EE", "TE", "TB", "EB", "MV")


@pytest.fixture(scope="module")
def recipe() -> lr.Recipe:
    return lr.Recipe.model_validate(SETTINGS)


@pytest.fixture(scope="module")
def sky(recipe: lr.Recipe):
    return lr.simulate(recipe, sim=0)


@pytest.fixture(scope="module")
def rec(sky, recipe: lr.Recipe):
    return lr.reconstruct(sky.data, recipe)


@pytest.fixture(scope="module")
def bands(rec, sky):
    return lr.bandpowers(rec, sky.data)


def only(key: str, **changes: str) -> lr.Recipe:
    reconstruction = {**SETTINGS["reconstruction"], "estimators": key, **changes}
    return lr.Recipe.model_validate({**SETTINGS, "reconstruction": reconstruction})


def test_a_recipe_is_found_by_name_or_file(tmp_path: Path) -> None:
    named = lr.Recipe.load("quickstart")
    assert named == lr.Recipe.load(Path(lr.__file__).parents[1] / "sims" / "quickstart.yaml")
    (tmp_path / "mine.yaml").write_text(named.dump())
    assert lr.Recipe.load(tmp_path / "mine.yaml") == named
    assert lr.Recipe.load("quickstart", ["sky.seed=7"]).sky.seed == 7
    with pytest.raises(RecipeError, match="no recipe 'quickstrat'"):
        lr.Recipe.load("quickstrat")


def test_a_sky_has_what_it_was_made_of(sky) -> None:
    assert sky.sim == 0
    assert sky.phi_alm.shape == (alm_size(300),)
    assert sky.unlensed_alm.shape == (3, alm_size(300))
    assert sky.lensed.shape == sky.data.shape == (3, 12 * NSIDE**2)
    assert sky.mask is None
    # µK: what lensing moves is small against the sky, but there
    unlensed = hp.alm2map(sky.unlensed_alm, NSIDE)
    moved = (sky.lensed - unlensed).std(axis=1) / unlensed.std(axis=1)
    assert np.all(moved > 1e-3)
    assert np.all(moved < 0.2)


def test_a_reconstruction_has_phi_response_and_noise_by_estimator(rec) -> None:
    assert rec.keys == KEYS
    assert rec.best == "MV"
    for products, shape in ((rec.phi, alm_size(L_MAX)), (rec.curl, alm_size(L_MAX))):
        assert set(products) == set(KEYS)
        assert all(alm.shape == (shape,) and np.isfinite(alm).all() for alm in products.values())
    for key in KEYS:
        r, n0 = rec.response[key], rec.n0[key]
        assert r.shape == n0.shape == (L_MAX + 1,)
        assert np.all(r[2:] > 0)
        assert np.all(n0[2:] > 0)
    # MV is less noisy than each of its parts; 1e-9 is rounding
    assert np.all(rec.n0["MV"][2:] <= (1 + 1e-9) * np.min([rec.n0[key][2:] for key in KEYS[:-1]], axis=0))


def test_kappa_is_a_map(rec) -> None:
    kappa = rec.kappa_map("MV")
    assert kappa.shape == (12 * NSIDE**2,)
    np.testing.assert_array_equal(kappa, rec.kappa_map())
    ell = np.arange(L_MAX + 1.0)
    read = np.where(ell >= 2, ell * (ell + 1) / 2, 0.0)
    # healpy's transform and ducc0's agree to 1e-12 of the map
    expected = hp.alm2map(hp.almxfl(rec.phi["MV"], read), NSIDE)
    assert np.abs(kappa - expected).max() < 1e-10 * kappa.std()
    assert rec.kappa_map("TT", nside=32).shape == (12 * 32**2,)
    assert rec.kappa_map("MV", wiener=True).std() < kappa.std()


def test_bandpowers_are_of_all_estimators(rec, sky) -> None:
    powers = rec.bandpowers(sky.phi_alm)
    assert len(powers["L"]) == 4
    for key in KEYS:
        assert np.all(powers[f"sigma_{key}"] > 0)
        # 24 numbers within 4.5 σ: false alarm 2e-4
        assert np.all(np.abs(powers[f"transfer_{key}"] - 1) < 4.5 * powers[f"transfer_sigma_{key}"])
    assert not any(name.startswith(("cross", "transfer", "input")) for name in rec.bandpowers())


def test_skies_reconstructions_and_band_powers_show_themselves(sky, rec, bands) -> None:
    for thing in (sky, rec, bands):
        html = thing._repr_html_()
        assert "<img" in html
        assert "small" in html


def test_a_split_shows_its_contours_and_its_numbers(bands) -> None:
    found = lr.split(bands)
    html, said = found._repr_html_(), found.summary()
    assert "<img" in html
    for name in ("A_L_TTTEEE", "A_L_phiphi"):
        assert f"{said[name]['mean']:.3f} ± {said[name]['sigma']:.3f}".replace("-", "\u2212") in html
    assert f"{said['correlation']:.4g}".replace("-", "\u2212") in html
    assert f"for {said['ndof']} degrees of freedom" in html
    # one amplitude alone has no ellipse, and is shown, too
    assert "<img" in lr.split(replace(bands, data=bands.data.selected(bands.data.block == "PP")))._repr_html_()


def test_a_fit_is_that_of_the_command_and_shows_itself(tmp_path: Path) -> None:
    asked = {"name": "distances", "data": ["desi_dr2_bao", "compressed_cmb"], "neutrinos": {"definition": "background"}}
    found = lr.fit_cosmology(asked, ["sampler.kind=importance", "sampler.draws=200"])
    assert found.names == ("ombh2", "omch2", "thetastar", "mnu", "H0", "omega_m")
    assert found.samples.points.shape == (len(found.samples.weights), 6)
    left = fit_run(found.recipe, tmp_path)
    left["about"].pop("seconds")
    assert left == found.summary()
    html = found._repr_html_()
    assert html.count("<img") == 1
    assert f"{found.parameters['mnu']['sigma']:.4g}" in html
    assert set(found.figures()) == {"corner", "mnu"}
    again = lr.fit_cosmology(found.recipe)
    np.testing.assert_array_equal(again.samples.points, found.samples.points)
    with pytest.raises(RecipeError, match="no data set 'desi_dr3'"):
        lr.fit_cosmology({"data": ["desi_dr3"]})


def test_an_unknown_estimator_is_told_what_there_is(rec, recipe: lr.Recipe) -> None:
    with pytest.raises(ValueError, match=r"no estimator 'QQ' in this reconstruction: there are TT, EE, TE, TB, EB, MV"):
        rec.kappa_map("QQ")
    with pytest.raises(RecipeError, match="unknown estimator 'QQ'; there are TT, EE"):
        lr.Recipe.model_validate({**SETTINGS, "reconstruction": {"estimators": ["QQ"]}})


def test_a_map_may_have_another_nside_than_the_recipe(sky, rec, recipe: lr.Recipe) -> None:
    fine = hp.alm2map(hp.map2alm(sky.data, lmax=LMAX, iter=3), 128)
    other = lr.reconstruct(fine, recipe)
    # the same a_ℓm on other pixels: both transforms recover them to 1e-3 of an amplitude at 2 nside
    for key in KEYS:
        assert np.linalg.norm(other.phi[key] - rec.phi[key]) < 5e-3 * np.linalg.norm(rec.phi[key])
    mask = np.ones(12 * 128**2)
    masked = lr.reconstruct(fine, recipe, mask=mask, masked=False)
    np.testing.assert_array_equal(masked.phi["EB"], other.phi["EB"])
    assert "<img" in masked._repr_html_()
    with pytest.raises(ValueError, match="lmax_t: 128 is more than the map's pixels of nside 32 can carry"):
        lr.reconstruct(hp.ud_grade(sky.data, 32), recipe)


def test_temperature_alone_gives_tt(sky, rec, recipe: lr.Recipe) -> None:
    alone = lr.reconstruct(sky.data[0], only("TT", n1="fiducial"))
    assert np.all(alone.bandpowers()["n1_TT"] != 0)
    assert lr.reconstruct(sky.data[0], recipe).keys == alone.keys == ("TT",)
    assert alone.best == "TT"
    np.testing.assert_array_equal(alone.phi["TT"], rec.phi["TT"])
    with pytest.raises(ValueError, match="the map has temperature alone, which gives TT; EB need polarisation"):
        lr.reconstruct(sky.data[0], only("EB"))


@pytest.mark.parametrize("key", KEYS[:-1])
def test_each_estimator_works_by_itself(sky, rec, key: str) -> None:
    alone = lr.reconstruct(sky.data, only(key))
    assert alone.keys == (key,)
    # sums in another order: a few roundings
    assert np.abs(alone.phi[key] - rec.phi[key]).max() < 1e-10 * np.abs(rec.phi[key]).max()


def test_maps_that_cannot_be_read_are_refused(sky, recipe: lr.Recipe) -> None:
    with pytest.raises(ValueError, match="maps must be"):
        lr.reconstruct(sky.data[:2], recipe)
    with pytest.raises(ValueError, match="maps must be"):
        lr.reconstruct(sky.data[:, :-1], recipe)
    with pytest.raises(ValueError, match="the mask must have one weight for each pixel"):
        lr.reconstruct(sky.data, recipe, mask=np.ones(12), masked=False)
    for bad in (np.nan, np.inf, hp.UNSEEN):
        maps = sky.data.copy()
        maps[1, 7] = bad
        with pytest.raises(ValueError, match="1 values of the maps are NaN or UNSEEN; set them to 0, with a mask"):
            lr.reconstruct(maps, recipe)


def test_importing_lensrec_is_quick_and_names_are_there() -> None:
    code = "import sys, lensrec; print({'numpy', 'healpy', 'camb'} & set(sys.modules), dir(lensrec))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("set() ")
    names = ("Recipe", "FitRecipe", "simulate", "reconstruct", "bandpowers", "split", "fit_cosmology", "look", "viewer")
    assert all(name in done.stdout for name in names)
    # lensrec.fit is a package, whose name a function of this one would lose to it
    assert all(callable(getattr(lr, name)) for name in (*names, "read_map"))
    with pytest.raises(AttributeError, match="no attribute 'recnostruct'"):
        _ = lr.recnostruct

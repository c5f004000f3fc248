"""Recipes: what is left out follows from what is said, for skies and for maps from outside, and all of it is dumped."""

from itertools import pairwise
from math import pi, sqrt
from pathlib import Path

import pytest

from lensrec.notation import read_yaml
from lensrec.recipe import Estimator, Recipe, RecipeError


def test_the_dump_has_every_key_and_loads_to_the_same_recipe(tmp_path: Path) -> None:
    recipe = Recipe.model_validate({"sky": {"nside": 256}, "instrument": {"fwhm": "7 arcmin"}})
    (tmp_path / "r.yaml").write_text(recipe.dump(), encoding="utf-8")
    again = Recipe.load(tmp_path / "r.yaml")
    assert again == recipe
    assert again.sha256() == recipe.sha256()
    data = read_yaml(recipe.dump())
    assert set(data) == set(Recipe.model_fields)
    for section in ("cosmology", "sky", "instrument", "mask", "reconstruction"):
        assert set(data[section]) == set(type(getattr(recipe, section)).model_fields)


def test_the_cosmology_is_planck_2018s() -> None:
    # Table 2 of arXiv:1807.06209, TT,TE,EE+lowE+lensing
    expected = {"H0": 67.36, "ombh2": 0.02237, "omch2": 0.12, "mnu": 0.06, "omk": 0.0, "tau": 0.0544, "As": 2.1e-9}
    assert Recipe().cosmology.parameters() == {**expected, "ns": 0.9649}


def test_what_is_left_out_follows_from_what_is_said() -> None:
    recipe = Recipe.model_validate(
        {"sky": {"nside": 256, "seed": 5, "a_phi": 1.2, "lmax": None}, "instrument": {"noise_t": 3}}
    )
    assert (recipe.sky.lmax, recipe.sky.lmax_data) == (2012, 512)
    assert (recipe.sky.phi_seed, recipe.sky.a_smooth) == (5, 1.2)
    assert recipe.instrument.noise_p == pytest.approx(3 * sqrt(2), rel=1e-15)
    rec = recipe.reconstruction
    assert (rec.lmax_t, rec.lmax_p, rec.L_max, rec.lmin_t) == (512, 512, 512, 100)
    assert rec.estimators == ("TT", "EE", "TE", "TB", "EB", "MV")
    assert len(rec.bin_edges) == rec.n_bins + 1 == 21
    assert (rec.bin_edges[0], rec.bin_edges[-1]) == (2, 513)


def test_what_is_said_stays_as_said() -> None:
    recipe = Recipe.model_validate(
        {
            "sky": {"nside": 256, "lmax": 1000, "lmax_data": 700, "phi_seed": 9, "a_smooth": 0},
            "instrument": {"noise_p": 0},
            "reconstruction": {"lmax_p": 300, "bin_edges": [10, 20, 40], "estimators": "EB, TT"},
        }
    )
    assert (recipe.sky.lmax, recipe.sky.lmax_data, recipe.sky.phi_seed, recipe.sky.a_smooth) == (1000, 700, 9, 0.0)
    assert recipe.instrument.noise_p == 0.0
    rec = recipe.reconstruction
    assert (rec.lmax_t, rec.lmax_p, rec.n_bins, rec.bin_edges) == (652, 300, 2, (10, 20, 40))
    assert rec.estimators == (Estimator.EB, Estimator.TT)


@pytest.mark.parametrize("nside", [1, 2, 4, 8, 16, 64, 1024, 8192])
def test_defaults_agree_with_each_other_at_every_nside(nside: int) -> None:
    Recipe.model_validate({"sky": {"nside": nside}})
    Recipe.for_map(nside, {})


@pytest.mark.parametrize("top", [2, 3, 5, 9, 20, 33, 47, 64, 100, 1023])
def test_default_bins_hold_every_L_once(top: int) -> None:
    edges = Recipe.model_validate({"reconstruction": {"L_max": top}}).reconstruction.bin_edges
    assert edges[0] == 2
    assert edges[-1] == top + 1
    assert all(a < b for a, b in pairwise(edges))


def test_a_sky_without_polarisation_gives_tt() -> None:
    assert Recipe.model_validate({"sky": {"polarisation": False}}).reconstruction.estimators == (Estimator.TT,)


def test_one_reconstruction_in_two_recipes_is_not_shared() -> None:
    half = Recipe.model_fields["reconstruction"].get_default(call_default_factory=True)
    small, large = (Recipe.model_validate({"sky": {"nside": n}, "reconstruction": half}) for n in (128, 512))
    assert (small.reconstruction.lmax_t, large.reconstruction.lmax_t) == (256, 1024)


def test_radians_are_at_hand() -> None:
    recipe = Recipe.model_validate({"instrument": {"fwhm": "1 deg", "noise_t": 60}, "mask": {"apodisation": 2}})
    degree = pi / 180  # each is two products of rounded numbers away
    assert recipe.instrument.fwhm_rad == pytest.approx(degree, rel=1e-15)
    assert recipe.instrument.noise_t_rad == pytest.approx(degree, rel=1e-15)
    assert recipe.instrument.noise_p_rad == pytest.approx(sqrt(2) * degree, rel=1e-15)
    assert recipe.mask.apodisation_rad == pytest.approx(2 * degree, rel=1e-15)
    assert recipe.mask.full_sky


def test_recipes_are_read_only() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Recipe().sky.nside = 8  # type: ignore[misc]


def test_every_estimator_says_what_it_is() -> None:
    assert [str(e) for e in Estimator] == ["TT", "EE", "TE", "TB", "EB", "MV", "GMV", "TTH"]
    docs = [e.__doc__ for e in Estimator]
    assert all(docs)
    assert len(set(docs)) == 8


def test_a_map_rules_its_recipe() -> None:
    recipe = Recipe.for_map(256, {"reconstruction": {"lmax_t": 650, "lmax_p": 600}}, polarised=False)
    assert (recipe.sky.nside, recipe.sky.lmax_data, recipe.sky.lmax) == (256, 767, 2267)
    assert (recipe.reconstruction.lmax_t, recipe.reconstruction.estimators) == (650, (Estimator.TT,))


def test_what_a_map_cannot_carry_is_told_by_the_key_that_was_given() -> None:
    with pytest.raises(
        RecipeError, match=r"^reconstruction.lmax_t: 800 is more than .* nside 256 can carry; at most 652$"
    ):
        Recipe.for_map(256, {"reconstruction": {"lmax_t": 800}})
    with pytest.raises(RecipeError, match="EE need polarisation"):
        Recipe.for_map(256, {"reconstruction": {"estimators": "EE"}}, polarised=False)

"""Recipes of fits: what is filled in, what is refused and in which words."""

from pathlib import Path

import pytest

from lensrec.recipe_files import RecipeError
from lensrec.recipe_fit import FitRecipe

GEOMETRY = {"data": ["desi_dr2_bao", "compressed_cmb"]}


def test_defaults() -> None:
    recipe = FitRecipe.load("fit")
    assert recipe.data == ("planck2018_plik_lite", "planck_pr4_lensing", "desi_dr2_bao")
    assert recipe.spectra
    assert not FitRecipe.model_validate(GEOMETRY).spectra
    assert (recipe.neutrinos.definition, recipe.neutrinos.low, recipe.neutrinos.high) == ("mirrored", -0.6, 0.8)
    assert FitRecipe.model_validate({"neutrinos": {"definition": "physical"}}).neutrinos.low == 0


def test_written_and_read_again(tmp_path: Path) -> None:
    recipe = FitRecipe.model_validate({**GEOMETRY, "tau_sigma": None, "sampler": {"kind": "importance"}})
    (tmp_path / "a.yaml").write_text(recipe.dump(), encoding="utf-8")
    again = FitRecipe.load(tmp_path / "a.yaml")
    assert again == recipe
    assert again.tau_sigma is None
    assert again.sha256() == recipe.sha256()


def test_the_fingerprint_is_that_of_the_numbers() -> None:
    one = FitRecipe.model_validate({**GEOMETRY, "name": "a"})
    assert FitRecipe.model_validate({**GEOMETRY, "name": "b", "description": "c"}).sha256() == one.sha256()
    assert FitRecipe.model_validate({**GEOMETRY, "model": "w0wa"}).sha256() != one.sha256()


def test_names_on_a_command_line_and_files_beside_the_recipe(tmp_path: Path) -> None:
    recipe = FitRecipe.load("fit", ["data=desi_dr2_bao, compressed_cmb"])
    assert recipe.data == ("desi_dr2_bao", "compressed_cmb")
    (tmp_path / "a.yaml").write_text("data: [mine.sacc.fits, desi_dr2_bao]\n", encoding="utf-8")
    assert FitRecipe.load(tmp_path / "a.yaml").data == (str(tmp_path / "mine.sacc.fits"), "desi_dr2_bao")


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"data": ["desi_dr3"]}, "data: no data set 'desi_dr3'; there are planck2018_plik_lite"),
        ({"data": []}, "data"),
        ({"data": ["desi_dr2_bao:lya"]}, "desi_dr2_bao:lya has no variants; write desi_dr2_bao"),
        ({"data": ["desi_dr2_bao", "desi_dr2_bao"]}, "desi_dr2_bao more than once"),
        ({"data": ["planck_pr4_lensing", "planck_pr4_lensing:cmb_fixed"]}, "planck_pr4_lensing more than once"),
        ({"data": ["compressed_cmb", "planck2018_plik_lite"]}, "are Planck's CMB twice"),
        ({"data": ["planck_pr4_lensing", "act_dr6_lensing"]}, "take act_planck_spt_lensing:act_planck"),
        (
            {"data": ["act_planck_spt_lensing:act_spt", "act_dr6_lensing"]},
            "act_planck_spt_lensing and act_dr6_lensing see the same lenses",
        ),
        ({**GEOMETRY, "model": "wcdm"}, "model"),
        ({**GEOMETRY, "transition": 10}, "transition: is of model lscdm, and the model is lcdm"),
        ({"neutrinos": {"definition": "background"}}, "background knows distances alone"),
        ({**GEOMETRY, "neutrinos": {"definition": "lensing"}}, "lensing moves C_L^φφ alone"),
        ({**GEOMETRY, "neutrinos": {"definition": "physical", "low": -0.1}}, "low: -0.1 eV is no physical mass"),
        ({**GEOMETRY, "neutrinos": {"low": 0.9}}, "low: 0.9 eV is not below high = 0.8 eV"),
        ({**GEOMETRY, "neutrinos": {"definition": "fixed", "mnu": -0.1}}, "mnu"),
        ({**GEOMETRY, "neutrinos": {"hierarchy": "normal"}}, "normal ordering has no masses near zero"),
        ({"neutrinos": {"hierarchy": "one"}}, "the trained surface has degenerate masses; set that, or exact: true"),
        ({**GEOMETRY, "A_L_TTTEEE": -1}, "A_L_TTTEEE"),
        ({**GEOMETRY, "sampler": {"r_minus_1": 0}}, "r_minus_1"),
        ({**GEOMETRY, "sampelr": {}}, "sampelr"),
    ],
)
def test_mistakes_are_named(change: dict, line: str) -> None:
    with pytest.raises(RecipeError, match=line.replace("^", r"\^").replace("(", r"\(")):
        FitRecipe.model_validate(change)


def test_a_pipeline_is_no_fit(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("recipe: quickstart\n", encoding="utf-8")
    with pytest.raises(RecipeError, match="is a pipeline: lensrec run takes it"):
        FitRecipe.load(tmp_path / "a.yaml")

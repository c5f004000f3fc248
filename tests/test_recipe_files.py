"""Recipes and pipelines in files: found, overridden key by key, and told apart."""

from pathlib import Path

import pytest

from lensrec.notation import read_yaml
from lensrec.recipe import Estimator, PipelineRecipe, Recipe, RecipeError
from lensrec.recipe_anomaly import AnomalyRecipe
from lensrec.recipe_files import override, shipped_recipes
from lensrec.recipe_fit import FitRecipe
from lensrec.recipe_forecast import ForecastPlan


def test_a_mask_is_looked_for_beside_the_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sub").mkdir()
    file = tmp_path / "sub" / "r.yaml"
    file.write_text("mask: {file: ../m.fits}")
    monkeypatch.chdir(tmp_path / "sub")
    assert Recipe.load("r.yaml").mask.file == tmp_path / "m.fits"
    assert Recipe.load(file, ["mask.file=n.fits"]).mask.file == tmp_path / "sub" / "n.fits"


def test_overrides_are_read_as_yaml(tmp_path: Path) -> None:
    file = tmp_path / "r.yaml"
    file.write_text("sky: {nside: 64}\n")
    texts = (
        "sky.nside=128",
        "sky.epsilon=1e-6",
        "reconstruction.estimators=TT,EE",
        "instrument.fwhm=0.1 deg",
        "name=12:30",
    )
    recipe = Recipe.load(file, texts)
    assert (recipe.sky.nside, recipe.sky.lmax, recipe.sky.epsilon) == (128, 1756, 1e-6)
    assert recipe.reconstruction.estimators == (Estimator.TT, Estimator.EE)
    assert recipe.instrument.fwhm == pytest.approx(6.0, rel=1e-15)
    assert recipe.name == "12:30"


def test_overrides_leave_their_input_alone() -> None:
    data = {"sky": {"nside": 64}}
    assert override(data, ["sky.nside=8"]) == {"sky": {"nside": 8}}
    assert data == {"sky": {"nside": 64}}


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("sky.nside", "write key=value, e.g. sky.nside=1024"),
        ("=3", "write key=value"),
        ("name.x=3", "name has no keys of its own"),
        ("sky.nsdie=3", r"sky\.nsdie: unknown key; did you mean sky\.nside\?"),
    ],
)
def test_wrong_overrides_are_told(tmp_path: Path, text: str, match: str) -> None:
    (tmp_path / "r.yaml").write_text("name: a")
    with pytest.raises(RecipeError, match=match):
        Recipe.load(tmp_path / "r.yaml", [text])


def test_a_missing_or_broken_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"no recipe 'quickstrat': .*quickstart"):
        Recipe.load("quickstrat")
    (tmp_path / "r.yaml").write_text("sky:\n  nside: 1\n  nside: 2\n")
    with pytest.raises(RecipeError, match=r"r\.yaml: line 3: the key 'nside' is given twice$"):
        Recipe.load(tmp_path / "r.yaml")
    (tmp_path / "r.yaml").write_text("- a\n")
    with pytest.raises(RecipeError, match="made of keys and values"):
        Recipe.load(tmp_path / "r.yaml")
    (tmp_path / "r.yaml").write_text("")
    assert Recipe.load(tmp_path / "r.yaml") == Recipe()


def test_differences_name_key_and_both_values() -> None:
    old, new = Recipe(), Recipe.model_validate({"instrument": {"fwhm": 5}})
    assert old.differences(old) == []
    assert old.differences(new) == ["instrument.fwhm: 1.4 -> 5.0"]
    assert old.sha256() != new.sha256()


def test_all_six_recipes_and_pipelines_come_along() -> None:
    names = {"quickstart", "planck", "act", "so_baseline", "so_goal", "split"}
    assert set(shipped_recipes("sims")) == names
    assert set(shipped_recipes("pipelines")) == names | {"fit", "forecast", "anomaly"}
    for name in names:
        recipe = Recipe.load(name)
        assert recipe.name == name
        assert PipelineRecipe.load(name).sky_recipe() == recipe


def test_recipes_of_fits_come_along() -> None:
    fit = FitRecipe.load("fit")
    assert fit == FitRecipe.model_validate(read_yaml(fit.dump()))
    assert ForecastPlan.load("forecast").experiments == ("so_baseline", "so_goal")
    assert AnomalyRecipe.load("anomaly").fits["lcdm"].model_copy(update={"name": fit.name}).sha256() == fit.sha256()
    with pytest.raises(RecipeError, match="is no forecast"):
        ForecastPlan.load("fit")
    with pytest.raises(RecipeError, match="is a pipeline"):
        FitRecipe.load("anomaly")
    with pytest.raises(RecipeError, match="is a fit, not a pipeline: lensrec fit takes it"):
        PipelineRecipe.load("fit")
    with pytest.raises(RecipeError, match="lensrec forecast takes it"):
        PipelineRecipe.load("forecast")


def test_so_noise_is_that_of_both_frequencies_together() -> None:
    # arXiv:1808.07445: 8.0 and 10 (5.8 and 6.3) µK·arcmin at 93 and 145 GHz; the recipes give three digits
    for name, low, high in (("so_baseline", 8.0, 10.0), ("so_goal", 5.8, 6.3)):
        together = (low**-2 + high**-2) ** -0.5
        assert Recipe.load(name).instrument.noise_t == pytest.approx(together, abs=0.005)


def test_a_pipeline_changes_keys_of_its_recipe_and_overrides_come_last(tmp_path: Path) -> None:
    (tmp_path / "sims").mkdir()
    (tmp_path / "sims" / "r.yaml").write_text("sky: {nside: 64, seed: 3}")
    (tmp_path / "p.yaml").write_text("recipe: sims/r.yaml\nstages: [simulate]\nset: {sky.nside: 128, sky.a_phi: 2}\n")
    plan = PipelineRecipe.load(tmp_path / "p.yaml")
    assert plan.stages == ("simulate",)
    sky = plan.sky_recipe(["sky.a_phi=3"]).sky
    assert (sky.nside, sky.seed, sky.a_phi) == (128, 3, 3.0)


def test_a_pipeline_may_name_a_recipe_that_comes_along(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text("recipe: quickstart\n")
    assert PipelineRecipe.load(tmp_path / "p.yaml").sky_recipe() == Recipe.load("quickstart")


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("stages: [simulate]", "recipe: is missing"),
        ("recipe: quickstart\nstages: [cook]", "stages: 'cook' will not do; one of 'simulate'"),
        ("recipe: quickstart\nstagse: [simulate]", r"stagse: unknown key; did you mean stages\?"),
    ],
)
def test_a_wrong_pipeline_is_told(tmp_path: Path, text: str, match: str) -> None:
    (tmp_path / "p.yaml").write_text(text)
    with pytest.raises(RecipeError, match=match):
        PipelineRecipe.load(tmp_path / "p.yaml")

"""Recipes: read as written, complete when dumped, and each mistake named in one line with what would do."""

from itertools import pairwise
from math import pi, sqrt
from pathlib import Path

import pytest

from lensrec.notation import parse_angle, parse_noise, read_yaml, write_yaml
from lensrec.recipe import Estimator, PipelineRecipe, Recipe, RecipeError
from lensrec.recipe_files import override, shipped_recipes


def complaint(data: object) -> list[str]:
    with pytest.raises(RecipeError) as err:
        Recipe.model_validate(data)
    return str(err.value).splitlines()


# Quantities and YAML


@pytest.mark.parametrize(
    ("text", "arcmin"),
    [
        (7, 7.0),
        (1.4, 1.4),
        ("7", 7.0),
        ("7 arcmin", 7.0),
        ("1.4arcmin", 1.4),
        ("1.4'", 1.4),
        ("0.2 deg", 12.0),
        ("30 arcsec", 0.5),
        ("2 Degrees", 120.0),
        ("1e-1 deg", 6.0),
        (f"{pi / 10800} rad", 1.0),
    ],
)
def test_angles_are_read_in_arcminutes(text: object, arcmin: float) -> None:
    # a product of two rounded factors: a few units in the last place, 2e-16 each
    assert parse_angle(text) == pytest.approx(arcmin, rel=1e-15)


def test_bare_angles_are_in_the_unit_asked_for() -> None:
    assert parse_angle(2, "deg") == 2.0
    assert parse_angle("90 arcmin", "deg") == 1.5


@pytest.mark.parametrize(
    "text", ["7 parsec", "arcmin", "7 arcmin arcmin", "", True, None, float("nan"), "nan", [7], "7s"]
)
def test_what_is_no_angle_is_refused_with_an_example(text: object) -> None:
    with pytest.raises(ValueError, match=r"is not an angle; write e\.g\. '7 arcmin'"):
        parse_angle(text)


@pytest.mark.parametrize(
    "text",
    [6, "6", "6 uK arcmin", "6 µK·arcmin", "6 μK·arcmin", "6 uK*arcmin", "6uKarcmin", "6 uK-arcmin", "6e-3 mK arcmin"],
)
def test_noise_is_read_in_microkelvin_arcminutes(text: object) -> None:
    assert parse_noise(text) == pytest.approx(6.0, rel=1e-15)


def test_noise_takes_other_temperatures_and_angles() -> None:
    assert parse_noise("0.1 uK deg") == pytest.approx(6.0, rel=1e-15)
    assert parse_noise("1 K·arcmin") == 1e6


@pytest.mark.parametrize("text", ["6 uK", "6 arcmin", "6 uK parsec", "uK arcmin", False, float("inf"), None])
def test_what_is_no_noise_is_refused_with_an_example(text: object) -> None:
    with pytest.raises(ValueError, match=r"is not a noise level; write e\.g\. '6 uK arcmin'"):
        parse_noise(text)


def test_yaml_reads_numbers_as_numbers_and_words_as_words() -> None:
    text = "a: 1e-9\nb: 2.1e-9\nc: 1E+3\nd: 010\ne: on\nf: 12:30\n"
    text += "g: no\nh: true\ni: -4\nj: ~\nk:\nl: 2026-01-01\nm: .5\nn: '1'"
    assert read_yaml(text) == {
        "a": 1e-9, "b": 2.1e-9, "c": 1000.0, "d": 10.0, "e": "on", "f": "12:30", "g": "no", "h": True, "i": -4,
        "j": None, "k": None, "l": "2026-01-01", "m": 0.5, "n": "1",
    }  # fmt: skip
    assert isinstance(read_yaml("-4"), int)


def test_yaml_refuses_a_key_given_twice_and_says_where() -> None:
    with pytest.raises(ValueError, match=r"^line 4: the key 'nside' is given twice$"):
        read_yaml("sky:\n  nside: 1\n  lmax: 3\n  nside: 2\n")


@pytest.mark.parametrize("text", ["!!python/object/apply:os.getcwd []", "a: [1", "a: b: c", "? [1, 2]\n: 3"])
def test_yaml_refuses_objects_and_errors_in_one_line(text: str) -> None:
    with pytest.raises(ValueError, match=r"^[^\n]+$"):
        read_yaml(text)


def test_written_yaml_reads_back_and_has_lists_on_one_line() -> None:
    data = {"a": [1, 2.5, "x"], "b": {"c": 1e-300, "d": None, "e": "12", "f": True, "g": "on", "h": "1e-9"}}
    assert read_yaml(write_yaml(data)) == data
    assert "a: [1, 2.5, x]" in write_yaml(data)


# Defaults


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


# Mistakes


MISTAKES = [
    ({"sky": {"nsdie": 8}}, "sky.nsdie", "unknown key; did you mean sky.nside?"),
    ({"nside": 8}, "nside", "unknown key; did you mean sky.nside?"),
    ({"cosmology": {"h0": 70}}, "cosmology.h0", "unknown key; did you mean cosmology.H0?"),
    (
        {"quux": 8},
        "quux",
        "unknown key; there are name, description, cosmology, sky, instrument, mask, reconstruction, bandpowers, "
        "split, compute",
    ),
    (
        {"mask": {"quux": 8}},
        "mask.quux",
        "unknown key; there are mask.file, mask.galactic_cut, mask.apodisation, mask.kind",
    ),
    ({"instrument": {"fwhm": "7 parsec"}}, "instrument.fwhm", "'7 parsec' is not an angle; write e.g. '7 arcmin'"),
    ({"mask": {"apodisation": "1 K"}}, "mask.apodisation", "'1 K' is not an angle; write e.g. '7 deg'"),
    (
        {"instrument": {"noise_t": "6 uK"}},
        "instrument.noise_t",
        "'6 uK' is not a noise level; write e.g. '6 uK arcmin'",
    ),
    ({"instrument": {"noise_p": -1}}, "instrument.noise_p", "-1.0 will not do; at least 0"),
    (
        {"instrument": {"pixel_window": "car"}},
        "instrument.pixel_window",
        "'car' will not do; one of 'none' or 'healpix'",
    ),
    (
        {"instrument": {"lknee_t": 1000}},
        "instrument.slope_t",
        "is missing; 1/f noise needs a knee and a slope, e.g. 1000 and -3.5",
    ),
    (
        {"instrument": {"slope_p": -1}},
        "instrument.lknee_p",
        "is missing; 1/f noise needs a knee and a slope, e.g. 1000 and -3.5",
    ),
    (
        {"instrument": {"lknee_t": 9, "slope_t": 2}},
        "instrument.slope_t",
        "2 would not rise to low ℓ; a negative number, e.g. -3.5",
    ),
    ({"sky": {"nside": 500}}, "sky.nside", "500 is not a power of two; 256 or 512"),
    ({"sky": {"nside": 16384}}, "sky.nside", "16384 will not do; at most 8192"),
    ({"sky": {"nside": "many"}}, "sky.nside", "'many' will not do; a whole number"),
    ({"sky": {"seed": 0.5}}, "sky.seed", "0.5 will not do; a whole number"),
    ({"sky": {"a_phi": -0.1}}, "sky.a_phi", "-0.1 will not do; at least 0"),
    ({"sky": {"epsilon": float("nan")}}, "sky.epsilon", "nan will not do; a number"),
    ({"sky": {"epsilon": 9e-13}}, "sky.epsilon", "9e-13 will not do; at least 1e-12"),
    ({"sky": {"epsilon": 2e-3}}, "sky.epsilon", "0.002 will not do; at most 0.001"),
    ({"sky": {"precision": "half"}}, "sky.precision", "'half' will not do; one of 'double' or 'single'"),
    ({"sky": {"lensed": "maybe"}}, "sky.lensed", "'maybe' will not do; true or false"),
    (
        {"sky": {"precision": "single"}},
        "sky.epsilon",
        "1e-07 is out of reach of single precision; 1e-5 or more, or precision double",
    ),
    (
        {"sky": {"nside": 512, "lmax": 32769}},
        "sky.lmax",
        "32769 is beyond what is provided for; at most 32768",
    ),
    (
        {"sky": {"lmax": 2000, "lmax_data": 1536}},
        "sky.lmax_data",
        "1536 is more than pixels of nside 512 can carry; at most 1535, or sky.nside=1024",
    ),
    (
        {"sky": {"lmax": 800, "lmax_data": 900}},
        "sky.lmax_data",
        "900 is above the sky's own band limit; at most sky.lmax = 800",
    ),
    (
        {"reconstruction": {"lmax_t": 1536}},
        "reconstruction.lmax_t",
        "1536 is more than pixels of nside 512 can carry; at most 1305",
    ),
    (
        {"reconstruction": {"lmax_p": 1025}},
        "reconstruction.lmax_p",
        "1025 is above the data's band limit; at most 1024, or sky.lmax_data=1025",
    ),
    (
        {"reconstruction": {"lmin_t": 600, "lmax_t": 500}},
        "reconstruction.lmin_t",
        "600 is above lmax_t = 500; at most 500",
    ),
    (
        {"reconstruction": {"L_max": 2049}},
        "reconstruction.L_max",
        "2049 is beyond the sum of two CMB multipoles; at most 2048",
    ),
    ({"reconstruction": {"L_min": 50, "L_max": 40}}, "reconstruction.L_min", "50 is above L_max = 40; at most 40"),
    (
        {"reconstruction": {"estimators": ["TT", "BB"]}},
        "reconstruction.estimators",
        "unknown estimator 'BB'; there are TT, EE, TE, TB, EB, MV, GMV, TTH",
    ),
    ({"reconstruction": {"estimators": []}}, "reconstruction.estimators", "[] will not do; at least one"),
    ({"reconstruction": {"estimators": "TT,TT"}}, "reconstruction.estimators", "TT, TT names one twice; each once"),
    (
        {"sky": {"polarisation": False}, "reconstruction": {"estimators": "TT,EB"}},
        "reconstruction.estimators",
        "EB need polarisation; TT alone, or sky.polarisation=true",
    ),
    (
        {"reconstruction": {"n_bins": 5, "bin_edges": [2, 9]}},
        "reconstruction.n_bins",
        "5, but bin_edges make 1; give one of the two and set the other to null",
    ),
    (
        {"reconstruction": {"bin_edges": [9, 9, 20]}},
        "reconstruction.n_bins",
        "2 bins leave some without an L between 2 and 1024; fewer, or bin_edges that rise",
    ),
    (
        {"reconstruction": {"bin_edges": [2, 2000]}},
        "reconstruction.bin_edges",
        "2 to 2000 leave the range of L; from 2 to 1025",
    ),
    (
        {"bandpowers": {"lmax": 1025}},
        "bandpowers.lmax",
        "1025 is more than the data's pixels and band limit can carry; at most 1024",
    ),
    (
        {"bandpowers": {"lmin": 1000}},
        "bandpowers.lmin",
        "1000 leaves no band of 30 multipoles below lmax = 1024; lower lmin or width",
    ),
    (
        {"bandpowers": {"estimator": "GMV"}},
        "bandpowers.estimator",
        "GMV is not reconstructed; one of TT, EE, TE, TB, EB, MV",
    ),
    ({"split": {"L_min": 2000}}, "split.L_min", "2000 is above L_max = 1000; at most that"),
    ({"mask": {"galactic_cut": "90 deg"}}, "mask.galactic_cut", "90 deg leaves no sky; below 90 deg"),
    ({"sky": 512}, "sky", "512 stands where keys and values should; e.g. 'nside: 512'"),
    ([], "recipe", "[] stands where keys and values should; e.g. 'nside: 512'"),
    ({"cosmology": {"H0": None}}, "cosmology.H0", "None will not do; a number"),
]


@pytest.mark.parametrize(("data", "key", "rest"), MISTAKES)
def test_a_mistake_is_one_line_with_key_value_and_remedy(data: object, key: str, rest: str) -> None:
    assert complaint(data) == [f"{key}: {rest}"]


def test_single_precision_ends_just_below_one_part_in_a_hundred_thousand() -> None:
    assert len(complaint({"sky": {"precision": "single", "epsilon": 9.99e-6}})) == 1


def test_every_mistake_has_its_line() -> None:
    lines = complaint({"sky": {"nsdie": 1, "a_phi": -1}, "instrument": {"fwhm": "x"}})
    assert [line.split(":")[0] for line in lines] == ["sky.a_phi", "sky.nsdie", "instrument.fwhm"]
    lines = complaint({"sky": {"lmax": 99999}, "reconstruction": {"lmax_t": 1030, "lmax_p": 50, "lmin_p": 60}})
    assert [line.split(":")[0] for line in lines] == [
        "sky.lmax",
        "reconstruction.lmax_t",
        "reconstruction.lmin_p",
    ]


@pytest.mark.parametrize(
    "data",
    [
        {"sky": {"nside": 512, "lmax": 2048, "lmax_data": 1535}},
        {"sky": {"precision": "single", "epsilon": 1e-5}},
        {"reconstruction": {"lmin_t": 500, "lmax_t": 500, "L_max": 2048}},
        {"reconstruction": {"bin_edges": [2, 1025]}},
        {"sky": {"a_phi": 0}},
    ],
)
def test_limits_themselves_are_allowed(data: dict) -> None:
    Recipe.model_validate(data)


# Files, overrides, pipelines


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
    assert set(shipped_recipes("sims")) == set(shipped_recipes("pipelines")) == names
    for name in names:
        recipe = Recipe.load(name)
        assert recipe.name == name
        assert PipelineRecipe.load(name).sky_recipe() == recipe


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


# Maps from outside


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

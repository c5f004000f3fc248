"""Recipes that are none are refused with one line, whatever is in them, and never run anything."""

from functools import reduce

import pytest

from lensrec.notation import read_yaml
from tests.bad_input import recipe_texts, recipe_values
from tests.bad_input.judge import Case, every, nothing_computed, refused


@every(recipe_texts.texts(), least=50)
def test_text_that_is_no_recipe(case: Case) -> None:
    refused(case)


@every(recipe_texts.tags(), least=30)
def test_tags_call_nothing(case: Case) -> None:
    refused(case)


@every(recipe_values.values(), least=90)
def test_values_that_a_key_cannot_have(case: Case) -> None:
    refused(case)


@every(recipe_values.keys(), least=25)
def test_keys_that_there_are_not(case: Case) -> None:
    refused(case)


@every(recipe_values.contradictions(), least=90)
def test_values_that_do_not_go_together_or_are_out_of_reach(case: Case) -> None:
    refused(case)


@every(recipe_values.overrides(), least=30)
def test_overrides_that_mean_nothing(case: Case) -> None:
    refused(case)


@pytest.mark.parametrize(
    ("text", "data"),
    [
        ("a: &x 3000\nb: *x\n", {"a": 3000, "b": 3000}),
        ("a: &x {c: 1}\nb: [*x, *x]\n", {"a": {"c": 1}, "b": [{"c": 1}, {"c": 1}]}),
        ("a: " + "[" * 30 + "]" * 30, {"a": reduce(lambda inner, _: [inner], range(29), [])}),
        ("a: [" + "1, " * 5000 + "1]", {"a": [1] * 5001}),
        ("a: '" + "x" * 500_000 + "'", {"a": "x" * 500_000}),
    ],
    ids=["alias", "alias of keys", "depth", "length", "letters"],
)
def test_what_a_recipe_may_well_have_is_read(text: str, data: object) -> None:
    assert read_yaml(text) == data


@pytest.mark.parametrize(("ombh2", "tau"), [(0.02237, 0.8), (0.005, 0.2), (0.001, 0.04)])
def test_an_optical_depth_at_which_camb_would_end_the_process_is_refused_before(ombh2: float, tau: float) -> None:
    """Its Fortran stops with status 0 there, so that a command would be over, with nothing said and nothing made."""
    from lensrec.theory.boltzmann import camb_spectra

    with nothing_computed(), pytest.raises(ValueError, match=rf"tau = {tau} is more than the electrons of ombh2"):
        camb_spectra(50, cosmology={"ombh2": ombh2, "tau": tau})

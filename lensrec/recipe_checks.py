"""What in a recipe cannot work, said in one line for each key: the key, its value, and what would do."""

import difflib
import re
from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from lensrec.notation import shown, shown_key

if TYPE_CHECKING:
    from pydantic import BaseModel, ValidationError

    from lensrec.recipe import Instrument, Recipe, Reconstruction, Sky


HIGHEST_LMAX = 32768

MOST_LINES = 100
"""Mistakes that are told; who makes more of them has another file in mind."""

LONGEST_KEY = 80

_KIND = re.compile(r"constrained-\w+|literal\[.*\]|float|int")
"""What pydantic puts behind a key that takes values of several kinds."""


def invertible_lmax(nside: int) -> int:
    """The highest multipole that can be had back from a map of HEALPix pixels, 2.55 nside.

    With the iterations of `lensrec.sphere.sht.analysis` the amplitude of a_ℓm is in error by 1e-3 at 2.5 nside, by
    1 % at 2.55 nside and by 15 % at 2.8 nside, where the rings near the poles have too few pixels for it.
    """
    return 51 * nside // 20


def problems(recipe: "Recipe") -> Iterator[str]:
    """Lines on values that are each allowed, but not beside each other."""
    lines = [*_sky(recipe.sky), *_instrument(recipe.instrument)]
    if (recipe.mask.galactic_cut or 0.0) >= 90.0:
        lines.append(f"mask.galactic_cut: {recipe.mask.galactic_cut:g} deg leaves no sky; below 90 deg")
    lines += [*_multipoles(recipe.reconstruction, recipe.sky), *_lensing_range(recipe.reconstruction)]
    lines += [*_mean_field(recipe.reconstruction), *_estimators(recipe.reconstruction, recipe.sky)]
    # Defaults of band powers follow the maps and the estimators: what is wrong with those is said once.
    yield from lines or _bandpowers(recipe)


def explain(error: "ValidationError", model: "type[BaseModel]") -> list[str]:
    """A line for each thing that pydantic found wrong in a dictionary meant for `model`."""
    lines = []
    said: set[str] = set()
    for item in error.errors()[:MOST_LINES]:
        words = [part for part in item["loc"] if isinstance(part, str)]
        path = ".".join(word for word in words if not _KIND.fullmatch(word))
        if len(words) > path.count(".") + 1 and path in said:
            continue  # a key that takes either of two kinds is wrong once
        said.add(path)
        kind, value, context = item["type"], shown(item["input"]), item.get("ctx", {})
        key = shown_key(path)
        if kind == "extra_forbidden":
            lines.append(f"{key}: unknown key; {_suggest(path[:LONGEST_KEY], model)}")
        elif kind == "missing":
            lines.append(f"{key}: is missing")
        elif kind == "value_error":
            lines += [f"{key}: {line}" if key else line for line in str(context["error"]).split("\n")]
        elif kind == "enum":
            lines.append(f"{key}: unknown estimator {value}; there are {', '.join(_members(context))}")
        elif kind in ("model_type", "model_attributes_type", "dict_type"):
            lines.append(f"{key or 'recipe'}: {value} stands where keys and values should; e.g. 'nside: 512'")
        else:
            lines.append(f"{key or 'recipe'}: {value} will not do; {_wanted(kind, context) or item['msg']}")
    return lines


def _wanted(kind: str, context: dict[str, Any]) -> str:
    if kind == "greater_than_equal":
        return f"at least {_number(context['ge'])}"
    if kind == "greater_than":
        return f"more than {_number(context['gt'])}"
    if kind == "less_than_equal":
        return f"at most {_number(context['le'])}"
    if kind == "literal_error":
        return f"one of {context['expected']}"
    if kind.startswith("int_"):
        return "a whole number"
    if kind.startswith(("float_", "finite_number")):
        return "a number"
    if kind.startswith("bool_"):
        return "true or false"
    if kind in ("tuple_type", "too_short"):
        return "a list such as [TT, EB]" if kind == "tuple_type" else "at least one"
    return "text" if kind in ("string_type", "path_type") else ""


def _number(bound: float) -> str:
    return str(bound) if isinstance(bound, int) else f"{bound:g}"


def _members(context: dict[str, Any]) -> list[str]:
    return [word.strip("' ") for word in context["expected"].replace(" or ", ", ").split(",")]


def _suggest(key: str, model: "type[BaseModel]") -> str:
    known = _keys(model)
    *section, last = key.split(".")
    siblings = [k for k in known if k.split(".")[:-1] == section]
    lowered = {k.lower(): k for k in known}
    by_last = {k.split(".")[-1].lower(): k for k in reversed(known)}
    near = difflib.get_close_matches(key.lower(), lowered, 1, 0.75)
    if near:
        return f"did you mean {lowered[near[0]]}?"
    near = difflib.get_close_matches(last.lower(), by_last, 1, 0.75)
    if near:
        return f"did you mean {by_last[near[0]]}?"
    return f"there are {', '.join(siblings)}"


def _keys(model: "type[BaseModel]", prefix: str = "") -> list[str]:
    out = []
    for name, field in model.model_fields.items():
        out.append(prefix + (field.alias or name))
        if hasattr(field.annotation, "model_fields"):
            out += _keys(field.annotation, f"{prefix}{name}.")  # type: ignore[arg-type]
    return out


def _sky(sky: "Sky") -> Iterator[str]:
    if sky.nside & (sky.nside - 1):
        below = 1 << (sky.nside.bit_length() - 1)
        yield f"sky.nside: {sky.nside} is not a power of two; {below} or {2 * below}"
        return
    if sky.lmax_data > 3 * sky.nside - 1:
        yield (
            f"sky.lmax_data: {sky.lmax_data} is more than pixels of nside {sky.nside} can carry; "
            f"at most {3 * sky.nside - 1}, or sky.nside={_nside_for(sky.lmax_data // 3 + 1)}"
        )
    if sky.lmax > HIGHEST_LMAX:
        yield f"sky.lmax: {sky.lmax} is beyond what is provided for; at most {HIGHEST_LMAX}"
    if sky.lmax_data > sky.lmax:
        yield f"sky.lmax_data: {sky.lmax_data} is above the sky's own band limit; at most sky.lmax = {sky.lmax}"
    if sky.precision == "single" and sky.epsilon < 1e-5:
        yield f"sky.epsilon: {sky.epsilon:g} is out of reach of single precision; 1e-5 or more, or precision double"


def _nside_for(at_least: int) -> int:
    return 1 << (at_least - 1).bit_length()


def _instrument(instrument: "Instrument") -> Iterator[str]:
    for field in "tp":
        knee, slope = getattr(instrument, f"lknee_{field}"), getattr(instrument, f"slope_{field}")
        if (knee is None) != (slope is None):
            missing = "slope" if slope is None else "lknee"
            yield f"instrument.{missing}_{field}: is missing; 1/f noise needs a knee and a slope, e.g. 1000 and -3.5"
        elif slope is not None and slope >= 0:
            yield f"instrument.slope_{field}: {slope:g} would not rise to low ℓ; a negative number, e.g. -3.5"


def _multipoles(rec: "Reconstruction", sky: "Sky") -> Iterator[str]:
    for field in "tp":
        low, high = getattr(rec, f"lmin_{field}"), getattr(rec, f"lmax_{field}")
        if low > high:
            yield f"reconstruction.lmin_{field}: {low} is above lmax_{field} = {high}; at most {high}"
        if high > invertible_lmax(sky.nside):
            yield (
                f"reconstruction.lmax_{field}: {high} is more than pixels of nside {sky.nside} can carry; "
                f"at most {invertible_lmax(sky.nside)}"
            )
        elif high > sky.lmax_data:
            yield (
                f"reconstruction.lmax_{field}: {high} is above the data's band limit; at most {sky.lmax_data}, "
                f"or sky.lmax_data={high}"
            )


def _lensing_range(rec: "Reconstruction") -> Iterator[str]:
    reach = 2 * max(rec.lmax_t, rec.lmax_p)
    if rec.L_min > rec.L_max:
        yield f"reconstruction.L_min: {rec.L_min} is above L_max = {rec.L_max}; at most {rec.L_max}"
        return
    if rec.L_max > reach:
        yield f"reconstruction.L_max: {rec.L_max} is beyond the sum of two CMB multipoles; at most {reach}"
    edges = rec.bin_edges
    if len(edges) - 1 != rec.n_bins:
        yield (
            f"reconstruction.n_bins: {rec.n_bins}, but bin_edges make {len(edges) - 1}; "
            "give one of the two and set the other to null"
        )
    elif any(b <= a for a, b in pairwise(edges)):
        yield too_many_bins(rec)
    elif edges[0] < rec.L_min or edges[-1] > rec.L_max + 1:
        yield (
            f"reconstruction.bin_edges: {edges[0]} to {edges[-1]} leave the range of L; "
            f"from {rec.L_min} to {rec.L_max + 1}"
        )


def too_many_bins(rec: "Reconstruction") -> str:
    """A line that says so."""
    return (
        f"reconstruction.n_bins: {rec.n_bins} bins leave some without an L between {rec.L_min} and {rec.L_max}; "
        "fewer, or bin_edges that rise"
    )


def _mean_field(rec: "Reconstruction") -> Iterator[str]:
    if rec.rdn0 == "simulations" and not rec.mean_field_sims:
        yield (
            "reconstruction.rdn0: simulations, but there are none; mean_field_sims=40, say, or rdn0=analytic, which "
            "needs none"
        )
    if 0 < rec.mean_field_sims < 4:
        yield (
            f"reconstruction.mean_field_sims: {rec.mean_field_sims} are too few for two halves with a spread; "
            "0 for none, or at least 4, better 40"
        )


def _estimators(rec: "Reconstruction", sky: "Sky") -> Iterator[str]:
    names = [str(e) for e in rec.estimators]
    if len(set(names)) < len(names):
        yield f"reconstruction.estimators: {', '.join(names)} names one twice; each once"
    if "TTH" in names and not rec.harden:
        yield "reconstruction.harden: is empty, and TTH is hardened against nothing; mask, noise or sources"
    need = [n for n in names if n not in ("TT", "TTH")]
    if need and not sky.polarisation:
        yield f"reconstruction.estimators: {', '.join(need)} need polarisation; TT alone, or sky.polarisation=true"


def _bandpowers(recipe: "Recipe") -> Iterator[str]:
    asked, names = recipe.bandpowers, [str(e) for e in recipe.reconstruction.estimators]
    top = min(recipe.sky.lmax_data, invertible_lmax(recipe.sky.nside))
    if asked.lmax > top:
        yield f"bandpowers.lmax: {asked.lmax} is more than the data's pixels and band limit can carry; at most {top}"
    if asked.lmin + asked.width > asked.lmax + 1:
        yield (
            f"bandpowers.lmin: {asked.lmin} leaves no band of {asked.width} multipoles below lmax = {asked.lmax}; "
            "lower lmin or width"
        )
    if asked.estimator not in names:
        yield f"bandpowers.estimator: {asked.estimator} is not reconstructed; one of {', '.join(names)}"
    if need := [key for key in asked.spectra if key != "TT" and not recipe.sky.polarisation]:
        yield f"bandpowers.spectra: {', '.join(need)} need polarisation; TT alone, or sky.polarisation=true"
    if recipe.split.L_min > recipe.split.L_max:
        yield f"split.L_min: {recipe.split.L_min} is above L_max = {recipe.split.L_max}; at most that"

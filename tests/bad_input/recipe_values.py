"""Recipes of which one thing is wrong: a value, a key, two that do not go together, or what --set says."""

import json
from collections.abc import Iterator
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

import yaml
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from pydantic import BaseModel

from lensrec.recipe import Recipe
from lensrec.recipe_fit import FitRecipe
from tests.bad_input.judge import Case
from tests.bad_input.recipe_texts import COMMANDS, ENDLESS, FILE, STARTS, of_bytes


def leaves(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, Any, list[Any]]]:
    """Every key of a kind of recipe, with its type and what pydantic checks beside that."""
    for name, field in model.model_fields.items():
        key = prefix + (field.alias or name)
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from leaves(field.annotation, f"{key}.")
        else:
            yield key, field.annotation, field.metadata


_NO_NUMBERS = st.one_of(
    st.sampled_from([".nan", ".inf", "-.inf", "1e999", "-1e999", "[]", "{}", "[1]", "{a: 1}", "''", "0x10", "'1,5'"]),
    st.sampled_from(
        ["many", "1 parsec", "one", "++1", "1e", "e5", "--3", "0b1", "½", "∞", "٣ parsec", "1:30", "1 000"]
    ),
    st.text("abcdefXYZ /._-", min_size=2, max_size=12).filter(lambda t: not _numberlike(t)).map(json.dumps),
)
_ENDLESS = st.sampled_from([ENDLESS, f"-{ENDLESS}", "1" + "0" * 400])


def _numberlike(text: str) -> bool:
    return text.strip().lower().lstrip("+-") in ("e", "inf", "nan", "infinity", "")


def wrong_values(annotation: Any, metadata: list[Any]) -> SearchStrategy[str]:
    """YAML of values that a key of this type refuses, whatever the other keys say."""
    options = [a for a in get_args(annotation) if a is not NoneType] if _is_union(annotation) else [annotation]
    kinds = {get_origin(option) or option for option in options}
    if kinds & {int, float}:
        wrong = [_NO_NUMBERS, _ENDLESS]
        bounds = [m for m in metadata if getattr(m, "ge", None) is not None or getattr(m, "gt", None) is not None]
        if bounds:
            wrong.append(
                st.floats(-1e12, -1e-3, allow_nan=False).map(lambda v: repr(int(v) - 1) if int in kinds else repr(v))
            )
        if int in kinds:
            wrong.append(st.floats(0.01, 0.99).map(lambda v: repr(3 + round(v, 3))))
        if Literal in kinds:
            return st.one_of(*wrong).filter(lambda v: v.strip('"') != "free")
        return st.one_of(*wrong)
    if kinds == {bool}:
        return st.sampled_from(["maybe", "2", "-1", "[]", "{}", ".nan", "''", "[true]", "0.5", "tru", "ja"])
    if kinds == {Literal}:
        return st.one_of(
            st.sampled_from(["[]", "{}", "3", ".nan", "true", "''", "[none]"]),
            st.text("abcdefghij", min_size=8, max_size=12).map(json.dumps),
        )
    if kinds == {tuple}:
        return st.sampled_from(["3", "{a: 1}", "[[]]", "[{}]", "[.nan]", "true", "[null]", "[-1, {}]"])
    if kinds == {dict}:
        return st.sampled_from(["3", "[]", "text", "[{a: 1}]", "true"])
    return st.sampled_from(["[]", "{}", "[a]", "{a: b}"])  # text, and names of files


def _is_union(annotation: Any) -> bool:
    return get_origin(annotation) in (Union, UnionType)


def values() -> SearchStrategy[Case]:
    """One key of a good recipe with a value that it cannot have, in the file or on the command line."""
    keys = [(command, *leaf) for command, model in COMMANDS.items() for leaf in leaves(model)]

    def with_value(leaf: tuple[str, str, Any, list[Any]]) -> SearchStrategy[Case]:
        command, key, annotation, metadata = leaf
        where = st.sampled_from(["file", "set"] if command != "run" else ["file"])
        values_ = wrong_values(annotation, metadata)
        if key.endswith("seed"):
            values_ = values_.filter(lambda value: not value.startswith("1000"))  # a seed may be of any size
        return st.builds(lambda value, at: wrong(command, key, value, at), values_, where)

    return st.sampled_from(keys).flatmap(with_value)


def wrong(command: str, key: str, value: str, at: str = "file") -> Case:
    """A good recipe in which one key has another value, given as YAML."""

    def make(folder: Path) -> list[object]:
        start = {k: v for k, v in STARTS[command].items() if k != key}
        if at == "set":
            (folder / FILE).write_text(yaml.safe_dump(start))
            return [command, folder / FILE, "--out", folder / "x", "--set", f"{key}={value}"]
        (folder / FILE).write_text(_with(start, key, value), encoding="utf-8")
        return [command, folder / FILE, "--out", folder / "x"]

    short = value if len(value) < 50 else f"{value[:8]}… of {len(value)} letters"
    return Case(f"{command}: {key}={short} by {at}", make, (key, key.split(".")[-1], FILE))


def _with(start: dict[str, Any], key: str, value: str) -> str:
    """YAML of plain data, with a dotted key whose value is given as YAML already."""
    section, _, last = key.rpartition(".")
    data = {k: dict(v) if isinstance(v, dict) else v for k, v in start.items()}
    if not section:
        return f"{yaml.safe_dump(data) if data else ''}{last}: {value}\n"
    own = data.pop(section, {})
    own.pop(last, None)
    inside = ", ".join([*(f"{k}: {json.dumps(v)}" for k, v in own.items()), f"{last}: {value}"])
    return f"{yaml.safe_dump(data) if data else ''}{section}: {{{inside}}}\n"


# ---------------------------------------------------------------- keys that there are not


def keys() -> SearchStrategy[Case]:
    """Keys that no recipe has, with letters of any kind in them."""
    letters = st.text(min_size=1, max_size=20).filter(lambda t: max(t) < "\ud800" or max(t) > "\udfff")
    odd = st.sampled_from(
        [
            "../../etc",
            "a/b",
            "\x00",
            "a\nb",
            "\x1b[2J",
            "\u2028",
            "__class__",
            "__init__",
            "model_config",
            "model_fields",
            "_abc_impl",
            "{0}",
            "%s",
            "$(id)",
            "sky.nside",
            "",
            " ",
            "ＳＫＹ",
            "nside\u200b",
            "\r",
            "\x85",
            "a\x0bb",
        ]
    )
    section = st.sampled_from(["", "sky", "instrument", "mask", "reconstruction", "cosmology", "bandpowers", "split"])
    known = {key.split(".")[-1] for key, *_ in leaves(Recipe)} | set(COMMANDS) | set(Recipe.model_fields)

    def case(key: str, section: str, command: str) -> Case:
        data = {section: {key: 1}} if section and command == "simulate" else {key: 1}
        content = json.dumps({**STARTS[command], **data}, ensure_ascii=True).encode()
        return of_bytes(f"key {key!r} in {section!r}", content, (FILE, "unknown key", "key"), command)

    return st.builds(
        case,
        st.one_of(odd, letters).filter(lambda k: k not in known and k not in FitRecipe.model_fields),
        section,
        st.sampled_from(["simulate", "run", "fit", "forecast"]),
    )


# ---------------------------------------------------------------- values that do not go together, or are out of reach


def contradictions() -> SearchStrategy[Case]:
    """Keys of which each is allowed, but not beside the other; and numbers that no machine can serve."""
    pairs = st.one_of(
        st.integers(3, 30).flatmap(
            lambda high: st.integers(high + 1, high + 400).map(
                lambda low: ("simulate", {"reconstruction": {"lmin_t": low, "lmax_t": high}}, "lmin_t")
            )
        ),
        st.integers(3, 30).map(lambda n: ("simulate", {"reconstruction": {"L_min": n + 1, "L_max": n}}, "L_min")),
        st.integers(2, 8191).filter(lambda n: n & (n - 1)).map(lambda n: ("simulate", {"sky": {"nside": n}}, "nside")),
        st.integers(8193, 10**30).map(lambda n: ("simulate", {"sky": {"nside": n}}, "nside")),
        st.integers(32769, 10**40).map(lambda n: ("simulate", {"sky": {"lmax": n}}, "lmax")),
        st.integers(48, 10**12).map(lambda n: ("simulate", {"sky": {"lmax_data": n}}, "lmax_data")),
        st.integers(41, 10**12).map(lambda n: ("simulate", {"reconstruction": {"lmax_t": n}}, "lmax_t")),
        st.integers(200, 10**12).map(lambda n: ("simulate", {"reconstruction": {"L_max": n}}, "L_max")),
        st.integers(200, 10**15).map(lambda n: ("simulate", {"reconstruction": {"n_bins": n}}, "n_bins")),
        st.integers(10**7, 10**30).map(lambda n: ("simulate", {"sky": {"n_sims": n}}, "n_sims")),
        st.integers(10**7, 10**30).map(
            lambda n: ("simulate", {"reconstruction": {"mean_field_sims": n}}, "mean_field_sims")
        ),
        st.integers(10**7, 10**30).map(
            lambda n: ("simulate", {"reconstruction": {"response_sims": n}}, "response_sims")
        ),
        st.integers(1, 3).map(lambda n: ("simulate", {"reconstruction": {"mean_field_sims": n}}, "mean_field_sims")),
        st.integers(10**5, 10**30).map(lambda n: ("simulate", {"bandpowers": {"splits": n}}, "splits")),
        st.integers(100, 10**12).map(lambda n: ("simulate", {"bandpowers": {"width": n}}, "bandpowers")),
        st.lists(st.integers(0, 60), min_size=2, max_size=5)
        .filter(lambda edges: sorted(set(edges)) != edges)
        .map(lambda edges: ("simulate", {"reconstruction": {"bin_edges": edges}}, "reconstruction")),
        st.floats(90.0, 1e6).map(lambda c: ("simulate", {"mask": {"galactic_cut": c}}, "galactic_cut")),
        st.floats(181.0, 1e300).map(lambda c: ("simulate", {"mask": {"apodisation": c}}, "apodisation")),
        st.floats(10801.0, 1e300).map(lambda c: ("simulate", {"instrument": {"fwhm": c}}, "fwhm")),
        st.floats(1e9, 1e300).map(lambda c: ("simulate", {"instrument": {"noise_t": c}}, "noise_t")),
        st.floats(0.0, 50.0).map(lambda c: ("simulate", {"instrument": {"lknee_t": 9, "slope_t": c}}, "slope_t")),
        st.floats(-1e300, -1e3).map(lambda c: ("simulate", {"instrument": {"lknee_t": 9, "slope_t": c}}, "slope_t")),
        st.floats(1e3, 1e300).map(lambda c: ("simulate", {"sky": {"a_phi": c}}, "a_phi")),
        st.sampled_from(
            [
                ("H0", 1e-300),
                ("H0", 1e6),
                ("ombh2", 1e9),
                ("ombh2", 1e-30),
                ("omch2", 1e9),
                ("mnu", 1e9),
                ("omk", 1e9),
                ("omk", -1e9),
                ("omk", -1.0),
                ("tau", 1e9),
                ("tau", 50.0),
                ("As", 1e9),
                ("As", 1e-300),
                ("ns", 1e9),
                ("ns", -1e9),
                ("lens_potential_accuracy", 1e9),
                ("lens_potential_accuracy", 1e300),
                ("H0", 5.0),
                ("omch2", 50.0),
                ("mnu", 90.0),
            ]
        ).map(lambda pair: ("simulate", {"cosmology": {pair[0]: pair[1]}}, f"cosmology.{pair[0]}")),
        st.sampled_from(["nohits.fits", "/dev/null", ".", "/", "~", "a\x00b", "//", "x" * 5000]).map(
            lambda name: ("simulate", {"instrument": {"hits": name}}, "hits")
        ),
        st.sampled_from(["nomask.fits", "/dev/null", ".", "/", "~", "a\x00b", "//", "x" * 5000]).map(
            lambda name: ("simulate", {"mask": {"file": name}}, "mask")
        ),
        st.sampled_from(["a\x00b", "a\nb", "\x1b[2J", "\u2028", "x" * 5000, "\x07", "a\rb"]).map(
            lambda name: ("simulate", {"name": name}, "name")
        ),
        st.integers(10**9, 10**30).map(lambda n: ("fit", {"sampler": {"kind": "importance", "draws": n}}, "draws")),
        st.integers(10**12, 10**30).map(lambda n: ("fit", {"sampler": {"max_samples": n}}, "max_samples")),
        st.sampled_from(
            [
                ("fit", {"data": ["planck2018"]}, "data"),
                ("fit", {"data": ["compressed_cmb", "compressed_cmb"]}, "data"),
                ("fit", {"data": ["compressed_cmb", "planck2018_plik_lite"]}, "data"),
                ("fit", {"data": ["desi_dr2_bao:../../x"]}, "data"),
                ("fit", {"data": ["planck_pr4_lensing:../../x"]}, "planck_pr4_lensing"),
                ("fit", {"data": ["gone.sacc.fits"]}, "gone.sacc.fits"),
                ("fit", {"data": ["a\x00b.fits"]}, "fits"),
                ("fit", {"data": ["../" * 50 + "gone.fits"]}, "gone.fits"),
                ("fit", {"data": [".fits"]}, ".fits"),
                ("fit", {"data": []}, "data"),
                ("fit", {"model": "w0wacdm"}, "model"),
                ("fit", {"transition": 3.0}, "transition"),
                ("fit", {"neutrinos": {"low": 1.0, "high": 0.5}}, "low"),
                ("fit", {"neutrinos": {"definition": "physical", "low": -0.1}}, "low"),
                ("fit", {"neutrinos": {"definition": "lensing"}}, "neutrinos.definition"),
                ("fit", {"neutrinos": {"hierarchy": "normal"}}, "hierarchy"),
                (
                    "fit",
                    {"neutrinos": {"definition": "physical", "hierarchy": "inverted", "high": 0.01}},
                    "neutrinos.high",
                ),
                ("fit", {"A_L_TTTEEE": "free"}, "A_L_TTTEEE"),
                ("fit", {"A_L_phiphi": "free"}, "A_L_phiphi"),
                ("fit", {"recipe": "quickstart"}, FILE),
                ("fit", {"fits": {}}, FILE),
                ("forecast", {"experiments": ["cmb_s5"]}, "experiments"),
                ("forecast", {"experiments": ["../../planck"]}, "experiments"),
                ("forecast", {"models": ["lcdm"]}, "models"),
                ("forecast", {"tau_priors": ["wmap"]}, "tau_priors"),
                ("forecast", {"bao": "boss"}, "bao"),
                ("forecast", {"lmax": 10**9}, "lmax"),
                ("forecast", {"lmax": 2}, "lmax"),
                ("forecast", {"so_noise": "gone"}, "gone"),
                ("forecast", {"so_noise": "a\x00b"}, "so_noise"),
                ("forecast", {"lens_potential_accuracy": 1e300}, "lens_potential_accuracy"),
                ("forecast", {"data": ["compressed_cmb"]}, FILE),
                ("run", {"recipe": "nothing"}, "nothing"),
                ("run", {"recipe": FILE}, "recipe"),
                ("run", {"recipe": "."}, "recipe"),
                ("run", {"recipe": "/dev/null"}, "/dev/null"),
                ("run", {"recipe": "a\x00b"}, "recipe"),
                ("run", {"recipe": "../" * 60}, "recipe"),
                ("run", {"stages": ["simulate", "rm -rf"]}, "stages"),
                ("run", {"stages": ["__import__"]}, "stages"),
                ("run", {"set": {"sky.nside": 100}}, "sky.nside"),
                ("run", {"set": {"sky": 3}}, "sky"),
                ("run", {"set": {"sky.nside.deep": 3}}, "nside"),
                ("run", {"set": {"": 3}}, "set"),
                ("run", {"set": {".": 3}}, "unknown key"),
                ("run", {"set": {"name.x": 3}}, "name"),
                ("run", {"set": {"__class__": 3}}, "__class__"),
                ("run", {"set": {"mask.file": "gone.fits"}}, "gone.fits"),
                ("run", {"data": ["x"]}, "data"),
                ("run", {"fits": {}}, "fits"),
                ("run", {"fits": {"a/b": {}}}, "fits"),
                ("run", {"fits": {"../../up": {"data": ["desi_dr2_bao"]}}}, "fits"),
                ("run", {"fits": {"..": {"data": ["desi_dr2_bao"]}}}, "fits"),
                ("run", {"fits": {"a\x00b": {"data": ["desi_dr2_bao"]}}}, "fits"),
                ("run", {"fits": {"": {"data": ["desi_dr2_bao"]}}}, "fits"),
                ("run", {"fits": {"x" * 300: {"data": ["desi_dr2_bao"]}}}, "fits"),
                ("run", {"fits": {"a": 3}}, "fits.a"),
                ("run", {"fits": {"a": {"model": "none"}}}, "fits.a"),
                ("run", {"fits": 3}, "fits"),
                ("run", {"fits": {"a": {}}, "base": 3}, "base"),
                ("run", {"fits": {"a": {}}, "forecast": {"models": ["lcdm"]}}, "models"),
                ("run", {"fits": {"a": {}}, "forecast": 3}, "forecast"),
            ]
        ),
    )

    def case(of: tuple[str, dict[str, Any], str]) -> Case:
        command, data, key = of
        whole = {**STARTS[command], **data}
        if "fits" in data:
            whole = data
        if command == "simulate" and "sky" in data:
            whole["sky"] = {**STARTS["simulate"]["sky"], **data["sky"]}
        content = json.dumps(whole).encode()
        named = (key.split(".")[-1], FILE)
        short = json.dumps(data)
        return of_bytes(short if len(short) < 200 else short[:60] + f"… {len(short)}", content, named, command)

    return pairs.map(case)


# ---------------------------------------------------------------- --set


def overrides() -> SearchStrategy[Case]:
    """What --set cannot mean."""
    texts_ = st.one_of(
        st.sampled_from(
            [
                "",
                "=",
                "=3",
                " =3",
                "sky",
                "sky.nside",
                "sky.nside==16",
                "sky..nside=3",
                ".=1",
                "..=1",
                "sky.=1",
                ".sky=1",
                "sky.nside.x=1",
                "name.x=1",
                "sky=3",
                "sky=[]",
                "sky=",
                "sky.nside={",
                "sky.nside=[",
                "sky.nside=!!python/name:os.system",
                "sky.nside=*a",
                "sky.nside=&a [*a]",
                "__class__=1",
                "sky.__class__=1",
                "model_config=1",
                "mask.file=gone.fits",
                "mask.file=[",
                "mask.file={}",
                "instrument.hits=gone.fits",
                "instrument.hits=[]",
                "sky.nside=1\n2",
                "mask=/etc/passwd",
                "compute.backend=gpu",
                "compute=3",
                "recipe=other",
                "set.x=1",
                "sky.nside=${HOME}",
                "sky.nside=$(id)",
                "sky.nside=" + "[" * 2000,
                "sky.nside=" + "[" * 200_000,
                "sky.nside=" + "1" * 5000,
                "a." * 5000 + "b=1",
                "sky.nside=" + "x" * 100_000,
                "x" * 100_000 + "=1",
            ]
        ),
        st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=30).filter(
            lambda t: not t.startswith("-")
        ),
    )

    def case(text: str, command: str) -> Case:
        def make(folder: Path) -> list[object]:
            (folder / FILE).write_text(yaml.safe_dump(STARTS[command]))
            return [command, folder / FILE, "--out", folder / "x", f"--set={text}"]

        short = text if len(text) < 60 else f"{text[:20]}… of {len(text)} letters"
        key = text.partition("=")[0].strip()
        return Case(
            f"{command}: --set {short!r}",
            make,
            (key.split(".")[0][:20] or "sets nothing", "sets nothing", "key", "nside"),
        )

    return st.builds(case, texts_, st.sampled_from(["simulate", "fit", "forecast"]))

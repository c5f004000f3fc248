"""Recipes that are none: text that is no YAML, YAML that is no recipe, tags that would run something, and bombs."""

from pathlib import Path
from typing import Any

import yaml
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from lensrec.recipe import PipelineRecipe, Recipe
from lensrec.recipe_fit import FitRecipe
from lensrec.recipe_forecast import ForecastPlan
from tests.bad_input.judge import Case

COMMANDS = {"simulate": Recipe, "run": PipelineRecipe, "fit": FitRecipe, "forecast": ForecastPlan}
"""Commands that take a recipe, and what kind."""

STARTS: dict[str, dict[str, Any]] = {
    "simulate": {"sky": {"nside": 16}},
    "run": {"recipe": "quickstart"},
    "fit": {"data": ["desi_dr2_bao", "compressed_cmb"]},
    "forecast": {"experiments": ["planck"]},
}
"""A good recipe of each kind, into which one bad thing is put."""

FILE = "bad.yaml"
ENDLESS = "9" * 5000


def of_bytes(about: str, content: bytes, named: tuple[str, ...] = (FILE,), command: str = "simulate") -> Case:
    """A file of some bytes, given to a command as its recipe."""

    def make(folder: Path) -> list[object]:
        (folder / FILE).write_bytes(content)
        if command == "inspect":
            return ["inspect", folder / FILE]
        return [command, folder / FILE, "--out", folder / "x"]

    return Case(f"{command}: {about}", make, named)


# ---------------------------------------------------------------- text that is no recipe

_TAGS = (
    "!!python/object/apply:os.system",
    "!!python/object/new:subprocess.Popen",
    "!!python/object/apply:builtins.eval",
    "!!python/object/apply:builtins.exec",
    "!!python/name:os.system",
    "!!python/module:antigravity",
    "!!python/object:lensrec.recipe.Recipe",
    "!!python/tuple",
    "!!python/bytes",
    "!mine",
    "!<tag:example.org,2000:thing>",
    "tag:yaml.org,2002:python/object/apply:os.system",
)
_TOUCH = '["touch {}"]'


def tags() -> SearchStrategy[Case]:
    """Tags that ask YAML to call something; if one did, a file PWNED would lie in the folder, which is looked at."""

    def case(tag: str, where: str, argument: str, command: str) -> Case:
        def make(folder: Path) -> list[object]:
            touch = folder / "PWNED"
            call = {
                "list": f'["touch {touch}"]',
                "text": f'"open({str(touch)!r}, chr(119))"',
                "keys": f"{{args: [touch {touch}]}}",
                "nothing": "",
            }[argument]
            value = f"{tag} {call}" if tag.startswith("!") else f"!<{tag}> {call}"
            text = {
                "whole": value,
                "value": f"sky: {value}",
                "deep": f"sky: {{nside: {value}}}" if argument != "nothing" else f"sky:\n  nside: {value}\n",
                "key": f"? {value}\n: 1",
            }[where]
            (folder / FILE).write_text(text)
            return [command, folder / FILE, *(() if command == "inspect" else ("--out", folder / "x"))]

        return Case(f"{command}: {where} {tag} of {argument}", make, (FILE,))

    return st.builds(
        case,
        st.sampled_from(_TAGS),
        st.sampled_from(["whole", "value", "deep", "key"]),
        st.sampled_from(["list", "text", "keys", "nothing"]),
        st.sampled_from(["simulate", "run", "fit", "forecast", "inspect"]),
    )


def texts() -> SearchStrategy[Case]:
    """Bytes and letters of any kind, of which none makes a mapping; and YAML cut, doubled or broken."""
    anything = st.one_of(
        st.binary(min_size=1, max_size=200),
        st.text(min_size=1, max_size=80).map(lambda text: text.encode("utf-8", "surrogatepass")),
        st.sampled_from(
            [
                b"sky: {nside: 16",
                b"sky: [1, 2",
                b"sky: {nside: 16}}\n",
                b"sky:\n nside: 16\n  lmax: 3\n",
                b"sky: {nside: 16}\n---\nsky: {nside: 32}\n",
                b"%YAML 3.0\n---\nsky: {}\n",
                b"sky: {nside: 16}\nsky: {nside: 16}\n",
                b"sky: {nside: 16, nside: 32}\n",
                b"? [a, b]\n: 1\n",
                b"? {a: b}\n: 1\n",
                b"*nothing\n",
                b"sky: *nothing\n",
                b"sky: &a {nside: *a}\n",
                b"&a [*a]\n",
                b"&a {a: *a}\n",
                b"a: &x 1\nb: &x [*x]\n",
                b"<<: {sky: {nside: 16}}\n",
                b"sky: {<<: {nside: 16}}\n",
                b"'unclosed: 1\n",
                b'"\\xZZ": 1\n',
                b'"\\ud800": 1\n',
                b"name: a\x00b\n",
                b"\xff\xfename: a\n",
                "name: a".encode("utf-16"),
                b"\xff\xfe" + "name: [".encode("utf-16-le"),
                "näme: 1\n".encode("latin-1"),
                b"sky: !!binary notbase64\n",
                b"sky: !!timestamp maybe\n",
                b"sky: !!int many\n",
                b"sky: !!float []\n",
                b"sky: {nside: !!int ''}\n",
                b"sky: {nside: !!int 0x}\n",
                b"sky: {nside: !!int '1:90'}\n",
                b"sky: {nside: !!float ''}\n",
                b"sky: {lensed: !!bool maybe}\n",
                b"sky: !!map [1, 2]\n",
                b"sky: !!omap {a: 1}\n",
                b"sky: !!set [1]\n",
                b"!!set {a, b}\n",
                b"!!omap [{a: 1}, {b: 2}]\n",
                b"!!pairs [{a: 1}]\n",
                b"2024-01-01: {}\n",
                b"null: 1\n",
                b"1: 2\n",
                b"1.5: 2\n",
                b"true: 2\n",
                b".nan: 2\n",
                f"{ENDLESS}: 1\n".encode(),
                f"sky: {{nside: {ENDLESS}}}\n".encode(),
                b"\t- a\n",
                b"- sky\n- mask\n",
                b"sky\n",
                b"16\n",
                b"true\n",
                b".inf\n",
                b"[]\n",
                b"''\n",
                b"@at: 1\n",
                b"`tick`: 1\n",
                b"a: b: c\n",
            ]
        ),
    )
    command = st.sampled_from(["simulate", "run", "fit", "forecast", "inspect"])
    return st.builds(
        lambda c, b: of_bytes(repr(b[:200]), b, (FILE, *_words_of(b), "is missing", "unknown key"), c),
        command,
        anything.filter(_no_recipe),
    )


def _words_of(content: bytes) -> tuple[str, ...]:
    """Top keys, if it has any: a refusal may name them instead of the file."""
    try:
        data = yaml.safe_load(content)
    except Exception:
        return ()
    return tuple(str(key) for key in data) if isinstance(data, dict) else ()


def _no_recipe(content: bytes) -> bool:
    """Whether it says something: of nothing at all, or a comment, every key is left at its default."""
    try:
        return yaml.safe_load(content.decode("utf-8")) not in (None, {}, "~")
    except Exception:
        return True


def bombs() -> SearchStrategy[Case]:
    """Small files that would be large: nested, multiplied by aliases, or simply long."""

    def laughs(levels: int, each: int, kind: str, key: str) -> tuple[str, str]:
        opening, closing = {"list": "[]", "keys": "{}"}[kind]

        def row(of: str) -> str:
            items = (of if kind == "list" else f"k{i}: {of}" for i in range(each))
            return opening + ", ".join(items) + closing

        lines = [f"a0: &a0 {row('lol')}"]
        lines += [f"a{i}: &a{i} {row(f'*a{i - 1}')}" for i in range(1, levels)]
        return f"{levels} levels of {each} aliases as {kind} in {key}", "\n".join([*lines, f"{key}: *a{levels - 1}"])

    def nested(depth: int, opening: str, closed: bool) -> tuple[str, str]:
        closing = {"[": "]", "{a: ": "}", "- ": "", "? ": ""}[opening]
        return (
            f"{depth} times {opening}, closed: {closed}",
            "sky: \n  " + opening * depth + "1" + closing * depth * closed,
        )

    def indented(depth: int) -> tuple[str, str]:
        return f"{depth} steps in", "\n".join(" " * i + "a:" for i in range(depth))

    def long(what: str, size: int) -> tuple[str, str]:
        text = {
            "value": "sky: {nside: '" + "x" * size + "'}",
            "key": "x" * size + ": 1",
            "word of a list": "reconstruction: {estimators: [" + "x, " * (size // 3) + "]}",
            "many keys": "\n".join(f"k{i}: 1" for i in range(size // 8)),
            "many sections": "sky: {" + ", ".join(f"k{i}: 1" for i in range(size // 8)) + "}",
            "number": "sky: {nside: " + "1" * size + "}",
            "float": "sky: {a_phi: 0." + "1" * size + "e99999}",
            "anchors": "\n".join(f"k{i}: &k{i} 1" for i in range(size // 12)),
            "brackets": "sky: " + "[" * size,
            "braces": "{" * size,
            "question marks": "? " * size,
            "quotes": "sky: '" + "''" * (size // 2),
            "dashes": "- " * size,
            "spaces": " " * size + "sky: [",
            "documents": "---\n" * (size // 4) + "sky: 1\n",
        }[what]
        return f"{what} of {size} letters", text

    text = st.one_of(
        st.builds(
            laughs,
            st.integers(6, 40),
            st.integers(5, 12),
            st.sampled_from(["list", "keys"]),
            st.sampled_from(["sky", "name", "mask", "reconstruction", "lol"]),
        ),
        st.builds(nested, st.integers(60, 100_000), st.sampled_from(["[", "{a: ", "- ", "? "]), st.booleans()),
        st.builds(indented, st.integers(60, 600)),
        st.builds(
            long,
            st.sampled_from(
                [
                    "value",
                    "key",
                    "word of a list",
                    "many keys",
                    "many sections",
                    "number",
                    "float",
                    "anchors",
                    "brackets",
                    "braces",
                    "question marks",
                    "quotes",
                    "dashes",
                    "spaces",
                    "documents",
                ]
            ),
            st.sampled_from([3_000, 30_000, 2_000_000]),
        ),
    )
    command = st.sampled_from(["simulate", "run", "fit", "forecast", "inspect"])
    return st.builds(
        lambda c, pair: of_bytes(
            pair[0], pair[1].encode(), (FILE, *["sky", "name", "a0", "k0", "xxx"], "is missing"), c
        ),
        command,
        text,
    )

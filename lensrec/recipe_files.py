"""Recipes as files and plain data, before they are checked: found, read, and changed key by key."""

from collections.abc import Iterable, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any, Literal

from lensrec.notation import read_yaml

SCANS = ("ecliptic", "equatorial")
"""Patterns of hits that need no file."""


class RecipeError(ValueError):
    """A recipe that cannot be run; one line for each key that is wrong, saying its value and what would do."""


def find_recipe(path: str | Path, kind: Literal["sims", "pipelines"] = "sims") -> Path:
    """The file itself, or for a bare name the recipe of that name that comes with lensrec.

    Raises
    ------
    RecipeError
        If there is none, with the names that there are.
    """
    file = Path(path).expanduser()
    if file.is_file():
        return file.resolve()
    shipped = shipped_recipes(kind)
    if str(path) in shipped:
        return shipped[str(path)]
    raise RecipeError(f"no recipe {str(path)!r}: give a YAML file, or one of {', '.join(shipped)}")


def shipped_recipes(kind: Literal["sims", "pipelines"]) -> dict[str, Path]:
    """The recipes that come with lensrec, by name: beside the package in a checkout, inside it when installed."""
    here = Path(__file__).resolve().parent
    return {p.stem: p for folder in (here.parent, here / "recipes") for p in sorted((folder / kind).glob("*.yaml"))}


def override(data: Mapping[str, Any], overrides: Iterable[str]) -> dict[str, Any]:
    """A copy of a recipe's plain data with "section.key=value" put in, the value read as YAML.

    Raises
    ------
    RecipeError
        If an override is not of that form.
    """
    out = deepcopy(dict(data))
    for text in overrides:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise RecipeError(f"{text!r} sets nothing; write key=value, e.g. sky.nside=1024")
        try:
            parsed = read_yaml(value)
        except ValueError:
            parsed = value
        if key.strip() in ("mask.file", "instrument.hits") and isinstance(parsed, str) and parsed not in SCANS:
            parsed = str(Path(parsed).expanduser().resolve())
        put(out, key.strip(), parsed)
    return out


def put(data: dict[str, Any], key: str, value: Any) -> None:
    """Set a dotted key, making the sections on the way; raises RecipeError if one of them is no section."""
    *sections, last = key.split(".")
    for name in sections:
        if data.get(name) is None:
            data[name] = {}
        data = data[name]
        if not isinstance(data, dict):
            raise RecipeError(f"{key}: {name} has no keys of its own")
    data[last] = value


def read_recipe(file: Path) -> dict[str, Any]:
    """The plain data of a recipe's file, its paths made absolute from the file's folder; raises RecipeError."""
    try:
        data = read_yaml(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as err:
        raise RecipeError(f"{file}: {err}") from None
    if data is None:
        data = {}
    if not isinstance(data, dict):
        raise RecipeError(f"{file}: a recipe is made of keys and values, e.g. 'name: mine'")
    for section, key in (("mask", "file"), ("instrument", "hits")):
        part = data.get(section)
        if isinstance(part, dict) and isinstance(part.get(key), str) and part[key] not in SCANS:
            data = {**data, section: {**part, key: str(beside(file, part[key]))}}
    return data


def beside(file: Path, path: str) -> Path:
    """A path as seen from the folder of a file."""
    return (file.resolve().parent / Path(path).expanduser()).resolve()

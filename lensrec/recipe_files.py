"""Recipes as files and plain data, before they are checked: found, read, and changed key by key."""

from collections.abc import Iterable, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any, Literal

from lensrec.notation import LONGEST, read_yaml, shown, shown_key

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
    file = _there(path)
    if file is not None:
        return file
    shipped = shipped_recipes(kind)
    if str(path) in shipped:
        return shipped[str(path)]
    raise RecipeError(f"no recipe {shown(str(path))}: give a YAML file, or one of {', '.join(shipped)}")


def _there(path: str | Path) -> Path | None:
    """A file, if there is one; a name too long for one, or with NUL in it, is none."""
    try:
        file = Path(path).expanduser()
        return file.resolve() if file.is_file() else None
    except (OSError, RuntimeError, ValueError):  # RuntimeError: ~nobody has no home
        return None


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
            raise RecipeError(f"{shown(text)} sets nothing; write key=value, e.g. sky.nside=1024")
        try:
            parsed = read_yaml(value)
        except ValueError:
            parsed = value
        if key.strip() in ("mask.file", "instrument.hits") and isinstance(parsed, str) and parsed not in SCANS:
            parsed = str(beside(Path("here"), parsed, key.strip()))
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
            raise RecipeError(f"{shown_key(key)}: {shown_key(name)} has no keys of its own")
    data[last] = value


def read_recipe(file: Path) -> dict[str, Any]:
    """The plain data of a recipe's file, its paths made absolute from the file's folder; raises RecipeError."""
    if (size := file.stat().st_size) > LONGEST:
        raise RecipeError(f"{file}: {size} bytes are more than any recipe has; at most {LONGEST}")
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
            data = {**data, section: {**part, key: str(beside(file, part[key], f"{section}.{key}"))}}
    return data


def beside(file: Path, path: str, key: str) -> Path:
    """A path as seen from the folder of a file; raises RecipeError, naming the key, if no file can have that name."""
    try:
        found = (file.resolve().parent / Path(path).expanduser()).resolve()
        found.is_file()  # where the name is too long, or has a NUL in it, that is an error
    except (OSError, RuntimeError, ValueError) as err:
        why = getattr(err, "strerror", None) or err
        raise RecipeError(f"{key}: {shown(path)} cannot be the name of a file ({why})") from None
    return found

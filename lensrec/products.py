"""Products of a run as they are read back: what is damaged is named in one line, and never taken for numbers.

Nothing that is read here can run code: tables are text whose header is plain YAML, matrices are FITS, the rest is JSON.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from lensrec.notation import read_yaml
from lensrec.sky.map_header import MapError, open_fits

KINDS = ("float64", "float32", "int64", "int32", "uint8", "bool", "string")
"""What columns of a table may hold."""

_MAY_LACK = ("transfer_",)
"""Columns that need not be numbers everywhere: a sky without lensing has no transfer.

Nor is a standard deviation finite where one simulation tells nothing of it.
"""


class RunError(ValueError):
    """A run directory that cannot be used as asked; one line that says why and what would do."""


class Entries(dict[str, Any]):
    """A mapping that was read from a file; what it lacks is an error of that file."""

    path: Path | None = None

    def __missing__(self, key: str) -> NoReturn:
        raise RunError(_damaged(self.path or "a product", f"it has no {key!r}"))


def read_json(path: Path, *, finite: bool = False) -> Entries:
    """A JSON file that holds a mapping.

    Parameters
    ----------
    path : Path
    finite : bool
        Refuse NaN and infinity, which JSON has no words for but Python writes.

    Raises
    ------
    FileNotFoundError
    RunError
        If it is no JSON, or no mapping; or, later, where a key is asked for that it has not.
    """

    def entries(pairs: list[tuple[str, Any]]) -> Entries:
        out = Entries(pairs)
        out.path = path
        return out

    def refuse(word: str) -> NoReturn:
        raise ValueError(f"{word} stands for a number")

    try:
        found = json.loads(
            path.read_text(encoding="utf-8"),
            object_pairs_hook=entries,
            parse_constant=refuse if finite else float,
        )
    except (ValueError, RecursionError) as error:
        raise RunError(_damaged(path, error)) from None
    if not isinstance(found, Entries):
        raise RunError(_damaged(path, "it should hold keys and values"))
    return found


def read_amplitude(path: Path) -> Entries:
    """An amplitude.json: by estimator "mean", "sigma", "chi2" and "ndof"; and "about".

    Raises
    ------
    FileNotFoundError
    RunError
        If it is damaged.
    """
    found = read_json(path, finite=True)
    about, fits = found["about"], [value for key, value in found.items() if key != "about"]
    numbers = [
        fit.get(key) if isinstance(fit, dict) else None for fit in fits for key in ("mean", "sigma", "chi2", "ndof")
    ]
    numbers += [about.get(key) if isinstance(about, dict) else None for key in ("L_low", "L_high")]
    words = [about.get(key) if isinstance(about, dict) else None for key in ("taken_off", "not_taken_off")]
    if not fits or not all(isinstance(number, int | float) for number in numbers):
        raise RunError(_damaged(path, "a number is missing"))
    if not all(isinstance(some, list) and all(isinstance(word, str) for word in some) for some in words):
        raise RunError(_damaged(path, "it does not say what was taken off"))
    return found


def read_table(path: Path) -> dict[str, NDArray]:
    """The columns of an ECSV table that `write_table` wrote.

    Raises
    ------
    FileNotFoundError
    RunError
        If the table is damaged, or has a number that is not finite; or, later, where a column is asked for that it has
        not.
    """
    from astropy.table import Table

    text = _text(path)
    try:
        _check_header(text)
        table = Table.read(text.split("\n"), format="ascii.ecsv")
    except Exception as error:  # astropy raises nearly anything on a table that is garbled
        raise RunError(_damaged(path, error)) from None
    out = Entries()
    out.path = path
    for name in table.colnames:
        column = table[name]
        if getattr(column, "mask", None) is not None and np.any(column.mask):
            raise RunError(_damaged(path, f"the column {name} has gaps"))
        values = np.array(column)
        if values.dtype.kind not in "fiubU" or values.ndim != 1:
            raise RunError(_damaged(path, f"the column {name} holds no numbers or words"))
        known = np.isfinite(values) | ((values == np.inf) & ("sigma" in name)) if values.dtype.kind == "f" else True
        if not (name.startswith(_MAY_LACK) or np.all(known)):
            raise RunError(_damaged(path, f"the column {name} holds a number that is not finite"))
        out[name] = values
    return out


def read_matrices(path: Path) -> dict[str, NDArray]:
    """The images of `write_matrices`, by name.

    Raises
    ------
    RunError
        If the file is damaged, or has a number that is not finite; or, later, where one is asked for that it has not.
    """
    out = Entries()
    out.path = path
    try:
        with open_fits(path) as hdus:
            for hdu in hdus[1:]:
                out[hdu.name] = np.array(hdu.data, dtype=np.float64)
    except MapError as error:
        raise RunError(f"{error}; or remove it, and it is made anew") from None
    for name, values in out.items():
        if not np.isfinite(values).all():
            raise RunError(_damaged(path, f"{name} holds a number that is not finite"))
    return out


def check_columns(path: Path, table: Mapping[str, NDArray], count: str, length: int | None = None) -> None:
    """See that a table has numbers alone, and a column that counts 0, 1, 2, … to its end, or as far as it should.

    Raises
    ------
    RunError
        If it does not.
    """
    if words := [name for name, values in table.items() if values.dtype.kind not in "fiu"]:
        raise RunError(_damaged(path, f"the column {words[0]} holds no numbers"))
    numbers = table[count]
    if numbers.dtype.kind not in "iu" or not np.array_equal(numbers, np.arange(len(numbers))):
        raise RunError(_damaged(path, f"the column {count} does not count from 0"))
    if length is not None and len(numbers) < length:
        short = f"{path} ends at {count} = {len(numbers) - 1}, and the recipe goes to {length - 1}"
        raise RunError(f"{short}; remove it, and it is made anew")


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise RunError(_damaged(path, error)) from None


def _check_header(text: str) -> None:
    """See that the header is plain data and asks for plain columns: no objects, nothing that astropy would build."""
    lines = [line[2:] for line in text.split("\n") if line.startswith("# ")]
    if not lines or not lines[0].startswith("%ECSV"):
        raise ValueError("it is no ECSV table")
    header = read_yaml("\n".join(lines[1:]))
    columns = header.get("datatype") if isinstance(header, dict) else None
    if not isinstance(columns, list) or not columns or not all(isinstance(column, dict) for column in columns):
        raise ValueError("its header names no columns")
    for column in columns:
        if column.get("datatype") not in KINDS or "subtype" in column:
            raise ValueError(f"the column {column.get('name')} is of kind {column.get('datatype')}")
    if "__serialized_columns__" in str(header.get("meta")):
        raise ValueError("it has columns that are no numbers or words")


def _damaged(path: object, why: object) -> str:
    said = str(why).strip().split("\n")[0].strip().rstrip(".")[:200] or type(why).__name__
    return f"{path} is damaged ({said}); put it back, or remove it and give the command again that made it"

"""Whether a product is whole: what a full disk, a broken copy or a killed program leaves is told by its length."""

import hashlib
import json
import os
import re
from pathlib import Path

from lensrec.sky.fits_size import BLOCK, LONGEST_HEADER, data_bytes, note_lengths

SEAL = "# lensrec wrote this; --set changes it. sha256 of all below: "


def is_whole(path: Path) -> bool:
    """Whether a file is there with all that it says it holds; the data themselves are not read.

    FITS files say how long each of their parts is, tables of a run how many rows they have, and JSON ends with a brace;
    a recipe that lensrec wrote has a seal.
    Of other files it is only known whether they are empty.
    """
    try:
        if path.suffix == ".fits":
            return _whole_fits(path)
        if path.suffix == ".ecsv":
            return _whole_table(path)
        if path.suffix == ".json":
            json.loads(path.read_text(encoding="utf-8"))
            return True
        if path.suffix == ".yaml":
            return _whole_text(path.read_text(encoding="utf-8"))
        return path.is_file() and path.stat().st_size > 0
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, ValueError):
        return False


def sealed(text: str) -> str:
    """A recipe with a first line by which it is known whether any of it was lost or changed.

    Without it, one that was cut between two keys would be that of another run, by the defaults of the others.
    """
    return f"{SEAL}{hashlib.sha256(text.encode()).hexdigest()}\n{text}"


def _whole_text(text: str) -> bool:
    if not any(line.strip() and not line.startswith("#") for line in text.splitlines()):
        return False
    first, _, rest = text.partition("\n")
    mine = first.startswith(SEAL[:10])  # others are written by hand
    return not mine or text == sealed(rest)


def _whole_fits(path: Path) -> bool:
    size, at, parts, expected = path.stat().st_size, 0, 0, 1
    with path.open("rb") as stream:
        while at < size:
            os.lseek(stream.fileno(), at, os.SEEK_SET)
            found = _header(stream.fileno())
            if found is None:
                return False
            cards, length = found
            data = data_bytes(cards)
            if not parts:
                # an empty first part stands before others; how many, our own files say
                expected = 1 + cards.get("NEXTEND", int(data == 0))
            parts += 1
            at += length + data
    return at == size and parts >= expected


def _header(descriptor: int) -> tuple[dict[str, int], int] | None:
    """The cards that say how long the data are, and the header's own bytes; None where it does not end."""
    cards: dict[str, int] = {}
    for count in range(1, LONGEST_HEADER):
        block = os.read(descriptor, BLOCK)
        if len(block) < BLOCK:
            return None
        if note_lengths(block, cards):
            return cards, count * BLOCK
    return None


def _whole_table(path: Path) -> bool:
    lines = path.read_bytes().split(b"\n")
    if len(lines) < 2 or lines[-1]:
        return False
    header = [line for line in lines if line.startswith(b"#")]
    found = len(lines) - 2 - len(header)  # without the names of the columns, and what follows the last line's end
    rows = next((int(said[1]) for line in header if (said := re.fullmatch(rb"# - \{?rows: (\d+)\}?", line))), None)
    return found >= 0 if rows is None else found == rows

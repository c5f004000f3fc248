"""How large a FITS file says it is, before it is believed: a few bytes can promise, or unpack to, terabytes."""

import gzip
import os
import re
import zlib
from io import BytesIO
from math import prod

from lensrec.machine import available_memory

BLOCK = 2880
"""Bytes in a block of a FITS file."""

LONGEST_HEADER = 1000
"""Blocks."""

DEFLATE = 1032
"""No byte of a gzip file makes more bytes than these."""

PACKED = {b"PK\x03\x04": "zip", b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz", b"\x1f\x9d": "compress"}
GZIP = b"\x1f\x8b"

_CHUNK = 1 << 20


class MapError(ValueError):
    """A file that cannot be used as it stands; the message is one line that says why and how to mend it."""


def stream_of(path: str) -> str | BytesIO:
    """The path itself of a plain FITS file; of one in gzip what is in it, as far as its headers say that it goes.

    Raises
    ------
    MapError
        If the file is no FITS file, is packed in another way, or cannot hold what it promises; or what is in it does
        not fit into memory.
    """
    with open(path, "rb") as stream:
        start = stream.read(9)
    if start[:2] == GZIP:
        try:
            return _unpacked(path)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise MapError(f"not a sound FITS file ({str(error).rstrip('.')}); fetch or write it again") from error
    for first, name in PACKED.items():
        if start.startswith(first):
            raise MapError(f"is packed by {name}; unpack it: FITS is read as it is, or packed by gzip")
    if start != b"SIMPLE  =":
        raise MapError("not a FITS file")
    return path


def check_memory(needed: float, what: str) -> None:
    """Refuse what would not fit into the memory that is free; `needed` in bytes."""
    free = available_memory()
    if needed > free:
        raise MapError(f"{what} would take {needed / 1e9:.3g} GB of memory, and {free / 1e9:.3g} GB are free")


def _unpacked(path: str) -> BytesIO:
    most = DEFLATE * os.path.getsize(path)
    out = BytesIO()
    with gzip.open(path) as stream:
        while block := stream.read(BLOCK):
            if not block.startswith(b"XTENSION" if out.tell() else b"SIMPLE  ="):
                if not out.tell():
                    raise MapError("not a FITS file")
                break  # what follows the last part is no part
            cards = _header(block, stream, out)
            promised = data_bytes(cards)
            if not 0 <= out.tell() + promised <= most:
                raise MapError(f"its header promises {promised} bytes, more than {most // DEFLATE} of gzip can hold")
            check_memory(out.tell() + promised, "what is packed in it")
            _copy(stream, out, promised)
    out.seek(0)
    return out


def _header(block: bytes, stream: gzip.GzipFile, out: BytesIO) -> dict[str, int]:
    """Copy a header, and give what it says of the length of its data."""
    cards: dict[str, int] = {}
    for _ in range(LONGEST_HEADER):
        if len(block) < BLOCK:
            raise MapError("not a sound FITS file (cut short in a header); fetch or write it again")
        out.write(block)
        if note_lengths(block, cards):
            return cards
        block = stream.read(BLOCK)
    raise MapError("not a sound FITS file (a header without end); fetch or write it again")


def note_lengths(block: bytes, cards: dict[str, int]) -> bool:
    """Add what a block of a header says of the length of its data and of parts to come; whether it is the last."""
    text = block.decode("latin-1")
    for card in (text[at : at + 80] for at in range(0, BLOCK, 80)):
        if card.rstrip() == "END":
            return True
        if found := re.match(r"(BITPIX|NAXIS\d*|PCOUNT|GCOUNT|NEXTEND) *= *([-+]?\d+)", card):
            cards.setdefault(found[1], int(found[2]))
    return False


def data_bytes(cards: dict[str, int]) -> int:
    """Bytes of the data behind a header, those that fill the last block included."""
    axes = [cards.get(f"NAXIS{n + 1}", 0) for n in range(min(cards.get("NAXIS", 0), 999))]
    if not axes:
        return 0
    size = abs(cards.get("BITPIX", 8)) // 8 * cards.get("GCOUNT", 1) * (cards.get("PCOUNT", 0) + prod(axes))
    return -(-size // BLOCK) * BLOCK


def _copy(stream: gzip.GzipFile, out: BytesIO, count: int) -> None:
    while count > 0:
        part = stream.read(min(count, _CHUNK))
        if not part:
            if count < BLOCK:
                return  # the last block need not be full
            raise MapError(f"not a sound FITS file (cut short by {count} bytes); fetch or write it again")
        out.write(part)
        count -= len(part)

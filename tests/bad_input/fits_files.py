"""FITS files made by hand, so that anything in them can be wrong."""

import gzip
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

BLOCK = 2880
STOKES = ("TEMPERATURE", "Q_POLARISATION", "U_POLARISATION")


class Column(NamedTuple):
    """A column of a table: FITS' own letter for what it holds, one value a row unless `form` has a number."""

    name: str
    form: str
    values: Any
    unit: str = "uK_CMB"


def card(key: str, value: object) -> bytes:
    """80 letters; text in quotes, whatever it is."""
    if isinstance(value, bool):
        text = f"{'T' if value else 'F':>20}"
    elif isinstance(value, str):
        text = "'" + value.replace("'", "''").ljust(8) + "'"
    else:
        text = f"{value!s:>20}"
    return f"{key:<8}= {text}"[:80].ljust(80).encode("latin-1", "replace")


def header(cards: Mapping[str, object] | Sequence[tuple[str, object]]) -> bytes:
    """Cards, END, and blanks up to the end of the block."""
    pairs = cards.items() if isinstance(cards, Mapping) else cards
    text = b"".join(card(key, value) for key, value in pairs if value is not None) + b"END".ljust(80)
    return text + b" " * (-len(text) % BLOCK)


def padded(data: bytes) -> bytes:
    """Zeros up to the end of the block."""
    return data + bytes(-len(data) % BLOCK)


PRIMARY = {"SIMPLE": True, "BITPIX": 8, "NAXIS": 0, "EXTEND": True}


def table(
    columns: Sequence[Column], cards: Mapping[str, object], structure: Mapping[str, object] | None = None
) -> bytes:
    """A binary table of a HEALPix file; `structure` overrules the cards of its length, and None leaves a card out."""
    kinds = {"D": ">f8", "E": ">f4", "J": ">i4", "K": ">i8", "M": ">c16", "L": "i1", "B": "u1", "8A": "S8"}
    rows = max((len(column.values) for column in columns), default=0)
    fields = np.dtype([(f"f{i}", kinds[column.form]) for i, column in enumerate(columns)])
    data = np.zeros(rows, dtype=fields)
    for i, column in enumerate(columns):
        data[f"f{i}"][: len(column.values)] = column.values
    own: dict[str, object] = {
        "XTENSION": "BINTABLE",
        "BITPIX": 8,
        "NAXIS": 2,
        "NAXIS1": fields.itemsize,
        "NAXIS2": rows,
    }
    own |= {"PCOUNT": 0, "GCOUNT": 1, "TFIELDS": len(columns)}
    for i, column in enumerate(columns, 1):
        own |= {f"TTYPE{i}": column.name, f"TFORM{i}": column.form, f"TUNIT{i}": column.unit or None}
    return header(PRIMARY) + header({**own, **cards, **(structure or {})}) + padded(data.tobytes())


def healpix(
    nside: int,
    columns: Sequence[Column] | None = None,
    structure: Mapping[str, object] | None = None,
    **cards: object,
) -> bytes:
    """A sound map of I, Q and U, unless told otherwise."""
    said = {"PIXTYPE": "HEALPIX", "ORDERING": "RING", "NSIDE": nside, "COORDSYS": "G", "POLCCONV": "COSMO", **cards}
    return table(iqu(nside) if columns is None else columns, said, structure)


def iqu(nside: int) -> list[Column]:
    """I, Q and U of white noise, 100 and 10 µK."""
    rng = np.random.default_rng(nside)
    scales = (100.0, 10.0, 10.0)
    return [Column(name, "D", s * rng.normal(size=12 * nside**2)) for name, s in zip(STOKES, scales, strict=True)]


def car(values: NDArray | None = None, **cards: object) -> bytes:
    """A CAR image of the whole sky in pixels of 10 degrees, (37, 36), unless told otherwise."""
    shape = (19, 36)
    data = np.random.default_rng(1).normal(size=shape) * 100.0 if values is None else values
    own: dict[str, object] = {"SIMPLE": True, "BITPIX": -64, "NAXIS": data.ndim}
    own |= {f"NAXIS{i}": n for i, n in enumerate(reversed(data.shape), 1)}
    own |= {"CTYPE1": "RA---CAR", "CTYPE2": "DEC--CAR", "CRPIX1": 18.5, "CRPIX2": 10.0, "CRVAL1": 0.0, "CRVAL2": 0.0}
    own |= {"CDELT1": -10.0, "CDELT2": 10.0, "CUNIT1": "deg", "CUNIT2": "deg", "BUNIT": "uK"}
    return header({**own, **cards}) + padded(data.astype(">f8").tobytes())


def write(path: Path, content: bytes) -> None:
    """As it is, or compressed where the name ends in .gz."""
    path.write_bytes(gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)

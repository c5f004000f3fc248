"""Maps that were cut, are something else under the name of a map, or have other bytes in their headers."""

import bz2
import gzip
import lzma
import zipfile
from io import BytesIO
from pathlib import Path

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from tests.bad_input.fits_files import BLOCK, healpix
from tests.bad_input.judge import Case
from tests.bad_input.map_cases import NSIDES


def damaged() -> SearchStrategy[Case]:
    """Files that were cut, lost blocks, or are something else under the name of a map."""

    def cut(nside: int, share: float, name: str) -> Case:
        def content() -> bytes:
            whole = healpix(nside)
            end = len(whole) - (-(12 * nside**2 * 24) % BLOCK)
            whole = whole[:end]
            return gzip.compress(whole, mtime=0) if name.endswith(".gz") else whole

        def make(folder: Path) -> list[object]:
            whole = content()
            (folder / name).write_bytes(whole[: int(share * len(whole))])
            return ["reconstruct", "--map", folder / name, "--fwhm", "30", "--noise", "20", "--out", folder / "x"]

        return Case(f"nside {nside} {name} cut at {share:.3f}", make, (name,))

    def other(kind: str, name: str, nside: int) -> Case:
        whole = healpix(nside)
        archive = BytesIO()
        with zipfile.ZipFile(archive, "w") as packed:
            packed.writestr("map.fits", whole)
        raw = {
            "empty": b"",
            "zip": archive.getvalue(),
            "bzip2": bz2.compress(whole),
            "xz": lzma.compress(whole),
            "gzip of gzip": gzip.compress(gzip.compress(whole)),
            "gzip of nothing": gzip.compress(b""),
            "gzip of text": gzip.compress(b"ell TT\n2 1\n" * 1000),
            "gzip with a wrong checksum": gzip.compress(whole, mtime=0)[:-8] + b"\x00" * 8,
            "LZW": b"\x1f\x9d\x90" + whole[:500],
            "HDF5": b"\x89HDF\r\n\x1a\n" + bytes(4000),
            "numpy": b"\x93NUMPY\x01\x00" + bytes(4000),
            "pickle": b"\x80\x04\x95\x1a\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x8c\x06system\x93.",
            "PNG": b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 20,
            "HTML": b"<!DOCTYPE html><html>404</html>\n" * 200,
            "one letter": b"S",
            "half a card": b"SIMPLE  =",
            "a header without end": whole[:BLOCK].replace(b"END", b"   ") + b" " * BLOCK * 3,
            "SIMPLE = F": whole.replace(b"SIMPLE  =                    T", b"SIMPLE  =                    F", 1),
            "no SIMPLE": whole[80:],
            "letters beyond ASCII": whole.replace(b"TEMPERATURE", b"T\xc3\x89MP\xc3\xa9RATU", 1),
            "a card of binary": whole.replace(b"PIXTYPE", bytes(range(7)), 1),
            "shifted by a byte": b" " + whole,
            "the primary alone": whole[:BLOCK],
            "headers alone": whole[: 2 * BLOCK],
            "two primaries": whole[:BLOCK] * 2,
        }[kind]

        def make(folder: Path) -> list[object]:
            (folder / name).write_bytes(raw)
            return ["reconstruct", "--map", folder / name, "--fwhm", "30", "--noise", "20", "--out", folder / "x"]

        return Case(f"{kind} as {name}, nside {nside}", make, (name,))

    def random(content: bytes, name: str, start: bytes) -> Case:
        def make(folder: Path) -> list[object]:
            (folder / name).write_bytes(start + content)
            return ["reconstruct", "--map", folder / name, "--fwhm", "30", "--noise", "20", "--out", folder / "x"]

        return Case(f"{start!r} and {content!r} as {name}", make, (name,))

    names = st.sampled_from(["bad.fits", "bad.fits.gz"])
    kinds = [
        "empty",
        "zip",
        "bzip2",
        "xz",
        "gzip of gzip",
        "gzip of nothing",
        "gzip of text",
        "gzip with a wrong checksum",
        "LZW",
        "HDF5",
        "numpy",
        "pickle",
        "PNG",
        "HTML",
        "one letter",
        "half a card",
        "a header without end",
        "SIMPLE = F",
        "no SIMPLE",
        "letters beyond ASCII",
        "shifted by a byte",
        "the primary alone",
        "headers alone",
        "two primaries",
    ]
    starts = st.sampled_from(
        [b"", b"SIMPLE  =                    T", b"\x1f\x8b\x08", b"\x1f\x8b", b"BZh9", b"PK\x03\x04"]
    )
    return st.one_of(
        st.builds(cut, NSIDES, st.floats(0.0, 0.999), names),
        st.builds(other, st.sampled_from(kinds), names, NSIDES),
        st.builds(random, st.binary(min_size=1, max_size=60), names, starts),
    )


def flipped() -> SearchStrategy[tuple[int, tuple[tuple[int, int], ...]]]:
    """Bytes of a sound map, at any place of its headers, that are something else: nside, then places and bytes."""
    places = st.tuples(st.integers(0, 2 * BLOCK - 1), st.integers(0, 255))
    return st.tuples(NSIDES, st.lists(places, min_size=1, max_size=6).map(tuple))

"""Small files that would be large if they were believed: FITS headers, gzip, tiles, and YAML."""

import gzip
import zlib
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from tests.bad_input.fits_files import BLOCK, PRIMARY, Column, car, header, healpix, padded
from tests.bad_input.judge import Case
from tests.bad_input.map_cases import as_map

GIGABYTE = 1 << 30
LARGE = [10**9, 10**10, 10**12, 10**15]


@lru_cache
def zeros(size: int) -> bytes:
    """So many zeros in gzip, made without having them: a thousandth of their number."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    block = bytes(1 << 20)
    return b"".join([*(packer.compress(block) for _ in range(size >> 20)), packer.flush()])


def joined(*parts: bytes) -> bytes:
    """Members of one gzip file, each of which may have been packed already."""
    return b"".join(part if part[:2] == b"\x1f\x8b" else gzip.compress(part, mtime=0) for part in parts)


def raw(about: str, name: str, content: Callable[[], bytes]) -> Case:
    """A file of bytes as a map, as they are."""

    def make(folder: Path) -> list[object]:
        (folder / name).write_bytes(content())
        return ["reconstruct", "--map", folder / name, "--fwhm", "30", "--noise", "20", "--out", folder / "x"]

    return Case(f"{about} as {name}", make, (name,))


def fits_bombs() -> SearchStrategy[Case]:
    """Files of some kilobytes that say that they are of gigabytes, or would be when unpacked."""
    size = st.sampled_from(LARGE)
    names = st.sampled_from(["bad.fits", "bad.fits.gz"])

    def rows(n: int, nside: int, name: str) -> Case:
        return as_map((f"{n} rows", lambda: healpix(nside, None, {"NAXIS2": n})), name)

    def wide(n: int, name: str) -> Case:
        return as_map((f"{n} bytes a row", lambda: healpix(4, None, {"NAXIS1": n})), name)

    def entries(n: int, name: str) -> Case:
        return as_map((f"{n} entries a row", lambda: healpix(4, None, {"TFORM1": f"{n}D", "NAXIS1": 8 * n + 16})), name)

    def heap(n: int, name: str) -> Case:
        return as_map((f"a heap of {n}", lambda: healpix(4, None, {"PCOUNT": n})), name)

    def primary(n: int, name: str) -> Case:
        def content() -> bytes:
            return header({**PRIMARY, "NAXIS": 1, "NAXIS1": n}) + healpix(4)[BLOCK:]

        return as_map((f"a primary array of {n}", content), name)

    def image(n: int, name: str) -> Case:
        side = {"NAXIS1": n, "NAXIS2": n, "CDELT1": -360.0 / n, "CDELT2": 180.0 / n}
        return as_map((f"an image of {n} by {n}", lambda: car(**side)), name)

    def of_zeros(kind: str) -> Case:
        """100 MB of zeros, in 100 kB."""
        start = {
            "alone": b"",
            "in the primary array": header({**PRIMARY, "NAXIS": 1, "NAXIS1": 10 * GIGABYTE}),
            "in a table": healpix(4, [], {"NAXIS1": 24, "NAXIS2": 12 * 8192**2}, NSIDE=8192),
            "instead of a header": header(PRIMARY),
        }[kind]
        return raw(f"zeros {kind}", "bad.fits.gz", lambda: joined(start, zeros(100 << 20)))

    def endless_header(name: str) -> Case:
        def content() -> bytes:
            return header(PRIMARY)[:BLOCK].replace(b"END", b"   ") + b" " * BLOCK * 4000

        return as_map(("a header without end", content), name)

    def few_pixels(nside: int, form: str) -> Case:
        sky = [Column("PIXEL", "K", np.arange(3), ""), Column("TEMPERATURE", form, np.array([1.0, 200.0, -90.0]))]
        return as_map(
            (f"three pixels of nside {nside} as {form}", lambda: healpix(nside, sky, INDXSCHM="EXPLICIT")), "bad.fits"
        )

    def fine_image(pixels: int) -> Case:
        values = 100.0 * np.random.default_rng(2).normal(size=(pixels, pixels))
        side = {"CDELT1": -0.007, "CDELT2": 0.007, "CRPIX1": 1.0, "CRPIX2": 1.0}
        return as_map((f"an image of {pixels} pixels of half a minute", lambda: car(values, **side)), "bad.fits")

    def tiled(n: int) -> Case:
        return raw(f"tiles of {n} by {n}", "bad.fits", lambda: tiles(n))

    return st.one_of(
        st.builds(rows, size, st.sampled_from([1, 4, 16]), names),
        st.builds(wide, size, names),
        st.builds(entries, size, names),
        st.builds(heap, size, names),
        st.builds(primary, size, names),
        st.builds(image, st.sampled_from([10**5, 10**6, 10**8]), names),
        st.sampled_from(["alone", "in the primary array", "in a table", "instead of a header"]).map(of_zeros),
        names.map(endless_header),
        st.builds(few_pixels, st.sampled_from([4096, 8192]), st.sampled_from(["D", "E"])),
        st.sampled_from([40, 60]).map(fine_image),
        st.sampled_from([10**5, 10**6]).map(tiled),
    )


def tiles(n: int) -> bytes:
    """A CAR image packed by tiles, of which there is one, and that one of a few bytes."""
    from io import BytesIO

    from astropy.io import fits

    small = fits.CompImageHDU(np.zeros((8, 8)), compression_type="GZIP_1", tile_shape=(8, 8))
    stream = BytesIO()
    fits.HDUList([fits.PrimaryHDU(), small]).writeto(stream)
    content = stream.getvalue()
    for key in ("ZNAXIS1", "ZNAXIS2", "ZTILE1", "ZTILE2"):
        at = content.index(f"{key:<8}=".encode())
        content = content[: at + 10] + f"{n:>20}".encode() + content[at + 30 :]
    at = content.index(b"END     ", content.index(b"ZNAXIS1"))
    wcs = header({"CTYPE1": "RA---CAR", "CTYPE2": "DEC--CAR", "CDELT1": -360.0 / n, "CDELT2": 180.0 / n, "BUNIT": "uK"})
    start = content.rindex(b"XTENSION", 0, at)
    cards = content[start:at] + wcs[: 5 * 80] + b"END".ljust(80)
    data = content[start + -(-(at - start + 80) // BLOCK) * BLOCK :]
    return content[:start] + cards + b" " * (-len(cards) % BLOCK) + padded(data)

"""HEALPix maps in FITS tables, as healpy, Planck and WMAP write them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lensrec.sky.map_header import (
    UNSEEN,
    MapError,
    RawMap,
    good_values,
    header_text,
    parse_ordering,
    parse_polconv,
)

_STOKES = {
    "I": {"I", "T", "TEMP", "TEMPERATURE", "INTENSITY", "I_STOKES", "STOKES_I", "T_STOKES", "SIGNAL"},
    "Q": {"Q", "Q_STOKES", "STOKES_Q", "Q_POLARISATION", "Q_POL", "POLARISATION_Q", "QPOL"},
    "U": {"U", "U_STOKES", "STOKES_U", "U_POLARISATION", "U_POL", "POLARISATION_U", "UPOL"},
}
_PIXEL_NAMES = {"PIXEL", "PIXELS", "PIX", "PIXLIST", "PIXNUM", "PIXEL_INDEX", "IPIX", "HPXPIXEL"}
_SAMPLES = 50_000


def read_tables(hdus: Any, ordering: str | None = None, polconv: str | None = None) -> RawMap:
    """The I, or I, Q and U, of a HEALPix file, in RING order, in the file's own units.

    Q and U may be further columns of the table that has I, or columns of tables after it.

    Raises
    ------
    MapError
        If the file has no such columns, or ordering, indexing, nside and length do not fit together.
    """
    tables = healpix_tables(hdus)
    columns = _stokes_columns(tables)
    primary = hdus[0].header
    parts = [_read_column(table, name, primary, ordering) for table, name in columns]
    nsides = {part["nside"] for part in parts}
    if len(nsides) > 1:
        raise MapError(f"I, Q and U have different nside: {sorted(nsides)}")
    table = columns[0][0]
    headers = [table.header, primary]
    stated = header_text(headers, "POLCCONV", "POLCONV")
    conv = parse_polconv(polconv or stated, "COSMO")
    values = np.stack([part["values"] for part in parts])
    description = {
        "kind": "HEALPix",
        "nside": parts[0]["nside"],
        "ordering": parts[0]["ordering"],
        "indexing": parts[0]["indexing"],
        "unit": tuple(part["unit"] for part in parts),
        "polconv": conv,
        "polconv_stated": bool(stated),
        "columns": tuple(name for t in tables for name in t.columns.names),
        "stokes_columns": tuple(name for _, name in columns),
        "extname": str(table.name),
        "coord": coordinates(headers),
        "beam_fwhm_arcmin": _beam(headers),
    }
    observed = np.logical_and.reduce([part["good"] for part in parts])
    return RawMap(values, observed, description["unit"], conv, description)


def read_one_column(hdus: Any, column: int, ordering: str | None = None) -> tuple[NDArray, NDArray, dict[str, Any]]:
    """Column number `column` (pixel numbers not counted) of the first HEALPix table: values, good, facts."""
    table = healpix_tables(hdus)[0]
    names = [name for name in table.columns.names if _plain(name) not in _PIXEL_NAMES]
    if not 0 <= column < len(names):
        raise MapError(f"there is no column {column}; the file has {len(names)}: {', '.join(names)}")
    part = _read_column(table, names[column], hdus[0].header, ordering)
    part["coord"] = coordinates([table.header, hdus[0].header])
    part["columns"] = names
    return part.pop("values"), part.pop("good"), part


def healpix_tables(hdus: Any) -> list[Any]:
    """The tables of a file that can hold HEALPix pixels.

    Raises
    ------
    MapError
        If there is none.
    """
    from astropy.io import fits

    tables = [hdu for hdu in hdus if isinstance(hdu, fits.BinTableHDU) and not isinstance(hdu, fits.CompImageHDU)]
    if not tables:
        raise MapError("the file holds no HEALPix table and no CAR image")
    marked = [t for t in tables if _says_healpix(t.header)]
    if marked:
        return marked
    if _says_healpix(hdus[0].header):
        return tables
    raise MapError("the file's tables are not HEALPix maps: no PIXTYPE=HEALPIX and no NSIDE in any header")


def coordinates(headers: list[Any]) -> str:
    """G, C or E for Galactic, equatorial or ecliptic coordinates; empty where the headers do not say."""
    letter = header_text(headers, "COORDSYS", "SKYCOORD", "COORDTYP")[:1].upper()
    return {"G": "G", "C": "C", "E": "E", "Q": "C"}.get(letter, "")


def _says_healpix(header: Any) -> bool:
    return str(header.get("PIXTYPE", "")).strip().upper() == "HEALPIX" or "NSIDE" in header


def _plain(name: str) -> str:
    return name.strip().upper().replace("-", "_").replace(" ", "_").replace("IZATION", "ISATION")


def _stokes_columns(tables: list[Any]) -> list[tuple[Any, str]]:
    """(table, column name) of I, or of I, Q and U."""
    found: dict[str, tuple[Any, str]] = {}
    for table in tables:
        for name in table.columns.names:
            for stokes, names in _STOKES.items():
                if _plain(name) in names:
                    found.setdefault(stokes, (table, name))
    listed = ", ".join(name for table in tables for name in table.columns.names)
    if not found:
        data = [name for name in tables[0].columns.names if _plain(name) not in _PIXEL_NAMES]
        if len(data) in (1, 3):
            return [(tables[0], name) for name in data]
        raise MapError(f"none of the columns ({listed}) is named as I, Q or U; name them TEMPERATURE, "
                       "Q_POLARISATION, U_POLARISATION")  # fmt: skip
    if "I" not in found:
        raise MapError(f"Q or U without a temperature column (columns: {listed}); add I, which may be zero")
    if ("Q" in found) != ("U" in found):
        raise MapError(f"only one of Q and U is there (columns: {listed}); give both, or neither")
    return [found[stokes] for stokes in "IQU" if stokes in found]


def _read_column(table: Any, name: str, primary: Any, ordering: str | None) -> dict[str, Any]:
    """One column in RING order, with what its header says."""
    import healpy

    headers = [table.header, primary]
    order = parse_ordering(ordering or header_text(headers, "ORDERING"))
    data = _numbers(table, name).ravel()
    index = _pixel_numbers(table)
    nside = _nside(headers, len(data), index is not None)
    npix = 12 * nside * nside
    bad = header_text([table.header], "BAD_DATA")
    values = data.astype(np.float64)
    good = good_values(values, float(bad) if bad else UNSEEN)
    if index is None:
        if len(data) != npix:
            raise MapError(f"column {name} has {len(data)} pixels, but nside {nside} needs {npix}")
    else:
        values, good = _spread(index, values, good, npix, name)
    if order == "NESTED":
        ring = healpy.ring2nest(nside, np.arange(npix))
        values, good = values[ring], good[ring]
    position = table.columns.names.index(name)
    unit = str(table.columns[position].unit or "")
    indexing = "IMPLICIT" if index is None else "EXPLICIT"
    return {
        "values": values,
        "good": good,
        "nside": nside,
        "ordering": order,
        "unit": unit,
        "indexing": indexing,
    }


def _numbers(table: Any, name: str) -> NDArray:
    data = table.data
    if data is None or len(data) == 0:
        raise MapError(f"the table {table.name or 1} has no rows")
    values = np.asarray(data.field(name))
    if values.dtype.kind not in "fiub" or values.dtype.itemsize == 0:
        raise MapError(f"column {name} holds no real numbers (dtype {values.dtype})")
    return values


def _pixel_numbers(table: Any) -> NDArray[np.int64] | None:
    """Pixel numbers of an explicitly indexed table, None for an implicit one."""
    named = [name for name in table.columns.names if _plain(name) in _PIXEL_NAMES]
    scheme = str(table.header.get("INDXSCHM", "")).strip().upper()
    explicit = scheme == "EXPLICIT" or (not scheme and bool(named))
    if not explicit:
        return None
    if not named:
        raise MapError("INDXSCHM is EXPLICIT, but the table has no column PIXEL")
    numbers = _numbers(table, named[0]).ravel()
    pixels = numbers.astype(np.int64)
    if not np.array_equal(pixels, numbers):
        raise MapError(f"column {named[0]} holds numbers that are not whole")
    return pixels


def _nside(headers: list[Any], length: int, explicit: bool) -> int:
    stated = header_text(headers, "NSIDE")
    if not stated:
        nside = round((length / 12) ** 0.5)
        if explicit:
            raise MapError("a partial-sky file without NSIDE in its header cannot be placed on the sky")
        if length == 0 or 12 * nside * nside != length:
            raise MapError(f"{length} pixels are not 12 nside² for any nside")
    else:
        nside = int(stated) if stated.lstrip("-").isdigit() else -1
    if nside < 1 or nside & (nside - 1) or nside > 8192:
        raise MapError(f"NSIDE must be a power of two from 1 to 8192, got {stated or nside}")
    return nside


def _spread(
    index: NDArray[np.int64], values: NDArray, good: NDArray, npix: int, name: str
) -> tuple[NDArray, NDArray[np.bool_]]:
    if len(index) != len(values):
        raise MapError(f"column {name} has {len(values)} values for {len(index)} pixel numbers")
    if index.min() < 0 or index.max() >= npix:
        raise MapError(f"pixel numbers from {index.min()} to {index.max()} do not fit in 0 to {npix - 1}")
    seen = np.zeros(npix, dtype=bool)
    seen[index] = True
    if np.count_nonzero(seen) != len(index):
        raise MapError(f"{len(index) - np.count_nonzero(seen)} pixel numbers occur more than once")
    full = np.zeros(npix)
    full[index] = values
    seen[index] = good
    return full, seen


def _beam(headers: list[Any]) -> float | None:
    """FWHM in arcmin where a header has one: FWHM (HEALPix facilities: degrees), or BEAM_FWHM / FWHM_ARC."""
    import contextlib

    for keys, scale in ((("BEAMFWHM", "FWHM_ARC", "BEAM_ARC"), 1.0), (("FWHM",), 60.0)):
        text = header_text(headers, *keys)
        with contextlib.suppress(ValueError):
            if text:
                return float(text) * scale
    return None


def order_contrast(values: NDArray, observed: NDArray[np.bool_], *, typical: bool = True) -> float:
    """How much rougher a RING map is than it would be if its pixel numbers were read in the other ordering.

    Parameters
    ----------
    values, observed : array (npix,)
        The map, believed to be in RING order.
    typical : bool
        Compare the median of |difference of neighbours| (for maps), else its mean (for masks, mostly flat).

    Returns
    -------
    float
        Roughness as it stands over roughness after the pixel numbers are taken the other way. White noise
        gives 1 within its scatter, a sky in its right ordering less; nan when too few neighbours are observed.
    """
    import healpy

    npix = len(values)
    nside = healpy.npix2nside(npix)
    if nside < 8:
        return float("nan")
    nest_of_ring = healpy.ring2nest(nside, np.arange(npix))
    ring_of_nest = healpy.nest2ring(nside, np.arange(npix))
    pixels = np.unique(np.linspace(0, npix - 1, min(npix, _SAMPLES)).astype(np.int64))
    # the edge neighbours SW, NW, NE and SE; the corner ones may be missing
    around = healpy.get_all_neighbours(nside, pixels)[::2]

    def roughness(order: NDArray | None) -> float:
        a = pixels if order is None else order[pixels]
        b = around if order is None else order[around]
        both = observed[a] & observed[b]
        if np.count_nonzero(both) < 1000:
            return float("nan")
        step = np.abs(values[a] - values[b])[both]
        return float(np.median(step) if typical else np.mean(step))

    other = np.fmin(roughness(nest_of_ring), roughness(ring_of_nest))
    return roughness(None) / other if other > 0 else float("nan")

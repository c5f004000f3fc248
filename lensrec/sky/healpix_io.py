"""HEALPix maps in FITS tables, as healpy, Planck and WMAP write them."""

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lensrec.sky.fits_size import check_memory
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
_ENOUGH = 2000
_COARSE = 64
_COARSE_UP_TO = 2048


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
    # one after the other, that no more than one is there twice
    values = np.empty((len(parts), len(parts[0]["values"])))
    for row, part in zip(values, parts, strict=True):
        row[:] = part.pop("values")
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
        "beam": _beam(headers),
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


def is_temperature(column: str) -> bool:
    """Whether a column is named as a temperature, I."""
    return _plain(column) in _STOKES["I"]


def is_pixel_number(column: str) -> bool:
    """Whether a column is named as one of pixel numbers."""
    return _plain(column) in _PIXEL_NAMES


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
                if _plain(name) not in names:
                    continue
                first, other = found.setdefault(stokes, (table, name))
                if first is table and other != name:
                    raise MapError(f"columns {other} and {name} are both named as {stokes}; keep one")
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
        check_memory(4 * 8.0 * npix, f"a whole sky of nside {nside}")
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
    place = table.columns.names.index(name)
    if table.columns.names.count(name) > 1:
        raise MapError(f"two columns are named {name}; keep one")
    if len(data) * prod(data.dtype[place].shape) > 12 * 8192**2:
        raise MapError(f"column {name} has {len(data)} rows, more than there are pixels at nside 8192")
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


def _beam(headers: list[Any]) -> str:
    """The card on the beam as it stands, for the reader: files disagree on its unit."""
    for header in headers:
        for key in ("FWHM", "BEAMFWHM", "BEAM"):
            if key in header:
                return f"{key} = {header[key]} {header.comments[key]}".strip()
    return ""


def nside_of(npix: int) -> int:
    """nside of a map of 12 nside² pixels."""
    return round((npix / 12) ** 0.5)


def regraded(mask: NDArray[np.float64], nside: int) -> NDArray[np.float64]:
    """A RING mask at another nside: repeated where that is finer, averaged where it is coarser."""
    import healpy

    return mask if nside_of(len(mask)) == nside else np.asarray(healpy.ud_grade(mask, nside), dtype=np.float64)


def order_contrast(values: NDArray, observed: NDArray[np.bool_], claimed: str, *, typical: bool = True) -> float:
    """How much rougher a map is than it would be had its pixel numbers been read in the other ordering.

    Parameters
    ----------
    values, observed : array (npix,)
        The map in RING order, if the ordering that was claimed is right.
    claimed : "RING" or "NESTED", the ordering it was read with
    typical : bool
        Compare the median of |difference of neighbours| (for maps), else its mean (for masks, mostly flat).

    Returns
    -------
    float
        Roughness as it stands over roughness the other way. White noise gives 1 within 0.04, a sky in its right
        ordering less; nan where too few neighbours are observed to tell, or the map is constant.

    Notes
    -----
    Roughness is relative to the spread of the map. It is also taken after averaging to nside 64, where a sky
    stands out of pixel noise that hides it at full resolution, and the larger of the two ratios is given.
    """
    import healpy

    npix = len(values)
    nside = healpy.npix2nside(npix)
    here = _roughness(values, observed, typical, lambda p: _edges(nside, p))
    # the number a pixel has in the file, and where its neighbours there would be in the other ordering
    if claimed == "RING":
        there = _roughness(values, observed, typical, lambda p: _edges(nside, p, nest=True))
    else:
        there = _roughness(
            values,
            observed,
            typical,
            lambda p: healpy.nest2ring(nside, _edges(nside, healpy.ring2nest(nside, p))),
        )
    ratios = [_ratio(here, there)]
    if _COARSE < nside <= _COARSE_UP_TO:
        swap = (healpy.ring2nest if claimed == "RING" else healpy.nest2ring)(nside, np.arange(npix))
        pair = (_averaged(values, observed), _averaged(values[swap], observed[swap]))
        ratios.append(_ratio(*(_roughness(v, o, typical, lambda p: _edges(_COARSE, p)) for v, o in pair)))
    return float(np.fmax.reduce(ratios))


def _ratio(here: float, there: float) -> float:
    return here / there if there > 0 else float("nan")


def _edges(nside: int, pixels: NDArray, *, nest: bool = False) -> NDArray:
    """Neighbours across the SW, NW, NE and SE edge, (4, n): those every pixel has."""
    import healpy

    return healpy.get_all_neighbours(nside, pixels, nest=nest)[::2]


def _averaged(values: NDArray, observed: NDArray[np.bool_]) -> tuple[NDArray, NDArray[np.bool_]]:
    import healpy

    coarse = healpy.ud_grade(np.where(observed, values, UNSEEN), _COARSE)
    return coarse, good_values(coarse)


def _roughness(
    values: NDArray, observed: NDArray[np.bool_], typical: bool, neighbours: Callable[[NDArray], NDArray]
) -> float:
    """Median or mean |difference of neighbours| over the like of |difference from the median|; nan if unknown."""
    pixels = np.flatnonzero(observed)
    pixels = pixels[:: max(1, len(pixels) // _SAMPLES)]
    if len(pixels) < _ENOUGH // 4:
        return float("nan")
    around = neighbours(pixels)
    both = observed[around]
    if np.count_nonzero(both) < _ENOUGH:
        return float("nan")
    average = np.median if typical else np.mean
    spread = average(np.abs(values[pixels] - np.median(values[pixels])))
    step = average(np.abs(values[pixels] - values[around])[both])
    return float(step / spread) if spread > 0 else float("nan")

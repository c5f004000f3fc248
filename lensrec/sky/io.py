"""Maps, masks and alm from and to FITS files, in the conventions of this package.

`read_map` and `read_mask` take HEALPix tables (healpy, Planck, WMAP) and CAR images (pixell, ACT, SO), and
give HEALPix RING, µK_CMB, COSMO; what cannot be read with certainty is refused with one line (`MapError`).
"""

import logging
import os
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from lensrec.sky.car_io import car_image, car_to_healpix, matching_nside, read_car, read_car_layer, sample_nearest
from lensrec.sky.healpix_io import nside_of, order_contrast, read_one_column, read_tables, regraded
from lensrec.sky.inspection import field_statistics
from lensrec.sky.map_header import MapError, RawMap, SkyMap, about, microkelvin_factor, open_fits
from lensrec.sky.map_write import read_alm, replacing, write_alm, write_map

__all__ = [
    "MapError",
    "SkyMap",
    "inspect_map",
    "look_into",
    "read_alm",
    "read_map",
    "read_mask",
    "replacing",
    "write_alm",
    "write_map",
]

log = logging.getLogger(__name__)

_FLAG_UNITS = ("K", "mK", "uK", "K_CMB", "mK_CMB", "uK_CMB")
# Neighbours in a wrong ordering differ more by far; white noise gives 1.00 within 0.02 for 1000 pairs or more
_ROUGHER = 1.25
# A narrow cut along the equator is smoother the other way, by up to 3.2: its pixels follow each other in RING order,
# and would be few whole faces in NESTED. Other masks in a wrong ordering are rougher by 3.3 (small discs) to 70.
_ROUGHER_MASK = 3.3
# Spread of a CMB temperature map in µK, whatever its noise: a unit wrong by 10³ leaves this range
_SPREAD = (0.3, 2.0e4)


def read_map(
    path: str | os.PathLike[str],
    *,
    unit: str | None = None,
    ordering: str | None = None,
    polconv: str | None = None,
    nside: int | None = None,
    dtype: DTypeLike = np.float64,
    nthreads: int = 0,
) -> SkyMap:
    """Read a temperature map, or I, Q and U, from HEALPix or CAR FITS.

    Parameters
    ----------
    path : str or path, .fits or .fits.gz
    unit : "K", "mK" or "uK" (of CMB temperature)
        Overrules the header. Needed where the header has none.
    ordering : "RING" or "NESTED"
        Overrules the header of a HEALPix file.
    polconv : "COSMO" or "IAU"
        Overrules the header. Where neither speaks, HEALPix files are COSMO; CAR files are IAU if they have a
        STOKES axis (ACT, SO), else COSMO (pixell.enmap.write_map).
    nside : int
        For CAR: what it is converted to; default the smallest whose pixels are no larger than the CAR pixels.
        A HEALPix file must have it, if given: it is not resampled.
    dtype : float64 or float32, of the result
    nthreads : int

    Returns
    -------
    SkyMap
        µK_CMB, RING, COSMO; zero where not observed.

    Raises
    ------
    MapError
        If the file is not a map that can be read with certainty; one line says why, and how to mend it.
    """
    with about(path):
        _check_flags(unit, ordering, polconv, nside)
        with open_fits(path) as hdus:
            raw = _load(hdus, ordering, polconv)
        del hdus  # which would keep the file's pages
        if raw.wcs is None and nside not in (None, raw.description["nside"]):
            raise MapError(f"the map has nside {raw.description['nside']}, not {nside}; HEALPix maps are not resampled")
        if not raw.observed.any():
            raise MapError("no pixel of the map is observed")
        disorder = _doubtful_order(raw)
        maps = _in_microkelvin(raw, unit, in_place=True)
        if problem := _doubtful_unit(maps[0], raw.observed, trusted=unit is not None) or disorder:
            raise MapError(problem)
        observed = raw.observed
        if raw.wcs is not None:
            size = nside or matching_nside(raw.wcs)
            _check_flags(None, None, None, size)
            maps, observed = car_to_healpix(maps, observed, raw.wcs, size, nthreads=nthreads)
            if not observed.any():
                raise MapError("nothing of the map is left away from its borders")
    found = nside_of(maps.shape[-1])
    return SkyMap(
        maps.astype(dtype, copy=False), found, observed, {**raw.description, "nside": found, "unit_flag": unit}
    )


def read_mask(
    path: str | os.PathLike[str],
    *,
    nside: int,
    column: int = 0,
    ordering: str | None = None,
    coord: str | None = None,
    hits: bool = False,
) -> NDArray[np.float64]:
    """Read a mask or weight between 0 and 1 from HEALPix or CAR FITS, at the nside that is wanted.

    Parameters
    ----------
    path : str or path
    nside : int
        A coarser mask is repeated, a finer one averaged; CAR masks are averaged over each HEALPix pixel.
    column : int
        Which column (HEALPix, pixel numbers not counted) or component (CAR); WMAP keeps masks in column 1.
    ordering : "RING" or "NESTED", overrules the header
    coord : "G", "C" or "E"
        If given, the file's coordinates, where it states them, must be these.
    hits : bool
        The file holds hits, or inverse noise variance, of any scale: they are divided by their maximum.

    Returns
    -------
    array (12 nside²,), RING; 0 where the file has NaN, UNSEEN or nothing.

    Raises
    ------
    MapError
        If the file cannot be read, has values outside [0, 1], or lets no pixel pass.
    """
    with about(path):
        _check_flags(None, ordering, None, nside)
        with open_fits(path) as hdus:
            image = car_image(hdus)
            if image is None:
                values, good, facts = read_one_column(hdus, column, ordering)
                found, wcs = facts["coord"], None
            else:
                values, good, wcs, found = read_car_layer(image, column)
        if hits:
            if low := float(np.min(values, where=good, initial=0.0)):
                raise MapError(f"hits, or inverse variances, of {low:.6g} are below zero")
            values = values / (np.max(values, where=good, initial=0.0) or 1.0)
        mask = _unit_interval(values, good)
        if coord and found and found != coord:
            raise MapError(f"the mask is in coordinates {found}, the map in {coord}; rotate one of them")
        if not mask.any():
            what = "hits" if hits else "mask"
            raise MapError(f"column {column} of the {what} is zero everywhere; try another column=, or another file")
        if wcs is not None:
            return sample_nearest(mask, wcs, nside, subdivide=max(1, matching_nside(wcs) // nside))
        everywhere = np.ones(len(mask), dtype=bool)
        contrast = order_contrast(mask, everywhere, facts["ordering"], typical=False)
        if contrast > _ROUGHER_MASK:
            raise MapError(_order_message(facts["ordering"], contrast))
    return regraded(mask, nside)


def inspect_map(
    path: str | os.PathLike[str],
    *,
    unit: str | None = None,
    ordering: str | None = None,
    polconv: str | None = None,
) -> dict[str, Any]:
    """What a map file holds, without converting it.

    Returns
    -------
    dict
        kind, nside or shape, ordering, unit, polarised, polconv, columns, coord, beam,
        observed_fraction, zero_fraction (of observed pixels), components: {"I": what
        `lensrec.sky.inspection.field_statistics` gives, ...} in `component_unit` (uK_CMB, or "as in the file" where
        the unit is not known), and problems: a list of lines, empty for a map that `read_map` would take as it is.

    Raises
    ------
    MapError
        If the file holds no map at all.
    """
    return look_into(path, unit=unit, ordering=ordering, polconv=polconv)[0]


def look_into(
    path: str | os.PathLike[str],
    *,
    unit: str | None = None,
    ordering: str | None = None,
    polconv: str | None = None,
) -> tuple[dict[str, Any], RawMap, NDArray[np.float64]]:
    """As `inspect_map`, and the map: as the file has it, and in `component_unit` and COSMO, zero where unobserved."""
    with about(path):
        _check_flags(unit, ordering, polconv, None)
        with open_fits(path) as hdus:
            raw = _load(hdus, ordering, polconv)
    problems: list[str] = []
    try:
        maps, shown = _in_microkelvin(raw, unit), "uK_CMB"
    except MapError as error:
        maps, shown = np.where(raw.observed, raw.values, 0.0), "as in the file"
        problems.append(str(error))
    seen = [row.ravel() if raw.observed.all() else row[raw.observed] for row in maps]
    if seen[0].size == 0:
        problems.append("no pixel of the map is observed")
    elif shown == "uK_CMB":
        problems += filter(None, [_doubtful_unit(maps[0], raw.observed, trusted=False)])
    problems += filter(None, [_doubtful_order(raw)])
    facts = dict(raw.description)
    facts["unit"] = unit or _joined(raw.units)
    facts["polarised"] = len(maps) == 3
    facts["observed_fraction"] = _sky_fraction(raw)
    facts["zero_fraction"] = float(np.mean(seen[0] == 0.0)) if seen[0].size else 0.0
    facts["component_unit"] = shown
    facts["components"] = {name: field_statistics(row) for name, row in zip("IQU", seen, strict=False) if row.size}
    facts["problems"] = problems
    return facts, raw, maps


def _load(hdus: Any, ordering: str | None, polconv: str | None) -> RawMap:
    image = car_image(hdus)
    return read_tables(hdus, ordering, polconv) if image is None else read_car(image, polconv)


def _in_microkelvin(raw: RawMap, unit: str | None, *, in_place: bool = False) -> NDArray[np.float64]:
    """Values in µK_CMB and COSMO, zero where unobserved; with `in_place` those of `raw` itself, which are lost then."""
    factors = [microkelvin_factor(unit or label) for label in raw.units]
    if len(factors) == 3 and raw.polconv == "IAU":
        factors[2] = -factors[2]
    scale = np.reshape(factors, (-1,) + (1,) * raw.observed.ndim)
    if in_place and raw.values.flags.writeable and raw.values.dtype == np.float64:
        out = raw.values
        np.copyto(out, 0.0, where=~raw.observed)
    else:
        out = np.where(raw.observed, raw.values, 0.0)
    out *= scale
    return out


def _unit_interval(values: NDArray, good: NDArray[np.bool_]) -> NDArray[np.float64]:
    mask = np.where(good, values, 0.0)
    low, high = float(mask.min()), float(mask.max())
    # 1e-6: float32 masks that were smoothed or rescaled overshoot by rounding
    if low < -1e-6 or high > 1.0 + 1e-6:
        raise MapError(f"mask values run from {low:.6g} to {high:.6g}, outside [0, 1]; is this column a mask?")
    return np.clip(mask, 0.0, 1.0)


def _doubtful_unit(temperature: NDArray, observed: NDArray[np.bool_], *, trusted: bool) -> str:
    """A line if the spread of the temperature cannot be that of the CMB in this unit, else nothing."""
    seen = temperature[observed & (temperature != 0.0)]
    if seen.size == 0:
        return ""
    seen -= np.median(seen)
    np.abs(seen, out=seen)
    spread = 1.4826 * float(np.median(seen, overwrite_input=True))
    if spread == 0.0 or _SPREAD[0] < spread < _SPREAD[1]:
        return ""
    line = f"the temperature varies by {spread:.3g} uK if the unit is right, where a CMB sky has about 100"
    if trusted and spread < _SPREAD[0]:
        log.warning("%s", line)
        return ""
    return f"{line}; give the true unit with unit=K, mK or uK"


def _doubtful_order(raw: RawMap) -> str:
    if raw.wcs is not None:
        return ""
    contrast = order_contrast(raw.values[0], raw.observed, raw.description["ordering"])
    return _order_message(raw.description["ordering"], contrast) if contrast > _ROUGHER else ""


def _order_message(claimed: str, contrast: float) -> str:
    other = "NESTED" if claimed == "RING" else "RING"
    return (
        f"the pixels are said to be in {claimed} order but are {contrast:.1f} times smoother in {other}; "
        f"if so, give ordering={other}"
    )


def _check_flags(unit: str | None, ordering: str | None, polconv: str | None, nside: int | None) -> None:
    if unit is not None and unit not in _FLAG_UNITS:
        raise MapError(f"unit must be one of {', '.join(_FLAG_UNITS)}, got {unit!r}")
    if ordering is not None and ordering.upper() not in ("RING", "NESTED", "NEST"):
        raise MapError(f"ordering must be RING or NESTED, got {ordering!r}")
    if polconv is not None and polconv.upper() not in ("COSMO", "IAU"):
        raise MapError(f"polconv must be COSMO or IAU, got {polconv!r}")
    if nside is not None and (nside < 1 or nside & (nside - 1) or nside > 8192):
        raise MapError(f"nside must be a power of two from 1 to 8192, got {nside}")


def _joined(units: tuple[str, ...]) -> str:
    return units[0] if len(set(units)) == 1 else ", ".join(units)


def _sky_fraction(raw: RawMap) -> float:
    if raw.wcs is None:
        return float(np.mean(raw.observed))
    side = np.radians(np.abs(raw.wcs.wcs.cdelt))
    rows = np.arange(raw.observed.shape[0])
    dec = np.radians((rows + 1.0 - raw.wcs.wcs.crpix[1]) * raw.wcs.wcs.cdelt[1])
    area = side[0] * side[1] * np.clip(np.cos(dec), 0.0, None)
    return float(raw.observed.sum(axis=1) @ area / (4.0 * np.pi))

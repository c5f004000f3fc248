"""A map, mask or map of hits: facts, statistics, spectrum and picture."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lensrec.sky.car_io import border_taper
from lensrec.sky.healpix_io import healpix_tables, is_pixel_number, is_temperature, read_one_column
from lensrec.sky.inspection import (
    band_edges,
    band_table,
    field_statistics,
    gap_statistics,
    map_spectra,
    noise_floor,
    weight_kind,
    weight_statistics,
)
from lensrec.sky.io import look_into
from lensrec.sky.map_header import RawMap, about, open_fits
from lensrec.sky.masks import apodise
from lensrec.sphere.grids import Grid, car_grid, healpix_grid
from lensrec.stages.inspection.found import Inspection, TextImage
from lensrec.view.maps import mollweide_figure, plate_figure, robust_limit
from lensrec.view.projection import block_image, mollweide_image
from lensrec.view.text_picture import mollweide_frame

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS = 64
HIGHEST = 6000
"""Multipole at which the spectrum of the finest maps ends, so that none takes longer than a minute."""

_TAPERS = (1.0, 0.3, 0.1)
_MOST_COLUMNS = 12


def inspect_map_file(
    path: Path,
    *,
    unit: str | None = None,
    ordering: str | None = None,
    polconv: str | None = None,
    spectrum: bool = True,
    nthreads: int = 0,
) -> Inspection:
    """What is in a HEALPix or CAR file.

    Raises
    ------
    MapError
        If it is no map.
    """
    facts, raw, maps = look_into(path, unit=unit, ordering=ordering, polconv=polconv)
    area = _area(raw)
    content = _content(raw, facts)
    out: dict[str, Any] = {"kind": facts.pop("kind"), "content": content}
    if raw.wcs is None:
        out["nside"] = facts.pop("nside")
        out["resolution_arcmin"] = float(np.sqrt(4.0 * np.pi / maps.shape[1]) * 10800.0 / np.pi)
    facts["beam"] = _beam_cards(path)
    problems = facts.pop("problems")
    components = facts.pop("components")
    weighs = content in ("mask", "hits", "weights")
    if not content.startswith("T"):
        problems = [line for line in problems if "unit" not in line]
        names = raw.description["stokes_columns"] if raw.wcs is None else [content]
        components = dict(zip(names, components.values(), strict=False))
        facts = {key: value for key, value in facts.items() if not key.startswith("pol")}
    out |= facts
    covers = np.broadcast_to(area, raw.observed.shape)
    whole = 1.0 if raw.wcs is None else float(covers.sum())
    out["masked_fraction"] = float(covers[_seen_weight(raw, maps) == 0.0].sum()) / whole
    for row, values in zip(raw.values, components.values(), strict=False):
        has = raw.observed | (row != 0.0) if facts.get("indexing") == "EXPLICIT" else np.ones(row.shape, dtype=bool)
        values |= gap_statistics(row[has], np.broadcast_to(area, row.shape)[has])
    out["components"] = components
    weights = {name: _weights(row, area) for name, row in zip(components, maps, strict=False)} if weighs else {}
    out["weights"] = weights | _further_columns(path, raw, ordering)
    if spectrum and not weighs and raw.observed.any():
        out |= _spectrum(raw, maps, content, facts["component_unit"], nthreads)
    out["problems"] = problems
    label = next(iter(components), "I")
    shown = "µK" if facts["component_unit"] == "uK_CMB" else ""
    return Inspection(out, _text_image(raw, maps, label, shown), partial(_figure, raw, maps, list(components), shown))


def _content(raw: RawMap, facts: dict[str, Any]) -> str:
    """T; T, Q and U; mask, hits or weights: what has no unit of temperature and is nowhere negative; else a field."""
    sky = "T, Q and U" if len(raw.values) == 3 else "T"
    seen = raw.values[:, raw.observed]
    if facts["component_unit"] == "uK_CMB" or seen.size == 0:
        return sky
    if seen.min() >= 0.0:
        return weight_kind(seen)
    if len(raw.values) == 3:
        return sky
    name = str(raw.description["columns"][0])
    return "T" if raw.wcs is not None or is_temperature(name) else "field"


def _weights(values: NDArray, area: Any) -> dict[str, Any]:
    """What they are and how they are spread; depths are those of hits, not of a mask."""
    kind = weight_kind(values)
    if not values.any():
        return {"content": kind, "f_sky": 0.0}
    found = weight_statistics(values, area)
    return {"content": kind} | {key: value for key, value in found.items() if kind != "mask" or key != "depth_ratio"}


def _seen_weight(raw: RawMap, maps: NDArray) -> NDArray[np.float64]:
    """1 where the map is observed and not exactly zero in all components, as masked maps are."""
    return (raw.observed & maps.any(axis=0)).astype(np.float64)


def _area(raw: RawMap) -> Any:
    """Of each pixel, as a share of the sphere."""
    if raw.wcs is None:
        return 1.0 / raw.observed.size
    side = np.radians(np.abs(raw.wcs.wcs.cdelt))
    return (side[0] * side[1] / (4.0 * np.pi) * np.clip(np.cos(_declination(raw)), 0.0, None))[:, None]


def _declination(raw: RawMap) -> NDArray[np.float64]:
    wcs = raw.wcs.wcs
    return np.radians((np.arange(raw.observed.shape[0]) + 1.0 - wcs.crpix[1]) * wcs.cdelt[1])


def _beam_cards(path: Path) -> list[str]:
    """Every card on a beam, as it stands: files disagree on keys and units."""
    found: dict[str, None] = {}
    with about(path), open_fits(path) as hdus:
        for hdu in hdus:
            for card in hdu.header.cards:
                if ("BEAM" in card.keyword.upper() or "FWHM" in card.keyword.upper()) and card.keyword != "COMMENT":
                    found[f"{card.keyword} = {card.value} {card.comment}".strip()] = None
    return list(found)


def _further_columns(path: Path, raw: RawMap, ordering: str | None) -> dict[str, dict[str, Any]]:
    """Hits, masks and covariances that stand beside the map in its table."""
    if raw.wcs is not None:
        return {}
    found: dict[str, dict[str, Any]] = {}
    with about(path), open_fits(path) as hdus:
        names = [name for name in healpix_tables(hdus)[0].columns.names if not is_pixel_number(name)]
        for number, name in enumerate(names[:_MOST_COLUMNS]):
            if name in raw.description["stokes_columns"]:
                continue
            values, good, _ = read_one_column(hdus, number, ordering)
            if not good.any():
                found[name] = gap_statistics(values)
            elif values[good].min() < 0.0:
                found[name] = field_statistics(values[good])
            else:
                found[name] = _weights(np.where(good, values, 0.0), 1.0 / values.size)
    return found


def _spectrum(raw: RawMap, maps: NDArray, content: str, unit: str, nthreads: int) -> dict[str, Any]:
    grid, rows, weight = _on_rings(raw, maps)
    side = np.sqrt(np.pi / 3.0) / grid.nside if grid.nside else abs(float(grid.theta[1] - grid.theta[0]))
    lmax = min(round(2.0 * np.sqrt(np.pi / 3.0) / side), HIGHEST)
    if lmax < 4:
        return {}
    temperature = content.startswith("T")
    spectra = map_spectra(rows, weight, grid, lmax, nthreads=nthreads)
    if not temperature:
        spectra = {str(raw.description["columns"][0]): spectra["TT"]}
    ell = np.arange(lmax + 1.0)
    scale = ell * (ell + 1.0) / (2.0 * np.pi) if temperature else np.ones(lmax + 1)
    edges = band_edges(lmax)
    letters = "ℓ" if temperature else "L"
    about_it = f"{'D' if temperature else 'C'}_{letters}, "
    about_it += {"uK_CMB": "µK²"}.get(unit, "in the file's unit squared") if temperature else "dimensionless"
    found: dict[str, Any] = {
        "spectrum": band_table(spectra, scale, edges, name=letters),
        "spectrum_of": f"{about_it}; beam not taken out, noise not taken off, divided by ⟨w²⟩",
    }
    if unit == "uK_CMB" and temperature:
        first = int(edges[-2])
        floor = {"T": noise_floor(spectra["TT"], first)}
        if "EE" in spectra:
            floor["P"] = noise_floor(0.5 * (spectra["EE"] + spectra["BB"]), first)
        found["noise_at_most"] = {f"{key}_uK_arcmin": value for key, value in floor.items()} | {
            "from_ell": first,
            "to_ell": lmax,
        }
    return found


def _on_rings(raw: RawMap, maps: NDArray) -> tuple[Grid, NDArray, NDArray[np.float64]]:
    """The map on whole rings, and its weight: 1 where it is observed, rising from 0 at its borders."""
    seen = _seen_weight(raw, maps)
    if raw.wcs is None:
        grid = healpix_grid(raw.description["nside"])
        return grid, maps, _tapered(seen, lambda width: apodise(seen, width))
    weight = _tapered(seen, lambda width: border_taper(seen > 0, raw.wcs, width))
    wcs = raw.wcs.wcs
    around = round(360.0 / abs(wcs.cdelt[0]))
    first = wcs.crval[0] + (1.0 - wcs.crpix[0]) * wcs.cdelt[0]
    # rings run eastwards; a file's rows mostly westwards
    eastwards = slice(None) if wcs.cdelt[0] > 0 else slice(None, None, -1)
    last = first + (maps.shape[-1] - 1) * wcs.cdelt[0]
    grid = car_grid(np.pi / 2.0 - _declination(raw), around, float(np.radians(min(first, last))))
    rows = np.zeros((len(maps) + 1, maps.shape[1], around))
    rows[:-1, :, : maps.shape[-1]] = maps[..., eastwards]
    rows[-1, :, : maps.shape[-1]] = weight[..., eastwards]
    rows = rows.reshape(len(rows), -1)
    return grid, rows[:-1], rows[-1]


def _tapered(seen: NDArray[np.float64], taper: Any) -> NDArray[np.float64]:
    """A weight that rises over a degree from what is not seen; over less where that would leave less than half."""
    if seen.all():
        return seen
    for degrees in _TAPERS:
        weight = taper(np.radians(degrees))
        if weight.sum() >= 0.5 * seen.sum():
            return weight
    return seen


def _text_image(raw: RawMap, maps: NDArray, label: str, unit: str) -> TextImage | None:
    if not raw.observed.any():
        return None
    seen = _seen_weight(raw, maps) > 0 if maps.min() < 0 else raw.observed
    if raw.wcs is None:
        image = mollweide_image(maps[0], COLUMNS, seen=seen)
        frame = mollweide_frame(*image.shape)
        image[~frame] = np.nan
    else:
        image, frame = block_image(_north_up(raw, maps[0]), COLUMNS, seen=_north_up(raw, seen)), None
    finite = image[np.isfinite(image)]
    if finite.size == 0:
        return None
    return TextImage(image, _limits(finite), frame, label, unit)


def _limits(values: NDArray) -> tuple[float, float]:
    if values.min() < 0.0:
        # a bright Galaxy would leave nothing else to see
        half = min(robust_limit([values]), 6.0 * float(np.median(np.abs(values))) or np.inf)
        return -half, half
    low, high = float(values.min()), float(np.percentile(values, 99.5))
    return (low if low < high else 0.0), (high if high > 0.0 else 1.0)


def _north_up(raw: RawMap, image: NDArray) -> NDArray:
    """Row 0 in the south, column 0 in the east."""
    steps = raw.wcs.wcs.cdelt
    return image[:: 1 if steps[1] > 0 else -1, :: 1 if steps[0] < 0 else -1]


def _figure(raw: RawMap, maps: NDArray, names: list[str], unit: str) -> "Figure":
    labels = [f"{name} [{unit}]" if unit else name for name in names]
    seen = _seen_weight(raw, maps) > 0 if maps.min() < 0 else raw.observed
    fields = [np.where(seen, row, np.nan) for row in maps]
    colours = "RdBu_r" if maps.min() < 0 else "viridis"
    ends = None if maps.min() < 0 else _limits(maps[0][raw.observed])
    if raw.wcs is None:
        return mollweide_figure(fields, names, unit=labels, cmap=colours, limits=ends, columns=min(2, len(fields)))
    wcs = raw.wcs.wcs
    ny, nx = maps.shape[1:]
    ra = wcs.crval[0] + (np.array([0.5, nx + 0.5]) - wcs.crpix[0]) * wcs.cdelt[0]
    dec = (np.array([0.5, ny + 0.5]) - wcs.crpix[1]) * wcs.cdelt[1]
    extent = (float(ra.max()), float(ra.min()), float(dec.min()), float(dec.max()))
    images = [_north_up(raw, row) for row in fields]
    return plate_figure(images, names, unit=labels, extent=extent, cmap=colours, limits=ends)

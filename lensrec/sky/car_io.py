"""Plate carrée (CAR) maps as pixell, ACT and the Simons Observatory write them, brought to HEALPix."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lensrec.arrays import thread_count
from lensrec.sky.fits_size import check_memory
from lensrec.sky.map_header import UNSEEN, MapError, RawMap, good_values, header_text, parse_polconv
from lensrec.sphere.alm import resize_alm
from lensrec.sphere.grids import healpix_grid
from lensrec.sphere.sht import synthesis

BORDER_PIXELS = 10
_CHUNK = 1 << 20


def car_image(hdus: Any) -> Any | None:
    """The first image of the file in a cylindrical projection of the sky, None if there is none.

    Raises
    ------
    MapError
        If the image is of the sky but in another projection than plain CAR.
    """
    for hdu in hdus:
        if not hdu.is_image or hdu.header.get("NAXIS", 0) < 2:
            continue
        axes = [str(hdu.header.get(f"CTYPE{i}", "")).strip().upper() for i in (1, 2)]
        if not axes[0].startswith(("RA--", "GLON")):
            continue
        if not all(axis.endswith("-CAR") for axis in axes):
            raise MapError(f"projection {axes[0]}, {axes[1]} is not CAR; reproject the map to CAR or HEALPix")
        if abs(float(hdu.header.get("CRVAL2", 0.0))) > 1e-9:
            raise MapError("an oblique CAR map (CRVAL2 is not 0) is not read; reproject it with CRVAL2 = 0")
        return hdu
    return None


def read_car(hdu: Any, polconv: str | None = None) -> RawMap:
    """I, or I, Q and U, of a CAR image in the file's own units, shape (ncomp, ny, nx).

    Pixels that are not finite, UNSEEN, or exactly zero in every component (as ACT fills what it did not see)
    count as unobserved.

    Notes
    -----
    Polarisation follows pixell's reader: POLCCONV (or POLCONV) where it is given; without it, a file with a
    STOKES axis is IAU, as ACT and SO publish, and one without is COSMO, as pixell.enmap.write_map leaves it.

    Raises
    ------
    MapError
        If the axes are not (I), (I, Q, U) or (I, Q, U, V).
    """
    header = hdu.header
    data = np.asarray(hdu.data)
    stokes = _stokes_indices(header, data.shape)
    values = data.reshape(-1, *data.shape[-2:])[stokes].astype(np.float64)
    good = np.logical_and.reduce(good_values(values, float(header.get("BAD_DATA", UNSEEN))))
    good &= np.any(values != 0.0, axis=0)
    stated = header_text([header], "POLCCONV", "POLCONV")
    axis = any("STOKES" in str(header.get(f"CTYPE{i}", "")).upper() for i in (3, 4))
    conv = parse_polconv(polconv or stated, "IAU" if axis else "COSMO")
    wcs = plain_wcs(hdu)
    unit = header_text([header], "BUNIT", "TUNIT1")
    units = (unit,) * len(values)
    description: dict[str, Any] = {
        "kind": "CAR",
        "shape": data.shape,
        "resolution_arcmin": 60.0 * resolution_degrees(wcs),
        "unit": units,
        "polconv": conv,
        "polconv_stated": bool(stated),
        "columns": tuple("IQU"[: len(values)]),
        "extname": str(hdu.name),
        "coord": _coordinates(header),
        "beam": "",
    }
    return RawMap(values, good, units, conv, description, wcs)


def read_car_layer(hdu: Any, layer: int) -> tuple[NDArray[np.float64], NDArray[np.bool_], Any, str]:
    """One component of a CAR image, whatever it holds: values (ny, nx), where they are numbers, WCS, coordinates."""
    data = np.asarray(hdu.data)
    layers = data.reshape(-1, *data.shape[-2:])
    if not 0 <= layer < len(layers):
        raise MapError(f"there is no component {layer}; the image has {len(layers)}")
    values = layers[layer].astype(np.float64)
    return values, good_values(values), plain_wcs(hdu), _coordinates(hdu.header)


def plain_wcs(hdu: Any) -> Any:
    """The two celestial axes of a CAR image.

    Raises
    ------
    MapError
        If its pixels have no size, or it reaches beyond a pole or more than once around the sky.
    """
    from pixell import wcsutils

    if hdu.data is None or not all(float(hdu.header.get(key, 0.0)) for key in ("CDELT1", "CDELT2")):
        raise MapError("the CAR image has no pixels, or its header no pixel size (CDELT1, CDELT2)")
    wcs = wcsutils.WCS(hdu.header).sub(2)
    cdelt = wcs.wcs.cdelt
    ny, nx = hdu.data.shape[-2:]
    reach = (np.array([0.5, ny + 0.5]) - wcs.wcs.crpix[1]) * cdelt[1]
    if np.abs(reach).max() > 90.0 + 0.51 * abs(cdelt[1]) or nx * abs(cdelt[0]) > 360.0 + 1e-6:
        raise MapError(f"a CAR image of {ny} x {nx} pixels of {abs(cdelt[1]):.4g} deg does not fit on the sky")
    return wcs


def _coordinates(header: Any) -> str:
    return "G" if str(header["CTYPE1"]).upper().startswith("GLON") else "C"


def resolution_degrees(wcs: Any) -> float:
    """Mean of the two pixel sides, degrees."""
    return float(np.mean(np.abs(wcs.wcs.cdelt)))


def matching_nside(wcs: Any) -> int:
    """The smallest nside whose pixels, (4π/12)^½/nside on a side, are no larger than the CAR pixels."""
    side = np.radians(resolution_degrees(wcs))
    return 1 << max(0, int(np.ceil(np.log2(np.sqrt(np.pi / 3.0) / side) - 1e-9)))


def car_to_healpix(
    values: NDArray, observed: NDArray[np.bool_], wcs: Any, nside: int, *, nthreads: int = 0
) -> tuple[NDArray, NDArray[np.bool_]]:
    """Bring a CAR map to HEALPix through its harmonic coefficients.

    Parameters
    ----------
    values : array (ncomp, ny, nx)
        I, or I, Q and U in COSMO; unobserved pixels are ignored.
    observed : bool array (ny, nx)
    wcs : astropy WCS
    nside : int

    Returns
    -------
    maps : array (ncomp, 12 nside²), RING
    observed : bool array (12 nside²,)

    Notes
    -----
    The analysis of a whole sky is exact up to the CAR grid's own band limit; that of a part of it uses the
    quadrature weights of its rings, good to 1e-4 or better. The synthesis stops at 3 nside − 1. A sharp border
    would ring far into the map. So where sky is missing, values are first taken to zero by the C² taper
    x − sin(2πx)/2π over BORDER_PIXELS pixels (of the coarser grid), and these border pixels count as
    unobserved; inside them the map is kept (rms error 3e-4 of the map's, 1e-2 without the taper). No pixel
    window is divided out.
    """
    from pixell import curvedsky, enmap

    threads = thread_count(nthreads)
    if not observed.any():
        raise MapError("no pixel of the map is observed")
    check_memory(4 * 8.0 * len(values) * 12 * nside**2, f"the map at nside {nside}, which its pixels ask for,")
    clean = np.where(observed, values, 0.0)
    inner = observed
    geometry = curvedsky.analyse_geometry(values.shape, wcs)
    if geometry.case != "2d" or not observed.all():
        side = max(np.radians(resolution_degrees(wcs)), np.sqrt(np.pi / 3.0) / nside)
        taper = border_taper(observed, wcs, BORDER_PIXELS * side)
        clean *= taper
        inner = taper >= 1.0
        if not inner.any():
            raise MapError(f"every pixel is within {BORDER_PIXELS} pixels of a border or hole; fill the holes first")
    known = geometry.ducc_geo.lmax if geometry.ducc_geo is not None else int(180.0 / resolution_degrees(wcs))
    carried = min(known, 3 * nside - 1)
    # a whole grid is analysed to its band limit, or multipoles beyond `lmax` would leak into those below it
    lmax = known if geometry.case == "2d" else carried
    alm = curvedsky.map2alm(enmap.ndmap(clean, wcs), lmax=lmax, spin=[0, 2], nthread=threads)
    alm = resize_alm(np.asarray(alm), carried)
    grid = healpix_grid(nside)
    maps = np.empty((len(values), grid.npix))
    maps[0] = synthesis(alm[0], grid, nthreads=threads)
    if len(values) == 3:
        maps[1:] = synthesis(alm[1:], grid, spin=2, nthreads=threads)
    seen = sample_nearest(inner, wcs, nside) > 0.5
    return np.where(seen, maps, 0.0), seen


def border_taper(observed: NDArray[np.bool_], wcs: Any, width: float) -> NDArray[np.float64]:
    """A weight that rises from 0 at unobserved sky to 1 at angular distance `width` (radians) from it.

    The seam of a map that closes in right ascension is no border, nor is a first or last ring at a pole.
    """
    from pixell import enmap

    cdelt = np.abs(wcs.wcs.cdelt)
    ny, nx = observed.shape
    closes = nx * cdelt[0] > 360.0 - 0.5 * cdelt[0]
    dec = wcs.wcs_pix2world([[0.0, 0.0], [0.0, ny - 1.0]], 0)[:, 1]
    at_pole = np.abs(np.abs(dec) - 90.0) < 0.75 * cdelt[1]
    if observed.all() and closes and at_pole.all():
        return np.ones(observed.shape)
    reach = int(np.ceil(np.degrees(width) / cdelt[0] / max(0.05, np.cos(np.radians(np.abs(dec).max())))))
    wrap = min(reach + 1, nx // 2) if closes else 1
    rows = np.where(at_pole, 0, 1)
    padded = np.pad(observed, ((rows[0], rows[1]), (0, 0)))
    padded = np.pad(padded, ((0, 0), (wrap, wrap)), mode="wrap" if closes else "constant")
    moved = wcs.deepcopy()
    moved.wcs.crpix += (wrap, rows[0])
    distance = enmap.distance_transform(enmap.ndmap(padded, moved), rmax=1.01 * width)
    x = np.clip(np.asarray(distance)[rows[0] : rows[0] + ny, wrap : wrap + nx] / width, 0.0, 1.0)
    return np.where(x >= 1.0, 1.0, x - np.sin(2.0 * np.pi * x) / (2.0 * np.pi))


def sample_nearest(image: NDArray, wcs: Any, nside: int, *, subdivide: int = 1) -> NDArray[np.float64]:
    """Average of a CAR image over each HEALPix pixel (RING), by the CAR pixel nearest to each sub-pixel.

    Parameters
    ----------
    image : array (ny, nx)
    wcs : astropy WCS
    nside : int
    subdivide : int
        Power of two: a pixel is looked up at the centres of its subdivide² children. 1: at its own centre.

    Returns
    -------
    array (12 nside²,); sky outside the image counts as 0.
    """
    import healpy

    fine = nside * subdivide
    npix = 12 * nside * nside
    total = np.zeros(npix)
    for first in range(0, npix, _CHUNK):
        last = min(first + _CHUNK, npix)
        parents = healpy.ring2nest(nside, np.arange(first, last))
        for child in range(subdivide * subdivide):
            lon, lat = healpy.pix2ang(fine, parents * subdivide**2 + child, nest=True, lonlat=True)
            total[first:last] += _look_up(image, wcs, lon, lat)
    return total / subdivide**2


def _look_up(image: NDArray, wcs: Any, lon: NDArray, lat: NDArray) -> NDArray[np.float64]:
    """The image at its pixel nearest to each direction (degrees), 0 outside it."""
    ny, nx = image.shape
    w = wcs.wcs
    turn = 360.0 / abs(w.cdelt[0])
    # CAR with CRVAL2 = 0 is linear in both angles
    column = (lon - w.crval[0]) / w.cdelt[0] + w.crpix[0] - 1.0
    x = np.rint(np.mod(column + 0.5, turn) - 0.5).astype(np.int64)
    y = np.rint(lat / w.cdelt[1] + w.crpix[1] - 1.0).astype(np.int64)
    inside = (x >= 0) & (x < nx) & (y >= 0) & (y < ny)
    found = image[np.clip(y, 0, ny - 1), np.clip(x, 0, nx - 1)]
    return np.where(inside, found, 0.0)


def _stokes_indices(header: Any, shape: tuple[int, ...]) -> list[int]:
    """Where I, or I, Q and U, stand along the axis before the last two."""
    if any(n != 1 for n in shape[:-3]):
        raise MapError(f"a CAR map must have the axes (Stokes, dec, RA), got shape {shape}")
    ncomp = shape[-3] if len(shape) > 2 else 1
    axis = next((i for i in (3, 4) if "STOKES" in str(header.get(f"CTYPE{i}", "")).upper()), 0)
    if axis == 3 and len(shape) > 2:
        step = float(header.get("CDELT3", 1.0)) or 1.0
        start = float(header.get("CRVAL3", 1.0)) - (float(header.get("CRPIX3", 1.0)) - 1.0) * step
        order = [round(start + i * step) for i in range(ncomp)]
        if 1 not in order:
            raise MapError(f"the STOKES axis holds {order} (FITS numbers), but no I (1)")
        return [order.index(k) for k in (1, 2, 3)] if {2, 3} <= set(order) else [order.index(1)]
    if ncomp not in (1, 3, 4):
        raise MapError(f"a CAR map must have 1 (I) or 3 (I, Q, U) components, got {ncomp}")
    return [0] if ncomp == 1 else [0, 1, 2]

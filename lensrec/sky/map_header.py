"""What a map file says of itself: units, pixel ordering, polarisation convention; and how it is opened."""

import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lensrec.sky.fits_size import MapError, check_memory, stream_of

UNSEEN = -1.6375e30

_TEMPERATURE = re.compile(
    r"(?P<prefix>m|u|µ|μ|mu|micro|milli)?(k|kelvins?)[\s,_\[(-]*(cmb|thermo(dynamic)?|temperature)?[\])]*"
)
_MICRO_PER = {"": 1e6, "m": 1e3, "milli": 1e3, "u": 1.0, "µ": 1.0, "μ": 1.0, "mu": 1.0, "micro": 1.0}
_ORDERINGS = {"RING": "RING", "RINGED": "RING", "NESTED": "NESTED", "NEST": "NESTED"}
_NOT_SAID = {"", "unknown", "none", "undef", "n/a"}


@dataclass(frozen=True, eq=False)
class SkyMap:
    """A map brought to lensrec's conventions.

    Attributes
    ----------
    maps : array (1, npix) or (3, npix)
        I, or I, Q and U, HEALPix RING, µK_CMB, COSMO; zero where not observed.
    nside : int
    observed : bool array (npix,)
        True where every component was measured.
    description : dict
        What the file said: kind, ordering, units, polconv, columns, extname, coord, beam_fwhm_arcmin, ...
    """

    maps: NDArray
    nside: int
    observed: NDArray[np.bool_]
    description: dict[str, Any]

    @property
    def polarised(self) -> bool:
        """True for I, Q and U."""
        return len(self.maps) == 3

    def _repr_html_(self) -> str:
        from lensrec.showing import html

        return html(self)


@dataclass(frozen=True, eq=False)
class RawMap:
    """A map in its file's units and polarisation: (ncomp, npix) in RING order, or (ncomp, ny, nx) with a WCS."""

    values: NDArray
    observed: NDArray[np.bool_]
    units: tuple[str, ...]
    polconv: str
    description: dict[str, Any]
    wcs: Any = None


def microkelvin_factor(label: str) -> float:
    """Factor that takes a unit of CMB temperature to µK_CMB.

    Parameters
    ----------
    label : str
        K, mK or uK, with or without _CMB, "cmb", or WMAP's ",thermodynamic".

    Raises
    ------
    MapError
        If the label is empty, or is no unit of CMB temperature (K_RJ, MJy/sr, uK^2, ...).
    """
    text = label.strip()
    if text.lower() in _NOT_SAID:
        raise MapError("no unit is given in the header; say which with unit=K, mK or uK")
    # M is mega where m is milli: only the first letter's case carries meaning
    match = _TEMPERATURE.fullmatch(text[0] + text[1:].lower() if text[0] not in "KU" else text.lower())
    if match is None:
        raise MapError(
            f"unit {label!r} is not a CMB temperature; convert the map to K_CMB, mK_CMB or uK_CMB, "
            "or overrule the header with unit=K, mK or uK"
        )
    return _MICRO_PER[match["prefix"] or ""]


def parse_ordering(label: str) -> str:
    """RING or NESTED.

    Raises
    ------
    MapError
        For anything else, and where nothing is said.
    """
    if label.strip().lower() in _NOT_SAID:
        raise MapError("the header has no ORDERING; say which with ordering=RING or ordering=NESTED")
    try:
        return _ORDERINGS[label.strip().upper()]
    except KeyError:
        raise MapError(f"ORDERING {label!r} is neither RING nor NESTED; give ordering=RING or NESTED") from None


def parse_polconv(label: str, default: str) -> str:
    """COSMO or IAU, `default` where nothing is said.

    Raises
    ------
    MapError
        For any other word.
    """
    text = label.strip().upper()
    if text.lower() in _NOT_SAID:
        return default
    if text in ("HEALPIX", "COSMO"):
        return "COSMO"
    if text == "IAU":
        return "IAU"
    raise MapError(f"POLCCONV {label!r} is neither COSMO nor IAU; give polconv=COSMO or IAU")


def header_text(headers: list[Any], *keys: str) -> str:
    """The first of the keys that one of the headers has, as text; empty if none has one."""
    for header in headers:
        for key in keys:
            if key in header and str(header[key]).strip():
                return str(header[key]).strip()
    return ""


def good_values(values: NDArray, bad_data: float = UNSEEN) -> NDArray[np.bool_]:
    """True where a pixel holds a number: finite, not `bad_data` (to 1e-5), and below 1e20 in size.

    No temperature in any unit is that large, but HEALPix's UNSEEN is, even where someone has rescaled it.
    """
    good = np.isfinite(values) & (np.abs(values) < 1e20)
    if not abs(bad_data) < 1e20:
        return good
    return good & (np.abs(values - bad_data) > 1e-5 * abs(bad_data))


@contextmanager
def open_fits(path: str | os.PathLike[str]) -> Iterator[Any]:
    """Open a FITS file; whatever is wrong with it, on opening or while it is read, becomes one MapError.

    Raises
    ------
    MapError
        If the file is missing, empty, not FITS, cut short or otherwise broken.
    """
    from astropy.io import fits

    name = os.fspath(path)
    with about(path):
        _check_file(name)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                warnings.filterwarnings("error", message=".*truncated.*")
                with fits.open(stream_of(name), lazy_load_hdus=False) as hdus:
                    _check_images(hdus)
                    yield hdus
        except MapError:
            raise
        except MemoryError as error:
            raise MapError(f"does not fit into memory ({str(error).rstrip('.') or 'none is left'})") from error
        except PermissionError:
            raise MapError("no permission to read the file") from None
        except Exception as error:  # astropy raises nearly anything on a file that is cut or garbled
            lines = str(error).strip().splitlines() or [type(error).__name__]
            raise MapError(f"not a sound FITS file ({lines[0].rstrip('.')}); fetch or write it again") from error


@contextmanager
def about(path: str | os.PathLike[str]) -> Iterator[None]:
    """Put the file's name before the message of any MapError that is raised inside."""
    name = os.fspath(path)
    try:
        yield
    except MapError as error:
        text = str(error)
        raise MapError(text if text.startswith(name) else f"{name}: {text}") from error.__cause__


def _check_images(hdus: Any) -> None:
    """Images that are packed within a file, by tiles, may unpack to any size."""
    from astropy.io import fits

    for hdu in hdus:
        if isinstance(hdu, fits.CompImageHDU):
            check_memory(8.0 * np.prod(np.array(hdu.shape, dtype=float)), f"the image of shape {hdu.shape}")


def _check_file(name: str) -> None:
    if os.path.isdir(name):
        raise MapError("is a folder, not a FITS file")
    if not os.path.exists(name):
        raise MapError("no such file")
    if os.path.getsize(name) == 0:
        raise MapError("the file is empty")

"""Writing maps and alm in healpy's FITS formats, so that a file is there as a whole or not at all."""

import errno
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from lensrec.hold import check_hold
from lensrec.sky.map_header import MapError, open_fits
from lensrec.sphere.alm import alm_ell, alm_index, alm_m, alm_size, lmax_of

_COLUMNS = {1: ("TEMPERATURE",), 3: ("TEMPERATURE", "Q_POLARISATION", "U_POLARISATION")}
_PARTS = {1: ("ALM",), 2: ("E", "B"), 3: ("T", "E", "B")}
_PIECE = 1 << 20

_LASTING = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EISDIR}


class WriteError(OSError, MapError):
    """A file that cannot be written.

    Attributes
    ----------
    lasting : bool
        Whether another try would meet the same: a full disk, a folder that is not to be written.
    """

    lasting = False


def write_error(path: str | os.PathLike[str], error: OSError) -> WriteError:
    """One line that names the file, for whatever the disk says."""
    # numpy and astropy tell a write that came to a halt without the disk's own word for it
    reason = error.strerror or "the disk took a part of it; is it full?"
    found = WriteError(f"{os.fspath(path)}: cannot be written ({reason})")
    found.lasting = error.errno is None or error.errno in _LASTING
    return found


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[str]:
    """Give a temporary name beside `path`; what is written there takes its place when all went well.

    The data are on the disk before the name changes; after an error nothing is left, and `path` is untouched.
    """
    name = os.path.abspath(os.fspath(path))
    folder, base = os.path.split(name)
    temporary = os.path.join(folder, f".part-{os.getpid()}-{secrets.token_hex(4)}-{base}")
    try:
        yield temporary
        _sync(temporary)
        check_hold()
        os.replace(temporary, name)
        _sync(folder)
    except OSError as error:
        raise write_error(path, error) from error
    finally:
        if os.path.exists(temporary):
            os.unlink(temporary)


def write_map(
    path: str | os.PathLike[str],
    maps: ArrayLike,
    *,
    unit: str = "uK_CMB",
    coord: str | None = None,
    extra_header: Sequence[tuple[Any, ...]] = (),
    dtype: DTypeLike = np.float32,
    column_names: Sequence[str] | None = None,
) -> None:
    """Write one HEALPix map, or I, Q and U, in RING order and COSMO, as healpy.read_map reads it.

    Parameters
    ----------
    path : str or path; a name that ends in .gz is compressed. An existing file is replaced, atomically.
    maps : array (npix,), (1, npix) or (3, npix)
        In `unit`; nothing is scaled. UNSEEN is allowed, NaN and infinity are not.
    unit : str
        TUNITn of every column; "" for none.
    coord : "G", "C", "E" or None
    extra_header : sequence of (key, value) or (key, value, comment)
    dtype : float32 or float64, what the file holds
    column_names : sequence of str
        Default TEMPERATURE, Q_POLARISATION, U_POLARISATION.

    Raises
    ------
    MapError
        If the shape is not that of HEALPix maps, a pixel is not finite, or the disk refuses.
    """
    import healpy

    rows = np.atleast_2d(np.asarray(maps))
    if rows.ndim != 2 or len(rows) not in _COLUMNS or not healpy.isnpixok(rows.shape[1]):
        raise MapError(f"{path}: maps must be (npix,), (1, npix) or (3, npix) with npix = 12 nside², got {rows.shape}")
    if not np.isfinite(rows).all():
        raise MapError(f"{path}: {np.count_nonzero(~np.isfinite(rows))} pixels are not finite; mark them UNSEEN or 0")
    names = tuple(column_names or _COLUMNS[len(rows)])
    conv = [("POLCCONV", "COSMO", "polarisation convention")] if len(rows) == 3 else []
    with replacing(path) as temporary:
        healpy.write_map(
            temporary,
            list(rows),
            nest=False,
            dtype=np.dtype(dtype),
            coord=coord,
            column_names=names,
            column_units=unit or None,
            extra_header=[*conv, *extra_header],
            overwrite=True,
        )


def write_alm(
    path: str | os.PathLike[str],
    alm: NDArray,
    *,
    unit: str = "",
    names: Sequence[str] | None = None,
    extra_header: Sequence[tuple[Any, ...]] = (),
) -> None:
    """Write alm, one table for each row, as healpy.read_alm(path, hdu=(1, 2, 3)) reads them.

    Parameters
    ----------
    path : str or path; replaced atomically
    alm : array (nalm,) or (n, nalm), complex64 or complex128, healpy order, mmax = lmax
        Written in its own precision.
    unit : str
        TUNITn of the real and imaginary columns.
    names : sequence of str
        EXTNAME of each table; default T, E, B for three rows, E, B for two, ALM for one.
    extra_header : sequence of (key, value) or (key, value, comment), put into every table

    Raises
    ------
    MapError
        If the array is not complex, holds numbers that are not finite, or fits no lmax.
    """
    from astropy.io import fits

    rows = np.atleast_2d(alm)
    if rows.ndim != 2 or rows.dtype.kind != "c":
        raise MapError(f"{path}: alm must be complex, (nalm,) or (n, nalm), got {rows.dtype} {rows.shape}")
    try:
        lmax = lmax_of(rows.shape[1])
    except ValueError as error:
        raise MapError(f"{path}: {error}") from None
    if not np.isfinite(rows).all():
        raise MapError(f"{path}: {np.count_nonzero(~np.isfinite(rows))} coefficients are not finite")
    ell, m = alm_ell(lmax).astype(np.int64), alm_m(lmax)
    index = ell * ell + ell + m + 1
    letter = "E" if rows.dtype == np.complex64 else "D"
    titles = tuple(names or _PARTS.get(len(rows)) or [f"ALM{i}" for i in range(len(rows))])
    tables = fits.HDUList([fits.PrimaryHDU()])
    for row, title in zip(rows, titles, strict=True):
        columns = [
            fits.Column(name="index", format="J", unit="l*l+l+m+1", array=index),
            fits.Column(name="real", format=letter, unit=unit or None, array=row.real),
            fits.Column(name="imag", format=letter, unit=unit or None, array=row.imag),
        ]
        table = fits.BinTableHDU.from_columns(columns, name=title)
        table.header["MAX-LPOL"] = (lmax, "largest multipole")
        table.header["MAX-MPOL"] = (lmax, "largest order")
        for key, *value in extra_header:
            table.header[key] = tuple(value)
        tables.append(table)
    with replacing(path) as temporary:
        tables.writeto(temporary, overwrite=True)


def read_alm(path: str | os.PathLike[str], *, lmax: int | None = None) -> NDArray:
    """Read the alm of every table of a file that healpy or `write_alm` wrote.

    Parameters
    ----------
    path : str or path
    lmax : int, optional
        The band limit that they must have, if it is known.

    Returns
    -------
    array (nalm,), or (n, nalm) for n tables, complex, in the file's precision, mmax = lmax.
        Coefficients that the file leaves out are zero.

    Raises
    ------
    MapError
        If the file has no alm tables, or they are broken or of different lmax, or of another than they must have.
    """
    from astropy.io import fits

    with open_fits(path) as hdus:
        tables = [hdu for hdu in hdus if isinstance(hdu, fits.BinTableHDU)]
        if not tables or any(len(table.columns) < 3 or table.data is None for table in tables):
            raise MapError("no alm here: they need tables of three columns (index, real, imag)")
        rows = [_alm_of_table(table) for table in tables]
    sizes = {len(row) for row in rows}
    if len(sizes) > 1:
        raise MapError(f"{path}: the tables have different lmax: {sorted(lmax_of(size) for size in sizes)}")
    if lmax is not None and sizes != {alm_size(lmax)}:
        raise MapError(f"{path}: the alm end at lmax {lmax_of(sizes.pop())}, not at {lmax}; write the file again")
    return rows[0] if len(rows) == 1 else np.stack(rows)


def _alm_of_table(table: Any) -> NDArray:
    index, real, imag = (np.asarray(table.data.field(i)).ravel() for i in range(3))
    if index.dtype.kind not in "iu" or real.dtype.kind != "f" or len(index) == 0:
        raise MapError("no alm here: columns must be index (whole numbers), real and imag")
    if _is_whole(index):
        alm = np.empty(len(index), dtype=np.complex64 if real.dtype.itemsize == 4 else np.complex128)
        alm.real, alm.imag = real, imag
        if not np.isfinite(alm).all():
            raise MapError("some alm are not finite")
        return alm
    index = index.astype(np.int64) - 1
    if index.min() < 0:
        raise MapError("the index l*l+l+m+1 of an alm must be at least 1")
    ell = np.floor(np.sqrt(index.astype(np.float64))).astype(np.int64)
    m = index - ell * ell - ell
    if m.min() < 0:
        raise MapError("the alm have negative orders m")
    if not (np.isfinite(real).all() and np.isfinite(imag).all()):
        raise MapError("some alm are not finite")
    lmax = int(ell.max())
    if len(index) < lmax - 1:
        raise MapError(f"{len(index)} coefficients are too few for lmax {lmax}; the index column is broken")
    alm = np.zeros(alm_size(lmax), dtype=np.complex64 if real.dtype.itemsize == 4 else np.complex128)
    where = alm_index(lmax, ell, m)
    if np.bincount(where).max() > 1:
        raise MapError("the alm have one coefficient twice")
    alm.real[where] = real
    alm.imag[where] = imag
    return alm


def _is_whole(index: NDArray) -> bool:
    """Whether the numbers are those of all coefficients in healpy's order: then nothing need be sorted or moved.

    Piece by piece, for the general case takes 80 bytes a coefficient.
    """
    try:
        lmax = lmax_of(len(index))
    except ValueError:
        return False
    every_ell, every_m = alm_ell(lmax), alm_m(lmax)
    for first in range(0, len(index), _PIECE):
        piece = slice(first, first + _PIECE)
        ell = every_ell[piece].astype(np.int64)
        if not np.array_equal(index[piece], ell * ell + ell + every_m[piece] + 1):
            return False
    return True


def _sync(path: str) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

"""Which kind of file this is, and who looks into it."""

from pathlib import Path

from lensrec.sky.car_io import car_image
from lensrec.sky.healpix_io import healpix_tables
from lensrec.sky.map_header import MapError, open_fits
from lensrec.stages.inspection.alms import holds_alm, inspect_alm_file
from lensrec.stages.inspection.found import Inspection, TextImage
from lensrec.stages.inspection.maps import inspect_map_file
from lensrec.stages.inspection.tables import (
    holds_sacc,
    inspect_ecsv_file,
    inspect_json_file,
    inspect_other_fits,
    inspect_sacc_file,
)

__all__ = ["Inspection", "TextImage", "inspect_file"]


def inspect_file(
    path: str | Path,
    *,
    unit: str | None = None,
    ordering: str | None = None,
    polconv: str | None = None,
    spectrum: bool = True,
    nthreads: int = 0,
) -> Inspection:
    """What a file holds: a map, mask or hits in FITS, alm, band powers in SACC, a table in ECSV, or JSON.

    Parameters
    ----------
    path : str or Path
    unit, ordering, polconv : str, optional
        What a map's header leaves unsaid or says wrongly; see `lensrec.sky.io.read_map`.
    spectrum : bool
        Whether to take spectra, which for maps takes most of the time.
    nthreads : int
        0: as many as this process may use.

    Raises
    ------
    MapError
        If the file is not there, or broken; one line says why.
    """
    file = Path(path)
    if file.suffix == ".ecsv":
        return inspect_ecsv_file(file)
    if file.suffix == ".json":
        return inspect_json_file(file)
    with open_fits(file) as hdus:
        if holds_sacc(hdus):
            return inspect_sacc_file(file)
        if holds_alm(hdus):
            return inspect_alm_file(file, hdus, spectrum=spectrum, nthreads=nthreads)
        if car_image(hdus) is None:
            try:
                healpix_tables(hdus)
            except MapError:
                if unit is None and ordering is None and polconv is None:
                    return inspect_other_fits(hdus)
                raise
    return inspect_map_file(file, unit=unit, ordering=ordering, polconv=polconv, spectrum=spectrum, nthreads=nthreads)

"""A file of harmonic coefficients: which fields, how far they reach, their spectra, and a map of the first."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lensrec.sky.inspection import alm_spectra, band_edges, band_table
from lensrec.sky.io import read_alm
from lensrec.sphere.alm import lmax_of, resize_alm
from lensrec.stages.inspection.found import Inspection, TextImage
from lensrec.stages.inspection.maps import COLUMNS
from lensrec.view.maps import mollweide_figure, robust_limit
from lensrec.view.projection import mollweide_image
from lensrec.view.text_picture import mollweide_frame
from lensrec.view.wiener import ARCMIN, deflection_alm, scalar_map

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_POTENTIALS = ("PHI", "OMEGA")


def holds_alm(hdus: Any) -> bool:
    """Whether a file's tables are of harmonic coefficients: index, real and imaginary part."""
    tables = [hdu for hdu in hdus if hdu.header.get("XTENSION", "").strip() == "BINTABLE"]
    names = [[name.strip().lower() for name in table.columns.names] for table in tables]
    return bool(tables) and all(
        "MAX-LPOL" in table.header or (len(row) == 3 and row[0] == "index")
        for table, row in zip(tables, names, strict=True)
    )


def inspect_alm_file(path: Path, hdus: Any, *, spectrum: bool = True, nthreads: int = 0) -> Inspection:
    """What is in a file of alm; `hdus` are its open headers.

    Raises
    ------
    MapError
        If its tables are broken.
    """
    rows = np.atleast_2d(read_alm(path))
    tables = hdus[1:]
    names = [str(table.name or f"ALM{i}") for i, table in enumerate(tables)]
    lmax = lmax_of(rows.shape[1])
    potential = names[0] in _POTENTIALS or (names == ["ALM"] and path.name.lower().startswith("phi"))
    unit = str(tables[0].columns[1].unit or "")
    facts: dict[str, Any] = {
        "kind": "alm",
        "content": ", ".join(names) + (" (lensing potential)" if potential else ""),
        "fields": names,
        "lmax": lmax,
        "mmax": int(tables[0].header.get("MAX-MPOL", lmax)),
        "coefficients": rows.shape[1],
        "precision": "single" if rows.dtype == np.complex64 else "double",
        "unit": unit,
    }
    teb = len(rows) == 3 and [name[:1] for name in names] == ["T", "E", "B"]
    spectra = (
        alm_spectra(rows) if teb else {n: alm_spectra(row[None])["TT"] for n, row in zip(names, rows, strict=True)}
    )
    twice = 2.0 * np.arange(lmax + 1.0) + 1.0
    own = {key: cl for key, cl in spectra.items() if key != "TE"}
    facts["components"] = {
        name: {"rms": float(np.sqrt(twice[1:] @ cl[1:] / (4.0 * np.pi)))}
        for name, cl in zip(names, own.values(), strict=True)
    }
    if spectrum and lmax >= 2:
        ell = np.arange(lmax + 1.0)
        scale = (ell * (ell + 1.0)) ** (2 if potential else 1) / (2.0 * np.pi)
        letter = "L" if potential else "ℓ"
        facts["spectrum"] = band_table(spectra, scale, band_edges(lmax), name=letter)
        shown = "[L(L+1)]² C_L/2π, dimensionless" if potential else "D_ℓ = ℓ(ℓ+1) C_ℓ/2π"
        facts["spectrum_of"] = (
            shown if potential else f"{shown}, {'µK²' if unit.lower().startswith('uk') else unit or 'no unit'}"
        )
    facts["problems"] = []
    label = "√(L(L+1)) φ" if potential else names[0]
    units = "arcmin" if potential else {"uK_CMB": "µK"}.get(unit, unit)
    nside = min(128, max(8, 1 << int(np.log2(max(lmax, 8)))))
    image = mollweide_image(_map(rows[0], potential, nside, nthreads), COLUMNS)
    frame = mollweide_frame(*image.shape)
    image[~frame] = np.nan
    half = robust_limit([image])
    draw = partial(_figure, rows, names, potential, units, nthreads)
    return Inspection(facts, TextImage(image, (-half, half), frame, label, units), draw)


def _map(row: NDArray, potential: bool, nside: int, nthreads: int) -> NDArray:
    alm = resize_alm(row, min(2 * nside, lmax_of(len(row))))
    return scalar_map(deflection_alm(alm) / ARCMIN if potential else alm, nside, nthreads=nthreads)


def _figure(rows: NDArray, names: list[str], potential: bool, unit: str, nthreads: int) -> "Figure":
    nside = min(512, max(8, 1 << int(np.log2(max(lmax_of(rows.shape[1]), 8)))))
    fields = [_map(row, potential, nside, nthreads) for row in rows]
    labels = [f"{'√(L(L+1)) ' if potential else ''}{name}" + (f" [{unit}]" if unit else "") for name in names]
    return mollweide_figure(fields, names, unit=labels, columns=min(2, len(fields)))

"""A look at plain arrays: maps and harmonic coefficients, with a picture, units and statistics."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from lensrec.sky.healpix_io import nside_of
from lensrec.sky.inspection import alm_spectra, field_statistics
from lensrec.sphere.alm import alm_to_cl, lmax_of
from lensrec.view.field_spectrum import field_spectrum_figure
from lensrec.view.maps import mollweide_figure
from lensrec.view.notebook import Columns, html_of, text_of
from lensrec.view.wiener import deflection_map, kappa_alm, scalar_map

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Kind = Literal["cmb", "phi", "kappa", ""]

ARCMIN = 10800.0 / np.pi

DRAWN_NSIDE = 256
"""Of the map that is made of harmonic coefficients: enough for a picture of the whole sky."""

_DEFLECTION = r"$\sqrt{L(L+1)}\,\phi$ [arcmin]"


@dataclass(frozen=True, eq=False)
class Look:
    """What one sees: shows itself in Jupyter, and prints as lines elsewhere.

    Attributes
    ----------
    caption : str
    facts : dict
        Names and values.
    tables : tuple of mapping of column to list
    draw : function without arguments
        Makes the pictures, a list of Figure.
    """

    caption: str
    facts: dict[str, Any]
    tables: tuple[Columns, ...] = ()
    draw: "Callable[[], list[Figure]]" = field(default=list, repr=False)

    def __repr__(self) -> str:
        return text_of(self.caption, self.facts, self.tables)

    def _repr_html_(self) -> str:
        return html_of(self.draw(), self.caption, self.facts, tables=self.tables)


def look_at_map(
    maps: NDArray, *, unit: str = "", mask: NDArray | None = None, title: str = "", names: Sequence[str] = ()
) -> Look:
    """What is in a map, or in several on the same pixels.

    Parameters
    ----------
    maps : array (npix,) or (n, npix), HEALPix RING
        NaN and UNSEEN pixels are not seen; three are T, Q and U.
    unit : str
    mask : array (npix,), optional
        Statistics and picture are of where it is one half or more.
    title : str
    names : sequence of str, optional
        One for each map.

    Raises
    ------
    ValueError
        If the shape is not that of HEALPix maps, mask or names do not fit, or nothing is seen.
    """
    rows = np.atleast_2d(maps)
    if rows.ndim != 2 or not _pixels(rows.shape[1]):
        raise ValueError(f"maps must be (npix,) or (n, npix) with npix = 12 nside², got shape {np.shape(maps)}")
    if mask is not None and np.shape(mask) != rows[0].shape:
        raise ValueError(f"the mask has shape {np.shape(mask)}, each map {rows[0].shape}")
    names = list(names) or (["T", "Q", "U"] if len(rows) == 3 else [f"map {k}" for k in range(len(rows))])
    if len(names) != len(rows):
        raise ValueError(f"{len(rows)} maps need as many names, got {len(names)}")
    nside = nside_of(rows.shape[1])
    valid = np.isfinite(rows) & (rows > -1e30)  # healpy's UNSEEN is -1.6375e30
    seen = valid if mask is None else valid & (np.asarray(mask) >= 0.5)
    if not seen.any(axis=1).all():
        raise ValueError("a map is not seen anywhere: all its pixels are NaN, UNSEEN or masked")
    table = _statistics(names, [row[there] for row, there in zip(rows, seen, strict=True)])
    facts = {
        "maps": ", ".join(names) if len(rows) > 1 else "1",
        "nside": nside,
        "pixels": f"{rows.shape[1]} of {np.sqrt(np.pi / 3) / nside * ARCMIN:.3g}′",
        "unit": unit or "not given",
        "NaN or UNSEEN": f"{100 * (1 - valid.mean()):.3g} %",
    }
    if mask is not None:
        facts["masked"] = f"{100 * np.mean(np.asarray(mask) < 0.5):.3g} %"

    def draw() -> "list[Figure]":
        labels = [f"{name} [{unit}]" if unit else name for name in names] if len(rows) > 1 else unit or "no unit given"
        titles = names if len(rows) > 1 else [title]
        return [mollweide_figure(list(rows), titles, unit=labels, mask=mask, columns=3 if len(rows) == 3 else 2)]

    return Look(title or "map", facts, (table,), draw)


def look_at_alm(alm: NDArray, *, unit: str = "", kind: Kind = "", title: str = "") -> Look:
    """What is in harmonic coefficients: their spectrum, and the map that they make.

    Parameters
    ----------
    alm : array (nalm,) or (n, nalm), complex, healpy's order with mmax = lmax
        Three are T, E and B.
    unit : str
        Of the field.
    kind : "cmb", "phi", "kappa" or ""
        A potential is drawn as deflection √(L(L+1)) φ, and its spectrum as [L(L+1)]² C_L/2π; a convergence's spectrum
        as it is; others' as ℓ(ℓ+1) C_ℓ/2π.
    title : str

    Raises
    ------
    ValueError
        If the array is not complex, or fits no lmax.
    """
    rows = np.atleast_2d(alm)
    if rows.ndim != 2 or rows.dtype.kind != "c":
        raise ValueError(f"alm must be complex, (nalm,) or (n, nalm), got {rows.dtype} of shape {np.shape(alm)}")
    lmax = lmax_of(rows.shape[1])
    names = {"phi": ["φ"], "kappa": ["κ"]}.get(kind, ["a"]) if len(rows) == 1 else ["T", "E", "B"][: len(rows)]
    if len(names) != len(rows):
        names = [f"field {k}" for k in range(len(rows))]
    spectra = (
        alm_spectra(rows) if len(rows) == 3 else {name: alm_to_cl(row) for name, row in zip(names, rows, strict=True)}
    )
    ell = np.arange(lmax + 1.0)
    auto = [alm_to_cl(row) for row in rows]
    rms = [float(np.sqrt((2 * ell + 1) @ cl / (4 * np.pi))) for cl in auto]
    facts: dict[str, Any] = {"lmax": lmax, "coefficients": rows.shape[1], "precision": str(rows.dtype)}
    if kind == "phi":
        deflection = np.sqrt((ell * (ell + 1) * (2 * ell + 1)) @ auto[0] / (4 * np.pi)) * ARCMIN
        facts |= {
            "field": "lensing potential, dimensionless",
            "rms deflection [arcmin]": float(deflection),
            "rms κ": float(np.sqrt((2 * ell + 1) @ alm_to_cl(kappa_alm(rows[0])) / (4 * np.pi))),
        }
    else:
        facts |= {"unit": "dimensionless" if kind == "kappa" else unit or "not given"}
        facts |= {f"rms of {name}{f' [{unit}]' if unit else ''}": value for name, value in zip(names, rms, strict=True)}
    facts["not finite"] = int(np.count_nonzero(~np.isfinite(rows)))

    def draw() -> "list[Figure]":
        nside = min(DRAWN_NSIDE, _power_of_two(lmax / 2))
        if kind == "phi":
            picture, label = deflection_map(rows[0], nside), _DEFLECTION
        else:
            picture, label = scalar_map(rows[0], nside), f"{names[0]} [{unit}]" if unit else names[0]
        figures = [mollweide_figure([picture], [title], unit=label, columns=2)]
        return [*figures, field_spectrum_figure(spectra, kind=kind, unit=unit)] if lmax > 2 else figures

    return Look(title or "harmonic coefficients", facts, (), draw)


def is_map(array: NDArray) -> bool:
    """Whether an array has the shape of one HEALPix map of nside 16 or more, or of three."""
    rows = array.shape[:-1] in ((), (1,), (3,)) and array.dtype.kind == "f"
    return rows and array.shape[-1] >= 12 * 16**2 and _pixels(array.shape[-1])


def is_alm(array: NDArray) -> bool:
    """Whether an array has the type and shape of harmonic coefficients up to ℓ = 16 or more, of one field or three."""
    if array.dtype.kind != "c" or array.shape[:-1] not in ((), (1,), (3,)) or array.shape[-1] < 153:
        return False
    try:
        lmax_of(array.shape[-1])
    except ValueError:
        return False
    return True


def _statistics(names: Sequence[str], values: Sequence[NDArray]) -> Columns:
    found = [field_statistics(one) for one in values]
    columns: dict[str, list[object]] = {"": list(names)} if len(names) > 1 else {}
    return columns | {name: [row[name] for row in found] for name in ("mean", "rms", "min", "max")}


def _pixels(npix: int) -> bool:
    nside = round(np.sqrt(npix / 12))
    return nside > 0 and 12 * nside * nside == npix


def _power_of_two(value: float) -> int:
    return int(2 ** max(3, np.ceil(np.log2(max(value, 1.0)))))

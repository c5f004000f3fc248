"""Look at anything in a notebook: arrays, files, results; and the viewer of their layers."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lensrec.sky.map_header import SkyMap
from lensrec.view.look import Kind, Look, is_alm, is_map, look_at_alm, look_at_map

if TYPE_CHECKING:
    from lensrec.view.viewer import Viewer


def look(
    thing: Any,
    *,
    unit: str = "",
    mask: NDArray | None = None,
    kind: Kind = "",
    title: str = "",
) -> Look:
    """Look at a map, an alm or a file: a picture, units and statistics.

    Parameters
    ----------
    thing : array, SkyMap, or path
        A HEALPix map (npix,) or maps (n, npix) in RING order; alm (nalm,) or (n, nalm), complex; a map that was read;
        or a file: a FITS map, alm, SACC, ECSV or JSON, as `lensrec inspect` takes it.
    unit : str
        Of an array, or K, mK or uK where a map file does not say.
    mask : array (npix,), optional
        For maps: what is below one half is left out.
    kind : "cmb", "phi", "kappa" or ""
        For alm; "phi" draws the deflection, and the spectrum as [L(L+1)]² C_L/2π.
    title : str

    Returns
    -------
    Look
        Shows itself in Jupyter; `print` gives its numbers.

    Raises
    ------
    ValueError
        If an array is neither a map nor an alm.
    MapError
        If a file cannot be read.
    """
    if isinstance(thing, str | Path):
        return _file(Path(thing), unit)
    if isinstance(thing, SkyMap):
        return look_at_map(np.where(thing.observed, thing.maps, np.nan), unit=unit or "µK", mask=mask, title=title)
    array = np.asarray(thing)
    if array.dtype.kind == "c":
        return look_at_alm(array, unit=unit, kind=kind, title=title)
    if array.dtype.kind in "fiub":
        return look_at_map(array.astype(np.float64, copy=False), unit=unit, mask=mask, title=title)
    raise ValueError(f"neither a map nor an alm: an array of {array.dtype} and shape {array.shape}")


def viewer(
    *sources: Any,
    units: Mapping[str, str] | None = None,
    mask: NDArray | None = None,
    theory: Mapping[str, NDArray] | None = None,
    centre: tuple[float, float] = (0.0, 0.0),
    size_deg: float = 10.0,
    turn_deg: float = 0.0,
    layer: str = "",
    minus: str = "",
) -> "Viewer":
    """Look at layers of maps: drag, turn and zoom a patch, and see its spectrum.

    Parameters
    ----------
    *sources : Sky, Reconstruction, a run's folder, or mapping of name to array (npix,), HEALPix RING
        Their layers, all together; of two of one name the latter's.
    units, mask, theory
        Of maps that were given as such; as for `lensrec.view.viewer.viewer`.
    centre, size_deg, turn_deg, layer, minus
        What is seen first; see there.

    Raises
    ------
    TypeError
        If a source is none of these.
    ValueError
        If a map is no HEALPix map, or the view is out of range.
    ImportError
        If ipywidgets is not installed.
    """
    from lensrec.stages.layers import Shown, layers_of
    from lensrec.view import viewer as view

    found = Shown()
    for source in sources:
        found.merge(layers_of(source))
    return view.viewer(
        found.maps,
        units=found.units | dict(units or {}),
        mask=found.mask if mask is None else mask,
        theory=found.theory | dict(theory or {}),
        centre=centre,
        size_deg=size_deg,
        turn_deg=turn_deg,
        layer=layer,
        minus=minus,
    )


def show_arrays(shell: Any) -> None:
    """Let arrays that have the shape of HEALPix maps or alm show themselves in a notebook."""
    shell.display_formatter.formatters["text/html"].for_type(np.ndarray, _array_html)


def hide_arrays(shell: Any) -> None:
    """Undo that."""
    shell.display_formatter.formatters["text/html"].pop(np.ndarray, None)


def _array_html(array: NDArray) -> str | None:
    """None, and so numbers, for any other array."""
    if is_map(array):
        return look_at_map(array)._repr_html_()
    return look_at_alm(array)._repr_html_() if is_alm(array) else None


def _file(file: Path, unit: str) -> Look:
    from lensrec.stages.inspection import inspect_file

    found = inspect_file(file, unit=unit or None)
    facts: dict[str, Any] = {}
    tables: list[dict[str, list[Any]]] = []
    for name, value in found.facts.items():
        if isinstance(value, Mapping):
            rows = {key: entry for key, entry in value.items() if isinstance(entry, Mapping)}
            if rows:
                columns = [key for key in next(iter(rows.values())) if key != "percentiles"]
                tables.append({"": list(rows), **{key: [row.get(key, "") for row in rows.values()] for key in columns}})
            elif value and all(isinstance(entry, list) for entry in value.values()):
                tables.append(dict(value))
            elif value:
                facts[name] = ", ".join(f"{key} {_short(entry)}" for key, entry in value.items())
        elif isinstance(value, list | tuple):
            facts |= {name: "; ".join(str(entry) for entry in value)} if value else {}
        elif value not in ("", None):
            facts[name] = value
    facts = {name.replace("_", " "): value for name, value in facts.items()}
    draw = found.draw
    return Look(file.name, facts, tuple(tables), list if draw is None else lambda: [draw()])


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)

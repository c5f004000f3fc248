"""Band powers in SACC, tables in ECSV, JSON, and FITS that holds something else."""

import json
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from lensrec.sky.map_header import MapError, about
from lensrec.stages.inspection.found import Inspection, plain

_MOST = 400
"""Entries of a JSON file that are shown."""


def holds_sacc(hdus: Any) -> bool:
    """Whether a file's tables are SACC's."""
    return any("SACCTYPE" in hdu.header or "SACCFVER" in hdu.header for hdu in hdus)


def inspect_sacc_file(path: Path) -> Inspection:
    """Tracers, data types, ranges, and the size and condition of the covariance of a SACC file, whoever wrote it.

    Raises
    ------
    MapError
        If it cannot be read as SACC.
    """
    import sacc

    with about(path), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            content = sacc.Sacc.load_fits(os.fspath(path))
        except Exception as error:  # sacc raises nearly anything on tables that do not fit together
            raise MapError(f"SACC tables that do not fit together ({error!r}); write the file again") from error
    tracers = {name: tracer for name, tracer in content.tracers.items() if not name.startswith("lensrec_")}
    facts: dict[str, Any] = {
        "kind": "SACC",
        "content": "band powers",
        "data_points": len(content.mean),
        "tracers": [f"{name} ({getattr(tracer, 'quantity', '?')})" for name, tracer in tracers.items()],
    }
    blocks: dict[str, list[Any]] = {name: [] for name in ("type", "tracers", "points", "low", "high", "window", "S/N")}
    covariance = content.covariance.dense if content.has_covariance() else None
    for kind, pair in dict.fromkeys((point.data_type, point.tracers) for point in content.data):
        rows = [i for i, p in enumerate(content.data) if p.data_type == kind and p.tracers == pair]
        low, high = _range([content.data[i].tags for i in rows])
        row = [kind, "×".join(pair), len(rows), low, high, "yes" if content.data[rows[0]].tags.get("window") else "no"]
        row.append(_significance(content.mean[rows], covariance, rows))
        for column, value in zip(blocks.values(), row, strict=True):
            column.append(value)
    facts["blocks"] = blocks
    facts["covariance"] = "none" if covariance is None else _covariance(covariance)
    said = {key: value for key, value in content.metadata.items() if key != "lensrec"}
    facts["metadata"] = plain(
        {key: value if len(str(value)) < 100 else f"{str(value)[:97]}…" for key, value in said.items()}
    )
    facts["problems"] = [] if covariance is not None else ["the band powers have no covariance"]
    return Inspection(plain(facts))


def _range(tags: list[Any]) -> tuple[float | None, float | None]:
    """First and last multipole of a block, by the ends of its bands where they are said, else by their centres."""
    low = [t.get("low", t.get("ell")) for t in tags]
    high = [t.get("high", t.get("ell")) for t in tags]
    known = [v for v in low if v is not None], [v for v in high if v is not None]
    return (float(min(known[0])), float(max(known[1]))) if known[0] else (None, None)


def _significance(mean: Any, covariance: Any, rows: list[int]) -> float | None:
    """(dᵀ C⁻¹ d)^½ of a block, against zero."""
    if covariance is None:
        return None
    try:
        return float(np.sqrt(mean @ np.linalg.solve(covariance[np.ix_(rows, rows)], mean)))
    except np.linalg.LinAlgError:
        return None


def _covariance(matrix: Any) -> dict[str, Any]:
    sigma = np.sqrt(np.diag(matrix))
    if not np.isfinite(matrix).all() or not (sigma > 0).all():
        return {"size": len(matrix), "positive_definite": False}
    correlation = matrix / sigma / sigma[:, None]
    values = np.linalg.eigvalsh(correlation)
    off = np.abs(correlation - np.diag(np.diag(correlation)))
    return {
        "size": len(matrix),
        "positive_definite": bool(values[0] > 0),
        "condition_of_correlation": float(values[-1] / values[0]) if values[0] > 0 else None,
        "largest_correlation": float(off.max(initial=0.0)),
    }


def inspect_ecsv_file(path: Path) -> Inspection:
    """Columns, units, ranges and comments of an ECSV table.

    Raises
    ------
    MapError
        If it is not ECSV.
    """
    from astropy.table import Table

    with about(path):
        if not path.is_file():
            raise MapError("no such file")
        try:
            table = Table.read(path, format="ascii.ecsv")
        except Exception as error:  # astropy raises nearly anything on a table that is cut or garbled
            raise MapError(f"not a sound ECSV table ({str(error).strip().splitlines()[0]})") from error
    rows: dict[str, list[Any]] = {name: [] for name in ("column", "unit", "type", "min", "max")}
    for name in table.colnames:
        column = table[name]
        numbers = column.dtype.kind in "iuf" and len(column) > 0
        ends = (np.nanmin(column), np.nanmax(column)) if numbers else (None, None)
        for key, value in zip(rows, (name, str(column.unit or ""), str(column.dtype), *ends), strict=True):
            rows[key].append(plain(value))
    facts = {"kind": "ECSV", "content": "table", "rows": len(table), "comments": table.meta.get("comments", [])}
    return Inspection(plain(facts | {"table": rows, "problems": []}))


def inspect_json_file(path: Path) -> Inspection:
    """The values of a JSON file, by their dotted names.

    Raises
    ------
    MapError
        If it is not JSON.
    """
    with about(path):
        if not path.is_file():
            raise MapError("no such file")
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise MapError(f"not sound JSON ({error})") from error
    return Inspection({"kind": "JSON", "content": _shortened(data), "problems": []})


def _shortened(data: Any) -> Any:
    if isinstance(data, dict):
        return {key: _shortened(value) for key, value in list(data.items())[:_MOST]}
    if isinstance(data, list) and len(data) > 12:
        return f"{len(data)} values, the first of them {', '.join(str(v)[:40] for v in data[:3])}"
    return data


def inspect_other_fits(hdus: Any) -> Inspection:
    """The parts of a FITS file that is neither map nor alm nor SACC."""
    parts: dict[str, list[Any]] = {name: [] for name in ("part", "kind", "shape", "columns")}
    for hdu in hdus:
        columns = getattr(hdu, "columns", None)
        shape = [len(hdu.data)] if columns is not None and hdu.data is not None else list(getattr(hdu, "shape", ()))
        values = hdu.name, type(hdu).__name__.removesuffix("HDU"), "×".join(map(str, shape))
        for key, value in zip(parts, (*values, ", ".join(columns.names) if columns is not None else ""), strict=True):
            parts[key].append(value)
    return Inspection({"kind": "FITS", "content": "neither map, alm nor band powers", "parts": parts, "problems": []})

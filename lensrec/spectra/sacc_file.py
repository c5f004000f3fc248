"""Band powers on disk: SACC FITS (Summary Statistics And Covariances), which likelihoods of ACT, SO and DESC read.

What every reader of SACC understands: data points of types cl_00 (TT), cl_0e (TE), cl_ee and cl_bb between the tracers
cmb_s0 and cmb_s2, and cl_00 between ck and ck for lensing; a bandpower window for each block; the joint covariance.
Windows follow what those likelihoods do: those of the CMB act on D_ℓ = ℓ(ℓ+1)C_ℓ/2π in µK² from ℓ = 2, all on the same
multipoles (MFLike); those of lensing act on C_L^κκ = [L(L+1)]² C_L^φφ/4 from L = 0 (SOLikeT).

What SACC has no place for, namely windows between spectra (EE from BB), the corrections K and the offset o, lies in
tags of the data points and in tracers named lensrec_…, which no data point refers to. A data point carries its row in
those, so that a file that was cut and saved again by sacc itself still reads right.
"""

import json
import os
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lensrec.sky.map_header import MapError, about, open_fits
from lensrec.sky.map_write import replacing
from lensrec.spectra.linear_data import BLOCKS, LinearData

FORMAT = 1
HIGHEST = 100_000
"""Multipole to which windows are read."""

_NOTE = "lensrec"
_TYPES = {
    "TT": ("cl_00", "cmb_s0", "cmb_s0"),
    "TE": ("cl_0e", "cmb_s0", "cmb_s2"),
    "EE": ("cl_ee", "cmb_s2", "cmb_s2"),
    "BB": ("cl_bb", "cmb_s2", "cmb_s2"),
    "PP": ("cl_00", "ck", "ck"),
}
_TRACERS = {
    "cmb_s0": (0, "cmb_temperature", "uK_CMB", "T"),
    "cmb_s2": (2, "cmb_polarization", "uK_CMB", "P"),
    "ck": (0, "cmb_convergence", "none", "phi"),
}
# what others call the same: by data type alone, where it says what it is, else by the spins of the tracers
_NAMED = {
    "cmb_temperature_cl": "TT",
    "cmb_temperaturePolarization_cl_e": "TE",
    "cmb_polarization_cl_ee": "EE",
    "cmb_polarization_cl_bb": "BB",
    "cmb_convergence_cl": "PP",
}
_BY_SPIN = {"cl_00": "TT", "cl_0e": "TE", "cl_e0": "TE", "cl_ee": "EE", "cl_bb": "BB"}
# band powers of lensing come as C^κκ, as [L(L+1)]²C^φφ/2π, or as 10⁷ times this; by each, what makes them C^κκ
_TO_KAPPA = (1.0, np.pi / 2, 1e-7 * np.pi / 2)


def write_sacc(path: str | os.PathLike[str], data: LinearData, *, beams: Mapping[str, NDArray] | None = None) -> None:
    """Write band powers, windows and covariance as SACC FITS; the file is there as a whole or not at all.

    Lensing band powers whose windows sum to one in a scaling that is known are written as C_L^κκ.

    Parameters
    ----------
    path : str or path
        An existing file is replaced.
    data : LinearData
    beams : mapping of "T" or "P" to array (lmax+1,), optional
        b_ℓ of the maps from ℓ = 0, kept with the tracers for the record: band powers have no beam on them. Ones if
        left out.

    Raises
    ------
    ValueError
        If anything in `data` is not finite.
    MapError
        If the file cannot be written.
    """
    import sacc

    _check_finite(data)
    out = sacc.Sacc()
    highest = data.lmax
    top = max((highest[key] for key in highest if key != "PP"), default=2)
    top_phi = highest.get("PP", 0)
    for name in dict.fromkeys(name for block in data.block.tolist() for name in _TYPES[block][1:]):
        spin, quantity, unit, letter = _TRACERS[name]
        beam = np.asarray((beams or {}).get(letter, np.ones((top_phi if letter == "phi" else top) + 1)), np.float64)
        ell = np.arange(len(beam))
        out.add_tracer("Map", name, quantity=quantity, spin=spin, ell=ell, beam=beam, map_unit=unit)
    factor = np.ones(len(data))
    place = np.zeros(len(data), dtype=np.int64)
    tables: dict[str, Any] = {}
    remainder = {key: np.array(matrix, dtype=np.float64) for key, matrix in data.windows.items()}
    for block in dict.fromkeys(data.block.tolist()):
        rows = np.flatnonzero(data.block == block)
        first, last = (0, top_phi) if block == "PP" else (2, top)
        weights = np.zeros((len(rows), last + 1))
        if block in remainder:
            own = remainder[block][rows]
            weights[:, : own.shape[1]] = own / _scaling(block, own.shape[1])
            weights[:, : max(first, 1)] = 0.0  # D_ℓ and C^κκ vanish at ℓ = 0: what is there stays with the rest
            remainder[block][np.ix_(rows, np.arange(max(first, 1), own.shape[1]))] = 0.0
        if block == "PP":
            factor[rows] = _factor_to_kappa(weights)
        place[rows] = np.arange(len(rows))
        tables[block] = sacc.BandpowerWindow(np.arange(first, last + 1), (factor[rows, None] * weights)[:, first:].T)

    for i, block in enumerate(data.block.tolist()):
        kind, *tracers = _TYPES[block]
        tags = {"ell": float(data.centre[i]), "low": int(data.low[i]), "high": int(data.high[i])}
        tags |= {"offset": float(data.offset[i]), "row": i, "factor": float(factor[i])}
        out.add_data_point(
            kind, tuple(tracers), factor[i] * data.mean[i], window=tables[block], window_ind=int(place[i]), **tags
        )
    out.add_covariance(np.atleast_2d(data.covariance * factor * factor[:, None]))

    starts = {}
    for kind, matrices in (("windows", remainder), ("corrections", data.corrections)):
        for key, matrix in matrices.items():
            if matrix.any():
                starts[f"{kind}_{key}"] = _add_matrix(out, f"lensrec_{kind}_{key}", matrix)
    note = {
        "format": FORMAT,
        "name": data.name,
        "windows": {key: matrix.shape[1] - 1 for key, matrix in data.windows.items()},
        "corrections": {key: matrix.shape[1] - 1 for key, matrix in data.corrections.items()},
        "starts": starts,
        "metadata": dict(data.metadata),
    }
    # once for people, in the letters that FITS has, and once as it is
    out.metadata = {key: _ascii(value) for key, value in data.metadata.items()}
    out.metadata |= {"windows_act_on": "CMB: D_ell in muK^2, lensing: C_L^kappakappa"}
    out.metadata |= {_NOTE: json.dumps(note, default=lambda value: value.item())}
    with replacing(path) as temporary, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # FITS' cards longer than eight letters
        out.save_fits(temporary)


def read_sacc(path: str | os.PathLike[str]) -> LinearData:
    """Read band powers from SACC FITS, of lensrec or of others.

    From other people's files come TT, TE, EE, BB and the lensing convergence, with their covariance; all else is left
    out. Their windows are taken to act on D_ℓ in µK² (CMB) and on C_L^κκ (lensing), as in lensrec's own; corrections
    are none, and a band's ends are where its window falls below 1 % of its peak.

    Parameters
    ----------
    path : str or path

    Returns
    -------
    LinearData

    Raises
    ------
    MapError
        If the file is missing, cut short, no SACC file, or has no band powers of these kinds, no windows, or no
        covariance; or numbers that are not finite, or a covariance that is none.
    """
    import sacc

    with about(path):
        with open_fits(path) as hdus:
            if not any("SACCTYPE" in hdu.header or "SACCFVER" in hdu.header for hdu in hdus):
                raise MapError("is FITS, but not SACC: it has no table of band powers")
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                content = sacc.Sacc.load_fits(os.fspath(path))
        cut = _NOTE not in content.metadata and any("factor" in point.tags for point in content.data)
        if cut or not content.has_covariance():  # metadata come last in a file, data before them, the covariance first
            missing = "metadata" if cut else "covariance"
            raise MapError(f"has no {missing} of its band powers, as if cut short; fetch or write it again")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # numbers that are missing, and NaN; `_check_numbers` looks for them
                own = _NOTE in content.metadata
                data = _own(content) if own else _foreign(content, os.path.basename(os.fspath(path)))
            _check_numbers(data)
            return data
        except MapError:
            raise
        except (LookupError, TypeError, AttributeError, ValueError, OverflowError, RecursionError) as error:
            why = " ".join(str(error).split()) or type(error).__name__
            raise MapError(f"SACC tables that do not fit together ({why}); write the file again") from error


def _own(content: Any) -> LinearData:
    note = json.loads(str(content.metadata[_NOTE]))
    if note["format"] > FORMAT:
        raise MapError(f"written by a newer lensrec (format {note['format']}, this one reads {FORMAT}); update lensrec")
    rows = np.array([point.tags["row"] for point in content.data], dtype=np.int64)
    block = np.array([_block(point, content) for point in content.data])
    factor = _tags(content, "factor")
    if not factor.all():
        raise MapError("a factor between file and band powers is zero; write the file again")
    matrices: dict[str, dict[str, NDArray]] = {}
    for kind in ("windows", "corrections"):
        matrices[kind] = {key: np.zeros((len(rows), _in_reach(lmax) + 1)) for key, lmax in note[kind].items()}
        for key, matrix in matrices[kind].items():
            if f"{kind}_{key}" in note["starts"]:
                tracer = content.tracers[f"lensrec_{kind}_{key}"]
                stored = np.asarray(tracer.beam_extra["weight"]).T
                row = rows - note["starts"][f"{kind}_{key}"]
                inside = np.flatnonzero((row >= 0) & (row < len(stored)))
                matrix[np.ix_(inside, np.asarray(tracer.ell))] = stored[row[inside]]
    for key, i, ell, weight in _main_windows(content, block):
        if key in matrices["windows"]:
            matrix = matrices["windows"][key]
            use = ell < matrix.shape[1]
            scaled = weight[use] * _scaling(key, matrix.shape[1])[ell[use]] / factor[i]
            matrix[i, ell[use]] += scaled
    return LinearData(
        name=note["name"],
        block=block,
        low=_tags(content, "low").astype(np.int64),
        high=_tags(content, "high").astype(np.int64),
        centre=_tags(content, "ell"),
        mean=np.array(content.mean, dtype=np.float64) / factor,
        covariance=np.array(content.covariance.dense, dtype=np.float64) / factor / factor[:, None],
        windows=matrices["windows"],
        corrections=matrices["corrections"],
        offset=_tags(content, "offset"),
        metadata=note["metadata"],
    )


def _foreign(content: Any, name: str) -> LinearData:
    found = [_block(point, content) for point in content.data]
    keep = np.flatnonzero([key in BLOCKS for key in found])
    if not len(keep):
        raise MapError("has no band powers of TT, TE, EE, BB or the lensing convergence")
    covariance = np.array(content.covariance.dense, dtype=np.float64)[np.ix_(keep, keep)]
    mean = np.array(content.mean, dtype=np.float64)[keep]
    centre = np.array([float(content.data[i].tags["ell"]) for i in keep])
    block = np.array([found[i] for i in keep])
    content.keep_indices(keep)
    windows: dict[str, NDArray] = {}
    ends = np.zeros((len(keep), 2), dtype=np.int64)
    parts = list(_main_windows(content, block))
    for key in dict.fromkeys(key for key, *_ in parts):
        lmax = _in_reach(max(int(ell.max()) for other, _, ell, _ in parts if other == key))
        windows[key] = np.zeros((len(keep), lmax + 1))
    for key, i, ell, weight in parts:
        windows[key][i, ell] = weight * _scaling(key, int(ell.max()) + 1)[ell]
        wide = ell[np.abs(weight) >= 0.01 * np.abs(weight).max()]
        ends[i] = wide[0], wide[-1]
    metadata = {key: value for key, value in content.metadata.items() if isinstance(value, str | int | float)}
    return LinearData(name, block, ends[:, 0], ends[:, 1], centre, mean, covariance, windows, metadata=metadata)


def _block(point: Any, content: Any) -> str:
    """Which spectrum a data point measures; "" if it is none that lensrec knows."""
    if point.data_type in _NAMED:
        return _NAMED[point.data_type]
    quantities = {str(getattr(content.tracers.get(name), "quantity", "generic")) for name in point.tracers}
    if point.data_type == "cl_00" and (quantities == {"cmb_convergence"} or set(point.tracers) == {"ck"}):
        return "PP"
    if quantities <= {"cmb_temperature", "cmb_polarization", "generic"}:
        return _BY_SPIN.get(point.data_type, "")
    return ""


def _main_windows(content: Any, block: NDArray) -> Iterator[tuple[str, int, NDArray, NDArray]]:
    """Of each data point: its block, its number, and the multipoles and weights of its window."""
    import sacc

    for i, (key, point) in enumerate(zip(block.tolist(), content.data, strict=True)):
        window = point.tags.get("window")
        if isinstance(window, sacc.BandpowerWindow):
            weight = np.asarray(window.weight)[:, int(point.tags["window_ind"])]
        elif isinstance(window, sacc.windows.TopHatWindow):
            ell = np.arange(int(window.min), _in_reach(int(window.max)))
            yield key, i, ell, np.full(len(ell), 1.0 / len(ell))
            continue
        elif isinstance(window, sacc.windows.Window):
            weight = np.asarray(window.weight)
        else:
            raise MapError(f"band power {i} ({point.data_type} at l = {point.tags.get('ell')}) has no window")
        ell = np.asarray(window.values)
        if not np.array_equal(ell, np.round(ell)):
            raise MapError(f"the window of band power {i} is not given at whole multipoles")
        yield key, i, ell.astype(np.int64), weight.astype(np.float64)


def _in_reach(lmax: int) -> int:
    """The multipole itself, if there is a place for it: windows are kept for every multipole from 0."""
    if not 0 <= lmax <= HIGHEST:
        raise MapError(f"windows go to l = {lmax}; at most {HIGHEST} are read")
    return lmax


def _scaling(block: str, size: int) -> NDArray[np.float64]:
    """What turns C_ℓ (C_L^φφ) into the spectrum that windows in the file act on; 1 where that vanishes."""
    ell = np.arange(float(size))
    scaling = (ell * (ell + 1)) ** 2 / 4 if block == "PP" else ell * (ell + 1) / (2 * np.pi)
    return np.where(scaling > 0, scaling, 1.0)


def _factor_to_kappa(weights: NDArray) -> float:
    """The factor after which windows on C^κκ sum to about one: 1 where no known scaling comes within a quarter."""
    total = float(np.median(weights.sum(axis=1)))
    if total <= 0:
        return 1.0
    distance = [abs(np.log(factor * total)) for factor in _TO_KAPPA]
    nearest = int(np.argmin(distance))
    return _TO_KAPPA[nearest] if distance[nearest] < np.log(1.25) else 1.0


def _add_matrix(out: Any, name: str, matrix: NDArray) -> int:
    """Keep the rows and multipoles of a matrix that are not all zero, and say which row is the first of them."""
    rows, ell = (np.flatnonzero(matrix.any(axis=axis)) for axis in (1, 0))
    weight = matrix[rows[0] : rows[-1] + 1, ell[0] : ell[-1] + 1].T
    multipoles, ones = np.arange(ell[0], ell[-1] + 1), np.ones(len(weight))
    extra = {"weight": np.ascontiguousarray(weight, dtype=np.float64)}
    out.add_tracer("Map", name, quantity="generic", spin=0, ell=multipoles, beam=ones, beam_extra=extra)
    return int(rows[0])


def _tags(content: Any, name: str) -> NDArray[np.float64]:
    return np.array([point.tags[name] for point in content.data], dtype=np.float64)


def _ascii(value: str | int | float) -> str | int | float:
    return value.encode("ascii", "backslashreplace").decode() if isinstance(value, str) else value


def _check_numbers(data: LinearData) -> None:
    """See that what was read can be fitted."""
    for name, array in _arrays(data).items():
        if not np.isfinite(array).all():
            raise MapError(f"the {name} holds a value that is not finite; write the file again")
    sigma = np.sqrt(np.clip(np.diag(data.covariance), 0.0, None))
    if not sigma.all():
        raise MapError("a variance is not above zero; write the file again")
    correlation = data.covariance / sigma / sigma[:, None]
    # 1e-6: what sums of windows and single precision leave
    if np.abs(correlation - correlation.T).max() > 1e-6 or np.linalg.eigvalsh(correlation)[0] < -1e-6:
        raise MapError("the covariance is not symmetric and positive definite; write the file again")


def _check_finite(data: LinearData) -> None:
    for name, array in _arrays(data).items():
        if not np.isfinite(array).all():
            raise ValueError(f"{data.name}: the {name} holds a value that is not finite; no file was written")


def _arrays(data: LinearData) -> dict[str, NDArray]:
    arrays = {"mean": data.mean, "covariance": data.covariance, "offset": data.offset, "centre": data.centre}
    arrays |= {f"window on {key}": matrix for key, matrix in data.windows.items()}
    return arrays | {f"correction on {key}": matrix for key, matrix in data.corrections.items()}

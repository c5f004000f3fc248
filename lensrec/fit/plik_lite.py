"""Planck 2018's high-ℓ TT, TE and EE bins with foregrounds already taken out, and low-ℓ TT in two bins.

Plik_lite (Planck 2018 V, arXiv:1907.12875, section 3.6; Planck 2015 XI, arXiv:1507.02704, section C.6.2) holds 613 bins
of raw C_ℓ: 215 of TT (30 ≤ ℓ ≤ 2508), 199 of TE and as many of EE (30 ≤ ℓ ≤ 1996), and one covariance, marginalised
over foregrounds and nuisances. A bin of any spectrum is

    ⟨d_b⟩ = Σ_ℓ w_bℓ C_ℓ / A_planck²,    Σ_ℓ w_bℓ = 1,    A_planck = 1.0 ± 0.0025,

with the same weights for TT, TE and EE, ∝ ℓ(ℓ+1). The fit applies A_planck; it is 1 here.

The two bins of TT at 2 ≤ ℓ ≤ 15 and 16 ≤ ℓ ≤ 29 stand for the map-based Commander likelihood. They are independent of
the others, and Gaussian as published (Prince & Dunkley, arXiv:1909.05869). Seen as a function of the theory, the
likelihood of a bin Ĉ of relative width s is nearer to

    χ² = (2/s²) (x − ln x − 1),    x = Ĉ/C,

with the Gaussian's (C − Ĉ)²/(sĈ)² as its first term and −(4/3) s n³ as its next, n σ away. Planck's ΛCDM lies 0.5
and 2.0 σ above the two bins (s = 0.092, 0.061): there the Gaussian counts 0.26 and 4.08, this form 0.25 and 3.49. The
Gaussian is 0.6 in χ² too hard on ΛCDM.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lensrec.spectra.linear_data import LinearData

BINS = {"TT": 215, "TE": 199, "EE": 199}
"""Bins of each spectrum, in the order of the files; each begins at the first of the same list of bins."""

LMIN = 30

CALIBRATION: dict[str, str | int | float] = {
    "scaling": "raw C_l in muK^2",
    "calibration": "A_planck: the theory is divided by its square in TT, TE and EE",
    "calibration_mean": 1.0,
    "calibration_sigma": 0.0025,
}


def plik_lite(folder: Path, *, low_ell: bool = True) -> LinearData:
    """The 613 bins, behind the two low-ℓ ones of TT if asked for.

    Parameters
    ----------
    folder : Path
        Of the published files, as `data_path("planck2018_plik_lite")` finds it.
    low_ell : bool
        With the two bins of TT below ℓ = 30, which come first.

    Raises
    ------
    ValueError
        If the covariance is not the Fortran record that it should be.
    """
    table = np.loadtxt(folder / "cl_cmb_plik_v22.dat")
    first = np.loadtxt(folder / "blmin.dat", dtype=float).astype(int)
    last = np.loadtxt(folder / "blmax.dat", dtype=float).astype(int)
    weights = np.loadtxt(folder / "bweight.dat")
    windows = {}
    for key, bins in BINS.items():
        before = list(BINS.values())[: list(BINS).index(key)]
        windows[key] = np.zeros((len(table), LMIN + last[bins - 1] + 1))
        windows[key][sum(before) : sum(before) + bins] = _windows(first[:bins], last[:bins], weights, LMIN)
    block = np.repeat(list(BINS), list(BINS.values()))
    low = LMIN + np.concatenate([first[:bins] for bins in BINS.values()])
    high = LMIN + np.concatenate([last[:bins] for bins in BINS.values()])
    mean, covariance = table[:, 1], _covariance(folder / "c_matrix_plik_v22.dat", len(table))
    if low_ell:
        bins_low, mean_low, sigma_low, rows = _low_ell(folder / "low_ell_TT")
        n = len(mean_low)
        windows = {key: np.pad(matrix, ((n, 0), (0, 0))) for key, matrix in windows.items()}
        windows["TT"][:n, : rows.shape[1]] = rows
        block = np.concatenate([np.repeat("TT", n), block])
        low, high = np.concatenate([bins_low[0], low]), np.concatenate([bins_low[1], high])
        mean = np.concatenate([mean_low, mean])
        covariance = np.pad(covariance, ((n, 0), (n, 0)))
        covariance[:n, :n] = np.diag(sigma_low**2)
    centre = sum(matrix @ np.arange(matrix.shape[1]) for matrix in windows.values())
    return LinearData(
        name="planck2018_plik_lite",
        block=block,
        low=low,
        high=high,
        centre=np.asarray(centre),
        mean=mean,
        covariance=covariance,
        windows=windows,
        metadata=CALIBRATION,
    )


def _windows(first: NDArray, last: NDArray, weights: NDArray, lmin: int) -> NDArray[np.float64]:
    """Rows of weights, each from its bin's first ℓ − lmin to its last."""
    rows = np.zeros((len(first), lmin + last[-1] + 1))
    for row, start, end in zip(rows, first, last, strict=True):
        row[lmin + start : lmin + end + 1] = weights[start : end + 1]
    return rows


def _covariance(path: Path, n: int) -> NDArray[np.float64]:
    """The n × n matrix of a Fortran record, four bytes of its length before and after; one triangle holds zeros."""
    raw = path.read_bytes()
    length = 8 * n * n
    marks = (raw[:4], raw[-4:])
    if len(raw) != length + 8 or any(int.from_bytes(mark, "little") != length for mark in marks):
        raise ValueError(f"{path} is not a Fortran record of {n} x {n} numbers")
    matrix = np.frombuffer(raw, dtype="<f8", offset=4, count=n * n).reshape(n, n)
    lower = np.tril(matrix)
    if np.triu(matrix, 1).any() and not np.allclose(matrix, matrix.T, rtol=1e-10, atol=0):
        raise ValueError(f"{path}: its upper triangle is neither empty nor the mirror of its lower one")
    return lower + np.tril(lower, -1).T


def _low_ell(folder: Path) -> tuple[tuple[NDArray, NDArray], NDArray, NDArray, NDArray]:
    """First and last ℓ of the bins, their means, widths and windows."""
    _, mean, sigma = np.loadtxt(folder / "CTT_bin_low_ell_2018.dat", unpack=True)
    first = np.loadtxt(folder / "blmin_low_ell.dat").astype(int)
    last = np.loadtxt(folder / "blmax_low_ell.dat").astype(int)
    lmin = int(np.loadtxt(folder / "plmin_low_ell.dat"))
    rows = _windows(first, last, np.loadtxt(folder / "bweight_low_ell.dat"), lmin)
    return (lmin + first, lmin + last), mean, sigma, rows

"""The optimal filter by the covariance of the pixels, for a few hundred of them."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from lensrec.sphere.alm import alm_size
from lensrec.sphere.grids import Grid
from lensrec.sphere.sht import synthesis


def real_harmonics(grid: Grid, lmax: int, fields: str) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Maps of every real degree of freedom of a_ℓm, one a column, and the ℓ of each.

    Columns are a_ℓ0, then √2 Re a_ℓm, then −√2 Im a_ℓm, of T, E and B as far as they are there; they are orthonormal on
    the sphere. Rows are T, Q, U.
    """
    columns, ells = [], []
    ncomp = {"T": 1, "P": 2, "TP": 3}[fields]
    for name in {"T": "T", "P": "EB", "TP": "TEB"}[fields]:
        for unit in (1.0, 1.0j):
            for m in range(lmax + 1):
                for ell in range(m, lmax + 1):
                    if m == 0 and unit == 1.0j:
                        continue
                    alm = np.zeros((3, alm_size(lmax)), dtype=complex)
                    alm["TEB".index(name), m * (2 * lmax + 1 - m) // 2 + ell] = unit * (1.0 if m == 0 else np.sqrt(0.5))
                    maps = np.concatenate([synthesis(alm[0], grid)[None], synthesis(alm[1:], grid, 2)])
                    columns.append(maps[{1: slice(0, 1), 2: slice(1, 3), 3: slice(0, 3)}[ncomp]].ravel())
                    ells.append(ell)
    return np.array(columns).T, np.array(ells)


def dense_filter(
    maps: NDArray,
    grid: Grid,
    inverse_noise: NDArray,
    signal: Mapping[str, NDArray],
    transfer: NDArray,
    lmax: int,
    fields: str,
    templates: NDArray | None = None,
) -> tuple[dict[str, NDArray], dict[str, NDArray]]:
    """X̄ = BᵀYᵀC⁻¹d and s^WF = S X̄, with C = YBSBᵀYᵀ + N over observed pixels, and templates taken out of C⁻¹.

    Parameters
    ----------
    maps : array (ncomp, npix)
    inverse_noise : array (ncomp, npix)
        For each of the maps.
    transfer : array (2, lmax+1)
        For T and for polarisation.
    templates : array (n, ncomp, npix), optional

    Notes
    -----
    With templates of infinite variance C⁻¹ becomes C⁻¹ − C⁻¹T(TᵀC⁻¹T)⁻¹TᵀC⁻¹, the limit of (C + σ²TTᵀ)⁻¹ for σ → ∞.
    """
    names = {"T": "T", "P": "EB", "TP": "TEB"}[fields]
    harmonics, ell = real_harmonics(grid, lmax, fields)
    per_field = (lmax + 1) ** 2
    beam = np.concatenate([transfer[0 if name == "T" else 1][ell[:per_field]] for name in names])
    seen = inverse_noise.ravel() > 0
    response = (harmonics * beam)[seen]
    prior = np.zeros((len(ell), len(ell)))
    for i, one in enumerate(names):
        for j, two in enumerate(names):
            cl = signal.get(one + two, signal.get(two + one, np.zeros(lmax + 1))).copy()
            if one + two != "TT":
                cl[:2] = 0.0
            block = np.diag(cl[ell[:per_field]])
            prior[i * per_field : (i + 1) * per_field, j * per_field : (j + 1) * per_field] = block
    covariance = response @ prior @ response.T + np.diag(1.0 / inverse_noise.ravel()[seen])
    weighted = np.linalg.solve(covariance, maps.ravel()[seen])
    if templates is not None:
        flat = templates.reshape(len(templates), -1)[:, seen].T
        inverse = np.linalg.solve(covariance, flat)
        weighted -= inverse @ np.linalg.solve(flat.T @ inverse, flat.T @ weighted)
    filtered = response.T @ weighted
    return _as_alm(filtered, names, lmax), _as_alm(prior @ filtered, names, lmax)


def _as_alm(vector: NDArray, names: str, lmax: int) -> dict[str, NDArray]:
    out = {}
    for name, row in zip(names, vector.reshape(len(names), -1), strict=True):
        size, zonal = alm_size(lmax), lmax + 1
        alm = row[:size].astype(complex)
        alm[zonal:] = (alm[zonal:] + 1j * row[size:]) / np.sqrt(2.0)
        out[name] = alm
    return out

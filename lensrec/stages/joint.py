"""The four-point half of a run's band powers, and the covariance of both halves."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lensrec.bias.n1 import n1_derivative
from lensrec.quadratic.products import GMV
from lensrec.spectra.bandpowers import Bands, bin_spectrum, lensing_scaling
from lensrec.spectra.lensing_covariance import (
    joint_covariance,
    lensing_corrections,
    n0_derivative,
    response_ratio,
    shared_fluctuations,
    shared_fsky,
    shared_modes,
)
from lensrec.stages.debias import analytic_n0
from lensrec.stages.phi_bandpowers import bands_of
from lensrec.stages.reconstruct import Reconstruction
from lensrec.stages.response import SimulatedResponse
from lensrec.stages.setting import MV, TTH
from lensrec.theory.lensed_response import bandpower_derivatives
from lensrec.theory.spectra import TheorySpectra

BIN = 50
"""Multipoles in which a relative change of a CMB spectrum is taken for constant, in corrections of the response."""

HIGHEST = 3000
"""L to which lenses move the CMB's band powers together; beyond, C_L^φφ has no power that matters."""


@dataclass(frozen=True, eq=False)
class FourPoint:
    """Band powers of φ̂φ̂ as functions of spectra.

    Attributes
    ----------
    bands : Bands
    windows : array (m, L_max+1)
        On raw C_L^φφ.
    sigma : array (m,)
        Gaussian errors of one sky.
    shared : array (m, m)
        Covariance of what all skies have in common: the errors of N0 and of the response by simulations.
    corrections : dict of spectra to array (m, …)
    offset : array (m,)
    n1 : array (m,)
        Of the fiducial C^φφ.
    by_power : dict of spectra to array (m, lmax+1)
        How they move with the power of the maps, where N0 of a model is taken off; empty with RDN0.
    """

    bands: Bands
    windows: NDArray[np.float64]
    sigma: NDArray[np.float64]
    shared: NDArray[np.float64]
    corrections: Mapping[str, NDArray[np.float64]]
    offset: NDArray[np.float64]
    n1: NDArray[np.float64]
    by_power: Mapping[str, NDArray[np.float64]]


def four_point_block(
    rec: Reconstruction, theory: TheorySpectra, table: Mapping[str, NDArray], key: str, *, nthreads: int = 0
) -> FourPoint:
    """Windows, errors and corrections of the band powers of one estimator.

    How the response of GMV and TTH changes with the CMB's spectra is not known here: they have no correction on these.
    """
    setting, recipe = rec.setting, rec.recipe.reconstruction
    bands = bands_of(rec)
    windows = bands.windows * lensing_scaling(bands.windows.shape[1] - 1)
    response = table[f"response_{key}"]
    shared = np.diag((table[f"n0_sigma_{key}"] / response**2) ** 2)
    if recipe.mc_response == "apply" and rec.simulated_response is not None:
        shared = shared + _response_covariance(rec.simulated_response, key, bands, table["fiducial"])
    matrix, n1 = None, np.zeros(len(bands.centres))
    first = rec.first_order
    if first is not None and recipe.n1 != "none" and key in first.keys:
        matrix = n1_derivative(first.phi, (key, key), recipe.L_max)
        n1 = bin_spectrum(first.spectra(setting.cl_lens)[key][0], bands)
    n0 = _n0_derivative(rec, key) if recipe.rdn0 == "none" else {}
    by_power = {name: (windows @ rows) / response[:, None] ** 2 for name, rows in n0.items()}
    corrections, offset = _corrections(rec, theory, key, windows, matrix, by_power, nthreads)
    return FourPoint(bands, windows, table[f"sigma_{key}"], shared, corrections, offset, n1, by_power)


def _response_covariance(simulated: SimulatedResponse, key: str, bands: Bands, power: NDArray) -> NDArray[np.float64]:
    """What the Monte-Carlo error of the response puts into band powers, 2 δR/R of each, from band to band."""
    if simulated.count < 2:
        raise ValueError(
            "reconstruction.response_sims: 1, and the error of the response it gives is not known; at least 2, better 8"
        )
    each = simulated.leaving_one_out(key, bands) / simulated.in_bands(key, bands)
    away = 2.0 * power * (each - each.mean(0))
    return (simulated.count - 1.0) / simulated.count * away.T @ away


def _corrections(
    rec: Reconstruction,
    theory: TheorySpectra,
    key: str,
    windows: NDArray,
    matrix: NDArray | None,
    by_power: Mapping[str, NDArray],
    nthreads: int,
) -> tuple[dict[str, NDArray], NDArray]:
    setting = rec.setting
    lensed = {name: cl[: int(_bins(rec)[-1])] for name, cl in theory.lensed.items()}
    if key in (GMV, TTH):
        found = dict(by_power) | ({} if matrix is None else {"PP": windows @ matrix})
        fiducial = {**lensed, "PP": setting.cl_lens}
        offset = np.zeros(len(windows))
        for name, rows in found.items():
            offset -= rows @ fiducial[name][: rows.shape[1]]
        return found, offset
    ones = np.ones((2, windows.shape[1]))
    combination = setting.mv_weights if key == MV else {key: ones}
    ratio = response_ratio(
        combination, setting.weights, setting.signal, setting.filters, windows.shape[1] - 1, nthreads=nthreads
    )
    corrections, offset = lensing_corrections(
        windows,
        setting.cl_lens,
        lensed,
        _bins(rec),
        ratio=ratio,
        n1_matrix=matrix,
        keys=("TT", "TE", "EE") if setting.polarised else ("TT",),
    )
    for name, rows in by_power.items():
        corrections[name] = corrections[name] + rows if name in corrections else rows
        offset = offset - rows @ lensed[name]
    return corrections, offset


def _n0_derivative(rec: Reconstruction, key: str) -> dict[str, NDArray]:
    setting = rec.setting
    place = setting.keys.index(key)
    keys = ("TT", "TE", "EE", "BB") if setting.polarised else ("TT",)
    totals = {name: cl[: int(_bins(rec)[-1])] for name, cl in setting.totals.items()}
    return n0_derivative(lambda spectra: analytic_n0(setting, spectra)[place, 0], totals, _bins(rec), keys=keys)


def _bins(rec: Reconstruction) -> NDArray[np.int64]:
    lmax = max(len(f) for f in rec.setting.filters.values()) - 1
    return np.unique(np.append(np.arange(2, lmax, BIN), lmax + 1))


def joined(
    rec: Reconstruction,
    theory: TheorySpectra,
    cmb_windows: Mapping[str, NDArray],
    cmb: NDArray,
    phi: FourPoint,
    *,
    nthreads: int = 0,
) -> NDArray[np.float64]:
    """The covariance of the CMB's band powers and of those of φ̂φ̂; see `lensrec.spectra.lensing_covariance`."""
    top = max(rows.shape[1] for rows in cmb_windows.values()) - 1
    # Lensing at ℓ needs unlensed power to some 1500 beyond it.
    end = min(theory.lmax, top + 1500)
    unlensed = {key: cl[: end + 1] for key, cl in theory.unlensed.items()}
    cl_phi = theory.potential["PP"]
    lmax_phi = max(min(len(cl_phi) - 1, HIGHEST), phi.windows.shape[1] - 1)
    derivative = bandpower_derivatives(unlensed, cl_phi, cmb_windows, lmax_phi=lmax_phi, nthreads=nthreads)
    on_phi = np.zeros((len(phi.sigma), lmax_phi + 1))
    on_phi[:, : phi.windows.shape[1]] = phi.windows
    if "PP" in phi.corrections:
        width = min(lmax_phi + 1, phi.corrections["PP"].shape[1])
        on_phi[:, :width] += phi.corrections["PP"][:, :width]
    two, four, own = 1.0, 1.0, 1.0
    if rec.mask is not None:
        two, four, own = (shared_fsky(rec.mask, *powers) for powers in ((2, 2), (2, 4), (4, 4)))
        if rec.recipe.reconstruction.filter == "optimal":
            four = own = rec.moment(4)  # the fraction of the sky that the filter sees
    cross = shared_modes(cmb_windows, phi.windows, theory.potential["TP"], theory.potential["EP"], four)
    extra = None
    if phi.by_power:
        cross = cross + shared_fluctuations(cmb_windows, phi.by_power, rec.setting.totals, four)
        extra = shared_fluctuations(phi.by_power, phi.by_power, rec.setting.totals, own)
    return joint_covariance(
        cmb,
        phi.sigma**2,
        derivative,
        on_phi,
        cl_phi[: lmax_phi + 1],
        fsky_cmb=two,
        fsky_cross=four,
        extra_cross=cross,
        extra_phi=extra,
    )

"""Checks of random numbers, lensed spectra, estimators and their responses, and mode coupling."""

import numpy as np
from numpy.typing import NDArray

from lensrec.quadratic.estimators import quadratic_estimates
from lensrec.quadratic.response import normalisation
from lensrec.sky.random import unit_alm
from lensrec.spectra.coupling import coupling_matrices
from lensrec.sphere.alm import alm_size, alm_to_cl, resize_alm, scale_alm
from lensrec.sphere.grids import gauss_legendre_grid
from lensrec.sphere.remap import deflection, remap_by
from lensrec.sphere.sht import adjoint_synthesis, analysis_tp, synthesis
from lensrec.stages.selftest import truths
from lensrec.theory.lensing import lensed_spectra


def random_numbers() -> float:
    """Largest difference between draws of one sky to ℓ = 700 and, by one thread, to ℓ = 400."""
    high = unit_alm(700, seed=1, sim=2, component="T")
    low = unit_alm(400, seed=1, sim=2, component="T", nthreads=1)
    return float(np.abs(resize_alm(high, 400) - low).max())


def lensed_spectra_of_camb() -> float:
    """Largest difference of TT, EE and TE at ℓ ≤ 800 from CAMB's correlation functions, in units of the spectra."""
    from camb.correlations import lensed_cls

    lmax, top = 2000, 800
    ell = np.arange(lmax + 1.0)
    rise = np.exp(-((ell / 900) ** 2)) / np.maximum(ell, 2) ** 2 * (ell >= 2)
    cls = {"TT": 6e3 * rise * (1 + 0.5 * np.cos(ell / 50)), "EE": 50 * rise * (1 - 0.5 * np.cos(ell / 50))}
    cls["TE"] = 0.5 * np.sqrt(cls["TT"] * cls["EE"]) * np.sin(ell / 50)
    cl_phi = 1e-7 / (np.maximum(ell, 1) * (ell + 40) ** 3) * (ell > 0)
    ours = lensed_spectra(cls, cl_phi, lmax=top)
    norm = ell * (ell + 1) / (2 * np.pi)
    theirs = lensed_cls(
        np.stack([cls["TT"], cls["EE"], 0 * ell, cls["TE"]], axis=1) * norm[:, None],
        (ell * (ell + 1)) ** 2 * cl_phi / (2 * np.pi),
        lmax=lmax,
        lmax_lensed=top,
        theta_max=None,
        apodize_point_width=0,
    )
    part, worst = slice(2, top + 1), 0.0
    scale = {"TT": ours["TT"], "EE": ours["EE"], "TE": np.sqrt(ours["TT"] * ours["EE"])}
    for column, key in ((0, "TT"), (1, "EE"), (3, "TE")):
        off = ours[key][part] - theirs[part, column] / norm[part]
        worst = max(worst, float(np.abs(off / scale[key][part]).max()))
    return worst


def estimators() -> float:
    """Largest difference of unnormalised φ̂ at ℓ, L ≤ 8, in units of its rms."""
    rng = np.random.default_rng(11)
    lmax, lmax_phi = 8, 8
    cl = rng.uniform(0.5, 2.0, lmax + 1)
    alm = {field: _gaussian(rng, lmax) for field in "TEB"}
    weights = {"TT": cl, "EE": cl, "BB": 0 * cl, "TE": 0 * cl}
    quick = quadratic_estimates(("TT", "EE", "EB"), alm, weights, lmax_phi)
    worst = 0.0
    for key, (phi, _) in quick.items():
        slow = truths.estimate(key, alm[key[0]], alm[key[1]], cl, lmax, lmax_phi)
        worst = max(worst, float(np.abs(phi - slow).max() / np.sqrt(np.mean(np.abs(slow) ** 2))))
    return worst


def optimal_noise() -> float:
    """Largest |N0 R − 1| over 2 ≤ L ≤ 300 where every leg is filtered by the inverse of its power.

    At L = 1 little but rounding is left of some: R of EE is 4e-11 of what it is at its largest.
    """
    lmax, lmax_phi = 400, 300
    ell = np.arange(lmax + 1.0)
    seen = ell >= 2
    signal = {"TT": 1.0 / np.maximum(ell, 1) ** 2, "EE": 0.05 / np.maximum(ell, 1) ** 2, "BB": 0 * ell}
    signal["TE"] = 0.4 * np.sqrt(signal["TT"] * signal["EE"])
    totals = {key: signal[key] + 1e-4 for key in ("TT", "EE", "BB")} | {"TE": signal["TE"]}
    filters = {field: np.where(seen, 1 / totals[2 * field], 0.0) for field in "TEB"}
    norm = normalisation(("TT", "EE", "TB", "EB"), signal, signal, filters, totals, lmax_phi)
    worst = 0.0
    for key, response in norm.response.items():
        worst = max(worst, float(np.abs(norm.n0(key) * response - 1.0)[:, 2:].max()))
    return worst


def linear_response() -> float:
    """Largest |⟨q_LM⟩ − R_L φ_LM| / |R_L φ_LM| for one mode of φ, by skies lensed by φ and by −φ.

    The mean over Gaussian T and E with C^TE = √(C^TT C^EE) is the sum over their modes, without a random number.
    """
    lmax, lmax_phi, at = 6, 6, (4, 3)
    ell = np.arange(lmax + 1.0)
    power = np.where(ell >= 2, 1.0 / (ell + 1.0), 0.0)
    cls = {"TT": power, "EE": 0.3 * power, "TE": np.sqrt(0.3) * power, "BB": 0 * power}
    keys = ("TT", "EE", "TE", "TB", "EB")
    filters = {"T": np.where(ell >= 2, ell, 0.0), "E": np.where(ell >= 2, 1.0 + ell, 0.0), "B": 1.0 * (ell >= 2)}
    phi = np.zeros(alm_size(lmax_phi), dtype=complex)
    phi[truths.index(lmax_phi, *at)] = (0.6 + 0.8j) * 2e-5
    grid = gauss_legendre_grid(4 * lmax + 2 * lmax_phi)
    alpha = deflection(phi, grid)
    mean = {key: np.zeros((2, len(phi)), dtype=complex) for key in keys}
    for of, mode in truths.real_modes(lmax, 2):
        teb = np.stack([np.sqrt(cls["TT"][of]) * mode, np.sqrt(cls["EE"][of]) * mode, 0 * mode])
        for sign in (1, -1):
            seen = analysis_tp(remap_by(teb, sign * alpha, grid, epsilon=1e-12), grid, lmax)
            filtered = {field: scale_alm(row, filters[field]) for field, row in zip("TEB", seen, strict=True)}
            for key, q in quadratic_estimates(keys, filtered, cls, lmax_phi).items():
                mean[key] += 0.5 * sign * q
    response = normalisation(keys, cls, cls, filters, cls, lmax_phi).response
    worst = 0.0
    for key in keys:
        expected = np.array([scale_alm(phi, response[key][0]), 0 * phi])
        worst = max(worst, float(np.abs(mean[key] - expected).max() / np.abs(expected).max()))
    return worst


def mode_coupling() -> float:
    """Largest error of the four coupling matrices: the pseudo-spectra of each mode under a mask, added up."""
    rng = np.random.default_rng(12)
    lmax, lmax_sky, lmax_mask = 6, 5, 6
    grid = gauss_legendre_grid(lmax + lmax_sky + lmax_mask)
    window = _gaussian(rng, lmax_mask)
    mask = synthesis(window, grid)

    def masked(alm: NDArray, spin: int) -> NDArray:
        return adjoint_synthesis(mask * synthesis(alm, grid, spin), grid, lmax, spin, weighted=True)

    matrices = coupling_matrices(alm_to_cl(window), lmax, lmax_sky=lmax_sky)
    left = {kind: matrix.copy() for kind, matrix in matrices.items()}
    for ell, alm in truths.real_modes(lmax_sky, 0):
        t = masked(alm, 0)
        left["00"][:, ell] -= alm_to_cl(t)
        if ell >= 2:
            e, b = masked(np.array([alm, 0 * alm]), 2)
            for kind, spectrum in (("02", alm_to_cl(t, e)), ("++", alm_to_cl(e)), ("--", alm_to_cl(b))):
                left[kind][:, ell] -= spectrum
    return max(float(np.abs(rest).max() / np.abs(matrices["00"]).max()) for rest in left.values())


def _gaussian(rng: np.random.Generator, lmax: int) -> NDArray[np.complex128]:
    alm = rng.standard_normal(alm_size(lmax)) + 1j * rng.standard_normal(alm_size(lmax))
    alm[: lmax + 1] = alm[: lmax + 1].real
    return alm

"""Planck PR4 lensing band powers (Carron, Mirmelstein & Lewis 2022, arXiv:2206.07773).

Nine bins in 8 ≤ L ≤ 400 of 𝒟_L = [L(L+1)]² C_L^φφ/2π, read as (Planck 2018 VIII, arXiv:1807.06210, eqs 32 and 33)

    ⟨d_b⟩ = Σ_L W_bL 𝒟_L + Σ_X Σ_ℓ K^X_bℓ 𝒟_ℓ^X − k_b,

with 𝒟_ℓ = ℓ(ℓ+1)C_ℓ/2π for the CMB, and k_b the second term at the fiducial. Two forms of the same bins are published,
which give three here:

marginalised
    X = φφ alone, which is the response of N1; what the uncertain CMB spectra do to the normalisation is in the
    covariance, which needs no spectra of the CMB. A fit may add CMB data to it as if the two were independent.
explicit
    X = TT, EE, TE, φφ, and the covariance at fixed CMB; the CMB spectra of this correction, not φφ, are divided by
    A_planck². Its nine windows are not among the files that lensrec downloads.
fixed
    The explicit one where the CMB has the fiducial spectra, so that only φφ is left of the correction (whose windows
    on φφ are the same in both): for amplitudes, not for a fit that varies the CMB.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lensrec.spectra.linear_data import LinearData

STEM = "pp_consext8_npipe_smicaed_TiPi_jTP_pre30T_kfilt_rdn0cov_PS1"
BINS = 9
LMAX = 2500

ORIGIN = f"github.com/carronj/planck_PR4_lensing, planckpr4lensing/data_pr4/{STEM}_lens_delta_window"


def planck_pr4(folder: Path, *, cmb: str = "marginalised") -> LinearData:
    """Band powers of Planck PR4 lensing.

    Parameters
    ----------
    folder : Path
        Of the published files, as `data_path("planck_pr4_lensing")` finds it.
    cmb : "marginalised", "explicit" or "fixed"
        See above. For "explicit" the published windows of the correction have to lie in the folder's
        PS1_lens_delta_window.

    Raises
    ------
    ValueError
        If `cmb` is none of these.
    FileNotFoundError
        If the windows of the correction are not there.
    """
    if cmb not in ("marginalised", "explicit", "fixed"):
        raise ValueError(f"the CMB of Planck PR4 lensing is marginalised, explicit or fixed, got {cmb!r}")
    marged = f"{STEM}_CMBmarged"
    columns = ("TT", "EE", "TE", "PP") if cmb == "explicit" else ("PP",)
    corrected = folder / ("PS1_lens_delta_window" if cmb == "explicit" else "PS1_CMBmarged_lens_delta_window")
    if not corrected.is_dir():
        raise FileNotFoundError(
            f"{corrected} is missing: bring that of {ORIGIN}, or take the CMB-marginalised form, which does without"
        )
    table = np.loadtxt(folder / f"{STEM}_bandpowers.dat")
    _, low, high, _, mean = table[:, :5].T
    scaled = _windows(folder / "PS1_window", ("PP",))["PP"]
    corrections = _windows(corrected, columns)
    return LinearData(
        name="planck_pr4_lensing",
        block=np.full(BINS, "PP"),
        low=low.astype(int),
        high=high.astype(int),
        centre=scaled @ np.arange(scaled.shape[1]) / scaled.sum(axis=1),
        mean=mean,
        covariance=np.loadtxt(folder / f"{marged if cmb == 'marginalised' else STEM}_cov.dat"),
        windows={"PP": _on_raw("PP", scaled)},
        corrections={key: _on_raw(key, matrix) for key, matrix in corrections.items()},
        offset=-np.loadtxt(folder / f"{STEM if cmb == 'explicit' else marged}_lensing_fiducial_correction.dat")[:, 1],
        metadata={
            "scaling": "[L(L+1)]^2 C_L^phiphi / 2 pi",
            "covariance": "CMB-marginalised" if cmb == "marginalised" else "at fixed CMB spectra",
            "calibration": "none" if cmb != "explicit" else "A_planck: C_l^TT,TE,EE of the corrections over its square",
        },
    )


def _windows(folder: Path, columns: tuple[str, ...]) -> dict[str, NDArray[np.float64]]:
    """Matrices (bin, L) of files window1.dat …, their first column L and the others as named, the rest zero."""
    out = {key: np.zeros((BINS, LMAX + 1)) for key in columns}
    for number in range(BINS):
        table = np.loadtxt(folder / f"window{number + 1}.dat")
        for key, column in zip(columns, table.T[1:], strict=True):
            out[key][number, table[:, 0].astype(int)] = column
    return {key: matrix[:, : np.flatnonzero(matrix.any(axis=0))[-1] + 1] for key, matrix in out.items()}


def _on_raw(key: str, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """The same function of raw spectra: [L(L+1)]²/2π to a weight on φφ, ℓ(ℓ+1)/2π to one on the CMB."""
    l = np.arange(matrix.shape[1], dtype=float)
    return matrix * (l * (l + 1)) ** (2 if key == "PP" else 1) / (2 * np.pi)

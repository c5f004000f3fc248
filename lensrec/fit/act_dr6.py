"""ACT DR6 lensing band powers, alone and together with those of Planck PR4 and SPT-3G.

All are bins of the raw convergence spectrum C_L^κκ = [L(L+1)]² C_L^φφ/4, in which theory is read as Σ_L W_bL C_L^κκ
without a correction, and the covariances are CMB-marginalised: what uncertain CMB spectra do to the normalisation is in
them. A fit may therefore add CMB data as if the two were independent.

The inverse of an n × n covariance that was estimated from N_sim simulations is too large; it is given here divided by

    h = (N_sim − n − 2)/(N_sim − 1)      (Hartlap, Simon & Schneider 2007, astro-ph/0608064, eq. 17).

ACT's covariance at fixed CMB spectra has a σ that is 0.2 to 2.6 % smaller per bin, and 8 % for one amplitude of them
all, 0.0235 where A_L = 1.013 ± 0.023 is published. A fit that varies the CMB would have to correct theory for the
normalisation and N1 (Madhavacheril et al. 2023, arXiv:2304.05203, section 5), by matrices that are not among the files
that lensrec downloads; so at fixed CMB only amplitudes should be fitted.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lensrec.spectra.linear_data import LinearData

N_SIM = {"act": 792, "planck": 400}
"""Simulations behind each survey's covariance; of several, the fewest count. SPT-3G's isn't from simulations."""

ACT_BASELINE = slice(2, -6)
"""Of ACT's eighteen bins, those in 40 ≤ L ≤ 763."""

COVARIANCES = {
    ("act", "planck"): "covmat_actplanck_cmbmarg.txt",
    ("act", "spt"): "covmat_actspt3g.txt",
    ("act", "planck", "spt"): "covmat_actplanckspt3g_analytic_offdiagonal.txt",
}
"""Files of the joint covariances, rows in the order of the surveys with all bins of each."""


def act_dr6(folder: Path, *, marginalised: bool = True) -> LinearData:
    """ACT DR6's ten baseline bins (Qu et al. 2023, arXiv:2304.05202; Madhavacheril et al. 2023, arXiv:2304.05203).

    Parameters
    ----------
    folder : Path
        Of the published files, as `data_path("act_dr6_lensing")` finds it.
    marginalised : bool
        The covariance over CMB spectra, or else at fixed ones.
    """
    table = np.loadtxt(folder / "kk_window_functions.txt")
    windows = np.zeros((table.shape[1] - 1, int(table[-1, 0]) + 1))
    windows[:, table[:, 0].astype(int)] = table[:, 1:].T
    mean = np.loadtxt(folder / "ACT_DR6_kk_bdp.txt")
    which = "lens_only" if marginalised else "lens_and_CMB"
    covariance = np.loadtxt(folder / f"ACT_DR6_kk_cov_{which}.txt")
    return _data("act_dr6_lensing", mean, windows, covariance, N_SIM["act"], marginalised=marginalised)


def act_planck_spt(folder: Path, *, surveys: tuple[str, ...] = ("act", "planck", "spt")) -> LinearData:
    """Bins of several surveys with the covariance between them (Qu, Ge, Wu et al. 2025, arXiv:2504.20038).

    ACT DR6 (10 baseline bins), Planck PR4 (9; Carron et al. 2022) and SPT-3G (16 of MUSE; Ge et al. 2024,
    arXiv:2411.06000), in that order.

    Parameters
    ----------
    folder : Path
        Of the published files, as `data_path("act_planck_spt_lensing")` finds it.
    surveys : tuple of str
        ("act", "planck"), ("act", "spt") or all three.

    Raises
    ------
    ValueError
        For another combination.
    """
    if surveys not in COVARIANCES:
        known = "; ".join(", ".join(names) for names in COVARIANCES)
        raise ValueError(f"no joint covariance of {', '.join(surveys)}; there is one of: {known}")
    means, windows, keep = [], [], []
    for survey in surveys:
        mean, rows = _spt(folder) if survey == "spt" else _survey(folder, survey)
        chosen = np.zeros(len(mean), dtype=bool)
        chosen[ACT_BASELINE if survey == "act" else slice(None)] = True
        means.append(mean[chosen])
        windows.append(rows[chosen])
        keep.append(chosen)
    width = max(rows.shape[1] for rows in windows)
    kept = np.concatenate(keep)
    covariance = np.loadtxt(folder / COVARIANCES[surveys])[np.ix_(kept, kept)]
    return _data(
        f"{'_'.join(surveys)}_lensing",
        np.concatenate(means),
        np.concatenate([np.pad(rows, ((0, 0), (0, width - rows.shape[1]))) for rows in windows]),
        covariance,
        min(N_SIM[survey] for survey in surveys if survey in N_SIM),
    )


def _survey(folder: Path, survey: str) -> tuple[NDArray, NDArray]:
    return np.loadtxt(folder / f"clkk_bandpowers_{survey}.txt"), np.loadtxt(folder / f"binning_matrix_{survey}.txt")


def _spt(folder: Path) -> tuple[NDArray, NDArray]:
    """Band powers and windows from L = 0 of SPT-3G, whose file begins at L = 1."""
    with np.load(folder / "muse_likelihood.npz") as file:
        return file["d_kk"], np.pad(file["bpwf"], ((0, 0), (1, 0)))


def _data(
    name: str, mean: NDArray, windows: NDArray, covariance: NDArray, n_sim: int, *, marginalised: bool = True
) -> LinearData:
    """Band powers of C_L^κκ from windows on it that begin at L = 0, the covariance as yet without Hartlap's factor."""
    n = len(mean)
    windows = windows[:, : np.flatnonzero(windows.any(axis=0))[-1] + 1]
    L = np.arange(windows.shape[1], dtype=float)
    hartlap = (n_sim - n - 2) / (n_sim - 1)
    return LinearData(
        name=name,
        block=np.full(n, "PP"),
        low=np.argmax(windows != 0, axis=1),
        high=windows.shape[1] - 1 - np.argmax(windows[:, ::-1] != 0, axis=1),
        centre=windows @ L / windows.sum(axis=1),
        mean=mean,
        covariance=covariance / hartlap,
        windows={"PP": windows * (L * (L + 1)) ** 2 / 4},
        metadata={
            "scaling": "[L(L+1)]^2 C_L^phiphi / 4",
            "covariance": "CMB-marginalised" if marginalised else "at fixed CMB spectra",
            "n_sim": n_sim,
            "hartlap": hartlap,
            "calibration": "none",
        },
    )

"""From what Cobaya's theories provide to the χ² of band powers.

Cobaya's spectra are dicts of lower-case keys; asked for without its ℓ-factors and in µK² they are raw C_ℓ from ℓ = 0,
and its "pp" is then C_L^φφ (with the factors it would be [L(L+1)]² C_L^φφ/2π).

CAMB's Alens multiplies C_L^φφ in the lensing of the CMB and in "pp" at once, so that it cannot tell A_L^TTTEEE from
A_L^φφ. Here the theory stays at Alens = 1: A_L^φφ multiplies "pp" where it is compared with lensing band powers, and
for A_L^TTTEEE the unlensed spectra are lensed with A_L^TTTEEE "pp" by `theory.lensing`.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from lensrec.spectra.linear_data import CMB_BLOCKS, LinearData
from lensrec.theory.acoustic_scale import DAMPED, MARGIN
from lensrec.theory.lensing import lensed_spectra
from lensrec.theory.spectra import Spectra, extended

UNLENSED = ("TT", "TE", "EE")

CMB_BEYOND, POTENTIAL_BEYOND = 1500, 2500
"""How far beyond the highest lensed multipole the unlensed spectra and C_L^φφ are carried on."""


def needed(data: LinearData, *, lens: bool) -> dict[str, dict[str, int]]:
    """Cobaya's requirements for band powers: of "Cl" and "unlensed_Cl", the highest multipole of each spectrum.

    Parameters
    ----------
    data : LinearData
    lens : bool
        The CMB is to be lensed here: unlensed spectra and "pp" take the place of lensed ones.
    """
    read = data.lmax
    cmb = {key: read[key] for key in CMB_BLOCKS if key in read}
    if not lens or not cmb:
        return {"Cl": {key.lower(): lmax for key, lmax in read.items()}}
    end = max(max(cmb.values()) + MARGIN, DAMPED)
    return {"unlensed_Cl": dict.fromkeys(map(str.lower, UNLENSED), end), "Cl": {"pp": max(end, read.get("PP", 0))}}


def from_cobaya(cl: Mapping[str, NDArray]) -> Spectra:
    """Raw C_ℓ under lensrec's names, TT, TE, EE, BB and PP, as far as they are there."""
    return {key: np.asarray(cl[key.lower()]) for key in (*CMB_BLOCKS, "PP") if key.lower() in cl}


def lensed_here(unlensed: Spectra, cl_phi: NDArray, *, lmax: int, amplitude: float, nthreads: int = 0) -> Spectra:
    """TT, TE, EE and BB to lmax, lensed with amplitude × C_L^φφ.

    Parameters
    ----------
    unlensed : dict of TT, TE, EE
        Raw C_ℓ from ℓ = 0 to lmax + 500, and to 2500 at least; they and `cl_phi` are carried on from there.
    cl_phi : array
    lmax : int
    amplitude : float
        A_L^TTTEEE.
    nthreads : int
        0: as many as this process may use.
    """
    top = max(lmax + CMB_BEYOND, DAMPED)
    longer = {key: extended(unlensed[key], top, law="exponential")[: top + 1] for key in ("TT", "EE")}
    te = np.asarray(unlensed["TE"])[: top + 1]
    longer["TE"] = np.pad(te, (0, top + 1 - len(te)))
    end = lmax + POTENTIAL_BEYOND
    potential = extended(cl_phi, end, law="power")[: end + 1]
    return lensed_spectra(longer, potential, lmax=lmax, amplitude=amplitude, nthreads=nthreads)


def whitening(data: LinearData) -> NDArray[np.float64]:
    """W, (n, n), such that χ² = |W (model − data)|².

    Raises
    ------
    ValueError
        If the covariance is not positive definite.
    """
    from scipy.linalg import solve_triangular

    try:
        root = np.linalg.cholesky(data.covariance)
    except np.linalg.LinAlgError:
        raise ValueError(f"{data.name}: the covariance of the band powers is not positive definite") from None
    return solve_triangular(root, np.eye(len(data)), lower=True)


def expected(
    data: LinearData,
    spectra: Mapping[str, NDArray],
    *,
    potential: float = 1.0,
    calibration: float = 1.0,
    efficiency: float = 1.0,
) -> NDArray[np.float64]:
    """⟨d⟩ of `LinearData.expected` with A_L^φφ and the calibrations of the maps, (n,).

    With g = c² for TT, c² p for TE, c² p² for EE and BB, as in `fit.band_power_model`,

        ⟨d⟩ = Σ_X g_X (W^X + K^X) C^X + A_L^φφ (W^φφ + K^φφ) C^φφ + o.

    That the corrections K^X grow with A_L^φφ is left out here: it is of second order, (A − 1) times how far the CMB is
    from the fiducial one.

    Parameters
    ----------
    data : LinearData
    spectra : mapping of "TT", "TE", "EE", "BB", "PP" to array (lmax+1,)
        Raw C_ℓ from ℓ = 0; PP without an amplitude.
    potential : float
        A_L^φφ.
    calibration, efficiency : float
        c, which multiplies what the maps are believed to show (1/A_planck), and p, that of Q and U again.
    """
    c, p = calibration, efficiency
    gain = {"TT": c**2, "TE": c**2 * p, "EE": (c * p) ** 2, "BB": (c * p) ** 2, "PP": potential}
    return data.expected({key: gain[key] * np.asarray(cl) for key, cl in spectra.items() if key in gain})


def band_power_chi2(data: LinearData, white: NDArray, model: NDArray) -> float:
    """|W (model − data)|² for W of `whitening` and the model of `expected`."""
    residual = white @ (model - data.mean)
    return float(residual @ residual)

"""Unlensed spectra and C_L^φφ of flat ΛCDM by its acoustic scale θ_* instead of H0.

Spectra are far closer to linear in θ_* than in H0, which is what an expansion in the parameters wants.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lensrec.theory.spectra import Spectra, extended

PARAMETERS = ("ombh2", "omch2", "thetastar", "logA", "ns", "tau")
"""ω_b, ω_c, θ_* = r_s(z_*)/D_M(z_*) (CAMB's `thetastar`/100, not cosmomc_theta), ln(10¹⁰ A_s) at 0.05/Mpc, n_s, τ."""

MARGIN = 500
"""Multipoles of CAMB's beyond lmax; from there on spectra are continued."""

DAMPED = 2500
"""CAMB's spectra go on to here at least: continued from where the peaks of EE still rise they would grow for ever."""


class UnlensedCosmology(NamedTuple):
    """Unlensed CMB spectra and C_L^φφ, long enough to lens up to lmax, and what else follows from the parameters.

    `unlensed` holds raw TT, EE, TE in µK² from ℓ = 0 to lmax + 1500, and 2500 at least; `cl_phi` C_L^φφ from L = 0 to
    lmax + 2500; `H0` is in km/s/Mpc.
    """

    unlensed: Spectra
    cl_phi: NDArray[np.float64]
    H0: float
    omega_m: float


def unlensed_cosmology(
    theta: NDArray,
    *,
    lmax: int,
    mnu: float = 0.06,
    hierarchy: str = "one",
    w: float = -1.0,
    wa: float = 0.0,
    lens_potential_accuracy: float = 2,
) -> UnlensedCosmology:
    """Spectra of flat ΛCDM, or of dark energy with the equation of state w + wa (1 − a), which may cross −1 (PPF).

    Parameters
    ----------
    theta : array (6,)
        In the order of PARAMETERS.
    lmax : int
        Highest multipole that lensed spectra will be wanted at.
    mnu : float
        Σmν in eV.
    hierarchy : str
        "one": one massive state; "degenerate": three of equal mass; "normal", "inverted": CAMB's own of these names.
    w, wa : float
        Equation of state of dark energy today, and minus its derivative by a.
    lens_potential_accuracy : float
        CAMB's. Against 8, C_L^φφ is low at L = 400, 763 and 2000 by 1e-3, 5e-3 and 5e-2 for 1; 2e-4, 1e-3 and 1e-2
        for 2; 5e-5, 3e-4 and 2e-3 for 4. Its Alens is never set.

    Raises
    ------
    ValueError
        Where CAMB finds no such cosmology.
    """
    import camb

    ombh2, omch2, thetastar, log_a, ns, tau = (float(value) for value in theta)
    extensions: dict[str, float | str | tuple[float, float]] = {}
    if hierarchy != "one":
        extensions |= {"num_massive_neutrinos": 3, "neutrino_hierarchy": hierarchy}
    if (w, wa) != (-1.0, 0.0):
        extensions |= {"w": w, "wa": wa, "dark_energy_model": "ppf", "theta_H0_range": (30.0, 150.0)}
    end, top = max(lmax + MARGIN, DAMPED), max(lmax + 1500, DAMPED)
    try:
        params = camb.set_params(
            ombh2=ombh2,
            omch2=omch2,
            thetastar=thetastar,
            mnu=mnu,
            As=1e-10 * np.exp(log_a),
            ns=ns,
            tau=tau,
            lmax=end,
            lens_potential_accuracy=lens_potential_accuracy,
            **extensions,
        )
        results = camb.get_results(params)
    except (camb.CAMBError, ValueError, ArithmeticError) as error:
        values = ", ".join(f"{name}={value:g}" for name, value in zip(PARAMETERS, theta, strict=True))
        values += f", mnu={mnu:g}, w={w:g}, wa={wa:g}"
        raise ValueError(f"CAMB finds no spectra for {values}: {' '.join(str(error).split())}") from error
    table = results.get_unlensed_scalar_cls(lmax=end, CMB_unit="muK", raw_cl=True)
    cl_phi = results.get_lens_potential_cls(lmax=end, CMB_unit="muK", raw_cl=True)[:, 0]
    unlensed = {key: extended(table[:, k], top, law="exponential")[: top + 1] for k, key in ((0, "TT"), (1, "EE"))}
    unlensed["TE"] = np.pad(table[:, 3], (0, max(0, top - end)))[: top + 1]
    potential = extended(cl_phi, lmax + 2500, law="power")[: lmax + 2501]
    omega_m = (ombh2 + omch2 + params.omnuh2) / (params.H0 / 100) ** 2
    return UnlensedCosmology(unlensed, potential, float(params.H0), float(omega_m))


def acoustic_parameters(cosmology: Mapping[str, float]) -> NDArray[np.float64]:
    """PARAMETERS, (6,), of a flat cosmology given as in `theory.boltzmann.FIDUCIAL`, by H0 and As.

    Raises
    ------
    ValueError
        If it is not flat: such a cosmology has no place among these parameters.
    """
    import camb

    if cosmology.get("omk", 0.0) != 0.0:
        raise ValueError(f"the expansion is in flat LCDM, got omk = {cosmology['omk']}")
    background = {
        key: cosmology[key] for key in ("H0", "ombh2", "omch2", "mnu", "tau", "nnu", "YHe") if key in cosmology
    }
    thetastar = camb.get_background(camb.set_params(**background)).get_derived_params()["thetastar"] / 100
    log_a = np.log(1e10 * cosmology["As"])
    return np.array([cosmology["ombh2"], cosmology["omch2"], thetastar, log_a, cosmology["ns"], cosmology["tau"]])

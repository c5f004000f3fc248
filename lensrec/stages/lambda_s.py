"""C_L^φφ of ΛsCDM over that of ΛCDM at the same θ_*, for as many z† as a fit interpolates between."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from lensrec.fit.response_surface import CENTRE
from lensrec.theory.background import Background, background
from lensrec.theory.lambda_s import transition_redshifts
from lensrec.theory.limber import Expansion, MatterPower, limber_ratio_spectrum

NODES = np.concatenate([[0.0], np.linspace(6.0**-3, 1.4**-3, 24)])
"""1/z†³, in which the ratio is nearly linear: Λ's share of the density at z† goes like it."""

MNU = 0.06
K = np.geomspace(1e-5, 30.0, 600)
K_MAX = 10.0
Z = np.concatenate([np.linspace(0.0, 4.0, 17), np.geomspace(4.5, 30.0, 12)])
"""k and z of P; from K_MAX on, in 1/Mpc, CAMB's power law. Against 93 redshifts and 40/Mpc ratios move by 1e-4."""


@lru_cache(maxsize=4)
def potential_ratios(lmax: int, *, transition: float | None = None) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """r_L(z†) = C_L^φφ(ΛsCDM)/C_L^φφ(ΛCDM) with Planck's ω_b, ω_c, θ_*, A_s and n_s.

    Parameters
    ----------
    lmax : int
    transition : float, optional
        ν of the smooth switch.

    Returns
    -------
    nodes : array (n,)
        1/z†³, ascending from 0, which is ΛCDM.
    ratios : array (n, lmax+1)
        At L = 0 to lmax. They are for one ω_b, ω_c and θ_*: r − 1 is larger by 3.4 % of itself for an ω_c larger by
        1 %, and changes by 0.7 % for an ω_b 1 %, 1.8 % for a θ_* 0.1 % larger, each several of Planck's standard
        deviations but the first, which is one. Linear in 1/z†³ between the nodes, r is good to 6e-4.
    """
    reference = background(
        ombh2=CENTRE["ombh2"], omch2=CENTRE["omch2"], thetastar=CENTRE["thetastar"], mnu=MNU, hierarchy="degenerate"
    )
    power = _matter_power(reference)
    rows = [np.ones(lmax + 1)]
    for at in NODES[1:]:
        model = background(
            ombh2=CENTRE["ombh2"],
            omch2=CENTRE["omch2"],
            thetastar=CENTRE["thetastar"],
            mnu=MNU,
            z_dagger=float(at ** (-1 / 3)),
            transition=transition,
        )
        rows.append(limber_ratio_spectrum(lmax, _expansion(model), _expansion(reference), power))
    return NODES, np.array(rows)


def _expansion(model: Background) -> Expansion:
    breaks: tuple[float, ...] = ()
    if model.z_dagger is not None:
        nu = np.inf if model.transition is None else model.transition
        breaks = transition_redshifts(model.z_dagger, nu)
    omega_m = model.omega_m * (model.H0 / 100) ** 2
    return Expansion(model.hubble, omega_m, model.ombh2 + model.omch2, model.zstar, breaks)


def _matter_power(reference: Background) -> MatterPower:
    """CAMB's non-linear P(k, z) of the reference."""
    import camb

    params = camb.set_params(
        H0=reference.H0,
        ombh2=reference.ombh2,
        omch2=reference.omch2,
        mnu=MNU,
        num_massive_neutrinos=3,
        As=1e-10 * np.exp(CENTRE["logA"]),
        ns=CENTRE["ns"],
        tau=CENTRE["tau"],
        kmax=K_MAX,
        redshifts=Z[::-1],
        WantCls=False,
        NonLinear="NonLinear_both",
    )
    results = camb.get_results(params)
    table = results.get_matter_power_interpolator(nonlinear=True, hubble_units=False, k_hunit=False, extrap_kmax=40.0)
    return MatterPower(K, Z, table.P(Z, K))

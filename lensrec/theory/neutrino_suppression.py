"""How far massive neutrinos suppress the matter power and the lensing potential, from CAMB, beside −8 f_ν.

Always against a universe of three massless neutrinos with the same

    ω_b, ω_m = ω_b + ω_c + ω_ν (so that ω_c makes room for the neutrinos), H0 (hence Ω_m, Ω_Λ), A_s, n_s, τ, N_eff,

the comparison that ΔP/P ≈ −8 f_ν is made for (Hu, Eisenstein & Tegmark 1998, astro-ph/9712057). With ω_c instead
of ω_m fixed, as in a Boltzmann code's usual parameters, or H0 following θ_*, the suppression is another.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lensrec.theory.boltzmann import FIDUCIAL
from lensrec.theory.neutrinos import Hierarchy, camb_neutrinos, omnuh2

Array = NDArray[np.float64]

_TAKEN = ("H0", "ombh2", "omega_m_h2", "As", "ns", "tau")


def fixed_matter(cosmology: Mapping[str, float] | None = None) -> dict[str, float]:
    """What is held fixed: H0, ombh2, omega_m_h2, As, ns, tau.

    What is left out is that of `theory.boltzmann.FIDUCIAL`, whose ω_m has one massive state of 0.06 eV in it.

    Raises
    ------
    ValueError
        For an unknown parameter.
    """
    cosmology = {} if cosmology is None else cosmology
    unknown = sorted(set(cosmology) - set(_TAKEN))
    if unknown:
        raise ValueError(f"unknown parameter {', '.join(unknown)}; known are {', '.join(_TAKEN)}")
    total = FIDUCIAL["ombh2"] + FIDUCIAL["omch2"] + omnuh2(FIDUCIAL["mnu"], "one")
    base = {key: total if key == "omega_m_h2" else FIDUCIAL[key] for key in _TAKEN}
    return base | {key: float(value) for key, value in cosmology.items()}


def matter_suppression(
    mnu: float,
    k: ArrayLike,
    z: ArrayLike,
    *,
    hierarchy: Hierarchy = "degenerate",
    cosmology: Mapping[str, float] | None = None,
    nonlinear: bool = False,
) -> Array:
    """ΔP/P(k, z) = P(k, z; Σmν)/P(k, z; 0) − 1 of all matter, neutrinos in it.

    Parameters
    ----------
    mnu : float
        Σmν in eV, positive.
    k : array (nk,)
        Ascending, in h/Mpc.
    z : array (nz,)
        Ascending.
    hierarchy : str
        As in `theory.neutrinos.neutrino_masses`.
    cosmology : mapping
        What is held fixed, see `fixed_matter`.
    nonlinear : bool
        By CAMB's default halo model (HMcode 2020), instead of linear theory.

    Returns
    -------
    array (nz, nk)

    Raises
    ------
    ValueError
        For an unknown parameter, or masses that leave no cold dark matter.
    """
    k, z = np.atleast_1d(np.asarray(k, dtype=np.float64)), np.atleast_1d(np.asarray(z, dtype=np.float64))
    held = fixed_matter(cosmology)
    with_mass, without = (_power(m, k, z, hierarchy, held, nonlinear) for m in (mnu, 0.0))
    return with_mass / without - 1


def lensing_suppression(
    mnu: float,
    lmax: int,
    *,
    hierarchy: Hierarchy = "degenerate",
    cosmology: Mapping[str, float] | None = None,
    lens_potential_accuracy: float = 2,
) -> Array:
    """ΔC_L^φφ/C_L^φφ against massless neutrinos, non-linear power included.

    Arguments and errors as in `matter_suppression`; `lens_potential_accuracy` is CAMB's.

    Returns
    -------
    array (lmax + 1,)
        From L = 0; zero at L < 2.
    """
    held = fixed_matter(cosmology)
    with_mass, without = (_potential(m, lmax, hierarchy, held, lens_potential_accuracy) for m in (mnu, 0.0))
    change = np.zeros(lmax + 1)
    change[2:] = with_mass[2:] / without[2:] - 1
    return change


def onset(k: ArrayLike, suppression: ArrayLike, level: float) -> float:
    """Least k where ΔP/P falls to `level` < 0, by linear interpolation in ln k; NaN if it never does.

    Parameters
    ----------
    k, suppression : arrays (nk,)
        k ascending; ΔP/P at one redshift.
    level : float
        Such as half of −8 f_ν.
    """
    x, y = np.log(np.asarray(k, dtype=np.float64)), np.asarray(suppression, dtype=np.float64)
    below = np.flatnonzero(y <= level)
    if not len(below) or below[0] == 0:
        return float("nan") if not len(below) else float(np.exp(x[0]))
    i = below[0]
    return float(np.exp(x[i - 1] + (x[i] - x[i - 1]) * (y[i - 1] - level) / (y[i - 1] - y[i])))


def _params(mnu: float, hierarchy: Hierarchy, held: Mapping[str, float]):  # type: ignore[no-untyped-def]
    import camb

    neutrinos = camb_neutrinos(mnu, hierarchy if mnu > 0 else "degenerate")
    omch2 = held["omega_m_h2"] - held["ombh2"] - (omnuh2(mnu, hierarchy) if mnu > 0 else 0.0)
    if omch2 <= 0:
        raise ValueError(f"mnu = {mnu:g} eV leaves no cold dark matter with omega_m_h2 = {held['omega_m_h2']:g}")
    rest = {key: held[key] for key in ("H0", "ombh2", "As", "ns", "tau")}
    return camb.set_params(**rest, omch2=omch2, **neutrinos)


def _power(mnu: float, k: Array, z: Array, hierarchy: Hierarchy, held: Mapping[str, float], nonlinear: bool) -> Array:
    import camb

    params = _params(mnu, hierarchy, held)
    params.WantCls = False
    # halo models want the power far beyond the k they are asked for
    kmax = max(1.2 * k[-1] * held["H0"] / 100, 6.0 if nonlinear else 0.0)
    params.set_matter_power(redshifts=z[::-1], kmax=kmax, nonlinear=nonlinear, silent=True)
    interpolator = camb.get_results(params).get_matter_power_interpolator(nonlinear=nonlinear)
    return np.atleast_2d(interpolator.P(z, k))


def _potential(mnu: float, lmax: int, hierarchy: Hierarchy, held: Mapping[str, float], accuracy: float) -> Array:
    import camb

    params = _params(mnu, hierarchy, held)
    params.set_for_lmax(lmax + 500, lens_potential_accuracy=accuracy)
    return camb.get_results(params).get_lens_potential_cls(lmax=lmax, raw_cl=True)[:, 0]

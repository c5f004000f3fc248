"""What `fit.emulator` stands for, by CAMB: the truth that it is held against, and what a fit with `exact` uses."""

import numpy as np
from numpy.typing import NDArray

from lensrec.fit.emulator import BLEND, PHYSICAL_MASS, Mirror
from lensrec.fit.emulator_points import PARAMETERS
from lensrec.theory.acoustic_scale import UnlensedCosmology, unlensed_cosmology
from lensrec.theory.lensing import lensed_spectra
from lensrec.theory.spectra import Spectra

_MASS = PARAMETERS.index("mnu")
KEYS = ("TT", "TE", "EE", "BB")

VANISHING = 1e-4
"""Σmν in eV that stands for none. CAMB integrates massless states otherwise than massive ones: with Σmν = 0 its TT is
off by up to 1.4e-3 and C_L^φφ by 4e-4 from what they tend to with the mass; from 1e-3 to 1e-4 eV they move by 1e-5."""


def exact_spectra(
    x: NDArray,
    *,
    lmax: int,
    a_smooth: float = 1.0,
    mirrored: Mirror = "observables",
    hierarchy: str = "degenerate",
    ratio: NDArray | None = None,
    lens_potential_accuracy: float = 2,
    nthreads: int = 0,
) -> Spectra:
    """Lensed TT, TE, EE, BB in µK² to lmax, and PP to lmax + 2500, with the definitions of `Emulator.spectra`.

    Parameters
    ----------
    x : array (9,)
        In the order of `emulator_points.PARAMETERS`; Σmν of either sign.
    lmax : int
    a_smooth : float
        A_L^TTTEEE.
    mirrored : str
        What a negative Σmν means.
    hierarchy : str
        See `theory.neutrinos.neutrino_masses`.
    ratio : array (lmax+2501,), optional
        By which C_L^φφ of a further model differs, in the smoothing, too.
    lens_potential_accuracy, nthreads
        CAMB's, and of lensing.

    Raises
    ------
    ValueError
        Where CAMB finds no such cosmology, for an unknown meaning of a negative mass, or a ratio that ends too early.
    """
    if mirrored not in ("observables", "lensing"):
        raise ValueError(f'mirrored is "observables" or "lensing", got {mirrored!r}')
    if ratio is not None and len(ratio) < lmax + 2501:
        raise ValueError(f"the ratio of C_L^phiphi must reach L = {lmax + 2500}, it ends at {len(ratio) - 1}")
    mass = float(x[_MASS])

    def at(value: float) -> UnlensedCosmology:
        return unlensed_cosmology(
            x[:6],
            lmax=lmax,
            mnu=max(value, VANISHING),
            hierarchy=hierarchy,
            w=float(x[7]),
            wa=float(x[8]),
            lens_potential_accuracy=lens_potential_accuracy,
        )

    def lensed(cosmology: UnlensedCosmology, cl_phi: NDArray) -> Spectra:
        seen = cl_phi if ratio is None else cl_phi * np.asarray(ratio)[: len(cl_phi)]
        found = lensed_spectra(cosmology.unlensed, seen, lmax=lmax, amplitude=a_smooth, nthreads=nthreads)
        return {**{key: found[key][: lmax + 1] for key in KEYS}, "PP": seen}

    if mirrored == "lensing":
        primary = at(PHYSICAL_MASS)
        here = at(abs(mass))
        cl_phi = here.cl_phi if mass >= 0 else mirrored_potential(at(0.0).cl_phi, here.cl_phi, mass)
        return lensed(primary, cl_phi)
    here = at(abs(mass))
    plain = lensed(here, here.cl_phi)
    if mass >= 0:
        return plain
    zero = at(0.0)
    at_zero = lensed(zero, zero.cl_phi)
    out = {key: 2 * at_zero[key] - plain[key] for key in KEYS}
    factor = 1.0 if ratio is None else np.asarray(ratio)[: len(here.cl_phi)]
    out["PP"] = factor * mirrored_potential(zero.cl_phi, here.cl_phi, mass)
    return out


def mirrored_potential(at_zero: NDArray, here: NDArray, mass: float) -> NDArray[np.float64]:
    """C_L^φφ at Σmν < 0: 2C(0) − C(m) for small masses, C(0)²/C(m) for large ones, in between from one to the other.

    See `fit.emulator` for where.
    """
    low, high = BLEND
    t = float(np.clip((abs(mass) - low) / (high - low), 0.0, 1.0))
    share = t * t * (3 - 2 * t)
    by_log = np.divide(at_zero**2, here, out=np.zeros_like(here), where=here > 0)
    # as in the emulator: never below a thousandth of C(0)
    plain = np.maximum(2 * at_zero - here, 1e-3 * at_zero)
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = (1 - share) * np.log(plain) + share * np.log(by_log)
    return np.where(here > 0, np.exp(logs), 0.0)

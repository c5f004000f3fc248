"""BAO distances for Σmν of either sign, under each of the definitions that are in use.

"mirrored"
    X(−m) = 2X(0) − X(m) for D_M, D_H = c/H and r_d each, at the same θ_*, ω_b and ω_c (Elbers et al. 2024,
    arXiv:2407.10965, mirror the same way every observable of theirs).
"background"
    H(z) itself with ρ_ν(−m) = 2ρ_ν(0) − ρ_ν(m), whatever follows from it (`theory.neutrinos.relative_density`).
"lensing"
    Distances at a physical mass; only C_L^φφ knows the sign (Craig, Green, Meyers & Rajendran 2024, arXiv:2405.00836).
"physical"
    Σmν ≥ 0.

They are different models, equal at positive masses but for "lensing", and must not be quoted for one another.
"""

from collections.abc import Mapping
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lensrec.fit.desi_dr2 import LYA_EDGES, REDSHIFTS, lya_hubble_distance
from lensrec.theory.background import Background, background
from lensrec.theory.neutrinos import Hierarchy

Definition = Literal["mirrored", "background", "lensing", "physical"]
DEFINITIONS: tuple[Definition, ...] = ("mirrored", "background", "lensing", "physical")


class Distances(NamedTuple):
    """D_M (7,), D_H (7,) at `desi_dr2.REDSHIFTS` and r_d, in Mpc; H0 in km/s/Mpc and Ω_m."""

    transverse: NDArray[np.float64]
    hubble: NDArray[np.float64]
    rdrag: float
    H0: float
    omega_m: float


def signed_distances(
    parameters: Mapping[str, float],
    definition: Definition,
    *,
    hierarchy: Hierarchy = "degenerate",
    transition: float | None = None,
    mnu_geometry: float = 0.06,
) -> Distances:
    """Distances at the redshifts of DESI DR2.

    Parameters
    ----------
    parameters : mapping
        ombh2, omch2, thetastar (or H0), mnu, and, where they are not those of ΛCDM, w, wa, z_dagger.
    definition : str
        Of negative masses, as above.
    hierarchy : str
        See `theory.neutrinos.neutrino_masses`.
    transition : float, optional
        ν of the smooth ΛsCDM; without it the switch at z_dagger is abrupt.
    mnu_geometry : float
        The physical mass of the "lensing" definition, eV.

    Raises
    ------
    ValueError
        If there is no such cosmology or definition, or mnu is negative where it is "physical".
    """
    if definition not in DEFINITIONS:
        raise ValueError(
            f"no definition {definition!r} of negative neutrino masses; there are {', '.join(DEFINITIONS)}"
        )
    mnu = parameters["mnu"]

    def at(mass: float) -> Distances:
        return _distances(parameters, mass, hierarchy, transition)

    if definition == "lensing":
        return at(mnu_geometry)
    if mnu >= 0 or definition == "background":
        return at(mnu)
    if definition == "physical":
        raise ValueError(f"mnu = {mnu:g} eV is negative, and neutrinos are physical here")
    zero, mirror = at(0.0), at(-mnu)
    return Distances(*(2 * np.asarray(a) - b for a, b in zip(zero, mirror, strict=True)))


def _distances(
    parameters: Mapping[str, float], mnu: float, hierarchy: Hierarchy, transition: float | None
) -> Distances:
    known = ("ombh2", "omch2", "thetastar", "H0", "w", "wa", "z_dagger")
    model = background(
        **{name: parameters[name] for name in known if name in parameters},
        mnu=mnu,
        hierarchy=hierarchy,
        transition=transition,
    )
    hubble = np.asarray(model.D_H(REDSHIFTS))
    if parameters.get("z_dagger") is not None:
        hubble = _averaged(model, hubble)
    return Distances(
        np.asarray(model.comoving_distance(REDSHIFTS)),
        hubble,
        float(model.rdrag),
        float(model.H0),
        float(model.omega_m),
    )


def _averaged(model: Background, hubble: NDArray) -> NDArray[np.float64]:
    """With D_H of the Lyα forest as a mean over the redshifts of its pixels: H(z) may jump among them."""
    return np.append(hubble[:-1], lya_hubble_distance(model.comoving_distance(LYA_EDGES)))

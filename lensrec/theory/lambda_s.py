"""ΛsCDM, a cosmological constant that was negative before z†, as cosmologies of Astropy's.

    ρ_Λ(z) = ρ_Λ0 sgn(z† − z),    or    ρ_Λ0 tanh[ν(z† − z)] / tanh(ν z†)

(Akarsu et al. 2021, arXiv:2108.09239); the first is the second's limit for ν → ∞. There, by conservation of energy,
ρ_Λ + p_Λ = −⅓ dρ_Λ/dln a = −⅔ ρ_Λ0 δ(ln a/a†), zero but at the switch.

H jumps at z†. The adaptive rule of Astropy's own integrals may not see a jump close to the end of its range: distances
to just above z† come out wrong by up to 7e-5. Here every integral is cut at z†, and around it within the width 1/ν.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy import units
from astropy.cosmology import FLRW, FlatFLRWMixin, Parameter
from astropy.cosmology import units as cosmology_units
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(24)

_PANELS = np.concatenate([np.arange(0.0, 15.0, 1.5), [15.0, 18.0, 22.0, 26.0]])
"""Edges of panels in ln(1+z). E²(ln(1+z)) has its nearest complex zero about 1 off the real axis (matter and Λ), so
that 24 nodes on a half-width of 0.75 are exact to rounding."""

_TODAY_TO_BANG = 30.0
"""ln(1+z) where the integral of the age ends: what is left of it is below e^−45 of the age today."""


def transition_redshifts(z_dagger: float, nu: float = np.inf) -> tuple[float, ...]:
    """Redshifts > 0 at which to cut integrals over H(z), and steps of the growth's equation.

    Parameters
    ----------
    z_dagger : float
        z†.
    nu : float
        ν; infinite for the abrupt switch, which is cut at z† alone. The tanh is cut at z† and at 4/ν and 20/ν on
        either side: its poles lie π/2ν off z†, and beyond 20/ν it is ±1 to rounding.
    """
    if np.isinf(nu):
        return (float(z_dagger),)
    cuts = z_dagger + np.array([-20.0, -4.0, 0.0, 4.0, 20.0]) / nu
    return tuple(float(z) for z in cuts if z > 0)


def density_scale(z: ArrayLike, z_dagger: float, nu: float = np.inf) -> NDArray[np.float64]:
    """ρ_Λ(z)/ρ_Λ0 of the abrupt (ν infinite) or smooth switch; the abrupt one is 0 at z† itself."""
    z = np.asarray(z, dtype=np.float64)
    if np.isinf(nu):
        return np.sign(z_dagger - z)
    return np.tanh(nu * (z_dagger - z)) / np.tanh(nu * z_dagger)


def _cosmology(cls: type) -> type:
    """What Astropy does to each of its cosmologies: a frozen dataclass, compared by Astropy's own rule.

    Astropy 8 keeps the signature of a class on it, and subclasses would inherit that of FLRW.
    """
    cls = dataclass(frozen=True, eq=False)(cls)
    cls.__signature__ = None  # type: ignore[attr-defined]
    cls.__signature__ = inspect.signature(cls)  # type: ignore[attr-defined]
    return cls


@_cosmology
class LambdaSCDM(FLRW):
    """ΛsCDM with curvature, with photons and massive neutrinos as in Astropy.

    Parameters
    ----------
    H0, Om0, Ode0, Tcmb0, Neff, m_nu, Ob0, name, meta
        As for `astropy.cosmology.LambdaCDM`; Ode0 = ρ_Λ0 over the critical density must be positive. Om0 has no
        neutrinos in it.
    z_dagger : float
        z† > 0, where ρ_Λ changes its sign.
    nu : float
        ν > 0, in units of 1/z; infinite by default, for the abrupt switch.

    Raises
    ------
    ValueError
        For z†, ν or Ode0 that are not positive, or where H² would not be positive (z† ≲ 0.3: the matter there
        doesn't outweigh −ρ_Λ0).
    """

    z_dagger: Parameter = Parameter(default=2.4, doc="Redshift at which Lambda changes its sign.", fvalidate="float")
    nu: Parameter = Parameter(default=np.inf, doc="Steepness of the change; infinite: abrupt.", fvalidate="float")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (0 < self.z_dagger < np.inf and self.nu > 0):
            raise ValueError(f"LsCDM needs z_dagger > 0 and nu > 0, got z_dagger={self.z_dagger:g}, nu={self.nu:g}")
        if not isinstance(self, FlatFLRWMixin):  # whose Ode0 isn't known yet
            self._check_density()

    def _check_density(self) -> None:
        if not self.Ode0 > 0:
            raise ValueError(f"LsCDM needs Ode0 > 0 today, got Ode0={self.Ode0:g}")
        # Behind the switch E² rises with z, and in front of it Λ is positive.
        cuts = np.array(transition_redshifts(self.z_dagger, self.nu))
        z = np.linspace(cuts[0], 1.01 * cuts[-1], 256) if len(cuts) > 1 else cuts * (1 + 1e-9)
        with np.errstate(invalid="ignore"):
            positive = np.all(self.efunc(z) > 0)
        if not positive:
            raise ValueError(f"H² is not positive behind z_dagger={self.z_dagger:g}: take a larger z_dagger or Om0")

    def de_density_scale(self, z: ArrayLike, /) -> NDArray[np.float64]:
        """ρ_Λ(z)/ρ_Λ0, negative before z†; of the shape of z."""
        return density_scale(_redshift(z), self.z_dagger, self.nu)

    def w(self, z: ArrayLike, /) -> NDArray[np.float64]:
        """p_Λ/ρ_Λ; of the shape of z.

        Notes
        -----
        1 + w = (1+z)/(3ρ_Λ) dρ_Λ/dz = −2ν(1+z) / (3 sinh[2ν(z† − z)]), which tends to ∓∞ on the late and the early
        side of z†, where ρ_Λ passes through zero and p_Λ does not; −∞ is returned at z† itself. For the abrupt switch
        w = −1 on either side; at z† itself p_Λ is a δ function and w not defined: −1 is returned, and ρ_Λ can't be had
        by integrating this w.
        """
        z = _redshift(z)
        if np.isinf(self.nu):
            return np.full_like(z, -1.0)
        x = np.clip(2 * self.nu * (self.z_dagger - z), -700.0, 700.0)
        with np.errstate(divide="ignore"):
            return -1 - 2 * self.nu * (1 + z) / (3 * np.sinh(x))

    def absorption_distance(self, z: ArrayLike, /) -> NDArray[np.float64]:
        """∫ dz (1+z)²/E, dimensionless; of the shape of z."""
        return self._integral(lambda x: x**3, 0.0, z)

    # The three that Astropy has its own cosmologies redefine; all other distances, times and volumes call them.

    def _comoving_distance_z1z2(self, z1: ArrayLike, z2: ArrayLike, /) -> units.Quantity:
        return self.hubble_distance * self._integral(lambda x: x, z1, z2)

    def _lookback_time(self, z: ArrayLike, /) -> units.Quantity:
        return self.hubble_time * self._integral(np.ones_like, 0.0, z)

    def _age(self, z: ArrayLike, /) -> units.Quantity:
        return self.hubble_time * self._integral(np.ones_like, z, np.expm1(_TODAY_TO_BANG))

    def _integral(self, factor: Callable[[NDArray], NDArray], z1: ArrayLike, z2: ArrayLike) -> Any:
        """∫ dln(1+z) factor(1+z)/E(z) from z1 to z2, which are broadcast."""
        ends = np.broadcast_arrays(np.log1p(_redshift(z1)), np.log1p(_redshift(z2)))
        low, high = np.minimum(*ends)[..., None], np.maximum(*ends)[..., None]
        cuts = np.log1p(transition_redshifts(self.z_dagger, self.nu))
        # Infinite ends clip to the integral's own; a panel outside it shrinks to nothing.
        edges = np.clip(np.concatenate([[-np.inf], np.sort(np.concatenate([_PANELS, cuts])), [np.inf]]), low, high)
        half, middle = np.diff(edges) / 2, (edges[..., 1:] + edges[..., :-1]) / 2
        x = np.exp(middle[..., None] + half[..., None] * _NODES)
        total = np.sum(half * ((factor(x) * self.inv_efunc(x - 1)) @ _WEIGHTS), axis=-1)
        return np.sign(ends[1] - ends[0]) * total


@_cosmology
class FlatLambdaSCDM(FlatFLRWMixin, LambdaSCDM):
    """ΛsCDM without curvature: Ode0 = 1 − Om0 − Ogamma0 − Onu0; all else as `LambdaSCDM`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_density()


def at_same_acoustic_scale(reference: FLRW, z_dagger: float, nu: float = np.inf, *, z_star: float) -> FlatLambdaSCDM:
    """Flat ΛsCDM of the same θ_* as a flat ΛCDM, with the same physical densities.

    Parameters
    ----------
    reference : astropy.cosmology.FlatLambdaCDM
        Its Ω_m0 h², Ω_b0 h², T_CMB, N_eff and neutrino masses are kept.
    z_dagger, nu : float
        As for `LambdaSCDM`.
    z_star : float
        Redshift of decoupling, of the recombination history that both share.

    Raises
    ------
    ValueError
        Where no H0 between half and twice the reference's has that θ_*.

    Notes
    -----
    With the same densities r_s(z_*) is the same to ρ_Λ/ρ(z_*) ~ 1e-9, so that θ_* = r_s/D_M(z_*) is the same where
    D_M(z_*) is; H0 is what is solved for.
    """
    target = reference.comoving_transverse_distance(z_star).to_value("Mpc")
    kept = {"Tcmb0": reference.Tcmb0, "Neff": reference.Neff, "m_nu": reference.m_nu}
    name = f"LsCDM, z_dagger = {z_dagger:g}" + (f", nu = {nu:g}" if np.isfinite(nu) else "")

    def model(scale: float) -> FlatLambdaSCDM:
        densities = {"Om0": reference.Om0 / scale**2, "Ob0": reference.Ob0 / scale**2}
        return FlatLambdaSCDM(H0=reference.H0 * scale, **densities, **kept, z_dagger=z_dagger, nu=nu, name=name)

    def excess(scale: float) -> float:
        return model(scale).comoving_transverse_distance(z_star).to_value("Mpc") / target - 1

    # Ω_Λ > 0 bounds the scale s of H0 from below, and from above s²E² = Ω_m x³ + (s² − Ω_m − Ω_r) ρ_Λ/ρ_Λ0 > 0.
    total = reference.Om0 + reference.Ogamma0 + reference.Onu0
    cuts = transition_redshifts(z_dagger, nu)
    behind = z_dagger + (max(cuts) - z_dagger + 1e-9) * np.linspace(0, 1, 512)[1:]
    highest = total + np.min(reference.Om0 * (1 + behind) ** 3 / -density_scale(behind, z_dagger, nu))
    low, high = max(0.5, 1.001 * np.sqrt(total)), min(2.0, 0.999 * np.sqrt(highest))
    try:
        return model(brentq(excess, low, high, xtol=1e-13, rtol=1e-13))
    except ValueError as error:
        raise ValueError(f"no flat LsCDM with z_dagger={z_dagger:g}, nu={nu:g} has the reference's theta_*") from error


def _redshift(z: ArrayLike) -> NDArray[np.float64]:
    if isinstance(z, units.Quantity):
        z = z.to_value(cosmology_units.redshift)
    return np.asarray(z, dtype=np.float64)

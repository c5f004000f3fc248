"""Expansion of a flat universe: photons, three neutrinos of either sign of mass, cold matter and dark energy.

In units of the density that goes with 100 km/s/Mpc,

    (H/100)² = (ω_b + ω_c) a⁻³ + a⁻⁴ [ω_γ + ω_ν0 Σ_i ρ_ν(a, m_i)/ρ_0(a)] + ω_de f(z),   f(0) = 1,

all but the last term known without H0; flatness makes ω_de = h² − the others today. f is one of

    (1 + z)^{3(1+w+wa)} exp[−3 wa z/(1 + z)]       w0wa (Chevallier & Polarski 2001; Linder 2003), crossing −1 or not;
    sgn(z† − z)                                    ΛsCDM, abrupt (Akarsu et al. 2021, arXiv:2108.09239);
    tanh[ν(z† − z)]/tanh(ν z†)                     ΛsCDM, smooth (the same; arXiv:2307.10899).

Distances are Gauss–Legendre sums in ln(1 + z), their panels cut where f is not smooth; the sound horizon one in a.
"""

from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import constants
from scipy.optimize import brentq

from lensrec.theory.neutrinos import (
    OMEGA_MASSLESS,
    OMEGA_PHOTON,
    Hierarchy,
    neutrino_masses,
    omnuh2,
    summed_density,
)
from lensrec.theory.recombination import excess_density, recombination_redshifts

Array = NDArray[np.float64]

HUBBLE_RADIUS = constants.c / 1e5
"""c/(100 km/s/Mpc) in Mpc."""

HIGHEST_H = 3.0
"""θ_* is looked for with H0 up to 100 times this."""

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(12)
_SOUND_NODES, _SOUND_WEIGHTS = np.polynomial.legendre.leggauss(24)
# panels at most 1 long in ln(1 + z): the nearest poles of 1/H, where matter balances Λ, lie π/3 off the real axis, so
# that the error of a panel is below 5^-24
_PANELS = np.expm1(np.arange(0.75, 30.0, 1.0))
# where tanh is cut, in units of 1/ν from z†: panels grow with their distance from the poles at ±iπ/2
_CUTS = np.array([-20.0, -6.0, -2.0, 0.0, 2.0, 6.0, 20.0])


@dataclass(frozen=True, kw_only=True)
class Contents:
    """What fills a flat universe, known without H0.

    Attributes
    ----------
    ombh2, omch2 : float
        ω_b, ω_c.
    mnu : float
        Σmν in eV; negative: the closed form of `theory.neutrinos.relative_density`.
    hierarchy : str
        As in `theory.neutrinos.neutrino_masses`.
    w, wa : float
        Of w0wa; w + wa < 0, lest recombination be another.
    z_dagger, transition : float or None
        z† of ΛsCDM, where f is 0, and ν if its sign changes smoothly.

    Raises
    ------
    ValueError
        For parameters out of range, or that do not go together.
    """

    ombh2: float
    omch2: float
    mnu: float = 0.06
    hierarchy: Hierarchy = "degenerate"
    w: float = -1.0
    wa: float = 0.0
    z_dagger: float | None = None
    transition: float | None = None

    def __post_init__(self) -> None:
        for name in ("ombh2", "omch2"):
            if not 0 < getattr(self, name) < np.inf:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        if not -np.inf < self.w + self.wa < 0:
            raise ValueError(
                f"w + wa = {self.w + self.wa:g}: dark energy must have w + wa < 0, or it is not negligible early"
            )
        if self.z_dagger is None:
            if self.transition is not None:
                raise ValueError("transition is the steepness of a switch at z_dagger, which is not given")
            return
        if (self.w, self.wa) != (-1.0, 0.0):
            raise ValueError(f"z_dagger goes with w = -1 and wa = 0, got w = {self.w:g}, wa = {self.wa:g}")
        if not 0 < self.z_dagger < np.inf:
            raise ValueError(f"z_dagger must be positive, got {self.z_dagger:g}")
        if self.transition is not None and not 0 < self.transition < np.inf:
            raise ValueError(f"transition must be positive, got {self.transition:g}")

    @cached_property
    def masses(self) -> Array:
        """m_1, m_2, m_3 in eV, with the sign of Σmν."""
        return np.copysign(neutrino_masses(self.mnu, self.hierarchy), self.mnu)

    @cached_property
    def omnuh2(self) -> float:
        """ω_ν today; see `theory.neutrinos.omnuh2`."""
        return omnuh2(self.mnu, self.hierarchy)

    @cached_property
    def _redshifts(self) -> tuple[float, float]:
        effective = self.ombh2 + self.omch2 + excess_density(self.masses)
        return recombination_redshifts(self.ombh2, effective)

    @property
    def zstar(self) -> float:
        """Redshift of last scattering."""
        return self._redshifts[0]

    @property
    def zdrag(self) -> float:
        """Redshift of the drag epoch."""
        return self._redshifts[1]


@dataclass(frozen=True, kw_only=True)
class Background(Contents):
    """Expansion history of a flat universe; made by `background`.

    Attributes
    ----------
    H0 : float
        km/s/Mpc; the others are those of `Contents`.

    Raises
    ------
    ValueError
        As `Contents`, and for Ω_de < 0, or H² ≤ 0 somewhere back to z = 1100.
    """

    H0: float

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.H0 < np.inf:
            raise ValueError(f"H0 must be positive, got {self.H0}")
        if self.omega_de < 0:
            raise ValueError(
                f"H0 = {self.H0:g} leaves dark energy a negative density, Omega_de = {self.omega_de:.4g}; "
                "raise H0 or lower the other densities"
            )
        z = _distance_nodes(self, 1100.0)[0].ravel()
        self.hubble(z if self.z_dagger is None else np.append(z, np.nextafter(self.z_dagger, np.inf)))

    @property
    def h(self) -> float:
        """H0/(100 km/s/Mpc)."""
        return self.H0 / 100

    @property
    def omega_m(self) -> float:
        """Ω_m today, massive neutrinos in it."""
        return (self.ombh2 + self.omch2 + self.omnuh2) / self.h**2

    @cached_property
    def omega_de(self) -> float:
        """Ω_de today."""
        return 1 - float(_standard(self, np.zeros(()))) / self.h**2

    def hubble(self, z: ArrayLike) -> Array:
        """H(z) in km/s/Mpc, of the shape of z.

        Raises
        ------
        ValueError
            Where H² ≤ 0.
        """
        z = np.asarray(z, dtype=np.float64)
        square = _standard(self, z) + self.omega_de * self.h**2 * _dark_energy(self, z)
        if np.any(square <= 0):
            where = float(np.ravel(z)[np.argmax(np.ravel(square) <= 0)])
            raise ValueError(
                f"H^2 is not positive at z = {where:.4g}: dark energy or neutrinos outweigh the rest there"
            )
        return 100 * np.sqrt(square)

    def D_H(self, z: ArrayLike) -> Array:
        """c/H(z) in Mpc."""
        return HUBBLE_RADIUS * 100 / self.hubble(z)

    def comoving_distance(self, z: ArrayLike) -> Array:
        """D_M(z) = ∫ c dz/H in Mpc, of the shape of z ≥ 0."""
        z = np.asarray(z, dtype=np.float64)
        if not np.all(z >= 0):
            raise ValueError(f"distances are to z >= 0, got {float(np.min(z)):g}")
        edges = np.sort(np.concatenate([[0.0], z.ravel(), _cuts(self, z.max(initial=0.0))]))
        nodes, weights = _nodes_between(edges)
        panels = np.sum(weights / self.hubble(nodes), axis=-1)
        distance = HUBBLE_RADIUS * 100 * np.concatenate([[0.0], np.cumsum(panels)])
        return distance[np.searchsorted(edges, z)]

    def D_V(self, z: ArrayLike) -> Array:
        """(z D_M² D_H)^⅓ in Mpc."""
        return np.cbrt(np.asarray(z) * self.comoving_distance(z) ** 2 * self.D_H(z))

    def mean_hubble_distance(self, low: float, high: float) -> float:
        """c/H averaged uniformly over low < z < high, in Mpc: [D_M(high) − D_M(low)]/(high − low)."""
        if not 0 <= low < high:
            raise ValueError(f"a redshift range must have 0 <= low < high, got {low:g} to {high:g}")
        near, far = self.comoving_distance([low, high])
        return float((far - near) / (high - low))

    def sound_horizon(self, z: float) -> float:
        """r_s(z) = ∫_0^a c_s da/(a² H) in Mpc, comoving, c_s = c/√[3(1 + R)], R = 3ρ_b/4ρ_γ, for 100 ≲ z."""
        fixed, dark, weights = _sound_nodes(self, z)
        return float(np.sum(weights / np.sqrt(fixed + self.omega_de * self.h**2 * dark)))

    @cached_property
    def rstar(self) -> float:
        """r_s(z_*) in Mpc."""
        return self.sound_horizon(self.zstar)

    @cached_property
    def rdrag(self) -> float:
        """r_d = r_s(z_d) in Mpc."""
        return self.sound_horizon(self.zdrag)

    @cached_property
    def thetastar(self) -> float:
        """θ_* = r_s(z_*)/D_M(z_*), CAMB's `thetastar`/100."""
        return self.rstar / float(self.comoving_distance(self.zstar))


def background(
    *,
    ombh2: float,
    omch2: float,
    H0: float | None = None,
    thetastar: float | None = None,
    mnu: float = 0.06,
    hierarchy: Hierarchy = "degenerate",
    w: float = -1.0,
    wa: float = 0.0,
    z_dagger: float | None = None,
    transition: float | None = None,
) -> Background:
    """The expansion of a flat universe by H0 or by its acoustic scale.

    Parameters
    ----------
    ombh2, omch2 : float
        ω_b, ω_c.
    H0, thetastar : float
        One of them: km/s/Mpc, or θ_* = r_s(z_*)/D_M(z_*). With θ_*, the lowest H0 that has it and Ω_de ≥ 0.
    mnu, hierarchy, w, wa, z_dagger, transition
        As in `Contents`. z_dagger (> 0) makes it ΛsCDM, abrupt without `transition`, else ν = transition (> 0).

    Raises
    ------
    ValueError
        As `Background`; without exactly one of H0 and thetastar; where no H0 up to 300 has this θ_*; outside the
        range of `theory.recombination` where θ_* is given.
    """
    if (H0 is None) == (thetastar is None):
        raise ValueError("give exactly one of H0 and thetastar")
    contents = Contents(
        ombh2=float(ombh2),
        omch2=float(omch2),
        mnu=float(mnu),
        hierarchy=hierarchy,
        w=float(w),
        wa=float(wa),
        z_dagger=z_dagger,
        transition=transition,
    )
    h0 = float(H0) if H0 is not None else _hubble_constant(float(thetastar or 0.0), contents)
    return Background(**{field.name: getattr(contents, field.name) for field in fields(contents)}, H0=h0)


def _standard(model: Contents, z: Array) -> Array:
    """(H/100)² but for dark energy."""
    radiation = OMEGA_PHOTON + OMEGA_MASSLESS * summed_density(1 / (1 + z), model.masses)
    return (1 + z) ** 3 * (model.ombh2 + model.omch2 + radiation * (1 + z))


def _dark_energy(model: Contents, z: Array) -> Array:
    """f(z), 1 today."""
    if model.z_dagger is None:
        if (model.w, model.wa) == (-1.0, 0.0):
            return np.ones_like(z)
        return (1 + z) ** (3 * (1 + model.w + model.wa)) * np.exp(-3 * model.wa * z / (1 + z))
    if model.transition is None:
        return np.sign(model.z_dagger - z)
    return np.tanh(model.transition * (model.z_dagger - z)) / np.tanh(model.transition * model.z_dagger)


def _cuts(model: Contents, end: float) -> Array:
    """Where panels of an integral over 0 < z < end are to be cut."""
    cuts = _PANELS
    if model.z_dagger is not None:
        steps = np.zeros(1) if model.transition is None else _CUTS / model.transition
        cuts = np.append(cuts, model.z_dagger + steps)
    return cuts[(cuts > 0) & (cuts < end)]


def _nodes_between(edges: Array) -> tuple[Array, Array]:
    """z and weights, (panels, 12), of ∫ dz between neighbouring edges, by Gauss–Legendre in ln(1 + z)."""
    x = np.log1p(edges)
    half = np.diff(x)[:, None] / 2
    stretch = np.exp(x[:-1, None] + half * (1 + _NODES))
    return stretch - 1, half * _WEIGHTS * stretch


def _distance_nodes(model: Contents, z: float) -> tuple[Array, Array]:
    """Those of ∫ dz from 0 to z."""
    return _nodes_between(np.sort(np.concatenate([[0.0, z], _cuts(model, z)])))


def _sound_nodes(model: Contents, z: float) -> tuple[Array, Array, Array]:
    """a⁴ times (H/100)² but for dark energy, a⁴ f, and weights (Mpc) of the sound horizon at z, at nodes in a."""
    half = 0.5 / (1 + z)
    a = half * (1 + _SOUND_NODES)
    ratio = 0.75 * model.ombh2 / OMEGA_PHOTON * a
    redshift = 1 / a - 1
    weights = half * _SOUND_WEIGHTS * HUBBLE_RADIUS / np.sqrt(3 * (1 + ratio))
    return a**4 * _standard(model, redshift), a**4 * _dark_energy(model, redshift), weights


def _hubble_constant(thetastar: float, model: Contents) -> float:
    """The lowest H0 with Ω_de ≥ 0 that gives θ_*; z_* does not depend on it, nor do densities but ω_de."""
    zstar = model.zstar
    z, dz = _distance_nodes(model, zstar)
    z, dz = z.ravel(), dz.ravel()
    fixed, dark = _standard(model, z), _dark_energy(model, z)
    sound_fixed, sound_dark, sound_weights = _sound_nodes(model, zstar)

    def theta(omega: float | Array) -> Array:
        """θ_* by ω_de, of any shape."""
        omega = np.asarray(omega)[..., None]
        sound = np.sum(sound_weights / np.sqrt(sound_fixed + omega * sound_dark), axis=-1)
        return sound / (HUBBLE_RADIUS * np.sum(dz / np.sqrt(fixed + omega * dark), axis=-1))

    today = float(_standard(model, np.zeros(())))
    highest = HIGHEST_H**2 - today
    if np.any(dark < 0):
        highest = min(highest, 0.999 * float(np.min(fixed[dark < 0] / -dark[dark < 0])))
    if today <= 0 or highest <= 0 or np.any(fixed <= 0):
        raise ValueError(f"mnu = {model.mnu:g} eV leaves no positive density of matter and radiation")
    trial = highest * np.linspace(0.0, 1.0, 41) ** 2
    offset = theta(trial) - thetastar
    change = np.flatnonzero(offset[:-1] * offset[1:] <= 0)
    if not len(change):
        lowest_h, highest_h = 100 * np.sqrt(today), 100 * np.sqrt(today + highest)
        raise ValueError(
            f"no H0 from {lowest_h:.1f} (Omega_de = 0) to {highest_h:.1f} has thetastar = {thetastar:g} with ombh2 = "
            f"{model.ombh2:g}, omch2 = {model.omch2:g}, mnu = {model.mnu:g}"
        )
    first = change[0]
    omega = brentq(lambda x: float(theta(x)) - thetastar, trial[first], trial[first + 1], xtol=1e-15, rtol=1e-14)
    return 100 * float(np.sqrt(today + omega))

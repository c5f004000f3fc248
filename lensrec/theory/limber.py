"""C_L^φφ of any expansion history by Limber's integral, and its ratio to that of a reference, to multiply CAMB's with.

With φ = −2 ∫ dχ (χ_*−χ)/(χχ_*) Ψ and Poisson's k²Ψ = −3/2 ω_m (100 km/s/Mpc)² (1+z) δ (c = 1), flat space,

    C_L^φφ = 9 ω_m² (100 km/s/Mpc)⁴ / (L+½)⁴ ∫₀^χ* dχ [(χ_*−χ)/χ_*]² (1+z)² P(k = (L+½)/χ, z)

(Lewis & Challinor 2006, astro-ph/0601594, section 3, with Poisson's equation put in; k = (L+½)/χ as in LoVerde &
Afshordi 2008, arXiv:0809.5112). Dark energy doesn't cluster here.

**P of another expansion.** Models of the same primordial amplitude and physical densities have one P(k) at z ≈ 30,
before any dark energy. With D = 1 there, linear P is a function of k and D, so that the reference's P(k, z), known
where its growth is D_ref(z), is the model's where D(z) has that value. The non-linear P is very nearly
such a function, too: it is carried over in the same way. Beyond the reference's table, for D that it never reaches,
P ∝ D².

In the ratio of two such integrals Limber's own error, what P lacks and the growth of before z = 30 cancel.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.constants import speed_of_light
from scipy.interpolate import CubicSpline

from lensrec.theory.growth import Growth, Hubble, linear_growth

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(8)

_PANEL = 0.35
"""Widest panel in ln(1+z): C_L^φφ is then good to 1e-6 for L ≥ 10, and to 2e-3 at L = 2."""

_BASIS = np.polynomial.legendre.legvander(_NODES, 7)
_PRIMITIVE = np.stack(
    [np.polynomial.legendre.legval(_NODES, np.polynomial.legendre.legint(c, lbnd=-1)) for c in np.eye(8)]
)
_CUMULATIVE = _PRIMITIVE.T @ np.linalg.inv(_BASIS)
"""Integrals from −1 to each node, of a polynomial that is known at the nodes, (8, 8)."""


@dataclass(frozen=True, eq=False)
class Expansion:
    """What C_L^φφ needs of a flat background.

    Attributes
    ----------
    hubble : callable
        H(z) in km/s/Mpc, of arrays, from 0 to z_star.
    omega_m : float
        ω_m = Ω_m h² of all matter that gravitates as such today, with massive neutrinos.
    omega_clustering : float
        ω of the matter that the growth is driven by: baryons and cold matter where neutrinos don't cluster
        (`theory.growth`).
    z_star : float
        Redshift of decoupling.
    breaks : sequence of floats
        Redshifts where H jumps or turns steeply (`lambda_s.transition_redshifts`).
    """

    hubble: Hubble
    omega_m: float
    omega_clustering: float
    z_star: float
    breaks: Sequence[float] = ()


@dataclass(frozen=True, eq=False)
class MatterPower:
    """P(k, z) of all matter in the reference's expansion, linear or not.

    Attributes
    ----------
    k : array (nk,)
        Evenly spaced in ln k, in 1/Mpc (no h). Six hundred from 1e-5 to 30 are enough for acoustic peaks.
    z : array (nz,)
        Ascending; one is enough for a linear P.
    power : array (nz, nk)
        In Mpc³.
    """

    k: NDArray[np.float64]
    z: NDArray[np.float64]
    power: NDArray[np.float64]

    def __post_init__(self) -> None:
        steps = np.diff(np.log(self.k))
        if len(self.k) < 4 or not np.allclose(steps, steps.mean(), rtol=1e-6, atol=0):
            raise ValueError("P(k) is wanted at four or more k, evenly spaced in ln k")
        if self.power.shape != (len(self.z), len(self.k)) or not np.all(np.diff(self.z) > 0):
            shape = f"{len(self.z)} ascending redshifts and {len(self.k)} wavenumbers"
            raise ValueError(f"P(k, z) of shape {self.power.shape} doesn't go with {shape}")
        if not np.all(self.power > 0):
            raise ValueError("P(k, z) must be positive")


def limber_power(
    ell: ArrayLike,
    model: Expansion,
    power: MatterPower,
    *,
    reference: Expansion | None = None,
    z_start: float = 30.0,
) -> NDArray[np.float64]:
    """C_L^φφ of a model by Limber's integral.

    Parameters
    ----------
    ell : array (n,)
        L > 0.
    model : Expansion
    power : MatterPower
        P(k, z) of the reference.
    reference : Expansion, optional
        That in which `power` was computed; the model itself by default.
    z_start : float
        Where both have the same P(k).

    Returns
    -------
    array (n,)
    """
    grown = linear_growth(model.hubble, model.omega_clustering, z_start=z_start, breaks=model.breaks)
    table = grown if reference is None else _growth(reference, z_start)
    return _limber(np.asarray(ell, dtype=np.float64), model, grown, power, table)


def limber_ratio(
    ell: ArrayLike, model: Expansion, reference: Expansion, power: MatterPower, *, z_start: float = 30.0
) -> NDArray[np.float64]:
    """C_L^φφ of a model over that of the reference, which CAMB's C_L^φφ of the reference is to be multiplied with.

    Parameters
    ----------
    ell : array (n,)
        L > 0.
    model, reference : Expansion
        With the same physical densities, primordial spectrum, and early universe.
    power : MatterPower
        P(k, z) of the reference.
    z_start : float
        Where both have the same P(k).

    Returns
    -------
    array (n,)
    """
    ell = np.asarray(ell, dtype=np.float64)
    before = _growth(reference, z_start)
    return _limber(ell, model, _growth(model, z_start), power, before) / _limber(ell, reference, before, power, before)


def limber_ratio_spectrum(
    lmax: int, model: Expansion, reference: Expansion, power: MatterPower, *, z_start: float = 30.0
) -> NDArray[np.float64]:
    """`limber_ratio` at every L from 0 to lmax, (lmax+1,), from a spline through 100 of them; 1 at L = 0.

    Against all L the spline is good to 1e-4.
    """
    knots = np.unique(np.round(np.geomspace(1, max(lmax, 4), 100)))
    ratio = limber_ratio(knots, model, reference, power, z_start=z_start)
    spectrum = CubicSpline(np.log(knots + 0.5), ratio)(np.log(np.arange(lmax + 1) + 0.5))
    spectrum[0] = 1.0
    return spectrum


def _growth(expansion: Expansion, z_start: float) -> Growth:
    return linear_growth(expansion.hubble, expansion.omega_clustering, z_start=z_start, breaks=expansion.breaks)


def _limber(ell: NDArray, model: Expansion, grown: Growth, power: MatterPower, table: Growth) -> NDArray[np.float64]:
    z, chi, weight, chi_star = _line_of_sight(model)
    ln_k0 = np.log(power.k[0])
    step = np.log(power.k[-1] / power.k[0]) / (len(power.k) - 1)
    rows = _rows(power, np.log(table(power.z)), np.log(grown(z)))
    at = (np.log(ell + 0.5)[:, None] - np.log(chi) - ln_k0) / step
    kernel = weight * ((1 - chi / chi_star) * (1 + z)) ** 2
    front = 9 * model.omega_m**2 * (1e5 / speed_of_light) ** 4 / (ell + 0.5) ** 4
    return front * (np.exp(_along_rows(rows, at)) @ kernel)


def _line_of_sight(model: Expansion) -> tuple[NDArray, NDArray, NDArray, float]:
    """z, χ in Mpc and the weights of ∫ dχ at nodes between here and z_star, and χ_*."""
    end = np.log1p(model.z_star)
    cuts = [x for x in np.log1p(np.asarray(model.breaks, dtype=np.float64)) if 0 < x < end]
    edges = np.unique([*np.linspace(0.0, end, int(np.ceil(end / _PANEL)) + 1), *cuts])
    half, middle = np.diff(edges) / 2, (edges[1:] + edges[:-1]) / 2
    z = np.expm1(middle[:, None] + half[:, None] * _NODES)
    rate = (speed_of_light / 1e3) * half[:, None] * (1 + z) / model.hubble(z.ravel()).reshape(z.shape)
    whole = np.cumsum(rate @ _WEIGHTS)
    chi = np.concatenate([[0.0], whole[:-1]])[:, None] + rate @ _CUMULATIVE.T
    return z.ravel(), chi.ravel(), (rate * _WEIGHTS).ravel(), float(whole[-1])


def _rows(power: MatterPower, known: NDArray, wanted: NDArray) -> NDArray[np.float64]:
    """ln P at all k for each ln D wanted, (n, nk), from its table at ln D known, which fall with z."""
    inside = np.clip(wanted, known[-1], known[0])
    cardinal = np.ones((len(wanted), 1))
    if len(known) > 1:
        cardinal = CubicSpline(known[::-1], np.eye(len(known))[::-1])(inside)
    return cardinal @ np.log(power.power) + 2 * (wanted - inside)[:, None]


def _along_rows(rows: NDArray, at: NDArray) -> NDArray[np.float64]:
    """Row j at the fractional index at[i, j], by the cubic through the four nearest; straight on beyond both ends."""
    n = rows.shape[1]
    inside = np.clip(at, 0.0, n - 1.0)
    first = np.clip(inside.astype(np.intp) - 1, 0, n - 4)
    t = inside - first
    flat, start = rows.ravel(), first + n * np.arange(len(rows))
    value = (
        flat[start] * ((t - 1) * (t - 2) * (t - 3) / -6)
        + flat[start + 1] * (t * (t - 2) * (t - 3) / 2)
        + flat[start + 2] * (t * (t - 1) * (t - 3) / -2)
        + flat[start + 3] * (t * (t - 1) * (t - 2) / 6)
    )
    below, above = rows[:, 1] - rows[:, 0], rows[:, -1] - rows[:, -2]
    return value + np.where(at < 0, below * at, 0.0) + np.where(at > n - 1, above * (at - (n - 1)), 0.0)

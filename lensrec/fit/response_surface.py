"""Lensed TT, TE, EE, BB and C_L^φφ as functions of ΛCDM and of the amplitude of the smoothing.

A_L^TTTEEE multiplies C_L^φφ(θ) where it lenses the CMB, and nothing else; A_L^φφ multiplies the C_L^φφ(θ) that the
reconstruction sees, and needs no expansion. With a = A_L^TTTEEE − 1,

    C̃_ℓ(θ, a) = c₀(θ) + c₁(θ) a + c₂(θ) a² + c₃ a³ + c₄ a⁴.

c₀, c₁, c₂ are expanded to second order in θ, through the spectra lensed with amplitudes 0 (which costs nothing), 1
and 1.6, c₂ without its cross terms. At the centre all powers go through two amplitudes more. What is neglected there
is below 3e-5 of C̃_ℓ for amplitudes from 0 to 2.4 at ℓ ≤ 2500.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lensrec.theory.acoustic_scale import PARAMETERS, UnlensedCosmology, unlensed_cosmology
from lensrec.theory.expansion import Expansion, expansion, points
from lensrec.theory.lensing import lensed_spectra
from lensrec.theory.spectra import Spectra

CENTRE: Mapping[str, float] = MappingProxyType(
    {"ombh2": 0.02236, "omch2": 0.1202, "thetastar": 0.0104109, "logA": 3.045, "ns": 0.9649, "tau": 0.0544}
)
"""Planck 2018 VI (arXiv:1807.06209), table 2, TT,TE,EE+lowE."""

STEPS: Mapping[str, float] = MappingProxyType(
    {"ombh2": 3e-4, "omch2": 2.8e-3, "thetastar": 6e-6, "logA": 0.032, "ns": 0.009, "tau": 0.015}
)
"""Two standard deviations of the same."""

KEYS = ("TT", "TE", "EE", "BB")
DERIVED = ("H0", "omega_m")
THIRD_NODE = 1.6
CENTRE_NODES = (0.5, 2.2)
"""Amplitudes of the smoothing, beyond 0 and 1, at which spectra are lensed: the third on the axes of θ, the last two
at the centre."""


class SurfacePoint(NamedTuple):
    """One evaluation that a surface is made of."""

    theta: tuple[float, ...]
    amplitudes: tuple[float, ...]
    lmax: int
    mnu: float
    lens_potential_accuracy: float
    nthreads: int


def evaluate(point: SurfacePoint) -> NDArray[np.float64]:
    """TT, TE, EE, BB for each amplitude, to lmax, then C_L^φφ, to lmax + 2500, and H0 and Ω_m, end to end."""
    cosmology = unlensed_cosmology(
        np.array(point.theta),
        lmax=point.lmax,
        mnu=point.mnu,
        lens_potential_accuracy=point.lens_potential_accuracy,
    )
    return lensed_vector(cosmology, point)


def lensed_vector(cosmology: UnlensedCosmology, point: SurfacePoint) -> NDArray[np.float64]:
    """What `evaluate` gives, for any unlensed spectra and C_L^φφ."""
    n = point.lmax + 1
    out = []
    for amplitude in point.amplitudes:
        if amplitude == 0:
            cls = {"BB": np.zeros(n), **cosmology.unlensed}
        else:
            cls = lensed_spectra(
                cosmology.unlensed, cosmology.cl_phi, lmax=point.lmax, amplitude=amplitude, nthreads=point.nthreads
            )
        out += [cls[key][:n] for key in KEYS]
    return np.concatenate([*out, cosmology.cl_phi, [cosmology.H0, cosmology.omega_m]])


@dataclass(frozen=True, eq=False)
class ResponseSurface:
    """Spectra as functions of the parameters.

    Attributes
    ----------
    lmax : int
        CMB spectra run from ℓ = 0 to lmax, C_L^φφ further.
    cmb : array (5, 28, 4 (lmax+1))
        Of each power of A_L^TTTEEE − 1, of each monomial of θ (`Expansion.monomials`), TT, TE, EE, BB end to end, µK².
    potential : Expansion
        Of C_L^φφ, H0 and Ω_m, end to end.
    """

    lmax: int
    cmb: NDArray[np.float64]
    potential: Expansion

    @property
    def centre(self) -> NDArray[np.float64]:
        """θ⁰ in the order of PARAMETERS, (6,)."""
        return self.potential.centre

    def spectra(self, theta: ArrayLike, *, a_smooth: float = 1.0, a_phi: float = 1.0) -> Spectra:
        """Lensed TT, TE, EE, BB in µK², and PP, for θ (6,) in the order of PARAMETERS."""
        monomials = self.potential.monomials(theta)
        powers = amplitude_powers(a_smooth)
        cmb = np.einsum("k,m,kmn->n", powers, monomials, self.cmb, optimize=True).reshape(len(KEYS), -1)
        return {**dict(zip(KEYS, cmb, strict=True)), "PP": a_phi * self.potential.value(theta)[: -len(DERIVED)]}

    def derived(self, theta: ArrayLike) -> dict[str, NDArray[np.float64]]:
        """H0 in km/s/Mpc and Ω_m for θ (…, 6)."""
        coefficients = self.potential.coefficients[:, -len(DERIVED) :]
        values = self.potential.monomials(theta) @ coefficients
        return {name: values[..., k] for k, name in enumerate(DERIVED)}

    def anchored(self, spectra: Mapping[str, NDArray]) -> "ResponseSurface":
        """The same responses about given spectra, TT, TE, EE, BB, PP from ℓ = 0, as those of the centre.

        PP may be shorter than the surface's, which then ends there; it may not be longer.

        For a run whose fiducial spectra come from another setting of accuracy: corrections that vanish at them then
        vanish at the centre.
        """
        cmb = self.cmb.copy()
        for k, key in enumerate(KEYS):
            # beyond the end of a shorter spectrum no window of that run reads
            given = np.asarray(spectra[key])[: self.lmax + 1]
            cmb[0, 0, k * (self.lmax + 1) :][: len(given)] = given
        old = self.potential.coefficients
        n = min(len(spectra["PP"]), old.shape[1] - len(DERIVED))
        coefficients = np.hstack([old[:, :n], old[:, -len(DERIVED) :]])
        coefficients[0, :n] = np.asarray(spectra["PP"])[:n]
        return replace(self, cmb=cmb, potential=replace(self.potential, coefficients=coefficients))


def amplitude_powers(a_smooth: ArrayLike) -> NDArray[np.float64]:
    """(A_L^TTTEEE − 1)^k, k = 0 to 4, as the last axis."""
    return (np.asarray(a_smooth, dtype=np.float64)[..., None] - 1) ** np.arange(5)


def amplitude_power_derivatives(a_smooth: ArrayLike) -> NDArray[np.float64]:
    """Their derivatives by A_L^TTTEEE."""
    powers = amplitude_powers(a_smooth)
    return np.concatenate([np.zeros_like(powers[..., :1]), powers[..., :-1] * np.arange(1, 5)], axis=-1)


def response_surface(
    *,
    lmax: int,
    centre: ArrayLike | None = None,
    steps: ArrayLike | None = None,
    mnu: float = 0.06,
    lens_potential_accuracy: float = 2,
    nthreads: int = 0,
    mapping: Callable[[Callable[[SurfacePoint], NDArray], Iterable[SurfacePoint]], Iterable[NDArray]] = map,
) -> ResponseSurface:
    """The surface from 43 calls of CAMB.

    Parameters
    ----------
    lmax : int
        Highest multipole of the CMB spectra.
    centre, steps : arrays (6,), optional
        In the order of PARAMETERS; by default CENTRE and STEPS. Steps should be as large as the range of interest.
    mnu : float
        Σmν in eV, which stays what it is.
    lens_potential_accuracy : float
        As in `theory.acoustic_scale.unlensed_cosmology`.
    nthreads : int
        Of lensing; 0: as many as this process may use.
    mapping : callable
        mapping(evaluate, list of SurfacePoint) yields the vectors in order: by default `map`; a pool's, or one that
        stores what it has, for a caller that wants to share the work or to resume it.

    Returns
    -------
    ResponseSurface
    """
    at = np.array(list(CENTRE.values())) if centre is None else np.asarray(centre, dtype=np.float64)
    step = np.array(list(STEPS.values())) if steps is None else np.asarray(steps, dtype=np.float64)
    if at.shape != (len(PARAMETERS),):
        raise ValueError(f"the centre is {', '.join(PARAMETERS)}, got shape {at.shape}")
    stencil = points(at, step)
    on_axes = 1 + 2 * len(PARAMETERS)

    def amplitudes(k: int) -> tuple[float, ...]:
        return (0.0, 1.0, *((THIRD_NODE,) if k < on_axes else ()), *(CENTRE_NODES if k == 0 else ()))

    tasks = [
        SurfacePoint(tuple(theta.tolist()), amplitudes(k), lmax, mnu, lens_potential_accuracy, nthreads)
        for k, theta in enumerate(stencil)
    ]
    return surface_from_values(tasks, list(mapping(evaluate, tasks)), at, step)


def surface_from_values(
    tasks: list[SurfacePoint], values: list[NDArray], centre: NDArray, steps: NDArray
) -> ResponseSurface:
    """The surface from what `evaluate` gave for each point."""
    lmax = tasks[0].lmax
    width = len(KEYS) * (lmax + 1)
    ends = [width * len(task.amplitudes) for task in tasks]
    lensed = [value[:end].reshape(-1, width) for value, end in zip(values, ends, strict=True)]
    potential = expansion(centre, steps, [value[end:] for value, end in zip(values, ends, strict=True)])
    curvature = _curvatures(lensed, len(centre))
    # f(0) = c₀ − c₁ + c₂, so that c₁ = c₀ + c₂ − f(0).
    linear = [f[1] + c2 - f[0] for f, c2 in zip(lensed, curvature, strict=True)]
    cmb = np.zeros((5, len(potential.coefficients), width))
    for k, of_points in enumerate(([f[1] for f in lensed], linear, curvature)):
        cmb[k] = expansion(centre, steps, of_points).coefficients
    a = np.array([0.0, THIRD_NODE, *CENTRE_NODES]) - 1
    cmb[1:, 0] = np.linalg.solve(a[:, None] ** np.arange(1, 5), np.delete(lensed[0], 1, axis=0) - lensed[0][1])
    return ResponseSurface(lmax, cmb, potential)


def _curvatures(lensed: list[NDArray], p: int) -> list[NDArray]:
    """c₂ at each point: through amplitudes 0, 1, 1.6 on the axes of θ, and elsewhere the sum of what the axes give."""
    a = THIRD_NODE - 1
    on_axes = [((f[2] - f[1]) / a - (f[1] - f[0])) / (1 + a) for f in lensed[: 2 * p + 1]]
    plus, minus = on_axes[1 : p + 1], on_axes[p + 1 :]
    out = list(on_axes)
    for i, j in zip(*np.triu_indices(p, 1), strict=True):
        out += [side[i] + side[j] - on_axes[0] for side in (plus, minus)]
    return out

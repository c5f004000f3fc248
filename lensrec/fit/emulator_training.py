"""An emulator from CAMB's spectra at points of the box.

Components are those of spectra whitened by the cosmic variance and noise of a full-sky experiment of 15 µK·arcmin and
5′, better than Planck: what data cannot see is not kept.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lensrec.fit.emulator import KEYS, Emulator, interpolated, potential_interpolation, scaled
from lensrec.fit.emulator_points import LARGE_SCALES, PARAMETERS, Box, cmb_knots, potential_knots
from lensrec.fit.emulator_regression import regressed
from lensrec.theory.lensed_response import lensed_derivatives
from lensrec.theory.lensing import lensed_spectra
from lensrec.theory.polynomials import Monomials, weighted_degree

AMPLITUDES = (0.0, 0.5, 1.0, 1.6, 2.4)
"""Of C_L^φφ,ref, at which components are lensed; a quartic in a goes through them."""

BAND_AMPLITUDES = (0.5, 1.0, 1.8)
"""Those about which changes of shape are taken."""

BANDS = (2, 12, 30, 60, 100, 160, 250, 400, 650, 1100, 2000, 5100)
"""Multipoles about which C_L^φφ may change its shape."""

FEW_AMPLITUDES = (0.0, 1.0, 2.0)
"""Those of the smaller components, a parabola."""

LARGE, SHAPED = 7, 5
"""Components, the mean among them, that are lensed at all AMPLITUDES; whose lensing follows changes of shape."""

N_LARGE = 4
"""Components of a second pass, of TT at ℓ < LARGE_SCALES alone."""

N_BASIS = 64
"""Components are those of as many cosmologies, the first, so that more of them later need no new lensing."""


class Component(NamedTuple):
    """A component to be lensed."""

    spectra: NDArray[np.float64]
    ln_reference: NDArray[np.float64]
    lmax: int
    band_knots: tuple[int, ...]
    amplitudes: tuple[float, ...]
    shaped: bool
    nthreads: int


_LOG_A, _TAU = PARAMETERS.index("logA"), PARAMETERS.index("tau")


class Degrees(NamedTuple):
    """Highest weighted degree of the polynomials and what one degree of each parameter costs: see `weighted_degree`."""

    degree: float
    costs: tuple[float, ...]


CMB_DEGREES = Degrees(4, (1, 1, 1, np.inf, 1, 1, 1, 1, 1))
"""ln A_s has gone into the amplitude."""

POTENTIAL_DEGREES = Degrees(6, (2, 2, 2, 2, 2, np.inf, 1, 1, 1))
"""τ has no part in C_L^φφ; Σmν, w and w_a, whose ranges are wide, go to twice the power of the others."""


def emulator_from(
    x: NDArray,
    values: NDArray,
    centre: NDArray,
    *,
    lmax: int,
    box: Box | None = None,
    cmb_degrees: Degrees = CMB_DEGREES,
    potential_degrees: Degrees = POTENTIAL_DEGREES,
    shift: NDArray | float = 0.0,
    n_primary: int = 24,
    n_potential: int = 14,
    n_shaped: int = SHAPED,
    nthreads: int = 0,
    mapping: Callable[[Callable[[Component], tuple[NDArray, NDArray]], Iterable[Component]], Iterable] = map,
) -> Emulator:
    """The emulator from what `emulator_points.evaluate` gave.

    Parameters
    ----------
    x : array (N, 9)
    values : array (N, n)
        A row of NaN, a cosmology that CAMB finds nothing for, is left out.
    centre : array (n,)
        The same at the centre of the box; its C_L^φφ is the reference.
    lmax : int
        With which they were made.
    box : Box, optional
    shift : array, optional
        What more accurate settings add to ln C_L^φφ at its knots, at the centre of the box: it is added everywhere.
    cmb_degrees, potential_degrees : Degrees
    n_primary, n_potential : int
        Components kept, at most.
    n_shaped : int
        Lensed components, their mean among them, that follow changes of the shape of C_L^φφ.
    nthreads : int
        Of lensing; 0: as many as this process may use.
    mapping : callable
        As `map`, for the lensing of components: one that shares the work, or keeps it.

    Raises
    ------
    ValueError
        If fewer than ten points are left.
    """
    box = Box() if box is None else box
    good = np.isfinite(values).all(axis=1)
    if np.count_nonzero(good) < 10:
        raise ValueError(f"an emulator takes ten cosmologies at least, got {np.count_nonzero(good)}")
    x, values = x[good], values[good]
    y, n = scaled(x, box), 3 * len(cmb_knots(lmax))
    monomials = weighted_degree(cmb_degrees.costs, cmb_degrees.degree)
    potential_monomials = weighted_degree(potential_degrees.costs, potential_degrees.degree)

    factor = amplitude(x, box)
    noise = primary_noise(centre[:n], lmax)
    of_factor = values[:, :n] / factor[:, None]
    primary, unlensed, _ = expanded(of_factor, noise, monomials, y, n_primary)
    isw = large_scale_noise(noise)
    primary, unlensed = second_pass(of_factor, isw, monomials, y, primary, unlensed, N_LARGE)
    logs = values[:, n:-2] - x[:, _LOG_A, None]
    potential, components, _ = expanded(logs, np.ones(logs.shape[1]), potential_monomials, y, n_potential)
    derived = np.log(values[:, -2:])
    middle = derived.mean(0)
    derived_coefficients = regressed(potential_monomials.value(y), potential_monomials.powers, derived - middle)[0]
    derived_coefficients[0] += middle
    # the constant monomial carries the mean component, whose coefficient is 1 everywhere
    primary = np.hstack([np.eye(len(primary), 1), primary])
    unlensed = unlensed.reshape(len(unlensed), 3, -1)
    shift = np.broadcast_to(np.asarray(shift, dtype=np.float64), components.shape[1:])
    components[0] += shift
    ln_reference = centre[n:-2] + shift
    knots = potential_knots(lmax)
    band_knots = np.unique([int(np.argmin(np.abs(np.log(knots / at)))) for at in BANDS])
    band_knots[-1] = len(knots) - 1
    tasks = [
        Component(
            row,
            ln_reference,
            lmax,
            tuple(band_knots.tolist()),
            AMPLITUDES if k < LARGE else FEW_AMPLITUDES,
            k < n_shaped,
            nthreads,
        )
        for k, row in enumerate(unlensed)
    ]
    found = list(mapping(lensed_component, tasks))
    lensed = np.zeros((len(unlensed), *found[0][0].shape))
    for row, (of_amplitude, _) in zip(lensed, found, strict=True):
        row[: len(of_amplitude)] = of_amplitude
    bands = np.array([of_shape for _, of_shape in found[:n_shaped]])
    return Emulator(
        lmax=lmax,
        box=box,
        monomials=monomials,
        potential_monomials=potential_monomials,
        primary=primary,
        potential=potential,
        components=components,
        derived_coefficients=derived_coefficients,
        unlensed=unlensed,
        lensed=lensed,
        bands=bands,
        band_knots=band_knots,
        band_weights=band_weights(bands[0, 0], noise, lmax),
        reference=ln_reference,
        shift=shift,
        errors={},
    )


def amplitude(x: NDArray, box: Box) -> NDArray[np.float64]:
    """F, A_s e^{−2τ} over that of the centre."""
    return np.exp(x[..., _LOG_A] - box.centre[_LOG_A] - 2 * (x[..., _TAU] - box.centre[_TAU]))


def expanded(
    vectors: NDArray, noise: NDArray, monomials: Monomials, y: NDArray, n_components: int
) -> tuple[NDArray, NDArray, NDArray]:
    """Mean and principal components of vectors (N, n) over noise, and polynomials for their coefficients.

    Returns
    -------
    coefficients : array (M, Q)
    components : array (Q+1, n)
        The mean first.
    left_out : array (N, Q)
        What the polynomials miss each coefficient by at a point that they are made without, in noise.
    """
    mean = vectors[:N_BASIS].mean(0)
    _, s, v = np.linalg.svd((vectors[:N_BASIS] - mean) / noise, full_matrices=False)
    v = v[: min(n_components, int(np.count_nonzero(s > 1e-9 * s[0])))]
    coefficients, left_out = regressed(monomials.value(y), monomials.powers, (vectors - mean) / noise @ v.T)
    return coefficients, np.vstack([mean, v * noise]), left_out


def second_pass(
    vectors: NDArray,
    noise: NDArray,
    monomials: Monomials,
    y: NDArray,
    coefficients: NDArray,
    components: NDArray,
    n_components: int,
) -> tuple[NDArray, NDArray]:
    """Coefficients and components with some more, of what the first miss, where noise is finite.

    In the first pass one prior goes with a component, as stiff as the largest part of it allows. What that leaves is
    smooth again, and has a prior of its own.
    """
    features = monomials.value(y)
    missed = (vectors - components[0] - features @ coefficients @ components[1:]) / noise
    _, _, v = np.linalg.svd(missed, full_matrices=False)
    v = v[:n_components]
    found, _ = regressed(features, monomials.powers, missed @ v.T)
    more = v * np.where(np.isfinite(noise), noise, 0.0)
    return np.hstack([coefficients, found]), np.vstack([components, more])


def large_scale_noise(noise: NDArray) -> NDArray[np.float64]:
    """σ of TT at ℓ < LARGE_SCALES, rising without limit from ℓ = 30 on; of all else infinite.

    The late ISW effect, which dark energy moves there and the peaks hardly know, is what a first pass misses most.
    """
    ell = np.arange(2, LARGE_SCALES)
    fade = np.cos(np.pi / 2 * np.clip((ell - 30) / (LARGE_SCALES - 30), 0, 1)) ** 2
    out = np.full(noise.shape, np.inf)
    out[: len(ell)] = noise[: len(ell)] / fade
    return out


def primary_noise(spectra: NDArray, lmax: int) -> NDArray[np.float64]:
    """σ of TT, TE, EE at each knot, for the multipoles it stands for; beyond lmax it grows without limit."""
    knots = cmb_knots(lmax)
    tt, te, ee = spectra.reshape(3, -1)
    white = (15 * np.pi / 10800) ** 2
    beam = np.exp(knots * (knots + 1) * (5 * np.pi / 10800) ** 2 / (8 * np.log(2)))
    tt, ee = tt + white * beam, ee + 2 * white * beam
    modes = (2 * knots + 1.0) * np.gradient(knots.astype(np.float64))
    noise = np.sqrt(np.array([2 * tt**2, tt * ee + te**2, 2 * ee**2]) / modes)
    return np.ravel(noise * np.exp(np.maximum(knots - lmax, 0) / 200.0))


def lensed_component(component: Component) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """T (K, 4, n_l) of one component and, if it is asked for, D (J, B, 4, n_l), else nothing."""
    row, ln_reference, lmax, band_knots, amplitudes, shaped, nthreads = component
    top = lmax + 1500
    unlensed = {key: interpolated(cl, top, lmax) for key, cl in zip(KEYS[:3], row, strict=True)}
    reference = potential_interpolation(lmax) @ np.exp(ln_reference)
    at = cmb_knots(lmax)
    at = at[: np.searchsorted(at, lmax) + 1]
    rows = []
    for a in amplitudes:
        if a == 0:
            cls = {"BB": np.zeros(top + 1), **unlensed}
        else:
            cls = lensed_spectra(unlensed, reference, lmax=at[-1], amplitude=a, nthreads=nthreads)
        rows.append(np.array([cls[key][at] for key in KEYS]))
    powers = (np.array(amplitudes) - 1)[:, None] ** np.arange(len(amplitudes))
    of_amplitude = np.tensordot(np.linalg.inv(powers), np.array(rows), 1)
    if not shaped:
        return of_amplitude, np.zeros(0)
    changes = hats(lmax, band_knots) * reference
    slopes = []
    for a in BAND_AMPLITUDES:
        found = lensed_derivatives(unlensed, a * reference, changes, lmax=at[-1], nthreads=nthreads)
        slopes.append(np.array([found[key][at].T for key in KEYS]).swapaxes(0, 1))
    powers = (np.array(BAND_AMPLITUDES) - 1)[:, None] ** np.arange(len(BAND_AMPLITUDES))
    return of_amplitude, np.tensordot(np.linalg.inv(powers), np.array(slopes), 1)


def hats(lmax: int, band_knots: tuple[int, ...]) -> NDArray[np.float64]:
    """Functions of L, (B, lmax + 2501), linear in ln L between the knots of bands, each 1 at one; their sum is 1."""
    centres = np.log(potential_knots(lmax)[list(band_knots)])
    ell = np.log(np.maximum(np.arange(lmax + 2501), 1.0))
    return np.array([np.interp(ell, centres, row) for row in np.eye(len(centres))])


def band_weights(slopes: NDArray, noise: NDArray, lmax: int) -> NDArray[np.float64]:
    """w_b (B,) that make the mean ratio the amplitude that TT, TE and EE would measure, from D (B, 4, n_l) at a = 1."""
    n = slopes.shape[-1]
    rows = slopes[:, :3].reshape(len(slopes), -1) / noise.reshape(3, -1)[:, :n].ravel()
    total = rows.sum(0)
    return rows @ total / (total @ total)

"""Derivatives of lensed spectra with respect to C_L^φφ, about any C_L^φφ, and of band powers of them.

The correlation functions ξ̃(β) of `theory.lensing` depend on C_L^φφ through σ²(β), C_gl(β) and C_gl,2(β) alone, and
these are linear in it,

    ∂C_gl/∂C_L^φφ = g_L d^L_{11},   ∂C_gl,2/∂C_L^φφ = g_L d^L_{1,−1},   ∂σ²/∂C_L^φφ = g_L (1 − d^L_{11}),

with g_L = L(L+1)(2L+1)/4π. So, exactly and for every L from three functions of β,

    ∂C̃_ℓ/∂C_L^φφ = 2π g_L ∫ dcosβ d^ℓ_{st} [ξ̃_σ + (ξ̃_g − ξ̃_σ) d^L_{11} + ξ̃_2 d^L_{1,−1}],

    ξ̃_σ = ∂ξ̃/∂σ² = Σ_ℓ (2ℓ+1)/4π C_ℓ (−Λ/2) e^{−Λσ²/2} [1 + C_gl (K₁ − Λ/2) + C_gl,2 K₂ + C_gl,2² K₂²/2] d^ℓ_{st},
    ξ̃_g = ∂ξ̃/∂C_gl = Σ_ℓ (2ℓ+1)/4π C_ℓ e^{−Λσ²/2} [K₁ − Λ/2] d^ℓ_{st},
    ξ̃_2 = ∂ξ̃/∂C_gl,2 = Σ_ℓ (2ℓ+1)/4π C_ℓ e^{−Λσ²/2} [K₂ + C_gl,2 K₂²] d^ℓ_{st}.

The integral is a projection on d^ℓ_{st} for one change of C^φφ and all ℓ, or on d^L_{11} and d^L_{1,−1} for one band
power Σ_ℓ W_ℓ C̃_ℓ and all L: whichever is fewer, changes or bands, is what it costs.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lensrec.sphere.wigner import wigner_project, wigner_sum
from lensrec.theory.lensing import _checked, _Deflections, _deflections, _ladder, _separate_exponential, _top
from lensrec.theory.spectra import CMB_KEYS, Spectra

_ROWS = 256
"""Correlation functions held at a time."""


class _Part(NamedTuple):
    """A correlation function of spins s, t, what it contributes to each spectrum, and its three derivatives."""

    s: int
    t: int
    shares: dict[str, float]
    spread: NDArray[np.float64]
    same: NDArray[np.float64]
    opposite: NDArray[np.float64]


def lensed_derivatives(
    unlensed: Mapping[str, NDArray],
    cl_phi: NDArray,
    changes: NDArray | None = None,
    *,
    lmax: int | None = None,
    nthreads: int = 0,
) -> Spectra:
    """dC̃_ℓ/dp_k at p = 0 for C_L^φφ + Σ_k p_k changes_kL.

    Parameters
    ----------
    unlensed : mapping of arrays
        As for `lensed_spectra`: TT, EE, BB, TE, raw C_ℓ of one length from ℓ = 0; one that is absent is zero.
    cl_phi : array
        The C_L^φφ about which derivatives are taken, from L = 0.
    changes : array (n, any length), optional
        Changes of C_L^φφ from L = 0: C_L^φφ itself for an amplitude, its parts for amplitudes in bins. Left out, one at
        each L of `cl_phi`, and the result is ∂C̃_ℓ/∂C_L^φφ.
    lmax : int, optional
        Highest multipole returned; by default and at most that of `unlensed`.
    nthreads : int
        0: as many as this process may use.

    Returns
    -------
    dict of arrays (lmax+1, n)
        TT, EE, BB and TE, in the unit of `unlensed` over that of p.

    Raises
    ------
    ValueError
        As for `lensed_spectra`.

    Notes
    -----
    The derivative of what `lensed_spectra` computes, on the nodes that it uses, but for what its series leaves out.
    """
    cl_phi = np.asarray(cl_phi, dtype=np.float64)
    changes = np.eye(len(cl_phi)) if changes is None else np.atleast_2d(np.asarray(changes, dtype=np.float64))
    cls = _checked(unlensed)
    top = _top(cls, lmax)
    deflections = _about(cls, cl_phi, changes.shape[1], top, nthreads)
    theta, weights = deflections.theta, deflections.weights
    ell = np.arange(changes.shape[1], dtype=np.float64)
    out = {key: np.zeros((top + 1, len(changes))) for key in CMB_KEYS}
    parts = list(_parts(cls, deflections))
    for start in range(0, len(changes), _ROWS):
        rows = slice(start, start + _ROWS)
        powers = ell * (ell + 1) * changes[rows]
        total = (powers @ (2 * ell + 1)) / (4 * np.pi)
        same, opposite = (wigner_sum(powers, 1, t, theta, nthreads=nthreads) for t in (1, -1))
        for part in parts:
            xi = part.spread * total[:, None] + part.same * same + part.opposite * opposite
            found = wigner_project(xi, part.s, part.t, top, theta, weights, nthreads=nthreads)
            for key, share in part.shares.items():
                out[key][:, rows] += share * found.T
    return out


def bandpower_derivatives(
    unlensed: Mapping[str, NDArray],
    cl_phi: NDArray,
    windows: Mapping[str, NDArray],
    *,
    lmax_phi: int | None = None,
    nthreads: int = 0,
) -> NDArray[np.float64]:
    """∂/∂C_L^φφ of band powers Σ_X Σ_ℓ W^X_bℓ C̃_ℓ^X, at every L.

    Parameters
    ----------
    unlensed, cl_phi, nthreads
        As for `lensed_derivatives`.
    windows : mapping of "TT", "EE", "BB", "TE" to array (n, at most the length of `unlensed`)
        W, acting on raw C̃_ℓ from ℓ = 0; all with the same n.
    lmax_phi : int, optional
        Highest L; by default that of `cl_phi`.

    Returns
    -------
    array (n, lmax_phi+1)
        W ∂C̃/∂C^φφ, for a cost that grows with n and hardly with lmax_phi.

    Raises
    ------
    ValueError
        As for `lensed_spectra`, and for windows of other spectra, of unequal n, or longer than `unlensed`.
    """
    cl_phi, cls = np.asarray(cl_phi, dtype=np.float64), _checked(unlensed)
    lmax_phi = len(cl_phi) - 1 if lmax_phi is None else lmax_phi
    matrices = {key: np.atleast_2d(np.asarray(matrix, dtype=np.float64)) for key, matrix in windows.items()}
    shapes = {key: matrix.shape for key, matrix in matrices.items()}
    width, counts = max((shape[1] for shape in shapes.values()), default=0), {shape[0] for shape in shapes.values()}
    if not set(shapes) <= set(CMB_KEYS) or len(counts) != 1 or not 1 <= width <= len(cls["TT"]):
        raise ValueError(f"windows on TT, EE, BB, TE need shapes (n, at most {len(cls['TT'])}), got {shapes}")
    deflections = _about(cls, cl_phi, lmax_phi + 1, width - 1, nthreads)
    theta, weights = deflections.theta, deflections.weights
    (n,) = counts
    out = np.zeros((n, lmax_phi + 1))
    norm = 4 * np.pi / (2 * np.arange(width) + 1)
    for part in _parts(cls, deflections):
        window = np.zeros((n, width))
        for key in part.shares.keys() & matrices.keys():
            window[:, : shapes[key][1]] += part.shares[key] * matrices[key]
        read = np.flatnonzero(window.any(1))
        for rows in (read[start : start + _ROWS] for start in range(0, len(read), _ROWS)):
            function = wigner_sum(window[rows] * norm, part.s, part.t, theta, nthreads=nthreads)
            out[rows] += 2 * np.pi * (function @ (part.spread * weights))[:, None]
            for t, xi in ((1, part.same), (-1, part.opposite)):
                out[rows] += wigner_project(function * xi, 1, t, lmax_phi, theta, weights, nthreads=nthreads)
    ell = np.arange(lmax_phi + 1.0)
    return out * (ell * (ell + 1) * (2 * ell + 1) / (4 * np.pi))


def _about(cls: Spectra, cl_phi: NDArray, length: int, top: int, nthreads: int) -> _Deflections:
    padded = np.concatenate([cl_phi, np.zeros(max(0, length - len(cl_phi)))])
    return _deflections(padded, len(cls["TT"]) - 1, top, nthreads)


def _parts(cls: Spectra, deflections: _Deflections) -> Iterator[_Part]:
    for cl, s, t, shares in (
        (cls["TT"], 0, 0, {"TT": 1.0}),
        (cls["TE"], 2, 0, {"TE": 1.0}),
        (cls["EE"] + cls["BB"], 2, 2, {"EE": 0.5, "BB": 0.5}),
        (cls["EE"] - cls["BB"], 2, -2, {"EE": 0.5, "BB": -0.5}),
    ):
        if cl.any():
            yield _Part(s, t, shares, *_functions(cl, s, t, deflections))


def _functions(cl: NDArray, s: int, t: int, deflections: _Deflections) -> tuple[NDArray, NDArray, NDArray]:
    """ξ̃_σ, ξ̃_g − ξ̃_σ and ξ̃_2 at the nodes."""
    lmax = len(cl) - 1
    ell = np.arange(lmax + 1, dtype=np.float64)
    decay = np.maximum(ell * (ell + 1) - (s * s + t * t) / 2, 0.0)
    in_ell, in_beta = _separate_exponential(decay, deflections.variance)
    damped = np.stack([cl * in_ell, -0.5 * decay * cl * in_ell])

    def total(factor: NDArray | float, to_s: int, to_t: int) -> NDArray:
        """Σ_ℓ (2ℓ+1)/4π C_ℓ exp(−Λσ²/2) factor d^ℓ_{to_s,to_t}, and its derivative by σ²; (2, nodes)."""
        sums = wigner_sum(damped * factor, to_s, to_t, deflections.theta, nthreads=deflections.nthreads)
        return np.einsum("kb,jkb->jb", in_beta, sums)

    def up(s_from: int, t_from: int, s_step: int, t_step: int) -> NDArray:
        return _ladder(lmax, s_from, s_step) * _ladder(lmax, t_from, t_step)

    middle = (ell * (ell + 1) - s * s) * (ell * (ell + 1) - t * t) / 16
    plain, first, second, twice = total(1.0, s, t), total(-decay / 2, s, t), np.zeros((2, 1)), total(middle, s, t)
    for step in (1, -1):
        first = first + total(up(s, t, step, step) / 4, s + step, t + step)
        once = up(s, t, step, -step)
        second = second + total(once / 4, s + step, t - step)
        twice = twice + total(once * up(s + step, t - step, step, -step) / 32, s + 2 * step, t - 2 * step)
    same, opposite = deflections.same, deflections.opposite
    spread = plain[1] + same * first[1] + opposite * second[1] + opposite**2 * twice[1]
    return spread, first[0] - spread, second[0] + 2 * opposite * twice[0]

"""N1: the bias of C_L^φ̂φ̂ that is linear in C^φφ, and its derivative with respect to C^φφ, by Fourier transforms.

The four legs of ⟨φ̂ φ̂*⟩ are lensed by one φ also in the pairs that are not those of the signal (Kesden, Cooray &
Kamionkowski 2003, astro-ph/0302536; Hanson et al. 2011, arXiv:1008.4403). With q = l₁ − l₁′, l₂ = L − l₁ and H and V of
`flat_weights`, in which the response of two legs is ⟨X(l₁) X′*(l₁′)⟩ = q·[V(l₁) − V(l₁′)]^{XX′} φ(q),

    N1_L^{αβ} = ½ ∫∫ d²l₁ d²l₁′/(2π)⁴ H_α^{XY}(l₁, l₂) H_β^{X′Y′}(l₁′, l₂′) C_q^φφ
                    × q·[V(l₁) − V(l₁′)]^{XX′}  (−q)·[V(l₂) − V(l₂′)]^{YY′},

both pairings being in it, since H is the sum of both orders of the legs. Multiplied out, each term is a function of l₁
times one of l₁′, and the integral over l₁ at fixed q is a correlation E_ab(q) that Fourier transforms make:

    N1_L = ∫ d²q/(2π)² C_q^φφ q_a q_b E_ab(q),      ∂N1_L/∂C_L′^φφ = (L′ + ½)/2π ⟨q_a q_b E_ab⟩_{|q| = L′ + ½}.

On the lattice of k = (l₁ − l₂)/2 every function needed has the symmetry f^{XY}(−k) = f^{YX}(k), so that its transform
is Hermitian in XY, and the transform P_ab(x) of E_ab is real. Its average over the direction of q,

    ⟨q_a q_b E_ab⟩ = q²/n² Σ_x {½ [P_xx + P_yy] J₀(q|x|) − ½ [(P_xx − P_yy) cos 2θ_x + 2 P_xy sin 2θ_x] J₂(q|x|)},

is that of the trigonometric interpolation between the points of the lattice, which no direction of q prefers.
"""

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import ducc0
import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from scipy.special import j0, j1

from lensrec.arrays import thread_count
from lensrec.bias.flat_weights import FlatEstimator, Lattice, components, lattice_weights, spectrum_rows
from lensrec.sphere.compiled import compiled

# P is gathered in steps of |x| by Lagrange interpolation over _NODES of them. With a step of _PHASE / q_max this errs
# in J(q|x|) by at most (1·3·5·7)²/2⁸/8! · 0.5⁸ = 4e-6.
_PHASE, _NODES = 0.5, 8


@dataclass(frozen=True)
class N1:
    """The matrix ∂N1_L/∂C_L′^φφ of each pair of estimators at some L, which is all there is to know of N1.

    Attributes
    ----------
    multipoles : array (nL,)
        The L at which it was computed; between them `n1_derivative` interpolates.
    matrix : dict of pairs of names to array (nL, lmax_lens+1)
        Its columns are the multipoles L′ of C^φφ, from 0.
    """

    multipoles: NDArray[np.int64]
    matrix: dict[tuple[str, str], NDArray[np.float64]]


def n1_bias(
    estimators: Mapping[str, FlatEstimator],
    signal: Mapping[str, NDArray],
    lmax_phi: int,
    lmax_lens: int,
    *,
    pairs: Iterable[tuple[str, str]] | None = None,
    multipoles: Sequence[int] | None = None,
    spacing: float | None = None,
    curl: bool = False,
    nthreads: int = 0,
) -> N1:
    """N1 of φ̂ (or of Ω̂) between normalised estimators, as its derivative with respect to C^φφ.

    Parameters
    ----------
    estimators : mapping of names to FlatEstimator
        See `combined_estimator` and `joint_estimator`.
    signal : mapping of "TT", "TE", "EE", "BB" to array, from ℓ = 0
        The spectra that respond to lensing in truth: the lensed-gradient spectra of the sky.
    lmax_phi : int
        Largest L of the estimates.
    lmax_lens : int
        Largest multipole of C^φφ that is taken into account. Take half as much again as the filters' lmax: at
        ℓ ≤ 3000 N1 lacks 9 % at L = 2000 for MV, and 14 % for TT, if C^φφ ends at 3000, and 1e-3 if at 4500.
    pairs : pairs of names, optional
        All by default.
    multipoles : sequence of int, optional
        L at which to compute; by default `sample_multipoles(lmax_phi)`.
    spacing : float, optional
        Δ of the lattice in ℓ; by default `default_spacing`.
    curl : bool
        N1 of the curl estimates, which C^φφ makes too.
    nthreads : int
        0: as many as this process may use.

    Raises
    ------
    ValueError
        For a pair of unknown names, or an L that the estimators' coefficients do not reach.

    Notes
    -----
    The lattice of Δ = 20 at ℓ ≤ 3000 is good to 1e-3 in N1, its interpolation in L to 2e-3. The flat sky itself errs by
    about 1/L² (as the shear that a lens of multipole L makes is less on the sphere by (L−1)(L+2)/L(L+1)), that is by
    1 % at L = 10; the responses are those given, of the sphere.
    """
    names = list(estimators)
    pairs = [(a, b) for i, a in enumerate(names) for b in names[i:]] if pairs is None else list(pairs)
    for name in {name for pair in pairs for name in pair}:
        if name not in estimators:
            raise ValueError(f"N1 is asked for estimator {name!r}, but only {', '.join(names)} are given")
    chosen = sample_multipoles(lmax_phi) if multipoles is None else np.asarray(multipoles, dtype=np.int64)
    reach = min(e.coefficients.shape[-1] for e in estimators.values()) - 1
    if len(chosen) == 0 or chosen.max() > reach or chosen.min() < 1:
        raise ValueError(f"N1 needs multipoles from L = 1 to the end of the responses, L = {reach}")
    workers = thread_count(nthreads)
    lmax = max(e.filters.shape[1] for e in estimators.values()) - 1
    lattice = lattice_for(lmax, lmax_lens, default_spacing(lmax) if spacing is None else spacing)
    needed = [name for name in names if any(name in pair for pair in pairs)]
    fields = components([estimators[name] for name in needed])
    rows = spectrum_rows(signal, lmax + 1, hold=True)
    step = _PHASE / (lmax_lens + 0.5)
    rings = np.zeros((len(pairs), len(chosen), 2, _ring_count(lattice, step)))
    buffer: NDArray | None = None
    for i, L in enumerate(chosen):
        transforms = {}
        for name in needed:
            buffer = lattice_weights(
                estimators[name], rows, int(L), lattice, fields=fields, curl=curl, out=buffer, nthreads=workers
            )
            transforms[name] = ducc0.fft.r2c(buffer, axes=(1, 2), nthreads=workers)
        for ring, (a, b) in zip(rings, pairs, strict=True):
            ring[i] = _rings(transforms[a], transforms[b], lattice, step, fields[1] - fields[0], workers)
    matrices = _hankel(rings, lattice, step, lmax_lens, workers)
    return N1(chosen, dict(zip(pairs, matrices, strict=True)))


def n1_derivative(n1: N1, pair: tuple[str, str], lmax_phi: int) -> NDArray[np.float64]:
    """∂N1_L/∂C_L′^φφ at every L and L′, array (lmax_phi+1, lmax_lens+1); row 0 is zero.

    Notes
    -----
    A cubic spline of [L(L+1)]² N1_L in ln L, which is linear in N1; constant outside of the multipoles computed.
    """
    at = np.arange(1, lmax_phi + 1)
    scaled = n1.matrix[pair] * _flat(n1.multipoles)[:, None]
    out = np.zeros((lmax_phi + 1, scaled.shape[1]))
    out[1:] = _between(n1.multipoles, scaled, at) / _flat(at)[:, None]
    return out


def n1_spectrum(n1: N1, cl_phi: NDArray, lmax_phi: int) -> dict[tuple[str, str], NDArray[np.float64]]:
    """N1_L of each pair, (lmax_phi+1,) from L = 0, for any C_L^φφ, from L = 0; what it lacks counts as zero."""
    at = np.arange(1, lmax_phi + 1)
    spectra = {}
    for pair, matrix in n1.matrix.items():
        power = np.asarray(cl_phi, dtype=np.float64)[: matrix.shape[1]]
        sampled = matrix[:, : len(power)] @ power * _flat(n1.multipoles)
        spectra[pair] = np.concatenate([[0.0], _between(n1.multipoles, sampled, at) / _flat(at)])
    return spectra


def sample_multipoles(lmax_phi: int) -> NDArray[np.int64]:
    """L from 2 to lmax_phi at which N1 is computed: steps of L/3, and of at most 40.

    L⁴ N1_L has the acoustic peaks' period of 300, for TT with a third for amplitude; steps of 40 follow it to 1e-3.
    """
    points = [min(2, lmax_phi)]
    while points[-1] + 1 < lmax_phi:
        points.append(points[-1] + min(max(points[-1] // 3, 1), 40))
    return np.unique(np.minimum([*points, lmax_phi], lmax_phi)).astype(np.int64)


def default_spacing(lmax: int) -> float:
    """Δ that resolves acoustic peaks, and the range of the filters where lmax is small: to 5e-4 of N1 of MV."""
    return min(20.0, (lmax + 1) / 60.0)


def lattice_for(lmax: int, lmax_lens: int, spacing: float) -> Lattice:
    """The smallest lattice on which no correlation up to q = lmax_lens + ½ meets its periodic images."""
    reach = int((lmax + 1.0) / spacing + 1.5)
    n = 2 * reach + 1 + int((lmax_lens + 0.5) / spacing) + 1
    points = min(int(np.ceil(spacing / 2.0)), 4)
    return Lattice(ducc0.fft.good_size(n, True), spacing, reach, points)


def correlations(first: NDArray, second: NDArray, lattice: Lattice, d: int) -> NDArray[np.float64]:
    """P_ab(x) for ab = xx, xy, yy, shape (3, n, n//2+1), from transforms of `lattice_weights` of d fields."""
    out = np.empty((3, lattice.n, lattice.n // 2 + 1))
    _all_products(first, second, d, out)
    return -0.5 * (lattice.spacing / (2.0 * np.pi)) ** 2 * out


@compiled(error_model="numpy")
def _product(a: NDArray, b: NDArray, i: int, j: int, d: int) -> tuple[float, float, float]:
    """A_ab·H′* + H·A′*_ab − 2 Re tr B_(a B′_b) at one x."""
    half = d * (d + 1) // 2
    xx, xy, yy = 0.0, 0.0, 0.0
    r = 0
    for p in range(d):
        for q in range(p, d):
            twice = 1.0 if p == q else 2.0
            h, g = a[r, i, j], b[r, i, j].conjugate()
            xx += twice * (a[half + r, i, j] * g + h * b[half + r, i, j].conjugate()).real
            xy += twice * (a[2 * half + r, i, j] * g + h * b[2 * half + r, i, j].conjugate()).real
            yy += twice * (a[3 * half + r, i, j] * g + h * b[3 * half + r, i, j].conjugate()).real
            r += 1
    x0, y0 = 4 * half, 4 * half + d * d
    for p in range(d):
        for q in range(d):
            ax, ay = a[x0 + p * d + q, i, j], a[y0 + p * d + q, i, j]
            bx, by = b[x0 + q * d + p, i, j], b[y0 + q * d + p, i, j]
            xx -= 2.0 * (ax * bx).real
            xy -= (ax * by + ay * bx).real
            yy -= 2.0 * (ay * by).real
    return xx, xy, yy


@compiled(error_model="numpy")
def _all_products(a: NDArray, b: NDArray, d: int, out: NDArray) -> None:
    for i in range(out.shape[1]):
        for j in range(out.shape[2]):
            out[0, i, j], out[1, i, j], out[2, i, j] = _product(a, b, i, j, d)


@compiled(error_model="numpy")
def _gather(
    a: NDArray, b: NDArray, first: int, last: int, n: int, unit: float, step: float, d: int, out: NDArray
) -> None:
    """Sums over x of P_xx + P_yy and of its spin-2 part, shared out among steps of |x|."""
    for i in range(first, last):
        x = unit * (i if 2 * i <= n else i - n)
        for j in range(n // 2 + 1):
            y = unit * j
            xx, xy, yy = _product(a, b, i, j, d)
            square = x * x + y * y
            weight = 1.0 if j == 0 or 2 * j == n else 2.0
            spin0 = weight * (xx + yy)
            spin2 = weight * ((xx - yy) * (x * x - y * y) + 4.0 * xy * x * y) / square if square > 0.0 else 0.0
            at = np.sqrt(square) / step
            k = int(at)
            # Step k is kept at k + 3: the nodes are k − 3 … k + 4, and J is even.
            for m in range(_NODES):
                share = 1.0
                for o in range(_NODES):
                    if o != m:
                        share *= (at - k + 3.0 - o) / (m - o)
                out[0, k + m] += share * spin0
                out[1, k + m] += share * spin2


def _rings(first: NDArray, second: NDArray, lattice: Lattice, step: float, d: int, workers: int) -> NDArray[np.float64]:
    """P gathered in |x|, (2, nbins), its parts of spin 0 and 2."""
    edges = np.linspace(0, lattice.n, workers + 1).astype(int)
    parts = np.zeros((workers, 2, _ring_count(lattice, step)))
    unit = 2.0 * np.pi / (lattice.n * lattice.spacing)

    def one(part: NDArray, start: int, stop: int) -> None:
        _gather(first, second, start, stop, lattice.n, unit, step, d, part)

    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(one, parts, edges[:-1], edges[1:]))
    return parts.sum(axis=0)


def _ring_count(lattice: Lattice, step: float) -> int:
    return int(np.sqrt(2.0) * np.pi / lattice.spacing / step) + _NODES + 1


def _hankel(rings: NDArray, lattice: Lattice, step: float, lmax_lens: int, workers: int) -> NDArray[np.float64]:
    """From sums (..., 2, nbins) to (L′ + ½)/2π ⟨q_a q_b E_ab⟩ at q = L′ + ½, (..., lmax_lens+1)."""
    x = step * (np.arange(rings.shape[-1]) - (_NODES // 2 - 1.0))
    q = np.arange(lmax_lens + 1) + 0.5

    def bessel(some: NDArray) -> tuple[NDArray, NDArray]:
        z = np.abs(np.outer(x, some))
        zero = j0(z)
        return zero, np.divide(2.0 * j1(z), z, out=np.ones_like(z), where=z > 0.0) - zero

    averages = []
    with ThreadPoolExecutor(workers) as pool:
        for zero, two in pool.map(bessel, np.array_split(q, len(q) // 512 + 1)):
            averages.append(rings[..., 0, :] @ zero - rings[..., 1, :] @ two)
    measure = -0.25 * (lattice.spacing / (2.0 * np.pi * lattice.n)) ** 2
    return np.concatenate(averages, axis=-1) * (measure * q**3 / (2.0 * np.pi))


def _flat(multipoles: NDArray) -> NDArray[np.float64]:
    """[L(L+1)]², by which N1_L is multiplied before it is interpolated."""
    return (multipoles * (multipoles + 1.0)) ** 2


def _between(multipoles: NDArray, rows: NDArray, at: NDArray) -> NDArray[np.float64]:
    """Rows at other L, those of the nearest L outside of the range."""
    if len(multipoles) == 1:
        return np.repeat(rows, len(at), axis=0)
    return CubicSpline(np.log(multipoles), rows)(np.log(np.clip(at, multipoles[0], multipoles[-1])))

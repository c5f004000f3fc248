"""Lensing spectra from splits of the data, free of any bias by noise (Madhavacheril, Smith, Sherwin & Naess 2020).

The data come as m ≥ 4 splits with one sky and independent noises. From the filtered legs X̄⁽ⁱ⁾, Ȳ⁽ⁱ⁾ of each, a pair of
splits has the estimate φ̂⁽ⁱʲ⁾ = ½[q(X̄⁽ⁱ⁾, Ȳ⁽ʲ⁾) + q(X̄⁽ʲ⁾, Ȳ⁽ⁱ⁾)], normalised as any other. The cross-only spectrum is
the mean over the m(m−1)(m−2)(m−3) ordered quadruples of four *different* splits (arXiv:2011.02475),

    Ĉ^×_L[α, β] = 1/[m(m−1)(m−2)(m−3)] Σ_{i,j,k,l all different} C_L(α̂⁽ⁱʲ⁾, β̂⁽ᵏˡ⁾),

in which no noise, whatever it is like within its split, meets itself: neither N0's part from noise nor the errors of
a noise model enter. The signal's own disconnected part remains, and `split_rdn0` is that.

Power sums. Write α_i = Σ_{j≠i} α̂⁽ⁱʲ⁾ and α_∗ = Σ_i α_i = Σ_{i≠j} α̂⁽ⁱʲ⁾. In C(α_∗, β_∗), the sum over i ≠ j and
k ≠ l, an index of one pair equals one of the other in four ways, each of which sums to Σ_i C(α_i, β_i) with those
quadruples in which both are equal; there are two ways for both, each with the sum P = Σ_{i≠j} C(α̂⁽ⁱʲ⁾, β̂⁽ⁱʲ⁾). So

    Σ_{different} = C(α_∗, β_∗) − 4 [Σ_i C(α_i, β_i) − P] − 2 P
                  = C(α_∗, β_∗) − 4 Σ_i C(α_i, β_i) + 4 Σ_{i<j} C(α̂⁽ⁱʲ⁾, β̂⁽ⁱʲ⁾),

1 + m + m(m−1)/2 spectra instead of O(m⁴). Pairs i = j never enter. The sum over quadruples runs over (i, j) and (j, i)
alike, so of an estimate that isn't symmetric in its splits it sees the symmetric part alone.

Disconnected bias. With p(x, y) = ½[q(x, y) + q(y, x)], φ̂⁽ⁱʲ⁾ = p(i, j). In ⟨p(i, j) p(k, l)⟩ of Gaussian fields,
(ij)(kl) is the mean field and (ik)(jl) + (il)(jk) the bias. To be right to second order in what the simulations s get
wrong about the data d, each ⟨d d⟩⟨d d⟩ becomes ⟨d d⟩⟨s s⟩ + ⟨s s⟩⟨d d⟩ − ⟨s s⟩⟨s s⟩: one leg of each pair is a
simulation's, in all four ways, less two simulations s, s' that meet themselves in both ways. RDN0 is the mean over
different i, j, k, l of

    ⟨ C(p(d_i,s_j), p(d_k,s_l)) + C(p(d_i,s_j), p(s_k,d_l)) + C(p(s_i,d_j), p(d_k,s_l)) + C(p(s_i,d_j), p(s_k,d_l))
      − C(p(s_i,s'_j), p(s_k,s'_l)) − C(p(s_i,s'_j), p(s'_k,s_l)) ⟩.

p(d_i, s_j) and p(d_j, s_i) are not the same, but with A_ij = p(d_i,s_j) + p(s_i,d_j), symmetric in i and j, the first
four terms are C(A_ij, A_kl). With B_ij = p(s_i,s'_j) + p(s'_i,s_j) the last two are C(p(s_i,s'_j), B_kl) and, as the
sum sees the symmetric part of its first argument alone, ½ C(B_ij, B_kl). In estimates symmetric in splits and in skies,

    φ̂⁽ⁱʲ⁾[a,b] = ¼ [q(a_i,b_j) + q(b_i,a_j) + q(a_j,b_i) + q(b_j,a_i)],        φ̂⁽ⁱʲ⁾[a,a] = φ̂⁽ⁱʲ⁾ of a,

A = 2 φ̂[d,s] and B = 2 φ̂[s,s'], and the bias is the same functional once more, simulation by simulation,

    RDN0^×_L = ⟨ 4 Ĉ^×_L[φ̂[d,s]] − 2 Ĉ^×_L[φ̂[s,s']] ⟩.

So symmetric pairs suffice, m(m−1)/2 of them. They take m(m−1) evaluations of q for the data and 2m(m−1) for each mixed
set; half of either if q is symmetric in its arguments.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from lensrec.sphere.alm import alm_to_cl

Legs = TypeVar("Legs")
Pairs = NDArray | Mapping[tuple[int, int], NDArray]


@dataclass(frozen=True)
class SplitBias:
    """The disconnected bias of a cross-only spectrum.

    Attributes
    ----------
    rdn0 : array (..., lmax+1)
        ⟨4 Ĉ^×[φ̂[d,s]] − 2 Ĉ^×[φ̂[s,s']]⟩, to be taken off the spectrum of the data.
    error : array (..., lmax+1)
        Standard error of that mean, from the scatter of the simulations about it, as if they were independent.
    mcn0 : array (..., lmax+1)
        ⟨2 Ĉ^×[φ̂[s,s']]⟩, the bias of the simulations themselves.
    count : int
        Number of simulations.
    """

    rdn0: NDArray[np.float64]
    error: NDArray[np.float64]
    mcn0: NDArray[np.float64]
    count: int


def split_pairs(m: int) -> list[tuple[int, int]]:
    """The pairs (i, j), i < j, of m splits, in the order in which arrays of pairs hold them."""
    return list(combinations(range(m), 2))


def pair_estimates(
    estimate: Callable[[Legs, Legs], NDArray],
    splits: Sequence[Legs],
    others: Sequence[Legs] | None = None,
    *,
    symmetric: bool = False,
) -> NDArray:
    """Estimates φ̂⁽ⁱʲ⁾[a,b] of all pairs of different splits, symmetric in splits and skies.

    Parameters
    ----------
    estimate : callable
        q(a, b) → array (..., nalm), bilinear; the first leg comes from a, the second from b. Normalised, or
        to be normalised afterwards.
    splits : sequence of m sets of legs, a
    others : sequence of m sets of legs, b, optional
        The same splits of another sky; by default `splits` themselves.
    symmetric : bool
        Whether q(a, b) = q(b, a), as for TT and EE of two sets, so that half of the evaluations can be spared.

    Returns
    -------
    array (m(m−1)/2, ..., nalm), in the order of `split_pairs`

    Raises
    ------
    ValueError
        For fewer than two splits, or numbers of splits that differ.

    Notes
    -----
    m(m−1) evaluations, twice that with `others`; half of either with `symmetric`.
    """
    skies = [(splits, splits)] if others is None else [(splits, others), (others, splits)]
    if len(splits) < 2 or len(skies[0][1]) != len(splits):
        raise ValueError(
            f"pairs need two or more splits, as many of each sky, got {len(splits)} and {len(skies[0][1])}"
        )
    out = []
    for i, j in split_pairs(len(splits)):
        terms = [(a[i], b[j]) for a, b in skies]
        if not symmetric:
            terms += [(a[j], b[i]) for a, b in skies]
        total = estimate(*terms[0])
        for a, b in terms[1:]:
            total = total + estimate(a, b)
        out.append(total / len(terms))
    return np.stack(out)


def cross_coadd(pairs: Pairs) -> NDArray:
    """The mean of φ̂⁽ⁱʲ⁾ over all i ≠ j: the estimate for maps and cross-correlations; array (..., nalm).

    Its mean field has no part from noise that is independent between splits. Its auto-spectrum does have noise bias:
    two of its pairs may share a split. See `split_spectrum` for `pairs`; two splits are enough here.
    """
    return np.mean(_stacked(pairs, 2)[0], axis=0)


def split_spectrum(pairs: Pairs, other: Pairs | None = None) -> NDArray[np.float64]:
    """Mean of C_L(α̂⁽ⁱʲ⁾, β̂⁽ᵏˡ⁾) over all quadruples of four different splits, from L = 0; array (..., lmax+1).

    Parameters
    ----------
    pairs : array (m(m−1)/2, ..., nalm) in the order of `split_pairs`, or mapping of (i, j) to array (..., nalm)
        Symmetric, normalised estimates α̂⁽ⁱʲ⁾ of the pairs of m ≥ 4 splits, *each with its own mean field taken off*;
        the mean field of simulations has noise of its own, see `subtracted_split_spectrum`. A mapping names
        each pair once, in either order of its splits; pairs i = i are passed over.
    other : like `pairs`, optional
        Estimates β̂⁽ᵏˡ⁾ of the same splits by another estimator; by default the auto-spectrum. The leading axes, e.g. φ
        and Ω, are those of `pairs`.

    Raises
    ------
    ValueError
        For fewer than four splits, a pair that is missing or there twice, or shapes that differ.
    """
    first, m = _stacked(pairs, 4)
    second, m_second = (first, m) if other is None else _stacked(other, 4)
    if m != m_second or first.shape != second.shape:
        raise ValueError(f"both estimators need the same pairs and lmax, got arrays {first.shape} and {second.shape}")
    all_first, rows_first = _sums(first, m)
    all_second, rows_second = (all_first, rows_first) if other is None else _sums(second, m)
    total = _summed_spectra(all_first, all_second)
    total -= 4.0 * _summed_spectra(rows_first, rows_second)
    total += 4.0 * _summed_spectra(first, second)
    return total / (m * (m - 1) * (m - 2) * (m - 3))


def subtracted_split_spectrum(
    pairs: Pairs, halves: NDArray, other: Pairs | None = None, other_halves: NDArray | None = None
) -> NDArray[np.float64]:
    """Cross-only spectrum with the mean field taken off, by one half of the simulations in each factor.

    The skies of one simulation are common to its splits, so the noise of a mean over simulations correlates between
    all pairs, and cross-only spectra don't exclude it. Two independent means do.

    Parameters
    ----------
    pairs, other : see `split_spectrum`, mean field still in
    halves, other_halves : array (2, m(m−1)/2, ..., nalm)
        Means of each pair's estimates over two independent halves of the simulations, in the order of `split_pairs`,
        as `lensrec.bias.mean_field.mean_field` gives them from arrays of pairs. The first half goes to `pairs`,
        the second to `other`.
    """
    first, _ = _stacked(pairs, 4)
    second, second_halves = (first, halves) if other is None else (_stacked(other, 4)[0], other_halves)
    if second_halves is None:
        raise ValueError("give other_halves, the mean field of the other estimator's pairs")
    for name, array, means in (("halves", first, halves), ("other_halves", second, second_halves)):
        if means.shape != (2, *array.shape):
            raise ValueError(
                f"{name} must have the shape {(2, *array.shape)} of two means of all pairs, got {means.shape}"
            )
    return split_spectrum(first - halves[0], second - second_halves[1])


def split_rdn0(simulations: Iterable[tuple[Pairs, Pairs]]) -> SplitBias:
    """RDN0 of the cross-only auto-spectrum, ⟨4 Ĉ^×[φ̂[d,s]] − 2 Ĉ^×[φ̂[s,s']]⟩; the simulations are read once, in turn.

    Parameters
    ----------
    simulations : iterable of (mixed, simulated)
        For each simulation s the pairs φ̂⁽ⁱʲ⁾[d,s] of data and simulation, and φ̂⁽ⁱʲ⁾[s,s'] of it and another,
        independent one, as `pair_estimates` makes and `split_spectrum` takes them; at least two simulations.
        Neither kind has a mean field.

    Raises
    ------
    ValueError
        For fewer than two simulations, and see `split_spectrum`.
    """
    return split_cross_rdn0(((mixed, mixed), (simulated, simulated)) for mixed, simulated in simulations)


def split_cross_rdn0(simulations: Iterable[tuple[tuple[Pairs, Pairs], tuple[Pairs, Pairs]]]) -> SplitBias:
    """RDN0 of the cross-only spectrum of two estimators α and β, ⟨4 Ĉ^×[α̂[d,s], β̂[d,s]] − 2 Ĉ^×[α̂[s,s'], β̂[s,s']]⟩.

    Parameters
    ----------
    simulations : iterable of ((α mixed, β mixed), (α simulated, β simulated))
        See `split_rdn0`; both estimators from the same s and s'.
    """
    count = 0
    mean: NDArray = np.zeros(())
    scatter: NDArray = np.zeros(())
    gaussian: NDArray = np.zeros(())
    for mixed, simulated in simulations:
        count += 1
        bias = 2.0 * split_spectrum(*simulated)
        gaussian = gaussian + bias
        value = 4.0 * split_spectrum(*mixed) - bias
        step = value - mean
        mean = mean + step / count
        scatter = scatter + step * (value - mean)
    if count < 2:
        raise ValueError(f"RDN0 needs at least 2 simulations, got {count}")
    return SplitBias(mean, np.sqrt(scatter / (count - 1) / count), gaussian / count, count)


def _stacked(pairs: Pairs, least: int) -> tuple[NDArray, int]:
    """All pairs i < j as an array (m(m−1)/2, ..., nalm), and m."""
    if isinstance(pairs, Mapping):
        named: dict[tuple[int, int], NDArray] = {}
        for (i, j), estimate in pairs.items():
            if i != j and (min(i, j), max(i, j)) in named:
                raise ValueError(f"the pair of splits {(i, j)} is there twice: give the symmetrised estimate once")
            named[min(i, j), max(i, j)] = estimate
        m = 1 + max((j for _, j in named), default=-1)
        missing = [pair for pair in split_pairs(m) if pair not in named]
        if missing:
            raise ValueError(f"the pair of splits {missing[0]} is missing, as one of {m} splits numbered from 0")
        stack = np.stack([named[pair] for pair in split_pairs(m)]) if m > 1 else np.zeros((0, 1))
    else:
        stack = pairs
        m = int((1 + np.sqrt(1 + 8 * len(stack))) / 2 + 0.5)
        if m * (m - 1) // 2 != len(stack):
            raise ValueError(f"an array of {len(stack)} pairs fits no number m of splits: m(m−1)/2 are expected")
    if m < least:
        raise ValueError(f"at least {least} splits are needed, got {m}")
    return stack, m


def _sums(stack: NDArray, m: int) -> tuple[NDArray, NDArray]:
    """α_∗, as an array (1, ..., nalm), and all α_i, (m, ..., nalm), in double precision: the spectra cancel in part."""
    rows = np.zeros((m, *stack.shape[1:]), dtype=np.result_type(stack, np.complex128))
    for (i, j), estimate in zip(split_pairs(m), stack, strict=True):
        rows[i] += estimate
        rows[j] += estimate
    return rows.sum(axis=0, keepdims=True), rows


def _summed_spectra(a: NDArray, b: NDArray) -> NDArray[np.float64]:
    """Σ_n C_L(a_n, b_n) for arrays (n, ..., nalm); array (..., lmax+1)."""
    leading = a.shape[1:-1]
    spectra = [sum(map(alm_to_cl, a[:, *at], b[:, *at])) for at in np.ndindex(leading)]
    return np.stack(spectra).reshape(*leading, -1)

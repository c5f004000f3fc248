"""The Gaussian bias N0 of one sky: from its own power and from its pairings with simulations.

The four-point function of a map has a disconnected part, N0, which is far larger than C_L^φφ at high L. Taken from a
model it is as wrong as the model: a relative error δ of the power is one of 2δ in N0. With d the data and s, s′
independent simulations, and q̄(a, b) = ½ [q(a, b) + q(b, a)],

    RDN0_L = ⟨4 C_L[q̄(d, s)] − 2 C_L[q̄(s, s′)]⟩,        MCN0_L = ⟨2 C_L[q̄(s, s′)]⟩,

is the disconnected part to first order in what is wrong with the simulations: were all their power off by (1 + δ),
RDN0/N0 − 1 = 2(1 + δ) − (1 + δ)² − 1 = −δ². It also takes off what band powers of φ̂ share for reading one
realisation of the CMB (Namikawa, Hanson & Takahashi 2013, arXiv:1209.0091; Planck 2015 XV, arXiv:1502.01591,
appendix A). Simulations are Gaussian, or lensed by independent φ: all that they share with data or each other is power.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lensrec.quadratic.combination import minimum_variance_weights
from lensrec.quadratic.response import Normalisation
from lensrec.sphere.alm import alm_to_cl


@dataclass(frozen=True)
class GaussianBias:
    """Bias of the spectra of φ̂ and Ω̂, (2, lmax+1), and its Monte-Carlo error.

    Attributes
    ----------
    n0 : array (2, lmax+1)
        The mean over simulations.
    sigma : array (2, lmax+1)
        Standard error of that mean, from the scatter of single simulations; of the same data they are not independent
        below the power of those data, so it is that of the simulations alone.
    count : int
        Number of simulations.
    """

    n0: NDArray[np.float64]
    sigma: NDArray[np.float64]
    count: int


def realisation_dependent(data_sim: Iterable[NDArray], sim_sim: Iterable[NDArray]) -> GaussianBias:
    """RDN0 from pair spectra.

    Parameters
    ----------
    data_sim : iterable of array (2, lmax+1)
        C_L[q̄(d, sᵢ)] of each simulation, normalised like the estimate whose bias is asked for: see `pair_spectra`.
    sim_sim : iterable of array (2, lmax+1)
        C_L[q̄(sᵢ, s′ᵢ)]; as many, s′ᵢ being the next simulation, say.

    Raises
    ------
    ValueError
        For fewer than two simulations, or numbers of them that differ.
    """
    crossed, simulated = np.stack(list(data_sim)), np.stack(list(sim_sim))
    if crossed.shape != simulated.shape or len(crossed) < 2:
        raise ValueError(
            f"RDN0 needs as many pairs (data, sim) as (sim, sim'), two or more; got {len(crossed)} and {len(simulated)}"
        )
    return _mean(4.0 * crossed - 2.0 * simulated)


def monte_carlo(sim_sim: Iterable[NDArray]) -> GaussianBias:
    """MCN0: the bias that the simulations themselves would have."""
    return _mean(2.0 * np.stack(list(sim_sim)))


def pair_spectra(estimate: NDArray, other: NDArray | None = None) -> NDArray[np.float64]:
    """Spectra of φ and Ω, (2, lmax+1), of a pair estimate (2, nalm), or between those of two estimators."""
    other = estimate if other is None else other
    return np.stack([alm_to_cl(a, b) for a, b in zip(estimate, other, strict=True)])


def semi_analytic(
    noise_of: Callable[[Mapping[str, NDArray]], NDArray],
    fiducial: Mapping[str, NDArray],
    measured: Mapping[str, NDArray],
    *,
    expected: NDArray | None = None,
) -> NDArray[np.float64]:
    """Semi-analytic RDN0: the noise N0[C, C′], bilinear in the total spectra, of measured and fiducial power.

    Parameters
    ----------
    noise_of : function of total spectra
        N0, or ⟨q q*⟩, (2, lmax+1), of Gaussian fields with the given power in filters and weights that stay as they
        are; quadratic in it. `mv_noise` makes one.
    fiducial, measured : mapping of "TT", "EE", "BB", "TE" to array
        Total power that the simulations have, and that of the data: Ĉ_ℓ of each multipole, unbinned.
    expected : array, optional
        noise_of(fiducial), where it has been made before.

    Returns
    -------
    array (2, lmax+1)
        2 N0[Ĉ, C] − N0[C, C] = N0[C] + ½ (N0[Ĉ] − N0[2C − Ĉ]).

    Notes
    -----
    What `realisation_dependent` averages to for infinitely many simulations of an unmasked sky, but for the phases of
    the data's a_ℓm (Peloton et al. 2017, arXiv:1611.01446). Where Ĉ = C it is N0.
    """
    mirrored = {key: 2.0 * np.asarray(fiducial[key]) - measured[key] for key in fiducial}
    plain = noise_of(fiducial) if expected is None else expected
    return plain + 0.5 * (noise_of(measured) - noise_of(mirrored))


def combined_noise(norm: Normalisation, weights: Mapping[str, NDArray] | None = None) -> NDArray[np.float64]:
    """Gaussian noise of Σ_α w^α φ̂^α with given weights, (2, lmax+1); with those of least variance by default."""
    weights = minimum_variance_weights(norm)[0] if weights is None else weights
    return np.asarray(sum(weights[a] * weights[b] * norm.n0(a, b) for a in weights for b in weights))


def _mean(spectra: NDArray) -> GaussianBias:
    count = len(spectra)
    spread = spectra.std(0, ddof=1) if count > 1 else np.full(spectra.shape[1:], np.inf)
    return GaussianBias(spectra.mean(0), spread / np.sqrt(count), count)

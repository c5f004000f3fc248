"""Forecasts of errors: Fisher matrices of surveys of the CMB, its lensing, and BAO, and what they say of Σmν and A_L.

A survey with Planck has independent parts of the sky: its own f_sky with the maps of both, summed with the weights of
inverse variance (Planck's alone below the survey's ℓ_min); Planck's TT, TE, EE, 30 ≤ ℓ ≤ 2500, on the rest of 65 % of
the sky; and Planck's TT, 2 ≤ ℓ < 30. Low-ℓ polarisation is a prior on τ. That is how the Simons Observatory's forecasts
add Planck (arXiv:1808.07445). Lensing is the survey's alone.

For data d(θ) of a fixed covariance C, F = ∂d C⁻¹ ∂dᵀ; errors are those of the inverse, the prior on τ and BAO added. A
parameter held at a wrong value, off by δ, moves the others by

    δθ = −F_ff⁻¹ F_fh δ      (f free, h held, at wrong value minus truth).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lensrec.fit.forecast_bao import survey
from lensrec.fit.forecast_covariance import AMPLITUDES, Block, LensedTheory, Range, cmb_block
from lensrec.fit.forecast_noise import (
    PLANCK,
    Experiment,
    combined_noise,
    noise_spectra,
    reconstruction_noise,
)
from lensrec.fit.forecast_theory import FIDUCIAL, Responses
from lensrec.theory.spectra import Spectra

LCDM = ("ombh2", "omch2", "thetastar", "logA", "ns", "tau")
TAU_PRIORS: Mapping[str, float] = {"planck": 0.01, "planck_2018": 0.0073, "cosmic_variance": 0.002}
"""σ(τ): what SO's forecasts take for Planck; Planck 2018 VI (arXiv:1807.06209); E modes of the whole sky, 2 ≤ ℓ < 30,
measured to cosmic variance."""

BLIND = 1e30
"""Noise in µK² where an experiment doesn't measure."""


def survey_noise(experiment: Experiment, lmax: int, *, own: Mapping[str, NDArray] | None = None) -> Spectra:
    """N_ℓ/b_ℓ² in the experiment's sky, with Planck where that is added, µK², (lmax+1,).

    Parameters
    ----------
    own : mapping of "TT", "EE", "BB" to array, optional
        In place of the noise of the experiment's channels, from ℓ = 0, BLIND where nothing is measured, and beyond its
        end. It is taken to have Planck's in it already: that is added where this is blind alone.
    """
    if own is None:
        noise = noise_spectra(experiment.channels, lmax)
    else:
        noise = {key: np.full(lmax + 1, BLIND) for key in ("TT", "EE", "BB")}
        for key, cl in own.items():
            noise[key][: len(cl)] = cl[: lmax + 1]
    for cl in noise.values():
        cl[: experiment.lmin] = BLIND
    if not experiment.planck:
        return noise
    planck = noise_spectra(PLANCK.channels, lmax)
    for key, cl in planck.items():
        cl[PLANCK.lmax + 1 :] = BLIND
        if own is not None:
            cl[noise[key] < BLIND] = BLIND
    return combined_noise(noise, planck)


def survey_reconstruction(
    theory: Responses, experiment: Experiment, *, own: Mapping[str, NDArray] | None = None, nthreads: int = 0
) -> NDArray[np.float64]:
    """N0_L of the experiment's φ̂, (phi_lmax+1,): `reconstruction_noise` of `survey_noise`, times `n0_factor`."""
    shape = theory.layout
    limit = experiment.recon_lmax or experiment.lmax
    return experiment.n0_factor * reconstruction_noise(
        shape.spectra(theory.value),
        shape.cl_phi(theory.value),
        survey_noise(experiment, experiment.lmax, own=own),
        lmin=max(experiment.recon_lmin, _lmin(experiment)),
        lmax_t=min(experiment.lmax_t, limit),
        lmax_p=min(experiment.lmax_p, limit),
        lmax_phi=experiment.phi_lmax,
        iterations=experiment.iterations,
        nthreads=nthreads,
    )


def survey_blocks(
    theory: LensedTheory,
    experiment: Experiment,
    n0: NDArray,
    *,
    own_sky: LensedTheory | None = None,
    own: Mapping[str, NDArray] | None = None,
) -> list[Block]:
    """The CMB of a survey, with Planck's where that is added.

    Parameters
    ----------
    theory : LensedTheory
        Of the lensed sky.
    experiment : Experiment
    n0 : array (phi_lmax+1,)
        Of φ̂: `survey_reconstruction`, or published.
    own_sky : LensedTheory, optional
        Of the survey's part of the sky where that is delensed: `lensed_theory` with this n0. Planck's stays lensed.
    own : mapping, optional
        See `survey_noise`.
    """
    here = theory if own_sky is None else own_sky
    low = _lmin(experiment)
    ranges = {
        "TT": Range(low, experiment.lmax_t),
        "TE": Range(low, min(experiment.lmax_t, experiment.lmax_p)),
        "EE": Range(low, experiment.lmax_p),
        "PP": Range(experiment.phi_lmin, experiment.phi_lmax + 1),
    }
    noise = survey_noise(experiment, here.lmax, own=own)
    blocks = [cmb_block(experiment.name, here, noise, ranges, experiment.fsky, n0=n0)]
    planck = survey_noise(PLANCK, theory.lmax)
    if experiment.planck and PLANCK.fsky > experiment.fsky:
        rest = {key: Range(PLANCK.lmin, min(PLANCK.lmax, theory.lmax)) for key in ("TT", "TE", "EE")}
        blocks.append(cmb_block("planck_rest", theory, planck, rest, PLANCK.fsky - experiment.fsky))
    if experiment.planck or experiment == PLANCK:
        seen = noise_spectra(PLANCK.channels, theory.lmax)
        blocks.append(cmb_block("planck_low", theory, seen, {"TT": Range(2, PLANCK.lmin)}, PLANCK.fsky))
    return blocks


def _lmin(experiment: Experiment) -> int:
    return min(experiment.lmin, PLANCK.lmin) if experiment.planck else experiment.lmin


def bao_block(theory: Responses, name: str) -> Block:
    """BAO of a survey of `forecast_bao`, "full" or "dr2"; they know of no A_L."""
    shape = theory.layout
    distances = survey(
        name,
        shape.distances(theory.value),
        np.stack([shape.distances(row) for row in theory.first]),
        shape.tail(theory.value)["r_d"],
        theory.derived("r_d"),
    )
    padded = np.vstack([distances.derivatives, np.zeros((len(AMPLITUDES), len(distances.covariance)))])
    return Block(f"desi_{name}", padded, distances.covariance, {"BAO": len(distances.covariance)})


@dataclass(frozen=True, eq=False)
class Forecast:
    """Errors of free parameters.

    Attributes
    ----------
    parameters : tuple of str
        Those free.
    covariance : array (p, p)
    fisher : array (p, p)
        Its inverse, priors included.
    held : dict of str to array (p,)
        −F_ff⁻¹ F_fh for each parameter held: what a unit of its being wrong moves the free ones by.
    assumed : dict of str to str or float
        What was put in.
    """

    parameters: tuple[str, ...]
    covariance: NDArray[np.float64]
    fisher: NDArray[np.float64]
    held: dict[str, NDArray[np.float64]]
    assumed: dict[str, str | float]

    def sigma(self, name: str) -> float:
        """1σ error."""
        k = self._index(name)
        return float(np.sqrt(self.covariance[k, k]))

    def correlation(self, first: str, second: str) -> float:
        """Correlation coefficient of two parameters."""
        return float(self.ellipse(first, second)[0, 1] / (self.sigma(first) * self.sigma(second)))

    def ellipse(self, first: str, second: str) -> NDArray[np.float64]:
        """Their covariance, (2, 2), all others marginalised over."""
        k = [self._index(first), self._index(second)]
        return self.covariance[np.ix_(k, k)]

    def pull(self, free: str, held: str, shift: float) -> float:
        """What `free` moves by when `held` is taken to be `shift` above its true value."""
        if held not in self.held:
            raise ValueError(f"{held} is not among the parameters held: {', '.join(self.held) or 'none'}")
        return float(self.held[held][self._index(free)] * shift)

    def _index(self, name: str) -> int:
        if name not in self.parameters:
            raise ValueError(f"{name} is not free in this forecast; free are {', '.join(self.parameters)}")
        return self.parameters.index(name)


def forecast(
    fisher: NDArray,
    parameters: Sequence[str],
    free: Sequence[str],
    *,
    priors: Mapping[str, float] | None = None,
    assumed: Mapping[str, str | float] | None = None,
) -> Forecast:
    """Errors of `free` parameters, the rest held.

    Parameters
    ----------
    fisher : array (q, q)
        `fisher_matrix` of all blocks, in the order of `parameters`.
    parameters : sequence of str
    free : sequence of str
        Those that are fitted.
    priors : mapping of name to σ, optional
        Gaussian.
    assumed : mapping, optional
        Kept with the result.

    Raises
    ------
    ValueError
        For a parameter that is not there, or a combination that the data don't constrain.
    """
    unknown = sorted((set(free) | set(priors or {})) - set(parameters))
    if unknown:
        raise ValueError(f"no derivatives by {', '.join(unknown)}; there are those by {', '.join(parameters)}")
    total = np.array(fisher, dtype=np.float64)
    for name, sigma in (priors or {}).items():
        k = list(parameters).index(name)
        total[k, k] += sigma**-2
    at = [list(parameters).index(name) for name in free]
    held = [k for k in range(len(parameters)) if k not in at]
    own = total[np.ix_(at, at)]
    scale = np.sqrt(np.diag(own))
    if not (scale > 0).all():
        names = ", ".join(name for name, s in zip(free, scale, strict=True) if not s > 0)
        raise ValueError(f"the data say nothing of {names}: hold it, or add a prior")
    unit = own / np.outer(scale, scale)
    lowest = float(np.linalg.eigvalsh(unit)[0])
    # below, what double precision leaves of an inverse is not worth calling an error
    if lowest < 1e-11:
        raise ValueError(f"the data leave a combination of {', '.join(free)} free (eigenvalue {lowest:.0e})")
    covariance = np.linalg.inv(unit) / np.outer(scale, scale)
    moves = -covariance @ total[np.ix_(at, held)]
    return Forecast(
        tuple(free),
        covariance,
        own,
        {parameters[k]: moves[:, column] for column, k in enumerate(held)},
        dict(assumed or {}),
    )


def names(theory: Responses) -> tuple[str, ...]:
    """Parameters in the order of a block's derivatives."""
    return (*theory.parameters, *AMPLITUDES)


def derived_sigma(result: Forecast, theory: Responses, name: str) -> float:
    """Error of "H0" (km/s/Mpc), "omega_m" or "r_d" (Mpc), to first order."""
    slopes = theory.derived(name)
    gradient = np.array(
        [slopes[theory.parameters.index(p)] if p in theory.parameters else 0.0 for p in result.parameters]
    )
    return float(np.sqrt(gradient @ result.covariance @ gradient))


def fiducial_values(theory: Responses, free: Sequence[str]) -> NDArray[np.float64]:
    """θ at the fiducial point, 1 for each A_L, (p,)."""
    return np.array([theory.fiducial[name] if name in FIDUCIAL else 1.0 for name in free])

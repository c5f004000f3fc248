"""The two lensing amplitudes of one set of band powers: A_L^TTTEEE of the smoothing, A_L^φφ of the potential.

Gaussian likelihood of the band powers about `fit.band_power_model`, with Gaussian priors. Any parameter may be held:
all six of ΛCDM for amplitudes at a fixed cosmology. Spectra, ranges of ℓ and of L by themselves are selections of the
data (`LinearData.selected`).

Note that with ΛCDM free A_L^φφ is relative to the C_L^φφ of the parameters that fit the CMB while A_L^TTTEEE is free,
which is not that of the best fit with A_L^TTTEEE = 1; published values of A_L^φφ are relative to the latter, and
fixed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lensrec.fit.band_power_model import CALIBRATION, EFFICIENCY, PARAMETERS, POTENTIAL, SMOOTHING, BandPowerModel
from lensrec.fit.posterior import BestFit, WeightedSamples, gauss_newton, importance_samples
from lensrec.spectra.linear_data import CMB_BLOCKS, LinearData
from lensrec.theory.acoustic_scale import PARAMETERS as COSMOLOGY

Prior = tuple[float, float]

PLANCK_PRIORS: Mapping[str, Prior] = MappingProxyType({"tau": (0.0544, 0.0073), CALIBRATION: (1.0, 0.0025)})
"""Means and standard deviations: τ of Planck 2018 VI (arXiv:1807.06209), and A_planck = 1 ± 0.0025 (1907.12875)."""

TEMPLATE = 0.18
"""Excess smoothing of the template in pictures."""

REACH = 3.0
"""Steps from the centre of a response surface, each two of Planck's σ, up to which its second order is relied on."""

SMOOTHING_REACH = (0.0, 2.4)
"""A_L^TTTEEE for which the surface's powers of it are good to 3e-5 (`lensrec.fit.response_surface`)."""

_CHUNK = 2000


@dataclass(frozen=True, eq=False)
class Split:
    """The posterior of both amplitudes, with what else was free.

    Attributes
    ----------
    names : tuple of str
        Of the p free parameters.
    best_fit : array (p,)
    samples : WeightedSamples
        Of the free parameters, as `names` orders them; mean and covariance are its.
    derived : dict of str to array (draws,)
        H0 and Ω_m of each sample; empty where all of ΛCDM is held.
    fixed, priors : dicts
        Values held, and (mean, standard deviation) of the priors that were used.
    chi2 : float
        At the best fit, of band powers and priors together.
    ndof : int
        Band powers + priors − free parameters.
    chi2_blocks : dict of str to (float, int)
        χ² of each block by itself, with its own part of the covariance, and its number of band powers. Blocks are
        correlated: these do not add up to `chi2`.
    chi2_equal : float or None
        χ² of the best fit with one amplitude for both, if there is one.
    parameters : array (10,)
        All of `band_power_model.PARAMETERS` at the best fit.
    model, residual, template : arrays (n,)
        Of each band power: best fit, data − best fit, and 0.18 ∂/∂A_L^TTTEEE there.
    warnings : tuple of str
        A line for every parameter, free or held, that the best fit has where the response surface is not good.
    """

    names: tuple[str, ...]
    best_fit: NDArray[np.float64]
    samples: WeightedSamples
    derived: Mapping[str, NDArray[np.float64]]
    fixed: Mapping[str, float]
    priors: Mapping[str, Prior]
    chi2: float
    ndof: int
    chi2_blocks: Mapping[str, tuple[float, int]]
    chi2_equal: float | None
    parameters: NDArray[np.float64]
    model: NDArray[np.float64]
    residual: NDArray[np.float64]
    template: NDArray[np.float64]
    warnings: tuple[str, ...] = ()

    @property
    def mean(self) -> NDArray[np.float64]:
        """Posterior means, (p,)."""
        return self.samples.mean

    @property
    def covariance(self) -> NDArray[np.float64]:
        """Posterior covariance, (p, p)."""
        return self.samples.covariance

    @property
    def sigma(self) -> NDArray[np.float64]:
        """Posterior standard deviations, (p,)."""
        return np.sqrt(np.diag(self.covariance))

    @property
    def correlation(self) -> float | None:
        """Of the two amplitudes; None unless both are free."""
        if not self._both:
            return None
        i, j = self.names.index(SMOOTHING), self.names.index(POTENTIAL)
        return float(self.covariance[i, j] / (self.sigma[i] * self.sigma[j]))

    @property
    def delta(self) -> Prior | None:
        """Mean and standard deviation of A_L^TTTEEE − A_L^φφ; None unless both are free."""
        if not self._both:
            return None
        sign = np.array([float(name == SMOOTHING) - float(name == POTENTIAL) for name in self.names])
        return float(sign @ self.mean), float(np.sqrt(sign @ self.covariance @ sign))

    def summary(self) -> dict[str, Any]:
        """Numbers for split.json; what was not fitted is None."""
        from scipy.stats import chi2, norm

        mean, sigma = self.mean, self.sigma
        parameters = {
            name: {"mean": float(mean[k]), "sigma": float(sigma[k]), "best_fit": float(self.best_fit[k])}
            for k, name in enumerate(self.names)
        }
        delta = self.delta
        n_sigma = None if delta is None else delta[0] / delta[1]
        return {
            **{name: _mean_and_sigma(parameters.get(name)) for name in (SMOOTHING, POTENTIAL)},
            "correlation": self.correlation,
            "delta": None if delta is None else {"mean": delta[0], "sigma": delta[1]},
            "delta_n_sigma": n_sigma,
            "delta_pte": None if n_sigma is None else float(2 * norm.sf(abs(n_sigma))),
            "delta_chi2": None if self.chi2_equal is None else self.chi2_equal - self.chi2,
            "chi2": self.chi2,
            "ndof": self.ndof,
            "chi2_pte": float(chi2.sf(self.chi2, self.ndof)),
            "chi2_blocks": {key: {"chi2": value, "n": n} for key, (value, n) in self.chi2_blocks.items()},
            "parameters": parameters,
            "derived": {key: _weighted(values, self.samples.weights) for key, values in self.derived.items()},
            "fixed": dict(self.fixed),
            "priors": {key: {"mean": m, "sigma": s} for key, (m, s) in self.priors.items()},
            "effective_samples": self.samples.effective,
            "warnings": list(self.warnings),
        }

    def _repr_html_(self) -> str:
        from lensrec.showing import html

        return html(self)

    @property
    def _both(self) -> bool:
        return {SMOOTHING, POTENTIAL} <= set(self.names)


def split(
    data: LinearData,
    model: BandPowerModel,
    *,
    priors: Mapping[str, Prior] = MappingProxyType({}),
    fixed: Mapping[str, float] = MappingProxyType({}),
    draws: int = 10000,
    rng: np.random.Generator,
) -> Split:
    """Fit both lensing amplitudes, ΛCDM and calibrations to band powers.

    Parameters
    ----------
    data : LinearData
    model : BandPowerModel
        Of the same band powers; it may come from other data with the same windows.
    priors : mapping of str to (mean, standard deviation)
        By names of `band_power_model.PARAMETERS`; PLANCK_PRIORS for plik_lite. Those on what is held are not used.
    fixed : mapping of str to float
        Parameters held, and where. Calibration and efficiency without a prior are held at 1, and so is the
        amplitude of which the data have no block.
    draws : int
        Samples of the posterior.
    rng : Generator

    Raises
    ------
    ValueError
        For an unknown parameter, data that the model is not of, a covariance that is not positive definite, or
        parameters that data and priors do not fix.
    """
    if unknown := sorted({*priors, *fixed} - set(PARAMETERS)):
        raise ValueError(f"no parameter {', '.join(unknown)}; there are {', '.join(PARAMETERS)}")
    if len(data) != len(model.offset):
        raise ValueError(f"{data.name} has {len(data)} band powers, but the model is of {len(model.offset)}")
    held = {**_left_out(data, priors), **fixed}
    names = tuple(name for name in PARAMETERS if name not in held)
    free = any(name in COSMOLOGY for name in names)
    used = {name: priors[name] for name in names if name in priors}
    likelihood = _Likelihood(data, model, names, held, used)
    best = gauss_newton(likelihood.whitened, likelihood.start, names)
    samples = importance_samples(likelihood.chi2, best, draws=draws, rng=rng)
    x = likelihood.full(best.x)
    expected = model.value(x)
    residual = data.mean - expected
    return Split(
        names=names,
        best_fit=best.x,
        samples=samples,
        derived=model.surface.derived(likelihood.full(samples.points)[:, : len(COSMOLOGY)]) if free else {},
        fixed=held,
        priors=used,
        chi2=best.chi2,
        ndof=len(data) + len(used) - len(names),
        chi2_blocks=_by_block(data, residual),
        chi2_equal=_equal_amplitudes(likelihood, best) if {SMOOTHING, POTENTIAL} <= set(names) else None,
        parameters=x,
        model=expected,
        residual=residual,
        template=TEMPLATE * model.jacobian(x)[:, PARAMETERS.index(SMOOTHING)],
        warnings=_beyond_the_surface(model, x),
    )


class _Likelihood:
    """Whitened residuals of band powers and priors as functions of the free parameters."""

    def __init__(
        self,
        data: LinearData,
        model: BandPowerModel,
        names: tuple[str, ...],
        held: Mapping[str, float],
        priors: Mapping[str, Prior],
    ) -> None:
        from scipy.linalg import solve_triangular

        try:
            root = np.linalg.cholesky(data.covariance)
        except np.linalg.LinAlgError:
            raise ValueError(f"{data.name}: the covariance of the band powers is not positive definite") from None
        self.names, self.data, self.model = names, data, model
        self._unroot = solve_triangular(root, np.eye(len(data)), lower=True)
        self._free = [PARAMETERS.index(name) for name in names]
        self._base = model.start.copy()
        for name, value in held.items():
            self._base[PARAMETERS.index(name)] = value
        self._prior_rows = [names.index(name) for name in priors]
        self._prior_mean, self._prior_sigma = (np.array([prior[k] for prior in priors.values()]) for k in (0, 1))
        self.start = self._base[self._free]

    def full(self, x: NDArray) -> NDArray[np.float64]:
        """All PARAMETERS, (…, 10), for the free ones (…, p)."""
        out = np.tile(self._base, (*x.shape[:-1], 1))
        out[..., self._free] = x
        return out

    def whitened(self, x: NDArray) -> tuple[NDArray, NDArray]:
        full = self.full(x)
        unit = np.eye(len(x))[self._prior_rows] / self._prior_sigma[:, None]
        residual = np.concatenate([self._unroot @ (self.model.value(full) - self.data.mean), self._pulls(x)])
        return residual, np.vstack([self._unroot @ self.model.jacobian(full)[:, self._free], unit])

    def chi2(self, x: NDArray) -> NDArray[np.float64]:
        """Of band powers and priors, for (draws, p)."""
        parts = np.split(x, range(_CHUNK, len(x), _CHUNK))
        whitened = ((self.model.value(self.full(part)) - self.data.mean) @ self._unroot.T for part in parts)
        return np.concatenate([np.einsum("sn,sn->s", r, r) for r in whitened]) + np.sum(self._pulls(x) ** 2, axis=-1)

    def _pulls(self, x: NDArray) -> NDArray[np.float64]:
        return (x[..., self._prior_rows] - self._prior_mean) / self._prior_sigma


def _left_out(data: LinearData, priors: Mapping[str, Prior]) -> dict[str, float]:
    """What is held at 1 unless it is asked for."""
    blocks = set(data.block.tolist())
    held = {name: 1.0 for name in (CALIBRATION, EFFICIENCY) if name not in priors}
    if not blocks & set(CMB_BLOCKS):
        held[SMOOTHING] = 1.0
    if "PP" not in blocks:
        held[POTENTIAL] = 1.0
    return held


def _beyond_the_surface(model: BandPowerModel, x: NDArray) -> tuple[str, ...]:
    """Where PARAMETERS (10,) are farther from the centre of the surface than it is good."""
    about = model.surface.potential
    values = dict(zip(PARAMETERS, x.tolist(), strict=True))
    steps = dict(zip(COSMOLOGY, (x[: len(COSMOLOGY)] - about.centre) / about.steps, strict=True))
    lines = [
        f"{name} = {values[name]:.5g} is {abs(step):.1f} steps from the centre of the response surface, "
        f"which is good up to {REACH:g}"
        for name, step in steps.items()
        if abs(step) > REACH
    ]
    low, high = SMOOTHING_REACH
    if not low <= values[SMOOTHING] <= high:
        lines.append(f"{SMOOTHING} = {values[SMOOTHING]:.3g}: the response surface is good from {low:g} to {high:g}")
    return tuple(lines)


def _equal_amplitudes(likelihood: _Likelihood, best: BestFit) -> float | None:
    """χ² of the best fit along A_L^TTTEEE = A_L^φφ; None where data that hardly know one of them have no minimum."""
    names = likelihood.names
    i, j = names.index(SMOOTHING), names.index(POTENTIAL)
    tie = np.delete(np.eye(len(names)), j, axis=1)
    tie[j, i] = 1.0

    def whitened(y: NDArray) -> tuple[NDArray, NDArray]:
        residual, jacobian = likelihood.whitened(tie @ y)
        return residual, jacobian @ tie

    try:
        return gauss_newton(whitened, np.delete(best.x, j), tuple(name for name in names if name != POTENTIAL)).chi2
    except ValueError:
        return None


def _by_block(data: LinearData, residual: NDArray) -> dict[str, tuple[float, int]]:
    out = {}
    for block in dict.fromkeys(data.block.tolist()):
        rows = data.block == block
        r = residual[rows]
        out[block] = (float(r @ np.linalg.solve(data.covariance[np.ix_(rows, rows)], r)), int(rows.sum()))
    return out


def _weighted(values: NDArray, weights: NDArray) -> dict[str, float]:
    mean = float(weights @ values)
    return {"mean": mean, "sigma": float(np.sqrt(weights @ (values - mean) ** 2))}


def _mean_and_sigma(parameter: Mapping[str, float] | None) -> dict[str, float] | None:
    return None if parameter is None else {key: parameter[key] for key in ("mean", "sigma")}

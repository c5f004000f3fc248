"""One likelihood of several data sets: whitened residuals of each, Gaussian priors, and a box.

Every data set is a function from named parameters to a residual r with −2 ln L = |r|² (`Part`), so that a covariance
follows by Gauss–Newton, (JᵀJ)⁻¹, a best fit and a chain by the sum of squares, and all see the same numbers.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lensrec.fit.posterior import BestFit

Prior = tuple[float, float]

_FAR = 1e12
"""χ² that a search sees where there is no model."""

_NEAR = 1e-2
"""Vertical distance to the minimum, in χ², that will do where Minuit is not content: 1 is one σ."""


@dataclass(frozen=True, eq=False)
class Part:
    """What one data set says.

    Attributes
    ----------
    name : str
    residual : callable
        Of all parameters by name, whitened model − data, (n,). A ValueError from it means that there is no such model;
        a number that is not finite is an error of the model's, and stops whoever asked.
    n : int
        Number of data.
    """

    name: str
    residual: Callable[[Mapping[str, float]], NDArray[np.float64]]
    n: int


@dataclass(frozen=True, eq=False)
class JointLikelihood:
    """Data sets, priors and bounds as functions of the free parameters.

    Attributes
    ----------
    parts : sequence of Part
    bounds : mapping of name to (low, high)
        Of the free parameters, in their order: flat in between, nothing outside.
    start, steps : mappings of name to float
        Where to begin, and over how much each parameter is moved for derivatives: some tenths of its expected σ.
    held : mapping of name to float
    priors : mapping of name to (mean, standard deviation)
    """

    parts: Sequence[Part]
    bounds: Mapping[str, tuple[float, float]]
    start: Mapping[str, float]
    steps: Mapping[str, float]
    held: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    priors: Mapping[str, Prior] = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        if both := set(self.bounds) & set(self.held):
            raise ValueError(f"{', '.join(sorted(both))} cannot be free and held at once")
        if unknown := set(self.priors) - set(self.bounds) - set(self.held):
            raise ValueError(f"a prior on {', '.join(sorted(unknown))}, which is no parameter here")
        for what, given in (("start", self.start), ("step", self.steps)):
            if missing := [name for name in self.bounds if name not in given]:
                raise ValueError(f"no {what} for {', '.join(missing)}")
        if empty := [name for name, (low, high) in self.bounds.items() if not low < high]:
            raise ValueError(f"no room between the bounds of {', '.join(empty)}")
        if wrong := [name for name, (_, sigma) in self.priors.items() if not 0 < sigma < np.inf]:
            raise ValueError(f"the width of the prior on {', '.join(wrong)} must be positive")

    @property
    def names(self) -> tuple[str, ...]:
        """Of the free parameters."""
        return tuple(self.bounds)

    @property
    def n_data(self) -> int:
        """Data, and priors on free parameters."""
        return sum(part.n for part in self.parts) + len(self._own_priors)

    def full(self, x: ArrayLike) -> dict[str, float]:
        """All parameters by name, for the free ones (p,)."""
        return {**self.held, **dict(zip(self.names, np.asarray(x, dtype=np.float64).tolist(), strict=True))}

    def inside(self, x: ArrayLike) -> bool:
        """Whether the free parameters lie in the box."""
        return all(low <= value <= high for value, (low, high) in zip(np.asarray(x), self.bounds.values(), strict=True))

    def residual(self, x: ArrayLike) -> NDArray[np.float64]:
        """Whitened residuals of the data and then of the priors.

        Raises
        ------
        ValueError
            If there is no such model.
        FloatingPointError
            If a model gives a number that is not finite.
        """
        parameters = self.full(x)
        pulls = [(parameters[name] - mean) / sigma for name, (mean, sigma) in self._own_priors.items()]
        found = []
        for part in self.parts:
            r = part.residual(parameters)
            if not np.all(np.isfinite(r)):
                at = ", ".join(f"{name} = {value:g}" for name, value in parameters.items())
                raise FloatingPointError(f"{part.name}: the model is not finite at {at}")
            found.append(r)
        return np.concatenate([*found, np.array(pulls)])

    def chi2(self, x: ArrayLike) -> float:
        """−2 ln of likelihood times Gaussian priors; infinite outside the box, and where there is no model."""
        if not self.inside(x):
            return np.inf
        try:
            r = self.residual(x)
        except ValueError:
            return np.inf
        return float(r @ r)

    def chi2_parts(self, x: ArrayLike) -> dict[str, tuple[float, int]]:
        """χ² of each data set and its number of data."""
        parameters = self.full(x)
        return {part.name: (float(np.sum(part.residual(parameters) ** 2)), part.n) for part in self.parts}

    def whitened(self, x: NDArray) -> tuple[NDArray, NDArray]:
        """r and J = ∂r/∂x by central differences, one-sided at the edge of the box, or of where there are models.

        Raises
        ------
        ValueError
            If there is no model at x, or none on either side of it.
        """
        x = np.array(x, dtype=np.float64)
        here = self.residual(x)
        columns = []
        for k, (name, (low, high)) in enumerate(self.bounds.items()):
            sides = []
            for moved in (min(x[k] + self.steps[name], high), max(x[k] - self.steps[name], low)):
                side = x.copy()
                side[k] = moved
                try:
                    sides.append((moved, here if moved == x[k] else self.residual(side)))
                except ValueError:
                    sides.append((float(x[k]), here))
            (ahead, r_ahead), (behind, r_behind) = sides
            if ahead == behind:
                raise ValueError(f"there is no model on either side of {name} = {x[k]:g}")
            columns.append((r_ahead - r_behind) / (ahead - behind))
        return here, np.column_stack(columns)

    def covariance(self, x: NDArray) -> NDArray[np.float64]:
        """(JᵀJ)⁻¹ at x, (p, p).

        Raises
        ------
        ValueError
            If data and priors leave a direction free.
        """
        _, jacobian = self.whitened(x)
        scale = np.linalg.norm(jacobian, axis=0)
        if len(x) and (not np.all(scale > 0) or np.linalg.cond(jacobian / scale) > 1e7):
            unmoved = ", ".join(name for name, norm in zip(self.names, scale, strict=True) if norm == 0)
            raise ValueError(f"the data and the priors leave {unmoved or 'a combination of the parameters'} free")
        return _inverse(jacobian)

    def best_fit(self, *, held: Mapping[str, float] = MappingProxyType({}), start: ArrayLike | None = None) -> BestFit:
        """The minimum of χ² in the box, with the Gauss–Newton covariance there.

        A least-squares search with J comes near in some steps of 2p residuals each; Minuit goes on from there by χ²
        alone, which errors of J do not touch.

        Parameters
        ----------
        held : mapping, optional
            Free parameters held at a value meanwhile, as a profile wants it; their rows of the covariance are zero.
        start : array (p,), optional
            Where to begin, if not at `start`; brought into the box if need be.

        Returns
        -------
        BestFit
            Where the minimum lies at an edge of the box, the covariance is that of the curvature there, as if the
            posterior went on behind it.

        Raises
        ------
        ValueError
            If data and priors leave a direction free, there is no model at the start, or no minimum is found.
        """
        low, high = np.array(list(self.bounds.values()), dtype=np.float64).reshape(-1, 2).T
        x0 = np.array([self.start[name] for name in self.names]) if start is None else np.array(start, dtype=float)
        x0 = np.clip(x0, low, high)
        for name, value in held.items():
            if name not in self.bounds or not self.bounds[name][0] <= value <= self.bounds[name][1]:
                raise ValueError(
                    f"{name} cannot be held at {value:g}: it is no free parameter, or that is out of bounds"
                )
            x0[self.names.index(name)] = value
        free = np.array([name not in held for name in self.names], dtype=bool)
        chi2 = self.chi2(x0)
        if not np.isfinite(chi2):
            self.residual(x0)
        if np.any(free):
            sigma = np.sqrt(np.diag(self.covariance(x0)))
            x0 = self._nearer(x0, free, sigma)
            x0, chi2 = self._polished(x0, free, sigma)
        _, jacobian = self.whitened(x0)
        covariance = np.zeros((len(x0), len(x0)))
        covariance[np.ix_(free, free)] = _inverse(jacobian[:, free])
        return BestFit(x0, covariance, chi2)

    def _nearer(self, x0: NDArray, free: NDArray, sigma: NDArray) -> NDArray[np.float64]:
        """x after a least-squares search in those that are free, in units of σ."""
        from scipy.optimize import least_squares

        low, high = ((np.array(list(self.bounds.values()))[:, k] - x0)[free] / sigma[free] for k in (0, 1))
        n = self.n_data

        def at(u: NDArray) -> NDArray[np.float64]:
            x = x0.copy()
            x[free] += u * sigma[free]
            # rounding must not lead out of the box
            return np.clip(x, *np.array(list(self.bounds.values())).T)

        def residual(u: NDArray) -> NDArray[np.float64]:
            try:
                return self.residual(at(u))
            except ValueError:
                return np.full(n, np.sqrt(_FAR / n))

        def jacobian(u: NDArray) -> NDArray[np.float64]:
            return self.whitened(at(u))[1][:, free] * sigma[free]

        u0 = np.zeros(np.count_nonzero(free))
        found = least_squares(
            residual, u0, jacobian, bounds=(low, high), method="dogbox", ftol=1e-7, xtol=1e-5, gtol=1e-6, max_nfev=50
        )
        return at(found.x)

    def _polished(self, x0: NDArray, free: NDArray, sigma: NDArray) -> tuple[NDArray[np.float64], float]:
        """x and χ² at the end of Minuit's search."""
        from iminuit import Minuit

        low, high = np.array(list(self.bounds.values())).T

        def cost(u: NDArray) -> float:
            value = self.chi2(np.clip(x0 + u * sigma, low, high))
            return value if np.isfinite(value) else _FAR

        minuit = Minuit(cost, np.zeros(len(x0)), name=self.names)
        minuit.errordef, minuit.strategy, minuit.print_level = 1.0, 0, 0
        for k in range(len(x0)):
            minuit.limits[k] = ((low[k] - x0[k]) / sigma[k], (high[k] - x0[k]) / sigma[k])
            minuit.errors[k], minuit.fixed[k] = 0.1, not free[k]
        minuit.migrad(ncall=20000)
        if not minuit.valid and not (minuit.fmin.edm < _NEAR):
            raise ValueError(f"no best fit of {', '.join(self.names)}: χ² is {minuit.fval:.6g} and still falls")
        return np.clip(x0 + np.array(minuit.values) * sigma, low, high), float(minuit.fval)

    def profile(self, name: str, values: ArrayLike, *, start: ArrayLike | None = None) -> NDArray[np.float64]:
        """Least χ² with one parameter held at each of some values, (n,)."""
        out, at = [], start
        for value in np.asarray(values, dtype=np.float64):
            found = self.best_fit(held={name: float(value)}, start=at)
            at = found.x
            out.append(found.chi2)
        return np.array(out)

    @property
    def _own_priors(self) -> dict[str, Prior]:
        return {name: prior for name, prior in self.priors.items() if name in self.bounds}


def _inverse(jacobian: NDArray) -> NDArray[np.float64]:
    """(JᵀJ)⁻¹ by the singular values of J with columns of norm 1, which rounding hurts half as much."""
    scale = np.linalg.norm(jacobian, axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    half = np.linalg.pinv(jacobian / scale) / scale[:, None]
    return half @ half.T

"""What is taken off the spectrum of an estimate: N0 of the very data, N1, and the response that simulations find."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from lensrec.bias.rdn0 import combined_noise, monte_carlo, pair_spectra, realisation_dependent, semi_analytic
from lensrec.bias.smoothing import smooth_ratio
from lensrec.engine import Progress, Workers, run_tasks
from lensrec.quadratic.joint import joint_normalisation
from lensrec.quadratic.products import GMV
from lensrec.quadratic.response import Normalisation, normalisation
from lensrec.stages.estimate import estimate_pairs
from lensrec.stages.gaussian import GaussianResults
from lensrec.stages.legs import Legs, leg_spectra
from lensrec.stages.setting import MV, TTH, Setting, hardening_of

BATCH_BYTES = 4e9
"""What the legs and the pairs of a batch of simulations may take."""

Spectra = dict[str, NDArray[np.float64]]


@dataclass(frozen=True, eq=False)
class Biases:
    """N0 of the spectra of one map's estimates, (2, L_max+1) each, for φ and Ω, over the moment of the mask.

    Attributes
    ----------
    n0 : dict of key to array
    n0_sigma : dict of key to array
        Its Monte-Carlo error; empty where it is analytic.
    n0_from : str
        Where N0 comes from, in words.
    """

    n0: Spectra
    n0_sigma: Spectra
    n0_from: str


def analytic_n0(setting: Setting, totals: Mapping[str, NDArray], *, nthreads: int = 0) -> NDArray[np.float64]:
    """N0 of all estimators of Gaussian fields with these total spectra, (keys, 2, L_max+1), weights as they are."""
    lmax_phi = len(setting.cl_phi) - 1
    n0: Spectra = {}
    if setting.parts:
        noise = normalisation(
            setting.parts, setting.weights, setting.signal, setting.filters, totals, lmax_phi, nthreads=nthreads
        ).noise
        norm = Normalisation(setting.norm.response, noise)
        n0 = {key: norm.n0(key) for key in setting.parts}
        if MV in setting.keys:
            n0[MV] = combined_noise(norm, setting.mv_weights)
    if setting.joint:
        whole = joint_normalisation(setting.weights, setting.signal, setting.joint, totals, lmax_phi, nthreads=nthreads)
        n0[GMV] = Normalisation({GMV: setting.response[GMV]}, whole.noise).n0(GMV)
    if setting.hardened is not None:
        hard = hardening_of(
            setting.fields, setting.weights, setting.signal, setting.filters, totals, lmax_phi, nthreads=nthreads
        )
        n0[TTH] = hard.norm.n0("TT")
    return np.stack([n0[key] for key in setting.keys])


def gaussian_biases(
    setting: Setting,
    legs: Legs,
    kind: str,
    *,
    fsky: float = 1.0,
    w4: float = 1.0,
    modes_share: float = 1.0,
    gaussian: GaussianResults | None = None,
    pairs: "SimulatedPairs | None" = None,
    nthreads: int = 0,
) -> Biases:
    """N0 of the data.

    Parameters
    ----------
    kind : "none", "analytic" or "simulations"
        N0 of the model of their power; that with its change to first order in what the data's own spectra differ from
        it; RDN0 from pairs of data and simulations.
    fsky, w4, modes_share : float
        ⟨w²⟩, ⟨w⁴⟩ and ⟨w⁴⟩²/⟨w⁸⟩ of the mask: of its power in maps and in estimates, and the share of modes in these.
    gaussian : GaussianResults, optional
        Where there are some, N0 of the model is the analytic one times a smooth ratio, found by these skies with their
        mask and uneven noise; else the analytic one.
    pairs : SimulatedPairs, optional
        For "simulations".
    """
    keys = setting.keys
    if kind == "simulations" and pairs is not None:
        found = pairs.rdn0(legs)
        n0, sigma = ({key: getattr(found[key], name) / w4 for key in keys} for name in ("n0", "sigma"))
        return Biases(n0, sigma, f"RDN0 from {pairs.count} Gaussian skies")
    base: Spectra = setting.n0
    source = "N0 by its analytic form"
    error: Spectra = {}
    if gaussian is not None:
        variance = 2.0 / ((2.0 * np.arange(len(setting.cl_phi)) + 1.0) * modes_share * (gaussian.count - 1))
        base = {}
        for key in setting.keys:
            simulated, analytic = gaussian.fields[key].gaussian_bias / w4, setting.n0[key]
            smooth = [smooth_ratio(a, b, variance) for a, b in zip(simulated, analytic, strict=True)]
            base[key] = analytic * np.stack([ratio for ratio, _ in smooth])
            error[key] = analytic * np.stack([sigma for _, sigma in smooth])
        source = f"N0 of {gaussian.count} Gaussian skies"
    if kind == "none":
        return Biases({key: base[key] for key in keys}, error, source)
    model = setting.totals if gaussian is None else gaussian.spectra

    def noise_of(totals: Mapping[str, NDArray]) -> NDArray:
        return analytic_n0(setting, totals, nthreads=nthreads)

    plain = noise_of(model) if gaussian is None else gaussian.expected(noise_of)
    changed = semi_analytic(noise_of, model, leg_spectra(legs, setting, fsky), expected=plain)
    ratio = np.divide(changed, plain, out=np.ones_like(plain), where=plain > 0)
    return Biases(
        {key: base[key] * row for key, row in zip(keys, ratio, strict=True)},
        error,
        f"semi-analytic RDN0 about {source}",
    )


@dataclass(eq=False)
class SimulatedPairs:
    """Pairs of Gaussian skies with data and with each other; those with each other are made once for all data.

    Attributes
    ----------
    legs : function of a number
        Legs of a Gaussian sky.
    count : int
    """

    setting: Setting
    legs: Callable[[int], Legs]
    count: int
    lmax_phi: int
    progress: Progress | None = None
    nthreads: int = 0
    executor: Workers = None
    _simulated: dict[str, list[NDArray]] = field(default_factory=dict)

    def rdn0(self, data: Legs) -> dict:
        """RDN0 of every estimator, a GaussianBias each, not divided by the mask's moment.

        Every leg, of data or simulation, is synthesised once for all of the pairs in its batch: a batch of n
        simulations costs n + 2 sets of syntheses and 2n of analyses, against n of both for n bare estimates.
        """
        return self.rdn0_of_many([data])[0]

    def rdn0_of_many(self, data: list[Legs]) -> list[dict]:
        """The same for several maps, which share the syntheses of the simulations."""
        return [
            {key: realisation_dependent(one[key], self._simulated[key]) for key in self.setting.keys}
            for one in self._spectra(data)
        ]

    def mcn0(self) -> dict:
        """MCN0 of every estimator."""
        if not self._simulated:
            self._spectra([])
        return {key: monte_carlo(self._simulated[key]) for key in self.setting.keys}

    def _spectra(self, data: list[Legs]) -> list[dict[str, list[NDArray]]]:
        """C_L[q̄(d, s)] of every map and estimator, in the order of the simulations."""
        keys, first = self.setting.keys, not self._simulated
        crossed: list[dict[str, list[NDArray]]] = [{key: [] for key in keys} for _ in data]
        simulated: dict[str, list[NDArray]] = {key: [] for key in keys}
        size = self.batch(len(data))
        batches = run_tasks(
            pairs_of_batch,
            [range(start, min(start + size, self.count)) for start in range(0, self.count, size)],
            shared=(self.alone(), data, first),
            executor=self.executor,
            progress=self.progress,
            description="RDN0",
        )
        for found in chain.from_iterable(batches):
            for which, spectra in zip([*crossed, *([simulated] if first else [])], found, strict=True):
                for key in keys:
                    which[key].append(spectra[key])
        if first:
            self._simulated = simulated
        return crossed

    def alone(self) -> "SimulatedPairs":
        """The same without workers and progress of its own: what can be sent to a worker."""
        return replace(self, executor=None, progress=None)

    def batch(self, maps: int = 1) -> int:
        """How many simulations are held at a time: as many as there is room for, their legs and sums of their pairs."""
        lmax = max(len(filt) for filt in self.setting.filters.values()) - 1
        legs = (15 if self.setting.parts else 0) + (11 if self.setting.joint else 0)
        pairs = 2 * (maps + 1) * (len(self.setting.parts) + bool(self.setting.joint))
        # a real a_ℓm of each component takes 8 lmax² bytes
        room = BATCH_BYTES / (8.0 * (lmax + 2) ** 2) - legs * (maps + 1)
        return int(np.clip(room / (legs + pairs), 1, 8))


def pairs_of_batch(
    shared: tuple[SimulatedPairs, list[Legs], bool], numbers: range
) -> list[list[dict[str, NDArray[np.float64]]]]:
    """Spectra of the estimates that pair simulations with data and, if asked, each with the next, last with first.

    For every simulation there is one entry of each map, then of that pair.
    """
    made, data, first = shared
    sets = [*data, *(made.legs(n) for n in numbers)]
    if first:
        sets.append(made.legs(numbers[-1] + 1 if numbers[-1] + 1 < made.count else 0))
    pairs, n = [], len(data)
    for i in range(len(numbers)):
        pairs += [(d, n + i) for d in range(n)] + ([(n + i, n + i + 1)] if first else [])
    estimates = estimate_pairs(sets, pairs, made.setting, made.lmax_phi, nthreads=made.nthreads)
    spectra = [{key: pair_spectra(one[key]) for key in made.setting.keys} for one in estimates]
    each = n + first
    return [spectra[i : i + each] for i in range(0, len(spectra), each)]

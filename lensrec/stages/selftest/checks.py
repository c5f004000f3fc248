"""The checks: each measures one error and knows the bound that is promised."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lensrec.stages.selftest import maps, spectra


@dataclass(frozen=True)
class Check:
    """One proof.

    Attributes
    ----------
    name : str
        What is compared with what, for the reader of the table.
    promised : float
        What the error may be.
    measure : callable
        Returns the error.
    """

    name: str
    promised: float
    measure: Callable[[], float]


@dataclass(frozen=True)
class Outcome:
    """What became of a check: the error, or why there is none."""

    check: Check
    achieved: float
    seconds: float
    trouble: str = ""

    @property
    def passed(self) -> bool:
        """Whether the promise was kept; an error that is no number keeps none."""
        return not self.trouble and self.achieved <= self.check.promised


CHECKS = (
    Check("a dipole moves pixels along meridians", 1e-14, maps.dipole),
    Check("lensed T, Q, U against sums of harmonics, ε = 1e-10", 3e-10, lambda: maps.lensed_sky(1e-10)),
    Check("the same in single precision, ε = 1e-5", 3e-5, lambda: maps.lensed_sky(1e-5, single=True)),
    Check("at ℓ ≤ 300 on nside 128 against ducc0, ε = 1e-7", 3e-7, lambda: maps.lensed_sky_of_ducc0(1e-7)),
    Check("adjoint of the remap, spins 0 to 3", 1e-12, maps.adjoint),
    Check("the same in single precision", 1e-5, lambda: maps.adjoint(single=True)),
    Check("mean of det A over the sphere, 20′ rms", 1e-10, maps.mean_determinant),
    Check("power of a lensed sky, weighted by det A", 1e-11, maps.conserved_power),
    Check("n + α(n) after the inverse deflection [rad]", 1e-10, maps.inverse),
    Check("a sky lensed, analysed and delensed", 1e-10, maps.delensed),
    Check("a_ℓm drawn with another lmax and threads", 0.0, spectra.random_numbers),
    Check("lensed spectra against CAMB's correlations", 1e-5, spectra.lensed_spectra_of_camb),
    Check("φ̂ of TT, EE, EB against sums over 3j symbols", 1e-10, spectra.estimators),
    Check("N0 = 1/R at optimal weights: TT, EE, TB, EB", 1e-10, spectra.optimal_noise),
    Check("response of all five to one mode of φ", 1e-6, spectra.linear_response),
    Check("coupling by a mask, mode by mode", 1e-12, spectra.mode_coupling),
)


def run_checks(
    checks: Sequence[Check] = CHECKS, *, report: Callable[[Outcome], None] = lambda outcome: None
) -> list[Outcome]:
    """Run the checks, one after the other.

    Parameters
    ----------
    checks : sequence of Check
    report : callable
        Told of each outcome as it comes.

    Returns
    -------
    list of Outcome
        An exception counts as a failure of its check; the others go on.
    """
    outcomes = []
    for check in checks:
        start = time.perf_counter()
        try:
            achieved, trouble = float(check.measure()), ""
        except Exception as err:  # whatever is broken on this machine, the table is to say so
            achieved, trouble = float("nan"), f"{type(err).__name__}: {err}"
        outcomes.append(Outcome(check, achieved, time.perf_counter() - start, trouble))
        report(outcomes[-1])
    return outcomes

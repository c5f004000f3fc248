"""Eighteen claims about negative neutrino masses and the lensing anomaly, judged by fits, theory and forecasts.

A claim is a function of the evidence. Its verdict follows from numbers by a rule that is written beside it, in words
(`rule`) and in code; nothing is typed in but what was published.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from lensrec.stages.anomaly_evidence import Evidence, NotRunError

AGREES, CONDITION, DOES_NOT, NOT_RUN = "agrees", "agrees with a condition", "does not agree", "not run"


@dataclass(frozen=True)
class Number:
    """One number of lensrec's, beside what was published.

    Attributes
    ----------
    name : str
    value : float
    error : float or None
    unit : str
    published : str
        As text, with its source; empty where there is none.
    data : str
        What it is made from.
    """

    name: str
    value: float
    error: float | None = None
    unit: str = ""
    published: str = ""
    data: str = ""

    def text(self) -> str:
        """The number with its error, to the digits that its error warrants; masses in eV all to three decimals."""
        unit = f" {self.unit}" if self.unit else ""
        if self.error is None:
            return f"{self.value:.3g}{unit}".replace("-", "−")
        return mass((self.value, self.error)) if self.unit == "eV" else f"{plus_minus(self.value, self.error)}{unit}"


@dataclass(frozen=True)
class Claim:
    """A claim, judged."""

    id: str
    claim: str
    verdict: str
    why: str
    rule: str
    numbers: tuple[Number, ...] = ()
    data: str = ""
    picture: str = ""
    sources: tuple[str, ...] = ()

    def plain(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)


@dataclass(frozen=True)
class Asked:
    """A claim before it is judged: what it says, how it is judged, and the picture that shows it."""

    id: str
    claim: str
    rule: str
    data: str
    picture: str
    judge: Callable[[Evidence], "Judgement"]


@dataclass(frozen=True)
class Judgement:
    """What a claim's function finds."""

    verdict: str
    why: str
    numbers: tuple[Number, ...]
    sources: tuple[str, ...] = ()


def judged(asked: Asked, evidence: Evidence) -> Claim:
    """A claim with its verdict; "not run" if what it hangs on is not there."""
    try:
        found = asked.judge(evidence)
    except NotRunError as missing:
        found = Judgement(NOT_RUN, f"Not judged: {missing}.", ())
    return Claim(
        asked.id,
        asked.claim,
        found.verdict,
        found.why,
        asked.rule,
        found.numbers,
        asked.data,
        asked.picture,
        found.sources,
    )


def all_asked() -> tuple[Asked, ...]:
    """All claims, C1 to C18."""
    from lensrec.stages import claims_amplitudes, claims_dark_energy, claims_depth, claims_masses, claims_suppression

    found = [
        *claims_masses.CLAIMS,
        *claims_amplitudes.CLAIMS,
        *claims_suppression.CLAIMS,
        *claims_depth.CLAIMS,
        *claims_dark_energy.CLAIMS,
    ]
    return tuple(sorted(found, key=lambda one: int(one.id[1:])))


def all_claims(evidence: Evidence, progress: Callable[[str, int, int], None] | None = None) -> list[Claim]:
    """Every claim, judged."""
    out: list[Claim] = []
    asked = all_asked()
    for k, one in enumerate(asked):
        out.append(judged(one, evidence))
        if progress is not None:
            progress("claims", k + 1, len(asked))
    return out


def three_ways(full: bool, partly: bool) -> str:
    """The verdict where a claim holds in full, in part, or not."""
    return AGREES if full else CONDITION if partly else DOES_NOT


def matches(value: tuple[float, float], published: tuple[float, float], *, within: float = 0.5) -> bool:
    """Whether two measurements are the same: centres within half (`within`) of the larger error, errors within 3/2.

    Fits to the same sky scatter by their choices of data, not by their errors: half a σ is as much as one likelihood in
    place of another makes.
    """
    (a, sigma_a), (b, sigma_b) = value, published
    return abs(a - b) <= within * max(sigma_a, sigma_b) and 2 / 3 <= sigma_a / sigma_b <= 3 / 2


def mass(value: tuple[float, float]) -> str:
    """Σmν with its error, in eV."""
    return f"{value[0]:+.3f} ± {value[1]:.3f} eV".replace("-", "−")


def plus_minus(value: float, error: float) -> str:
    """Both to two digits of the error."""
    from math import floor, log10

    places = 3 if not error > 0 else max(0, 1 - floor(log10(error)))
    return f"{value:.{places}f} ± {error:.{places}f}".replace("-", "−")


def sentence(parts: Sequence[str]) -> str:
    """Sentences end to end, those empty left out."""
    return " ".join(part for part in parts if part)

"""What a deliberate break is."""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["sign", "leg", "norm", "ℓ", "factor", "index", "term", "conjugate", "form"]
"""What is done: a sign turned; a leg or a field exchanged or dropped; some per cent of a norm; a multipole, or a number
of simulations, off by one; a factor of two or so; an index exchanged; one term of several dropped; a complex conjugate
left out; another functional form that agrees in the simplest case."""


@dataclass(frozen=True)
class Break:
    """One change of one line or a few, that leaves code which runs and is wrong.

    Attributes
    ----------
    name : str
    file : str
        Below lensrec/.
    old, new : str
        Text that stands there exactly once, and what takes its place.
    what : str
        What is then wrong, in the field's terms.
    kind : str
    tests : tuple of str
        Files below tests/ that should catch it, the quickest first.
    needs : str
        A folder of published data without which those tests are skipped; "" for none.
    small : bool
        Of order 1 %, or one term of several: nothing that would be seen in a picture.
    """

    name: str
    file: str
    old: str
    new: str
    what: str
    kind: Kind
    tests: tuple[str, ...]
    needs: str = ""
    small: bool = False

    @property
    def room(self) -> str:
        """The part of lensrec that is broken."""
        return self.file.split("/")[0] if "/" in self.file else "runs"

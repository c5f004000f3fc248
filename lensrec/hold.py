"""The hold that a command has on its run, as its workers see it: one that outlives the command writes nothing.

A task that runs on a Dask worker cannot be stopped. When its command is killed or interrupted, the run may be another
command's, with another recipe, by the time the task is done.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, NamedTuple


class Hold(NamedTuple):
    """A lock file, and what it says for as long as the command holds its run."""

    file: str
    text: str


_MINE: list[Hold] = []

_RULING: ContextVar[Hold | None] = ContextVar("ruling", default=None)


@contextmanager
def holding(file: Path, text: str) -> Iterator[None]:
    """Make tasks that are sent to workers elsewhere obey a lock file."""
    _MINE.append(Hold(str(file.absolute()), text))
    try:
        yield
    finally:
        _MINE.pop()


def held() -> Hold | None:
    """The hold of this command on its run."""
    return _MINE[-1] if _MINE else None


def under(hold: Hold, function: Callable[..., Any], *given: Any) -> Any:
    """Call a function that writes only while the hold lasts; for workers."""
    token = _RULING.set(hold)
    try:
        return function(*given)
    finally:
        _RULING.reset(token)


def check_hold() -> None:
    """Raise an OSError where the command that sent this task has let go of its run."""
    if (hold := _RULING.get()) is None:
        return
    try:
        text = Path(hold.file).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise OSError(None, f"{hold.file} is not there: workers must see the folder of the run") from None
    if text != hold.text:
        raise OSError(None, "the command that asked for it has let go of the run")

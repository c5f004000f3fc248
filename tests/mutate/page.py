"""The page that `make mutate` writes: which breaks the tests catch, by which test; nothing on it is typed."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from lensrec.sky.map_write import replacing
from tests.mutate.breaks.model import Break
from tests.mutate.run import Verdict

_INTRODUCTION = """# Breaks on purpose

This page is written by `make mutate`; no number on it was typed. Each break changes a line or a few of the numerics so
that they run and are wrong: a sign, a leg, some per cent of a norm, a multipole, one term of several. It is made in a
copy of lensrec, where the tests that the list in `tests/mutate/breaks` names for it run; they pass without it. It is
caught if one of them fails. A break that survives shows which test is missing: it stays, and the test is written.

**{caught} of {total} breaks are caught, {score:.1f} %.** {small} of them are small: of order 1 %, or one term of
several; {small_caught} of those are caught. {survived}
"""

_HEAD = """
## {room}

| break | where | what is wrong then | caught by | CPU seconds |
|---|---|---|---|---|
"""


def write(path: Path, breaks: Sequence[Break], verdicts: Mapping[str, Verdict], absent: Mapping[str, str]) -> None:
    """Write the page; `absent` says why breaks have no verdict on this machine."""
    caught = [one for one in breaks if verdicts[one.name].outcome == "caught"]
    survivors = [one.name for one in breaks if verdicts[one.name].outcome != "caught"]
    small = [one for one in breaks if one.small]
    text = _INTRODUCTION.format(
        caught=len(caught),
        total=len(breaks),
        score=100 * len(caught) / len(breaks),
        small=len(small),
        small_caught=sum(one in caught for one in small),
        survived=f"Not caught: {', '.join(survivors)}." if survivors else "None survives.",
    )
    for room in dict.fromkeys(one.room for one in breaks):
        text += _HEAD.format(room=room)
        for one in (one for one in breaks if one.room == room):
            verdict = verdicts[one.name]
            by = f"`{verdict.by.removeprefix('tests/')}`" if verdict.outcome == "caught" else "**nothing**"
            cells = (one.kind, f"`{one.file}`", one.what, by, f"{verdict.seconds:.0f}")
            text += "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"
    if absent:
        text += "\nLeft out here, for want of data: " + "; ".join(f"{n} ({why})" for n, why in absent.items()) + ".\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as part:
        Path(part).write_text(text, encoding="utf-8")

"""`make mutate`: break the numerics on purpose, one change at a time, and see whether a test fails.

Resumable: verdicts are kept in runs/mutate as long as neither the break nor anything that its tests import changes. The
page, docs/mutations.md, is written when every break has its verdict. The exit status is 0 if 95 % of them are caught.
"""

import argparse
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue

from tests.mutate import page
from tests.mutate.breaks import BREAKS
from tests.mutate.breaks.model import Break
from tests.mutate.run import Verdict, has_data, judged, unbroken
from tests.mutate.tree import ROOT, Stale, broken_text, whole_copy

GOAL = 0.95


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutate", description=__doc__)
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1), help="tests at a time (%(default)s)")
    parser.add_argument(
        "--only", action="append", default=[], metavar="NAME", help="this break, or room, alone; no page"
    )
    parser.add_argument("--timeout", type=float, default=600.0, help="seconds for the tests of a break (%(default)s)")
    parser.add_argument("--list", action="store_true", help="name the breaks, and end")
    options = parser.parse_args(arguments)
    if unknown := set(options.only) - {name for one in BREAKS for name in (one.name, one.room)}:
        parser.error(f"no break {', '.join(sorted(unknown))}; --list names them")
    chosen = [one for one in BREAKS if not options.only or {one.name, one.room} & set(options.only)]
    if options.list:
        print(*(f"{one.name:34} {one.what}" for one in chosen), sep="\n")
        return 0
    try:
        for one in chosen:
            broken_text(one)
    except Stale as error:
        print(error)
        return 2

    start = time.monotonic()
    absent = {one.name: f"no folder {one.needs} of published data" for one in chosen if not has_data(one.needs)}
    present = [one for one in chosen if one.name not in absent]
    whole = whole_copy()
    files = list(dict.fromkeys(file for one in present for file in one.tests))
    with ThreadPoolExecutor(options.jobs) as pool:
        unfit = dict(zip(files, pool.map(lambda file: unbroken(file, whole, options.timeout), files), strict=True))
    print("".join(f"{why}\n" for why in unfit.values() if why), end="", flush=True)
    verdicts: dict[str, Verdict] = {}
    slots: SimpleQueue[int] = SimpleQueue()
    for slot in range(options.jobs):
        slots.put(slot)

    def judge(one: Break) -> None:
        why = [unfit[file] for file in one.tests if unfit[file]]
        slot = slots.get()
        try:
            verdict = Verdict("error", why[0], 0.0) if why else judged(one, whole, slot, options.timeout)
        finally:
            slots.put(slot)
        verdicts[one.name] = verdict
        count = f"{len(verdicts):3d}/{len(present)}"
        print(f"{count}  {verdict.outcome:8}  {one.name:34} {verdict.seconds:5.0f} s  {verdict.by}", flush=True)

    with ThreadPoolExecutor(options.jobs) as pool:
        list(pool.map(judge, present))
    caught = sum(verdict.outcome == "caught" for verdict in verdicts.values())
    print(f"caught {caught} of {len(present)} breaks in {(time.monotonic() - start) / 60:.0f} minutes")
    for name, why in absent.items():
        print(f"left out: {name}, {why}")
    if errors := [name for name, verdict in verdicts.items() if verdict.outcome == "error"]:
        print(f"without a verdict: {', '.join(errors)}; no page is written")
        return 1
    if not options.only:
        page.write(ROOT / "docs" / "mutations.md", present, verdicts, absent)
        print("written: docs/mutations.md")
    return 0 if present and caught >= GOAL * len(present) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Timings as ratios to peers, for `make bench`: python -m tests.benchmarks [--size full] [--fresh] [ROW ...].

What has been measured is kept in runs/bench and not measured again, as long as neither lensrec nor the benchmarks
change. The full size is written to docs/benchmarks.md, the others to runs/bench.
"""

import argparse
import hashlib
import json
import sys
from pathlib import Path

from lensrec.sky.map_write import replacing
from tests.benchmarks.cases import cases
from tests.benchmarks.inputs import FOLDER, SIZES, theory
from tests.benchmarks.report import machine, page, table_lines
from tests.benchmarks.rounds import ROOT, Failed, measure


def main(arguments: list[str]) -> int:
    """Measure what is missing and write the page; the exit status is the number of rows that failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks")
    parser.add_argument("--size", choices=SIZES, default="full")
    parser.add_argument("--fresh", action="store_true", help="measure again what has been measured")
    parser.add_argument("rows", nargs="*", metavar="ROW", help="only these rows")
    options = parser.parse_args(arguments)
    size = SIZES[options.size]
    known = cases(size)
    for name in options.rows:
        if name not in known:
            parser.error(f"unknown row {name!r}: the rows are {', '.join(known)}")
    kept = FOLDER / f"{size.name}.json"
    state = load(kept, source_hash(), machine())
    theory(size)
    failures = 0
    for name in options.rows or known:
        if name not in state["rows"] or options.fresh:
            try:
                state["rows"][name] = measure(size, name, known[name])
            except Failed as error:
                print(f"{name} failed: {error}", file=sys.stderr, flush=True)
                failures += 1
                continue
            write(kept, json.dumps(state, indent=1))
        print("\n".join(table_lines(state["rows"][name])), flush=True)
    rows = {name: state["rows"][name] for name in known if name in state["rows"]}
    target = ROOT / "docs" / "benchmarks" if size.name == "full" else FOLDER / f"benchmarks_{size.name}"
    write(target.with_suffix(".json"), json.dumps({"machine": state["machine"], "rows": rows}, indent=1) + "\n")
    write(target.with_suffix(".md"), page(size.name, state["machine"], rows))
    return failures


def load(path: Path, sources: str, where: dict) -> dict:
    """What an earlier run measured with the same sources, on the same machine; else an empty record."""
    if path.exists():
        state = json.loads(path.read_text())
        same = all(state["machine"][key] == where[key] for key in ("cpu", "cores", "python", "versions"))
        if state["sources"] == sources and same:
            return state
    return {"sources": sources, "machine": where, "rows": {}}


def source_hash() -> str:
    """Of everything that is measured or measures."""
    digest = hashlib.sha256()
    for folder in (ROOT / "lensrec", Path(__file__).parent):
        for path in sorted(folder.rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()


def write(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as partial:
        Path(partial).write_text(text)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

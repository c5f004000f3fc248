"""Tests on a copy, each time in a process of its own, and what they say of a break."""

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lensrec.sky.map_write import replacing
from tests.mutate import witness
from tests.mutate.breaks.model import Break
from tests.mutate.imports import closure, graph
from tests.mutate.tree import ROOT, STORE, broken_copy

DATA = "LENSREC_DATA"


@dataclass(frozen=True)
class Verdict:
    """What became of a break.

    Attributes
    ----------
    outcome : "caught", "survived" or "error"
        An error is no verdict: a test that failed without the break, code that cannot be imported, a run that did not
        end.
    by : str
        The test that failed, or why there is no verdict.
    seconds : float
        Of CPU time that its tests took.
    """

    outcome: str
    by: str
    seconds: float


def judged(one: Break, whole: Path, slot: int, timeout: float) -> Verdict:
    """The verdict on a break, from its file or computed and put there."""
    kept = STORE / "verdicts" / f"{one.name}-{key(whole, [one.file], one.tests, {'old': one.old, 'new': one.new})}.json"
    if kept.is_file():
        return Verdict(**json.loads(kept.read_text(encoding="utf-8")))
    copy = broken_copy(one, whole, slot)
    seconds = [json.loads(_unbroken_word(file, whole).read_text(encoding="utf-8")) for file in one.tests]
    (copy / ".seconds.json").write_text(json.dumps({test: s for file in seconds for test, s in file.items()}))
    word = tested(copy, one.tests, timeout=timeout, first=True)
    verdict = Verdict(*_read(word), round(word.get("cpu", timeout), 1))
    if verdict.outcome != "error":
        _keep(kept, asdict(verdict))
    return verdict


def unbroken(file: str, whole: Path, timeout: float) -> str:
    """Why a test file cannot judge, for it fails or is skipped without any break; "" where it passes, which is kept."""
    kept = _unbroken_word(file, whole)
    if kept.is_file():
        return ""
    word = tested(whole, [file], timeout=timeout, first=False)
    outcome, by = _read(word)
    if outcome != "survived":
        return f"tests/{file} does not pass unbroken: {by}"
    _keep(kept, word["seconds"])
    print(f"unbroken: tests/{file} passes, {word['cpu']:.0f} s", flush=True)
    return ""


def _unbroken_word(file: str, whole: Path) -> Path:
    return STORE / "unbroken" / f"{file.replace('/', '-')}-{key(whole, [], [file], {})}.json"


def tested(copy: Path, files: Sequence[str], *, timeout: float, first: bool) -> dict[str, Any]:
    """What the witness says of some test files of a copy; with `first` they end at the first failure."""
    said = copy / f".word-{threading.get_ident()}.json"
    said.unlink(missing_ok=True)
    environment = {
        **os.environ,
        "PYTHONPATH": str(copy),
        "PYTHONDONTWRITEBYTECODE": "1",
        "MPLBACKEND": "Agg",
        "OMP_NUM_THREADS": "1",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",  # half of the time that the quickest take
        "LENSREC_NUM_THREADS": "1",
        witness.WORD: str(said),
    }
    environment.pop("NUMBA_CACHE_DIR", None)
    if (copy / ".seconds.json").is_file():
        environment[witness.SECONDS] = str(copy / ".seconds.json")
    if data := _data():
        environment[DATA] = str(data)
    command = [sys.executable, "-m", "pytest", "-q", "-p", witness.__name__, "-p", "no:cacheprovider"]
    command += ["-x"] if first else []
    try:
        ended = subprocess.run(
            [*command, *(f"tests/{file}" for file in files)],
            cwd=copy,
            env=environment,
            capture_output=True,
            text=True,
            timeout=timeout,
        )
    except subprocess.TimeoutExpired:
        return {"why": f"not done after {timeout:.0f} s"}
    if not said.is_file():
        lines = (ended.stdout + ended.stderr).strip().splitlines() or ["nothing was said"]
        return {"why": f"pytest ended with {ended.returncode}: {lines[-1][:200]}"}
    return dict(json.loads(said.read_text(encoding="utf-8")))


def has_data(name: str) -> bool:
    """Whether a folder of published data is on this machine; "" is none, which always is."""
    data = _data()
    return not name or (data is not None and (data / name).is_dir())


def key(whole: Path, broken: Sequence[str], tests: Sequence[str], more: dict[str, Any]) -> str:
    """A fingerprint of a break, and of all that its tests import."""
    edges = graph(whole)
    files = closure([*(f"lensrec/{file}" for file in broken), *(f"tests/{file}" for file in tests)], edges)
    digest = hashlib.sha256(json.dumps(more, sort_keys=True).encode())
    for file in sorted(files):
        digest.update(file.encode() + b"\0" + (whole / file).read_bytes())
    return digest.hexdigest()[:16]


def _read(word: dict[str, Any]) -> tuple[str, str]:
    if "why" in word:
        return "error", word["why"]
    if word["not_collected"]:
        return "error", f"{word['not_collected'][0]} cannot be collected"
    if word["exit"] == 1 and word["failed"]:
        return "caught", word["failed"][0]["test"]
    if word["exit"] == 0 and word["passed"]:
        return "survived", ""
    return "error", f"pytest ended with {word['exit']}, {word['passed']} tests passed, {word['skipped']} were skipped"


def _keep(path: Path, content: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as part:
        Path(part).write_text(json.dumps(content), encoding="utf-8")


def _data() -> Path | None:
    named = os.environ.get(DATA)
    folder = Path(named) if named else ROOT / ".." / "shared" / "data"
    return folder.resolve() if folder.is_dir() else None

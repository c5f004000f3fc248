"""Take the sides of a comparison in turns, A B A B, so that a machine that slows down slows both."""

import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np

from tests.benchmarks.cases import Case
from tests.benchmarks.inputs import FOLDER, Size

ROOT = Path(__file__).resolve().parents[2]
MOST, FEWEST = 5, 3
LONG_ROUND = 40.0  # seconds; rounds that take longer are repeated as few times as will do


class Failed(RuntimeError):
    """A side that did not run; what it said is on stderr."""


def measure(size: Size, name: str, case: Case) -> dict:
    """Time every side of a comparison.

    Returns
    -------
    dict
        title and, by label, sides with seconds (one per round), median, peak_mib, counts of transforms, and error:
        the root mean square of the difference from the truth or from the first side, over that of the latter.
    """
    FOLDER.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(dir=FOLDER)))
        samples = {label: folder / f"{i}.npy" for i, label in enumerate([*case.sides, "truth"])}
        workers = {label: stack.enter_context(_started(size, name, label, samples[label])) for label in case.sides}
        sides: dict[str, dict] = {label: {"counts": _ask(worker)["counts"]} for label, worker in workers.items()}
        seconds = take_turns(
            {label: lambda worker=worker: _ask(worker, "\n")["seconds"] for label, worker in workers.items()}
        )
        for label, worker in workers.items():
            worker.stdin.close()
            sides[label] |= {"seconds": seconds[label], "median": median(seconds[label]), **_ask(worker)}
        if case.truth is not None:
            with _started(size, name, "truth", samples["truth"]) as worker:
                _ask(worker)
                worker.stdin.close()
                _ask(worker)
        for label, error in _errors(samples).items():
            sides[label]["error"] = error
    return {"title": case.title, "against": "truth" if case.truth else next(iter(case.sides)), "sides": sides}


def take_turns(runs: dict[str, Callable[[], float]]) -> dict[str, list[float]]:
    """Seconds of each run, round by round."""
    seconds: dict[str, list[float]] = {label: [] for label in runs}
    wanted = MOST
    done = 0
    while done < wanted:
        for label, run in runs.items():
            seconds[label].append(run())
        done += 1
        if sum(times[0] for times in seconds.values()) > LONG_ROUND:
            wanted = FEWEST
    return seconds


def _started(size: Size, name: str, side: str, sample: Path) -> subprocess.Popen:
    words = [sys.executable, "-m", "tests.benchmarks.worker", size.name, name, side, str(sample)]
    return subprocess.Popen(words, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _ask(worker: subprocess.Popen, question: str = "") -> dict:
    try:
        if question:
            worker.stdin.write(question)
            worker.stdin.flush()
        line = worker.stdout.readline()
    except BrokenPipeError:
        line = ""
    if not line:
        raise Failed(f"{' '.join(worker.args[2:])} ended with {worker.wait()}")
    return json.loads(line)


def _errors(samples: dict[str, Path]) -> dict[str, float]:
    loaded = {label: np.load(path) for label, path in samples.items() if path.exists()}
    if not loaded:
        return {}
    base = loaded.pop("truth", None)
    if base is None:
        base = loaded.pop(next(iter(loaded)))
    return {label: relative_error(value, base) for label, value in loaded.items()}


def relative_error(value: np.ndarray, base: np.ndarray) -> float:
    """rms(value − base) / rms(base), the largest over rows."""
    value, base = (np.asarray(x).reshape(-1, np.shape(x)[-1]) for x in (value, base))
    return float(np.max(np.linalg.norm(value - base, axis=-1) / np.linalg.norm(base, axis=-1)))

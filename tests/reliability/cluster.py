"""A Dask cluster of this machine in processes that can be killed one by one."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.reliability.hatchery import ONE_THREAD

ROOT = Path(__file__).parents[2]
DASK = Path(sys.executable).with_name("dask")


class Cluster(NamedTuple):
    """Processes of `dask scheduler` and `dask worker`; `cluster` begins them."""

    file: Path
    scheduler: subprocess.Popen[bytes]
    workers: list[subprocess.Popen[bytes]]


@contextlib.contextmanager
def cluster(folder: Path, workers: int = 2) -> Iterator[Cluster]:
    """A scheduler that leaves its address in FOLDER/scheduler.json, and workers without nannies."""
    file, begun = folder / "scheduler.json", []
    file.unlink(missing_ok=True)
    where = ["--scheduler-file", str(file)]
    try:
        begun.append(_dask(folder, "scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", *where))
        until = time.monotonic() + 60
        while not file.is_file() and time.monotonic() < until:
            time.sleep(0.05)
        for _ in range(workers):
            begun.append(worker(folder, file))
        yield Cluster(file, begun[0], begun[1:])
    finally:
        for process in begun:
            process.kill()
            process.wait()


def worker(folder: Path, file: Path) -> "subprocess.Popen[bytes]":
    """One more worker for the scheduler of a file."""
    words = ["--no-nanny", "--nthreads", "1", "--no-dashboard", "--death-timeout", "20", "--host", "127.0.0.1"]
    return _dask(folder, "worker", *words, "--scheduler-file", str(file))


def _dask(folder: Path, *words: str) -> "subprocess.Popen[bytes]":
    environment = {**os.environ, **ONE_THREAD, "PYTHONPATH": str(ROOT)}
    with (folder / f"{words[0]}.log").open("ab") as log:
        return subprocess.Popen([DASK, *words], cwd=folder, env=environment, stdout=log, stderr=log)

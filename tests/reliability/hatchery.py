"""Commands in processes of their own that begin at once: forked from one that has imported all that they need.

`python -m tests.reliability.hatchery` is that one. It computes nothing itself, so it has no threads that a fork would
lose. A command can be given limits and habits of dying that no option of lensrec has.
"""

import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tests.stages.command import Answer

ONE_THREAD = dict.fromkeys(("LENSREC_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
CAPABILITIES = 0x20080522
"""Of Linux, the version that this speaks."""

OVERRULING = (1, 2, 3)
"""CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER."""


class Command(NamedTuple):
    """A command that has begun."""

    hatchery: "Hatchery"
    pid: int
    folder: Path

    def kill(self) -> Answer:
        """End it by SIGKILL, and no other process."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        return self.wait()

    def running(self) -> bool:
        """Whether it has not ended."""
        return self.hatchery.ask({"wait": self.pid, "seconds": 0}) is None

    def wait(self, seconds: float = 300.0) -> Answer:
        """What it said; its status is minus the signal that ended it.

        Raises
        ------
        TimeoutError
            If it has not ended by then; it is killed.
        """
        status = self.hatchery.ask({"wait": self.pid, "seconds": seconds})
        said = [(self.folder / name).read_text(errors="replace") for name in ("out", "err")]
        if status is None:
            os.kill(self.pid, signal.SIGKILL)
            self.hatchery.ask({"wait": self.pid, "seconds": 10})
            raise TimeoutError(f"not ended after {seconds:.0f} s: {said}")
        return Answer(status, *said)


class Hatchery:
    """The other end of the process that commands are forked from; `hatchery` makes one."""

    def __init__(self, process: subprocess.Popen[str], folder: Path) -> None:
        self._process, self._folder, self._count = process, folder, 0

    def ask(self, request: dict[str, Any]) -> Any:
        """The answer to a request."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps(request), file=self._process.stdin, flush=True)
        return json.loads(self._process.stdout.readline())

    def begin(self, *words: object, **habits: Any) -> Command:
        """Begin a command line.

        Parameters
        ----------
        *words : of the command line, without lensrec
        **habits
            pictures : bool, whether it draws them (seconds of work for nothing where they are not looked at);
            die_at : int, the number of the system call, counted from 0 among those that give files their names, before
            or after which it kills itself;
            count_into : path, where it leaves how many such calls it made;
            file_limit : bytes, above which no file may grow, as on a full disk;
            powerless : bool, without what lets root write anywhere;
            scheduler_timeout : str, within which a Dask scheduler must answer;
            env : dict, of its environment.
        """
        folder = self._folder / f"command_{self._count}"
        self._count += 1
        folder.mkdir()
        pid = self.ask({"words": [str(word) for word in words], "folder": str(folder), **habits})
        return Command(self, pid, folder)

    def __call__(self, *words: object, **habits: Any) -> Answer:
        """Run a command line to its end."""
        return self.begin(*words, **habits).wait()


@contextlib.contextmanager
def hatchery(*, warm: bool = False) -> Iterator[Hatchery]:
    """A process to fork commands from; it ends with the block, and all that it began with it.

    One that is warm has gone through a small run itself, so that its commands need not import or compile anything.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.reliability.hatchery", *(["warm"] if warm else [])],
        cwd=Path(__file__).parents[2],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **ONE_THREAD},
    )
    with tempfile.TemporaryDirectory() as folder:
        try:
            yield Hatchery(process, Path(folder))
        finally:
            process.communicate()  # it ends with its input


def _serve() -> None:
    import lensrec.stages.bandpowers_run
    import lensrec.stages.reconstruct_run
    import lensrec.stages.simulate
    import lensrec.stages.view  # noqa: F401
    from lensrec import cli  # noqa: F401

    if sys.argv[1:] == ["warm"]:
        _warm_up()
    children: set[int] = set()
    ended: dict[int, int] = {}
    for line in sys.stdin:
        request = json.loads(line)
        if "wait" in request:
            pid = request["wait"]
            if pid not in ended and (status := _ended(pid, request["seconds"], children)) is not None:
                ended[pid] = status
            print(json.dumps(ended.get(pid)), flush=True)
            continue
        pid = os.fork()
        if pid == 0:
            _become(request)
        children.add(pid)
        print(pid, flush=True)
    for pid in children:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)


def _warm_up() -> None:
    import threading

    from tests.reliability.small_run import RECIPE, begun, commands

    with tempfile.TemporaryDirectory() as folder:
        recipe = Path(folder, "recipe.yaml")
        recipe.write_text(RECIPE.replace("seed: 5", "seed: 6"))
        run = begun(Path(folder, "run"), recipe)
        for words in commands(recipe, run):
            with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere), _without_pictures():
                assert _command(words) == 0
    assert threading.active_count() == len(os.listdir("/proc/self/task")) == 1  # a fork would lose the others


def _command(words: list[Any]) -> int:
    """The status of a command that is run here."""
    from lensrec import cli

    sys.argv = ["lensrec", *map(str, words)]
    try:
        cli.main()
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


@contextlib.contextmanager
def _without_pictures() -> Iterator[None]:
    from unittest import mock

    from lensrec.stages import bandpowers_run, view

    with (
        mock.patch.object(view, "view_run", return_value=[]),
        mock.patch.object(bandpowers_run, "bandpower_figures", return_value={}),
    ):
        yield


def _ended(pid: int, seconds: float, children: set[int]) -> int | None:
    until = time.monotonic() + seconds
    while True:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            children.discard(pid)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, 0)
                children.add(pid)  # workers that it left
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() >= until:
            return None
        time.sleep(0.01)


def _become(request: dict[str, Any]) -> None:
    """In the child: the command."""
    import atexit

    os.setpgid(0, 0)
    os.chdir(request["folder"])
    for name, descriptor in (("out", 1), ("err", 2)):
        handle = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(handle, descriptor)
        os.close(handle)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.environ.update(request.get("env", {}))
    status = 70
    try:
        _take_on(request)
        with contextlib.nullcontext() if request.get("pictures") else _without_pictures():
            status = _command(request["words"])
        if "count_into" in request:
            Path(request["count_into"]).write_text(str(_CALLS[0]))
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        atexit._run_exitfuncs()
        os._exit(status)


def _take_on(request: dict[str, Any]) -> None:
    """The habits of a command."""
    if request.get("file_limit") is not None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (request["file_limit"],) * 2)
    if request.get("scheduler_timeout"):
        from lensrec import engine_dask

        engine_dask.TIMEOUT = request["scheduler_timeout"]
    if request.get("powerless"):
        _give_up_power()
    _die_at(request.get("die_at", -1))


_CALLS = [0]


def _die_at(when: int) -> None:
    def counted(call: Any) -> Any:
        def instead(*given: Any, **named: Any) -> Any:
            _event(when)
            found = call(*given, **named)
            _event(when)
            return found

        return instead

    os.fsync, os.replace = counted(os.fsync), counted(os.replace)


def _event(when: int) -> None:
    if _CALLS[0] == when:
        os.kill(os.getpid(), signal.SIGKILL)
    _CALLS[0] += 1


def _give_up_power() -> None:
    """Make root a user like any other to the file system: its rights to overrule permissions go."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(CAPABILITIES, 0)
    sets = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable; the first 32, then the others
    if libc.capget(header, sets):
        raise OSError(ctypes.get_errno(), "the rights of this process cannot be read")
    for i in range(3):
        sets[i] &= ~sum(1 << right for right in OVERRULING)
    if libc.capset(header, sets):
        raise OSError(ctypes.get_errno(), "the right to overrule permissions cannot be given up")


if __name__ == "__main__":
    _serve()

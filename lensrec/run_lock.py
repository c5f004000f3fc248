"""One command at a time in a run directory."""

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lensrec.hold import holding
from lensrec.rundir import RunError, make_folder, now
from lensrec.sky.map_write import write_error

log = logging.getLogger(__name__)


@contextmanager
def locked(path: str | Path) -> Iterator[None]:
    """Hold a run directory, made if need be, against other commands; leftovers of killed ones are swept away.

    The lock is the operating system's, so it goes with its process, however that ends. Where the file system has
    none, the process named in the lock file is looked for instead.

    Raises
    ------
    RunError
        If another process holds it (the line says which), or the folder holds something that is no run.
    """
    folder = Path(path)
    make_folder(folder)
    try:
        handle = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise write_error(folder, error) from error
    try:
        if not _take(handle):
            holder = _text(handle) or "another process"
            raise RunError(f"{folder} is in use by {holder}; wait for it, or give another folder")
        mine = f"process {os.getpid()} on {socket.gethostname()} since {now()}"
        try:
            os.ftruncate(handle, 0)
            os.lseek(handle, 0, os.SEEK_SET)
            os.write(handle, mine.encode())
        except OSError as error:
            raise write_error(folder / ".lock", error) from error
        try:
            sweep(folder)
            with holding(folder / ".lock", mine):
                yield
            sweep(folder)
        finally:
            os.ftruncate(handle, 0)
    finally:
        os.close(handle)


def sweep(folder: Path) -> None:
    """Remove the temporary files of killed commands and workers; only for who holds the lock and has none at work."""
    for part in folder.rglob(".part-*"):
        log.info("%s: left by what was killed, removed", part)
        part.unlink(missing_ok=True)


def _take(handle: int) -> bool:
    try:
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except BlockingIOError:
        return False
    except (ImportError, OSError):
        return not _alive(_text(handle).split())


def _text(handle: int) -> str:
    os.lseek(handle, 0, os.SEEK_SET)
    return os.read(handle, 200).decode(errors="replace").strip()


def _alive(holder: list[str]) -> bool:
    # "process PID on HOST since TIME"; of another host's processes nothing can be known, so they count as alive
    if len(holder) < 4:
        return False
    if holder[3] != socket.gethostname():
        return True
    try:
        os.kill(int(holder[1]), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True

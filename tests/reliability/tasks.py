"""Tasks that misbehave, for workers to find by their names; a folder of marks says what has happened before."""

import os
import signal
import time
from pathlib import Path

from lensrec.sky.map_write import replacing


def slow_square(folder: str, x: int) -> int:
    """x², after a while; a mark for each time that it is begun."""
    _mark(folder, f"begun-{x}")
    time.sleep(0.2)
    return x * x


def fatal_once(folder: str, x: int) -> int:
    """x²; the first time that 2 is given, its worker dies instead."""
    if _mark(folder, f"begun-{x}") == 0 and x == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return x * x


def fatal_always(folder: str, x: int) -> int:
    """x²; of 2 its worker dies."""
    _mark(folder, f"begun-{x}")
    if x == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return x * x


def unreadable_once(folder: str, x: int) -> int:
    """x²; the first time that 2 is given, the disk fails."""
    if _mark(folder, f"begun-{x}") == 0 and x == 2:
        raise OSError(5, "Input/output error")
    return x * x


def unreadable_always(folder: str, x: int) -> int:
    """x²; of 2 the disk fails."""
    _mark(folder, f"begun-{x}")
    if x == 2:
        raise OSError(5, "Input/output error", "the/disk")
    return x * x


def full_disk(folder: str, x: int) -> int:
    """x²; of 2 the disk is full."""
    _mark(folder, f"begun-{x}")
    if x == 2:
        with replacing(Path(folder, "product")):
            raise OSError(28, "No space left on device")
    return x * x


def written_late(folder: str, x: int) -> int:
    """x²; a product of it when there is a file "go"."""
    _mark(folder, f"begun-{x}")
    with replacing(Path(folder, f"product-{x}")) as part:
        Path(part).touch()
        while not Path(folder, "go").exists():
            time.sleep(0.02)
    return x * x


def mistaken(folder: str, x: int) -> int:
    """x²; 2 is a mistake."""
    _mark(folder, f"begun-{x}")
    if x == 2:
        raise KeyError("two")
    return x * x


def begun(folder: Path, x: int) -> int:
    """How often a task was begun."""
    return len(list(folder.glob(f"begun-{x}.*")))


def _mark(folder: str, name: str) -> int:
    """Leave a mark; how many like it there were."""
    before = len(list(Path(folder).glob(f"{name}.*")))
    Path(folder, f"{name}.{before}.{os.getpid()}").touch()
    return before

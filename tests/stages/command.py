"""The command line, called in this process or in one of its own that stops before a product gets its name."""

import contextlib
import io
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from unittest import mock

from lensrec import cli

THREADS = {"LENSREC_NUM_THREADS": "2", "OMP_NUM_THREADS": "2"}

_STOPPING = """
import os, signal, sys
end, real = sys.argv.pop(1), os.replace
def replace(source, target):
    if str(target).endswith(end):
        os.kill(os.getpid(), signal.SIGSTOP)
    real(source, target)
os.replace = replace
from lensrec.cli import main
main()
"""


class Answer(NamedTuple):
    """What a command leaves in the terminal."""

    status: int
    out: str
    err: str


def lensrec(*words: object) -> Answer:
    """Run a command line in this process."""
    out, err = io.StringIO(), io.StringIO()
    with (
        mock.patch.object(sys, "argv", ["lensrec", *map(str, words)]),
        mock.patch.dict(os.environ, THREADS),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            cli.main()
            status = 0
        except SystemExit as stop:
            status = int(stop.code or 0)
    return Answer(status, out.getvalue(), err.getvalue())


@contextlib.contextmanager
def stopped_before(product: str, *words: object) -> Iterator[subprocess.Popen]:
    """A command that is halted when `product` is written but has not got its name; killed in the end, untold."""
    command = [sys.executable, "-c", _STOPPING, product, *map(str, words)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={**os.environ, **THREADS}
    )
    try:
        _, status = os.waitpid(process.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status), f"it was over before it wrote {product}"
        yield process
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()


def contents(folder: Path, *parts: str) -> dict[str, object]:
    """What every product under some parts of a run holds: tables as text, FITS without the dates in its headers."""
    roots = [folder / part for part in parts]
    files = [p for root in roots for p in ([root] if root.is_file() else sorted(root.rglob("*"))) if p.is_file()]
    return {str(p.relative_to(folder)): _content(p) for p in files if p.suffix != ".png" and p.name != ".lock"}


def _content(file: Path) -> object:
    if file.suffix != ".fits":
        return file.read_text()
    from astropy.io import fits

    with fits.open(file) as hdus:
        return [(hdu.name, None if hdu.data is None else (str(hdu.data.dtype), hdu.data.tobytes())) for hdu in hdus]

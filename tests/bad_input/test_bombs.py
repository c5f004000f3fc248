"""What would take all memory, or all day, is refused before it does."""

import json
import os
import re
import resource
import subprocess
import sys
import tracemalloc
from pathlib import Path
from unittest import mock

import pytest

from tests.bad_input import bombs, recipe_texts
from tests.bad_input.fits_files import BLOCK, healpix
from tests.bad_input.judge import Answer, Case, changes, check_words, contents, every, refused
from tests.stages.command import lensrec

PEAK = 64 << 20
"""Bytes that a refusal may take at most, numpy's arrays among them."""

MEMORY = 4 << 30
"""Bytes of address space of a process: numpy, healpy and the others reserve one or two."""

FREE = 1 << 30
"""Bytes of memory that the machine is said to have."""


@pytest.fixture(scope="module", autouse=True)
def imported(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What commands import counts for none of them."""
    folder = tmp_path_factory.mktemp("first")
    (folder / "bad.fits").write_bytes(healpix(4, ORDERING="SPIRAL"))
    lensrec("reconstruct", "--map", folder / "bad.fits", "--fwhm", "3", "--noise", "2", "--out", folder / "x")
    (folder / "bad.yaml").write_text("sky: 3")
    for command in ("simulate", "run", "fit", "forecast", "inspect"):
        lensrec(command, folder / "bad.yaml", *(() if command == "inspect" else ("--out", folder / "x")))


def measured(case: Case) -> None:
    tracemalloc.start()
    try:
        # what a file needs is compared with what is free, and test machines have plenty
        with mock.patch("lensrec.sky.fits_size.available_memory", return_value=FREE):
            refused(case)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < PEAK, f"{case}: {peak / 2**20:.0f} MiB"


@every(bombs.fits_bombs(), least=24)
def test_fits_files_that_would_be_large(case: Case) -> None:
    measured(case)


@every(recipe_texts.bombs(), least=16)
def test_yaml_that_would_be_large(case: Case) -> None:
    measured(case)


def test_zeros_behind_a_sound_map_are_not_unpacked(tmp_path: Path) -> None:
    from lensrec.sky.io import read_map

    (tmp_path / "m.fits.gz").write_bytes(bombs.joined(healpix(8), bombs.zeros(100 << 20)))
    tracemalloc.start()
    try:
        assert read_map(tmp_path / "m.fits.gz").nside == 8
        assert tracemalloc.get_traced_memory()[1] < PEAK
    finally:
        tracemalloc.stop()


def _cases() -> dict[str, Case]:
    laughs = "a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
        f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
    )
    call = '!!python/object/apply:os.system ["touch PWNED"]'
    return {
        "zeros": bombs.raw("zeros", "bad.fits.gz", lambda: bombs.joined(healpix(4)[:BLOCK], bombs.zeros(100 << 20))),
        "tiles": bombs.raw("tiles", "bad.fits", lambda: bombs.tiles(10**6)),
        "laughs": recipe_texts.of_bytes("laughs", (laughs + "sky: *i\n").encode(), ("bad.yaml",)),
        "call": recipe_texts.of_bytes("call", f"sky: {call}".encode(), ("bad.yaml",)),
    }


@pytest.mark.parametrize("name", _cases())
def test_a_process_of_little_memory_says_the_same(name: str, tmp_path: Path) -> None:
    """A command of its own, as a user gives it, that may have no more than 4 GiB of addresses and 60 s."""
    case = _cases()[name]
    words = [str(word) for word in case.make(tmp_path)]
    before = contents(tmp_path)

    def confine() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_CPU, (60, 60))

    code = (
        "from pathlib import Path; from lensrec.cli import main\n"
        "try: main()\n"
        # not by getrusage, which starts from what the parent held
        "finally: print(next(line.split()[1] for line in Path('/proc/self/status').open() if line[:6] == 'VmHWM:'))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code, *words],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1", "LENSREC_NUM_THREADS": "1"},
        preexec_fn=confine,
        timeout=300,
    )
    *said, used = ran.stdout.splitlines()
    line = check_words(Answer(ran.returncode, "\n".join(said), ran.stderr), case.named, str(tmp_path))
    assert ran.returncode == 1
    assert json.loads(used) * 1024 < 700 << 20  # of which imports are most
    assert not changes(before, contents(tmp_path))
    free = re.compile(r"and [\d.e+]+ GB are free")
    assert free.sub("", lensrec(*words).err) == free.sub("", f"lensrec: {line}\n")

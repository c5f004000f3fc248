"""Commands and workers killed by SIGKILL at moments drawn by chance: gone on with, they leave the undisturbed run."""

import random
import shutil
import time
from pathlib import Path

import psutil
import pytest

from tests.reliability.conftest import Reference, one_line
from tests.reliability.hatchery import Command, Hatchery
from tests.reliability.small_run import begun, commands, fingerprints

POOL = ("--engine", "pool", "--workers", "2")


def killed_in_calls(hatch: Hatchery, rng: random.Random, words: list[object], calls: int, kills: int) -> int:
    """Kill a command about the calls that give files their names, then let it end; how many kills met it at work."""
    met = 0
    for _ in range(kills):
        answer = hatch(*words, die_at=rng.randrange(calls))
        met += answer.status == -9
        assert answer.status in (-9, 0), answer
    answer = hatch(*words)
    assert (answer.status, answer.err) == (0, "")
    return met


def test_kills_about_the_naming_of_files(hatch: Hatchery, reference: Reference, tmp_path: Path) -> None:
    rng, run = random.Random(1), begun(tmp_path / "run", reference.recipe)
    met = 0
    for words, calls in zip(commands(reference.recipe, run), reference.calls, strict=True):
        met += killed_in_calls(hatch, rng, words, calls, kills=3)
    assert met >= 4  # of 9; a draw may lie beyond what was left to do
    assert fingerprints(run) == reference.products


def test_kills_at_any_time(hatch: Hatchery, reference: Reference, tmp_path: Path) -> None:
    rng, run = random.Random(3), begun(tmp_path / "run", reference.recipe)
    for words, seconds in zip(commands(reference.recipe, run), reference.seconds, strict=True):
        for _ in range(2):
            command = hatch.begin(*words)
            time.sleep(rng.uniform(0.0, seconds))
            assert command.kill().status in (-9, 0)
        answer = hatch(*words)
        assert (answer.status, answer.err) == (0, "")
    assert fingerprints(run) == reference.products


def workers_of(command: Command) -> list[psutil.Process]:
    """Processes of a pool, once one of them is past its start."""
    until = time.monotonic() + 60
    while time.monotonic() < until and command.running():
        children = psutil.Process(command.pid).children()
        found = [one for one in children if "spawn_main" in " ".join(one.cmdline())]
        if len(found) == 2:
            return found
        time.sleep(0.01)
    raise AssertionError("there were no workers")


def test_workers_end_with_a_command_that_is_killed(hatch: Hatchery, reference: Reference, tmp_path: Path) -> None:
    run = begun(tmp_path / "run", reference.recipe)
    words = commands(reference.recipe, run)[0]
    command = hatch.begin(*words, *POOL)
    workers = workers_of(command)
    time.sleep(random.Random(4).uniform(0.0, 3.0))
    command.kill()
    answer = hatch(*words)  # the lock is free at once, whatever workers do
    assert (answer.status, answer.err) == (0, "")
    _, alive = psutil.wait_procs(workers, timeout=20)
    assert not alive
    answer = hatch(*words)
    parts = ("sims/", "mask.fits", "recipe.yaml", "theory.ecsv")
    assert fingerprints(run) == {k: v for k, v in reference.products.items() if k.startswith(parts)}


def test_a_command_outlives_its_workers(hatch: Hatchery, reference: Reference, tmp_path: Path) -> None:
    run = begun(tmp_path / "run", reference.recipe)
    command = hatch.begin(*commands(reference.recipe, run)[0], *POOL)
    worker = workers_of(command)[1]
    time.sleep(random.Random(5).uniform(0.0, 2.0))
    worker.kill()
    answer = command.wait()
    assert answer.status == 0, answer
    parts = ("sims/", "mask.fits", "recipe.yaml", "theory.ecsv")
    assert fingerprints(run) == {k: v for k, v in reference.products.items() if k.startswith(parts)}


def wait_until_held(run: Path, command: Command) -> None:
    """Return when a command has a run."""
    lock = run / ".lock"
    while not (lock.is_file() and f"process {command.pid} " in lock.read_text()):
        assert command.running()
        time.sleep(0.005)


def test_a_stopped_command_keeps_its_run(hatch: Hatchery, reference: Reference, tmp_path: Path) -> None:
    """Whichever command is second, it is told; the first is unharmed."""
    run = begun(tmp_path / "run", reference.recipe)
    simulate, reconstruct, bandpowers = commands(reference.recipe, run)
    for first, second in ((simulate, reconstruct), (reconstruct, simulate), (bandpowers, [*reconstruct, *POOL])):
        command = hatch.begin(*first)
        process = psutil.Process(command.pid)
        wait_until_held(run, command)
        process.suspend()
        before = fingerprints(run)
        line = one_line(hatch(*second))
        assert f"{run} is in use by process {command.pid} on " in line
        assert fingerprints(run) == before
        process.resume()
        answer = command.wait()
        assert (answer.status, answer.err) == (0, "")
    assert fingerprints(run) == reference.products


def test_the_lock_of_a_run_goes_with_its_command(hatch: Hatchery, reference: Reference, tmp_path: Path) -> None:
    """Nor is a run that is held by a Dask cluster's command free for another, until that command is killed."""
    pytest.importorskip("distributed", reason="the extra `cluster` is not installed")
    run = tmp_path / "run"
    shutil.copytree(reference.run, run)
    shutil.rmtree(run / "sims")
    words = commands(reference.recipe, run)[0]
    command = hatch.begin(*words, "--engine", "dask", "--workers", "1")
    wait_until_held(run, command)
    tree = psutil.Process(command.pid).children(recursive=True)
    assert f"is in use by process {command.pid}" in one_line(hatch(*words))
    command.kill()
    answer = hatch(*words)
    assert (answer.status, answer.err) == (0, "")
    _, alive = psutil.wait_procs(tree, timeout=30)
    assert not alive
    assert fingerprints(run) == reference.products

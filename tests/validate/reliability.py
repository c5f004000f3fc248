"""Kill it anywhere, many times: `python -m tests.validate reliability`; resumable, writes docs/reliability.md.

The trials are those of tests/reliability, drawn again and again. Each kind is a function of its number, which seeds
what is drawn; what it returns is kept in a small file.
"""

import hashlib
import platform
import random
import shutil
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np
import psutil

from lensrec.run_files import is_whole
from lensrec.rundir import write_text
from tests.reliability.cluster import cluster
from tests.reliability.conftest import Reference, undisturbed
from tests.reliability.hatchery import Command, Hatchery, hatchery
from tests.reliability.small_run import RECIPE, begun, commands, fingerprints
from tests.stages.command import Answer
from tests.validate.store import kept

Outcome = dict[str, np.ndarray]

SKIES = """
name: many
cosmology: {lens_potential_accuracy: 1}
sky: {nside: 128, lmax: 350, lmax_data: 256, seed: 11, n_sims: 32}
instrument: {fwhm: 20 arcmin, noise_t: 10}
mask: {galactic_cut: 15, apodisation: 5}
reconstruction: {estimators: "TT,EE,TE,EB,MV", lmin_t: 8, lmin_p: 8, L_max: 200, mean_field_sims: 8, n1: none}
"""

SAYING = 600
"""Bytes that a command may say, since what it says goes to a file, too."""

INTRODUCTION = """# When things die

This page is written by `python -m tests.validate reliability`; no number on it was typed. It shows what is left of a
run when its command, a worker, a Dask scheduler or the disk under it gives way at a moment drawn by chance, and that
the same command, given again, ends with the files of a run that nothing disturbed: the fingerprints (SHA-256) of all
products are equal. `provenance.json`, which has the time in it, is left out; `bandpowers.sacc.fits`, which has memory
addresses for names of windows, is compared by its numbers.

Small runs (nside 16, three skies behind a mask, uneven noise, Gaussian skies, simulated response, N1, band powers; no
pictures) have their commands forked from a process that has imported lensrec, so that kills meet the work.

"""

AFTER_TABLE = """
A kill that comes when the command is over, or a limit that no file reaches, meets nothing, and is not counted in the
third column. Of a full disk, and of a scheduler, the command says in one line what happened, names the file or the
cluster, and exits with status 1. No temporary file is left, and what has a product's name is whole. Of the products
that were cut, band powers of a sky are always one: Gaussian skies are only read, and made again, while a sky is still
to be reconstructed.

## 32 skies by two Dask workers, one killed

The recipe below, in one process, and on a Dask cluster of two workers, one of which was killed by SIGKILL when half of
the skies were simulated, and one when half were reconstructed. Of each part of the run this is the SHA-256 of the list
of its files with theirs, pictures among them: **{verdict}**.

| part | files | one process | Dask, workers killed |
|---|---|---|---|
"""


class Trials:
    """Small runs that are disturbed, one kind a method.

    Parameters
    ----------
    hatch : Hatchery
    reference : Reference
        What they should come to.
    """

    def __init__(self, hatch: Hatchery, reference: Reference) -> None:
        self.hatch, self.reference = hatch, reference

    def killed_command(self, number: int) -> Outcome:
        """A run whose three commands are each killed once, at a file's naming (even numbers) or at any time."""
        rng = random.Random(f"command {number}")
        met = []
        with self.folder() as run:
            for k, words in enumerate(self.words(run)):
                if number % 2:
                    command = self.hatch.begin(*words)
                    time.sleep(rng.uniform(0.0, self.reference.seconds[k]))
                    met.append(command.kill().status == -9)
                else:
                    met.append(self.hatch(*words, die_at=rng.randrange(self.reference.calls[k])).status == -9)
                self.goes_on(words)
            return self.outcome(run, met=met)

    def killed_with_pool(self, number: int) -> Outcome:
        """A command killed while its pool of processes works: these end, and the next has the run at once."""
        rng = random.Random(f"pool {number}")
        with self.folder() as run:
            words = self.ready(run, number % 2)
            command = self.hatch.begin(*words, "--engine", "pool", "--workers", "2")
            workers = workers_of(command, 2)
            time.sleep(rng.uniform(0.0, 4.0))
            met = command.kill().status == -9
            self.goes_on(words)
            _, alive = psutil.wait_procs(workers, timeout=30)
            return self.outcome(run, stages=number % 2 + 1, met=[met and not alive])

    def killed_pool_worker(self, number: int) -> Outcome:
        """A worker of a pool killed; the command goes on by itself."""
        return self.killed_worker("pool", number)

    def killed_dask_worker(self, number: int) -> Outcome:
        """The same of a Dask cluster on this machine, whose nannies begin workers anew."""
        return self.killed_worker("dask", number)

    def killed_worker(self, engine: str, number: int) -> Outcome:
        rng = random.Random(f"{engine} worker {number}")
        with self.folder() as run:
            words = self.ready(run, number % 2)
            command = self.hatch.begin(*words, "--engine", engine, "--workers", "2")
            workers = workers_of(command, 2)
            time.sleep(rng.uniform(0.0, 4.0))
            worker = rng.choice(workers)
            met = worker.is_running()
            worker.kill()
            answer = command.wait(200)
            assert answer.status == 0, answer
            return self.outcome(run, stages=number % 2 + 1, met=[met])

    def killed_scheduler(self, number: int) -> Outcome:
        """A Dask scheduler killed: one line in bounded time, and the same command goes on without it."""
        rng = random.Random(f"scheduler {number}")
        with self.folder() as run, tempfile.TemporaryDirectory() as there:
            words = self.ready(run, number % 2)
            with cluster(Path(there)) as here:
                command = self.hatch.begin(*words, "--engine", here.file, "--workers", 2, scheduler_timeout="5s")
                wait_for(lambda: "process" in text_of(run / ".lock"), command)
                time.sleep(rng.uniform(0.0, 3.0))
                here.scheduler.kill()
                began = time.monotonic()
                answer = command.wait(60)
                seconds = time.monotonic() - began
            met = answer.status != 0
            if met:
                assert "the same command goes on where this one was" in line_of(answer)
            self.goes_on(words)
            return {**self.outcome(run, stages=number % 2 + 1, met=[met]), "seconds": np.array(seconds)}

    def full_disk(self, number: int) -> Outcome:
        """No file may grow beyond a size drawn by chance: one line, and nothing half written has a product's name."""
        rng = random.Random(f"disk {number}")
        largest = max(p.stat().st_size for p in self.reference.run.rglob("*.fits"))
        met = []
        with self.folder() as run:
            for words in self.words(run):
                pool = ["--engine", "pool", "--workers", "2"] if number % 5 == 4 else []
                limit = max(SAYING, int(largest ** rng.uniform(0.3, 1.0)))
                answer = self.hatch(*words, *pool, file_limit=limit)
                met.append(answer.status == 1)
                if answer.status:
                    assert "cannot be written" in line_of(answer)
                made = fingerprints(run)
                assert all(self.reference.products[name] == value for name, value in made.items())
                self.goes_on(words)
            return self.outcome(run, met=met)

    def cut_products(self, number: int) -> Outcome:
        """Products of a finished run cut to any length: the commands, given again, make them anew.

        Band powers of one sky are always among them: Gaussian skies are read, and looked at, only while a sky is still
        to be reconstructed, so that they may be thrown away when all are.
        """
        rng = random.Random(f"cut {number}")
        with self.folder() as run:
            shutil.rmtree(run)
            shutil.copytree(self.reference.run, run)
            products = [
                p for p in sorted(run.rglob("*")) if p.suffix in (".fits", ".ecsv") or p.name == "amplitude.json"
            ]
            always = run / "recon" / f"{rng.randrange(3):04d}" / "bandpowers.ecsv"
            chosen = [
                always,
                *rng.sample([p for p in products if p not in (always, run / "theory.ecsv")], rng.randint(0, 5)),
            ]
            for file in chosen:
                file.write_bytes(file.read_bytes()[: rng.randrange(file.stat().st_size)])
            met = [not is_whole(file) for file in chosen]
            for words in self.words(run):
                self.goes_on(words)
            return self.outcome(run, met=met)

    def folder(self) -> "TemporaryRun":
        """A run that has begun, in a folder of its own."""
        return TemporaryRun(self.reference.recipe)

    def words(self, run: Path) -> list[list[object]]:
        """The commands of a run."""
        return commands(self.reference.recipe, run)

    def ready(self, run: Path, stage: int) -> list[object]:
        """The words of a command, with all that the ones before it would have left."""
        if stage:
            shutil.copy(self.reference.run / "mask.fits", run)
            shutil.copytree(self.reference.run / "sims", run / "sims")
        return self.words(run)[stage]

    def goes_on(self, words: list[object]) -> None:
        """Run a command to its end, which nothing may keep it from."""
        answer = self.hatch(*words)
        assert (answer.status, answer.err) == (0, ""), answer

    def outcome(self, run: Path, *, met: list[bool], stages: int = 3) -> Outcome:
        """How many kills met the command at work, of how many; and whether all products are the undisturbed ones."""
        later = (*(["recon/"] if stages < 2 else []), *(["spectra/", "bandpowers."] if stages < 3 else []))
        wanted = {name: value for name, value in self.reference.products.items() if not name.startswith(later)}
        same = fingerprints(run) == wanted
        return {"met": np.array(sum(met)), "tried": np.array(len(met)), "same": np.array(same)}


class TemporaryRun:
    """A run in a folder that goes when it is no longer needed."""

    def __init__(self, recipe: Path) -> None:
        self._folder, self._recipe = tempfile.TemporaryDirectory(), recipe

    def __enter__(self) -> Path:
        return begun(Path(self._folder.name) / "run", self._recipe)

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()


KINDS: dict[str, tuple[int, str]] = {
    "killed_command": (20, "SIGKILL of the command, in each of simulate, reconstruct and bandpowers"),
    "killed_with_pool": (10, "SIGKILL of the command while a pool of two processes works for it"),
    "killed_pool_worker": (20, "SIGKILL of a worker of the pool; the command ends by itself"),
    "killed_dask_worker": (20, "SIGKILL of a worker of a Dask cluster of two; the command ends by itself"),
    "killed_scheduler": (10, "SIGKILL of the Dask scheduler"),
    "full_disk": (20, "files limited to a size drawn by chance, in each of the three commands"),
    "cut_products": (30, "one to six products of a finished run cut to a length drawn by chance"),
}


def workers_of(command: Command, count: int) -> list[psutil.Process]:
    """Processes that a command has begun, once they are all there."""
    found: list[psutil.Process] = []

    def there() -> bool:
        children = psutil.Process(command.pid).children(recursive=True)
        found[:] = [one for one in children if "spawn_main" in " ".join(one.cmdline())]
        return len(found) == count

    wait_for(there, command)
    return found


def wait_for(condition: Callable[[], bool], command: Command, seconds: float = 120.0) -> None:
    """Return when a condition holds."""
    until = time.monotonic() + seconds
    while not condition():
        if not command.running() or time.monotonic() > until:
            raise AssertionError(f"what was waited for did not come: {command.wait(0)}")
        time.sleep(0.01)


def text_of(file: Path) -> str:
    """The text of a file; empty where there is none."""
    return file.read_text() if file.is_file() else ""


def line_of(answer: Answer) -> str:
    """The last line on stderr of a command that failed; before it there may be warnings of what is tried again."""
    assert answer.status == 1, answer
    lines = answer.err.splitlines()
    assert all(line.startswith("lensrec: ") for line in lines), answer
    return lines[-1]


def many_skies(hatch: Hatchery, folder: Path) -> Outcome:
    """32 skies in one process, and by two Dask workers of which one is killed in each of two stages."""
    folder.mkdir(parents=True, exist_ok=True)
    recipe = folder / "recipe.yaml"
    recipe.write_text(SKIES)
    serial, clustered = folder / "serial", folder / "dask"
    shutil.rmtree(clustered, ignore_errors=True)
    for words in commands(recipe, serial)[:2]:
        answer = hatch.begin(*words, pictures=True).wait(3600)
        assert answer.status == 0, answer
        print(answer.out.splitlines()[-1], flush=True)
    halves = (clustered / "sims" / "0016" / "data.fits", clustered / "recon" / "0016" / "bandpowers.ecsv")
    for half, words in zip(halves, commands(recipe, clustered)[:2], strict=True):
        command = hatch.begin(*words, "--engine", "dask", "--workers", "2", pictures=True)
        wait_for(half.is_file, command, 3600)
        worker = workers_of(command, 2)[0]
        worker.kill()
        answer = command.wait(3600)
        assert answer.status == 0, answer
        print(f"{answer.out.splitlines()[-1]}; worker {worker.pid} was killed on the way", flush=True)
    one, two = fingerprints(serial), fingerprints(clustered)
    groups = sorted({name.partition("/")[0] for name in one})
    shutil.rmtree(folder)
    return {
        "same": np.array(one == two),
        "digests": np.array([[group, _digest(one, group), _digest(two, group)] for group in groups]),
        "counts": np.array([sum(name.partition("/")[0] == group for name in one) for group in groups]),
    }


def run(store: Path, docs: Path) -> int:
    """Make the trials that are missing and write the page; returns how many have failed."""
    store = store / "reliability"
    rows, failed = [], 0
    with hatchery(warm=True) as hatch, tempfile.TemporaryDirectory() as folder:
        trials = Trials(hatch, undisturbed(hatch, Path(folder), RECIPE))
        for kind, (count, text) in KINDS.items():
            found = [one for n in range(count) if (one := _tried(store, getattr(trials, kind), n)) is not None]
            failed += count - sum(bool(one["same"]) for one in found)
            rows.append(_row(text, count, found))

    def skies(number: int) -> Outcome:
        with hatchery() as cold:
            return many_skies(cold, store / f"skies_{number}")

    many = kept(store, skies, 0)
    failed += int(not many["same"])
    write_text(docs / "reliability.md", _page(rows, many))
    print(f"reliability: {failed} failed", flush=True)
    return failed


def _tried(store: Path, trial: Callable[[int], Outcome], number: int) -> Outcome | None:
    """The outcome of a trial; None, and why, where it is not what was promised."""
    try:
        return kept(store, trial, number)
    except (AssertionError, TimeoutError) as error:
        print(f"FAILED: {trial.__name__} {number}: {error}", flush=True)
        return None


def _row(text: str, count: int, found: list[Outcome]) -> list[str]:
    met, tried, same = (sum(int(one[key]) for one in found) for key in ("met", "tried", "same"))
    if seconds := [float(one["seconds"]) for one in found if "seconds" in one]:
        text += f"; told after {max(seconds):.0f} s at most"
    return [text, str(count), f"{met} of {tried}", f"{same} of {count}"]


def _digest(prints: dict[str, str], group: str) -> str:
    lines = [f"{name} {value}\n" for name, value in sorted(prints.items()) if name.partition("/")[0] == group]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _page(rows: list[list[str]], skies: Outcome) -> str:
    head = ["what was done", "runs", "met it at work", "same bits in the end"]
    table = [head, ["---"] * len(head), *rows]
    text = INTRODUCTION + "".join(f"| {' | '.join(line)} |\n" for line in table)
    text += AFTER_TABLE.format(verdict="all are equal" if skies["same"] else "they differ")
    for (group, serial, dask), count in zip(skies["digests"], skies["counts"], strict=True):
        text += f"| {group} | {count} | `{serial}` | `{dask}` |\n"
    text += f"\n```yaml\n{SKIES.strip()}\n```\n"
    packages = ", ".join(f"{name} {version(name)}" for name in ("lensrec", "ducc0", "numpy", "distributed"))
    return text + f"\nMade with {packages}, Python {platform.python_version()}.\n"

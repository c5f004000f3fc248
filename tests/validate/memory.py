"""The memory that stages are predicted to take against what they take; python -m tests.validate memory.

Every stage of every case runs in a process of its own, and its peak is kept in a file: an interrupted table goes on.
"""

import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from lensrec.machine import available_memory
from lensrec.recipe import Recipe
from lensrec.rundir import create_run
from lensrec.sky.map_write import replacing
from lensrec.stages.memory import mapping_of, peak_memory, phases
from lensrec.view.figure import drawing, new_figure, save_figure

ROOT = Path(__file__).resolve().parents[2]

WITHIN = 0.15

MOST = 14e9
"""Bytes: a stage that is predicted to take more is left out, and said so."""

MASKED: dict[str, Any] = {"mask": {"galactic_cut": 20}}
FOUR = {"mean_field_sims": 4, "rdn0": "simulations"}
SINGLE = {"precision": "single"}
# an optimal filter takes as many arrays, and fewer iterations
NOISY = {"noise_t": 60, "fwhm": 30}


class Case(NamedTuple):
    """A recipe, the stages of it that are measured, how many threads they have, and another case of the same skies."""

    name: str
    sections: dict[str, Any]
    stages: tuple[str, ...]
    threads: int = 1
    like: str = ""


ALL = ("simulate", "reconstruct", "bandpowers", "split", "view")
LEFT = {
    "simulate": ("sims",),
    "reconstruct": ("recon",),
    "bandpowers": ("spectra",),
    "split": (),
    "view": ("pictures",),
}
"""What a stage leaves, and would not make again."""

HELD = {"split": {"cosmology": "fixed"}}


# CAMB in a third of the time and of the memory, where it is not CAMB that is looked at
QUICK = {"lens_potential_accuracy": 1}


def _sky(nside: int, **more: Any) -> dict[str, Any]:
    return {"nside": nside, "epsilon": 1e-6, "seed": 1, **more}


def _case(name: str, stages: tuple[str, ...], threads: int = 1, like: str = "", **sections: Any) -> Case:
    """A case without N1, which takes long."""
    rec = {"n1": "none", **sections.pop("reconstruction", {})}
    return Case(name, {"cosmology": QUICK, **sections, "reconstruction": rec}, stages, threads, like)


_TT = "T, Q and U without lenses, TT alone"

CASES = (
    Case("nside 256, N1", {"sky": _sky(256), **HELD}, ALL),
    _case("nside 256, masked, 4 Gaussian skies", ALL[:3], sky=_sky(256), **MASKED, reconstruction=FOUR),
    _case(
        "nside 256, optimal filter",
        ALL[1:2],
        like="nside 256, masked, 4 Gaussian skies",
        sky=_sky(256),
        **MASKED,
        instrument=NOISY,
        reconstruction={"filter": "optimal"},
    ),
    _case("nside 512", ALL, sky=_sky(512), **HELD),
    _case("nside 512, 2 threads", ALL[1:2], 2, like="nside 512", sky=_sky(512)),
    _case("nside 512, single precision", ALL[:2], sky=_sky(512, **SINGLE, epsilon=1e-5), reconstruction=SINGLE),
    _case("nside 512, T alone", ALL[:3], sky=_sky(512, polarisation=False)),
    _case("nside 512, MV and GMV", ALL[1:2], like="nside 512", sky=_sky(512), reconstruction={"estimators": "MV,GMV"}),
    _case("nside 512, TTH", ALL[1:2], like="nside 512", sky=_sky(512), reconstruction={"estimators": "TT,TTH"}),
    _case("nside 512, masked, 4 Gaussian skies", ALL[:3], sky=_sky(512), **MASKED, reconstruction=FOUR),
    _case(
        "nside 512, optimal filter",
        ALL[1:2],
        like="nside 512, masked, 4 Gaussian skies",
        sky=_sky(512),
        **MASKED,
        instrument=NOISY,
        reconstruction={"filter": "optimal"},
    ),
    _case(
        "nside 512, masked, 4 splits",
        ALL[1:3],
        like="nside 512, masked, 4 Gaussian skies",
        sky=_sky(512),
        **MASKED,
        bandpowers={"splits": 4},
    ),
    _case(
        "nside 512, uneven noise, simulated response",
        ALL[:3],
        sky=_sky(512),
        **MASKED,
        instrument={"hits": "ecliptic"},
        reconstruction={"mc_response": "report", "response_sims": 2},
    ),
    _case(
        f"nside 1024, masked, {_TT}",
        ALL[:3],
        sky=_sky(1024, lensed=False),
        **MASKED,
        reconstruction={"estimators": "TT"},
    ),
    _case("nside 1024", ALL, sky=_sky(1024), **HELD),
    _case("nside 1024, single precision", ALL[:2], sky=_sky(1024, **SINGLE, epsilon=1e-5), reconstruction=SINGLE),
    _case(
        f"nside 2048, masked, {_TT}",
        ALL[:3],
        sky=_sky(2048, lensed=False),
        **MASKED,
        reconstruction={"estimators": "TT"},
    ),
    _case("nside 2048", ALL[:3], sky=_sky(2048)),
)

INTRODUCTION = """# Memory

This page is written by `python -m tests.validate memory`; no number on it was typed. Before it starts, every stage
counts the arrays that it will hold, and `lensrec info RECIPE` shows what comes of it. Here each stage of a recipe ran
in a process of its own, and this is the peak of its resident memory by the operating system, beside the prediction.

![predicted and measured](pictures/memory.png)

| recipe | stage | what it is doing then | predicted [GB] | measured [GB] | ratio |
|---|---|---|---|---|---|
"""

CLOSING = """
Each is within {within:.0f} %. The worst ratio is {worst:.3f}: {where}.

What is beside arrays, the interpreter, its modules and blocks that the C library's allocator keeps, is a constant for
each stage (`BASE` of `lensrec.stages.memory`) that was taken from the cases of nside 256 and 512; arrays are counted.
Compiled code was in numba's cache: a first run, which compiles, takes some {compiled:.2f} GB more.
Spectra were computed with lens_potential_accuracy 1, but for the first case.
"""


class Measured(NamedTuple):
    """A stage of a case: its peak, and what was predicted."""

    case: Case
    stage: str
    doing: str
    predicted: int
    peak: int

    @property
    def ratio(self) -> float:
        """Predicted over measured."""
        return self.predicted / self.peak


def recipe_of(case: Case) -> Recipe:
    """The recipe of a case."""
    return Recipe.model_validate({"name": case.name, **case.sections, "compute": {"backend": "numpy"}})


def measure(case: Case, store: Path) -> dict[str, int]:
    """Peaks of its stages: those at hand read, the others measured and kept.

    A stage that was interrupted begins anew: what it has left would not be made again, and would take no memory.
    """
    folder = _folder(case.name, store)
    file, run = folder.with_suffix(".json"), folder / "run"
    peaks: dict[str, int] = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    if set(case.stages) <= set(peaks):
        return peaks
    recipe = recipe_of(case)
    if not run.is_dir():
        peaks = {}
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "given.yaml").write_text(recipe.dump(), encoding="utf-8")
        create_run(run, recipe)
        if case.like:
            _same_skies(case, store, run)
    for stage in case.stages:
        if stage in peaks:
            continue
        needed = peak_memory(recipe, stage, nthreads=case.threads)
        if needed > min(MOST, 0.9 * available_memory()):
            print(f"{case.name}: {stage} would take {needed / 1e9:.1f} GB and is left out", flush=True)
            break
        for name in LEFT[stage]:
            shutil.rmtree(run / name, ignore_errors=True)
        peaks[stage] = _peak(case, stage, folder)
        with replacing(file) as temporary:
            Path(temporary).write_text(json.dumps(peaks, indent=2) + "\n", encoding="utf-8")
        found = f"{peaks[stage] / 1e9:.3f} GB, predicted {needed / 1e9:.3f}, {needed / peaks[stage]:.3f}"
        print(f"{case.name}: {stage} {found}", flush=True)
    return peaks


def _peak(case: Case, stage: str, folder: Path) -> int:
    """Bytes that a process takes which runs a stage."""
    command = [sys.executable, "-m", "tests.validate.memory_stage", stage, str(folder / "run")]
    command.append(str(folder / "given.yaml"))
    threads = dict.fromkeys(("LENSREC_NUM_THREADS", "OMP_NUM_THREADS"), str(case.threads))
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, **threads}, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{case.name}: {stage}: exit {done.returncode}: {done.stderr.strip()}")
    return int(done.stdout.split()[-1])


def _folder(name: str, store: Path) -> Path:
    return store / name.replace(",", "").replace(" ", "_")


def _same_skies(case: Case, store: Path, run: Path) -> None:
    """Skies, mask and spectra of another case, whose reconstruction alone differs; made where that has none left."""
    source = _folder(case.like, store) / "run"
    if not (source / "sims").is_dir():
        _peak(case, "simulate", run.parent)
        return
    for name in ("theory.ecsv", "mask.fits"):
        if (source / name).is_file():
            os.link(source / name, run / name)
    shutil.copytree(source / "sims", run / "sims", copy_function=os.link)


def compared(case: Case, peaks: dict[str, int]) -> list[Measured]:
    """Predictions beside peaks."""
    recipe, rows = recipe_of(case), []
    for stage in case.stages:
        if stage in peaks:
            found = phases(recipe, stage, nthreads=case.threads)
            doing = mapping_of(found)
            rows.append(Measured(case, stage, doing, found[doing], peaks[stage]))
    return rows


def run(store: Path, docs: Path) -> int:
    """Measure what has not been, and write docs/memory.md; the number of predictions that are off."""
    with tempfile.TemporaryDirectory() as folder:  # which compiles what all of them need, and keeps it
        measure(_case("warm-up", ALL[:3], sky=_sky(32), reconstruction={"n1": "fiducial"}), Path(folder))
    rows = [row for case in CASES for row in compared(case, measure(case, store / "memory"))]
    write(rows, docs)
    for case in CASES:
        shutil.rmtree(_folder(case.name, store / "memory"), ignore_errors=True)
    off = [row for row in rows if abs(row.ratio - 1.0) > WITHIN]
    for row in off:
        print(f"FAILED: {row.case.name}: {row.stage}: {row.ratio:.3f}", flush=True)
    return len(off)


def write(rows: list[Measured], docs: Path) -> None:
    """The page and its picture."""
    from lensrec.stages.memory import COMPILED

    text = INTRODUCTION
    for row in rows:
        mark = "" if abs(row.ratio - 1.0) <= WITHIN else " **off**"
        numbers = f"{row.predicted / 1e9:.2f} | {row.peak / 1e9:.2f} | {row.ratio:.3f}{mark}"
        text += f"| {row.case.name} | {row.stage} | {row.doing} | {numbers} |\n"
    worst = max(rows, key=lambda row: abs(row.ratio - 1.0))
    text += CLOSING.format(
        within=100 * WITHIN, worst=worst.ratio, where=f"{worst.case.name}, {worst.stage}", compiled=COMPILED / 1e9
    )
    names = ("lensrec", "ducc0", "numpy", "numba", "camb", "astropy")
    packages = ", ".join(f"{name} {version(name)}" for name in names)
    text += f"\nMade with {packages}, Python {platform.python_version()}.\n"
    with replacing(docs / "memory.md") as temporary:
        Path(temporary).write_text(text, encoding="utf-8")
    _picture(rows, docs / "pictures" / "memory.png")


def _picture(rows: list[Measured], path: Path) -> None:
    """Measured over predicted, both logarithmic, within a band."""
    low, high = 0.8 * min(row.peak for row in rows) / 1e9, 1.25 * max(row.peak for row in rows) / 1e9
    with drawing():
        figure = new_figure(5.0)
        axes = figure.subplots()
        ends = [low, high]
        axes.fill_between(ends, [(1 - WITHIN) * x for x in ends], [(1 + WITHIN) * x for x in ends], color="0.9", lw=0)
        axes.plot(ends, ends, color="0.5", linewidth=1)
        for stage, marker in zip(ALL, "osD^v", strict=True):
            chosen = [row for row in rows if row.stage == stage]
            x, y = ([getattr(row, name) / 1e9 for row in chosen] for name in ("peak", "predicted"))
            axes.plot(x, y, marker, markersize=5, label=stage)
        axes.set(xscale="log", yscale="log", xlim=ends, ylim=ends, xlabel="measured [GB]", ylabel="predicted [GB]")
        axes.set_aspect("equal")
        ticks = [x for x in (0.2, 0.5, 1, 2, 5, 10) if low <= x <= high]
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_ticks(ticks, [f"{x:g}" for x in ticks])
            axis.set_ticks([], minor=True)
        axes.legend(title=f"band: ±{100 * WITHIN:.0f} %")
    save_figure(figure, path, dpi=110)

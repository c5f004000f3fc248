"""Copies of lensrec and its tests: one that is whole, and others to be broken.

The whole one is tested first, and its compiled functions are kept, by numba, beside its modules. A broken copy takes
over those that cannot hold anything of the broken file: of modules that import it, directly or not, they are left
behind, since numba itself would only see that the file of a function has changed, not that of one that it calls.
Python's own compiled files are never copied, nor written.
"""

import shutil
from contextlib import suppress
from pathlib import Path

from tests.mutate.breaks.model import Break
from tests.mutate.imports import dependents, graph

ROOT = Path(__file__).resolve().parents[2]
STORE = ROOT / "runs" / "mutate"
_COPIED = ("lensrec", "tests", "sims", "pipelines", "pyproject.toml", "README.md")
_COMPILED = {".nbi", ".nbc"}


class Stale(ValueError):
    """A break whose text no longer stands in its file exactly once."""


def broken_text(one: Break, root: Path = ROOT) -> str:
    """The file of a break, broken.

    Raises
    ------
    Stale
        If there is no such file, the old text doesn't stand in it exactly once, or nothing is changed.
    """
    file = root / "lensrec" / one.file
    if not file.is_file():
        raise Stale(f"{one.name}: the break no longer applies, there is no lensrec/{one.file}")
    text = file.read_text(encoding="utf-8")
    count = text.count(one.old)
    if count != 1 or one.old == one.new:
        raise Stale(f"{one.name}: the break no longer applies, its text stands {count} times in lensrec/{one.file}")
    return text.replace(one.old, one.new)


def whole_copy() -> Path:
    """The whole copy, made anew or brought up to date, with what was compiled of files that have not changed."""
    target = STORE / "whole"
    target.mkdir(parents=True, exist_ok=True)
    for name in _COPIED:
        _synchronise(ROOT / name, target / name)
    edges = graph(target)
    stamps = target / ".stamps"
    before = dict(line.split("\t") for line in stamps.read_text().splitlines()) if stamps.is_file() else {}
    now = {file: str((target / file).stat().st_mtime_ns) for file in edges}
    for file, stamp in now.items():
        if before.get(file) != stamp:
            _forget_compiled(target, dependents(file, edges))
    stamps.write_text("".join(f"{file}\t{stamp}\n" for file, stamp in now.items()))
    return target


def broken_copy(one: Break, whole: Path, slot: int) -> Path:
    """A fresh copy of the whole one with a break in it."""
    target = STORE / f"broken-{slot}"
    if target.exists():
        shutil.rmtree(target)
    shutil.copytree(whole, target, ignore=shutil.ignore_patterns("*.pyc", ".stamps"))
    _forget_compiled(target, dependents(f"lensrec/{one.file}", graph(whole)))
    (target / "lensrec" / one.file).write_text(broken_text(one, whole), encoding="utf-8")
    return target


def _forget_compiled(root: Path, files: set[str]) -> None:
    for file in files:
        path = root / file
        for compiled in (path.parent / "__pycache__").glob(f"{path.stem}.*"):
            if compiled.suffix in _COMPILED:
                compiled.unlink()


def _synchronise(source: Path, target: Path) -> None:
    """Make `target` what `source` is, leaving alone files that are the same, and what is compiled of them."""
    if source.is_file():
        _renew(source, target)
        return
    wanted = {
        path.relative_to(source): path
        for path in source.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and not path.name.startswith(".part-")
    }
    for relative, path in wanted.items():
        with suppress(FileNotFoundError):  # another's file that has gone since
            _renew(path, target / relative)
    for path in target.rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts and path.relative_to(target) not in wanted:
            path.unlink()


def _renew(source: Path, target: Path) -> None:
    content = source.read_bytes()
    if not target.is_file() or target.read_bytes() != content:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)

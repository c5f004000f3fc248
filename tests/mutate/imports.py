"""Which modules a module imports, anywhere in it: what a result depends on, and where compiled code of it may be."""

import ast
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

PACKAGES = ("lensrec", "tests")
Graph = Mapping[str, frozenset[str]]
"""Of each file, below the root, the files that it imports."""


@cache
def graph(root: Path) -> Graph:
    """Imports among the Python files of lensrec/ and tests/.

    Who imports lensrec itself, whose names are found as they are asked for, is taken to import all of it. A conftest.py
    is imported by the files of its folder.
    """
    files = {file.relative_to(root).as_posix() for package in PACKAGES for file in (root / package).rglob("*.py")}
    all_of_it = frozenset(file for file in files if file.startswith("lensrec/"))
    return {file: _imported(root, file, files, all_of_it) for file in files}


def closure(files: Iterable[str], edges: Graph) -> set[str]:
    """The files, and all that they import, directly or not."""
    found, left = set(), list(files)
    while left:
        file = left.pop()
        if file not in found:
            found.add(file)
            left += edges.get(file, ())
    return found


def dependents(file: str, edges: Graph) -> set[str]:
    """The file, and all that import it, directly or not."""
    back: dict[str, list[str]] = {}
    for one, others in edges.items():
        for other in others:
            back.setdefault(other, []).append(one)
    found, left = set(), [file]
    while left:
        one = left.pop()
        if one not in found:
            found.add(one)
            left += back.get(one, ())
    return found


def _imported(root: Path, file: str, files: set[str], all_of_it: frozenset[str]) -> frozenset[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse((root / file).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        for name in names:
            path = name.replace(".", "/")
            found |= {path + ".py", path + "/__init__.py"} & files
            if name == "lensrec" and isinstance(node, ast.Import):
                found |= all_of_it
    for folder in Path(file).parents:
        above = (folder / "conftest.py").as_posix()
        found |= {above} & files
    return frozenset(found - {file})

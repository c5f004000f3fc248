"""The API: a page for each room of the house, a section for each of its modules, from their docstrings."""

import ast
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[2] / "lensrec"
ROOMS = {
    "sphere": "Sphere",
    "theory": "Theory spectra",
    "sky": "Skies and files",
    "filtering": "Filtering",
    "quadratic": "Quadratic estimators",
    "iterative": "Iterative",
    "bias": "Biases",
    "spectra": "Band powers",
    "fit": "Fits",
    "view": "Pictures",
    "stages": "Stages",
}
TOP = "api/lensrec.md"


def pages() -> dict[str, str]:
    """File name and title of each page; a folder of modules that is not named above comes last, by its own name."""
    there = sorted(p.name for p in PACKAGE.iterdir() if (p / "__init__.py").is_file() and _modules(p))
    order = [room for room in ROOMS if room in there] + [room for room in there if room not in ROOMS]
    return {TOP: "lensrec"} | {f"api/{room}.md": ROOMS.get(room, room.capitalize()) for room in order}


def page(name: str) -> str:
    """The Markdown of one, for mkdocstrings to fill."""
    if name == TOP:
        files = [PACKAGE / "__init__.py", *_modules(PACKAGE)]
        lines = ["# lensrec", "", "What `import lensrec as lr` gives, and the modules that belong to no room.", ""]
    else:
        room = PACKAGE / Path(name).stem
        files = _modules(room)
        lines = [f"# {pages()[name]}", "", f"`lensrec.{room.name}`: {_first_line(room / '__init__.py')}", ""]
    rows = [f"| [`{_short(file)}`](#{_dotted(file)}) | {_first_line(file)} |" for file in files]
    lines += ["| module | |", "|---|---|", *rows, ""]
    for file in files:
        lines += [f"::: {_dotted(file)}", ""]
        if file.name == "__init__.py" and file.parent == PACKAGE:
            lines += ["    options:", "      members: false", ""]
    return "\n".join(lines)


def _modules(folder: Path) -> list[Path]:
    """Modules below a folder, but for commands, private ones and those without a word of their own."""
    deep = folder != PACKAGE
    found = sorted(folder.rglob("*.py") if deep else folder.glob("*.py"))
    return [
        f for f in found
        if not f.name.startswith(("_", "cli")) and ast.get_docstring(ast.parse(f.read_text(encoding="utf-8")))
    ]  # fmt: skip


def _dotted(file: Path) -> str:
    parts = file.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _short(file: Path) -> str:
    """Its name within its room."""
    return ".".join(_dotted(file).split(".")[1 if file.parent == PACKAGE else 2 :]) or "lensrec"


def _first_line(file: Path) -> str:
    """The first sentence of a module's docstring, as a cell of a table."""
    text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    return text.partition("\n\n")[0].replace("\n", " ").replace("|", "\\|")

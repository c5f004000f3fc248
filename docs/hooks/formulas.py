"""Docstrings as Markdown: their indented lines are formulas, and no letter of them is markup."""

import ast
import re
from pathlib import Path
from typing import Any

from griffe import Extension

PACKAGE = Path(__file__).resolve().parents[2]
_CODE = re.compile(r"(`[^`\n]+`)")


def from_docstring(name: str) -> str:
    """The docstring of a module, or of a function or class in one, as Markdown, with a link to where it stands.

    Raises
    ------
    ValueError
        If there is no such docstring.
    """
    text, module = _docstring(name)
    room = module.split(".")[1] if len(module.split(".")) > 2 else "lensrec"
    body = re.split(r"^(?:Parameters|Returns|Raises|Attributes)\n-+$", text, maxsplit=1, flags=re.MULTILINE)[0]
    notes = re.search(r"^Notes\n-+\n(.*)", text, re.MULTILINE | re.DOTALL)
    body = body.strip() + ("\n\n" + notes[1].strip() if notes and notes[1] not in body else "")
    return f"{as_markdown(body)}\n\n<small>From [`{name}`](../api/{room}.md#{name}).</small>"


def as_markdown(text: str) -> str:
    """Plain text with indented formulas as Markdown."""
    out: list[str] = []
    block: list[str] = []
    for line in [*text.splitlines(), ""]:
        if line.startswith("    ") or (block and not line.strip()):
            block.append(line)
            continue
        if block:
            out += _fence(block)
            block = []
        out.append(escaped(line))
    out += _fence(block) if any(line.strip() for line in block) else []
    return "\n".join(out).strip()


def escaped(line: str) -> str:
    """A line in which nothing but `code` means anything to Markdown; a hyphen, a number or a sign at its start may."""
    parts = _CODE.split(line)
    return "".join(part if part.startswith("`") and i % 2 else _plain(part) for i, part in enumerate(parts))


def _plain(text: str) -> str:
    return re.sub(r"([\\*_\[\]#])", r"\\\1", text).replace("<", "&lt;").replace(">", "&gt;")


def _fence(block: list[str]) -> list[str]:
    while block and not block[-1].strip():
        block = block[:-1]
    indent = min(len(line) - len(line.lstrip()) for line in block if line.strip())
    return ["", "```formula", *(line[indent:] for line in block), "```", ""]


def _docstring(name: str) -> tuple[str, str]:
    parts = name.split(".")
    for cut in range(len(parts), 0, -1):
        for file in (PACKAGE.joinpath(*parts[:cut]).with_suffix(".py"), PACKAGE.joinpath(*parts[:cut], "__init__.py")):
            if not file.is_file():
                continue
            node: Any = ast.parse(file.read_text(encoding="utf-8"))
            for part in parts[cut:]:
                node = next((n for n in node.body if getattr(n, "name", None) == part), None)
                if node is None:
                    break
            text = ast.get_docstring(node) if node is not None else None
            if text:
                return text, ".".join(parts[:cut])
    raise ValueError(f"no docstring of {name}")


class PlainDocstrings(Extension):
    """Brings docstrings of the API to Markdown; sections of numpydoc keep their marks."""

    def on_object(self, *, obj: Any, **_: Any) -> None:
        """Called for each module, class, function and attribute that is read."""
        if obj.docstring is not None:
            obj.docstring.value = _sections(obj.docstring.value)


def _sections(text: str) -> str:
    """Prose is made Markdown; what is below a parameter stays as indented as it was, its letters escaped alone."""
    parts = re.split(r"^((?:[A-Z][A-Za-z ]+)\n-{3,}\n)", text, flags=re.MULTILINE)
    out = [as_markdown(parts[0])]
    for title, body in zip(parts[1::2], parts[2::2], strict=True):
        prose = title.startswith(("Notes", "References", "Examples", "See Also"))
        plain = as_markdown(body) if prose else "\n".join(_field(line) for line in body.splitlines())
        out.append("\n\n" + title + plain)
    return "".join(out)


def _field(line: str) -> str:
    # "name : type" stands as it is: griffe reads it
    return escaped(line) if line.startswith("    ") else line

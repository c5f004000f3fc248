"""Pages that are made from the code when the site is built: recipe keys, commands, the API, and what others wrote."""

import re
from pathlib import Path
from typing import Any

import api
import commands
import formulas
import recipe_keys
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[2]

EVIDENCE = {
    "validation.md": "Validation",
    "biases.md": "Masks, noise and biases",
    "split.md": "Both amplitudes",
    "fit.md": "Fits of cosmology",
    "anomaly.md": "Σmν and A_L: claims judged",
    "real-sky.md": "The real sky",
    "reliability.md": "Reliability",
    "mutations.md": "Broken on purpose",
    "benchmarks.md": "Benchmarks",
    "benchmarks-biases.md": "Benchmarks of biases",
    "memory.md": "Memory",
    "scaling.md": "Scaling",
}
"""Pages that code has written, in their order; those that are not there are left out, others come after them."""

PROJECT = {"changelog.md": "CHANGELOG.md", "contributing.md": "CONTRIBUTING.md"}
_FORMULAS = re.compile(r"^<!-- formulas: (?P<name>[\w.]+) -->$", re.MULTILINE)


def on_config(config: Any) -> Any:
    """Put into the navigation what the hook makes, and the pages that are there."""
    written = {str(p.relative_to(config.docs_dir)) for p in Path(config.docs_dir).glob("*.md")}
    named = {target for entry in config.nav for target in _targets(entry)}
    others = sorted(written - named - set(EVIDENCE))
    evidence = [{title: name} for name, title in EVIDENCE.items() if name in written]
    evidence += [{_title(Path(config.docs_dir) / name): name} for name in others]
    config.nav += [
        {"Python": [{title: name} for name, title in api.pages().items()]},
        {"Evidence": evidence},
        {"Project": [{"Changelog": "changelog.md"}, {"Contributing": "contributing.md"}]},
    ]
    return config


def on_files(files: Files, config: Any) -> Files:
    """The generated pages."""
    made = {
        "reference/recipe.md": recipe_keys.page(),
        "reference/commands.md": commands.page(),
        **{name: api.page(name) for name in api.pages()},
        **{name: _from_root(source) for name, source in PROJECT.items()},
    }
    for name, content in made.items():
        files.append(File.generated(config, name, content=content))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Docstrings with their formulas, where a page asks for them by a comment."""
    return _FORMULAS.sub(lambda found: formulas.from_docstring(found["name"]), markdown)


def _from_root(name: str) -> str:
    """A page of the project's root, its links to docs/ seen from there."""
    return re.sub(r"\]\(docs/", "](", (ROOT / name).read_text(encoding="utf-8"))


def _targets(entry: Any) -> list[str]:
    if isinstance(entry, str):
        return [entry]
    return [target for value in entry.values() for part in (value if isinstance(value, list) else [value])
            for target in _targets(part)]  # fmt: skip


def _title(path: Path) -> str:
    found = re.search(r"^# (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return found[1] if found else path.stem

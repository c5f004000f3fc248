"""The documentation builds, every link in it leads somewhere, and every command, recipe and import it shows is real."""

import ast
import importlib
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "docs" / "hooks"))

PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])
_FENCE = re.compile(r"^```(?P<kind>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(*kinds: str) -> Iterator[tuple[str, str]]:
    """Page and text of each fenced block of these kinds."""
    for page in PAGES:
        for found in _FENCE.finditer(page.read_text(encoding="utf-8")):
            if found["kind"] in kinds:
                yield str(page.relative_to(ROOT)), found["text"]


class Links(HTMLParser):
    """Where a page leads, what it loads, and the anchors it has."""

    def __init__(self) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.loads: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.anchors |= {value for key in ("id", "name") if (value := given.get(key))}
        if tag == "a" and given.get("href") is not None:
            self.links.append(given["href"] or "")
        elif tag in ("img", "script", "source", "iframe") and given.get("src"):
            self.loads.append(given["src"] or "")
        elif tag == "link" and given.get("href") and given.get("rel") not in ("canonical", "prev", "next"):
            self.loads.append(given["href"] or "")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site; a warning of the builder is an error."""
    for name in ("mkdocs", "material", "mkdocstrings_handlers"):
        pytest.importorskip(name, reason="building the documentation needs pip install 'lensrec[docs]'")
    out = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(out)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture(scope="module")
def parsed(site: Path) -> dict[Path, Links]:
    """Every page of it."""
    found = {}
    for page in sorted(site.rglob("*.html")):
        found[page] = Links()
        found[page].feed(page.read_text(encoding="utf-8"))
    return found


def test_every_link_anchor_and_picture_is_there(site: Path, parsed: dict[Path, Links]) -> None:
    broken = []
    for page, content in parsed.items():
        if page.name == "404.html":  # it is served anywhere, and so has absolute links
            continue
        for target in [*content.links, *content.loads]:
            parts = urlsplit(target)
            if parts.scheme or parts.netloc:
                continue
            file = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            file = file / "index.html" if file.is_dir() else file
            if not file.is_file():
                broken.append(f"{page.relative_to(site)}: {target}")
            elif parts.fragment and file in parsed and unquote(parts.fragment) not in parsed[file].anchors:
                broken.append(f"{page.relative_to(site)}: {target} has no such anchor")
    assert broken == []
    assert len(parsed) > 20


def test_nothing_is_loaded_from_elsewhere(site: Path, parsed: dict[Path, Links]) -> None:
    loads = [f"{page.relative_to(site)}: {url}" for page, found in parsed.items() for url in found.loads
             if urlsplit(url).netloc]  # fmt: skip
    outside = re.compile(r"(?:@import|url\()[^;)]*//[^;)]*")
    styles = [found for file in site.rglob("*.css") for found in outside.findall(file.read_text(encoding="utf-8"))]
    assert loads + styles == []


def test_every_module_has_its_place(site: Path, parsed: dict[Path, Links]) -> None:
    anchors = set().union(*(found.anchors for page, found in parsed.items() if page.parent.name == "api"))
    modules = {
        ".".join(file.relative_to(ROOT).with_suffix("").parts)
        for file in (ROOT / "lensrec").rglob("*.py")
        if not file.name.startswith(("_", "cli")) and ast.get_docstring(ast.parse(file.read_text(encoding="utf-8")))
    }
    assert modules - anchors == set()
    assert {"lensrec.sphere.remap.remap_tp", "lensrec.bias.n1", "lensrec.fit.split.Split"} <= anchors


def test_every_page_that_is_written_by_code_is_in_the_navigation(site: Path, parsed: dict[Path, Links]) -> None:
    home = {target.partition("#")[0] for target in parsed[site / "index.html"].links}
    pages = {str(page.relative_to(ROOT / "docs").with_suffix(".html")) for page in (ROOT / "docs").glob("*.md")}
    sections = {str(page.relative_to(site)) for page in parsed}
    assert pages <= sections
    evidence = next(target for target in home if target == "validation.html")
    beside = {target.partition("#")[0] for target in parsed[site / evidence].links}
    assert pages - {"index.html", "install.html", "gpu.html"} <= beside


def test_every_key_of_every_recipe_is_explained(parsed: dict[Path, Links], site: Path) -> None:
    import recipe_keys

    from lensrec.recipe import Recipe
    from lensrec.recipe_fit import FitRecipe

    text = (site / "reference" / "recipe.html").read_text(encoding="utf-8").replace("<wbr>", "").replace("<wbr />", "")
    for model in (Recipe, FitRecipe):
        leaves = [
            key for key, field in recipe_keys.keys_of(model).items() if not recipe_keys._model_in(field.annotation)
        ]
        assert [key for key in leaves if f"<code>{key}</code>" not in text] == []
    assert re.findall(r"<code>([^<]*)</code></td>\s*(?:<td>(?:(?!</td>).)*</td>\s*){2}<td></td>", text) == []
    assert "N0 of the data&#x27;s own power" in text or "N0 of the data's own power" in text


def test_the_commands_page_has_every_option(site: Path) -> None:
    import html

    import commands

    text = html.unescape(re.sub("<[^>]+>", "", (site / "reference" / "commands.html").read_text(encoding="utf-8")))
    for name, command, _ in commands.walk():
        for parameter in command.params:
            for option in getattr(parameter, "opts", []):
                assert not option.startswith("--") or option in text, f"{name} {option}"


def command_lines() -> list[tuple[str, str]]:
    """Every line of a block that begins with lensrec, continued lines put together, its comment off."""
    found = []
    for page, text in blocks("", "bash", "sh"):
        for line in re.sub(r"\\\n\s*", " ", text).splitlines():
            if line.startswith("lensrec "):
                found.append((page, line))
    return found


@pytest.mark.parametrize(("page", "line"), command_lines())
def test_every_command_that_is_shown_exists(page: str, line: str) -> None:
    import recipe_keys
    from typer.main import get_command

    from lensrec.cli import app
    from lensrec.recipe import Recipe
    from lensrec.recipe_fit import FitRecipe
    from lensrec.recipe_forecast import ForecastPlan

    words = shlex.split(line, comments=True)[1:]
    if words[0].startswith("--"):
        assert words[0] in {option for parameter in get_command(app).params for option in parameter.opts}
        return
    command, context = get_command(app), get_command(app).make_context("lensrec", [], resilient_parsing=True)
    while hasattr(command, "commands"):
        name = words.pop(0)
        assert name in command.commands, f"{page}: no command {name!r} in {line!r}"
        command = command.commands[name]
        context = command.make_context(name, [], parent=context, resilient_parsing=True)
    values, rest, _ = command.make_parser(context).parse_args(args=words)
    assert rest == [], f"{page}: {line!r} has {rest} too many"
    model = {"fit": FitRecipe, "forecast": ForecastPlan}.get(command.name, Recipe)
    keys = recipe_keys.keys_of(model)
    for setting in values.get("set_") or []:
        key = setting.partition("=")[0]
        assert "=" in setting
        assert key in keys or key.isupper() or "KEY" in key, f"{page}: no key {key} in {line!r}"


@pytest.mark.parametrize(("page", "text"), list(blocks("yaml")))
def test_every_recipe_that_is_shown_loads(page: str, text: str) -> None:
    from lensrec.recipe import PipelineRecipe, Recipe
    from lensrec.recipe_anomaly import AnomalyRecipe
    from lensrec.recipe_fit import FitRecipe
    from lensrec.recipe_forecast import ForecastPlan

    data = yaml.safe_load(text)
    if "likelihood" in data:  # Cobaya's own
        for name in data["likelihood"]:
            module, _, attribute = name.rpartition(".")
            assert hasattr(importlib.import_module(module), attribute), f"{page}: no {name}"
    elif "fits" in data:
        AnomalyRecipe.of_data(data)
    else:
        kinds = {"data": FitRecipe, "experiments": ForecastPlan, "recipe": PipelineRecipe}
        next((kind for key, kind in kinds.items() if key in data), Recipe).model_validate(data)


@pytest.mark.parametrize(("page", "text"), list(blocks("python")))
def test_every_import_that_is_shown_is_there(page: str, text: str) -> None:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("lensrec"):
            module = importlib.import_module(node.module or "")
            missing = [name.name for name in node.names if not hasattr(module, name.name)]
            assert missing == [], f"{page}: {node.module} has no {missing}"
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "lr":
            assert hasattr(importlib.import_module("lensrec"), node.attr), f"{page}: no lr.{node.attr}"


def test_files_that_pages_of_the_root_point_to_are_there() -> None:
    broken = []
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"):
        for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
            if not urlsplit(target).scheme and not (ROOT / target.partition("#")[0]).exists():
                broken.append(f"{page.name}: {target}")
    assert broken == []

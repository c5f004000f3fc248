"""Data are data: no code of lensrec runs what it reads, and paths of a recipe are read, never written."""

import ast
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import numpy as np
import pytest

import lensrec
from lensrec.products import RunError, read_json, read_matrices, read_table
from lensrec.recipe import Recipe
from tests.bad_input import small_run
from tests.bad_input.judge import contents
from tests.stages.command import lensrec as command

SOURCES = sorted(Path(lensrec.__file__).parent.rglob("*.py"))

RUNNING = {"eval", "exec", "compile", "__import__"}
"""Built-in functions that make code of data."""

LOADING = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "jsonpickle"}
"""Modules whose reading runs code."""

PROCESSES = {"system", "popen", "execv", "execve", "execvp", "spawnv", "fork"}

BETWEEN_PROCESSES = {"engine_pool.py", "engine_dask.py"}
"""Modules that pickle a task for another process of their own; they read no files, so that no pickle comes from one."""

IMPORTING = {
    "__init__.py": "names of the public interface, from a table in it",
    "arrays.py": "cupy and what belongs to it, by names in it",
    "devices.py": "the same, likewise",
    "engine_dask.py": "dask's packages, by names in it",
    "showing.py": "lensrec's own, from a table in it",
}
"""Modules that import by a name, and where that comes from."""


def calls(file: Path) -> Iterator[tuple[ast.Call, str]]:
    """Every call of a module, with what is called as it is written."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            yield node, ast.unparse(node.func)


def names(file: Path) -> set[str]:
    """Top-level packages that a module imports."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add((node.module or "").partition(".")[0])
            found |= {alias.name for alias in node.names}
    return found


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: str(file.relative_to(SOURCES[0].parent)))
def test_no_module_makes_code_of_data(file: Path) -> None:
    assert not names(file) & LOADING or file.name in BETWEEN_PROCESSES
    for node, called in calls(file):
        last = called.rpartition(".")[2]
        where = f"{file.name}:{node.lineno}: {called}"
        keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
        assert called not in RUNNING, where
        if called.partition(".")[0] in LOADING:
            assert called in ("pickle.dumps", "pickle.loads"), where
        if file.name in BETWEEN_PROCESSES:
            assert last not in ("open", "read", "read_bytes", "read_text", "load"), where
        assert not (called.startswith("os.") and last in PROCESSES), where
        assert keywords.get("shell", "False") == "False", where
        assert keywords.get("allow_pickle", "False") == "False", where
        assert last not in ("fromfile", "memmap", "read_pickle", "to_pickle", "unsafe_load", "full_load", "load_all"), (
            where
        )
        if called in ("np.load", "numpy.load"):
            # numpy reads no pickles unless asked to; the one such file is published data, checked by its sha256
            assert file.name == "act_dr6.py", where
        if called == "yaml.load":
            assert file.name == "notation.py", where
            assert keywords == {"Loader": "_Loader"}, where
        if last == "import_module":
            assert file.name in IMPORTING, where


def test_yaml_is_read_by_a_safe_loader() -> None:
    import yaml

    from lensrec import notation

    assert issubclass(notation._Loader, yaml.SafeLoader)
    known = [tag for tag in notation._Loader.yaml_constructors if tag]
    assert not [tag for tag in known if "python" in tag]
    assert not notation._Loader.yaml_multi_constructors


def test_the_ast_would_have_seen_them(tmp_path: Path) -> None:
    """The test above can fail: each of these is found."""
    for text in (
        "import pickle",
        "eval('1')",
        "yaml.load(x, Loader=yaml.Loader)",
        "np.load(f, allow_pickle=True)",
        "import os\nos.system('x')",
        "from joblib import load",
        "subprocess.run('x', shell=True)",
    ):
        file = tmp_path / "m.py"
        file.write_text(text)
        with pytest.raises(AssertionError):
            test_no_module_makes_code_of_data(file)


class Trap:
    """What a pickle of it would run leaves a file."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple:
        return (Path.touch, (self.file,))


def test_a_pickle_in_the_place_of_a_product_is_not_read(tmp_path: Path) -> None:
    import pickle

    mark = tmp_path / "PWNED"
    packed = pickle.dumps(Trap(mark))
    for name, read in (("t.ecsv", read_table), ("t.json", read_json), ("t.fits", read_matrices)):
        (tmp_path / name).write_bytes(packed)
        with pytest.raises(RunError, match=name):
            read(tmp_path / name)
    np.save(tmp_path / "o.npy", np.array([Trap(mark)], dtype=object), allow_pickle=True)
    (tmp_path / "o.npy").rename(tmp_path / "o.fits")
    with pytest.raises(RunError, match=r"o\.fits"):
        read_matrices(tmp_path / "o.fits")
    assert not mark.exists()
    pickle.loads(packed)
    assert mark.exists(), "the trap was none"


@pytest.mark.parametrize("name", ["../../escaped", "/tmp/escaped", "a/b/c", "..", "~", "%s", "{0}", "a;b"])
def test_names_lead_nowhere(name: str, tmp_path: Path) -> None:
    """A recipe's name is a title: with separators in it, products lie where they always do."""
    home, run = tmp_path / "home", tmp_path / "home" / "deep" / "run"
    run.parent.mkdir(parents=True)
    made = small_run.begin(run, name=name)
    assert made.recipe.name == name
    assert {p.parts[0] for p in run.relative_to(home).parents if p.parts} == {"deep"}
    assert {str(p.relative_to(home)).split("/")[:2][-1] for p in home.rglob("*") if p.is_file()} == {"run"}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["home"]


def test_a_whole_run_writes_under_its_folder_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever name, mask and hits its recipe has: beside the run nothing is new, and what they name is as it was."""
    from tests.bad_input.fits_files import Column, healpix

    work = tmp_path / "work"
    (work / "deep").mkdir(parents=True)
    for name in ("mask", "hits"):
        (tmp_path / f"{name}.fits").write_bytes(healpix(8, [Column("W", "D", np.ones(768), "")]))
    monkeypatch.chdir(work)
    small_run.begin(
        work / "deep" / "run",
        name="../../up",
        mask={"file": str(tmp_path / "mask.fits"), "apodisation": 0},
        instrument={"hits": str(tmp_path / "hits.fits")},
        reconstruction={"n1": "none", "estimators": "TT"},
        bandpowers={"estimator": "TT"},
    )
    (work / "deep" / "run" / "mask.fits").write_bytes((tmp_path / "mask.fits").read_bytes())
    before = contents(tmp_path)
    with mock.patch("lensrec.cli._view"):
        answer = command("reconstruct", "deep/run")
    assert answer.status == 0, answer
    new = {name for name, was in contents(tmp_path).items() if before.get(name) != was}
    assert new
    assert all(name.startswith("work/deep/run/") for name in new)


@pytest.mark.parametrize(
    "path", ["../outside.fits", "/etc/passwd", "sub/../../outside.fits", "~/outside.fits", "link.fits", "loop.fits"]
)
def test_paths_of_a_recipe_are_read_and_not_written(path: str, tmp_path: Path) -> None:
    """Also where they lead out of the recipe's folder, which they may; through a link, or in a circle."""
    folder = tmp_path / "recipes"
    folder.mkdir()
    (tmp_path / "outside.fits").write_text("mine")
    (folder / "link.fits").symlink_to(tmp_path / "outside.fits")
    (folder / "loop.fits").symlink_to(folder / "loop.fits")
    for key in ("mask: {file", "instrument: {hits"):
        (folder / "r.yaml").write_text(f"sky: {{nside: 8}}\n{key}: {json.dumps(path)}}}\n")
        before = contents(tmp_path)
        assert command("simulate", folder / "r.yaml", "--out", tmp_path / "x").status == 1
        assert contents(tmp_path) == before
    (folder / "p.yaml").write_text(f"recipe: {json.dumps(path)}\n")
    assert command("run", folder / "p.yaml", "--out", tmp_path / "x").status == 1
    assert contents(tmp_path).keys() == {*before, "recipes/p.yaml"}
    shutil.rmtree(folder)


def test_recipes_do_not_read_the_environment() -> None:
    recipe = Recipe.model_validate({"name": "${HOME} %(x)s {y}", "description": "$(id) `id`"} | {"name": "HOME"})
    assert recipe.description == "$(id) `id`"

"""Tests of a GPU and of published data are left out where there are none, and it is said why."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from lensrec.arrays import backend
from lensrec.devices import NoDevice

_REASON = pytest.StashKey[str]()


@pytest.fixture
def published_folder(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Folder of a data set in LENSREC_DATA, or beside the project; LENSREC_DATA then names it."""
    beside = Path(__file__).resolve().parents[1] / ".." / "shared" / "data"
    root = Path(os.environ.get("LENSREC_DATA") or beside)

    def find(name: str) -> Path:
        if not (root / name).is_dir():
            pytest.skip(f"no folder {name} of published data: set LENSREC_DATA to the one that holds it")
        monkeypatch.setenv("LENSREC_DATA", str(root))
        return root / name

    return find


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    needy = [item for item in items if item.get_closest_marker("gpu")]
    if not needy:
        return
    try:
        backend("cupy")
    except NoDevice as err:
        config.stash[_REASON] = f"{len(needy)} tests marked gpu were left out: {err}"
        config.hook.pytest_deselected(items=needy)
        items[:] = [item for item in items if not item.get_closest_marker("gpu")]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if reason := config.stash.get(_REASON, ""):
        terminalreporter.write_line(reason)

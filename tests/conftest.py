"""Tests that need a GPU are left out where there is none, and it is said why."""

import pytest

from lensrec.arrays import backend
from lensrec.devices import NoDevice

_REASON = pytest.StashKey[str]()


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

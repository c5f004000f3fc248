"""A plugin of pytest that says which code is tested, and leaves word of what failed: -p tests.mutate.witness.

A break counts as found only by a test that fails while it runs. Code that cannot be imported, or a test that cannot be
collected, is a fault of the break or of the harness. Of each file the quickest tests come first.
"""

import json
import os
import resource
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

WORD = "LENSREC_MUTATE_WORD"
"""Names the file that the word is left in."""

SECONDS = "LENSREC_MUTATE_SECONDS"
"""Names a file of what each test takes, if that is known."""

_word: dict[str, Any] = {"failed": [], "not_collected": [], "passed": 0, "skipped": 0, "seconds": defaultdict(float)}


def pytest_configure(config: pytest.Config) -> None:
    """Refuse to test any code but that of the copy."""
    import lensrec

    here, root = Path(lensrec.__file__).resolve(), config.rootpath.resolve()
    if not here.is_relative_to(root):
        raise pytest.UsageError(f"lensrec is imported from {here}, not from the copy in {root}")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if known := os.environ.get(SECONDS):
        seconds = json.loads(Path(known).read_text(encoding="utf-8"))
        files = list(dict.fromkeys(item.path for item in items))
        items.sort(key=lambda item: (files.index(item.path), seconds.get(item.nodeid, 0.0)))


def pytest_collectreport(report: pytest.CollectReport) -> None:
    if report.failed:
        _word["not_collected"].append(report.nodeid)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    _word["seconds"][report.nodeid] += report.duration
    if report.failed:
        crash = getattr(report.longrepr, "reprcrash", None)
        line = str(crash.message if crash else report.longrepr).strip().splitlines() or [""]
        _word["failed"].append({"test": report.nodeid, "when": report.when, "line": line[0][:200]})
    elif report.when == "call":
        _word["passed" if report.passed else "skipped"] += 1
    elif report.skipped:
        _word["skipped"] += 1


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    word = {**_word, "exit": int(exitstatus), "cpu": sum(one.ru_utime + one.ru_stime for one in used)}
    Path(os.environ[WORD]).write_text(json.dumps(word), encoding="utf-8")

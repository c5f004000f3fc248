"""Breaks of how runs are kept and tasks are given out."""

from tests.mutate.breaks.model import Break

BREAKS = (
    Break(
        "results-as-they-come",
        "engine.py",
        "return [found[number] for number in range(len(todo))]",
        "return list(found.values())",
        "results of tasks come in the order in which they were done",
        "index",
        ("test_engine.py",),
    ),
    Break(
        "lock-is-shared",
        "run_lock.py",
        "fcntl.LOCK_EX | fcntl.LOCK_NB",
        "fcntl.LOCK_SH | fcntl.LOCK_NB",
        "two commands may hold one run",
        "form",
        ("test_rundir.py",),
    ),
)

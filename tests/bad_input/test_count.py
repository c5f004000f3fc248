"""Five hundred different bad inputs and more are tried whenever the tests run; each test sees that it had its share."""

from importlib import import_module
from pathlib import Path

from tests.bad_input.judge import LEAST

WANTED = 500


def test_five_hundred_different_bad_inputs_are_tried() -> None:
    """`every` fails a test that has seen fewer different cases than it adds here, and no two tests share a case."""
    for file in Path(__file__).parent.glob("test_*.py"):
        import_module(f"tests.bad_input.{file.stem}")
    assert sum(LEAST.values()) >= WANTED, LEAST

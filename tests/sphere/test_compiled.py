"""Compilation where nothing can be kept on disk."""

from types import SimpleNamespace

import numba
import pytest

from lensrec.sphere import compiled as module


def double(x):
    return 2 * x


def test_without_a_place_to_cache_it_compiles_anyway(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def refusing(**options):
        asked.append(options)
        if options.get("cache"):
            raise RuntimeError("cannot cache function: no locator available")
        return numba.njit(**options)

    monkeypatch.setattr(module, "numba", SimpleNamespace(njit=refusing))
    assert module.compiled(error_model="numpy")(double)(21) == 42
    assert [options.get("cache", False) for options in asked] == [True, False]
    assert all(options["nogil"] and options["error_model"] == "numpy" for options in asked)

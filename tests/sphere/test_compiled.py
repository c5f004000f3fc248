"""Compilation where nothing can be kept on disk."""

import numba
import pytest

from lensrec.sphere.compiled import compiled


def double(x):
    return 2 * x


def test_without_a_place_to_cache_it_compiles_anyway(monkeypatch: pytest.MonkeyPatch) -> None:
    original, asked = numba.njit, []

    def refusing(**options):
        asked.append(options)
        if options.get("cache"):
            raise RuntimeError("cannot cache function: no locator available")
        return original(**options)

    monkeypatch.setattr(numba, "njit", refusing)
    assert compiled(error_model="numpy")(double)(21) == 42
    assert [options.get("cache", False) for options in asked] == [True, False]
    assert all(options["nogil"] and options["error_model"] == "numpy" for options in asked)

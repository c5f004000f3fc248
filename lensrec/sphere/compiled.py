"""Compiling a function once for all sessions, where the machine lets us keep the result."""

from collections.abc import Callable
from typing import Any

import numba


def compiled(**options: Any) -> Callable[[Callable], Callable]:
    """numba.njit that lets other threads run, and that keeps its result on disk if it finds a place to write.

    Without one (a read-only installation and no home directory) numba refuses to cache; compiling anew each time,
    a few seconds, is better than not to start.
    """

    def decorate(function: Callable) -> Callable:
        try:
            return numba.njit(nogil=True, cache=True, **options)(function)
        except RuntimeError:
            return numba.njit(nogil=True, **options)(function)

    return decorate

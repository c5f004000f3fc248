"""What the numerics need to know of the machine: how many threads a transform may use, and which precision."""

import os

import numpy as np


def thread_count(requested: int = 0) -> int:
    """Threads for one transform: the number asked for, else LENSREC_NUM_THREADS, else every core allowed here.

    Raises
    ------
    ValueError
        If the request or the environment variable is not a positive whole number.
    """
    if requested < 0:
        raise ValueError(f"the number of threads must not be negative, got {requested}")
    if requested:
        return requested
    named = os.environ.get("LENSREC_NUM_THREADS", "")
    if named:
        if not named.isdigit() or int(named) < 1:
            raise ValueError(f"LENSREC_NUM_THREADS must be a positive whole number, got {named!r}")
        return int(named)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def complex_dtype(precision: str) -> np.dtype:
    """complex64 for "single", complex128 for "double".

    Raises
    ------
    ValueError
        For any other word.
    """
    try:
        return np.dtype({"single": np.complex64, "double": np.complex128}[precision])
    except KeyError:
        raise ValueError(f'precision must be "single" or "double", got {precision!r}') from None


def real_dtype(dtype: np.dtype | type) -> np.dtype:
    """The real dtype of the same precision as a real or complex one."""
    return np.empty(0, dtype=dtype).real.dtype

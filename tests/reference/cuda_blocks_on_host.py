"""Compile a CUDA source for the host and run its kernels there, one block after the other."""

import ctypes
import re
import subprocess
import tempfile
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np

from tests.reference.cuda_on_host import COMPILER

_HEADER = Path(__file__).with_name("cuda_blocks_on_host.h")
_KERNEL = re.compile(r"^TRANSFORM\((\w+),|^extern \"C\" __global__ void (\w+)\(", re.MULTILINE)
_NUMBERS = {np.int32: ctypes.c_int32, np.int64: ctypes.c_int64, np.float64: ctypes.c_double}


class HostModule:
    """What a `cupy.RawModule` is, on the host; arrays are numpy's.

    Parameters
    ----------
    code : str
        What is in the .cu file.
    folder : Path
        Where to build.
    """

    def __init__(self, code: str, folder: Path) -> None:
        self.kernels = [name or other for name, other in _KERNEL.findall(code)]
        lines = [f'#include "{_HEADER}"', code, *(f"LAUNCHER({name})" for name in self.kernels)]
        assert COMPILER is not None, "ask for COMPILER first"
        (folder / "kernels.cpp").write_text("\n".join(lines) + "\n")
        command = [COMPILER, "-std=c++17", "-O2", "-march=native", "-Wall", "-Werror", "-Wno-unknown-pragmas"]
        subprocess.run([*command, "-shared", "-fPIC", "-o", "kernels.so", "kernels.cpp"], cwd=folder, check=True)
        self.library = ctypes.CDLL(str(folder / "kernels.so"))

    def get_function(self, name: str) -> Callable[[tuple, tuple, tuple], None]:
        """A kernel, as a function of grid, block and arguments."""
        launch = self.library[f"launch_{name}"]

        def run(grid: tuple, block: tuple, arguments: tuple) -> None:
            values = [_value(argument) for argument in arguments]
            pointers = (ctypes.c_void_p * len(values))(*(ctypes.addressof(value) for value in values))
            x, y = (*grid, 1)[:2]
            launch(ctypes.c_uint(x), ctypes.c_uint(y), ctypes.c_uint(block[0]), pointers)

        return run

    def reverse_threads(self, reverse: bool) -> None:
        """Whether the threads of a block take their turns from the last to the first."""
        self.library.reverse_threads(int(reverse))


@lru_cache
def host_module(code: str) -> HostModule:
    """The module of a source text, compiled once."""
    with tempfile.TemporaryDirectory() as folder:  # what is loaded outlives its file
        return HostModule(code, Path(folder))


def _value(argument: object) -> ctypes.c_void_p:
    if isinstance(argument, np.ndarray):
        assert argument.flags.c_contiguous
        return ctypes.c_void_p(argument.ctypes.data)
    # cupy passes scalars by their type: a Python number would be as wide as the machine likes
    return _NUMBERS[type(argument)](argument)

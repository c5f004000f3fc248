"""CUDA kernels run on the host: compiled by a C++ compiler, one thread after the other."""

import ctypes
import re
import shutil
import subprocess
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

HEADER = Path(__file__).with_name("cuda_on_host.h")
COMPILER = shutil.which("g++") or shutil.which("clang++")
_KERNEL = re.compile(r'extern\s+"C"\s+__global__\s+void\s+(\w+)\s*\(')


@lru_cache(maxsize=16)
def compiled(source: str) -> ctypes.CDLL:
    """A library in which each kernel of the source has a launcher `launch_NAME(blocks, threads, arguments)`."""
    assert COMPILER is not None, "ask for COMPILER first"
    with TemporaryDirectory() as folder:
        plain = Path(folder, "kernels.cpp")
        plain.write_text(source, encoding="utf-8")
        options = [COMPILER, "-std=c++17"]
        # kernels that a macro defines come to light in the preprocessor's output
        seen = subprocess.run([*options, "-E", "-P", str(plain)], check=True, capture_output=True, text=True).stdout
        launchers = "".join(
            f'extern "C" void launch_{name}(unsigned blocks, unsigned threads, void **arguments)\n'
            f"{{ cuda_on_host_launch({name}, blocks, threads, arguments); }}\n"
            for name in _KERNEL.findall(seen)
        )
        plain.write_text(f'#include "{HEADER}"\n{source}\n{launchers}', encoding="utf-8")
        library = Path(folder, "kernels.so")
        # CUDA's compilers contract a·b + c by default, and so may this one where the machine can
        subprocess.run(
            [
                *options,
                "-O2",
                "-Wall",
                "-Werror",
                "-Wno-unused-variable",
                "-fPIC",
                "-shared",
                str(plain),
                "-o",
                str(library),
            ],
            check=True,
        )
        return ctypes.CDLL(str(library))


def launch(source: str, name: str, blocks: int, threads: int, arguments: tuple) -> None:
    """Run one kernel to its end.

    `arguments` are numpy arrays, whose addresses are passed on, numpy scalars of the parameter's own type, and Python
    integers, which stand for 64 bits as they do in cupy.
    """
    holders = []
    for value in arguments:
        if isinstance(value, np.ndarray):
            assert value.flags.c_contiguous
            holders.append(np.array(value.ctypes.data, dtype=np.uint64))
        else:
            holders.append(np.array(value, dtype=np.int64 if isinstance(value, int) else value.dtype))
    pointers = (ctypes.c_void_p * len(holders))(*(holder.ctypes.data for holder in holders))
    function = getattr(compiled(source), f"launch_{name}")
    function.argtypes = [ctypes.c_uint, ctypes.c_uint, ctypes.c_void_p]
    function.restype = None
    function(blocks, threads, pointers)

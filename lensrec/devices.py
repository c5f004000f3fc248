"""Finding CUDA: a driver that answers, and the libraries that come in wheels; what is missing is said in one line."""

import ctypes
import os
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

# The libraries that cufinufft wants to find loaded, and the wheels that bring them.
_LIBRARIES = {
    "nvidia.cuda_runtime": ("nvidia-cuda-runtime-cu12", "libcudart.so.12"),
    "nvidia.cufft": ("nvidia-cufft-cu12", "libcufft.so.11"),
}
_EXTRA = "pip install 'lensrec[gpu]'"


class NoDevice(ValueError):
    """A GPU was asked for and cannot be had; one line that says why and what would do."""


def ask_driver() -> None:
    """Refuse where no CUDA driver answers, before anything is imported."""
    _count_devices()


def _count_devices() -> int:
    try:
        driver = ctypes.CDLL("nvcuda.dll" if os.name == "nt" else "libcuda.so.1")
    except OSError:
        raise NoDevice("backend cupy: there is no CUDA driver on this machine; use the backend numpy") from None
    count = ctypes.c_int(0)
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0 or count.value < 1:
        raise NoDevice("backend cupy: the CUDA driver finds no device; use the backend numpy")
    return count.value


def visible_devices() -> list[str]:
    """Names of the CUDA devices that this process may use, as CUDA_VISIBLE_DEVICES has them; none without a driver."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [name.strip() for name in named.split(",") if name.strip() not in ("", "-1")]
    try:
        return [str(n) for n in range(_count_devices())]
    except NoDevice:
        return []


def import_cufinufft() -> Any:
    """cufinufft, after the libraries that it takes for loaded."""
    for package, (wheel, library) in _LIBRARIES.items():
        try:
            spec = find_spec(package)
        except ModuleNotFoundError:
            spec = None
        places = [Path(p) / "lib" / library for p in (spec.submodule_search_locations or ())] if spec else []
        try:
            ctypes.CDLL(str(next((p for p in places if p.is_file()), library)), mode=ctypes.RTLD_GLOBAL)
        except OSError:
            raise NoDevice(f"backend cupy: {library} is not to be found; {_EXTRA} brings it ({wheel})") from None
    return import_part("cufinufft", "cufinufft")


def import_part(module: str, wheel: str, remedy: str = f"{_EXTRA} brings it") -> Any:
    """A module that a wheel brings; raises NoDevice, with what would mend it, where it cannot be imported."""
    try:
        return import_module(module)
    except ImportError as err:
        raise NoDevice(f"{module} cannot be imported ({wheel}; {err}); {remedy}") from None

"""Every CUDA source compiles for the architectures that lensrec is meant for, without a device."""

import shutil
import subprocess
from pathlib import Path

import pytest

import lensrec.sphere

SOURCES = sorted((Path(lensrec.sphere.__file__).parent / "cuda").glob("*.cu"))
ARCHITECTURES = ("80", "90")  # A100, H100
CASES = [(path.name, "80") for path in SOURCES] + [("remap.cu", "90")]
"""All for the oldest, and one for all: no source asks what it is compiled for, so that each is the same program."""


def test_there_are_sources_that_are_the_same_for_all_architectures():
    assert "remap.cu" in [path.name for path in SOURCES]
    assert {architecture for _, architecture in CASES} == set(ARCHITECTURES)
    assert not any("__CUDA_ARCH__" in path.read_text(encoding="utf-8") for path in SOURCES)


@pytest.mark.parametrize(("source", "architecture"), CASES)
def test_sources_compile(source, architecture, tmp_path):
    """By NVRTC, with the options that cupy gives it on a user's machine; by nvcc where cupy's wheel is not there."""
    path = {p.name: p for p in SOURCES}[source]
    nvrtc = nvrtc_of_cupy()
    if nvrtc is not None:
        compile_by_nvrtc(nvrtc, path, architecture)
    elif nvcc := shutil.which("nvcc"):
        command = [nvcc, "-std=c++14", f"-arch=sm_{architecture}", "-Werror", "all-warnings", "-cubin"]
        done = subprocess.run([*command, str(path), "-o", str(tmp_path / "out.cubin")], capture_output=True)
        assert done.returncode == 0, done.stderr.decode()
    else:
        pytest.skip("there is neither NVRTC, which the test extra brings on Linux, nor nvcc")


def nvrtc_of_cupy():
    """cupy's NVRTC, which needs no driver, or None."""
    try:
        from cupy.cuda import nvrtc

        nvrtc.getVersion()
    except (ImportError, RuntimeError, OSError):
        return None
    return nvrtc


def compile_by_nvrtc(nvrtc, path, architecture):
    program = nvrtc.createProgram(path.read_text(encoding="utf-8"), path.name, (), ())
    try:
        nvrtc.compileProgram(program, ("-std=c++14", f"--gpu-architecture=compute_{architecture}"))
    except nvrtc.NVRTCError:
        pytest.fail(nvrtc.getProgramLog(program))
    assert nvrtc.getProgramLog(program).strip("\0\n ") == ""  # no warning
    ptx = nvrtc.getPTX(program)
    ptx = ptx.decode() if isinstance(ptx, bytes) else ptx
    assert f".target sm_{architecture}" in ptx
    kernels = path.read_text(encoding="utf-8").count("__global__ void")
    assert ptx.count(".entry") >= kernels > 0

"""Where arrays live: what is chosen where there is no GPU, that nothing is imported for it, and what is said."""

import ctypes
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from lensrec import arrays, devices
from lensrec.arrays import Backend, backend, thread_count
from lensrec.devices import NoDevice
from tests.reference.strict_namespace import Machine


class Driver:
    """Answers as libcuda does where there is so many devices."""

    def __init__(self, devices, status=0):
        self._devices, self._status = devices, status

    def cuInit(self, flags):
        return self._status

    def cuDeviceGetCount(self, pointer):
        pointer._obj.value = self._devices
        return 0


@pytest.fixture
def machine(monkeypatch):
    """A machine with a driver and two devices, whose cupy is the stand-in; `missing` names what is not to be found."""
    made = Machine(devices=2, free=10**9)
    properties = {"name": b"Device of the test"}
    runtime = made.namespace.cuda.runtime
    runtime.getDevice = lambda: 1
    runtime.getDeviceProperties = lambda number: properties
    runtime.CUDARuntimeError = RuntimeError
    missing = set()

    def load(name, mode=0):
        if any(part in str(name) for part in missing):
            raise OSError(name)
        return Driver(2)

    def module(name):
        if name in missing:
            raise ImportError(f"No module named {name}")
        return {"cupy": made.namespace, "cufinufft": made.nufft}[name]

    monkeypatch.setattr(ctypes, "CDLL", load)
    monkeypatch.setattr(devices, "import_module", module)
    made.missing = missing
    return made


def test_numpy_is_numpy():
    b = backend("numpy", nthreads=2)
    assert (b.name, b.xp, b.about, b.on_device, b.free_bytes()) == ("numpy", np, "numpy", False, None)
    given = np.arange(3.0)
    assert b.to_device(given) is given
    assert b.to_host(given) is given
    with pytest.raises(ValueError, match="backend must be"):
        backend("torch")


def test_auto_takes_the_device_that_is_there_and_says_which(machine):
    b = backend("auto", needed_bytes=10**8)
    assert (b.name, b.about, b.device, b.on_device) == ("cupy", "cupy on Device of the test (device 1)", 1, True)
    assert backend("cupy", device=0).device == 0
    there = b.to_device(np.arange(4.0))
    with pytest.raises(TypeError, match="Implicit conversion"):
        np.asarray(there)
    np.testing.assert_array_equal(b.to_host(there), np.arange(4.0))


def test_legendre_sums_are_made_where_double_precision_is_fast(machine):
    assert backend("cupy").legendre == "device"
    assert backend("cupy", legendre="host").legendre == "host"
    machine.slowness = 64
    assert backend("cupy").legendre == "host"
    assert backend("cupy", legendre="device").legendre == "device"
    with pytest.raises(ValueError, match="or the"):
        backend("cupy", legendre="gpu")


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        ("libcuda.so", "no CUDA driver"),
        ("libcudart", r"libcudart.so.12 is not to be found; .*nvidia-cuda-runtime-cu12"),
        ("libcufft", r"libcufft.so.11 is not to be found; .*nvidia-cufft-cu12"),
        ("cupy", r"cupy cannot be imported \(cupy-cuda12x; .*pip install 'lensrec\[gpu\]'"),
        ("cufinufft", "cufinufft cannot be imported"),
    ],
)
@pytest.mark.skipif(sys.platform != "linux", reason="libraries have other names there")
def test_what_is_missing_is_one_line_and_auto_goes_without(machine, missing, said):
    machine.missing.add(missing)
    with pytest.raises(NoDevice, match=said) as refused:
        backend("cupy")
    assert "\n" not in str(refused.value)
    assert backend("auto").name == "numpy"


def test_a_driver_without_a_device_is_one_line(monkeypatch):
    for driver in (Driver(0), Driver(1, status=100)):
        monkeypatch.setattr(ctypes, "CDLL", lambda name, mode=0, driver=driver: driver)
        with pytest.raises(NoDevice, match="finds no device"):
            backend("cupy")
        assert backend("auto").name == "numpy"


def test_too_little_memory_is_one_line(machine):
    with pytest.raises(NoDevice, match=r"1.0 GB free and 2.5 GB are needed"):
        backend("cupy", needed_bytes=2_500_000_000)
    assert backend("auto", needed_bytes=2_500_000_000).name == "numpy"


def test_a_device_that_does_not_answer_is_one_line(machine):
    def no_answer(number):
        raise RuntimeError("cudaErrorInvalidDevice: invalid device ordinal")

    machine.namespace.cuda.runtime.getDeviceProperties = no_answer
    with pytest.raises(NoDevice, match="CUDA device 5 does not answer"):
        backend("cupy", device=5)


def test_without_a_driver_nothing_is_imported():
    code = (
        "import ctypes, sys\n"
        "real = ctypes.CDLL\n"
        "def load(name, *a, **k):\n"
        "    if 'libcuda.so' in str(name): raise OSError(name)\n"
        "    return real(name, *a, **k)\n"
        "ctypes.CDLL = load\n"
        "from lensrec.arrays import backend\n"
        "assert backend('auto').name == 'numpy'\n"
        "print(sorted(m for m in ('cupy', 'cufinufft', 'finufft', 'nvidia') if m in sys.modules))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_only_arrays_and_devices_name_cuda():
    """No other file imports cupy, cufinufft or finufft, or asks for a device."""
    package = Path(arrays.__file__).parent
    words = ("import cupy", "import cufinufft", "import finufft", "xp.cuda", "libcu")
    allowed = {"arrays.py", "devices.py"}
    found = {p.name for p in package.rglob("*.py") if any(w in p.read_text(encoding="utf-8") for w in words)}
    assert found <= allowed


def test_plans_are_kept_and_the_oldest_goes():
    b = backend("numpy", nthreads=1)
    double = np.dtype(complex)
    first = b.plan((4, 6), double, epsilon=1e-6, upsampling=2.0)
    assert b.plan((4, 6), double, epsilon=1e-6, upsampling=2.0) is first
    second = b.plan((4, 8), double, epsilon=1e-6, upsampling=2.0)
    assert b.plan((4, 6), double, epsilon=1e-6, upsampling=2.0) is first  # the latest now
    b.plan((4, 10), double, epsilon=1e-6, upsampling=2.0)
    assert b.plan((4, 6), double, epsilon=1e-6, upsampling=2.0) is first
    assert b.plan((4, 8), double, epsilon=1e-6, upsampling=2.0) is not second


def test_room_is_made_only_where_it_is_short():
    machine = Machine(free=10**6)
    b = Backend("cupy", machine.namespace, "", 0, nthreads=1, nufft=machine.nufft)
    with b.active():
        plan = b.plan((4, 6), np.dtype(complex), epsilon=1e-6, upsampling=2.0)
        b.make_room(10**6)
        assert b.plan((4, 6), np.dtype(complex), epsilon=1e-6, upsampling=2.0) is plan
        b.make_room(10**6 + 1)
        assert b.plan((4, 6), np.dtype(complex), epsilon=1e-6, upsampling=2.0) is not plan


@pytest.mark.parametrize("device", [False, True])
@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_arrays_stream_in_whole_and_in_order(device, count):
    machine = Machine()
    b = Backend("cupy", machine.namespace, "", 0) if device else backend("numpy")

    def fill(i, out):
        out[:] = i

    with b.active():
        got = [b.to_host(part).copy() for part in b.stream_in(count, (2, 3), np.dtype(float), fill)]
    np.testing.assert_array_equal(np.array(got).reshape(count, 6), np.repeat(np.arange(count), 6).reshape(count, 6))


def test_pinned_memory_is_not_written_to_on_its_way(monkeypatch):
    """The stand-in catches it where an event is not waited for."""
    machine = Machine()
    machine.namespace.cuda.Event = lambda: SimpleNamespace(record=lambda stream: None, synchronize=lambda: None)
    b = Backend("cupy", machine.namespace, "", 0)
    with b.active():
        for _ in b.stream_in(5, (3,), np.dtype(float), lambda i, out: out.fill(i)):
            pass
        with pytest.raises(TypeError, match="written to while"):
            b.wait()


def test_threads_are_those_asked_for(monkeypatch):
    assert thread_count(3) == 3
    monkeypatch.setenv("LENSREC_NUM_THREADS", "5")
    assert thread_count() == 5
    monkeypatch.setenv("LENSREC_NUM_THREADS", "many")
    with pytest.raises(ValueError, match="positive whole number"):
        thread_count()
    with pytest.raises(ValueError, match="not be negative"):
        thread_count(-1)

"""A namespace that stands in for cupy, and a module for cufinufft, where there is no device.

It offers only names that cupy offers (its own test asks cupy), and refuses what cupy refuses or what would be wrong on
a device: host arrays among device arrays, implicit conversions, arrays of another device than the current one, kernel
arguments of the wrong kind, pinned memory that is written to while it is on its way. Kernels are the real sources,
compiled for the host.
"""

import weakref
from types import SimpleNamespace
from typing import Any

import finufft
import numpy as np

from tests.reference import cuda_blocks_on_host, cuda_on_host

# What `cufinufft.Plan` takes beside its own parameters, of what is used here.
_PLAN_OPTIONS = {"upsampfac", "modeord", "gpu_device_id", "gpu_stream"}


class Refused(TypeError):
    """What cupy would not do."""


class DeviceArray:
    """An array that lives on a device of the machine it was made by."""

    __array_ufunc__ = None

    def __init__(self, machine: "Machine", host: np.ndarray) -> None:
        self._machine, self._host, self.device = machine, host, machine.device
        machine.count(host)

    def __array__(self, *args: Any, **kwargs: Any) -> np.ndarray:
        raise Refused("Implicit conversion to a NumPy array is not allowed. Please use `.get()`")

    def __bool__(self) -> bool:
        raise Refused("a truth value makes the host wait for the device")

    shape = property(lambda self: self._host.shape)
    dtype = property(lambda self: self._host.dtype)
    size = property(lambda self: self._host.size)
    ndim = property(lambda self: self._host.ndim)
    flags = property(lambda self: self._host.flags)
    nbytes = property(lambda self: self._host.nbytes)

    def __len__(self) -> int:
        return len(self._host)

    def __iter__(self) -> Any:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, key: Any) -> "DeviceArray":
        return self._new(self._host[_plain_key(key)])

    def __setitem__(self, key: Any, value: Any) -> None:
        self._host[_plain_key(key)] = self._machine.operand(value)

    def reshape(self, *shape: int) -> "DeviceArray":
        return self._new(self._host.reshape(*shape))

    def transpose(self, *axes: int) -> "DeviceArray":
        return self._new(self._host.transpose(*axes))

    def astype(self, dtype: Any, copy: bool = True) -> "DeviceArray":
        return self._new(self._host.astype(dtype, copy=copy))

    def set(self, array: np.ndarray, stream: Any = None) -> None:
        """As cupy's: a copy from the host that a stream has not made before it says so."""
        if type(array) is not np.ndarray or array.dtype != self.dtype or array.shape != self.shape:
            raise Refused("set takes a host array of the same shape and dtype")
        if not (array.flags.c_contiguous and self.flags.c_contiguous):
            raise Refused("set takes contiguous arrays")
        self._machine.operand(self)
        self._host[...] = array
        (stream or self._machine.stream).sent.append((array, array.copy()))

    def _new(self, host: Any) -> "DeviceArray":
        self._machine.operand(self)
        return DeviceArray(self._machine, np.asarray(host))


def _plain_key(key: Any) -> Any:
    for part in key if isinstance(key, tuple) else (key,):
        if not isinstance(part, int | slice | type(Ellipsis) | None):
            raise Refused(f"an index of {type(part)} would cross from the host")
    return key


def _binary(name: str) -> Any:
    def operate(self: DeviceArray, other: Any) -> Any:
        return self._new(getattr(self._host, name)(self._machine.operand(other)))

    return operate


def _in_place(name: str) -> Any:
    def operate(self: DeviceArray, other: Any) -> DeviceArray:
        getattr(self._host, name)(self._machine.operand(other))
        return self

    return operate


for _name in ("add", "sub", "mul", "truediv"):
    for _side in ("", "r"):
        setattr(DeviceArray, f"__{_side}{_name}__", _binary(f"__{_side}{_name}__"))
    setattr(DeviceArray, f"__i{_name}__", _in_place(f"__i{_name}__"))
DeviceArray.__neg__ = lambda self: self._new(-self._host)  # type: ignore[attr-defined]


class Stream:
    """A stream, and the host memory that is on its way through it."""

    def __init__(self, machine: "Machine", ptr: int) -> None:
        self._machine, self.ptr, self.sent = machine, ptr, []

    def __enter__(self) -> "Stream":
        self._machine.streams.append(self)
        return self

    def __exit__(self, *args: Any) -> None:
        self._machine.streams.pop()

    def synchronize(self) -> None:
        arrived(self.sent)


def arrived(sent: list) -> None:
    """Refuse if memory was written to before its copy was known to be made."""
    for array, as_sent in sent:
        if not np.array_equal(array, as_sent):
            raise Refused("pinned memory was written to while it was on its way")
    sent.clear()


class Machine:
    """Some devices with their current state; `namespace` is what goes for cupy, `nufft` for cufinufft.

    Attributes
    ----------
    launched : list of (name of the kernel or "nufft", device, pointer of the stream)
    free : int
        What `memGetInfo` says is free.
    slowness : int
        How much faster single precision is than double.
    live, peak : int
        Bytes of the arrays that there are, and the most that there were; plans are not counted.
    """

    def __init__(self, devices: int = 1, free: int = 10**12) -> None:
        self.devices, self.free = devices, free
        self.launched: list[tuple[str, int, int]] = []
        self.slowness = 2
        self.live = self.peak = 0
        self._counted: set[int] = set()
        self._entered = [0]
        self.streams = [Stream(self, 0)]
        self.plans: list[dict] = []
        self.namespace = self._namespace()
        self.nufft = SimpleNamespace(Plan=lambda *args, **options: _Plan(self, *args, **options))

    @property
    def device(self) -> int:
        return self._entered[-1]

    @property
    def stream(self) -> Stream:
        return self.streams[-1]

    def new_stream(self, ptr: int) -> Stream:
        return Stream(self, ptr)

    def count(self, array: np.ndarray) -> None:
        """Add the memory that an array stands in to what lives, until it is gone."""
        while isinstance(array.base, np.ndarray):
            array = array.base
        if id(array) not in self._counted:
            self._counted.add(id(array))
            self.live += array.nbytes
            self.peak = max(self.peak, self.live)
            weakref.finalize(array, self._gone, id(array), array.nbytes)

    def _gone(self, which: int, nbytes: int) -> None:
        self._counted.discard(which)
        self.live -= nbytes

    def operand(self, value: Any) -> Any:
        if isinstance(value, DeviceArray):
            if value.device != self.device:
                raise Refused(f"an array of device {value.device} used on device {self.device}")
            return value._host
        if isinstance(value, int | float | complex):
            return value
        raise Refused(f"Unsupported type {type(value)}")

    def _namespace(self) -> Any:
        def made(function: Any) -> Any:
            return lambda *args, **kwargs: DeviceArray(self, function(*args, **kwargs))

        def over(function: Any) -> Any:
            return lambda a, **kwargs: DeviceArray(self, np.asarray(function(self.operand(a), **kwargs)))

        def asarray(a: Any) -> DeviceArray:
            return a if isinstance(a, DeviceArray) else DeviceArray(self, np.array(a))

        def asnumpy(a: Any) -> np.ndarray:
            return self.operand(a).copy()

        def filled(shape: Any, dtype: Any = float) -> np.ndarray:
            out = np.empty(shape, dtype)
            out.fill(np.nan)  # nobody may count on what fresh memory holds
            return out

        pool = SimpleNamespace(free_bytes=lambda: 0, free_all_blocks=lambda: None)
        cuda = SimpleNamespace(
            Device=lambda number: _Entered(self, number),
            Event=_Event,
            Stream=Stream,
            get_current_stream=lambda: self.stream,
            runtime=SimpleNamespace(memGetInfo=lambda: (self.free, self.free)),
        )
        return SimpleNamespace(
            __name__="tests.reference.strict_cupy",
            arange=made(np.arange),
            asarray=asarray,
            ascontiguousarray=over(np.ascontiguousarray),
            asnumpy=asnumpy,
            conj=over(np.conj),
            cuda=cuda,
            empty=made(filled),
            exp=over(np.exp),
            fft=SimpleNamespace(fft=over(np.fft.fft), irfft=over(np.fft.irfft), rfft=over(np.fft.rfft)),
            get_default_memory_pool=lambda: pool,
            zeros=made(np.zeros),
            RawModule=lambda **options: _Module(self, **options),
        )


class _Entered:
    def __init__(self, machine: Machine, number: int) -> None:
        if not 0 <= number < machine.devices:
            raise Refused(f"there is no device {number}")
        self._machine, self._number = machine, number
        self.attributes = {"SingleToDoublePrecisionPerfRatio": machine.slowness}

    def __enter__(self) -> None:
        self._machine._entered.append(self._number)

    def __exit__(self, *args: Any) -> None:
        self._machine._entered.pop()


class _Event:
    def __init__(self) -> None:
        self._stream: Stream | None = None
        self._before: list = []

    def record(self, stream: Stream) -> None:
        self._stream, self._before = stream, stream.sent[:]

    def synchronize(self) -> None:
        if self._stream is not None:
            waited = {id(one) for one in self._before}
            known = [one for one in self._stream.sent if id(one) in waited]
            self._stream.sent[:] = [one for one in self._stream.sent if id(one) not in waited]
            arrived(known)


class _Module:
    def __init__(self, machine: Machine, *, code: str, options: tuple[str, ...] = ()) -> None:
        if not all(option.startswith("-") for option in options):
            raise Refused(f"options of NVRTC begin with a hyphen: {options}")
        self._machine, self._code, self._device = machine, code, machine.device

    def get_function(self, name: str) -> Any:
        def launch(grid: tuple[int, ...], block: tuple[int, ...], args: tuple) -> None:
            machine = self._machine
            if not (1 <= grid[0] < 2**31 and 1 <= block[0] <= 1024):
                raise Refused(f"a launch of {grid} blocks of {block} threads")
            given = []
            for value in args:
                if isinstance(value, DeviceArray):
                    given.append(machine.operand(value))
                elif isinstance(value, np.integer | np.floating):
                    given.append(value)
                else:
                    raise Refused(f"a kernel takes arrays of the device and numpy scalars, got {type(value)}")
            machine.launched.append((name, machine.device, machine.stream.ptr))
            if "__syncthreads" in self._code:
                cuda_blocks_on_host.host_module(self._code).get_function(name)(grid, block, tuple(given))
            else:
                cuda_on_host.launch(self._code, name, grid[0], block[0], tuple(given))

        return launch


class _Plan:
    def __init__(
        self,
        machine: Machine,
        kind: int,
        n_modes: tuple[int, ...],
        n_trans: int = 1,
        eps: float = 1e-6,
        isign: int | None = None,
        dtype: str = "complex64",
        **options: Any,
    ) -> None:
        if unknown := set(options) - _PLAN_OPTIONS:
            raise Refused(f"Invalid option {unknown}")
        if options["gpu_device_id"] != machine.device:
            raise Refused(f"a plan for device {options['gpu_device_id']} on device {machine.device}")
        self._machine, self._dtype = machine, np.dtype(dtype)
        self._device, self._stream = options.pop("gpu_device_id"), options.pop("gpu_stream")
        machine.plans.append({"shape": n_modes, "eps": eps, "dtype": dtype, "stream": self._stream, **options})
        self._plan = finufft.Plan(kind, n_modes, n_trans, eps, isign, dtype=dtype, nthreads=1, **options)

    def setpts(self, x: DeviceArray, y: DeviceArray) -> None:
        real = np.empty(0, self._dtype).real.dtype
        self._plan.setpts(*(self._checked(points, real) for points in (x, y)))

    def execute(self, data: DeviceArray, out: DeviceArray | None = None) -> DeviceArray:
        self._machine.launched.append(("nufft", self._machine.device, self._stream))
        modes = self._checked(data, self._dtype)
        if out is None:
            return data._new(self._plan.execute(modes))
        self._plan.execute(modes, self._checked(out, self._dtype))
        return out

    def _checked(self, array: DeviceArray, dtype: np.dtype) -> np.ndarray:
        if not isinstance(array, DeviceArray) or array.dtype != dtype or not array.flags.c_contiguous:
            raise Refused(f"cufinufft takes contiguous {dtype} arrays of the device")
        if self._device != self._machine.device:
            raise Refused(f"a plan of device {self._device} used on device {self._machine.device}")
        return self._machine.operand(array)


def empty_pinned(shape: Any, dtype: Any = float) -> np.ndarray:
    """As `cupyx.empty_pinned`: host memory that a device copies from by itself."""
    return np.empty(shape, dtype)

"""What the numerics need to know of the machine: threads, precision, and where arrays live, in numpy or on a GPU.

No other file asks for cupy, CUDA or a device: the rest is handed a `Backend`, and computes with its `xp`, its NUFFT
plans and its kernels. Nothing of CUDA is imported before a driver with a device has answered.
"""

import os
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, field
from functools import lru_cache, partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lensrec.devices import NoDevice, ask_driver, import_cufinufft, import_part

# Plans that a backend keeps: one for the deflection and one for the sky.
_PLANS = 2


@dataclass(eq=False)
class Backend:
    """Where arrays live and transforms run: numpy, or one stream of one CUDA device; `backend` makes one.

    A backend belongs to the thread that uses it. Plans and compiled kernels are kept in it and in nothing else, so that
    several devices and streams, each with a backend of its own, do not meet.

    Attributes
    ----------
    name : "numpy" or "cupy"
    xp : module
        The array namespace.
    about : str
        Which it is, for people: "numpy", or the device's name.
    device : int
        Number of the CUDA device; −1 for numpy.
    stream : cupy.cuda.Stream or None
        None: the stream that is current when the backend is used.
    nthreads : int
        Of transforms on the host; 0: as many as this process may use.
    nufft : module or None
        finufft or cufinufft; None: imported when the first plan is made.
    legendre : "host" or "device"
        Where a device's Legendre sums are made: by ducc0, and sent, or by lensrec's own kernels.
    """

    name: str
    xp: Any
    about: str
    device: int = -1
    stream: Any = None
    nthreads: int = 0
    nufft: Any = None
    legendre: str = "host"
    _plans: "OrderedDict[tuple, Any]" = field(default_factory=OrderedDict, repr=False)
    _modules: dict[Path, Any] = field(default_factory=dict, repr=False)

    @property
    def on_device(self) -> bool:
        """Whether arrays live on a GPU."""
        return self.name != "numpy"

    def active(self) -> AbstractContextManager:
        """Within this, new arrays and launched work belong to the backend's device and stream."""
        if not self.on_device:
            return nullcontext()
        context = ExitStack()
        context.enter_context(self.xp.cuda.Device(self.device))
        if self.stream is not None:
            context.enter_context(self.stream)
        return context

    def current_stream(self) -> Any:
        """The stream that work goes to."""
        return self.stream if self.stream is not None else self.xp.cuda.get_current_stream()

    def wait(self) -> None:
        """Until all that was launched is done."""
        if self.on_device:
            self.current_stream().synchronize()

    def free_bytes(self) -> int | None:
        """Memory that arrays and plans may still take; None where nobody counts it."""
        if not self.on_device:
            return None
        with self.active():
            return self.xp.cuda.runtime.memGetInfo()[0] + self.xp.get_default_memory_pool().free_bytes()

    def to_device(self, array: NDArray) -> Any:
        """A numpy array as an array of this backend, contiguous; itself where it is one."""
        with self.active():
            return self.xp.ascontiguousarray(self.xp.asarray(array))

    def to_host(self, array: Any) -> NDArray:
        """An array of this backend as a numpy one; itself where it is one."""
        if not self.on_device:
            return array
        with self.active():
            return self.xp.asnumpy(array)

    def plan(self, shape: tuple[int, int], dtype: np.dtype, *, epsilon: float, upsampling: float) -> Any:
        """A type-2 NUFFT from `shape` modes, in FFT order, to points: c(x, y) = Σ f_jk exp(i(jx + ky)).

        Plans are kept, the latest two; the memory of an older one is given back. Points stay those set last.
        """
        stream = self.current_stream().ptr if self.on_device else 0
        key = (shape, np.dtype(dtype), epsilon, upsampling, stream)
        if key in self._plans:
            self._plans.move_to_end(key)
            return self._plans[key]
        while len(self._plans) >= _PLANS:
            self._plans.popitem(last=False)
        options: dict[str, Any] = {"nthreads": thread_count(self.nthreads), "showwarn": 0}
        if self.on_device:
            options = {"gpu_device_id": self.device, "gpu_stream": stream}
            # cufinufft does not allocate from cupy's pool, which must not sit on what it needs
            self.xp.get_default_memory_pool().free_all_blocks()
        if self.nufft is None:
            self.nufft = (
                import_cufinufft() if self.on_device else import_part("finufft", "finufft", "pip install finufft")
            )
        plan = self.nufft.Plan(
            2, shape, 1, epsilon, isign=1, dtype=np.dtype(dtype).name, modeord=1, upsampfac=upsampling, **options
        )
        self._plans[key] = plan
        return plan

    def make_room(self, nbytes: int) -> None:
        """Give back the memory of every plan if otherwise so much is not free."""
        free = self.free_bytes()
        if free is not None and free < nbytes:
            self._plans.clear()

    def kernel(self, source: Path, name: str) -> Callable[..., None]:
        """A CUDA kernel of a .cu file, as a function of the number of elements and of its arguments."""
        return partial(_launch, self.module(source).get_function(name))

    def module(self, source: Path) -> Any:
        """A .cu file, compiled once."""
        if source not in self._modules:
            self._modules[source] = self.xp.RawModule(code=source.read_text(encoding="utf-8"), options=("-std=c++14",))
        return self._modules[source]

    def stream_in(
        self, count: int, shape: tuple[int, ...], dtype: np.dtype, fill: Callable[[int, NDArray], None]
    ) -> Iterator[Any]:
        """Arrays that the host makes one after the other, on the device: the next is made while one is worked on.

        Parameters
        ----------
        count : int
        shape, dtype
            Of each; the arrays yielded share memory, and are valid until the next is asked for.
        fill : function of the number and of a numpy array to be filled
        """
        if not self.on_device:
            buffer = np.empty(shape, dtype)
            for i in range(count):
                fill(i, buffer)
                yield buffer
            return
        cupyx = import_module(self.xp.__name__ + "x")
        stream = self.current_stream()
        pinned = [cupyx.empty_pinned(shape, dtype) for _ in range(min(count, 2))]
        sent = [self.xp.cuda.Event() for _ in pinned]
        there = self.xp.empty(shape, dtype)  # one is enough: a stream works in order
        try:
            for i in range(count):
                turn = i % 2
                if i >= 2:
                    sent[turn].synchronize()
                fill(i, pinned[turn])
                there.set(pinned[turn], stream=stream)
                sent[turn].record(stream)
                yield there
        finally:
            for event in sent:
                event.synchronize()  # pinned memory must outlive its copies


def backend(
    name: str = "auto",
    *,
    needed_bytes: int = 0,
    device: int | None = None,
    stream: Any = None,
    legendre: str = "auto",
    nthreads: int = 0,
) -> Backend:
    """Numpy, or a CUDA device by cupy.

    Parameters
    ----------
    name : "auto", "numpy" or "cupy"
        "auto" takes a device if there is one that has the memory and cupy to use it, else numpy.
    needed_bytes : int
        Memory that the work will take on the device.
    device : int, optional
        Number of the CUDA device; the current one.
    stream : cupy.cuda.Stream, optional
        The current one.
    legendre : "auto", "host" or "device"
        Where a device's Legendre sums are made. "auto": there, if its double precision is at least a quarter as fast as
        its single precision, which that of graphics cards is not.
    nthreads : int

    Raises
    ------
    NoDevice
        If "cupy" is asked for and something is missing: the driver, a device, cupy, a library, memory.
    ValueError
        If the name is another.
    """
    if name not in ("auto", "numpy", "cupy"):
        raise ValueError(f'the backend must be "auto", "numpy" or "cupy", got {name!r}')
    if legendre not in ("auto", "host", "device"):
        raise ValueError(f'Legendre sums are made on the "host" or the "device", or "auto", got {legendre!r}')
    if name != "numpy":
        try:
            return _cuda_backend(needed_bytes, device, stream, legendre, nthreads)
        except NoDevice:
            if name == "cupy":
                raise
    return Backend("numpy", np, "numpy", nthreads=nthreads)


def _cuda_backend(needed_bytes: int, device: int | None, stream: Any, legendre: str, nthreads: int) -> Backend:
    ask_driver()
    cupy = import_part("cupy", "cupy-cuda12x")
    import_cufinufft()
    number = cupy.cuda.runtime.getDevice() if device is None else device
    try:
        described = cupy.cuda.runtime.getDeviceProperties(number)["name"].decode()
        slowness = cupy.cuda.Device(number).attributes["SingleToDoublePrecisionPerfRatio"]
    except cupy.cuda.runtime.CUDARuntimeError as err:
        raise NoDevice(f"backend cupy: CUDA device {number} does not answer: {err}") from None
    made = Backend("cupy", cupy, f"cupy on {described} (device {number})", number, stream, nthreads)
    made.legendre = ("device" if slowness <= 4 else "host") if legendre == "auto" else legendre
    free = made.free_bytes() or 0
    if free < needed_bytes:
        raise NoDevice(
            f"backend cupy: {described} has {free / 1e9:.1f} GB free and {needed_bytes / 1e9:.1f} GB are needed; "
            "a lower lmax or nside, a larger epsilon, or the backend numpy"
        )
    return made


def _launch(kernel: Any, count: int, *arguments: Any) -> None:
    """One thread an element; kernels go on in steps of the whole launch where there are more."""
    threads = 256
    blocks = max(1, min(-(-count // threads), 1 << 20))
    kernel((blocks,), (threads,), (np.int64(count), *arguments))


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


def single_blas_thread() -> AbstractContextManager:
    """Within this, BLAS and LAPACK use one thread: the last bits of what they make depend on how many there are."""
    return _blas().limit(limits=1, user_api="blas")


@lru_cache(maxsize=1)
def _blas() -> Any:
    import scipy.linalg  # noqa: F401  (whose BLAS is another than NumPy's, and is found if it is loaded)
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


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

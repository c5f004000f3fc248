"""A pool of processes on this machine, each with its share of threads, and a GPU of its own where there are some."""

import logging
import os
import pickle
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context, parent_process
from typing import Any

from lensrec.arrays import thread_count
from lensrec.devices import visible_devices
from lensrec.engine import Engine, EngineError, call_task
from lensrec.machine import available_memory

log = logging.getLogger(__name__)

THREADS = ("LENSREC_NUM_THREADS", "OMP_NUM_THREADS", "NUMBA_NUM_THREADS")


class PoolEngine(Engine):
    """Processes that are begun for each step of a stage, and end with it.

    Parameters
    ----------
    workers : int
        0: one for each core.
    memory : int
        Bytes that a task may take: there are no more workers than fit into what is free. 0 where that is not known.
    threads : int
        Of each worker; 0: an equal share of those that this process may use.
    """

    lost = (BrokenProcessPool,)

    def __init__(self, workers: int = 0, *, memory: int = 0, threads: int = 0) -> None:
        self._asked, self._threads, self._broken = workers, threads, False
        self.workers = self._fitting(memory)
        self.about = f"pool of {self.workers} processes"

    @contextmanager
    def session(
        self, function: Callable[..., Any], shared: Any, *, count: int, memory: int
    ) -> Iterator[Callable[[Any], Future[Any]]]:
        """See `Engine.session`; a single task runs in this process, unless it may be what a worker has died of."""
        workers = min(count, self._fitting(memory) if memory else self.workers)
        if workers == 1 and not self._broken:
            # with all threads, and nothing to send; a pool of one would only add a process that can die
            yield partial(_now, partial(call_task, function, shared))
            return
        threads = self._threads or max(1, thread_count() // workers)
        context = get_context("spawn")  # a forked process cannot use the threads of its parent's libraries
        devices: Any = context.Queue()
        for n in range(workers):
            devices.put(_nth_device(n))
        package = pickle.dumps((function, shared), protocol=pickle.HIGHEST_PROTOCOL)
        pool = ProcessPoolExecutor(workers, context, _begin, (threads, devices, package))
        try:
            yield lambda task: pool.submit(_call, task)
        except BrokenProcessPool:
            self._broken = True
            raise
        except KeyboardInterrupt:
            for process in list(pool._processes.values()):
                process.kill()  # what it has not finished is begun again by the next command
            raise
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _fitting(self, memory: int) -> int:
        cores = thread_count()
        workers = self._asked or cores
        if not memory:
            return workers
        fit = int(available_memory() // memory)
        if fit < 1:
            raise EngineError(
                f"a task takes {memory / 1e9:.2f} GB and {available_memory() / 1e9:.2f} GB are free: not even one "
                "worker fits; see lensrec info RECIPE"
            )
        if fit < workers:
            log.warning("%d workers instead of %d: each may take %.2f GB", fit, workers, memory / 1e9)
        return min(workers, fit)


def _now(call: Callable[..., Any], task: Any) -> Future[Any]:
    future: Future[Any] = Future()
    try:
        future.set_result(call(task))
    except Exception as error:
        future.set_exception(error)
    return future


def _nth_device(n: int) -> str:
    devices = visible_devices()
    return devices[n % len(devices)] if devices else ""


_PACKAGE: list[Any] = []
"""In a worker: the function, and what its tasks share."""


def _begin(threads: int, devices: Any, package: bytes) -> None:
    # an interrupt from the terminal reaches workers, too: it is for the command to say what comes of it
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # before anything heavy is imported, since some libraries read these once
    os.environ.update(dict.fromkeys(THREADS, str(threads)))
    if device := devices.get():
        os.environ["CUDA_VISIBLE_DEVICES"] = device
    _PACKAGE[:] = pickle.loads(package)


def _end_with_parent() -> None:
    """End with the command, however that ends: its run may be another's by the time a task is done."""
    if parent := parent_process():
        parent.join()
        os._exit(1)


def _call(task: Any) -> Any:
    function, shared = _PACKAGE
    return call_task(function, shared, task)

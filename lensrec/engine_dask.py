"""A Dask cluster: on this machine, of Slurm jobs, of the ranks of an MPI job, or one that is there already."""

import atexit
import logging
import pickle
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Future, InvalidStateError
from contextlib import ExitStack, contextmanager, suppress
from functools import lru_cache, partial
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from lensrec.arrays import thread_count
from lensrec.devices import visible_devices
from lensrec.engine import ADVICE, ATTEMPTS, Engine, EngineError, WorkerDied, call_task
from lensrec.engine_pool import THREADS
from lensrec.hold import held, under
from lensrec.machine import available_memory

log = logging.getLogger(__name__)

TIMEOUT = "20s"
"""Within which a scheduler must answer."""

MISSED = 6
"""How many looks must find a cluster without workers before it is told."""

EXTRA = "pip install 'lensrec[cluster]' brings it"

SETTINGS = {
    # Tasks hold large arrays that Dask does not know of: to spill or to wait would not free them. A worker that is
    # about to run out is killed, and its task begun again.
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": 0.95,
    # NumPy's threads are left as they are in a single process, so that sums are made in the same order.
    "distributed.nanny.pre-spawn-environ": {
        "MALLOC_TRIM_THRESHOLD_": 65536,
        "DASK_DISTRIBUTED__LOGGING__DISTRIBUTED": "critical",
    },
    "distributed.comm.timeouts.connect": "20s",
    # Once more, in case the death had another cause than the task.
    "distributed.scheduler.allowed-failures": 1,
    # A worker that is begun anew may take long on a busy machine; what does not come again is seen to by `_complete`.
    "distributed.deploy.lost-worker-timeout": "1 hour",
}


LEAVE_INTERRUPTS = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"
"""For workers of this machine: an interrupt from the terminal is for the command alone."""


class ConnectionLost(Exception):
    """The scheduler does not know of a task any more."""


class DaskEngine(Engine):
    """The workers of a Dask client.

    Parameters
    ----------
    client : distributed.Client
        Closed with the engine.
    about : str
        What cluster it is.
    closing : ExitStack, optional
        Holds what must end with it.
    revive : callable, optional
        Begins workers anew that are gone for good.
    """

    def __init__(
        self,
        client: Any,
        about: str,
        closing: ExitStack | None = None,
        revive: Callable[[], Any] = lambda: None,
    ) -> None:
        from distributed.gc import disable_gc_diagnosis

        disable_gc_diagnosis(force=True)  # in whose callback an interrupt would be lost
        self.lost: tuple[type[BaseException], ...] = (ConnectionLost,)
        self._client, self._about, self._closing = client, about, closing or ExitStack()
        self._revive, self._missed = revive, 0

    @property
    def workers(self) -> int:  # type: ignore[override]
        """Workers that are there now; they may come and go."""
        return len(self._infos())

    @property
    def about(self) -> str:  # type: ignore[override]
        """What cluster it is, and of how many workers."""
        return self._about

    @contextmanager
    def session(
        self, function: Callable[..., Any], shared: Any, *, count: int, memory: int
    ) -> Iterator[Callable[[Any], Future[Any]]]:
        """See `Engine.session`. What is shared is kept by the scheduler, for workers that come later."""
        self._require(memory)
        resources = self._resources(memory)
        if shared is None:
            yield partial(self._submit, resources, call_task, function, None)
            return
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Sending large graph")
            package = self._client.submit(_same, pickle.dumps(shared, pickle.HIGHEST_PROTOCOL), pure=False)
        yield partial(self._submit, resources, _call_packed, function, package)

    def _submit(self, resources: dict[str, Any], function: Callable[..., Any], *given: Any) -> Future[Any]:
        """A task's future of `concurrent.futures`; the client's own ones never end when it loses the scheduler."""
        from distributed.scheduler import KilledWorker

        outcome: Future[Any] = Future()
        if self._client.status != "running":
            raise ConnectionLost
        ruled = () if (hold := held()) is None else (under, hold)
        task = self._client.submit(*ruled, function, *given, pure=False, retries=0, **resources)

        def pass_on(done: Any) -> None:
            error: BaseException | None = None
            result = None
            try:
                result = done.result()
            except KilledWorker:
                error = WorkerDied(f"{self._about}: workers died under the same task, which lack of memory does")
            except BaseException as raised:
                error = ConnectionLost() if done.status in ("cancelled", "lost") else raised
            with suppress(InvalidStateError):  # it was cancelled here
                outcome.set_exception(error) if error else outcome.set_result(result)

        task.add_done_callback(pass_on)
        outcome.add_done_callback(lambda mine: mine.cancelled() and task.cancel())
        return outcome

    def look(self) -> None:
        """Begin workers anew where that is this command's to do, and warn of a cluster that has none left."""
        self._revive()
        self._missed = 0 if self._infos() else self._missed + 1
        if self._missed == MISSED:
            log.warning("%s has no workers; work goes on with the first that comes", self._about)

    def close(self) -> None:
        """Leave the cluster, and end it if it was begun here."""
        self._client.close()
        self._closing.close()

    def _infos(self) -> list[dict[str, Any]]:
        """What its workers say of themselves.

        Raises
        ------
        EngineError
            If there is no scheduler, for as long as one is waited for.
        """
        from dask.utils import parse_timedelta

        until = monotonic() + 1.5 * parse_timedelta(TIMEOUT)
        while self._client.status == "connecting" and monotonic() < until:
            sleep(0.1)
        reason: object = f"connection {self._client.status}"
        if self._client.status == "running":
            try:
                return list(self._client.scheduler_info(n_workers=-1)["workers"].values())
            except OSError as error:
                reason = error
        raise EngineError(
            f"{self._about}: the scheduler does not answer any more ({reason}); start one again, and the same command "
            "goes on where this one was"
        )

    def _require(self, memory: int) -> None:
        """Refuse what no worker has the memory for."""
        limits = [info["memory_limit"] for info in self._infos() if info.get("memory_limit")]
        if memory and limits and max(limits) < memory:
            raise EngineError(
                f"{self._about}: a task takes {memory / 1e9:.2f} GB and the largest worker has "
                f"{max(limits) / 1e9:.2f} GB; give fewer --workers, or workers with more memory"
            )

    def _resources(self, memory: int) -> dict[str, Any]:
        """What a task asks of its worker: the memory it says it takes, where workers say what they have."""
        infos = self._infos()
        known = infos and all("memory" in info.get("resources", {}) for info in infos)
        return {"resources": {"memory": memory}} if memory and known else {}


def _same(value: Any) -> Any:
    return value


def _call_packed(function: Callable[..., Any], package: bytes, task: Any) -> Any:
    return call_task(function, _unpacked(package), task)


@lru_cache(maxsize=1)
def _unpacked(package: bytes) -> Any:
    # Once in each worker. Arrays that Dask itself carries lie anywhere in what it has received, and compiled loops over
    # arrays that are not aligned add up in another order.
    return pickle.loads(package)


def open_dask(name: str, *, workers: int = 0, memory: int = 0, threads: int = 0) -> DaskEngine:
    """The Dask cluster of a name; see `lensrec.engine.open_engine`.

    Raises
    ------
    EngineError
        If Dask is not installed, or the cluster cannot be had.
    """
    try:
        import dask
        import distributed
    except ImportError as error:
        raise EngineError(f"--engine {name}: Dask is not installed; {EXTRA}") from error
    dask.config.set(SETTINGS)
    for logger in ("distributed", "distributed.client", "tornado.application", "asyncio"):
        logging.getLogger(logger).setLevel(logging.CRITICAL)  # what is to be said of it is said here, in one line
    closing = ExitStack()
    try:
        if name == "dask":
            return _local(distributed, workers, memory, threads, closing)
        if name == "slurm":
            return _slurm(distributed, workers, closing)
        if name == "mpi":
            return _mpi(distributed)
        if name.endswith(".json"):
            if not Path(name).is_file():
                raise EngineError(f"--engine {name}: there is no such scheduler file; start dask scheduler first")
            client = distributed.Client(scheduler_file=name, timeout=TIMEOUT)
        else:
            client = distributed.Client(name, timeout=TIMEOUT)
        return _with_workers(DaskEngine(client, f"Dask at {name}"), workers or 1)
    except (OSError, ValueError) as error:
        closing.close()
        raise EngineError(f"--engine {name}: no Dask scheduler answers there ({error}); is it running?") from error


def _local(distributed: Any, workers: int, memory: int, threads: int, closing: ExitStack) -> DaskEngine:
    """Processes of this machine that only this machine can reach."""
    from distributed.deploy.spec import close_clusters

    atexit.unregister(close_clusters)  # it is closed here, and what an interrupt has left half made ends with us
    cores, free = thread_count(), available_memory()
    n = workers or cores
    if memory:
        n = max(1, min(n, int(free // memory)))
    share = threads or max(1, cores // n)
    environment = dict.fromkeys(THREADS, str(share))
    limit = int(free // n)
    cluster = closing.enter_context(
        distributed.LocalCluster(
            n_workers=0,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
            memory_limit=limit,
            resources={"memory": limit},
            env=environment,
            preload=[LEAVE_INTERRUPTS],
            silence_logs=logging.CRITICAL,
        )
    )
    devices = visible_devices()
    for i in range(n):
        spec = cluster.new_worker_spec()
        for key, value in spec.items():
            options = {**value["options"]}
            if devices:
                options["env"] = {**environment, "CUDA_VISIBLE_DEVICES": devices[i % len(devices)]}
            cluster.worker_spec[key] = {**value, "options": options}
    for attempt in range(ATTEMPTS):
        try:
            cluster.sync(_complete, cluster)
            break
        except RuntimeError as error:
            if attempt + 1 == ATTEMPTS:
                raise EngineError(f"--engine dask: workers die when they start ({error}); {ADVICE}") from error
    client = distributed.Client(cluster, timeout="60s")

    def revive() -> None:
        # the next look tries again
        with suppress(RuntimeError):
            cluster.sync(_complete, cluster)

    return _with_workers(DaskEngine(client, f"Dask cluster of {n} workers here", closing, revive), n)


async def _complete(cluster: Any) -> None:
    """Begin the workers that a cluster on this machine lacks; a RuntimeError if one dies while it starts.

    Nannies begin workers anew that die later, but not those, and stay behind themselves.
    """
    from distributed import Status

    for name, nanny in list(cluster.workers.items()):
        if nanny.status in (Status.failed, Status.closed):
            del cluster.workers[name]
    await cluster._correct_state()


def _slurm(distributed: Any, workers: int, closing: ExitStack) -> DaskEngine:
    """Slurm jobs, by what ~/.config/dask/jobqueue.yaml says of queue, account, cores, memory and walltime."""
    import dask

    try:
        from dask_jobqueue import SLURMCluster
    except ImportError as error:
        raise EngineError(f"--engine slurm: dask-jobqueue is not installed; {EXTRA}") from error
    n = workers or 1
    settings = dask.config.get("jobqueue.slurm", {})
    for key in ("cores", "memory"):
        if not settings.get(key):
            raise EngineError(
                f"--engine slurm: jobqueue.slurm.{key} is not set; write it into ~/.config/dask/jobqueue.yaml, as "
                "docs/howto/slurm.md shows"
            )
    threads = int(settings["cores"])
    # one task at a time in a job, with all of its cores
    cluster = closing.enter_context(
        SLURMCluster(
            processes=1,
            job_script_prologue=[
                *(settings.get("job_script_prologue") or []),
                *(f"export {name}={threads}" for name in THREADS),
            ],
            worker_extra_args=[*(settings.get("worker_extra_args") or []), "--nthreads", "1"],
        )
    )
    cluster.scale(jobs=n)
    client = distributed.Client(cluster)
    log.info("%d Slurm jobs asked for; work begins with the first that runs", n)
    return DaskEngine(client, f"Dask cluster of {n} Slurm jobs", closing)


def _mpi(distributed: Any) -> DaskEngine:
    """All ranks of this MPI job but the first two: rank 0 is the scheduler, rank 1 this command."""
    try:
        import dask_mpi
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:
        raise EngineError(f"--engine mpi: dask-mpi or an MPI library is not there ({error}); {EXTRA}") from error
    size = MPI.COMM_WORLD.Get_size()
    if size < 3:
        raise EngineError(f"--engine mpi: {size} ranks; it takes three or more, as in mpirun -n 10 lensrec ...")
    dask_mpi.initialize(nthreads=1, dashboard=False, memory_limit=0)
    client = distributed.Client()
    return _with_workers(DaskEngine(client, f"Dask on {size} MPI ranks"), size - 2)


def _with_workers(engine: DaskEngine, count: int, timeout: float = 120) -> DaskEngine:
    try:
        engine._client.wait_for_workers(count, timeout=timeout)
    except TimeoutError as error:
        engine.close()
        raise EngineError(
            f"{engine.about}: fewer than {count} workers came within {timeout:.0f} s; look at their logs, or give "
            "fewer --workers"
        ) from error
    return engine

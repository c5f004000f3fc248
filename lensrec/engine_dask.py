"""A Dask cluster: on this machine, of Slurm jobs, of the ranks of an MPI job, or one that is there already."""

import logging
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from lensrec.arrays import thread_count
from lensrec.devices import visible_devices
from lensrec.engine import Engine, EngineError
from lensrec.engine_pool import THREADS
from lensrec.machine import available_memory

log = logging.getLogger(__name__)

TIMEOUT = "20s"
"""Within which a scheduler must answer."""

EXTRA = "pip install 'lensrec[cluster]' brings it"

SETTINGS = {
    # Tasks hold large arrays that Dask does not know of: to spill or to wait would not free them. A worker that is
    # about to run out is killed, and its task begun again.
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": 0.95,
    # NumPy's threads are left as they are in a single process, so that sums are made in the same order.
    "distributed.nanny.pre-spawn-environ": {"MALLOC_TRIM_THRESHOLD_": 65536},
    "distributed.comm.timeouts.connect": "20s",
}


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
    """

    def __init__(self, client: Any, about: str, closing: ExitStack | None = None) -> None:
        from distributed.comm import CommClosedError
        from distributed.scheduler import KilledWorker

        self.lost: tuple[type[BaseException], ...] = (CancelledError, KilledWorker, CommClosedError)
        self._client, self._about, self._closing = client, about, closing or ExitStack()

    @property
    def workers(self) -> int:  # type: ignore[override]
        """Workers that are there now; they may come and go."""
        return len(self._client.scheduler_info(n_workers=-1)["workers"])

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
        executor = self._client.get_executor(pure=False, retries=0, **self._resources(memory))
        if shared is None:
            yield partial(executor.submit, function)
            return
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Sending large graph")
            common = self._client.submit(_same, shared, pure=False)
        yield partial(executor.submit, function, common)

    def close(self) -> None:
        """Leave the cluster, and end it if it was begun here."""
        self._client.close()
        self._closing.close()

    def _infos(self) -> list[dict[str, Any]]:
        try:
            return list(self._client.scheduler_info(n_workers=-1)["workers"].values())
        except OSError as error:
            raise EngineError(f"{self._about} does not answer any more ({error})") from error

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
    logging.getLogger("distributed").setLevel(logging.ERROR)
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
            silence_logs=logging.ERROR,
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
    cluster.sync(cluster._correct_state)
    client = distributed.Client(cluster, timeout="60s")
    return _with_workers(DaskEngine(client, f"Dask cluster of {n} workers here", closing), n)


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

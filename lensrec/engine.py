"""Where tasks are executed: in this process, by a pool of processes, by a Dask cluster, or by any other executor.

Everything that takes long goes through `run_tasks`, which speaks `concurrent.futures`. A task is named by a few plain
values; what all tasks of a stage have in common goes to each worker once. Tasks leave their products under names of
their own and draw their random numbers by their own number, so the results are the same bits whoever runs them.
"""

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, TypeAlias, TypeVar

from lensrec.arrays import single_blas_thread

Task = TypeVar("Task")
Result = TypeVar("Result")
Progress = Callable[[str, int, int], None]
"""Told what is going on, how many steps of it are done, and how many there are."""

Workers: TypeAlias = "Executor | Engine | None"
"""Who executes tasks: an engine, an executor of `concurrent.futures`, or, with None, this process."""

ATTEMPTS = 3
"""How often a task is tried that its worker or the file system has let down."""

PATIENCE = 5.0
"""Seconds without a result after which an engine is asked what may be the matter."""

log = logging.getLogger(__name__)


class EngineError(RuntimeError):
    """Workers that cannot be had, or that died; one line that says what happened and what would do."""


class WorkerDied(OSError):
    """Under one task, while the other workers go on; such a task is tried again."""


ADVICE = "give fewer --workers, or a smaller sky; the same command goes on where this one was"
"""To whom workers died, which lack of memory does."""


class InProcess(Executor):
    """An executor that runs each task at once, in the thread that submits it."""

    def submit(self, fn: Callable[..., Result], /, *args: Any, **kwargs: Any) -> "Future[Result]":
        """Call the function now; the future that comes back is done."""
        future: Future[Result] = Future()
        future.set_running_or_notify_cancel()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as err:
            future.set_exception(err)
        return future


class Engine(ABC):
    """Workers in other processes or on other machines; `open_engine` makes one.

    Attributes
    ----------
    workers : int
        How many tasks can run at a time.
    about : str
        What it is, in words.
    lost : tuple of exception types
        What a future raises when all workers of a session are gone, and another session is to be begun.
    """

    workers: int
    about: str
    lost: tuple[type[BaseException], ...] = ()

    @abstractmethod
    def session(
        self, function: Callable[..., Any], shared: Any, *, count: int, memory: int
    ) -> AbstractContextManager[Callable[[Any], "Future[Any]"]]:
        """Workers that are ready to call function(shared, task), as a function that submits a task.

        Parameters
        ----------
        function : callable
            Of a module, so that workers find it by its name.
        shared : picklable
            Sent to each worker once.
        count : int
            Number of tasks to come.
        memory : int
            Bytes that one of them may take; 0 where that is not known.

        Raises
        ------
        EngineError
            If no worker has that much.
        """

    def look(self) -> None:  # noqa: B027  (most engines cannot be without workers)
        """Called now and then while no task ends, to say what may be the matter."""

    def close(self) -> None:  # noqa: B027  (most engines hold nothing between sessions)
        """Let the workers go."""

    def __enter__(self) -> "Engine":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def run_tasks(
    function: Callable[..., Result],
    tasks: Iterable[Any],
    *,
    shared: Any = None,
    executor: Workers = None,
    memory: int = 0,
    progress: Progress | None = None,
    description: str = "",
) -> list[Result]:
    """Call function(task), or function(shared, task), on every task and return the results in the order of the tasks.

    Parameters
    ----------
    function : callable
        For workers in other processes it, what is shared, tasks and results must be picklable.
    tasks : iterable
    shared : object, optional
        What all tasks have in common; sent to each worker of an Engine once.
    executor : Engine or concurrent.futures.Executor
        Left open afterwards; by default tasks run one after the other in this process.
    memory : int
        Bytes that a task may take: an Engine runs no more at a time than fit. 0: no limit.
    progress : callable (description, done, total)
        Called before the first task and after each.
    description : str
        What the tasks do, for `progress`.

    Raises
    ------
    EngineError
        If workers die again and again, or cannot be reached any more.
    Exception
        The first that a task raises, as it was; tasks not yet begun are then cancelled.

    Notes
    -----
    A task whose worker was killed, or that met an error of the file system (OSError) on an Engine, is tried again, up
    to `ATTEMPTS` times. What it has left by then is whole: products appear under their names when they are complete.
    """
    todo = list(tasks)
    report = progress or (lambda text, done, total: None)
    report(description, 0, len(todo))
    call = partial(call_task, function, shared)
    if executor is None:
        results = []
        for done, task in enumerate(todo):
            results.append(call(task))
            report(description, done + 1, len(todo))
        return results
    found: dict[int, Result] = {}

    def keep(number: int, result: Result) -> None:
        found[number] = result
        report(description, len(found), len(todo))

    if isinstance(executor, Engine):
        _run_on_engine(executor, function, shared, todo, found, keep, memory)
    else:
        _gather(partial(executor.submit, call), todo, found, keep, attempts=1)
    return [found[number] for number in range(len(todo))]


def call_task(function: Callable[..., Result], shared: Any, task: Any) -> Result:
    """Call function(task) or function(shared, task), with BLAS in one thread, whose bits depend on their number."""
    with single_blas_thread():
        return function(task) if shared is None else function(shared, task)


def _run_on_engine(
    engine: Engine,
    function: Callable[..., Result],
    shared: Any,
    todo: list[Any],
    found: dict[int, Result],
    keep: Callable[[int, Result], None],
    memory: int,
) -> None:
    losses = 0
    while len(found) < len(todo):
        before = len(found)
        try:
            with engine.session(function, shared, count=len(todo) - before, memory=memory) as submit:
                _gather(submit, todo, found, keep, attempts=ATTEMPTS, look=engine.look)
        except engine.lost as error:
            losses = losses + 1 if len(found) == before else 1
            if losses >= ATTEMPTS:
                raise EngineError(
                    f"{engine.about}: workers died {losses} times with no task done in between, which lack of memory "
                    f"does; {ADVICE}"
                ) from error
            log.warning("%s: workers were lost; %d tasks are begun again", engine.about, len(todo) - len(found))


def _gather(
    submit: Callable[[Any], "Future[Result]"],
    todo: list[Any],
    found: dict[int, Result],
    keep: Callable[[int, Result], None],
    *,
    attempts: int,
    look: Callable[[], None] = lambda: None,
) -> None:
    """Submit what has not been found, and keep each result as it comes."""
    tried = dict.fromkeys((n for n in range(len(todo)) if n not in found), 1)
    futures: dict[Future[Result], int] = {}
    try:
        futures |= {submit(todo[number]): number for number in tried}
        while futures:
            done = wait(futures, timeout=PATIENCE, return_when=FIRST_COMPLETED).done
            if not done:
                look()
            # results first: an error may end the session, and what was done with it would be done again
            for future in sorted(done, key=_failed):
                number = futures.pop(future)
                try:
                    keep(number, future.result())
                except OSError as error:
                    if tried[number] >= attempts and isinstance(error, WorkerDied):
                        raise EngineError(f"{error}; {ADVICE}") from error
                    if tried[number] >= attempts or getattr(error, "lasting", False):
                        raise
                    tried[number] += 1
                    log.warning("%s; tried again", error)
                    futures[submit(todo[number])] = number
    except BaseException:
        for future in futures:
            future.cancel()
        raise


def _failed(future: "Future[Any]") -> bool:
    return future.cancelled() or future.exception() is not None


def open_engine(
    name: str | None, *, workers: int = 0, memory: int = 0, threads: int = 0
) -> AbstractContextManager["Engine | None"]:
    """The engine of a name, to be closed by `with`; None, which is this process, for None or "process".

    Parameters
    ----------
    name : str, optional
        "process"; "pool", processes of this machine; "dask", a Dask cluster on this machine; "slurm", one of Slurm jobs
        by dask-jobqueue; "mpi", the other ranks of this MPI job by dask-mpi; or a Dask scheduler's address
        (tcp://host:port) or scheduler file (*.json).
    workers : int
        How many; 0 for as many as there are cores and memory for. Given alone it means "pool".
    memory : int
        Bytes that a task may take; 0 where that is not known.
    threads : int
        Threads of each worker on this machine; 0 to share the cores among them.

    Raises
    ------
    EngineError
        If there is no such engine, or it cannot be reached.
    """
    name = name or ("pool" if workers else "process")
    if name == "process":
        if workers > 1:
            raise EngineError(f"--workers {workers}: one process has no workers; give --engine pool or --engine dask")
        return nullcontext(None)
    if name == "pool":
        from lensrec.engine_pool import PoolEngine

        return PoolEngine(workers, memory=memory, threads=threads)
    if name in ("dask", "slurm", "mpi") or "://" in name or name.endswith(".json"):
        from lensrec.engine_dask import open_dask

        return open_dask(name, workers=workers, memory=memory, threads=threads)
    raise EngineError(
        f"--engine {name}: there is no such engine; give process, pool, dask, slurm, mpi, a Dask scheduler's address "
        "(tcp://host:port) or its file (*.json)"
    )

"""Where tasks are executed: in this process, or by whatever speaks `concurrent.futures`."""

from collections.abc import Callable, Iterable
from concurrent.futures import Executor, Future, as_completed
from typing import Any, TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")
Progress = Callable[[str, int, int], None]
"""Told what is going on, how many steps of it are done, and how many there are."""


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


def run_tasks(
    function: Callable[[Task], Result],
    tasks: Iterable[Task],
    *,
    executor: Executor | None = None,
    progress: Progress | None = None,
    description: str = "",
) -> list[Result]:
    """Call the function on every task and return the results in the order of the tasks.

    Parameters
    ----------
    function : callable
        Takes one task. For executors in other processes it, its tasks and results must be picklable.
    tasks : iterable
    executor : concurrent.futures.Executor
        Left open afterwards; by default tasks run one after the other in this process.
    progress : callable (description, done, total)
        Called before the first task and after each.
    description : str
        What the tasks do, for `progress`.

    Raises
    ------
    Exception
        The first that a task raises, as it was; tasks not yet begun are then cancelled.
    """
    todo = list(tasks)
    report = progress or (lambda text, done, total: None)
    report(description, 0, len(todo))
    pool = executor or InProcess()
    futures: list[Future[Result]] = []
    done = 0
    try:
        for task in todo:
            futures.append(pool.submit(function, task))
            if executor is None:
                futures[-1].result()
                done += 1
                report(description, done, len(todo))
        if executor is not None:
            for future in as_completed(futures):
                future.result()
                done += 1
                report(description, done, len(todo))
    except BaseException:
        for future in futures:
            future.cancel()
        raise
    return [future.result() for future in futures]

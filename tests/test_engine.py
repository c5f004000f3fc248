"""The seam where tasks are executed: order, failure and progress, in this process and in a pool."""

from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from threading import Event

import pytest

from lensrec.engine import InProcess, run_tasks


def square(x: int) -> int:
    return x * x


@pytest.fixture(params=["here", "in process", "threads", "processes"])
def executor(request: pytest.FixtureRequest):
    if request.param == "here":
        yield None
        return
    pool: Executor = {
        "in process": InProcess,
        "threads": lambda: ThreadPoolExecutor(3),
        "processes": lambda: ProcessPoolExecutor(2),
    }[request.param]()
    with pool:
        yield pool


def test_results_come_in_the_order_of_the_tasks_and_progress_counts_up(executor: Executor | None) -> None:
    seen: list[tuple[str, int, int]] = []
    out = run_tasks(square, range(5), executor=executor, progress=lambda *a: seen.append(a), description="squaring")
    assert out == [0, 1, 4, 9, 16]
    assert seen == [("squaring", i, 5) for i in range(6)]


def test_order_holds_when_the_first_task_ends_last() -> None:
    others = Event()

    def wait(i: int) -> int:
        if i == 0:
            assert others.wait(10)
        else:
            others.set()
        return i

    with ThreadPoolExecutor(2) as pool:
        assert run_tasks(wait, range(2), executor=pool) == [0, 1]


def test_no_tasks_are_no_results(executor: Executor | None) -> None:
    assert run_tasks(square, [], executor=executor) == []


def test_the_first_failure_is_raised_as_it_was_and_later_tasks_are_left() -> None:
    begun = []

    def task(i: int) -> None:
        begun.append(i)
        if i == 1:
            raise KeyError("one")

    with pytest.raises(KeyError, match="one"):
        run_tasks(task, range(4))
    assert begun == [0, 1]


def test_a_failure_in_a_pool_is_raised(executor: Executor | None) -> None:
    with pytest.raises(TypeError):
        run_tasks(square, ["a"], executor=executor)  # type: ignore[list-item]


def test_in_process_futures_are_done_and_hold_failures() -> None:
    with InProcess() as pool:
        assert pool.submit(square, 3).done()
        assert pool.submit(square, 3).result() == 9
        assert isinstance(pool.submit(square, "a").exception(), TypeError)
        assert list(pool.map(square, [1, 2])) == [1, 4]

"""Workers and schedulers that die under their tasks: the same results, or one line in some seconds."""

import functools
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from lensrec.engine import Engine, EngineError, open_engine, run_tasks
from lensrec.hold import holding
from tests.reliability import tasks
from tests.reliability.cluster import cluster
from tests.stages.command import lensrec

pytest.importorskip("distributed", reason="the extra `cluster` is not installed")

SQUARES = [0, 1, 4, 9, 16, 25]


@pytest.fixture(scope="module")
def pool() -> Iterator[Engine]:
    with open_engine("pool", workers=2) as one:
        assert one is not None
        yield one


@pytest.fixture(scope="module")
def dask() -> Iterator[Engine]:
    with open_engine("dask", workers=2) as one:
        assert one is not None
        yield one


@pytest.fixture(params=["pool", "dask"])
def engine(request: pytest.FixtureRequest) -> Engine:
    return request.getfixturevalue(request.param)


def test_a_worker_that_dies_is_made_up_for(engine: Engine, tmp_path: Path) -> None:
    seen: list[int] = []
    found = run_tasks(
        tasks.fatal_once,
        range(6),
        shared=str(tmp_path),
        executor=engine,
        progress=lambda text, done, total: seen.append(done),
    )
    assert found == SQUARES
    assert tasks.begun(tmp_path, 2) == 2
    assert seen == list(range(7))  # each result counts once


def test_a_task_that_kills_every_worker_is_given_up(engine: Engine, tmp_path: Path) -> None:
    began = time.monotonic()
    with pytest.raises(EngineError, match="the same command goes on where this one was") as caught:
        run_tasks(tasks.fatal_always, range(6), shared=str(tmp_path), executor=engine)
    assert "\n" not in str(caught.value)
    assert time.monotonic() - began < 60  # of which a busy machine takes most to start processes
    assert run_tasks(tasks.slow_square, range(6), shared=str(tmp_path), executor=engine) == SQUARES


def test_an_error_of_the_disk_is_tried_again_and_then_told(engine: Engine, tmp_path: Path) -> None:
    once, always = tmp_path / "once", tmp_path / "always"
    once.mkdir()
    always.mkdir()
    assert run_tasks(tasks.unreadable_once, range(6), shared=str(once), executor=engine) == SQUARES
    assert [tasks.begun(once, x) for x in range(6)] == [1, 1, 2, 1, 1, 1]
    with pytest.raises(OSError, match="the/disk"):
        run_tasks(tasks.unreadable_always, range(6), shared=str(always), executor=engine)
    assert tasks.begun(always, 2) == 3


def test_what_lasts_is_not_tried_again(engine: Engine, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="product: cannot be written") as caught:
        run_tasks(tasks.full_disk, range(3), shared=str(tmp_path), executor=engine)
    assert "\n" not in str(caught.value)
    assert tasks.begun(tmp_path, 2) == 1


def test_a_mistake_is_raised_as_it_was_and_at_once(engine: Engine, tmp_path: Path) -> None:
    with pytest.raises(KeyError, match="two"):
        run_tasks(tasks.mistaken, range(6), shared=str(tmp_path), executor=engine)
    assert tasks.begun(tmp_path, 2) == 1


def test_more_memory_than_there_is_is_refused(engine: Engine, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"1000000\.00 GB") as caught:
        run_tasks(tasks.slow_square, range(2), shared=str(tmp_path), executor=engine, memory=10**15)
    assert "\n" not in str(caught.value)
    assert tasks.begun(tmp_path, 0) == 0


def test_nobody_else_can_reach_the_workers(dask: Engine) -> None:
    me = psutil.Process()
    listening = [
        connection.laddr.ip
        for process in [me, *me.children(recursive=True)]
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert len(listening) >= 1 + dask.workers
    assert set(listening) == {"127.0.0.1"}


def test_a_scheduler_that_dies_is_told_and_the_next_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lensrec.engine_dask.TIMEOUT", "3s")
    marks = tmp_path / "marks"
    marks.mkdir()
    run = functools.partial(run_tasks, tasks.slow_square, range(6), shared=str(marks))
    with cluster(tmp_path) as here, open_engine(str(here.file), workers=2) as engine:
        killing = threading.Timer(0.3, here.workers[0].kill)
        killing.start()
        assert run(executor=engine) == SQUARES
        killing.join()
        assert here.workers[0].wait(10) == -9
        killing = threading.Timer(0.3, here.scheduler.kill)
        killing.start()
        began = time.monotonic()
        with pytest.raises(EngineError, match="the scheduler does not answer any more") as caught:
            run(executor=engine)
        assert time.monotonic() - began < 30
        assert "the same command goes on where this one was" in str(caught.value)
        assert "\n" not in str(caught.value)
        for worker in here.workers:
            worker.wait(30)  # none stays behind
    with cluster(tmp_path) as here, open_engine(str(here.file), workers=2) as engine:
        assert run(executor=engine) == SQUARES


@pytest.mark.parametrize("taken", [False, True])
def test_a_task_that_outlives_its_command_writes_nothing(dask: Engine, tmp_path: Path, taken: bool) -> None:
    """What one command began does not come into a run that another has by now; a pool's workers end with theirs."""
    lock = tmp_path / ".lock"
    lock.write_text("process 1")

    def go() -> None:
        if taken:
            lock.write_text("process 2")
        (tmp_path / "go").touch()

    threading.Timer(0.5, go).start()
    with holding(lock, "process 1"):
        if not taken:
            assert run_tasks(tasks.written_late, [3], shared=str(tmp_path), executor=dask) == [9]
        else:
            with pytest.raises(OSError, match="the command that asked for it has let go of the run"):
                run_tasks(tasks.written_late, [3], shared=str(tmp_path), executor=dask)
    assert (tmp_path / "product-3").exists() != taken
    assert not list(tmp_path.glob(".part-*"))


@pytest.mark.parametrize("engine", ["nowhere.json", "tcp://127.0.0.1:9", "grid"])
def test_where_there_is_no_engine_no_run_is_begun(engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lensrec.engine_dask.TIMEOUT", "1s")
    answer = lensrec("simulate", "quickstart", "--out", tmp_path / "run", "--engine", engine)
    assert answer.status == 1
    assert answer.err.count("\n") == 1
    assert f"--engine {engine}: " in answer.err
    assert not (tmp_path / "run").exists()

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from models.worker import Steps, Worker
from shared.errors import ModelUnavailable


def closed() -> Exception:
    return ModelUnavailable("closed")


@pytest.fixture
def worker() -> Iterator[Worker[str]]:
    worker: Worker[str] = Worker("test", closed)
    yield worker
    worker.close()


def letters(text: str, log: list[str], go: threading.Event | None = None) -> Steps[str]:
    for letter in text:
        if go is not None:
            assert go.wait(30)
        log.append(letter)
        yield [letter]


def test_events_come_in_order_and_batches_are_taken_apart(worker: Worker[str]) -> None:
    def steps() -> Steps[str]:
        yield ["a", "b"]
        yield []
        yield ["c"]

    assert list(worker.run(steps())) == ["a", "b", "c"]


def test_streams_take_turns(worker: Worker[str]) -> None:
    log: list[str] = []
    go = threading.Event()
    long, short = worker.run(letters("AAAAAAAA", log, go)), worker.run(letters("bb", log))
    threads = [threading.Thread(target=list, args=(stream,)) for stream in (long, short)]
    threads[0].start()
    while worker_is_idle(worker, streams=1):
        pass
    threads[1].start()
    while worker_is_idle(worker, streams=2):
        pass
    go.set()
    for thread in threads:
        thread.join(30)
    assert "".join(log) in ("AbAbAAAAAA", "AAbAbAAAAA")  # the thread was inside its first step when the other came


def worker_is_idle(worker: Worker[str], *, streams: int) -> bool:
    with worker._lock:
        return len(worker._open) < streams


def test_work_runs_on_the_owner_thread_only(worker: Worker[str]) -> None:
    def where() -> Steps[str]:
        try:
            yield [threading.current_thread().name]
            yield [threading.current_thread().name]
        finally:
            ended.append(threading.current_thread().name)

    ended: list[str] = []
    assert list(worker.run(where())) == ["test", "test"]
    stream = worker.run(where())
    next(stream)
    stream.close()
    assert list(worker.run(where())) == ["test", "test"]
    assert set(ended) == {"test"}


def test_an_exception_is_raised_where_the_events_are_read_and_hurts_nobody_else(worker: Worker[str]) -> None:
    def broken() -> Steps[str]:
        yield ["a"]
        raise LookupError("lost")

    stream = worker.run(broken())
    assert next(stream) == "a"
    with pytest.raises(LookupError, match="lost"):
        next(stream)
    assert list(worker.run(letters("ok", []))) == ["o", "k"]


def test_leaving_a_stream_ends_its_work(worker: Worker[str]) -> None:
    ended = threading.Event()

    def endless() -> Steps[str]:
        try:
            while True:
                yield ["x"]
        finally:
            ended.set()

    stream = worker.run(endless())
    assert next(stream) == "x"
    stream.close()
    assert ended.wait(30)


def test_close_ends_streams_that_are_stuck_and_those_that_come_later() -> None:
    worker: Worker[str] = Worker("test", closed)
    release = threading.Event()
    stuck = worker.run(letters("abc", [], release))
    failures: list[BaseException] = []

    def read() -> None:
        try:
            list(stuck)
        except ModelUnavailable as error:
            failures.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    while worker_is_idle(worker, streams=1):
        pass
    worker.close()  # the step never ends by itself: close does not wait for it for ever
    reader.join(30)
    assert len(failures) == 1
    with pytest.raises(ModelUnavailable):
        next(worker.run(letters("d", [])))
    release.set()


def test_close_is_possible_before_the_first_request_and_twice() -> None:
    worker: Worker[str] = Worker("test", closed)
    worker.close()
    worker.close()
    assert not worker._thread.is_alive()


def test_closing_ends_the_work_of_an_iterator_nobody_reads_on() -> None:
    worker: Worker[str] = Worker("test", closed)
    ended = threading.Event()

    def endless() -> Steps[str]:
        try:
            while True:
                yield ["x"]
        finally:
            ended.set()

    stream = worker.run(endless())
    next(stream)
    worker.close()
    assert ended.is_set()
    with pytest.raises(ModelUnavailable):
        list(stream)

"""Work in a thread as batches: order, errors, Stop, and one turn per session. Events decide when things happen, never a clock."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from demos import streaming
from shared.engine import Cancel, Cancelled
from shared.errors import BadRequest

LONG = 3600.0  # an interval that never passes in a test
Emit = Callable[[int], None]


def emitting(*items: int, then: BaseException | None = None) -> Callable[[Emit], None]:
    def work(emit: Emit) -> None:
        for item in items:
            emit(item)
        if then is not None:
            raise then

    return work


def test_the_first_item_comes_at_once_and_the_last_ones_when_the_work_ends() -> None:
    assert list(streaming.batches(emitting(*range(50)), Cancel(), LONG)) == [[0], list(range(1, 50))]


def test_the_first_item_does_not_wait_for_the_second() -> None:
    seen = threading.Event()

    def work(emit: Emit) -> None:
        emit(1)
        assert seen.wait(30)
        emit(2)

    batches = streaming.batches(work, Cancel(), LONG)
    assert next(batches) == [1]
    seen.set()
    assert list(batches) == [[2]]


@given(st.lists(st.integers(), max_size=200), st.sampled_from([0.0, 0.001, LONG]))
@settings(deadline=None, max_examples=50)
def test_every_item_comes_once_and_in_order(items: list[int], seconds: float) -> None:
    batches = list(streaming.batches(emitting(*items), Cancel(), seconds))
    assert [item for batch in batches for item in batch] == items
    assert all(batches)


@pytest.mark.parametrize("error", [BadRequest("no"), Cancelled(), ZeroDivisionError(), KeyboardInterrupt()])
def test_an_error_is_raised_here_after_the_last_item(error: BaseException) -> None:
    seen: list[int] = []
    with pytest.raises(type(error)) as raised:
        for batch in streaming.batches(emitting(1, 2, 3, then=error), Cancel(), LONG):
            seen += batch
    assert raised.value is error and seen == [1, 2, 3]


def test_an_iterator_that_is_closed_stops_the_work() -> None:
    cancel, ended = Cancel(), threading.Event()

    def work(emit: Emit) -> None:
        emit(1)
        assert cancel.wait(30)
        ended.set()

    with closing(streaming.batches(work, cancel, 0)) as batches:
        assert next(batches) == [1]
        assert not cancel.is_set()
    assert cancel.is_set() and ended.wait(30)


def test_a_work_that_ends_leaves_its_cancel_set() -> None:
    cancel = Cancel()
    assert list(streaming.batches(emitting(1), cancel, 0)) == [[1]]
    assert cancel.is_set()


def test_what_comes_after_stop_is_still_shown_when_the_work_ends_by_itself() -> None:
    cancel = Cancel()

    def work(emit: Emit) -> None:
        emit(1)
        assert cancel.wait(30)
        emit(2)

    batches = streaming.batches(work, cancel, 0)
    assert next(batches) == [1]
    cancel.set()
    assert list(batches) == [[2]]


@pytest.mark.parametrize("chatters", [False, True])
def test_a_work_that_ignores_stop_is_given_up(chatters: bool) -> None:
    cancel, given_up = Cancel(), threading.Event()

    def work(emit: Emit) -> None:
        emit(1)
        while not given_up.wait(0.001):
            if chatters:
                emit(1)

    batches = streaming.batches(work, cancel, 0, patience=0.05)
    try:
        assert next(batches) == [1]
        cancel.set()
        with pytest.raises(Cancelled):
            list(batches)
    finally:
        given_up.set()


def test_the_interval_grows_with_the_page_between_two_bounds() -> None:
    assert [streaming.interval(n) for n in (0, 25, 50, 100, 1000)] == [0.05, 0.05, 0.1, 0.2, 0.2]


# ---- Running ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def running() -> Iterator[streaming.Running]:
    yield streaming.Running()


def test_stop_reaches_this_session_and_no_other(running: streaming.Running) -> None:
    with running.turn("a") as mine, running.turn("b") as other:
        assert running.stop("a")
        assert mine.is_set() and not other.is_set()
        assert running.busy("a")  # until it is left
    assert not running.busy("a") and not running.busy("b")
    assert not running.stop("a")


def test_a_second_turn_stops_the_first_and_outlives_it(running: streaming.Running) -> None:
    first = running.turn("a")
    earlier = first.__enter__()
    with running.turn("a") as later:
        assert earlier.is_set() and not later.is_set()
        first.__exit__(None, None, None)
        assert running.busy("a") and not later.is_set()
    assert not running.busy("a")


def test_a_turn_that_is_left_is_cancelled_also_by_an_error(running: streaming.Running) -> None:
    with pytest.raises(ZeroDivisionError), running.turn("a") as cancel:
        raise ZeroDivisionError
    assert cancel.is_set() and not running.busy("a")


def test_wait_ends_when_the_turn_has_been_left(running: streaming.Running) -> None:
    running.wait("a")  # nothing runs
    was_busy: list[bool] = []

    def waiting() -> None:
        running.wait("a", LONG)
        was_busy.append(running.busy("a"))

    waiter = threading.Thread(target=waiting, daemon=True)
    with running.turn("a"):
        waiter.start()
        running.wait("a", 0)  # no patience: the turn goes on
        assert running.busy("a") and waiter.is_alive()
    waiter.join(30)
    assert was_busy == [False]


def test_it_is_known_who_had_a_turn(running: streaming.Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page that is filled in late must not take back what its visitor has begun meanwhile; the oldest are forgotten."""
    monkeypatch.setattr(streaming, "REMEMBERED", 2)
    for session in ("a", "b", "c"):
        assert not running.begun(session)
        with running.turn(session):
            assert running.begun(session)
    assert [running.begun(session) for session in ("a", "b", "c")] == [False, True, True]

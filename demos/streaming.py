"""Work in a thread, its results in batches a page can keep up with, and a Stop for each session's running turn.

A browser's cost per update grows with the messages shown, so items are gathered: the first at once, then one batch per
interval, the last at once. Knows neither Gradio nor what the items are.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar, cast

from shared.engine import Cancel, Cancelled

T = TypeVar("T")

REMEMBERED = 1000  # sessions that had a turn; only the newest are asked about
PATIENCE = 5.0  # seconds a stopped turn may take to end by itself before the page is given back anyway


def interval(messages_shown: int) -> float:
    """Seconds between two updates of the page (measured: cost per update is linear in the messages shown)."""
    return min(0.2, max(0.05, 0.002 * messages_shown))


def batches(work: Callable[[Callable[[T], None]], None], cancel: Cancel, seconds: float, patience: float = PATIENCE) -> Iterator[list[T]]:
    """Run `work(emit)` in a thread and yield what it emits, gathered; an exception in it is raised here, after its last item.

    Closing the iterator sets `cancel`. When `cancel` is set and the work does not end within
    `patience` seconds, raises `Cancelled`."""
    items: queue.SimpleQueue[tuple[T | None, BaseException | None]] = queue.SimpleQueue()

    def run() -> None:
        error: BaseException | None = None
        try:
            work(lambda item: items.put((item, None)))
        except BaseException as raised:  # it travels to the consumer, whatever it is
            error = raised
        items.put((None, error or _End()))

    threading.Thread(target=run, name="turn", daemon=True).start()
    try:
        yield from _gather(items, cancel, seconds, patience)
    finally:
        cancel.set()


class _End(Exception):
    """The work is done."""


def _gather(
    items: queue.SimpleQueue[tuple[T | None, BaseException | None]], cancel: Cancel, seconds: float, patience: float
) -> Iterator[list[T]]:
    batch: list[T] = []
    due, give_up = 0.0, float("inf")
    while True:
        now = time.monotonic()
        if cancel.is_set():
            give_up = min(give_up, now + patience)
        if batch and (now >= due or now >= give_up):
            yield batch
            batch, due = [], time.monotonic() + seconds
            continue
        if now >= give_up:  # also for a work that goes on emitting
            raise Cancelled
        try:
            item, error = items.get(timeout=max(0.001, due - now) if batch else 0.1)
        except queue.Empty:
            continue
        if error is None:
            batch.append(cast(T, item))  # None is only ever put beside an error
            continue
        if batch:
            yield batch
        if not isinstance(error, _End):
            raise error
        return


class Running:
    """The turns under way, one per browser session: how a Stop button reaches the right one."""

    def __init__(self) -> None:
        self._cancels: dict[str, Cancel] = {}
        self._begun: dict[str, None] = {}
        self._lock = threading.Lock()

    @contextmanager
    def turn(self, session: str) -> Iterator[Cancel]:
        """A fresh `Cancel` for this session's turn; a turn it still had is stopped first. Set when the turn is left."""
        cancel = Cancel()
        with self._lock:
            earlier = self._cancels.pop(session, None)
            self._cancels[session] = cancel
            self._begun[session] = None
            while len(self._begun) > REMEMBERED:
                del self._begun[next(iter(self._begun))]
        if earlier is not None:
            earlier.set()
        try:
            yield cancel
        finally:
            cancel.set()
            with self._lock:
                if self._cancels.get(session) is cancel:
                    del self._cancels[session]

    def begun(self, session: str) -> bool:
        """Whether this session had a turn already: a page that is filled in after that must not show what was before it."""
        with self._lock:
            return session in self._begun

    def busy(self, session: str) -> bool:
        with self._lock:
            return session in self._cancels

    def wait(self, session: str, seconds: float = 2 * PATIENCE) -> None:
        """Until this session's turn has been left."""
        deadline = time.monotonic() + seconds
        while self.busy(session) and time.monotonic() < deadline:
            threading.Event().wait(0.02)

    def stop(self, session: str) -> bool:
        with self._lock:
            cancel = self._cancels.get(session)
        if cancel is None:
            return False
        cancel.set()
        return True

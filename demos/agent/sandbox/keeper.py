"""The one thread that starts workers and looks after them: quotas, idleness, age, and how many live at once.

Workers are killed by the kernel when the *thread* that started them ends, so that none outlives the application; a page's
handlers run on threads that come and go, hence this one. Knows nothing of what workers do.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Protocol, TypeVar

from demos.agent.sandbox.values import SandboxUnavailable

LOOK = 0.25  # seconds between two looks at a worker
WAIT = 30.0  # for a place, when all are busy
T = TypeVar("T")


class Kept(Protocol):
    """What the keeper asks of a worker."""

    busy: bool
    used: float  # when it last ran something, on the monotonic clock

    def look(self) -> bool:
        """Judge it, and end it when it broke a limit; False once it has ended."""

    def end(self, reason: str) -> None: ...


class Keeper:
    def __init__(self, most: int) -> None:
        self._most = most
        self._orders: queue.SimpleQueue[tuple[Callable[[], Kept], Future[Kept]] | None] = queue.SimpleQueue()
        self._kept: list[Kept] = []
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def start(self, make: Callable[[], T], abandoned: Callable[[], bool] = lambda: False) -> T:
        """What `make` returns, called on the keeper's thread, in a place of its own.

        Room is made by ending the worker that was idle for longest. Raises `SandboxUnavailable` when all stay busy, or `abandoned`."""
        future: Future[Kept] = Future()
        self._make_room(abandoned)
        with self._changed:
            if self._thread is None:
                self._thread = threading.Thread(target=self._keep, name="sandbox-keeper", daemon=True)
                self._thread.start()
        self._orders.put((make, future))  # type: ignore[arg-type]
        return future.result()  # type: ignore[return-value]

    def stop(self) -> None:
        """End the thread, and with it every worker that it started."""
        self._orders.put(None)

    def _make_room(self, abandoned: Callable[[], bool]) -> None:
        give_up = time.monotonic() + WAIT
        with self._changed:
            while len(self._kept) >= self._most:
                idle = [worker for worker in self._kept if not worker.busy]
                if idle:
                    oldest = min(idle, key=lambda worker: worker.used)
                    self._kept.remove(oldest)
                    oldest.end("another conversation needed its place")
                elif abandoned() or not (self._changed.wait(LOOK) or time.monotonic() < give_up):
                    raise SandboxUnavailable(f"All {self._most} Python kernels are busy.", "Try again in a minute.")

    def forget(self, worker: Kept) -> None:
        with self._changed:
            if worker in self._kept:
                self._kept.remove(worker)
            self._changed.notify_all()

    def _keep(self) -> None:
        while True:
            try:
                order = self._orders.get(timeout=LOOK if self._kept else None)
            except queue.Empty:
                self._look()
                continue
            if order is None:
                return
            make, future = order
            try:
                worker = make()
            except BaseException as error:  # raised again where the worker was asked for
                future.set_exception(error)
                continue
            with self._changed:
                self._kept.append(worker)
            future.set_result(worker)
            del order, make, future, worker  # this thread must not keep alive whom it worked for
            self._look()

    def _look(self) -> None:
        for worker in list(self._kept):
            try:
                lives = worker.look()
            except OSError as error:  # what cannot be watched must not run
                worker.end(f"it could not be watched: {error}")
                lives = False
            if not lives:
                self.forget(worker)

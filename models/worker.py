"""One thread that owns a model, and the streams that wait for it.

Work comes as iterators of event batches. The thread advances them in turn, one batch each, so a short question is not
starved behind a long answer; nothing but this thread ever runs them. Consumers get the events, or the exception that ended
the work, on whatever thread they read. Knows nothing of models, tokens or torch.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")
Steps = Generator[Sequence[T], None, None]
CLOSE_SECONDS = 1.5  # a step that takes longer ends on its own later; nobody waits for it


class _End:
    """The last thing in an outbox."""


class _Task(Generic[T]):
    def __init__(self, steps: Steps[T]) -> None:
        self.steps = steps
        self.outbox: queue.SimpleQueue[Sequence[T] | Exception | _End] = queue.SimpleQueue()
        self.abandoned = False

    def advance(self) -> bool:
        """One step, on the owner thread; False when the work is over."""
        try:
            if self.abandoned:
                self.steps.close()
                return False
            self.outbox.put(next(self.steps))
            return True
        except StopIteration:
            self.outbox.put(_End())
        except Exception as error:  # not handled here: it travels, and is raised again where the events are read
            self.outbox.put(error)
        return False


class Worker(Generic[T]):
    """Starts its thread at once. `closed_error` makes what streams raise when the worker was closed."""

    def __init__(self, name: str, closed_error: Callable[[], Exception]) -> None:
        self._closed_error = closed_error
        self._inbox: queue.SimpleQueue[_Task[T] | None] = queue.SimpleQueue()
        self._open: set[_Task[T]] = set()
        self._lock = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def run(self, steps: Steps[T]) -> Iterator[T]:
        """The events of `steps`, which only the owner thread advances. Leaving the iterator early ends the work."""
        task = _Task(steps)
        with self._lock:
            if self._closed:
                raise self._closed_error()
            self._open.add(task)
            self._inbox.put(task)
        try:
            while True:
                item = task.outbox.get()
                if isinstance(item, _End):
                    return
                if isinstance(item, Exception):
                    raise item
                yield from item
        finally:
            task.abandoned = True
            with self._lock:
                self._open.discard(task)

    def close(self) -> None:
        """End every stream with `closed_error`, at once, and the thread after the step it is in."""
        with self._lock:
            self._closed = True
            for task in self._open:
                task.outbox.put(self._closed_error())
            self._inbox.put(None)
        self._thread.join(CLOSE_SECONDS)

    def _run(self) -> None:
        active: deque[_Task[T]] = deque()
        while self._admit(active):
            if active[0].advance():
                active.rotate(-1)
            else:
                active.popleft()
        while not self._inbox.empty():
            waiting = self._inbox.get()
            active.extend([waiting] if waiting is not None else [])
        for task in active:
            task.steps.close()  # a consumer may keep his iterator for long: it must not hold what the work held

    def _admit(self, active: deque[_Task[T]]) -> bool:
        """Take in what has arrived, waiting when there is nothing to do; False when closed."""
        while not self._closed and (not active or not self._inbox.empty()):
            task = self._inbox.get()
            active.extend([task] if task is not None else [])
        return not self._closed

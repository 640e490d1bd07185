"""One tool call, run so that nothing it does can take the turn with it: a time limit, a Stop, a size limit.

A tool that does not listen is left behind in its thread, and what it says later is not heard. Knows no model.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from demos.agent.toolbox import Outcome, Toolbox
from shared.engine import Cancel, Cancelled

GRACE = 3.0  # seconds that a stopped tool has to end by itself
MOST_OUTPUT = 100_000  # characters of a running tool's output that are shown
logger = logging.getLogger(__name__)


@contextmanager
def limited(cancel: Cancel, seconds: float) -> Iterator[Cancel]:
    """A `Cancel` that is set with `cancel`, and after `seconds`."""
    inner = Cancel()
    forget = cancel.subscribe(inner.set)
    timer = threading.Timer(max(0.0, seconds), inner.set)
    timer.daemon = True
    timer.start()
    try:
        yield inner
    finally:
        timer.cancel()
        forget()


def run(
    toolbox: Toolbox, name: str, arguments: Mapping[str, object], *, seconds: float, cancel: Cancel, on_output: Callable[[str], None]
) -> Outcome:  # fmt: skip
    """What the tool gave. What it raises, and that it took longer than `seconds`, is an `Outcome` with `error`.

    Raises `Cancelled` when `cancel` is set."""
    heard = _Heard(on_output)
    with limited(cancel, seconds) as inner:
        call = _Call(lambda: toolbox.call(name, arguments, cancel=inner, on_output=heard))
        outcome = call.wait(inner)
    heard.stop()
    if cancel.is_set():
        raise Cancelled
    if outcome is None or isinstance(call.error, Cancelled):
        return Outcome(f"{name} took longer than {seconds:.3g} seconds and was stopped.", error=True)
    return outcome


def capped(text: str, limit: int) -> str:
    """`text` with its middle left out where it is longer than `limit` characters, as what any file and tokenizer takes."""
    if len(text) > limit:
        tail = limit // 4
        left_out = len(text) - limit
        text = f"{text[: limit - tail]}\n[… {left_out:,} characters left out …]\n{text[len(text) - tail :]}"
    return text.encode("utf-8", "replace").decode("utf-8")


class _Heard:
    """A tool's output on its way out, up to a length, and only while somebody waits for the tool."""

    def __init__(self, on_output: Callable[[str], None]) -> None:
        self._on_output = on_output
        self._room = MOST_OUTPUT
        self._lock = threading.Lock()

    def __call__(self, text: str) -> None:
        with self._lock:
            piece = str(text)[: self._room]
            self._room -= len(piece)
            if piece:
                self._on_output(capped(piece, len(piece)))

    def stop(self) -> None:
        with self._lock:
            self._room = 0


class _Call:
    """A call in a thread of its own."""

    def __init__(self, work: Callable[[], Outcome]) -> None:
        self.error: BaseException | None = None
        self._outcome: Outcome | None = None
        self._done, self._wake = threading.Event(), threading.Event()
        self._work = work
        threading.Thread(target=self._run, name="tool", daemon=True).start()

    def _run(self) -> None:
        try:
            self._outcome = self._work()
        except BaseException as error:  # it travels to the turn, which tells the model
            self.error = error
        self._done.set()
        self._wake.set()

    def wait(self, cancel: Cancel) -> Outcome | None:
        """Its outcome; None when it was stopped and did not end, or ended without one."""
        forget = cancel.subscribe(self._wake.set)
        self._wake.wait()
        forget()
        if not self._done.wait(GRACE if cancel.is_set() else None):
            return None
        if isinstance(self.error, Cancelled) or self.error is None:
            return self._outcome
        if not isinstance(self.error, Exception):
            raise self.error
        logger.warning("a tool failed", exc_info=self.error)
        return Outcome(f"{type(self.error).__name__}: {self.error}", error=True)

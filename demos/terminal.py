"""The terminal as a screen: text of strangers made harmless, one rewritten status line, and Ctrl-C that asks before it leaves.

Knows the events a turn is made of as far as it shows them, and nothing of conversations or models.
"""

from __future__ import annotations

import os
import shutil
import signal
import unicodedata
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from queue import SimpleQueue
from types import FrameType
from typing import TextIO, TypeVar

from shared.engine import Cancel, Progress

Result = TypeVar("Result")
Work = Callable[[Callable[[object], None], Cancel], Result]

CLEAR_LINE, DIM, NORMAL = "\r\x1b[2K", "\x1b[2m", "\x1b[0m"
_STRING_STARTS = "]PX^_"  # OSC, DCS, SOS, PM, APC: escapes that carry a string
_STRING_CONTROLS = "\x9d\x90\x98\x9e\x9f"  # the same as single characters
_BIDI = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"  # they reorder what the reader sees


class Printable:
    """Takes escape sequences and control characters out of streamed text; the same text for every chunking.

    Newline and tab stay. A string escape (a window title, a link target) ends at its terminator or at the end of the line, so
    a lone opening never swallows the rest of an answer."""

    def __init__(self) -> None:
        self._state = self._text

    def push(self, text: str) -> str:
        return "".join([self._state(character) for character in text])

    def _text(self, character: str) -> str:
        if character == "\x1b":
            self._state = self._escape
        elif character == "\x9b":
            self._state = self._sequence
        elif character in _STRING_CONTROLS:
            self._state = self._string
        elif character in "\n\t":
            return character
        elif "\ud800" <= character <= "\udfff":
            return "\ufffd"
        elif unicodedata.category(character) != "Cc" and character not in _BIDI:
            return character
        return ""

    def _escape(self, character: str) -> str:
        if character == "[":
            self._state = self._sequence
        elif character in _STRING_STARTS:
            self._state = self._string
        elif "\x30" <= character <= "\x7e":
            self._state = self._text
        elif not "\x20" <= character <= "\x2f":
            return self._leave(character)
        return ""

    def _sequence(self, character: str) -> str:
        if "\x40" <= character <= "\x7e":
            self._state = self._text
        elif not "\x20" <= character <= "\x3f":
            return self._leave(character)
        return ""

    def _string(self, character: str) -> str:
        if character in "\x07\x9c":
            self._state = self._text
        elif character == "\x1b":
            self._state = self._string_end
        elif character == "\n":
            return self._leave(character)
        return ""

    def _string_end(self, character: str) -> str:
        if character == "\\":
            self._state = self._text
            return ""
        self._state = self._escape
        return self._escape(character)

    def _leave(self, character: str) -> str:
        """`character` cannot be part of the sequence: the sequence is over, and this is what comes after it."""
        self._state = self._text
        return self._text(character)


def printable(text: str) -> str:
    """`text` without escape sequences and control characters."""
    return Printable().push(text)


class Terminal:
    """`out` gets what was asked for; `err` gets notes, and the status line where it is a terminal."""

    def __init__(self, out: TextIO, err: TextIO) -> None:
        self._out = out
        self._err = err
        self.rewrites = err.isatty() and os.environ.get("TERM") != "dumb"
        self._dims = self.rewrites and not os.environ.get("NO_COLOR")
        self._dims_out = self._dims and out.isatty()
        self._status = ""
        self._printable = Printable()
        self._line_open = False

    def write(self, text: str, *, dim: bool = False) -> None:
        """Text of an answer; call `end` after the last piece."""
        self.clear()
        text = self._printable.push(text)
        if text:
            self._out.write(f"{DIM}{text}{NORMAL}" if dim and self._dims_out else text)
            self._out.flush()
            self._line_open = not text.endswith("\n")

    def end(self) -> None:
        """Close the last line, and whatever escape was left open."""
        self._printable = Printable()
        if self._line_open:
            self.write("\n")

    def line(self, text: str) -> None:
        self.write(text)
        self.end()

    def note(self, text: str) -> None:
        """One line about what happened, beside the answer."""
        self.clear()
        text = printable(text)
        self._err.write(f"{DIM}{text}{NORMAL}\n" if self._dims and text else f"{text}\n")
        self._err.flush()

    def status(self, text: str) -> None:
        """What is being waited for, on one line that the next status or text replaces; nothing where lines cannot be rewritten,
        or while a line of the answer stands there."""
        text = printable(text).replace("\n", " ")
        if not self.rewrites or self._line_open or text == self._status:
            return
        self._status = text
        self._err.write(f"{CLEAR_LINE}{DIM if self._dims else ''}{_cut(text)}{NORMAL if self._dims else ''}")
        self._err.flush()

    def clear(self) -> None:
        if self._status:
            self._status = ""
            self._err.write(CLEAR_LINE)
            self._err.flush()


def run_interruptibly(work: Work[Result], show: Callable[[object], None], stopping: Callable[[], None]) -> Result:
    """Run `work(emit, cancel)` in a thread, `show` here what it emits, and return or raise what it did.

    Ctrl-C sets `cancel` and calls `stopping`; at the second one the work is abandoned and KeyboardInterrupt raised."""
    items: SimpleQueue[object] = SimpleQueue()
    cancel = Cancel()
    executor = ThreadPoolExecutor(1)
    with _interrupts_into(items):
        future = executor.submit(work, items.put, cancel)
        future.add_done_callback(items.put)
        try:
            return _consume(items, future, cancel, show, stopping)
        finally:
            cancel.set()
            executor.shutdown(wait=False)


def describe(progress: Progress) -> str:
    """One line about a stage: "downloading smollm2: 43 of 98 MB · 12.1 MB/s · 5 s left"."""
    match progress.stage:
        case "waiting":
            return f"waiting for {progress.detail or 'a place'}"
        case "evicting":
            return f"making room: closing {progress.detail}"
        case "loading" if progress.total:
            return f"converting the files of {progress.model} to safetensors: {progress.done * 100 // progress.total}%"
        case "loading":
            smaller = f" (memory ran out; now smaller: {progress.detail})" if progress.detail else ""
            return f"loading {progress.model}{smaller}"
        case "downloading":
            return f"downloading {progress.model}: {' · '.join(_download(progress))}".removesuffix(": ")


def megabytes(size: float) -> str:
    """A number of bytes for people: decimal units, as disks and hubs count."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB" if size < 1e7 else f"{size / 1e6:.0f} MB"


def _download(progress: Progress) -> Iterator[str]:
    if progress.total:
        yield f"{megabytes(progress.done)} of {megabytes(progress.total)}"
    elif progress.done:
        yield megabytes(progress.done)
    if progress.bytes_per_second:
        yield f"{megabytes(progress.bytes_per_second)}/s"
    if progress.seconds_left is not None:
        yield f"{progress.seconds_left:.0f} s left"
    if progress.detail:
        yield progress.detail


class _Interrupt:
    """Stands in the queue for one Ctrl-C."""


@contextmanager
def _interrupts_into(items: SimpleQueue[object]) -> Iterator[None]:
    """Ctrl-C becomes an item: SimpleQueue.put may be called from a signal handler, and nothing is cut in the middle."""

    def handler(number: int, frame: FrameType | None) -> None:
        items.put(_Interrupt())

    before = signal.signal(signal.SIGINT, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _consume(
    items: SimpleQueue[object], future: Future[Result], cancel: Cancel, show: Callable[[object], None], stopping: Callable[[], None]
) -> Result:  # fmt: skip
    while (item := items.get()) is not future:
        if not isinstance(item, _Interrupt):
            show(item)
        elif cancel.is_set():
            raise KeyboardInterrupt
        else:
            stopping()
            cancel.set()
    return future.result()


def _cut(text: str) -> str:
    """`text` as far as it fits on one line: a wrapped line cannot be rewritten. East Asian wide characters take two columns."""
    room = shutil.get_terminal_size().columns - 1
    for at, character in enumerate(text):
        room -= 2 if unicodedata.east_asian_width(character) in "WF" else 1
        if room < 0:
            return text[:at]
    return text

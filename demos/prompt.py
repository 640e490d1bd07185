"""The line a person types in a terminal: editing, history, pastes of several lines.

Knows nothing of what is done with it. Without `readline` (Windows) lines are read plainly and no history is kept.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import readline
except ImportError:
    readline = None  # type: ignore[assignment]

PROMPT, MORE, FENCE = ">>> ", "... ", '"""'
HISTORY_LINES = 1000

Note = Callable[[str], None]


def read(note: Note) -> str | None:
    """What the user typed, or None when he leaves: Ctrl-D, or Ctrl-C at an empty prompt. Ctrl-C in a line drops the line."""
    while True:
        try:
            return _message()
        except EOFError:
            note("")
            return None
        except KeyboardInterrupt as interrupt:
            note("")
            if not (interrupt.args or (readline is not None and readline.get_line_buffer())):
                return None


@contextmanager
def history(path: Path, note: Note) -> Iterator[None]:
    """Keep what is typed in `path`, for this user only; a place that cannot be written is said and left alone."""
    if readline is None:
        yield
        return
    readline.set_history_length(HISTORY_LINES)
    readline.set_auto_history(True)
    if "libedit" not in (readline.__doc__ or ""):
        readline.parse_and_bind("set enable-bracketed-paste on")  # a paste of several lines arrives as one message
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        readline.read_history_file(path)
    except OSError as error:
        note(f"The history of this terminal is not kept: {path}: {error.strerror}.")
        yield
        return
    try:
        yield
    finally:
        readline.write_history_file(path)


def _message() -> str:
    line = input(PROMPT)
    if not line.startswith(FENCE):
        return line
    lines = [line.removeprefix(FENCE)]
    while not lines[-1].endswith(FENCE) or (len(lines) == 1 and not lines[0]):
        try:
            lines.append(input(MORE))
        except KeyboardInterrupt as interrupt:
            raise KeyboardInterrupt("in a message of several lines") from interrupt
    lines[-1] = lines[-1].removesuffix(FENCE)
    return "\n" + "\n".join(lines).strip("\n")  # the leading newline: this is text, whatever it begins with

"""Whatever a tool returns or raises, as text a model can read. Nothing here trusts the object: its `str` may raise, or never end.

Knows nothing of lagent and of how long a text may be.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from demos.agent.tools.workplace import ToolFailure, this_call
from shared.errors import DemoError

MOST_PIECES, MOST_CHARACTERS = 100_000, 1_000_000  # of what comes piece by piece: a generator need not end
MOST_SAID = 2000


def text_of(value: Any) -> str:
    """Nothing for None, text and bytes as they are, lists and dictionaries as JSON, a generator's pieces one after the other.

    Raises `ToolFailure` for an object that cannot be shown, and whatever a generator raises."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bytes | bytearray | memoryview):
        return _decoded(bytes(value))
    if isinstance(value, Mapping | list | tuple):
        return _json(value)
    if isinstance(value, Iterator):
        return _gathered(value)
    try:
        return str(value)
    except Exception as error:  # a stranger's __str__
        raise ToolFailure(
            f"The tool returned an object ({type(value).__name__}) that cannot be shown: {said(error)}.", "It must return text."
        ) from error


def said(error: BaseException) -> str:
    """The type and message of what a tool raised; cause and remedy where it is an error of ours."""
    try:
        text = error.one_line() if isinstance(error, DemoError) else str(error)
    except Exception:  # a stranger's __str__
        text = "its message cannot be shown"
    name = "" if isinstance(error, DemoError) and text else type(error).__name__
    return ": ".join(part for part in (name, text[:MOST_SAID]) if part)


def _decoded(value: bytes) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return f"({len(value):,} bytes that are no text)"


def _json(value: Any) -> str:
    try:
        return json.dumps(dict(value) if isinstance(value, Mapping) else value, ensure_ascii=False, default=text_of)
    except (TypeError, ValueError, RecursionError):  # keys that are no text, or a list within itself
        return text_of(_Repr(value))


class _Repr:
    """`value` for `text_of`: as Python writes it."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def __str__(self) -> str:
        return repr(self._value)


def _gathered(pieces: Iterator[Any]) -> str:
    """Shown as they come; a tool that yields can be watched."""
    call, found, room = this_call(), [], MOST_CHARACTERS
    for number, piece in enumerate(pieces, 1):
        text = text_of(piece)[:room]
        found.append(text)
        room -= len(text)
        call.on_output(text)
        if not room or number == MOST_PIECES or call.cancel.is_set():
            found.append("\n[… the tool had more to say …]")
            break
    return "".join(found)

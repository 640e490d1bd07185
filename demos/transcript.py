"""Conversations in files: JSON with a version number, written whole or not at all, and checked when they come back.

Text only: a picture in a file is a path, and a file from a stranger must not make a model read ours.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from shared.errors import BadRequest
from shared.messages import Message, Reasoning, Text, from_json, to_json

VERSION = 1


def save(path: Path, messages: Sequence[Message]) -> None:
    """Write `messages` to `path`, readable by this user only. Raises `BadRequest` where that is not possible, and where another
    kind of file would be lost."""
    if path.exists():
        try:
            load(path)
        except BadRequest as error:
            raise BadRequest(f"{path} exists and is no saved conversation.", "Choose another name.") from error
    content = {"version": VERSION, "messages": [to_json(message) for message in messages]}
    try:
        _write(path, json.dumps(content, ensure_ascii=False, indent=1) + "\n")
    except OSError as error:
        raise BadRequest(f"{path} cannot be written: {error.strerror}.", "Choose another place.") from error
    except UnicodeEncodeError as error:
        raise BadRequest(f"{path} was not written: the conversation has a broken character.", "/undo its turn first.") from error


def load(path: Path) -> tuple[Message, ...]:
    """The messages `save` wrote. Raises `BadRequest` naming what is wrong with the file."""
    try:
        content = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise BadRequest(f"{path} cannot be read: {error.strerror}.", "Check the path.") from error
    except (ValueError, RecursionError) as error:  # no JSON, or no UTF-8
        raise BadRequest(f"{path} is no saved conversation: it is no JSON.", "Give a file that /save wrote.") from error
    try:
        return _messages(content)
    except ValueError as error:
        raise BadRequest(f"{path} is no saved conversation: {error}.", "Give a file that /save wrote.") from error


def _messages(content: Any) -> tuple[Message, ...]:
    if not isinstance(content, dict) or set(content) != {"version", "messages"} or not isinstance(content["messages"], list):
        raise ValueError("it has not the keys version and messages")
    if content["version"] != VERSION:
        raise ValueError(f"its version is {content['version']!r}, this program reads {VERSION}")
    messages = tuple(from_json(message) for message in content["messages"])
    if not all(isinstance(part, Text | Reasoning) for message in messages for part in message.parts):
        raise ValueError("it has parts that are not text")
    for at, message in enumerate(messages):
        if message.role == "tool" or (message.role == "system" and at) or message.name is not None:
            raise ValueError(f"message {at + 1} has no place in a chat")
    return messages


def _write(path: Path, text: str) -> None:
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(name, path)
    except (OSError, UnicodeError):
        os.unlink(name)
        raise

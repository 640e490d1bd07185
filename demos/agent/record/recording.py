"""A run as JSON: kept, sent to others, replayed without a model.

`to_json` and `from_json` are inverses, but for the folder that pictures lie in. A recording may come from a stranger: every
value is checked, and a picture travels inside it and is written into the reader's own folder, because a path in a file would
be a way to any file.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from demos.agent.events import AgentEvent, CallDone, CallOutput, Finished, Kept
from demos.agent.record import wire
from shared import loose_json
from shared.engine import Progress
from shared.errors import BadRequest
from shared.events import PromptProgress, ReasoningDelta, TextDelta
from shared.messages import Image, Message, Part, ToolResult
from shared.messages import from_json as message_from_json
from shared.messages import to_json as message_to_json

VERSION = 1
MOST_BYTES = 64 * 1024 * 1024
MOST_PICTURE_BYTES = 20 * 1024 * 1024
_SUFFIXES = {b"\x89PNG\r\n\x1a\n": ".png", b"\xff\xd8\xff": ".jpg", b"GIF8": ".gif", b"RIFF": ".webp"}
_KEYS = {"version", "model", "conversation", "tools", "events", "pictures"}
Event = TypeVar("Event", bound=Kept)


@dataclass(frozen=True, slots=True)
class Recording:
    """One run: which model was asked what, with which tools, and everything that happened."""

    model: str
    conversation: tuple[Message, ...]
    tools: tuple[str, ...]
    events: tuple[Kept, ...]


def kept(happened: Sequence[AgentEvent]) -> tuple[Kept, ...]:
    """What a recording keeps of a run: deltas side by side as one, and nothing of waiting for a model."""
    found: list[Kept] = []
    for event in happened:
        last = found[-1] if found else None
        if isinstance(event, Progress | PromptProgress):
            continue
        if isinstance(event, TextDelta | ReasoningDelta) and type(event) is type(last):
            found[-1] = type(event)(last.text + event.text)
        elif isinstance(event, CallOutput) and isinstance(last, CallOutput) and last.call_id == event.call_id:
            found[-1] = CallOutput(last.call_id, last.text + event.text)
        else:
            found.append(event)
    return tuple(found)


def replay(recording: Recording) -> Iterator[Kept]:
    """What the run emitted, without a model."""
    yield from recording.events


def to_json(recording: Recording) -> dict[str, Any]:
    """JSON-ready, pictures included. Raises `BadRequest` for a picture that is not there any more."""
    seen: dict[str, Image] = {}

    def named(image: Image) -> Image:
        seen[image.sha256] = image
        return replace(image, path=image.sha256)

    moved = [_with_images(event, named) for event in recording.events]
    conversation = [_message_with_images(message, named) for message in recording.conversation]
    return {
        "version": VERSION, "model": recording.model, "tools": list(recording.tools),
        "conversation": [message_to_json(message) for message in conversation], "events": [wire.encoded(event) for event in moved],
        "pictures": {sha256: base64.b64encode(_read(image)).decode("ascii") for sha256, image in sorted(seen.items())},
    }  # fmt: skip


def from_json(value: Any, folder: Path) -> Recording:
    """The recording `to_json` wrote; its pictures are written into `folder`. Raises `ValueError` on anything else."""
    if not isinstance(value, Mapping) or set(value) != _KEYS:
        raise ValueError(f"it has not the keys {', '.join(sorted(_KEYS))}")
    if value["version"] != VERSION:
        raise ValueError(f"its version is {value['version']!r}, this program reads {VERSION}")
    if not isinstance(value["model"], str) or not all(isinstance(value[key], list) for key in ("tools", "conversation", "events")):
        raise ValueError("its model is a text, its tools, conversation and events are lists")
    if not all(isinstance(tool, str) for tool in value["tools"]) or not isinstance(value["pictures"], Mapping):
        raise ValueError("its tools are names, its pictures are named by their sha256")
    events = [wire.event(item) for item in value["events"]]
    if not events or not isinstance(events[-1], Finished) or any(isinstance(event, Finished) for event in events[:-1]):
        raise ValueError("its last event, and no other, says how it finished")
    conversation = [message_from_json(item) for item in value["conversation"]]
    pictures = {str(sha256): _checked(str(sha256), data) for sha256, data in value["pictures"].items()}
    places: dict[str, Path] = {}

    def placed(image: Image) -> Image:
        if image.sha256 not in pictures or image.path != image.sha256:
            raise ValueError("a picture of it is missing")
        places[image.sha256] = folder / f"{image.sha256}{pictures[image.sha256][1]}"
        return replace(image, path=str(places[image.sha256]))

    moved = tuple(_with_images(event, placed) for event in events)
    asked = tuple(_message_with_images(message, placed) for message in conversation)
    for sha256, place in places.items():
        place.write_bytes(pictures[sha256][0])
    return Recording(value["model"], asked, tuple(value["tools"]), moved)


def dumps(recording: Recording) -> str:
    """As the text of a file. Raises `BadRequest` for a picture that is not there any more."""
    return json.dumps(to_json(recording), ensure_ascii=True, indent=1) + "\n"


def loads(text: str | bytes, folder: Path) -> Recording:
    """The recording in a file. Raises `BadRequest` naming what is wrong with it."""
    if len(text) > MOST_BYTES:
        raise BadRequest(f"The recording is larger than {MOST_BYTES // 2**20} MB.", "Open a smaller one.")
    try:
        return from_json(_of_whole_characters(json.loads(text)), folder)
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"This file is no recording of a run: {error}.", "Open a file that was saved with the agent.") from error


def _of_whole_characters(value: Any) -> Any:
    """Halves of characters, which a server may have sent, as unknown ones: no page and no file takes them."""
    text = json.dumps(value, ensure_ascii=False)
    return value if loose_json.is_text(text) else json.loads(text.encode("utf-8", "replace"))


def _with_images(event: Event, moved: Any) -> Event:
    if isinstance(event, CallDone):
        return replace(event, images=tuple(map(moved, event.images)))
    if isinstance(event, Finished):
        return replace(event, messages=tuple(_message_with_images(message, moved) for message in event.messages))
    return event


def _message_with_images(message: Message, moved: Any) -> Message:
    return replace(message, parts=tuple(_part_with_images(part, moved) for part in message.parts))


def _part_with_images(part: Part, moved: Any) -> Part:
    if isinstance(part, ToolResult):
        return replace(part, images=tuple(map(moved, part.images)))
    return moved(part) if isinstance(part, Image) else part


def _read(image: Image) -> bytes:
    try:
        content = Path(image.path).read_bytes()
    except OSError as error:
        name = Path(image.path).name
        raise BadRequest(f"A picture of the run is gone: {name}.", "Save a run before its conversation is closed.") from error
    if hashlib.sha256(content).hexdigest() != image.sha256:
        raise BadRequest(f"A picture of the run has changed: {Path(image.path).name}.", "Run it again.")
    return content


def _checked(sha256: str, data: Any) -> tuple[bytes, str]:
    """A picture's bytes and the ending of its name. Raises `ValueError` for anything that is no picture of this sum."""
    if not isinstance(data, str) or len(data) > MOST_PICTURE_BYTES * 4 // 3 + 4:
        raise ValueError("a picture is text in base64, of a reasonable size")
    try:
        content = base64.b64decode(data, validate=True)
    except binascii.Error as error:
        raise ValueError("a picture is no base64") from error
    suffix = next((suffix for magic, suffix in _SUFFIXES.items() if content.startswith(magic)), None)
    if suffix is None or hashlib.sha256(content).hexdigest() != sha256:
        raise ValueError("a picture is not what its sum says")
    return content, suffix

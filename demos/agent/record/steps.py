"""A run as plain JSON values, for callers without a page: the answer so far, and each call with what came of it.

Arguments are JSON as text, as in OpenAI's API: what a model writes there must not be taken for a value of whoever carries it.
Knows neither Gradio nor where files lie.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from demos.agent.events import AgentEvent, CallApproved, CallDone, CallOutput, CallProposed, Finished, ModelTold, StepBegun
from shared.events import ReasoningDelta, TextDelta
from shared.messages import Image

MOST_DATA = 8 << 20  # bytes of pictures and files that travel inside an answer
Read = Callable[[str], bytes | None]  # a file of the conversation, by name; None when there is none


@dataclass(slots=True)
class Steps:
    """`take` every event of a run in order; `value` is what is known then, `whole` has the pictures and files as well."""

    answer: str = ""
    finished: str = ""
    _steps: list[dict[str, Any]] = field(default_factory=list)
    _calls: dict[str, dict[str, Any]] = field(default_factory=dict)
    _images: dict[str, tuple[Image, ...]] = field(default_factory=dict)
    _files: dict[str, tuple[str, ...]] = field(default_factory=dict)
    _thought: str = ""

    def take(self, event: AgentEvent) -> None:
        match event:
            case StepBegun():
                self.answer = self._thought = ""
            case TextDelta(text):
                self.answer += text
            case ReasoningDelta(text):
                self._thought += text
            case CallProposed(_, call, arguments, problem):
                self._calls[call.id] = self._begun(call.name, call.arguments if problem else arguments)
            case CallApproved(id, arguments):
                self._calls[id]["arguments"] = arguments
            case CallOutput(id, text):
                self._calls[id]["result"] += text
            case CallDone(id, content, seconds, error, images, files):
                self._calls[id] |= {"result": content, "seconds": round(seconds, 3), "error": error}
                self._images[id], self._files[id] = images, files
            case ModelTold(text):
                self._begun("", "").update(result=text, error=True)
            case Finished(reason, answer):
                self._end(reason, answer)

    def _begun(self, tool: str, arguments: str) -> dict[str, Any]:
        """A step, which takes with it what the model said before it."""
        step = {
            "thought": self._thought, "text": self.answer, "tool": tool, "arguments": arguments, "result": "", "error": False,
            "seconds": 0.0, "images": [], "files": [],
        }  # fmt: skip
        self.answer = self._thought = ""
        self._steps.append(step)
        return step

    def _end(self, reason: str, answer: str) -> None:
        if self._thought:  # before the answer, which is no part of a step
            self.answer = ""
            self._begun("", "")
        self.answer, self.finished = answer, reason

    def value(self) -> dict[str, Any]:
        """`{"answer", "steps", "finished"}`, JSON throughout; `finished` is empty until it is."""
        found: dict[str, Any] = _plain({"answer": self.answer, "steps": self._steps, "finished": self.finished})
        return found

    def whole(self, read: Read) -> dict[str, Any]:
        """The same with every picture and file in base64, as far as `MOST_DATA` goes: `data` of the others is None, and of what is
        not there."""
        room = _Room()
        for id, step in self._calls.items():
            step["images"] = list(_pictures(self._images.get(id, ()), room))
            step["files"] = [{"name": name, "data": room.take(read(name))} for name in self._files.get(id, ())]
        return self.value()


class _Room:
    def __init__(self) -> None:
        self._left = MOST_DATA

    def take(self, data: bytes | None) -> str | None:
        if data is None or len(data) > self._left:
            return None
        self._left -= len(data)
        return base64.b64encode(data).decode("ascii")


def _pictures(images: Iterable[Image], room: _Room) -> Iterator[dict[str, Any]]:
    for image in images:
        path = Path(image.path)
        yield {"name": path.name, "width": image.width, "height": image.height, "data": room.take(_content(path))}


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:  # a picture of somebody's own tool may be anywhere, or gone
        return None


def _plain(value: Any) -> Any:
    """A copy in which every text can be written as UTF-8: JSON of a model may hold halves of characters."""
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value.encode("utf-8", "replace").decode("utf-8") if isinstance(value, str) else value

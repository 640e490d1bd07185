"""Conversations as plain frozen values: equal content is an equal message.

Knows nothing of models, prompts or pages. `to_json` and `from_json` are exact inverses; `from_json` accepts only what
`to_json` writes, because saved conversations come back from browsers and files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, cast

Role = Literal["system", "user", "assistant", "tool"]
ROLES: tuple[Role, ...] = ("system", "user", "assistant", "tool")
Detail = Literal["auto", "low", "high"]
DETAILS: tuple[Detail, ...] = ("auto", "low", "high")


@dataclass(frozen=True, slots=True)
class Text:
    text: str


@dataclass(frozen=True, slots=True)
class Image:
    """A picture file in the session's own folder; only backends open it. `width` and `height` are in pixels; `detail` is how closely
    it is to be looked at, by models that can choose: `auto` leaves it to them."""

    path: str
    sha256: str
    width: int
    height: int
    detail: Detail = "auto"


@dataclass(frozen=True, slots=True)
class Reasoning:
    """What the model thought before it answered; shown folded, not sent back."""

    text: str


@dataclass(frozen=True, slots=True)
class ToolCall:
    """The model asks for a tool. `arguments` is its raw text; whoever runs the tool parses and judges it."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class ToolResult:
    call_id: str
    content: str
    images: tuple[Image, ...] = ()
    error: bool = False


Part = Text | Image | Reasoning | ToolCall | ToolResult
_PARTS: dict[str, type[Part]] = {t.__name__: t for t in (Text, Image, Reasoning, ToolCall, ToolResult)}


@dataclass(frozen=True, slots=True)
class Message:
    role: Role
    parts: tuple[Part, ...]
    name: str | None = None

    @property
    def text(self) -> str:
        """The visible text, without reasoning, pictures and tool traffic."""
        return "".join(part.text for part in self.parts if isinstance(part, Text))


def system(text: str) -> Message:
    return Message("system", (Text(text),))


def user(text: str) -> Message:
    return Message("user", (Text(text),))


def assistant(text: str) -> Message:
    return Message("assistant", (Text(text),))


def to_json(message: Message) -> dict[str, Any]:
    """A JSON-ready dict; `from_json` gives the equal message back."""
    return {"role": message.role, "name": message.name, "parts": [_part_to_json(part) for part in message.parts]}


def from_json(value: Any) -> Message:
    """The message `to_json` wrote. Raises `ValueError` on anything else, naming what is wrong."""
    if not isinstance(value, Mapping) or set(value) != {"role", "name", "parts"}:
        raise ValueError("a message has the keys role, name and parts")
    if value["role"] not in ROLES:
        raise ValueError(f"unknown role {value['role']!r}")
    if not isinstance(value["name"], str | None) or not isinstance(value["parts"], list):
        raise ValueError("a message's name is text or null, and its parts are a list")
    return Message(value["role"], tuple(_part_from_json(part) for part in value["parts"]), value["name"])


def _part_to_json(part: Part) -> dict[str, Any]:
    content = {f.name: getattr(part, f.name) for f in fields(part)}
    if isinstance(part, ToolResult):
        content["images"] = [_part_to_json(image) for image in part.images]
    return {"type": type(part).__name__, **content}


def _part_from_json(value: Any) -> Part:
    if not isinstance(value, Mapping) or not isinstance(value.get("type"), str) or value["type"] not in _PARTS:
        raise ValueError("a part has a known type")
    kind = _PARTS[value["type"]]
    content = {k: v for k, v in value.items() if k != "type"}
    if kind is ToolResult:
        images = content.get("images")
        if not isinstance(images, list) or not all(isinstance(image, Mapping) and image.get("type") == "Image" for image in images):
            raise ValueError("a tool result's images are a list of images")
        content["images"] = tuple(_part_from_json(image) for image in images)
    expected = {f.name: f.type for f in fields(kind)}
    if set(content) != set(expected):
        raise ValueError(f"{kind.__name__} has the fields {', '.join(expected)}")
    for name, annotation in expected.items():
        wanted = {"str": str, "int": int, "bool": bool, "Detail": str}.get(cast(str, annotation), tuple)
        if type(content[name]) is not wanted:
            raise ValueError(f"{kind.__name__}.{name} is not {annotation}")
    if kind is Image and content["detail"] not in DETAILS:
        raise ValueError(f"a picture's detail is one of {', '.join(DETAILS)}")
    return kind(**content)

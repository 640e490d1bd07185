"""A conversation in the shape that chat templates read, with an unguessable name in the place of each text.

Knows nothing of templates' processes or output, tokenizers or models.
"""

from __future__ import annotations

import json
import re
import secrets
import string
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from shared import call_text
from shared.engine import ToolSpec
from shared.errors import BadRequest
from shared.messages import Image, Message, Text, ToolCall, ToolResult

_JSON_TYPES = frozenset({"object", "array", "string", "number", "integer", "boolean", "null", "function"})
_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")


@dataclass(frozen=True, slots=True)
class Attempt:
    messages: Sequence[Message]
    as_list: bool


def attempts(messages: Sequence[Message], pictures: bool) -> Iterator[Attempt]:
    """A text as a string or as a list of one part, as templates of either kind expect; pictures are in lists always."""
    forms = [messages]
    if messages[0].role == "system" and len(messages) > 1 and messages[1].role == "user":
        parts = (Text(messages[0].text + "\n\n"), *messages[1].parts)
        forms.append([replace(messages[1], parts=parts), *messages[2:]])
    for form in forms:
        for as_list in (True,) if pictures else (False, True):
            yield Attempt(form, as_list)


@dataclass(slots=True)
class Wire:
    """A conversation in the shape that templates read, with a name for each text, and with `pictures_as_text` for each picture."""

    as_list: bool
    pictures_as_text: bool = False
    nonce: str = field(default_factory=lambda: "".join(secrets.choice(string.ascii_lowercase) for _ in range(24)))
    texts: dict[str, str] = field(default_factory=dict)
    needed: set[str] = field(default_factory=set)  # what a system message or a person wrote must come out
    pictures: dict[str, Image] = field(default_factory=dict)

    def request(self, messages: Sequence[Message], tools: Sequence[ToolSpec]) -> dict[str, Any]:
        last, opened = messages[-1], ""
        if last.role == "assistant":
            messages = messages[:-1]
            if any(isinstance(part, ToolCall) for part in last.parts):
                raise BadRequest("A tool call waits for its result.", "Let the tool run first.")
            if not messages:
                raise BadRequest("There is nothing to answer.", "Write a message first.")
        wire = [part for message in messages for part in self._message(message)]
        if last.role == "assistant" and last.text:
            opened = self._name(last.text)
            wire.append({"role": "assistant", "content": [{"type": "text", "text": opened}] if self.as_list else opened})
        schemas = [{"type": "function", "function": self._schema(tool)} for tool in tools]
        return {"messages": wire, "tools": schemas, "nonce": self.nonce, "texts": self.texts, "open": opened}

    def _name(self, text: str) -> str:
        if not text:
            return ""
        name = f"{self.nonce}{len(self.texts)}q"
        self.texts[name] = text
        return name

    def _message(self, message: Message) -> Iterator[dict[str, Any]]:
        if message.role == "tool":
            yield from self._results(message)
            return
        if any(isinstance(part, ToolResult) for part in message.parts):
            raise BadRequest("A tool's result belongs in a tool message.")
        calls = [self._call(part) for part in message.parts if isinstance(part, ToolCall)]
        content = [self._part(part) for part in _content(message)]
        names = [part["text"] for part in content if "text" in part]
        if message.role != "assistant":
            self.needed.update(name for name in names if self.texts[name].strip())
        wire: dict[str, Any] = {"role": message.role, "content": content if self.as_list else "".join(names)}
        yield {**wire, "tool_calls": calls} if calls else wire

    def _part(self, part: str | Image) -> dict[str, Any]:
        if isinstance(part, str):
            return {"type": "text", "text": self._name(part)}
        if not self.pictures_as_text:
            return {"type": "image"}
        name = self._name("picture")
        self.pictures[name] = part
        return {"type": "text", "text": name}

    def _results(self, message: Message) -> Iterator[dict[str, Any]]:
        for part in message.parts:
            if not isinstance(part, ToolResult):
                raise BadRequest("A tool message holds results only.")
            name = self._name(call_text.contained(part.content))
            content = [{"type": "text", "text": name}] if self.as_list else name
            yield {"role": "tool", "content": content, "tool_call_id": self._name(part.call_id), "name": self._name(message.name or "")}

    def _call(self, call: ToolCall) -> dict[str, Any]:
        try:
            arguments = self._value(json.loads(call.arguments))
        except (ValueError, RecursionError):
            arguments = self._name(call.arguments)  # what the model wrote is no JSON: it is sent back as it is
        return {"type": "function", "id": self._name(call.id), "function": {"name": self._name(call.name), "arguments": arguments}}

    def _schema(self, tool: ToolSpec) -> dict[str, Any]:
        return {"name": self._name(tool.name), "description": self._name(tool.description), "parameters": self._value(tool.parameters)}

    def _value(self, value: object) -> Any:
        """JSON with names for its texts, but for plain keys and the words of JSON schema, which templates look at."""
        if isinstance(value, Mapping):
            return {key if _KEY.fullmatch(key) else self._name(str(key)): self._value(inner) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            return [self._value(inner) for inner in value]
        return self._name(value) if isinstance(value, str) and value not in _JSON_TYPES else value


def _content(message: Message) -> list[str | Image]:
    """Its texts, those side by side as one, and its pictures; thoughts are shown, not sent back."""
    content: list[str | Image] = []
    for part in message.parts:
        if isinstance(part, Image):
            content.append(part)
        elif isinstance(part, Text) and part.text:
            before = content.pop() if content and isinstance(content[-1], str) else ""
            content.append(f"{before}{part.text}")
    return content

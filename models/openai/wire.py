"""The OpenAI chat format: messages, tools and sampling on their way out, streamed chunks on their way in.

Where servers differ, it goes by the name the server gives itself in `/models` (`owned_by`). Knows no connection, no retries
and no errors of transport. What a server sends is hostile until checked: a field of the wrong type never gets through.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from models.openai.picture_data import data_url
from shared.call_text import as_json, is_complete
from shared.engine import Sampling, ToolSpec
from shared.errors import BadRequest, RemoteFailure
from shared.events import DoneReason, PromptProgress, ReasoningDelta, TextDelta
from shared.messages import Image, Message, Reasoning, Text, ToolCall, ToolResult

MAX_STOPS = 4  # OpenAI's limit; the caller enforces every stop string itself, so the rest is not lost

# Who knows top-k and a repetition penalty: (the penalty's name there, the value that switches top-k off). They are always
# sent to these, because a value left out is not "off" but the server's own default (40 in llama.cpp and LMDeploy, the
# model's generation_config in vLLM).
_EXTENDED = {
    "llamacpp": ("repeat_penalty", 0), "lmdeploy": ("repetition_penalty", 0),
    "vllm": ("repetition_penalty", -1), "sglang": ("repetition_penalty", -1),
}  # fmt: skip
_FINISHED: dict[str, DoneReason] = {
    "stop": "stop", "tool_calls": "stop", "function_call": "stop", "eos": "stop", "eos_token": "stop", "length": "length",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Server:
    """What a server says of itself: its software (empty where that is unknown) and the models it offers."""

    software: str
    models: tuple[str, ...]


def read_server(answer: object) -> Server:
    """From the answer to `GET /models`. Raises `ValueError` where it is no such list."""
    data = answer.get("data") if isinstance(answer, Mapping) else None
    if not isinstance(data, list):
        raise ValueError("no list of models")
    models = [item for item in data if isinstance(item, Mapping) and isinstance(item.get("id"), str)]
    owner = str(models[0].get("owned_by", "")).lower() if models else ""
    return Server(owner if owner in _EXTENDED else "", tuple(item["id"] for item in models))


def sampling_to_wire(sampling: Sampling, *, extra: str, software: str, official: bool) -> dict[str, Any]:
    """The request's sampling fields; those that OpenAI does not know lie under `extra_body`.

    `extra` is `full` (always send them), `plain` (never) or `auto` (to the servers known to understand them). Where they
    are not sent, the default top-k is left to the server, because nobody chose it, and any other value raises
    `BadRequest` rather than being ignored. `official` is OpenAI itself, whose newer models refuse `max_tokens`."""
    wire: dict[str, Any] = {
        "temperature": sampling.temperature, "top_p": sampling.top_p,
        "max_completion_tokens" if official else "max_tokens": sampling.max_tokens,
    }  # fmt: skip
    if sampling.seed is not None:
        wire["seed"] = sampling.seed
    if sampling.stop:
        wire["stop"] = list(sampling.stop[:MAX_STOPS])
    if sampling.one_of:
        wire["response_format"] = _choice_format(sampling.one_of)
    if extra == "full" or (extra == "auto" and software):
        penalty, off = _EXTENDED.get(software, ("repetition_penalty", 0))
        wire["extra_body"] = {"top_k": sampling.top_k or off, penalty: sampling.repetition_penalty}
    elif sampling.top_k not in (0, Sampling().top_k) or sampling.repetition_penalty != 1:
        raise BadRequest(
            "This server is not known to understand top-k and a repetition penalty.",
            'Set top-k to 0 and the repetition penalty to 1; where the server knows them, its model in a catalog file says extra = "full".',
        )
    return wire


def _choice_format(choices: Sequence[str]) -> dict[str, Any]:
    schema = {"type": "object", "properties": {"answer": {"enum": list(choices)}}, "required": ["answer"], "additionalProperties": False}
    return {"type": "json_schema", "json_schema": {"name": "choice", "strict": True, "schema": schema}}


def read_choice(text: str, choices: Sequence[str]) -> str:
    """The choice in an answer asked for with `one_of`. Raises `RemoteFailure` for anything else than one of them."""
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if isinstance(value, dict) and set(value) == {"answer"} and value["answer"] in choices:
        return str(value["answer"])
    raise RemoteFailure(
        f"The server was to choose one of {', '.join(choices)}, and answered {text[:200]!r}.",
        "Use a server that supports response_format with a JSON schema, or a model that runs here.",
    )


def name_to_wire(name: str) -> str:
    """A tool's name as OpenAI takes it: letters, digits, `_` and `-`. lagent's have dots (`ArxivSearch.search`); letters of other
    scripts are written as their codes, so that names of two tools stay two."""
    return re.sub(r"[^A-Za-z0-9_-]", lambda found: "_" if found[0].isascii() else f"u{ord(found[0]):x}", name)[:64]


def tools_to_wire(tools: Sequence[ToolSpec]) -> list[dict[str, Any]]:
    return [
        {
            "type": "function",
            "function": {"name": name_to_wire(tool.name), "description": tool.description, "parameters": dict(tool.parameters)},
        }
        for tool in tools
    ]


def messages_to_wire(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """The conversation; pictures are read here. Thoughts are not sent back, nor are a tool result's pictures: the format
    has no place for them. Raises `BadRequest` for a misplaced part and for a picture that cannot be sent."""
    return [wire for message in messages for wire in _message(message)]


def _message(message: Message) -> Iterator[dict[str, Any]]:
    if message.role == "tool":
        for part in message.parts:
            if not isinstance(part, ToolResult):
                raise BadRequest("A tool message holds results only.")
            yield {"role": "tool", "tool_call_id": part.call_id, "content": part.content}
        return
    content = [_content(part) for part in message.parts if not isinstance(part, Reasoning | ToolCall)]
    calls = [part for part in message.parts if isinstance(part, ToolCall)]
    wire: dict[str, Any] = {"role": message.role, "content": content}
    if all(item["type"] == "text" for item in content):
        wire["content"] = message.text if message.text or not calls else None
    if calls:
        # Servers parse what we send back: arguments that the model broke, or code in the place of JSON, would end the conversation.
        functions = [{"name": name_to_wire(call.name), "arguments": as_json(call.arguments)} for call in calls]
        wire["tool_calls"] = [
            {"id": call.id, "type": "function", "function": function} for call, function in zip(calls, functions, strict=True)
        ]
    if message.name is not None:
        wire["name"] = message.name
    yield wire


def _content(part: object) -> dict[str, Any]:
    match part:
        case Text(text):
            return {"type": "text", "text": text}
        case Image():
            asked = {} if part.detail == "auto" else {"detail": part.detail}
            return {"type": "image_url", "image_url": {"url": data_url(part), **asked}}
        case _:
            raise BadRequest("A tool's result belongs in a tool message.")


@dataclass(slots=True)
class _Call:
    index: object
    id: str = ""
    name: str = ""
    arguments: str = ""


class Answer:
    """A streamed answer as far as it was read: `read` each chunk, then ask for `reason`, `calls` (by the names of `tools`) and the
    tokens.

    `output_tokens` is the server's figure; where it gives none, it is the number of pieces that carried something, which
    is what most servers send per token, and never more than the truth."""

    def __init__(self, tools: Sequence[ToolSpec] = ()) -> None:
        self._names = {name_to_wire(tool.name): tool.name for tool in tools}
        self.prompt_tokens = 0
        self.cached_tokens = 0
        self.pieces = 0
        self.finish = ""
        self._output: int | None = None
        self._calls: list[_Call] = []

    @property
    def output_tokens(self) -> int:
        return self.pieces if self._output is None else self._output

    def read(self, chunk: object) -> Iterator[TextDelta | ReasoningDelta | PromptProgress]:
        whole = _mapping(chunk)
        self._read_usage(_mapping(whole.get("usage")))
        progress = _mapping(whole.get("prompt_progress"))  # llama.cpp, where it was asked for it
        if progress:
            self.prompt_tokens, self.cached_tokens = _number(progress, "total"), _number(progress, "cache")
            yield PromptProgress(min(_number(progress, "processed"), self.prompt_tokens), self.prompt_tokens)
        choices = whole.get("choices")
        choice = _mapping(choices[0]) if isinstance(choices, list) and choices else {}
        yield from self._read_delta(_mapping(choice.get("delta")))
        self.finish = _string(choice, "finish_reason") or self.finish

    def _read_delta(self, delta: Mapping[str, Any]) -> Iterator[TextDelta | ReasoningDelta]:
        thought = _string(delta, "reasoning_content") or _string(delta, "reasoning")
        text = _string(delta, "content")
        calls = delta.get("tool_calls")
        calls = calls if isinstance(calls, list) else []
        self.pieces += bool(thought or text or calls)
        if thought:
            yield ReasoningDelta(thought)
        if text:
            yield TextDelta(text)
        for call in calls:
            self._read_call(_mapping(call))

    def _read_call(self, delta: Mapping[str, Any]) -> None:
        index, call_id, function = delta.get("index"), _string(delta, "id"), _mapping(delta.get("function"))
        name, arguments = _string(function, "name"), function.get("arguments")
        written = json.dumps(arguments, ensure_ascii=False) if isinstance(arguments, Mapping) else _string(function, "arguments")
        call = next((call for call in reversed(self._calls) if index is None or call.index == index), None)
        # Some servers number every call 0, or give neither numbers nor ids: then a name behind whole arguments begins the next.
        another = bool(name) and index is None and call is not None and is_complete(call.arguments)
        if call is None or another or (call_id and call.id and call_id != call.id):
            call = _Call(index)
            self._calls.append(call)
        call.id = call.id or call_id
        call.name = call.name or name
        call.arguments += written

    def _read_usage(self, usage: Mapping[str, Any]) -> None:
        if usage:
            self.prompt_tokens = _number(usage, "prompt_tokens") or self.prompt_tokens
            self._output = _number(usage, "completion_tokens") or self._output
            self.cached_tokens = _number(_mapping(usage.get("prompt_tokens_details")), "cached_tokens") or self.cached_tokens

    def calls(self) -> list[ToolCall]:
        """The whole tool calls, in order; only a finished answer has any."""
        calls = self._calls if self.finish else []
        return [
            ToolCall(call.id or f"server_{n}", self._names.get(call.name, call.name), call.arguments) for n, call in enumerate(calls, 1)
        ]

    def raw_calls(self) -> str:
        """The calls as the server sent them: nothing where there are none."""
        calls = [{"name": call.name, "arguments": call.arguments} for call in self._calls]
        return "\n" + json.dumps({"tool_calls": calls}, ensure_ascii=False) if calls else ""

    def reason(self) -> DoneReason:
        """Why the answer ended. Raises `RemoteFailure` when it was cut, or ended in a way that is no answer."""
        if not self.finish:
            raise RemoteFailure("The server's answer ended in the middle.", "Ask again; if it happens often, look at the server's log.")
        if self.finish not in _FINISHED:
            raise RemoteFailure(f"The server ended the answer with the reason {self.finish!r}.", "Ask again, or ask differently.")
        return _FINISHED[self.finish]


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _string(mapping: Mapping[str, Any], key: str) -> str:
    value = mapping.get(key)
    if value is not None and not isinstance(value, str):
        raise RemoteFailure(f"The server's answer is malformed: {key} is not text.", "Check that the server is OpenAI-compatible.")
    return value or ""


def _number(mapping: Mapping[str, Any], key: str) -> int:
    value = mapping.get(key)
    return value if isinstance(value, int) and value > 0 else 0

"""Prompts: the only place that knows special tokens.

`render` turns messages into a sequence of `Control` (one special token each) and `Plain` (everything else). A backend
encodes Control with special tokens and Plain without and sends ids, so a user who types a special token cannot forge a
turn, and pasted code that contains one stays what it was. Token ids never appear here: they come from the tokenizer.

Does not know any tokenizer, model or backend. A model's own default system text belongs to its `ModelSpec`.

Sources: InternLM's `chat/chat_format.md` (internlm2), Qwen2.5's chat template (the tool format of chatml).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from shared.engine import ToolSpec
from shared.errors import BadRequest
from shared.messages import Image, Message, Reasoning, Text, ToolCall, ToolResult, system


@dataclass(frozen=True, slots=True)
class Control:
    """One special token, by its text."""

    token: str


@dataclass(frozen=True, slots=True)
class Plain:
    """Text in which nothing is special."""

    text: str


@dataclass(frozen=True, slots=True)
class ImageSlot:
    image: Image


Piece = Control | Plain | ImageSlot


@dataclass(frozen=True, slots=True)
class Dialect:
    """How one family writes a conversation. `start role \\n text end \\n` per message; `stop` are the strings that end an
    answer; `bos` says where the begin token goes: `once` per prompt, `per_text` part, or `none`."""

    name: str
    start: str
    end: str
    stop: tuple[str, ...]
    tools: Literal["plugin", "tool_call"]
    bos: Literal["once", "per_text", "none"] = "none"
    bos_token: str = "<s>"


INTERNLM2 = Dialect("internlm2", "<|im_start|>", "<|im_end|>", ("<|im_end|>", "</s>"), tools="plugin", bos="once")
CHATML = Dialect("chatml", "<|im_start|>", "<|im_end|>", ("<|im_end|>", "<|endoftext|>"), tools="tool_call")
DIALECTS = {dialect.name: dialect for dialect in (INTERNLM2, CHATML)}

# The code tool has a block of its own in the internlm2 format: its description is the block, a call carries code, not JSON.
INTERPRETER = "IPythonInterpreter"
ACTION_START, ACTION_END = "<|action_start|>", "<|action_end|>"
PLUGIN_MARK, INTERPRETER_MARK = "<|plugin|>", "<|interpreter|>"
CALL_START, CALL_END = "<tool_call>", "</tool_call>"
THINK_START, THINK_END = "<think>", "</think>"

# What a backend must let through as text for the tag router to see it, although the tokenizer calls it special.
PRESERVED = (ACTION_START, ACTION_END, PLUGIN_MARK, INTERPRETER_MARK, CALL_START, CALL_END, THINK_START, THINK_END)

_QWEN_TOOLS = (
    "# Tools\n\nYou may call one or more functions to assist with the user query.\n\n"
    "You are provided with function signatures within <tools></tools> XML tags:\n<tools>\n{signatures}\n</tools>\n\n"
    "For each function call, return a json object with function name and arguments within <tool_call></tool_call> XML tags:\n"
    '<tool_call>\n{{"name": <function-name>, "arguments": <args-json-object>}}\n</tool_call>'
)
_NAME = re.compile(r"[\w.-]{1,64}")


def dialect_of_template(template: str, *, bos_token: str, vocabulary_has_actions: bool) -> Dialect:
    """The dialect whose headers a chat template writes. Raises `BadRequest` when it is no ChatML template.

    `vocabulary_has_actions` tells InternLM2's tokens from other ChatML ones; a template that begins with the begin token
    gets it, whatever it is called."""
    if CHATML.start not in template or CHATML.end not in template:
        raise BadRequest(
            "The model's own chat template is not ChatML.",
            "Use a model with a ChatML template, or serve this one and connect to it with --api-base.",
        )
    dialect = INTERNLM2 if vocabulary_has_actions else CHATML
    return replace(dialect, bos="once" if "bos_token" in template and bos_token else "none", bos_token=bos_token)


def with_default_system(messages: Sequence[Message], default: str) -> tuple[Message, ...]:
    """`messages`, with the model's own system text in front where the conversation brings none."""
    if not messages or not default or any(message.role == "system" for message in messages):
        return tuple(messages)
    return (system(default), *messages)


def render(messages: Sequence[Message], dialect: Dialect, tools: Sequence[ToolSpec] = ()) -> tuple[Piece, ...]:
    """The prompt that asks for the next assistant message; a trailing assistant message is left open to be continued.

    Raises `BadRequest` for an empty conversation, a message name that could forge a header, or a misplaced part."""
    if not messages:
        raise BadRequest("There is nothing to answer.", "Write a message first.")
    pieces: list[Piece] = [Control(dialect.bos_token)] if dialect.bos == "once" else []
    for message in _with_tools(messages, dialect, tools):
        pieces += _message(message, dialect)
    if messages[-1].role == "assistant":
        del pieces[-2:]  # the end token and its newline: the last message stays open
    else:
        pieces += [Control(dialect.start), Plain("assistant\n")]
    return tuple(_merged(pieces))


def as_text(pieces: Sequence[Piece]) -> str:
    """The prompt as one string, for people and golden tests; a backend must never send it."""
    return "".join(_piece_text(piece) for piece in pieces)


def _piece_text(piece: Piece) -> str:
    match piece:
        case Control(token):
            return token
        case Plain(text):
            return text
        case ImageSlot():
            return "<ImageHere>"


def _with_tools(messages: Sequence[Message], dialect: Dialect, tools: Sequence[ToolSpec]) -> list[Message]:
    if not tools:
        return list(messages)
    if dialect.tools == "plugin":
        at = 1 if messages[0].role == "system" else 0
        return [*messages[:at], *_plugin_messages(tools), *messages[at:]]
    signatures = "\n".join(_json({"type": "function", "function": _schema(tool)}) for tool in tools)
    head = messages[0].text + "\n\n" if messages[0].role == "system" else ""
    rest = messages[1:] if messages[0].role == "system" else messages
    return [system(head + _QWEN_TOOLS.format(signatures=signatures)), *rest]


def _plugin_messages(tools: Sequence[ToolSpec]) -> Iterator[Message]:
    for tool in tools:
        if tool.name == INTERPRETER:
            yield Message("system", (Text(tool.description),), INTERPRETER_MARK)
    plugins = [_schema(tool) for tool in tools if tool.name != INTERPRETER]
    if plugins:
        yield Message("system", (Text(_json(plugins)),), PLUGIN_MARK)


def _schema(tool: ToolSpec) -> dict[str, object]:
    return {"name": tool.name, "description": tool.description, "parameters": dict(tool.parameters)}


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _message(message: Message, dialect: Dialect) -> list[Piece]:
    if message.role == "tool":
        return _results(message, dialect)
    pieces: list[Piece] = [Control(dialect.start), *_header(message.role, message.name)]
    for part in message.parts:
        match part:
            case Text(text):
                pieces.append(Plain(text))
            case Image():
                pieces.append(ImageSlot(part))
            case ToolCall():
                pieces += _call(part, dialect)
            case Reasoning():
                pass  # thoughts are shown, not sent back
            case ToolResult():
                raise BadRequest("A tool's result belongs in a tool message.")
    return [*pieces, Control(dialect.end), Plain("\n")]


def _header(role: str, name: str | None) -> list[Piece]:
    if name is None:
        return [Plain(f"{role}\n")]
    if name in (PLUGIN_MARK, INTERPRETER_MARK) and role in ("system", "environment"):  # nobody else speaks for a tool
        return [Plain(f"{role} name="), Control(name), Plain("\n")]
    if not _NAME.fullmatch(name):
        raise BadRequest(f"A message cannot be named {name!r}.", "Use letters, digits, dots, dashes and underscores.")
    return [Plain(f"{role} name={name}\n")]


def _call(call: ToolCall, dialect: Dialect) -> list[Piece]:
    if dialect.tools == "tool_call":
        body = f'\n{{"name": {_json(call.name)}, "arguments": {call.arguments}}}\n'
        return [Plain("\n"), Control(CALL_START), Plain(body), Control(CALL_END)]
    if call.name == INTERPRETER:
        return [Control(ACTION_START), Control(INTERPRETER_MARK), Plain(f"\n{call.arguments}"), Control(ACTION_END)]
    body = f'\n{{"name": {_json(call.name)}, "parameters": {call.arguments}}}'
    return [Control(ACTION_START), Control(PLUGIN_MARK), Plain(body), Control(ACTION_END)]


def _results(message: Message, dialect: Dialect) -> list[Piece]:
    results = [part for part in message.parts if isinstance(part, ToolResult)]
    if len(results) != len(message.parts):
        raise BadRequest("A tool message holds results only.")
    if dialect.tools == "tool_call":
        body = "\n".join(f"<tool_response>\n{result.content}\n</tool_response>" for result in results)
        return [Control(dialect.start), Plain(f"user\n{body}"), Control(dialect.end), Plain("\n")]
    mark = INTERPRETER_MARK if message.name == INTERPRETER else PLUGIN_MARK
    pieces: list[Piece] = []
    for result in results:
        pieces += [Control(dialect.start), *_header("environment", mark), Plain(result.content), Control(dialect.end), Plain("\n")]
    return pieces


def _merged(pieces: Sequence[Piece]) -> Iterator[Piece]:
    """Neighbouring Plain pieces become one: a tokenizer sees the text between two special tokens whole, as in training."""
    text = ""
    for piece in pieces:
        if isinstance(piece, Plain):
            text += piece.text
            continue
        if text:
            yield Plain(text)
            text = ""
        yield piece
    if text:
        yield Plain(text)

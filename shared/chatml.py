"""Prompts: the only place that knows special tokens.

`render` turns messages into a sequence of `Control` (one special token each) and `Plain` (everything else). A backend
encodes Control with special tokens and Plain without and sends ids, so a user who types a special token cannot forge a
turn, and pasted code that contains one stays what it was. Token ids never appear here: they come from the tokenizer.

InternLM v1 writes its role marks as ordinary text, so there a mark that somebody types is taken apart: `<|Bot|>` becomes
`< |Bot|>`; so is the end of a ChatML tool's result inside one. Everywhere else text is sent exactly as it was written.

Does not know any tokenizer, model or backend. A model's own default system text belongs to its `ModelSpec`; a model's own
Jinja template (the dialect `template`) is rendered by `models.prompts.chat_template`.

Sources: InternLM's `chat/chat_format.md` (internlm1, internlm2), Qwen2.5's chat template (the tool format of chatml), the
demos and the `chat()` of InternLM-XComposer2 and 2.5 (xcomposer2 …).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from shared import call_text
from shared.engine import ToolSpec
from shared.errors import BadRequest
from shared.messages import Image, Message, Part, Reasoning, Text, ToolCall, ToolResult, system


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
    """How one family writes a conversation. `start role \\n text end \\n` per message, or with `marks` (by role, ordinary text)
    `mark text \\n`, where `end` closes answers only; `stop` are the strings that end an answer; `bos` says where the begin token
    goes: `once` per prompt, `per_text` (anew behind each picture), or `none`. `pictures` of a user's message stay `inside` its
    text, go `before` its header, or (`numbered`) one goes before it and several become a list at the head of the text."""

    name: str
    start: str
    end: str
    stop: tuple[str, ...]
    tools: Literal["plugin", "tool_call", "none"]
    bos: Literal["once", "per_text", "none"] = "none"
    bos_token: str = "<s>"
    pictures: Literal["inside", "before", "numbered"] = "inside"
    marks: tuple[tuple[str, str], ...] = ()


INTERNLM2 = Dialect("internlm2", "<|im_start|>", "<|im_end|>", ("<|im_end|>", "</s>"), tools="plugin", bos="once")
CHATML = Dialect("chatml", "<|im_start|>", "<|im_end|>", ("<|im_end|>", "<|endoftext|>"), tools="tool_call")
_MARKS = (("system", "<|System|>:"), ("user", "<|User|>:"), ("assistant", "<|Bot|>:"))
INTERNLM1 = Dialect("internlm1", "", "<eoa>", ("<eoa>", "</s>"), tools="none", bos="once", marks=_MARKS)
# The demo of XComposer2-VL; its `chat()` differs in both places. Composition, of either generation, also stops at a third token.
XCOMPOSER2 = Dialect(
    "xcomposer2", "[UNUSED_TOKEN_146]", "[UNUSED_TOKEN_145]", ("[UNUSED_TOKEN_145]", "[UNUSED_TOKEN_146]", "</s>"),
    tools="none", bos="once", pictures="before",
)  # fmt: skip
XCOMPOSER2_CHAT = replace(XCOMPOSER2, name="xcomposer2_chat", bos="per_text", pictures="inside")
XCOMPOSER2_WRITING = replace(XCOMPOSER2, name="xcomposer2_writing", pictures="inside", stop=(*XCOMPOSER2.stop, "[UNUSED_TOKEN_0]"))
XCOMPOSER2D5 = replace(XCOMPOSER2, name="xcomposer2d5", pictures="numbered")
INTERNLM2_UNNAMED = replace(XCOMPOSER2, name="internlm2", pictures="inside")  # its first releases; a `tokenizer.model` alone
TEMPLATE = Dialect("template", "", "", (), tools="none")  # a model's own; see `template_dialect`
_ALL = (INTERNLM1, INTERNLM2, CHATML, XCOMPOSER2, XCOMPOSER2_CHAT, XCOMPOSER2_WRITING, XCOMPOSER2D5, TEMPLATE)
DIALECTS = {dialect.name: dialect for dialect in _ALL}

# The code tool has a block of its own in the internlm2 format: its description is the block, a call carries code, not JSON.
INTERPRETER = "IPythonInterpreter"
ACTION_START, ACTION_END = "<|action_start|>", "<|action_end|>"
PLUGIN_MARK, INTERPRETER_MARK = "<|plugin|>", "<|interpreter|>"
CALL_START, CALL_END, THINK_START, THINK_END = "<tool_call>", "</tool_call>", "<think>", "</think>"
# What transformers' processors write around a picture: its begin and end; before each part, for the whole one, for one part.
INTERNVL_PICTURE = ("<img>", "</img>")
IDEFICS3_PICTURE = ("<fake_token_around_image>", "<global-img>", "<row_{row}_col_{column}>")
PICTURES_OF_TEMPLATES = ("<image>", "<start_of_image>", "[IMG]", "<|image|>")  # what some write where llama.cpp puts the rest
# Around the name and the place of what an answer points at: Qwen-VL and InternVL, then Qwen2-VL; PaliGemma, Florence-2: a number each.
POINTING = ("<ref>", "</ref>", "<box>", "</box>", "<|object_ref_start|>", "<|object_ref_end|>", "<|box_start|>", "<|box_end|>")
POINTING_NUMBER = r"<loc(_?)(\d{1,4})>"
# What a backend must let through as text for those who read answers to see it, although the tokenizer calls it special.
PRESERVED = (ACTION_START, ACTION_END, PLUGIN_MARK, INTERPRETER_MARK, CALL_START, CALL_END, THINK_START, THINK_END, *POINTING)

_QWEN_TOOLS = (
    "# Tools\n\nYou may call one or more functions to assist with the user query.\n\n"
    "You are provided with function signatures within <tools></tools> XML tags:\n<tools>\n{signatures}\n</tools>\n\n"
    "For each function call, return a json object with function name and arguments within <tool_call></tool_call> XML tags:\n"
    '<tool_call>\n{{"name": <function-name>, "arguments": <args-json-object>}}\n</tool_call>'
)
_NAME = re.compile(r"[\w.-]{1,64}")
_TYPED_MARK = re.compile("<(?=" + "|".join(re.escape(mark[1:-1]) for _, mark in _MARKS) + ")", re.IGNORECASE)


def is_chatml(template: str) -> bool:
    """Whether a chat template writes ChatML's headers; one that does not is rendered as it is, with `template_dialect`."""
    return CHATML.start in template and CHATML.end in template


def dialect_of_template(template: str, *, bos_token: str, vocabulary_has_actions: bool) -> Dialect:
    """The dialect whose headers a chat template writes. Raises `BadRequest` when it is no ChatML template.

    `vocabulary_has_actions` tells InternLM2's tokens from other ChatML ones; a template that begins with the begin token
    gets it, whatever it is called."""
    if not is_chatml(template):
        raise BadRequest(
            "The model's own chat template is not ChatML.",
            "Use a model with a ChatML template, or serve this one and connect to it with --api-base.",
        )
    dialect = INTERNLM2 if vocabulary_has_actions else CHATML
    return replace(dialect, bos="once" if "bos_token" in template and bos_token else "none", bos_token=bos_token)


def template_dialect(template: str, *, stop: Sequence[str]) -> Dialect:
    """What to expect of a model that is talked to through its own template: its end tokens, and the tool calls it was taught."""
    return replace(TEMPLATE, stop=tuple(stop), tools="tool_call" if CALL_START in template and "tools" in template else "none")


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
    if not dialect.end:
        raise BadRequest("This model is talked to through its own chat template, and has none.", "Check the dialect in the catalog.")
    pieces: list[Piece] = []
    for message in _with_tools(messages, dialect, tools):
        pieces += _message(message, dialect)
    if messages[-1].role == "assistant":
        del pieces[-2:]  # the end token and its newline: the last message stays open
    elif dialect.marks:
        pieces.append(Plain(dict(dialect.marks)["assistant"]))
    else:
        pieces += [Control(dialect.start), Plain("assistant\n")]
    return tuple(_with_begin_tokens(merged(pieces), dialect))


def divider(marks: Iterable[str]) -> Callable[[str], list[str]]:
    """What cuts a text inside each of `marks`: for tokenizers that find some of their marks in any text."""
    rests: dict[str, list[str]] = {}
    for mark in marks:
        if len(mark) > 1:
            rests.setdefault(mark[0], []).append(re.escape(mark[1:]))
    places = [f"(?<={re.escape(first)})(?={'|'.join(sorted(rest))})" for first, rest in rests.items()]
    return re.compile("|".join(places)).split if places else lambda text: [text]


def as_text(pieces: Sequence[Piece]) -> str:
    """The prompt as one string, for people and golden tests; a backend must never send it."""
    return "".join(_piece_text(piece) for piece in pieces)


def _piece_text(piece: Piece) -> str:
    if isinstance(piece, ImageSlot):
        return "<ImageHere>"
    return piece.token if isinstance(piece, Control) else piece.text


def _with_tools(messages: Sequence[Message], dialect: Dialect, tools: Sequence[ToolSpec]) -> list[Message]:
    if not tools:
        return list(messages)
    if dialect.tools == "none":
        raise BadRequest("This model was not taught to use tools.", "Choose another model, or ask without tools.")
    if dialect.tools == "plugin":
        at = 1 if messages[0].role == "system" and not messages[0].name else 0
        own = {message.name for message in messages if message.role == "system"}
        return [*messages[:at], *(told for told in _plugin_messages(tools) if told.name not in own), *messages[at:]]
    signatures = "\n".join(_json({"type": "function", "function": _schema(tool)}) for tool in tools)
    head = messages[0].text + "\n\n" if messages[0].role == "system" else ""
    rest = messages[1:] if messages[0].role == "system" else messages
    return [system(head + _QWEN_TOOLS.format(signatures=signatures)), *rest]


def _plugin_messages(tools: Sequence[ToolSpec]) -> Iterator[Message]:
    for tool in tools:
        if tool.name == INTERPRETER:
            yield Message("system", (Text(tool.description),), INTERPRETER_MARK)
    if any(tool.name != INTERPRETER for tool in tools):
        yield plugin_message(tools, "{prompt}")


def plugin_message(tools: Sequence[ToolSpec], text: str) -> Message:
    """InternLM2's list of tools with words around it: `{prompt}` in `text` is its place. It takes the place of the bare list."""
    listed = _json([_schema(tool) for tool in tools if tool.name != INTERPRETER])
    return Message("system", (Text(text.replace("{prompt}", listed)),), PLUGIN_MARK)


def _schema(tool: ToolSpec) -> dict[str, object]:
    return {"name": tool.name, "description": tool.description, "parameters": dict(tool.parameters)}


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _message(message: Message, dialect: Dialect) -> list[Piece]:
    if message.role == "tool":
        return _results(message, dialect)
    header = [Control(dialect.start), *_header(message.role, message.name)]
    if dialect.marks:
        header = [Plain(dict(dialect.marks)[message.role])]
    body = [piece for part in message.parts for piece in _part(part, dialect)]
    slots = [piece for piece in body if isinstance(piece, ImageSlot)]
    end = [Control(dialect.end), Plain("\n")] if message.role == "assistant" or not dialect.marks else [Plain("\n")]
    if dialect.marks:
        body = [Plain(_TYPED_MARK.sub("< ", piece.text)) if isinstance(piece, Plain) else piece for piece in merged(body)]
    if not slots or message.role != "user" or dialect.pictures == "inside":
        return [*header, *body, *end]
    text = [piece for piece in body if not isinstance(piece, ImageSlot)]
    if dialect.pictures == "before" or len(slots) == 1:
        return [*slots, *header, *text, *end]
    listed = [piece for number, slot in enumerate(slots, 1) for piece in (Plain(f"Image{number}: "), slot, Plain("; "))]
    return [*header, *listed, *text, *end]


def _part(part: Part, dialect: Dialect) -> list[Piece]:
    match part:
        case Text(text):
            return [Plain(text)]
        case Image():
            return [ImageSlot(part)]
        case ToolCall():
            return _call(part, dialect)
        case Reasoning():
            return []  # thoughts are shown, not sent back
        case ToolResult():
            raise BadRequest("A tool's result belongs in a tool message.")


def _header(role: str, name: str | None) -> list[Piece]:
    if name is None:
        return [Plain(f"{role}\n")]
    if name in (PLUGIN_MARK, INTERPRETER_MARK) and role in ("system", "environment"):  # nobody else speaks for a tool
        return [Plain(f"{role} name="), Control(name), Plain("\n")]
    if not _NAME.fullmatch(name):
        raise BadRequest(f"A message cannot be named {name!r}.", "Use letters, digits, dots, dashes and underscores.")
    return [Plain(f"{role} name={name}\n")]


def _call(call: ToolCall, dialect: Dialect) -> list[Piece]:
    _must_know_tools(dialect)
    if dialect.tools == "tool_call":
        arguments = call_text.as_json(call.arguments) if call.name == INTERPRETER else call.arguments
        body = f'\n{{"name": {_json(call.name)}, "arguments": {arguments}}}\n'
        return [Plain("\n"), Control(CALL_START), Plain(body), Control(CALL_END)]
    if call.name == INTERPRETER:
        return [Control(ACTION_START), Control(INTERPRETER_MARK), Plain(f"\n{call_text.as_code(call.arguments)}"), Control(ACTION_END)]
    body = f'\n{{"name": {_json(call.name)}, "parameters": {call.arguments}}}'
    return [Control(ACTION_START), Control(PLUGIN_MARK), Plain(body), Control(ACTION_END)]


def _results(message: Message, dialect: Dialect) -> list[Piece]:
    _must_know_tools(dialect)
    results = [part for part in message.parts if isinstance(part, ToolResult)]
    if len(results) != len(message.parts):
        raise BadRequest("A tool message holds results only.")
    if dialect.tools == "tool_call":
        body = "\n".join(f"<tool_response>\n{call_text.contained(result.content)}\n</tool_response>" for result in results)
        return [Control(dialect.start), Plain(f"user\n{body}"), Control(dialect.end), Plain("\n")]
    mark = INTERPRETER_MARK if message.name == INTERPRETER else PLUGIN_MARK
    pieces: list[Piece] = []
    for result in results:
        pieces += [Control(dialect.start), *_header("environment", mark), Plain(result.content), Control(dialect.end), Plain("\n")]
    return pieces


def _must_know_tools(dialect: Dialect) -> None:
    if dialect.tools == "none":
        raise BadRequest("The conversation has tool calls, which this model cannot read.", "Start a new one, or choose another model.")


def _with_begin_tokens(pieces: Iterable[Piece], dialect: Dialect) -> Iterator[Piece]:
    due = dialect.bos != "none"
    for piece in pieces:
        picture = isinstance(piece, ImageSlot)
        if due and not (picture and dialect.bos == "per_text"):
            yield Control(dialect.bos_token)
        due = picture and dialect.bos == "per_text"
        yield piece


def merged(pieces: Iterable[Piece]) -> Iterator[Piece]:
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

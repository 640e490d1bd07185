"""Tools for models that were never taught to call any: they are led. First the choice of a tool (or of answering), which can
only be one of the names; then each required argument by itself; or else the answer.

The conversation goes out as plain words, so any dialect will do. A call that was made before is not made again: a weak model
would choose it forever. Knows no budget and runs no tool.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from demos.agent import asking
from demos.agent.asking import Answer, Emit
from demos.agent.events import Exchange
from shared import loose_json
from shared.call_text import without_fence
from shared.chatml import INTERPRETER
from shared.engine import Cancel, Engine, ModelSpec, Sampling, ToolSpec
from shared.events import DoneReason
from shared.messages import Message, Reasoning, Text, ToolCall, ToolResult, assistant, system, user

ANSWER = "answer"  # chosen instead of a tool
SMALL_TALK = "Hello, who are you?"
EXAMPLES = {"calculator": "What is 12 * 7?", INTERPRETER.lower(): "Draw a sine curve."}  # by the tool's name in small letters
_ARGUMENT_TOKENS = 256
_ENDS = {"expression": ("=",)}  # by the argument's name: a weak model goes on to solve what it was to copy
_CODE_TOKENS = 1024


@dataclass(frozen=True, slots=True)
class _Leader:
    engine: Engine
    spec: ModelSpec
    meta: str
    sampling: Sampling
    tools: tuple[ToolSpec, ...]
    cancel: Cancel

    def choosing(self, conversation: Sequence[Message]) -> list[Message]:
        """Examples of choices, then the conversation. Of four wordings tried with a model of 135M this one alone told sums from
        small talk: a question after the conversation was answered with the same tool whatever it was."""
        shown = [(EXAMPLES[tool.name.lower()], tool.name) for tool in self.tools if tool.name.lower() in EXAMPLES]
        examples = [told for task, name in [*shown, (SMALL_TALK, ANSWER)] for told in (user(task), assistant(name))]
        head = [system(_listed(self.tools)), *examples]
        return asking.fitted(self.engine, self.spec, head, _alternating([*in_words(conversation)]), self.sampling, ())

    def said(self, conversation: Sequence[Message], request: Message | None) -> list[Message]:
        head = [system(self.meta)] if self.meta.strip() else []
        said = [*in_words(conversation), *([request] if request else [])]
        return asking.fitted(self.engine, self.spec, head, _alternating(said), self.sampling, ())

    def ask(self, messages: Sequence[Message], sampling: Sampling, emit: Emit) -> Answer:
        return asking.ask(self.engine, self.spec, messages, sampling, tools=(), cancel=self.cancel, emit=emit)


def ask(
    engine: Engine, spec: ModelSpec, meta: str, conversation: Sequence[Message], sampling: Sampling, *, tools: Sequence[ToolSpec],
    cancel: Cancel, emit: Emit,
) -> Answer:  # fmt: skip
    """One turn of a led model: an answer with one call, or with a text. Only the text of an answer is emitted."""
    leader = _Leader(engine, spec, meta, sampling, tuple(tools), cancel)
    names = [tool.name for tool in tools]
    choice = leader.ask(leader.choosing(conversation), replace(sampling, one_of=(*names, ANSWER)), _quiet)
    exchanges = list(choice.exchanges)
    tool = next((tool for tool in tools if tool.name == choice.text), None)
    if choice.reason == "cancelled":
        return Answer("", "", (), "cancelled", tuple(exchanges))
    if tool is not None:
        arguments, reason = _arguments(leader, conversation, tool, exchanges)
        call = ToolCall("call_1", tool.name, arguments)
        if reason == "cancelled":
            return Answer("", "", (), "cancelled", tuple(exchanges))
        if not _was_made(conversation, call):
            return Answer("", "", (call,), reason, tuple(exchanges))
    answer = leader.ask(leader.said(conversation, None), sampling, emit)
    return replace(answer, exchanges=(*exchanges, *answer.exchanges))


def in_words(conversation: Sequence[Message]) -> Iterator[Message]:
    """Calls and results as sentences: for models that have no format for them."""
    names = {part.id: part for message in conversation for part in message.parts if isinstance(part, ToolCall)}
    for message in conversation:
        if message.role == "tool":
            results = [part for part in message.parts if isinstance(part, ToolResult)]
            yield user("\n".join(_result(names.get(part.call_id), part) for part in results))
            continue
        parts = tuple(part for part in message.parts if not isinstance(part, ToolCall | Reasoning))
        if parts:
            yield replace(message, parts=parts, name=None)


def _result(call: ToolCall | None, result: ToolResult) -> str:
    name, given = (call.name, call.arguments) if call else ("the tool", "")
    return f"{name} was called with {given}. {'It failed' if result.error else 'It returned'}: {result.content}"


def _alternating(messages: Sequence[Message]) -> list[Message]:
    """Neighbours of one role as one message: many templates take no other order."""
    found: list[Message] = []
    for message in messages:
        if found and found[-1].role == message.role:
            found[-1] = replace(found[-1], parts=(*found[-1].parts, Text("\n\n"), *message.parts))
        else:
            found.append(message)
    return found


def _listed(tools: Sequence[ToolSpec]) -> str:
    lines = [f"- {tool.name}: {' '.join(tool.description.split())[:300]}" for tool in tools]
    return "\n".join(("You choose the tool for a task.", *lines, f"- {ANSWER}: No tool is needed."))


def _arguments(leader: _Leader, conversation: Sequence[Message], tool: ToolSpec, exchanges: list[Exchange]) -> tuple[str, DoneReason]:
    """The required arguments as JSON, asked for one after the other."""
    properties, required = tool.parameters.get("properties"), tool.parameters.get("required")
    properties = properties if isinstance(properties, Mapping) else {}
    found: dict[str, Any] = {}
    for name in required if isinstance(required, list | tuple) else []:
        schema = properties.get(name)
        schema = schema if isinstance(schema, Mapping) else {}
        answer = _argument(leader, conversation, tool, str(name), schema)
        exchanges += answer.exchanges
        if answer.reason == "cancelled":
            return "", "cancelled"
        found[str(name)] = _value(answer.text, schema, code=tool.name == INTERPRETER)
    return loose_json.write(found), "stop"


def _argument(leader: _Leader, conversation: Sequence[Message], tool: ToolSpec, name: str, schema: Mapping[str, Any]) -> Answer:
    choices = schema.get("enum") if isinstance(schema.get("enum"), list) else None
    choices = ["true", "false"] if schema.get("type") == "boolean" else choices
    what = " ".join(str(schema.get("description", "")).split())[:300]
    needed = f"{name} ({what})" if what else name
    request = user(f"The tool {tool.name} needs: {needed}. Write its value for the question above and nothing else.")
    messages = leader.said(conversation, request)
    code = tool.name == INTERPRETER
    sampling = replace(leader.sampling, max_tokens=min(leader.sampling.max_tokens, _CODE_TOKENS if code else _ARGUMENT_TOKENS))
    if choices:
        return leader.ask(messages, replace(sampling, one_of=tuple(map(str, choices))), _quiet)
    if code or "prefill" not in leader.spec.capabilities:
        return leader.ask(messages, sampling, _quiet)
    begun = assistant(f"{name}: ")
    return leader.ask([*messages, begun], replace(sampling, stop=(*sampling.stop, "\n", *_ENDS.get(name, ()))), _quiet)


def _value(text: str, schema: Mapping[str, Any], *, code: bool) -> Any:
    """The argument in what the model wrote: its type comes from the schema, and what does not fit is judged like any call."""
    if code:
        return without_fence(text)
    text = text.strip().strip("`").strip()
    wanted = schema.get("type")
    if isinstance(schema.get("enum"), list):
        return next((choice for choice in schema["enum"] if str(choice) == text), text)
    if wanted in ("number", "integer", "boolean", "object", "array"):
        try:
            return loose_json.read(text)[0]
        except ValueError:
            return text
    quoted = re.fullmatch(r"""(["'“「])(.*)["'”」]\.?""", text, re.DOTALL)
    return quoted[2] if quoted else text


def _was_made(conversation: Sequence[Message], call: ToolCall) -> bool:
    """Since the user's last task: the same tool with the same arguments."""
    asked = max((at for at, one in enumerate(conversation) if one.role == "user"), default=0)
    parts = [part for one in conversation[asked:] for part in one.parts]
    return any(isinstance(part, ToolCall) and (part.name, part.arguments) == (call.name, call.arguments) for part in parts)


def _quiet(event: object) -> None:
    """The choice and the arguments are no text of the answer: they are seen as a call."""

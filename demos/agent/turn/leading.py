"""Tools for models that were never taught to call any: they are led. First the choice of what the task is about (each tool has
a word), then each argument by itself; or else the answer, which begins with what the tool said.

The conversation goes out as plain words, so any dialect will do. A task gets one call: what a weak model asks for once it has a
result is nonsense, nearly always. Knows no budget and runs no tool.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from demos.agent.events import Exchange
from demos.agent.turn.asking import Answer, Turn
from demos.agent.turn.lessons import TALK, Lesson, choices, fillings, lessons
from shared import loose_json
from shared.call_text import without_fence
from shared.chatml import INTERPRETER
from shared.engine import Cancelled, ToolSpec
from shared.events import TextDelta
from shared.messages import Message, Reasoning, Text, ToolCall, ToolResult, assistant, system, user

_ARGUMENT_TOKENS = 256
_CODE_TOKENS = 1024
_ENDS = {"expression": ("=",)}  # by the parameter's name: a weak model goes on to solve what it was to copy
_MOST_QUOTED = 300  # characters of a result that an answer begins with; a longer one is for the model to sum up
_CHINESE = re.compile(r"[\u4e00-\u9fff]")


@dataclass(frozen=True, slots=True)
class _Leader:
    """One turn. `exchanges` grows with each question to the model."""

    turn: Turn
    meta: str
    lessons: Mapping[str, Lesson]
    exchanges: list[Exchange] = field(default_factory=list)

    def choose(self, conversation: Sequence[Message], tools: Sequence[ToolSpec]) -> ToolSpec | None:
        """Examples of choices, then the conversation: a request behind it was answered with the same tool whatever it asked."""
        words = {self.lessons[tool.name].word: tool for tool in tools}
        lines = [f"- {word}: {_one_line(tool.description)}" for word, tool in words.items()]
        head = [system("\n".join(("You say what a task is about.", *lines, f"- {TALK}: No tool is needed.")))]
        for task, word in choices(self.lessons.values(), _task(conversation)):
            head += [user(task), assistant(word)]
        return words.get(self.ask(self.after(head, conversation), one_of=(*words, TALK)).text)

    def after(self, head: Sequence[Message], conversation: Sequence[Message], *more: Message) -> list[Message]:
        return self.turn.fitted(head, conversation, shape=lambda rest: _alternating([*in_words(rest), *more]))

    def ask(self, messages: Sequence[Message], **sampling: Any) -> Answer:
        """A choice or an argument, which is seen as a call later. Raises `Cancelled`: half of one is none."""
        answer = replace(self.turn, sampling=replace(self.turn.sampling, **sampling), emit=_quiet).ask(messages)
        self.exchanges.extend(answer.exchanges)
        if answer.reason == "cancelled":
            raise Cancelled
        return answer

    def answer(self, conversation: Sequence[Message]) -> Answer:
        """After a tool's result it is begun with that result: a weak model makes up another one."""
        head = [system(self.meta)] if self.meta.strip() else []
        begun = _begun(conversation) if "prefill" in self.turn.spec.capabilities else ""
        if not begun:
            return self.turn.ask(self.after(head, conversation))
        self.turn.emit(TextDelta(begun))
        sampling = replace(self.turn.sampling, stop=(*self.turn.sampling.stop, "\n\n"))  # what it adds later on is nonsense
        answer = replace(self.turn, sampling=sampling).ask(self.after(head, conversation, assistant(begun)))
        return replace(answer, text=begun + answer.text)


def ask(turn: Turn, meta: str, conversation: Sequence[Message], tools: Sequence[ToolSpec]) -> Answer:
    """One turn of a led model: an answer with one call, or with a text. Only the text of an answer is emitted."""
    leader = _Leader(turn, meta, lessons(tools))
    try:
        tool = None if conversation[-1].role == "tool" else leader.choose(conversation, tools)
        if tool is not None:
            call = ToolCall("call_1", tool.name, _arguments(leader, conversation, tool))
            return Answer("", "", (call,), "stop", tuple(leader.exchanges))
        answer = leader.answer(conversation)
    except Cancelled:
        return Answer("", "", (), "cancelled", tuple(leader.exchanges))
    return replace(answer, exchanges=(*leader.exchanges, *answer.exchanges))


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


def _begun(conversation: Sequence[Message]) -> str:
    """The results of the last calls in a sentence; empty where the last word is not a tool's, or is too long to be repeated."""
    results = [part for part in conversation[-1].parts if isinstance(part, ToolResult)] if conversation[-1].role == "tool" else []
    said = [_flat(result.content) for result in results]
    if not said or any(not text or len(text) > _MOST_QUOTED for text in said):
        return ""
    chinese = _CHINESE.search(_task(conversation))
    good, bad, end = ("结果是：", "工具没有成功：", "。") if chinese else ("The result is ", "The tool failed: ", ".")
    ends = tuple(".!?。！？")
    return " ".join(
        f"{bad if result.error else good}{text}{'' if text.endswith(ends) else end}" for result, text in zip(results, said, strict=True)
    )


def _task(conversation: Sequence[Message]) -> str:
    return next((message.text for message in reversed(conversation) if message.role == "user"), "")


def _flat(content: str) -> str:
    """A JSON object of plain values as a line of words, anything else on one line as it is."""
    try:
        value = loose_json.read_whole(content)
    except ValueError:
        value = None
    if isinstance(value, dict) and not any(isinstance(item, dict | list) for item in value.values()):
        content = ", ".join(f"{name} {item}" for name, item in value.items())
    return " ".join(content.split())


def _one_line(text: object) -> str:
    return " ".join(str(text).split())[:300]


def _arguments(leader: _Leader, conversation: Sequence[Message], tool: ToolSpec) -> str:
    """As JSON, asked for one after the other: those that are required, and those that the tool's examples have."""
    properties, required = tool.parameters.get("properties"), tool.parameters.get("required")
    properties = properties if isinstance(properties, Mapping) else {}
    shown = [name for name in leader.lessons[tool.name].parameters if name in properties]
    names = [*(str(name) for name in (required if isinstance(required, list | tuple) else [])), *shown]
    schemas = {name: properties.get(name) for name in names}
    found = {
        name: _argument(leader, conversation, tool, name, schema if isinstance(schema, Mapping) else {}) for name, schema in schemas.items()
    }
    return loose_json.write(found)


def _argument(leader: _Leader, conversation: Sequence[Message], tool: ToolSpec, name: str, schema: Mapping[str, Any]) -> Any:
    code, choices = tool.name == INTERPRETER, schema.get("enum") if isinstance(schema.get("enum"), list) else None
    choices = ["true", "false"] if schema.get("type") == "boolean" else choices
    given = leader.turn.sampling
    sampling: dict[str, Any] = {"max_tokens": min(given.max_tokens, _CODE_TOKENS if code else _ARGUMENT_TOKENS)}
    what = _one_line(schema.get("description", ""))
    needed = f"{name} ({what})" if what else name
    examples = fillings(leader.lessons[tool.name], name, _task(conversation))
    if choices:
        sampling["one_of"] = tuple(map(str, choices))
    elif not code:
        sampling["stop"] = (*given.stop, "\n", *_ENDS.get(name, ()))
    if examples:
        head = [system(f"Write the {name} for the task and nothing else.")]
        for task, value in examples:
            head += [user(task), assistant(value)]
        messages = leader.after(head, conversation)
    else:
        request = user(f"The tool {tool.name} needs: {needed}. Write its value for the question above and nothing else.")
        begun = [assistant(f"{name}: ")] if not (choices or code) and "prefill" in leader.turn.spec.capabilities else []
        messages = leader.after([system(leader.meta)] if leader.meta.strip() else [], conversation, request, *begun)
    return _value(leader.ask(messages, **sampling).text, schema, code=code)


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


def _quiet(event: object) -> None:
    """The choice and the arguments are no text of the answer: they are seen as a call."""

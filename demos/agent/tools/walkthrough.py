"""Function calling in four steps: declare, call, run, answer. Each step as the JSON that goes over the wire.

Plain data for the page, in the current form of the OpenAI format (`tools`, `tool_calls`), which endpoints speak; local models
get the same in their own tags. Runs nothing and knows no tool: the caller says what was called and what came of it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from shared.engine import ToolSpec
from shared.messages import ToolCall, ToolResult

Name = Literal["declare", "call", "run", "answer"]
NAMES: tuple[Name, ...] = ("declare", "call", "run", "answer")
Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Step:
    """`sender` sends `content`: the program to the model, the model to the program, or the program to the tool and back."""

    name: Name
    sender: Literal["program", "model", "tool"]
    content: Json

    @property
    def text(self) -> str:
        """For people: indented, Chinese as it is; half a character, which JSON can hold, becomes a question mark."""
        return json.dumps(self.content, ensure_ascii=False, indent=2).encode("utf-8", "replace").decode("utf-8")


def declare(question: str, tools: Sequence[ToolSpec], model: str = "") -> Step:
    """The question, and the functions the model may ask for."""
    return Step("declare", "program", {**_named(model), "messages": [_user(question)], "tools": [_declared(tool) for tool in tools]})


def call(made: ToolCall) -> Step:
    """The model does not answer: it asks for a function, with arguments."""
    return Step("call", "model", _assistant(made))


def run(made: ToolCall, result: ToolResult) -> Step:
    """The program calls the function; the model has no part in it."""
    return Step("run", "tool", {"name": made.name, "arguments": _parsed(made.arguments), "result": _parsed(result.content)})


def answer(question: str, made: ToolCall, result: ToolResult, text: str) -> Step:
    """The result goes back to the model, which says it in words."""
    sent = [_user(question), _assistant(made), {"role": "tool", "tool_call_id": result.call_id, "content": result.content}]
    return Step("answer", "model", {"messages": [*sent, {"role": "assistant", "content": text}]})


def steps(
    question: str, tools: Sequence[ToolSpec], made: ToolCall, result: ToolResult, text: str, *, model: str = ""
) -> tuple[Step, Step, Step, Step]:
    """All four, of one finished exchange."""
    return declare(question, tools, model), call(made), run(made, result), answer(question, made, result, text)


def _named(model: str) -> dict[str, str]:
    return {"model": model} if model else {}


def _user(question: str) -> Json:
    return {"role": "user", "content": question}


def _assistant(made: ToolCall) -> Json:
    function = {"name": made.name, "arguments": made.arguments}
    return {"role": "assistant", "content": None, "tool_calls": [{"id": made.id, "type": "function", "function": function}]}


def _declared(tool: ToolSpec) -> Json:
    return {"type": "function", "function": {"name": tool.name, "description": tool.description, "parameters": dict(tool.parameters)}}


def _parsed(text: str) -> Any:
    """JSON as what it means, anything else as the text it is."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text

"""What a model's call means: which tool, with which arguments, or what is wrong with it, in words the model can act on.

Knows no engine and runs nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from demos.agent.call import schema
from shared import loose_json
from shared.call_text import as_code, without_fence
from shared.chatml import INTERPRETER
from shared.engine import ToolSpec
from shared.messages import ToolCall

LONGEST = 200_000  # characters of arguments; a longer call is a loop, not a wish


@dataclass(frozen=True, slots=True)
class Judged:
    """`arguments` fit the tool's schema; with a `problem` there are none."""

    arguments: Mapping[str, Any]
    problem: str = ""


def judged(call: ToolCall, specs: Sequence[ToolSpec]) -> Judged:
    """The call, read. A tool that is not there, arguments that cannot be read or do not fit are a `problem` that says so and
    shows the schema."""
    spec = next((spec for spec in specs if spec.name == call.name), None)
    if spec is None:
        names = ", ".join(spec.name for spec in specs) or "none"
        return Judged({}, f"There is no tool named {call.name[:64]!r}. The tools are: {names}.")
    if len(call.arguments) > LONGEST:
        return Judged({}, f"The arguments are {len(call.arguments):,} characters long; {call.name} takes at most {LONGEST:,}.")
    if call.name == INTERPRETER:
        return _code(call, spec)
    try:
        arguments = loose_json.read_whole(call.arguments) if call.arguments.strip() else {}
    except ValueError as error:
        return Judged({}, _told(spec, f"The arguments cannot be read as JSON: {error}."))
    return checked(arguments, spec)


def checked(arguments: object, spec: ToolSpec) -> Judged:
    """Arguments against the schema of their tool, with what could be put right without loss."""
    if not isinstance(arguments, dict):
        return Judged({}, _told(spec, "The arguments must be a JSON object."))
    fit = schema.fitted(arguments, spec.parameters)
    found = schema.problems(fit, spec.parameters)
    return Judged({}, _told(spec, f"The arguments do not fit: {'; '.join(found)}.")) if found else Judged(fit)


def _code(call: ToolCall, spec: ToolSpec) -> Judged:
    """The code tool takes code as it stands, in a fence, or as JSON."""
    properties = spec.parameters.get("properties")
    names = list(properties) if isinstance(properties, Mapping) else []
    code = without_fence(as_code(call.arguments))
    if not code.strip():
        return Judged({}, "There is no code to run.")
    return Judged({names[0] if names else "command": code})


def _told(spec: ToolSpec, problem: str) -> str:
    return f"{problem} {spec.name} takes: {loose_json.write(spec.parameters)}. Call it again with arguments that fit."

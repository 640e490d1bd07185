"""A tool as a form that a person fills in, what was filled in as arguments, and the call made of them.

Plain values for a page: `dataclasses.asdict` of a field is JSON. Everything a form sends is a string until it is read here.
Knows no page and no model; asks nobody, because who presses Run has said yes.
"""

from __future__ import annotations

import time
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

from demos.agent.call import schema
from demos.agent.toolbox import Outcome, Toolbox
from demos.agent.tools import Tool
from demos.strings import Strings
from shared import loose_json
from shared.chatml import INTERPRETER
from shared.engine import Cancel, ToolSpec
from shared.errors import BadRequest

LONGEST = 200_000  # characters of one field
Kind = Literal["text", "number", "integer", "choice", "switch", "code", "json"]
_KINDS: Mapping[object, Kind] = {"string": "text", "integer": "integer", "number": "number", "boolean": "switch"}
_WANTED: Mapping[Kind, str] = {"integer": "a whole number", "number": "a number", "switch": "true or false"}
_NONE: Mapping[str, object] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Field:
    """One input. `default` is what stands in it at first, None for nothing; `json` is for lists and objects."""

    name: str
    kind: Kind
    required: bool
    default: Any
    description: str
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Tried:
    """What came of it, with what it was called, and how many seconds it took."""

    outcome: Outcome
    arguments: Mapping[str, object]
    seconds: float


def form(spec: ToolSpec, example: Mapping[str, object] = _NONE) -> list[Field]:
    """The fields of a tool, those it needs first, with the values of `example` in them, or else its own defaults."""
    properties, required = _properties(spec), _required(spec)
    fields = [_field(spec, name, item, name in required, example.get(name)) for name, item in properties.items()]
    return sorted(fields, key=lambda item: not item.required)


def example(tool: Tool, spec: ToolSpec, t: Strings, files: Sequence[str] = ()) -> Mapping[str, object]:
    """Values with which Run shows something at once. `files` are the names in the work folder: the first of them is read."""
    properties = _properties(spec)
    if not tool.text:
        return {name: value for name, value in tool.example.items() if name in properties}
    value = (files[0] if files else ".") if tool.text == "files" else t(f"tools.{tool.text}_example")
    return {next(iter(properties)): value}


def arguments(spec: ToolSpec, values: Mapping[str, object]) -> dict[str, object]:
    """What a form sent, with the types of the schema; what is optional and empty is left out. Raises `BadRequest` naming the field."""
    properties, required = _properties(spec), _required(spec)
    unknown = [str(name)[:80] for name in values if name not in properties]
    if unknown:
        raise BadRequest(f"{spec.name} has no {unknown[0]!r}.", f"It takes: {', '.join(properties) or 'nothing'}.")
    found: dict[str, object] = {}
    for name, item in properties.items():
        value = values.get(name)
        if value is not None and not (isinstance(value, str) and not value.strip()):
            found[name] = _typed(_field(spec, name, item, True, None), value, item)
        elif name in required:
            raise BadRequest(f"{name} is empty.", "Fill it in.")
    return found


def tried(
    toolbox: Toolbox, name: str, values: Mapping[str, object], cancel: Cancel,
    on_output: Callable[[str], None] = lambda text: None, *, now: Callable[[], float] = time.monotonic,
) -> Tried:  # fmt: skip
    """Call the tool `name` with what its form sent. Raises `BadRequest` for a tool that is not there and for a field that does not
    fit; what goes wrong in the tool is an outcome with `error`."""
    spec = next((spec for spec in toolbox.specs() if spec.name == name), None)
    if spec is None:
        raise BadRequest(f"There is no tool {name[:80]!r}.", f"There is: {', '.join(spec.name for spec in toolbox.specs()) or 'none'}.")
    given = arguments(spec, values)
    began = now()
    outcome = toolbox.call(name, given, cancel=cancel, on_output=on_output)
    return Tried(outcome, given, now() - began)


def _field(spec: ToolSpec, name: str, item: Mapping[str, Any], required: bool, value: object) -> Field:
    options = tuple(str(option) for option in item.get("enum") or ())
    kind = "choice" if options else _KINDS.get(item.get("type"), "json")
    if kind == "text" and spec.name == INTERPRETER:
        kind = "code"
    default = item.get("default") if value is None else value
    if kind == "json" and default is not None:
        default = loose_json.write(default)
    return Field(name, kind, required, default, str(item.get("description", "")), options)


def _typed(field: Field, value: object, item: Mapping[str, Any]) -> object:
    if isinstance(value, str) and len(value) > LONGEST:
        raise BadRequest(f"{field.name} is {len(value):,} characters long.", f"At most {LONGEST:,} can be sent.")
    if isinstance(value, str) and field.kind == "json":
        value = _json(field.name, value)
    elif isinstance(value, str) and field.kind in _WANTED:
        value = unicodedata.normalize("NFKC", value)  # ３ is a 3
    fit = schema.fitted(value, item)
    problem = next(iter(schema.problems(fit, item)), "")
    if not problem:
        return fit
    if field.kind in _WANTED and schema.problems(fit, {"type": item["type"]}):
        raise BadRequest(f"{field.name} is not {_WANTED[field.kind]}.", "Correct it and try again.")
    raise BadRequest(f"{problem.replace('the arguments', field.name)}.", "Correct it and try again.")


def _json(name: str, value: str) -> Any:
    try:
        return loose_json.read_whole(value)
    except ValueError as error:
        raise BadRequest(f"{name} is not valid JSON: {error}.", 'Write it like ["a", "b"] or {"a": 1}.') from error


def _properties(spec: ToolSpec) -> Mapping[str, Mapping[str, Any]]:
    properties = spec.parameters.get("properties")
    return properties if isinstance(properties, Mapping) else {}


def _required(spec: ToolSpec) -> Sequence[str]:
    required = spec.parameters.get("required")
    return required if isinstance(required, list | tuple) else ()

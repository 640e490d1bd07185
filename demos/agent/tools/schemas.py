"""lagent's description of a tool as a JSON schema.

lagent knows STRING, NUMBER (an int), FLOAT, BOOLEAN and Array, and loses the rest: `list[str]` becomes STRING, choices and
defaults vanish. Names, texts and what is required come from its description; types are refined from the annotations where there
are any. Optional parameters stay. Knows nothing of prompts, pages or forms.
"""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, Literal, get_args, get_origin

from shared.engine import ToolSpec

_OF_LAGENT = {"STRING": "string", "NUMBER": "integer", "FLOAT": "number", "BOOLEAN": "boolean", "ARRAY": "array"}
_OF_PYTHON: dict[Any, str] = {
    str: "string",
    int: "integer",
    float: "number",
    bool: "boolean",
    list: "array",
    tuple: "array",
    dict: "object",
}


def specs_of(action: Any) -> Iterator[tuple[str, ToolSpec]]:
    """Method and spec of each call an action offers; a toolkit's are named `Toolkit.method`, as lagent names them."""
    description = action.description
    if not action.is_toolkit:
        yield "run", ToolSpec(description["name"], description["description"], schema(description, action.run))
        return
    for api in description["api_list"]:
        name = f"{description['name']}.{api['name']}"
        yield api["name"], ToolSpec(name, _both(description["description"], api["description"]), schema(api, getattr(action, api["name"])))


def schema(description: Mapping[str, Any], method: Callable[..., object]) -> dict[str, object]:
    """The JSON schema of one call's arguments."""
    hints, defaults = _hints(method), _defaults(method)
    properties = {item["name"]: _property(item, hints, defaults) for item in description["parameters"]}
    return {"type": "object", "properties": properties, "required": list(description["required"]), "additionalProperties": False}


def _property(item: Mapping[str, Any], hints: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, object]:
    name = item["name"]
    kind = _of_hint(hints[name]) if name in hints else {}
    made: dict[str, object] = kind or {"type": _OF_LAGENT.get(str(item.get("type", "")).upper(), "string")}
    about = item.get("description") or _note(hints.get(name))
    if about:
        made["description"] = " ".join(str(about).split())
    if defaults.get(name) is not None and isinstance(defaults[name], str | int | float | bool):
        made["default"] = defaults[name]
    return made


def _of_hint(hint: Any) -> dict[str, object]:
    """The schema of an annotation; empty when it says nothing we know."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _of_hint(inner[0])
    if origin in (typing.Union, types.UnionType):
        kept = [item for item in inner if item is not type(None)]
        return _of_hint(kept[0]) if len(kept) == 1 else {}
    if origin is Literal and all(isinstance(item, str) for item in inner):
        return {"type": "string", "enum": list(inner)}
    name = _OF_PYTHON.get(origin or hint)
    if name == "array" and inner:
        return {"type": "array", "items": _of_hint(inner[0])}
    return {"type": name} if name else {}


def _note(hint: Any) -> str:
    """The text in `Annotated[str, "text"]`, which lagent misses where annotations are strings."""
    return next((item for item in get_args(hint)[1:] if isinstance(item, str)), "") if get_origin(hint) is Annotated else ""


def _hints(method: Callable[..., object]) -> Mapping[str, Any]:
    try:
        return typing.get_type_hints(inspect.unwrap(method), include_extras=True)
    except (NameError, TypeError, AttributeError, SyntaxError):  # annotations that only a type checker can resolve
        return {}


def _defaults(method: Callable[..., object]) -> Mapping[str, Any]:
    parameters = inspect.signature(method).parameters.values()
    return {item.name: item.default for item in parameters if item.default is not inspect.Parameter.empty}


def _both(first: str, second: str) -> str:
    return " ".join(" ".join(f"{first}\n{second}".split()).split())

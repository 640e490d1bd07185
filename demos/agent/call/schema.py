"""Whether arguments fit a tool's JSON schema: the part of JSON schema that tools use. Knows nothing of tools.

What models often write a little beside the schema is put right where nothing can be lost by it (`fitted`); the rest is told.

Checked: type, enum, const, required, properties, additionalProperties, items, minimum, maximum, minLength, maxLength,
minItems, maxItems, anyOf. Other words of a schema are not looked at.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

MOST = 5  # problems told at once
_TYPES: dict[str, Callable[[Any], bool]] = {
    "object": lambda value: isinstance(value, Mapping),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool) and abs(value) != math.inf and value == value,
    "integer": lambda value: (isinstance(value, int) and not isinstance(value, bool)) or (isinstance(value, float) and value.is_integer()),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
}
_BOUNDS: tuple[tuple[str, str, Callable[[Any, Any], bool]], ...] = (
    ("minimum", "is at least", lambda value, bound: value >= bound),
    ("maximum", "is at most", lambda value, bound: value <= bound),
    ("minLength", "has at least this many characters:", lambda value, bound: len(value) >= bound),
    ("maxLength", "has at most this many characters:", lambda value, bound: len(value) <= bound),
    ("minItems", "has at least this many items:", lambda value, bound: len(value) >= bound),
    ("maxItems", "has at most this many items:", lambda value, bound: len(value) <= bound),
)
_WHOLE = re.compile(r"[+-]?[0-9]{1,18}(?:\.0+)?")
_NUMBER = re.compile(r"[+-]?(?:[0-9]{1,18}\.?[0-9]{0,18}|\.[0-9]{1,18})(?:[eE][+-]?[0-9]{1,2})?")


def fitted(value: Any, schema: object) -> Any:
    """`value` with what can be put right without loss: null for an optional argument is left out, "3" is a 3 and 3.0 a 3 where a
    number is wanted, 3 is "3" where a text is, "True" is true, and a choice may be written in other capitals.

    A decimal is no text (3.10 would become 3.1), one text is no list, 1 is not true: `problems` tells those."""
    if not isinstance(schema, Mapping):
        return value
    options = schema.get("anyOf")
    if isinstance(options, list):
        tried = [value, *(fitted(value, option) for option in options)]
        return next((one for one in tried if not problems(one, schema)), value)
    if isinstance(value, Mapping):
        return _members_fitted(value, schema)
    if isinstance(value, list):
        return [fitted(item, schema.get("items")) for item in value]
    return _choice(_scalar(value, _kinds(schema)), schema)


def _members_fitted(value: Mapping[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
    properties, required = schema.get("properties"), schema.get("required")
    properties = properties if isinstance(properties, Mapping) else {}
    needed = required if isinstance(required, list) else []
    fit = {name: fitted(item, properties.get(name)) for name, item in value.items()}
    return {
        name: item
        for name, item in fit.items()
        if item is not None or name in needed or name not in properties or not problems(None, properties[name])
    }


def _scalar(value: Any, kinds: list[str]) -> Any:
    if not kinds or any(_TYPES[kind](value) for kind in kinds if kind != "integer"):
        return value
    if "integer" in kinds and (_TYPES["integer"](value) or (isinstance(value, str) and _WHOLE.fullmatch(value.strip()))):
        return int(value) if not isinstance(value, str) else int(value.strip().partition(".")[0])
    if "number" in kinds and isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
        return float(value)
    if "boolean" in kinds and isinstance(value, str) and value.strip().lower() in ("true", "false"):
        return value.strip().lower() == "true"
    return str(value) if "string" in kinds and isinstance(value, int) and not isinstance(value, bool) else value


def _choice(value: Any, schema: Mapping[str, Any]) -> Any:
    choices = schema.get("enum")
    if not isinstance(choices, list) or value in choices or not isinstance(value, str):
        return value
    same = [choice for choice in choices if isinstance(choice, str) and choice.casefold() == value.strip().casefold()]
    return same[0] if len(same) == 1 else value


def problems(value: object, schema: Mapping[str, Any]) -> list[str]:
    """What does not fit, in words; empty when all does."""
    found = []
    for problem in _problems(value, schema, "the arguments"):
        found.append(problem)
        if len(found) == MOST:
            break
    return found


def _problems(value: Any, schema: Any, where: str) -> Iterator[str]:
    if not isinstance(schema, Mapping):
        return
    options = schema.get("anyOf")
    if isinstance(options, list) and options and all(any(_problems(value, option, where)) for option in options):
        yield f"{where} fit none of the forms it may have"
        return
    kinds = _kinds(schema)
    if kinds and not any(_TYPES[kind](value) for kind in kinds):
        yield f"{where} must be {' or '.join(kinds)}, not {_kind(value)}"
        return
    if isinstance(schema.get("enum"), list) and value not in schema["enum"]:
        yield f"{where} must be one of {', '.join(map(repr, schema['enum']))}"
    if "const" in schema and value != schema["const"]:
        yield f"{where} must be {schema['const']!r}"
    yield from _out_of_bounds(value, schema, where)
    if isinstance(value, Mapping):
        yield from _members(value, schema, where)
    elif isinstance(value, list):
        for number, item in enumerate(value, 1):
            yield from _problems(item, schema.get("items"), f"item {number} of {where}")


def _members(value: Mapping[str, Any], schema: Mapping[str, Any], where: str) -> Iterator[str]:
    properties = schema.get("properties")
    properties = properties if isinstance(properties, Mapping) else {}
    required = schema.get("required")
    inside = "" if where == "the arguments" else f" in {where}"
    for name in required if isinstance(required, list) else []:
        if name not in value:
            yield f"{name!r} is missing{inside}"
    for name, item in value.items():
        if name in properties:
            yield from _problems(item, properties[name], repr(name))
        elif schema.get("additionalProperties") is False or (properties and "additionalProperties" not in schema):
            yield f"there is no {name!r}{inside}"


def _out_of_bounds(value: Any, schema: Mapping[str, Any], where: str) -> Iterator[str]:
    for word, words, holds in _BOUNDS:
        bound = schema.get(word)
        if isinstance(bound, bool) or not isinstance(bound, int | float):
            continue
        measured = _TYPES["number"](value) if word in ("minimum", "maximum") else isinstance(value, str if "Length" in word else list)
        if measured and not holds(value, bound):
            yield f"{where} {words} {bound}"


def _kinds(schema: Mapping[str, Any]) -> list[str]:
    wanted = schema.get("type")
    return [kind for kind in (wanted if isinstance(wanted, list) else [wanted]) if isinstance(kind, str) and kind in _TYPES]


def _kind(value: Any) -> str:
    return next(
        (kind for kind in ("null", "boolean", "integer", "number", "string", "array", "object") if _TYPES[kind](value)),
        type(value).__name__,
    )

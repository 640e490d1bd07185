"""A run's events as JSON-ready values and back, exactly; whatever is not what `encoded` writes is refused.

Goes by the types of the dataclasses' fields, so an event that is new is recorded without a line here. Knows no files.
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any, Literal, get_args, get_origin, get_type_hints

from demos.agent.events import Kept
from shared.messages import Message, from_json, to_json

_KINDS = {kind.__name__: kind for kind in get_args(Kept)}


def encoded(value: Any) -> Any:
    """An event, or what stands in one."""
    if isinstance(value, Message):
        return to_json(value)
    if is_dataclass(value) and not isinstance(value, type):
        content = {field.name: encoded(getattr(value, field.name)) for field in fields(value)}
        return {"type": type(value).__name__, **content} if type(value).__name__ in _KINDS else content
    return [encoded(item) for item in value] if isinstance(value, tuple) else value


def event(value: Any) -> Kept:
    """The event that `encoded` made this of. Raises `ValueError`."""
    if not isinstance(value, Mapping) or not isinstance(value.get("type"), str) or value["type"] not in _KINDS:
        raise ValueError("an event has a known type")
    found: Kept = _made(_KINDS[value["type"]], {key: item for key, item in value.items() if key != "type"})
    return found


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def _made(kind: type, value: Any) -> Any:
    hints = {field.name: _hints(kind)[field.name] for field in fields(kind)}
    if not isinstance(value, Mapping) or set(value) != set(hints):
        raise ValueError(f"{kind.__name__} has the fields {', '.join(hints)}")
    return kind(**{name: _decoded(hint, value[name], f"{kind.__name__}.{name}") for name, hint in hints.items()})


def _decoded(hint: Any, value: Any, where: str) -> Any:
    if hint is Message:
        return from_json(value)
    if get_origin(hint) is tuple:
        if not isinstance(value, list):
            raise ValueError(f"{where} is a list")
        return tuple(_decoded(get_args(hint)[0], item, where) for item in value)
    if get_origin(hint) is Literal:
        if value not in get_args(hint):
            raise ValueError(f"{where} is one of {', '.join(map(str, get_args(hint)))}")
        return value
    if isinstance(hint, types.UnionType):
        raise TypeError(f"{where}: a union is not recorded")
    if isinstance(hint, type) and is_dataclass(hint):
        return _made(hint, value)
    if type(value) not in ((int, float) if hint is float else (hint,)) or (hint in (int, float) and not -1e15 < value < 1e15):
        raise ValueError(f"{where} is {hint.__name__}")
    return float(value) if hint is float else value

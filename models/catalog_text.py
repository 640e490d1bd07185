"""Specs as the text of a catalog file, the way `catalog.read` reads it. Writes no file."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import MISSING, fields
from typing import Any

from shared.engine import ModelSpec, Sampling, Source
from shared.errors import BadRequest

_HEAD = "# Models added on the page of models. Keys are those of the built-in catalog.\n"


def written(specs: Iterable[ModelSpec]) -> str:
    """One [[model]] table each; fields at their defaults are left out. Raises `BadRequest` for text that TOML cannot hold."""
    return _HEAD + "".join(_model(spec) for spec in specs)


def _model(spec: ModelSpec) -> str:
    lines = ["", "[[model]]", *_lines(spec, leave_out=("sources", "sampling"))]
    if spec.sampling != Sampling():
        lines.append(f"sampling = {_inline(dict(_changed(spec.sampling)))}")
    for source in spec.sources:
        lines += ["", "[[model.source]]", *_lines(source)]
    return "\n".join(lines) + "\n"


def _lines(value: ModelSpec | Source, leave_out: tuple[str, ...] = ()) -> Iterator[str]:
    for name, held in _changed(value):
        if name not in leave_out:
            yield f"{name} = {_value(held)}"


def _changed(value: ModelSpec | Source | Sampling) -> Iterator[tuple[str, Any]]:
    for item in fields(value):
        held = getattr(value, item.name)
        default = item.default_factory() if item.default_factory is not MISSING else item.default
        if held != default:
            yield item.name, held


def _value(held: Any) -> str:
    match held:
        case bool():
            return "true" if held else "false"
        case int() | float():
            return repr(held)
        case str():
            return _text(held)
        case Mapping():
            return _inline(held)
        case frozenset():
            return _value(sorted(held))
        case tuple() | list():
            return "[" + ", ".join(_value(one) for one in held) + "]"
    raise BadRequest(f"A model with {type(held).__name__} in its description cannot be kept.")


def _inline(table: Mapping[str, Any]) -> str:
    return "{ " + ", ".join(f"{_text(key)} = {_value(held)}" for key, held in table.items()) + " }"


def _text(held: str) -> str:
    """A TOML basic string is a JSON string, but for one control character and for halves of characters."""
    try:
        held.encode("utf-8")
    except UnicodeEncodeError as error:
        raise BadRequest(f"A name of this model is no text: {held!r}.") from error
    return json.dumps(held, ensure_ascii=False).replace("\x7f", "\\u007f")

"""JSON as models write it: strict JSON first, then with single quotes, Python's words, bare keys and trailing commas.

What was cut off is not completed: a value that never closes raises, because running half of what somebody meant is worse
than asking again. Knows nothing of tools.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

DEEPEST = 64  # levels of nesting; deeper ones are an attack or a loop
_SPACE = re.compile(r"\s*")
_NUMBER = re.compile(r"-?(?:0|[1-9]\d{0,300})(?:\.\d+)?(?:[eE][+-]?\d{1,3})?(?![\w.])")
_WORD = re.compile(r"[A-Za-z_]\w*")
_WORDS = {"true": True, "True": True, "false": False, "False": False, "null": None, "None": None}
_CODE = re.compile(r"u[0-9a-fA-F]{4}|x[0-9a-fA-F]{2}|U(?:0010|000[0-9a-fA-F])[0-9a-fA-F]{4}")  # JSON's, and Python's
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "/": "/", "\\": "\\", '"': '"', "'": "'", "\n": ""}


def read(text: str, at: int = 0) -> tuple[Any, int]:
    """The value that begins at `at` (blanks before it are skipped) and where it ends. Raises `ValueError` where there is none."""
    at = _skip(text, at)
    try:
        value, end = json.JSONDecoder(strict=False, parse_constant=_refuse, parse_float=_finite).raw_decode(text, at)
    except ValueError:
        value, end = _value(text, at, 0)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if _depth(value) > DEEPEST:
        raise ValueError("nested too deeply")
    return value, end


def read_whole(text: str) -> Any:
    """The value that `text` is. Raises `ValueError` where something else stands beside it."""
    value, end = read(text)
    if text[end:].strip():
        raise ValueError("there is more behind the value")
    return value


def write(value: Any) -> str:
    """As JSON on one line, Chinese as it is; half a surrogate pair is escaped, because no file or tokenizer takes it."""
    text = json.dumps(value, ensure_ascii=False)
    return text if is_text(text) else json.dumps(value)


def is_text(text: str) -> bool:
    """Whether a file, a socket or a tokenizer would take it: half a surrogate pair is no text."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _refuse(word: str) -> Any:
    raise ValueError(f"{word} is no JSON")


def _finite(text: str) -> float:
    """Python reads 1e999 as infinity, and would write that as something that is no JSON."""
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"{text[:20]} is too large a number")
    return value


def _depth(value: Any) -> int:
    deepest, level = 0, [value]
    while level and deepest <= DEEPEST:
        deepest += 1
        level = [inner for one in level if isinstance(one, dict | list) for inner in (one.values() if isinstance(one, dict) else one)]
    return deepest


def _skip(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at


def _value(text: str, at: int, depth: int) -> tuple[Any, int]:
    at = _skip(text, at)
    if depth > DEEPEST or at >= len(text):
        raise ValueError("nested too deeply" if depth > DEEPEST else "it ends too early")
    first = text[at]
    if first == "{":
        return _items(text, at, "}", depth)
    if first == "[":
        return _items(text, at, "]", depth)
    if first in "\"'":
        return _string(text, at)
    if number := _NUMBER.match(text, at):
        return json.loads(number[0], parse_float=_finite), number.end()
    word = _WORD.match(text, at)
    if word is None or word[0] not in _WORDS:
        raise ValueError(f"no value at {text[at : at + 20]!r}")
    return _WORDS[word[0]], word.end()


def _items(text: str, at: int, close: str, depth: int) -> tuple[Any, int]:
    """An object or a list, from its opening bracket on."""
    keyed: dict[str, Any] = {}
    listed: list[Any] = []
    at = _skip(text, at + 1)
    while not text.startswith(close, at):
        if close == "}":
            key, at = _key(text, at)
            keyed[key], at = _value(text, at, depth + 1)
        else:
            item, at = _value(text, at, depth + 1)
            listed.append(item)
        at = _skip(text, at)
        if text.startswith(",", at):
            at = _skip(text, at + 1)
        elif not text.startswith(close, at):
            raise ValueError(f"no {close} at {text[at : at + 20]!r}" if text[at:] else "it ends too early")
    return (keyed if close == "}" else listed), at + 1


def _key(text: str, at: int) -> tuple[str, int]:
    bare = _WORD.match(text, at)
    if bare is not None:
        key, at = bare[0], bare.end()
    elif text[at : at + 1] in ("'", '"'):
        key, at = _string(text, at)
    else:
        raise ValueError(f"no key at {text[at : at + 20]!r}")
    at = _skip(text, at)
    if not text.startswith(":", at):
        raise ValueError(f"no colon at {text[at : at + 20]!r}")
    return key, at + 1


def _string(text: str, at: int) -> tuple[str, int]:
    """From its quote on. A single quote ends it only where something may follow a value: what's is one word."""
    quote, out, at = text[at], [], at + 1
    while at < len(text):
        char = text[at]
        if char == "\\":
            piece, at = _escape(text, at)
            out.append(piece)
        elif char == quote and (quote == '"' or text[_skip(text, at + 1) : _skip(text, at + 1) + 1] in ("", ",", ":", "}", "]")):
            return "".join(out), at + 1
        else:
            out.append(char)
            at += 1
    raise ValueError("a text does not end")


def _escape(text: str, at: int) -> tuple[str, int]:
    after = text[at + 1 : at + 2]
    code = _CODE.match(text, at + 1)
    if code is not None:
        return chr(int(code[0][1:], 16)), code.end()
    return _ESCAPES.get(after, "\\" + after), at + 2

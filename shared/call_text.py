"""What stands inside a tool block, read and written: names and arguments of calls, code as JSON and back.

Does not know the tags around a call, any dialect, or which tools there are.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from typing import Any

from shared import loose_json

CODE_PARAMETER = "command"  # lagent's name for what its interpreter runs
_FENCE = re.compile(r"```[\w+-]*[ \t]*\n?(.*?)(?:```|\Z)", re.DOTALL)
_RESULT_TAG = re.compile(r"<(?=\s*(?:/\s*)?tool_response)", re.IGNORECASE)
_BROKEN = re.compile(
    r"""\s*\{\s*["']name["']\s*:\s*["']([\w.-]{1,64})["']\s*(?:,\s*["'](?:parameters|arguments)["']\s*:\s*(.*))?""", re.DOTALL
)


def read_calls(body: str) -> tuple[list[tuple[str, str]], str]:
    """(name, arguments as JSON text) of every call in a block, and what stands behind them.

    A call whose JSON is broken but whose name can be made out comes with its arguments as they are, so that the model can be
    told what is wrong with them. No calls: the block is none, and its text is not touched."""
    text = _unfenced(body)
    calls: list[tuple[str, str]] = []
    at = 0
    while True:
        try:
            value, end = loose_json.read(text, at)
        except ValueError:
            break
        found = [_call(item) for item in (value if isinstance(value, list) else [value])]
        whole = [call for call in found if call is not None]
        if not found or len(whole) != len(found):
            break
        calls += whole
        at = end
    if calls:
        return calls, text[at:]
    broken = _BROKEN.match(text)
    return ([(broken[1], _without_last_brace(broken[2] or ""))], "") if broken else ([], "")


def is_whole(body: str, *, code: bool) -> bool:
    """Whether a block whose end is missing could end here: another one begins right behind it."""
    if code:
        return body.count("```") >= 2 and body.rstrip().endswith("```")
    calls, rest = read_calls(body)
    return bool(calls) and not rest.strip() and not _is_broken(body)


def is_complete(arguments: str) -> bool:
    """Whether arguments are a whole JSON value, or code up to the end of its fence: nothing of them was cut off."""
    return is_whole(arguments, code=True) or _is_json(arguments)


def as_code(arguments: str) -> str:
    """The code of a call, however it was written: as JSON, or as it is."""
    try:
        value = loose_json.read_whole(arguments)
    except ValueError:
        return arguments
    code = value.get(CODE_PARAMETER) if isinstance(value, dict) else None
    return code if isinstance(code, str) else arguments


def as_json(arguments: str, parameter: str = CODE_PARAMETER) -> str:
    """Arguments that are surely a JSON object, for formats that take nothing else: anything else becomes its one value."""
    try:
        value = loose_json.read_whole(arguments) if arguments.strip() else {}
    except ValueError:
        value = None
    return loose_json.write(value if isinstance(value, dict) else {parameter: arguments})


def contained(result: str) -> str:
    """A tool's result that cannot end the block it stands in: `</tool_response>` is ordinary text to many tokenizers, and what
    came behind it would be read as the user's own words."""
    return _RESULT_TAG.sub("< ", result)


def without_fence(code: str) -> str:
    """The code in its first fence; all of it where there is none, and where all of it is Python: a fence may stand in a string."""
    found = None if _is_python(code) else _FENCE.search(code)
    return (found[1] if found else code).strip("\n")


def _is_python(code: str) -> bool:
    try:
        ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # also what is too deep for its parser, and a NUL
        return False
    return True


def _unfenced(body: str) -> str:
    stripped = body.strip()
    if stripped.startswith("```") and (found := _FENCE.fullmatch(stripped)):
        return found[1]
    return body


def _call(value: Any) -> tuple[str, str] | None:
    if isinstance(value, Mapping) and isinstance(value.get("function"), Mapping):
        value = value["function"]
    if not isinstance(value, Mapping) or not isinstance(value.get("name"), str) or not value["name"].strip():
        return None
    arguments: Any = next((value[key] for key in _argument_keys(value)), {})
    written = arguments if isinstance(arguments, str) else loose_json.write({} if arguments is None else arguments)
    return (value["name"], written) if loose_json.is_text(value["name"] + written) else None


def _argument_keys(value: Mapping[str, Any]) -> Iterator[str]:
    return (key for key in ("parameters", "arguments") if key in value)


def _is_broken(body: str) -> bool:
    try:
        loose_json.read(_unfenced(body))
    except ValueError:
        return True
    return False


def _is_json(text: str) -> bool:
    try:
        loose_json.read_whole(text)
    except ValueError:
        return False
    return True


def _without_last_brace(text: str) -> str:
    """Arguments without the brace that closed the call around them."""
    text = text.strip()
    return text[:-1].rstrip() if text.endswith("}") and text.count("}") > text.count("{") else text

"""JSON as models write it, and what stands in tool blocks."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared import loose_json
from shared.call_text import as_code, as_json, contained, is_complete, is_whole, read_calls, without_fence

values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**12), 10**12) | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=12,
)


@given(values)
def test_json_is_read_as_it_is(value: Any) -> None:
    assert loose_json.read_whole(json.dumps(value)) == value
    assert loose_json.read_whole(loose_json.write(value)) == value


@given(st.text(max_size=60))
def test_anything_else_is_a_value_error(text: str) -> None:
    try:
        value, end = loose_json.read(text)
    except ValueError:
        return
    assert 0 < end <= len(text) and json.loads(json.dumps(value)) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{'a': 'b'}", {"a": "b"}),
        ("{'a': True, 'b': None, 'c': [1, 2,],}", {"a": True, "b": None, "c": [1, 2]}),
        ("{a: 1.5e3, b_2: -0.5}", {"a": 1500.0, "b_2": -0.5}),
        ("{'q': 'what's up', 'z': 1}", {"q": "what's up", "z": 1}),
        ("{'q': '上海\\n\\u5317'}", {"q": "上海\n北"}),
        (r"{'re': '\d+\'s'}", {"re": r"\d+'s"}),
        (r"{'p': '\x41\U0001f437\xzz\U0011ffff'}", {"p": r"A🐷\xzz\U0011ffff"}),
        ('{"code": "a\nb"}', {"code": "a\nb"}),
        ("{\"a\": {'b': [{'c': {}}]}}", {"a": {"b": [{"c": {}}]}}),
    ],
)
def test_what_models_write_instead(text: str, value: Any) -> None:
    assert loose_json.read_whole(text) == value


CUT = ("{'a': 1", "{'a'", "{", "'a", "[1 2]", "{'a' 1}", "")


@pytest.mark.parametrize("text", [*CUT, "nan", "NaN", "01", "1e999", "{a: -1e999}", '{"a": 1e400}', "12x", "[" * 100_000, "{'a': " * 5000])
def test_what_was_cut_off_or_is_none(text: str) -> None:
    with pytest.raises(ValueError):
        loose_json.read_whole(text)


def test_half_a_character_can_be_written_to_a_file() -> None:
    assert loose_json.write({"a": "\ud800北"}).encode().decode("ascii") == '{"a": "\\ud800\\u5317"}'


@pytest.mark.parametrize(
    ("body", "calls", "rest"),
    [
        ('{"name": "t", "arguments": {"a": {"b": [1]}}}', [("t", '{"a": {"b": [1]}}')], ""),
        ('{"name": "t"}', [("t", "{}")], ""),
        ('```json\n{"name": "t", "parameters": {}}\n```', [("t", "{}")], ""),
        ('{"type": "function", "function": {"name": "t", "arguments": "{\\"a\\": 1}"}}', [("t", '{"a": 1}')], ""),
        ('[{"name": "t", "arguments": {}}, {"name": "u", "arguments": {}}]', [("t", "{}"), ("u", "{}")], ""),
        ('{"name": "t"}\n{"name": "u"} and more', [("t", "{}"), ("u", "{}")], " and more"),
        ('{"name": "t", "arguments": {"a": 1, "b": }}', [("t", '{"a": 1, "b": }')], ""),
        ('{"name": "t", "arguments": {"a": "1', [("t", '{"a": "1')], ""),
        ('{"name": 3, "arguments": {}}', [], '{"name": 3, "arguments": {}}'),
        ("calculator(2 + 2)", [], "calculator(2 + 2)"),
    ],
)  # fmt: skip
def test_calls_in_a_block(body: str, calls: list[tuple[str, str]], rest: str) -> None:
    found, left = read_calls(body)
    assert found == calls
    assert not calls or left.strip() == rest.strip()


def test_a_result_stays_in_its_block() -> None:
    for end in ("</tool_response>", "< / Tool_Response >", "<tool_response>"):
        assert contained(f"a {end} b") == f"a < {end[1:]} b"
    assert contained("</tool_call> <b>") == "</tool_call> <b>"
    assert contained("<" + " " * 200_000) == "<" + " " * 200_000


def test_what_is_complete() -> None:
    assert all(is_complete(text) for text in ("{}", "{'a': 1}", '"x"', "```python\nprint(1)\n```", "```\nx\n```\n"))
    assert not any(is_complete(text) for text in ("", '{"a": 1', "```python\nprint(1", "1 + 1", '{"command": "x'))


def test_code_and_json() -> None:
    assert as_code('{"command": "print(1)"}') == "print(1)" == as_code("print(1)")
    assert as_json("print(1)") == '{"command": "print(1)"}' == as_json('{"command": "print(1)"}')
    assert (as_json(""), as_json("[1]")) == ("{}", '{"command": "[1]"}')
    quoted = 'text = """\n```\nnot code\n```\n"""\nprint(text)'
    assert without_fence(quoted) == quoted and without_fence(f"```python\n{quoted}\n```").startswith('text = """')
    assert without_fence("Look:\n```python\na = '''x'''\n```\nso") == "a = '''x'''"
    assert is_whole("```python\nx\n```\n", code=True) and not is_whole("```python\nx\n", code=True)

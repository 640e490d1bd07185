from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.messages import (
    DETAILS,
    ROLES,
    Image,
    Message,
    Reasoning,
    Text,
    ToolCall,
    ToolResult,
    assistant,
    from_json,
    system,
    to_json,
    user,
)

words = st.text(max_size=20)
images = st.builds(Image, words, words, st.integers(), st.integers(), st.sampled_from(DETAILS))
parts = st.one_of(
    st.builds(Text, words),
    images,
    st.builds(Reasoning, words),
    st.builds(ToolCall, words, words, words),
    st.builds(ToolResult, words, words, st.lists(images, max_size=2).map(tuple), st.booleans()),
)
messages = st.builds(Message, st.sampled_from(ROLES), st.lists(parts, max_size=4).map(tuple), st.none() | words)
plain_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=8,
)
GOOD = to_json(Message("tool", (ToolResult("a", "b", (Image("p", "s", 1, 2),)),)))


@given(messages)
def test_there_and_back(message: Message) -> None:
    assert from_json(json.loads(json.dumps(to_json(message)))) == message


@given(messages)
def test_equal_messages_have_equal_hashes(message: Message) -> None:
    assert hash(from_json(to_json(message))) == hash(message)


def altered(value: Any, at: tuple[Any, ...], new: Any) -> Any:
    """A deep copy of `value` with what lies at the path `at` replaced."""
    if not at:
        return new
    copy = list(value) if isinstance(value, list) else dict(value)
    copy[at[0]] = altered(value[at[0]], at[1:], new)
    return copy


PATHS: list[tuple[Any, ...]] = [
    (), ("role",), ("name",), ("parts",), ("parts", 0), ("parts", 0, "type"), ("parts", 0, "call_id"), ("parts", 0, "content"),
    ("parts", 0, "images"), ("parts", 0, "error"), ("parts", 0, "images", 0), ("parts", 0, "images", 0, "type"),
    ("parts", 0, "images", 0, "width"), ("parts", 0, "images", 0, "detail"),
]  # fmt: skip


@given(st.sampled_from(PATHS), plain_json)
@settings(max_examples=400)
def test_hostile_json_is_refused_or_is_a_message(path: tuple[Any, ...], hostile: Any) -> None:
    value = altered(GOOD, path, hostile)
    try:
        message = from_json(value)
    except ValueError:
        return
    assert to_json(message) == value


@pytest.mark.parametrize(
    ("path", "hostile"),
    [
        ((), {**GOOD, "more": 1}),
        (("role",), "root"),
        (("role",), ["user"]),
        (("name",), 7),
        (("parts",), {}),
        (("parts", 0, "type"), []),
        (("parts", 0, "type"), "Message"),
        (("parts", 0, "error"), 1),
        (("parts", 0, "images", 0, "width"), True),
        (("parts", 0, "images", 0, "width"), 1.0),
        (("parts", 0, "images", 0, "detail"), "huge"),
        (("parts", 0, "images", 0), {"type": "Text", "text": "x"}),
    ],
)
def test_refused(path: tuple[Any, ...], hostile: Any) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        from_json(altered(GOOD, path, hostile))


def test_nesting_without_end_is_refused() -> None:
    part: Any = {"type": "ToolResult", "call_id": "", "content": "", "images": [], "error": False}
    for _ in range(5000):
        part = {**part, "images": [part]}
    with pytest.raises(ValueError, match="images"):
        from_json({"role": "tool", "name": None, "parts": [part]})


def test_text_is_what_the_reader_sees() -> None:
    message = Message("assistant", (Reasoning("hm"), Text("a"), ToolCall("1", "t", "{}"), Text("b")))
    assert message.text == "ab"
    assert [make("x").role for make in (system, user, assistant)] == ["system", "user", "assistant"]

"""Saved articles come back equal, and nothing else comes back."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from demos.writing.article import Article
from demos.writing.saved import MOST_BYTES, dumps, from_json, loads, to_json
from shared.errors import BadRequest
from tests.demos.writing.articles import articles, example


@given(articles())
@settings(deadline=None)
def test_both_ways(article: Article) -> None:
    assert loads(dumps(article)) == article
    assert dumps(loads(dumps(article).encode())) == dumps(article)


def test_an_example_with_everything() -> None:
    assert loads(dumps(example())) == example()
    assert "/" not in "".join(one["sha256"] for picture in to_json(example())["pictures"] for one in picture["candidates"])


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, one in inner for place in _places(one, (*path, key)))]


PLACES = _places(to_json(example()))[1:]


@given(st.sampled_from(PLACES), json_values, st.sampled_from(["put", "drop", "add"]))
@settings(max_examples=400, deadline=None)
def test_what_was_changed_is_refused_or_written_the_same(place: tuple[Any, ...], value: Any, how: str) -> None:
    """Whatever is accepted is what `to_json` writes for it, to the type."""
    changed = json.loads(dumps(example()))
    inner = changed
    for key in place[:-1]:
        inner = inner[key]
    if how == "put":
        inner[place[-1]] = value
    elif how == "drop":
        del inner[place[-1]]
    elif isinstance(inner, dict):
        inner["extra"] = value
    try:
        article = from_json(changed)
    except ValueError:
        return
    assert json.dumps(to_json(article), sort_keys=True) == json.dumps(changed, sort_keys=True)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        "1",
        '"x"',
        '{"version": 1}',
        "[" * 100_000,
        b"\xff\xfe{",
        '{"version": NaN}',
        "{}\x00",
        '{"version": 1, "version": 1}',
        "9" * 5000,
    ],
)
def test_a_broken_file(text: str | bytes) -> None:
    with pytest.raises(BadRequest) as caught:
        loads(text)
    assert caught.value.cause.startswith("This is no saved article") and len(caught.value.cause) < 300


def test_a_file_that_is_too_large() -> None:
    with pytest.raises(BadRequest, match="MiB"):
        loads(b" " * (MOST_BYTES + 1))


def test_another_version() -> None:
    with pytest.raises(BadRequest, match="its version is 2"):
        loads(dumps(example()).replace('"version": 1\n', '"version": 2\n'))

"""Arguments against a schema: what is put right without loss, and what is told."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demos.agent.call import calls, schema
from shared.engine import ToolSpec
from shared.messages import ToolCall

PARAMETERS: dict[str, Any] = {
    "type": "object",
    "properties": {
        "text": {"type": "string"}, "count": {"type": "integer", "minimum": 1}, "share": {"type": "number"}, "yes": {"type": "boolean"},
        "names": {"type": "array", "items": {"type": "string"}}, "unit": {"type": "string", "enum": ["celsius", "Fahrenheit"]},
        "maybe": {"type": ["integer", "null"]}, "either": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
        "inner": {"type": "object", "properties": {"deep": {"type": "integer"}}}, "any": {},
    },
    "required": ["text"],
}  # fmt: skip
SPEC = ToolSpec("take", "Take.", PARAMETERS)


def judged(arguments: dict[str, object]) -> calls.Judged:
    return calls.checked({"text": "x", **arguments}, SPEC)


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ({"count": None, "share": None, "names": None, "unit": None, "inner": None}, {}),
        ({"maybe": None, "either": None, "any": None}, {"maybe": None, "either": None, "any": None}),
        ({"inner": {"deep": None}}, {"inner": {}}),
        ({"inner": {"deep": "7"}}, {"inner": {"deep": 7}}),
        ({"count": "3"}, {"count": 3}),
        ({"count": " 3.0 "}, {"count": 3}),
        ({"count": 3.0}, {"count": 3}),
        ({"maybe": "3"}, {"maybe": 3}),
        ({"either": "3"}, {"either": 3}),
        ({"share": "0.5"}, {"share": 0.5}),
        ({"share": "-1e3"}, {"share": -1000.0}),
        ({"share": 2}, {"share": 2}),
        ({"text": 3}, {"text": "3"}),
        ({"names": [1, "a"]}, {"names": ["1", "a"]}),
        ({"yes": "True"}, {"yes": True}),
        ({"yes": "false"}, {"yes": False}),
        ({"unit": "Celsius"}, {"unit": "celsius"}),
        ({"unit": "FAHRENHEIT "}, {"unit": "Fahrenheit"}),
    ],
)
def test_what_loses_nothing_is_put_right(given: dict[str, object], taken: dict[str, object]) -> None:
    found = judged(given)
    assert (found.problem, found.arguments) == ("", {"text": "x", **taken})
    assert [type(value) for value in found.arguments.values()] == [type(value) for value in {"text": "x", **taken}.values()]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"text": None}, "'text' must be string, not null"),
        ({"text": 3.1}, "'text' must be string, not number"),  # 3.10 may have stood there
        ({"text": True}, "'text' must be string, not boolean"),
        ({"text": ["x"]}, "'text' must be string, not array"),
        ({"count": "three"}, "'count' must be integer, not string"),
        ({"count": "2.5"}, "'count' must be integer, not string"),
        ({"count": 2.5}, "'count' must be integer, not number"),
        ({"count": "9" * 30}, "'count' must be integer, not string"),
        ({"count": True}, "'count' must be integer, not boolean"),
        ({"count": "0"}, "'count' is at least 1"),
        ({"share": "nan"}, "'share' must be number"),
        ({"share": "1e999"}, "'share' must be number"),
        ({"share": "½"}, "'share' must be number"),
        ({"yes": 1}, "'yes' must be boolean, not integer"),
        ({"yes": "yes"}, "'yes' must be boolean, not string"),
        ({"names": "a"}, "'names' must be array, not string"),
        ({"names": [None]}, "item 1 of 'names' must be string, not null"),
        ({"unit": "kelvin"}, "'unit' must be one of 'celsius', 'Fahrenheit'"),
        ({"either": "x"}, "'either' fit none of the forms"),
        ({"other": None}, "there is no 'other'"),
    ],
)
def test_what_is_another_thing_is_told(given: dict[str, object], told: str) -> None:
    found = judged(given)
    assert told in found.problem and "take takes: " in found.problem and found.arguments == {}


def test_a_call_is_put_right_too() -> None:
    found = calls.judged(ToolCall("1", "take", '{"text": "x", "count": "3", "share": null}'), (SPEC,))
    assert found == calls.Judged({"text": "x", "count": 3})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(list(PARAMETERS["properties"])), inner, max_size=3),
    max_leaves=8,
)


@given(JSON)
def test_what_fits_stays_as_it_is(value: object) -> None:
    fit = schema.fitted(value, PARAMETERS)
    assert repr(schema.fitted(fit, PARAMETERS)) == repr(fit)
    if not schema.problems(value, PARAMETERS):
        assert fit == value

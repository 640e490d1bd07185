"""lagent's descriptions as JSON schemas, and those as forms."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from lagent.actions import BaseAction, tool_api

from demos.agent import schema as checker
from demos.agent.tools import TOOLS
from demos.agent.tools.schemas import Field, filled_in, form, specs_of
from demos.agent.tools.toolbox import Toolbox
from demos.agent.tools.workplace import Workplace
from shared.chatml import INTERPRETER
from shared.engine import ToolSpec
from shared.errors import BadRequest


class KindsForTest(BaseAction):
    """Takes everything."""

    @tool_api
    def take(
        self, text: str, count: int, share: float, yes: bool, names: list[str], how: Literal["a", "b"] = "b", maybe: int | None = None,
        table: dict[str, int] | None = None, note: Annotated[str, "a note"] = "",
    ) -> str:  # fmt: skip
        """Take.

        Args:
            text (str): some
                text
            how (str): which way
        """
        return ""

    @tool_api
    def untyped(self, a, b=2):  # type: ignore[no-untyped-def]
        """Take two.

        Args:
            a (float): first
            b (int): second
        """


def specs() -> dict[str, ToolSpec]:
    return {spec.name: spec for _, spec in specs_of(KindsForTest())}


def test_types_choices_defaults_and_optional_parameters_are_kept() -> None:
    parameters: Any = specs()["KindsForTest.take"].parameters
    assert parameters["properties"] == {
        "text": {"type": "string", "description": "some text"}, "count": {"type": "integer"}, "share": {"type": "number"},
        "yes": {"type": "boolean"}, "names": {"type": "array", "items": {"type": "string"}},
        "how": {"type": "string", "enum": ["a", "b"], "description": "which way", "default": "b"}, "maybe": {"type": "integer"},
        "table": {"type": "object"}, "note": {"type": "string", "description": "a note", "default": ""},
    }  # fmt: skip
    assert parameters["required"] == ["text", "count", "share", "yes", "names"]


def test_without_annotations_the_docstring_says_the_types() -> None:
    parameters: Any = specs()["KindsForTest.untyped"].parameters
    assert parameters["properties"] == {
        "a": {"type": "number", "description": "first"}, "b": {"type": "integer", "description": "second", "default": 2}
    }  # fmt: skip
    assert parameters["required"] == ["a"]


def test_a_form_and_what_is_filled_in() -> None:
    fields = form(specs()["KindsForTest.take"])
    assert [(item.name, item.kind) for item in fields] == [
        ("text", "text"), ("count", "integer"), ("share", "number"), ("yes", "switch"), ("names", "json"), ("how", "choice"),
        ("maybe", "integer"), ("table", "json"), ("note", "text"),
    ]  # fmt: skip
    assert fields[5] == Field("how", "choice", "which way", False, "b", ("a", "b"))
    values = {
        "text": "你好",
        "count": "3",
        "share": "0.5",
        "yes": True,
        "names": '["x"]',
        "how": "a",
        "maybe": "",
        "table": None,
        "unknown": 1,
    }
    assert filled_in(fields, values) == {"text": "你好", "count": 3, "share": 0.5, "yes": True, "names": ["x"], "how": "a"}


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"text": ""}, "text is empty"), ({"count": "2.5"}, "count is not a whole"), ({"count": "1e999"}, "count is not a whole"),
        ({"count": "nan"}, "count is not a whole"), ({"share": "x"}, "share is not a number"),
        ({"yes": "perhaps"}, "yes is not true or false"), ({"names": "[1"}, "names is not valid JSON"),
        ({"how": "c"}, "how is one of a, b"),
    ],
)  # fmt: skip
def test_what_is_filled_in_wrongly_is_said(value: dict[str, object], words: str) -> None:
    right = {"text": "x", "count": 1, "share": 1.0, "yes": False, "names": []}
    with pytest.raises(BadRequest, match=words):
        filled_in(form(specs()["KindsForTest.take"]), {**right, **value})


SMALLEST: dict[str, dict[str, object]] = {
    "ArxivSearch.get_arxiv_article_information": {"query": "x"}, "WebSearch": {"query": "x"}, "Calculator": {"expression": "1"},
    "get_current_weather": {"location": "Boston, MA"}, "CurrentTime": {}, "ReadFile": {"path": "a.txt"},
}  # fmt: skip


def test_every_built_in_tool_has_a_schema_its_smallest_call_fits() -> None:
    box = Toolbox([tool for tool in TOOLS if tool.name != INTERPRETER], Workplace())
    assert {spec.name for spec in box.specs()} == set(SMALLEST)
    for spec in box.specs():
        assert spec.description and all(item.about for item in form(spec))
        assert checker.problems(SMALLEST[spec.name], spec.parameters) == []
        assert checker.problems({"nonsense": 1}, spec.parameters)


def test_the_weather_is_declared_as_in_the_walk_through() -> None:
    (spec,) = Toolbox([tool for tool in TOOLS if tool.text == "weather"], Workplace()).specs()
    parameters: Any = spec.parameters
    assert (spec.name, spec.description) == ("get_current_weather", "Get the current weather in a given location")
    assert parameters["properties"]["location"] == {"type": "string", "description": "The city and state, e.g. San Francisco, CA"}
    assert parameters["properties"]["unit"]["enum"] == ["celsius", "fahrenheit"]
    assert parameters["required"] == ["location"]

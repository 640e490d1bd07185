"""lagent's descriptions as JSON schemas."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from lagent.actions import BaseAction, tool_api

from demos.agent.call import schema as checker
from demos.agent.tools import TOOLS
from demos.agent.tools.schemas import specs_of
from demos.agent.tools.toolbox import Toolbox
from demos.agent.tools.workplace import Workplace
from shared.chatml import INTERPRETER
from shared.engine import ToolSpec


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


SMALLEST: dict[str, dict[str, object]] = {
    "ArxivSearch.get_arxiv_article_information": {"query": "x"}, "WebSearch": {"query": "x"}, "Calculator": {"expression": "1"},
    "get_current_weather": {"location": "Boston, MA"}, "CurrentTime": {}, "ReadFile": {"path": "a.txt"},
}  # fmt: skip


def test_every_built_in_tool_has_a_schema_its_smallest_call_fits() -> None:
    box = Toolbox([tool for tool in TOOLS if tool.name != INTERPRETER], Workplace())
    assert {spec.name for spec in box.specs()} == set(SMALLEST)
    for spec in box.specs():
        assert spec.description and all(item["description"] for item in spec.parameters["properties"].values())  # type: ignore[attr-defined,index]
        assert checker.problems(SMALLEST[spec.name], spec.parameters) == []
        assert checker.problems({"nonsense": 1}, spec.parameters)


def test_the_weather_is_declared_as_in_the_walk_through() -> None:
    (spec,) = Toolbox([tool for tool in TOOLS if tool.text == "weather"], Workplace()).specs()
    parameters: Any = spec.parameters
    assert (spec.name, spec.description) == ("get_current_weather", "Get the current weather in a given location")
    assert parameters["properties"]["location"] == {"type": "string", "description": "The city and state, e.g. San Francisco, CA"}
    assert parameters["properties"]["unit"]["enum"] == ["celsius", "fahrenheit"]
    assert parameters["required"] == ["location"]

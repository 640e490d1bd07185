"""Trying a tool by hand: its form, what a form sends, and the call."""

from __future__ import annotations

import json
from dataclasses import asdict
from itertools import count
from pathlib import Path
from typing import Any, cast

import pytest

from demos.agent.toolbox import Outcome
from demos.agent.tools import TOOLS, Tool
from demos.agent.tools.toolbox import Toolbox
from demos.agent.tools.trying import LONGEST, Field, arguments, example, form, tried
from demos.agent.tools.workplace import CodeSession, Workplace
from demos.strings import LANGUAGES, Strings
from shared.chatml import INTERPRETER
from shared.engine import Cancel, ToolSpec
from shared.errors import BadRequest

SPEC = ToolSpec(
    "take",
    "Take.",
    {
        "type": "object",
        "properties": {
            "note": {"type": "string", "description": "a note", "default": ""}, "text": {"type": "string", "description": "some"},
            "count": {"type": "integer", "minimum": 1}, "share": {"type": "number"}, "yes": {"type": "boolean"},
            "names": {"type": "array", "items": {"type": "string"}}, "how": {"type": "string", "enum": ["a", "b"], "default": "b"},
        },
        "required": ["text", "count"],
    },
)  # fmt: skip
NOBODY = cast(CodeSession, object())  # a session that is never asked


def everything(folder: Path | None = None) -> Toolbox:
    return Toolbox(TOOLS, Workplace(folder, NOBODY))


def test_a_form_begins_with_what_is_needed() -> None:
    fields = form(SPEC, {"text": "hello", "names": ["书"]})
    assert fields == [
        Field("text", "text", True, "hello", "some"), Field("count", "integer", True, None, ""), Field("note", "text", False, "", "a note"),
        Field("share", "number", False, None, ""), Field("yes", "switch", False, None, ""), Field("names", "json", False, '["书"]', ""),
        Field("how", "choice", False, "b", "", ("a", "b")),
    ]  # fmt: skip
    assert json.loads(json.dumps([asdict(item) for item in fields]))[6]["options"] == ["a", "b"]


def test_what_a_form_sends_gets_its_types() -> None:
    values = {"text": "你好", "count": " ３ ", "share": "0.5", "yes": "true", "names": '["x"]', "how": "a", "note": ""}
    assert arguments(SPEC, values) == {"text": "你好", "count": 3, "share": 0.5, "yes": True, "names": ["x"], "how": "a"}
    typed = {"text": " kept ", "count": 3.0, "share": 1, "yes": False, "names": ["x"], "how": None}
    assert arguments(SPEC, typed) == {"text": " kept ", "count": 3, "share": 1, "yes": False, "names": ["x"]}


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"text": " "}, "text is empty. Fill it in."), ({"text": None}, "text is empty"), ({"text": ["x"]}, "text must be string"),
        ({"text": "x" * (LONGEST + 1)}, "text is 200,001 characters long"),
        ({"count": "2.5"}, "count is not a whole number"), ({"count": "1e999"}, "count is not a whole number"),
        ({"count": "nan"}, "count is not a whole number"), ({"count": True}, "count is not a whole number"),
        ({"count": "0"}, "count is at least 1"), ({"share": "x"}, "share is not a number"),
        ({"share": float("inf")}, "share is not a number"),
        ({"yes": "perhaps"}, "yes is not true or false"), ({"names": "[1"}, "names is not valid JSON"),
        ({"names": "x"}, "names is not valid JSON"), ({"names": "[[1]]"}, "item 1 of names must be string"),
        ({"how": "c"}, "how must be one of 'a', 'b'"), ({"other": 1}, "take has no 'other'. It takes: note, text"),
    ],
)  # fmt: skip
def test_what_is_filled_in_wrongly_is_said_with_its_field(value: dict[str, object], words: str) -> None:
    with pytest.raises(BadRequest) as error:
        arguments(SPEC, {"text": "x", "count": 1, **value})
    assert words in error.value.one_line()


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_built_in_tool_has_an_example_that_fits(language: Any) -> None:
    box, t = everything(), Strings(language)
    for spec in box.specs():
        tool = box.tool(spec.name)
        assert tool is not None
        fields = form(spec, example(tool, spec, t, ["data.csv", "other.csv"]))
        filled = arguments(spec, {item.name: item.default for item in fields})
        assert all(item.default is not None for item in fields if item.required) and set(filled) >= {fields[0].name}


def test_the_examples_are_those_of_the_language() -> None:
    box = everything()
    first = {spec.name: form(spec, example(cast(Tool, box.tool(spec.name)), spec, Strings("zh")))[0] for spec in box.specs()}
    assert (first["get_current_weather"].default, first["ReadFile"].default) == ("上海", ".")
    assert (first[INTERPRETER].kind, first[INTERPRETER].name) == ("code", "command")
    compile(first[INTERPRETER].default, "example", "exec")


def test_an_own_tool_brings_its_own_example() -> None:
    tool = Tool("take", example={"text": "hello", "unknown": 1})
    assert example(tool, SPEC, Strings("en")) == {"text": "hello"}


def test_run_calls_the_tool_and_says_how_long_it_took() -> None:
    clock = count(10.0, 1.5)
    found = tried(everything(), "Calculator", {"expression": "(3+4)*5"}, Cancel(), now=lambda: next(clock))
    assert (found.outcome, found.arguments, found.seconds) == (Outcome("35"), {"expression": "(3+4)*5"}, 1.5)


def test_the_first_file_is_read_and_without_one_that_is_said(tmp_path: Path) -> None:
    assert "No file was uploaded" in tried(everything(), "ReadFile", {"path": "."}, Cancel()).outcome.text
    (tmp_path / "a.txt").write_text("hello")
    assert tried(everything(tmp_path), "ReadFile", {"path": "a.txt", "start": "2"}, Cancel()).outcome == Outcome("llo")


def test_a_failure_is_an_outcome_and_what_is_not_there_a_bad_request() -> None:
    failed = tried(everything(), "Calculator", {"expression": "1/0"}, Cancel()).outcome
    assert failed.error and failed.text == "Division by zero. There is no such number."
    with pytest.raises(BadRequest, match="There is no tool 'Google'"):
        tried(everything(), "Google", {}, Cancel())
    with pytest.raises(BadRequest, match="expression is empty"):
        tried(everything(), "Calculator", {"expression": ""}, Cancel())

"""docs/agent-tools.md: its example runs, and it names the tools there are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from demos.agent.tools import SECONDS, TOOLS, Tool
from demos.agent.tools.offer import first_rules
from demos.agent.tools.own_file import tools_in
from demos.agent.tools.toolbox import MOST_LEFT_BEHIND, MOST_TEXT, Toolbox
from demos.agent.tools.trying import example, form, tried
from demos.agent.tools.workplace import Workplace, this_call
from demos.strings import Strings
from shared.engine import Cancel

PAGE = (Path(__file__).resolve().parents[4] / "docs" / "agent-tools.md").read_text("utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> tuple[Tool, ...]:
    path = tmp_path_factory.mktemp("own") / "my_tools.py"
    path.write_text(BLOCKS[0], "utf-8")
    return tools_in(path)


def test_the_example_is_two_tools(tools: tuple[Tool, ...]) -> None:
    assert [(tool.name, tool.touches, tool.seconds) for tool in tools] == [("RollDice", frozenset(), 30), ("Notebook", {"files"}, 5)]
    assert set(first_rules(tools, public=True).values()) == {"always"}
    assert [spec.name for spec in Toolbox(tools, Workplace()).specs()] == ["RollDice", "Notebook.add", "Notebook.read"]


def test_the_example_can_be_tried(tools: tuple[Tool, ...]) -> None:
    box = Toolbox(tools, Workplace())
    dice = box.specs()[0]
    fields = form(dice, example(tools[0], dice, Strings("en")))
    assert [(item.name, item.default) for item in fields] == [("count", 2), ("sides", 6)] and all(item.description for item in fields)
    assert re.fullmatch(r'\{"thrown": \[[1-6], [1-6]\], "sum": \d+\}', tried(box, "RollDice", {"count": "2"}, Cancel()).outcome.text)
    failed = tried(box, "RollDice", {"count": "0"}, Cancel()).outcome
    assert (failed.text, failed.error) == ("ValueError: count is 1 to 100, sides at least 2", True)


def test_a_notebook_belongs_to_one_conversation(tools: tuple[Tool, ...]) -> None:
    one, two = Toolbox(tools, Workplace()), Toolbox(tools, Workplace())
    assert one.call("Notebook.add", {"note": "牛奶"}, cancel=Cancel()).text == "This is note 1."
    assert [box.call("Notebook.read", {}, cancel=Cancel()).text for box in (one, two)] == ['["牛奶"]', "[]"]


def test_the_other_piece_of_code_runs() -> None:
    assert "this_call()" in BLOCKS[1] and not this_call().cancel.is_set()
    exec(compile(BLOCKS[1], "agent-tools.md", "exec"), {})


def test_the_page_names_every_tool_and_the_limits_there_are() -> None:
    assert re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE) == [tool.name for tool in TOOLS]
    assert f"{MOST_TEXT:,} characters" in PAGE and MOST_LEFT_BEHIND == 4 and f"{SECONDS:.0f} if nothing is said" in PAGE

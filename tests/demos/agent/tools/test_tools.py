"""The list of tools: texts in both languages, and nothing of lagent before a tool is built."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from demos.agent.tools import TOOLS, Tool
from demos.strings import LANGUAGES, Strings

ROOT = Path(__file__).resolve().parents[4]
LISTED = """
import sys
from demos.agent.tools import TOOLS
from demos.agent.tools import offer, own_file, schemas, toolbox, walkthrough
from demos.strings import Strings
print([tool.title(Strings("zh")) for tool in TOOLS])
assert not {"lagent", "arxiv", "ddgs", "requests", "torch"} & set(sys.modules), sys.modules.keys()
"""
BLOCKED = """
import sys
from shared.errors import ModelUnavailable
from demos.agent.tools import TOOLS
from demos.agent.tools.toolbox import Toolbox
from demos.agent.tools.workplace import Workplace
sys.modules[{missing!r}] = None
try:
    Toolbox([tool for tool in TOOLS if tool.name == {tool!r}], Workplace())
    print("works")
except ModelUnavailable as error:
    print(error.one_line())
"""


def run(code: str) -> list[str]:
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_tools_are_listed_without_lagent() -> None:
    assert "计算器" in run(LISTED)[0]


@pytest.mark.parametrize(
    ("tool", "missing"), [("Calculator", "lagent"), ("Calculator", "cachetools"), ("ArxivSearch", "arxiv"), ("WebSearch", "ddgs")]
)
def test_a_package_that_is_missing_is_named(tool: str, missing: str) -> None:
    (line,) = run(BLOCKED.format(missing=missing, tool=tool))
    assert line == f"The tool {tool} needs the package {missing}, which is not installed. Install it with: pip install -r requirements.txt"


def test_a_client_that_is_missing_costs_only_its_own_tool() -> None:
    assert run(BLOCKED.format(missing="arxiv", tool="Calculator")) == ["works"]


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.name)
@pytest.mark.parametrize("language", LANGUAGES)
def test_every_tool_has_texts(tool: Tool, language: str) -> None:
    t = Strings("zh" if language == "zh" else "en")
    assert tool.title(t) and tool.description(t)
    assert [t(f"tools.touches_{touch}") for touch in tool.touches] or not tool.touches


def test_an_own_tool_has_the_texts_of_its_author() -> None:
    tool = Tool("Mine", about="Does it.")
    assert (tool.title(Strings("zh")), tool.description(Strings("zh"))) == ("Mine", "Does it.")

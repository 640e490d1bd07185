"""`--tools my_tools.py`: what is wrong with a file is said with its line, and the corrected file can be read."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from demos.agent.tools.offer import first_rules, offered
from demos.agent.tools.own_file import tools_in
from demos.agent.tools.toolbox import Toolbox
from demos.agent.tools.workplace import Workplace
from shared.chatml import INTERPRETER
from shared.engine import Cancel
from shared.errors import BadRequest
from shared.settings import Settings

NAMED_SAME = "def __init__(self): super().__init__({**self.__tool_description__, 'name': 'Same'})"
HEAD = "from lagent.actions import BaseAction, tool_api\n"
GOOD = '''class {name}(BaseAction):
    """Greet."""
    def run(self, who: str) -> str:
        """Greet somebody.

        Args:
            who (str): whom
        """
        return "hello é " + who
'''


def named(name: str, line: str) -> str:
    """A good file but for one more line in its class."""
    return HEAD + GOOD.format(name=name).replace('"""Greet."""', f'"""Greet."""\n    {line}')


def written(folder: Path, content: str) -> Path:
    path = folder / "my_tools.py"
    path.write_text(content, "utf-8")
    return path


def test_a_class_becomes_a_tool(tmp_path: Path) -> None:
    path = written(tmp_path, HEAD + GOOD.format(name="GreetOwn") + "class _Hidden(BaseAction):\n    '''No.'''\n")
    (tool,) = tools_in(path)
    assert (tool.name, tool.about, tool.touches) == ("GreetOwn", "Greet somebody.", {"network", "code"})
    assert tools_in(path)[0] is tool  # read once: lagent knows each name once
    box = Toolbox((tool,), Workplace())
    assert box.call("GreetOwn", {"who": "世界"}, cancel=Cancel()).text == "hello é 世界"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("import nowhere_at_all", r"\(line 1\): ModuleNotFoundError: No module named 'nowhere_at_all'. Install nowhere_at_all"),
        ("x = 1\nx = = 2", r"\(line 2\): SyntaxError: invalid syntax"),
        ("\n\n1/0", r"\(line 3\): ZeroDivisionError: division by zero"),
        ("import sys\nsys.exit(1)", r"\(line 2\): SystemExit: 1"),
        (HEAD + "class Undocumented(BaseAction):\n    def run(self): return 1\n", "Undocumented does not say what it does"),
        ("x = 1", "has no tool: it defines no class"),
        ("class Plain: pass", "has no tool: Plain is not derived from BaseAction"),
        ("class A: pass\nclass B: pass", "A, B are not derived from BaseAction"),
        (HEAD, "has no tool: it defines no class"),
        (named("Needs", "def __init__(self, key): super().__init__()"), "Needs could not be made: TypeError"),
        (named("Calc", '__tool_name__ = "WebSearch"'), "WebSearch.*Give the class another name"),
        (named("Touchy", 'touches = ("moon",)'), "touches may be network, code, files"),
        ("class E(Exception):\n    def __str__(self): raise self\nraise E", r"\(line 3\): E: its message cannot be shown"),
        ("x = 'caf\\xe9'.encode('latin-1').decode('utf-8')", r"\(line 1\): UnicodeDecodeError"),
        (named("Leaves", "def __init__(self): raise SystemExit(2)"), "Leaves could not be made: SystemExit: 2"),
        (named("Off", "def __init__(self): super().__init__(enable=False)"), "Off is switched off"),
        (named("Odd", '__tool_name__ = "a tool.of mine"'), "'a tool.of mine' is no name for a tool"),
        (named("Once", '__tool_name__ = "Same"') + named("Again", '__tool_name__ = "Same"'), "Same.*Give the class another name"),
        (named("First", NAMED_SAME) + named("Second", NAMED_SAME), "has two tools named Same"),
        (named("Slow", "seconds = 1e9"), "Slow: seconds is the time one call may take"),
        (named("Slower", "seconds = True"), "Slower: seconds is the time one call may take"),
        (named("Exampled", 'example = "x"'), "example is no dictionary"),
        (HEAD + GOOD.format(name="ArxivSearch"), "ArxivSearch.*Give the class another name"),
        (HEAD + GOOD.format(name="Arxiv"), "Arxiv.*Give the class another name"),
        (
            named("Masked", "def __init__(self): super().__init__({**self.__tool_description__, 'name': 'CurrentTime'})"),
            "the name CurrentTime belongs to a built-in tool",
        ),
    ],
)
def test_what_is_wrong_with_a_file_is_said(tmp_path: Path, content: str, words: str) -> None:
    path = written(tmp_path, content)
    for _ in range(2):  # the second time too: nothing half-read is kept
        with pytest.raises(BadRequest) as error:
            tools_in(path)
        assert str(path) in error.value.cause
        assert re.search(words, error.value.one_line())


def test_a_file_of_bytes_that_are_no_python(tmp_path: Path) -> None:
    path = tmp_path / "my_tools.py"
    for content in (b"x = '\xff'\n", b"x = 1\0\n"):
        path.write_bytes(content)
        with pytest.raises(BadRequest, match=r"could not be imported.*(SyntaxError|ValueError)"):
            tools_in(path)
    with pytest.raises(BadRequest, match="There is no file"):
        tools_in(tmp_path)


def test_a_tool_with_one_of_lagents_other_parsers_gets_its_arguments(tmp_path: Path) -> None:
    line = "def __init__(self): super().__init__(parser=__import__('lagent').actions.parser.TupleParser)"
    (tool,) = tools_in(written(tmp_path, named("Tupled", line)))
    assert Toolbox((tool,), Workplace()).call("Tupled", {"who": "é"}, cancel=Cancel()).text == "hello é é"


def test_the_corrected_file_can_be_read(tmp_path: Path) -> None:
    path = written(tmp_path, HEAD + GOOD.format(name="Corrected") + "\n1/0\n")
    with pytest.raises(BadRequest, match="ZeroDivisionError"):
        tools_in(path)
    assert [tool.name for tool in tools_in(written(tmp_path, HEAD + GOOD.format(name="Corrected")))] == ["Corrected"]


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match=r"There is no file .*none\.py"):
        tools_in(tmp_path / "none.py")
    with pytest.raises(BadRequest, match=r"tools\.txt is no Python file"):
        (tmp_path / "tools.txt").write_text("x = 1")
        tools_in(tmp_path / "tools.txt")


def test_what_is_offered(tmp_path: Path) -> None:
    path = written(tmp_path, named("Offered", 'touches = ("files",)'))
    assert INTERPRETER not in {tool.name for tool in offered(Settings(), code=False)}
    tools = offered(Settings(tools=str(path)), code=True)
    assert tools[-1].name == "Offered" and INTERPRETER in {tool.name for tool in tools}
    private, public = first_rules(tools, public=False), first_rules(tools, public=True)
    assert set(private.values()) == {"always"}
    assert {name for name, rule in public.items() if rule == "ask"} == {"ArxivSearch", INTERPRETER, "WebSearch", "get_current_weather"}

"""The interpreter: lagent's description, the sandbox's session."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from lagent.actions import IPythonInterpreter

from demos.agent.sandbox.values import Result
from demos.agent.tools import TOOLS
from demos.agent.tools.interpreter import Interpreter, code_of
from demos.agent.tools.toolbox import Toolbox
from demos.agent.tools.workplace import Workplace
from shared.chatml import INTERPRETER
from shared.engine import Cancel
from shared.errors import ModelUnavailable
from shared.messages import Image

OUT = Path("/srv/session/0001/files")  # where this session keeps its copies
TOOL = tuple(tool for tool in TOOLS if tool.name == INTERPRETER)


@dataclass
class Recorder:
    """A session that runs nothing, and remembers what it was asked."""

    result: Result
    asked: list[tuple[str, float]] = field(default_factory=list)

    def run(
        self, code: str, timeout: float = 20, *, on_output: Callable[[str], object] | None = None, cancel: Cancel | None = None
    ) -> Result:
        self.asked.append((code, timeout))
        if on_output is not None:
            on_output(self.result.text)
        return self.result

    def name_of(self, copy: Path) -> str:
        return copy.relative_to(OUT).as_posix()


def test_it_is_described_as_lagent_describes_it() -> None:
    ours = Interpreter(Workplace()).description
    assert {**ours, "parameter_description": ""} == {**IPythonInterpreter.__tool_description__, "parameter_description": ""}


def test_text_pictures_and_files_come_back() -> None:
    plot = Image("plot.png", "0" * 64, 4, 4)
    session = Recorder(Result("4\n", (plot,), (OUT / "out.csv", OUT / "sub" / "b.txt", Path("named.txt"))))
    heard: list[str] = []
    box = Toolbox(TOOL, Workplace(session=session))
    outcome = box.call(INTERPRETER, {"command": "2 + 2", "timeout": None}, cancel=Cancel(), on_output=heard.append)
    assert heard == ["4\n"]
    assert (outcome.text, outcome.images, outcome.files, outcome.error) == ("4\n", (plot,), ("out.csv", "sub/b.txt", "named.txt"), False)
    assert session.asked == [("2 + 2", 20)]


def test_a_picture_without_text_is_told() -> None:
    plot = Image("plot.png", "0" * 64, 4, 4)
    for images, told in (((plot,), "1 picture is"), ((plot, plot), "2 pictures are")):
        box = Toolbox(TOOL, Workplace(session=Recorder(Result("", images))))
        assert box.call(INTERPRETER, {"command": "plot()"}, cancel=Cancel()).text == f"(no text; {told} shown to the user)"


def test_an_error_keeps_what_was_printed_and_drawn() -> None:
    plot = Image("plot.png", "0" * 64, 4, 4)
    session = Recorder(Result("before\nZeroDivisionError: division by zero", (plot,), error="ZeroDivisionError: division by zero"))
    outcome = Toolbox(TOOL, Workplace(session=session)).call(INTERPRETER, {"command": "1/0", "timeout": 999}, cancel=Cancel())
    assert (outcome.text, outcome.images, outcome.error) == (session.result.text, (plot,), True)
    assert session.asked == [("1/0", 60)]


def test_without_a_session_it_is_not_there() -> None:
    with pytest.raises(ModelUnavailable, match="no sandbox"):
        Toolbox(TOOL, Workplace())


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("```python\nprint(1)\n```", "print(1)"),
        ("```\na\nb\n```\n", "a\nb"),
        ("```py\nprint(1)", "print(1)"),
        ("x = '`a`' + `b`", "x = '`a`' + `b`"),
        ('s = """\n```\ncode\n```\n"""', 's = """\n```\ncode\n```\n"""'),
        ("print(1)", "print(1)"),
        ("", ""),
    ],
)
def test_only_a_fence_around_everything_is_taken_off(command: str, code: str) -> None:
    assert code_of(command) == code

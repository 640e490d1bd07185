"""The toolbox: tools that raise, hang, flood and lie end as an outcome, and the next call works."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from demos.agent.toolbox import Outcome
from demos.agent.toolbox import Toolbox as Seam
from demos.agent.tools import TOOLS, Tool
from demos.agent.tools import toolbox as module
from demos.agent.tools.own_file import tools_in
from demos.agent.tools.toolbox import MOST_LEFT_BEHIND, MOST_TEXT, Toolbox, bounded
from demos.agent.tools.weather import PLACES
from demos.agent.tools.workplace import Workplace
from shared.chatml import INTERPRETER
from shared.engine import Cancel
from tests.demos.agent.tools.stub import stub, through
from tests.servers import Served

RELEASE = threading.Event()  # what the hanging tool waits for; set when the tests are over
BAD = '''
import asyncio, datetime, sys
from lagent.actions import BaseAction, tool_api
from lagent.schema import ActionReturn
from demos.agent.tools.workplace import this_call
from tests.demos.agent.tools.test_toolbox import RELEASE
from shared.errors import ModelUnavailable

class Wordless(Exception):
    def __str__(self):
        raise self

class Unshowable:
    def __str__(self):
        raise RuntimeError("no words")

class Bad(BaseAction):
    """Tools that misbehave."""
    touches = ()

    @tool_api
    def fail(self):
        """Raise."""
        raise KeyError("a <b>bad</b> key")

    @tool_api
    def silent(self):
        """Raise without a word."""
        raise ValueError

    @tool_api
    def verbose(self):
        """Raise with 50 MB."""
        raise ValueError("x" * 50_000_000)

    @tool_api
    def quit(self):
        """Raise what ends programs."""
        raise KeyboardInterrupt

    @tool_api
    def ours(self):
        """Raise an error of the program."""
        raise ModelUnavailable("No model fits.", "Load a smaller one.")

    @tool_api
    def wordless(self):
        """Raise what cannot be shown."""
        raise Wordless

    @tool_api
    def unshowable(self):
        """Return what cannot be shown."""
        return Unshowable()

    @tool_api
    def inside(self):
        """Return what cannot be shown, in a list."""
        return ActionReturn(result=[{"type": "text", "content": Unshowable()}])

    @tool_api
    def half(self):
        """Yield, then raise."""
        yield "half"
        1 / 0

    @tool_api
    def none(self):
        """Return None."""

    @tool_api
    def octets(self):
        """Return bytes of a text."""
        return "é 书".encode()

    @tool_api
    def binary(self):
        """Return bytes."""
        return bytes([255, 0, 1])

    @tool_api
    def listed(self):
        """Return a list."""
        return ["书", 1, None, datetime.date(2026, 7, 1), {"x": "é".encode()}]

    @tool_api
    def keyed(self):
        """Return keys that JSON has not."""
        return {(1, 2): "é"}

    @tool_api
    def circular(self):
        """Return a list within itself."""
        found = []
        found.append(found)
        return found

    @tool_api
    async def waits(self):
        """Be asynchronous."""
        await asyncio.sleep(0)
        return "awaited"

    @tool_api
    def pieces(self):
        """Yield."""
        yield "one "
        yield b"two "
        yield 3

    @tool_api
    def endless(self):
        """Yield for ever."""
        while True:
            yield "x" * 10_000

    @tool_api
    def trickle(self):
        """Yield for ever, slowly."""
        while not RELEASE.wait(0.01):
            yield "drop"

    @tool_api
    def stranger(self):
        """Return a state that is none."""
        return ActionReturn(result="x", state="fine")

    @tool_api
    def leave(self):
        """End the thread."""
        sys.exit(3)

    @tool_api
    def hang(self):
        """Never answer."""
        RELEASE.wait(60)

    @tool_api
    def listen(self):
        """Answer once stopped."""
        this_call().on_output("listening")
        assert this_call().cancel.wait(60)
        return "half of it"

    @tool_api
    def flood(self):
        """Return 50 MB."""
        return "x" * 50_000_000

    @tool_api
    def markup(self):
        """Return HTML."""
        return "<script>alert(1)</script> \\\\0 é ö 🙂 \\ud800"

    @tool_api
    def odd(self):
        """Return what lagent does not expect."""
        return ActionReturn(result=["x", {"type": "image", "content": "/etc/passwd"}, {"type": "text"}, {"type": "text", "content": 5}])

    @tool_api
    def nothing(self):
        """Return nothing."""
        return ActionReturn()

    @tool_api
    def echo(self, text: str, times: int = 1, note: str = "none"):
        """Repeat a text.

        Args:
            text (str): the text
            times (int): how often
            note (str): a note
        """
        return {"said": text * times, "note": note}
'''


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Tool, ...]]:
    path = tmp_path_factory.mktemp("own") / "bad.py"
    path.write_text(BAD, "utf-8")
    yield tools_in(path)
    RELEASE.set()


@pytest.fixture
def box(tools: tuple[Tool, ...]) -> Seam:
    return Toolbox(tools, Workplace())


def call(box: Seam, name: str, **arguments: object) -> Outcome:
    return box.call(name, arguments, cancel=Cancel(), on_output=lambda text: None)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("Bad.fail", "KeyError: 'a <b>bad</b> key'"),
        ("Bad.silent", "ValueError"),
        ("Bad.leave", "Bad.leave ended without an answer."),
        ("Bad.quit", "Bad.quit ended without an answer."),
        ("Bad.ours", "No model fits. Load a smaller one."),
        ("Bad.wordless", "Wordless: its message cannot be shown"),
        ("Bad.unshowable", "The tool returned an object (Unshowable) that cannot be shown: RuntimeError: no words. It must return text."),
        ("Bad.inside", "The tool returned an object (Unshowable) that cannot be shown: RuntimeError: no words. It must return text."),
        ("Bad.half", "ZeroDivisionError: division by zero"),
    ],
)
def test_a_tool_that_fails_is_an_outcome(box: Seam, name: str, text: str) -> None:
    assert call(box, name) == Outcome(text, error=True)


def test_a_long_message_of_a_failure_is_cut(box: Seam) -> None:
    outcome = call(box, "Bad.verbose")
    assert outcome.error and outcome.text.startswith("ValueError: xxx") and len(outcome.text) < 2100


def test_fifty_megabytes_are_cut(box: Seam) -> None:
    text = call(box, "Bad.flood").text
    assert len(text) < MOST_TEXT + 100 and "49,984,000 characters left out" in text


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("Bad.none", "(no output)"),
        ("Bad.octets", "é 书"),
        ("Bad.binary", "(3 bytes that are no text)"),
        ("Bad.listed", '["书", 1, null, "2026-07-01", {"x": "é"}]'),
        ("Bad.keyed", "{(1, 2): 'é'}"),
        ("Bad.circular", "[[...]]"),
        ("Bad.waits", "awaited"),
    ],
)
def test_whatever_is_returned_is_text(box: Seam, name: str, text: str) -> None:
    assert call(box, name) == Outcome(text)


def test_pieces_are_shown_as_they_come(box: Seam) -> None:
    heard: list[str] = []
    assert box.call("Bad.pieces", {}, cancel=Cancel(), on_output=heard.append) == Outcome("one two 3")
    assert heard == ["one ", "two ", "3"]


def test_pieces_without_an_end_are_cut_or_stopped(box: Seam) -> None:
    outcome = call(box, "Bad.endless")
    assert not outcome.error and outcome.text.endswith("[… the tool had more to say …]") and len(outcome.text) < MOST_TEXT + 100
    cancel = Cancel()
    stopped = box.call("Bad.trickle", {}, cancel=cancel, on_output=lambda text: cancel.set())
    assert stopped.text.startswith("drop")


def test_html_stays_text_and_every_character_can_be_written(box: Seam) -> None:
    text = call(box, "Bad.markup").text
    assert text.startswith("<script>alert(1)</script>") and "é ö 🙂" in text
    assert text.encode("utf-8")


def test_a_result_of_the_wrong_form_brings_no_picture(box: Seam) -> None:
    assert call(box, "Bad.odd") == Outcome("x\n\n5")
    assert call(box, "Bad.stranger") == Outcome("ValueError: invalid literal for int() with base 10: 'fine'", error=True)
    assert call(box, "Bad.nothing") == Outcome("(no output)")


def test_optional_arguments_and_nulls(box: Seam) -> None:
    assert call(box, "Bad.echo", text="你好") == Outcome('{"said": "你好", "note": "none"}')
    assert call(box, "Bad.echo", text="ab", times=2, note=None).text == '{"said": "abab", "note": "none"}'
    assert call(box, "Bad.echo").error and call(box, "Bad.echo", text="a", other=1).error


def test_an_unknown_tool_is_answered_with_the_known_ones(box: Seam) -> None:
    for name in ("Google", "Bad", "Bad.__init__", "Bad.echo.x", "", "Bad.__class__"):
        outcome = call(box, name)
        assert outcome.error and "Bad.echo" in outcome.text


def test_stop_ends_a_tool_that_hangs_and_the_next_call_works(box: Seam, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "GRACE", 0.01)
    cancel = Cancel()
    threading.Timer(0.05, cancel.set).start()
    assert box.call("Bad.hang", {}, cancel=cancel, on_output=print) == Outcome("Bad.hang was stopped.", error=True)
    assert box.call("Bad.hang", {}, cancel=cancel, on_output=print).error  # set before it began
    assert not call(box, "Bad.echo", text="a").error


def test_a_tool_that_listens_keeps_what_it_has(box: Seam) -> None:
    cancel = Cancel()
    outcome = box.call("Bad.listen", {}, cancel=cancel, on_output=lambda text: cancel.set())
    assert outcome == Outcome("half of it")


def test_the_time_limit_and_the_number_of_hanging_calls(tools: tuple[Tool, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "GRACE", 0.01)
    box = Toolbox([Tool("Bad", make=tools[0].make, seconds=0.02)], Workplace())
    for _ in range(MOST_LEFT_BEHIND):
        assert call(box, "Bad.hang") == Outcome("Bad.hang gave no answer within 0.02 seconds and was given up.", error=True)
    assert "4 earlier calls hang" in call(box, "Bad.echo", text="a").text


def test_offline_a_network_tool_says_so_and_others_work() -> None:
    box = Toolbox([tool for tool in TOOLS if tool.name != INTERPRETER], Workplace(), offline=True)
    for name in ("get_current_weather", "WebSearch", "ArxivSearch.get_arxiv_article_information"):
        outcome = call(box, name, query="x", location="x")
        assert outcome.error and "--offline" in outcome.text
    assert call(box, "Calculator", expression="6 * 7") == Outcome("42")


def test_stop_hangs_up_a_network_tool() -> None:
    cancel = Cancel()
    with stub({"/v1/search": Served(stall_after=-1)}) as server:
        box = Toolbox([tool for tool in TOOLS if tool.text == "weather"], Workplace(web=through(server, PLACES)))
        threading.Thread(target=lambda: (server.stalled.wait(30), cancel.set()), daemon=True).start()
        outcome = box.call("get_current_weather", {"location": "Boston"}, cancel=cancel, on_output=None)
    assert outcome.error and "was stopped" in outcome.text


def test_two_conversations_do_not_share_a_folder(tmp_path: Path) -> None:
    boxes = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{name}.txt").write_text(name)
        boxes.append(Toolbox([tool for tool in TOOLS if tool.text == "files"], Workplace(tmp_path / name)))
    assert [call(box, "ReadFile", path="").text for box in boxes] == ["one.txt", "two.txt"]
    assert call(boxes[0], "ReadFile", path="two.txt").error


def test_no_tools_at_all() -> None:
    box = Toolbox([], Workplace())
    assert box.specs() == ()
    assert call(box, "x") == Outcome("There is no tool 'x'. The tools are: none.", error=True)


def test_bounded_keeps_both_ends() -> None:
    text = bounded("a" + "x" * 100_000 + "z\0")
    assert text[0] == "a" and text[-1] == "z" and len(text) < MOST_TEXT + 100
    assert bounded("short\0") == "short"

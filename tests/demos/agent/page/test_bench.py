"""The workbench's answers: real tools without a sandbox, every press with what no page of ours would send, one call at a time."""

from __future__ import annotations

import base64
import io
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from demos.agent.page import bench as bench_module
from demos.agent.page.bench import Bench
from demos.agent.tools import TOOLS
from demos.agent.visitor.workshop import Workshops
from demos.strings import LANGUAGES, Strings
from demos.tab import App
from models.registry import Registry
from shared.chatml import INTERPRETER
from shared.settings import Settings
from tests.no_files import NoFiles

EN = Strings("en")
OWN = '''
from lagent.actions import BaseAction
from demos.agent.tools.workplace import this_call


class Wait(BaseAction):
    """Waits until it is stopped."""

    touches = ()

    def run(self, what: str) -> str:
        """Wait.

        Args:
            what (str): a file to write when the wait begins
        """
        open(what, "w").close()
        assert this_call().cancel.wait(20), "nobody stopped it"
        return "stopped"


class Odd(BaseAction):
    """Answers with what it is told to."""

    touches = ()

    def run(self, what: str, count: int = 1, more: list = None) -> str:
        """Say it.

        Args:
            what (str): what
            count (int): how often
            more (list): more
        """
        if what == "raise":
            raise RuntimeError("oh\\\\ud800")
        return "\\ud800" if what == "half" else what * count
'''


def served(workshops: Workshops, given: Settings) -> Bench:
    registry = Registry([], files=NoFiles(), devices=lambda: (), need=lambda *_: 0)  # type: ignore[arg-type]
    return Bench(App(registry, given), workshops)


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("own") / "mine.py"
    path.write_text(OWN)
    return str(path)


@pytest.fixture(scope="module")
def workshops(own: str) -> Iterator[Workshops]:
    """Of a public page where no code runs."""
    made = Workshops(Settings(tools=own, share=True), tier=lambda: "none")
    made.permission(None)
    yield made
    made.close_all()


@pytest.fixture(scope="module")
def bench(workshops: Workshops, own: str) -> Bench:
    return served(workshops, Settings(tools=own, share=True))


def sent(answer: Any) -> Any:
    """An answer as it goes over the wire."""
    return json.loads(json.dumps(answer, ensure_ascii=False, allow_nan=False).encode())


def do(bench: Bench, visitor: str = "ann", **asked: Any) -> Any:
    return sent(bench.do(visitor, asked, EN))


# ---- what there is ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", LANGUAGES)
def test_tools_files_and_whether_code_runs(bench: Bench, workshops: Workshops, language: Any) -> None:
    workshops.of("bea").upload("a b.txt", io.BytesIO(b"abc"))
    now = sent(bench.now("bea", Strings(language)))
    assert [tool["name"] for tool in now["tools"]] == [*(tool.name for tool in TOOLS if tool.name != INTERPRETER), "Wait", "Odd"]
    assert all(tool["title"] and tool["about"] for tool in now["tools"]) and "mine.py" in now["tools"][-1]["own"]
    assert (now["files"], now["variables"]) == ([{"name": "a b.txt", "size": "3 B"}], [])
    assert now["code"]["state"] == "off" and now["code"]["text"] and now["code"]["remedy"]


def test_the_state_of_code_in_every_case() -> None:
    release = threading.Event()

    def tier() -> Any:
        release.wait(20)
        return "none"

    slow = Workshops(Settings(unsafe_code_interpreter=True), tier=tier)
    bench = served(slow, Settings())
    assert bench.now("x", EN)["code"]["state"] == "unknown"
    assert "error" in bench.do("x", {"do": "restart"}, EN)
    release.set()
    slow.permission(None)
    assert bench.now("x", EN)["code"]["state"] == "unsafe"
    slow.close_all()


def test_who_cannot_be_a_visitor_gets_no_workshop(own: str) -> None:
    few = Workshops(Settings(tools=own), tier=lambda: "none", most=1)
    few.of("ann").upload("kept.txt", io.BytesIO(b"x"))
    bench = served(few, Settings(tools=own))
    for visitor in ("", "x" * (bench_module.LONGEST_NAME + 1)):
        assert sent(bench.now(visitor, EN))["files"] == []
        assert "error" in sent(bench.do(visitor, {"do": "form", "tool": "Calculator"}, EN))
    assert sent(bench.now("ann", EN))["files"] == [{"name": "kept.txt", "size": "1 B"}]
    few.close_all()


def test_visitors_do_not_see_each_other(bench: Bench, workshops: Workshops) -> None:
    workshops.of("carl").upload("secret.txt", io.BytesIO(b"x"))
    assert "secret.txt" not in json.dumps(bench.now("dora", EN))
    assert "error" in do(bench, "dora", do="file", name="secret.txt")
    assert base64.b64decode(do(bench, "carl", do="file", name="secret.txt")["data"]) == b"x"


# ---- forms and calls -------------------------------------------------------------------------------------------------------


def test_every_tool_has_a_form_and_the_calculator_can_be_tried(bench: Bench) -> None:
    for tool in bench.now("ann", EN)["tools"]:
        forms = do(bench, do="form", tool=tool["name"])["forms"]
        assert forms and all(form["name"] and form["fields"] for form in forms)
    tried = do(bench, do="try", tool="Calculator", form="Calculator", values={"expression": "6 * 7"})
    assert (tried["text"], tried["failed"], tried["images"], tried["files"]) == ("42", False, [], [])
    assert do(bench, do="try", tool="Calculator", form="Calculator", values={"expression": "6 *"})["failed"] is True


def test_a_long_result_is_cut_and_half_a_character_replaced(bench: Bench) -> None:
    long = do(bench, do="try", tool="Odd", form="Odd", values={"what": "x" * 30, "count": "3000"})
    assert 0 < len(long["text"]) <= bench_module.MOST_TRIED
    assert do(bench, do="try", tool="Odd", form="Odd", values={"what": "half"})["text"] == "?"
    assert do(bench, do="try", tool="Odd", form="Odd", values={"what": "raise"})["failed"] is True


@pytest.mark.parametrize(
    "asked",
    [
        {}, {"do": None}, {"do": ["try"]}, {"do": {}}, {"do": "now"}, {"do": "__init__"}, {"do": "leave"}, {"do": "x" * 10**6},
        {"do": "form"}, {"do": "form", "tool": "Nothing"}, {"do": "form", "tool": ["Calculator"]}, {"do": "form", "tool": INTERPRETER},
        {"do": "try", "tool": "Calculator"}, {"do": "try", "tool": "Calculator", "values": []}, {"do": "try", "tool": None, "values": {}},
        {"do": "try", "tool": "Calculator", "form": "Calculator", "values": {}},
        {"do": "try", "tool": "Calculator", "form": "Odd", "values": {"what": "x"}},
        {"do": "try", "tool": "Calculator", "form": ["Calculator"], "values": {"expression": "1"}},
        {"do": "try", "tool": "Calculator", "form": "Calculator", "values": {"expression": "1", "\ud800": 1}},
        {"do": "try", "tool": "Calculator", "form": "Calculator", "values": {"expression": ["1"]}},
        {"do": "try", "tool": "Calculator", "form": "Calculator", "values": {"expression": {"a": {}}}},
        {"do": "try", "tool": "Calculator", "form": "Calculator", "values": {"expression": "1" * 10**6}},
        {"do": "try", "tool": "Odd", "form": "Odd", "values": {"what": "x", "count": "three"}},
        {"do": "try", "tool": "Odd", "form": "Odd", "values": {"what": "x", "count": "9" * 5000}},
        {"do": "try", "tool": "Odd", "form": "Odd", "values": {"what": "x", "more": "[" * 100_000}},
        {"do": "try", "tool": INTERPRETER, "form": INTERPRETER, "values": {"command": "1"}},
        {"do": "restart"}, {"do": "file"}, {"do": "file", "name": ""}, {"do": "file", "name": "../mine.py"},
        {"do": "file", "name": "/etc/passwd"},
        {"do": "file", "name": "a\0b"}, {"do": "file", "name": "x" * 10**5}, {"do": "file", "name": "\ud800"},
        {"do": "file", "name": ["a"]},
        {"do": "file", "name": "."}, {"do": "file", "name": "C:\\x"},
    ],
)  # fmt: skip
def test_what_is_wrong_is_an_error_and_says_nothing_of_this_machine(
    bench: Bench, workshops: Workshops, own: str, caplog: pytest.LogCaptureFixture, asked: dict[str, Any]
) -> None:
    answer = do(bench, **asked)
    assert set(answer) == {"error"} and answer["error"]["title"] and answer["error"]["text"] and len(json.dumps(answer)) < 3000
    for path in (str(Path(own).parent), str(workshops.of("ann").folder.parent), str(Path(__file__).parents[3])):
        assert path not in json.dumps(answer)
    assert not caplog.records  # a visitor's mistake is none of ours


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3), max_leaves=6,
)  # fmt: skip


@given(
    st.sampled_from(["form", "try", "file", "stop", "restart"]), st.dictionaries(st.sampled_from(["tool", "form", "values", "name"]), JSON)
)
@example("try", {"tool": "Odd", "form": "Odd", "values": {"what": "x", "count": 10**18}})
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_any_press_has_an_answer(bench: Bench, what: str, asked: dict[str, Any]) -> None:
    assert isinstance(do(bench, "eve", **{**asked, "do": what}), dict)


@given(JSON, JSON, JSON)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_any_values_of_a_form_have_an_answer(bench: Bench, what: Any, count: Any, more: Any) -> None:
    count = count if not isinstance(count, int) or abs(count) < 1000 else 1000
    answer = do(bench, "eve", do="try", tool="Odd", form="Odd", values={"what": what, "count": count, "more": more})
    assert "error" in answer or "text" in answer


# ---- one at a time, and Stop -----------------------------------------------------------------------------------------------


def tried_until(bench: Bench, began: Path, end: Callable[[], object]) -> Any:
    """What a call that waits gives, ended by `end`."""
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(do, bench, "fay", do="try", tool="Wait", form="Wait", values={"what": str(began)})
        while not began.exists() and not future.done():
            threading.Event().wait(0.01)
        second = do(bench, "fay", do="try", tool="Calculator", form="Calculator", values={"expression": "1"})
        assert "still running" in second["error"]["text"]
        assert do(bench, "gil", do="try", tool="Calculator", form="Calculator", values={"expression": "1"})["text"] == "1"
        do(bench, "gil", do="stop")
        assert not future.done()
        end()
        return future.result(20)


def test_a_visitor_tries_one_call_at_a_time_and_can_stop_it(bench: Bench, tmp_path: Path) -> None:
    assert tried_until(bench, tmp_path / "began", lambda: do(bench, "fay", do="stop"))["text"] == "stopped"
    assert do(bench, "fay", do="try", tool="Calculator", form="Calculator", values={"expression": "1"})["text"] == "1"
    assert do(bench, "fay", do="stop") == {}


def test_all_visitors_together_try_no_more_than_there_are_threads(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refused: list[Any] = []

    def others() -> None:
        monkeypatch.setattr(bench_module, "MOST_TRYING", 1)
        refused.append(do(bench, "other", do="try", tool="Calculator", form="Calculator", values={"expression": "1"}))
        do(bench, "fay", do="stop")

    assert tried_until(bench, tmp_path / "began", others)["text"] == "stopped"
    assert "Too many visitors" in refused[0]["error"]["text"]


def test_who_leaves_stops_what_he_tried(bench: Bench, tmp_path: Path) -> None:
    assert tried_until(bench, tmp_path / "began", lambda: bench.leave("fay"))["text"] == "stopped"


# ---- files and the kernel --------------------------------------------------------------------------------------------------


def test_a_file_that_is_too_large_is_not_sent(bench: Bench, workshops: Workshops, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_module, "MOST_DOWNLOAD", 1 << 20)
    workshops.of("hal").upload("big.bin", io.BytesIO(b"x" * ((1 << 20) + 1)))
    workshops.of("hal").upload("fits.bin", io.BytesIO(b"x" * (1 << 20)))
    assert "larger than 1 MiB" in do(bench, "hal", do="file", name="big.bin")["error"]["text"]
    assert len(base64.b64decode(do(bench, "hal", do="file", name="fits.bin")["data"])) == 1 << 20


def test_a_name_that_is_no_text_does_not_cost_the_list(bench: Bench, workshops: Workshops) -> None:
    workshops.of("ida").upload("a.txt", io.BytesIO(b"x"))
    place = str(workshops.of("ida").folder).encode()
    Path((place + b"/\xff.txt").decode("utf-8", "surrogateescape")).write_bytes(b"x")
    assert {file["name"] for file in sent(bench.now("ida", EN))["files"]} == {"a.txt", "?.txt"}


def test_a_restart_says_so_where_code_may_run() -> None:
    made = Workshops(Settings(unsafe_code_interpreter=True), tier=lambda: "none")
    made.permission(None)
    assert do(served(made, Settings()), do="restart") == {"said": EN("agent.restarted")}
    made.close_all()

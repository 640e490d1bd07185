"""The real endpoint on a page of its own, asked through `gradio_client` and plain HTTP; models are scripts, tools and sandbox real."""

from __future__ import annotations

import base64
import gc
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gradio as gr
import httpx
import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError

from demos.agent import api, sandbox
from demos.agent.sandbox import folders
from demos.agent.visitor.workshop import Workshops
from demos.tab import App
from models.backends.scripted import Scripted
from models.registry import Registry
from shared.engine import Cancel, Engine, ModelSpec, OnProgress, Sampling, ToolSpec
from shared.errors import ModelUnavailable
from shared.events import Event
from shared.messages import Message, user
from shared.settings import Settings
from tests.no_files import NoFiles


def call(name: str, **arguments: object) -> str:
    return f"<tool_call>\n{json.dumps({'name': name, 'arguments': arguments})}\n</tool_call>"


CODE = """import matplotlib.pyplot as plt
plt.plot([1, 2]); plt.show()
open('numbers.csv', 'w').write('1,2')
print('drawn')"""
SCRIPTS = {
    "plain": ["Nothing to calculate."],
    "calculator": [f"I will calculate.\n{call('Calculator', expression='6 * 7')}", "It is 42."],
    "artist": [call("IPythonInterpreter", command=CODE), "Here it is."],
    "endless": [call("Calculator", expression="1 + 1")],
    "hostile": [
        call("Calculator", expression="1", path="/etc/passwd", meta="x") + call("Calculator", expression="\ud800"),
        "Nothing happened.",
    ],
    "unreadable": ['<tool_call>{"Calculator": [1, 2]}</tool_call>', "Then without."],
    "thoughtful": [f"<think>Six times seven.</think>{call('Calculator', expression='6*7')}", "<think>Easy.</think>It is 42."],
    "slow": ["word " * 20_000],
    "stuck": [call("IPythonInterpreter", command="open('began', 'w').close()\nwhile True: pass", timeout=60), "Done."],
    "broken": ["never said"],
}
SPECS = [
    ModelSpec(
        name, "scripted", (), dialect="chatml", capabilities=frozenset({"text", "tools"}),
        options={"replies": replies, "pieces": 7, "delay": 0.01 if name == "slow" else 0},
    )
    for name, replies in SCRIPTS.items()
]  # fmt: skip


@dataclass(frozen=True)
class Heard:
    """What engines were given."""

    tools: list[tuple[str, ...]] = field(default_factory=list)
    messages: list[list[Message]] = field(default_factory=list)
    cancels: list[Cancel] = field(default_factory=list)


class Remembering(Scripted):
    def __init__(self, spec: ModelSpec, heard: Heard) -> None:
        super().__init__(spec)
        self._id, self._heard = spec.id, heard

    def stream(
        self, messages: Sequence[Message], sampling: Sampling = Sampling(), *, tools: Sequence[ToolSpec] = (), cancel: Cancel | None = None
    ) -> Iterator[Event]:
        self._heard.tools.append(tuple(tool.name for tool in tools))
        self._heard.messages.append(list(messages))
        if cancel is not None:
            self._heard.cancels.append(cancel)
        if self._id == "broken":
            raise ModelUnavailable("There is no file /home/owner/secret.gguf.", "Look there.")
        return super().stream(messages, sampling, tools=tools, cancel=cancel)


@dataclass(frozen=True)
class Served:
    url: str
    client: Client
    heard: Heard
    workshops: Workshops

    def ask(self, *arguments: object, **named: object) -> Any:
        return self.client.predict(*arguments, api_name="/agent", **named)


@contextmanager
def serving(settings: Settings, *, model: str = "plain", **given: Any) -> Iterator[Served]:
    heard = Heard()

    def load(spec: ModelSpec, path: Path | None, on_progress: OnProgress, cancel: Cancel) -> Engine:
        return Remembering(spec, heard)

    registry = Registry(SPECS, files=NoFiles(), load=load, devices=lambda: (), need=lambda *_: 0)  # type: ignore[arg-type]
    workshops = Workshops(settings, **given)
    with gr.Blocks(analytics_enabled=False) as page:
        api.add(App(registry, settings, model), workshops)
    page.queue(default_concurrency_limit=None)
    _, url, _ = page.launch(server_name="127.0.0.1", prevent_thread_lock=True, quiet=True, ssr_mode=False, run_history=False)
    gc.collect()
    client = Client(url, verbose=False, analytics_enabled=False)
    try:
        yield Served(url.rstrip("/"), client, heard, workshops)
    finally:
        workshops.close_all()
        registry.close()
        client.close()
        page.close(verbose=False)
        gc.collect()  # Gradio leaves event loops open: found later, while Python 3.11 parses a file, they break it (gh-106905)


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with serving(Settings()) as page:
        yield page


@pytest.fixture(scope="module")
def public() -> Iterator[Served]:
    """A page for strangers on a machine that isolates nothing."""
    with serving(Settings(listen=True), tier=lambda: "none") as page:
        yield page


@pytest.fixture
def isolated() -> None:
    if sandbox.tier() == "none":
        pytest.skip("; ".join(sandbox.examination().reasons))


def until(condition: Callable[[], bool], seconds: float = 30) -> bool:
    give_up = time.monotonic() + seconds
    while not condition() and time.monotonic() < give_up:
        time.sleep(0.05)
    return condition()


def left_behind() -> list[str]:
    return [path.name for path in folders.base().iterdir() if path.name != folders.LOCK]


@contextmanager
def asked_over_http(served: Served, task: str, tools: str = "", model: str = "", max_turns: int = 8) -> Iterator[Iterator[str]]:
    body = json.dumps({"data": [task, tools, model, max_turns]})
    asked = httpx.post(f"{served.url}/gradio_api/call/agent", content=body, headers={"Content-Type": "application/json"}, trust_env=False)
    with httpx.stream("GET", f"{served.url}/gradio_api/call/agent/{asked.json()['event_id']}", timeout=60, trust_env=False) as answer:
        yield answer.iter_lines()


def over_http(served: Served, *arguments: Any) -> Any:
    with asked_over_http(served, *arguments) as answer:
        lines = list(answer)
    [found] = json.loads(lines[lines.index("event: complete") + 1].removeprefix("data: "))
    return found


STEP = {"thought": "", "text": "", "tool": "", "arguments": "", "result": "", "error": False, "seconds": 0.0, "images": [], "files": []}


def test_an_answer_without_a_tool(served: Served) -> None:
    assert served.ask("hello") == {"answer": "Nothing to calculate.", "steps": [], "finished": "answered"}
    assert served.heard.messages[-1][-1] == user("hello")


def test_an_answer_through_a_tool(served: Served) -> None:
    found = served.ask("What is 6 times 7?", ["Calculator"], "calculator", 3)
    [step] = found["steps"]
    assert found["answer"] == "It is 42." and found["finished"] == "answered" and step["seconds"] >= 0
    assert step == {
        **STEP, "text": "I will calculate.\n", "tool": "Calculator", "arguments": '{"expression": "6 * 7"}', "result": "42",
        "seconds": step["seconds"],
    }  # fmt: skip
    assert served.heard.tools[-1] == ("Calculator",)


def test_the_prompts_are_in_the_language_of_the_task(served: Served) -> None:
    served.ask("六乘七等于几?", "Calculator", "calculator")
    assert served.heard.messages[-1][0].text.startswith("当开启工具")
    served.ask("What is 6 times 7?", "Calculator, CurrentTime", "calculator")
    assert served.heard.messages[-1][0].text.startswith("When tools") and served.heard.tools[-1] == ("Calculator", "CurrentTime")


def test_plain_http(served: Served) -> None:
    found = over_http(served, "6 * 7?", "Calculator", "calculator", 8)
    assert found["answer"] == "It is 42." and found["steps"][0]["result"] == "42"


@pytest.mark.usefixtures("isolated")
def test_pictures_and_files_of_code_come_with_the_answer_and_nothing_is_left(served: Served) -> None:
    found = served.ask("Draw", "IPythonInterpreter", "artist")
    [step] = found["steps"]
    assert found["answer"] == "Here it is." and "drawn" in step["result"] and not step["error"]
    [image] = step["images"]
    assert base64.b64decode(image["data"]).startswith(b"\x89PNG") and image["width"] > 100
    assert [(file["name"], base64.b64decode(file["data"])) for file in step["files"]] == [("numbers.csv", b"1,2")]
    assert until(lambda: not left_behind())


def test_calls_that_never_end_do(served: Served) -> None:
    found = served.ask("go on", "Calculator", "endless", 2)
    assert found["finished"] == "turns"
    assert [step["result"] for step in found["steps"]] == ["2", "Not run: no turns are left."]


def test_thoughts_stand_with_what_they_led_to(served: Served) -> None:
    found = served.ask("6 * 7?", "Calculator", "thoughtful")
    assert [(step["thought"], step["tool"]) for step in found["steps"]] == [("Six times seven.", "Calculator"), ("Easy.", "")]
    assert found["answer"] == "It is 42."


def test_a_block_that_is_no_call_is_a_step_too(served: Served) -> None:
    found = served.ask("go", "Calculator", "unreadable")
    [step] = found["steps"]
    assert step == {**STEP, "text": step["text"], "result": step["result"], "error": True}
    assert "[1, 2]" in step["text"] and "cannot be read" in step["result"]
    assert found["answer"] == "Then without."


def test_what_a_model_writes_breaks_no_client(served: Served) -> None:
    """A client takes JSON objects with certain keys for files, and text with half a character cannot be sent."""
    found = served.ask("go", "Calculator", "hostile")
    assert [step["error"] for step in found["steps"]] == [True, True] and found["answer"] == "Nothing happened."
    assert "/etc/passwd" in found["steps"][0]["arguments"]


def test_a_task_with_half_a_character_is_read_without_it(served: Served) -> None:
    assert over_http(served, "\ud800 half")["finished"] == "answered"
    assert served.heard.messages[-1][-1] == user("? half")


@pytest.mark.parametrize(
    ("named", "told"),
    [
        ({"task": " "}, "empty"), ({"task": 7}, "no text"), ({"task": "x" * 200_001}, "200,001 characters"),
        ({"max_turns": 0}, "from 1 to 50"), ({"max_turns": 51}, "from 1 to 50"), ({"max_turns": True}, "from 1 to 50"),
        ({"max_turns": "8"}, "from 1 to 50"), ({"max_turns": None}, "from 1 to 50"), ({"model": "gpt"}, r"gpt.*plain.*slow"),
        ({"model": 7}, "no text"), ({"tools": {"a": 1}}, "no list"), ({"tools": [7]}, "no list"),
        ({"tools": ["Calculator", "Screwdriver"]}, r"Not offered here: Screwdriver.*ArxivSearch, .*Calculator"),
    ],
)  # fmt: skip
def test_what_cannot_be_asked_is_refused_in_words(served: Served, named: dict[str, object], told: str) -> None:
    before = len(served.heard.tools)
    with pytest.raises(AppError, match=told):
        served.ask(**{"task": "go", **named})
    assert len(served.heard.tools) == before and served.ask("hello")["finished"] == "answered"


def test_alone_on_the_own_computer_every_tool_is_there(served: Served) -> None:
    served.ask("hello")
    assert {name.partition(".")[0] for name in served.heard.tools[-1]} == {tool.name for tool in served.workshops.offered()}


def test_strangers_get_by_default_what_nobody_is_asked_about(public: Served) -> None:
    public.ask("hello")
    assert public.heard.tools[-1] == ("Calculator", "CurrentTime", "ReadFile")
    public.ask("hello", ["WebSearch"])
    assert public.heard.tools[-1] == ("WebSearch",)


def test_code_that_may_not_run_is_refused_with_the_reason(public: Served) -> None:
    with pytest.raises(AppError, match=r"IPythonInterpreter: this server cannot isolate code.*ArxivSearch, WebSearch, Calculator"):
        public.ask("hello", ["IPythonInterpreter"])


def test_strangers_learn_no_path_of_this_machine(served: Served, public: Served) -> None:
    with pytest.raises(AppError, match=r"secret\.gguf"):
        served.ask("hello", model="broken")
    with pytest.raises(AppError) as refused:
        public.ask("hello", model="broken")
    assert "owner" not in str(refused.value) and "secret" not in str(refused.value)


def test_a_caller_that_cancels_stops_the_run(served: Served) -> None:
    before = len(served.heard.cancels)
    job = served.client.submit("go", model="slow", api_name="/agent")
    assert until(lambda: len(served.heard.cancels) > before)
    assert not served.heard.cancels[-1].is_set()
    job.cancel()
    assert until(served.heard.cancels[-1].is_set)


@pytest.mark.usefixtures("isolated")
def test_a_caller_that_hangs_up_ends_the_code_that_runs_for_it(served: Served) -> None:
    with asked_over_http(served, "go", "IPythonInterpreter", "stuck", 8) as lines:
        assert any("IPythonInterpreter" in line and left_behind() for line in lines)
    assert until(lambda: not left_behind(), seconds=15)  # long before the tool's own limit

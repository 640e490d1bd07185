"""The real page in this process, asked through `gradio_client`: the public endpoint, what is private, and `/healthz` meanwhile."""

from __future__ import annotations

import dataclasses
import itertools
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError

from demos import app
from demos.tab import App
from models.backends.scripted import Scripted
from models.registry import Registry
from shared.engine import Cancel, Engine, ModelSpec, OnProgress, Sampling, ToolSpec
from shared.events import Event
from shared.messages import Message, system, user
from shared.settings import Settings
from tests.no_files import NoFiles

REPLY = "The brush is wet, the paper waits. " * 4
FIRST = ModelSpec(
    "first", "scripted", (), capabilities=frozenset({"text"}), context=1000, sampling=Sampling(temperature=0.3, top_p=0.9),
    options={"replies": [REPLY], "delay": 0.002},
)  # fmt: skip
SECOND = dataclasses.replace(FIRST, id="second", options={"replies": ["I am the second."]})


class Remembering(Scripted):
    """The script, which also keeps what it was asked."""

    def __init__(self, spec: ModelSpec, asked: list[tuple[str, list[Message], Sampling]]) -> None:
        super().__init__(spec)
        self._id, self._heard = spec.id, asked

    def stream(
        self, messages: Sequence[Message], sampling: Sampling = Sampling(), *, tools: Sequence[ToolSpec] = (), cancel: Cancel | None = None
    ) -> Iterator[Event]:
        self._heard.append((self._id, list(messages), sampling))
        return super().stream(messages, sampling, tools=tools, cancel=cancel)


@dataclasses.dataclass(frozen=True)
class Served:
    url: str
    client: Client
    asked: list[tuple[str, list[Message], Sampling]]
    may_load: threading.Event
    loading: threading.Event

    def chat(self, *arguments: object, **named: object) -> list[str]:
        """Every state of the answer, the last one whole."""
        job = self.client.submit(*arguments, api_name="/chat", **named)
        job.result(60)
        return [str(text) for text in job.outputs()]

    def health(self) -> dict[str, object]:
        answer = httpx.get(f"{self.url}/healthz", timeout=60, trust_env=False)
        assert answer.status_code == 200
        found: dict[str, object] = answer.json()
        return found


@contextmanager
def serving(data_dir: Path) -> Iterator[Served]:
    asked: list[tuple[str, list[Message], Sampling]] = []
    may_load, loading = threading.Event(), threading.Event()

    def load(spec: ModelSpec, path: Path | None, on_progress: OnProgress, cancel: Cancel) -> Engine:
        loading.set()
        assert may_load.wait(120)
        return Remembering(spec, asked)

    registry = Registry([FIRST, SECOND], files=NoFiles(), load=load)
    settings = Settings(data_dir=str(data_dir))
    program = App(registry, settings, "first")
    page = app.build(program)
    port = app.free_port("127.0.0.1", 0)
    app.launch(page, program, port=port)
    client = Client(f"http://127.0.0.1:{port}", verbose=False, analytics_enabled=False)
    try:
        yield Served(f"http://127.0.0.1:{port}", client, asked, may_load, loading)
    finally:
        may_load.set()
        registry.close()
        client.close()
        page.close(verbose=False)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("data")) as page:
        page.may_load.set()
        yield page


def test_healthz_answers_while_a_question_waits_for_its_model(tmp_path: Path) -> None:
    with serving(tmp_path) as page:
        assert page.health()["models"] == []
        job = page.client.submit("hi", api_name="/chat")
        assert page.loading.wait(60)
        assert page.health() == {**page.health(), "status": "ok", "models": []}
        assert not page.may_load.is_set() and not job.done()
        page.may_load.set()
        assert job.result(60) == REPLY
        assert page.health()["models"] == ["first"]


def test_the_answer_grows_from_nothing_to_the_whole(served: Served) -> None:
    states = served.chat("hello")
    assert states[-1] == REPLY and len(set(states)) > 2
    assert all(later.startswith(earlier) for earlier, later in itertools.pairwise(states))


def test_with_nothing_given_the_page_s_model_answers_with_its_own_settings(served: Served) -> None:
    served.chat("hello")
    model, messages, sampling = served.asked[-1]
    assert (model, messages) == ("first", [user("hello")])
    assert sampling == dataclasses.replace(FIRST.sampling, max_tokens=500)  # of 512, at most half of the context


def test_everything_can_be_given(served: Served) -> None:
    states = served.chat("hello", model="second", system="be brief", max_tokens=3, temperature=0.0, seed=7)
    assert states[-1] == "I am the sec"  # three pieces of four characters
    model, messages, sampling = served.asked[-1]
    assert (model, messages) == ("second", [system("be brief"), user("hello")])
    assert sampling == dataclasses.replace(SECOND.sampling, max_tokens=3, temperature=0.0, seed=7)


def test_nothing_is_kept_of_a_caller(served: Served) -> None:
    served.chat("my secret")
    served.chat("and now?")
    assert served.asked[-1][1] == [user("and now?")]


def test_an_unknown_model_is_refused_with_the_known_ids(served: Served) -> None:
    with pytest.raises(AppError, match=r"gpt.*first.*second"):
        served.chat("hello", model="gpt")


@pytest.mark.parametrize(
    ("named", "told"),
    [({"max_tokens": 0}, "max tokens"), ({"temperature": 9.0}, "temperature"), ({"seed": 2**40}, "seed"), ({"max_tokens": None}, "number")],
)
def test_what_cannot_be_asked_is_refused_in_words(served: Served, named: dict[str, object], told: str) -> None:
    before = len(served.asked)
    with pytest.raises(AppError, match=told):
        served.chat("hello", **named)
    assert len(served.asked) == before
    assert served.chat("hello")[-1] == REPLY  # and the page lives on


def test_the_endpoints_of_the_tabs_are_the_only_public_ones(served: Served) -> None:
    api = served.client.view_api(return_format="dict", print_info=False)
    assert set(api["named_endpoints"]) == {"/agent", "/chat", "/vision", "/write"} and not api["unnamed_endpoints"]
    parameters = {item["parameter_name"]: item["parameter_default"] for item in api["named_endpoints"]["/chat"]["parameters"]}
    assert parameters == {"message": None, "model": "", "system": "", "max_tokens": 512, "temperature": -1, "seed": -1}
    config = httpx.get(f"{served.url}/config", trust_env=False).json()
    assert len(config["dependencies"]) > 10
    public = [event["api_name"] for event in config["dependencies"] if event["api_visibility"] != "private"]
    assert public == ["chat", "agent", "vision", "write"]


def test_a_private_handler_cannot_be_called_by_a_client(served: Served) -> None:
    events = httpx.get(f"{served.url}/config", trust_env=False).json()["dependencies"]
    private = {str(event["api_name"]) for event in events if event["api_visibility"] == "private" and event["api_name"]}
    assert {"on_send", "on_open"} <= private
    for name in sorted(private):
        with pytest.raises(ValueError, match="Cannot find a function"):
            served.client.predict(api_name=f"/{name}")


def test_plain_http_works_too(served: Served) -> None:
    body = {"data": ["hello", "second", "", 512, -1, -1]}
    asked = httpx.post(f"{served.url}/gradio_api/call/chat", json=body, trust_env=False).json()["event_id"]
    with httpx.stream("GET", f"{served.url}/gradio_api/call/chat/{asked}", timeout=60, trust_env=False) as answer:
        lines = list(answer.iter_lines())
    assert lines[lines.index("event: complete") + 1] == 'data: ["I am the second."]'

"""A real page in a real Chromium: the program started as a user starts it, on the real default model."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Response, TimeoutError, sync_playwright

from tests.browser import agent_scripts, vision_scripts, writing_scripts
from tests.browser.agent_page import Agent
from tests.browser.public_web import PublicWeb
from tests.browser.vision_page import Vision
from tests.browser.writing_page import Writing
from tests.browser.writing_scripts import Services
from tests.openai_server import OpenAIServer, says

ROOT = Path(__file__).resolve().parents[2]
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip


def chromium() -> str:
    """The system's Chromium. Without one these tests are skipped, or fail where REQUIRE_BROWSER says that there must be one."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if path := shutil.which(name):
            return path
    reason = "there is no Chromium on this machine (Debian: apt-get install chromium)"
    if os.environ.get("REQUIRE_BROWSER"):
        pytest.fail(f"REQUIRE_BROWSER is set, and {reason}")
    pytest.skip(reason)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    path = chromium()
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=path, headless=True, args=list(FLAGS))
        yield running
        running.close()


@dataclass
class App:
    """The running program: its address, and its process."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path

    def children(self) -> list[int]:
        """Process ids of what it started: the model's child among them."""
        out = subprocess.run(["ps", "-o", "pid=", "--ppid", str(self.process.pid)], capture_output=True, text=True, check=False).stdout
        return [int(pid) for pid in out.split()]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start(
    *flags: str, data_dir: Path, under: Sequence[str] = (), environment: Mapping[str, str] | None = None, port: int = 0
) -> App:  # fmt: skip
    """`python launch.py` with these flags, once it answers; `under` is a program that runs it, `environment` what is added to ours.
    `port` 0: any that is free."""
    port = port or free_port()
    log = data_dir / "log.txt"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*under, sys.executable, "launch.py", "--port", str(port), "--data-dir", str(data_dir), *flags], cwd=ROOT, stdout=output,
            stderr=output, env={**os.environ, **(environment or {})},
        )  # fmt: skip
    app = App(f"http://127.0.0.1:{port}", process, log)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{app.url}/healthz", timeout=5):
                return app
        except OSError:
            time.sleep(0.2)
    raise AssertionError(f"the page did not come up:\n{log.read_text()}")


@pytest.fixture(scope="session")
def start_app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., App]]:
    apps: list[App] = []

    def run(*flags: str, **how: Any) -> App:
        apps.append(start(*flags, data_dir=tmp_path_factory.mktemp("app"), **how))
        return apps[-1]

    yield run
    for app in apps:
        app.process.send_signal(signal.SIGTERM)
    for app in apps:
        app.process.wait(20)


@pytest.fixture(scope="session")
def app(start_app: Callable[..., App], default_gguf: Path, models_dir: Path) -> App:
    """One program on the real model for all tests that do not break it."""
    return start_app("--models-dir", str(models_dir))


@dataclass
class Visitor:
    """One browser profile with one page, what it asked the network for, and what its console said."""

    context: BrowserContext
    page: Page
    requests: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def open(self, url: str) -> None:
        self.page.goto(url)
        self.page.locator("#chat-composer textarea").wait_for(timeout=60_000)
        self.page.locator("#pill b").filter(has_text=r"").wait_for()
        self.page.wait_for_function("document.querySelector('#chat-title')?.textContent.trim().length > 0", timeout=60_000)
        filled = "performance.getEntriesByType('resource').some(entry => entry.name.endsWith('/run/predict'))"
        self.page.wait_for_function(filled, timeout=60_000)  # what a page is given when it opens has come
        self.page.wait_for_timeout(300)  # and is drawn

    def failed(self, response: Response) -> None:
        """Keep what was asked when the server failed, for the console says nothing but the number."""
        self.errors.append(f"{response.status} for {response.request.post_data or response.url}")

    def ask(self, text: str) -> None:
        """Send, and wait until the page has taken the question: from then on Stop is there, until the answer ends."""
        before = len(self.questions())
        self.submit(text)
        self.page.wait_for_function("n => document.querySelectorAll('#chat-log .user-row .prose').length > n", arg=before, timeout=30_000)

    def submit(self, text: str) -> None:
        self.page.locator("#chat-composer textarea").fill(text)
        self.page.locator("#chat-composer .submit-button").click()

    def see(self, selector: str, *, timeout: float = 60_000) -> None:
        """Wait until there is a visible element of `selector`."""
        visible = f"[...document.querySelectorAll({json.dumps(selector)})].some(e => e.checkVisibility())"
        self.until(visible, selector, timeout=timeout)

    def until(self, condition: str, what: str, *, timeout: float) -> None:
        """Wait until a JavaScript `condition` holds; a failure tells what the page showed instead."""
        try:
            self.page.wait_for_function(condition, timeout=timeout)
        except TimeoutError as error:
            places = ("#pill", "#chat-stage", "#chat-error", "#chat-notice", "#chat-log")
            shown = {place: self.page.locator(place).inner_text() for place in places if self.page.locator(place).count()}
            raise AssertionError(f"{what} did not come; the page shows {shown}") from error

    def finished(self) -> None:
        """Until the composer offers Send again and a footer stands under every answer."""
        rows = "document.querySelectorAll('#chat-log .user-row .prose').length"  # none while the log is being drawn anew
        feet = "document.querySelectorAll('#chat-log .pz-foot').length"
        whole = f"document.querySelector('#chat-composer .submit-button') && {rows} && {feet} >= {rows}"
        self.until(whole, "the end of the answer", timeout=120_000)

    def streaming(self) -> None:
        """Until an answer is being written."""
        self.until("document.querySelector('#chat-log .bot-row')?.parentElement.innerText.includes('▍')", "an answer", timeout=60_000)

    def stop(self) -> None:
        """Press Stop, unless the answer ended just before."""
        self.page.evaluate("document.querySelector('#chat-composer .stop-button')?.click()")

    def answers(self) -> list[str]:
        """The texts of the assistant's rows, footers included."""
        return self.page.locator("#chat-log .bot-row").all_inner_texts()

    def questions(self) -> list[str]:
        return [text.strip() for text in self.page.locator("#chat-log .user-row .prose").all_inner_texts()]


@pytest.fixture
def visit(browser: Browser) -> Iterator[Callable[..., Visitor]]:
    """A new visitor with an empty profile; at the end, nothing may have been asked of another host or gone wrong in the console."""
    visitors: list[Visitor] = []

    def new(url: str, **options: object) -> Visitor:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 860}, "locale": "en-US", **options})  # type: ignore[arg-type]
        visitor = Visitor(context, context.new_page())
        visitor.page.on("request", lambda request: visitor.requests.append(request.url))
        visitor.page.on("response", lambda response: visitor.failed(response) if response.status >= 500 else None)
        visitor.page.on("console", lambda message: visitor.errors.append(message.text) if message.type == "error" else None)
        visitor.page.on("pageerror", lambda error: visitor.errors.append(str(error)))
        visitors.append(visitor)
        visitor.open(url)
        return visitor

    yield new
    for visitor in visitors:
        visitor.context.close()
        assert not visitor.errors
        hosts = {url.split("/")[2].split(":")[0] for url in visitor.requests if url.startswith(("http", "ws"))}
        assert hosts <= {"127.0.0.1"}


@pytest.fixture(scope="session")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PublicWeb]:
    """The public services that the agent's tools ask."""
    with PublicWeb(agent_scripts.SITES, tmp_path_factory.mktemp("web")) as running:
        yield running


@pytest.fixture(scope="session")
def agent_app(start_app: Callable[..., App], web: PublicWeb, tmp_path_factory: pytest.TempPathFactory) -> App:
    """One program for the agent's tests: scripted models, tools that misbehave. Where nothing isolates code, it runs all the same."""
    folder = tmp_path_factory.mktemp("agent")
    return start_app(
        "--models", str(agent_scripts.catalog(folder)), "--tools", str(agent_scripts.tools(folder)), "--model", "talks",
        "--models-dir", str(folder / "models"), "--unsafe-code-interpreter", environment=web.environment,
    )  # fmt: skip


@pytest.fixture
def use(agent_app: App, visit: Callable[..., Visitor]) -> Callable[..., Agent]:
    """A new visitor on the agent's tab with this model chosen."""
    return lambda model="", **options: Agent(visit(agent_app.url, **options), model)


@pytest.fixture(scope="session")
def endpoint() -> Iterator[OpenAIServer]:
    """A model on a server, which keeps what it was sent."""
    with OpenAIServer(says("It is ", "far away.")) as running:
        yield running


@pytest.fixture(scope="session")
def vision_app(
    start_app: Callable[..., App], endpoint: OpenAIServer, models_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[App]:
    """One program for the vision tab's tests: scripted models, one on a server, the real image-facts, an internet with pictures."""
    folder = tmp_path_factory.mktemp("vision")
    with PublicWeb(vision_scripts.SITES, folder) as internet:
        flags = ("--models", str(vision_scripts.catalog(folder, endpoint.url)), "--model", "sees", "--models-dir", str(models_dir))
        yield start_app(*flags, environment=internet.environment)


@pytest.fixture
def look(vision_app: App, visit: Callable[..., Visitor]) -> Callable[..., Vision]:
    """A new visitor on the vision tab with this model chosen."""
    return lambda model="", **options: Vision(visit(vision_app.url, **options), model)


@pytest.fixture(scope="session")
def services() -> Services:
    """The picture services, which answer at once."""
    made = Services()
    made.opened.set()
    return made


@pytest.fixture(scope="session")
def writing_app(start_app: Callable[..., App], services: Services, tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """One program for the writing tab's tests: scripted models, one on a server that hangs up, and picture services."""
    folder = tmp_path_factory.mktemp("writing")
    with PublicWeb(services.sites(), folder) as internet, writing_scripts.breaking() as server:
        catalog = writing_scripts.catalog(folder, server.url)
        flags = ("--models", str(catalog), "--model", "whole", "--models-dir", str(folder / "models"))
        yield start_app(*flags, environment=internet.environment)


@pytest.fixture
def desk(writing_app: App, visit: Callable[..., Visitor]) -> Callable[..., Writing]:
    """A new visitor on the writing tab with this model chosen."""
    return lambda model="", **options: Writing(visit(writing_app.url, **options), model)

"""The agent's tab around its runs: files, recordings, workbench, other visitors, hostile words, widths, keys, and where no code runs."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.browser import agent_scripts
from tests.browser.agent_page import CARD, LOG, Agent, width
from tests.browser.agent_scripts import BIG, CODE, HTML
from tests.browser.conftest import App, Visitor
from tests.browser.public_web import PublicWeb

pytestmark = pytest.mark.browser
Visit = Callable[..., Visitor]
Use = Callable[..., Agent]
LACKING = (sys.executable, "-m", "tests.demos.agent.sandbox.lacking")


@pytest.fixture(scope="module")
def bare_app(start_app: Callable[..., App], tmp_path_factory: pytest.TempPathFactory) -> App:
    """A public program without a password, without a model on disk, on a machine that has no namespaces."""
    models = tmp_path_factory.mktemp("no models")
    return start_app("--listen", "--models-dir", str(models), under=(*LACKING, "namespaces", "--"))


def test_hostile_words_stay_words(use: Use) -> None:
    agent = use("hostile")
    agent.do(HTML)
    assert agent.tasks() == [HTML]
    assert "<script>document.title=2</script>${document.title=3} done" in agent.said()
    assert '<img src=x onerror=\\"document.title=1\\">' in agent.unfold("Parrot")
    assert "RuntimeError: no <b>such</b> luck" in agent.unfold("Broken · Failed")
    assert "New files: <img src=x onerror=document.title=4>.txt" in agent.said()
    assert "<b>whatever</b>" in agent.bench("tools", "Parrot")
    agent.page.locator("[data-key='try Parrot']").click()
    agent.page.locator(".pz-try input").fill(HTML)
    agent.page.locator(".pz-try [type=submit]").click()
    agent.page.locator(".pz-tried pre").filter(has_text="document.title=3").wait_for()
    for tab, words in (("files", "document.title=4"), ("prompt", "Turn 3"), ("walk", "Declare")):
        agent.bench(tab, words)
        assert agent.page.locator(".pz-bench img, .pz-bench script, .pz-bench b").count() == 0
    assert agent.page.locator(f"{LOG} img, {LOG} script").count() == 0
    assert agent.page.title() not in ("1", "2", "3", "4")


def test_far_too_much_and_terminal_colours(use: Use) -> None:
    agent = use("floods")
    agent.do("Flood me.")
    assert "Enough." in agent.said()
    flood = agent.unfold("Flood")
    assert len(flood) < 20_000 < BIG and "more characters" in flood
    assert agent.unfold(CODE).split("Result")[1].strip() == "red\n```\n# no heading\n```\n<b>bold</b>"
    assert agent.page.locator(f"{LOG} h1, {LOG} .thought-group b").count() == 0


def test_an_upload_is_read_by_a_tool_and_by_code(use: Use, tmp_path: Path) -> None:
    agent = use("files")
    data, other = tmp_path / "data.csv", tmp_path / "数据.txt"
    data.write_text("fruit,count\npear,3\n")
    other.write_text("你好")
    agent.attach(other)
    agent.attach(data)
    files = agent.bench("files", "data.csv")
    assert "数据.txt" in files
    agent.do("Read it.")
    assert "pear,3" in agent.unfold("ReadFile · data.csv")
    assert "PEAR,3" in agent.unfold(CODE)
    agent.tab("files")
    assert agent.download(agent.page.get_by_role("button", name="Download 数据.txt"), tmp_path).read_text() == "你好"


def test_a_tool_is_tried_by_hand(use: Use) -> None:
    agent = use()
    agent.tab("tools")
    form, said = agent.page.locator(".pz-try"), agent.page.locator(".pz-tried")
    agent.page.locator("[data-key='try Calculator']").click()
    form.locator("[name=expression]").fill("2**10")
    form.locator("[type=submit]").click()
    said.filter(has_text="1024").wait_for()
    agent.page.locator("[data-key='try get_current_weather']").click()
    form.locator("[name=location]").fill("Atlantis")
    form.locator("[type=submit]").click()
    said.filter(has_text="geocoding-api.open-meteo.com answered with status 503").wait_for()
    assert "Failed" in said.inner_text()
    form.locator("[name=location]").fill("")
    form.locator("[type=submit]").click()
    said.filter(has_text="location is empty").wait_for()
    agent.page.locator("[data-key='try Deaf']").click()
    form.locator("[type=submit]").click()
    form.get_by_role("button", name="Stop").click()
    said.filter(has_text="Deaf was stopped").wait_for()


def test_why_no_tool_was_called(use: Use) -> None:
    agent = use("talks")
    agent.do("What is 2+2?")
    assert "the model chose to answer without them" in agent.bench("prompt", "Turn 1")
    for fold in agent.page.locator(".pz-bench-body details:not([open]) summary").all():
        fold.click()
    prompt, answer = agent.page.locator(".pz-bench-body pre").all_inner_texts()
    assert prompt.startswith("<|im_start|>system\n") and "# Tools" in prompt
    assert prompt.endswith("<|im_start|>user\nWhat is 2+2?<|im_end|>\n<|im_start|>assistant\n")
    assert answer == "I know that without any tool."
    on = agent.page.locator("#agent-tools input:checked")
    while on.count():
        on.first.uncheck()
    agent.do("And 3+3?")
    agent.bench("prompt", "No tool was switched on.")


def test_a_saved_run_is_shown_again_where_there_is_no_model(use: Use, visit: Visit, bare_app: App, tmp_path: Path) -> None:
    agent = use("plot")
    agent.do("Plot the sine.")
    agent.pictures(1)
    saved = agent.download(agent.page.locator("#agent-save"), tmp_path)
    exported = agent.download(agent.page.locator("#agent-export"), tmp_path).read_text("utf-8")
    assert (
        exported.startswith("# Plot the sine.\n\n## Task\n\nPlot the sine.\n")
        and "```python\nimport numpy" in exported
        and "\nDrawn.\n" in exported
    )
    other = Agent(visit(bare_app.url))
    other.upload("#agent-open", saved)
    other.finished()
    other.pictures(1)
    assert other.steps() == agent.steps()
    assert "Drawn." in other.said() and "drawn 42" in other.unfold(CODE)
    assert "from a file" in other.foot()
    broken = tmp_path / "broken.json"
    broken.write_text(json.dumps({"version": 1}))
    other.upload("#agent-open", broken)
    other.page.locator("#agent-error .pz-error").wait_for()
    assert other.page.locator(f"{LOG} .pz-foot").count() == 1


def test_a_reload_keeps_the_conversation_and_says_that_files_are_gone(use: Use) -> None:
    agent = use("mine")
    agent.rule("Calculator").select_option("never")
    agent.switch("Weather").uncheck()
    agent.do("Keep it.")
    shown = (agent.tasks(), agent.steps(), agent.foot())
    agent.bench("files", "first.txt")
    address = agent.page.url.partition("#")[0]  # without the name of a tab: the page opens on the chat
    agent.page.goto("about:blank")
    agent.page.goto(address)
    agent.open()
    agent.until(f"document.querySelectorAll('{LOG} .pz-foot').length", "the conversation")
    assert (agent.tasks(), agent.steps(), agent.foot()) == shown
    assert "New files: first.txt" in agent.said() and "Yes." in agent.said()
    assert "files and variables are gone" in agent.page.locator("#agent-notice").inner_text()
    assert "Nothing in it yet" in agent.bench("files", "Work folder")
    assert agent.rule("Calculator").input_value() == "never"
    assert not agent.switch("Weather").is_checked() and agent.switch("Calculator").is_checked()
    agent.page.locator("#agent-new").click()
    agent.page.locator("#agent-hero").wait_for()
    assert agent.tasks() == []


def test_two_visitors_have_nothing_in_common(use: Use) -> None:
    first, second = use("mine"), use("yours")
    first.send("Keep it.")
    second.send("Is it here?")
    first.finished()
    second.finished()
    first.bench("files", "first.txt")
    assert "Nothing in it yet" in second.bench("files", "Work folder")
    assert "False\n[]" in second.unfold(CODE)
    assert second.tasks() == ["Is it here?"]
    assert "Keep it." not in second.page.content()


def test_closing_the_page_ends_its_kernel(use: Use, agent_app: App) -> None:
    agent = use("leaves")
    before = descendants(agent_app)
    agent.do("Go.")
    kernels = descendants(agent_app) - before
    assert kernels
    agent.page.close()
    deadline = time.monotonic() + 30
    while kernels & descendants(agent_app):
        assert time.monotonic() < deadline, "the kernel is still there"
        time.sleep(0.1)


def descendants(app: App) -> set[int]:
    """Every process that the program started, and that those started."""
    table = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    pairs = [(int(pid), int(parent)) for pid, parent in map(str.split, table.splitlines())]
    found, size = {app.process.pid}, 0
    while len(found) > size:
        size = len(found)
        found |= {pid for pid, parent in pairs if parent in found}
    return found - {app.process.pid}


@pytest.mark.parametrize("wide", [390, 820, 1440])
def test_nothing_overflows(use: Use, wide: int) -> None:
    agent = use("wide", viewport={"width": wide, "height": 844})
    assert width(agent.page) <= wide
    agent.page.locator("#agent-composer textarea").fill("q" * 300)
    if wide < 1180:
        agent.page.evaluate("pz.bench('tools')")
    agent.rule(CODE).select_option("ask")
    if wide < 1180:
        agent.page.locator(".pz-bench-close").click()
    agent.send("q" * 300)
    agent.asked()
    assert width(agent.page) <= wide
    for what in ("run", "deny", "always"):
        assert agent.card.locator(f"[data-what={what}]").is_visible()
    agent.press("run")
    agent.finished()
    agent.unfold("Parrot")
    assert width(agent.page) <= wide
    if wide < 1180:
        agent.page.locator("#agent-bench-button").click()
    for tab in ("tools", "files", "prompt", "walk"):
        agent.tab(tab)
        body = agent.page.locator(".pz-bench-body")
        assert (tab, body.evaluate("e => e.scrollWidth - e.clientWidth")) == (tab, 0)
        assert width(agent.page) <= wide


def test_the_card_by_keyboard(use: Use) -> None:
    agent = use("keyboard")
    agent.rule("Calculator").select_option("ask")
    agent.send("Add twice.")
    agent.asked()
    agent.card.locator("textarea").focus()
    for what in ("run", "deny"):
        agent.page.keyboard.press("Tab")
        assert agent.page.evaluate("document.activeElement.dataset.what") == what
    agent.page.keyboard.press("Enter")
    agent.until(f"document.querySelector('{CARD} textarea')?.value.includes('2+2')", "the second call")
    agent.card.locator("textarea").focus()
    agent.page.keyboard.press("Control+Enter")
    agent.finished()
    assert "Calculator · 1+1 · not run" in agent.said() and "4" in agent.unfold("Calculator · 2+2")


def test_in_chinese(use: Use) -> None:
    agent = use("chinese", locale="zh-CN")
    assert agent.page.locator("#agent-hero").inner_text() == "交给它一件事"
    agent.rule("Calculator").select_option("ask")
    agent.send("1 加 1 等于多少？")
    card = agent.asked()
    assert "要调用 Calculator 吗？" in card and "不运行" in card and "本次对话都允许" in card
    agent.press("run")
    agent.finished()
    assert "等于 2。" in agent.said() and "2 步 · 1 次调用" in agent.foot()
    assert "1. 声明" in agent.bench("walk", "4. 回答")
    shown = agent.page.locator(".pz-bench-tabs").inner_text() + agent.bench("tools", "计算器")
    assert "Try" not in shown and "Always" not in shown


def test_a_public_page_asks_before_code_and_the_network(
    start_app: Callable[..., App], visit: Visit, web: PublicWeb, tmp_path: Path
) -> None:
    """With a password, so that the weaker sandbox is enough."""
    flags = ("--models", str(agent_scripts.catalog(tmp_path)), "--model", "public", "--models-dir", str(tmp_path / "models"))
    app = start_app("--listen", "--auth", "mei:secret words", *flags, environment=web.environment)
    form = urllib.parse.urlencode({"username": "mei", "password": "secret words"}).encode()
    with urllib.request.urlopen(f"{app.url}/login", form) as answer:
        cookies = [cookie.split(";")[0].split("=", 1) for cookie in answer.headers.get_all("set-cookie")]
    state = {"cookies": [{"name": name, "value": value, "url": app.url} for name, value in cookies], "origins": []}
    agent = Agent(visit(app.url, storage_state=state))
    asking = {
        tool: agent.rule(tool).input_value() for tool in (CODE, "ArxivSearch", "WebSearch", "get_current_weather", "Calculator", "ReadFile")
    }
    assert asking == {
        CODE: "ask", "ArxivSearch": "ask", "WebSearch": "ask", "get_current_weather": "ask", "Calculator": "always", "ReadFile": "always",
    }  # fmt: skip
    agent.send("Weather, then code.")
    assert "Call get_current_weather?" in agent.asked()
    agent.press("run")
    agent.until(f"document.querySelector('{CARD} .pz-card-title')?.textContent === 'Run this code?'", "the second card")
    agent.press("run")
    agent.finished()
    assert "42" in agent.unfold(CODE)


def test_a_public_page_on_a_weaker_sandbox_runs_no_code(visit: Visit, bare_app: App) -> None:
    agent = Agent(visit(bare_app.url))
    why = agent.bench("tools", "No code")
    assert "this server isolates code without namespaces, and the app is public without a password" in why
    assert "Start it with --auth" in why
    without_code(agent)


def test_where_nothing_isolates_no_code_runs(start_app: Callable[..., App], visit: Visit, tmp_path: Path) -> None:
    agent = Agent(visit(start_app("--models-dir", str(tmp_path), under=(*LACKING, "both", "--")).url))
    why = agent.bench("tools", "No code")
    assert "this computer cannot isolate code" in why and "--unsafe-code-interpreter" in why
    without_code(agent)


def without_code(agent: Agent) -> None:
    assert agent.page.locator(f".pz-tool[data-tool={CODE}]").count() == 0
    assert agent.switch("Code interpreter").count() == 0 and agent.switch("Calculator").count() == 1
    assert "Variables" not in agent.bench("files", "Work folder")

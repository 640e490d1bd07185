"""The chat tab as a visitor uses it, on the real default model."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.browser.conftest import App, Visitor

pytestmark = pytest.mark.browser
LONG = "Tell me a very long story about a ship, with many chapters."
Visit = Callable[..., Visitor]


def test_the_first_question_is_answered(app: App, visit: Visit) -> None:
    visitor = visit(app.url)
    assert visitor.page.locator("#chat-hero h1").inner_text() == "Start with a question"
    visitor.ask("What is the capital of France?")
    visitor.finished()
    assert visitor.questions() == ["What is the capital of France?"]
    assert re.search(r"\w", visitor.answers()[0])
    assert re.search(r"tok/s · [\d.]+ s to first token · [\d,]+ / 4,096 context", visitor.answers()[0])


def test_the_answer_grows_and_stop_keeps_it(app: App, visit: Visit) -> None:
    visitor = visit(app.url)
    visitor.ask(LONG)
    answer = visitor.page.locator("#chat-log .bot-row").last
    answer.filter(has_text="▍").wait_for(timeout=60_000)
    early = answer.inner_text()
    visitor.page.wait_for_function(
        "n => document.querySelector('#chat-log .bot-row').innerText.length > n + 40", arg=len(early), timeout=60_000
    )
    visitor.page.locator("#chat-composer .stop-button").click()
    visitor.finished()
    final = visitor.answers()[0]
    assert early.replace("▍", "").strip()[:20] in final
    assert "stopped" in final
    assert "▍" not in final


def test_a_stopped_answer_can_be_continued(app: App, visit: Visit) -> None:
    visitor = visit(app.url)
    visitor.ask(LONG)
    visitor.streaming()
    visitor.page.locator("#chat-composer .stop-button").click()
    visitor.finished()
    kept = visitor.answers()[0].split("\u2063")[0].strip()[:12]
    visitor.page.get_by_role("button", name="Continue").click()
    visitor.page.locator("#chat-composer .stop-button").wait_for()
    visitor.page.locator("#chat-composer .stop-button").click()
    visitor.finished()
    assert visitor.answers()[0].startswith(kept)
    assert len(visitor.questions()) == 1


def test_edit_and_resend_an_earlier_question(app: App, visit: Visit) -> None:
    visitor = visit(app.url)
    for question in ("What is the capital of France?", "And of Italy?"):
        visitor.ask(question)
        visitor.finished()
    visitor.page.locator("#chat-log .user-row").first.hover()
    visitor.page.get_by_label("Edit").first.click()
    visitor.page.locator("#chat-log .user-row textarea").fill("What is the capital of Spain?")
    visitor.page.get_by_label("Submit").first.click()
    visitor.page.wait_for_function("document.querySelectorAll('#chat-log .user-row').length === 1")
    visitor.finished()
    assert visitor.questions() == ["What is the capital of Spain?"]
    assert len(visitor.answers()) == 1


def test_regenerate_and_undo(app: App, visit: Visit) -> None:
    visitor = visit(app.url)
    visitor.ask("Name a colour.")
    visitor.finished()
    visitor.page.get_by_label("Retry").last.click()
    visitor.page.locator("#chat-composer .stop-button").wait_for()
    visitor.finished()
    assert visitor.questions() == ["Name a colour."]
    visitor.page.get_by_label("Undo").last.click()
    visitor.page.locator("#chat-empty").wait_for()
    assert visitor.page.locator("#chat-composer textarea").input_value() == "Name a colour."


def test_a_reload_brings_the_conversation_and_settings_back_for_this_browser_only(app: App, visit: Visit) -> None:
    visitor = visit(app.url)
    visitor.page.locator("#gear button").click()
    visitor.page.locator("#chat-system textarea").fill("You answer in one word.")
    visitor.page.keyboard.press("Escape")
    visitor.ask("What is the capital of France?")
    visitor.finished()
    before = visitor.answers()[0].split()[:3]
    visitor.page.reload()
    visitor.see("#chat-log .bot-row")
    assert visitor.answers()[0].split()[:3] == before
    assert visitor.page.locator("#chat-system textarea").input_value() == "You answer in one word."
    other = visit(app.url)
    assert other.page.locator("#chat-log .bot-row").count() == 0
    assert other.page.locator("#chat-system textarea").input_value() == ""


def test_a_reload_in_mid_answer_keeps_what_was_written(app: App, visit: Visit) -> None:
    visitor = visit(app.url)
    visitor.ask(LONG)
    visitor.page.wait_for_function("(document.querySelector('#chat-log .bot-row')?.innerText.length ?? 0) > 400", timeout=90_000)
    begun = visitor.answers()[0][:60]
    visitor.page.reload()
    visitor.errors.clear()  # Gradio reports the stream that the reload cut
    visitor.see("#chat-log .bot-row")
    assert visitor.answers()[0].startswith(begun)
    assert "The answer was cut when the page reloaded" in visitor.page.locator("#chat-notice").inner_text()


def test_two_pages_stream_at_once(app: App, visit: Visit) -> None:
    first, second = visit(app.url), visit(app.url)
    first.ask(LONG)
    second.ask("Write a long poem about tea.")
    both = [visitor.page.locator("#chat-log .bot-row").filter(has_text="▍") for visitor in (first, second)]
    both[0].wait_for(timeout=60_000)
    both[1].wait_for(timeout=60_000)
    assert first.page.locator("#chat-composer .stop-button").is_visible()
    for visitor in (first, second):
        visitor.page.locator("#chat-composer .stop-button").click()
        visitor.finished()
    assert (first.questions(), second.questions()) == ([LONG], ["Write a long poem about tea."])


def test_a_model_that_dies_in_mid_answer_shows_why_and_comes_back(
    start_app: Callable[..., App], visit: Visit, models_dir: Path, default_gguf: Path
) -> None:
    app = start_app("--models-dir", str(models_dir))
    visitor = visit(app.url)
    visitor.ask(LONG)
    visitor.streaming()
    for child in app.children():
        os.kill(child, signal.SIGKILL)
    card = visitor.page.locator("#chat-error .pz-error")
    card.wait_for(timeout=30_000)
    assert "stopped working" in card.inner_text() and "What was written so far is kept." in card.inner_text()
    assert "Traceback" not in visitor.page.locator("body").inner_text()
    visitor.ask("What is the capital of France?")
    visitor.finished()
    assert not card.is_visible()
    assert len(visitor.questions()) == 2


def test_an_english_model_asked_in_chinese_says_so_once(app: App, visit: Visit) -> None:
    visitor = visit(app.url, locale="zh-CN")
    assert visitor.page.locator("#chat-hero h1").inner_text() == "从一个问题开始"
    notice = visitor.page.locator("#chat-notice").filter(has_text="只会写英文")
    visitor.ask("法国的首都是哪里？")
    notice.wait_for(timeout=60_000)
    visitor.stop()  # in Chinese it hardly ends by itself
    visitor.finished()
    visitor.ask("意大利呢？")
    visitor.stop()
    visitor.finished()
    assert notice.count() == 0


def test_an_empty_and_an_enormous_message(app: App, visit: Visit) -> None:
    visitor = visit(app.url)
    visitor.submit("   ")
    visitor.page.locator("#chat-notice").filter(has_text="Write something").wait_for()
    visitor.ask("word " * 8000)
    card = visitor.page.locator("#chat-error .pz-error")
    card.wait_for(timeout=60_000)
    assert "4,096" in card.inner_text()
    visitor.submit("x" * 200_001)
    card.filter(has_text="200,001").wait_for(timeout=60_000)


@pytest.mark.parametrize("width", [390, 1180, 1440])
def test_nothing_overflows(app: App, visit: Visit, width: int) -> None:
    visitor = visit(app.url, viewport={"width": width, "height": 844})
    visitor.ask("Write a short Python function.")
    visitor.finished()
    assert visitor.page.evaluate("document.documentElement.scrollWidth") <= width


def test_hostile_text_stays_text(start_app: Callable[..., App], visit: Visit) -> None:
    """The script's answer is the question itself: whatever a model could write."""
    visitor = visit(start_app("--demo").url)
    visitor.ask('<img src=x onerror="document.title=1"> ${alert(1)} <script>document.title=2</script> ![beacon](http://203.0.113.1/x.png)')
    visitor.finished()
    assert visitor.page.title() not in ("1", "2")
    assert "<script>document.title=2</script>" in visitor.questions()[0]
    assert "<script>document.title=2</script>" in visitor.answers()[0]
    assert visitor.page.locator("#chat-log img").count() == 0


def test_the_policy_stops_what_the_renderer_lets_through(start_app: Callable[..., App], visit: Visit) -> None:
    """A picture on another host, put into the page behind our back: the browser must refuse to ask for it."""
    visitor = visit(start_app("--demo").url)
    visitor.page.evaluate("document.body.append(Object.assign(new Image(), {src: 'http://203.0.113.1/x.png'}))")
    visitor.page.wait_for_timeout(300)
    assert [error for error in visitor.errors if "Content Security Policy" in error]
    visitor.errors.clear()
    visitor.requests[:] = [url for url in visitor.requests if "203.0.113.1" not in url]

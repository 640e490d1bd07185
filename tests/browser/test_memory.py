"""Two models and room for one: what a visitor sees while they take turns."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Locator

from tests.browser.conftest import App, Visitor
from tests.tiny_models import script_folder

pytestmark = pytest.mark.browser
WORDS = {"alpha": ("Here ", "speaks ", "the first."), "beta": ("This is ", "what the second ", "says.")}
SAYS = {name: "".join(words) for name, words in WORDS.items()}
ROOM = "220MB"  # each is planned with 130 to 140 MB, most of it what torch takes to compute
ENTRY = """
[[model]]
id = "{name}"
backend = "transformers_local"
context = 2048
options = {{ device = "cpu" }}

[[model.source]]
kind = "path"
ref = "{folder}"
"""
# Cards come and go in less than a blink: everything they ever said is kept.
LISTEN = """window.said = [];
new MutationObserver(() => window.said.push(document.querySelector('#chat-stage').innerText))
  .observe(document.querySelector('#chat-stage'), {subtree: true, childList: true, characterData: true, attributes: true});"""


@pytest.fixture(scope="module")
def crowded(start_app: Callable[..., App], tmp_path_factory: pytest.TempPathFactory) -> App:
    place = tmp_path_factory.mktemp("two")
    folders = {name: script_folder(place / name, words) for name, words in WORDS.items()}
    (place / "mine.toml").write_text("".join(ENTRY.format(name=name, folder=folder.as_posix()) for name, folder in folders.items()))
    return start_app("--models", str(place / "mine.toml"), "--model", "alpha", "--memory", ROOM)


def test_two_models_take_turns_in_room_for_one(crowded: App, visit: Callable[..., Visitor]) -> None:
    visitor = visit(crowded.url)
    visitor.page.evaluate(LISTEN)
    visitor.ask("Who are you?")
    visitor.finished()
    assert SAYS["alpha"] in visitor.answers()[-1]
    for model, other in (("beta", "alpha"), ("alpha", "beta")) * 2:
        visitor.page.evaluate("window.said = []")
        choose(visitor, model)
        visitor.ask("And now?")
        visitor.finished()
        assert SAYS[model] in visitor.answers()[-1]
        assert any(f"Unloading {other} to make room" in said for said in visitor.page.evaluate("window.said"))
        assert "loaded" in marks(visitor, model)
        assert "loaded" not in marks(visitor, other)


def choose(visitor: Visitor, model: str) -> None:
    options = opened(visitor)
    options.filter(has_text=model).first.click()
    visitor.page.keyboard.press("Escape")


def marks(visitor: Visitor, model: str) -> str:
    """What a page opened now says of a model in its picker."""
    visitor.page.reload()
    visitor.see("#chat-log .bot-row")
    text = opened(visitor).filter(has_text=model).first.inner_text()
    visitor.page.keyboard.press("Escape")
    visitor.page.keyboard.press("Escape")
    visitor.page.evaluate(LISTEN)
    return text


def opened(visitor: Visitor) -> Locator:
    if not visitor.page.locator("#model-picker input").is_visible():
        visitor.page.locator("#gear button").click()
    visitor.page.locator("#model-picker input").click()
    return visitor.page.locator("#model-picker [role=option]")

"""The handlers of conversation tabs as Gradio calls them, in this process: in the page's order, in another one, twice, and too early."""

from __future__ import annotations

import dataclasses
import json
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from demos import cards, render
from demos.chat.ui import ChatTab
from demos.conversation import MOST_CHARACTERS, ConversationTab
from demos.pictures.fetch import Fetch
from demos.pictures.shelf import Shelf, is_key
from demos.strings import Strings
from demos.tab import App
from demos.turns import Conversation
from demos.vision.desk import Desk
from demos.vision.ui import VisionTab
from demos.vision.viewer import Viewer
from models.backends.scripted import Scripted
from models.registry import Registry
from shared.engine import Cancel, Engine, ModelSpec, OnProgress
from shared.messages import Image
from shared.settings import Settings
from tests.demos.pictures.samples import corners, saved
from tests.no_files import NoFiles

EN = Strings("en")
BOTH = frozenset({"text", "image"})
SEES = ModelSpec("sees", "scripted", (), capabilities=BOTH, context=1000, options={"replies": ["I see."]})
LATER = dataclasses.replace(SEES, id="later", options={"replies": ["word " * 500], "delay": 0.01})
READS = dataclasses.replace(SEES, id="reads", capabilities=frozenset({"text"}))


@dataclasses.dataclass
class Request:
    """What handlers read of a request."""

    session_hash: str = "a page"
    query_params: Mapping[str, str] = dataclasses.field(default_factory=lambda: {"lang": "en"})
    cookies: Mapping[str, str] = dataclasses.field(default_factory=dict)
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)


class Event:
    """What Gradio tells of a press."""

    def __init__(self, index: Any = None, value: Any = None, data: Any = None) -> None:
        self.index, self.value, self._data = index, value, data


class Page:
    """One visitor's open page: what it shows, and what its handlers are called with."""

    def __init__(self, tab: ConversationTab, session: str = "a page") -> None:
        self.tab, self.request = tab, Request(session)
        self.names = {component: name for name, component in {**tab.own, **tab.places}.items()}
        self.shown: dict[str, Any] = {"conversation": (), "saved": None}
        self.settings: list[Any] = [tab._model(""), "", *(one.value for one in tab.sampling.inputs), *([""] * len(tab.own))]

    def take(self, update: Any) -> None:
        if not isinstance(update, dict):
            return
        for component, value in update.items():
            self.shown[self.names.get(component, "")] = value
            if component in self.tab.settings:
                self.settings[self.tab.settings.index(component)] = value.value if isinstance(value, gr.Dropdown) else value

    def call(self, handler: Any, *arguments: Any) -> None:
        """With everything a visitor can change, as it is now."""
        made = handler(self.request, *arguments, self.shown["conversation"], *self.settings)
        for update in made if isinstance(made, Iterator) else [made]:
            self.take(update)

    def open(self, saved_value: Any = None) -> None:
        self.take(self.tab.on_open(self.request, saved_value))  # type: ignore[arg-type]

    def send(self, text: str) -> None:
        self.call(self.tab.on_send, text)

    def choose(self, model: str) -> None:
        self.settings[0] = model

    @property
    def conversation(self) -> Conversation:
        found: Conversation = self.shown["conversation"]
        return found

    @property
    def key(self) -> str:
        return str(self.settings[-1])

    @property
    def answers(self) -> list[str]:
        return [turn.answer for turn in self.conversation]

    @property
    def error(self) -> str:
        return str((self.shown.get("error") or {}).get("remedy", ""))


@pytest.fixture
def loaded() -> list[str]:
    return []


@pytest.fixture
def app(loaded: list[str]) -> Iterator[App]:
    def load(spec: ModelSpec, path: Path | None, on_progress: OnProgress, cancel: Cancel) -> Engine:
        loaded.append(spec.id)
        return Scripted(spec)

    registry = Registry([SEES, LATER, READS], files=NoFiles(), load=load)
    with gr.Blocks() as page, gr.Sidebar() as sidebar:
        yield App(
            registry, Settings(), "sees", sidebar=sidebar, pill=cards.model_pill(), news=cards.model_news(), page=page, browser_secret="x"
        )
    registry.close()


@pytest.fixture
def shelf(tmp_path: Path) -> Iterator[Shelf[Desk]]:
    shelf = Shelf(Desk, tmp_path)
    yield shelf
    shelf.close()


@pytest.fixture
def vision(app: App, shelf: Shelf[Desk]) -> VisionTab:
    return VisionTab(app, shelf, Viewer(app, shelf, Fetch(offline=True)))


@pytest.fixture
def page(vision: VisionTab) -> Page:
    page = Page(vision)
    page.open()
    return page


def desk(page: Page, shelf: Shelf[Desk]) -> Desk:
    found = shelf.find(page.key)
    assert found is not None
    return found


def add(page: Page, shelf: Shelf[Desk], *widths: int) -> list[Image]:
    for width in widths:
        desk(page, shelf).add(saved(corners((width, 9)), "PNG"), f"{width}.png")
    return [one.image for one in desk(page, shelf).draft]


def widths(page: Page, turn: int = -1) -> list[int]:
    return [part.width for part in page.conversation[turn].question.parts if isinstance(part, Image)]


# ---- every conversation tab ------------------------------------------------------------------------------------------------


@pytest.fixture(params=["chat", "vision"])
def any_page(request: pytest.FixtureRequest, app: App, shelf: Shelf[Desk]) -> Page:
    tab = ChatTab(app) if request.param == "chat" else VisionTab(app, shelf, Viewer(app, shelf, Fetch(offline=True)))
    page = Page(tab)
    page.open()
    return page


def test_a_question_is_answered(any_page: Page) -> None:
    any_page.send("Hello")
    assert any_page.answers == ["I see."] and any_page.shown["error"] is None and any_page.shown["title"] == {"text": "Hello"}
    any_page.send("And?")
    assert [turn.question.text for turn in any_page.conversation] == ["Hello", "And?"]


def test_nothing_and_too_much_are_not_asked(any_page: Page) -> None:
    any_page.send(" \n")
    assert any_page.shown["notice"] == {"text": EN(f"{any_page.tab.id}.empty")}
    any_page.send("x" * (MOST_CHARACTERS + 1))
    assert "200,001 characters" in any_page.error and any_page.conversation == ()


def test_one_answer_at_a_time(any_page: Page) -> None:
    any_page.send("Hello")
    with any_page.tab.running.turn("a page"):
        any_page.send("And?")
        any_page.call(any_page.tab.on_undo)
        any_page.call(any_page.tab.on_retry_last)
    assert [turn.question.text for turn in any_page.conversation] == ["Hello"] and any_page.answers == ["I see."]


def test_a_page_that_is_behind_is_told(any_page: Page) -> None:
    any_page.send("Hello")
    for index in (99, -1, [99]):
        with pytest.raises(gr.Error, match="page"):
            any_page.call(any_page.tab.on_retry, Event(index))


def test_a_question_is_not_edited_into_nothing(any_page: Page) -> None:
    any_page.send("Hello")
    before = any_page.conversation
    at = any_page.shown["log"].index(next(one for one in any_page.shown["log"] if one["role"] == "user"))
    any_page.call(any_page.tab.on_edit, Event(at, " "))
    assert any_page.conversation == before and any_page.shown["notice"] == {"text": EN(f"{any_page.tab.id}.empty")}
    assert any_page.shown["log"][at]["content"]["text"] == "Hello"
    any_page.call(any_page.tab.on_edit, Event(at, "Bye"))
    assert any_page.conversation[0].question.text == "Bye" and any_page.answers == ["I see."]


def test_undo_gives_the_question_back(any_page: Page) -> None:
    any_page.send("Hello")
    any_page.call(any_page.tab.on_undo)
    assert any_page.conversation == () and any_page.shown["composer"].value == "Hello"
    any_page.call(any_page.tab.on_undo)
    assert any_page.conversation == () and any_page.shown["composer"].value == ""


def test_stop_ends_an_answer_and_what_was_written_stays(any_page: Page) -> None:
    any_page.choose("later")
    for update in any_page.tab.on_send(any_page.request, "Hello", (), *any_page.settings):  # type: ignore[arg-type]
        any_page.take(update)
        if any_page.conversation and any_page.conversation[-1].answer:
            any_page.tab.running.stop("a page")
    assert any_page.conversation[-1].outcome == "cancelled" and any_page.answers[0].startswith("word") and len(any_page.answers[0]) < 2500
    any_page.choose("sees")
    any_page.call(any_page.tab.on_retry_last)
    assert any_page.answers == ["I see."]


def test_a_reload_brings_it_back_and_anything_else_is_nothing(any_page: Page) -> None:
    any_page.send("Hello")
    kept = json.loads(json.dumps(any_page.shown["saved"]))
    again = Page(any_page.tab, "reloaded")
    again.open(kept)
    assert again.conversation == any_page.conversation
    for value in (None, "", [], {"version": 1}, {**kept, "conversation": [7]}, {**kept, "version": 2}):
        other = Page(any_page.tab, f"other {value!r:.20}")
        other.open(value)
        assert other.conversation == ()


# ---- pictures ----------------------------------------------------------------------------------------------------------------


def test_a_question_takes_the_pictures_that_lie_ready(page: Page, shelf: Shelf[Desk]) -> None:
    add(page, shelf, 30, 20)
    page.send("Which?")
    assert widths(page) == [30, 20] and desk(page, shelf).draft == () and page.answers == ["I see."]
    assert [one["n"] for one in page.shown["viewer"]["sent"]] == [1, 2]
    page.send("And?")
    assert widths(page) == []


def test_a_page_that_missed_what_it_was_told_finds_it_on_the_desk(page: Page, shelf: Shelf[Desk], vision: VisionTab) -> None:
    add(page, shelf, 30)
    page.send("Which?")
    kept = desk(page, shelf).shown
    assert kept == page.shown["viewer"] and kept["state"] == "stop" and kept["sent"][0]["n"] == 1
    form = vision._form(vision._values(tuple(page.settings)))
    assert form.viewer(()) != kept and desk(page, shelf).shown is kept, "to ask what would be shown shows nothing"


def test_a_picture_and_no_question(page: Page, shelf: Shelf[Desk]) -> None:
    add(page, shelf, 30)
    page.send("")
    assert page.shown["notice"] == {"text": EN("vision.no_question")} and len(desk(page, shelf).draft) == 1


def test_a_question_that_is_not_asked_takes_nothing(page: Page, shelf: Shelf[Desk]) -> None:
    """Enter while an answer is being written, or while a model is loaded."""
    add(page, shelf, 30)
    with page.tab.running.turn("a page"):
        page.send("What?")
    assert page.conversation == () and len(desk(page, shelf).draft) == 1
    page.send("x" * (MOST_CHARACTERS + 1))
    assert len(desk(page, shelf).draft) == 1


def test_a_picture_that_went_meanwhile_is_told_and_the_others_wait(page: Page, shelf: Shelf[Desk]) -> None:
    images = add(page, shelf, 30, 20)
    Path(images[0].path).unlink()
    page.send("Which?")
    assert "not there any more" in page.error and page.conversation == () and len(desk(page, shelf).draft) == 2


def test_a_model_that_only_reads_is_refused_before_it_is_loaded(page: Page, shelf: Shelf[Desk], loaded: list[str]) -> None:
    """And after another one is chosen, the same question is asked again."""
    add(page, shelf, 30)
    page.choose("reads")
    page.send("What?")
    assert "reads text only" in page.error and loaded == [] and page.conversation[-1].outcome == "failed"
    page.choose("sees")
    page.call(page.tab.on_retry_last)
    assert page.answers == ["I see."] and widths(page) == [30]


def test_retry_and_edit_keep_the_pictures_and_a_press_on_them_is_nobody_s(page: Page, shelf: Shelf[Desk]) -> None:
    add(page, shelf, 30)
    page.send("What?")
    assert page.tab._form(page.tab._values(tuple(page.settings))).log(page.conversation, EN).turns == [render.NOBODY, 0, 0, 0]
    page.call(page.tab.on_edit, Event(0, "changed"))
    assert page.conversation[0].question.text == "What?"
    page.call(page.tab.on_edit, Event(1, "changed"))
    assert page.conversation[0].question.text == "changed" and widths(page) == [30]
    for index in (0, 1, 2):
        page.call(page.tab.on_retry, Event(index))
        assert len(page.conversation) == 1 and widths(page) == [30]


def test_undo_puts_the_pictures_back_in_their_place(page: Page, shelf: Shelf[Desk]) -> None:
    add(page, shelf, 30, 20)
    page.send("Which?")
    add(page, shelf, 10)
    page.call(page.tab.on_undo)
    assert [one.image.width for one in desk(page, shelf).draft] == [30, 20, 10] and page.shown["viewer"]["sent"] == []
    assert page.shown["composer"].value == "Which?"


def test_a_new_conversation_has_a_new_key_and_the_old_one_s_pictures_are_gone(page: Page, shelf: Shelf[Desk]) -> None:
    (image,) = add(page, shelf, 30)
    page.send("What?")
    before = page.key
    page.call(page.tab.on_new)
    assert is_key(page.key) and page.key != before and page.conversation == () and not Path(image.path).exists()
    assert shelf.find(before) is None and page.shown["viewer"]["key"] == page.key and page.shown["saved"]["settings"]["key"] == page.key


def test_a_reload_finds_the_pictures_and_another_browser_does_not(page: Page, shelf: Shelf[Desk]) -> None:
    add(page, shelf, 30)
    page.send("What?")
    add(page, shelf, 20)
    again = Page(page.tab, "reloaded")
    again.open(json.loads(json.dumps(page.shown["saved"])))
    assert again.key == page.key and widths(again) == [30] and [one.image.width for one in desk(again, shelf).draft] == [20]
    other = Page(page.tab, "another browser")
    other.open(None)
    assert other.key != page.key and other.conversation == ()


def test_two_pages_of_one_browser_share_a_conversation_until_both_have_left_it(page: Page, shelf: Shelf[Desk]) -> None:
    (image,) = add(page, shelf, 30)
    page.send("What?")
    second, third = Page(page.tab, "second"), Page(page.tab, "third")
    for another in (second, third):
        another.open(json.loads(json.dumps(page.shown["saved"])))
    page.call(page.tab.on_new)
    assert Path(image.path).exists() and page.key != second.key
    second.send("And?")
    assert second.answers == ["I see."] * 2
    page.tab.on_closed(third.request)  # type: ignore[attr-defined]
    second.call(second.tab.on_new)
    assert not Path(image.path).exists()


def test_after_a_restart_the_texts_are_there_and_it_goes_on(page: Page, shelf: Shelf[Desk], app: App, tmp_path: Path) -> None:
    add(page, shelf, 30)
    page.send("What?")
    kept = json.loads(json.dumps(page.shown["saved"]))
    shelf.close()
    (tmp_path / "new").mkdir()
    new = Shelf(Desk, tmp_path / "new")
    later = Page(VisionTab(app, new, Viewer(app, new, Fetch(offline=True))))
    later.open(kept)
    assert widths(later) == [] and "is gone" in later.conversation[0].question.text and later.shown["title"] == {"text": "What?"}
    add(later, new, 20)
    later.send("And this?")
    assert later.answers == ["I see.", "I see."] and later.shown["viewer"]["sent"][0]["n"] == 2
    new.close()


def test_a_page_whose_pictures_were_removed_goes_on(page: Page, shelf: Shelf[Desk]) -> None:
    """It was open for longer than they are kept."""
    add(page, shelf, 30)
    page.send("What?")
    shelf.remove(page.key)
    page.send("And?")
    assert page.answers == ["I see.", "I see."] and page.shown["error"] is None
    add(page, shelf, 20)
    page.send("This?")
    assert widths(page) == [20] and len(page.answers) == 3


def test_a_question_may_be_quicker_than_the_page(vision: VisionTab, shelf: Shelf[Desk]) -> None:
    page = Page(vision)
    page.send("Hello")
    mine = page.key
    assert is_key(mine) and page.answers == ["I see."]
    page.open(None)
    assert page.key == mine and page.shown["viewer"]["key"] == mine and page.answers == ["I see."]


def test_an_example_brings_its_pictures_and_the_visitor_s_own_wait(page: Page, shelf: Shelf[Desk]) -> None:
    add(page, shelf, 30)
    page.call(page.tab.on_example, Event(data={"id": "compare"}))  # type: ignore[attr-defined]
    assert len(widths(page)) == 2 and page.answers == ["I see."]
    assert [one.image.width for one in desk(page, shelf).draft] == [30]
    for nobody in ({"id": "none"}, {}, None, "x", {"id": ["compare"]}):
        page.call(page.tab.on_example, Event(data=nobody))  # type: ignore[attr-defined]
    assert len(page.conversation) == 1


def test_many_pages_at_once_keep_apart(vision: VisionTab, shelf: Shelf[Desk]) -> None:
    pages = [Page(vision, f"page {n}") for n in range(6)]

    def visit(page: Page, width: int) -> None:
        page.open()
        add(page, shelf, width)
        page.send(f"{width}?")

    threads = [threading.Thread(target=visit, args=(page, 10 + n)) for n, page in enumerate(pages)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [widths(page) for page in pages] == [[10 + n] for n in range(6)] and len({page.key for page in pages}) == 6

"""The writing tab in a real browser: writing, changing everything, stopping, bringing pictures, saving and opening."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.browser import writing_scripts
from tests.browser.conftest import App, Visitor
from tests.browser.vision_page import File, picture
from tests.browser.writing_page import Writing
from tests.browser.writing_scripts import ARTICLE, FIRST, LAST, PARAGRAPHS, TITLE, Services

pytestmark = pytest.mark.browser
Desk = Callable[..., Writing]


def test_write_swap_rewrite_undo_export(desk: Desk) -> None:
    writing = desk("whole")
    writing.written()
    writing.seen(3)
    assert writing.passages()[0] == TITLE and len(writing.passages()) == PARAGRAPHS and LAST in writing.text()
    assert writing.captions()[0] == "A bowl of dough on a sunny windowsill"
    assert writing.stages() == dict.fromkeys(("Article", "Places", "Captions", "Pictures", "Done"), "done")
    first = writing.shown()
    writing.figures.first.locator(".pz-candidate").nth(1).click()
    writing.until(f"document.querySelector('.pz-figure>img').getAttribute('src') !== {json.dumps(first)}", "another picture")
    writing.seen(3)
    swapped = writing.shown()
    assert writing.figures.first.locator("[aria-pressed=true]").count() == 1
    writing.act(FIRST, "Rewrite")
    writing.has("It was the sun that woke the first dough.")
    writing.rest()
    assert FIRST not in writing.text()
    writing.version("Undo")
    writing.has(FIRST)
    assert writing.shown() == swapped
    writing.version("Undo")
    writing.until(f"document.querySelector('.pz-figure>img').getAttribute('src') === {json.dumps(first)}", "the first picture")
    writing.version("Redo")
    writing.version("Redo")
    writing.has("It was the sun that woke the first dough.")
    page = writing.export("html").read_text("utf-8")
    assert page.count("data:image/") >= 3 and "It was the sun that woke" in page and "CC BY-SA 4.0" in page
    assert writing.export("pdf").read_bytes().startswith(b"%PDF")
    with zipfile.ZipFile(writing.export("docx")) as word:
        assert "It was the sun" in word.read("word/document.xml").decode()
        assert sum(name.startswith("word/media/") for name in word.namelist()) == 3
    with zipfile.ZipFile(writing.export("zip")) as folder:
        article = json.loads(folder.read("article.json"))
        assert article and sum(name.endswith((".png", ".jpg", ".webp")) for name in folder.namelist()) >= 3
    assert json.loads(writing.export("json").read_bytes()) == article


def test_stop_in_the_text_and_in_the_pictures(desk: Desk, services: Services) -> None:
    writing = desk("stops")
    writing.write()
    writing.has(FIRST)
    writing.passage(FIRST).locator(".pz-passage").click(force=True)  # it says that it is not to be pressed now
    writing.news("Editing waits until the work is done")
    writing.press("Stop")
    writing.rest()
    writing.news("Stopped. What was written is kept")
    assert not writing.sheet.locator(".pz-panel").count()  # what was pressed meanwhile does not open later
    assert writing.page.evaluate("document.activeElement.textContent") == "Continue"
    begun = writing.passages()
    assert begun[0] == TITLE and LAST not in writing.text()
    services.opened.clear()
    try:
        writing.press("Continue")
        writing.has(LAST)
        assert writing.passages()[:2] == [TITLE, ARTICLE.split("\n\n")[1].replace("*", "")]
        writing.until("document.querySelector('.pz-missing[data-pending]')?.innerText === 'Looking for pictures'", "the search")
        writing.press("Stop")
        writing.rest()
    finally:
        services.opened.set()
    assert len(writing.passages()) == PARAGRAPHS and writing.captions()[0]
    writing.press("Continue")
    writing.finished()
    writing.seen(3)
    assert len(writing.passages()) == PARAGRAPHS


def test_paragraphs_are_changed_and_each_change_is_undone(desk: Desk) -> None:
    writing = desk("edits")
    writing.written(pictures=1)
    writing.seen(1)
    before = writing.order()

    writing.act("Yeast is a", "Edit")
    writing.sheet.locator(".pz-panel textarea").fill("Yeast is a **guest**.\n\nIt came with the flour.")
    writing.sheet.get_by_role("button", name="Save").click()
    writing.has("It came with the flour.")
    assert writing.sheet.locator("strong").first.inner_text() == "guest"
    writing.version("Undo")
    writing.ordered(*before)

    writing.act("Yeast is a", "Move up")
    at = before.index("Yeast is a fungus. I")
    writing.ordered(*before[: at - 1], before[at], before[at - 1], *before[at + 1 :])
    writing.version("Undo")
    writing.ordered(*before)

    writing.act("Yeast is a", "Delete")
    writing.ordered(*before[:at], *before[at + 1 :])
    writing.version("Undo")
    writing.ordered(*before)

    for button, words, where in (("Insert before", "Before the oven ther", 0), ("Insert after", "After it came the ti", 1)):
        writing.act("Yeast is a", button)
        writing.news("A new paragraph has to be about something.")
        assert writing.page.evaluate("document.activeElement.matches('.pz-panel input')")
        writing.act("Yeast is a", button, "the history of ovens")
        writing.ordered(*before[: at + where], words, *before[at + where :])
        writing.rest()
        writing.version("Undo")
        writing.ordered(*before)

    writing.act("Yeast is a", "Add a picture")
    writing.seen(2)
    writing.rest()
    assert "A hot stone with flat bread" in writing.captions()
    writing.version("Undo")
    writing.ordered(*before)

    writing.act("Yeast is a", "Shorten")
    writing.has("Short.")
    writing.rest()
    writing.act("Short.", "Expand")
    writing.has("is a guest at every table")
    writing.rest()
    writing.page.locator(".pz-versions").select_option("0")
    writing.ordered(*before)


def test_a_picture_is_changed_in_every_way(desk: Desk) -> None:
    writing = desk("pictures")
    writing.written()
    writing.seen(3)
    first = writing.figures.first
    first.get_by_role("button", name="Edit").click()
    fields = first.locator(".pz-panel input")
    fields.nth(0).fill("Flour in a sack")
    fields.nth(1).fill("A grey sack with flour")
    first.get_by_role("button", name="Save").click()
    writing.has("Flour in a sack")
    assert first.locator(":scope>img").get_attribute("alt") == "A grey sack with flour"

    old = writing.shown()
    first.get_by_role("button", name="Edit").click()
    first.locator(".pz-panel input").nth(2).fill("grain sack")
    first.get_by_role("button", name="Search with these words").click()
    writing.has("grain sack no.")
    writing.rest()
    writing.seen(3)
    assert writing.captions()[0] == "Flour in a sack" and writing.shown() != old
    credit = first.locator(".pz-credit")
    assert "Ada Painter" in credit.inner_text() and "CC BY-SA 4.0" in credit.inner_text()
    links = credit.locator("a").evaluate_all("all => all.map(e => e.href)")
    assert any(link.startswith("https://museum.example/") for link in links)
    assert "https://creativecommons.org/licenses/by-sa/4.0/" in links

    old = writing.shown()
    writing.upload(0, picture("mine.png", "teal", (640, 480)))
    writing.until(f"document.querySelector('.pz-figure>img').getAttribute('src') !== {json.dumps(old)}", "the uploaded picture")
    writing.seen(3)
    assert "mine" in credit.inner_text() or first.locator("[aria-pressed=true]").get_attribute("title") == "mine.png"

    first.get_by_role("button", name="Edit").click()
    first.get_by_role("button", name="Remove picture").click()
    first.get_by_text("No picture here").wait_for()
    first.get_by_role("button", name="Search").click()
    first.get_by_role("button", name="Search with these words").wait_for()
    writing.page.keyboard.press("Escape")
    writing.version("Undo")
    writing.seen(3)

    before = writing.order()
    first.get_by_role("button", name="Edit").click()
    first.get_by_role("button", name="Move down").click()
    writing.until("document.querySelectorAll('.pz-sheet .pz-block')[2].matches(':not(.pz-figure)')", "the picture elsewhere")
    assert writing.order() != before and writing.order().count("picture") == 3
    writing.version("Undo")
    writing.ordered(*before)
    writing.figures.first.get_by_role("button", name="Delete this place").click()  # its panel stays open while it is moved
    writing.seen(2)
    writing.version("Undo")
    writing.seen(3)


def test_own_pictures_and_texts_come_by_file_and_by_drop(desk: Desk) -> None:
    writing = desk("own")
    writing.drop(picture("bowl of dough.png", "olive"), picture("hands.png", "navy"))
    writing.own(2)
    writing.pick(picture("loaf oven.png", "maroon"), File("notes.txt", b"Rye keeps longer than wheat.", "text/plain"))
    writing.own(3, 1)
    assert "notes.txt" in writing.page.locator(".pz-own .pz-text").inner_text()
    writing.drop(File("broken.png", picture("", size=(300, 300)).content[:90]))
    writing.news("“broken.png” is broken")
    writing.own(3, 1)
    loaf = (writing.page.locator(".pz-mine img").nth(2).get_attribute("src") or "").split("/")[-1].split("?")[0]
    writing.written()
    writing.seen(3)
    titles = writing.figures.first.locator(".pz-candidate").evaluate_all("all => all.map(e => e.title)")
    assert any("bowl of dough" in title for title in titles)
    writing.figures.nth(1).get_by_role("button", name="Edit").click()
    writing.figures.nth(1).get_by_role("button", name="loaf oven.png").click()
    writing.until(f"document.querySelectorAll('.pz-figure>img')[1].src.includes({json.dumps(loaf)})", "the picture of one's own")
    writing.page.get_by_role("button", name="Remove hands.png").click()
    writing.own(2, 1)


def test_an_outline_is_changed_and_approved(desk: Desk) -> None:
    writing = desk("outlines")
    writing.more()
    writing.page.get_by_label("Show me an outline first").check()
    writing.write(pictures=0)
    outline = writing.page.get_by_role("textbox", name="Outline")
    outline.wait_for()
    writing.rest()
    assert outline.input_value() == "The flour\nThe yeast\nThe oven" and not writing.sheet.is_visible()
    outline.fill("The flour\nThe stone")
    writing.page.get_by_role("button", name="Write by this outline").click()
    writing.has(LAST)
    writing.finished()
    assert not outline.is_visible()
    asked = json.loads(writing.export("json").read_bytes())
    assert "Follow this outline:\\nThe flour\\nThe stone" in json.dumps(asked)


def test_a_reload_comes_back_to_the_work_and_nobody_else_sees_it(desk: Desk) -> None:
    writing = desk("reloads")
    writing.write()
    writing.kept()
    writing.has(FIRST)
    writing.page.reload()
    writing.show()
    writing.has(FIRST)
    assert writing.page.locator("#writing-instruction").input_value() == "Explain how bread rises"
    assert writing.page.locator("#writing-model").input_value() == "reloads"
    other = desk()
    assert not other.sheet.is_visible() and other.page.locator("#writing-instruction").input_value() == ""
    writing.finished()
    writing.seen(3)
    writing.page.reload()
    writing.show()
    writing.seen(3)
    assert len(writing.passages()) == PARAGRAPHS and not other.sheet.is_visible()


def test_the_text_outlives_the_program(start_app: Callable[..., App], visit: Callable[..., Visitor], tmp_path: Path) -> None:
    catalog = writing_scripts.catalog(tmp_path, "http://127.0.0.1:1/v1")
    flags = ("--models", str(catalog), "--model", "plain", "--offline", "--data-dir", str(tmp_path))
    first = start_app(*flags)
    writing = Writing(visit(first.url))
    writing.written(pictures=0)
    writing.until("localStorage.getItem('puyu-writing').length > 1000", "the text in the browser")
    writing.page.goto("about:blank")  # a page that is open says in the console that its server is gone
    first.process.terminate()
    first.process.wait(20)
    again = start_app(*flags, port=int(first.url.rpartition(":")[2]))
    writing.page.goto(again.url)
    writing.show()
    writing.has(LAST)
    assert len(writing.passages()) == PARAGRAPHS
    writing.act(FIRST, "Delete")
    writing.lacks(FIRST)


def test_two_visitors_with_the_same_instruction_at_once(desk: Desk) -> None:
    one, other = desk("twins"), desk("twins")
    one.write(pictures=1)
    other.write(pictures=1)
    for writing in (one, other):
        writing.finished()
        writing.seen(1)
        assert len(writing.passages()) == PARAGRAPHS
    one.act(FIRST, "Delete")
    one.lacks(FIRST)
    other.act(LAST, "Delete")
    other.lacks(LAST)
    assert FIRST in other.text() and LAST in one.text()
    sources = [writing.shown().split("/")[2] for writing in (one, other)]
    assert sources[0] != sources[1]


def test_a_saved_article_opens_in_a_fresh_browser_with_its_pictures(desk: Desk) -> None:
    writing = desk("saves")
    writing.written()
    writing.seen(3)
    saved = File("article.zip", writing.export("zip").read_bytes(), "application/zip")
    other = desk("saves")
    other.drop(saved)
    other.news("The article was opened.")
    other.seen(3)
    assert other.order() == writing.order() and other.captions() == writing.captions()
    other.drop(File("broken.json", b'{"article": 1}', "application/json"))
    other.news("This is no saved article")
    assert other.order() == writing.order()


def test_zero_pictures(desk: Desk) -> None:
    writing = desk("plain")
    writing.page.locator("#writing-pictures").fill("0")
    writing.page.locator("#writing-instruction").fill("Explain how bread rises")
    writing.page.keyboard.press("Control+Enter")
    writing.has(LAST)
    writing.finished()
    assert len(writing.passages()) == PARAGRAPHS and writing.figures.count() == 0
    assert writing.stages()["Pictures"] == "done"

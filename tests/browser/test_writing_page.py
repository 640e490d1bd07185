"""The rest of the writing tab: hostile words, engines and sources that fail, the keyboard, widths and languages."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.browser.vision_page import File, picture
from tests.browser.writing_page import Writing
from tests.browser.writing_scripts import FIRST, LAST, PARAGRAPHS, TAG

pytestmark = pytest.mark.browser
Desk = Callable[..., Writing]
FOCUSED = "document.activeElement"
EVERY_TEXT = """() => [...document.querySelectorAll("#writing-desk *")].flatMap((e) => [
  ...[...e.childNodes].filter((node) => node.nodeType === Node.TEXT_NODE).map((node) => node.data),
  ...["title", "aria-label", "placeholder", "alt"].map((name) => e.getAttribute(name)),
]).filter(Boolean)"""
KEY = re.compile(r"\b(writing|chat|pill|errors?)\.[a-z_]+\b|\{\w+\}|\bundefined\b|\[object")


def test_hostile_words_stay_text(desk: Desk, browser: Browser) -> None:
    writing = desk("hostile")
    writing.drop(picture(f"{TAG}.png", "lime"), File(f"{TAG}.txt", b"none", "text/plain"))
    writing.own(1, 1)
    writing.written(f"Bread {TAG} ${{document.title=6}}", pictures=1)
    writing.seen(1)
    assert writing.text().count(TAG) >= 5 and "<script>" in writing.text() and "${document.title=3}" in writing.text()
    assert TAG in writing.captions()[0]
    links = writing.sheet.locator("a").evaluate_all("all => all.map(e => e.getAttribute('href'))")
    assert links and all(link.startswith(("https://", "http://")) for link in links)
    writing.figures.first.get_by_role("button", name="Edit").click()
    writing.page.keyboard.press("Escape")
    writing.act("First", "Edit")
    writing.page.keyboard.press("Escape")
    for what in ("img[src=x]", "script", "iframe", "a[href^=javascript]"):
        assert writing.page.locator(f"#writing-desk {what}").count() == 0
    assert writing.page.title() not in "123456"
    saved = writing.export("html")
    page = browser.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.set_content(saved.read_text("utf-8"), wait_until="load")
    assert TAG in page.inner_text("body") and page.title() not in "123456"
    assert not page.locator("script, iframe, img[src=x], a[href^=javascript]").evaluate_all("all => all.map(e => e.outerHTML)")
    assert not [url for url in asked if url.startswith("http")]
    page.close()


def test_a_server_that_hangs_up_leaves_the_text_and_can_be_gone_on_with(desk: Desk) -> None:
    writing = desk("remote")
    writing.write()
    card = writing.page.locator("#writing-desk .pz-error")
    card.wait_for(timeout=30_000)
    writing.rest()
    assert FIRST in writing.text() and LAST not in writing.text()
    assert card.locator(".pz-card-title").inner_text() and card.locator(".pz-detail").first.inner_text()
    card.get_by_role("button", name="Continue").click()
    writing.finished()
    writing.seen(3)
    assert len(writing.passages()) == PARAGRAPHS and LAST in writing.text() and not card.is_visible()


def test_an_empty_instruction_and_numbers_that_cannot_be_are_told(desk: Desk) -> None:
    writing = desk("plain")
    writing.press("Write")
    writing.news("Say what to write first")
    assert writing.page.evaluate(f"{FOCUSED}.id") == "writing-instruction"
    writing.page.locator("#writing-instruction").fill("Bread")
    pictures = writing.page.locator("#writing-pictures")
    for typed, taken in (("51", "50"), ("-3", "0"), ("2.6", "3"), ("", "")):
        pictures.fill(typed)
        pictures.press("Tab")
        assert pictures.input_value() == taken
    writing.more()
    writing.page.locator("#writing-materials").fill("x" * 100_001)
    writing.press("Write")
    writing.news("The material has 100,001 characters; 100,000 are taken.")
    assert not writing.sheet.is_visible()


def test_everything_can_be_done_with_the_keyboard(desk: Desk) -> None:
    writing = desk("keys")
    page, press = writing.page, writing.page.keyboard.press
    writing.written(pictures=1)
    writing.seen(1)
    page.locator(".pz-export summary").focus()
    press("Enter")
    press("Tab")
    assert page.evaluate(f"{FOCUSED}.innerText") == "Web page (HTML)"
    press("Escape")
    assert page.evaluate(f"{FOCUSED}.innerText") == "Export" and not page.locator(".pz-menu").is_visible()
    press("Tab")
    assert page.evaluate(f"{FOCUSED}.innerText") == writing.passages()[0]
    while FIRST not in page.evaluate(f"{FOCUSED}.innerText"):
        press("Tab")
    mine = f"{FOCUSED}.closest('.pz-passage')?.innerText.includes({FIRST!r})"
    press("Enter")
    assert page.evaluate(f"{FOCUSED}.matches('.pz-panel input')")
    press("Escape")
    assert page.evaluate(mine) and not page.locator(".pz-panel").count()
    press("Enter")
    press("Tab")
    assert page.evaluate(f"{FOCUSED}.innerText") == "Rewrite"
    press("Enter")
    writing.has("It was the sun.")
    writing.rest()
    rewritten = f"{FOCUSED}.matches('.pz-passage') && {FOCUSED}.innerText.includes('It was the sun.')"
    writing.until(rewritten, "the focus on the rewritten paragraph")
    press("Enter")
    while page.evaluate(f"{FOCUSED}.innerText") != "Edit":
        press("Tab")
    press("Enter")
    assert page.evaluate(f"{FOCUSED}.matches('.pz-panel textarea')")
    press("Control+A")
    page.keyboard.type("By hand.")
    press("Tab")
    press("Enter")
    writing.until(f"{FOCUSED}.matches('.pz-passage') && {FOCUSED}.innerText.trim() === 'By hand.'", "the focus on the edited paragraph")
    press("Enter")
    while page.evaluate(f"{FOCUSED}.innerText") != "Delete":
        press("Tab")
    press("Enter")
    writing.lacks("By hand.")
    writing.until(f"{FOCUSED}.closest('.pz-sheet .pz-block')", "the focus on what stands there now")
    old = writing.shown()
    page.locator(".pz-candidate[aria-pressed=false]").last.focus()
    press("Enter")
    writing.until(f"document.querySelector('.pz-figure>img').getAttribute('src') !== {old!r}", "another picture")
    writing.until(f"{FOCUSED}.matches('.pz-candidate[aria-pressed=true]')", "the focus on the candidate")


@pytest.mark.parametrize(("width", "locale", "scheme"), [(390, "zh-CN", "dark"), (1180, "en-US", "light"), (768, "zh-CN", "light")])
def test_nothing_overflows_and_every_text_is_there(desk: Desk, width: int, locale: str, scheme: str) -> None:
    writing = desk("narrow", viewport={"width": width, "height": 844}, locale=locale, color_scheme=scheme)
    page = writing.page

    def fits() -> None:
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        untold = [text for text in page.evaluate(EVERY_TEXT) if KEY.search(text)]
        assert not untold

    fits()
    writing.more()
    writing.drop(picture(f"{'long' * 40}.png"), File(f"{'name' * 40}.txt", b"none", "text/plain"))
    writing.own(1, 1)
    fits()
    writing.write("Explain how bread rises", pictures=1)
    writing.finished()
    writing.seen(1)
    fits()
    writing.sheet.locator(".pz-passage").nth(1).click()
    writing.sheet.locator(".pz-panel").wait_for()
    fits()
    writing.sheet.locator(".pz-passage").nth(1).click()
    writing.figures.first.locator(".pz-figure-row .pz-button").nth(2).click()
    writing.sheet.locator(".pz-figure .pz-panel").wait_for()
    fits()
    page.locator(".pz-export summary").click()
    menu = page.locator(".pz-menu").bounding_box()
    assert menu is not None and menu["x"] >= 0 and menu["x"] + menu["width"] <= width
    fits()
    dark = page.evaluate(
        "getComputedStyle(document.querySelector('.pz-sheet')).backgroundColor.match(/\\d+/g).slice(0, 3).every(n => n < 80)"
    )
    assert dark == (scheme == "dark")


def test_a_picture_service_that_fails_is_told_and_a_card_stands_in(desk: Desk) -> None:
    writing = desk("down")
    writing.written(pictures=2)
    writing.seen(2)
    told = writing.page.locator(".pz-told").inner_text()
    assert "Openverse" in told and "503" in told
    assert writing.captions() == ["A windmill for flour", "Flour from a hill"]


def test_a_stage_is_done_again_and_what_was_before_is_kept(desk: Desk) -> None:
    writing = desk("again")
    writing.written(pictures=1)
    writing.seen(1)
    writing.page.locator(".pz-stagebar").get_by_role("button", name="Captions").click()
    writing.has("A basket in the kitchen")
    writing.finished()
    writing.seen(1)
    writing.write("Write about the sea", pictures=1)
    writing.has("The sea")
    writing.finished()
    assert writing.passages() == ["The sea", "It is wide."]
    writing.version("Undo")
    writing.has(LAST)
    assert writing.captions() == ["A basket in the kitchen"]
    writing.version("Undo")
    writing.has("A bowl of dough on a sunny windowsill")
    assert writing.page.locator(".pz-versions option").count() == 3


def test_another_article_is_begun_after_a_second_press(desk: Desk) -> None:
    writing = desk("plain")
    writing.written(pictures=0)
    writing.drop(picture("mine.png", "teal"))
    writing.own(1)
    writing.page.get_by_role("button", name="New", exact=True).click()
    writing.news("Press New again")
    assert len(writing.passages()) == PARAGRAPHS
    writing.page.get_by_role("button", name="New", exact=True).click()
    writing.page.get_by_role("heading", name="Write an illustrated article").wait_for()
    writing.own(0)
    assert not writing.sheet.is_visible() and writing.page.locator("#writing-instruction").input_value() == ""
    writing.until(f"{FOCUSED}.id === 'writing-instruction'", "the hand on the form")
    writing.written(pictures=0)
    assert len(writing.passages()) == PARAGRAPHS
    writing.page.reload()
    writing.show()
    writing.has(LAST)


def test_of_a_folder_its_pictures_and_texts_are_taken(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "rye.md").write_text("Rye keeps longer.", "utf-8")
    (tmp_path / "loaf.png").write_bytes(picture("loaf.png", "maroon").content)
    (tmp_path / "broken.png").write_bytes(b"\x89PNG")
    (tmp_path / "program.bin").write_bytes(b"\0" * 9)
    writing = desk("plain")
    with writing.page.expect_file_chooser() as chooser:
        writing.page.get_by_role("button", name="Add a folder").click()
    chooser.value.set_files(tmp_path)
    writing.own(1, 1)
    assert "program.bin" not in writing.news("broken.png")

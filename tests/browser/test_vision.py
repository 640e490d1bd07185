"""The vision tab as a visitor uses it, with scripted models that answer with frames."""

from __future__ import annotations

import base64
import urllib.error
import urllib.request
from collections.abc import Callable

import pytest

from tests.browser.conftest import App, Visitor
from tests.browser.vision_page import File, Vision, picture
from tests.demos.agent.tools import pdf_files
from tests.demos.pictures.samples import RED, near, opened
from tests.openai_server import OpenAIServer

pytestmark = pytest.mark.browser
Visit = Callable[..., Visitor]
Look = Callable[..., Vision]


def status(address: str) -> int:
    try:
        with urllib.request.urlopen(address, timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_pictures_that_are_pasted_dropped_and_picked_go_with_questions(look: Look) -> None:
    vision = look()
    vision.paste(picture("pasted.png"))
    vision.count(1)
    vision.drop(picture("dropped.png", "green"))
    vision.count(2)
    assert vision.lie() == [("#1", "pasted.png"), ("#2", "dropped.png")]
    vision.ask("What are these?")
    assert vision.questions() == ["What are these?"] and vision.strips() == ["#1 #2"]
    assert vision.answers()[0].startswith("It is a picture.")
    vision.ask("And without a new one?")
    vision.add(picture("picked.png", "blue"))
    assert vision.lie()[2:] == [("#3", "picked.png")]
    vision.ask("And this one?")
    assert vision.strips() == ["#1 #2", "", "#3"]
    shots = "[...document.querySelectorAll('#vision-log .pz-shot img')].map(e => e.naturalWidth > 0)"
    vision.until(f"JSON.stringify({shots}) === '[true,true,true]'", "the pictures over their questions")
    assert vision.page.locator("#vision-viewer h3").all_inner_texts() == ["In this conversation"]
    with vision.page.expect_download() as started:
        vision.page.locator("#vision-export").click()
    kept = started.value.path().read_text("utf-8")
    assert "What are these?" in kept and "It is a picture." in kept and kept.count("](data:image/jpeg;base64,/9j/") == 3


def test_order_removal_and_detail_are_what_the_model_is_sent(look: Look, endpoint: OpenAIServer) -> None:
    vision = look("remote")
    vision.pick(picture("a.png"), picture("b.png", "green"))
    vision.count(2)
    vision.add(picture("c.png", "blue"))
    assert vision.lie() == [("#1", "a.png"), ("#2", "b.png"), ("#3", "c.png")]
    vision.press("Move forward")  # the newest is chosen
    vision.order("a.png", "c.png", "b.png")
    vision.thumbs.nth(0).click()
    vision.press("Move back")
    vision.order("c.png", "a.png", "b.png")
    vision.thumbs.nth(2).drag_to(vision.thumbs.nth(0))
    vision.order("b.png", "c.png", "a.png")
    vision.thumbs.nth(1).click()
    removed = vision.addresses()[1]
    vision.press("Remove")
    vision.order("b.png", "a.png")
    assert status(removed) == 404
    assert vision.lie() == [("#1", "b.png"), ("#2", "a.png")]
    vision.page.locator("#vision-viewer .pz-segments").get_by_text("High").click()
    vision.press("Name it in the question")
    assert vision.composer.input_value() == "#2 "
    vision.ask("Compare #1 and #2.")
    assert vision.strips() == ["#1 #2"] and vision.answers()[0].startswith("It is far away.")
    (asked,) = [body["messages"][-1]["content"] for body in endpoint.asked() if body["max_tokens"] > 1]  # others only count
    assert [part["text"] for part in asked if "text" in part] == ["Image #1: ", "Image #2: ", "Compare #1 and #2."]
    sent = [part["image_url"] for part in asked if "image_url" in part]
    assert [one["detail"] for one in sent] == ["high", "high"]
    seen = [opened(base64.b64decode(one["url"].partition(",")[2])) for one in sent]
    assert near(seen[0], (5, 5), (0, 128, 0)) and near(seen[1], (5, 5), RED)  # b.png, a.png
    vision.add(picture("d.png", "navy"))
    assert vision.page.locator("#vision-viewer input[value=high]").is_checked()


def test_a_pdf_is_two_of_its_pages_and_one_with_a_password_says_so(look: Look) -> None:
    vision = look()
    vision.pick(File("paper.pdf", pdf_files.texts("one", "two", "three"), "application/pdf"))
    pages = vision.page.locator("#vision-viewer .pz-page")
    vision.until("document.querySelectorAll('.pz-page').length === 3", "the pages")
    assert vision.page.locator("#vision-viewer .pz-pages h3").inner_text() == "paper.pdf: choose pages"
    assert [page.get_attribute("aria-pressed") for page in pages.all()] == ["false"] * 3
    for number in (2, 0):
        pages.nth(number).click()
    vision.press("Add 2 pages")
    vision.count(2)
    assert vision.lie() == [("#1", "paper.pdf #1"), ("#2", "paper.pdf #3")]
    assert not vision.page.locator("#vision-viewer .pz-pages").is_visible()
    vision.drop(File("secret.pdf", pdf_files.locked("x"), "application/pdf"))
    assert "Save a copy without one" in vision.news("“secret.pdf” is protected by a password.")
    vision.pick(File("other.pdf", pdf_files.texts(*["one"] * 12), "application/pdf"))
    button = "document.querySelector('.pz-pages .pz-primary').getBoundingClientRect()"
    vision.until(f"document.querySelectorAll('.pz-page').length === 12 && {button}.bottom <= innerHeight", "the pages and their button")
    vision.press("Close")
    vision.until("document.querySelector('.pz-pages').hidden", "the end of the choice")
    vision.ask("What do they say?")
    assert vision.strips() == ["#1 #2"]


def test_stop_keeps_what_was_written(look: Look) -> None:
    vision = look("slow")
    vision.add(picture("a.png"))
    vision.send("Tell me all.")
    vision.until("document.querySelector('#vision-log .bot-row')?.innerText.includes('word word word')", "the answer's beginning")
    vision.drop(picture("b.png", "green"))  # ready for the next question, while this one is answered
    vision.count(2)
    vision.stop()
    vision.finished()
    assert vision.answers()[0].startswith("word word word") and "stopped" in vision.answers()[0]
    assert "▍" not in vision.answers()[0]
    vision.choose("sees")
    vision.ask("And shorter?")
    assert vision.answers()[1].startswith("It is a picture.") and vision.strips() == ["#1", "#2"]


def test_regenerate_edit_and_undo_keep_the_pictures_with_their_question(look: Look) -> None:
    vision = look("varies")
    vision.add(picture("a.png"), picture("b.png", "green"))
    vision.ask("What is it?")
    vision.page.get_by_label("Retry").last.click()
    vision.until("document.querySelector('#vision-log .bot-row')?.innerText.startsWith('Second.')", "another answer")
    vision.finished()
    assert vision.questions() == ["What is it?"] and vision.strips() == ["#1 #2"]
    vision.page.locator("#vision-log .user-row").hover()
    vision.page.locator("#vision-log").get_by_label("Edit").first.click()
    vision.page.locator("#vision-log .user-row textarea:visible").fill("What are they?")
    vision.page.locator("#vision-log").get_by_label("Submit").first.click()
    vision.until("document.querySelector('#vision-log .bot-row')?.innerText.startsWith('Third.')", "the answer to the edited question")
    vision.finished()  # Gradio tells of two edits: of the pictures' message, and of the question's
    assert vision.questions() == ["What are they?"] and vision.strips() == ["#1 #2"]
    assert vision.answers()[0].startswith("Third.")
    vision.page.get_by_label("Undo").last.click()
    vision.visitor.see("#vision-empty")
    assert vision.composer.input_value() == "What are they?"
    vision.order("a.png", "b.png")
    assert vision.page.locator("#vision-viewer h3").all_inner_texts() == ["With the next question"]
    vision.page.locator("#vision-composer .submit-button").click()
    vision.until("document.querySelector('#vision-log .bot-row')?.innerText.startsWith('Fourth.')", "the answer to the same question")
    assert vision.strips() == ["#1 #2"]


def test_a_frame_is_pressed_or_drawn_to_ask_about_a_part(look: Look) -> None:
    vision = look("frames")
    vision.add(picture("cat.png", size=(400, 200)))
    vision.ask("Where is the cat?")
    assert vision.answers()[0].startswith("Here is the cat, asleep.")
    vision.framed("the cat")
    assert vision.frames.get_attribute("aria-label") == "Frame: the cat"
    shown, frame = vision.page.locator("#vision-viewer .pz-shown").bounding_box(), vision.frames.bounding_box()
    assert shown and frame
    edges = [(frame["x"] - shown["x"]) / shown["width"], (frame["y"] - shown["y"]) / shown["height"]]
    assert edges == pytest.approx([0.1, 0.05], abs=0.02)
    assert [frame["width"] / shown["width"], frame["height"] / shown["height"]] == pytest.approx([0.6, 0.9], abs=0.02)
    vision.frames.focus()
    vision.page.keyboard.press("Enter")
    vision.count(2)
    assert vision.lie()[1] == ("#2", "the cat · part of #1")
    assert "240 × 180" in vision.page.locator("#vision-viewer .pz-caption").inner_text()
    vision.thumbs.nth(0).focus()
    vision.page.keyboard.press("Enter")
    vision.framed("the cat")
    shown = vision.page.locator("#vision-viewer .pz-shown").bounding_box()
    assert shown
    vision.page.mouse.move(shown["x"] + shown["width"] * 0.75, shown["y"] + shown["height"] * 0.5)
    vision.page.mouse.down()
    vision.page.mouse.move(shown["x"] + shown["width"] * 0.9, shown["y"] + shown["height"] * 0.8, steps=4)
    vision.page.mouse.move(shown["x"] + shown["width"] * 1.5, shown["y"] + shown["height"] * 1.5, steps=4)
    vision.page.mouse.up()
    vision.press("Ask about this part")
    vision.count(3)
    assert vision.lie()[2] == ("#3", "part of #1")
    assert "100 × 100" in vision.page.locator("#vision-viewer .pz-caption").inner_text()
    vision.ask("What is this part?")
    assert vision.strips() == ["#1", "#2 #3"]
    vision.framed("the cat")  # on the newest, which is seen now
    vision.ask("And where is it in #1?")
    vision.framed("the cat", "the cat")
    assert "cat.png" in vision.page.locator("#vision-viewer .pz-caption").inner_text()


def test_a_picture_that_is_sent_again_is_one_of_its_own(look: Look) -> None:
    vision = look("frames")
    again = picture("a.png")
    vision.add(again)
    vision.page.locator("#vision-viewer .pz-shown").click()  # a press is no frame
    assert vision.page.locator("#vision-viewer .pz-drawn").count() == 0
    vision.ask("Where is the cat?")
    vision.framed("the cat")
    vision.add(again)
    assert vision.lie() == [("#1", "a.png"), ("#2", "a.png")]
    vision.framed()
    vision.press("Remove")
    vision.count(1)
    vision.framed("the cat")
    vision.add(again)
    vision.thumbs.nth(1).dblclick()
    assert vision.composer.input_value() == "#2 "
    vision.page.keyboard.type("and here?")
    vision.page.keyboard.press("Enter")
    vision.until("document.querySelectorAll('#vision-log .user-row').length > 1", "the question")
    vision.finished()
    assert vision.questions()[1] == "#2 and here?" and vision.strips() == ["#1", "#2"]


def test_a_reload_in_mid_answer_keeps_what_was_written(look: Look) -> None:
    vision = look("slow")
    vision.add(picture("a.png"))
    vision.send("Tell me all.")
    vision.until("document.querySelector('#vision-log .bot-row')?.innerText.length > 100", "the answer's beginning")
    vision.page.reload()
    vision.visitor.errors.clear()  # Gradio reports the stream that the reload cut
    vision.visitor.see("#vision-log .bot-row")
    assert vision.answers()[0].startswith("word word") and vision.strips() == ["#1"]
    assert "The answer was cut when the page reloaded" in vision.page.locator("#vision-notice").inner_text()


def test_a_reload_brings_all_back_for_this_browser_and_new_removes_it(vision_app: App, visit: Visit) -> None:
    vision = Vision(visit(vision_app.url), "frames")
    vision.add(picture("sent.png"))
    vision.ask("Where is the cat?")
    vision.add(picture("ready.png", "green"))
    sent, ready = addresses = vision.addresses()
    assert [status(address) for address in addresses] == [200, 200]
    assert status(f"{sent}?small") == 200
    vision.page.reload()
    vision.visitor.see("#vision-log .bot-row")
    vision.count(2)
    assert vision.lie() == [("#1", "sent.png"), ("#2", "ready.png")] and vision.addresses() == addresses
    assert vision.questions() == ["Where is the cat?"] and vision.strips() == ["#1"]
    vision.thumbs.nth(0).click()
    vision.framed("the cat")
    other = Vision(visit(vision_app.url))
    assert other.thumbs.count() == 0 and other.answers() == []
    other.add(picture("mine.png", "blue"))
    theirs = other.addresses()[0].rsplit("/", 1)[0]
    assert theirs != sent.rsplit("/", 1)[0]
    assert status(f"{theirs}/{sent.rsplit('/', 1)[1]}") == 404
    vision.page.locator("#vision-new").click()
    vision.visitor.see("#vision-empty")
    vision.until("!document.querySelector('#vision-viewer .pz-thumb')", "an empty desk")
    assert [status(address) for address in (sent, f"{sent}?small", ready)] == [404, 404, 404]
    assert status(other.addresses()[0]) == 200
    vision.add(picture("next.png"))
    vision.ask("And now?")
    assert vision.strips() == ["#1"]


def test_pictures_that_lie_ready_are_there_after_a_reload(look: Look) -> None:
    vision = look()
    vision.add(picture("ready.png"))
    vision.page.reload()
    vision.ready()
    vision.count(1)
    assert vision.lie() == [("#1", "ready.png")]

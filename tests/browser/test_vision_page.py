"""The rest of the vision tab: what is no picture, hostile words, the real image-facts, the endpoint, widths."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from playwright.sync_api import Route

from demos.pictures.intake import Limits
from models import catalog
from models.download import Store
from shared.engine import Cancel
from tests.browser.conftest import App
from tests.browser.vision_page import File, Vision, picture
from tests.browser.vision_scripts import TAG
from tests.demos.agent.tools import pdf_files
from tests.demos.pictures.samples import bomb

pytestmark = pytest.mark.browser
Look = Callable[..., Vision]
COMPONENT_SERVER = re.compile("/component_server")
DROPS_LARGE = """(size) => {
  const bag = new DataTransfer();
  bag.items.add(new File([new Uint8Array(size)], "vast.png", { type: "image/png" }));
  const told = { bubbles: true, cancelable: true, dataTransfer: bag };
  document.querySelector("#vision-viewer .pz-viewer").dispatchEvent(new DragEvent("drop", told));
}"""


def test_what_is_no_picture_says_why_and_the_conversation_goes_on(look: Look) -> None:
    vision = look()
    whole = picture("whole.png", size=(300, 300)).content
    refused = {
        "text.png": (b"no picture at all", "“text.png” is no picture that can be read."),
        "cut.png": (whole[: len(whole) // 2], "“cut.png” is broken"),
        "drawing.svg": (b"<svg xmlns='http://www.w3.org/2000/svg' onload='document.title=1'/>", "“drawing.svg” is an SVG drawing"),
        "bomb.png": (bomb(), "“bomb.png” has"),
        "empty.png": (b"", "“empty.png” is empty."),
    }
    vision.pick(*(File(name, content) for name, (content, _) in refused.items()))
    said = vision.news("empty.png")
    assert all(cause in said for _, cause in refused.values())
    vision.drop(*(picture(f"{number}.png", size=(10 + number, 10)) for number in range(25)))
    vision.news("A question takes 20 pictures; these are 25.")
    for address, why in {
        "http://127.0.0.1:1/a.png": "Only pictures on the open internet are fetched",
        "http://[::1]/a.png": "Only pictures on the open internet are fetched",
        "file:///etc/passwd": "is no address of a picture. Use one that begins with http:// or https://.",
        "https://pictures.example/page.png": "“page.png” is a web page.",
        "https://pictures.example/none.png": "404",
        "https://nowhere.example/a.png": "nowhere.example",
    }.items():
        vision.get(address)
        vision.news(why)
        assert vision.page.locator("#vision-viewer .pz-address input").input_value() == address  # to be corrected
    assert vision.thumbs.count() == 0
    vision.get("https://pictures.example/green.png")
    vision.count(1)
    assert vision.lie() == [("#1", "green.png")]
    vision.submit("  ")
    vision.page.locator("#vision-notice").filter(has_text="Write what you want to know about the pictures. They stay ready.").wait_for()
    vision.ask("What is it?")
    assert vision.strips() == ["#1"] and vision.answers()[0].startswith("It is a picture.")
    vision.drop(*(picture(f"{number}.png", size=(10 + number, 10)) for number in range(20)))
    vision.count(21)
    vision.pick(picture("last.png"))
    vision.news("These are 21 pictures; a message takes 20.")
    vision.ask("And these?")
    assert vision.strips()[1].split() == [f"#{number}" for number in range(2, 22)]


def test_a_question_waits_for_pictures_on_their_way_and_none_come_from_the_chat(look: Look) -> None:
    vision = look()
    uploads: list[Route] = []
    vision.page.route("**/puyu/pictures/*?name=*", lambda route: uploads.append(route))
    vision.paste(picture("slow.png"))
    vision.composer.fill("What is it?")
    vision.page.keyboard.press("Enter")
    vision.news("still")
    vision.page.locator("#vision-composer .submit-button").click()
    assert vision.questions() == [] and vision.composer.input_value() == "What is it?"
    uploads[0].continue_()
    vision.count(1)
    vision.page.locator("#vision-composer .submit-button").click()
    vision.until("document.querySelector('#vision-log .user-row')", "the question")
    vision.finished()
    assert vision.strips() == ["#1"]
    vision.page.locator("#tabs [role=tab]").first.click()
    vision.visitor.see("#chat-composer textarea")
    vision.paste(picture("elsewhere.png", "green"))  # on another tab nobody asked for it
    vision.visitor.ask("Hello?")
    vision.visitor.finished()
    vision.page.locator("#tabs [role=tab]").nth(2).click()
    vision.count(1)
    assert vision.questions() == ["What is it?"] and len(uploads) == 1


def test_pictures_that_come_before_the_desk_is_known_wait_for_it(look: Look) -> None:
    vision = look()
    held: list[Route] = []
    vision.page.route(COMPONENT_SERVER, lambda route: held.append(route))
    with vision.page.expect_request(COMPONENT_SERVER):
        vision.page.reload()
    vision.visitor.see("#vision-viewer .pz-add-pictures")
    vision.drop(picture("0.png"), picture("1.png", "blue"))
    vision.composer.fill("What is it?")
    vision.page.keyboard.press("Enter")
    assert vision.news("still") and vision.thumbs.count() == 0
    for route in held:
        route.continue_()
    vision.page.unroute(COMPONENT_SERVER)
    vision.count(2)
    assert vision.lie() == [("#1", "0.png"), ("#2", "1.png")] and vision.questions() == []


def test_a_file_that_is_too_large_is_not_sent(look: Look) -> None:
    vision = look()
    uploads: list[Route] = []
    vision.page.route("**/puyu/pictures/*?name=*", lambda route: uploads.append(route))
    vision.page.evaluate(DROPS_LARGE, Limits().file + 1)
    assert f"vast.png is larger than {Limits().file >> 20} MB." in vision.news("vast.png") and not uploads


def test_the_button_that_gets_a_model_shows_while_there_is_one_to_get(look: Look) -> None:
    vision = look("absent")
    button = vision.page.locator("#vision-fetch")
    button.filter(has_text="Download and load").wait_for()
    vision.choose("sees")
    button.wait_for(state="hidden")
    vision.choose("absent")
    button.wait_for(state="visible")
    chat = look().page
    assert not chat.locator("#vision-fetch").is_visible() and chat.locator("#vision-model-card").is_visible()


def test_hostile_names_labels_and_answers_stay_text(look: Look) -> None:
    vision = look("hostile")
    vision.paste(picture(f"{TAG}.png"), picture("${document.title=3}.png", "green"))
    vision.count(2)
    assert f"{TAG}.png" in [name for _, name in vision.lie()]
    vision.paste(File(f"{TAG}.txt", b"none"))
    vision.news(TAG)
    vision.ask(TAG)
    assert vision.questions() == [TAG]
    assert TAG in vision.answers()[0]
    vision.framed(TAG)
    assert vision.page.locator("img[src=x]").count() == 0
    assert vision.page.title() not in ("1", "2", "3")


def test_image_facts_reads_the_example_and_hands_it_to_the_chat(look: Look, models_dir: Path) -> None:
    facts = catalog.find(catalog.read(catalog.BUILT_IN), "image-facts")
    store = Store(models_dir)
    assert store.find(facts) or store.fetch(facts, lambda progress: None, Cancel())
    vision = look("image-facts")
    vision.page.locator("#vision-model-card").filter(has_text="image-facts is no vision-language model").wait_for()
    vision.page.locator("#vision-fetch").filter(has_text="Load").click()
    vision.page.locator("#vision-fetch").wait_for(state="hidden")
    vision.page.locator(".pz-example[data-id=read]").click()
    vision.until("document.querySelector('#vision-log .user-row')", "the question of the example")
    vision.finished()
    assert "Riverside Library" in vision.answers()[0] and vision.strips() == ["#1"]
    vision.page.get_by_role("button", name="Hand the facts to the chat").click()
    vision.visitor.see("#chat-composer textarea")
    given = vision.page.locator("#chat-composer textarea").input_value()
    assert given.startswith("Facts that a program measured") and "Riverside Library" in given and given.endswith("My question: ")
    vision.visitor.page.locator("#chat-composer .submit-button").click()
    vision.visitor.finished()
    assert "Riverside Library" in vision.visitor.questions()[0]


def test_the_public_endpoint(vision_app: App, tmp_path: Path) -> None:
    client = Client(vision_app.url, verbose=False, analytics_enabled=False)
    try:
        files = [tmp_path / "a.png", tmp_path / "b.png"]
        for path, colour in zip(files, ("red", "green"), strict=True):
            path.write_bytes(picture("", colour).content)
        given = [handle_file(str(path)) for path in files]
        job = client.submit(given, "What are these?", model="slow", max_tokens=12, api_name="/vision")
        assert job.result(60) == "word " * 12
        states = job.outputs()
        assert len(states) > 2 and all(later.startswith(earlier) for earlier, later in itertools.pairwise(states))
        assert client.predict(given[:1], "What is it?", api_name="/vision") == "It is a picture."
        (tmp_path / "c.png").write_bytes(b"none")
        with pytest.raises(AppError, match=r"“c\.png” is no picture that can be read"):
            client.predict([*given, handle_file(str(tmp_path / "c.png"))], "What is it?", api_name="/vision")
        with pytest.raises(AppError, match="There is no question"):
            client.predict(given, " ", api_name="/vision")
    finally:
        client.close()


@pytest.mark.parametrize(("width", "locale"), [(390, "zh-CN"), (1280, "en-US")])
def test_nothing_overflows(look: Look, width: int, locale: str) -> None:
    vision = look("frames", viewport={"width": width, "height": 844}, locale=locale)
    wide = "document.documentElement.scrollWidth"
    assert vision.page.evaluate(wide) <= width
    vision.add(picture(f"{'long' * 40}.png", size=(3000, 40)), picture("tall.png", "green", size=(40, 3000)))
    vision.ask(f"Where is the cat? {'x' * 300}")
    vision.framed("the cat")
    vision.frames.click()
    vision.count(3)
    area = "document.querySelector('#vision-composer textarea')"
    inside = f"{area}.getBoundingClientRect().top >= 0 && {area}.getBoundingClientRect().bottom <= innerHeight"
    vision.until(f"document.activeElement === {area} && {inside}", "the place for the next question")
    vision.pick(File(f"{'long' * 40}.pdf", pdf_files.texts("one", "two"), "application/pdf"))
    vision.visitor.see("#vision-viewer .pz-page")
    assert vision.page.evaluate(wide) <= width

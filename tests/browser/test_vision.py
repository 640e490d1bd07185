"""The vision tab as a visitor uses it: scripted models that answer with frames, real pictures, once the real image-facts."""

from __future__ import annotations

import itertools
import json
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

from models import catalog
from models.download import Store
from shared.engine import Cancel
from tests.browser.conftest import App, Visitor
from tests.browser.public_web import PublicWeb
from tests.browser.vision_page import File, Vision, picture
from tests.demos.agent.tools import pdf_files
from tests.demos.vision.pictures import bomb

pytestmark = pytest.mark.browser
CAT = "<ref>the cat</ref><box>(100,50),(700,950)</box>"
SCRIPT = "<img src=x onerror=document.title=1>"
HOSTILE = f'{SCRIPT} ${{document.title=2}} {{"bbox_2d": [100, 100, 900, 900], "label": "{SCRIPT}"}}'
SCRIPTS: Mapping[str, Sequence[str]] = {
    "sees": ["It is a picture."],
    "frames": [f"Here is {CAT}, asleep."],
    "slow": ["word " * 2000],
    "varies": ["First.", "Second.", "Third.", "Fourth."],
    "hostile": [HOSTILE],
}
Visit = Callable[..., Visitor]
Look = Callable[..., Vision]


def _pictures_site(path: str) -> tuple[int, bytes]:
    pages = {"/green.png": picture("", "green").content, "/page.png": b"<!doctype html><p>a page</p>"}
    return (200, pages[path]) if path in pages else (404, b"none")


@pytest.fixture(scope="module")
def internet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PublicWeb]:
    """Where pictures have addresses."""
    with PublicWeb({"pictures.example": _pictures_site}, tmp_path_factory.mktemp("internet")) as running:
        yield running


@pytest.fixture(scope="module")
def vision_app(start_app: Callable[..., App], internet: PublicWeb, models_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> App:
    """One program for these tests. A model per script, so that no test depends on how far another one's has come."""
    path = tmp_path_factory.mktemp("vision") / "scripts.toml"
    head = 'backend = "scripted"\ndialect = "chatml"\ncontext = 16384\ncapabilities = ["text", "image", "prefill", "choice"]'
    tables = [
        f'[[model]]\nid = "{name}"\n{head}\nsource = [{{ kind = "path", ref = "{path}" }}]\n'
        f"[model.options]\npieces = 5\ndelay = {0.05 if name == 'slow' else 0}\nreplies = {json.dumps(list(replies))}\n"
        for name, replies in SCRIPTS.items()
    ]
    path.write_text("\n".join(tables), "utf-8")
    return start_app("--models", str(path), "--model", "sees", "--models-dir", str(models_dir), environment=internet.environment)


@pytest.fixture
def look(vision_app: App, visit: Visit) -> Look:
    """A new visitor on the vision tab with this model chosen."""
    return lambda model="", **options: Vision(visit(vision_app.url, **options), model)


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


def test_order_removal_and_detail_before_sending(look: Look) -> None:
    vision = look()
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
    vision.press("Remove")
    vision.order("b.png", "a.png")
    assert vision.lie() == [("#1", "b.png"), ("#2", "a.png")]
    vision.page.locator("#vision-viewer .pz-segments").get_by_text("High").click()
    vision.press("Name it in the question")
    assert vision.composer.input_value() == "#2 "
    vision.ask("Compare #1 and #2.")
    assert vision.strips() == ["#1 #2"]
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
    vision.pick(File("other.pdf", pdf_files.texts("one"), "application/pdf"))
    vision.visitor.see("#vision-viewer .pz-page")
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
    vision.finished()
    assert vision.questions() == ["What are they?"] and vision.strips() == ["#1 #2"]
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


def test_hostile_names_labels_and_answers_stay_text(look: Look) -> None:
    vision = look("hostile")
    vision.paste(picture(f"{SCRIPT}.png"), picture("${document.title=3}.png", "green"))
    vision.count(2)
    assert f"{SCRIPT}.png" in [name for _, name in vision.lie()]
    vision.paste(File(f"{SCRIPT}.txt", b"none"))
    vision.news(SCRIPT)
    vision.ask(SCRIPT)
    assert vision.questions() == [SCRIPT]
    assert SCRIPT in vision.answers()[0]
    vision.framed(SCRIPT)
    assert vision.page.locator("img[src=x]").count() == 0
    assert vision.page.title() not in ("1", "2", "3")


def test_image_facts_reads_the_example_and_hands_it_to_the_chat(look: Look, models_dir: Path) -> None:
    facts = catalog.find(catalog.read(catalog.BUILT_IN), "image-facts")
    store = Store(models_dir)
    assert store.find(facts) or store.fetch(facts, lambda progress: None, Cancel())
    vision = look("image-facts")
    vision.page.locator("#vision-model-card").filter(has_text="image-facts is no vision-language model").wait_for()
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
    vision.pick(File(f"{'long' * 40}.pdf", pdf_files.texts("one", "two"), "application/pdf"))
    vision.visitor.see("#vision-viewer .pz-page")
    assert vision.page.evaluate(wide) <= width

"""The vision tab as a visitor uses it: pictures that he brings, what he presses, and what he reads."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, NamedTuple

import PIL.Image
from playwright.sync_api import Locator

from tests.demos.pictures.samples import saved

if TYPE_CHECKING:
    from tests.browser.conftest import Visitor

LOG, THUMBS = "#vision-log", "#vision-viewer .pz-thumb"
BRINGS = """([files, kind]) => {
  const bag = new DataTransfer();
  for (const [name, type, content] of files) {
    const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
    bag.items.add(new File([bytes], name, { type }));
  }
  const told = { bubbles: true, cancelable: true, ...(kind === "paste" ? { clipboardData: bag } : { dataTransfer: bag }) };
  const at = document.querySelector(kind === "paste" ? "#vision-composer textarea" : "#vision-viewer .pz-viewer");
  for (const name of kind === "paste" ? ["paste"] : ["dragenter", "dragover", "drop"]) {
    at.dispatchEvent(kind === "paste" ? new ClipboardEvent(name, told) : new DragEvent(name, told));
  }
}"""


class File(NamedTuple):
    name: str
    content: bytes
    type: str = "image/png"


def picture(name: str, colour: str = "red", size: tuple[int, int] = (400, 200)) -> File:
    return File(name, saved(PIL.Image.new("RGB", size, colour), "PNG"))


class Vision:
    """The vision tab of one visitor, ready, with `model` chosen."""

    def __init__(self, visitor: Visitor, model: str = "") -> None:
        self.visitor, self.page = visitor, visitor.page
        self.page.locator("#tabs [role=tab]").nth(2).click()
        self.ready()
        if model:
            self.choose(model)

    def ready(self) -> None:
        """Until the page has its conversation: from then on it takes pictures."""
        self.visitor.see("#vision-composer textarea")
        told = "performance.getEntriesByType('resource').some(entry => entry.name.includes('/component_server'))"
        self.until(told, "the desk of the conversation")

    def choose(self, model: str) -> None:
        self.page.locator("#gear button").click()
        self.page.locator("#vision-model input").click()
        self.page.locator(f"#vision-model [role=option][aria-label^='{model} ']").click()
        self.page.keyboard.press("Escape")
        self.until(f"document.querySelector('#vision-model input').value.startsWith('{model} ')", f"{model} as the model")

    def until(self, condition: str, what: str) -> None:
        """Wait for a JavaScript condition; a failure tells what the page showed instead."""
        try:
            self.visitor.until(condition, what, timeout=60_000)
        except AssertionError as error:
            places = ("#vision-viewer", "#vision-stage", "#vision-notice", "#vision-error", LOG)
            shown = {place: self.page.locator(place).inner_text() for place in places if self.page.locator(place).count()}
            raise AssertionError(f"{what} did not come; the vision page shows {shown}") from error

    # ---- pictures ----

    def paste(self, *files: File) -> None:
        self._bring("paste", files)

    def drop(self, *files: File) -> None:
        self._bring("drop", files)

    def pick(self, *files: File) -> None:
        """By the button that opens the system's window for files."""
        with self.page.expect_file_chooser() as chooser:
            self.page.locator("#vision-viewer .pz-add-pictures").click()
        chooser.value.set_files([{"name": file.name, "mimeType": file.type, "buffer": file.content} for file in files])

    def add(self, *files: File) -> None:
        """Pick, and wait until all of them lie there."""
        before = self.thumbs.count()
        self.pick(*files)
        self.count(before + len(files))

    def get(self, address: str) -> None:
        self.page.locator("#vision-viewer .pz-address input").fill(address)
        self.page.locator("#vision-viewer .pz-address button").click()

    def _bring(self, kind: str, files: tuple[File, ...]) -> None:
        self.page.evaluate(BRINGS, [[(file.name, file.type, base64.b64encode(file.content).decode()) for file in files], kind])

    @property
    def thumbs(self) -> Locator:
        return self.page.locator(THUMBS)

    def count(self, pictures: int) -> None:
        """Wait until so many pictures lie there, and each of them is seen."""
        seen = f"[...document.querySelectorAll('{THUMBS} img')].map(e => e.naturalWidth > 0)"
        self.until(f"JSON.stringify({seen}) === JSON.stringify(Array({pictures}).fill(true))", f"{pictures} pictures")

    def lie(self) -> list[tuple[str, str]]:
        """Number and name of each picture, in their order."""
        return [(thumb.inner_text(), thumb.get_attribute("title") or "") for thumb in self.thumbs.all()]

    def order(self, *names: str) -> None:
        """Wait until the pictures lie in this order."""
        self.until(f"[...document.querySelectorAll('{THUMBS}')].map(e => e.title).join('|') === {json.dumps('|'.join(names))}", f"{names}")

    def addresses(self) -> list[str]:
        """Where the pictures are, large."""
        at = "elements => elements.map(e => e.src.split('?')[0])"
        found: list[str] = self.page.locator(f"{THUMBS} img").evaluate_all(at)
        return found

    def press(self, words: str) -> None:
        """A button beside the conversation."""
        self.page.locator("#vision-viewer button").filter(has_text=words).click()

    def news(self, words: str) -> str:
        """What the pictures say, once it has these words."""
        self.until(f"document.querySelector('#vision-viewer .pz-viewer-news').innerText.includes({json.dumps(words)})", repr(words))
        return self.page.locator("#vision-viewer .pz-viewer-news").inner_text()

    @property
    def frames(self) -> Locator:
        """Those that an answer has drawn on the picture that is seen large."""
        return self.page.locator("#vision-viewer button.pz-frame")

    def framed(self, *labels: str) -> None:
        """Wait until these are the frames on the picture that is seen large."""
        found = "[...document.querySelectorAll('#vision-viewer button.pz-frame')].map(e => e.innerText)"
        self.until(f"JSON.stringify({found}) === JSON.stringify({json.dumps(labels)})", f"the frames {labels}")

    # ---- a question ----

    @property
    def composer(self) -> Locator:
        return self.page.locator("#vision-composer textarea")

    def submit(self, question: str) -> None:
        self.composer.fill(question)
        self.page.locator("#vision-composer .submit-button").click()

    def send(self, question: str) -> None:
        """Send, and wait until the page has taken it."""
        before = len(self.questions())
        self.submit(question)
        self.until(f"document.querySelectorAll('{LOG} .user-row').length > {before}", "the question")

    def finished(self) -> None:
        """Until the composer offers Send again and a footer stands under every answer."""
        rows, feet = (f"document.querySelectorAll('{LOG} {what}').length" for what in (".user-row", ".pz-foot"))
        self.until(f"document.querySelector('#vision-composer .submit-button') && {rows} && {feet} >= {rows}", "the end of the answer")

    def ask(self, question: str) -> None:
        self.send(question)
        self.finished()

    def stop(self) -> None:
        self.page.locator("#vision-composer .stop-button").click()

    def questions(self) -> list[str]:
        """The visitor's rows, without the numbers of the pictures in them."""
        rows = f"[...document.querySelectorAll('{LOG} .user-row')]"
        texts = "row => [...row.querySelectorAll('.prose')].filter(e => !e.querySelector('.pz-shots')).map(e => e.innerText.trim()).join()"
        found: list[str] = self.page.evaluate(f"{rows}.map({texts})")
        return found

    def strips(self) -> list[str]:
        """The numbers of the pictures over each question; of one without pictures, nothing."""
        rows = f"[...document.querySelectorAll('{LOG} .user-row')]"
        found: list[str] = self.page.evaluate(f"{rows}.map(row => [...row.querySelectorAll('.pz-shot b')].map(e => e.innerText).join(' '))")
        return found

    def answers(self) -> list[str]:
        """The texts of the model's rows, footers included."""
        return self.page.locator(f"{LOG} .bot-row").all_inner_texts()

    def error(self, words: str) -> str:
        card = self.page.locator("#vision-error .pz-error").filter(has_text=words)
        card.wait_for(timeout=30_000)
        return card.inner_text()

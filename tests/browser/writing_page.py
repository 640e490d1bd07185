"""The writing tab as a visitor uses it: what he asks for, what he presses, and what he reads on the sheet."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

from playwright.sync_api import Download, Locator

from tests.browser.vision_page import File

if TYPE_CHECKING:
    from tests.browser.conftest import Visitor

SHEET = "#writing-desk .pz-sheet"
WORKING = "document.querySelector('#writing-desk .pz-writing').hasAttribute('data-working')"
DONE = "document.querySelector('#writing-desk .pz-stagebar li:last-child')?.dataset.state === 'done'"
FORMATS = {"html": "Web page", "pdf": "PDF", "docx": "Word", "zip": "Markdown and pictures", "json": "Article file"}
DROPS = """(files) => {
  const bag = new DataTransfer();
  for (const [name, type, content] of files) {
    const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
    bag.items.add(new File([bytes], name, { type }));
  }
  const at = document.querySelector("#writing-desk .pz-work");
  for (const name of ["dragenter", "dragover", "drop"]) {
    at.dispatchEvent(new DragEvent(name, { bubbles: true, cancelable: true, dataTransfer: bag }));
  }
}"""


class Writing:
    """The writing tab of one visitor, ready, with `model` chosen."""

    def __init__(self, visitor: Visitor, model: str = "") -> None:
        self.visitor, self.page = visitor, visitor.page
        self._kept: str | None = None
        self.show()
        if model:
            self.choose(model)

    def show(self) -> None:
        """Until the page has its manuscript and knows the models."""
        self.page.locator("#tabs [role=tab]").nth(3).click()
        self.until("document.querySelectorAll('#writing-model option').length > 0", "the models")

    def choose(self, model: str) -> None:
        fold = self.page.locator("#writing-desk details").filter(has=self.page.locator("#writing-model"))
        if fold.get_attribute("open") is None:
            fold.locator("summary").click()
        self.page.locator("#writing-model").select_option(model)

    def more(self) -> None:
        """Open the part of the form that has length, tone and material."""
        fold = self.page.locator("#writing-desk details").filter(has=self.page.locator("#writing-tone"))
        if fold.get_attribute("open") is None:
            fold.locator("summary").click()

    def until(self, condition: str, what: str) -> None:
        """Wait for a JavaScript condition; a failure tells what the page showed instead."""
        try:
            self.visitor.until(condition, what, timeout=30_000)
        except AssertionError as error:
            shown = self.page.locator("#writing-desk .pz-work").inner_text()
            raise AssertionError(f"{what} did not come; the writing page shows {shown}") from error

    # ---- writing ----

    def write(self, instruction: str = "Explain how bread rises", *, pictures: int | None = None) -> None:
        """Begin, and wait until the page has taken it."""
        self.page.locator("#writing-instruction").fill(instruction)
        if pictures is not None:
            self.page.locator("#writing-pictures").fill(str(pictures))
        self._kept = self._stored()
        self.page.locator("#writing-desk .pz-buttons .pz-primary").click()
        self.until(f"{WORKING} || {DONE} || document.querySelector('.pz-outline:not([hidden])')", "the work")

    def kept(self) -> None:
        """Wait until the browser has kept the form since writing began."""
        self.until(f"localStorage.getItem('puyu-writing') !== {json.dumps(self._kept)}", "the form in the browser")

    def _stored(self) -> str | None:
        found: str | None = self.page.evaluate("localStorage.getItem('puyu-writing')")
        return found

    def press(self, words: str) -> None:
        """A button below the form."""
        self.page.locator("#writing-desk .pz-buttons").get_by_role("button", name=words, exact=True).click()

    def rest(self) -> None:
        """Until nothing is being done."""
        self.until(f"!{WORKING} && !document.querySelector('#writing-desk .pz-stop')", "the end of the work")

    def finished(self) -> None:
        self.rest()
        self.until(f"!{WORKING} && {DONE}", "the finished article")

    def written(self, instruction: str = "Explain how bread rises", *, pictures: int | None = None) -> None:
        self.write(instruction, pictures=pictures)
        self.finished()

    def has(self, words: str) -> None:
        """Wait until the sheet has these words."""
        self.until(f"document.querySelector({json.dumps(SHEET)}).innerText.includes({json.dumps(words)})", repr(words))

    def lacks(self, words: str) -> None:
        self.until(f"!document.querySelector({json.dumps(SHEET)}).innerText.includes({json.dumps(words)})", f"the end of {words!r}")

    def stages(self) -> dict[str, str]:
        """What stands in the stage bar: name -> todo, now or done."""
        items = self.page.locator("#writing-desk .pz-stagebar li").all()
        return {item.locator("b, button").inner_text(): item.get_attribute("data-state") or "" for item in items}

    def news(self, words: str) -> str:
        self.until(f"document.querySelector('.pz-writing-news').innerText.includes({json.dumps(words)})", repr(words))
        return self.page.locator(".pz-writing-news").inner_text()

    # ---- the sheet ----

    @property
    def sheet(self) -> Locator:
        return self.page.locator(SHEET)

    def text(self) -> str:
        return self.sheet.inner_text()

    def passages(self) -> list[str]:
        return [text.strip() for text in self.sheet.locator(".pz-passage").all_inner_texts()]

    def passage(self, words: str) -> Locator:
        """The paragraph with these words, with what belongs to it."""
        return self.sheet.locator(".pz-block:not(.pz-figure)").filter(has=self.page.locator(".pz-passage").filter(has_text=words))

    def act(self, words: str, button: str, wish: str = "") -> None:
        """Open the paragraph with these words, and press a button of it."""
        block = self.passage(words)
        if not block.locator(".pz-panel").count():
            block.locator(".pz-passage").click()
        if wish:
            block.locator(".pz-panel input").fill(wish)
        block.locator(".pz-panel").get_by_role("button", name=button, exact=True).click()

    def version(self, way: str) -> None:
        """Undo or Redo."""
        self.page.locator("#writing-desk .pz-toolbar").get_by_role("button", name=way, exact=True).click()

    @property
    def figures(self) -> Locator:
        return self.sheet.locator(".pz-figure")

    def seen(self, pictures: int) -> None:
        """Wait until so many pictures are on the sheet, and each of them is seen."""
        loaded = f"[...document.querySelectorAll('{SHEET} .pz-figure>img')].map(e => e.complete && e.naturalWidth > 0)"
        self.until(f"JSON.stringify({loaded}) === JSON.stringify(Array({pictures}).fill(true))", f"{pictures} pictures")

    def captions(self) -> list[str]:
        return self.figures.locator(".pz-said").all_inner_texts()

    def shown(self, at: int = 0) -> str:
        """Where the picture on a place lies."""
        return self.figures.nth(at).locator(":scope>img").get_attribute("src") or ""

    def order(self) -> list[str]:
        """The blocks from top to bottom: the beginning of a paragraph, or `picture`."""
        first = "e => e.matches('.pz-figure') ? 'picture' : e.querySelector('.pz-passage').innerText.trim().slice(0, 20)"
        found: list[str] = self.sheet.locator(".pz-block").evaluate_all(f"all => all.map({first})")
        return found

    def ordered(self, *blocks: str) -> None:
        """Wait until the blocks stand in this order."""
        first = "e => e.matches('.pz-figure') ? 'picture' : e.querySelector('.pz-passage').innerText.trim().slice(0, 20)"
        all_of = f"JSON.stringify([...document.querySelectorAll('{SHEET} .pz-block')].map({first}))"
        self.until(f"{all_of} === JSON.stringify({json.dumps(list(blocks))})", f"the order {blocks}")

    # ---- files ----

    def pick(self, *files: File) -> None:
        self._choose(self.page.locator("#writing-desk").get_by_role("button", name="Add files"), files)

    def upload(self, at: int, file: File) -> None:
        """A picture of the visitor's own for one place."""
        self._choose(self.figures.nth(at).get_by_role("button", name="Upload"), [file])

    def drop(self, *files: File) -> None:
        self.page.evaluate(DROPS, [(file.name, file.type, base64.b64encode(file.content).decode()) for file in files])

    def own(self, pictures: int, texts: int = 0) -> None:
        """Wait until so many pictures and texts of the visitor's own lie at the form."""
        loaded = "[...document.querySelectorAll('.pz-own .pz-mine img')].filter(e => e.naturalWidth > 0).length"
        self.until(
            f"{loaded} === {pictures} && document.querySelectorAll('.pz-own .pz-text').length === {texts}", f"{pictures} of one's own"
        )

    def export(self, format: str) -> Path:
        self.page.locator("#writing-desk .pz-export summary").click()
        with self.page.expect_download(timeout=60_000) as download:
            self.page.locator("#writing-desk .pz-menu button").filter(has_text=re.compile(rf"^{FORMATS[format]}")).click()
        saved: Download = download.value
        assert saved.suggested_filename.endswith(f".{format}")
        return Path(saved.path())

    def _choose(self, button: Locator, files: tuple[File, ...] | list[File]) -> None:
        with self.page.expect_file_chooser() as chooser:
            button.click()
        chooser.value.set_files([{"name": file.name, "mimeType": file.type, "buffer": file.content} for file in files])

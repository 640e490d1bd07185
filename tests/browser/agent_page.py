"""The agent's tab as a visitor uses it: what he presses, and what he reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from playwright.sync_api import Locator, Page

if TYPE_CHECKING:
    from tests.browser.conftest import Visitor

LOG, CARD = "#agent-log", ".pz-approval:not([hidden], .pz-sent)"


class Agent:
    """The agent's tab of one visitor, ready, with `model` chosen."""

    def __init__(self, visitor: Visitor, model: str = "") -> None:
        self.visitor, self.page = visitor, visitor.page
        self.open()
        if model:
            self.choose(model)

    def open(self) -> None:
        """Go to the tab, and wait until it is known whether code may run."""
        self.page.locator("#tabs [role=tab]").nth(1).click()
        known = "![...document.querySelectorAll('.pz-code-state .pz-tag')].every(e => ['Checking', '检查中'].includes(e.textContent))"
        self.until(known, "the tools")

    def choose(self, model: str) -> None:
        self.page.locator("#gear button").click()
        self.page.locator("#agent-model input").click()
        self.page.locator(f"#agent-model [role=option][aria-label^='{model} ']").click()
        self.page.keyboard.press("Escape")
        self.until(f"document.querySelector('#agent-model input').value.startsWith('{model} ')", f"{model} as the model")

    def until(self, condition: str, what: str) -> None:
        """Wait for a JavaScript condition; a failure tells what the page showed instead."""
        try:
            self.visitor.until(condition, what, timeout=60_000)
        except AssertionError as error:
            shown = {place: self.page.locator(place).inner_text() for place in ("#agent-notice", "#agent-error", "#agent-approval", LOG)}
            raise AssertionError(f"{what} did not come; the agent's page shows {shown}") from error

    # ---- a task ----

    def send(self, task: str) -> None:
        """Send, and wait until the page has taken it."""
        before = len(self.tasks())
        self.page.locator("#agent-composer textarea").fill(task)
        self.page.locator("#agent-composer .submit-button").click()
        self.until(f"document.querySelectorAll('{LOG} .user-row .prose').length > {before}", "the task")

    def finished(self) -> None:
        """Until the composer offers Send again and a footer stands under every run."""
        rows, feet = (f"document.querySelectorAll('{LOG} {what}').length" for what in (".user-row .prose", ".pz-foot"))
        self.until(f"document.querySelector('#agent-composer .submit-button') && {rows} && {feet} >= {rows}", "the end of the run")

    def do(self, task: str) -> None:
        self.send(task)
        self.finished()

    def stop(self) -> None:
        self.page.locator("#agent-composer .stop-button").click()

    def tasks(self) -> list[str]:
        return [text.strip() for text in self.page.locator(f"{LOG} .user-row .prose").all_inner_texts()]

    def said(self) -> str:
        """All that the conversation shows, folded steps by their titles."""
        return self.page.locator(LOG).inner_text()

    def foot(self) -> str:
        return self.page.locator(f"{LOG} .pz-foot").last.inner_text()

    def steps(self) -> list[str]:
        """The titles of all steps, without those that are folded in them."""
        return self.page.locator(f"{LOG} .message .title:not(.children *)").all_inner_texts()

    def title(self, words: str) -> Locator:
        """The titles of steps that have these words."""
        return self.page.locator(f"{LOG} .thought-group .title").filter(has_text=words)

    def unfold(self, words: str) -> str:
        """Open the first step whose title has these words, and what is folded in it: all that it says."""
        step = self.page.locator(f"{LOG} .thought-group").filter(has=self.page.locator(".title", has_text=words)).first
        closed = step.locator(".title:not(.expanded)")
        while closed.count():
            closed.first.click()
        return step.inner_text()

    def pictures(self, count: int) -> None:
        """Wait until so many pictures of the conversation are seen, and no more are there."""
        seen = f"[...document.querySelectorAll('{LOG} .bot-row img')].map(e => e.naturalWidth > 0 && e.checkVisibility())"
        self.until(f"JSON.stringify({seen}) === JSON.stringify(Array({count}).fill(true))", f"{count} pictures")

    # ---- the card that asks ----

    @property
    def card(self) -> Locator:
        return self.page.locator(CARD)

    def asked(self) -> str:
        """What the card says once it is there."""
        self.until(f"document.querySelector('{CARD}')", "the card that asks")
        return self.card.inner_text()

    def press(self, what: str) -> None:
        """One of run, deny, always."""
        self.card.locator(f"[data-what={what}]").click()

    def edit(self, text: str) -> None:
        """Other arguments, then Run."""
        self.card.locator("textarea").fill(text)
        self.press("run")

    # ---- the workbench ----

    def tab(self, name: str) -> Locator:
        """One of tools, files, prompt, walk."""
        self.page.locator(f".pz-bench-tabs [data-tab={name}]").click()
        return self.page.locator(".pz-bench-body")

    def bench(self, name: str, words: str) -> str:
        """The text of a page of the workbench, once it has these words."""
        self.tab(name)
        self.until(f"document.querySelector('.pz-bench-body').innerText.includes({json.dumps(words)})", f"{words!r} in the workbench")
        return self.page.locator(".pz-bench-body").inner_text()

    def rule(self, tool: str) -> Locator:
        self.tab("tools")
        return self.page.locator(f".pz-tool[data-tool={tool}] select.pz-rule")

    def switch(self, title: str) -> Locator:
        return self.page.locator("#agent-tools label").filter(has_text=title).locator("input")

    def turns(self, most: int) -> None:
        """Set how often the model may be asked."""
        self.page.locator("#gear button").click()
        field = self.page.locator("#settings").get_by_role("spinbutton", name="Turns")
        field.fill(str(most))
        field.press("Tab")
        self.page.keyboard.press("Escape")

    def attach(self, *files: Path) -> None:
        self.upload("#agent-attach", *files)
        self.page.locator("#agent-notice").filter(has_text=files[-1].name).wait_for()

    def upload(self, button: str, *files: Path) -> None:
        with self.page.expect_file_chooser() as chooser:
            self.page.locator(button).click()
        chooser.value.set_files(list(files))

    def download(self, pressed: Locator, folder: Path) -> Path:
        """Where the file is that the browser was given, under its own name."""
        with self.page.expect_download() as started:
            pressed.click()
        path = folder / started.value.suggested_filename
        started.value.save_as(path)
        return path


def width(page: Page) -> int:
    return int(page.evaluate("document.documentElement.scrollWidth"))

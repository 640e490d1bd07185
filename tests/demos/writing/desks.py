"""The writing page without a browser: real shelf, real threads, real picture sources, and an engine that answers by a function."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from demos.pictures.fetch import Fetch
from demos.pictures.shelf import Shelf
from demos.strings import Strings
from demos.tab import App
from demos.writing.draft import Brief, Writers
from demos.writing.events import WritingEvent
from demos.writing.manuscript import Manuscript, Run
from demos.writing.page import Page
from demos.writing.runs import Runs
from demos.writing.sources.source import Own
from demos.writing.task import Task
from demos.writing.ui import LIMITS
from models.registry import Registry
from shared.engine import ModelSpec
from shared.settings import Settings
from tests.demos.writing.articles import picture_file
from tests.demos.writing.replaying import BEES, WRITING, Answer, Question, Replaying, sensible
from tests.no_files import NoFiles

EN = Strings("en")
FORM = {"instruction": BEES.instruction, "pictures": 3, "sources": ["own", "card"]}


class Watched(Manuscript):
    """`on` is told each event of its run, in the run's thread, before it is heard."""

    on: Callable[[WritingEvent], None] = staticmethod(lambda event: None)

    def hear(self, run: Run, event: WritingEvent) -> None:
        self.on(event)
        super().hear(run, event)


class Study:
    """Everything of the tab but its components. `asked` is what the engines were asked."""

    def __init__(
        self, folder: Path, answer: Answer = sensible, *specs: ModelSpec, settings: Settings = Settings(offline=True),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self.specs = specs or (WRITING,)
        self.asked: list[Question] = []
        running: list[str] = []
        self.registry = Registry(
            self.specs, files=NoFiles(), load=lambda spec, *_: Replaying(spec, answer, self.asked, running), devices=lambda: (),
            need=lambda *_: 0,  # type: ignore[arg-type, return-value]
        )  # fmt: skip
        self.shelf: Shelf[Watched] = Shelf(lambda pictures: Watched(pictures, clock=clock), folder, LIMITS)
        self.runs = Runs(self.registry, Fetch(offline=True))
        self.page = Page(App(self.registry, settings, self.specs[0].id), self.shelf, self.runs)  # type: ignore[arg-type]

    def open(self, *, pictures: int = 0) -> tuple[str, Watched]:
        """A new manuscript and its key, with so many pictures of the writer's own."""
        key = self.shelf.new_key()
        manuscript = self.shelf.open(key)
        for number in range(pictures):
            bring(manuscript, number)
        return key, manuscript

    def task(self, brief: Brief = BEES, sources: tuple[str, ...] = ("own", "card")) -> Task:
        return Task(brief, Writers(self.specs[0].id, self.specs[1].id if len(self.specs) > 1 else ""), sources)

    def written(self, *, pictures: int = 8) -> tuple[str, Watched]:
        """One with a finished article."""
        key, manuscript = self.open(pictures=pictures)
        self.runs.write(manuscript, self.task())
        settle(manuscript)
        assert manuscript.reason == "done" and manuscript.error is None
        return key, manuscript

    def do(self, key: str, what: str, **more: Any) -> dict[str, Any]:
        return self.page.do({"key": key, "do": what, "form": FORM, **more}, EN)

    def stages(self, since: int = 0) -> list[str]:
        return [question.stage for question in self.asked[since:]]

    def idle(self) -> bool:
        """Every lease was given back."""
        return not any(self.registry.loaded().values())


def bring(manuscript: Manuscript, number: int, name: str = "") -> Own:
    added = manuscript.pictures.add(picture_file(number, "PNG"), name)
    own = Own(added.image, name)
    manuscript.bring(own)
    return own


def settle(manuscript: Manuscript, seconds: float = 60.0) -> None:
    """Until its run is over."""
    until = time.monotonic() + seconds
    while manuscript.running:
        assert time.monotonic() < until, "the run did not end"
        threading.Event().wait(0.005)

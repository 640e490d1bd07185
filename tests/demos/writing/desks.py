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
from demos.writing.article import Article
from demos.writing.draft import Brief, Writers
from demos.writing.events import Captioned, Chosen, Delta, Found, StageBegun, WritingEvent
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
FORM = {"instruction": BEES.instruction, "pictures": 3, "sources": ["own"]}


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

    def task(self, brief: Brief = BEES, sources: tuple[str, ...] = ("own",)) -> Task:
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


ON: dict[str, Callable[[WritingEvent], bool]] = {
    "the beginning": lambda event: isinstance(event, StageBegun) and event.stage == "article",
    "the text": lambda event: isinstance(event, Delta) and event.text.startswith("hey"),
    "the places": lambda event: isinstance(event, StageBegun) and event.stage == "places",
    "the captions": lambda event: isinstance(event, StageBegun) and event.stage == "captions",
    "the second caption": lambda event: isinstance(event, Captioned) and event.place == 4,
    "the search": lambda event: isinstance(event, StageBegun) and event.stage == "candidates",
    "the second picture found": lambda event: isinstance(event, Found) and event.place == 4,
    "the choice": lambda event: isinstance(event, StageBegun) and event.stage == "choice",
    "the second choice": lambda event: isinstance(event, Chosen) and event.place == 4,
}


def stop_on(manuscript: Watched, when: Callable[[WritingEvent], bool]) -> None:
    """Stop is pressed at the first such event."""
    left = [True]

    def on(event: WritingEvent) -> None:
        if left and when(event):
            left.clear()
            manuscript.stop()

    manuscript.on = on


def stopped(study: Study, at: str, *, pictures: int = 8) -> tuple[str, Watched]:
    key, manuscript = study.open(pictures=pictures)
    stop_on(manuscript, ON[at])
    study.runs.write(manuscript, study.task())
    settle(manuscript)
    assert manuscript.reason == "cancelled" and manuscript.error is None and study.idle()
    assert manuscript.unfinished or at == "the beginning"
    return key, manuscript


def article_of(manuscript: Watched) -> Article:
    assert manuscript.article is not None
    return manuscript.article


def names(manuscript: Watched) -> list[str]:
    return [one.what for one in manuscript.versions.all] if manuscript.versions else []


def sources_of(manuscript: Watched) -> list[str]:
    return [section.source for section in article_of(manuscript).sections]


def shown_of(manuscript: Watched) -> list[str]:
    return [one.shown.sha256 if one.shown else "" for one in article_of(manuscript).pictures]

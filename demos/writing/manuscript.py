"""An article being written: what one page works on, kept for as long as the page has its key.

It holds the versions, what was brought along, and at most one run: work in a thread that tells what happens, as events. What they
make of the article is decided here, so that a page may ask at any moment, be loaded again, or be gone. Knows no page and no model.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from demos.pictures.images import Pictures
from demos.writing.article import Article
from demos.writing.binding import Begun, bound, rebound
from demos.writing.draft import Draft, Stage
from demos.writing.events import (
    Asked,
    Captioned,
    Chosen,
    Delta,
    Finished,
    Found,
    Placed,
    Reason,
    Ruled,
    SlotFailed,
    SourceFailed,
    StageBegun,
    WritingEvent,
    Written,
    after,
)
from demos.writing.record import Call, Record
from demos.writing.sources.looked import Looked
from demos.writing.sources.source import Own
from demos.writing.task import MOST_MATERIAL, Task
from demos.writing.versions import Left, Versions
from shared.engine import Cancel, Progress
from shared.errors import BadRequest
from shared.events import PromptProgress, ReasoningDelta

MOST_OWN, MOST_MATERIALS, MOST_TOLD = 40, 20, 60
FINISHED = Draft(complete=True, slots=())  # of an article in which nothing is left to do
GONE_SECONDS = 90.0  # a run ends when its page has not asked for so long


@dataclass(frozen=True, slots=True)
class Material:
    """A text that the writer brought: `name` is its file's."""

    name: str
    text: str


@dataclass(slots=True)
class Run:
    """Work under way. `what` is the edit that it will be in the list of versions, `before` are the versions it began with. `key` is the
    section or picture that it is about. `draft` None: it rewords a paragraph. `begun` is the article that its draft's pictures go into,
    None as long as there is none. `record` is that of the article, with what models were asked. `live` is the text being written,
    `progress` what is waited for."""

    what: str
    before: Versions | None
    draft: Draft | None
    begun: Begun | None = None
    key: int | None = None
    cancel: Cancel = field(default_factory=Cancel)
    calls: list[Call] = field(default_factory=list)  # that are not in `record` yet
    record: Record | None = None
    stage: Stage | None = None
    model: str = ""
    live: list[str] = field(default_factory=list)
    progress: Progress | PromptProgress | None = None
    thinking: bool = False


class Manuscript:
    """`pictures` is its folder."""

    def __init__(self, pictures: Pictures, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.pictures = pictures
        self._clock = clock
        self._lock = threading.RLock()
        self.versions: Versions | None = None
        self.takes = 0  # how often something was asked for again
        self.outlined: Draft | None = None  # what was begun and is no article yet
        self.task: Task | None = None
        self.own: tuple[Own, ...] = ()
        self.looked = Looked()  # what is known of them, so that each is looked at once
        self.materials: tuple[Material, ...] = ()
        self.told: tuple[Ruled | SlotFailed | SourceFailed, ...] = ()
        self.reason: Reason | None = None  # how the last run ended
        self.error: BaseException | None = None
        self.run: Run | None = None
        self.at = 0  # counts what happened, so that a page knows whether it has seen it
        self._asked_at = clock()

    @property
    def article(self) -> Article | None:
        return self.versions.article if self.versions else None

    @property
    def running(self) -> bool:
        return self.run is not None

    @property
    def draft(self) -> Draft:
        """As far as the work came: of the run under way, of what is begun, of the article that is shown."""
        if self.run is not None and self.run.draft is not None:
            return self.run.draft
        if self.versions is None or (self.outlined is not None and self.outlined.outline):
            return self.outlined or Draft()
        return self.versions.left.draft if self.versions.left else FINISHED

    @property
    def complete(self) -> bool:
        """Whether the text of the article that is shown was written to its end."""
        return self.versions is not None and (self.versions.left is None or self.versions.left.draft.complete)

    @property
    def unfinished(self) -> bool:
        """Whether a run can go on: with what is no article yet, unless it waits for a person, or with the article that is shown."""
        if self.outlined is not None:
            return self.run is None and (self.outlined.approved or not self.outlined.outline)
        return self.run is None and self.versions is not None and self.versions.left is not None

    def seen(self) -> None:
        """Its page has asked for it."""
        self._asked_at = self._clock()

    # What people do.

    def edit(self, what: str, change: Callable[[Article], Article]) -> None:
        """A new version. Raises `BadRequest` where there is no article, where it is being written, and what `change` raises."""
        with self._lock:
            self.expect_rest()
            if self.versions is None:
                raise BadRequest("There is no article yet.", "Write one first.")
            self.versions = self.versions.edited(change(self.versions.article), what)
            self._settle()

    def show(self, choose: Callable[[Versions], Versions]) -> None:
        """Another version: undo, redo, one of the list."""
        with self._lock:
            self.expect_rest()
            if self.versions is not None:
                self.versions = choose(self.versions)
                self._settle()

    def open(self, article: Article) -> None:
        """A saved article, as a new version where there is one already."""
        with self._lock:
            self.expect_rest()
            opened = self.versions.edited(article, "opened") if self.versions else Versions.of(article, "opened")
            self.versions, self.outlined = opened.leaving(None), None
            self.told, self.reason, self.error = (), None, None
            self.at += 1

    def bring(self, own: Own) -> None:
        """A picture of the writer's own; one that is there already is there once. Raises `BadRequest` for too many."""
        with self._lock:
            if any(one.image.sha256 == own.image.sha256 for one in self.own):
                return
            if len(self.own) >= MOST_OWN:
                raise BadRequest(f"There are {MOST_OWN} pictures already.", "Remove some first.")
            self.own = (*self.own, own)
            self.at += 1

    def bring_text(self, material: Material) -> None:
        """Raises `BadRequest` for too many, and for one too long."""
        with self._lock:
            others = tuple(one for one in self.materials if one.name != material.name)
            if len(others) >= MOST_MATERIALS:
                raise BadRequest(f"There are {MOST_MATERIALS} texts already.", "Remove some first.")
            size = sum(len(one.text) for one in (*others, material))
            if size > MOST_MATERIAL:
                raise BadRequest(f"The texts would have {size:,} characters; {MOST_MATERIAL:,} are taken.", "Give the parts that matter.")
            self.materials = (*others, material)
            self.at += 1

    def leave_out(self, name: str) -> None:
        """Without the picture of this sha256, or the text of this name. What an article shows stays in it."""
        with self._lock:
            self.own = tuple(one for one in self.own if one.image.sha256 != name)
            self.materials = tuple(one for one in self.materials if one.name != name)
            self.at += 1

    def _settle(self) -> None:
        """Whoever works on the article that is shown does not go on with one of which there is nothing yet."""
        self.outlined = self.outlined if self.outlined is not None and self.outlined.outline else None
        self.at += 1

    def expect_rest(self) -> None:
        """Raises `BadRequest` while a run is under way."""
        if self.run is not None:
            raise BadRequest("This article is being worked on.", "Wait, or press Stop.")

    @contextmanager
    def at_rest(self) -> Iterator[None]:
        """Around what makes a run of the article as it is: nobody changes it meanwhile. Raises `BadRequest` as `expect_rest`."""
        with self._lock:
            self.expect_rest()
            yield

    # What a run does.

    def begin(
        self, what: str, draft: Draft | None, begun: Begun | None = None, *, key: int | None = None, task: Task | None = None,
        cancel: Cancel | None = None, model: str = "",
    ) -> Run:  # fmt: skip
        """Raises `BadRequest` where one is under way: one at a time. `model` is the one that is asked, where no stage says so."""
        with self._lock:
            self.expect_rest()
            self.run = Run(what, self.versions, draft, begun, key, cancel or Cancel(), model=model)
            self.task = task or self.task
            self.told, self.reason, self.error = (), None, None
            self.seen()
            self.at += 1
            return self.run

    def stop(self) -> None:
        run = self.run
        if run is not None:
            run.cancel.set()

    def hear(self, run: Run, event: WritingEvent) -> None:
        """An event of `run`, which is written into the article at once. In the run's own thread."""
        with self._lock:
            if self._clock() - self._asked_at > GONE_SECONDS:
                run.cancel.set()
            self._note(run, event)
            if run.draft is not None:
                self._write(run, run.draft, event)
            self.at += 1

    def put(self, run: Run, change: Callable[[Article], Article]) -> None:
        """What a run that has no draft made of the article as it was before it."""
        with self._lock:
            if run.before is not None:
                self._set(run, change(run.before.article))
            self.at += 1

    def end(self, run: Run, error: BaseException | None = None) -> None:
        """The run is over; what it made stays, and what it left can be gone on with."""
        with self._lock:
            self.error = error
            self.takes = max(self.takes, run.draft.takes if run.draft else 0)
            if run.draft is not None and (run.begun is None or not run.begun.article.sections):
                self.outlined = run.draft
            elif run.draft is not None:
                self.outlined = None
                left = None if run.draft.finished else Left(run.draft, run.key)
                self.versions = self.versions.leaving(left) if self.versions else None
            self.at += 1
            self.run = None  # last: a page that sees no run does not ask again

    def growing(self) -> Article | None:
        """The article as far as it is written this moment, the piece under way included."""
        with self._lock:
            run = self.run
            if run is None or run.draft is None or run.stage != "article" or not run.live:
                return self.article
            text = run.draft.text.rstrip() + "".join(run.live)
            return self._bound(replace(run.draft, text=text, slots=None, edited=()))

    def _note(self, run: Run, event: WritingEvent) -> None:
        run.thinking = isinstance(event, ReasoningDelta)
        run.progress = event if isinstance(event, Progress | PromptProgress) else None
        match event:
            case StageBegun(stage, model, _):
                run.stage, run.model = stage, model
                run.live.clear()
            case Delta(_, text):
                run.live.append(text)
            case Written():
                run.live.clear()
            case Written():
                run.live.clear()  # it is in the draft now
            case Asked(_, call, _, _):
                run.calls.append(call)
            case Ruled() | SlotFailed() | SourceFailed():
                self.told = (*self.told, event)[-MOST_TOLD:]
            case Finished(reason, _):
                self.reason = reason
            case _:
                pass

    def _write(self, run: Run, draft: Draft, event: WritingEvent) -> None:
        run.draft = draft = after(draft, event)
        if isinstance(event, Written):
            run.begun = Begun(self._bound(draft), Draft(), {})
        if run.begun is not None and isinstance(event, Written | Asked | Placed | Captioned | Found | Chosen):
            self._set(run, rebound(run.begun, draft))

    def _bound(self, draft: Draft) -> Article:
        brief = self.task.brief if self.task else None
        return bound(draft, brief.language if brief else "zh", brief.instruction if brief else "")

    def _set(self, run: Run, article: Article) -> None:
        """The version that the run makes. What was known of an article that goes on stays in its record."""
        if not article.sections:
            return
        run.record = run.record or article.record
        while run.calls:
            run.record = run.record.with_call(run.calls.pop(0))
        article = replace(article, record=run.record)
        self.versions = run.before.edited(article, run.what) if run.before else Versions.of(article, run.what)

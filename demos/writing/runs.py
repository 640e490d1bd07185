"""Work on a manuscript, each in a thread of its own: write, go on, do a stage again, look for another picture, reword a paragraph.

What a run starts from is made of the article as it is, so that nothing that people changed is lost. Knows no page.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace

from demos.pictures.fetch import Fetch
from demos.writing import compose, edits, rewording
from demos.writing.article import Article, one_line
from demos.writing.binding import Begun, unbound
from demos.writing.draft import Candidate, Draft, Finder, Slot, Stage, Tell
from demos.writing.embedded import similarity_for
from demos.writing.events import Reworded, WritingEvent
from demos.writing.manuscript import Manuscript, Run
from demos.writing.pictures import SourceFinder
from demos.writing.prompts import Edit
from demos.writing.rewording import Rewording
from demos.writing.sources.source import Around
from demos.writing.stages.asking import Emit
from demos.writing.task import Task
from models.registry import Registry
from shared.engine import Cancel, Cancelled
from shared.errors import BadRequest, DemoError, ModelUnavailable

logger = logging.getLogger(__name__)


class Runs:
    """Starts them. `fetch` is the guarded way to the web."""

    def __init__(self, registry: Registry, fetch: Fetch) -> None:
        self._registry, self.fetch = registry, fetch

    def write(self, manuscript: Manuscript, task: Task) -> None:
        """From the beginning. An article that is there is the version before."""
        self._compose(manuscript, task, manuscript.begin("written", Draft(), task=task))

    def go_on(self, manuscript: Manuscript, task: Task | None = None) -> None:
        """With what is left to do in the article that is shown, or with the outline; `task`: with other models and sources than it was
        begun with. Raises `BadRequest` where nothing is left."""
        task = _task(manuscript, task)
        with manuscript.at_rest():
            if not manuscript.unfinished:
                raise BadRequest("Nothing is left to do.", "Write anew, or do a stage again.")
            left = manuscript.versions.left if manuscript.versions and manuscript.outlined is None else None
            if left is None:
                run = manuscript.begin("written", manuscript.draft, task=task)
            else:
                begun = self._begun(manuscript, left.key, complete=left.draft.complete)
                run = manuscript.begin("written", _left(left.draft, begun), begun, key=left.key, task=task)
        self._compose(manuscript, task, run)

    def approve(self, manuscript: Manuscript, outline: str, task: Task | None = None) -> None:
        """Write by the outline, as the visitor left it. Raises `BadRequest` for an empty one, and where there is none."""
        task = _task(manuscript, task)
        with manuscript.at_rest():
            if manuscript.outlined is None:
                raise BadRequest("There is no outline.", "Ask for one first.")
            run = manuscript.begin("written", manuscript.outlined.with_approved(outline), task=task)
        self._compose(manuscript, task, run)

    def again(self, manuscript: Manuscript, task: Task, stage: Stage, key: int | None = None) -> None:
        """Do `stage` anew, and what hangs on it; with `key`, for that picture alone. Raises `BadRequest` for what is not there."""
        if stage in ("outline", "article"):
            self.write(manuscript, task)
            return
        with manuscript.at_rest():
            begun = self._begun(manuscript, key)
            draft = self._standing(manuscript, begun)
            place = _place(begun, key) if key is not None else None
            seen = _offered(draft, place)
            run = manuscript.begin(f"again_{stage}", draft.again(stage, place), begun, key=key, task=task)
        self._compose(manuscript, task, run, seen=seen if stage == "candidates" else ())

    def find(self, manuscript: Manuscript, task: Task, key: int, caption: str, query: str) -> None:
        """Look for a picture with a person's caption. Raises `BadRequest` for an empty one."""
        with manuscript.at_rest():
            begun = self._begun(manuscript, key)
            draft = self._standing(manuscript, begun).with_caption(_place(begun, key), caption, query)
            run = manuscript.begin("again_candidates", draft, begun, key=key, task=task)
            manuscript.put(run, lambda article: edits.caption(article, key, caption, query))  # what a person says stays, whatever is found
        self._compose(manuscript, task, run)

    def illustrate(self, manuscript: Manuscript, task: Task, after: int) -> None:
        """One more picture, after the section with this key. A text that was not written to its end is taken as it is."""
        with manuscript.at_rest():
            begun = self._begun(manuscript)
            place = _places(begun.article).get(after)
            if place is None or begun.article.at(after):
                raise BadRequest("There is a picture already, or the paragraph is gone.", "Choose another paragraph.")
            draft = self._standing(manuscript, begun)
            slots = sorted([*(draft.slots or ()), Slot(place)], key=lambda slot: slot.place)
            run = manuscript.begin("illustrated", replace(draft, slots=tuple(slots)), begun, task=task)
        self._compose(manuscript, task, run)

    def reword(self, manuscript: Manuscript, model: str, key: int, edit: Edit, wish: str, seed: int | None = None) -> None:
        """A paragraph made anew, or one more beside it. Raises `BadRequest` for what cannot be asked."""
        with manuscript.at_rest():
            wanted = replace(_rewording(_article(manuscript), key, edit, wish), seed=seed)
            run = manuscript.begin(f"reword_{edit}", None, key=key, model=model)
        work = rewording.work(self._registry, model, wanted, cancel=run.cancel)
        put = {"before": edits.insert_before, "after": edits.insert_after}.get(edit, edits.rewrite)

        def heard(event: WritingEvent) -> None:
            manuscript.hear(run, event)
            if isinstance(event, Reworded):
                manuscript.put(run, lambda article: put(article, key, event.text))

        _start(manuscript, run, lambda emit: work(heard))

    def composed(self, manuscript: Manuscript, task: Task, run: Run, *, seen: Sequence[str] = ()) -> Callable[[Emit], None]:
        """What is left of the run's draft, to be done in a thread."""
        around = Around(manuscript.pictures, self._registry, self.fetch, manuscript.own, task.painter, task.brief.seed, manuscript.looked)
        finder = Unseen(SourceFinder(around, task.sources), frozenset(seen))
        near = similarity_for(self._registry, task.brief.language, run.cancel)
        return compose.work(
            self._registry, task.brief, task.writers, finder, run.draft or Draft(), cancel=run.cancel, similarity=near
        )  # fmt: skip

    def _compose(self, manuscript: Manuscript, task: Task, run: Run, *, seen: Sequence[str] = ()) -> None:
        _start(manuscript, run, lambda emit: self.composed(manuscript, task, run, seen=seen)(emit))

    def _begun(self, manuscript: Manuscript, key: int | None = None, *, complete: bool = True) -> Begun:
        return unbound(_article(manuscript), manuscript.pictures.find, complete=complete, first=key)

    @staticmethod
    def _standing(manuscript: Manuscript, begun: Begun) -> Draft:
        """What the shown article stands for, with what an earlier run left in it. What is asked for again has another seed than before."""
        left = manuscript.versions.left if manuscript.versions else None
        draft = _left(left.draft, begun) if left and left.draft.complete and left.draft.slots is not None else begun.draft
        return replace(draft, takes=manuscript.takes)


class Unseen:
    """A finder that offers what was not offered before, where there is anything else."""

    def __init__(self, finder: Finder, seen: frozenset[str]) -> None:
        self._finder, self._seen = finder, seen

    def find(self, query: str, caption: str, count: int, cancel: Cancel, tell: Tell) -> Sequence[Candidate]:
        found = self._finder.find(query, caption, count + len(self._seen), cancel, tell)
        return [one for one in found if one.image.sha256 not in self._seen][:count] or list(found)[:count]


def _start(manuscript: Manuscript, run: Run, work: Callable[[Emit], None]) -> None:
    def go() -> None:
        error: BaseException | None = None
        try:
            work(lambda event: manuscript.hear(run, event))
        except Cancelled:
            pass  # the visitor's wish; what was written is kept
        except DemoError as failed:
            logger.warning("%s %s", failed.one_line(), failed.log)
            error = failed
        except Exception as failed:  # the outermost edge of the thread: logged whole, and told as an error of ours
            logger.exception("writing failed")
            error = failed
        finally:
            manuscript.end(run, error)

    try:
        threading.Thread(target=go, name="writing", daemon=True).start()
    except RuntimeError as error:  # no more threads
        manuscript.end(run)
        raise ModelUnavailable("This machine has too much to do.", "Try again in a moment.") from error


def _left(draft: Draft, begun: Begun) -> Draft:
    """What is left to do in an article that people may have changed since; its places, only where some were decided."""
    slots = begun.draft.slots if draft.slots is not None else None
    left = replace(begun.draft, slots=slots, outline=draft.outline, approved=draft.approved, takes=draft.takes)
    return replace(left, slots=tuple(_pending(slot, draft) for slot in slots)) if slots is not None else left


def _task(manuscript: Manuscript, task: Task | None) -> Task:
    """What was begun, with the models and sources of `task`: whoever goes on may have chosen others."""
    begun = manuscript.task
    if begun is None:
        raise BadRequest("Nothing was begun.", "Say what is to be written.")
    return begun if task is None else replace(task, brief=begun.brief)


def _article(manuscript: Manuscript) -> Article:
    if manuscript.article is None:
        raise BadRequest("There is no article yet.", "Write one first.")
    return manuscript.article


def _places(article: Article) -> dict[int, int]:
    return {section.key: place for place, section in enumerate(article.sections)}


def _place(begun: Begun, key: int) -> int:
    for place, picture in begun.keys.items():
        if picture == key:
            return place
    raise BadRequest("That picture is not there any more.", "The page shows an older version: open it again.")


def _offered(draft: Draft, place: int | None) -> tuple[str, ...]:
    return tuple(one.image.sha256 for slot in draft.slots or () if slot.place == place for one in slot.candidates or ())


def _pending(slot: Slot, draft: Draft) -> Slot:
    """A picture without candidates was not looked for yet, unless the last run looked and found none. Known by its caption, as people
    may have moved paragraphs since; with the caption of a person it was not looked for."""
    if slot.candidates:
        return slot
    before = [one for one in draft.slots or () if one_line(one.caption) == slot.caption]
    slot = slot if before else replace(slot, query=slot.caption)
    return slot if before and all(one.candidates is not None for one in before) else replace(slot, candidates=None)


def _rewording(article: Article, key: int, edit: Edit, wish: str) -> Rewording:
    """With the paragraph that stands beside it, where one is to come between them."""
    at = _places(article).get(key)
    if at is None:
        raise BadRequest("That paragraph is not there any more.", "The page shows an older version: open it again.")
    beside = {"before": at - 1, "after": at + 1}.get(edit, -1)
    neighbour = article.sections[beside].source if 0 <= beside < len(article.sections) else ""
    return Rewording(edit, article.sections[at].source, wish, neighbour, article.language)

"""An illustrated article, stage by stage: outline, article, places, captions, candidates, choice. Emits typed events; knows no page.

What a draft has already is not done again: a run that was stopped or that failed goes on where it was, and `Draft.again` takes out
what is to be made anew. A model is leased for each stage and given back before the next. The article is never lost: each event
is made into the draft at once, and the last one, `Finished`, carries it, whatever ended the run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from demos.writing.draft import STAGES, Brief, Draft, Finder, Stage, Writers
from demos.writing.events import Finished, Reason
from demos.writing.similarity import BM25, Similarity
from demos.writing.stages.asking import Emit, Work
from demos.writing.stages.captions import captions
from demos.writing.stages.choosing import choice
from demos.writing.stages.finding import candidates
from demos.writing.stages.places import places
from demos.writing.stages.text import article, outline
from models.registry import Registry
from shared.engine import Cancel, Cancelled


def work(
    registry: Registry, brief: Brief, writers: Writers, finder: Finder, draft: Draft = Draft(), *, cancel: Cancel,
    similarity: Similarity | None = None, only: Sequence[Stage] = STAGES,
) -> Callable[[Emit], None]:  # fmt: skip
    """The work that is left of `draft`, to be done in a thread; `only` these stages. Ends behind an outline that nobody has approved.

    Raises what the registry and the engines raise while there is no article; later failures are told as events."""

    def go(emit: Emit) -> None:
        _go(Work(registry, brief, writers, finder, similarity or BM25(), cancel, emit, draft), only)

    return go


def _go(work: Work, only: Sequence[Stage]) -> None:
    reason: Reason = "failed"
    try:
        for stage in STAGES:
            if stage in only and _is_due(work, stage):
                work.check()
                _DO[stage](work)
            if stage == "outline" and _waits(work.draft):
                reason = "outline"
                return
        reason = "done" if work.draft.finished or set(only) != set(STAGES) else "partial"
    except Cancelled:
        reason = "cancelled"
    finally:
        work.emit(Finished(reason, work.draft))


def _is_due(work: Work, stage: Stage) -> bool:
    draft = work.draft
    match stage:
        case "outline":
            return work.brief.outline and not draft.outline and not draft.text
        case "article":
            return not draft.complete
        case "places":
            return draft.complete and draft.slots is None
        case _:
            return bool(draft.slots)  # each looks by itself what is left to do


def _waits(draft: Draft) -> bool:
    return bool(draft.outline) and not draft.approved and not draft.text


_DO: dict[Stage, Callable[[Work], None]] = {
    "outline": outline, "article": article, "places": places, "captions": captions, "candidates": candidates, "choice": choice,
}  # fmt: skip

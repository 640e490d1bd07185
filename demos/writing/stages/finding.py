"""Candidates for every caption. Which sources there are, and in which order, is the finder's business."""

from __future__ import annotations

from demos.writing.article import MOST_CANDIDATES
from demos.writing.draft import Candidate, Slot
from demos.writing.events import Found, SourceFailed, StageBegun, StageDone
from demos.writing.stages.asking import Work
from demos.writing.stages.failing import Failures
from shared.errors import DemoError

SPARE = 4  # candidates that other places may take


def candidates(work: Work) -> None:
    """Look for every captioned slot that was not looked for. Raises `Cancelled`; what fails is told, slot by slot."""
    todo = [slot for slot in work.draft.slots or () if slot.caption and slot.candidates is None]
    if not todo:
        return
    work.emit(StageBegun("candidates", "", len(todo)))
    failures = Failures(work, "candidates")
    try:
        for slot in todo:
            with failures.of(slot.place):
                work.emit(Found(slot.place, _found(work, slot)))
    except DemoError as error:
        failures.rest([slot.place for slot in todo if work.draft.slot(slot.place).candidates is None], error)
    work.emit(StageDone("candidates"))


def _found(work: Work, slot: Slot) -> tuple[Candidate, ...]:
    """A few more than are offered, as other places may take some. No more than that: each is kept, and a folder has an end."""
    others = len(work.draft.slots or ()) - 1
    wanted = min(work.brief.candidates + min(others, SPARE), MOST_CANDIDATES)

    def tell(source: str, error: DemoError) -> None:
        work.emit(SourceFailed(source, slot.place, error.cause, error.remedy))

    found = work.finder.find(slot.query or slot.caption, slot.caption, wanted, work.cancel, tell)
    once: dict[str, Candidate] = {}
    for one in found:
        once.setdefault(one.image.sha256, one)
    return tuple(once.values())[:wanted]

"""Candidates for every caption. Which sources there are is the finder's business; here no picture comes twice into an article."""

from __future__ import annotations

from demos.writing.draft import Candidate, Slot
from demos.writing.events import Found, StageBegun, StageDone
from demos.writing.stages.asking import Work
from demos.writing.stages.failing import Failures
from shared.errors import DemoError

MOST_ASKED = 40  # of a finder, for one place


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
    """New ones first asked for: what earlier slots were offered is theirs, unless nothing else is there."""
    taken = {one.image.sha256 for other in work.draft.slots or () if other.place != slot.place for one in other.candidates or ()}
    wanted = work.brief.candidates
    found = work.finder.find(slot.query or slot.caption, slot.caption, min(wanted + len(taken), MOST_ASKED), work.cancel)
    once = list({one.image.sha256: one for one in reversed(found)}.values())[::-1]
    fresh = [one for one in once if one.image.sha256 not in taken]
    return tuple((fresh or once)[:wanted])

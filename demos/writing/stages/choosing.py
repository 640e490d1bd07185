"""Which candidate is used. A model that sees pictures looks at them; one that reads only is told their titles. Its answer is a letter
of the offer, or it is asked once more and then the caption's words decide, which is told. Chosen pictures are offered to nobody else.

What the words decide waits until the model is given back, as it may need a model of its own, and a run holds one lease at a time.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import replace

from demos.writing.draft import Candidate, Slot
from demos.writing.events import AskedAgain, Chosen, Ruled, StageBegun, StageDone
from demos.writing.prompts import LETTERS, XComposer2, general, prompts_of
from demos.writing.similarity import BM25
from demos.writing.stages.asking import Asker, Reply, Work, seeded
from demos.writing.stages.failing import Failures
from shared.engine import Sampling
from shared.errors import DemoError, RemoteFailure
from shared.messages import Message

DRAWN = Sampling(temperature=1.0, top_p=0.8, top_k=40, repetition_penalty=1.005, max_tokens=10)  # the original's
SURE = Sampling(temperature=0.0, max_tokens=300)
_LETTER = re.compile(r"(?<![^\W\d_\u2e80-\u9fff])([A-H])(?![^\W_\u2e80-\u9fff]|'|(?<=A)\s+[a-z])")


def choice(work: Work) -> None:
    """Choose for every slot that has candidates and no picture. Raises `Cancelled`; an engine that fails leaves the caption's words, and
    what compares those may fail as well: then the words are counted."""
    todo = [slot for slot in work.draft.slots or () if slot.candidates and slot.chosen is None]
    if not todo:
        return
    model = work.writers.eyes or work.writers.text
    work.emit(StageBegun("choice", model, len(todo)))
    if any(len(_offer(work, slot)) > 1 for slot in todo):
        _asked(work, model, todo)
    for slot in todo:
        if work.draft.slot(slot.place).chosen is None:
            _by_words(work, slot, _offer(work, slot))
    work.emit(StageDone("choice"))


def _asked(work: Work, model: str, todo: Sequence[Slot]) -> None:
    failures, left = Failures(work, "choice"), [slot.place for slot in todo]
    try:
        with work.model(model) as asker:
            for slot in todo:
                with failures.of(slot.place):
                    _choose(work, asker, slot)
                    left.remove(slot.place)
    except DemoError as error:
        failures.rest(left, error)


def _choose(work: Work, asker: Asker, slot: Slot) -> None:
    """By the model; what it does not decide is left."""
    offer = _offer(work, slot)
    if len(offer) < 2:
        work.emit(Chosen(slot.place, (slot.candidates or ()).index(offer[0]), "order"))
        return
    prompt, sampling = _question(work, asker, slot, offer)
    letters = tuple(LETTERS[: len(offer)])
    for again in (0, 1):
        drawn = replace(seeded(sampling, work.seed(slot.place, again)), one_of=letters if asker.can("choice") and not again else ())
        answer, kept = _answer(work, asker, slot.place, prompt, drawn)
        chosen = read_letter(answer, letters) if kept else None
        if chosen is not None:
            work.emit(Chosen(slot.place, (slot.candidates or ()).index(offer[chosen]), "model"))
            return
        if not again:
            work.emit(AskedAgain("choice", slot.place, answer[:100]))
    work.emit(Ruled("choice", slot.place, "outside_offer", answer[:100]))


def _answer(work: Work, asker: Asker, place: int, prompt: Sequence[Message], sampling: Sampling) -> tuple[str, bool]:
    """The answer, and True; what went wrong, and False, where a server did not keep to the offer: that can be asked without it."""
    try:
        reply: Reply = asker.ask("choice", place, prompt, sampling)
    except RemoteFailure as error:
        if not sampling.one_of:
            raise
        return error.cause, False
    work.emit(reply.asked)
    return reply.text, True


def _question(work: Work, asker: Asker, slot: Slot, offer: Sequence[Candidate]) -> tuple[list[Message], Sampling]:
    prompts, lines, looking = prompts_of(asker.spec, work.brief.language), work.draft.paragraphs, asker.can("image")
    if not isinstance(prompts, XComposer2) or not looking:
        return general(work.brief.language).choice(lines, slot, offer, looking=looking), SURE
    earlier = [one for one in work.draft.slots or () if one.place < slot.place]
    first = 0
    while first < slot.place and not asker.fits(prompts.choice(lines, earlier, slot, offer, first=first), DRAWN.max_tokens):
        first += max(1, (slot.place - first) // 2)
    return prompts.choice(lines, earlier, slot, offer, first=first), DRAWN


def _offer(work: Work, slot: Slot) -> list[Candidate]:
    """The first candidates of those that no other place has, and that are not held for one whose words are still to decide; last resorts
    only where there are no others; of all where nothing would be left."""
    used = {one.picture.image.sha256 for one in work.draft.slots or () if one.picture is not None and one.place != slot.place}
    for one in work.draft.slots or ():
        if one.place == slot.place:
            break
        if one.chosen is None and (free := _free(one, used)):
            used.add(free[0].image.sha256)  # it is left one at least
    return (_free(slot, used) or list(slot.candidates or ()))[: work.brief.candidates]


def _free(slot: Slot, used: Collection[str]) -> list[Candidate]:
    free = [one for one in slot.candidates or () if one.image.sha256 not in used]
    return [one for one in free if not one.last] or free


def _by_words(work: Work, slot: Slot, offer: Sequence[Candidate]) -> None:
    """The candidate whose words are nearest to the caption; of several, the one its source put first."""
    scores = _scores(work, slot, [one.told for one in offer]) if len(offer) > 1 else [0.0]
    best = max(range(len(offer)), key=lambda at: (scores[at], -at))
    decided = len(offer) > 1 and any(score != scores[0] for score in scores)
    work.emit(Chosen(slot.place, (slot.candidates or ()).index(offer[best]), "similarity" if decided else "order"))


def _scores(work: Work, slot: Slot, texts: Sequence[str]) -> list[float]:
    """What fails is told once, and not asked again in this run."""
    wanted = f"{slot.caption} {slot.query}"
    try:
        return list(work.similarity.scores(wanted, texts))
    except DemoError as error:
        work.emit(Ruled("choice", slot.place, "failed", error.one_line()))
        work.similarity = BM25()
        return work.similarity.scores(wanted, texts)


def read_letter(answer: str, letters: Sequence[str]) -> int | None:
    """The offer's letter that the answer names, from 0: a capital that stands alone, or beside Chinese text, and is no word ("A picture").
    None where it names none, or several: `A, B` is no choice."""
    named = set(_LETTER.findall(answer))
    return letters.index(named.pop()) if len(named) == 1 and named <= set(letters) else None

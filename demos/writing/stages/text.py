"""The outline, where one is wanted, and the article. What was written is kept, however the writing ends; it can be gone on with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from demos.writing.draft import Length
from demos.writing.events import Delta, Outlined, Ruled, StageBegun, StageDone, Written
from demos.writing.prompts import prompts_of
from demos.writing.sections import pieces
from demos.writing.stages.asking import Asker, Work, seeded
from shared.engine import Sampling
from shared.errors import BadRequest
from shared.events import Event, PromptProgress, ReasoningDelta, TextDelta
from shared.messages import Message

OUTLINE_TOKENS = 400
TOO_SURE, LIVELY, VARIED = 0.5, 0.7, 1.1  # temperatures, and a repetition penalty
LONGEST_LOOP, LEAST_LOOPED, TURNS = 300, 200, 6  # characters of what is repeated, of all its repetitions; how often it is there at least
TOKENS: dict[Length, int] = {"": 4096, "short": 640, "medium": 1536, "long": 4096}


def outline(work: Work) -> None:
    """Ask for the outline. Raises what the engine raises, and `BadRequest` for a model that writes none."""
    work.emit(StageBegun("outline", work.writers.text, 1))
    with work.model(work.writers.text) as asker:
        prompts = prompts_of(asker.spec, work.brief.language)
        messages = _fitted(work, asker, OUTLINE_TOKENS, lambda materials: prompts.outline(work.brief, materials))
        sampling = replace(asker.spec.sampling, max_tokens=OUTLINE_TOKENS, seed=work.seed())
        reply = asker.ask("outline", None, messages, sampling, _told(work, "outline"))
    work.emit(reply.asked)
    if not reply.text.strip():
        raise BadRequest(f"{work.writers.text} wrote no outline.", "Ask again, or go on without an outline.")
    work.emit(Outlined(reply.text.strip()))
    work.emit(StageDone("outline"))


def article(work: Work) -> None:
    """Write the article, or go on with it. Raises what the engine raises, and `BadRequest` for a model that writes nothing."""
    begun = work.draft.text.rstrip()
    heard: list[str] = []
    told = _told(work, "article")

    def hear(event: Event) -> None:
        if isinstance(event, TextDelta):
            heard.append(event.text)
        told(event)

    work.emit(StageBegun("article", work.writers.text, 1))
    complete = cut = False
    try:
        with work.model(work.writers.text) as asker:
            reply = asker.ask("article", None, _article(work, asker, begun), _sampling(work, asker.spec.sampling, begun), hear)
        work.emit(reply.asked)
        complete, cut = bool(pieces(begun + reply.text)), reply.cut
    finally:
        text = begun + "".join(heard)
        once = without_loop(text) if complete else text
        if once != text:
            work.emit(Ruled("article", None, "looped", once[-40:]))
        work.emit(Written(once, complete, cut))
    if not complete:
        raise BadRequest(f"{work.writers.text} wrote nothing.", "Ask again, or choose another model.")
    work.emit(StageDone("article"))


def without_loop(text: str) -> str:
    """`text` without the end in which it says the same again and again, as small models do until they are stopped: once is kept."""
    end = len(text.rstrip())
    for period in range(1, LONGEST_LOOP + 1):
        first = end
        while first > period and text[first - 1] == text[first - 1 - period]:
            first -= 1
        if end - first >= max(LEAST_LOOPED, (TURNS - 1) * period):
            return without_loop(text[:first].rstrip())
    return text


def _article(work: Work, asker: Asker, begun: str) -> list[Message]:
    prompts, outline = prompts_of(asker.spec, work.brief.language), work.draft.outline if work.draft.approved else ""
    prefill = asker.can("prefill")
    brief, limit = work.brief, TOKENS[work.brief.length]
    if brief.images and not asker.can("image"):
        work.emit(Ruled("article", None, "images_unseen", str(len(brief.images))))
        brief = replace(brief, images=())
    return _fitted(work, asker, limit, lambda materials: prompts.article(brief, materials, outline, begun, prefill=prefill))


def _sampling(work: Work, own: Sampling, begun: str) -> Sampling:
    """What goes on is drawn with another seed: the same one would begin the same draws anew in the middle of a sentence.

    A model that is kept near greedy because it is small repeats itself in a long text (SmolLM2-135M at 0.1: one line 100 times)."""
    if own.temperature < TOO_SURE:
        own = replace(own, temperature=LIVELY, repetition_penalty=max(own.repetition_penalty, VARIED))
    return seeded(replace(own, max_tokens=TOKENS[work.brief.length]), work.seed(again=1 if begun else 0))


def _told(work: Work, stage: str) -> Callable[[Event], None]:
    def hear(event: Event) -> None:
        if isinstance(event, TextDelta):
            work.emit(Delta("outline" if stage == "outline" else "article", event.text))
        elif isinstance(event, ReasoningDelta | PromptProgress):
            work.emit(event)

    return hear


def _fitted(work: Work, asker: Asker, max_tokens: int, told: Callable[[Sequence[str]], list[Message]]) -> list[Message]:
    """The prompt with as much of the materials as the context has room for, each cut by the same share, and a word about it."""
    materials = [material.strip() for material in work.brief.materials if material.strip()]
    kept, share = materials, 1.0
    while any(kept) and not asker.fits(told(kept), max_tokens):
        share *= 0.6
        kept = [cut for material in materials if (cut := material[: int(len(material) * share)].rstrip())]
    if kept != materials:
        whole = sum(map(len, materials))
        work.emit(Ruled("article", None, "material_cut", f"{sum(map(len, kept)):,}/{whole:,}"))
    return told(kept)

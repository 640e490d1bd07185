"""After which paragraphs pictures go: the model says, and what it says is read strictly. What it got wrong is put right by rule, and
every rule that was used is told. Knows no caption and no picture."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from demos.writing.draft import MOST_WANTED
from demos.writing.events import Placed, Rule, Ruled, StageBegun, StageDone
from demos.writing.prompts import XComposer2, prompts_of
from demos.writing.sections import Piece
from demos.writing.stages.asking import Asker, Work, seeded
from shared.engine import Sampling
from shared.errors import DemoError
from shared.messages import Message

# The original draws its places; a general model is not asked to be inventive here.
DRAWN = Sampling(temperature=1.0, top_p=0.8, top_k=40, repetition_penalty=1.005, max_tokens=200)
SURE = Sampling(temperature=0.0, max_tokens=160)
SHORTER = (0, 240, 80, 30)  # characters of each paragraph that are told, until the prompt fits; 0: all
PARAGRAPHS_A_PICTURE = 3  # where nobody and no model says how many
MOST_BY_RULE = 6
_SEGMENT = re.compile(r"<\s*Seg\s*(\d{1,6})\s*>", re.IGNORECASE)
_BRACKETED = re.compile(r"\[(\d{1,6})\]")
_RUN = re.compile(r"\d{1,6}(?:\s*(?:[,，、;；]|and\b|和|与|及)\s*(?:and\s+)?\d{1,6})*")
Told = Callable[[Rule, str], None]


def places(work: Work) -> None:
    """Decide the places. Raises `Cancelled` only: an engine that fails leaves the rule."""
    lines, count = work.draft.paragraphs, work.brief.pictures
    if count == 0:
        work.emit(Placed(()))
        return

    def told(why: Rule, detail: str = "") -> None:
        work.emit(Ruled("places", None, why, detail))

    work.emit(StageBegun("places", work.writers.text, 1))
    room = len(open_places(lines))
    if count is not None and count > room:
        told("no_room", f"{room}/{count}")
        count = room
    answered = _asked(work, lines, count, told) if room > 1 else ()
    work.emit(Placed(settled(answered, lines, count, told)))
    work.emit(StageDone("places"))


def _asked(work: Work, lines: Sequence[Piece], count: int | None, told: Told) -> tuple[int, ...]:
    """What the model said, as it said it; nothing when it could not be asked or not be understood."""
    try:
        with work.model(work.writers.text) as asker:
            prompts = prompts_of(asker.spec, work.brief.language)
            own = isinstance(prompts, XComposer2)
            sampling = seeded(DRAWN if own else SURE, work.seed())
            images = work.brief.images if asker.can("image") else ()
            messages = _fitted(asker, lambda longest: prompts.places(lines, count, images, longest=longest), sampling)
            reply = asker.ask("places", None, messages, sampling)
    except DemoError as error:
        told("failed", error.one_line())
        return ()
    work.emit(reply.asked)
    found = segments(reply.text) if own else numbers(reply.text, single=count == 1)
    if not found:
        told("unreadable", reply.text[:200])
    return found


def _fitted(asker: Asker, prompt: Callable[[int], list[Message]], sampling: Sampling) -> list[Message]:
    return next((told for longest in SHORTER if asker.fits(told := prompt(longest), sampling.max_tokens)), prompt(SHORTER[-1]))


def segments(answer: str) -> tuple[int, ...]:
    """The places of InternLM-XComposer2's answer: `<Seg1>, <Seg3>`. What follows a line break is another thought."""
    return tuple(int(number) for number in _SEGMENT.findall(answer.strip().split("\n")[0]))


def numbers(answer: str, *, single: bool = False) -> tuple[int, ...]:
    """The places of any other model's answer, from 0: numbers in brackets, else the longest list of numbers. A number that stands
    alone counts only where one is asked for (`single`): it may be one of an enumeration."""
    bracketed = _BRACKETED.findall(answer)
    runs = [re.findall(r"\d+", run) for run in _RUN.findall(answer)]
    longest = max(runs, key=len, default=[])
    found = bracketed or (longest if len(longest) > 1 or (single and len(runs) == 1) or answer.strip(" .。") in longest else [])
    return tuple(int(number) - 1 for number in found)


def settled(answered: Sequence[int], lines: Sequence[Piece], count: int | None, told: Told) -> tuple[int, ...]:
    """Places for `count` pictures (None: as many as were answered), in order: in range, each once, where a picture may stand, spread."""
    free = open_places(lines)
    if not free:
        return ()
    kept = _possible(answered, lines, free, told)
    if count is None:
        count = min(len(kept) or _by_length(free), max(1, (len(free) + 1) // 2), MOST_WANTED)
    count = min(count, len(free))
    if _crowded(kept, free):
        told("crowded", _named(kept))
        kept = []
    if len(kept) > count:
        told("too_many", _named(kept))
        kept = [kept[at] for at in _even(len(kept), count)]
    if len(kept) < count:
        if kept:
            told("too_few", f"{len(kept)}/{count}")
        kept = _filled(kept, free, count)
    return tuple(sorted(kept))


def open_places(lines: Sequence[Piece]) -> tuple[int, ...]:
    """The paragraphs after which a picture may stand: lists, tables and code are whole, so never inside one; not between a heading, or
    a line with a colon at its end, and what follows it. The title may have one."""
    return tuple(at for at, line in enumerate(lines) if line.kind not in ("heading", "rule") and not _announces(lines, at))


def _announces(lines: Sequence[Piece], at: int) -> bool:
    """Whether a line says what the next one tells: `There are three reasons:`."""
    return lines[at].kind == "paragraph" and lines[at].source.endswith((":", "：")) and at + 1 < len(lines)


def _by_length(free: Sequence[int]) -> int:
    return min(MOST_BY_RULE, max(1, round(len(free) / PARAGRAPHS_A_PICTURE)))


def _possible(answered: Sequence[int], lines: Sequence[Piece], free: Sequence[int], told: Told) -> list[int]:
    """Those where a picture may stand; one below a heading goes behind the text that follows."""
    kept: list[int] = []
    for place in dict.fromkeys(answered):
        if not 0 <= place < len(lines):
            told("out_of_range", str(place + 1))
            continue
        moved = next((one for one in free if one >= place), free[-1])
        if moved != place:
            told("not_open", str(place + 1))
        if moved not in kept:
            kept.append(moved)
    if len(set(answered)) < len(answered):
        told("repeated", _named(answered))
    return sorted(kept)


def _crowded(kept: Sequence[int], free: Sequence[int]) -> bool:
    """Three or more that all stand in one half, where there is room to spread them."""
    if len(kept) < 3 or len(free) < 2 * len(kept):
        return False
    at = [free.index(place) for place in kept]
    return 2 * (at[-1] - at[0]) < len(free) - 1


def _filled(kept: Sequence[int], free: Sequence[int], count: int) -> list[int]:
    """With further places, each as far from the others as can be; evenly spread where there is none yet."""
    if not kept:
        return [free[at] for at in _even(len(free), count)]
    found = [free.index(place) for place in kept]
    while len(found) < count:
        rest = [at for at in range(len(free)) if at not in found]
        found.append(max(rest, key=lambda at: (min(abs(at - other) for other in found), -at)))
    return [free[at] for at in found]


def _even(of: int, count: int) -> list[int]:
    """`count` of `range(of)`, each in the middle of its share."""
    return [(2 * at + 1) * of // (2 * count) for at in range(count)]


def _named(places: Sequence[int]) -> str:
    """For people, who count from 1."""
    return ", ".join(str(place + 1) for place in places[:60])

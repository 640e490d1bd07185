"""A draft as an article, at any moment: what is not there yet is left out. Knows no models, no files and no page."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

from demos.writing import article
from demos.writing.article import MOST_IN_ALL, MOST_PICTURES, MOST_SECTIONS, TOP, Article, Language, Picture, one_line
from demos.writing.draft import Candidate, Draft, Slot
from demos.writing.record import Call, Record
from demos.writing.sections import Piece, sections


def bound(draft: Draft, language: Language, instruction: str, calls: Sequence[Call] = ()) -> Article:
    """The article of `draft`, its sections and pictures with new keys; `calls` are those of the `Asked` events, for its record."""
    found = sections(_fitting(draft.paragraphs), TOP + 1)
    keys = [section.key for section in found]
    slots = [slot for slot in draft.slots or () if slot.place < len(keys)][:MOST_PICTURES]
    first = TOP + 1 + len(keys)
    pictures = tuple(_picture(slot, keys[slot.place], key) for key, slot in enumerate(slots, first))
    record = Record(instruction)
    for call in calls:
        record = record.with_call(call)
    return Article(language, found, pictures, record, TOP + len(keys) + len(pictures))


def _fitting(lines: Sequence[Piece]) -> list[Piece]:
    """As many as an article can have: a server may write without end."""
    lengths = accumulate(len(line.source) for line in lines[:MOST_SECTIONS])
    return [line for line, length in zip(lines, lengths, strict=False) if length <= MOST_IN_ALL]


def _picture(slot: Slot, after: int, key: int) -> Picture:
    candidates = tuple(_candidate(one) for one in slot.candidates or ())
    return Picture(key, after, one_line(slot.caption), candidates, slot.chosen, slot.by)


def _candidate(found: Candidate) -> article.Candidate:
    return article.Candidate(found.image.sha256, found.image.width, found.image.height, one_line(found.alt), found.credit)

"""A draft as an article, at any moment: what is not there yet is left out; and an article as a draft, to be worked on again.

Knows no models, no files and no page."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

from demos.writing import article
from demos.writing.article import MOST_IN_ALL, MOST_PICTURES, MOST_SECTIONS, TOP, Article, Language, Picture, one_line
from demos.writing.draft import Candidate, Draft, Slot
from demos.writing.record import Call, Record
from demos.writing.sections import Piece, sections
from shared.messages import Image


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
    query = one_line(slot.query)
    return Picture(key, after, one_line(slot.caption), candidates, slot.chosen, slot.by, "" if query == one_line(slot.caption) else query)


def _candidate(found: Candidate) -> article.Candidate:
    return article.Candidate(found.image.sha256, found.image.width, found.image.height, one_line(found.alt), found.credit)


@dataclass(frozen=True, slots=True)
class Begun:
    """An article that is worked on again, and the draft it stands for. `keys` are of the pictures that are slots of the draft, by place."""

    article: Article
    draft: Draft
    keys: Mapping[int, int]


def unbound(article: Article, find: Callable[[str], Image | None], *, complete: bool = True, first: int | None = None) -> Begun:
    """The draft of an article that people may have edited, so that stages can be done again; `find` gives a picture's file by its sha256.

    A draft has one picture at a place: of several it is the one with key `first`, else the first. The others, those before the first
    paragraph, and those that people have settled stay as they are, unless they are the `first`. An article that is not `complete` is
    text that goes on, without pictures."""
    if not complete:
        return Begun(article, Draft(text="\n\n".join(section.source for section in article.sections)), {})
    places = {section.key: place for place, section in enumerate(article.sections)}
    found: dict[int, Picture] = {}
    for picture in sorted(article.pictures, key=lambda one: one.key != first):
        if picture.key == first and places:
            found[places.get(picture.after, 0)] = picture
        elif picture.after in places and not _settled(picture):
            found.setdefault(places[picture.after], picture)
    slots = tuple(_slot(place, found[place], find) for place in sorted(found))
    edited = tuple(Piece(section.kind, section.source) for section in article.sections)
    return Begun(article, Draft(complete=True, edited=edited, slots=slots), {place: picture.key for place, picture in found.items()})


def rebound(begun: Begun, draft: Draft) -> Article:
    """The article with the pictures of `draft`: a picture whose slot is as it was stays itself, another has its key, or a new one."""
    if draft.slots is None:
        return begun.article
    article, before = begun.article, {slot.place: slot for slot in begun.draft.slots or ()}
    old = {picture.key: picture for picture in article.pictures}
    made: dict[int, Picture] = {}
    last = article.last_key
    for slot in [slot for slot in draft.slots if slot.place < len(article.sections)][:MOST_PICTURES]:
        key = begun.keys.get(slot.place, 0)
        if key and slot == before.get(slot.place):
            made[key] = old[key]
            continue
        after = old[key].after if key else article.sections[slot.place].key
        if not key:
            key = last = last + 1
        made[key] = _picture(slot, after, key)
    gone = set(begun.keys.values()) - set(made)
    stay = [made.pop(picture.key, picture) for picture in article.pictures if picture.key not in gone]
    return replace(article, pictures=tuple([*stay, *made.values()][:MOST_PICTURES]), last_key=last)


def _settled(picture: Picture) -> bool:
    """A person wants no picture there, or one without a caption: no stage may think it unfinished."""
    return not picture.caption if picture.shown is not None else picture.by == "visitor"


def _slot(place: int, picture: Picture, find: Callable[[str], Image | None]) -> Slot:
    """Candidates whose files are gone are none."""
    there = [(one, image) for one in picture.candidates if (image := find(one.sha256)) is not None]
    candidates = tuple(Candidate(image, one.alt, one.credit) for one, image in there)
    chosen = next((at for at, (one, _) in enumerate(there) if one is picture.shown), None)
    return Slot(place, picture.caption, picture.query or picture.caption, candidates, chosen, picture.by if chosen is not None else "")

"""What can be done to an article: each edit takes one and returns another, and leaves the first as it was.

A picture stands after a paragraph and moves with it. When its paragraph goes, it stays where it was to be seen: after what is now before
it. Who refers to something that is not there any more gets `BadRequest`: a page may show an older version. Knows neither models nor pages.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from demos.writing.article import (
    MOST_CANDIDATES,
    MOST_IN_ALL,
    MOST_PICTURES,
    MOST_SECTIONS,
    TOP,
    Article,
    Candidate,
    Choice,
    Language,
    Picture,
    Section,
    one_line,
    without_marks,
)
from demos.writing.record import Record
from demos.writing.sections import Piece, body, sections
from shared.errors import BadRequest

File = tuple[str, int, int]
"""A picture's file: the sha256 of its content, and its width and height in pixels."""


def begun(found: Sequence[Piece], language: Language, record: Record = Record()) -> Article:
    """An article without pictures. Raises `BadRequest` where there are too many sections."""
    _expect_room(len(found), MOST_SECTIONS, "sections")
    _expect_room(sum(len(one.source) for one in found), MOST_IN_ALL, "characters")
    return Article(language, sections(found), (), record, len(found))


def rewrite(article: Article, key: int, text: str) -> Article:
    """`text` in place of a section; where it is several, the first keeps the key, and the pictures stand after the last.

    A title stays one, and a heading stays one of its level unless `text` says otherwise. Raises `BadRequest` for an empty text."""
    at = _index(article, key)
    old = article.sections[at]
    found = _kept_kind(old, _pieces(text))
    new = (Section(key, found[0].kind, found[0].source), *sections(found[1:], article.last_key + 1))
    pictures = tuple(replace(one, after=new[-1].key) if one.after == key else one for one in article.pictures)
    return _with_sections(article, (*article.sections[:at], *new, *article.sections[at + 1 :]), pictures, len(found) - 1)


def insert_before(article: Article, key: int, text: str) -> Article:
    """New sections before one, after the pictures that stand there; before the title is after it. Raises `BadRequest` for an empty text."""
    at = _index(article, key)
    if article.sections[at].kind == "title":
        return insert_after(article, key, text)
    return _inserted(article, at, text)


def insert_after(article: Article, key: int, text: str) -> Article:
    """New sections after one, before its pictures go on: those stay with their own paragraph. `TOP` is the begin of the article,
    after its title. Raises `BadRequest` for an empty text."""
    if key == TOP:
        return _inserted(article, 1 if article.title else 0, text)
    return _inserted(article, _index(article, key) + 1, text)


def move(article: Article, key: int, to: int) -> Article:
    """Put a section to place `to` among the others, counted from 0, with the pictures after it. The title stays first."""
    at = _index(article, key)
    moved = article.sections[at]
    others = (*article.sections[:at], *article.sections[at + 1 :])
    if moved.kind == "title":
        return article
    to = max(1 if others and others[0].kind == "title" else 0, min(to, len(others)))
    return replace(article, sections=(*others[:to], moved, *others[to:]))


def delete(article: Article, key: int) -> Article:
    """Without a section; the pictures after it stay where they are to be seen, behind those that stand there already."""
    at = _index(article, key)
    before = article.sections[at - 1].key if at else TOP
    pictures = tuple(replace(one, after=before) if one.after == key else one for one in _in_order(article))
    return replace(article, sections=(*article.sections[:at], *article.sections[at + 1 :]), pictures=pictures)


def add_picture(article: Article, after: int, caption: str = "", candidates: Sequence[Candidate] = (), *, by: Choice = "") -> Article:
    """A place for a picture, behind those that stand there already; its first candidate is chosen when `by` says who chose.

    Its key is the new article's `last_key`. Raises `BadRequest` for a place that is not there, and where there are too many."""
    _expect_place(article, after)
    _expect_room(len(article.pictures) + 1, MOST_PICTURES, "pictures")
    offered = _once(candidates)
    picture = Picture(article.last_key + 1, after, one_line(caption), offered, 0 if by and offered else None, by if offered else "")
    return replace(article, pictures=(*article.pictures, picture), last_key=picture.key)


def move_picture(article: Article, key: int, after: int, to: int | None = None) -> Article:
    """Put a picture to another place: behind the pictures that stand there already, or as number `to` of them, counted from 0."""
    moved = replace(_picture(article, key), after=after)
    _expect_place(article, after)
    others = [one for one in article.pictures if one.key != key]
    there = [index for index, one in enumerate(others) if one.after == after]
    at = len(others) if to is None or max(0, to) >= len(there) else there[max(0, to)]
    return replace(article, pictures=(*others[:at], moved, *others[at:]))


def delete_picture(article: Article, key: int) -> Article:
    _picture(article, key)
    return replace(article, pictures=tuple(one for one in article.pictures if one.key != key))


def caption(article: Article, key: int, text: str, query: str = "") -> Article:
    """Another caption, and the words to look for it with; an empty one is allowed. What the picture shows (`describe`) stays."""
    said, words = one_line(text), one_line(query)
    picture = _picture(article, key)
    words = words if query else picture.query
    return _changed(article, replace(picture, caption=said, query="" if words == said else words))


def describe(article: Article, key: int, alt: str) -> Article:
    """Another alt text for the picture that is shown. Raises `BadRequest` where none is."""
    picture = _picture(article, key)
    if picture.shown is None:
        raise BadRequest("There is no picture to describe.", "Choose one first.")
    shown = replace(picture.shown, alt=one_line(alt))
    return _changed(article, replace(picture, candidates=tuple(shown if one is picture.shown else one for one in picture.candidates)))


def swap(article: Article, key: int, sha256: str, by: Choice = "visitor") -> Article:
    """Show another of the candidates. Raises `BadRequest` for one that is none."""
    picture = _picture(article, key)
    found = [index for index, one in enumerate(picture.candidates) if one.sha256 == sha256]
    if not found:
        raise BadRequest("This picture is not offered for that place.", "Choose one of those that are, or add it.")
    return _changed(article, replace(picture, chosen=found[0], by=by))


def put(article: Article, key: int, candidate: Candidate, by: Choice = "visitor") -> Article:
    """Show a picture of the visitor's own, which is the first of the candidates from then on."""
    picture = _picture(article, key)
    others = [one for one in picture.candidates if one.sha256 != candidate.sha256]
    return _changed(article, replace(picture, candidates=_once([candidate, *others]), chosen=0, by=by))


def clear(article: Article, key: int) -> Article:
    """No picture in this place, which is a person's choice; caption and candidates are kept."""
    return _changed(article, replace(_picture(article, key), chosen=None, by="visitor"))


def with_files(article: Article, files: Mapping[str, File]) -> Article:
    """What is there of its pictures: by the sha256 that the article knows, the name and the size that the picture has now.

    Candidates that are not there go, as they do where two have become one; a place whose picture goes keeps its caption."""
    return replace(article, pictures=tuple(_with_files(one, files) for one in article.pictures))


def _with_files(picture: Picture, files: Mapping[str, File]) -> Picture:
    named: dict[str, Candidate] = {}
    for one in picture.candidates:
        if one.sha256 in files:
            sha256, width, height = files[one.sha256]
            named[one.sha256] = replace(one, sha256=sha256, width=width, height=height)
    offered = _once(list(named.values()))
    shown = named.get(picture.shown.sha256) if picture.shown else None
    chosen = next((index for index, one in enumerate(offered) if shown is not None and one.sha256 == shown.sha256), None)
    return replace(picture, candidates=offered, chosen=chosen, by="" if chosen is None and picture.shown else picture.by)


def _inserted(article: Article, at: int, text: str) -> Article:
    found = _pieces(text)
    new = sections(found, article.last_key + 1)
    return _with_sections(article, (*article.sections[:at], *new, *article.sections[at:]), article.pictures, len(found))


def _with_sections(article: Article, new: tuple[Section, ...], pictures: tuple[Picture, ...], keys: int) -> Article:
    _expect_room(len(new), MOST_SECTIONS, "sections")
    _expect_room(sum(len(one.source) for one in new), MOST_IN_ALL, "characters")
    return replace(article, sections=new, pictures=pictures, last_key=article.last_key + keys)


def _pieces(text: str) -> tuple[Piece, ...]:
    found = body(text)
    if not found:
        raise BadRequest("There is no text.", "Write some, or delete the paragraph.")
    return found


def _kept_kind(old: Section, found: tuple[Piece, ...]) -> tuple[Piece, ...]:
    """The first piece as what it replaces, if that is a title or a heading and it is a plain line or a heading itself."""
    first = found[0]
    if old.kind == "title" and first.kind in ("heading", "paragraph"):
        return (Piece("title", first.source), *found[1:])
    if old.kind == "heading" and first.kind == "paragraph" and len(found) == 1:
        return (Piece("heading", f"{'#' * old.level} {without_marks(first.source)}"),)
    return found


def _in_order(article: Article) -> tuple[Picture, ...]:
    return tuple(one for one in article.blocks() if isinstance(one, Picture))


def _changed(article: Article, picture: Picture) -> Article:
    return replace(article, pictures=tuple(picture if one.key == picture.key else one for one in article.pictures))


def _once(candidates: Sequence[Candidate]) -> tuple[Candidate, ...]:
    """Each picture once, and no more than a place can have."""
    first = {one.sha256: one for one in reversed(candidates)}
    return tuple(first[sha] for sha in dict.fromkeys(one.sha256 for one in candidates))[:MOST_CANDIDATES]


def _index(article: Article, key: int) -> int:
    for index, section in enumerate(article.sections):
        if section.key == key:
            return index
    raise BadRequest("That paragraph is not there any more.", "The page shows an older version: open it again.")


def _picture(article: Article, key: int) -> Picture:
    for picture in article.pictures:
        if picture.key == key:
            return picture
    raise BadRequest("That picture is not there any more.", "The page shows an older version: open it again.")


def _expect_place(article: Article, after: int) -> None:
    if after != TOP:
        _index(article, after)


def _expect_room(count: int, most: int, what: str) -> None:
    if count > most:
        raise BadRequest(f"These would be {count} {what}; an article has {most} at most.", "Delete some first, or take fewer.")

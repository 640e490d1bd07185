"""An illustrated article as frozen values: sections of text, and pictures that have their places among them.

What cannot be is refused where the value is made, so that whoever holds an `Article` need not check it again, wherever it came from.
Edits are in `demos.writing.edits`, JSON in `demos.writing.saved`. Knows neither models nor pages, nor where a picture's file lies: a
picture is named by the sha256 of its content alone.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, get_args

from demos.writing.record import SHA256, Record

Language = Literal["zh", "en"]
Kind = Literal["title", "heading", "paragraph", "list", "quote", "table", "code", "math", "rule"]
Choice = Literal["", "model", "similarity", "order", "visitor"]
KINDS: tuple[Kind, ...] = get_args(Kind)
ONE_LINE: tuple[Kind, ...] = ("title", "heading", "paragraph", "rule")
TOP = 0  # the place of pictures that stand before the first section
MOST_SECTIONS, MOST_TEXT, MOST_IN_ALL = 5000, 200_000, 2_000_000  # in an article; characters of one section, of all
MOST_PICTURES, MOST_CANDIDATES = 200, 64  # in an article; for one place
MOST_LINE = 2000  # characters of a caption, an alt text, a part of a credit
LARGEST_SIDE = 100_000  # pixels
_URL = re.compile(r"https?://[^\s\x00-\x20\"<>\\^`{|}]{1,2000}")
# Controls, halves of characters, characters that are none, and those that turn the direction of what follows them
_NO_CHARACTERS = "".join(chr(plane << 16 | last) for plane in range(1, 17) for last in (0xFFFE, 0xFFFF))
_UNFIT = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufdd0-\ufdef\ufeff\ufff9-\ufffc\ufffe\uffff"
    + _NO_CHARACTERS
    + "]"
)


def fit(text: str) -> str:
    """`text` with line feeds for every kind of line end, and without what no document can hold."""
    return _UNFIT.sub("", re.sub(r"\r\n?|[\x0b\x0c\x85\u2028\u2029]", "\n", text))


def one_line(text: str) -> str:
    """`text` as a caption or a part of a credit holds it: one line, no longer than `MOST_LINE`."""
    return " ".join(fit(text).split())[:MOST_LINE].rstrip()


def web_address(text: str) -> str:
    """`text` if it is an http or https address that can stand in a document as it is, else nothing."""
    return text if _URL.fullmatch(text) and fit(text) == text else ""


@dataclass(frozen=True, slots=True)
class Section:
    """One piece of the text. `source` is Markdown, as the model or a person wrote it; `key` names it for as long as the article lives."""

    key: int
    kind: Kind
    source: str

    def __post_init__(self) -> None:
        _expect(type(self.key) is int and self.key > TOP, f"a section's key is a number above {TOP}")
        _expect(self.kind in KINDS, f"a section is one of {', '.join(KINDS)}")
        _expect(isinstance(self.source, str) and 0 < len(self.source) <= MOST_TEXT, f"a section has 1 to {MOST_TEXT} characters")
        _expect(fit(self.source) == self.source and self.source.strip() != "", "a section is text without control characters")
        _expect(self.kind not in ONE_LINE or "\n" not in self.source, f"a {self.kind} is one line")

    @property
    def level(self) -> int:
        """1 to 6 for a heading, as many as it has number signs; 0 for everything else."""
        return min(6, len(self.source) - len(self.source.lstrip("#"))) if self.kind == "heading" else 0

    @property
    def inline(self) -> str:
        """What stands in a title, a heading or a paragraph: Markdown of one line, without the marks of the block itself."""
        return without_marks(self.source) if self.kind in ("title", "heading") else self.source.strip()


def without_marks(heading: str) -> str:
    """The text of a heading's line, without the number signs before it and after a blank behind it."""
    text = heading.strip().lstrip("#").strip()
    bare = text.rstrip("#")
    return bare.rstrip() if not bare or bare[-1].isspace() else text


@dataclass(frozen=True, slots=True)
class Credit:
    """Whose picture it is, what it may be used for, and where it was found; each of them empty where nobody knows."""

    title: str = ""
    author: str = ""
    licence: str = ""
    source: str = ""
    link: str = ""
    licence_link: str = ""

    def __post_init__(self) -> None:
        for name in ("title", "author", "licence", "source"):
            _expect_line(getattr(self, name), f"a credit's {name}")
        for link in (self.link, self.licence_link):
            _expect(isinstance(link, str) and (not link or web_address(link) == link), "a credit's links are http or https addresses")

    @classmethod
    def of(
        cls, *, title: str = "", author: str = "", licence: str = "", source: str = "", link: str = "", licence_link: str = ""
    ) -> Credit:
        """From a picture source's own texts, which may be anything: what cannot be shown is left out."""
        links = web_address(link), web_address(licence_link)
        return cls(one_line(title), one_line(author), one_line(licence), one_line(source), *links)

    @property
    def empty(self) -> bool:
        return not (self.title or self.author or self.licence or self.source or self.link)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A picture that could stand in a place. `width` and `height` are in pixels; `alt` says what it shows, to those who do not see it."""

    sha256: str
    width: int
    height: int
    alt: str = ""
    credit: Credit = field(default_factory=Credit)

    def __post_init__(self) -> None:
        _expect(isinstance(self.sha256, str) and SHA256.fullmatch(self.sha256) is not None, "a picture is named by its sha256")
        for side in (self.width, self.height):
            _expect(type(side) is int and 0 < side <= LARGEST_SIDE, f"a picture's sides are 1 to {LARGEST_SIDE} pixels")
        _expect_line(self.alt, "an alt text")
        _expect(isinstance(self.credit, Credit), "a picture has a credit")


@dataclass(frozen=True, slots=True)
class Picture:
    """A place for a picture, after the section whose key is `after`, or before all of them at `TOP`.

    `chosen` is one of `candidates`, by index; None where there is no picture (yet): the caption alone is kept then. `by` is who chose.
    `query` are the words that candidates were looked for with, where they are not the caption."""

    key: int
    after: int
    caption: str = ""
    candidates: tuple[Candidate, ...] = ()
    chosen: int | None = None
    by: Choice = ""
    query: str = ""

    def __post_init__(self) -> None:
        _expect(type(self.key) is int and self.key > TOP, f"a picture's key is a number above {TOP}")
        _expect(type(self.after) is int, "a picture's place is a section's key")
        _expect_line(self.caption, "a caption")
        _expect_line(self.query, "what is searched for")
        _expect(
            isinstance(self.candidates, tuple) and len(self.candidates) <= MOST_CANDIDATES,
            f"a place has up to {MOST_CANDIDATES} candidates",
        )
        _expect(all(isinstance(one, Candidate) for one in self.candidates), "a place has candidates")
        _expect(len({one.sha256 for one in self.candidates}) == len(self.candidates), "a place has each candidate once")
        known = self.chosen is None or (type(self.chosen) is int and 0 <= self.chosen < len(self.candidates))
        _expect(known, "the chosen picture is one of the candidates")
        _expect(self.by in get_args(Choice), f"a picture is chosen by one of {', '.join(filter(None, get_args(Choice)))}")

    @property
    def shown(self) -> Candidate | None:
        return None if self.chosen is None else self.candidates[self.chosen]

    @property
    def alt(self) -> str:
        """What is to be read in place of the picture: its own alt text, or the caption where it has none, or what its author calls it."""
        if self.shown is None:
            return self.caption
        return self.shown.alt or self.caption or self.shown.credit.title


@dataclass(frozen=True, slots=True)
class Article:
    """`pictures` at the same place stand in their order. `last_key` was given to the newest section or picture: no key comes twice, so
    a page that shows an older version cannot hit another paragraph."""

    language: Language = "zh"
    sections: tuple[Section, ...] = ()
    pictures: tuple[Picture, ...] = ()
    record: Record = field(default_factory=Record)
    last_key: int = TOP

    def __post_init__(self) -> None:
        _expect(self.language in get_args(Language), "an article's language is zh or en")
        _expect(isinstance(self.sections, tuple) and len(self.sections) <= MOST_SECTIONS, f"an article has up to {MOST_SECTIONS} sections")
        _expect(isinstance(self.pictures, tuple) and len(self.pictures) <= MOST_PICTURES, f"an article has up to {MOST_PICTURES} pictures")
        _expect(all(isinstance(one, Section) for one in self.sections), "an article's sections are sections")
        _expect(all(isinstance(one, Picture) for one in self.pictures), "an article's pictures are pictures")
        _expect(sum(len(one.source) for one in self.sections) <= MOST_IN_ALL, f"an article has up to {MOST_IN_ALL} characters")
        _expect(all(one.kind != "title" for one in self.sections[1:]), "a title comes first")
        keys = [*(one.key for one in self.sections), *(one.key for one in self.pictures)]
        _expect(len(set(keys)) == len(keys), "every key is there once")
        _expect(type(self.last_key) is int and max(keys, default=TOP) <= self.last_key, "the last key is the highest")
        places = {TOP, *(one.key for one in self.sections)}
        _expect(all(one.after in places for one in self.pictures), "a picture stands after a section that is there")
        _expect(isinstance(self.record, Record), "an article has a record")

    @property
    def title(self) -> str:
        """The title in Markdown of one line; empty where the article has none."""
        return self.sections[0].inline if self.sections and self.sections[0].kind == "title" else ""

    def at(self, place: int) -> tuple[Picture, ...]:
        """The pictures after the section of this key, or at `TOP`."""
        return tuple(one for one in self.pictures if one.after == place)

    def blocks(self) -> Iterator[Section | Picture]:
        """Sections and pictures in the order in which they are read."""
        places: dict[int, list[Picture]] = {}
        for picture in self.pictures:
            places.setdefault(picture.after, []).append(picture)
        yield from places.get(TOP, ())
        for section in self.sections:
            yield section
            yield from places.get(section.key, ())

    @property
    def length(self) -> int:
        """How much there is to read: each Chinese, Japanese or Korean character counts, and each word of other scripts."""
        return sum(_length(section.source) for section in self.sections)


def _length(text: str) -> int:
    wide = sum(1 for letter in text if unicodedata.category(letter) == "Lo" and unicodedata.east_asian_width(letter) in "WF")
    return wide + len(re.findall(r"(?:(?![\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff])[^\W_])+(?:['’-][^\W_]+)*", text))


def _expect_line(text: object, what: str) -> None:
    _expect(isinstance(text, str) and one_line(text) == text, f"{what} is one line of text, of up to {MOST_LINE} characters")


def _expect(ok: bool, rule: str) -> None:
    """Raises `ValueError` telling the rule that does not hold."""
    if not ok:
        raise ValueError(rule)

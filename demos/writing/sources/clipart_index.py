"""What the drawings of a clip art folder are called, by whom, and which of them fit some words: Okapi BM25 over an inverted index.

Only drawings whose own metadata (RDF, `cc:license`) put them into the public domain; no icons, buttons, shapes and patterns, which
illustrate nothing, and no logos, which are somebody's marks all the same. Metadata is not clean, so a file's name is believed, and a
title only where it agrees with name, folder or keywords: many a drawing was saved with the title of another one.

Of a file no more is read than its metadata, which stand before the drawing in every file of the collection: 4,300 files take 0.7
seconds on one core, so nothing is kept on disk. Expat sees that part alone, which cannot declare entities. Knows nothing of drawing.
"""

from __future__ import annotations

import html
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.parsers import expat

from demos.writing.article import one_line
from demos.writing.similarity import EMPTY_WORDS, K1, B, words
from shared.engine import Cancel, Cancelled

HEAD = 64 << 10  # bytes of a file that are read; metadata end before 6,000
MOST_FILES = 100_000
LONGEST_NOTE = 120  # characters of a description; longer ones tell about other things
SHARE = 0.25  # of the weight of what was asked for must be in a drawing's texts
PASSED_OVER = ("shapes", "special", "buttons", "logos", "computer/icons", "computer/buttons", "transportation/aiga-symbols")
_PUBLIC_DOMAIN = re.compile(r"https?://(web\.resource\.org/cc/PublicDomain|creativecommons\.org/(licenses/publicdomain|publicdomain)/?.*)")
_ENCODING = re.compile(rb"""<\?xml[^>]*encoding=["']([\w-]{1,20})["']""")
_ENCODINGS = ("utf-8", "iso-8859-1", "us-ascii")
_SERIES = re.compile(r"^Clipart by .{1,60}? - ")
_NAMED, _KIND, _TOLD = 3, 2, 1  # how much a word counts: in name and title, in that of the folder, and elsewhere


@dataclass(frozen=True, slots=True)
class Drawing:
    """`title` is never empty; `keywords` are its own."""

    path: Path
    title: str
    author: str = ""
    keywords: tuple[str, ...] = ()


class Index:
    """The drawings in `folder`, read now. Raises `Cancelled`."""

    def __init__(self, folder: Path, cancel: Cancel) -> None:
        self._drawings: list[Drawing] = []
        self._lengths: list[int] = []
        self._holding: dict[str, list[tuple[int, int]]] = {}  # word -> drawings and how much it counts there
        for path in _files(folder):
            if cancel.is_set():
                raise Cancelled
            told = read(path)
            if told is not None:
                self._add(path, path.relative_to(folder), told)
        self._mean = sum(self._lengths) / len(self._lengths) if self._lengths else 0.0

    def __len__(self) -> int:
        return len(self._drawings)

    def search(self, text: str) -> list[Drawing]:
        """Drawings of something that `text` names, with a good part of its words, best first, one of its variants each."""
        weights = {word: self._weight(word) for word in words(text) if word not in EMPTY_WORDS}
        scores: dict[int, float] = {}
        shares: dict[int, float] = {}
        named: set[int] = set()
        for word, weight in weights.items():
            for at, count in self._holding.get(word, ()):
                scores[at] = scores.get(at, 0.0) + weight * self._share(count, at)
                shares[at] = shares.get(at, 0.0) + weight
                named |= {at} if count >= _KIND else set()
        least = SHARE * sum(weights.values())
        best = sorted((at for at in named if shares[at] >= least), key=lambda at: (-scores[at], at))
        once: dict[str, Drawing] = {}
        for at in best:
            once.setdefault(_subject(self._drawings[at].title), self._drawings[at])
        return list(once.values())

    def _add(self, path: Path, place: Path, told: Told) -> None:
        drawing, counts = _described(path, place, told)
        at = len(self._drawings)
        self._drawings.append(drawing)
        self._lengths.append(counts.total())
        for word, count in counts.items():
            self._holding.setdefault(word, []).append((at, count))

    def _weight(self, word: str) -> float:
        having = len(self._holding.get(word, ()))
        return math.log(1 + (len(self._drawings) - having + 0.5) / (having + 0.5))

    def _share(self, count: int, at: int) -> float:
        return count * (K1 + 1) / (count + K1 * (1 - B + B * self._lengths[at] / self._mean))


@dataclass(frozen=True, slots=True)
class Told:
    """What a file says of itself."""

    title: str = ""
    author: str = ""
    note: str = ""
    keywords: tuple[str, ...] = ()


def read(path: Path) -> Told | None:
    """Its metadata; nothing where there are none, where they are broken, or where they do not say public domain."""
    try:
        with path.open("rb") as file:
            head = file.read(HEAD)
    except OSError:
        return None
    begin, end = head.find(b"<metadata"), head.find(b"</metadata>")
    declared = _ENCODING.search(head[:200])
    encoding = declared[1].decode("ascii").lower() if declared else "utf-8"
    if begin < 0 or end < begin or encoding not in _ENCODINGS:
        return None
    reader = _Reader()
    try:
        reader.read(head[begin : end + len(b"</metadata>")], encoding)
    except expat.ExpatError:
        return None
    return reader.told if reader.free else None


class _Reader:
    def __init__(self) -> None:
        self._path: list[str] = []
        self._texts: dict[str, list[str]] = {}
        self._licences: list[str] = []

    def read(self, part: bytes, encoding: str) -> None:
        """Raises `ExpatError`."""
        parser = expat.ParserCreate(encoding)
        parser.buffer_text = True
        parser.StartElementHandler = self._on_start
        parser.EndElementHandler = lambda name: self._path.pop()
        parser.CharacterDataHandler = self._on_text
        parser.Parse(part, True)

    @property
    def free(self) -> bool:
        return bool(self._licences) and all(_PUBLIC_DOMAIN.fullmatch(licence) for licence in self._licences)

    @property
    def told(self) -> Told:
        keywords = tuple(filter(None, (_line(text) for text in self._texts.get("Bag/li", ()))))
        return Told(self._first("Work/title"), self._first("creator/Agent/title"), self._first("Work/description"), keywords)

    def _first(self, where: str) -> str:
        return _line("".join(self._texts.get(where, ())))

    def _on_start(self, name: str, attributes: dict[str, str]) -> None:
        self._path.append(name.rpartition(":")[2])
        if self._path[-1] == "license":
            self._licences.append(attributes.get("rdf:resource", ""))

    def _on_text(self, text: str) -> None:
        for depth in (2, 3):
            self._texts.setdefault("/".join(self._path[-depth:]), []).append(text)


def _subject(title: str) -> str:
    """What a title has in common with those of variants: `Apple Pie (B and W)`, `book 01`."""
    return " ".join(re.sub(r"\(.*?\)|\d+", " ", title.casefold()).split()) or title.casefold()


def _line(text: str) -> str:
    return one_line(html.unescape(text)).replace("_", " ").strip()


def _files(folder: Path) -> Iterator[Path]:
    """In an order that is always the same, without links: in the collection they are second names."""
    found = (path for path in folder.rglob("*.svg") if path.is_file() and not path.is_symlink())
    for number, path in enumerate(sorted(found)):
        place = path.relative_to(folder).as_posix()
        if number < MOST_FILES and not any(place.startswith(f"{passed}/") for passed in PASSED_OVER):
            yield path


def _described(path: Path, place: Path, told: Told) -> tuple[Drawing, Counter[str]]:
    """The drawing, and how much each word counts for it."""
    named = _name(path.stem, told.author)
    folders = list(place.parts[:-1])
    around = {*_plain(named), *_plain(*folders), *_plain(*told.keywords)}
    title = _SERIES.sub("", told.title)
    agrees = bool(around & set(_plain(title)))
    counts: Counter[str] = Counter()
    names = [named, title] if agrees else [named]
    for texts, weight in ((names, _NAMED), (folders[-1:], _KIND), ([*folders[:-1], *told.keywords, told.note[:LONGEST_NOTE]], _TOLD)):
        for word in set(_plain(*texts)):
            counts[word] = max(counts[word], weight)
    return Drawing(path, title if agrees else named or path.stem, told.author, told.keywords), counts


def _name(stem: str, author: str) -> str:
    """A file's name in words, without the number and the beginning of the author's name, which the collection puts behind it."""
    parts = [part for part in re.split(r"[\W_]+|(?<=\D)(?=\d)", stem) if part and not part.isdigit()]
    authors = author.casefold().split()
    kept = [part for part in parts if not any(one.startswith(part.casefold()) for one in authors)]
    return " ".join(kept or parts)


def _plain(*texts: str) -> Iterable[str]:
    return [word for text in texts for word in words(text.replace("_", " ")) if word not in EMPTY_WORDS]

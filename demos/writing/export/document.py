"""An article made ready to be written down: blocks in the order of reading, pictures with the bytes of their files.

A place without a picture is left out; a picture whose file is gone keeps its caption and credit, and is told. Knows no format.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, replace

from demos.writing.article import Article, Candidate, Credit, Language, Picture, Section
from demos.writing.export.markup import Block, Heading, blocks, inline, plain
from demos.writing.sections import title_text

ReadPicture = Callable[[str], bytes | None]
"""The bytes of the picture of this sha256, or None where it is not there any more."""

MOST_NAME = 60  # characters of a file's name before its ending
_KINDS = {b"\x89PNG\r\n\x1a\n": "png", b"\xff\xd8\xff": "jpg"}  # what this program keeps pictures as
_RESERVED = re.compile(r"(?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\..*)?", re.IGNORECASE)  # no names on Windows


@dataclass(frozen=True, slots=True)
class Figure:
    """A picture in its place. `content` is empty where its file is gone; `suffix` is png or jpg."""

    caption: str
    alt: str
    credit: Credit
    width: int
    height: int
    content: bytes
    suffix: str


@dataclass(frozen=True, slots=True)
class Document:
    """`title` is for names and headers, never empty; `headed` tells whether the article has one of its own among `blocks`."""

    language: Language
    title: str
    headed: bool
    blocks: tuple[Block | Figure, ...]
    models: tuple[str, ...]
    missing: int

    @property
    def figures(self) -> tuple[Figure, ...]:
        return tuple(block for block in self.blocks if isinstance(block, Figure))


def document(article: Article, read: ReadPicture) -> Document:
    """`read` is asked once for each picture that is shown."""
    found: list[Block | Figure] = []
    for one in article.blocks():
        if isinstance(one, Section):
            found += blocks(one)
        elif one.shown is not None:
            found.append(_figure(one, one.shown, read))
    missing = sum(1 for block in found if isinstance(block, Figure) and not block.content)
    return Document(article.language, _title(article), bool(article.title), _levelled(found), article.record.models, missing)


def file_name(document: Document, suffix: str) -> str:
    """A name that is safe on every system, from the title: letters and digits of any script, with hyphens between words."""
    kept = "".join(letter if unicodedata.category(letter)[0] in "LNM" else "-" for letter in unicodedata.normalize("NFC", document.title))
    name = re.sub("-{2,}", "-", kept)[:MOST_NAME].strip("-")
    while len(name.encode()) > 200:  # file systems count bytes, most of them 255
        name = name[:-1]
    return f"{'article' if not name or _RESERVED.fullmatch(name) else name}.{suffix}"


def credit_parts(credit: Credit) -> tuple[tuple[str, str], ...]:
    """Words and where they lead to, or nothing: title, author, licence, source, as far as they are known."""
    parts = (
        (credit.title, ""),
        (credit.author, ""),
        (credit.licence, credit.licence_link),
        (credit.source or (credit.link.split("/")[2] if credit.link else ""), credit.link),
    )
    return tuple(part for part in parts if part[0])


def _figure(picture: Picture, shown: Candidate, read: ReadPicture) -> Figure:
    """The file counts as gone where it is not what its name says, or no picture."""
    content = read(shown.sha256) or b""
    suffix = next((kind for magic, kind in _KINDS.items() if content.startswith(magic)), "")
    if not suffix or hashlib.sha256(content).hexdigest() != shown.sha256:
        content, suffix = b"", ""
    return Figure(picture.caption, picture.alt, shown.credit, shown.width, shown.height, content, suffix)


def _title(article: Article) -> str:
    """The title's words, or those of the first line that has any."""
    for section in article.sections:
        words = plain(inline(title_text(section.inline))) if section.kind in ("title", "heading", "paragraph") else ""
        if words.strip():
            return " ".join(words.split())[:200]
    return "浦语工坊" if article.language == "zh" else "Puyu Studio"


def _levelled(found: list[Block | Figure]) -> tuple[Block | Figure, ...]:
    """Headings begin at 2 under the title and leave no level out, whatever number of signs the model gave them."""
    used = sorted({block.level for block in found if isinstance(block, Heading) and block.level > 1})
    levels = {1: 1} | {level: min(6, at) for at, level in enumerate(used, 2)}
    return tuple(replace(block, level=levels[block.level]) if isinstance(block, Heading) else block for block in found)

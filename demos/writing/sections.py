"""A model's text, cut into sections while it comes in: every line is one, and lists, quotations, tables, code and formulas stay whole.

A line is a section because that is what models are asked about ("after which line does a picture fit?"). What belongs to a line is told
by itself and by the line before it, so nothing is read twice. Does not judge Markdown inside a line (`demos.writing.export.markup`).
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from demos.writing.article import MOST_TEXT, ONE_LINE, Kind, Section, fit, without_marks

MOST_TITLE = 60  # characters of a first line without marks that is taken for a title; two for each word of other scripts
_FENCE = re.compile(r"[ ]{0,3}(`{3,}|~{3,})[ \t]*([^`\s]*)[^`]*")
_HEADING = re.compile(r"#{1,6}[ \t]+\S.*|#{2,6}[^#\s].*")  # models leave out the blank before Chinese; "#word" is a hash tag
_ITEM = re.compile(r"(?:[-*+•]|\d{1,9}[.)])(?:[ \t]+\S.*|[ \t]*)")
_RULE = re.compile(r"(?:-[ \t]*){3,}|(?:\*[ \t]*){3,}|(?:_[ \t]*){3,}|={3,}")
_BOLD = re.compile(r"\*\*([^*]+)\*\*")
_LABEL = re.compile(r"(?:标题|题目|文章标题|title)[ \t]*[:：][ \t]*(?=\S)", re.IGNORECASE)
_SENTENCE = tuple("。！？：；，.!?:;,…")
_WHOLE = ("markdown", "md")  # the language of a fence around the whole article


@dataclass(frozen=True, slots=True)
class Piece:
    """A section that has no key yet."""

    kind: Kind
    source: str


class Reader:
    """Takes a text as it streams in. `pieces` are complete, and only the newest may still grow, while `open` is True.

    The first line may turn out to be the title at `finish`, when it is known what follows."""

    def __init__(self) -> None:
        self.pieces: list[Piece] = []
        self._parts: list[str] = []  # what came of the line that has not ended
        self._held = ""  # a carriage return, whose line feed may come next
        self._block: list[str] = []  # the lines of a section that more lines may belong to
        self._kind: Kind = "paragraph"
        self._blank = False  # whether the line before this one was blank
        self._fence = ""  # what ends the code or the formula
        self._wrapped = False  # the article itself stands in a fence

    @property
    def open(self) -> Piece | None:
        """What came of a section that has not ended, as far as it can be shown."""
        line = "".join(self._parts)
        if self._block:
            return Piece(self._kind, "\n".join([*self._block, line] if line.strip() else self._block))
        return Piece(_kind(line.strip()), line.strip()) if line.strip() else None

    def feed(self, text: str) -> None:
        """More of the text, cut anywhere."""
        text = self._held + text
        self._held = "\r" if text.endswith("\r") else ""
        first, *lines = fit(text.removesuffix("\r")).split("\n")
        self._parts.append(first)
        for line in lines:
            self._end_line()
            self._parts = [line]

    def finish(self) -> tuple[Piece, ...]:
        """All pieces: the text is over."""
        self._end_line()
        self._parts = []
        self._close()
        return with_title(self.pieces)

    def _end_line(self) -> None:
        self._take("".join(self._parts).rstrip())

    def _take(self, line: str) -> None:
        if self._fence:
            self._inside(line)
        elif not line.strip():
            self._blank = True
            if self._kind != "list":
                self._close()
        elif not self._opens(line):
            self._text(line)

    def _inside(self, line: str) -> None:
        """A line of code or of a formula, until it is closed."""
        self._block.append(line)
        ended = line.strip().endswith("$$") if self._fence == "$$" else _closes(line, self._fence)
        if ended:
            self._close()

    def _opens(self, line: str) -> bool:
        """Whether `line` begins or ends a fence or a formula; an indented one inside a list is the list's."""
        found = _FENCE.fullmatch(line)
        indented = line[0] in " \t" and self._kind == "list" and bool(self._block)
        if indented:
            return False
        if found and not self.pieces and not self._block and not self._wrapped and found[2].lower() in _WHOLE:
            self._wrapped = True
            return True
        if found and self._wrapped and not found[2]:
            self._close()
            self._wrapped = False
            return True
        formula = line.strip().startswith("$$")
        if not found and not formula:
            return False
        self._begin("math" if formula else "code", line)
        if not formula:
            self._fence = found[1] if found else ""
        elif len(line.strip()) > 3 and line.strip().endswith("$$"):
            self._close()
        else:
            self._fence = "$$"
        return True

    def _text(self, line: str) -> None:
        """A line outside code: it goes on with the section before it, or begins one."""
        kind = _kind(line.strip())
        if self._block and self._goes_on(line, kind):
            self._block += [*([""] if self._blank else []), line]
            self._blank = False
            return
        self._begin(kind, line if kind in ("list", "table") else line.strip())
        if kind not in ("list", "quote", "table"):
            self._close()

    def _goes_on(self, line: str, kind: Kind) -> bool:
        if self._kind == "list":
            return kind == "list" or line[0] in " \t"
        return not self._blank and kind == self._kind

    def _begin(self, kind: Kind, line: str) -> None:
        self._close()
        self._kind, self._block, self._blank = kind, [line], False

    def _close(self) -> None:
        source = "\n".join(self._block).rstrip()
        if self._kind == "list":
            source = textwrap.dedent(source).lstrip()
        self.pieces += _of_a_size(self._kind, source)
        self._block, self._fence, self._kind = [], "", "paragraph"


def _of_a_size(kind: Kind, source: str) -> Iterator[Piece]:
    """A section larger than one can be is cut, as code is that a model never ends."""
    for start in range(0, len(source), MOST_TEXT):
        part = source[start : start + MOST_TEXT]
        if part.strip():
            yield Piece(_kind(part.strip()) if start and kind in ONE_LINE else kind, part)


def pieces(text: str) -> tuple[Piece, ...]:
    """A whole text at once, with its title where it has one."""
    reader = Reader()
    reader.feed(text)
    return reader.finish()


def body(text: str) -> tuple[Piece, ...]:
    """A part of an article, which has no title: what a model wrote in place of one paragraph."""
    return tuple(Piece("heading", one.source) if one.kind == "title" and one.source.startswith("#") else
                 Piece("paragraph", one.source) if one.kind == "title" else one for one in pieces(text))  # fmt: skip


def sections(found: Sequence[Piece], first_key: int = 1) -> tuple[Section, ...]:
    """With keys from `first_key` on."""
    return tuple(Section(key, one.kind, one.source) for key, one in enumerate(found, first_key))


def with_title(found: Sequence[Piece]) -> tuple[Piece, ...]:
    """The first piece as the title, if it is one: the only heading of its level at the top, or a short line that is no sentence."""
    if not found:
        return ()
    first = found[0]
    if first.kind == "heading":
        level = len(first.source) - len(first.source.lstrip("#"))
        others = [len(one.source) - len(one.source.lstrip("#")) for one in found[1:] if one.kind == "heading"]
        is_title = level == 1 or all(other > level for other in others)
    else:
        is_title = first.kind == "paragraph" and len(found) > 1 and _reads_like_a_title(first.source)
    return (Piece("title", first.source), *found[1:]) if is_title and title_text(first.source) else tuple(found)


def title_text(source: str) -> str:
    """A title's own words: without number signs, "标题：" before it, bold letters and title marks around all of it."""
    text = _LABEL.sub("", without_marks(source), count=1)
    bold = _BOLD.fullmatch(text)
    text = _LABEL.sub("", bold[1], count=1).strip() if bold else text
    return text[1:-1] if text[:1] == "《" and text[-1:] == "》" and "《" not in text[1:] else text


def _reads_like_a_title(source: str) -> bool:
    text = title_text(source)
    narrow = sum(1 for letter in text if letter.isascii())
    return len(text) - narrow / 2 <= MOST_TITLE and not text.endswith(_SENTENCE)


def _kind(line: str) -> Kind:
    """What a line that stands alone is. `line` has no blanks around it."""
    if _RULE.fullmatch(line):
        return "rule"
    if _HEADING.fullmatch(line):
        return "heading"
    if _ITEM.fullmatch(line):
        return "list"
    if line.startswith(">"):
        return "quote"
    if line.startswith("|") and line.endswith("|") and len(line) > 2:
        return "table"
    return "paragraph"


def _closes(line: str, fence: str) -> bool:
    mark = line.strip()
    return len(line) - len(line.lstrip(" ")) < 4 and len(mark) >= len(fence) and set(mark) == {fence[0]}

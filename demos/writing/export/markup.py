"""A section's Markdown as a small tree of our own: what every export writes, each with its own escapes.

The model's text is hostile: HTML in it is text, a link goes to http or https or is none, and a picture that the text itself asks for is
not loaded: its words stay. Parsed by markdown-it-py; what it would drop (nesting without end, texts of absurd length) stays as plain text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from urllib.parse import quote

from markdown_it import MarkdownIt
from markdown_it.token import Token

from demos.writing.article import Section, fit, web_address
from demos.writing.sections import title_text

DEEPEST = 12  # lists in lists, quotations in quotations
LONGEST, MOST_BRACKETS = 20_000, 400  # characters and brackets of a section that is read as Markdown: brackets cost the square of them
_BULLET = re.compile(r"^([ \t]*)•(?=[ \t])", re.MULTILINE)
_NONE = "\ufdd0"
_WIDE = r"[\u2010-\u2027\u2030-\u205e\u3001-\u303f\uff01-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff65]"
_BESIDE = re.compile(rf"(?<={_WIDE})(?=\*)|(?<=\*)(?={_WIDE})")
_FENCE = re.compile(r"[ ]{0,3}(?:`{3,}|~{3,})[ \t]*([^`\s]*).*")


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of text with what it looks like; `link` is an http or https address or empty. A line feed in `text` is a line end."""

    text: str
    strong: bool = False
    emphasis: bool = False
    struck: bool = False
    code: bool = False
    link: str = ""


Spans = tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Paragraph:
    spans: Spans


@dataclass(frozen=True, slots=True)
class Heading:
    """`level` 1 is the article's title."""

    level: int
    spans: Spans


@dataclass(frozen=True, slots=True)
class Listing:
    """`first` is the number of the first item; None: without numbers."""

    items: tuple[tuple[Block, ...], ...]
    first: int | None = None


@dataclass(frozen=True, slots=True)
class Quotation:
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class Code:
    """`text` without a last line end; `language` is a word of letters, digits, + - and #."""

    text: str
    language: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """The first row is the head; every row has as many cells."""

    rows: tuple[tuple[Spans, ...], ...]


@dataclass(frozen=True, slots=True)
class Rule:
    pass


Block = Paragraph | Heading | Listing | Quotation | Code | Table | Rule


def blocks(section: Section) -> tuple[Block, ...]:
    """What a section is. A heading is one level below what it has in the text: 1 is for the title alone."""
    match section.kind:
        case "title":
            return (Heading(1, inline(title_text(section.source))),)
        case "heading":
            return (Heading(section.level + 1, inline(section.inline)),) if section.inline else ()
        case "paragraph":
            return (Paragraph(inline(section.inline)),)
        case "rule":
            return (Rule(),)
        case "code":
            return (_code(section.source),)
        case "math":
            return (Code(section.source.strip().strip("$").strip("\n"), "latex"),)
        case _:
            return _nested(section.source)


def inline(text: str) -> Spans:
    """Markdown of one line."""
    if not _readable(text):
        return (Span(text),)
    return _merged(_spans(_parser().parseInline(_chinese(text))[0].children or []))


def plain(spans: Spans) -> str:
    """Their words alone."""
    return "".join(span.text for span in spans)


def _readable(text: str) -> bool:
    return len(text) <= LONGEST and text.count("[") <= MOST_BRACKETS


def _chinese(text: str) -> str:
    """CommonMark takes no asterisk for a mark that stands between a letter and punctuation, as in "**墨：**水", where Chinese has no
    blank. With a character that is none between it and the punctuation it does; `fit` takes that away again."""
    return _BESIDE.sub(_NONE, text)


@cache
def _parser() -> MarkdownIt:
    """Used once before it is handed out: it gets its rules ready when it is first used, which two threads must not do at a time."""
    parser = MarkdownIt("commonmark", {"html": False, "maxNesting": 10 * DEEPEST}).enable(["table", "strikethrough"]).disable(["reference"])
    parser.parse("- *a*")
    return parser


def _nested(source: str) -> tuple[Block, ...]:
    tokens = _parser().parse(_chinese(_BULLET.sub(r"\1-", source))) if _readable(source) else []
    if not tokens or max(token.level for token in tokens) > 2 * DEEPEST:
        return (Paragraph((Span(source),)),)
    return tuple(_blocks(tokens))


def _blocks(tokens: Sequence[Token]) -> Iterator[Block]:
    at = 0
    while at < len(tokens):
        end = _end(tokens, at)
        found = _block(tokens[at], tokens[at + 1 : end])
        if found is not None:
            yield found
        at = max(end, at) + 1


def _end(tokens: Sequence[Token], at: int) -> int:
    """Where the block that begins `at` is closed."""
    if tokens[at].nesting != 1:
        return at
    return next(index for index in range(at + 1, len(tokens)) if tokens[index].level == tokens[at].level and tokens[index].nesting == -1)


def _block(token: Token, inside: Sequence[Token]) -> Block | None:
    match token.type:
        case "paragraph_open":
            return Paragraph(_content(inside))
        case "heading_open":
            return Paragraph(tuple(replace(span, strong=True) for span in _content(inside)))  # in a list, no part of the outline
        case "bullet_list_open" | "ordered_list_open":
            start = token.attrGet("start")
            return Listing(_items(inside), (1 if start is None else int(start)) if token.tag == "ol" else None)
        case "blockquote_open":
            return Quotation(tuple(_blocks(inside)))
        case "fence" | "code_block":
            return Code(token.content.rstrip("\n"), _language(token.info))
        case "table_open":
            return _table(inside)
        case "hr":
            return Rule()
        case _:
            return None


def _items(tokens: Sequence[Token]) -> tuple[tuple[Block, ...], ...]:
    found, at = [], 0
    while at < len(tokens):
        end = _end(tokens, at)
        found.append(tuple(_blocks(tokens[at + 1 : end])))
        at = end + 1
    return tuple(found)


def _table(tokens: Sequence[Token]) -> Table:
    rows: list[tuple[Spans, ...]] = []
    cells: list[Spans] = []
    for token in tokens:
        if token.type == "tr_open":
            cells = []
        elif token.type == "inline":
            cells.append(_merged(_spans(token.children or [])))
        elif token.type == "tr_close":
            rows.append(tuple(cells))
    return Table(tuple(rows))


def _content(inside: Sequence[Token]) -> Spans:
    return _merged(_spans(inside[0].children or [])) if inside else ()


def _spans(tokens: Sequence[Token]) -> Iterator[Span]:
    """Marks nest by opening and closing, so each kind is counted."""
    depth = {"strong": 0, "em": 0, "s": 0}
    links: list[str] = []
    for token in tokens:
        kind = token.type.removesuffix("_open").removesuffix("_close")
        if kind in depth:
            depth[kind] += token.nesting
        elif token.type == "link_open":
            links.append(web_address(str(token.attrGet("href") or "").replace(quote(_NONE), "")))
        elif token.type == "link_close":
            links.pop()
        else:
            text = "\n" if token.type in ("softbreak", "hardbreak") else fit(token.content)  # "&#x202e;" is a character by now
            look = Span(text, depth["strong"] > 0, depth["em"] > 0, depth["s"] > 0, token.type == "code_inline")
            yield replace(look, link=links[-1] if links else "")


def _merged(spans: Iterator[Span]) -> Spans:
    """Neighbours that look the same as one; empty ones are none, and no line ends before the first word or after the last."""
    found: list[Span] = []
    for span in spans:
        if not span.text:
            continue
        if found and replace(found[-1], text=span.text) == span:
            found[-1] = replace(span, text=found[-1].text + span.text)
        else:
            found.append(span)
    if found and found[0].text.startswith("\n"):
        return _merged(iter([replace(found[0], text=found[0].text.lstrip("\n")), *found[1:]]))
    if found and found[-1].text.endswith("\n"):
        return _merged(iter([*found[:-1], replace(found[-1], text=found[-1].text.rstrip("\n"))]))
    return tuple(found)


def _code(source: str) -> Code:
    """The lines between the fences; the last fence may be missing."""
    first, *lines = source.split("\n")
    opened = _FENCE.fullmatch(first)
    mark = first.strip()[:1]
    if lines and lines[-1].strip() and set(lines[-1].strip()) == {mark} and len(lines[-1].strip()) >= 3:
        lines.pop()
    return Code("\n".join(lines), _language(opened[1] if opened else ""))


def _language(info: str) -> str:
    found = re.match(r"[A-Za-z0-9+#-]{1,20}", info.strip())
    return found[0].lower() if found else ""

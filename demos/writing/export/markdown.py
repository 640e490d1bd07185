"""An article as Markdown with its pictures beside it, in a zip.

Written anew from what was read, so every mark in it is ours: a text that looks like HTML, a link or a picture is escaped and stays a text.
`article.json` lies beside it, from which the article can be opened again: with its record, so with what was asked and what material there
was. Who gives the zip away gives that too.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import replace

from demos.writing.article import Article
from demos.writing.export.archive import archive
from demos.writing.export.document import Document, Figure, credit_parts
from demos.writing.export.markup import Block, Code, Heading, Listing, Paragraph, Quotation, Rule, Span, Spans, Table
from demos.writing.saved import dumps

_MARKS = re.compile(r"[\\`*_\[\]<>|~$&!]")
_AT_BEGIN = re.compile(r"^([ \t]*)(#{1,6}(?=\s|$)|[-+=]|\d{1,9}(?=[.)]))", re.MULTILINE)


def markdown_zip(document: Document, article: Article) -> bytes:
    """article.md, article.json and pictures/picture-01.jpg …, the same bytes for the same article."""
    names = _names(document)
    files = [("article.md", markdown(document).encode()), ("article.json", dumps(article).encode())]
    files += [(name, figure.content) for name, figure in zip(names, document.figures, strict=True) if figure.content]
    return archive(files)


def markdown(document: Document) -> str:
    """CommonMark with the tables and the crossed-out words of GitHub's."""
    names = iter(_names(document))
    parts = [_figure(block, next(names)) if isinstance(block, Figure) else _block(block) for block in document.blocks]
    return "\n\n".join(_apart(document.blocks, parts)) + "\n"


def _names(document: Document) -> list[str]:
    return [f"pictures/picture-{number:02d}.{figure.suffix or 'png'}" for number, figure in enumerate(document.figures, 1)]


def _apart(blocks: Sequence[Block | Figure], parts: Sequence[str]) -> list[str]:
    """Two lists in a row would be one: an empty comment keeps them apart."""
    found: list[str] = []
    for index, part in enumerate(parts):
        if index and isinstance(blocks[index], Listing) and isinstance(blocks[index - 1], Listing):
            found.append("<!-- -->")
        found.append(part)
    return found


def _figure(figure: Figure, name: str) -> str:
    """A picture that is gone keeps its words."""
    shown = f"![{_text(figure.alt)}]({name})" if figure.content else f"\\[{_text(figure.alt)}\\]"
    credit = " · ".join(_linked(_text(text), link) for text, link in credit_parts(figure.credit))
    return "\n\n".join(filter(None, [shown, _begun(_text(figure.caption)), credit and _begun(credit)]))


def _block(block: Block) -> str:
    match block:
        case Paragraph(spans):
            return _begun(_spans(spans)) or "\u200b"
        case Heading(level, spans):
            return f"{'#' * level} {_one_line(spans)}".rstrip()
        case Listing(items, first):
            return "\n".join(_item(item, "- " if first is None else f"{first + at}. ") for at, item in enumerate(items))
        case Quotation(blocks):
            inside = "\n\n".join(_apart(blocks, [_block(one) for one in blocks]))
            return "\n".join(f"> {line}".rstrip() for line in inside.split("\n"))
        case Code(text, language):
            fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
            return f"{fence}{language}\n{text}\n{fence}"
        case Table(rows):
            head, *body = (f"| {' | '.join(_cell(cell) for cell in row)} |" for row in rows)
            return "\n".join([head, "|" + " --- |" * len(rows[0]), *body])
        case Rule():
            return "---"


def _item(blocks: tuple[Block, ...], mark: str) -> str:
    """A list right after a line leaves no blank line, which would spread the whole list out."""
    inside = ""
    for index, part in enumerate(_apart(blocks, [_block(one) for one in blocks])):
        close = index == 1 and isinstance(blocks[0], Paragraph) and isinstance(blocks[1], Listing)
        inside += part if not index else ("\n" if close else "\n\n") + part
    lines = inside.split("\n")
    return "\n".join([mark + lines[0], *(f"{' ' * len(mark)}{line}".rstrip() for line in lines[1:])])


def _cell(spans: Spans) -> str:
    """Bars divide cells, also in code."""
    return re.sub(r"(?<!\\)\|", r"\\|", _one_line(spans))


def _one_line(spans: Spans) -> str:
    return _spans(spans).replace("\\\n", " ").replace("\n", " ").strip()


def _spans(spans: Spans) -> str:
    """Marks that would touch each other cannot be told apart: of two such neighbours the second goes without."""
    found, touching = "", False
    for span in spans:
        text, marked = _span(replace(span, strong=False, emphasis=False, struck=False) if touching else span)
        found += text
        touching = marked
    return found


def _span(span: Span) -> tuple[str, bool]:
    """The text, and whether it ends with marks. Marks stand between letters: Markdown takes none for what they are between a Chinese letter
    and punctuation, so that, and blanks, at the ends of a marked text go outside."""
    if span.code:
        return _linked(_code(span.text), span.link), True
    mark = "~~" if span.struck else "*" * (span.emphasis + 2 * span.strong)
    letters = [index for index, letter in enumerate(span.text) if unicodedata.category(letter)[0] not in "PSZC"]
    if not mark or not letters:
        return _linked(_broken(span.text), span.link), False
    first, last = letters[0], letters[-1] + 1
    before, inside, after = _broken(span.text[:first]), _broken(span.text[first:last]), _broken(span.text[last:])
    return _linked(f"{before}{mark}{inside}{mark}{after}", span.link), not after


def _broken(text: str) -> str:
    return _text(text).replace("\n", "\\\n")


def _code(text: str) -> str:
    ticks = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    pad = " " if text[:1] in "` " or text[-1:] in "` " else ""
    return f"{ticks}{pad}{text}{pad}{ticks}".replace("\n", " ")


def _text(text: str) -> str:
    return _MARKS.sub(r"\\\g<0>", text)


def _begun(text: str) -> str:
    """No line of a paragraph begins like a heading, a list or a rule."""
    return _AT_BEGIN.sub(lambda found: f"{found[1]}{found[2]}\\" if found[2].isdigit() else f"{found[1]}\\{found[2]}", text).strip()


def _linked(text: str, link: str) -> str:
    safe = re.sub(r"&(?=#?\w+;)", "&amp;", link.replace("(", "%28").replace(")", "%29"))
    return f"[{text}]({safe})" if link else text

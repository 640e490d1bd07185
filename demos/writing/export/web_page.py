"""An article as one HTML file that asks nobody for anything: its pictures and its styles are in it, and its policy forbids the rest.

Every text is escaped here, once, on its way into the page; nothing of the article stands in a script, a style or a name.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from html import escape
from pathlib import Path

from demos.writing.export.document import Document, Figure, credit_parts
from demos.writing.export.markup import Block, Code, Heading, Listing, Paragraph, Quotation, Rule, Span, Spans, Table
from shared.version import VERSION

LANG = {"zh": "zh-CN", "en": "en"}
NAMES = {"zh": "浦语工坊", "en": "Puyu Studio"}
_TYPES = {"png": "image/png", "jpg": "image/jpeg"}


def web_page(document: Document) -> bytes:
    """UTF-8, the same bytes for the same document."""
    body = "\n".join(_figure(block) if isinstance(block, Figure) else _block(block) for block in document.blocks)
    policy = f"default-src 'none'; img-src data:; style-src 'sha256-{_style_hash()}'; base-uri 'none'; form-action 'none'"
    lines = (
        "<!DOCTYPE html>",
        f'<html lang="{LANG[document.language]}">',
        "<head>",
        '<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="referrer" content="no-referrer">',
        f'<meta name="generator" content="Puyu Studio {VERSION}">',
        f"<title>{escape(document.title)}</title>",
        f"<style>{_style()}</style>",
        "</head>",
        "<body>",
        f"<article>\n{body}\n{_footer(document)}</article>",
        "</body>",
        "</html>",
    )
    return ("\n".join(lines) + "\n").encode()


@cache
def _style() -> str:
    return "\n" + Path(__file__).with_name("page.css").read_text("utf-8")


@cache
def _style_hash() -> str:
    return base64.b64encode(hashlib.sha256(_style().encode()).digest()).decode()


def _footer(document: Document) -> str:
    """Who wrote it is told where it is known: readers are to know that it was a model."""
    if not document.models:
        return ""
    return f"<footer>{escape(' · '.join((NAMES[document.language], *document.models)))}</footer>\n"


def _figure(figure: Figure) -> str:
    if figure.content:
        data = base64.b64encode(figure.content).decode()
        size = f'width="{figure.width}" height="{figure.height}"'
        shown = f'<img src="data:{_TYPES[figure.suffix]};base64,{data}" alt="{escape(figure.alt)}" {size}>'
    else:
        shown = f'<div class="gone">{escape(figure.alt)}</div>'
    caption = f'<span class="caption">{escape(figure.caption)}</span>' if figure.caption else ""
    credit = " · ".join(_linked(text, link) for text, link in credit_parts(figure.credit))
    below = caption + (f"<small>{credit}</small>" if credit else "")
    return f"<figure>\n{shown}\n" + (f"<figcaption>{below}</figcaption>\n" if below else "") + "</figure>"


def _block(block: Block) -> str:
    match block:
        case Paragraph(spans):
            return f"<p>{_spans(spans)}</p>"
        case Heading(level, spans):
            return f"<h{level}>{_spans(spans)}</h{level}>"
        case Listing(items, first):
            start = f' start="{first}"' if first not in (None, 1) else ""
            tag = "ul" if first is None else "ol"
            return f"<{tag}{start}>\n" + "".join(f"<li>{_item(item)}</li>\n" for item in items) + f"</{tag}>"
        case Quotation(blocks):
            return "<blockquote>\n" + "\n".join(map(_block, blocks)) + "\n</blockquote>"
        case Code(text, language):
            named = f' class="language-{escape(language)}"' if language else ""
            return f"<pre><code{named}>{escape(text)}</code></pre>"
        case Table(rows):
            return _table(rows)
        case Rule():
            return "<hr>"


def _item(blocks: tuple[Block, ...]) -> str:
    """One paragraph alone needs no element of its own."""
    first, *others = blocks or (Paragraph(()),)
    text = _spans(first.spans) if isinstance(first, Paragraph) else _block(first)
    return "\n".join([text, *map(_block, others)])


def _table(rows: tuple[tuple[Spans, ...], ...]) -> str:
    head, *body = (tuple(_spans(cell) for cell in row) for row in rows)
    lines = ["<tr>" + "".join(f'<th scope="col">{cell}</th>' for cell in head) + "</tr>"]
    lines += ["<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in body]
    return (
        '<div class="table"><table>\n<thead>\n' + lines[0] + "\n</thead>\n<tbody>\n" + "\n".join(lines[1:]) + "\n</tbody>\n</table></div>"
    )


def _spans(spans: Spans) -> str:
    return "".join(map(_span, spans))


def _span(span: Span) -> str:
    text = escape(span.text).replace("\n", "<br>\n")
    for on, tag in ((span.code, "code"), (span.struck, "s"), (span.emphasis, "em"), (span.strong, "strong")):
        text = f"<{tag}>{text}</{tag}>" if on else text
    return _linked(text, span.link, escaped=True)


def _linked(text: str, link: str, *, escaped: bool = False) -> str:
    text = text if escaped else escape(text)
    return f'<a href="{escape(link)}" rel="noopener noreferrer nofollow">{text}</a>' if link else text

"""A section's text as the page draws it: nodes in JSON, `[tag, attributes, *children]`, where a child is a text or a node.

The page makes elements of them and sets their texts, so that nothing of an article is ever read as HTML. Knows no page.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

from demos.writing.article import Article, Section
from demos.writing.export.markup import Block, Code, Heading, Listing, Paragraph, Quotation, Rule, Span, Spans, Table, blocks

Node = list[Any]


LONGEST_KEPT = 4000  # characters; what is longer is rare, and would fill the memory


@lru_cache(4096)  # a page that is looked at while it grows asks for each again and again
def _kept(kind: Any, source: str) -> tuple[Block, ...]:
    return tuple(blocks(Section(1, kind, source)))


def nodes(section: Section, levels: Mapping[int, int] | None = None) -> list[Node]:
    """`levels` are those of the headings of its article."""
    found = _kept(section.kind, section.source) if len(section.source) <= LONGEST_KEPT else blocks(section)
    known = levels or {}
    return [_block(replace(one, level=known.get(one.level, one.level)) if isinstance(one, Heading) else one) for one in found]


def levels_of(article: Article) -> dict[int, int]:
    """As everywhere outside of the page: headings begin at 2 under the title and leave no level out, whatever the model gave them."""
    used = sorted({section.level + 1 for section in article.sections if section.kind == "heading"})
    return {level: min(6, at) for at, level in enumerate(used, 2)}


def _block(block: Block) -> Node:
    match block:
        case Paragraph(spans):
            return ["p", {}, *_spans(spans)]
        case Heading(level, spans):
            return [f"h{max(1, min(6, level))}", {}, *_spans(spans)]
        case Listing(items, first):
            set_ = {} if first in (None, 1) else {"start": first}
            return ["ul" if first is None else "ol", set_, *(["li", {}, *map(_block, item)] for item in items)]
        case Quotation(inside):
            return ["blockquote", {}, *map(_block, inside)]
        case Code(text, _):
            return ["pre", {}, ["code", {}, text]]
        case Table(rows):
            head, *body = rows
            lines = [["tr", {}, *(["th", {"scope": "col"}, *_spans(cell)] for cell in head)]]
            lines += [["tr", {}, *(["td", {}, *_spans(cell)] for cell in row)] for row in body]
            return ["table", {}, *lines]
        case Rule():
            return ["hr", {}]


def _spans(spans: Spans) -> list[Any]:
    return [part for span in spans for part in _span(span)]


def _span(span: Span) -> list[Any]:
    lines = span.text.split("\n")
    parts: list[Any] = [lines[0]]
    for line in lines[1:]:
        parts += [["br", {}], line]
    for on, tag in ((span.code, "code"), (span.struck, "s"), (span.emphasis, "em"), (span.strong, "strong")):
        if on:
            parts = [[tag, {}, *parts]]
    return [["a", {"href": span.link}, *parts]] if span.link else parts

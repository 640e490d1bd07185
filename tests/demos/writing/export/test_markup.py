"""Hostile Markdown as a tree of our own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings

from demos.writing.article import Section
from demos.writing.export.markup import (
    DEEPEST,
    LONGEST,
    Code,
    Heading,
    Listing,
    Paragraph,
    Quotation,
    Rule,
    Span,
    Table,
    blocks,
    inline,
    plain,
)
from demos.writing.sections import pieces, sections
from tests.demos.writing.articles import markdowns


def words(value: Any) -> Iterator[str]:
    """All texts in a tree."""
    if isinstance(value, Span | Code):
        yield value.text
    elif isinstance(value, tuple):
        for one in value:
            yield from words(one)
    else:
        for name in getattr(value, "__slots__", ()):
            yield from words(getattr(value, name))


def links(value: Any) -> Iterator[str]:
    if isinstance(value, Span):
        yield value.link
    elif isinstance(value, tuple):
        for one in value:
            yield from links(one)
    else:
        for name in getattr(value, "__slots__", ()):
            yield from links(getattr(value, name))


def tree(text: str) -> tuple[Any, ...]:
    return tuple(block for section in sections(pieces(text)) for block in blocks(section))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "a **b** *c* ~~d~~ `e*`",
            [
                Span("a "),
                Span("b", strong=True),
                Span(" "),
                Span("c", emphasis=True),
                Span(" "),
                Span("d", struck=True),
                Span(" "),
                Span("e*", code=True),
            ],
        ),
        ("***a***", [Span("a", strong=True, emphasis=True)]),
        ("**墨：**水", [Span("墨：", strong=True), Span("水")]),
        ("是**“墨”**的", [Span("是"), Span("“墨”", strong=True), Span("的")]),
        ("，**a**。", [Span("，"), Span("a", strong=True), Span("。")]),
        ("[a](https://b.example/c?d=1&e) x", [Span("a", link="https://b.example/c?d=1&e"), Span(" x")]),
        ("<https://b.example/>", [Span("https://b.example/", link="https://b.example/")]),
        ("[a](javascript:alert(1))", [Span("[a](javascript:alert(1))")]),
        ("[a](file:///etc/passwd) [b](//c) [d](mailto:e@f)", [Span("[a](file:///etc/passwd) b d")]),
        ("![a **b**](http://t.example/x.png)", [Span("a **b**")]),
        ("<b>a</b> &lt; &#x202e;&#0;b", [Span("<b>a</b> < �b")]),
        ("\\*a\\*", [Span("*a*")]),
    ],
)
def test_inline(text: str, expected: list[Span]) -> None:
    assert list(inline(text)) == expected


def test_blocks_of_every_kind() -> None:
    found = tree("# T\n## H\np\n3. a\n   - b\n\n> q\n\n| a | b |\n|--|--|\n| c |\n```py x\ncode\n```\n$$\nm\n$$\n---")
    assert found == (
        Heading(1, (Span("T"),)),
        Heading(3, (Span("H"),)),
        Paragraph((Span("p"),)),
        Listing(((Paragraph((Span("a"),)), Listing(((Paragraph((Span("b"),)),),))),), 3),
        Quotation((Paragraph((Span("q"),)),)),
        Table((((Span("a"),), (Span("b"),)), ((Span("c"),), ()))),
        Code("code", "py"),
        Code("m", "latex"),
        Rule(),
    )


@pytest.mark.parametrize(("text", "first"), [("1. a", 1), ("0. a", 0), ("999999999. a", 999_999_999), ("- a", None), ("• a", None)])
def test_numbers_of_lists(text: str, first: int | None) -> None:
    assert tree(text) == (Listing(((Paragraph((Span("a"),)),),), first),)


def test_a_heading_in_a_list_is_no_part_of_the_outline() -> None:
    assert tree("> # a") == (Quotation((Paragraph((Span("a", strong=True),)),)),)


@pytest.mark.parametrize(
    "text",
    [
        "> " * 4000 + "x",
        "- " * 4000 + "x",
        "[" * 20_000 + "x",
        "![[](" * 5000 + "x",
        "**a" * 6000 + "x",
        "a" + "`" * 19_990 + "x",
        "*a " * 6000 + "x",
        "|x" * 9000 + "|x",
        "x" * (LONGEST + 1),
        "\n".join("  " * deep + "- x" for deep in range(3 * DEEPEST)),
    ],
)
def test_what_is_absurd_stays_as_text(text: str) -> None:
    assert "x" in "".join(words(tree(text)))


@given(markdowns)
@settings(max_examples=300, deadline=None)
def test_words_stay_and_links_are_of_the_web(text: str) -> None:
    found = tree(text)
    letters = "".join(section.source for section in sections(pieces(text)) if section.kind == "paragraph")
    shown = "".join(words(found))
    assert all(shown.count(letter) >= letters.count(letter) for letter in "正文强墨")
    assert all(not link or link.startswith(("http://", "https://")) for link in links(found))


def test_code_without_an_end() -> None:
    assert blocks(Section(1, "code", "```c++\nint x;\n")) == (Code("int x;\n", "c++"),)
    assert blocks(Section(1, "code", "```")) == (Code("", ""),)
    assert blocks(Section(1, "heading", "# #")) == ()


def test_plain_is_words_alone() -> None:
    assert plain(inline("**a** `b` [c](http://d.example/)")) == "a b c"

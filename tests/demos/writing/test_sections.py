"""A model's text becomes sections."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from demos.writing.article import MOST_TEXT, Section
from demos.writing.sections import Piece, Reader, body, pieces, sections, title_text
from tests.demos.writing.articles import MARKDOWN, markdowns

INK = "中国水墨画：流动的诗意与东方美学\n中国的传统绘画。\n### 起源与发展\n水墨画的历史。\n\n\n### 结语\n综上所述。"


def kinds(text: str) -> list[str]:
    return [piece.kind for piece in pieces(text)]


def test_the_lines_of_the_notes_are_sections() -> None:
    found = pieces(INK)
    assert [piece.source for piece in found] == [line for line in INK.split("\n") if line]
    assert [piece.kind for piece in found] == ["title", "paragraph", "heading", "paragraph", "heading", "paragraph"]


def test_every_kind() -> None:
    assert kinds(MARKDOWN) == ["title", "paragraph", "heading", "list", "quote", "table", "code", "math", "rule", "paragraph"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1. a\n\n   b\n2. c\n\nd", ["list", "paragraph"]),
        ("- a\n- b\n\n- c\ntext", ["list", "paragraph"]),
        ("> a\n> b\n\n> c", ["quote", "quote"]),
        ("a。\n```\n# x\n\n- y\n```\nb", ["paragraph", "code", "paragraph"]),
        ("a。\n```\nnever ended\n\n# x", ["paragraph", "code"]),
        ("a。\n~~~~\n```\n~~~\n~~~~\nb", ["paragraph", "code", "paragraph"]),
        ("- a\n\n  ```\n  b\n  ```\n- c", ["list"]),
        ("a。\n$$x$$\nb", ["paragraph", "math", "paragraph"]),
        ("a。\n$$\nx\n\n$$\nb", ["paragraph", "math", "paragraph"]),
        ("a。\n***\n- - -\nb", ["paragraph", "rule", "rule", "paragraph"]),
        ("#话题 正文\n\u3000\u3000首行缩进", ["title", "paragraph"]),
        ("1.起源\n2024. 年", ["title", "list"]),
        ("", []),
        (" \n\t\n", []),
        ("\x00\u202e", []),
    ],
)
def test_what_belongs_together(text: str, expected: list[str]) -> None:
    assert kinds(text) == expected


def test_code_keeps_its_blanks() -> None:
    assert pieces("a。\n```py\n\tx = 1\n\n\n  y\n```")[1].source == "```py\n\tx = 1\n\n\n  y\n```"


def test_an_article_in_a_fence_comes_out_of_it() -> None:
    found = pieces("```markdown\n# T\n\ntext\n```python\nx\n```\nmore\n```\n")
    assert [piece.source for piece in found] == ["# T", "text", "```python\nx\n```", "more"]


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("# A\nb", "A"),
        ("## A\nb\n### c", "A"),
        ("**标题：墨**\nb", "墨"),
        ("Title: Ink\nb", "Ink"),
        ("《墨》\nb", "墨"),
        ("《墨》与《水》\nb", "《墨》与《水》"),
        ("### a\nb\n### c", ""),
        ("好的，以下是文章：\nb", ""),
        ("只有一行", ""),
        ("一个句子。\nb", ""),
        ("x" * 200 + "\nb", ""),
        ("- a\nb", ""),
    ],
)
def test_titles(text: str, title: str) -> None:
    first = pieces(text)[0]
    assert (title_text(first.source) if first.kind == "title" else "") == title


def test_a_part_has_no_title() -> None:
    assert body("# A\nb") == (Piece("heading", "# A"), Piece("paragraph", "b"))
    assert body("短行\nb")[0] == Piece("paragraph", "短行")


@given(markdowns, st.lists(st.integers(0, 300)))
@settings(deadline=None)
def test_cut_anywhere_it_is_the_same(text: str, cuts: list[int]) -> None:
    reader, at = Reader(), 0
    for cut in sorted(cuts):
        reader.feed(text[at:cut] if cut > at else "")
        at = max(at, cut)
    reader.feed(text[at:])
    assert reader.finish() == pieces(text)


@given(markdowns)
@settings(max_examples=300, deadline=None)
def test_no_word_is_lost(text: str) -> None:
    """Apart from a fence around all of it."""
    found = "".join(piece.source for piece in pieces(text))
    wrapped = re.match(r"\s*(?:`{3,}|~{3,})\s*(?:markdown|md)\b", text, re.IGNORECASE)
    assert wrapped or re.findall(r"\w", found) == [letter for letter in re.findall(r"\w", text) if not "\ufdd0" <= letter <= "\ufdef"]


@given(markdowns)
@settings(deadline=None)
def test_every_piece_can_be_a_section(text: str) -> None:
    found = sections(pieces(text), 3)
    assert [section.key for section in found] == list(range(3, 3 + len(found)))
    assert all(isinstance(section, Section) for section in found)


@given(markdowns)
@settings(deadline=None)
def test_what_is_open_is_shown(text: str) -> None:
    """While a text comes in, what came of it is in `pieces` and `open`."""
    reader = Reader()
    for letter in text:
        reader.feed(letter)
        shown = "".join(piece.source for piece in [*reader.pieces, *([reader.open] if reader.open else [])])
        assert letter not in "abcxyz正文" or shown.endswith(letter)


def test_a_section_without_end_is_cut() -> None:
    found = pieces("```\n" + "x" * MOST_TEXT)
    assert [len(piece.source) for piece in found] == [MOST_TEXT, 4]
    assert {piece.kind for piece in found} == {"code"}
    assert [piece.kind for piece in body("## " + "长" * MOST_TEXT)] == ["heading", "paragraph"]

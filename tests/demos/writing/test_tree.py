"""A section as nodes: whatever Markdown says, the page gets its own few tags, texts, and links to the web."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demos.writing import edits, tree
from demos.writing.article import KINDS, Article, Section
from demos.writing.sections import pieces, sections
from demos.writing.tree import levels_of, nodes
from tests.demos.writing.articles import EVIL, MARKDOWN, markdowns

TAGS = {
    "p", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "li", "blockquote", "pre", "code", "table", "tr", "th", "td", "hr", "br", "s",
    "em", "strong", "a",
}  # fmt: skip
HOSTILE = st.lists(
    st.sampled_from(
        [
            "<script>alert(1)</script>", "[a](javascript:alert(1))", "[b](http://b.example/?x=\"><script>)", "<http://c.example/>", "![d](http://d/)",
            "[e]: javascript:x", "[e]", "<a href='data:x' onclick=x>", "[f](data:text/html,x)", "[g](//h.example)", "[i](file:///etc/passwd)",
            "> ", "- ", "1. ", "99999999999. ", "| a |", "|---|", "```html", "# ", "\n", "\n\n", "**", "~~", "`", "&lt;", "&#106;a:",
            "\\", "[j](<java\tscript:x>)", "[k](HTTPS://K.example)", EVIL.replace("\u202e", ""),
        ]
    ),
    max_size=20,
).map("".join)  # fmt: skip


def all_of(node: Any) -> Iterator[list[Any]]:
    assert isinstance(node, str | list)
    if isinstance(node, list):
        yield node
        for child in node[2:]:
            yield from all_of(child)


def text_of(node: Any) -> str:
    return node if isinstance(node, str) else "".join(map(text_of, node[2:]))


def check(section: Section) -> None:
    made = nodes(section)
    json.dumps(made, ensure_ascii=False).encode()
    for tag, attributes, *_ in (one for node in made for one in all_of(node)):
        assert tag in TAGS
        allowed = {"a": {"href"}, "ol": {"start"}, "th": {"scope"}}.get(tag, set())
        assert set(attributes) <= allowed
        if tag == "a":
            assert attributes["href"].lower().startswith(("http://", "https://")) and not set(attributes["href"]) & set(' <>"\n\t')
        assert type(attributes.get("start", 1)) is int


@given(markdowns | HOSTILE)
def test_hostile_markdown_is_a_few_tags(text: str) -> None:
    for section in sections(pieces(text)):
        check(section)


@given(st.sampled_from(KINDS), HOSTILE)
def test_so_it_is_whatever_a_section_is_called(kind: Any, text: str) -> None:
    text = text.replace("\n", " ") if kind in ("title", "heading", "paragraph", "rule") else text
    if text.strip():
        check(Section(1, kind, text))


def test_everything_that_markdown_has() -> None:
    found = [one for section in sections(pieces(MARKDOWN)) for node in nodes(section) for one in all_of(node)]
    some = {"h1", "h3", "p", "ol", "ul", "li", "blockquote", "table", "tr", "th", "td", "pre", "code", "strong", "em", "a", "hr"}
    assert {one[0] for one in found} == some
    assert {one[1]["href"] for one in found if one[0] == "a"} == {"https://example.org/a?x=1&y=%222%22"}


def test_headings_leave_no_level_out() -> None:
    article = edits.begun(pieces("# Bees\n\n### Work\n\nThey work.\n\n##### Wax\n\n### Winter"), "en")
    levels = levels_of(article)
    assert [nodes(section, levels)[0][0] for section in article.sections] == ["h1", "h2", "p", "h3", "h2"]
    assert levels_of(Article()) == {}


@pytest.mark.parametrize(
    ("section", "made"),
    [
        (Section(1, "title", "# Bees *live*"), [["h1", {}, "Bees ", ["em", {}, "live"]]]),
        (Section(1, "heading", "### Work"), [["h4", {}, "Work"]]),
        (Section(1, "paragraph", "**b** ~~c~~ <b>"), [["p", {}, ["strong", {}, "b"], " ", ["s", {}, "c"], " <b>"]]),
        (Section(1, "paragraph", "[a](https://b.example/)"), [["p", {}, ["a", {"href": "https://b.example/"}, "a"]]]),
        (Section(1, "paragraph", "[a](javascript:b)"), [["p", {}, "[a](javascript:b)"]]),
        (Section(1, "list", "- a\n- b"), [["ul", {}, ["li", {}, ["p", {}, "a"]], ["li", {}, ["p", {}, "b"]]]]),
        (Section(1, "list", "3. a"), [["ol", {"start": 3}, ["li", {}, ["p", {}, "a"]]]]),
        (Section(1, "quote", "> a\n> b"), [["blockquote", {}, ["p", {}, "a", ["br", {}], "b"]]]),
        (Section(1, "code", "```py\nx < 1\n```"), [["pre", {}, ["code", {}, "x < 1"]]]),
        (Section(1, "table", "|a|b|\n|---|---|\n|c|d|"), [["table", {}, ["tr", {}, ["th", {"scope": "col"}, "a"], ["th", {"scope": "col"}, "b"]], ["tr", {}, ["td", {}, "c"], ["td", {}, "d"]]]]),  # noqa: E501
        (Section(1, "rule", "---"), [["hr", {}]]),
    ],
)  # fmt: skip
def test_nodes(section: Section, made: list[Any]) -> None:
    assert nodes(section) == made


def test_nothing_of_a_text_is_lost() -> None:
    assert text_of(["p", {}, *nodes(Section(1, "paragraph", "<script>alert(1)</script> & so on"))]) == "<script>alert(1)</script> & so on"


def test_a_very_long_section_is_not_held_in_memory() -> None:
    before = tree._kept.cache_info().currsize
    assert nodes(Section(1, "paragraph", "x" * 5000)) == [["p", {}, "x" * 5000]]
    assert tree._kept.cache_info().currsize == before

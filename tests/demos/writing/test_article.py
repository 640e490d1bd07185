"""What an article can be, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from demos.writing.article import LARGEST_SIDE, MOST_LINE, TOP, Article, Candidate, Credit, Picture, Section, fit, one_line, web_address
from tests.demos.writing.articles import EVIL, articles, candidate, example

TEXT = Section(1, "paragraph", "a")


@pytest.mark.parametrize(
    "values",
    [
        {"key": 0},
        {"key": True},
        {"kind": "html"},
        {"source": ""},
        {"source": " \n"},
        {"source": "a\x00"},
        {"source": "a\ud800"},
        {"source": "a\nb"},
        {"source": "a\u202eb"},
        {"source": 7},
        {"source": "a\ufffe"},
        {"source": "x" * 200_001},
    ],
)
def test_a_section_that_cannot_be(values: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        replace(TEXT, **values)


@pytest.mark.parametrize(
    "values",
    [
        {"sha256": "../../etc/passwd"},
        {"sha256": "A" * 64},
        {"sha256": "0" * 64 + "\n"},
        {"width": 0},
        {"height": LARGEST_SIDE + 1},
        {"width": 1.5},
        {"alt": "a\nb"},
        {"alt": " a"},
        {"alt": "a" * (MOST_LINE + 1)},
        {"credit": None},
    ],
)
def test_a_candidate_that_cannot_be(values: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        replace(candidate(1), **values)


@pytest.mark.parametrize(
    "link", ["javascript:alert(1)", "http://a b", 'https://a/"x', "file:///etc/passwd", "//a.example", "http://a/\u202e"]
)
def test_a_link_that_is_none(link: str) -> None:
    assert web_address(link) == ""
    assert Credit.of(link=link, licence_link=link) == Credit()
    with pytest.raises(ValueError):
        Credit(link=link)


@pytest.mark.parametrize(
    "values",
    [
        {"candidates": (candidate(1), candidate(1))},
        {"chosen": 1},
        {"chosen": -1},
        {"chosen": True},
        {"by": "nobody"},
        {"caption": "a\n"},
        {"key": 0},
        {"candidates": [candidate(1)]},
    ],
)
def test_a_picture_that_cannot_be(values: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        replace(Picture(2, 1, "c", (candidate(1),), 0, "model"), **values)


@pytest.mark.parametrize(
    "values",
    [
        {"language": "de"},
        {"sections": (TEXT, TEXT)},
        {"sections": (TEXT, Section(2, "title", "t"))},
        {"last_key": 0},
        {"pictures": (Picture(2, 3),)},
        {"pictures": (Picture(1, TOP),)},
        {"sections": [TEXT]},
        {"record": None},
    ],
)
def test_an_article_that_cannot_be(values: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        Article(**{"sections": (TEXT,), "last_key": 5, **values})


@given(st.text())
@settings(deadline=None)
def test_fit_and_one_line_are_stable(text: str) -> None:
    assert fit(fit(text)) == fit(text)
    assert one_line(one_line(text)) == one_line(text)
    assert "\n" not in one_line(text)


@given(articles())
@settings(deadline=None)
def test_blocks_have_everything_once(article: Article) -> None:
    found = list(article.blocks())
    assert sorted(one.key for one in found) == sorted(one.key for one in (*article.sections, *article.pictures))
    assert [one for one in found if isinstance(one, Section)] == list(article.sections)


def test_blocks_are_in_the_order_of_reading() -> None:
    kinds = [type(one).__name__[0] + str(one.key) for one in example().blocks()][:6]
    assert kinds == ["P12", "S1", "S2", "P11", "S3", "S4"]


def test_alt_is_the_caption_where_there_is_none() -> None:
    picture = Picture(1, TOP, "caption", (candidate(1, "alt"), candidate(2)), 0, "model")
    assert [replace(picture, chosen=at).alt for at in (0, 1, None)] == ["alt", "caption", "caption"]
    assert Picture(1, TOP, "", (candidate(1, "", Credit(title="Mist")),), 0, "model").alt == "Mist"


@pytest.mark.parametrize(("text", "length"), [("墨分五色。", 4), ("Ink and water's edge", 4), ("墨 ink 2", 3), ("，。", 0), ("墨ink水", 3)])
def test_length(text: str, length: int) -> None:
    assert Article(sections=(Section(1, "paragraph", text),), last_key=1).length == length


def test_hostile_credits_are_lines() -> None:
    credit = Credit.of(title=EVIL + "\n\x00", author="\ud800", source="x" * 9999)
    assert credit.author == "" and len(credit.source) == MOST_LINE and "\u202e" not in credit.title


def test_headings() -> None:
    assert [Section(1, "heading", text).level for text in ("# a", "###起源", "###### x")] == [1, 3, 6]
    assert [Section(1, "heading", text).inline for text in ("# a", "###起源", "## C#", "## a ##")] == ["a", "起源", "C#", "a"]


def test_a_candidate_of_the_largest_size() -> None:
    assert Candidate("0" * 64, LARGEST_SIDE, 1).width == LARGEST_SIDE

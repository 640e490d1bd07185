"""The web page: valid, self-contained, and without a way out for what stands in it."""

from __future__ import annotations

import base64
import re
from xml.etree.ElementTree import Element

import pytest
from hypothesis import given, settings
from tinyhtml5.parser import HTMLParser

from demos.writing import edits
from demos.writing.article import Article
from demos.writing.export.document import document
from demos.writing.export.web_page import web_page
from demos.writing.sections import pieces
from tests.demos.writing.articles import FILES, articles, example, markdowns, picture_file

OUTER = {"html", "head", "meta", "title", "style", "body", "article", "footer", "div", "hr"}
TEXT = {"h1", "h2", "h3", "h4", "h5", "h6", "p", "ul", "ol", "li", "blockquote", "pre", "code", "a", "strong", "em", "s", "br"}
TABLES = {"table", "thead", "tbody", "tr", "th", "td", "figure", "figcaption", "img", "span", "small"}
ELEMENTS = OUTER | TEXT | TABLES
ATTRIBUTES = {"lang", "charset", "http-equiv", "content", "name", "class", "start", "scope", "src", "alt", "width", "height", "href", "rel"}


def parsed(content: bytes) -> Element:
    """Parsed as browsers do it; an error of the page is one of the test."""
    parser = HTMLParser(namespace_html_elements=False)
    tree = parser.parse(content.decode(), full_tree=False)
    assert parser.errors == []
    return tree


def page(article: Article) -> Element:
    return parsed(web_page(document(article, FILES.get)))


def text(element: Element | None) -> str:
    return "" if element is None else "".join(element.itertext())


def test_the_example() -> None:
    tree = page(example())
    assert tree.attrib["lang"] == "zh-CN"
    assert text(tree.find("head/title")) == "墨与水"
    assert [(one.tag, text(one)) for one in tree.iter() if re.fullmatch(r"h\d", str(one.tag))] == [("h1", "墨与水"), ("h2", "步骤")]
    assert [one.attrib["start"] for one in tree.iter("ol")] == ["3"]
    assert text(tree.find(".//footer")) == "浦语工坊 · internlm-xcomposer2-7b"


def test_every_picture_has_alt_text_and_credit() -> None:
    figures = list(page(example()).iter("figure"))
    assert len(figures) == 3
    first, second, gone = figures
    assert [one.attrib["alt"] for one in first.iter("img")] == ["题图"]
    assert second.find("img").attrib["alt"].startswith('替代 "><script>')  # type: ignore[union-attr]
    credit = second.find("figcaption/small")
    assert text(credit).startswith('山 "><script>alert(1)') and 'Li "Wei" <x> · CC BY 4.0 · Openverse' in text(credit)
    assert credit is not None and [one.attrib["href"] for one in credit.iter("a")] == [
        "https://creativecommons.org/licenses/by/4.0/",
        "https://example.org/p?a=1&b='2'",
    ]
    assert text(gone.find("div")) == "不在的图" and text(gone.find("figcaption")) == "没有了陈一" and not list(gone.iter("img"))


def test_pictures_are_in_the_page() -> None:
    sources = [one.attrib["src"] for one in page(example()).iter("img")]
    assert [base64.b64decode(source.split(",")[1]) for source in sources] == [picture_file(2, "PNG"), picture_file(1)]
    assert [source.split(",")[0] for source in sources] == ["data:image/png;base64", "data:image/jpeg;base64"]


def test_the_page_asks_for_nothing() -> None:
    content = web_page(document(example(), FILES.get)).decode()
    assert "url(" not in content and "@import" not in content and "<script" not in content and "default-src 'none'" in content


@given(articles())
@settings(max_examples=60, deadline=None)
def test_any_article_is_a_valid_page(article: Article) -> None:
    tree = page(article)
    assert {str(one.tag) for one in tree.iter()} <= ELEMENTS
    assert {name for one in tree.iter() for name in one.attrib} <= ATTRIBUTES
    assert all(one.attrib["href"].startswith(("http://", "https://")) for one in tree.iter("a"))
    assert all(one.attrib["src"].startswith("data:image/") for one in tree.iter("img"))


@given(markdowns)
@settings(max_examples=100, deadline=None)
def test_any_markdown_is_a_valid_page(source: str) -> None:
    tree = page(edits.begun(pieces(source), "en"))
    assert {str(one.tag) for one in tree.iter()} <= ELEMENTS


@pytest.mark.parametrize("content", [b"<html>", b"GIF89a", picture_file(3)])
def test_a_file_that_is_not_the_picture_is_not_shown(content: bytes) -> None:
    ready = document(example(), lambda sha256: content)
    assert ready.missing == 3 and "data:image" not in web_page(ready).decode()


def test_the_same_article_is_the_same_page() -> None:
    assert web_page(document(example(), FILES.get)) == web_page(document(example(), FILES.get))

"""The zip with Markdown, read again."""

from __future__ import annotations

import io
import re
import zipfile

import pytest
from hypothesis import given, settings
from markdown_it import MarkdownIt

from demos.writing import edits
from demos.writing.article import Article
from demos.writing.export.archive import archive
from demos.writing.export.document import Document, document
from demos.writing.export.markdown import markdown, markdown_zip
from demos.writing.export.markup import blocks
from demos.writing.saved import loads
from demos.writing.sections import pieces, sections
from tests.demos.writing.articles import FILES, articles, example, markdowns, picture_file
from tests.demos.writing.export.test_markup import words

PARSER = MarkdownIt("commonmark").enable(["table", "strikethrough"])  # HTML is on: what is none must not become some


def ready(article: Article) -> Document:
    return document(article, FILES.get)


def letters(text: str) -> list[str]:
    return re.findall(r"\w", text)


def read_again(text: str) -> str:
    """The words of a Markdown file, without its pictures'."""
    found = []
    for token in PARSER.parse(text):
        if token.type in ("fence", "code_block"):
            found.append(token.content)
        for child in token.children or []:
            assert child.type != "html_inline"
            found.append(child.content if child.type in ("text", "code_inline") else "")
        assert token.type != "html_block" or token.content.strip() == "<!-- -->"
    return "".join(found)


@given(markdowns)
@settings(max_examples=400, deadline=None)
def test_words_are_the_same_when_read_again(source: str) -> None:
    article = edits.begun(pieces(source), "zh")
    expected = "".join(words(tuple(block for section in article.sections for block in blocks(section))))
    assert letters(read_again(markdown(ready(article)))) == letters(expected)


@given(articles())
@settings(max_examples=60, deadline=None)
def test_nothing_in_an_article_is_html_or_a_picture_of_another_place(article: Article) -> None:
    text = markdown(ready(article))
    read_again(text)
    for token in PARSER.parse(text):
        for child in token.children or []:
            assert child.type != "image" or re.fullmatch(r"pictures/picture-\d\d\.(?:png|jpg)", str(child.attrs["src"]))


@pytest.mark.parametrize(
    "text",
    [
        "**墨：**水",
        "是**“墨”**的",
        "a*b*c",
        "***a*** **b**",
        "~~a~~b",
        "`a|b` `` ` ``",
        "1\\. x",
        "\\# x",
        "[a](http://b.example/(c)&amp;d)",
    ],
)
def test_marks_come_back(text: str) -> None:
    """In our own reading, apart from punctuation at the ends of what is marked."""
    again = markdown(ready(edits.begun(sections(pieces(text)), "zh"))).strip()  # type: ignore[arg-type]  # a section has what a piece has
    assert markdown(ready(edits.begun(sections(pieces(again)), "zh"))).strip() == again  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["\\# x", "\\- x", "\\+ x", "1\\. x", "12\\) x", "\\> x", "\\=== x", "&#45; x", "\\~~~ x", "\\| a | b |"])
def test_a_line_that_only_looks_like_a_block_stays_a_line(text: str) -> None:
    written = markdown(ready(edits.begun(pieces("一句话。\n" + text), "zh")))
    assert [token.type for token in PARSER.parse(written) if token.type != "inline"] == ["paragraph_open", "paragraph_close"] * 2


def test_the_zip() -> None:
    article = example()
    content = markdown_zip(ready(article), article)
    with zipfile.ZipFile(io.BytesIO(content)) as file:
        assert file.testzip() is None
        assert file.namelist() == ["article.md", "article.json", "pictures/picture-01.png", "pictures/picture-02.jpg"]
        assert {entry.date_time for entry in file.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert all(entry.external_attr >> 16 == 0o644 and not entry.extra and not entry.comment for entry in file.infolist())
        assert file.read("pictures/picture-02.jpg") == picture_file(1)
        assert loads(file.read("article.json")) == article
        text = file.read("article.md").decode()
    assert text.startswith("![题图](pictures/picture-01.png)\n\n题图\n\n# 墨与*水*\n")
    assert (
        "CC BY 4.0" in text
        and "没有了" in text
        and "陈一" in text
        and "<script" not in text.replace("\\<script", "").replace('print("<script', "")
    )
    assert content == markdown_zip(ready(article), article)


@pytest.mark.parametrize("name", ["../a.md", "/a.md", "a/../b.md", "a", "A.md", "a/b/c.md", "a b.md", "con:.md", "a\\b.md", "", "a.md\n"])
def test_only_names_of_ours_go_into_an_archive(name: str) -> None:
    with pytest.raises(ValueError):
        archive([(name, b"")])


def test_a_name_goes_into_an_archive_once() -> None:
    with pytest.raises(ValueError):
        archive([("a.md", b""), ("a.md", b"")])

"""The DOCX file, read again."""

from __future__ import annotations

import io
import zipfile
from typing import Any

import docx
from docx.oxml.ns import qn
from hypothesis import given, settings
from lxml import etree

from demos.writing import edits
from demos.writing.article import Article
from demos.writing.export.document import document
from demos.writing.export.word import word
from demos.writing.sections import pieces
from tests.demos.writing.articles import FILES, articles, candidate, example, markdowns


def opened(article: Article) -> Any:
    return docx.Document(io.BytesIO(word(document(article, FILES.get))))


def lines(article: Article) -> list[tuple[str, str]]:
    return [(line.style.name, line.text) for line in opened(article).paragraphs]


def test_the_example() -> None:
    found = lines(example())
    assert ("Title", "墨与水") in found and ("Heading 1", "步骤") in found
    assert ("List Number", "磨墨") in found and ("List Bullet 2", "慢") in found
    assert ("Quote", "引文 <b>一</b>") in found and ("Code", 'print("<script>")') in found
    assert found[-1] == ("Credit", "浦语工坊 · internlm-xcomposer2-7b")
    table = opened(example()).tables[0]
    assert [[cell.text for cell in row.cells] for row in table.rows] == [["墨", "水"], ["焦", "a | b"]]


def test_pictures_have_alt_text_and_credit() -> None:
    made = opened(example())
    alts = [shape._inline.docPr.get("descr") for shape in made.inline_shapes]
    assert alts[0] == "题图" and alts[1].startswith('替代 "><script>')
    credits = [text for style, text in lines(example()) if style == "Credit"]
    assert "CC BY 4.0 · Openverse" in credits[0] and credits[1] == "陈一"
    targets = {one.target_ref for one in made.part.rels.values() if one.is_external}
    assert targets == {
        "https://example.org/p?a=1&b='2'",
        "https://creativecommons.org/licenses/by/4.0/",
        "https://example.org/a?x=1&y=%222%22",
    }


def test_no_picture_is_larger_than_the_page() -> None:
    article = edits.begun(pieces("一。"), "zh")
    for number, size in enumerate(((4000, 10), (10, 4000), (3000, 3000), (20, 20))):
        article = edits.add_picture(article, 1, "", [candidate(number, size=size)], by="model")
    files = {one.shown.sha256: one.shown for one in article.pictures if one.shown}
    from tests.demos.writing.articles import picture_file

    contents = {one.sha256: picture_file(number, size=(one.width, one.height)) for number, one in enumerate(files.values())}
    made = docx.Document(io.BytesIO(word(document(article, contents.get))))
    sizes = [(shape.width.cm, shape.height.cm) for shape in made.inline_shapes]
    assert len(sizes) == 4 and all(0 < width <= 16 and 0 < height <= 11 for width, height in sizes)
    assert abs(sizes[3][0] - 20 / 96 * 2.54) < 0.01


def test_lists_count_on_their_own() -> None:
    made = opened(edits.begun(pieces("一。\n1. a\n2. b\n\n二。\n5. c\n6. d"), "zh"))
    numbers = [line._p.pPr.numPr.numId.val for line in made.paragraphs if line.style.name == "List Number"]
    assert numbers[0] == numbers[1] != numbers[2] == numbers[3]
    numbering = made.part.numbering_part.element
    assert [numbering.num_having_numId(number).lvlOverride_lst[0].startOverride.val for number in (numbers[0], numbers[2])] == [1, 5]


def test_chinese_is_marked_by_dots_and_not_slanted() -> None:
    made = opened(edits.begun(pieces("磨墨要*慢*， *slow*。"), "zh"))
    runs = {run.text: run for run in made.paragraphs[0].runs}
    assert runs["慢"]._r.rPr.find(qn("w:em")).get(qn("w:val")) == "dot" and not runs["慢"].italic
    assert runs["slow"].italic


@given(articles())
@settings(max_examples=15, deadline=None)
def test_any_article_can_be_opened(article: Article) -> None:
    content = word(document(article, FILES.get))
    with zipfile.ZipFile(io.BytesIO(content)) as file:
        for name in file.namelist():
            if name.endswith((".xml", ".rels")):
                etree.fromstring(file.read(name))
    assert docx.Document(io.BytesIO(content)) is not None


@given(markdowns)
@settings(max_examples=15, deadline=None)
def test_any_markdown_can_be_opened(source: str) -> None:
    opened(edits.begun(pieces(source), "en"))


def test_the_same_article_is_the_same_file() -> None:
    assert word(document(example(), FILES.get)) == word(document(example(), FILES.get))

"""Names, kinds and what cannot be exported."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from demos.writing import edits
from demos.writing.article import Article, Section
from demos.writing.export.document import document, file_name
from demos.writing.export.formats import FORMATS, exported
from demos.writing.saved import loads
from demos.writing.sections import pieces
from shared.errors import BadRequest
from tests.demos.writing.articles import FILES, example

BEGINS = {"html": b"<!DOCTYPE html>", "zip": b"PK", "docx": b"PK", "json": b"{"}


@pytest.mark.parametrize("format", list(BEGINS))
def test_exports(format: str) -> None:
    made = exported(example(), format, FILES.get)
    assert made.content.startswith(BEGINS[format]) and made.name == f"墨与水.{format}" and made.missing == 1
    assert made.media_type == FORMATS[format]  # type: ignore[index]


def test_json_is_what_can_be_opened_again() -> None:
    assert loads(exported(example(), "json", FILES.get).content) == example()


@pytest.mark.parametrize("format", ["", "exe", "HTML", "../html"])
def test_an_unknown_format(format: str) -> None:
    with pytest.raises(BadRequest, match="There is no format"):
        exported(example(), format, FILES.get)


def test_nothing_is_no_article() -> None:
    with pytest.raises(BadRequest, match="no article yet"):
        exported(Article(), "html", FILES.get)


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("../../etc/passwd", "etc-passwd"),
        ('a"b<c>|d', "a-b-c-d"),
        ("CON", "article"),
        ("nul", "article"),
        ("…", "article"),
        ("墨 与 水", "墨-与-水"),
        ("a\tb", "a-b"),
        ("C:\\x", "C-x"),
        (".hidden", "hidden"),
        ("-rf", "rf"),
        ("x" * 300, "x" * 60),
        ("𠀀" * 80, "𠀀" * 50),
    ],
)
def test_file_names_are_safe(title: str, name: str) -> None:
    article = Article("zh", (Section(1, "title", title),), (), last_key=1)
    assert file_name(document(article, FILES.get), "html") == f"{name}.html"


@given(st.text(min_size=1))
@settings(deadline=None)
def test_any_title_makes_a_name(text: str) -> None:
    found = pieces(text)
    name = file_name(document(edits.begun(found, "en"), FILES.get), "zip")
    assert len(name.encode()) <= 255 and not set(name) & set('/\\:*?"<>|\n\0 ') and name[0] not in ".-"


def test_headings_leave_no_level_out() -> None:
    found = document(edits.begun(pieces("# T\n#### a\ntext。\n###### b\n#### c"), "en"), FILES.get).blocks
    assert [block.level for block in found if hasattr(block, "level")] == [1, 2, 3, 2]

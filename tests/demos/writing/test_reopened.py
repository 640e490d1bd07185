"""Saved articles come back from zips, whoever made the zip."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from demos.writing import edits
from demos.writing import reopened as reopening
from demos.writing.export.formats import exported
from demos.writing.reopened import reopened
from demos.writing.saved import dumps
from shared.errors import BadRequest
from tests.demos.writing.articles import FILES, candidate, example, picture_file

JSON = dumps(example()).encode()


def zipped(files: Sequence[tuple[str, bytes]]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in files:
            file.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    return made.getvalue()


def test_an_export_comes_back() -> None:
    found = reopened(exported(example(), "zip", FILES.get).content)
    assert found.article == example()
    assert found.pictures == {candidate(1).sha256: picture_file(1), candidate(2, format="PNG").sha256: picture_file(2, "PNG")}


def test_json_alone_comes_back() -> None:
    found = reopened(JSON)
    assert found.article == example() and not found.pictures


def test_only_pictures_of_the_article_come_out() -> None:
    """By their content, whatever they are called; names that lead elsewhere are not looked at."""
    strange = [
        ("../picture-01.jpg", picture_file(1)),
        ("pictures/picture-01.jpg", b"not asked for"),
        ("pictures/../picture-02.jpg", picture_file(3)),
        ("pictures/picture-03.png", picture_file(1)),
    ]
    assert reopened(zipped([("article.json", JSON), *strange])).pictures == {candidate(1).sha256: picture_file(1)}


def test_a_bomb_is_not_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reopening, "MOST_FILE", 1 << 20)
    bomb = zipped([("article.json", JSON), ("pictures/picture-01.jpg", bytes(8 << 20))])
    assert len(bomb) < 1 << 20
    with pytest.raises(BadRequest, match="more than 1 MiB"):
        reopened(bomb)
    monkeypatch.setattr(reopening, "MOST_FILES", 3 << 20)
    many = zipped([("article.json", JSON), *((f"pictures/picture-{number:02d}.jpg", bytes(900_000)) for number in range(9))])
    with pytest.raises(BadRequest, match="more than 0 MiB"):
        reopened(many)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PK",
        b"PK\x03\x04" + bytes(40),
        zipped([]),
        zipped([("article.json", b"{}")]),
        zipped([("a/article.json", JSON)]),
        b"\xff" * 99,
    ],
)
def test_what_is_no_saved_article(content: bytes) -> None:
    with pytest.raises(BadRequest, match="no saved article"):
        reopened(content)


@given(st.integers(0, 4000), st.binary(min_size=1, max_size=8))
@settings(deadline=None)
def test_a_damaged_zip_comes_back_whole_or_not_at_all(at: int, put: bytes) -> None:
    content = bytearray(exported(example(), "zip", FILES.get).content)
    content[at : at + len(put)] = put
    try:
        found = reopened(bytes(content))
    except BadRequest:
        return
    assert found.article == example()  # its checksum held


def test_pictures_get_the_names_that_they_have_now() -> None:
    first, gone = example().pictures[0], example().pictures[2]
    made = edits.with_files(example(), {candidate(1).sha256: ("1" * 64, 32, 18), candidate(3).sha256: ("3" * 64, 64, 36)})
    shown = made.pictures[0].shown
    assert shown is not None and first.shown is not None
    assert (shown.sha256, shown.width, shown.height, shown.credit) == ("1" * 64, 32, 18, first.shown.credit)
    assert len(made.pictures[0].candidates) == 2 and made.pictures[0].by == "model"
    assert made.pictures[2].shown is None and made.pictures[2].caption == gone.caption and made.pictures[2].by == ""
    twins = edits.with_files(example(), {candidate(number).sha256: ("1" * 64, 32, 18) for number in (1, 3)})
    assert len(twins.pictures[0].candidates) == 1 and twins.pictures[0].chosen == 0

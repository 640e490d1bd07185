"""Saved articles come back from zips, whoever made the zip."""

from __future__ import annotations

import hashlib
import io
import random
import struct
import zipfile
import zlib
from collections.abc import Sequence

import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from demos.writing import edits
from demos.writing import reopened as reopening
from demos.writing.article import Article, Candidate, Section
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


def with_pictures(*files: bytes) -> bytes:
    """A zip of an article that has these for the candidates of one place."""
    found = [Candidate(hashlib.sha256(content).hexdigest(), 4, 3) for content in files]
    article = edits.add_picture(Article("zh", (Section(1, "paragraph", "文"),), last_key=1), 1, "图", found, by="visitor")
    named = [(f"pictures/picture-{number:02d}.png", content) for number, content in enumerate(files, 1)]
    return zipped([("article.json", dumps(article).encode()), *named])


def claiming(width: int, height: int) -> bytes:
    """A PNG whose header says so, with no pixel behind it."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(13, header), (0, b"IDAT")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(struct.pack(">I", size) + chunk + struct.pack(">I", zlib.crc32(chunk)) for size, chunk in chunks)


def noise(size: tuple[int, int], format: str, **options: bool | int) -> bytes:
    file = io.BytesIO()
    PIL.Image.frombytes("RGB", size, random.Random(1).randbytes(size[0] * size[1] * 3)).save(file, format, **options)
    return file.getvalue()


STRANGE = {
    "large": claiming(4001, 4000), "very large": claiming(10_000, 9000), "a bomb": claiming(60_000, 60_000), "text": b"no picture",
    "nothing": b"", "another kind": picture_file(1, "WEBP"), "many scans": noise((64, 64), "JPEG", progressive=True),
}  # fmt: skip


@pytest.mark.parametrize("picture", STRANGE.values(), ids=STRANGE)
def test_a_picture_that_this_program_does_not_write_is_not_opened(picture: bytes) -> None:
    with pytest.raises(BadRequest, match=r"picture-02.png in the zip is no picture that this program wrote"):
        reopened(with_pictures(picture_file(2, "PNG"), picture))


def test_what_this_program_writes_is_opened_whatever_is_on_it() -> None:
    files = [noise((700, 700), "PNG"), noise((700, 700), "JPEG", quality=95, subsampling=0), picture_file(1)]
    assert files[0].count(b"\xff\xda") > reopening.MOST_SCANS
    assert list(reopened(with_pictures(*files)).pictures.values()) == files


def test_pictures_have_an_end_in_all() -> None:
    large = [claiming(4000, 4000 - number) for number in range(26)]
    assert len(reopened(with_pictures(*large[:25])).pictures) == 25
    with pytest.raises(BadRequest, match="more than 400,000,000 pixels"):
        reopened(with_pictures(*large))

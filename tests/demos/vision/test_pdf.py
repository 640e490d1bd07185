"""PDF files as pictures: real pages, locked and broken files, and ones that attack the reader."""

from __future__ import annotations

import io
from pathlib import Path

import PIL.Image
import pypdf
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from demos.pictures.images import Pictures
from demos.pictures.intake import Limits
from demos.vision import pdf
from shared.engine import Cancel, Cancelled
from shared.errors import BadRequest
from tests.demos.agent.tools import pdf_files
from tests.demos.pictures.samples import opened


@pytest.fixture
def pictures(tmp_path: Path) -> Pictures:
    return Pictures(tmp_path / "mine")


def filled(count: int, size: tuple[float, float] = (200, 100)) -> bytes:
    """Pages whose left part is black, wider from page to page."""
    writer = pypdf.PdfWriter()
    for number in range(1, count + 1):
        page = writer.add_blank_page(*size)
        content = pypdf.generic.StreamObject()
        content.set_data(f"0 g 0 0 {size[0] * number / (count + 1)} {size[1]} re f".encode())
        page[pypdf.generic.NameObject("/Contents")] = writer._add_object(content)
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


def black(picture: PIL.Image.Image) -> float:
    return picture.convert("L").histogram()[0] / (picture.width * picture.height)


def test_pages_are_counted_and_drawn_in_the_order_asked_for(pictures: Pictures) -> None:
    file = pdf.added(pictures, filled(3), "notes.pdf")
    assert (file.count, file.name, list(file.pages)) == (3, "notes.pdf", [1, 2, 3])
    drawn = dict(pdf.drawn(file, [3, 1], side=400))
    assert list(drawn) == [3, 1] and {picture.size for picture in drawn.values()} == {(400, 200)}
    assert black(drawn[1]) == pytest.approx(0.25, abs=0.02) and black(drawn[3]) == pytest.approx(0.75, abs=0.02)


def test_chosen_pages_are_pictures_of_the_conversation(pictures: Pictures) -> None:
    file = pdf.added(pictures, pdf_files.texts("one", "two"), "notes.pdf")
    chosen = list(pdf.chosen(pictures, file, [2]))
    assert [one.name for one in chosen] == ["notes.pdf #2"]
    assert (chosen[0].image.width, chosen[0].image.height) == (1546, pdf.SIDE)
    assert pictures.find(chosen[0].image.sha256) == chosen[0].image


def test_a_file_that_was_put_away_is_told_as_that(pictures: Pictures) -> None:
    file = pdf.added(pictures, filled(2), "notes.pdf")
    pictures.drop(file.path)
    with pytest.raises(BadRequest, match=r"“notes\.pdf” was put away"):
        list(pdf.drawn(file, [1]))


def test_thumbnails_come_one_by_one(pictures: Pictures) -> None:
    file = pdf.added(pictures, filled(30))
    coming = pdf.thumbnails(file, [2, 5])
    number, content = next(coming)
    assert number == 2 and opened(content).size == (200, 100)
    assert [number for number, _ in coming] == [5]


@pytest.mark.parametrize(
    ("content", "cause"),
    [(pdf_files.locked("x"), "protected by a password"), (b"%PDF-1.4 nothing", "broken, or no PDF"), (b"", "broken, or no PDF"),
     (pdf_files.texts("a")[:200], "broken, or no PDF"), (pdf_files.made([]), "broken, or no PDF")],
)  # fmt: skip
def test_what_cannot_be_opened_says_why_and_is_not_kept(pictures: Pictures, tmp_path: Path, content: bytes, cause: str) -> None:
    with pytest.raises(BadRequest, match=cause) as raised:
        pdf.added(pictures, content, "secret.pdf")
    assert "“secret.pdf”" in raised.value.cause and raised.value.remedy
    assert list((tmp_path / "mine").iterdir()) == []


def test_a_lock_that_asks_for_no_password_is_none(pictures: Pictures) -> None:
    assert pdf.added(pictures, pdf_files.locked("")).count == 1


def test_pages_that_are_not_there_or_too_many(pictures: Pictures) -> None:
    file = pdf.added(pictures, filled(30), "long.pdf")
    for wrong in (0, 31, -1):
        with pytest.raises(BadRequest, match=f"no page {wrong} to choose"):
            list(pdf.drawn(file, [1, wrong]))
    with pytest.raises(BadRequest, match="24 are drawn at once"):
        list(pdf.drawn(file, range(1, 26)))
    with pytest.raises(BadRequest, match="a message takes 20"):
        next(pdf.chosen(pictures, file, range(1, 22)))


def test_no_more_than_a_thousand_pages_are_offered() -> None:
    assert len(pdf.Pdf(Path("x"), "", 10**6).pages) == pdf.MOST_PAGES


@pytest.mark.parametrize("size", [(1.0, 14400.0), (14400.0, 14400.0), (0.1, 0.1), (3.0, 200.0)])
def test_every_size_of_page_fits(pictures: Pictures, size: tuple[float, float]) -> None:
    ((_, picture),) = pdf.drawn(pdf.added(pictures, filled(1, size)), [1], side=300)
    assert min(picture.size) >= 1 and max(picture.size) <= 301


def test_a_file_that_unpacks_to_400_mb_costs_us_nothing(pictures: Pictures) -> None:
    """Drawn or given up: what matters is that the first page came, and that this process did not pay."""
    file = pdf.added(pictures, pdf_files.bomb())
    coming = pdf.drawn(file, [1, 2], side=100)
    assert next(coming)[0] == 1
    try:
        assert next(coming)[0] == 2
    except BadRequest as error:
        assert "Page 2" in error.cause
    coming.close()


def test_a_child_without_memory_is_a_page_that_cannot_be_drawn(pictures: Pictures, monkeypatch: pytest.MonkeyPatch) -> None:
    file = pdf.added(pictures, pdf_files.bomb())
    monkeypatch.setattr(pdf, "MEMORY", 300 << 20)
    with pytest.raises(BadRequest, match="Page 2 of The file cannot be drawn"):
        list(pdf.drawn(file, [2]))


def test_a_child_without_time_is_one_that_cannot_be_opened(pictures: Pictures, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pdf, "SECONDS", 0)
    with pytest.raises(BadRequest, match="too much time or memory"):
        pdf.added(pictures, filled(1))


def test_stop_ends_it(pictures: Pictures) -> None:
    cancel = Cancel()
    file = pdf.added(pictures, filled(2))
    cancel.set()
    with pytest.raises(Cancelled):
        list(pdf.drawn(file, [1], cancel=cancel))
    with pytest.raises(Cancelled):
        pdf.added(pictures, filled(3), cancel=cancel)


def test_files_count_against_the_conversation(tmp_path: Path) -> None:
    few = Pictures(tmp_path / "few", Limits(file=3000, total=3000))
    few.hold(bytes(2000))
    assert few.hold(bytes(2000)) and len(list((tmp_path / "few").iterdir())) == 1
    with pytest.raises(BadRequest, match="would take more"):
        few.hold(bytes(1500))
    with pytest.raises(BadRequest, match="are taken"):
        few.hold(bytes(4000), "big.pdf")


# ---- a child that was taken over -------------------------------------------------------------------------------------------


@given(st.lists(st.binary(max_size=40) | st.sampled_from([b'{"count": 2}\n', b'{"page": 1, "width": 2, "height": 1}\n', b"abcdef", b"\n"])))
@settings(deadline=None)
def test_whatever_a_child_says_is_pages_or_refused(said: list[bytes]) -> None:
    try:
        for number, picture in pdf._said(io.BytesIO(b"".join(said)), "x", 50):
            assert isinstance(number, int) and (picture is None or max(picture.size) <= 51)
    except BadRequest as error:
        assert error.remedy


@pytest.mark.parametrize(
    "line",
    [b'{"page": 1, "width": 99999, "height": 99999}', b'{"page": 1, "width": -1, "height": 2}', b'{"page": 1, "width": true, "height": 1}'],
)
def test_no_more_pixels_than_were_asked_for(line: bytes) -> None:
    assert list(pdf._said(io.BytesIO(b'{"count": 1}\n' + line + b"\n"), "x", 50)) == [(1, None), (1, None)]


def test_by_first_bytes() -> None:
    assert pdf.is_pdf(b"\xef\xbb\xbf%PDF-1.7") and not pdf.is_pdf(b"x" * 2000 + b"%PDF-")

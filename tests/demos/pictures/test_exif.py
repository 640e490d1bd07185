"""What is kept of a camera's words: how a picture was taken, cleaned; nothing else, whatever the file claims."""

from __future__ import annotations

import io

import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL.TiffImagePlugin import IFDRational

from demos.pictures import exif
from models.facts.picture import facts_of

DETAILS, GPS = 0x8769, 0x8825
KNOWN = {*exif._MAIN_TEXTS, DETAILS}


def file_of(block: PIL.Image.Exif | bytes) -> bytes:
    file = io.BytesIO()
    PIL.Image.new("RGB", (8, 6), "teal").save(file, "JPEG", exif=block)
    return file.getvalue()


def opened(content: bytes) -> PIL.Image.Image:
    return PIL.Image.open(io.BytesIO(content))


def test_how_it_was_taken_is_what_the_report_tells() -> None:
    block = PIL.Image.Exif()
    block[0x010F], block[0x0110], block[0x0131], block[0x013B] = "Fuji", "X-T5", "1.02", "Jane Doe"
    block.get_ifd(DETAILS).update({
        0x9003: "2025:06:01 10:20:30", 0x829A: IFDRational(1, 250), 0x829D: IFDRational(28, 10), 0x8827: 400, 0x920A: IFDRational(35, 1),
        0xA434: "XF35mm", 0xA431: "SERIAL-77", 0x9286: b"a comment",
    })  # fmt: skip
    block.get_ifd(GPS).update({1: "N", 2: (51.0, 30.0, 0.0)})
    made, place = exif.kept(opened(file_of(block)))
    told = facts_of(opened(file_of(made)), 1)
    assert place and not told.gps and told.turned == 1
    assert dict(told.exif or ()) == {
        "camera": "Fuji X-T5", "lens": "XF35mm", "taken": "2025:06:01 10:20:30", "exposure": "1/250 s", "aperture": "f/2.8", "iso": "400",
        "focal": "35 mm", "software": "1.02",
    }  # fmt: skip
    for secret in (b"Jane", b"SERIAL", b"comment"):
        assert secret not in made


def test_nothing_to_keep_is_nothing() -> None:
    assert exif.kept(PIL.Image.new("RGB", (4, 4))) == (b"", False)


values = st.one_of(st.text(max_size=200), st.binary(max_size=50), st.integers(0, 60_000), st.floats(0, 1e6).map(IFDRational))


@given(st.dictionaries(st.sampled_from([0x010F, 0x0110, 0x0112, 0x0131, 0x013B, 0x8298]), values),
       st.dictionaries(st.sampled_from([0x829A, 0x829D, 0x8827, 0x9003, 0x920A, 0xA434, 0xA431]), values))  # fmt: skip
@settings(deadline=None, max_examples=60)
def test_whatever_a_file_claims_only_known_values_are_kept(main: dict[int, object], details: dict[int, object]) -> None:
    picture = PIL.Image.new("RGB", (8, 6))
    block = picture.getexif()
    block.update(main)
    block.get_ifd(DETAILS).update(details)
    made, place = exif.kept(picture)
    assert not place
    if made:
        again = opened(file_of(made)).getexif()
        assert set(again) <= KNOWN and len(made) < 2000
        assert all(len(text) <= exif.LONGEST and str(text).isprintable() for tag, text in again.items() if tag in exif._MAIN_TEXTS)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data:UserWarning")  # Pillow's word on it
def test_a_block_that_breaks_off_says_nothing() -> None:
    content = bytearray(file_of(b"Exif\0\0MM\0*\0\0\0\x08\0\x05\x01\x0f\0\x02\0\0\xff\xff"))
    assert exif.kept(opened(bytes(content)))[0] == b""

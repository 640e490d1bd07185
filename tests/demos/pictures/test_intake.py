"""What comes in becomes RGB, upright and alone; everything else is refused with a cause and what to do."""

from __future__ import annotations

import dataclasses
import tracemalloc
from typing import get_args

import PIL.Image
import PIL.ImageCms
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL.PngImagePlugin import PngInfo

from demos.pictures import intake
from demos.pictures.intake import Limits, clean
from demos.strings import texts
from shared.errors import BadRequest
from tests.demos.pictures import samples as pictures
from tests.demos.pictures.samples import BLUE, GREEN, RED, WHITE, animated, corners, deep_png, near, opened, saved

SECRET = b"51 degrees north"
pairs = st.sampled_from([(format, mode) for format, modes in pictures.SAVED_AS.items() for mode in modes])
sides = st.integers(1, 70)


@given(pairs, sides, sides, st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=150)
def test_every_mode_of_every_format_becomes_rgb(pair: tuple[str, str], width: int, height: int, seed: int) -> None:
    format, mode = pair
    noise = PIL.Image.effect_noise((width, height), 60 + seed % 60)
    picture = noise.convert("RGB").convert(mode) if mode not in ("I;16", "I", "F") else noise.convert("I").convert(mode)
    content = saved(picture, format)
    made = clean(content)
    seen = opened(made.content)
    assert (seen.mode, seen.size, seen.format) == ("RGB", (width, height), {".png": "PNG", ".jpg": "JPEG"}[made.suffix])
    assert (made.width, made.height) == (width, height)
    assert made == clean(content)
    assert clean(made.content).notes == ()


@given(pairs, st.integers(0, 400), st.binary(max_size=4))
@settings(deadline=None, max_examples=150)
@pytest.mark.filterwarnings("ignore")  # Pillow tells what it thinks of such files
def test_a_damaged_file_is_taken_or_refused(pair: tuple[str, str], at: int, damage: bytes) -> None:
    format, mode = pair
    whole = saved(corners().convert("RGB").convert(mode) if mode not in ("I;16", "I", "F") else PIL.Image.new(mode, (9, 9)), format)
    taken_or_refused(whole[: at % len(whole)])
    taken_or_refused(whole[:at] + damage + whole[at + len(damage) :])


@given(st.binary(max_size=300))
@settings(deadline=None)
@pytest.mark.filterwarnings("ignore")
def test_anything_is_taken_or_refused(content: bytes) -> None:
    taken_or_refused(content)
    taken_or_refused(b"GIF89a" + content)
    taken_or_refused(b"II*\0\x08\0\0\0" + content)


def taken_or_refused(content: bytes) -> None:
    try:
        made = clean(content, "x.png")
    except BadRequest as error:
        assert error.cause and error.remedy
    else:
        assert opened(made.content).size == (made.width, made.height)


# ---- what is kept of a picture ---------------------------------------------------------------------------------------------


def test_colours_survive() -> None:
    for format in ("PNG", "JPEG", "WEBP", "AVIF", "BMP", "TIFF", "GIF"):
        seen = opened(clean(saved(corners(), format)).content)
        assert near(seen, (5, 5), RED, 40) and near(seen, (35, 5), GREEN, 40), format
        assert near(seen, (5, 25), BLUE, 40) and near(seen, (35, 25), WHITE, 40), format


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_turned_upright_and_its_tags_are_left_behind(orientation: int) -> None:
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    exif[0x010F], exif[0x9286], exif[0xA431] = "Hasselblad", SECRET.decode(), SECRET.decode()  # maker, comment, serial number
    exif.get_ifd(0x8825).update({1: "N", 2: (51.0, 30.0, 0.0), 29: SECRET.decode()})
    unturned = {1: None, 2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}[orientation]  # the opposite of what the tag asks for
    upside = corners() if unturned is None else corners().transpose(PIL.Image.Transpose(unturned))
    content = saved(upside, "JPEG", exif=exif, comment=SECRET, quality=95)
    made = clean(content)
    seen = opened(made.content)
    assert SECRET in content and SECRET not in made.content
    assert made.notes == (("place",) if orientation == 1 else ("turned", "place"))
    assert seen.size == (made.width, made.height) == (40, 30)
    assert near(seen, (4, 4), RED, 40) and near(seen, (35, 4), GREEN, 40) and near(seen, (4, 26), BLUE, 40)
    assert dict(seen.getexif()) == {0x010F: "Hasselblad"} and not seen.getexif().get_ifd(0x8825)


def test_texts_and_profiles_of_a_png_are_left_behind() -> None:
    info = PngInfo()
    info.add_text("Author", SECRET.decode())
    profile = PIL.ImageCms.ImageCmsProfile(PIL.ImageCms.createProfile("sRGB")).tobytes()
    content = saved(corners(), "PNG", pnginfo=info, icc_profile=profile)
    made = clean(content)
    assert SECRET in content and SECRET not in made.content and not opened(made.content).info


def test_what_is_clear_is_white() -> None:
    picture = PIL.Image.new("RGBA", (2, 1), (255, 0, 0, 0))
    picture.putpixel((1, 0), (255, 0, 0, 255))
    seen = opened(clean(saved(picture, "PNG")).content)
    assert seen.getpixel((0, 0)) == WHITE and seen.getpixel((1, 0)) == RED


def test_a_palette_with_a_clear_colour_is_white_there() -> None:
    picture = PIL.Image.new("P", (2, 1))
    picture.putpalette([255, 0, 0, 0, 0, 255])
    picture.putpixel((1, 0), 1)
    seen = opened(clean(saved(picture, "GIF", transparency=0)).content)
    assert seen.getpixel((0, 0)) == WHITE and seen.getpixel((1, 0)) == BLUE


@pytest.mark.parametrize(("channels", "values"), [(1, [0, 32768, 65535]), (3, [0] * 3 + [32768] * 3 + [65535] * 3)])
def test_16_bit_keeps_its_shades(channels: int, values: list[int]) -> None:
    seen = opened(clean(deep_png(values, channels)).content)
    assert [seen.getpixel((at, 0)) for at in range(3)] == [(shade,) * 3 for shade in (0, seen.getpixel((1, 0))[0], 255)]  # type: ignore[index]
    assert near(seen, (1, 0), (128, 128, 128), 1)


def test_measurements_are_stretched_and_that_is_said() -> None:
    picture = PIL.Image.new("F", (3, 1))
    for at, value in enumerate((-2.5, 0.0, 2.5)):
        picture.putpixel((at, 0), value)
    made = clean(saved(picture, "TIFF"))
    assert made.notes == ("stretched",)
    assert [opened(made.content).getpixel((at, 0))[0] for at in range(3)] == [0, 127, 255]  # type: ignore[index]


def test_values_that_are_no_numbers_are_refused() -> None:
    picture = PIL.Image.new("F", (1, 1), float("nan"))
    with pytest.raises(BadRequest, match="broken"):
        clean(saved(picture, "TIFF"))


def test_cmyk_becomes_rgb() -> None:
    for format in ("JPEG", "TIFF"):
        seen = opened(clean(saved(PIL.Image.new("CMYK", (8, 8), (0, 255, 255, 0)), format)).content)
        assert near(seen, (4, 4), RED)


def test_colours_go_by_the_profile() -> None:
    linear = PIL.ImageCms.createProfile("LAB")  # a profile of another kind is as good as none
    other = PIL.ImageCms.ImageCmsProfile(linear).tobytes()
    assert near(opened(clean(saved(PIL.Image.new("RGB", (4, 4), RED), "PNG", icc_profile=other)).content), (0, 0), RED)
    assert near(opened(clean(saved(PIL.Image.new("RGB", (4, 4), RED), "PNG", icc_profile=b"junk" * 99)).content), (0, 0), RED)
    swapped = saved(PIL.Image.new("RGB", (4, 4), (200, 40, 40)), "PNG", icc_profile=_without_red())
    assert opened(clean(swapped).content).getpixel((0, 0)) != (200, 40, 40)


def _without_red() -> bytes:
    """sRGB's profile with the red and the blue primary exchanged."""
    profile = bytearray(PIL.ImageCms.ImageCmsProfile(PIL.ImageCms.createProfile("sRGB")).tobytes())
    red, blue = profile.index(b"rXYZ", 128), profile.index(b"bXYZ", 128)
    profile[red : red + 4], profile[blue : blue + 4] = b"bXYZ", b"rXYZ"
    return bytes(profile)


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG", "AVIF"])
def test_an_animation_gives_its_first_frame_and_says_so(format: str) -> None:
    made = clean(animated(format))
    assert made.notes == ("first_frame",) and near(opened(made.content), (5, 5), RED, 40)


def test_a_file_of_several_pages_gives_its_first() -> None:
    content = saved(PIL.Image.new("RGB", (4, 4), RED), "TIFF", save_all=True, append_images=[PIL.Image.new("RGB", (4, 4), BLUE)])
    assert clean(content).notes == ("first_page",)


def test_only_the_first_page_is_read() -> None:
    """A file may have a million of them, each a few bytes: where the second one lies does not matter."""
    content = saved(PIL.Image.new("RGB", (4, 4), RED), "TIFF")
    begin = int.from_bytes(content[4:8], "little")
    end = begin + 2 + 12 * int.from_bytes(content[begin : begin + 2], "little")
    made = clean(content[:end] + (2**31).to_bytes(4, "little") + content[end + 4 :])
    assert made.notes == ("first_page",) and near(opened(made.content), (0, 0), RED)


def test_a_photograph_that_comes_step_by_step_is_one() -> None:
    """Also with a film behind it, as phones write them, in which anything may stand."""
    content = saved(corners((64, 48)), "JPEG", progressive=True, quality=90)
    made = clean(content + b"\xff\xda\x00\x02" * 500)
    assert (made.width, made.height) == (64, 48) and near(opened(made.content), (5, 5), RED, 40)
    assert clean(pictures.many_scans(50)).width == 16


@pytest.mark.parametrize(
    ("format", "mode"), [("PNG", "P"), ("PNG", "RGBA"), ("PNG", "1"), ("PNG", "I;16"), ("JPEG", "RGB"), ("TIFF", "CMYK")]
)
def test_more_pixels_than_any_model_looks_at_are_made_fewer(format: str, mode: str) -> None:
    picture = PIL.Image.new("I;16", (400, 100)) if mode == "I;16" else corners((400, 100)).convert(mode)
    made = clean(saved(picture, format), limits=Limits(kept=10_000))
    assert made.notes == ("shrunk",) and 9_000 < made.width * made.height <= 10_000
    assert abs(made.width / made.height - 4) < 0.2


def test_photographs_stay_jpeg_and_drawings_png(monkeypatch: pytest.MonkeyPatch) -> None:
    assert clean(saved(corners(), "JPEG")).suffix == clean(saved(corners(), "WEBP")).suffix == ".jpg"
    assert clean(saved(corners(), "GIF")).suffix == clean(saved(corners(), "WEBP", lossless=True)).suffix == ".png"
    monkeypatch.setattr(intake, "MOST_PNG", 10)
    assert clean(saved(corners(), "PNG")).suffix == ".jpg"


# ---- what is refused -------------------------------------------------------------------------------------------------------

REFUSED: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "empty"),
    "text": (b"hello there, this is no picture", "no picture"),
    "svg": (b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"><script/></svg>', "SVG"),
    "html": (b"<!DOCTYPE html><html>", "web page"),
    "pdf": (b"%PDF-1.7\n", "PDF"),
    "heic": (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(40), "HEIC"),
    "film": (b"\0\0\0\x18ftypisom\0\0\0\0isomavc1" + bytes(40), "film"),
    "sound": (b"RIFF\x24\0\0\0WAVEfmt " + bytes(40), "film or a sound"),
    "bomb": (pictures.bomb(), "30,000 x 30,000|50 million"),
    "wide": (pictures.bomb(8_000), "8,000 x 8,000"),
    "torn": (saved(corners((400, 300)).effect_spread(9), "PNG")[:-900], "broken"),
    "header": (saved(corners(), "PNG")[:20], "broken"),
    "scans": (pictures.many_scans(200), "hours"),
    "icon": (saved(corners(), "ICO"), "no picture that can be read"),
    "postscript": (saved(corners(), "EPS"), "no picture that can be read"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_picture_is_refused_by_name(name: str) -> None:
    content, cause = REFUSED[name]
    with pytest.raises(BadRequest, match=cause) as raised:
        clean(content, f"/home/me/{name}.png")
    assert f"“{name}.png”" in raised.value.cause and "/home" not in raised.value.cause and raised.value.remedy


def test_the_name_decides_nothing() -> None:
    assert clean(saved(corners(), "PNG"), "picture.svg") == clean(saved(corners(), "PNG"), "a.pdf")


def test_a_bomb_costs_no_memory() -> None:
    content = pictures.bomb()
    tracemalloc.start()
    with pytest.raises(BadRequest):
        clean(content)
    assert tracemalloc.get_traced_memory()[1] < 5_000_000
    tracemalloc.stop()


def test_a_file_that_is_too_large_is_not_opened() -> None:
    with pytest.raises(BadRequest, match="at most 1 are taken"):
        clean(bytes(2 << 20), limits=dataclasses.replace(Limits(), file=1 << 20))


@pytest.mark.parametrize(
    ("name", "called"),
    [
        ("", "The file"),
        ("C:\\x\\cat.png", "“cat.png”"),
        ("a\n\x1b[31mb.png", "“a[31mb.png”"),
        ("x" * 99 + ".png", "“" + "x" * 48 + "…xxxxxxx.png”"),
    ],
)
def test_names_are_shown_short_and_harmless(name: str, called: str) -> None:
    assert intake.calling(name) == called


def test_every_note_has_its_words() -> None:
    assert all(f"vision.note_{note}" in texts() for note in get_args(intake.Note))


@pytest.mark.parametrize("pair", [("PNG", "RGBA"), ("PNG", "I;16"), ("TIFF", "CMYK"), ("TIFF", "F"), ("GIF", "P"), ("PNG", "1")])
def test_a_picture_converted_in_strips_is_the_same(pair: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    format, mode = pair
    noise = PIL.Image.effect_noise((70, 50), 90)
    content = saved(noise.convert("RGB").convert(mode) if mode not in ("I;16", "F") else noise.convert("I").convert(mode), format)
    whole = clean(content)
    for pixels in (1, 70 * 7, 70 * 49):
        monkeypatch.setattr(intake, "STRIP", pixels)
        assert clean(content) == whole

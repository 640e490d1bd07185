"""From files as people have them to what is sent: the same pixels, the right way up, and nothing beside them."""

from __future__ import annotations

import base64
import hashlib
import random
from io import BytesIO
from pathlib import Path
from typing import Any

import PIL.Image
import PIL.PngImagePlugin
import pytest

from models.openai.picture_data import MAX_IMAGE_BYTES, as_sent, data_url, shortened
from shared.errors import BadRequest
from shared.messages import Image


def image_of(path: Path) -> Image:
    return Image(str(path), hashlib.sha256(path.read_bytes()).hexdigest(), 1, 1)


def saved(path: Path, picture: PIL.Image.Image, **how: Any) -> Image:
    picture.save(path, **how)
    return image_of(path)


def two_halves(mode: str = "RGB") -> PIL.Image.Image:
    """Red on the left, blue on the right."""
    picture = PIL.Image.new("RGB", (40, 20), "red")
    picture.paste("blue", (20, 0, 40, 20))
    return picture.convert(mode)


def sent(image: Image) -> PIL.Image.Image:
    content, media = as_sent(image)
    picture = PIL.Image.open(BytesIO(content))
    picture.load()
    assert PIL.Image.MIME[picture.format or ""] == media
    return picture


def left_and_right(picture: PIL.Image.Image) -> list[str]:
    """Of each half what is strongest in it."""
    pixels = [picture.convert("RGB").getpixel((x, picture.height // 2)) for x in (5, picture.width - 5)]
    assert all(isinstance(pixel, tuple) for pixel in pixels)
    return ["RGB"[max(range(3), key=lambda band: pixel[band])] for pixel in pixels if isinstance(pixel, tuple)]


@pytest.mark.parametrize("how", [{}, {"progressive": True}, {"optimize": True}, {"quality": 30, "restart_marker_rows": 1}])
def test_a_clean_jpeg_goes_as_it_is(tmp_path: Path, how: dict[str, Any]) -> None:
    image = saved(tmp_path / "a.jpg", two_halves(), **how)
    assert as_sent(image) == (Path(image.path).read_bytes(), "image/jpeg")


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_clean_png_goes_as_it_is(tmp_path: Path, mode: str) -> None:
    image = saved(tmp_path / "a.png", two_halves(mode), dpi=(72, 72))
    assert as_sent(image) == (Path(image.path).read_bytes(), "image/png")


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
def test_where_it_was_taken_stays_here(tmp_path: Path, suffix: str) -> None:
    exif = PIL.Image.Exif()
    exif[0x010E] = "at home"
    exif.get_ifd(0x8825)[1] = "N"
    picture = sent(saved(tmp_path / f"a.{suffix}", two_halves(), exif=exif, quality=95))
    assert not picture.getexif() and b"at home" not in as_sent(image_of(tmp_path / f"a.{suffix}"))[0]
    assert left_and_right(picture) == ["R", "B"]


def test_comments_and_what_hangs_behind_the_end_stay_here_too(tmp_path: Path) -> None:
    text = PIL.PngImagePlugin.PngInfo()
    text.add_text("Author", "somebody")
    saved(tmp_path / "a.png", two_halves(), pnginfo=text)
    saved(tmp_path / "a.jpg", two_halves(), comment=b"somebody")
    for name, save in (("b.png", {}), ("b.jpg", {})):
        saved(tmp_path / name, two_halves(), **save)
        (tmp_path / name).write_bytes((tmp_path / name).read_bytes() + b"somebody\xff\xd9")
    for name in ("a.png", "a.jpg", "b.png", "b.jpg"):
        assert b"somebody" in (tmp_path / name).read_bytes()
        content, _ = as_sent(image_of(tmp_path / name))
        assert b"somebody" not in content and left_and_right(PIL.Image.open(BytesIO(content))) == ["R", "B"]


@pytest.mark.parametrize(("tag", "seen"), [(1, ["R", "B"]), (2, ["B", "R"]), (3, ["B", "R"])])
def test_it_is_sent_upright(tmp_path: Path, tag: int, seen: list[str]) -> None:
    exif = PIL.Image.Exif()
    exif[0x0112] = tag
    picture = sent(saved(tmp_path / "a.jpg", two_halves(), exif=exif))
    assert left_and_right(picture) == seen and 0x0112 not in picture.getexif()


@pytest.mark.parametrize(("mode", "suffix"), [
    ("RGB", "webp"), ("P", "gif"), ("RGB", "bmp"), ("RGB", "tiff"), ("P", "png"), ("CMYK", "jpg"), ("RGBA", "png"), ("RGBA", "webp"),
])  # fmt: skip
def test_what_not_every_server_reads_is_written_anew(tmp_path: Path, mode: str, suffix: str) -> None:
    picture = sent(saved(tmp_path / f"a.{suffix}", two_halves(mode)))
    assert picture.mode == "RGB" and picture.format in ("PNG", "JPEG") and picture.size == (40, 20)
    assert left_and_right(picture) == ["R", "B"]


def test_clear_is_white_and_sixteen_bit_is_not_cut_off(tmp_path: Path) -> None:
    clear = sent(saved(tmp_path / "clear.png", PIL.Image.new("RGBA", (4, 4))))
    assert clear.getpixel((0, 0)) == (255, 255, 255)
    grey = sent(saved(tmp_path / "grey.png", PIL.Image.new("I;16", (4, 4), 0x8000)))
    assert grey.getpixel((0, 0)) == (128, 128, 128)


@pytest.mark.parametrize("suffix", ["jpg", "png"])
@pytest.mark.parametrize("kept", [0.4, 0.9])
def test_one_that_breaks_off_is_refused(tmp_path: Path, suffix: str, kept: float) -> None:
    image = saved(tmp_path / f"a.{suffix}", noise((200, 200)))
    content = Path(image.path).read_bytes()
    Path(image.path).write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(BadRequest, match=rf"a\.{suffix}' is broken"):
        as_sent(image_of(tmp_path / f"a.{suffix}"))


def test_what_is_large_as_png_goes_as_jpeg(tmp_path: Path) -> None:
    image = saved(tmp_path / "large.bmp", noise((2000, 1500)))
    content, media = as_sent(image)
    assert media == "image/jpeg" and len(content) < Path(image.path).stat().st_size / 2
    assert PIL.Image.open(BytesIO(content)).size == (2000, 1500)


def test_one_that_stays_too_large_is_refused(tmp_path: Path) -> None:
    image = saved(tmp_path / "vast.png", noise((4500, 4000)), compress_level=0)
    assert Path(image.path).stat().st_size > MAX_IMAGE_BYTES
    with pytest.raises(BadRequest, match=r"'vast\.png' is larger than 20 MB"):
        data_url(image)


def noise(size: tuple[int, int]) -> PIL.Image.Image:
    return PIL.Image.frombytes("RGB", size, random.Random(0).randbytes(size[0] * size[1] * 3))


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"/etc/passwd", b"<svg xmlns='x'/>"])
def test_no_picture(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(BadRequest, match=r"a\.png"):
        data_url(image_of(tmp_path / "a.png"))


def test_gone_or_changed(tmp_path: Path) -> None:
    image = saved(tmp_path / "a.png", two_halves())
    (tmp_path / "a.png").write_bytes(b"other")
    with pytest.raises(BadRequest, match="has changed"):
        data_url(image)
    (tmp_path / "a.png").unlink()
    with pytest.raises(BadRequest, match="not there"):
        data_url(image)


def test_the_url_and_how_it_is_shown(tmp_path: Path) -> None:
    image = saved(tmp_path / "a.png", two_halves())
    url = data_url(image)
    assert url == f"data:image/png;base64,{base64.b64encode(Path(image.path).read_bytes()).decode()}"
    assert shortened(f'{{"url": "{url}"}}') == '{"url": "data:image/png;base64,…"}'

"""Pictures from code: what is kept of them, and what is refused."""

from __future__ import annotations

import io
import struct
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from demos.agent.sandbox import png


def made(mode: str = "RGB", size: tuple[int, int] = (7, 5), **options: object) -> bytes:
    target = io.BytesIO()
    Image.new(mode, size).save(target, "png", **options)
    return target.getvalue()


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def forged(width: int, height: int, packed: bytes, depth: int = 8, colour: int = 0, interlaced: int = 0) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced)
    return png.MAGIC + chunk(b"IHDR", header) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_pictures_stay_what_they_show(mode: str) -> None:
    data, width, height = png.checked(made(mode))
    assert (width, height) == (7, 5) and Image.open(io.BytesIO(data)).tobytes() == Image.new(mode, (7, 5)).tobytes()


def test_interlaced_pictures_are_counted_right() -> None:
    lines = sum(height * (1 + width) for width, height in ((1, 1), (1, 1), (2, 1), (2, 2), (4, 2), (3, 4), (7, 3)))  # 7 x 7 in seven passes
    for extra, fits in ((0, True), (1, False)):
        data = forged(7, 7, zlib.compress(bytes(lines + extra)), interlaced=1)
        if fits:
            assert Image.open(io.BytesIO(png.checked(data)[0])).tobytes() == bytes(49)
        else:
            with pytest.raises(ValueError, match="more than its pixels"):
                png.checked(data)


def test_texts_animations_and_what_follows_are_dropped() -> None:
    texts = PngImagePlugin.PngInfo()
    texts.add_text("Comment", "x" * 100_000, zip=True)
    data = made(pnginfo=texts) + b"<script>alert(1)</script>"
    assert b"zTXt" in data
    kept, _, _ = png.checked(data)
    assert b"zTXt" not in kept and b"script" not in kept and Image.open(io.BytesIO(kept)).tobytes() == bytes(7 * 5 * 3)
    moving = io.BytesIO()
    Image.new("L", (3, 3)).save(moving, "png", save_all=True, append_images=[Image.new("L", (3, 3), 9)])
    assert b"acTL" in moving.getvalue() and Image.open(io.BytesIO(png.checked(moving.getvalue())[0])).n_frames == 1


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "no PNG"), (b"\x89PNG\r\n\x1a\n" + bytes(100), "broken"), (made()[:-20], "broken"), (made()[:40], "broken"),
        (forged(60_000, 60_000, b""), "too many"), (forged(30_000, 1, zlib.compress(bytes(30_001))), "too many"),
        (forged(0, 5, b""), "too many"),
        (forged(10, 10, zlib.compress(bytes(500 << 20), 1)), "more than its pixels"), (forged(10, 10, zlib.compress(b"")), "broken"),
        (forged(10, 10, b"no zlib"), "broken"), (forged(10, 10, zlib.compress(bytes(110)), colour=5), "broken"),
        (png.MAGIC + chunk(b"IHDR", bytes(4)) + chunk(b"IEND", b""), "broken"),
    ],
    ids=["empty", "zeros", "no end", "cut", "vast", "wide", "flat", "a bomb", "nothing", "noise", "no colour", "short header"],
)  # fmt: skip
def test_what_is_wrong_is_refused(data: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        png.checked(data)


@settings(database=None)
@given(st.binary(max_size=80), st.integers(8, 90))
def test_no_bytes_raise_anything_else(noise: bytes, at: int) -> None:
    data = made()
    try:
        png.checked(data[:at] + noise + data[at + len(noise) // 2 :])
    except ValueError as error:
        assert str(error)

"""Picture files made by hand: every mode and format, and ones that attack a reader."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import PIL.Image

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
SAVED_AS = {
    "PNG": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"),
    "JPEG": ("L", "RGB", "CMYK"),
    "WEBP": ("RGB", "RGBA"),
    "AVIF": ("RGB", "RGBA"),
    "GIF": ("1", "L", "P", "RGB", "RGBA"),
    "BMP": ("1", "L", "P", "RGB"),
    "TIFF": ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "I", "F"),  # Pillow does not read back its own YCbCr
}


def saved(picture: PIL.Image.Image, format: str, **options: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, format, **options)
    return file.getvalue()


def corners(size: tuple[int, int] = (40, 30)) -> PIL.Image.Image:
    """Red, green / blue, white."""
    picture = PIL.Image.new("RGB", (2, 2))
    for at, colour in enumerate((RED, GREEN, BLUE, WHITE)):
        picture.putpixel((at % 2, at // 2), colour)
    return picture.resize(size, PIL.Image.Resampling.NEAREST)


def opened(content: bytes) -> PIL.Image.Image:
    picture = PIL.Image.open(io.BytesIO(content))
    picture.load()
    return picture


def near(picture: PIL.Image.Image, place: tuple[int, int], colour: tuple[int, int, int], off: int = 12) -> bool:
    found = picture.convert("RGB").getpixel(place)
    assert isinstance(found, tuple)
    return all(abs(one - other) <= off for one, other in zip(found, colour, strict=True))


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def bomb(side: int = 30_000) -> bytes:
    """A PNG of a few hundred bytes that claims `side` x `side` pixels."""
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(bytes(1000))) + _chunk(b"IEND", b"")


def deep_png(values: list[int], channels: int = 1) -> bytes:
    """A PNG of one row with 16 bits a channel."""
    header = struct.pack(">IIBBBBB", len(values) // channels, 1, 16, {1: 0, 3: 2, 4: 6}[channels], 0, 0, 0)
    row = b"\0" + b"".join(struct.pack(">H", value) for value in values)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(row)) + _chunk(b"IEND", b"")


def many_scans(count: int, side: int = 16) -> bytes:
    """A JPEG that goes over its pixels `count` times more than it needs to: a few dozen bytes for each."""
    whole = saved(PIL.Image.new("L", (side, side), 128), "JPEG", progressive=True)
    last = whole.rindex(b"\xff\xda")
    return whole[:-2] + whole[last:-2] * count + whole[-2:]


def animated(format: str = "GIF") -> bytes:
    return saved(PIL.Image.new("RGB", (20, 10), RED), format, save_all=True, append_images=[PIL.Image.new("RGB", (20, 10), BLUE)])

"""Pictures as servers are sent them: data URLs of PNG or JPEG, upright, with nothing in them but the picture.

A file that is already so goes as it is. Others are written anew: a photograph that lies on its side, one that says where it was taken or
has a second picture behind it, and the formats that not every server reads (llama.cpp knows no WebP). Nothing is made smaller:
how large a picture may be is the server's to say, and answers that point into it count its pixels.

Knows no server and no conversation.
"""

from __future__ import annotations

import base64
import re
import struct
from io import BytesIO
from pathlib import Path

import PIL.Image

from models import picture_files
from shared.errors import BadRequest
from shared.messages import Image

MAX_IMAGE_BYTES = 20 * 1024 * 1024
MOST_PNG = 8 * 1024 * 1024  # of a picture written anew; larger ones become JPEG
_PNG, _JPEG, _JPEG_END = b"\x89PNG\r\n\x1a\n", b"\xff\xd8", b"\xff\xd9"
_PICTURE_CHUNKS = frozenset({b"IHDR", b"PLTE", b"IDAT", b"IEND", b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"sBIT", b"pHYs"})
_SCAN, _PLAIN_SEGMENTS = 0xDA, frozenset({0xE0, 0xEE, 0xDB, 0xC4, 0xDD, *range(0xC0, 0xC4)})  # JFIF, Adobe, tables, frame
_DATA = re.compile(r"data:(image/[a-z+.-]+);base64,[A-Za-z0-9+/=]+")


def data_url(image: Image) -> str:
    """Raises `BadRequest` naming a picture that is gone, not what it was, broken or too large."""
    content, media = as_sent(image)
    if len(content) > MAX_IMAGE_BYTES:
        raise BadRequest(f"The picture {Path(image.path).name!r} is larger than {MAX_IMAGE_BYTES // 2**20} MB.", "Make it smaller.")
    return f"data:{media};base64,{base64.b64encode(content).decode('ascii')}"


def shortened(text: str) -> str:
    """`text` with the bytes of its pictures left out, for people to read."""
    return _DATA.sub(r"data:\1;base64,…", text)


def as_sent(image: Image) -> tuple[bytes, str]:
    """The file and its media type."""
    picture = picture_files.open_picture(image)
    content = picture_files.read(image)
    if picture.mode in ("RGB", "L") and len(content) <= MAX_IMAGE_BYTES:
        if picture.format == "PNG" and _only_picture_chunks(content):
            return content, "image/png"
        if picture.format == "JPEG" and _only_picture_segments(content):
            return content, "image/jpeg"
    return _written(picture_files.upright(picture, image), photograph=picture.format in ("JPEG", "MPO"))


def _written(picture: PIL.Image.Image, *, photograph: bool) -> tuple[bytes, str]:
    picture.info.clear()  # Pillow writes comments and profiles of it into the file
    if not photograph:
        file = BytesIO()
        picture.save(file, "PNG")
        if file.tell() <= MOST_PNG:
            return file.getvalue(), "image/png"
    file = BytesIO()
    picture.save(file, "JPEG", quality=95)
    return file.getvalue(), "image/jpeg"


def _only_picture_chunks(content: bytes) -> bool:
    """Whether a PNG is whole and has no text, no orientation, nothing clear, no second frame and nothing behind it."""
    at, names = len(_PNG), []
    while at + 12 <= len(content):
        length, name = struct.unpack_from(">I4s", content, at)
        names.append(name)
        at += 12 + length
    return at == len(content) and names[-1:] == [b"IEND"] and _PICTURE_CHUNKS.issuperset(names)


def _only_picture_segments(content: bytes) -> bool:
    """Whether a JPEG is whole and has no EXIF, no comment and nothing behind it."""
    at = len(_JPEG)
    while at + 4 <= len(content):
        mark, kind, length = struct.unpack_from(">BBH", content, at)
        if mark != 0xFF:
            return False
        at += 2 + length
        if kind == _SCAN:
            return content.find(_JPEG_END, at) == len(content) - len(_JPEG_END)
        if kind not in _PLAIN_SEGMENTS:
            return False
    return False

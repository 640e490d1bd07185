"""A PNG that code made, checked and stripped to its picture: no text, no animation, no data beyond its pixels. Keeps nothing on disk.

Whoever shows it later decodes what is declared here and nothing more. Source: the PNG specification, third edition.
"""

from __future__ import annotations

import struct
import zlib

MAGIC = b"\x89PNG\r\n\x1a\n"
MOST_PIXELS = 4_000_000
MOST_SIDE = 20_000
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type
_KEPT = (b"IHDR", b"PLTE", b"tRNS", b"pHYs", b"IDAT", b"IEND")
_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))  # x, y, steps of both
_STEP = 1 << 20


def checked(data: bytes) -> tuple[bytes, int, int]:
    """The picture as it may be kept, its width and height in pixels. Raises ValueError with what is wrong, for people."""
    if not data.startswith(MAGIC):
        raise ValueError("it is no PNG")
    chunks = _chunks(data)
    if not chunks or chunks[0][0] != b"IHDR" or chunks[-1][0] != b"IEND" or len(chunks[0][1]) != 13:
        raise ValueError("it is a broken PNG")
    width, height, depth, colour, interlaced = struct.unpack(">IIBB2xB", chunks[0][1])
    if not 0 < width * height <= MOST_PIXELS or max(width, height) > MOST_SIDE:
        raise ValueError(f"{width} x {height} pixels are too many")
    if colour not in _CHANNELS or depth not in (1, 2, 4, 8, 16) or interlaced > 1:
        raise ValueError("it is a broken PNG")
    _check_pixels(b"".join(body for kind, body in chunks if kind == b"IDAT"), _size(width, height, depth * _CHANNELS[colour], interlaced))
    return MAGIC + b"".join(_chunk(kind, body) for kind, body in chunks if kind in _KEPT), width, height


def _chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    """Kind and body of each, up to the end of the picture; what follows that is dropped."""
    found: list[tuple[bytes, bytes]] = []
    position = len(MAGIC)
    while position + 12 <= len(data) and (not found or found[-1][0] != b"IEND"):
        (length,) = struct.unpack_from(">I", data, position)
        kind, body = data[position + 4 : position + 8], data[position + 8 : position + 8 + length]
        position += 12 + length
        if position > len(data) or (kind == b"IHDR" and found):
            raise ValueError("it is a broken PNG")
        found.append((kind, body))
    return found


def _size(width: int, height: int, bits: int, interlaced: int) -> int:
    """Bytes of all lines, each with the byte that names its filter."""
    size = 0
    for x, y, step_x, step_y in _PASSES if interlaced else ((0, 0, 1, 1),):
        columns, lines = -(-(width - x) // step_x), -(-(height - y) // step_y)
        if columns > 0 and lines > 0:
            size += lines * (1 + (columns * bits + 7) // 8)
    return size


def _check_pixels(packed: bytes, size: int) -> None:
    """Unpack as much as was declared, and a byte more to see whether there is one."""
    unpacker, found = zlib.decompressobj(), 0
    try:
        while found <= size and not unpacker.eof:
            piece = unpacker.decompress(packed, min(_STEP, size + 1 - found))
            packed, found = unpacker.unconsumed_tail, found + len(piece)
            if not piece and not packed:
                break
    except zlib.error:
        raise ValueError("it is a broken PNG") from None
    if found != size:
        raise ValueError("it holds more than its pixels" if found > size else "it is a broken PNG")


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

"""A stranger's file becomes a picture that is safe to keep: RGB, upright, one frame, and hardly anything in it but pixels.

What a file is, its content says, never its name. Size is judged before anything is decoded, so a small file that claims
gigapixels costs nothing. Colours are taken to sRGB by the profile in the file, clear parts are laid on white, 16 bit becomes 8, and
what is larger than any model looks at is made smaller. How it was taken is kept (`demos.pictures.exif`); everything else in the file is
left behind: where that was, comments, previews. What was given up that people can see is told by `notes`.

Decoding happens in this process, by Pillow and the libraries in its wheel. Knows no folder and no conversation.
"""

from __future__ import annotations

import io
import math
import re
import struct
import threading
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import PIL.Image
import PIL.ImageCms
import PIL.ImageOps

from demos.pictures import exif
from shared.errors import BadRequest, OutOfMemory

FORMATS = ("PNG", "JPEG", "WEBP", "AVIF", "GIF", "BMP", "TIFF")  # no others: they run outside programs, or are seldom checked
READABLE = "PNG, JPEG, WebP, AVIF, GIF, BMP or TIFF"
MOST_PNG = 8 << 20  # bytes; a photograph beyond it is kept as JPEG
MOST_PROFILE = 4 << 20  # bytes of a colour profile
STRIP = 2_000_000  # pixels that are converted at once
MOST_AT_ONCE = 2  # decoders at work, whoever waits
MOST_SCANS = 100  # of a JPEG: each goes over the whole picture, and takes a few bytes of a file; programs write about ten
LONGEST_NAME = 60
Note = Literal["first_frame", "first_page", "shrunk", "stretched", "turned", "place"]
BROKEN = (
    OSError, SyntaxError, ValueError, LookupError, TypeError, ArithmeticError, AttributeError, EOFError, RuntimeError, struct.error,
    zlib.error, PIL.Image.DecompressionBombError, PIL.Image.DecompressionBombWarning,
)  # fmt: skip
_MAGIC = (b"\x89PNG\r\n", b"\xff\xd8\xff", b"GIF8", b"BM", b"II*\0", b"MM\0*")
_LOSSY = ("JPEG", "MPO", "AVIF")  # MPO: a JPEG with more pictures behind it
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # not what stands between pixels
_UNBOUNDED = ("I", "F")  # modes whose values have no range of their own
_ANIMATED = ("PNG", "WEBP", "AVIF", "GIF")
_free = threading.BoundedSemaphore(MOST_AT_ONCE)


@dataclass(frozen=True, slots=True)
class Limits:
    """`file` is bytes of one file as it comes, `total` of all as they are kept; `pixels` of one as it comes, `kept` as it stays;
    `turn` and `conversation` count pictures."""

    file: int = 30 << 20
    total: int = 256 << 20
    pixels: int = 50_000_000
    kept: int = 16_000_000
    turn: int = 20
    conversation: int = 60


@dataclass(frozen=True, slots=True)
class Clean:
    """A file as it is kept: `suffix` is `.png` or `.jpg`, the size that of the picture as it is to be seen."""

    content: bytes
    suffix: str
    width: int
    height: int
    notes: tuple[Note, ...] = ()

    @classmethod
    def of(cls, picture: PIL.Image.Image, *, photograph: bool, notes: tuple[Note, ...] = (), camera: bytes = b"") -> Clean:
        """`picture` is RGB; a `photograph` becomes JPEG, and so does what would be a large PNG."""
        more = {"exif": camera} if camera else {}
        picture.info = {}  # Pillow writes some of it into the file
        file = io.BytesIO()
        if not photograph:
            picture.save(file, "PNG", compress_level=4, **more)
        suffix = ".png"
        if photograph or file.tell() > MOST_PNG:
            file = io.BytesIO()
            picture.save(file, "JPEG", quality=95, subsampling=0, **more)
            suffix = ".jpg"
        return cls(file.getvalue(), suffix, picture.width, picture.height, notes)


def clean(content: bytes, name: str = "", limits: Limits = Limits()) -> Clean:
    """`content` as a picture. Raises `BadRequest` naming the file and saying what to do instead."""
    called = calling(name)
    if not content:
        raise BadRequest(f"{called} is empty.", "Choose another file.")
    if len(content) > limits.file:
        raise BadRequest(f"{called} has more than {limits.file >> 20} MiB; at most {limits.file >> 20} are taken.", "Make it smaller.")
    with _free:
        try:
            return _cleaned(content, called, limits)
        except MemoryError as error:
            raise OutOfMemory(f"There is not enough memory to open {called}.", "Make it smaller, or try again later.") from error


def calling(name: str) -> str:
    """What a file is called in a message: its own name without folders, or `The file`."""
    short = "".join(letter for letter in name.replace("\\", "/").rpartition("/")[2] if letter.isprintable()).strip()
    if len(short) > LONGEST_NAME:
        short = f"{short[: LONGEST_NAME - 12]}…{short[-11:]}"
    return f"“{short}”" if short else "The file"


def _cleaned(content: bytes, called: str, limits: Limits) -> Clean:
    picture = _opened(content, called, limits)
    kind = picture.format or ""
    notes: list[Note] = []
    try:
        if kind in _ANIMATED and getattr(picture, "is_animated", False):
            notes.append("first_frame")
        if kind == "TIFF" and getattr(picture, "is_animated", False):  # not `n_frames`: it reads every page there is, in square time
            notes.append("first_page")
        size = picture.size
        if kind in _LOSSY:
            picture.draft(None, _fitting(size, limits.kept))  # a JPEG can be decoded at a half or a quarter at once
        picture.load()
        if picture.mode in _UNBOUNDED:
            notes.append("stretched")
        if _orientation(picture) is not None:
            notes.append("turned")
        block, place = exif.kept(picture)
        if place:
            notes.append("place")
        upright = _seen(picture, limits.kept)
    except BROKEN as error:
        raise BadRequest(f"{called} is broken: it begins as {kind} and cannot be read to its end.", "Save it anew.") from error
    if sorted(upright.size) != sorted(size):
        notes.append("shrunk")
    photograph = kind in _LOSSY or (kind == "WEBP" and b"VP8L" not in content[:64])
    return Clean.of(upright, photograph=photograph, notes=tuple(notes), camera=block)


def _opened(content: bytes, called: str, limits: Limits) -> PIL.Image.Image:
    """The picture with no pixel of it read."""
    try:
        picture = PIL.Image.open(io.BytesIO(content), formats=FORMATS)
    except (PIL.Image.DecompressionBombError, PIL.Image.DecompressionBombWarning) as error:
        raise BadRequest(f"{called} has more than {limits.pixels / 1e6:.0f} million pixels.", "Make it smaller.") from error
    except BROKEN as error:
        raise _no_picture(content, called) from error
    width, height = picture.size
    if width * height > limits.pixels:
        cause = f"{called} has {width:,} x {height:,} pixels; at most {limits.pixels / 1e6:.0f} million are opened."
        raise BadRequest(cause, "Make it smaller.")
    if not width or not height:
        raise BadRequest(f"{called} has no pixels.", "Choose another file.")
    if picture.format in ("JPEG", "MPO") and _scans(content) > MOST_SCANS:
        raise BadRequest(f"{called} is written so that it would take hours to open.", "Save it anew.")
    return picture


def _scans(content: bytes) -> int:
    """How often a JPEG goes over its pixels, up to its end; counted no further than is too often."""
    scans, at = 0, 2
    while scans <= MOST_SCANS and (found := _MARKER.search(content, at)):
        kind, at = content[found.end() - 1], found.end()
        if kind == 0xD9:
            break
        scans += kind == 0xDA
        at += int.from_bytes(content[at : at + 2], "big")
    return scans


def _no_picture(content: bytes, called: str) -> BadRequest:
    begins = content[:4096].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    brand = content[8:12] if content[4:8] == b"ftyp" else b""
    if b"%pdf-" in begins[:1024]:
        return BadRequest(f"{called} is a PDF.", "Add it as a PDF, and choose its pages.")
    if b"<svg" in begins:
        return BadRequest(f"{called} is an SVG drawing, which can hold programs and is not opened.", "Export it as PNG.")
    if begins.startswith((b"<!doctype", b"<html")):
        return BadRequest(f"{called} is a web page.", "Use the address of the picture itself.")
    if brand in (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1"):
        return BadRequest(f"{called} is a HEIC picture, which is not read here.", "Save it as JPEG; phones can do so when sharing it.")
    if content.startswith(_MAGIC) or content[8:12] == b"WEBP":
        return BadRequest(f"{called} is broken: it begins as a picture, and what follows is none.", "Save it anew.")
    if brand or begins.startswith((b"\x1ae\xdf\xa3", b"riff")):
        return BadRequest(f"{called} is a film or a sound.", "Take a picture of the moment that matters.")
    return BadRequest(f"{called} is no picture that can be read.", f"Use {READABLE}.")


def _fitting(size: tuple[int, int], most: int) -> tuple[int, int]:
    """A size of the same shape with at most `most` pixels, no side empty."""
    width, height = size
    scale = min(1.0, math.sqrt(most / (width * height)))
    return max(1, min(int(width * scale), most)), max(1, min(int(height * scale), most))


def _seen(picture: PIL.Image.Image, most: int) -> PIL.Image.Image:
    """RGB and upright, with at most `most` pixels. Takes `picture` over: its memory is given back on the way."""
    orientation = _orientation(picture)
    to_rgb = _conversion(picture)
    flat = PIL.Image.new("RGB", picture.size)
    rows = max(1, STRIP // picture.width)
    for top in range(0, picture.height, rows):  # a whole picture in every form it goes through would take four times the memory
        flat.paste(to_rgb(picture.crop((0, top, picture.width, min(top + rows, picture.height)))), (0, top))
    picture.close()
    if flat.width * flat.height > most:
        flat = flat.resize(_fitting(flat.size, most), PIL.Image.Resampling.LANCZOS, reducing_gap=2.0)
    return flat if orientation is None else flat.transpose(orientation)


Conversion = Callable[[PIL.Image.Image], PIL.Image.Image]


def _conversion(picture: PIL.Image.Image) -> Conversion:
    """How a part of `picture` becomes RGB."""
    if picture.mode in _UNBOUNDED:
        return _stretched(picture)
    if picture.mode.startswith("I;16"):  # `convert` alone cuts at 255
        return lambda part: part.convert("I").point(lambda value: value * (255 / 65535)).convert("L").convert("RGB")
    in_srgb = _in_srgb(picture.info.get("icc_profile"), picture.mode)
    if picture.has_transparency_data:
        return lambda part: in_srgb(_on_white(part.convert("RGBA")))
    return in_srgb


def _on_white(part: PIL.Image.Image) -> PIL.Image.Image:
    return PIL.Image.alpha_composite(PIL.Image.new("RGBA", part.size, "white"), part).convert("RGB")


def _stretched(picture: PIL.Image.Image) -> Conversion:
    low, high = picture.getextrema()
    if not (isinstance(low, int | float) and isinstance(high, int | float)) or not math.isfinite(low) or not math.isfinite(high):
        raise ValueError("values that are no numbers")
    scale = 255 / (high - low) if high > low else 0.0
    return lambda part: part.convert("F").point(lambda value: value * scale + -low * scale).convert("L").convert("RGB")


def _in_srgb(profile: object, mode: str) -> Conversion:
    """By the profile of the file; one that belongs to another kind of picture, or is broken, is as good as none."""
    mode = mode if mode in ("CMYK", "L") else "RGB"
    if isinstance(profile, bytes) and 0 < len(profile) <= MOST_PROFILE:
        try:
            given = PIL.ImageCms.ImageCmsProfile(io.BytesIO(profile))
            transform = PIL.ImageCms.buildTransform(given, PIL.ImageCms.createProfile("sRGB"), mode, "RGB")
        except (PIL.ImageCms.PyCMSError, OSError, ValueError, TypeError):
            return _plain
        return lambda part: PIL.ImageCms.applyTransform(part if part.mode == mode else part.convert(mode), transform) or _plain(part)
    return _plain


def _plain(part: PIL.Image.Image) -> PIL.Image.Image:
    return part.convert("RGB")


_TURNS = {
    2: PIL.Image.Transpose.FLIP_LEFT_RIGHT, 3: PIL.Image.Transpose.ROTATE_180, 4: PIL.Image.Transpose.FLIP_TOP_BOTTOM,
    5: PIL.Image.Transpose.TRANSPOSE, 6: PIL.Image.Transpose.ROTATE_270, 7: PIL.Image.Transpose.TRANSVERSE,
    8: PIL.Image.Transpose.ROTATE_90,
}  # fmt: skip


def _orientation(picture: PIL.Image.Image) -> PIL.Image.Transpose | None:
    """How the EXIF tag says it is to be turned; a tag that cannot be read says nothing."""
    try:
        tag = picture.getexif().get(0x0112)
    except BROKEN:
        return None
    return _TURNS.get(tag) if isinstance(tag, int) else None

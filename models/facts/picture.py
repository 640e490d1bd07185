"""What a picture's file says of itself, and its pixels made small enough to look at.

Everything in a file is hostile until checked: of its EXIF a few harmless values are taken, cleaned and cut; where it was taken is
never read. Knows no language.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import PIL.Image
from PIL.Image import Transpose

from models.picture_files import BROKEN, eight_bit, orientation, size_of
from shared.errors import BadRequest
from shared.messages import Image

LONGEST = 1600  # pixels of the long side that colours, objects and text are looked for in; OCR on 2,000 took 0.8 GB, on 1,600 0.65
LONGEST_VALUE = 80  # characters of one EXIF value
_TURNS = {2: Transpose.FLIP_LEFT_RIGHT, 3: Transpose.ROTATE_180, 4: Transpose.FLIP_TOP_BOTTOM, 5: Transpose.TRANSPOSE,
          6: Transpose.ROTATE_270, 7: Transpose.TRANSVERSE, 8: Transpose.ROTATE_90}  # fmt: skip
_DETAILS, _GPS = 0x8769, 0x8825
_KINDS = {"1": "bilevel", "L": "grey", "LA": "grey", "La": "grey", "P": "palette", "PA": "palette", "RGB": "rgb", "RGBA": "rgb",
          "RGBa": "rgb", "RGBX": "rgb", "YCbCr": "rgb", "CMYK": "cmyk", "I": "grey", "F": "grey"}  # fmt: skip
_BAD_VALUE = (*BROKEN, TypeError, ArithmeticError, KeyError, AttributeError)


@dataclass(frozen=True, slots=True)
class FileFacts:
    """`width` and `height` as the picture is to be seen; `turned` the EXIF orientation that was applied (1: none); `kind` of
    colours; `size` in bytes; `exif` the values worth telling by name, None where the file has none at all."""

    width: int
    height: int
    turned: int
    format: str
    kind: str
    mode: str
    bits: int
    alpha: bool
    frames: int
    size: int
    exif: tuple[tuple[str, str], ...] | None
    gps: bool


def facts_of(picture: PIL.Image.Image, size: int) -> FileFacts:
    """Reads the file's header only. `size` is the file's in bytes."""
    width, height = size_of(picture)
    turned = orientation(picture)
    exif, gps = _exif(picture)
    kind = "grey" if picture.mode.startswith("I;") else _KINDS.get(picture.mode, "other")
    return FileFacts(
        width, height, turned if isinstance(turned, int) and 1 <= turned <= 8 else 1, picture.format or "?", kind, picture.mode,
        _bits(picture), picture.has_transparency_data, _frames(picture), size, exif, gps,
    )  # fmt: skip


def _bits(picture: PIL.Image.Image) -> int:
    """Of one value of one colour."""
    if picture.mode in ("1", "I", "F"):
        return 1 if picture.mode == "1" else 32
    sixteen = picture.mode.startswith("I;16") or any(";16" in str(tile) for tile in getattr(picture, "tile", ()))
    return 16 if sixteen else 8


def _frames(picture: PIL.Image.Image) -> int:
    try:
        return max(1, int(getattr(picture, "n_frames", 1)))
    except _BAD_VALUE:
        return 1  # it breaks off before the count is known


def _exif(picture: PIL.Image.Image) -> tuple[tuple[tuple[str, str], ...] | None, bool]:
    """The values to tell, and whether there is a position among those that are not."""
    try:
        exif = picture.getexif()
        if not exif:
            return None, False
        tags: dict[int, object] = {**exif, **exif.get_ifd(_DETAILS)}
    except _BAD_VALUE:
        return (), False
    camera = " ".join(dict.fromkeys(f"{_text(tags.get(0x010F))} {_text(tags.get(0x0110))}".split()))
    values = {
        "camera": camera[:LONGEST_VALUE], "lens": _text(tags.get(0xA434)), "taken": _text(tags.get(0x9003) or tags.get(0x0132)),
        "exposure": _exposure(_number(tags.get(0x829A))), "aperture": _with(_number(tags.get(0x829D)), "f/{:.3g}"),
        "iso": _with(_number(tags.get(0x8827)), "{:.0f}"), "focal": _with(_number(tags.get(0x920A)), "{:.4g} mm"),
        "software": _text(tags.get(0x0131)),
    }  # fmt: skip
    return tuple((name, value) for name, value in values.items() if value), _GPS in exif


def _text(value: object) -> str:
    """On one line, printable and short; empty for what is no text."""
    if isinstance(value, bytes):
        value = value[: 4 * LONGEST_VALUE].decode("utf-8", "replace")
    if not isinstance(value, str):
        return ""
    shown = "".join(sign if sign.isprintable() else " " for sign in value[: 4 * LONGEST_VALUE])
    return " ".join(shown.replace("`", "'").replace("\ufffd", " ").split())[:LONGEST_VALUE]


def _number(value: object) -> float:
    """0 for what is no number above it."""
    try:
        found = float(value[0] if isinstance(value, tuple) else value)  # type: ignore[arg-type]
    except (*_BAD_VALUE, IndexError):
        return 0.0
    return found if math.isfinite(found) and 0 < found < 1e9 else 0.0


def _with(value: float, form: str) -> str:
    return form.format(value) if value else ""


def _exposure(seconds: float) -> str:
    if not seconds:
        return ""
    return f"1/{1 / seconds:.0f} s" if seconds < 0.4 else f"{seconds:.3g} s"


def small(picture: PIL.Image.Image, image: Image) -> PIL.Image.Image:
    """RGBA, upright, its long side at most `LONGEST`. Raises `BadRequest` where the file breaks off.

    It is made small before it is turned and converted, so that a large picture is held once, as it is in its file."""
    try:
        picture.draft("RGB", (LONGEST, LONGEST))  # a JPEG is read smaller to begin with
        picture.load()
        turned = orientation(picture)  # once more: the pixels of a TIFF are turned while they are read
        made = eight_bit(picture)
        if made.mode in ("1", "P", "PA"):  # these have no colours between theirs
            made = made.convert("RGBA" if made.has_transparency_data else "RGB")
        made.thumbnail((LONGEST, LONGEST))
        return (made.transpose(_TURNS[turned]) if turned in _TURNS else made).convert("RGBA")
    except (*BROKEN, ArithmeticError) as error:
        raise BadRequest(f"The picture {Path(image.path).name!r} is broken: {error}.", "Save it anew, and add it again.") from error


def on_white(picture: PIL.Image.Image) -> PIL.Image.Image:
    """RGB, with white where an RGBA picture is clear."""
    return PIL.Image.alpha_composite(PIL.Image.new("RGBA", picture.size, "white"), picture).convert("RGB")

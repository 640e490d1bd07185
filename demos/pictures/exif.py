"""What is kept of what a camera wrote into its file: how the picture was taken, and never where, by whose device, or anything else.

A few values of known kinds, cleaned and cut short, become a new EXIF block; nothing of the old one is copied. Knows no folder.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Mapping

import PIL.Image
from PIL.TiffImagePlugin import IFDRational

LONGEST = 80  # characters of a text
_DETAILS, _GPS = 0x8769, 0x8825
_MAIN_TEXTS = (0x010F, 0x0110, 0x0131)  # make, model, software
_TEXTS, _TIMES = (0xA434,), (0x9003,)  # lens; when it was taken
_NUMBERS, _WHOLE = (0x829A, 0x829D, 0x920A), (0x8827,)  # exposure, aperture, focal length; ISO
_TIME = re.compile(r"\d{4}[:-]\d\d[:-]\d\d[ T]\d\d:\d\d:\d\d")
BROKEN = (OSError, SyntaxError, ValueError, LookupError, TypeError, ArithmeticError, AttributeError, RuntimeError, struct.error)


def kept(picture: PIL.Image.Image) -> tuple[bytes, bool]:
    """The block for the kept file, empty where there is nothing to keep; and whether a place was left out."""
    try:
        given = picture.getexif()
        details: Mapping[int, object] = given.get_ifd(_DETAILS)
        return _block(given, details), _GPS in given
    except BROKEN:  # a block that cannot be read says nothing
        return b"", False


def _block(given: Mapping[int, object], details: Mapping[int, object]) -> bytes:
    made = PIL.Image.Exif()
    made.update({tag: text for tag in _MAIN_TEXTS if (text := _text(given.get(tag)))})
    inside: dict[int, object] = {tag: text for tag in _TEXTS if (text := _text(details.get(tag)))}
    inside |= {tag: time[0] for tag in _TIMES if (time := _TIME.match(_text(details.get(tag) or given.get(0x0132))))}
    inside |= {tag: IFDRational(round(number * 1e6), 1_000_000) for tag in _NUMBERS if (number := _number(details.get(tag)))}
    inside |= {tag: round(number) for tag in _WHOLE if 1 <= (number := _number(details.get(tag))) < 65536}
    if inside:
        made.get_ifd(_DETAILS).update(inside)
    return made.tobytes() if made or inside else b""


def _text(value: object) -> str:
    if not isinstance(value, str):
        return ""
    return " ".join("".join(sign if sign.isprintable() else " " for sign in value[: 4 * LONGEST]).split())[:LONGEST]


def _number(value: object) -> float:
    """0 for what is no sensible number above it."""
    one = value[0] if isinstance(value, tuple) and value else value
    try:
        found = float(one)  # type: ignore[arg-type]
    except (TypeError, ValueError, ArithmeticError):
        return 0.0
    return found if math.isfinite(found) and 0 < found < 4000 else 0.0

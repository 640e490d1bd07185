"""A card drawn from the caption: its words on paper, over a quiet ink drawing that no other caption has. Always there, and the last
resort: it shows nothing that the caption does not say already, so it is offered where nothing else is left.

The same caption gives the same card on the same machine. Words that no font here has all glyphs of are left out, never drawn as boxes;
the drawing stands alone then. Knows no network and no model.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import PIL.Image
import PIL.ImageDraw
import PIL.ImageOps

from demos.writing.article import Credit, Language, one_line
from demos.writing.draft import Candidate
from demos.writing.sources import drawing
from demos.writing.sources.fonts import Font, font_for
from demos.writing.sources.source import Around, Wanted
from demos.writing.sources.wrapping import MORE, balanced, clusters, shortened, wrapped
from shared.engine import Cancel, Cancelled

VARIANTS = 2  # of one caption: more of them help nobody to choose
SIZES = (72, 64, 57, 51, 46, 42, 38, 34)  # pixels of the letters, the first that fits
LEADING = 1.42  # times the size from line to line
MARGIN, TEXT_WIDTH = 96, 820
ROOM = (66, 412)  # between these heights stand the words and the seal below them
SEAL_SIDE, SEAL_GAP = 42, 34
MOST_SIGNS = 700  # of a caption: no card has room for more
MADE_HERE: dict[Language, str] = {"en": "Drawn by Puyu Studio", "zh": "浦语工坊绘制"}
LICENCE, LICENCE_LINK = "CC0 1.0", "https://creativecommons.org/publicdomain/zero/1.0/"
_UNSEEN = {*map(chr, range(0xFE00, 0xFE10)), *map(chr, range(0xE0000, 0xE01F0)), "\u00ad", "\u200b", "\u200e", "\u200f", "\u061c", "\u2060"}


class Card:
    id: ClassVar[str] = "card"
    leases: ClassVar[bool] = False

    def __init__(self, around: Around) -> None:
        self._pictures = around.pictures

    @classmethod
    def lacks(cls, around: Around) -> str:
        return ""

    def find(self, wanted: Wanted, cancel: Cancel) -> Sequence[Candidate]:
        found = []
        for variant in range(min(wanted.count, VARIANTS)):
            if cancel.is_set():
                raise Cancelled
            picture = card(wanted.caption, variant)
            image = self._pictures.keep(picture, photograph=True).image  # washes of grey: as PNG they take four times the room
            credit = Credit(licence=LICENCE, source=MADE_HERE[wanted.language], licence_link=LICENCE_LINK)
            found.append(Candidate(image, one_line(wanted.caption), credit, last=True))
        return found


@dataclass(frozen=True, slots=True)
class _Set:
    """Lines as they are to be drawn."""

    font: Font
    lines: tuple[str, ...]

    @property
    def leading(self) -> float:
        return self.font.size * LEADING

    @property
    def height(self) -> float:
        return len(self.lines) * self.leading


def card(caption: str, variant: int = 0) -> PIL.Image.Image:
    """RGB, 16:9, `drawing.WIDTH` wide. `caption` may be anything."""
    seed = int.from_bytes(hashlib.sha256(f"{variant}\0{caption}".encode("utf-8", "replace")).digest()[:8])
    picture, words = drawing.landscape(seed), _set(one_line(caption))
    rightward = words is None or not _is_rtl("".join(words.lines))
    picture = picture if rightward else PIL.ImageOps.mirror(picture)
    height = (words.height + SEAL_GAP if words else 0) + SEAL_SIDE
    top = ROOM[0] + (ROOM[1] - ROOM[0] - height) / 2
    if words is not None:
        _write(picture, words, top, rightward)
    left = MARGIN if rightward else drawing.WIDTH - MARGIN - SEAL_SIDE
    drawing.stamp(picture, left, round(top + height) - SEAL_SIDE, SEAL_SIDE)
    return picture


def _write(picture: PIL.Image.Image, words: _Set, top: float, rightward: bool) -> None:
    draw = PIL.ImageDraw.Draw(picture)
    ascent, descent = words.font.getmetrics()
    first = top + (words.leading - ascent - descent) / 2 + ascent
    for at, line in enumerate(words.lines):
        place = (MARGIN if rightward else drawing.WIDTH - MARGIN, first + at * words.leading)
        draw.text(place, line, drawing.INK, words.font, anchor="ls" if rightward else "rs")


def _set(text: str) -> _Set | None:
    """None where there is nothing to be set, or no font for it."""
    text = _drawable(text)
    font = font_for(text, SIZES[0]) if text else None
    if font is None:
        return None
    room = ROOM[1] - ROOM[0] - SEAL_GAP - SEAL_SIDE
    for size in SIZES:
        font, most = font.font_variant(size=size), int(room / (size * LEADING))
        if _fits(text, font, most):
            return _Set(font, tuple(balanced(text, font.getlength, TEXT_WIDTH)))
    text = shortened(text, partial(_fits, font=font, most=most))
    return _Set(font, tuple(wrapped(text, font.getlength, TEXT_WIDTH)))


def _fits(text: str, font: Font, most: int) -> bool:
    """Into `most` lines. What is longer than all of them together need not be broken into lines to know that it does not."""
    return font.getlength(text) <= most * TEXT_WIDTH and len(wrapped(text, font.getlength, TEXT_WIDTH)) <= most


def _drawable(text: str) -> str:
    """Without what nobody sees, and, where no font has them, without pictograms (emoji): the words say it without them."""
    signs = clusters("".join(sign for sign in text if sign not in _UNSEEN))
    text = "".join(signs[:MOST_SIGNS]).strip() + (MORE if len(signs) > MOST_SIGNS else "")
    if font_for(text) is None:
        text = "".join(sign for sign in text if unicodedata.category(sign) not in ("So", "Sk", "Cf", "Cn", "Co"))
    return " ".join(text.split())


def _is_rtl(text: str) -> bool:
    """By its first letter that has a direction."""
    directions = (unicodedata.bidirectional(sign) for sign in text)
    return next((direction in ("R", "AL") for direction in directions if direction in ("L", "R", "AL")), False)

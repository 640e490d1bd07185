"""Fonts of this machine for a text: the first of those that look well here and that has a glyph for each of its characters.

Pillow's own font is always there and has the letters of English only. Nothing is fetched. Knows no card.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator
from functools import cache, lru_cache
from pathlib import Path

import PIL.features
import PIL.ImageFont

Font = PIL.ImageFont.FreeTypeFont
MOST_FILES = 20_000  # of the font folders
# Files in the order in which they are liked, with words of the name of one of its fonts where a file has several
LATIN = (
    ("Iowan Old Style.ttc", "Roman"), ("pala.ttf", ""), ("Charter.ttc", "Roman"), ("NotoSerif-Regular.ttf", ""), ("georgia.ttf", ""),
    ("Georgia.ttf", ""), ("LiberationSerif-Regular.ttf", ""),
)  # fmt: skip
PILLOWS_OWN = ("", "")
CHINESE = (
    ("NotoSerifCJK-Regular.ttc", "SC"), ("NotoSerifSC-Regular.otf", ""), ("SourceHanSerifSC-Regular.otf", ""),
    ("SourceHanSerif-Regular.ttc", "SC"), ("Songti.ttc", "SC Regular"), ("NotoSansCJK-Regular.ttc", "SC"), ("NotoSansSC-Regular.otf", ""),
    ("PingFang.ttc", "SC Regular"), ("Hiragino Sans GB.ttc", ""), ("msyh.ttc", ""), ("Deng.ttf", ""), ("wqy-microhei.ttc", ""),
    ("wqy-zenhei.ttc", ""), ("DroidSansFallbackFull.ttf", ""), ("simhei.ttf", ""),
)  # fmt: skip
OTHERS = (
    ("DejaVuSerif.ttf", ""), ("DejaVuSans.ttf", ""), ("NotoSans-Regular.ttf", ""), ("NotoSansArabic-Regular.ttf", ""),
    ("NotoSansHebrew-Regular.ttf", ""), ("NotoSansThai-Regular.ttf", ""), ("NotoSansDevanagari-Regular.ttf", ""),
    ("Arial Unicode.ttf", ""), ("tahoma.ttf", ""), ("arial.ttf", ""), ("Nirmala.ttf", ""), ("LeelawUI.ttf", ""), ("malgun.ttf", ""),
)  # fmt: skip
LIKED = (*LATIN, PILLOWS_OWN, *CHINESE, *OTHERS)
_SHAPED = ((0x0590, 0x08FF), (0x0900, 0x0DFF), (0x0E00, 0x109F), (0x1780, 0x17FF), (0xFB1D, 0xFDFF), (0xFE70, 0xFEFE))
_NOWHERE = "\U0010ffff"  # no font has it: it is drawn as what is missing is drawn


def font_for(text: str, size: int = 48) -> Font | None:
    """None where no font here has all of `text`, or where its script needs shaping (Arabic, Hebrew, Indic, Thai) that Pillow lacks."""
    signs = frozenset(sign for sign in text if not sign.isspace())
    if not can_shape() and any(first <= ord(sign) <= last for sign in signs for first, last in _SHAPED):
        return None
    return next((opened(name, family, size) for name, family in LIKED if _has(name, family, signs)), None)


def can_shape() -> bool:
    return bool(PIL.features.check("raqm") and PIL.features.check("fribidi"))


def opened(name: str, family: str, size: int) -> Font | None:
    """The font of this file name; None where it is not here, or is no font that can be opened."""
    if not name:
        own = PIL.ImageFont.load_default(size)
        return own if isinstance(own, Font) else None
    path = installed().get(name)
    return None if path is None else _opened(path, family, size)


def _opened(path: Path, family: str, size: int) -> Font | None:
    try:
        if not family:
            return PIL.ImageFont.truetype(str(path), size)
        for index in range(32):  # more than any collection has; the error of the one behind the last ends it
            font = PIL.ImageFont.truetype(str(path), size, index=index)
            told = " ".join(filter(None, font.getname())).split()
            if set(family.split()) <= set(told) and "Mono" not in told:
                return font
    except (OSError, ValueError):
        return None
    return None


@lru_cache(maxsize=256)
def _has(name: str, family: str, signs: frozenset[str]) -> bool:
    font = opened(name, family, 24)
    if font is None:
        return False
    missing = _drawn(font, _NOWHERE)
    return all(_is_there(font, sign, missing) for sign in signs)


def _is_there(font: Font, sign: str, missing: bytes) -> bool:
    """Marks and what only joins may be drawn as nothing where they stand alone; everything else has to be seen."""
    drawn = _drawn(font, sign)
    return drawn != missing if drawn else unicodedata.category(sign) in ("Mn", "Me", "Mc", "Cf")


def _drawn(font: Font, sign: str) -> bytes:
    """The pixels of one character; nothing for one without any."""
    mask = font.getmask(sign)
    return bytes(repr(mask.size), "ascii") + bytes(mask) if mask.getbbox() else b""


@cache
def installed() -> dict[str, Path]:
    """The liked fonts that are here, by file name. Looked for once."""
    wanted = {name for name, _ in LIKED if name}
    found: dict[str, Path] = {}
    for count, path in enumerate(_files()):
        if count > MOST_FILES:
            break
        if path.name in wanted:
            found.setdefault(path.name, path)
    return found


def _files() -> Iterator[Path]:
    for folder in _folders():
        for place, _, names in os.walk(folder):  # an unreadable folder is passed over, and links are not followed
            yield from (Path(place) / name for name in names)


def _folders() -> list[Path]:
    home = Path.home()
    return [
        Path("/usr/share/fonts"), Path("/usr/local/share/fonts"), home / ".local/share/fonts", home / ".fonts",
        Path("/System/Library/Fonts"), Path("/Library/Fonts"), home / "Library/Fonts",
        Path(os.environ.get("WINDIR", "C:\\Windows")) / "Fonts",
        Path(os.environ.get("LOCALAPPDATA", str(home / "AppData/Local"))) / "Microsoft/Windows/Fonts",
    ]  # fmt: skip

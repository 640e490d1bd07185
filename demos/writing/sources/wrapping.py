"""Lines of a given width: Latin words whole, Chinese and Japanese between any two characters, but for the signs that may not begin or
end a line (禁则). Widths come from outside, so it knows no font; a character with what combines with it is never taken apart.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

WidthOf = Callable[[str], float]
MORE = "…"
CLOSING = frozenset("，。、；：？！…—～·）】》〉」』〕〗”’％‰℃,.;:?!)]}»›%")  # not at the begin of a line
OPENING = frozenset("（【《〈「『〔〖“‘([{«‹¥￥$")  # not at its end
_JOINER, _SELECTORS = "\u200d", range(0xFE00, 0xFE10)
_NARROWER = 12  # steps of the search for lines of equal length: a 4,000th of the width


@dataclass(frozen=True, slots=True)
class _Word:
    """What stays together on a line, and whether a blank stands before it."""

    text: str
    apart: bool


def clusters(text: str) -> list[str]:
    """Characters as people count them, nearly: each with the marks, joiners and selectors behind it."""
    found: list[str] = []
    for sign in text:
        joined = unicodedata.category(sign) in ("Mn", "Me", "Mc") or sign == _JOINER or ord(sign) in _SELECTORS
        if found and (joined or found[-1].endswith(_JOINER)):
            found[-1] += sign
        else:
            found.append(sign)
    return found


def wrapped(text: str, width_of: WidthOf, width: float) -> list[str]:
    """`text` in lines no wider than `width`, except where a single character is. Line ends in it are blanks."""
    lines: list[str] = []
    line = ""
    for word in _words(text):
        longer = f"{line} {word.text}" if line and word.apart else line + word.text
        if width_of(longer) <= width:
            line = longer
            continue
        if line:
            lines.append(line)
        *full, line = _broken(word.text, width_of, width)
        lines += full
    return [*lines, line] if line else lines


def balanced(text: str, width_of: WidthOf, width: float) -> list[str]:
    """As few lines as `wrapped` makes, of about the same length: no word left alone on the last one."""
    lines = wrapped(text, width_of, width)
    least, most = width / max(1, len(lines)), width
    for _ in range(_NARROWER if len(lines) > 1 else 0):
        middle = (least + most) / 2
        narrower = wrapped(text, width_of, middle)
        if len(narrower) <= len(lines) and all(width_of(line) <= middle for line in narrower):
            lines, most = narrower, middle
        else:
            least = middle
    return lines


def shortened(text: str, fits: Callable[[str], bool]) -> str:
    """The longest beginning of `text` that fits, with `…` where something is missing; that alone where nothing fits."""
    if fits(text):
        return text
    signs = clusters(text)
    least, most = 0, len(signs)
    while least < most:
        middle = (least + most + 1) // 2
        if fits(_cut(signs[:middle])):
            least = middle
        else:
            most = middle - 1
    return _cut(signs[:least])


def _cut(signs: Sequence[str]) -> str:
    return "".join(signs).rstrip().rstrip("".join(CLOSING | OPENING)).rstrip() + MORE


def _words(text: str) -> Iterator[_Word]:
    """Signs that may not begin a line hang on what is before them, those that may not end one on what comes after."""
    held: _Word | None = None
    for part in _parts(text):
        if held is None:
            held = part
        elif (part.text[0] in CLOSING and not part.apart) or (held.text[-1] in OPENING and not part.apart):
            held = _Word(held.text + part.text, held.apart)
        elif part.text[0] in CLOSING:
            held = _Word(f"{held.text} {part.text}", held.apart)  # a blank before a sign, as French has it
        else:
            yield held
            held = part
    if held is not None:
        yield held


def _parts(text: str) -> Iterator[_Word]:
    for run in re.split(r"\s+", text.strip()):
        word, apart = "", True
        for sign in clusters(run):
            if _is_wide(sign[0]):
                if word:
                    yield _Word(word, apart)
                    apart = False
                yield _Word(sign, apart)
                word, apart = "", False
            else:
                word += sign
        if word:
            yield _Word(word, apart)


def _is_wide(sign: str) -> bool:
    """Whether lines may break on both sides of it: Chinese, Japanese and full-width signs. Korean is divided by blanks."""
    return sign in "“”‘’…—" or (unicodedata.east_asian_width(sign) in "WF" and not "\uac00" <= sign <= "\ud7af")


def _broken(word: str, width_of: WidthOf, width: float) -> list[str]:
    """A word that is wider than a line, wherever it has to be; the last part is where the next word goes on."""
    lines, line = [], ""
    for sign in clusters(word):
        if line.strip() and width_of(line + sign) > width:
            lines.append(line.strip())
            line = ""
        line = (line + sign).lstrip()
    return [*lines, line]

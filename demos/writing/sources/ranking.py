"""How well the writer's own pictures fit a caption, by words: what their files are called, and what is known to be on them.

Files that a camera or a program named (IMG_2041, Screenshot 2026-11-02, hexadecimal) say nothing, and words that stand in every caption
find nothing. Words are compared as `demos.writing.similarity` does it, so a Chinese caption finds a Chinese file name and Chinese text in
a picture, but none of the English names of things, and the other way round: nothing is translated here. Knows no model.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import unquote

from demos.writing.article import one_line
from demos.writing.similarity import BM25, EMPTY_WORDS, Similarity
from shared.messages import Image

LONGEST_NAME = 120
_ENDING = re.compile(r"\.[A-Za-z0-9]{2,5}$")
_HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[^\W\d_])(?=\d)|(?<=\d)(?=[^\W\d_])")
_PROGRAMS_SAY = """
img image images dsc dscn dscf dcim pxl mvimg vid wp sam screenshot screen shot photo photos picture pictures pic scan scanned file
untitled copy download wechat weixin mmexport whatsapp signal telegram facebook jpg jpeg png webp edited final new tmp burst hdr
微信图片 图片 照片 截图 屏幕截图 副本 未命名 相片 扫描
"""
_BY_PROGRAMS = frozenset(_PROGRAMS_SAY.split())
_EMPTY_SIGNS = re.compile(r"[的了是在和与及一有中个张幅着等之]|图片|照片|图中|画面")
_LATIN = re.compile(r"[A-Za-z]+")


@dataclass(frozen=True, slots=True)
class Known:
    """A picture, the words of its file's name (empty where a program named it), and those of what is on it."""

    image: Image
    name: str
    words: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """All of it, the name twice: people name what matters, where text in a picture may be anything."""
        return " ; ".join((self.name, self.name, *self.words))


def name_words(name: str) -> str:
    """What a person said by naming a file; nothing where only a program did. `name` may be anything."""
    stem = _ENDING.sub("", one_line(unquote(name)).replace("\\", "/").rstrip("/").rpartition("/")[2])
    found = [word for part in re.split(r"[\W_]+", stem) if not _is_number(part) for word in _HUMP.sub(" ", part).split()]
    told = [word for word in found if word.lower() not in _BY_PROGRAMS and not word.isdigit()]
    if not any(len(word) > 2 or not word.isascii() for word in told):
        return ""
    return " ".join(word for word in found if word in told)[:LONGEST_NAME].rstrip()


def _is_number(part: str) -> bool:
    """Digits, or letters and digits that only a program puts together: hexadecimal of 8 and more."""
    return part.isdigit() or re.fullmatch(r"(?=.*\d)[0-9a-fA-F]{8,}", part) is not None


def telling(caption: str) -> str:
    """`caption` without the words that say nothing of what is to be seen."""
    text = _LATIN.sub(lambda word: "" if word[0].lower() in EMPTY_WORDS else word[0], caption)
    return _EMPTY_SIGNS.sub(" ", text)


def fits(wanted: str, known: Sequence[Known], likeness: Mapping[str, float], similarity: Similarity = BM25()) -> list[float]:
    """How well each fits, 0 where nothing says so: its words, the best of them 1, and what a model that sees says (`likeness`, by sha256),
    from 0 for the least to 1 for the most alike, where there is one."""
    scores = similarity.scores(telling(wanted), [one.text for one in known]) if known else ()
    most = max(scores, default=0.0)
    near = [likeness.get(one.image.sha256) for one in known]
    seen = [value for value in near if value is not None]
    least, span = (min(seen), max(seen) - min(seen)) if seen else (0.0, 0.0)
    return [
        (score / most if most > 0 else 0.0) + ((value - least) / span if value is not None and span > 0 else 0.0)
        for score, value in zip(scores, near, strict=True)
    ]

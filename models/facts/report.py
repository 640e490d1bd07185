"""What can be said of one picture, as Markdown that grows while it is found out; what is not known is said to be so.

Text from a picture and from its file is shown word for word and never as markup. Between two pieces nothing is under way, so the
caller may stop at any of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import PIL.Image

from models.facts import colours
from models.facts.picture import FileFacts, facts_of, on_white, small
from models.facts.reading import MOST_LINES, Line, Lines
from models.facts.words import Words
from models.picture_files import open_picture
from shared.errors import BadRequest
from shared.messages import Image

LABELS = 5
LEAST_SCORE = 0.02  # of a label worth showing
SURE_SCORE = 0.3  # of the best label; below it the guesses were mostly wrong on about 30 pictures
_FENCE = "`" * 10
_UNITS = (("MB", 1_000_000), ("kB", 1000))


class Reads(Protocol):
    def read(self, picture: PIL.Image.Image) -> Lines: ...


class Names(Protocol):
    def labels(self, picture: PIL.Image.Image, count: int) -> list[tuple[str, float]]: ...


@dataclass(frozen=True, slots=True)
class Senses:
    """What looks at pixels here, and for each that does not the package it lacks; a classifier without `lacks` lacks its weights."""

    reader: Reads | None = None
    reader_lacks: str = ""
    classifier: Names | None = None
    classifier_lacks: str = ""


def report(number: int, image: Image, model: str, senses: Senses, words: Words) -> Iterator[str]:
    """The facts of picture #`number`, whole lines at a time. `model` is the id that people know this engine by."""
    yield words("heading", number=number) + "\n\n"
    try:
        picture = open_picture(image)
        facts = facts_of(picture, _bytes_of(picture))
    except BadRequest as error:
        yield f"- {words('broken', cause=error.one_line())}\n\n"
        return
    yield from _of_file(facts, words)
    try:
        clear = small(picture, image)
    except BadRequest as error:
        yield f"- {words('broken_pixels', cause=error.one_line())}\n\n"
        return
    del picture
    yield _of_colours(clear, words)
    seen = on_white(clear)
    yield _of_objects(seen, model, senses, words)
    yield from _of_text(seen, senses, words)


def _bytes_of(picture: PIL.Image.Image) -> int:
    opened = getattr(picture, "fp", None)
    return opened.seek(0, 2) if opened is not None else 0


def _of_file(facts: FileFacts, words: Words) -> Iterator[str]:
    line = words("size", width=facts.width, height=facts.height)
    if facts.turned != 1:
        line += words.comma + words("turned", how=words(f"turned_{facts.turned}"))
    yield f"- {line}\n"
    kind = words(f"colours_{facts.kind}", mode=facts.mode) + (" " + words("alpha") if facts.alpha else "")
    line = words("format", name=facts.format, colours=kind, bits=facts.bits, size=_size(facts.size))
    if facts.frames > 1:
        line += words.comma + words("frames", count=facts.frames)
    yield f"- {line}\n"
    yield f"- {_of_exif(facts, words)}\n"


def _of_exif(facts: FileFacts, words: Words) -> str:
    if facts.exif is None:
        return words("exif_none")
    found = [words(f"exif_{name}", value=f"`{value}`") for name, value in facts.exif]
    if facts.gps:
        found.append(words("exif_gps"))
    return words("exif", found=words.comma.join(found) or words("exif_nothing"))


def _of_colours(picture: PIL.Image.Image, words: Words) -> str:
    found, clear = colours.colours_of(picture)
    named = [
        words("colour", name=one.chinese if words.language == "zh" else one.english, share=_percent(one.share), hex=one.hex)
        for one in found
    ]
    if clear >= colours.LEAST:
        named.append(words("clear", share=_percent(clear)))
    return f"- {words('colours', found=words.comma.join(named))}\n"


def _of_objects(picture: PIL.Image.Image, model: str, senses: Senses, words: Words) -> str:
    if senses.classifier is None:
        lacking = senses.classifier_lacks
        return f"- {words('labels_no_package', package=lacking) if lacking else words('labels_no_weights', model=model)}\n"
    best = senses.classifier.labels(picture, LABELS)
    likely = [(name, score) for place, (name, score) in enumerate(best) if not place or score >= LEAST_SCORE]
    shown = [words("label", name=name, share=_percent(score)) for name, score in likely]
    return f"- {words('labels' if best[0][1] >= SURE_SCORE else 'labels_unsure', found=words.comma.join(shown))}\n"


def _of_text(picture: PIL.Image.Image, senses: Senses, words: Words) -> Iterator[str]:
    if senses.reader is None:
        yield f"- {words('text_no_package', package=senses.reader_lacks)}\n\n"
        return
    lines = senses.reader.read(picture)
    unsure: list[Line] = []
    written = 0
    yield ""  # the lines were found, which takes its time: a place to stop
    for some in lines:
        sure = [line for line in some if line.sure]
        unsure += [line for line in some if not line.sure]
        begin = f"- {words('text')}\n\n{_FENCE}text\n" if sure and not written else ""
        written += len(sure)
        yield begin + "".join(f"{_in_fence(line.text)}\n" for line in sure)
    if written:
        yield f"{_FENCE}\n"
    elif not unsure:
        yield f"- {words('text_none')}\n"
    if unsure:
        yield f"- {words('text_unsure', found=_doubtful(unsure, words))}\n"
    if lines.more:
        yield f"- {words('text_more', count=MOST_LINES)}\n"
    yield "\n"


def _doubtful(lines: Sequence[Line], words: Words) -> str:
    return words.comma.join(f"`{line.text.replace('`', chr(39))}` ({line.score:.2f})" for line in lines)


def _in_fence(text: str) -> str:
    """A line that would end the block begins further in than the end of a block may."""
    line = "".join(sign if sign.isprintable() else " " for sign in text)
    return f"    {line}" if re.match(rf"\s*{_FENCE}", line) else line


def _percent(share: float) -> str:
    return "<1" if share < 0.01 else f"{100 * share:.0f}"


def _size(count: int) -> str:
    return next((f"{count / unit:.1f} {name}" for name, unit in _UNITS if count >= unit), f"{count} B")

"""The words in and of a picture, for those who look for one: names of what is on it, then the lines that are written there.

Only what is likely: a guess that `models.facts.report` would call unsure is no word to find a picture by. Knows no language; the names
are those of ImageNet, in English.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol, runtime_checkable

from models.facts.picture import on_white, small
from models.facts.report import LABELS, SURE_SCORE, Senses
from models.picture_files import open_picture
from shared.engine import Cancel
from shared.messages import Image

LIKELY = 0.1  # the score of a further name, beside one that is sure
MOST_WORDS = 40  # names and lines of one picture


@runtime_checkable
class TellsWords(Protocol):
    """An engine that says words, and nothing but words, of a picture."""

    def words_in(self, image: Image, cancel: Cancel) -> tuple[str, ...]:
        """At most `MOST_WORDS` names and lines; fewer where `cancel` was set. Raises `BadRequest` for a picture that cannot be opened."""
        ...


def words_in(image: Image, senses: Senses) -> Iterator[str]:
    """Names, then lines; an empty one where it took a while and there is a place to stop. Raises `BadRequest`."""
    seen = on_white(small(open_picture(image), image))
    yield ""
    if senses.classifier is not None:
        best = senses.classifier.labels(seen, LABELS)
        yield from (name for name, score in best if best[0][1] >= SURE_SCORE and score >= LIKELY)
    if senses.reader is not None:
        for some in senses.reader.read(seen):
            yield ""
            yield from (line.text for line in some if line.sure)

"""The words of a picture, from senses of this test's own; what the real ones see is tested with image-facts."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import PIL.Image
import pytest

from models.backends.image_facts import ImageFacts
from models.facts.reading import Line
from models.facts.report import Senses
from models.facts.telling import MOST_WORDS, TellsWords
from shared.engine import Cancel, ModelSpec
from shared.errors import BadRequest, ModelUnavailable
from shared.messages import Image

SPEC = ModelSpec("facts", "image_facts", (), capabilities=frozenset({"image"}))


class Names:
    def __init__(self, *labels: tuple[str, float]) -> None:
        self._labels = list(labels)

    def labels(self, picture: PIL.Image.Image, count: int) -> list[tuple[str, float]]:
        return self._labels[:count]


class Reads:
    def __init__(self, *lines: Line) -> None:
        self._lines = lines

    def read(self, picture: PIL.Image.Image) -> Iterator[list[Line]]:
        for line in self._lines:
            yield [line]


@pytest.fixture
def image(tmp_path: Path) -> Image:
    path = tmp_path / "a.png"
    PIL.Image.new("RGB", (40, 30), "white").save(path)
    return Image(str(path), hashlib.sha256(path.read_bytes()).hexdigest(), 40, 30)


def words(senses: Senses, image: Image, cancel: Cancel | None = None) -> tuple[str, ...]:
    engine = ImageFacts(SPEC, senses)
    assert isinstance(engine, TellsWords)
    try:
        return engine.words_in(image, cancel or Cancel())
    finally:
        engine.close()


def test_names_that_are_likely_then_lines_that_are_sure_each_once(image: Image) -> None:
    senses = Senses(
        Reads(Line("bee", 0.99), Line("HONEY 500 g", 0.9), Line("smudge", 0.6), Line("O", 1.0)), "",
        Names(("bee", 0.6), ("ant", 0.15), ("espresso", 0.04)),
    )  # fmt: skip
    assert words(senses, image) == ("bee", "ant", "HONEY 500 g")


def test_a_classifier_that_is_unsure_names_nothing(image: Image) -> None:
    assert words(Senses(classifier=Names(("bee", 0.25), ("ant", 0.2))), image) == ()
    assert words(Senses(), image) == (), "nor does one that is not there"


def test_a_printed_page_gives_no_more_than_are_of_use(image: Image) -> None:
    lines = [Line(f"line {number}", 0.99) for number in range(3 * MOST_WORDS)]
    assert words(Senses(Reads(*lines)), image) == tuple(f"line {number}" for number in range(MOST_WORDS))


def test_stop_and_a_closed_engine_and_a_picture_that_is_gone(image: Image) -> None:
    cancel = Cancel()
    cancel.set()
    assert words(Senses(classifier=Names(("bee", 0.9))), image, cancel) == ()
    engine = ImageFacts(SPEC, Senses())
    engine.close()
    with pytest.raises(ModelUnavailable):
        engine.words_in(image, Cancel())
    Path(image.path).unlink()
    with pytest.raises(BadRequest):
        words(Senses(), image)

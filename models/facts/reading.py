"""Text in a picture, line by line: the PP-OCR networks that come in the wheel of `rapidocr`, an optional package.

Lines are found first and then read a few at a time, so that whoever waits can stop in between. A line is read as it stands; only
where that gives little is it read upside down too: the package's own guess at the direction turned good lines over
(measured on scikit-image's page.png: 6 of 7 lines right with it, 7 of 7 without). Asks no network. Knows no language.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import numpy as np
import PIL.Image

PACKAGE, RELEASE = "rapidocr", "3.10."  # what is asked of it are its steps one by one, which another release may name otherwise
AT_ONCE = 4  # lines read between two looks at whoever waits
MOST_LINES = 300
SURE = 0.85  # the score from which a line is taken for what is written
LEAST = 0.5
_LONGEST = 4  # times the short side; a strip of 1,600 x 64 pixels was scaled up to take 2.2 GB and 16 s, and read no better
_THREADS = 2


@dataclass(frozen=True, slots=True)
class Line:
    """`score` is the mean probability of its characters."""

    text: str
    score: float

    @property
    def sure(self) -> bool:
        """A lone character is not: spots and rings are taken for 0, 8 and O, with scores up to 1."""
        return self.score >= SURE and len(self.text) > 1


def missing_package() -> str:
    """The first package that reading needs and that is not installed in the release that is known; empty where all are there."""
    for name, release in ((PACKAGE, RELEASE), ("onnxruntime", "")):
        try:
            if not metadata.version(name).startswith(release):
                return f"{name} {release}*"
        except metadata.PackageNotFoundError:
            return name
    return ""


class Reader:
    """Loads its networks when it is made. Used by one thread at a time."""

    def __init__(self) -> None:
        from rapidocr import RapidOCR
        from rapidocr.main import RapidOCRError

        threads = {"EngineConfig.onnxruntime.intra_op_num_threads": _THREADS, "EngineConfig.onnxruntime.inter_op_num_threads": 1}
        self._ocr: Any = RapidOCR(params={"Global.log_level": "critical", **threads})
        self._nothing: type[Exception] = RapidOCRError
        self.read(PIL.Image.new("RGB", (64, 64)))  # the networks are loaded by their first use

    def read(self, picture: PIL.Image.Image) -> Lines:
        """Where there is text in an RGB picture; what is written there is read by iterating."""
        pixels = np.ascontiguousarray(np.asarray(_wide_enough(picture))[:, :, ::-1])  # blue comes first there
        prepared, record = self._ocr.preprocess_img(pixels)
        try:
            places, _ = self._ocr.detect_and_crop(prepared, record)
        except self._nothing:
            places = []
        return Lines(self, places[:MOST_LINES], more=len(places) > MOST_LINES)

    def lines(self, places: Sequence[Any]) -> list[Line]:
        """What is written in pieces of a picture; without those where hardly anything is."""
        read = self._recognized(places)
        doubtful = [place for place, line in enumerate(read) if line.score < SURE]
        turned = self._recognized([np.ascontiguousarray(places[place][::-1, ::-1]) for place in doubtful])
        for place, line in zip(doubtful, turned, strict=True):
            read[place] = max(read[place], line, key=lambda one: one.score)
        return [line for line in read if line.text and line.score >= LEAST]

    def _recognized(self, places: Sequence[Any]) -> list[Line]:
        if not places:
            return []
        read = self._ocr.recognize_txt(list(places))
        return [Line(text.strip(), float(score)) for text, score in zip(read.txts, read.scores, strict=True)]


class Lines:
    """The lines of one picture from top to bottom, a few at a time. `more`: there are others that are not read."""

    def __init__(self, reader: Reader, places: Sequence[Any], *, more: bool) -> None:
        self._reader, self._places, self.more = reader, places, more

    def __iter__(self) -> Iterator[list[Line]]:
        for begin in range(0, len(self._places), AT_ONCE):
            yield self._reader.lines(self._places[begin : begin + AT_ONCE])


def _wide_enough(picture: PIL.Image.Image) -> PIL.Image.Image:
    """Filled up in the colour of its corner where it is a strip."""
    width, height = picture.size
    size = (max(width, math.ceil(height / _LONGEST)), max(height, math.ceil(width / _LONGEST)))
    if size == picture.size:
        return picture
    made = PIL.Image.new("RGB", size, picture.getpixel((0, 0)))
    made.paste(picture, ((made.width - width) // 2, (made.height - height) // 2))
    return made

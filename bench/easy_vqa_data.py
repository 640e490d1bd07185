"""Questions about pictures of one coloured shape each: easy-VQA (Victor Zhou, MIT), read from its package, nothing is fetched.

4,000 pictures of 64 x 64 pixels with 38,575 questions to learn from, 1,000 others with 9,673 to be asked; both ask the same 107
questions, and whoever answers each as it is mostly answered, without looking, is right in 0.67 of them.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Literal

from shared.messages import Image, Message, Text

SHAPES = ("circle", "rectangle", "triangle")
COLOURS = ("black", "blue", "brown", "gray", "green", "red", "teal", "yellow")
SIDE = 64  # pixels
Part = Literal["train", "test"]


@dataclass(frozen=True, slots=True)
class Question:
    text: str
    answer: str
    picture: int


def questions(part: Part) -> list[Question]:
    listed = json.loads((_data() / part / "questions.json").read_text("utf-8"))
    return [Question(text, answer, picture) for text, answer, picture in listed]


def picture_file(part: Part, number: int) -> Path:
    return _data() / part / "images" / f"{number}.png"


@cache
def _data() -> Path:
    """Where the package lies, as a folder: it is installed unpacked."""
    return Path(str(resources.files("easy_vqa") / "data"))


def message(question: str, file: Path) -> Message:
    """What a person sends who adds the picture and asks about it."""
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    return Message("user", (Image(str(file), digest, SIDE, SIDE), Text(question)))


def what_is_seen(asked: Sequence[Question]) -> dict[int, tuple[str, str]]:
    """Shape and colour of the pictures whose questions tell both, by picture."""
    told: dict[int, set[str]] = {}
    for question in asked:
        words = question.text.rstrip("?").split()
        denied = "no" in words or "not" in words
        true = (question.answer == "yes") != denied
        named = words if true or question.answer not in ("yes", "no") else []
        told.setdefault(question.picture, set()).update(named, [question.answer])
    pairs = {picture: (told_of & {*SHAPES}, told_of & {*COLOURS}) for picture, told_of in told.items()}
    return {picture: (*shape, *colour) for picture, (shape, colour) in pairs.items() if len(shape) == len(colour) == 1}  # type: ignore[misc]


def other_pictures(asked: Sequence[Question], seed: int = 0) -> list[Question]:
    """The same questions with the same answers, each about the picture of another question, at random."""
    pictures = sorted({question.picture for question in asked})
    drawn = random.Random(seed)
    return [Question(q.text, q.answer, drawn.choice([p for p in pictures if p != q.picture])) for q in asked]

"""easy-VQA's training part as batches: pictures whose shapes are moved about, and the engine's own prompts about them as ids.

A shape is moved to any place of its picture and mirrored, which changes no answer. A batch is one sequence a picture: the picture
once, then several of its questions, either none of which sees another, or as turns of a conversation. Knows nothing of optimizers.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import PIL.Image
import torch
from torch import Tensor

from bench.easy_vqa_data import SIDE, Question, message, picture_file
from models.architectures.tiles import normalized
from models.architectures.xcomposer2 import InternLMXComposer2ForCausalLM
from models.backends.eyes import XComposer2Eyes, blind
from models.backends.pictures import prompt_of
from models.prompts.tokenizer import ChatTokenizer
from shared.chatml import XCOMPOSER2, Control, Plain, render

ASKED, TURNS = 5, 8  # questions of a picture in one sequence: beside each other, and in a conversation
NO_LOSS = -100


class Pictures:
    """The training pictures in memory, each with where its shape is."""

    def __init__(self, numbers: set[int]) -> None:
        self._originals = {number: np.array(PIL.Image.open(picture_file("train", number)).convert("RGB")) for number in numbers}
        self._boxes = {number: box_of(pixels) for number, pixels in self._originals.items()}

    def moved(self, numbers: Sequence[int], draw: random.Random) -> Tensor:
        """[n, 3, side, side], normalized: each with its shape at another place, or mirrored, or both."""
        return torch.stack([normalized(PIL.Image.fromarray(self.pixels(number, draw))) for number in numbers])

    def pixels(self, number: int, draw: random.Random) -> np.ndarray:
        pixels, (top, bottom, left, right) = self._originals[number], self._boxes[number]
        down, across = draw.randint(-top, SIDE - bottom), draw.randint(-left, SIDE - right)
        moved = np.roll(pixels, (down, across), axis=(0, 1))  # what leaves at one edge and comes in at the other is background
        return np.ascontiguousarray(moved[:, ::-1] if draw.random() < 0.5 else moved)


def box_of(pixels: np.ndarray) -> tuple[int, int, int, int]:
    """Rows and columns that are not all background, which is the most frequent colour: (first, end, first, end)."""
    colours, counts = np.unique(pixels.reshape(-1, 3), axis=0, return_counts=True)
    shape = (pixels != colours[counts.argmax()]).any(axis=-1)
    rows, columns = shape.any(axis=1).nonzero()[0], shape.any(axis=0).nonzero()[0]
    return int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1


class Lessons:
    """What is to be learnt about each picture, as ids: the prompt up to its questions, then question and answer."""

    def __init__(self, asked: Sequence[Question], tokenizer: ChatTokenizer, model: InternLMXComposer2ForCausalLM) -> None:
        self.tokenizer, self._eyes, self._blind = tokenizer, XComposer2Eyes(model), blind(model)
        self.prefix, _ = self._prompt(asked[0].text, asked[0].picture)
        tails = {question.text: self._prompt(question.text, question.picture)[1] for question in asked}
        ends = {question.answer: tokenizer.encode([Plain(question.answer), Control(XCOMPOSER2.end)]) for question in asked}
        self._between = tokenizer.encode([Plain("\n")])  # behind the mark that ends an answer
        self._about: dict[int, list[tuple[list[int], list[int]]]] = {}
        for question in asked:
            self._about.setdefault(question.picture, []).append((tails[question.text], ends[question.answer]))

    def _prompt(self, text: str, picture: int) -> tuple[list[int], list[int]]:
        """The engine's own prompt, cut behind the picture; image positions are -1."""
        prompt = prompt_of(render([message(text, picture_file("train", picture))], XCOMPOSER2), self.tokenizer, self._eyes, self._blind)
        (shown,) = prompt.pictures
        return [max(number, -1) for number in prompt.ids[: shown.end]], prompt.ids[shown.end :]

    @property
    def pictures(self) -> list[int]:
        return sorted(self._about)

    def batch(self, numbers: Sequence[int], draw: random.Random) -> Batch:
        """A row for each picture: some of its questions beside each other, or, every other time, a conversation of more of them."""
        return Batch.of([self.conversation(n, draw) if draw.random() < 0.5 else self.questions(n, draw) for n in numbers])

    def questions(self, number: int, draw: random.Random) -> Row:
        row = Row.begun(self.prefix)
        for which, (tail, end) in enumerate(self._drawn(number, ASKED, draw), 1):
            row.add(tail, end, at=len(self.prefix), which=which)
        return row

    def conversation(self, number: int, draw: random.Random) -> Row:
        row = Row.begun(self.prefix)
        for turn, (tail, end) in enumerate(self._drawn(number, TURNS, draw)):
            row.add([*self._between, *tail] if turn else tail, end, at=len(row.ids), which=0)
        return row

    def _drawn(self, number: int, most: int, draw: random.Random) -> list[tuple[list[int], list[int]]]:
        return draw.sample(self._about[number], min(most, len(self._about[number])))


@dataclass(frozen=True)
class Row:
    """What one picture's sequence holds at each position: its id, where it stands in its prompt, which question it belongs to (0: it
    is seen by all that follow), and the id to be learnt there."""

    ids: list[int]
    positions: list[int]
    which: list[int]
    targets: list[int]

    @classmethod
    def begun(cls, prefix: list[int]) -> Row:
        return cls(list(prefix), list(range(len(prefix))), [0] * len(prefix), [NO_LOSS] * len(prefix))

    def add(self, tail: list[int], end: list[int], *, at: int, which: int) -> None:
        """A question's `tail` and its answer, as they stand at `at` in their prompt."""
        length = len(tail) + len(end)
        self.ids.extend([*tail, *end])
        self.positions.extend(range(at, at + length))
        self.which.extend([which] * length)
        self.targets.extend([*[NO_LOSS] * (len(tail) - 1), *end, NO_LOSS])


@dataclass(frozen=True)
class Batch:
    """All [pictures, length]; `mask` is [pictures, 1, length, length], true where a position is seen."""

    ids: Tensor
    positions: Tensor
    targets: Tensor
    mask: Tensor

    @classmethod
    def of(cls, rows: Sequence[Row]) -> Batch:
        ids, positions = filled([row.ids for row in rows], 0), filled([row.positions for row in rows], 0)
        which, targets = filled([row.which for row in rows], -1), filled([row.targets for row in rows], NO_LOSS)
        mine = which[:, :, None] == which[:, None, :]
        seen = (mine | (which == 0)[:, None, :]) & torch.ones(ids.shape[1], ids.shape[1], dtype=torch.bool).tril()
        return cls(ids, positions, targets, seen[:, None])


def filled(rows: Sequence[list[int]], value: int) -> Tensor:
    """[rows, the longest one's length], with `value` behind the others."""
    longest = max(map(len, rows))
    return torch.tensor([[*row, *[value] * (longest - len(row))] for row in rows])

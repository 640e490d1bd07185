"""easy-VQA's training part as batches: pictures whose shapes are moved about, and the engine's own prompts about them as ids.

A shape is moved to any place of its picture and mirrored, which changes no answer. A batch is one sequence a picture: the picture
once, then several of its questions, none of which sees another. Knows nothing of optimizers.
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

ASKED = 5  # questions of a picture in one sequence
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
        self._tokenizer, self._eyes, self._blind = tokenizer, XComposer2Eyes(model), blind(model)
        self.prefix, _ = self._prompt(asked[0].text, asked[0].picture)
        tails = {question.text: self._prompt(question.text, question.picture)[1] for question in asked}
        ends = {question.answer: tokenizer.encode([Plain(question.answer), Control(XCOMPOSER2.end)]) for question in asked}
        self._about: dict[int, list[tuple[list[int], list[int]]]] = {}
        for question in asked:
            self._about.setdefault(question.picture, []).append((tails[question.text], ends[question.answer]))

    def _prompt(self, text: str, picture: int) -> tuple[list[int], list[int]]:
        """The engine's own prompt, cut behind the picture; image positions are -1."""
        prompt = prompt_of(render([message(text, picture_file("train", picture))], XCOMPOSER2), self._tokenizer, self._eyes, self._blind)
        (shown,) = prompt.pictures
        return [max(number, -1) for number in prompt.ids[: shown.end]], prompt.ids[shown.end :]

    @property
    def pictures(self) -> list[int]:
        return sorted(self._about)

    def batch(self, numbers: Sequence[int], draw: random.Random) -> Batch:
        """ASKED questions of each picture, or all where there are fewer."""
        return Batch.of(self.prefix, [draw.sample(self._about[n], min(ASKED, len(self._about[n]))) for n in numbers])


@dataclass(frozen=True)
class Batch:
    """All [pictures, length]; `mask` is [pictures, 1, length, length], true where a position is seen."""

    ids: Tensor
    positions: Tensor
    targets: Tensor
    mask: Tensor

    @classmethod
    def of(cls, prefix: list[int], lessons: Sequence[Sequence[tuple[list[int], list[int]]]]) -> Batch:
        longest = len(prefix) + max(sum(len(tail) + len(end) for tail, end in row) for row in lessons)
        ids = torch.zeros(len(lessons), longest, dtype=torch.long)
        positions, which = torch.zeros_like(ids), torch.full_like(ids, -1)
        targets = torch.full_like(ids, NO_LOSS)
        for row, questions_of in enumerate(lessons):
            at = len(prefix)
            ids[row, :at], positions[row, :at], which[row, :at] = torch.tensor(prefix), torch.arange(at), 0
            for number, (tail, end) in enumerate(questions_of, 1):
                stop = at + len(tail) + len(end)
                ids[row, at:stop], which[row, at:stop] = torch.tensor(tail + end), number
                positions[row, at:stop] = torch.arange(len(prefix), len(prefix) + stop - at)
                targets[row, at + len(tail) - 1 : stop - 1] = torch.tensor(end)
                at = stop
        mine = which[:, :, None] == which[:, None, :]
        seen = (mine | (which == 0)[:, None, :]) & torch.ones(longest, longest, dtype=torch.bool).tril()
        return cls(ids, positions, targets, seen[:, None])

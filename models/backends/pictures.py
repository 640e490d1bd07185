"""Prompts with pictures: one sequence of ids in which each picture is a run of positions known by what it shows.

An id below zero stands for a position of a picture; it is made of the file's sha256 and of how the picture is cut up, so that
two prompts are compared position by position, pictures included. `Gaze` encodes those whose positions have to be read, and lets go of
them behind that; what was encoded last stands in `Seen` for a while, since a picture comes back at another place: a candidate that was
chosen, one that is offered again. Pictures are opened by `models.picture_files`.

Knows no model: what turns a picture into rows is an `Eyes` (`models.backends.eyes`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import PIL.Image
import torch

from models.backends.mrope import Grid, Places
from models.memory.footprint import SEEN_BYTES
from models.picture_files import open_picture, size_of, upright
from models.prompts.tokenizer import ChatTokenizer
from shared.chatml import ImageSlot, Piece
from shared.engine import Cancel, Cancelled
from shared.errors import BadRequest
from shared.messages import Detail, Image


@dataclass(frozen=True, slots=True)
class Layout:
    """What stands for a picture: ids, with -1 for each of its own positions. Two with one `detail` were cut up alike.
    `grid`, rows and columns, where a model counts in three dimensions: then there is nothing but the picture's own positions."""

    ids: tuple[int, ...]
    detail: str = ""
    grid: tuple[int, int] | None = None


class Eyes(Protocol):
    """How one model sees."""

    token: str  # what its chat template writes for a picture; empty where a dialect places pictures

    def layout(self, width: int, height: int, pictures: int, detail: Detail) -> Layout:
        """Of a picture of that size, one of `pictures` in the conversation; computes nothing of the model."""
        ...

    def encode(self, picture: PIL.Image.Image, pictures: int, detail: Detail) -> torch.Tensor:
        """[positions, hidden]."""
        ...

    def inputs(self, ids: torch.Tensor, rows: torch.Tensor) -> dict[str, Any]:
        """What the model's `forward` takes for `ids` [1, n], some of them negative, and the rows for these."""
        ...


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture of a prompt, whose positions lie between `begin` and `end` in it."""

    image: Image
    begin: int
    end: int
    grid: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Prompt:
    ids: list[int]
    pictures: tuple[Picture, ...] = ()

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def text_ids(self) -> list[int]:
        """Without the positions of pictures, which are no tokens."""
        return [token_id for token_id in self.ids if token_id >= 0] if self.pictures else self.ids


def prompt_of(pieces: Sequence[Piece], tokenizer: ChatTokenizer, eyes: Eyes | None, blind: BadRequest) -> Prompt:
    """Raises `blind` for a picture and no eyes, and `BadRequest` naming a picture that is not there or not what it was."""
    count = sum(isinstance(piece, ImageSlot) for piece in pieces)
    if count and eyes is None:
        raise blind
    ids: list[int] = []
    pictures: list[Picture] = []
    for piece in pieces:
        if not isinstance(piece, ImageSlot) or eyes is None:
            ids += tokenizer.encode([piece])
            continue
        layout = eyes.layout(*size_of(open_picture(piece.image)), count, piece.image.detail)
        shown = _shown(piece.image, layout)
        pictures.append(Picture(piece.image, len(ids), len(ids) + len(layout.ids), layout.grid))
        ids += [shown if token_id < 0 else token_id for token_id in layout.ids]
    return Prompt(ids, tuple(pictures))


def _shown(image: Image, layout: Layout) -> int:
    digest = hashlib.sha256(f"{image.sha256}:{layout.detail}".encode()).digest()
    return -1 - int.from_bytes(digest[:7])


class Seen:
    """The rows of the last pictures, by the id of their positions: what they show, and how it was cut up. The oldest goes first, once
    there are more than `limit_bytes`; a picture that is larger is not kept. Used by the model's owner thread only."""

    def __init__(self, limit_bytes: int = SEEN_BYTES) -> None:
        self._limit = limit_bytes
        self._rows: dict[int, torch.Tensor] = {}

    def __getitem__(self, shown: int) -> torch.Tensor | None:
        rows = self._rows.pop(shown, None)
        if rows is not None:
            self._rows[shown] = rows  # it was used now
        return rows

    def keep(self, shown: int, rows: torch.Tensor) -> None:
        self._rows.pop(shown, None)
        if rows.nbytes > self._limit:
            return
        self._rows[shown] = rows
        while sum(kept.nbytes for kept in self._rows.values()) > self._limit:
            del self._rows[next(iter(self._rows))]


class Gaze:
    """The pictures of one prompt, as far as they have to be looked at. Used by the model's owner thread only."""

    def __init__(self, prompt: Prompt, eyes: Eyes | None, seen: Seen | None = None) -> None:
        self._prompt = prompt
        self._eyes = eyes
        self._seen = Seen(0) if seen is None else seen
        self._rows: dict[Picture, torch.Tensor] = {}
        grids = [Grid(picture.begin, *picture.grid) for picture in prompt.pictures if picture.grid]
        self._where = Places(len(prompt), grids) if grids else None

    def inputs(self, ids: torch.Tensor, begin: int) -> dict[str, Any]:
        """What the model's `forward` takes for `ids` [1, n], which come at `begin`, in the prompt or behind it."""
        end = begin + ids.shape[1]
        rows = self.rows(begin, end)
        given = {"input_ids": ids} if rows is None or self._eyes is None else self._eyes.inputs(ids, rows)
        return given if self._where is None else {**given, "position_ids": self._where.between(begin, end).to(ids.device)}

    def wanted(self, begin: int, end: int) -> list[Picture]:
        """Those with positions between `begin` and `end`, which are not encoded yet."""
        near = (picture for picture in self._prompt.pictures if picture.begin < end and picture.end > begin)
        return [picture for picture in near if picture not in self._rows and self._places(picture, begin, end)]

    def encode(self, picture: Picture, model: torch.nn.Module, cancel: Cancel) -> bool:
        """False when `cancel` ended it, which it does between any two layers."""
        shown = next(token_id for token_id in self._prompt.ids[picture.begin : picture.end] if token_id < 0)
        rows = self._seen[shown]
        if rows is None:
            try:
                with torch.inference_mode(), watched(model, lambda: cancel.is_set()):
                    rows = self._encoded(picture)
            except Cancelled:
                return False
            self._seen.keep(shown, rows)
        self._rows[picture] = rows
        return True

    def _encoded(self, picture: Picture) -> torch.Tensor:
        assert self._eyes is not None
        pixels = upright(open_picture(picture.image), picture.image)
        rows = self._eyes.encode(pixels, len(self._prompt.pictures), picture.image.detail)
        places = self._places(picture, picture.begin, picture.end)
        if len(rows) != places:
            raise BadRequest(f"The model sees {len(rows):,} positions in a picture laid out as {places:,}.", "Choose another model.")
        return rows

    def rows(self, begin: int, end: int) -> torch.Tensor | None:
        """The rows of the positions between `begin` and `end`, None where there are none; what lies before `end` is forgotten."""
        parts = []
        for picture, rows in list(self._rows.items()):
            first = self._places(picture, picture.begin, begin)
            parts.append(rows[first : first + self._places(picture, begin, end)])
            if picture.end <= end:
                del self._rows[picture]
        return torch.cat(parts) if parts else None

    def _places(self, picture: Picture, begin: int, end: int) -> int:
        span = self._prompt.ids[max(begin, picture.begin) : min(end, picture.end)]
        return sum(token_id < 0 for token_id in span)


@contextmanager
def watched(model: torch.nn.Module, stopped: Callable[[], bool]) -> Iterator[None]:
    """`Cancelled` out of whatever of `model` runs inside, at its next layer after `stopped` has become true."""

    def look(*_: object) -> None:
        if stopped():
            raise Cancelled

    handles = [module.register_forward_pre_hook(look) for module in model.modules()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()

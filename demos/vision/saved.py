"""Conversations with pictures, written for a browser or a file and read back from there.

A picture is written as its sha256 and how closely it is looked at, and nothing else: what comes back from outside can name a
picture of this very conversation, and no file. One that is not there any more leaves a word in its place. Everything else is
`demos.turns`, which takes texts only.
"""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from demos import turns
from demos.pictures.images import SHA256
from demos.turns import Conversation
from shared.messages import DETAILS, Detail, Image, Message, Part, Text

GONE = "(picture #{number} is gone)\n"
_GONE = re.compile(r"\(picture #\d+ is gone\)\n")
MOST_PARTS = 1000  # of one question
_PICTURE, _FIELDS = "Image", ("type", "sha256", "detail")


@dataclass(frozen=True, slots=True)
class Named:
    """What is saved of a picture."""

    sha256: str
    detail: Detail


def numbered(conversation: Conversation) -> tuple[tuple[int, Image], ...]:
    """The pictures that are there, in the order in which they were sent, by the number people call them: one that is gone keeps its."""
    return tuple((number, part) for number, part in enumerate(places(conversation), 1) if isinstance(part, Image))


def places(conversation: Conversation) -> list[Part]:
    """Every picture that was sent, or what stands in its place."""
    return [part for turn in conversation for part in turn.question.parts if isinstance(part, Image) or _is_gone(part)]


def words(question: Message) -> str:
    """What somebody wrote, without what stands in the place of pictures that are gone."""
    return "".join(part.text for part in question.parts if isinstance(part, Text) and not _is_gone(part))


def _is_gone(part: Part) -> bool:
    return isinstance(part, Text) and _GONE.fullmatch(part.text) is not None


def to_json(conversation: Conversation) -> list[dict[str, Any]]:
    """JSON-ready; `from_json` gives the equal conversation back while its pictures are there."""
    written = turns.to_json(conversation)
    for turn in written:
        turn["question"]["parts"] = [_named(part) for part in turn["question"]["parts"]]
    return written


def from_json(value: Any, find: Callable[[str], Image | None]) -> Conversation:
    """The conversation `to_json` wrote; `find` is `Pictures.find` of the same conversation.

    Raises `ValueError` on anything else: it comes back from a browser or a file."""
    if not isinstance(value, list):
        raise ValueError("a conversation is a list")
    parts = [_parts_of(turn) for turn in value]
    texts = turns.from_json(
        [_with_parts(turn, [part for part in own if isinstance(part, dict)]) for turn, own in zip(value, parts, strict=True)]
    )
    numbers = itertools.count(1)
    return tuple(
        dataclasses.replace(turn, question=_question(turn.question, own, numbers, find)) for turn, own in zip(texts, parts, strict=True)
    )


def _named(part: dict[str, Any]) -> dict[str, Any]:
    return {name: part[name] for name in _FIELDS} if part["type"] == _PICTURE else part


def _parts_of(turn: Any) -> list[dict[str, Any] | Named]:
    """A turn's parts: a picture as what names it, everything else as it is. Nothing of the rest of the turn is judged here."""
    question = turn.get("question") if isinstance(turn, Mapping) else None
    parts = question.get("parts") if isinstance(question, Mapping) else None
    if not isinstance(parts, list) or len(parts) > MOST_PARTS:
        raise ValueError("a turn has a question, and that has parts")
    return [_picture(part) if isinstance(part, dict) and part.get("type") == _PICTURE else _other(part) for part in parts]


def _picture(part: dict[str, Any]) -> Named:
    sha256, detail = part.get("sha256"), part.get("detail")
    if set(part) != {*_FIELDS} or not isinstance(sha256, str) or not SHA256.fullmatch(sha256) or detail not in DETAILS:
        raise ValueError("a saved picture is its sha256 and its detail, and nothing else")
    return Named(sha256, detail)


def _other(part: Any) -> dict[str, Any]:
    if not isinstance(part, dict):
        raise ValueError("a part has a known type")
    return part


def _with_parts(turn: Any, parts: list[dict[str, Any]]) -> dict[str, Any]:
    return {**turn, "question": {**turn["question"], "parts": parts}}


def _question(
    question: Message, parts: list[dict[str, Any] | Named], numbers: Iterator[int], find: Callable[[str], Image | None]
) -> Message:
    """`question` has the texts among `parts`, in order."""
    texts = iter(question.parts)
    made: list[Part] = []
    for part in parts:
        if isinstance(part, Named):
            image, number = find(part.sha256), next(numbers)
            found = dataclasses.replace(image, detail=part.detail) if image is not None else None
            made.append(found if found is not None else Text(GONE.format(number=number)))
            continue
        made.append(next(texts))
        if _is_gone(made[-1]):
            next(numbers)
    return dataclasses.replace(question, parts=tuple(made))

"""A conversation with pictures: what a model is asked, what the page shows of it, what a browser keeps. Knows no component.

Pictures are numbered through the conversation, in the order in which they were sent; people and models name them by that number.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Container, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from demos import render, turns, view
from demos.strings import Strings
from demos.turns import Conversation, Turn
from demos.view import Form, View
from demos.vision import boxes, saved
from demos.vision.boxes import Box
from demos.vision.desk import Desk
from models import qwen_sizes
from shared.errors import BadRequest, DemoError
from shared.messages import Image, Message, Part, Text

MOST_BOXES = 60  # drawn on the page
LABEL = "Image #{number}: "


class PictureForm(Form):
    """`key` and `desk` are the conversation's, `model` the one that is chosen; `hands_over`: there is a chat to
    hand facts to; `ours`: see `boxes_of`."""

    def __init__(self, key: str, desk: Desk | None, model: str = "", *, hands_over: bool = False, ours: Container[str] = ()) -> None:
        self._key, self._desk, self._model, self._hands_over, self._ours = key, desk, model, hands_over, ours

    def messages(self, conversation: Conversation, system_text: str) -> list[Message]:
        """A picture that is not the only one has its number before it. What a turn is to the model never depends on later ones.

        One that is not there any more leaves a word in its place, so that the conversation goes on; of the newest question it does
        not: that is refused by the engine, because nobody asks about a picture to have it left out."""
        named = []
        for turn, (_, numbered) in zip(conversation, _numbered_by_turn(conversation), strict=True):
            numbers = iter(number for number, _ in numbered)
            there = turn is conversation[-1]
            parts = [part for given in turn.question.parts for part in _labelled(given, numbers, alone=len(numbered) == 1, there=there)]
            named.append(replace(turn, question=replace(turn.question, parts=tuple(parts))))
        return turns.to_messages(tuple(named), system_text)

    def log(self, conversation: Conversation, t: Strings, *, streaming: bool = False) -> render.Log:
        """Over each question its pictures; without the marks that frames have in the text."""
        shown = tuple(replace(turn, answer=boxes.shown(turn.answer)) for turn in conversation)
        log = render.log(shown, t, streaming=streaming)
        numbers = dict(_numbered_by_turn(conversation))
        messages: list[dict[str, Any]] = []
        owners: list[int] = []
        for at, (message, owner) in enumerate(zip(log.messages, log.turns, strict=True)):
            if message["role"] == "user" and (at == 0 or log.turns[at - 1] != owner) and numbers.get(owner):
                messages.append({"role": "user", "content": {"type": "text", "text": self._strip(numbers[owner], t)}})
                owners.append(render.NOBODY)  # Gradio tells of an edit of it, too
            messages.append(message)
            owners.append(owner)
        if messages and not streaming and self._can_hand_over(conversation):
            messages[-1].setdefault("options", []).append({"value": "chat", "label": t("vision.hand_over")})
        return render.Log(messages, owners)

    def whole(self, conversation: Conversation, t: Strings, *, streaming: bool = False) -> View:
        title = {"title": view.title(saved.words(conversation[0].question))} if conversation else {}
        return {**super().whole(conversation, t, streaming=streaming), **title, "viewer": self.viewer(conversation)}

    def opened(self, conversation: Conversation, t: Strings) -> View:
        return {"viewer": self.viewer(conversation)}

    def viewer(self, conversation: Conversation) -> dict[str, Any]:
        """What stands beside the conversation: the pictures that were sent, and the frames that answers draw on them. `at` lets the
        page tell it from an older one, which Gradio may tell of again."""
        sent = [{"n": number, **self._about(image)} for number, image in saved.numbered(conversation)]
        found = [
            {"n": box.picture, "label": box.label, "edges": [round(edge, 4) for edge in box.edges], "turn": index}
            for index, box in boxes_of(conversation, self._ours)
        ]
        return {
            "key": self._key,
            "model": self._model,
            "sent": sent,
            "count": len(saved.places(conversation)),
            "boxes": found[-MOST_BOXES:],
            "state": conversation[-1].outcome if conversation else "",
            "at": time.time(),
        }

    def to_json(self, conversation: Conversation) -> list[dict[str, Any]]:
        return saved.to_json(conversation)

    def from_json(self, value: Any) -> Conversation:
        return saved.from_json(value, self._desk.pictures.find if self._desk is not None else lambda sha256: None)

    def exported(self, conversation: Conversation, t: Strings) -> dict[str, Any]:
        """Markdown with small pictures in it."""
        shown = tuple(
            replace(turn, question=replace(turn.question, parts=(*(Text(self._inside(*one)) for one in numbered), *_texts(turn))))
            for turn, numbered in zip(conversation, (of for _, of in _numbered_by_turn(conversation)), strict=True)
        )
        return {**super().exported(shown, t), "name": "pictures.md"}

    def _about(self, image: Image) -> dict[str, Any]:
        name = self._desk.name_of(image) if self._desk is not None else ""
        return {"id": image.sha256, "width": image.width, "height": image.height, "detail": image.detail, "name": name}

    def _strip(self, numbered: Sequence[tuple[int, Image]], t: Strings) -> str:
        """Small pictures with their numbers; no text of a visitor in it."""
        shots = "".join(
            f'<span class="pz-shot"><img src="puyu/pictures/{self._key}/{image.sha256}?small" alt="{t("vision.picture", n=number)}">'
            f"<b>#{number}</b></span>"
            for number, image in numbered
        )
        return f'{render.FOOT_BEGIN}<span class="pz-shots">{shots}</span>{render.FOOT_END}'

    def _inside(self, number: int, image: Image) -> str:
        try:
            small = self._desk.pictures.thumbnail(image).read_bytes() if self._desk is not None else b""
        except (DemoError, OSError):  # gone meanwhile: its number stays
            small = b""
        return f"![#{number}](data:image/jpeg;base64,{base64.b64encode(small).decode('ascii')})\n\n" if small else f"#{number}\n\n"

    def _can_hand_over(self, conversation: Conversation) -> bool:
        return self._hands_over and bool(conversation) and bool(conversation[-1].answer) and bool(pictures_of(conversation))


def pictures_of(conversation: Conversation) -> tuple[Image, ...]:
    return tuple(image for turn in conversation for image in _of(turn))


def boxes_of(conversation: Conversation, ours: Container[str] = ()) -> list[tuple[int, Box]]:
    """Every frame of every answer, with the index of its turn; a frame belongs to a picture that was there when it was drawn. `ours`
    are the models whose pictures this program prepares, and so knows how large they were seen."""
    found = []
    seen: dict[int, Image] = {}
    sent = 0
    for index, (turn, (_, numbered)) in enumerate(zip(conversation, _numbered_by_turn(conversation), strict=True)):
        seen |= dict(numbered)
        sent += len(saved.places((turn,)))
        unit = boxes.json_unit(turn.model)
        sizes = [_seen(seen.get(number), unit, ours=turn.model in ours) for number in range(1, sent + 1)]
        drawn = boxes.parse(turn.answer, sizes, unit=unit, question=saved.words(turn.question))
        found += [(index, box) for box in drawn if box.picture in seen]
    return found


def _seen(image: Image | None, unit: boxes.Unit, *, ours: bool) -> tuple[int, int]:
    if image is None:  # gone: it keeps its place among the others, and its frames are left out
        return 1, 1
    if unit != "pixels":
        return image.width, image.height
    sizes = qwen_sizes.PUBLISHED.at(image.detail) if ours else qwen_sizes.PUBLISHED
    try:
        return sizes.seen(image.width, image.height)
    except BadRequest:  # no model of the family sees such a picture: the pixels are those of another one
        return image.width, image.height


def _of(turn: Turn) -> tuple[Image, ...]:
    return tuple(part for part in turn.question.parts if isinstance(part, Image))


def _texts(turn: Turn) -> tuple[Text, ...]:
    return tuple(part for part in turn.question.parts if isinstance(part, Text))


def _numbered_by_turn(conversation: Conversation) -> list[tuple[int, list[tuple[int, Image]]]]:
    """The index of each turn, and its pictures with their numbers."""
    numbers = iter(number for number, _ in saved.numbered(conversation))
    return [(index, [(next(numbers), image) for image in _of(turn)]) for index, turn in enumerate(conversation)]


def _labelled(part: Part, numbers: Iterator[int], *, alone: bool, there: bool) -> tuple[Part, ...]:
    if not isinstance(part, Image):
        return (part,)
    number = next(numbers)
    if not there and not Path(part.path).is_file():
        return (Text(saved.GONE.format(number=number)),)
    return (part,) if alone and number == 1 else (Text(LABEL.format(number=number)), part)

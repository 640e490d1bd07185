"""Conversations with pictures, written and read back: exact while the pictures are there, and never a way to another file."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from demos.turns import Conversation, Turn
from demos.vision import saved
from shared.messages import Image, Message, Text, user
from tests.demos.test_turns import anything, conversations, places, replaced

IMAGES = tuple(Image(f"/session/{letter * 64}.png", letter * 64, 40, 30) for letter in "abc")
CLOSE = dataclasses.replace(IMAGES[0], detail="high")
KEPT = {image.sha256: image for image in IMAGES}

questions = st.lists(st.sampled_from((*IMAGES, CLOSE)) | st.builds(Text, st.text(max_size=9)), max_size=4).map(
    lambda parts: Message("user", tuple(parts))
)
pictured = st.lists(st.builds(Turn, questions, st.text(max_size=9)), max_size=4).map(tuple)


def asked(*parts: Image | Text) -> Turn:
    return Turn(Message("user", parts), "an answer", outcome="stop")


def through_a_browser(conversation: Conversation) -> Any:
    return json.loads(json.dumps(saved.to_json(conversation)))


@given(pictured)
@settings(deadline=None)
def test_the_equal_conversation_comes_back(conversation: Conversation) -> None:
    assert saved.from_json(through_a_browser(conversation), KEPT.get) == conversation


@given(conversations)
@settings(deadline=None)
def test_texts_are_as_before(conversation: Conversation) -> None:
    assert saved.from_json(through_a_browser(conversation), {}.get) == conversation


def test_no_path_is_written() -> None:
    written = json.dumps(saved.to_json((asked(IMAGES[0], Text("?")),)))
    assert "session" not in written and IMAGES[0].sha256 in written


def test_what_is_gone_is_said_under_its_number_and_the_others_keep_theirs() -> None:
    conversation = (asked(IMAGES[0], IMAGES[1], Text("Which?")), asked(IMAGES[2], Text("And this?")))
    value = through_a_browser(conversation)
    left = {image.sha256: image for image in (IMAGES[0], IMAGES[2])}
    found = saved.from_json(value, left.get)
    assert found[0].question == Message("user", (IMAGES[0], Text("(picture #2 is gone)\n"), Text("Which?")))
    assert saved.numbered(found) == ((1, IMAGES[0]), (3, IMAGES[2]))
    again = saved.from_json(through_a_browser(found), {}.get)
    assert [part.text for turn in again for part in turn.question.parts if isinstance(part, Text)] == [
        "(picture #1 is gone)\n", "(picture #2 is gone)\n", "Which?", "(picture #3 is gone)\n", "And this?",
    ]  # fmt: skip
    assert saved.numbered(again) == ()


@pytest.mark.parametrize(
    "picture",
    [
        {"type": "Image", "path": "/etc/passwd", "sha256": "a" * 64, "width": 1, "height": 1, "detail": "auto"},
        {"type": "Image", "sha256": "a" * 64, "path": "/etc/passwd"},
        *({"type": "Image", "sha256": sha256, "detail": "auto"} for sha256 in ("../../etc/passwd", "A" * 64, "a" * 64 + "\n", None)),
        *({"type": "Image", "sha256": "a" * 64, "detail": detail} for detail in ("huge", None, ["auto"])),
        {"type": "Image"}, {"type": "Image", "sha256": "a" * 64}, {"type": ["Image"], "sha256": "a" * 64, "detail": "auto"}, "a" * 64, None,
    ],
)  # fmt: skip
def test_a_picture_from_outside_is_a_sha256_or_refused(picture: Any) -> None:
    value = through_a_browser((asked(Text("?")),))
    value[0]["question"]["parts"] = [picture]
    with pytest.raises(ValueError):
        saved.from_json(value, KEPT.get)


def test_pictures_hide_nowhere_else() -> None:
    value = through_a_browser((asked(Text("?")),))
    image = {"type": "Image", "path": "/etc/passwd", "sha256": "a" * 64, "width": 1, "height": 1, "detail": "auto"}
    result = {"type": "ToolResult", "call_id": "1", "content": "", "images": [image], "error": False}
    value[0]["question"]["parts"] = [result]
    with pytest.raises(ValueError):
        saved.from_json(value, KEPT.get)


@given(st.data(), anything)
@settings(deadline=None, max_examples=200)
def test_anything_is_taken_as_what_it_is_or_refused(data: st.DataObject, new: Any) -> None:
    value = through_a_browser((asked(IMAGES[0], Text("?")), Turn(user("q"))))
    value = replaced(value, data.draw(st.sampled_from(places(value))), new)
    try:
        found = saved.from_json(value, KEPT.get)
    except ValueError:
        return
    assert saved.to_json(found) == value
    assert all(part.path in {image.path for image in IMAGES} for turn in found for part in turn.question.parts if isinstance(part, Image))


def test_no_endless_list_of_pictures() -> None:
    value = through_a_browser((asked(Text("?")),))
    value[0]["question"]["parts"] = [{"type": "Image", "sha256": "a" * 64, "detail": "auto"}] * (saved.MOST_PARTS + 1)
    with pytest.raises(ValueError, match="parts"):
        saved.from_json(value, KEPT.get)

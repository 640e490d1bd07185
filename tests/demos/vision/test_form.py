"""A conversation with pictures: what a model is asked, what the page shows, what a browser keeps."""

from __future__ import annotations

import base64
import html.parser
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from demos import render, turns
from demos.pictures.images import Pictures
from demos.strings import Strings
from demos.turns import Conversation, Turn
from demos.vision.desk import Desk
from demos.vision.form import PictureForm, boxes_of, pictures_of
from models.qwen_sizes import PUBLISHED
from shared.messages import DETAILS, Image, Message, Text, user
from tests.demos.pictures.samples import corners, saved
from tests.demos.test_turns import anything

EN, ZH = Strings("en"), Strings("zh")
KEY = "0123456789abcdef" * 2
SCRIPT = '<img src=x onerror="document.title=1">${alert(1)}'


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[Image]:
    """Files that stay, of other sizes each."""
    pictures = Pictures(tmp_path_factory.mktemp("kept") / "mine")
    return [pictures.add(saved(corners((width, 100)), "PNG")).image for width in (100, 200, 300, 400, 500)]


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(Pictures(tmp_path / "mine"))


def asked(*parts: Image | str, answer: str = "An answer.", model: str = "m") -> Turn:
    return Turn(Message("user", tuple(Text(part) if isinstance(part, str) else part for part in parts)), answer, "", "stop", model)


def put(conversation: Conversation) -> list[list[str | Image]]:
    """What the model reads of every question."""
    messages = PictureForm(KEY, None).messages(conversation, "")
    return [[part.text if isinstance(part, Text) else part for part in one.parts] for one in messages if one.role == "user"]  # type: ignore[union-attr]


def added(desk: Desk, width: int, name: str = "a.png") -> Image:
    desk.add(saved(corners((width, 100)), "PNG"), name)
    image = desk.draft[-1].image
    desk.taken([image])
    return image


# ---- what a model is asked -----------------------------------------------------------------------------------------------------


def test_the_only_picture_has_no_number(images: list[Image]) -> None:
    one = images[0]
    assert put((asked(one, "What?"), asked("And?"))) == [[one, "What?"], ["And?"]]


def test_several_have_theirs_through_the_whole_conversation(images: list[Image]) -> None:
    one, two, three, *_ = images
    assert put((asked(one, "What?"), asked("And?"), asked(two, "This?"), asked(three, one, "These?"))) == [
        [one, "What?"], ["And?"], ["Image #2: ", two, "This?"], ["Image #3: ", three, "Image #4: ", one, "These?"],
    ]  # fmt: skip
    assert put((asked(two, one, "Which?"),)) == [["Image #1: ", two, "Image #2: ", one, "Which?"]]


def test_the_system_text_and_the_answers_are_there(images: list[Image]) -> None:
    messages = PictureForm(KEY, None).messages((asked(images[0], "What?"), asked("And?", answer="")), "Be brief.")
    assert [(one.role, one.text) for one in messages] == [
        ("system", "Be brief."), ("user", "What?"), ("assistant", "An answer."), ("user", "And?"),
    ]  # fmt: skip


@given(st.data())
@settings(deadline=None, max_examples=100)
def test_an_earlier_turn_never_depends_on_later_ones(images: list[Image], data: st.DataObject) -> None:
    """Else a cache of what was read would be of no use, and turn 8 as slow as all of them."""
    parts = st.lists(st.sampled_from(images) | st.text(max_size=5), max_size=4)
    whole = tuple(asked(*data.draw(parts), answer=f"answer {n}") for n in range(data.draw(st.integers(1, 6))))
    for end in range(1, len(whole)):
        before, after = (PictureForm(KEY, None).messages(part, "") for part in (whole[:end], whole))
        assert after[: len(before)] == before


def test_every_detail_reaches_the_model(images: list[Image]) -> None:
    looked = [replace(images[0], detail=detail) for detail in DETAILS]
    assert [part for part in put((asked(*looked, "?"),))[0] if isinstance(part, Image)] == looked


def test_a_picture_that_is_gone_leaves_a_word_and_the_conversation_goes_on(desk: Desk) -> None:
    one, two = added(desk, 50), added(desk, 60)
    Path(one.path).unlink()
    assert put((asked(one, "What?"), asked(two, "This?"), asked("And?"))) == [
        ["(picture #1 is gone)\n", "What?"], ["Image #2: ", two, "This?"], ["And?"],
    ]  # fmt: skip


def test_but_a_question_is_not_asked_without_its_own(desk: Desk) -> None:
    """It goes to the engine as it is, which refuses it."""
    one = added(desk, 50)
    Path(one.path).unlink()
    assert put((asked(one, "What?"),)) == [[one, "What?"]]


# ---- what is shown -------------------------------------------------------------------------------------------------------------


def test_over_a_question_are_its_pictures_and_they_are_nobody_s(images: list[Image]) -> None:
    one, two, *_ = images
    log = PictureForm(KEY, None).log((asked(one, two, "Which?"), asked("And?")), EN)
    assert [message["role"] for message in log.messages] == ["user", "user", "assistant", "user", "assistant"]
    assert log.turns == [render.NOBODY, 0, 0, 1, 1]
    strip = log.messages[0]["content"]["text"]
    assert re.findall(r'src="([^"]*)"', strip) == [f"puyu/pictures/{KEY}/{image.sha256}?small" for image in (one, two)]
    assert strip.startswith(render.FOOT_BEGIN) and strip.endswith(render.FOOT_END) and "<b>#2</b>" in strip
    assert log.messages[1]["content"]["text"] == "Which?"


def test_the_owners_count_from_the_first_turn_that_is_shown(images: list[Image]) -> None:
    conversation = tuple(asked(images[n % 5], f"{n}?") for n in range(render.SHOWN + 3))
    log = PictureForm(KEY, None).log(conversation, EN)
    assert log.turns == [owner for n in range(3, render.SHOWN + 3) for owner in (render.NOBODY, n, n)]
    assert "#4</b>" in log.messages[0]["content"]["text"]


class Tags(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize("t", [EN, ZH])
def test_no_text_of_a_visitor_is_in_the_strip(desk: Desk, t: Strings) -> None:
    image = added(desk, 50, SCRIPT)
    log = PictureForm(KEY, desk).log((asked(image, SCRIPT, answer=SCRIPT),), t)
    tags = Tags()
    tags.feed(log.messages[0]["content"]["text"].strip(render.FOOT_BEGIN + render.FOOT_END))
    assert [tag for tag, _ in tags.seen] == ["span", "span", "img", "b"] and tags.text == "#1"
    assert tags.seen[2][1] == {"src": f"puyu/pictures/{KEY}/{image.sha256}?small", "alt": t("vision.picture", n=1)}
    assert all("<img" not in message["content"]["text"] for message in log.messages[1:])


def test_marks_of_frames_are_not_shown_but_names_are(images: list[Image]) -> None:
    answer = "There is <ref>the cat</ref><box>(100,50),(700,950)</box>, asleep."
    log = PictureForm(KEY, None).log((asked(images[0], "?", answer=answer),), EN)
    assert log.messages[2]["content"]["text"] == "There is the cat, asleep."


def test_facts_are_offered_to_the_chat_when_they_are_there(images: list[Image]) -> None:
    form = PictureForm(KEY, None, hands_over=True)
    offer = [{"value": "chat", "label": EN("vision.hand_over")}]
    done = (asked(images[0], "?"),)
    assert form.log(done, EN).messages[-1]["options"] == offer
    assert PictureForm(KEY, None).log(done, EN).messages[-1].get("options") is None
    for other in ((), (asked("no picture"),), (asked(images[0], "?", answer=""),)):
        assert not any("options" in message for message in form.log(other, EN).messages)
    assert not any("options" in message for message in form.log(done, EN, streaming=True).messages)
    cut = (replace(done[0], outcome="length"),)
    assert [option["value"] for option in form.log(cut, EN).messages[-1]["options"]] == ["continue", "chat"]


def test_beside_it_stand_the_pictures_with_their_numbers_and_names(desk: Desk) -> None:
    one, two = added(desk, 50, "one.png"), added(desk, 60, "two.png")
    shown = PictureForm(KEY, desk).whole((asked(one, "?"), asked(two, "?")), EN)["viewer"]
    assert shown["key"] == KEY and shown["state"] == "stop" and shown["boxes"] == []
    assert shown["sent"] == [
        {"n": 1, "id": one.sha256, "width": 50, "height": 100, "detail": "auto", "name": "one.png"},
        {"n": 2, "id": two.sha256, "width": 60, "height": 100, "detail": "auto", "name": "two.png"},
    ]
    empty = PictureForm(KEY, desk).opened((), EN)["viewer"]
    assert (empty["sent"], empty["boxes"], empty["state"]) == ([], [], "")


# ---- frames --------------------------------------------------------------------------------------------------------------------


def box(left: int, top: int, right: int, bottom: int) -> str:
    return f"<box>({left},{top}),({right},{bottom})</box>"


def found(*conversation: Turn) -> list[tuple[int, int, tuple[float, ...]]]:
    return [(turn, box.picture, box.edges) for turn, box in boxes_of(conversation)]


def test_a_frame_belongs_to_the_picture_that_was_named_or_the_newest_then(images: list[Image]) -> None:
    one, two, three, *_ = images
    whole = box(0, 0, 500, 500)
    conversation = (
        asked(one, "?", answer=whole),
        asked(two, "?", answer=f"{whole} and in #1 {whole}"),
        asked("?", answer=f"Image 2: {whole}"),
        asked(three, "?", answer=f"Picture #9: {whole}"),
        asked("And in #2?", answer=whole),
    )
    assert [(turn, picture) for turn, picture, _ in found(*conversation)] == [(0, 1), (1, 2), (1, 1), (2, 2), (3, 3), (4, 2)]


def test_pixels_are_those_of_the_picture_that_is_meant(images: list[Image]) -> None:
    """Qwen2.5-VL tells them of the picture as it saw it: over several turns, each frame by its own picture's size."""
    one, two = images[0], images[4]  # 100 x 100 and 500 x 100
    qwen = "Qwen2.5-VL-7B-Instruct"
    (wide, high), (wider, _) = PUBLISHED.seen(100, 100), PUBLISHED.seen(500, 100)

    def told(right: int, bottom: int) -> str:
        return json.dumps([{"bbox_2d": [0, 0, right, bottom], "label": "it"}])

    conversation = (
        asked(one, "?", answer=told(wide // 2, high), model=qwen),
        asked(two, "?", answer=f"In #2: {told(wider // 2, high)} and in #1: {told(wide // 4, high)}", model=qwen),
        asked("?", answer=f"Picture 1: {told(wide, high // 2)}", model=qwen),
    )
    assert found(*conversation) == [
        (0, 1, (0, 0, 0.5, 1)), (1, 2, (0, 0, 0.5, 1)), (1, 1, (0, 0, 0.25, 1)), (2, 1, (0, 0, 1, 0.5)),
    ]  # fmt: skip
    assert found(asked(one, "?", answer=told(500, 1000), model="another"))[0][2] == (0, 0, 0.5, 1)


def test_a_picture_that_is_gone_keeps_its_place_among_the_others(images: list[Image]) -> None:
    """What the answer calls #2 is #2, also where #1 is not there any more; frames on #1 are not drawn on another."""
    two, three = images[1], images[2]
    gone = "(picture #1 is gone)\n"
    whole = box(0, 0, 500, 500)
    conversation = (
        asked(gone, two, "?", answer=f"#2: {whole} #1: {whole}"),
        asked(three, "?", answer=f"{whole} #2 again {whole}"),
        asked(gone.replace("1", "4"), "?", answer=f"{whole}"),
    )
    assert [(turn, picture) for turn, picture, _ in found(*conversation)] == [(0, 2), (1, 3), (1, 2)]


def test_frames_on_the_page_are_bounded(images: list[Image]) -> None:
    many = tuple(asked(images[0], "?", answer=box(0, 0, 500, 500) * 50) for _ in range(9))
    assert len(PictureForm(KEY, None).viewer(many)["boxes"]) == 60


# ---- what a browser keeps, a file, a title -------------------------------------------------------------------------------------


def through_a_browser(form: PictureForm, conversation: Conversation) -> Conversation:
    return form.restored(json.loads(json.dumps(form.saved(conversation, {"key": KEY}))))


def test_a_reload_brings_the_equal_conversation_back(desk: Desk) -> None:
    one = added(desk, 50)
    conversation = (asked(replace(one, detail="high"), one, "What?"), asked("And?"))
    form = PictureForm(KEY, desk)
    assert through_a_browser(form, conversation) == conversation
    assert "path" not in json.dumps(form.saved(conversation, {})["conversation"])


def test_with_its_pictures_gone_the_texts_come_back(desk: Desk) -> None:
    conversation = (asked(added(desk, 50), added(desk, 60), "Which?"), asked("And?"))
    nobody = PictureForm(KEY, None)
    back = through_a_browser(nobody, conversation)
    assert [turn.question.text for turn in back] == ["(picture #1 is gone)\n(picture #2 is gone)\nWhich?", "And?"]
    assert pictures_of(back) == () and nobody.viewer(back)["sent"] == [] and nobody.viewer(back)["count"] == 2
    assert nobody.whole(back, EN)["title"] == "Which?"
    assert nobody.log(back, EN).turns == [0, 0, 1, 1]
    assert through_a_browser(nobody, back) == back
    new = asked(added(desk, 70), "This?")
    assert put((*back, new))[-1][0] == "Image #3: "


def test_the_title_is_what_was_asked(images: list[Image]) -> None:
    form = PictureForm(KEY, None)
    assert form.whole((asked(images[0], "\n Why?\nBecause"),), EN)["title"] == "Why?"
    assert form.whole((), ZH)["title"] == ZH("chat.new_title")


@given(value=anything)
@settings(deadline=None, max_examples=50)
def test_hostile_saved_values_are_nothing(value: Any) -> None:
    form = PictureForm(KEY, None)
    assert form.restored(value) == () and form.restored({"version": 1, "settings": {}, "conversation": [value]}) == ()


def test_an_export_has_small_pictures_in_it(desk: Desk) -> None:
    one, two = added(desk, 900), added(desk, 60)
    Path(two.path).unlink()
    told = PictureForm(KEY, desk).exported((asked(one, two, "What?"), asked("And?", answer="No more.")), EN)
    assert told["name"] == "pictures.md"
    small = re.findall(r"!\[#1\]\(data:image/jpeg;base64,([^)]*)\)", told["text"])
    assert len(small) == 1 and base64.b64decode(small[0])[:3] == b"\xff\xd8\xff"
    assert "\n#2\n" in told["text"] and "What?" in told["text"] and "No more." in told["text"] and KEY not in told["text"]
    assert str(desk.pictures._root) not in told["text"]


def test_an_edit_keeps_the_pictures(images: list[Image]) -> None:
    conversation = (asked(images[0], "What?"), asked(images[1], images[2], "Which?"))
    changed = turns.edited(conversation, 1, "Which is larger?")
    assert put(changed)[1] == ["Image #2: ", images[1], "Image #3: ", images[2], "Which is larger?"]


def test_a_conversation_of_texts_is_the_chat_s() -> None:
    conversation = (Turn(user("q"), "a", outcome="stop"),)
    form = PictureForm(KEY, None)
    assert form.messages(conversation, "s") == turns.to_messages(conversation, "s")
    assert form.log(conversation, EN) == render.log(conversation, EN)

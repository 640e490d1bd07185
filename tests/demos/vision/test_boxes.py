"""Frames in answers: every documented format, whole or broken off, with the right label, on the right picture."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from demos.vision import boxes
from demos.vision.boxes import Box, parse, shown
from shared.chatml import POINTING

REF, REF_END, BOX, BOX_END = POINTING[:4]
REF2, REF2_END, BOX2, BOX2_END = POINTING[4:]
ONE = [(1000, 500)]
WHOLE = (0.1, 0.2, 0.3, 0.4)


def found(text: str, sizes: list[tuple[int, int]] | None = None, **how: boxes.Unit) -> list[tuple[tuple[float, ...], str]]:
    return [(tuple(round(edge, 4) for edge in box.edges), box.label) for box in parse(text, sizes or ONE, **how)]


@pytest.mark.parametrize(
    "text",
    [
        f"{REF}cat{REF_END}{BOX}[[100, 200, 300, 400]]{BOX_END}",  # InternVL
        f"{REF} cat {REF_END}{BOX}(100,200),(300,400){BOX_END}",  # Qwen-VL
        f"{REF2}cat{REF2_END}{BOX2}(100,200),(300,400){BOX2_END}",  # Qwen2-VL
        "cat[[100, 200, 300, 400]]",  # InternVL where its tokens are hidden
        "cat(100,200),(300,400)",  # Qwen2-VL where its tokens are hidden
        "There is a house, and a cat [[100,200,300,400]].".replace("a cat", "cat"),  # CogVLM
        '```json\n[{"bbox_2d": [100, 200, 300, 400], "label": "cat"}]\n```',  # Qwen3-VL
        "[{'bbox': [100.0, 200, 300, 400], 'label': 'cat',}]",
        '[{"label": "cat", "bbox_2d": [0.1, 0.2, 0.3, 0.4]}]',
        '{"box_2d": [200, 100, 400, 300], "label": "cat"}',  # Gemini
        "cat<loc_100><loc_200><loc_300><loc_400>",  # Florence-2
        "The cat is at [0.1, 0.2, 0.3, 0.4]".replace("The cat", "cat"),
    ],
)
def test_every_format(text: str) -> None:
    assert found(text) == [(WHOLE, "cat")]
    assert found(text.replace("cat", "猫")) == [(WHOLE, "猫")]


def test_paligemma_counts_to_1024_from_the_top_and_names_behind() -> None:
    assert found("<loc0256><loc0128><loc0768><loc0512> cat ; <loc0000><loc0000><loc1023><loc0512> a dog") == [
        ((0.125, 0.25, 0.5, 0.75), "cat"), ((0.0, 0.0, 0.5, 0.999), "a dog"),
    ]  # fmt: skip


def test_qwen25_counts_pixels_of_what_it_saw() -> None:
    answer = '[{"bbox_2d": [100, 100, 300, 200], "label": "cat"}]'
    assert found(answer, unit="pixels") == [(WHOLE, "cat")]
    assert found(answer) == [((0.1, 0.1, 0.3, 0.2), "cat")]
    beyond = '[{"bbox_2d": [100, 100, 300, 200], "label": "a"}, {"bbox_2d": [400, 100, 1100, 200], "label": "b"}]'
    assert found(beyond, [(2000, 1000)]) == [((0.05, 0.1, 0.15, 0.2), "a"), ((0.2, 0.1, 0.55, 0.2), "b")]


@pytest.mark.parametrize(
    ("model", "unit"),
    [("Qwen/Qwen2.5-VL-7B-Instruct", "pixels"), ("qwen2.5vl:7b", "pixels"), ("qwen2_5-vl", "pixels"), ("UI-TARS-7B", "pixels"),
     ("Qwen3-VL-8B", "thousandths"), ("Qwen2-VL-2B", "thousandths"), ("internvl3-8b", "thousandths"), ("", "thousandths")],
)  # fmt: skip
def test_units_by_the_models_name(model: str, unit: boxes.Unit) -> None:
    assert boxes.json_unit(model) == unit


def test_several_frames_of_one_thing_share_its_name() -> None:
    apart = f"{REF}dogs{REF_END}{BOX}(10,20),(300,400){BOX_END}{BOX}(500,600),(700,800){BOX_END}"
    listed = f"{REF}dogs{REF_END}{BOX}[[10,20,300,400], [500,600,700,800]]{BOX_END}"
    for text in (apart, listed, "two dogs [[010,020,300,400;500,600,700,800]]".replace("two ", "")):
        assert found(text) == [((0.01, 0.02, 0.3, 0.4), "dogs"), ((0.5, 0.6, 0.7, 0.8), "dogs")]


def test_words_around_a_frame_are_no_part_of_its_name() -> None:
    assert [label for _, label in found("I see a cat [[1,2,300,400]] and a dog [[1,2,300,500]]. A bat at [[1,2,300,600]]")] == [
        "I see a cat", "a dog", "A bat",
    ]  # fmt: skip


# ---- which picture ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "number"),
    [
        ("", 3),
        ("In #1: ", 1),
        ("Image-2 shows ", 2),
        ("in picture 2, ", 2),
        ("图1中的", 1),
        ("第 2 张里", 2),
        ("#7 ", 3),
        ("#1 and #2 ", 2),
        ("#0 ", 3),
    ],
)
def test_a_frame_belongs_to_the_picture_named_before_it_or_the_newest(before: str, number: int) -> None:
    (box,) = parse(f"{before}{REF}cat{REF_END}{BOX}[[100, 200, 300, 400]]{BOX_END}", ONE * 3)
    assert box.picture == number
    (box,) = parse(before + '[{"bbox_2d": [100, 200, 300, 400], "label": "x"}]', ONE * 3)
    assert box.picture == number


@pytest.mark.parametrize(
    ("question", "number"),
    [("Where is the cat in #1?", 1), ("图2里的猫在哪里？", 2), ("Compare #1 and #2.", 3), ("#1, I mean #1", 1), ("#7?", 3), ("Where?", 3)],
)
def test_where_the_answer_names_none_the_only_one_in_the_question_is_meant(question: str, number: int) -> None:
    frame = f"{REF}cat{REF_END}{BOX}[[100, 200, 300, 400]]{BOX_END}"
    assert [box.picture for box in parse(f"{frame} and in #2 {frame}", ONE * 3, question=question)] == [number, 2]


def test_a_label_that_counts_names_no_picture() -> None:
    text = '[{"bbox_2d": [100, 200, 300, 400], "label": "cat #1"}, {"bbox_2d": [100, 200, 300, 500], "label": "cat #2"}]'
    assert [box.picture for box in parse(text, ONE * 3)] == [3, 3]


def test_pixels_are_those_of_the_picture_that_is_meant() -> None:
    text = '#1: {"bbox_2d": [100, 100, 300, 200], "label": "cat"}'
    assert parse(text, [(1000, 500), (9, 9)], unit="pixels")[0].edges == WHOLE


def test_without_pictures_there_are_no_frames() -> None:
    assert parse("cat[[100, 200, 300, 400]]", []) == ()


# ---- what models get wrong --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("numbers", "edges"),
    [("300, 400, 100, 200", WHOLE), ("100, 400, 300, 200", WHOLE), ("-50, 200, 300, 1700", (0.0, 0.2, 0.3, 1.0))],
)
def test_corners_in_any_order_and_outside(numbers: str, edges: tuple[float, ...]) -> None:
    assert found(f"{BOX}[[{numbers}]]{BOX_END}") == [(edges, "")]


@pytest.mark.parametrize(
    "text",
    [f"{BOX}[[100, 200, 100, 400]]{BOX_END}", f"{BOX}[[2000, 200, 3000, 400]]{BOX_END}", f"{BOX}[[1, 2, 3]]{BOX_END}", f"{BOX}cat{BOX_END}",
     "[[1, 2, 3, 4]]", "see [1, 2, 300, 400]", "(1,2),(3,4)", "f(100, 200)", "[1.5, 2.5, 3.5, 4.5]", "<loc_1><loc_2><loc_3>"],
)  # fmt: skip
def test_what_is_no_frame(text: str) -> None:
    assert found(text) == []


def test_a_loop_has_an_end() -> None:
    assert len(parse(f"{BOX}[[100, 200, 300, 400]]{BOX_END}" * 5000, ONE)) == boxes.MOST_BOXES


ANSWERS = (
    f"A {REF}cat{REF_END}{BOX}[[100, 200, 300, 400]]{BOX_END} sits here",
    '```json\n[{"bbox_2d": [100, 200, 300, 400], "label": "cat"}, {"bbox_2d": [1, 2, 300, 400], "label": "dog"}]\n```',
    "A dog [[012,034,567,890]] and cats [[100,200,300,400;500,600,700,800]].",
    "<loc0100><loc0200><loc0300><loc0400> cat ; <loc0100><loc0200><loc0300><loc0500> dog",
)


@pytest.mark.parametrize("answer", ANSWERS)
def test_a_frame_once_seen_stays_while_the_answer_grows(answer: str) -> None:
    """Its label may still be on the way; its edges never change, except that one number beyond 1000 makes all JSON pixels."""
    before: tuple[Box, ...] = ()
    for end in range(len(answer) + 1):
        now = parse(answer[:end], ONE)
        assert [box.edges for box in now[: len(before)]] == [box.edges for box in before]
        before = now
    assert before


pieces = st.sampled_from(
    [
        *POINTING,
        "[[",
        "]]",
        "[",
        "]",
        "(",
        "),(",
        ")",
        ",",
        ";",
        "100",
        "0.5",
        "-1",
        "<loc_9>",
        "<loc0100>",
        '{"bbox_2d": [',
        "}",
        " cat ",
        "#2",
        "\n",
    ]
)


@given(st.lists(pieces | st.text(max_size=4), max_size=40).map("".join), st.sampled_from(["thousandths", "pixels"]))
@settings(deadline=None, max_examples=300)
def test_garbage_gives_frames_inside_the_picture_or_none(text: str, unit: boxes.Unit) -> None:
    for box in parse(text, [(30, 40), (500, 600)], unit=unit):
        assert 0 <= box.left < box.right <= 1 and 0 <= box.top < box.bottom <= 1
        assert box.picture in (1, 2) and 0 <= box.begin < box.end <= len(text) and len(box.label) <= boxes.LONGEST_LABEL
    assert not any(mark in shown(text + " ") for mark in POINTING if mark.startswith("</") or "end" in mark)


@given(st.lists(st.integers(0, 1000), min_size=4, max_size=4), st.text("abc déf猫", min_size=1, max_size=20))
@settings(deadline=None)
def test_what_is_written_is_read(numbers: list[int], label: str) -> None:
    left, right = sorted(numbers[0::2])
    top, bottom = sorted(numbers[1::2])
    edges = (left / 1000, top / 1000, right / 1000, bottom / 1000)
    expected = [] if left == right or top == bottom else [(edges, " ".join(label.split()))]
    assert found(f"{REF}{label}{REF_END}{BOX}[[{', '.join(map(str, numbers))}]]{BOX_END}") == expected
    assert found(json.dumps([{"bbox_2d": numbers, "label": label}])) == expected


# ---- what people see --------------------------------------------------------------------------------------------------------


def test_people_see_names_and_no_marks() -> None:
    assert shown(f"A {REF}cat{REF_END}{BOX}[[1, 2, 3, 4]]{BOX_END} sits") == "A cat sits"
    assert shown("1 < 2 and 3 > 2, and a <b> stays") == "1 < 2 and 3 > 2, and a <b> stays"
    assert shown("whether a < b") == "whether a < b"
    assert shown("no marks [[100,200,300,400]]") == "no marks [[100,200,300,400]]"


def test_a_mark_that_is_being_written_is_not_seen() -> None:
    answer = f"A {REF}cat{REF_END}{BOX}[[1, 2, 3, 4]]{BOX_END}"
    assert all("A cat".startswith(shown(answer[:end]).removesuffix("<")) for end in range(len(answer) + 1))

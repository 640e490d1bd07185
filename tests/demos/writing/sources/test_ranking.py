from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demos.writing.sources.ranking import LONGEST_NAME, Known, fits, name_words, telling
from shared.messages import Image


def known(name: str, *words: str) -> Known:
    return Known(Image(f"/nowhere/{name}", hashlib.sha256(name.encode()).hexdigest(), 4, 3), name_words(name), words)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("honey-bee_on flower.jpg", "honey bee on flower"),
        ("HoneyBeeOnFlower2.png", "Honey Bee On Flower"),
        ("蜜蜂 采蜜.jpg", "蜜蜂 采蜜"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\me\\Old bridge (copy).JPG", "Old bridge"),
        ("old%20bridge.jpeg", "old bridge"),
        ("a\x00b\u202ebridge.png", "abbridge"),
        ("IMG_20260501_113210.jpg", ""),
        ("DSC01234.JPG", ""),
        ("Screenshot 2026-11-02 at 10.11.12.png", ""),
        ("微信图片_20260501.jpg", ""),
        ("3f2a9c1d7b6e4a58.png", ""),
        ("7f3c2a10-1b2c-4d5e-8f90-a1b2c3d4e5f6.jpg", ""),
        ("1.jpg", ""), (".jpg", ""), ("", ""), ("///", ""), ("….png", ""),
    ],
)  # fmt: skip
def test_what_a_person_said_by_naming_a_file(name: str, words: str) -> None:
    assert name_words(name) == words


@given(st.text(max_size=300))
def test_a_name_may_be_anything(name: str) -> None:
    words = name_words(name)
    assert len(words) <= LONGEST_NAME and words == words.strip() and "\n" not in words and "/" not in words


def test_the_best_words_are_one_and_no_words_nothing() -> None:
    pictures = [known("IMG_1.jpg"), known("a red house.jpg"), known("bees in their hive.jpg"), known("IMG_2.jpg", "honey bee", "cell")]
    found = fits("A bee in the hive", pictures, {})
    assert found[2] == max(found) == 1 and 0 < found[3] < 1 and found[0] == found[1] == 0


def test_words_of_every_caption_find_nothing() -> None:
    assert fits("This is a picture of the garden", [known("the picture of a cat.jpg"), known("is this it.jpg")], {}) == [0, 0]
    assert fits("图中是一座桥", [known("一张图片 图中的猫.jpg")], {}) == [0]
    assert telling("A picture of the Old Bridge").split() == ["Old", "Bridge"]


def test_chinese_finds_chinese_and_no_english_names() -> None:
    pictures = [known("IMG_3.jpg", "honey bee"), known("春天的蜜蜂.jpg"), known("IMG_4.jpg", "蜂箱出售")]
    found = fits("蜜蜂在花上采蜜", pictures, {})
    assert found[0] == 0 and found[1] == 1 > found[2]


def test_what_a_model_saw_is_worth_as_much_as_words() -> None:
    pictures = [known("IMG_1.jpg"), known("bee.jpg"), known("IMG_2.jpg"), known("gone.jpg")]
    likeness = {one.image.sha256: value for one, value in zip(pictures, (0.31, 0.27, 0.19), strict=False)}
    assert fits("A bee", pictures, likeness) == pytest.approx([1, 1 + 8 / 12, 0, 0])
    assert fits("A bee", pictures, dict.fromkeys(likeness, 0.2)) == [0, 1, 0, 0], "all alike says nothing"
    assert fits("A bee", [], {}) == []

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demos.writing.sources.wrapping import CLOSING, MORE, OPENING, balanced, clusters, shortened, wrapped


def width_of(text: str) -> float:
    """A Chinese character is two wide, everything else one, and marks none."""
    return sum(0 if unicodedata.combining(sign) else 2 if unicodedata.east_asian_width(sign) in "WF" else 1 for sign in text)


def test_latin_words_stay_whole_and_a_long_one_is_broken() -> None:
    assert wrapped("The old bridge over the river", width_of, 12) == ["The old", "bridge over", "the river"]
    assert wrapped("a Donaudampfschifffahrt b", width_of, 10) == ["a", "Donaudampf", "schifffahr", "t b"]


@pytest.mark.parametrize(
    ("text", "width", "lines"),
    [
        ("春江水暖，鸭先知", 8, ["春江水", "暖，鸭先", "知"]),
        ("山居《秋暝》王维", 6, ["山居", "《秋", "暝》王", "维"]),
        ("他说：“好。”", 8, ["他说：", "“好。”"]),
        ("画 ink 墨", 6, ["画 ink", "墨"]),
        ("两张（旧）照片", 6, ["两张", "（旧）", "照片"]),
    ],
)
def test_signs_that_may_not_begin_or_end_a_line(text: str, width: int, lines: list[str]) -> None:
    assert wrapped(text, lambda line: sum(2 if sign > "\u2000" else 1 for sign in line), width) == lines


def test_a_combining_mark_stays_with_its_letter() -> None:
    assert clusters("e\u0301a👩\u200d🚀") == ["e\u0301", "a", "👩\u200d🚀"]
    assert wrapped("e\u0301e\u0301e\u0301", width_of, 1) == ["e\u0301"] * 3


def test_lines_of_about_the_same_length() -> None:
    text = "one two three four five six seven eight nine ten eleven"
    assert wrapped(text, width_of, 50)[-1] == "eleven"
    assert [len(line) for line in balanced(text, width_of, 50)] == [27, 27]
    assert balanced("水" * 13, width_of, 24) == ["水" * 7, "水" * 6]


def test_what_is_too_long_ends_in_an_ellipsis_and_no_other_sign() -> None:
    assert shortened("short", lambda text: len(text) <= 10) == "short"
    assert shortened("one, two, three", lambda text: len(text) <= 6) == "one…"
    assert shortened("anything", lambda text: False) == MORE


TEXTS = st.text(alphabet="ab é\u0301水墨，。“”（）《》…—! \n\t", max_size=80)


@given(TEXTS, st.integers(1, 30))
def test_nothing_is_lost_and_nothing_is_too_wide(text: str, width: int) -> None:
    lines = wrapped(text, width_of, width)
    assert "".join(lines).replace(" ", "") == "".join(text.split())
    assert all(width_of(line) <= width or len(clusters(line)) == 1 for line in lines)
    assert all(lines) and not any(line != line.strip() for line in lines)


@given(TEXTS)
def test_no_line_begins_or_ends_with_a_sign_that_may_not(text: str) -> None:
    for before, after in zip(lines := wrapped(text, width_of, 60), lines[1:], strict=False):
        run = len(before) - len(before.rstrip("".join(CLOSING | OPENING)))
        overlong = run > 20 or len(after) - len(after.lstrip("".join(CLOSING | OPENING))) > 20  # a row of signs that fills a line
        assert overlong or (after[0] not in CLOSING and before[-1] not in OPENING)


@given(TEXTS, st.integers(2, 30))
def test_balanced_lines_are_the_same_words_in_as_many_lines(text: str, width: int) -> None:
    lines, others = wrapped(text, width_of, width), balanced(text, width_of, width)
    assert len(others) == len(lines) and "".join(others).replace(" ", "") == "".join(lines).replace(" ", "")
    assert max(map(width_of, others), default=0) <= max(map(width_of, lines), default=0)


@given(TEXTS, st.integers(1, 40))
def test_what_was_shortened_fits(text: str, most: int) -> None:
    short = shortened(text, lambda some: len(some) <= most)
    assert len(short) <= most and (short == text or short.endswith(MORE))

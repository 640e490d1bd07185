"""How answers are read, and what is put right of them."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from demos.writing.draft import Brief
from demos.writing.events import Captioned, Chosen, Rule
from demos.writing.prompts import filled, general
from demos.writing.sections import pieces
from demos.writing.similarity import BM25, words
from demos.writing.stages.captions import Caption, is_related, of_paragraph, read_begun, read_marked
from demos.writing.stages.choosing import read_letter
from demos.writing.stages.places import numbers, open_places, segments, settled
from demos.writing.stages.text import without_loop
from tests.demos.writing.replaying import READS, SEES, WRITING, Desk, Question, Shelf, candidate, sensible

TEN = pieces("\n".join(f"This is the text of paragraph {number}." for number in range(10)))
MIXED = pieces("# Title\n\nText.\n\n## Head\n\n- one\n- two\n\n```\ncode\n\nmore\n```\n\n---\n\nLast.")


def rules(answered: tuple[int, ...], lines: Any = TEN, count: int | None = 3) -> tuple[tuple[int, ...], list[Rule]]:
    told: list[Rule] = []
    return settled(answered, lines, count, lambda why, detail: told.append(why)), told


# ---- places ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ("<Seg1>, <Seg3>, <Seg5>.", (1, 3, 5)),
        ("< seg2 >和<SEG10>", (2, 10)),
        ("<Seg>, <Seg-1>", ()),
        ("1, 3", ()),
        ("", ()),
        ("<Seg1>\n<Seg2>", (1,)),
        ("<Seg99999999>", ()),
    ],
)
def test_the_trained_models_places(answer: str, found: tuple[int, ...]) -> None:
    assert segments(answer) == found


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ("2, 5, 8", (1, 4, 7)),
        ("After paragraphs 2, 5 and 8.", (1, 4, 7)),
        ("[2], [5]", (1, 4)),
        ("2、5、8。", (1, 4, 7)),
        ("2和5", (1, 4)),
        ("1. after 3\n2. after 5", ()),
        ("In 2026 there were none", ()),
        ("7", (6,)),
        ("7.", (6,)),
        ("0, 3", (-1, 2)),
        ("", ()),
        ("none", ()),
        ("2,5,8, and 9", (1, 4, 7, 8)),
    ],
)
def test_any_models_places(answer: str, found: tuple[int, ...]) -> None:
    assert numbers(answer) == found


def test_a_lonely_number_counts_where_one_is_asked_for() -> None:
    assert numbers("After paragraph 4.", single=True) == (3,) and numbers("After paragraph 4.") == ()
    assert numbers("Of 10 I choose the 4th", single=True) == ()


def test_pictures_never_stand_inside_lists_or_code_nor_below_a_heading() -> None:
    assert [MIXED[place].kind for place in open_places(MIXED)] == ["title", "paragraph", "list", "code", "paragraph"]
    assert rules((2, 5), MIXED, 2) == ((3, 6), ["not_open", "not_open"])


def test_no_picture_stands_behind_a_colon() -> None:
    assert open_places(pieces("Text.\n\nReasons:\n\n- one\n\n原因：\n\n第一。\n\nLast:")) == (0, 2, 4, 5)


@pytest.mark.parametrize(
    ("answered", "count", "places", "told"),
    [
        ((1, 4, 7), 3, (1, 4, 7), []),
        ((7, 1, 4), 3, (1, 4, 7), []),
        ((1, 4, 7, 4), 3, (1, 4, 7), ["repeated"]),
        ((1, 4, 70), 2, (1, 4), ["out_of_range"]),
        ((-1, 4), 1, (4,), ["out_of_range"]),
        ((0, 1, 2), 3, (1, 5, 8), ["crowded"]),
        ((1, 3, 5, 7, 9), 3, (1, 5, 9), ["too_many"]),
        ((5,), 2, (0, 5), ["too_few"]),
        ((), 3, (1, 5, 8), []),
        ((), 1, (5,), []),
        ((), None, (1, 5, 8), []),
        ((2, 8), None, (2, 8), []),
        (tuple(range(10)), None, (1, 3, 5, 7, 9), ["too_many"]),
    ],
)
def test_what_is_put_right(answered: tuple[int, ...], count: int | None, places: tuple[int, ...], told: list[Rule]) -> None:
    assert rules(answered, TEN, count) == (places, told)


@given(
    st.lists(st.integers(-5, 60), max_size=60),
    st.none() | st.integers(1, 50),
    st.lists(st.sampled_from(["text.", "# h", "- a", "```\nx\n```", "---", "|a|"]), min_size=1, max_size=40),
)
def test_any_answer_makes_places_that_can_be(answered: list[int], count: int | None, blocks: list[str]) -> None:
    lines = pieces("\n\n".join(blocks))
    free = open_places(lines)
    places, _ = rules(tuple(answered), lines, count)
    assert list(places) == sorted(set(places)) and set(places) <= set(free)
    assert len(places) == min(count, len(free)) if count is not None else bool(places) == bool(free)


@given(st.integers(1, 60), st.integers(1, 50))
def test_places_by_rule_are_spread(paragraphs: int, count: int) -> None:
    lines = pieces("\n".join("This is a paragraph." for _ in range(paragraphs)))
    places, _ = rules((), lines, count)
    gaps = [behind - before for before, behind in pairwise(places)]
    assert not gaps or max(gaps) - min(gaps) <= 1


# ---- captions --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "caption"),
    [
        ('一幅画。"。\n', "一幅画。"),
        ("一幅画", "一幅画"),
        (' \n"', None),
        ("", None),
        ("“一幅画”", "一幅画"),
        ("……", None),
        ("画" * 201, None),
        ("a\x00b", "ab"),
    ],
)
def test_the_trained_models_captions(answer: str, caption: str | None) -> None:
    found = read_begun(answer)
    assert (found and found.text) == caption


@pytest.mark.parametrize(
    ("answer", "caption"),
    [
        ("Caption: A bee on a flower\nSearch: bee flower", Caption("A bee on a flower", "bee flower")),
        ('**Caption:** "A bee"\n\n**Search:** *bee*', Caption("A bee", "bee")),
        ("1. Caption: A bee\n2. Search words: bee", Caption("A bee", "bee")),
        ("A bee on a flower.", Caption("A bee on a flower.", "A bee on a flower.")),
        ("说明：蜜蜂\n搜索：bee", None),
        ("Sure!\nI think a bee", None),
        ("Caption: \nSearch: bee", None),
        ("Search: bee", Caption("Search: bee", "bee")),
        ("", None),
        ("[3] A bee", Caption("A bee", "A bee")),
    ],
)
def test_any_models_captions(answer: str, caption: Caption | None) -> None:
    prompts = general("en")
    assert read_marked(answer, prompts.caption_marks, prompts.query_marks) == caption


LONG_EN = frozenset(words("Bees gather nectar among colourful meadow flowers " + " ".join(f"wordly{n}" for n in "abcdefghijklmnopqrstuvw")))
LONG_ZH = frozenset(words("蜜蜂在花丛中采集花蜜，回到蜂巢后把花蜜酿成蜂蜜，冬天就靠它生活。"))


@pytest.mark.parametrize(
    ("caption", "article", "related"),
    [
        ("A flower up close", LONG_EN, True),
        ("A building with a glass ceiling", LONG_EN, False),
        ("It is on them", LONG_EN, True),
        ("A bee, and a cat", LONG_EN, True),
        ("A cat with this and that", LONG_EN, False),
        ("一座玻璃大楼", LONG_EN, True),
        ("一座玻璃大楼", LONG_ZH, False),
        ("一只采集花粉的蜂", LONG_ZH, True),
        ("A building", LONG_ZH, True),
        ("A building", frozenset({"bees"}), True),
    ],
)
def test_a_caption_about_something_else_is_noticed(caption: str, article: frozenset[str], related: bool) -> None:
    assert is_related(caption, article) == related


def test_chinese_marks() -> None:
    prompts = general("zh")
    assert read_marked("说明：一只蜜蜂\n搜索：bee flower", prompts.caption_marks, prompts.query_marks) == Caption("一只蜜蜂", "bee flower")


@pytest.mark.parametrize(
    ("source", "caption"),
    [
        ("水墨画历史悠久。它……", "水墨画历史悠久。"),
        ("# **Bees** at work", "Bees at work"),
        ("- one\n- two", "one two"),
        ("x" * 99, "x" * 60 + "…"),
        ("Version 1.5 is out. Buy it.", "Version 1.5 is out."),
    ],
)
def test_a_paragraphs_own_words(source: str, caption: str) -> None:
    assert of_paragraph(pieces(source)[0]).text == caption


# ---- letters and words -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "letter"),
    [
        ("B", 1),
        (" D[END]", 3),
        ("图C", 2),
        ("C最合适", 2),
        ("B.", 1),
        ("(b)", None),
        ("A, B", None),
        ("E", None),
        ("", None),
        ("A picture of bees", None),
        ("A", 0),
        ("The answer is A.", 0),
        ("Bee", None),
        ("ABCD", None),
        ("B or not B", 1),
        ("C'est", None),
        ("1", None),
        ("Ä B", 1),
    ],
)
def test_letters(answer: str, letter: int | None) -> None:
    assert read_letter(answer, "ABCD") == letter


def test_words_nearest_to_a_caption_win_in_both_languages() -> None:
    scores = BM25().scores("一位诗人坐在古树下", ["博物馆的展览", "古树下的诗人", ""])
    assert scores[1] > scores[0] >= 0 == scores[2]
    scores = BM25().scores("Bees on flowers", ["a boat on the sea", "flower with a bee", "BEE"])
    assert scores.index(max(scores)) == 1 and words("Bees, glass") == ["bee", "glass"]
    assert BM25().scores("x", []) == [] and BM25().scores("", ["a", ""]) == [0, 0]


@given(st.text(), st.lists(st.text(), max_size=8))
def test_every_text_has_a_score(query: str, texts: list[str]) -> None:
    scores = BM25().scores(query, texts)
    assert len(scores) == len(texts) and all(score >= 0 for score in scores)


def test_braces_that_people_type_stay_what_they_are() -> None:
    assert filled("{a} {b}", a="{b}", b="{x}") == "{b} {x}"


# ---- anything --------------------------------------------------------------------------------------------------------------

ANSWERS = st.one_of(
    st.text(max_size=60),
    st.sampled_from(["A", "Z", "<Seg1>, <Seg99>", "1, 2, 3", "Caption: x", '"', "\ud800", "![x](../../etc)", "```", "A" * 5000]),
)


@settings(deadline=None, max_examples=60)
@given(st.lists(ANSWERS, min_size=1, max_size=12), st.none() | st.integers(0, 50), st.sampled_from([(WRITING,), (READS, SEES), (READS,)]))
def test_whatever_is_answered_an_article_with_its_pictures_comes_of_it(answers: list[str], count: int | None, specs: Any) -> None:
    def answer(question: Question) -> str:
        return sensible(question) if question.stage == "article" else answers[len(desk.asked) % len(answers)]

    desk = Desk(answer, *specs, shelf=Shelf(lambda caption: [candidate(f"{caption}{n}") for n in range(3)]))
    end = desk.write(Brief("Bees", "en", pictures=count))
    slots = end.draft.slots or ()
    assert end.reason == "done" and all(slot.picture is not None for slot in slots)
    assert {slot.place for slot in slots} <= set(open_places(end.draft.paragraphs))
    assert all("\n" not in event.caption and event.caption.encode() for event in desk.told(Captioned))
    assert len(desk.told(Chosen)) == len(slots)


@settings(deadline=None, max_examples=60)
@given(st.text(min_size=1, max_size=3000))
def test_whatever_the_article_is_it_is_illustrated_or_refused(text: str) -> None:
    desk = Desk(lambda question: text if question.stage == "article" else sensible(question))
    end = desk.write(Brief("Bees", pictures=2))
    assert end.reason == ("done" if pieces(text) else "failed")


# ---- a model that does not come to an end -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("end", "kept"),
    [
        ("Stars, " * 60, "Stars,"),
        ("They are the creation of humanity. " * 12, "They are the creation of humanity."),
        ("[Your Name]\n" * 40 + "[Your", "[Your Name]"),
        ("星星。" * 100, "星星。"),
        ("x" * 400, "x"),
        ("A line that ends.\n\nAnother one that ends, too.\n\n" * 9, "A line that ends.\n\nAnother one that ends, too."),
    ],
)
def test_an_end_without_end_is_kept_once(end: str, kept: str) -> None:
    cut = without_loop(f"# Space\n\nIt is large.\n\n{end}")
    assert cut.startswith("# Space\n\nIt is large.\n\n") and kept[:4] in cut and len(cut) < 30 + 2 * len(kept)


@pytest.mark.parametrize("text", ["", "Bees.", "No, no, no, no, no, no, no.", "| a | b |\n| --- | --- |\n" + "| 1 | 2 |\n" * 12, "-" * 120])
def test_what_is_said_a_few_times_is_left_alone(text: str) -> None:
    assert without_loop(text) == text


@given(st.text("ab \n", max_size=600))
def test_cutting_takes_only_from_the_end_and_only_once(text: str) -> None:
    cut = without_loop(text)
    assert text.startswith(cut) and without_loop(cut) == cut

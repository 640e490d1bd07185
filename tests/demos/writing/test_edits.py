"""Edits give new articles, lose nothing they were not asked to, and refuse what is not there."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from demos.writing import edits
from demos.writing.article import MOST_CANDIDATES, MOST_PICTURES, MOST_SECTIONS, TOP, Article, Picture, Section
from demos.writing.sections import Piece, pieces
from shared.errors import BadRequest
from tests.demos.writing.articles import EVIL, articles, candidate, lines, markdowns


def article(text: str = "题目\n一。\n二。\n三。") -> Article:
    """Title 1, paragraphs 2, 3 and 4."""
    return edits.begun(pieces(text), "zh")


def told(made: Article) -> str:
    """Its sections' texts and its pictures' captions, in order."""
    return " ".join(one.source if isinstance(one, Section) else f"[{one.caption}]" for one in made.blocks())


def illustrated() -> Article:
    made = edits.add_picture(article(), 2, "甲", [candidate(1), candidate(2)], by="model")
    return edits.add_picture(edits.add_picture(made, 3, "乙"), 3, "丙")


def test_the_beginning() -> None:
    assert told(illustrated()) == "题目 一。 [甲] 二。 [乙] [丙] 三。"


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (lambda a: edits.rewrite(a, 2, "新。"), "题目 新。 [甲] 二。 [乙] [丙] 三。"),
        (lambda a: edits.rewrite(a, 2, "新。\n\n- x\n- y"), "题目 新。 - x\n- y [甲] 二。 [乙] [丙] 三。"),
        (lambda a: edits.rewrite(a, 1, "# 新题"), "# 新题 一。 [甲] 二。 [乙] [丙] 三。"),
        (lambda a: edits.insert_before(a, 3, "前。"), "题目 一。 [甲] 前。 二。 [乙] [丙] 三。"),
        (lambda a: edits.insert_after(a, 2, "后。"), "题目 一。 [甲] 后。 二。 [乙] [丙] 三。"),
        (lambda a: edits.insert_before(a, 1, "前。"), "题目 前。 一。 [甲] 二。 [乙] [丙] 三。"),
        (lambda a: edits.insert_after(a, TOP, "前。"), "题目 前。 一。 [甲] 二。 [乙] [丙] 三。"),
        (lambda a: edits.move(a, 3, 1), "题目 二。 [乙] [丙] 一。 [甲] 三。"),
        (lambda a: edits.move(a, 3, 0), "题目 二。 [乙] [丙] 一。 [甲] 三。"),
        (lambda a: edits.move(a, 2, 99), "题目 二。 [乙] [丙] 三。 一。 [甲]"),
        (lambda a: edits.move(a, 1, 2), "题目 一。 [甲] 二。 [乙] [丙] 三。"),
        (lambda a: edits.delete(a, 3), "题目 一。 [甲] [乙] [丙] 三。"),
        (lambda a: edits.delete(edits.delete(a, 2), 1), "[甲] 二。 [乙] [丙] 三。"),
        (lambda a: edits.move_picture(a, 5, 3), "题目 一。 二。 [乙] [丙] [甲] 三。"),
        (lambda a: edits.move_picture(a, 5, 3, 1), "题目 一。 二。 [乙] [甲] [丙] 三。"),
        (lambda a: edits.move_picture(a, 7, 3, 0), "题目 一。 [甲] 二。 [丙] [乙] 三。"),
        (lambda a: edits.move_picture(a, 7, 4, -1), "题目 一。 [甲] 二。 [乙] 三。 [丙]"),
        (lambda a: edits.move_picture(a, 5, TOP), "[甲] 题目 一。 二。 [乙] [丙] 三。"),
        (lambda a: edits.delete_picture(a, 6), "题目 一。 [甲] 二。 [丙] 三。"),
        (lambda a: edits.caption(a, 6, ' "../x" \n'), '题目 一。 [甲] 二。 ["../x"] [丙] 三。'),
        (lambda a: edits.add_picture(a, 2, "丁"), "题目 一。 [甲] [丁] 二。 [乙] [丙] 三。"),
    ],
)
def test_edits(edit: Callable[[Article], Article], expected: str) -> None:
    before = illustrated()
    assert told(edit(before)) == expected
    assert before == illustrated()


def test_the_first_of_several_keeps_the_key() -> None:
    made = edits.rewrite(article(), 3, "a。\nb。\nc。")
    assert [section.key for section in made.sections] == [1, 2, 3, 5, 6, 4] and made.last_key == 6


def test_a_deleted_key_does_not_come_again() -> None:
    made = edits.insert_after(edits.delete(article(), 4), 3, "新。")
    assert [section.key for section in made.sections] == [1, 2, 3, 5]


def test_headings_keep_their_level() -> None:
    made = article("题目\n一。\n### 旧\n二。")
    assert edits.rewrite(made, 3, "新").sections[2] == Section(3, "heading", "### 新")
    assert edits.rewrite(made, 3, "## 新").sections[2] == Section(3, "heading", "## 新")
    assert edits.rewrite(made, 3, "- 新").sections[2].kind == "list"


def test_pictures_are_chosen_from_what_is_offered() -> None:
    made = edits.swap(illustrated(), 5, candidate(2).sha256)
    assert (made.pictures[0].chosen, made.pictures[0].by) == (1, "visitor")
    assert made.pictures[0].shown == candidate(2)
    offered = len(made.pictures[0].candidates)
    for _ in range(2):
        made = edits.put(made, 5, candidate(3, "mine"))
        assert made.pictures[0].shown == candidate(3, "mine") and len(made.pictures[0].candidates) == offered + 1
    made = edits.describe(made, 5, f"what {EVIL}")
    assert made.pictures[0].alt.startswith("what ")
    cleared = edits.clear(made, 5).pictures[0]
    assert cleared.shown is None and cleared.caption == "甲" and cleared.candidates == made.pictures[0].candidates


@pytest.mark.parametrize(
    "edit",
    [
        lambda a: edits.rewrite(a, 99, "x"),
        lambda a: edits.rewrite(a, 2, " \n\x00"),
        lambda a: edits.insert_after(a, 2, ""),
        lambda a: edits.delete(a, 5),
        lambda a: edits.move(a, TOP, 1),
        lambda a: edits.insert_before(a, TOP, "x"),
        lambda a: edits.move_picture(a, 5, 99),
        lambda a: edits.caption(a, 2, "x"),
        lambda a: edits.delete_picture(a, 99),
        lambda a: edits.swap(a, 5, candidate(3).sha256),
        lambda a: edits.swap(a, 5, "../x"),
        lambda a: edits.describe(a, 6, "x"),
        lambda a: edits.add_picture(a, 5),
        lambda a: edits.rewrite(a, 2, "x\n" * MOST_SECTIONS),
        lambda a: edits.rewrite(a, 2, ("x" * 150_000 + "\n") * 20),
    ],
)
def test_what_cannot_be_done(edit: Callable[[Article], Article]) -> None:
    with pytest.raises(BadRequest) as caught:
        edit(illustrated())
    assert caught.value.cause and caught.value.remedy


def test_there_are_bounds() -> None:
    made = article()
    for _ in range(MOST_PICTURES):
        made = edits.add_picture(made, 2)
    with pytest.raises(BadRequest):
        edits.add_picture(made, 2)
    with pytest.raises(BadRequest):
        edits.begun([Piece("paragraph", "x")] * (MOST_SECTIONS + 1), "en")
    many = [candidate(number, size=(1, number)) for number in range(1, MOST_CANDIDATES + 9)]
    assert len(edits.add_picture(article(), 2, "", many).pictures[0].candidates) == MOST_CANDIDATES


@given(articles(), st.data())
@settings(max_examples=200, deadline=None)
def test_any_edits_keep_the_article_whole(made: Article, data: st.DataObject) -> None:
    """`Article` refuses what cannot be; beyond that, what was not deleted is still there."""
    for _ in range(data.draw(st.integers(1, 6))):
        keys = [one.key for one in made.blocks()] or [1]
        key, to, text = data.draw(st.sampled_from([*keys, TOP])), data.draw(st.integers(-2, 9)), data.draw(markdowns)
        what, edit = data.draw(st.sampled_from(list(_any(key, to, text, data).items())))
        try:
            after = edit(made)
        except BadRequest:
            continue
        assert {one.key for one in made.blocks()} - {one.key for one in after.blocks()} <= ({key} if "delete" in what else set())
        assert sorted(map(_content, made.pictures)) == sorted(map(_content, after.pictures)) or "picture" in what
        made = after


def _any(key: int, to: int, text: str, data: st.DataObject) -> dict[str, Callable[[Article], Article]]:
    return {
        "rewrite": lambda a: edits.rewrite(a, key, text),
        "before": lambda a: edits.insert_before(a, key, text),
        "after": lambda a: edits.insert_after(a, key, text),
        "move": lambda a: edits.move(a, key, to),
        "delete": lambda a: edits.delete(a, key),
        "move picture": lambda a: edits.move_picture(a, key, to, data.draw(st.sampled_from([None, 0, 1, -1]))),
        "delete picture": lambda a: edits.delete_picture(a, key),
        "picture caption": lambda a: edits.caption(a, key, data.draw(lines)),
        "add picture": lambda a: edits.add_picture(a, key, text, [candidate(1)], by="model"),
        "picture put": lambda a: edits.put(a, key, candidate(4)),
        "picture clear": lambda a: edits.clear(a, key),
    }


def _content(picture: Picture) -> tuple[int, str, int]:
    return picture.key, picture.caption, len(picture.candidates)

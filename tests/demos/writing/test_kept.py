"""What a browser keeps comes back; anything else that it says gives nothing, and never an error."""

from __future__ import annotations

import copy
import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from demos.writing import kept
from demos.writing.article import Article, Section
from demos.writing.kept import MOST, form_of, read, to_keep, written
from tests.demos.writing.articles import articles, example

FORM = {
    "instruction": "写蜜蜂", "language": "zh", "tone": "warm", "length": "short", "materials": "a", "model": "reads", "eyes": "",
    "painter": "", "pictures": 3, "seed": 7, "outline": True, "sources": ["own", "card"],
}  # fmt: skip
KEY = "a" * 32
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=6),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.text(max_size=6), inside, max_size=4), max_leaves=8,
)  # fmt: skip


def bare(article: Article) -> list[tuple[Any, ...]]:
    return [(one.key, one.after, one.caption, one.query) for one in article.pictures]


@given(articles())
def test_what_was_written_is_read(article: Article) -> None:
    there = json.loads(json.dumps(written(KEY, FORM, article)))  # as a browser keeps it
    key, form, back = read(there)
    assert (key, form) == (KEY, FORM) and back is not None
    assert (back.language, back.sections, back.last_key, bare(back)) == (
        article.language,
        article.sections,
        article.last_key,
        bare(article),
    )
    assert read(json.loads(json.dumps(written(KEY, FORM, None)))) == (KEY, FORM, None)
    assert read(written(key, form, back)) == (key, form, back)


def test_there_are_no_pictures_and_no_prompts_in_it() -> None:
    article = example()
    call = article.record.calls[0]
    kept_ = to_keep(article)
    text = json.dumps(kept_, ensure_ascii=False)
    assert kept_ is not None and call.prompt == "写" and kept_["record"]["calls"] == []
    assert not any(one.sha256 in text or one.alt in text for picture in article.pictures for one in picture.candidates if one.alt)
    assert all(one["candidates"] == [] and one["chosen"] is None for one in kept_["pictures"])


def test_a_huge_article_is_not_kept() -> None:
    fits = Article("en", tuple(Section(key, "paragraph", "x" * (MOST // 4)) for key in range(1, 5)), last_key=4)
    assert to_keep(fits) is not None
    large = Article("en", (*fits.sections, Section(5, "paragraph", "x")), last_key=5)
    assert to_keep(large) is None and written(KEY, FORM, large)["article"] is None
    assert read(written(KEY, FORM, large)) == (KEY, FORM, None)


@given(anything)
def test_anything_gives_nothing_and_no_error(value: Any) -> None:
    key, form, article = read(value)
    assert isinstance(key, str) and set(form) <= set(FORM) and article is None
    assert set(form_of(value)) <= set(FORM)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_one_wrong_thing_in_it_is_no_error(data: st.DataObject) -> None:
    value = copy.deepcopy(written(KEY, FORM, example()))
    at: Any = value
    while True:
        place = data.draw(st.sampled_from(sorted(at) if isinstance(at, dict) else range(len(at))))
        if not isinstance(at[place], dict | list) or not at[place] or data.draw(st.integers(0, 3)) == 0:
            break
        at = at[place]
    if isinstance(at, dict) and data.draw(st.booleans()):
        del at[place]
    else:
        at[place] = data.draw(anything)
    key, form, article = read(value)
    assert isinstance(key, str) and set(form) <= set(FORM) and (article is None or isinstance(article, Article))


def test_a_form_keeps_what_is_as_it_must_be() -> None:
    assert form_of(FORM) == FORM
    odd = {"instruction": 5, "language": None, "pictures": True, "seed": 1.5, "outline": "yes", "sources": ["own", 3], "admin": True}
    assert form_of(odd) == {} and form_of({"sources": "own"}) == {}
    assert len(form_of({"instruction": "x" * 200_000})["instruction"]) == kept.LONGEST
    assert len(form_of({"sources": ["x"] * 100})["sources"]) == 20

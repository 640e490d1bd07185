"""A draft becomes an article: whole, half, and with texts that no document can hold; an article becomes a draft, and comes back."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demos.writing import edits
from demos.writing.article import TOP, Article, Credit, Picture
from demos.writing.binding import Begun, bound, rebound, unbound
from demos.writing.draft import Brief, Draft, Slot
from demos.writing.events import Asked, Captioned, Chosen, Found, Placed, after
from shared.messages import Image
from tests.demos.writing.articles import FILES, articles, example
from tests.demos.writing.articles import candidate as offered
from tests.demos.writing.replaying import ARTICLE, BEES, Desk, Shelf, candidate, sensible


def test_a_finished_draft_is_an_illustrated_article() -> None:
    desk = Desk(sensible)
    end = desk.write(BEES)
    article = bound(end.draft, "en", BEES.instruction, [event.call for event in desk.told(Asked)])
    assert article.title == "Bees" and [section.source for section in article.sections] == [one for one in ARTICLE.split("\n\n")]
    places = [next(at for at, section in enumerate(article.sections) if section.key == picture.after) for picture in article.pictures]
    assert places == [slot.place for slot in end.draft.slots or ()]
    for picture, slot in zip(article.pictures, end.draft.slots or (), strict=True):
        assert slot.picture and picture.shown and picture.shown.sha256 == slot.picture.image.sha256
        assert (picture.caption, picture.by, len(picture.candidates)) == (slot.caption, "model", 4)
    assert article.record.instruction == BEES.instruction and article.record.models == ("composer",) and len(article.record.calls) == 8


def test_half_a_draft_is_half_an_article() -> None:
    assert bound(Draft(), "zh", "x").sections == ()
    desk = Desk(sensible)
    made = desk.write(BEES).draft
    for half in (replace(made, slots=None), made.again("captions"), made.again("candidates"), made.again("choice")):
        article = bound(half, "en", "x")
        assert (
            len(article.sections) == 8 and len(article.pictures) == len(half.slots or ()) and not any(one.shown for one in article.pictures)
        )


def test_what_a_source_says_is_made_fit() -> None:
    odd = replace(candidate("x", alt="two\nlines\x00 " + "x" * 5000), credit=Credit.of(author="\u202eevil", link="javascript:x"))
    end = Desk(sensible, shelf=Shelf(lambda caption: [odd])).write(Brief("Bees", pictures=1))
    (picture,) = bound(end.draft, "zh", "x").pictures
    assert picture.shown and picture.shown.alt.startswith("two lines xxx") and picture.shown.credit == Credit(author="evil")


def test_a_text_without_end_is_cut_to_what_an_article_can_have() -> None:
    lines = bound(Draft(text="x\n" * 6000, complete=True), "zh", "x").sections
    assert len(lines) == 5000
    large = bound(Draft(text="\n".join(["y" * 150_000] * 20), complete=True), "zh", "x").sections
    assert len(large) == 13


# ---- an article is worked on again ---------------------------------------------------------------------------------------------


def on_disk(sha256: str) -> Image:
    return Image(f"/shelf/{sha256}.png", sha256, 64, 36)


def two_at_a_place() -> Article:
    """Sections 1 to 8; pictures 9 and 10 after section 2, 11 at the top, 12 after section 5."""
    article = bound(Draft(text=ARTICLE, complete=True), "en", "x")
    for place, number in ((2, 1), (2, 2), (TOP, 3), (5, 4)):
        article = edits.add_picture(article, place, f"picture {number}", [offered(number), offered(number + 4)], by="model")
    return article


@given(articles(), st.integers(0, 12))
def test_an_article_that_nothing_changed_in_is_the_same(article: Article, first: int) -> None:
    for begun in (unbound(article, on_disk), unbound(article, on_disk, first=first), unbound(article, lambda sha256: None)):
        assert rebound(begun, begun.draft) == article


@given(articles(), st.integers(0, 12))
def test_a_picture_that_is_made_anew_keeps_its_key_and_the_others_are_as_they_were(article: Article, first: int) -> None:
    begun = unbound(article, on_disk, first=first)
    for place, key in begun.keys.items():
        draft = after(begun.draft.again("captions", place), Captioned(place, "new", "new words"))
        made = rebound(begun, draft)
        was, now = next(one for one in article.pictures if one.key == key), next(one for one in made.pictures if one.key == key)
        assert now == Picture(key, was.after, "new", query="new words")
        assert [one for one in made.pictures if one.key != key] == [one for one in article.pictures if one.key != key]
        assert [one.key for one in made.pictures] == [one.key for one in article.pictures]


@given(articles())
def test_half_an_article_goes_on_as_text(article: Article) -> None:
    begun = unbound(article, on_disk, complete=False)
    assert begun.keys == {} and begun.draft == Draft(text="\n\n".join(section.source for section in article.sections))


def test_of_two_pictures_at_a_place_the_wanted_one_is_worked_on() -> None:
    article = two_at_a_place()
    assert unbound(article, on_disk).keys == {1: 9, 4: 12} and unbound(article, on_disk, first=10).keys == {1: 10, 4: 12}
    begun = unbound(article, on_disk, first=10)
    found = replace(begun.draft.slot(1), candidates=(candidate("new"),), chosen=0, by="model")
    made = rebound(begun, begun.draft.with_slot(found))
    assert [one.key for one in made.pictures] == [9, 10, 11, 12] and made.pictures[0] == article.pictures[0]
    assert made.pictures[1].shown and made.pictures[1].shown.sha256 == candidate("new").image.sha256 and made.pictures[1].after == 2


def test_a_picture_at_the_top_can_be_worked_on_and_stays_there() -> None:
    article = two_at_a_place()
    begun = unbound(article, on_disk, first=11)
    assert begun.keys == {0: 11, 1: 9, 4: 12}
    made = rebound(begun, after(begun.draft.again("captions", 0), Captioned(0, "new", "new")))
    assert made.pictures[2].after == TOP and made.pictures[2].caption == "new"
    assert 11 not in unbound(article, on_disk).keys.values()


def test_new_places_take_the_old_pictures_away() -> None:
    article = two_at_a_place()
    begun = unbound(article, on_disk)
    waiting = begun.draft.again("places")
    assert rebound(begun, waiting) == article, "nothing is lost before there is something else"
    made = rebound(begun, after(waiting, Placed((2, 4))))
    assert [(one.key, one.after, one.caption) for one in made.pictures] == [
        (10, 2, "picture 2"),
        (11, TOP, "picture 3"),
        (12, 5, ""),
        (13, 3, ""),
    ]
    assert made.last_key == 13
    assert [one.key for one in rebound(begun, after(waiting, Placed(()))).pictures] == [10, 11]


def test_candidates_whose_files_are_gone_are_not_offered_to_a_model() -> None:
    article = two_at_a_place()
    gone = {offered(1).sha256, offered(4).sha256}
    begun = unbound(article, lambda sha256: None if sha256 in gone else on_disk(sha256))
    slot = begun.draft.slot(1)
    assert [one.image.sha256 for one in slot.candidates or ()] == [offered(5).sha256] and slot.chosen is None and slot.by == ""
    made = rebound(begun, after(begun.draft, Chosen(1, 0, "model")))
    assert made.pictures[0].shown == offered(5) and made.pictures[3] == article.pictures[3]


def test_what_a_person_settled_is_not_taken_for_unfinished() -> None:
    article = edits.caption(edits.clear(two_at_a_place(), 12), 9, "")
    begun = unbound(article, on_disk)
    assert begun.keys == {1: 10} and begun.draft.finished
    assert unbound(article, on_disk, first=12).keys == {1: 10, 4: 12}, "unless it is what is asked for"
    assert [one.by for one in edits.with_files(article, {sha256: (sha256, 1, 1) for sha256 in FILES}).pictures][-1] == "visitor"


def test_a_full_article_takes_no_more_pictures() -> None:
    article = bound(Draft(text="\n".join(f"line {number}" for number in range(300)), complete=True), "en", "x")
    begun = Begun(article, Draft(complete=True), {})
    made = rebound(begun, replace(begun.draft, slots=tuple(Slot(place) for place in range(300))))
    assert len(made.pictures) == 200


@pytest.mark.parametrize("places", [(8,), (100,)])
def test_a_place_behind_the_end_is_none(places: tuple[int, ...]) -> None:
    begun = unbound(bound(Draft(text=ARTICLE, complete=True), "en", "x"), on_disk)
    assert rebound(begun, after(begun.draft, Placed(places))).pictures == ()


def test_an_article_with_everything_comes_back_from_a_whole_run() -> None:
    article = example()
    begun = unbound(article, on_disk)
    draft = begun.draft
    for slot in draft.slots or ():
        draft = after(draft, Found(slot.place, (candidate("a"), candidate("b"))))
        draft = after(draft, Chosen(slot.place, 1, "model"))
    made = rebound(begun, draft)
    worked = set(begun.keys.values())
    assert worked and [one.key for one in made.pictures] == [one.key for one in article.pictures]
    for was, now in zip(article.pictures, made.pictures, strict=True):
        assert now == was if now.key not in worked else (now.after, now.caption, now.chosen) == (was.after, was.caption, 1)
    assert made.sections == article.sections and made.record == article.record

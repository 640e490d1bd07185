"""A draft becomes an article: whole, half, and with texts that no document can hold."""

from __future__ import annotations

from dataclasses import replace

from demos.writing.article import Credit
from demos.writing.binding import bound
from demos.writing.draft import Brief, Draft
from demos.writing.events import Asked
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

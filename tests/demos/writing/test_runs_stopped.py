"""Stop in every stage, what people change then, and on it goes: nothing is lost, and nothing is asked twice."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from demos.writing import edits
from demos.writing.events import (
    Found,
    WritingEvent,
)
from demos.writing.versions import Versions
from shared.errors import BadRequest
from tests.demos.writing.desks import ON, Study, article_of, bring, names, settle, shown_of, sources_of, stop_on, stopped
from tests.demos.writing.replaying import ARTICLE, sensible

Studies = Callable[..., Study]


@pytest.mark.parametrize("at", ON)
def test_stop_keeps_what_there_is_and_nothing_is_asked_twice(study: Studies, at: str) -> None:
    desk = study()
    _, manuscript = stopped(desk, at)
    kept = len(article_of(manuscript).record.calls) if manuscript.article else 0
    begun, pictures = len(desk.asked), shown_of(manuscript) if manuscript.article else []
    if manuscript.article is None:
        desk.runs.write(manuscript, desk.task())
    else:
        desk.runs.go_on(manuscript)
    settle(manuscript)
    assert manuscript.reason == "done" and not manuscript.unfinished and desk.idle()
    assert sources_of(manuscript) == ARTICLE.split("\n\n")
    article = article_of(manuscript)
    assert [one.caption for one in article.pictures] == [f"A bee number {number}" for number in (1, 4, 7)] and all(shown_of(manuscript))
    assert all(was in ("", now) for was, now in zip(pictures, shown_of(manuscript), strict=False))
    fresh = begun - kept  # was asked, and not answered
    assert len(desk.asked) - fresh == len(article.record.calls), "what was answered is not asked again"
    assert [call.stage for call in article.record.calls].count("captions") == 3
    assert len(names(manuscript)) == (2 if kept or at == "the text" else 1)


def test_a_text_goes_on_where_a_person_left_it(study: Studies) -> None:
    desk = study(lambda question: " And that is all." if question.stage == "article" and question.messages[-1].role == "assistant" and len(desk.asked) > 1 else sensible(question))  # fmt: skip  # noqa: E501
    _, manuscript = stopped(desk, "the text")
    first = article_of(manuscript).sections[0]
    manuscript.edit("rewrite", lambda article: edits.rewrite(article, first.key, "Wasps"))
    manuscript.edit("rewrite", lambda article: edits.insert_after(article, first.key, "Written by a person."))
    edited = sources_of(manuscript)
    desk.runs.go_on(manuscript)
    settle(manuscript)
    assert "Wasps" in desk.asked[1].text and "Written by a person." in desk.asked[1].text
    assert sources_of(manuscript)[: len(edited) - 1] == edited[:-1] and sources_of(manuscript)[-1].endswith("And that is all.")


@pytest.mark.parametrize("at", ["the places", "the captions", "the second caption", "the search", "the second picture found", "the choice"])
def test_what_people_change_between_stop_and_go_on_is_not_lost(study: Studies, at: str) -> None:
    """A paragraph written anew, one moved, one deleted, one added: the article is theirs, and its pictures stay where they belong."""
    desk = study()
    _, manuscript = stopped(desk, at)
    manuscript.edit("rewrite", lambda article: edits.rewrite(article, 2, "Bees live in warm hives."))
    manuscript.edit("delete", lambda article: edits.delete(article, 4))
    manuscript.edit("rewrite", lambda article: edits.insert_before(article, 2, "A person wrote this."))
    manuscript.edit("move", lambda article: edits.move(article, 8, 1))
    texts, captions = sources_of(manuscript), {one.key: (one.after, one.caption) for one in article_of(manuscript).pictures if one.caption}
    desk.runs.go_on(manuscript)
    settle(manuscript)
    assert manuscript.reason == "done" and sources_of(manuscript) == texts and len(article_of(manuscript).pictures) == 3
    made = {one.key: (one.after, one.caption) for one in article_of(manuscript).pictures}
    assert all(made[key] == was for key, was in captions.items()) and all(shown_of(manuscript))


def test_what_people_change_on_pictures_is_not_lost(study: Studies) -> None:
    """A caption edited, a picture taken away, one swapped, one put, one without a caption."""
    desk = study()
    _, manuscript = stopped(desk, "the second choice")
    first, second, third = article_of(manuscript).pictures
    assert first.shown and second.shown and third.shown is None
    mine = bring(manuscript, 20, "mine.png")
    other = next(one for one in first.candidates if one is not first.shown)
    manuscript.edit("swap", lambda article: edits.swap(article, first.key, other.sha256))
    manuscript.edit("describe", lambda article: edits.caption(edits.describe(article, first.key, "seen"), first.key, "Mine"))
    manuscript.edit("clear", lambda article: edits.clear(article, second.key))
    manuscript.edit("put", lambda article: edits.add_picture(article, 2, "", [edits.Candidate(mine.image.sha256, 64, 36)], by="visitor"))
    before = article_of(manuscript)
    desk.runs.go_on(manuscript)
    settle(manuscript)
    assert manuscript.reason == "done" and len(article_of(manuscript).pictures) == 4
    for was, now in zip(before.pictures, article_of(manuscript).pictures, strict=True):
        assert now == was if was.key != third.key else now.shown is not None
    assert desk.stages().count("captions") == 3, "a picture without a caption was not asked about"


def test_a_caption_edited_before_the_search_is_searched_for(study: Studies) -> None:
    desk = study()
    _, manuscript = stopped(desk, "the search")
    key = article_of(manuscript).pictures[1].key
    manuscript.edit("describe", lambda article: edits.caption(article, key, "A queen"))
    desk.runs.go_on(manuscript)
    settle(manuscript)
    picture = article_of(manuscript).pictures[1]
    assert (picture.caption, picture.query) == ("A queen", "") and picture.shown


def test_a_paragraph_reworded_meanwhile_leaves_what_was_left_to_do(study: Studies) -> None:
    desk = study(lambda question: sensible(question) if len(desk.asked) != 3 else "Made anew.")
    _, manuscript = stopped(desk, "the captions")
    assert len(desk.asked) == 2
    desk.runs.reword(manuscript, "composer", 2, "expand", "")
    settle(manuscript)
    assert manuscript.unfinished and sources_of(manuscript)[1] == "Made anew."
    desk.runs.go_on(manuscript)
    settle(manuscript)
    assert manuscript.reason == "done" and sources_of(manuscript)[1] == "Made anew." and all(shown_of(manuscript))


def test_a_place_deleted_meanwhile_does_not_come_back(study: Studies) -> None:
    desk = study()
    _, manuscript = stopped(desk, "the choice")
    gone = article_of(manuscript).pictures[2].key
    manuscript.edit("delete_picture", lambda article: edits.delete_picture(article, gone))
    desk.runs.go_on(manuscript)
    settle(manuscript)
    assert (
        manuscript.reason == "done" and gone not in {one.key for one in article_of(manuscript).pictures} and len(shown_of(manuscript)) == 2
    )


def test_what_was_looked_for_in_vain_is_not_looked_for_again(study: Studies) -> None:
    desk = study()
    _, manuscript = desk.open()
    stop_on(manuscript, lambda event: isinstance(event, Found) and event.place == 4)
    desk.runs.write(manuscript, desk.task(sources=("own",)))  # and there are none
    settle(manuscript)
    found: list[WritingEvent] = []
    manuscript.edit("delete", lambda article: edits.delete(article, 1))  # the places are others now
    manuscript.on = found.append
    desk.runs.go_on(manuscript)
    settle(manuscript)
    assert [event.place for event in found if isinstance(event, Found)] == [6] and manuscript.reason == "done"


def test_an_older_version_is_not_taken_for_the_begun_text(study: Studies) -> None:
    desk = study()
    _, manuscript = desk.written()
    before = article_of(manuscript)
    stop_on(manuscript, ON["the text"])
    desk.runs.write(manuscript, desk.task())
    settle(manuscript)
    manuscript.show(Versions.undo)
    with pytest.raises(BadRequest, match=r"older|Nothing is left"):
        desk.runs.go_on(manuscript)
    desk.runs.again(manuscript, desk.task(), "choice", before.pictures[0].key)
    settle(manuscript)
    assert sources_of(manuscript) == ARTICLE.split("\n\n") and len(article_of(manuscript).pictures) == 3


def test_stop_while_a_picture_is_looked_for_again_and_on(study: Studies) -> None:
    """Also the second one at a place."""
    desk = study()
    _, manuscript = desk.written()
    first = article_of(manuscript).pictures[0]
    manuscript.edit("put", lambda article: edits.add_picture(article, first.after, "Twin", first.candidates, by="model"))
    twin = article_of(manuscript).last_key
    stop_on(manuscript, ON["the search"])
    desk.runs.again(manuscript, desk.task(), "candidates", twin)
    settle(manuscript)
    assert manuscript.unfinished
    desk.runs.reword(manuscript, "composer", 4, "expand", "")
    settle(manuscript)
    desk.runs.go_on(manuscript)
    settle(manuscript)
    made = next(one for one in article_of(manuscript).pictures if one.key == twin)
    assert made.shown and made.after == first.after and made.caption == "Twin" and manuscript.reason == "done"

"""Stages with scripted engines that fail, break off, or answer what is no answer: the article is never lost."""

from __future__ import annotations

from dataclasses import replace

import pytest

from demos.writing.draft import Candidate
from demos.writing.events import AskedAgain, Chosen, Placed, Ruled, SlotFailed, Written
from shared.engine import ModelSpec
from shared.errors import BadRequest, ModelUnavailable, RemoteFailure
from tests.demos.writing.replaying import (
    ARTICLE,
    BEES,
    READS,
    SEES,
    WRITING,
    Broken,
    Desk,
    Question,
    Shelf,
    candidate,
    failing,
    nonsense,
    sensible,
)

EN = BEES
PLACES = (1, 4, 7)


def test_an_article_that_breaks_off_is_kept_and_the_error_raised() -> None:
    desk = Desk(lambda question: Broken(ARTICLE[:30]) if len(desk.asked) == 1 else sensible(question))
    end = desk.write(EN)
    assert end.reason == "failed" and isinstance(desk.error, RemoteFailure)
    assert end.draft.text == ARTICLE[:30] and desk.told(Written) == [Written(ARTICLE[:30], complete=False)]
    end = desk.write(EN, end.draft)
    assert end.reason == "done" and end.draft.text == ARTICLE and desk.asked[1].messages[1].text == ARTICLE[:30]


def test_a_model_that_writes_nothing_is_an_error() -> None:
    desk = Desk(lambda question: " \n")
    assert desk.write(EN).reason == "failed" and isinstance(desk.error, BadRequest)
    assert desk.write(replace(EN, outline=True)).reason == "failed" and desk.told(Written) == []


def test_places_that_cannot_be_asked_for_are_decided_by_rule() -> None:
    desk = Desk(failing("places", ModelUnavailable("It is gone.", "Load it.")))
    end = desk.write(EN)
    assert end.reason == "done" and len(end.draft.slots or ()) == 3
    assert [(event.stage, event.why) for event in desk.told(Ruled)] == [("places", "failed")]


@pytest.mark.parametrize("specs", [(WRITING,), (replace(READS, parallel=1),)], ids=["trained", "general"])
def test_one_caption_that_fails_leaves_the_others_and_can_be_asked_for_again(specs: tuple[ModelSpec, ...]) -> None:
    broken = failing(
        "captions", RemoteFailure("Busy.", "Wait."), when=lambda question: "<Seg4>后" in question.text or "paragraph [5]" in question.text
    )
    desk = Desk(broken, *specs)
    end = desk.write(EN)
    assert end.reason == "partial" and [slot.over for slot in end.draft.slots or ()] == [True, False, True]
    assert desk.told(SlotFailed) == [SlotFailed("captions", 4, "Busy.", "Wait.")]
    well = Desk(sensible, *specs)
    assert well.write(EN, end.draft).reason == "done" and well.stages() == ["captions", "choice"]


def test_two_captions_in_a_row_that_fail_end_the_stage_and_not_the_article() -> None:
    desk = Desk(failing("captions", RemoteFailure("Gone.", "Start it.")))
    end = desk.write(EN)
    assert end.reason == "partial" and end.draft.text == ARTICLE and desk.stages().count("captions") == 2
    assert [(event.stage, event.place) for event in desk.told(SlotFailed)] == [("captions", place) for place in PLACES]
    assert Desk(sensible).write(EN, end.draft).reason == "done"


def test_every_other_caption_that_fails_does_not_end_the_stage() -> None:
    broken = failing("captions", RemoteFailure("Busy.", "Wait."), when=lambda question: desk.stages().count("captions") % 2 == 1)
    desk = Desk(broken)
    end = desk.write(replace(EN, pictures=6))
    assert [slot.over for slot in end.draft.slots or ()] == [False, True] * 3 and desk.stages().count("captions") == 6


def test_a_search_that_fails_and_one_that_finds_nothing() -> None:
    def give(caption: str) -> list[Candidate]:
        if "4" in caption:
            raise RemoteFailure("The pictures are away.", "Try again later.")
        return [] if "7" in caption else [candidate("a"), candidate("b")]

    desk = Desk(sensible, shelf=Shelf(give))
    end = desk.write(EN)
    slots = end.draft.slots or ()
    assert end.reason == "partial" and [slot.over for slot in slots] == [True, False, True] and slots[2].picture is None
    assert [(event.stage, event.place) for event in desk.told(SlotFailed)] == [("candidates", 4)]


def test_a_choice_that_fails_is_made_by_the_words_of_the_captions() -> None:
    desk = Desk(failing("choice", ModelUnavailable("It fell over.", "Load it again.")), WRITING, shelf=Shelf(worded))
    end = desk.write(EN)
    assert end.reason == "done" and [slot.chosen for slot in end.draft.slots or ()] == [1, 1, 1]
    assert {event.by for event in desk.told(Chosen)} == {"similarity"} and len(desk.told(SlotFailed)) == 3


def worded(caption: str) -> list[Candidate]:
    return [candidate(f"{caption}{n}", alt=alt) for n, alt in enumerate(("a boat at sea", caption, "a red house"))]


# ---- answers that are none -------------------------------------------------------------------------------------------------


def test_a_letter_outside_the_offer_is_asked_for_once_more_and_then_decided_by_words() -> None:
    for answers, by, chosen in ((["Z", "B"], "model", 1), (["D", "E"], "similarity", 1), (["A, B", "?"], "similarity", 1)):
        given = iter(answers)
        desk = Desk(lambda question, given=given: next(given) if question.stage == "choice" else sensible(question), shelf=Shelf(worded))  # type: ignore[misc]
        end = desk.write(replace(EN, pictures=1))
        assert end.reason == "done" and (desk.told(Chosen)[0].by, desk.told(Chosen)[0].chosen) == (by, chosen)
        assert desk.told(AskedAgain) == [AskedAgain("choice", desk.told(Placed)[0].places[0], answers[0])]
        assert [event.why for event in desk.told(Ruled) if event.stage == "choice"] == ([] if by == "model" else ["outside_offer"])


def test_a_caption_about_something_else_is_asked_for_once_more() -> None:
    long = " ".join(f"The {word}honeybees gather plenty of nectar." for word in "abcdefghijklmnopqrstuvwxyz")
    given = iter(["Caption: A building with a glass ceiling", "Caption: Nectar in a cell"])

    def answer(question: Question) -> str:
        return long if question.stage == "article" else next(given) if question.stage == "captions" else sensible(question)

    desk = Desk(answer, READS)
    end = desk.write(replace(EN, pictures=1))
    assert [slot.caption for slot in end.draft.slots or ()] == ["Nectar in a cell"] and not desk.told(Ruled)
    assert [event.answer for event in desk.told(AskedAgain)] == ["Caption: A building with a glass ceiling"]


@pytest.mark.parametrize("specs", [(WRITING,), (READS,)], ids=["trained", "general"])
def test_a_caption_that_cannot_be_asked_for_is_the_paragraphs_own_words(specs: tuple[ModelSpec, ...]) -> None:
    desk = Desk(failing("captions", BadRequest("Too long.", "Shorten it.")), *specs)
    end = desk.write(EN)
    assert end.reason == "done" and next(slot.caption for slot in end.draft.slots or ()) == "Bees live in hives."
    assert [(event.why, event.detail) for event in desk.told(Ruled)] == [("failed", "Too long. Shorten it.")] * 3


def test_what_is_asked_again_is_drawn_anew() -> None:
    desk = Desk(nonsense("captions", "choice"))
    desk.write(replace(EN, pictures=1, seed=1))
    seeds = [question.sampling.seed for question in desk.asked]
    assert seeds[2] != seeds[3] and seeds[4] != seeds[5] and None not in seeds


def test_letters_are_offered_as_the_only_answers_where_the_model_can_be_held_to_them() -> None:
    desk = Desk(sensible)
    desk.write(replace(EN, pictures=1))
    assert desk.asked[-1].sampling.one_of == ("A", "B", "C", "D")
    desk = Desk(sensible, SEES)
    desk.write(replace(EN, pictures=1))
    assert desk.asked[-1].sampling.one_of == ()


def test_a_server_that_breaks_the_offer_is_asked_once_more() -> None:
    first = iter([True])
    desk = Desk(failing("choice", RemoteFailure("The server answered A or so.", ""), when=lambda question: next(first, False)))
    assert desk.write(replace(EN, pictures=1)).reason == "done"
    assert (desk.told(Chosen)[0].by, desk.told(Chosen)[0].chosen) == ("model", 2)
    assert [event.answer for event in desk.told(AskedAgain)] == ["The server answered A or so."]
    assert [question.sampling.one_of for question in desk.asked[-2:]] == [("A", "B", "C", "D"), ()]


def test_one_candidate_is_taken_without_a_question_and_none_twice() -> None:
    shelf = Shelf(lambda caption: [candidate("one"), candidate("one"), candidate("two"), candidate("three")])
    desk = Desk(lambda question: "A" if question.stage == "choice" else sensible(question), shelf=shelf)
    end = desk.write(EN)
    hashes = [slot.picture.image.sha256 for slot in end.draft.slots or () if slot.picture]
    assert len(hashes) == 3 and all(len(slot.candidates or ()) == 3 for slot in end.draft.slots or ())
    assert len(set(hashes)) == 3 and desk.stages().count("choice") == 2


def test_a_model_that_answers_nonsense_in_every_stage_still_makes_an_illustrated_article() -> None:
    for specs in ((WRITING,), (READS, SEES)):
        desk = Desk(nonsense("places", "captions", "choice"), *specs, shelf=Shelf(worded))
        end = desk.write(EN)
        assert end.reason == "done" and [slot.place for slot in end.draft.slots or ()] == [1, 4, 7]
        assert [slot.caption for slot in end.draft.slots or ()] == ["Bees live in hives.", "They make honey.", "They wait."]
        assert {(event.stage, event.why) for event in desk.told(Ruled)} == {
            ("places", "unreadable"), ("captions", "caption_from_text"), ("choice", "outside_offer"),
        }  # fmt: skip
        assert all(slot.picture is not None for slot in end.draft.slots or ())

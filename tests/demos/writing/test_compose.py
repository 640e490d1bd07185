"""Stages with scripted engines: what is asked of whom, what is kept of a run that was stopped or that failed, and how it goes on."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from functools import reduce

import pytest

from demos.writing.draft import STAGES, Brief, Draft, Slot, Stage
from demos.writing.events import (
    Asked,
    Captioned,
    Chosen,
    Delta,
    Found,
    Placed,
    Ruled,
    StageBegun,
    StageDone,
    WritingEvent,
    after,
)  # fmt: skip
from shared.engine import Cancel, ModelSpec, Sampling
from shared.errors import BadRequest
from shared.messages import Image
from tests.demos.writing.replaying import ARTICLE, BEES, READS, SEES, WRITING, Desk, Question, Shelf, candidate, sensible

EN = BEES
PLACES = (1, 4, 7)


# ---- who is asked what -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "specs", [(WRITING,), (READS, SEES), (READS, WRITING), (READS,), (SEES,)], ids=lambda specs: "+".join(s.id for s in specs)
)
def test_every_pairing_of_models_finishes(specs: tuple[ModelSpec, ...]) -> None:
    desk = Desk(sensible, *specs)
    end = desk.write(EN)
    assert end.reason == "done" and [slot.place for slot in end.draft.slots or ()] == list(PLACES)
    assert [slot.caption for slot in end.draft.slots or ()] == [
        f"A bee number {number}" for number in (PLACES if specs[0] is WRITING else (2, 5, 8))
    ]
    assert all(slot.chosen == 2 for slot in end.draft.slots or ()) and not desk.told(Ruled)
    assert [event.stage for event in desk.told(StageDone)] == [stage for stage in STAGES if stage != "outline"]


def test_the_events_make_the_draft() -> None:
    desk = Desk(sensible)
    end = desk.write(EN)
    assert reduce(after, desk.events, Draft()) == end.draft
    assert "".join(event.text for event in desk.told(Delta)) == end.draft.text == ARTICLE
    assert {event.call.model for event in desk.told(Asked)} == {"composer"} and len(desk.told(Asked)) == len(desk.asked)


def test_one_model_is_leased_at_a_time() -> None:
    leased: list[int] = []

    def answer(question: Question) -> str:
        leased.append(sum(desk.registry.loaded().values()))
        assert set(desk.running) == {question.model}
        return sensible(question)

    desk = Desk(answer, READS, SEES)
    desk.write(EN)
    assert set(leased) == {1}
    assert [question.model for question in desk.asked if question.stage == "choice"] == ["sees"] * 3
    assert {question.model for question in desk.asked if question.stage != "choice"} == {"reads"}


def test_one_that_sees_is_shown_the_pictures_and_one_that_reads_is_told_of_them() -> None:
    for spec, pictures in ((SEES, 4), (READS, 0)):
        desk = Desk(sensible, spec)
        desk.write(EN)
        question = next(question for question in desk.asked if question.stage == "choice")
        assert sum(isinstance(part, Image) for part in question.messages[0].parts) == pictures
        assert ("0 A bee number 2" in question.text) == (not pictures)


def test_a_server_is_asked_for_several_captions_at_once() -> None:
    together = threading.Barrier(3)

    def answer(question: Question) -> str:
        if question.stage == "captions":
            together.wait(30)  # raises where the three never meet
        return sensible(question)

    assert Desk(answer, READS).write(EN).reason == "done"


def test_a_model_that_answers_one_at_a_time_is_asked_so() -> None:
    second = threading.Barrier(2)

    def answer(question: Question) -> str:
        if question.stage == "captions":
            with pytest.raises(threading.BrokenBarrierError):
                second.wait(0.1)  # nobody comes meanwhile
            second.reset()
        return sensible(question)

    assert Desk(answer, replace(READS, parallel=1)).write(EN).reason == "done"


def test_general_prompts_share_the_article_at_their_beginning() -> None:
    desk = Desk(sensible, READS)
    desk.write(EN)
    told = [question.messages[0].text for question in desk.asked if question.stage in ("places", "captions")]
    head = told[0][: told[0].index("The article gets 3")]
    assert len(told) == 4 and all(text.startswith(head) for text in told) and "[8] They wait." in head


def test_tone_length_material_and_pictures_reach_the_model() -> None:
    brief = Brief("Bees", "en", tone="cheerful", length="short", materials=("Bees dance.", " "), images=(candidate("x").image,), pictures=0)
    for spec in (WRITING, SEES):
        desk = Desk(sensible, spec)
        desk.write(brief)
        assert (
            all(text in desk.asked[0].text for text in ("Bees", "cheerful", "Bees dance.")) and desk.asked[0].text.count("Bees dance") == 1
        )
        assert desk.asked[0].messages[0].parts[0] == brief.images[0] and desk.asked[0].sampling.max_tokens == 640
    desk = Desk(sensible, READS)
    assert desk.write(brief).reason == "done" and [event.why for event in desk.told(Ruled)] == ["images_unseen"]


def test_a_model_that_is_kept_near_greedy_writes_a_little_more_freely() -> None:
    for own, written in ((0.1, (0.7, 1.1)), (0.8, (0.8, 1.0))):
        desk = Desk(sensible, replace(READS, sampling=Sampling(temperature=own)))
        desk.write(EN)
        assert (desk.asked[0].sampling.temperature, desk.asked[0].sampling.repetition_penalty) == written


def test_a_few_pictures_are_offered_to_all_and_each_is_used_once() -> None:
    """A folder of six: what is offered for one place is not lost to the next one that it fits better."""
    six = [candidate(name, alt=name) for name in "abcdef"]
    desk = Desk(lambda question: "A" if question.stage == "choice" else sensible(question), READS, shelf=Shelf(lambda caption: six))
    end = desk.write(EN)
    assert [slot.candidates for slot in end.draft.slots or ()] == [tuple(six)] * 3
    assert [slot.picture for slot in end.draft.slots or ()] == six[:3]
    offered = [[letter for letter in "abcdef" if f". {letter}\n" in question.text] for question in desk.asked if question.stage == "choice"]
    assert offered == [list("abcd"), list("bcde"), list("cdef")]


# ---- how many pictures -----------------------------------------------------------------------------------------------------


def test_what_a_model_says_without_end_is_kept_once() -> None:
    looped = f"{ARTICLE}\n\n" + "They wait for spring. " * 60
    desk = Desk(lambda question: looped if question.stage == "article" else sensible(question), READS)
    end = desk.write(BEES)
    assert end.reason == "done" and end.draft.text == f"{ARTICLE}\n\nThey wait for spring."
    assert [event.why for event in desk.told(Ruled)][:1] == ["looped"]


def test_no_pictures_are_no_questions() -> None:
    desk = Desk(sensible)
    end = desk.write(replace(EN, pictures=0))
    assert end.reason == "done" and end.draft.slots == () and desk.stages() == ["article"]


def test_as_many_as_the_model_finds_fitting() -> None:
    desk = Desk(sensible)
    end = desk.write(replace(EN, pictures=None))
    assert [slot.place for slot in end.draft.slots or ()] == list(PLACES)
    assert "选择适合插入图像的行" in desk.asked[1].text


def test_fifty_pictures_are_as_many_as_there_is_room_for() -> None:
    desk = Desk(sensible)
    end = desk.write(replace(EN, pictures=50))
    assert "选择适合插入图像的6行" in desk.asked[1].text
    assert [slot.place for slot in end.draft.slots or ()] == [0, 1, 3, 4, 6, 7] and ("no_room", "6/50") in [
        (event.why, event.detail) for event in desk.told(Ruled)
    ]


@pytest.mark.parametrize(
    "wrong",
    [{"instruction": " \n"}, {"instruction": "x" * 20_001}, {"pictures": 51}, {"pictures": -1}, {"candidates": 0}, {"candidates": 9}],
)
def test_what_cannot_be_asked_is_refused_at_once(wrong: dict[str, object]) -> None:
    with pytest.raises(BadRequest):
        Brief(**{"instruction": "Bees", **wrong})  # type: ignore[arg-type]


def test_much_material_is_cut_to_what_the_model_can_read_and_this_is_told() -> None:
    desk = Desk(sensible, replace(READS, context=8000))
    end = desk.write(replace(EN, materials=("蜂" * 100_000, "short"), length="medium"))
    assert end.reason == "done" and [event.why for event in desk.told(Ruled)] == ["material_cut"]
    assert 1000 < desk.asked[0].text.count("蜂") < 6000


# ---- going on --------------------------------------------------------------------------------------------------------------


def ends(stage: Stage) -> Callable[[WritingEvent], bool]:
    return lambda event: isinstance(event, StageDone) and event.stage == stage


def begins(stage: Stage) -> Callable[[WritingEvent], bool]:
    return lambda event: isinstance(event, StageBegun) and event.stage == stage


def first(kind: type) -> Callable[[WritingEvent], bool]:
    return lambda event: isinstance(event, kind)


STOPS = {
    "in the article": first(Delta),
    "behind the article": ends("article"),
    "at the places": begins("places"),
    "behind the places": first(Placed),
    "at the captions": begins("captions"),
    "in the captions": first(Captioned),
    "at the candidates": begins("candidates"),
    "in the candidates": first(Found),
    "at the choice": begins("choice"),
    "in the choice": first(Chosen),
    "in a question": first(Asked),
}


@pytest.mark.parametrize("where", STOPS)
@pytest.mark.parametrize("specs", [(WRITING,), (READS, SEES)], ids=["trained", "general"])
def test_stop_keeps_what_is_there_and_a_new_run_asks_only_for_the_rest(where: str, specs: tuple[ModelSpec, ...]) -> None:
    desk = Desk(sensible, *specs)

    def stop(event: WritingEvent, cancel: Cancel) -> None:
        if STOPS[where](event):
            cancel.set()

    end = desk.write(EN, on=stop)
    assert end.reason == "cancelled"
    answered = [(event.call.stage, event.place) for event in desk.told(Asked)]
    going_on = desk.write(EN, end.draft)
    assert going_on.reason == "done" and going_on.draft == Desk(sensible, *specs).write(EN).draft
    again = [(event.call.stage, event.place) for event in desk.told(Asked)]
    assert not set(again) & set(answered) and len(set(again)) == len(again)
    assert len(answered) + len(again) == 8


def test_a_stopped_article_is_gone_on_with_where_it_was() -> None:
    for spec, roles in ((WRITING, ["user", "assistant"]), (SEES, ["user", "assistant", "user"])):
        desk = Desk(sensible, spec)
        end = desk.write(EN, on=lambda event, cancel: cancel.set() if isinstance(event, Delta) else None)
        assert not end.draft.complete and ARTICLE.startswith(end.draft.text) and 0 < len(end.draft.text) < 20
        desk.write(EN, end.draft)
        messages = next(question for question in desk.asked[1:] if question.stage == "article").messages
        assert [message.role for message in messages] == roles and messages[1].text == end.draft.text.rstrip()


def test_a_blank_at_the_end_of_what_there_is_is_left_to_the_model() -> None:
    desk = Desk(sensible)
    assert desk.write(EN, Draft(text="# Bees \n\n", outline="Not approved")).draft.text == ARTICLE
    assert desk.asked[0].messages[1].text == "# Bees" and "Not approved" not in desk.asked[0].text


def test_an_outline_waits_for_a_person() -> None:
    desk = Desk(sensible)
    end = desk.write(replace(EN, outline=True))
    assert (end.reason, end.draft.outline, end.draft.text, desk.stages()) == ("outline", "Hives\nWork\nWinter", "", ["outline"])
    assert desk.write(replace(EN, outline=True), end.draft).reason == "outline" and len(desk.asked) == 1
    end = desk.write(replace(EN, outline=True), end.draft.with_approved("Hives\nHoney"))
    assert end.reason == "done" and "Hives\nHoney" in desk.asked[1].text and "Winter" not in desk.asked[1].text
    with pytest.raises(BadRequest):
        end.draft.with_approved(" ")


@pytest.mark.parametrize("stage", ["captions", "candidates", "choice"])
def test_one_picture_can_be_made_again_and_the_others_stay(stage: Stage) -> None:
    desk = Desk(sensible)
    made = desk.write(replace(EN, seed=7)).draft
    before = {question.sampling.seed for question in desk.asked}
    asked, looked = len(desk.asked), len(desk.shelf.asked)
    end = desk.write(replace(EN, seed=7), made.again(stage, PLACES[1]))
    assert end.reason == "done" and end.draft.slots == made.slots
    assert desk.stages()[asked:] == [one for one in ("captions", "choice") if STAGES.index(one) >= STAGES.index(stage)]
    assert len(desk.shelf.asked) - looked == (stage != "choice")
    assert not before & {question.sampling.seed for question in desk.asked[asked:]}


@pytest.mark.parametrize("stage", ["captions", "choice"])
def test_made_again_it_is_asked_as_the_first_time(stage: Stage) -> None:
    """What comes later in the article is there already, and is not told."""
    desk = Desk(sensible)
    made = desk.write(EN).draft
    before = [event.call.prompt for event in desk.told(Asked) if (event.call.stage, event.place) == (stage, PLACES[0])]
    desk.write(EN, made.again(stage, PLACES[0]))
    assert [event.call.prompt for event in desk.told(Asked) if event.call.stage == stage] == before


def test_some_stages_alone() -> None:
    desk = Desk(sensible)
    end = desk.write(EN, only=("article", "places"))
    assert end.reason == "done" and desk.stages() == ["article", "places"] and end.draft.slots == tuple(Slot(place) for place in PLACES)
    end = desk.write(EN, Draft(text="# Half"), only=("places", "captions"))
    assert end.draft == Draft(text="# Half") and len(desk.asked) == 2


def test_new_candidates_are_chosen_among_anew() -> None:
    made = Desk(sensible).write(EN).draft
    found = after(made, Found(PLACES[0], (candidate("other"),))).slot(PLACES[0])
    assert (found.chosen, found.by, found.picture, found.over) == (None, "", None, False)


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_made_again_takes_with_it_what_hangs_on_it(stage: Stage) -> None:
    desk = Desk(sensible)
    made = desk.write(EN).draft
    asked = len(desk.asked)
    assert desk.write(EN, made.again(stage)).reason == "done"
    wanted = {"outline": 8, "article": 8, "places": 7, "captions": 6, "candidates": 3, "choice": 3}
    assert len(desk.asked) - asked == wanted[stage]


def test_a_persons_caption_is_looked_for_and_chosen_for() -> None:
    desk = Desk(sensible)
    draft = desk.write(EN).draft.with_caption(PLACES[0], "  A  queen ")
    end = desk.write(EN, draft)
    assert end.draft.slot(PLACES[0]).caption == "A queen" and desk.shelf.asked[-1] == ("A queen", "A queen")
    assert desk.stages()[-1:] == ["choice"] and desk.stages().count("captions") == 3
    with pytest.raises(BadRequest):
        draft.with_caption(PLACES[0], " ")
    with pytest.raises(KeyError):
        draft.with_caption(2, "nowhere")


def test_a_text_that_people_changed_is_the_one_that_is_asked_about() -> None:
    desk = Desk(sensible)
    made = desk.write(EN).draft
    edited = replace(made, edited=(*made.paragraphs[:-1], replace(made.paragraphs[-1], source="They sleep.")), slots=None)
    desk.write(EN, edited)
    assert "They sleep." in desk.asked[-1].text + desk.asked[8].text and "They wait." not in desk.asked[8].text


# ---- what does not fit -----------------------------------------------------------------------------------------------------


def test_a_long_article_is_told_as_far_as_it_fits() -> None:
    long = "\n\n".join(f"Paragraph {number}. " + "word " * 60 for number in range(40))
    for spec in (replace(WRITING, context=4096), replace(READS, context=4096)):
        desk = Desk(lambda question: long if question.stage == "article" else sensible(question), spec)
        end = desk.write(replace(EN, pictures=6))
        assert end.reason == "done" and len(end.draft.slots or ()) == 6
        assert all(len(question.text) < 4096 for question in desk.asked)
        for question, slot in zip([one for one in desk.asked if one.stage == "captions"], end.draft.slots or (), strict=True):
            assert f"Paragraph {slot.place}." in question.text and f"Paragraph {slot.place + 1}." in question.text

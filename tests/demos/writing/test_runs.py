"""Work on a manuscript in its own thread, with a replaying engine, the real picture sources and the real shelf."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import get_args

import pytest

from demos.writing import edits
from demos.writing.article import TOP, Article
from demos.writing.draft import Stage
from demos.writing.events import (
    Delta,
    SlotFailed,
    SourceFailed,
    StageBegun,
    WritingEvent,
)
from demos.writing.prompts import Edit
from demos.writing.versions import Versions
from shared.errors import BadRequest, ModelUnavailable, RemoteFailure
from tests.demos.writing.desks import ON, Study, article_of, names, settle, shown_of, sources_of, stop_on, stopped
from tests.demos.writing.replaying import ARTICLE, BEES, READS, SEES, WRITING, Broken, failing, nonsense, sensible

Studies = Callable[..., Study]

# ---- writing ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("specs", [(WRITING,), (READS, SEES), (READS,), (SEES,)], ids=lambda specs: "+".join(one.id for one in specs))
def test_an_instruction_becomes_an_illustrated_article(study: Studies, specs: tuple[object, ...]) -> None:
    desk = study(sensible, *specs)
    _, manuscript = desk.written()
    article = article_of(manuscript)
    assert sources_of(manuscript) == ARTICLE.split("\n\n") and len(article.pictures) == 3 and len(set(shown_of(manuscript))) == 3
    assert {one.image.sha256 for one in manuscript.own} >= set(shown_of(manuscript))
    assert names(manuscript) == ["written"] and not manuscript.unfinished and desk.idle()
    assert len(article.record.calls) == len(desk.asked) == 8 and article.record.instruction == BEES.instruction


def test_an_article_that_is_there_is_the_version_before(study: Studies) -> None:
    desk = study()
    _, manuscript = desk.written()
    before = article_of(manuscript)
    desk.runs.write(manuscript, desk.task(replace(BEES, pictures=1)))
    settle(manuscript)
    assert len(names(manuscript)) == 2 and len(article_of(manuscript).pictures) != 3
    manuscript.show(Versions.undo)
    assert article_of(manuscript) == before


def test_an_outline_waits_for_its_approval(study: Studies) -> None:
    desk = study()
    _, manuscript = desk.open()
    desk.runs.write(manuscript, desk.task(replace(BEES, outline=True)))
    settle(manuscript)
    assert manuscript.reason == "outline" and manuscript.draft.outline == "Hives\nWork\nWinter" and manuscript.article is None
    for nothing in ("", "  \n"):
        with pytest.raises(BadRequest, match="outline is empty"):
            desk.runs.approve(manuscript, nothing)
    assert not manuscript.running
    desk.runs.approve(manuscript, "Hives\nHoney")
    settle(manuscript)
    assert manuscript.reason == "done" and "Hives\nHoney" in desk.asked[1].text and desk.stages().count("outline") == 1


def test_nothing_is_gone_on_with_before_anything_was_begun(study: Studies) -> None:
    desk = study()
    _, manuscript = desk.open()
    for press in (
        lambda: desk.runs.go_on(manuscript), lambda: desk.runs.approve(manuscript, "a"),
        lambda: desk.runs.again(manuscript, desk.task(), "places"), lambda: desk.runs.find(manuscript, desk.task(), 1, "a", ""),
        lambda: desk.runs.illustrate(manuscript, desk.task(), 1), lambda: desk.runs.reword(manuscript, "composer", 1, "expand", ""),
    ):  # fmt: skip
        with pytest.raises(BadRequest):
            press()
    assert not manuscript.running and desk.asked == []


# ---- a stage again ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stage", "asked"),
    [("outline", 8), ("article", 8), ("places", 7), ("captions", 6), ("candidates", 3), ("choice", 3)],
)  # fmt: skip
def test_each_stage_is_made_anew_and_what_hangs_on_it(study: Studies, stage: Stage, asked: int) -> None:
    desk = study()
    _, manuscript = desk.written()
    before, since = article_of(manuscript), len(desk.asked)
    desk.runs.again(manuscript, desk.task(), stage)
    settle(manuscript)
    assert manuscript.reason == "done" and len(desk.asked) - since == asked and all(shown_of(manuscript))
    assert sources_of(manuscript) == ARTICLE.split("\n\n")
    if stage not in ("outline", "article", "places"):
        assert [one.key for one in article_of(manuscript).pictures] == [one.key for one in before.pictures]


@pytest.mark.parametrize(("stage", "asked"), [("captions", 2), ("candidates", 1), ("choice", 1)])
def test_of_one_picture_alone(study: Studies, stage: Stage, asked: int) -> None:
    desk = study()
    _, manuscript = desk.written(pictures=20)
    before, since = article_of(manuscript), len(desk.asked)
    key = before.pictures[1].key
    desk.runs.again(manuscript, desk.task(), stage, key)
    settle(manuscript)
    after = article_of(manuscript)
    assert manuscript.reason == "done" and len(desk.asked) - since == asked
    assert (after.pictures[0], after.pictures[2]) == (before.pictures[0], before.pictures[2]) and after.pictures[1].key == key
    seen = {one.sha256 for one in before.pictures[1].candidates}
    if stage == "candidates":
        assert not seen & {one.sha256 for one in after.pictures[1].candidates}, "others than before"


def test_another_take_has_another_seed(study: Studies) -> None:
    desk = study()
    task = desk.task(replace(BEES, seed=5))
    _, manuscript = desk.open(pictures=8)
    desk.runs.write(manuscript, task)
    settle(manuscript)
    key = article_of(manuscript).pictures[0].key
    for _ in range(2):
        desk.runs.again(manuscript, task, "captions", key)
        settle(manuscript)
    seeds = [one.sampling.seed for one in desk.asked if one.stage == "captions" and "<Seg1>" in one.text.split("适合在")[-1]]
    assert len(seeds) == 3 and len(set(seeds)) == 3


def test_a_picture_that_is_gone_cannot_be_made_again(study: Studies) -> None:
    desk = study()
    _, manuscript = desk.written()
    for stage in ("captions", "candidates", "choice"):
        with pytest.raises(BadRequest, match="not there any more"):
            desk.runs.again(manuscript, desk.task(), stage, 999)  # type: ignore[arg-type]
    assert not manuscript.running


def test_a_picture_moved_to_the_top_can_be_looked_for_again(study: Studies) -> None:
    desk = study()
    _, manuscript = desk.written(pictures=20)
    key = article_of(manuscript).pictures[1].key
    manuscript.edit("move_picture", lambda article: edits.move_picture(article, key, TOP))
    before = article_of(manuscript)
    desk.runs.again(manuscript, desk.task(), "candidates", key)
    settle(manuscript)
    (moved,) = article_of(manuscript).at(TOP)
    assert moved.key == key and moved.shown and moved.shown != before.at(TOP)[0].shown


# ---- one picture, one paragraph --------------------------------------------------------------------------------------------


def test_a_picture_is_looked_for_with_a_person_s_caption(study: Studies) -> None:
    desk = study()
    _, manuscript = desk.written()
    before = article_of(manuscript)
    key = before.pictures[1].key
    desk.runs.find(manuscript, desk.task(), key, " A  queen ", "queen bee")
    settle(manuscript)
    picture = article_of(manuscript).pictures[1]
    assert (picture.key, picture.caption, picture.query) == (key, "A queen", "queen bee") and picture.shown
    assert article_of(manuscript).pictures[0] == before.pictures[0] and names(manuscript)[-1] == "again_candidates"
    for caption in ("", " "):
        with pytest.raises(BadRequest, match="caption is empty"):
            desk.runs.find(manuscript, desk.task(), key, caption, "")
    assert not manuscript.running


def test_one_more_picture(study: Studies) -> None:
    desk = study()
    _, manuscript = desk.written()
    before = article_of(manuscript)
    desk.runs.illustrate(manuscript, desk.task(), 4)
    settle(manuscript)
    (added,) = article_of(manuscript).at(4)
    assert added.shown and added.caption == "A bee number 3" and names(manuscript)[-1] == "illustrated"
    assert [one for one in article_of(manuscript).pictures if one.key != added.key] == list(before.pictures)
    for after in (4, 2, 999):
        with pytest.raises(BadRequest, match="picture already, or the paragraph is gone"):
            desk.runs.illustrate(manuscript, desk.task(), after)
    manuscript.edit("clear", lambda article: edits.clear(article, added.key))
    with pytest.raises(BadRequest, match="picture already"):
        desk.runs.illustrate(manuscript, desk.task(), 4)


def test_half_a_text_is_illustrated_as_it_is(study: Studies) -> None:
    desk = study()
    _, manuscript = stopped(desk, "the text")
    texts = sources_of(manuscript)
    desk.runs.illustrate(manuscript, desk.task(), 1)
    settle(manuscript)
    assert sources_of(manuscript) == texts and all(shown_of(manuscript)) and desk.stages().count("article") == 1


@pytest.mark.parametrize("edit", get_args(Edit))
def test_a_paragraph_in_every_way(study: Studies, edit: Edit) -> None:
    _, manuscript = study().written()
    before = article_of(manuscript)
    desk = study(lambda question: "Made anew.\n\nAnd more.", READS)
    _, manuscript = desk.open()
    manuscript.open(before)
    desk.runs.reword(manuscript, "reads", 5, edit, "shorter sentences")
    settle(manuscript)
    assert manuscript.error is None and names(manuscript)[-1] == f"reword_{edit}" and "shorter sentences" in desk.asked[0].text
    old = [section.source for section in before.sections]
    at = {"before": (4, 4), "after": (5, 5)}.get(edit, (4, 5))
    assert sources_of(manuscript) == [*old[: at[0]], "Made anew.", "And more.", *old[at[1] :]]
    assert len(article_of(manuscript).pictures) == 3 and len(article_of(manuscript).record.calls) == len(before.record.calls) + 1
    assert desk.idle() and not manuscript.unfinished


def test_a_paragraph_that_cannot_be_made_anew(study: Studies) -> None:
    desk = study()
    _, manuscript = desk.written()
    for key, edit, wish in ((999, "expand", ""), (2, "before", " "), (2, "after", ""), (2, "rewrite", "x" * 4001)):
        with pytest.raises(BadRequest):
            desk.runs.reword(manuscript, "composer", key, edit, wish)  # type: ignore[arg-type]
    assert not manuscript.running


def test_rewording_that_is_stopped_or_fails_changes_nothing(study: Studies) -> None:
    for answer in ("", Broken("Half a "), "x" * 9000):
        desk = study(lambda question, answer=answer: answer)
        _, manuscript = desk.open()
        manuscript.open(Article())
        written = study().written()[1]
        manuscript.open(article_of(written))
        before = article_of(manuscript)
        if answer.startswith("x"):
            stop_on(manuscript, lambda event: isinstance(event, Delta))
        desk.runs.reword(manuscript, "composer", 2, "expand", "")
        settle(manuscript)
        assert article_of(manuscript) == before and desk.idle()
        assert (manuscript.error is None) == answer.startswith("x")


# ---- what fails ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", ["article", "places", "captions", "choice"])
def test_a_model_that_fails_in_a_stage_loses_nothing(study: Studies, stage: Stage) -> None:
    broken = [True]
    fails = failing(stage, RemoteFailure("The line is dead.", "Try again."))
    desk = study(lambda question: fails(question) if broken else sensible(question))
    _, manuscript = desk.open(pictures=8)
    desk.runs.write(manuscript, desk.task())
    settle(manuscript)
    assert desk.idle()
    if stage == "article":
        assert manuscript.error is not None and manuscript.article is None and manuscript.reason == "failed"
    else:
        assert manuscript.told and sources_of(manuscript) == ARTICLE.split("\n\n")
    broken.clear()
    if stage == "article":
        desk.runs.write(manuscript, desk.task())  # there is nothing to go on with
    elif manuscript.reason != "done":
        assert manuscript.unfinished
        desk.runs.go_on(manuscript)
    settle(manuscript)
    assert manuscript.reason == "done" and manuscript.error is None and all(shown_of(manuscript)) and len(shown_of(manuscript)) == 3


def test_a_text_that_breaks_off_is_kept_and_gone_on_with(study: Studies) -> None:
    desk = study(lambda question: Broken(ARTICLE[:40]) if len(desk.asked) == 1 else sensible(question))
    _, manuscript = desk.open(pictures=8)
    desk.runs.write(manuscript, desk.task())
    settle(manuscript)
    assert isinstance(manuscript.error, RemoteFailure) and sources_of(manuscript)[0] == "# Bees" and manuscript.unfinished
    desk.runs.go_on(manuscript)
    settle(manuscript)
    assert manuscript.error is None and sources_of(manuscript) == ARTICLE.split("\n\n")


@pytest.mark.parametrize("stages", [("places",), ("captions",), ("choice",), ("places", "captions", "choice")])
def test_nonsense_in_any_stage_is_an_article_all_the_same(study: Studies, stages: tuple[Stage, ...]) -> None:
    desk = study(nonsense(*stages))
    _, manuscript = desk.open(pictures=8)
    desk.runs.write(manuscript, desk.task())
    settle(manuscript)
    assert manuscript.reason == "done" and manuscript.told and len(shown_of(manuscript)) == 3 and all(shown_of(manuscript))


def test_nonsense_for_an_article_is_an_article_of_nonsense(study: Studies) -> None:
    desk = study(nonsense("article", "places", "captions", "choice"))
    _, manuscript = desk.open(pictures=8)
    desk.runs.write(manuscript, desk.task())
    settle(manuscript)
    assert sources_of(manuscript) == ["🦆🦆"] and manuscript.error is None


def test_a_model_that_writes_nothing_is_told(study: Studies) -> None:
    desk = study(lambda question: "")
    _, manuscript = desk.open()
    desk.runs.write(manuscript, desk.task())
    settle(manuscript)
    assert isinstance(manuscript.error, BadRequest) and "wrote nothing" in manuscript.error.cause and manuscript.article is None


def test_a_bug_of_ours_is_told_and_ends_the_run(study: Studies, caplog: pytest.LogCaptureFixture) -> None:
    desk = study(failing("places", ZeroDivisionError("ours")))
    _, manuscript = desk.open()
    desk.runs.write(manuscript, desk.task())
    settle(manuscript)
    assert isinstance(manuscript.error, ZeroDivisionError) and "writing failed" in caplog.text
    assert sources_of(manuscript) == ARTICLE.split("\n\n") and manuscript.unfinished and desk.idle()


def test_a_source_that_is_not_there_does_not_hold_the_manuscript(study: Studies) -> None:
    desk = study()
    _, manuscript = desk.open()
    desk.runs.write(manuscript, desk.task(sources=("nobody",)))
    settle(manuscript)
    assert isinstance(manuscript.error, BadRequest) and "nobody" in manuscript.error.cause and not manuscript.running


def test_a_model_that_is_not_there_is_told(study: Studies) -> None:
    desk = study(failing("article", ModelUnavailable("no weights", "fetch them")))
    _, manuscript = desk.open()
    task = desk.task()
    desk.runs.write(manuscript, replace(task, writers=replace(task.writers, text="gone")))
    settle(manuscript)
    assert manuscript.error is not None and "gone" in str(manuscript.error) and not manuscript.running


def test_the_web_s_sources_are_no_help_offline_and_the_article_is_finished_with_a_card(study: Studies) -> None:
    desk = study()
    _, manuscript = desk.open()
    desk.runs.write(manuscript, desk.task(sources=("openverse", "commons", "card")))
    settle(manuscript)
    assert manuscript.reason == "done" and len(set(shown_of(manuscript))) == 3
    assert not [one for one in manuscript.told if isinstance(one, SlotFailed | SourceFailed)]
    assert all(manuscript.pictures.find(sha256) for sha256 in shown_of(manuscript))


def test_without_sources_there_are_captions_and_no_pictures(study: Studies) -> None:
    desk = study()
    _, manuscript = desk.open(pictures=8)
    desk.runs.write(manuscript, desk.task(sources=()))
    settle(manuscript)
    assert (
        shown_of(manuscript) == ["", "", ""] and all(one.caption for one in article_of(manuscript).pictures) and manuscript.reason == "done"
    )


# ---- several at once -------------------------------------------------------------------------------------------------------


def test_two_who_write_the_same_at_once_do_not_meet(study: Studies) -> None:
    desk = study(sensible, READS)
    made = [desk.open(pictures=8)[1], desk.open(pictures=8)[1]]
    together = threading.Barrier(2)

    def on(event: WritingEvent) -> None:
        if isinstance(event, StageBegun) and event.stage == "article":
            together.wait(60)  # both are there

    for manuscript in made:
        manuscript.on = on
        desk.runs.write(manuscript, desk.task())
    for manuscript in made:
        settle(manuscript)
        assert manuscript.reason == "done" and len(article_of(manuscript).record.calls) == 8 and len(set(shown_of(manuscript))) == 3
        for sha256 in shown_of(manuscript):
            image = manuscript.pictures.find(sha256)
            assert image and str(manuscript.pictures._root) in image.path
    assert made[0].pictures._root != made[1].pictures._root and len(desk.asked) == 16
    made[0].edit("delete", lambda article: edits.delete(article, 2))
    assert len(article_of(made[1]).sections) == 8


def test_stop_of_one_is_not_the_other_s(study: Studies) -> None:
    desk = study(sensible, READS)
    one, other = desk.open(pictures=8)[1], desk.open(pictures=8)[1]
    stop_on(one, ON["the places"])
    for manuscript in (one, other):
        desk.runs.write(manuscript, desk.task())
    for manuscript in (one, other):
        settle(manuscript)
    assert (one.reason, other.reason) == ("cancelled", "done")


def test_a_page_that_is_gone_ends_its_run_and_the_model_is_free(study: Studies) -> None:
    clock = [time.monotonic()]
    desk = study(sensible, clock=lambda: clock[0])
    _, manuscript = desk.open()

    def on(event: WritingEvent) -> None:
        if isinstance(event, Delta):
            clock[0] += 50

    manuscript.on = on
    desk.runs.write(manuscript, desk.task())
    settle(manuscript)
    assert manuscript.reason == "cancelled" and manuscript.article and len(manuscript.draft.text) < 20 and desk.idle()

"""A manuscript: what people do to it, what a run does to it, and who may do what when."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from demos.pictures.images import Pictures
from demos.writing import edits
from demos.writing.article import Article
from demos.writing.draft import Brief, Candidate, Draft, Writers
from demos.writing.events import (
    Captioned,
    Chosen,
    Delta,
    Finished,
    Found,
    Placed,
    Ruled,
    SlotFailed,
    StageBegun,
    WritingEvent,
    Written,
)  # fmt: skip
from demos.writing.manuscript import GONE_SECONDS, MOST_MATERIALS, MOST_OWN, MOST_TOLD, Manuscript, Material, Run
from demos.writing.sources.source import Own
from demos.writing.task import MOST_MATERIAL, Task
from demos.writing.versions import Versions
from shared.errors import BadRequest
from shared.messages import Image
from tests.demos.writing.articles import example
from tests.demos.writing.desks import bring
from tests.demos.writing.replaying import ARTICLE, candidate

TASK = Task(Brief("Bees", "en"), Writers("reads"))
FOUND = (candidate("a"), candidate("b"))


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def manuscript(tmp_path: Path) -> Manuscript:
    return Manuscript(Pictures(tmp_path / "mine"))


def events(found: tuple[Candidate, ...] = FOUND) -> list[WritingEvent]:
    """A whole run, one picture in it."""
    return [
        StageBegun("article", "reads", 1), Delta("article", ARTICLE), Written(ARTICLE, True), Placed((1,)),
        StageBegun("captions", "reads", 1), Captioned(1, "A hive", "hive"), StageBegun("candidates", "", 1), Found(1, found),
        StageBegun("choice", "reads", 1), Chosen(1, 0, "model"),
    ]  # fmt: skip


def run_of(manuscript: Manuscript, what: str = "written", upto: int = 99) -> Run:
    run = manuscript.begin(what, Draft(), task=TASK)
    for event in events()[:upto]:
        manuscript.hear(run, event)
    return run


def written(manuscript: Manuscript) -> None:
    run = run_of(manuscript)
    manuscript.hear(run, Finished("done", run.draft))
    manuscript.end(run)


def own(number: int) -> Own:
    return Own(Image(f"/{number}", f"{number:064x}", 1, 1), f"{number}.png")


def versions_of(manuscript: Manuscript) -> Versions:
    assert manuscript.versions is not None
    return manuscript.versions


# ---- people ----------------------------------------------------------------------------------------------------------------


def test_a_new_one_has_nothing(manuscript: Manuscript) -> None:
    assert manuscript.article is None and not manuscript.running and not manuscript.unfinished and manuscript.growing() is None
    with pytest.raises(BadRequest, match="no article yet"):
        manuscript.edit("move", lambda article: article)
    manuscript.show(Versions.undo)
    manuscript.stop()
    assert manuscript.at == 0


def test_every_edit_is_a_version_and_what_an_edit_refuses_changes_nothing(manuscript: Manuscript) -> None:
    written(manuscript)
    at = manuscript.at
    manuscript.edit("delete", lambda article: edits.delete(article, 3))
    assert manuscript.at == at + 1 and [one.what for one in versions_of(manuscript).all] == ["written", "delete"]
    with pytest.raises(BadRequest):
        manuscript.edit("delete", lambda article: edits.delete(article, 3))
    assert len(versions_of(manuscript).all) == 2
    manuscript.show(Versions.undo)
    assert manuscript.article and any(section.key == 3 for section in manuscript.article.sections)


def test_a_saved_article_is_opened_over_what_is_there(manuscript: Manuscript) -> None:
    manuscript.open(example())
    assert [one.what for one in versions_of(manuscript).all] == ["opened"] and not manuscript.unfinished and manuscript.complete
    manuscript.open(Article())
    manuscript.show(Versions.undo)
    assert manuscript.article == example()


def test_pictures_are_there_once_and_no_more_than_there_is_room_for(manuscript: Manuscript) -> None:
    for number in range(MOST_OWN):
        manuscript.bring(own(number))
        manuscript.bring(own(number))
    assert len(manuscript.own) == MOST_OWN
    with pytest.raises(BadRequest, match="40 pictures already"):
        manuscript.bring(own(99))
    manuscript.leave_out(own(3).image.sha256)
    manuscript.bring(own(99))
    assert [one.name for one in manuscript.own][-1] == "99.png" and "3.png" not in {one.name for one in manuscript.own}


def test_materials_have_their_limits_and_a_newer_file_takes_the_place_of_the_older(manuscript: Manuscript) -> None:
    for number in range(MOST_MATERIALS):
        manuscript.bring_text(Material(f"{number}.txt", "a"))
    with pytest.raises(BadRequest, match="20 texts already"):
        manuscript.bring_text(Material("more.txt", "a"))
    manuscript.bring_text(Material("0.txt", "b"))
    assert len(manuscript.materials) == MOST_MATERIALS and manuscript.materials[-1] == Material("0.txt", "b")
    with pytest.raises(BadRequest, match="100,020 characters"):
        manuscript.bring_text(Material("0.txt", "x" * (MOST_MATERIAL + 1)))
    manuscript.leave_out("0.txt")
    manuscript.leave_out("nobody.txt")
    assert len(manuscript.materials) == MOST_MATERIALS - 1


# ---- a run -----------------------------------------------------------------------------------------------------------------


def test_there_is_one_run_at_a_time_and_nobody_edits_meanwhile(manuscript: Manuscript) -> None:
    written(manuscript)
    run = manuscript.begin("written", Draft())
    changes: list[Any] = [
        lambda: manuscript.begin("again", Draft()), lambda: manuscript.edit("delete", lambda article: edits.delete(article, 3)),
        lambda: manuscript.show(Versions.undo), lambda: manuscript.open(example()), lambda: manuscript.at_rest().__enter__(),
    ]  # fmt: skip
    for change in changes:
        with pytest.raises(BadRequest, match="being worked on"):
            change()
    manuscript.bring(own(1))
    manuscript.bring_text(Material("a.txt", "a"))
    manuscript.leave_out("a.txt")
    manuscript.end(run)
    manuscript.edit("delete", lambda article: edits.delete(article, 3))


def test_a_run_is_one_version_however_many_events_it_has(manuscript: Manuscript) -> None:
    run = manuscript.begin("written", Draft(), task=TASK)
    seen = []
    for event in events():
        before = manuscript.at
        manuscript.hear(run, event)
        assert manuscript.at == before + 1
        seen.append(len(manuscript.versions.all) if manuscript.versions else 0)
    assert seen == [0, 0, *[1] * 8]
    manuscript.end(run)
    again = run_of(manuscript, "written")
    manuscript.end(again)
    assert [one.what for one in versions_of(manuscript).all] == ["written"], "what gave the same article is no version"
    run = manuscript.begin("reword_expand", None, key=2)
    manuscript.put(run, lambda article: edits.rewrite(article, 2, "Bees live in large hives."))
    manuscript.put(run, lambda article: edits.rewrite(article, 2, "Bees live in very large hives."))
    manuscript.end(run)
    assert [one.what for one in versions_of(manuscript).all] == ["written", "reword_expand"]


def test_each_event_is_in_the_article_at_once(manuscript: Manuscript) -> None:
    run = manuscript.begin("written", Draft(), task=TASK)
    told = []
    for event in events():
        manuscript.hear(run, event)
        article = manuscript.article
        told.append([(one.caption, len(one.candidates), one.shown is not None) for one in article.pictures] if article else None)
    assert told == [
        None, None, [], [("", 0, False)], [("", 0, False)], [("A hive", 0, False)], [("A hive", 0, False)], [("A hive", 2, False)],
        [("A hive", 2, False)], [("A hive", 2, True)],
    ]  # fmt: skip


def test_the_text_grows_before_it_is_an_article(manuscript: Manuscript) -> None:
    run = manuscript.begin("written", Draft(), task=TASK)
    manuscript.hear(run, StageBegun("article", "reads", 1))
    for piece in ("# Be", "es\n\nThey ", "hum"):
        manuscript.hear(run, Delta("article", piece))
    growing = manuscript.growing()
    assert manuscript.article is None and growing and [one.source for one in growing.sections] == ["# Bees", "They hum"]
    assert growing.language == "en"
    manuscript.end(run)
    assert manuscript.growing() is None


def test_a_stopped_text_is_kept_and_can_be_gone_on_with(manuscript: Manuscript) -> None:
    run = run_of(manuscript, upto=2)
    manuscript.stop()
    assert run.cancel.is_set()
    manuscript.hear(run, Written("# Bees\n\nThey", False))
    manuscript.hear(run, Finished("cancelled", run.draft))
    manuscript.end(run)
    assert manuscript.article and [one.source for one in manuscript.article.sections] == ["# Bees", "They"]
    assert manuscript.unfinished and not manuscript.complete
    manuscript.edit("delete", lambda article: edits.delete(article, 2))
    assert manuscript.unfinished


def test_an_older_article_is_whole_and_nothing_is_left_to_do_in_it(manuscript: Manuscript) -> None:
    written(manuscript)
    run = manuscript.begin("written", Draft(), task=TASK)
    manuscript.hear(run, Written("# Other\n\nThey", False))
    manuscript.hear(run, Finished("cancelled", run.draft))
    manuscript.end(run)
    assert not manuscript.complete and manuscript.unfinished
    manuscript.edit("delete", lambda article: edits.delete(article, 2))
    assert not manuscript.complete and manuscript.unfinished
    manuscript.show(lambda versions: versions.shown(0))
    assert manuscript.complete and not manuscript.unfinished
    manuscript.show(Versions.redo)
    assert not manuscript.complete and manuscript.unfinished


def test_a_page_that_is_gone_ends_the_run(tmp_path: Path) -> None:
    clock = Clock()
    manuscript = Manuscript(Pictures(tmp_path / "mine"), clock=clock)
    clock.now = 1000.0
    run = manuscript.begin("written", Draft(), task=TASK)  # whoever pressed is there
    for _ in range(3):
        clock.now += GONE_SECONDS
        manuscript.hear(run, Delta("article", "a"))
        assert not run.cancel.is_set()
        manuscript.seen()
    clock.now += GONE_SECONDS + 1
    manuscript.hear(run, Delta("article", "a"))
    assert run.cancel.is_set()


def test_what_went_otherwise_is_told_up_to_a_limit_and_anew_in_each_run(manuscript: Manuscript) -> None:
    run = manuscript.begin("written", Draft(), task=TASK)
    for number in range(MOST_TOLD + 5):
        manuscript.hear(run, Ruled("places", None, "crowded", str(number)))
    manuscript.hear(run, SlotFailed("captions", 1, "no", "yes"))
    assert len(manuscript.told) == MOST_TOLD and manuscript.told[-1] == SlotFailed("captions", 1, "no", "yes")
    manuscript.end(run, error := BadRequest("no"))
    assert manuscript.error is error
    manuscript.end(manuscript.begin("written", Draft()))
    assert manuscript.told == () and manuscript.error is None


def test_questions_of_a_run_are_in_the_record_once(tmp_path: Path) -> None:
    from tests.demos.writing.replaying import BEES, Desk, sensible

    desk = Desk(sensible)
    desk.write(BEES)
    manuscript = Manuscript(Pictures(tmp_path / "mine"))
    run = manuscript.begin("written", Draft(), task=TASK)
    for event in desk.events:
        manuscript.hear(run, event)
    manuscript.end(run)
    assert manuscript.article and len(manuscript.article.record.calls) == len(desk.asked) == 8
    assert manuscript.article.record.instruction == "Bees"


def test_many_begin_at_once_and_one_does(manuscript: Manuscript) -> None:
    begun: list[Run] = []
    refused: list[BadRequest] = []
    together = threading.Barrier(8)

    def press() -> None:
        together.wait(30)
        try:
            begun.append(manuscript.begin("written", Draft()))
        except BadRequest as error:
            refused.append(error)

    threads = [threading.Thread(target=press) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(begun) == 1 and len(refused) == 7


def test_a_real_picture_lies_in_the_folder_of_its_manuscript(manuscript: Manuscript) -> None:
    brought = bring(manuscript, 1, "a.png")
    assert manuscript.own == (brought,) and manuscript.pictures.find(brought.image.sha256) == brought.image
    manuscript.leave_out(brought.image.sha256)
    assert manuscript.own == () and manuscript.pictures.find(brought.image.sha256) is not None, "an article may show it"
